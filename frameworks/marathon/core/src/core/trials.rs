//! Trials of a new version: canary and blue/green.
//!
//! While an app is on trial both versions are kept up: as many old instances as before, launched by the old definition when one ends, and
//! beside them those that are tried. Promoted, the deployment goes on as any other; with blue/green the old ones end at once. A tried
//! instance that fails ends the trial: the deployment is rolled back, which kills what was tried and touches nothing else. Only a step
//! that is promoted is stored, so after a failover the trial goes on where it was, and the time to its promotion counts anew.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tepui_model::Time;

use super::{AppState, Marathon, Timer};
use crate::{
    definition::{App, Faults},
    deployment::{ActionKind, Deployment, Trial, TrialSize},
    ended::Cause,
    instance::Goal,
    matching::{Counted, Placed},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
};

impl Deployment {
    /// The trial of an app in the current step that is not promoted, with the number of instances that are tried.
    fn trial_of(&self, id: &PathId) -> Option<(Trial, usize)> {
        let trial = self.trial?;
        if trial.promoted_step >= self.current || self.action(id) != Some(ActionKind::Restart) {
            return None;
        }
        let instances = self.target.get(id)?.as_ref()?.instances;
        Some((trial, trial.count(instances)))
    }

    /// Whether an app is replaced in a step to come, after a trial of its own.
    fn tries_later(&self, id: &PathId) -> bool {
        let to_come = self.steps.get(self.current..).unwrap_or_default();
        let mut actions = to_come.iter().flat_map(|step| &step.actions);
        self.trial.is_some()
            && actions.any(|one| one.app == *id && one.action == ActionKind::Restart)
    }

    /// Apps of the current step that are on trial.
    fn tried(&self) -> Vec<(PathId, usize)> {
        let apps = self.open.keys();
        let tried = apps.filter_map(|id| Some((id.clone(), self.trial_of(id)?.1)));
        tried.collect()
    }
}

/// What a trial cannot be made of: neither version may be one that stands alone.
pub(super) fn validate(deployment: &Deployment, faults: &mut Faults) {
    let actions = deployment.steps.iter().flat_map(|step| &step.actions);
    for action in actions.filter(|action| action.action == ActionKind::Restart) {
        let versions = [&deployment.target, &deployment.original];
        let mut versions = versions
            .into_iter()
            .filter_map(|apps| apps.get(&action.app)?.as_deref());
        if let Some(why) = versions.find_map(stands_alone) {
            let message = format!(
                "{} {why}: its new version cannot run beside the old one",
                action.app
            );
            faults.add("/trial", message);
        }
    }
}

/// Why no other version of an app can be kept up beside it.
fn stands_alone(app: &App) -> Option<&'static str> {
    let single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP");
    if app.is_daemon() {
        Some("is a daemon app")
    } else if app.is_resident() {
        Some("has persistent volumes")
    } else if app.has_unshared_volumes() {
        Some("has external volumes that are not shared")
    } else if single.is_some_and(|value| value == "true") {
        Some("may have only one instance")
    } else {
        None
    }
}

impl Marathon {
    fn trial(&self, id: &PathId) -> Option<(&Deployment, Trial, usize)> {
        let lock = self.apps.get(id)?.lock.as_ref()?;
        let deployment = self.deployments.get(lock)?;
        let (trial, count) = deployment.trial_of(id)?;
        Some((deployment, trial, count))
    }

    /// Whether two versions of an app are kept up side by side.
    pub(super) fn is_on_trial(&self, id: &PathId) -> bool {
        self.trial(id).is_some()
    }

    /// The definition by which the old instances of an app are launched that is on trial, or will be in a step to come.
    pub(super) fn old_definition(&self, id: &PathId) -> Option<Arc<App>> {
        let lock = self.apps.get(id)?.lock.as_ref()?;
        let deployment = self.deployments.get(lock)?;
        let kept = deployment.trial_of(id).is_some() || deployment.tries_later(id);
        deployment.original.get(id).filter(|_| kept)?.clone()
    }

    /// Whether the deployment that holds an app ends all its old instances at once now.
    pub(super) fn switches_over(&self, id: &PathId) -> bool {
        let lock = self.apps.get(id).and_then(|state| state.lock.as_ref());
        let deployment = lock.and_then(|lock| self.deployments.get(lock));
        deployment.is_some_and(|one| {
            let trial = one.trial.filter(|trial| trial.size == TrialSize::All);
            trial.is_some_and(|trial| trial.promoted_step >= one.current)
        })
    }

