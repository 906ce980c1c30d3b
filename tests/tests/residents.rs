//! Apps that keep something: persistent volumes on a real agent, from their making to their end; and tasks that have to be ready.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, post, put},
    cluster::{Daemon, deploy, no_deployments, running, sleeper, tasks, whole},
    until,
};

/// What the master says is reserved of its only agent.
fn reserved(master: &Daemon) -> Value {
    let slaves = get_json(&format!("{}/slaves", master.url)).unwrap();
    slaves["slaves"][0]["reserved_resources_full"].clone()
}

#[test]
fn a_volume_outlives_its_tasks_and_goes_with_its_app() {
    let (cluster, master, _agent, mut marathon) = whole(&[]);
    let app = json!({ "id": "/dev/db", "role": "dev", "cpus": 0.1, "mem": 32, "disk": 5, "backoffSeconds": 0,
        "cmd": "echo $MESOS_TASK_ID >> data/log; exec sleep 1000",
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } }] } });
    let first = deploy(&marathon.url, &app, 1).remove(0);
    no_deployments(&marathon);
    let shown = tasks(&marathon.url, "/dev/db", "TASK_RUNNING").remove(0);
    let volume = shown["localVolumes"][0]["persistenceId"]
        .as_str()
        .unwrap()
        .to_owned();
    let kept = serde_json::to_string(&reserved(&master)).unwrap();
    for text in [&volume, "marathon_framework_id", "marathon_task_id"] {
        assert!(kept.contains(text), "{text} in {kept}");
    }
    // The second daemon of the cluster.
    let agent = cluster.folder().join("agent-2");
    let log = agent.join("volumes/roles/dev").join(&volume).join("log");
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    until("the first line", PATIENCE, || {
        (lines() == [first.clone()]).then_some(())
    });

    // Killed, it comes back on its volume; so it does after Marathon was killed too.
    let ids = json!({ "ids": [first] });
    let second = first.replace("._app.1", "._app.2");
    assert_eq!(
        post(&format!("{}/v2/tasks/delete", marathon.url), &ids)
            .unwrap()
            .status,
        200
    );
    until("the second task", PATIENCE, || {
        (lines() == [first.clone(), second.clone()]).then_some(())
    });
    marathon.kill();
    marathon.restart();
    assert_eq!(running(&marathon.url, "/dev/db", 1)[0], second);

    // An upgrade stops it and starts it anew in its place.
    let url = format!("{}/v2/apps/dev/db", marathon.url);
    assert_eq!(
        put(&url, &json!({ "env": { "A": "b" } })).unwrap().status,
        200
    );
    let third = first.replace("._app.1", "._app.3");
    until("the third task", PATIENCE, || {
        (lines().last()? == &third).then_some(())
    });
    no_deployments(&marathon);

    // Scaled to nothing it keeps its volume, and has it again.
    assert_eq!(put(&url, &json!({ "instances": 0 })).unwrap().status, 200);
    no_deployments(&marathon);
    assert_eq!(lines().len(), 3);
    assert_eq!(put(&url, &json!({ "instances": 1 })).unwrap().status, 200);
    until("the fourth task", PATIENCE, || {
        (lines().len() == 4).then_some(())
    });
    no_deployments(&marathon);

    // Deleted, nothing of it is left.
    assert_eq!(delete(&url).unwrap().status, 200);
    until("that all is free", PATIENCE, || {
        (reserved(&master) == json!({})).then_some(())
    });
    until("that the volume is gone", PATIENCE, || {
        (!log.exists()).then_some(())
    });
}

#[test]
fn after_a_teardown_all_run_again_on_what_they_have_kept() {
    let (cluster, master, _agent, marathon) = whole(&[]);
    let app = json!({ "id": "/dev/db", "role": "dev", "cpus": 0.1, "mem": 32, "disk": 5, "backoffSeconds": 0,
        "cmd": "echo $MESOS_TASK_ID >> data/log; exec sleep 1000",
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } }] } });
    let first = deploy(&marathon.url, &app, 1).remove(0);
    let web = deploy(&marathon.url, &sleeper("/web", 2), 2);
    no_deployments(&marathon);
    let id = || marathon.get("/v2/info")["frameworkId"].clone();
    let before = id();

    let teardown =
        json!({ "type": "TEARDOWN", "teardown": { "framework_id": { "value": before } } });
    let torn = post(&format!("{}/api/v1", master.url), &teardown).unwrap();
    assert_eq!(torn.status, 200, "{}", torn.body);
    until("another framework", PATIENCE, || {
        (id() != before && id().is_string()).then_some(())
    });
    until("the others", PATIENCE, || {
        let now = tasks(&marathon.url, "/web", "TASK_RUNNING");
        let old = |task: &Value| web.iter().any(|id| task["id"] == **id);
        (now.len() == 2 && !now.iter().any(old)).then_some(())
    });
    let second = running(&marathon.url, "/dev/db", 1).remove(0);
    assert_ne!(first, second);
    let shown = tasks(&marathon.url, "/dev/db", "TASK_RUNNING").remove(0);
    let volume = shown["localVolumes"][0]["persistenceId"].as_str().unwrap();
    let volumes = cluster.folder().join("agent-2/volumes/roles/dev");
    // It runs a moment before it writes.
    let log = volumes.join(volume).join("log");
    let lines = || fs::read_to_string(&log).unwrap();
    until("the line of the second task", PATIENCE, || {
        (lines().lines().count() >= 2).then_some(())
    });
    assert_eq!(lines(), format!("{first}\n{second}\n"));
    assert_eq!(fs::read_dir(volumes).unwrap().count(), 1);
}

#[test]
fn a_deployment_waits_for_what_a_task_answers() {
    let (_cluster, _master, _agent, marathon) = whole(&[]);
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/ready.json");
    let mut app: Value = serde_json::from_str(&fs::read_to_string(text).unwrap()).unwrap();
    // Both are to be seen warming up, also where they are held up for a while.
    let longer = app["cmd"]
        .as_str()
        .unwrap()
        .replace("since >= 5", "since >= 20");
    assert_ne!(app["cmd"], longer);
    app["cmd"] = json!(longer);
    let ids = deploy(&marathon.url, &app, 2);
    let url = format!("{}/v2/deployments", marathon.url);
    until("an answer that says no", PATIENCE, || {
        let results = &get_json(&url)?[0]["currentActions"][0]["readinessCheckResults"];
        let results = results.as_array().filter(|all| all.len() == 2)?;
        let warming = results.iter().filter(|one| {
            one["ready"] == false
                && one["lastResponse"]["status"] == 503
                && one["lastResponse"]["body"] == "warming up\n"
        });
        (warming.count() == 2).then_some(())
    });
    no_deployments(&marathon);
    assert_eq!(running(&marathon.url, "/examples/ready", 2), ids);
}
