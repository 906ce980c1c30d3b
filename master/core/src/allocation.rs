//! Between the tables and the allocator: tells it what it has to know, and makes what it hands out into offers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_model::resources::Name;
use tepui_model::{OfferId, Resources, Role};
use tepui_proto::convert::resources::{self, Encoding};
use tepui_proto::mesos;

use crate::allocator::{
    AgentHandle, AgentOptions, Allocation as Grant, Allocator, AllocatorConfig,
    FrameworkCapabilities, FrameworkHandle, FrameworkOptions, HierarchicalDrf, Holding, Quota,
    Recovery, RoleSubscription,
};
use crate::change::{Change, OfferKey, OfferSnapshot};
use crate::config::Config;
use crate::events;
use crate::master::{Master, Timer};
use crate::output::Output;
use crate::state::{Agent, AgentIx, Framework, FrameworkIx, HashMap, IndexMap, Offer};
use crate::validate::constraints::agent_attributes;

/// The allocator, and the way back from its names for things.
pub(crate) struct Allocation {
    allocator: Box<dyn Allocator + Send>,
    agents: HashMap<AgentHandle, AgentIx>,
    frameworks: HashMap<FrameworkHandle, FrameworkIx>,
    /// Kept for its capacity.
    grants: Vec<Grant>,
}

impl Allocation {
    pub(crate) fn new(config: &Config, hash: &ahash::RandomState) -> Self {
        let allocator = HierarchicalDrf::new(AllocatorConfig {
            allocation_interval: config.allocation_interval,
            filter_gpu_resources: config.filter_gpu_resources,
            min_allocatable: config.min_allocatable.clone(),
            unshared_names: config
                .unshared_names
                .iter()
                .map(|name| Name::from(name.as_str()))
                .collect(),
            coalesce: config.crumb_delay,
            seed: config.seed,
            ..AllocatorConfig::default()
        });
        Self {
            allocator: Box::new(allocator),
            agents: HashMap::with_hasher(hash.clone()),
            frameworks: HashMap::with_hasher(hash.clone()),
            grants: Vec::new(),
        }
    }

    /// What is free on an agent, as the allocator sees it.
    pub(crate) fn free(&self, agent: &Agent) -> Option<&Resources> {
        self.allocator.free(agent.handle)
    }
}

fn framework_options(framework: &Framework) -> FrameworkOptions {
    let known = framework.capabilities;
    let roles = framework.roles.iter().map(|role| RoleSubscription {
        role: role.clone(),
        suppressed: framework.suppressed.contains(role),
        min_allocatable: framework.min_allocatable.get(role).cloned(),
        constraints: framework
            .constraints
            .as_ref()
            .and_then(|constraints| constraints.of(role).cloned()),
    });
    FrameworkOptions {
        roles: roles.collect(),
        capabilities: FrameworkCapabilities {
            gpu_resources: known.gpu_resources,
            shared_resources: known.shared_resources,
            revocable_resources: known.revocable_resources,
            reservation_refinement: known.reservation_refinement,
            region_aware: known.region_aware,
            multi_role: known.multi_role,
        },
    }
}

/// What an agent tells the allocator.
pub(crate) fn agent_options(
    total: &Resources,
    info: &mesos::AgentInfo,
    multi_role: bool,
    master: &mesos::MasterInfo,
) -> AgentOptions {
    let region = |domain: &Option<mesos::DomainInfo>| {
        domain
            .as_ref()
            .and_then(|domain| domain.fault_domain.as_ref())
            .map(|fault| fault.region.name.clone())
    };
    // Whoever does not say where it is counts as near.
    let regions = region(&master.domain).zip(region(&info.domain));
    AgentOptions {
        total: total.clone(),
        remote_region: regions.is_some_and(|(home, own)| home != own),
        multi_role,
        attributes: agent_attributes(info),
    }
}

