//! The queue of what will happen, the clock that follows it, and the streams between the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tepui_master_core::{Input as MasterInput, LinkKey, StreamKey};
use tepui_model::{AgentId, ContainerId, TaskState, Time};

use crate::agents::Machine;
use crate::frameworks::Scheduler;
use crate::invariants::{Breach, Invariant};
use crate::ledger::Ledger;
use crate::marathon::{self, Marathons};
use crate::masters::{MasterProcess, Stored};
use crate::network::{Host, Partitions, Payload, Way, Wire};
use crate::operations;
use crate::operators::Asked;
use crate::random::Random;
use crate::runner::World;
use crate::scenario::Scenario;
use crate::trace::{Trace, Tracer};

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Faults and launches.
    Trouble,
    /// Neither; what runs goes on.
    Peace,
    /// Frameworks end what they have, and users of Marathon put right what cannot work.
    Mended,
    /// Frameworks end what they have, and so do users.
    End,
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Arrival {
        wire: usize,
        way: Way,
    },
    MasterTick(usize),
    MasterFlush(usize),
    StoreAnswers(usize),
    Elect,
    Depose(usize),
    LeaderSeen(Host),
    AgentTick {
        agent: usize,
        life: u32,
    },
    AgentStarts(usize),
    Connect {
        agent: usize,
        life: u32,
    },
    Synced {
        agent: usize,
        life: u32,
        sequence: u64,
        written: usize,
    },
    ContainerRuns {
        agent: usize,
        container: ContainerId,
    },
    ContainerEnds {
        agent: usize,
        container: ContainerId,
        status: i32,
    },
    FrameworkStarts(usize),
    Subscribe {
        framework: usize,
        life: u32,
    },
    Decide {
        framework: usize,
        life: u32,
        offer: String,
    },
    Acknowledge {
        framework: usize,
        life: u32,
        task: String,
        agent: String,
        uuid: bytes::Bytes,
    },
    Whim {
        framework: usize,
        life: u32,
    },
    /// A scheduler says something that it has thought of before.
    Say {
        framework: usize,
        life: u32,
        call: Box<tepui_proto::mesos::scheduler::Call>,
    },
    /// A probe of an agent has ended.
    Probed {
        agent: usize,
        life: u32,
        probe: u64,
        container: ContainerId,
    },
    Marathon(marathon::Happening),
    VolumesDone {
        agent: usize,
        life: u32,
        operation: bytes::Bytes,
        fails: bool,
    },
    Fault,
    Mend(Vec<(Host, Host)>),
    Deed,
    Tidy,
    /// An agent lends something else.
    Lend(usize),
}

/// What a run did, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Things that happened.
    pub steps: u64,
    /// Tasks that frameworks launched.
    pub tasks: usize,
    /// Leaders that were elected.
    pub leaders: usize,
    /// Faults.
    pub faults: u64,
    /// Simulated time.
    pub time: Duration,
    /// Of the trace, if it was kept: equal runs have equal digests.
    pub digest: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} tasks, {} leaders, {} faults in {:?} of simulated time; digest {:016x}",
            self.steps, self.tasks, self.leaders, self.faults, self.time, self.digest
        )
    }
}

/// A cluster and its world.
pub struct Simulation {
    pub(crate) seed: u64,
    pub(crate) scenario: Scenario,
    pub(crate) random: Random,
    pub(crate) now: Time,
    pub(crate) phase: Phase,
    pub(crate) tracer: Tracer,
    queue: BTreeMap<(Time, u64), Happening>,
    next: u64,
    pub(crate) wires: Vec<Wire>,
    pub(crate) partitions: Partitions,
    pub(crate) masters: Vec<MasterProcess>,
    pub(crate) leader: usize,
    pub(crate) stored: Stored,
    pub(crate) machines: Vec<Machine>,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) marathons: Marathons,
    /// The terminal update of each task that left an agent, by framework and task; and which agent.
    pub(crate) ended: BTreeMap<(String, String), (TaskState, bytes::Bytes, Option<AgentId>)>,
    /// Tasks, by framework, that an agent ended because their framework was removed: a later leader may take it back, but of them it
    /// is not told.
    pub(crate) dismissed: BTreeSet<(String, String)>,
    pub(crate) operated: operations::Told,
    pub(crate) asked: Asked,
    pub(crate) ledger: Ledger,
    /// Frameworks that operators have torn down, or tried to.
    pub(crate) torn_down: BTreeSet<String>,
    /// Agents that a master has removed, or was about to, although they were in reach.
    pub(crate) forgotten: BTreeSet<AgentId>,
    pub(crate) faults: u64,
    steps: u64,
    breach: Option<String>,
}

