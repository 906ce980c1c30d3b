//! What containers use: `/monitor/statistics`, `/containers`, GET_CONTAINERS.

use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use tepui_agent_core::ExecutorState;
use tepui_model::ContainerId as CoreId;
use tepui_proto::json::Json;
use tepui_proto::mesos::v1::{ContainerStatus, NetworkInfo, ResourceStatistics, network_info};

use super::asked::{Asked, Response, text};
use super::{Face, block_io};
use crate::containerizer::{ContainerId, Usage};
use crate::networks::traffic;

/// A container as operators see it.
pub(super) struct Shown {
    pub(super) framework_id: Option<String>,
    pub(super) executor_id: Option<String>,
    pub(super) executor_name: Option<String>,
    source: Option<String>,
    pub(super) container: CoreId,
    pub(super) status: ContainerStatus,
    pub(super) statistics: Option<ResourceStatistics>,
    /// The cpus that it has, as far as that is known.
    cpus: Option<f64>,
    /// Its name in the runtime.
    runtime: Option<ContainerId>,
    /// Of an executor that the agent plays: containers of its tasks, which stand beside its own and count as its part.
    parts: Vec<ContainerId>,
    /// A process on its networks.
    on_networks: Option<u32>,
}

/// Fewer containers are measured by one thread.
const A_THREADS_WORTH: usize = 64;
/// At most so many threads measure for one request.
const THREADS: usize = 4;

/// Which containers are shown besides those of executors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Which {
    /// Those inside of others.
    pub(super) nested: bool,
    /// Those that operators have launched by themselves.
    pub(super) standalone: bool,
}

/// The id as a message.
pub(super) fn proto_id(id: &CoreId) -> tepui_proto::mesos::v1::ContainerId {
    tepui_proto::mesos::v1::ContainerId {
        value: id.value().to_owned(),
        parent: id.parent().map(|parent| Box::new(proto_id(parent))),
    }
}

