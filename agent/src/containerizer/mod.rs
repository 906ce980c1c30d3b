//! Native Linux containers: launch, isolate, watch, signal, recover and destroy the processes of tasks.
//!
//! **How.** [`Containerizer::start`] starts a *launcher*: a small single-threaded process made by executing this program anew. For every container the
//! launcher forks a *supervisor*, which makes the cgroups, the namespaces and the container's *init*; init executes the task, reaps
//! what is left behind in the container and forwards signals. Supervisors outlive launcher and agent, and write how their container
//! ended beside its pid in `<runtime_dir>/containers/<id>/`, where the next agent process finds it.
//!
//! Any program that links this crate can be that launcher: it becomes one when it is executed under the launcher's name, before its `main`.
//!
//! **Promises.** An exit is told once to a living agent, at once and without polling, and to every later one until it says
//! [`destroy`](Containerizer::destroy). Everything that a container was is gone when `destroy` returns. A reused pid is never signalled.
//! With [`Lifetime::Ephemeral`] no process, cgroup or record outlives the agent's process, however that ends.
//!
//! **Left out.** Where images come from (`tepui-images`); network setup (a later isolator); rotation of logs; what a task means to a framework (the core's).

pub(crate) mod beneath;
pub(crate) mod isolators;
pub(crate) mod record;
pub(crate) mod rootfs;
pub mod seccomp;
pub(crate) mod spec;

pub mod block_io;
mod capabilities;
pub mod devices;
mod error;
mod event;
mod exec;
mod inside;
mod launch;
mod launcher;
mod recovery;
mod sharing;
mod streams;
pub(crate) mod user;
mod watch;

pub use crate::supervisor::message::Window;
pub(crate) use crate::supervisor::sys::{register, watch_file};
pub use capabilities::Capabilities;
pub use error::ContainerizerError;
pub use event::{
    ContainerEvent, ExecOutput, Exit, ExitReason, LaunchFailure, MemoryLimitation, Recovered,
    Usage, WaitStatus,
};
pub use rootfs::{At, Hidden, Mount, Overlay, RootFilesystem, Source};
pub use spec::{
    BindMount, Command, ContainerId, Cpuset, DEFAULT_PATH, ExecSpec, KillScope, LaunchSpec, Limits,
    MAX_CONTAINER_ID_BYTES, Namespaces, Rlimit, RlimitKind, Seal, SharedMemory,
    UNCHARGED_MEMORY_BYTES, Within,
};
pub(crate) use streams::resize as resize_terminal;
pub use streams::{Held, Hold, Sent};

use std::collections::HashMap;
use std::collections::hash_map;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch as latest};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::supervisor::message::Order;
use crate::supervisor::sys;
use isolators::cgroups::{Layout, Placement};
use launcher::Launcher;
use record::Process;
use recovery::{Found, runtime_error};

/// How many events wait for their reader before supervisors' news waits too (nothing is lost: it stays on disk).
pub const EVENT_QUEUE: usize = 1024;

/// Where the containerizer keeps its records, and how long containers live.
#[derive(Debug, Clone)]
pub struct ContainerizerConfig {
    /// Records are in `<runtime_dir>/containers/<id>/`. One agent only; not kept over a reboot.
    pub runtime_dir: PathBuf,
    /// Below the mount of each controller: `<mount>/<cgroups_root>/<container id>`. Mesos' flag `--cgroups_root`, here `tepui`.
    pub cgroups_root: String,
    /// What containers read from and write to block devices is counted.
    pub measure_block_io: bool,
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

/// How many signals wait for a container that is being launched.
const MAX_ORDERS: usize = 16;

/// The door of this room. Cheap to clone; every method may be called from any task of the tokio runtime that called `start`.
/// When the last clone is dropped, durable containers run on unwatched and ephemeral ones end.
#[derive(Debug, Clone)]
pub struct Containerizer {
    inner: Arc<Inner>,
    _watching: Arc<DropGuard>,
}

/// What the door and the tasks that watch containers share.
#[derive(Debug)]
struct Inner {
    config: ContainerizerConfig,
    boot_id: String,
    capabilities: Capabilities,
    layout: Layout,
    launcher: Launcher,
    events: mpsc::Sender<ContainerEvent>,
    /// At most as many as there are records; see `launch` and `destroy`.
    containers: Mutex<HashMap<ContainerId, Entry>>,
    closed: CancellationToken,
}

/// A container that has a record.
#[derive(Debug)]
struct Entry {
    placement: Placement,
    confinement: Confinement,
    /// The nodes of GPUs that it has.
    gpus: Vec<PathBuf>,
    /// The container that it is inside of.
    inside: Option<ContainerId>,
    /// It runs nothing, and is there for others to be inside of.
    holds: bool,
    state: State,
    /// How far it is, for those who wait.
    stage: latest::Sender<Stage>,
    /// Whoever reads the events has passed its end on.
    told: bool,
}

/// How far a container is, for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Launching,
    Running,
    /// Its exit is in the stream.
    Ended,
}

