//! The objects of the legacy endpoints: TASK, SLAVE, FW and their parts, key by key as Mesos writes them.

use tepui_master_core::{
    AgentSnapshot, ExecutorSnapshot, FrameworkSnapshot, OfferSnapshot, TaskSnapshot,
};
use tepui_model::Time;
use tepui_proto::json::Json;
use tepui_proto::mesos::{self, framework_info, resource};

use super::json::{self, Object};
use super::resources::{allocated_to, attributes, reserved_for};
use crate::view::{Amounts, to_proto};

/// Everything that Mesos calls the default role.
const STAR: &str = "*";

fn message(message: &impl Json, out: &mut Vec<u8>) {
    tepui_proto::json::write(message, out);
}

fn labels(object: &mut Object<'_>, labels: Option<&mesos::Labels>) {
    if let Some(labels) = labels {
        object.list("labels", &labels.labels, message);
    }
}

/// The member `domain`, if there is one.
pub(crate) fn domain(object: &mut Object<'_>, domain: Option<&mesos::DomainInfo>) {
    if let Some(domain) = domain {
        object.with("domain", |out| message(domain, out));
    }
}

/// The name of a task's state.
pub(crate) fn state_name(state: i32) -> &'static str {
    mesos::TaskState::try_from(state).map_or("TASK_UNKNOWN", |state| state.as_str_name())
}

/// One TASK.
pub(crate) fn task(snapshot: &TaskSnapshot, out: &mut Vec<u8>) {
    let task = snapshot.facts.task();
    json::object(out, |object| {
        object.string("id", &task.task_id.value);
        object.string("name", &task.name);
        object.string("framework_id", &task.framework_id.value);
        object.string(
            "executor_id",
            task.executor_id.as_ref().map_or("", |id| &id.value),
        );
        object.string("slave_id", &task.agent_id.value);
        object.string("state", snapshot.state.name());
        object.with("resources", |out| Amounts::of(&task.resources).write(out));
        if !task.limits.is_empty() {
            object.object("limits", |object| {
                for (name, limit) in &task.limits {
                    object.with(name, |out| match limit.value {
                        value if value.is_infinite() => out.extend_from_slice(b"\"Infinity\""),
                        value => json::double(value, out),
                    });
                }
            });
        }
        object.string(
            "role",
            task.resources.iter().find_map(allocated_to).unwrap_or(STAR),
        );
        object.list("statuses", &snapshot.statuses, |status, out| {
            self::status(&status.get(&snapshot.facts), out)
        });
        if let Some(user) = &task.user {
            object.string("user", user);
        }
        labels(object, task.labels.as_ref());
        if let Some(discovery) = &task.discovery {
            object.with("discovery", |out| message(discovery, out));
        }
        if let Some(container) = &task.container {
            object.with("container", |out| message(container, out));
        }
        if let Some(check) = &task.health_check {
            object.with("health_check", |out| message(check, out));
        }
    });
}

fn status(status: &mesos::TaskStatus, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.string("state", state_name(status.state));
        object.double("timestamp", status.timestamp.unwrap_or_default());
        labels(object, status.labels.as_ref());
        if let Some(container) = &status.container_status {
            object.with("container_status", |out| container_status(container, out));
        }
        if let Some(healthy) = status.healthy {
            object.boolean("healthy", healthy);
        }
    });
}

fn container_status(status: &mesos::ContainerStatus, out: &mut Vec<u8>) {
    json::object(out, |object| {
        if let Some(id) = &status.container_id {
            object.with("container_id", |out| message(id, out));
        }
        if !status.network_infos.is_empty() {
            object.list("network_infos", &status.network_infos, |network, out| {
                json::object(out, |object| {
                    if !network.groups.is_empty() {
                        object.strings("groups", &network.groups);
                    }
                    labels(object, network.labels.as_ref());
                    if !network.ip_addresses.is_empty() {
                        object.list("ip_addresses", &network.ip_addresses, |address, out| {
                            message(address, out)
                        });
                    }
                    if let Some(name) = &network.name {
                        object.string("name", name);
                    }
                    if !network.port_mappings.is_empty() {
                        object.list("port_mappings", &network.port_mappings, |mapping, out| {
                            message(mapping, out)
                        });
                    }
                });
            });
        }
        if let Some(info) = &status.cgroup_info {
            object.with("cgroup_info", |out| message(info, out));
        }
    });
}

/// What the legacy endpoints call an agent's pid.
pub(crate) fn agent_pid(agent: &AgentSnapshot) -> String {
    let ip = agent.peer.parse::<std::net::SocketAddr>().map_or_else(
        |_| agent.info.hostname.clone(),
        |peer| peer.ip().to_string(),
    );
    format!("slave(1)@{ip}:{}", agent.info.port.unwrap_or(5051))
}

