//! Native Linux containers: launch, isolate, watch, signal, recover and destroy the processes of tasks.
//!
//! **How.** [`Containerizer::start`] starts a *launcher*: a small single-threaded process made by executing this program anew. For every container the
//! launcher forks a *supervisor*, which makes the cgroups, the namespaces and the container's *init*; init executes the task, reaps
//! what is left behind in the container and forwards signals. Supervisors outlive launcher and agent, and write how their container
//! ended beside its pid in `<runtime_dir>/containers/<id>/`, where the next agent process finds it.
//!
//! **Promises.** An exit is told once to a living agent, at once and without polling, and to every later one until it says
//! [`destroy`](Containerizer::destroy). Everything that a container was is gone when `destroy` returns. A reused pid is never signalled.
//! With [`Lifetime::Ephemeral`] no process, cgroup or record outlives the agent's process, however that ends.
//!
//! **Left out.** Images, mounts and network setup (later isolators); rotation of logs; what a task means to a framework (the core's).

mod capabilities;
mod error;
mod event;
mod spec;

pub use capabilities::Capabilities;
pub use error::ContainerizerError;
pub use event::{
    ContainerEvent, ExecOutput, Exit, ExitReason, LaunchFailure, MemoryLimitation, Recovered,
    Usage, WaitStatus,
};
pub use spec::{
    Command, ContainerId, DEFAULT_PATH, ExecSpec, KillScope, LaunchSpec, Limits,
    MAX_CONTAINER_ID_BYTES, Namespaces, Rlimit, RlimitKind, UNCHARGED_MEMORY_BYTES,
};

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

/// How many events wait for their reader before supervisors' news waits too (nothing is lost: it stays on disk).
pub const EVENT_QUEUE: usize = 1024;

/// Where the containerizer keeps its records, and how long containers live.
#[derive(Debug, Clone)]
pub struct ContainerizerConfig {
    /// Records are in `<runtime_dir>/containers/<id>/`. One agent only; not kept over a reboot.
    pub runtime_dir: PathBuf,
    /// Below the mount of each controller: `<mount>/<cgroups_root>/<container id>`. Mesos' flag `--cgroups_root`, here `tepui`.
    pub cgroups_root: String,
    /// Whether containers outlive the agent's process.
    pub lifetime: Lifetime,
}

/// Whether containers outlive the agent's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// They do, until they end or are destroyed.
    Durable,
    /// They are killed and swept as soon as the process is gone, also by SIGKILL.
    Ephemeral,
}

/// The door of this room. Cheap to clone; every method may be called from any task of the tokio runtime that called `start`.
#[derive(Debug, Clone)]
pub struct Containerizer {
    capabilities: std::sync::Arc<Capabilities>,
}

impl Containerizer {
    /// Starts the launcher and finds out what this machine can do; what is missing goes to the log, in one line.
    /// The receiver gets the events of all containers, at most [`EVENT_QUEUE`] unread.
    pub fn start(
        config: ContainerizerConfig,
    ) -> Result<(Self, mpsc::Receiver<ContainerEvent>), ContainerizerError> {
        let _ = config;
        Err(unavailable())
    }

    /// What this machine can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Call once, before the first launch, with every container that is believed to run or whose exit has not been noted:
    /// answers for each, in the same order, and destroys all others that are found.
    pub async fn recover(
        &self,
        known: &[ContainerId],
    ) -> Result<Vec<Recovered>, ContainerizerError> {
        let _ = known;
        Err(unavailable())
    }

    /// Hands the container over to the launcher. `Ok` means that exactly one `Exited` (of reason `LaunchFailed` if it never ran) will
    /// come, after one `Started` if it did run.
    pub async fn launch(&self, spec: LaunchSpec) -> Result<(), ContainerizerError> {
        let _ = spec;
        Err(unavailable())
    }

    /// Sends a signal. SIGKILL to the tree ends the container; its `Exited` comes.
    pub fn kill(
        &self,
        container: &ContainerId,
        signal: i32,
        scope: KillScope,
    ) -> Result<(), ContainerizerError> {
        let _ = (container, signal, scope);
        Err(unavailable())
    }

    /// Kills whatever still runs and removes everything, the record included. Its `Exited`, if it was running, comes before this returns.
    /// A container that does not exist is destroyed already.
    pub async fn destroy(&self, container: &ContainerId) -> Result<(), ContainerizerError> {
        let _ = container;
        Err(unavailable())
    }

    /// Runs a command inside and waits for its end. Dropping the future kills the command.
    pub async fn exec(
        &self,
        container: &ContainerId,
        spec: ExecSpec,
    ) -> Result<ExecOutput, ContainerizerError> {
        let _ = (container, spec);
        Err(unavailable())
    }

    /// What it uses now.
    pub fn usage(&self, container: &ContainerId) -> Result<Usage, ContainerizerError> {
        let _ = container;
        Err(unavailable())
    }

    /// Sets new limits. Lowering memory below what is in use is refused by the kernel or ends in an out-of-memory kill.
    pub fn update(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<(), ContainerizerError> {
        let _ = (container, limits);
        Err(unavailable())
    }
}

/// Removes what containers of `runtime_dir` left whose supervisor is gone, and old empty cgroups below `cgroups_root`. Returns how many.
pub fn sweep(runtime_dir: &Path, cgroups_root: &str) -> usize {
    let _ = (runtime_dir, cgroups_root);
    0
}

fn unavailable() -> ContainerizerError {
    ContainerizerError::Launcher {
        action: "start it",
        source: std::io::ErrorKind::Unsupported.into(),
    }
}
