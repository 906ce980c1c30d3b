//! From a query to the objects that its answer is made of.

use std::sync::Arc;

use super::{AppView, Definition, Embed, Query, TaskView, View, groups::Tree, pods::PodParts};
use crate::{deployment::DeploymentView, path::PathId, response::Response, timestamp::Timestamp};

/// References to all that an answer needs; independent of the [`View`] from which it was taken.
#[derive(Debug)]
pub struct Selection(pub(super) Selected);

#[derive(Debug)]
pub(super) enum Selected {
    /// Under `key` (`apps` or `*`).
    Apps {
        key: &'static str,
        apps: Vec<AppParts>,
        embed: Embed,
    },
    Group(Tree),
    GroupApps {
        apps: Vec<AppParts>,
        embed: Embed,
    },
    App {
        app: AppParts,
        embed: Embed,
    },
    /// With service ports if there are some beside the task.
    Tasks(Vec<(Arc<TaskView>, Option<Arc<Definition>>)>),
    Versions(Vec<Timestamp>),
    Definition(Arc<Definition>),
    Deployments(Vec<Arc<DeploymentView>>),
    Pods(Vec<Arc<Definition>>),
    PodVersions(Vec<Timestamp>),
    PodStatus(PodParts),
    PodStatuses(Vec<PodParts>),
    Refused(Response),
}

#[derive(Debug)]
pub(super) struct AppParts {
    pub(super) app: Arc<AppView>,
    pub(super) tasks: Vec<Arc<TaskView>>,
}

impl View {
    /// Collects what the answer to `query` needs.
    #[must_use]
    pub fn select(&self, query: &Query) -> Selection {
        Selection(self.selected(query).unwrap_or_else(Selected::Refused))
    }

    fn selected(&self, query: &Query) -> Result<Selected, Response> {
        Ok(match query {
            Query::Apps {
                cmd,
                id,
                label,
                embed,
            } => {
                let (cmd, id) = (
                    cmd.as_ref().map(|text| text.to_lowercase()),
                    id.as_ref().map(|text| text.to_lowercase()),
                );
                let apps = self.apps().filter(|view| {
                    let app = &view.definition.app;
                    cmd.as_ref().is_none_or(|text| {
                        app.cmd
                            .as_ref()
                            .is_some_and(|cmd| cmd.to_lowercase().contains(text))
                    }) && id
                        .as_ref()
                        .is_none_or(|text| app.id.as_str().to_lowercase().contains(text))
                        && label.as_ref().is_none_or(|label| {
                            label.matches(|key| app.labels.get(key).map(String::as_str))
                        })
                });
                Selected::Apps {
                    key: "apps",
                    apps: self.parts(apps, *embed),
                    embed: *embed,
                }
            }
            Query::AppsBelow { group, embed } => {
                let apps = self.below(group)?;
                Selected::Apps {
                    key: "*",
                    apps: self.parts(apps.iter(), *embed),
                    embed: *embed,
                }
            }
            Query::App { id, embed } => {
                let app = self.found(id)?;
                let tasks = self.tasks(&app.definition.app.id).cloned().collect();
                Selected::App {
                    app: AppParts {
                        app: app.clone(),
                        tasks,
                    },
                    embed: *embed,
                }
            }
            Query::AppTasks { id } => {
                let id = &self.found(id)?.definition.app.id;
                Selected::Tasks(self.tasks(id).map(|task| (task.clone(), None)).collect())
            }
            Query::TasksBelow { group } => {
                let apps = self.below(group)?;
                let tasks = apps
                    .iter()
                    .flat_map(|app| self.tasks(&app.definition.app.id));
                Selected::Tasks(tasks.map(|task| (task.clone(), None)).collect())
            }
            Query::Versions { id } => {
                let id = &self.found(id)?.definition.app.id;
                Selected::Versions(self.versions(id).rev().copied().collect())
            }
            Query::Version { id, version } => {
                let version = Timestamp::parse(version)
                    .map_err(|error| Response::message(422, error.to_string()))?;
                let id = PathId::resolve(id);
                let definition = self
                    .apps
                    .get(&id)
                    .and_then(|entry| entry.versions.get(&version))
                    .filter(|definition| definition.app.pod.is_none());
                Selected::Definition(
                    definition
                        .cloned()
                        .ok_or_else(|| Response::no_app(&id, Some(version)))?,
                )
            }
            Query::Tasks { status } => {
                let wants = |name: &str| {
                    status
                        .iter()
                        .any(|status| status.eq_ignore_ascii_case(name))
                };
                let (running, staging) = (wants("running"), wants("staging"));
                let chosen = |task: &TaskView| match task.state {
                    _ if !running && !staging => true,
                    "TASK_RUNNING" => running,
                    "TASK_STAGING" | "TASK_STARTING" => staging,
                    _ => false,
                };
                let entries = self
                    .apps
                    .values()
                    .filter_map(|entry| entry.app.as_ref().map(|app| (app, &entry.tasks)));
                let tasks = entries.flat_map(|(app, tasks)| {
                    tasks.values().map(move |task| (task, &app.definition))
                });
                let tasks = tasks.filter(|(task, _)| chosen(task));
                Selected::Tasks(
                    tasks
                        .map(|(task, definition)| (task.clone(), Some(definition.clone())))
                        .collect(),
                )
            }
            Query::Group { id, embed } => {
                let id = PathId::resolve(id);
                let apps = self.below(id.as_str())?;
                let wanted = |group: &PathId| *group == id || group.is_below(&id);
                let groups = self
                    .groups
                    .range(id.clone()..)
                    .take_while(|(group, _)| group.as_str().starts_with(id.as_str()))
                    .filter(|(group, _)| wanted(group));
                Selected::Group(Tree {
                    groups: groups
                        .map(|(id, group)| (id.clone(), group.clone()))
                        .collect(),
                    apps: if embed.apps {
                        self.parts(apps.iter(), embed.app)
                    } else {
                        Vec::new()
                    },
                    pods: if embed.pods {
                        let pods = self.pods();
                        let below = pods.filter(|pod| pod.definition.app.id.is_below(&id));
                        below.map(|pod| self.pod_parts(pod)).collect()
                    } else {
                        Vec::new()
                    },
                    embed: *embed,
                    id,
                })
            }
            Query::Pods => {
                let pods = self.pods().map(|pod| pod.definition.clone());
                Selected::Pods(pods.collect())
            }
            Query::Pod { id } => Selected::Definition(self.pod(id)?.definition.clone()),
            Query::PodStatuses => {
                Selected::PodStatuses(self.pods().map(|pod| self.pod_parts(pod)).collect())
            }
            Query::PodStatus { id } => Selected::PodStatus(self.pod_parts(self.pod(id)?)),
            Query::PodVersions { id } => {
                let id = &self.pod(id)?.definition.app.id;
                Selected::PodVersions(self.versions(id).rev().copied().collect())
            }
            Query::PodVersion { id, version } => {
                let version = Timestamp::parse(version)
                    .map_err(|error| Response::message(422, error.to_string()))?;
                let id = &self.pod(id)?.definition.app.id;
                let entry = self.apps.get(id);
                let found = entry.and_then(|entry| entry.versions.get(&version));
                let missing = || {
                    let message = format!("Pod '{id}' does not exist in version {version}");
                    Response::message(404, message)
                };
                Selected::Definition(found.cloned().ok_or_else(missing)?)
            }
            Query::GroupApps { id, embed } => Selected::GroupApps {
                apps: self.parts(self.below(id)?.iter(), *embed),
                embed: *embed,
            },
            Query::Deployments => {
                let all = self.deployments.values();
                Selected::Deployments(all.map(|one| self.with_readiness(one)).collect())
            }
        })
    }

