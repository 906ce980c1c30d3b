//! Marathon's decisions: apps, groups, deployments, launch queue, instances, health. A deterministic state machine without I/O.
//!
//! [`Marathon`] is the core: `step(now, Input, &mut Vec<Output>)` and `next_deadline()`. It decides; the shell listens, probes, stores and
//! talks to the master. [`view::View`] is the read model that the shell keeps beside it.
//!
//! Promises: the same inputs give the same outputs; every acknowledged change is durable before its reply leaves; no input panics; the
//! work of an event does not grow with the number of apps or instances that it does not concern.
//!
//! Leaves out, for now: external volumes, secrets, executors of its users. Definitions
//! that use them are refused by name.

pub mod config;
mod core;
pub mod definition;
pub mod deployment;
mod ended;
pub mod event;
pub mod group;
mod health;
mod ids;
mod input;
pub mod instance;
mod launch;
mod matching;
mod output;
mod path;
mod policy;
mod response;
pub mod schemas;
mod timestamp;
pub mod view;

pub use self::core::{Marathon, RecoverError, ReplacedByRestore, is_of_place};
pub use config::Config;
pub use definition::is_executor;
pub use deployment::{Trial, TrialSize};
pub use ended::TaskQuery;
pub use input::{
    ApiCall, Input, Measured, Origin, PolicyAction, PolicyPart, ProbeOutcome, ReadinessAnswer,
    RebalanceAction, ReplyToken, Usage,
};
pub use output::{CheckId, Measure, Mutation, Output, Probe, ProbeTarget, Record};
pub use path::PathId;
pub use policy::{
    Amount, Autoscaling, DisruptionBudget, Maintenance, Metric, Policy, Rebalance, Restarts, Window,
};
pub use response::{Detail, Response};
pub use timestamp::{InvalidTimestamp, Timestamp};
