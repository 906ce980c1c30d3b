//! The struct that owns everything a master knows, its one entrance, and the small tools that all flows share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_model::{AgentId, FrameworkId, MasterId, Time};
use tepui_proto::mesos::scheduler::{Event, event};
use tepui_proto::tepui::v1::{MasterMessage, master_message};

use crate::allocation::Allocation;
use crate::calls::overdue::OfferLooks;
use crate::change::{Change, OfferKey};
use crate::config::Config;
use crate::counters::{Counters, FrameworkCounters};
use crate::input::{Input, LinkKey, ReplyToken, StreamKey};
use crate::links::Link;
use crate::output::{LogLevel, Output, Reply};
use crate::registry::{AdmittedAgent, Registry, RegistryOperation};
use crate::state::{
    Agent, AgentIx, Framework, FrameworkIx, HashMap, IndexMap, IndexSet, Offer, Operations, Slab,
    Task, Timers, Transition,
};
use crate::stores::Waiting;

/// A deadline of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Something to offer has gathered, or a filter has run out.
    Allocate,
    /// HEARTBEAT to a framework.
    Heartbeat(FrameworkIx),
    /// A disconnected framework's time is up.
    Failover(FrameworkIx),
    /// Ping an agent, or count a missing pong.
    Ping(AgentIx),
    /// A disconnected agent's time is up.
    AgentTimeout(AgentIx),
    /// Agents of the registry had their time to return to this leader.
    Recovery,
    /// The oldest offer reaches `--offer_timeout`.
    OfferTimeout,
}

/// The master core. See the crate's comment.
pub struct Master {
    pub(crate) config: Config,
    pub(crate) id: MasterId,
    pub(crate) now: Time,
    pub(crate) fenced: bool,
    /// Another master may lead: nothing new is started.
    pub(crate) suspended: bool,
    pub(crate) frameworks: Slab<Framework>,
    pub(crate) framework_ids: HashMap<FrameworkId, FrameworkIx>,
    /// Their ids may not return while they are remembered; oldest first.
    pub(crate) completed_frameworks: IndexSet<FrameworkId>,
    pub(crate) streams: HashMap<StreamKey, FrameworkIx>,
    pub(crate) agents: Slab<Agent>,
    pub(crate) agent_ids: HashMap<AgentId, AgentIx>,
    pub(crate) recovered: IndexMap<AgentId, AdmittedAgent>,
    pub(crate) unreachable: IndexMap<AgentId, Time>,
    pub(crate) gone: IndexMap<AgentId, Time>,
    pub(crate) links: HashMap<LinkKey, Link>,
    /// Links whose registration waits for another change of the same agent to be stored, oldest first.
    pub(crate) parked: Vec<LinkKey>,
    pub(crate) transitions: HashMap<AgentId, Transition>,
    pub(crate) stores: VecDeque<(u64, Waiting)>,
    pub(crate) next_store: u64,
    pub(crate) tasks: Slab<Task>,
    pub(crate) next_task: u64,
    pub(crate) offers: BTreeMap<OfferKey, Offer>,
    pub(crate) next_offer: u64,
    pub(crate) operations: Operations,
    pub(crate) offer_looks: OfferLooks,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) timers: Timers<Timer>,
    pub(crate) allocation: Allocation,
    pub(crate) counters: Counters,
    pub(crate) dirty_agents: Vec<AgentIx>,
    pub(crate) dirty_frameworks: BTreeSet<FrameworkIx>,
    started: bool,
}

