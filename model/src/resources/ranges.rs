//! Sets of whole numbers kept as sorted, disjoint, non-adjacent inclusive ranges: ports.

use smallvec::SmallVec;
use std::fmt;

/// `begin..=end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The first number.
    pub begin: u64,
    /// The last number, not less than `begin`.
    pub end: u64,
}

/// Why ranges from outside are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// A range that ends before it begins.
    #[error("invalid range: begin {0} is greater than end {1}")]
    Backwards(u64, u64),
    /// Two ranges that share a number.
    #[error("overlapping ranges: both contain {0}")]
    Overlapping(u64),
}

/// A set of numbers. One range, the usual case, costs no allocation.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Ranges(SmallVec<[Range; 1]>);

impl Ranges {
    /// The empty set.
    pub fn new() -> Ranges {
        Ranges::default()
    }

    /// All numbers from `begin` to `end`, both included.
    pub fn from_to(begin: u64, end: u64) -> Result<Ranges, RangesError> {
        Ranges::from_pairs([(begin, end)])
    }

    /// Sorts and merges (begin, end) pairs from outside; they may touch but not overlap.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Ranges, RangesError> {
        let mut sorted: SmallVec<[Range; 1]> = SmallVec::new();
        for (begin, end) in pairs {
            if begin > end {
                return Err(RangesError::Backwards(begin, end));
            }
            sorted.push(Range { begin, end });
        }
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[1].begin <= pair[0].end) {
            return Err(RangesError::Overlapping(pair[1].begin));
        }
        Ok(Ranges::merged(sorted))
    }

    /// Merges ranges sorted by `begin` that may overlap or touch.
    fn merged(sorted: impl IntoIterator<Item = Range>) -> Ranges {
        let mut out: SmallVec<[Range; 1]> = SmallVec::new();
        for range in sorted {
            match out.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => {
                    last.end = last.end.max(range.end)
                }
                _ => out.push(range),
            }
        }
        Ranges(out)
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// Every number in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.begin..=range.end)
    }

    /// How many numbers there are; saturates at `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, range| {
            sum.saturating_add((range.end - range.begin).saturating_add(1))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `number` is in the set.
    pub fn has(&self, number: u64) -> bool {
        let next = self.0.partition_point(|range| range.begin <= number);
        next > 0 && self.0[next - 1].end >= number
    }

    /// Whether every number of `other` is in `self`.
    pub fn contains(&self, other: &Ranges) -> bool {
        let mut ours = self.0.iter().peekable();
        other.0.iter().all(|theirs| {
            while ours.next_if(|range| range.end < theirs.begin).is_some() {}
            ours.peek()
                .is_some_and(|range| range.begin <= theirs.begin && theirs.end <= range.end)
        })
    }

    /// Adds the numbers of `other`.
    pub fn union_with(&mut self, other: &Ranges) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut all: SmallVec<[Range; 4]> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        *self = Ranges::merged(all);
    }

    /// Takes the numbers of `other` out.
    pub fn subtract(&mut self, other: &Ranges) {
        if self.is_empty() || other.is_empty() {
            return;
        }
        if self.0 == other.0 {
            self.0.clear();
            return;
        }
        let mut out: SmallVec<[Range; 1]> = SmallVec::new();
        let mut first = 0;
        for range in &self.0 {
            let mut begin = Some(range.begin);
            while first < other.0.len() && other.0[first].end < range.begin {
                first += 1;
            }
            for hole in other.0[first..]
                .iter()
                .take_while(|hole| hole.begin <= range.end)
            {
                let Some(from) = begin else { break };
                if hole.begin > from {
                    out.push(Range {
                        begin: from,
                        end: hole.begin - 1,
                    });
                }
                begin = (hole.end < range.end).then(|| (hole.end + 1).max(from));
            }
            if let Some(begin) = begin {
                out.push(Range {
                    begin,
                    end: range.end,
                });
            }
        }
        self.0 = out;
    }

    /// The numbers that are in both.
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut out: SmallVec<[Range; 1]> = SmallVec::new();
        let (mut left, mut right) = (0, 0);
        while left < self.0.len() && right < other.0.len() {
            let (a, b) = (self.0[left], other.0[right]);
            let (begin, end) = (a.begin.max(b.begin), a.end.min(b.end));
            if begin <= end {
                out.push(Range { begin, end });
            }
            if a.end < b.end { left += 1 } else { right += 1 }
        }
        Ranges(out)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, range) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            write!(f, "{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn from_numbers(numbers: &BTreeSet<u64>) -> Ranges {
        Ranges::from_pairs(numbers.iter().map(|n| (*n, *n))).unwrap()
    }

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.numbers().collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets(
            a in prop::collection::btree_set(0u64..40, 0..30),
            b in prop::collection::btree_set(0u64..40, 0..30),
        ) {
            let (x, y) = (from_numbers(&a), from_numbers(&b));
            prop_assert_eq!(numbers(&x), a.clone());
            prop_assert_eq!(x.count(), a.len() as u64);
            prop_assert_eq!(x.contains(&y), a.is_superset(&b));
            let mut union = x.clone();
            union.union_with(&y);
            prop_assert_eq!(&union, &from_numbers(&(&a | &b)));
            let mut rest = x.clone();
            rest.subtract(&y);
            prop_assert_eq!(&rest, &from_numbers(&(&a - &b)));
            prop_assert_eq!(x.intersection(&y), from_numbers(&(&a & &b)));
            prop_assert!((0..40).all(|n| x.has(n) == a.contains(&n)));
        }
    }

    #[test]
    fn input_is_checked_and_the_ends_of_u64_hold() {
        assert_eq!(Ranges::from_to(2, 1), Err(RangesError::Backwards(2, 1)));
        assert_eq!(
            Ranges::from_pairs([(1, 5), (5, 6)]),
            Err(RangesError::Overlapping(5))
        );
        assert_eq!(
            Ranges::from_pairs([(6, 9), (1, 5)]).unwrap().to_string(),
            "[1-9]"
        );
        let mut all = Ranges::from_to(0, u64::MAX).unwrap();
        assert_eq!(all.count(), u64::MAX);
        all.union_with(&Ranges::from_to(7, u64::MAX).unwrap());
        all.subtract(&Ranges::from_pairs([(0, 0), (9, u64::MAX)]).unwrap());
        assert_eq!(all.to_string(), "[1-8]");
    }
}
