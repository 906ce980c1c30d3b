//! Marathon on Apache Mesos itself: its master and agents, as they were built elsewhere, where the other tests have Tepui's.
//!
//! `TEPUI_APACHE_MESOS` names the folder with `mesos-master`, `mesos-agent` and what the agent launches (`mesos-containerizer`, `mesos-executor`,
//! `mesos-default-executor`, `mesos-fetcher`, …). No package has them, so this is no test of `./test` but a check that is made by hand; it ends with
//! an error at the first thing that is not so:
//!
//! ```sh
//! TEPUI_APACHE_MESOS=/opt/mesos/bin cargo run -p tepui-tests --example apache_mesos
//! ```

#![allow(clippy::unwrap_used, reason = "the check fails by panicking")]

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, post, put},
    cluster::{Cluster, Daemon, active_agents, deploy, no_deployments, running, sleeper, tasks},
    process::{Process, free_port, tepui},
    until,
    zookeeper::Ensemble,
};

/// How long an instance may take until it runs, is healthy, or is elsewhere: Mesos waits for pings before it misses an agent.
const LONG: Duration = Duration::from_secs(120);

/// Masters and agents of Mesos below one folder.
struct Mesos {
    folder: TempDir,
    programs: PathBuf,
    /// What agents are told: an address, or where in ZooKeeper.
    location: String,
}

/// A master or agent that can be killed and started again as it was.
struct Part {
    program: PathBuf,
    host: String,
    args: Vec<String>,
    url: String,
    process: Option<Process>,
}

impl Part {
    fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env("LIBPROCESS_IP", &self.host)
            .env("MESOS_SYSTEMD_ENABLE_SUPPORT", "false");
        let name = self.program.file_name().unwrap().to_string_lossy();
        self.process = None;
        self.process = Some(Process::start(&name, command));
    }

    fn kill(&mut self) {
        self.process = None;
    }
}

impl Mesos {
    fn new(location: &str) -> Self {
        let programs = std::env::var_os("TEPUI_APACHE_MESOS")
            .expect("TEPUI_APACHE_MESOS names the folder of mesos-master and mesos-agent");
        Self {
            folder: tempfile::tempdir().unwrap(),
            programs: programs.into(),
            location: location.to_owned(),
        }
    }

    fn part(&self, program: &str, host: &str, args: &[String]) -> Part {
        let port = free_port();
        let mut all = vec![
            format!("--ip={host}"),
            format!("--hostname={host}"),
            format!("--port={port}"),
            format!(
                "--work_dir={}",
                self.folder
                    .path()
                    .join(format!("{program}-{port}"))
                    .display()
            ),
        ];
        all.extend_from_slice(args);
        let mut part = Part {
            program: self.programs.join(program),
            host: host.to_owned(),
            args: all,
            url: format!("http://{host}:{port}"),
            process: None,
        };
        part.start();
        part
    }

    /// A master that misses an agent after 6 seconds.
    fn master(&mut self, args: &[&str]) -> Part {
        let mut all: Vec<String> = ["--agent_ping_timeout=2secs", "--max_agent_ping_timeouts=3"]
            .map(str::to_owned)
            .to_vec();
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let master = self.part("mesos-master", "127.0.0.1", &all);
        if self.location.is_empty() {
            master.url["http://".len()..].clone_into(&mut self.location);
        }
        master
    }

    /// An agent with 4 cpus and 100 ports on a host of its own.
    fn agent(&self, number: usize) -> Part {
        let host = format!("127.0.7.{number}");
        let first = 31_000 + 100 * number;
        let runtime = self.folder.path().join(format!("runtime-{number}"));
        self.part(
            "mesos-agent",
            &host,
            &[
                format!("--master={}", self.location),
                format!("--runtime_dir={}", runtime.display()),
                format!("--launcher_dir={}", self.programs.display()),
                format!("--attributes=number:{number}"),
                format!(
                    "--resources=cpus:4;mem:2048;disk:2048;ports:[{first}-{}]",
                    first + 99
                ),
                "--launcher=posix".to_owned(),
                "--isolation=posix/cpu,posix/mem,filesystem/posix,volume/sandbox_path".to_owned(),
                // An executor whose agent is gone for good ends soon: also where this test fails.
                "--recovery_timeout=30secs".to_owned(),
                "--executor_registration_timeout=2mins".to_owned(),
            ],
        )
    }
}

