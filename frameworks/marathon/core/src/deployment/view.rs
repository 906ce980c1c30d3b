//! Deployments as `/v2/deployments` and events print them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{instance::ReadinessCheckResult, path::PathId, timestamp::Timestamp};

/// A running deployment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// Its id.
    pub id: Arc<str>,
    /// When it was made.
    pub version: Timestamp,
    /// Apps of all steps.
    pub affected_apps: Vec<PathId>,
    /// Pods of all steps, until they are built always empty.
    pub affected_pods: [(); 0],
    /// All steps.
    pub steps: Vec<StepView>,
    /// Actions of the current step.
    pub current_actions: Vec<CurrentAction>,
    /// From 1; 0 before the first.
    pub current_step: usize,
    /// Number of steps.
    pub total_steps: usize,
}

/// An action of the current step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// What is done.
    pub action: ActionKind,
    /// To whom.
    pub app: PathId,
    /// One for each task that has to be ready; filled when it is read.
    pub readiness_check_results: Vec<Arc<ReadinessCheckResult>>,
}

/// The plan as events print it.
#[derive(Clone, Debug, Serialize)]
pub struct PlanView {
    /// Id of the deployment.
    pub id: Arc<str>,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// When it was made.
    pub version: Timestamp,
}

/// Actions that run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// The actions.
    pub actions: Vec<Action>,
}

/// One action on one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is done.
    pub action: ActionKind,
    /// To whom.
    pub app: PathId,
}

/// What a deployment does to an app; the names are Marathon's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Nothing: kept because clients count steps.
    #[serde(rename = "StartApplication")]
    Start,
    /// Kill all instances and forget the app.
    #[serde(rename = "StopApplication")]
    Stop,
    /// Bring the number of instances to the target.
    #[serde(rename = "ScaleApplication")]
    Scale,
    /// Replace all instances of older configurations.
    #[serde(rename = "RestartApplication")]
    Restart,
}
