//! What is to run: the vocabulary of a launch, complete and already decided.
//!
//! Nothing here is inherited from the agent: the environment, the user, the limits and the namespaces are all in the specification.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block_io::BlockIo;
use super::devices::{Devices, Gpus};
use super::error::ContainerizerError;
use super::rootfs::{Mount, RootFilesystem};
use super::seccomp::Filter;
use crate::supervisor::message::Window;

/// The longest container id: it names a directory and a cgroup.
pub const MAX_CONTAINER_ID_BYTES: usize = 200;

/// PATH of a task whose environment names none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names a container on this agent. It is one component of a path: not empty, no slash, no NUL, neither `.` nor `..`,
/// at most [`MAX_CONTAINER_ID_BYTES`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Checks that `id` can name a directory.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, ContainerizerError> {
        let id = id.into();
        let bad = id.is_empty()
            || id.len() > MAX_CONTAINER_ID_BYTES
            || &*id == "."
            || &*id == ".."
            || id.contains(['/', '\0', '\n']);
        if bad {
            return Err(ContainerizerError::InvalidId {
                id: id.chars().take(64).collect(),
            });
        }
        Ok(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ContainerizerError;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::new(id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// A container to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// New: an id that is already in use is refused.
    pub container: ContainerId,
    /// What runs.
    pub command: Command,
    /// The whole environment, in this order. PATH is searched for the executable; without PATH, [`DEFAULT_PATH`] is added.
    pub environment: Vec<(String, String)>,
    /// The working directory, which exists: with a root of the container's own, in there; on the host's file system one to which no link leads.
    pub sandbox: PathBuf,
    /// Where standard output is appended, in a directory to which no link leads; created (mode 0644, owned by the task's user) when missing. Absolute.
    pub stdout: PathBuf,
    /// Where standard error is appended. Absolute; may be the same file as `stdout`.
    pub stderr: PathBuf,
    /// The user to run as, by name; `None` is the agent's own user. Another user needs root.
    pub user: Option<String>,
    /// What the container may use.
    pub limits: Limits,
    /// Which namespaces are the container's own.
    pub namespaces: Namespaces,
    /// Limits per process, set before the user is switched.
    pub rlimits: Vec<Rlimit>,
    /// The host name seen inside; needs `namespaces.uts`.
    pub hostname: Option<String>,
    /// A network namespace to be in, by a file that keeps it, instead of one of its own; needs `namespaces.network`.
    pub network: Option<PathBuf>,
    /// What is seen elsewhere inside; needs `namespaces.mount`.
    pub mounts: Vec<BindMount>,
    /// What is seen at places of the container's choosing; needs `namespaces.mount`.
    pub volumes: Vec<Mount>,
    /// A root of the container's own; needs `namespaces.mount`.
    pub root: Option<RootFilesystem>,
    /// The capabilities that it can have at most: bit n stands for capability n. `None`: all that the agent has.
    pub capabilities: Option<u64>,
    /// The devices that it may use; `None`: all. Inside of another container those of that one count.
    pub devices: Option<Devices>,
    /// On which processors it runs.
    pub cpuset: Cpuset,
    /// How fast block devices may be used.
    pub block_io: BlockIo,
    /// How willingly the kernel ends its processes when the machine is out of memory: -1000 to 1000, `None` as the agent. Less than that needs
    /// CAP_SYS_RESOURCE.
    pub oom_score_adj: Option<i32>,
    /// GPUs of its own. Then it may use no other devices than these and those in `devices`, or the usual ones.
    pub gpus: Option<Gpus>,
    /// What its programs can never have again.
    pub seal: Seal,
    /// A terminal of this size for its standard input, output and error, instead of nothing and files: what comes is appended to `stdout`.
    pub terminal: Option<Window>,
    /// A container that runs, to be inside of.
    pub within: Option<Within>,
    /// What is at `/dev/shm`; anything but the usual needs `namespaces.mount`.
    pub shm: SharedMemory,
    /// It ends with the agent's process, whatever the lifetime of others.
    pub ephemeral: bool,
    /// Kept beside the record for later agents ([`Containerizer::notes`](super::Containerizer::notes)).
    pub note: Option<String>,
}

/// What the programs of a container can never have again. By default everything is left to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The system calls that they may make; `None`: all. Inside of a container that has a filter it is that one's.
    pub filter: Option<Filter>,
    /// No program gains privileges by being executed (setuid, file capabilities).
    pub no_new_privileges: bool,
}

/// A container inside another one: with no more capabilities, and in those of its namespaces that it does not have itself. It does
/// not outlive it where that has a pid namespace; elsewhere whoever launched it has to see to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The other one.
    pub parent: ContainerId,
    /// Its name among those inside the parent: a component of a path.
    pub name: String,
    /// Its cgroups are below the parent's, whose limits hold for both together; else they are beside it.
    pub cgroups: bool,
    /// It runs what it runs as the parent's program does: with its variables (those of the spec go before), in its working directory, as its
    /// user unless the spec names one, with its limits per process. The spec's `sandbox` is not used.
    pub inherit: bool,
}

/// What a container has at `/dev/shm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedMemory {
    /// What the host has there; in a root of the container's own, memory of its own, as large as that says.
    #[default]
    Usual,
    /// Memory of its own, of so many bytes at most.
    Own(u64),
    /// What the host has there.
    Hosts,
    /// What the container has there that it is inside of.
    Parents,
}