#[track_caller]
fn agents(master: &str, count: usize) {
    until(&format!("{count} agents"), LONG, || {
        (active_agents(master) == count).then_some(())
    });
}

#[track_caller]
fn healthy(marathon: &Daemon, app: &str, count: u32) {
    let url = format!("{}/v2/apps{app}", marathon.url);
    until(&format!("{count} healthy instances of {app}"), LONG, || {
        (get_json(&url)?["app"]["tasksHealthy"] == count).then_some(())
    });
}

#[track_caller]
fn change(marathon: &Daemon, app: &str, to: &Value) {
    let url = format!("{}/v2/apps{app}", marathon.url);
    let answer = until("an answer of Marathon", PATIENCE, || put(&url, to));
    assert_eq!(answer.status, 200, "{}", answer.body);
    no_deployments(marathon);
}

/// What a command of `tepui` prints.
#[track_caller]
fn told(master: &str, marathon: &Daemon, args: &[&str]) -> String {
    let output = Command::new(tepui())
        .args(args)
        .env("TEPUI_MASTER", master)
        .env("TEPUI_MARATHON", &marathon.url)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// All that agents have in use, and all that is reserved.
fn left(master: &str) -> Option<Vec<(Value, Value)>> {
    let slaves = get_json(&format!("{master}/slaves"))?;
    let of = |agent: &Value| {
        (
            agent["used_resources"]["cpus"].clone(),
            agent["reserved_resources"].clone(),
        )
    };
    Some(slaves["slaves"].as_array()?.iter().map(of).collect())
}

#[track_caller]
fn delete_all(master: &str, marathon: &Daemon, paths: &[&str]) {
    for path in paths {
        let answer = delete(&format!("{}{path}", marathon.url)).unwrap();
        assert!([200, 202].contains(&answer.status), "{}", answer.body);
    }
    until("nothing in use, nothing reserved", LONG, || {
        left(master)?
            .iter()
            .all(|(cpus, reserved)| *cpus == json!(0.0) && *reserved == json!({}))
            .then_some(())
    });
}

fn keeper(instances: u32) -> Value {
    json!({ "id": "/dev/db", "role": "dev", "cmd": "echo once more >> data/file; cat data/file; exec sleep 1000", "cpus": 0.1, "mem": 32,
        "instances": instances, "unreachableStrategy": "disabled",
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } }] } })
}

