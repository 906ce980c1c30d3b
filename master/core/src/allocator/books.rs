//! Every change of what is held or there, entered in all the books that it concerns.

use super::agent::Agent;
use super::api::Recovery;
use super::drf::HierarchicalDrf;
use super::quota;
use super::refusals::{Refusal, Refusals};
use super::wheel::{Due, Wheel};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tepui_model::{Quantities, Resources, Role, Time};

/// No refusal lasts longer.
const REFUSAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The calendar of refusals may hold so many void entries beyond as many as there are refusals.
const VOID_DUES_MAX: usize = 4096;

impl HierarchicalDrf {
    /// Changes what a subscription holds on an agent, and the books of quota with it.
    pub(super) fn change_holding<R>(
        &mut self,
        agent: u32,
        subscription: u32,
        change: impl FnOnce(&mut Agent) -> R,
    ) -> R {
        if self.quotas.is_empty() {
            return change(&mut self.agents[agent]);
        }
        let held = |agent: &Agent| {
            agent
                .held_by(subscription)
                .map_or_else(Quantities::new, quota::common)
        };
        let before = held(&self.agents[agent]);
        let result = change(&mut self.agents[agent]);
        let after = held(&self.agents[agent]);
        let role = self.tree.subscription(subscription).role.clone();
        self.quotas.change_held(&role, &before, &after);
        if !after.contains(&before) {
            self.loosen(&role);
        }
        result
    }

    /// A role consumes less: if it was at its limit, its frameworks may have more now.
    pub(super) fn loosen(&mut self, role: &Role) {
        if self.quotas.take_limited(role) {
            self.stirred |= self.tree.make_all_eager(role.top());
        }
    }

    /// The total of an agent has changed (from or to nothing, if it comes or goes).
    pub(super) fn change_total(&mut self, before: &Resources, after: &Resources) {
        self.tree
            .change_total(&before.quantities(), &after.quantities());
        if !self.quotas.is_empty() {
            self.quotas.change_reserved(before, after);
            for role in before.reservation_roles() {
                self.loosen(&role);
            }
        }
    }

    /// Enters what a subscription got into the tree.
    pub(super) fn charge(&mut self, subscription: u32, (more, is_first): (Quantities, bool)) {
        self.tree.subscription_mut(subscription).agents += u32::from(is_first);
        self.tree.charge(subscription, &more);
    }

    /// Enters what a subscription gave back into the tree.
    pub(super) fn discharge(&mut self, subscription: u32, (less, is_last): (Quantities, bool)) {
        self.tree.subscription_mut(subscription).agents -= u32::from(is_last);
        self.tree.discharge(subscription, &less);
        if is_last {
            self.tidy_subscription(subscription);
        }
    }

    pub(super) fn refuse(
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
        let own_before = agent_books.refusals.of(subscription, epoch);
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
        let own = agent_books.refusals.of(subscription, epoch);
        let count = &mut self.tree.subscription_mut(subscription).refusals;
        *count = *count + own - own_before;
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

    /// An agent's refusals are forgotten, all of them.
    pub(super) fn uncount(&mut self, forgotten: &Refusals) {
        self.refusals -= forgotten.len();
        for (subscription, epoch) in forgotten.makers() {
            self.tree.uncount_refusals(subscription, epoch, 1);
        }
    }

    /// How many refusals are in force, by role.
    pub(super) fn filters_by_role(&self) -> BTreeMap<Role, u64> {
        let mut by_role = BTreeMap::new();
        for subscription in self.tree.all_subscriptions() {
            *by_role.entry(subscription.role.clone()).or_default() +=
                u64::from(subscription.refusals);
        }
        by_role
    }

    /// Drops the calendar's void entries.
    pub(super) fn rebuild_wheel(&mut self) {
        self.wheel = Wheel::default();
        for index in self.agents.indices() {
            for (at, due) in self.agents[index].refusals.dues(index) {
                self.wheel.add(at, due);
            }
        }
    }
}
