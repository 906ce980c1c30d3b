//! Changes of the root group: versions, conflicts, and the deployments that bring them about.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Marathon, records};
use crate::{
    definition::{App, Faults, VersionInfo, validate_change},
    deployment::{ActionKind, Deployment, StepView, Trial, plan},
    ended::Cause,
    event::EventKind,
    group::{Before, Changes, Fresh, Group, GroupChanges, Target},
    input::Origin,
    instance::Condition,
    output::{Mutation, Output},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
    view::{Change, Definition},
};

/// How a new definition gets its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versioning {
    /// By what changed.
    Changed,
    /// As if the configuration had changed.
    Restart,
    /// It keeps what it has: a definition that was there before.
    Keep,
}

/// On whose behalf something is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Operator,
    /// May be overridden without force, by anybody.
    Autoscaler,
    /// A deployment that is undone: what was there before is not refused for a bound.
    Undo,
}

/// A change to be deployed.
pub(super) struct Order {
    pub(super) changes: Changes,
    pub(super) groups: GroupChanges,
    pub(super) versioning: Versioning,
    pub(super) force: bool,
    /// The group that events name.
    pub(super) group: PathId,
    /// For `api_post_event`.
    pub(super) origin: Option<Origin>,
    /// How the new version is tried.
    pub(super) trial: Option<Trial>,
    pub(super) by: By,
}

/// What an order really changes.
pub(super) struct Judged {
    pub(super) changes: Changes,
    pub(super) groups: GroupChanges,
    pub(super) deployment: Deployment,
}

/// A deployment that was accepted.
pub(super) struct Accepted {
    pub(super) version: Timestamp,
    pub(super) id: Arc<str>,
}

impl Marathon {
    /// Checks an order as a whole and, if nothing forbids it, takes it over and begins its deployment.
    pub(super) fn deploy(&mut self, order: Order) -> Result<Accepted, Response> {
        let version = self.next_version();
        let result = self.judge(&order, version);
        let Judged {
            changes,
            groups,
            deployment,
        } = match result {
            Ok(judged) => judged,
            Err(response) => {
                let reason = String::from_utf8_lossy(&response.body).into_owned();
                self.event(EventKind::GroupChangeFailed {
                    group_id: order.group,
                    version,
                    reason,
                });
                return Err(response);
            }
        };
        self.last_version = version;
        for app in deployment.affected() {
            if let Some(lock) = self.apps.get(&app).and_then(|state| state.lock.clone()) {
                self.end_deployment(&lock, Some("The upgrade has been cancelled"));
            }
        }
        if let Some(origin) = order.origin
            && let Some(app) = order.changes.keys().next().and_then(|id| {
                changes
                    .get(id)
                    .cloned()
                    .or_else(|| Some(self.root.get(id).cloned()))
            })
            && let Some(app_definition) = app
        {
            self.event(EventKind::ApiPost {
                client_ip: origin.client_ip,
                uri: origin.uri,
                app_definition,
            });
        }
        self.remember(&changes, &groups, version, order.by);
        let changed: BTreeSet<PathId> = changes.keys().chain(groups.keys()).cloned().collect();
        for (id, group) in groups {
            self.set_group(&id, group);
        }
        for (id, app) in changes {
            self.set_app(&id, app);
        }
        if !changed.is_empty() {
            self.touch_groups(&changed, version);
        }
        self.event(EventKind::GroupChangeSuccess {
            group_id: order.group,
            version,
        });
        let accepted = Accepted {
            version,
            id: deployment.id.clone(),
        };
        self.begin_deployment(deployment);
        Ok(accepted)
    }

