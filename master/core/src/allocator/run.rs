//! The queue of agents to visit, and its run.

use super::agent::{Agent, Todo};
use super::api::Allocation;
use super::drf::HierarchicalDrf;
use super::quota;
use super::refusals::Refusals;
use super::visit::{self, Rules, Visit};
use super::wheel::Due;
use tepui_model::{Quantities, Time};

impl HierarchicalDrf {
    /// Puts an agent into the list of those with something to offer, or takes it out.
    pub(super) fn list(&mut self, index: u32) {
        let agent = &mut self.agents[index];
        if !self.quotas.is_empty() {
            let free = if agent.is_open() {
                quota::common(agent.free())
            } else {
                Quantities::new()
            };
            self.quotas.change_free(&agent.quota_free, &free);
            agent.quota_free = free;
            self.surplus_grown |= self.quotas.take_grown();
        }
        let offers =
            agent.is_open() && visit::is_offerable(agent.free(), &self.config, self.own_minima > 0);
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
    pub(super) fn unsettle(&mut self, index: u32, mark: impl FnOnce(&mut Agent)) {
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
    pub(super) fn gained(&mut self, index: u32) {
        self.agents[index].gains = self.agents[index].gains.wrapping_add(1);
        self.list(index);
        self.unsettle(index, Agent::try_all);
    }

    /// Turns refusals that are over and delays that have ended into work.
    pub(super) fn wake(&mut self, now: Time) {
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
                let epoch = self
                    .tree
                    .get_subscription(subscription)
                    .map(|one| one.epoch);
                let own =
                    |refusals: &Refusals| epoch.map_or(0, |epoch| refusals.of(subscription, epoch));
                let own_before = own(&books.refusals);
                books.refusals.expire(subscription, now);
                self.refusals -= before - books.refusals.len();
                let over = own_before - own(&books.refusals);
                if let Some(epoch) = epoch {
                    self.tree.uncount_refusals(subscription, epoch, over);
                }
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
        if std::mem::take(&mut self.surplus_grown) {
            for at in 0..self.listed.len() {
                self.unsettle(self.listed[at], Agent::try_all);
            }
        }
        if std::mem::take(&mut self.stirred) {
            for at in 0..self.listed.len() {
                self.unsettle(self.listed[at], Agent::try_eager);
            }
        }
    }

    pub(super) fn rules(&self, now: Time) -> Rules<'_> {
        Rules {
            tree: &self.tree,
            config: &self.config,
            quotas: &self.quotas,
            classes: &self.classes,
            own_minima: self.own_minima > 0,
            now,
        }
    }

    /// Visits one agent and books what was decided.
    pub(super) fn visit(&mut self, now: Time, index: u32, out: &mut Vec<Allocation>) {
        let Some(agent) = self.agents.get_mut(index) else {
            return;
        };
        let todo = std::mem::replace(&mut agent.todo, Todo::Nothing);
        loop {
            let decision = Visit::decide(&self.rules(now), &self.agents[index], &todo);
            let granted = !decision.grants.is_empty();
            for (subscription, mut resources) in decision.grants {
                let entered = self.change_holding(index, subscription, |agent| {
                    agent.grant(subscription, &resources)
                });
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
            if granted {
                self.list(index);
            }
            for (subscription, by_limit) in decision.cuts {
                self.quotas
                    .note_cut(&self.tree.subscription(subscription).role, by_limit);
            }
            if !granted || self.quotas.is_empty() {
                return;
            }
        }
    }
}
