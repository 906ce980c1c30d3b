//! The root group: all apps by id, the groups that their ids imply, and the rules over several apps.
//!
//! A change is a small map from ids to their new definitions ([`Changes`]); everything here works on the changed apps and what hangs on
//! them, never on the whole tree.

mod service_ports;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use service_ports::ServicePorts;

use crate::{definition::App, path::PathId, response::Response};

/// New definitions by id; none: the app is deleted.
pub(crate) type Changes = BTreeMap<PathId, Option<Arc<App>>>;

/// All apps.
#[derive(Debug, Default)]
pub(crate) struct RootGroup {
    apps: BTreeMap<PathId, Arc<App>>,
}

/// The root group as it will be with some changes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) root: &'a RootGroup,
    pub(crate) changes: &'a Changes,
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

    pub(crate) fn set(&mut self, id: &PathId, app: Option<Arc<App>>) {
        match app {
            Some(app) => self.apps.insert(id.clone(), app),
            None => self.apps.remove(id),
        };
    }
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

    /// Checks what can only be judged with the other apps in sight.
    pub(crate) fn validate(&self) -> Result<(), Response> {
        let mut faults = crate::definition::Faults::default();
        for id in self
            .changes
            .iter()
            .filter(|(_, app)| app.is_some())
            .map(|(id, _)| id)
        {
            let mut overlaps = self.at_or_below(id).iter().any(|other| other.id != *id);
            let mut ancestor = id.parent();
            while !ancestor.is_root() {
                overlaps |= self.get(&ancestor).is_some();
                ancestor = ancestor.parent();
            }
            if overlaps {
                faults.add(
                    "/",
                    "Groups and Applications may not have the same identifier.",
                );
            }
        }
        if self.depths().is_none() {
            faults.add("/", "Dependency graph has cyclic dependencies.");
        }
        faults.into_result("Object is not valid")
    }

    /// Length of the longest chain of dependencies below each changed app; none if they run in a circle.
    pub(crate) fn depths(&self) -> Option<BTreeMap<PathId, usize>> {
        let mut known: BTreeMap<PathId, usize> = BTreeMap::new();
        for (id, app) in self.changes {
            if app.is_some() {
                self.depth(id, &mut known)?;
            }
        }
        known.retain(|id, _| self.changes.contains_key(id));
        Some(known)
    }

    /// Depth-first without recursion: chains may be as long as there are apps.
    fn depth(&self, id: &PathId, known: &mut BTreeMap<PathId, usize>) -> Option<()> {
        let mut open: BTreeSet<PathId> = BTreeSet::new();
        let mut stack: Vec<(PathId, bool)> = vec![(id.clone(), false)];
        while let Some((id, children_done)) = stack.pop() {
            let Some(app) = self.get(&id) else { continue };
            let dependencies = || {
                app.dependencies
                    .iter()
                    .flat_map(|path| self.at_or_below(path))
                    .map(|app| &app.id)
            };
            if children_done {
                let depth = dependencies()
                    .filter_map(|id| known.get(id))
                    .max()
                    .map_or(0, |deepest| deepest + 1);
                open.remove(&id);
                known.insert(id, depth);
            } else if !known.contains_key(&id) {
                if !open.insert(id.clone()) {
                    return None;
                }
                stack.push((id.clone(), true));
                for dependency in dependencies() {
                    if open.contains(dependency) {
                        return None;
                    }
                    if !known.contains_key(dependency) {
                        stack.push((dependency.clone(), false));
                    }
                }
            }
        }
        Some(())
    }
}
