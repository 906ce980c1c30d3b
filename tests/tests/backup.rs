//! Backup and restore of what Marathon has stored: from a leader, from a store, into a store of either kind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::json;
use tepui_tests::{
    PATIENCE,
    client::{get_json, put},
    cluster::{Cluster, Daemon, active_agents, deploy, running, sleeper, tasks},
    until,
    zookeeper::Ensemble,
};

/// The command line's exit code, and what it says.
fn tepui(marathon: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(tepui_tests::process::tepui())
        .args(args)
        .env("TEPUI_MARATHON", marathon)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn good(marathon: &str, args: &[&str]) -> String {
    let (code, text) = tepui(marathon, args);
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

fn ids(marathon: &Daemon) -> Vec<String> {
    let apps = marathon.get("/v2/apps");
    let apps = apps["apps"].as_array().unwrap().iter();
    apps.map(|app| app["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_a_leader_backs_up_comes_back_in_zookeeper_and_in_an_embedded_store() {
    let zookeeper = Ensemble::start(1);
    let mut cluster = Cluster::at(&zookeeper.url("/backup"));
    let master = cluster.master(&[]);
    let _agent = cluster.agent(&[]);
    let mut marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let three = deploy(&marathon.url, &sleeper("/shop/kept", 3), 3);
    let scale = format!("{}/v2/apps/shop/kept", marathon.url);
    assert_eq!(put(&scale, &json!({ "instances": 2 })).unwrap().status, 200);
    let tasks = running(&marathon.url, "/shop/kept", 2);
    // What became of the third is a part of the backup too.
    let history = until("the end of one", PATIENCE, || {
        let history = get_json(&format!("{}/v3/apps/shop/kept/history", marathon.url))?;
        (history["kept"] == 1).then_some(history)
    });
    let ended = history["tasks"][0]["taskId"].as_str().unwrap();
    assert!(three.iter().any(|task| task == ended) && !tasks.iter().any(|task| task == ended));
    let file = cluster.folder().join("backup");
    let file = file.to_str().unwrap();
    let told = good(&marathon.url, &["store", "backup", file]);
    assert!(told.contains("records written to"), "{told}");
    let (code, told) = tepui(&marathon.url, &["store", "backup", file]);
    assert!(
        code == Some(2) && told.contains("cannot be written"),
        "{told}"
    );
    let _ = deploy(&marathon.url, &sleeper("/later", 1), 1);

    let zk = format!("{}-marathon", cluster.location());
    let in_zookeeper = ["store", "restore", file, "--zk", &zk];
    let (code, told) = tepui("", &in_zookeeper);
    assert!(
        code == Some(1) && told.contains("a Marathon leads at"),
        "{told}"
    );
    marathon.kill();
    let (code, told) = until("the end of its session", PATIENCE, || {
        let (code, told) = tepui("", &in_zookeeper);
        (!told.contains("a Marathon leads at")).then_some((code, told))
    });
    assert!(
        code == Some(1) && told.contains("records already, and nothing was changed"),
        "{told}"
    );
    good("", &["store", "restore", file, "--zk", &zk, "--replace"]);
    // The same state, whichever store it is in.
    let copy = cluster.folder().join("copy");
    let copy = copy.to_str().unwrap();
    good("", &["store", "backup", copy, "--zk", &zk]);
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(file).unwrap());
    let embedded = cluster.folder().join("embedded");
    let embedded = embedded.to_str().unwrap();
    good("", &["store", "restore", copy, "--work-dir", embedded]);
    let again = cluster.folder().join("again");
    let again = again.to_str().unwrap();
    good("", &["store", "backup", again, "--work-dir", embedded]);
    assert_eq!(std::fs::read(again).unwrap(), std::fs::read(file).unwrap());

    // It goes on with the tasks that it had, under the framework id that it had.
    marathon.restart();
    assert_eq!(running(&marathon.url, "/shop/kept", 2), tasks);
    assert_eq!(ids(&marathon), ["/shop/kept"]);
    assert_eq!(marathon.get("/v3/apps/shop/kept/history"), history);
}

#[test]
fn volumes_that_a_restored_backup_does_not_know_are_held_until_they_are_freed() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let _agent = cluster.agent(&[]);
    let mut marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let kept = deploy(&marathon.url, &sleeper("/kept", 1), 1);
    let path = |name: &str| cluster.folder().join(name).to_str().unwrap().to_owned();
    // Daemons have their folders by the order of their start.
    let (file, store) = (path("backup"), path("marathon-3"));
    good(&marathon.url, &["store", "backup", &file]);
    let app = json!({ "id": "/dev/db", "role": "dev", "cpus": 0.1, "mem": 32, "disk": 5,
        "cmd": "echo precious > data/log; exec sleep 1000",
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } }] } });
    let lost = deploy(&marathon.url, &app, 1).remove(0);
    let shown = tasks(&marathon.url, "/dev/db", "TASK_RUNNING").remove(0);
    let volume = shown["localVolumes"][0]["persistenceId"].as_str().unwrap();
    let log = format!("{}/volumes/roles/dev/{volume}/log", path("agent-2"));
    let log = std::path::PathBuf::from(log);
    let written = || std::fs::read_to_string(&log).is_ok_and(|text| text == "precious\n");
    until("what is written", PATIENCE, || written().then_some(()));

    marathon.kill();
    good(
        "",
        &["store", "restore", &file, "--work-dir", &store, "--replace"],
    );
    // Also for the leader after the next.
    for _ in 0..2 {
        marathon.restart();
        until("the volume to be offered", PATIENCE, || {
            let list = get_json(&format!("{}/v3/store/held", marathon.url))?;
            let held = list["held"].as_array()?;
            (held.len() == 1 && held[0]["volumes"][0]["persistenceId"] == volume).then_some(())
        });
        assert!(written());
        assert_eq!(running(&marathon.url, "/kept", 1), kept);
    }
    let instance = lost.split("._app").next().unwrap();
    let told = good(&marathon.url, &["store", "held"]);
    assert!(
        told.contains(instance) && told.contains("data (20 MiB)"),
        "{told}"
    );
    let metrics = marathon.get("/metrics");
    assert_eq!(
        metrics["gauges"]["tepui.store.held.reservations.gauge"]["value"],
        1.0
    );
    let (code, told) = tepui(&marathon.url, &["store", "free", "--end"]);
    assert!(
        code == Some(1) && told.contains("1 more reservations are held"),
        "{told}"
    );
    assert!(written());
    let told = good(&marathon.url, &["store", "free", instance]);
    assert!(told.contains("1 freed"), "{told}");
    until("that the volume is gone", PATIENCE, || {
        (!log.exists()).then_some(())
    });
    let told = good(&marathon.url, &["store", "free", "--end"]);
    assert!(told.contains("nothing is held"), "{told}");
}

#[test]
fn a_damaged_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, store) = (path("file"), path("store"));
    std::fs::write(
        &file,
        "{\"format\":\"tepui-marathon-backup\",\"version\":1,\"tepui\":\"0\"}\n{\"key\":\"a\"",
    )
    .unwrap();
    let (code, told) = tepui("", &["store", "restore", &file, "--work-dir", &store]);
    assert!(
        code == Some(2) && told.contains("it is damaged: its end is missing"),
        "{told}"
    );
    assert!(!folder.path().join("store").exists());
}
