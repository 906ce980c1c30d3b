//! The allocator's door: what the master tells it and what it answers.

use super::constraints::{AgentAttributes, RoleConstraints};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tepui_model::resources::{Name, Scalar};
use tepui_model::{FrameworkId, Quantities, Resources, Role, Time};

/// A handle: an index with a generation, so that a handle to something removed is recognised and ignored.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(super) index: u32,
            pub(super) generation: u32,
        }

        impl From<(u32, u32)> for $name {
            fn from((index, generation): (u32, u32)) -> $name {
                $name { index, generation }
            }
        }

        impl From<$name> for (u32, u32) {
            fn from(key: $name) -> (u32, u32) {
                (key.index, key.generation)
            }
        }
    )*};
}

keys! {
    /// An agent, as the allocator knows it; from [`Allocator::add_agent`].
    AgentHandle;
    /// A framework, as the allocator knows it; from [`Allocator::add_framework`].
    FrameworkHandle;
}

/// What holds for all agents and frameworks.
#[derive(Clone, Debug)]
pub struct AllocatorConfig {
    /// The shortest time that a refusal lasts (`--allocation_interval`).
    pub allocation_interval: Duration,
    /// An offer has to hold one of these (`--min_allocatable_resources`); an empty list lets everything pass.
    pub min_allocatable: Vec<Quantities>,
    /// Whether agents with gpus are hidden from frameworks without GPU_RESOURCES (`--filter_gpu_resources`).
    pub filter_gpu_resources: bool,
    /// Scalars that do not count in fair shares (`--fair_sharing_excluded_resource_names`).
    pub unshared_names: Vec<Name>,
    /// How long what a productive ACCEPT leaves over is held back, so that the crumbs of several join.
    pub coalesce: Duration,
    /// How many agents one call of [`Allocator::allocate`] visits at most, so that other inputs get their turn.
    pub agents_per_run: usize,
    /// Seed of the order in which agents are visited.
    pub seed: u64,
}

impl Default for AllocatorConfig {
    fn default() -> AllocatorConfig {
        let scalar = |name: Name, thousandths| {
            Quantities::new().with(&name, Scalar::from_thousandths(thousandths))
        };
        AllocatorConfig {
            allocation_interval: Duration::from_secs(1),
            min_allocatable: vec![scalar(Name::Cpus, 10), scalar(Name::Mem, 32_000)],
            filter_gpu_resources: true,
            unshared_names: Vec::new(),
            coalesce: Duration::from_millis(2),
            agents_per_run: 500,
            seed: 0,
        }
    }
}

/// The framework capabilities that decide what may be offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCapabilities {
    /// GPU_RESOURCES: agents with gpus are shown.
    pub gpu_resources: bool,
    /// SHARED_RESOURCES: shared volumes are offered.
    pub shared_resources: bool,
    /// REVOCABLE_RESOURCES: revocable resources are offered.
    pub revocable_resources: bool,
    /// RESERVATION_REFINEMENT: refined reservations are offered.
    pub reservation_refinement: bool,
    /// REGION_AWARE: agents of other regions are shown.
    pub region_aware: bool,
    /// MULTI_ROLE: only agents that know several roles are shown.
    pub multi_role: bool,
}

/// One role that a framework subscribes to.
#[derive(Clone, Debug)]
pub struct RoleSubscription {
    /// The role.
    pub role: Role,
    /// Whether the framework wants no offers for it now.
    pub suppressed: bool,
    /// The framework's own notion of a minimal offer for this role; `None`: the master's.
    pub min_allocatable: Option<Vec<Quantities>>,
    /// Which agents it wants to see for this role; `None`: all.
    pub constraints: Option<Arc<RoleConstraints>>,
}

impl From<Role> for RoleSubscription {
    fn from(role: Role) -> RoleSubscription {
        RoleSubscription {
            role,
            suppressed: false,
            min_allocatable: None,
            constraints: None,
        }
    }
}

