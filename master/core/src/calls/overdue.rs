//! Offers that are older than `--offer_timeout`: a framework that sits on them must not starve others, and one that thinks long must not be
//! disturbed for nothing. So an overdue offer is taken back only if another framework would be offered what is in it.
//!
//! Each offer is looked at once when it becomes overdue, and, if nobody wants it then, once in each further time-out. A framework that
//! begins to want offers has all unwanted ones looked at for itself alone. No look goes over offers that are not due.

use std::collections::VecDeque;

use tepui_model::Time;

use crate::change::OfferKey;
use crate::master::{Master, Timer};
use crate::output::Output;
use crate::state::FrameworkIx;

/// So many offers are looked at in one step at most; each may mean to ask every framework.
const LOOKS_PER_STEP: usize = 64;

/// Which offers were looked at.
#[derive(Debug, Default)]
pub(crate) struct OfferLooks {
    /// Offers from here on were not looked at yet. Keys rise with time.
    next: u64,
    /// Overdue and not wanted by anybody: when to look again; times rise. Some may have ended.
    unwanted: VecDeque<(Time, OfferKey)>,
}

impl Master {
    /// The time of [`Timer::OfferTimeout`] has come.
    pub(crate) fn offers_timed_out(&mut self, out: &mut Vec<Output>) {
        let Some(timeout) = self.config.offer_timeout else {
            return;
        };
        let mut due: Vec<OfferKey> = Vec::new();
        while due.len() < LOOKS_PER_STEP
            && let Some((at, key)) = self.offer_looks.unwanted.front().copied()
            && (at <= self.now || !self.offers.contains_key(&key))
        {
            self.offer_looks.unwanted.pop_front();
            if self.offers.contains_key(&key) {
                due.push(key);
            }
        }
        let new = self
            .offers
            .range(OfferKey(self.offer_looks.next)..)
            .take(LOOKS_PER_STEP - due.len())
            .take_while(|(_, offer)| offer.made_at + timeout <= self.now)
            .map(|(key, _)| *key);
        due.extend(new);
        for key in due {
            self.offer_looks.next = self.offer_looks.next.max(key.0 + 1);
            if self.is_wanted_by_others(key) {
                self.take_back(key, true, out);
            } else {
                self.offer_looks
                    .unwanted
                    .push_back((self.now + timeout, key));
            }
        }
        let unseen = self.offers.range(OfferKey(self.offer_looks.next)..).next();
        let first = unseen.map(|(_, offer)| offer.made_at + timeout);
        let again = self.offer_looks.unwanted.front().map(|(at, _)| *at);
        if let Some(next) = first.into_iter().chain(again).min() {
            self.timers.set_earlier(Timer::OfferTimeout, next);
        }
    }

    /// A framework has begun to want offers: those that others have held for too long may go to it.
    pub(crate) fn offers_wanted(&mut self, framework: FrameworkIx, out: &mut Vec<Output>) {
        let wanted: Vec<OfferKey> = self
            .offer_looks
            .unwanted
            .iter()
            .map(|(_, key)| *key)
            .filter(|key| self.is_wanted_by(*key, framework))
            .collect();
        for key in wanted {
            self.take_back(key, true, out);
        }
    }
}
