//! The states of a task, with Mesos' v1 names and numbers.

use std::fmt;
use std::str::FromStr;

/// The text or number is no task state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a task state")]
pub struct UnknownTaskState(pub String);

macro_rules! task_states {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, terminal: $terminal:literal, partition_aware: $aware:literal;)*) => {
        /// Where a task is in its life. Staging, then starting, running, killing, and one terminal state; unreachable is a detour
        /// from any live state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum TaskState {
            $($(#[$doc])* $name = $number,)*
        }

        impl TaskState {
            /// Every state, by number.
            pub const ALL: &'static [TaskState] = &[$(TaskState::$name,)*];

            /// The name on the wire, for example `TASK_RUNNING`.
            pub const fn name(self) -> &'static str {
                match self { $(TaskState::$name => $text,)* }
            }

            /// Whether the task holds no resources any more and never will. A lost task counts as terminal, though the agent may
            /// bring it back.
            pub const fn is_terminal(self) -> bool {
                match self { $(TaskState::$name => $terminal,)* }
            }

            /// Whether only frameworks with PARTITION_AWARE are told this state; others are told `TASK_LOST`.
            pub const fn is_partition_aware(self) -> bool {
                match self { $(TaskState::$name => $aware,)* }
            }
        }
    };
}

task_states! {
    /// The process is being started.
    Starting = 0, "TASK_STARTING", terminal: false, partition_aware: false;
    /// The process runs.
    Running = 1, "TASK_RUNNING", terminal: false, partition_aware: false;
    /// It ended by itself and well.
    Finished = 2, "TASK_FINISHED", terminal: true, partition_aware: false;
    /// It ended by itself and badly, or the agent ended it.
    Failed = 3, "TASK_FAILED", terminal: true, partition_aware: false;
    /// It was killed at someone's wish.
    Killed = 4, "TASK_KILLED", terminal: true, partition_aware: false;
    /// What became of it is unknown, for frameworks that do not know the finer states.
    Lost = 5, "TASK_LOST", terminal: true, partition_aware: false;
    /// Accepted by the master, not yet heard of again.
    Staging = 6, "TASK_STAGING", terminal: false, partition_aware: false;
    /// Its description was invalid; it never ran.
    Error = 7, "TASK_ERROR", terminal: true, partition_aware: false;
    /// It is being killed; told only to frameworks with TASK_KILLING_STATE.
    Killing = 8, "TASK_KILLING", terminal: false, partition_aware: false;
    /// It never reached its executor.
    Dropped = 9, "TASK_DROPPED", terminal: true, partition_aware: true;
    /// Its agent is partitioned; it may come back.
    Unreachable = 10, "TASK_UNREACHABLE", terminal: false, partition_aware: true;
    /// Its agent is there and does not have it.
    Gone = 11, "TASK_GONE", terminal: true, partition_aware: true;
    /// An operator has declared its agent gone.
    GoneByOperator = 12, "TASK_GONE_BY_OPERATOR", terminal: true, partition_aware: true;
    /// The master has never heard of it.
    Unknown = 13, "TASK_UNKNOWN", terminal: false, partition_aware: true;
}

impl TaskState {
    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The state with this wire number.
    pub fn from_number(number: i32) -> Option<TaskState> {
        usize::try_from(number)
            .ok()
            .and_then(|index| TaskState::ALL.get(index))
            .copied()
    }

    /// What a framework is told: the state itself, or `TASK_LOST` if it is not PARTITION_AWARE and the state is.
    pub const fn told_to(self, partition_aware: bool) -> TaskState {
        if self.is_partition_aware() && !partition_aware {
            TaskState::Lost
        } else {
            self
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TaskState {
    type Err = UnknownTaskState;
    fn from_str(name: &str) -> Result<TaskState, UnknownTaskState> {
        TaskState::ALL
            .iter()
            .copied()
            .find(|state| state.name() == name)
            .ok_or_else(|| UnknownTaskState(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for (index, state) in TaskState::ALL.iter().enumerate() {
            assert_eq!(state.number(), i32::try_from(index).unwrap());
            assert_eq!(TaskState::from_number(state.number()), Some(*state));
            assert_eq!(state.name().parse(), Ok(*state));
        }
        assert_eq!(TaskState::from_number(14), None);
        assert_eq!(TaskState::from_number(-1), None);
        assert!("RUNNING".parse::<TaskState>().is_err());
    }

    #[test]
    fn the_terminal_table() {
        let live: Vec<_> = TaskState::ALL
            .iter()
            .filter(|s| !s.is_terminal())
            .map(|s| s.name())
            .collect();
        assert_eq!(
            live,
            [
                "TASK_STARTING",
                "TASK_RUNNING",
                "TASK_STAGING",
                "TASK_KILLING",
                "TASK_UNREACHABLE",
                "TASK_UNKNOWN"
            ]
        );
        assert_eq!(TaskState::Gone.told_to(false), TaskState::Lost);
        assert_eq!(TaskState::Gone.told_to(true), TaskState::Gone);
        assert_eq!(TaskState::Failed.told_to(false), TaskState::Failed);
    }
}
