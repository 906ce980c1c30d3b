//! `/v3/plan` and `/v3/apply`: what a document would change, and the same change made. Both read it in one way, so that a plan says what
//! will be done.
//!
//! A document is an app, a pod (it has `containers`), an array of such, or a group: an object with `apps`, `groups`, `scaleBy` or `enforceRole`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Marathon,
    calls::Mode,
    deploy::{By, Judged, Order, Versioning},
};
use crate::{
    definition::{
        App, Faults,
        pod::{PodUpdate, build, json as pod_json},
    },
    deployment::{ActionKind, Trial, capacity},
    group::GroupChanges,
    path::PathId,
    response::Response,
};

/// Keys of a definition that every change changes.
const ALWAYS_NEW: [&str; 2] = ["version", "versionInfo"];

impl Marathon {
    /// What a document would change: the apps with the differences of their definitions, groups, steps, and deployments in its way.
    pub(super) fn plan(
        &mut self,
        body: &Bytes,
        partial: bool,
        trial: Option<Trial>,
    ) -> Result<Response, Response> {
        let mut order = self.document(body, partial)?;
        (order.force, order.trial) = (true, trial);
        let version = self.next_version();
        let Judged {
            changes,
            groups,
            deployment,
        } = self.judge(&order, version)?;
        let conflicts: Vec<Value> = deployment
            .affected()
            .into_iter()
            .filter_map(|app| {
                let lock = self.apps.get(&app)?.lock.clone()?;
                if self.is_autoscaled(&lock) {
                    return None;
                }
                Some(json!({ "app": app, "deployment": lock }))
            })
            .collect();
        let apps: Vec<Value> = changes
            .iter()
            .map(|(id, new)| {
                let mut foreseen = self.foreseen(id, new.as_ref());
                if let (Some(trial), Some(new)) = (trial, new)
                    && foreseen["change"] == "restart"
                {
                    let tried = json!({ "kind": trial.kind(), "instances": trial.count(new.instances), "promoteAfterSeconds": trial.promote_after_seconds });
                    foreseen["trial"] = tried;
                }
                foreseen
            })
            .collect();
        let groups: Vec<Value> = groups
            .iter()
            .map(|(id, new)| {
                let change = match (self.root.group(id), new) {
                    (None, _) => "create",
                    (_, None) => "destroy",
                    _ => "update",
                };
                json!({ "id": id, "change": change })
            })
            .collect();
        Ok(Response::json(
            200,
            &json!({
                "changes": !apps.is_empty() || !groups.is_empty(),
                "apps": apps,
                "groups": groups,
                "steps": deployment.steps,
                "conflicts": conflicts,
            }),
        ))
    }

    /// Makes the change of a document; after `deadline_seconds`, if it is given and the deployment is not done, it is rolled back.
    pub(super) fn apply(
        &mut self,
        body: &Bytes,
        mode: Mode,
        force: bool,
        deadline_seconds: Option<u64>,
        trial: Option<Trial>,
    ) -> Result<Response, Response> {
        let mut order = self.document(body, mode.partial)?;
        (order.force, order.trial) = (force, trial);
        let accepted = self.deploy(order)?;
        if let Some(seconds) = deadline_seconds {
            self.set_deadline(&accepted.id, Some(seconds));
        }
        Ok(Response::deployment(200, accepted.version, &accepted.id))
    }

