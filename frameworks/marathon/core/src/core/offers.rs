//! Offers: asked for when something new waits, used in the step in which they come, declined otherwise. None is ever kept.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

use tepui_model::Time;
use tepui_proto::mesos::{Offer, TaskInfo, offer::Operation};

use super::{AppState, Marathon, Timer, app_state::is_delayed};
use crate::{
    definition::App,
    instance::{
        Agent, Condition, Reservation, Surroundings, Task, containers, launch_group, task_info,
    },
    matching::{OfferState, Reason, Reasons, Taken},
    output::Output,
    path::PathId,
};

/// An offer with what is done with it.
#[derive(Debug)]
pub(super) struct Using {
    pub(super) state: OfferState,
    pub(super) operations: Vec<Operation>,
    pub(super) tasks: Vec<TaskInfo>,
    /// How many instances.
    pub(super) launched: usize,
}

/// When offers are asked for.
#[derive(Debug, Default)]
pub(super) struct Revive {
    /// Something new waits.
    pub(super) wanted: bool,
    /// A moment for asking, set when the last was too close, has come.
    pub(super) due: bool,
    /// When it was last asked.
    last: Option<Time>,
    /// The repetition that makes up for a lost call was done.
    repeated: bool,
    /// Roles that want offers, as the master was told; none: it was told nothing yet.
    told: Option<BTreeSet<String>>,
}

impl Revive {
    /// The master knows nothing any more.
    pub(super) fn forget(&mut self) {
        *self = Self {
            wanted: self.wanted,
            ..Self::default()
        };
    }
}

impl Marathon {
    /// Asks for offers when something new waits, at most once in an interval; says so when nothing waits any more.
    pub(super) fn ask_for_offers(&mut self) {
        if !self.registered {
            return;
        }
        let (due, wanted) = (std::mem::take(&mut self.revive.due), self.revive.wanted);
        let calm_now = self.waiting.is_empty() && self.remains.is_empty() && self.hold.is_none();
        let tell_calm = calm_now
            && self
                .revive
                .told
                .as_ref()
                .is_none_or(|told| !told.is_empty());
        if !due && !wanted && !tell_calm {
            return;
        }
        let interval = Duration::from_millis(self.config.min_revive_offers_interval_ms);
        let next = self.revive.last.map_or(self.now, |last| last + interval);
        if !self.waiting.is_empty() && self.now < next {
            // Looked at again then: thousands of apps may wait.
            self.timers.insert((next, Timer::Revive));
            return;
        }
        let launchable = self
            .waiting
            .iter()
            .filter_map(|id| self.apps.get(id))
            .filter(|state| !is_delayed(state.delay, self.now));
        let mut roles: BTreeSet<String> =
            launchable.map(|state| state.app().role.clone()).collect();
        roles.extend(self.kept_roles());
        let told = self.revive.told.take().unwrap_or_default();
        let calm: Vec<String> = if calm_now {
            let default =
                std::iter::once(self.config.mesos_role.clone()).filter(|_| told.is_empty());
            told.iter().cloned().chain(default).collect()
        } else {
            Vec::new()
        };
        if self.config.suppress_offers && !calm.is_empty() {
            self.outbox.push(Output::Suppress { roles: calm });
        }
        self.revive.told = Some(if calm_now { BTreeSet::new() } else { told });
        if roles.is_empty() {
            self.revive.wanted = false;
            return;
        }
        if !wanted && self.revive.repeated {
            return;
        }
        self.revive.repeated = !wanted;
        self.revive.wanted = false;
        self.revive.last = Some(self.now);
        if !self.revive.repeated {
            self.timers.insert((self.now + interval * 2, Timer::Revive));
        }
        self.revive
            .told
            .get_or_insert_default()
            .extend(roles.iter().cloned());
        self.outbox.push(Output::Revive {
            roles: roles.into_iter().collect(),
        });
    }

    pub(super) fn on_offers(&mut self, offers: Vec<Offer>) {
        if !self.registered {
            return;
        }
        // What this step has still to decide may want these offers, or want them no more.
        self.settle();
        let using = |offer| Using {
            state: OfferState::new(offer, &self.config, self.home_region.as_deref(), self.now),
            operations: Vec::new(),
            tasks: Vec::new(),
            launched: 0,
        };
        let mut states: Vec<Using> = offers.into_iter().map(using).collect();
        for offer in &states {
            self.agents.note(&offer.state.agent, self.now);
        }
        for offer in &states {
            let planned = offer.state.offer.unavailability.as_ref();
            self.note_unavailability(&offer.state.agent.id, planned);
        }
        self.use_reservations(&mut states);
        self.match_offers(&mut states);
        self.match_moves(&mut states);
        let mut declined = Vec::new();
        for Using {
            state,
            operations,
            tasks,
            ..
        } in states
        {
            let id = state.offer.id.value.clone();
            if tasks.is_empty() && operations.is_empty() {
                declined.push(id);
            } else {
                self.outbox.push(Output::Accept {
                    offer_ids: vec![id],
                    operations,
                    tasks,
                });
            }
        }
        if !declined.is_empty() {
            self.outbox.push(Output::Decline {
                offer_ids: declined,
                refuse_ms: self.config.decline_offer_ms,
            });
        }
    }

