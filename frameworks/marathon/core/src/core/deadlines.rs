//! `/v3/deployments`: deployments with why each does not go on, and deadlines after which they roll back by themselves.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tepui_model::Time;

use super::{Marathon, Timer};
use crate::{
    deployment::{Action, ActionKind},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
};

impl Marathon {
    /// Every deployment with the apps that it still waits for.
    pub(super) fn deployments(&self) -> Response {
        let all: Vec<Value> = self
            .deployments
            .values()
            .map(|deployment| {
                let waits: Vec<Value> = deployment
                    .open
                    .iter()
                    .map(|(app, action)| {
                        json!({ "app": app, "action": self.action_name(app, *action), "reasons": self.reasons(app) })
                    })
                    .collect();
                json!({
                    "id": deployment.id,
                    "version": deployment.version,
                    "currentStep": deployment.current,
                    "totalSteps": deployment.steps.len(),
                    "deadline": deployment.deadline,
                    "trial": self.trial_view(deployment),
                    "waitsFor": waits,
                })
            })
            .collect();
        Response::json(200, &json!({ "deployments": all }))
    }

    /// How an action on an app, or on a pod, is called.
    pub(super) fn action_name(&self, app: &PathId, action: ActionKind) -> Value {
        let pod = self
            .apps
            .get(app)
            .is_some_and(|state| state.app().pod.is_some());
        let named = Action {
            action,
            app: app.clone(),
            pod,
        };
        json!(named)["action"].take()
    }

    /// `PUT /v3/deployments/{id}/deadline`: counted from now; none takes it away.
    pub(super) fn change_deadline(&mut self, id: &str, seconds: Option<u64>) -> Response {
        let Some((id, _)) = self.deployments.get_key_value(id) else {
            return Response::message(404, format!("DeploymentPlan {id} does not exist"));
        };
        let id = id.clone();
        self.set_deadline(&id, seconds);
        let deadline = self.deployments.get(&id).and_then(|one| one.deadline);
        Response::json(200, &json!({ "id": id, "deadline": deadline }))
    }

    /// Sets the deadline of a deployment that is under way; one that is over needs none.
    pub(super) fn set_deadline(&mut self, id: &Arc<str>, seconds: Option<u64>) {
        let now = self.now;
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        deployment.deadline = seconds.map(|seconds| {
            Timestamp::from_time(now + Duration::from_secs(seconds.min(u64::from(u32::MAX))))
        });
        self.store_deployment(id);
        self.await_deadline(id);
    }

    /// Sets the timer of a deployment's deadline, if it has one.
    pub(super) fn await_deadline(&mut self, id: &Arc<str>) {
        let deadline = self.deployments.get(id).and_then(|one| one.deadline);
        if let Some(deadline) = deadline {
            let at = Time::from_millis(deadline.millis());
            self.timers.insert((at, Timer::Deadline(id.clone())));
        }
    }

    /// Rolls a deployment back whose deadline has passed.
    pub(super) fn deadline_over(&mut self, id: &Arc<str>) {
        let passed = self
            .deployments
            .get(id)
            .and_then(|deployment| deployment.deadline)
            .is_some_and(|deadline| Time::from_millis(deadline.millis()) <= self.now);
        if !passed {
            // It is over, or its deadline was moved.
            return;
        }
        let answer = self.cancel_because(id, false, "Its deadline has passed");
        if answer.status >= 300 {
            // Nothing to go back to that holds today (the role of a group was changed since, say): it ends where it is.
            self.cancel_because(id, true, "Its deadline has passed; it cannot be undone");
        }
    }
}
