//! Everything that an agent can want done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tepui_model::ContainerId;
use tepui_proto::mesos::v1::executor::Event;
use tepui_proto::mesos::v1::{
    CheckInfo, ExecutorInfo, FrameworkInfo, HealthCheck, Resource, TaskInfo,
};
use tepui_proto::tepui::v1::AgentMessage;

use crate::change::Change;
use crate::record::Entry;

/// Everything that an agent can want done, in the order in which the shell does it.
#[derive(Debug, Clone)]
pub enum Output {
    /// Append this record. It must be written (not yet synchronised) before any later output is carried out; once it is durable,
    /// [`crate::Input::Checkpointed`] with its sequence number or a higher one comes back.
    Checkpoint {
        /// Counts up by one.
        sequence: u64,
        /// What to remember.
        entry: Box<Entry>,
    },
    /// Start a container. Answered by [`crate::Input::Launched`] or [`crate::Input::LaunchFailed`].
    Launch(Box<Launch>),
    /// Give the container's process a signal. The container may be gone by then.
    Signal {
        /// Which container.
        container: ContainerId,
        /// The number, as on Linux.
        signal: i32,
    },
    /// End the container at once, whatever state it is in (also if its launch is under way). Answered by [`crate::Input::Exited`] or
    /// [`crate::Input::LaunchFailed`].
    Destroy {
        /// Which container.
        container: ContainerId,
    },
    /// New limits for a container.
    Resize {
        /// Which container.
        container: ContainerId,
        /// What it may use from now on.
        limits: Limits,
    },
    /// The container is over and everything about it is settled; its sandbox may age.
    Forget {
        /// Which container.
        container: ContainerId,
    },
    /// Remove, then make, the volumes of an operation, in the order of these outputs and before any later output is carried out.
    /// Doing it again must do no harm to what a volume holds meanwhile. Answered by [`crate::Input::VolumesDone`].
    Volumes(Box<Volumes>),
    /// What became of an operation with volumes is durable: nobody asks for [`Output::Volumes`] of it again.
    VolumesSettled {
        /// The operation.
        operation: Bytes,
    },
    /// Send a message on the current stream.
    ToMaster {
        /// The number of the stream, as [`crate::Input::Connected`] gave it.
        stream: u64,
        /// The message.
        message: Box<AgentMessage>,
    },
    /// Close the stream and connect again after a pause.
    CloseStream {
        /// The number of the stream.
        stream: u64,
        /// For the log.
        reason: String,
    },
    /// Send an event to a subscribed executor.
    ToExecutor {
        /// Of the subscription.
        connection: u64,
        /// The event.
        event: Box<Event>,
    },
    /// Close an executor's event stream, after the events before it.
    CloseExecutor {
        /// Of the subscription.
        connection: u64,
    },
    /// The answer to [`crate::Input::Executor`].
    Answer {
        /// Which call.
        call: u64,
        /// Accepted, or not and why.
        result: Result<(), Refusal>,
    },
    /// Carry out one probe. Answered by [`crate::Input::Probed`].
    Probe(Box<Probe>),
    /// An object that operators see has changed.
    Changed(Change),
    /// The agent is done and wants its process (or its place in one) to end.
    Exit {
        /// For the log.
        reason: String,
    },
}

/// A container to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its id, a UUID in text form.
    pub container: ContainerId,
    /// Whose it is.
    pub framework: Arc<FrameworkInfo>,
    /// The executor: the framework's own, or the one made up for a command task.
    pub executor: Arc<ExecutorInfo>,
    /// Set for a command task, whose command runs in the container.
    pub task: Option<Arc<TaskInfo>>,
    /// Of a task in a group that the agent plays the executor of: the ports of the executor and of all its tasks, for the networks that they share.
    pub group_ports: Vec<Resource>,
    /// Of such a task: what the executor and all its tasks may use together. An executor whose tasks share cgroups gets more and less by
    /// [`Output::Resize`] later.
    pub group_limits: Limits,
    /// What it may use.
    pub limits: Limits,
}

/// Volumes to remove and to make, for one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Volumes {
    /// The operation, for the answer.
    pub operation: Bytes,
    /// Persistent volumes that are to be there, empty unless they have been there before.
    pub make: Vec<Resource>,
    /// Persistent volumes that are to be there no more, nor anything of what they held.
    pub remove: Vec<Resource>,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Thousandths of a cpu asked for: its share when cpus are scarce.
    pub cpus_milli: u64,
    /// Thousandths of a cpu that it may never pass: `None` leaves that to the agent's flags, `u64::MAX` is without end.
    pub cpus_limit_milli: Option<u64>,
    /// Bytes of memory asked for.
    pub mem_bytes: u64,
    /// Bytes of memory at which it is ended; `u64::MAX` is without end.
    pub mem_limit_bytes: u64,
    /// Some of its cpus are revocable: it gives way to those whose are not.
    pub revocable_cpus: bool,
}

/// One probe to carry out.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Its number, for the answer.
    pub probe: u64,
    /// The container of the task.
    pub container: ContainerId,
    /// What to look at.
    pub kind: ProbeKind,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
}

/// What to look at.
#[derive(Debug, Clone)]
pub enum ProbeKind {
    /// `TaskInfo.health_check`. Its finding comes as a [`tepui_proto::mesos::v1::CheckStatusInfo`] too.
    Health(Arc<HealthCheck>),
    /// `TaskInfo.check`.
    Check(Arc<CheckInfo>),
}

/// Why an executor's call was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("Framework cannot be found")]
    UnknownFramework,
    /// 400.
    #[error("Executor cannot be found")]
    UnknownExecutor,
    /// 403.
    #[error("Executor is not subscribed")]
    NotSubscribed,
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 503: too many updates of one task wait for their acknowledgement.
    #[error("too many updates of task '{0}' wait for acknowledgement; send this one again later")]
    Busy(String),
}
