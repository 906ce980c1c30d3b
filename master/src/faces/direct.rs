//! Calls of `POST /api/v1/scheduler` by the direct path of [`tepui_http::direct`]: they go to the driver together, in one parcel.

use http::StatusCode;
use tepui_http::direct::{Answer, Calls, Posted};
use tepui_http::negotiate::Format;
use tepui_master_core::Reply;
use tepui_proto::mesos::scheduler::{Call, call};
use tokio::sync::oneshot;

use super::{Face, NO_MORE, scheduler};
use crate::driver::{self, Request};
use crate::reign::Standing;

/// The scheduler API of this face.
pub(super) struct Scheduler<'a>(pub(super) &'a Face);

impl Calls for Scheduler<'_> {
    type Call = Box<Call>;

    const PATHS: &'static [&'static str] = &["/api/v1/scheduler", "/master/api/v1/scheduler"];
    const HEADER: Option<&'static str> = Some("mesos-stream-id");

    fn ready(&self) -> bool {
        matches!(self.0.standing(), Standing::Leading(_))
    }

    fn read(&self, format: Format, body: &[u8]) -> Option<Box<Call>> {
        let call = format.decode::<Call>(body).ok()?;
        is_for_the_core(&call).then(|| Box::new(call))
    }

    async fn judge(&self, calls: Vec<Posted<Box<Call>>>, bytes: usize) -> Vec<Answer> {
        let mut replies = Vec::with_capacity(calls.len());
        let parcel = calls
            .into_iter()
            .map(|posted| {
                let (answer, reply) = oneshot::channel();
                replies.push(reply);
                driver::Posted {
                    stream_id: posted.header,
                    call: posted.call,
                    answer,
                }
            })
            .collect();
        if let Standing::Leading(reign) = self.0.standing() {
            // Without a core the replies never come, and each says so.
            let _ = reign.inbox.send(Request::Posted(parcel), bytes).await;
        }
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            let answer = answer(reply.await.unwrap_or_else(|_| Reply::Refused {
                status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                message: NO_MORE.to_owned(),
            }));
            self.0.metrics.answered(answer.status.as_u16());
            answers.push(answer);
        }
        answers
    }
}

/// The core's reply, as [`scheduler::answered`] has it.
fn answer(reply: Reply) -> Answer {
    let (status, message) = match reply {
        Reply::Ok => (StatusCode::OK, None),
        Reply::Accepted => (StatusCode::ACCEPTED, None),
        Reply::Refused { status, message } => (
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            Some(message),
        ),
    };
    Answer { status, message }
}

/// SUBSCRIBE is answered with a stream, RECONCILE_OPERATIONS looks at `Accept`.
fn is_for_the_core(call: &Call) -> bool {
    scheduler::well_formed(call).is_ok()
        && !matches!(
            call.r#type(),
            call::Type::Subscribe | call::Type::ReconcileOperations
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_the_core_judges_are_taken() {
        for (body, expected) in [
            (r#"{"type":"REVIVE"}"#, true),
            ("{}", false),
            (r#"{"type":"ACKNOWLEDGE"}"#, false),
            (
                r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#,
                false,
            ),
            (
                r#"{"type":"RECONCILE_OPERATIONS","reconcile_operations":{}}"#,
                false,
            ),
        ] {
            let call = Format::Json.decode(body.as_bytes()).expect("a call");
            assert_eq!(is_for_the_core(&call), expected, "{body}");
        }
    }
}