    fn document(&self, body: &Bytes, partial: bool) -> Result<Order, Response> {
        let mode = Mode {
            partial,
            create: true,
        };
        let value = self.json(body)?;
        let group = ["apps", "groups", "scaleBy", "enforceRole"];
        let changes = match &value {
            Value::Object(object) if group.iter().any(|key| object.contains_key(*key)) => {
                no_pods_within(&value, "")?;
                let update = self.group_update(body)?;
                let id = PathId::resolve(update.id.as_deref().unwrap_or_default());
                return self.group_order(&id, update, false);
            }
            Value::Array(items) if items.iter().any(is_pod) => {
                let (pods, apps): (Vec<_>, Vec<_>) = items.iter().cloned().partition(is_pod);
                let mut changes = self.app_changes(&apps, mode)?;
                for pod in &pods {
                    let (id, pod) = self.pod_change(pod)?;
                    if changes.insert(id.clone(), Some(pod)).is_some() {
                        let message = format!("{id} is there twice in the document");
                        return Err(Response::message(422, message));
                    }
                }
                changes
            }
            Value::Array(items) => self.app_changes(items, mode)?,
            pod if is_pod(pod) => {
                let (id, pod) = self.pod_change(pod)?;
                [(id, Some(pod))].into()
            }
            item => self.app_changes(std::slice::from_ref(item), mode)?,
        };
        Ok(Order {
            changes,
            groups: GroupChanges::new(),
            versioning: Versioning::Changed,
            force: false,
            group: PathId::root(),
            origin: None,
            trial: None,
            by: By::Operator,
        })
    }

    /// A pod of a document, which replaces the one that is there.
    fn pod_change(&self, value: &Value) -> Result<(PathId, Arc<App>), Response> {
        let update = PodUpdate::read(value)?;
        let id = PathId::resolve(&update.id);
        let old = self.existing_pod(&id).ok().cloned();
        let app = build(update, id.clone(), old.as_deref(), self.setting(&id))?;
        Ok((id, Arc::new(app)))
    }

    fn foreseen(&self, id: &PathId, new: Option<&Arc<App>>) -> Value {
        let old = self.root.get(id);
        let state = self.apps.get(id);
        let there = state.map_or(0, |state| state.instances.len());
        let mut answer = Map::new();
        answer.insert("id".to_owned(), json!(id));
        if new.is_some_and(|new| new.is_daemon()) {
            answer.insert("daemon".to_owned(), json!(true));
        }
        if new.or(old).is_some_and(|app| app.pod.is_some()) {
            answer.insert("pod".to_owned(), json!(true));
        }
        let rest = match (old, new) {
            (_, None) => json!({ "change": "destroy", "kills": there }),
            (None, Some(new)) => json!({
                "change": "create",
                "launches": if new.is_daemon() { None } else { Some(new.instances) },
                "definition": shown(new),
            }),
            (Some(old), Some(new)) => {
                let mut rest = match crate::deployment::change(Some(old), new) {
                    Some(ActionKind::Restart) => {
                        let tally = state.map(|state| state.tally).unwrap_or_default();
                        let seats = state.and_then(|state| state.seats.as_ref());
                        // Those of a daemon app are counted in agents.
                        let (target, ready) = match state {
                            Some(state) if new.is_daemon() => self.agents_of(state),
                            _ => (new.instances as usize, tally.ready),
                        };
                        let bounds = capacity(
                            target,
                            ready,
                            tally.wanted,
                            new.upgrade_strategy,
                            new.is_replaced_in_place(),
                        );
                        json!({
                            "change": "restart",
                            "launches": if new.is_daemon() { seats.map(|_| target) } else { Some(target) },
                            "kills": there,
                            "minimumHealthy": bounds.min_healthy,
                            "maximumRunning": bounds.max_running,
                        })
                    }
                    Some(_) if new.is_daemon() => json!({
                        "change": "scale",
                        "launches": if new.instances > 0 { None } else { Some(0) },
                        "kills": if new.instances > 0 { 0 } else { there },
                    }),
                    Some(_) => json!({
                        "change": "scale",
                        "launches": new.instances.saturating_sub(old.instances),
                        "kills": old.instances.saturating_sub(new.instances),
                    }),
                    None => json!({ "change": "update" }),
                };
                rest["instances"] = json!({ "old": old.instances, "new": new.instances });
                rest["diff"] = Value::Array(differences(old, new));
                rest
            }
        };
        if let Value::Object(rest) = rest {
            answer.extend(rest);
        }
        Value::Object(answer)
    }
}

