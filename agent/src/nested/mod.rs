//! Containers that operators launch: inside of tasks' and executors' containers, inside of each other, or alone.
//!
//! The core does not know of them: they are no tasks, take no resources of offers, and end with what they stand in. [`tree`] says which there
//! are and who may stand where; [`launch`] makes what each needs. Each carries a note beside its record in the runtime directory, from which
//! the next agent takes it up; sessions end with the agent's process.
//!
//! Bounds: [`tree::MAX_CONTAINERS`] containers, ended ones that were not removed included.

pub(crate) mod launch;
pub(crate) mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tepui_agent_core::view::View;
use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::TaskState;
use tepui_proto::mesos::v1::task_status::Reason;
use tokio::sync::watch;

use crate::containerizer::{
    ContainerEvent, ContainerId, Containerizer, ContainerizerError, Exit, ExitReason, KillScope,
    MAX_CONTAINER_ID_BYTES, Recovered,
};
use crate::hands::core_exit;
use crate::sandbox::Layout;
use crate::spec::Surroundings;
use launch::Wanted;
use tree::{Class, Ended, Node, Refusal, Stage, Tree};

const SIGKILL: i32 = 9;

/// The door of this room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Nested(Arc<Inner>);

struct Inner {
    containerizer: Arc<Containerizer>,
    surroundings: Surroundings,
    layout: Layout,
    /// The agent's id.
    agent: Arc<RwLock<String>>,
    view: Arc<RwLock<View>>,
    room: Mutex<Room>,
}

/// The tree, and those who wait for it to change.
#[derive(Default)]
struct Room {
    tree: Tree,
    /// By the name that the containerizer knows. As many as the tree has.
    names: HashMap<ContainerId, CoreId>,
    stages: HashMap<ContainerId, watch::Sender<Stage>>,
    /// Containers of the core that somebody waits for; at most as many as run.
    others: HashMap<ContainerId, watch::Sender<Stage>>,
}

impl Room {
    fn enter(&mut self, id: &CoreId, stage: Stage) {
        let name = runtime_id(id);
        self.stages.insert(name.clone(), watch::Sender::new(stage));
        self.names.insert(name, id.clone());
    }

    fn leave(&mut self, id: &CoreId) -> Option<Node> {
        let name = runtime_id(id);
        self.names.remove(&name);
        self.stages.remove(&name);
        self.tree.remove(id)
    }

    fn tell(&self, name: &ContainerId, id: &CoreId) {
        if let (Some(stage), Some(node)) = (self.stages.get(name), self.tree.get(id)) {
            stage.send_replace(node.stage.clone());
        }
    }
}

/// What the next agent must know of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    id: String,
    session: bool,
    sandbox: Option<PathBuf>,
    user: String,
}

impl Note {
    fn of(wanted: &Wanted, sandbox: Option<&Path>, user: &str) -> Self {
        Self {
            id: wanted.id.to_string(),
            session: wanted.class == Class::Session,
            sandbox: sandbox.map(Path::to_owned),
            user: user.to_owned(),
        }
    }