/// What a framework wants to be offered.
#[derive(Clone, Debug, Default)]
pub struct FrameworkOptions {
    /// The roles that it is subscribed to.
    pub roles: Vec<RoleSubscription>,
    /// What it can do.
    pub capabilities: FrameworkCapabilities,
}

/// What an agent has to offer.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Everything it has, unallocated, reservations included.
    pub total: Resources,
    /// Whether it lies in another region than the master.
    pub remote_region: bool,
    /// Whether it has the MULTI_ROLE capability.
    pub multi_role: bool,
    /// What offer constraints and the whitelist go by.
    pub attributes: AgentAttributes,
}

impl From<Resources> for AgentOptions {
    /// An up-to-date agent near the master.
    fn from(total: Resources) -> AgentOptions {
        AgentOptions {
            total,
            remote_region: false,
            multi_role: true,
            attributes: AgentAttributes::default(),
        }
    }
}

/// What a framework holds on an agent, in offers and in tasks alike.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The framework.
    pub framework: FrameworkHandle,
    /// The role for which it holds it.
    pub role: Role,
    /// What it holds (allocated or not; the allocator goes by `role`).
    pub resources: Resources,
}

/// Why resources come back, which decides who may have them next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// A task or an operation ended, an offer was rescinded: free for everybody at once.
    Freed,
    /// What a productive ACCEPT left over: free for everybody after [`AllocatorConfig::coalesce`], but with a `refuse` of more than zero
    /// not for the same framework and role before that.
    Leftover {
        /// How long the framework does not want it.
        refuse: Duration,
    },
    /// Declined, or accepted without use: free for others at once, but not again for the same framework and role before
    /// `refuse` or the allocation interval (whichever is longer) is over, the agent has gained resources, or REVIVE.
    Declined {
        /// How long the framework does not want it; zero says no more than "not this time".
        refuse: Duration,
    },
}

/// How much of the cluster a top-level role is sure of, and how much it may have at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Kept free for the role while it does not use it.
    pub guarantees: Quantities,
    /// Never exceeded by an offer; names that are absent have no limit.
    pub limits: Vec<(Name, Scalar)>,
}

/// The allocator's decision: to be made into an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// To whom.
    pub framework: FrameworkHandle,
    /// In which of its roles.
    pub role: Role,
    /// Where.
    pub agent: AgentHandle,
    /// What, allocated to `role`.
    pub resources: Resources,
}

/// Decides who is offered what. Knows agents, frameworks and roles, but no offers and no tasks: what is allocated stays so until
/// it is recovered.
///
/// Methods take handles; one to something that was removed is ignored, so the order in which a disconnection's parts are
/// taken care of does not matter. Nothing here reads a clock.
pub trait Allocator {
    /// Makes a framework known, active. It is offered what is free in the next run.
    fn add_framework(&mut self, id: &FrameworkId, options: &FrameworkOptions) -> FrameworkHandle;

    /// Changes roles, suppression and capabilities. Roles that become unsuppressed or new lose their filters; roles that it
    /// leaves keep what they hold until it is recovered.
    fn update_framework(&mut self, framework: FrameworkHandle, options: &FrameworkOptions);

    /// Forgets a framework; everything that it holds becomes free.
    fn remove_framework(&mut self, framework: FrameworkHandle);

    /// Offers to it again, without old filters (it has re-subscribed).
    fn activate_framework(&mut self, framework: FrameworkHandle);

    /// Offers nothing to it any more (it is disconnected). What it holds it keeps.
    fn deactivate_framework(&mut self, framework: FrameworkHandle);

    /// SUPPRESS: no offers for these roles; no roles at all means all of the framework's.
    fn suppress(&mut self, framework: FrameworkHandle, roles: &[Role]);

    /// REVIVE: offers for these roles again, and their filters are dropped; no roles at all means all of the framework's.
    fn revive(&mut self, framework: FrameworkHandle, roles: &[Role]);

