//! `tepui pod …`: pods on Marathon.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::{
    CommandError, Context, app,
    ended::{EndedArgs, Kind, LogsArgs},
    items, number, print_json, text,
    trial::TrialOptions,
};
use crate::{rollout::Watched, table::Table};

/// Commands on pods.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PodCommand {
    /// Create or replace the pods of a file and watch until every instance is stable.
    Deploy {
        /// A Marathon pod definition in JSON, or an array of them; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        how: app::How,
        /// Roll back by itself what is not done after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u64>,
    },
    /// Show what `deploy` would change: pods, the differences of their definitions, steps. Nothing is changed.
    Plan {
        /// A Marathon pod definition in JSON, or an array of them; `-` reads standard input.
        file: PathBuf,
        /// End with code 2 if something would change, with 0 if not.
        #[arg(long = "detailed-exitcode")]
        detailed_exitcode: bool,
    },
    /// List the pods.
    List,
    /// Show one pod with its instances and their containers.
    Show {
        /// The pod's id.
        id: String,
    },
    /// Tell why instances of a pod wait: what each agent's offer lacks, back-off, health.
    Explain {
        /// The pod's id.
        id: String,
    },
    /// List the versions to which a pod can go back, newest first; with --tasks, the runs of its instances that have ended.
    History {
        /// The pod's id.
        id: String,
        #[command(flatten)]
        ended: EndedArgs,
    },
    /// Print what the containers of a pod write or, with --previous, what those of the last instance wrote that has ended.
    Logs(LogsArgs),
    /// Go back to a version of a pod; without one, to the one before the present.
    Rollback {
        /// The pod's id.
        id: String,
        /// One of those that `history` lists.
        #[arg(id = "to", value_name = "VERSION")]
        version: Option<String>,
        #[command(flatten)]
        how: app::How,
    },
    /// Change the number of instances.
    Scale {
        /// The pod's id.
        id: String,
        /// How many instances there should be.
        instances: u32,
        #[command(flatten)]
        how: app::How,
    },
    /// Kill instances of a pod; others take their place.
    Kill {
        /// The pod's id.
        id: String,
        /// Ids of instances, as `show` lists them.
        #[arg(required = true)]
        instances: Vec<String>,
        /// Forget them, with what is reserved for them and their volumes.
        #[arg(long)]
        wipe: bool,
    },
    /// Stop all instances and forget the pod.
    Destroy {
        /// The pod's id.
        id: String,
        #[command(flatten)]
        how: app::How,
    },
}

