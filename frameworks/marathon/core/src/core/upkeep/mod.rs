//! What Marathon does to instances that are well: scheduled restarts, and the budget for these and for moves (`moves`).
//!
//! Promises: nothing is taken away that the budget does not allow, whatever else is away counted; a replacement comes first where the
//! upgrade strategy has room beside the instances that are wanted, and the old instance ends when it is ready; while a deployment holds the app
//! nothing begins, unless it is the autoscaler's, for the next one may come before all is done; a deployment that changes more than the number of
//! instances ends at once what is half done, one of each pair, and any other lets it go on; what is due is read off the instances at each look,
//! so it does not matter what was lost or which leader began.
//!
//! An app is looked over when a moment of its own has come, and after changes, at most once a second: that takes time that grows with its instances.

mod leaving;
mod machines;
mod pairs;
mod restarts;
mod survey;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tepui_model::Time;

pub(super) use leaving::Leaving;
pub(super) use survey::Survey;

use super::{Marathon, Timer, app_state::is_delayed, moves::Balance};
use crate::{
    ended::Cause,
    instance::{Condition, Goal},
    output::Output,
    path::PathId,
    policy::{Course, Policy},
    timestamp::Timestamp,
    view::{Change, Disruption},
};

/// An app is looked over at most so often.
const PAUSE: Duration = Duration::from_secs(1);
/// A replacement without a place is given up after so long; and then for so long none is tried beside the old ones.
const PATIENCE: Duration = Duration::from_secs(60);
const CROWDED: Duration = Duration::from_secs(600);
/// An agent whose instance of a daemon app was restarted counts as one without for so long, if no other comes.
const GAP: Duration = Duration::from_secs(240);
/// What took the place of an instance of a daemon app counts once it has run for so long: one that fails at once is not back.
const SETTLED: Duration = Duration::from_secs(10);
/// An instance that is to be replaced, and was not ready for so long while this leader saw it, is taken for ill.
const ILL: Duration = Duration::from_secs(60);

/// Of one app.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) kept: Kept,
    timer: Option<Time>,
    looked_over: Option<Time>,
    /// There was no room for a replacement beside the others.
    crowded_until: Option<Time>,
    /// Agents of a daemon app whose instance was killed to be replaced.
    gaps: BTreeMap<Arc<str>, Time>,
    /// Instances that are to be replaced and are not ready, and since when this leader has seen that.
    unready: BTreeMap<u64, Time>,
    /// Instances whose place another has taken, until they have ended.
    relieved: BTreeSet<u64>,
    pub(super) balance: Balance,
    status: Status,
}

/// What is stored of it, beside the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    #[serde(default)]
    pub(super) course: Course,
    /// When something was taken away last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disrupted_at: Option<Timestamp>,
    /// Agents of a daemon app that waited, when it was stored, for what takes the place of an instance that was killed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    gaps: BTreeSet<Arc<str>>,
}

/// What people are told.
#[derive(Debug, Default)]
struct Status {
    due: usize,
    leaving: usize,
    available: usize,
    min_available: usize,
    next_expiry: Option<Timestamp>,
    /// Why nothing happens though something is due.
    held: Vec<String>,
}

impl Marathon {
    /// Begins, changes or ends what goes on with an app, as its policy says now.
    pub(super) fn follow_upkeep(&mut self, id: &PathId, kept: Kept) {
        self.end_pairs(id);
        self.end_look(id);
        let wanted = self
            .policies
            .get(id)
            .is_some_and(|policy| policy.restarts.is_some() || policy.rebalance.is_some());
        // Who asked for something did not ask for it by the policy.
        let asked = self.upkeeps.remove(id).and_then(|one| one.balance.asked());
        if wanted || asked.is_some() {
            let until = self.now + GAP;
            let upkeep = Upkeep {
                gaps: kept
                    .gaps
                    .iter()
                    .map(|agent| (agent.clone(), until))
                    .collect(),
                kept,
                balance: Balance::of(asked),
                ..Upkeep::default()
            };
            self.upkeeps.insert(id.clone(), upkeep);
            self.wake_upkeep(id, self.now);
        }
    }

