//! The machine: one struct that owns all state, one entrance.
//!
//! Each input changes instances, apps or deployments through a few functions that keep all indices and mark what is dirty; then `settle`
//! lets every app that was touched go on (its deployment's action, or the check of its number of instances), offers are asked for if
//! something new waits, and what is dirty is written and shown. All decisions are made from the level of things, never from an event
//! alone: an input that is lost or comes twice changes nothing in the end.

mod app_state;
mod calls;
mod change;
mod daemons;
mod deadlines;
mod deploy;
mod deployment_store;
mod endings;
mod explain;
mod groups;
mod held;
mod instances;
mod kills;
mod moves;
mod offers;
mod ordinals;
mod outbox;
mod pods;
mod policies;
mod preview;
mod progress;
mod queue;
mod reach;
mod readiness;
mod records;
mod recover;
mod reservations;
mod results;
mod scalers;
mod seats;
mod trials;
mod updates;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use app_state::AppState;
pub use held::{ReplacedByRestore, is_of_place};
use outbox::Outbox;
use tepui_model::Time;

use crate::{
    config::Config,
    deployment::Deployment,
    ended::Book,
    event::{Event, EventKind},
    group::{History, RootGroup, ServicePorts},
    ids::IdGenerator,
    input::Input,
    instance::{Instance, Remains},
    output::{CheckId, Output, Record},
    path::PathId,
    policy::Policy,
    response::Response,
    timestamp::Timestamp,
    view::{Change, KillFigures},
};

/// Marathon's state and decisions. Exists only while its process leads: made on election from what the store holds, dropped on loss.
#[derive(Debug)]
pub struct Marathon {
    config: Config,
    ids: IdGenerator,
    outbox: Outbox,
    now: Time,
    framework_id: Option<String>,
    /// Ids that it had before, the oldest first: what is reserved under them is still its own.
    former_ids: Vec<String>,
    registered: bool,
    /// Where the master is, if it says.
    home_region: Option<String>,
    root: RootGroup,
    history: History,
    service_ports: ServicePorts,
    last_version: Timestamp,
    apps: BTreeMap<PathId, AppState>,
    instances: BTreeMap<u64, Instance>,
    next_instance: u64,
    by_instance_id: HashMap<Arc<str>, u64>,
    deployments: BTreeMap<Arc<str>, Deployment>,
    checks: HashMap<CheckId, (u64, Asked)>,
    next_check: u64,
    policies: BTreeMap<PathId, Arc<Policy>>,
    /// What autoscaling measures, by app.
    scalers: BTreeMap<PathId, scalers::Scaler>,
    measures: HashMap<CheckId, PathId>,
    /// What goes on with instances that are well, by app.
    upkeeps: BTreeMap<PathId, upkeep::Upkeep>,
    /// Agents that go down for maintenance.
    leaving: upkeep::Leaving,
    /// Apps that look at offers to be spread.
    looking: BTreeSet<PathId>,
    timers: BTreeSet<(Time, Timer)>,
    /// Instances whose task is to be killed, with the time of the next attempt once one was made.
    kills: BTreeMap<u64, Option<kills::Sent>>,
    kill_queue: VecDeque<u64>,
    kill_figures: KillFigures,
    /// As they were shown last.
    kills_shown: KillFigures,
    /// Instances that are killed because their launch took too long.
    overdue: BTreeSet<u64>,
    /// Apps with instances that want an offer.
    waiting: BTreeSet<PathId>,
    /// Of these, apps with instances that want one in which something is kept for them.
    waiting_for_own: BTreeSet<PathId>,
    /// Where the next look at the waiting apps begins, so that none is always last.
    turn: Option<PathId>,
    /// What instances that are no more have left on agents, by instance.
    remains: BTreeMap<Arc<str>, Remains>,
    /// Tasks that have ended.
    ended: Book,
    /// When the timer for them is set.
    ended_timer: Option<Time>,
    /// A backup was restored: what else is reserved for unknown instances is left alone.
    hold: Option<held::Hold>,
    /// Those that were offered lately.
    agents: reach::Agents,
    revive: offers::Revive,
    dirty: Dirty,
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The health check at this index.
    Health(usize),
    /// Whether the task is ready.
    Readiness,
}

