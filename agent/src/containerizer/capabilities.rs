//! What this machine and this user can do, found out once at start, by trying.

use super::isolators::cgroups::{Controller, Layout};
use super::launcher::Launcher;
use super::spec::Namespaces;

/// What the containerizer can do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The agent runs as root.
    pub root: bool,
    /// Namespaces can be made (as root, or in a user namespace).
    pub namespaces: bool,
    /// CPU shares and quota are enforced.
    pub cpu: bool,
    /// Memory is limited.
    pub memory: bool,
    /// The number of processes is limited.
    pub processes: bool,
    /// Devices can be kept away from containers.
    pub devices: bool,
    /// Containers have cgroups, so that it is known which processes are theirs.
    pub cgroups: bool,
    /// The use of block devices can be limited and measured.
    pub block_io: bool,
    /// What is missing, one phrase each, for people.
    pub missing: Vec<String>,
}

impl Capabilities {
    pub(super) fn find(layout: &Layout, mut missing: Vec<String>, launcher: &Launcher) -> Self {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            missing.push("not root: tasks run as this agent's user".to_owned());
        }
        let wanted = Namespaces {
            user: !root,
            ..Namespaces::default()
        };
        let probed = launcher.probe(wanted, None);
        if let Err(error) = &probed {
            missing.push(format!(
                "no namespaces ({error}): tasks see each other and the host's processes"
            ));
        }
        if !super::seccomp::available() {
            missing.push("no seccomp: system calls are not filtered".to_owned());
        }
        let (cpu, memory, processes, devices) = (
            layout.has(Controller::Cpu),
            layout.has(Controller::Memory),
            layout.has(Controller::Pids),
            layout.has(Controller::Devices),
        );
        for (there, what) in [
            (cpu, "CPU is not shared by weight"),
            (memory, "memory is not limited"),
            (processes, "processes are not limited"),
            (
                devices,
                "devices are kept away by missing nodes and capabilities alone",
            ),
        ] {
            if !there {
                missing.push(format!("no usable cgroup controller: {what}"));
            }
        }
        Self {
            root,
            namespaces: probed.is_ok(),
            cpu,
            memory,
            processes,
            devices,
            cgroups: Controller::ALL.iter().any(|one| layout.has(*one)),
            block_io: layout.has(Controller::BlockIo),
            missing,
        }
    }

    /// What a container gets that asks for `wanted`.
    pub(super) fn effective(&self, wanted: Namespaces) -> Namespaces {
        if self.namespaces {
            // Without root, the power to make the others comes with a user namespace.
            let others = wanted.pid || wanted.mount || wanted.ipc || wanted.uts || wanted.network;
            Namespaces {
                user: wanted.user || (!self.root && others),
                ..wanted
            }
        } else {
            Namespaces {
                pid: false,
                mount: false,
                ipc: false,
                uts: false,
                network: false,
                user: false,
            }
        }
    }

    /// One line for the log at start, if anything is missing.
    pub fn warning(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| {
            format!(
                "containers run with less isolation on this machine: {}",
                self.missing.join("; ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_as_wanted_as_far_as_they_can_be_had() {
        let able = Capabilities {
            root: true,
            namespaces: true,
            cpu: true,
            memory: true,
            processes: true,
            devices: true,
            cgroups: true,
            block_io: true,
            missing: Vec::new(),
        };
        let wanted = Namespaces {
            network: true,
            ..Namespaces::default()
        };
        assert_eq!(able.effective(wanted), wanted);
        assert_eq!(able.warning(), None);
        let rootless = Capabilities {
            root: false,
            missing: vec!["a".into(), "b".into()],
            ..able.clone()
        };
        assert_eq!(
            rootless.effective(wanted),
            Namespaces {
                user: true,
                ..wanted
            }
        );
        assert_eq!(
            rootless.warning().unwrap(),
            "containers run with less isolation on this machine: a; b"
        );
        let unable = Capabilities {
            namespaces: false,
            ..able
        };
        assert!(!unable.effective(wanted).pid && !unable.effective(wanted).network);
    }
}
