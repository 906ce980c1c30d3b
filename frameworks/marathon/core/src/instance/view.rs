//! Tasks as `/v2/tasks` prints them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LocalVolume;
use crate::{input::ReadinessAnswer, path::PathId, timestamp::Timestamp};

/// A task of an app with the fields that Marathon prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Orders tasks by the creation of their instances; not printed.
    #[serde(skip)]
    pub key: u64,
    /// The app.
    pub app_id: PathId,
    /// The task id.
    pub id: Arc<str>,
    /// Host name of the agent.
    pub host: Arc<str>,
    /// Addresses of the container.
    pub ip_addresses: Vec<IpAddress>,
    /// Host ports.
    pub ports: Vec<u16>,
    /// Filled by `GET /v2/tasks` only.
    pub service_ports: Vec<u16>,
    /// Agent id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<Arc<str>>,
    /// Mesos' name of the state.
    pub state: &'static str,
    /// Launch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<Timestamp>,
    /// First TASK_RUNNING.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Version of the app it was launched with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Timestamp>,
    /// One for each check that has run.
    pub health_check_results: Vec<HealthCheckResult>,
    /// What its check found last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_result: Option<Value>,
    /// Persistent volumes.
    pub local_volumes: Vec<LocalVolume>,
    /// Region of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Arc<str>>,
    /// Zone of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Role.
    pub role: Arc<str>,
    /// Shown with the app and its deployment.
    #[serde(skip)]
    pub readiness: Option<Arc<ReadinessCheckResult>>,
}

/// An address of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
}

/// A network of a pod's instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkStatus {
    /// None: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) addresses: Vec<String>,
}

/// How one check of an instance stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    /// The last success is later than the last failure.
    pub alive: bool,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// First success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_success: Option<Timestamp>,
    /// The instance.
    pub instance_id: Arc<str>,
    /// Last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<String>,
}

/// How the readiness check of a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheckResult {
    /// The check.
    pub name: String,
    /// The task.
    pub task_id: Arc<str>,
    /// It has said so.
    pub ready: bool,
    /// What it said last, if the check keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_response: Option<Arc<ReadinessAnswer>>,
}

/// The last failure of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// The app.
    pub app_id: PathId,
    /// Host name of the agent.
    pub host: String,
    /// The message of the status.
    pub message: String,
    /// Mesos' name of the state.
    pub state: String,
    /// The task.
    pub task_id: String,
    /// When it began to run; not printed.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
    /// When.
    pub timestamp: Timestamp,
    /// Version of the app it ran.
    pub version: Timestamp,
    /// Agent id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
}