/// What the current step touched.
#[derive(Debug, Default)]
struct Dirty {
    /// Apps that have to go on.
    pending: BTreeSet<PathId>,
    /// Apps to show.
    apps: BTreeSet<PathId>,
    /// Instances to show.
    instances: BTreeSet<u64>,
    /// Instances to write.
    unstored: BTreeSet<u64>,
    /// Deployments whose trial has failed, with the reason.
    failed_trials: BTreeMap<Arc<str>, String>,
    /// Deployments to show.
    deployments: BTreeSet<Arc<str>>,
}

/// What happens at a time. Timers that came to nothing meanwhile do no harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Repeat a kill.
    Kill(u64),
    /// See whether a launch takes too long.
    Launch(u64),
    /// See what becomes of an unreachable instance.
    Unreachable(u64),
    /// See whether a reservation came to be.
    Reservation(u64),
    /// See whether what was left behind is still there.
    Remains,
    /// The app's delay is over.
    Delay(PathId),
    /// What a deployment tries may have been ready for long enough.
    Trial(Arc<str>),
    /// A daemon app's delay on one agent is over.
    AgentDelay(PathId, Arc<str>),
    /// The deadline of a deployment has passed.
    Deadline(Arc<str>),
    /// The oldest of the ended tasks that are kept is too old.
    EndedTasks,
    /// See what is to be restarted or moved of an app.
    Upkeep(PathId),
    /// Ask for offers.
    Revive,
    /// Compare all tasks with the master.
    Reconcile,
}

/// Why the stored state cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A record is not what its key says.
    #[error(
        "the stored record {key} cannot be read: {reason}; restore it from a backup or remove it"
    )]
    Record {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A record was written by a newer release.
    #[error(
        "the stored record {key} has version {version}, which this release does not know; run the release that wrote it"
    )]
    Newer {
        /// Its key.
        key: String,
        /// Its version.
        version: u64,
    },
}

impl Marathon {
    /// Takes over what the store holds (nothing, the first time). `out` gets the view's changes, health checks and events.
    ///
    /// # Errors
    /// If a record cannot be understood: nothing is guessed and nothing is lost.
    pub fn new(
        config: Config,
        now: Time,
        records: Vec<Record>,
        out: &mut Vec<Output>,
    ) -> Result<Self, RecoverError> {
        let mut marathon = Self {
            ids: IdGenerator::new(config.seed),
            ended: Book::new(endings::bounds(&config)),
            ended_timer: None,
            service_ports: ServicePorts::new(config.local_port_min, config.local_port_max),
            config,
            now,
            outbox: Outbox::default(),
            framework_id: None,
            former_ids: Vec::new(),
            registered: false,
            home_region: None,
            root: RootGroup::default(),
            history: History::default(),
            last_version: Timestamp::default(),
            apps: BTreeMap::new(),
            instances: BTreeMap::new(),
            next_instance: 1,
            by_instance_id: HashMap::new(),
            deployments: BTreeMap::new(),
            checks: HashMap::new(),
            next_check: 1,
            policies: BTreeMap::new(),
            scalers: BTreeMap::new(),
            measures: HashMap::new(),
            upkeeps: BTreeMap::new(),
            leaving: upkeep::Leaving::new(),
            looking: BTreeSet::new(),
            timers: BTreeSet::new(),
            kills: BTreeMap::new(),
            kill_queue: VecDeque::new(),
            kill_figures: KillFigures::default(),
            kills_shown: KillFigures::default(),
            overdue: BTreeSet::new(),
            waiting: BTreeSet::new(),
            waiting_for_own: BTreeSet::new(),
            turn: None,
            remains: BTreeMap::new(),
            hold: None,
            agents: reach::Agents::default(),
            revive: offers::Revive::default(),
            dirty: Dirty::default(),
        };
        marathon.recover(records)?;
        marathon.finish(out);
        Ok(marathon)
    }

    /// The framework id under which to subscribe; none: never subscribed before.
    #[must_use]
    pub fn framework_id(&self) -> Option<&str> {
        self.framework_id.as_deref()
    }

