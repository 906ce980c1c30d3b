//! Calls of `/v2/groups`, and what is kept of groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::json;

use super::{
    Marathon,
    deploy::{By, Order, Versioning},
    records::{self, HistoryRecord},
};
use crate::{
    definition::{App, Faults, Object, Setting},
    deployment::Deployment,
    group::{Before, Changes, Group, GroupChanges, GroupUpdate, Target, Updated},
    output::{Mutation, Output},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
    view::{self, Change},
};

impl Marathon {
    pub(super) fn create_group(
        &mut self,
        base: &PathId,
        body: &Bytes,
        force: bool,
    ) -> Result<Response, Response> {
        let update = self.group_update(body)?;
        let id = update
            .id
            .as_deref()
            .map_or_else(|| base.clone(), |id| PathId::resolve_in(id, base));
        if self.root.group(&id).is_some() {
            let message = format!("Group {id} is already created. Use PUT to change this group.");
            return Err(Response::message(409, message));
        }
        if self.root.get(&id).is_some() {
            let message = format!("An app with the path {id} already exists.");
            return Err(Response::message(409, message));
        }
        let order = self.group_order(&id, update, force)?;
        let accepted = self.deploy(order)?;
        let mut response = Response::deployment(201, accepted.version, &accepted.id);
        response.location = Some(id.to_string());
        Ok(response)
    }

    pub(super) fn update_group(
        &mut self,
        id: &PathId,
        body: &Bytes,
        force: bool,
        dry_run: bool,
    ) -> Result<Response, Response> {
        let update = self.group_update(body)?;
        // At the root the body may say which group it means.
        let id = match update.id.as_deref() {
            Some(named) if id.is_root() => PathId::resolve(named),
            _ => id.clone(),
        };
        let order = self.group_order(&id, update, force)?;
        if dry_run {
            let steps = self.rehearse(&order)?;
            return Ok(Response::json(200, &json!({ "steps": steps })));
        }
        let accepted = self.deploy(order)?;
        Ok(Response::deployment(200, accepted.version, &accepted.id))
    }

    pub(super) fn patch_group(&mut self, id: &PathId, body: &Bytes) -> Result<Response, Response> {
        let value = self.object(body)?;
        let mut faults = Faults::default();
        let enforce = Object::new(&value, "", &mut faults)
            .and_then(|object| object.flag("enforceRole", &mut faults));
        faults.into_result("Invalid JSON")?;
        if !id.is_top_level() {
            let mut faults = Faults::default();
            faults.add("/", "Path needs to be top-level");
            faults.into_result("Object is not valid")?;
        }
        let mut group = Group::clone(self.root.group(id).ok_or_else(|| no_group(id))?);
        if let Some(enforce) = enforce {
            group.enforce_role = Some(enforce);
        }
        // Nothing is launched or ended by it, so nothing is locked.
        self.deploy(Order {
            changes: Changes::new(),
            groups: [(id.clone(), Some(Arc::new(group)))].into(),
            versioning: Versioning::Changed,
            force: false,
            group: id.parent(),
            origin: None,
            trial: None,
            by: By::Operator,
        })?;
        Ok(Response::empty(200))
    }

    pub(super) fn delete_group(&mut self, id: &PathId, force: bool) -> Result<Response, Response> {
        self.root.group(id).ok_or_else(|| no_group(id))?;
        let mut updated = Updated::default();
        updated.remove(&self.root, id);
        let accepted = self.deploy(order(id, updated, force))?;
        Ok(Response::deployment(200, accepted.version, &accepted.id))
    }

    pub(super) fn group_versions(&self, id: &PathId) -> Result<Response, Response> {
        let versions = self.history.versions(&self.root, id);
        if versions.is_empty() {
            return Err(no_group(id));
        }
        Ok(Response::json(200, &versions))
    }

    pub(super) fn group_version(&self, id: &PathId, version: &str) -> Result<Response, Response> {
        let version =
            Timestamp::parse(version).map_err(|error| Response::message(422, error.to_string()))?;
        let past = self
            .history
            .at(&self.root, id, version)
            .ok_or_else(|| no_group(id))?;
        Ok(view::past_group(id, &past.apps, &past.groups))
    }

    pub(super) fn group_update(&self, body: &Bytes) -> Result<GroupUpdate, Response> {
        let value = self.object(body)?;
        let mut faults = Faults::default();
        let update = GroupUpdate::read(&value, "", &mut faults);
        faults.into_result("Invalid JSON")?;
        Ok(update.unwrap_or_default())
    }

