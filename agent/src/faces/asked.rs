//! A request as the handlers see it, and the answers they give.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tepui_http::negotiate::Format;
use tepui_proto::json::Json;
use warp::Filter;
pub(super) use warp::reply::Response;

/// A client may pause this long within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// A request.
pub(super) struct Asked {
    pub(super) method: Method,
    /// As it came.
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    /// In a mutex only so that the request may be shared; nobody locks it.
    body: parking_lot::Mutex<BodyStream>,
}

/// Takes everything out of any request.
pub(super) fn asked() -> impl Filter<Extract = (Asked,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .map(
            |method, path: warp::path::FullPath, query: String, headers, body| Asked {
                method,
                path: path.as_str().to_owned(),
                query: parameters(&query),
                headers,
                body: parking_lot::Mutex::new(bytes_of(body)),
            },
        )
}

fn bytes_of<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> BodyStream {
    Box::pin(body.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining()))))
}

/// The parameters of a query, decoded; the last of a name counts.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

impl Asked {
    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Reads a call of the v1 API: method, content type and body are checked in Mesos' order.
    pub(super) async fn call<M: Json + Default + tepui_proto::wire::Checked>(
        &mut self,
        limit_bytes: usize,
    ) -> Result<M, Response> {
        self.check_method()?;
        let format = Format::of_body(&self.headers)?;
        self.whole(format, limit_bytes).await
    }

    /// Only POST.
    pub(super) fn check_method(&self) -> Result<(), Response> {
        if self.method == Method::POST {
            return Ok(());
        }
        let mut answer = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Expecting one of { 'POST' }, but received '".to_owned() + self.method.as_str() + "'",
        );
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        Err(answer)
    }

    /// The whole body as one message.
    pub(super) async fn whole<M: Json + Default + tepui_proto::wire::Checked>(
        &mut self,
        format: Format,
        limit_bytes: usize,
    ) -> Result<M, Response> {
        let body = self.body(limit_bytes).await?;
        format
            .decode(&body)
            .map_err(|problem| text(StatusCode::BAD_REQUEST, problem))
    }

    /// The next piece of a body that may take as long as it likes.
    pub(super) async fn piece(&mut self) -> Option<Result<Bytes, warp::Error>> {
        self.body.get_mut().next().await
    }

    async fn body(&mut self, limit_bytes: usize) -> Result<Bytes, Response> {
        let mut whole = BytesMut::new();
        loop {
            match tokio::time::timeout(BODY_PAUSE, self.body.get_mut().next()).await {
                Err(_) => return Err(text(StatusCode::REQUEST_TIMEOUT, "The body does not come")),
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(_))) => {
                    return Err(text(StatusCode::BAD_REQUEST, "The body broke off"));
                }
                Ok(Some(Ok(piece))) => {
                    if whole.len() + piece.len() > limit_bytes {
                        let mut answer = text(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            format!("The body is larger than {limit_bytes} bytes"),
                        );
                        answer
                            .headers_mut()
                            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
                        return Err(answer);
                    }
                    whole.extend_from_slice(&piece);
                }
            }
        }
    }

    /// A JSON answer, wrapped in the function that `jsonp` names.
    pub(super) fn json(&self, value: &impl serde::Serialize) -> Response {
        // What is answered has names for keys and no numbers that JSON lacks: this does not fail.
        let body = serde_json::to_string(value).unwrap_or_default();
        match self.parameter("jsonp") {
            Some(function) => typed(
                StatusCode::OK,
                "text/javascript",
                format!("{function}({body})"),
            ),
            None => typed(StatusCode::OK, "application/json", body),
        }
    }
}

/// An answer of a media type.
pub(super) fn typed(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    let mut answer = warp::reply::Reply::into_response(http::Response::new(body.to_vec()));
    *answer.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(media_type) {
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

/// An answer in plain text.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let body: String = body.into();
    typed(status, "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let read = parameters("path=/a%20b+c&offset=-1&x");
        assert_eq!(
            (
                read["path"].as_str(),
                read["offset"].as_str(),
                read["x"].as_str()
            ),
            ("/a b c", "-1", "")
        );
    }
}
