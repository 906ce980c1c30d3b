//! `tepui task …`: what runs, its output, and stopping it.

use std::{io::Write as _, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{CommandError, Context, items, print_json, text};
use crate::table::Table;

/// How long `logs -f` waits before it looks for more after it found nothing: Mesos' file interface has no push.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// The most that an agent hands out at once.
const READ_BYTES: u64 = 64 << 10;

/// Commands on tasks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TaskCommand {
    /// List tasks of all frameworks, newest first.
    List {
        /// Only tasks of the framework with this name or id.
        #[arg(long)]
        framework: Option<String>,
        /// Also tasks that have ended.
        #[arg(long, short)]
        all: bool,
    },
    /// Print what a task wrote.
    Logs {
        /// The task's id, or the beginning of it.
        task: String,
        /// Go on printing as the task writes.
        #[arg(long, short)]
        follow: bool,
        /// Its standard error instead of its standard output.
        #[arg(long)]
        stderr: bool,
        /// Begin this many bytes before the end.
        #[arg(long, value_name = "BYTES")]
        tail: Option<u64>,
    },
    /// Kill a task; its framework decides whether another takes its place.
    Kill {
        /// The task's id, or the beginning of it.
        task: String,
    },
}

pub(crate) async fn run(context: &Context, command: TaskCommand) -> Result<(), CommandError> {
    match command {
        TaskCommand::List { framework, all } => list(context, framework.as_deref(), all).await,
        TaskCommand::Logs {
            task,
            follow,
            stderr,
            tail,
        } => {
            logs(
                context,
                &task,
                follow,
                if stderr { "stderr" } else { "stdout" },
                tail,
            )
            .await
        }
        TaskCommand::Kill { task } => kill(context, &task).await,
    }
}

/// Whether a task in this state has ended.
fn ended(state: &str) -> bool {
    !matches!(
        state,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE"
    )
}

async fn tasks(context: &Context) -> Result<Vec<Value>, CommandError> {
    let document = context
        .cluster
        .master_get("/tasks?limit=1000000&order=des")
        .await?;
    Ok(items(&document, "tasks").to_vec())
}

async fn list(context: &Context, framework: Option<&str>, all: bool) -> Result<(), CommandError> {
    let mut tasks = tasks(context).await?;
    let frameworks = context.cluster.master_get("/frameworks").await?;
    let names: Vec<(&str, &str)> = ["frameworks", "completed_frameworks"]
        .iter()
        .flat_map(|key| items(&frameworks, key))
        .map(|framework| (text(framework, "id"), text(framework, "name")))
        .collect();
    let name = |id: &str| {
        names
            .iter()
            .find(|(known, _)| *known == id)
            .map_or_else(|| id.to_owned(), |(_, name)| (*name).to_owned())
    };
    tasks.retain(|task| {
        let id = text(task, "framework_id");
        (all || !ended(text(task, "state")))
            && framework.is_none_or(|wanted| wanted == id || wanted == name(id))
    });
    if context.json {
        print_json(&Value::Array(tasks));
        return Ok(());
    }
    let mut table = Table::new(&["ID", "NAME", "FRAMEWORK", "STATE", "AGENT"]);
    for task in &tasks {
        table.row([
            text(task, "id").to_owned(),
            text(task, "name").to_owned(),
            name(text(task, "framework_id")),
            text(task, "state")
                .trim_start_matches("TASK_")
                .to_lowercase(),
            text(task, "slave_id").to_owned(),
        ]);
    }
    print!("{}", table.render());
    Ok(())
}

/// The one task whose id is, or begins with, what was given; a live one before those that ended.
fn find<'a>(tasks: &'a [Value], wanted: &str) -> Result<&'a Value, CommandError> {
    if let Some(exact) = tasks.iter().find(|task| text(task, "id") == wanted) {
        return Ok(exact);
    }
    let matching: Vec<&Value> = tasks
        .iter()
        .filter(|task| text(task, "id").starts_with(wanted))
        .collect();
    let live: Vec<&Value> = matching
        .iter()
        .copied()
        .filter(|task| !ended(text(task, "state")))
        .collect();
    match (live.as_slice(), matching.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one),
        (_, []) => Err(CommandError::Failed(format!(
            "no task has an id that begins with `{wanted}`; `tepui task list --all` shows them"
        ))),
        _ => Err(CommandError::Failed(format!(
            "{} tasks have ids that begin with `{wanted}`; give more of it",
            matching.len()
        ))),
    }
}