impl Master {
    /// A master that has just been elected, with the registry as it found it. What it knows already is told as `Change`s by the
    /// first step.
    ///
    /// # Panics
    /// If `config.master.id` is not an id.
    #[must_use]
    pub fn new(config: Config, registry: Registry, now: Time) -> Self {
        let hash = ahash::RandomState::with_seeds(
            config.seed,
            config.epoch,
            0x7465_7075_695f_6d61,
            0x7374_6572_5f6b_6579,
        );
        let id = MasterId::new(&config.master.id).expect("a master's id is made by its shell");
        let allocation = Allocation::new(&config, &hash);
        let mut master = Self {
            id,
            now,
            fenced: false,
            suspended: false,
            frameworks: Slab::default(),
            framework_ids: HashMap::with_hasher(hash.clone()),
            completed_frameworks: IndexSet::with_hasher(hash.clone()),
            streams: HashMap::with_hasher(hash.clone()),
            agents: Slab::default(),
            agent_ids: HashMap::with_hasher(hash.clone()),
            recovered: IndexMap::with_hasher(hash.clone()),
            unreachable: IndexMap::with_hasher(hash.clone()),
            gone: IndexMap::with_hasher(hash.clone()),
            links: HashMap::with_hasher(hash.clone()),
            parked: Vec::new(),
            transitions: HashMap::with_hasher(hash),
            stores: VecDeque::new(),
            next_store: 0,
            tasks: Slab::default(),
            next_task: 0,
            offers: BTreeMap::new(),
            next_offer: 0,
            operations: Operations::new(config.seed, config.epoch),
            offer_looks: OfferLooks::default(),
            next_framework: 0,
            next_agent: 0,
            timers: Timers::default(),
            allocation,
            counters: Counters::default(),
            dirty_agents: Vec::new(),
            dirty_frameworks: BTreeSet::new(),
            started: false,
            config,
        };
        for agent in registry.agents {
            if let Some(id) = agent
                .info
                .id
                .as_ref()
                .and_then(|id| AgentId::new(&id.value).ok())
            {
                master.recovered.insert(id, agent);
            }
        }
        master.unreachable.extend(registry.unreachable);
        master.gone.extend(registry.gone);
        if !master.recovered.is_empty() {
            master.timers.set(
                Timer::Recovery,
                now + master.config.agent_reregister_timeout,
            );
        }
        master
    }

