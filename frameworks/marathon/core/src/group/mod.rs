//! The root group: all apps and groups by id, and the rules over several of them.
//!
//! A change is two small maps from ids to new definitions ([`Changes`], [`GroupChanges`]); everything here works on what changes and what
//! hangs on it, never on the whole tree. There is no object that holds the tree: groups are records of their own, and a group holds what
//! its id is a prefix of.

mod history;
mod service_ports;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use history::{Before, History};
use serde::{Deserialize, Serialize};
pub(crate) use service_ports::{Fresh, ServicePorts};
pub(crate) use update::{GroupUpdate, Updated};

use crate::{definition::App, path::PathId, response::Response, timestamp::Timestamp};

/// New definitions by id; none: the app is deleted.
pub(crate) type Changes = BTreeMap<PathId, Option<Arc<App>>>;

/// New groups by id; none: the group is deleted.
pub(crate) type GroupChanges = BTreeMap<PathId, Option<Arc<Group>>>;

/// A group: what it is besides what lies below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Absolute path.
    pub id: PathId,
    /// Groups or apps that must be deployed before every app of this group.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dependencies: BTreeSet<PathId>,
    /// Whether apps below run in the group's role unless they had another. Only top-level groups have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_role: Option<bool>,
    /// When it, or something below it, last changed. What is stored may lag behind.
    pub version: Timestamp,
}

impl Group {
    /// A group that says nothing; `enforce_role` is heeded if it is a top-level one.
    pub(crate) fn new(id: &PathId, enforce_role: bool, version: Timestamp) -> Self {
        Self {
            dependencies: BTreeSet::new(),
            enforce_role: id.is_top_level().then_some(enforce_role),
            id: id.clone(),
            version,
        }
    }

    /// True if the two differ in nothing but their version.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.dependencies == other.dependencies && self.enforce_role == other.enforce_role
    }
}

/// All apps and groups. The root is always among the groups, and so is every group above an app or a group.
#[derive(Debug)]
pub(crate) struct RootGroup {
    apps: BTreeMap<PathId, Arc<App>>,
    /// What they want together.
    instances: usize,
    /// Those of the apps that follow agents.
    daemons: BTreeSet<PathId>,
    groups: BTreeMap<PathId, Arc<Group>>,
}

impl Default for RootGroup {
    fn default() -> Self {
        let root = Group::new(&PathId::root(), false, Timestamp::default());
        Self {
            apps: BTreeMap::new(),
            instances: 0,
            daemons: BTreeSet::new(),
            groups: [(PathId::root(), Arc::new(root))].into(),
        }
    }
}

/// The root group as it will be with some changes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) root: &'a RootGroup,
    pub(crate) changes: &'a Changes,
    pub(crate) groups: &'a GroupChanges,
}

/// A vertex of the graph of dependencies: an app, or all apps at or below a path (what a dependency on that path means).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vertex {
    App(PathId),
    Reach(PathId),
}

impl RootGroup {
    pub(crate) fn get(&self, id: &PathId) -> Option<&Arc<App>> {
        self.apps.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// The apps that follow agents.
    pub(crate) fn daemons(&self) -> impl Iterator<Item = &PathId> {
        self.daemons.iter()
    }

    /// How many instances all apps want together; daemon apps count as they are written, once.
    pub(crate) fn instances(&self) -> usize {
        self.instances
    }

    pub(crate) fn set(&mut self, id: &PathId, app: Option<Arc<App>>) {
        self.instances += app.as_ref().map_or(0, |app| app.instances as usize);
        if app.as_ref().is_some_and(|app| app.is_daemon()) {
            self.daemons.insert(id.clone());
        } else {
            self.daemons.remove(id);
        }
        let before = match app {
            Some(app) => self.apps.insert(id.clone(), app),
            None => self.apps.remove(id),
        };
        self.instances -= before.map_or(0, |app| app.instances as usize);
    }

    pub(crate) fn group(&self, id: &PathId) -> Option<&Arc<Group>> {
        self.groups.get(id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    pub(crate) fn set_group(&mut self, id: &PathId, group: Option<Arc<Group>>) {
        match group {
            Some(group) => self.groups.insert(id.clone(), group),
            None => self.groups.remove(id),
        };
    }

    /// Apps strictly below a group.
    pub(crate) fn apps_below<'a>(
        &'a self,
        group: &'a PathId,
    ) -> impl Iterator<Item = &'a Arc<App>> {
        below(&self.apps, group)
    }

    /// Groups strictly below a group.
    pub(crate) fn groups_below<'a>(
        &'a self,
        group: &'a PathId,
    ) -> impl Iterator<Item = &'a Arc<Group>> {
        below(&self.groups, group)
    }

    /// Whether the top-level group of an app or group demands its own role.
    pub(crate) fn enforces_role(&self, id: &PathId) -> Option<bool> {
        self.groups.get(&id.top_level())?.enforce_role
    }
}

