//! Random messages for the tests: every field, every member of an enum, extreme numbers, odd strings. A seed makes a message.

use bytes::Bytes;

/// A message made from a source of randomness.
pub(crate) trait Random: Sized {
    fn random(source: &mut Source) -> Self;
}

impl<T: Random> Random for Box<T> {
    fn random(source: &mut Source) -> Self {
        Self::new(T::random(source))
    }
}

impl Random for prost_types::Duration {
    fn random(source: &mut Source) -> Self {
        Self {
            seconds: source.integer() as i64,
            nanos: source.integer() as i32,
        }
    }
}

/// The message of a seed.
pub(crate) fn message<M: Random>(seed: u64) -> M {
    M::random(&mut Source::new(seed))
}

/// Randomness, and a budget, so that messages stay small.
pub(crate) struct Source {
    state: u64,
    depth: u32,
    budget: u32,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            depth: 0,
            budget: 200,
        }
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Whether to set an optional field: less and less often further down.
    pub(crate) fn chance(&mut self) -> bool {
        let depth = self.depth as usize;
        self.budget > 0 && self.below(2 + depth) == 0
    }

    pub(crate) fn count(&mut self) -> usize {
        if self.chance() { 1 + self.below(2) } else { 0 }
    }

    pub(crate) fn message<M: Random>(&mut self) -> M {
        self.budget = self.budget.saturating_sub(1);
        self.depth += 1;
        let message = M::random(self);
        self.depth -= 1;
        message
    }

    pub(crate) fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(100) as u64,
            1 => [
                0,
                1,
                u64::MAX,
                i64::MAX as u64,
                i64::MIN as u64,
                u64::from(u32::MAX),
            ][self.below(6)],
            _ => self.next() >> self.below(64),
        }
    }

    pub(crate) fn double(&mut self) -> f64 {
        match self.below(4) {
            0 => self.below(100) as f64,
            1 => [
                0.0,
                -1.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MAX,
                5e-324,
                1e21,
                0.1,
            ][self.below(8)],
            2 => self.below(1_000_000) as f64 / 1000.0,
            _ => Some(f64::from_bits(self.next()))
                .filter(|value| !value.is_nan())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn text(&mut self) -> String {
        const CHARACTERS: [char; 16] = [
            'a',
            'b',
            'Z',
            '0',
            '-',
            '_',
            '.',
            '/',
            ' ',
            '"',
            '\\',
            '\n',
            '\u{1}',
            '\u{7f}',
            'é',
            '\u{1F600}',
        ];
        (0..self.below(12))
            .map(|_| CHARACTERS[self.below(CHARACTERS.len())])
            .collect()
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn pick(&mut self, numbers: &[i32]) -> i32 {
        numbers[self.below(numbers.len())]
    }
}

mod generated {
    //! One `impl Random` for each message.
    #![allow(clippy::all)]

    use super::{Random, Source};

    include!(concat!(env!("OUT_DIR"), "/random.rs"));
}
