//! What passes between the core and the world, counted for metrics under Marathon's names.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use tepui_marathon_core::{Input, Output};
use tepui_proto::mesos::{TaskState, TaskStatus, offer::operation, task_status::Reason};

/// States that are counted, with the last part of the counter's name.
const UPDATES: [(TaskState, &str); 14] = [
    (
        TaskState::TaskStaging,
        "marathon.mesos.task-updates.task-staging.counter",
    ),
    (
        TaskState::TaskStarting,
        "marathon.mesos.task-updates.task-starting.counter",
    ),
    (
        TaskState::TaskRunning,
        "marathon.mesos.task-updates.task-running.counter",
    ),
    (
        TaskState::TaskKilling,
        "marathon.mesos.task-updates.task-killing.counter",
    ),
    (
        TaskState::TaskFinished,
        "marathon.mesos.task-updates.task-finished.counter",
    ),
    (
        TaskState::TaskFailed,
        "marathon.mesos.task-updates.task-failed.counter",
    ),
    (
        TaskState::TaskKilled,
        "marathon.mesos.task-updates.task-killed.counter",
    ),
    (
        TaskState::TaskError,
        "marathon.mesos.task-updates.task-error.counter",
    ),
    (
        TaskState::TaskLost,
        "marathon.mesos.task-updates.task-lost.counter",
    ),
    (
        TaskState::TaskDropped,
        "marathon.mesos.task-updates.task-dropped.counter",
    ),
    (
        TaskState::TaskUnreachable,
        "marathon.mesos.task-updates.task-unreachable.counter",
    ),
    (
        TaskState::TaskGone,
        "marathon.mesos.task-updates.task-gone.counter",
    ),
    (
        TaskState::TaskGoneByOperator,
        "marathon.mesos.task-updates.task-gone-by-operator.counter",
    ),
    (
        TaskState::TaskUnknown,
        "marathon.mesos.task-updates.task-unknown.counter",
    ),
];

/// Everything else that is counted; the place in this list is the place of its number.
const NAMES: [&str; 13] = [
    "marathon.deployments.counter",
    "marathon.deployments.dismissed.counter",
    "marathon.tasks.launched.counter",
    "marathon.mesos.calls.revive.counter",
    "marathon.mesos.calls.suppress.counter",
    "marathon.mesos.offer-operations.launch.counter",
    "marathon.mesos.offer-operations.launch-group.counter",
    "marathon.mesos.offer-operations.reserve.counter",
    "marathon.mesos.offers.incoming.counter",
    "marathon.mesos.offers.used.counter",
    "marathon.mesos.offers.declined.counter",
    "marathon.mesos.task.oom.memory-limit-exceeded.counter",
    "marathon.mesos.task.oom.memory-limit-unfulfillable.counter",
];
const DEPLOYMENTS: usize = 0;
const DISMISSED: usize = 1;
const LAUNCHED: usize = 2;
const REVIVE: usize = 3;
const SUPPRESS: usize = 4;
const LAUNCH: usize = 5;
const LAUNCH_GROUP: usize = 6;
const RESERVE: usize = 7;
const INCOMING: usize = 8;
const USED: usize = 9;
const DECLINED: usize = 10;
const OOM: usize = 11;

/// The numbers; they only grow, and begin anew with each term.
#[derive(Debug)]
pub(crate) struct Counts {
    /// When the term began.
    pub(crate) since: Instant,
    named: [AtomicU64; NAMES.len()],
    updates: [AtomicU64; UPDATES.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            named: <[AtomicU64; NAMES.len()]>::default(),
            updates: <[AtomicU64; UPDATES.len()]>::default(),
        }
    }
}

impl Counts {
    fn add(&self, what: usize, number: usize) {
        self.named[what].fetch_add(number as u64, Ordering::Relaxed);
    }

    /// What reaches the core.
    pub(super) fn input(&self, input: &Input) {
        match input {
            Input::Offers(offers) => self.add(INCOMING, offers.len()),
            Input::TaskUpdate(status) => self.update(status),
            _ => {}
        }
    }

