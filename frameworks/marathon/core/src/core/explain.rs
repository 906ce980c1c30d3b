//! Why an app waits: `/v3/apps/{id}/explain`.
//!
//! Made of what is known when it is asked: the last offer of each agent that did not do, looked at again with the definition of now.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tepui_proto::mesos::{Offer, Resource};

use super::{AppState, Marathon, app_state::is_delayed, daemons::LastOffer, reservations::GIVE_UP};
use crate::{
    instance::{Condition, Instance, owner},
    matching::{Lack, OfferState, Placed},
    path::PathId,
    response::Response,
    timestamp::Timestamp,
};

/// For each thing that is lacked the number of agents and the least that is missing.
type Lacks = BTreeMap<String, (usize, Option<f64>)>;

impl Marathon {
    pub(super) fn explain(&self, id: &PathId) -> Response {
        let (Some(app), Some(state)) = (self.root.get(id), self.apps.get(id)) else {
            return Response::no_app(id, None);
        };
        let (lacks, agents) = self.lacks(state);
        // Instances of a daemon app do not wait: agents do.
        let waiting = if state.seats.is_some() {
            agents.len()
        } else {
            state.scheduled.len()
        };
        let reasons = self.reasons_of(state, &lacks, agents.is_empty());
        let delayed_until = self.delayed_until(state);
        let deployment = state
            .lock
            .as_ref()
            .and_then(|lock| self.deployments.get(lock));
        let deployment = deployment.map(|one| {
            json!({ "id": one.id, "currentStep": one.current, "totalSteps": one.steps.len(), "action": one.action(id).map(|action| self.action_name(id, action)) })
        });
        let lacks: Vec<Value> = lacks
            .into_iter()
            .map(|(what, (agents, least))| json!({ "what": what, "agents": agents, "leastMissing": least }))
            .collect();
        let placed = self.placed_of(state);
        let left_out: Vec<Value> = self
            .left_out(state)
            .iter()
            .map(|last| looked_at(last, &self.lacks_of(state, &placed, last)))
            .collect();
        let delayed: Vec<Value> = self
            .delayed_agents(state)
            .iter()
            .map(|(agent, until)| json!({ "agentId": agent, "until": until }))
            .collect();
        Response::json(
            200,
            &json!({
                "id": id,
                "instances": state.shown().app.instances,
                "daemon": app.is_daemon(),
                "waiting": waiting,
                "launching": state.tally.launching,
                "running": state.tally.counts.running,
                "ready": state.tally.ready,
                "since": state.offers.since.filter(|_| waiting > 0),
                "delayedUntil": delayed_until,
                "offersSeen": state.offers.processed,
                "deployment": deployment,
                "autoscaling": self.scaler_view(id),
                "upkeep": self.upkeep_view(id),
                "machines": self.machines(state),
                "reasons": reasons,
                "lacks": lacks,
                "agents": agents,
                "leftOut": left_out,
                "delayedAgents": delayed,
            }),
        )
    }

    /// Why an app does not go on; also of one that is being deleted.
    pub(super) fn reasons(&self, id: &PathId) -> Vec<String> {
        self.apps.get(id).map_or_else(Vec::new, |state| {
            let (lacks, agents) = self.lacks(state);
            self.reasons_of(state, &lacks, agents.is_empty())
        })
    }

    fn delayed_until(&self, state: &AppState) -> Option<Timestamp> {
        let delay = state.delay.filter(|_| is_delayed(state.delay, self.now));
        delay.map(|delay| Timestamp::from_time(delay.deadline()))
    }

    fn reasons_of(&self, state: &AppState, lacks: &Lacks, no_offer: bool) -> Vec<String> {
        let waiting = state.scheduled.len();
        let unready = self.count(state, |one| !one.is_ready() && !one.is_unready());
        let silent = self.count(state, Instance::is_unready);
        let mut reasons = Vec::new();
        if state.seats.is_some() {
            if !self.registered {
                reasons.push("Marathon is not registered with a master".to_owned());
            }
            reasons.extend(self.reasons_of_daemon(state));
            reasons.extend(state.unmade.clone());
            reasons.extend(told(lacks));
        } else if waiting > 0 {
            if !self.registered {
                reasons.push("Marathon is not registered with a master".to_owned());
            }
            if let Some(until) = self.delayed_until(state) {
                let last = state.last_failure.as_ref();
                let why = last.map_or_else(String::new, |failure| format!(": {}", failure.message));
                reasons.push(format!("back-off until {until} after a failure{why}"));
            } else if no_offer {
                reasons.push("no offer has come since it waits".to_owned());
            }
            reasons.extend(state.unmade.clone());
            reasons.extend(told(lacks));
            reasons.extend(self.reasons_of_shares(state, lacks, no_offer));
        }
        reasons.extend(self.reason_of_scaler(&state.app().id));
        reasons.extend(self.reasons_of_upkeep(&state.app().id));
        reasons.extend(self.reasons_of_ordinals(state));
        reasons.extend(self.reason_of_trial(&state.app().id));
        reasons.extend(self.reasons_of_kept(state));
        if state.tally.launching > 0 {
            reasons.push(format!(
                "{} launched and not yet running",
                state.tally.launching
            ));
        }
        if unready > 0 {
            reasons.push(format!("{unready} running and not yet healthy"));
        }
        if silent > 0 {
            reasons.push(format!("{silent} running and not yet ready"));
        }
        let unreachable = state.instances.iter().filter(|key| {
            let instance = self.instances.get(*key);
            instance.is_some_and(|one| one.condition == Condition::Unreachable)
        });
        let unreachable = unreachable.count();
        if unreachable > 0 {
            reasons.push(format!("{unreachable} on agents that are unreachable"));
        }
        if state.tally.leaving > 0 {
            reasons.push(format!("{} being ended", state.tally.leaving));
        }
        reasons
    }

