//! The struct that owns everything a master knows, its one entrance, and the small tools that all flows share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_model::{AgentId, FrameworkId, MasterId, Role, Time};
use tepui_proto::mesos::scheduler::{Event, event};
use tepui_proto::tepui::v1::{MasterMessage, master_message};

use crate::allocation::Allocation;
use crate::allocator::Quota;
use crate::calls::overdue::OfferLooks;
use crate::change::{Change, OfferKey};
use crate::config::Config;
use crate::counters::{Counters, FrameworkCounters};
use crate::facts::Alike;
use crate::input::{Input, LinkKey, ReplyToken, StreamKey};
use crate::links::{Link, Removals};
use crate::maintenance::MaintenanceBook;
use crate::output::{LogLevel, Output, Reply};
use crate::policy::{Policy, Turn};
use crate::registry::{AdmittedAgent, Registry, RegistryOperation, UnreachableAgent};
use crate::state::{
    Agent, AgentIx, Framework, FrameworkIx, HashMap, IndexMap, IndexSet, Offer, Operations,
    Remembered, Slab, Task, Timers, Transition,
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
    /// `--agent_removal_rate_limit` lets the next agent go.
    Removal,
    /// That an agent has drained has to be stored again.
    Drained,
    /// A filter or a time-out of inverse offers ends.
    InverseOffers,
    /// Old entries of the registry are looked for.
    RegistryGc,
    /// Allocation begins, however many agents are back.
    AgentsAwaited,
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
    pub(crate) unreachable: Remembered<UnreachableAgent>,
    pub(crate) gone: Remembered<Time>,
    pub(crate) links: HashMap<LinkKey, Link>,
    /// Links whose registration waits for another change of the same agent to be stored, oldest first.
    pub(crate) parked: Vec<LinkKey>,
    pub(crate) transitions: HashMap<AgentId, Transition>,
    pub(crate) stores: VecDeque<(u64, Waiting)>,
    pub(crate) next_store: u64,
    pub(crate) tasks: Slab<Task>,
    pub(crate) next_task: u64,
    pub(crate) alike: Alike,
    pub(crate) offers: BTreeMap<OfferKey, Offer>,
    pub(crate) next_offer: u64,
    pub(crate) operations: Operations,
    pub(crate) offer_looks: OfferLooks,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) timers: Timers<Timer>,
    pub(crate) allocation: Allocation,
    pub(crate) counters: Counters,
    /// Calls of frameworks that have gone, by principal, while it has others.
    pub(crate) past_calls: BTreeMap<String, u64>,
    pub(crate) dirty_agents: Vec<AgentIx>,
    pub(crate) dirty_frameworks: BTreeSet<FrameworkIx>,
    /// What operators decided about roles.
    pub(crate) policy: Policy,
    /// One decision at a time.
    pub(crate) turn: Turn,
    pub(crate) maintenance: MaintenanceBook,
    pub(crate) removals: Removals,
    /// Agents that may have drained.
    pub(crate) drain_candidates: BTreeSet<AgentId>,
    /// Who was last seen at `host:port`.
    pub(crate) addresses: HashMap<Box<str>, AgentIx>,
    /// How many agents were in the registry.
    pub(crate) recovered_at_start: usize,
    awaited: Option<Awaited>,
    started: bool,
}

/// A new leader that has to keep quota makes no offers before so many agents are registered, or this time.
struct Awaited {
    agents: usize,
    until: Time,
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
        let alike = Alike::new(hash.clone());
        let allocation = Allocation::new(&config, &hash);
        let removals = Removals::new(config.agent_removal_rate_limit, &hash);
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
            unreachable: Remembered::new(hash.clone()),
            gone: Remembered::new(hash.clone()),
            links: HashMap::with_hasher(hash.clone()),
            parked: Vec::new(),
            addresses: HashMap::with_hasher(hash.clone()),
            transitions: HashMap::with_hasher(hash),
            stores: VecDeque::new(),
            next_store: 0,
            tasks: Slab::default(),
            next_task: 0,
            alike,
            offers: BTreeMap::new(),
            next_offer: 0,
            operations: Operations::new(config.seed, config.epoch),
            offer_looks: OfferLooks::default(),
            next_framework: 0,
            next_agent: 0,
            timers: Timers::default(),
            allocation,
            counters: Counters::default(),
            past_calls: BTreeMap::new(),
            dirty_agents: Vec::new(),
            dirty_frameworks: BTreeSet::new(),
            policy: Policy::default(),
            turn: Turn::default(),
            maintenance: MaintenanceBook::new(registry.maintenance),
            removals,
            drain_candidates: BTreeSet::new(),
            recovered_at_start: 0,
            awaited: None,
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
        // Oldest first, as they are forgotten.
        // Being gone is for ever, whatever else an older version may have left in the store.
        for (id, _) in &registry.gone {
            master.recovered.swap_remove(id);
        }
        let gone: BTreeSet<&AgentId> = registry.gone.iter().map(|(id, _)| id).collect();
        let mut unreachable = registry.unreachable;
        unreachable.retain(|agent| !gone.contains(&agent.id));
        unreachable.sort_by_key(|agent| agent.since);
        for agent in unreachable {
            master.unreachable.insert(agent.id.clone(), agent);
        }
        let mut gone = registry.gone;
        gone.sort_by_key(|(_, since)| *since);
        for (id, since) in gone {
            master.gone.insert(id, since);
        }
        master.adopt_policy(registry.weights, registry.quotas);
        master.recovered_at_start = master.recovered.len();
        master.await_agents();
        let collected = now + master.config.registry_gc_interval;
        master.timers.set(Timer::RegistryGc, collected);
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
            if !self.policy.weights.is_empty() {
                self.show_weights(out);
            }
            if !self.policy.quotas.is_empty() {
                self.show_quotas(out);
            }
            self.show_maintenance(out);
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

