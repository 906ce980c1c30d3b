//! An agent that is killed again and again, at any instruction, under a load of tasks that start, fail, are killed and finish: what is told
//! of every task is what happened to it, and nothing of them is left on the machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE, cgroups,
    cluster::{Cluster, Daemon, active_agents},
    scheduler::{Scheduler, amount, resources},
    until,
};

/// How often the agent is killed.
const KILLS: usize = 200;
/// It lives at most so long before: mostly so short that it is hit while it starts and launches.
const LIFE: Duration = Duration::from_millis(250);
/// And one time in sixteen so long that more than that gets done.
const LONG_LIFE: Duration = Duration::from_millis(1500);
/// Where a start takes long, so many starts are the least for both: else there would be no launches to be hit.
const STARTS: u32 = 2;
const LONG_STARTS: u32 = 12;
/// A start that took longer was held up, and is no measure.
const SLOWEST_START: Duration = Duration::from_millis(500);
/// Tasks that have not ended, at most.
const IN_FLIGHT: usize = 24;
/// What each of them asks for.
const CPUS: f64 = 0.01;
const MEM_MIB: f64 = 1.0;
const OWN_NETWORK: &str = "TEPUI_TEST_IN_OWN_NETWORK";

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Finishes,
    FinishesLater,
    Fails,
    DiesBySignal,
    /// Told to end as soon as it was launched, and again until it has.
    KilledAtOnce,
    /// Told to end once it runs.
    KilledLater,
    /// With an address, a port and a mount of its own.
    OnNetwork,
}

const KINDS: [Kind; 7] = [
    Kind::Finishes,
    Kind::FinishesLater,
    Kind::Fails,
    Kind::DiesBySignal,
    Kind::KilledAtOnce,
    Kind::KilledLater,
    Kind::OnNetwork,
];

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Self::Finishes => "exit 0",
            Self::FinishesLater => "sleep 0.3",
            Self::Fails => "exit 3",
            Self::DiesBySignal => "kill -9 $$",
            Self::KilledAtOnce | Self::KilledLater => "exec sleep 1000",
            Self::OnNetwork => "echo mine > seen/file && sleep 0.1",
        }
    }

    /// How it ends once its command ran: the state, and how the message begins.
    fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::Finishes | Self::FinishesLater | Self::OnNetwork => {
                ("TASK_FINISHED", "Command exited with status 0")
            }
            Self::Fails => ("TASK_FAILED", "Command exited with status 3"),
            Self::DiesBySignal => ("TASK_FAILED", "Command terminated with signal Killed"),
            Self::KilledAtOnce | Self::KilledLater => ("TASK_KILLED", ""),
        }
    }
}

/// One task, and what was told of it.
struct Task {
    kind: Kind,
    /// Each update once: its uuid, state and message.
    told: Vec<(String, String, String)>,
}

impl Task {
    fn state(&self) -> &str {
        self.told.last().map_or("", |(_, state, _)| state)
    }

    fn ended(&self) -> bool {
        !matches!(self.state(), "" | "TASK_STARTING" | "TASK_RUNNING")
    }

    fn is_to_die(&self) -> bool {
        match self.kind {
            Kind::KilledAtOnce => !self.ended(),
            Kind::KilledLater => self.state() == "TASK_RUNNING",
            _ => false,
        }
    }
}

/// The framework.
struct Load {
    scheduler: Scheduler,
    tasks: BTreeMap<String, Task>,
    marks: String,
}

