//! Watching a deployment from the first instance to the last.
//!
//! Nothing is polled: Marathon's event stream tells when to look, and is opened before the change is sent, so that nothing is missed. On a
//! terminal one line is rewritten; elsewhere each change is a line of its own.

use std::{
    collections::HashSet,
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    client::{Cluster, Events, app_path},
    commands::{CommandError, items, number, pod, print_json, text},
};

/// With nothing happening, look anyhow: waiting has reasons that make no event.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// However much happens, the counts are asked for no more often.
const SHORTEST_LOOK: Duration = Duration::from_millis(200);

/// What is watched, by its id.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    App(String),
    Pod(String),
}

impl Watched {
    fn id(&self) -> &str {
        match self {
            Self::App(id) | Self::Pod(id) => id,
        }
    }
}

/// A watch over the apps and pods of one change.
#[derive(Debug)]
pub(crate) struct Watch {
    cluster: Cluster,
    watched: Vec<Watched>,
    events: Events,
    started: Instant,
    ended: HashSet<String>,
}

impl Watch {
    /// Opens the event stream; call it before the change is sent.
    pub(crate) async fn begin(
        cluster: &Cluster,
        watched: Vec<Watched>,
    ) -> Result<Self, CommandError> {
        let events = Events::open(
            cluster.client(),
            &format!("{}/v2/events?plan-format=light", cluster.marathon),
        )
        .await?;
        Ok(Self {
            cluster: cluster.clone(),
            watched,
            events,
            started: Instant::now(),
            ended: HashSet::new(),
        })
    }

    /// Shows progress until the deployment has succeeded.
    ///
    /// # Errors
    /// The deployment failed or was cancelled, or Marathon is gone.
    pub(crate) async fn until_done(
        mut self,
        deployment: &str,
        json: bool,
    ) -> Result<(), CommandError> {
        let mut line = Line::new(json);
        let mut looked: Option<Instant> = None;
        loop {
            if self.ended.contains(deployment) {
                break;
            }
            if looked.is_none_or(|at| at.elapsed() >= SHORTEST_LOOK) {
                line.show(&self.progress().await?);
                looked = Some(Instant::now());
            }
            match tokio::time::timeout(LOOK_INTERVAL, self.events.next()).await {
                Err(_) => {
                    if !self.is_running(deployment).await? {
                        break;
                    }
                }
                Ok(event) => {
                    let Some(event) = event? else {
                        return Err(CommandError::Failed("Marathon ended the event stream; `tepui app list` shows how things stand".into()));
                    };
                    let document: Value = serde_json::from_str(&event.data).unwrap_or_default();
                    let id = text(&document, "id");
                    if let Some(news) = self.news(&event.name, &document) {
                        line.tell(&news);
                    }
                    match event.name.as_str() {
                        "deployment_success" => drop(self.ended.insert(id.to_owned())),
                        "deployment_failed" if id == deployment => {
                            line.end();
                            let reason = match text(&document, "reason") {
                                "" => String::new(),
                                reason => format!(": {reason}"),
                            };
                            return Err(CommandError::Failed(format!(
                                "deployment {deployment} was cancelled or failed{reason}"
                            )));
                        }
                        _ => {}
                    }
                }
            }
        }
        line.show(&self.progress().await?);
        line.end();
        let seconds = self.started.elapsed().as_secs_f64();
        if json {
            print_json(&json!({ "deploymentId": deployment, "seconds": seconds }));
        } else {
            println!("done in {seconds:.1} s");
        }
        Ok(())
    }

    /// What an event tells of one instance of the apps that are watched.
    fn news(&self, name: &str, document: &Value) -> Option<String> {
        let of = |key: &str| {
            let id = text(document, key).trim_matches('/');
            self.watched
                .iter()
                .any(|one| one.id().trim_matches('/') == id)
        };
        // Of an app the instance is meant, of a pod the container too.
        let instance = |key: &str| {
            let id = text(document, key);
            let shown = id.split_once("._app").map_or(id, |(instance, _)| instance);
            shown.to_owned()
        };
        match name {
            "status_update_event" if of("appId") => {
                let state = text(document, "taskStatus").trim_start_matches("TASK_");
                let mut news = format!(
                    "  {} {} on {}",
                    instance("taskId"),
                    state.to_lowercase(),
                    text(document, "host")
                );
                if !text(document, "message").is_empty() {
                    news += &format!(": {}", text(document, "message"));
                }
                Some(news)
            }
            "instance_health_changed_event" if of("runSpecId") => {
                let health = match document["healthy"].as_bool()? {
                    true => "healthy",
                    false => "unhealthy",
                };
                Some(format!("  {} {health}", instance("instanceId")))
            }
            _ => None,
        }
    }

