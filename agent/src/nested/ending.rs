//! How containers end, are waited for, and are forgotten.
//!
//! An id may be given to a new container as soon as the old one has left the tree. So that nothing that is still being done about the old one
//! reaches the new one, a container leaves the tree last: when it is destroyed, its end was told, and its sandbox is gone if that was to go.
//! Whoever works at one holds its lock, and has looked under it whether it is still that one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::TaskState;
use tepui_proto::mesos::v1::task_status::Reason;

use super::tree::{Class, Ended, Refusal, Stage};
use super::{Nested, SIGKILL, runtime_id};
use crate::containerizer::beneath::{open_without_links, through};
use crate::containerizer::{
    ContainerEvent, ContainerId, ContainerizerError, Exit, ExitReason, KillScope,
};
use crate::hands::core_exit;

impl Nested {
    /// Waits for a container's end; `None` if there is none of that id.
    pub(crate) async fn wait(&self, id: &CoreId) -> Option<Arc<Ended>> {
        let mut stage = self.stage(&runtime_id(id))?;
        let reached = stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
        match reached.map(|stage| stage.clone()) {
            Ok(Stage::Ended(ended)) if !ended.failed => Some(ended),
            _ => None,
        }
    }

    /// Sends a signal: to the container's first process, or, if it is SIGKILL, to all of it.
    pub(crate) fn kill(&self, id: &CoreId, signal: i32) -> Result<(), Refusal> {
        self.kill_one(id, None, signal)
    }

    /// The same of the one of this number alone.
    pub(super) fn kill_one(
        &self,
        id: &CoreId,
        number: Option<u64>,
        signal: i32,
    ) -> Result<(), Refusal> {
        let name = runtime_id(id);
        let unknown = || {
            Refusal::Unknown(format!(
                "Container '{id}' cannot be found (or is already killed)"
            ))
        };
        // Under the lock nobody else gets the name.
        let mut room = self.0.room.lock();
        let known = room.tree.get(id).map(|node| (node.number, &node.stage));
        match known {
            Some((other, _)) if number.is_some_and(|number| number != other) => {
                return Err(unknown());
            }
            Some((_, Stage::Ended(_))) => return Err(unknown()),
            Some((own, Stage::Launching)) => {
                if signal == SIGKILL
                    && let Some(live) = room.live(id, own)
                {
                    live.unwanted.cancel();
                }
                // It may not have reached the containerizer yet, which then knows nothing of it: it gets the signal when it has.
                if self.send(&name, signal).is_err()
                    && let Some(node) = room.tree.get_mut(id)
                    && node.signal != Some(SIGKILL)
                {
                    node.signal = Some(signal);
                }
                return Ok(());
            }
            None if number.is_some() => return Err(unknown()),
            Some((_, Stage::Running { .. })) | None => {}
        }
        self.send(&name, signal).map_err(|error| match error {
            ContainerizerError::NotRunning(_) => unknown(),
            other => Refusal::Failed(other.to_string()),
        })
    }

    pub(super) fn send(&self, name: &ContainerId, signal: i32) -> Result<(), ContainerizerError> {
        let scope = if signal == SIGKILL {
            KillScope::Tree
        } else {
            KillScope::Task
        };
        self.0.containerizer.kill(name, signal, scope)
    }

    /// Removes what is left of a container that has ended: its record and its sandbox, and those inside. It is done also if nobody waits any more.
    pub(crate) async fn remove(&self, id: &CoreId) -> Result<(), Refusal> {
        let (number, below) = {
            let room = self.0.room.lock();
            (room.tree.check_removal(id)?, room.tree.below(id))
        };
        let (nested, id) = (self.clone(), id.clone());
        let removed = tokio::spawn(async move {
            nested.end(below).await;
            nested.forget(&id, number, true).await;
        });
        removed
            .await
            .map_err(|error| Refusal::Failed(error.to_string()))
    }

    /// Whether there are containers inside of this one.
    pub(crate) fn has_below(&self, name: &ContainerId) -> bool {
        match name.as_str().parse::<CoreId>() {
            Ok(id) => !self.0.room.lock().tree.below(&id).is_empty(),
            Err(_) => false,
        }
    }

    /// Ends and forgets all inside of a container of the core's that has ended. Their sandboxes stay as long as its own.
    pub(crate) async fn end_below(&self, id: &CoreId) {
        let below = self.0.room.lock().tree.below(id);
        self.end(below).await;
    }

    /// Ends and forgets these, in this order.
    pub(super) async fn end(&self, containers: Vec<(CoreId, u64)>) {
        for (id, number) in containers {
            self.forget(&id, number, false).await;
        }
    }