impl Entry {
    fn new(state: State) -> Self {
        let stage = match &state {
            State::Launching { .. } => Stage::Launching,
            State::Running(_) => Stage::Running,
            State::Ended => Stage::Ended,
        };
        Self {
            placement: Placement::default(),
            confinement: Confinement::default(),
            gpus: Vec::new(),
            inside: None,
            holds: false,
            stage: latest::Sender::new(stage),
            // Of one that had ended before it was taken up, whoever asked has been told.
            told: stage == Stage::Ended,
            state,
        }
    }
}

/// What a command that joins a container must be given too.
#[derive(Debug, Clone, Default)]
struct Confinement {
    namespaces: Namespaces,
    capabilities: Option<u64>,
    seal: Seal,
}

#[derive(Debug)]
enum State {
    Launching {
        /// What is to be sent once there is somebody to send it to; at most [`MAX_ORDERS`].
        orders: Vec<Order>,
    },
    Running(Running),
    Ended,
}

/// The processes that matter of a container that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    supervisor: Process,
    init: Process,
}

impl Running {
    fn order(self, order: Order) -> io::Result<()> {
        let Some(supervisor) = self.supervisor.open()? else {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        };
        Ok(sys::pidfd_order(supervisor.as_fd(), order.encode())?)
    }
}

