//! An agent as the master knows it: registered, whether its link is up or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tepui_model::{AgentId, ExecutorId, Resources, Role, Time};
use tepui_proto::mesos::{AgentInfo, ExecutorInfo, Unavailability, agent_info};

use super::{FrameworkIx, IndexMap, IndexSet, TaskIx};
use crate::allocator::AgentHandle;
use crate::change::{AgentSnapshot, OfferKey};
use crate::input::LinkKey;
use crate::registry::Drain;

/// Pings on the present link.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    pub(crate) sequence: u64,
    pub(crate) answered: bool,
    pub(crate) missed: u32,
}

/// A change of the registry about an agent that is being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Admitting,
    MarkingUnreachable,
    MarkingGone,
    Removing,
    Updating,
}

/// What operators have ordered about an agent: stored with it, and in force wherever it is known from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Orders {
    pub(crate) deactivated: bool,
    pub(crate) drain: Option<Drain>,
}

/// A custom executor on an agent.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) info: Arc<ExecutorInfo>,
    pub(crate) resources: Resources,
    pub(crate) role: Role,
}

/// See the module's comment.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) handle: AgentHandle,
    pub(crate) info: Arc<AgentInfo>,
    pub(crate) version: Arc<str>,
    pub(crate) peer: Arc<str>,
    pub(crate) incarnation: Bytes,
    /// Of the last total that the agent told.
    pub(crate) resource_version: Option<Bytes>,
    pub(crate) capabilities: Arc<[agent_info::Capability]>,
    pub(crate) link: Option<LinkKey>,
    pub(crate) orders: Orders,
    /// Its machine is in the maintenance schedule.
    pub(crate) unavailability: Option<Unavailability>,
    pub(crate) multi_role: bool,
    pub(crate) total: Arc<Resources>,
    /// Used by tasks and executors.
    pub(crate) allocated: Resources,
    /// In outstanding offers.
    pub(crate) offered: Resources,
    pub(crate) tasks: Vec<TaskIx>,
    pub(crate) executors: IndexMap<(FrameworkIx, ExecutorId), Executor>,
    /// Those that have something here, or were told of: the other side of their `agents`.
    pub(crate) frameworks: IndexSet<FrameworkIx>,
    pub(crate) offers: BTreeSet<OfferKey>,
    pub(crate) health: Health,
    pub(crate) registered_at: Time,
    pub(crate) reregistered_at: Option<Time>,
    /// Among the active ones in the counters.
    pub(crate) counted_active: bool,
    /// To be told to the view at the next flush.
    pub(crate) dirty: bool,
}

impl Agent {
    /// May be offered.
    pub(crate) fn active(&self) -> bool {
        self.link.is_some() && !self.orders.deactivated
    }

    /// It drains, and is not done with it.
    pub(crate) fn draining(&self) -> Option<&Drain> {
        self.orders.drain.as_ref().filter(|drain| !drain.drained)
    }

    pub(crate) fn snapshot(&self) -> Arc<AgentSnapshot> {
        Arc::new(AgentSnapshot {
            id: self.id.clone(),
            info: Arc::clone(&self.info),
            version: Arc::clone(&self.version),
            peer: Arc::clone(&self.peer),
            capabilities: Arc::clone(&self.capabilities),
            connected: self.link.is_some(),
            deactivated: self.orders.deactivated,
            drain: self.orders.drain.as_ref().map(Drain::info),
            drain_started_at: self.orders.drain.as_ref().map(|drain| drain.since),
            registered_at: self.registered_at,
            reregistered_at: self.reregistered_at,
            total: Arc::clone(&self.total),
            allocated: Arc::new(self.allocated.clone()),
            offered: Arc::new(self.offered.clone()),
        })
    }
}
