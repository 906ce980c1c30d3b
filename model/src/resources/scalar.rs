//! Amounts with three decimals, kept as whole thousandths so that sums are exact and order-free.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A number of cpus, megabytes or whatever the resource counts in, in thousandths. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scalar(i64);

/// The largest magnitude accepted from outside, in thousandths: beyond it doubles do not hold thousandths exactly.
const INPUT_MAX_THOUSANDTHS: f64 = 9_007_199_254_740_992.0;

impl Scalar {
    /// Nothing.
    pub const ZERO: Scalar = Scalar(0);

    /// So many thousandths.
    pub const fn from_thousandths(thousandths: i64) -> Scalar {
        Scalar(thousandths)
    }

    /// So many whole units.
    pub const fn whole(units: i64) -> Scalar {
        Scalar(units.saturating_mul(1000))
    }

    /// The nearest thousandth, halves away from zero. `None` for what is not a number, not finite or beyond 2^53 thousandths.
    pub fn from_f64(value: f64) -> Option<Scalar> {
        let thousandths = (value * 1000.0).round();
        (thousandths.abs() <= INPUT_MAX_THOUSANDTHS).then_some(Scalar(thousandths as i64))
    }

    /// The amount in thousandths.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The amount as the double that goes on the wire.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whether the amount has no decimals.
    pub const fn is_integral(self) -> bool {
        self.0 % 1000 == 0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Add for Scalar {
    type Output = Scalar;
    fn add(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Scalar {
    fn add_assign(&mut self, other: Scalar) {
        *self = *self + other;
    }
}

impl Sub for Scalar {
    type Output = Scalar;
    fn sub(self, other: Scalar) -> Scalar {
        Scalar(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Scalar {
    fn sub_assign(&mut self, other: Scalar) {
        *self = *self - other;
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        match rest {
            0 => write!(f, "{sign}{whole}"),
            _ if rest % 100 == 0 => write!(f, "{sign}{whole}.{}", rest / 100),
            _ if rest % 10 == 0 => write!(f, "{sign}{whole}.{:02}", rest / 10),
            _ => write!(f, "{sign}{whole}.{rest:03}"),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_like_mesos_and_prints_no_needless_zero() {
        for (value, thousandths, text) in [
            (1.0, 1000, "1"),
            (0.1, 100, "0.1"),
            (0.25, 250, "0.25"),
            (0.0004, 0, "0"),
            (0.0005, 1, "0.001"),
            (1.9999, 2000, "2"),
            (-0.5, -500, "-0.5"),
            (12.345, 12_345, "12.345"),
        ] {
            let scalar = Scalar::from_f64(value).unwrap();
            assert_eq!(
                (scalar.thousandths(), scalar.to_string().as_str()),
                (thousandths, text),
                "{value}"
            );
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(Scalar::from_f64(bad), None, "{bad}");
        }
        let tenth = Scalar::from_f64(0.1).unwrap();
        assert_eq!(
            (0..10).fold(Scalar::ZERO, |sum, _| sum + tenth),
            Scalar::whole(1)
        );
    }
}
