//! Offers that end: declined, suppressed away from, rescinded, withdrawn. Each ends once (I4): `end_offer` is the only way
//! out of the table.

use std::time::Duration;

use tepui_model::{OfferId, Role};
use tepui_proto::mesos::Filters;
use tepui_proto::mesos::scheduler::call::Decline;

use crate::allocator::Recovery;
use crate::change::{Change, OfferKey};
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, FrameworkIx, Offer};

/// What `Filters` means when it, or its field, is unset or makes no sense.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);
/// Longer refusals are cut to this.
const LONGEST_REFUSAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// For how long a framework does not want to be offered the same again.
pub(crate) fn refusal(filters: Option<&Filters>) -> Duration {
    let Some(seconds) = filters.and_then(|filters| filters.refuse_seconds) else {
        return DEFAULT_REFUSAL;
    };
    if seconds.is_nan() || seconds < 0.0 {
        return DEFAULT_REFUSAL;
    }
    Duration::try_from_secs_f64(seconds)
        .map_or(LONGEST_REFUSAL, |refusal| refusal.min(LONGEST_REFUSAL))
}

impl Master {
    /// The key in an id of the form that this master gives out.
    pub(crate) fn offer_key(&self, id: &str) -> Option<OfferKey> {
        let digits = id.strip_prefix(self.id.as_str())?.strip_prefix("-O")?;
        let canonical = digits.bytes().all(|digit| digit.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        canonical
            .then(|| digits.parse().ok().map(OfferKey))
            .flatten()
    }

    /// Take an offer out of all tables. What was in it is for the caller to give back or to use.
    pub(crate) fn end_offer(&mut self, key: OfferKey, out: &mut Vec<Output>) -> Option<Offer> {
        let offer = self.offers.remove(&key)?;
        self.frameworks[offer.framework].offers.remove(&key);
        let agent = &mut self.agents[offer.agent];
        agent.offers.remove(&key);
        let taken = agent.offered.try_subtract(&offer.resources);
        assert!(
            taken.is_ok(),
            "I4: an offer's resources were not outstanding on its agent"
        );
        self.touch_agent(offer.agent);
        out.push(Output::Change(Change::OfferRemoved(key)));
        Some(offer)
    }

    /// End an offer that nobody may use any more; its resources are free for everybody.
    pub(crate) fn take_back(&mut self, key: OfferKey, tell: bool, out: &mut Vec<Output>) {
        let Some(offer) = self.end_offer(key, out) else {
            return;
        };
        self.counters.offers.rescinded += 1;
        self.frameworks[offer.framework].counters.offers.rescinded += 1;
        if tell {
            let id = OfferId::numbered(&self.id, key.0);
            self.event(
                offer.framework,
                events::rescind(id.as_str().to_owned()),
                out,
            );
        }
        self.recover(
            offer.agent,
            offer.framework,
            &offer.role,
            &offer.resources,
            Recovery::Freed,
        );
    }

    pub(crate) fn rescind_offers_on(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        for key in self.agents[agent].offers.clone() {
            self.take_back(key, true, out);
        }
    }

    /// Those with something revocable alone.
    pub(crate) fn rescind_revocable_offers_on(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        for key in self.agents[agent].offers.clone() {
            let offer = self.offers.get(&key);
            if offer.is_some_and(|offer| !offer.resources.revocable().is_empty()) {
                self.take_back(key, true, out);
            }
        }
    }

    /// The framework is not there to be told.
    pub(crate) fn withdraw_offers_of(&mut self, framework: FrameworkIx, out: &mut Vec<Output>) {
        for key in self.frameworks[framework].offers.clone() {
            self.take_back(key, false, out);
        }
        self.withdraw_inverse_offers_of(framework, out);
    }

    /// Unknown and foreign ids are passed over.
    pub(crate) fn decline(
        &mut self,
        framework: FrameworkIx,
        decline: &Decline,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.decline_offers += 1;
        let refuse = refusal(decline.filters.as_ref());
        for id in &decline.offer_ids {
            let own = self
                .offer_key(&id.value)
                .filter(|key| self.frameworks[framework].offers.contains(key));
            if let Some(offer) = own.and_then(|key| self.end_offer(key, out)) {
                self.counters.offers.declined += 1;
                self.frameworks[framework].counters.offers.declined += 1;
                self.recover(
                    offer.agent,
                    framework,
                    &offer.role,
                    &offer.resources,
                    Recovery::Declined { refuse },
                );
            }
        }
    }

    /// The roles named in REVIVE or SUPPRESS; `None` if one of them is not the framework's, which drops the whole call.
    fn named_roles(
        &self,
        framework: FrameworkIx,
        call: &str,
        roles: &[String],
        out: &mut Vec<Output>,
    ) -> Option<Vec<Role>> {
        let known = &self.frameworks[framework];
        if roles.is_empty() {
            return Some(known.roles.clone());
        }
        let mut named = Vec::with_capacity(roles.len());
        for role in roles {
            let Some(role) = known.roles.iter().find(|own| own.as_str() == role) else {
                log(
                    LogLevel::Warn,
                    format!(
                        "{call} of framework {} is dropped: it has no role '{role}'",
                        known.id
                    ),
                    out,
                );
                return None;
            };
            named.push(role.clone());
        }
        Some(named)
    }

    pub(crate) fn revive(
        &mut self,
        framework: FrameworkIx,
        roles: &[String],
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.revive_offers += 1;
        let Some(roles) = self.named_roles(framework, "REVIVE", roles, out) else {
            return;
        };
        let known = &mut self.frameworks[framework];
        let before = known.suppressed.len();
        known.suppressed.retain(|role| !roles.contains(role));
        if known.suppressed.len() != before {
            self.touch_framework(framework);
        }
        // No roles at all would mean all of them to the allocator; a framework without roles has nothing to revive.
        if !roles.is_empty() {
            self.allocation_revive(framework, &roles);
            self.offers_wanted(framework, out);
        }
    }

    pub(crate) fn suppress(
        &mut self,
        framework: FrameworkIx,
        roles: &[String],
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.suppress_offers += 1;
        let Some(roles) = self.named_roles(framework, "SUPPRESS", roles, out) else {
            return;
        };
        if roles.is_empty() {
            return;
        }
        let known = &mut self.frameworks[framework];
        let before = known.suppressed.len();
        known.suppressed.extend(roles.iter().cloned());
        if known.suppressed.len() != before {
            self.touch_framework(framework);
        }
        self.allocation_suppress(framework, &roles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        let cases = [
            (None, DEFAULT_REFUSAL),
            (Some(0.0), Duration::ZERO),
            (Some(1.5), Duration::from_millis(1500)),
            (Some(-1.0), DEFAULT_REFUSAL),
            (Some(f64::NAN), DEFAULT_REFUSAL),
            (Some(f64::INFINITY), LONGEST_REFUSAL),
            (Some(1e9), LONGEST_REFUSAL),
        ];
        for (seconds, expected) in cases {
            let filters = Filters {
                refuse_seconds: seconds,
            };
            assert_eq!(refusal(Some(&filters)), expected, "{seconds:?}");
        }
        assert_eq!(refusal(None), DEFAULT_REFUSAL);
    }
}
