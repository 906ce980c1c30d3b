//! Other processes' pages under the master's own origin, so that one UI reaches everything.
//!
//! | path | goes to |
//! | --- | --- |
//! | `/service/<framework name>/…` | that framework's own `webui_url`, and nowhere else |
//! | `/agent/<agent id>/…` | that agent's `/state`, `/monitor/statistics`, `/metrics/snapshot`, `/containers`, `/files/*`; reading only |
//! | `/tepui/v1/agents/<agent id>/files/…` | that agent's `/files/*`; reading only |
//!
//! It is no open proxy: where a request goes is what a registered framework or agent said of itself, never what the request says. Bodies
//! stream both ways, so that event streams work. Targets must be plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tepui_model::AgentId;
use warp::Reply as _;

use super::asked::{Asked, Response, Shareable, not_allowed, text};
use super::{BoxError, Face};

/// How long a target may take until its answer begins.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an agent shows to others through the master.
const AGENT_PAGES: [&str; 5] = [
    "state",
    "monitor/statistics",
    "metrics/snapshot",
    "containers",
    "health",
];

/// Headers that belong to one connection, not to the message.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    http::header::TE,
    http::header::TRAILER,
    http::header::PROXY_AUTHORIZATION,
];

/// Connections to targets, kept for a while.
pub(crate) struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, UnsyncBoxBody<Bytes, BoxError>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(8)
            .build(connector);
        Self { http }
    }
}

/// `/service/<framework name>/…`
pub(super) async fn service(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    let Some((name, _)) = below(&asked.path, "/service/") else {
        return text(
            StatusCode::NOT_FOUND,
            "Expecting /service/<framework name>/",
        );
    };
    let decoded = percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .into_owned();
    let url = reign.view.read(|state| {
        let named = state
            .frameworks
            .values()
            .map(|framework| &framework.shown.object)
            .filter(|framework| framework.info.name == decoded);
        // Of several of one name the connected one, of these the newest.
        let newest = named.max_by_key(|framework| (framework.connected, framework.registered_at));
        newest.map(|framework| framework.info.webui_url.clone().unwrap_or_default())
    });
    let Some(url) = url else {
        return text(
            StatusCode::NOT_FOUND,
            format!("There is no framework named '{decoded}'"),
        );
    };
    let Some(target) = Target::parse(&url) else {
        return text(
            StatusCode::BAD_GATEWAY,
            format!(
                "The framework '{decoded}' has no web address that can be reached: webui_url is '{url}'"
            ),
        );
    };
    let prefix = format!("/service/{name}");
    // Without the slash a page's relative links would lead elsewhere.
    if asked.path == prefix && asked.method == Method::GET {
        let query = asked
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        return super::asked::redirect(&format!("{prefix}/{query}"));
    }
    let rest = asked
        .path
        .get(prefix.len()..)
        .unwrap_or_default()
        .to_owned();
    forward(&face, asked, &target, &rest, &prefix).await
}

/// `/agent/<agent id>/…`
pub(super) async fn agent(face: Arc<Face>, asked: Asked) -> Response {
    to_agent(face, asked, "/agent/").await
}

/// `/tepui/v1/agents/<agent id>/files/…`
pub(super) async fn agent_files(face: Arc<Face>, asked: Asked) -> Response {
    to_agent(face, asked, "/tepui/v1/agents/").await
}

async fn to_agent(face: Arc<Face>, asked: Asked, before: &str) -> Response {
    let reign = match face.leading(|| asked.path_and_query()) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return not_allowed("GET", &asked.method);
    }
    let Some((id, rest)) = below(&asked.path, before) else {
        return text(
            StatusCode::NOT_FOUND,
            format!("Expecting {before}<agent id>/"),
        );
    };
    let page = rest.trim_matches('/');
    if !(page.starts_with("files/") || AGENT_PAGES.contains(&page))
        || page.split('/').any(|part| part == "..")
    {
        return text(
            StatusCode::NOT_FOUND,
            format!("An agent does not show '{rest}' here"),
        );
    }
    let address = AgentId::new(id).ok().and_then(|id| {
        reign.view.read(|state| {
            state.agents.get(&id).map(|agent| {
                format!(
                    "{}:{}",
                    agent.object.info.hostname,
                    agent.object.info.port.unwrap_or(5051)
                )
            })
        })
    });
    let Some(target) = address
        .as_ref()
        .and_then(|address| Target::parse(&format!("http://{address}")))
    else {
        return text(StatusCode::NOT_FOUND, format!("There is no agent '{id}'"));
    };
    let (prefix, rest) = (format!("{before}{id}"), rest.to_owned());
    forward(&face, asked, &target, &rest, &prefix).await
}

/// The first segment after `before` and everything that follows it.
fn below<'a>(path: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    let rest = path.strip_prefix(before)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    (!name.is_empty()).then_some((name, rest))
}

/// A base URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    authority: String,
    /// Without a slash at its end.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.trim().parse().ok()?;
        if uri.scheme_str()? != "http" {
            return None;
        }
        let authority = uri.authority()?;
        // A password in the URL is not for everybody who can reach the master.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        Some(Self {
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

