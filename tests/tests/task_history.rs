//! What is remembered of ended tasks, on real daemons: it outlives the app's instances, the master's memory, Marathon's leader and the app itself,
//! and the tasks' output is read for as long as their agent keeps it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, post, put},
    cluster::{Cluster, Daemon, active_agents, deploy, led, running, sleeper},
    until,
    zookeeper::Ensemble,
};

/// The command line's exit code, its output, and what went wrong.
fn tepui(master: &Daemon, marathon: &Daemon, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(tepui_tests::process::tepui())
        .args(args)
        .env("TEPUI_MASTER", &master.url)
        .env("TEPUI_MARATHON", &marathon.url)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[track_caller]
fn good(master: &Daemon, marathon: &Daemon, args: &[&str]) -> String {
    let (code, told, wrong) = tepui(master, marathon, args);
    assert_eq!(code, Some(0), "{args:?}: {told}{wrong}");
    told
}

/// Ended tasks of an app, newest first.
fn ended(marathon: &Daemon, app: &str) -> Vec<Value> {
    let answer = get_json(&format!("{}/v3/apps{app}/history", marathon.url)).unwrap_or_default();
    answer["tasks"].as_array().cloned().unwrap_or_default()
}

fn undisturbed(marathon: &Daemon) {
    until("no deployment", PATIENCE, || {
        let all = get_json(&format!("{}/v2/deployments", marathon.url))?;
        (all == json!([])).then_some(())
    });
}

/// The sandbox's directory on this machine.
fn directory(cluster: &Cluster, task: &Value) -> PathBuf {
    let path = task["sandbox"]["path"].as_str().unwrap();
    let agents = fs::read_dir(cluster.folder()).unwrap().flatten();
    let agents = agents.map(|entry| entry.path().join("slaves"));
    let agent = task["agentId"].as_str().unwrap();
    let found = agents
        .map(|slaves| slaves.join(agent).join(path.trim_start_matches('/')))
        .find(|sandbox| sandbox.exists());
    found.unwrap().canonicalize().unwrap()
}

fn outlives(mut cluster: Cluster) {
    // A master that forgets what has ended at once.
    let master = cluster.master(&["--max_completed_tasks_per_framework=0"]);
    // An agent that collects sandboxes by their age, also where the disk is nearly full.
    let _agent = cluster.agent(&["--disk_watch_interval=1secs", "--gc_disk_headroom=0"]);
    let mut marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let crash = json!({ "id": "/shop/crash", "cmd": "echo last words of $MESOS_TASK_ID; exit 7", "cpus": 0.1, "mem": 32, "backoffSeconds": 1 });
    let created = until("an answer of Marathon", PATIENCE, || {
        post(&format!("{}/v2/apps", marathon.url), &crash).and_then(led)
    });
    assert_eq!(created.status, 201, "{}", created.body);
    until("two crashes", PATIENCE, || {
        (ended(&marathon, "/shop/crash").len() > 1).then_some(())
    });
    let stop = format!("{}/v2/apps/shop/crash?force=true", marathon.url);
    assert_eq!(put(&stop, &json!({ "instances": 0 })).unwrap().status, 200);
    let _ = deploy(&marathon.url, &sleeper("/web", 2), 2);
    let scale = format!("{}/v2/apps/web", marathon.url);
    assert_eq!(put(&scale, &json!({ "instances": 1 })).unwrap().status, 200);
    let _ = running(&marathon.url, "/web", 1);
    undisturbed(&marathon);

    let crashed = ended(&marathon, "/shop/crash");
    let (last, first) = (crashed.first().unwrap(), crashed.last().unwrap());
    let told = |one: &Value| (one["cause"].clone(), one["state"].clone());
    for one in [first, last] {
        assert_eq!(one["exitCode"], 7, "{one}");
        assert_eq!(told(one), (json!("crashed"), json!("TASK_FAILED")));
        assert!(
            one["startedAt"].is_string() && one["source"].is_string(),
            "{one}"
        );
    }
    let scaled = ended(&marathon, "/web");
    assert_eq!(scaled.len(), 1, "{scaled:?}");
    assert_eq!(
        told(&scaled[0]),
        (json!("scaledDown"), json!("TASK_KILLED"))
    );

    marathon.restart();
    let again = until("the next leader", PATIENCE, || {
        let again = ended(&marathon, "/shop/crash");
        (!again.is_empty()).then_some(again)
    });
    assert_eq!(
        again, crashed,
        "the next leader knows what the last one did"
    );
    assert_eq!(ended(&marathon, "/web"), scaled);

    let id = |one: &Value| one["taskId"].as_str().unwrap().to_owned();
    let (first, last) = (id(first), id(last));
    let known = master.get("/tasks?limit=1000").to_string();
    assert!(!known.contains(&first), "the master has forgotten it");
    let words = |id: &str| format!("last words of {id}\n");
    assert_eq!(
        good(&master, &marathon, &["task", "logs", &first]),
        words(&first)
    );
    let previous = ["app", "logs", "/shop/crash", "--previous"];
    assert_eq!(good(&master, &marathon, &previous), words(&last));
    let (code, _, wrong) = tepui(&master, &marathon, &previous[..3]);
    assert!(code == Some(1) && wrong.contains("`--previous`"), "{wrong}");
    let of_task = ["app", "logs", "/shop/crash", "--task", &first];
    assert_eq!(good(&master, &marathon, &of_task), words(&first));

    let table = good(
        &master,
        &marathon,
        &["app", "history", "shop/crash", "--tasks"],
    );
    let row = table.lines().find(|line| line.starts_with(&first)).unwrap();
    let cells: Vec<&str> = row
        .split("  ")
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .collect();
    assert_eq!(cells[3..6], ["failed", "crashed", "7"], "{table}");
    let filtered = [
        "app", "history", "/web", "--tasks", "--status", "killed", "--json", "--limit", "1",
    ];
    let answer: Value = serde_json::from_str(&good(&master, &marathon, &filtered)).unwrap();
    assert_eq!(
        (&answer["matching"], &answer["tasks"][0]),
        (&json!(1), &scaled[0])
    );

    delete(&format!("{}/v2/apps/shop/crash", marathon.url)).unwrap();
    undisturbed(&marathon);
    assert_eq!(
        good(&master, &marathon, &previous),
        words(&last),
        "it outlives its app"
    );

    // The agent takes it for eight days old, and it keeps them for a week.
    let sandbox = directory(&cluster, crashed.last().unwrap());
    let old = SystemTime::now() - Duration::from_secs(8 * 86_400);
    File::open(&sandbox).unwrap().set_modified(old).unwrap();
    until("the sandbox is collected", PATIENCE, || {
        (!sandbox.exists()).then_some(())
    });
    let (code, _, wrong) = tepui(&master, &marathon, &["task", "logs", &first]);
    assert_eq!(code, Some(1));
    let gone = format!("the sandbox of {first} is gone: it ended at ");
    assert!(
        wrong.contains(&gone) && wrong.contains("at the latest"),
        "{wrong}"
    );
    assert_eq!(
        good(&master, &marathon, &["task", "logs", &last]),
        words(&last)
    );
}

#[test]
fn an_ended_task_outlives_everything_with_an_embedded_store() {
    outlives(Cluster::standalone());
}

#[test]
fn an_ended_task_outlives_everything_with_zookeeper() {
    let ensemble = Ensemble::start(1);
    outlives(Cluster::at(&ensemble.url("/ended")));
}

/// A pod's containers, and one whose end is somebody else's.
#[test]
fn what_the_containers_of_a_pod_wrote_is_read_after_their_end() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&["--max_completed_tasks_per_framework=0"]);
    let _agent = cluster.agent(&[]);
    let marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let container = |name: &str, command: &str| json!({ "name": name, "exec": { "command": { "shell": command } }, "resources": { "cpus": 0.1, "mem": 32 } });
    let pod = json!({ "id": "/duo", "containers": [
        container("bad", "echo bad is here; exit 7"), container("good", "echo good is here; exec sleep 1000"),
    ], "scaling": { "kind": "fixed", "instances": 1 } });
    let created = until("an answer of Marathon", PATIENCE, || {
        post(&format!("{}/v2/pods", marathon.url), &pod).and_then(led)
    });
    assert_eq!(created.status, 201, "{}", created.body);
    let run = until("its end", PATIENCE, || {
        let answer = get_json(&format!("{}/v3/pods/duo/history", marathon.url))?;
        answer["tasks"].as_array()?.last().cloned()
    });
    assert_eq!(
        (&run["cause"], &run["exitCode"]),
        (&json!("crashed"), &json!(7)),
        "{run}"
    );
    let task = |at: usize| run["containers"][at]["taskId"].as_str().unwrap();
    assert_eq!(
        good(&master, &marathon, &["task", "logs", task(0)]),
        "bad is here\n"
    );
    let previous = ["pod", "logs", "/duo", "--previous", "--container", "bad"];
    assert_eq!(good(&master, &marathon, &previous), "bad is here\n");
    let table = good(&master, &marathon, &["pod", "history", "/duo", "--tasks"]);
    assert!(
        table
            .lines()
            .any(|line| line.trim_start().starts_with(task(1))),
        "{table}"
    );
}
