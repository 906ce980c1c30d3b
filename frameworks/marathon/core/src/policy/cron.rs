//! Cron expressions of five fields: minute, hour, day of the month, month, day of the week.
//!
//! Wanted: what crontab(5) means by them, at a fixed offset from UTC, so no time comes twice or never. A field is `*`, numbers, ranges
//! (`1-5`), steps (`*/15`, `8-18/2`, `3/10`) and lists of these; months and days have their English names of three letters too, Sunday is 0
//! and 7. Where both kinds of day are restricted, either does. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and
//! `@annually` stand for their expressions. The crates that do this bring a date library that reads the clock; the calendar is in
//! `timestamp` anyhow.

use crate::timestamp::{Timestamp, civil_from_days};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
pub(super) const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A day that exists comes within so many years, also the 29th of February around 2100.
const MAX_YEARS: i64 = 9;
/// Longer expressions are refused, in bytes.
const MAX_LENGTH: usize = 256;
pub(super) const MS_PER_MINUTE: i64 = 60_000;
pub(super) const MINUTES_PER_DAY: i64 = 24 * 60;

/// When something is done again and again. Sets are kept as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    month_days: u64,
    months: u64,
    week_days: u64,
    /// Both kinds of day are restricted: either will do.
    either_day: bool,
    offset_minutes: i64,
}

impl Cron {
    /// Reads an expression; its times are `offset_minutes` ahead of UTC.
    pub(crate) fn parse(text: &str, offset_minutes: i64) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("must have at most {MAX_LENGTH} bytes"));
        }
        let text = match text.trim().to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *".to_owned(),
            "@daily" | "@midnight" => "0 0 * * *".to_owned(),
            "@weekly" => "0 0 * * 0".to_owned(),
            "@monthly" => "0 0 1 * *".to_owned(),
            "@yearly" | "@annually" => "0 0 1 1 *".to_owned(),
            text => text.to_owned(),
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, month_day, month, week_day] = fields[..] else {
            return Err(format!(
                "must have five fields (minute, hour, day of the month, month, day of the week), has {}",
                fields.len()
            ));
        };
        let week_days = set("day of the week", week_day, 0..=7, &DAYS, 0)?;
        let cron = Self {
            minutes: set("minute", minute, 0..=59, &[], 0)?,
            hours: set("hour", hour, 0..=23, &[], 0)?,
            month_days: set("day of the month", month_day, 1..=31, &[], 0)?,
            months: set("month", month, 1..=12, &MONTHS, 1)?,
            week_days: (week_days | week_days >> 7) & 0x7f,
            either_day: !month_day.starts_with('*') && !week_day.starts_with('*'),
            offset_minutes,
        };
        if cron.after(Timestamp::from_millis(0)).is_none() {
            return Err("names a day that does not exist".to_owned());
        }
        Ok(cron)
    }

    /// The first of its times that is later than `moment`.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let (day, minute) = self.local(moment);
        (day..=day + MAX_YEARS * 366).find_map(|at| {
            let first = if at == day { minute + 1 } else { 0 };
            let minute = self.minutes_of(at)?.find(|one| *one >= first)?;
            Some(self.moment(at, minute))
        })
    }

    /// The last of its times that is not later than `moment`.
    pub(crate) fn until(&self, moment: Timestamp) -> Option<Timestamp> {
        let (day, minute) = self.local(moment);
        (day - MAX_YEARS * 366..=day).rev().find_map(|at| {
            let last = if at == day { minute } else { MINUTES_PER_DAY };
            let minute = self.minutes_of(at)?.rfind(|one| *one <= last)?;
            Some(self.moment(at, minute))
        })
    }

    /// Day since the epoch and minute of the day, where its clock hangs.
    fn local(&self, moment: Timestamp) -> (i64, i64) {
        let minutes = moment.millis().div_euclid(MS_PER_MINUTE) + self.offset_minutes;
        (
            minutes.div_euclid(MINUTES_PER_DAY),
            minutes.rem_euclid(MINUTES_PER_DAY),
        )
    }

    fn moment(&self, day: i64, minute: i64) -> Timestamp {
        let minutes = day * MINUTES_PER_DAY + minute - self.offset_minutes;
        Timestamp::from_millis(minutes * MS_PER_MINUTE)
    }

    /// Its minutes of a day, rising; none if it leaves the day out.
    fn minutes_of(&self, day: i64) -> Option<impl DoubleEndedIterator<Item = i64> + use<>> {
        let (_, month, month_day) = civil_from_days(day);
        let by_month = has(self.month_days, month_day);
        let by_week = has(self.week_days, week_day(day));
        let suits = if self.either_day {
            by_month || by_week
        } else {
            by_month && by_week
        };
        let (hours, minutes) = (self.hours, self.minutes);
        let hours = (0..24).filter(move |hour| has(hours, *hour));
        let all = hours.flat_map(move |hour| {
            let minutes = (0..60).filter(move |minute| has(minutes, *minute));
            minutes.map(move |minute| hour * 60 + minute)
        });
        (suits && has(self.months, month)).then_some(all)
    }
}

