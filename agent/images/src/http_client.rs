//! The HTTP client under the registry, and under whatever else an agent fetches: TLS, redirects, patience. It knows nothing of images.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Connecting, TLS included, may take this long together with the head of the answer.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The longest silence within a body.
pub(crate) const STALL_PATIENCE: Duration = Duration::from_secs(60);
/// The most redirects of one request.
const MAX_REDIRECTS: usize = 5;

/// Why there is no answer.
#[derive(Debug)]
pub struct Unreachable(pub String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

type Inner = Hyper<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Connections are kept and shared. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Inner,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// The machine's certificates are read once, when they are first needed: it takes milliseconds, and most agents pull nothing for hours.
fn connector() -> Result<HttpsConnector<HttpConnector>, Unreachable> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_connect_timeout(Some(CONNECT_PATIENCE));
    plain.set_nodelay(true);
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "this machine has no certificates of authorities (Debian: ca-certificates): servers over https will not be trusted"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unreachable(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
    Ok(builder.https_or_http().enable_http1().wrap_connector(plain))
}

/// The one client of this process.
///
/// # Errors
/// TLS cannot be set up.
pub fn client() -> Result<Client, Unreachable> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let inner = Hyper::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector()?);
    Ok(CLIENT.get_or_init(|| Client { inner }).clone())
}

impl Client {
    /// GET, following redirects. Credentials go to the first host only. The answer may have any status but a redirection's.
    ///
    /// # Errors
    /// Nobody answers in time, the answer is not HTTP, or its redirects lead nowhere.
    pub async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Unreachable> {
        let unreadable = |url: &str| Unreachable(format!("'{url}' is no address"));
        let mut uri: Uri = url.parse().map_err(|_| unreadable(url))?;
        let mut headers = headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Empty::new());
            *request.method_mut() = Method::GET;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            let answer = tokio::time::timeout(HEAD_PATIENCE, self.inner.request(request))
                .await
                .map_err(|_| Unreachable(format!("no answer within {HEAD_PATIENCE:?}")))?
                .map_err(|error| Unreachable(chain(&error)))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok())
                .ok_or_else(|| Unreachable("a redirect that says not whereto".to_owned()))?;
            let next = resolve(&uri, location).ok_or_else(|| unreadable(location))?;
            if next.scheme_str() == Some("http") && uri.scheme_str() == Some("https") {
                return Err(Unreachable(format!(
                    "it redirects from https to http ({location}), which is not followed"
                )));
            }
            if next.authority() != uri.authority() {
                headers.remove(AUTHORIZATION);
            }
            uri = next;
        }
        Err(Unreachable(format!("more than {MAX_REDIRECTS} redirects")))
    }
}

/// The address of a redirect, absolute or not.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location: Uri = location.parse().ok()?;
    if location.scheme().is_some() {
        return Some(location);
    }
    let path = location.path_and_query()?.as_str();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    path.starts_with('/')
        .then(|| format!("{scheme}://{authority}{path}").parse().ok())?
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Unreachable> {
    next_within(body, STALL_PATIENCE).await
}

/// The next piece of a body, if it comes within `patience`; `None` at its end.
///
/// # Errors
/// Nothing came, or the connection was cut.
pub async fn next_within(
    body: &mut Incoming,
    patience: Duration,
) -> Result<Option<Bytes>, Unreachable> {
    loop {
        let frame = tokio::time::timeout(patience, body.frame())
            .await
            .map_err(|_| Unreachable(format!("nothing came for {patience:?}")))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Unreachable(chain(&error))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A whole body of at most `limit` bytes; `Ok(None)` if it is larger.
pub(crate) async fn read(mut body: Incoming, limit: u64) -> Result<Option<Vec<u8>>, Unreachable> {
    let mut read = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if (read.len() + piece.len()) as u64 > limit {
            return Ok(None);
        }
        read.extend_from_slice(&piece);
    }
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_relative() {
        let base: Uri = "https://r:1/v2/a".parse().unwrap();
        for (location, whole) in [
            ("/blob?x=y", Some("https://r:1/blob?x=y")),
            ("https://cdn/b", Some("https://cdn/b")),
            ("http://[", None),
        ] {
            let found = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), whole);
        }
    }
}
