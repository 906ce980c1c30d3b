//! Messages made from the agent's state, and small readings of messages that came in.

use std::time::Duration;

use tepui_model::TaskState;
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::framework_info::capability::Type as Capability;
use tepui_proto::mesos::v1::{
    CommandInfo, ContainerStatus, DurationInfo, ExecutorInfo, FrameworkInfo, KillPolicy,
    NetworkInfo, Resource, Task, TaskInfo, TaskStatus, network_info,
};

use crate::change::TaskSnapshot;
use crate::output::Limits;

pub(crate) fn framework_id(id: &tepui_model::FrameworkId) -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: id.as_str().to_owned(),
    }
}

pub(crate) fn executor_id(id: &tepui_model::ExecutorId) -> mesos::ExecutorId {
    mesos::ExecutorId {
        value: id.as_str().to_owned(),
    }
}

pub(crate) fn task_id(id: &tepui_model::TaskId) -> mesos::TaskId {
    mesos::TaskId {
        value: id.as_str().to_owned(),
    }
}

pub(crate) fn container_id(id: &tepui_model::ContainerId) -> mesos::ContainerId {
    mesos::ContainerId {
        value: id.value().to_owned(),
        parent: id.parent().map(|parent| Box::new(container_id(parent))),
    }
}

/// What a container without a network of its own tells about its addresses.
pub(crate) fn container_status(
    id: &tepui_model::ContainerId,
    ip: &str,
    pid: Option<u32>,
) -> ContainerStatus {
    ContainerStatus {
        container_id: Some(container_id(id)),
        network_infos: vec![NetworkInfo {
            ip_addresses: vec![network_info::IpAddress {
                ip_address: Some(ip.to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        executor_pid: pid,
        ..Default::default()
    }
}

/// The message for a task, as masters and operators get it.
pub(crate) fn task(snapshot: &TaskSnapshot) -> Task {
    let info = &*snapshot.info;
    let command = info.command.as_ref().or_else(|| {
        info.executor
            .as_ref()
            .and_then(|executor| executor.command.as_ref())
    });
    Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: framework_id(&snapshot.framework_id),
        executor_id: if snapshot.command {
            None
        } else {
            snapshot.executor_id.as_ref().map(executor_id)
        },
        agent_id: info.agent_id.clone(),
        state: snapshot.state.number(),
        resources: info.resources.clone(),
        statuses: snapshot
            .statuses
            .iter()
            .map(|status| TaskStatus::clone(status))
            .collect(),
        status_update_state: snapshot.forwarded.as_ref().map(|(state, _)| state.number()),
        status_update_uuid: snapshot.forwarded.as_ref().map(|(_, uuid)| uuid.clone()),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        user: command.and_then(|command| command.user.clone()),
        limits: info.limits.clone(),
    }
}

/// The executor that stands for a command task.
pub(crate) fn command_executor(framework: &str, task: &TaskInfo) -> ExecutorInfo {
    let id = &task.task_id.value;
    ExecutorInfo {
        executor_id: mesos::ExecutorId { value: id.clone() },
        framework_id: Some(mesos::FrameworkId {
            value: framework.to_owned(),
        }),
        name: Some(format!(
            "Command Executor (Task: {id}) (Command: {})",
            command_summary(task.command.as_ref())
        )),
        source: Some(id.clone()),
        command: task.command.clone(),
        container: task.container.clone(),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        ..Default::default()
    }
}

/// The first characters of a command.
fn command_summary(command: Option<&CommandInfo>) -> String {
    const LIMIT: usize = 15;
    let Some(command) = command else {
        return "NO EXECUTABLE".to_owned();
    };

    if command.shell() {
        format!("sh -c '{}'", shortened(command.value(), LIMIT))
    } else {
        let mut words = vec![command.value().to_owned()];
        words.extend(command.arguments.iter().skip(1).cloned());
        shortened(&words.join(" "), LIMIT)
    }
}

fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        text.to_owned()
    } else {
        text.chars().take(limit).chain("...".chars()).collect()
    }
}

pub(crate) fn has_capability(info: &FrameworkInfo, wanted: Capability) -> bool {
    info.capabilities
        .iter()
        .any(|capability| capability.r#type() == wanted)
}

/// The state that the framework understands: LOST for those that are only for the partition-aware.
pub(crate) fn told(info: &FrameworkInfo, state: TaskState) -> TaskState {
    state.told_to(has_capability(info, Capability::PartitionAware))
}

/// The length, never negative.
pub(crate) fn duration(info: &DurationInfo) -> Duration {
    Duration::from_nanos(u64::try_from(info.nanoseconds).unwrap_or(0))
}

/// A policy of this patience.
pub(crate) fn kill_policy(grace: Duration) -> KillPolicy {
    KillPolicy {
        grace_period: Some(DurationInfo {
            nanoseconds: i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX),
        }),
    }
}

/// Seconds as the wire has them: nonsense (negative, not a number) counts as none, and there is an end to patience (ten years).
pub(crate) fn seconds(value: f64) -> Duration {
    const LONGEST: f64 = 315_360_000.0;
    if value.is_finite() && value > 0.0 {
        Duration::from_secs_f64(value.min(LONGEST))
    } else {
        Duration::ZERO
    }
}

/// Thousandths of cpus and bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    pub(crate) cpus_milli: u64,
    /// Of these, those that are revocable.
    pub(crate) revocable_cpus_milli: u64,
    pub(crate) mem_bytes: u64,
}

/// Thousandths, rounded; nonsense counts as none (`as` saturates, and takes NaN for 0).
fn milli(value: f64) -> u64 {
    (value * 1000.0).round() as u64
}

/// MiB in thousandths to bytes.
const fn mib_milli(milli: u64) -> u64 {
    (milli as u128 * (1 << 20) / 1000) as u64
}

pub(crate) fn amount(resources: &[Resource]) -> Amount {
    let sum = |name: &str, revocable_only: bool| {
        let of = |resource: &Resource| {
            resource
                .scalar
                .as_ref()
                .map_or(0, |scalar| milli(scalar.value))
        };
        resources
            .iter()
            .filter(|resource| resource.name == name)
            .filter(|resource| !revocable_only || resource.revocable.is_some())
            .map(of)
            .fold(0, u64::saturating_add)
    };
    Amount {
        cpus_milli: sum("cpus", false),
        revocable_cpus_milli: sum("cpus", true),
        mem_bytes: mib_milli(sum("mem", false)),
    }
}

impl Amount {
    pub(crate) fn plus(self, other: Amount) -> Amount {
        Amount {
            cpus_milli: self.cpus_milli.saturating_add(other.cpus_milli),
            revocable_cpus_milli: (self.revocable_cpus_milli)
                .saturating_add(other.revocable_cpus_milli),
            mem_bytes: self.mem_bytes.saturating_add(other.mem_bytes),
        }
    }

    pub(crate) fn minus(self, other: Amount) -> Amount {
        Amount {
            cpus_milli: self.cpus_milli.saturating_sub(other.cpus_milli),
            revocable_cpus_milli: (self.revocable_cpus_milli)
                .saturating_sub(other.revocable_cpus_milli),
            mem_bytes: self.mem_bytes.saturating_sub(other.mem_bytes),
        }
    }
}

/// The limits of a container that runs tasks of this amount, one of which may name limits of its own.
pub(crate) fn limits(amount: Amount, task: Option<&TaskInfo>) -> Limits {
    let named = |name: &str| {
        task.and_then(|task| task.limits.get(name))
            .map(|scalar| scalar.value)
    };
    let of = |value: f64| {
        if value.is_infinite() {
            u64::MAX
        } else {
            milli(value)
        }
    };
    let mem_limit = match named("mem").map(of) {
        Some(u64::MAX) => u64::MAX,
        Some(limit) => mib_milli(limit).max(amount.mem_bytes),
        None => amount.mem_bytes,
    };
    Limits {
        cpus_milli: amount.cpus_milli,
        cpus_limit_milli: named("cpus").map(of),
        mem_bytes: amount.mem_bytes,
        mem_limit_bytes: mem_limit,
        revocable_cpus: amount.revocable_cpus_milli > 0,
    }
}
