//! What stands between a container and the machine: one small module for each aspect, all with the same few hooks.
//!
//! The hooks of one container's isolators run in list order, in different processes (see [`supervisor`](crate::supervisor)):
//!
//! | hook | where | for an exec too |
//! | --- | --- | --- |
//! | `prepare` | supervisor, before there is any process of the container | |
//! | `open` | supervisor or helper, on the host: what `enter` needs and cannot reach from inside | yes |
//! | `clone_flags`, `cgroup` | the namespaces that init, the cgroup that the task is made in | yes |
//! | `map_ids` | supervisor, when init exists and waits | |
//! | `isolate` | init, inside the new namespaces, before the task exists | |
//! | `enter` | the task's own process, on its way to its program | yes |
//! | `seal` | there too, after all else but the change of user | yes |
//! | `out_of_memory`, `memory_limitation` | supervisor, while it runs and after its end | |
//! | `usage`, `update` | the agent, while it runs; `usage` also in the supervisor, after its end | |
//! | `cleanup` | supervisor when every process is gone, or the agent for a supervisor that was killed | |
//!
//! A further aspect (networks, devices) is a further module here and a line in the lists below.

pub(crate) mod cgroups;

mod filesystem;
mod mounts;
mod namespaces;
mod oom_score;
mod privileges;
mod rlimits;
mod root;
mod seccomp;
mod shm;
mod volumes;

use std::os::fd::BorrowedFd;

use super::error::ContainerizerError;
use super::event::{LaunchFailure, MemoryLimitation, Usage};
use super::rootfs::Overlay;
use super::spec::{Limits, Namespaces};
use crate::supervisor::message::{Exec, Launch};
use cgroups::{Cgroups, Placement};

/// One aspect of isolation. Every hook does nothing unless it is overridden.
pub(crate) trait Isolator {
    /// Makes what the container needs on the host.
    fn prepare(&mut self) -> Result<(), LaunchFailure> {
        Ok(())
    }

    /// Opens what `enter` will need.
    fn open(&mut self) -> Result<(), LaunchFailure> {
        Ok(())
    }

    /// `CLONE_NEW*` flags of the container.
    fn clone_flags(&self) -> u64 {
        0
    }

    /// Lets ids mean something in a new user namespace, whose first process is `init`.
    fn map_ids(&self, init: i32) -> Result<(), LaunchFailure> {
        let _ = init;
        Ok(())
    }

    /// Sets up the inside of the new namespaces.
    fn isolate(&self) -> Result<(), LaunchFailure> {
        Ok(())
    }

    /// The version 2 cgroup that the task is made in.
    fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Confines the calling process.
    fn enter(&self) -> Result<(), LaunchFailure> {
        Ok(())
    }

    /// Takes away what cannot be had back.
    fn seal(&self) -> Result<(), LaunchFailure> {
        Ok(())
    }

