//! Calls of `/v2/pods`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{
    Marathon,
    deploy::{By, Order, Versioning},
};
use crate::{
    definition::{
        App,
        pod::{PodUpdate, build, json},
    },
    ended::Cause,
    event::EventKind,
    group::GroupChanges,
    input::Origin,
    path::PathId,
    response::Response,
    view::no_pod,
};

impl Marathon {
    pub(super) fn existing_pod(&self, id: &PathId) -> Result<&Arc<App>, Response> {
        let found = self.root.get(id).filter(|app| app.pod.is_some());
        found.ok_or_else(|| no_pod(id))
    }

    pub(super) fn create_pod(
        &mut self,
        body: &Bytes,
        force: bool,
        origin: Origin,
    ) -> Result<Response, Response> {
        let update = PodUpdate::read(&self.object(body)?)?;
        let id = PathId::resolve(&update.id);
        let app = build(update, id.clone(), None, self.setting(&id))?;
        if self.existing_pod(&id).is_ok() {
            let message = format!("A pod with id [{id}] already exists.");
            return Err(Response::message(409, message));
        }
        let mut response = self.deploy_pod(app, force, 201)?;
        response.location = Some(id.to_string());
        self.event(EventKind::PodCreated {
            client_ip: origin.client_ip,
            uri: origin.uri,
        });
        Ok(response)
    }

    pub(super) fn update_pod(
        &mut self,
        id: &PathId,
        body: &Bytes,
        force: bool,
        origin: Origin,
    ) -> Result<Response, Response> {
        let update = PodUpdate::read(&self.object(body)?)?;
        let named = PathId::resolve(&update.id);
        if named != *id {
            let message = format!("'{id}' does not match definition's id ('{named}')");
            return Err(Response::message(400, message));
        }
        let old = self.existing_pod(id).ok().cloned();
        let app = build(update, id.clone(), old.as_deref(), self.setting(id))?;
        let response = self.deploy_pod(app, force, 200)?;
        let (client_ip, uri) = (origin.client_ip, origin.uri);
        self.event(match old {
            None => EventKind::PodCreated { client_ip, uri },
            Some(_) => EventKind::PodUpdated { client_ip, uri },
        });
        Ok(response)
    }

    pub(super) fn delete_pod(
        &mut self,
        id: &PathId,
        force: bool,
        origin: Origin,
    ) -> Result<Response, Response> {
        self.existing_pod(id)?;
        let accepted = self.deploy(pod_order(id, None, force))?;
        self.event(EventKind::PodDeleted {
            client_ip: origin.client_ip,
            uri: origin.uri,
        });
        let mut response = Response::empty(202);
        response.location = Some(accepted.id.to_string());
        response.deployment_id = Some(accepted.id.to_string());
        Ok(response)
    }

    fn deploy_pod(&mut self, app: App, force: bool, status: u16) -> Result<Response, Response> {
        let id = app.id.clone();
        let accepted = self.deploy(pod_order(&id, Some(Arc::new(app)), force))?;
        let now = self.root.get(&id).and_then(|app| json(app));
        let mut response = Response::json(status, &now.unwrap_or_default());
        response.deployment_id = Some(accepted.id.to_string());
        Ok(response)
    }

    /// Kills instances of a pod, one or those that are listed.
    pub(super) fn kill_pod_instances(
        &mut self,
        id: &PathId,
        instances: &[String],
        wipe: bool,
        one: bool,
    ) -> Result<Response, Response> {
        self.existing_pod(id)?;
        let mut keys = Vec::new();
        for instance in instances {
            let key = self.by_instance_id.get(instance.as_str()).copied();
            let key = key.filter(|key| self.app_of(*key).is_some_and(|app| app.id == *id));
            match key {
                Some(key) => keys.push(key),
                None if one => {
                    let message = format!("Task '{instance}' does not exist");
                    return Err(Response::message(404, message));
                }
                None => {}
            }
        }
        let killed = keys.iter().filter_map(|key| self.instance(*key));
        let killed: Vec<Value> = killed.map(|instance| instance.killed_view()).collect();
        for key in keys {
            if wipe {
                self.decommission(key, Cause::Operator);
            } else {
                self.kill(key, Cause::Operator);
            }
        }
        Ok(match killed.first().filter(|_| one) {
            Some(instance) => Response::json(200, instance),
            None => Response::json(200, &killed),
        })
    }

    /// The instances that a body lists.
    pub(super) fn listed_instances(&self, body: &Bytes) -> Result<Vec<String>, Response> {
        let Value::Array(items) = self.json(body)? else {
            return Err(super::calls::wrong_kind("a JSON array is expected"));
        };
        let mut ids = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let id = item.as_str().unwrap_or_default();
            let last = id
                .rsplit_once('.')
                .map(|(before, last)| (!before.is_empty(), last));
            let named = last.is_some_and(|(before, last)| {
                let mut uuid = ["instance-", "marathon-"]
                    .iter()
                    .filter_map(|one| last.strip_prefix(one));
                before && uuid.next().is_some_and(|uuid| !uuid.is_empty())
            });
            if !named {
                let mut faults = crate::definition::Faults::default();
                let message =
                    r"must fully match regular expression '^(.+)\.(instance-|marathon-)([^\.]+)$'";
                faults.add(format!("/({at})"), message);
                faults.into_result("Object is not valid")?;
            }
            ids.push(id.to_owned());
        }
        Ok(ids)
    }
}

fn pod_order(id: &PathId, app: Option<Arc<App>>, force: bool) -> Order {
    Order {
        changes: [(id.clone(), app)].into(),
        groups: GroupChanges::new(),
        versioning: Versioning::Changed,
        force,
        group: id.parent(),
        origin: None,
        trial: None,
        by: By::Operator,
    }
}
