//! How an app stands: what is there, what has to stay, and what is to be replaced.

use std::{collections::BTreeSet, sync::Arc};

use tepui_model::Time;

use super::SETTLED;
use crate::{
    core::Marathon,
    definition::App,
    deployment::capacity,
    instance::{Condition, Goal, Instance},
    path::PathId,
    policy::Policy,
    timestamp::Timestamp,
};

/// An app as it was looked over.
pub(in crate::core) struct Survey {
    pub(in crate::core) wanted: usize,
    /// That a deployment which scales wants beyond these, and that never ran yet: they were never there, so they are not away.
    pub(super) coming: usize,
    /// Ready, and not being killed.
    pub(in crate::core) available: usize,
    /// So many have to stay.
    pub(in crate::core) min_available: usize,
    /// So many may run, replacements included.
    pub(in crate::core) max_running: usize,
    /// Replacements can stand beside those that they replace.
    pub(in crate::core) beside: bool,
    /// To be replaced, the oldest first.
    pub(super) due: Vec<(Timestamp, u64)>,
    /// To be replaced, and not ready.
    pub(super) due_unready: BTreeSet<u64>,
    /// On agents that go down, ready or not.
    pub(super) leaving: Vec<(Timestamp, u64)>,
    pub(super) leaving_unready: BTreeSet<u64>,
    /// When the next agent is to be left.
    pub(super) next_leave: Option<Time>,
    pub(super) next_expiry: Option<Timestamp>,
    /// When the next instance counts that runs already.
    pub(super) settles: Option<Time>,
}

impl Survey {
    /// So many may be away.
    pub(super) fn allowed(&self) -> usize {
        self.wanted.saturating_sub(self.min_available)
    }

    pub(super) fn away(&self) -> usize {
        self.wanted.saturating_sub(self.available)
    }

    pub(in crate::core) fn over_budget(&self) -> String {
        let away = self.away();
        let is = if away == 1 { "is" } else { "are" };
        format!("budget allows {} unavailable, {away} {is}", self.allowed())
    }
}

impl Marathon {
    /// How many there are, how many have to stay, and which are to be replaced.
    pub(in crate::core) fn survey(&mut self, id: &PathId, app: &App, policy: &Policy) -> Survey {
        let now = self.stamp();
        let mut survey = Survey {
            wanted: app.instances as usize,
            coming: 0,
            available: 0,
            min_available: 0,
            max_running: 0,
            beside: stands_beside(app),
            due: Vec::new(),
            due_unready: BTreeSet::new(),
            leaving: Vec::new(),
            leaving_unready: BTreeSet::new(),
            next_leave: None,
            next_expiry: None,
            settles: None,
        };
        let run = self
            .upkeeps
            .get(id)
            .and_then(|one| one.kept.course.launched_before);
        let Some(state) = self.apps.get(id) else {
            return survey;
        };
        let scaled = self.is_scaled(id);
        let replaced: BTreeSet<u64> = state.pairs.values().map(|one| one.key).collect();
        for instance in state.instances.iter().filter_map(|key| self.instance(*key)) {
            if instance.goal != Goal::Running {
                continue;
            }
            survey.coming += usize::from(scaled && never_ran(instance));
            let killed = self.kills.contains_key(&instance.key);
            let ready = instance.is_ready() && !killed;
            let settles = self.settles(id, instance).filter(|_| ready);
            survey.settles = survey.settles.into_iter().chain(settles).min();
            survey.available += usize::from(ready && settles.is_none());
            let Some(task) = instance
                .task
                .as_ref()
                .filter(|_| instance.condition == Condition::Running && !killed)
            else {
                continue;
            };
            let random = spread_of(&instance.id, instance.incarnation);
            let expiry = policy
                .restarts
                .as_ref()
                .and_then(|one| one.expires(task.staged_at, random));
            let expired = expiry.is_some_and(|at| at <= now);
            if replaced.contains(&instance.key) {
                continue;
            }
            let on = instance.agent.as_ref().filter(|_| !self.leaving.is_empty());
            let leaves = on.and_then(|agent| self.leaves_at(app, &agent.id));
            if leaves.is_some_and(|at| at <= self.now) {
                if ready {
                    survey.leaving.push((task.staged_at, instance.key));
                } else {
                    survey.leaving_unready.insert(instance.key);
                }
                continue;
            }
            survey.next_leave = survey.next_leave.into_iter().chain(leaves).min();
            if expired || run.is_some_and(|run| task.staged_at < run) {
                if ready {
                    survey.due.push((task.staged_at, instance.key));
                } else {
                    survey.due_unready.insert(instance.key);
                }
            } else if let Some(at) = expiry {
                survey.next_expiry = Some(survey.next_expiry.map_or(at, |other| other.min(at)));
            }
        }
        survey.due.sort_unstable();
        survey.leaving.sort_unstable();
        if app.is_daemon() {
            let there = state.tally.wanted;
            survey.wanted = there + self.open_gaps(app);
        }
        survey.wanted = survey.wanted.saturating_sub(survey.coming);
        let bounds = capacity(
            survey.wanted,
            survey.wanted,
            survey.wanted,
            app.upgrade_strategy,
            !survey.beside,
        );
        let budget = policy.disruption_budget.as_ref();
        let said = budget.and_then(|budget| budget.min_available(survey.wanted));
        // What cannot have another beside it goes below the strategy's bound, as in a deployment where nothing could move.
        let most = survey.wanted.saturating_sub(usize::from(!survey.beside));
        survey.min_available = said.unwrap_or(bounds.min_healthy.min(most));
        survey.max_running = if survey.beside {
            bounds.max_running
        } else {
            survey.wanted
        };
        survey
    }

