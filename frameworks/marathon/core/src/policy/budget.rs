//! The disruption budget: how much of an app may be away because Marathon itself wants so, and when.
//!
//! It binds what Marathon does by itself: scheduled restarts, rebalancing, the autoscaler taking instances away. What somebody asks for
//! (deployments, kills) never waits for it. Instances that are away for other reasons count; so nothing is taken away while that is so.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cron::{DAYS, MINUTES_PER_DAY, MS_PER_MINUTE, offset, week_day};
use crate::{definition::Faults, timestamp::Timestamp};

/// More windows are refused.
const MAX_WINDOWS: usize = 50;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisruptionBudget {
    /// At most so many of the instances that are wanted may be away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// At least so many are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Amount>,
    /// From one disruption to the next.
    #[serde(default)]
    pub min_interval_seconds: u32,
    /// When one may begin; empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

/// A number of instances, or a percentage of those that are wanted, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Amount {
    /// Instances.
    Count(u32),
    /// 0 to 100.
    Percent(u32),
}

/// A part of some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// `mon`, `tue`, …: the days on which it begins; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// `22:00`.
    pub from: String,
    /// `05:00`: of the next day, if it is not later than `from`.
    pub to: String,
    /// How far its clock is ahead of UTC: `+02:00`.
    #[serde(default = "super::utc", skip_serializing_if = "super::is_utc")]
    pub utc_offset: String,
}

impl TryFrom<Value> for Amount {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wrong = || {
            format!("{value} is no number of instances, nor a percentage from \"0%\" to \"100%\"")
        };
        match &value {
            Value::Number(number) => {
                let count = number.as_u64().and_then(|count| u32::try_from(count).ok());
                count.map(Self::Count).ok_or_else(wrong)
            }
            Value::String(text) => {
                let digits = text.strip_suffix('%').filter(|digits| !digits.is_empty());
                let digits = digits.filter(|one| one.bytes().all(|byte| byte.is_ascii_digit()));
                let percent = digits.and_then(|digits| digits.parse::<u32>().ok());
                let percent = percent.filter(|percent| *percent <= 100);
                percent.map(Self::Percent).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl From<Amount> for Value {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(count) => count.into(),
            Amount::Percent(percent) => format!("{percent}%").into(),
        }
    }
}

impl Amount {
    /// Of so many instances.
    fn of(self, wanted: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (wanted * percent as usize).div_ceil(100),
        }
    }
}

impl DisruptionBudget {
    pub(super) fn validate(&self, faults: &mut Faults) {
        let path = |field: &str| format!("/disruptionBudget/{field}");
        if self.max_unavailable.is_some() && self.min_available.is_some() {
            faults.add(
                path("minAvailable"),
                "only one of maxUnavailable and minAvailable can be set",
            );
        }
        if self.min_interval_seconds > super::MAX_SECONDS {
            faults.add(path("minIntervalSeconds"), super::too_long());
        }
        if self.windows.len() > MAX_WINDOWS {
            let message = format!("must not be more than {MAX_WINDOWS}");
            faults.add(path("windows"), message);
        }
        for (at, window) in self.windows.iter().enumerate() {
            window.validate(&path(&format!("windows({at})")), faults);
        }
    }

    /// How many of so many wanted instances have to stay; none: it does not say.
    pub(crate) fn min_available(&self, wanted: usize) -> Option<usize> {
        match (self.max_unavailable, self.min_available) {
            (Some(away), _) => Some(wanted.saturating_sub(away.of(wanted))),
            (None, Some(there)) => Some(there.of(wanted).min(wanted)),
            (None, None) => None,
        }
    }

    /// When a disruption may begin at the earliest: now, if it may now.
    pub(crate) fn opens(&self, now: Timestamp) -> Timestamp {
        let openings = self.windows.iter().filter_map(|window| window.opens(now));
        match openings.min() {
            Some(at) => at,
            None => now,
        }
    }
}

impl Window {
    fn validate(&self, path: &str, faults: &mut Faults) {
        for (at, day) in self.days.iter().enumerate() {
            if !DAYS.contains(&day.as_str()) {
                let message = format!("`{day}` is none of {}", DAYS.join(", "));
                faults.add(format!("{path}/days({at})"), message);
            }
        }
        for (field, text) in [("from", &self.from), ("to", &self.to)] {
            if minute_of_day(text).is_none() {
                let message = format!("`{text}` is no time of day such as 22:00");
                faults.add(format!("{path}/{field}"), message);
            }
        }
        if let Err(reason) = offset(&self.utc_offset) {
            faults.add(format!("{path}/utcOffset"), reason);
        }
    }

