//! The agent's decisions: tasks, executors, status updates, registration, recovery. A deterministic state machine without I/O.
//!
//! [`Agent::step`] is the one entrance: an [`Input`] comes in with the time at which it came, [`Output`]s go out in the order in which
//! they are to be carried out. [`Agent::next_deadline`] says when the next [`Input::Tick`] is due.
//!
//! What it promises:
//! - **I2 one-terminal**: a task gets at most one terminal state; whatever comes after the first terminal update is dropped.
//! - **I3 terminal-delivered**: an update is made durable, then sent, then resent (10 s doubling to 10 min, and at every registration)
//!   until it is acknowledged. Updates of a task leave one at a time, in order.
//! - **I6 epoch**: a message of a leader with a lower epoch than the highest seen is never obeyed.
//! - A launch waits for no disk: its record precedes it in the outputs, and the shell writes records before it carries out what
//!   follows them; only what leaves for the master (or an executor's acknowledgement) waits until the disk has it.
//!
//! What it leaves out: how containers, probes, files and sockets are made (the shell's business), and history for operators, which
//! [`view::View`] keeps from the [`Change`]s.

mod agent;
mod change;
mod config;
mod drain;
mod executor;
mod group;
mod input;
mod kill;
mod launch;
mod link;
mod messages;
mod operations;
mod output;
mod oversubscription;
mod probes;
mod reconfiguration;
mod record;
mod recovery;
mod sending;
mod status;
mod task;
mod timers;
mod updates;
pub mod view;

pub use agent::Agent;
pub use change::{AgentState, Change, ExecutorState, FrameworkState, Phase, TaskSnapshot};
pub use config::Config;
pub use input::{
    ContainerFact, ContainerState, ExecutorAction, Exit, Input, Limitation, Limited, ProbeResult,
};
pub use output::{Launch, Limits, Output, Probe, ProbeKind, Refusal, Volumes};
pub use reconfiguration::ReconfigurationPolicy;
pub use record::{Entry, Record};

#[cfg(test)]
mod tests;
