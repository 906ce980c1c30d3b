//! Agents that fall silent. A broken stream is seen at once; pings find peers that vanished without closing theirs.

use tepui_model::{AgentId, Time};
use tepui_proto::tepui::v1::{Ping, master_message};

use crate::change::{AgentRemoval, Change};
use crate::master::{Master, Timer, log};
use crate::output::{LogLevel, Output};
use crate::registry::RegistryOperation;
use crate::state::{AgentIx, Health, Transition};
use crate::stores::Waiting;

impl Master {
    /// A new link: ping it from now on.
    pub(super) fn start_pings(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        self.timers.cancel(Timer::AgentTimeout(agent));
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
            return self.agent_timed_out(agent, out);
        }
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
        }
    }

    /// The agent was silent, or away, for too long. The registry has to know before anybody is told.
    pub(crate) fn agent_timed_out(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let id = self.agents[agent].id.clone();
        if let Some(link) = self.agents[agent].link {
            self.close_link(link, "it did not answer pings".to_owned(), out);
        }
        if self.in_transition(&id) {
            // It may be on its way back; if that fails, its time is up again.
            let again = self.now + self.config.agent_ping_timeout;
            self.timers.set(Timer::AgentTimeout(agent), again);
        } else {
            self.timers.cancel(Timer::AgentTimeout(agent));
            self.mark_unreachable(id, out);
        }
    }

    fn mark_unreachable(&mut self, id: AgentId, out: &mut Vec<Output>) {
        self.counters.slave_unreachable_scheduled += 1;
        self.begin(&id, Transition::MarkingUnreachable);
        let at = self.now;
        let operation = RegistryOperation::MarkUnreachable {
            agent: id.clone(),
            at,
        };
        self.store(operation, Waiting::Unreachable { id, at }, out);
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
        self.unreachable.shift_remove(id);
        self.unreachable.insert(id.clone(), at);
        if self.recovered.shift_remove(id).is_some() {
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
        for id in missing {
            self.mark_unreachable(id, out);
        }
    }

    /// The registry remembers so many unreachable and gone agents, each; the oldest are forgotten.
    pub(crate) fn prune(&mut self, out: &mut Vec<Output>) {
        let mut forgotten = Vec::new();
        for remembered in [&mut self.unreachable, &mut self.gone] {
            let excess = remembered
                .len()
                .saturating_sub(self.config.max_remembered_agents);
            forgotten.extend(remembered.drain(..excess).map(|(id, _)| id));
        }
        if !forgotten.is_empty() {
            self.store(
                RegistryOperation::Prune { agents: forgotten },
                Waiting::Pruning,
                out,
            );
        }
    }
}
