//! An executor's client: the agent says what to launch and kill, the executor says what became of it.
//!
//! Updates are kept until the agent has them for good, and are sent again with every subscription. The agent may be away for a while (its
//! restart or upgrade): tasks run on, and the executor comes back within the recovery time-out that it was given.
//!
//! `ledger` (pure) knows what is to be repeated, `session` holds the subscription, `environment` (pure) reads what the agent tells.

mod environment;
mod ledger;
mod session;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tepui_coordination::HostPort;
use tepui_model::{ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::inbox::Inbox;
use crate::transport::Transport;
use session::{Session, Shared};

/// An agent's port, for addresses without one.
const AGENT_PORT: u16 = 5051;
/// How long an executor tries to subscribe for the first time: agents give it up after a minute.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// End all tasks, report that, then end the process.
    Shutdown,
}

impl ExecutorBuilder {
    /// What the agent says in the environment (`MESOS_…`).
    ///
    /// # Errors
    /// A variable is missing or makes no sense: the process was not started by an agent.
    pub fn from_env() -> Result<Self, Error> {
        environment::read(|name| std::env::var(name).ok())
    }

    /// How to speak to the agent; [`Transport::Auto`] otherwise.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Subscribes with the agent. Must be called within a tokio runtime. Returns at once; the first event is
    /// [`ExecutorEvent::Subscribed`].
    ///
    /// # Errors
    /// The agent's address is none.
    pub fn connect(self) -> Result<Executor, Error> {
        let agent = HostPort::parse(&self.agent, Some(AGENT_PORT))?;
        let inbox = Arc::new(Inbox::default());
        let shared = Arc::new(Shared::default());
        let handle = ExecutorHandle {
            shared: Arc::clone(&shared),
        };
        let session = Session {
            builder: self,
            agent,
            inbox: Arc::clone(&inbox),
            shared,
        };
        let session = tokio::spawn(session.run()).abort_handle();
        Ok(Executor {
            inbox,
            handle,
            session,
        })
    }
}

/// An executor and its subscription.
#[derive(Debug)]
pub struct Executor {
    inbox: Arc<Inbox<ExecutorEvent>>,
    handle: ExecutorHandle,
    session: AbortHandle,
}

impl Executor {
    /// Connects to the agent that started this process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The process was not started by an agent.
    pub fn from_env() -> Result<Self, Error> {
        ExecutorBuilder::from_env()?.connect()
    }

    /// Waits for what happens next. `None` when the agent has ended the executor.
    ///
    /// # Errors
    /// The agent refused the executor, or was away for too long. The call after that gives `None`.
    pub async fn next(&mut self) -> Result<Option<ExecutorEvent>, Error> {
        self.inbox.next().await
    }

    /// A handle to report and to send, from any task of the program.
    pub fn handle(&self) -> ExecutorHandle {
        self.handle.clone()
    }

    /// Reports a task's state.
    ///
    /// # Errors
    /// As [`ExecutorHandle::report`].
    pub fn update(&self, task: &TaskId, state: TaskState) -> Result<(), Error> {
        self.handle.update(task, state)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.session.abort();
        self.handle.shared.close();
    }
}

/// For reports and messages. Clones are cheap.
#[derive(Clone, Debug)]
pub struct ExecutorHandle {
    shared: Arc<Shared>,
}

impl ExecutorHandle {
    /// Reports a task's state. The report is kept and repeated until the agent has it; reports of a task arrive in order.
    ///
    /// # Errors
    /// As [`ExecutorHandle::report`].
    pub fn update(&self, task: &TaskId, state: TaskState) -> Result<(), Error> {
        self.report(TaskReport::new(task, state))
    }

    /// The same with more to say.
    ///
    /// # Errors
    /// 65,536 reports wait for the agent already, or the executor has ended.
    pub fn report(&self, report: TaskReport) -> Result<(), Error> {
        let mut status = report.status;
        status.source = Some(mesos::task_status::Source::Executor.into());
        status.uuid = Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()));
        if status.timestamp.is_none() {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            status.timestamp = Some(since.as_secs_f64());
        }
        self.shared.update(status)
    }

    /// Says something to the framework. It is lost if the agent is away.
    ///
    /// # Errors
    /// Too much waits, or the executor has ended.
    pub fn message(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.shared.message(data.into())
    }

    /// How many reports the agent does not have yet. An executor that ends should wait until there are none.
    pub fn waiting_reports(&self) -> usize {
        self.shared.waiting()
    }
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
