//! The only ways in which instances come, change and go: they keep every index and mark what is dirty.

use std::sync::Arc;

use super::{Marathon, Timer, app_state::AppState, records};
use crate::{
    definition::App,
    ended::Cause,
    event::EventKind,
    instance::{Condition, Goal, Instance},
    output::{Mutation, Output},
    path::PathId,
    view::{AppView, Change, Definition},
};

impl Marathon {
    /// Adds an instance of the current definition, which wants an offer.
    pub(super) fn create_instance(&mut self, id: &PathId, awaited: bool) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        self.create_instance_of(state.app().clone(), awaited);
    }

    /// Adds an instance of a definition that its app may no longer have.
    pub(super) fn create_instance_of(&mut self, app: Arc<App>, awaited: bool) {
        let (uuid, now) = (self.ids.uuid(), self.stamp());
        let mut instance = Instance::new(self.next_instance, &uuid, app, now);
        instance.awaited = awaited;
        let state = self.apps.get(&instance.spec.id);
        instance.ordinal = state.and_then(|state| state.next_ordinal(state.fits(&instance.spec)));
        self.next_instance += 1;
        self.adopt(instance);
    }

    /// Takes a new instance in.
    fn adopt(&mut self, instance: Instance) {
        self.dirty.unstored.insert(instance.key);
        self.announce(&instance);
        self.restore(instance);
    }

    /// Takes an instance into all indices.
    pub(super) fn restore(&mut self, instance: Instance) {
        let (key, id) = (instance.key, instance.spec.id.clone());
        let Some(state) = self.apps.get_mut(&id) else {
            return;
        };
        if state.scheduled.is_empty() && instance.is_scheduled() {
            state
                .offers
                .begin(crate::timestamp::Timestamp::from_time(self.now));
        }
        let class = state.class(&instance);
        state.add(&class);
        state.instances.insert(key);
        self.by_instance_id.insert(instance.id.clone(), key);
        let scheduled = instance.is_scheduled();
        self.instances.insert(key, instance);
        self.dirty.instances.insert(key);
        self.touch(&id, scheduled);
    }

    /// Changes an instance. Nothing happens if there is none.
    pub(super) fn change(&mut self, key: u64, change: impl FnOnce(&mut Instance)) {
        let now = self.stamp();
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        let id = instance.spec.id.clone();
        let Some(state) = self.apps.get_mut(&id) else {
            return;
        };
        let class_before = state.class(instance);
        let (goal, condition, healthy) = (instance.goal, instance.condition, instance.healthy);
        change(instance);
        if instance.awaited && (instance.is_ready() || instance.goal != Goal::Running) {
            instance.awaited = false;
        }
        let moved = instance.condition != condition || instance.goal != goal;
        let health_changed = instance.healthy != healthy;
        if instance.condition != condition || health_changed {
            instance.since = now;
        }
        let class = state.class(instance);
        let waits_anew =
            class_before != class && instance.is_scheduled() && !state.scheduled.contains(&key);
        if waits_anew && state.scheduled.is_empty() {
            state.offers.begin(now);
        }
        if class != class_before {
            state.remove(&class_before);
            state.add(&class);
        }
        let snapshot = (moved || health_changed).then(|| instance.clone());
        if let Some(instance) = snapshot.as_ref().filter(|_| moved) {
            self.dirty.unstored.insert(key);
            self.announce(instance);
        }
        if let Some(instance) = snapshot.as_ref().filter(|_| health_changed) {
            self.event(EventKind::InstanceHealthChanged {
                instance_id: instance.id.clone(),
                run_spec_id: id.clone(),
                healthy: instance.healthy,
                run_spec_version: instance.spec.version,
            });
        }
        self.dirty.instances.insert(key);
        self.touch(&id, waits_anew);
    }

    /// Forgets an instance.
    pub(super) fn expunge(&mut self, key: u64) {
        let lost = (self.instance(key))
            .is_some_and(|instance| super::daemons::tells_of_loss(instance.condition));
        self.forget(key, lost);
    }

    /// The same; `lost`: its agent is no more to be counted on.
    pub(super) fn forget(&mut self, key: u64, lost: bool) {
        self.stop_checks(key);
        self.stop_readiness(key, true);
        self.end_kill(key);
        let Some(instance) = self.instances.remove(&key) else {
            return;
        };
        if instance.condition.is_active() || instance.condition == Condition::UnreachableInactive {
            self.note_end_of(&instance, None);
        }
        let id = instance.spec.id.clone();
        self.leave(&instance);
        self.by_instance_id.remove(&instance.id);
        if let Some(state) = self.apps.get_mut(&id) {
            let class = state.class(&instance);
            state.remove(&class);
            state.instances.remove(&key);
        }
        // While a daemon app is replaced its end may be what another agent has waited for.
        let state = self.apps.get(&id);
        let replaced = state.is_some_and(|one| one.follows_agents() && one.lock.is_some());
        let makes_room = replaced && instance.task.is_some();
        if lost {
            self.seat_lost(&instance);
        }
        self.outbox.write(Mutation::Delete {
            key: records::instance_key(&instance.id),
        });
        self.outbox.push(Output::Change(Change::TaskRemoved {
            app_id: id.clone(),
            key,
        }));
        self.touch(&id, makes_room);
    }

    /// Ends an instance for good: kills its task if it has one, forgets it at once otherwise.
    pub(super) fn decommission(&mut self, key: u64, cause: Cause) {
        self.blame(key, cause);
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        let has_task =
            instance.condition.is_active() && instance.condition != Condition::Unreachable;
        // Dead or unreachable: nothing can be told to it. If its task ever comes back, it is unknown and killed.
        self.change(key, |instance| instance.goal = Goal::Decommissioned);
        if has_task {
            self.kill(key, cause);
        } else {
            self.expunge(key);
        }
    }

    /// Puts another definition in place; none of its instances is changed by that.
    pub(super) fn redefine(&mut self, app: &Arc<App>) {
        let definition = Arc::new(Definition::new(app.clone()));
        let state = self
            .apps
            .entry(app.id.clone())
            .or_insert_with(|| AppState::new(definition.clone()));
        let reconfigured = !state.fits(app) || state.app().constraints != app.constraints;
        state.definition = definition.clone();
        state.versions.insert(app.version, definition);
        if reconfigured {
            state.delay = None;
            self.classify_anew(&app.id);
        }
        self.touch(&app.id, true);
    }

    /// Builds all indices of an app from its instances.
    fn classify_anew(&mut self, id: &PathId) {
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(state, AppState::new(state.definition.clone()));
        state.versions = old.versions;
        state.instances = old.instances;
        state.delay = old.delay;
        state.lock = old.lock;
        state.looking = old.looking;
        state.last_failure = old.last_failure;
        state.offers = old.offers;
        for key in state.instances.clone() {
            if let Some(instance) = self.instances.get(&key) {
                let class = state.class(instance);
                state.add(&class);
            }
        }
    }

    /// Marks an app as touched.
    pub(super) fn touch(&mut self, id: &PathId, waits_anew: bool) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        if state.unplaced.len() < state.scheduled.len() {
            self.waiting_for_own.insert(id.clone());
        } else {
            self.waiting_for_own.remove(id);
        }
        if state.scheduled.is_empty() && !state.follows_agents() && !state.looking {
            self.waiting.remove(id);
        } else {
            self.waiting.insert(id.clone());
            match state
                .delay
                .filter(|_| super::app_state::is_delayed(state.delay, self.now))
            {
                // A launch counts the delay anew, so its end may have moved since a timer was set for it.
                Some(delay) => {
                    self.timers
                        .insert((delay.deadline(), Timer::Delay(id.clone())));
                }
                None => self.revive.wanted |= waits_anew,
            }
        }
        self.dirty.pending.insert(id.clone());
        self.dirty.apps.insert(id.clone());
    }

    fn announce(&mut self, instance: &Instance) {
        self.event(EventKind::InstanceChanged {
            instance_id: instance.id.clone(),
            condition: instance.condition.name(),
            run_spec_id: instance.spec.id.clone(),
            agent_id: instance.agent.as_ref().map(|agent| agent.id.clone()),
            host: instance.agent.as_ref().map(|agent| agent.host.clone()),
            run_spec_version: instance.spec.version,
        });
    }

    /// An app as reads see it; none if it is deleted.
    pub(super) fn app_view(&self, id: &PathId) -> Option<AppView> {
        self.root.get(id)?;
        let state = self.apps.get(id)?;
        Some(AppView {
            definition: state.shown(),
            counts: state.tally.counts,
            deployments: state.lock.iter().cloned().collect(),
            last_task_failure: state.last_failure.clone(),
        })
    }
}
