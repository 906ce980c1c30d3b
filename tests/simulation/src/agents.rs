//! Machines: the shell around an agent core, its journal, and the containers, which live on without it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tepui_agent_core::{
    Agent, Change, Config, ContainerFact, ContainerState, Entry, Input, Output,
};
use tepui_model::{AgentId, ContainerId, Resources, TaskState, Time};
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos::AgentInfo;
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::master_message;

use crate::containers::{Container, Stage};
use crate::invariants::Invariant;
use crate::network::{Host, Payload, Way};
use crate::operators::total_of;
use crate::random::Random;
use crate::scenario::Sabotage;
use crate::wishes::attributes;
use crate::world::{Happening, Simulation, trace};

/// A machine that an agent runs on.
pub(crate) struct Machine {
    core: Option<Agent>,
    pub(crate) life: u32,
    pub(crate) wire: Option<usize>,
    pub(crate) leader: usize,
    pub(crate) cpus: u64,
    pub(crate) mem_mib: u64,
    journal: Vec<Entry>,
    /// Records that survive the machine.
    durable: usize,
    /// Of the newest record of this life.
    sequence: u64,
    sync_comes: bool,
    tick: Option<Time>,
    /// The highest that was obeyed.
    epoch: u64,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// What the core shows, by framework and task.
    pub(crate) tasks: BTreeMap<(String, String), TaskState>,
    pub(crate) executors: BTreeMap<(String, String), ContainerId>,
    /// The ids that it has had; the last one is the present one.
    pub(crate) ids: Vec<AgentId>,
    /// Volumes that could not be made, by name.
    pub(crate) unmade: BTreeSet<String>,
    /// Operations whose volumes were made and removed.
    pub(crate) volumes_done: BTreeSet<Bytes>,
    /// All that it has, as the core shows it.
    pub(crate) total: Resources,
    /// What it lends beyond that.
    pub(crate) lent: Resources,
}

const SIGKILL: i32 = 9;

impl Machine {
    pub(crate) fn new(_index: usize, random: &mut Random) -> Self {
        Self {
            core: None,
            life: 0,
            wire: None,
            leader: 0,
            cpus: 2 + random.below(7) as u64,
            mem_mib: 512 + 256 * random.below(10) as u64,
            journal: Vec::new(),
            durable: 0,
            sequence: 0,
            sync_comes: false,
            tick: None,
            epoch: 0,
            containers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            executors: BTreeMap::new(),
            ids: Vec::new(),
            unmade: BTreeSet::new(),
            volumes_done: BTreeSet::new(),
            total: Resources::new(),
            lent: Resources::new(),
        }
    }

    pub(crate) fn alive(&self) -> bool {
        self.core.is_some()
    }
}

