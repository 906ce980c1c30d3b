//! The updates of one task: in order, one under way at a time, each made durable before it is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tepui_model::TaskState;
use tepui_proto::mesos::v1::TaskStatus;

use crate::timers::TimerId;

/// The first pause before an unacknowledged update is sent again.
pub(crate) const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest.
pub(crate) const RETRY_LONGEST: Duration = Duration::from_secs(600);
/// Uuids that are remembered to tell a repetition, at most.
const REMEMBERED: usize = 256;

/// One update.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) status: Arc<TaskStatus>,
    pub(crate) state: TaskState,
    pub(crate) uuid: Bytes,
    /// Of its record.
    pub(crate) sequence: u64,
    pub(crate) durable: bool,
    /// It came from the task's executor.
    pub(crate) from_executor: bool,
}

/// The updates of one task that the framework has not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    pending: VecDeque<Update>,
    seen: VecDeque<Bytes>,
    /// When the first is sent again, if it was sent.
    pub(crate) timer: Option<TimerId>,
    pub(crate) pause: Duration,
}

impl Updates {
    pub(crate) fn push(&mut self, update: Update) {
        self.seen.push_back(update.uuid.clone());
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        self.pending.push_back(update);
    }

    /// The update that is under way, or next.
    pub(crate) fn head(&self) -> Option<&Update> {
        self.pending.front()
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Update> {
        self.pending.iter()
    }

    /// Whether an update with this uuid was taken before.
    pub(crate) fn knows(&self, uuid: &[u8]) -> bool {
        self.seen.iter().any(|seen| seen == uuid)
    }

    /// Whether it was taken before and is on the disk (or was even acknowledged since).
    pub(crate) fn durably_knows(&self, uuid: &[u8]) -> bool {
        self.knows(uuid)
            && self
                .pending
                .iter()
                .all(|update| update.durable || update.uuid != uuid)
    }

    /// Everything up to this record is durable; hands out what has just become so.
    pub(crate) fn became_durable(&mut self, sequence: u64) -> impl Iterator<Item = &Update> {
        let first = self.pending.partition_point(|update| update.durable);
        let fresh = self
            .pending
            .iter()
            .skip(first)
            .take_while(|update| update.sequence <= sequence)
            .count();
        for update in self.pending.iter_mut().skip(first).take(fresh) {
            update.durable = true;
        }
        self.pending.iter().skip(first).take(fresh)
    }

    /// The framework has taken the first; anything else is an old acknowledgement.
    pub(crate) fn acknowledge(&mut self, uuid: &[u8]) -> Option<Update> {
        if self
            .head()
            .is_some_and(|head| head.uuid == uuid && head.durable)
        {
            self.pending.pop_front()
        } else {
            None
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(n: u8) -> Update {
        Update {
            status: Arc::default(),
            state: TaskState::Running,
            uuid: Bytes::copy_from_slice(&[n]),
            sequence: u64::from(n),
            durable: false,
            from_executor: false,
        }
    }

    #[test]
    fn one_at_a_time_in_order_and_only_when_durable() {
        let mut updates = Updates::default();
        for n in 1..=3 {
            updates.push(update(n));
        }
        assert!(
            updates.acknowledge(&[1]).is_none(),
            "not durable yet, so never sent"
        );
        assert_eq!(
            updates
                .became_durable(2)
                .map(|u| u.sequence)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(updates.became_durable(2).count(), 0);
        assert!(updates.acknowledge(&[2]).is_none(), "not the head");
        assert_eq!(updates.acknowledge(&[1]).map(|u| u.sequence), Some(1));
        assert!(updates.acknowledge(&[1]).is_none(), "a repetition");
        assert!(
            updates.durably_knows(&[1])
                && updates.durably_knows(&[2])
                && !updates.durably_knows(&[3])
        );
        assert!(updates.knows(&[3]) && !updates.knows(&[4]));
    }
}