    /// All that can forbid an order; changes nothing. Gives the definitions that really change, and their deployment.
    pub(super) fn judge(&mut self, order: &Order, version: Timestamp) -> Result<Judged, Response> {
        let mut changes = Changes::new();
        let mut fresh = Fresh::default();
        let mut faults = Faults::default();
        for (id, app) in &order.changes {
            let old = self.root.get(id);
            let Some(app) = app else {
                if old.is_some() {
                    changes.insert(id.clone(), None);
                }
                continue;
            };
            let mut app = App::clone(app);
            if !self
                .service_ports
                .assign(&mut app, old.map(|old| &**old), &mut fresh)
            {
                let (min, max) = (self.config.local_port_min, self.config.local_port_max);
                return Err(Response::message(
                    403,
                    format!("All ports in the range [{min}-{max}) are already in use"),
                ));
            }
            if let Some(old) = old {
                validate_change(old, &app, order.force, &mut faults);
            }
            if stamp(&mut app, old.map(|old| &**old), version, order.versioning) {
                changes.insert(id.clone(), Some(Arc::new(app)));
            }
        }
        faults.into_result("Object is not valid")?;
        let groups = self.group_changes(&changes, &order.groups, version);
        let target = Target {
            root: &self.root,
            changes: &changes,
            groups: &groups,
        };
        target.validate()?;
        let added = changes
            .iter()
            .filter(|(id, app)| app.is_some() && self.root.get(id).is_none())
            .count();
        if order.by != By::Undo
            && let Some(max) = self.config.max_apps
            && added > 0
            && self.root.len() + added > max
        {
            return Err(Response::message(
                403,
                format!("Max number ({max}) of apps is achieved."),
            ));
        }
        if order.by != By::Undo {
            self.judge_instances(&changes)?;
        }
        let mut faults_of_trial = Faults::default();
        let original = changes
            .keys()
            .map(|id| (id.clone(), self.root.get(id).cloned()));
        let deployment = Deployment {
            id: self.ids.uuid().into(),
            version,
            steps: plan(target),
            current: 0,
            original: original.collect(),
            target: changes.clone(),
            groups: groups
                .iter()
                .map(|(id, new)| {
                    let old = self.root.group(id).map(|old| Group::clone(old));
                    (id.clone(), (old, new.as_deref().cloned()))
                })
                .collect(),
            deadline: None,
            seats: BTreeMap::new(),
            trial: order.trial,
            autoscaled: order.by == By::Autoscaler,
            parts: 0,
            ready_since: None,
            ending: None,
            open: BTreeMap::new(),
        };
        if order.trial.is_some() {
            super::trials::validate(&deployment, &mut faults_of_trial);
            faults_of_trial.into_result("Object is not valid")?;
        }
        let locks: BTreeSet<Arc<str>> = deployment
            .affected()
            .iter()
            .filter_map(|id| self.apps.get(id)?.lock.clone())
            .collect();
        let mut firm = locks.iter().filter(|id| !self.is_autoscaled(id)).peekable();
        if firm.peek().is_some() && !order.force {
            return Err(Response::locked(firm.map(|id| &**id)));
        }
        let max = self.config.max_running_deployments;
        if self.deployments.len() - locks.len() >= max {
            let message = format!(
                "Max number ({max}) of running deployments is achieved. Wait for existing deployments to complete or cancel one using \
                 force=true parameter. You can increase max deployment number by using --max_running_deployments parameter but be advised \
                 that this can have negative effects on the performance."
            );
            return Err(Response::message(403, message));
        }
        Ok(Judged {
            changes,
            groups,
            deployment,
        })
    }

    /// Whether a deployment is the autoscaler's. Such a one stands in nobody's way: it may last for as long as the cluster has too little room.
    pub(super) fn is_autoscaled(&self, deployment: &str) -> bool {
        let deployment = self.deployments.get(deployment);
        deployment.is_some_and(|deployment| deployment.autoscaled)
    }

    /// The steps that an order would take; nothing is changed.
    pub(super) fn rehearse(&mut self, order: &Order) -> Result<Vec<StepView>, Response> {
        let version = self.next_version();
        Ok(self.judge(order, version)?.deployment.steps)
    }

    /// Keeps what is about to be replaced, so that the state before can be made again.
    fn remember(&mut self, changes: &Changes, groups: &GroupChanges, version: Timestamp, by: By) {
        if changes.is_empty() && groups.is_empty() {
            return;
        }
        let mut before = Before {
            apps: changes
                .keys()
                .map(|id| (id.clone(), self.root.get(id).cloned()))
                .collect(),
            groups: groups
                .keys()
                .map(|id| (id.clone(), self.root.group(id).cloned()))
                .collect(),
            autoscaled: by == By::Autoscaler,
        };
        if before.autoscaled
            && let Some((version, last)) = self.history.take_autoscaled()
        {
            self.outbox.write(Mutation::Delete {
                key: records::history_key(version),
            });
            // What was there before both.
            before.apps.extend(last.apps);
            before.groups.extend(last.groups);
        }
        self.outbox.write(records::history(version, &before));
        let forgotten = self.history.add(version, before, self.config.max_versions);
        for (version, before) in forgotten {
            self.outbox.write(Mutation::Delete {
                key: records::history_key(version),
            });
            for app in before.apps.values().flatten() {
                self.drop_past(app);
            }
        }
    }

