//! `tepui app …`: apps on Marathon.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use super::{
    CommandError, Context,
    ended::{EndedArgs, Kind, LogsArgs},
    items, number, pod, print_json, text,
    trial::TrialOptions,
};
use crate::{
    client::app_path,
    rollout::{self, Watched},
    table::Table,
};

/// Commands on apps.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AppCommand {
    /// Create or update the apps of a file and watch until every instance is there (and healthy, if it has health checks).
    Deploy {
        /// A Marathon app definition in JSON, or an array of them, pods among them too; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        how: How,
        /// Roll back by itself what is not done after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u64>,
        #[command(flatten)]
        trial: TrialOptions,
    },
    /// Show what `deploy` would change: apps, the differences of their definitions, steps. Nothing is changed.
    Plan {
        /// A Marathon app definition in JSON, an array of them, or a group; `-` reads standard input.
        file: PathBuf,
        /// End with code 2 if something would change, with 0 if not.
        #[arg(long = "detailed-exitcode")]
        detailed_exitcode: bool,
        #[command(flatten)]
        trial: TrialOptions,
    },
    /// List the apps.
    List,
    /// Show one app and its instances.
    Show {
        /// The app's id.
        id: String,
    },
    /// Let the number of instances follow what they use, within bounds; without options, show how it is set.
    Autoscale(super::autoscale::AutoscaleArgs),
    /// Show, set or take away what goes on with an app over time: autoscaling, restarts, rebalancing, disruption budget.
    Policy(super::upkeep::PolicyArgs),
    /// Spread the instances of an app more evenly over its agents, one move after another.
    Rebalance(super::upkeep::RebalanceArgs),
    /// List every instance of an app or pod, also those that wait, with their ordinals.
    Instances {
        /// The app's id.
        id: String,
    },
    /// Tell why instances of an app wait: what each agent's offer lacks, back-off, health.
    Explain {
        /// The app's id.
        id: String,
    },
    /// List the versions to which an app can go back, newest first; with --tasks, the tasks that have ended.
    History {
        /// The app's id.
        id: String,
        #[command(flatten)]
        ended: EndedArgs,
    },
    /// Print what the tasks of an app write or, with --previous, what the last one wrote that has ended.
    Logs(LogsArgs),
    /// Go back to a version of an app; without one, to the one before the present.
    Rollback {
        /// The app's id.
        id: String,
        /// One of those that `history` lists.
        #[arg(id = "to", value_name = "VERSION")]
        version: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Change the number of instances.
    Scale {
        /// The app's id.
        id: String,
        /// How many instances there should be.
        instances: u32,
        #[command(flatten)]
        how: How,
    },
    /// Replace every instance, by the app's upgrade strategy.
    Restart {
        /// The app's id.
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Stop all instances and forget the app.
    Destroy {
        /// The app's id.
        id: String,
        /// Return as soon as the deployment is accepted.
        #[arg(long)]
        no_wait: bool,
    },
}

pub(crate) async fn run(context: &Context, command: AppCommand) -> Result<(), CommandError> {
    match command {
        AppCommand::Deploy {
            file,
            how,
            deadline,
            trial,
        } => {
            let definitions = read_definitions(&file)?;
            deploy_all(context, definitions, how, deadline, &trial).await
        }
        AppCommand::Plan {
            file,
            detailed_exitcode,
            trial,
        } => super::plan::run(context, &file, detailed_exitcode, &trial).await,
        AppCommand::List => list(context).await,
        AppCommand::Show { id } => show(context, &id).await,
        AppCommand::Logs(args) => super::task::logs_of(context, Kind::App, &args).await,
        AppCommand::History { id, ended } if ended.tasks => {
            super::ended::list(context, Kind::App, &id, &ended).await
        }
        AppCommand::History { id, .. } => {
            let versions = versions(context, &id).await?;
            if context.json {
                print_json(&json!(versions));
            } else {
                for version in versions {
                    println!("{version}");
                }
            }
            Ok(())
        }
        AppCommand::Rollback { id, version, how } => {
            let version = match version {
                Some(version) => version,
                None => before_present(&id, versions(context, &id).await?)?,
            };
            let body = json!({ "version": version });
            let path = format!("{}?force={}", app_path(&id), how.force);
            let no_wait = how.no_wait;
            change(context, Method::PUT, &path, Some(&body), &[id], no_wait).await
        }
        AppCommand::Autoscale(args) => super::autoscale::run(context, &args).await,
        AppCommand::Policy(args) => super::upkeep::policy(context, &args).await,
        AppCommand::Rebalance(args) => super::upkeep::rebalance(context, &args).await,
        AppCommand::Instances { id } => super::instances::run(context, &id).await,
        AppCommand::Explain { id } => explain(context, &id).await,
        AppCommand::Scale { id, instances, how } => {
            let body = json!({ "instances": instances });
            let path = format!("{}?force={}", app_path(&id), how.force);
            let no_wait = how.no_wait;
            change(context, Method::PUT, &path, Some(&body), &[id], no_wait).await
        }
        AppCommand::Restart { id, how } => {
            let path = format!("{}/restart?force={}", app_path(&id), how.force);
            change(context, Method::POST, &path, None, &[id], how.no_wait).await
        }
        AppCommand::Destroy { id, no_wait } => {
            change(
                context,
                Method::DELETE,
                &app_path(&id),
                None,
                &[id],
                no_wait,
            )
            .await
        }
    }
}

/// How a change is made.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct How {
    /// Take over what is locked by another deployment.
    #[arg(long)]
    pub(crate) force: bool,
    /// Return as soon as the deployment is accepted.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Of the versions of an app or pod, newest first, the one before the present.
pub(crate) fn before_present(id: &str, versions: Vec<String>) -> Result<String, CommandError> {
    let before = versions.into_iter().nth(1);
    before
        .ok_or_else(|| CommandError::Failed(format!("{id} has no version before the present one")))
}

/// Reads a file of app definitions: one object, or an array. What can be known to be wrong without a cluster is refused here.
pub(crate) fn read_definitions(file: &Path) -> Result<Vec<Value>, CommandError> {
    let path = file.display().to_string();
    let bad = |reason: String| CommandError::Input {
        path: path.clone(),
        reason,
    };
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| bad(format!("cannot be read: {error}")))?;
    let document: Value =
        serde_json::from_str(&text).map_err(|error| bad(format!("is not valid JSON: {error}")))?;
    let definitions = match document {
        Value::Array(definitions) => definitions,
        definition @ Value::Object(_) => vec![definition],
        _ => {
            return Err(bad(
                "must hold an app definition (a JSON object), or an array of them".into(),
            ));
        }
    };
    if definitions.is_empty() {
        return Err(bad("holds no app definition".into()));
    }
    for (index, definition) in definitions.iter().enumerate() {
        if definition["id"].as_str().is_none_or(str::is_empty) {
            return Err(bad(format!(
                "app definition {} has no `id` (a string such as \"/hello\")",
                index + 1
            )));
        }
    }
    Ok(definitions)
}

