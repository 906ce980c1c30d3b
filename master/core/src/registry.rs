//! What must outlive a leader, and how it changes. The shell keeps it in the durable store; the core never reads it again.

use tepui_model::{AgentId, Time};
use tepui_proto::mesos;

/// The registry as a new leader finds it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Admitted agents, in a fixed order.
    pub agents: Vec<AdmittedAgent>,
    /// Agents that were out of reach for too long, and since when.
    pub unreachable: Vec<(AgentId, Time)>,
    /// Agents marked gone by an operator, and when.
    pub gone: Vec<(AgentId, Time)>,
}

/// An agent that may have tasks.
#[derive(Debug, Clone)]
pub struct AdmittedAgent {
    /// As it registered, `id` set.
    pub info: mesos::AgentInfo,
    /// By an operator.
    pub deactivated: bool,
}

/// One change of the registry. Each is idempotent.
#[derive(Debug, Clone)]
pub enum RegistryOperation {
    /// Admit an agent, or replace what is stored of it; it is no longer unreachable.
    Admit(Box<AdmittedAgent>),
    /// It was out of reach for too long.
    MarkUnreachable {
        /// Which.
        agent: AgentId,
        /// Since when.
        at: Time,
    },
    /// It unregistered: forget it.
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
}
