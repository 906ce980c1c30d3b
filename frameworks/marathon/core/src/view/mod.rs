//! What operators read: a copy of the core's state made of shared, immutable objects.
//!
//! The core emits a [`Change`] for each object that was added, changed or removed; the shell applies them to its [`View`] and answers
//! reads from there, in parallel. [`View::select`] is cheap (it collects references), so a lock round the view is held for moments;
//! [`Selection::render`] does the work outside of it. JSON of an app's definition is made once for each version.
//!
//! Leaves out: `/v2/queue`, which changes with every offer and is answered by the core itself ([`ApiCall::Queue`](crate::ApiCall)).

mod answer;
mod groups;
mod pods;
mod query;
mod select;
mod stats;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

pub use groups::GroupEmbed;
pub(crate) use groups::past_group;
pub(crate) use pods::no_pod;
pub use query::{Embed, LabelSelector, Query};
pub use select::Selection;

use crate::{
    definition::{App, pod},
    deployment::DeploymentView,
    group::Group,
    instance::{PodInstanceView, TaskFailure, TaskView},
    path::PathId,
    timestamp::Timestamp,
};

/// One object that changed, with its new content.
#[derive(Clone, Debug)]
pub enum Change {
    /// An app is there, or its counts, deployments or last failure changed.
    App(Arc<AppView>),
    /// An app is gone, with its versions. Its tasks may live on until they are removed.
    AppRemoved(PathId),
    /// A version of an app is there.
    Version(Arc<Definition>),
    /// A version of an app was dropped because there are too many.
    VersionRemoved(PathId, Timestamp),
    /// A group is there, or something below it changed.
    Group(Arc<Group>),
    /// A group is gone.
    GroupRemoved(PathId),
    /// A task is there, or changed.
    Task(Arc<TaskView>),
    /// An instance of a pod is there, or changed.
    PodInstance(Arc<PodInstanceView>),
    /// A task, or an instance of a pod, is gone.
    TaskRemoved {
        /// Its app.
        app_id: PathId,
        /// [`TaskView::key`] or [`PodInstanceView::key`].
        key: u64,
    },
    /// A deployment is there, or went on.
    Deployment(Arc<DeploymentView>),
    /// A deployment ended.
    DeploymentRemoved(Arc<str>),
    /// How many ended tasks are kept, and how many were dropped since this leader began.
    EndedTasks {
        /// Now.
        kept: usize,
        /// Because they were too many or too old.
        dropped: u64,
    },
    /// More, or less, is held since a backup was restored; none: nothing is held any more.
    Held(Option<Arc<HeldView>>),
    /// Marathon took an instance away by itself.
    Disruption(Disruption),
    /// More, or fewer, kills are under way.
    Kills(KillFigures),
}

/// Kills that are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KillFigures {
    /// Instances that the master was told to kill and whose end was not heard of.
    pub in_flight: usize,
    /// How often it was told so, of all of them.
    pub attempts: usize,
    /// Instances that are to be killed because their launch took too long.
    pub overdue: usize,
}

/// Why Marathon takes an instance away that is well, without a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// A scheduled restart.
    Restart,
    /// Its app is spread more evenly without it there.
    Move,
}

/// An app's definition with its JSON, made at most once.
#[derive(Debug)]
pub struct Definition {
    /// The definition.
    pub app: Arc<App>,
    json: OnceLock<Box<str>>,
}

impl Definition {
    /// Wraps a definition.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            json: OnceLock::new(),
        }
    }

    /// The definition as Marathon prints it.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| match pod::json(&self.app) {
            Some(pod) => pod.to_string().into(),
            None => serde_json::to_string(&*self.app).unwrap_or_default().into(),
        })
    }
}

/// An app as reads see it.
#[derive(Clone, Debug)]
pub struct AppView {
    /// The current definition.
    pub definition: Arc<Definition>,
    /// How its tasks are.
    pub counts: TaskCounts,
    /// Ids of the deployments that hold it.
    pub deployments: Vec<Arc<str>>,
    /// The last task that failed, until the app is deleted.
    pub last_task_failure: Option<Arc<TaskFailure>>,
}

/// The four counters of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Launched, and without status or TASK_STAGING.
    pub staged: u32,
    /// TASK_RUNNING.
    pub running: u32,
    /// With results of health checks, all alive.
    pub healthy: u32,
    /// With results of health checks, some not alive.
    pub unhealthy: u32,
}

/// What is left alone since a backup was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// When it was restored.
    pub since: Timestamp,
    /// For how many unknown instances something is listed.
    pub reservations: usize,
}

/// All that reads are answered from.
#[derive(Debug, Default)]
pub struct View {
    apps: BTreeMap<PathId, Entry>,
    groups: BTreeMap<PathId, Arc<Group>>,
    deployments: BTreeMap<Arc<str>, Arc<DeploymentView>>,
    ended_tasks: (usize, u64),
    held: Option<Arc<HeldView>>,
    restarts: u64,
    moves: u64,
    kills: KillFigures,
}

