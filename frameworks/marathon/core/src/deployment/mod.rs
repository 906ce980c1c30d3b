//! Deployments: a plan of steps from one state of the apps to another, and its execution.

mod view;

pub use view::{Action, ActionKind, CurrentAction, DeploymentView, PlanView, StepView};
