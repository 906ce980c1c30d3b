//! Which containers operators have launched, inside of which, and where each of them stands. Pure.
//!
//! A container stands inside one that runs: one of the tree, or one of the core's, of which the caller says whether it runs. None stands
//! inside a session. What has ended stays, to be waited for, until it is removed or the container that it stood in ends; sessions that have
//! ended, whose ends hardly anybody asks for twice, make room when the tree is full.
//!
//! An id may be given again once its container is removed. So whoever works at a container over a time goes by its number too, which is never
//! given again: what comes late is about nobody then, not about the next of that id.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tepui_model::ContainerId;
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{Resource, TaskState};

/// Containers in the tree at a time.
pub(crate) const MAX_CONTAINERS: usize = 4096;
/// As Mesos has it.
pub(crate) const MAX_LEVELS: usize = 32;

/// What kind of container it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It lives until it ends, is killed, or what it stands in ends.
    Plain,
    /// It shares all namespaces of its parent, and lives as long as a connection.
    Session,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ended {
    /// As of wait(2).
    pub(crate) exit_status: Option<i32>,
    pub(crate) state: Option<TaskState>,
    pub(crate) reason: Option<Reason>,
    /// The limit that was passed.
    pub(crate) limitation: Vec<Resource>,
    pub(crate) message: Option<String>,
    /// It never ran.
    pub(crate) failed: bool,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// It is being made.
    Launching,
    Running {
        /// Of its first process, in the agent's pid namespace.
        pid: u32,
    },
    Ended(Arc<Ended>),
}

/// A container that an operator has launched.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) class: Class,
    pub(crate) stage: Stage,
    /// What it is to be sent once it can be.
    pub(crate) signal: Option<i32>,
    /// On the host; sessions have none.
    pub(crate) sandbox: Option<PathBuf>,
    /// Whom those inside run as, unless they say otherwise; empty is the agent's own.
    pub(crate) user: String,
    /// Its sandbox is to go with it.
    pub(crate) unwanted: bool,
    /// It has ended, and nobody works at it any more.
    pub(crate) settled: bool,
    /// Counts up: no other container has it, also none of the same id.
    pub(crate) number: u64,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is one of that id already.
    Exists,
    /// It cannot be: for the operator to read.
    Failed(String),
    /// There is no such container.
    Unknown(String),
    /// Not in the state that it is in.
    Busy(String),
    /// Somebody else is at it.
    Conflict(String),
    /// No room.
    Full,
}

/// A container that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) number: u64,
    /// What had to make room.
    pub(crate) evicted: Option<ContainerId>,
}

/// The containers that operators have launched.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<ContainerId, Node>,
    launched: u64,
    numbers: u64,
}

