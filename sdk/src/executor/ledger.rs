//! What an executor has to repeat until its agent has it: updates that were not acknowledged, and tasks of which none was. Pure.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use bytes::Bytes;
use tepui_proto::mesos;
use tepui_proto::mesos::executor::call;

/// Updates that are kept for the agent; beyond it the author's calls are refused.
pub(super) const UPDATE_LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In the order in which they were made: agents want each task's updates in order.
    updates: BTreeMap<u64, mesos::TaskStatus>,
    next: u64,
    /// The numbers of the updates with these uuids.
    numbers: HashMap<Bytes, u64>,
    /// Launched, and no update of them acknowledged yet.
    tasks: BTreeMap<String, mesos::TaskInfo>,
}

impl Ledger {
    pub(super) fn launched(&mut self, task: &mesos::TaskInfo) {
        self.tasks.insert(task.task_id.value.clone(), task.clone());
    }

    /// Keeps an update; `false` if there is no room.
    pub(super) fn update(&mut self, status: &mesos::TaskStatus) -> bool {
        if self.updates.len() >= UPDATE_LIMIT {
            return false;
        }
        self.updates.insert(self.next, status.clone());
        if let Some(uuid) = &status.uuid {
            self.numbers.insert(uuid.clone(), self.next);
        }
        self.next += 1;
        true
    }

    /// The agent has this one.
    pub(super) fn acknowledged(&mut self, task: &mesos::TaskId, uuid: &Bytes) {
        if let Some(number) = self.numbers.get(uuid)
            && let Entry::Occupied(update) = self.updates.entry(*number)
            && update.get().task_id == *task
        {
            update.remove();
            self.numbers.remove(uuid);
        }
        self.tasks.remove(&task.value);
    }

    /// What a subscription says of before.
    pub(super) fn subscribe(&self) -> call::Subscribe {
        call::Subscribe {
            unacknowledged_tasks: self.tasks.values().cloned().collect(),
            unacknowledged_updates: self
                .updates
                .values()
                .map(|status| call::Update {
                    status: status.clone(),
                })
                .collect(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.updates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(task: &str, uuid: &'static str) -> mesos::TaskStatus {
        mesos::TaskStatus {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            uuid: Some(Bytes::from_static(uuid.as_bytes())),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_not_acknowledged_is_repeated_in_order() {
        let mut ledger = Ledger::default();
        for task in ["a", "b"] {
            ledger.launched(&mesos::TaskInfo {
                task_id: mesos::TaskId {
                    value: task.to_owned(),
                },
                ..Default::default()
            });
        }
        for (task, uuid) in [("a", "1"), ("b", "2"), ("a", "3")] {
            assert!(ledger.update(&status(task, uuid)));
        }
        let repeated = |ledger: &Ledger| {
            let subscribe = ledger.subscribe();
            let tasks: Vec<String> = subscribe
                .unacknowledged_tasks
                .into_iter()
                .map(|task| task.task_id.value)
                .collect();
            let updates: Vec<Bytes> = subscribe
                .unacknowledged_updates
                .into_iter()
                .filter_map(|update| update.status.uuid)
                .collect();
            (tasks.concat(), updates.concat())
        };
        assert_eq!(repeated(&ledger), ("ab".to_owned(), b"123".to_vec()));
        ledger.acknowledged(
            &mesos::TaskId {
                value: "a".to_owned(),
            },
            &Bytes::from_static(b"1"),
        );
        assert_eq!(
            repeated(&ledger),
            ("b".to_owned(), b"23".to_vec()),
            "one acknowledged update speaks for its task"
        );
        ledger.acknowledged(
            &mesos::TaskId {
                value: "b".to_owned(),
            },
            &Bytes::from_static(b"3"),
        );
        assert_eq!(
            repeated(&ledger),
            (String::new(), b"23".to_vec()),
            "a uuid counts only with its own task"
        );
    }

    #[test]
    fn there_is_a_limit() {
        let mut ledger = Ledger::default();
        for _ in 0..UPDATE_LIMIT {
            assert!(ledger.update(&status("a", "1")));
        }
        assert!(!ledger.update(&status("a", "1")));
    }
}