/// The apps and pods of a file, by their absolute ids.
pub(crate) fn watched(definitions: &[Value]) -> Vec<Watched> {
    let watched = |definition: &Value| {
        let id = format!("/{}", text(definition, "id").trim_matches('/'));
        if pod::is_pod(definition) {
            Watched::Pod(id)
        } else {
            Watched::App(id)
        }
    };
    definitions.iter().map(watched).collect()
}

/// Deploys apps and pods, whole, in one deployment.
pub(crate) async fn deploy_all(
    context: &Context,
    definitions: Vec<Value>,
    how: How,
    deadline: Option<u64>,
    trial: &TrialOptions,
) -> Result<(), CommandError> {
    let watched = watched(&definitions);
    // One call makes one deployment of all of them, creating what is missing and replacing the rest as a whole. That of Marathon knows no pods.
    let query = format!("partialUpdate=false&force={}", how.force);
    let has_pods = watched.iter().any(|one| matches!(one, Watched::Pod(_)));
    let mut more = trial.query();
    if let Some(seconds) = deadline {
        more += &format!("&deadlineSeconds={seconds}");
    }
    let (method, path) = if more.is_empty() && !has_pods {
        (Method::PUT, format!("/v2/apps?{query}"))
    } else {
        (Method::POST, format!("/v3/apply?{query}{more}"))
    };
    let body = Value::Array(definitions);
    change_of(context, method, &path, Some(&body), watched, how.no_wait).await
}

/// Sends a change of apps and, unless told otherwise, watches its deployment to the end.
pub(crate) async fn change(
    context: &Context,
    method: Method,
    path: &str,
    body: Option<&Value>,
    apps: &[String],
    no_wait: bool,
) -> Result<(), CommandError> {
    let watched = apps.iter().cloned().map(Watched::App).collect();
    change_of(context, method, path, body, watched, no_wait).await
}