/// 0 is Sunday; the epoch was a Thursday.
pub(super) const fn week_day(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

fn has(set: u64, number: i64) -> bool {
    set >> number & 1 == 1
}

/// The set of numbers that a field stands for; `names` begin at `first_name`.
fn set(
    field: &str,
    text: &str,
    range: std::ops::RangeInclusive<u32>,
    names: &[&str],
    first_name: u32,
) -> Result<u64, String> {
    let (low, high) = (*range.start(), *range.end());
    let wrong = |part: &str| {
        format!("{field}: `{part}` is no number from {low} to {high}, range, step or list of these")
    };
    let number = |part: &str, whole: &str| {
        let named = names
            .iter()
            .zip(first_name..)
            .find(|(name, _)| **name == part);
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = match named {
            Some((_, number)) => Some(number),
            None if digits => part.parse().ok(),
            None => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| wrong(whole))
    };
    let mut found = 0;
    for part in text.split(',') {
        let (base, step) = match part.split_once('/') {
            Some((base, step)) => {
                let digits = step.bytes().all(|byte| byte.is_ascii_digit());
                let step = step.parse::<u32>().ok().filter(|step| digits && *step > 0);
                (base, Some(step.ok_or_else(|| wrong(part))?))
            }
            None => (part, None),
        };
        let (from, to) = match base.split_once('-') {
            Some((from, to)) => (number(from, part)?, number(to, part)?),
            None if base == "*" => (low, high),
            None => {
                let from = number(base, part)?;
                (from, if step.is_some() { high } else { from })
            }
        };
        if from > to {
            return Err(format!("{field}: `{part}` ends before it begins"));
        }
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        for number in (from..=to).step_by(step) {
            found |= 1 << number;
        }
    }
    Ok(found)
}

/// Minutes that a clock with this offset is ahead of UTC: `+02:00`, `-05:30`, `Z`.
pub(crate) fn offset(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no offset from UTC such as +02:00, -05:30 or Z");
    let bytes = text.as_bytes();
    let digits = |from: usize| -> Result<i64, String> {
        let two = text
            .get(from..from + 2)
            .filter(|two| two.bytes().all(|one| one.is_ascii_digit()));
        two.and_then(|two| two.parse().ok()).ok_or_else(wrong)
    };
    match bytes {
        b"Z" | b"z" => Ok(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(1)?, digits(4)?);
            if hours > 18 || minutes > 59 {
                return Err(wrong());
            }
            let ahead = hours * 60 + minutes;
            Ok(if *sign == b'-' { -ahead } else { ahead })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a timestamp")
    }

    #[test]
    fn the_times_of_an_expression() {
        // 2026-01-01 is a Thursday.
        for (text, offset, from, next, last) in [
            (
                "* * * * *",
                0,
                "2026-01-01T10:00:30Z",
                "2026-01-01T10:01:00Z",
                "2026-01-01T10:00:00Z",
            ),
            (
                "*/15 * * * *",
                0,
                "2026-01-01T10:00:00Z",
                "2026-01-01T10:15:00Z",
                "2026-01-01T10:00:00Z",
            ),
            (
                "0 3 * * *",
                0,
                "2026-01-01T03:00:00Z",
                "2026-01-02T03:00:00Z",
                "2026-01-01T03:00:00Z",
            ),
            (
                "0 3 * * *",
                0,
                "2026-01-01T02:59:59Z",
                "2026-01-01T03:00:00Z",
                "2025-12-31T03:00:00Z",
            ),
            // Half past three in the night of Kolkata is ten in the evening before.
            (
                "30 3 * * *",
                330,
                "2026-01-01T12:00:00Z",
                "2026-01-01T22:00:00Z",
                "2025-12-31T22:00:00Z",
            ),
            (
                "0 22 * * *",
                -300,
                "2026-01-01T12:00:00Z",
                "2026-01-02T03:00:00Z",
                "2026-01-01T03:00:00Z",
            ),
            (
                "5-10/2,40 8-18/5 * * *",
                0,
                "2026-01-01T08:09:00Z",
                "2026-01-01T08:40:00Z",
                "2026-01-01T08:09:00Z",
            ),
            (
                "50/5 0 * * *",
                0,
                "2026-01-01T00:50:00Z",
                "2026-01-01T00:55:00Z",
                "2026-01-01T00:50:00Z",
            ),
            (
                "0 0 * * 7",
                0,
                "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z",
                "2025-12-28T00:00:00Z",
            ),
            (
                "0 0 * * MON-FRI",
                0,
                "2026-01-02T00:00:00Z",
                "2026-01-05T00:00:00Z",
                "2026-01-02T00:00:00Z",
            ),
            (
                "0 0 31 * *",
                0,
                "2026-01-31T00:00:00Z",
                "2026-03-31T00:00:00Z",
                "2026-01-31T00:00:00Z",
            ),
            (
                "0 0 * feb,dec *",
                0,
                "2026-02-28T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "2026-02-28T00:00:00Z",
            ),
            // Either kind of day, if both are restricted.
            (
                "0 0 10 * fri",
                0,
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
                "2025-12-26T00:00:00Z",
            ),
            (
                "0 0 10 * fri",
                0,
                "2026-01-09T00:00:00Z",
                "2026-01-10T00:00:00Z",
                "2026-01-09T00:00:00Z",
            ),
            (
                "0 0 10 * *",
                0,
                "2026-01-02T00:00:00Z",
                "2026-01-10T00:00:00Z",
                "2025-12-10T00:00:00Z",
            ),
            (
                "0 0 29 2 *",
                0,
                "2096-03-01T00:00:00Z",
                "2104-02-29T00:00:00Z",
                "2096-02-29T00:00:00Z",
            ),
            (
                "@weekly",
                0,
                "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z",
                "2025-12-28T00:00:00Z",
            ),
            (
                "@yearly",
                0,
                "2026-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ),
            (
                "@Hourly",
                30,
                "2026-01-01T10:00:00Z",
                "2026-01-01T10:30:00Z",
                "2026-01-01T09:30:00Z",
            ),
        ] {
            let cron = Cron::parse(text, offset).expect(text);
            assert_eq!(cron.after(at(from)), Some(at(next)), "{text} after {from}");
            assert_eq!(cron.until(at(from)), Some(at(last)), "{text} until {from}");
        }
    }

    #[test]
    fn every_time_is_found_from_both_sides_and_suits_the_calendar() {
        for text in [
            "7,23 */5 1-20/3 * 1",
            "0 12 28-31 */3 *",
            "59 23 * 2 sat",
            "0 0 1 1 0",
        ] {
            let cron = Cron::parse(text, 60).expect(text);
            let mut moment = at("2023-06-01T00:00:00Z");
            for _ in 0..200 {
                let next = cron.after(moment).expect("another");
                assert!(next > moment);
                assert_eq!(cron.until(next), Some(next));
                assert_eq!(
                    cron.until(Timestamp::from_millis(next.millis() - 1))
                        .filter(|last| *last > moment),
                    None,
                    "{text}: nothing between"
                );
                moment = next;
            }
        }
        assert_eq!(week_day(20_454), 4, "2026-01-01 was a Thursday");
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_field() {
        let range = "is no number from";
        for (text, want) in [
            ("", "must have five fields (minute, hour, day of the month, month, day of the week), has 0".to_owned()),
            ("0 3 * *", "must have five fields (minute, hour, day of the month, month, day of the week), has 4".to_owned()),
            ("60 3 * * *", format!("minute: `60` {range} 0 to 59, range, step or list of these")),
            ("0 24 * * *", format!("hour: `24` {range} 0 to 23, range, step or list of these")),
            ("0 0 0 * *", format!("day of the month: `0` {range} 1 to 31, range, step or list of these")),
            ("0 0 * 13 *", format!("month: `13` {range} 1 to 12, range, step or list of these")),
            ("0 0 * * 8", format!("day of the week: `8` {range} 0 to 7, range, step or list of these")),
            ("0 0 * * mond", format!("day of the week: `mond` {range} 0 to 7, range, step or list of these")),
            ("*/0 * * * *", format!("minute: `*/0` {range} 0 to 59, range, step or list of these")),
            ("*/+5 * * * *", format!("minute: `*/+5` {range} 0 to 59, range, step or list of these")),
            ("1,,2 * * * *", format!("minute: `` {range} 0 to 59, range, step or list of these")),
            ("1- * * * *", format!("minute: `1-` {range} 0 to 59, range, step or list of these")),
            ("9-5 * * * *", "minute: `9-5` ends before it begins".to_owned()),
            ("0 0 30 2 *", "names a day that does not exist".to_owned()),
            ("0 0 31 4,6 *", "names a day that does not exist".to_owned()),
            ("@reboot", "must have five fields (minute, hour, day of the month, month, day of the week), has 1".to_owned()),
        ] {
            assert_eq!(Cron::parse(text, 0), Err(want), "{text}");
        }
        for (text, want) in [
            ("Z", Some(0)),
            ("+02:00", Some(120)),
            ("-05:30", Some(-330)),
            ("+18:00", Some(1080)),
        ] {
            assert_eq!(offset(text).ok(), want, "{text}");
        }
        for text in [
            "",
            "2",
            "+2:00",
            "+19:00",
            "+02:60",
            "02:00",
            "+0x:00",
            "Europe/Rome",
            "+é0:0",
        ] {
            assert!(offset(text).is_err(), "{text}");
        }
    }
}
