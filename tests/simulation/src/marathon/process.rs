//! Marathon's processes: the shell around each core, and the election.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_marathon_core::view::View;
use tepui_marathon_core::{
    CheckId, Config, Input, Marathon, Measure, Mutation, Output, Probe, ProbeOutcome, ProbeTarget,
    ReadinessAnswer,
};
use tepui_model::Time;

use super::Happening as Event;
use super::records::{Records, is_over};
use crate::network::Host;
use crate::world::{Happening, Simulation, trace};

/// A process that leads, led, or believes that it leads.
pub(crate) struct Process {
    pub(super) core: Marathon,
    pub(super) view: View,
    pub(super) epoch: u64,
    pub(crate) alive: bool,
    /// Its stream to a master.
    pub(crate) wire: Option<usize>,
    pub(super) subscribed: bool,
    /// The master that it believes to lead.
    pub(crate) master: usize,
    /// Under which it subscribes.
    pub(super) id: Option<String>,
    pub(super) roles: Vec<String>,
    tick: Option<Time>,
    pub(super) writes: VecDeque<(u64, Vec<Mutation>)>,
    /// So many of these, the first ones, were asked for as one transaction of which nobody knows whether it was done: it is asked for again as it is.
    pub(super) asked: usize,
    pub(super) probes: BTreeMap<CheckId, Arc<Probe>>,
    pub(super) measures: BTreeMap<CheckId, Arc<Measure>>,
    /// What it has written, whether or not that is stored yet.
    pub(super) records: Records,
    /// Tasks of which it was told last that they serve, or do not.
    pub(super) health: BTreeMap<String, bool>,
    /// Tasks of which it was told that they are over, or its predecessors were and have written it down.
    pub(super) ended: BTreeSet<String>,
}

impl Simulation {
    /// A new leader takes what the store has; from now on the store refuses its predecessors.
    pub(super) fn elect_marathon(&mut self) {
        let well = self.marathons.leader().is_some_and(|leader| {
            self.marathons.processes[leader].epoch == self.marathons.store.epoch
                && !self.partitions.cuts((Host::Marathon(leader), Host::Store))
        });
        if well {
            return;
        }
        self.store_forgets();
        let index = self.marathons.processes.len();
        self.marathons.store.epoch += 1;
        let epoch = self.marathons.store.epoch;
        let config = self.marathon_config(index);
        let records = self.marathons.store.all();
        trace!(
            self,
            "marathon {index} leads with epoch {epoch}, {} records",
            records.len()
        );
        let mut known = Records::default();
        for record in &records {
            known.put(&record.key, &record.value);
        }
        let tasks = known.instances.values().flat_map(|one| one.tasks());
        let ended = tasks.filter(|(_, condition)| is_over(condition));
        let ended = ended.map(|(task, _)| task.to_owned()).collect();
        let mut outputs = Vec::new();
        let core = match Marathon::new(config, self.now, records, &mut outputs) {
            Ok(core) => core,
            Err(error) => return self.unreadable(&error),
        };
        let master = self.detected(Host::Marathon(index));
        self.marathons.processes.push(Process {
            id: core.framework_id().map(str::to_owned),
            core,
            view: View::default(),
            epoch,
            alive: true,
            wire: None,
            subscribed: false,
            master,
            roles: vec!["*".to_owned()],
            tick: None,
            writes: VecDeque::new(),
            asked: 0,
            probes: BTreeMap::new(),
            measures: BTreeMap::new(),
            records: known,
            health: BTreeMap::new(),
            ended,
        });
        self.check_kept();
        self.marathon_did(index, outputs);
        self.after(1, 200, Happening::Marathon(Event::Subscribe(index)));
    }

    fn marathon_config(&self, index: usize) -> Config {
        let hasty = self.scenario.hasty;
        let or = |short: u64, long: u64| if hasty { short } else { long };
        Config {
            seed: u128::from(self.seed) << 64 | index as u128,
            decline_offer_ms: or(5_000, 120_000),
            kill_retry_ms: or(3_000, 30_000),
            kill_chunk_size: if hasty { 3 } else { 100 },
            task_launch_confirm_timeout_ms: or(30_000, 300_000),
            task_launch_timeout_ms: or(40_000, 300_000),
            task_reservation_timeout_ms: or(5_000, 20_000),
            reconciliation_interval_ms: or(30_000, 600_000),
            ..Config::default()
        }
    }

    /// The process ends: it died, gave up, or was refused by the store.
    pub(super) fn depose_marathon(&mut self, process: usize) {
        if !std::mem::replace(&mut self.marathons.processes[process].alive, false) {
            return;
        }
        trace!(self, "marathon {process} ends");
        self.last_writes(process);
        self.never_answered_by(process);
        self.marathons.processes[process].wire = None;
        self.marathons.processes[process].probes.clear();
        self.marathons.processes[process].measures.clear();
        self.break_wires_of(Host::Marathon(process));
        let longest = if self.trouble() { 8_000 } else { 1_000 };
        self.after(10, longest, Happening::Marathon(Event::Elect));
    }

    /// Those that may speak to masters.
    pub(crate) fn living_marathons(&self) -> Vec<Host> {
        let all = self.marathons.processes.iter().enumerate();
        let living = all.filter(|(_, process)| process.alive);
        living.map(|(index, _)| Host::Marathon(index)).collect()
    }

    /// The leader dies.
    pub(crate) fn crash_marathon(&mut self) {
        if let Some(leader) = self.marathons.leader() {
            self.depose_marathon(leader);
        }
    }

