//! The allocator itself: what it knows, and its door. What goes on behind is in `subscriptions`, `books` and `run`.

use super::agent::{Agent, Todo};
use super::api::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkHandle,
    FrameworkOptions, Holding, Quota, Recovery,
};
use super::constraints::Classes;
use super::quota::{self, Quotas};
use super::random::Random;
use super::slab::Slab;
use super::tree::Tree;
use super::visit::Visit;
use super::wheel::Wheel;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tepui_model::{FrameworkId, Quantities, Resources, Role, Time};

/// A framework: its subscriptions by role, also of roles it has left while it holds something there.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) active: bool,
    pub(super) subscriptions: SmallVec<[u32; 1]>,
}

/// Hierarchical dominant-resource fairness; see the module's comment.
#[derive(Debug)]
pub struct HierarchicalDrf {
    pub(super) config: AllocatorConfig,
    pub(super) agents: Slab<Agent>,
    pub(super) frameworks: Slab<Framework>,
    pub(super) tree: Tree,
    /// Agents with a todo, in no order.
    pub(super) queue: Vec<u32>,
    /// Active agents with something to offer, in no order.
    pub(super) listed: Vec<u32>,
    /// Agents whose crumbs are joining, by the time at which that is over.
    pub(super) delayed: VecDeque<(Time, u32)>,
    pub(super) wheel: Wheel,
    pub(super) refusals: usize,
    /// Somebody has become willing who is not yet noted at the agents.
    pub(super) stirred: bool,
    pub(super) quotas: Quotas,
    /// What guarantees leave over has grown, so every agent with something to offer is to be visited.
    pub(super) surplus_grown: bool,
    /// How many subscriptions have their own notion of a minimal offer.
    pub(super) own_minima: usize,
    pub(super) classes: Classes,
    pub(super) whitelist: Option<BTreeSet<String>>,
    pub(super) random: Random,
}

impl HierarchicalDrf {
    /// An allocator that knows nobody yet.
    pub fn new(config: AllocatorConfig) -> HierarchicalDrf {
        HierarchicalDrf {
            agents: Slab::default(),
            frameworks: Slab::default(),
            tree: Tree::new(config.unshared_names.clone()),
            queue: Vec::new(),
            listed: Vec::new(),
            delayed: VecDeque::new(),
            wheel: Wheel::default(),
            refusals: 0,
            stirred: false,
            quotas: Quotas::default(),
            surplus_grown: false,
            own_minima: 0,
            classes: Classes::default(),
            whitelist: None,
            random: Random::new(config.seed),
            config,
        }
    }
}

impl Allocator for HierarchicalDrf {
    fn add_framework(&mut self, id: &FrameworkId, options: &FrameworkOptions) -> FrameworkHandle {
        let framework = Framework {
            id: id.clone(),
            active: true,
            subscriptions: SmallVec::new(),
        };
        let handle = self.frameworks.insert(framework).into();
        self.update_framework(handle, options);
        handle
    }

    fn update_framework(&mut self, framework: FrameworkHandle, options: &FrameworkOptions) {
        let Some(index) = self.resolve_framework(framework) else {
            return;
        };
        let had_own_minima = self.own_minima > 0;
        for subscription in self.frameworks[index].subscriptions.clone() {
            let role = &self.tree.subscription(subscription).role;
            if !options.roles.iter().any(|wanted| wanted.role == *role) {
                self.end_subscription(subscription);
            }
        }
        for wanted in &options.roles {
            self.subscribe(framework, wanted, options);
        }
        self.relist_if(had_own_minima);
    }

    fn remove_framework(&mut self, framework: FrameworkHandle) {
        let Some(index) = self.resolve_framework(framework) else {
            return;
        };
        let had_own_minima = self.own_minima > 0;
        for subscription in self.frameworks[index].subscriptions.clone() {
            if self.tree.subscription(subscription).agents > 0 {
                let agents: Vec<u32> = self.agents.indices().collect();
                for agent in agents {
                    let Some(held) = self.agents[agent].held_by(subscription).cloned() else {
                        continue;
                    };
                    let (less, _) = self.change_holding(agent, subscription, |books| {
                        books.recover(subscription, &held)
                    });
                    // The subscription itself ends below.
                    self.discharge(subscription, (less, false));
                    self.gained(agent);
                }
                self.tree.subscription_mut(subscription).agents = 0;
            }
            self.end_subscription(subscription);
        }
        self.frameworks.remove(index);
        self.relist_if(had_own_minima);
    }

    fn activate_framework(&mut self, framework: FrameworkHandle) {
        self.set_framework_active(framework, true);
    }

    fn deactivate_framework(&mut self, framework: FrameworkHandle) {
        self.set_framework_active(framework, false);
    }

