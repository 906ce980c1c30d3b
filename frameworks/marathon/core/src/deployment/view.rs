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
    /// Pods of all steps.
    pub affected_pods: Vec<PathId>,
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
    /// What is done, to whom.
    #[serde(flatten)]
    pub action: Action,
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

/// One action on one app, or pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ActionForm", into = "ActionForm")]
pub struct Action {
    /// What is done.
    pub action: ActionKind,
    /// To whom.
    pub app: PathId,
    /// It is a pod.
    pub pod: bool,
}

/// What a deployment does to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Nothing: kept because clients count steps.
    Start,
    /// Kill all instances and forget the app.
    Stop,
    /// Bring the number of instances to the target.
    Scale,
    /// Replace all instances of older configurations.
    Restart,
}

/// An action as it is written: with names of its own for pods.
#[derive(Serialize, Deserialize)]
struct ActionForm {
    action: ActionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<PathId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<PathId>,
}

/// Marathon's names.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the names are Marathon's")]
enum ActionName {
    StartApplication,
    StopApplication,
    ScaleApplication,
    RestartApplication,
    StartPod,
    StopPod,
    ScalePod,
    RestartPod,
}

impl ActionKind {
    const fn name(self, pod: bool) -> ActionName {
        match (self, pod) {
            (Self::Start, false) => ActionName::StartApplication,
            (Self::Stop, false) => ActionName::StopApplication,
            (Self::Scale, false) => ActionName::ScaleApplication,
            (Self::Restart, false) => ActionName::RestartApplication,
            (Self::Start, true) => ActionName::StartPod,
            (Self::Stop, true) => ActionName::StopPod,
            (Self::Scale, true) => ActionName::ScalePod,
            (Self::Restart, true) => ActionName::RestartPod,
        }
    }
}

impl Serialize for ActionKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name(false).serialize(serializer)
    }
}

impl From<Action> for ActionForm {
    fn from(action: Action) -> Self {
        Self {
            action: action.action.name(action.pod),
            app: (!action.pod).then(|| action.app.clone()),
            pod: action.pod.then_some(action.app),
        }
    }
}

impl From<ActionForm> for Action {
    fn from(form: ActionForm) -> Self {
        let pod = form.pod.is_some();
        Self {
            action: match form.action {
                ActionName::StartApplication | ActionName::StartPod => ActionKind::Start,
                ActionName::StopApplication | ActionName::StopPod => ActionKind::Stop,
                ActionName::ScaleApplication | ActionName::ScalePod => ActionKind::Scale,
                ActionName::RestartApplication | ActionName::RestartPod => ActionKind::Restart,
            },
            app: form.app.or(form.pod).unwrap_or_else(PathId::root),
            pod,
        }
    }
}
