//! Daemon apps: one instance on every agent that matches, following agents as they come and go.
//!
//! Promises: an agent has at most one instance of the current configuration; an instance is made for an offer and with a place, so none
//! ever waits; one whose task has ended is forgotten, and its agent gets another when it is offered again, so an agent that is lost costs
//! nothing and one that returns has its instance back; an upgrade goes agent by agent within the upgrade strategy, counted in agents. A
//! failure delays the agent that it happened on, and the whole app only while nothing of it is ready.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tepui_proto::mesos::{Offer, TaskState, TaskStatus, task_status::Reason};

use super::{AppState, Marathon, Timer, app_state::is_delayed, offers::Using, seats::Free};
use crate::{
    definition::App,
    deployment::{ActionKind, Capacity, capacity},
    ended::Cause,
    instance::{Condition, Goal, Instance},
    launch::Delay,
    path::PathId,
    timestamp::Timestamp,
    view::Definition,
};

/// The last offer of an agent that was not used, and when it came.
pub(super) type LastOffer<'a> = (&'a Arc<str>, &'a Arc<Offer>, Timestamp);

impl AppState {
    /// A daemon app that wants to be everywhere.
    pub(super) fn follows_agents(&self) -> bool {
        self.seats.is_some() && self.app().instances > 0
    }

    /// The definition as reads see it: of a daemon app with as many instances as it has, and one while it waits for a first agent.
    pub(super) fn shown(&self) -> Arc<Definition> {
        let instances = u32::try_from(self.tally.wanted.max(1)).unwrap_or(u32::MAX);
        if !self.follows_agents() || self.app().instances == instances {
            return self.definition.clone();
        }
        let mut app = App::clone(self.app());
        app.instances = instances;
        Arc::new(Definition::new(Arc::new(app)))
    }
}

impl Marathon {
    /// Gives the agent of an offer its instance, if it has none, or has an old one that may be replaced now.
    pub(super) fn launch_daemon(&mut self, id: &PathId, offer: &mut Using) -> bool {
        let (random, now) = (self.ids.number(), self.stamp());
        self.heed(id, &mut offer.state);
        let Some(awaited) = self.may_follow(id, offer) else {
            return false;
        };
        let Some(state) = self.apps.get_mut(id) else {
            return false;
        };
        let app = state.app().clone();
        let agent = offer.state.agent.clone();
        let taken = offer.state.take(&app, &state.placed, &self.config, random);
        let reasons = taken.as_ref().err().copied().unwrap_or_default();
        state
            .offers
            .count(&offer.state.offer, &agent.id, reasons, now);
        let Ok(taken) = taken else {
            return false;
        };
        // It has its offer already: no other has to be asked for.
        let (key, wanted) = (self.next_instance, self.revive.wanted);
        self.create_instance(id, awaited);
        self.revive.wanted = wanted;
        let launched = self.start_task(key, app, &agent, taken, None, offer);
        if !launched {
            self.expunge(key);
        }
        launched
    }

    /// Whether the agent of an offer may get an instance now, and if so, whether a deployment waits for it.
    fn may_follow(&self, id: &PathId, offer: &Using) -> Option<bool> {
        let state = self.apps.get(id).filter(|one| one.follows_agents())?;
        self.root.get(id)?;
        let (seats, agent) = (state.seats.as_ref()?, &offer.state.agent.id);
        let free = seats.free(agent);
        if free == Free::No || seats.delayed_until(agent, self.now).is_some() {
            return None;
        }
        let Some(lock) = &state.lock else {
            return (free == Free::Empty).then_some(false);
        };
        let deployment = self.deployments.get(lock)?;
        let Some(action) = deployment.action(id) else {
            // Other parts of the deployment may take for ever: what was there before stays up, and what is done too.
            let was_there = deployment.original.get(id).and_then(Option::as_ref);
            let was_there = was_there.is_some_and(|app| app.instances > 0);
            let goes_on = was_there || deployment.is_done_with(id);
            return (free == Free::Empty && goes_on).then_some(false);
        };
        let may = match action {
            ActionKind::Scale => free == Free::Empty,
            ActionKind::Restart => {
                let (tally, bounds, missing) = self.bounds(state, deployment.seats.get(id));
                let running = tally.active_old + tally.wanted_new;
                let room = bounds.max_running.saturating_sub(running);
                match free {
                    Free::Empty => room > 0,
                    // First those that have none, unless they are not offered any more.
                    _ => {
                        let failing = !seats.delays.is_empty();
                        let forgone = !failing && seats.rest_since(self.now - self.patience());
                        room > missing || (room > 0 && forgone)
                    }
                }
            }
            ActionKind::Start | ActionKind::Stop => false,
        };
        may.then_some(true)
    }