    /// What a group update changes, whichever of its three kinds it is.
    pub(super) fn group_order(
        &self,
        id: &PathId,
        update: GroupUpdate,
        force: bool,
    ) -> Result<Order, Response> {
        let mut faults = Faults::default();
        let alone = "not allowed in conjunction with other properties.";
        if update.version.is_some() && (update.structural || update.scale_by.is_some()) {
            faults.add("/version", alone);
        }
        if update.scale_by.is_some() && (update.structural || update.version.is_some()) {
            faults.add("/scaleBy", alone);
        }
        let mut updated = Updated::default();
        if let Some(version) = &update.version {
            faults.into_result("Object is not valid")?;
            self.back_to(id, version, &mut updated)?;
            return Ok(order(id, updated, force));
        }
        if let Some(factor) = update.scale_by {
            faults.into_result("Object is not valid")?;
            self.root.group(id).ok_or_else(|| no_group(id))?;
            self.scale_by(id, factor, &mut updated)?;
            return Ok(order(id, updated, force));
        }
        let setting = Setting {
            enforce_role: self.root.enforces_role(id),
            ..Setting::new(&self.config)
        };
        updated.apply(&self.root, id, update, "", setting, &mut faults);
        self.keep_apart(&updated, &mut faults);
        faults.into_result("Object is not valid")?;
        Ok(order(id, updated, force))
    }

    /// Whether a group demands its role may not be changed together with its apps: which roles they may have would depend on the order.
    fn keep_apart(&self, updated: &Updated, faults: &mut Faults) {
        let switched = updated.groups.iter().filter(|(id, new)| {
            let old = self.root.group(id).map(|old| old.enforce_role);
            let new = new.as_ref().map(|new| new.enforce_role);
            id.is_top_level() && old.is_some() && new.is_some() && old != new
        });
        for (group, _) in switched {
            let changed = updated
                .changes
                .iter()
                .filter(|(id, _)| id.is_below(group))
                .any(|(id, new)| match (self.root.get(id), new) {
                    (Some(old), Some(new)) => {
                        old.instances != new.instances || !old.same_config(new)
                    }
                    (None, None) => false,
                    _ => true,
                });
            if changed {
                let message = "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests.";
                faults.add("/", message);
            }
        }
    }