    /// Readable when the container has run out of memory.
    fn out_of_memory(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The facts, if the container has run out of memory; `told` if `out_of_memory` became readable.
    fn memory_limitation(&self, told: bool) -> Option<MemoryLimitation> {
        let _ = told;
        None
    }

    /// Adds what it knows of what is in use.
    fn usage(&self, usage: &mut Usage) {
        let _ = usage;
    }

    /// Sets new limits.
    fn update(&self, limits: &Limits) -> Result<(), ContainerizerError> {
        let _ = limits;
        Ok(())
    }

    /// Removes what `prepare` made; kills what is in the way. Repeatable.
    fn cleanup(&mut self) {}
}

/// All isolators of one container, in order.
pub(crate) struct Isolators(Vec<Box<dyn Isolator>>);

/// Of a container to be launched.
pub(crate) fn of_launch(launch: &Launch) -> Isolators {
    let parents_processes = launch.joined.is_some_and(|joined| joined.namespaces.pid);
    // What is mounted depends on whether it is mounted in a user namespace, its own or its parent's.
    let seen = Namespaces {
        user: launch.namespaces.user || launch.joined.is_some_and(|joined| joined.namespaces.user),
        ..launch.namespaces
    };
    Isolators(vec![
        Box::new(
            Cgroups::new(launch.placement.clone(), launch.limits)
                .devices(launch.devices.as_ref().map(|it| it.rules.clone()))
                .cpuset(launch.cpuset.clone())
                .block_io(launch.block_io.clone())
                .standing(launch.standing),
        ),
        Box::new(
            namespaces::NamespacesIsolator::new(launch.namespaces, launch.hostname.clone())
                .joining(launch.network.clone())
                .within(launch.joined),
        ),
        Box::new(
            filesystem::Filesystem::new(launch.namespaces, launch.root.is_none())
                .within(parents_processes),
        ),
        Box::new(mounts::Mounts::new(launch.mounts.clone())),
        Box::new(volumes::Volumes::of_sandbox(
            &launch.volumes,
            seen,
            launch.sandbox(),
            &launch.record,
        )),
        Box::new(
            root::Root::new(
                launch.root.clone(),
                seen,
                launch.volumes.clone(),
                &launch.record,
                shm::Shm::new(launch.shm, launch.joined),
            )
            .devices(launch.devices.as_ref().map(|it| it.nodes.clone())),
        ),
        Box::new(oom_score::OomScore::new(launch.oom_score_adj)),
        Box::new(rlimits::Rlimits::new(launch.program.rlimits.clone())),
        Box::new(privileges::Privileges::new(launch.capabilities)),
        Box::new(seccomp::Seccomp::new(launch.program.seal.clone())),
    ])
}

/// Of a command that joins a container.
pub(crate) fn of_exec(exec: &Exec) -> Isolators {
    Isolators(vec![
        Box::new(Cgroups::new(exec.placement.clone(), Limits::default())),
        Box::new(namespaces::NamespacesIsolator::new(exec.namespaces, None)),
        Box::new(rlimits::Rlimits::new(exec.program.rlimits.clone())),
        Box::new(privileges::Privileges::new(exec.capabilities)),
        Box::new(seccomp::Seccomp::new(exec.program.seal.clone())),
    ])
}

/// Of a trial whether these namespaces can be had, and overlayfs in them.
pub(crate) fn of_probe(namespaces: Namespaces, overlay: Option<Overlay>) -> Isolators {
    Isolators(vec![
        Box::new(namespaces::NamespacesIsolator::new(namespaces, None)),
        Box::new(filesystem::Filesystem::new(namespaces, true)),
        Box::new(root::OverlayProbe::new(overlay, namespaces.user)),
    ])
}

/// Of a container that runs or ran: what the agent can ask and change from outside.
pub(crate) fn of_running(placement: &Placement) -> Isolators {
    Isolators(vec![Box::new(Cgroups::new(
        placement.clone(),
        Limits::default(),
    ))])
}

impl Isolators {
    pub(crate) fn prepare(&mut self) -> Result<(), LaunchFailure> {
        self.0
            .iter_mut()
            .try_for_each(|isolator| isolator.prepare())
    }

    pub(crate) fn open(&mut self) -> Result<(), LaunchFailure> {
        self.0.iter_mut().try_for_each(|isolator| isolator.open())
    }

    pub(crate) fn clone_flags(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |flags, isolator| flags | isolator.clone_flags())
    }

    pub(crate) fn map_ids(&self, init: i32) -> Result<(), LaunchFailure> {
        self.0
            .iter()
            .try_for_each(|isolator| isolator.map_ids(init))
    }

    pub(crate) fn isolate(&self) -> Result<(), LaunchFailure> {
        self.0.iter().try_for_each(|isolator| isolator.isolate())
    }

    pub(crate) fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.0.iter().find_map(|isolator| isolator.cgroup())
    }

    pub(crate) fn enter(&self) -> Result<(), LaunchFailure> {
        self.0.iter().try_for_each(|isolator| isolator.enter())
    }

    pub(crate) fn seal(&self) -> Result<(), LaunchFailure> {
        self.0.iter().try_for_each(|isolator| isolator.seal())
    }

    pub(crate) fn out_of_memory(&self) -> Option<BorrowedFd<'_>> {
        self.0.iter().find_map(|isolator| isolator.out_of_memory())
    }

    pub(crate) fn memory_limitation(&self, told: bool) -> Option<MemoryLimitation> {
        self.0
            .iter()
            .find_map(|isolator| isolator.memory_limitation(told))
    }

    /// `None` if nobody can tell.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let mut usage = Usage::default();
        for isolator in &self.0 {
            isolator.usage(&mut usage);
        }
        (usage != Usage::default()).then_some(usage)
    }

    pub(crate) fn update(&self, limits: &Limits) -> Result<(), ContainerizerError> {
        self.0
            .iter()
            .try_for_each(|isolator| isolator.update(limits))
    }

    pub(crate) fn cleanup(&mut self) {
        for isolator in self.0.iter_mut().rev() {
            isolator.cleanup();
        }
    }
}
