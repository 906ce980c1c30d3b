//! When refusals are over: a calendar with pages of 10 ms.

use std::collections::BTreeMap;
use tepui_model::Time;

/// The length of a page: that much a refusal may last too long.
const PAGE_NANOS: i64 = 10_000_000;

/// A subscription's refusal on an agent is over; both may have gone in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) agent: u32,
    pub(super) subscription: u32,
}

/// Entries by page. Entries are never looked for and removed; when too many are void, the owner rebuilds the calendar.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    pages: BTreeMap<i64, Vec<Due>>,
    len: usize,
}

impl Wheel {
    /// Notes an entry.
    pub(super) fn add(&mut self, at: Time, due: Due) {
        let page = at
            .as_nanos()
            .saturating_add(PAGE_NANOS - 1)
            .div_euclid(PAGE_NANOS);
        self.pages.entry(page).or_default().push(due);
        self.len += 1;
    }

    /// How many entries there are, void ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The end of the first page with entries.
    pub(super) fn next(&self) -> Option<Time> {
        self.pages
            .keys()
            .next()
            .map(|page| Time::from_nanos(page.saturating_mul(PAGE_NANOS)))
    }

    /// Takes the first page if it is over.
    pub(super) fn pop(&mut self, now: Time) -> Option<Vec<Due>> {
        let page = self
            .pages
            .first_entry()
            .filter(|page| page.key().saturating_mul(PAGE_NANOS) <= now.as_nanos())?;
        let dues = page.remove();
        self.len -= dues.len();
        Some(dues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_the_last_entry_at_the_latest() {
        let mut wheel = Wheel::default();
        let due = |agent| Due {
            agent,
            subscription: 0,
        };
        for (at_nanos, agent) in [(1, 1), (10_000_000, 2), (10_000_001, 3)] {
            wheel.add(Time::from_nanos(at_nanos), due(agent));
        }
        assert_eq!(wheel.next(), Some(Time::from_millis(10)));
        assert_eq!(wheel.pop(Time::from_nanos(9_999_999)), None);
        assert_eq!(wheel.pop(Time::from_millis(10)), Some(vec![due(1), due(2)]));
        assert_eq!(
            (wheel.len(), wheel.next()),
            (1, Some(Time::from_millis(20)))
        );
        wheel.add(Time::MAX, due(4));
        assert_eq!(wheel.len(), 2);
    }
}