impl Simulation {
    fn agent_config(&self, agent: usize) -> Config {
        let machine = &self.machines[agent];
        let ports = if self.scenario.marathon {
            ";ports:[31000-31099]"
        } else {
            ""
        };
        let (cpus, mem) = (machine.cpus, machine.mem_mib);
        let total = format!("cpus:{cpus};mem:{mem};disk:400{ports}");
        let total: Resources = total.parse().unwrap_or_default();
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&self.seed.to_le_bytes());
        incarnation[8] = u8::try_from(agent).unwrap_or(0);
        incarnation[9..13].copy_from_slice(&machine.life.to_le_bytes());
        Config {
            info: AgentInfo {
                hostname: format!("host{agent}"),
                port: Some(5051),
                resources: to_wire(&total, Encoding::Stack),
                attributes: attributes(agent),
                ..AgentInfo::default()
            },
            incarnation,
            // Small, so that registrations come in parts.
            registration_chunk_bytes: 2_000,
            ..Config::default()
        }
    }

    /// A process starts, with a past or without.
    pub(crate) fn agent_starts(&mut self, agent: usize) {
        if self.machines[agent].alive() {
            return;
        }
        self.machines[agent].life += 1;
        let config = self.agent_config(agent);
        let facts = self.facts(agent);
        let leader = self.detected(Host::Agent(agent));
        let machine = &mut self.machines[agent];
        machine.sequence = 0;
        machine.sync_comes = false;
        machine.tick = None;
        machine.leader = leader;
        machine.tasks.clear();
        machine.executors.clear();
        let life = machine.life;
        let mut outputs = Vec::new();
        trace!(
            self,
            "agent {agent} starts its life {life} with {} records, {} containers: {facts:?}",
            machine.journal.len(),
            machine.containers.len()
        );
        let core = Agent::recover(
            config,
            machine.journal.clone(),
            facts,
            self.now,
            &mut outputs,
        );
        machine.core = Some(core);
        self.carry_out_for_agent(agent, outputs, usize::MAX);
        self.agent_deadline(agent);
        self.after(1, 100, Happening::Connect { agent, life });
    }

    /// What the containerizer finds. Launches that were under way have become something.
    fn facts(&mut self, agent: usize) -> Vec<ContainerFact> {
        let preparing: Vec<ContainerId> = self.machines[agent]
            .containers
            .iter()
            .filter(|(_, container)| container.state == Stage::Preparing)
            .map(|(id, _)| id.clone())
            .collect();
        for id in preparing {
            match self.random.below(3) {
                0 => {
                    self.machines[agent].containers.remove(&id);
                }
                1 => self.container_over(
                    agent,
                    &id,
                    ContainerState::LaunchFailed {
                        reason: "interrupted".to_owned(),
                    },
                ),
                _ => self.container_runs(agent, &id),
            }
        }
        self.machines[agent]
            .containers
            .iter()
            .map(|(container, known)| ContainerFact {
                container: container.clone(),
                state: match &known.state {
                    Stage::Over(state) => state.clone(),
                    Stage::Preparing | Stage::Running => ContainerState::Running { pid: Some(7) },
                },
            })
            .collect()
    }

    /// The process dies; with the machine, everything that was not synchronised and every container.
    pub(crate) fn crash_agent(&mut self, agent: usize, machine_too: bool) {
        let torn = self.scenario.sabotage == Some(Sabotage::TearsJournals);
        let machine = &mut self.machines[agent];
        if machine.core.take().is_none() {
            return;
        }
        if torn {
            machine.journal.truncate(machine.journal.len() / 2);
        }
        machine.wire = None;
        if machine_too {
            machine.journal.truncate(machine.durable);
            machine.containers.clear();
            // What was obeyed and not synchronised was never done.
            machine.epoch = 0;
        } else {
            machine.durable = machine.durable.min(machine.journal.len());
        }
        trace!(self, "agent {agent} dies, machine too: {machine_too}");
        self.break_wires_of(Host::Agent(agent));
        self.after(20, 30_000, Happening::AgentStarts(agent));
    }

    pub(crate) fn connect(&mut self, agent: usize, life: u32) {
        let machine = &self.machines[agent];
        if machine.life != life || !machine.alive() || machine.wire.is_some() {
            return;
        }
        let wire = self.open(Host::Agent(agent), life, machine.leader);
        self.machines[agent].wire = Some(wire);
        trace!(
            self,
            "agent {agent} opens wire {wire} to master {}", self.machines[agent].leader
        );
        self.agent_step(
            agent,
            Input::Connected {
                stream: wire as u64,
            },
        );
    }

    /// The stream is over for the agent; it opens another.
    pub(crate) fn agent_lost_wire(&mut self, agent: usize, wire: usize) {
        if self.machines[agent].wire != Some(wire) {
            return;
        }
        self.machines[agent].wire = None;
        let life = self.machines[agent].life;
        self.agent_step(
            agent,
            Input::Disconnected {
                stream: wire as u64,
            },
        );
        self.after(0, 2_000, Happening::Connect { agent, life });
    }

    pub(crate) fn arrive_at_agent(
        &mut self,
        wire: usize,
        agent: usize,
        life: u32,
        payload: Payload,
    ) {
        let machine = &self.machines[agent];
        if machine.life != life || !machine.alive() {
            return;
        }
        let stream = wire as u64;
        match payload {
            Payload::ToAgent { epoch, message } => {
                let known = machine.epoch;
                if let Some(master_message::Message::ShutdownFramework(shutdown)) = &message.message
                    && epoch >= known
                {
                    self.dismiss(agent, &shutdown.framework_id.value);
                }
                let outputs = self.agent_outputs(
                    agent,
                    Input::FromMaster {
                        stream,
                        epoch,
                        message,
                    },
                );
                let obeyed = outputs.iter().find(|output| {
                    !matches!(
                        output,
                        Output::CloseStream { .. } | Output::Changed(Change::Agent(_))
                    )
                });
                if let Some(output) = obeyed.filter(|_| epoch < known) {
                    self.breach(Invariant::Epoch, format!("agent {agent} has obeyed epoch {known}, and epoch {epoch} makes it {output:?}"));
                }
                self.agent_did(agent, outputs);
            }
            Payload::Closed => self.agent_lost_wire(agent, wire),
            _ => {}
        }
    }

    /// The agent is told that a framework was removed.
    fn dismiss(&mut self, agent: usize, framework: &str) {
        let machine = &mut self.machines[agent];
        let tasks = machine.tasks.keys().filter(|(of, _)| of == framework);
        self.dismissed.extend(tasks.cloned());
        let containers = machine.containers.values_mut();
        containers
            .filter(|known| known.framework == framework)
            .for_each(|known| known.dismissed = true);
    }

    pub(crate) fn agent_tick(&mut self, agent: usize, life: u32) {
        let machine = &mut self.machines[agent];
        if machine.life == life && machine.tick.is_some_and(|tick| tick <= self.now) {
            machine.tick = None;
            self.agent_step(agent, Input::Tick);
        }
    }

    pub(crate) fn agent_step(&mut self, agent: usize, input: Input) {
        let outputs = self.agent_outputs(agent, input);
        self.agent_did(agent, outputs);
    }

    fn agent_outputs(&mut self, agent: usize, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Some(core) = &mut self.machines[agent].core {
            core.step(self.now, input, &mut outputs);
        }
        outputs
    }

    fn agent_did(&mut self, agent: usize, outputs: Vec<Output>) {
        // Now and then it dies in the middle of doing it.
        let crashes = self.trouble()
            && outputs.len() > 2
            && self
                .scenario
                .faults
                .iter()
                .any(|(fault, _)| *fault == crate::Fault::AgentCrash)
            && self.random.below(500) == 0;
        let most = if crashes {
            self.random.below(outputs.len())
        } else {
            usize::MAX
        };
        self.carry_out_for_agent(agent, outputs, most);
        if crashes {
            self.faults += 1;
            self.crash_agent(agent, false);
        } else {
            self.agent_deadline(agent);
        }
    }

    fn agent_deadline(&mut self, agent: usize) {
        let machine = &mut self.machines[agent];
        let deadline = machine.core.as_ref().and_then(Agent::next_deadline);
        if let Some(at) = deadline.filter(|at| machine.tick.is_none_or(|tick| *at < tick)) {
            machine.tick = Some(at);
            let life = machine.life;
            self.at(at, Happening::AgentTick { agent, life });
        }
    }

    fn carry_out_for_agent(&mut self, agent: usize, outputs: Vec<Output>, most: usize) {
        let mut exit = None;
        for output in outputs.into_iter().take(most) {
            match output {
                Output::Checkpoint { sequence, entry } => {
                    let machine = &mut self.machines[agent];
                    machine.journal.push(*entry);
                    machine.sequence = sequence;
                }
                Output::Launch(launch) => self.launch_container(agent, &launch),
                Output::Signal { container, signal } => {
                    trace!(self, "agent {agent} signals {container}: {signal}");
                    let stubborn = self.machines[agent]
                        .containers
                        .get(&container)
                        .is_none_or(|known| known.stubborn);
                    if !stubborn {
                        self.after(
                            1,
                            2_000,
                            Happening::ContainerEnds {
                                agent,
                                container,
                                status: signal,
                            },
                        );
                    }
                }
                Output::Destroy { container } => {
                    trace!(self, "agent {agent} destroys {container}");
                    self.after(
                        1,
                        100,
                        Happening::ContainerEnds {
                            agent,
                            container,
                            status: SIGKILL,
                        },
                    );
                }
                Output::Forget { container } => {
                    trace!(self, "agent {agent} forgets {container}");
                    let leaves = self.scenario.sabotage == Some(Sabotage::LeavesContainers);
                    let known = self.machines[agent].containers.get(&container);
                    if leaves && known.is_some_and(Container::lives) {
                        continue;
                    }
                    let gone = self.machines[agent].containers.remove(&container);
                    if gone.is_some_and(|container| container.lives()) {
                        self.breach(
                            Invariant::Converges,
                            format!("agent {agent} forgets container {container}, which runs"),
                        );
                    }
                }
                Output::ToMaster { stream, message } => {
                    self.leaves_agent(agent, message.message.as_ref());
                    let wire = usize::try_from(stream).unwrap_or(usize::MAX);
                    let lost = match self.scenario.sabotage {
                        Some(Sabotage::LosesTerminalUpdates) => ends_task(message.message.as_ref()),
                        Some(Sabotage::LosesOperationUpdates) => {
                            matches!(message.message, Some(Message::OperationUpdate(_)))
                        }
                        _ => false,
                    };
                    if self.machines[agent].wire == Some(wire) && !lost {
                        self.send(wire, Way::Up, Payload::FromAgent(message));
                    }
                }
                Output::CloseStream { stream, reason } => {
                    trace!(self, "agent {agent} closes wire {stream}: {reason}");
                    let wire = usize::try_from(stream).unwrap_or(usize::MAX);
                    if self.machines[agent].wire == Some(wire) {
                        self.close(wire, Way::Up);
                        self.machines[agent].wire = None;
                        let life = self.machines[agent].life;
                        self.after(0, 2_000, Happening::Connect { agent, life });
                    }
                }
                Output::Changed(change) => self.agent_shows(agent, change),
                Output::Exit { reason } => exit = Some(reason),
                Output::Volumes(volumes) => {
                    self.check_unused(agent, &volumes);
                    let life = self.machines[agent].life;
                    let fails = self.trouble() && self.random.percent(10);
                    let fails = self.volumes_made(agent, &volumes, fails);
                    let operation = volumes.operation;
                    self.after(
                        0,
                        200,
                        Happening::VolumesDone {
                            agent,
                            life,
                            operation,
                            fails,
                        },
                    );
                }
                Output::VolumesSettled { .. }
                | Output::Resize { .. }
                | Output::ToExecutor { .. }
                | Output::CloseExecutor { .. }
                | Output::Answer { .. } => {}
                Output::Probe(probe) => self.agent_probes(agent, &probe),
            }
        }
        self.sync_soon(agent);
        if let Some(reason) = exit {
            self.agent_exits(agent, &reason);
        }
    }

    /// It was told to leave, and has ended everything before. Somebody starts it again later.
    fn agent_exits(&mut self, agent: usize, reason: &str) {
        trace!(self, "agent {agent} ends: {reason}");
        let machine = &mut self.machines[agent];
        machine.core = None;
        // What it has done last may not be heard of.
        self.forgotten.extend(machine.ids.last().cloned());
        if let Some(wire) = machine.wire.take() {
            self.close(wire, Way::Up);
        }
        let lives = |container: &Container| container.lives();
        if self.machines[agent].containers.values().any(lives) {
            self.breach(
                Invariant::Converges,
                format!("agent {agent} ends, and its containers run"),
            );
        }
        self.after(20, 30_000, Happening::AgentStarts(agent));
    }

    pub(crate) fn volumes_done(&mut self, agent: usize, life: u32, operation: Bytes, fails: bool) {
        if self.machines[agent].life != life {
            return;
        }
        let result = if fails {
            Err("the disk is broken".to_owned())
        } else {
            Ok(())
        };
        self.agent_step(agent, Input::VolumesDone { operation, result });
    }

    /// I11: a master tells that this agent has drained.
    pub(crate) fn check_drained(&mut self, master: usize, id: &AgentId) {
        // What one that was cut off tells is past.
        if self.masters[master].epoch != self.stored.epoch() {
            return;
        }
        let on = |machine: &&Machine| machine.ids.last() == Some(id);
        let Some(machine) = self.machines.iter().find(on) else {
            return;
        };
        // Frameworks that were torn down have no tasks any more, while their containers end: also if a later leader takes them back.
        let ends = |known: &Container| known.dismissed || self.torn_down.contains(&known.framework);
        let mut containers = machine.containers.iter();
        let runs = containers.find(|(_, known)| known.lives() && !ends(known));
        if let Some((container, _)) = runs {
            let what = format!("to master {master} agent {id} has drained, and {container} runs");
            self.breach(Invariant::Drained, what);
        }
    }

    /// I11: nothing begins on an agent that has drained.
    pub(crate) fn check_may_launch(&mut self, agent: usize) {
        let Some(id) = self.machines[agent].ids.last() else {
            return;
        };
        let drained = self.stored.registry.agents.iter().any(|known| {
            let name = known.info.id.as_ref().map(|known| known.value.as_str());
            name == Some(id.as_str()) && known.drain.as_ref().is_some_and(|drain| drain.drained)
        });
        if drained {
            let what = format!("agent {id} has drained, and launches");
            self.breach(Invariant::Drained, what);
        }
    }

    fn sync_soon(&mut self, agent: usize) {
        let machine = &mut self.machines[agent];
        if machine.durable == machine.journal.len()
            || std::mem::replace(&mut machine.sync_comes, true)
        {
            return;
        }
        let (life, sequence, written) = (machine.life, machine.sequence, machine.journal.len());
        let slow = if self.random.percent(5) { 1_000 } else { 10 };
        self.after(
            0,
            slow,
            Happening::Synced {
                agent,
                life,
                sequence,
                written,
            },
        );
    }

    pub(crate) fn synced(&mut self, agent: usize, life: u32, sequence: u64, written: usize) {
        let snapshot = self.random.percent(3);
        let machine = &mut self.machines[agent];
        let Some(core) = machine.core.as_ref().filter(|_| machine.life == life) else {
            return;
        };
        machine.sync_comes = false;
        machine.durable = written;
        let mut sequence = sequence;
        if snapshot {
            machine.journal = core.snapshot();
            machine.durable = machine.journal.len();
            sequence = machine.sequence;
        }
        trace!(
            self,
            "agent {agent} is synchronised up to {sequence}, anew: {snapshot}"
        );
        self.agent_step(agent, Input::Checkpointed { sequence });
        self.sync_soon(agent);
    }

    fn leaves_agent(&mut self, agent: usize, message: Option<&Message>) {
        if let Some(Message::OperationUpdate(update)) = message {
            return self.operation_leaves_agent(agent, update);
        }
        let Some(Message::TaskUpdate(update)) = message else {
            return;
        };
        let Some(state) =
            TaskState::from_number(update.status.state).filter(|state| state.is_terminal())
        else {
            return;
        };
        let key = (
            update.framework_id.value.clone(),
            update.status.task_id.value.clone(),
        );
        let uuid = update.status.uuid.clone().unwrap_or_default();
        let own = self.machines[agent].ids.last().cloned();
        let (first, known, _) = self
            .ended
            .entry(key)
            .or_insert((state, uuid.clone(), own))
            .clone();
        if known != uuid {
            let task = &update.status.task_id.value;
            self.breach(
                Invariant::OneTerminal,
                format!(
                    "task {task} has ended as {first}, and agent {agent} tells {state}: {:?}",
                    update.status.message
                ),
            );
        }
    }

    fn agent_shows(&mut self, agent: usize, change: Change) {
        let machine = &mut self.machines[agent];
        match change {
            Change::Agent(state) => {
                machine.epoch = machine.epoch.max(state.epoch);
                if let Some(id) = &state.id
                    && machine.ids.last() != Some(id)
                {
                    machine.ids.push(id.clone());
                }
                machine.total = total_of(&state.total);
                machine.lent = total_of(&state.oversubscribed);
            }
            Change::Task(task) => {
                machine.tasks.insert(
                    (
                        task.framework_id.as_str().to_owned(),
                        task.id.as_str().to_owned(),
                    ),
                    task.state,
                );
            }
            Change::TaskEnded(framework, task) => {
                machine
                    .tasks
                    .remove(&(framework.as_str().to_owned(), task.as_str().to_owned()));
            }
            Change::Executor(executor) => {
                machine.executors.insert(
                    (
                        executor.framework_id.as_str().to_owned(),
                        executor.id.as_str().to_owned(),
                    ),
                    executor.container.clone(),
                );
            }
            Change::ExecutorEnded(framework, executor) => {
                machine
                    .executors
                    .remove(&(framework.as_str().to_owned(), executor.as_str().to_owned()));
            }
            Change::Framework(_)
            | Change::FrameworkEnded(_)
            | Change::Operation(_)
            | Change::OperationEnded(_) => {}
        }
    }
}

fn ends_task(message: Option<&Message>) -> bool {
    let state = match message {
        Some(Message::TaskUpdate(update)) => TaskState::from_number(update.status.state),
        _ => None,
    };
    state.is_some_and(TaskState::is_terminal)
}
