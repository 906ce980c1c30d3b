//! UPDATE_QUOTA, SET_QUOTA and REMOVE_QUOTA.
//!
//! A role consumes what is reserved for it or below it, used or not, and the unreserved scalars that its tasks and executors use.
//! Unless it is forced, a limit may not lie below that, and all guarantees together have to fit what the registered agents have.
//!
//! Then offers end: of a role with new limits, oldest first, until it is within them; and, while not enough is free for what is
//! guaranteed and not consumed, of roles without a guarantee of their own.

use std::collections::{BTreeMap, BTreeSet};

use tepui_model::resources::{Kind, Name, Scalar};
use tepui_model::{Quantities, Resources, Role};
use tepui_proto::mesos;
use tepui_proto::mesos::quota::{QuotaConfig, QuotaRequest};

use super::{PolicyChange, check_count};
use crate::allocator::Quota;
use crate::change::OfferKey;
use crate::master::{Master, log};
use crate::operator::refused;
use crate::output::{LogLevel, Output, Reply};

/// The most of a resource that quota can speak of: a million million (of mem and disk about an exabyte).
const MOST: f64 = 1e12;

/// Sums by top-level role.
type ByRole = BTreeMap<Box<str>, Quantities>;

impl Master {
    pub(super) fn decide_quotas(
        &self,
        configs: &[QuotaConfig],
        force: bool,
    ) -> Result<PolicyChange, Reply> {
        check_count(configs.len())?;
        let mut decided: BTreeMap<Role, Quota> = BTreeMap::new();
        for config in configs {
            let role = self.quota_role(&config.role)?;
            let wrong = |why| refused(400, format!("Invalid quota for role '{role}': {why}"));
            let quota = quota_of(config).map_err(wrong)?;
            if decided.insert(role.clone(), quota).is_some() {
                return Err(refused(400, format!("Role '{role}' is named twice")));
            }
        }
        if !force {
            self.check_limits(&decided)
                .and_then(|()| self.check_capacity(&decided))
                .map_err(|why| refused(400, why))?;
        }
        Ok(PolicyChange::Quotas(decided.into_iter().collect()))
    }

    pub(super) fn decide_new_quota(&self, request: &QuotaRequest) -> Result<PolicyChange, Reply> {
        let Some(name) = &request.role else {
            return Err(refused(400, "The quota request names no role".to_owned()));
        };
        let role = self.quota_role(name)?;
        let quota = requested(&request.guarantee)
            .map_err(|why| refused(400, format!("Invalid quota for role '{role}': {why}")))?;
        if self.policy.quotas.contains_key(&role) {
            let why = format!("Quota for role '{role}' is set already; remove it first");
            return Err(refused(400, why));
        }
        let decided = BTreeMap::from([(role, quota)]);
        if !request.force() {
            self.check_capacity(&decided)
                .map_err(|why| refused(409, why))?;
        }
        Ok(PolicyChange::Quotas(decided.into_iter().collect()))
    }

    pub(super) fn decide_no_quota(&self, name: &str) -> Result<PolicyChange, Reply> {
        let role = self.quota_role(name)?;
        if !self.policy.quotas.contains_key(&role) {
            let why = format!("Role '{role}' has no quota that could be removed");
            return Err(refused(400, why));
        }
        Ok(PolicyChange::Quotas(vec![(role, Quota::default())]))
    }

    fn quota_role(&self, name: &str) -> Result<Role, Reply> {
        let role = self.named_role(name)?;
        if role.parent().is_some() {
            let why = format!("Role '{role}' lies below another; only top-level roles have quota");
            return Err(refused(400, why));
        }
        Ok(role)
    }

