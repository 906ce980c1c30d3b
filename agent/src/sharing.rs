//! What a container shares with what is around it, by its `LinuxInfo`: processes, IPC, `/dev/shm`.
//!
//! | `ipc_mode` | IPC namespace | `/dev/shm` |
//! | --- | --- | --- |
//! | none | its own; inside of another container that one's | the host's; with an image its own |
//! | PRIVATE | its own | its own |
//! | SHARE_PARENT | of what is around it | of what is around it |
//!
//! Around a container that has no parent is the agent.

use tepui_proto::mesos::v1::{ContainerInfo, linux_info};

use crate::containerizer::{LaunchSpec, Namespaces, SharedMemory};
use crate::isolation::IsolationConfig;

/// `/dev/shm` when nobody says how large: what Docker gives.
pub(crate) const DEFAULT_SHM_BYTES: u64 = 64 << 20;

/// What a container wants to share with what is around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// It sees the processes around it, and they see its own.
    pub(crate) processes: bool,
    pub(crate) ipc: Ipc,
}

/// Whose IPC a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ipc {
    /// Nobody has said.
    #[default]
    Usual,
    /// Its own, with memory of so many bytes; `None`: as many as is usual.
    Private(Option<u64>),
    /// What is around it.
    Parents,
}

impl Sharing {
    /// Reads the wish. Says what is wrong with it.
    pub(crate) fn read(container: Option<&ContainerInfo>) -> Result<Self, String> {
        let Some(linux) = container.and_then(|container| container.linux_info.as_ref()) else {
            return Ok(Self::default());
        };
        let private = linux.ipc_mode() == linux_info::IpcMode::Private;
        if linux.shm_size.is_some() && !private {
            return Err("shm_size needs ipc_mode PRIVATE".to_owned());
        }
        if linux.shm_size == Some(0) {
            // To the kernel that is no limit.
            return Err("shm_size must not be 0".to_owned());
        }
        let bytes = linux.shm_size.map(|mib| u64::from(mib) << 20);
        Ok(Self {
            processes: linux.share_pid_namespace(),
            ipc: match linux.ipc_mode() {
                linux_info::IpcMode::Unknown => Ipc::Usual,
                linux_info::IpcMode::Private => Ipc::Private(bytes),
                linux_info::IpcMode::ShareParent => Ipc::Parents,
            },
        })
    }

    /// Of a container without a parent, which shares what the agent has, if that is allowed.
    pub(crate) fn with_agent(
        self,
        spec: &mut LaunchSpec,
        allowed: &IsolationConfig,
    ) -> Result<(), String> {
        let forbidden = |what: &str, flag: &str| {
            Err(format!(
                "the container is to share the agent's {what}, which --{flag} of this agent forbids"
            ))
        };
        if self.processes && allowed.disallow_sharing_agent_pids {
            return forbidden("pid namespace", "disallow_sharing_agent_pid_namespace");
        }
        if self.ipc == Ipc::Parents && allowed.disallow_sharing_agent_ipc {
            return forbidden("IPC namespace", "disallow_sharing_agent_ipc_namespace");
        }
        spec.namespaces.pid = !self.processes;
        spec.namespaces.ipc = self.ipc != Ipc::Parents;
        spec.shm = self.shm(spec);
        Ok(())
    }

    /// Of a container inside another one, with which it shares the host name, the networks and what else is not said here.
    pub(crate) fn with_parent(self, spec: &mut LaunchSpec) {
        spec.namespaces = Namespaces {
            pid: !self.processes,
            mount: true,
            ipc: matches!(self.ipc, Ipc::Private(_)),
            ..Namespaces::NONE
        };
        spec.shm = self.shm(spec);
    }

    fn shm(self, spec: &LaunchSpec) -> SharedMemory {
        let usual = spec
            .root
            .as_ref()
            .map_or(DEFAULT_SHM_BYTES, |root| root.shm_bytes);
        match self.ipc {
            Ipc::Usual => SharedMemory::Usual,
            Ipc::Private(bytes) => SharedMemory::Own(bytes.unwrap_or(usual)),
            Ipc::Parents => SharedMemory::Parents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::{Command, ContainerId};
    use linux_info::IpcMode::{Private, ShareParent};

    fn read(mode: Option<linux_info::IpcMode>, shm: Option<u32>) -> Result<Sharing, String> {
        let mut linux = tepui_proto::mesos::v1::LinuxInfo {
            shm_size: shm,
            ..Default::default()
        };
        if let Some(mode) = mode {
            linux.set_ipc_mode(mode);
        }
        let info = ContainerInfo {
            linux_info: Some(Box::new(linux)),
            ..ContainerInfo::default()
        };
        Sharing::read(Some(&info))
    }

    fn spec() -> LaunchSpec {
        let id = ContainerId::new("c").unwrap();
        LaunchSpec::new(id, Command::Shell("true".to_owned()), "/s")
    }

    #[test]
    fn a_size_is_for_memory_of_its_own() {
        assert_eq!(
            read(Some(Private), Some(8)).unwrap().ipc,
            Ipc::Private(Some(8 << 20))
        );
        for mode in [None, Some(ShareParent)] {
            let why = read(mode, Some(8)).unwrap_err();
            assert!(why.contains("shm_size needs"), "{why}");
        }
        let why = read(Some(Private), Some(0)).unwrap_err();
        assert!(why.contains("must not be 0"), "{why}");
        assert_eq!(Sharing::read(None).unwrap(), Sharing::default());
    }

    #[test]
    fn what_is_shared_depends_on_what_is_around() {
        let cases = [
            (
                None,
                (true, SharedMemory::Usual),
                (false, SharedMemory::Usual),
            ),
            (
                Some(Private),
                (true, SharedMemory::Own(64 << 20)),
                (true, SharedMemory::Own(64 << 20)),
            ),
            (
                Some(ShareParent),
                (false, SharedMemory::Parents),
                (false, SharedMemory::Parents),
            ),
        ];
        for (mode, alone, inside) in cases {
            let sharing = read(mode, None).unwrap();
            let mut spec = spec();
            sharing
                .with_agent(&mut spec, &IsolationConfig::default())
                .unwrap();
            assert_eq!((spec.namespaces.ipc, spec.shm), alone, "{mode:?}");
            assert!(spec.namespaces.pid && spec.namespaces.mount);
            sharing.with_parent(&mut spec);
            assert_eq!((spec.namespaces.ipc, spec.shm), inside, "{mode:?}");
        }
    }

    #[test]
    fn an_agent_may_keep_to_itself() {
        let processes = Sharing {
            processes: true,
            ..Sharing::default()
        };
        let ipc = Sharing {
            ipc: Ipc::Parents,
            ..Sharing::default()
        };
        let (mut no_pids, mut no_ipc) = (IsolationConfig::default(), IsolationConfig::default());
        no_pids.disallow_sharing_agent_pids = true;
        no_ipc.disallow_sharing_agent_ipc = true;
        for (wish, allowed, flag) in [
            (processes, &no_ipc, None),
            (ipc, &no_pids, None),
            (
                processes,
                &no_pids,
                Some("disallow_sharing_agent_pid_namespace"),
            ),
            (ipc, &no_ipc, Some("disallow_sharing_agent_ipc_namespace")),
        ] {
            let told = wish.with_agent(&mut spec(), allowed);
            match flag {
                None => told.unwrap(),
                Some(flag) => assert!(told.unwrap_err().contains(flag)),
            }
            // Inside of another container it is for that one.
            wish.with_parent(&mut spec());
        }
    }
}