    /// What holds while a daemon app is replaced, and how many agents have lost their instance to that and got none yet.
    fn bounds(
        &self,
        state: &AppState,
        at_first: Option<&usize>,
    ) -> (super::app_state::Tally, Capacity, usize) {
        let seats = state.seats.as_ref();
        let (covered, served) = seats.map_or((0, 0), |one| (one.covered(), one.served()));
        let target = covered.max(at_first.copied().unwrap_or(0));
        let strategy = state.app().upgrade_strategy;
        let bounds = capacity(target, served, state.tally.wanted, strategy, false);
        (state.tally, bounds, target - covered)
    }

    /// How many agents the replacement of a daemon app waits for, if it does.
    fn missing(&self, state: &AppState) -> Option<usize> {
        let deployment = self.deployments.get(state.lock.as_ref()?)?;
        let id = &state.app().id;
        let replaced = deployment.action(id) == Some(ActionKind::Restart);
        let (.., missing) = self.bounds(state, deployment.seats.get(id));
        Some(missing).filter(|missing| replaced && *missing > 0)
    }

    /// How many instances of a daemon app a deployment has still to replace, if it is at that.
    fn to_be_replaced(&self, state: &AppState) -> Option<usize> {
        let deployment = self.deployments.get(state.lock.as_ref()?)?;
        let replaced = deployment.action(&state.app().id) == Some(ActionKind::Restart);
        let old = state.tally.wanted - state.tally.wanted_new;
        Some(old).filter(|old| replaced && *old > 0)
    }

    /// Brings a daemon app to what it should be; true when no more is to be done with what is known of agents.
    pub(super) fn keep_daemon(&mut self, id: &PathId) -> bool {
        let Some(state) = self.apps.get(id) else {
            return true;
        };
        let follows = state.follows_agents();
        let cause = if follows {
            Cause::Unmatched
        } else {
            Cause::ScaledDown
        };
        let out_of_place: Vec<u64> = if follows {
            let seats = state.seats.as_ref();
            seats.map_or_else(Vec::new, |seats| seats.astray.iter().copied().collect())
        } else {
            let instances = state.instances.iter().copied();
            let goes_on = |key: &u64| {
                let instance = self.instance(*key);
                instance.is_some_and(|one| one.goal == Goal::Running)
            };
            instances.filter(goes_on).collect()
        };
        for key in out_of_place {
            self.retire(key, cause);
        }
        self.apps.get(id).is_none_or(|state| {
            let tally = state.tally;
            (tally.wanted > 0) == follows && tally.awaited == 0 && tally.leaving == 0
        })
    }

    /// Replaces the instances of a daemon app as far as is possible now; true when all are replaced. Those of an app that becomes a daemon
    /// app only now are one for each agent first.
    pub(super) fn replace_daemon(&mut self, id: &PathId) -> bool {
        let now = self.now;
        let state = self.apps.get_mut(id);
        if let Some(seats) = state.and_then(|state| state.seats.as_mut()) {
            seats.note(now);
        }
        let Some(state) = self.apps.get(id) else {
            return true;
        };
        let seats = state.seats.as_ref();
        let mut ended: Vec<u64> = state.old_idle.iter().copied().collect();
        // One that comes back would go on as it is, since nothing is left then that replaces it.
        ended.extend(
            seats
                .into_iter()
                .flat_map(|seats| seats.given_up.iter().copied()),
        );
        ended.extend(seats.into_iter().flat_map(super::seats::Seats::relieved));
        ended.extend(seats.into_iter().flat_map(super::seats::Seats::surplus));
        for key in ended {
            self.retire(key, Cause::Replaced);
        }
        let Some(state) = self.apps.get(id) else {
            return true;
        };
        let at_first = state.lock.as_ref().and_then(|lock| {
            let deployment = self.deployments.get(lock)?;
            deployment.seats.get(id)
        });
        let (tally, bounds, _) = self.bounds(state, at_first);
        let served = state.seats.as_ref().map_or(0, super::seats::Seats::served);
        let spare = served.saturating_sub(bounds.min_healthy);
        let serving = || state.old_serving_by(state.app().kill_selection);
        // Where the app is not wanted any more its instances go last, when it serves elsewhere.
        let astray = |key: &u64| {
            let seats = state.seats.as_ref();
            seats.is_some_and(|seats| seats.astray.contains(key))
        };
        let settled = tally.wanted_new > 0 && tally.awaited == 0;
        let stay = serving().filter(|key| !astray(key));
        let mut victims: Vec<u64> = stay.take(spare).collect();
        if settled && serving().all(|key| astray(&key)) {
            victims.extend(serving());
        }
        for key in victims {
            self.retire(key, Cause::Replaced);
        }
        self.apps.get(id).is_none_or(|state| {
            let tally = state.tally;
            let there = tally.wanted_new > 0;
            there && tally.wanted == tally.wanted_new && tally.awaited == 0 && tally.active_old == 0
        })
    }

