//! A small HTTP client for tests: one request, one answer.

use std::time::Duration;

use serde_json::Value;

/// An answer: status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// For an answer; who asks again and again is to be told that nobody answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

fn agent() -> ureq::Agent {
    agent_within(ANSWER_TIMEOUT)
}

fn agent_within(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(3)
        .timeout_global(Some(limit))
        .build()
        .into()
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
    let mut answer = answer.ok()?;
    Some(Answer {
        status: answer.status().as_u16(),
        body: answer.body_mut().read_to_string().ok()?,
    })
}

/// GET; `None` if nobody answers.
#[must_use]
pub fn get(url: &str) -> Option<Answer> {
    read(agent().get(url).call())
}

/// GET of a JSON document; `None` unless it is answered with 200.
#[must_use]
pub fn get_json(url: &str) -> Option<Value> {
    get(url)
        .filter(|answer| answer.status == 200)
        .and_then(|answer| serde_json::from_str(&answer.body).ok())
}

/// POST of a JSON document; `None` if nobody answers.
#[must_use]
pub fn post(url: &str, body: &Value) -> Option<Answer> {
    read(
        agent()
            .post(url)
            .content_type("application/json")
            .send(body.to_string()),
    )
}

/// PUT of a JSON document; `None` if nobody answers.
#[must_use]
pub fn put(url: &str, body: &Value) -> Option<Answer> {
    put_within(ANSWER_TIMEOUT, url, body)
}

/// PUT of a JSON document that may take long; `None` if nobody answers in time, or who was to answer is gone.
#[must_use]
pub fn put_within(limit: Duration, url: &str, body: &Value) -> Option<Answer> {
    read(
        agent_within(limit)
            .put(url)
            .content_type("application/json")
            .send(body.to_string()),
    )
}

/// DELETE; `None` if nobody answers.
#[must_use]
pub fn delete(url: &str) -> Option<Answer> {
    read(agent().delete(url).call())
}
