//! Leaders: the shell around each master core, the store, and the election.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_master_core::{
    AgentRemoval, AgentSnapshot, CallOrigin, Change, Config, FrameworkSnapshot, Input, Maintenance,
    Master, OfferKey, Output, Registry, RegistryOperation, StoreError, StreamKey, TaskKey,
    TaskList, TaskSnapshot,
};
use tepui_model::{AgentId, FrameworkId, Time};
use tepui_proto::mesos::scheduler::{self, call::Type};
use tepui_proto::mesos::{DrainState, TaskInfo};
use tepui_proto::tepui::v1::master_message::Message;

use crate::frameworks::usable;
use crate::invariants::Invariant;
use crate::network::{Host, Payload, Way};
use crate::scenario::Sabotage;
use crate::world::{Happening, Simulation, trace};

/// A master's process.
pub(crate) struct MasterProcess {
    core: Master,
    pub(crate) epoch: u64,
    pub(crate) alive: bool,
    stepped_down: bool,
    flush_comes: bool,
    tick: Option<Time>,
    writes: VecDeque<(u64, Vec<RegistryOperation>)>,
    last_answer: Time,
    /// What operators see.
    pub(crate) agents: BTreeMap<AgentId, Arc<AgentSnapshot>>,
    pub(crate) tasks: BTreeMap<TaskKey, Arc<TaskSnapshot>>,
    offers: BTreeMap<OfferKey, bool>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Arc<FrameworkSnapshot>>,
    /// Of quota, weights and maintenance: what operators see.
    pub(crate) shown: Registry,
    /// Agents that this master knows to be gone.
    gone: BTreeSet<AgentId>,
}

/// What the store holds.
#[derive(Default)]
pub(crate) struct Stored {
    epoch: u64,
    pub(crate) registry: Registry,
}

impl Stored {
    /// Of the leader that may write.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Simulation {
    /// A new leader takes what the store has; from now on the store refuses its predecessors.
    pub(crate) fn elect(&mut self) {
        if self.masters.get(self.leader).is_some_and(|leader| {
            leader.alive
                && leader.epoch == self.stored.epoch
                && !self
                    .partitions
                    .cuts((Host::Master(self.leader), Host::Store))
        }) {
            return;
        }
        self.stored.epoch += 1;
        let epoch = self.stored.epoch;
        let index = self.masters.len();
        let name = format!("m{index}");
        let info = tepui_proto::convert::master_info::new(
            &name,
            [10, 0, 1, 1].into(),
            5050,
            &name,
            "1.11.0",
        );
        let config = Config {
            agent_ping_timeout: std::time::Duration::from_secs(4),
            max_agent_ping_timeouts: 3,
            agent_reregister_timeout: std::time::Duration::from_secs(30),
            offer_timeout: Some(std::time::Duration::from_secs(20)),
            ..Config::new(info, epoch, self.seed)
        };
        let gone = self.stored.registry.gone.iter();
        let gone: BTreeSet<AgentId> = gone.map(|(agent, _)| agent.clone()).collect();
        let mut registry = self.stored.registry.clone();
        match self.scenario.sabotage {
            Some(Sabotage::ForgetsGone) => registry.gone.clear(),
            Some(Sabotage::ForgetsPolicy) => {
                registry.quotas.clear();
                registry.weights.clear();
                registry.maintenance = Maintenance::default();
            }
            _ => {}
        }
        trace!(
            self,
            "master {index} leads with epoch {epoch}, {} agents in the registry",
            registry.agents.len()
        );
        self.masters.push(MasterProcess {
            core: Master::new(config, registry, self.now),
            epoch,
            alive: true,
            stepped_down: false,
            flush_comes: false,
            tick: None,
            writes: VecDeque::new(),
            last_answer: self.now,
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            offers: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            shown: Registry::default(),
            gone,
        });
        self.leader = index;
        self.master_step(index, Input::Tick);
        self.master_step(index, Input::Flush);
        self.check_promises();
        if let Some(what) = self.misremembered() {
            self.breach(Invariant::Durable, format!("to the new leader {what}"));
        }
        for agent in 0..self.machines.len() {
            self.after(1, 3_000, Happening::LeaderSeen(Host::Agent(agent)));
        }
        for framework in 0..self.schedulers.len() {
            self.after(1, 3_000, Happening::LeaderSeen(Host::Framework(framework)));
        }
        for host in self.living_marathons() {
            self.after(1, 3_000, Happening::LeaderSeen(host));
        }
    }

