//! `/dev/shm`: the host's, memory of the container's own, or what the container has there that it is inside of.
//!
//! Another container's is mounted in that one's mount namespace alone, so that it ends with it. A helper goes there and takes hold of it by a
//! descriptor, which is then mounted here: nothing of it is ever seen on the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::mounts::bind;
use crate::containerizer::{LaunchFailure, SharedMemory};
use crate::supervisor::message::{Joined, failed, failure};
use crate::supervisor::reach::mount_of;
use crate::supervisor::sys;

const PLACE: &str = "/dev/shm";

/// What is to be at `/dev/shm`.
pub(super) struct Shm {
    wanted: SharedMemory,
    /// The container that it is inside of.
    joined: Option<Joined>,
    /// That one's, to be mounted here.
    opened: Option<OwnedFd>,
}

impl Shm {
    pub(super) fn new(wanted: SharedMemory, joined: Option<Joined>) -> Self {
        Self {
            wanted,
            joined,
            opened: None,
        }
    }

    /// Takes hold of another container's.
    pub(super) fn open(&mut self) -> Result<(), LaunchFailure> {
        if self.wanted != SharedMemory::Parents {
            return Ok(());
        }
        let joined = self.joined.ok_or_else(|| {
            failure(
                "share the parent's /dev/shm: the container has no parent",
                "",
                0,
            )
        })?;
        self.opened = Some(mount_of(joined.init, PLACE)?);
        Ok(())
    }

    /// For a container without a root of its own. The others have what the host has.
    pub(super) fn cover_hosts(&self) -> Result<(), LaunchFailure> {
        match self.wanted {
            SharedMemory::Usual | SharedMemory::Hosts => Ok(()),
            SharedMemory::Own(_) | SharedMemory::Parents => self.mount_at(Path::new(PLACE), 0),
        }
    }

    /// Mounts it at a place in a root of the container's own, which says how large it usually is.
    pub(super) fn mount_at(&self, place: &Path, usual_bytes: u64) -> Result<(), LaunchFailure> {
        let mounted = match (self.wanted, &self.opened) {
            (SharedMemory::Usual, _) => memory(place, usual_bytes),
            (SharedMemory::Own(bytes), _) => memory(place, bytes),
            (SharedMemory::Hosts, _) => bind(Path::new(PLACE), place, false),
            (SharedMemory::Parents, Some(tree)) => sys::move_mount(tree.as_fd(), place),
            (SharedMemory::Parents, None) => Err(Errno::EBADF),
        };
        mounted.map_err(failed("mount", PLACE))
    }
}

fn memory(place: &Path, bytes: u64) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    let options = format!("mode=1777,size={bytes}");
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
}
