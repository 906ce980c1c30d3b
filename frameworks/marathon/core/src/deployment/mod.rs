//! Deployments: a plan of steps from one state of the apps to another, and its execution.
//!
//! The planner (`plan`) decides and does nothing; the core carries out, one step after another, and keeps no plan but this one.

mod capacity;
mod plan;
mod trial;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use capacity::{Capacity, capacity};
pub(crate) use plan::{change, plan};
use serde::{Deserialize, Serialize};
use tepui_model::Time;
pub use trial::{Trial, TrialSize};
pub use view::{Action, ActionKind, CurrentAction, DeploymentView, PlanView, StepView};

use crate::{definition::App, group::Group, path::PathId, timestamp::Timestamp};

/// A deployment under way. All of it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) id: Arc<str>,
    pub(crate) version: Timestamp,
    #[serde(default)]
    pub(crate) steps: Vec<StepView>,
    /// From 1; 0 before the first.
    pub(crate) current: usize,
    /// What the changed apps were before; none: they were not there.
    #[serde(default)]
    pub(crate) original: BTreeMap<PathId, Option<Arc<App>>>,
    /// What they become.
    #[serde(default)]
    pub(crate) target: BTreeMap<PathId, Option<Arc<App>>>,
    /// Groups that it changes, as they were and as they become.
    #[serde(default)]
    pub(crate) groups: BTreeMap<PathId, (Option<Group>, Option<Group>)>,
    /// When it is rolled back if it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Timestamp>,
    /// Of daemon apps that the current step replaces: how many agents had an instance at its beginning and were not lost since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seats: BTreeMap<PathId, usize>,
    /// How the new version is tried before it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<Trial>,
    /// The autoscaler made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) autoscaled: bool,
    /// In how many records beside its own it is stored, because it is large.
    #[serde(default)]
    pub(crate) parts: usize,
    /// Since when all that is tried is ready.
    #[serde(skip)]
    pub(crate) ready_since: Option<Time>,
    /// Why it ends, while another deployment is made that undoes it.
    #[serde(skip)]
    pub(crate) ending: Option<Arc<str>>,
    /// Actions of the current step that are not done; after a failover all actions of the step are done again.
    #[serde(skip)]
    pub(crate) open: BTreeMap<PathId, ActionKind>,
}

impl Deployment {
    /// What its own record holds if the rest is in parts.
    pub(crate) fn without_parts(&self) -> Self {
        Self {
            id: self.id.clone(),
            version: self.version,
            steps: Vec::new(),
            current: self.current,
            original: BTreeMap::new(),
            target: BTreeMap::new(),
            groups: BTreeMap::new(),
            deadline: self.deadline,
            seats: self.seats.clone(),
            trial: self.trial,
            autoscaled: self.autoscaled,
            parts: self.parts,
            ready_since: None,
            ending: None,
            open: BTreeMap::new(),
        }
    }

    /// The actions of the current step.
    pub(crate) fn step(&self) -> StepView {
        let step = self
            .current
            .checked_sub(1)
            .and_then(|at| self.steps.get(at));
        step.cloned().unwrap_or(StepView {
            actions: Vec::new(),
        })
    }

    /// What the current step does to an app, if that is not done.
    pub(crate) fn action(&self, app: &PathId) -> Option<ActionKind> {
        self.open.get(app).copied()
    }

    /// Whether nothing is left to be done to an app, in this step and in those to come.
    pub(crate) fn is_done_with(&self, app: &PathId) -> bool {
        let to_come = self.steps.get(self.current..).unwrap_or_default();
        let mut actions = to_come.iter().flat_map(|step| &step.actions);
        !self.open.contains_key(app) && !actions.any(|action| action.app == *app)
    }

    /// Whether all that becomes of an app is another number of instances: those that it has are as good as before.
    pub(crate) fn only_scales(&self, app: &PathId) -> bool {
        let of = |apps: &BTreeMap<PathId, Option<Arc<App>>>| apps.get(app).cloned().flatten();
        let (old, new) = (of(&self.original), of(&self.target));
        old.zip(new).is_some_and(|(old, new)| {
            change(Some(&old), &new) == Some(ActionKind::Scale)
                && old.config_version() == new.config_version()
        })
    }

    /// Apps of all steps.
    pub(crate) fn affected(&self) -> BTreeSet<PathId> {
        self.steps
            .iter()
            .flat_map(|step| &step.actions)
            .map(|action| action.app.clone())
            .collect()
    }

    /// Apps of all steps, or pods.
    fn of_kind(&self, pod: bool) -> Vec<PathId> {
        let actions = self.steps.iter().flat_map(|step| &step.actions);
        let chosen = actions.filter(|action| action.pod == pod);
        let ids: BTreeSet<PathId> = chosen.map(|action| action.app.clone()).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn plan_view(&self) -> Arc<PlanView> {
        Arc::new(PlanView {
            id: self.id.clone(),
            steps: self.steps.clone(),
            version: self.version,
        })
    }

    pub(crate) fn view(&self) -> DeploymentView {
        let current = |action: &Action| CurrentAction {
            action: action.clone(),
            readiness_check_results: Vec::new(),
        };
        DeploymentView {
            id: self.id.clone(),
            version: self.version,
            affected_apps: self.of_kind(false),
            affected_pods: self.of_kind(true),
            steps: self.steps.clone(),
            current_actions: self.step().actions.iter().map(current).collect(),
            current_step: self.current,
            total_steps: self.steps.len(),
        }
    }
}
