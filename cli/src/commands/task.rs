//! `tepui task …`: what runs, its output, and stopping it.

use std::{io::Write as _, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{CommandError, Context, ended as ended_tasks, items, print_json, text};
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
    /// Print what a task wrote; of several tasks, each line with its task's id. One that has ended is found for as long as its sandbox is there, also
    /// when the master has forgotten it and Marathon has not.
    Logs {
        /// The tasks' ids, or the beginnings of them.
        #[arg(required = true)]
        tasks: Vec<String>,
        #[command(flatten)]
        how: LogArgs,
    },
    /// Run a command beside a task: in its namespaces, with its variables and as its user. The exit code is the command's.
    Exec(super::exec::ExecArgs),
    /// Show what a task writes from now on, and type into it if it has a terminal. The exit code is the task's.
    Attach {
        /// The task's id, or the beginning of it.
        task: String,
    },
    /// Show what tasks use, again and again: cpu, memory, disk, processes, network.
    Stats(super::stats::StatsArgs),
    /// The files in a task's sandbox.
    Files {
        #[command(subcommand)]
        command: FilesCommand,
    },
    /// Kill a task; its framework decides whether another takes its place.
    Kill {
        /// The task's id, or the beginning of it.
        task: String,
    },
}

/// Which output, and how much of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Go on printing as the task writes.
    #[arg(long, short)]
    follow: bool,
    /// Its standard error instead of its standard output.
    #[arg(long)]
    stderr: bool,
    /// Begin this many bytes before the end.
    #[arg(long, value_name = "BYTES")]
    tail: Option<u64>,
}

/// Commands on the files in a task's sandbox.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum FilesCommand {
    /// List a directory.
    Ls {
        /// The task's id, or the beginning of it.
        task: String,
        /// Below the sandbox.
        #[arg(default_value = "")]
        path: String,
    },
    /// Print a file.
    Cat {
        /// The task's id, or the beginning of it.
        task: String,
        /// Below the sandbox.
        path: String,
    },
    /// Copy a file to this machine.
    Download {
        /// The task's id, or the beginning of it.
        task: String,
        /// Below the sandbox.
        path: String,
        /// Where to [default: the file's name, here]
        to: Option<std::path::PathBuf>,
    },
}

pub(crate) async fn run(context: &Context, command: TaskCommand) -> Result<(), CommandError> {
    match command {
        TaskCommand::List { framework, all } => list(context, framework.as_deref(), all).await,
        TaskCommand::Logs { tasks, how } => logs(context, &tasks, how).await,
        TaskCommand::Files { command } => files(context, command).await,
        TaskCommand::Stats(args) => super::stats::run(context, &args).await,
        TaskCommand::Exec(args) => super::exec::exec(context, &args).await,
        TaskCommand::Attach { task } => super::exec::attach(context, &task).await,
        TaskCommand::Kill { task } => kill(context, &task).await,
    }
}

/// Whether a task in this state has ended.
pub(super) fn ended(state: &str) -> bool {
    !matches!(
        state,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE"
    )
}

pub(super) async fn tasks(context: &Context) -> Result<Vec<Value>, CommandError> {
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
pub(super) fn find<'a>(tasks: &'a [Value], wanted: &str) -> Result<&'a Value, CommandError> {
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

/// The sandbox of a task, as the agent's operator API reaches it.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The task's id.
    pub(super) task: String,
    /// The API's address.
    pub(super) url: String,
    /// The sandbox's path there.
    pub(super) path: String,
}

async fn agent_of(context: &Context, task: &Value) -> Result<String, CommandError> {
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
    Ok(address(agent))
}

/// `HOST:PORT` of an agent as the master lists it.
fn address(agent: &Value) -> String {
    let port = number_or(&agent["port"], 5051);
    format!("{}:{port}", text(agent, "hostname"))
}

pub(super) fn agent_url(agent: &Value) -> String {
    format!("http://{}", address(agent))
}

/// The id of a task's container, once it is known.
pub(super) fn container_of(task: &Value) -> Option<&Value> {
    items(task, "statuses")
        .iter()
        .rev()
        .map(|status| &status["container_status"]["container_id"])
        .find(|id| id.is_object())
}

/// The sandbox of a task: of one that the master knows, or else of one that Marathon remembers.
async fn sandbox(
    context: &Context,
    tasks: &[Value],
    wanted: &str,
) -> Result<Sandbox, CommandError> {
    let known = tasks.iter().any(|one| text(one, "id").starts_with(wanted));
    if !known && let Some(found) = ended_tasks::find(context, wanted).await? {
        return ended_tasks::sandbox(context, &found).await;
    }
    let task = find(tasks, wanted)?;
    let sandbox = sandbox_of(context, task).await?;
    if ended(text(task, "state"))
        && !is_there(context, &sandbox).await?
        && let Some(found) = ended_tasks::find(context, &sandbox.task).await?
    {
        // It says what has become of it.
        return ended_tasks::sandbox(context, &found).await;
    }
    Ok(sandbox)
}