    /// A deployment with the results of the readiness checks that it waits for.
    fn with_readiness(&self, deployment: &Arc<DeploymentView>) -> Arc<DeploymentView> {
        let checked = |id: &PathId| {
            let app = self.app(id);
            app.is_some_and(|app| !app.definition.app.readiness_checks.is_empty())
        };
        let mut actions = deployment.current_actions.iter();
        if !actions.any(|one| checked(&one.action.app)) {
            return deployment.clone();
        }
        let mut deployment = DeploymentView::clone(deployment);
        for action in &mut deployment.current_actions {
            let results = self.tasks(&action.action.app);
            let results = results.filter_map(|task| task.readiness.clone());
            action.readiness_check_results = results.collect();
        }
        Arc::new(deployment)
    }

    /// Versions of an app, oldest first.
    fn versions(&self, id: &PathId) -> impl DoubleEndedIterator<Item = &Timestamp> {
        self.apps
            .get(id)
            .into_iter()
            .flat_map(|entry| entry.versions.keys())
    }

    fn found(&self, id: &str) -> Result<&Arc<AppView>, Response> {
        let id = PathId::resolve(id);
        self.app(&id).ok_or_else(|| Response::no_app(&id, None))
    }

    fn below(&self, group: &str) -> Result<Vec<Arc<AppView>>, Response> {
        let group = PathId::resolve(group);
        // Siblings such as `/prod-x` stand between `/prod` and `/prod/…`: they share the prefix and are filtered out.
        let apps: Vec<_> = self
            .apps
            .range(group.clone()..)
            .take_while(|(id, _)| id.as_str().starts_with(group.as_str()))
            .filter(|(id, _)| id.is_below(&group))
            .filter_map(|(_, entry)| entry.app.clone())
            .filter(|app| app.definition.app.pod.is_none())
            .collect();
        if !self.groups.contains_key(&group) && !group.is_root() {
            return Err(Response::message(
                404,
                format!("Group '{group}' does not exist"),
            ));
        }
        Ok(apps)
    }

    fn parts<'a>(
        &self,
        apps: impl Iterator<Item = &'a Arc<AppView>>,
        embed: Embed,
    ) -> Vec<AppParts> {
        let tasks = embed.tasks || embed.task_stats || embed.readiness;
        let parts = apps.map(|app| {
            let tasks = if tasks {
                self.tasks(&app.definition.app.id).cloned().collect()
            } else {
                Vec::new()
            };
            AppParts {
                app: app.clone(),
                tasks,
            }
        });
        parts.collect()
    }
}
