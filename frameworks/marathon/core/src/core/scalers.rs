//! Autoscaling of apps: what is measured for which, and what is done about it.
//!
//! The decision itself is `policy::decide`. A change is a deployment like any other that scales, made only while no other deployment than the autoscaler's own
//! holds the app.
//! When the last change was is read from the definition, so it is known to every leader; it counts whoever made it.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use tepui_model::Time;

use super::{
    Marathon,
    deploy::{By, Order, Versioning},
};
use crate::{
    definition::App,
    group::GroupChanges,
    input::Measured,
    output::{CheckId, Measure, Output},
    path::PathId,
    policy::{Metric, Reading, Verdict, decide},
    timestamp::Timestamp,
};

/// What is measured for one app.
#[derive(Debug)]
pub(super) struct Scaler {
    check: CheckId,
    last: Option<Last>,
}

/// What the last measurement led to.
#[derive(Debug)]
struct Last {
    at: Timestamp,
    /// None: it could not be measured.
    verdict: Result<Verdict, String>,
    /// Why nothing was done about it, though something was wanted.
    held: Option<String>,
}

impl Marathon {
    /// Measures what a policy wants to have measured, and nothing else.
    pub(super) fn follow_policy(&mut self, id: &PathId) {
        if let Some(old) = self.scalers.remove(id) {
            self.measures.remove(&old.check);
            self.outbox.push(Output::StopMeasure(old.check));
        }
        let policy = self.policies.get(id);
        let Some(settings) = policy.and_then(|policy| policy.autoscaling.as_ref()) else {
            return;
        };
        let check = CheckId(self.next_check);
        self.next_check += 1;
        let measure = Measure {
            check,
            app: id.clone(),
            metric: settings.metric.clone(),
            interval_ms: u64::from(settings.interval_seconds) * 1000,
        };
        self.measures.insert(check, id.clone());
        let last = None;
        self.scalers.insert(id.clone(), Scaler { check, last });
        self.outbox.push(Output::StartMeasure(Arc::new(measure)));
    }

    pub(super) fn on_measured(&mut self, check: CheckId, result: &Result<Measured, String>) {
        let Some(id) = self.measures.get(&check).cloned() else {
            return;
        };
        let Some(app) = self.root.get(&id).cloned() else {
            return;
        };
        let policy = self.policies.get(&id).cloned();
        let Some(settings) = policy
            .as_ref()
            .and_then(|policy| policy.autoscaling.as_ref())
        else {
            return;
        };
        let (reading, failed) = match result {
            Ok(measured) => (self.reading(&app, &settings.metric, measured), None),
            Err(why) => (Reading::None, Some(why.clone())),
        };
        let quiet = self.now.since(last_change(&app));
        let verdict = decide(settings, app.instances, reading, quiet);
        let held = self.obey(&id, &app, &verdict);
        let at = self.stamp();
        if let Some(scaler) = self.scalers.get_mut(&id) {
            scaler.last = Some(Last {
                at,
                verdict: failed.map_or(Ok(verdict), Err),
                held,
            });
        }
    }

    /// Scales an app as a verdict says; why not, if it cannot be done now.
    fn obey(&mut self, id: &PathId, app: &Arc<App>, verdict: &Verdict) -> Option<String> {
        if verdict.wants == app.instances {
            return None;
        }
        if !verdict.wait.is_zero() {
            let until = Timestamp::from_time(self.now + verdict.wait);
            return Some(format!("cool-down until {until}"));
        }
        if app.is_daemon() {
            return Some("a daemon app has as many instances as agents that match".to_owned());
        }
        if verdict.wants < app.instances
            && let Some(why) = self.budget_forbids(id)
        {
            return Some(why);
        }
        let lock = self.apps.get(id).and_then(|state| state.lock.clone());
        if let Some(lock) = lock.filter(|lock| !self.is_autoscaled(lock)) {
            return Some(format!("deployment {lock} holds the app"));
        }
        let mut scaled = App::clone(app);
        scaled.instances = verdict.wants;
        let order = Order {
            changes: [(id.clone(), Some(Arc::new(scaled)))].into(),
            groups: GroupChanges::new(),
            versioning: Versioning::Changed,
            force: false,
            group: id.parent(),
            origin: None,
            trial: None,
            by: By::Autoscaler,
        };
        let refusal = self.deploy(order).err()?;
        let reason = String::from_utf8_lossy(&refusal.body).into_owned();
        Some(format!("refused: {reason}"))
    }

    /// Makes a reading of what was measured: only instances count that are ready and of the current configuration.
    fn reading(&self, app: &App, metric: &Metric, measured: &Measured) -> Reading {
        let used = match measured {
            Measured::Value(value) => return Reading::Total(*value),
            Measured::Usage(used) => used,
        };
        let used: HashMap<&str, _> = used.iter().map(|one| (one.task_id.as_str(), one)).collect();
        let Some(state) = self.apps.get(&app.id) else {
            return Reading::None;
        };
        let (mut sum, mut count) = (0.0, 0);
        for instance in state.instances.iter().filter_map(|key| self.instance(*key)) {
            if !instance.is_ready() || !state.fits(&instance.spec) {
                continue;
            }
            let task = instance.task.as_ref();
            let Some(usage) = task.and_then(|task| used.get(&*task.id)) else {
                continue;
            };
            let share = match metric {
                Metric::Cpu => usage.cpus / app.cpus,
                Metric::Memory => usage.mem_mib / app.mem,
                Metric::Prometheus { .. } => continue,
            };
            sum += share * 100.0;
            count += 1;
        }
        Reading::Percent {
            sum,
            measured: count,
        }
    }

    /// What the autoscaler of an app wants that is not done, or why it knows nothing.
    pub(super) fn reason_of_scaler(&self, id: &PathId) -> Option<String> {
        let last = self.scalers.get(id)?.last.as_ref()?;
        match (&last.verdict, &last.held) {
            (Err(why), _) => Some(format!("autoscaler cannot measure: {why}")),
            (Ok(verdict), Some(held)) => Some(format!(
                "autoscaler wants {}: {}; {held}",
                verdict.wants, verdict.why
            )),
            (Ok(_), None) => None,
        }
    }

    /// What the autoscaler of an app measured last and wants.
    pub(super) fn scaler_view(&self, id: &PathId) -> Value {
        let Some(scaler) = self.scalers.get(id) else {
            return Value::Null;
        };
        let Some(last) = &scaler.last else {
            return json!({ "told": "nothing is measured yet" });
        };
        match &last.verdict {
            Err(why) => json!({ "at": last.at, "told": format!("cannot measure: {why}") }),
            Ok(verdict) => json!({
                "at": last.at,
                "wants": verdict.wants,
                "why": verdict.why,
                "held": last.held,
                "told": format!("wants {}: {}", verdict.wants, verdict.why),
            }),
        }
    }
}

/// When the number of instances, or what they are, was changed last.
fn last_change(app: &App) -> Time {
    let info = app.version_info;
    let at = info.map_or(app.version, |info| info.last_scaling_at);
    Time::from_millis(at.millis())
}
