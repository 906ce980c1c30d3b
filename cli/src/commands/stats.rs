//! `tepui task stats`: what tasks use, as their agents measure it.
//!
//! Each round asks the master what runs where and each agent once for all of its containers. What cpu is used comes from two rounds, so
//! the first is shown only after a second. A task on an executor of its framework's own shares the container with the executor's other
//! tasks: each of them shows all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use super::task::{container_of, ended, find, tasks};
use super::{CommandError, Context, items, text};
use crate::table::Table;

/// Between the two rounds that the first figures come from.
const FIRST: Duration = Duration::from_secs(1);
const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1_024.0;

/// Whose figures, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// The tasks' ids, or the beginnings of them [default: all that run]
    tasks: Vec<String>,
    /// Show the figures once instead of again and again.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// A task that runs, and where.
#[derive(Debug, Clone)]
struct Running {
    id: String,
    framework: String,
    agent: String,
    /// As agents write it: the ids of the containers around it, joined by dots.
    container: String,
}

/// What agents told in one round: statistics by agent and container.
type Round = BTreeMap<(String, String), Value>;

pub(crate) async fn run(context: &Context, args: &StatsArgs) -> Result<(), CommandError> {
    let mut named = BTreeSet::new();
    let mut running = running(context, &args.tasks, &mut named).await?;
    if let Some(wanted) = args.tasks.iter().find(|_| running.is_empty()) {
        return Err(CommandError::Failed(format!("task {wanted} does not run")));
    }
    let mut screen = Screen::new(context.json, args.once);
    let (mut before, _) = measured(context, &running).await?;
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = Duration::from_secs(args.interval);
        let (now, silent) = measured(context, &running).await?;
        let figures: Vec<Figures> = running
            .iter()
            .map(|task| Figures::of(task, &before, &now))
            .collect();
        screen.show(&figures, &silent);
        if args.once {
            return match silent.first() {
                None => Ok(()),
                Some(problem) => Err(CommandError::Failed(problem.clone())),
            };
        }
        before = now;
        running = self::running(context, &args.tasks, &mut named).await?;
        if running.is_empty() && !args.tasks.is_empty() {
            return Ok(());
        }
    }
}

/// The tasks that run, by id. Those that are asked for are found once; `named` remembers them.
async fn running(
    context: &Context,
    wanted: &[String],
    named: &mut BTreeSet<String>,
) -> Result<Vec<Running>, CommandError> {
    let tasks = tasks(context).await?;
    if named.is_empty() {
        for wanted in wanted {
            named.insert(text(find(&tasks, wanted)?, "id").to_owned());
        }
    }
    let mut running: Vec<Running> = tasks
        .iter()
        .filter(|task| !ended(text(task, "state")))
        .filter(|task| wanted.is_empty() || named.contains(text(task, "id")))
        .filter_map(|task| {
            Some(Running {
                id: text(task, "id").to_owned(),
                framework: text(task, "framework_id").to_owned(),
                agent: text(task, "slave_id").to_owned(),
                container: joined(container_of(task)?),
            })
        })
        .collect();
    running.sort_by(|one, two| one.id.cmp(&two.id));
    Ok(running)
}

/// A container's id with those around it, outermost first.
fn joined(id: &Value) -> String {
    let own = text(id, "value");
    match id.get("parent").filter(|parent| parent.is_object()) {
        Some(parent) => format!("{}.{own}", joined(parent)),
        None => own.to_owned(),
    }
}

/// What the agents of these tasks tell, and what is wrong with those that tell nothing.
async fn measured(
    context: &Context,
    running: &[Running],
) -> Result<(Round, Vec<String>), CommandError> {
    let wanted: BTreeSet<&str> = running.iter().map(|task| task.agent.as_str()).collect();
    let document = context.cluster.master_get("/slaves").await?;
    let addresses: BTreeMap<&str, String> = items(&document, "slaves")
        .iter()
        .map(|agent| {
            let port = agent["port"].as_u64().unwrap_or(5051);
            (
                text(agent, "id"),
                format!("{}:{port}", text(agent, "hostname")),
            )
        })
        .collect();
    let asking = wanted.iter().map(|&agent| {
        let address = addresses.get(agent);
        async move {
            let Some(address) = address else {
                return Err(format!("agent {agent} is not registered now"));
            };
            let url = format!("http://{address}/containers?show_nested=true");
            let answer = context.cluster.client().get(&url).await;
            let document = answer.and_then(|answer| answer.json());
            let document = document.map_err(|error| error.to_string())?;
            Ok((agent, document))
        }
    });
    let mut round = Round::new();
    let mut silent = Vec::new();
    for answer in futures::future::join_all(asking).await {
        match answer {
            Ok((agent, Value::Array(containers))) => {
                for mut container in containers {
                    let key = (
                        agent.to_owned(),
                        text(&container, "container_id").to_owned(),
                    );
                    round.insert(key, container["statistics"].take());
                }
            }
            Ok((agent, _)) => silent.push(format!("agent {agent} sent no list of containers")),
            Err(problem) => silent.push(problem),
        }
    }
    Ok((round, silent))
}

