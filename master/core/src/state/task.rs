//! A task as the master knows it, and what can happen to its state.

use std::sync::Arc;

use tepui_model::{Resources, Role, TaskState};
use tepui_proto::mesos::{KillPolicy, TaskStatus};

use super::{AgentIx, FrameworkIx};
use crate::change::{TaskKey, TaskList, TaskSnapshot};
use crate::facts::{KeptStatus, Statuses, TaskFacts};

/// A kill that the agent may not have heard of: repeated when the agent returns.
#[derive(Debug, Clone)]
pub(crate) struct PendingKill {
    pub(crate) policy: Option<KillPolicy>,
}

/// A task of an active list.
pub(crate) struct Task {
    pub(crate) key: TaskKey,
    pub(crate) framework: FrameworkIx,
    pub(crate) agent: AgentIx,
    /// Where it stands in its agent's list.
    pub(crate) slot: u32,
    pub(crate) facts: Arc<TaskFacts>,
    pub(crate) state: TaskState,
    pub(crate) statuses: Statuses,
    pub(crate) status_update_state: Option<TaskState>,
    pub(crate) status_update_uuid: Option<[u8; 16]>,
    pub(crate) role: Role,
    /// Empty once they were freed.
    pub(crate) resources: Resources,
    pub(crate) kill: Option<PendingKill>,
}

/// A task on an agent that is out of reach. When the agent returns the task goes on under its key.
#[derive(Debug)]
pub(crate) struct Unreachable {
    pub(crate) key: TaskKey,
    pub(crate) snapshot: TaskSnapshot,
}

impl Task {
    /// Add a status (without data) to the history: of consecutive ones with one state only the last is kept.
    pub(crate) fn remember(&mut self, status: &TaskStatus) {
        if self
            .statuses
            .last()
            .is_some_and(|last| last.state() == status.state)
        {
            self.statuses.pop();
        }
        self.statuses.push(KeptStatus::new(status, &self.facts));
        // States move forward, so a history has a handful of entries; a peer that flips between two is cut off here.
        if self.statuses.len() > MAX_STATUSES {
            self.statuses.remove(0);
        }
    }

    pub(crate) fn snapshot(&self, list: TaskList) -> TaskSnapshot {
        TaskSnapshot {
            key: self.key,
            facts: Arc::clone(&self.facts),
            list,
            state: self.state,
            statuses: self.statuses.clone(),
            status_update_state: self.status_update_state,
            status_update_uuid: self.status_update_uuid,
        }
    }
}

/// The longest history of one task.
const MAX_STATUSES: usize = 32;