async fn forward(face: &Face, asked: Asked, target: &Target, rest: &str, prefix: &str) -> Response {
    face.metrics
        .proxied
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let query = asked
        .query
        .as_ref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let uri = format!(
        "http://{}{}{}{query}",
        target.authority,
        target.path,
        if rest.is_empty() { "/" } else { rest }
    );
    let mut request = Request::builder().method(asked.method.clone()).uri(&uri);
    if let Some(headers) = request.headers_mut() {
        *headers = passed_on(&asked.headers);
        if let Some(host) = asked.headers.get(HOST) {
            headers.insert("x-forwarded-host", host.clone());
        }
        headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
        if let Ok(prefix) = HeaderValue::from_str(prefix) {
            headers.insert("x-forwarded-prefix", prefix);
        }
        if let Ok(host) = HeaderValue::from_str(&target.authority) {
            headers.insert(HOST, host);
        }
    }
    let body =
        StreamBody::new(asked.body.map_ok(Frame::data).map_err(BoxError::from)).boxed_unsync();
    let Ok(request) = request.body(body) else {
        return text(StatusCode::BAD_REQUEST, "The request cannot be passed on");
    };
    match tokio::time::timeout(PATIENCE, face.client.http.request(request)).await {
        Err(_) => text(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "{} did not answer within {} s",
                target.authority,
                PATIENCE.as_secs()
            ),
        ),
        Ok(Err(error)) => text(
            StatusCode::BAD_GATEWAY,
            format!("{} cannot be reached: {error}", target.authority),
        ),
        Ok(Ok(answer)) => {
            let (parts, body) = answer.into_parts();
            let data = BodyStream::new(body).filter_map(|frame| async {
                frame.map(|frame| frame.into_data().ok()).transpose()
            });
            let mut passed = warp::reply::stream(Shareable::new(Box::pin(data))).into_response();
            *passed.status_mut() = parts.status;
            *passed.headers_mut() = passed_on(&parts.headers);
            if let Some(location) = parts
                .headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                && let Ok(location) = HeaderValue::from_str(&moved(location, target, prefix))
            {
                passed.headers_mut().insert(LOCATION, location);
            }
            passed
        }
    }
}

/// The headers of a message without those of its connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| {
            value
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
        })
        .collect();
    for name in named {
        passed.remove(&name);
    }
    for name in HOP_BY_HOP {
        passed.remove(name);
    }
    passed.remove("keep-alive");
    passed.remove("proxy-connection");
    passed
}

/// Where a redirect of the target leads, seen from the master.
fn moved(location: &str, target: &Target, prefix: &str) -> String {
    let base = format!("http://{}{}", target.authority, target.path);
    let local = match location.strip_prefix(&base) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => Some(rest),
        _ if location.starts_with("//") => None,
        _ => location
            .strip_prefix(&target.path)
            .filter(|rest| rest.starts_with('/')),
    };
    local.map_or_else(|| location.to_owned(), |rest| format!("{prefix}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_targets() {
        let target = |authority: &str, path: &str| {
            Some(Target {
                authority: authority.to_owned(),
                path: path.to_owned(),
            })
        };
        for (url, expected) in [
            ("http://h:8080", target("h:8080", "")),
            ("http://h:8080/ui/", target("h:8080", "/ui")),
            ("http://[::1]:80/", target("[::1]:80", "")),
            ("https://h", None),
            ("ftp://h", None),
            ("h:8080", None),
            ("http://user:secret@h", None),
            ("/etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(url), expected, "{url}");
        }
    }

    #[test]
    fn redirects_stay_below_the_proxy() {
        let target = Target {
            authority: "h:80".to_owned(),
            path: "/ui".to_owned(),
        };
        for (location, expected) in [
            ("/ui/login", "/service/x/login"),
            ("http://h:80/ui/login?a=b", "/service/x/login?a=b"),
            ("http://other/ui", "http://other/ui"),
            ("//other/ui", "//other/ui"),
            ("login", "login"),
            ("/elsewhere", "/elsewhere"),
        ] {
            assert_eq!(moved(location, &target, "/service/x"), expected);
        }
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let pairs = [
            ("connection", "close, x-mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("accept", "*/*"),
            ("keep-alive", "5"),
        ];
        let headers: HeaderMap = pairs
            .iter()
            .map(|(n, v)| {
                (
                    n.parse::<HeaderName>().expect("a name"),
                    v.parse().expect("a value"),
                )
            })
            .collect();
        assert_eq!(
            passed_on(&headers)
                .keys()
                .map(HeaderName::as_str)
                .collect::<Vec<_>>(),
            ["accept"]
        );
    }

    #[test]
    fn the_name_is_one_segment() {
        assert_eq!(
            below("/service/marathon/v2/apps", "/service/"),
            Some(("marathon", "/v2/apps"))
        );
        assert_eq!(
            below("/service/marathon", "/service/"),
            Some(("marathon", ""))
        );
        assert_eq!(below("/service//x", "/service/"), None);
        assert_eq!(below("/service", "/service/"), None);
    }
}
