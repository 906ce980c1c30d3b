//! Agents that fall silent. A broken stream is seen at once; pings find peers that vanished without closing theirs.

use tepui_model::{AgentId, Time};
use tepui_proto::tepui::v1::{Ping, master_message};

use crate::change::{AgentRemoval, Change};
use crate::master::{Master, Timer, log};
use crate::output::{LogLevel, Output};
use crate::registry::{RegistryOperation, UnreachableAgent};
use crate::state::{AgentIx, Health, Orders, Transition};
use crate::stores::Waiting;

/// The most agents that one write of the registry forgets.
const MOST_PRUNED: usize = 256;

impl Master {
    /// A new link: ping it from now on.
    pub(super) fn start_pings(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        self.timers.cancel(Timer::AgentTimeout(agent));
        let id = self.agents[agent].id.clone();
        self.cancel_removal(&id);
        self.agents[agent].health = Health {
            answered: true,
            ..Health::default()
        };
        self.ping(agent, out);
    }

    /// The ping interval has passed: count a missing pong, ask again.
    pub(crate) fn ping(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let limit = self.config.max_agent_ping_timeouts;
        let health = &mut self.agents[agent].health;
        health.missed = if health.answered {
            0
        } else {
            health.missed + 1
        };
        if health.missed >= limit {
            self.agent_timed_out(agent, out);
            if self.agents[agent].link.is_none() {
                return;
            }
            // Its removal waits; a pong would cancel it.
        }
        let health = &mut self.agents[agent].health;
        health.answered = false;
        health.sequence += 1;
        let ping = Ping {
            sequence: health.sequence,
        };
        self.to_agent(agent, master_message::Message::Ping(ping), out);
        self.timers.set(
            Timer::Ping(agent),
            self.now + self.config.agent_ping_timeout,
        );
    }

    /// Any pong shows that the agent is there, also a late one.
    pub(super) fn pong(&mut self, agent: AgentIx, sequence: u64) {
        let health = &mut self.agents[agent].health;
        if sequence <= health.sequence {
            health.answered = true;
            health.missed = 0;
            let id = self.agents[agent].id.clone();
            self.cancel_removal(&id);
        }
    }

    /// The agent was silent, or away, for too long. The registry has to know before anybody is told.
    pub(crate) fn agent_timed_out(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let id = self.agents[agent].id.clone();
        let in_transition = self.in_transition(&id);
        let removed = !in_transition && self.may_remove(&id);
        if let Some(link) = self.agents[agent].link.filter(|_| in_transition || removed) {
            self.close_link(link, "it did not answer pings".to_owned(), out);
        }
        if in_transition {
            // It may be on its way back; if that fails, its time is up again.
            let again = self.now + self.config.agent_ping_timeout;
            self.timers.set(Timer::AgentTimeout(agent), again);
        } else {
            self.timers.cancel(Timer::AgentTimeout(agent));
        }
        if removed {
            self.mark_unreachable(id, out);
        }
    }

    pub(super) fn mark_unreachable(&mut self, id: AgentId, out: &mut Vec<Output>) {
        if let Some(agent) = self.agent_ids.get(&id) {
            self.timers.cancel(Timer::AgentTimeout(*agent));
        }
        self.begin(&id, Transition::MarkingUnreachable);
        let at = self.now;
        let agent = self.as_unreachable(&id, at);
        let operation = RegistryOperation::MarkUnreachable(Box::new(agent));
        self.store(operation, Waiting::Unreachable { id, at }, out);
    }

    /// What is remembered of an agent that is there, or recovered, once it is not.
    fn as_unreachable(&self, id: &AgentId, at: Time) -> UnreachableAgent {
        let (hostname, orders) = match self.agent_ids.get(id) {
            Some(agent) => {
                let agent = &self.agents[*agent];
                (agent.info.hostname.as_str(), agent.orders.clone())
            }
            None => match self.recovered.get(id) {
                Some(agent) => (agent.info.hostname.as_str(), agent.orders()),
                None => ("", Orders::default()),
            },
        };
        UnreachableAgent::new(id.clone(), at, hostname.into(), orders)
    }

    /// The write failed: the time-out runs again.
    pub(crate) fn retry_unreachable(&mut self, id: &AgentId) {
        if let Some(agent) = self.agent_ids.get(id) {
            self.timers.set(
                Timer::AgentTimeout(*agent),
                self.now + self.config.agent_ping_timeout,
            );
        } else if self.recovered.contains_key(id) {
            self.timers
                .set(Timer::Recovery, self.now + self.config.agent_ping_timeout);
        }
    }

    pub(crate) fn became_unreachable(&mut self, id: &AgentId, at: Time, out: &mut Vec<Output>) {
        self.counters.slave_unreachable_completed += 1;
        let agent = self.as_unreachable(id, at);
        self.unreachable.insert(id.clone(), agent);
        if self.recovered.swap_remove(id).is_some() {
            self.counters.recovery_slave_removals += 1;
            self.counters.slave_removals += 1;
            self.tell_agent_failed(id, out);
            out.push(Output::Change(Change::AgentRemoved {
                id: id.clone(),
                cause: AgentRemoval::Unreachable,
            }));
        } else {
            self.remove_agent(id, AgentRemoval::Unreachable, at, out);
        }
        self.prune(out);
    }

    /// Agents of the registry had their time.
    pub(crate) fn recovery_timed_out(&mut self, out: &mut Vec<Output>) {
        let missing: Vec<AgentId> = self
            .recovered
            .keys()
            .filter(|id| !self.in_transition(id))
            .cloned()
            .collect();
        if missing.len() < self.recovered.len() {
            // Some are on their way; if that fails, their time is up again.
            let again = self.now + self.config.agent_ping_timeout;
            self.timers.set(Timer::Recovery, again);
        }
        if !missing.is_empty() {
            log(
                LogLevel::Warn,
                format!(
                    "{} agents did not return to this leader in time",
                    missing.len()
                ),
                out,
            );
        }
        if !self.may_remove_missing(missing.len(), out) {
            let again = self.now + self.config.agent_reregister_timeout;
            return self.timers.set(Timer::Recovery, again);
        }
        for id in missing {
            if self.may_remove(&id) {
                self.mark_unreachable(id, out);
            }
        }
    }

    /// The registry remembers so many unreachable and gone agents, each; the oldest are forgotten.
    pub(crate) fn prune(&mut self, out: &mut Vec<Output>) {
        let most = self.config.max_remembered_agents;
        let mut forgotten = self.unreachable.keep(most);
        forgotten.extend(self.gone.keep(most));
        self.forget_agents(&forgotten, out);
    }

    /// `--registry_gc_interval`: those that are remembered for longer than `--registry_max_agent_age` are forgotten.
    pub(crate) fn collect_garbage(&mut self, out: &mut Vec<Output>) {
        let next = self.now + self.config.registry_gc_interval;
        self.timers.set(Timer::RegistryGc, next);
        let age = self.config.registry_max_agent_age;
        let now = self.now;
        let old = |since: Time| since + age < now;
        let transitions = &self.transitions;
        let mut forgotten = self
            .unreachable
            .take(|id, agent| old(agent.since) && !transitions.contains_key(id));
        forgotten.extend(self.gone.take(|_, since| old(*since)));
        self.forget_agents(&forgotten, out);
    }

    fn forget_agents(&mut self, forgotten: &[AgentId], out: &mut Vec<Output>) {
        for agents in forgotten.chunks(MOST_PRUNED) {
            self.store(
                RegistryOperation::Prune {
                    agents: agents.to_vec(),
                },
                Waiting::Pruning,
                out,
            );
        }
    }
}