    /// Deletes a definition of the past from the store when no state of the past needs it any more.
    fn drop_past(&mut self, app: &App) {
        if !self.history.holds(&app.id, app.version) {
            self.outbox.write(Mutation::Delete {
                key: records::past_key(&app.id, app.version),
            });
        }
    }

    /// Takes a definition out of an app's history; it stays in the store as long as a state of the past needs it.
    fn drop_version(&mut self, id: &PathId, version: Timestamp, definition: &App) {
        if self.history.holds(id, version) {
            self.outbox
                .write(records::put(records::past_key(id, version), definition));
        }
        self.outbox.write(Mutation::Delete {
            key: records::version_key(id, version),
        });
    }

    /// The version of a change that comes now: later than all before.
    pub(super) fn next_version(&self) -> Timestamp {
        self.stamp()
            .max(Timestamp::from_millis(self.last_version.millis() + 1))
    }

    /// Puts a definition into the root group, the store and the view.
    fn set_app(&mut self, id: &PathId, app: Option<Arc<App>>) {
        if let Some(old) = self.root.get(id).cloned() {
            self.service_ports.give_back(&old);
            self.announce_checks(&old, app.as_deref());
        } else if let Some(new) = &app {
            self.announce_checks_of(new);
        }
        self.root.set(id, app.clone());
        match app {
            Some(app) => {
                self.service_ports.take(&app);
                self.outbox.write(records::put(records::app_key(id), &*app));
                self.outbox
                    .write(records::put(records::version_key(id, app.version), &*app));
                self.redefine(&app);
                if let Some(state) = self.apps.get(id) {
                    self.outbox
                        .push(Output::Change(Change::Version(state.definition.clone())));
                }
                self.drop_old_versions(id);
            }
            None => {
                self.outbox.write(Mutation::Delete {
                    key: records::app_key(id),
                });
                self.outbox.write(Mutation::Delete {
                    key: records::failure_key(id),
                });
                let versions = self.apps.get_mut(id).map(|state| {
                    state.last_failure = None;
                    std::mem::take(&mut state.versions)
                });
                for (version, definition) in versions.into_iter().flatten() {
                    self.drop_version(id, version, &definition.app);
                }
                self.drop_policy(id);
                self.outbox
                    .push(Output::Change(Change::AppRemoved(id.clone())));
            }
        }
    }

    fn announce_checks(&mut self, old: &App, new: Option<&App>) {
        if new.is_some_and(|new| new.health_checks == old.health_checks) {
            return;
        }
        if !old.health_checks.is_empty() {
            self.event(EventKind::RemoveHealthCheck {
                app_id: old.id.clone(),
            });
        }
        if let Some(new) = new {
            self.announce_checks_of(new);
        }
    }

    fn announce_checks_of(&mut self, app: &App) {
        for health_check in &app.health_checks {
            let (app_id, health_check) = (app.id.clone(), health_check.clone());
            self.event(EventKind::AddHealthCheck {
                app_id,
                health_check,
                version: app.version,
            });
        }
    }

    /// Keeps the history of an app within its bound; the current definition stays. Of versions that differ in the number of instances only, the
    /// last is kept the longest: scaling drives no other configuration out.
    fn drop_old_versions(&mut self, id: &PathId) {
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let current = state.app().version;
        while state.versions.len() > self.config.max_versions.max(1) {
            let config = |definition: &Definition| {
                let info = definition.app.version_info;
                info.map(|info| info.last_config_change_at)
            };
            let following = state.versions.values().skip(1);
            let mut pairs = state.versions.iter().zip(following);
            let scaled = pairs.find(|((version, one), next)| {
                **version != current && config(one).is_some() && config(one) == config(next)
            });
            let oldest = scaled
                .map(|((version, _), _)| version)
                .or_else(|| state.versions.keys().find(|version| **version != current));
            let Some((oldest, definition)) = oldest
                .copied()
                .and_then(|oldest| state.versions.remove_entry(&oldest))
            else {
                break;
            };
            if self.history.holds(id, oldest) {
                self.outbox.write(records::put(
                    records::past_key(id, oldest),
                    &*definition.app,
                ));
            }
            self.outbox.write(Mutation::Delete {
                key: records::version_key(id, oldest),
            });
            self.outbox
                .push(Output::Change(Change::VersionRemoved(id.clone(), oldest)));
        }
    }

