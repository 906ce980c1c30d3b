//! Inverse offers: frameworks with something on a draining machine are asked to leave it, each once an agent.
//!
//! An answer is recorded, and the question comes again after the answer's filter (at least the allocation interval); without an
//! answer after `--offer_timeout`, under a new id. A question is void when its framework has nothing left there, or one of both is
//! not there any more. Who has declined is asked on when it has nothing left there either, until it accepts: what it said last would stand otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_model::{OfferId, Time};
use tepui_proto::mesos::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use tepui_proto::mesos::{self, Filters};

use crate::allocation::agent_url;
use crate::calls::offers::refusal;
use crate::change::{Change, InverseOfferSnapshot, OfferKey};
use crate::events;
use crate::master::{Master, Timer};
use crate::output::Output;
use crate::state::{AgentIx, FrameworkIx, IndexMap};

/// An outstanding inverse offer.
#[derive(Debug)]
pub(super) struct Asked {
    framework: FrameworkIx,
    agent: AgentIx,
    made_at: Time,
}

/// What was said between a framework and the master about an agent.
#[derive(Debug, Default)]
pub(super) struct Talk {
    outstanding: Option<OfferKey>,
    pub(super) answer: Option<InverseOfferStatus>,
    /// Not asked again before.
    again: Time,
}

impl Master {
    /// End of a batch: ask whom there is to ask about the agents that something happened to.
    pub(crate) fn ask_to_leave(&mut self, out: &mut Vec<Output>) {
        if self.maintenance.machines.is_empty() {
            return;
        }
        let touched: Vec<AgentIx> = self
            .dirty_agents
            .iter()
            .copied()
            .filter(|agent| self.agents[*agent].unavailability.is_some())
            .collect();
        let mut events: IndexMap<FrameworkIx, Vec<mesos::InverseOffer>> =
            IndexMap::with_hasher(self.framework_ids.hasher().clone());
        for agent in touched {
            self.ask_about(agent, &mut events, out);
        }
        for (framework, inverse_offers) in events {
            self.event(framework, events::inverse_offers(inverse_offers), out);
        }
        if let Some((at, _)) = self.maintenance.due.first() {
            self.timers.set(Timer::InverseOffers, *at);
        }
    }

    fn ask_about(
        &mut self,
        agent: AgentIx,
        events: &mut IndexMap<FrameworkIx, Vec<mesos::InverseOffer>>,
        out: &mut Vec<Output>,
    ) {
        let mut users = self.users_of(agent);
        users.extend(self.unwilling(agent));
        let talks = self.maintenance.talks.entry(agent).or_default();
        let void: Vec<OfferKey> = talks
            .iter()
            .filter(|(framework, _)| !users.contains(framework))
            .filter_map(|(_, talk)| talk.outstanding)
            .collect();
        for key in void {
            self.rescind_inverse(key, out);
        }
        for framework in users {
            let talks = self.maintenance.talks.entry(agent).or_default();
            let talk = talks.entry(framework).or_default();
            if let Some(key) = talk.outstanding {
                let overdue = match (self.config.offer_timeout, self.maintenance.asked.get(&key)) {
                    (Some(timeout), Some(asked)) => asked.made_at + timeout <= self.now,
                    _ => false,
                };
                if !overdue {
                    continue;
                }
                self.rescind_inverse(key, out);
            } else if talk.again > self.now {
                continue;
            }
            let offer = self.inverse_offer(framework, agent, out);
            events.entry(framework).or_default().push(offer);
        }
        if self
            .maintenance
            .talks
            .get(&agent)
            .is_some_and(std::collections::BTreeMap::is_empty)
        {
            self.maintenance.talks.remove(&agent);
        }
    }

    /// Those that are there and have something on the agent: offered, or in use.
    fn users_of(&self, agent: AgentIx) -> BTreeSet<FrameworkIx> {
        let agent = &self.agents[agent];
        if agent.link.is_none() {
            return BTreeSet::new();
        }
        let offered = agent.offers.iter().map(|key| self.offers[key].framework);
        let run = agent
            .tasks
            .iter()
            .map(|task| &self.tasks[*task])
            .filter(|task| !task.resources.is_empty())
            .map(|task| task.framework);
        let executors = agent.executors.keys().map(|(framework, _)| *framework);
        offered
            .chain(run)
            .chain(executors)
            .filter(|framework| self.frameworks[*framework].stream().is_some())
            .collect()
    }

    /// Those that are there and have declined.
    fn unwilling(&self, agent: AgentIx) -> BTreeSet<FrameworkIx> {
        let connected = self.agents[agent].link.is_some();
        let talks = self.maintenance.talks.get(&agent).filter(|_| connected);
        let declined = talks.into_iter().flatten().filter(|(_, talk)| {
            let answer = talk.answer.as_ref();
            answer.is_some_and(|answer| answer.status() == Status::Decline)
        });
        let declined = declined.map(|(framework, _)| *framework);
        declined
            .filter(|framework| self.frameworks[*framework].stream().is_some())
            .collect()
    }

