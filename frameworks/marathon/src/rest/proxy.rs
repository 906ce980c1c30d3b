//! Passing requests on to the leader.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tepui_marathon_core::Response;
use warp::{Reply as _, reply::Response as Answer};

use super::serve::{insert, plain, went_through};
use crate::config::Config;

/// Tells a request that has been passed on already.
pub(super) const VIA: &str = "x-marathon-via";

/// A pool of connections to the leader.
#[derive(Debug)]
pub(super) struct Proxy {
    client: Client<HttpConnector, Full<Bytes>>,
    own: Arc<str>,
    read_timeout: Duration,
}

impl Proxy {
    pub(super) fn new(config: &Config, own: String) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(
            config.leader_proxy_connection_timeout_ms,
        )));
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(64)
                .build(connector),
            own: own.into(),
            read_timeout: Duration::from_millis(config.leader_proxy_read_timeout_ms),
        }
    }

    /// The leader's answer, streamed back as it comes.
    #[allow(clippy::too_many_arguments, reason = "the parts of a request")]
    pub(super) async fn forward(
        &self,
        leader: &str,
        method: Method,
        path: &str,
        query: &str,
        mut headers: HeaderMap,
        body: Bytes,
        peer: SocketAddr,
    ) -> Answer {
        if went_through(&headers, &self.own) {
            return plain(Response::message(502, "Detected proxying loop."));
        }
        for name in [
            header::CONNECTION,
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ] {
            headers.remove(name);
        }
        let via = format!("1.1 {}", self.own);
        add(&mut headers, VIA, &via);
        add(&mut headers, "x-forwarded-for", &peer.ip().to_string());
        let question = if query.is_empty() { "" } else { "?" };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{leader}{path}{question}{query}"))
            .body(Full::new(body));
        let Ok(mut request) = request else {
            return plain(Response::message(
                400,
                "The path or query of the request cannot be passed on to the leader.",
            ));
        };
        *request.headers_mut() = headers;
        let answer =
            match tokio::time::timeout(self.read_timeout, self.client.request(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) if error.is_connect() => {
                    return plain(Response::message(502, "Connection to leader refused."));
                }
                Ok(Err(error)) => {
                    return plain(Response::message(
                        500,
                        format!("The leader at {leader} did not answer: {error}"),
                    ));
                }
                Err(_) => {
                    let patience = self.read_timeout.as_millis();
                    return plain(Response::message(
                        500,
                        format!("The leader at {leader} did not answer within {patience} ms."),
                    ));
                }
            };
        let (parts, body) = answer.into_parts();
        let data = body
            .into_data_stream()
            .map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
        let mut answer = warp::reply::stream(data).into_response();
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = parts.headers;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            answer.headers_mut().remove(name);
        }
        insert(answer.headers_mut(), VIA, &via);
        answer
    }
}

/// Adds one more to what a header says already: who passed a request on before stays in it.
fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let mut all: Vec<String> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    all.push(value.to_owned());
    insert(headers, name, &all.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_passed_a_request_on_stays_in_it() {
        let mut headers = HeaderMap::new();
        add(&mut headers, VIA, "1.1 a:8080");
        assert!(went_through(&headers, "a:8080"));
        add(&mut headers, VIA, "1.1 b:8080");
        assert_eq!(headers[VIA], "1.1 a:8080, 1.1 b:8080");
        for (who, through) in [("a:8080", true), ("b:8080", true), ("c:8080", false)] {
            assert_eq!(went_through(&headers, who), through, "{who}");
        }
    }
}