    /// Makes an agent known, active, with what is already in use on it.
    fn add_agent(&mut self, options: &AgentOptions, holdings: &[Holding]) -> AgentHandle;

    /// Changes what an agent has. It may be less than what is in use: then nothing is offered of it until enough came back.
    fn update_agent(&mut self, agent: AgentHandle, options: &AgentOptions);

    /// Drops the filters on an agent: its attributes changed, so it deserves a new look.
    fn forget_refusals(&mut self, agent: AgentHandle);

    /// Forgets an agent, with everything held on it.
    fn remove_agent(&mut self, agent: AgentHandle);

    /// Offers it again.
    fn activate_agent(&mut self, agent: AgentHandle);

    /// Offers nothing of it any more (disconnected, draining, deactivated). What is held on it stays held.
    fn deactivate_agent(&mut self, agent: AgentHandle);

    /// Offers only agents with these host names; `None`: any. What is held elsewhere stays held.
    fn set_whitelist(&mut self, hostnames: Option<BTreeSet<String>>);

    /// Books something as held that the allocator did not hand out itself: tasks of an agent that re-registers, further copies
    /// of a shared volume.
    fn hold(&mut self, agent: AgentHandle, holding: &Holding);

    /// What came back. More than is held is ignored.
    fn recover(
        &mut self,
        now: Time,
        agent: AgentHandle,
        framework: FrameworkHandle,
        role: &Role,
        resources: &Resources,
        why: Recovery,
    );

    /// An operation (RESERVE, CREATE, ...) turned `before`, which the framework holds, into `after`; the agent's total changes alike.
    /// Returns whether `before` was held (otherwise nothing changes).
    fn convert(
        &mut self,
        agent: AgentHandle,
        framework: FrameworkHandle,
        role: &Role,
        before: &Resources,
        after: &Resources,
    ) -> bool;

    /// Sets the weight of a role among its siblings; the default is 1. Must be positive.
    fn set_weight(&mut self, role: &Role, weight: f64);

    /// Sets the quota of a top-level role; the default takes it away. Roles below others have no quota of their own: ignored. Offers
    /// that are out are not taken back here.
    fn set_quota(&mut self, role: &Role, quota: &Quota);

    /// Whether a run of [`Allocator::allocate`] would have something to do right away.
    fn has_work(&self) -> bool;

    /// When there will be something to do without anything being told: a filter expires, a delay ends.
    fn next_deadline(&self) -> Option<Time>;

    /// Hands out what can be handed out, to whom it is due. Visits only agents to which something happened, at most
    /// [`AllocatorConfig::agents_per_run`]; [`Allocator::has_work`] says whether any are left.
    fn allocate(&mut self, now: Time, out: &mut Vec<Allocation>);

    /// Whether any other framework would be offered something if `holder` gave these resources back: a surplus that guarantees keep from
    /// it now does not count against it.
    fn is_wanted_by_others(
        &self,
        now: Time,
        agent: AgentHandle,
        holder: FrameworkHandle,
        resources: &Resources,
    ) -> bool;

    /// The same of one framework.
    fn is_wanted_by(
        &self,
        now: Time,
        agent: AgentHandle,
        framework: FrameworkHandle,
        resources: &Resources,
    ) -> bool;

    /// What is free on an agent, reserved or not, without shared volumes.
    fn free(&self, agent: AgentHandle) -> Option<&Resources>;

    /// What a framework holds in a role, in offers and in tasks, over all agents.
    fn held_by(&self, framework: FrameworkHandle, role: &Role) -> Quantities;

    /// What all frameworks in a role and below it hold.
    fn held_in(&self, role: &Role) -> Quantities;

    /// The dominant share of a framework in a role: between 0 and 1 of the cluster.
    fn share_of(&self, framework: FrameworkHandle, role: &Role) -> f64;

    /// How many refusals are remembered, for a metric.
    fn refusals(&self) -> usize;

    /// How many refusals are in force, by the role that refused.
    fn offer_filters(&self) -> BTreeMap<Role, u64>;
}
