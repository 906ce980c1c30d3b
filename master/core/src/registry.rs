//! What must outlive a leader, and how it changes. The shell keeps it in the durable store; the core never reads it again.

use tepui_model::{AgentId, Role, Time};
use tepui_proto::mesos::{self, maintenance};

use crate::allocator::Quota;
use crate::state::Orders;

/// The registry as a new leader finds it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    /// Admitted agents, in a fixed order.
    pub agents: Vec<AdmittedAgent>,
    /// Agents that were out of reach for too long.
    pub unreachable: Vec<UnreachableAgent>,
    /// Agents marked gone by an operator, and when.
    pub gone: Vec<(AgentId, Time)>,
    /// Weights that operators set; they override those of the start.
    pub weights: Vec<(Role, f64)>,
    /// Quota that operators set.
    pub quotas: Vec<(Role, Quota)>,
    /// Maintenance.
    pub maintenance: Maintenance,
}

/// An agent that may have tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdmittedAgent {
    /// As it registered, `id` set.
    pub info: mesos::AgentInfo,
    /// By an operator; also while it drains and after that.
    pub deactivated: bool,
    /// Draining or drained, by an operator.
    pub drain: Option<Drain>,
}

/// An agent that was out of reach for too long. What operators ordered about it holds when it returns.
#[derive(Debug, Clone, PartialEq)]
pub struct UnreachableAgent {
    /// Which.
    pub id: AgentId,
    /// Since when.
    pub since: Time,
    /// The host that it registered; empty if an older version wrote the entry.
    pub hostname: Box<str>,
    /// As in [`AdmittedAgent`].
    pub deactivated: bool,
    /// As in [`AdmittedAgent`].
    pub drain: Option<Drain>,
}

impl AdmittedAgent {
    pub(crate) fn new(info: mesos::AgentInfo, orders: Orders) -> Self {
        let Orders { deactivated, drain } = orders;
        Self {
            info,
            deactivated,
            drain,
        }
    }

    pub(crate) fn orders(&self) -> Orders {
        Orders {
            deactivated: self.deactivated,
            drain: self.drain.clone(),
        }
    }
}

impl UnreachableAgent {
    pub(crate) fn new(id: AgentId, since: Time, hostname: Box<str>, orders: Orders) -> Self {
        let Orders { deactivated, drain } = orders;
        Self {
            id,
            since,
            hostname,
            deactivated,
            drain,
        }
    }

    pub(crate) fn orders(&self) -> Orders {
        Orders {
            deactivated: self.deactivated,
            drain: self.drain.clone(),
        }
    }
}

/// DRAIN_AGENT, until REACTIVATE_AGENT or the agent's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Drain {
    /// The bound on grace periods, and whether the agent is marked gone in the end.
    pub config: mesos::DrainConfig,
    /// Nothing is left on the agent.
    pub drained: bool,
    /// When the operator asked for it.
    pub since: Time,
}

impl Drain {
    /// As operators see it.
    #[must_use]
    pub fn info(&self) -> mesos::DrainInfo {
        let state = if self.drained {
            mesos::DrainState::Drained
        } else {
            mesos::DrainState::Draining
        };
        mesos::DrainInfo {
            state: state.into(),
            config: self.config,
        }
    }
}

/// The maintenance schedule, and which of its machines are down; the others drain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maintenance {
    /// All windows.
    pub schedule: maintenance::Schedule,
    /// In the schedule, too.
    pub down: Vec<mesos::MachineId>,
}

/// One change of the registry. Each is idempotent.
#[derive(Debug, Clone)]
pub enum RegistryOperation {
    /// Admit an agent under an id that was never used.
    AdmitNew(Box<AdmittedAgent>),
    /// Admit an agent, or replace what is stored of it; it is no longer unreachable. Nor is it gone: the one leader that may write knows
    /// better, if the answer to its own MarkGone was that it could not be written.
    Admit(Box<AdmittedAgent>),
    /// It was out of reach for too long, or what is stored of an unreachable agent is replaced. Nor is it gone, as with `Admit`.
    MarkUnreachable(Box<UnreachableAgent>),
    /// It unregistered, was replaced, or is down for maintenance: forget it.
    Remove {
        /// Which.
        agent: AgentId,
    },
    /// It may never return.
    MarkGone {
        /// Which.
        agent: AgentId,
        /// Since when.
        at: Time,
    },
    /// Forget old unreachable and gone entries.
    Prune {
        /// Which are no longer remembered.
        agents: Vec<AgentId>,
    },
    /// A role's weight among its siblings.
    SetWeight {
        /// Which.
        role: Role,
        /// Above zero.
        weight: f64,
    },
    /// A role's quota; the default takes it away.
    SetQuota {
        /// Which.
        role: Role,
        /// Guarantees and limits.
        quota: Quota,
    },
    /// The schedule and the machines that are down, whole.
    SetMaintenance(Box<Maintenance>),
}

impl Registry {
    /// What a store holds that has taken this operation: the meaning of [`RegistryOperation`], for simulated stores. Entries are
    /// kept in the order of their names.
    pub fn apply(&mut self, operation: RegistryOperation) {
        match operation {
            RegistryOperation::AdmitNew(agent) | RegistryOperation::Admit(agent) => {
                let name = |agent: &AdmittedAgent| agent_name(agent).to_owned();
                self.unreachable
                    .retain(|known| known.id.as_str() != agent_name(&agent));
                self.gone
                    .retain(|(known, _)| known.as_str() != agent_name(&agent));
                put(&mut self.agents, *agent, name);
            }
            RegistryOperation::MarkUnreachable(agent) => {
                self.agents
                    .retain(|known| agent_name(known) != agent.id.as_str());
                self.gone.retain(|(known, _)| *known != agent.id);
                put(&mut self.unreachable, *agent, |agent| agent.id.clone());
            }
            RegistryOperation::Remove { agent } => self.forget(&agent),
            RegistryOperation::MarkGone { agent, at } => {
                self.forget(&agent);
                put(&mut self.gone, (agent, at), |(id, _)| id.clone());
            }
            RegistryOperation::Prune { agents } => {
                self.unreachable.retain(|known| !agents.contains(&known.id));
                self.gone.retain(|(known, _)| !agents.contains(known));
            }
            RegistryOperation::SetWeight { role, weight } => {
                put(&mut self.weights, (role, weight), |(role, _)| {
                    role.as_str().to_owned()
                });
            }
            RegistryOperation::SetQuota { role, quota } => {
                self.quotas.retain(|(known, _)| *known != role);
                if quota != Quota::default() {
                    put(&mut self.quotas, (role, quota), |(role, _)| {
                        role.as_str().to_owned()
                    });
                }
            }
            RegistryOperation::SetMaintenance(maintenance) => self.maintenance = *maintenance,
        }
    }

    fn forget(&mut self, agent: &AgentId) {
        self.agents
            .retain(|known| agent_name(known) != agent.as_str());
        self.unreachable.retain(|known| known.id != *agent);
    }
}

fn agent_name(agent: &AdmittedAgent) -> &str {
    agent.info.id.as_ref().map_or("", |id| id.value.as_str())
}

/// Insert, or replace, in the order of the names.
fn put<T, K: Ord>(list: &mut Vec<T>, item: T, name: impl Fn(&T) -> K) {
    match list.binary_search_by(|other| name(other).cmp(&name(&item))) {
        Ok(at) => list[at] = item,
        Err(at) => list.insert(at, item),
    }
}
