//! A framework as the master knows it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tepui_model::{FrameworkId, Quantities, Role, TaskId, Time};
use tepui_proto::mesos::FrameworkInfo;
use tepui_proto::mesos::framework_info::capability::Type;

use super::{AgentIx, IndexMap, TaskIx, Unreachable};
use crate::allocator::FrameworkHandle;
use crate::change::{FrameworkSnapshot, OfferKey, TaskKey};
use crate::counters::FrameworkCounters;
use crate::input::StreamKey;
use crate::validate::constraints::Constraints;

/// Whether a framework can be talked to.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    /// A stream is open; HTTP calls prove themselves with its id.
    Connected {
        stream: StreamKey,
        http_stream_id: Option<Arc<str>>,
    },
    /// It was subscribed, and has until its failover time-out to return.
    Disconnected,
    /// Known only from agents since this master leads.
    Recovered,
}

/// What a framework said it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) revocable_resources: bool,
    pub(crate) gpu_resources: bool,
    pub(crate) shared_resources: bool,
    pub(crate) partition_aware: bool,
    pub(crate) multi_role: bool,
    pub(crate) reservation_refinement: bool,
    pub(crate) region_aware: bool,
}

impl Capabilities {
    pub(crate) fn of(info: &FrameworkInfo) -> Self {
        let mut found = Self::default();
        for capability in &info.capabilities {
            match capability.r#type() {
                Type::RevocableResources => found.revocable_resources = true,
                Type::GpuResources => found.gpu_resources = true,
                Type::SharedResources => found.shared_resources = true,
                Type::PartitionAware => found.partition_aware = true,
                Type::MultiRole => found.multi_role = true,
                Type::ReservationRefinement => found.reservation_refinement = true,
                Type::RegionAware => found.region_aware = true,
                Type::TaskKillingState | Type::Unknown => {}
            }
        }
        found
    }
}

/// A framework on an agent: it has something there, or was told about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Presence {
    /// On the agent's present link.
    pub(crate) told: bool,
}

/// See the module's comment.
pub(crate) struct Framework {
    pub(crate) id: FrameworkId,
    pub(crate) handle: FrameworkHandle,
    pub(crate) info: Arc<FrameworkInfo>,
    pub(crate) capabilities: Capabilities,
    /// Sorted, without duplicates.
    pub(crate) roles: Vec<Role>,
    pub(crate) suppressed: BTreeSet<Role>,
    /// Its own notion of a minimal offer, where it has one.
    pub(crate) min_allocatable: BTreeMap<Role, Vec<Quantities>>,
    pub(crate) constraints: Option<Arc<Constraints>>,
    pub(crate) connection: Connection,
    pub(crate) tasks: IndexMap<TaskId, TaskIx>,
    /// Oldest first; bounded.
    pub(crate) unreachable: IndexMap<TaskId, Unreachable>,
    /// Oldest first; bounded.
    pub(crate) completed: VecDeque<TaskKey>,
    pub(crate) agents: IndexMap<AgentIx, Presence>,
    pub(crate) offers: BTreeSet<OfferKey>,
    pub(crate) registered_at: Time,
    pub(crate) reregistered_at: Time,
    pub(crate) counters: FrameworkCounters,
}

impl Framework {
    /// Whether nothing but its id is known: an agent had something of it, but never what it is.
    pub(crate) fn is_bare(&self) -> bool {
        let info = &self.info;
        matches!(self.connection, Connection::Recovered)
            && info.name.is_empty()
            && info.user.is_empty()
    }

    pub(crate) fn stream(&self) -> Option<StreamKey> {
        match self.connection {
            Connection::Connected { stream, .. } => Some(stream),
            Connection::Disconnected | Connection::Recovered => None,
        }
    }

    /// What remains to it after a disconnection. The value was checked at subscription.
    pub(crate) fn failover_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.info.failover_timeout.unwrap_or(0.0))
            .unwrap_or(Duration::ZERO)
    }

    pub(crate) fn snapshot(&self, unregistered_at: Option<Time>) -> Arc<FrameworkSnapshot> {
        let connected = self.stream().is_some() && unregistered_at.is_none();
        Arc::new(FrameworkSnapshot {
            id: self.id.clone(),
            info: Arc::clone(&self.info),
            connected,
            active: connected,
            recovered: matches!(self.connection, Connection::Recovered),
            registered_at: self.registered_at,
            reregistered_at: self.reregistered_at,
            unregistered_at,
            suppressed_roles: self.suppressed.iter().cloned().collect(),
            offer_constraints: self
                .constraints
                .as_ref()
                .map(|constraints| Arc::clone(&constraints.wire)),
        })
    }
}