/// Where two definitions differ: `{"path": "/env/A", "old": …, "new": …}`, without `old` where something was added, without `new` where it
/// was removed.
fn differences(old: &App, new: &App) -> Vec<Value> {
    let known = |app: &App| {
        let mut value = shown(app);
        if let Value::Object(object) = &mut value {
            object.retain(|key, _| !ALWAYS_NEW.contains(&key.as_str()));
        }
        value
    };
    let mut found = Vec::new();
    compare("", Some(&known(old)), Some(&known(new)), &mut found);
    found
}

/// A definition as its owner knows it: of an app, or of a pod.
fn shown(app: &App) -> Value {
    pod_json(app).unwrap_or_else(|| serde_json::to_value(app).unwrap_or_default())
}

/// Of all documents only pods have containers.
fn is_pod(document: &Value) -> bool {
    document["containers"].is_array()
}

/// Pods cannot be written through groups; what would be passed over is refused.
fn no_pods_within(group: &Value, path: &str) -> Result<(), Response> {
    if group["pods"]
        .as_array()
        .is_some_and(|pods| !pods.is_empty())
    {
        let message = "pods are not written through groups: send each as a document of its own, or all in an array";
        let mut faults = Faults::default();
        faults.add(format!("{path}/pods"), message);
        return faults.into_result("Object is not valid");
    }
    for (at, below) in group["groups"].as_array().into_iter().flatten().enumerate() {
        no_pods_within(below, &format!("{path}/groups({at})"))?;
    }
    Ok(())
}

/// Definitions are nested as deep as bodies may be, which the reader of JSON bounds.
fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Value>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (key, value) in old {
                compare(&inner(path, key), Some(value), new.get(key), found);
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                compare(&inner(path, key), None, Some(value), found);
            }
        }
        // What has no members is left out of a definition.
        (None, Some(Value::Object(new))) if !new.is_empty() => {
            for (key, value) in new {
                compare(&inner(path, key), None, Some(value), found);
            }
        }
        (Some(Value::Object(old)), None) if !old.is_empty() => {
            for (key, value) in old {
                compare(&inner(path, key), Some(value), None, found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&inner(path, &at.to_string()), Some(old), Some(new), found);
            }
        }
        (old, new) => {
            let mut difference = Map::new();
            difference.insert("path".to_owned(), json!(path));
            difference.extend(old.map(|old| ("old".to_owned(), old.clone())));
            difference.extend(new.map(|new| ("new".to_owned(), new.clone())));
            found.push(Value::Object(difference));
        }
    }
}

/// As in a JSON pointer (RFC 6901).
fn inner(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_where_they_are() {
        for (old, new, want) in [
            (json!({"a": 1}), json!({"a": 1}), json!([])),
            (
                json!({"a": 1, "gone": [1]}),
                json!({"a": 2, "new": null}),
                json!([
                    { "path": "/a", "old": 1, "new": 2 },
                    { "path": "/gone", "old": [1] },
                    { "path": "/new", "new": null },
                ]),
            ),
            (
                json!({"list": [{"x": 1}, 2], "cut": [1, 2]}),
                json!({"list": [{"x": 3}, 2], "cut": [1]}),
                json!([
                    { "path": "/list/0/x", "old": 1, "new": 3 },
                    { "path": "/cut", "old": [1, 2], "new": [1] },
                ]),
            ),
            (
                json!({"a/b": {"c~d": 1}}),
                json!({"a/b": {"c~d": 2}}),
                json!([{ "path": "/a~1b/c~0d", "old": 1, "new": 2 }]),
            ),
        ] {
            let mut found = Vec::new();
            compare("", Some(&old), Some(&new), &mut found);
            assert_eq!(Value::Array(found), want);
        }
    }
}