    /// Keeps both versions of an app on trial up. True if it is on trial.
    pub(super) fn try_out(&mut self, id: &PathId) -> bool {
        let Some((deployment, _, count)) = self.trial(id) else {
            return false;
        };
        let deployment = deployment.id.clone();
        let old = self.old_definition(id);
        let Some(state) = self.apps.get(id) else {
            return true;
        };
        let (tally, of_old) = (state.tally, old.as_ref().map_or(0, |old| old.instances));
        let (old_there, old_wanted) = (tally.wanted - tally.wanted_new, of_old as usize);
        for (there, wanted, new) in [
            (old_there, old_wanted, false),
            (tally.wanted_new, count, true),
        ] {
            if there > wanted {
                for key in self.victims_of(id, there - wanted, |fits| fits == new) {
                    self.retire(key, Cause::Replaced);
                }
            }
            for _ in there..wanted {
                match &old {
                    Some(old) if !new => self.create_instance_of(old.clone(), false),
                    _ => self.create_instance(id, true),
                }
            }
        }
        self.judge_trial(&deployment);
        true
    }

    /// Whether everything that a deployment tries is ready, and if so, since when.
    fn judge_trial(&mut self, id: &Arc<str>) {
        let now = self.now;
        let Some(deployment) = self.deployments.get(id) else {
            return;
        };
        let tried = deployment.tried();
        let ready = !tried.is_empty()
            && tried
                .iter()
                .all(|(app, count)| self.tried_ready(app) >= *count);
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        if !ready {
            deployment.ready_since = None;
        } else if deployment.ready_since.is_none() {
            deployment.ready_since = Some(now);
            if let Some(at) = deployment.promoted_at() {
                self.timers.insert((at, Timer::Trial(id.clone())));
            }
        }
    }

    /// How many instances of the new version of an app are ready.
    fn tried_ready(&self, id: &PathId) -> usize {
        self.apps.get(id).map_or(0, |state| state.tally.ready_new)
    }

    /// What is tried may have been ready for long enough.
    pub(super) fn trial_over(&mut self, id: &Arc<str>) {
        self.judge_trial(id);
        let deployment = self.deployments.get(id);
        let at = deployment.and_then(Deployment::promoted_at);
        if at.is_some_and(|at| at <= self.now) {
            self.go_on_with(id);
        }
    }

    /// `POST /v3/deployments/{id}/promote`.
    pub(super) fn promote(&mut self, id: &str, force: bool) -> Response {
        let Some((id, deployment)) = self.deployments.get_key_value(id) else {
            return Response::message(404, format!("DeploymentPlan {id} does not exist"));
        };
        let (id, tried) = (id.clone(), deployment.tried());
        if tried.is_empty() {
            let message = format!("Deployment {id} tries nothing that could be promoted now.");
            return Response::message(409, message);
        }
        let lacking: Vec<String> = tried
            .iter()
            .filter(|(app, count)| self.tried_ready(app) < *count)
            .map(|(app, count)| format!("{} of {count} of {app}", self.tried_ready(app)))
            .collect();
        if !lacking.is_empty() && !force {
            let message = format!(
                "Not all instances that are tried are ready: {}. Override with the option '?force=true'.",
                lacking.join(", ")
            );
            return Response::message(409, message);
        }
        self.go_on_with(&id);
        let apps: Vec<PathId> = tried.into_iter().map(|(app, _)| app).collect();
        Response::json(200, &json!({ "deploymentId": id, "apps": apps }))
    }

    fn go_on_with(&mut self, id: &Arc<str>) {
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        let tried = deployment.tried();
        deployment.ready_since = None;
        if let Some(trial) = &mut deployment.trial {
            trial.promoted_step = deployment.current;
        }
        self.store_deployment(id);
        for (app, _) in tried {
            self.begin_action(&app, ActionKind::Restart);
            self.touch(&app, true);
        }
    }

    /// An instance failed; if it was tried, the trial has failed.
    pub(super) fn tell_trial(&mut self, key: u64, why: &str) {
        let Some(instance) = self.instance(key) else {
            return;
        };
        let (id, name) = (instance.spec.id.clone(), instance.id.clone());
        let new = instance.goal == Goal::Running
            && (self.apps.get(&id)).is_some_and(|state| state.fits(&instance.spec));
        if new && let Some((deployment, trial, _)) = self.trial(&id) {
            let kind = if trial.size == TrialSize::All {
                "blue/green"
            } else {
                "canary"
            };
            let reason =
                format!("The {kind} deployment was rolled back since {name} failed: {why}");
            let deployment = deployment.id.clone();
            self.dirty.failed_trials.insert(deployment, reason);
        }
    }

