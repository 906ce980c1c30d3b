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
    status: Vec<&'static str>,
    causes: Vec<Cause>,
    task: Option<String>,
}

impl TaskQuery {
    /// Names of the causes for which a task can have ended.
    pub const CAUSES: &'static [&'static str] = &Cause::NAMES;

    /// Reads pairs of a parameter's name and its value: `limit`, `since`, `status` (states; any of them fits), `cause` (any of them fits) and
    /// `task` (a task, or an instance). Of `limit`, `since` and `task` the first counts; `status` and `cause` may be repeated, and hold several
    /// words with commas between.
    ///
    /// # Errors
    /// One is unknown, or cannot be understood; it says which, and what is possible.
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in parameters {
            match name {
                "limit" => {
                    let limit = limit(value)?;
                    query.limit.get_or_insert(limit);
                }
                "since" => {
                    let since = since(value)?;
                    query.since.get_or_insert(since);
                }
                "status" => {
                    for word in words(value) {
                        query.status.push(state(word)?);
                    }
                }
                "cause" => {
                    for word in words(value) {
                        query.causes.push(cause(word)?);
                    }
                }
                "task" => {
                    query.task.get_or_insert_with(|| value.to_owned());
                }
                _ => {
                    return Err(format!(
                        "there is no parameter `{name}`; there are `limit`, `since`, `status`, `cause` and `task`"
                    ));
                }
            }
        }
        Ok(query)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(SHOWN)
    }

    pub(crate) fn wants(&self, one: &Ended) -> bool {
        self.since.is_none_or(|since| one.ended_at >= since)
            && (self.task.as_deref()).is_none_or(|task| one.has(task))
            && (self.status.is_empty() || self.status.iter().any(|state| *state == one.how.state))
            && (self.causes.is_empty() || self.causes.contains(&one.cause))
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(format!("`limit` is `{text}`, and must be a number above 0")),
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| {
        format!("`since` is `{text}`, and must be a time such as 2026-01-31T12:00:00.000Z")
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// In any letter case, also without `TASK_`.
fn state(word: &str) -> Result<&'static str, String> {
    let fits = |state: &&str| {
        state.eq_ignore_ascii_case(word) || state["TASK_".len()..].eq_ignore_ascii_case(word)
    };
    STATES.into_iter().find(fits).ok_or_else(|| {
        let states = STATES.join(", ");
        let else_ = match cause(word) {
            Ok(cause) => format!(
                "; for tasks that ended for this cause it is `cause={}`",
                cause.name()
            ),
            Err(_) => String::new(),
        };
        format!("`status` is `{word}`, and must be one of {states}{else_}")
    })
}

/// In any letter case.
fn cause(word: &str) -> Result<Cause, String> {
    let fits = |cause: &Cause| cause.name().eq_ignore_ascii_case(word);
    Cause::ALL.into_iter().find(fits).ok_or_else(|| {
        let causes = Cause::NAMES.join(", ");
        format!("`cause` is `{word}`, and must be one of {causes}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_refused() {
        let read = TaskQuery::parse([
            ("limit", "3"),
            ("since", "2026-01-31T12:00:00.000Z"),
            ("status", "failed, TASK_killed,"),
            ("status", "gone"),
            ("cause", "Crashed,killed"),
            ("task", "t"),
        ]);
        let read = read.expect("good");
        assert_eq!(read.status, ["TASK_FAILED", "TASK_KILLED", "TASK_GONE"]);
        assert_eq!(read.causes, [Cause::Crashed, Cause::Killed]);
        assert_eq!((read.limit(), read.since.is_some()), (3, true));
        assert_eq!(read.task.as_deref(), Some("t"));
        let empty = TaskQuery::parse([("status", ""), ("cause", "")]).expect("good");
        assert_eq!((empty.limit(), empty), (SHOWN, TaskQuery::default()));
        for (name, value, why) in [
            ("limit", "0", "`limit` is `0`, and must be a number"),
            ("limit", "x", "`limit` is `x`"),
            ("since", "now", "`since` is `now`, and must be a time"),
            (
                "status",
                "running",
                "`status` is `running`, and must be one of TASK_FINISHED",
            ),
            (
                "cause",
                "failed",
                "`cause` is `failed`, and must be one of finished",
            ),
            (
                "causes",
                "moved",
                "there is no parameter `causes`; there are `limit`",
            ),
        ] {
            let refused = TaskQuery::parse([(name, value)]).expect_err("bad");
            assert!(refused.starts_with(why), "{refused}");
        }
        let cause = TaskQuery::parse([("status", "MOVED")]).expect_err("a cause");
        assert!(cause.ends_with("it is `cause=moved`"), "{cause}");
    }

    #[test]
    fn every_cause_is_asked_for_by_the_word_that_is_shown() {
        for cause in Cause::ALL {
            let shown = serde_json::to_value(cause).expect("a word");
            assert_eq!(shown, cause.name());
            let query = TaskQuery::parse([("cause", cause.name())]).expect("known");
            assert_eq!(query.causes, [cause]);
        }
        // The schema of the answer lists the same.
        let schemas: serde_json::Value =
            serde_json::from_str(include_str!("../schemas/v3.json")).expect("JSON");
        let listed = &schemas["EndedTask"]["properties"]["cause"]["enum"];
        assert_eq!(*listed, serde_json::json!(TaskQuery::CAUSES));
    }
}
