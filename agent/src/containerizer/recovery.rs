//! What a former agent process has left: which containers run, which have ended, and what belongs to nobody.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::libc;

use super::error::ContainerizerError;
use super::event::Exit;
use super::isolators::cgroups;
use super::record::{self, LaunchRecord};
use super::watch;
use crate::supervisor::message::Order;
use crate::supervisor::sys;

/// The state of a container's directory.
pub(super) enum Found {
    /// Its supervisor lives.
    Running {
        launch: Box<LaunchRecord>,
        supervisor: OwnedFd,
    },
    /// It has ended.
    Exited(Exit),
    /// It was running when the machine went down.
    Stale,
    /// It has not begun.
    Nothing,
}

/// Looks at one container's directory. What a killed supervisor has left is cleared away.
pub(super) fn examine(directory: &Path, boot_id: &str) -> io::Result<Found> {
    if let Some(exit) = record::read::<Exit>(directory, record::EXIT_FILE)? {
        // Of before a reboot too: the supervisor had time to write it down.
        return Ok(Found::Exited(exit));
    }
    let Some(launch) = record::read::<LaunchRecord>(directory, record::LAUNCH_FILE)? else {
        return Ok(Found::Nothing);
    };
    if launch.boot_id != boot_id {
        return Ok(Found::Stale);
    }
    match launch.supervisor.open()? {
        Some(supervisor) => Ok(Found::Running {
            launch: Box::new(launch),
            supervisor,
        }),
        // It may have ended between our two looks.
        None => Ok(Found::Exited(watch::conclude(directory, None)?)),
    }
}

/// The names in `<runtime_dir>/containers`.
pub(super) fn directories(runtime_dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(runtime_dir.join(record::CONTAINERS_DIR)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Ends a container, if it runs, and removes its directory. Blocks until it is gone.
pub(super) fn destroy(directory: &Path, boot_id: &str) -> io::Result<()> {
    loop {
        match examine(directory, boot_id)? {
            Found::Running { supervisor, .. } => {
                // Refused only to a supervisor that has just ended.
                let _ = sys::pidfd_order(
                    supervisor.as_fd(),
                    Order {
                        signal: libc::SIGKILL,
                        tree: true,
                    }
                    .encode(),
                );
                wait(&supervisor)?;
            }
            Found::Exited(_) | Found::Stale => {
                return ignore_missing(std::fs::remove_dir_all(directory));
            }
            // Without its directory it cannot begin; a supervisor that was faster has put its record there, and the directory stays.
            Found::Nothing => match ignore_missing(std::fs::remove_dir(directory)) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    remove_unfinished(directory)?
                }
                other => return other,
            },
        }
    }
}

/// A record that was being written when its writer was killed. A writer that lives fails to rename it, and gives up.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for name in [record::LAUNCH_FILE, record::EXIT_FILE, record::NOTE_FILE] {
        ignore_missing(std::fs::remove_file(record::unfinished(directory, name)))?;
    }
    for name in [record::NOTE_FILE, record::INPUT_FILE] {
        ignore_missing(std::fs::remove_file(directory.join(name)))?;
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn wait(pidfd: &OwnedFd) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        match poll(
            &mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        ) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// See [`sweep`](super::sweep).
pub(super) fn sweep(runtime_dir: &Path, cgroups_root: &str) -> usize {
    let mut swept = 0;
    let boot_id = record::boot_id().unwrap_or_default();
    for name in directories(runtime_dir).unwrap_or_default() {
        let directory = record::directory(runtime_dir, &name);
        let left = !matches!(
            examine(&directory, &boot_id),
            Ok(Found::Running { .. }) | Err(_)
        );
        if left && std::fs::remove_dir_all(&directory).is_ok() {
            swept += 1;
        }
    }
    swept + cgroups::sweep(cgroups_root)
}

/// Words for a failure in the runtime directory.
pub(super) fn runtime_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ContainerizerError {
    move |source| ContainerizerError::RuntimeDir {
        action,
        path: path.to_owned(),
        source,
    }
}
