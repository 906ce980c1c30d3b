//! What is written about a container, for whoever comes later: two small files in `<runtime_dir>/containers/<id>/`.
//!
//! `launch` says who supervises it, before its first own step; `exit` how it ended, after everything of it was cleared away. Each appears whole
//! or not at all (written beside, then renamed). The directory is made by the agent before and removed by `destroy` after; a container
//! whose directory is gone cannot begin.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::isolators::cgroups::Placement;
use super::spec::{Command, ContainerId, Namespaces};
use crate::supervisor::message::Program;
use crate::supervisor::sys;

/// Who supervises the container ([`LaunchRecord`]).
pub(crate) const LAUNCH_FILE: &str = "launch";
/// How it ended ([`Exit`](super::Exit)).
pub(crate) const EXIT_FILE: &str = "exit";
/// Where what is typed into a kept terminal goes: a FIFO.
pub(crate) const INPUT_FILE: &str = "input";
/// What whoever launched it wants to know again.
pub(crate) const NOTE_FILE: &str = "note";

/// Below the runtime directory.
pub(crate) const CONTAINERS_DIR: &str = "containers";

/// A process that is told apart from later ones with the same pid by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started.
    pub(crate) started_ticks: u64,
}

impl Process {
    /// This process.
    pub(crate) fn current() -> io::Result<Self> {
        Self::of(std::process::id() as i32)
    }

    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let started_ticks = start_of(&stat).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a stat file without a start time",
            )
        })?;
        Ok(Self { pid, started_ticks })
    }

    /// A handle on it, `None` if it is gone.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let pidfd = match sys::pidfd_open(self.pid) {
            Ok(pidfd) => pidfd,
            // EINVAL, from older kernels (6.1): it is gone, while its session, which has its number, is not.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // The handle holds whatever has the pid now; if that is the one we mean, it stays so.
        match Self::of(self.pid) {
            Ok(now) if now == self => Ok(Some(pidfd)),
            Ok(_) => Ok(None),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::ESRCH as i32) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it is on its way out, or gone. The kernel marks it before it ends the others of the pid namespace whose first one it is.
    pub(crate) fn is_ending(self) -> bool {
        match std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => start_of(&stat) != Some(self.started_ticks) || is_marked(&stat),
            // Who cannot look, for lack of descriptors say, has seen nobody go.
            Err(error) => {
                error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::ESRCH as i32)
            }
        }
    }

    /// Kills it, if it is still there, and waits until it is gone.
    pub(crate) fn kill_and_wait(self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else {
            return Ok(());
        };
        match sys::pidfd_kill(pidfd.as_fd()) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        loop {
            match poll(
                &mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)],
                PollTimeout::NONE,
            ) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// Field 22 of a stat file; the second one is a name that may hold blanks and parentheses.
fn start_of(stat: &str) -> Option<u64> {
    stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// Whether the flags in a stat file, its ninth field, say that the process is ending.
fn is_marked(stat: &str) -> bool {
    const ENDING: u32 = 0x4;
    let rest = stat.rfind(')').map_or("", |end| &stat[end + 1..]);
    let flags = rest.split_ascii_whitespace().nth(6);
    flags.is_none_or(|flags| flags.parse().is_ok_and(|flags: u32| flags & ENDING != 0))
}

/// Who supervises a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchRecord {
    /// Pids of another boot mean nothing.
    pub(crate) boot_id: String,
    pub(crate) supervisor: Process,
    pub(crate) init: Process,
    pub(crate) placement: Placement,
    /// Those that are not the agent's.
    pub(crate) namespaces: Namespaces,
    /// Records of older versions have none.
    #[serde(default)]
    pub(crate) capabilities: Option<u64>,
    /// The nodes of GPUs that it has. Records of older versions have none.
    #[serde(default)]
    pub(crate) gpus: Vec<PathBuf>,
    /// The container that it is inside of. Records of older versions do not say so.
    #[serde(default)]
    pub(crate) inside: Option<ContainerId>,
    /// What was run, for those that join it. Records of older versions have none.
    #[serde(default)]
    pub(crate) program: Option<Program>,
}

impl LaunchRecord {
    /// It runs nothing, and is there for others.
    pub(crate) fn holds(&self) -> bool {
        let program = self.program.as_ref();
        program.is_some_and(|program| program.command == Command::Hold)
    }
}

/// What a record must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of any process.
    Process,
    /// A loss of power too.
    Power,
}

/// Puts `content` into the file `name` of `directory`, which exists. Nobody else may read it: environments may hold secrets.
pub(crate) fn write<T: Serialize>(
    directory: &Path,
    name: &str,
    content: &T,
    durability: Durability,
) -> io::Result<()> {
    let temporary = unfinished(directory, name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    if durability == Durability::Power {
        file.sync_all()?;
    }
    std::fs::rename(&temporary, directory.join(name))?;
    if durability == Durability::Power {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Where a record is until it is whole.
pub(crate) fn unfinished(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!(".{name}"))
}

/// What is in the file `name` of `directory`; `None` if there is no such file.
pub(crate) fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<Option<T>> {
    match std::fs::read(directory.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a container's files are.
pub(crate) fn directory(runtime_dir: &Path, container: &str) -> PathBuf {
    runtime_dir.join(CONTAINERS_DIR).join(container)
}

/// This boot's id.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["(true)", "(a b)", "(x) 1 2 (y)", "())"] {
            assert_eq!(start_of(&format!("42 {name} {rest}")), Some(4711), "{name}");
        }
        assert_eq!(start_of("42 (true) S 1"), None);
        assert_eq!(start_of(""), None);
    }

    #[test]
    fn an_ending_process_is_marked() {
        let stat = |flags: &str| format!("42 (a) b) S 1 2 3 4 5 {flags} 7 8");
        for (flags, marked) in [("4194304", false), ("4194308", true), ("4", true)] {
            assert_eq!(is_marked(&stat(flags)), marked, "{flags}");
        }
        assert!(is_marked(""), "it is gone");
        assert!(!Process::current().unwrap().is_ending());
    }

    #[test]
    fn a_process_is_told_from_its_successor() {
        let me = Process::current().unwrap();
        assert!(me.open().unwrap().is_some());
        let successor = Process {
            started_ticks: me.started_ticks + 1,
            ..me
        };
        assert!(successor.open().unwrap().is_none());
    }

    #[test]
    fn a_record_is_whole_or_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read::<Process>(directory.path(), EXIT_FILE).unwrap(), None);
        let process = Process {
            pid: 3,
            started_ticks: 4,
        };
        write(directory.path(), EXIT_FILE, &process, Durability::Power).unwrap();
        assert_eq!(read(directory.path(), EXIT_FILE).unwrap(), Some(process));
        let gone = directory.path().join("gone");
        assert!(write(&gone, EXIT_FILE, &process, Durability::Process).is_err());
    }
}
