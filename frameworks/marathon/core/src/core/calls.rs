//! Calls of the REST API.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Marathon,
    deploy::{By, Order, Versioning},
};
use crate::{
    definition::{App, AppUpdate, Faults, Setting, build, build_into},
    ended::Cause,
    group::{Changes, GroupChanges},
    input::{ApiCall, Origin},
    instance::{Goal, TaskView, instance_id_of},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
};

/// How an update treats what is there.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) partial: bool,
    pub(super) create: bool,
}

/// What killing tasks shall lead to.
#[derive(Clone, Copy)]
struct KillMode {
    scale: bool,
    wipe: bool,
    force: bool,
}

impl Marathon {
    pub(super) fn call(&mut self, call: ApiCall) -> Response {
        self.answer(call).unwrap_or_else(|refusal| refusal)
    }

    fn answer(&mut self, call: ApiCall) -> Result<Response, Response> {
        match call {
            ApiCall::CreateApp {
                body,
                force,
                origin,
            } => self.create_app(&body, force, origin),
            ApiCall::UpdateApp {
                id,
                body,
                force,
                partial,
                create,
                origin,
            } => self.update_app(
                &PathId::resolve(&id),
                &body,
                force,
                Mode { partial, create },
                origin,
            ),
            ApiCall::UpdateApps {
                body,
                force,
                partial,
                create,
            } => self.update_apps(&body, force, Mode { partial, create }),
            ApiCall::DeleteApp { id, force } => {
                let app = self.existing(&PathId::resolve(&id))?.id.clone();
                self.order(
                    [(app.clone(), None)].into(),
                    Versioning::Changed,
                    force,
                    &app,
                    None,
                )
            }
            ApiCall::RestartApp { id, force } => {
                let app = self.existing(&PathId::resolve(&id))?.clone();
                let id = app.id.clone();
                self.order(
                    [(id.clone(), Some(app))].into(),
                    Versioning::Restart,
                    force,
                    &id,
                    None,
                )
            }
            ApiCall::KillAppTasks {
                id,
                host,
                scale,
                wipe,
                force,
            } => {
                let id = PathId::resolve(&id);
                if let Err(unknown) = self.existing(&id) {
                    let path = || Response::message(404, format!("Path '{id}' does not exist"));
                    return Err(if scale && !wipe { path() } else { unknown });
                }
                let on_host = |key: &u64| match host.as_deref() {
                    None | Some("*") => true,
                    Some(host) => self
                        .instance(*key)
                        .and_then(|one| one.agent.as_ref())
                        .is_some_and(|agent| *agent.host == *host),
                };
                let keys = self
                    .apps
                    .get(&id)
                    .into_iter()
                    .flat_map(|state| state.instances.iter().copied());
                let keys: Vec<u64> = keys.filter(on_host).collect();
                self.kill_tasks(
                    &keys,
                    KillMode { scale, wipe, force },
                    |tasks| json!({ "tasks": tasks }),
                )
            }
            ApiCall::KillAppTask {
                id,
                task_id,
                scale,
                wipe,
                force,
            } => {
                let id = PathId::resolve(&id);
                self.existing(&id)?;
                let key = self.by_instance_id.get(instance_id_of(&task_id)).copied();
                let key = key.filter(|key| self.app_of(*key).is_some_and(|app| app.id == id));
                let key = key.ok_or_else(|| {
                    Response::message(404, format!("Task '{task_id}' does not exist"))
                })?;
                self.kill_tasks(
                    &[key],
                    KillMode { scale, wipe, force },
                    |tasks| json!({ "task": tasks.first() }),
                )
            }
            ApiCall::KillTasks {
                body,
                scale,
                wipe,
                force,
            } => self.kill_listed(&body, KillMode { scale, wipe, force }),
            ApiCall::CancelDeployment { id, force } => Ok(self.cancel(&id, force)),
            ApiCall::Queue { last_unused_offers } => Ok(self.queue(last_unused_offers)),
            ApiCall::CreateGroup { base, body, force } => {
                self.create_group(&PathId::resolve(&base), &body, force)
            }
            ApiCall::UpdateGroup {
                id,
                body,
                force,
                dry_run,
            } => self.update_group(&PathId::resolve(&id), &body, force, dry_run),
            ApiCall::PatchGroup { id, body } => self.patch_group(&PathId::resolve(&id), &body),
            ApiCall::DeleteGroup { id, force } => self.delete_group(&PathId::resolve(&id), force),
            ApiCall::GroupVersions { id } => self.group_versions(&PathId::resolve(&id)),
            ApiCall::GroupVersion { id, version } => {
                self.group_version(&PathId::resolve(&id), &version)
            }
            ApiCall::Plan {
                body,
                partial,
                trial,
            } => self.plan(&body, partial, trial),
            ApiCall::Apply {
                body,
                partial,
                force,
                deadline_seconds,
                trial,
            } => self.apply(
                &body,
                Mode {
                    partial,
                    create: true,
                },
                force,
                deadline_seconds,
                trial,
            ),
            ApiCall::Promote { id, force } => Ok(self.promote(&id, force)),
            ApiCall::Deployments => Ok(self.deployments()),
            ApiCall::Deadline { id, seconds } => Ok(self.change_deadline(&id, seconds)),
            ApiCall::Policy { id, part, action } => {
                self.policy_call(&PathId::resolve(&id), part, &action)
            }
            ApiCall::EndedTasks { id, of_pod, query } => {
                Ok(self.ended_tasks(&PathId::resolve(&id), of_pod, &query))
            }
            ApiCall::Rebalance { id, action } => self.rebalance_call(&PathId::resolve(&id), action),
            ApiCall::Instances { id } => Ok(self.list_instances(&PathId::resolve(&id))),
            ApiCall::Explain { id } => Ok(self.explain(&PathId::resolve(&id))),
            ApiCall::CreatePod {
                body,
                force,
                origin,
            } => self.create_pod(&body, force, origin),
            ApiCall::UpdatePod {
                id,
                body,
                force,
                origin,
            } => self.update_pod(&PathId::resolve(&id), &body, force, origin),
            ApiCall::DeletePod { id, force, origin } => {
                self.delete_pod(&PathId::resolve(&id), force, origin)
            }
            ApiCall::KillPodInstance { id, instance, wipe } => {
                self.kill_pod_instances(&PathId::resolve(&id), &[instance], wipe, true)
            }
            ApiCall::KillPodInstances { id, body, wipe } => {
                let instances = self.listed_instances(&body)?;
                self.kill_pod_instances(&PathId::resolve(&id), &instances, wipe, false)
            }
            ApiCall::Held => Ok(self.list_held()),
            ApiCall::FreeHeld { body } => self.free_held(&body),
            ApiCall::ResetDelay { id } => Ok(self.reset_delay(&PathId::resolve(&id))),
        }
    }