/// The containers that are `wanted`, with what they use. Measuring many takes a while: it is done beside the threads that serve.
pub(super) async fn shown(
    face: &Arc<Face>,
    which: Which,
    wanted: impl Fn(&Shown) -> bool + Send + 'static,
) -> Vec<Shown> {
    let face = Arc::clone(face);
    let look = move || {
        let mut all = found(&face, which);
        all.retain(wanted);
        measure(&face, &mut all);
        all
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Fills in what they use. Most of it is waiting for the kernel to print numbers, which several threads do at once.
fn measure(face: &Face, all: &mut [Shown]) {
    let measure = |some: &mut [Shown]| {
        for shown in some {
            shown.statistics = used_by(face, shown);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get().min(THREADS));
    let share = all.len().div_ceil(threads).max(A_THREADS_WORTH);
    std::thread::scope(|scope| {
        let mut shares = all.chunks_mut(share);
        let own = shares.next();
        for some in shares {
            scope.spawn(|| measure(some));
        }
        own.into_iter().for_each(measure);
    });
}

/// Containers that are there.
fn found(face: &Face, which: Which) -> Vec<Shown> {
    let executors = live(face);
    let mut all = Vec::new();
    for (state, cpus) in &executors {
        let tasks = tasks_of(face, state);
        all.push(Shown {
            status: status(face, state),
            cpus: Some(*cpus),
            runtime: ContainerId::new(state.container.to_string()).ok(),
            parts: beside(face, state),
            // One that the agent plays is on none itself; its tasks are on them together.
            on_networks: state.pid.filter(|_| tasks.is_empty()).or_else(|| {
                tasks
                    .first()
                    .and_then(|task: &Shown| task.status.executor_pid)
            }),
            ..of_executor(state, state.container.clone())
        });
        if which.nested {
            all.extend(tasks);
        }
    }
    for (id, name, pid) in face.nested.running() {
        if !(which.nested && id.parent().is_some() || which.standalone && id.root() == &id) {
            continue;
        }
        let owner = executors
            .iter()
            .find(|(state, _)| state.container == *id.root());
        let mut shown = match owner {
            Some((state, _)) => of_executor(state, id.clone()),
            None => Shown {
                framework_id: None,
                executor_id: None,
                executor_name: None,
                source: None,
                container: id.clone(),
                status: ContainerStatus::default(),
                statistics: None,
                cpus: None,
                runtime: None,
                parts: Vec::new(),
                on_networks: None,
            },
        };
        shown.status = ContainerStatus {
            container_id: Some(proto_id(&id)),
            network_infos: networks_of(face, id.root()),
            executor_pid: Some(pid),
            ..ContainerStatus::default()
        };
        shown.on_networks = Some(pid);
        shown.runtime = Some(name);
        all.push(shown);
    }
    all
}

fn of_executor(state: &ExecutorState, container: CoreId) -> Shown {
    Shown {
        framework_id: Some(state.framework_id.as_str().to_owned()),
        executor_id: Some(state.id.as_str().to_owned()),
        executor_name: Some(state.info.name().to_owned()),
        source: Some(state.info.source().to_owned()),
        container,
        status: ContainerStatus::default(),
        statistics: None,
        cpus: None,
        runtime: None,
        parts: Vec::new(),
        on_networks: None,
    }
}

/// Containers of an executor's tasks that have cgroups of their own, beside the executor's.
fn beside(face: &Face, state: &ExecutorState) -> Vec<ContainerId> {
    let view = face.view.read();
    let framework = view.frameworks.get(&state.framework_id);
    let executor = framework.and_then(|framework| framework.executors.get(&state.id));
    executor.map_or_else(Vec::new, |executor| {
        crate::containers::of_tasks(executor)
            .filter(|container| !face.containerizer.is_within(container))
            .collect()
    })
}

/// What a container uses, with its parts; nothing is known of one that is not there and has none.
fn usage_of(face: &Face, shown: &Shown) -> Option<Usage> {
    let own = face.containerizer.usage(shown.runtime.as_ref()?).ok();
    let parts = shown.parts.iter();
    let parts = parts.filter_map(|part| face.containerizer.usage(part).ok());
    match (own, parts.reduce(Usage::plus)) {
        // The limits that count are those of the parts.
        (Some(own), Some(parts)) => Some(Usage {
            memory_limit_bytes: parts.memory_limit_bytes,
            ..parts.plus(own)
        }),
        (own, parts) => own.or(parts),
    }
}

/// The containers of tasks that run in groups.
fn tasks_of(face: &Face, state: &ExecutorState) -> Vec<Shown> {
    let found: Vec<(CoreId, ContainerStatus, f64)> = {
        let view = face.view.read();
        let framework = view.frameworks.get(&state.framework_id);
        let executor = framework.and_then(|framework| framework.executors.get(&state.id));
        let tasks = executor
            .into_iter()
            .flat_map(|executor| executor.tasks.values());
        tasks
            .filter(|task| !task.state.is_terminal())
            .filter_map(|task| {
                let statuses = task.statuses.iter().rev();
                let status = statuses
                    .filter_map(|status| status.container_status.as_ref())
                    .next()?;
                let id = crate::nested::prepare::core_id(status.container_id.as_ref()?)?;
                id.parent()?;
                Some((id, status.clone(), cpus(&task.info.resources)))
            })
            .collect()
    };
    found
        .into_iter()
        .map(|(id, status, cpus)| Shown {
            on_networks: status.executor_pid,
            status,
            cpus: Some(cpus),
            runtime: Some(crate::nested::runtime_id(&id)),
            ..of_executor(state, id)
        })
        .collect()
}

fn cpus(resources: &[tepui_proto::mesos::v1::Resource]) -> f64 {
    resources
        .iter()
        .filter(|resource| resource.name == "cpus")
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum()
}

/// What a container uses, as far as this machine tells.
fn used_by(face: &Face, shown: &Shown) -> Option<ResourceStatistics> {
    let usage = usage_of(face, shown)?;
    let seconds = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e9);
    let small =
        |number: Option<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let disk = face.disks.of(&shown.container).unwrap_or_default();
    let sandbox = disk.sandbox();
    let mut statistics = ResourceStatistics {
        timestamp: face.clock.now().as_secs_f64(),
        processes: small(usage.processes),
        threads: small(usage.threads),
        cpus_user_time_secs: seconds(usage.cpu_user_ns),
        cpus_system_time_secs: seconds(usage.cpu_system_ns),
        cpus_soft_limit: shown.cpus,
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
        disk_used_bytes: sandbox.used_bytes,
        disk_limit_bytes: sandbox.limit_bytes,
        disk_statistics: disk.all,
        blkio_statistics: block_io::statistics(&usage.block),
        ..Default::default()
    };
    if let Some(pid) = shown.on_networks
        && face.networks.has(&shown.container.root().to_string())
    {
        traffic::add(pid, &mut statistics);
    }
    Some(statistics)
}

/// Where the outermost container is.
fn networks_of(face: &Face, root: &CoreId) -> Vec<NetworkInfo> {
    let ip = face.endpoint.rsplit_once(':').map_or("", |(ip, _)| ip);
    let mut networks = face.networks.infos(&root.to_string());
    if networks.is_empty() {
        networks.push(NetworkInfo {
            ip_addresses: vec![network_info::IpAddress {
                ip_address: Some(ip.to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        });
    }
    networks
}

/// Where an executor's container is.
fn status(face: &Face, state: &ExecutorState) -> ContainerStatus {
    ContainerStatus {
        container_id: Some(proto_id(&state.container)),
        network_infos: networks_of(face, &state.container),
        executor_pid: state.pid,
        ..Default::default()
    }
}

/// A live executor and the cpus that its container has.
pub(super) fn live(face: &Face) -> Vec<(Arc<ExecutorState>, f64)> {
    let view = face.view.read();
    let executors = view
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values());
    executors
        .map(|executor| {
            let tasks = executor
                .tasks
                .values()
                .filter(|task| !task.state.is_terminal());
            let of_tasks: f64 = tasks.map(|task| cpus(&task.info.resources)).sum();
            (
                Arc::clone(&executor.state),
                cpus(&executor.state.info.resources) + of_tasks,
            )
        })
        .collect()
}

/// A container in the answers' JSON. What comes from messages is put in as it is written: there may be a thousand of these.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framework_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<Box<RawValue>>,
}

impl<'a> Told<'a> {
    fn of(shown: &'a Shown) -> Self {
        Self {
            container_id: None,
            framework_id: shown.framework_id.as_deref(),
            executor_id: shown.executor_id.as_deref(),
            executor_name: shown.executor_name.as_deref(),
            source: shown.source.as_deref(),
            status: None,
            statistics: shown.statistics.as_ref().and_then(raw),
        }
    }
}

/// A message in Mesos' JSON mapping. One with an infinity, for which JSON has no word, is left out.
fn raw(message: &impl Json) -> Option<Box<RawValue>> {
    let text = String::from_utf8(tepui_proto::json::to_vec(message)).ok()?;
    RawValue::from_string(text).ok()
}

/// `/monitor/statistics`.
pub(super) async fn all(face: &Arc<Face>, asked: &Asked) -> Response {
    let all = shown(face, Which::default(), |_| true).await;
    let measured = all.iter().filter(|shown| shown.statistics.is_some());
    asked.json(&measured.map(Told::of).collect::<Vec<_>>())
}

/// `/containers`.
pub(super) async fn containers(face: &Arc<Face>, asked: &Asked) -> Response {
    let [container, framework, executor] = ["container_id", "framework_id", "executor_id"]
        .map(|name| asked.parameter(name).map(str::to_owned));
    let legal = matches!(
        (&container, &framework, &executor),
        (_, None, None) | (None, Some(_), _)
    );
    if !legal {
        return text(
            StatusCode::BAD_REQUEST,
            "Expecting 'container_id', or 'framework_id', or 'framework_id' and 'executor_id', and no other combination",
        );
    }
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    let wanted = move |shown: &Shown| {
        is(&container, &shown.container.to_string())
            && is(
                &framework,
                shown.framework_id.as_deref().unwrap_or_default(),
            )
            && is(&executor, shown.executor_id.as_deref().unwrap_or_default())
    };
    let asks_for = |name| asked.parameter(name) == Some("true");
    let which = Which {
        nested: asks_for("show_nested"),
        standalone: asks_for("show_standalone"),
    };
    let shown = shown(face, which, wanted).await;
    let told = shown.iter().map(|shown| Told {
        container_id: Some(shown.container.to_string()),
        status: raw(&shown.status),
        ..Told::of(shown)
    });
    asked.json(&told.collect::<Vec<_>>())
}