fn marathon_runs_on_apache_mesos() {
    let mut mesos = Mesos::new("");
    let mut master = mesos.master(&["--quorum=1"]);
    let (mut first, mut second) = (mesos.agent(1), mesos.agent(2));
    let mut marathon = Cluster::at(&mesos.location).marathon(&[]);
    agents(&master.url, 2);

    // Health checks of executors, a rolling upgrade, constraints.
    let mut web = sleeper("/web", 2);
    web["constraints"] = json!([["hostname", "MAX_PER", "2"]]);
    web["healthChecks"] = json!([{ "protocol": "COMMAND", "command": { "value": "true" }, "intervalSeconds": 1, "delaySeconds": 0 }]);
    let old = deploy(&marathon.url, &web, 2);
    healthy(&marathon, "/web", 2);
    change(&marathon, "/web", &json!({ "env": { "VERSION": "2" } }));
    let web = running(&marathon.url, "/web", 2);
    assert!(old.iter().all(|id| !web.contains(id)), "{web:?}");
    let nowhere = json!({ "id": "/nowhere", "cmd": "true", "cpus": 0.1, "mem": 32, "constraints": [["number", "IS", "3"]] });
    let _ = deploy(&marathon.url, &nowhere, 0);
    until("a reason why it waits", PATIENCE, || {
        told(&master.url, &marathon, &["app", "explain", "/nowhere"])
            .contains("constraint number:IS:3 on 2 agents")
            .then_some(())
    });

    // A check that fails for good.
    let mut ill = sleeper("/ill", 1);
    ill["healthChecks"] = json!([{ "protocol": "COMMAND", "command": { "value": "exit 7" }, "intervalSeconds": 1, "delaySeconds": 0,
        "gracePeriodSeconds": 0, "maxConsecutiveFailures": 2 }]);
    assert_eq!(
        post(&format!("{}/v2/apps", marathon.url), &ill)
            .unwrap()
            .status,
        201
    );
    let history = format!("{}/v3/apps/ill/history", marathon.url);
    until("its end as unhealthy", LONG, || {
        (get_json(&history)?["tasks"][0]["cause"] == "unhealthy").then_some(())
    });

    for app in ["nowhere", "ill"] {
        // Neither is ever ready; force takes them out of their deployments.
        let url = format!("{}/v2/apps/{app}?force=true", marathon.url);
        assert_eq!(delete(&url).unwrap().status, 200);
    }
    no_deployments(&marathon);

    // A task group on the default executor.
    let pod = json!({ "id": "/pod", "scaling": { "kind": "fixed", "instances": 1 }, "containers": [
        { "name": "a", "resources": { "cpus": 0.1, "mem": 32 }, "exec": { "command": { "shell": "echo here is a; exec sleep 1000" } } },
        { "name": "b", "resources": { "cpus": 0.1, "mem": 32 }, "exec": { "command": { "shell": "exec sleep 1000" } } } ] });
    let created = post(&format!("{}/v2/pods", marathon.url), &pod).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let status = format!("{}/v2/pods/pod::status", marathon.url);
    until("a stable pod", LONG, || {
        (get_json(&status)?["status"] == "STABLE").then_some(())
    });
    let logs = ["pod", "logs", "/pod", "--container", "a"];
    until("what a container wrote", LONG, || {
        told(&master.url, &marathon, &logs)
            .contains("here is a")
            .then_some(())
    });

    // Volumes, in a role of their own: they stay with their instance.
    let _ = deploy(&marathon.url, &keeper(1), 1);
    let starts = |count: usize| {
        until("what its tasks wrote", LONG, || {
            let tasks = tasks(&marathon.url, "/dev/db", "TASK_RUNNING");
            let id = tasks.first()?["id"].as_str()?;
            let log = ["task", "logs", id, "--master", &master.url];
            let log = Command::new(tepui()).args(log).output().ok()?;
            let log = String::from_utf8_lossy(&log.stdout).into_owned();
            (log.matches("once more").count() == count).then(|| id.to_owned())
        })
    };
    let kill = format!("{}/v2/apps/dev/db/tasks/{}", marathon.url, starts(1));
    assert_eq!(delete(&kill).unwrap().status, 200);
    starts(2);
    let kept = running(&marathon.url, "/dev/db", 1);

    // The next Marathon finds them by reconciliation.
    marathon.restart();
    assert_eq!(running(&marathon.url, "/web", 2), web);
    assert_eq!(running(&marathon.url, "/dev/db", 1), kept);

    // So does a master that knows of nothing; and the roles of the framework are the same as before.
    master.kill();
    master.start();
    agents(&master.url, 2);
    assert_eq!(running(&marathon.url, "/web", 2), web);
    change(&marathon, "/dev/db", &json!({ "instances": 2 }));
    assert!(running(&marathon.url, "/dev/db", 2).contains(&kept[0]));
    change(&marathon, "/web", &json!({ "instances": 3 }));
    let web = running(&marathon.url, "/web", 3);

    // Tasks outlive their agent's process.
    first.kill();
    first.start();
    agents(&master.url, 2);
    assert_eq!(running(&marathon.url, "/web", 3), web);

    // An agent that is gone: what is not bound to it is started elsewhere, what is bound comes back with it.
    let bound = running(&marathon.url, "/dev/db", 2);
    let on_second = |app: &str| {
        let tasks = tasks(&marathon.url, app, "TASK_RUNNING");
        tasks.iter().any(|task| task["host"] == second.host)
    };
    change(&marathon, "/web", &json!({ "constraints": [] }));
    change(&marathon, "/web", &json!({ "instances": 6 }));
    assert!(on_second("/web"), "six of them are on both");
    second.kill();
    let elsewhere = until("six on the other agent", LONG, || {
        let tasks = tasks(&marathon.url, "/web", "TASK_RUNNING");
        let there = tasks.iter().filter(|task| task["host"] == first.host);
        (there.count() == 6 && tasks.len() == 6).then_some(tasks.len())
    });
    assert_eq!(elsewhere, 6);
    second.start();
    agents(&master.url, 2);
    assert_eq!(running(&marathon.url, "/dev/db", 2), bound);
    until("the end of those that were replaced", LONG, || {
        let all = get_json(&format!("{}/tasks?limit=1000", master.url))?;
        let web = all["tasks"]
            .as_array()?
            .iter()
            .filter(|task| task["name"] == "web" && task["state"] == "TASK_RUNNING");
        (web.count() == 6).then_some(())
    });

    delete_all(
        &master.url,
        &marathon,
        &["/v2/apps/web", "/v2/apps/dev/db", "/v2/pods/pod"],
    );
}

