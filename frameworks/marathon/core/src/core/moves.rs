//! Moves of instances to where an app is spread more evenly (`policy::rebalance` says what that is).
//!
//! Agents are known by their offers. So an app that is to be spread *looks* now and then: it asks for offers and sees for some seconds which come.
//! A move begins with the offer of an agent that gains by it: the replacement is launched on that offer, and nowhere else; so it cannot land
//! where it came from. Where no other may stand beside the old one, that one is killed and waits, for a while, for that
//! agent alone. One move at a time, from an app of which everything is ready; and when the new instance is ready, it is looked at once more whether it gains,
//! else the new one ends. A move that failed is tried again later and later.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use tepui_model::Time;
use tepui_proto::mesos::Offer;

use super::{Marathon, offers::Using, upkeep::Survey};
use crate::{
    definition::App,
    ended::Cause,
    input::RebalanceAction,
    instance::{Agent, Goal, Instance, Replaces, kill_order},
    matching::{OfferState, Placed},
    path::PathId,
    policy::{Gain, Policy, Rebalance, Spread, stays_put},
    response::Response,
    timestamp::Timestamp,
    view::Disruption,
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
/// How many offers are tried for one move: each does by all that can be seen before.
const MAX_TRIES: usize = 8;

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
    /// Why it does not go on.
    held: Option<String>,
}

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
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

/// The agents that an app is on, with its instances there.
type Groups = BTreeMap<Arc<str>, (Arc<Agent>, Vec<u64>)>;

