//! What operators see: each object whole, behind an `Arc`, whenever it changed.

use std::sync::Arc;

use bytes::Bytes;
use tepui_model::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, TaskState, Time};
use tepui_proto::mesos::v1::{
    DrainConfig, ExecutorInfo, FrameworkInfo, MasterInfo, Operation, Resource, Task, TaskInfo,
    TaskStatus,
};

/// An object was added, changed or ended. Objects are told about before what belongs to them, and ended after it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The agent itself.
    Agent(Arc<AgentState>),
    /// A framework, new or changed.
    Framework(Arc<FrameworkState>),
    /// The framework has nothing here any more.
    FrameworkEnded(FrameworkId),
    /// An executor, new or changed.
    Executor(Arc<ExecutorState>),
    /// The executor's container is gone.
    ExecutorEnded(FrameworkId, ExecutorId),
    /// A task, new or changed.
    Task(Arc<TaskSnapshot>),
    /// An operation on the agent's resources, new or changed.
    Operation(Arc<Operation>),
    /// The operation with this uuid is over, and that was acknowledged if it was to be.
    OperationEnded(Bytes),
    /// The terminal update of the task was acknowledged, or nobody is left to take it.
    TaskEnded(FrameworkId, TaskId),
}

/// The agent as operators see it.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// Absent until the first registration.
    pub id: Option<AgentId>,
    /// A leader has taken this agent's registration and its stream stands.
    pub registered: bool,
    /// The leader.
    pub master: Option<MasterInfo>,
    /// The highest epoch obeyed.
    pub epoch: u64,
    /// Set while the operator drains the agent.
    pub drain: Option<DrainConfig>,
    /// Since when.
    pub drain_since: Option<Time>,
    /// All that it has: as configured, with what operations have made of it.
    pub total: Arc<[Resource]>,
    /// What may be used beyond that until it is taken back.
    pub oversubscribed: Arc<[Resource]>,
}

/// A framework as operators see it.
#[derive(Debug, Clone)]
pub struct FrameworkState {
    /// Its id.
    pub id: FrameworkId,
    /// As the master gave it.
    pub info: Arc<FrameworkInfo>,
}

/// An executor as operators see it.
#[derive(Debug, Clone)]
pub struct ExecutorState {
    /// Whose.
    pub framework_id: FrameworkId,
    /// Its id: the task's for a command task.
    pub id: ExecutorId,
    /// As the framework gave it, or as made up for a command task.
    pub info: Arc<ExecutorInfo>,
    /// Its container.
    pub container: ContainerId,
    /// Made up for a command task.
    pub command: bool,
    /// The pid on the host, once the container runs.
    pub pid: Option<u32>,
    /// Where it stands.
    pub phase: Phase,
    /// Its end was ordered because others need the machine.
    pub preempted: bool,
}

/// Where an executor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its container is being made, or it has not subscribed yet.
    Registering,
    /// It takes tasks.
    Running,
    /// Its end was asked for.
    Terminating,
}

/// A task as operators see it.
#[derive(Debug, Clone)]
pub struct TaskSnapshot {
    /// Whose.
    pub framework_id: FrameworkId,
    /// Its executor; `None` for a task that never got one.
    pub executor_id: Option<ExecutorId>,
    /// Which.
    pub id: TaskId,
    /// As the framework gave it.
    pub info: Arc<TaskInfo>,
    /// The newest state.
    pub state: TaskState,
    /// One for each state it went through, the newest of each, without `data`.
    pub statuses: Vec<Arc<TaskStatus>>,
    /// The state of the update that was last sent, with its uuid.
    pub forwarded: Option<(TaskState, Bytes)>,
    /// Not given to its executor yet.
    pub queued: bool,
    /// A command task: its executor is not the framework's.
    pub command: bool,
    /// When the agent heard of it.
    pub since: Time,
}

impl TaskSnapshot {
    /// The message that operators and masters get.
    #[must_use]
    pub fn to_task(&self) -> Task {
        crate::messages::task(self)
    }
}
