//! Mesos' v1 executor API: calls by POST, and the events of a subscription as a stream of RecordIO.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::StatusCode;
use tepui_http::negotiate::Format;
use tepui_proto::mesos::v1::executor::{Call, Event, call, event};
use tepui_proto::recordio;

use super::Face;
use super::asked::{Asked, Response, text};
use crate::executors::{Answer, Events, NotTaken};

/// The largest call that is read.
const CALL_BYTES: usize = 32 << 20;
/// Between heartbeats of a subscription.
const HEARTBEAT: Duration = Duration::from_secs(30 * 60);

pub(super) async fn answer(face: &Arc<Face>, mut asked: Asked) -> Response {
    let call: Call = match asked.call(CALL_BYTES).await {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    if call.r#type == Some(call::Type::Unknown.into()) {
        return text(StatusCode::NOT_IMPLEMENTED, "");
    }
    let format = match (call.r#type(), Format::of_answer(&asked.headers)) {
        (call::Type::Subscribe, Err(refusal)) if call.subscribe.is_some() => return refusal.into(),
        (_, format) => format.unwrap_or(Format::Json),
    };
    match face.executors.call(call).await {
        Ok(Answer::Accepted) => text(StatusCode::ACCEPTED, ""),
        Ok(Answer::Subscribed(events)) => stream(events, format),
        Err(NotTaken { status, message }) => text(
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            message,
        ),
    }
}

fn stream(events: Events, format: Format) -> Response {
    let mut answer =
        warp::reply::Reply::into_response(warp::reply::stream(records(events, format)));
    answer.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(format.media_type()),
    );
    answer
}

fn records(
    events: Events,
    format: Format,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let heartbeat = tokio::time::Instant::now() + HEARTBEAT;
    futures::stream::unfold(
        (events, heartbeat),
        move |(mut events, mut heartbeat)| async move {
            let batch = tokio::select! {
                batch = events.next() => batch?,
                () = tokio::time::sleep_until(heartbeat) => {
                    heartbeat = tokio::time::Instant::now() + HEARTBEAT;
                    vec![Event { r#type: Some(event::Type::Heartbeat.into()), ..Default::default() }]
                }
            };
            let mut out = Vec::new();
            for event in &batch {
                recordio::encode(&format.to_vec(event), &mut out);
            }
            Some((Ok(out.into()), (events, heartbeat)))
        },
    )
}
