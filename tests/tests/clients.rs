//! Clients that other people wrote, unmodified, against real daemons.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{process::Command, time::Duration};

use tepui_tests::{
    PATIENCE,
    cluster::{Cluster, active_agents},
    process::{Process, go_scenarios, python},
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

/// One scenario of the mesos-go scheduler, in both forms of the API.
#[track_caller]
fn go_scenario(name: &str) {
    for media in ["protobuf", "json"] {
        let (cluster, _master, _agent) = cluster();
        let mut command = Command::new(go_scenarios());
        command.args([cluster.location(), name, media]);
        let mut process = Process::start(&format!("mesos-go {name} in {media}"), command);
        let status = process.ended(Duration::from_secs(180));
        let log = process.log();
        assert!(
            status.success() && log.contains(&format!("{name} done")),
            "{name} in {media} has failed: {log}"
        );
    }
}

#[test]
fn mesos_go_runs_tasks() {
    go_scenario("tasks");
}

#[test]
fn mesos_go_runs_an_executor_of_its_own() {
    go_scenario("executor");
}

#[test]
fn mesos_go_launches_task_groups() {
    go_scenario("groups");
}

#[test]
fn mesos_go_launches_a_task_group_on_an_executor_of_its_own() {
    go_scenario("custom-group");
}

#[test]
fn mesos_go_reserves_and_keeps_a_volume() {
    go_scenario("volumes");
}

#[test]
fn mesos_go_reconciles() {
    go_scenario("reconciliation");
}

#[test]
fn mesos_go_fails_over() {
    go_scenario("failover");
}

/// One scenario of the pymesos scheduler.
#[track_caller]
fn pymesos_scenario(name: &str) {
    let (cluster, _master, _agent) = cluster();
    let executor = format!("exec {} {SCRIPTS}/pymesos_executor.py", python().display());
    let log = script(
        "pymesos_scenarios.py",
        &[cluster.location(), name, &executor],
    );
    assert!(log.contains(&format!("{name} done")), "{log}");
}

#[test]
fn pymesos_launches_task_groups() {
    pymesos_scenario("groups");
}

#[test]
fn pymesos_launches_a_task_group_on_an_executor_of_its_own() {
    pymesos_scenario("custom-group");
}

#[test]
fn pymesos_reserves_and_keeps_a_volume() {
    pymesos_scenario("volumes");
}

#[test]
fn pymesos_reconciles() {
    pymesos_scenario("reconciliation");
}

#[test]
fn pymesos_fails_over() {
    pymesos_scenario("failover");
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
