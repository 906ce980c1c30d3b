//! An executor's client: the agent says what to launch and kill, the executor says what became of it.
//!
//! Updates are kept until the agent has them for good, and are sent again with every subscription. The agent may be away for a while (its
//! restart or upgrade): tasks run on, and the executor comes back within the recovery time-out that it was given.

use std::time::Duration;

use bytes::Bytes;
use tepui_model::{ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos;

use crate::transport::Transport;

/// What an executor needs to know of its agent. The agent tells it in the environment.
#[derive(Clone, Debug)]
pub struct ExecutorBuilder {
    /// Of which framework.
    pub framework_id: FrameworkId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// Where the agent listens: `host:port`.
    pub agent: String,
    /// How long to wait for an agent that is away; `None` if the framework does not checkpoint: then the executor ends with its
    /// connection.
    pub recovery_timeout: Option<Duration>,
    /// The longest pause between attempts to come back.
    pub backoff_limit: Duration,
    /// How long it has to end after [`ExecutorEvent::Shutdown`].
    pub shutdown_grace: Duration,
    /// To prove who it is, if the agent asks for that.
    pub token: Option<String>,
    /// How to speak to the agent.
    pub transport: Transport,
}

/// What an executor is told. More kinds may come with later versions.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecutorEvent {
    /// It is subscribed, for the first time or again.
    Subscribed(Box<mesos::executor::event::Subscribed>),
    /// The agent is away; what is sent waits.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// A task to be run.
    Launch(Box<mesos::TaskInfo>),
    /// Tasks to be run, all or none.
    LaunchGroup(Vec<mesos::TaskInfo>),
    /// A task to be ended.
    Kill {
        /// Which.
        task_id: TaskId,
        /// How long it has between being asked to end and being ended, if that differs from the task's own.
        grace: Option<Duration>,
    },
    /// The framework says something.
    Message(Bytes),
    /// End all tasks, then end: [`Executor::next`](Executor::next) gives `None` afterwards.
    Shutdown,
}

/// What an executor says of a task.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// As it will be sent; its uuid, source and time are filled in.
    pub status: mesos::TaskStatus,
}

impl TaskReport {
    /// A task is in this state.
    pub fn new(task: &TaskId, state: TaskState) -> Self {
        let status = mesos::TaskStatus {
            task_id: mesos::TaskId {
                value: task.to_string(),
            },
            state: state.number(),
            ..mesos::TaskStatus::default()
        };
        Self { status }
    }

    /// With words for people.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.status.message = Some(message.into());
        self
    }

    /// With data for the framework.
    #[must_use]
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.status.data = Some(data.into());
        self
    }

    /// With its health.
    #[must_use]
    pub fn healthy(mut self, healthy: bool) -> Self {
        self.status.healthy = Some(healthy);
        self
    }
}
