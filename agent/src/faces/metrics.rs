//! `/metrics/snapshot` with Mesos' names, and `/metrics` for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tepui_agent_core::Phase;
use tepui_model::TaskState;
use tepui_proto::mesos::v1::Resource;

use super::Face;
use super::asked::{Response, typed};
use super::state::used;
use crate::resources::memory_bytes;

/// Every metric, by Mesos' name.
pub(super) fn values(face: &Face) -> BTreeMap<String, f64> {
    let view = face.view.read();
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: f64| {
        all.insert(name.to_owned(), value);
    };
    for name in ["cpus", "gpus", "mem", "disk"] {
        let sum = |resources: &mut dyn Iterator<Item = &Resource>, revocable: bool| -> f64 {
            resources
                .filter(|resource| resource.name == name)
                .filter(|resource| resource.revocable.is_some() == revocable)
                .filter_map(|resource| resource.scalar.as_ref())
                // From 0 on: the sum of nothing is -0.
                .fold(0.0, |sum, scalar| sum + scalar.value)
        };
        let lent = view.agent.as_ref().map(|agent| &agent.oversubscribed);
        for (kind, total, revocable) in [
            (name.to_owned(), super::state::total(face, &view), false),
            (
                format!("{name}_revocable"),
                lent.map_or_else(|| Vec::new().into(), Arc::clone),
                true,
            ),
        ] {
            let total = sum(&mut total.iter(), revocable);
            let in_use = sum(&mut used(view.frameworks.values()), revocable);
            set(&format!("slave/{kind}_total"), total);
            set(&format!("slave/{kind}_used"), in_use);
            set(
                &format!("slave/{kind}_percent"),
                if total > 0.0 { in_use / total } else { 0.0 },
            );
        }
    }
    let executors = || {
        view.frameworks
            .values()
            .flat_map(|framework| framework.executors.values())
    };
    let tasks = |state: TaskState| {
        executors()
            .flat_map(|executor| executor.tasks.values())
            .filter(|task| task.state == state)
            .count() as f64
    };
    set("slave/tasks_staging", tasks(TaskState::Staging));
    set("slave/tasks_starting", tasks(TaskState::Starting));
    set("slave/tasks_running", tasks(TaskState::Running));
    set("slave/tasks_killing", tasks(TaskState::Killing));
    let counts = &view.counts;
    for (name, count) in [
        ("finished", counts.finished),
        ("failed", counts.failed),
        ("killed", counts.killed),
        ("lost", counts.lost),
        ("gone", counts.gone),
        ("error", counts.error),
    ] {
        set(&format!("slave/tasks_{name}"), count as f64);
    }
    let phase = |phase: Phase| {
        executors()
            .filter(|executor| executor.state.phase == phase)
            .count() as f64
    };
    set("slave/executors_registering", phase(Phase::Registering));
    set("slave/executors_running", phase(Phase::Running));
    set("slave/executors_terminating", phase(Phase::Terminating));
    set(
        "slave/executors_terminated",
        counts.executors_terminated as f64,
    );
    set(
        "slave/executors_preempted",
        counts.executors_preempted as f64,
    );
    set("slave/frameworks_active", view.frameworks.len() as f64);
    let registered = view.agent.as_ref().is_some_and(|agent| agent.registered);
    set("slave/registered", f64::from(u8::from(registered)));
    set(
        "slave/uptime_secs",
        face.clock.now().since(face.clock.then()).as_secs_f64(),
    );
    set("slave/recovery_errors", 0.0);
    set("slave/container_launch_errors", counts.launch_errors as f64);
    drop(view);
    let (kept, launched) = face.nested.counts();
    set("containerizer/nested_containers", kept as f64);
    set("containerizer/nested_containers_launched", launched as f64);
    let external = &face.external_volumes;
    let docker = (external.docker.mounted(), external.docker.failed());
    set("containerizer/docker_volumes_mounted", docker.0 as f64);
    set("containerizer/docker_volume_errors", docker.1 as f64);
    let csi = (external.csi.mounted(), external.csi.failed());
    set("containerizer/csi_volumes_mounted", csi.0 as f64);
    set("containerizer/csi_volume_errors", csi.1 as f64);
    for (plugin, calls) in external.csi.calls() {
        let mut set = |name: &str, value: u64| {
            set(
                &format!("csi_plugins/{plugin}/csi_plugin/rpcs_{name}"),
                value as f64,
            );
        };
        set("pending", calls.pending);
        set("finished", calls.finished);
        set("failed", calls.failed);
    }
    for (name, value) in face.fetcher.metrics() {
        set(name, value);
    }
    system(&mut set);
    all
}

fn system(set: &mut impl FnMut(&str, f64)) {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    set("system/cpus_total", cpus as f64);
    let (total, free) = memory_bytes();
    set("system/mem_total_bytes", total as f64);
    set("system/mem_free_bytes", free as f64);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    for (name, value) in ["1min", "5min", "15min"].iter().zip(load.split(' ')) {
        set(&format!("system/load_{name}"), value.parse().unwrap_or(0.0));
    }
}

/// `/metrics/snapshot`.
pub(super) fn snapshot(face: &Face) -> Value {
    json!(values(face))
}

/// Counters never fall; everything else is a gauge.
fn is_counter(name: &str) -> bool {
    const GAUGES: [&str; 4] = [
        "slave/tasks_staging",
        "slave/tasks_starting",
        "slave/tasks_running",
        "slave/tasks_killing",
    ];
    (name.starts_with("slave/tasks_") && !GAUGES.contains(&name))
        || name.starts_with("containerizer/fetcher/task_")
        || name.ends_with("_errors")
        || name.ends_with("_launched")
        || matches!(
            name,
            "slave/executors_terminated" | "slave/executors_preempted"
        )
}

/// `/metrics`.
pub(super) fn prometheus(face: &Face) -> Response {
    let mut out = String::new();
    for (name, value) in values(face) {
        let kind = if is_counter(&name) {
            "counter"
        } else {
            "gauge"
        };
        let suffix = if is_counter(&name) { "_total" } else { "" };
        let name = name
            .replacen("slave/", "tepui_agent_", 1)
            .replacen("system/", "tepui_system_", 1)
            .replacen("containerizer/fetcher/", "tepui_agent_fetcher_", 1)
            .replacen("containerizer/", "tepui_agent_", 1);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# TYPE {name}{suffix} {kind}\n{name}{suffix} {value}");
    }
    let subscribed = face.executors.subscribed();
    let _ = writeln!(
        out,
        "# TYPE tepui_agent_executor_streams gauge\ntepui_agent_executor_streams {subscribed}"
    );
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        out,
        "# TYPE tepui_build_info gauge\ntepui_build_info{{version=\"{version}\"}} 1"
    );
    typed(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        out,
    )
}
