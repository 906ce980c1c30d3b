//! One task, from the moment the agent hears of it until its terminal update is acknowledged.

use std::sync::Arc;

use bytes::Bytes;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState, Time};
use tepui_proto::mesos::v1::{CheckStatusInfo, KillPolicy, TaskInfo, TaskStatus};

use crate::change::TaskSnapshot;
use crate::group::Membership;
use crate::timers::TimerId;
use crate::updates::Updates;

/// States kept for operators, at most; a task that goes to and fro loses the oldest.
const STATUSES: usize = 16;

/// Names a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TaskKey {
    pub(crate) framework: FrameworkId,
    pub(crate) task: TaskId,
}

/// Who wants the end of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The framework or an operator.
    Asked = 1,
    /// Its health check has failed too often.
    Unhealthy = 2,
    /// It took longer than `max_completion_time`.
    TooLong = 3,
    /// The agent drains.
    Draining = 4,
    /// The agent (or the framework's last trace on it) ends.
    Shutdown = 5,
    /// Its executor uses what the agent does not have, and others need it.
    Preempted = 6,
}

impl Cause {
    pub(crate) fn from_number(number: u32) -> Cause {
        match number {
            2 => Cause::Unhealthy,
            3 => Cause::TooLong,
            4 => Cause::Draining,
            5 => Cause::Shutdown,
            6 => Cause::Preempted,
            _ => Cause::Asked,
        }
    }
}

/// A task's end that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Kill {
    pub(crate) deadline: Time,
    pub(crate) cause: Cause,
    pub(crate) policy: Option<KillPolicy>,
    pub(crate) during_launch: bool,
}

/// What is known from the probes of one kind.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    /// When the next probe starts.
    pub(crate) timer: Option<TimerId>,
    /// The probe that is under way.
    pub(crate) running: Option<u64>,
    /// In a row.
    pub(crate) failures: u32,
    pub(crate) began: Time,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) info: Arc<TaskInfo>,
    pub(crate) executor: Option<ExecutorId>,
    pub(crate) command: bool,
    /// Names the group that it came in.
    pub(crate) group: Option<ContainerId>,
    /// Its own container, nested in that of an executor that the agent plays.
    pub(crate) container: Option<ContainerId>,
    /// Of its own container, if known.
    pub(crate) pid: Option<u32>,
    /// The end of its own container was ordered.
    pub(crate) destroyed: bool,
    pub(crate) state: TaskState,
    pub(crate) since: Time,
    pub(crate) statuses: Vec<Arc<TaskStatus>>,
    pub(crate) updates: Updates,
    pub(crate) forwarded: Option<(TaskState, Bytes)>,
    /// Not given to its executor (or: its container is still being made).
    pub(crate) queued: bool,
    pub(crate) kill: Option<Kill>,
    pub(crate) kill_timer: Option<TimerId>,
    pub(crate) completion_timer: Option<TimerId>,
    pub(crate) health: Option<Prober>,
    pub(crate) check: Option<Prober>,
    /// What the last status said about health; kept in later ones.
    pub(crate) healthy: Option<bool>,
    /// What the last check found; kept in later statuses.
    pub(crate) check_status: Option<CheckStatusInfo>,
}

impl Task {
    pub(crate) fn new(
        info: Arc<TaskInfo>,
        executor: Option<ExecutorId>,
        command: bool,
        membership: Membership,
        now: Time,
    ) -> Self {
        Self {
            info,
            queued: executor.is_some(),
            executor,
            command,
            group: membership.group,
            container: membership.container,
            pid: None,
            destroyed: false,
            state: TaskState::Staging,
            since: now,
            statuses: Vec::new(),
            updates: Updates::default(),
            forwarded: None,
            kill: None,
            kill_timer: None,
            completion_timer: None,
            health: None,
            check: None,
            healthy: None,
            check_status: None,
        }
    }

    /// Takes note of a status: a new one of the same state replaces the last.
    pub(crate) fn remember(&mut self, status: &Arc<TaskStatus>, state: TaskState) {
        let kept = if status.data.is_some() {
            Arc::new(TaskStatus {
                data: None,
                ..TaskStatus::clone(status)
            })
        } else {
            Arc::clone(status)
        };
        match self.statuses.last_mut() {
            Some(last) if last.state == kept.state => *last = kept,
            _ => {
                if self.statuses.len() == STATUSES {
                    self.statuses.remove(0);
                }
                self.statuses.push(kept);
            }
        }
        self.state = state;
        if status.healthy.is_some() {
            self.healthy = status.healthy;
        }
        if status.check_status.is_some() {
            self.check_status.clone_from(&status.check_status);
        }
    }

    pub(crate) fn snapshot(&self, key: &TaskKey) -> TaskSnapshot {
        TaskSnapshot {
            framework_id: key.framework.clone(),
            executor_id: self.executor.clone(),
            id: key.task.clone(),
            info: Arc::clone(&self.info),
            state: self.state,
            statuses: self.statuses.clone(),
            forwarded: self.forwarded.clone(),
            queued: self.queued,
            command: self.command,
            since: self.since,
        }
    }
}
