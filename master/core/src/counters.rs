//! Numbers for the metrics: counters that never fall and gauges of now, kept by the core and read by the shell after each batch.
//! The names are those of Mesos' `/metrics/snapshot` without their prefix.

use std::collections::BTreeMap;

use tepui_model::TaskState;
use tepui_proto::mesos::OperationState;
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::task_status::{Reason, Source};

/// Counters and gauges of a master.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Calls and messages taken, by kind.
    pub messages: MessageCounters,
    /// Messages that could not be used: of unknown streams, about unknown objects.
    pub dropped_messages: u64,
    /// `valid_…`/`invalid_…` pairs.
    pub valid_framework_to_executor_messages: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_framework_to_executor_messages: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub valid_executor_to_framework_messages: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_executor_to_framework_messages: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub valid_status_updates: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_status_updates: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub valid_status_update_acknowledgements: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_status_update_acknowledgements: u64,
    /// First registrations of agents.
    pub slave_registrations: u64,
    /// Returns of agents.
    pub slave_reregistrations: u64,
    /// Agents removed for any reason.
    pub slave_removals: u64,
    /// Of these: unhealthy, unregistered, registered anew.
    pub slave_removals_unhealthy: u64,
    /// See [`Self::slave_removals_unhealthy`].
    pub slave_removals_registered: u64,
    /// See [`Self::slave_removals_unhealthy`].
    pub slave_removals_unregistered: u64,
    /// Agents whose time-out was noticed.
    pub slave_unreachable_scheduled: u64,
    /// Agents marked unreachable.
    pub slave_unreachable_completed: u64,
    /// Agents that answered, or came back, while their removal waited for `--agent_removal_rate_limit`.
    pub slave_unreachable_canceled: u64,
    /// Agents of the registry that did not return to a new leader in time.
    pub recovery_slave_removals: u64,
    /// Gauge: agents of the registry that did not return in time and are kept, because they are more than
    /// `--recovery_agent_removal_limit` allows.
    pub recovery_slaves_kept: u64,
    /// Gauge: tasks in the active lists by state, indexed by the state's number.
    pub tasks_now: [u64; 16],
    /// Counter: tasks that reached a terminal state, indexed by the state's number.
    pub tasks_terminal: [u64; 16],
    /// Gauge: tasks on agents out of reach that are still remembered.
    pub tasks_unreachable: u64,
    /// `task_<state>/source_<source>/reason_<reason>`, by the numbers of the enums.
    pub task_causes: BTreeMap<(i32, i32, i32), u64>,
    /// Tasks launched.
    pub tasks_launched: u64,
    /// Gauge.
    pub outstanding_offers: u64,
    /// Counters of offers.
    pub offers: OfferCounters,
    /// Gauges of agents.
    pub slaves_connected: u64,
    /// See [`Self::slaves_connected`].
    pub slaves_disconnected: u64,
    /// Connected and not deactivated.
    pub slaves_active: u64,
    /// Disconnected or deactivated.
    pub slaves_inactive: u64,
    /// In the registry as unreachable.
    pub slaves_unreachable: u64,
    /// In the registry and not back at this leader.
    pub slaves_recovered: u64,
    /// Gauges of frameworks.
    pub frameworks_connected: u64,
    /// See [`Self::frameworks_connected`].
    pub frameworks_disconnected: u64,
    /// See [`Self::frameworks_connected`].
    pub frameworks_active: u64,
    /// See [`Self::frameworks_connected`].
    pub frameworks_inactive: u64,
    /// Operations by type and state.
    pub operations: OperationCounters,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub valid_operation_status_updates: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_operation_status_updates: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub valid_operation_status_update_acknowledgements: u64,
    /// See [`Self::valid_framework_to_executor_messages`].
    pub invalid_operation_status_update_acknowledgements: u64,
    /// Runs of the allocator.
    pub allocation_runs: u64,
    /// Gauge: writes that the registry has not answered.
    pub registrar_queued_operations: u64,
}

impl Counters {
    /// Gauge: tasks in the active lists that are in `state`.
    #[must_use]
    pub fn tasks_in(&self, state: TaskState) -> u64 {
        self.tasks_now.get(state as usize).copied().unwrap_or(0)
    }