/// The members of a SLAVE.
pub(crate) fn agent_members(agent: &AgentSnapshot, object: &mut Object<'_>) {
    let (total, used, offered) = (
        to_proto(&agent.total),
        to_proto(&agent.allocated),
        to_proto(&agent.offered),
    );
    object.string("id", agent.id.as_str());
    object.string("hostname", &agent.info.hostname);
    object.integer("port", agent.info.port.unwrap_or(5051).into());
    object.with("attributes", |out| attributes(&agent.info.attributes, out));
    domain(object, agent.info.domain.as_ref());
    object.string("pid", &agent_pid(agent));
    object.double("registered_time", agent.registered_at.as_secs_f64());
    if let Some(time) = agent.reregistered_at {
        object.double("reregistered_time", time.as_secs_f64());
    }
    object.with("resources", |out| Amounts::of(&total).write(out));
    object.with("used_resources", |out| Amounts::of(&used).write(out));
    object.with("offered_resources", |out| Amounts::of(&offered).write(out));
    object.object("reserved_resources", |object| {
        for (role, resources) in by_role(&total) {
            object.with(role, |out| Amounts::of(resources).write(out));
        }
    });
    let unreserved = total
        .iter()
        .filter(|resource| reserved_for(resource).is_none());
    object.with("unreserved_resources", |out| {
        Amounts::of(unreserved).write(out)
    });
    object.boolean("active", agent.active());
    object.boolean("deactivated", agent.deactivated);
    object.string("version", &agent.version);
    object.strings(
        "capabilities",
        agent
            .capabilities
            .iter()
            .map(|capability| capability.r#type().as_str_name()),
    );
    if let Some(drain) = &agent.drain {
        object.with("drain_info", |out| message(drain, out));
    }
    if let Some(started) = agent.drain_started_at {
        object.double(
            "estimated_drain_start_time_seconds",
            started.as_secs_f64().floor(),
        );
    }
}

/// The members that only `/slaves` adds.
pub(crate) fn agent_full_members(agent: &AgentSnapshot, object: &mut Object<'_>) {
    let total = to_proto(&agent.total);
    object.object("reserved_resources_full", |object| {
        for (role, resources) in by_role(&total) {
            object.list(role, resources, full);
        }
    });
    let unreserved = total
        .iter()
        .filter(|resource| reserved_for(resource).is_none());
    object.list("unreserved_resources_full", unreserved, full);
    object.list("used_resources_full", &to_proto(&agent.allocated), full);
    object.list("offered_resources_full", &to_proto(&agent.offered), full);
}

fn by_role(
    resources: &[mesos::Resource],
) -> std::collections::BTreeMap<&str, Vec<&mesos::Resource>> {
    let mut roles = std::collections::BTreeMap::<&str, Vec<&mesos::Resource>>::new();
    for resource in resources {
        if let Some(role) = reserved_for(resource) {
            roles.entry(role).or_default().push(resource);
        }
    }
    roles
}

/// One RESFULL: both the old and the new way to say for whom it is reserved.
fn full(resource: &mesos::Resource, out: &mut Vec<u8>) {
    let mut resource = resource.clone();
    let role = reserved_for(&resource).unwrap_or(STAR).to_owned();
    resource.role = Some(role);
    if let [reservation] = resource.reservations.as_slice()
        && reservation.r#type() == resource::reservation_info::Type::Dynamic
    {
        resource.reservation = Some(Box::new(resource::ReservationInfo {
            r#type: None,
            role: None,
            ..reservation.clone()
        }));
    }
    message(&resource, out);
}

/// One of `recovered_slaves`.
pub(crate) fn recovered_agent(info: &mesos::AgentInfo, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.string("id", info.id.as_ref().map_or("", |id| &id.value));
        object.string("hostname", &info.hostname);
        object.integer("port", info.port.unwrap_or(5051).into());
        object.with("attributes", |out| attributes(&info.attributes, out));
        domain(object, info.domain.as_ref());
    });
}

