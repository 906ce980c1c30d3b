//! Volumes of docker volume drivers, as Mesos' isolator `docker/volume` has them: the program `dvdcli` asks a driver's plugin to mount one, and
//! answers where on this machine it is; the container sees that place.
//!
//! | file | what for |
//! | --- | --- |
//! | `mod.rs` | mounts for the first container of a volume, unmounts after the last |
//! | [`ledger`] | who holds what, written down so that any later life of the agent can unmount it |
//! | [`dvdcli`] | the program: found, run within a time, understood |
//! | [`flags`] | the agent's flags, under Mesos' names |
//!
//! What it promises: a volume is mounted once, however many containers of this agent hold it, and unmounted once, after the last of them; the
//! end of a task is told when that is done. Whom a volume is held by is written down before it is mounted. What cannot be unmounted is tried
//! again. It leaves out: other agents of the same machine, which may unmount a volume that this one uses, as in Mesos.

mod dvdcli;
mod flags;
mod ledger;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::JoinSet;

use crate::containerizer::Source;
use crate::provision::plan::{Planned, What};
use dvdcli::{Failure, Program};
pub use flags::DockerVolumeFlags;
pub(crate) use ledger::Key;
use ledger::Ledger;

/// Between two attempts to unmount what could not be unmounted.
const RETRY: Duration = Duration::from_secs(60);
/// So many programs run at a time; others wait.
const MAX_PROGRAMS: usize = 64;

/// Where volumes of docker volume drivers are written down, and how they are had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerVolumesConfig {
    /// Flag `--docker_volume_checkpoint_dir`; `None` is a directory below the runtime directory.
    pub checkpoint_dir: Option<PathBuf>,
    /// A volume's mount point is given to the task's user. Flag `--docker_volume_chown`.
    pub chown: bool,
    /// The program, where it is not looked for in the PATH.
    pub program: Option<PathBuf>,
}

impl DockerVolumesConfig {
    /// Where it is written down who holds what.
    fn directory(&self, runtime_dir: &Path) -> PathBuf {
        let default = || runtime_dir.join("isolators/docker/volume");
        self.checkpoint_dir.clone().unwrap_or_else(default)
    }
}

/// A volume that a container wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    /// For the driver.
    pub(crate) options: Vec<(String, String)>,
}

impl Wanted {
    pub(crate) fn new(
        driver: &str,
        name: &str,
        options: Vec<(String, String)>,
    ) -> Result<Self, String> {
        for (what, text) in [("name", name), ("driver", driver)] {
            if text.is_empty() || text.contains(char::is_control) {
                return Err(format!(
                    "a docker volume's {what} '{}' is empty or has control characters in it",
                    text.escape_default()
                ));
            }
        }
        Ok(Self {
            key: Key {
                driver: driver.to_owned(),
                name: name.to_owned(),
            },
            options,
        })
    }
}

#[derive(Debug)]
struct Inner {
    config: DockerVolumesConfig,
    ledger: Mutex<Ledger>,
    /// What concerns one volume happens one after the other. Only of volumes that somebody works at.
    turns: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    programs: Semaphore,
    failed: AtomicU64,
}

/// The door of this room. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct DockerVolumes(Arc<Inner>);

impl DockerVolumes {
    /// Reads what an earlier life has left. What containers hold that are not `alive` is unmounted by [`tend`]; nothing is mounted any more if
    /// the machine has restarted since. Blocks.
    pub(crate) fn start(
        config: &DockerVolumesConfig,
        runtime_dir: &Path,
        alive: &HashSet<String>,
        same_boot: bool,
    ) -> Self {
        let ledger = Ledger::read(config.directory(runtime_dir), alive, same_boot);
        let gone = ledger.gone().len();
        if gone > 0 {
            tracing::info!("unmounting the docker volumes of {gone} containers that are gone");
        }
        Self(Arc::new(Inner {
            config: config.clone(),
            ledger: Mutex::new(ledger),
            turns: Mutex::default(),
            programs: Semaphore::new(MAX_PROGRAMS),
            failed: AtomicU64::new(0),
        }))
    }