    fn check_limits(&self, decided: &BTreeMap<Role, Quota>) -> Result<(), String> {
        let consumed = self.consumed(false);
        for (role, quota) in decided {
            let consumed = consumed.get(role.as_str()).cloned().unwrap_or_default();
            for (name, limit) in &quota.limits {
                let used = consumed.get(name);
                if used > *limit {
                    return Err(format!(
                        "The limit of {limit} {} for role '{role}' lies below its present consumption of {used}",
                        name.as_str()
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_capacity(&self, decided: &BTreeMap<Role, Quota>) -> Result<(), String> {
        let mut guaranteed = Quantities::new();
        let kept = self.policy.quotas.iter();
        let kept = kept.filter(|(role, _)| !decided.contains_key(*role));
        for (_, quota) in kept.chain(decided) {
            guaranteed += &quota.guarantees;
        }
        let grows = decided.values().any(|quota| !quota.guarantees.is_empty());
        let capacity = self.capacity();
        if grows && !capacity.contains(&guaranteed) {
            return Err(format!(
                "All guarantees together would be {guaranteed}, the cluster has {capacity}"
            ));
        }
        Ok(())
    }

    /// What the registered agents have, without what is revocable.
    fn capacity(&self) -> Quantities {
        let mut sum = Quantities::new();
        for (_, agent) in self.agents.iter() {
            for lot in agent.total.lots().filter(|lot| !lot.kind().is_revocable()) {
                sum += lot.scalars();
            }
        }
        sum
    }

    /// What the top-level roles consume, with or without what they are offered.
    fn consumed(&self, with_offers: bool) -> ByRole {
        let mut sums = ByRole::new();
        for (_, agent) in self.agents.iter() {
            for lot in agent.total.lots() {
                let kind = lot.kind();
                if let Some(role) = kind.reservation_role().filter(|_| !kind.is_revocable()) {
                    *sums.entry(role.top().into()).or_default() += lot.scalars();
                }
            }
            add_common(&agent.allocated, &mut sums);
            if with_offers {
                add_common(&agent.offered, &mut sums);
            }
        }
        sums
    }

    pub(super) fn quotas_stored(&mut self, quotas: &[(Role, Quota)], out: &mut Vec<Output>) {
        for (role, quota) in quotas {
            log(
                LogLevel::Info,
                format!("the quota of role '{role}' has changed"),
                out,
            );
            self.allocation_set_quota(role, quota);
            if *quota == Quota::default() {
                self.policy.quotas.remove(role);
            } else {
                self.policy.quotas.insert(role.clone(), quota.clone());
            }
        }
        self.show_quotas(out);
        self.rescind_beyond_limits(quotas, out);
        self.rescind_for_guarantees(out);
    }

    fn rescind_beyond_limits(&mut self, quotas: &[(Role, Quota)], out: &mut Vec<Output>) {
        let limited: BTreeMap<&str, &Quota> = quotas
            .iter()
            .filter(|(_, quota)| !quota.limits.is_empty())
            .map(|(role, quota)| (role.as_str(), quota))
            .collect();
        if limited.is_empty() {
            return;
        }
        let mut consumed = self.consumed(true);
        let mut ended = Vec::new();
        for (key, offer) in &self.offers {
            let Some(quota) = limited.get(offer.role.top()) else {
                continue;
            };
            let Some(consumed) = consumed.get_mut(offer.role.top()) else {
                continue;
            };
            let holds = common(&offer.resources);
            let beyond = |(name, limit): &(Name, Scalar)| {
                consumed.get(name) > *limit && holds.get(name) > Scalar::ZERO
            };
            if quota.limits.iter().any(beyond) {
                *consumed -= &holds;
                ended.push(*key);
            }
        }
        self.end_offers(ended, out);
    }

    fn rescind_for_guarantees(&mut self, out: &mut Vec<Output>) {
        let consumed = self.consumed(true);
        let mut missing = Quantities::new();
        let mut guaranteed = BTreeSet::new();
        for (role, quota) in &self.policy.quotas {
            if !quota.guarantees.is_empty() {
                let consumed = consumed.get(role.as_str()).cloned().unwrap_or_default();
                missing += &quota.guarantees.clone().saturating_sub(&consumed);
                guaranteed.insert(role.as_str());
            }
        }
        let mut free = Quantities::new();
        for (_, agent) in self.agents.iter().filter(|(_, agent)| agent.active()) {
            if let Some(resources) = self.allocation.free(agent) {
                free += &common(resources);
            }
        }
        let mut ended = Vec::new();
        for (key, offer) in &self.offers {
            let short: Vec<Name> = missing
                .iter()
                .filter(|(name, amount)| free.get(name) < *amount)
                .map(|(name, _)| name)
                .collect();
            if short.is_empty() {
                break;
            }
            if guaranteed.contains(offer.role.top()) {
                continue;
            }
            let holds = common(&offer.resources);
            if short.iter().any(|name| holds.get(name) > Scalar::ZERO) {
                free += &holds;
                ended.push(*key);
            }
        }
        self.end_offers(ended, out);
    }

    fn end_offers(&mut self, keys: Vec<OfferKey>, out: &mut Vec<Output>) {
        for key in keys {
            self.take_back(key, true, out);
        }
    }
}

fn is_common(kind: &Kind) -> bool {
    !kind.is_reserved() && !kind.is_revocable()
}

/// The scalars that are taken from what all share.
fn common(resources: &Resources) -> Quantities {
    let mut sum = Quantities::new();
    for lot in resources.lots().filter(|lot| is_common(lot.kind())) {
        sum += lot.scalars();
    }
    sum
}

fn add_common(held: &Resources, sums: &mut ByRole) {
    for lot in held.lots().filter(|lot| is_common(lot.kind())) {
        if let Some(role) = lot.kind().allocation_role() {
            *sums.entry(role.top().into()).or_default() += lot.scalars();
        }
    }
}

fn amount(name: &str, value: f64) -> Result<(Name, Scalar), String> {
    if name.is_empty() {
        return Err("A resource has no name".to_owned());
    }
    let wrong = |what| Err(format!("'{name}' of {value} {what}"));
    if !value.is_finite() || value < 0.0 {
        return wrong("is no amount; it must be zero or more");
    }
    if value > MOST {
        return wrong("is more than can be");
    }
    match Scalar::from_f64(value) {
        Some(scalar) if value > 0.0 && scalar == Scalar::ZERO => wrong("is less than a thousandth"),
        Some(scalar) => Ok((Name::from(name), scalar)),
        None => wrong("is no amount"),
    }
}

/// A quota, checked for itself.
fn quota_of(config: &QuotaConfig) -> Result<Quota, String> {
    let mut quota = Quota::default();
    for (name, value) in &config.guarantees {
        let (name, amount) = amount(name, value.value)?;
        quota.guarantees.set(&name, amount);
    }
    for (name, value) in &config.limits {
        let (name, limit) = amount(name, value.value)?;
        let guarantee = quota.guarantees.get(&name);
        if guarantee > limit {
            return Err(format!(
                "the guarantee of {guarantee} {} is above its limit of {limit}",
                name.as_str()
            ));
        }
        quota.limits.push((name, limit));
    }
    Ok(quota)
}

/// Guarantees of SET_QUOTA, which are limits, too.
fn requested(guarantee: &[mesos::Resource]) -> Result<Quota, String> {
    let mut quota = Quota::default();
    if guarantee.is_empty() {
        return Err("it guarantees nothing".to_owned());
    }
    for resource in guarantee {
        let name = &resource.name;
        let unreserved = resource.reservations.is_empty()
            && resource.reservation.is_none()
            && resource.role.as_deref().is_none_or(|role| role == "*");
        let plain = unreserved && resource.disk.is_none() && resource.revocable.is_none();
        if !plain {
            return Err(format!(
                "'{name}' must not be reserved, revocable or a disk of its own"
            ));
        }
        let Some(scalar) = resource
            .scalar
            .as_ref()
            .filter(|_| resource.r#type == mesos::value::Type::Scalar as i32)
        else {
            return Err(format!("'{name}' is no scalar"));
        };
        let (name, amount) = amount(name, scalar.value)?;
        if quota.limits.iter().any(|(other, _)| *other == name) {
            return Err(format!("'{}' is named twice", name.as_str()));
        }
        quota.guarantees.set(&name, amount);
        quota.limits.push((name, amount));
    }
    Ok(quota)
}
