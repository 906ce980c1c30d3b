//! Ids that the core makes: deterministic for a seed, different for different seeds.

use std::fmt::Write;

/// Makes UUIDs from a seed and a counter.
#[derive(Debug)]
pub(crate) struct IdGenerator {
    seed: u128,
    next: u64,
}

impl IdGenerator {
    pub(crate) const fn new(seed: u128) -> Self {
        Self { seed, next: 0 }
    }

    /// The next UUID, in text form (version 4).
    pub(crate) fn uuid(&mut self) -> String {
        let low = u64::try_from(self.seed & u128::from(u64::MAX)).unwrap_or_default();
        let high = u64::try_from(self.seed >> 64).unwrap_or_default();
        // The counter enters one half by a bijection, so ids of one seed differ; the seed enters both, so ids of two seeds differ too.
        let first = mix(mix(self.next ^ low).wrapping_add(high)) & !0xf000 | 0x4000;
        let second =
            mix(mix(self.next.wrapping_add(high)) ^ low.rotate_left(32)) & !(3 << 62) | 1 << 63;
        self.next += 1;
        let mut text = String::with_capacity(36);
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            first >> 32,
            first >> 16 & 0xffff,
            first & 0xffff,
            second >> 48,
            second & 0xffff_ffff_ffff
        );
        text
    }

    /// A number that is spread evenly, for choices that need no secrecy.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        mix(self.next ^ u64::try_from(self.seed & u128::from(u64::MAX)).unwrap_or_default())
    }
}

/// A bijection of 64 bits in which every input bit moves every output bit (the finaliser of splitmix64).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_differ_within_and_between_seeds_and_repeat_for_one() {
        let mut seen = BTreeSet::new();
        for seed in [0, 1, 2, 1 << 64, u128::MAX] {
            let mut ids = IdGenerator::new(seed);
            for _ in 0..1000 {
                let id = ids.uuid();
                assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
                assert!(seen.insert(id));
            }
        }
        assert_eq!(IdGenerator::new(7).uuid(), IdGenerator::new(7).uuid());
    }
}