    fn scale_by(&self, id: &PathId, factor: f64, updated: &mut Updated) -> Result<(), Response> {
        for app in self.root.apps_below(id).filter(|app| app.pod.is_none()) {
            let mut instances = (f64::from(app.instances) * factor).ceil();
            if app.is_daemon() {
                // As many as agents, or none.
                instances = instances.min(1.0);
            }
            if instances > f64::from(i32::MAX) {
                let message = format!("{} would have {instances} instances", app.id);
                return Err(Response::message(422, message));
            }
            let mut app = App::clone(app);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, not negative, and below 2^31"
            )]
            {
                app.instances = instances as u32;
            }
            updated.changes.insert(app.id.clone(), Some(Arc::new(app)));
        }
        Ok(())
    }

    fn back_to(&self, id: &PathId, version: &str, updated: &mut Updated) -> Result<(), Response> {
        let version =
            Timestamp::parse(version).map_err(|error| Response::message(422, error.to_string()))?;
        let past = self.history.at(&self.root, id, version).ok_or_else(|| {
            Response::message(
                422,
                format!("Group {id} not available in version {version}"),
            )
        })?;
        updated.remove(&self.root, id);
        updated
            .changes
            .extend(past.apps.into_iter().map(|(id, app)| (id, Some(app))));
        updated
            .groups
            .extend(past.groups.into_iter().map(|(id, group)| (id, Some(group))));
        Ok(())
    }

    /// Groups that really change: those ordered, and those that new apps and groups need above them.
    pub(super) fn group_changes(
        &self,
        changes: &Changes,
        ordered: &GroupChanges,
        version: Timestamp,
    ) -> GroupChanges {
        let mut groups = GroupChanges::new();
        for (id, new) in ordered {
            match (self.root.group(id), new) {
                (Some(_), None) if !id.is_root() => {
                    groups.insert(id.clone(), None);
                }
                (old, Some(new)) if old.is_none_or(|old| !old.same(new)) => {
                    let mut new = Group::clone(new);
                    new.version = version;
                    groups.insert(id.clone(), Some(Arc::new(new)));
                }
                _ => {}
            }
        }
        let apps = changes.iter().filter(|(_, app)| app.is_some());
        let kept = groups.iter().filter(|(_, group)| group.is_some());
        let children: BTreeSet<PathId> = apps
            .map(|(id, _)| id)
            .chain(kept.map(|(id, _)| id))
            .cloned()
            .collect();
        for child in children {
            let mut id = child.parent();
            loop {
                let there = match groups.get(&id) {
                    Some(changed) => changed.is_some(),
                    None => self.root.group(&id).is_some(),
                };
                if !there {
                    let enforce = self.config.new_group_enforce_role;
                    let group = Group::new(&id, enforce, version);
                    groups.insert(id.clone(), Some(Arc::new(group)));
                }
                if id.is_root() {
                    break;
                }
                id = id.parent();
            }
        }
        groups
    }

    /// Puts a group into the root group, the store and the view.
    pub(super) fn set_group(&mut self, id: &PathId, group: Option<Arc<Group>>) {
        match &group {
            Some(group) => {
                self.outbox
                    .write(records::put(records::group_key(id), &**group));
                self.outbox
                    .push(Output::Change(Change::Group(group.clone())));
            }
            None => {
                self.outbox.write(Mutation::Delete {
                    key: records::group_key(id),
                });
                self.outbox
                    .push(Output::Change(Change::GroupRemoved(id.clone())));
            }
        }
        self.root.set_group(id, group);
    }

    /// Marks the groups above a change as changed. This is not stored: what lies below them tells it after a failover.
    pub(super) fn touch_groups(&mut self, changed: &BTreeSet<PathId>, version: Timestamp) {
        let mut above = BTreeSet::from([PathId::root()]);
        for id in changed {
            let mut group = id.parent();
            while above.insert(group.clone()) {
                group = group.parent();
            }
        }
        for id in above {
            if let Some(group) = self.root.group(&id) {
                let mut group = Group::clone(group);
                group.version = group.version.max(version);
                let group = Arc::new(group);
                self.root.set_group(&id, Some(group.clone()));
                self.outbox.push(Output::Change(Change::Group(group)));
            }
        }
    }

    /// Groups as they become when a deployment is undone, whose apps become `changes`: what somebody else has changed since stays.
    pub(super) fn groups_undone(&self, deployment: &Deployment, changes: &Changes) -> GroupChanges {
        let mut groups = GroupChanges::new();
        // The innermost first: a group that is added may be removed when those in it are.
        for (id, (before, after)) in deployment.groups.iter().rev() {
            let now = self.root.group(id);
            match (before, after, now) {
                (None, Some(after), Some(now)) if now.same(after) => {
                    let target = Target {
                        root: &self.root,
                        changes,
                        groups: &groups,
                    };
                    if target.is_empty(id) {
                        groups.insert(id.clone(), None);
                    }
                }
                (Some(before), None, None) => {
                    groups.insert(id.clone(), Some(Arc::new(before.clone())));
                }
                (Some(before), Some(after), Some(now)) if now.same(after) => {
                    groups.insert(id.clone(), Some(Arc::new(before.clone())));
                }
                _ => {}
            }
        }
        groups
    }

    /// Takes groups and the history over; groups above apps that a former release stored without them are made.
    pub(super) fn recover_groups(
        &mut self,
        definitions: &BTreeMap<(PathId, Timestamp), Arc<App>>,
        mut history: Vec<HistoryRecord>,
    ) {
        let apps: Changes = self
            .root
            .iter()
            .map(|app| (app.id.clone(), Some(app.clone())))
            .collect();
        let stored: GroupChanges = self
            .root
            .groups()
            .map(|group| (group.id.clone(), Some(group.clone())))
            .collect();
        let mut missing = self.group_changes(&apps, &GroupChanges::new(), self.last_version);
        missing.extend(self.group_changes(&Changes::new(), &stored, self.last_version));
        for (id, group) in missing {
            self.set_group(&id, group);
        }
        history.sort_by_key(|record| record.version);
        for record in history {
            self.last_version = self.last_version.max(record.version);
            let definition = |(id, version): (PathId, Option<Timestamp>)| match version {
                None => Some((id, None)),
                Some(version) => {
                    let app = definitions.get(&(id.clone(), version))?.clone();
                    Some((id, Some(app)))
                }
            };
            let count = record.apps.len();
            let apps: Changes = record.apps.into_iter().filter_map(definition).collect();
            if apps.len() < count {
                // A definition is missing, so no state before this change can be made again.
                self.history = crate::group::History::starting(record.version);
                continue;
            }
            let groups = record.groups.into_iter();
            let groups = groups.map(|(id, group)| (id, group.map(Arc::new)));
            let before = Before {
                apps,
                groups: groups.collect(),
                autoscaled: record.autoscaled,
            };
            self.history
                .add(record.version, before, self.config.max_versions);
        }
        let changes: Vec<(PathId, Timestamp)> = self
            .root
            .iter()
            .map(|app| (app.id.clone(), app.version))
            .chain(
                self.root
                    .groups()
                    .map(|group| (group.id.clone(), group.version)),
            )
            .collect();
        for (id, version) in changes {
            self.touch_groups(&BTreeSet::from([id]), version);
        }
        self.touch_groups(&BTreeSet::new(), self.last_version);
        for group in self.root.groups() {
            self.outbox
                .push(Output::Change(Change::Group(group.clone())));
        }
    }
}

fn order(id: &PathId, updated: Updated, force: bool) -> Order {
    Order {
        changes: updated.changes,
        groups: updated.groups,
        versioning: Versioning::Changed,
        force,
        group: id.parent(),
        origin: None,
        trial: None,
        by: By::Operator,
    }
}

pub(super) fn no_group(id: &PathId) -> Response {
    Response::message(404, format!("Group '{id}' does not exist"))
}