/// When every run begins.
pub(crate) const BEGIN: Time = Time::from_secs(1_000_000);
/// How long a cluster in peace may take to agree.
const PATIENCE: Duration = Duration::from_secs(3_000);
/// Who is not told that the other end of a stream has gone finds out after so long: what it sends (heartbeats at least) is never confirmed.
const UNCONFIRMED: Duration = Duration::from_secs(900);
/// More happenings than this are a livelock.
const MOST_STEPS: u64 = 3_000_000;

/// A line of the trace.
macro_rules! trace {
    ($world:expr, $($arguments:tt)*) => {
        $world.tracer.line($world.now, format_args!($($arguments)*))
    };
}
pub(crate) use trace;

impl Simulation {
    /// A cluster that has not begun to live.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario, trace: Trace) -> Self {
        let mut world = Self {
            seed,
            random: Random::new(seed),
            now: BEGIN,
            phase: Phase::Trouble,
            tracer: Tracer::new(trace),
            queue: BTreeMap::new(),
            next: 0,
            wires: Vec::new(),
            partitions: Partitions::default(),
            masters: Vec::new(),
            leader: 0,
            stored: Stored::default(),
            machines: Vec::new(),
            schedulers: Vec::new(),
            marathons: Marathons::default(),
            ended: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            operated: BTreeMap::new(),
            asked: Asked::default(),
            ledger: Ledger::default(),
            torn_down: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            faults: 0,
            steps: 0,
            breach: None,
            scenario,
        };
        // Streams are numbered from 1.
        world.wires.push(Wire::new(Host::Store, 0, 0, BEGIN));
        world.wires[0].over = true;
        world.elect();
        for agent in 0..world.scenario.agents {
            let machine = Machine::new(agent, &mut world.random);
            world.machines.push(machine);
            world.after(0, 100, Happening::AgentStarts(agent));
            if world.scenario.lends {
                world.after(100, 10_000, Happening::Lend(agent));
            }
        }
        for framework in 0..world.scenario.frameworks {
            let scheduler = Scheduler::new(framework, &world.scenario, &mut world.random);
            world.schedulers.push(scheduler);
            world.after(0, 200, Happening::FrameworkStarts(framework));
        }
        if world.scenario.marathon {
            world.after(0, 500, Happening::Marathon(marathon::Happening::Elect));
            world.after(500, 2_000, Happening::Marathon(marathon::Happening::Ask));
        }
        world.after(0, 2_000, Happening::Fault);
        world.after(0, 5_000, Happening::Deed);
        world
    }

    /// Trouble, then peace until all agree, then the end of all tasks until nothing is left.
    ///
    /// # Errors
    /// The first breach of an invariant.
    pub fn run(&mut self) -> Result<Summary, Breach> {
        let end = BEGIN + self.scenario.trouble;
        self.live_until(end)?;
        trace!(self, "---- peace");
        self.phase = Phase::Peace;
        self.make_peace();
        if self.scenario.marathon {
            self.live_unmended()?;
            trace!(self, "---- what cannot work is put right");
            self.phase = Phase::Mended;
            self.after(1, 2, Happening::Marathon(marathon::Happening::Mend));
        }
        self.live_until_settled(Self::disagreement)?;
        if self.scenario.marathon {
            trace!(self, "---- more or fewer of each");
            self.users_scale();
            self.live_until_settled(Self::disagreement)?;
        }
        trace!(self, "---- the end of all tasks");
        self.phase = Phase::End;
        if self.scenario.marathon {
            self.after(1, 2, Happening::Marathon(marathon::Happening::Mend));
        }
        self.live_until_settled(Self::leftover)?;
        Ok(Summary {
            steps: self.steps,
            tasks: self.schedulers.iter().map(|known| known.jobs.len()).sum(),
            leaders: self.masters.len(),
            faults: self.faults,
            time: self.now.since(BEGIN),
            digest: self.tracer.digest(),
        })
    }

    /// Nothing goes wrong any more, and what users have asked for may still be impossible: then it is said why.
    fn live_unmended(&mut self) -> Result<(), Breach> {
        for _ in 0..12 {
            self.live_until(self.now + Duration::from_secs(20))?;
            self.look_at_deployments();
        }
        Ok(())
    }

    fn live_until_settled(&mut self, unsettled: fn(&Self) -> Option<String>) -> Result<(), Breach> {
        let end = self.now + PATIENCE;
        loop {
            let next = self.now + Duration::from_secs(20);
            self.live_until(next)?;
            self.look_at_deployments();
            match unsettled(self) {
                None => return Ok(()),
                Some(what) if self.now >= end => return Err(self.as_breach(what)),
                Some(_) => {}
            }
        }
    }

    fn live_until(&mut self, end: Time) -> Result<(), Breach> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.steps += 1;
            self.happen(happening);
            if self.steps > MOST_STEPS {
                self.breach(
                    Invariant::Converges,
                    "too much happens: nothing comes to rest",
                );
            }
            if let Some(what) = self.breach.take() {
                return Err(self.as_breach(what));
            }
        }
        self.now = end;
        Ok(())
    }

    fn as_breach(&mut self, what: String) -> Breach {
        trace!(self, "BREACH {what}");
        Breach {
            seed: self.seed,
            world: if self.scenario.marathon {
                World::Marathon
            } else {
                World::Frameworks
            },
            at: self.now,
            what,
        }
    }

    /// Takes note of the first breach.
    pub(crate) fn breach(&mut self, invariant: Invariant, what: impl fmt::Display) {
        self.breach.get_or_insert(format!("{invariant}: {what}"));
    }

    pub(crate) fn at(&mut self, at: Time, happening: Happening) {
        self.queue.insert((at.max(self.now), self.next), happening);
        self.next += 1;
    }

    /// At a random time from now, in milliseconds.
    pub(crate) fn after(&mut self, from_ms: u64, to_ms: u64, happening: Happening) {
        let at = self.now + self.random.millis(from_ms, to_ms);
        self.at(at, happening);
    }

    pub(crate) fn trouble(&self) -> bool {
        self.phase == Phase::Trouble
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { wire, way } => self.arrive(wire, way),
            Happening::MasterTick(master) => self.master_tick(master),
            Happening::MasterFlush(master) => self.master_flush(master),
            Happening::StoreAnswers(master) => self.store_answers(master),
            Happening::Elect => self.elect(),
            Happening::Depose(master) => self.depose(master),
            Happening::LeaderSeen(host) => self.leader_seen(host),
            Happening::AgentTick { agent, life } => self.agent_tick(agent, life),
            Happening::AgentStarts(agent) => self.agent_starts(agent),
            Happening::Lend(agent) => self.lend(agent),
            Happening::Connect { agent, life } => self.connect(agent, life),
            Happening::Synced {
                agent,
                life,
                sequence,
                written,
            } => self.synced(agent, life, sequence, written),
            Happening::ContainerRuns { agent, container } => self.container_runs(agent, &container),
            Happening::ContainerEnds {
                agent,
                container,
                status,
            } => self.container_ends(agent, &container, status),
            Happening::FrameworkStarts(framework) => self.framework_starts(framework),
            Happening::Subscribe { framework, life } => self.subscribe(framework, life),
            Happening::Decide {
                framework,
                life,
                offer,
            } => self.decide(framework, life, &offer),
            Happening::Acknowledge {
                framework,
                life,
                task,
                agent,
                uuid,
            } => self.acknowledge(framework, life, task, agent, uuid),
            Happening::Whim { framework, life } => self.whim(framework, life),
            Happening::Say {
                framework,
                life,
                call,
            } => {
                if self.schedulers[framework].life == life {
                    self.say(framework, *call);
                }
            }
            Happening::VolumesDone {
                agent,
                life,
                operation,
                fails,
            } => self.volumes_done(agent, life, operation, fails),
            Happening::Probed {
                agent,
                life,
                probe,
                container,
            } => self.probed(agent, life, probe, &container),
            Happening::Marathon(happening) => self.marathon_happens(happening),
            Happening::Deed => self.deed(),
            Happening::Tidy => self.tidy(),
            Happening::Fault => self.fault(),
            Happening::Mend(cuts) => self.mend(&cuts),
        }
    }

    // ---- streams

    pub(crate) fn open(&mut self, client: Host, life: u32, master: usize) -> usize {
        let wire = self.wires.len();
        self.wires.push(Wire::new(client, life, master, self.now));
        self.send(wire, Way::Up, Payload::Open);
        wire
    }

    /// Sends it, unless the stream is over: then it is lost, as its sender will hear.
    pub(crate) fn send(&mut self, wire: usize, way: Way, payload: Payload) {
        if !self.wires[wire].over {
            self.put(wire, way, payload);
        }
    }

    fn put(&mut self, wire: usize, way: Way, payload: Payload) {
        let at = self.now + self.random.millis(0, self.scenario.latency_ms);
        let at = self.wires[wire].push(way, payload, at);
        self.at(at, Happening::Arrival { wire, way });
    }

    /// One end closes the stream after what it has sent. What is on its way to that end still arrives.
    pub(crate) fn close(&mut self, wire: usize, way: Way) {
        if !self.wires[wire].over {
            self.put(wire, way, Payload::Closed);
            self.wires[wire].over = true;
        }
    }

    /// The stream breaks; both ends hear of it, after a random part of what was under way.
    pub(crate) fn break_wire(&mut self, wire: usize) {
        if std::mem::replace(&mut self.wires[wire].over, true) {
            return;
        }
        trace!(self, "wire {wire} breaks");
        for way in [Way::Up, Way::Down] {
            if self.random.percent(50) {
                let kept = self.random.below(self.wires[wire].queued(way) + 1);
                self.wires[wire].cut(way, kept);
            }
            self.put(wire, way, Payload::Closed);
        }
    }

    /// A process dies: its streams break. Now and then nobody is told, and for long only pings (or a successor) show that it is gone.
    pub(crate) fn break_wires_of(&mut self, host: Host) {
        let unseen = self.trouble() && self.random.percent(30);
        for wire in 0..self.wires.len() {
            let (one, other) = self.wires[wire].ends(Way::Up);
            if one == host || other == host {
                if unseen {
                    self.give_up_later(wire);
                } else {
                    self.break_wire(wire);
                }
            }
        }
    }

    fn give_up_later(&mut self, wire: usize) {
        if std::mem::replace(&mut self.wires[wire].over, true) {
            return;
        }
        for way in [Way::Up, Way::Down] {
            let at = self.now + UNCONFIRMED;
            let at = self.wires[wire].push(way, Payload::Closed, at);
            self.at(at, Happening::Arrival { wire, way });
        }
    }

    fn arrive(&mut self, wire: usize, way: Way) {
        if self.partitions.cuts(self.wires[wire].ends(way)) {
            return self.wires[wire].hold(way);
        }
        // The rest of what was cut off when the stream broke.
        let Some(payload) = self.wires[wire].pop(way) else {
            return;
        };
        let (client, life, master) = {
            let wire = &self.wires[wire];
            (wire.client, wire.life, wire.master)
        };
        match way {
            Way::Up => self.arrive_at_master(wire, master, client, payload),
            Way::Down => match client {
                Host::Agent(agent) => self.arrive_at_agent(wire, agent, life, payload),
                Host::Framework(framework) => {
                    self.arrive_at_framework(wire, framework, life, payload)
                }
                Host::Marathon(process) => self.arrive_at_marathon(wire, process, payload),
                Host::Master(_) | Host::Store => {}
            },
        }
    }

    fn arrive_at_master(&mut self, wire: usize, master: usize, client: Host, payload: Payload) {
        if !self.masters[master].alive {
            return self.break_wire(wire);
        }
        let key = wire as u64;
        let input = match (payload, client) {
            (Payload::Open, Host::Agent(agent)) => MasterInput::LinkOpened {
                link: LinkKey(key),
                peer: format!("10.0.0.{agent}:1").into(),
            },
            (Payload::FromAgent(message), _) => {
                trace!(self, "agent -> master {master} on {wire}: {message:?}");
                MasterInput::AgentMessages {
                    link: LinkKey(key),
                    messages: vec![*message],
                }
            }
            (Payload::Call(call), _) => return self.take_call(wire, master, call),
            (Payload::Closed, Host::Agent(_)) => MasterInput::LinkClosed { link: LinkKey(key) },
            (Payload::Closed, _) => MasterInput::StreamClosed {
                stream: StreamKey(key),
            },
            (Payload::Open | Payload::ToAgent { .. } | Payload::Event(_), _) => return,
        };
        self.master_step(master, input);
    }

    /// What a partition held back arrives, or the stream has broken meanwhile.
    pub(crate) fn resume_held(&mut self) {
        for wire in 0..self.wires.len() {
            for way in [Way::Up, Way::Down] {
                if self.partitions.cuts(self.wires[wire].ends(way)) {
                    continue;
                }
                let held = self.wires[wire].release(way);
                if held > 0 && self.random.percent(40) {
                    self.break_wire(wire);
                }
                for _ in 0..held {
                    self.at(self.now, Happening::Arrival { wire, way });
                }
            }
        }
    }
}