async fn logs(
    context: &Context,
    wanted: &str,
    follow: bool,
    file: &str,
    tail: Option<u64>,
) -> Result<(), CommandError> {
    let tasks = tasks(context).await?;
    let task = find(&tasks, wanted)?;
    let agent_id = text(task, "slave_id");
    let agents = context
        .cluster
        .master_get(&format!("/slaves?slave_id={agent_id}"))
        .await?;
    let agent = items(&agents, "slaves").first().ok_or_else(|| {
        CommandError::Failed(format!(
            "agent {agent_id}, where the task ran, is not registered now"
        ))
    })?;
    let executor = match text(task, "executor_id") {
        "" => text(task, "id"),
        executor => executor,
    };
    let path = format!(
        "/frameworks/{}/executors/{executor}/runs/latest/{file}",
        text(task, "framework_id")
    );
    let url = format!(
        "http://{}:{}/api/v1",
        text(agent, "hostname"),
        number_or(&agent["port"], 5051)
    );
    let mut offset = match tail {
        Some(bytes) => read(context, &url, &path, 0, 0)
            .await?
            .size
            .saturating_sub(bytes),
        None => 0,
    };
    let mut out = std::io::stdout();
    loop {
        let piece = read(context, &url, &path, offset, READ_BYTES).await?;
        offset += piece.data.len() as u64;
        if out
            .write_all(&piece.data)
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(()); // the reader of our output has gone
        }
        if piece.data.is_empty() {
            if !follow {
                return Ok(());
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

/// A piece of a file in a sandbox.
struct Piece {
    /// The whole file's size, in bytes.
    size: u64,
    data: Vec<u8>,
}

/// Reads by the agent's operator API, which keeps bytes as they are (base64), unlike `/files/read`.
async fn read(
    context: &Context,
    url: &str,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<Piece, CommandError> {
    let call = json!({"type": "READ_FILE", "read_file": {"path": path, "offset": offset, "length": length}});
    let answer = context
        .cluster
        .client()
        .send(Method::POST, url, call.to_string().into())
        .await?
        .json()?;
    let answer = &answer["read_file"];
    let data = BASE64_STANDARD
        .decode(text(answer, "data"))
        .map_err(|error| CommandError::Failed(format!("{url} sent a broken answer: {error}")))?;
    Ok(Piece {
        size: number_or(&answer["size"], 0),
        data,
    })
}

fn number_or(value: &Value, otherwise: u64) -> u64 {
    value.as_u64().unwrap_or(otherwise)
}

async fn kill(context: &Context, wanted: &str) -> Result<(), CommandError> {
    let tasks = tasks(context).await?;
    let task = find(&tasks, wanted)?;
    let encode = |key| utf8_percent_encode(text(task, key), NON_ALPHANUMERIC).to_string();
    let url = format!(
        "{}/tepui/v1/tasks/{}/{}/kill",
        context.cluster.master,
        encode("framework_id"),
        encode("id")
    );
    context
        .cluster
        .client()
        .send(Method::POST, &url, bytes::Bytes::new())
        .await?;
    println!("asked to kill {}", text(task, "id"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_by_the_beginning_of_its_id() {
        let tasks = [
            json!({"id": "web.1", "state": "TASK_FAILED"}),
            json!({"id": "web.2", "state": "TASK_RUNNING"}),
            json!({"id": "db.1", "state": "TASK_RUNNING"}),
            json!({"id": "db.2", "state": "TASK_RUNNING"}),
            json!({"id": "old.1", "state": "TASK_FINISHED"}),
        ];
        for (wanted, expected) in [
            ("web.1", Ok("web.1")),
            ("web", Ok("web.2")),
            ("old", Ok("old.1")),
            ("db", Err("2 tasks")),
            ("x", Err("no task")),
        ] {
            match (find(&tasks, wanted), expected) {
                (Ok(task), Ok(id)) => assert_eq!(text(task, "id"), id),
                (Err(error), Err(beginning)) => {
                    assert!(error.to_string().starts_with(beginning), "{error}")
                }
                (found, _) => panic!("{wanted}: {found:?}"),
            }
        }
    }
}
