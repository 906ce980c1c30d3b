//! Directories of the host that the container sees in other places too: persistent volumes in its sandbox.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::Isolator;
use crate::containerizer::{BindMount, LaunchFailure};
use crate::supervisor::message::failed;
use crate::supervisor::sys;

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
            bind(&wanted.source, &wanted.target, true)
                .map_err(failed("mount the volume at", &subject))?;
            if wanted.read_only {
                make_read_only(&wanted.target, true).map_err(failed("make read-only", &subject))?;
            }
        }
        Ok(())
    }
}

/// Shows `source` at `target` too; `deep`: with what is mounted below it. In a user namespace nothing that was covered may be uncovered.
pub(super) fn bind(source: &Path, target: &Path, deep: bool) -> nix::Result<()> {
    let flags = if deep {
        MsFlags::MS_BIND | MsFlags::MS_REC
    } else {
        MsFlags::MS_BIND
    };
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
}

/// Of a mount, and (`deep`) all below it: nothing may be changed through them.
pub(super) fn make_read_only(at: &Path, deep: bool) -> nix::Result<()> {
    match sys::mount_read_only(at, deep) {
        // Before Linux 5.12: the topmost alone, which is all there is of most.
        Err(Errno::ENOSYS) => {}
        done => return done,
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(
        None::<&str>,
        at,
        None::<&str>,
        flags | kept(at)?,
        None::<&str>,
    )
}

/// What a new mount must keep of the old one: in a user namespace these may not be taken away.
fn kept(path: &Path) -> nix::Result<MsFlags> {
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