pub(crate) async fn run(context: &Context, command: PodCommand) -> Result<(), CommandError> {
    match command {
        PodCommand::Deploy {
            file,
            how,
            deadline,
        } => {
            let definitions = app::read_definitions(&file)?;
            if let Some(other) = definitions.iter().find(|one| !is_pod(one)) {
                return Err(CommandError::Input {
                    path: file.display().to_string(),
                    reason: format!(
                        "{} has no `containers`, so it is an app: `tepui app deploy` takes both",
                        text(other, "id")
                    ),
                });
            }
            app::deploy_all(
                context,
                definitions,
                how,
                deadline,
                &TrialOptions::default(),
            )
            .await
        }
        PodCommand::Plan {
            file,
            detailed_exitcode,
        } => super::plan::run(context, &file, detailed_exitcode, &TrialOptions::default()).await,
        PodCommand::List => {
            let pods = context.cluster.marathon_get("/v2/pods/::status").await?;
            if context.json {
                print_json(&pods);
            } else {
                print!(
                    "{}",
                    pods_table(pods.as_array().map_or(&[], Vec::as_slice)).render()
                );
            }
            Ok(())
        }
        PodCommand::Show { id } => {
            let status = context
                .cluster
                .marathon_get(&format!("{}::status", path(&id)))
                .await?;
            if context.json {
                print_json(&status);
            } else {
                print!("{}", shown(&status));
            }
            Ok(())
        }
        PodCommand::Explain { id } => app::explain(context, &id).await,
        PodCommand::Logs(args) => super::task::logs_of(context, Kind::Pod, &args).await,
        PodCommand::History { id, ended } if ended.tasks => {
            super::ended::list(context, Kind::Pod, &id, &ended).await
        }
        PodCommand::History { id, .. } => {
            let versions = versions(context, &id).await?;
            if context.json {
                print_json(&json!(versions));
            } else {
                versions.iter().for_each(|version| println!("{version}"));
            }
            Ok(())
        }
        PodCommand::Rollback { id, version, how } => {
            let version = match version {
                Some(version) => version,
                None => app::before_present(&id, versions(context, &id).await?)?,
            };
            let pod = context
                .cluster
                .marathon_get(&format!("{}::versions/{version}", path(&id)))
                .await?;
            app::deploy_all(context, vec![pod], how, None, &TrialOptions::default()).await
        }
        PodCommand::Scale { id, instances, how } => {
            let mut pod = context.cluster.marathon_get(&path(&id)).await?;
            pod["scaling"] = json!({ "kind": "fixed", "instances": instances });
            app::deploy_all(context, vec![pod], how, None, &TrialOptions::default()).await
        }
        PodCommand::Kill {
            id,
            instances,
            wipe,
        } => {
            let path = format!("{}::instances?wipe={wipe}", path(&id));
            let body = json!(instances);
            let sent = context
                .cluster
                .marathon_send(Method::DELETE, &path, Some(&body));
            let killed = sent.await?;
            if context.json {
                print_json(&killed);
                return Ok(());
            }
            let killed: Vec<&str> = killed
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| text(one, "instanceId"))
                .collect();
            killed
                .iter()
                .for_each(|instance| println!("{instance} is killed"));
            let unknown: Vec<&str> = instances
                .iter()
                .map(String::as_str)
                .filter(|one| !killed.contains(one))
                .collect();
            if unknown.is_empty() {
                return Ok(());
            }
            Err(CommandError::Failed(format!(
                "{id} has no instance {}; `tepui pod show {id}` lists those it has",
                unknown.join(", ")
            )))
        }
        PodCommand::Destroy { id, how } => {
            let url = format!("{}?force={}", path(&id), how.force);
            app::change_of(
                context,
                Method::DELETE,
                &url,
                None,
                vec![Watched::Pod(id)],
                how.no_wait,
            )
            .await
        }
    }
}

/// Of all definitions only pods have containers.
pub(crate) fn is_pod(definition: &Value) -> bool {
    definition["containers"].is_array()
}

/// The path of a pod.
pub(crate) fn path(id: &str) -> String {
    format!("/v2/pods/{}", id.trim_matches('/'))
}

/// The versions of a pod, newest first.
async fn versions(context: &Context, id: &str) -> Result<Vec<String>, CommandError> {
    let answer = context
        .cluster
        .marathon_get(&format!("{}::versions", path(id)))
        .await?;
    let versions = answer.as_array().into_iter().flatten();
    Ok(versions
        .filter_map(|version| version.as_str().map(str::to_owned))
        .collect())
}

/// How many instances of a pod are stable.
pub(crate) fn stable(status: &Value) -> usize {
    items(status, "instances")
        .iter()
        .filter(|one| text(one, "status") == "STABLE")
        .count()
}

fn pods_table(pods: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "STABLE", "STATE", "CONTAINERS", "VERSION"]);
    let mut pods: Vec<&Value> = pods.iter().collect();
    pods.sort_by_key(|pod| text(pod, "id"));
    for pod in pods {
        let spec = &pod["spec"];
        let names: Vec<&str> = items(spec, "containers")
            .iter()
            .map(|one| text(one, "name"))
            .collect();
        table.row([
            text(pod, "id").to_owned(),
            format!(
                "{} of {}",
                stable(pod),
                number(&spec["scaling"]["instances"])
            ),
            text(pod, "status").to_lowercase(),
            names.join(","),
            text(spec, "version").to_owned(),
        ]);
    }
    table
}

