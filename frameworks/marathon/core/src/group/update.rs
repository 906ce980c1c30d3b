//! Group updates: what people send to `/v2/groups`, and what it changes.

use std::sync::Arc;

use serde_json::Value;

use super::{Changes, Group, GroupChanges, RootGroup};
use crate::{
    definition::{AppUpdate, Faults, Object, Setting, build_into, validate_group_id},
    path::PathId,
    timestamp::Timestamp,
};

/// One document; nested ones below it.
#[derive(Debug, Default)]
pub(crate) struct GroupUpdate {
    pub(crate) id: Option<String>,
    pub(crate) apps: Option<Vec<AppUpdate>>,
    pub(crate) groups: Option<Vec<GroupUpdate>>,
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) enforce_role: Option<bool>,
    pub(crate) scale_by: Option<f64>,
    pub(crate) version: Option<String>,
    /// Members that change the structure.
    pub(crate) structural: bool,
}

impl GroupUpdate {
    /// Reads a document that stands at `path` of a larger one.
    pub(crate) fn read(value: &Value, path: &str, faults: &mut Faults) -> Option<Self> {
        let object = Object::new(value, path, faults)?;
        let apps = object.array("apps", faults).map(|items| {
            let read = |(path, item): (String, &Value)| {
                let mut inner = Faults::default();
                let update = AppUpdate::read_into(item, true, &mut inner);
                faults.absorb(&path, inner);
                update
            };
            items.into_iter().filter_map(read).collect()
        });
        let groups = object.array("groups", faults).map(|items| {
            items
                .into_iter()
                .filter_map(|(path, item)| Self::read(item, &path, faults))
                .collect()
        });
        let structural = ["apps", "groups", "dependencies", "enforceRole"]
            .iter()
            .any(|key| object.get(key).is_some());
        Some(Self {
            id: object.text("id", faults),
            apps,
            groups,
            dependencies: object.texts("dependencies", faults),
            enforce_role: object.flag("enforceRole", faults),
            scale_by: object.number("scaleBy", 0.0, f64::MAX, faults),
            version: object.text("version", faults),
            structural,
        })
    }
}

/// What an update leads to.
#[derive(Debug, Default)]
pub(crate) struct Updated {
    pub(crate) changes: Changes,
    pub(crate) groups: GroupChanges,
}

impl Updated {
    /// The whole of `group` and all below it goes; the root itself stays, empty.
    pub(crate) fn remove(&mut self, root: &RootGroup, group: &PathId) {
        self.changes
            .extend(root.apps_below(group).map(|app| (app.id.clone(), None)));
        let groups = root
            .group(group)
            .into_iter()
            .chain(root.groups_below(group));
        self.groups.extend(
            groups
                .filter(|group| !group.id.is_root())
                .map(|group| (group.id.clone(), None)),
        );
    }

    /// Applies a structural update to the group `id`. `path` is where it stands in the document; `setting` is that of its place.
    pub(crate) fn apply(
        &mut self,
        root: &RootGroup,
        id: &PathId,
        update: GroupUpdate,
        path: &str,
        setting: Setting<'_>,
        faults: &mut Faults,
    ) {
        let at = |key: &str| format!("{path}/{key}");
        validate_group_id(id, &at("id"), faults);
        let old = root.group(id);
        let mut group = old.map_or_else(
            || Group::new(id, setting.new_group_enforce_role, Timestamp::default()),
            |old| Group::clone(old),
        );
        if let Some(enforce) = update.enforce_role {
            if id.is_top_level() {
                group.enforce_role = Some(enforce);
            } else if !id.is_root() || enforce {
                let message = format!(
                    "enforceRole can only be set for top-level groups, and {id} is not top-level"
                );
                faults.add(at("enforceRole"), message);
            }
        }
        if let Some(dependencies) = update.dependencies {
            group.dependencies = dependencies
                .iter()
                .map(|dependency| PathId::resolve_in(dependency, id))
                .collect();
        }
        let setting = Setting {
            enforce_role: if id.is_root() {
                None
            } else {
                group.enforce_role.or(setting.enforce_role)
            },
            ..setting
        };
        if let Some(apps) = update.apps {
            // Pods are not spoken of here, so they stay.
            let direct = root
                .apps_below(id)
                .filter(|app| app.id.parent() == *id && app.pod.is_none());
            self.changes
                .extend(direct.map(|app| (app.id.clone(), None)));
            for (index, app) in apps.into_iter().enumerate() {
                self.add_app(
                    root,
                    id,
                    app,
                    &at(&format!("apps({index})")),
                    setting,
                    faults,
                );
            }
        }
        if let Some(groups) = update.groups {
            let kept: Vec<PathId> = groups
                .iter()
                .filter_map(|child| Some(PathId::resolve_in(child.id.as_deref()?, id)))
                .collect();
            let direct = root.groups_below(id).filter(|one| one.id.parent() == *id);
            for gone in direct.filter(|one| !kept.contains(&one.id)) {
                self.remove(root, &gone.id);
            }
            for (index, child) in groups.into_iter().enumerate() {
                let path = at(&format!("groups({index})"));
                let Some(child_id) = child
                    .id
                    .as_deref()
                    .map(|child| PathId::resolve_in(child, id))
                else {
                    faults.add(format!("{path}/id"), "not defined");
                    continue;
                };
                if child_id.parent() != *id || child_id.is_root() {
                    faults.add(
                        format!("{path}/id"),
                        format!("Identifier is not child of '{id}'"),
                    );
                    continue;
                }
                self.apply(root, &child_id, child, &path, setting, faults);
            }
        }
        if old.is_none_or(|old| !old.same(&group)) {
            self.groups.insert(id.clone(), Some(Arc::new(group)));
        }
    }

    fn add_app(
        &mut self,
        root: &RootGroup,
        group: &PathId,
        mut app: AppUpdate,
        path: &str,
        setting: Setting<'_>,
        faults: &mut Faults,
    ) {
        let id = PathId::resolve_in(app.id.as_deref().unwrap_or_default(), group);
        if id.parent() != *group || id.is_root() {
            faults.add(
                format!("{path}/id"),
                format!("Identifier is not child of '{group}'"),
            );
            return;
        }
        let absolute = |dependency: &String| PathId::resolve_in(dependency, group).to_string();
        app.dependencies = app
            .dependencies
            .map(|all| all.iter().map(absolute).collect());
        let old = root.get(&id).filter(|old| old.pod.is_none());
        if let Some(old) = old {
            app.role.get_or_insert_with(|| old.role.clone());
        }
        let mut inner = Faults::default();
        let app = build_into(
            app,
            id.clone(),
            None,
            old.map(|old| old.role.as_str()),
            setting,
            &mut inner,
        );
        faults.absorb(path, inner);
        if self
            .changes
            .insert(id, Some(Arc::new(app)))
            .is_some_and(|before| before.is_some())
        {
            faults.add(path, "Elements must be unique.");
        }
    }
}
