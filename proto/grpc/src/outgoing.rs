//! The way out of a stream whose way in is read by [`crate::Frames`].

use prost::Message;
use tonic::codec::{Codec, EncodeBody, SingleMessageCompressionOverride};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{http, http::header::CONTENT_TYPE};
use tonic::{Status, body::Body, metadata::GRPC_CONTENT_TYPE};

use crate::{Checked, MESSAGE_LIMIT_BYTES};

/// The answer of a service that sends these messages.
pub fn outgoing<T, S>(messages: S) -> http::Response<Body>
where
    T: Message + Send + 'static,
    S: Stream<Item = Result<T, Status>> + Send + 'static,
{
    // What is decoded has no part in this.
    let encoder = Checked::<T, tepui_proto::tepui::AgentFrame>::default().encoder();
    let body = EncodeBody::new_server(
        encoder,
        messages,
        None,
        SingleMessageCompressionOverride::default(),
        Some(MESSAGE_LIMIT_BYTES),
    );
    let mut answer = http::Response::new(Body::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    answer
}