    /// What is to be stored beside a policy that takes the place of another.
    pub(super) fn kept_of(&self, id: &PathId, old: &Policy, new: &Policy) -> Kept {
        let mut kept = self.kept(id).unwrap_or_default();
        let clock = |policy: &Policy| {
            let restarts = policy.restarts.clone()?;
            Some((restarts.schedule, restarts.utc_offset))
        };
        if clock(old) != clock(new) {
            // Times of another schedule say nothing about this one.
            kept.course = Course {
                dealt_with: Some(self.stamp()),
                ..Course::default()
            };
        }
        kept
    }

    /// What is to be stored now beside the policy of an app.
    pub(super) fn kept(&self, id: &PathId) -> Option<Kept> {
        let upkeep = self.upkeeps.get(id)?;
        let gaps = match self.apps.get(id) {
            Some(state) if !upkeep.gaps.is_empty() => {
                let stays = state.instances.iter().filter_map(|key| self.instance(*key));
                // One that only just runs may not be back.
                let stays = stays.filter(|one| {
                    one.goal == Goal::Running
                        && one.is_ready()
                        && !self.kills.contains_key(&one.key)
                        && self.settles(id, one).is_none()
                });
                let there: BTreeSet<&str> = stays
                    .filter_map(|one| Some(&*one.agent.as_ref()?.id))
                    .collect();
                let open = upkeep
                    .gaps
                    .keys()
                    .filter(|agent| !there.contains(&***agent));
                open.cloned().collect()
            }
            _ => BTreeSet::new(),
        };
        Some(Kept {
            gaps,
            ..upkeep.kept.clone()
        })
    }

    /// Writes which agents of a daemon app wait for another instance, if it is not written: who leads next must not take one more away.
    fn store_gaps(&mut self, id: &PathId) {
        let Some(Kept { gaps, .. }) = self.kept(id) else {
            return;
        };
        let upkeep = self.upkeeps.get_mut(id);
        if let Some(upkeep) = upkeep.filter(|upkeep| upkeep.kept.gaps != gaps) {
            upkeep.kept.gaps = gaps;
            self.store_policy(id);
        }
    }

    /// Takes over what was stored; what a clock that was ahead wrote is of now.
    pub(super) fn recover_upkeep(&mut self, id: &PathId, mut kept: Kept) {
        let now = self.stamp();
        kept.disrupted_at = kept.disrupted_at.map(|at| at.min(now));
        self.follow_upkeep(id, kept);
        // Before anything is launched, which has to be told from what was launched before.
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        self.advance_schedule(id, &policy);
    }

    /// Looks an app over at a moment, if not before.
    pub(super) fn wake_upkeep(&mut self, id: &PathId, at: Time) {
        let Some(upkeep) = self.upkeeps.get_mut(id) else {
            return;
        };
        let at = upkeep.looked_over.map_or(at, |last| at.max(last + PAUSE));
        if upkeep.timer.is_some_and(|set| set <= at) {
            return;
        }
        if let Some(set) = upkeep.timer.replace(at) {
            self.timers.remove(&(set, Timer::Upkeep(id.clone())));
        }
        self.timers.insert((at, Timer::Upkeep(id.clone())));
    }

    /// An app was touched: looked over soon, if anything goes on with it.
    pub(super) fn touch_upkeep(&mut self, id: &PathId) {
        self.wake_upkeep(id, self.now);
    }

