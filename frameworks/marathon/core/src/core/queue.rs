//! `/v2/queue`: what waits to be launched, and why.

use serde_json::{Map, Value, json};
use tepui_proto::mesos::{Attribute, Offer, Resource};

use super::{AppState, Marathon, app_state::is_delayed};
use crate::{path::PathId, response::Response, timestamp::Timestamp};

impl Marathon {
    /// Every app with instances that are scheduled or launched without an answer.
    pub(super) fn queue(&self, last_unused_offers: bool) -> Response {
        let items = self.apps.iter().filter_map(|(id, state)| {
            let count = state.scheduled.len() + self.provisioned(state);
            (count > 0 && self.root.get(id).is_some())
                .then(|| self.item(state, count, last_unused_offers))
        });
        let items: Vec<Value> = items.collect();
        Response::json(200, &json!({ "queue": items }))
    }

    fn provisioned(&self, state: &AppState) -> usize {
        if state.tally.launching == 0 {
            return 0;
        }
        let instances = state
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key));
        instances
            .filter(|instance| instance.condition == crate::instance::Condition::Provisioned)
            .count()
    }

    fn item(&self, state: &AppState, count: usize, last_unused_offers: bool) -> Value {
        let stats = &state.offers;
        let delayed = is_delayed(state.delay, self.now);
        let left = state
            .delay
            .filter(|_| delayed)
            .map_or(0, |delay| delay.deadline().since(self.now).as_secs());
        let mut summary = Map::new();
        summary.insert("processedOffersCount".to_owned(), json!(stats.processed));
        summary.insert("unusedOffersCount".to_owned(), json!(stats.unused));
        for (key, at) in [
            ("lastUnusedOfferAt", stats.last_unused),
            ("lastUsedOfferAt", stats.last_used),
        ] {
            if let Some(at) = at {
                summary.insert(key.to_owned(), json!(at));
            }
        }
        summary.insert(
            "rejectSummaryLastOffers".to_owned(),
            stats.last_offers().json(),
        );
        summary.insert(
            "rejectSummaryLaunchAttempt".to_owned(),
            stats.attempt.json(),
        );
        let (kind, definition) = match crate::definition::pod::json(state.app()) {
            Some(pod) => ("pod", pod),
            None => ("app", json!(**state.app())),
        };
        let mut item = json!({
            kind: definition,
            "count": count,
            "role": state.app().role,
            "delay": { "timeLeftSeconds": left, "overdue": !delayed },
            "since": stats.since.unwrap_or_else(|| self.stamp()),
            "processedOffersSummary": summary,
        });
        if last_unused_offers {
            let offers = stats
                .unused_offers
                .values()
                .map(|(offer, reasons, at)| unused(offer, &reasons.names(), *at));
            item["lastUnusedOffers"] = Value::Array(offers.collect());
        }
        item
    }

    pub(super) fn reset_delay(&mut self, id: &PathId) -> Response {
        match self
            .apps
            .get_mut(id)
            .filter(|state| !state.scheduled.is_empty() || state.follows_agents())
        {
            None => Response::message(404, format!("Application {id} not found in tasks queue.")),
            Some(state) => {
                state.delay = None;
                if let Some(seats) = &mut state.seats {
                    seats.delays.clear();
                }
                self.touch(id, true);
                Response::empty(204)
            }
        }
    }
}

fn unused(offer: &Offer, reasons: &[&'static str], at: Timestamp) -> Value {
    json!({
        "offer": {
            "id": offer.id.value,
            "hostname": offer.hostname,
            "agentId": offer.agent_id.value,
            "resources": offer.resources.iter().map(resource).collect::<Vec<_>>(),
            "attributes": offer.attributes.iter().map(attribute).collect::<Vec<_>>(),
        },
        "reason": reasons,
        "timestamp": at,
    })
}

fn resource(resource: &Resource) -> Value {
    let role = resource
        .reservations
        .last()
        .and_then(|reservation| reservation.role.clone());
    let mut value = json!({ "name": resource.name, "role": role.unwrap_or_else(|| resource.role().to_owned()) });
    if let Some(scalar) = &resource.scalar {
        value["scalar"] = json!(scalar.value);
    }
    if let Some(ranges) = &resource.ranges {
        value["ranges"] = ranges
            .range
            .iter()
            .map(|range| json!({ "begin": range.begin, "end": range.end }))
            .collect();
    }
    if let Some(set) = &resource.set {
        value["set"] = json!(set.item);
    }
    value
}

fn attribute(attribute: &Attribute) -> Value {
    let mut value = json!({ "name": attribute.name });
    if let Some(text) = &attribute.text {
        value["text"] = json!(text.value);
    }
    if let Some(scalar) = &attribute.scalar {
        value["scalar"] = json!(scalar.value);
    }
    if let Some(ranges) = &attribute.ranges {
        value["ranges"] = ranges
            .range
            .iter()
            .map(|range| json!({ "begin": range.begin, "end": range.end }))
            .collect();
    }
    if let Some(set) = &attribute.set {
        value["set"] = json!(set.item);
    }
    value
}
