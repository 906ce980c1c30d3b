//! A request as the handlers see it, and the answers they give.

use std::collections::BTreeMap;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use warp::Filter;
use warp::Reply as _;
pub(crate) use warp::reply::Response;

/// How long a client may pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// The body's pieces as they arrive.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// A request.
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// The whole path, as it came.
    pub(crate) path: String,
    /// What followed `?`, as it came.
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    /// In a lock so that a request can be shared between threads; nobody ever waits for it.
    pub(crate) body: Shareable<BodyStream>,
}

/// Takes everything out of any request.
pub(crate) fn asked() -> impl Filter<Extract = (Asked,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .map(
            |method, path: warp::path::FullPath, query: Option<String>, headers, body| {
                let body = Shareable::new(into_bytes(body));
                Asked {
                    method,
                    path: path.as_str().to_owned(),
                    query,
                    headers,
                    body,
                }
            },
        )
}

fn into_bytes<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> BodyStream {
    Box::pin(body.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining()))))
}

impl Asked {
    /// The path and the query, as they came.
    pub(crate) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The query's parameters, decoded; the last one of a name counts.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        self.query.as_deref().map(form).unwrap_or_default()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the whole body, unpacked; at most `limit` bytes of it.
    pub(crate) async fn read_body(&mut self, limit: usize) -> Result<Bytes, Response> {
        let too_large = || {
            let mut answer = text(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body is larger than {limit} bytes"),
            );
            // What is left of it is not read, so the connection is of no further use.
            answer
                .headers_mut()
                .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            answer
        };
        let announced = self
            .header(CONTENT_LENGTH)
            .and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        let mut first: Option<Bytes> = None;
        loop {
            match tokio::time::timeout(BODY_PAUSE, self.body.next()).await {
                Err(_) => {
                    return Err(text(
                        StatusCode::REQUEST_TIMEOUT,
                        "The body did not arrive in time",
                    ));
                }
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(text(
                        StatusCode::BAD_REQUEST,
                        format!("Failed to read the body: {error}"),
                    ));
                }
                Ok(Some(Ok(piece))) => {
                    if whole.len() + first.as_ref().map_or(0, Bytes::len) + piece.len() > limit {
                        return Err(too_large());
                    }
                    // Most bodies are one piece: it is passed on without a copy.
                    match (first.take(), whole.is_empty()) {
                        (None, true) => first = Some(piece),
                        (held, _) => {
                            if let Some(held) = held {
                                whole.extend_from_slice(&held);
                            }
                            whole.extend_from_slice(&piece);
                        }
                    }
                }
            }
        }
        let body = first.unwrap_or_else(|| whole.freeze());
        match self.header(CONTENT_ENCODING) {
            Some("gzip") => unpack(&body, limit)?.ok_or_else(too_large),
            _ => Ok(body),
        }
    }
}

/// Unpacks gzip; `None` if it is more than `limit` bytes.
fn unpack(packed: &[u8], limit: usize) -> Result<Option<Bytes>, Response> {
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(packed)
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| {
            text(
                StatusCode::BAD_REQUEST,
                format!("Failed to decompress the gzip body: {error}"),
            )
        })?;
    Ok((unpacked.len() <= limit).then(|| unpacked.into()))
}

/// A stream that may be shared between threads, as warp wants it, though only one ever looks at it.
pub(crate) struct Shareable<S>(parking_lot::Mutex<S>);

impl<S> Shareable<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(parking_lot::Mutex::new(stream))
    }
}

impl<S: Stream + Unpin> Stream for Shareable<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().poll_next_unpin(cx)
    }
}

/// Decodes `a=b&c=d` with percent escapes and `+` for blanks.
pub(crate) fn form(text: &str) -> BTreeMap<String, String> {
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced)
            .decode_utf8_lossy()
            .into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut answer = Response::new(body.into().into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new("".into());
    *answer.status_mut() = status;
    answer
}

/// An answer of bytes.
pub(crate) fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(body.into().into());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer whose body is made while it is sent.
pub(crate) fn streaming<S>(content_type: &'static str, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, StreamBroken>> + Send + Sync + 'static,
{
    let mut answer = warp::reply::stream(body).into_response();
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A body that cannot be finished: the connection is broken off, so that the client cannot mistake it for the end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StreamBroken(pub(crate) &'static str);

/// 405 with what would be allowed: one method, or several with `, ` between them.
pub(crate) fn not_allowed(allowed: &'static str, method: &Method) -> Response {
    let mut answer = text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "Expecting one of {{ '{}' }}, but received '{method}'",
            allowed.replace(", ", "', '")
        ),
    );
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// 307 to another place.
pub(crate) fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut answer = empty(StatusCode::TEMPORARY_REDIRECT);
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => text(StatusCode::BAD_REQUEST, "The path cannot be redirected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let decoded = form("frameworkId=a%2Db+c&x&y=1&y=2");
        let expected = [("frameworkId", "a-b c"), ("x", ""), ("y", "2")];
        assert_eq!(
            decoded,
            expected
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect()
        );
    }

    #[test]
    fn gzip_is_bounded_and_rubbish_is_refused() {
        use std::io::Write;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&[7; 10_000]).expect("memory");
        let packed = packer.finish().expect("memory");
        assert_eq!(
            unpack(&packed, 10_000)
                .expect("good")
                .map(|bytes| bytes.len()),
            Some(10_000)
        );
        assert!(unpack(&packed, 9_999).expect("good").is_none());
        assert_eq!(
            unpack(b"rubbish", 100).expect_err("bad").status(),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            unpack(&packed[..packed.len() - 9], 10_000)
                .expect_err("cut short")
                .status(),
            StatusCode::BAD_REQUEST
        );
    }
}