/// What is shown of one task. `None`: nobody has measured it.
#[derive(Debug, Clone)]
struct Figures {
    task: Running,
    /// Hundredths of one cpu.
    cpu_percent: Option<f64>,
    /// As the agent told.
    statistics: Value,
}

fn cpu_seconds(statistics: &Value) -> Option<f64> {
    Some(
        statistics["cpus_user_time_secs"].as_f64()?
            + statistics["cpus_system_time_secs"].as_f64()?,
    )
}

impl Figures {
    fn of(task: &Running, before: &Round, now: &Round) -> Self {
        let key = (task.agent.clone(), task.container.clone());
        let statistics = now.get(&key).cloned().unwrap_or_default();
        let cpu_percent = before.get(&key).and_then(|before| {
            let passed = statistics["timestamp"].as_f64()? - before["timestamp"].as_f64()?;
            let used = cpu_seconds(&statistics)? - cpu_seconds(before)?;
            (passed > 0.0).then(|| (used.max(0.0) / passed) * 100.0)
        });
        Self {
            task: task.clone(),
            cpu_percent,
            statistics,
        }
    }

    fn json(&self) -> Value {
        json!({
            "task_id": self.task.id,
            "framework_id": self.task.framework,
            "agent_id": self.task.agent,
            "container_id": self.task.container,
            "cpu_percent": self.cpu_percent,
            "statistics": self.statistics,
        })
    }

    fn cells(&self) -> [String; 10] {
        let statistics = &self.statistics;
        let number = |name: &str| statistics[name].as_f64();
        let shown = |number: Option<f64>, decimals: usize| {
            number.map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
        };
        let mib = |name: &str| shown(number(name).map(|bytes| bytes / MIB), 1);
        let kib = |name: &str| shown(number(name).map(|bytes| bytes / KIB), 1);
        let memory = number("mem_rss_bytes");
        let limit = number("mem_limit_bytes").filter(|bytes| *bytes > 0.0);
        let part = memory.zip(limit).map(|(used, limit)| used / limit * 100.0);
        let pids = number("threads").or_else(|| number("processes"));
        [
            self.task.id.clone(),
            shown(self.cpu_percent, 1),
            shown(number("cpus_soft_limit"), 2),
            mib("mem_rss_bytes"),
            mib("mem_limit_bytes"),
            shown(part, 1),
            mib("disk_used_bytes"),
            shown(pids, 0),
            kib("net_rx_bytes"),
            kib("net_tx_bytes"),
        ]
    }
}

fn table(figures: &[Figures]) -> String {
    let mut table = Table::new(&[
        "TASK",
        "CPU %",
        "CPUS",
        "MEM (MiB)",
        "LIMIT (MiB)",
        "MEM %",
        "DISK (MiB)",
        "PIDS",
        "NET IN (KiB)",
        "NET OUT (KiB)",
    ]);
    for figures in figures {
        table.row(figures.cells());
    }
    table.render()
}

/// Where the figures go.
struct Screen {
    json: bool,
    once: bool,
    /// Figures are replaced, not appended.
    terminal: bool,
    begun: bool,
}

impl Screen {
    fn new(json: bool, once: bool) -> Self {
        Self {
            json,
            once,
            terminal: !once && !json && std::io::stdout().is_terminal(),
            begun: false,
        }
    }

