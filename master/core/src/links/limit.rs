//! How fast, and how many, agents may be removed for being out of reach: an operator's brake for the day on which half a cluster
//! falls silent because of the network.
//!
//! `--agent_removal_rate_limit=N/DURATION` spreads removals evenly: the first goes at once, each further one DURATION/N after the one
//! before. Who waits is asked on, and a sign of life cancels the removal. `--recovery_agent_removal_limit` bounds how many of the
//! registry's agents may be missing at a new leader: above it none is removed, they stay *recovered*, and each
//! `--agent_reregister_timeout` it is looked at again. (Mesos exits there; a leader of this kind never just exits.)

use std::collections::BTreeMap;
use std::time::Duration;

use tepui_model::{AgentId, Time};

use super::LinkState;
use crate::change::AgentRemoval;
use crate::input::LinkKey;
use crate::master::{Master, Timer, log};
use crate::output::{LogLevel, Output};
use crate::registry::RegistryOperation;
use crate::state::{Agent, AgentIx, HashMap, Transition};
use crate::stores::Waiting;

/// Removals that wait for their turn, in the order in which they were noticed.
pub(crate) struct Removals {
    /// Between two; `None` for no limit.
    interval: Option<Duration>,
    next: Time,
    next_place: u64,
    queue: BTreeMap<u64, AgentId>,
    places: HashMap<AgentId, u64>,
}

impl Removals {
    pub(crate) fn new(limit: Option<(u32, Duration)>, hash: &ahash::RandomState) -> Self {
        Self {
            interval: limit.map(|(permits, duration)| duration / permits.max(1)),
            next: Time::from_nanos(0),
            next_place: 0,
            queue: BTreeMap::new(),
            places: HashMap::with_hasher(hash.clone()),
        }
    }

    fn take(&mut self, id: &AgentId) -> bool {
        let place = self.places.remove(id);
        place.is_some_and(|place| self.queue.remove(&place).is_some())
    }
}

impl Master {
    /// An agent's time is up. Whether it may go now; otherwise it waits.
    pub(super) fn may_remove(&mut self, id: &AgentId) -> bool {
        let removals = &mut self.removals;
        if removals.places.contains_key(id) {
            return false;
        }
        self.counters.slave_unreachable_scheduled += 1;
        let Some(interval) = removals.interval else {
            return true;
        };
        if removals.queue.is_empty() && removals.next <= self.now {
            removals.next = self.now + interval;
            return true;
        }
        let place = removals.next_place;
        removals.next_place += 1;
        removals.queue.insert(place, id.clone());
        removals.places.insert(id.clone(), place);
        self.timers.set(Timer::Removal, removals.next);
        false
    }

    /// The next removal's turn has come.
    pub(crate) fn removal_due(&mut self, out: &mut Vec<Output>) {
        let Some((_, id)) = self.removals.queue.pop_first() else {
            return;
        };
        self.removals.places.remove(&id);
        if let Some(interval) = self.removals.interval {
            self.removals.next = self.now + interval;
        }
        if !self.removals.queue.is_empty() {
            self.timers.set(Timer::Removal, self.removals.next);
        }
        if self.in_transition(&id) {
            // Something else is becoming of it; if that fails, its time is up again.
            self.counters.slave_unreachable_canceled += 1;
            return self.retry_unreachable(&id);
        }
        if let Some(link) = self
            .agent_ids
            .get(&id)
            .and_then(|agent| self.agents[*agent].link)
        {
            self.close_link(link, "it did not answer pings".to_owned(), out);
        }
        self.mark_unreachable(id, out);
    }

    /// It is there, or gone for another reason.
    pub(crate) fn cancel_removal(&mut self, id: &AgentId) {
        if self.removals.take(id) {
            self.counters.slave_unreachable_canceled += 1;
        }
    }

    /// Whether so many of the registry's agents may be removed at once.
    pub(super) fn may_remove_missing(&mut self, missing: usize, out: &mut Vec<Output>) -> bool {
        let of = self.recovered_at_start.max(missing);
        let limit = self.config.recovery_agent_removal_limit;
        // One comparison of counts: both are far below 2^52.
        let allowed = missing as f64 <= of as f64 * limit;
        self.counters.recovery_slaves_kept = if allowed { 0 } else { missing as u64 };
        if !allowed {
            log(
                LogLevel::Warn,
                format!(
                    "{missing} of {of} agents in the registry did not return to this leader, more than --recovery_agent_removal_limit={}% allows: none of them is removed. Bring them back, or mark gone those that are lost",
                    limit * 100.0
                ),
                out,
            );
        }
        allowed
    }

    /// A new agent registers on this link: if one that is away has its address, it has been replaced.
    pub(super) fn replace_agent(&mut self, link: LinkKey, out: &mut Vec<Output>) {
        let Some(LinkState::Waiting(register)) = self.links.get(&link).map(|link| &link.state)
        else {
            return;
        };
        let address = address(&register.agent.hostname, register.agent.port());
        let Some(old) = self.addresses.get(&address).copied() else {
            return;
        };
        let id = self.agents[old].id.clone();
        if self.agents[old].link.is_some() || self.in_transition(&id) {
            return;
        }
        log(
            LogLevel::Info,
            format!("agent {id} is away and a new agent has come to {address}: it is replaced"),
            out,
        );
        self.begin(&id, Transition::Removing);
        self.store(
            RegistryOperation::Remove { agent: id.clone() },
            Waiting::Removal {
                id,
                cause: AgentRemoval::Replaced,
            },
            out,
        );
    }

    pub(super) fn note_address(&mut self, agent: AgentIx) {
        let address = address_of(&self.agents[agent]);
        self.addresses.insert(address, agent);
    }

    pub(super) fn forget_address(&mut self, agent: AgentIx) {
        let address = address_of(&self.agents[agent]);
        if self.addresses.get(&address) == Some(&agent) {
            self.addresses.remove(&address);
        }
    }
}

fn address(hostname: &str, port: i32) -> Box<str> {
    format!("{hostname}:{port}").into()
}

fn address_of(agent: &Agent) -> Box<str> {
    address(&agent.info.hostname, agent.info.port())
}