/// A directory of the host that a container sees in another place too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// On the host.
    pub source: PathBuf,
    /// In the container; an existing directory.
    pub target: PathBuf,
    /// Nothing may be changed through it.
    pub read_only: bool,
}

impl LaunchSpec {
    /// A container with the usual namespaces, no limits, an empty environment, and its output in `stdout` and `stderr` of the sandbox.
    pub fn new(container: ContainerId, command: Command, sandbox: impl Into<PathBuf>) -> Self {
        let sandbox = sandbox.into();
        Self {
            container,
            command,
            environment: Vec::new(),
            stdout: sandbox.join("stdout"),
            stderr: sandbox.join("stderr"),
            sandbox,
            user: None,
            limits: Limits::default(),
            namespaces: Namespaces::default(),
            rlimits: Vec::new(),
            hostname: None,
            network: None,
            mounts: Vec::new(),
            volumes: Vec::new(),
            root: None,
            capabilities: None,
            devices: None,
            cpuset: Cpuset::default(),
            block_io: BlockIo::default(),
            oom_score_adj: None,
            gpus: None,
            seal: Seal::default(),
            terminal: None,
            within: None,
            shm: SharedMemory::default(),
            ephemeral: false,
            note: None,
        }
    }
}

/// What a process executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// `/bin/sh -c <text>`.
    Shell(String),
    /// An executable, searched in PATH when it has no slash, and its whole argument vector (the first is its name for itself).
    /// An empty vector stands for the executable alone.
    Exec {
        /// Path, or name to be found in PATH.
        executable: String,
        /// `argv`, including `argv[0]`.
        arguments: Vec<String>,
    },
    /// Nothing: the container is there for others to be inside of, and holds what they share. It lasts until it is killed.
    Hold,
}

/// What a container may use. `None` is: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Thousandths of a CPU: its weight against others (1024 shares a CPU, at least 2).
    pub cpu_millis: u64,
    /// Thousandths of a CPU that it may not exceed (CFS quota, period 100 ms).
    pub cpu_limit_millis: Option<u64>,
    /// Memory it asked for, in bytes: the soft limit, and the hard one unless `memory_limit_bytes` says otherwise.
    pub memory_bytes: Option<u64>,
    /// Memory it may not exceed, in bytes. The kernel enforces this plus [`UNCHARGED_MEMORY_BYTES`].
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads together.
    pub processes: Option<u64>,
    /// Its weight is the least: it gets what others leave over.
    #[serde(default)]
    pub low_priority: bool,
}

/// Processors and nodes of memory, as lists of numbers and ranges (`0-2,7`). `None` is: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpuset {
    /// Processors.
    pub cpus: Option<String>,
    /// Nodes of memory.
    pub mems: Option<String>,
}

/// What every container gets on top of its memory limit, uncharged: Mesos grants as much for its executor.
pub const UNCHARGED_MEMORY_BYTES: u64 = 32 << 20;

/// The namespaces that are the container's own; the others are the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Processes: sees its own only, and all of them end with the task.
    pub pid: bool,
    /// Mounts: its own tree, and a fresh /proc if `pid` too.
    pub mount: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
    /// Network: nothing but `lo`, which is up.
    pub network: bool,
    /// Users: the same ids, but no power over the host. Added by itself where the agent is not root.
    pub user: bool,
}

impl Namespaces {
    /// All are the agent's.
    pub const NONE: Self = Self {
        pid: false,
        mount: false,
        ipc: false,
        uts: false,
        network: false,
        user: false,
    };

    /// Those that are in either.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            pid: self.pid || other.pid,
            mount: self.mount || other.mount,
            ipc: self.ipc || other.ipc,
            uts: self.uts || other.uts,
            network: self.network || other.network,
            user: self.user || other.user,
        }
    }

    /// Those that are in this and not in the other.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            pid: self.pid && !other.pid,
            mount: self.mount && !other.mount,
            ipc: self.ipc && !other.ipc,
            uts: self.uts && !other.uts,
            network: self.network && !other.network,
            user: self.user && !other.user,
        }
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            pid: true,
            mount: true,
            ipc: true,
            uts: true,
            network: false,
            user: false,
        }
    }
}

/// One resource limit of processes, as in setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Of what.
    pub kind: RlimitKind,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    /// `None` is unlimited.
    pub hard: Option<u64>,
}

/// The limits that Mesos' `RLimitInfo` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of setrlimit(2)")]
pub enum RlimitKind {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillScope {
    /// The task's first process alone.
    Task,
    /// Every process of the container, daemons included.
    Tree,
}

/// A command to run inside a container that is up: in its namespaces and cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// What runs.
    pub command: Command,
    /// The whole environment, unless it inherits one.
    pub environment: Vec<(String, String)>,
    /// As [`Within::inherit`] has it; otherwise it runs in `/`.
    pub inherit: bool,
    /// As [`LaunchSpec::user`].
    pub user: Option<String>,
    /// How much of standard output and of standard error is kept, in bytes each; the rest is read and dropped.
    pub output_limit_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_path_components() {
        for good in [
            "a",
            "5d6f-44.x",
            "web_1",
            &"x".repeat(MAX_CONTAINER_ID_BYTES),
        ] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\0b",
            "a\nb",
            &"x".repeat(MAX_CONTAINER_ID_BYTES + 1),
        ] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
        }
    }
}