    /// The process ends: it died, or it has understood that another leads.
    pub(crate) fn depose(&mut self, master: usize) {
        if std::mem::replace(&mut self.masters[master].alive, false) {
            trace!(self, "master {master} ends");
            // What it has asked the store for last may be done all the same.
            let process = &mut self.masters[master];
            let last = process.writes.pop_front();
            if let Some((_, operations)) = last
                && process.epoch == self.stored.epoch
                && self.random.percent(30)
            {
                for operation in operations {
                    self.stored.registry.apply(operation);
                }
            }
            self.never_answered(master);
            self.break_wires_of(Host::Master(master));
        }
    }

    pub(crate) fn master_tick(&mut self, master: usize) {
        let process = &mut self.masters[master];
        if process.tick.is_none_or(|tick| tick > self.now) {
            return;
        }
        process.tick = None;
        self.master_step(master, Input::Tick);
    }

    pub(crate) fn master_flush(&mut self, master: usize) {
        self.masters[master].flush_comes = false;
        self.master_step(master, Input::Flush);
    }

    pub(crate) fn take_call(&mut self, wire: usize, master: usize, call: Box<scheduler::Call>) {
        trace!(self, "framework -> master {master} on {wire}: {call:?}");
        let stream = StreamKey(wire as u64);
        let input = if call.r#type() == Type::Subscribe {
            Input::Subscribe {
                stream,
                http_stream_id: None,
                call,
                principal: None,
                reply: None,
            }
        } else {
            Input::Call {
                origin: CallOrigin::Stream(stream),
                call,
                principal: None,
                reply: None,
            }
        };
        self.master_step(master, input);
    }

    pub(crate) fn master_step(&mut self, master: usize, input: Input) {
        let now = self.now;
        let process = &mut self.masters[master];
        if !process.alive {
            return;
        }
        let flush = matches!(input, Input::Flush);
        let mut outputs = Vec::new();
        process.core.step(now, input, &mut outputs);
        let over = process.stepped_down;
        let broken = if over {
            None
        } else {
            process.core.check_invariants().err()
        };
        let flush_due = !flush && !std::mem::replace(&mut process.flush_comes, true);
        let deadline = process.core.next_deadline();
        let wanted = deadline.filter(|at| process.tick.is_none_or(|tick| *at < tick));
        if let Some(at) = wanted {
            process.tick = Some(at);
            self.at(at, Happening::MasterTick(master));
        }
        if flush_due {
            // A shell flushes after each batch: often at once, sometimes after more has come.
            let batch = self.random.percent(30);
            self.after(
                0,
                if batch { 20 } else { 1 },
                Happening::MasterFlush(master),
            );
        }
        if let Some(what) = broken {
            let named = [
                Invariant::OfferOnce,
                Invariant::Reservation,
                Invariant::Gone,
                Invariant::Drained,
                Invariant::Wanted,
            ];
            let invariant = named
                .into_iter()
                .find(|known| what.starts_with(&known.to_string()))
                .unwrap_or(Invariant::NoOvercommit);
            self.breach(invariant, format!("master {master}: {what}"));
        }
        let mut made = Vec::new();
        for output in outputs {
            if let Output::Change(Change::OfferAdded(offer)) = &output {
                made.push(Arc::clone(offer));
            }
            if over && !matches!(output, Output::Reply { .. }) {
                self.breach(
                    Invariant::Epoch,
                    format!("master {master} acts after it was fenced: {output:?}"),
                );
            }
            self.carry_out_for_master(master, output);
        }
        if flush {
            self.check_quota(master, &made);
        }
    }

    fn carry_out_for_master(&mut self, master: usize, output: Output) {
        match output {
            Output::Event { stream, event } => {
                trace!(
                    self,
                    "master {master} -> framework on {}: {event:?}", stream.0
                );
                self.send(wire(stream.0), Way::Down, Payload::Event(event));
            }
            Output::CloseStream { stream, reason } => {
                trace!(self, "master {master} closes {}: {reason}", stream.0);
                self.close(wire(stream.0), Way::Down);
            }
            Output::ToAgent { link, message } => {
                trace!(self, "master {master} -> agent on {}: {message:?}", link.0);
                if let Some(Message::RunTask(run)) = &message.message {
                    self.check_launch(master, &run.framework_id.value, &run.task);
                }
                if let Some(Message::RunTaskGroup(run)) = &message.message {
                    for task in &run.group.tasks {
                        self.check_launch(master, &run.framework_id.value, task);
                    }
                }
                let epoch = self.masters[master].epoch;
                self.send(wire(link.0), Way::Down, Payload::ToAgent { epoch, message });
            }
            Output::CloseLink { link, reason } => {
                trace!(self, "master {master} closes {}: {reason}", link.0);
                self.close(wire(link.0), Way::Down);
            }
            Output::Reply { token, reply } => self.answered(master, token, &reply),
            Output::Store {
                sequence,
                operations,
            } => {
                trace!(self, "master {master} stores {sequence}: {operations:?}");
                for operation in &operations {
                    if let RegistryOperation::Remove { agent } = operation {
                        self.ledger.may_be_forgotten(agent);
                        self.forgotten.insert(agent.clone());
                    }
                }
                let slow = if self.trouble() && self.random.percent(10) {
                    5_000
                } else {
                    20
                };
                let at =
                    (self.now + self.random.millis(1, slow)).max(self.masters[master].last_answer);
                self.masters[master].last_answer = at;
                self.masters[master]
                    .writes
                    .push_back((sequence, operations));
                self.at(at, Happening::StoreAnswers(master));
            }
            Output::Change(change) => self.see(master, change),
            Output::Log { line, .. } => trace!(self, "master {master}: {line}"),
            Output::StepDown { reason } => {
                trace!(self, "master {master} steps down: {reason}");
                self.masters[master].stepped_down = true;
                self.after(1, 1_000, Happening::Depose(master));
            }
        }
    }

    pub(crate) fn store_answers(&mut self, master: usize) {
        if !self.masters[master].alive {
            return;
        }
        if self.partitions.cuts((Host::Master(master), Host::Store)) {
            let again = self.now + std::time::Duration::from_millis(300);
            return self.at(again, Happening::StoreAnswers(master));
        }
        let Some((sequence, operations)) = self.masters[master].writes.pop_front() else {
            return;
        };
        let failing = if self.trouble() {
            self.scenario.failing_stores_percent
        } else {
            0
        };
        let result = if self.masters[master].epoch < self.stored.epoch {
            Err(StoreError::Fenced(format!(
                "epoch {} leads",
                self.stored.epoch
            )))
        } else if self.random.percent(failing) {
            Err(StoreError::Failed("the store is in trouble".to_owned()))
        } else {
            Ok(())
        };
        // An answer may be lost after the write was done.
        let done = match &result {
            Ok(()) => true,
            Err(StoreError::Failed(_)) => self.random.percent(30),
            Err(StoreError::Fenced(_)) => false,
        };
        if done {
            for operation in operations {
                self.stored.registry.apply(operation);
            }
        }
        trace!(
            self,
            "store -> master {master}: {sequence} {result:?}, written: {done}"
        );
        self.master_step(master, Input::Stored { sequence, result });
    }

    /// A view, as operators have it; every change must fit what came before.
    fn see(&mut self, master: usize, change: Change) {
        let process = &mut self.masters[master];
        match change {
            Change::AgentAdded(agent) | Change::AgentUpdated(agent) => {
                let (id, drain) = (agent.id.clone(), agent.drain);
                let back = process.gone.contains(&id);
                process.agents.insert(id.clone(), agent);
                if back {
                    let what = format!("master {master} has agent {id}, which is gone");
                    return self.breach(Invariant::Gone, what);
                }
                if drain.is_some_and(|drain| drain.state() == DrainState::Drained) {
                    self.check_drained(master, &id);
                }
            }
            Change::AgentRemoved { id, cause } => {
                process.agents.remove(&id);
                if cause == AgentRemoval::Gone {
                    process.gone.insert(id);
                }
            }
            Change::TaskAdded(task) | Change::TaskUpdated { task, .. } => {
                let on = &task.facts.agent;
                if task.list == TaskList::Active && process.gone.contains(on) {
                    let id = &task.facts.id;
                    let what =
                        format!("master {master} has task {id} on agent {on}, which is gone");
                    return self.breach(Invariant::Gone, what);
                }
                process.tasks.insert(task.key, task);
            }
            Change::WeightsChanged(weights) => process.shown.weights = weights.to_vec(),
            Change::QuotasChanged(quotas) => process.shown.quotas = quotas.to_vec(),
            Change::MaintenanceChanged(maintenance) => {
                process.shown.maintenance = Maintenance {
                    schedule: maintenance.schedule.clone(),
                    down: maintenance.status.down_machines.clone(),
                };
            }
            Change::TaskForgotten(key) => {
                process.tasks.remove(&key);
            }
            Change::FrameworkAdded(framework) | Change::FrameworkUpdated { framework, .. } => {
                process.frameworks.insert(framework.id.clone(), framework);
            }
            Change::OfferAdded(offer) => {
                self.check_wanted(master, &offer);
                let process = &mut self.masters[master];
                if process.offers.insert(offer.key, true).is_some() {
                    self.breach(
                        Invariant::OfferOnce,
                        format!("master {master}: offer {:?} was made twice", offer.key),
                    );
                }
            }
            Change::OfferRemoved(key) => {
                if process.offers.insert(key, false) != Some(true) {
                    self.breach(
                        Invariant::OfferOnce,
                        format!("master {master}: offer {key:?} ended twice"),
                    );
                }
            }
            Change::AgentRecovered(_)
            | Change::FrameworkCompleted(_)
            | Change::FrameworkForgotten(_)
            | Change::ExecutorAdded(_)
            | Change::ExecutorRemoved { .. }
            | Change::InverseOfferAdded(_)
            | Change::InverseOfferRemoved(_)
            | Change::OperationUpdated(_)
            | Change::OperationForgotten(_) => {}
        }
    }

    /// I7: a task uses nothing that is reserved for others than its role, which is one of its framework's.
    fn check_launch(&mut self, master: usize, framework: &str, task: &TaskInfo) {
        let roles = self
            .schedulers
            .iter()
            .find(|known| known.id.as_deref() == Some(framework))
            .map(|known| known.had_roles.clone());
        for resource in &task.resources {
            let role = resource.allocation_info.as_ref();
            let role = role.and_then(|info| info.role.clone()).unwrap_or_default();
            let foreign = usable(&task.resources, &role).err();
            let strange = roles.as_ref().is_some_and(|roles| !roles.contains(&role));
            if foreign.is_some() || strange {
                let id = &task.task_id.value;
                let what = format!("master {master} launches {id} in role {role}: {foreign:?}");
                return self.breach(Invariant::Reservation, what);
            }
        }
    }

    /// Tasks that the leader believes to be there.
    pub(crate) fn active_tasks(&self) -> impl Iterator<Item = &Arc<TaskSnapshot>> {
        self.masters[self.leader]
            .tasks
            .values()
            .filter(|task| task.list == TaskList::Active)
    }
}

fn wire(key: u64) -> usize {
    usize::try_from(key).unwrap_or(usize::MAX)
}