/// As [`change`], of apps and pods.
pub(crate) async fn change_of(
    context: &Context,
    method: Method,
    path: &str,
    body: Option<&Value>,
    watched: Vec<Watched>,
    no_wait: bool,
) -> Result<(), CommandError> {
    let watch = if no_wait {
        None
    } else {
        Some(rollout::Watch::begin(&context.cluster, watched).await?)
    };
    let (answer, deployment) = context.cluster.marathon_change(method, path, body).await?;
    if path.starts_with("/v3/apply")
        && !context.json
        && let Some(hint) = super::trial::hint(context, &deployment).await?
    {
        println!("{hint}");
    }
    match watch {
        Some(watch) => watch.until_done(&deployment, context.json).await,
        None => {
            if context.json {
                print_json(&answer);
            } else {
                println!("deployment {deployment} accepted");
            }
            Ok(())
        }
    }
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let document = context.cluster.marathon_get("/v2/apps").await?;
    if context.json {
        print_json(&document["apps"]);
        return Ok(());
    }
    print!("{}", apps_table(items(&document, "apps")).render());
    Ok(())
}

pub(crate) fn apps_table(apps: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ID",
        "INSTANCES",
        "HEALTH",
        "CPUS",
        "MEM (MiB)",
        "STATE",
        "COMMAND",
    ]);
    let mut apps: Vec<&Value> = apps.iter().collect();
    apps.sort_by_key(|app| text(app, "id"));
    for app in apps {
        table.row([
            text(app, "id").to_owned(),
            format!(
                "{} of {}",
                number(&app["tasksRunning"]),
                number(&app["instances"])
            ),
            health(app),
            number(&app["cpus"]),
            number(&app["mem"]),
            state(app).to_owned(),
            shortened(text(app, "cmd")),
        ]);
    }
    table
}

fn health(app: &Value) -> String {
    if items(app, "healthChecks").is_empty() {
        return "-".into();
    }
    let healthy = number(&app["tasksHealthy"]);
    match app["tasksUnhealthy"].as_u64() {
        Some(unhealthy) if unhealthy > 0 => format!("{healthy} good, {unhealthy} bad"),
        _ => format!("{healthy} good"),
    }
}

fn state(app: &Value) -> &'static str {
    let running = app["tasksRunning"].as_u64().unwrap_or(0);
    if !items(app, "deployments").is_empty() {
        "deploying"
    } else if app["instances"] == 0 && running == 0 {
        "suspended"
    } else if running < app["instances"].as_u64().unwrap_or(0) {
        "waiting"
    } else {
        "running"
    }
}

fn shortened(command: &str) -> String {
    const LONGEST: usize = 48;
    if command.chars().count() <= LONGEST {
        return command.to_owned();
    }
    command.chars().take(LONGEST - 1).chain(['…']).collect()
}

async fn show(context: &Context, id: &str) -> Result<(), CommandError> {
    let document = context.cluster.marathon_get(&app_path(id)).await?;
    let app = &document["app"];
    if context.json {
        print_json(app);
        return Ok(());
    }
    println!(
        "{}  {}, {} of {} instances running, version {}",
        text(app, "id"),
        state(app),
        number(&app["tasksRunning"]),
        number(&app["instances"]),
        text(app, "version")
    );
    let failure = &app["lastTaskFailure"];
    if !failure.is_null() {
        println!(
            "last failure: {} {} on {}: {}",
            text(failure, "timestamp"),
            text(failure, "state"),
            text(failure, "host"),
            text(failure, "message")
        );
    }
    let mut table = Table::new(&[
        "INSTANCE", "STATE", "HEALTH", "ADDRESS", "VERSION", "STARTED",
    ]);
    for task in items(app, "tasks") {
        let ports: Vec<String> = items(task, "ports").iter().map(number).collect();
        table.row([
            text(task, "id").to_owned(),
            text(task, "state")
                .trim_start_matches("TASK_")
                .to_lowercase(),
            instance_health(task).to_owned(),
            format!(
                "{}{}{}",
                text(task, "host"),
                if ports.is_empty() { "" } else { ":" },
                ports.join(",")
            ),
            text(task, "version").to_owned(),
            text(task, "startedAt").to_owned(),
        ]);
    }
    print!("{}", table.render());
    Ok(())
}

/// The versions of an app, newest first.
async fn versions(context: &Context, id: &str) -> Result<Vec<String>, CommandError> {
    let path = format!("{}/versions", app_path(id));
    let answer = context.cluster.marathon_get(&path).await?;
    let versions = items(&answer, "versions").iter();
    Ok(versions
        .filter_map(|version| version.as_str().map(str::to_owned))
        .collect())
}

pub(crate) async fn explain(context: &Context, id: &str) -> Result<(), CommandError> {
    let path = format!("/v3/apps/{}/explain", id.trim_matches('/'));
    let answer = context.cluster.marathon_get(&path).await?;
    if context.json {
        print_json(&answer);
    } else {
        print!("{}", explanation(&answer));
    }
    Ok(())
}

