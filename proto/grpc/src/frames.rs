//! The way in of a stream that mostly says nothing: messages off a request's body, and nothing kept between them.
//!
//! tonic's own reader keeps a buffer as large as the largest message that it has read, for as long as the stream lives. A master holds
//! tens of thousands of streams that begin with a large registration and then send a pong now and then.

use std::collections::VecDeque;

use prost::bytes::{Buf, Bytes};
use tonic::Status;
use tonic::codegen::Body;

use crate::MESSAGE_LIMIT_BYTES;

/// Before each message: whether it is compressed, and its length.
const HEADER_BYTES: usize = 5;

/// The messages of a stream, still encoded.
#[derive(Debug)]
pub struct Frames<B> {
    body: B,
    /// What has come and is not taken yet.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// The length of the message whose header was taken.
    length: Option<usize>,
}

impl<B> Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Those that come in this body.
    pub fn new(body: B) -> Self {
        Self {
            body,
            held: VecDeque::new(),
            held_bytes: 0,
            length: None,
        }
    }

    /// The next message; `None` once the peer sends no more. Safe to cancel: nothing that came is lost.
    ///
    /// # Errors
    /// The stream broke, or what came is no message of at most [`MESSAGE_LIMIT_BYTES`] without compression.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.complete()? {
                return Ok(Some(message));
            }
            let frame =
                std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.body).poll_frame(cx));
            match frame.await {
                Some(Ok(frame)) => {
                    // Trailers say nothing that a server needs.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        self.held_bytes += data.len();
                        self.held.push_back(data);
                    }
                }
                Some(Err(error)) => return Err(Status::unavailable(error.to_string())),
                None if self.held_bytes == 0 && self.length.is_none() => return Ok(None),
                None => return Err(Status::data_loss("the stream ended within a message")),
            }
        }
    }

    /// A message, if all of it is here.
    fn complete(&mut self) -> Result<Option<Bytes>, Status> {
        let length = match self.length {
            Some(length) => length,
            None if self.held_bytes < HEADER_BYTES => return Ok(None),
            None => {
                let mut header = self.take(HEADER_BYTES);
                if header.get_u8() != 0 {
                    return Err(Status::unimplemented(
                        "compressed messages are not taken, as no encoding was offered",
                    ));
                }
                let length = header.get_u32() as usize;
                if length > MESSAGE_LIMIT_BYTES {
                    return Err(Status::out_of_range(format!(
                        "a message of {length} bytes is above the bound of {MESSAGE_LIMIT_BYTES}"
                    )));
                }
                *self.length.insert(length)
            }
        };
        if self.held_bytes < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.take(length)))
    }

    /// The first `count` bytes of what is held; copied only if they came in pieces.
    fn take(&mut self, count: usize) -> Bytes {
        self.held_bytes -= count;
        let taken = match self.held.front_mut() {
            Some(first) if first.len() >= count => first.split_to(count),
            _ => {
                let mut gathered = Vec::with_capacity(count);
                while let Some(first) = self.held.front_mut()
                    && gathered.len() < count
                {
                    let more = first.len().min(count - gathered.len());
                    gathered.extend_from_slice(&first.split_to(more));
                    if first.is_empty() {
                        self.held.pop_front();
                    }
                }
                gathered.into()
            }
        };
        if self.held.front().is_some_and(Bytes::is_empty) {
            self.held.pop_front();
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use tonic::Code;

    use super::*;

    struct Pieces(VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("small");
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    /// What comes of some bytes that arrive in pieces of `size`.
    async fn read(bytes: &[u8], size: usize) -> (Vec<Bytes>, Result<(), Code>) {
        let pieces = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        let mut frames = Frames::new(Pieces(pieces));
        let mut messages = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => return (messages, Err(status.code())),
            }
        }
    }

    #[tokio::test]
    async fn messages_come_out_whole_however_they_were_cut() {
        let sent: [&[u8]; 4] = [b"", b"a", b"bcdefghijkl", &[7; 300]];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
        for size in 1..=bytes.len() {
            let (messages, end) = read(&bytes, size).await;
            assert_eq!((messages.len(), end), (sent.len(), Ok(())), "{size}");
            assert!(messages.iter().eq(sent.iter()), "{size}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_stream() {
        let good = framed(b"good");
        for (bad, code) in [
            (&[1, 0, 0, 0, 1, 9][..], Code::Unimplemented),
            (&[0, 255, 255, 255, 255], Code::OutOfRange),
            (&[0, 0, 0, 0, 2, 9], Code::DataLoss),
            (&[0, 0], Code::DataLoss),
        ] {
            let (messages, end) = read(&[&good, bad].concat(), 4).await;
            assert_eq!((messages.len(), end), (1, Err(code)), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_kept_between_messages() {
        let bytes = framed(&[7; 100_000]);
        let pieces = bytes.chunks(16 << 10).map(Bytes::copy_from_slice).collect();
        let mut frames = Frames::new(Pieces(pieces));
        frames.next().await.expect("no error").expect("a message");
        assert_eq!((frames.held.capacity(), frames.held_bytes), (0, 0));
    }
}
