//! What operators order about one agent: deactivation and draining. Orders are stored with the agent before anybody acts on them,
//! and hold wherever it is known from: registered, recovered or out of reach.
//!
//! A drain deactivates the agent, tells it (`Drain`, again on each new link until it is done) and kills what runs there; the agent
//! keeps every grace period below the configured one. It is over when the agent is there, has no task in the active lists and no
//! operation (so every end is acknowledged), and the registry knows; only then is the agent marked gone, if that was asked for.

use tepui_model::{AgentId, Time};
use tepui_proto::mesos::agent_info::capability::Type as Capability;
use tepui_proto::mesos::{self, KillPolicy};
use tepui_proto::tepui::v1::{self, master_message};

use crate::input::ReplyToken;
use crate::master::{Master, Timer, log, reply};
use crate::operator::refused;
use crate::output::{LogLevel, Output, Reply};
use crate::registry::{AdmittedAgent, Drain, RegistryOperation, UnreachableAgent};
use crate::state::{Agent, AgentIx, Orders, Transition};
use crate::stores::Waiting;

/// Where an agent is known from, with what has to be stored of it.
enum Known {
    Here(mesos::AgentInfo),
    Unreachable(Time, Box<str>),
}

impl Master {
    pub(crate) fn deactivate(
        &mut self,
        id: AgentId,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        match self.ordered(&id) {
            Err(refusal) => reply(token, refusal, out),
            // Stored even if it seems to be so already: a write that failed may have been done, and another master may have written.
            Ok((known, orders)) => {
                let orders = Orders {
                    deactivated: true,
                    ..orders
                };
                self.store_orders(id, known, orders, token, out);
            }
        }
    }

    /// Undoes DEACTIVATE_AGENT and a drain that is over.
    pub(crate) fn reactivate(
        &mut self,
        id: AgentId,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        let (known, orders) = match self.ordered(&id) {
            Err(refusal) => return reply(token, refusal, out),
            Ok(found) => found,
        };
        let why = if !orders.deactivated {
            format!("Agent {id} is not deactivated")
        } else if orders.drain.is_some_and(|drain| !drain.drained) {
            format!("Agent {id} is still draining")
        } else {
            return self.store_orders(id, known, Orders::default(), token, out);
        };
        reply(token, refused(400, why), out);
    }

    /// A second drain replaces the first, and starts anew.
    pub(crate) fn drain(
        &mut self,
        id: AgentId,
        config: mesos::DrainConfig,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        let (known, _) = match self.ordered(&id) {
            Err(refusal) => return reply(token, refusal, out),
            Ok(found) => found,
        };
        let why = if config
            .max_grace_period
            .is_some_and(|grace| grace.nanoseconds < 0)
        {
            "'max_grace_period' must not be negative".to_owned()
        } else if self.is_in_schedule(&id) {
            format!("Agent {id} is part of a maintenance schedule, so it cannot be drained")
        } else if self
            .agent_ids
            .get(&id)
            .is_some_and(|agent| !can_drain(&self.agents[*agent]))
        {
            format!("Agent {id} is not capable of AGENT_DRAINING")
        } else {
            let drain = Drain {
                config,
                drained: false,
                since: self.now,
            };
            let orders = Orders {
                deactivated: true,
                drain: Some(drain),
            };
            return self.store_orders(id, known, orders, token, out);
        };
        reply(token, refused(400, why), out);
    }

    /// The agent, if something can be ordered about it now.
    fn ordered(&self, id: &AgentId) -> Result<(Known, Orders), Reply> {
        let known = if let Some(agent) = self.agent_ids.get(id) {
            let agent = &self.agents[*agent];
            (
                Known::Here(agent.info.as_ref().clone()),
                agent.orders.clone(),
            )
        } else if let Some(agent) = self.recovered.get(id) {
            (Known::Here(agent.info.clone()), agent.orders())
        } else if let Some(agent) = self.unreachable.get(id) {
            let known = Known::Unreachable(agent.since, agent.hostname.clone());
            (known, agent.orders())
        } else {
            let why = format!("No agent found with specified ID {id}");
            return Err(refused(400, why));
        };
        match self.transitions.get(id) {
            None => Ok(known),
            Some(Transition::MarkingGone) => {
                Err(refused(409, format!("Agent {id} is being marked gone")))
            }
            Some(Transition::Removing) => Err(refused(409, format!("Agent {id} is being removed"))),
            Some(_) => Err(refused(
                503,
                format!("Agent {id} is in transition, try again"),
            )),
        }
    }