    /// Rolls back what has failed in this step.
    pub(super) fn end_failed_trials(&mut self) {
        while let Some((id, reason)) = self.dirty.failed_trials.pop_first() {
            let answer = self.cancel_because(&id, false, &reason);
            if answer.status >= 300 {
                // Nothing to go back to that holds today: it ends where it is.
                self.cancel_because(&id, true, &format!("{reason}; it cannot be undone"));
            }
        }
    }

    /// The next waiting instances of an app that an offer of an agent may be tried with: of both versions while it is on trial, and none
    /// whose ordinal another still has, or that waits for another agent.
    pub(super) fn next_unplaced(&self, state: &AppState, agent: &str) -> Vec<u64> {
        let id = &state.app().id;
        if state.ordinals.is_none() && !self.is_on_trial(id) {
            let mut keys = state.unplaced.iter().copied();
            let next = keys.find(|key| !self.aims_elsewhere(id, *key, agent));
            return next.into_iter().collect();
        }
        let fits = |key: &u64| {
            let instance = self.instances.get(key);
            instance.is_some_and(|one| state.fits(&one.spec))
        };
        let may_go = |key: &u64| {
            let instance = self.instances.get(key);
            instance.is_some_and(|one| !state.awaits_ordinal(one))
                && !self.aims_elsewhere(id, *key, agent)
        };
        let keys = || state.unplaced.iter().copied().filter(may_go);
        let (old, new) = (keys().find(|key| !fits(key)), keys().find(fits));
        old.into_iter().chain(new).collect()
    }

    /// By which definition an instance of the old version is launched, if that is kept up, and where others of its kind are.
    pub(super) fn old_placed(&self, id: &PathId, key: u64) -> Option<(Arc<App>, Placed)> {
        let (state, instance) = (self.apps.get(id)?, self.instance(key)?);
        if state.fits(&instance.spec) {
            return None;
        }
        let app = self.old_definition(id)?;
        let mut placed = Placed::new(&app);
        let others = state.instances.iter().filter_map(|key| self.instance(*key));
        for other in others.filter(|one| one.condition.is_active() && !state.fits(&one.spec)) {
            if let Some(agent) = &other.agent {
                placed.change(&app, agent, true, Counted::ForAll);
            }
        }
        Some((app, placed))
    }

    /// Why an app on trial waits.
    pub(super) fn reason_of_trial(&self, id: &PathId) -> Option<String> {
        let (deployment, trial, count) = self.trial(id)?;
        let ready = self.tried_ready(id);
        let new = format!("{ready} of {count} instances of the new version ready");
        Some(
            match (deployment.promoted_at(), trial.promote_after_seconds) {
                (Some(at), _) => format!(
                    "waits for promotion: {new}; promoted by itself at {}",
                    Timestamp::from_time(at)
                ),
                _ if ready < count => format!("tries the new version before promotion: {new}"),
                (None, Some(_)) => {
                    format!("waits for promotion: {new}; other apps are not yet ready")
                }
                (None, None) => format!("waits for promotion: {new}"),
            },
        )
    }

    /// The trial of a deployment as `/v3/deployments` shows it.
    pub(super) fn trial_view(&self, deployment: &Deployment) -> Value {
        let Some(trial) = deployment.trial else {
            return Value::Null;
        };
        let tried = deployment.tried().into_iter();
        let apps: Vec<Value> = tried
            .map(|(app, count)| {
                let ready = self.tried_ready(&app);
                json!({ "app": app, "instances": count, "ready": ready })
            })
            .collect();
        json!({
            "kind": trial.kind(),
            "apps": apps,
            "promoteAfterSeconds": trial.promote_after_seconds,
            "readySince": deployment.ready_since.map(Timestamp::from_time),
            "promotedAt": deployment.promoted_at().map(Timestamp::from_time),
        })
    }
}

impl Deployment {
    /// When it is promoted by itself, if nothing happens before.
    fn promoted_at(&self) -> Option<Time> {
        let seconds = self.trial?.promote_after_seconds?;
        Some(self.ready_since? + Duration::from_secs(seconds.min(u64::from(u32::MAX))))
    }
}
