//! Moves of instances to where an app is spread more evenly (`policy::rebalance` says what that is).
//!
//! Agents are known by their offers. So an app that is to be spread *looks* now and then: it asks for offers and sees for some seconds which come.
//! A move begins with the offer of an agent that gains by it: the replacement is launched on that offer, and nowhere else; so it cannot land
//! where it came from. Where no other may stand beside the old one, that one is killed and waits, for a while, for that
//! agent alone. One move at a time, from an app of which everything is ready; and when the new instance is ready, it is looked at once more whether it gains,
//! else the new one ends. A move that failed is tried again later and later.

mod asked;
mod begin;
mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;
use tepui_model::Time;
use tepui_proto::mesos::Offer;

use super::{Marathon, upkeep::Survey};
use crate::{
    definition::App,
    instance::{Agent, Instance},
    path::PathId,
    policy::{Policy, Spot, Spread, stays_put},
    timestamp::Timestamp,
};

/// How long offers are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long an instance waits for the agent that it is moved to, when it could not be launched there before.
const AIM: Duration = Duration::from_secs(30);
/// After a move that failed, doubled with each, up to the second.
const FIRST_HOLD: Duration = Duration::from_secs(60);
const LAST_HOLD: Duration = Duration::from_secs(3600);
/// Agents of which offers are kept while it is looked.
const MAX_SEEN: usize = 1000;
/// Of the agents to move from, and of those to move to, so many are compared: the fullest, the emptiest.
const MAX_COMPARED: usize = 256;
/// The longest plan.
const MAX_MOVES: usize = 100;

/// How far the spreading of one app is.
#[derive(Debug, Default)]
pub(super) struct Balance {
    asked: Option<Asked>,
    /// Offers are looked at until then.
    look: Option<Time>,
    next_look: Option<Time>,
    seen: BTreeMap<Arc<str>, Arc<Offer>>,
    plan: Option<Plan>,
    failures: u32,
    hold_until: Option<Time>,
    /// Instances that wait for one agent, and until when.
    aims: BTreeMap<u64, (Arc<str>, Time)>,
    doing: Option<Move>,
    /// How the app is spread, while offers are looked at.
    scene: Option<Scene>,
    /// Why it does not go on.
    held: Option<String>,
}

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To move until it is even.
    Once,
    /// To tell what would be moved.
    Plan,
}

/// What would be moved, as far as it was seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    at: Timestamp,
    moves: Vec<Move>,
    /// How it is spread, and what is in the way.
    told: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    instance: Arc<str>,
    from_host: Arc<str>,
    from_agent_id: Arc<str>,
    to_host: Arc<str>,
    to_agent_id: Arc<str>,
}

/// An agent that an app is on, with its instances there.
#[derive(Debug)]
struct Group {
    agent: Arc<Agent>,
    spot: Spot,
    keys: Vec<u64>,
}

/// By agent.
type Groups = BTreeMap<Arc<str>, Group>;

/// How an app is spread, as long as its definition, its policy and its instances are as they were.
#[derive(Debug)]
struct Scene {
    app: Arc<App>,
    policy: Arc<Policy>,
    changes: u64,
    /// A new instance may stand beside the old one.
    beside: bool,
    /// One may be moved at all.
    may: bool,
    spread: Spread,
    groups: Groups,
}

impl Balance {
    /// When something is to be done next.
    pub(super) fn next_moment(&self) -> Option<Time> {
        let aims = self.aims.values().map(|(_, until)| *until).min();
        let look = self.look.or_else(|| self.next_look.max(self.hold_until));
        [aims, look].into_iter().flatten().min()
    }

    /// What goes on when the rest begins anew.
    pub(super) fn of(asked: Option<Asked>) -> Self {
        Self {
            asked,
            ..Self::default()
        }
    }

    pub(super) fn asked(&self) -> Option<Asked> {
        self.asked
    }

    /// Somebody asked for it to be spread.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked == Some(Asked::Once)
    }

    /// In a line.
    pub(super) fn told(&self) -> Option<String> {
        if let Some(doing) = &self.doing {
            return Some(format!(
                "moves {} from {} to {}",
                doing.instance, doing.from_host, doing.to_host
            ));
        }
        self.plan.as_ref().map(|plan| plan.told.clone())
    }
}

