//! What Marathon does to instances that are well: scheduled restarts, and the budget for these and for moves (`moves`).
//!
//! Promises: nothing is taken away that the budget does not allow, whatever else is away counted; a replacement comes first where the
//! upgrade strategy has room beside the instances that are wanted, and the old instance ends when it is ready; while a deployment holds the app
//! nothing begins, and what is half done is ended at once, one of each pair; what is due is read off the instances at each look, so it
//! does not matter what was lost or which leader began.
//!
//! An app is looked over when a moment of its own has come, and after changes, at most once a second: that takes time that grows with its instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tepui_model::Time;

use super::{Marathon, Timer, app_state::is_delayed, moves::Balance};
use crate::{
    definition::App,
    deployment::capacity,
    ended::Cause,
    instance::{Condition, Goal, Instance, Replaces},
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
    available: usize,
    min_available: usize,
    next_expiry: Option<Timestamp>,
    /// Why nothing happens though something is due.
    held: Vec<String>,
}

/// An app as it was looked over.
pub(super) struct Survey {
    pub(super) wanted: usize,
    /// Ready, and not being killed.
    pub(super) available: usize,
    /// So many have to stay.
    pub(super) min_available: usize,
    /// So many may run, replacements included.
    pub(super) max_running: usize,
    /// Replacements can stand beside those that they replace.
    pub(super) beside: bool,
    /// To be replaced, the oldest first.
    due: Vec<(Timestamp, u64)>,
    /// To be replaced, and not ready.
    due_unready: BTreeSet<u64>,
    next_expiry: Option<Timestamp>,
    /// When the next instance counts that runs already.
    settles: Option<Time>,
}

impl Survey {
    /// So many may be away.
    fn allowed(&self) -> usize {
        self.wanted.saturating_sub(self.min_available)
    }

    fn away(&self) -> usize {
        self.wanted.saturating_sub(self.available)
    }

