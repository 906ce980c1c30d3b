//! Volumes of docker volume drivers, as Mesos' isolator `docker/volume` has them: the program `dvdcli` asks a driver's plugin to mount one, and
//! answers where on this machine it is; the container sees that place.
//!
//! | file | what for |
//! | --- | --- |
//! | `mod.rs` | what a volume is, and the program as a [`Provider`] |
//! | [`dvdcli`] | the program: found, run within a time, understood |
//! | [`flags`] | the agent's flags, under Mesos' names |
//!
//! A volume is mounted once, however many containers of this agent hold it, and unmounted once, after the last of them. Left out: other agents
//! of the same machine, which may unmount a volume that this one uses, as in Mesos.

mod dvdcli;
mod flags;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ledger;
use super::room::{Failure, Provider, Room};
use super::storage;
use crate::containerizer::Source;
use crate::provision::plan::What;
use dvdcli::Program;
pub use flags::DockerVolumeFlags;

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

/// A volume; there is one of this name and driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) driver: String,
    pub(crate) name: String,
}

impl ledger::Key for Key {}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the volume '{}' of the docker volume driver '{}'",
            self.name, self.driver
        )
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

/// The program as who brings such volumes.
#[derive(Debug)]
pub(crate) struct Drivers {
    config: DockerVolumesConfig,
}

impl Drivers {
    fn program(&self, key: &Key) -> Result<Program, String> {
        let missing = |what: &str| format!("{key} cannot be had on this machine: {what}");
        if !nix::unistd::geteuid().is_root() {
            return Err(missing("the agent does not run as root"));
        }
        Program::find(self.config.program.as_deref()).map_err(|problem| missing(&problem))
    }
}

impl Provider for Drivers {
    type Key = Key;
    type Wanted = Wanted;
    const KIND: &'static str = "docker volumes";

    fn among(what: &What) -> Option<&Wanted> {
        match what {
            What::Driver(wanted) => Some(wanted),
            _ => None,
        }
    }

    fn key(wanted: &Wanted) -> &Key {
        &wanted.key
    }

    fn check(&self, wanted: &Wanted) -> Result<(), String> {
        self.program(&wanted.key).map(|_| ())
    }

    async fn is_there(&self, _: &Wanted, place: &Path) -> Result<bool, String> {
        storage::ask(place, Path::is_dir).await
    }

    async fn bring(&self, wanted: &Wanted, _: bool) -> Result<PathBuf, Failure> {
        let program = self.program(&wanted.key).map_err(Failure::Refused)?;
        program.mount(wanted).await
    }

    async fn take_away(&self, key: &Key) -> Result<(), String> {
        self.program(key)?.unmount(key).await
    }

    fn shows(&self, _: &Wanted, place: PathBuf) -> What {
        What::Mount(Source::Host(place))
    }

    fn is_given(&self, _: &Wanted, _: bool, _: u32) -> bool {
        self.config.chown
    }
}

/// The volumes of docker volume drivers. Cheap to clone.
pub(crate) type DockerVolumes = Room<Drivers>;

/// Reads what an earlier life has left: see [`Room::start`]. Blocks.
pub(super) fn start(
    config: &DockerVolumesConfig,
    runtime_dir: &Path,
    alive: &HashSet<String>,
    same_boot: bool,
) -> DockerVolumes {
    let config = config.clone();
    let directory = config.directory(runtime_dir);
    Room::start(Drivers { config }, directory, alive, same_boot)
}

/// Unmounts what an agent has left that keeps nothing of its former life. Blocks, at most for as long as `dvdcli` may take.
pub fn sweep(runtime_dir: &Path) {
    let config = DockerVolumesConfig::default();
    if !config.directory(runtime_dir).exists() {
        return;
    }
    let volumes = start(&config, runtime_dir, &HashSet::new(), true);
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