impl Tree {
    pub(crate) fn get(&self, id: &ContainerId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    /// The one of that number, if it is still there.
    pub(crate) fn numbered(&mut self, id: &ContainerId, number: u64) -> Option<&mut Node> {
        self.nodes.get_mut(id).filter(|node| node.number == number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ContainerId, &Node)> {
        self.nodes.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many were launched since the start.
    pub(crate) fn launched(&self) -> u64 {
        self.launched
    }

    /// Takes a new container in, as launching. `runs` says whether a container that is not in the tree runs.
    pub(crate) fn admit(
        &mut self,
        id: &ContainerId,
        class: Class,
        runs: impl Fn(&ContainerId) -> bool,
    ) -> Result<Admitted, Refusal> {
        if self.nodes.contains_key(id) || runs(id) {
            return Err(Refusal::Exists);
        }
        if let Some(parent) = id.parent() {
            match self.nodes.get(parent).map(|node| (node.class, &node.stage)) {
                Some((Class::Session, _)) => {
                    return Err(Refusal::Failed(format!(
                        "Container {parent} is a session, in which no container can be launched"
                    )));
                }
                Some((_, Stage::Running { .. })) => {}
                None if runs(parent) => {}
                Some(_) | None => {
                    return Err(Refusal::Failed(format!(
                        "Parent container {parent} does not exist, or does not run"
                    )));
                }
            }
        }
        let evicted = if self.nodes.len() < MAX_CONTAINERS {
            None
        } else {
            Some(self.evict().ok_or(Refusal::Full)?)
        };
        self.launched += 1;
        let number = self.put(id, class, Stage::Launching);
        Ok(Admitted { number, evicted })
    }

    /// Takes in what a former agent has launched. Returns its number.
    pub(crate) fn recovered(
        &mut self,
        id: &ContainerId,
        stage: Stage,
        sandbox: Option<PathBuf>,
        user: String,
    ) -> u64 {
        let number = self.put(id, Class::Plain, stage);
        if let Some(node) = self.nodes.get_mut(id) {
            (node.sandbox, node.user) = (sandbox, user);
        }
        number
    }

    fn put(&mut self, id: &ContainerId, class: Class, stage: Stage) -> u64 {
        self.numbers += 1;
        let node = Node {
            class,
            stage,
            signal: None,
            sandbox: None,
            user: String::new(),
            unwanted: false,
            settled: false,
            number: self.numbers,
        };
        self.nodes.insert(id.clone(), node);
        self.numbers
    }

    /// The oldest session that has ended goes.
    fn evict(&mut self) -> Option<ContainerId> {
        let oldest = self
            .nodes
            .iter()
            .filter(|(_, node)| node.class == Class::Session && node.settled)
            .min_by_key(|(_, node)| node.number)
            .map(|(id, _)| id.clone())?;
        self.nodes.remove(&oldest);
        Some(oldest)
    }

    /// It runs.
    pub(crate) fn started(&mut self, id: &ContainerId, pid: u32) {
        if let Some(node) = self.nodes.get_mut(id)
            && node.stage == Stage::Launching
        {
            node.stage = Stage::Running { pid };
        }
    }

    /// It has ended, which it does once.
    pub(crate) fn ended(&mut self, id: &ContainerId, ended: Arc<Ended>) {
        if let Some(node) = self.nodes.get_mut(id)
            && !matches!(node.stage, Stage::Ended(_))
        {
            node.stage = Stage::Ended(ended);
        }
    }

    /// The number of one that may be removed: it has ended.
    pub(crate) fn check_removal(&self, id: &ContainerId) -> Result<u64, Refusal> {
        match self.nodes.get(id) {
            Some(node) if matches!(node.stage, Stage::Ended(_)) => Ok(node.number),
            Some(_) => Err(Refusal::Busy(format!(
                "Container {id} cannot be removed: it has not ended"
            ))),
            None => Err(Refusal::Busy(format!(
                "Container {id} cannot be removed: it cannot be found"
            ))),
        }
    }

    /// It is no longer known. Returns whether it was.
    pub(crate) fn remove(&mut self, id: &ContainerId, number: u64) -> bool {
        let known = self.numbered(id, number).is_some();
        if known {
            self.nodes.remove(id);
        }
        known
    }

    /// All inside of this container with their numbers, those inside of others first.
    pub(crate) fn below(&self, id: &ContainerId) -> Vec<(ContainerId, u64)> {
        let mut found: Vec<_> = self
            .nodes
            .iter()
            .filter(|(other, _)| ancestors(other).any(|above| above == id))
            .map(|(id, node)| (id.clone(), node.number))
            .collect();
        found.sort_by_key(|(id, _)| std::cmp::Reverse(levels(id)));
        found
    }
}

/// The containers that this one stands in, the nearest first.
pub(crate) fn ancestors(id: &ContainerId) -> impl Iterator<Item = &ContainerId> {
    std::iter::successors(id.parent(), |id| id.parent())
}

/// How many containers the chain has.
pub(crate) fn levels(id: &ContainerId) -> usize {
    1 + ancestors(id).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        text.parse().unwrap()
    }

    fn runs(id: &ContainerId) -> bool {
        matches!(id.to_string().as_str(), "e" | "g.t")
    }

    #[test]
    fn containers_stand_in_containers_that_run() {
        let mut tree = Tree::default();
        let cases: [(_, _, Result<(), _>); 8] = [
            ("e.a", Class::Plain, Ok(())),
            ("e.a", Class::Plain, Err("exists")),
            ("e", Class::Plain, Err("exists")),
            ("e.a.b", Class::Plain, Err("does not run")),
            ("x.a", Class::Plain, Err("does not exist")),
            ("g.a", Class::Plain, Err("does not exist")),
            ("g.t.a", Class::Session, Ok(())),
            ("alone", Class::Plain, Ok(())),
        ];
        for (container, class, expected) in cases {
            let found = tree.admit(&id(container), class, runs);
            match (&found, expected) {
                (Ok(Admitted { evicted: None, .. }), Ok(()))
                | (Err(Refusal::Exists), Err("exists")) => {}
                (Err(Refusal::Failed(told)), Err(expected)) if told.contains(expected) => {}
                _ => panic!("{container}: {found:?}"),
            }
        }
        tree.started(&id("e.a"), 7);
        tree.started(&id("g.t.a"), 8);
        tree.admit(&id("e.a.b"), Class::Plain, runs).unwrap();
        let inside = tree.admit(&id("g.t.a.b"), Class::Plain, runs);
        assert!(matches!(inside, Err(Refusal::Failed(told)) if told.contains("session")));
        assert_eq!(tree.launched(), 4);
    }

    #[test]
    fn an_end_is_an_end_and_then_it_may_be_removed() {
        let mut tree = Tree::default();
        let a = id("e.a");
        let old = tree.admit(&a, Class::Plain, runs).unwrap().number;
        assert!(matches!(tree.check_removal(&a), Err(Refusal::Busy(_))));
        let first = Arc::new(Ended {
            exit_status: Some(256),
            ..Ended::default()
        });
        tree.ended(&a, Arc::clone(&first));
        tree.started(&a, 1);
        tree.ended(&a, Arc::new(Ended::default()));
        assert_eq!(tree.get(&a).unwrap().stage, Stage::Ended(first));
        assert_eq!(tree.check_removal(&a), Ok(old));
        assert!(tree.remove(&a, old));
        assert!(matches!(tree.check_removal(&a), Err(Refusal::Busy(_))));

        // The next of that id is another.
        let new = tree.admit(&a, Class::Plain, runs).unwrap().number;
        assert_ne!(new, old);
        assert!(!tree.remove(&a, old));
        assert!(tree.numbered(&a, old).is_none() && tree.numbered(&a, new).is_some());
    }

    #[test]
    fn who_stands_inside_goes_first() {
        let mut tree = Tree::default();
        for container in ["e.a", "e.a.b", "e.a.b.c", "e.d", "alone"] {
            tree.admit(&id(container), Class::Plain, runs).unwrap();
            tree.started(&id(container), 1);
        }
        let below = |container| {
            let found = tree.below(&id(container));
            found
                .iter()
                .map(|(id, _)| id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(below("e"), ["e.a.b.c", "e.a.b", "e.a", "e.d"]);
        assert_eq!(below("e.a"), ["e.a.b.c", "e.a.b"]);
        assert_eq!(below("alone"), Vec::<String>::new());
    }

    #[test]
    fn ended_sessions_make_room_and_nobody_else() {
        let mut tree = Tree::default();
        for number in 0..MAX_CONTAINERS {
            let class = if number < 2 {
                Class::Session
            } else {
                Class::Plain
            };
            tree.admit(&id(&format!("e.c{number}")), class, runs)
                .unwrap();
        }
        let next = id("e.next");
        assert_eq!(tree.admit(&next, Class::Plain, runs), Err(Refusal::Full));
        tree.ended(&id("e.c2"), Arc::default());
        assert_eq!(tree.admit(&next, Class::Plain, runs), Err(Refusal::Full));
        tree.ended(&id("e.c1"), Arc::default());
        let refused = tree.admit(&next, Class::Plain, runs);
        assert_eq!(refused, Err(Refusal::Full), "somebody is still at it");
        tree.get_mut(&id("e.c1")).unwrap().settled = true;
        let admitted = tree.admit(&next, Class::Plain, runs).unwrap();
        assert_eq!(admitted.evicted, Some(id("e.c1")));
        assert_eq!(tree.len(), MAX_CONTAINERS);
    }
}
