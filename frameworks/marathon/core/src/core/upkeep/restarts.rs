//! Restarts: the times of the schedule that have come, and what begins for them; and for agents that go down.

use std::{collections::BTreeSet, sync::Arc};

use super::{ILL, Survey};
use crate::{
    core::Marathon,
    definition::App,
    instance::{Condition, Goal, Replaces},
    path::PathId,
    policy::Policy,
    view::Disruption,
};

impl Marathon {
    /// Takes note of the times of the schedule that have come.
    pub(super) fn advance_schedule(&mut self, id: &PathId, policy: &Policy) {
        let now = self.stamp();
        let (Some(settings), Some(upkeep)) = (&policy.restarts, self.upkeeps.get_mut(id)) else {
            return;
        };
        let course = settings.advance(upkeep.kept.course, now);
        if course != upkeep.kept.course {
            upkeep.kept.course = course;
            self.store_policy(id);
        }
    }

    /// Nothing is left to be replaced for the time that was under way.
    pub(super) fn end_run(&mut self, id: &PathId) {
        let replacing = self
            .apps
            .get(id)
            .is_some_and(|state| state.pairs.values().any(|one| !one.moves && !one.leaves));
        let Some(upkeep) = self.upkeeps.get_mut(id).filter(|_| !replacing) else {
            return;
        };
        if let Some(at) = upkeep.kept.course.under_way.take() {
            upkeep.kept.course.last = Some(at);
            self.store_policy(id);
        }
    }

    /// Begins to replace what is due, as much as may be at once; why no more, if something is left that waits for more than its turn.
    pub(super) fn begin_to_replace(
        &mut self,
        id: &PathId,
        app: &Arc<App>,
        policy: &Policy,
        survey: &mut Survey,
        kind: Disruption,
    ) -> Option<String> {
        let state = self.apps.get(id)?;
        let (mut running, mut replacing) = (
            state.tally.wanted.saturating_sub(survey.coming),
            state.pairs.len(),
        );
        // What leaves an agent waits for no interval, and for a place elsewhere as long as it takes.
        let leaves = matches!(kind, Disruption::Move);
        let crowded = self.upkeeps.get(id)?.crowded_until;
        let crowded = !leaves && crowded.is_some_and(|until| self.now < until);
        let budget = policy.disruption_budget.as_ref();
        let one_by_one = !leaves && budget.is_some_and(|budget| budget.min_interval_seconds > 0);
        let beside = survey.beside && survey.max_running > survey.wanted && !crowded;
        let at_once = if one_by_one {
            1
        } else {
            survey.allowed().max(1)
        };
        // What is not ready is taken from nobody; but no more at once than may be away, should all of them seem to be ill.
        let (mut ill, mut in_flight) = self.ill(id);
        ill.retain(|key| survey.leaving_unready.contains(key) == leaves);
        for key in ill {
            if in_flight >= at_once || one_by_one && replacing > 0 {
                return None;
            }
            self.take_away(id, key, kind);
            (in_flight, replacing) = (in_flight + 1, replacing + 1);
        }
        let due = if leaves {
            &mut survey.leaving
        } else {
            &mut survey.due
        };
        for (_, key) in std::mem::take(due) {
            if one_by_one && replacing > 0 {
                return None;
            }
            if beside {
                if survey.away() > survey.allowed() {
                    return Some(survey.over_budget());
                }
                if replacing >= at_once || running >= survey.max_running {
                    return None;
                }
                let replaces = Replaces {
                    key,
                    moves: false,
                    leaves,
                };
                self.create_replacement(app.clone(), replaces);
                running += 1;
            } else {
                if survey.available <= survey.min_available {
                    return Some(if crowded && survey.away() == 0 {
                        "there is no room for a replacement beside the others, and its budget allows none unavailable".to_owned()
                    } else {
                        survey.over_budget()
                    });
                }
                survey.available -= 1;
                self.take_away(id, key, kind);
            }
            replacing += 1;
        }
        let unready = if leaves {
            &survey.leaving_unready
        } else {
            &survey.due_unready
        };
        (!unready.is_empty() && replacing == 0).then(|| survey.over_budget())
    }

    /// Takes note of what is to be replaced and is not ready.
    pub(super) fn note_unready(&mut self, id: &PathId, survey: &Survey) {
        let now = self.now;
        let unready = || survey.due_unready.union(&survey.leaving_unready);
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            let wanted: BTreeSet<u64> = unready().copied().collect();
            upkeep.unready.retain(|key, _| wanted.contains(key));
            for key in &wanted {
                upkeep.unready.entry(*key).or_insert(now);
            }
        }
    }

    /// What is to be replaced and has not been ready for long; and how many of the app are on their way to run.
    pub(super) fn ill(&self, id: &PathId) -> (Vec<u64>, usize) {
        let (Some(state), Some(upkeep)) = (self.apps.get(id), self.upkeeps.get(id)) else {
            return (Vec::new(), 0);
        };
        // Half of a pair ends with the pair.
        let since = upkeep
            .unready
            .iter()
            .filter(|(_, since)| **since + ILL <= self.now);
        let ill = since
            .map(|(key, _)| *key)
            .filter(|key| !state.pairs.contains_key(key));
        let ill: Vec<u64> = ill.collect();
        if ill.is_empty() {
            return (ill, 0);
        }
        let all = state.instances.iter().filter_map(|key| self.instance(*key));
        let on_their_way = all.filter(|one| {
            one.goal == Goal::Running
                && (self.kills.contains_key(&one.key)
                    || one.is_scheduled()
                    || matches!(
                        one.condition,
                        Condition::Provisioned | Condition::Staging | Condition::Starting
                    ))
        });
        (ill, on_their_way.count())
    }
}