impl Load {
    fn launch(&mut self, offer: &Value, more: bool) {
        let waiting = self.tasks.values().filter(|task| !task.ended()).count();
        let mut infos = Vec::new();
        // What has just come free may be offered by itself, and holds less than that.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and not negative
        let fits = (amount(offer, "cpus") / CPUS).min(amount(offer, "mem") / MEM_MIB) as usize;
        let room = if more {
            IN_FLIGHT.saturating_sub(waiting).min(8).min(fits)
        } else {
            0
        };
        let mut port = first_port(offer);
        for _ in 0..room {
            let number = self.tasks.len();
            let kind = KINDS[number % KINDS.len()];
            let id = format!("task-{number}");
            let mut needs = resources("*", CPUS, MEM_MIB);
            let command = format!("echo {id} >> {}; {}", self.marks, kind.command());
            let mut info = json!({
                "name": id,
                "task_id": { "value": id },
                "agent_id": offer["agent_id"],
                "command": { "value": command },
            });
            if kind == Kind::OnNetwork {
                let Some(host_port) = port.take() else { break };
                needs.as_array_mut().unwrap().push(json!({
                    "name": "ports", "type": "RANGES",
                    "ranges": { "range": [{ "begin": host_port, "end": host_port }] },
                }));
                info["container"] = json!({
                    "type": "MESOS",
                    "network_infos": [{
                        "name": "tepui-bridge",
                        "port_mappings": [{ "host_port": host_port, "container_port": 80 }],
                    }],
                    "volumes": [{
                        "container_path": "seen", "mode": "RW",
                        "source": { "type": "SANDBOX_PATH", "sandbox_path": { "type": "SELF", "path": "kept" } },
                    }],
                });
            }
            info["resources"] = needs;
            infos.push(info);
            self.tasks.insert(
                id,
                Task {
                    kind,
                    told: Vec::new(),
                },
            );
        }
        let accept = json!({
            "offer_ids": [offer["id"]],
            "operations": [{ "type": "LAUNCH", "launch": { "task_infos": infos } }],
            "filters": { "refuse_seconds": 0.05 },
        });
        self.call(&json!({ "type": "ACCEPT", "accept": accept }));
    }

    fn call(&mut self, call: &Value) {
        assert_eq!(self.scheduler.call(call), Some(202), "{call}");
    }

    fn note(&mut self, status: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = text(&status["task_id"]["value"]);
        if let Some(uuid) = status["uuid"].as_str() {
            let acknowledge = json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid });
            self.call(&json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge }));
        }
        let task = self.tasks.get_mut(&id).expect("a task that was launched");
        let told = (
            text(&status["uuid"]),
            text(&status["state"]),
            text(&status["message"]),
        );
        // The master's own word about a task that it does not know (any more), as asked for by a kill that was on its way.
        if told.0.is_empty() && told.1 == "TASK_LOST" && task.state() == "TASK_LOST" {
            return;
        }
        // An update whose acknowledgement was lost comes again, as it was and before anything newer.
        if let Some(at) = task.told.iter().position(|(uuid, ..)| *uuid == told.0) {
            assert_eq!(
                (at + 1, &task.told[at]),
                (task.told.len(), &told),
                "{id}: an old update came again: {:?}",
                task.told
            );
            return;
        }
        assert!(!task.ended(), "{id}: {told:?} after {:?}", task.told);
        task.told.push(told);
    }

    fn kill_who_is_to_die(&mut self) {
        let dying: Vec<String> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.is_to_die())
            .map(|(id, _)| id.clone())
            .collect();
        for id in dying {
            self.call(&json!({ "type": "KILL", "kill": { "task_id": { "value": id } } }));
        }
    }

    /// Runs tasks until it is told to stop, and then until all have ended.
    fn run(&mut self, stop: &AtomicBool) {
        loop {
            let more = !stop.load(Ordering::Relaxed);
            if !more && self.tasks.values().all(Task::ended) {
                return;
            }
            let event = self.scheduler.event().expect("the stream goes on");
            match event["type"].as_str() {
                Some("OFFERS") => {
                    let offers = event["offers"]["offers"].as_array().cloned();
                    for offer in offers.unwrap_or_default() {
                        self.launch(&offer, more);
                    }
                    self.kill_who_is_to_die();
                }
                Some("UPDATE") => {
                    self.note(&event["update"]["status"]);
                    self.kill_who_is_to_die();
                }
                Some("ERROR" | "FAILURE") => panic!("{event}"),
                _ => {}
            }
        }
    }

    /// Compares what was told with what happened.
    fn check(&self) {
        let marks = fs::read_to_string(&self.marks).unwrap_or_default();
        let mut ran: HashMap<&str, usize> = HashMap::new();
        for line in marks.lines() {
            *ran.entry(line).or_default() += 1;
        }
        let mut ends: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for (id, task) in &self.tasks {
            let (_, state, message) = task.told.last().unwrap();
            *ends.entry((format!("{:?}", task.kind), state)).or_default() += 1;
            let times = ran.get(id.as_str()).copied().unwrap_or_default();
            assert!(times <= 1, "{id} ran {times} times: {:?}", task.told);
            let before: Vec<&str> = task
                .told
                .iter()
                .rev()
                .skip(1)
                .map(|(_, state, _)| &**state)
                .collect();
            assert!(
                matches!(
                    before[..],
                    [] | ["TASK_STARTING"] | ["TASK_RUNNING"] | ["TASK_RUNNING", "TASK_STARTING"]
                ),
                "{id}: {:?}",
                task.told
            );
            let (wanted, words) = task.kind.ends();
            let expected = state == wanted && message.starts_with(words);
            // A launch that was not done when the agent was killed has never happened.
            let never = times == 0 && state == "TASK_LOST" && !before.contains(&"TASK_RUNNING");
            // The signal may have been quicker than the shell's first command.
            let killed = matches!(task.kind, Kind::KilledAtOnce | Kind::KilledLater);
            assert!(
                (expected && (times == 1 || killed)) || never,
                "{id} ({:?}) ran {times} times: {:?}",
                task.kind,
                task.told
            );
        }
        println!("{} tasks: {ends:?}", self.tasks.len());
        for kind in KINDS {
            let (state, _) = kind.ends();
            assert!(
                ends.contains_key(&(format!("{kind:?}"), state)),
                "no task was seen to end as {kind:?} should"
            );
        }
    }
}

