//! Connections: accepted up to a bound, one port for HTTP/1 and HTTP/2, and no patience with peers that dawdle.
//!
//! A peer that sends nothing, or a request's head byte by byte, is cut off after a time. So is one that takes none of the bytes that
//! wait for it: what it can hold is the socket's buffer and hyper's, both bounded.
//!
//! Whoever begins with what can wait is served by the [readers](super::readers): sending is most of the work of a large answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tepui_http::direct::End;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{BoxError, Service, direct, routes};
use crate::config::Limits;
use crate::metrics::{Gauge, Metrics};

/// As long as HTTP/2's preface, and longer than the start of any request that is not over already.
const OPENING_BYTES: usize = 24;
/// Streams on one HTTP/2 connection: simulated agents share connections.
const STREAMS_PER_CONNECTION: u32 = 20_000;
/// What may wait for a slow reader on one HTTP/2 stream.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// Between HTTP/2 pings, by which a peer that vanished is noticed.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// Accepts connections until it is told to stop, then gives requests in progress a moment to end.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, or the peer has gone again; accepting must go on.
                    warn!("a connection was not accepted: {error}");
                    metrics.connections_refused.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let service = service.clone().for_peer(peer);
        let limits = limits.clone();
        let metrics = metrics.clone();
        let (gauge, _) = Gauge::up(metrics.clone(), |metrics| &metrics.connections);
        let stop = stop.clone();
        tasks.spawn(async move {
            connection(stream, peer, service, &limits, &metrics, stop).await;
            drop((permit, gauge));
        });
    }
    tasks.close();
    // Streams end by themselves when the reign has ended; a peer that does not read is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Service,
    limits: &Limits,
    metrics: &Metrics,
    stop: CancellationToken,
) {
    prepare(&stream);
    let stalled = Arc::new(AtomicBool::new(false));
    let io = Impatient::new(
        stream,
        limits.head_timeout,
        limits.write_timeout,
        stalled.clone(),
    );
    let scheduler = direct::Scheduler(&service.face);
    let end = tepui_http::direct::serve(&scheduler, io, limits.head_timeout, &stop).await;
    let result = match end {
        End::Other(io, unread) if routes::is_urgent(&unread) => {
            requests(io.give_back(unread), service, limits.head_timeout, stop).await
        }
        End::Other(io, unread) => {
            let io = io.give_back(unread);
            by_readers(io, service, limits.head_timeout, stop).await
        }
        End::Over => Ok(()),
    };
    if stalled.load(Relaxed) {
        metrics.connections_stalled.fetch_add(1, Relaxed);
        warn!(
            "the connection of {peer} is closed: it took none of the bytes that waited for it for {:?}",
            limits.write_timeout
        );
    } else if let Err(error) = result {
        debug!("connection of {peer}: {error}");
    }
}

/// As [`requests`], by the threads that can wait.
async fn by_readers(
    io: Impatient,
    service: Service,
    head_timeout: Duration,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let face = service.face.clone();
    let serving = async move { requests(io.moved_here()?, service, head_timeout, stop).await };
    face.readers
        .run(serving)
        .await
        .unwrap_or_else(|| Err("a bug of the master; its log says more".into()))
}

/// Serves whatever HTTP/1 and HTTP/2 bring, by hyper.
async fn requests(
    io: Impatient,
    service: Service,
    head_timeout: Duration,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let io = TokioIo::new(io);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(64 << 10)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_EVERY)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(8 << 20)
        .max_frame_size(64 << 10);
    let serving = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    tokio::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => result,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

/// Small writes leave at once; a peer that vanished is noticed by the system too.
fn prepare(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    // Each of these only makes things better; a system that refuses one still serves.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &30);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &10);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &3);
}

/// A socket that gives up on a peer that does not begin, or does not read.
pub(super) struct Impatient {
    stream: TcpStream,
    /// Was read, and is to be read again.
    given_back: Bytes,
    /// Runs until the peer has begun in earnest.
    opening: Option<Pin<Box<Sleep>>>,
    opened_bytes: usize,
    /// Runs while bytes wait that the peer does not take.
    stalled: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    /// Set when it has given up because of them.
    gave_up: Arc<AtomicBool>,
}

impl Impatient {
    fn new(
        stream: TcpStream,
        opening: Duration,
        write_timeout: Duration,
        gave_up: Arc<AtomicBool>,
    ) -> Self {
        let opening = Some(Box::pin(tokio::time::sleep(opening)));
        Self {
            stream,
            given_back: Bytes::new(),
            opening,
            opened_bytes: 0,
            stalled: None,
            write_timeout,
            gave_up,
        }
    }

    /// What was read beyond what its reader wanted comes again.
    pub(super) fn give_back(mut self, bytes: Bytes) -> Self {
        self.given_back = bytes;
        self
    }

    /// The same, watched by the runtime that calls this.
    ///
    /// # Errors
    /// The system watches no more sockets.
    fn moved_here(mut self) -> io::Result<Self> {
        self.stream = TcpStream::from_std(self.stream.into_std()?)?;
        Ok(self)
    }

    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = Instant::now() + self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.gave_up.store(true, Relaxed);
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer does not read",
                )))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.given_back.is_empty() {
            let again = self.given_back.len().min(buf.remaining());
            buf.put_slice(&self.given_back.split_to(again));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(opening) = &mut self.opening {
            match &read {
                Poll::Ready(_) => {
                    let got = buf.filled().get(before..).unwrap_or_default();
                    let ended = got.ends_with(b"\r\n\r\n");
                    self.opened_bytes += got.len();
                    if ended || self.opened_bytes >= OPENING_BYTES {
                        self.opening = None;
                    }
                }
                Poll::Pending => {
                    if opening.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the peer does not begin",
                        )));
                    }
                }
            }
        }
        read
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