    /// The leader is cut off from the store, and perhaps from the master; another is elected, and it learns of that late.
    pub(crate) fn isolate_marathon(&mut self) {
        let Some(leader) = self.marathons.leader() else {
            return;
        };
        let (own, master) = (Host::Marathon(leader), Host::Master(self.leader));
        let mut cuts = vec![(own, Host::Store)];
        if self.random.percent(40) {
            cuts.extend([(own, master), (master, own)]);
        }
        self.cut(cuts, 30_000);
        self.after(500, 6_000, Happening::Marathon(Event::Elect));
        self.after(3_000, 40_000, Happening::Marathon(Event::Depose(leader)));
    }

    /// Nothing goes wrong any more: one leads, and no other is left.
    pub(crate) fn calm_marathon(&mut self) {
        if !self.scenario.marathon {
            return;
        }
        self.after(1, 1_000, Happening::Marathon(Event::Elect));
        for process in 0..self.marathons.processes.len() {
            if self.marathons.leader() != Some(process) {
                self.after(1, 1_000, Happening::Marathon(Event::Depose(process)));
            } else {
                let host = Host::Marathon(process);
                self.after(1, 2_000, Happening::LeaderSeen(host));
            }
        }
    }

    pub(super) fn marathon_tick(&mut self, process: usize) {
        let known = &mut self.marathons.processes[process];
        if known.tick.is_some_and(|tick| tick <= self.now) {
            known.tick = None;
            self.marathon_step(process, Input::Tick);
        }
    }

    pub(super) fn marathon_step(&mut self, process: usize, input: Input) {
        let known = &mut self.marathons.processes[process];
        if !known.alive {
            return;
        }
        let mut outputs = Vec::new();
        known.core.step(self.now, input, &mut outputs);
        self.marathon_did(process, outputs);
    }

    /// Judges what the core has decided, and carries it out; now and then it dies in the middle.
    fn marathon_did(&mut self, process: usize, outputs: Vec<Output>) {
        for output in &outputs {
            if let Output::Store { mutations, .. } = output {
                self.judge(process, mutations);
            }
        }
        let faults = &self.scenario.faults;
        let mortal = faults
            .iter()
            .any(|(fault, _)| *fault == crate::Fault::MarathonCrash);
        let dies = self.trouble() && mortal && outputs.len() > 2 && self.random.below(400) == 0;
        let most = if dies {
            self.random.below(outputs.len())
        } else {
            usize::MAX
        };
        for output in outputs.into_iter().take(most) {
            self.carry_out_for_marathon(process, output);
        }
        if dies {
            self.faults += 1;
            return self.depose_marathon(process);
        }
        let known = &mut self.marathons.processes[process];
        let deadline = known.core.next_deadline();
        if let Some(at) = deadline.filter(|at| known.tick.is_none_or(|tick| *at < tick)) {
            known.tick = Some(at);
            self.at(at, Happening::Marathon(Event::Tick(process)));
        }
    }

    fn carry_out_for_marathon(&mut self, process: usize, output: Output) {
        match output {
            Output::Reply(token, response) => self.user_hears(process, token, &response),
            Output::Store {
                sequence,
                mutations,
            } => {
                trace!(self, "marathon {process} stores {sequence}: {mutations:?}");
                self.marathon_writes(process, sequence, mutations);
            }
            Output::Change(change) => self.marathons.processes[process].view.apply(change),
            Output::Event(event) => trace!(self, "marathon {process}: {}", event.to_json()),
            Output::StartHealthCheck(probe) => {
                let check = probe.check;
                let first = probe.first_after_ms;
                self.marathons.processes[process]
                    .probes
                    .insert(check, probe);
                let event = Event::Probe { process, check };
                self.after(first, first + 100, Happening::Marathon(event));
            }
            Output::StopHealthCheck(check) => {
                self.marathons.processes[process].probes.remove(&check);
            }
            Output::StartMeasure(measure) => self.begin_to_measure(process, measure),
            Output::StopMeasure(check) => {
                self.marathons.processes[process].measures.remove(&check);
            }
            command => self.tell_master(process, command),
        }
    }

    pub(super) fn marathon_probes(&mut self, process: usize, check: CheckId) {
        let Some(probe) = self.marathons.processes[process]
            .probes
            .get(&check)
            .cloned()
        else {
            return;
        };
        let serves = self.task_serves(&probe.task_id);
        let lost = self.trouble() && self.random.percent(2);
        let again = Event::Probe { process, check };
        self.after(
            probe.interval_ms,
            probe.interval_ms + 50,
            Happening::Marathon(again),
        );
        let well = serves && !lost;
        trace!(self, "marathon {process} probes {}: {well}", probe.task_id);
        let input = if let ProbeTarget::Readiness { .. } = probe.target {
            let answer = ReadinessAnswer {
                status: if well { 200 } else { 503 },
                content_type: "text/plain".to_owned(),
                body: String::new(),
            };
            Input::ReadinessResult { check, answer }
        } else {
            self.hear_health(process, &probe.task_id, well);
            let outcome = if well {
                ProbeOutcome::Healthy
            } else {
                ProbeOutcome::Unhealthy("503 Service Unavailable".to_owned())
            };
            Input::HealthResult { check, outcome }
        };
        self.marathon_step(process, input);
    }

    /// What a process was told of a task's health.
    pub(super) fn hear_health(&mut self, process: usize, task: &str, well: bool) {
        let health = &mut self.marathons.processes[process].health;
        health.insert(task.to_owned(), well);
    }
}
