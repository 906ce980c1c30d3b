//! Tasks that have ended, as Marathon remembers them, and their files for as long as their agents keep them.

use serde_json::{Value, json};
use tepui_marathon::Timestamp;

use super::{CommandError, Context, items, number, print_json, task::Sandbox, text};
use crate::{client::ClientError, table::Table};

/// Which ended tasks are shown.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct EndedArgs {
    /// List the tasks that have ended instead of the versions: how, why and where.
    #[arg(long)]
    pub(crate) tasks: bool,
    /// Only so many, the newest.
    #[arg(long, value_name = "NUMBER", requires = "tasks")]
    limit: Option<u32>,
    /// Only those that ended at this time or later: 2026-01-31T12:00:00.000Z.
    #[arg(long, value_name = "TIME", requires = "tasks")]
    since: Option<String>,
    /// Only those that ended in these states: failed, killed, …
    #[arg(long, value_name = "STATE", value_delimiter = ',', requires = "tasks")]
    status: Vec<String>,
    /// Only those that ended for these causes: crashed, replaced, moved, …
    #[arg(
        long,
        value_name = "CAUSE",
        value_delimiter = ',',
        requires = "tasks",
        value_parser = clap::builder::PossibleValuesParser::new(tepui_marathon::TaskQuery::CAUSES),
        ignore_case = true,
        hide_possible_values = true
    )]
    cause: Vec<String>,
}

impl EndedArgs {
    /// Names and values of the query.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        query.extend(self.since.clone().map(|since| ("since", since)));
        query.extend(self.status.iter().map(|one| ("status", one.clone())));
        query.extend(self.cause.iter().map(|one| ("cause", one.clone())));
        query
    }
}

/// Whether it is an app or a pod, as the API's paths say it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    App,
    Pod,
}

impl Kind {
    const fn collection(self) -> &'static str {
        match self {
            Self::App => "apps",
            Self::Pod => "pods",
        }
    }
}

pub(crate) async fn list(
    context: &Context,
    kind: Kind,
    id: &str,
    args: &EndedArgs,
) -> Result<(), CommandError> {
    let answer = ask(context, kind, id, &args.query()).await?;
    if context.json {
        print_json(&answer);
    } else {
        print!("{}", shown(&answer));
    }
    Ok(())
}

async fn ask(
    context: &Context,
    kind: Kind,
    id: &str,
    query: &[(&str, String)],
) -> Result<Value, ClientError> {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let path = format!(
        "/v3/{}/{}/history?{}",
        kind.collection(),
        id.trim_matches('/'),
        query.join("&")
    );
    context.cluster.marathon_get(&path).await
}

/// The answer of `/v3/apps/{id}/history` for people.
fn shown(answer: &Value) -> String {
    let tasks = items(answer, "tasks");
    let mut table = Table::new(&[
        "TASK", "ENDED", "RAN", "STATE", "CAUSE", "EXIT", "HOST", "MESSAGE",
    ]);
    for task in tasks {
        table.row([
            text(task, "taskId").to_owned(),
            text(task, "endedAt").to_owned(),
            ran(task),
            word(task),
            cause(text(task, "cause")),
            exit(task),
            text(task, "host").to_owned(),
            text(task, "message").to_owned(),
        ]);
        for container in items(task, "containers") {
            table.row([
                format!("  {}", text(container, "taskId")),
                String::new(),
                String::new(),
                word(container),
                String::new(),
                exit(container),
                String::new(),
                text(container, "message").to_owned(),
            ]);
        }
    }
    let mut shown = if tasks.is_empty() {
        "no task that is remembered fits\n".to_owned()
    } else {
        table.render()
    };
    let (matching, kept) = (&answer["matching"], &answer["kept"]);
    let hidden = matching
        .as_u64()
        .unwrap_or(0)
        .saturating_sub(tasks.len() as u64);
    if hidden > 0 {
        shown += &format!("{hidden} more that fit; --limit shows them\n");
    }
    if answer["dropped"] != 0 {
        shown += &format!(
            "{} are remembered, {} before them are not any more\n",
            number(kept),
            number(&answer["dropped"])
        );
    }
    if answer["deleted"] == true {
        shown += &format!("{} is deleted\n", text(answer, "id"));
    }
    shown
}

fn word(task: &Value) -> String {
    let state = text(task, "state").trim_start_matches("TASK_");
    state.to_lowercase().replace('_', " ")
}

/// `scaledDown` as people write it.
fn cause(word: &str) -> String {
    let mut shown = String::new();
    for letter in word.chars() {
        if letter.is_uppercase() {
            shown.push(' ');
        }
        shown.extend(letter.to_lowercase());
    }
    shown
}