    /// The one entrance. `now` never goes back; a smaller one counts as the last.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        if self.fenced {
            return refuse_all(&input, out);
        }
        if !self.started {
            self.started = true;
            for agent in self.recovered.values() {
                out.push(Output::Change(Change::AgentRecovered(Arc::new(
                    agent.info.clone(),
                ))));
            }
        }
        match input {
            Input::Subscribe {
                stream,
                http_stream_id,
                call,
                principal,
                reply,
            } => {
                self.subscribe(
                    stream,
                    http_stream_id,
                    *call,
                    principal.as_deref(),
                    reply,
                    out,
                );
            }
            Input::Call {
                origin,
                call,
                principal,
                reply,
            } => self.call(&origin, *call, principal.as_deref(), reply, out),
            Input::StreamClosed { stream } => self.stream_closed(stream, out),
            Input::LinkOpened { link, peer } => self.link_opened(link, peer),
            Input::AgentMessages { link, messages } => self.agent_messages(link, messages, out),
            Input::LinkClosed { link } => self.link_closed(link, out),
            Input::Stored { sequence, result } => self.stored(sequence, result, out),
            Input::Operator { call, reply } => self.operator(call, reply, out),
            Input::Whitelist(hostnames) => self.allocation_whitelist(hostnames),
            Input::Tick => self.tick(out),
            Input::Suspended(suspended) => self.suspended = suspended,
            Input::Flush => self.flush(out),
        }
    }

    /// When the core wants `Input::Tick`, and `Input::Flush` after it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.fenced {
            None
        } else {
            self.timers.next()
        }
    }

    /// Numbers for the metrics.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers of each framework that is not completed.
    pub fn framework_counters(&self) -> impl Iterator<Item = (&FrameworkId, &FrameworkCounters)> {
        self.frameworks
            .iter()
            .map(|(_, framework)| (&framework.id, &framework.counters))
    }

    fn tick(&mut self, out: &mut Vec<Output>) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                // The flush that follows does it.
                Timer::Allocate => {}
                Timer::Heartbeat(framework) => self.heartbeat(framework, out),
                Timer::Failover(framework) => {
                    self.remove_framework(framework, "its failover time-out passed", out)
                }
                Timer::Ping(agent) => self.ping(agent, out),
                Timer::AgentTimeout(agent) => self.agent_timed_out(agent, out),
                Timer::Recovery => self.recovery_timed_out(out),
                Timer::OfferTimeout => self.offers_timed_out(out),
            }
        }
    }

    /// End of a batch: make offers, then publish what changed.
    fn flush(&mut self, out: &mut Vec<Output>) {
        self.allocate(out);
        for agent in std::mem::take(&mut self.dirty_agents) {
            // Removed agents took their mark with them; a new one in the same place has its own.
            let agent = &mut self.agents[agent];
            agent.dirty = false;
            out.push(Output::Change(Change::AgentUpdated(agent.snapshot())));
        }
        for framework in std::mem::take(&mut self.dirty_frameworks) {
            let framework = self.frameworks[framework].snapshot(None);
            out.push(Output::Change(Change::FrameworkUpdated {
                framework,
                resubscribed: false,
            }));
        }
        self.gauges();
    }

    /// Gauges that are cheaper to take from the tables than to keep.
    fn gauges(&mut self) {
        self.counters.slaves_inactive = self.agents.len() as u64 - self.counters.slaves_active;
        self.counters.outstanding_offers = self.offers.len() as u64;
        self.counters.slaves_unreachable = self.unreachable.len() as u64;
        self.counters.slaves_recovered = self.recovered.len() as u64;
        self.counters.registrar_queued_operations = self.stores.len() as u64;
        self.count_unreachable_operations();
        let frameworks = self.frameworks.len() as u64;
        self.counters.frameworks_connected = self.streams.len() as u64;
        self.counters.frameworks_disconnected = frameworks - self.streams.len() as u64;
        self.counters.frameworks_active = self.streams.len() as u64;
        self.counters.frameworks_inactive = frameworks - self.streams.len() as u64;
    }

    pub(crate) fn touch_agent(&mut self, agent: AgentIx) {
        if !std::mem::replace(&mut self.agents[agent].dirty, true) {
            self.dirty_agents.push(agent);
        }
    }

    pub(crate) fn touch_framework(&mut self, framework: FrameworkIx) {
        self.dirty_frameworks.insert(framework);
    }

    /// Send an event, if anybody is there to hear it.
    pub(crate) fn event(&mut self, framework: FrameworkIx, event: Event, out: &mut Vec<Output>) {
        let framework = &mut self.frameworks[framework];
        let Some(stream) = framework.stream() else {
            return;
        };
        if let Some(count) = framework.counters.events.get_mut(event.r#type().number()) {
            *count += 1;
        }
        out.push(Output::Event {
            stream,
            event: Box::new(event),
        });
    }

    pub(crate) fn to_agent(
        &self,
        agent: AgentIx,
        message: master_message::Message,
        out: &mut Vec<Output>,
    ) {
        if let Some(link) = self.agents[agent].link {
            out.push(to_link(link, message));
        }
    }

    pub(crate) fn store(
        &mut self,
        operation: RegistryOperation,
        waiting: Waiting,
        out: &mut Vec<Output>,
    ) {
        let sequence = self.next_store;
        self.next_store += 1;
        self.stores.push_back((sequence, waiting));
        out.push(Output::Store {
            sequence,
            operations: vec![operation],
        });
    }
}

/// The number of an event's type, for counting.
trait Number {
    fn number(self) -> usize;
}

impl Number for event::Type {
    fn number(self) -> usize {
        usize::try_from(self as i32).unwrap_or(usize::MAX)
    }
}

/// I6: a master that was fenced off answers, and does nothing else.
fn refuse_all(input: &Input, out: &mut Vec<Output>) {
    if let Input::Subscribe { reply: token, .. }
    | Input::Call { reply: token, .. }
    | Input::Operator { reply: token, .. } = input
    {
        let message = "This master leads no more".to_owned();
        let status = 503;
        reply(*token, Reply::Refused { status, message }, out);
    }
}

pub(crate) fn to_link(link: LinkKey, message: master_message::Message) -> Output {
    Output::ToAgent {
        link,
        message: Box::new(MasterMessage {
            message: Some(message),
        }),
    }
}

pub(crate) fn reply(token: Option<ReplyToken>, reply: Reply, out: &mut Vec<Output>) {
    if let Some(token) = token {
        out.push(Output::Reply { token, reply });
    }
}

pub(crate) fn log(level: LogLevel, line: String, out: &mut Vec<Output>) {
    out.push(Output::Log { level, line });
}
