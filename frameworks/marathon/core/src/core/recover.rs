//! From the records of the store to the state that they were written from.
//!
//! What is not stored starts anew: delays, results of health checks. Kills under way are sent again, for what was to end is stored with its
//! cause. Deployments begin their step again; actions look at what is there, so nothing is done twice.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::{
    AppState, Marathon, RecoverError, Timer,
    deployment_store::DeploymentPart,
    records::{self, HistoryRecord},
};
use crate::{
    definition::App,
    deployment::Deployment,
    ended::Cause,
    group::Group,
    instance::{Condition, Goal, Instance, InstanceRecord, Remains, TaskFailure},
    output::{Mutation, Output, Record},
    path::PathId,
    timestamp::Timestamp,
    view::{Change, Definition},
};

impl Marathon {
    pub(super) fn recover(&mut self, stored: Vec<Record>) -> Result<(), RecoverError> {
        let mut versions: BTreeMap<(PathId, Timestamp), Arc<App>> = BTreeMap::new();
        let (mut past, mut history) = (versions.clone(), Vec::new());
        let (mut parts, mut policies, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        let mut asked = Vec::new();
        let (mut instances, mut failures): (Vec<InstanceRecord>, Vec<TaskFailure>) =
            (Vec::new(), Vec::new());
        let mut restored = None;
        for record in stored {
            match record.key.split('/').next().unwrap_or_default() {
                "framework" => self.framework_id = Some(records::read(&record)?),
                "former" => self.former_ids = records::read(&record)?,
                "app" => {
                    let app: Arc<App> = Arc::new(records::read(&record)?);
                    self.last_version = self.last_version.max(app.version);
                    self.root.set(&app.id.clone(), Some(app));
                }
                "version" => {
                    let app: App = records::read(&record)?;
                    versions.insert((app.id.clone(), app.version), Arc::new(app));
                }
                "instance" => instances.push(records::read(&record)?),
                "deployment" => {
                    let deployment: Deployment = records::read(&record)?;
                    self.last_version = self.last_version.max(deployment.version);
                    self.deployments.insert(deployment.id.clone(), deployment);
                }
                "part" => parts.push(records::read::<DeploymentPart>(&record)?),
                "group" => {
                    let group: Group = records::read(&record)?;
                    self.last_version = self.last_version.max(group.version);
                    self.root
                        .set_group(&group.id.clone(), Some(Arc::new(group)));
                }
                "history" => history.push(records::read::<HistoryRecord>(&record)?),
                "past" => {
                    let app: App = records::read(&record)?;
                    past.insert((app.id.clone(), app.version), Arc::new(app));
                }
                "remains" => {
                    let remains: Remains = records::read(&record)?;
                    self.remains.insert(remains.instance.clone(), remains);
                }
                "ended" => ended.push(records::read(&record)?),
                "restored" => restored = Some(records::read(&record)?),
                "rebalance" => asked.push(records::read(&record)?),
                "policy" => policies.push(records::read(&record)?),
                "failure" => failures.push(records::read(&record)?),
                _ => {
                    return Err(RecoverError::Record {
                        key: record.key,
                        reason: "its kind is not known".to_owned(),
                    });
                }
            }
        }
        self.recover_hold(restored);
        if !self.remains.is_empty() {
            self.await_remains();
        }
        self.recover_parts(parts);
        self.recover_apps(&versions, failures);
        self.recover_policies(policies);
        self.recover_asked(asked);
        past.extend(versions.clone());
        self.recover_groups(&past, history);
        self.recover_ended(ended);
        self.recover_instances(&versions, instances);
        self.note_roles_of_the_past(past.values());
        let mut ids: Vec<_> = self.deployments.keys().cloned().collect();
        // Should two be about one app, the older one has done with it.
        ids.sort_by_key(|id| {
            self.deployments
                .get(id)
                .map(|deployment| deployment.version)
        });
        for id in ids {
            self.await_deadline(&id);
            let affected = self
                .deployments
                .get(&id)
                .map(Deployment::affected)
                .unwrap_or_default();
            for app in affected {
                // One that it has ended stays locked like the others.
                let ended = || {
                    let deployment = self.deployments.get(&id);
                    let original = deployment.and_then(|one| one.original.get(&app)?.clone());
                    let placeholder = || Arc::new(crate::definition::placeholder(&app));
                    let definition = original.unwrap_or_else(placeholder);
                    AppState::new(Arc::new(Definition::new(definition)))
                };
                let state = match self.apps.entry(app.clone()) {
                    Entry::Occupied(state) => state.into_mut(),
                    Entry::Vacant(place) => place.insert(ended()),
                };
                state.lock = Some(id.clone());
            }
            if self
                .deployments
                .get(&id)
                .is_some_and(|deployment| deployment.current == 0)
            {
                self.next_step(&id);
            } else {
                self.begin_step(&id);
            }
        }
        self.recover_pairs();
        self.dirty.pending.extend(self.apps.keys().cloned());
        Ok(())
    }

    fn recover_apps(
        &mut self,
        versions: &BTreeMap<(PathId, Timestamp), Arc<App>>,
        failures: Vec<TaskFailure>,
    ) {
        for app in self.root.iter().cloned().collect::<Vec<_>>() {
            self.service_ports.take(&app);
            self.redefine(&app);
        }
        for ((id, version), app) in versions {
            self.last_version = self.last_version.max(*version);
            if let Some(state) = self.apps.get_mut(id) {
                let definition = || Arc::new(Definition::new(app.clone()));
                let definition = state
                    .versions
                    .entry(*version)
                    .or_insert_with(definition)
                    .clone();
                self.outbox
                    .push(Output::Change(Change::Version(definition)));
            }
        }
        for failure in failures {
            if let Some(state) = self.apps.get_mut(&failure.app_id) {
                state.last_failure = Some(Arc::new(failure));
            }
        }
    }

    fn recover_instances(
        &mut self,
        versions: &BTreeMap<(PathId, Timestamp), Arc<App>>,
        stored: Vec<InstanceRecord>,
    ) {
        for record in stored {
            let exact = versions.get(&(record.app.clone(), record.version)).cloned();
            // The definition may be gone with its app, or dropped from a long history: then all that counts is which one it was.
            let spec = exact.unwrap_or_else(|| {
                let base = self.root.get(&record.app).map(|app| App::clone(app));
                let mut spec = base.unwrap_or_else(|| crate::definition::placeholder(&record.app));
                spec.version = record.version;
                spec.version_info = Some(crate::definition::VersionInfo {
                    last_scaling_at: record.version,
                    last_config_change_at: record.config,
                });
                Arc::new(spec)
            });
            if self.may_have_come_to_more(&record, &spec) {
                let key = records::instance_key(&record.id);
                self.outbox.write(Mutation::Delete { key });
                self.next_instance = self.next_instance.max(record.key + 1);
                continue;
            }
            if !self.apps.contains_key(&record.app) {
                self.apps.insert(
                    record.app.clone(),
                    AppState::new(Arc::new(Definition::new(spec.clone()))),
                );
            }
            self.next_instance = self.next_instance.max(record.key + 1);
            let instance = Instance {
                ordinal: record.ordinal,
                goal: record.goal,
                condition: record.condition,
                since: record.since,
                active_since: record.active_since,
                cause: record.cause,
                incarnation: record.incarnation,
                agent: record.agent,
                task: record.task,
                reservation: record.reservation,
                replaces: record.replaces,
                ..Instance::new(record.key, "", spec, record.since)
            };
            let kept = instance.reservation.as_ref();
            let unconfirmed = kept.is_some_and(|one| !one.confirmed);
            let (key, condition, goal) = (instance.key, instance.condition, instance.goal);
            let cause = instance.cause;
            self.restore(Instance {
                id: record.id,
                ..instance
            });
            match goal {
                // That its task is to end was decided, and people may have been told: it is launched again when that is over.
                Goal::Running => cause.into_iter().for_each(|cause| self.kill(key, cause)),
                Goal::Stopped => self.retire(key, Cause::Killed),
                Goal::Decommissioned => self.decommission(key, Cause::Killed),
            }
            if unconfirmed {
                self.await_reservation(key);
            }
            match condition {
                Condition::Running => {
                    self.start_checks(key);
                    self.start_readiness(key);
                }
                Condition::Provisioned | Condition::Staging | Condition::Starting => {
                    let timeout = Duration::from_millis(self.config.task_launch_timeout_ms);
                    self.timers.insert((self.now + timeout, Timer::Launch(key)));
                }
                Condition::Unreachable | Condition::UnreachableInactive => {
                    self.check_unreachable(key)
                }
                _ => {}
            }
        }
    }
}
