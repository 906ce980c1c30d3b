//! What executors report by `POST /api/v1/executor`, by the direct path of [`tepui_http::direct`].

use http::StatusCode;
use tepui_http::direct::{Answer, Calls, Posted};
use tepui_http::negotiate::Format;
use tepui_proto::mesos::v1::executor::{Call, call};

use super::Face;

/// The executor API of this face.
pub(super) struct Executors<'a>(pub(super) &'a Face);

impl Calls for Executors<'_> {
    type Call = Box<Call>;

    const PATHS: &'static [&'static str] = &["/api/v1/executor", "/slave(1)/api/v1/executor"];
    const HEADER: Option<&'static str> = None;

    fn ready(&self) -> bool {
        true
    }

    fn read(&self, format: Format, body: &[u8]) -> Option<Box<Call>> {
        let call = format.decode::<Call>(body).ok()?;
        let plain = match call.r#type() {
            call::Type::Update => call.update.is_some(),
            call::Type::Message => call.message.is_some(),
            call::Type::Heartbeat => true,
            // A stream is the answer, or a refusal.
            call::Type::Subscribe | call::Type::Unknown => false,
        };
        plain.then(|| Box::new(call))
    }

    async fn judge(&self, calls: Vec<Posted<Box<Call>>>, _: usize) -> Vec<Answer> {
        let calls = calls.into_iter().map(|posted| *posted.call);
        let answers = self.0.executors.calls(calls.collect()).await;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(_) => Answer {
                status: StatusCode::ACCEPTED,
                message: None,
            },
            Err(why) => Answer {
                status: StatusCode::from_u16(why.status).unwrap_or(StatusCode::BAD_REQUEST),
                message: Some(why.message),
            },
        });
        answers.collect()
    }
}
