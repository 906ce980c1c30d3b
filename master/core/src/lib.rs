//! The master's decisions: registry, allocator, offers, tasks. A deterministic state machine without I/O.
//!
//! [`Master`] has one entrance, [`Master::step`]; what can come in is [`Input`], what can come out is [`Output`]. What operators
//! see leaves as [`Change`]s. Nothing in here reads a clock, a random number, a file or a socket: time comes with each step, and
//! ids are counted.
//!
//! Promised: I1 (no over-commitment), I2 (one terminal state a task), I4 (an offer ends once) and I6 (nothing is sent after a later
//! leader was seen), asserted where it is cheap and wholly by [`Master::check_invariants`].
//! Left out: transports, encodings, authentication, and reading for operators, which are the shell's.

pub mod allocator;

mod allocation;
mod calls;
mod change;
mod config;
mod counters;
mod events;
mod facts;
mod input;
mod invariants;
mod links;
mod maintenance;
mod master;
mod operations;
mod operator;
mod orders;
mod output;
mod policy;
mod registry;
mod state;
mod stores;
mod tasks;
mod validate;

pub use allocator::Quota;
pub use change::{
    AgentRemoval, AgentSnapshot, Change, ExecutorSnapshot, FrameworkSnapshot, InverseOfferSnapshot,
    MaintenanceSnapshot, OfferKey, OfferSnapshot, OperationKey, OperationSnapshot, TaskKey,
    TaskList, TaskSnapshot,
};
pub use config::Config;
pub use counters::{
    Counters, FrameworkCounters, MessageCounters, OfferCounters, OperationCounters,
};
pub use facts::{KeptStatus, TaskFacts};
pub use input::{CallOrigin, Input, LinkKey, OperatorCall, ReplyToken, StoreError, StreamKey};
pub use master::Master;
pub use output::{LogLevel, Output, Reply};
pub use registry::{
    AdmittedAgent, Drain, Maintenance, Registry, RegistryOperation, UnreachableAgent,
};
pub use validate::constraints::{Constraints, agent_attributes};
