//! The HTTP server: who leads, what is wanted, and the answer with the headers that all answers share.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tepui_http::Refusal;
use tepui_marathon_core::{Response, view::Query};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
};
use warp::{Filter as _, Reply as _, reply::Response as Answer};

use super::{
    Info, config, console, headers,
    logging::Logging,
    metrics::{self, Metrics},
    openapi, pack,
    proxy::{Proxy, VIA},
    route::{self, Parts, Wanted},
};
use crate::{
    config::Config,
    engine::EngineHandle,
    events::EventHub,
    meters::{Meter, Timer},
};

/// Bodies above this are refused unread.
const MAX_BODY_BYTES: usize = 16 << 20;
/// A client that does not finish its headers in this time is dropped.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// While the leader is not known, a request waits for it this long.
const LEADER_PATIENCE: Duration = Duration::from_millis(2_500);

/// Pieces of a backup that wait to be read.
const BACKUP_PIECES: usize = 4;
/// A backup that is not read by then stands in the way of the next one no longer.
const BACKUP_PATIENCE: Duration = Duration::from_secs(600);

/// Whether this instance leads.
#[derive(Clone, Debug, Default)]
pub(crate) enum Standing {
    /// Nobody is known to lead.
    #[default]
    Unknown,
    /// Another leads, at this `host:port`.
    Following(String),
    /// This one leads.
    Leading(Box<Leading>),
}

/// What a leader answers from.
#[derive(Clone, Debug)]
pub(crate) struct Leading {
    pub(crate) engine: EngineHandle,
    pub(crate) events: EventHub,
    /// What `/v2/info` says.
    pub(crate) info: watch::Receiver<Info>,
    /// To ask for a backup.
    pub(crate) backups: mpsc::Sender<crate::storage::follow::Request>,
    /// To give the leadership up.
    pub(crate) abdicate: Arc<tokio::sync::Notify>,
}

/// Counters of the server, for metrics.
#[derive(Debug)]
pub(crate) struct HttpStats {
    pub(crate) active: AtomicUsize,
    /// By the status' first digit.
    pub(crate) answers: [AtomicU64; 6],
    pub(crate) duration_us: AtomicU64,
    /// Bytes of requests' bodies, and of answers that are not streams.
    pub(crate) sizes: [AtomicU64; 2],
    /// Bytes that were left of the answers that were packed.
    pub(crate) packed: AtomicU64,
    /// As `answers`.
    pub(super) rates: [Meter; 6],
    /// Of all, and of GET, POST, PUT and DELETE.
    pub(super) durations: [Timer; 5],
}

impl HttpStats {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            active: AtomicUsize::default(),
            answers: <[AtomicU64; 6]>::default(),
            duration_us: AtomicU64::default(),
            sizes: <[AtomicU64; 2]>::default(),
            packed: AtomicU64::default(),
            rates: std::array::from_fn(|_| Meter::new(now)),
            durations: std::array::from_fn(|_| Timer::new(now)),
        }
    }
}

/// The HTTP face of an instance.
#[derive(Debug)]
pub(crate) struct Face {
    config: Arc<Config>,
    /// `host:port` under which others reach this instance.
    own: String,
    standing: watch::Receiver<Standing>,
    proxy: Proxy,
    stats: HttpStats,
    started: Instant,
    /// Whoever makes a backup has it: each is as large as all that is stored.
    backing_up: Arc<Semaphore>,
    logging: Arc<Logging>,
}

impl Face {
    pub(crate) fn new(
        config: Arc<Config>,
        own: String,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        let proxy = Proxy::new(&config, own.clone());
        let logging = Arc::new(Logging::new(config.log_dial.clone()));
        Self {
            logging,
            config,
            own,
            standing,
            proxy,
            stats: HttpStats::new(Instant::now()),
            started: Instant::now(),
            backing_up: Arc::new(Semaphore::new(1)),
        }
    }

    fn metrics(&self, leading: &Leading) -> Metrics {
        let prefix = &self.config.metrics_name_prefix;
        metrics::collect(leading, &self.stats, self.started, prefix)
    }

    /// The metrics, if this instance leads.
    pub(super) fn metrics_of_leader(&self) -> Option<Metrics> {
        match &*self.standing.borrow() {
            Standing::Leading(leading) => Some(self.metrics(leading)),
            _ => None,
        }
    }