    /// In each round every offer gets at most one instance of each app, so that instances spread; as many rounds as instances may go
    /// into one offer. Apps take turns in being first.
    fn match_offers(&mut self, offers: &mut [Using]) {
        let launchable = self.waiting.iter().filter(|id| {
            self.apps
                .get(*id)
                .is_some_and(|state| !is_delayed(state.delay, self.now))
        });
        let mut queue: Vec<PathId> = launchable.cloned().collect();
        if let Some(turn) = &self.turn {
            let first = queue.partition_point(|id| id <= turn);
            queue.rotate_left(first);
        }
        self.turn = queue.first().cloned();
        for round in 0..self.config.max_instances_per_offer.max(1) {
            let mut used = false;
            for id in &queue {
                let follows = self.apps.get(id).is_some_and(AppState::follows_agents);
                for offer in &mut *offers {
                    if offer.launched >= self.config.max_instances_per_offer.max(1) {
                        continue;
                    }
                    if follows {
                        used |= round == 0 && self.launch_daemon(id, offer);
                        continue;
                    }
                    let agent = &offer.state.agent.id;
                    let next = self.apps.get(id);
                    let next = next.map(|state| self.next_unplaced(state, agent));
                    let next = next.unwrap_or_default();
                    // What waits for one agent may find it further on.
                    if next.is_empty() && !self.has_aims(id) {
                        break;
                    }
                    for key in next {
                        used |= self.launch(id, key, offer, round == 0);
                    }
                }
            }
            if !used {
                break;
            }
        }
    }

    /// Has an offer looked at as an app looks at it.
    pub(super) fn heed(&self, id: &PathId, offer: &mut OfferState) {
        if offer.offer.unavailability.is_some() {
            let lead = self.root.get(id).and_then(|app| self.lead(app));
            offer.heed(lead, &self.config, self.now);
        }
    }

