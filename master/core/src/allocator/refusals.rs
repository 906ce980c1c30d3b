//! What was refused on one agent, by whom, until when.
//!
//! A refusal holds while the new offer is a subset of what was refused. Refusals die by time, by REVIVE (which raises the
//! subscription's epoch, so that nobody has to look for them) and, those that only say "not this time", when the agent gains something.

use super::wheel::Due;
use smallvec::SmallVec;
use std::sync::Arc;
use tepui_model::{Resources, Time};

/// So many refusals of one subscription are remembered on one agent; then the one that ends first is forgotten, which can only
/// lead to an offer too many.
const REFUSALS_PER_SUBSCRIPTION_MAX: usize = 4;

/// One refusal.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Who refused.
    pub(super) subscription: u32,
    /// The subscription's epoch then.
    pub(super) epoch: u32,
    /// Until when.
    pub(super) expiry: Time,
    /// For "not this time": how often the agent had gained something then.
    pub(super) gains: Option<u32>,
    /// What, without allocation.
    pub(super) refused: Arc<Resources>,
}

/// The refusals on one agent, sorted by subscription.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    list: Vec<Refusal>,
    /// What was refused last: many frameworks refuse the same thing one after the other, and share its memory.
    latest: Option<Arc<Resources>>,
}

impl Refusals {
    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Those of a subscription that were made in this epoch.
    pub(super) fn of(&self, subscription: u32, epoch: u32) -> u32 {
        let span = &self.list[self.span(subscription)];
        let ours = span.iter().filter(|refusal| refusal.epoch == epoch);
        u32::try_from(ours.count()).unwrap_or(u32::MAX)
    }

    /// Who made them, one by one.
    pub(super) fn makers(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.list
            .iter()
            .map(|refusal| (refusal.subscription, refusal.epoch))
    }

    fn span(&self, subscription: u32) -> std::ops::Range<usize> {
        let start = self
            .list
            .partition_point(|refusal| refusal.subscription < subscription);
        let length = self.list[start..]
            .iter()
            .take_while(|refusal| refusal.subscription == subscription)
            .count();
        start..start + length
    }

    /// Whether `offer` was refused already.
    pub(super) fn refuses(
        &self,
        subscription: u32,
        epoch: u32,
        now: Time,
        gains: u32,
        offer: &Resources,
    ) -> bool {
        if self.list.is_empty() {
            return false;
        }
        self.list[self.span(subscription)].iter().any(|refusal| {
            refusal.epoch == epoch
                && refusal.expiry > now
                && refusal.gains.is_none_or(|then| then == gains)
                && refusal.refused.contains(offer)
        })
    }

    /// Remembers one, and forgets those of the same subscription that it makes superfluous.
    pub(super) fn add(&mut self, now: Time, gains: u32, mut refusal: Refusal) {
        match &self.latest {
            Some(latest) if *latest == refusal.refused => refusal.refused = Arc::clone(latest),
            _ => self.latest = Some(Arc::clone(&refusal.refused)),
        }
        let span = self.span(refusal.subscription);
        let void = |old: &Refusal| {
            old.epoch != refusal.epoch
                || old.expiry <= now
                || old.gains.is_some_and(|then| then != gains)
        };
        let covered = |old: &Refusal| {
            old.expiry <= refusal.expiry
                && (refusal.gains.is_none() || old.gains.is_some())
                && refusal.refused.contains(&old.refused)
        };
        let mut kept: SmallVec<[Refusal; 4]> = self.list[span.clone()]
            .iter()
            .filter(|old| !void(old) && !covered(old))
            .cloned()
            .collect();
        if kept.len() >= REFUSALS_PER_SUBSCRIPTION_MAX
            && let Some(first) = (0..kept.len()).min_by_key(|at| kept[*at].expiry)
        {
            kept.remove(first);
        }
        kept.push(refusal);
        self.list.splice(span, kept);
    }

    /// Forgets those of a subscription that are over.
    pub(super) fn expire(&mut self, subscription: u32, now: Time) {
        let span = self.span(subscription);
        if self.list[span.clone()]
            .iter()
            .all(|refusal| refusal.expiry <= now)
        {
            self.list.drain(span);
        } else {
            self.list
                .retain(|refusal| refusal.subscription != subscription || refusal.expiry > now);
        }
        if self.list.is_empty() {
            *self = Refusals::default();
        }
    }

    /// When which of them is over, for the wheel.
    pub(super) fn dues(&self, agent: u32) -> impl Iterator<Item = (Time, Due)> + '_ {
        self.list.iter().map(move |refusal| {
            (
                refusal.expiry,
                Due {
                    agent,
                    subscription: refusal.subscription,
                },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(subscription: u32, cpus: i64, expiry: i64, gains: Option<u32>) -> Refusal {
        let refused = Arc::new(format!("cpus:{cpus}").parse().unwrap());
        Refusal {
            subscription,
            epoch: 7,
            expiry: Time::from_secs(expiry),
            gains,
            refused,
        }
    }

    fn refuse(refusals: &Refusals, subscription: u32, cpus: i64, now: i64) -> bool {
        let offer = format!("cpus:{cpus}").parse().unwrap();
        refusals.refuses(subscription, 7, Time::from_secs(now), 3, &offer)
    }

    #[test]
    fn a_subset_is_refused_until_the_time_is_over() {
        let mut refusals = Refusals::default();
        let now = Time::EPOCH;
        refusals.add(now, 3, refusal(1, 4, 10, None));
        refusals.add(now, 3, refusal(1, 8, 5, None));
        refusals.add(now, 3, refusal(2, 4, 10, Some(2)));
        for (subscription, cpus, at, expected) in [
            (1, 4, 0, true),
            (1, 5, 0, true),
            (1, 9, 0, false),
            (1, 5, 5, false),
            (1, 4, 9, true),
            (1, 4, 10, false),
            (0, 1, 0, false),
            (2, 1, 0, false), // the agent has gained something since
        ] {
            assert_eq!(
                refuse(&refusals, subscription, cpus, at),
                expected,
                "{subscription} {cpus} at {at}"
            );
        }
        assert!(
            !refusals.refuses(1, 8, now, 3, &"cpus:1".parse().unwrap()),
            "revived since"
        );
        refusals.expire(1, Time::from_secs(5));
        assert_eq!(refusals.len(), 2);
        refusals.expire(1, Time::from_secs(10));
        assert_eq!(refusals.len(), 1);
    }

    #[test]
    fn what_is_covered_is_forgotten_and_the_number_is_bounded() {
        let mut refusals = Refusals::default();
        refusals.add(Time::EPOCH, 3, refusal(1, 4, 10, None));
        refusals.add(Time::EPOCH, 3, refusal(1, 8, 20, None));
        assert_eq!(refusals.len(), 1);
        for cpus in 1..8 {
            refusals.add(Time::EPOCH, 3, refusal(1, 8 - cpus, 20 + cpus, None));
        }
        assert_eq!(refusals.len(), REFUSALS_PER_SUBSCRIPTION_MAX);
        assert!(!refuse(&refusals, 1, 8, 0) && refuse(&refusals, 1, 1, 0));
    }
}