    pub(super) fn over_budget(&self) -> String {
        let away = self.away();
        let is = if away == 1 { "is" } else { "are" };
        format!("budget allows {} unavailable, {away} {is}", self.allowed())
    }
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
        self.upkeeps.remove(id);
        if wanted {
            let until = self.now + GAP;
            let upkeep = Upkeep {
                gaps: kept
                    .gaps
                    .iter()
                    .map(|agent| (agent.clone(), until))
                    .collect(),
                kept,
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
        let stop_moves = if asked { held_now } else { stop.clone() };
        let due = survey.due.len() + survey.due_unready.len();
        self.note_unready(id, &survey);
        if due > 0 {
            let why = match &stop {
                Some((why, _)) => Some(why.clone()),
                None => {
                    let why = self.begin_restarts(id, &app, &policy, &mut survey);
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
            due,
            stop_moves.map(|(why, _)| why),
            &mut held,
        );
        let next = self.next_moment(id, &policy, &survey, stop.and_then(|(_, at)| at));
        let replacing = self.apps.get(id).map_or(0, |state| {
            state.pairs.values().filter(|one| !one.moves).count()
        });
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.status = Status {
                due: due + replacing,
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

    /// Takes note of the times of the schedule that have come.
    fn advance_schedule(&mut self, id: &PathId, policy: &Policy) {
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
    fn end_run(&mut self, id: &PathId) {
        let replacing = self
            .apps
            .get(id)
            .is_some_and(|state| state.pairs.values().any(|one| !one.moves));
        let Some(upkeep) = self.upkeeps.get_mut(id).filter(|_| !replacing) else {
            return;
        };
        if let Some(at) = upkeep.kept.course.under_way.take() {
            upkeep.kept.course.last = Some(at);
            self.store_policy(id);
        }
    }

    /// How many there are, how many have to stay, and which are to be replaced.
    pub(super) fn survey(&mut self, id: &PathId, app: &App, policy: &Policy) -> Survey {
        let now = self.stamp();
        let mut survey = Survey {
            wanted: app.instances as usize,
            available: 0,
            min_available: 0,
            max_running: 0,
            beside: stands_beside(app),
            due: Vec::new(),
            due_unready: BTreeSet::new(),
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
        let replaced: BTreeSet<u64> = state.pairs.values().map(|one| one.key).collect();
        for instance in state.instances.iter().filter_map(|key| self.instance(*key)) {
            if instance.goal != Goal::Running {
                continue;
            }
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
        if app.is_daemon() {
            let there = state.tally.wanted;
            survey.wanted = there + self.open_gaps(app);
        }
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
    fn settles(&self, id: &PathId, instance: &Instance) -> Option<Time> {
        let upkeep = self.upkeeps.get(id).filter(|one| !one.gaps.is_empty())?;
        let there = upkeep.gaps.contains_key(&instance.agent.as_ref()?.id);
        let since = instance.active_since.filter(|_| there)?;
        let at = Time::from_millis(since.millis()) + SETTLED;
        // Of a clock that was ahead: nobody waits for that.
        (self.now < at && since <= self.stamp()).then_some(at)
    }

    /// Agents of a daemon app that wait for the instance that takes the place of one that was killed, or has failed there.
    fn open_gaps(&mut self, app: &App) -> usize {
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

    /// Why nothing may begin now, and until when if that is known.
    fn held(&self, id: &PathId) -> Option<(String, Option<Time>)> {
        let state = self.apps.get(id)?;
        if let Some(lock) = &state.lock {
            return Some((format!("deployment {lock} holds the app"), None));
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

    /// Begins to replace what is due, as much as may be at once; why no more, if something is left that waits for more than its turn.
    fn begin_restarts(
        &mut self,
        id: &PathId,
        app: &Arc<App>,
        policy: &Policy,
        survey: &mut Survey,
    ) -> Option<String> {
        let state = self.apps.get(id)?;
        let (mut running, mut replacing) = (state.tally.wanted, state.pairs.len());
        let crowded = self
            .upkeeps
            .get(id)?
            .crowded_until
            .is_some_and(|until| self.now < until);
        let one_by_one = policy
            .disruption_budget
            .as_ref()
            .is_some_and(|budget| budget.min_interval_seconds > 0);
        let beside = survey.beside && survey.max_running > survey.wanted && !crowded;
        let at_once = if one_by_one {
            1
        } else {
            survey.allowed().max(1)
        };
        // What is not ready is taken from nobody; but no more at once than may be away, should all of them seem to be ill.
        let (ill, mut in_flight) = self.ill(id);
        for key in ill {
            if in_flight >= at_once || one_by_one && replacing > 0 {
                return None;
            }
            self.take_away(id, key, Disruption::Restart);
            (in_flight, replacing) = (in_flight + 1, replacing + 1);
        }
        for (_, key) in std::mem::take(&mut survey.due) {
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
                self.create_replacement(app.clone(), Replaces { key, moves: false });
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
                self.take_away(id, key, Disruption::Restart);
            }
            replacing += 1;
        }
        (!survey.due_unready.is_empty() && replacing == 0).then(|| survey.over_budget())
    }

    /// Takes note of what is to be replaced and is not ready.
    fn note_unready(&mut self, id: &PathId, survey: &Survey) {
        let now = self.now;
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep
                .unready
                .retain(|key, _| survey.due_unready.contains(key));
            for key in &survey.due_unready {
                upkeep.unready.entry(*key).or_insert(now);
            }
        }
    }

    /// What is to be replaced and has not been ready for long; and how many of the app are on their way to run.
    fn ill(&self, id: &PathId) -> (Vec<u64>, usize) {
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

    /// Ends the old instance of each pair whose new one is ready, as far as the budget allows; gives up replacements that find no place.
    fn finish_pairs(
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
            if new.condition == Condition::Scheduled && waited >= PATIENCE && !delayed {
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
            let kind = if replaces.moves {
                self.move_done(id);
                Disruption::Move
            } else {
                Disruption::Restart
            };
            self.note_disruption(id, kind);
        }
    }

    /// Adds an instance that is to take the place of another; its key.
    pub(super) fn create_replacement(&mut self, app: Arc<App>, replaces: Replaces) -> u64 {
        let key = self.next_instance;
        self.create_instance_of(app, false);
        self.change(key, |instance| instance.replaces = Some(replaces));
        self.dirty.unstored.insert(key);
        key
    }

    /// Breaks pairs up of which one is gone, or has ended by itself: what is left of them is an instance like others.
    pub(super) fn mend_pairs(&mut self, id: &PathId) {
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

    /// Ends one of each pair at once: the old one if the new one is ready, the new one otherwise.
    pub(super) fn end_pairs(&mut self, id: &PathId) {
        let pairs = self
            .apps
            .get(id)
            .map(|state| state.pairs.clone())
            .unwrap_or_default();
        for (key, replaces) in pairs {
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
                    self.retire(replaces.key, cause_of_pair(replaces));
                } else {
                    self.retire(key, Cause::ScaledDown);
                }
            }
        }
    }

    /// After a failover: pairs of apps that nothing goes on with any more.
    pub(super) fn recover_pairs(&mut self) {
        let left = self.apps.iter().filter(|(id, state)| {
            !state.pairs.is_empty() && (state.lock.is_some() || !self.upkeeps.contains_key(*id))
        });
        for id in left.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.end_pairs(&id);
        }
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
        let unplaced = state.pairs.keys().filter_map(|key| self.instance(*key));
        let patience = unplaced.filter(|one| one.condition == Condition::Scheduled);
        let patience = patience.map(|one| moment(one.since) + PATIENCE).min();
        let ill = upkeep
            .unready
            .values()
            .map(|since| *since + ILL)
            .filter(|at| *at > self.now)
            .min();
        let gaps = upkeep.gaps.values().copied();
        let gap = gaps.filter(|at| *at > self.now).min();
        [
            scheduled.map(moment),
            survey.next_expiry.map(moment),
            held_until,
            upkeep.crowded_until.filter(|at| *at > self.now),
            patience.filter(|_| calm),
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

    /// Why nothing happens though something is due.
    pub(super) fn reasons_of_upkeep(&self, id: &PathId) -> Vec<String> {
        self.upkeeps
            .get(id)
            .map_or_else(Vec::new, |one| one.status.held.clone())
    }

    /// What goes on with an app, and comes next; null: nothing.
    pub(super) fn upkeep_view(&self, id: &PathId) -> Value {
        let Some(upkeep) = self.upkeeps.get(id) else {
            return Value::Null;
        };
        let (status, course) = (&upkeep.status, upkeep.kept.course);
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let next = policy
            .restarts
            .as_ref()
            .and_then(|one| one.next(self.stamp()));
        let mut told = Vec::new();
        if let Some(at) = course.under_way {
            told.push(format!(
                "restart of {at}: {} instances still to be replaced",
                status.due
            ));
        }
        told.extend(next.map(|at| format!("next restart at {at}")));
        if let Some(at) = course
            .missed
            .filter(|at| course.last.is_none_or(|last| last < *at))
        {
            told.push(format!("restart of {at} was left out"));
        }
        if let Some(at) = status.next_expiry {
            told.push(format!("the next instance is replaced for its age at {at}"));
        }
        told.extend(upkeep.balance.told());
        json!({
            "nextRestart": next,
            "restarting": course.under_way,
            "lastRestart": course.last,
            "missedRestart": course.missed,
            "nextExpiry": status.next_expiry,
            "due": status.due,
            "available": status.available,
            "minAvailable": status.min_available,
            "lastDisruption": upkeep.kept.disrupted_at,
            "told": told,
        })
    }
}

const fn cause_of(kind: Disruption) -> Cause {
    match kind {
        Disruption::Restart => Cause::Restarted,
        Disruption::Move => Cause::Moved,
    }
}

/// Why the old one of a pair ends.
const fn cause_of_pair(replaces: Replaces) -> Cause {
    if replaces.moves {
        Cause::Moved
    } else {
        Cause::Restarted
    }
}

/// Whether two instances of an app may stand in for one for a while.
fn stands_beside(app: &App) -> bool {
    let single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP");
    let single = single.is_some_and(|value| value == "true");
    !single && !app.is_resident() && !app.has_ordinals() && !app.is_daemon()
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
