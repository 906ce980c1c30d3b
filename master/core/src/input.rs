//! Everything that can happen to a master, as one closed enum: what a shell turns sockets, timers and the store into.
//!
//! Names of streams and replies are numbers that the shell chooses and never uses twice; the core only hands them back.
//! No input is ever a panic: each variant says what happens when it comes at another time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tepui_model::{AgentId, FrameworkId, TaskId};
use tepui_proto::mesos::{self, maintenance, offer, quota, scheduler};
use tepui_proto::tepui::v1::AgentMessage;

/// One subscription of a framework: an open HTTP response or a gRPC stream. Chosen by the shell, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

/// One stream of an agent (`tepui.v1.AgentLink`). Chosen by the shell, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(pub u64);

/// Names a caller that waits for [`crate::Output::Reply`]. Each token given is answered exactly once, by the step that took it
/// unless the answer needs the registry, then after [`Input::Stored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// Where a scheduler call other than SUBSCRIBE came from: it has to prove that it belongs to the newest subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOrigin {
    /// A POST of its own, with the text of its `Mesos-Stream-Id` header if there was one.
    Http {
        /// The header's value.
        stream_id: Option<Box<str>>,
    },
    /// A later call on the very stream that subscribed (gRPC).
    Stream(StreamKey),
}

/// What happens to a master.
#[derive(Debug)]
pub enum Input {
    /// A SUBSCRIBE call opened a new stream. Legal at any time. The synchronous checks are answered by `reply` (`Ok`: the shell opens
    /// the stream; `Refused`: it does not, and nothing else will be said about `stream`); the later ones by an ERROR event and
    /// `CloseStream`. A key that is subscribed already is refused with 400.
    Subscribe {
        /// The new stream.
        stream: StreamKey,
        /// The `Mesos-Stream-Id` that the shell made for it; `None` for gRPC, whose calls name the stream itself.
        http_stream_id: Option<Arc<str>>,
        /// The whole call; a type other than SUBSCRIBE is refused with 400.
        call: Box<scheduler::Call>,
        /// Who authenticated, if anybody did.
        principal: Option<Arc<str>>,
        /// Who waits.
        reply: Option<ReplyToken>,
    },
    /// Any other scheduler call. Legal at any time: it is checked against the framework's present subscription, and a bad one is
    /// refused through `reply` and changes nothing.
    Call {
        /// Which subscription the caller claims to belong to.
        origin: CallOrigin,
        /// The call.
        call: Box<scheduler::Call>,
        /// Who authenticated, if anybody did.
        principal: Option<Arc<str>>,
        /// Who waits. Accepted calls are answered `Accepted` (202), UPDATE_FRAMEWORK `Ok` (200).
        reply: Option<ReplyToken>,
    },
    /// A scheduler's stream ended, or its outbox overflowed. Ignored for streams that are not subscribed (any more).
    StreamClosed {
        /// The stream.
        stream: StreamKey,
    },
    /// An agent opened a stream. Nothing is sent to it before its registration is complete. A key in use is ignored.
    LinkOpened {
        /// The stream.
        link: LinkKey,
        /// The peer's address as text, for people.
        peer: Arc<str>,
    },
    /// Messages of an agent, in the order of the stream. The first must be `Register` (continued by `RegisterMore`), and only there
    /// may it be; a breach closes the link. Ignored for links that are not open (any more).
    AgentMessages {
        /// The stream.
        link: LinkKey,
        /// One or more frames' messages.
        messages: Vec<AgentMessage>,
    },
    /// An agent's stream ended, or its outbox overflowed. Ignored for links that are not open (any more).
    LinkClosed {
        /// The stream.
        link: LinkKey,
    },
    /// The durable store has answered [`crate::Output::Store`]. Answers come in the order of the requests; one that was never asked
    /// for is ignored.
    Stored {
        /// The `sequence` of the request.
        sequence: u64,
        /// What became of it.
        result: Result<(), StoreError>,
    },
    /// An operator asks for something. Answered once through `reply`.
    Operator {
        /// What.
        call: OperatorCall,
        /// Who waits.
        reply: Option<ReplyToken>,
    },
    /// The whitelist was read: only agents with these host names are offered from now on; `None`: all. What runs elsewhere runs on.
    Whitelist(Option<BTreeSet<String>>),
    /// Whether this master is cut off from the other masters for so long that another may lead (I6). While it is, nothing new is started:
    /// no offers are made, and the tasks of an ACCEPT are dropped, so that their framework tries again. What runs goes on.
    Suspended(bool),
    /// The time of `Master::next_deadline` has come. Harmless earlier.
    Tick,
    /// What was drained together has been stepped: allocate what was freed, make the offers and publish what changed. A shell
    /// sends it after every batch; a batch may be one input.
    Flush,
}