    fn to_text(&self) -> String {
        // Strings and a flag: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the containerizer calls a container: the text form of its id, as the core's are called, or a digest of it where that is too long to name a directory.
pub(crate) fn runtime_id(id: &CoreId) -> ContainerId {
    let text = id.to_string();
    let name = if text.len() <= MAX_CONTAINER_ID_BYTES {
        text
    } else {
        let digest = Sha256::digest(text.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // No id's text ends with a dot: it cannot be mistaken for one.
        format!("{hex}.")
    };
    ContainerId::new(name).expect("ids and digests are names")
}

/// Those of a former agent that are to be taken up: what they are called, and what is known of them. `known` are the core's.
pub(crate) fn survivors(
    containerizer: &Containerizer,
    known: &[CoreId],
) -> Result<Vec<(ContainerId, Note)>, ContainerizerError> {
    let notes: Vec<(ContainerId, CoreId, Note)> = containerizer
        .notes()?
        .into_iter()
        .filter_map(|(name, text)| {
            let note: Note = serde_json::from_str(&text).ok()?;
            let id: CoreId = note.id.parse().ok()?;
            (!note.session).then_some((name, id, note))
        })
        .collect();
    let alone: Vec<CoreId> = notes
        .iter()
        .filter(|(_, id, _)| id.parent().is_none())
        .map(|(_, id, _)| id.clone())
        .collect();
    let survives = |id: &CoreId| {
        let mut above = tree::ancestors(id).chain([id]);
        above.any(|above| known.contains(above) || alone.contains(above))
    };
    Ok(notes
        .into_iter()
        .filter(|(_, id, _)| survives(id))
        .map(|(name, _, note)| (name, note))
        .collect())
}

impl Nested {
    pub(crate) fn new(
        containerizer: Arc<Containerizer>,
        surroundings: Surroundings,
        layout: Layout,
        agent: Arc<RwLock<String>>,
        view: Arc<RwLock<View>>,
    ) -> Self {
        Self(Arc::new(Inner {
            containerizer,
            surroundings,
            layout,
            agent,
            view,
            room: Mutex::default(),
        }))
    }

    /// Takes up what a former agent has launched, and ends what stands in a container that has ended meanwhile. Before any call.
    pub(crate) fn take_up(&self, found: Vec<(Note, Recovered)>) {
        let mut lost = Vec::new();
        {
            let mut room = self.0.room.lock();
            for (note, recovered) in found {
                let Ok(id) = note.id.parse::<CoreId>() else {
                    continue;
                };
                let stage = match recovered {
                    Recovered::Running { pid, .. } => Stage::Running { pid },
                    Recovered::Exited { exit, .. } => Stage::Ended(Arc::new(ended(&exit))),
                    Recovered::Unknown { .. } => continue,
                };
                let (sandbox, user) = (note.sandbox, note.user);
                room.tree.recovered(&id, stage.clone(), sandbox, user);
                room.enter(&id, stage);
            }
            for (id, _) in room.tree.iter() {
                let orphaned = id
                    .parent()
                    .is_some_and(|parent| match room.tree.get(parent) {
                        Some(node) => matches!(node.stage, Stage::Ended(_)),
                        None => !self.0.containerizer.is_running(&runtime_id(parent)),
                    });
                if orphaned {
                    lost.push(id.clone());
                }
            }
        }
        for id in lost {
            let nested = self.clone();
            tokio::spawn(async move {
                nested.end_below(&id).await;
                nested.forget(&id).await;
            });
        }
    }

    /// Launches a container and waits until it runs. It is launched also if nobody waits any more.
    pub(crate) async fn launch(&self, wanted: Wanted) -> Result<(), Refusal> {
        self.admit(&wanted)?;
        let nested = self.clone();
        let launching = tokio::spawn(async move { nested.carry_out(&wanted).await });
        launching
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    fn admit(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let mut room = self.0.room.lock();
        let runs = |id: &CoreId| self.0.containerizer.is_running(&runtime_id(id));
        if let Some(evicted) = room.tree.admit(&wanted.id, wanted.class, runs)? {
            room.leave(&evicted);
        }
        room.enter(&wanted.id, Stage::Launching);
        Ok(())
    }

    async fn carry_out(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let (id, name) = (&wanted.id, runtime_id(&wanted.id));
        let started = self.start(wanted, &name).await;
        if let Err(problem) = started {
            self.abandon(id).await;
            return Err(Refusal::Failed(problem));
        }
        let stage = self
            .0
            .room
            .lock()
            .stages
            .get(&name)
            .map(watch::Sender::subscribe);
        let Some(mut stage) = stage else {
            return Err(Refusal::Failed(format!("Container {id} was removed")));
        };
        // Fails only if the container is removed meanwhile; then it has ended.
        let reached = stage.wait_for(|stage| *stage != Stage::Launching).await;
        let reached = reached.map(|stage| stage.clone());
        let failure = match reached {
            Ok(Stage::Ended(ended)) if ended.failed => ended.message.clone(),
            _ => return Ok(()),
        };
        self.abandon(id).await;
        Err(Refusal::Failed(failure.unwrap_or_default()))
    }

    async fn start(&self, wanted: &Wanted, name: &ContainerId) -> Result<(), String> {
        let spec = self.0.prepare(wanted, name).await?;
        let killed = {
            let room = self.0.room.lock();
            room.tree.get(&wanted.id).is_none_or(|node| node.killed)
        };
        if killed {
            return Err("the container was killed before it was started".to_owned());
        }
        self.0
            .containerizer
            .launch(spec)
            .await
            .map_err(|error| error.to_string())
    }

    /// A launch that came to nothing leaves nothing.
    async fn abandon(&self, id: &CoreId) {
        if let Some(sandbox) = self.forget(id).await.and_then(|node| node.sandbox) {
            remove_sandbox(sandbox).await;
        }
    }

    /// Waits for a container's end; `None` if there is none of that id.
    pub(crate) async fn wait(&self, id: &CoreId) -> Option<Arc<Ended>> {
        let name = runtime_id(id);
        let mut stage = {
            let mut room = self.0.room.lock();
            match room.stages.get(&name) {
                Some(stage) => stage.subscribe(),
                None if self.0.containerizer.is_running(&name) => room
                    .others
                    .entry(name.clone())
                    .or_insert_with(|| watch::Sender::new(Stage::Launching))
                    .subscribe(),
                None => return None,
            }
        };
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
        let name = runtime_id(id);
        let unknown = || {
            Refusal::Unknown(format!(
                "Container '{id}' cannot be found (or is already killed)"
            ))
        };
        {
            let mut room = self.0.room.lock();
            match room.tree.get_mut(id) {
                Some(node) if node.stage == Stage::Launching => {
                    node.killed |= signal == SIGKILL;
                    // It may not have reached the containerizer yet, which then knows nothing of it.
                    let _ = self.send(&name, signal);
                    return Ok(());
                }
                Some(node) if matches!(node.stage, Stage::Ended(_)) => return Err(unknown()),
                _ => {}
            }
        }
        self.send(&name, signal).map_err(|error| match error {
            ContainerizerError::NotRunning(_) => unknown(),
            other => Refusal::Failed(other.to_string()),
        })
    }

    fn send(&self, name: &ContainerId, signal: i32) -> Result<(), ContainerizerError> {
        let scope = if signal == SIGKILL {
            KillScope::Tree
        } else {
            KillScope::Task
        };
        self.0.containerizer.kill(name, signal, scope)
    }

    /// Removes what is left of a container that has ended: its record and its sandbox, and those inside.
    pub(crate) async fn remove(&self, id: &CoreId) -> Result<(), Refusal> {
        self.0.room.lock().tree.check_removal(id)?;
        self.end_below(id).await;
        if let Some(sandbox) = self.forget(id).await.and_then(|node| node.sandbox) {
            remove_sandbox(sandbox).await;
        }
        Ok(())
    }

    /// Whether there are containers inside of this one.
    pub(crate) fn has_below(&self, name: &ContainerId) -> bool {
        match name.as_str().parse::<CoreId>() {
            Ok(id) => !self.0.room.lock().tree.below(&id).is_empty(),
            Err(_) => false,
        }
    }

    /// Ends and forgets all inside of a container. Their sandboxes stay as long as its own.
    pub(crate) async fn end_below(&self, id: &CoreId) {
        let below = self.0.room.lock().tree.below(id);
        for id in below {
            if let Some(node) = self.0.room.lock().tree.get_mut(&id) {
                node.killed = true;
            }
            self.forget(&id).await;
        }
    }

    /// Ends a container, if it has not, and everything that was made for it but its sandbox.
    async fn forget(&self, id: &CoreId) -> Option<Node> {
        let name = runtime_id(id);
        if let Err(error) = self.0.containerizer.destroy(&name).await {
            tracing::warn!("container {id} cannot be destroyed: {error}");
        }
        let provisioner = self.0.surroundings.provisioner.clone();
        if provisioner.has_roots(name.as_str()) {
            let _ = tokio::task::spawn_blocking(move || provisioner.release(name.as_str())).await;
        }
        self.0.room.lock().leave(id)
    }

    /// What has happened to a container; given back if it is not one of this room's.
    pub(crate) fn happened(&self, event: ContainerEvent) -> Option<ContainerEvent> {
        let mut room = self.0.room.lock();
        let name = match &event {
            ContainerEvent::Started { container, .. }
            | ContainerEvent::Exited { container, .. } => container.clone(),
        };
        let Some(id) = room.names.get(&name).cloned() else {
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
                let node = room.tree.get(&id);
                let session = node.is_some_and(|node| node.class == Class::Session);
                let (nested, id, name) = (self.clone(), id.clone(), name.clone());
                tokio::spawn(async move {
                    nested.end_below(&id).await;
                    if session {
                        // Its end is remembered, and nothing else.
                        let _ = nested.0.containerizer.destroy(&name).await;
                    }
                });
            }
        }
        room.tell(&name, &id);
        None
    }

    /// Those that run: id, what the containerizer calls it, and the pid of its first process.
    pub(crate) fn running(&self) -> Vec<(CoreId, ContainerId, u32)> {
        let room = self.0.room.lock();
        room.tree
            .iter()
            .filter_map(|(id, node)| match node.stage {
                Stage::Running { pid } => Some((id.clone(), runtime_id(id), pid)),
                _ => None,
            })
            .collect()
    }

    /// What the metrics show: containers known, and launched since the start.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let room = self.0.room.lock();
        (room.tree.len(), room.tree.launched())
    }
}

async fn remove_sandbox(sandbox: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || {
        let removed = std::fs::remove_dir_all(&sandbox);
        removed.map_err(|error| format!("{}: {error}", sandbox.display()))
    });
    if let Ok(Err(problem)) = removed.await {
        tracing::debug!("a sandbox was not removed: {problem}");
    }
}

/// What a container's end means to whoever waits for it.
fn ended(exit: &Exit) -> Ended {
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
            Some(tepui_agent_core::Limitation::Memory { message, resources }) => Ended {
                exit_status,
                state: Some(TaskState::TaskFailed),
                reason: Some(Reason::ContainerLimitationMemory),
                limitation: resources,
                message: Some(message),
                failed: false,
            },
            Some(tepui_agent_core::Limitation::Disk { message, resources }) => Ended {
                exit_status,
                state: Some(TaskState::TaskFailed),
                reason: Some(Reason::ContainerLimitationDisk),
                limitation: resources,
                message: Some(message),
                failed: false,
            },
            None => Ended {
                exit_status,
                ..Ended::default()
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_have_short_names() {
        let short: CoreId = "a.b".parse().unwrap();
        assert_eq!(runtime_id(&short).as_str(), "a.b");
        let mut long: CoreId = "e".parse().unwrap();
        for _ in 0..8 {
            long = long.nested("x".repeat(60)).unwrap();
        }
        let name = runtime_id(&long);
        assert!(name.as_str().len() <= MAX_CONTAINER_ID_BYTES);
        assert_eq!(name, runtime_id(&long));
        assert_ne!(name, runtime_id(&long.nested("y").unwrap()));
        assert!(
            name.as_str().parse::<CoreId>().is_err(),
            "it is nobody's id"
        );
    }
}