impl Containerizer {
    /// Starts the launcher and finds out what this machine can do; what is missing goes to the log, in one line.
    /// The receiver gets the events of all containers, at most [`EVENT_QUEUE`] unread.
    pub fn start(
        config: ContainerizerConfig,
    ) -> Result<(Self, mpsc::Receiver<ContainerEvent>), ContainerizerError> {
        let containers_dir = config.runtime_dir.join(record::CONTAINERS_DIR);
        std::fs::create_dir_all(&containers_dir)
            .map_err(runtime_error("create", &containers_dir))?;
        let boot_id = record::boot_id().map_err(runtime_error(
            "read",
            Path::new("/proc/sys/kernel/random/boot_id"),
        ))?;
        let (layout, missing) = Layout::set_up(&config.cgroups_root);
        if config.measure_block_io {
            layout.count_block_io();
        }
        let roots = match config.lifetime {
            Lifetime::Ephemeral => layout.roots().map(Path::to_owned).collect(),
            Lifetime::Durable => Vec::new(),
        };
        let launcher = Launcher::start(roots)?;
        let mut capabilities = Capabilities::find(&layout, missing, &launcher);
        if config.measure_block_io && !capabilities.block_io {
            let what = "no usable cgroup controller: the use of block devices is not measured";
            capabilities.missing.push(what.to_owned());
        }
        if let Some(warning) = capabilities.warning() {
            tracing::warn!("{warning}");
        }
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let closed = CancellationToken::new();
        let watching = Arc::new(closed.clone().drop_guard());
        let containers = Mutex::default();
        let inner = Inner {
            config,
            boot_id,
            capabilities,
            layout,
            launcher,
            events,
            containers,
            closed,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
                _watching: watching,
            },
            receiver,
        ))
    }

    /// What this machine can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// Whether an image can be given to a container as its root, by trying with directories made for it. Blocks for milliseconds.
    pub fn try_overlay(&self, overlay: Overlay) -> Result<(), ContainerizerError> {
        let wanted = Namespaces {
            user: !self.inner.capabilities.root,
            ..Namespaces::default()
        };
        self.inner.launcher.probe(wanted, Some(overlay))
    }

    /// Call once, before the first launch, with every container that is believed to run or whose exit has not been noted:
    /// answers for each, in the same order, and destroys all others that are found.
    pub async fn recover(
        &self,
        known: &[ContainerId],
    ) -> Result<Vec<Recovered>, ContainerizerError> {
        let runtime_dir = self.inner.config.runtime_dir.clone();
        let containers_dir = runtime_dir.join(record::CONTAINERS_DIR);
        let found =
            recovery::directories(&runtime_dir).map_err(runtime_error("read", &containers_dir))?;
        let wanted: std::collections::HashSet<&str> =
            known.iter().map(ContainerId::as_str).collect();
        let mut orphans = tokio::task::JoinSet::new();
        for name in found
            .into_iter()
            .filter(|name| !wanted.contains(name.as_str()))
        {
            let (directory, boot_id) = (
                record::directory(&runtime_dir, &name),
                self.inner.boot_id.clone(),
            );
            orphans.spawn_blocking(move || (recovery::destroy(&directory, &boot_id), directory));
        }
        let mut recovered = Vec::with_capacity(known.len());
        for container in known {
            recovered.push(self.recover_one(container)?);
        }
        while let Some(destroyed) = orphans.join_next().await {
            if let Ok((Err(error), directory)) = destroyed {
                tracing::error!(directory = %directory.display(), %error, "a container that nobody knows cannot be destroyed");
            }
        }
        Ok(recovered)
    }

    fn recover_one(&self, container: &ContainerId) -> Result<Recovered, ContainerizerError> {
        let directory = record::directory(&self.inner.config.runtime_dir, container.as_str());
        let container = container.clone();
        match recovery::examine(&directory, &self.inner.boot_id)
            .map_err(runtime_error("read", &directory))?
        {
            Found::Running { launch, supervisor } => {
                let pid = launch.init.pid.unsigned_abs();
                let state = State::Running(Running {
                    supervisor: launch.supervisor,
                    init: launch.init,
                });
                let holds = launch.holds();
                let confinement = Confinement {
                    namespaces: launch.namespaces,
                    capabilities: launch.capabilities,
                    seal: launch.program.map(|it| it.seal).unwrap_or_default(),
                };
                let entry = Entry {
                    placement: launch.placement,
                    confinement,
                    gpus: launch.gpus,
                    inside: launch.inside,
                    holds,
                    ..Entry::new(state)
                };
                self.insert(&container, entry)?;
                self.watch(watch::follow_recovered(
                    Arc::clone(&self.inner),
                    container.clone(),
                    supervisor,
                ));
                Ok(Recovered::Running { container, pid })
            }
            Found::Exited(exit) => {
                self.insert(&container, Entry::new(State::Ended))?;
                Ok(Recovered::Exited { container, exit })
            }
            Found::Stale | Found::Nothing => {
                recovery::destroy(&directory, &self.inner.boot_id)
                    .map_err(runtime_error("remove", &directory))?;
                Ok(Recovered::Unknown { container })
            }
        }
    }

    /// The notes of containers that have a record, for whoever starts: before [`recover`](Self::recover), which removes what is not known.
    pub fn notes(&self) -> Result<Vec<(ContainerId, String)>, ContainerizerError> {
        let runtime_dir = &self.inner.config.runtime_dir;
        let containers_dir = runtime_dir.join(record::CONTAINERS_DIR);
        let names =
            recovery::directories(runtime_dir).map_err(runtime_error("read", &containers_dir))?;
        let mut notes = Vec::new();
        for name in names {
            let directory = record::directory(runtime_dir, &name);
            match (
                record::read(&directory, record::NOTE_FILE),
                ContainerId::new(name),
            ) {
                (Ok(Some(note)), Ok(container)) => notes.push((container, note)),
                (Ok(None), _) | (_, Err(_)) => {}
                (Err(error), _) => {
                    tracing::error!(directory = %directory.display(), %error, "the note of a container cannot be read");
                }
            }
        }
        Ok(notes)
    }

    /// Sends a signal. SIGKILL to the tree ends the container; its `Exited` comes.
    pub fn kill(
        &self,
        container: &ContainerId,
        signal: i32,
        scope: KillScope,
    ) -> Result<(), ContainerizerError> {
        let order = Order {
            signal,
            tree: scope == KillScope::Tree,
        };
        let failed = |source| ContainerizerError::Signal {
            container: container.clone(),
            source,
        };
        if !(1..=libc::SIGRTMAX()).contains(&signal) {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        let running = match self
            .inner
            .containers
            .lock()
            .get_mut(container)
            .map(|entry| &mut entry.state)
        {
            None | Some(State::Ended) => {
                return Err(ContainerizerError::NotRunning(container.clone()));
            }
            Some(State::Launching { orders }) if orders.len() < MAX_ORDERS => {
                orders.push(order);
                return Ok(());
            }
            Some(State::Launching { .. }) => return Err(failed(io::ErrorKind::WouldBlock.into())),
            Some(State::Running(running)) => *running,
        };
        running
            .order(order)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ESRCH) => ContainerizerError::NotRunning(container.clone()),
                _ => failed(error),
            })
    }

    /// Kills whatever still runs and removes everything, the record included. Its `Exited`, if it was running, is in the stream before this
    /// returns. A container that does not exist is destroyed already.
    pub async fn destroy(&self, container: &ContainerId) -> Result<(), ContainerizerError> {
        let ended = self
            .inner
            .containers
            .lock()
            .get(container)
            .map(|entry| entry.stage.subscribe());
        if let Some(mut ended) = ended {
            match self.kill(container, libc::SIGKILL, KillScope::Tree) {
                Ok(()) | Err(ContainerizerError::NotRunning(_)) => {}
                Err(error) => return Err(error),
            }
            // Fails only if somebody else has destroyed it meanwhile.
            let _ = ended.wait_for(|stage| *stage == Stage::Ended).await;
        }
        let directory = record::directory(&self.inner.config.runtime_dir, container.as_str());
        let removal = {
            let (directory, boot_id) = (directory.clone(), self.inner.boot_id.clone());
            tokio::task::spawn_blocking(move || recovery::destroy(&directory, &boot_id)).await
        };
        removal
            .map_err(io::Error::other)
            .flatten()
            .map_err(runtime_error("remove", &directory))?;
        self.inner.containers.lock().remove(container);
        Ok(())
    }

    /// Runs a command inside and waits for its end. Dropping the future kills the command.
    pub async fn exec(
        &self,
        container: &ContainerId,
        spec: ExecSpec,
    ) -> Result<ExecOutput, ContainerizerError> {
        exec::run(&self.inner, container, spec).await
    }

    /// The network namespace of a container that runs; `None` if that is the agent's.
    pub fn network(
        &self,
        container: &ContainerId,
    ) -> Result<Option<std::fs::File>, ContainerizerError> {
        let (_, confinement, running) = self.inner.running(container)?;
        if !confinement.namespaces.network {
            return Ok(None);
        }
        let path = PathBuf::from(format!("/proc/{}/ns/net", running.init.pid));
        let opened = std::fs::File::open(&path).map_err(runtime_error("open", &path));
        // Looked at after it was opened: only then is it known whose it is.
        match running.init.open().map_err(runtime_error("open", &path))? {
            Some(_) => opened.map(Some),
            None => Err(ContainerizerError::NotRunning(container.clone())),
        }
    }

    /// Whether it runs.
    pub fn is_running(&self, container: &ContainerId) -> bool {
        self.inner.running(container).is_ok()
    }

    /// What it uses now.
    pub fn usage(&self, container: &ContainerId) -> Result<Usage, ContainerizerError> {
        let (placement, ..) = self.inner.running(container)?;
        Ok(isolators::of_running(&placement)
            .usage()
            .unwrap_or_default())
    }

    /// The processes in it, with those of containers inside of it. None are known where it has no cgroup.
    pub fn processes(&self, container: &ContainerId) -> Result<Vec<i32>, ContainerizerError> {
        let (placement, ..) = self.inner.running(container)?;
        Ok(placement.processes())
    }

    /// Sets new limits. A hard memory limit is raised but never lowered while the container runs, as in Mesos.
    pub fn update(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<(), ContainerizerError> {
        let (placement, ..) = self.inner.running(container)?;
        isolators::of_running(&placement).update(limits)
    }

    /// The orderly end of an ephemeral agent: destroys every container and waits until the launcher has cleared the last directory away.
    /// Durable containers run on, and this does nothing. The event stream must be read, or dropped, meanwhile.
    pub async fn shut_down(&self) -> Result<(), ContainerizerError> {
        if self.inner.config.lifetime == Lifetime::Durable {
            return Ok(());
        }
        let containers: Vec<_> = self.inner.containers.lock().keys().cloned().collect();
        let destroyed =
            futures::future::join_all(containers.iter().map(|container| self.destroy(container)))
                .await;
        self.inner.launcher.stop().await?;
        destroyed.into_iter().collect()
    }

    fn insert(&self, container: &ContainerId, entry: Entry) -> Result<(), ContainerizerError> {
        match self.inner.containers.lock().entry(container.clone()) {
            hash_map::Entry::Occupied(_) => Err(ContainerizerError::Exists(container.clone())),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(())
            }
        }
    }

    /// Runs a watcher until it is done or the door is closed.
    fn watch(&self, watcher: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.inner.closed.clone().run_until_cancelled_owned(watcher));
    }
}

impl Inner {
    /// What is needed to reach into a container that runs.
    fn running(
        &self,
        container: &ContainerId,
    ) -> Result<(Placement, Confinement, Running), ContainerizerError> {
        match self.containers.lock().get(container) {
            Some(Entry {
                placement,
                confinement,
                state: State::Running(running),
                ..
            }) => Ok((placement.clone(), confinement.clone(), *running)),
            _ => Err(ContainerizerError::NotRunning(container.clone())),
        }
    }
}

/// Removes what containers of `runtime_dir` left whose supervisor is gone, and old empty cgroups below `cgroups_root`. Returns how many
/// it removed. Blocks; for the start of an agent that keeps nothing of its former life.
pub fn sweep(runtime_dir: &Path, cgroups_root: &str) -> usize {
    recovery::sweep(runtime_dir, cgroups_root)
}
