//! The versions of the root group: for each change what was there before it, so that any of the last states can be made again.
//!
//! State is stored per object, so there is no copy of a whole root group: a state of the past is the present one with the changes since
//! undone, the last one first.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{Changes, GroupChanges, RootGroup};
use crate::{definition::App, group::Group, path::PathId, timestamp::Timestamp};

/// What a change replaced: apps and groups as they were before it; none: they were not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) apps: Changes,
    pub(crate) groups: GroupChanges,
    /// It was a change of the autoscaler.
    pub(crate) autoscaled: bool,
}

/// The last changes of the root group by the version that each made, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The version before the oldest change that is kept.
    base: Timestamp,
    changes: VecDeque<(Timestamp, Before)>,
    /// How often a definition is held by them.
    held: HashMap<(PathId, Timestamp), usize>,
}

/// So many apps may be in one entry of the autoscaler's.
const MAX_AUTOSCALED: usize = 200;

impl History {
    /// A history that begins with this version.
    pub(crate) fn starting(base: Timestamp) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Notes a change; gives the change that is forgotten for it, if there are more than `max` versions.
    pub(crate) fn add(
        &mut self,
        version: Timestamp,
        before: Before,
        max: usize,
    ) -> Vec<(Timestamp, Before)> {
        for app in before.apps.values().flatten() {
            *self.held.entry((app.id.clone(), app.version)).or_default() += 1;
        }
        self.changes.push_back((version, before));
        let mut forgotten = Vec::new();
        // The base is a version too.
        while self.changes.len() >= max.max(2) {
            let Some((version, before)) = self.changes.pop_front() else {
                break;
            };
            self.base = version;
            self.let_go(&before);
            forgotten.push((version, before));
        }
        forgotten
    }

    /// Takes the last change out again if it was the autoscaler's, so that another one of it takes its place: however often it scales, it
    /// drives out nothing that somebody did.
    pub(crate) fn take_autoscaled(&mut self) -> Option<(Timestamp, Before)> {
        let (_, last) = self.changes.back()?;
        if !last.autoscaled || last.apps.len() >= MAX_AUTOSCALED {
            return None;
        }
        let (version, before) = self.changes.pop_back()?;
        self.let_go(&before);
        Some((version, before))
    }

    fn let_go(&mut self, before: &Before) {
        for app in before.apps.values().flatten() {
            let key = (app.id.clone(), app.version);
            if let Some(count) = self.held.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.held.remove(&key);
                }
            }
        }
    }

    /// Whether some state of the past needs this definition.
    pub(crate) fn holds(&self, id: &PathId, version: Timestamp) -> bool {
        self.held.contains_key(&(id.clone(), version))
    }

    /// The apps and groups at or below `group` as they were at `version`; none if that is no known version, or the group was not there.
    pub(crate) fn at(&self, root: &RootGroup, group: &PathId, version: Timestamp) -> Option<Past> {
        let known = version == self.base || self.changes.iter().any(|(one, _)| *one == version);
        if !known {
            return None;
        }
        let mut past = Past::now(root, group);
        for (_, before) in self
            .changes
            .iter()
            .rev()
            .take_while(|(one, _)| *one > version)
        {
            past.undo(before, group);
        }
        past.groups.contains_key(group).then_some(past)
    }

    /// Versions of the root group in which the group was there, newest first.
    pub(crate) fn versions(&self, root: &RootGroup, group: &PathId) -> Vec<Timestamp> {
        let mut versions = Vec::new();
        let mut there = root.group(group).is_some();
        for (version, before) in self.changes.iter().rev() {
            if there {
                versions.push(*version);
            }
            if let Some(group) = before.groups.get(group) {
                there = group.is_some();
            }
        }
        if there {
            versions.push(self.base);
        }
        versions
    }
}

/// A part of the root group at some time.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) apps: BTreeMap<PathId, Arc<App>>,
    pub(crate) groups: BTreeMap<PathId, Arc<Group>>,
}

impl Past {
    fn now(root: &RootGroup, group: &PathId) -> Self {
        let groups = root
            .group(group)
            .into_iter()
            .chain(root.groups_below(group));
        Self {
            apps: root
                .apps_below(group)
                .map(|app| (app.id.clone(), app.clone()))
                .collect(),
            groups: groups.map(|one| (one.id.clone(), one.clone())).collect(),
        }
    }

    fn undo(&mut self, before: &Before, group: &PathId) {
        undo(&mut self.apps, &before.apps, group);
        undo(&mut self.groups, &before.groups, group);
    }
}

fn undo<T>(
    now: &mut BTreeMap<PathId, Arc<T>>,
    before: &BTreeMap<PathId, Option<Arc<T>>>,
    group: &PathId,
) {
    for (id, old) in before
        .iter()
        .filter(|(id, _)| *id == group || id.is_below(group))
    {
        match old {
            Some(old) => now.insert(id.clone(), old.clone()),
            None => now.remove(id),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::app;

    #[test]
    fn states_of_the_past_come_back_as_long_as_they_are_kept() {
        let (mut root, mut history) = (RootGroup::default(), History::default());
        let id = PathId::resolve("/g/a");
        let group = PathId::resolve("/g");
        let at = Timestamp::from_millis;
        let definition = |version: i64| {
            let mut app = app(r#"{"id":"/g/a","cmd":"sleep 1"}"#);
            app.version = at(version);
            app.instances = u32::try_from(version).expect("small");
            Arc::new(app)
        };
        for version in 1..=5 {
            let (old, new) = (root.get(&id).cloned(), definition(version));
            let mut before = Before::default();
            if root.group(&group).is_none() {
                before.groups.insert(group.clone(), None);
                root.set_group(
                    &group,
                    Some(Arc::new(Group::new(&group, false, at(version)))),
                );
            }
            before.apps.insert(id.clone(), old);
            root.set(&id, Some(new));
            history.add(at(version), before, 4);
        }
        assert_eq!(
            history.versions(&root, &group),
            [at(5), at(4), at(3), at(2)]
        );
        for version in 2..=5 {
            let past = history.at(&root, &group, at(version)).expect("kept");
            assert_eq!(
                past.apps[&id].instances,
                u32::try_from(version).expect("small")
            );
        }
        assert!(history.at(&root, &group, at(1)).is_none(), "forgotten");
        assert!(
            history.holds(&id, at(2)) && !history.holds(&id, at(1)) && !history.holds(&id, at(5))
        );
    }
}
