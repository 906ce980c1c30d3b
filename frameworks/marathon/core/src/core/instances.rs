//! `/v3/apps/{id}/instances`: every instance of an app or pod, also those that wait, with what `/v2` has no place for.

use serde_json::{Value, json};

use super::Marathon;
use crate::{path::PathId, response::Response};

impl Marathon {
    pub(super) fn list_instances(&self, id: &PathId) -> Response {
        let (Some(_), Some(state)) = (self.root.get(id), self.apps.get(id)) else {
            return Response::no_app(id, None);
        };
        let instances = state.instances.iter();
        let mut instances: Vec<_> = instances.filter_map(|key| self.instance(*key)).collect();
        instances.sort_by_key(|one| (one.ordinal, one.key));
        let instances: Vec<Value> = instances
            .into_iter()
            .map(|one| {
                let agent = one.agent.as_ref();
                json!({
                    "id": one.id,
                    "ordinal": one.ordinal,
                    "goal": one.goal,
                    "condition": one.condition.name(),
                    "since": one.since,
                    "ready": one.is_ready(),
                    "version": one.spec.version,
                    "current": state.fits(&one.spec),
                    "host": agent.map(|agent| &agent.host),
                    "agentId": agent.map(|agent| &agent.id),
                    "taskId": one.task.as_ref().map(|task| &task.id),
                    "ports": one.task.as_ref().map_or(&[][..], |task| &task.ports),
                })
            })
            .collect();
        // Which version `current` is of: who reads the app and its instances one after the other must not take one for the other.
        Response::json(
            200,
            &json!({ "id": id, "version": state.app().version, "instances": instances }),
        )
    }
}
