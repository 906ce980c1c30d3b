//! The master daemon: faces (HTTP, gRPC, UI) and durable state around the core.

mod config;
mod flags;

pub use config::{Config, ConfigError, Durable, Limits, parse_duration};
pub use flags::{Effect, FLAGS, Flag, Flags};

use std::net::SocketAddr;

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
}
