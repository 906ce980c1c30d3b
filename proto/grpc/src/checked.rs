//! The codec of all services: prost's encoding, and on the way in the checks of `tepui_proto::wire`. A peer that leaves out a
//! required field gets INVALID_ARGUMENT with the field's path, and its stream ends.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use tepui_proto::wire;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// What a stream keeps at hand each way, and from how many encoded bytes on they leave. A master holds tens of thousands of streams
/// that say little: tonic's own 8 KiB each way would be most of what it needs.
fn buffers() -> BufferSettings {
    BufferSettings::new(512, 32 << 10)
}

/// Encodes `T`, decodes and checks `U`.
#[derive(Debug, Clone)]
pub struct Checked<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Checked<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Checked<T, U>
where
    T: Message + Send + 'static,
    U: wire::Checked + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(PhantomData)
    }
}

/// The way in.
#[derive(Debug, Clone)]
pub struct CheckedDecoder<U>(PhantomData<U>);

impl<U: wire::Checked> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Usually one chunk, which is then not copied.
        let frame = buffer.copy_to_bytes(buffer.remaining());
        wire::decode(&frame).map(Some).map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            Status::invalid_argument(format!("{error}{cause}"))
        })
    }
}