    /// Takes one input in, and puts out what follows from it.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        match input {
            Input::Stored { sequence } => self.outbox.stored(sequence),
            Input::Request(token, _) if self.outbox.waiting() > self.config.max_waiting_outputs => {
                let busy = "Too many changes wait for the store; try again later.";
                out.push(Output::Reply(token, Response::message(503, busy)));
            }
            Input::Request(token, call) => {
                let response = self.call(call);
                // What the call changed is shown before its answer.
                self.settle();
                self.show();
                self.outbox.push(Output::Reply(token, response));
            }
            Input::Registered {
                framework_id,
                master,
            } => self.on_registered(framework_id, master),
            Input::HomeRegion(region) => self.home_region = region,
            Input::Disconnected => self.on_disconnected(),
            Input::Offers(offers) => self.on_offers(offers),
            Input::InverseOffers(offers) => self.on_inverse_offers(offers),
            Input::TaskUpdate(status) => self.on_update(&status),
            Input::HealthResult { check, outcome } => self.on_health_result(check, outcome),
            Input::Measured { check, result } => self.on_measured(check, &result),
            Input::ReadinessResult { check, answer } => self.on_readiness(check, answer),
            Input::Tick => {}
        }
        self.fire_timers();
        self.finish(out);
    }

    /// When the core wants [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends a step.
    fn finish(&mut self, out: &mut Vec<Output>) {
        self.settle();
        self.pump_kills();
        self.ask_for_offers();
        self.show();
        self.show_kills();
        self.outbox.flush(out);
    }

    fn stamp(&self) -> Timestamp {
        Timestamp::from_time(self.now)
    }

    fn event(&mut self, kind: EventKind) {
        let timestamp = self.stamp();
        self.outbox.push(Output::Event(Event { kind, timestamp }));
    }

    fn fire_timers(&mut self) {
        while let Some((_, timer)) = self.timers.pop_first_if(|(at, _)| *at <= self.now) {
            match timer {
                Timer::Kill(key) => self.repeat_kill(key),
                Timer::Launch(key) => self.check_launch(key),
                Timer::Unreachable(key) => self.check_unreachable(key),
                Timer::Reservation(key) => self.check_reservation(key),
                Timer::Remains => self.look_for_remains(),
                Timer::Delay(id) => self.delay_over(&id),
                Timer::Trial(id) => self.trial_over(&id),
                Timer::AgentDelay(id, agent) => self.agent_delay_over(&id, &agent),
                Timer::Deadline(id) => self.deadline_over(&id),
                Timer::EndedTasks => self.ended_over(),
                Timer::Upkeep(id) => self.tend(&id),
                Timer::Revive => self.revive.due = true,
                Timer::Reconcile => self.reconcile(),
            }
        }
    }

    /// Writes and shows what is dirty.
    fn show(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.dirty.pending = dirty.pending;
        self.dirty.failed_trials = dirty.failed_trials;
        for key in &dirty.unstored {
            if let Some(instance) = self.instances.get(key) {
                self.outbox.write(records::put(
                    records::instance_key(&instance.id),
                    &instance.record(),
                ));
            }
        }
        for key in &dirty.instances {
            let Some(instance) = self.instances.get(key) else {
                continue;
            };
            let change = match instance.pod_view() {
                Some(view) => Some(Change::PodInstance(Arc::new(view))),
                None if instance.spec.pod.is_some() => None,
                None => instance.view().map(|view| Change::Task(Arc::new(view))),
            };
            self.outbox.extend(change.map(Output::Change));
        }
        for id in &dirty.apps {
            if let Some(view) = self.app_view(id) {
                self.outbox
                    .push(Output::Change(Change::App(Arc::new(view))));
            }
        }
        for id in &dirty.deployments {
            if let Some(deployment) = self.deployments.get(id) {
                self.outbox.push(Output::Change(Change::Deployment(Arc::new(
                    deployment.view(),
                ))));
            }
        }
    }
}

/// `BTreeSet::pop_first`, if the first element is of a kind.
trait PopFirstIf<T> {
    fn pop_first_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T>;
}

impl<T: Ord> PopFirstIf<T> for BTreeSet<T> {
    fn pop_first_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.first().is_some_and(wanted) {
            self.pop_first()
        } else {
            None
        }
    }
}
