//! Marathon's timestamps: UTC, exactly three digits of milliseconds, `Z`. A version of an app is such a timestamp.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tepui_model::Time;

/// A moment in whole milliseconds since the epoch, written `2015-04-02T09:37:00.590Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MS_PER_DAY: i64 = 86_400_000;

/// Why a text is not a timestamp; the sentence is what clients of Marathon see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid timestamp provided '{0}'. Expecting ISO-8601 datetime string.")]
pub struct InvalidTimestamp(pub String);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The millisecond that `time` lies in.
    #[must_use]
    pub fn from_time(time: Time) -> Self {
        Self(time.as_millis())
    }

    /// Reads any ISO-8601 date-time with an offset.
    ///
    /// # Errors
    /// If the text is not such a date-time.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        parse(text)
            .map(Self)
            .ok_or_else(|| InvalidTimestamp(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(MS_PER_DAY));
        let ms = self.0.rem_euclid(MS_PER_DAY);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            ms % 1000
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Days since 1970-01-01 to (year, month, day) of the Gregorian calendar, counted in eras of 400 years that begin in March.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn parse(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let month = after(&mut rest, b'-').and_then(|()| digits(&mut rest, 2))?;
    let day = after(&mut rest, b'-').and_then(|()| digits(&mut rest, 2))?;
    after(&mut rest, b'T')?;
    let hour = digits(&mut rest, 2)?;
    let minute = after(&mut rest, b':').and_then(|()| digits(&mut rest, 2))?;
    let mut second = 0;
    let mut ms = 0;
    if after(&mut rest, b':').is_some() {
        second = digits(&mut rest, 2)?;
        if after(&mut rest, b'.').is_some() {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            for at in 0..3 {
                let digit = if at < length {
                    i64::from(rest.get(at)? - b'0')
                } else {
                    0
                };
                ms = ms * 10 + digit;
            }
            rest = rest.get(length..)?;
        }
    }
    let offset_minutes = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), tail @ ..] => {
            let mut tail = tail;
            let hours = digits(&mut tail, 2)?;
            let _ = after(&mut tail, b':');
            let minutes = if tail.is_empty() {
                0
            } else {
                digits(&mut tail, 2)?
            };
            if !tail.is_empty() || hours > 18 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let days_in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let minutes = hour * 60 + minute - offset_minutes;
    Some(days_from_civil(year, month, day) * MS_PER_DAY + minutes * 60_000 + second * 1000 + ms)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    let mut value = 0;
    for byte in head {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    *rest = tail;
    Some(value)
}

fn after(rest: &mut &[u8], byte: u8) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    (*first == byte).then(|| *rest = tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_writes_utc_with_milliseconds() {
        for (text, want) in [
            ("2015-04-02T09:37:00.590Z", "2015-04-02T09:37:00.590Z"),
            ("2015-04-02T09:37:00Z", "2015-04-02T09:37:00.000Z"),
            ("2015-04-02T09:37:00.5+02:00", "2015-04-02T07:37:00.500Z"),
            (
                "2016-02-29T23:59:59.123456789-0030",
                "2016-03-01T00:29:59.123Z",
            ),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("2000-01-01T00:00Z", "2000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(text).expect(text).to_string(), want);
        }
        for text in [
            "",
            "x",
            "2015-04-02",
            "2015-04-02T09:37:00",
            "2015-13-02T09:37:00Z",
            "2015-02-29T09:37:00Z",
            "2015-04-02T24:00:00Z",
            "2015-04-02T09:37:00.Z",
        ] {
            assert_eq!(
                Timestamp::parse(text),
                Err(InvalidTimestamp(text.to_owned())),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(ms in -30_000_000_000_000i64..200_000_000_000_000) {
            let at = Timestamp::from_millis(ms);
            proptest::prop_assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        }
    }
}