    /// Who waits for what is reserved for it, and what of that was not offered since it waits.
    fn reasons_of_kept(&self, state: &AppState) -> Vec<String> {
        let offers = &state.offers.unused_offers;
        let mut offered: BTreeMap<&str, Vec<(Timestamp, &Resource)>> = BTreeMap::new();
        for (offer, _, at) in offers.values() {
            for resource in &offer.resources {
                if let Some(instance) = owner(resource, |id| self.is_own(id)) {
                    offered.entry(instance).or_default().push((*at, resource));
                }
            }
        }
        let kept = state.scheduled.difference(&state.unplaced);
        let kept = kept.filter_map(|key| self.instances.get(key));
        let told = kept.filter_map(|instance| {
            let (agent, kept) = (instance.agent.as_ref()?, instance.reservation.as_ref()?);
            let since = |at: Timestamp| at >= instance.since;
            let of_it = offered.get(&*instance.id).into_iter().flatten();
            let of_it: Vec<Resource> = of_it
                .filter(|(at, _)| since(*at))
                .map(|(_, resource)| (*resource).clone())
                .collect();
            let missing: Vec<&str> = kept
                .volumes_missing_in(&of_it)
                .map(|volume| volume.container_path.as_str())
                .collect();
            let looked = offers
                .get(&agent.id)
                .is_some_and(|(.., at)| since(*at));
            let more = if of_it.is_empty() && looked {
                ": there was nothing of it in that agent's last offer".to_owned()
            } else if of_it.is_empty() || missing.is_empty() {
                String::new()
            } else {
                let missing = missing.join(", ");
                format!(": the volume {missing} was not in that agent's last offer; if it is gone for good, {GIVE_UP}")
            };
            let (id, host) = (&instance.id, &agent.host);
            Some(format!("{id} waits for what is reserved for it on {host}{more}"))
        });
        told.collect()
    }

    /// How a GROUP_BY with a number shares instances out, if that keeps offers from being used or nothing is offered.
    fn reasons_of_shares(&self, state: &AppState, lacks: &Lacks, no_offer: bool) -> Vec<String> {
        let app = state.app();
        let (placed, constraints) = (self.placed_of(state), app.constraints.iter().enumerate());
        let told = constraints.filter_map(|(at, constraint)| {
            let shares = placed.shares(app, at)?;
            let name = format!("constraint {}", constraint.told());
            let refuses = lacks.keys().any(|what| what.starts_with(&name));
            (refuses || no_offer).then(|| format!("{name} {}", shares.told()))
        });
        told.collect()
    }

    /// What the last unused offers lack: for each thing the number of agents and the least that is missing; and agent by agent.
    fn lacks(&self, state: &AppState) -> (Lacks, Vec<Value>) {
        let mut lacks = Lacks::new();
        let mut agents = Vec::new();
        let placed = self.placed_of(state);
        let unused = state.offers.unused_offers.iter();
        let looked: Vec<_> = if state.seats.is_some() {
            self.wanting(state)
        } else if state.scheduled.is_empty() {
            Vec::new()
        } else {
            unused
                .map(|(agent, (offer, _, at))| (agent, offer, *at))
                .collect()
        };
        for last in looked {
            let found = self.lacks_of(state, &placed, &last);
            for lack in &found {
                let entry = lacks.entry(lack.what.clone()).or_insert((0, lack.missing));
                entry.0 += 1;
                entry.1 = match (entry.1, lack.missing) {
                    (Some(least), Some(missing)) => Some(least.min(missing)),
                    (least, missing) => least.or(missing),
                };
            }
            agents.push(looked_at(&last, &found));
        }
        (lacks, agents)
    }

    /// What an offer lacks for an app.
    fn lacks_of(
        &self,
        state: &AppState,
        placed: &Placed,
        (_, offer, _): &LastOffer<'_>,
    ) -> Vec<Lack> {
        let offer = self.looked_at(state, offer);
        offer.lacks(state.app(), placed, &self.config)
    }

    /// An offer that came before, as an app would look at it now.
    pub(super) fn looked_at(&self, state: &AppState, offer: &Offer) -> OfferState {
        let region = self.home_region.as_deref();
        let mut offer = OfferState::new(offer.clone(), &self.config, region, self.now);
        self.heed(&state.app().id, &mut offer);
        offer
    }

    /// How many running instances of an app are so.
    fn count(&self, state: &AppState, chosen: impl Fn(&Instance) -> bool) -> usize {
        let instances = state
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key));
        instances
            .filter(|one| one.condition == Condition::Running && chosen(one))
            .count()
    }
}

/// An offer and what it lacks, as it is printed.
fn looked_at((agent, offer, at): &LastOffer<'_>, lacks: &[Lack]) -> Value {
    let lacks: Vec<Value> = lacks
        .iter()
        .map(|lack| json!({ "what": lack.what, "missing": lack.missing }))
        .collect();
    json!({ "agentId": agent, "host": offer.hostname, "at": at, "lacks": lacks })
}

/// What offers lack, a line for each thing.
fn told(lacks: &Lacks) -> Vec<String> {
    let lines = lacks.iter().map(|(what, (count, least))| {
        let short = least.map_or_else(String::new, |least| {
            format!(" short by {} at least", (least * 1000.0).round() / 1000.0)
        });
        let agents = if *count == 1 { "agent" } else { "agents" };
        format!("{what}{short} on {count} {agents}")
    });
    lines.collect()
}
