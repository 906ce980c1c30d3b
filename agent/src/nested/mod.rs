//! Containers that operators launch: inside of tasks' and executors' containers, inside of each other, or alone.
//!
//! The core does not know of them: they are no tasks, take no resources of offers, and end with what they stand in. [`tree`] says which there
//! are and who may stand where; [`launch`] makes what each needs. Each carries a note beside its record in the runtime directory, from which
//! the next agent takes it up; sessions end with the agent's process. What they write and read is carried by [`streams`] and [`follow`].
//!
//! Bounds: [`tree::MAX_CONTAINERS`] containers, ended ones that were not removed included.

mod follow;
pub(crate) mod launch;
pub(crate) mod streams;
pub(crate) mod tree;

use std::collections::{HashMap, HashSet};
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

use crate::containerizer::beneath::{open_without_links, through};
use crate::containerizer::{
    ContainerEvent, ContainerId, Containerizer, ContainerizerError, Exit, ExitReason, Held, Hold,
    KillScope, MAX_CONTAINER_ID_BYTES, Recovered, Window,
};
use crate::hands::core_exit;
use crate::sandbox::Layout;
use crate::spec::Surroundings;
use follow::Followed;
use launch::Wanted;
use streams::{Board, Kind, Piece, Pieces};
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
    /// Streams of the sessions that run.
    boards: HashMap<ContainerId, Arc<Board>>,
    /// Containers that somebody types into.
    typing: HashSet<ContainerId>,
}

/// What a container writes.
pub(crate) struct Output {
    pieces: Pieces,
    stage: watch::Receiver<Stage>,
    /// Of a session's own connection.
    _session: Option<Session>,
}

impl Output {
    /// The next piece; `None` when the container has ended.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        if let Some(piece) = self.pieces.recv().await {
            return Some(piece);
        }
        // An error: it was removed, and so has ended.
        let _ = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
        None
    }
}

/// The connection by which a session lives: it ends with this.
struct Session {
    nested: Nested,
    id: CoreId,
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that has ended by itself cannot be found.
        let _ = self.nested.kill(&self.id, SIGKILL);
    }
}

/// A hold on what a container reads, which nobody else has at the same time.
pub(crate) struct Typing {
    nested: Nested,
    name: ContainerId,
    sink: Sink,
    stage: watch::Receiver<Stage>,
}

enum Sink {
    Board(Arc<Board>),
    /// A terminal that the supervisor keeps.
    Kept(tokio::net::unix::pipe::Sender),
}

