//! Pairs of an instance and the one that is to take its place: begun, ended, and mended when one of them is gone.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use tepui_model::Time;

use super::{CROWDED, PATIENCE, Survey};
use crate::{
    core::{AppState, Marathon, app_state::is_delayed},
    definition::App,
    deployment::capacity,
    ended::Cause,
    instance::{Condition, Goal, Instance, Replaces},
    matching::{Counted, Placed},
    path::PathId,
    policy::Policy,
    view::Disruption,
};

impl Marathon {
    /// Ends the old instance of each pair whose new one is ready, as far as the budget allows; gives up replacements that find no place.
    pub(super) fn finish_pairs(
        &mut self,
        id: &PathId,
        policy: &Policy,
        survey: &mut Survey,
        held: &mut Vec<String>,
    ) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        let delayed = is_delayed(state.delay, self.now);
        for (key, replaces) in state.pairs.clone() {
            let (Some(new), Some(old)) = (self.instance(key), self.instance(replaces.key)) else {
                continue;
            };
            let waited = self.now.since(Time::from_millis(new.since.millis()));
            let unplaced = new.condition == Condition::Scheduled;
            if unplaced && replaces.leaves {
                // It may wait for as long as the other has to leave: nothing is lost by that.
                if !self.is_leaving(replaces.key) {
                    self.retire(key, Cause::ScaledDown);
                }
                continue;
            }
            if unplaced && waited >= PATIENCE && !delayed {
                self.retire(key, Cause::ScaledDown);
                if let Some(upkeep) = self.upkeeps.get_mut(id) {
                    upkeep.crowded_until = Some(self.now + CROWDED);
                }
                continue;
            }
            if !new.is_ready() || self.kills.contains_key(&key) {
                continue;
            }
            let (names, serves) = (
                (new.id.clone(), old.id.clone()),
                old.is_ready() && !self.kills.contains_key(&replaces.key),
            );
            if replaces.moves && !self.still_gains(id, policy, key, replaces.key) {
                survey.available -= 1;
                self.retire(key, Cause::ScaledDown);
                self.move_failed(id);
                continue;
            }
            if serves && survey.available <= survey.min_available {
                held.push(format!(
                    "{} is ready and waits to take the place of {}: {}",
                    names.0,
                    names.1,
                    survey.over_budget()
                ));
                continue;
            }
            survey.available -= usize::from(serves);
            self.change(key, |instance| instance.replaces = None);
            self.dirty.unstored.insert(key);
            self.retire(replaces.key, cause_of_pair(replaces));
            if let Some(upkeep) = self.upkeeps.get_mut(id) {
                upkeep.relieved.insert(replaces.key);
            }
            if replaces.moves {
                self.move_done(id);
            }
            let kind = if replaces.moves || replaces.leaves {
                Disruption::Move
            } else {
                Disruption::Restart
            };
            self.note_disruption(id, kind);
        }
    }

    /// Adds an instance that is to take the place of another; its key.
    pub(in crate::core) fn create_replacement(&mut self, app: Arc<App>, replaces: Replaces) -> u64 {
        let key = self.next_instance;
        self.create_instance_of(app, false);
        self.change(key, |instance| instance.replaces = Some(replaces));
        self.dirty.unstored.insert(key);
        key
    }

    /// Where an app's instances are, as one sees it that is to be launched: where those share instances out, the old ones of pairs, and those
    /// on agents that are to be left, have left their shares to others.
    pub(in crate::core) fn placed_of<'a>(&self, state: &'a AppState) -> Cow<'a, Placed> {
        let app = state.app();
        let shares = app.constraints.iter().any(|one| one.groups().is_some());
        // This is asked for each offer, and windows may be known for days: no instance is looked at before an agent is to be left.
        let leaves = shares && self.leaves_some(&app.id);
        if !shares || state.pairs.is_empty() && !leaves {
            return Cow::Borrowed(&state.placed);
        }
        let mut placed = state.placed.clone();
        let mut goes: BTreeSet<u64> = state.pairs.values().map(|one| one.key).collect();
        if leaves {
            let instances = state.instances.iter().copied();
            goes.extend(instances.filter(|key| self.is_leaving(*key)));
        }
        for instance in goes.iter().filter_map(|key| self.instance(*key)) {
            if let Some(agent) = state.class(instance).has_share() {
                placed.change(app, &agent, false, Counted::OnlyForShares);
            }
        }
        Cow::Owned(placed)
    }

    /// Breaks pairs up of which one is gone, or has ended by itself: what is left of them is an instance like others.
    pub(in crate::core) fn mend_pairs(&mut self, id: &PathId) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        if state.pairs.is_empty() {
            return;
        }
        for (key, replaces) in state.pairs.clone() {
            let lives = |one: &Instance| one.goal == Goal::Running && one.condition.is_active();
            let old = self.instance(replaces.key);
            let new = self.instance(key);
            let strayed =
                |one: &Instance| replaces.moves && one.is_scheduled() && one.incarnation > 0;
            if !old.is_some_and(lives) {
                let wanted = old.is_some_and(|one| one.goal == Goal::Running);
                self.change(key, |instance| instance.replaces = None);
                self.dirty.unstored.insert(key);
                if wanted {
                    self.retire(replaces.key, Cause::ScaledDown);
                }
            } else if new.is_some_and(strayed) {
                // Launched again it could be anywhere.
                self.retire(key, Cause::ScaledDown);
                self.move_failed(id);
            } else if new.is_some_and(|one| one.condition == Condition::UnreachableInactive) {
                self.retire(key, Cause::ScaledDown);
            }
        }
    }

    /// Ends instances because there are too many, each with the one that was to take its place.
    pub(in crate::core) fn retire_with_replacements(&mut self, id: &PathId, victims: &[u64]) {
        let pairs = self.apps.get(id).map(|state| state.pairs.clone());
        for key in victims {
            self.retire(*key, Cause::ScaledDown);
        }
        for (key, replaces) in pairs.unwrap_or_default() {
            if victims.contains(&replaces.key) {
                self.change(key, |instance| instance.replaces = None);
                self.dirty.unstored.insert(key);
                self.retire(key, Cause::ScaledDown);
            }
        }
    }

    /// More instances are wanted than there are, and the upgrade strategy has no room for all of them beside pairs: so many that were to take
    /// the place of others become some of those that are wanted. The old ones stay; what they are due for comes later.
    pub(in crate::core) fn join_pairs(&mut self, id: &PathId, awaited: bool) {
        let (Some(app), Some(state)) = (self.root.get(id), self.apps.get(id)) else {
            return;
        };
        let wanted = app.instances as usize;
        let bounds = capacity(wanted, wanted, wanted, app.upgrade_strategy, false);
        let room = bounds.max_running.saturating_sub(wanted);
        let missing = (wanted + state.pairs.len()).saturating_sub(state.tally.wanted);
        let joining = state.pairs.len().saturating_sub(room).min(missing);
        let keys: Vec<u64> = state.pairs.keys().rev().take(joining).copied().collect();
        for key in keys {
            self.change(key, |instance| {
                instance.replaces = None;
                instance.awaited |= awaited && !instance.is_ready();
            });
            self.dirty.unstored.insert(key);
        }
    }

    /// Of the instances that are on their way out, how many another has taken the place of: no deployment has to wait for these.
    pub(in crate::core) fn relieved(&self, id: &PathId) -> usize {
        let upkeep = self.upkeeps.get(id).into_iter();
        let relieved = upkeep.flat_map(|one| &one.relieved);
        relieved
            .filter(|key| self.instance(**key).is_some())
            .count()
    }

    /// Fewer instances are wanted, and the upgrade strategy has no room beside them for all pairs that there are: so many of these end at once, or
    /// whatever is launched again would be one too many. What the old ones are due for comes later.
    pub(in crate::core) fn part_pairs(&mut self, id: &PathId) {
        let (Some(app), Some(state)) = (self.root.get(id), self.apps.get(id)) else {
            return;
        };
        let wanted = app.instances as usize;
        let bounds = capacity(wanted, wanted, wanted, app.upgrade_strategy, false);
        let room = bounds.max_running.saturating_sub(wanted);
        let pairs = state.pairs.iter().rev();
        let parting = pairs.take(state.pairs.len().saturating_sub(room));
        for (key, replaces) in parting.map(|(key, one)| (*key, *one)).collect::<Vec<_>>() {
            self.end_pair(key, replaces, Cause::ScaledDown);
        }
    }

    /// Ends one of each pair at once.
    pub(in crate::core) fn end_pairs(&mut self, id: &PathId) {
        let pairs = self
            .apps
            .get(id)
            .map(|state| state.pairs.clone())
            .unwrap_or_default();
        for (key, replaces) in pairs {
            self.end_pair(key, replaces, cause_of_pair(replaces));
        }
    }

    /// Ends one of a pair: the old one, for this cause, if the new one is ready, the new one otherwise.
    fn end_pair(&mut self, key: u64, replaces: Replaces, cause: Cause) {
        let ready = self
            .instance(key)
            .is_some_and(|one| one.is_ready() && !self.kills.contains_key(&key));
        let has_old = self
            .instance(replaces.key)
            .is_some_and(|one| one.goal == Goal::Running);
        self.change(key, |instance| instance.replaces = None);
        self.dirty.unstored.insert(key);
        if has_old {
            if ready {
                self.retire(replaces.key, cause);
            } else {
                self.retire(key, Cause::ScaledDown);
            }
        }
    }

    /// After a failover: pairs of apps that nothing goes on with any more.
    pub(in crate::core) fn recover_pairs(&mut self) {
        let left = self.apps.iter().filter(|(id, state)| {
            let reconfigured = state.lock.is_some() && !self.is_scaled(id);
            !state.pairs.is_empty() && (reconfigured || !self.upkeeps.contains_key(*id))
        });
        for id in left.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let state = self.apps.get(&id);
            let leaves = state.is_some_and(|one| one.pairs.values().all(|pair| pair.leaves));
            if leaves && !self.upkeeps.contains_key(&id) {
                // The master will tell of the agents that are left.
                self.upkeeps.entry(id.clone()).or_default();
                self.wake_upkeep(&id, self.now + PATIENCE);
            } else {
                self.end_pairs(&id);
            }
        }
    }
}

/// Why the old one of a pair ends.
const fn cause_of_pair(replaces: Replaces) -> Cause {
    if replaces.moves || replaces.leaves {
        Cause::Moved
    } else {
        Cause::Restarted
    }
}
