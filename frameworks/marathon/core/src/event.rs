//! What `/v2/events` publishes: one variant for each type of Marathon's that the core causes, with exactly its fields.
//!
//! `event_stream_attached` and `event_stream_detached` belong to the shell, which alone knows the streams.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    definition::{App, HealthCheck},
    deployment::{PlanView, StepView},
    instance::IpAddress,
    path::PathId,
    timestamp::Timestamp,
};

/// An event with the moment it happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// What happened; gives the `eventType` and its fields.
    #[serde(flatten)]
    pub kind: EventKind,
    /// When.
    pub timestamp: Timestamp,
}

impl Event {
    /// The value of `eventType`, which is also the `event:` line of the stream.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        self.kind.name()
    }

    /// The `data:` line: JSON without line breaks.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

macro_rules! events {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal { $( $(#[$attr:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        /// The types of events and their fields. Fields of type `Option` without remark are written as null when unknown.
        #[derive(Clone, Debug, Serialize)]
        #[serde(tag = "eventType", rename_all_fields = "camelCase")]
        #[allow(missing_docs, reason = "the names of the fields are Marathon's")]
        pub enum EventKind {
            $( $(#[$doc])* #[serde(rename = $name)] $variant { $( $(#[$attr])* $field: $type ),* }, )*
        }

        impl EventKind {
            /// The value of `eventType`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $name, )*
                }
            }
        }
    };
}

events! {
    /// An app was posted, or changed by PUT or PATCH.
    ApiPost = "api_post_event" { client_ip: String, uri: String, app_definition: Arc<App> }
    /// A pod was posted, or put for the first time.
    PodCreated = "pod_created_event" { client_ip: String, uri: String }
    /// A pod was changed.
    PodUpdated = "pod_updated_event" { client_ip: String, uri: String }
    /// A pod was deleted.
    PodDeleted = "pod_deleted_event" { client_ip: String, uri: String }
    /// A task's Mesos status changed.
    StatusUpdate = "status_update_event" {
        slave_id: String, task_id: String, task_status: &'static str, message: String, app_id: PathId, host: Arc<str>,
        ip_addresses: Vec<IpAddress>, ports: Vec<u16>, version: Timestamp,
    }
    /// An instance's condition or goal changed.
    InstanceChanged = "instance_changed_event" {
        instance_id: Arc<str>, condition: &'static str, run_spec_id: PathId, agent_id: Option<Arc<str>>, host: Option<Arc<str>>,
        run_spec_version: Timestamp,
    }
    /// The health of an instance over all of its checks changed.
    InstanceHealthChanged = "instance_health_changed_event" {
        instance_id: Arc<str>, run_spec_id: PathId, healthy: Option<bool>, run_spec_version: Timestamp,
    }
    /// A task ended that no instance is known for.
    UnknownInstanceTerminated = "unknown_instance_terminated_event" {
        instance_id: String, run_spec_id: String, condition: &'static str,
    }
    /// An app got a health check.
    AddHealthCheck = "add_health_check_event" { app_id: PathId, health_check: HealthCheck, version: Timestamp }
    /// An app lost its health checks.
    RemoveHealthCheck = "remove_health_check_event" { app_id: PathId }
    /// A probe failed and counted. `taskId` holds the instance id.
    FailedHealthCheck = "failed_health_check_event" { app_id: PathId, health_check: HealthCheck, task_id: Arc<str> }
    /// One check of an instance began to pass, or ceased to.
    HealthStatusChanged = "health_status_changed_event" {
        app_id: PathId, instance_id: Arc<str>, version: Timestamp, alive: bool,
    }
    /// An instance is killed because a check failed too often.
    UnhealthyInstanceKill = "unhealthy_instance_kill_event" {
        app_id: PathId, task_id: String, instance_id: Arc<str>, version: Timestamp, reason: String, host: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")] slave_id: Option<Arc<str>>,
    }
    /// The group tree was changed.
    GroupChangeSuccess = "group_change_success" { group_id: PathId, version: Timestamp }
    /// The group tree could not be changed.
    GroupChangeFailed = "group_change_failed" { group_id: PathId, version: Timestamp, reason: String }
    /// All steps of a deployment are done.
    DeploymentSuccess = "deployment_success" { id: Arc<str>, plan: Arc<PlanView> }
    /// A deployment was cancelled.
    DeploymentFailed = "deployment_failed" {
        id: Arc<str>, plan: Arc<PlanView>, #[serde(skip_serializing_if = "Option::is_none")] reason: Option<String>,
    }
    /// A step of a deployment begins.
    DeploymentInfo = "deployment_info" { plan: Arc<PlanView>, current_step: StepView }
    /// A step of a deployment is done.
    DeploymentStepSuccess = "deployment_step_success" { plan: Arc<PlanView>, current_step: StepView }
    /// A step of a deployment failed.
    DeploymentStepFailure = "deployment_step_failure" { plan: Arc<PlanView>, current_step: StepView }
    /// The last instance of a deleted app is gone.
    AppTerminated = "app_terminated_event" { app_id: PathId }
    /// Registered with the master for the first time.
    SchedulerRegistered = "scheduler_registered_event" { framework_id: String, master: String }
    /// Registered with the master again.
    SchedulerReregistered = "scheduler_reregistered_event" { master: String }
    /// The master is gone.
    SchedulerDisconnected = "scheduler_disconnected_event" {}
}