    /// How many agents have an instance of an app that shall go on, and how many one that is ready.
    pub(super) fn agents_of(&self, state: &AppState) -> (usize, usize) {
        if let Some(seats) = &state.seats {
            return (seats.covered(), seats.served());
        }
        let mut agents: BTreeMap<&Arc<str>, bool> = BTreeMap::new();
        let instances = state.instances.iter().filter_map(|key| self.instance(*key));
        for instance in instances.filter(|one| one.goal == Goal::Running && !one.is_scheduled()) {
            if let Some(agent) = &instance.agent {
                *agents.entry(&agent.id).or_default() |= instance.is_ready();
            }
        }
        let served = agents.values().filter(|ready| **ready).count();
        (agents.len(), served)
    }

    /// How many agents have an instance of each daemon app that a step replaces: so many have to be served while it goes on.
    pub(super) fn count_seats(&mut self, deployment: &Arc<str>) {
        let Some(deployment) = self.deployments.get_mut(deployment) else {
            return;
        };
        for action in deployment.step().actions {
            let state = self.apps.get(&action.app);
            let Some(seats) = state.and_then(|state| state.seats.as_ref()) else {
                continue;
            };
            if action.action == ActionKind::Restart {
                let count = deployment.seats.entry(action.app).or_default();
                *count = seats.covered().max(*count);
            }
        }
    }

    /// An agent was lost with the last instance that it had: a step that replaces the app waits for it no longer.
    pub(super) fn seat_lost(&mut self, instance: &Instance) {
        let (id, agent) = (&instance.spec.id, instance.agent.as_ref());
        let state = self.apps.get(id);
        let seats = state.and_then(|state| state.seats.as_ref());
        let gone = seats
            .zip(agent)
            .is_some_and(|(seats, agent)| seats.free(&agent.id) == Free::Empty);
        let lock = state.and_then(|state| state.lock.clone()).filter(|_| gone);
        let Some(deployment) = lock.as_ref().and_then(|id| self.deployments.get_mut(id)) else {
            return;
        };
        if let Some(count) = deployment.seats.get_mut(id) {
            *count = count.saturating_sub(1);
            let lock = deployment.id.clone();
            self.store_deployment(&lock);
        }
    }

    /// Within this time each agent that is there is offered again, since by then a decline has run out.
    const fn patience(&self) -> Duration {
        Duration::from_millis(self.config.decline_offer_ms.saturating_mul(2))
    }

    /// Lets an agent wait on which an instance failed. True if the others need not.
    pub(super) fn delay_agent(&mut self, key: u64, id: &PathId) -> bool {
        let agent = self
            .instance(key)
            .and_then(|instance| instance.agent.as_ref())
            .map(|agent| agent.id.clone());
        let now = self.now;
        let Some(state) = self.apps.get_mut(id) else {
            return false;
        };
        let app = state.definition.app.clone();
        let (Some(seats), Some(agent)) = (&mut state.seats, agent) else {
            return false;
        };
        let delay = Delay::after_failure(seats.delays.get(&agent).copied(), &app, now);
        seats.delays.insert(agent.clone(), delay);
        let timer = Timer::AgentDelay(id.clone(), agent);
        self.timers.insert((delay.deadline(), timer));
        state.tally.ready > 0
    }

    /// An agent may be used again, or its delay be forgotten.
    pub(super) fn agent_delay_over(&mut self, id: &PathId, agent: &Arc<str>) {
        let now = self.now;
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let app = state.definition.app.clone();
        let Some(seats) = &mut state.seats else {
            return;
        };
        let Some(delay) = seats.delays.get(agent).copied() else {
            return;
        };
        let forgotten = delay.forgotten_at(&app);
        if now >= forgotten {
            seats.delays.remove(agent);
            // After the longest delay both are over at once.
            let waits = seats.free(agent) != Free::No;
            self.touch(id, waits);
            return;
        }
        let next = if now < delay.deadline() {
            delay.deadline()
        } else {
            forgotten
        };
        let timer = Timer::AgentDelay(id.clone(), agent.clone());
        self.timers.insert((next, timer));
        self.touch(id, true);
    }

