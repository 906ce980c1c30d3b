//! Pods as `/v2/pods` prints them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{AppView, View};
use crate::{
    instance::{PodInstanceView, TaskFailure, instance_id_of},
    path::PathId,
    response::Response,
};

/// A pod with its instances.
#[derive(Debug)]
pub(super) struct PodParts {
    pub(super) pod: Arc<AppView>,
    pub(super) instances: Vec<Arc<PodInstanceView>>,
}

impl View {
    /// The pods in order of their ids.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<AppView>> {
        let all = self.apps.values().filter_map(|entry| entry.app.as_ref());
        all.filter(|app| app.definition.app.pod.is_some())
    }

    pub(super) fn pod(&self, id: &str) -> Result<&Arc<AppView>, Response> {
        let id = PathId::resolve(id);
        let found = self.apps.get(&id).and_then(|entry| entry.app.as_ref());
        found
            .filter(|app| app.definition.app.pod.is_some())
            .ok_or_else(|| no_pod(&id))
    }

    pub(super) fn pod_parts(&self, pod: &Arc<AppView>) -> PodParts {
        let entry = self.apps.get(&pod.definition.app.id);
        PodParts {
            pod: pod.clone(),
            instances: entry
                .into_iter()
                .flat_map(|entry| entry.pods.values().cloned())
                .collect(),
        }
    }
}

/// 404: no such pod.
pub(crate) fn no_pod(id: &PathId) -> Response {
    Response::message(404, format!("Pod '{id}' does not exist"))
}

impl PodParts {
    /// Its status with that of its instances.
    pub(super) fn status(&self) -> Value {
        let app = &self.pod.definition.app;
        let stable = self.instances.iter().filter(|one| one.is_stable()).count();
        let status = if stable >= app.instances as usize {
            "STABLE"
        } else {
            "DEGRADED"
        };
        let changes = self.instances.iter().map(|one| one.since());
        let since = changes.max().unwrap_or(app.version).max(app.version);
        let history = self.pod.last_task_failure.iter();
        json!({
            "id": app.id,
            "spec": crate::definition::pod::json(app),
            "status": status,
            "statusSince": since,
            "instances": self.instances.iter().map(|one| one.json()).collect::<Vec<_>>(),
            "terminationHistory": history.map(|one| termination(one)).collect::<Vec<_>>(),
            "lastUpdated": since,
            "lastChanged": since,
        })
    }
}

/// The last failure as an entry of the history.
fn termination(failure: &TaskFailure) -> Value {
    json!({
        "instanceID": instance_id_of(&failure.task_id),
        "startedAt": failure.started_at.unwrap_or(failure.timestamp),
        "terminatedAt": failure.timestamp,
        "message": failure.message,
        "containers": [{
            "containerId": failure.task_id,
            "lastKnownState": failure.state,
            "termination": { "message": failure.message },
        }],
    })
}
