//! From the objects of an answer to its JSON. Definitions are taken as they were serialised, the rest is written round them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::{
    Embed,
    select::{AppParts, Selected, Selection},
};
use crate::{instance::TaskView, response::Response, timestamp::Timestamp};

impl Selection {
    /// Writes the answer; `now` dates the life times of task statistics.
    #[must_use]
    pub fn render(self, now: Timestamp) -> Response {
        match self.0 {
            Selected::Apps { key, apps, embed } => {
                let mut body = format!("{{\"{key}\":[");
                separated(&mut body, &apps, |body, app| {
                    write_app(body, app, embed.of_apps(), now)
                });
                body.push_str("]}");
                ok(body)
            }
            Selected::App { app, embed } => {
                let mut body = "{\"app\":".to_owned();
                write_app(
                    &mut body,
                    &app,
                    Embed {
                        tasks: true,
                        last_task_failure: true,
                        ..embed.of_apps()
                    },
                    now,
                );
                body.push('}');
                ok(body)
            }
            Selected::Tasks(tasks) => {
                let mut body = "{\"tasks\":[".to_owned();
                separated(
                    &mut body,
                    &tasks,
                    |body, (task, definition)| match definition {
                        None => write(body, &**task),
                        Some(definition) => {
                            let service_ports = definition.app.service_ports();
                            write(
                                body,
                                &TaskView {
                                    service_ports,
                                    ..(**task).clone()
                                },
                            );
                        }
                    },
                );
                body.push_str("]}");
                ok(body)
            }
            Selected::Versions(versions) => Response::json(200, &json!({ "versions": versions })),
            Selected::Definition(definition) => ok(definition.json().to_owned()),
            Selected::Deployments(deployments) => Response::json(200, &deployments),
            Selected::Pods(pods) => {
                let mut body = "[".to_owned();
                separated(&mut body, &pods, |body, pod| body.push_str(pod.json()));
                body.push(']');
                ok(body)
            }
            Selected::PodVersions(versions) => Response::json(200, &versions),
            Selected::PodStatus(pod) => Response::json(200, &pod.status()),
            Selected::PodStatuses(pods) => {
                let all: Vec<_> = pods.iter().map(|pod| pod.status()).collect();
                Response::json(200, &all)
            }
            Selected::Group(tree) => tree.render(now),
            Selected::GroupApps { apps, embed } => {
                let mut body = "[".to_owned();
                separated(&mut body, &apps, |body, app| {
                    write_app(body, app, embed, now)
                });
                body.push(']');
                ok(body)
            }
            Selected::Refused(response) => response,
        }
    }
}

pub(super) fn ok(body: String) -> Response {
    Response {
        status: 200,
        location: None,
        deployment_id: None,
        body: Bytes::from(body),
    }
}

pub(super) fn write_app(body: &mut String, parts: &AppParts, embed: Embed, now: Timestamp) {
    let app = &parts.app;
    let definition = app.definition.json();
    body.push_str(definition.strip_suffix('}').unwrap_or(definition));
    if embed.counts {
        for (key, count) in [
            ("tasksStaged", app.counts.staged),
            ("tasksRunning", app.counts.running),
            ("tasksHealthy", app.counts.healthy),
            ("tasksUnhealthy", app.counts.unhealthy),
        ] {
            member(body, key, &count);
        }
    }
    if embed.deployments {
        let deployments: Vec<_> = app
            .deployments
            .iter()
            .map(|id| json!({ "id": id }))
            .collect();
        member(body, "deployments", &deployments);
    }
    if embed.tasks {
        member(body, "tasks", &parts.tasks);
    }
    if embed.readiness {
        // They belong to a deployment; afterwards there is nothing to wait for.
        let results = parts
            .tasks
            .iter()
            .filter_map(|task| task.readiness.as_ref());
        let results = results.filter(|_| !app.deployments.is_empty());
        member(body, "readinessCheckResults", &results.collect::<Vec<_>>());
    }
    if embed.last_task_failure
        && let Some(failure) = &app.last_task_failure
    {
        member(body, "lastTaskFailure", failure);
    }
    if embed.task_stats {
        member(
            body,
            "taskStats",
            &super::stats::task_stats(&app.definition.app, &parts.tasks, now),
        );
    }
    body.push('}');
}

pub(super) fn member<T: Serialize + ?Sized>(body: &mut String, key: &str, value: &T) {
    body.push_str(",\"");
    body.push_str(key);
    body.push_str("\":");
    write(body, value);
}

pub(super) fn write<T: Serialize + ?Sized>(body: &mut String, value: &T) {
    // Only maps with keys that are not strings fail to serialise, and none of ours has any.
    body.push_str(&serde_json::to_string(value).unwrap_or_default());
}

pub(super) fn separated<T>(body: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        write(body, item);
    }
}
