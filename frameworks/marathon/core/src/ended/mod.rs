//! Tasks that have ended: what is remembered of each, and the book that holds them.
//!
//! An entry says what ran, where, for how long, how it ended, why (as Marathon sees it), and where its sandbox is, so that its files can be
//! read for as long as the agent keeps them. What is not told is left out, never guessed.

mod book;
mod query;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use tepui_proto::mesos::{
    TaskState, TaskStatus,
    task_status::{Reason, Source},
};

pub(crate) use self::book::{Book, Bounds, ChunkRecord, Written};
pub use self::query::TaskQuery;
use crate::{
    instance::{Condition, ContainerTask, Instance, executor_id, own_executor_id},
    timestamp::Timestamp,
};

/// Longer messages are cut, in characters.
const MAX_MESSAGE: usize = 500;

/// Why a task ended, as Marathon sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Cause {
    /// By itself, with success.
    Finished,
    /// By itself, without.
    Crashed,
    /// It was never started: the master or the agent did not take it.
    NotStarted,
    /// There were more instances than the app wants.
    ScaledDown,
    /// A deployment put another version in its place.
    Replaced,
    /// A scheduled restart put another in its place, or started it anew.
    Restarted,
    /// It was moved to where its app is spread more evenly.
    Moved,
    /// The app was deleted.
    Deleted,
    /// Its health checks failed.
    Unhealthy,
    /// It did not run in time.
    StartTimeout,
    /// Somebody killed it by the API.
    Operator,
    /// A daemon app does not match its agent any more.
    Unmatched,
    /// Its agent could not be reached for too long.
    Unreachable,
    /// An operator drained its agent.
    AgentDrained,
    /// Its agent is gone, or does not know it any more.
    AgentLost,
    /// Somebody else than Marathon killed it.
    Killed,
}

impl Cause {
    pub(crate) const ALL: [Self; 16] = [
        Self::Finished,
        Self::Crashed,
        Self::NotStarted,
        Self::ScaledDown,
        Self::Replaced,
        Self::Restarted,
        Self::Moved,
        Self::Deleted,
        Self::Unhealthy,
        Self::StartTimeout,
        Self::Operator,
        Self::Unmatched,
        Self::Unreachable,
        Self::AgentDrained,
        Self::AgentLost,
        Self::Killed,
    ];

    /// The words of all of them.
    pub(crate) const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The word in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Crashed => "crashed",
            Self::NotStarted => "notStarted",
            Self::ScaledDown => "scaledDown",
            Self::Replaced => "replaced",
            Self::Restarted => "restarted",
            Self::Moved => "moved",
            Self::Deleted => "deleted",
            Self::Unhealthy => "unhealthy",
            Self::StartTimeout => "startTimeout",
            Self::Operator => "operator",
            Self::Unmatched => "unmatched",
            Self::Unreachable => "unreachable",
            Self::AgentDrained => "agentDrained",
            Self::AgentLost => "agentLost",
            Self::Killed => "killed",
        }
    }

    /// Of a task that Marathon did not end.
    fn of(condition: Condition, status: Option<&TaskStatus>) -> Self {
        let killed = status.filter(|status| status.state() == TaskState::TaskKilled);
        match condition {
            _ if killed
                .is_some_and(|status| status.reason == Some(Reason::AgentDraining as i32)) =>
            {
                Self::AgentDrained
            }
            // The executor ends a task whose checks fail too often, and says so by this.
            _ if killed.is_some_and(|status| status.healthy == Some(false)) => Self::Unhealthy,
            Condition::Finished => Self::Finished,
            Condition::Failed => Self::Crashed,
            Condition::Error | Condition::Dropped => Self::NotStarted,
            Condition::Gone | Condition::Unknown => Self::AgentLost,
            Condition::Unreachable | Condition::UnreachableInactive => Self::Unreachable,
            _ => Self::Killed,
        }
    }
}

/// A task that has ended. Of a pod: its tasks, which are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) task: Arc<str>,
    pub(crate) instance: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ordinal: Option<u32>,
    pub(crate) version: Timestamp,
    pub(crate) host: Arc<str>,
    pub(crate) agent: Arc<str>,
    pub(crate) staged_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Timestamp,
    pub(crate) cause: Cause,
    #[serde(flatten)]
    pub(crate) how: How,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) framework: Option<Arc<str>>,
    /// The container of the executor, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<Arc<str>>,
    /// It ran on an executor of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) own_executor: bool,
    /// Of a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) containers: Vec<EndedContainer>,
}

/// What the last status said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct How {
    /// Mesos' word.
    pub(crate) state: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(crate) message: Box<str>,
}

/// A container of a pod that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedContainer {
    pub(crate) name: Box<str>,
    pub(crate) task: Arc<str>,
    pub(crate) state: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(crate) message: Box<str>,
}

impl How {
    fn of(status: &TaskStatus) -> Self {
        let reason = status.reason.and_then(|one| Reason::try_from(one).ok());
        let source = status.source.and_then(|one| Source::try_from(one).ok());
        Self {
            state: status.state().as_str_name().into(),
            reason: reason.map(|one| one.as_str_name().into()),
            source: source.map(|one| one.as_str_name().into()),
            message: cut(status.message()),
        }
    }
}

