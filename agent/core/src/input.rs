//! Everything that can happen to an agent.

use bytes::Bytes;
use tepui_model::{ContainerId, ExecutorId, FrameworkId};
use tepui_proto::mesos::v1::executor::call::Update;
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{CheckStatusInfo, NetworkInfo, Resource, TaskInfo, TaskStatus};
use tepui_proto::tepui::v1::MasterMessage;

/// Everything that can happen to an agent. Each variant may come at any time; one that does not fit the state is ignored or answered
/// with a refusal, as its own text says, and never panics.
#[derive(Debug, Clone)]
pub enum Input {
    /// The time of [`crate::Agent::next_deadline`] has come. Harmless when early or late.
    Tick,
    /// A stream to the leader stands; the agent answers with its registration. Streams are numbered upwards by the shell, and a newer one
    /// silences all older ones; one that is not newer is ignored.
    Connected {
        /// The number of the stream.
        stream: u64,
    },
    /// The stream has ended. Ignored unless it is the current one.
    Disconnected {
        /// The number of the stream.
        stream: u64,
    },
    /// A message of a frame. Ignored from any stream but the current one; one whose epoch is below the highest seen closes the stream.
    FromMaster {
        /// The number of the stream.
        stream: u64,
        /// The epoch of the frame.
        epoch: u64,
        /// The message. Boxed because it is large.
        message: Box<MasterMessage>,
    },
    /// A pong or anything else that proves that records up to this sequence number are on the disk. Never falls.
    Checkpointed {
        /// Of the last record that is durable.
        sequence: u64,
    },
    /// The container's process runs. Ignored for unknown containers.
    Launched {
        /// Which container.
        container: ContainerId,
        /// The pid on the host of the task or executor, if known.
        pid: Option<u32>,
    },
    /// The container is about to be started on networks of its own: what the status of its tasks tells of them. Ignored for unknown
    /// containers. Comes again for those that run after a restart of the agent.
    Networked {
        /// Which container.
        container: ContainerId,
        /// Its networks, with the addresses that it has there.
        networks: Vec<NetworkInfo>,
    },
    /// The container could not be started; nothing of it is left. Ignored for unknown containers.
    LaunchFailed {
        /// Which container.
        container: ContainerId,
        /// Why, for the framework's author to read.
        reason: String,
    },
    /// The container has ended and nothing of it runs any more. Ignored for unknown containers.
    Exited {
        /// Which container.
        container: ContainerId,
        /// How it ended.
        exit: Exit,
    },
    /// A call of an executor; always answered with exactly one [`crate::Output::Answer`].
    Executor {
        /// Numbers the call, for the answer.
        call: u64,
        /// `Call.framework_id`.
        framework_id: FrameworkId,
        /// `Call.executor_id`.
        executor_id: ExecutorId,
        /// What the executor wants.
        action: ExecutorAction,
    },
    /// An executor's event stream has ended. Ignored unless it is the executor's current one.
    ExecutorDisconnected {
        /// Of the subscription.
        connection: u64,
    },
    /// A probe has ended. Ignored for probes that nobody waits for any more.
    Probed {
        /// The number that [`crate::Output::Probe`] gave it.
        probe: u64,
        /// How it went.
        result: ProbeResult,
    },
    /// The volumes of an operation are as they are to be. Ignored for operations that nobody waits for any more.
    VolumesDone {
        /// The operation that [`crate::Output::Volumes`] named.
        operation: Bytes,
        /// Or why they are not.
        result: Result<(), String>,
    },
    /// All that may be used beyond what the agent has until it is taken back, what tasks have of it already included. Replaces what was
    /// said before. What makes no sense is left out.
    Oversubscribed {
        /// Scalars for everybody; they need not be marked as revocable.
        resources: Vec<Resource>,
    },
    /// The executor's container is to end at once, because those for whom the machine is kept need it. Ignored unless the executor has
    /// this container and something revocable, and if it is ending already.
    Preempt {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// In which container.
        container: ContainerId,
        /// For the framework's author.
        reason: String,
    },
    /// The executor's container (with all that its tasks have) uses more than it may, as the shell has measured it: it is to end at once.
    /// Ignored unless the executor has this container, and if it was ended for that already.
    Exceeded {
        /// The executor's container.
        container: ContainerId,
        /// What it exceeds.
        limitation: Limitation,
    },
    /// The operator wants the agent to end for good: everything is killed, then the agent unregisters, then [`crate::Output::Exit`].
    Shutdown {
        /// For the log and for the master.
        reason: String,
    },
}

/// What an executor wants.
#[derive(Debug, Clone)]
pub enum ExecutorAction {
    /// SUBSCRIBE. A second one replaces the first, whose stream is closed.
    Subscribe {
        /// Numbers the event stream; new for every subscription.
        connection: u64,
        /// What the executor holds and nobody has acknowledged.
        unacknowledged_tasks: Vec<TaskInfo>,
        /// What it reported and nobody has acknowledged.
        unacknowledged_updates: Vec<Update>,
    },
    /// UPDATE.
    Update(Box<TaskStatus>),
    /// MESSAGE, best effort.
    Message(Bytes),
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exit {
    /// As of wait(2); `None` if nobody knows.
    pub status: Option<i32>,
    /// Set if the container was ended because it used too much.
    pub limitation: Option<Limitation>,
}

/// A limit that was passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Limitation {
    /// Of what.
    pub of: Limited,
    /// For the framework's author.
    pub message: String,
    /// What it was that was used up, or used without being asked for.
    pub resources: Vec<Resource>,
}

/// What a container may not have as much of as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Ports to listen on.
    Ports,
}

impl Limited {
    /// The reason of the status of a task that ended for it.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Memory => Reason::ContainerLimitationMemory,
            Self::Disk => Reason::ContainerLimitationDisk,
            Self::Ports => Reason::ContainerLimitation,
        }
    }
}

/// How a probe went.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeResult {
    /// The probe was carried out and this is what it found.
    Found(CheckStatusInfo),
    /// It could not be carried out in its time, and why.
    Failed(String),
}

/// What the containerizer found of a container when the agent started.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerFact {
    /// Which container.
    pub container: ContainerId,
    /// What became of it.
    pub state: ContainerState,
}

/// What became of a container while the agent was away.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerState {
    /// It runs.
    Running {
        /// The pid on the host, if known.
        pid: Option<u32>,
    },
    /// It ended, and how is on record.
    Exited(Exit),
    /// It could not be started.
    LaunchFailed {
        /// Why, for the framework's author to read.
        reason: String,
    },
    /// It is gone, and nothing says how it ended; or it never was.
    Lost,
}
