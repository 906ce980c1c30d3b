//! Containers that are there for others to be inside of: whether one is up, and whose end is due to its end.
//!
//! What is inside of a container usually ends a moment before it: the kernel ends a pid namespace's processes before its first one is gone, and
//! whoever is out of memory is killed before anybody can say why. So the end of what is inside tells less than the end of what is around it.

use nix::libc;

use super::error::ContainerizerError;
use super::event::{Exit, ExitReason};
use super::isolators;
use super::record;
use super::recovery::runtime_error;
use super::spec::{ContainerId, KillScope};
use super::{Containerizer, Stage, State};

impl Containerizer {
    /// Waits until a container that was launched runs; an error if it has ended, with the reason if it never ran.
    pub async fn started(&self, container: &ContainerId) -> Result<(), ContainerizerError> {
        let stage = self
            .inner
            .containers
            .lock()
            .get(container)
            .map(|entry| entry.stage.subscribe());
        let gone = || ContainerizerError::NotRunning(container.clone());
        let mut stage = stage.ok_or_else(gone)?;
        let reached = stage.wait_for(|stage| *stage != Stage::Launching).await;
        if reached.is_ok_and(|stage| *stage == Stage::Running) {
            return Ok(());
        }
        let directory = record::directory(&self.inner.config.runtime_dir, container.as_str());
        let exit = record::read::<Exit>(&directory, record::EXIT_FILE)
            .map_err(runtime_error("read", &directory))?;
        match exit.map(|exit| exit.reason) {
            Some(ExitReason::LaunchFailed(failure)) => Err(ContainerizerError::Exec(failure)),
            _ => Err(gone()),
        }
    }

    /// Whether it is known here, in whichever state.
    pub fn is_known(&self, container: &ContainerId) -> bool {
        self.inner.containers.lock().contains_key(container)
    }

    /// Whether it is there for others to be inside of.
    pub fn is_holder(&self, container: &ContainerId) -> bool {
        let containers = self.inner.containers.lock();
        let entry = containers.get(container);
        entry.is_some_and(|entry| entry.holds)
    }

    /// Whether its cgroups are below another container's, so that what it uses counts there.
    pub fn is_within(&self, container: &ContainerId) -> bool {
        let containers = self.inner.containers.lock();
        let entry = containers.get(container);
        entry.is_some_and(|entry| {
            let around = entry.inside.as_ref().and_then(|it| containers.get(it));
            around.is_some_and(|around| entry.placement.is_below(&around.placement))
        })
    }

    /// The end of this container was passed on: what ends from now on inside of it ends for reasons of its own.
    pub fn told(&self, container: &ContainerId) {
        if let Some(entry) = self.inner.containers.lock().get_mut(container) {
            entry.told = true;
        }
    }

    /// Of a container that has ended: the one that it was inside of, if that one is ending too and nobody was told yet. Sees to it that it does: one
    /// that is out of memory ends whichever of its processes the kernel has chosen.
    pub fn ending_around(&self, container: &ContainerId, exit: &Exit) -> Option<ContainerId> {
        let told_by_kernel =
            matches!(exit.reason, ExitReason::MemoryLimit(_)) && self.is_within(container);
        let (around, state) = {
            let containers = self.inner.containers.lock();
            let around = containers.get(container)?.inside.clone()?;
            let entry = containers.get(&around).filter(|entry| !entry.told)?;
            let state = match &entry.state {
                State::Launching { .. } => return None,
                State::Running(running) => Some((*running, entry.placement.clone())),
                State::Ended => None,
            };
            (around, state)
        };
        let Some((running, placement)) = state else {
            return Some(around);
        };
        let out_of_memory = told_by_kernel
            || isolators::of_running(&placement)
                .memory_limitation(false)
                .is_some();
        if !out_of_memory && !running.init.is_ending() {
            return None;
        }
        // One that has ended meanwhile needs it no more.
        let _ = self.kill(&around, libc::SIGKILL, KillScope::Tree);
        Some(around)
    }
}
