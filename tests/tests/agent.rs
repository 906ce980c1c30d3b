//! What becomes of tasks when agents are killed, memory runs out, and commands fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::get_json,
    clock::Clock,
    cluster::{Cluster, Daemon, active_agents, deploy, running, sleeper, whole},
    until,
};

/// The last failure that Marathon knows of an app.
#[track_caller]
fn failure(marathon: &Daemon, app: &str) -> Value {
    let url = format!("{}/v2/apps{app}", marathon.url);
    until(&format!("a failure of {app}"), PATIENCE, || {
        let document = get_json(&url)?;
        let failure = &document["app"]["lastTaskFailure"];
        failure.is_object().then(|| failure.clone())
    })
}

/// The history of the tasks whose name is this, as the master tells.
fn history(master: &Daemon, name: &str) -> Vec<Value> {
    let document = get_json(&format!("{}/tasks?limit=1000", master.url)).unwrap_or_default();
    let tasks = document["tasks"].as_array().cloned().unwrap_or_default();
    tasks
        .into_iter()
        .filter(|task| task["name"] == name)
        .collect()
}

#[test]
fn tasks_outlive_their_agent_and_exits_in_the_gap_are_reported() {
    let (cluster, master, mut agent, marathon) = whole(&[]);
    let stays = deploy(&marathon.url, &sleeper("/stays", 3), 3);
    let file = cluster.folder().join("go");
    let gate = json!({
        "id": "/ends", "cmd": format!("while ! test -e {}; do sleep 0.05; done; exit 7", file.display()),
        "cpus": 0.1, "mem": 32, "instances": 1, "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600,
    });
    let ends = deploy(&marathon.url, &gate, 1);
    agent.kill();
    until("the loss of the agent", PATIENCE, || {
        (active_agents(&master.url) == 0).then_some(())
    });
    // The task ends while no agent is there; its end is known when nothing of it is left.
    fs::write(&file, "").unwrap();
    until("the end of the task", PATIENCE, || {
        (!is_running(&format!("test -e {}", file.display()))).then_some(())
    });
    agent.restart();
    let failed = failure(&marathon, "/ends");
    assert_eq!(failed["taskId"], json!(ends[0]), "{failed}");
    assert_eq!(failed["state"], "TASK_FAILED", "{failed}");
    assert_eq!(
        failed["message"], "Command exited with status 7",
        "{failed}"
    );
    assert_eq!(
        running(&marathon.url, "/stays", 3),
        stays,
        "the others ran on"
    );
    assert_eq!(
        history(&master, "stays").len(),
        3,
        "and none was launched anew"
    );
}

/// Whether any process of this machine has this text in its command line.
fn is_running(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

#[test]
fn failures_are_told_in_mesos_words() {
    let (_cluster, master, _agent, marathon) = whole(&[]);
    let never_again = |id: &str, cmd: &str| json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 32, "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600 });
    for app in [
        never_again("/status", "exit 3"),
        never_again("/signal", "kill -9 $$"),
        // A megabyte at a time, until the limit (32 MiB and the 32 that every task gets on top) is hit.
        never_again("/greedy", "exec perl -e '$x .= \"x\" x 1048576 while 1'"),
    ] {
        let created =
            tepui_tests::client::post(&format!("{}/v2/apps", marathon.url), &app).unwrap();
        assert_eq!(created.status, 201, "{}", created.body);
    }
    assert_eq!(
        failure(&marathon, "/status")["message"],
        "Command exited with status 3"
    );
    let signalled = failure(&marathon, "/signal");
    assert!(
        signalled["message"]
            .as_str()
            .unwrap()
            .starts_with("Command terminated with signal"),
        "{signalled}"
    );
    let greedy = failure(&marathon, "/greedy");
    assert!(
        greedy["message"]
            .as_str()
            .unwrap()
            .starts_with("Memory limit exceeded"),
        "{greedy}"
    );
    let metrics = master.get("/metrics/snapshot");
    assert_eq!(
        metrics["master/task_failed/source_slave/reason_container_limitation_memory"], 1.0,
        "{metrics:#}"
    );
}

#[test]
fn an_agent_comes_back_with_a_hundred_tasks() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let mut agent = cluster.agent(&["--resources=cpus:100;mem:100000;ports:[25000-25999]"]);
    let marathon = cluster.marathon(&[]);
    let tasks = deploy(&marathon.url, &sleeper("/many", 100), 100);
    agent.kill();
    until("the loss of the agent", PATIENCE, || {
        (active_agents(&master.url) == 0).then_some(())
    });
    agent.restart();
    let clock = Clock::start();
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let took = clock.now();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    println!("registered with 100 tasks {took:?} after the restart");
    assert_eq!(running(&marathon.url, "/many", 100), tasks);
}