fn the_leader_of_apache_mesos_is_found_in_zookeeper() {
    let ensemble = Ensemble::start(1);
    let location = ensemble.url("/mesos");
    let mut mesos = Mesos::new(&location);
    let zk = format!("--zk={location}");
    let flags = [zk.as_str(), "--quorum=2", "--zk_session_timeout=4secs"];
    let mut masters = [0; 3].map(|_| mesos.master(&flags));
    let _agent = mesos.agent(1);
    let marathon = Cluster::at(&location).marathon(&[]);
    agents(&masters[0].url, 1);
    let tasks = deploy(&marathon.url, &sleeper("/web", 2), 2);
    let _ = deploy(&marathon.url, &keeper(1), 1);

    let leading = until("a leader", LONG, || {
        let info = get_json(&format!("{}/v2/info", marathon.url))?;
        let ui = info["marathon_config"]["mesos_leader_ui_url"]
            .as_str()?
            .to_owned();
        masters
            .iter()
            .position(|master| ui.starts_with(&master.url))
    });
    masters[leading].kill();
    let other = masters[(leading + 1) % 3].url.clone();
    agents(&other, 1);
    change(&marathon, "/web", &json!({ "instances": 3 }));
    change(&marathon, "/dev/db", &json!({ "instances": 2 }));
    let more = running(&marathon.url, "/web", 3);
    assert!(tasks.iter().all(|id| more.contains(id)), "{more:?}");
    // Whoever does not lead sends on to who does.
    masters[leading].start();
    agents(&masters[leading].url, 1);
    delete_all(&other, &marathon, &["/v2/apps/web", "/v2/apps/dev/db"]);
}

fn main() {
    let checks: [(&str, fn()); 2] = [
        (
            "Marathon runs on Apache Mesos",
            marathon_runs_on_apache_mesos,
        ),
        (
            "the leader of Apache Mesos is found in ZooKeeper",
            the_leader_of_apache_mesos_is_found_in_zookeeper,
        ),
    ];
    for (name, check) in checks {
        println!("{name} …");
        check();
        println!("{name}: ok");
    }
}