    /// Whether the container holds any, or did and they are still to be unmounted.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.0.ledger.lock().has(container)
    }

    /// Volumes that are mounted.
    pub(crate) fn mounted(&self) -> usize {
        self.0.ledger.lock().mounted()
    }

    /// Mounts and unmounts that failed since the agent's start.
    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Mounts what of these volumes is a driver's, and puts in its place where it is. After an error the container is to be released.
    pub(crate) async fn mount(
        &self,
        container: &str,
        volumes: &mut [Planned],
        sandbox: &Path,
    ) -> Result<(), String> {
        let keys: Vec<Key> = volumes
            .iter()
            .filter_map(|volume| match &volume.what {
                What::Driver(wanted) => Some(wanted.key.clone()),
                _ => None,
            })
            .collect();
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let program = self.program(first)?;
        self.0.ledger.lock().hold(container, keys)?;
        for volume in volumes {
            if let What::Driver(wanted) = &volume.what {
                let point = self.mount_one(container, wanted, &program).await?;
                if self.0.config.chown {
                    give(&point, sandbox)?;
                }
                volume.what = What::Mount(Source::Host(point));
            }
        }
        // With the places: the next life need not ask for them.
        self.0.ledger.lock().write(container)
    }

    async fn mount_one(
        &self,
        container: &str,
        wanted: &Wanted,
        program: &Program,
    ) -> Result<PathBuf, String> {
        let _turn = self.turn(&wanted.key).await;
        let known = self.0.ledger.lock().place(&wanted.key);
        if let Some(point) = known.filter(|point| point.is_dir()) {
            return Ok(point);
        }
        let running = self.0.programs.acquire().await;
        let mounted = program.mount(wanted).await;
        drop(running);
        let mut ledger = self.0.ledger.lock();
        match mounted {
            Ok(point) => {
                ledger.mounted_at(&wanted.key, point.clone());
                Ok(point)
            }
            Err(failure) => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                let (Failure::Refused(why) | Failure::Unclear(why)) = &failure;
                if matches!(failure, Failure::Refused(_)) {
                    ledger.let_go(container, &wanted.key);
                }
                Err(format!("cannot mount {}: {why}", wanted.key))
            }
        }
    }

    /// The container is gone, or was never launched: what nobody else holds of its volumes is unmounted. Repeatable.
    pub(crate) async fn release(&self, container: &str) {
        // What could not be unmounted once has its own time.
        if self.0.ledger.lock().begin_release(container) {
            self.settle(container).await;
        }
    }

    async fn settle(&self, container: &str) {
        let held = self.0.ledger.lock().held(container);
        for key in held {
            let _turn = self.turn(&key).await;
            if !self.0.ledger.lock().is_last(container, &key) {
                self.0.ledger.lock().let_go(container, &key);
                continue;
            }
            let unmounted = match self.program(&key) {
                Ok(program) => {
                    let _running = self.0.programs.acquire().await;
                    program.unmount(&key).await
                }
                Err(missing) => Err(missing),
            };
            match unmounted {
                Ok(()) => self.0.ledger.lock().unmounted(&key),
                Err(problem) => {
                    self.0.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        "cannot unmount {key} of container {container}, which is tried again in {RETRY:?}: {problem}"
                    );
                }
            }
        }
        if let Err(problem) = self.0.ledger.lock().write(container) {
            tracing::warn!("{problem}");
        }
    }

    /// Unmounts what ended containers have left, each once.
    pub(crate) async fn settle_all(&self) {
        let mut settling = JoinSet::new();
        let gone = self.0.ledger.lock().gone();
        for container in gone {
            let volumes = self.clone();
            settling.spawn(async move { volumes.settle(&container).await });
        }
        while settling.join_next().await.is_some() {}
    }

    fn program(&self, key: &Key) -> Result<Program, String> {
        let missing = |what: &str| format!("{key} cannot be had on this machine: {what}");
        if !nix::unistd::geteuid().is_root() {
            return Err(missing("the agent does not run as root"));
        }
        Program::find(self.0.config.program.as_deref()).map_err(|problem| missing(&problem))
    }

    async fn turn(&self, key: &Key) -> Turn<'_> {
        let turn = Arc::clone(self.0.turns.lock().entry(key.clone()).or_default());
        Turn {
            held: Some(turn.lock_owned().await),
            key: key.clone(),
            turns: &self.0.turns,
        }
    }
}

/// The right to work at a volume. The last who waits for it takes the place away.
struct Turn<'a> {
    held: Option<OwnedMutexGuard<()>>,
    key: Key,
    turns: &'a Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        self.held = None;
        if turns
            .get(&self.key)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.key);
        }
    }
}

/// Gives a mount point, and nothing in it, to whom the sandbox belongs.
fn give(point: &Path, sandbox: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| {
        format!(
            "cannot give the volume at {} to the task's user: {error}",
            point.display()
        )
    };
    let owner = std::fs::metadata(sandbox).map_err(failed)?;
    std::os::unix::fs::chown(point, Some(owner.uid()), Some(owner.gid())).map_err(failed)
}

/// Unmounts what containers that are gone have left: now, and again for as long as something is left.
pub(crate) async fn tend(volumes: DockerVolumes) {
    loop {
        volumes.settle_all().await;
        tokio::time::sleep(RETRY).await;
    }
}

/// Unmounts what an agent has left that keeps nothing of its former life. Blocks, at most for as long as `dvdcli` may take.
pub fn sweep(runtime_dir: &Path) {
    let config = DockerVolumesConfig::default();
    if !config.directory(runtime_dir).exists() {
        return;
    }
    let volumes = DockerVolumes::start(&config, runtime_dir, &HashSet::new(), true);
    let sweeping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(volumes.settle_all());
        Ok::<_, std::io::Error>(())
    });
    if !matches!(sweeping.join(), Ok(Ok(()))) {
        tracing::warn!("docker volumes of an earlier life could not be unmounted");
    }
}

#[cfg(test)]
mod tests;
