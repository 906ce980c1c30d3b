//! The container's mount tree: the host's, except that nothing mounted inside is seen outside, and that /proc shows the container's processes.
//!
//! The tree is made a *slave* of the host's: mounts made inside stay inside, while the host can still unmount what it needs back.
//! A root of the container's own comes with a /proc of its own (`root`).

use nix::mount::{MsFlags, mount};

use super::Isolator;
use crate::containerizer::{LaunchFailure, Namespaces};
use crate::supervisor::message::failed;

pub(super) struct Filesystem {
    namespaces: Namespaces,
    /// The container's processes are not the host's: its own, or its parent's.
    pid: bool,
    /// The host's root is the container's.
    of_host: bool,
}

impl Filesystem {
    pub(super) fn new(namespaces: Namespaces, of_host: bool) -> Self {
        Self {
            namespaces,
            pid: namespaces.pid,
            of_host,
        }
    }

    /// With the processes of a parent container.
    pub(super) fn within(mut self, pid: bool) -> Self {
        self.pid |= pid;
        self
    }
}

impl Isolator for Filesystem {
    fn isolate(&self) -> Result<(), LaunchFailure> {
        if !self.namespaces.mount {
            return Ok(());
        }
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SLAVE,
            None::<&str>,
        )
        .map_err(failed("make the mounts the container's own", "/"))?;
        if self.pid && self.of_host {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
                .map_err(failed("mount", "/proc"))?;
        }
        Ok(())
    }
}
