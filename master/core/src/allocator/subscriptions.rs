//! Who takes offers: frameworks and their roles, coming, going, reviving.

use super::api::{AgentHandle, FrameworkHandle, FrameworkOptions, RoleSubscription};
use super::drf::HierarchicalDrf;
use smallvec::SmallVec;
use tepui_model::Role;

impl HierarchicalDrf {
    /// Whether agents of this host name are offered at all.
    pub(super) fn is_whitelisted(&self, hostname: &str) -> bool {
        self.whitelist
            .as_ref()
            .is_none_or(|list| list.contains(hostname))
    }

    /// Nobody uses these constraints any more, or one fewer does.
    fn leave_class(&mut self, class: Option<u32>) {
        let Some(class) = class.filter(|class| self.classes.leave(*class)) else {
            return;
        };
        let agents: Vec<u32> = self.agents.indices().collect();
        for agent in agents {
            self.agents[agent].verdicts.forget(class);
        }
    }

    pub(super) fn resolve_agent(&self, agent: AgentHandle) -> Option<u32> {
        self.agents.resolve(agent.into())
    }

    pub(super) fn resolve_framework(&self, framework: FrameworkHandle) -> Option<u32> {
        self.frameworks.resolve(framework.into())
    }

    pub(super) fn find_subscription(&self, framework: FrameworkHandle, role: &Role) -> Option<u32> {
        let framework = &self.frameworks[self.resolve_framework(framework)?];
        framework
            .subscriptions
            .iter()
            .copied()
            .find(|index| self.tree.subscription(*index).role == *role)
    }

    /// The subscription of a framework to a role; made (without offers) if it is not subscribed.
    pub(super) fn subscription_for(
        &mut self,
        framework: FrameworkHandle,
        role: &Role,
    ) -> Option<u32> {
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
    pub(super) fn settle_liveness(&mut self, index: u32) {
        let subscription = self.tree.subscription(index);
        let active = self
            .resolve_framework(subscription.framework)
            .is_some_and(|at| self.frameworks[at].active);
        let live = active && subscription.subscribed && !subscription.suppressed;
        self.tree.set_live(index, live);
    }

    /// A subscription wants to see every agent anew.
    pub(super) fn stir(&mut self, index: u32) {
        self.tree.forget_refusals(index);
        self.settle_liveness(index);
        self.stirred |= self.tree.make_eager(index);
    }

    /// Removes a subscription that has ended and holds nothing.
    pub(super) fn tidy_subscription(&mut self, index: u32) {
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

    pub(super) fn subscribe(
        &mut self,
        framework: FrameworkHandle,
        wanted: &RoleSubscription,
        options: &FrameworkOptions,
    ) {
        let Some(index) = self.subscription_for(framework, &wanted.role) else {
            return;
        };
        // The new ones first: if they are the old ones, nothing is forgotten.
        let constraints = wanted
            .constraints
            .as_ref()
            .map(|constraints| self.classes.enter(constraints));
        let subscription = self.tree.subscription_mut(index);
        let before = std::mem::replace(&mut subscription.constraints, constraints);
        let was_willing = subscription.subscribed && !subscription.suppressed;
        let changed = subscription.capabilities != options.capabilities
            || subscription.min_allocatable != wanted.min_allocatable
            || before != constraints;
        self.own_minima -= usize::from(subscription.min_allocatable.is_some());
        self.own_minima += usize::from(wanted.min_allocatable.is_some());
        subscription.subscribed = true;
        subscription.suppressed = wanted.suppressed;
        subscription.capabilities = options.capabilities;
        subscription
            .min_allocatable
            .clone_from(&wanted.min_allocatable);
        self.leave_class(before);
        if !wanted.suppressed && !was_willing {
            self.stir(index);
        } else {
            self.settle_liveness(index);
            if changed {
                self.stirred |= self.tree.make_eager(index);
            }
        }
    }

    pub(super) fn end_subscription(&mut self, index: u32) {
        let subscription = self.tree.subscription_mut(index);
        self.own_minima -= usize::from(subscription.min_allocatable.take().is_some());
        subscription.subscribed = false;
        let constraints = subscription.constraints.take();
        self.leave_class(constraints);
        self.settle_liveness(index);
        self.tidy_subscription(index);
    }

    /// Notes every agent anew if what counts as something to offer has changed.
    pub(super) fn relist_if(&mut self, had_own_minima: bool) {
        if had_own_minima != (self.own_minima > 0) {
            let agents: Vec<u32> = self.agents.indices().collect();
            for agent in agents {
                self.list(agent);
            }
        }
    }

    /// The subscriptions of these roles; of all roles if none is named.
    pub(super) fn named(&self, framework: FrameworkHandle, roles: &[Role]) -> SmallVec<[u32; 4]> {
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

    pub(super) fn set_framework_active(&mut self, framework: FrameworkHandle, active: bool) {
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
}