fn first_port(offer: &Value) -> Option<u64> {
    offer["resources"]
        .as_array()?
        .iter()
        .find(|resource| resource["name"] == "ports")?["ranges"]["range"][0]["begin"]
        .as_u64()
}

/// What is still there of an agent's tasks.
fn left(work_dir: &Path, cgroups_root: &str) -> Vec<String> {
    let folder = work_dir.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts
        .lines()
        .filter(|line| line.contains(folder))
        .map(|line| format!("mount {line}"));
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(folder) && !line.contains(" master ") && !line.contains(" agent "))
                .then(|| format!("process {line}"))
        });
    let links = said("ip", &["-o", "link"]);
    // The agent may be at work on them.
    let rules = said("iptables", &["-w", "-t", "nat", "-S"]) + &said("iptables", &["-w", "-S"]);
    let links = links
        .lines()
        .filter(|line| line.contains(": tv") || line.contains(": tp"));
    let rules = rules
        .lines()
        .filter(|line| line.contains("TEPUI-") || line.contains(" tp"));
    let network = links.chain(rules).map(str::to_owned);
    let groups = cgroups::children(cgroups_root)
        .into_iter()
        .map(|path| format!("cgroup {}", path.display()));
    mounts
        .chain(processes)
        .chain(network)
        .chain(groups)
        .collect()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs this test again in a network namespace of its own, so that what agents make there is told from what the machine has.
fn in_own_network() {
    let status = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "an_agent_that_is_killed_two_hundred_times",
            "--nocapture",
        ])
        .env(OWN_NETWORK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// Times to live, from a seed and the time that a start takes here.
fn lives(mut seed: u64, start: Duration) -> impl Iterator<Item = Duration> {
    std::iter::repeat_with(move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let longest = if seed >> 60 == 0 {
            LONG_LIFE.max(start * LONG_STARTS)
        } else {
            LIFE.max(start * STARTS)
        };
        Duration::from_micros((seed >> 20) % u64::try_from(longest.as_micros()).unwrap())
    })
}

fn kill_again_and_again(agent: &mut Daemon, seed: u64, start: Duration) {
    for life in lives(seed, start).take(KILLS) {
        std::thread::sleep(life);
        agent.kill();
        agent.restart();
    }
}

#[test]
fn an_agent_that_is_killed_two_hundred_times() {
    if std::env::var_os(OWN_NETWORK).is_none() {
        return in_own_network();
    }
    let seed = std::env::var("TEPUI_SEED").ok().map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        },
        |seed| seed.parse().unwrap(),
    );
    println!("TEPUI_SEED={seed}");
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&["--max_completed_tasks_per_framework=100000"]);
    let _leads = master.get("/slaves");
    let begun = Instant::now();
    let mut agent = cluster.agent(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let start = begun.elapsed().min(SLOWEST_START);
    let root = agent.cgroups_root().to_owned();
    let mut load = Load {
        scheduler: Scheduler::subscribe(
            cluster.location(),
            &json!({ "user": "root", "name": "crash loop", "checkpoint": true, "failover_timeout": 600 }),
        ),
        tasks: BTreeMap::new(),
        marks: cluster.folder().join("marks").to_str().unwrap().to_owned(),
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kill_again_and_again(&mut agent, seed, start);
            stop.store(true, Ordering::Relaxed);
        });
        load.run(&stop);
    });
    load.check();
    until("a clean machine", PATIENCE, || {
        let left = left(cluster.folder(), &root);
        if left.is_empty() {
            return Some(());
        }
        println!("left: {left:#?}");
        std::thread::sleep(Duration::from_secs(1));
        None
    });
}
