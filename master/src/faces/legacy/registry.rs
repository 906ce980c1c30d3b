//! `/registrar(1)/registry`: what the registry keeps, as Mesos' registry is written. It is read from the store, so that it is what a
//! new leader would find; the core is not asked.

use std::sync::Arc;

use http::StatusCode;
use tepui_master_core::{AdmittedAgent, Drain, Maintenance, Registry, UnreachableAgent};
use tepui_model::{AgentId, Time};
use tepui_proto::json::write;
use tepui_proto::mesos::{self, maintenance};

use super::super::Face;
use super::super::asked::{Asked, Response, text};
use super::super::operator::messages;
use super::super::pieces::{self, Tag};
use super::json::{self, Object};
use super::leading;
use crate::reign::{Reign, registry_of};

/// `/registrar(1)/registry`
pub(crate) async fn registry(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match leading(&face, &asked) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    let tag = Tag::of_store(&reign, face.metrics.state_store.count());
    match registry_of(&reign, face.config.registry_fetch_timeout).await {
        Ok(registry) => pieces::tagged(&asked, tag, |pieces| {
            json::object(pieces.text(), |object| members(&reign, &registry, object));
        }),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn members(reign: &Reign, registry: &Registry, object: &mut Object<'_>) {
    object.object("master", |object| {
        object.with("info", |out| write(&reign.master, out));
    });
    object.object("slaves", |object| {
        object.list("slaves", &registry.agents, admitted)
    });
    object.object("machines", |object| {
        object.list("machines", machines(&registry.maintenance), machine);
    });
    let schedule = &registry.maintenance.schedule;
    let schedules = (!schedule.windows.is_empty()).then_some(schedule);
    object.list("schedules", schedules, write);
    object.list("weights", &registry.weights, |(role, weight), out| {
        json::object(out, |object| {
            object.object("info", |object| {
                object.double("weight", *weight);
                object.string("role", role.as_str());
            });
        });
    });
    object.object("unreachable", |object| {
        object.list("slaves", &registry.unreachable, unreachable);
    });
    object.object("gone", |object| {
        object.list("slaves", &registry.gone, |(id, since), out| {
            json::object(out, |object| known_since(object, id, *since));
        });
    });
    object.list("minimum_capabilities", needed(registry), |name, out| {
        json::object(out, |object| object.string("capability", name));
    });
    let quotas = registry
        .quotas
        .iter()
        .map(|(role, quota)| messages::quota_config(role, quota));
    object.list("quota_configs", quotas, |quota, out| write(&quota, out));
}

fn admitted(agent: &AdmittedAgent, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.with("info", |out| write(&agent.info, out));
        orders(object, agent.drain.as_ref(), agent.deactivated);
    });
}

fn unreachable(agent: &UnreachableAgent, out: &mut Vec<u8>) {
    json::object(out, |object| {
        known_since(object, &agent.id, agent.since);
        orders(object, agent.drain.as_ref(), agent.deactivated);
    });
}

/// What operators have ordered about an agent.
fn orders(object: &mut Object<'_>, drain: Option<&Drain>, deactivated: bool) {
    if let Some(drain) = drain {
        object.with("drain_info", |out| write(&drain.info(), out));
    }
    object.boolean("deactivated", deactivated);
}

fn known_since(object: &mut Object<'_>, id: &AgentId, since: Time) {
    object.object("id", |object| object.string("value", id.as_str()));
    object.object("timestamp", |object| {
        object.integer("nanoseconds", since.as_nanos());
    });
}

/// The machines of the schedule, each with its window: down, or draining.
fn machines(
    known: &Maintenance,
) -> impl Iterator<Item = (&mesos::MachineId, &maintenance::Window, bool)> {
    known.schedule.windows.iter().flat_map(move |window| {
        let of_window = window.machine_ids.iter();
        of_window.map(move |id| (id, window, known.down.contains(id)))
    })
}

fn machine((id, window, down): (&mesos::MachineId, &maintenance::Window, bool), out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.object("info", |object| {
            object.with("id", |out| write(id, out));
            object.string("mode", if down { "DOWN" } else { "DRAINING" });
            object.with("unavailability", |out| write(&window.unavailability, out));
        });
    });
}

/// What a master must know that reads this registry, in Mesos' order.
fn needed(registry: &Registry) -> Vec<&'static str> {
    let mut drains = registry
        .agents
        .iter()
        .map(|agent| (agent.deactivated, &agent.drain))
        .chain(
            registry
                .unreachable
                .iter()
                .map(|agent| (agent.deactivated, &agent.drain)),
        );
    let draining = drains.any(|(deactivated, drain)| deactivated || drain.is_some());
    let quota = !registry.quotas.is_empty();
    [(draining, "AGENT_DRAINING"), (quota, "QUOTA_V2")]
        .into_iter()
        .filter_map(|(needed, name)| needed.then_some(name))
        .collect()
}
