//! How an app goes on: the action that a deployment has for it, or the check of its number of instances.
//!
//! Invariants while instances are replaced: never more run than `max_running`; as long as there are `min_healthy` healthy ones, no healthy
//! one is killed that would leave fewer.

use std::sync::Arc;

use super::Marathon;
use crate::{
    definition::KillSelection,
    deployment::{ActionKind, capacity},
    ended::Cause,
    event::EventKind,
    instance::{Condition, Instance},
    path::PathId,
};

impl Marathon {
    /// Lets every app that was touched go on, until nothing more follows.
    pub(super) fn settle(&mut self) {
        self.end_failed_trials();
        while let Some(id) = self.dirty.pending.pop_first() {
            self.progress(&id);
        }
    }

    fn progress(&mut self, id: &PathId) {
        let Some(state) = self.apps.get(id) else {
            // Deleted before its deployment came to it: nothing is left to do.
            self.skip_action(id);
            return;
        };
        let lock = state.lock.clone();
        self.touch_upkeep(id);
        let Some(state) = self.apps.get(id) else {
            return;
        };
        match lock {
            None if self.is_daemon(id) && self.root.get(id).is_some() => {
                self.keep_daemon(id);
            }
            None if self.root.get(id).is_some() => {
                self.mend_pairs(id);
                self.keep_scale(id, false);
            }
            None => {
                for key in state.instances.iter().copied().collect::<Vec<_>>() {
                    if self
                        .instances
                        .get(&key)
                        .is_some_and(|one| one.goal != crate::instance::Goal::Decommissioned)
                    {
                        self.decommission(key, Cause::Deleted);
                    }
                }
                self.drop_if_gone(id);
            }
            Some(lock) => {
                self.mend_pairs(id);
                let Some(state) = self.apps.get(id) else {
                    return;
                };
                // What is to be looked through may be long, so first whether there is a reason to.
                let wanted = self.root.get(id).map(|app| app.instances as usize);
                let differs =
                    wanted.is_some_and(|wanted| wanted + state.pairs.len() != state.tally.wanted);
                let deployment = self.deployments.get(&lock);
                let action = deployment.and_then(|deployment| deployment.action(id));
                let done = differs && deployment.is_some_and(|one| one.is_done_with(id));
                match action {
                    Some(action) if self.go_on(id, action) => self.action_done(&lock, id),
                    Some(_) => {}
                    // The rest of the deployment may take for ever.
                    None if done => {
                        if self.is_daemon(id) {
                            self.keep_daemon(id);
                        } else {
                            self.keep_scale(id, false);
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn is_daemon(&self, id: &PathId) -> bool {
        self.apps.get(id).is_some_and(|state| state.seats.is_some())
    }

    fn skip_action(&mut self, id: &PathId) {
        let holder = self
            .deployments
            .iter()
            .find(|(_, deployment)| deployment.action(id).is_some());
        if let Some(lock) = holder.map(|(lock, _)| lock.clone()) {
            self.action_done(&lock, id);
        }
    }

    /// Carries an action on; true when it is done.
    fn go_on(&mut self, id: &PathId, action: ActionKind) -> bool {
        match action {
            ActionKind::Start => true,
            ActionKind::Scale | ActionKind::Restart if self.is_daemon(id) => {
                if action == ActionKind::Scale {
                    self.keep_daemon(id)
                } else {
                    self.replace_daemon(id)
                }
            }
            ActionKind::Scale => {
                self.keep_scale(id, true);
                let wanted = self.root.get(id).map_or(0, |app| app.instances as usize);
                self.apps.get(id).is_none_or(|state| {
                    let tally = state.tally;
                    tally.wanted == wanted + state.pairs.len()
                        && tally.awaited == 0
                        && (tally.leaving == 0 || tally.leaving == self.relieved(id))
                })
            }
            ActionKind::Restart if self.try_out(id) => false,
            ActionKind::Restart => {
                if self.switches_over(id) {
                    self.end_old(id);
                }
                self.replace(id)
            }
            ActionKind::Stop => {
                let stopped = self
                    .apps
                    .get(id)
                    .is_none_or(|state| state.instances.is_empty());
                if stopped {
                    self.event(EventKind::AppTerminated { app_id: id.clone() });
                }
                stopped
            }
        }
    }

    /// Brings the number of instances to what the definition wants.
    fn keep_scale(&mut self, id: &PathId, awaited: bool) {
        self.tidy_ordinals(id);
        self.join_pairs(id, awaited);
        self.part_pairs(id);
        let (Some(app), Some(state)) = (self.root.get(id), self.apps.get(id)) else {
            return;
        };
        // Of a pair both are wanted, until one takes the place of the other.
        let target = app.instances as usize + state.pairs.len();
        let wanted = state.tally.wanted;
        if wanted > target {
            let victims = self.victims(id, wanted - target);
            self.retire_with_replacements(id, &victims);
        }
        for _ in wanted..target {
            self.add_instance(id, awaited, false);
        }
    }

    /// Kills what a replacement kills at its beginning beyond what it kills at any time: the surplus of old ones.
    pub(super) fn ignite(&mut self, id: &PathId) {
        let (Some(app), Some(state)) = (self.root.get(id).cloned(), self.apps.get(id)) else {
            return;
        };
        let tally = state.tally;
        // New ones that a former leader launched already are no surplus.
        let old = tally.wanted - tally.wanted_new;
        let bounds = capacity(
            app.instances as usize,
            tally.ready,
            old,
            app.upgrade_strategy,
            app.is_replaced_in_place(),
        );
        self.kill_old(id, bounds.kill_now.min(old), app.kill_selection);
    }

    /// Replaces instances of other configurations as far as is possible now; true when all are replaced.
    fn replace(&mut self, id: &PathId) -> bool {
        let (Some(app), Some(state)) = (self.root.get(id).cloned(), self.apps.get(id)) else {
            return true;
        };
        let target = app.instances as usize;
        // Those that serve nobody go first; it costs nothing.
        for key in state.old_idle.iter().copied().collect::<Vec<_>>() {
            self.retire(key, Cause::Replaced);
        }
        let Some(state) = self.apps.get(id) else {
            return true;
        };
        let tally = state.tally;
        let bounds = capacity(
            target,
            tally.ready,
            tally.wanted,
            app.upgrade_strategy,
            app.is_replaced_in_place(),
        );
        let ready_old = tally.ready - tally.ready_new;
        self.kill_old(
            id,
            tally
                .ready
                .saturating_sub(bounds.min_healthy)
                .min(ready_old),
            app.kill_selection,
        );
        if tally.wanted_new > target {
            let surplus: Vec<u64> = self.victims_of(id, tally.wanted_new - target, |fits| fits);
            for key in surplus {
                self.retire(key, Cause::ScaledDown);
            }
        }
        self.call_off(id, bounds.max_running);
        let Some(tally) = self.apps.get(id).map(|state| state.tally) else {
            return true;
        };
        let room = bounds
            .max_running
            .saturating_sub(tally.active_old + tally.wanted_new);
        for _ in 0..room.min(target.saturating_sub(tally.wanted_new)) {
            self.add_instance(id, true, true);
        }
        let Some(tally) = self.apps.get(id).map(|state| state.tally) else {
            return true;
        };
        tally.wanted_new == target
            && tally.wanted == target
            && tally.awaited == 0
            && tally.active_old == 0
    }

    /// Calls new instances off that wait for an offer while there is no room for them: they were there before the old ones were to be replaced, or
    /// old ones have come back. When there is room there will be others.
    fn call_off(&mut self, id: &PathId, max_running: usize) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        let excess = (state.tally.active_old + state.tally.wanted_new).saturating_sub(max_running);
        if excess == 0 {
            return;
        }
        let waiting = state.scheduled.iter().rev().filter(|key| {
            let instance = self.instances.get(key);
            instance.is_some_and(|one| state.fits(&one.spec))
        });
        for key in waiting.take(excess).copied().collect::<Vec<_>>() {
            self.retire(key, Cause::Replaced);
        }
    }

    /// Ends all old instances.
    fn end_old(&mut self, id: &PathId) {
        let selection = self.root.get(id).map(|app| app.kill_selection);
        self.kill_old(id, usize::MAX, selection.unwrap_or_default());
    }

    /// Decommissions so many old instances: first those that serve nobody, then those that may not, then by age.
    fn kill_old(&mut self, id: &PathId, count: usize, selection: KillSelection) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        let idle = state.old_idle.iter().copied();
        if count > 0
            && let Some(serving) = self.old_by_ordinal(id)
        {
            let victims: Vec<u64> = idle.chain(serving).take(count).collect();
            for key in victims {
                self.retire(key, Cause::Replaced);
            }
            return;
        }
        let serving = state.old_serving_by(selection);
        let victims: Vec<u64> = idle.chain(serving).take(count).collect();
        for key in victims {
            self.retire(key, Cause::Replaced);
        }
    }

    /// Which instances go when there are too many; of a pair the old one, which takes the new one with it.
    fn victims(&self, id: &PathId, count: usize) -> Vec<u64> {
        self.victims_of(id, count, |_| true)
    }

    pub(super) fn victims_of(
        &self,
        id: &PathId,
        count: usize,
        chosen: impl Fn(bool) -> bool,
    ) -> Vec<u64> {
        let Some(state) = self.apps.get(id) else {
            return Vec::new();
        };
        let candidates = state
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key))
            .filter(|instance| {
                let counted = instance.goal == crate::instance::Goal::Running
                    && instance.condition != Condition::UnreachableInactive
                    && !state.pairs.contains_key(&instance.key);
                counted && chosen(state.fits(&instance.spec))
            });
        if state.ordinals.is_some() {
            let mut candidates: Vec<&Instance> = candidates.collect();
            // The highest first, and of two under one ordinal the younger.
            candidates
                .sort_by_key(|one| (std::cmp::Reverse(one.ordinal), std::cmp::Reverse(one.key)));
            return candidates.iter().take(count).map(|one| one.key).collect();
        }
        crate::instance::kill_order(state.app(), candidates.collect(), count)
    }
}

/// The instance's definition, for those who have only its key.
impl Marathon {
    pub(super) fn instance(&self, key: u64) -> Option<&Instance> {
        self.instances.get(&key)
    }

    pub(super) fn app_of(&self, key: u64) -> Option<Arc<crate::definition::App>> {
        self.instance(key).map(|instance| instance.spec.clone())
    }
}
