//! Moves of instances to where an app is spread more evenly (`policy::rebalance` says what that is).
//!
//! Agents are known by their offers. So an app that is to be spread *looks* now and then: it asks for offers and sees for some seconds which come.
//! A move begins with the offer of an agent that gains by it: the replacement is launched on that offer, and nowhere else; so it cannot land
//! where it came from. Where no other may stand beside the old one, that one is killed and waits, for a while, for that
//! agent alone. One move at a time, from an app of which everything is ready; and when the new instance is ready, it is looked at once more whether it gains,
//! else the new one ends. A move that failed is tried again later and later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    policy::{Gain, Policy, Rebalance, Spot, Spread, stays_put},
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
                let spot = spread.spot(agent);
                spread.change(&spot, true);
                let group = groups.entry(agent.id.clone());
                let group = group.or_insert_with(|| Group {
                    agent: agent.clone(),
                    spot,
                    keys: Vec::new(),
                });
                group.keys.push(instance.key);
            }
        }
        (spread, groups)
    }

    /// The instance of a group that is moved first.
    fn first_to_go(&self, app: &App, group: &Group) -> Option<u64> {
        let instances = group.keys.iter().filter_map(|key| self.instance(*key));
        let first = kill_order(app, instances.collect(), 1);
        first.first().copied()
    }

    /// What would be moved one after another onto the agents that were seen.
    fn plan_moves(&self, id: &PathId, app: &Arc<App>, settings: &Rebalance) -> Plan {
        let (mut spread, mut groups) = self.spread(id, app, settings, None);
        let seen = self.upkeeps.get(id).map(|one| &one.balance.seen);
        let offers = seen.into_iter().flat_map(BTreeMap::values);
        let mut places: Vec<(OfferState, Spot)> = offers
            .map(|offer| {
                let place = OfferState::new((**offer).clone(), &self.config, self.now);
                let spot = spread.spot(&place.agent);
                (place, spot)
            })
            .collect();
        let nothing = Placed::new(app);
        let mut placed = Placed::new(app);
        for group in groups.values() {
            let keys = group.keys.iter();
            keys.for_each(|_| placed.change(app, &group.agent, true));
        }
        // What lacks something wherever the others are takes none later on either.
        let takes = |place: &OfferState| place.lacks(app, &nothing, &self.config).is_empty();
        let mut able: Vec<bool> = places.iter().map(|(place, _)| takes(place)).collect();
        let mut moves = Vec::new();
        while moves.len() < MAX_MOVES {
            let spots = places.iter().map(|(place, spot)| (&place.agent, spot));
            let spots = spots.enumerate().filter(|(at, _)| able[*at]);
            let fits = |at: usize| {
                let place = &places[at].0;
                place.lacks(app, &placed, &self.config).is_empty()
            };
            let Some((from, at)) = best(&spread, &groups, spots, fits) else {
                break;
            };
            let (place, there) = &mut places[at];
            if place.take(app, &placed, &self.config, 0).is_err() {
                able[at] = false;
                continue;
            }
            able[at] = takes(place);
            let Some(group) = groups.get_mut(&from) else {
                break;
            };
            let Some(key) = self.first_to_go(app, group) else {
                break;
            };
            let (here, to) = (group.agent.clone(), place.agent.clone());
            spread.change(&group.spot, false);
            spread.change(there, true);
            group.keys.retain(|one| *one != key);
            if group.keys.is_empty() {
                groups.remove(&from);
            }
            placed.change(app, &here, false);
            placed.change(app, &to, true);
            // What was just moved stays there.
            moves.extend(self.instance(key).map(|one| moved(one, &here, &to)));
        }
        let spots = places.iter().map(|(place, spot)| (&place.agent, spot));
        let better = best(&spread, &groups, spots.enumerate(), |_| true);
        let told = better.and_then(|(_, at)| {
            let place = &places[at].0;
            let lacks = place.lacks(app, &placed, &self.config);
            let lacks: Vec<String> = lacks.into_iter().map(|lack| lack.what).collect();
            let host = &place.agent.host;
            (!lacks.is_empty())
                .then(|| format!("; {host} would do, but lacks {}", lacks.join(", ")))
        });
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
            let mut instances = state.instances.iter();
            let killed =
                !self.kills.is_empty() && instances.any(|key| self.kills.contains_key(key));
            if plans_only || !calm || killed {
                continue;
            }
            self.move_one(&id, &app, offers);
        }
    }

    /// How an app is spread, found out once while nothing of it changes.
    fn scene(&mut self, id: &PathId, app: &Arc<App>) -> Option<Scene> {
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let changes = self.apps.get(id)?.changes;
        let kept = self.upkeeps.get_mut(id)?.balance.scene.take();
        let same = |one: &Scene| {
            one.changes == changes && Arc::ptr_eq(&one.app, app) && one.policy == policy
        };
        if let Some(kept) = kept.filter(same) {
            return Some(kept);
        }
        let survey = self.survey(id, app, &policy);
        let beside = survey.beside && survey.max_running > survey.wanted;
        let settings = policy.rebalance.clone().unwrap_or_default();
        let (spread, groups) = self.spread(id, app, &settings, None);
        Some(Scene {
            app: app.clone(),
            policy,
            changes,
            beside,
            may: beside || survey.available > survey.min_available,
            spread,
            groups,
        })
    }

    /// Begins the best move of an app onto one of these offers.
    fn move_one(&mut self, id: &PathId, app: &Arc<App>, offers: &mut [Using]) {
        let Some(mut scene) = self.scene(id, app) else {
            return;
        };
        let chosen = self.choose_move(id, &mut scene, offers);
        let beside = scene.beside;
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.balance.scene = Some(scene);
        }
        let Some((old, at, doing)) = chosen else {
            return;
        };
        let using = &mut offers[at];
        if beside {
            let replaces = Replaces {
                key: old,
                moves: true,
            };
            let key = self.create_replacement(app.clone(), replaces);
            if !self.launch(id, key, using, false) {
                // The offer would do, so what is wrong is with the app; `explain` says what. Another offer would be no better.
                self.retire(key, Cause::ScaledDown);
                self.move_failed(id);
                self.end_look(id);
                return;
            }
        } else {
            let aim = (using.state.agent.id.clone(), self.now + AIM);
            if let Some(upkeep) = self.upkeeps.get_mut(id) {
                upkeep.balance.aims.insert(old, aim);
            }
            self.take_away(id, old, Disruption::Move);
        }
        self.end_look(id);
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.balance.doing = Some(doing);
        }
    }

    /// Which instance is moved, and to which of these offers: one that fits. Each offer is asked once at the most.
    fn choose_move(
        &self,
        id: &PathId,
        scene: &mut Scene,
        offers: &[Using],
    ) -> Option<(u64, usize, Move)> {
        if !scene.may {
            return None;
        }
        let Scene {
            app,
            spread,
            groups,
            ..
        } = scene;
        let placed = &self.apps.get(id)?.placed;
        let most = self.config.max_instances_per_offer.max(1);
        let spots = offers.iter().map(|using| spread.spot(&using.state.agent));
        let spots: Vec<Spot> = spots.collect();
        let agents = offers.iter().map(|using| &using.state.agent);
        let places = agents.zip(&spots).enumerate();
        let (from, at) = best(spread, groups, places, |at| {
            let using = &offers[at];
            using.launched < most && using.state.lacks(app, placed, &self.config).is_empty()
        })?;
        let group = groups.get(&from)?;
        let old = self.first_to_go(app, group)?;
        let doing = moved(self.instance(old)?, &group.agent, &offers[at].state.agent);
        Some((old, at, doing))
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

/// The move that gains the most: from which agent, to which of these places by its number. The first of equals. Of the emptiest that fit so
/// many are compared. All are put in order once, and each is asked once at the most whether it fits.
fn best<'a>(
    spread: &Spread,
    groups: &Groups,
    places: impl Iterator<Item = (usize, (&'a Arc<Agent>, &'a Spot))>,
    mut fits: impl FnMut(usize) -> bool,
) -> Option<(Arc<str>, usize)> {
    let mut from: Vec<(Vec<u32>, &Group)> = groups
        .values()
        .map(|group| (spread.load(&group.spot), group))
        .collect();
    from.sort_by(|one, other| other.0.cmp(&one.0));
    from.truncate(MAX_COMPARED);
    let mut to: Vec<_> = places
        .map(|(at, (agent, spot))| (spread.load(spot), at, agent, spot))
        .collect();
    to.sort_by(|one, other| one.0.cmp(&other.0));
    let to = to.into_iter().filter(|(_, at, ..)| fits(*at));
    let to: Vec<_> = to.take(MAX_COMPARED).collect();
    let mut found: Option<(Gain, Arc<str>, usize)> = None;
    for (_, here) in from {
        for (_, at, agent, spot) in &to {
            let gain = spread.gain(&here.spot, spot);
            let Some(gain) = gain.filter(|_| here.agent.id != agent.id) else {
                continue;
            };
            if found.as_ref().is_none_or(|(most, ..)| gain > *most) {
                found = Some((gain, here.agent.id.clone(), *at));
            }
        }
    }
    found.map(|(_, from, at)| (from, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::app;

    fn agent(at: usize) -> Arc<Agent> {
        Arc::new(Agent {
            id: format!("a{at}").into(),
            host: format!("h{at}").into(),
            region: None,
            zone: None,
            attributes: BTreeMap::new(),
        })
    }

    #[test]
    fn of_thousands_of_places_each_is_asked_once_and_the_one_that_fits_is_found() {
        let app = app(r#"{"id":"/a","cmd":"run"}"#);
        let mut spread = Spread::new(&app, &Rebalance::default());
        let mut groups = Groups::new();
        for at in 0..10 {
            let agent = agent(at);
            let spot = spread.spot(&agent);
            for _ in 0..3 {
                spread.change(&spot, true);
            }
            let group = Group {
                agent: agent.clone(),
                spot,
                keys: vec![1, 2, 3],
            };
            groups.insert(agent.id.clone(), group);
        }
        let agents: Vec<Arc<Agent>> = (10..10_010).map(agent).collect();
        let spots: Vec<Spot> = agents.iter().map(|agent| spread.spot(agent)).collect();
        for (fitting, want) in [
            (Some(7_777), Some(("a0".into(), 7_777))),
            (Some(9_999), Some(("a0".into(), 9_999))),
            (None, None),
        ] {
            let mut asked = BTreeMap::new();
            let places = agents.iter().zip(&spots).enumerate();
            let found = best(&spread, &groups, places, |at| {
                *asked.entry(at).or_insert(0) += 1;
                Some(at) == fitting
            });
            assert_eq!(found, want);
            assert_eq!(asked.len(), 10_000);
            assert!(asked.values().all(|times| *times == 1));
        }
        // Where all fit, only so many are asked as are compared.
        let mut asked = 0;
        let places = agents.iter().zip(&spots).enumerate();
        let found = best(&spread, &groups, places, |_| {
            asked += 1;
            true
        });
        assert_eq!((found, asked), (Some(("a0".into(), 0)), MAX_COMPARED));
    }
}
