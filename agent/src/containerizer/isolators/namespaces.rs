//! The container's own namespaces: which are made, the ids in a user namespace, the host name, the loopback interface.

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::Isolator;
use crate::containerizer::{LaunchFailure, Namespaces};
use crate::supervisor::message::{Joined, failed, failed_io, failure};
use crate::supervisor::sys;

pub(super) struct NamespacesIsolator {
    namespaces: Namespaces,
    hostname: Option<String>,
    /// A network namespace that is there already, by the file that keeps it.
    network: Option<PathBuf>,
    opened: Option<File>,
    /// Another container, in some of whose namespaces this one is.
    joined: Option<Joined>,
    /// Its init.
    parent: Option<OwnedFd>,
}

impl NamespacesIsolator {
    pub(super) fn new(namespaces: Namespaces, hostname: Option<String>) -> Self {
        Self {
            namespaces,
            hostname,
            network: None,
            opened: None,
            joined: None,
            parent: None,
        }
    }

    /// With a network namespace that is there already, instead of a new one.
    pub(super) fn joining(mut self, network: Option<PathBuf>) -> Self {
        self.network = network;
        self
    }

    /// Inside another container.
    pub(super) fn within(mut self, joined: Option<Joined>) -> Self {
        self.joined = joined;
        self
    }
}

/// The flags that make them.
fn flags(namespaces: Namespaces) -> CloneFlags {
    let Namespaces {
        pid,
        mount,
        ipc,
        uts,
        network,
        user,
    } = namespaces;
    [
        (pid, CloneFlags::CLONE_NEWPID),
        (mount, CloneFlags::CLONE_NEWNS),
        (ipc, CloneFlags::CLONE_NEWIPC),
        (uts, CloneFlags::CLONE_NEWUTS),
        (network, CloneFlags::CLONE_NEWNET),
        (user, CloneFlags::CLONE_NEWUSER),
    ]
    .into_iter()
    .filter_map(|(wanted, flag)| wanted.then_some(flag))
    .collect()
}

impl Isolator for NamespacesIsolator {
    fn clone_flags(&self) -> u64 {
        let new = Namespaces {
            network: self.namespaces.network && self.network.is_none(),
            ..self.namespaces
        };
        flags(new).bits() as u32 as u64
    }

    fn open(&mut self) -> Result<(), LaunchFailure> {
        if let Some(path) = &self.network {
            let opened = File::open(path);
            self.opened = Some(opened.map_err(failed_io(
                "open the network namespace",
                path.to_string_lossy(),
            ))?);
        }
        let Some(joined) = self.joined else {
            return Ok(());
        };
        let parent = joined
            .init
            .open()
            .map_err(failed_io("open the parent container's first process", ""))?
            .ok_or_else(|| failure("join the parent container: it has ended", "", 0))?;
        // By the supervisor: children alone are made in another pid namespace, and the user namespace gives the right to join the others. Its
        // files stay the host's.
        let first = Namespaces {
            pid: joined.namespaces.pid,
            user: joined.namespaces.user,
            ..Namespaces::NONE
        };
        let first = flags(first);
        if !first.is_empty() {
            setns(&parent, first).map_err(failed("join the parent container's processes", ""))?;
        }
        self.parent = Some(parent);
        Ok(())
    }

    /// Ids stay what they are outside: all of them if the agent is root, else only the agent's own.
    fn map_ids(&self, init: i32) -> Result<(), LaunchFailure> {
        if !self.namespaces.user {
            return Ok(());
        }
        let (uid, gid) = (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        );
        let write = |file: &str, content: String| {
            let path = format!("/proc/{init}/{file}");
            std::fs::write(&path, content)
                .map_err(failed_io("map the ids of the user namespace", path))
        };
        let map = |own: u32| {
            if uid == 0 {
                format!("0 0 {}\n", u32::MAX)
            } else {
                format!("{own} {own} 1\n")
            }
        };
        if uid != 0 {
            write("setgroups", "deny".to_owned())?;
        }
        write("uid_map", map(uid))?;
        write("gid_map", map(gid))
    }

    fn isolate(&self) -> Result<(), LaunchFailure> {
        if let (Some(parent), Some(joined)) = (&self.parent, self.joined) {
            let rest = flags(Namespaces {
                pid: false,
                user: false,
                ..joined.namespaces
            });
            if !rest.is_empty() {
                setns(parent, rest)
                    .map_err(failed("enter the parent container's namespaces", ""))?;
            }
        }
        if let Some(hostname) = self.hostname.as_ref().filter(|_| self.namespaces.uts) {
            nix::unistd::sethostname(hostname).map_err(failed("set the host name", hostname))?;
        }
        if let Some(network) = &self.opened {
            setns(network, CloneFlags::CLONE_NEWNET)
                .map_err(failed("join the network namespace", ""))?;
        }
        if self.namespaces.network {
            let socket = socket(
                AddressFamily::Inet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .map_err(failed("open a socket for the loopback interface", ""))?;
            sys::loopback_up(socket.as_fd()).map_err(failed_io("set up the interface", "lo"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_made() {
        assert_eq!(
            flags(Namespaces::default()),
            CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS
        );
        let none = Namespaces {
            pid: false,
            mount: false,
            ipc: false,
            uts: false,
            network: false,
            user: false,
        };
        assert!(flags(none).is_empty());
        assert_eq!(
            flags(Namespaces {
                network: true,
                ..none
            }),
            CloneFlags::CLONE_NEWNET
        );
    }
}
