//! Scheduled restarts: at times of a schedule all instances are replaced, and each that is older than it may become.
//!
//! What is due is read off the instances: everything launched before the last time of the schedule. So a run that is cut off by a deployment or another
//! leader goes on where it was, and nothing is restarted twice for one time.

use serde::{Deserialize, Serialize};

use super::cron::{Cron, offset};
use crate::{definition::Faults, timestamp::Timestamp};

/// The least that may be set as the greatest age, in seconds.
const MIN_AGE: u32 = 60;

/// How an app is restarted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restarts {
    /// A cron expression of five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How far its clock is ahead of UTC: `+02:00`.
    #[serde(default = "super::utc", skip_serializing_if = "super::is_utc")]
    pub utc_offset: String,
    /// A time that was missed by more is left out; none: it is made up for, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u32>,
    /// An instance is replaced before it is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
}

/// How far a schedule has come; stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Course {
    /// Times up to this one are dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dealt_with: Option<Timestamp>,
    /// The time for which instances are being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) under_way: Option<Timestamp>,
    /// What was launched before that is to be replaced, for the time that began last; also what comes back later than the others were. It is
    /// never ahead of the clock, so what is launched from now on is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) launched_before: Option<Timestamp>,
    /// The last for which all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Timestamp>,
    /// The last that was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<Timestamp>,
}

impl Restarts {
    pub(super) fn validate(&self, faults: &mut Faults) {
        let path = |field: &str| format!("/restarts/{field}");
        if self.schedule.is_none() && self.max_age_seconds.is_none() {
            faults.add("/restarts", "needs a schedule or maxAgeSeconds");
        }
        let ahead = offset(&self.utc_offset);
        if let Err(reason) = &ahead {
            faults.add(path("utcOffset"), reason.clone());
        }
        if let Some(schedule) = &self.schedule
            && let Err(reason) = Cron::parse(schedule, ahead.unwrap_or_default())
        {
            faults.add(path("schedule"), reason);
        }
        if self
            .max_age_seconds
            .is_some_and(|age| !(MIN_AGE..=super::MAX_SECONDS).contains(&age))
        {
            let message = format!("must be from {MIN_AGE} to {}", super::MAX_SECONDS);
            faults.add(path("maxAgeSeconds"), message);
        }
        if self
            .starting_deadline_seconds
            .is_some_and(|most| most > super::MAX_SECONDS)
        {
            faults.add(path("startingDeadlineSeconds"), super::too_long());
        }
    }

    fn cron(&self) -> Option<Cron> {
        let ahead = offset(&self.utc_offset).ok()?;
        Cron::parse(self.schedule.as_deref()?, ahead).ok()
    }