    fn existing(&self, id: &PathId) -> Result<&Arc<App>, Response> {
        let found = self.root.get(id).filter(|app| app.pod.is_none());
        found.ok_or_else(|| Response::no_app(id, None))
    }

    /// What the definition of an app depends on beside itself.
    pub(super) fn setting(&self, id: &PathId) -> Setting<'_> {
        Setting {
            enforce_role: self.root.enforces_role(id),
            ..Setting::new(&self.config)
        }
    }

    pub(super) fn json(&self, body: &Bytes) -> Result<Value, Response> {
        if body.len() > self.config.max_body_bytes {
            return Err(Response::message(
                413,
                format!(
                    "The body is longer than {} bytes.",
                    self.config.max_body_bytes
                ),
            ));
        }
        serde_json::from_slice(body).map_err(|error| Response::invalid_json(&error.to_string()))
    }

    pub(super) fn object(&self, body: &Bytes) -> Result<Value, Response> {
        let value = self.json(body)?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(wrong_kind("a JSON object is expected"))
        }
    }

    fn create_app(
        &mut self,
        body: &Bytes,
        force: bool,
        origin: Origin,
    ) -> Result<Response, Response> {
        let update = AppUpdate::read(&self.object(body)?, true)?;
        if let Some(version) = &update.version {
            // It counts for nothing, but must be one.
            Timestamp::parse(version).map_err(|error| Response::message(422, error.to_string()))?;
        }
        let id = PathId::resolve(update.id.as_deref().unwrap_or_default());
        let app = build(update, id.clone(), None, self.setting(&id))?;
        if self.existing(&id).is_ok() {
            return Err(Response::message(
                409,
                format!("An app with id [{id}] already exists."),
            ));
        }
        // Shown as it came: service ports are assigned, and versions told, only by reading it again.
        let mut shown = app.clone();
        let changes = [(id.clone(), Some(Arc::new(app)))].into();
        let order = Order {
            changes,
            groups: GroupChanges::new(),
            versioning: Versioning::Changed,
            force,
            group: id.parent(),
            origin: Some(origin),
            trial: None,
            by: By::Operator,
        };
        let accepted = self.deploy(order)?;
        shown.version = accepted.version;
        let mut answer = serde_json::to_value(&shown).unwrap_or_default();
        for key in [
            "tasksStaged",
            "tasksRunning",
            "tasksHealthy",
            "tasksUnhealthy",
        ] {
            answer[key] = json!(0);
        }
        answer["deployments"] = json!([{ "id": accepted.id }]);
        let mut response = Response::json(201, &answer);
        response.location = Some(id.to_string());
        response.deployment_id = Some(accepted.id.to_string());
        Ok(response)
    }

    fn update_app(
        &mut self,
        id: &PathId,
        body: &Bytes,
        force: bool,
        mode: Mode,
        origin: Origin,
    ) -> Result<Response, Response> {
        let update = AppUpdate::read(&self.object(body)?, false)?;
        let created = self.existing(id).is_err();
        let app = self.updated(id, update, mode)?;
        let mut response = self.order(
            [(id.clone(), Some(app))].into(),
            Versioning::Changed,
            force,
            id,
            Some(origin),
        )?;
        if created {
            response.status = 201;
            response.location = Some(id.to_string());
        }
        Ok(response)
    }

    /// The definition that an update leads to.
    fn updated(&self, id: &PathId, update: AppUpdate, mode: Mode) -> Result<Arc<App>, Response> {
        let setting = self.setting(id);
        let Ok(old) = self.existing(id) else {
            let app = build(update, id.clone(), None, setting)?;
            return if mode.create {
                Ok(Arc::new(app))
            } else {
                Err(Response::no_app(id, None))
            };
        };
        if !mode.partial {
            let mut update = update;
            update.role.get_or_insert_with(|| old.role.clone());
            let mut faults = Faults::default();
            let app = build_into(
                update,
                id.clone(),
                None,
                Some(&old.role),
                setting,
                &mut faults,
            );
            faults.into_result("Object is not valid")?;
            return Ok(Arc::new(app));
        }
        if let Some(version) = &update.version {
            if update.beside_version {
                let mut faults = Faults::default();
                faults.add(
                    "/",
                    "The 'version' field may only be combined with the 'id' field.",
                );
                faults.into_result("Object is not valid")?;
            }
            let version = Timestamp::parse(version)
                .map_err(|error| Response::message(422, error.to_string()))?;
            let stored = self
                .apps
                .get(id)
                .and_then(|state| state.versions.get(&version));
            return stored
                .map(|definition| definition.app.clone())
                .ok_or_else(|| Response::no_app(id, Some(version)));
        }
        Ok(Arc::new(build(update, id.clone(), Some(old), setting)?))
    }

    fn update_apps(&mut self, body: &Bytes, force: bool, mode: Mode) -> Result<Response, Response> {
        let Value::Array(items) = self.json(body)? else {
            return Err(wrong_kind("a JSON array is expected"));
        };
        let changes = self.app_changes(&items, mode)?;
        self.order(changes, Versioning::Changed, force, &PathId::root(), None)
    }

    /// What an array of app updates changes.
    pub(super) fn app_changes(&self, items: &[Value], mode: Mode) -> Result<Changes, Response> {
        let (mut faults, mut updates) = (Faults::default(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let mut inner = Faults::default();
            updates.extend(AppUpdate::read_into(item, false, &mut inner));
            faults.absorb(&format!("({at})"), inner);
        }
        faults.into_result("Invalid JSON")?;
        let mut changes = Changes::new();
        for update in updates {
            let Some(id) = update.id.as_deref().map(PathId::resolve) else {
                return Err(Response::message(
                    422,
                    "requirement failed: App Update must have app id set",
                ));
            };
            let app = self.updated(&id, update, mode)?;
            changes.insert(id, Some(app));
        }
        Ok(changes)
    }

    fn order(
        &mut self,
        changes: Changes,
        versioning: Versioning,
        force: bool,
        id: &PathId,
        origin: Option<Origin>,
    ) -> Result<Response, Response> {
        let accepted = self.deploy(Order {
            changes,
            groups: GroupChanges::new(),
            versioning,
            force,
            group: id.parent(),
            origin,
            trial: None,
            by: By::Operator,
        })?;
        Ok(Response::deployment(200, accepted.version, &accepted.id))
    }

    fn kill_listed(&mut self, body: &Bytes, mode: KillMode) -> Result<Response, Response> {
        let value = self.object(body)?;
        let mut faults = Faults::default();
        let ids = match value.get("ids") {
            Some(Value::Array(ids)) => ids
                .iter()
                .map(|id| id.as_str().unwrap_or_default())
                .collect(),
            Some(Value::Null) | None => {
                faults.add("/ids", "error.path.missing");
                Vec::new()
            }
            Some(_) => {
                faults.add("/ids", "error.expected.jsarray");
                Vec::new()
            }
        };
        faults.into_result("Invalid JSON")?;
        if let Some(id) = ids.iter().find(|id| !id.contains('.')) {
            return Err(Response::message(
                400,
                format!("Invalid task id '{id}'. [no instance id can be read from it]"),
            ));
        }
        let keys: BTreeSet<u64> = ids
            .iter()
            .filter_map(|id| self.by_instance_id.get(instance_id_of(id)).copied())
            .filter(|key| self.app_of(*key).is_some_and(|app| app.pod.is_none()))
            .collect();
        self.kill_tasks(
            &keys.into_iter().collect::<Vec<_>>(),
            mode,
            |tasks| json!({ "tasks": tasks }),
        )
    }

    fn kill_tasks(
        &mut self,
        keys: &[u64],
        mode: KillMode,
        shape: impl Fn(&[TaskView]) -> Value,
    ) -> Result<Response, Response> {
        if mode.scale && mode.wipe {
            return Err(Response::message(
                400,
                "You cannot use scale and wipe at the same time.",
            ));
        }
        if mode.scale {
            return self.kill_and_scale(keys, mode.force);
        }
        let tasks: Vec<TaskView> = keys
            .iter()
            .filter_map(|key| self.instance(*key)?.view())
            .collect();
        for key in keys {
            if mode.wipe {
                self.decommission(*key, Cause::Operator);
            } else {
                self.kill(*key, Cause::Operator);
            }
        }
        Ok(Response::json(200, &shape(&tasks)))
    }

    fn kill_and_scale(&mut self, keys: &[u64], force: bool) -> Result<Response, Response> {
        let sentenced: Vec<(u64, PathId)> = keys
            .iter()
            .filter_map(|key| {
                let instance = self.instance(*key)?;
                let counts = instance.goal == Goal::Running
                    && instance.condition.is_active()
                    && !self.kills.contains_key(key);
                counts.then(|| (*key, instance.spec.id.clone()))
            })
            .collect();
        let mut changes = Changes::new();
        for (_, id) in &sentenced {
            let Some(app) = self.root.get(id) else {
                continue;
            };
            if app.is_daemon() {
                let message = format!(
                    "{id} is a daemon app: it has as many instances as agents that match, and cannot be scaled."
                );
                return Err(Response::message(400, message));
            }
            let entry = changes
                .entry(id.clone())
                .or_insert_with(|| Some(app.clone()));
            if let Some(app) = entry {
                let app = Arc::make_mut(app);
                app.instances = app.instances.saturating_sub(1);
            }
        }
        let response = self.order(changes, Versioning::Changed, force, &PathId::root(), None)?;
        for (key, _) in sentenced {
            self.retire(key, Cause::Operator);
        }
        Ok(response)
    }
}

pub(super) fn wrong_kind(reason: &str) -> Response {
    Response::json(
        400,
        &json!({ "message": "Please specify data in JSON format", "details": reason }),
    )
}