/// Values whose ids lie below `group`, in order.
fn below<'a, T>(map: &'a BTreeMap<PathId, T>, group: &'a PathId) -> impl Iterator<Item = &'a T> {
    // Siblings such as `/prod-x` stand between `/prod` and `/prod/…`: they share the prefix and are filtered out.
    map.range(group.clone()..)
        .take_while(|(id, _)| id.as_str().starts_with(group.as_str()))
        .filter(|(id, _)| id.is_below(group))
        .map(|(_, value)| value)
}

impl<'a> Target<'a> {
    /// The app of this id after the change.
    pub(crate) fn get(&self, id: &PathId) -> Option<&'a Arc<App>> {
        match self.changes.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.root.get(id),
        }
    }

    /// Apps at or below a path after the change: what a dependency on it means.
    fn at_or_below(&self, path: &PathId) -> Vec<&'a Arc<App>> {
        // Siblings such as `/prod-x` stand between `/prod` and `/prod/…`: they share the prefix and are filtered out.
        let prefixed = |id: &PathId| id.as_str().starts_with(path.as_str());
        let meant = |id: &PathId| id == path || id.is_below(path);
        let kept = self
            .root
            .apps
            .range(path.clone()..)
            .take_while(|(id, _)| prefixed(id));
        let kept = kept
            .filter(|(id, _)| meant(id) && !self.changes.contains_key(*id))
            .map(|(_, app)| app);
        let changed = self
            .changes
            .range(path.clone()..)
            .take_while(|(id, _)| prefixed(id));
        kept.chain(
            changed
                .filter(|(id, _)| meant(id))
                .filter_map(|(_, app)| app.as_ref()),
        )
        .collect()
    }

    /// The group of this id after the change.
    pub(crate) fn group(&self, id: &PathId) -> Option<&'a Arc<Group>> {
        match self.groups.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.root.group(id),
        }
    }

    /// Whether something will lie below this group.
    pub(crate) fn is_empty(&self, group: &PathId) -> bool {
        let kept = self.root.groups_below(group);
        let mut groups = kept.map(|group| &group.id).chain(self.groups.keys());
        let holds_groups = groups.any(|id| id.is_below(group) && self.group(id).is_some());
        !holds_groups && self.at_or_below(group).is_empty()
    }

    /// Checks what can only be judged with the other apps in sight.
    pub(crate) fn validate(&self) -> Result<(), Response> {
        let mut faults = crate::definition::Faults::default();
        let apps = self.changes.iter().filter(|(_, app)| app.is_some());
        let groups = self.groups.iter().filter(|(_, group)| group.is_some());
        let both = |id: &PathId| self.get(id).is_some() && self.group(id).is_some();
        let mut overlaps = apps
            .clone()
            .map(|(id, _)| id)
            .chain(groups.map(|(id, _)| id))
            .any(both);
        for (id, _) in apps {
            let mut ancestor = id.parent();
            while !ancestor.is_root() {
                overlaps |= self.get(&ancestor).is_some();
                ancestor = ancestor.parent();
            }
        }
        let kind = |app: &Arc<App>| app.pod.is_some();
        let replaced = self.changes.iter().any(|(id, new)| {
            let old = self.root.get(id).map(kind);
            new.as_ref()
                .is_some_and(|new| old.is_some_and(|old| old != kind(new)))
        });
        if replaced {
            faults.add("/", "Applications and Pods may not share the same id");
        }
        let pods = self.changes.values().flatten().any(kind);
        if overlaps && pods {
            faults.add("/", "Groups and Pods may not have the same identifier.");
        } else if overlaps {
            faults.add(
                "/",
                "Groups and Applications may not have the same identifier.",
            );
        }
        self.volumes(&mut faults);
        if self.depths().is_none() {
            faults.add("/", "Dependency graph has cyclic dependencies.");
        }
        faults.into_result("Object is not valid")
    }

    /// No two apps may have the same external volume unless both share it. Only where an app that changes has one all others are looked at.
    fn volumes(&self, faults: &mut crate::definition::Faults) {
        let names = |app: &App| -> Vec<String> {
            let volumes = app.external_volumes();
            volumes.map(|(_, one)| one.name().to_owned()).collect()
        };
        // Scaling a group asks no single app.
        for app in self.changes.values().flatten() {
            let few = crate::definition::external_instances(app);
            if let Err((path, message)) = few {
                let path = path.trim_end_matches('/');
                faults.add(format!("/apps/{}{path}", app.id), message);
            }
        }
        let changed = self.changes.values().flatten();
        let changed: BTreeSet<String> = changed.flat_map(|app| names(app)).collect();
        if changed.is_empty() {
            return;
        }
        let mut all = self.at_or_below(&PathId::root());
        all.retain(|app| names(app).iter().any(|name| changed.contains(name)));
        for app in &all {
            for message in crate::definition::volume_conflicts(app, &all) {
                faults.add(format!("/apps/{}/container", app.id), message);
            }
        }
    }

    /// Length of the longest chain of dependencies below each changed app; none if they run in a circle.
    pub(crate) fn depths(&self) -> Option<BTreeMap<PathId, usize>> {
        let mut known: BTreeMap<Vertex, Option<usize>> = BTreeMap::new();
        for (id, app) in self.changes {
            if app.is_some() {
                self.depth(Vertex::App(id.clone()), &mut known)?;
            }
        }
        // New dependencies of a group may close a circle through apps that do not change.
        for group in self.groups.values().flatten() {
            if !group.dependencies.is_empty() {
                self.depth(Vertex::Reach(group.id.clone()), &mut known)?;
            }
        }
        let changed = |(vertex, depth)| match vertex {
            Vertex::App(id) if self.changes.contains_key(&id) => Some((id, depth?)),
            _ => None,
        };
        Some(known.into_iter().filter_map(changed).collect())
    }

    /// What an app depends on, by itself and through its groups.
    fn dependencies(&self, app: &App) -> BTreeSet<PathId> {
        let mut all = app.dependencies.clone();
        let mut group = app.id.parent();
        loop {
            if let Some(group) = self.group(&group) {
                all.extend(group.dependencies.iter().cloned());
            }
            if group.is_root() {
                return all;
            }
            group = group.parent();
        }
    }

    fn next(&self, vertex: &Vertex) -> Vec<Vertex> {
        match vertex {
            Vertex::App(id) => self.get(id).map_or_else(Vec::new, |app| {
                self.dependencies(app)
                    .into_iter()
                    .map(Vertex::Reach)
                    .collect()
            }),
            Vertex::Reach(path) => self
                .at_or_below(path)
                .into_iter()
                .map(|app| Vertex::App(app.id.clone()))
                .collect(),
        }
    }

    /// Depth-first without recursion: chains may be as long as there are apps.
    fn depth(&self, start: Vertex, known: &mut BTreeMap<Vertex, Option<usize>>) -> Option<()> {
        let mut open: BTreeSet<Vertex> = BTreeSet::new();
        let mut stack: Vec<(Vertex, bool)> = vec![(start, false)];
        while let Some((vertex, next_done)) = stack.pop() {
            let next = self.next(&vertex);
            if next_done {
                let deepest = next
                    .iter()
                    .filter_map(|one| known.get(one).copied().flatten())
                    .max();
                let depth = match &vertex {
                    Vertex::App(_) => Some(deepest.map_or(0, |deepest| deepest + 1)),
                    Vertex::Reach(_) => deepest,
                };
                open.remove(&vertex);
                known.insert(vertex, depth);
            } else if !known.contains_key(&vertex) {
                if !open.insert(vertex.clone()) {
                    return None;
                }
                stack.push((vertex, true));
                for one in next {
                    if open.contains(&one) {
                        return None;
                    }
                    if !known.contains_key(&one) {
                        stack.push((one, false));
                    }
                }
            }
        }
        Some(())
    }
}