    /// The next time of its schedule.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron()?.after(now)
    }

    /// How far the schedule has come now. One run at a time: a time that comes while another is being dealt with is left out.
    pub(crate) fn advance(&self, course: Course, now: Timestamp) -> Course {
        let Some(cron) = self.cron() else {
            return Course {
                under_way: None,
                launched_before: None,
                ..course
            };
        };
        let course = Course {
            launched_before: course
                .launched_before
                .or(course.under_way)
                .map(|at| at.min(now)),
            ..course
        };
        // Times before the policy came are none of its.
        let Some(dealt_with) = course.dealt_with else {
            return Course {
                dealt_with: Some(now),
                under_way: None,
                launched_before: None,
                ..course
            };
        };
        // A clock that was ahead may have dealt with the next time already, which is not to be dealt with twice; but with no more.
        let ahead = if dealt_with > now {
            cron.after(now)
        } else {
            None
        };
        let dealt_with = ahead.map_or(dealt_with, |next| dealt_with.min(next));
        let course = Course {
            dealt_with: Some(dealt_with),
            ..course
        };
        let Some(at) = cron.until(now).filter(|at| *at > dealt_with) else {
            return course;
        };
        let late_ms = now.millis() - at.millis();
        let too_late = self
            .starting_deadline_seconds
            .is_some_and(|most| late_ms > i64::from(most) * 1000);
        let course = Course {
            dealt_with: Some(at),
            ..course
        };
        if too_late || course.under_way.is_some() {
            Course {
                missed: Some(at),
                ..course
            }
        } else {
            Course {
                under_way: Some(at),
                launched_before: Some(at),
                ..course
            }
        }
    }

    /// When an instance launched at a moment has to be replaced for its age: up to a tenth earlier than it must, by `random`, so that those
    /// launched together are not replaced together.
    pub(crate) fn expires(&self, launched: Timestamp, random: u64) -> Option<Timestamp> {
        let age_ms = i64::from(self.max_age_seconds?) * 1000;
        let earlier = i64::try_from(random % 1000).unwrap_or_default() * (age_ms / 10) / 1000;
        Some(Timestamp::from_millis(launched.millis() + age_ms - earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-01-{text}Z")).expect("a timestamp")
    }

    #[test]
    fn a_schedule_goes_on_run_by_run() {
        let nightly = |deadline: Option<u32>| Restarts {
            schedule: Some("0 3 * * *".to_owned()),
            utc_offset: "Z".to_owned(),
            starting_deadline_seconds: deadline,
            max_age_seconds: None,
        };
        let settings = nightly(None);
        let course = settings.advance(Course::default(), at("01T12:00:00"));
        assert_eq!(
            course.under_way, None,
            "nothing is made up for from before the policy"
        );
        assert_eq!(settings.advance(course, at("02T02:59:59")), course);
        let begun = settings.advance(course, at("02T03:00:00"));
        assert_eq!(begun.under_way, Some(at("02T03:00:00")));
        assert_eq!(
            settings.advance(begun, at("02T12:00:00")),
            begun,
            "once for each time"
        );
        let next = settings.advance(begun, at("03T03:00:00"));
        assert_eq!(
            (next.under_way, next.missed),
            (Some(at("02T03:00:00")), Some(at("03T03:00:00"))),
            "never two at a time"
        );
        // Nobody led for some days: the last of the times missed is made up for, or none.
        let late = at("05T04:00:01");
        let made_up = settings.advance(course, late);
        assert_eq!(
            (made_up.under_way, made_up.missed),
            (Some(at("05T03:00:00")), None)
        );
        let in_time = nightly(Some(3601)).advance(course, late);
        assert_eq!(in_time, made_up);
        let missed = nightly(Some(3600)).advance(course, late);
        assert_eq!(
            (missed.under_way, missed.missed, missed.dealt_with),
            (None, Some(at("05T03:00:00")), Some(at("05T03:00:00")))
        );
    }

    #[test]
    fn ages_end_spread_over_the_last_tenth() {
        let settings = Restarts {
            schedule: None,
            utc_offset: "Z".to_owned(),
            starting_deadline_seconds: None,
            max_age_seconds: Some(1000),
        };
        for (random, seconds) in [(0, 1000), (500, 950), (999, 900), (1500, 950)] {
            let launched = at("01T00:00:00");
            let expires = settings.expires(launched, random).expect("an age");
            let lasted = (expires.millis() - launched.millis() + 999) / 1000;
            assert!((lasted - seconds).abs() <= 1, "{random}: {lasted}");
        }
        assert_eq!(
            settings.advance(Course::default(), at("01T00:00:00")),
            Course::default()
        );
    }

    #[test]
    fn a_clock_that_was_ahead_is_made_good() {
        let settings: Restarts =
            serde_json::from_str(r#"{"schedule":"0 3 * * *"}"#).expect("settings");
        let course = settings.advance(Course::default(), at("01T12:00:00"));
        let begun = settings.advance(course, at("02T03:00:00"));
        assert_eq!(begun.launched_before, Some(at("02T03:00:00")));
        // The next leader's clock is a minute behind.
        let behind = settings.advance(begun, at("02T02:59:00"));
        assert_eq!(behind.launched_before, Some(at("02T02:59:00")));
        assert_eq!(
            settings.advance(behind, at("02T03:00:00")),
            behind,
            "the time is dealt with"
        );
        // Or it was days ahead.
        let far = Course {
            under_way: None,
            dealt_with: Some(at("20T03:00:00")),
            ..begun
        };
        let course = settings.advance(far, at("02T02:59:00"));
        assert_eq!(course.dealt_with, Some(at("02T03:00:00")));
        let next = settings.advance(course, at("03T03:00:00"));
        assert_eq!(next.under_way, Some(at("03T03:00:00")));
    }
}
