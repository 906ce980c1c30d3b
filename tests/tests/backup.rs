//! Backup and restore of what Marathon has stored: from a leader, from a store, into a store of either kind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use tepui_tests::{
    PATIENCE,
    cluster::{Cluster, Daemon, active_agents, deploy, running, sleeper},
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
    let tasks = deploy(&marathon.url, &sleeper("/shop/kept", 2), 2);
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