/// Why the registry did not take a write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A later leader has written (I6): this master must not act on anything any more.
    #[error("the registry belongs to a later leader: {0}")]
    Fenced(String),
    /// The store did not take it; what waited for it is refused and may be tried again.
    #[error("the registry could not be written: {0}")]
    Failed(String),
}

/// What operators ask of the core. Reading is done from the view and needs no call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OperatorCall {
    /// Remove a framework: its executors are shut down and its id may not come back. 400 if it is unknown.
    Teardown {
        /// The framework.
        framework: FrameworkId,
    },
    /// Tepui's own: kill one task on behalf of its framework, which sees an ordinary TASK_KILLED. 404 if it is unknown.
    KillTask {
        /// The framework.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
        /// Instead of the task's own grace period.
        grace: Option<Duration>,
    },
    /// DEACTIVATE_AGENT: no more offers, tasks run on. Durable. 400 if it is unknown.
    DeactivateAgent {
        /// The agent.
        agent: AgentId,
    },
    /// REACTIVATE_AGENT. Durable. 400 if it is unknown or was not deactivated.
    ReactivateAgent {
        /// The agent.
        agent: AgentId,
    },
    /// MARK_AGENT_GONE: the id can never register again, its tasks are GONE_BY_OPERATOR. Durable. 404 if it is unknown, 503 while
    /// another transition of the agent is being stored.
    MarkAgentGone {
        /// The agent.
        agent: AgentId,
    },
    /// DRAIN_AGENT: deactivate, kill what runs with at most the configured grace, and tell when all is over. Durable. 400 if the
    /// agent is unknown, in a maintenance schedule or too old, 409 while it is being marked gone.
    DrainAgent {
        /// The agent.
        agent: AgentId,
        /// Its bounds, and whether it is marked gone in the end.
        config: mesos::DrainConfig,
    },
    /// RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES, DESTROY_VOLUMES, GROW_VOLUME, SHRINK_VOLUME: one operation on what no
    /// task uses on an agent; just enough offers are rescinded. 400 if it is invalid or the agent unknown, 409 if not enough is free.
    /// Accepted with 202.
    Operate {
        /// The agent.
        agent: AgentId,
        /// What; any other type is refused with 400.
        operation: Box<offer::Operation>,
        /// Who authenticated, if anybody did.
        principal: Option<Arc<str>>,
    },
    /// UPDATE_WEIGHTS. Durable. 400 unless every weight is positive and every role valid. Outstanding offers are rescinded.
    UpdateWeights {
        /// Role and weight; roles that are not named keep theirs.
        weights: Vec<mesos::WeightInfo>,
    },
    /// UPDATE_QUOTA: all or nothing. Durable. 400 for a role that is nested or named twice, and, unless forced, for limits below
    /// consumption or guarantees above the cluster's capacity.
    UpdateQuota {
        /// One for each role that changes; empty ones take the quota away.
        configs: Vec<quota::QuotaConfig>,
        /// Without looking at consumption and capacity.
        force: bool,
    },
    /// SET_QUOTA (deprecated): guarantees, and limits of the same size. Durable. 400 if the role has quota already, 409 if the cluster
    /// cannot give that much and it is not forced.
    SetQuota {
        /// Role, guarantee, force.
        request: quota::QuotaRequest,
    },
    /// REMOVE_QUOTA (deprecated). Durable. 400 if the role has none.
    RemoveQuota {
        /// The role, as it was given.
        role: String,
    },
    /// UPDATE_MAINTENANCE_SCHEDULE: replaces all windows. Durable. 400 if it is invalid, or drops a machine that is down.
    UpdateMaintenanceSchedule {
        /// The whole schedule.
        schedule: maintenance::Schedule,
    },
    /// START_MAINTENANCE: machines that are draining go down, their agents are shut down and removed. Durable. 400 otherwise.
    StartMaintenance {
        /// Which.
        machines: Vec<mesos::MachineId>,
    },
    /// STOP_MAINTENANCE: machines that are down are up again, and leave the schedule. Durable. 400 otherwise.
    StopMaintenance {
        /// Which.
        machines: Vec<mesos::MachineId>,
    },
}
