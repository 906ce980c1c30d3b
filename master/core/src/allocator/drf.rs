//! The allocator itself: books every change, keeps the queue of agents to visit, and runs it.

use super::agent::{Agent, Todo};
use super::api::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkHandle,
    FrameworkOptions, Holding, Recovery, RoleSubscription,
};
use super::random::Random;
use super::refusals::Refusal;
use super::slab::Slab;
use super::tree::Tree;
use super::visit::{self, Rules, Visit};
use super::wheel::{Due, Wheel};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tepui_model::{FrameworkId, Quantities, Resources, Role, Time};

/// No refusal lasts longer.
const REFUSAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The calendar of refusals may hold so many void entries beyond as many as there are refusals.
const VOID_DUES_MAX: usize = 4096;

/// A framework: its subscriptions by role, also of roles it has left while it holds something there.
#[derive(Debug)]
struct Framework {
    id: FrameworkId,
    active: bool,
    subscriptions: SmallVec<[u32; 1]>,
}

/// Hierarchical dominant-resource fairness; see the module's comment.
#[derive(Debug)]
pub struct HierarchicalDrf {
    config: AllocatorConfig,
    agents: Slab<Agent>,
    frameworks: Slab<Framework>,
    tree: Tree,
    /// Agents with a todo, in no order.
    queue: Vec<u32>,
    /// Active agents with something to offer, in no order.
    listed: Vec<u32>,
    /// Agents whose crumbs are joining, by the time at which that is over.
    delayed: VecDeque<(Time, u32)>,
    wheel: Wheel,
    refusals: usize,
    /// Somebody has become willing who is not yet noted at the agents.
    stirred: bool,
    /// How many subscriptions have their own notion of a minimal offer.
    own_minima: usize,
    random: Random,
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
            own_minima: 0,
            random: Random::new(config.seed),
            config,
        }
    }

    fn resolve_agent(&self, agent: AgentHandle) -> Option<u32> {
        self.agents.resolve(agent.into())
    }

    fn resolve_framework(&self, framework: FrameworkHandle) -> Option<u32> {
        self.frameworks.resolve(framework.into())
    }

    fn find_subscription(&self, framework: FrameworkHandle, role: &Role) -> Option<u32> {
        let framework = &self.frameworks[self.resolve_framework(framework)?];
        framework
            .subscriptions
            .iter()
            .copied()
            .find(|index| self.tree.subscription(*index).role == *role)
    }

    /// The subscription of a framework to a role; made (without offers) if it is not subscribed.
    fn subscription_for(&mut self, framework: FrameworkHandle, role: &Role) -> Option<u32> {
        let index = self.resolve_framework(framework)?;
        if let Some(subscription) = self.find_subscription(framework, role) {
            return Some(subscription);
        }
        let subscription = self
            .tree
            .subscribe(framework, &self.frameworks[index].id, role);
        self.frameworks[index].subscriptions.push(subscription);
        Some(subscription)
    }

    /// Makes a subscription live or not, according to its framework and itself.
    fn settle_liveness(&mut self, index: u32) {
        let subscription = self.tree.subscription(index);
        let active = self
            .resolve_framework(subscription.framework)
            .is_some_and(|at| self.frameworks[at].active);
        let live = active && subscription.subscribed && !subscription.suppressed;
        self.tree.set_live(index, live);
    }

    /// A subscription wants to see every agent anew.
    fn stir(&mut self, index: u32) {
        self.tree.forget_refusals(index);
        self.settle_liveness(index);
        self.stirred |= self.tree.make_eager(index);
    }

    /// Removes a subscription that has ended and holds nothing.
    fn tidy_subscription(&mut self, index: u32) {
        let subscription = self.tree.subscription(index);
        if subscription.subscribed || subscription.agents > 0 {
            return;
        }
        if let Some(at) = self.resolve_framework(subscription.framework) {
            self.frameworks[at]
                .subscriptions
                .retain(|other| *other != index);
        }
        self.tree.unsubscribe(index);
    }

    fn subscribe(
        &mut self,
        framework: FrameworkHandle,
        wanted: &RoleSubscription,
        options: &FrameworkOptions,
    ) {
        let Some(index) = self.subscription_for(framework, &wanted.role) else {
            return;
        };
        let subscription = self.tree.subscription_mut(index);
        let was_willing = subscription.subscribed && !subscription.suppressed;
        let changed = subscription.capabilities != options.capabilities
            || subscription.min_allocatable != wanted.min_allocatable;
        self.own_minima -= usize::from(subscription.min_allocatable.is_some());
        self.own_minima += usize::from(wanted.min_allocatable.is_some());
        subscription.subscribed = true;
        subscription.suppressed = wanted.suppressed;
        subscription.capabilities = options.capabilities;
        subscription
            .min_allocatable
            .clone_from(&wanted.min_allocatable);
        if !wanted.suppressed && !was_willing {
            self.stir(index);
        } else {
            self.settle_liveness(index);
            if changed {
                self.stirred |= self.tree.make_eager(index);
            }
        }
    }

    fn end_subscription(&mut self, index: u32) {
        let subscription = self.tree.subscription_mut(index);
        self.own_minima -= usize::from(subscription.min_allocatable.take().is_some());
        subscription.subscribed = false;
        self.settle_liveness(index);
        self.tidy_subscription(index);
    }

    /// Notes every agent anew if what counts as something to offer has changed.
    fn relist_if(&mut self, had_own_minima: bool) {
        if had_own_minima != (self.own_minima > 0) {
            let agents: Vec<u32> = self.agents.indices().collect();
            for agent in agents {
                self.list(agent);
            }
        }
    }

    /// The subscriptions of these roles; of all roles if none is named.
    fn named(&self, framework: FrameworkHandle, roles: &[Role]) -> SmallVec<[u32; 4]> {
        let Some(index) = self.resolve_framework(framework) else {
            return SmallVec::new();
        };
        let chosen = |index: &u32| {
            let subscription = self.tree.subscription(*index);
            subscription.subscribed && (roles.is_empty() || roles.contains(&subscription.role))
        };
        self.frameworks[index]
            .subscriptions
            .iter()
            .copied()
            .filter(chosen)
            .collect()
    }

    fn set_framework_active(&mut self, framework: FrameworkHandle, active: bool) {
        let Some(index) = self.resolve_framework(framework) else {
            return;
        };
        self.frameworks[index].active = active;
        for subscription in self.frameworks[index].subscriptions.clone() {
            if active {
                self.stir(subscription)
            } else {
                self.settle_liveness(subscription)
            }
        }
    }

    /// Puts an agent into the list of those with something to offer, or takes it out.
    fn list(&mut self, index: u32) {
        let agent = &mut self.agents[index];
        let offers =
            agent.active && visit::is_offerable(agent.free(), &self.config, self.own_minima > 0);
        match (offers, agent.listed) {
            (true, None) => {
                agent.listed = Some(self.listed.len());
                self.listed.push(index);
            }
            (false, Some(at)) => {
                agent.listed = None;
                self.listed.swap_remove(at);
                if let Some(moved) = self.listed.get(at) {
                    self.agents[*moved].listed = Some(at);
                }
            }
            _ => {}
        }
    }

    /// Changes whom to try on an agent, and queues it.
    fn unsettle(&mut self, index: u32, mark: impl FnOnce(&mut Agent)) {
        let agent = &mut self.agents[index];
        if agent.listed.is_none() {
            return;
        }
        if agent.todo == Todo::Nothing {
            self.queue.push(index);
        }
        mark(agent);
    }

    /// An agent has gained something, or has become visible.
    fn gained(&mut self, index: u32) {
        self.agents[index].gains = self.agents[index].gains.wrapping_add(1);
        self.list(index);
        self.unsettle(index, Agent::try_all);
    }

    /// Enters what a subscription got into the tree.
    fn charge(&mut self, subscription: u32, (more, is_first): (Quantities, bool)) {
        self.tree.subscription_mut(subscription).agents += u32::from(is_first);
        self.tree.charge(subscription, &more);
    }

    /// Enters what a subscription gave back into the tree.
    fn discharge(&mut self, subscription: u32, (less, is_last): (Quantities, bool)) {
        self.tree.subscription_mut(subscription).agents -= u32::from(is_last);
        self.tree.discharge(subscription, &less);
        if is_last {
            self.tidy_subscription(subscription);
        }
    }

    fn refuse(
        &mut self,
        now: Time,
        agent: u32,
        subscription: u32,
        resources: &Resources,
        why: Recovery,
    ) {
        let (duration, this_time_only) = match why {
            Recovery::Freed => return,
            Recovery::Leftover { refuse } if refuse.is_zero() => return,
            Recovery::Leftover { refuse } => (refuse.max(self.config.allocation_interval), false),
            Recovery::Declined { refuse } => (
                refuse.max(self.config.allocation_interval),
                refuse.is_zero(),
            ),
        };
        let expiry = now + duration.min(REFUSAL_MAX);
        let epoch = self.tree.subscription(subscription).epoch;
        let agent_books = &mut self.agents[agent];
        let gains = agent_books.gains;
        let before = agent_books.refusals.len();
        let refused = Arc::new(resources.unallocated().non_shared());
        let refusal = Refusal {
            subscription,
            epoch,
            expiry,
            gains: this_time_only.then_some(gains),
            refused,
        };
        agent_books.refusals.add(now, gains, refusal);
        self.refusals = self.refusals + agent_books.refusals.len() - before;
        self.wheel.add(
            expiry,
            Due {
                agent,
                subscription,
            },
        );
        if self.wheel.len() > 2 * self.refusals + VOID_DUES_MAX {
            self.rebuild_wheel();
        }
    }

    /// Drops the calendar's void entries.
    fn rebuild_wheel(&mut self) {
        self.wheel = Wheel::default();
        for index in self.agents.indices() {
            for (at, due) in self.agents[index].refusals.dues(index) {
                self.wheel.add(at, due);
            }
        }
    }

    /// Turns refusals that are over and delays that have ended into work.
    fn wake(&mut self, now: Time) {
        while let Some(dues) = self.wheel.pop(now) {
            for Due {
                agent,
                subscription,
            } in dues
            {
                let Some(books) = self.agents.get_mut(agent) else {
                    continue;
                };
                let before = books.refusals.len();
                books.refusals.expire(subscription, now);
                self.refusals -= before - books.refusals.len();
                if self
                    .tree
                    .get_subscription(subscription)
                    .is_some_and(|subscription| subscription.is_live())
                {
                    self.unsettle(agent, |agent| agent.try_one(subscription));
                }
            }
        }
        while self.delayed.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, index)) = self.delayed.pop_front()
                && let Some(agent) = self.agents.get_mut(index)
                && std::mem::take(&mut agent.delayed)
            {
                self.unsettle(index, Agent::try_all);
            }
        }
        if std::mem::take(&mut self.stirred) {
            for at in 0..self.listed.len() {
                self.unsettle(self.listed[at], Agent::try_eager);
            }
        }
    }

    /// Visits one agent and books what was decided.
    fn visit(&mut self, now: Time, index: u32, out: &mut Vec<Allocation>) {
        let Some(agent) = self.agents.get_mut(index) else {
            return;
        };
        let todo = std::mem::replace(&mut agent.todo, Todo::Nothing);
        let rules = Rules {
            tree: &self.tree,
            config: &self.config,
            own_minima: self.own_minima > 0,
            now,
        };
        let grants = Visit::decide(&rules, &self.agents[index], todo);
        let nothing = grants.is_empty();
        for (subscription, mut resources) in grants {
            let entered = self.agents[index].grant(subscription, &resources);
            self.charge(subscription, entered);
            let subscription = self.tree.subscription(subscription);
            resources.allocate(&subscription.role);
            out.push(Allocation {
                framework: subscription.framework,
                role: subscription.role.clone(),
                agent: (index, self.agents.generation(index)).into(),
                resources,
            });
        }
        if !nothing {
            self.list(index);
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
                    let (less, _) = self.agents[agent].recover(subscription, &held);
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
        let agent = Agent::new(options);
        self.tree
            .change_total(&Quantities::new(), &agent.quantities);
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
        let agent = &mut self.agents[index];
        let before = agent.quantities.clone();
        agent.set_options(options);
        self.tree.change_total(&before, &agent.quantities);
        self.gained(index);
    }

    fn forget_refusals(&mut self, agent: AgentHandle) {
        let Some(index) = self.resolve_agent(agent) else {
            return;
        };
        self.refusals -= std::mem::take(&mut self.agents[index].refusals).len();
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
            let recovered = self.agents[index].recover(subscription, &held);
            self.discharge(subscription, recovered);
        }
        self.deactivate_agent(agent);
        if let Some(agent) = self.agents.remove(index) {
            self.tree
                .change_total(&agent.quantities, &Quantities::new());
            self.refusals -= agent.refusals.len();
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
        let entered = self.agents[index].hold(subscription, &holding.resources.unallocated());
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
        let Some(subscription) = self.find_subscription(framework, role) else {
            return;
        };
        let recovered = self.agents[index].recover(subscription, &resources.unallocated());
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
        let agent = &mut self.agents[index];
        let total_before = agent.quantities.clone();
        let Some(held) = agent.convert(subscription, &before.unallocated(), &after.unallocated())
        else {
            return false;
        };
        self.tree.change_total(&total_before, &agent.quantities);
        let is_last = agent.held_by(subscription).is_none();
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

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.stirred
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
}