impl Ended {
    /// What is remembered of the task of an instance, which has ended now. Without a status: it was given up. None if there was no task.
    pub(crate) fn of(
        instance: &Instance,
        status: Option<&TaskStatus>,
        framework: Option<&Arc<str>>,
        executor: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let (agent, task) = (instance.agent.as_ref()?, instance.task.as_ref()?);
        let begun = begun(instance, &task.containers);
        let how = match (status, begun) {
            // Of a pod what the container that began it said.
            (Some(status), Some(one)) if *one.id != *status.task_id.value => How {
                state: one.condition.mesos_state().into(),
                reason: None,
                source: None,
                message: cut(&one.message),
            },
            (Some(status), _) => How::of(status),
            (None, _) => How {
                state: instance.condition.mesos_state().into(),
                reason: None,
                source: None,
                message: match task.unreachable_since {
                    Some(since) => format!("Given up; its agent was not reached since {since}"),
                    None => "Given up before its end was heard of".to_owned(),
                }
                .into(),
            },
        };
        let ended = |one: &ContainerTask| EndedContainer {
            name: one.name.as_str().into(),
            task: one.id.clone(),
            state: one.condition.mesos_state().into(),
            message: cut(&one.message),
        };
        Some(Self {
            task: task.id.clone(),
            instance: instance.id.clone(),
            ordinal: instance.ordinal,
            version: instance.spec.version,
            host: agent.host.clone(),
            agent: agent.id.clone(),
            staged_at: task.staged_at,
            started_at: task.started_at,
            ended_at: now,
            cause: instance
                .cause
                .unwrap_or_else(|| Cause::of(instance.condition, status)),
            how,
            framework: framework.cloned(),
            container: task.container.clone().or_else(|| container_id(status?)),
            own_executor: instance.spec.own_executor(executor).is_some(),
            containers: task.containers.iter().map(ended).collect(),
        })
    }

    pub(crate) const fn is_pod(&self) -> bool {
        !self.containers.is_empty()
    }

    /// Whether it is, or has, this task, or is of this instance.
    fn has(&self, id: &str) -> bool {
        *self.task == *id
            || *self.instance == *id
            || self.containers.iter().any(|one| *one.task == *id)
    }

    /// The executor that ran it.
    pub(crate) fn executor(&self) -> String {
        if self.is_pod() {
            executor_id(&self.instance)
        } else if self.own_executor {
            own_executor_id(&self.task)
        } else {
            self.task.to_string()
        }
    }

    /// The sandbox as its agent's files go by it, below that of the agent.
    pub(crate) fn sandbox(&self) -> Option<String> {
        let run = self.container.as_deref().unwrap_or("latest");
        Some(format!(
            "/frameworks/{}/executors/{}/runs/{run}",
            self.framework.as_deref()?,
            self.executor()
        ))
    }
}

/// The container of a pod whose end was the end of all.
fn begun<'a>(instance: &Instance, containers: &'a [ContainerTask]) -> Option<&'a ContainerTask> {
    let fitting = containers
        .iter()
        .filter(|one| one.condition == instance.condition);
    fitting.min_by_key(|one| one.since)
}

/// The container of the executor that a status comes from.
pub(crate) fn container_id(status: &TaskStatus) -> Option<Arc<str>> {
    let id = status.container_status.as_ref()?.container_id.as_ref()?;
    let id = id.parent.as_ref().map_or(&id.value, |parent| &parent.value);
    Some(id.as_str().into()).filter(|_| !id.is_empty())
}

fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

/// What the process ended with, where the message tells it: its exit code, or the signal.
pub(crate) fn exit(message: &str) -> (Option<i32>, Option<&str>) {
    let after = |words: &str| message.split_once(words).map(|(_, rest)| rest);
    let code = after("exited with status ").and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    });
    let signal = after("terminated with signal ").map(|rest| {
        let end = rest.find(" (").or_else(|| rest.find([';', '\n', ',']));
        rest[..end.unwrap_or(rest.len())].trim()
    });
    (code, signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_signals_are_read_where_they_are_told() {
        for (message, code, signal) in [
            ("Command exited with status 7", Some(7), None),
            ("Container exited with status 255; bye", Some(255), None),
            ("Command exited with status x", None, None),
            (
                "Command terminated with signal Killed",
                None,
                Some("Killed"),
            ),
            (
                "Command terminated with signal Segmentation fault (core dumped)",
                None,
                Some("Segmentation fault"),
            ),
            ("Memory limit exceeded", None, None),
            ("", None, None),
        ] {
            assert_eq!(exit(message), (code, signal), "{message}");
        }
    }

    #[test]
    fn a_cause_is_read_by_the_name_that_it_is_written_with() {
        for cause in Cause::ALL {
            let text = serde_json::to_string(&cause).expect("a word");
            assert_eq!(text, format!("\"{}\"", cause.name()));
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "ä".repeat(MAX_MESSAGE + 1);
        assert_eq!(cut(&text).chars().count(), MAX_MESSAGE + 1);
        assert!(cut(&text).ends_with("ä…"));
        assert_eq!(&*cut("short"), "short");
    }
}