/// One app with what hangs on it. The app is absent while the tasks of a deleted one end.
#[derive(Debug, Default)]
struct Entry {
    app: Option<Arc<AppView>>,
    versions: BTreeMap<Timestamp, Arc<Definition>>,
    tasks: BTreeMap<u64, Arc<TaskView>>,
    pods: BTreeMap<u64, Arc<PodInstanceView>>,
}

impl View {
    /// Since this leader began: instances replaced by scheduled restarts, and instances moved.
    #[must_use]
    pub const fn disruptions(&self) -> (u64, u64) {
        (self.restarts, self.moves)
    }

    /// Kills that are under way.
    #[must_use]
    pub const fn kills(&self) -> KillFigures {
        self.kills
    }

    /// Takes a change over.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Disruption(Disruption::Restart) => self.restarts += 1,
            Change::Disruption(Disruption::Move) => self.moves += 1,
            Change::App(app) => {
                let id = app.definition.app.id.clone();
                self.apps.entry(id).or_default().app = Some(app);
            }
            Change::AppRemoved(id) => {
                if let Some(entry) = self.apps.get_mut(&id) {
                    entry.app = None;
                    entry.versions.clear();
                }
                self.drop_if_empty(&id);
            }
            Change::Version(definition) => {
                let (id, version) = (definition.app.id.clone(), definition.app.version);
                self.apps
                    .entry(id)
                    .or_default()
                    .versions
                    .insert(version, definition);
            }
            Change::VersionRemoved(id, version) => {
                if let Some(entry) = self.apps.get_mut(&id) {
                    entry.versions.remove(&version);
                }
            }
            Change::Task(task) => {
                self.apps
                    .entry(task.app_id.clone())
                    .or_default()
                    .tasks
                    .insert(task.key, task);
            }
            Change::PodInstance(instance) => {
                let entry = self.apps.entry(instance.pod_id.clone()).or_default();
                entry.pods.insert(instance.key, instance);
            }
            Change::TaskRemoved { app_id, key } => {
                if let Some(entry) = self.apps.get_mut(&app_id) {
                    entry.tasks.remove(&key);
                    entry.pods.remove(&key);
                }
                self.drop_if_empty(&app_id);
            }
            Change::Group(group) => {
                self.groups.insert(group.id.clone(), group);
            }
            Change::GroupRemoved(id) => {
                self.groups.remove(&id);
            }
            Change::EndedTasks { kept, dropped } => self.ended_tasks = (kept, dropped),
            Change::Deployment(deployment) => {
                self.deployments.insert(deployment.id.clone(), deployment);
            }
            Change::DeploymentRemoved(id) => {
                self.deployments.remove(&id);
            }
            Change::Held(held) => self.held = held,
            Change::Kills(kills) => self.kills = kills,
        }
    }

    /// How many apps there are, for the gauge.
    #[must_use]
    pub fn app_count(&self) -> usize {
        self.apps().count()
    }

    /// How many pods there are, for the gauge.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.pods().count()
    }

    /// How many groups there are, the root among them, for the gauge.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// What is left alone since a backup was restored, if one was.
    #[must_use]
    pub fn held(&self) -> Option<HeldView> {
        self.held.as_deref().copied()
    }

    /// How many deployments run, for the gauge.
    #[must_use]
    pub fn deployment_count(&self) -> usize {
        self.deployments.len()
    }

    /// How many ended tasks are kept, and how many were dropped, for the metrics.
    #[must_use]
    pub const fn ended_tasks(&self) -> (usize, u64) {
        self.ended_tasks
    }

    /// The apps in order of their ids.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<AppView>> {
        let all = self.apps.values().filter_map(|entry| entry.app.as_ref());
        all.filter(|app| app.definition.app.pod.is_none())
    }

    /// One app.
    #[must_use]
    pub fn app(&self, id: &PathId) -> Option<&Arc<AppView>> {
        let app = self.apps.get(id)?.app.as_ref()?;
        app.definition.app.pod.is_none().then_some(app)
    }

    /// The tasks of one app, oldest instance first.
    pub fn tasks(&self, id: &PathId) -> impl Iterator<Item = &Arc<TaskView>> {
        self.apps
            .get(id)
            .into_iter()
            .flat_map(|entry| entry.tasks.values())
    }

    /// The running deployments.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<DeploymentView>> {
        self.deployments.values()
    }

    fn drop_if_empty(&mut self, id: &PathId) {
        if self.apps.get(id).is_some_and(|entry| {
            let empty = entry.tasks.is_empty() && entry.pods.is_empty();
            entry.app.is_none() && empty && entry.versions.is_empty()
        }) {
            self.apps.remove(id);
        }
    }
}
