//! Instances: one desired copy of an app each, with the Mesos task that it currently has.
//!
//! An instance is kept when its task ends: it gets another one, with a higher incarnation. `goal` says what is wanted, `condition` what is.

mod condition;
mod container_info;
mod containers;
mod executor_info;
mod kill_order;
mod pod_info;
mod pod_view;
mod reservation;
mod task_info;
mod view;

use std::{collections::BTreeMap, sync::Arc};

pub use condition::{Condition, Goal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub(crate) use view::NetworkStatus;
pub use view::{HealthCheckResult, IpAddress, ReadinessCheckResult, TaskFailure, TaskView};

pub use pod_view::{PodContainerView, PodInstanceView};
pub use reservation::LocalVolume;

pub(crate) use self::{
    condition::state_name,
    containers::{ContainerTask, containers},
    executor_info::id_of as own_executor_id,
    kill_order::kill_order,
    pod_info::{executor_id, launch_group},
    reservation::{Remains, Reservation, free, labels, owner, persistence_id, reserve},
    task_info::{Surroundings, task_info},
};
use crate::{
    definition::App, ended::Cause, health::CheckState, input::ReadinessAnswer, output::CheckId,
    path::PathId, timestamp::Timestamp,
};

/// An instance. What is stored of it is [`InstanceRecord`].
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// Its name within this core; rises with creation.
    pub(crate) key: u64,
    pub(crate) id: Arc<str>,
    /// Of an app whose instances are numbered.
    pub(crate) ordinal: Option<u32>,
    /// The definition that it runs or, before its first launch, was made for.
    pub(crate) spec: Arc<App>,
    pub(crate) goal: Goal,
    pub(crate) condition: Condition,
    pub(crate) since: Timestamp,
    /// Since when it runs.
    pub(crate) active_since: Option<Timestamp>,
    pub(crate) incarnation: u64,
    pub(crate) agent: Option<Arc<Agent>>,
    pub(crate) task: Option<Task>,
    /// Of an app with persistent volumes, once it was launched.
    pub(crate) reservation: Option<Reservation>,
    /// One for each check of the spec; empty while it does not run.
    pub(crate) checks: Vec<CheckState>,
    pub(crate) healthy: Option<bool>,
    /// The probe that asks whether it is ready.
    pub(crate) readiness: Option<CheckId>,
    /// Its last answer, if the check says that it is to be kept.
    pub(crate) last_answer: Option<Arc<ReadinessAnswer>>,
    /// A deployment waits until it is ready.
    pub(crate) awaited: bool,
    /// Why Marathon ends its task, if it does.
    pub(crate) cause: Option<Cause>,
    /// It is there to take the place of another.
    pub(crate) replaces: Option<Replaces>,
    /// Whether what it keeps had its volumes when it was offered last; none if it was not offered since that was asked for.
    pub(crate) offered_whole: Option<bool>,
}

/// Whose place an instance takes once it is ready, without a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaces {
    pub(crate) key: u64,
    /// Because of where it is: it must be launched nowhere else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) moves: bool,
    /// Because its agent goes down: it may be launched anywhere else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leaves: bool,
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) host: Arc<str>,
    pub(crate) id: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<Arc<str>>,
    /// Attributes in their text form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<String, Arc<str>>,
}

/// The current task of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: Arc<str>,
    pub(crate) staged_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ports: Vec<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<IpAddress>,
    /// Of a pod: which network it has them on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) networks: Vec<NetworkStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unreachable_since: Option<Timestamp>,
    /// What its readiness check found; none: it was not launched for a deployment, or the app has no such check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<bool>,
    /// The last result of its check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check_result: Option<Value>,
    /// Of a pod: the container of its executor, once it is known; another run of the instance has the same executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<Arc<str>>,
    /// Of a pod: one for each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) containers: Vec<ContainerTask>,
}

/// What the store keeps of an instance.
#[derive(Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    pub(crate) key: u64,
    pub(crate) id: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ordinal: Option<u32>,
    pub(crate) app: PathId,
    pub(crate) version: Timestamp,
    pub(crate) config: Timestamp,
    pub(crate) goal: Goal,
    pub(crate) condition: Condition,
    pub(crate) since: Timestamp,
    pub(crate) active_since: Option<Timestamp>,
    pub(crate) incarnation: u64,
    pub(crate) agent: Option<Arc<Agent>>,
    pub(crate) task: Option<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reservation: Option<Reservation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<Replaces>,
}

