//! Readiness checks: a task that is launched while a deployment holds its app does not count before it has said that it is ready.
//!
//! Whether a task has to say so is decided in the change that makes it run, and stored with it: a new leader goes on asking. It is asked
//! until it was ready once, also if its deployment is cancelled meanwhile, and never again.

use std::sync::Arc;

use super::{Asked, Marathon};
use crate::{
    health::readiness_probe,
    input::ReadinessAnswer,
    instance::Condition,
    output::{CheckId, Output},
};

impl Marathon {
    /// Whether a task of this instance that begins to run now has to pass a check first.
    pub(super) fn must_be_ready(&self, key: u64) -> bool {
        self.instance(key).is_some_and(|instance| {
            let app = self.apps.get(&instance.spec.id);
            !instance.spec.readiness_checks.is_empty()
                && app.is_some_and(|state| state.lock.is_some() && state.fits(&instance.spec))
        })
    }

    /// Begins to ask a task that runs and is not ready, if that has not begun.
    pub(super) fn start_readiness(&mut self, key: u64) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if instance.readiness.is_some() || !instance.is_unready() {
            return;
        }
        let (Some(agent), Some(task)) = (&instance.agent, &instance.task) else {
            return;
        };
        let id = CheckId(self.next_check);
        let check = instance.spec.readiness_checks.first();
        if let Some(probe) =
            check.and_then(|check| readiness_probe(id, check, &instance.spec, &agent.host, task))
        {
            self.next_check += 1;
            self.checks.insert(id, (key, Asked::Readiness));
            instance.readiness = Some(id);
            self.outbox.push(Output::StartHealthCheck(Arc::new(probe)));
        }
    }

    /// Ends to ask a task; what it has answered last is forgotten with `forget`.
    pub(super) fn stop_readiness(&mut self, key: u64, forget: bool) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if forget {
            instance.last_answer = None;
        }
        if let Some(id) = instance.readiness.take() {
            self.checks.remove(&id);
            self.outbox.push(Output::StopHealthCheck(id));
        }
    }

    pub(super) fn on_readiness(&mut self, check: CheckId, answer: ReadinessAnswer) {
        let Some((key, Asked::Readiness)) = self.checks.get(&check).copied() else {
            return;
        };
        let Some(instance) = self.instance(key) else {
            return;
        };
        let Some(asked) = instance.spec.readiness_checks.first() else {
            return;
        };
        let runs = instance.condition == Condition::Running;
        let ready = runs && asked.http_status_codes_for_ready.contains(&answer.status);
        let kept = asked.preserve_last_response.then(|| Arc::new(answer));
        self.change(key, |instance| {
            instance.last_answer = kept;
            if let Some(task) = instance.task.as_mut().filter(|_| ready) {
                task.ready = Some(true);
            }
        });
        if ready {
            self.dirty.unstored.insert(key);
            self.stop_readiness(key, false);
        }
    }
}