    fn update(&self, status: &TaskStatus) {
        let known = UPDATES
            .iter()
            .position(|(state, _)| *state == status.state());
        if let Some(at) = known {
            self.updates[at].fetch_add(1, Ordering::Relaxed);
        }
        let memory = status.reason == Some(Reason::ContainerLimitationMemory.into());
        self.add(OOM, usize::from(memory));
    }

    /// What the core wants done.
    pub(super) fn output(&self, output: &Output) {
        match output {
            Output::Reply(_, answer) => {
                self.add(DEPLOYMENTS, usize::from(answer.deployment_id.is_some()));
                let locked = answer.status == 409 && holds(&answer.body, b"\"deployments\"");
                self.add(DISMISSED, usize::from(locked));
            }
            Output::Accept {
                offer_ids,
                operations,
                tasks,
            } => {
                self.add(USED, offer_ids.len());
                self.add(LAUNCH, usize::from(!tasks.is_empty()));
                self.add(LAUNCHED, tasks.len());
                for one in operations {
                    self.operation(one);
                }
            }
            Output::Decline { offer_ids, .. } => self.add(DECLINED, offer_ids.len()),
            Output::Revive { .. } => self.add(REVIVE, 1),
            Output::Suppress { .. } => self.add(SUPPRESS, 1),
            _ => {}
        }
    }

    fn operation(&self, one: &tepui_proto::mesos::offer::Operation) {
        match one.r#type() {
            operation::Type::Launch => {
                self.add(LAUNCH, 1);
                let tasks = one
                    .launch
                    .as_ref()
                    .map_or(0, |launch| launch.task_infos.len());
                self.add(LAUNCHED, tasks);
            }
            operation::Type::LaunchGroup => {
                self.add(LAUNCH_GROUP, 1);
                let group = one.launch_group.as_ref();
                self.add(
                    LAUNCHED,
                    group.map_or(0, |group| group.task_group.tasks.len()),
                );
            }
            operation::Type::Reserve => self.add(RESERVE, 1),
            _ => {}
        }
    }

    /// All numbers, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = NAMES.into_iter().zip(&self.named);
        let updates = UPDATES.iter().map(|(_, name)| *name).zip(&self.updates);
        let read = |(name, number): (_, &AtomicU64)| (name, number.load(Ordering::Relaxed));
        names.chain(updates).map(read)
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use tepui_marathon_core::{ReplyToken, Response};
    use tepui_proto::mesos::Offer;

    use super::*;

    #[test]
    fn what_passes_is_counted_under_its_name() {
        let counts = Counts::default();
        counts.input(&Input::Offers(vec![Offer::default(), Offer::default()]));
        let mut status = TaskStatus {
            reason: Some(Reason::ContainerLimitationMemory.into()),
            ..TaskStatus::default()
        };
        status.set_state(TaskState::TaskFailed);
        counts.input(&Input::TaskUpdate(Box::new(status)));
        let group = tepui_proto::mesos::offer::Operation {
            r#type: Some(operation::Type::LaunchGroup.into()),
            launch_group: Some(
                operation::LaunchGroup {
                    task_group: tepui_proto::mesos::TaskGroupInfo {
                        tasks: vec![Default::default(); 3],
                    },
                    ..Default::default()
                }
                .into(),
            ),
            ..Default::default()
        };
        counts.output(&Output::Accept {
            offer_ids: vec!["o".into()],
            operations: vec![group],
            tasks: vec![Default::default()],
        });
        counts.output(&Output::Decline {
            offer_ids: vec!["p".into()],
            refuse_ms: 1,
        });
        counts.output(&Output::Reply(ReplyToken(1), Response::locked(["d"])));
        let told: Vec<(&str, u64)> = counts.all().filter(|(_, number)| *number > 0).collect();
        assert_eq!(
            told,
            [
                ("marathon.deployments.dismissed.counter", 1),
                ("marathon.tasks.launched.counter", 4),
                ("marathon.mesos.offer-operations.launch.counter", 1),
                ("marathon.mesos.offer-operations.launch-group.counter", 1),
                ("marathon.mesos.offers.incoming.counter", 2),
                ("marathon.mesos.offers.used.counter", 1),
                ("marathon.mesos.offers.declined.counter", 1),
                ("marathon.mesos.task.oom.memory-limit-exceeded.counter", 1),
                ("marathon.mesos.task-updates.task-failed.counter", 1),
            ]
        );
    }
}