fn exit(task: &Value) -> String {
    match (&task["exitCode"], text(task, "signal")) {
        (Value::Null, "") => "-".to_owned(),
        (Value::Null, signal) => signal.to_owned(),
        (code, _) => number(code),
    }
}

/// For how long it ran: `2d 3h`, `4m 5s`.
fn ran(task: &Value) -> String {
    let at = |key| Timestamp::parse(text(task, key)).ok();
    let (Some(from), Some(to)) = (at("startedAt"), at("endedAt")) else {
        return "never".to_owned();
    };
    let seconds = (to.millis() - from.millis()).max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// The app or pod that a task is of, by Marathon's way to name tasks.
fn app_of(task: &str) -> Option<String> {
    let at = ["instance-", "marathon-"]
        .iter()
        .filter_map(|word| task.find(&format!(".{word}")))
        .min()?;
    Some(format!("/{}", task[..at].replace('_', "/")))
}

/// The ended task that has this id, or the beginning of which this is; none if Marathon remembers none, or there is no Marathon.
pub(super) async fn find(context: &Context, wanted: &str) -> Result<Option<Found>, CommandError> {
    let Some(app) = app_of(wanted) else {
        return Ok(None);
    };
    let everything = [("limit", u32::MAX.to_string())];
    let Ok(answer) = ask(context, Kind::App, &app, &everything).await else {
        return Ok(None);
    };
    among(items(&answer, "tasks"), wanted)
}

/// An ended task: the entry, and which of its tasks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) entry: Value,
    pub(super) task: String,
}

fn among(entries: &[Value], wanted: &str) -> Result<Option<Found>, CommandError> {
    let named: Vec<Found> = entries.iter().flat_map(tasks_of).collect();
    if let Some(exact) = named.iter().find(|one| one.task == wanted) {
        return Ok(Some(exact.clone()));
    }
    let fitting: Vec<&Found> = named
        .iter()
        .filter(|one| one.task.starts_with(wanted))
        .collect();
    let Some(first) = fitting.first() else {
        return Ok(None);
    };
    // Of the runs of one instance the last.
    let same = |one: &&Found| {
        let run = |found: &Found| found.task.rsplit_once('.').map(|(run, _)| run.to_owned());
        run(one) == run(first)
    };
    if fitting.iter().all(same) {
        return Ok(Some((*first).clone()));
    }
    Err(CommandError::Failed(format!(
        "{} tasks that have ended have ids that begin with `{wanted}`; give more of it",
        fitting.len()
    )))
}

/// The tasks of an entry: one, or of a pod one for each container.
fn tasks_of(entry: &Value) -> Vec<Found> {
    let found = |task: &str| Found {
        entry: entry.clone(),
        task: task.to_owned(),
    };
    let containers = items(entry, "containers");
    if containers.is_empty() {
        return vec![found(text(entry, "taskId"))];
    }
    let tasks = containers.iter().map(|one| found(text(one, "taskId")));
    tasks.collect()
}

/// Whose output is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// The id of the app or pod.
    pub(crate) id: String,
    /// Only of this task: its id, or the beginning of it.
    #[arg(long)]
    task: Option<String>,
    /// Of the last task that has ended, instead of those that run.
    #[arg(long, short)]
    previous: bool,
    /// Of a pod: only of this container.
    #[arg(long, short, value_name = "NAME")]
    container: Option<String>,
    #[command(flatten)]
    pub(crate) how: super::task::LogArgs,
}

