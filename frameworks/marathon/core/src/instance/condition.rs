//! What an instance is wanted to do and what it does.

use serde::{Deserialize, Serialize};
use tepui_proto::mesos::{TaskState, TaskStatus, task_status::Reason};

/// What is wanted of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// A task shall run.
    Running,
    /// Its task shall end; what is reserved for it stays, until it is wanted again.
    Stopped,
    /// Its task shall end, and it shall be forgotten then.
    Decommissioned,
}

/// What an instance does; most come straight from a task status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    /// Wants an offer; never launched.
    Scheduled,
    /// Launched, nothing heard yet.
    Provisioned,
    /// TASK_STAGING.
    Staging,
    /// TASK_STARTING.
    Starting,
    /// TASK_RUNNING.
    Running,
    /// TASK_KILLING.
    Killing,
    /// TASK_UNREACHABLE, still counted.
    Unreachable,
    /// Unreachable for so long that it is replaced.
    UnreachableInactive,
    /// TASK_FINISHED.
    Finished,
    /// TASK_KILLED.
    Killed,
    /// TASK_ERROR.
    Error,
    /// TASK_FAILED.
    Failed,
    /// TASK_GONE.
    Gone,
    /// TASK_DROPPED.
    Dropped,
    /// TASK_UNKNOWN.
    Unknown,
}

impl Condition {
    /// The word in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Provisioned => "Provisioned",
            Self::Staging => "Staging",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Killing => "Killing",
            Self::Unreachable => "Unreachable",
            Self::UnreachableInactive => "UnreachableInactive",
            Self::Finished => "Finished",
            Self::Killed => "Killed",
            Self::Error => "Error",
            Self::Failed => "Failed",
            Self::Gone => "Gone",
            Self::Dropped => "Dropped",
            Self::Unknown => "Unknown",
        }
    }

    /// The name of the Mesos state that clients see.
    #[must_use]
    pub const fn mesos_state(self) -> &'static str {
        match self {
            Self::Scheduled | Self::Provisioned | Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Unreachable | Self::UnreachableInactive => "TASK_UNREACHABLE",
            Self::Finished => "TASK_FINISHED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Failed => "TASK_FAILED",
            Self::Gone => "TASK_GONE",
            Self::Dropped => "TASK_DROPPED",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }

    /// Its task exists, or may.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Self::Provisioned
                | Self::Staging
                | Self::Starting
                | Self::Running
                | Self::Killing
                | Self::Unreachable
        )
    }

    /// Its task may run, and nothing can be told to it.
    #[must_use]
    pub const fn is_out_of_reach(self) -> bool {
        matches!(self, Self::Unreachable | Self::UnreachableInactive)
    }

    /// Its task is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Killed
                | Self::Error
                | Self::Failed
                | Self::Gone
                | Self::Dropped
                | Self::Unknown
        )
    }

    /// Its task ended by itself: the app waits before it launches again.
    #[must_use]
    pub const fn delays_launch(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Error | Self::Dropped | Self::Gone | Self::Finished
        )
    }

    /// What a status says.
    #[must_use]
    pub fn of(status: &TaskStatus) -> Self {
        match status.state() {
            TaskState::TaskStaging => Self::Staging,
            TaskState::TaskStarting => Self::Starting,
            TaskState::TaskRunning => Self::Running,
            TaskState::TaskKilling => Self::Killing,
            TaskState::TaskFinished => Self::Finished,
            TaskState::TaskFailed => Self::Failed,
            TaskState::TaskKilled => Self::Killed,
            TaskState::TaskError => Self::Error,
            TaskState::TaskDropped => Self::Dropped,
            TaskState::TaskUnknown => Self::Unknown,
            TaskState::TaskUnreachable => Self::Unreachable,
            TaskState::TaskGone | TaskState::TaskGoneByOperator => Self::Gone,
            TaskState::TaskLost => Self::of_lost(status),
        }
    }

    fn of_lost(status: &TaskStatus) -> Self {
        let reason = status
            .reason
            .and_then(|reason| Reason::try_from(reason).ok());
        if status
            .message()
            .starts_with("Reconciliation: Task is unknown to the")
            || reason == Some(Reason::TaskUnknown)
        {
            return Self::Unknown;
        }
        match reason {
            Some(Reason::Reconciliation | Reason::AgentDisconnected | Reason::AgentRemoved) => {
                Self::Unreachable
            }
            _ => Self::Gone,
        }
    }
}

/// Mesos' name of a status' state.
pub(crate) fn state_name(status: &TaskStatus) -> &'static str {
    status.state().as_str_name()
}