    fn begin_deployment(&mut self, mut deployment: Deployment) {
        self.store_new_deployment(&mut deployment);
        let id = deployment.id.clone();
        for app in deployment.affected() {
            if let Some(state) = self.apps.get_mut(&app) {
                state.lock = Some(id.clone());
            }
            if !deployment.only_scales(&app) {
                self.end_pairs(&app);
            }
            self.dirty.apps.insert(app);
        }
        self.deployments.insert(id.clone(), deployment);
        self.next_step(&id);
    }

    /// Goes to the next step of a deployment, or ends it.
    pub(super) fn next_step(&mut self, id: &Arc<str>) {
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        if deployment.current >= deployment.steps.len() {
            self.end_deployment(id, None);
            return;
        }
        deployment.current += 1;
        self.begin_step(id);
    }

    /// Begins the current step of a deployment, for the first time or after a failover.
    pub(super) fn begin_step(&mut self, id: &Arc<str>) {
        self.count_seats(id);
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        let current_step = deployment.step();
        deployment.open = current_step
            .actions
            .iter()
            .map(|action| (action.app.clone(), action.action))
            .collect();
        let plan = deployment.plan_view();
        self.store_deployment(id);
        self.event(EventKind::DeploymentInfo {
            plan,
            current_step: current_step.clone(),
        });
        self.dirty.deployments.insert(id.clone());
        for action in current_step.actions {
            self.begin_action(&action.app, action.action);
            self.dirty.pending.insert(action.app);
        }
    }

    /// Takes note that a deployment's action on an app is done.
    pub(super) fn action_done(&mut self, id: &Arc<str>, app: &PathId) {
        let Some(deployment) = self.deployments.get_mut(id) else {
            return;
        };
        deployment.open.remove(app);
        if deployment.open.is_empty() {
            let (plan, current_step) = (deployment.plan_view(), deployment.step());
            self.event(EventKind::DeploymentStepSuccess { plan, current_step });
            self.next_step(id);
        }
    }

    /// Ends a deployment: with a reason it failed, without it succeeded.
    pub(super) fn end_deployment(&mut self, id: &Arc<str>, reason: Option<&str>) {
        let Some(deployment) = self.deployments.remove(id) else {
            return;
        };
        self.delete_deployment(&deployment);
        for app in deployment.affected() {
            let own = |state: &&mut super::AppState| state.lock.as_ref() == Some(id);
            if let Some(state) = self.apps.get_mut(&app).filter(own) {
                state.lock = None;
                for key in state.instances.iter().copied().collect::<Vec<_>>() {
                    if self
                        .instances
                        .get(&key)
                        .is_some_and(|instance| instance.awaited)
                    {
                        self.change(key, |instance| instance.awaited = false);
                    }
                }
            }
            self.drop_if_gone(&app);
            self.dirty.pending.insert(app.clone());
            self.dirty.apps.insert(app);
        }
        let (id, plan) = (id.clone(), deployment.plan_view());
        self.outbox
            .push(Output::Change(Change::DeploymentRemoved(id.clone())));
        self.event(match reason {
            None => EventKind::DeploymentSuccess { id, plan },
            Some(reason) => EventKind::DeploymentFailed {
                id,
                plan,
                reason: Some(deployment.ending.as_deref().unwrap_or(reason).to_owned()),
            },
        });
    }

    /// Cancels a deployment; unless `force`, a new one undoes its changes and keeps those of others.
    pub(super) fn cancel(&mut self, id: &str, force: bool) -> Response {
        self.cancel_because(id, force, "The upgrade has been cancelled")
    }