    /// Serves until the future is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => {
                    drop(connections.spawn(Arc::clone(&self).connection(stream, peer)))
                }
                Err(error) => {
                    // Out of file descriptors, most likely: serve those that are there and look again.
                    tracing::warn!(%error, "Marathon cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let guarded = Arc::clone(&self);
        let filter = warp::method()
            .and(warp::path::full())
            .and(warp::query::raw().or(warp::any().map(String::new)).unify())
            .and(warp::header::headers_cloned())
            .and(warp::body::stream())
            .then(
                move |method: Method,
                      path: warp::path::FullPath,
                      query: String,
                      headers: HeaderMap,
                      body| {
                    let face = Arc::clone(&self);
                    async move {
                        face.answer(method, path.as_str(), &query, headers, body, peer)
                            .await
                    }
                },
            )
            .boxed();
        let routes = TowerToHyperService::new(warp::service(filter));
        let service = service_fn(move |request: Request<Incoming>| {
            let (face, routes) = (Arc::clone(&guarded), routes.clone());
            async move {
                match tepui_http::target::check(request.method(), request.uri()) {
                    Ok(()) => routes.call(request).await,
                    Err(refusal) => Ok(face.refuse(&refusal)),
                }
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new());
        // Errors of one connection are its client's: hung up, or not HTTP.
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer<S, B>(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: S,
        peer: SocketAddr,
    ) -> Answer
    where
        S: futures::Stream<Item = Result<B, warp::Error>> + Send + 'static,
        B: bytes::Buf + Send,
    {
        let began = Instant::now();
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let method_timed = match method {
            Method::GET | Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            _ => 0,
        };
        let active = self.stats.active.fetch_add(1, Ordering::Relaxed) + 1;
        let limit = self.config.http_max_concurrent_requests;
        let mut answer = if limit > 0 && active > limit {
            plain(Response::message(
                503,
                format!("Too many concurrent requests! Allowed: {limit}."),
            ))
        } else {
            match read(body, &headers).await {
                Ok(body) => {
                    let length = body.len() as u64;
                    self.stats.sizes[0].fetch_add(length, Ordering::Relaxed);
                    self.by_standing(method, path, query, headers, body, peer)
                        .await
                }
                Err(refusal) => plain(refusal),
            }
        };
        self.stats.active.fetch_sub(1, Ordering::Relaxed);
        self.count(answer.status());
        self.stats.duration_us.fetch_add(
            u64::try_from(began.elapsed().as_micros()).unwrap_or(0),
            Ordering::Relaxed,
        );
        let now = Instant::now();
        for timed in [0, method_timed]
            .iter()
            .take(1 + usize::from(method_timed > 0))
        {
            self.stats.durations[*timed].mark(now, now.duration_since(began));
        }
        if let Some(length) = http_body::Body::size_hint(answer.body()).exact() {
            self.stats.sizes[1].fetch_add(length, Ordering::Relaxed);
            if answer.headers().contains_key(header::CONTENT_ENCODING) {
                self.stats.packed.fetch_add(length, Ordering::Relaxed);
            }
        }
        headers::common(answer.headers_mut(), &self.config, asked);
        answer
    }

    /// A request that is refused before it is known what it wants.
    fn refuse(&self, refusal: &Refusal) -> Answer {
        let mut answer = plain(Response::message(
            refusal.status.as_u16(),
            refusal.why.clone(),
        ));
        self.count(answer.status());
        headers::common(answer.headers_mut(), &self.config, None);
        answer
    }

    fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.stats.answers[class].fetch_add(1, Ordering::Relaxed);
        self.stats.rates[class].mark(Instant::now());
    }

    async fn by_standing(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        peer: SocketAddr,
    ) -> Answer {
        match self.settled().await {
            Standing::Leading(leading) => {
                let parts = Parts {
                    // A HEAD is the GET without its body, which the connection leaves out.
                    method: if method == Method::HEAD {
                        &Method::GET
                    } else {
                        &method
                    },
                    path,
                    query,
                    content_type: headers
                        .get(header::CONTENT_TYPE)
                        .and_then(|value| value.to_str().ok()),
                    body,
                    client_ip: peer.ip().to_string(),
                };
                let mut answer = if method == Method::OPTIONS {
                    headers::options(path)
                } else {
                    self.lead(&leading, route::route(&parts), &headers, peer)
                        .await
                };
                if self.config.http_compression && tepui_http::negotiate::accepts_gzip(&headers) {
                    answer = pack::gzip(answer).await;
                }
                if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
                    insert(answer.headers_mut(), "allow", &route::allowed(path));
                }
                let own = answer.headers_mut();
                insert(own, "x-marathon-leader", &format!("http://{}", self.own));
                insert(own, "x-frame-options", "DENY");
                insert(own, "x-xss-protection", "1; mode=block");
                answer
            }
            Standing::Following(leader)
                if path.trim_start_matches('/').starts_with("v2/events") =>
            {
                let query = if query.is_empty() {
                    String::new()
                } else {
                    format!("?{query}")
                };
                redirect(
                    StatusCode::FOUND,
                    &format!("http://{leader}/v2/events{query}"),
                )
            }
            Standing::Following(leader) => {
                self.proxy
                    .forward(&leader, method, path, query, headers, body, peer)
                    .await
            }
            Standing::Unknown => plain(Response::message(
                502,
                "Could not determine the current leader",
            )),
        }
    }

    /// Who leads; waits a little while it is not known.
    async fn settled(&self) -> Standing {
        let mut standing = self.standing.clone();
        let known = standing.wait_for(|standing| !matches!(standing, Standing::Unknown));
        let known = tokio::time::timeout(LEADER_PATIENCE, known).await;
        match known {
            Ok(Ok(standing)) => standing.clone(),
            _ => Standing::Unknown,
        }
    }

    async fn lead(
        &self,
        leading: &Leading,
        wanted: Wanted,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Answer {
        let engine = &leading.engine;
        match wanted {
            // Their lists in plain text are gone since Marathon 1.11: a script that waits for lines is told so, instead of getting JSON.
            Wanted::Query(
                Query::Tasks { .. } | Query::AppTasks { .. } | Query::TasksBelow { .. },
            ) if headers.contains_key(header::ACCEPT)
                && !tepui_http::negotiate::accepts(headers, "application/json") =>
            {
                plain(Response::message(406, "Not Acceptable"))
            }
            Wanted::Call(call) => plain(engine.request(call).await),
            Wanted::Query(query) => {
                let selection = engine.view().read().select(&query);
                plain(selection.render(engine.now()))
            }
            Wanted::Events { types } => {
                let accept = headers
                    .get(header::ACCEPT)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("*/*");
                if !accept.contains("text/event-stream") {
                    return plain(Response::message(406, "Not Acceptable"));
                }
                match leading
                    .events
                    .attach(&peer.to_string(), types, engine.now())
                {
                    Some(stream) => {
                        let mut answer = warp::reply::stream(sync(stream)).into_response();
                        insert(answer.headers_mut(), "content-type", "text/event-stream");
                        answer
                    }
                    None => plain(Response::message(503, "Too many event streams are open")),
                }
            }
            Wanted::Leader => plain(Response::json(
                200,
                &serde_json::json!({ "leader": self.own }),
            )),
            Wanted::Abdicate => {
                // Answered when it has ended, so that what is asked next waits for the next leader.
                let mut standing = self.standing.clone();
                standing.mark_unchanged();
                leading.abdicate.notify_one();
                let _ = tokio::time::timeout(LEADER_PATIENCE, standing.changed()).await;
                plain(Response::message(200, "Leadership abdicated"))
            }
            Wanted::Info => plain(Response::json(
                200,
                &leading.info.borrow().json(&self.config),
            )),
            Wanted::Plugins => plain(Response::json(200, &serde_json::json!({ "plugins": [] }))),
            Wanted::Ping => ping(headers),
            Wanted::Metrics => {
                let metrics = self.metrics(leading);
                plain(Response::json(200, &metrics.json()))
            }
            Wanted::Prometheus if !self.config.metrics_prometheus => {
                plain(Response::message(404, "Prometheus reporter is disabled"))
            }
            Wanted::Prometheus => {
                let mut answer = self.metrics(leading).prometheus().into_response();
                insert(
                    answer.headers_mut(),
                    "content-type",
                    "text/plain; version=0.0.4; charset=utf-8",
                );
                answer
            }
            Wanted::OpenApi => plain(Response {
                body: openapi::document(),
                ..Response::empty(200)
            }),
            Wanted::Schema(name) => match openapi::schema(&name) {
                Some(schema) => plain(Response::json(200, &schema)),
                None => plain(Response::message(
                    404,
                    format!("There is no schema '{name}'"),
                )),
            },
            Wanted::Config => plain(Response::json(200, &config::json(&self.config))),
            Wanted::Loggers => plain(Response::json(200, &self.logging.shown())),
            Wanted::Log(body) => plain(self.logging.change(&body)),
            Wanted::Console(page) => console::answer(page),
            Wanted::Elsewhere(path) => redirect(StatusCode::FOUND, path),
            Wanted::Backup => backup(leading, &self.backing_up).await,
            Wanted::Home => match self.config.webui_url.as_deref().or(leading
                .info
                .borrow()
                .mesos_leader_ui_url
                .as_deref())
            {
                Some(url) => redirect(StatusCode::FOUND, url),
                None => plain(Response::json(
                    200,
                    &leading.info.borrow().json(&self.config),
                )),
            },
            Wanted::Answer(response) => plain(response),
        }
    }
}

/// A stream that is `Sync` because it is only ever polled by the one connection that holds it.
fn sync<S: futures::Stream + Send + 'static>(
    stream: S,
) -> impl futures::Stream<Item = S::Item> + Send + Sync + 'static {
    SyncStream(parking_lot::Mutex::new(Box::pin(stream)))
}

