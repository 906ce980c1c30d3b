//! What the master shows to the world on its one port: gRPC by tonic, everything else by warp, told apart by content type.
//! Connections that carry schedulers' calls are served before either, by [`direct`].
//!
//! | face | for whom |
//! | --- | --- |
//! | [`scheduler`] | frameworks: Mesos' v1 scheduler API |
//! | [`grpc`] | frameworks of the SDK, and agents |
//! | [`operator`] | operators: Mesos' v1 operator API and its event stream |
//! | [`legacy`] | tools: `/state` and its kin, metrics |
//! | [`tepui`] | Tepui's own additions below `/tepui/v1` |
//! | [`proxy`] | the UI: frameworks' and agents' own pages, same-origin |
//! | [`ui`] | people |
//!
//! Faces hold no state of their own: they read the [`Standing`](crate::reign::Standing), the view, and send requests to the driver.

#![allow(
    clippy::result_large_err,
    reason = "a refusal is the answer itself, made once a request"
)]

mod asked;
pub(crate) mod connection;
mod direct;
mod grpc;
mod legacy;
mod logging;
mod openapi;
mod operator;
mod pieces;
mod proxy;
mod readers;
mod routes;
mod scheduler;
mod streams;
mod table;
mod tepui;
mod ui;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) use logging::Logging;
pub(crate) use operator::Subscribers;
pub(crate) use proxy::Client;
pub(crate) use readers::Readers;

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::reign::{Identity, Reign, Standing};
use asked::{Response, redirect, text};

/// What every handler may look at.
pub(crate) struct Face {
    pub(crate) config: Arc<Config>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) client: Client,
    pub(crate) subscribers: Subscribers,
    pub(crate) logging: Logging,
    pub(crate) readers: Readers,
}

impl Face {
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// The reign, if this master leads and is ready; otherwise where to go instead: `path_and_query` on the leader.
    pub(crate) fn leading(
        &self,
        path_and_query: impl FnOnce() -> String,
    ) -> Result<Arc<Reign>, Response> {
        match self.standing() {
            Standing::Leading(reign) => Ok(reign),
            Standing::Recovering => Err(text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Master has not finished recovery",
            )),
            Standing::Following(Some(leader)) => {
                Err(redirect(&format!("//{leader}{}", path_and_query())))
            }
            Standing::Following(None) | Standing::Nobody => {
                Err(text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected"))
            }
        }
    }
}

/// What is said when a reign ended between two looks.
const NO_MORE: &str = "This master has just stopped leading";

/// What a reign that ended between two looks is answered with.
pub(crate) fn gone() -> Response {
    text(StatusCode::SERVICE_UNAVAILABLE, NO_MORE)
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;
type Grpc = tower::util::BoxCloneSyncService<
    Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    Infallible,
>;
type Http = tower::util::BoxCloneSyncService<Request<Incoming>, Response, Infallible>;

/// Both faces as one service.
#[derive(Clone)]
pub(crate) struct Service {
    grpc: Grpc,
    http: Http,
    face: Arc<Face>,
    peer: Option<SocketAddr>,
}

/// The remote address of a request, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

impl Service {
    pub(crate) fn new(face: &Arc<Face>) -> Self {
        let grpc = Grpc::new(
            grpc::routes(face.clone()).map_request(|request: Request<tonic::body::Body>| request),
        );
        let http = Http::new(warp::service(routes::routes(face)));
        Self {
            grpc,
            http,
            face: face.clone(),
            peer: None,
        }
    }

    /// The service as one connection uses it.
    pub(crate) fn for_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl tower::Service<Request<Incoming>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if let Err(refusal) = tepui_http::target::check(request.method(), request.uri()) {
            self.face.metrics.answered(refusal.status.as_u16());
            let answer = Response::from(refusal);
            let answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(PeerAddress(peer));
        }
        if is_grpc && grpc::is_agent_link(&request) {
            let face = self.face.clone();
            return Box::pin(async move {
                let answer = grpc::agent_link(face, request).await;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        if is_grpc {
            let grpc = self.grpc.clone();
            return Box::pin(async move {
                let answer = grpc.oneshot(request.map(tonic::body::Body::new)).await?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        let http = self.http.clone();
        let metrics = self.face.metrics.clone();
        Box::pin(async move {
            let answer = http.oneshot(request).await?;
            metrics.answered(answer.status().as_u16());
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

#[cfg(test)]
mod tests {
    use tepui_coordination::HostPort;

    use super::*;

    fn face(standing: Standing) -> Face {
        let clock = Clock::new();
        let identity = Identity {
            id: "m".to_owned(),
            hostname: "here".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 5050)),
            started_at: clock.now(),
        };
        Face {
            config: Arc::new(Config::for_tests()),
            identity: Arc::new(identity),
            clock,
            metrics: Arc::default(),
            standing: watch::channel(standing).1,
            client: Client::new(),
            subscribers: Subscribers::default(),
            logging: Logging::new(None),
            readers: Readers::start().expect("threads"),
        }
    }

    #[tokio::test]
    async fn who_does_not_lead_sends_clients_on() {
        let other = || Standing::Following(Some(HostPort::new("leader.example", 5050)));
        for (standing, path, method, status, location) in [
            (
                other(),
                "/api/v1/scheduler?a=b",
                "POST",
                307,
                Some("//leader.example:5050/api/v1/scheduler?a=b"),
            ),
            // Leadership is looked at before the method.
            (
                other(),
                "/master/api/v1",
                "GET",
                307,
                Some("//leader.example:5050/master/api/v1"),
            ),
            (
                other(),
                "/state",
                "GET",
                307,
                Some("//leader.example:5050/state"),
            ),
            (
                other(),
                "/redirect",
                "GET",
                307,
                Some("//leader.example:5050"),
            ),
            (
                other(),
                "/service/x/y",
                "GET",
                307,
                Some("//leader.example:5050/service/x/y"),
            ),
            (other(), "/health", "GET", 200, None),
            (other(), "/version", "GET", 200, None),
            (other(), "/metrics/snapshot", "GET", 200, None),
            (other(), "/tepui/v1/info", "GET", 200, None),
            (Standing::Nobody, "/api/v1/scheduler", "POST", 503, None),
            (Standing::Nobody, "/redirect", "GET", 503, None),
            (Standing::Following(None), "/state", "GET", 503, None),
            (Standing::Recovering, "/api/v1", "POST", 503, None),
            (Standing::Recovering, "/health", "GET", 200, None),
        ] {
            let service = warp::service(routes::routes(&Arc::new(face(standing))));
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(String::new())
                .expect("a request");
            let Ok(answer) = service.oneshot(request).await;
            let found = answer
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok());
            assert_eq!(
                (answer.status().as_u16(), found),
                (status, location),
                "{method} {path}"
            );
        }
    }
}