    /// When an instance that took the place of another on an agent counts, if it does not yet.
    pub(super) fn settles(&self, id: &PathId, instance: &Instance) -> Option<Time> {
        let upkeep = self.upkeeps.get(id).filter(|one| !one.gaps.is_empty())?;
        let there = upkeep.gaps.contains_key(&instance.agent.as_ref()?.id);
        let since = instance.active_since.filter(|_| there)?;
        let at = Time::from_millis(since.millis()) + SETTLED;
        // Of a clock that was ahead: nobody waits for that.
        (self.now < at && since <= self.stamp()).then_some(at)
    }

    /// Agents of a daemon app that wait for the instance that takes the place of one that was killed, or has failed there.
    pub(super) fn open_gaps(&mut self, app: &App) -> usize {
        let id = &app.id;
        let Some(state) = self.apps.get(id) else {
            return 0;
        };
        let wanted = state.instances.iter().filter_map(|key| self.instance(*key));
        let wanted = wanted.filter(|one| one.goal == Goal::Running);
        let there: BTreeSet<Arc<str>> = wanted
            .filter_map(|one| Some(one.agent.as_ref()?.id.clone()))
            .collect();
        let failing = state.seats.iter().flat_map(|seats| seats.delays.keys());
        let mut waiting: BTreeSet<Arc<str>> = failing.cloned().collect();
        // A gap lasts for as long as something is to run there, however long that takes: whoever forgot it would take the next one away.
        let open = self.upkeeps.get(id).into_iter().flat_map(|one| &one.gaps);
        let open = open.filter(|(agent, until)| **until > self.now || self.is_chosen(app, agent));
        let open: BTreeSet<Arc<str>> = open.map(|(agent, _)| agent.clone()).collect();
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.gaps.retain(|agent, _| open.contains(agent));
        }
        waiting.extend(open);
        waiting.difference(&there).count()
    }
}

/// Whether two instances of an app may stand in for one for a while.
fn stands_beside(app: &App) -> bool {
    let single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP");
    let single = single.is_some_and(|value| value == "true");
    !single && !app.is_replaced_in_place() && !app.has_ordinals() && !app.is_daemon()
}

/// Whether a deployment waits for an instance that waits for its first place, or is on its way to run there.
fn never_ran(instance: &Instance) -> bool {
    use Condition::{Provisioned, Scheduled, Staging, Starting};
    let first = match instance.condition {
        Scheduled => instance.incarnation == 0,
        Provisioned | Staging | Starting => instance.incarnation <= 1,
        _ => false,
    };
    instance.awaited && first
}

/// A number that is another for each task of each instance, the same for every leader.
fn spread_of(instance: &str, incarnation: u64) -> u64 {
    // FNV-1a, 64 bits.
    let bytes = instance.bytes().chain(incarnation.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ hash >> 32
}