    fn store_orders(
        &mut self,
        id: AgentId,
        known: Known,
        orders: Orders,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        self.begin(&id, Transition::Updating);
        let operation = match known {
            Known::Here(info) => {
                RegistryOperation::Admit(Box::new(AdmittedAgent::new(info, orders.clone())))
            }
            Known::Unreachable(since, hostname) => RegistryOperation::MarkUnreachable(Box::new(
                UnreachableAgent::new(id.clone(), since, hostname, orders.clone()),
            )),
        };
        let waiting = Waiting::Orders {
            id,
            orders,
            reply: token,
        };
        self.store(operation, waiting, out);
    }

    /// The registry knows.
    pub(crate) fn orders_stored(&mut self, id: &AgentId, orders: Orders, out: &mut Vec<Output>) {
        if let Some(agent) = self.agent_ids.get(id).copied() {
            let gone_now = orders
                .drain
                .as_ref()
                .is_some_and(|drain| drain.drained && drain.config.mark_gone());
            let deactivated = orders.deactivated;
            self.agents[agent].orders = orders;
            self.allocation_agent_active(agent);
            if deactivated {
                self.rescind_offers_on(agent, out);
            }
            self.touch_agent(agent);
            if gone_now {
                log(
                    LogLevel::Info,
                    format!("agent {id} has drained and is marked gone"),
                    out,
                );
                return self.mark_gone(id.clone(), None, out);
            }
            self.go_on_draining(agent, out);
        } else if let Some(agent) = self.recovered.get_mut(id) {
            *agent = AdmittedAgent::new(std::mem::take(&mut agent.info), orders);
        } else if let Some(agent) = self.unreachable.get_mut(id) {
            let hostname = std::mem::take(&mut agent.hostname);
            *agent = UnreachableAgent::new(id.clone(), agent.since, hostname, orders);
        }
    }

    /// A drain was ordered, or its agent is back: tell it, and kill what is there.
    pub(crate) fn go_on_draining(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let known = &self.agents[agent];
        let Some(drain) = known.draining() else {
            return;
        };
        let config = drain.config;
        self.drain_candidates.insert(known.id.clone());
        self.to_agent(
            agent,
            master_message::Message::Drain(v1::Drain { config }),
            out,
        );
        for task in self.agents[agent].tasks.clone() {
            if self.tasks[task].kill.is_none() {
                self.kill_known(task, None, out);
            }
        }
    }

    /// A task has left the active lists, or an operation is over and acknowledged.
    pub(crate) fn something_left(&mut self, agent: AgentIx) {
        let agent = &self.agents[agent];
        if agent.draining().is_some() && agent.tasks.is_empty() {
            self.drain_candidates.insert(agent.id.clone());
        }
    }

    /// Agents on which nothing may be left: those have drained.
    pub(crate) fn look_for_drained(&mut self, out: &mut Vec<Output>) {
        for id in std::mem::take(&mut self.drain_candidates) {
            let Some(place) = self.agent_ids.get(&id).copied() else {
                continue;
            };
            let agent = &self.agents[place];
            let Some(drain) = agent
                .draining()
                .filter(|_| agent.link.is_some() && agent.tasks.is_empty())
                .filter(|_| self.operations.count_on(place) == 0)
            else {
                continue;
            };
            if self.in_transition(&id) {
                // The answer of the registry comes with another look.
                self.drain_candidates.insert(id);
                continue;
            }
            let orders = Orders {
                deactivated: true,
                drain: Some(Drain {
                    drained: true,
                    ..drain.clone()
                }),
            };
            let known = Known::Here(agent.info.as_ref().clone());
            self.store_orders(id, known, orders, None, out);
        }
    }

    /// That an agent has drained could not be stored: look again a little later.
    pub(crate) fn retry_drained(&mut self) {
        let at = self.now + self.config.agent_ping_timeout;
        self.timers.set_earlier(Timer::Drained, at);
    }

    pub(crate) fn drained_again(&mut self) {
        let draining = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.draining().is_some());
        self.drain_candidates
            .extend(draining.map(|(_, agent)| agent.id.clone()));
    }
}

fn can_drain(agent: &Agent) -> bool {
    agent
        .capabilities
        .iter()
        .any(|capability| capability.r#type() == Capability::AgentDraining)
}

/// A kill policy whose grace is not longer than a drain allows. Without a policy of its own the agent takes the task's, and keeps it
/// below the bound itself.
pub(crate) fn capped(policy: Option<KillPolicy>, drain: Option<&Drain>) -> Option<KillPolicy> {
    let Some(most) = drain.and_then(|drain| drain.config.max_grace_period) else {
        return policy;
    };
    policy.map(|policy| KillPolicy {
        grace_period: policy.grace_period.map(|grace| mesos::DurationInfo {
            nanoseconds: grace.nanoseconds.min(most.nanoseconds),
        }),
    })
}