struct SyncStream<S>(parking_lot::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures::Stream> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.get_mut().as_mut().poll_next(context)
    }
}

/// The whole body, bounded.
async fn read<S, B>(body: S, headers: &HeaderMap) -> Result<Bytes, Response>
where
    S: futures::Stream<Item = Result<B, warp::Error>> + Send + 'static,
    B: bytes::Buf + Send,
{
    use futures::TryStreamExt as _;
    let too_large = || {
        Response::message(
            413,
            format!("The request body is larger than {MAX_BODY_BYTES} bytes"),
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let frames =
        body.map_ok(|mut data| http_body::Frame::data(data.copy_to_bytes(data.remaining())));
    let body = http_body_util::StreamBody::new(Box::pin(frames));
    Limited::new(body, MAX_BODY_BYTES)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .map_err(|_| too_large())
}

/// `/v3/backup`
async fn backup(leading: &Leading, one: &Arc<Semaphore>) -> Answer {
    let refused = |message: String| plain(Response::message(503, message));
    let Ok(permit) = Arc::clone(one).try_acquire_owned() else {
        return refused("Another backup is being made or read; ask again later.".into());
    };
    match crate::backup::begin(leading.backups.clone()).await {
        Ok(running) => {
            let pieces = made(|to| running.send(to), permit, BACKUP_PATIENCE);
            let pieces = futures::StreamExt::map(pieces, Ok::<_, std::convert::Infallible>);
            let mut answer = warp::reply::stream(sync(pieces)).into_response();
            insert(answer.headers_mut(), "content-type", "application/x-ndjson");
            answer
        }
        Err(why) => refused(why),
    }
}

/// What is made as it is read. The permit is given back when all of it is made, or nobody reads it, or it takes too long.
fn made<F>(
    make: impl FnOnce(mpsc::Sender<Bytes>) -> F,
    permit: OwnedSemaphorePermit,
    patience: Duration,
) -> impl futures::Stream<Item = Bytes> + Send
where
    F: Future<Output = ()> + Send + 'static,
{
    let (to, mut pieces) = mpsc::channel(BACKUP_PIECES);
    let making = make(to);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(patience, making).await;
        drop(permit);
    });
    futures::stream::poll_fn(move |context| pieces.poll_recv(context))
}

