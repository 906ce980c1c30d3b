//! The decision for one agent: who of those to be tried gets what, in which order. Changes nothing; the grants are booked after.

use super::agent::{Agent, Todo};
use super::api::{AllocatorConfig, FrameworkHandle};
use super::constraints::Classes;
use super::order::Whom;
use super::quota::{self, Allowance, Quotas};
use super::tree::{Child, Subscription, Tree};
use smallvec::SmallVec;
use tepui_model::{Quantities, Resources, Role, Time};

/// What a visit needs to know besides the agent.
pub(super) struct Rules<'a> {
    pub(super) tree: &'a Tree,
    pub(super) config: &'a AllocatorConfig,
    pub(super) quotas: &'a Quotas,
    pub(super) classes: &'a Classes,
    /// Whether some framework has its own notion of a minimal offer.
    pub(super) own_minima: bool,
    pub(super) now: Time,
}

/// Whether there is enough for an offer.
pub(super) fn is_allocatable(resources: &Resources, minima: &[Quantities]) -> bool {
    if resources.is_empty() {
        return false;
    }
    if minima.is_empty() {
        return true;
    }
    let mut lots = resources.lots();
    match (lots.next(), lots.next()) {
        (Some(only), None) => minima
            .iter()
            .any(|minimum| only.scalars().contains(minimum)),
        _ => {
            let sum = resources.quantities();
            minima.iter().any(|minimum| sum.contains(minimum))
        }
    }
}

/// Whether an agent has anything that could be offered to anybody.
pub(super) fn is_offerable(
    resources: &Resources,
    config: &AllocatorConfig,
    own_minima: bool,
) -> bool {
    if own_minima {
        !resources.is_empty()
    } else {
        is_allocatable(resources, &config.min_allocatable)
    }
}

/// What a visit comes to.
#[derive(Default)]
pub(super) struct Decision {
    /// To which subscriptions what is given, in the order in which it was decided. While there is quota it is one at most, since each
    /// changes the books: visit again.
    pub(super) grants: SmallVec<[(u32, Resources); 1]>,
    /// Subscriptions whose offers quota has cut short, and whether by the limit of their own role.
    pub(super) cuts: SmallVec<[(u32, bool); 0]>,
}

/// One visit.
pub(super) struct Visit<'a> {
    rules: &'a Rules<'a>,
    agent: &'a Agent,
    free: Resources,
    shared: Resources,
    /// What of `free` a role may have, for the role that was tried last.
    view: Option<(u32, Resources)>,
    /// How much the role that was tried last may have under quota.
    allowance: Option<(u32, Allowance)>,
    /// Only roles that have less than they are sure of.
    owed_only: bool,
    /// Nothing is decided, only asked: the first who would get something ends the visit, and what guarantees keep from others counts
    /// as theirs. This framework is not asked.
    probe: Option<Option<FrameworkHandle>>,
    decision: Decision,
    exhausted: bool,
}

impl<'a> Visit<'a> {
    /// Decides who gets what.
    pub(super) fn decide(rules: &'a Rules<'a>, agent: &'a Agent, todo: &Todo) -> Decision {
        let mut visit = Visit::begin(rules, agent, agent.free().clone());
        match todo {
            Todo::Nothing => {}
            Todo::Eager => visit.walk_owed_first(Whom::Eager),
            Todo::All => visit.walk_owed_first(Whom::All),
            Todo::Some(list) => {
                let mut list = list.to_vec();
                rules.tree.sort(&mut list);
                for subscription in list {
                    visit.offer_to(subscription);
                }
            }
        }
        visit.decision
    }

