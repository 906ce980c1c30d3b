//! Starting and stopping a master: listener, store, election, lifecycle, faces. Any number of them live in one process.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tepui_coordination::{
    Candidate, Election, SharedStore, ZooKeeper, ZooKeeperOptions, ZooKeeperUrl,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{Config, Durable};
use crate::faces::{self, Face, connection};
use crate::metrics::Metrics;
use crate::reign::{self, Identity, Keeping, Lifecycle, LifecycleError, Standing};

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was tried.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory for the registry cannot be made or written.
    #[error("cannot use the work directory {path}: {source}")]
    WorkDirectory {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system has no more threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// The registry's store cannot be opened.
    #[error("cannot open the registry: {0}")]
    Store(#[from] tepui_coordination::StoreError),
    /// The ZooKeeper URL does not read.
    #[error("--zk: {0}")]
    ZooKeeper(#[from] tepui_coordination::LocationError),
}

/// A master; see [`Master::start`].
#[derive(Debug)]
pub struct Master;

impl Master {
    /// Starts a master and returns when it listens and its store is open; [`RunningMaster::until_leading`] waits for more.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<RunningMaster, StartError> {
        let wrong = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(wrong)?;
        let bound = listener.local_addr().map_err(wrong)?;
        for notice in &config.notices {
            info!("{notice}");
        }
        let clock = Clock::new();
        let identity = Arc::new(identity(&config, bound, clock));
        let config = Arc::new(config);
        let (keeping, election) = durable(&config, &identity).await?;
        if !bound.ip().is_loopback() {
            warn!(
                "listening on {bound}, which others may reach: this master does not authenticate anybody"
            );
        }
        let metrics = Arc::new(Metrics::default());
        let stop = CancellationToken::new();
        let (standing, watching) = watch::channel(Standing::Nobody);
        let readers = faces::Readers::start().map_err(StartError::Threads)?;
        let (lines, lines_in) = mpsc::channel(4096);
        tokio::spawn(reign::log_lines(lines_in));
        let face = Arc::new(Face {
            config: config.clone(),
            identity: identity.clone(),
            clock,
            metrics: metrics.clone(),
            standing: watching.clone(),
            client: faces::Client::new(),
            subscribers: faces::Subscribers::default(),
            logging: faces::Logging::new(config.log_dial.clone()),
            readers,
        });
        let ruling = Lifecycle {
            config: config.clone(),
            identity,
            clock,
            keeping,
            metrics: metrics.clone(),
            standing,
            lines,
            readers: face.readers.handle(),
        };
        let stop_ruling = CancellationToken::new();
        let lifecycle = tokio::spawn(ruling.run(election, stop_ruling.clone()));
        let serving = tokio::spawn(connection::serve(
            listener,
            faces::Service::new(&face),
            config.limits.clone(),
            metrics,
            stop.clone(),
        ));
        info!("listening on {bound}");
        Ok(RunningMaster {
            address: bound,
            standing: watching,
            stop,
            stop_ruling,
            serving,
            lifecycle,
        })
    }
}

/// A master at work. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct RunningMaster {
    address: SocketAddr,
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    stop_ruling: CancellationToken,
    serving: JoinHandle<()>,
    lifecycle: JoinHandle<Result<(), LifecycleError>>,
}

impl RunningMaster {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this master leads and has read its registry.
    pub async fn until_leading(&self) {
        // The sender lives as long as the lifecycle; one that ended never leads.
        if self
            .standing
            .clone()
            .wait_for(|standing| matches!(standing, Standing::Leading(_)))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it ends by itself, which is always an error.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn until_ended(&mut self) -> Result<(), LifecycleError> {
        let ended = (&mut self.lifecycle)
            .await
            .unwrap_or(Err(LifecycleError::CoreDied));
        if let Err(error) = &ended {
            reign::log_end(error);
        }
        ended
    }

    /// Gives up leading, ends all streams, and returns when nothing of it is left.
    pub async fn shutdown(mut self) {
        self.stop_ruling.cancel();
        if !self.lifecycle.is_finished() {
            // What it ended with was reported by itself.
            let _ = (&mut self.lifecycle).await;
        }
        self.stop.cancel();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for RunningMaster {
    fn drop(&mut self) {
        self.stop_ruling.cancel();
        self.stop.cancel();
    }
}

/// Runs a master until `shutdown` completes.
///
/// # Errors
/// It did not start, or ended by itself.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut master = Master::start(config).await?;
    tokio::select! {
        ended = master.until_ended() => {
            master.stop.cancel();
            return Ok(ended?);
        }
        () = shutdown => {}
    }
    master.shutdown().await;
    Ok(())
}

/// Why [`run`] returned before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It ended by itself.
    #[error(transparent)]
    Ended(#[from] LifecycleError),
}

fn identity(config: &Config, bound: SocketAddr, clock: Clock) -> Identity {
    let ip = config.advertise_ip.unwrap_or_else(|| {
        // A wildcard is nobody's address: this machine's own name is the best that can be told.
        if bound.ip().is_unspecified() {
            std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
        } else {
            bound.ip()
        }
    });
    let address = SocketAddr::new(ip, config.advertise_port.unwrap_or(bound.port()));
    let host = || {
        let name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        if bound.ip().is_unspecified() && config.advertise_ip.is_none() {
            name
        } else {
            None
        }
    };
    Identity {
        id: uuid::Uuid::new_v4().to_string(),
        hostname: config
            .hostname
            .clone()
            .or_else(host)
            .unwrap_or_else(|| ip.to_string()),
        address,
        started_at: clock.now(),
    }
}

async fn durable(config: &Config, identity: &Identity) -> Result<(Keeping, Election), StartError> {
    match &config.durable {
        Durable::Memory => {
            let store: SharedStore = Arc::new(tepui_coordination::store::MemoryStore::new());
            let election = Election::standalone(&*store).await?;
            Ok((Keeping::Open(store), election))
        }
        Durable::Directory(path) => {
            std::fs::create_dir_all(path).map_err(|source| StartError::WorkDirectory {
                path: path.clone(),
                source,
            })?;
            let store: SharedStore = Arc::new(tepui_coordination::store::EmbeddedStore::open(
                path.join("master.redb"),
            )?);
            let election = Election::standalone(&*store).await?;
            Ok((Keeping::Open(store), election))
        }
        Durable::ZooKeeper {
            url,
            session_timeout,
        } => {
            let url: ZooKeeperUrl = url.parse()?;
            let options = ZooKeeperOptions {
                session_timeout: *session_timeout,
                ..ZooKeeperOptions::default()
            };
            let zookeeper = ZooKeeper::connect(url, options);
            let candidate = Candidate::master(&identity.leader_info());
            let election = Election::zookeeper(&zookeeper, candidate);
            Ok((Keeping::ZooKeeper(zookeeper), election))
        }
    }
}