impl Master {
    pub(crate) fn allocation_framework_added(&mut self, id: FrameworkIx) {
        let framework = &mut self.frameworks[id];
        let handle = self
            .allocation
            .allocator
            .add_framework(&framework.id, &framework_options(framework));
        if framework.stream().is_none() {
            self.allocation.allocator.deactivate_framework(handle);
        }
        framework.handle = handle;
        self.allocation.frameworks.insert(handle, id);
    }

    /// It has a stream (again).
    pub(crate) fn allocation_connected(&mut self, framework: FrameworkIx) {
        self.allocation
            .allocator
            .activate_framework(self.frameworks[framework].handle);
        self.ask_framework_to_leave(framework);
    }

    pub(crate) fn allocation_disconnected(&mut self, framework: FrameworkIx) {
        self.allocation
            .allocator
            .deactivate_framework(self.frameworks[framework].handle);
    }

    /// Roles, suppression or capabilities changed.
    pub(crate) fn allocation_wishes(&mut self, framework: FrameworkIx) {
        let framework = &self.frameworks[framework];
        self.allocation
            .allocator
            .update_framework(framework.handle, &framework_options(framework));
    }

    pub(crate) fn allocation_framework_removed(&mut self, framework: FrameworkIx) {
        let handle = self.frameworks[framework].handle;
        self.allocation.allocator.remove_framework(handle);
        self.allocation.frameworks.remove(&handle);
    }

    pub(crate) fn allocation_suppress(&mut self, framework: FrameworkIx, roles: &[Role]) {
        self.allocation
            .allocator
            .suppress(self.frameworks[framework].handle, roles);
    }

    pub(crate) fn allocation_revive(&mut self, framework: FrameworkIx, roles: &[Role]) {
        self.allocation
            .allocator
            .revive(self.frameworks[framework].handle, roles);
    }

    /// A new agent, nothing used on it yet. Returns what the allocator calls it.
    pub(crate) fn allocation_agent_added(&mut self, options: &AgentOptions) -> AgentHandle {
        self.allocation.allocator.add_agent(options, &[])
    }

    pub(crate) fn allocation_agent_known(&mut self, handle: AgentHandle, agent: AgentIx) {
        self.allocation.agents.insert(handle, agent);
    }

    pub(crate) fn allocation_agent_changed(&mut self, agent: AgentIx, options: &AgentOptions) {
        self.allocation
            .allocator
            .update_agent(self.agents[agent].handle, options);
    }

    pub(crate) fn allocation_forget_refusals(&mut self, agent: AgentIx) {
        self.allocation
            .allocator
            .forget_refusals(self.agents[agent].handle);
    }

    pub(crate) fn allocation_agent_removed(&mut self, agent: AgentIx) {
        let handle = self.agents[agent].handle;
        self.allocation.allocator.remove_agent(handle);
        self.allocation.agents.remove(&handle);
    }

    /// Connected and not deactivated, or not.
    pub(crate) fn allocation_agent_active(&mut self, agent: AgentIx) {
        let agent = &mut self.agents[agent];
        let active = agent.active();
        if active {
            self.allocation.allocator.activate_agent(agent.handle);
        } else {
            self.allocation.allocator.deactivate_agent(agent.handle);
        }
        let before = std::mem::replace(&mut agent.counted_active, active);
        self.counters.slaves_active += u64::from(active);
        self.counters.slaves_active -= u64::from(before);
    }