/// The members of a FWSUM.
pub(crate) fn framework_summary(
    framework: &FrameworkSnapshot,
    amounts: &(Amounts, Amounts),
    object: &mut Object<'_>,
) {
    let info = &framework.info;
    object.string("id", framework.id.as_str());
    object.string("name", &info.name);
    object.with("used_resources", |out| amounts.0.write(out));
    object.with("offered_resources", |out| amounts.1.write(out));
    object.strings(
        "capabilities",
        info.capabilities
            .iter()
            .map(|capability| capability.r#type().as_str_name()),
    );
    object.string("hostname", info.hostname.as_deref().unwrap_or_default());
    object.string("webui_url", info.webui_url.as_deref().unwrap_or_default());
    object.boolean("active", framework.active);
    object.boolean("connected", framework.connected);
    object.boolean("recovered", framework.recovered);
}

/// The roles that a framework subscribes to.
pub(crate) fn roles(info: &mesos::FrameworkInfo) -> Vec<String> {
    if multi_role(info) {
        info.roles.clone()
    } else {
        vec![info.role.clone().unwrap_or_else(|| STAR.to_owned())]
    }
}

fn multi_role(info: &mesos::FrameworkInfo) -> bool {
    info.capabilities
        .iter()
        .any(|capability| capability.r#type() == framework_info::capability::Type::MultiRole)
}

/// The members of a FW between its summary and its lists.
pub(crate) fn framework_members(
    framework: &FrameworkSnapshot,
    amounts: &(Amounts, Amounts),
    object: &mut Object<'_>,
) {
    let info = &framework.info;
    framework_summary(framework, amounts, object);
    object.string("user", &info.user);
    object.double(
        "failover_timeout",
        info.failover_timeout.unwrap_or_default(),
    );
    object.boolean("checkpoint", info.checkpoint.unwrap_or_default());
    object.double("registered_time", framework.registered_at.as_secs_f64());
    object.double(
        "unregistered_time",
        framework.unregistered_at.map_or(0.0, Time::as_secs_f64),
    );
    if let Some(principal) = &info.principal {
        object.string("principal", principal);
    }
    object.with("resources", |out| {
        let mut both = amounts.0.clone();
        both.add_all(&amounts.1);
        both.write(out);
    });
    if framework.reregistered_at != framework.registered_at {
        object.double("reregistered_time", framework.reregistered_at.as_secs_f64());
    }
    if multi_role(info) {
        object.strings("roles", &info.roles);
    } else {
        object.string("role", info.role.as_deref().unwrap_or(STAR));
    }
}

/// The members of a FW behind its lists.
pub(crate) fn framework_end(framework: &FrameworkSnapshot, object: &mut Object<'_>) {
    labels(object, framework.info.labels.as_ref());
    if let Some(constraints) = &framework.offer_constraints {
        object.with("offer_constraints", |out| message(&**constraints, out));
    }
}

/// One offer of a FW.
pub(crate) fn offer(master: &str, offer: &OfferSnapshot, out: &mut Vec<u8>) {
    json::object(out, |object| {
        object.string("id", &offer_id(master, offer));
        object.string("framework_id", offer.framework.as_str());
        object.object("allocation_info", |object| {
            object.string("role", offer.role.as_str())
        });
        object.string("slave_id", offer.agent.as_str());
        object.with("resources", |out| {
            Amounts::of(&to_proto(&offer.resources)).write(out)
        });
    });
}

/// The id by which the framework knows it.
pub(crate) fn offer_id(master: &str, offer: &OfferSnapshot) -> String {
    format!("{master}-O{}", offer.key.0)
}

/// One executor of a FW.
pub(crate) fn executor(executor: &ExecutorSnapshot, out: &mut Vec<u8>) {
    let info = &executor.info;
    json::object(out, |object| {
        object.string("executor_id", &info.executor_id.value);
        object.string("name", info.name.as_deref().unwrap_or_default());
        object.string("framework_id", executor.framework.as_str());
        object.with("command", |out| command(info.command.as_ref(), out));
        object.with("resources", |out| Amounts::of(&info.resources).write(out));
        if let Some(role) = info.resources.iter().find_map(allocated_to) {
            object.string("role", role);
        }
        labels(object, info.labels.as_ref());
        if info.r#type.is_some() {
            object.string("type", info.r#type().as_str_name());
        }
        object.string("slave_id", executor.agent.as_str());
    });
}

fn command(command: Option<&mesos::CommandInfo>, out: &mut Vec<u8>) {
    json::object(out, |object| {
        let Some(command) = command else { return };
        if let Some(shell) = command.shell {
            object.boolean("shell", shell);
        }
        if let Some(value) = &command.value {
            object.string("value", value);
        }
        object.strings("argv", &command.arguments);
        if let Some(environment) = &command.environment {
            object.with("environment", |out| message(environment, out));
        }
        object.list("uris", &command.uris, |uri, out| {
            json::object(out, |object| {
                object.string("value", &uri.value);
                object.boolean("executable", uri.executable.unwrap_or_default());
            });
        });
    });
}
