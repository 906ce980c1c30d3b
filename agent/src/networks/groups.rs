//! Networks that the tasks of a group share: they are the executor's, whose tasks are all in its one namespace. The first task to come has them
//! made, the last to go has them taken down: the executor itself has no process on the agent that plays it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Attached, Networks, Wanted};

/// By their executors' containers: as many as there are executors with tasks on networks.
pub(super) type Groups = Mutex<HashMap<String, Group>>;

/// A group that is on its networks, or about to be, or about to leave.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: HashSet<String>,
    /// Held while the networks are made or taken down.
    turn: Arc<Mutex<()>>,
}

/// The executor's container, of a task's in a group.
fn group_of(member: &str) -> Option<&str> {
    member.split_once('.').map(|(group, _)| group)
}

/// The living members of groups.
pub(super) fn alive(containers: &HashSet<String>) -> HashMap<String, Group> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    for member in containers {
        if let Some(group) = group_of(member) {
            let group = groups.entry(group.to_owned()).or_default();
            group.members.insert(member.clone());
        }
    }
    groups
}

impl Networks {
    /// Puts a container that is to be launched on the networks of its group. After an error it is on none.
    pub(crate) fn join(
        &self,
        group: &str,
        member: &str,
        wanted: &[Wanted],
        hostname: Option<&str>,
    ) -> Result<Attached, String> {
        let turn = {
            let mut groups = self.0.groups.lock();
            let group = groups.entry(group.to_owned()).or_default();
            group.members.insert(member.to_owned());
            Arc::clone(&group.turn)
        };
        let joined = {
            let _turn = turn.lock();
            match self.attached(group) {
                Some(attached) => Ok(attached),
                None => self.attach(group, wanted, hostname),
            }
        };
        if joined.is_err() {
            self.leave(member);
        }
        joined
    }

    /// Whether the container is on the networks of its group.
    pub(super) fn is_member(&self, container: &str) -> bool {
        let groups = self.0.groups.lock();
        let group = group_of(container).and_then(|group| groups.get(group));
        group.is_some_and(|group| group.members.contains(container))
    }

    /// The container is gone from the networks of its group, if it was there; with the last one they go.
    pub(super) fn leave(&self, member: &str) {
        let Some(group) = group_of(member) else {
            return;
        };
        let turn = {
            let groups = self.0.groups.lock();
            let Some(group) = groups.get(group) else {
                return;
            };
            if !group.members.contains(member) {
                return;
            }
            Arc::clone(&group.turn)
        };
        let _turn = turn.lock();
        // It is a member until all is done: who hears of its end a second time waits as well.
        let last = {
            let groups = self.0.groups.lock();
            // One that another has removed meanwhile is down; what has the name since then is another group.
            let Some(group) = groups
                .get(group)
                .filter(|group| Arc::ptr_eq(&group.turn, &turn))
            else {
                return;
            };
            group.members.iter().all(|other| other == member)
        };
        if last && self.0.records.lock().contains_key(group) {
            self.take_down(group);
        }
        let mut groups = self.0.groups.lock();
        let Some(left) = groups.get_mut(group) else {
            return;
        };
        left.members.remove(member);
        // Whoever came meanwhile waits for the turn.
        if left.members.is_empty() {
            groups.remove(group);
        }
    }

    /// The executor is gone, and all its tasks with it: the networks that it had for them go.
    pub(super) fn disband(&self, group: &str) {
        let turn = {
            let groups = self.0.groups.lock();
            groups.get(group).map(|group| Arc::clone(&group.turn))
        };
        let Some(turn) = turn else {
            return;
        };
        // Whoever is at it has a turn first; whoever comes now waits until they are gone.
        let _turn = turn.lock();
        if self.0.records.lock().contains_key(group) {
            self.take_down(group);
        }
        let mut groups = self.0.groups.lock();
        if groups
            .get(group)
            .is_some_and(|group| Arc::ptr_eq(&group.turn, &turn))
        {
            groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_by_their_living_members() {
        let names = ["e.a", "e.b", "f.c", "alone"].map(str::to_owned);
        let groups = alive(&names.into_iter().collect());
        assert_eq!(groups.len(), 2);
        assert_eq!(
            (groups["e"].members.len(), groups["f"].members.len()),
            (2, 1)
        );
    }

    #[test]
    fn a_group_that_all_have_left_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let config = crate::networks::NetworksConfig::default();
        let networks = Networks::start(&config, folder.path(), folder.path(), &HashSet::new());
        let names = ["e.a", "e.b"].map(str::to_owned);
        *networks.0.groups.lock() = alive(&names.into_iter().collect());
        networks.leave("e.a");
        assert!(networks.is_member("e.b"));
        networks.leave("e.b");
        assert!(networks.0.groups.lock().is_empty());
        networks.leave("e.b");
        // One that comes while the last goes finds the group as it was, or another.
        std::thread::scope(|scope| {
            for member in ["e.a", "e.b", "e.c"] {
                let networks = &networks;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let mut groups = networks.0.groups.lock();
                        let group = groups.entry("e".to_owned()).or_default();
                        group.members.insert(member.to_owned());
                        drop(groups);
                        assert!(networks.is_member(member));
                        networks.leave(member);
                    }
                });
            }
        });
        assert!(networks.0.groups.lock().is_empty());
    }
}