    /// Only agents with these host names are offered from now on; `None`: all.
    pub(crate) fn allocation_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.allocation.allocator.set_whitelist(hostnames);
    }

    /// Whether anybody but who has it would be offered what is in an offer.
    pub(crate) fn is_wanted_by_others(&self, key: OfferKey) -> bool {
        let offer = &self.offers[&key];
        self.allocation.allocator.is_wanted_by_others(
            self.now,
            self.agents[offer.agent].handle,
            self.frameworks[offer.framework].handle,
            &offer.resources,
        )
    }

    /// Whether a framework would be offered what is in somebody else's offer, if that is still out.
    pub(crate) fn is_wanted_by(&self, key: OfferKey, framework: FrameworkIx) -> bool {
        self.offers.get(&key).is_some_and(|offer| {
            offer.framework != framework
                && self.allocation.allocator.is_wanted_by(
                    self.now,
                    self.agents[offer.agent].handle,
                    self.frameworks[framework].handle,
                    &offer.resources,
                )
        })
    }

    pub(crate) fn allocation_set_weight(&mut self, role: &Role, weight: f64) {
        self.allocation.allocator.set_weight(role, weight);
    }

    pub(crate) fn allocation_set_quota(&mut self, role: &Role, quota: &Quota) {
        self.allocation.allocator.set_quota(role, quota);
    }

    /// Something runs that was not offered by this master: found in a registration.
    pub(crate) fn hold(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        role: &Role,
        resources: &Resources,
    ) {
        let holding = Holding {
            framework: self.frameworks[framework].handle,
            role: role.clone(),
            resources: resources.clone(),
        };
        let agent_ = &mut self.agents[agent];
        agent_.allocated += resources;
        self.allocation.allocator.hold(agent_.handle, &holding);
        self.touch_agent(agent);
    }

    /// An operation turned what a framework holds on an agent into something else.
    pub(crate) fn allocation_converted(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        role: &Role,
        before: &Resources,
        after: &Resources,
    ) {
        let converted = self.allocation.allocator.convert(
            self.agents[agent].handle,
            self.frameworks[framework].handle,
            role,
            before,
            after,
        );
        assert!(
            converted,
            "I1: the allocator has handed out what an operation works on"
        );
    }

    /// What a task or an executor used is free.
    pub(crate) fn free(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        role: &Role,
        resources: &Resources,
    ) {
        if resources.is_empty() {
            return;
        }
        let freed = self.agents[agent].allocated.try_subtract(resources);
        assert!(
            freed.is_ok(),
            "I1: more is freed on an agent than was allocated there"
        );
        self.recover(agent, framework, role, resources, Recovery::Freed);
    }

    /// Give resources back to the allocator.
    pub(crate) fn recover(
        &mut self,
        agent: AgentIx,
        framework: FrameworkIx,
        role: &Role,
        resources: &Resources,
        why: Recovery,
    ) {
        let (agent_handle, framework_handle) =
            (self.agents[agent].handle, self.frameworks[framework].handle);
        self.allocation.allocator.recover(
            self.now,
            agent_handle,
            framework_handle,
            role,
            resources,
            why,
        );
        self.touch_agent(agent);
    }

    /// How many refusals of offers are in force, by role.
    #[must_use]
    pub fn offer_filters(&self) -> BTreeMap<Role, u64> {
        self.allocation.allocator.offer_filters()
    }

    /// Offer what can be offered.
    pub(crate) fn allocate(&mut self, out: &mut Vec<Output>) {
        if self.suspended || self.waits_for_agents(out) {
            // The flush after the end of the suspension looks again.
            self.timers.cancel(Timer::Allocate);
            return;
        }
        let allocator = &mut self.allocation.allocator;
        if allocator.has_work() || allocator.next_deadline().is_some_and(|at| at <= self.now) {
            self.counters.allocation_runs += 1;
            let mut grants = std::mem::take(&mut self.allocation.grants);
            self.allocation.allocator.allocate(self.now, &mut grants);
            self.make_offers(&mut grants, out);
            self.allocation.grants = grants;
        }
        let allocator = &self.allocation.allocator;
        let next = if allocator.has_work() {
            Some(self.now)
        } else {
            allocator.next_deadline()
        };
        match next {
            Some(at) => self.timers.set(Timer::Allocate, at),
            None => self.timers.cancel(Timer::Allocate),
        }
    }

    fn make_offers(&mut self, grants: &mut Vec<Grant>, out: &mut Vec<Output>) {
        let mut events: IndexMap<FrameworkIx, Vec<mesos::Offer>> =
            IndexMap::with_hasher(self.framework_ids.hasher().clone());
        for grant in grants.drain(..) {
            let framework = self.allocation.frameworks[&grant.framework];
            let agent = self.allocation.agents[&grant.agent];
            let key = OfferKey(self.next_offer);
            self.next_offer += 1;
            events
                .entry(framework)
                .or_default()
                .push(self.offer_message(key, framework, agent, &grant.role, &grant.resources));
            self.add_offer(
                key,
                Offer {
                    framework,
                    agent,
                    role: grant.role,
                    resources: grant.resources,
                    made_at: self.now,
                },
                out,
            );
        }
        for (framework, mut offers) in events {
            self.frameworks[framework].counters.offers.sent += offers.len() as u64;
            self.counters.offers.sent += offers.len() as u64;
            while offers.len() > MAX_OFFERS_PER_EVENT {
                let rest = offers.split_off(MAX_OFFERS_PER_EVENT);
                self.event(
                    framework,
                    events::offers(std::mem::replace(&mut offers, rest)),
                    out,
                );
            }
            self.event(framework, events::offers(offers), out);
        }
    }

    fn add_offer(&mut self, key: OfferKey, offer: Offer, out: &mut Vec<Output>) {
        let agent = &mut self.agents[offer.agent];
        agent.offered += &offer.resources;
        agent.offers.insert(key);
        let framework = &mut self.frameworks[offer.framework];
        framework.offers.insert(key);
        assert!(
            framework.stream().is_some() && agent.active(),
            "offers are made to those who are there, of what is there"
        );
        let snapshot = OfferSnapshot {
            key,
            framework: framework.id.clone(),
            agent: agent.id.clone(),
            role: offer.role.clone(),
            resources: Arc::new(offer.resources.clone()),
            made_at: self.now,
        };
        out.push(Output::Change(Change::OfferAdded(Arc::new(snapshot))));
        if let Some(timeout) = self.config.offer_timeout {
            self.timers
                .set_earlier(Timer::OfferTimeout, self.now + timeout);
        }
        self.touch_agent(offer.agent);
        self.offers.insert(key, offer);
    }

    fn offer_message(
        &self,
        key: OfferKey,
        framework: FrameworkIx,
        agent: AgentIx,
        role: &Role,
        resources: &Resources,
    ) -> mesos::Offer {
        let to = &self.frameworks[framework];
        let agent = &self.agents[agent];
        let encoding = if to.capabilities.reservation_refinement {
            Encoding::Stack
        } else {
            Encoding::Role
        };
        let mut resources = resources::to_wire(resources, encoding);
        if !to.capabilities.multi_role {
            for resource in &mut resources {
                resource.allocation_info = None;
            }
        }
        let executors = agent
            .executors
            .keys()
            .filter(|(owner, _)| *owner == framework);
        mesos::Offer {
            id: mesos::OfferId {
                value: OfferId::numbered(&self.id, key.0).as_str().to_owned(),
            },
            framework_id: events::framework_id(&to.id),
            agent_id: events::agent_id(&agent.id),
            hostname: agent.info.hostname.clone(),
            url: Some(agent_url(&agent.info)),
            domain: agent.info.domain.clone(),
            resources,
            attributes: agent.info.attributes.clone(),
            executor_ids: executors
                .map(|(_, id)| mesos::ExecutorId {
                    value: id.as_str().to_owned(),
                })
                .collect(),
            unavailability: agent.unavailability,
            allocation_info: to
                .capabilities
                .multi_role
                .then(|| mesos::resource::AllocationInfo {
                    role: Some(role.as_str().to_owned()),
                }),
        }
    }
}

/// More go into several events, so that none is too large for a reader.
const MAX_OFFERS_PER_EVENT: usize = 512;

pub(crate) fn agent_url(info: &mesos::AgentInfo) -> mesos::Url {
    let ip = info
        .hostname
        .parse::<core::net::IpAddr>()
        .is_ok()
        .then(|| info.hostname.clone());
    mesos::Url {
        scheme: "http".to_owned(),
        address: mesos::Address {
            hostname: Some(info.hostname.clone()),
            ip,
            port: info.port(),
        },
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}
