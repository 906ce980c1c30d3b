//! Containers that operators launch: inside of tasks' and executors' containers, inside of each other, or alone.
//!
//! The core does not know of them: they are no tasks, take no resources of offers, and end with what they stand in. [`tree`] says which there
//! are and who may stand where; [`launching`] starts them, with what [`prepare`] makes for each; [`ending`] kills, waits for and removes them.
//! Each carries a note beside its record in the runtime directory, from which the next agent takes it up; sessions end with the agent's
//! process. Who is attached to one ([`attaching`]) gets what it writes and reads from [`streams`] and [`follow`].
//!
//! Bounds: [`tree::MAX_CONTAINERS`] containers, ended ones that were not removed included.

mod attaching;
mod ending;
mod follow;
mod launching;
pub(crate) mod prepare;
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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use attaching::{Output, Typing};

use crate::containerizer::{
    ContainerId, Containerizer, ContainerizerError, MAX_CONTAINER_ID_BYTES, Recovered,
};
use crate::sandbox::Layout;
use crate::spec::Surroundings;
use ending::ended;
use prepare::Wanted;
use streams::Board;
use tree::{Class, Stage, Tree};

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

/// The tree, and those who work at it or wait for it to change.
#[derive(Default)]
struct Room {
    tree: Tree,
    /// By the name that the containerizer knows: one for each of the tree.
    live: HashMap<ContainerId, Live>,
    /// Containers of the core that somebody waits for; at most as many as run.
    others: HashMap<ContainerId, watch::Sender<Stage>>,
    /// Containers that somebody types into, by name and number; the core's have number 0.
    typing: HashSet<(ContainerId, u64)>,
}

/// What there is to a container of the tree besides where it stands.
struct Live {
    id: CoreId,
    number: u64,
    stage: watch::Sender<Stage>,
    /// Streams of a session that runs.
    board: Option<Arc<Board>>,
    /// Held by whoever makes it, or takes it away.
    work: Arc<tokio::sync::Mutex<()>>,
    /// It is not to be started any more.
    unwanted: CancellationToken,
    /// The containerizer will tell its end, or has told it.
    handed_over: bool,
}

impl Room {
    fn enter(&mut self, id: &CoreId, number: u64, stage: Stage) -> &mut Live {
        let live = Live {
            id: id.clone(),
            number,
            stage: watch::Sender::new(stage),
            board: None,
            work: Arc::default(),
            unwanted: CancellationToken::new(),
            handed_over: false,
        };
        self.live
            .entry(runtime_id(id))
            .insert_entry(live)
            .into_mut()
    }

    /// That of this number, if it is still there.
    fn live(&mut self, id: &CoreId, number: u64) -> Option<&mut Live> {
        let live = self.live.get_mut(&runtime_id(id));
        live.filter(|live| live.number == number)
    }

    fn tell(&self, name: &ContainerId, id: &CoreId) {
        if let (Some(live), Some(node)) = (self.live.get(name), self.tree.get(id)) {
            live.stage.send_replace(node.stage.clone());
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
                let number = room.tree.recovered(&id, stage.clone(), sandbox, user);
                room.enter(&id, number, stage).handed_over = true;
            }
            for (id, node) in room.tree.iter() {
                let orphaned = id
                    .parent()
                    .is_some_and(|parent| match room.tree.get(parent) {
                        Some(parent) => matches!(parent.stage, Stage::Ended(_)),
                        None => !self.0.containerizer.is_running(&runtime_id(parent)),
                    });
                if orphaned {
                    let mut whole = room.tree.below(id);
                    whole.push((id.clone(), node.number));
                    lost.push(whole);
                }
            }
        }
        for whole in lost {
            let nested = self.clone();
            tokio::spawn(async move { nested.end(whole).await });
        }
    }

    /// Where a container stands, and will; `None` if there is none of that name.
    fn stage(&self, name: &ContainerId) -> Option<watch::Receiver<Stage>> {
        let mut room = self.0.room.lock();
        match room.live.get(name) {
            Some(live) => Some(live.stage.subscribe()),
            // Looked at under the lock under which its end would be told.
            None if self.0.containerizer.is_running(name) => {
                let stage = room.others.entry(name.clone());
                let stage = stage.or_insert_with(|| watch::Sender::new(Stage::Launching));
                Some(stage.subscribe())
            }
            None => None,
        }
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
