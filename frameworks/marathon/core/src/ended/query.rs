//! Which ended tasks somebody wants to see.

use super::{Cause, Ended};
use crate::timestamp::Timestamp;

/// How many are shown unless more are asked for.
const SHOWN: usize = 100;

/// States in which a task has ended, as Mesos names them.
const STATES: [&str; 10] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_UNREACHABLE",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
    "TASK_UNKNOWN",
];

/// Of the tasks of one app, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    limit: Option<usize>,
    since: Option<Timestamp>,
    status: Vec<String>,
    task: Option<String>,
}

impl TaskQuery {
    /// Reads `limit`, `since`, `status` (states or causes; any of them fits) and `task` (a task, or an instance).
    ///
    /// # Errors
    /// One cannot be understood; it says which, and what is possible.
    pub fn parse(
        limit: Option<&str>,
        since: Option<&str>,
        status: &[String],
        task: Option<String>,
    ) -> Result<Self, String> {
        let limit = limit.map(|text| match text.parse() {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => Err(format!("`limit` is `{text}`, and must be a number above 0")),
        });
        let since = since.map(|text| {
            Timestamp::parse(text).map_err(|_| {
                format!("`since` is `{text}`, and must be a time such as 2026-01-31T12:00:00.000Z")
            })
        });
        let words = status.iter().flat_map(|words| words.split(','));
        let words = words.map(str::trim).filter(|word| !word.is_empty());
        let known = words.map(|word| {
            find(word).map(str::to_owned).ok_or_else(|| {
                let causes: Vec<&str> = Cause::ALL.iter().map(|one| one.name()).collect();
                format!(
                    "`status` is `{word}`, and must be one of {} or {}",
                    STATES.join(", "),
                    causes.join(", ")
                )
            })
        });
        Ok(Self {
            limit: limit.transpose()?,
            since: since.transpose()?,
            status: known.collect::<Result<_, _>>()?,
            task,
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(SHOWN)
    }

    pub(crate) fn wants(&self, one: &Ended) -> bool {
        self.since.is_none_or(|since| one.ended_at >= since)
            && (self.task.as_deref()).is_none_or(|task| one.has(task))
            && (self.status.is_empty()
                || (self.status.iter())
                    .any(|word| *word == one.how.state || word == one.cause.name()))
    }
}

/// A state, also without `TASK_`, or a cause, in any letter case.
fn find(word: &str) -> Option<&'static str> {
    let causes = Cause::ALL.iter().map(|cause| cause.name());
    // `finished` and `unreachable` are both, and the state says more.
    let states = STATES.iter().copied().filter(|state| {
        state.eq_ignore_ascii_case(word) || state["TASK_".len()..].eq_ignore_ascii_case(word)
    });
    let mut causes = causes.filter(|cause| cause.eq_ignore_ascii_case(word));
    states.into_iter().next().or_else(|| causes.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_refused() {
        let query = |limit: Option<&str>, since: Option<&str>, status: &str| {
            TaskQuery::parse(limit, since, &[status.to_owned()], None)
        };
        let read = query(
            Some("3"),
            Some("2026-01-31T12:00:00.000Z"),
            "failed,Crashed",
        );
        let read = read.expect("good");
        assert_eq!(read.status, ["TASK_FAILED", "crashed"]);
        assert_eq!((read.limit(), read.since.is_some()), (3, true));
        assert_eq!(query(None, None, "").expect("good").limit(), SHOWN);
        for (limit, since, status, why) in [
            (Some("0"), None, "", "`limit` is `0`, and must be a number"),
            (Some("x"), None, "", "`limit` is `x`"),
            (
                None,
                Some("now"),
                "",
                "`since` is `now`, and must be a time",
            ),
            (
                None,
                None,
                "running",
                "`status` is `running`, and must be one of TASK_FINISHED",
            ),
        ] {
            let refused = query(limit, since, status).expect_err("bad");
            assert!(refused.starts_with(why), "{refused}");
        }
    }
}
