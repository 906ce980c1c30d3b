//! How many operations there were, by type and state: what the metrics `master/operations/…` tell.

use std::collections::BTreeMap;

use tepui_proto::mesos::offer::operation;
use tepui_proto::mesos::{Operation, OperationState};

/// States that an operation leaves again; of these as many are told as there are now.
const PASSING: [OperationState; 3] = [
    OperationState::OperationPending,
    OperationState::OperationRecovering,
    OperationState::OperationUnreachable,
];

/// Operations that ended, by type and state; each is counted once.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperationCounts {
    ended: BTreeMap<(i32, i32), u64>,
}

/// Whether there is a metric for what is in this state now.
pub(crate) fn is_passing(state: OperationState) -> bool {
    PASSING.contains(&state)
}

impl OperationCounts {
    /// An operation is new (`before` is none) or its status changed.
    pub(super) fn take_in(&mut self, now: &Operation, before: Option<&Operation>) {
        let state = now.latest_status.state;
        if before.is_some_and(|before| before.latest_status.state == state)
            || is_passing(now.latest_status.state())
        {
            return;
        }
        *self
            .ended
            .entry((now.info.r#type.unwrap_or_default(), state))
            .or_default() += 1;
    }

    /// Type, state and number of what ended.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (operation::Type, OperationState, u64)> {
        self.ended.iter().filter_map(|((kind, state), count)| {
            Some((
                operation::Type::try_from(*kind).ok()?,
                OperationState::try_from(*state).ok()?,
                *count,
            ))
        })
    }
}
