//! What a master knows, and nothing of what it does: frameworks, agents, tasks, executors and offers in dense storage, linked by
//! small integers. The flows in `calls/` and `links/` work on it.

mod agent;
mod framework;
mod operation;
mod remembered;
mod slab;
mod task;
mod timers;

pub(crate) use agent::{Agent, Executor, Health, Orders, Transition};
pub(crate) use framework::{Capabilities, Connection, Framework, Presence};
pub(crate) use operation::{Operation, Operations, is_over};
pub(crate) use remembered::Remembered;
pub(crate) use slab::{Handle, Slab};
pub(crate) use task::{PendingKill, Task, Unreachable};
pub(crate) use timers::Timers;

use tepui_model::{Resources, Role, Time};

/// Hash tables hold what peers choose; the seed keeps them from choosing collisions, and simulations repeatable.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;
/// A hash table with an order that depends on nothing but its history.
pub(crate) type IndexMap<K, V> = indexmap::IndexMap<K, V, ahash::RandomState>;
/// The set of it.
pub(crate) type IndexSet<K> = indexmap::IndexSet<K, ahash::RandomState>;

/// A framework's place.
pub(crate) type FrameworkIx = Handle<Framework>;
/// An agent's place.
pub(crate) type AgentIx = Handle<Agent>;
/// A task's place.
pub(crate) type TaskIx = Handle<Task>;

/// An outstanding offer.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) framework: FrameworkIx,
    pub(crate) agent: AgentIx,
    pub(crate) role: Role,
    pub(crate) resources: Resources,
    pub(crate) made_at: Time,
}
