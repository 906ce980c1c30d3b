//! In which forms a call of the operator API comes and is answered, by Mesos' rules for its streams.
//!
//! | header | what for |
//! | --- | --- |
//! | `Content-Type: application/recordio` | the body is a stream of calls in the form that `Message-Content-Type` names |
//! | `Accept: application/recordio` | the answer is a stream of messages in the form that `Message-Accept` admits |

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use tepui_http::Refusal;
use tepui_http::negotiate::Format;

use super::asked::{Response, text};

const RECORDIO: &str = "application/recordio";
const MESSAGE_CONTENT_TYPE: HeaderName = HeaderName::from_static("message-content-type");
const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");

/// The form of a body: of the whole, or of each message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) format: Format,
    pub(super) is_stream: bool,
}

fn refusal(status: StatusCode, why: &str) -> Response {
    text(status, why)
}

impl Media {
    /// What the request's body is in.
    pub(super) fn of_body(headers: &HeaderMap) -> Result<Self, Response> {
        let message = headers.get(MESSAGE_CONTENT_TYPE);
        if headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) != Some(RECORDIO.as_bytes()) {
            let format = match Format::of_body(headers) {
                Ok(format) => format,
                Err(Refusal { status, .. }) if status == StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    return Err(refusal(
                        status,
                        "Expecting 'Content-Type' of application/json or application/x-protobuf or application/recordio",
                    ));
                }
                Err(other) => return Err(other.into()),
            };
            if message.is_some() {
                return Err(refusal(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "Expecting 'Message-Content-Type' to be not set for non-streaming requests",
                ));
            }
            return Ok(Self {
                format,
                is_stream: false,
            });
        }
        let format = match message.map(HeaderValue::as_bytes) {
            Some(b"application/json") => Format::Json,
            Some(b"application/x-protobuf") => Format::Protobuf,
            Some(_) => {
                return Err(refusal(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "Expecting 'Message-Content-Type' of application/json or application/x-protobuf",
                ));
            }
            None => {
                return Err(refusal(
                    StatusCode::BAD_REQUEST,
                    "Expecting 'Message-Content-Type' to be set for streaming requests",
                ));
            }
        };
        Ok(Self {
            format,
            is_stream: true,
        })
    }

    /// What the answer may be in; a plain one if both will do.
    pub(super) fn of_answer(headers: &HeaderMap) -> Result<Self, Response> {
        let plain = Format::of_answer(headers);
        if let Ok(format) = plain {
            if headers.contains_key(MESSAGE_ACCEPT) {
                return Err(refusal(
                    StatusCode::NOT_ACCEPTABLE,
                    "Expecting 'Message-Accept' to be not set for non-streaming responses",
                ));
            }
            return Ok(Self {
                format,
                is_stream: false,
            });
        }
        if !tepui_http::negotiate::accepts(headers, RECORDIO) {
            return Err(refusal(
                StatusCode::NOT_ACCEPTABLE,
                "Expecting 'Accept' to allow application/json or application/x-protobuf or application/recordio",
            ));
        }
        let mut messages = HeaderMap::new();
        for value in headers.get_all(MESSAGE_ACCEPT) {
            messages.append(ACCEPT, value.clone());
        }
        let format = Format::of_answer(&messages).map_err(|_| {
            refusal(
                StatusCode::NOT_ACCEPTABLE,
                "Expecting 'Message-Accept' to allow application/json or application/x-protobuf",
            )
        })?;
        Ok(Self {
            format,
            is_stream: true,
        })
    }

    /// Labels an answer that is a stream of messages: also one that was asked for in a plain form.
    pub(super) fn label(self, answer: &mut Response) {
        let messages = HeaderValue::from_static(self.format.media_type());
        let headers = answer.headers_mut();
        if self.is_stream {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(RECORDIO));
            headers.insert(MESSAGE_CONTENT_TYPE, messages);
        } else {
            headers.insert(CONTENT_TYPE, messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = all.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        pairs.collect()
    }

    type Expected = Result<(Format, bool), u16>;

    fn check(found: Result<Media, Response>, expected: Expected, what: &impl std::fmt::Debug) {
        let found = found
            .map(|media| (media.format, media.is_stream))
            .map_err(|refusal| refusal.status().as_u16());
        assert_eq!(found, expected, "{what:?}");
    }

    #[test]
    fn streams_name_the_form_of_their_messages() {
        let cases: [(&[(&str, &str)], Expected); 7] = [
            (
                &[("content-type", "application/json")],
                Ok((Format::Json, false)),
            ),
            (&[], Err(400)),
            (&[("content-type", "text/plain")], Err(415)),
            (
                &[
                    ("content-type", "application/json"),
                    ("message-content-type", "application/json"),
                ],
                Err(415),
            ),
            (&[("content-type", "application/recordio")], Err(400)),
            (
                &[
                    ("content-type", "application/recordio"),
                    ("message-content-type", "text/plain"),
                ],
                Err(415),
            ),
            (
                &[
                    ("content-type", "application/recordio"),
                    ("message-content-type", "application/x-protobuf"),
                ],
                Ok((Format::Protobuf, true)),
            ),
        ];
        for (given, expected) in cases {
            check(Media::of_body(&headers(given)), expected, &given);
        }
        let cases: [(&[(&str, &str)], Expected); 7] = [
            (&[], Ok((Format::Json, false))),
            (&[("accept", "*/*")], Ok((Format::Json, false))),
            (
                &[("accept", "application/x-protobuf")],
                Ok((Format::Protobuf, false)),
            ),
            (&[("message-accept", "application/json")], Err(406)),
            (&[("accept", "text/html")], Err(406)),
            (
                &[("accept", "application/recordio")],
                Ok((Format::Json, true)),
            ),
            (
                &[
                    ("accept", "application/recordio"),
                    ("message-accept", "application/x-protobuf"),
                ],
                Ok((Format::Protobuf, true)),
            ),
        ];
        for (given, expected) in cases {
            check(Media::of_answer(&headers(given)), expected, &given);
        }
        let neither = [
            ("accept", "application/recordio"),
            ("message-accept", "text/html"),
        ];
        check(Media::of_answer(&headers(&neither)), Err(406), &neither);
    }
}
