//! What operators see of a master: each change carries the object's new content behind `Arc`, so that a view (and the operator
//! event stream) is kept by applying changes in order, without ever asking the core.
//!
//! Tasks and executors change in the order of events, one change each. Agents and frameworks change at most once a flush: what
//! their resources did in between is not told.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tepui_model::{AgentId, ExecutorId, FrameworkId, Resources, Role, TaskState, Time};
use tepui_proto::mesos::scheduler::OfferConstraints;
use tepui_proto::mesos::{self, maintenance};

use crate::allocator::Quota;
use crate::facts::{KeptStatus, TaskFacts};

/// A change of what operators see. A view starts empty: whatever a new master knows comes as changes too.
#[derive(Debug, Clone)]
pub enum Change {
    /// An agent of the registry that has not returned to this leader yet.
    AgentRecovered(Arc<mesos::AgentInfo>),
    /// An agent registered, or returned; replaces what was known under its id, recovered or not.
    AgentAdded(Arc<AgentSnapshot>),
    /// Its resources, connection or activation changed.
    AgentUpdated(Arc<AgentSnapshot>),
    /// It is neither registered nor recovered any more.
    AgentRemoved {
        /// Which.
        id: AgentId,
        /// What became of it.
        cause: AgentRemoval,
    },
    /// A framework subscribed for the first time, or was found in an agent's registration.
    FrameworkAdded(Arc<FrameworkSnapshot>),
    /// It subscribed again, changed, connected, disconnected, or its resources changed. `resubscribed` tells the operator event
    /// stream's FRAMEWORK_UPDATED from the rest.
    FrameworkUpdated {
        /// Its new content.
        framework: Arc<FrameworkSnapshot>,
        /// By SUBSCRIBE or UPDATE_FRAMEWORK.
        resubscribed: bool,
    },
    /// It was removed; `unregistered_at` is set. It is now among the completed ones.
    FrameworkCompleted(Arc<FrameworkSnapshot>),
    /// A completed framework, and all its tasks, fell off the history.
    FrameworkForgotten(FrameworkId),
    /// A new task, by launch or by an agent's return.
    TaskAdded(Arc<TaskSnapshot>),
    /// A task changed: state, statuses, or the list that it is in.
    TaskUpdated {
        /// Its new content.
        task: Arc<TaskSnapshot>,
        /// The status just applied, data left out, if it is news: it changed the state, or is a check's. `None` too if only the list
        /// changed.
        status: Option<Arc<mesos::TaskStatus>>,
    },
    /// It is in no list any more.
    TaskForgotten(TaskKey),
    /// A custom executor is on an agent.
    ExecutorAdded(Arc<ExecutorSnapshot>),
    /// It has gone.
    ExecutorRemoved {
        /// Whose.
        framework: FrameworkId,
        /// Where.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
    },
    /// An offer was made.
    OfferAdded(Arc<OfferSnapshot>),
    /// An offer was accepted, declined, rescinded or withdrawn.
    OfferRemoved(OfferKey),
    /// A framework was asked to leave a machine.
    InverseOfferAdded(Arc<InverseOfferSnapshot>),
    /// It answered, or the question is void.
    InverseOfferRemoved(OfferKey),
    /// An operation began, or its status changed.
    OperationUpdated(Arc<OperationSnapshot>),
    /// An operation is over and acknowledged, or its agent is gone.
    OperationForgotten(OperationKey),
    /// The weights that were set, whole, by role.
    WeightsChanged(Arc<[(Role, f64)]>),
    /// All quota, whole, by role.
    QuotasChanged(Arc<[(Role, Quota)]>),
    /// The maintenance schedule or the state of its machines, whole.
    MaintenanceChanged(Arc<MaintenanceSnapshot>),
}

/// Why an agent is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentRemoval {
    /// It was out of reach for too long; it may return.
    Unreachable,
    /// It unregistered.
    Unregistered,
    /// It was away, and a new agent registered at its address.
    Replaced,
    /// An operator marked it gone for ever.
    Gone,
    /// Its machine was taken down for maintenance.
    Maintenance,
}

/// Names a task for as long as this master lives; task ids may be used again, keys are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(pub u64);

/// The number in an offer's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferKey(pub u64);

/// Names an operation: its uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey(pub [u8; 16]);

/// What operators see of an agent.
#[derive(Debug, Clone)]
pub struct AgentSnapshot {
    /// Its id, for look-ups (also in `info`).
    pub id: AgentId,
    /// As it registered, `id` set.
    pub info: Arc<mesos::AgentInfo>,
    /// Tepui's version of the agent.
    pub version: Arc<str>,
    /// Where its stream comes from.
    pub peer: Arc<str>,
    /// What it can do.
    pub capabilities: Arc<[mesos::agent_info::Capability]>,
    /// A stream is open.
    pub connected: bool,
    /// Deactivated or draining, by an operator: no offers.
    pub deactivated: bool,
    /// Draining or drained, with its bounds.
    pub drain: Option<mesos::DrainInfo>,
    /// When it began to drain: Mesos' `estimated_drain_start_time`.
    pub drain_started_at: Option<Time>,
    /// First registration with this master.
    pub registered_at: Time,
    /// Latest return, if it returned.
    pub reregistered_at: Option<Time>,
    /// All it has.
    pub total: Arc<Resources>,
    /// Used by tasks and executors, with allocation roles.
    pub allocated: Arc<Resources>,
    /// In outstanding offers, with allocation roles.
    pub offered: Arc<Resources>,
}