impl Typing {
    /// Writes all of it, as fast as it is read. `false` if the container has ended.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<bool> {
        use tokio::io::AsyncWriteExt;
        let written = async {
            match &mut self.sink {
                Sink::Board(board) => board.write(bytes).await,
                Sink::Kept(pipe) => pipe.write_all(bytes).await,
            }
        };
        tokio::select! {
            written = written => written.map(|()| true),
            _ = self.stage.wait_for(|stage| matches!(stage, Stage::Ended(_))) => Ok(false),
        }
    }

    /// The end of input; a terminal has none.
    pub(crate) async fn close(&self) {
        if let Sink::Board(board) = &self.sink {
            board.close().await;
        }
    }

    /// Sets the size of the terminal.
    pub(crate) async fn resize(&self, window: Window) -> Result<(), String> {
        let resized = match &self.sink {
            Sink::Board(board) => board
                .resize(window)
                .await
                .map_err(|error| error.to_string()),
            Sink::Kept(_) => {
                let containerizer = &self.nested.0.containerizer;
                let resized = containerizer.resize(&self.name, window);
                resized.map_err(|error| error.to_string())
            }
        };
        resized.map_err(|error| format!("Unable to set the window size: {error}"))
    }

    /// Waits for the container's end.
    pub(crate) async fn ended(&mut self) {
        // An error: it was removed, and so has ended.
        let _ = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.nested.0.room.lock().typing.remove(&self.name);
    }
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
        self.boards.remove(&name);
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
        let launching = tokio::spawn(async move { nested.carry_out(&wanted).await.map(drop) });
        launching
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    /// Launches a session, which ends when what it writes is dropped, and so at once if nobody waits any more.
    pub(crate) async fn open_session(&self, wanted: Wanted) -> Result<Output, Refusal> {
        self.admit(&wanted)?;
        let nested = self.clone();
        let launching = tokio::spawn(async move {
            let session = Session {
                nested: nested.clone(),
                id: wanted.id.clone(),
            };
            let (held, stage) = nested.carry_out(&wanted).await?;
            let failed = |error: std::io::Error| Refusal::Failed(error.to_string());
            let held = held.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
            let (board, pieces) = Board::start(held).map_err(failed)?;
            let mut room = nested.0.room.lock();
            if !matches!(*stage.borrow(), Stage::Ended(_)) {
                room.boards.insert(runtime_id(&wanted.id), board);
            }
            Ok(Output {
                pieces,
                stage,
                _session: Some(session),
            })
        });
        launching
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    /// What a container writes from now on.
    pub(crate) fn output(&self, id: &CoreId) -> Result<Output, Refusal> {
        let name = runtime_id(id);
        let unknown = || Refusal::Unknown(format!("Container {id} cannot be found"));
        let stage = self.stage(&name).ok_or_else(unknown)?;
        let (board, sandbox) = {
            let room = self.0.room.lock();
            match room.tree.get(id) {
                Some(node) if matches!(node.stage, Stage::Ended(_)) => return Err(unknown()),
                Some(node) => (room.boards.get(&name).cloned(), node.sandbox.clone()),
                None => (None, None),
            }
        };
        let output = |pieces| Output {
            pieces,
            stage: stage.clone(),
            _session: None,
        };
        if let Some(board) = board {
            let pieces = board.attach().ok_or_else(|| {
                Refusal::Conflict(format!("Too many are attached to container {id}"))
            })?;
            return Ok(output(pieces));
        }
        let sandbox = match sandbox {
            Some(sandbox) => sandbox,
            None => self.0.sandbox_of(id).ok_or_else(unknown)?,
        };
        let (to, pieces) = streams::queue();
        for (name, kind) in [("stdout", Kind::Out), ("stderr", Kind::Err)] {
            let followed = Followed {
                sandbox: sandbox.clone(),
                name,
                kind,
            };
            let (to, stage, id) = (to.clone(), stage.clone(), id.clone());
            tokio::spawn(async move {
                if let Err(error) = followed.run(to, stage).await {
                    tracing::warn!("the {name} of container {id} cannot be read: {error}");
                }
            });
        }
        Ok(output(pieces))
    }

    /// A hold on what a container reads.
    pub(crate) fn input(&self, id: &CoreId) -> Result<Typing, Refusal> {
        let name = runtime_id(id);
        let unknown = || Refusal::Unknown(format!("Container {id} cannot be found"));
        let stage = self.stage(&name).ok_or_else(unknown)?;
        if matches!(*stage.borrow(), Stage::Ended(_)) {
            return Err(unknown());
        }
        let board = self.0.room.lock().boards.get(&name).cloned();
        let sink = match board {
            Some(board) => Sink::Board(board),
            None => match self.0.containerizer.typing(&name) {
                Ok(Some(pipe)) => Sink::Kept(pipe),
                Ok(None) => {
                    return Err(Refusal::Busy(format!(
                        "Container {id} has no input to attach to: it is no session and has no terminal"
                    )));
                }
                Err(ContainerizerError::NotRunning(_)) => return Err(unknown()),
                Err(error) => return Err(Refusal::Busy(error.to_string())),
            },
        };
        if !self.0.room.lock().typing.insert(name.clone()) {
            return Err(Refusal::Conflict(
                "Multiple input connections are not allowed".to_owned(),
            ));
        }
        Ok(Typing {
            nested: self.clone(),
            name,
            sink,
            stage,
        })
    }

    /// Where a container stands, and will; `None` if there is none of that name.
    fn stage(&self, name: &ContainerId) -> Option<watch::Receiver<Stage>> {
        let mut room = self.0.room.lock();
        match room.stages.get(name) {
            Some(stage) => Some(stage.subscribe()),
            // Looked at under the lock under which its end would be told.
            None if self.0.containerizer.is_running(name) => {
                let stage = room.others.entry(name.clone());
                let stage = stage.or_insert_with(|| watch::Sender::new(Stage::Launching));
                Some(stage.subscribe())
            }
            None => None,
        }
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

    async fn carry_out(
        &self,
        wanted: &Wanted,
    ) -> Result<(Option<Held>, watch::Receiver<Stage>), Refusal> {
        let (id, name) = (&wanted.id, runtime_id(&wanted.id));
        let held = match self.start(wanted, &name).await {
            Ok(held) => held,
            Err(problem) => {
                self.abandon(id).await;
                return Err(Refusal::Failed(problem));
            }
        };
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
            _ => return Ok((held, stage)),
        };
        self.abandon(id).await;
        Err(Refusal::Failed(failure.unwrap_or_default()))
    }

    async fn start(&self, wanted: &Wanted, name: &ContainerId) -> Result<Option<Held>, String> {
        let spec = self.0.prepare(wanted, name).await?;
        let killed = {
            let room = self.0.room.lock();
            room.tree.get(&wanted.id).is_none_or(|node| node.killed)
        };
        if killed {
            return Err("the container was killed before it was started".to_owned());
        }
        let containerizer = &self.0.containerizer;
        let launched = match wanted.class {
            Class::Plain => containerizer.launch(spec).await.map(|()| None),
            Class::Session => {
                let hold = spec.terminal.map_or(Hold::Pipes, Hold::Terminal);
                containerizer.launch_held(spec, hold).await.map(Some)
            }
        };
        let launched = launched.map_err(|error| error.to_string())?;
        // What came while the containerizer did not know it yet.
        let signal = {
            let room = self.0.room.lock();
            room.tree.get(&wanted.id).and_then(|node| node.signal)
        };
        if let Some(signal) = signal {
            // It may have ended by itself.
            let _ = self.send(name, signal);
        }
        Ok(launched)
    }

    /// A launch that came to nothing leaves nothing.
    async fn abandon(&self, id: &CoreId) {
        if let Some(sandbox) = self.forget(id).await.and_then(|node| node.sandbox) {
            remove_sandbox(sandbox).await;
        }
    }

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
                    // It may not have reached the containerizer yet, which then knows nothing of it: it gets the signal when it has.
                    if self.send(&name, signal).is_err() && node.signal != Some(SIGKILL) {
                        node.signal = Some(signal);
                    }
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
                room.boards.remove(&name);
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