    fn begin(rules: &'a Rules<'a>, agent: &'a Agent, free: Resources) -> Visit<'a> {
        Visit {
            exhausted: !agent.is_open() || !is_offerable(&free, rules.config, rules.own_minima),
            rules,
            agent,
            free,
            shared: agent.shared().clone(),
            view: None,
            allowance: None,
            owed_only: false,
            probe: None,
            decision: Decision::default(),
        }
    }

    /// Whether anybody but one framework would get something, were this free.
    pub(super) fn is_wanted_by_others(
        rules: &'a Rules<'a>,
        agent: &'a Agent,
        free: Resources,
        holder: FrameworkHandle,
    ) -> bool {
        let mut visit = Visit::begin(rules, agent, free);
        visit.probe = Some(Some(holder));
        visit.walk(Whom::All);
        !visit.decision.grants.is_empty()
    }

    /// Whether any of these subscriptions would get something, were this free.
    pub(super) fn is_wanted_by(
        rules: &'a Rules<'a>,
        agent: &'a Agent,
        free: Resources,
        subscriptions: &[u32],
    ) -> bool {
        let mut visit = Visit::begin(rules, agent, free);
        visit.probe = Some(None);
        for index in subscriptions {
            if rules.tree.subscription(*index).is_live() {
                visit.offer_to(*index);
            }
        }
        !visit.decision.grants.is_empty()
    }

    /// Guarantees first, then everybody.
    fn walk_owed_first(&mut self, whom: Whom) {
        if !self.rules.quotas.is_empty() {
            self.owed_only = true;
            self.walk(whom);
            self.owed_only = false;
        }
        self.walk(whom);
    }

    /// Tries everybody in the order of shares: a depth-first walk with a stack of its own, since roles may be deep.
    fn walk(&mut self, whom: Whom) {
        let tree = self.rules.tree;
        let mut stack = SmallVec::<[_; 4]>::new();
        stack.push((tree.root(), tree.root().children.iter(whom)));
        while !self.exhausted {
            let Some((node, children)) = stack.last_mut() else {
                return;
            };
            let node = *node;
            match children.next().map(|rank| rank.item) {
                None => drop(stack.pop()),
                Some(Child::Own) => {
                    if self.agent.mixed && !self.has_for(&node.role) {
                        continue;
                    }
                    for rank in node.subscriptions.iter(whom) {
                        self.offer_to(rank.item);
                        if self.exhausted {
                            return;
                        }
                    }
                }
                Some(Child::Role(index)) => {
                    let child = tree.node(index);
                    if self.owed_only && !self.rules.quotas.is_owed(&child.role) {
                        continue;
                    }
                    if !self.agent.mixed || self.has_below(&child.role) {
                        stack.push((child, child.children.iter(whom)));
                    }
                }
            }
        }
    }

    /// Whether anything is left that a framework in this role may have.
    fn has_for(&self, role: &Role) -> bool {
        self.free.lots().any(|lot| lot.kind().is_available_to(role))
    }

    /// Whether anything is left that a framework in this role or below it may have.
    fn has_below(&self, role: &Role) -> bool {
        self.free.lots().any(|lot| {
            lot.kind().is_available_to(role)
                || lot
                    .kind()
                    .reservation_role()
                    .is_some_and(|owner| owner.is_strict_subrole_of(role))
        })
    }

    /// Tries one subscription.
    fn offer_to(&mut self, index: u32) {
        if self.exhausted {
            return;
        }
        let subscription = self.rules.tree.subscription(index);
        if self.probe == Some(Some(subscription.framework)) {
            return;
        }
        if !self.agent.is_shown_to(
            subscription,
            self.rules.config.filter_gpu_resources,
            self.rules.classes,
        ) {
            return;
        }
        let offer = if self.agent.mixed || !self.rules.quotas.is_empty() {
            let offer = self.available_to(subscription);
            let Some(offer) = self.cut(index, subscription, offer) else {
                return;
            };
            if !self.is_wanted(index, subscription, &offer) {
                return;
            }
            let taken = self.free.try_subtract(&offer);
            debug_assert!(taken.is_ok(), "a part of what is free is free");
            self.view = None;
            offer
        } else {
            if !self.is_wanted(index, subscription, &self.free) {
                return;
            }
            std::mem::take(&mut self.free)
        };
        let offer = self.with_shared(subscription, offer);
        self.decision.grants.push((index, offer));
        self.exhausted = self.probe.is_some()
            || !self.rules.quotas.is_empty()
            || !is_offerable(&self.free, self.rules.config, self.rules.own_minima);
    }

    /// Whether there is enough of it and it was not refused.
    fn is_wanted(&self, index: u32, subscription: &Subscription, offer: &Resources) -> bool {
        let minima = subscription
            .min_allocatable
            .as_ref()
            .unwrap_or(&self.rules.config.min_allocatable);
        is_allocatable(offer, minima)
            && !self.agent.refusals.refuses(
                index,
                subscription.epoch,
                self.rules.now,
                self.agent.gains,
                offer,
            )
    }

    /// What is left of what a subscription may have.
    fn available_to(&mut self, subscription: &Subscription) -> Resources {
        let view = match self.view.take() {
            Some(view) if view.0 == subscription.node => view,
            _ => (
                subscription.node,
                self.free.available_to(&subscription.role),
            ),
        };
        let capabilities = subscription.capabilities;
        let offer = view.1.filter(|kind| {
            (capabilities.revocable_resources || !kind.is_revocable())
                && (capabilities.reservation_refinement || !kind.is_refined())
        });
        self.view = Some(view);
        offer
    }

    /// Leaves of an offer what quota allows; nothing if only debts are to be paid and it pays none.
    fn cut(
        &mut self,
        index: u32,
        subscription: &Subscription,
        offer: Resources,
    ) -> Option<Resources> {
        if self.rules.quotas.is_empty() {
            return Some(offer);
        }
        if self
            .allowance
            .as_ref()
            .is_none_or(|(node, _)| *node != subscription.node)
        {
            self.allowance = Some((
                subscription.node,
                match self.probe {
                    None => self.rules.quotas.allowance(&subscription.role),
                    Some(_) => self.rules.quotas.limits(&subscription.role),
                },
            ));
        }
        let (_, allowance) = self.allowance.as_ref()?;
        let common = quota::common(&offer);
        for (name, cap) in &allowance.caps {
            let cut = (index, allowance.limits.contains(name));
            if common.get(name) > *cap && !self.decision.cuts.contains(&cut) {
                self.decision.cuts.push(cut);
            }
        }
        let offer = offer.capped(&allowance.caps, quota::is_common);
        let pays = || {
            !allowance
                .missing
                .clone()
                .min(&quota::common(&offer))
                .is_empty()
        };
        (!self.owed_only || pays()).then_some(offer)
    }

    /// Adds the shared volumes that the subscription may have, each of which is handed out once in a visit. They travel only
    /// with something else.
    fn with_shared(&mut self, subscription: &Subscription, mut offer: Resources) -> Resources {
        if !self.shared.is_empty() && subscription.capabilities.shared_resources {
            let shared = self.shared.filter(|kind| {
                kind.is_available_to(&subscription.role)
                    && (subscription.capabilities.reservation_refinement || !kind.is_refined())
            });
            self.shared.subtract_overlap(&shared);
            offer += &shared;
        }
        offer
    }
}