    /// Counter: tasks that ended in `state`.
    #[must_use]
    pub fn tasks_ended_in(&self, state: TaskState) -> u64 {
        self.tasks_terminal
            .get(state as usize)
            .copied()
            .unwrap_or(0)
    }

    #[allow(dead_code)]
    pub(crate) fn task_cause(&mut self, state: TaskState, source: Source, reason: Reason) {
        *self
            .task_causes
            .entry((state as i32, source as i32, reason as i32))
            .or_insert(0) += 1;
    }
}

/// `messages_…`.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct MessageCounters {
    pub register_framework: u64,
    pub reregister_framework: u64,
    pub unregister_framework: u64,
    pub deactivate_framework: u64,
    pub kill_task: u64,
    pub status_update_acknowledgement: u64,
    pub resource_request: u64,
    pub launch_tasks: u64,
    pub decline_offers: u64,
    pub revive_offers: u64,
    pub suppress_offers: u64,
    pub reconcile_tasks: u64,
    pub reconcile_operations: u64,
    pub framework_to_executor: u64,
    pub executor_to_framework: u64,
    pub operation_status_update: u64,
    pub operation_status_update_acknowledgement: u64,
    pub register_slave: u64,
    pub reregister_slave: u64,
    pub unregister_slave: u64,
    pub status_update: u64,
    pub exited_executor: u64,
    pub update_slave: u64,
}

/// `operations/…`: how many operations of each type (rows, by `Offer.Operation.Type`) are or ended in each state (columns, by
/// `OperationState`). PENDING, RECOVERING and UNREACHABLE are gauges, all others counters.
#[derive(Debug, Clone, Default)]
pub struct OperationCounters {
    /// See the struct's comment.
    pub by_type_and_state: [[u64; 10]; 16],
}

impl OperationCounters {
    /// `operations/<type>/<state>`.
    #[must_use]
    pub fn of(&self, kind: Type, state: OperationState) -> u64 {
        self.by_type_and_state
            .get(kind as usize)
            .and_then(|row| row.get(state as usize))
            .copied()
            .unwrap_or(0)
    }

    /// `operations/<state>`.
    #[must_use]
    pub fn in_state(&self, state: OperationState) -> u64 {
        self.by_type_and_state
            .iter()
            .filter_map(|row| row.get(state as usize))
            .sum()
    }

    /// `operations/<type>/total`.
    #[must_use]
    pub fn of_type(&self, kind: Type) -> u64 {
        self.by_type_and_state
            .get(kind as usize)
            .map_or(0, |row| row.iter().sum())
    }

    pub(crate) fn place(&mut self, kind: Type, state: OperationState) -> Option<&mut u64> {
        self.by_type_and_state
            .get_mut(kind as usize)?
            .get_mut(state as usize)
    }
}

/// What became of offers, of all frameworks or of one.
#[derive(Debug, Clone, Default)]
pub struct OfferCounters {
    /// Made.
    pub sent: u64,
    /// Ended by ACCEPT with operations.
    pub accepted: u64,
    /// Ended by DECLINE, or by ACCEPT without operations.
    pub declined: u64,
    /// Ended by the master, told or not.
    pub rescinded: u64,
}

/// Numbers of one framework (`master/frameworks/<name>/<id>/…`).
#[derive(Debug, Clone, Default)]
pub struct FrameworkCounters {
    /// Calls by the number of their type.
    pub calls: [u64; 20],
    /// Events by the number of their type.
    pub events: [u64; 16],
    /// Its offers.
    pub offers: OfferCounters,
    /// Gauge: its tasks in the active list by the state's number.
    pub tasks_active: [u64; 16],
    /// Counter: its tasks that ended, by the state's number.
    pub tasks_terminal: [u64; 16],
    /// Counter: operations taken from it, by the number of their type. LAUNCH and LAUNCH_GROUP count tasks, as in Mesos.
    pub operations: [u64; 16],
}

impl FrameworkCounters {
    /// Calls of all types.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.calls.iter().sum()
    }
}
