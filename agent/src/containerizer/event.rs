//! What became of a container.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::block_io::BlockUsage;
use super::spec::ContainerId;

/// Told on the stream of [`Containerizer::start`](super::Containerizer::start). For one container: at most one `Started`, then
/// exactly one `Exited`, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The task's program has been executed.
    Started {
        /// Which container.
        container: ContainerId,
        /// The container's first process (its init), in the agent's pid namespace.
        pid: u32,
    },
    /// Nothing of the container runs any more. Its record stays until [`Containerizer::destroy`](super::Containerizer::destroy),
    /// so that an agent that dies before it has noted the exit learns of it again.
    Exited {
        /// Which container.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Of the task's first process, if it ever ran and its end was seen.
    pub status: Option<WaitStatus>,
    /// Why.
    pub reason: ExitReason,
    /// Milliseconds since the epoch.
    pub ended_at_ms: u64,
    /// What it had used, where cgroups tell.
    pub usage: Option<Box<Usage>>,
}

/// Why a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// The task ended by itself or by a signal: see the status.
    Ended,
    /// It exceeded its memory limit (CONTAINER_LIMITATION_MEMORY) and all of it was killed.
    MemoryLimit(MemoryLimitation),
    /// It never ran.
    LaunchFailed(LaunchFailure),
    /// Its supervisor was killed, and the container with it; how the task ended is not known.
    Lost,
}

/// The facts of an out-of-memory kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimitation {
    /// What the kernel enforced, in bytes.
    pub limit_bytes: u64,
    /// The most that was in use, in bytes.
    pub max_usage_bytes: u64,
}

impl fmt::Display for MemoryLimitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Memory limit exceeded: Requested: {}MB Maximum Used: {}MB",
            self.limit_bytes >> 20,
            self.max_usage_bytes >> 20
        )
    }
}

/// Which step of a launch failed, on what, and what the kernel said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFailure {
    /// For people: "change to the sandbox".
    pub step: String,
    /// The path, name or value it was about; may be empty.
    pub subject: String,
    /// errno, 0 where it was not a system call that failed.
    pub errno: i32,
}

impl fmt::Display for LaunchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed to {}", self.step)?;
        if !self.subject.is_empty() {
            write!(f, " '{}'", self.subject)?;
        }
        if self.errno != 0 {
            write!(f, ": {}", nix::errno::Errno::from_raw(self.errno).desc())?;
        }
        Ok(())
    }
}

impl std::error::Error for LaunchFailure {}

/// A status as of wait(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WaitStatus(i32);

impl WaitStatus {
    /// From wait(2).
    pub const fn from_raw(status: i32) -> Self {
        Self(status)
    }

    /// As of wait(2).
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Of a process that exited with `code`.
    pub const fn exited(code: u8) -> Self {
        Self((code as i32) << 8)
    }

    /// Of a process that was killed by `signal`.
    pub const fn killed(signal: i32) -> Self {
        Self(signal & 0x7f)
    }

    /// The exit code, unless a signal ended it.
    pub const fn code(self) -> Option<i32> {
        if self.0 & 0x7f == 0 {
            Some((self.0 >> 8) & 0xff)
        } else {
            None
        }
    }

    /// The signal that ended it.
    pub const fn signal(self) -> Option<i32> {
        if self.0 & 0x7f == 0 {
            None
        } else {
            Some(self.0 & 0x7f)
        }
    }

    /// Exit code 0.
    pub const fn success(self) -> bool {
        matches!(self.code(), Some(0))
    }
}

/// "exited with status 3", "terminated with signal Killed": after "Command", what Mesos says.
impl fmt::Display for WaitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code(), self.signal()) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (None, Some(signal)) => {
                write!(f, "terminated with signal {}", signal_description(signal))?;
                if self.0 & 0x80 != 0 {
                    f.write_str(" (core dumped)")
                } else {
                    Ok(())
                }
            }
            (None, None) => write!(f, "ended with wait status {}", self.0),
        }
    }
}

/// As strsignal(3) of the C library has it in English.
fn signal_description(signal: i32) -> String {
    let name = match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        16 => "Stack fault",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        26 => "Virtual timer expired",
        27 => "Profiling timer expired",
        29 => "I/O possible",
        30 => "Power failure",
        31 => "Bad system call",
        other => return format!("{other}"),
    };
    name.to_owned()
}

/// What a container uses or has used. `None` where this machine cannot tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, in nanoseconds.
    pub cpu_user_ns: Option<u64>,
    /// CPU time in the kernel, in nanoseconds.
    pub cpu_system_ns: Option<u64>,
    /// Scheduler periods with a quota.
    pub cpu_periods: Option<u64>,
    /// Periods in which it was throttled.
    pub cpu_throttled_periods: Option<u64>,
    /// How long it was throttled, in nanoseconds.
    pub cpu_throttled_ns: Option<u64>,
    /// Memory charged, page cache included, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Anonymous memory, in bytes.
    pub memory_rss_bytes: Option<u64>,
    /// Page cache, in bytes.
    pub memory_cache_bytes: Option<u64>,
    /// Mapped files, in bytes.
    pub memory_mapped_file_bytes: Option<u64>,
    /// The most memory ever charged, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// The hard limit, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Threads, the processes' first ones included.
    pub threads: Option<u64>,
    /// What was read from and written to block devices, if that is measured.
    #[serde(default)]
    pub block: Vec<BlockUsage>,
}