impl Instance {
    pub(crate) fn new(key: u64, uuid: &str, spec: Arc<App>, now: Timestamp) -> Self {
        Self {
            key,
            id: format!("{}.instance-{uuid}", spec.id.safe()).into(),
            ordinal: None,
            spec,
            goal: Goal::Running,
            condition: Condition::Scheduled,
            since: now,
            active_since: None,
            incarnation: 0,
            agent: None,
            task: None,
            reservation: None,
            checks: Vec::new(),
            healthy: None,
            readiness: None,
            last_answer: None,
            awaited: false,
            cause: None,
            replaces: None,
            offered_whole: None,
        }
    }

    /// Wants an offer.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.goal == Goal::Running
            && (self.condition == Condition::Scheduled || self.condition.is_terminal())
    }

    /// Runs, all checks pass, and it said that it is ready if it has to.
    pub(crate) fn is_ready(&self) -> bool {
        self.condition == Condition::Running
            && (!self.spec.is_checked() || self.healthy == Some(true))
            && !self.is_unready()
    }

    /// Its readiness check waits for it.
    pub(crate) fn is_unready(&self) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| task.ready == Some(false))
    }

    pub(crate) fn record(&self) -> InstanceRecord {
        InstanceRecord {
            key: self.key,
            id: self.id.clone(),
            ordinal: self.ordinal,
            app: self.spec.id.clone(),
            version: self.spec.version,
            config: self.spec.config_version(),
            goal: self.goal,
            condition: self.condition,
            since: self.since,
            active_since: self.active_since,
            incarnation: self.incarnation,
            agent: self.agent.clone(),
            task: self.task.clone(),
            reservation: self.reservation.clone(),
            cause: self.cause,
            replaces: self.replaces,
        }
    }

    /// The task as clients see it; none if it was never matched to an offer.
    pub(crate) fn view(&self) -> Option<TaskView> {
        let (agent, task) = (self.agent.as_ref()?, self.task.as_ref()?);
        let active = self.condition.is_active();
        Some(TaskView {
            key: self.key,
            app_id: self.spec.id.clone(),
            id: task.id.clone(),
            host: agent.host.clone(),
            ip_addresses: task.addresses.clone(),
            ports: if active {
                task.ports.clone()
            } else {
                Vec::new()
            },
            service_ports: Vec::new(),
            slave_id: Some(agent.id.clone()),
            state: self.condition.mesos_state(),
            staged_at: active.then_some(task.staged_at),
            started_at: task.started_at.filter(|_| active),
            version: active.then_some(self.spec.version),
            health_check_results: self
                .checks
                .iter()
                .filter_map(|check| check.result(&self.id))
                .collect(),
            check_result: task.check_result.clone(),
            local_volumes: self
                .reservation
                .as_ref()
                .map_or_else(Vec::new, |kept| kept.volumes.clone()),
            region: agent.region.clone(),
            zone: agent.zone.clone(),
            role: self.spec.role.as_str().into(),
            readiness: self.readiness_result(),
        })
    }
}

impl Instance {
    /// How its readiness check stands, if it has one to pass.
    fn readiness_result(&self) -> Option<Arc<ReadinessCheckResult>> {
        let (task, check) = (self.task.as_ref()?, self.spec.readiness_checks.first()?);
        Some(Arc::new(ReadinessCheckResult {
            name: check.name.clone(),
            task_id: task.id.clone(),
            ready: task.ready.filter(|_| self.condition.is_active())?,
            last_response: self.last_answer.clone(),
        }))
    }
}

/// The instance id within a task id of any incarnation: `web.instance-<uuid>` of `web.instance-<uuid>._app.3`, and of
/// `web.instance-<uuid>.<container>.3`.
pub(crate) fn instance_id_of(task_id: &str) -> &str {
    if let Some((instance, _)) = task_id.split_once("._app") {
        return instance;
    }
    let is_instance = |id: &str| {
        let last = id.rsplit('.').next().unwrap_or_default();
        last.starts_with("instance-") || last.starts_with("marathon-")
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match task_id.rsplit_once('.') {
        Some((rest, incarnation)) if number(incarnation) => match rest.rsplit_once('.') {
            Some((instance, _)) if is_instance(instance) => instance,
            _ => task_id,
        },
        _ => task_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_incarnation_of_a_task_names_its_instance() {
        for (task, instance) in [
            ("web.instance-1._app.3", "web.instance-1"),
            ("web.instance-1._app", "web.instance-1"),
            ("prod_web.marathon-1", "prod_web.marathon-1"),
            ("p.instance-1.side-car.12", "p.instance-1"),
            ("p.instance-1.instance-2.3", "p.instance-1"),
            ("p.instance-1", "p.instance-1"),
            ("x.3", "x.3"),
            ("", ""),
        ] {
            assert_eq!(instance_id_of(task), instance);
        }
    }
}
