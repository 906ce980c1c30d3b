//! The slow model: it remembers every total, holding and refusal, and reckons everything from them each time.

use super::super::{AgentAttributes, AgentHandle, Allocation, FrameworkHandle, RoleConstraints};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tepui_model::{FrameworkId, Quantities, Resources, Role, Time};

pub(super) struct ModelAgent {
    pub(super) total: Resources,
    pub(super) attributes: AgentAttributes,
    pub(super) active: bool,
    pub(super) gains: u32,
    pub(super) delayed_until: Option<Time>,
    pub(super) was_shrunk: bool,
}

pub(super) struct ModelFramework {
    pub(super) id: FrameworkId,
    pub(super) active: bool,
    pub(super) gpus: bool,
    /// For all its roles.
    pub(super) constraints: Option<Arc<RoleConstraints>>,
    /// Role to (subscribed, suppressed).
    pub(super) roles: BTreeMap<Role, (bool, bool)>,
}

pub(super) struct Refused {
    pub(super) resources: Resources,
    pub(super) expiry: Time,
    pub(super) gains: Option<u32>,
}

pub(super) type Subscriber = (FrameworkHandle, Role);

#[derive(Default)]
pub(super) struct Model {
    pub(super) now: Time,
    pub(super) agents: BTreeMap<AgentHandle, ModelAgent>,
    pub(super) frameworks: BTreeMap<FrameworkHandle, ModelFramework>,
    pub(super) held: Vec<(AgentHandle, Subscriber, Resources)>,
    pub(super) refused: BTreeMap<(AgentHandle, FrameworkHandle, Role), Vec<Refused>>,
    pub(super) served: BTreeMap<Subscriber, u64>,
    pub(super) weights: BTreeMap<Role, f64>,
    pub(super) whitelist: Option<BTreeSet<String>>,
}

impl Model {
    pub(super) fn held_on(&self, agent: AgentHandle) -> Resources {
        self.held
            .iter()
            .filter(|(on, ..)| *on == agent)
            .fold(Resources::new(), |sum, (.., held)| sum + held)
    }

    pub(super) fn free(&self, agent: AgentHandle) -> Resources {
        let mut free = self.agents[&agent].total.clone();
        free.subtract_overlap(&self.held_on(agent));
        free
    }

    pub(super) fn live(&self) -> Vec<Subscriber> {
        self.frameworks
            .iter()
            .filter(|(_, framework)| framework.active)
            .flat_map(|(handle, framework)| {
                let live = framework
                    .roles
                    .iter()
                    .filter(|(_, (subscribed, suppressed))| *subscribed && !suppressed);
                live.map(|(role, _)| (*handle, role.clone()))
            })
            .collect()
    }

    /// What of `free` a subscription would be offered; nothing if that is too little, or if it refuses.
    pub(super) fn wanted(
        &self,
        agent: AgentHandle,
        free: &Resources,
        (framework, role): &Subscriber,
    ) -> Option<Resources> {
        let books = &self.agents[&agent];
        let gpus = books
            .total
            .quantities()
            .iter()
            .any(|(name, _)| name.as_str() == "gpus");
        if !books.active || gpus && !self.frameworks[framework].gpus {
            return None;
        }
        let listed = self
            .whitelist
            .as_ref()
            .is_none_or(|list| list.contains(&books.attributes.hostname));
        let admitted = self.frameworks[framework]
            .constraints
            .as_ref()
            .is_none_or(|constraints| constraints.admit(&books.attributes));
        if !listed || !admitted {
            return None;
        }
        let offer = free.available_to(role);
        let quantities = offer.quantities();
        let enough = |text: &str| quantities.contains(&text.parse().unwrap());
        if !enough("cpus:0.01") && !enough("mem:32") {
            return None;
        }
        let key = (agent, *framework, role.clone());
        let refuses = self.refused.get(&key).is_some_and(|list| {
            list.iter().any(|refused| {
                refused.expiry > self.now
                    && refused.gains.is_none_or(|then| then == books.gains)
                    && refused.resources.contains(&offer)
            })
        });
        (!refuses).then_some(offer)
    }

    pub(super) fn share(&self, counts: impl Fn(&Subscriber) -> bool) -> (f64, u64) {
        let mut total = Quantities::new();
        self.agents
            .values()
            .for_each(|agent| total += &agent.total.quantities());
        let mut sum = Quantities::new();
        for (_, holder, held) in &self.held {
            if counts(holder) {
                sum += &held.quantities();
            }
        }
        let served = self
            .served
            .iter()
            .filter(|(who, _)| counts(who))
            .map(|(_, served)| served)
            .sum();
        (sum.dominant_share(&total, |_| true), served)
    }

    /// Where a subscription stands: compared lexicographically, level by level.
    pub(super) fn standing(&self, who: &Subscriber) -> Vec<(f64, u64, String)> {
        let mut path: Vec<Role> = who.1.ancestors().collect();
        path.reverse();
        path.push(who.1.clone());
        let mut standing = Vec::new();
        for node in path {
            let (share, served) =
                self.share(|(_, role)| *role == node || role.is_strict_subrole_of(&node));
            standing.push((
                share / self.weights.get(&node).unwrap_or(&1.0),
                served,
                node.to_string(),
            ));
        }
        let (share, served) = self.share(|(_, role)| *role == who.1);
        standing.push((share, served, who.1.to_string()));
        let (share, served) = self.share(|other| other == who);
        standing.push((share, served, self.frameworks[&who.0].id.to_string()));
        standing
    }

    pub(super) fn check_offers(&mut self, offers: &[Allocation]) {
        let mut rest = offers;
        while let Some(first) = rest.first() {
            let visit = rest
                .iter()
                .take_while(|offer| offer.agent == first.agent)
                .count();
            let agent = first.agent;
            let delayed = self.agents[&agent]
                .delayed_until
                .is_some_and(|until| until > self.now);
            let mut order = self.live();
            order.sort_by(|a, b| self.standing(a).partial_cmp(&self.standing(b)).unwrap());
            for offer in &rest[..visit] {
                let who = (offer.framework, offer.role.clone());
                let free = self.free(agent);
                let expected = self
                    .wanted(agent, &free, &who)
                    .expect("offered only what is wanted");
                assert_eq!(
                    offer.resources,
                    expected.allocated_to(&offer.role),
                    "all that it may have, to {who:?}"
                );
                if !delayed {
                    let due = order
                        .iter()
                        .find(|who| self.wanted(agent, &free, who).is_some());
                    assert_eq!(due, Some(&who), "the lowest share first");
                }
                self.held
                    .push((agent, who.clone(), offer.resources.unallocated()));
                *self.served.entry(who).or_default() += 1;
            }
            rest = &rest[visit..];
        }
    }

    pub(super) fn check_settled(&self) {
        for (agent, books) in &self.agents {
            assert!(
                books.was_shrunk || books.total.contains(&self.held_on(*agent)),
                "I1"
            );
            if books.delayed_until.is_none_or(|until| until <= self.now) {
                let free = self.free(*agent);
                for who in self.live() {
                    assert_eq!(
                        self.wanted(*agent, &free, &who),
                        None,
                        "{who:?} wants what is free on {agent:?}"
                    );
                }
            }
        }
    }

    pub(super) fn forget_refusals(&mut self, framework: FrameworkHandle, roles: &[Role]) {
        self.refused
            .retain(|(_, who, role), _| *who != framework || !roles.contains(role));
    }
}
