//! An instant, as the shells hand it to the cores.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the epoch. Cores never read a clock: a `Time` always comes in with the input.
///
/// Arithmetic saturates at both ends, so that a far deadline (for example "never" as a very long duration) stays a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// The epoch, 1970-01-01T00:00:00Z.
    pub const EPOCH: Time = Time(0);
    /// Later than every other time.
    pub const MAX: Time = Time(i64::MAX);

    /// The instant `nanoseconds` after the epoch.
    pub const fn from_nanos(nanoseconds: i64) -> Time {
        Time(nanoseconds)
    }

    /// The instant `milliseconds` after the epoch.
    pub const fn from_millis(milliseconds: i64) -> Time {
        Time(milliseconds.saturating_mul(1_000_000))
    }

    /// The instant `seconds` after the epoch.
    pub const fn from_secs(seconds: i64) -> Time {
        Time(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Seconds since the epoch as Mesos writes them in events. Loses precision below about 200 ns.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How much later `self` is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;
    /// The same as [`Time::since`].
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.as_secs(),
            self.0.rem_euclid(1_000_000_000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_never_goes_negative() {
        let t = Time::from_secs(10);
        assert_eq!(t + Duration::from_millis(1500), Time::from_millis(11_500));
        assert_eq!(t - Duration::from_secs(4), Time::from_secs(6));
        assert_eq!(Time::MAX + Duration::MAX, Time::MAX);
        assert_eq!(t.since(Time::from_secs(3)), Duration::from_secs(7));
        assert_eq!(Time::from_secs(3) - t, Duration::ZERO);
        assert_eq!(
            Time::from_nanos(i64::MIN) - Duration::MAX,
            Time::from_nanos(i64::MIN)
        );
    }

    #[test]
    fn units_round_down_also_before_the_epoch() {
        assert_eq!(Time::from_nanos(1_999_999_999).as_secs(), 1);
        assert_eq!(Time::from_nanos(-1).as_secs(), -1);
        assert_eq!(Time::from_nanos(-1).as_millis(), -1);
        assert_eq!(format!("{:?}", Time::from_millis(1500)), "1.500000000s");
        assert_eq!(format!("{:?}", Time::from_millis(-500)), "-1.500000000s");
    }
}
