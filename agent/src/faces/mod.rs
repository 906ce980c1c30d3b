//! What the agent shows to the world on its one port: gRPC by tonic, everything else by warp, told apart by content type.
//!
//! | face | for whom |
//! | --- | --- |
//! | [`executor`] | executors: Mesos' v1 executor API |
//! | [`grpc`] | executors of the SDK |
//! | [`operator`] | operators: Mesos' v1 operator API |
//! | [`state`], [`metrics`], [`files`] | tools and the UI (through the master): `/state` and its kin |
//!
//! Faces hold no state: they read the view, and send executors' calls to the core.

#![allow(
    clippy::result_large_err,
    reason = "an answer that ends a request early is an HTTP response, and is made once a request"
)]

mod asked;
mod attach;
mod block_io;
mod direct;
mod executor;
mod files;
mod grpc;
mod images;
mod json;
mod media;
mod metrics;
mod nested;
mod operator;
mod state;
mod statistics;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use parking_lot::RwLock;
use tepui_agent_core::view::View;
use tepui_http::Rewound;
use tepui_http::direct::End;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use warp::Filter;

use crate::clock::Clock;
use crate::config::Config;
use crate::containerizer::Containerizer;
use crate::executors::Executors;
use crate::provision::Provisioner;
use crate::sandbox::Layout;
use asked::{Asked, Response, asked, text};

/// The version that Mesos' clients are told.
pub(crate) const MESOS_VERSION: &str = "1.11.0";
/// Connections at a time; more wait.
const CONNECTIONS: usize = 4096;
/// A peer that has not sent the head of a request by then is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);

/// What every handler may look at.
pub(crate) struct Face {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Clock,
    /// `ip:port`, as others are told.
    pub(crate) endpoint: String,
    pub(crate) view: Arc<RwLock<View>>,
    /// The agent's id; empty before the first registration.
    pub(crate) agent: Arc<RwLock<String>>,
    pub(crate) layout: Layout,
    pub(crate) executors: Executors,
    pub(crate) containerizer: Arc<Containerizer>,
    pub(crate) nested: crate::nested::Nested,
    pub(crate) provisioner: Provisioner,
    pub(crate) fetcher: crate::fetcher::Fetcher,
    pub(crate) networks: crate::networks::Networks,
    pub(crate) external_volumes: crate::external_volumes::ExternalVolumes,
    pub(crate) disks: crate::disk::Disks,
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
struct Service {
    grpc: Grpc,
    http: Http,
}

impl Service {
    fn new(face: Arc<Face>) -> Self {
        let grpc = Grpc::new(grpc::routes(&face));
        let filter = asked().then(move |asked| {
            let face = Arc::clone(&face);
            async move { route(&face, asked).await }
        });
        Self {
            grpc,
            http: Http::new(warp::service(filter.boxed())),
        }
    }
}

impl tower::Service<Request<Incoming>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if let Err(refusal) = tepui_http::target::check(request.method(), request.uri()) {
            let answer = Response::from(refusal);
            let answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            let grpc = self.grpc.clone();
            return Box::pin(async move {
                let answer = grpc.oneshot(request.map(tonic::body::Body::new)).await?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        let http = self.http.clone();
        Box::pin(async move {
            let answer = http.oneshot(request).await?;
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// Accepts connections until it is told to stop.
pub(crate) async fn serve(listener: TcpListener, face: Arc<Face>, stop: CancellationToken) {
    let service = Service::new(Arc::clone(&face));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepting = async {
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepting => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, or the peer has gone again; accepting goes on, but not in a hot loop.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (service, face, stop) = (service.clone(), Arc::clone(&face), stop.clone());
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_buf_size(64 << 10)
                .half_close(false);
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(20))
                .max_send_buf_size(256 << 10);
            let executors = direct::Executors(&face);
            let end = tepui_http::direct::serve(&executors, stream, HEAD_PATIENCE, &stop).await;
            let End::Other(stream, unread) = end else {
                return drop(permit);
            };
            let stream = Rewound::new(stream, unread);
            let serving =
                builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            tokio::select! {
                result = serving => if let Err(error) = result {
                    tracing::debug!("a connection has ended: {error}");
                },
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

/// Finds who answers: the longest known beginning of the path, below `/slave(1)` or not.
async fn route(face: &Arc<Face>, asked: Asked) -> Response {
    let path = asked.path.clone();
    let mut path = path
        .strip_prefix("/slave(1)")
        .unwrap_or(&path)
        .trim_end_matches('/');
    if path.starts_with("/api/v1/executor") {
        return executor::answer(face, asked).await;
    }
    loop {
        match path {
            "/api/v1" => return operator::answer(face, asked).await,
            "/health" => return text(StatusCode::OK, ""),
            "/version" => return asked.json(&json::version(face)),
            "/tepui/v1/images" => return asked.json(&images::list(face)),
            "/flags" => return asked.json(&json::flags(face)),
            "/state" => return asked.json(&state::state(face)),
            "/containers" => return statistics::containers(face, &asked).await,
            "/monitor/statistics" => return statistics::all(face, &asked).await,
            "/metrics/snapshot" => return asked.json(&metrics::snapshot(face)),
            "/metrics" => return metrics::prometheus(face),
            "/files/browse" => return files::browse(face, &asked).await,
            "/files/read" => return files::read(face, &asked).await,
            "/files/download" => return files::download(face, &asked).await,
            "/files/debug" => return asked.json(&files::debug(face)),
            _ => {}
        }
        match path.rsplit_once('/') {
            Some((shorter, _)) if !shorter.is_empty() => path = shorter,
            _ => return text(StatusCode::NOT_FOUND, ""),
        }
    }
}
