//! Randomness that is its seed: splitmix64, so that a run is the same on every machine and with every version of every library.

use std::time::Duration;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x7465_7075_6921_7369)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        usize::try_from(self.next().checked_rem(end).unwrap_or(0)).unwrap_or(0)
    }

    pub(crate) fn percent(&mut self, chance: u32) -> bool {
        self.next() % 100 < u64::from(chance)
    }

    /// Between the two, in milliseconds. Short ones are likelier: faults of all sizes are met.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        let span = (to - from).max(1) * 1_000;
        let part = (self.next() % span) as u128 * (self.next() % span) as u128 / u128::from(span);
        Duration::from_micros(from * 1_000 + u64::try_from(part).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bounds_and_is_its_seed() {
        let (mut one, mut two) = (Random::new(1), Random::new(1));
        for _ in 0..1_000 {
            assert_eq!(one.next(), two.next());
            assert!(one.below(7) < 7 && two.below(7) < 7);
            let time = one.millis(3, 9);
            assert_eq!(time, two.millis(3, 9));
            assert!(time >= Duration::from_millis(3) && time <= Duration::from_millis(9));
        }
        assert_eq!(one.below(0), 0);
    }
}