    /// Ends a container, if it has not, and takes away everything that was made for it, its sandbox too if that is wanted. It is no longer
    /// known when this returns.
    pub(super) async fn forget(&self, id: &CoreId, number: u64, sandbox: bool) {
        let name = runtime_id(id);
        let (work, mut stage) = {
            let mut room = self.0.room.lock();
            let Some(node) = room.tree.numbered(id, number) else {
                return;
            };
            node.unwanted |= sandbox;
            let Some(live) = room.live(id, number) else {
                return;
            };
            live.unwanted.cancel();
            (Arc::clone(&live.work), live.stage.subscribe())
        };
        let _at_work = work.lock().await;
        let Some(handed_over) = self.handed(id, number) else {
            return;
        };
        match self.0.containerizer.destroy(&name).await {
            // The next of that id must not be told of this one's end.
            Ok(()) if handed_over => {
                let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_)));
                let _ = ended.await;
            }
            Ok(()) => {}
            Err(error) => tracing::warn!("container {id} cannot be destroyed: {error}"),
        }
        let surroundings = &self.0.surroundings;
        surroundings.external_volumes.release(name.as_str()).await;
        let provisioner = surroundings.provisioner.clone();
        if provisioner.has_roots(name.as_str()) {
            let _ = tokio::task::spawn_blocking(move || provisioner.release(name.as_str())).await;
        }
        // Somebody may want its sandbox away meanwhile.
        while let Some(sandbox) = self.leave(id, number) {
            // One that an older version noted may go by another name of the work directory.
            let own = self.0.layout.by_its_own_name(&sandbox);
            remove_sandbox(own.unwrap_or(sandbox)).await;
        }
    }

    /// Whether the containerizer has been given it; `None` if it is not known any more.
    fn handed(&self, id: &CoreId, number: u64) -> Option<bool> {
        let mut room = self.0.room.lock();
        room.live(id, number).map(|live| live.handed_over)
    }

    /// Takes a container out of the tree, or else says which sandbox is to be removed before.
    fn leave(&self, id: &CoreId, number: u64) -> Option<PathBuf> {
        let mut room = self.0.room.lock();
        let node = room.tree.numbered(id, number)?;
        let sandbox = node.sandbox.take_if(|_| node.unwanted);
        if sandbox.is_none() && room.tree.remove(id, number) {
            room.live.remove(&runtime_id(id));
        }
        sandbox
    }

    /// A container has ended by itself: its external volumes go, the rest stays until it is forgotten.
    async fn let_volumes_go(&self, id: &CoreId, number: u64) {
        let name = runtime_id(id);
        let volumes = &self.0.surroundings.external_volumes;
        let work = {
            let mut room = self.0.room.lock();
            room.live(id, number).map(|live| Arc::clone(&live.work))
        };
        let Some(work) = work.filter(|_| volumes.has(name.as_str())) else {
            return;
        };
        let _at_work = work.lock().await;
        if self.handed(id, number).is_some() {
            volumes.release(name.as_str()).await;
        }
    }

    /// A session has ended: its end is remembered, and nothing else.
    async fn settle(&self, id: &CoreId, number: u64) {
        let work = {
            let mut room = self.0.room.lock();
            room.live(id, number).map(|live| Arc::clone(&live.work))
        };
        let Some(work) = work else { return };
        let _at_work = work.lock().await;
        if self.handed(id, number).is_none() {
            return;
        }
        if let Err(error) = self.0.containerizer.destroy(&runtime_id(id)).await {
            tracing::warn!("session {id} cannot be destroyed: {error}");
            return;
        }
        if let Some(node) = self.0.room.lock().tree.numbered(id, number) {
            node.settled = true;
        }
    }

    /// What has happened to a container; given back if it is not one of this room's.
    pub(crate) fn happened(&self, event: ContainerEvent) -> Option<ContainerEvent> {
        let mut room = self.0.room.lock();
        let name = match &event {
            ContainerEvent::Started { container, .. }
            | ContainerEvent::Exited { container, .. } => container.clone(),
        };
        let Some(id) = room.live.get(&name).map(|live| live.id.clone()) else {
            if let ContainerEvent::Exited { exit, .. } = &event
                && let Some(waiting) = room.others.remove(&name)
            {
                waiting.send_replace(Stage::Ended(Arc::new(ended(exit))));
            }
            return Some(event);
        };
        match event {
            ContainerEvent::Started { pid, .. } => room.tree.started(&id, pid),
            ContainerEvent::Exited { exit, .. } => {
                room.tree.ended(&id, Arc::new(ended(&exit)));
                if let Some(live) = room.live.get_mut(&name) {
                    live.board = None;
                }
                // Taken note of now: what comes later stands in another one.
                let below = room.tree.below(&id);
                let number = room.tree.get(&id).map(|node| node.number);
                let session = room.tree.get(&id);
                let session = session.filter(|node| node.class == Class::Session);
                let session = session.map(|node| node.number);
                let (nested, id) = (self.clone(), id.clone());
                tokio::spawn(async move {
                    nested.end(below).await;
                    if let Some(number) = number {
                        nested.let_volumes_go(&id, number).await;
                    }
                    if let Some(number) = session {
                        nested.settle(&id, number).await;
                    }
                });
            }
        }
        room.tell(&name, &id);
        None
    }
}

async fn remove_sandbox(sandbox: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || {
        let removed = remove_without_links(&sandbox);
        removed.map_err(|error| format!("{}: {error}", sandbox.display()))
    });
    if let Ok(Err(problem)) = removed.await {
        tracing::debug!("a sandbox was not removed: {problem}");
    }
}

/// Removes a directory among files of a task, which may have put a link in its way: what that leads to is left alone.
fn remove_without_links(directory: &Path) -> std::io::Result<()> {
    let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Ok(());
    };
    let above = open_without_links(above)?;
    std::fs::remove_dir_all(through(&above).join(name))
}

/// What a container's end means to whoever waits for it.
pub(super) fn ended(exit: &Exit) -> Ended {
    let exit_status = exit.status.map(|status| status.raw());
    match (core_exit(exit), &exit.reason) {
        (Err(message), _) => Ended {
            message: Some(message),
            failed: true,
            ..Ended::default()
        },
        (Ok(_), ExitReason::Lost) => Ended {
            exit_status,
            state: Some(TaskState::TaskFailed),
            reason: Some(Reason::ContainerLaunchFailed),
            message: Some("The container's supervisor was killed".to_owned()),
            ..Ended::default()
        },
        (Ok(core), _) => match core.limitation {
            Some(limitation) => Ended {
                exit_status,
                state: Some(TaskState::TaskFailed),
                reason: Some(limitation.of.reason()),
                limitation: limitation.resources,
                message: Some(limitation.message),
                failed: false,
            },
            None => Ended {
                exit_status,
                ..Ended::default()
            },
        },
    }
}
