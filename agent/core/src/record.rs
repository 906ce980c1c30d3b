//! What an agent writes down, so that its next life knows what this one did.
//!
//! The records are protobuf messages of the agent's own (no other program reads them), so that fields can be added. Replaying them in
//! order gives the state; [`crate::Agent::snapshot`] gives a shorter list with the same meaning. Field numbers are never used twice.

use bytes::Bytes;
use prost::{Message, Oneof};
use tepui_proto::mesos::v1::offer::Operation;
use tepui_proto::mesos::v1::{
    AgentInfo, DrainConfig, ExecutorInfo, FrameworkId, FrameworkInfo, KillPolicy, OperationStatus,
    Resource, TaskInfo, TaskStatus,
};

/// One line of the journal.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// What it says. `None` is a record of a later version, and is skipped.
    #[prost(
        oneof = "Record",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17"
    )]
    pub record: Option<Record>,
}

/// What a line of the journal says.
#[derive(Clone, PartialEq, Oneof)]
pub enum Record {
    /// The master has given this agent an id; an empty one: the id was taken away.
    #[prost(string, tag = "1")]
    Identity(String),
    /// A leader with this epoch has been obeyed.
    #[prost(uint64, tag = "2")]
    Epoch(u64),
    /// A framework that has something here, or a change of it.
    #[prost(message, tag = "3")]
    Framework(Box<FrameworkInfo>),
    /// The framework has nothing here any more.
    #[prost(string, tag = "4")]
    FrameworkGone(String),
    /// A container is about to be started for an executor (or for a command task).
    #[prost(message, tag = "5")]
    Executor(Box<ExecutorRecord>),
    /// The container is gone.
    #[prost(message, tag = "6")]
    ExecutorGone(ExecutorGone),
    /// A task was accepted.
    #[prost(message, tag = "7")]
    Task(Box<TaskRecord>),
    /// A status update was made or taken.
    #[prost(message, tag = "8")]
    Update(Box<UpdateRecord>),
    /// The oldest update of the task was acknowledged.
    #[prost(message, tag = "9")]
    Acknowledged(Acknowledged),
    /// The task's end was asked for.
    #[prost(message, tag = "10")]
    Kill(KillRecord),
    /// The operator drains this agent, without a time; nothing set: no more. Read, not written any more.
    #[prost(message, tag = "11")]
    Drain(DrainConfig),
    /// The executor's end was asked for.
    #[prost(message, tag = "12")]
    Shutdown(ExecutorGone),
    /// An operation was applied to the agent's resources, or it was decided what became of it.
    #[prost(message, tag = "13")]
    Operation(Box<OperationRecord>),
    /// Its last status was acknowledged; by uuid.
    #[prost(bytes = "bytes", tag = "14")]
    OperationOver(Bytes),
    /// A snapshot's: all that the agent has, by the operations that are over.
    #[prost(message, tag = "15")]
    Total(TotalRecord),
    /// The operator drains this agent, or no more.
    #[prost(message, tag = "16")]
    Draining(DrainRecord),
    /// What the agent is configured as from here on, without id and port.
    #[prost(message, tag = "17")]
    Configured(Box<AgentInfo>),
}

/// See [`Record::Total`].
#[derive(Clone, PartialEq, Message)]
pub struct TotalRecord {
    /// All that the agent has.
    #[prost(message, repeated, tag = "1")]
    pub total: Vec<Resource>,
}

/// See [`Record::Draining`].
#[derive(Clone, PartialEq, Message)]
pub struct DrainRecord {
    /// What the operator asked for; absent when it is over.
    #[prost(message, optional, tag = "1")]
    pub config: Option<DrainConfig>,
    /// Nanoseconds since the epoch at which it began.
    #[prost(int64, tag = "2")]
    pub since: i64,
}

/// See [`Record::Operation`]. A later record with the same uuid replaces an earlier one.
#[derive(Clone, PartialEq, Message)]
pub struct OperationRecord {
    /// The master's name for it.
    #[prost(bytes = "bytes", tag = "1")]
    pub uuid: Bytes,
    /// Whose; absent for operators' operations.
    #[prost(message, optional, tag = "2")]
    pub framework_id: Option<FrameworkId>,
    /// What was asked for.
    #[prost(message, optional, tag = "3")]
    pub info: Option<Operation>,
    /// What became of it; absent while its volumes are being made or removed.
    #[prost(message, optional, tag = "4")]
    pub status: Option<OperationStatus>,
    /// All that the agent has from now on; nothing in a snapshot, where [`Record::Total`] says it.
    #[prost(message, repeated, tag = "5")]
    pub total: Vec<Resource>,
}

/// See [`Record::Executor`].
#[derive(Clone, PartialEq, Message)]
pub struct ExecutorRecord {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Which.
    #[prost(message, optional, tag = "2")]
    pub info: Option<ExecutorInfo>,
    /// In which container.
    #[prost(string, tag = "3")]
    pub container: String,
    /// Made up for a command task.
    #[prost(bool, tag = "4")]
    pub command: bool,
    /// Played by the agent: it has no process, and its tasks have containers of their own.
    #[prost(bool, tag = "5")]
    pub builtin: bool,
}

/// See [`Record::ExecutorGone`] and [`Record::Shutdown`].
#[derive(Clone, PartialEq, Message)]
pub struct ExecutorGone {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub executor_id: String,
}

/// See [`Record::Task`].
#[derive(Clone, PartialEq, Message)]
pub struct TaskRecord {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Which.
    #[prost(message, optional, tag = "2")]
    pub info: Option<TaskInfo>,
    /// Its executor; empty for a task that never got one (only its terminal update is left to deliver).
    #[prost(string, tag = "3")]
    pub executor_id: String,
    /// Names the group; empty for a task that came alone.
    #[prost(string, tag = "4")]
    pub group: String,
    /// The task's own container, nested in that of an executor played by the agent; else empty.
    #[prost(string, tag = "5")]
    pub container: String,
}

/// See [`Record::Update`].
#[derive(Clone, PartialEq, Message)]
pub struct UpdateRecord {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// What; its `uuid` is set.
    #[prost(message, optional, tag = "2")]
    pub status: Option<TaskStatus>,
    /// It came from an executor, which wants to be told.
    #[prost(bool, tag = "3")]
    pub from_executor: bool,
    /// A snapshot's: the framework had acknowledged it before; it stands for the task's history.
    #[prost(bool, tag = "4")]
    pub acknowledged: bool,
}

/// See [`Record::Acknowledged`].
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledged {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub task_id: String,
    /// Of the update.
    #[prost(bytes = "bytes", tag = "3")]
    pub uuid: Bytes,
}

/// See [`Record::Kill`].
#[derive(Clone, PartialEq, Message)]
pub struct KillRecord {
    /// Whose.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub task_id: String,
    /// Nanoseconds since the epoch at which patience ends.
    #[prost(int64, tag = "3")]
    pub deadline: i64,
    /// A number of `task::Cause`.
    #[prost(uint32, tag = "4")]
    pub cause: u32,
    /// As the framework gave it; custom executors are told.
    #[prost(message, optional, tag = "5")]
    pub policy: Option<KillPolicy>,
    /// The task had not started.
    #[prost(bool, tag = "6")]
    pub during_launch: bool,
}