/// Whether the agent still has it.
pub(super) async fn is_there(context: &Context, sandbox: &Sandbox) -> Result<bool, CommandError> {
    let call = json!({"type": "LIST_FILES", "list_files": {"path": sandbox.path}});
    let client = context.cluster.client();
    let answer = client.send(Method::POST, &sandbox.url, call.to_string().into());
    match answer.await {
        Ok(_) => Ok(true),
        Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn sandbox_of(context: &Context, task: &Value) -> Result<Sandbox, CommandError> {
    let id = text(task, "id");
    let executor = match text(task, "executor_id") {
        "" => id,
        executor => executor,
    };
    let run = format!(
        "/frameworks/{}/executors/{executor}/runs/latest",
        text(task, "framework_id")
    );
    let in_group = container_of(task).is_some_and(|id| id["parent"].is_object());
    Ok(Sandbox {
        task: id.to_owned(),
        url: format!("http://{}/api/v1", agent_of(context, task).await?),
        path: if in_group {
            format!("{run}/tasks/{id}")
        } else {
            run
        },
    })
}

/// `tepui app logs` and `tepui pod logs`.
pub(super) async fn logs_of(
    context: &Context,
    kind: ended_tasks::Kind,
    args: &ended_tasks::LogsArgs,
) -> Result<(), CommandError> {
    match ended_tasks::chosen(context, kind, args).await? {
        ended_tasks::Chosen::Running(tasks) => logs(context, &tasks, args.how).await,
        ended_tasks::Chosen::Ended(found) => {
            let mut sandboxes = Vec::new();
            for one in &found {
                sandboxes.push(ended_tasks::sandbox(context, one).await?);
            }
            print_logs(context, &sandboxes, args.how).await
        }
    }
}

async fn logs(context: &Context, wanted: &[String], how: LogArgs) -> Result<(), CommandError> {
    let tasks = tasks(context).await?;
    let mut sandboxes = Vec::new();
    for wanted in wanted {
        sandboxes.push(sandbox(context, &tasks, wanted).await?);
    }
    print_logs(context, &sandboxes, how).await
}

async fn print_logs(
    context: &Context,
    sandboxes: &[Sandbox],
    how: LogArgs,
) -> Result<(), CommandError> {
    let file = if how.stderr { "stderr" } else { "stdout" };
    let several = sandboxes.len() > 1;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let printing = sandboxes.iter().enumerate().map(|(at, sandbox)| {
        let prefix = several.then(|| prefix(&sandbox.task, at, colours));
        print_log(context, sandbox, how.follow, file, how.tail, prefix)
    });
    futures::future::try_join_all(printing).await.map(drop)
}

/// What goes before a task's lines: its id, in a colour of its own where there are colours.
fn prefix(task: &str, at: usize, colours: bool) -> String {
    const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];
    if colours {
        format!("\u{1b}[{}m{task}\u{1b}[0m ", COLOURS[at % COLOURS.len()])
    } else {
        format!("{task} ")
    }
}

async fn print_log(
    context: &Context,
    sandbox: &Sandbox,
    follow: bool,
    file: &str,
    tail: Option<u64>,
    prefix: Option<String>,
) -> Result<(), CommandError> {
    let (url, path) = (&sandbox.url, format!("{}/{file}", sandbox.path));
    let mut offset = match tail {
        Some(bytes) => read(context, url, &path, 0, 0)
            .await?
            .size
            .saturating_sub(bytes),
        None => 0,
    };
    let mut lines = Lines::new(prefix);
    loop {
        let piece = read(context, url, &path, offset, READ_BYTES).await?;
        offset += piece.data.len() as u64;
        let ended = piece.data.is_empty() && !follow;
        let out = lines.take(&piece.data, ended);
        let mut stdout = std::io::stdout().lock();
        if stdout
            .write_all(&out)
            .and_then(|()| stdout.flush())
            .is_err()
        {
            return Ok(()); // the reader of our output has gone
        }
        drop(stdout);
        if ended {
            return Ok(());
        }
        if piece.data.is_empty() {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

/// A line that is longer is shown in parts.
const LINE_BYTES: usize = 64 << 10;

/// Whole lines with something before each, or just what comes.
struct Lines {
    prefix: Option<String>,
    begun: Vec<u8>,
}

impl Lines {
    fn new(prefix: Option<String>) -> Self {
        Self {
            prefix,
            begun: Vec::new(),
        }
    }

    /// What is to be shown now; `ended`: nothing more comes.
    fn take(&mut self, bytes: &[u8], ended: bool) -> Vec<u8> {
        let Some(prefix) = &self.prefix else {
            return bytes.to_vec();
        };
        self.begun.extend_from_slice(bytes);
        let mut out = Vec::new();
        let mut show = |line: &[u8]| {
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(line);
        };
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n');
        let rest = self.begun.split_off(whole.map_or(0, |at| at + 1));
        for line in self.begun.split_inclusive(|byte| *byte == b'\n') {
            show(line);
        }
        self.begun = rest;
        if !self.begun.is_empty() && (ended || self.begun.len() > LINE_BYTES) {
            let mut line = std::mem::take(&mut self.begun);
            line.push(b'\n');
            show(&line);
        }
        out
    }
}

async fn files(context: &Context, command: FilesCommand) -> Result<(), CommandError> {
    let tasks = tasks(context).await?;
    let (FilesCommand::Ls { task, path }
    | FilesCommand::Cat { task, path }
    | FilesCommand::Download { task, path, .. }) = &command;
    let sandbox = sandbox(context, &tasks, task).await?;
    let whole = format!("{}/{}", sandbox.path, path.trim_matches('/'));
    let whole = whole.trim_end_matches('/');
    match &command {
        FilesCommand::Ls { .. } => list_files(context, &sandbox.url, whole).await,
        FilesCommand::Cat { .. } => {
            copy(
                context,
                &sandbox.url,
                whole,
                &mut std::io::stdout(),
                "standard output",
            )
            .await
        }
        FilesCommand::Download { to, .. } => {
            let name = whole.rsplit('/').next().unwrap_or(whole);
            let to = to.clone().unwrap_or_else(|| name.into());
            let shown = to.display().to_string();
            let unusable = |error: std::io::Error| CommandError::Input {
                path: shown.clone(),
                reason: error.to_string(),
            };
            // Nothing that is there is lost.
            let mut file = std::fs::File::create_new(&to).map_err(unusable)?;
            copy(context, &sandbox.url, whole, &mut file, &shown).await
        }
    }
}

async fn list_files(context: &Context, url: &str, path: &str) -> Result<(), CommandError> {
    let call = json!({"type": "LIST_FILES", "list_files": {"path": path}});
    let answer = context
        .cluster
        .client()
        .send(Method::POST, url, call.to_string().into())
        .await?
        .json()?;
    let found = &answer["list_files"];
    if context.json {
        print_json(&found["file_infos"]);
        return Ok(());
    }
    const DIRECTORY: u64 = 0o40_000;
    let mut table = Table::new(&["NAME", "SIZE", "OWNER"]);
    for file in items(found, "file_infos") {
        let name = text(file, "path").rsplit('/').next().unwrap_or_default();
        let directory = number_or(&file["mode"], 0) & 0o170_000 == DIRECTORY;
        table.row([
            format!("{name}{}", if directory { "/" } else { "" }),
            number_or(&file["size"], 0).to_string(),
            text(file, "uid").to_owned(),
        ]);
    }
    print!("{}", table.render());
    Ok(())
}

async fn copy(
    context: &Context,
    url: &str,
    path: &str,
    out: &mut impl std::io::Write,
    named: &str,
) -> Result<(), CommandError> {
    let mut offset = 0;
    loop {
        let piece = read(context, url, path, offset, READ_BYTES).await?;
        if piece.data.is_empty() {
            return Ok(());
        }
        offset += piece.data.len() as u64;
        let written = out.write_all(&piece.data).and_then(|()| out.flush());
        written.map_err(|error| CommandError::Input {
            path: named.to_owned(),
            reason: error.to_string(),
        })?;
    }
}

/// Where a task runs.
#[derive(Debug)]
pub(super) struct Place {
    /// Its agent, `HOST:PORT`.
    pub(super) agent: String,
    /// The id of its container, as calls have it.
    pub(super) container: Value,
    /// It has a terminal.
    pub(super) terminal: bool,
}

/// Finds a task that runs.
pub(super) async fn place(context: &Context, wanted: &str) -> Result<Place, CommandError> {
    let tasks = tasks(context).await?;
    let task = find(&tasks, wanted)?;
    let container = container_of(task).filter(|_| !ended(text(task, "state")));
    let container = container
        .ok_or_else(|| CommandError::Failed(format!("task {} does not run", text(task, "id"))))?;
    Ok(Place {
        agent: agent_of(context, task).await?,
        container: container.clone(),
        terminal: task["container"]["tty_info"].is_object(),
    })
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

    #[test]
    fn lines_of_several_tasks_stay_whole() {
        let mut lines = Lines::new(Some("a ".to_owned()));
        assert_eq!(lines.take(b"on", false), b"");
        assert_eq!(lines.take(b"e\ntwo\nth", false), b"a one\na two\n");
        assert_eq!(lines.take(b"", true), b"a th\n");
        let mut plain = Lines::new(None);
        assert_eq!(plain.take(b"on", false), b"on");
        assert_eq!(prefix("t", 7, false), "t ");
        assert_eq!(prefix("t", 7, true), "\u{1b}[33mt\u{1b}[0m ");
    }
}
