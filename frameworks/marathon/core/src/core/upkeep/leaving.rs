//! Agents whose machines go down for maintenance: told by the master's inverse offers, left by instances within their budgets.
//!
//! The master asks for as long as something of this framework is there, and again after each answer; so nothing of it is stored, and what it does
//! not ask about any more is forgotten. An agent is left from an app's lead time before its window on. What cannot be elsewhere does not
//! leave: instances on persistent volumes, and those of daemon apps, which have nothing to do where their agent is not. It is told to the master by
//! its answer: accepted once nothing is there that should not be there when the machine goes down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tepui_model::Time;
use tepui_proto::mesos::{InverseOffer, Unavailability};

use crate::{
    core::Marathon, definition::App, matching::window, output::Output, path::PathId,
    policy::Policy, timestamp::Timestamp,
};

/// Agents that are known to go down; of more, nothing leaves.
const MAX_AGENTS: usize = 100_000;
/// So soon it may be asked again while instances leave.
const SOON: Duration = Duration::from_secs(10);
/// And when nothing is to be done: after an acceptance, and at the least and the most while the time to leave is to come.
const LATER: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(600);

/// By agent.
pub(in crate::core) type Leaving = BTreeMap<Arc<str>, Window>;

/// When a machine is down.
#[derive(Debug)]
pub(in crate::core) struct Window {
    pub(super) begins: Time,
    pub(super) ends: Time,
    /// It is forgotten then, unless the master tells of it again.
    until: Time,
}

/// What is on an agent.
#[derive(Debug, Default)]
struct There {
    /// Of how many instances a task is there that should not be there in the end.
    tasks: usize,
    /// When the first of them is to leave.
    first: Option<Time>,
}

impl Marathon {
    /// Answers whether the framework is ready for machines to go down, and has instances leave them.
    pub(in crate::core) fn on_inverse_offers(&mut self, offers: Vec<InverseOffer>) {
        if !self.registered {
            return;
        }
        let now = self.now;
        self.leaving.retain(|_, window| now < window.until);
        let mut there: BTreeMap<Arc<str>, There> = BTreeMap::new();
        for offer in &offers {
            let Some(agent) = &offer.agent_id else {
                continue;
            };
            let agent: Arc<str> = agent.value.as_str().into();
            let (begins, ends) = window(&offer.unavailability);
            if self.leaving.len() < MAX_AGENTS || self.leaving.contains_key(&agent) {
                let until = now + LATEST + LATER;
                let window = Window {
                    begins,
                    ends,
                    until,
                };
                self.leaving.insert(agent.clone(), window);
            }
            there.insert(agent, There::default());
        }
        let mut touched = BTreeSet::new();
        for instance in self.instances.values() {
            let on = instance
                .agent
                .as_ref()
                .filter(|_| instance.condition.is_active());
            let Some(on) = on.filter(|_| !instance.spec.is_daemon()) else {
                continue;
            };
            let Some(there) = there.get_mut(&on.id) else {
                continue;
            };
            there.tasks += 1;
            let id = &instance.spec.id;
            let at = self
                .root
                .get(id)
                .and_then(|app| self.leaves_at(app, &on.id));
            there.first = there.first.into_iter().chain(at).min();
            if at.is_some_and(|at| at <= now) {
                touched.insert(id.clone());
            }
        }
        for offer in offers {
            let agent = offer.agent_id.as_ref().map(|agent| agent.value.as_str());
            let found = agent.and_then(|agent| there.get(agent));
            let accepted = found.is_some_and(|there| there.tasks == 0);
            let refuse = match found.and_then(|there| there.first) {
                _ if accepted => LATER,
                Some(first) if first <= now => SOON,
                Some(first) => first.since(now).clamp(LATER, LATEST),
                None => LATER,
            };
            let until = now + refuse + LATER;
            let window = agent.and_then(|agent| self.leaving.get_mut(agent));
            window.into_iter().for_each(|window| window.until = until);
            self.outbox.push(Output::AnswerInverseOffers {
                offer_ids: vec![offer.id.value],
                accepted,
                refuse_ms: u64::try_from(refuse.as_millis()).unwrap_or(u64::MAX),
            });
        }
        for id in touched {
            self.upkeeps.entry(id.clone()).or_default();
            self.wake_upkeep(&id, now);
        }
    }

