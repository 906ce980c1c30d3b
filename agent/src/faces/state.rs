//! `/state`, as Mesos' agents show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tepui_agent_core::TaskSnapshot;
use tepui_agent_core::view::{ExecutorView, FrameworkView, View};
use tepui_proto::mesos::v1::framework_info::capability::Type as Capability;
use tepui_proto::mesos::v1::{FrameworkInfo, Resource};

use super::json::{allocation_role, attributes, flags, labels, message, resources, role_of, task};
use super::{Face, MESOS_VERSION};

/// The capabilities that the agent has, by name.
pub(super) const CAPABILITIES: [&str; 8] = [
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
];

pub(super) fn state(face: &Face) -> Value {
    let view = face.view.read();
    let agent = face.agent.read().clone();
    let all = &*total(face, &view);
    let (reserved, unreserved): (Vec<_>, Vec<_>) =
        all.iter().partition(|resource| role_of(resource) != "*");
    let in_use: Vec<Resource> = used(view.frameworks.values()).cloned().collect();
    let (reserved_used, unreserved_used): (Vec<_>, Vec<_>) =
        in_use.iter().partition(|resource| role_of(resource) != "*");
    let by_role = |resources: &[&Resource]| {
        let mut roles: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
        for resource in resources {
            roles
                .entry(role_of(resource).to_owned())
                .or_default()
                .push(Resource::clone(resource));
        }
        roles
    };
    let sums = |roles: &BTreeMap<String, Vec<Resource>>| -> Value {
        Value::Object(
            roles
                .iter()
                .map(|(role, all)| (role.clone(), resources(all)))
                .collect(),
        )
    };
    let reserved = by_role(&reserved);
    let mut out = json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": face.clock.then().as_secs_f64(),
        "build_user": "",
        "start_time": face.clock.then().as_secs_f64(),
        "id": agent,
        "pid": format!("slave(1)@{}", face.endpoint),
        "hostname": face.config.hostname,
        "capabilities": CAPABILITIES,
        "resources": resources(all),
        "reserved_resources": sums(&reserved),
        "unreserved_resources": resources(unreserved.iter().copied()),
        "reserved_resources_full": reserved.iter().map(|(role, all)| (role.clone(), full(all.iter()))).collect::<serde_json::Map<_, _>>(),
        "unreserved_resources_full": full(unreserved.iter().copied()),
        "reserved_resources_allocated": sums(&by_role(&reserved_used)),
        "unreserved_resources_allocated": resources(unreserved_used),
        "resource_providers": [],
        "attributes": attributes(&face.config.attributes),
        "flags": flags(face)["flags"],
    });
    if let Some(agent) = &view.agent {
        if let Some(master) = &agent.master {
            out["master_hostname"] = json!(master.hostname());
        }
        if let Some(drain) = &agent.drain {
            out["drain_config"] = message(drain);
        }
        if let Some(since) = agent.drain_since {
            out["estimated_drain_start_time_seconds"] = json!(since.as_secs_f64());
        }
    }
    out["frameworks"] = view
        .frameworks
        .values()
        .map(|known| framework(face, &agent, known))
        .collect();
    out["completed_frameworks"] = view
        .completed
        .iter()
        .map(|known| framework(face, &agent, known))
        .collect();
    out
}

/// All that the agent has, operations on it included.
pub(super) fn total(face: &Face, view: &View) -> Arc<[Resource]> {
    match &view.agent {
        Some(agent) => Arc::clone(&agent.total),
        None => face.config.resources.as_slice().into(),
    }
}

/// What unfinished tasks and live executors use.
pub(super) fn used<'a>(
    frameworks: impl Iterator<Item = &'a FrameworkView>,
) -> impl Iterator<Item = &'a Resource> {
    frameworks
        .flat_map(|framework| framework.executors.values())
        .flat_map(executor_resources)
}

fn executor_resources(executor: &ExecutorView) -> impl Iterator<Item = &Resource> {
    let tasks = executor
        .tasks
        .values()
        .filter(|task| !task.state.is_terminal());
    executor
        .state
        .info
        .resources
        .iter()
        .chain(tasks.flat_map(|task| task.info.resources.iter()))
}

fn full<'a>(all: impl Iterator<Item = &'a Resource>) -> Value {
    all.map(|resource| {
        let mut out = message(resource);
        out["role"] = json!(role_of(resource));
        out
    })
    .collect()
}

fn has(info: &FrameworkInfo, wanted: Capability) -> bool {
    info.capabilities
        .iter()
        .any(|capability| capability.r#type() == wanted)
}

fn framework(face: &Face, agent: &str, framework: &FrameworkView) -> Value {
    let info = &framework.info;
    let mut out = json!({
        "id": framework.id.as_str(),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(),
        "hostname": info.hostname(),
    });
    if let Some(principal) = &info.principal {
        out["principal"] = json!(principal);
    }
    if has(info, Capability::MultiRole) {
        out["roles"] = json!(info.roles);
    } else {
        out["role"] = json!(info.role.as_deref().unwrap_or("*"));
    }
    out["executors"] = framework
        .executors
        .values()
        .map(|known| executor(face, agent, known))
        .collect();
    out["completed_executors"] = framework
        .completed
        .iter()
        .map(|known| executor(face, agent, known))
        .collect();
    out
}

/// `AEX`.
fn executor(face: &Face, agent: &str, executor: &ExecutorView) -> Value {
    let state = &executor.state;
    let container = state.container.to_string();
    let directory = face.layout.sandbox(
        agent,
        state.framework_id.as_str(),
        state.id.as_str(),
        &container,
    );
    let in_use: Vec<Resource> = executor_resources(executor).cloned().collect();
    let mut out = json!({
        "id": state.id.as_str(),
        "name": state.info.name(),
        "source": state.info.source(),
        "container": container,
        "directory": directory.display().to_string(),
        "resources": resources(&in_use),
    });
    if let Some(role) = allocation_role(&in_use) {
        out["role"] = json!(role);
    }
    if let Some(all) = &state.info.labels {
        out["labels"] = labels(all);
    }
    if state.info.r#type.is_some() {
        out["type"] = json!(state.info.r#type().as_str_name());
    }
    let of = |wanted: fn(&TaskSnapshot) -> bool| -> Vec<Value> {
        executor
            .tasks
            .values()
            .filter(|task| wanted(task))
            .map(|snapshot| task(&snapshot.to_task()))
            .collect()
    };
    let is_queued = |task: &TaskSnapshot| task.queued && !task.command;
    let queued = executor
        .tasks
        .values()
        .filter(|task| is_queued(task))
        .map(queued_task);
    out["queued_tasks"] = queued.collect();
    out["tasks"] = of(|task| !task.state.is_terminal() && (task.command || !task.queued)).into();
    let mut completed = of(|task| task.state.is_terminal());
    completed.extend(
        executor
            .completed
            .iter()
            .map(|snapshot| task(&snapshot.to_task())),
    );
    out["completed_tasks"] = completed.into();
    out
}

fn queued_task(snapshot: &Arc<TaskSnapshot>) -> Value {
    let info = &snapshot.info;
    let mut out = json!({
        "id": info.task_id.value,
        "name": info.name,
        "slave_id": info.agent_id.value,
        "resources": resources(&info.resources),
        "role": allocation_role(&info.resources).unwrap_or("*"),
    });
    if let Some(command) = &info.command {
        out["command"] = message(command);
    }
    if let Some(executor) = &info.executor {
        out["executor_id"] = json!(executor.executor_id.value);
    }
    if let Some(discovery) = &info.discovery {
        out["discovery"] = message(discovery);
    }
    out
}
