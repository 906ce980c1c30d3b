//! `POST /api/v1/scheduler`: Mesos' v1 scheduler API over HTTP, with the checks in Mesos' order.
//!
//! Here is what concerns HTTP: leadership, method, content types, parsing, Accept. What concerns the call (framework, stream id, the
//! rules of each type) is judged by the core, whose answer is passed on.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use tepui_http::negotiate::Format;
use tepui_master_core::{Reply, StreamKey};
use tepui_proto::mesos::scheduler::{Call, call};
use tokio::sync::oneshot;

use super::asked::{Asked, Response, empty, not_allowed, streaming, text};
use super::streams::SchedulerRecords;
use super::{Face, gone};
use crate::driver::{Notice, Request, Waiter};
use crate::reign::Reign;

/// The name of the header that ties a call to its subscription.
pub(super) const STREAM_ID: &str = "Mesos-Stream-Id";

/// Answers one call.
pub(super) async fn call(face: Arc<Face>, mut asked: Asked) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    if asked.method != Method::POST {
        return not_allowed("POST", &asked.method);
    }
    let format = match Format::of_body(&asked.headers) {
        Ok(format) => format,
        Err(refusal) => return refusal.into(),
    };
    let body = match asked.read_body(face.config.limits.body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let call: Call = match format.decode(&body) {
        Ok(call) => call,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    if let Err(why) = well_formed(&call) {
        return text(StatusCode::BAD_REQUEST, why);
    }
    match call.r#type() {
        call::Type::Subscribe => subscribe(&reign, &asked, call, body.len()).await,
        kind => {
            if kind == call::Type::ReconcileOperations
                && let Err(refusal) = Format::of_answer(&asked.headers)
            {
                return refusal.into();
            }
            let (waiter, answer) = oneshot::channel();
            let stream_id = asked
                .headers
                .get(STREAM_ID)
                .map(|id| String::from_utf8_lossy(id.as_bytes()).into());
            let request = Request::Call {
                stream_id,
                call: Box::new(call),
                waiter: Waiter::Http(waiter),
            };
            if reign.inbox.send(request, body.len()).await.is_err() {
                return gone();
            }
            answer.await.map_or_else(|_| gone(), answered)
        }
    }
}

/// A core's reply as an answer without content.
pub(super) fn answered(reply: Reply) -> Response {
    match reply {
        Reply::Ok => empty(StatusCode::OK),
        Reply::Accepted => empty(StatusCode::ACCEPTED),
        Reply::Refused { status, message } => text(
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            message,
        ),
    }
}

async fn subscribe(reign: &Reign, asked: &Asked, call: Call, bytes: usize) -> Response {
    let format = match Format::of_answer(&asked.headers) {
        Ok(format) => format,
        Err(refusal) => return refusal.into(),
    };
    if asked.headers.contains_key(STREAM_ID) {
        return text(
            StatusCode::BAD_REQUEST,
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        );
    }
    let stream = StreamKey(reign.inbox.key());
    let stream_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let closing = reign.inbox.clone();
    // From here on the stream is given up whenever its body is dropped: by this function, or by hyper when the client has gone.
    let (outbox, drainer) = reign.outboxes.open(move || {
        closing.notify(Notice::StreamClosed(stream));
    });
    let (waiter, answer) = oneshot::channel();
    let request = Request::Subscribe {
        stream,
        http_stream_id: Some(stream_id.clone()),
        call: Box::new(call),
        outbox,
        http: Some(waiter),
    };
    if reign.inbox.send(request, bytes).await.is_err() {
        return gone();
    }
    match answer.await {
        Err(_) => gone(),
        Ok(refused @ Reply::Refused { .. }) => answered(refused),
        Ok(Reply::Ok | Reply::Accepted) => {
            let mut answer = streaming(format.media_type(), SchedulerRecords::new(drainer, format));
            if let Ok(value) = HeaderValue::from_str(&stream_id) {
                answer.headers_mut().insert("Mesos-Stream-Id", value);
            }
            answer
        }
    }
}

/// Whether the call has a type and the field that belongs to it.
pub(super) fn well_formed(call: &Call) -> Result<(), String> {
    use call::Type;
    if call.r#type.is_none() {
        return Err(
            "Failed to validate scheduler::Call: Expecting 'type' to be present".to_owned(),
        );
    }
    let (field, present) = match call.r#type() {
        Type::Subscribe => ("subscribe", call.subscribe.is_some()),
        Type::Accept => ("accept", call.accept.is_some()),
        Type::Decline => ("decline", call.decline.is_some()),
        Type::AcceptInverseOffers => (
            "accept_inverse_offers",
            call.accept_inverse_offers.is_some(),
        ),
        Type::DeclineInverseOffers => (
            "decline_inverse_offers",
            call.decline_inverse_offers.is_some(),
        ),
        Type::Kill => ("kill", call.kill.is_some()),
        Type::Shutdown => ("shutdown", call.shutdown.is_some()),
        Type::Acknowledge => ("acknowledge", call.acknowledge.is_some()),
        Type::AcknowledgeOperationStatus => (
            "acknowledge_operation_status",
            call.acknowledge_operation_status.is_some(),
        ),
        Type::Reconcile => ("reconcile", call.reconcile.is_some()),
        Type::ReconcileOperations => ("reconcile_operations", call.reconcile_operations.is_some()),
        Type::Message => ("message", call.message.is_some()),
        Type::Request => ("request", call.request.is_some()),
        Type::UpdateFramework => ("update_framework", call.update_framework.is_some()),
        Type::Teardown | Type::Revive | Type::Suppress | Type::Unknown => return Ok(()),
    };
    if present {
        Ok(())
    } else {
        Err(format!(
            "Failed to validate scheduler::Call: Expecting '{field}' to be present"
        ))
    }
}