/// The tasks whose output `app logs` and `pod logs` print.
pub(super) async fn chosen(
    context: &Context,
    kind: Kind,
    args: &LogsArgs,
) -> Result<Chosen, CommandError> {
    let fits = |task: &str| {
        let begins = args
            .task
            .as_deref()
            .is_none_or(|wanted| task.starts_with(wanted));
        let container = args.container.as_deref();
        begins && container.is_none_or(|name| container_of(task) == Some(name))
    };
    if !args.previous {
        let path = format!("/v3/apps/{}/instances", args.id.trim_matches('/'));
        let mut running = Vec::new();
        let answer = match context.cluster.marathon_get(&path).await {
            // What it wrote before it was deleted can still be read.
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => json!({}),
            answer => answer?,
        };
        for instance in items(&answer, "instances") {
            running.push(text(instance, "id").to_owned());
        }
        let tasks = super::task::tasks(context).await?;
        let ids = tasks
            .iter()
            .filter(|task| !super::task::ended(text(task, "state")))
            .map(|task| text(task, "id"));
        let of_app = |id: &&str| {
            let instance = running.iter().find(|one| id.starts_with(one.as_str()));
            instance.is_some_and(|one| id[one.len()..].starts_with('.'))
        };
        let ids: Vec<String> = ids
            .filter(of_app)
            .filter(|id| fits(id))
            .map(str::to_owned)
            .collect();
        if !ids.is_empty() {
            return Ok(Chosen::Running(ids));
        }
        if args.task.is_none() {
            return Err(CommandError::Failed(format!(
                "no task of {} runs; `--previous` prints what the last one wrote that has ended",
                args.id
            )));
        }
    }
    let everything = [("limit", u32::MAX.to_string())];
    let answer = ask(context, kind, &args.id, &everything).await?;
    let fitting = items(&answer, "tasks").iter().find_map(|entry| {
        let tasks = tasks_of(entry);
        let tasks: Vec<Found> = tasks.into_iter().filter(|one| fits(&one.task)).collect();
        (!tasks.is_empty()).then_some(tasks)
    });
    fitting.map(Chosen::Ended).ok_or_else(|| {
        CommandError::Failed(format!(
            "no task of {} that is remembered fits; `tepui {} history {} --tasks` lists those that have ended",
            args.id,
            kind.collection().trim_end_matches('s'),
            args.id
        ))
    })
}

/// What `chosen` found.
#[derive(Debug)]
pub(super) enum Chosen {
    /// By their ids.
    Running(Vec<String>),
    /// All of one run.
    Ended(Vec<Found>),
}

/// `web` of `shop_pod.instance-0.web.1`.
fn container_of(task: &str) -> Option<&str> {
    let (before, _) = task.rsplit_once('.')?;
    before.rsplit_once('.').map(|(_, name)| name)
}

/// The sandbox of an ended task.
pub(super) async fn sandbox(context: &Context, found: &Found) -> Result<Sandbox, CommandError> {
    let (entry, task) = (&found.entry, &found.task);
    let path = text(&entry["sandbox"], "path");
    if path.is_empty() {
        return Err(CommandError::Failed(format!(
            "where the files of {task} are was not told when it ended"
        )));
    }
    let agents = context.cluster.master_get("/slaves").await?;
    let agents = items(&agents, "slaves");
    let (id, host) = (text(entry, "agentId"), text(entry, "host"));
    let same = agents.iter().find(|agent| text(agent, "id") == id);
    // An agent may have come back under another id, with the sandboxes of the one before.
    let agent = same.or_else(|| agents.iter().find(|agent| text(agent, "hostname") == host));
    let agent = agent.ok_or_else(|| {
        CommandError::Failed(format!(
            "{task} ran on {host}, where no agent is registered now: its files cannot be read"
        ))
    })?;
    let agent_url = super::task::agent_url(agent);
    let mut path = path.to_owned();
    if same.is_none() {
        let flags = flags(context, &agent_url).await?;
        path = format!(
            "{}/slaves/{id}{path}",
            text(&flags, "work_dir").trim_end_matches('/')
        );
    }
    if !items(entry, "containers").is_empty() {
        path = format!("{path}/tasks/{task}");
    }
    let sandbox = Sandbox {
        task: task.clone(),
        url: format!("{agent_url}/api/v1"),
        path,
    };
    if !super::task::is_there(context, &sandbox).await? {
        let flags = flags(context, &agent_url).await?;
        let (ended, delay) = (text(entry, "endedAt"), text(&flags, "gc_delay"));
        return Err(CommandError::Failed(collected(task, host, ended, delay)));
    }
    Ok(sandbox)
}

async fn flags(context: &Context, agent_url: &str) -> Result<Value, CommandError> {
    let url = format!("{agent_url}/flags");
    let answer = context.cluster.client().get(&url).await?.json()?;
    Ok(answer["flags"].clone())
}

