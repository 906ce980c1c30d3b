//! Directories of the host that the container sees in other places too: persistent volumes in its sandbox.

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::Isolator;
use crate::containerizer::{BindMount, LaunchFailure};
use crate::supervisor::message::failed;

pub(super) struct Mounts {
    mounts: Vec<BindMount>,
}

impl Mounts {
    pub(super) fn new(mounts: Vec<BindMount>) -> Self {
        Self { mounts }
    }
}

impl Isolator for Mounts {
    fn isolate(&self) -> Result<(), LaunchFailure> {
        for wanted in &self.mounts {
            let subject = wanted.target.to_string_lossy();
            // With what is mounted below it: in a user namespace nothing that was covered may be uncovered.
            mount(
                Some(&wanted.source),
                &wanted.target,
                None::<&str>,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                None::<&str>,
            )
            .map_err(failed("mount the volume at", &subject))?;
            if wanted.read_only {
                let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(
                    None::<&str>,
                    &wanted.target,
                    None::<&str>,
                    flags | kept(&wanted.target).map_err(failed("examine", &subject))?,
                    None::<&str>,
                )
                .map_err(failed("make read-only", &subject))?;
            }
        }
        Ok(())
    }
}

/// What a new mount must keep of the old one: in a user namespace these may not be taken away.
fn kept(path: &std::path::Path) -> nix::Result<MsFlags> {
    let found = statvfs(path)?.flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(kept
        .into_iter()
        .filter_map(|(there, keep)| found.contains(there).then_some(keep))
        .collect())
}