    fn show(&mut self, figures: &[Figures], silent: &[String]) {
        let begun = std::mem::replace(&mut self.begun, true);
        // Once, what is wrong is the command's error.
        let problems: String = match self.once {
            true => String::new(),
            false => silent
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect(),
        };
        if self.terminal {
            let text = format!("{}{problems}", table(figures));
            print!("{}", repainted(&text, begun));
        } else if self.json {
            eprint!("{problems}");
            let all = Value::Array(figures.iter().map(Figures::json).collect());
            match self.once {
                true => println!("{all:#}"),
                // One document a line.
                false => println!("{all}"),
            }
        } else {
            eprint!("{problems}");
            let gap = if begun { "\n" } else { "" };
            print!("{gap}{}", table(figures));
        }
        // What follows the last line is still on its way to a terminal; a pipe has it all.
        let _ = std::io::stdout().flush();
    }
}

/// The same text over what is on the terminal: from its upper left corner, without what was longer before.
fn repainted(text: &str, begun: bool) -> String {
    let start = if begun {
        "\u{1b}[H"
    } else {
        "\u{1b}[2J\u{1b}[H"
    };
    let lines: String = text
        .lines()
        .map(|line| format!("{line}\u{1b}[K\n"))
        .collect();
    format!("{start}{lines}\u{1b}[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, container: &str) -> Running {
        Running {
            id: id.to_owned(),
            framework: "f".to_owned(),
            agent: "S0".to_owned(),
            container: container.to_owned(),
        }
    }

    fn told(container: &str, statistics: Value) -> ((String, String), Value) {
        (("S0".to_owned(), container.to_owned()), statistics)
    }

    #[test]
    fn figures_come_from_two_rounds() {
        let before = Round::from([
            told(
                "a",
                json!({"timestamp": 10.0, "cpus_user_time_secs": 1.0, "cpus_system_time_secs": 1.0}),
            ),
            told(
                "p.b",
                json!({"timestamp": 10.0, "cpus_user_time_secs": 5.0, "cpus_system_time_secs": 0.0}),
            ),
        ]);
        let now = Round::from([
            told(
                "a",
                json!({
                    "timestamp": 12.0, "cpus_user_time_secs": 2.5, "cpus_system_time_secs": 1.5, "cpus_soft_limit": 1.5,
                    "mem_rss_bytes": 16 << 20, "mem_limit_bytes": 64 << 20, "threads": 3, "processes": 2,
                    "disk_used_bytes": 1 << 20, "net_rx_bytes": 2048, "net_tx_bytes": 512,
                }),
            ),
            // Started anew under the same name: what it used before does not count against it.
            told(
                "p.b",
                json!({"timestamp": 12.0, "cpus_user_time_secs": 1.0, "cpus_system_time_secs": 0.0, "processes": 1}),
            ),
            told(
                "new",
                json!({"timestamp": 12.0, "cpus_user_time_secs": 1.0, "cpus_system_time_secs": 0.0}),
            ),
        ]);
        let figures: Vec<Figures> = [
            task("web.1", "a"),
            task("pod.1", "p.b"),
            task("new.1", "new"),
            task("gone.1", "x"),
        ]
        .iter()
        .map(|task| Figures::of(task, &before, &now))
        .collect();
        assert_eq!(
            table(&figures),
            "TASK    CPU %  CPUS  MEM (MiB)  LIMIT (MiB)  MEM %  DISK (MiB)  PIDS  NET IN (KiB)  NET OUT (KiB)\n\
             web.1   100.0  1.50       16.0         64.0   25.0         1.0     3           2.0            0.5\n\
             pod.1     0.0     -          -            -      -           -     1             -              -\n\
             new.1       -     -          -            -      -           -     -             -              -\n\
             gone.1      -     -          -            -      -           -     -             -              -\n"
        );
        let json = figures[0].json();
        assert_eq!(json["cpu_percent"], 100.0);
        assert_eq!(json["statistics"]["processes"], 2);
        assert!(figures[3].json()["cpu_percent"].is_null());
    }

    #[test]
    fn containers_are_named_with_those_around_them() {
        let id = json!({"value": "c", "parent": {"value": "b", "parent": {"value": "a"}}});
        assert_eq!(joined(&id), "a.b.c");
        assert_eq!(joined(&json!({"value": "a"})), "a");
    }

    #[test]
    fn a_screen_is_painted_over() {
        assert_eq!(
            repainted("a\nb\n", false),
            "\u{1b}[2J\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J"
        );
        assert_eq!(repainted("a\n", true), "\u{1b}[Ha\u{1b}[K\n\u{1b}[J");
    }
}