    /// Launches an instance on an offer if it fits. What is refused counts once for each offer: in the first round.
    pub(super) fn launch(&mut self, id: &PathId, key: u64, offer: &mut Using, count: bool) -> bool {
        if self.aims_elsewhere(id, key, &offer.state.agent.id) {
            return false;
        }
        let waits = self.apps.get(id).zip(self.instance(key));
        if waits.is_some_and(|(state, instance)| state.awaits_ordinal(instance)) {
            return false;
        }
        let (random, now) = (self.ids.number(), self.stamp());
        self.heed(id, &mut offer.state);
        let Some(state) = self.apps.get(id) else {
            return false;
        };
        let (app, placed) = match self.old_placed(id, key) {
            Some((app, placed)) => (app, Cow::Owned(placed)),
            None => (state.app().clone(), self.placed_of(state)),
        };
        let state_of = &mut offer.state;
        let taken = state_of.take(&app, &placed, &self.config, random);
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(reasons) => {
                if let Some(state) = self.apps.get_mut(id).filter(|_| count) {
                    let (offer, agent) = (&state_of.offer, &state_of.agent.id);
                    state.offers.count(offer, agent, reasons, now);
                }
                return false;
            }
        };
        let (offered, agent) = (state_of.offer.clone(), offer.state.agent.clone());
        let mut reservation = None;
        let before = offer.operations.len();
        if app.is_resident() {
            let instance_id = self.instance(key).map(|instance| instance.id.clone());
            let made = instance_id.and_then(|id| self.make_reservation(&id, &app, &taken));
            let Some((made, operations, resources)) = made else {
                return false;
            };
            offer.operations.extend(operations);
            taken.resources = resources;
            reservation = Some(made);
        }
        let resident = reservation.is_some();
        if !self.start_task(key, app, &agent, taken, reservation, offer) {
            offer.operations.truncate(before);
            return false;
        }
        if let Some(state) = self.apps.get_mut(id) {
            let used = Reasons::default();
            state.offers.count(&offered, &agent.id, used, now);
        }
        self.aim_met(id, key);
        if resident {
            self.await_reservation(key);
        }
        true
    }

    /// Gives an instance its next task; false if the task cannot be made of what was taken: then the instance waits on, and its app says why.
    pub(super) fn start_task(
        &mut self,
        key: u64,
        app: Arc<App>,
        agent: &Arc<Agent>,
        taken: Taken,
        reservation: Option<Reservation>,
        offer: &mut Using,
    ) -> bool {
        let (id, now) = (app.id.clone(), self.stamp());
        let Some(mut launched) = self.instance(key).cloned() else {
            return false;
        };
        let current = self.apps.get(&id).zip(self.instance(key));
        launched.ordinal = current.and_then(|(state, instance)| {
            if state.fits(&app) {
                state.ordinal_of(instance)
            } else {
                instance.ordinal
            }
        });
        launched.incarnation += 1;
        launched.spec = app;
        launched.condition = Condition::Provisioned;
        launched.active_since = None;
        launched.agent = Some(agent.clone());
        launched.reservation = reservation;
        launched.healthy = None;
        launched.cause = None;
        let containers = containers(&launched.spec, &launched.id, launched.incarnation, now);
        let task = Task {
            id: containers.first().map_or_else(
                || format!("{}._app.{}", launched.id, launched.incarnation).into(),
                |first| first.id.clone(),
            ),
            containers,
            staged_at: now,
            started_at: None,
            ports: taken.ports,
            addresses: Vec::new(),
            networks: Vec::new(),
            unreachable_since: None,
            ready: None,
            check_result: None,
            container: None,
        };
        let surroundings = Surroundings {
            prefix: &self.config.env_vars_prefix,
            bridge_name: &self.config.mesos_bridge_name,
            executor: &self.config.executor,
            enforces_role: self.root.enforces_role(&id) == Some(true),
        };
        let resources = taken.resources;
        let unmade = match (&launched.spec.pod, &self.framework_id) {
            (None, _) => {
                let info = task_info(&launched, agent, &task, resources, surroundings);
                info.map(|info| offer.tasks.push(info)).err()
            }
            (Some(_), None) => Some("Marathon has no framework id yet".to_owned()),
            (Some(_), Some(framework)) => {
                let group =
                    launch_group(&launched, agent, &task, resources, framework, surroundings);
                group.map(|group| offer.operations.push(group)).err()
            }
        };
        if let Some(why) = unmade {
            self.not_launched(key, &id, agent, &why, offer);
            return false;
        }
        launched.task = Some(task);
        offer.launched += 1;
        if let Some(state) = self.apps.get_mut(&id) {
            state.delay = state.delay.map(|delay| delay.advanced(self.now));
            state.unmade = None;
        }
        self.change(key, |instance| *instance = launched);
        let timeout = self
            .config
            .task_launch_confirm_timeout_ms
            .min(self.config.task_launch_timeout_ms);
        self.timers.insert((
            self.now + Duration::from_millis(timeout),
            Timer::Launch(key),
        ));
        true
    }

    /// What matched cannot be launched all the same: the offer is of no use, and `explain` says why.
    pub(super) fn not_launched(
        &mut self,
        key: u64,
        id: &PathId,
        agent: &Agent,
        why: &str,
        offer: &Using,
    ) {
        let now = self.stamp();
        let instance = self.instance(key).map(|instance| instance.id.clone());
        let Some(state) = self.apps.get_mut(id) else {
            return;
        };
        let instance = instance.unwrap_or_default();
        state.unmade = Some(format!(
            "{instance} was not launched on {}: {why}",
            agent.host
        ));
        let mut reasons = Reasons::default();
        reasons.add(Reason::InsufficientCpus);
        state
            .offers
            .count(&offer.state.offer, &agent.id, reasons, now);
    }

    /// Roles in which something is kept that is waited for: by an instance whose app has another role by now, or to be freed.
    fn kept_roles(&self) -> BTreeSet<String> {
        let mut roles: BTreeSet<String> =
            self.remains.values().map(|one| one.role.clone()).collect();
        roles.extend(self.roles_on_hold());
        let own = self.waiting_for_own.iter();
        let states = own.filter_map(|id| self.apps.get(id));
        let states = states.filter(|state| !is_delayed(state.delay, self.now));
        for state in states.filter(|state| state.unplaced.len() < state.scheduled.len()) {
            let waiting = state.scheduled.difference(&state.unplaced);
            let kept = waiting.filter_map(|key| self.instances.get(key)?.reservation.as_ref());
            roles.extend(kept.map(|kept| kept.role.clone()));
        }
        roles
    }
}
