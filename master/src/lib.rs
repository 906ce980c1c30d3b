//! The master daemon: faces (HTTP, gRPC, UI) and durable state around the core.
//!
//! [`Master::start`] starts one, any number of times in a process; [`run`] runs one until it is told to stop. All decisions are made in
//! `tepui-master-core`, on one thread ([`driver`]); everything else here turns sockets, the store and the election into its inputs and
//! its outputs into bytes ([`faces`]), and shows operators what it decided ([`view`]).

mod clock;
mod config;
mod driver;
mod faces;
mod flags;
mod log_dial;
mod metrics;
mod outbox;
mod registrar;
mod reign;
mod start;
mod view;
mod whitelist;

pub use config::{Config, ConfigError, Durable, Limits, parse_duration};
pub use flags::{Effect, FLAGS, Flag, Flags};
pub use log_dial::LogDial;
pub use registrar::RecoveryError;
pub use reign::LifecycleError;
pub use start::{Master, RunError, RunningMaster, StartError, run};
