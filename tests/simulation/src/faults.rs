//! What goes wrong, when, and how it mends.

use std::time::Duration;

use crate::network::{Host, Way};
use crate::scenario::Fault;
use crate::world::{Happening, Simulation, trace};

impl Simulation {
    /// One fault, and the next one after a while.
    pub(crate) fn fault(&mut self) {
        if !self.trouble() {
            return;
        }
        let every = u64::try_from(self.scenario.fault_every.as_millis()).unwrap_or(1);
        self.after(1, every * 3, Happening::Fault);
        let all: u32 = self.scenario.faults.iter().map(|(_, weight)| weight).sum();
        let mut ticket = self.random.below(all as usize);
        let faults = self.scenario.faults.clone();
        for (fault, weight) in faults {
            if ticket < weight as usize {
                trace!(self, "FAULT {fault:?}");
                self.faults += 1;
                return self.strike(fault);
            }
            ticket -= weight as usize;
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Break => {
                let open: Vec<usize> = (0..self.wires.len())
                    .filter(|wire| !self.wires[*wire].over)
                    .collect();
                if let Some(wire) = open.get(self.random.below(open.len())) {
                    self.break_wire(*wire);
                }
            }
            Fault::Partition => self.partition(),
            Fault::AgentCrash | Fault::AgentReboot => {
                let agent = self.random.below(self.machines.len());
                self.crash_agent(agent, fault == Fault::AgentReboot);
            }
            Fault::MasterCrash => {
                self.depose(self.leader);
                self.after(10, 8_000, Happening::Elect);
            }
            Fault::MasterIsolated => self.isolate_leader(),
            Fault::FrameworkCrash | Fault::FrameworkTakeover if self.schedulers.is_empty() => {}
            Fault::FrameworkCrash => {
                let framework = self.random.below(self.schedulers.len());
                self.crash_framework(framework);
            }
            Fault::FrameworkTakeover => {
                let framework = self.random.below(self.schedulers.len());
                self.take_over(framework);
            }
            Fault::MarathonCrash => self.crash_marathon(),
            Fault::MarathonIsolated => self.isolate_marathon(),
            Fault::MarathonTornDown => self.tear_marathon_down(),
        }
    }

    fn clients(&self) -> Vec<Host> {
        (0..self.machines.len())
            .map(Host::Agent)
            .chain((0..self.schedulers.len()).map(Host::Framework))
            .chain(self.living_marathons())
            .collect()
    }

    fn partition(&mut self) {
        let master = Host::Master(self.leader);
        let mut cuts = Vec::new();
        let ways = self.random.below(3);
        for client in self.clients() {
            if self.random.percent(40) {
                if ways != 1 {
                    cuts.push((client, master));
                }
                if ways != 2 {
                    cuts.push((master, client));
                }
            }
        }
        self.cut(cuts, 40_000);
    }

    pub(crate) fn cut(&mut self, cuts: Vec<(Host, Host)>, longest_ms: u64) {
        trace!(self, "cut: {cuts:?}");
        for ends in &cuts {
            self.partitions.cut(*ends);
        }
        self.after(100, longest_ms, Happening::Mend(cuts));
    }

    fn isolate_leader(&mut self) {
        let master = Host::Master(self.leader);
        let mut cuts = vec![(master, Host::Store)];
        for client in self.clients() {
            if self.random.percent(30) {
                cuts.extend([(client, master), (master, client)]);
            }
        }
        self.cut(cuts, 30_000);
        // Its session runs out; another is elected, unless it was heard of again before.
        self.after(500, 6_000, Happening::Elect);
        let deposed = self.leader;
        self.after(3_000, 40_000, Happening::LeaderSeen(Host::Master(deposed)));
    }

    pub(crate) fn mend(&mut self, cuts: &[(Host, Host)]) {
        if !self.trouble() {
            return;
        }
        trace!(self, "mended: {cuts:?}");
        for ends in cuts {
            self.partitions.mend(*ends);
        }
        self.resume_held();
    }

    /// All that is broken mends, and nothing breaks any more.
    pub(crate) fn make_peace(&mut self) {
        self.partitions.clear();
        self.resume_held();
        self.elect();
        for master in 0..self.masters.len() {
            if master != self.leader {
                self.after(1, 1_000, Happening::Depose(master));
            }
        }
        self.calm_marathon();
        self.after(1_000, 5_000, Happening::Tidy);
        for agent in 0..self.machines.len() {
            self.after(1, 1_000, Happening::AgentStarts(agent));
            self.after(1, 2_000, Happening::LeaderSeen(Host::Agent(agent)));
        }
        for framework in 0..self.schedulers.len() {
            self.after(1, 1_000, Happening::FrameworkStarts(framework));
            self.after(1, 2_000, Happening::LeaderSeen(Host::Framework(framework)));
        }
    }

    /// Who leads, as a host sees it: now and then that is the past for a while.
    pub(crate) fn detected(&mut self, host: Host) -> usize {
        if self.trouble() && self.random.percent(15) {
            let alive: Vec<usize> = (0..self.masters.len())
                .filter(|master| self.masters[*master].alive)
                .collect();
            if let Some(stale) = alive.get(self.random.below(alive.len())) {
                self.after(100, 10_000, Happening::LeaderSeen(host));
                return *stale;
            }
        }
        self.leader
    }

    /// A host learns who leads now; its stream to another master ends.
    pub(crate) fn leader_seen(&mut self, host: Host) {
        let leader = self.detected(host);
        let soon = Duration::from_millis(1);
        match host {
            Host::Master(master) if master != self.leader => self.depose(master),
            Host::Agent(agent) => {
                let machine = &mut self.machines[agent];
                machine.leader = leader;
                let (life, wire) = (machine.life, machine.wire);
                match wire {
                    Some(wire) if self.wires[wire].master != leader => {
                        self.close(wire, Way::Up);
                        self.agent_lost_wire(agent, wire);
                    }
                    Some(_) => {}
                    None => self.at(self.now + soon, Happening::Connect { agent, life }),
                }
            }
            Host::Framework(framework) => {
                let scheduler = &mut self.schedulers[framework];
                scheduler.leader = leader;
                let (life, wire) = (scheduler.life, scheduler.wire);
                match wire {
                    Some(wire) if self.wires[wire].master != leader => {
                        self.close(wire, Way::Up);
                        self.framework_lost_wire(framework, wire);
                    }
                    Some(_) => {}
                    None => self.at(self.now + soon, Happening::Subscribe { framework, life }),
                }
            }
            Host::Marathon(process) => self.marathon_sees_master(process, leader),
            Host::Master(_) | Host::Store => {}
        }
    }
}