/// A pod for people: its instances, and below each its containers.
fn shown(status: &Value) -> String {
    let spec = &status["spec"];
    let mut shown = format!(
        "{}  {}, {} of {} instances stable, version {}\n",
        text(status, "id"),
        text(status, "status").to_lowercase(),
        stable(status),
        number(&spec["scaling"]["instances"]),
        text(spec, "version"),
    );
    for end in items(status, "terminationHistory") {
        let states: Vec<String> = items(end, "containers")
            .iter()
            .map(|one| {
                format!(
                    "{} {}",
                    text(one, "containerId"),
                    text(one, "lastKnownState")
                )
            })
            .collect();
        shown += &format!(
            "last failure: {} {}: {}\n",
            text(end, "terminatedAt"),
            states.join(", "),
            text(end, "message")
        );
    }
    let mut table = Table::new(&[
        "INSTANCE",
        "CONTAINER",
        "STATE",
        "HEALTH",
        "ADDRESS",
        "SINCE",
    ]);
    for instance in items(status, "instances") {
        let host = text(instance, "agentHostname");
        let state = match text(instance, "message") {
            "" => text(instance, "status").to_lowercase(),
            message => format!("{}: {message}", text(instance, "status").to_lowercase()),
        };
        table.row([
            text(instance, "id").to_owned(),
            String::new(),
            state,
            String::new(),
            host.to_owned(),
            text(instance, "statusSince").to_owned(),
        ]);
        for container in items(instance, "containers") {
            let ports: Vec<String> = items(container, "endpoints")
                .iter()
                .filter(|endpoint| endpoint["allocatedHostPort"].is_number())
                .map(|endpoint| {
                    format!(
                        "{}={host}:{}",
                        text(endpoint, "name"),
                        number(&endpoint["allocatedHostPort"])
                    )
                })
                .collect();
            let health = items(container, "conditions").first().map_or("-", |one| {
                match text(one, "value") {
                    "true" => "healthy",
                    _ if text(one, "reason") == "health-unreported-by-mesos" => "unknown",
                    _ => "unhealthy",
                }
            });
            let state = text(container, "status")
                .trim_start_matches("TASK_")
                .to_lowercase();
            table.row([
                String::new(),
                text(container, "name").to_owned(),
                match text(container, "message") {
                    "" => state,
                    _ if state == "running" => state,
                    message => format!("{state}: {message}"),
                },
                health.to_owned(),
                ports.join(","),
                text(container, "statusSince").to_owned(),
            ]);
        }
    }
    shown + &table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        let container = |name: &str, value: &str| {
            json!({ "name": name, "status": "TASK_RUNNING", "statusSince": "t2", "message": "well",
                "conditions": [{ "name": "healthy", "value": value, "reason": "health-reported-by-mesos" }],
                "endpoints": [{ "name": "http", "allocatedHostPort": 31000 }, { "name": "inner" }] })
        };
        json!({
            "id": "/shop/pod", "status": "DEGRADED",
            "spec": { "version": "v2", "scaling": { "kind": "fixed", "instances": 2 }, "containers": [{ "name": "web" }, { "name": "side" }] },
            "instances": [
                { "id": "shop_pod.instance-1", "status": "DEGRADED", "message": "at least one container is not healthy", "statusSince": "t1",
                  "agentHostname": "h1", "containers": [container("web", "false")] },
                { "id": "shop_pod.instance-2", "status": "STABLE", "statusSince": "t1", "agentHostname": "h2",
                  "containers": [{ "name": "side", "status": "TASK_STAGING", "statusSince": "t3", "conditions": [], "endpoints": [] }] },
            ],
            "terminationHistory": [{ "instanceID": "shop_pod.instance-0", "terminatedAt": "t0", "message": "it fell",
                "containers": [{ "containerId": "shop_pod.instance-0.web.1", "lastKnownState": "TASK_FAILED" }] }],
        })
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn a_pod_is_shown_with_instances_and_containers() {
        assert_eq!(
            lines(&shown(&status())),
            [
                "/shop/pod degraded, 1 of 2 instances stable, version v2",
                "last failure: t0 shop_pod.instance-0.web.1 TASK_FAILED: it fell",
                "INSTANCE CONTAINER STATE HEALTH ADDRESS SINCE",
                "shop_pod.instance-1 degraded: at least one container is not healthy h1 t1",
                "web running unhealthy http=h1:31000 t2",
                "shop_pod.instance-2 stable h2 t1",
                "side staging - t3",
            ]
        );
    }

    #[test]
    fn pods_are_listed_by_id() {
        let mut other = status();
        other["id"] = json!("/a");
        assert_eq!(
            lines(&pods_table(&[status(), other]).render()),
            [
                "ID STABLE STATE CONTAINERS VERSION",
                "/a 1 of 2 degraded web,side v2",
                "/shop/pod 1 of 2 degraded web,side v2",
            ]
        );
    }
}
