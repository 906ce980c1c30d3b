//! Clients that other people wrote, unmodified, against real daemons.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{process::Command, time::Duration};

use tepui_tests::{
    PATIENCE,
    cluster::{Cluster, active_agents},
    process::{Process, python},
    until,
};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// Runs a script to its good end; what it printed is shown otherwise.
#[track_caller]
fn script(name: &str, args: &[&str]) -> String {
    let mut command = Command::new(python());
    command
        .arg(format!("{SCRIPTS}/{name}"))
        .args(args)
        .env("PYTHONUNBUFFERED", "1");
    let mut process = Process::start(name, command);
    let status = process.ended(Duration::from_secs(180));
    assert!(status.success(), "{name} has failed: {}", process.log());
    process.log()
}

fn cluster() -> (
    Cluster,
    tepui_tests::cluster::Daemon,
    tepui_tests::cluster::Daemon,
) {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let agent = cluster.agent(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    (cluster, master, agent)
}

#[test]
fn pymesos_runs_a_hundred_tasks() {
    let (cluster, _master, _agent) = cluster();
    assert!(script("pymesos_scheduler.py", &[cluster.location(), "100"]).contains("finished 100"));
}

#[test]
fn pymesos_runs_an_executor_of_its_own() {
    let (cluster, _master, _agent) = cluster();
    let executor = format!("exec {} {SCRIPTS}/pymesos_executor.py", python().display());
    assert!(
        script(
            "pymesos_scheduler.py",
            &[cluster.location(), "20", &executor]
        )
        .contains("finished 20")
    );
}

#[test]
fn marathon_python_makes_every_call() {
    let (mut cluster, _master, _agent) = cluster();
    let marathon = cluster.marathon(&[]);
    let _ = marathon.get("/v2/info");
    assert!(script("marathon_client.py", &[&marathon.url]).contains("all calls work"));
}

#[test]
fn the_example_of_the_sdk_runs_its_tasks() {
    let (cluster, _master, _agent) = cluster();
    let binary = tepui_tests::process::tepui();
    let example = binary.with_file_name("examples").join("hello");
    assert!(
        example.exists(),
        "{} is not there: run ./test, or `cargo build --release --examples`",
        example.display()
    );
    let mut command = Command::new(example);
    command.args([cluster.location(), "5", "echo hello"]);
    let mut process = Process::start("hello", command);
    assert!(process.ended(PATIENCE).success());
    assert!(
        process.log().contains("5 tasks have finished"),
        "{}",
        process.log()
    );
}
