//! Durations as flags and environment variables spell them: `15secs`, `1.5hrs`.

use std::time::Duration;

/// The units, small to large, with their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("secs", 1_000_000_000),
    ("mins", 60 * 1_000_000_000),
    ("hrs", 3_600 * 1_000_000_000),
    ("days", 86_400 * 1_000_000_000),
    ("weeks", 7 * 86_400 * 1_000_000_000),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a duration: expected a number and one of ns, us, ms, secs, mins, hrs, days, weeks, such as 15secs"
)]
pub struct InvalidDuration {
    /// As given.
    pub text: String,
}

/// Reads a duration. Fractions are accepted, negative durations are not.
///
/// # Errors
///
/// When the text has another form, or is beyond 292 years.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration {
        text: text.chars().take(64).collect(),
    };
    let trimmed = text.trim();
    let unit_at = trimmed
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(invalid)?;
    let (number, unit) = trimmed.split_at(unit_at);
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(invalid)?;
    let nanoseconds = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(*unit).ok_or_else(invalid)?,
        Err(_) => {
            let fraction: f64 = number.parse().map_err(|_| invalid())?;
            // The cast saturates; what is out of range is caught below.
            (fraction.is_sign_positive() && fraction.is_finite())
                .then(|| (fraction * *unit as f64).round() as u64)
                .ok_or_else(invalid)?
        }
    };
    if i64::try_from(nanoseconds).is_err() {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Writes a duration in the largest unit that it fills, or in the next smaller one if it does not fill it a whole number of times:
/// `90secs`, `2mins`, `1500ms`.
pub fn format(duration: Duration) -> String {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let largest = UNITS
        .iter()
        .rposition(|(_, unit)| nanoseconds >= *unit)
        .unwrap_or(0);
    let whole = nanoseconds % UNITS[largest].1 == 0;
    let (name, unit) = UNITS[if whole {
        largest
    } else {
        largest.saturating_sub(1)
    }];
    if nanoseconds % unit == 0 {
        return format!("{}{name}", nanoseconds / unit);
    }
    // 15 digits in all, as a double holds them.
    let value = nanoseconds as f64 / unit as f64;
    let decimals = 15usize.saturating_sub((nanoseconds / unit).to_string().len());
    let text = format!("{value:.decimals$}");
    format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, nanoseconds, printed) in [
            ("0ns", 0, "0ns"),
            ("15secs", 15_000_000_000, "15secs"),
            ("90secs", 90_000_000_000, "90secs"),
            ("1.5mins", 90_000_000_000, "90secs"),
            ("2mins", 120_000_000_000, "2mins"),
            ("1500ms", 1_500_000_000, "1500ms"),
            ("3.14secs", 3_140_000_000, "3140ms"),
            ("1001us", 1_001_000, "1001us"),
            ("1us", 1_000, "1us"),
            ("10hrs", 36_000_000_000_000, "10hrs"),
            ("25hrs", 90_000_000_000_000, "25hrs"),
            ("10days", 864_000_000_000_000, "10days"),
            ("2weeks", 1_209_600_000_000_000, "2weeks"),
            (" 5 secs", 0, ""),
            ("1.0000001secs", 1_000_000_100, "1000.0001ms"),
        ] {
            match parse(text) {
                Ok(duration) => {
                    assert_eq!(duration.as_nanos(), nanoseconds, "{text}");
                    assert_eq!(format(duration), printed, "{text}");
                }
                Err(_) => assert_eq!(printed, "", "{text} should have been taken"),
            }
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "15",
            "secs",
            "15 s",
            "15sec",
            "-1secs",
            "nansecs",
            "infsecs",
            "1e30weeks",
            "400000days",
            "1secs2",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