    /// When it is open at the earliest: now, if it is now. None if it cannot be read.
    fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let (from, to) = (minute_of_day(&self.from)?, minute_of_day(&self.to)?);
        let offset = offset(&self.utc_offset).ok()?;
        let length = if to > from {
            to - from
        } else {
            to - from + MINUTES_PER_DAY
        };
        let minutes = now.millis().div_euclid(MS_PER_MINUTE) + offset;
        let today = minutes.div_euclid(MINUTES_PER_DAY);
        // Yesterday's may reach into today; within a week each of its days comes.
        (today - 1..=today + 7).find_map(|day| {
            let name = DAYS[usize::try_from(week_day(day)).unwrap_or_default()];
            let begins = day * MINUTES_PER_DAY + from;
            let suits = self.days.is_empty() || self.days.iter().any(|one| one == name);
            if !suits || begins + length <= minutes {
                return None;
            }
            let at = Timestamp::from_millis((begins - offset) * MS_PER_MINUTE);
            Some(at.max(now))
        })
    }
}

/// `22:30`, as minutes since midnight.
fn minute_of_day(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_many_have_to_stay() {
        for (document, wanted, want) in [
            (json!({}), 10, None),
            (json!({ "maxUnavailable": 1 }), 10, Some(9)),
            (json!({ "maxUnavailable": 20 }), 10, Some(0)),
            (json!({ "maxUnavailable": "25%" }), 10, Some(7)),
            (json!({ "maxUnavailable": "0%" }), 10, Some(10)),
            (json!({ "minAvailable": 3 }), 10, Some(3)),
            (json!({ "minAvailable": 30 }), 10, Some(10)),
            (json!({ "minAvailable": "75%" }), 10, Some(8)),
        ] {
            let budget: DisruptionBudget =
                serde_json::from_value(document.clone()).expect("a budget");
            assert_eq!(budget.min_available(wanted), want, "{document}");
        }
        for amount in [
            json!(-1),
            json!(1.5),
            json!("101%"),
            json!("5"),
            json!("%"),
            json!("+5%"),
            json!(null),
            json!([]),
        ] {
            let error = serde_json::from_value::<Amount>(amount.clone()).expect_err("refused");
            assert_eq!(
                error.to_string(),
                format!(
                    "{amount} is no number of instances, nor a percentage from \"0%\" to \"100%\""
                )
            );
        }
    }

    #[test]
    fn when_it_may_begin() {
        // 2026-01-01 is a Thursday.
        let night = json!([{ "from": "22:00", "to": "05:00" }]);
        let saturday =
            json!([{ "days": ["sat"], "from": "23:00", "to": "01:00", "utcOffset": "+01:00" }]);
        let both = json!([{ "days": ["mon"], "from": "00:00", "to": "00:00" }, { "days": ["wed"], "from": "10:00", "to": "10:01" }]);
        for (windows, now, want) in [
            (json!([]), "2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"),
            (
                night.clone(),
                "2026-01-01T12:00:00Z",
                "2026-01-01T22:00:00Z",
            ),
            (
                night.clone(),
                "2026-01-01T23:30:01Z",
                "2026-01-01T23:30:01Z",
            ),
            (
                night.clone(),
                "2026-01-01T04:59:59Z",
                "2026-01-01T04:59:59Z",
            ),
            (night, "2026-01-01T05:00:00Z", "2026-01-01T22:00:00Z"),
            (
                saturday.clone(),
                "2026-01-01T12:00:00Z",
                "2026-01-03T22:00:00Z",
            ),
            (
                saturday.clone(),
                "2026-01-03T23:59:59Z",
                "2026-01-03T23:59:59Z",
            ),
            (saturday, "2026-01-04T00:00:00Z", "2026-01-10T22:00:00Z"),
            (both.clone(), "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            (both.clone(), "2026-01-05T23:59:00Z", "2026-01-05T23:59:00Z"),
            (both, "2026-01-06T00:00:00Z", "2026-01-07T10:00:00Z"),
        ] {
            let budget: DisruptionBudget =
                serde_json::from_value(json!({ "windows": windows })).expect("a budget");
            let at = |text: &str| Timestamp::parse(text).expect("a timestamp");
            assert_eq!(budget.opens(at(now)), at(want), "{windows} from {now}");
        }
    }
}