    fn suppress(&mut self, framework: FrameworkHandle, roles: &[Role]) {
        for subscription in self.named(framework, roles) {
            self.tree.subscription_mut(subscription).suppressed = true;
            self.settle_liveness(subscription);
        }
    }

    fn revive(&mut self, framework: FrameworkHandle, roles: &[Role]) {
        for subscription in self.named(framework, roles) {
            self.tree.subscription_mut(subscription).suppressed = false;
            self.stir(subscription);
        }
    }

    fn add_agent(&mut self, options: &AgentOptions, holdings: &[Holding]) -> AgentHandle {
        let mut agent = Agent::new(options);
        agent.whitelisted = self.is_whitelisted(&options.attributes.hostname);
        self.change_total(&Resources::new(), agent.total());
        let handle = AgentHandle::from(self.agents.insert(agent));
        for holding in holdings {
            self.hold(handle, holding);
        }
        self.gained(handle.index);
        handle
    }

    fn update_agent(&mut self, agent: AgentHandle, options: &AgentOptions) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        let whitelisted = self.is_whitelisted(&options.attributes.hostname);
        let agent = &mut self.agents[index];
        let before = agent.total().clone();
        agent.set_options(options);
        agent.whitelisted = whitelisted;
        let after = agent.total().clone();
        self.change_total(&before, &after);
        self.gained(index);
    }

    fn forget_refusals(&mut self, agent: AgentHandle) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        let forgotten = std::mem::take(&mut self.agents[index].refusals);
        self.uncount(&forgotten);
        self.unsettle(index, Agent::try_all);
    }

    fn remove_agent(&mut self, agent: AgentHandle) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        let holders: Vec<u32> = self.agents[index].holders().collect();
        for subscription in holders {
            let Some(held) = self.agents[index].held_by(subscription).cloned() else {
                continue;
            };
            let recovered = self.change_holding(index, subscription, |books| {
                books.recover(subscription, &held)
            });
            self.discharge(subscription, recovered);
        }
        self.deactivate_agent(agent);
        if let Some(agent) = self.agents.remove(index) {
            self.change_total(agent.total(), &Resources::new());
            self.uncount(&agent.refusals);
            if agent.todo != Todo::Nothing {
                self.queue.retain(|queued| *queued != index);
            }
            if agent.delayed {
                self.delayed.retain(|(_, delayed)| *delayed != index);
            }
        }
    }

    fn activate_agent(&mut self, agent: AgentHandle) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        self.agents[index].active = true;
        self.list(index);
        self.unsettle(index, Agent::try_all);
    }

    fn deactivate_agent(&mut self, agent: AgentHandle) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        self.agents[index].active = false;
        self.list(index);
    }

    fn set_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        if self.whitelist == hostnames {
            return;
        }
        self.whitelist = hostnames;
        let agents: Vec<u32> = self.agents.indices().collect();
        for index in agents {
            let whitelisted = self.is_whitelisted(&self.agents[index].attributes.hostname);
            let before = std::mem::replace(&mut self.agents[index].whitelisted, whitelisted);
            if before != whitelisted {
                self.list(index);
                self.unsettle(index, Agent::try_all);
            }
        }
    }

    fn hold(&mut self, agent: AgentHandle, holding: &Holding) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        if holding.resources.is_empty() {
            return;
        }
        let Some(subscription) = self.subscription_for(holding.framework, &holding.role) else {
            return;
        };
        let resources = holding.resources.unallocated();
        let entered = self.change_holding(index, subscription, |agent| {
            agent.hold(subscription, &resources)
        });
        self.charge(subscription, entered);
        self.list(index);
    }

    fn recover(
        &mut self,
        now: Time,
        agent: AgentHandle,
        framework: FrameworkHandle,
        role: &Role,
        resources: &Resources,
        why: Recovery,
    ) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        if resources.is_empty() {
            return;
        }
        let Some(subscription) = self.find_subscription(framework, role) else {
            return;
        };
        let back = resources.unallocated();
        let recovered = self.change_holding(index, subscription, |agent| {
            agent.recover(subscription, &back)
        });
        if recovered.0.is_empty()
            && !recovered.1
            && self.agents[index].held_by(subscription).is_none()
        {
            return;
        }
        self.refuse(now, index, subscription, resources, why);
        self.discharge(subscription, recovered);
        self.list(index);
        match why {
            Recovery::Freed => self.gained(index),
            Recovery::Declined { .. } => self.unsettle(index, Agent::try_all),
            Recovery::Leftover { .. } if self.config.coalesce.is_zero() => {
                self.unsettle(index, Agent::try_all)
            }
            Recovery::Leftover { .. } => {
                let agent = &mut self.agents[index];
                if !std::mem::replace(&mut agent.delayed, true) {
                    self.delayed.push_back((now + self.config.coalesce, index));
                }
            }
        }
    }

    fn convert(
        &mut self,
        agent: AgentHandle,
        framework: FrameworkHandle,
        role: &Role,
        before: &Resources,
        after: &Resources,
    ) -> bool {
        let Some(index) = self.resolve_agent(agent) else {
            return false;
        };
        let Some(subscription) = self.find_subscription(framework, role) else {
            return false;
        };
        let total_before = self.agents[index].total().clone();
        let (before, after) = (before.unallocated(), after.unallocated());
        let converted = self.change_holding(index, subscription, |agent| {
            agent.convert(subscription, &before, &after)
        });
        let Some(held) = converted else { return false };
        let total_after = self.agents[index].total().clone();
        self.change_total(&total_before, &total_after);
        let is_last = self.agents[index].held_by(subscription).is_none();
        self.tree.charge(subscription, &held.after);
        self.discharge(subscription, (held.before, is_last));
        self.list(index);
        true
    }

    fn set_weight(&mut self, role: &Role, weight: f64) {
        if weight.is_finite() && weight > 0.0 {
            self.tree.set_weight(role, weight);
        }
    }

    fn set_quota(&mut self, role: &Role, quota: &Quota) {
        if role.parent().is_some() {
            return;
        }
        let (mut held, mut reserved) = (Quantities::new(), Quantities::new());
        let agents: Vec<u32> = self.agents.indices().collect();
        for agent in agents.iter().map(|index| &self.agents[*index]) {
            reserved += &quota::reserved_below(agent.total(), role);
            for holder in agent
                .holders()
                .filter(|holder| self.tree.subscription(*holder).role.top() == role.as_str())
            {
                held += &agent
                    .held_by(holder)
                    .map_or_else(Quantities::new, quota::common);
            }
        }
        self.quotas.set(role, quota, held, reserved);
        for agent in agents {
            if self.quotas.is_empty() {
                self.agents[agent].quota_free = Quantities::new();
            }
            self.list(agent);
        }
        self.surplus_grown = true;
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.stirred || self.surplus_grown
    }

    fn next_deadline(&self) -> Option<Time> {
        let delayed = self.delayed.front().map(|(until, _)| *until);
        self.wheel.next().into_iter().chain(delayed).min()
    }

    fn allocate(&mut self, now: Time, out: &mut Vec<Allocation>) {
        self.wake(now);
        self.tree.refresh();
        for _ in 0..self.config.agents_per_run {
            if self.queue.is_empty() {
                break;
            }
            let at = self.random.below(self.queue.len());
            let index = self.queue.swap_remove(at);
            self.visit(now, index, out);
        }
        if self.queue.is_empty() {
            self.tree.calm();
        }
    }

    fn is_wanted_by_others(
        &self,
        now: Time,
        agent: AgentHandle,
        holder: FrameworkHandle,
        resources: &Resources,
    ) -> bool {
        self.resolve_agent(agent).is_some_and(|index| {
            let free = self.agents[index].free().clone() + &resources.unallocated().non_shared();
            let rules = self.rules(now);
            Visit::is_wanted_by_others(&rules, &self.agents[index], free, holder)
        })
    }

    fn is_wanted_by(
        &self,
        now: Time,
        agent: AgentHandle,
        framework: FrameworkHandle,
        resources: &Resources,
    ) -> bool {
        self.resolve_agent(agent).is_some_and(|index| {
            let free = self.agents[index].free().clone() + &resources.unallocated().non_shared();
            let subscriptions = self.named(framework, &[]);
            let rules = self.rules(now);
            Visit::is_wanted_by(&rules, &self.agents[index], free, &subscriptions)
        })
    }

    fn free(&self, agent: AgentHandle) -> Option<&Resources> {
        self.resolve_agent(agent)
            .map(|index| self.agents[index].free())
    }

    fn held_by(&self, framework: FrameworkHandle, role: &Role) -> Quantities {
        self.find_subscription(framework, role)
            .map_or_else(Quantities::new, |index| {
                self.tree.subscription(index).held().clone()
            })
    }

    fn held_in(&self, role: &Role) -> Quantities {
        self.tree.held_in(role)
    }

    fn share_of(&self, framework: FrameworkHandle, role: &Role) -> f64 {
        self.find_subscription(framework, role)
            .map_or(0.0, |index| self.tree.share(index))
    }

    fn refusals(&self) -> usize {
        self.refusals
    }

    fn offer_filters(&self) -> BTreeMap<Role, u64> {
        self.filters_by_role()
    }
}