impl Balance {
    /// When something is to be done next.
    pub(super) fn next_moment(&self) -> Option<Time> {
        let aims = self.aims.values().map(|(_, until)| *until).min();
        let look = self.look.or_else(|| self.next_look.max(self.hold_until));
        [aims, look].into_iter().flatten().min()
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
            if balance.asked == Some(Asked::Once) && why.is_none() && !moving {
                balance.asked = None;
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
        if balance.asked == Some(Asked::Plan) || plan.moves.is_empty() {
            balance.asked = None;
        }
        balance.plan = Some(plan);
    }

    /// How an app is spread now, and on which agents; `without` leaves one instance out.
    fn spread(
        &self,
        id: &PathId,
        app: &App,
        settings: &Rebalance,
        without: Option<u64>,
    ) -> (Spread, Groups) {
        let (mut spread, mut groups) = (Spread::new(app, settings), Groups::new());
        let instances = self
            .apps
            .get(id)
            .into_iter()
            .flat_map(|state| &state.instances);
        for instance in instances.filter_map(|key| self.instance(*key)) {
            let counts = instance.goal == Goal::Running
                && instance.condition.is_active()
                && without != Some(instance.key);
            if let Some(agent) = instance.agent.as_ref().filter(|_| counts) {
                spread.change(agent, true);
                let group = groups.entry(agent.id.clone());
                group
                    .or_insert_with(|| (agent.clone(), Vec::new()))
                    .1
                    .push(instance.key);
            }
        }
        (spread, groups)
    }

    /// What would be moved one after another onto the agents that were seen.
    fn plan_moves(&self, id: &PathId, app: &Arc<App>, settings: &Rebalance) -> Plan {
        let (mut spread, mut groups) = self.spread(id, app, settings, None);
        let seen = self.upkeeps.get(id).map(|one| &one.balance.seen);
        let offers = seen.into_iter().flat_map(BTreeMap::values);
        let mut places: Vec<OfferState> = offers
            .map(|offer| OfferState::new((**offer).clone(), &self.config, self.now))
            .collect();
        let mut placed = Placed::new(app);
        for (agent, keys) in groups.values() {
            keys.iter().for_each(|_| placed.change(app, agent, true));
        }
        let (mut moves, mut full, mut told) = (Vec::new(), BTreeSet::new(), None);
        while moves.len() < MAX_MOVES {
            let agents = places
                .iter()
                .enumerate()
                .filter(|(at, _)| !full.contains(at));
            let agents: Vec<(usize, &Arc<Agent>)> =
                agents.map(|(at, place)| (at, &place.agent)).collect();
            let Some((from, at)) = best(&spread, &groups, &agents) else {
                break;
            };
            let place = &mut places[at];
            let to = place.agent.clone();
            if let Err(_reasons) = place.take(app, &placed, &self.config, 0) {
                let lacks = place.lacks(app, &placed, &self.config);
                let lacks: Vec<String> = lacks.into_iter().map(|lack| lack.what).collect();
                told.get_or_insert_with(|| {
                    format!("; {} would do, but lacks {}", to.host, lacks.join(", "))
                });
                full.insert(at);
                continue;
            }
            let Some((here, keys)) = groups.get_mut(&from) else {
                break;
            };
            let here = here.clone();
            let instances: Vec<&Instance> =
                keys.iter().filter_map(|key| self.instance(*key)).collect();
            let Some(key) = kill_order(app, instances, 1).first().copied() else {
                break;
            };
            keys.retain(|one| *one != key);
            if keys.is_empty() {
                groups.remove(&from);
            }
            for (agent, added) in [(&here, false), (&to, true)] {
                spread.change(agent, added);
                placed.change(app, agent, added);
            }
            // What was just moved stays there.
            moves.extend(self.instance(key).map(|one| moved(one, &here, &to)));
        }
        let first = if moves.is_empty() { "" } else { "after that " };
        let spread = spread.told();
        let spread = if spread.is_empty() {
            "no instance is placed".to_owned()
        } else {
            format!("spread: {first}{spread}")
        };
        let told = format!("{spread}{}", told.unwrap_or_default());
        Plan {
            at: self.stamp(),
            moves,
            told,
        }
    }

    /// Shows offers to the apps that look, and begins the best move of each that may.
    pub(super) fn match_moves(&mut self, offers: &mut [Using]) {
        for id in self.looking.clone() {
            let Some(balance) = self.upkeeps.get_mut(&id).map(|one| &mut one.balance) else {
                continue;
            };
            for using in offers.iter() {
                if balance.seen.len() < MAX_SEEN {
                    balance
                        .seen
                        .insert(using.state.agent.id.clone(), using.state.offer.clone());
                }
            }
            let plans_only = balance.asked == Some(Asked::Plan)
                || balance.held.is_some()
                || !balance.aims.is_empty();
            let (Some(state), Some(app)) = (self.apps.get(&id), self.root.get(&id).cloned()) else {
                continue;
            };
            let (tally, wanted) = (state.tally, app.instances as usize);
            let calm = state.lock.is_none() && state.pairs.is_empty() && tally.leaving == 0;
            let calm = calm && tally.ready == wanted && tally.wanted == wanted;
            let killed = state
                .instances
                .iter()
                .any(|key| self.kills.contains_key(key));
            if plans_only || !calm || killed {
                continue;
            }
            self.move_one(&id, &app, offers);
        }
    }

    /// Begins the best move of an app onto one of these offers.
    fn move_one(&mut self, id: &PathId, app: &Arc<App>, offers: &mut [Using]) {
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let settings = policy.rebalance.clone().unwrap_or_default();
        let survey = self.survey(id, app, &policy);
        let beside = survey.beside && survey.max_running > survey.wanted;
        if !beside && survey.available <= survey.min_available {
            return;
        }
        let (spread, groups) = self.spread(id, app, &settings, None);
        // Each is looked at once: there may be thousands that would do but for what they lack.
        let most = self.config.max_instances_per_offer.max(1);
        let Some(state) = self.apps.get(id) else {
            return;
        };
        let fits = |using: &Using| {
            let lacks = using.state.lacks(app, &state.placed, &self.config);
            using.launched < most && lacks.is_empty()
        };
        let places = offers.iter().enumerate();
        let mut unfit: BTreeSet<usize> = places
            .filter(|(_, using)| !fits(using))
            .map(|(at, _)| at)
            .collect();
        for _ in 0..MAX_TRIES {
            let agents = offers
                .iter()
                .enumerate()
                .filter(|(at, _)| !unfit.contains(at));
            let agents: Vec<(usize, &Arc<Agent>)> =
                agents.map(|(at, using)| (at, &using.state.agent)).collect();
            let Some((from, at)) = best(&spread, &groups, &agents) else {
                return;
            };
            let Some((here, keys)) = groups.get(&from) else {
                return;
            };
            let using = &mut offers[at];
            let instances: Vec<&Instance> =
                keys.iter().filter_map(|key| self.instance(*key)).collect();
            let Some(old) = kill_order(app, instances, 1).first().copied() else {
                return;
            };
            let to = using.state.agent.clone();
            let doing = self.instance(old).map(|one| moved(one, here, &to));
            if beside {
                let key = self.create_replacement(
                    app.clone(),
                    Replaces {
                        key: old,
                        moves: true,
                    },
                );
                if !self.launch(id, key, using, false) {
                    self.retire(key, Cause::ScaledDown);
                    unfit.insert(at);
                    continue;
                }
            } else {
                let until = self.now + AIM;
                if let Some(upkeep) = self.upkeeps.get_mut(id) {
                    upkeep.balance.aims.insert(old, (to.id.clone(), until));
                }
                self.take_away(id, old, Disruption::Move);
            }
            self.end_look(id);
            if let Some(upkeep) = self.upkeeps.get_mut(id) {
                upkeep.balance.doing = doing;
            }
            return;
        }
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
        let (spread, _) = self.spread(id, app, &settings, Some(new));
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

    /// `/v3/apps/{id}/rebalance`.
    pub(super) fn rebalance_call(
        &mut self,
        id: &PathId,
        action: RebalanceAction,
    ) -> Result<Response, Response> {
        let Some(app) = self.root.get(id) else {
            return Err(Response::no_app(id, None));
        };
        if let RebalanceAction::Ask { dry_run } = action {
            if let Some(why) = stays_put(app) {
                return Err(Response::message(
                    422,
                    format!("{id} cannot be rebalanced: {why}."),
                ));
            }
            let balance = &mut self.upkeeps.entry(id.clone()).or_default().balance;
            let asked = if dry_run { Asked::Plan } else { Asked::Once };
            // To move is more than to plan.
            balance.asked = balance
                .asked
                .filter(|one| *one == Asked::Once)
                .or(Some(asked));
            balance.plan = None;
            balance.next_look = None;
            balance.hold_until = balance.hold_until.filter(|_| dry_run);
            self.wake_upkeep(id, self.now);
        }
        Ok(self.rebalance_view(id))
    }

    fn rebalance_view(&self, id: &PathId) -> Response {
        let policy = self.policies.get(id);
        let settings = policy.and_then(|policy| policy.rebalance.clone());
        let balance = self.upkeeps.get(id).map(|one| &one.balance);
        let asked = balance.and_then(|one| one.asked).map(|asked| match asked {
            Asked::Once => "once",
            Asked::Plan => "plan",
        });
        Response::json(
            200,
            &json!({
                "id": id,
                "rebalance": settings,
                "asked": asked,
                "looking": balance.is_some_and(|one| one.look.is_some()),
                "move": balance.and_then(|one| one.doing.as_ref()),
                "held": balance.and_then(|one| one.held.as_ref()),
                "plan": balance.map_or(Value::Null, |one| json!(one.plan)),
            }),
        )
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

/// The move that gains the most: from which agent, to which of `agents`. The first of equals.
fn best(
    spread: &Spread,
    groups: &Groups,
    agents: &[(usize, &Arc<Agent>)],
) -> Option<(Arc<str>, usize)> {
    let mut from: Vec<(Vec<u32>, &Arc<Agent>)> = groups
        .values()
        .map(|(agent, _)| (spread.load(agent), agent))
        .collect();
    from.sort_by(|one, other| other.0.cmp(&one.0));
    let mut to: Vec<(Vec<u32>, usize, &Arc<Agent>)> = agents
        .iter()
        .map(|(at, agent)| (spread.load(agent), *at, *agent))
        .collect();
    to.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found: Option<(Gain, Arc<str>, usize)> = None;
    for (_, here) in from.into_iter().take(MAX_COMPARED) {
        for (_, at, there) in to.iter().take(MAX_COMPARED) {
            let Some(gain) = spread.gain(here, there).filter(|_| here.id != there.id) else {
                continue;
            };
            if found.as_ref().is_none_or(|(most, ..)| gain > *most) {
                found = Some((gain, here.id.clone(), *at));
            }
        }
    }
    found.map(|(_, from, at)| (from, at))
}