    /// An agent is offered: if no maintenance is planned there any more, nothing has to leave.
    pub(in crate::core) fn note_unavailability(
        &mut self,
        agent: &str,
        planned: Option<&Unavailability>,
    ) {
        if planned.is_none() && !self.leaving.is_empty() {
            self.leaving.remove(agent);
        }
    }

    /// How long before a window instances of an app leave an agent; none: they do not.
    pub(in crate::core) fn lead(&self, app: &App) -> Option<Duration> {
        if app.is_daemon() || app.is_resident() || !self.config.maintenance_mode {
            return None;
        }
        let policy = self.policies.get(&app.id);
        let settings = policy.and_then(|policy| policy.maintenance);
        settings.unwrap_or_default().lead()
    }

    /// From when on an app leaves an agent, if it is to be left at all, and not too late.
    pub(super) fn leaves_at(&self, app: &App, agent: &str) -> Option<Time> {
        let window = self.leaving.get(agent)?;
        let lead = self.lead(app).filter(|_| self.is_open(agent))?;
        let lead = i64::try_from(lead.as_nanos()).unwrap_or(i64::MAX);
        Some(Time::from_nanos(
            window.begins.as_nanos().saturating_sub(lead),
        ))
    }

    /// Whether an agent is known to go down, and is not back from it.
    pub(super) fn is_open(&self, agent: &str) -> bool {
        let window = self.leaving.get(agent);
        window.is_some_and(|window| self.now < window.until && self.now < window.ends)
    }

    /// Whether an instance is on an agent that is to be left now.
    pub(super) fn is_leaving(&self, key: u64) -> bool {
        let Some(instance) = self.instance(key) else {
            return false;
        };
        let at = instance
            .agent
            .as_ref()
            .zip(self.root.get(&instance.spec.id))
            .and_then(|(agent, app)| self.leaves_at(app, &agent.id));
        at.is_some_and(|at| at <= self.now)
    }

    /// Whether an app is to leave any agent now.
    pub(super) fn leaves_some(&self, id: &PathId) -> bool {
        let Some(app) = self.root.get(id).filter(|_| !self.leaving.is_empty()) else {
            return false;
        };
        let mut at = self
            .leaving
            .keys()
            .filter_map(|agent| self.leaves_at(app, agent));
        at.any(|at| at <= self.now)
    }

    /// When the first of the machines goes down that an app is leaving.
    pub(super) fn goes_down(&self, id: &PathId) -> Option<Timestamp> {
        if self.leaving.is_empty() {
            return None;
        }
        let keys = self
            .apps
            .get(id)
            .into_iter()
            .flat_map(|state| &state.instances);
        let leaving = keys.filter(|key| self.is_leaving(**key));
        let windows = leaving.filter_map(|key| {
            let agent = self.instance(*key)?.agent.as_ref()?;
            Some(self.leaving.get(&agent.id)?.begins)
        });
        windows.min().map(Timestamp::from_time)
    }

    /// Has instances leave agents that go down, as far as may be; why no more, if some are left that wait for more than their turn.
    pub(super) fn leave_agents(
        &mut self,
        id: &PathId,
        app: &Arc<App>,
        policy: &Policy,
        survey: &mut super::Survey,
        stop: Option<String>,
    ) -> Option<String> {
        let count = survey.leaving.len() + survey.leaving_unready.len();
        if count == 0 {
            return None;
        }
        let why = match stop {
            Some(why) => Some(why),
            None => self.begin_to_replace(id, app, policy, survey, crate::view::Disruption::Move),
        };
        let (instances, wait) = if count == 1 {
            ("instance", "waits")
        } else {
            ("instances", "wait")
        };
        why.map(|why| {
            format!("{count} {instances} on agents that go down for maintenance {wait}: {why}")
        })
    }
}
