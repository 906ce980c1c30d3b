//! The Marathon-compatible container framework: REST, events, health checks and storage around the core.
//!
//! [`Marathon::start`] makes one instance: it listens, campaigns for the leadership, and while it leads runs the core of
//! [`tepui_marathon_core`], which decides everything. This crate carries it out: `rest` is the HTTP face, `events` the event stream, `probes` run
//! health checks, `storage` writes, `scheduler` speaks to the master through the SDK, `reign` ties one term of leadership together.
//!
//! It is a framework like any other: it knows the master only through the SDK.

mod backup;
mod config;
mod engine;
mod error;
mod events;
mod flags;
mod known;
mod log_dial;
mod measures;
mod meters;
mod probes;
mod pushes;
mod reign;
mod rest;
mod scheduler;
mod storage;

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use backup::{BackupError, Progress, backup_stopped, check as check_backup, restore};
pub use config::Config;
pub use error::Error;
pub use flags::Flags;
pub use log_dial::LogDial;
pub use pushes::{Push, PushForm};
/// What decisions depend on.
pub use tepui_marathon_core::Config as CoreConfig;
/// Times as Marathon writes them.
pub use tepui_marathon_core::{TaskQuery, Timestamp};

/// A running instance. Dropping it ends it; its tasks run on, and the next instance takes them over.
#[derive(Debug)]
pub struct Marathon {
    address: SocketAddr,
    /// Ends when it is dropped.
    _pushing: tokio::task::JoinSet<()>,
    serving: JoinHandle<()>,
    reigning: JoinHandle<Result<(), Error>>,
}

impl Marathon {
    /// Opens the store, listens, and begins to campaign. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The store or the address cannot be used.
    pub async fn start(mut config: Config) -> Result<Self, Error> {
        let coordination = reign::Coordination::open(&config).await?;
        let wanted = SocketAddr::new(config.http_address, config.http_port);
        let not_listening = |source| Error::Listen {
            address: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(not_listening)?;
        let address = listener.local_addr().map_err(not_listening)?;
        config.http_port = address.port();
        let own = format!("{}:{}", config.hostname, address.port());
        let config = Arc::new(config);
        let (standing, standings) = watch::channel(rest::Standing::default());
        let face = Arc::new(rest::Face::new(Arc::clone(&config), own.clone(), standings));
        let mut pushing = tokio::task::JoinSet::new();
        for push in config.pushes.clone() {
            pushing.spawn(rest::push(push, Arc::clone(&face)));
        }
        Ok(Self {
            address,
            _pushing: pushing,
            serving: tokio::spawn(face.serve(listener)),
            reigning: tokio::spawn(reign::run(config, coordination, own, standing)),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it cannot go on.
    ///
    /// # Errors
    /// Why it cannot: its store is broken, or holds what it does not understand.
    pub async fn failed(&mut self) -> Error {
        match (&mut self.reigning).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => Error::Thread(std::io::Error::other("the election ended")),
            Err(panic) => Error::Thread(std::io::Error::other(panic)),
        }
    }
}

impl Drop for Marathon {
    fn drop(&mut self) {
        self.serving.abort();
        self.reigning.abort();
    }
}
