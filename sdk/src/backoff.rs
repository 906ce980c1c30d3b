//! How long to wait before the next attempt: the first is immediate, the next ones double up to a limit, with jitter so that many clients
//! of one master do not come back in step. Pure but for the dice, which the caller throws.

use std::time::Duration;

/// Counts attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            limit,
            attempts: 0,
        }
    }

    /// The pause before the next attempt; `dice` is from 0 to 1 and picks between half of it and all of it.
    pub(crate) fn next(&mut self, dice: f64) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        match attempt {
            0 => Duration::ZERO,
            n => {
                let doubled = self
                    .first
                    .saturating_mul(1u32.checked_shl(n - 1).unwrap_or(u32::MAX))
                    .min(self.limit);
                doubled.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
            }
        }
    }

    /// It worked: the next attempt is a first one.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_limit_within_their_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let longest: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(longest, [0, 100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        let shortest: Vec<u128> = (0..4).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(shortest, [0, 50, 100, 200]);
        for _ in 0..100 {
            assert!(backoff.next(0.3) <= Duration::from_secs(1));
        }
    }
}
