//! What containers use: `/monitor/statistics`, `/containers`, GET_CONTAINERS.

use http::StatusCode;
use serde_json::{Value, json};
use tepui_agent_core::ExecutorState;
use tepui_proto::mesos::v1::{ContainerStatus, NetworkInfo, ResourceStatistics, network_info};

use super::Face;
use super::asked::{Asked, Response, text};
use super::json::message;
use crate::containerizer::ContainerId;

/// What a container uses, as far as this machine tells.
pub(super) fn statistics(
    face: &Face,
    state: &ExecutorState,
    cpus: f64,
) -> Option<ResourceStatistics> {
    let id = ContainerId::new(state.container.to_string()).ok()?;
    let usage = face.containerizer.usage(&id).ok()?;
    let seconds = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e9);
    let small =
        |number: Option<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Some(ResourceStatistics {
        timestamp: face.clock.now().as_secs_f64(),
        processes: small(usage.processes),
        threads: small(usage.threads),
        cpus_user_time_secs: seconds(usage.cpu_user_ns),
        cpus_system_time_secs: seconds(usage.cpu_system_ns),
        cpus_soft_limit: Some(cpus),
        cpus_nr_periods: small(usage.cpu_periods),
        cpus_nr_throttled: small(usage.cpu_throttled_periods),
        cpus_throttled_time_secs: seconds(usage.cpu_throttled_ns),
        mem_total_bytes: usage.memory_total_bytes,
        mem_rss_bytes: usage.memory_rss_bytes,
        mem_anon_bytes: usage.memory_rss_bytes,
        mem_cache_bytes: usage.memory_cache_bytes,
        mem_file_bytes: usage.memory_cache_bytes,
        mem_mapped_file_bytes: usage.memory_mapped_file_bytes,
        mem_limit_bytes: usage.memory_limit_bytes,
        ..Default::default()
    })
}

/// Where a container is.
pub(super) fn status(face: &Face, state: &ExecutorState) -> ContainerStatus {
    let ip = face.endpoint.rsplit_once(':').map_or("", |(ip, _)| ip);
    let mut networks = face.networks.infos(&state.container.to_string());
    if networks.is_empty() {
        networks.push(NetworkInfo {
            ip_addresses: vec![network_info::IpAddress {
                ip_address: Some(ip.to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        });
    }
    ContainerStatus {
        container_id: Some(tepui_proto::mesos::v1::ContainerId {
            value: state.container.to_string(),
            parent: None,
        }),
        network_infos: networks,
        executor_pid: state.pid,
        ..Default::default()
    }
}

/// A live executor and the cpus that its container has.
pub(super) fn live(face: &Face) -> Vec<(std::sync::Arc<ExecutorState>, f64)> {
    let view = face.view.read();
    let executors = view
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values());
    let cpus = |resources: &[tepui_proto::mesos::v1::Resource]| -> f64 {
        resources
            .iter()
            .filter(|resource| resource.name == "cpus")
            .filter_map(|resource| resource.scalar.as_ref())
            .map(|scalar| scalar.value)
            .sum()
    };
    executors
        .map(|executor| {
            let tasks = executor
                .tasks
                .values()
                .filter(|task| !task.state.is_terminal());
            let of_tasks: f64 = tasks.map(|task| cpus(&task.info.resources)).sum();
            (
                std::sync::Arc::clone(&executor.state),
                cpus(&executor.state.info.resources) + of_tasks,
            )
        })
        .collect()
}

fn named(state: &ExecutorState) -> Value {
    json!({
        "framework_id": state.framework_id.as_str(),
        "executor_id": state.id.as_str(),
        "executor_name": state.info.name(),
        "source": state.info.source(),
    })
}

/// `/monitor/statistics`.
pub(super) fn all(face: &Face) -> Value {
    live(face)
        .iter()
        .filter_map(|(state, cpus)| {
            let mut out = named(state);
            out["statistics"] = message(&statistics(face, state, *cpus)?);
            Some(out)
        })
        .collect()
}

/// `/containers`.
pub(super) fn containers(face: &Face, asked: &Asked) -> Response {
    let [container, framework, executor] =
        ["container_id", "framework_id", "executor_id"].map(|name| asked.parameter(name));
    let legal = matches!(
        (container, framework, executor),
        (_, None, None) | (None, Some(_), _)
    );
    if !legal {
        return text(
            StatusCode::BAD_REQUEST,
            "Expecting 'container_id', or 'framework_id', or 'framework_id' and 'executor_id', and no other combination",
        );
    }
    let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
    let shown = live(face)
        .iter()
        .filter(|(state, _)| is(container, &state.container.to_string()))
        .filter(|(state, _)| {
            is(framework, state.framework_id.as_str()) && is(executor, state.id.as_str())
        })
        .map(|(state, cpus)| {
            let mut out = named(state);
            out["container_id"] = json!(state.container.to_string());
            out["status"] = message(&status(face, state));
            if let Some(statistics) = statistics(face, state, *cpus) {
                out["statistics"] = message(&statistics);
            }
            out
        })
        .collect();
    asked.json(&shown)
}