/// Why a sandbox is not there any more, and since when.
fn collected(task: &str, host: &str, ended: &str, delay: &str) -> String {
    let at = Timestamp::parse(ended).ok();
    let due = at
        .zip(tepui_agent::parse_duration(delay))
        .map(|(at, delay)| {
            let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(at.millis().saturating_add(delay))
        });
    let when = match due {
        Some(due) => format!(", so by {due} at the latest"),
        None => String::new(),
    };
    format!(
        "the sandbox of {task} is gone: it ended at {ended}, and its agent on {host} removes sandboxes {delay} after that \
         (--gc_delay){when}, and earlier when its disk fills up"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(task: &str) -> Value {
        json!({
            "taskId": task, "host": "h1", "endedAt": "2026-01-31T12:01:05.000Z", "startedAt": "2026-01-31T12:00:00.000Z",
            "state": "TASK_FAILED", "cause": "crashed", "exitCode": 7, "signal": null, "message": "Command exited with status 7",
        })
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn ended_tasks_are_listed_with_how_and_why() {
        let mut pod = entry("p.instance-1.a.1");
        pod["startedAt"] = Value::Null;
        pod["state"] = "TASK_GONE_BY_OPERATOR".into();
        pod["cause"] = "scaledDown".into();
        pod["exitCode"] = Value::Null;
        pod["signal"] = "Killed".into();
        pod["containers"] = json!([
            { "taskId": "p.instance-1.a.1", "state": "TASK_KILLED", "exitCode": null, "signal": null, "message": "" },
        ]);
        let answer = json!({ "id": "/web", "deleted": true, "kept": 4, "dropped": 9, "matching": 3,
            "tasks": [entry("web.instance-1._app.2"), pod] });
        assert_eq!(
            lines(&shown(&answer)),
            [
                "TASK ENDED RAN STATE CAUSE EXIT HOST MESSAGE",
                "web.instance-1._app.2 2026-01-31T12:01:05.000Z 1m 5s failed crashed 7 h1 Command exited with status 7",
                "p.instance-1.a.1 2026-01-31T12:01:05.000Z never gone by operator scaled down Killed h1 Command exited with status 7",
                "p.instance-1.a.1 killed -",
                "1 more that fit; --limit shows them",
                "4 are remembered, 9 before them are not any more",
                "/web is deleted",
            ]
        );
        let none = json!({ "id": "/web", "deleted": false, "kept": 0, "dropped": 0, "matching": 0, "tasks": [] });
        assert_eq!(shown(&none), "no task that is remembered fits\n");
    }

    #[test]
    fn states_and_causes_are_asked_for_apart() {
        use clap::Parser as _;

        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: EndedArgs,
        }
        let line = |args: &[&str]| Line::try_parse_from([&["history"], args].concat());
        let good = line(&[
            "--tasks",
            "--status",
            "killed",
            "--cause",
            "moved,killed",
            "--limit",
            "3",
        ]);
        let query = good.expect("good").args.query();
        let query: Vec<String> = query.iter().map(|(a, b)| format!("{a}={b}")).collect();
        assert_eq!(
            query,
            ["limit=3", "status=killed", "cause=moved", "cause=killed"]
        );
        let unknown = line(&["--tasks", "--cause", "failed"]).expect_err("a state");
        assert!(unknown.to_string().contains("agentLost"), "{unknown}");
        assert!(line(&["--cause", "moved"]).is_err(), "of tasks only");
    }

    #[test]
    fn a_task_names_its_app() {
        for (task, app) in [
            ("dev_web.instance-1._app.3", Some("/dev/web")),
            ("web.marathon-1", Some("/web")),
            ("a.b_c.instance-1.instance-2.3", Some("/a.b/c")),
            ("job-1", None),
        ] {
            assert_eq!(app_of(task).as_deref(), app);
        }
    }

    #[test]
    fn an_ended_task_is_found_by_the_beginning_of_its_id() {
        let mut pod = entry("p.instance-1.a.1");
        pod["containers"] =
            json!([{ "taskId": "p.instance-1.a.1" }, { "taskId": "p.instance-1.b.1" }]);
        let entries = [
            entry("web.instance-1._app.2"),
            entry("web.instance-1._app.1"),
            entry("web.instance-2._app.1"),
            pod,
        ];
        for (wanted, expected) in [
            ("web.instance-1._app.1", Some("web.instance-1._app.1")),
            ("web.instance-1", Some("web.instance-1._app.2")),
            ("p.instance-1.b", Some("p.instance-1.b.1")),
            ("db", None),
        ] {
            let found = among(&entries, wanted).expect("no doubt");
            assert_eq!(found.map(|one| one.task).as_deref(), expected);
        }
        for wanted in ["web", "p.instance-1"] {
            assert!(among(&entries, wanted).is_err(), "{wanted}");
        }
        assert_eq!(container_of("p.instance-1.b.1"), Some("b"));
    }

    #[test]
    fn when_a_sandbox_was_removed_is_told() {
        let told = collected("t", "h", "2026-01-31T12:00:00.000Z", "1days");
        let want = "the sandbox of t is gone: it ended at 2026-01-31T12:00:00.000Z, and its agent on h removes sandboxes 1days after that \
                    (--gc_delay), so by 2026-02-01T12:00:00.000Z at the latest, and earlier when its disk fills up";
        assert_eq!(told, want);
        assert!(!collected("t", "h", "?", "?").contains("latest"));
    }
}
