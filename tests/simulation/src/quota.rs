//! I8, seen from outside: the sums that quota is about, made anew from what a master shows after each round of offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_master_core::OfferSnapshot;
use tepui_model::resources::Scalar;
use tepui_model::{Quantities, Resources};

use crate::invariants::Invariant;
use crate::scenario::Sabotage;
use crate::world::Simulation;

/// The scalars that are taken from what all share.
fn common(resources: &Resources) -> Quantities {
    let mut sum = Quantities::new();
    for lot in resources.lots() {
        if !lot.kind().is_reserved() && !lot.kind().is_revocable() {
            sum += lot.scalars();
        }
    }
    sum
}

impl Simulation {
    /// After a flush: the offers that it has made pass no limit, and leave what is guaranteed to others.
    pub(crate) fn check_quota(&mut self, master: usize, offers: &[Arc<OfferSnapshot>]) {
        let process = &self.masters[master];
        let quotas = &process.shown.quotas;
        if quotas.is_empty() || offers.is_empty() {
            return;
        }
        let mut consumed: BTreeMap<&str, Quantities> = BTreeMap::new();
        let mut free = Quantities::new();
        for agent in process.agents.values() {
            for lot in agent.total.lots() {
                if let Some(role) = lot.kind().reservation_role() {
                    *consumed.entry(role.top()).or_default() += lot.scalars();
                }
            }
            for held in [&agent.allocated, &agent.offered] {
                for lot in held.lots() {
                    let common = !lot.kind().is_reserved() && !lot.kind().is_revocable();
                    if let Some(role) = lot.kind().allocation_role().filter(|_| common) {
                        *consumed.entry(role.top()).or_default() += lot.scalars();
                    }
                }
            }
            if agent.active() {
                free += &common(&agent.total)
                    .saturating_sub(&common(&agent.allocated))
                    .saturating_sub(&common(&agent.offered));
            }
        }
        let part = match self.scenario.sabotage {
            Some(Sabotage::HalvesLimits) => 2.0,
            _ => 1.0,
        };
        let consumption = |role: &str| consumed.get(role).cloned().unwrap_or_default();
        let mut missing = Quantities::new();
        for (role, quota) in quotas {
            missing += &quota
                .guarantees
                .clone()
                .saturating_sub(&consumption(role.as_str()));
        }
        let mut wrong = None;
        for offer in offers {
            let (top, holds) = (offer.role.top(), common(&offer.resources));
            let consumption = consumption(top);
            let quota = quotas.iter().find(|(role, _)| role.as_str() == top);
            for (name, amount) in holds.iter() {
                let limit = quota
                    .and_then(|(_, quota)| quota.limits.iter().find(|(other, _)| *other == name))
                    .and_then(|(_, limit)| Scalar::from_f64(limit.as_f64() / part));
                if limit.is_some_and(|limit| consumption.get(&name) > limit) {
                    wrong = Some(format!(
                        "master {master} offers {amount} {} to role {top}, which then has {consumption}, more than its limit",
                        name.as_str()
                    ));
                }
                let guaranteed =
                    quota.map_or(Scalar::ZERO, |(_, quota)| quota.guarantees.get(&name));
                let beyond = consumption.get(&name) > guaranteed;
                if beyond && free.get(&name) < missing.get(&name) {
                    wrong = Some(format!(
                        "master {master} offers {amount} {} to role {top}; {free} is left, of guarantees {missing} is missing",
                        name.as_str()
                    ));
                }
            }
        }
        if let Some(what) = wrong {
            self.breach(Invariant::Quota, what);
        }
    }
}