/// The answer of `/v3/apps/{id}/explain` for people.
fn explanation(answer: &Value) -> String {
    let mut shown = format!(
        "{}  {} of {} instances ready, {} running, {} waiting\n",
        text(answer, "id"),
        number(&answer["ready"]),
        number(&answer["instances"]),
        number(&answer["running"]),
        number(&answer["waiting"]),
    );
    let deployment = &answer["deployment"];
    if !deployment.is_null() {
        shown += &format!(
            "deployment {}: step {} of {}, {}\n",
            text(deployment, "id"),
            number(&deployment["currentStep"]),
            number(&deployment["totalSteps"]),
            deployment["action"].as_str().unwrap_or("done in this step")
        );
    }
    let reasons = items(answer, "reasons");
    if reasons.is_empty() {
        shown += "nothing is waited for\n";
    }
    for reason in reasons {
        shown += &format!("- {}\n", reason.as_str().unwrap_or_default());
    }
    for line in super::upkeep::told(&answer["upkeep"]) {
        shown += &format!("{line}\n");
    }
    for machine in items(answer, "machines") {
        shown += &going_down(machine);
    }
    let agents = items(answer, "agents");
    if !agents.is_empty() {
        let mut table = Table::new(&["AGENT", "LACKS", "SHORT BY", "OFFERED"]);
        for agent in agents {
            for lack in items(agent, "lacks") {
                let missing = &lack["missing"];
                table.row([
                    text(agent, "host").to_owned(),
                    text(lack, "what").to_owned(),
                    if missing.is_null() {
                        String::new()
                    } else {
                        number(missing)
                    },
                    text(agent, "at").to_owned(),
                ]);
            }
        }
        shown += &table.render();
    }
    shown
}

/// A machine that goes down for maintenance, in a line.
fn going_down(machine: &Value) -> String {
    let there = items(machine, "instances").len();
    let instances = if there == 1 { "instance" } else { "instances" };
    let leaves = match machine["leavesAt"].as_str() {
        Some(at) => format!("leave from {at} on"),
        None => "stay".to_owned(),
    };
    let why = machine["why"].as_str();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    format!(
        "{} goes down for maintenance at {}, {there} {instances} there {leaves}{why}\n",
        text(machine, "host"),
        text(machine, "begins"),
    )
}

fn instance_health(task: &Value) -> &'static str {
    let results = items(task, "healthCheckResults");
    if results.is_empty() {
        "-"
    } else if results.iter().all(|result| result["alive"] == true) {
        "healthy"
    } else {
        "unhealthy"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_names_reasons_and_agents() {
        let answer = json!({
            "id": "/web", "instances": 3, "ready": 1, "running": 1, "waiting": 2, "deployment": null,
            "reasons": ["cpus short by 0.5 at least on 1 agent"],
            "agents": [{ "host": "h1", "at": "2026-01-01T00:00:00.000Z", "lacks": [{ "what": "cpus", "missing": 0.5 }] }],
        });
        let shown = explanation(&answer);
        let lines: Vec<String> = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "/web 1 of 3 instances ready, 1 running, 2 waiting",
                "- cpus short by 0.5 at least on 1 agent",
                "AGENT LACKS SHORT BY OFFERED",
                "h1 cpus 0.5 2026-01-01T00:00:00.000Z",
            ]
        );
    }

    #[test]
    fn apps_are_listed_by_id_with_instances_and_health() {
        let apps = [
            json!({"id": "/web", "instances": 3, "tasksRunning": 2, "tasksHealthy": 1, "tasksUnhealthy": 1, "cpus": 0.5, "mem": 64,
                "healthChecks": [{}], "deployments": [{"id": "d"}], "cmd": "serve"}),
            json!({"id": "/db", "instances": 0, "tasksRunning": 0, "cpus": 1.0, "mem": 128, "deployments": [], "cmd": "a".repeat(60)}),
        ];
        assert_eq!(
            apps_table(&apps).render(),
            format!(
                "ID    INSTANCES  HEALTH         CPUS  MEM (MiB)  STATE      COMMAND\n\
                 /db   0 of 0     -                 1        128  suspended  {}…\n\
                 /web  2 of 3     1 good, 1 bad   0.5         64  deploying  serve\n",
                "a".repeat(47)
            )
        );
    }

    #[test]
    fn a_file_of_definitions_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        for (content, expected) in [
            (
                "{",
                "is not valid JSON: EOF while parsing an object at line 1 column 1",
            ),
            ("3", "must hold an app definition"),
            ("[]", "holds no app definition"),
            (
                r#"[{"id":"/a"},{"cmd":"x"}]"#,
                "app definition 2 has no `id`",
            ),
        ] {
            let file = dir.path().join("app.json");
            std::fs::write(&file, content).unwrap();
            let error = read_definitions(&file).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(
            read_definitions(&dir.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }
}
