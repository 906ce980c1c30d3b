//! What all HTTP faces share, whichever daemon they belong to: no route, and no listener.
//!
//! - [`target`]: which request targets are served at all, asked before any routing;
//! - [`negotiate`]: JSON or protobuf, in requests and in answers, and whether an answer may be packed;
//! - [`direct`]: the short way of calls that come by the ten thousand;
//! - [`tls`]: TLS of checks, which believe any certificate.
//!
//! What is not served is a [`Refusal`], which turns into an answer of any server's by `?` or `into()`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod direct;
pub mod negotiate;
mod rewound;
pub mod target;
pub mod tls;

pub use rewound::Rewound;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// A request that is not served: with which status, and the sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// Of the 4xx class.
    pub status: StatusCode,
    /// For the client to read.
    pub why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
        }
    }
}

/// The answer in plain text.
impl<B: From<String>> From<Refusal> for Response<B> {
    fn from(refusal: Refusal) -> Self {
        let mut answer = Response::new(refusal.why.into());
        *answer.status_mut() = refusal.status;
        answer.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        answer
    }
}