impl AgentSnapshot {
    /// Connected and not deactivated: Mesos' `active`.
    #[must_use]
    pub fn active(&self) -> bool {
        self.connected && !self.deactivated
    }
}

/// What operators see of a framework, without its tasks, executors and offers, which are objects of their own.
#[derive(Debug, Clone)]
pub struct FrameworkSnapshot {
    /// Its id, for look-ups (also in `info`).
    pub id: FrameworkId,
    /// As it subscribed, `id` set.
    pub info: Arc<mesos::FrameworkInfo>,
    /// A stream is open.
    pub connected: bool,
    /// It takes part in allocation.
    pub active: bool,
    /// Known only through agents since this master leads.
    pub recovered: bool,
    /// First subscription to this master, or discovery.
    pub registered_at: Time,
    /// Latest subscription.
    pub reregistered_at: Time,
    /// Removal.
    pub unregistered_at: Option<Time>,
    /// Roles without offers by the framework's wish.
    pub suppressed_roles: Arc<[Role]>,
    /// As it gave them.
    pub offer_constraints: Option<Arc<OfferConstraints>>,
}

/// What operators see of a task.
#[derive(Debug, Clone)]
pub struct TaskSnapshot {
    /// Which.
    pub key: TaskKey,
    /// What never changes.
    pub facts: Arc<TaskFacts>,
    /// Where it is listed.
    pub list: TaskList,
    /// The latest state that the agent reported.
    pub state: TaskState,
    /// History, oldest first; of consecutive ones with one state only the last. Without data.
    pub statuses: SmallVec<[KeptStatus; 2]>,
    /// The state last sent to the framework.
    pub status_update_state: Option<TaskState>,
    /// That update's uuid, 16 bytes.
    pub status_update_uuid: Option<[u8; 16]>,
}

impl TaskSnapshot {
    /// Its latest status.
    #[must_use]
    pub fn last_status(&self) -> Option<mesos::TaskStatus> {
        self.statuses.last().map(|status| status.get(&self.facts))
    }

    /// The whole `mesos.v1.Task`.
    #[must_use]
    pub fn to_task(&self) -> mesos::Task {
        let mut task = self.facts.task();
        task.state = self.state.number();
        task.statuses = self
            .statuses
            .iter()
            .map(|status| status.get(&self.facts))
            .collect();
        task.status_update_state = self.status_update_state.map(TaskState::number);
        task.status_update_uuid = self
            .status_update_uuid
            .map(|uuid| Bytes::copy_from_slice(&uuid));
        task
    }
}

/// The lists in which operators find tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskList {
    /// Not terminal, or terminal and not acknowledged.
    Active,
    /// On an agent out of reach.
    Unreachable,
    /// Over.
    Completed,
}

/// A custom executor on an agent.
#[derive(Debug)]
pub struct ExecutorSnapshot {
    /// Whose.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// As the framework gave it.
    pub info: Arc<mesos::ExecutorInfo>,
}

/// An outstanding offer.
#[derive(Debug)]
pub struct OfferSnapshot {
    /// Which.
    pub key: OfferKey,
    /// To whom.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// For which role.
    pub role: Role,
    /// What, with allocation role.
    pub resources: Arc<Resources>,
    /// When.
    pub made_at: Time,
}

/// An outstanding inverse offer.
#[derive(Debug)]
pub struct InverseOfferSnapshot {
    /// Which; offers and inverse offers share their numbers.
    pub key: OfferKey,
    /// To whom.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// As it was sent.
    pub offer: mesos::InverseOffer,
}

/// An operation on an agent's resources that is not over, or whose end is not acknowledged.
#[derive(Debug, Clone)]
pub struct OperationSnapshot {
    /// Which.
    pub key: OperationKey,
    /// Whose; `None` for operators'.
    pub framework: Option<FrameworkId>,
    /// Where.
    pub agent: AgentId,
    /// The whole message.
    pub operation: mesos::Operation,
}

/// Maintenance, as GET_MAINTENANCE_SCHEDULE and GET_MAINTENANCE_STATUS show it.
#[derive(Debug, Clone, Default)]
pub struct MaintenanceSnapshot {
    /// All windows.
    pub schedule: maintenance::Schedule,
    /// Machines that drain, with the frameworks' answers, and those that are down.
    pub status: maintenance::ClusterStatus,
}