    async fn is_running(&self, deployment: &str) -> Result<bool, CommandError> {
        let deployments = self.cluster.marathon_get("/v2/deployments").await?;
        Ok(deployments
            .as_array()
            .is_some_and(|all| all.iter().any(|one| text(one, "id") == deployment)))
    }

    /// One line: each app with its counts.
    async fn progress(&self) -> Result<String, CommandError> {
        let mut parts = Vec::new();
        for one in &self.watched {
            let path = match one {
                Watched::App(id) => app_path(id),
                Watched::Pod(id) => format!("{}::status", pod::path(id)),
            };
            match self.cluster.marathon_get(&path).await {
                Ok(document) => parts.push(match one {
                    Watched::App(_) => counts(&document["app"]),
                    Watched::Pod(_) => pod_counts(&document),
                }),
                Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => {
                    parts.push(format!("{}: gone", one.id()))
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(parts.join("   "))
    }
}

/// `/hello: 3 wanted, 1 staged, 2 running, 1 healthy`.
fn counts(app: &Value) -> String {
    let count = |key: &str| app[key].as_u64().unwrap_or(0);
    let mut line = format!(
        "{}: {} wanted, {} staged, {} running",
        text(app, "id"),
        count("instances"),
        count("tasksStaged"),
        count("tasksRunning")
    );
    if !items(app, "healthChecks").is_empty() {
        line.push_str(&format!(", {} healthy", count("tasksHealthy")));
        if count("tasksUnhealthy") > 0 {
            line.push_str(&format!(", {} unhealthy", count("tasksUnhealthy")));
        }
    }
    line
}

/// `/pod: 3 wanted, 1 starting, 2 stable`.
fn pod_counts(status: &Value) -> String {
    let instances = items(status, "instances").iter();
    let starting = instances.filter(|one| matches!(text(one, "status"), "PENDING" | "STAGING"));
    format!(
        "{}: {} wanted, {} starting, {} stable",
        text(status, "id"),
        number(&status["spec"]["scaling"]["instances"]),
        starting.count(),
        pod::stable(status)
    )
}

/// A line that is rewritten in place on a terminal.
#[derive(Debug)]
struct Line {
    shown: String,
    terminal: bool,
    quiet: bool,
}

impl Line {
    fn new(quiet: bool) -> Self {
        Self {
            shown: String::new(),
            terminal: std::io::stdout().is_terminal(),
            quiet,
        }
    }

    fn show(&mut self, text: &str) {
        if self.quiet || text == self.shown {
            return;
        }
        if self.terminal {
            print!("\r\x1b[2K{text}");
            let _ = std::io::stdout().flush();
        } else {
            println!("{text}");
        }
        text.clone_into(&mut self.shown);
    }

    /// A line of its own, above the one that is rewritten.
    fn tell(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal {
            println!("\r\x1b[2K{text}");
            print!("{}", self.shown);
            let _ = std::io::stdout().flush();
        } else {
            println!("{text}");
        }
    }

    fn end(&self) {
        if self.terminal && !self.quiet {
            println!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_what_the_pod_has() {
        let instances =
            json!([{ "status": "STAGING" }, { "status": "STABLE" }, { "status": "DEGRADED" }]);
        let status = json!({ "id": "/p", "spec": { "scaling": { "instances": 4 } }, "instances": instances });
        assert_eq!(pod_counts(&status), "/p: 4 wanted, 1 starting, 1 stable");
    }

    #[test]
    fn progress_counts_what_the_app_has() {
        let mut app = json!({"id": "/hello", "instances": 3, "tasksStaged": 1, "tasksRunning": 2, "tasksHealthy": 1, "tasksUnhealthy": 0});
        assert_eq!(counts(&app), "/hello: 3 wanted, 1 staged, 2 running");
        app["healthChecks"] = json!([{}]);
        assert_eq!(
            counts(&app),
            "/hello: 3 wanted, 1 staged, 2 running, 1 healthy"
        );
        app["tasksUnhealthy"] = json!(1);
        assert_eq!(
            counts(&app),
            "/hello: 3 wanted, 1 staged, 2 running, 1 healthy, 1 unhealthy"
        );
    }
}
