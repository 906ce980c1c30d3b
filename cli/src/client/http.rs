//! Requests and answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// The largest answer that is read into memory.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// How long an answer may take. Answers are produced from memory; a minute means that nobody is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects are followed from a non-leader to the leader; a chain longer than this is a loop.
const MAX_REDIRECTS: usize = 4;

/// Why a request did not get a good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address cannot be parsed.
    #[error("`{url}` is not an address that can be called: {source}")]
    Address {
        url: String,
        #[source]
        source: http::Error,
    },
    /// Nobody answered.
    #[error(
        "{url} does not answer: {reason}. Is it running? `tepui --help` shows how to name another address"
    )]
    Unreachable { url: String, reason: String },
    /// A redirect without end.
    #[error("{url} redirects in a circle: no leader can be found")]
    Redirects { url: String },
    /// The server refused.
    #[error("{url} answered {status}: {message}")]
    Refused {
        url: String,
        status: StatusCode,
        message: String,
    },
    /// What came could not be written down.
    #[error("what came cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// The answer is not the JSON that was expected.
    #[error("{url} did not answer with JSON: {source}")]
    NotJson {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The status that the server refused with, if it did.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A good answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    url: String,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; an empty body is `null`.
    pub(crate) fn json(self) -> Result<Value, ClientError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|source| ClientError::NotJson {
            url: self.url,
            source,
        })
    }
}

/// A pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
        }
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, url, Bytes::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let (url, answer) = self.open(method, url, body, "application/json").await?;
        let (parts, incoming) = answer.into_parts();
        let read = tokio::time::timeout(
            ANSWER_TIMEOUT,
            Limited::new(incoming, MAX_ANSWER_BYTES).collect(),
        )
        .await;
        match read {
            Ok(Ok(collected)) => Ok(Answer {
                body: collected.to_bytes(),
                headers: parts.headers,
                url,
            }),
            Ok(Err(error)) => Err(ClientError::Unreachable {
                url,
                reason: format!("the answer broke off ({error})"),
            }),
            Err(_) => Err(ClientError::Unreachable {
                url,
                reason: "the answer did not end within a minute".into(),
            }),
        }
    }

    /// What may be of any size: it is read for as long as it comes, and handed on piece by piece.
    pub(crate) async fn get_large(
        &self,
        url: &str,
        mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), ClientError> {
        let (url, answer) = self
            .open(Method::GET, url, Bytes::new(), "application/json")
            .await?;
        let mut body = answer.into_body();
        loop {
            let broken = |reason| ClientError::Unreachable {
                url: url.clone(),
                reason,
            };
            match tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        each(data).map_err(ClientError::Write)?;
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(broken(format!("the answer broke off ({error})")));
                }
                Ok(None) => return Ok(()),
                Err(_) => return Err(broken("the answer stopped for a minute".into())),
            }
        }
    }

    /// Sends a request, follows redirects to the leader, and hands out a good answer as it arrives.
    pub(super) async fn open(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        accept: &str,
    ) -> Result<(String, Response<Incoming>), ClientError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let request = Request::builder()
                .method(method.clone())
                .uri(&url)
                .header(header::ACCEPT, accept)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()))
                .map_err(|source| ClientError::Address {
                    url: url.clone(),
                    source,
                })?;
            let answer =
                match tokio::time::timeout(ANSWER_TIMEOUT, self.pool.request(request)).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(error)) => {
                        return Err(ClientError::Unreachable {
                            url,
                            reason: root_cause(&error),
                        });
                    }
                    Err(_) => {
                        return Err(ClientError::Unreachable {
                            url,
                            reason: "no answer within a minute".into(),
                        });
                    }
                };
            let status = answer.status();
            if status.is_redirection()
                && let Some(next) = redirect_target(&url, answer.headers())
            {
                url = next;
                continue;
            }
            if status.is_success() {
                return Ok((url, answer));
            }
            let text = Limited::new(answer.into_body(), 1 << 20)
                .collect()
                .await
                .map(|b| b.to_bytes())
                .unwrap_or_default();
            let message = if is_unknown_to_mesos(&url, status, &text) {
                "Tepui's master has this, and Apache Mesos has not".to_owned()
            } else {
                explanation(&text)
            };
            return Err(ClientError::Refused {
                url,
                status,
                message,
            });
        }
        Err(ClientError::Redirects { url })
    }
}

/// The innermost reason of an error chain: "connection refused" rather than "client error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Where a redirect leads: absolute, protocol-relative as Mesos writes it, or a path.
fn redirect_target(url: &str, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let (scheme, rest) = url.split_once("://")?;
    Some(if location.contains("://") {
        location.to_owned()
    } else if let Some(address) = location.strip_prefix("//") {
        format!("{scheme}://{address}")
    } else {
        let host = rest.split('/').next().unwrap_or(rest);
        format!("{scheme}://{host}{location}")
    })
}

/// Whether a call of Tepui's own was sent to a master or agent of Apache Mesos.
fn is_unknown_to_mesos(url: &str, status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::NOT_FOUND && url.contains("/tepui/v1/") && body == b"404 Not Found."
}

/// What a refusal's body says, in one line: Marathon's `message` with its `details`, or the plain text of Mesos.
fn explanation(body: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        return if text.trim().is_empty() {
            "no explanation".into()
        } else {
            text.trim().to_owned()
        };
    };
    let mut text = document["message"]
        .as_str()
        .map_or_else(|| document.to_string(), str::to_owned);
    match &document["details"] {
        Value::String(detail) => text.push_str(&format!(": {detail}")),
        Value::Array(details) => {
            for detail in details {
                let errors: Vec<_> = detail["errors"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                text.push_str(&format!(
                    "; {} {}",
                    detail["path"].as_str().unwrap_or("/"),
                    errors.join(", ")
                ));
            }
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_the_leader() {
        for (location, expected) in [
            ("//leader:5050/state?x=1", "http://leader:5050/state?x=1"),
            ("http://other/x", "http://other/x"),
            ("/ui/", "http://here:1/ui/"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            assert_eq!(
                redirect_target("http://here:1/state", &headers).as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn of_calls_that_mesos_has_not_is_told_that_they_are_tepuis() {
        let own = "http://m:5050/tepui/v1/events";
        for (url, status, body, expected) in [
            (own, 404, "404 Not Found.", true),
            (own, 404, "no such task", false),
            (own, 400, "404 Not Found.", false),
            ("http://m:5050/slaves", 404, "404 Not Found.", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let told = is_unknown_to_mesos(url, status, body.as_bytes());
            assert_eq!(told, expected, "{url} {status} {body}");
        }
    }

    #[test]
    fn refusals_are_explained_in_one_line() {
        for (body, expected) in [
            (
                r#"{"message":"Object is not valid","details":[{"path":"/id","errors":["must not be empty"]}]}"#,
                "Object is not valid; /id must not be empty",
            ),
            (
                r#"{"message":"Invalid JSON","details":"line 1"}"#,
                "Invalid JSON: line 1",
            ),
            ("Framework cannot be found\n", "Framework cannot be found"),
            ("", "no explanation"),
        ] {
            assert_eq!(explanation(body.as_bytes()), expected);
        }
    }
}