    fn inverse_offer(
        &mut self,
        framework: FrameworkIx,
        agent: AgentIx,
        out: &mut Vec<Output>,
    ) -> mesos::InverseOffer {
        let key = OfferKey(self.next_offer);
        self.next_offer += 1;
        let known = &self.agents[agent];
        let offer = mesos::InverseOffer {
            id: mesos::OfferId {
                value: OfferId::numbered(&self.id, key.0).as_str().to_owned(),
            },
            url: Some(agent_url(&known.info)),
            framework_id: events::framework_id(&self.frameworks[framework].id),
            agent_id: Some(events::agent_id(&known.id)),
            unavailability: known.unavailability.unwrap_or_default(),
            resources: Vec::new(),
        };
        let snapshot = InverseOfferSnapshot {
            key,
            framework: self.frameworks[framework].id.clone(),
            agent: known.id.clone(),
            offer: offer.clone(),
        };
        out.push(Output::Change(Change::InverseOfferAdded(Arc::new(
            snapshot,
        ))));
        if let Some(timeout) = self.config.offer_timeout {
            let due = (self.now + timeout, known.id.clone());
            self.maintenance.due.insert(due);
        }
        let asked = Asked {
            framework,
            agent,
            made_at: self.now,
        };
        self.maintenance.asked.insert(key, asked);
        let talks = self.maintenance.talks.entry(agent).or_default();
        talks.entry(framework).or_default().outstanding = Some(key);
        offer
    }

    /// Out of the tables; the caller tells whom it has to be told.
    fn end_inverse(&mut self, key: OfferKey, out: &mut Vec<Output>) -> Option<Asked> {
        let asked = self.maintenance.asked.remove(&key)?;
        let talk = self
            .maintenance
            .talks
            .get_mut(&asked.agent)
            .and_then(|talks| talks.get_mut(&asked.framework));
        if let Some(talk) = talk {
            talk.outstanding = None;
        }
        out.push(Output::Change(Change::InverseOfferRemoved(key)));
        Some(asked)
    }

    fn rescind_inverse(&mut self, key: OfferKey, out: &mut Vec<Output>) {
        if let Some(asked) = self.end_inverse(key, out) {
            let id = OfferId::numbered(&self.id, key.0).as_str().to_owned();
            self.event(asked.framework, events::rescind_inverse(id), out);
        }
    }

    /// ACCEPT_INVERSE_OFFERS, DECLINE_INVERSE_OFFERS. Only recorded; ids that are not outstanding for the framework are passed over.
    pub(crate) fn answer_inverse(
        &mut self,
        framework: FrameworkIx,
        ids: &[mesos::OfferId],
        filters: Option<&Filters>,
        answer: Status,
        out: &mut Vec<Output>,
    ) {
        let again = self.now + refusal(filters).max(self.config.allocation_interval);
        for id in ids {
            let own = self.offer_key(&id.value).filter(|key| {
                let asked = self.maintenance.asked.get(key);
                asked.is_some_and(|asked| asked.framework == framework)
            });
            let Some(asked) = own.and_then(|key| self.end_inverse(key, out)) else {
                continue;
            };
            let status = InverseOfferStatus {
                status: answer.into(),
                framework_id: events::framework_id(&self.frameworks[framework].id),
                timestamp: self.now.into(),
            };
            let talks = self.maintenance.talks.entry(asked.agent).or_default();
            let talk = talks.entry(framework).or_default();
            talk.answer = Some(status);
            talk.again = again;
            let due = (again, self.agents[asked.agent].id.clone());
            self.maintenance.due.insert(due);
            self.maintenance.changed = true;
            self.timers.set_earlier(Timer::InverseOffers, again);
        }
    }

    /// Filters or time-outs of inverse offers have ended: the flush looks at their agents.
    pub(crate) fn inverse_offers_due(&mut self) {
        while let Some((at, _)) = self.maintenance.due.first()
            && *at <= self.now
            && let Some((_, id)) = self.maintenance.due.pop_first()
        {
            if let Some(agent) = self.agent_ids.get(&id).copied() {
                self.touch_agent(agent);
            }
        }
        if let Some((at, _)) = self.maintenance.due.first() {
            self.timers.set(Timer::InverseOffers, *at);
        }
    }

    /// The agent is not there any more, or its window has changed: nothing that was said holds.
    pub(crate) fn end_talks_on(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        self.rescind_inverse_offers_on(agent, out);
        if self.maintenance.talks.remove(&agent).is_some() {
            self.maintenance.changed = true;
        }
    }

    /// The agent is away.
    pub(crate) fn rescind_inverse_offers_on(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        let Some(talks) = self.maintenance.talks.get(&agent) else {
            return;
        };
        let outstanding: Vec<OfferKey> =
            talks.values().filter_map(|talk| talk.outstanding).collect();
        for key in outstanding {
            self.rescind_inverse(key, out);
        }
    }

    /// The framework is not there to be told.
    pub(crate) fn withdraw_inverse_offers_of(
        &mut self,
        framework: FrameworkIx,
        out: &mut Vec<Output>,
    ) {
        let own: Vec<OfferKey> = self
            .maintenance
            .talks
            .values()
            .filter_map(|talks| talks.get(&framework)?.outstanding)
            .collect();
        for key in own {
            self.end_inverse(key, out);
        }
    }

    /// The framework is there (again): it is asked about the machines on which it has something.
    pub(crate) fn ask_framework_to_leave(&mut self, framework: FrameworkIx) {
        if self.maintenance.machines.is_empty() {
            return;
        }
        let agents: Vec<AgentIx> = self.frameworks[framework].agents.keys().copied().collect();
        for agent in agents {
            if self.agents[agent].unavailability.is_some() {
                self.touch_agent(agent);
            }
        }
    }

    /// It is gone for good.
    pub(crate) fn end_talks_with(&mut self, framework: FrameworkIx) {
        for talks in self.maintenance.talks.values_mut() {
            if talks.remove(&framework).is_some() {
                self.maintenance.changed = true;
            }
        }
    }
}
