//! What can go wrong for good. What can be tried again is tried again, and is not told as an error.

use tepui_model::resources::ResourceError;
use tepui_model::{FrameworkId, IdError};

/// Why a framework or executor cannot go on, or a call was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the master is none.
    #[error("the master's address: {0}")]
    Location(#[from] tepui_coordination::LocationError),
    /// The framework is described in a way that no master takes.
    #[error("the framework's {field}: {why}")]
    Invalid {
        /// Which of its properties.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The master has refused the subscription for good.
    #[error("the master at {master} refuses this framework ({status}): {message}")]
    Refused {
        /// Which master.
        master: String,
        /// HTTP status code.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The master has ended the subscription for good: the framework failed over to another instance, was removed, or is invalid.
    #[error("the master ended framework {}: {message}", framework_id.as_ref().map_or("(without an id)", |id| id.as_str()))]
    Ended {
        /// Which framework, if it had an id.
        framework_id: Option<FrameworkId>,
        /// What the master said.
        message: String,
    },
    /// More calls wait than the queue holds; they are sent when the master answers again.
    #[error(
        "{waiting} calls wait for the master, which is the limit; try again when the framework is subscribed"
    )]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// The framework or executor was stopped or dropped.
    #[error("it has been stopped")]
    Stopped,
    /// A variable that the agent gives to every executor is missing or makes no sense.
    #[error(
        "the environment variable {name} {why}; executors are started by an agent, which sets it"
    )]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The agent was away for longer than the executor may wait.
    #[error("the agent at {agent} was not reached for {waited_s} s, the recovery time-out")]
    AgentGone {
        /// Where the agent was.
        agent: String,
        /// How long was waited, in seconds.
        waited_s: u64,
    },
}

/// Why a task cannot be described that way.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The id breaks the rules.
    #[error("task id: {0}")]
    Id(#[from] IdError),
    /// The resources are none.
    #[error("resources: {0}")]
    Resources(#[from] ResourceError),
}
