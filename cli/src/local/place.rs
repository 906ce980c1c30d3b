//! The folder of a local platform: kept, or temporary and swept.
//!
//! A temporary one holds a lock for as long as its process lives. The next start removes those whose lock nobody holds, with all that their agents
//! left: after a SIGKILL the kernel has let the lock go, and the supervisors have ended with their agent. One that is being made is told from those by
//! the name of its cgroups, which is written under the lock.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::commands::CommandError;

const PREFIX: &str = "tepui-local-";
const LOCK: &str = "lock";
const CGROUPS: &str = "cgroups";

/// Where a local platform keeps its state.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Below which its agents make their cgroups, unlike any other's.
    pub(crate) cgroups_root: String,
    temporary: bool,
    _lock: Flock<File>,
}

impl Place {
    /// Makes the folder, or takes over the one that was named, after sweeping what others left.
    pub(crate) fn prepare(named: Option<&Path>) -> Result<Self, CommandError> {
        let (folder, temporary) = match named {
            Some(folder) => (folder.to_path_buf(), false),
            None => {
                sweep(&std::env::temp_dir());
                (
                    std::env::temp_dir().join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple())),
                    true,
                )
            }
        };
        let unusable = |reason: String| CommandError::Input {
            path: folder.display().to_string(),
            reason,
        };
        fs::create_dir_all(&folder).map_err(|error| {
            unusable(format!(
                "cannot be made: {error}; choose another --work-dir"
            ))
        })?;
        let folder = folder
            .canonicalize()
            .map_err(|error| unusable(error.to_string()))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK));
        let file = file.map_err(|error| {
            unusable(format!(
                "cannot be written to: {error}; choose another --work-dir"
            ))
        })?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            unusable(
                "is in use by another `tepui local`; choose another --work-dir, or stop the other"
                    .into(),
            )
        })?;
        let place = Self {
            cgroups_root: cgroups_root(&folder)?,
            folder,
            temporary,
            _lock: lock,
        };
        if !temporary {
            // What a platform that was killed has left; its tasks have died with it.
            place.sweep_agents();
        }
        Ok(place)
    }

    /// The folder of a daemon.
    pub(crate) fn of(&self, daemon: &str) -> PathBuf {
        self.folder.join(daemon)
    }

    /// Leaves nothing behind, if it was temporary.
    pub(crate) fn leave(self) {
        self.sweep_agents();
        if self.temporary {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn sweep_agents(&self) {
        sweep_agents(&self.folder, &self.cgroups_root);
    }
}

/// A name for cgroups that belongs to this folder alone, the same at every start on it.
fn cgroups_root(folder: &Path) -> Result<String, CommandError> {
    let file = folder.join(CGROUPS);
    if let Ok(name) = fs::read_to_string(&file) {
        return Ok(name);
    }
    let name = format!(
        "tepui-local-{}",
        &uuid::Uuid::new_v4().simple().to_string()[..12]
    );
    fs::write(&file, &name).map_err(|error| CommandError::Input {
        path: file.display().to_string(),
        reason: format!("cannot be written: {error}; choose another --work-dir"),
    })?;
    Ok(name)
}

/// Removes what platforms that were killed have left below the folder for temporary files.
fn sweep(temporary: &Path) {
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let folder = entry.path();
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        let Some(cgroups_root) = ours
            .then(|| fs::read_to_string(folder.join(CGROUPS)).ok())
            .flatten()
        else {
            continue;
        };
        let Ok(file) = File::options().write(true).open(folder.join(LOCK)) else {
            continue;
        };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            sweep_agents(&folder, &cgroups_root);
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn sweep_agents(folder: &Path, cgroups_root: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with("agent-"))
        {
            let run = entry.path().join("run");
            tepui_agent::containerizer::sweep(&run, cgroups_root);
            tepui_agent::sweep_networks(&entry.path(), &run);
            tepui_agent::sweep_docker_volumes(&run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_keeps_its_cgroups_and_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::prepare(Some(folder.path())).unwrap();
        let error = Place::prepare(Some(folder.path())).unwrap_err();
        assert!(
            error.to_string().contains("is in use by another"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 2);
        let cgroups_root = place.cgroups_root.clone();
        place.leave();
        assert_eq!(
            Place::prepare(Some(folder.path())).unwrap().cgroups_root,
            cgroups_root
        );
    }

    #[test]
    fn an_unusable_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Place::prepare(Some(&file.join("below"))).unwrap_err();
        assert!(error.to_string().contains("cannot be made"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn only_abandoned_temporary_folders_are_swept() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).unwrap();
            File::create(folder.join(LOCK)).unwrap()
        };
        let name = |folder: &str| fs::write(temporary.path().join(folder).join(CGROUPS), folder);
        drop(make("tepui-local-abandoned"));
        name("tepui-local-abandoned").unwrap();
        // Somebody is about to lock it.
        drop(make("tepui-local-being-made"));
        let held = Flock::lock(make("tepui-local-alive"), FlockArg::LockExclusiveNonblock).unwrap();
        name("tepui-local-alive").unwrap();
        drop(make("other"));
        name("other").unwrap();
        sweep(temporary.path());
        let mut left: Vec<_> = fs::read_dir(temporary.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["other", "tepui-local-alive", "tepui-local-being-made"]
        );
        drop(held);
    }
}
