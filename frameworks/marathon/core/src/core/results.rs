//! Health checks of running instances: which probes run, and what their results lead to.

use std::sync::Arc;

use super::{Asked, Marathon};
use crate::{
    ended::Cause,
    event::EventKind,
    health::{aggregate, probe},
    input::ProbeOutcome,
    instance::{Condition, Goal},
    output::{CheckId, Output},
};

impl Marathon {
    /// Begins the checks of an instance that runs, if they have not begun.
    pub(super) fn start_checks(&mut self, key: u64) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if !instance.checks.is_empty() || instance.spec.health_checks.is_empty() {
            return;
        }
        let (Some(agent), Some(task)) = (&instance.agent, &instance.task) else {
            return;
        };
        instance
            .checks
            .resize_with(instance.spec.health_checks.len(), Default::default);
        let mut probes = Vec::new();
        for (at, check) in instance.spec.health_checks.iter().enumerate() {
            let id = CheckId(self.next_check);
            if let Some(probe) = probe(id, check, &instance.spec, &agent.host, task) {
                self.next_check += 1;
                self.checks.insert(id, (key, Asked::Health(at)));
                instance.checks[at].probe = Some(id);
                probes.push(probe);
            }
        }
        for probe in probes {
            self.outbox.push(Output::StartHealthCheck(Arc::new(probe)));
        }
    }

    /// Ends the checks of an instance and forgets their results.
    pub(super) fn stop_checks(&mut self, key: u64) {
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        if instance.checks.is_empty() {
            return;
        }
        for id in instance
            .checks
            .iter()
            .filter_map(|check| check.probe)
            .collect::<Vec<_>>()
        {
            self.checks.remove(&id);
            self.outbox.push(Output::StopHealthCheck(id));
        }
        self.change(key, |instance| {
            instance.checks.clear();
            instance.healthy = None;
        });
    }

    pub(super) fn on_health_result(&mut self, check: CheckId, outcome: ProbeOutcome) {
        if let Some((key, Asked::Health(at))) = self.checks.get(&check).copied()
            && self
                .instance(key)
                .is_some_and(|instance| instance.condition == Condition::Running)
        {
            self.apply_result(key, at, outcome);
        }
    }

    /// Takes the result of one check of an instance in.
    pub(super) fn apply_result(&mut self, key: u64, at: usize, outcome: ProbeOutcome) {
        let (Some(spec), now) = (self.app_of(key), self.stamp()) else {
            return;
        };
        let Some(check) = spec.health_checks.get(at) else {
            return;
        };
        let cause = if let ProbeOutcome::Unhealthy(cause) = &outcome {
            cause.clone()
        } else {
            String::new()
        };
        let mut consequence = None;
        self.change(key, |instance| {
            let since = instance.active_since.unwrap_or(instance.since);
            if let Some(state) = instance.checks.get_mut(at) {
                consequence = match outcome {
                    ProbeOutcome::Ignored => None,
                    ProbeOutcome::Healthy => Some(state.success(now)),
                    ProbeOutcome::Unhealthy(cause) => Some(state.failure(check, cause, since, now)),
                };
                instance.healthy = aggregate(&instance.checks);
            }
        });
        let (Some(consequence), Some(instance)) = (consequence, self.instances.get(&key)) else {
            return;
        };
        let (instance_id, version, goal) = (instance.id.clone(), spec.version, instance.goal);
        let task = instance
            .task
            .as_ref()
            .map(|task| task.id.to_string())
            .unwrap_or_default();
        let agent = instance.agent.clone();
        if consequence.failed {
            let (app_id, health_check) = (spec.id.clone(), check.clone());
            self.event(EventKind::FailedHealthCheck {
                app_id,
                health_check,
                task_id: instance_id.clone(),
            });
        }
        if consequence.flipped {
            let alive = !consequence.failed;
            let (app_id, instance_id) = (spec.id.clone(), instance_id.clone());
            self.event(EventKind::HealthStatusChanged {
                app_id,
                instance_id,
                version,
                alive,
            });
        }
        if consequence.kill && goal == Goal::Running {
            self.event(EventKind::UnhealthyInstanceKill {
                app_id: spec.id.clone(),
                task_id: task,
                instance_id,
                version,
                reason: cause.clone(),
                host: agent
                    .as_ref()
                    .map_or_else(|| "".into(), |agent| agent.host.clone()),
                slave_id: agent.map(|agent| agent.id.clone()),
            });
            let message = format!("Task was killed since health check failed. Reason: {cause}");
            self.tell_trial(key, &message);
            self.record_failure(key, "TASK_KILLED".to_owned(), message);
            self.kill(key, Cause::Unhealthy);
        }
    }
}