    /// Looks an app over, and begins and ends what is to be.
    pub(super) fn tend(&mut self, id: &PathId) {
        let Some(app) = self.root.get(id).cloned() else {
            self.upkeeps.remove(id);
            return;
        };
        let (now, policy) = (self.now, self.policies.get(id).cloned().unwrap_or_default());
        let Some(upkeep) = self.upkeeps.get_mut(id) else {
            return;
        };
        upkeep.timer = None;
        upkeep.looked_over = Some(now);
        upkeep
            .relieved
            .retain(|key| self.instances.contains_key(key));
        self.advance_schedule(id, &policy);
        self.mend_pairs(id);
        let mut survey = self.survey(id, &app, &policy);
        let mut held = Vec::new();
        self.finish_pairs(id, &policy, &mut survey, &mut held);
        let held_now = self.held(id);
        let stop = (held_now.clone()).or_else(|| self.kept_back(id, &policy));
        // What somebody asks for waits for no window; how much may be away is another matter.
        let asked = self
            .upkeeps
            .get(id)
            .is_some_and(|one| one.balance.is_asked_for());
        // Nor does what the operator of the cluster asks for.
        let stop_leaving = held_now.as_ref().map(|(why, _)| why.clone());
        let stop_moves = if asked { held_now } else { stop.clone() };
        // A move begins with everything in its place.
        let lock = self.apps.get(id).and_then(|state| state.lock.as_ref());
        let stop_moves = lock.map(|lock| (held_by(lock), None)).or(stop_moves);
        let due = survey.due.len() + survey.due_unready.len();
        let leaving = survey.leaving.len() + survey.leaving_unready.len();
        self.note_unready(id, &survey);
        let waits = self.leave_agents(id, &app, &policy, &mut survey, stop_leaving);
        held.extend(waits);
        if due > 0 {
            let why = match &stop {
                Some((why, _)) => Some(why.clone()),
                None => {
                    let kind = Disruption::Restart;
                    let why = self.begin_to_replace(id, &app, &policy, &mut survey, kind);
                    self.store_gaps(id);
                    why
                }
            };
            let instances = if due == 1 { "instance" } else { "instances" };
            held.extend(why.map(|why| format!("restart of {due} {instances} waits: {why}")));
        } else {
            self.end_run(id);
        }
        self.balance(
            id,
            &app,
            &policy,
            &survey,
            due + leaving,
            stop_moves.map(|(why, _)| why),
            &mut held,
        );
        let next = self.next_moment(id, &policy, &survey, stop.and_then(|(_, at)| at));
        let replacing = self.apps.get(id).map_or(0, |state| {
            let restarts = state.pairs.values();
            restarts.filter(|one| !one.moves && !one.leaves).count()
        });
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.status = Status {
                due: due + replacing,
                leaving,
                available: survey.available,
                min_available: survey.min_available,
                next_expiry: survey.next_expiry,
                held,
            };
        }
        if let Some(at) = next {
            self.wake_upkeep(id, at);
        }
    }

    /// Whether the deployment that holds an app changes nothing but the number of its instances.
    fn is_scaled(&self, id: &PathId) -> bool {
        let lock = self.apps.get(id).and_then(|state| state.lock.as_ref());
        let deployment = lock.and_then(|lock| self.deployments.get(lock));
        deployment.is_some_and(|deployment| deployment.only_scales(id))
    }

    /// Why nothing may begin now, and until when if that is known.
    fn held(&self, id: &PathId) -> Option<(String, Option<Time>)> {
        let state = self.apps.get(id)?;
        if let Some(lock) = state.lock.as_ref().filter(|lock| !self.is_autoscaled(lock)) {
            return Some((held_by(lock), None));
        }
        if !self.registered {
            return Some(("Marathon is not registered with a master".to_owned(), None));
        }
        if let Some(delay) = state.delay.filter(|_| is_delayed(state.delay, self.now)) {
            let until = delay.deadline();
            let told = format!(
                "back-off until {} after a failure",
                Timestamp::from_time(until)
            );
            return Some((told, Some(until)));
        }
        None
    }

    /// Why its budget lets nothing begin now, and until when.
    fn kept_back(&self, id: &PathId, policy: &Policy) -> Option<(String, Option<Time>)> {
        let upkeep = self.upkeeps.get(id)?;
        let budget = policy.disruption_budget.as_ref()?;
        let now = self.stamp();
        let opens = budget.opens(now);
        if opens > now {
            let at = Time::from_millis(opens.millis());
            return Some((
                format!("the next window of its budget opens at {opens}"),
                Some(at),
            ));
        }
        let last = upkeep.kept.disrupted_at?;
        let next =
            Timestamp::from_millis(last.millis() + i64::from(budget.min_interval_seconds) * 1000);
        if next > now {
            let at = Time::from_millis(next.millis());
            return Some((
                format!("the last disruption was at {last}, the next may be at {next}"),
                Some(at),
            ));
        }
        None
    }

    /// Kills the task of an instance that is to be launched again.
    pub(super) fn take_away(&mut self, id: &PathId, key: u64, kind: Disruption) {
        let agent = self
            .instance(key)
            .and_then(|one| one.agent.as_ref())
            .map(|agent| agent.id.clone());
        let daemon = self.root.get(id).is_some_and(|app| app.is_daemon());
        let until = self.now + GAP;
        if let (true, Some(agent), Some(upkeep)) = (daemon, agent, self.upkeeps.get_mut(id)) {
            upkeep.gaps.insert(agent, until);
        }
        self.kill(key, cause_of(kind));
        self.note_disruption(id, kind);
    }

    /// Takes note that something was taken away by itself.
    fn note_disruption(&mut self, id: &PathId, kind: Disruption) {
        let now = self.stamp();
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.kept.disrupted_at = Some(now);
        }
        let budget = self
            .policies
            .get(id)
            .and_then(|policy| policy.disruption_budget.as_ref());
        if budget.is_some_and(|budget| budget.min_interval_seconds > 0) {
            self.store_policy(id);
        }
        self.outbox.push(Output::Change(Change::Disruption(kind)));
    }

    /// When an app has to be looked over next, if nothing touches it.
    fn next_moment(
        &self,
        id: &PathId,
        policy: &Policy,
        survey: &Survey,
        held_until: Option<Time>,
    ) -> Option<Time> {
        let (state, upkeep) = (self.apps.get(id)?, self.upkeeps.get(id)?);
        let moment = |at: Timestamp| Time::from_millis(at.millis());
        let now = self.stamp();
        let scheduled = policy.restarts.as_ref().and_then(|one| one.next(now));
        // A deployment that ends touches the app.
        let calm = state.lock.is_none();
        let pairs_go_on = calm || self.is_scaled(id);
        let unplaced = state.pairs.keys().filter_map(|key| self.instance(*key));
        let patience = unplaced.filter(|one| one.condition == Condition::Scheduled);
        let patience = patience.map(|one| moment(one.since) + PATIENCE).min();
        let ill = upkeep
            .unready
            .values()
            .map(|since| *since + ILL)
            .filter(|at| *at > self.now)
            .min();
        // Whether the master still asks for it is looked at again.
        let mut pairs = state.pairs.values();
        let leaves = pairs.any(|one| one.leaves).then(|| self.now + PATIENCE);
        let gaps = upkeep.gaps.values().copied();
        let gap = gaps.filter(|at| *at > self.now).min();
        [
            scheduled.map(moment),
            survey.next_expiry.map(moment),
            survey.next_leave,
            leaves,
            held_until,
            upkeep.crowded_until.filter(|at| *at > self.now),
            patience.filter(|_| pairs_go_on),
            gap,
            ill,
            survey.settles,
            upkeep.balance.next_moment().filter(|_| calm),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > self.now)
        .min()
    }

    /// Why the autoscaler may take nothing away now.
    pub(super) fn budget_forbids(&self, id: &PathId) -> Option<String> {
        let policy = self.policies.get(id)?;
        let (budget, state, app) = (
            policy.disruption_budget.as_ref()?,
            self.apps.get(id)?,
            self.root.get(id)?,
        );
        let wanted = app.instances as usize;
        let (least, ready) = (budget.min_available(wanted)?, state.tally.ready);
        (ready < least).then(|| {
            format!(
                "budget allows {} unavailable, {} are",
                wanted - least,
                wanted.saturating_sub(ready)
            )
        })
    }
}

fn held_by(deployment: &str) -> String {
    format!("deployment {deployment} holds the app")
}

const fn cause_of(kind: Disruption) -> Cause {
    match kind {
        Disruption::Restart => Cause::Restarted,
        Disruption::Move => Cause::Moved,
    }
}