    /// Offers of agents that would have an instance of a daemon app if they had what it needs. Those that its constraints leave out matter only
    /// while they are why it is nowhere.
    pub(super) fn wanting<'a>(&self, state: &'a AppState) -> Vec<LastOffer<'a>> {
        let wanting = self.without_instance(state, true);
        if wanting.is_empty() && self.is_nowhere(state) {
            self.without_instance(state, false)
        } else {
            wanting
        }
    }

    /// Offers of agents that a daemon app, which runs or may run elsewhere, does not want: its constraints leave them out.
    pub(super) fn left_out<'a>(&self, state: &'a AppState) -> Vec<LastOffer<'a>> {
        if self.is_nowhere(state) && self.without_instance(state, true).is_empty() {
            Vec::new()
        } else {
            self.without_instance(state, false)
        }
    }

    /// It has no instance, and none that ends to be replaced either.
    fn is_nowhere(&self, state: &AppState) -> bool {
        state.tally.wanted == 0 && self.missing(state).is_none()
    }

    /// Fresh offers of agents without an instance of a daemon app, chosen by whether its constraints, as they are now, admit them.
    fn without_instance<'a>(&self, state: &'a AppState, admitted: bool) -> Vec<LastOffer<'a>> {
        let Some(seats) = &state.seats else {
            return Vec::new();
        };
        let fresh = self.patience();
        let offers = state.offers.unused_offers.iter();
        let without = offers.filter(|(agent, (_, _, at))| {
            let seen = tepui_model::Time::from_millis(at.millis()) + fresh;
            seats.free(agent) != Free::No && seen >= self.now
        });
        let last = without.map(|(agent, (offer, _, at))| (agent, offer, *at));
        let chosen = last.filter(|(_, offer, _)| {
            let offer = self.looked_at(state, offer);
            offer.is_admitted(state.app(), &state.placed) == admitted
        });
        chosen.collect()
    }

    /// Agents that wait after a failure there, and until when.
    pub(super) fn delayed_agents<'a>(&self, state: &'a AppState) -> Vec<(&'a Arc<str>, Timestamp)> {
        let delays = state.seats.iter().flat_map(|seats| &seats.delays);
        let delayed = delays.filter(|(_, delay)| is_delayed(Some(**delay), self.now));
        delayed
            .map(|(agent, delay)| (agent, Timestamp::from_time(delay.deadline())))
            .collect()
    }

    /// Why agents that match have no instance, apart from what they lack.
    pub(super) fn reasons_of_daemon(&self, state: &AppState) -> Vec<String> {
        if state.seats.is_none() {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        let delayed = self.delayed_agents(state);
        if let Some(until) = delayed.iter().map(|(_, until)| *until).max() {
            let count = delayed.len();
            let agents = if count == 1 { "agent" } else { "agents" };
            let why = state.last_failure.as_ref();
            let why = why.map_or_else(String::new, |failure| format!(": {}", failure.message));
            reasons.push(format!(
                "back-off on {count} {agents} until {until} after a failure{why}"
            ));
        }
        if let Some(missing) = self.missing(state) {
            let (agents, have, are) = match missing {
                1 => ("agent", "has", "is"),
                _ => ("agents", "have", "are"),
            };
            reasons.push(format!(
                "{missing} {agents} that had an instance when this step began {have} none and {are} waited for"
            ));
        } else if let Some(old) = self.to_be_replaced(state) {
            reasons.push(format!(
                "{old} of an older version, to be replaced when their agents are offered"
            ));
        }
        if state.follows_agents() && state.tally.wanted == 0 && state.offers.processed == 0 {
            reasons.push("no offer has come since it waits".to_owned());
        }
        reasons
    }
}

/// Whether what ended an instance tells that its agent is lost.
pub(super) const fn tells_of_loss(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Unreachable
            | Condition::UnreachableInactive
            | Condition::Gone
            | Condition::Unknown
    )
}

/// The same of a status that ended an instance.
pub(super) fn status_tells_of_loss(condition: Condition, status: &TaskStatus) -> bool {
    // The master knows the agent, and no such task there.
    let is_there = status.state() == TaskState::TaskGone
        && status.reason == Some(Reason::Reconciliation as i32);
    (tells_of_loss(condition) && !is_there) || tells_of_draining(status)
}

/// Whether a status tells that an operator has its agent emptied.
pub(super) fn tells_of_draining(status: &TaskStatus) -> bool {
    let ended = matches!(
        status.state(),
        TaskState::TaskKilled | TaskState::TaskGoneByOperator
    );
    ended && status.reason == Some(Reason::AgentDraining as i32)
}
