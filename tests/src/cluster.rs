//! Daemons of one test cluster, each in its own process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    PATIENCE, cgroups,
    client::{Answer, get_json, post},
    process::{Process, free_port},
    until,
};

/// How many agents this process has started.
static AGENTS: AtomicU32 = AtomicU32::new(0);

/// A daemon that can be killed and started again as it was.
#[derive(Debug)]
pub struct Daemon {
    args: Vec<String>,
    /// Of its environment, beside the test's own.
    variables: Vec<(String, String)>,
    process: Option<Process>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its port.
    pub port: u16,
    /// Below which an agent's tasks have their cgroups.
    cgroups_root: Option<String>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process = None;
        // An agent's tasks outlive it, as they should; not the test.
        if let Some(root) = &self.cgroups_root {
            cgroups::empty(root);
        }
    }
}

impl Daemon {
    fn start(name: &str, port_flag: &str, args: &[String]) -> Self {
        Self::start_in(&[], name, port_flag, args)
    }

    fn start_in(variables: &[(&str, &str)], name: &str, port_flag: &str, args: &[String]) -> Self {
        let port = free_port();
        let mut all = vec![name.to_owned(), format!("--{port_flag}={port}")];
        all.extend_from_slice(args);
        let mut daemon = Self {
            args: all,
            variables: variables
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            process: None,
            url: format!("http://127.0.0.1:{port}"),
            port,
            cgroups_root: None,
        };
        daemon.restart();
        daemon
    }

    /// The running process.
    ///
    /// # Panics
    /// It was killed.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon runs")
    }

    /// The cgroup below which an agent's tasks have theirs; empty for other daemons.
    #[must_use]
    pub fn cgroups_root(&self) -> &str {
        self.cgroups_root.as_deref().unwrap_or_default()
    }

    /// Kills it as nothing can be prepared for.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again with the same arguments.
    pub fn restart(&mut self) {
        self.process = None;
        self.process = Some(Process::tepui_in(&self.variables, &self.args));
    }

    /// GET of a JSON document, waiting until it is there.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.url);
        until(&format!("an answer of {url}"), PATIENCE, || get_json(&url))
    }
}

/// The folder of a test cluster, and how its daemons find the master.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    /// `host:port` or `zk://…`, set once there is a master.
    location: String,
    daemons: usize,
}

impl Cluster {
    /// A cluster without ZooKeeper; its location is the first master's address.
    ///
    /// # Panics
    /// There is no place for temporary files.
    #[must_use]
    pub fn standalone() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            location: String::new(),
            daemons: 0,
        }
    }

    /// A cluster that meets in ZooKeeper.
    ///
    /// # Panics
    /// There is no place for temporary files.
    #[must_use]
    pub fn at(zk: &str) -> Self {
        Self {
            location: zk.to_owned(),
            ..Self::standalone()
        }
    }

    /// Where the cluster's master is found: what a framework connects to.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// A folder below the cluster's that belongs to no daemon.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn work_dir(&mut self, name: &str) -> PathBuf {
        self.daemons += 1;
        self.folder.path().join(format!("{name}-{}", self.daemons))
    }

    /// Starts a master.
    #[must_use]
    pub fn master(&mut self, args: &[&str]) -> Daemon {
        let mut all = vec![format!("--work_dir={}", self.work_dir("master").display())];
        if self.location.starts_with("zk://") {
            all.push(format!("--zk={}", self.location));
        }
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let master = Daemon::start("master", "port", &all);
        if self.location.is_empty() {
            self.location = format!("127.0.0.1:{}", master.port);
        }
        master
    }

    /// Starts an agent with 4 cpus, 1024 MiB and 100 ports of its own unless `args` say otherwise.
    #[must_use]
    pub fn agent(&mut self, args: &[&str]) -> Daemon {
        self.agent_in(&[], args)
    }

    /// As [`agent`](Self::agent), with variables in its environment.
    #[must_use]
    pub fn agent_in(&mut self, variables: &[(&str, &str)], args: &[&str]) -> Daemon {
        // cgroups and ports of its own, so that tests do not see each other's.
        let (process, number) = (std::process::id(), AGENTS.fetch_add(1, Relaxed));
        let root = format!("tepui-test-{process}-{number}");
        let mut all = vec![
            format!("--work_dir={}", self.work_dir("agent").display()),
            format!("--master={}", self.location),
            format!("--cgroups_root={root}"),
        ];
        if !args.iter().any(|arg| arg.starts_with("--resources")) {
            let first = 20_000 + 100 * (process.wrapping_add(number) % 100);
            all.push(format!(
                "--resources=cpus:4;mem:1024;disk:1024;ports:[{first}-{}]",
                first + 99
            ));
        }
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let mut agent = Daemon::start_in(variables, "agent", "port", &all);
        agent.cgroups_root = Some(root);
        agent
    }

    /// Starts Marathon, with ZooKeeper if the cluster has one.
    #[must_use]
    pub fn marathon(&mut self, args: &[&str]) -> Daemon {
        let mut all = vec![
            format!("--work_dir={}", self.work_dir("marathon").display()),
            format!("--master={}", self.location),
        ];
        if self.location.starts_with("zk://") {
            all.push(format!("--zk={}-marathon", self.location));
        }
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        Daemon::start("marathon", "http_port", &all)
    }
}