fn ping(headers: &HeaderMap) -> Answer {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("*/*");
    let (media_type, body) =
        if accept.contains("*/*") || accept.contains("text/plain") || accept.contains("text/*") {
            ("text/plain", "pong")
        } else if accept.contains("text/html") {
            ("text/html", "pong")
        } else if accept.contains("application/json") {
            ("application/json", "\"pong\"")
        } else {
            return StatusCode::NO_CONTENT.into_response();
        };
    let mut answer = body.into_response();
    insert(answer.headers_mut(), "content-type", media_type);
    answer
}

fn redirect(status: StatusCode, location: &str) -> Answer {
    let mut answer = status.into_response();
    insert(answer.headers_mut(), "location", location);
    answer
}

/// An answer of the core as HTTP.
#[allow(clippy::needless_pass_by_value, reason = "an answer is given once")]
pub(super) fn plain(response: Response) -> Answer {
    let mut answer = if response.body.is_empty() {
        StatusCode::OK.into_response()
    } else {
        response.body.to_vec().into_response()
    };
    *answer.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    if response.body.is_empty() {
        headers.remove(header::CONTENT_TYPE);
    } else {
        insert(headers, "content-type", "application/json");
    }
    if let Some(location) = &response.location {
        insert(headers, "location", location);
    }
    if let Some(id) = &response.deployment_id {
        insert(headers, "marathon-deployment-id", id);
    }
    answer
}

/// Sets a header; a value that cannot be one (it came from a client) is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Whether a request has already been through this instance.
pub(super) fn went_through(headers: &HeaderMap, own: &str) -> bool {
    let own = format!("1.1 {own}");
    headers.get_all(VIA).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.split(',').any(|one| one.trim() == own))
    })
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
