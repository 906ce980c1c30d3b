//! The objects of `/tepui/v1/events`: small, flat, and only what a page shows.

use tepui_master_core::{AgentSnapshot, FrameworkSnapshot, OfferSnapshot, TaskList, TaskSnapshot};
use tepui_model::Resources;
use tepui_model::resources::Name;
use tepui_proto::mesos;

use super::super::legacy::json::{self, Object};
use super::super::legacy::resources::attributes;
use super::super::legacy::shapes;
use crate::view::Amounts;

/// `[cpus, gpus, mem, disk]`, mem and disk in MiB.
fn amounts(object: &mut Object<'_>, key: &str, resources: &Resources) {
    let quantities = resources.quantities();
    object.list(
        key,
        [Name::Cpus, Name::Gpus, Name::Mem, Name::Disk],
        |name, out| json::double(quantities.get(&name).as_f64(), out),
    );
}

/// `{id, hostname, port, active, connected, deactivated, drain?: {state, since, grace?, mark_gone}, version, registered, total, used, offered,
/// attributes}`; times and the bound on grace periods in seconds.
pub(super) fn agent(agent: &AgentSnapshot, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.string("id", agent.id.as_str());
        object.string("hostname", &agent.info.hostname);
        object.integer("port", agent.info.port.unwrap_or(5051).into());
        object.boolean("active", agent.active());
        object.boolean("connected", agent.connected);
        object.boolean("deactivated", agent.deactivated);
        if let Some(drain) = &agent.drain {
            object.object("drain", |object| {
                object.string("state", drain.state().as_str_name());
                if let Some(since) = agent.drain_started_at {
                    object.double("since", since.as_secs_f64());
                }
                if let Some(grace) = &drain.config.max_grace_period {
                    object.double("grace", grace.nanoseconds as f64 / 1e9);
                }
                object.boolean("mark_gone", drain.config.mark_gone.unwrap_or_default());
            });
        }
        object.string("version", &agent.version);
        object.double(
            "registered",
            agent
                .reregistered_at
                .unwrap_or(agent.registered_at)
                .as_secs_f64(),
        );
        amounts(object, "total", &agent.total);
        amounts(object, "used", &agent.allocated);
        amounts(object, "offered", &agent.offered);
        object.with("attributes", |out| attributes(&agent.info.attributes, out));
    });
}

/// `{id, name, user, roles, active, connected, hostname, webui_url, principal?, registered, unregistered?}`
pub(super) fn framework(framework: &FrameworkSnapshot, out: &mut Vec<u8>) {
    let info = &framework.info;
    json::object(out, |object| {
        object.string("id", framework.id.as_str());
        object.string("name", &info.name);
        object.string("user", &info.user);
        object.strings("roles", shapes::roles(info));
        object.boolean("active", framework.active);
        object.boolean("connected", framework.connected);
        object.string("hostname", info.hostname.as_deref().unwrap_or_default());
        object.string("webui_url", info.webui_url.as_deref().unwrap_or_default());
        if let Some(principal) = &info.principal {
            object.string("principal", principal);
        }
        object.double("registered", framework.registered_at.as_secs_f64());
        if let Some(time) = framework.unregistered_at {
            object.double("unregistered", time.as_secs_f64());
        }
    });
}

/// `{key, id, name, framework, agent, executor?, list, state, role?, resources, ports?, started?, updated?, healthy?, message?, reason?}`;
/// `list` is `active`, `unreachable` or `completed`.
pub(super) fn task(snapshot: &TaskSnapshot, out: &mut Vec<u8>) {
    let task = snapshot.facts.task();
    let sum = Amounts::of(&task.resources);
    json::object(out, |object| {
        object.integer("key", i64::try_from(snapshot.key.0).unwrap_or(i64::MAX));
        object.string("id", &task.task_id.value);
        object.string("name", &task.name);
        object.string("framework", snapshot.facts.framework.as_str());
        object.string("agent", snapshot.facts.agent.as_str());
        if let Some(executor) = &task.executor_id {
            object.string("executor", &executor.value);
        }
        object.string(
            "list",
            match snapshot.list {
                TaskList::Active => "active",
                TaskList::Unreachable => "unreachable",
                TaskList::Completed => "completed",
            },
        );
        object.string("state", snapshot.state.name());
        if let Some(role) = task
            .resources
            .iter()
            .find_map(super::super::legacy::resources::allocated_to)
        {
            object.string("role", role);
        }
        object.list("resources", ["cpus", "gpus", "mem", "disk"], |name, out| {
            json::double(sum.scalar(name), out)
        });
        if let Some(ports) = sum.ranges.get("ports") {
            object.list(
                "ports",
                ports.iter().flat_map(|(begin, end)| *begin..=*end).take(64),
                |port, out| {
                    json::integer(i64::try_from(port).unwrap_or(i64::MAX), out);
                },
            );
        }
        let running = mesos::TaskState::TaskRunning as i32;
        if let Some(time) = snapshot
            .statuses
            .iter()
            .find(|status| status.state() == running)
            .and_then(|status| status.get(&snapshot.facts).timestamp)
        {
            object.double("started", time);
        }
        if let Some(status) = snapshot.last_status() {
            if let Some(time) = status.timestamp {
                object.double("updated", time);
            }
            if let Some(healthy) = status.healthy {
                object.boolean("healthy", healthy);
            }
            if let Some(message) = &status.message {
                object.string("message", message);
            }
            if status.reason.is_some() {
                object.string("reason", status.reason().as_str_name());
            }
        }
    });
}

/// `{key, id, framework, agent, role, resources, made}`
pub(super) fn offer(master: &str, offer: &OfferSnapshot, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.integer("key", i64::try_from(offer.key.0).unwrap_or(i64::MAX));
        object.string("id", &shapes::offer_id(master, offer));
        object.string("framework", offer.framework.as_str());
        object.string("agent", offer.agent.as_str());
        object.string("role", offer.role.as_str());
        amounts(object, "resources", &offer.resources);
        object.double("made", offer.made_at.as_secs_f64());
    });
}