/// A cluster of one master, one agent with these arguments besides, and Marathon, in this order, with the agent registered and Marathon leading.
#[track_caller]
#[must_use]
pub fn whole(agent: &[&str]) -> (Cluster, Daemon, Daemon, Daemon) {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let agent = cluster.agent(agent);
    let marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let _leads = marathon.get("/v2/info");
    (cluster, master, agent, marathon)
}

/// What a Marathon says that leads, or knows who does. One that is still to find out asks for patience (502, 503): that is no answer yet.
#[must_use]
pub fn led(answer: Answer) -> Option<Answer> {
    (!matches!(answer.status, 502 | 503)).then_some(answer)
}

/// Waits until Marathon has no deployment.
#[track_caller]
pub fn no_deployments(marathon: &Daemon) {
    until("the end of the deployments", PATIENCE, || {
        (get_json(&format!("{}/v2/deployments", marathon.url))? == json!([])).then_some(())
    });
}

/// How many agents a master counts as active.
#[must_use]
pub fn active_agents(master: &str) -> usize {
    let slaves = get_json(&format!("{master}/slaves")).unwrap_or_default();
    slaves["slaves"].as_array().map_or(0, |all| {
        all.iter().filter(|agent| agent["active"] == true).count()
    })
}

/// The tasks of an app in a state, as Marathon tells.
#[must_use]
pub fn tasks(marathon: &str, app: &str, state: &str) -> Vec<Value> {
    let document = get_json(&format!("{marathon}/v2/apps{app}/tasks")).unwrap_or_default();
    let tasks = document["tasks"].as_array().cloned().unwrap_or_default();
    tasks
        .into_iter()
        .filter(|task| task["state"] == state)
        .collect()
}

/// Creates an app and waits until so many instances run; gives their task ids, sorted.
///
/// # Panics
/// It is refused, or they do not run in time.
#[track_caller]
#[must_use]
pub fn deploy(marathon: &str, app: &Value, instances: usize) -> Vec<String> {
    let created = until("an answer of Marathon", PATIENCE, || {
        post(&format!("{marathon}/v2/apps"), app).and_then(led)
    });
    assert_eq!(created.status, 201, "{}", created.body);
    running(marathon, app["id"].as_str().unwrap_or_default(), instances)
}

/// Waits until exactly so many instances of an app run; gives their task ids, sorted.
#[track_caller]
#[must_use]
pub fn running(marathon: &str, app: &str, instances: usize) -> Vec<String> {
    until(
        &format!("{instances} running instances of {app}"),
        PATIENCE,
        || {
            let tasks = tasks(marathon, app, "TASK_RUNNING");
            let mut ids: Vec<String> = tasks
                .iter()
                .filter_map(|task| Some(task["id"].as_str()?.to_owned()))
                .collect();
            ids.sort();
            (ids.len() == instances).then_some(ids)
        },
    )
}

/// An app that sleeps.
#[must_use]
pub fn sleeper(id: &str, instances: u32) -> Value {
    json!({ "id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": instances })
}