    /// How many calls the frameworks of each principal have made, for principals that have one.
    #[must_use]
    pub fn calls_by_principal(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for (_, framework) in self.frameworks.iter() {
            if let Some(principal) = &framework.info.principal {
                *calls.entry(principal.clone()).or_default() += framework.counters.all_calls();
            }
        }
        for (principal, count) in &mut calls {
            *count += self.past_calls.get(principal).copied().unwrap_or(0);
        }
        calls
    }

    /// A framework has gone: its calls still count for as long as its principal has others.
    pub(crate) fn keep_calls(&mut self, framework: &Framework) {
        let Some(principal) = &framework.info.principal else {
            return;
        };
        let mut others = self
            .frameworks
            .iter()
            .map(|(_, other)| &other.info.principal);
        if others.any(|other| other.as_ref() == Some(principal)) {
            *self.past_calls.entry(principal.clone()).or_default() +=
                framework.counters.all_calls();
        } else {
            self.past_calls.remove(principal);
        }
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
                Timer::Removal => self.removal_due(out),
                Timer::Drained => self.drained_again(),
                Timer::InverseOffers => self.inverse_offers_due(),
                Timer::RegistryGc => self.collect_garbage(out),
                // The flush that follows does it.
                Timer::AgentsAwaited => {}
            }
        }
    }

    /// What operators set overrides the weights of the start.
    fn adopt_policy(&mut self, weights: Vec<(Role, f64)>, quotas: Vec<(Role, Quota)>) {
        let start = std::mem::take(&mut self.config.weights);
        let start = start
            .iter()
            .filter_map(|(role, weight)| Some((Role::new(role).ok()?, *weight)));
        self.policy.weights = start.chain(weights).collect();
        for (role, weight) in self.policy.weights.clone() {
            self.allocation_set_weight(&role, weight);
        }
        self.policy.quotas = quotas.into_iter().collect();
        for (role, quota) in self.policy.quotas.clone() {
            self.allocation_set_quota(&role, &quota);
        }
    }

    /// With quota to keep, offers made of the first few agents could give away what is guaranteed.
    fn await_agents(&mut self) {
        if self.policy.quotas.is_empty() || self.recovered.is_empty() {
            return;
        }
        let part = self.config.allocator_agent_recovery_factor.clamp(0.0, 1.0);
        // A count far below 2^52.
        let agents = (self.recovered.len() as f64 * part).ceil() as usize;
        let until = self.now + self.config.allocator_recovery_timeout;
        self.timers.set(Timer::AgentsAwaited, until);
        self.awaited = Some(Awaited { agents, until });
    }

    /// Whether no offers are made because this leader still waits for agents.
    pub(crate) fn waits_for_agents(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(awaited) = &self.awaited else {
            return false;
        };
        let back = self.agents.len();
        if back < awaited.agents && self.now < awaited.until {
            return true;
        }
        let line = format!("{back} agents are registered: offers are made from now on");
        log(LogLevel::Info, line, out);
        self.awaited = None;
        self.timers.cancel(Timer::AgentsAwaited);
        false
    }

    /// End of a batch: make offers, then publish what changed.
    fn flush(&mut self, out: &mut Vec<Output>) {
        self.allocate(out);
        self.look_for_drained(out);
        self.ask_to_leave(out);
        self.show_maintenance(out);
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
        self.store_all(vec![operation], waiting, out);
    }

    /// One write, all or nothing.
    pub(crate) fn store_all(
        &mut self,
        operations: Vec<RegistryOperation>,
        waiting: Waiting,
        out: &mut Vec<Output>,
    ) {
        let sequence = self.next_store;
        self.next_store += 1;
        self.stores.push_back((sequence, waiting));
        out.push(Output::Store {
            sequence,
            operations,
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
