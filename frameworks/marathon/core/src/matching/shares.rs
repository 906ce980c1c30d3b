//! GROUP_BY with a number `k`: instances are shared out over at most `k` values.
//!
//! Each value may have `instances div k`, and `instances mod k` of them one more. Wanted: when all are placed, at most `k` values are used and no
//! two differ by more than one; and while not all are placed there is always a value that takes one more: one that has not got its share, or
//! another one while there are fewer than `k`. (If all of `k` values had their share, `instances div k` each and the rest beyond, all
//! instances would be placed.) Whether agents of that value have room is another matter: that is waited for, and told.

use std::{collections::BTreeMap, sync::Arc};

/// So many values are told by name.
const MAX_TOLD: usize = 5;

/// How instances are shared out, and what is placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares<'a> {
    instances: u32,
    groups: u32,
    per: u32,
    /// So many values may still get one beyond their share.
    spare: u64,
    placed: &'a BTreeMap<Arc<str>, u32>,
}

/// Why a value takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has its share.
    Full,
    /// It would be one too many.
    TooMany,
}

impl<'a> Shares<'a> {
    /// `groups` is above 0; `by_count` tells how many values have a certain number of instances.
    pub(crate) fn new(
        instances: u32,
        groups: u32,
        placed: &'a BTreeMap<Arc<str>, u32>,
        by_count: &BTreeMap<u32, u32>,
    ) -> Self {
        let groups = groups.max(1);
        let per = instances / groups;
        let beyond = by_count
            .iter()
            .map(|(count, values)| u64::from(count.saturating_sub(per)) * u64::from(*values));
        let spare = u64::from(instances % groups).saturating_sub(beyond.sum());
        Self {
            instances,
            groups,
            per,
            spare,
            placed,
        }
    }

    /// Why a value with so many instances takes no more, if it does not.
    pub(crate) fn admits(&self, here: u32) -> Option<Refusal> {
        if here == 0 {
            return (self.placed.len() >= self.groups as usize).then_some(Refusal::TooMany);
        }
        let takes = here < self.per || here == self.per && self.spare > 0;
        (!takes).then_some(Refusal::Full)
    }

    /// Why that value takes no more.
    pub(crate) fn refusal(&self, value: &str) -> Option<Refusal> {
        self.admits(self.placed.get(value).copied().unwrap_or(0))
    }

    /// In a sentence for people: what belongs where, what is there, and on which values room is waited for.
    pub(crate) fn told(&self) -> String {
        let Self {
            instances,
            groups,
            per,
            ..
        } = self;
        let each = match (per, instances % groups) {
            (0, _) => "at most 1".to_owned(),
            (per, 0) => per.to_string(),
            (per, _) => format!("{per} or {}", per + 1),
        };
        let of = if *instances == 1 {
            "instance"
        } else {
            "instances"
        };
        let values = if *groups == 1 { "value" } else { "values" };
        let there = self
            .placed
            .iter()
            .map(|(value, count)| format!("{value} has {count}"));
        let there = listed(there.collect());
        let there = if there.is_empty() {
            "none is placed".to_owned()
        } else {
            there
        };
        let open = (self.placed.iter()).filter(|(_, count)| self.admits(**count).is_none());
        let mut open: Vec<String> = open.map(|(value, _)| value.to_string()).collect();
        let more = self.placed.len() < self.groups as usize;
        let another = if self.placed.is_empty() {
            "a value"
        } else {
            "another value"
        };
        if more && open.len() < MAX_TOLD {
            open.push(another.to_owned());
        }
        let open = listed(open);
        format!(
            "shares {instances} {of} out over at most {groups} {values}, {each} on each: {there}; waits for room on {open}"
        )
    }
}

/// The first of them, and how many more there are.
fn listed(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(MAX_TOLD);
    all.truncate(MAX_TOLD);
    if more > 0 {
        all.push(format!("{more} more"));
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(counts: &[u32]) -> (BTreeMap<Arc<str>, u32>, BTreeMap<u32, u32>) {
        let there = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let by_value: BTreeMap<Arc<str>, u32> = there
            .map(|(at, count)| (format!("r{at}").into(), *count))
            .collect();
        let mut by_count = BTreeMap::new();
        for count in by_value.values() {
            *by_count.entry(*count).or_default() += 1;
        }
        (by_value, by_count)
    }

    #[test]
    fn a_sentence_says_what_belongs_where_and_what_is_waited_for() {
        for (instances, groups, placed, want) in [
            (
                6,
                3,
                &[2, 2][..],
                "shares 6 instances out over at most 3 values, 2 on each: r0 has 2, r1 has 2; waits for room on another value",
            ),
            (
                7,
                3,
                &[3, 2, 1],
                "shares 7 instances out over at most 3 values, 2 or 3 on each: r0 has 3, r1 has 2, r2 has 1; waits for room on r2",
            ),
            (
                2,
                3,
                &[],
                "shares 2 instances out over at most 3 values, at most 1 on each: none is placed; waits for room on a value",
            ),
            (
                1,
                1,
                &[],
                "shares 1 instance out over at most 1 value, 1 on each: none is placed; waits for room on a value",
            ),
            (
                14,
                7,
                &[2, 2, 2, 2, 2, 1, 1],
                "shares 14 instances out over at most 7 values, 2 on each: r0 has 2, r1 has 2, r2 has 2, r3 has 2, r4 has 2, 2 more; waits for room on r5, r6",
            ),
        ] {
            let (by_value, by_count) = counts(placed);
            let shares = Shares::new(instances, groups, &by_value, &by_count);
            assert_eq!(shares.told(), want);
        }
    }

    proptest! {
        /// Whatever is placed already, and however: while something is missing a value takes one more, and what is placed by the rule
        /// alone ends even.
        #[test]
        fn a_value_always_takes_one_more_and_in_the_end_all_are_even(
            instances in 1..40u32,
            groups in 1..8u32,
            before in prop::collection::vec(0..6u32, 0..10),
            choices in prop::collection::vec(any::<usize>(), 40),
        ) {
            let placed_before: u32 = before.iter().sum();
            let clean = placed_before == 0;
            let mut here = before;
            here.resize(12, 0);
            for choice in choices.iter().take(instances.saturating_sub(placed_before) as usize) {
                let (by_value, by_count) = counts(&here);
                let shares = Shares::new(instances, groups, &by_value, &by_count);
                let open: Vec<usize> = (0..here.len()).filter(|at| shares.admits(here[*at]).is_none()).collect();
                prop_assert!(!open.is_empty(), "{instances} over {groups}: {here:?}");
                here[open[choice % open.len()]] += 1;
            }
            if clean {
                let used: Vec<u32> = here.into_iter().filter(|count| *count > 0).collect();
                prop_assert!(used.len() <= groups as usize, "{used:?}");
                let (least, most) = (used.iter().min(), used.iter().max());
                prop_assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1), "{used:?}");
                prop_assert_eq!(used.len(), groups.min(instances) as usize);
            }
        }
    }
}
