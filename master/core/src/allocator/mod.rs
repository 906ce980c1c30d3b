//! Who is offered what: hierarchical dominant-resource fairness, incrementally.
//!
//! Wanted:
//! - **I1** nothing is handed out twice: what frameworks hold on an agent never exceeds its total by a decision made here;
//! - reserved resources go to their role and its descendants only;
//! - every free resource is offered to somebody who wants it, at once: no cycle, no waiting;
//! - an agent that a framework's constraints exclude for a role, or that is not on the whitelist, is not offered;
//! - a role's quota guarantee is kept free for it, its limit is never passed by an offer;
//! - the role, and within it the framework, with the lowest weighted dominant share goes first;
//! - work is proportional to what changed: an event on one agent visits this agent; a framework that revives is tried on agents
//!   with something free, and only it; a suppressed or inactive framework is not seen at all;
//! - the same inputs with the same seed give the same decisions.
//!
//! The idea: an agent is *settled* when nobody who may have its free resources wants them. Only four things unsettle it: it gained
//! something (everybody is tried), a framework became willing (that one is tried on every agent with free resources), a
//! refusal expired (that one on that agent), or quota moved. Each marks the agent in a queue; a run takes marked agents in random order and
//! walks the tree of roles by shares until nothing is left or nobody takes it. Shares live in ordered sets that are
//! corrected with each change.
//!
//! An offer is all that its agent has free for the role; only quota cuts it. While there are guarantees, the surplus of the whole
//! cluster matters on each agent: when it grows after somebody was cut short, every agent with something free is visited again.
//!
//! Left out: offers and their life, tasks, maintenance; they are the master's.

mod agent;
mod api;
mod books;
mod constraints;
mod drf;
mod order;
mod pattern;
mod quota;
mod random;
mod refusals;
mod run;
mod slab;
mod subscriptions;
mod tree;
mod visit;
mod wheel;

#[cfg(test)]
mod tests;

pub use api::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkCapabilities,
    FrameworkHandle, FrameworkOptions, Holding, Quota, Recovery, RoleSubscription,
};
pub use constraints::{AgentAttributes, Constraint, Predicate, RoleConstraints, Selector};
pub use drf::HierarchicalDrf;
pub use pattern::{Pattern, PatternLimits};