    /// The same, with the reason that its event tells.
    pub(super) fn cancel_because(&mut self, id: &str, force: bool, reason: &str) -> Response {
        let Some((id, deployment)) = self
            .deployments
            .get_key_value(id)
            .map(|(id, deployment)| (id.clone(), deployment.clone()))
        else {
            return Response::message(404, format!("DeploymentPlan {id} does not exist"));
        };
        if force {
            self.end_deployment(&id, Some(reason));
            return Response::empty(202);
        }
        // What was changed again since by somebody else stays as it is now.
        let ours = |app: &PathId| {
            deployment.target.get(app).map(Option::as_ref) == Some(self.root.get(app))
        };
        let undone = deployment.original.iter().filter(|(app, _)| ours(app));
        let changes: BTreeMap<_, _> = undone
            .map(|(app, old)| (app.clone(), old.clone()))
            .collect();
        let groups = self.groups_undone(&deployment, &changes);
        let order = Order {
            changes,
            groups,
            versioning: Versioning::Keep,
            force: true,
            group: PathId::root(),
            origin: None,
            trial: None,
            by: By::Undo,
        };
        if let Some(deployment) = self.deployments.get_mut(&id) {
            deployment.ending = Some(reason.into());
        }
        match self.deploy(order) {
            Ok(accepted) => {
                // A deployment whose changes were all undone by nobody but it is over, whether or not the new one touches its apps.
                self.end_deployment(&id, Some(reason));
                Response::deployment(200, accepted.version, &accepted.id)
            }
            Err(response) => {
                if let Some(deployment) = self.deployments.get_mut(&id) {
                    deployment.ending = None;
                }
                response
            }
        }
    }

    /// What an action does once, at its beginning.
    pub(super) fn begin_action(&mut self, id: &PathId, action: ActionKind) {
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let keys: Vec<u64> = state.instances.iter().copied().collect();
        match action {
            ActionKind::Start => {}
            ActionKind::Stop => {
                state.delay = None;
                for key in keys {
                    self.decommission(key, Cause::Deleted);
                }
            }
            ActionKind::Scale | ActionKind::Restart => {
                if action == ActionKind::Restart {
                    state.delay = None;
                }
                let fitting = |key: &u64| {
                    let instance = self.instances.get(key)?;
                    let unfinished = instance.condition != Condition::Running
                        || (!instance.is_ready() && instance.healthy.is_none())
                        || instance.is_unready();
                    let state = self.apps.get(id)?;
                    // What is to take another's place is upkeep's concern.
                    let own = state.fits(&instance.spec) && !state.pairs.contains_key(key);
                    (own && unfinished).then_some(*key)
                };
                for key in keys.iter().filter_map(fitting).collect::<Vec<_>>() {
                    self.change(key, |instance| instance.awaited = true);
                }
                let daemon = self.apps.get(id).is_some_and(|one| one.seats.is_some());
                if action == ActionKind::Restart && !daemon && !self.is_on_trial(id) {
                    self.ignite(id);
                }
            }
        }
    }

    /// Drops what is known of an app that was deleted and has no instances left.
    pub(super) fn drop_if_gone(&mut self, id: &PathId) {
        let gone = |state: &super::AppState| state.instances.is_empty() && state.lock.is_none();
        if self.root.get(id).is_none() && self.apps.get(id).is_some_and(gone) {
            self.apps.remove(id);
            self.waiting.remove(id);
            self.waiting_for_own.remove(id);
        }
    }
}

/// Gives a definition its version data. False if it is the same as the old one.
fn stamp(app: &mut App, old: Option<&App>, now: Timestamp, versioning: Versioning) -> bool {
    if versioning == Versioning::Keep && app.version_info.is_some() {
        return old != Some(app);
    }
    let same_config =
        old.is_some_and(|old| old.same_config(app)) && versioning != Versioning::Restart;
    let scaled = old.is_none_or(|old| old.instances != app.instances);
    let before = old.and_then(|old| old.version_info);
    if same_config && !scaled {
        // What else differs is of no concern to instances; it is taken over under the same version.
        if let Some(old) = old {
            (app.version, app.version_info) = (old.version, old.version_info);
            return *old != *app;
        }
        return false;
    }
    let restarted = versioning == Versioning::Restart;
    app.version = now;
    app.version_info = Some(VersionInfo {
        // A change of the configuration counts as scaling too, a mere restart does not.
        last_scaling_at: before
            .filter(|_| restarted && !scaled)
            .map_or(now, |info| info.last_scaling_at),
        last_config_change_at: before
            .filter(|_| same_config)
            .map_or(now, |info| info.last_config_change_at),
    });
    true
}