impl Usage {
    /// What two containers use together. Their limit is known if both have one; the most memory that both had is at most the sum of what each had.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        let mut block = self.block;
        for more in other.block {
            match block.iter_mut().find(|known| known.device == more.device) {
                Some(known) => known.add(&more),
                None => block.push(more),
            }
        }
        Self {
            cpu_user_ns: sum(self.cpu_user_ns, other.cpu_user_ns),
            cpu_system_ns: sum(self.cpu_system_ns, other.cpu_system_ns),
            cpu_periods: sum(self.cpu_periods, other.cpu_periods),
            cpu_throttled_periods: sum(self.cpu_throttled_periods, other.cpu_throttled_periods),
            cpu_throttled_ns: sum(self.cpu_throttled_ns, other.cpu_throttled_ns),
            memory_total_bytes: sum(self.memory_total_bytes, other.memory_total_bytes),
            memory_rss_bytes: sum(self.memory_rss_bytes, other.memory_rss_bytes),
            memory_cache_bytes: sum(self.memory_cache_bytes, other.memory_cache_bytes),
            memory_mapped_file_bytes: sum(
                self.memory_mapped_file_bytes,
                other.memory_mapped_file_bytes,
            ),
            memory_max_bytes: sum(self.memory_max_bytes, other.memory_max_bytes),
            memory_limit_bytes: self
                .memory_limit_bytes
                .zip(other.memory_limit_bytes)
                .map(|(one, other)| one.saturating_add(other)),
            processes: sum(self.processes, other.processes),
            threads: sum(self.threads, other.threads),
            block,
        }
    }
}

/// What a command run inside a container left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: WaitStatus,
    /// The first bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The first bytes of its standard error.
    pub stderr: Vec<u8>,
}

/// A container that a former agent process left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It runs; its exit will come on the event stream.
    Running {
        /// Which container.
        container: ContainerId,
        /// Its first process.
        pid: u32,
    },
    /// It ended meanwhile. No event will come; its record stays until it is destroyed.
    Exited {
        /// Which container.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// There is no trace of it: it was never launched, or the machine has restarted since.
    Unknown {
        /// Which container.
        container: ContainerId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::block_io::BlockOperation;
    use nix::libc;

    #[test]
    fn what_containers_use_is_added_up() {
        let block = |device, bytes| BlockUsage {
            device,
            operations: vec![(BlockOperation::Read, 1)],
            bytes: vec![(BlockOperation::Read, bytes)],
        };
        let usage = |cpu, limit, device, bytes| Usage {
            cpu_user_ns: cpu,
            memory_limit_bytes: limit,
            block: vec![block(None, bytes), block(device, bytes)],
            ..Usage::default()
        };
        let device = |minor| Some((8, minor));
        let both = usage(Some(1), Some(10), device(0), 5).plus(usage(Some(2), None, device(1), 7));
        assert_eq!((both.cpu_user_ns, both.memory_limit_bytes), (Some(3), None));
        assert_eq!(both.block[0].bytes, [(BlockOperation::Read, 12)]);
        assert_eq!(both.block[0].operations, [(BlockOperation::Read, 2)]);
        assert_eq!(both.block.len(), 3);
        let both = usage(None, Some(10), None, 0).plus(usage(Some(2), Some(5), None, 0));
        assert_eq!(
            (both.cpu_user_ns, both.memory_limit_bytes),
            (Some(2), Some(15))
        );
    }

    #[test]
    fn statuses_read_as_mesos_words_them() {
        for (raw, words) in [
            (0, "exited with status 0"),
            (3 << 8, "exited with status 3"),
            (255 << 8, "exited with status 255"),
            (9, "terminated with signal Killed"),
            (15, "terminated with signal Terminated"),
            (
                11 | 0x80,
                "terminated with signal Segmentation fault (core dumped)",
            ),
            (40, "terminated with signal 40"),
        ] {
            assert_eq!(WaitStatus::from_raw(raw).to_string(), words);
        }
        assert_eq!(WaitStatus::exited(7).code(), Some(7));
        assert_eq!(WaitStatus::killed(9).signal(), Some(9));
        assert!(WaitStatus::exited(0).success());
    }

    #[test]
    fn failures_name_the_step_the_subject_and_the_cause() {
        let failure = LaunchFailure {
            step: "execute".into(),
            subject: "/nowhere".into(),
            errno: libc::ENOENT,
        };
        assert_eq!(
            failure.to_string(),
            "Failed to execute '/nowhere': No such file or directory"
        );
        let failure = LaunchFailure {
            step: "find the user".into(),
            subject: "nobody2".into(),
            errno: 0,
        };
        assert_eq!(failure.to_string(), "Failed to find the user 'nobody2'");
    }

    #[test]
    fn a_memory_limitation_reads_as_mesos_words_it() {
        let limitation = MemoryLimitation {
            limit_bytes: 64 << 20,
            max_usage_bytes: 64 << 20,
        };
        assert_eq!(
            limitation.to_string(),
            "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB"
        );
    }
}