impl Marathon {
    /// Lets an app be spread more evenly, if it is to be and nothing stands against it.
    #[allow(
        clippy::too_many_arguments,
        reason = "what was found out about the app, once"
    )]
    pub(super) fn balance(
        &mut self,
        id: &PathId,
        app: &Arc<App>,
        policy: &Policy,
        survey: &Survey,
        due: usize,
        stop: Option<String>,
        held: &mut Vec<String>,
    ) {
        self.expire_aims(id);
        let now = self.now;
        let (Some(state), Some(upkeep)) = (self.apps.get(id), self.upkeeps.get_mut(id)) else {
            return;
        };
        let balance = &mut upkeep.balance;
        if state.pairs.is_empty() && balance.aims.is_empty() {
            balance.doing = None;
        }
        let interval = policy
            .rebalance
            .as_ref()
            .map(|one| u64::from(one.interval_seconds));
        if interval.is_none() && balance.asked.is_none() {
            balance.held = None;
            self.end_look(id);
            return;
        }
        if balance.look.is_some_and(|until| until <= now) {
            self.conclude(id, app, policy);
        }
        let tally = self
            .apps
            .get(id)
            .map(|state| (state.tally.wanted, state.tally.leaving, state.pairs.len()));
        let (wanted, leaving, pairs) = tally.unwrap_or_default();
        let Some(balance) = self.upkeeps.get_mut(id).map(|one| &mut one.balance) else {
            return;
        };
        let moving = pairs > 0 || !balance.aims.is_empty();
        let failed = balance.hold_until.filter(|until| now < *until);
        let why = if let Some(why) = stays_put(app) {
            Some(why.to_owned())
        } else if let Some(stop) = stop {
            Some(stop)
        } else if due > 0 {
            Some("instances are being restarted".to_owned())
        } else if let Some(until) = failed {
            Some(format!(
                "the last move came to nothing; the next is tried at {}",
                Timestamp::from_time(until)
            ))
        } else if moving {
            None
        } else if survey.available < survey.wanted || wanted != survey.wanted || leaving > 0 {
            Some(format!(
                "{} of {} instances are ready",
                survey.available.min(survey.wanted),
                survey.wanted
            ))
        } else if survey.max_running <= survey.wanted && survey.available <= survey.min_available {
            Some(survey.over_budget())
        } else {
            None
        };
        // What is even has nothing to wait for.
        let uneven = balance.asked == Some(Asked::Once)
            || balance
                .plan
                .as_ref()
                .is_some_and(|plan| !plan.moves.is_empty());
        held.extend(
            why.iter()
                .filter(|_| uneven)
                .map(|why| format!("rebalance waits: {why}")),
        );
        balance.held.clone_from(&why);
        let may = why.is_none() && !moving && survey.wanted > 1;
        let planned = balance.asked == Some(Asked::Plan);
        if !may && !planned {
            // Nor can it be done any more if the app has become one that stays where it is.
            let done = why.is_none() && !moving || stays_put(app).is_some();
            if balance.asked == Some(Asked::Once) && done {
                self.end_asked(id);
            }
            return;
        }
        if balance.look.is_none() && balance.next_look.is_none_or(|at| at <= now) {
            self.begin_look(id);
        }
    }

    fn begin_look(&mut self, id: &PathId) {
        let until = self.now + LOOK;
        let (Some(state), Some(upkeep)) = (self.apps.get_mut(id), self.upkeeps.get_mut(id)) else {
            return;
        };
        upkeep.balance.look = Some(until);
        upkeep.balance.seen.clear();
        state.looking = true;
        self.looking.insert(id.clone());
        self.touch(id, true);
    }

    /// Looks at offers no more.
    pub(super) fn end_look(&mut self, id: &PathId) {
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.balance.look = None;
            upkeep.balance.seen.clear();
            upkeep.balance.scene = None;
        }
        if self.looking.remove(id) {
            if let Some(state) = self.apps.get_mut(id) {
                state.looking = false;
            }
            self.touch(id, false);
        }
    }

    /// The time for looking is over: what was seen makes a plan, and tells whether it is even.
    fn conclude(&mut self, id: &PathId, app: &Arc<App>, policy: &Policy) {
        let settings = policy.rebalance.clone().unwrap_or_default();
        let plan = self.plan_moves(id, app, &settings);
        let every = i64::from(settings.interval_seconds);
        // Apps with one interval look at one time, so that it is asked for offers once.
        let next = Time::from_secs((self.now.as_secs() / every + 1) * every);
        self.end_look(id);
        let Some(balance) = self.upkeeps.get_mut(id).map(|one| &mut one.balance) else {
            return;
        };
        balance.next_look = Some(next);
        let done = balance.asked == Some(Asked::Plan) || plan.moves.is_empty();
        balance.plan = Some(plan);
        if done {
            self.end_asked(id);
        }
    }

    /// Whether instances of an app wait for agents.
    pub(super) fn has_aims(&self, id: &PathId) -> bool {
        let upkeep = self.upkeeps.get(id);
        upkeep.is_some_and(|one| !one.balance.aims.is_empty())
    }

    /// Whether an instance waits for another agent than this.
    pub(super) fn aims_elsewhere(&self, id: &PathId, key: u64, agent: &str) -> bool {
        let aim = self
            .upkeeps
            .get(id)
            .and_then(|one| one.balance.aims.get(&key));
        aim.is_some_and(|(wanted, until)| **wanted != *agent && self.now < *until)
    }

    /// An instance was launched: it has come where it was to.
    pub(super) fn aim_met(&mut self, id: &PathId, key: u64) {
        let aims = self.upkeeps.get_mut(id).map(|one| &mut one.balance.aims);
        if aims.is_some_and(|aims| aims.remove(&key).is_some()) {
            self.move_done(id);
        }
    }

    /// Instances whose agent did not come are launched anywhere.
    fn expire_aims(&mut self, id: &PathId) {
        let now = self.now;
        let Some(aims) = self.upkeeps.get_mut(id).map(|one| &mut one.balance.aims) else {
            return;
        };
        let before = aims.len();
        aims.retain(|key, (_, until)| {
            let instance = self.instances.get(key);
            if instance.is_some_and(|one| one.condition.is_active()) {
                // Its task has not ended yet.
                *until = now + AIM;
            }
            now < *until
        });
        if aims.len() < before {
            self.move_failed(id);
            self.touch(id, true);
            self.revive.wanted = true;
        }
    }

    /// Whether a move that is all but done makes the app more even, as it is by now.
    pub(super) fn still_gains(&self, id: &PathId, policy: &Policy, new: u64, old: u64) -> bool {
        let agent = |key: u64| self.instance(key).and_then(|one| one.agent.clone());
        let (Some(app), Some(from), Some(to)) = (self.root.get(id), agent(old), agent(new)) else {
            return false;
        };
        let settings = policy.rebalance.clone().unwrap_or_default();
        let (mut spread, _) = self.spread(id, app, &settings, Some(new));
        let (from, to) = (spread.spot(&from), spread.spot(&to));
        spread.gain(&from, &to).is_some()
    }

    pub(super) fn move_failed(&mut self, id: &PathId) {
        let now = self.now;
        if let Some(balance) = self.upkeeps.get_mut(id).map(|one| &mut one.balance) {
            let longer = FIRST_HOLD.saturating_mul(1 << balance.failures.min(16));
            balance.failures = balance.failures.saturating_add(1);
            balance.hold_until = Some(now + longer.min(LAST_HOLD));
        }
    }

    pub(super) fn move_done(&mut self, id: &PathId) {
        let now = self.now;
        if let Some(balance) = self.upkeeps.get_mut(id).map(|one| &mut one.balance) {
            (balance.failures, balance.hold_until) = (0, None);
            balance.next_look = Some(now);
        }
    }
}

fn moved(instance: &Instance, from: &Agent, to: &Agent) -> Move {
    Move {
        instance: instance.id.clone(),
        from_host: from.host.clone(),
        from_agent_id: from.id.clone(),
        to_host: to.host.clone(),
        to_agent_id: to.id.clone(),
    }
}
