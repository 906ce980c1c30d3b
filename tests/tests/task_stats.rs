//! `tepui task stats`, as a person and as a script use it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tepui_tests::{
    client::delete,
    cluster::{deploy, sleeper, whole},
    process::tepui,
};

#[test]
fn what_tasks_use_is_shown_once_or_until_they_end() {
    let (_cluster, master, _agent, marathon) = whole(&[]);
    let busy = json!({ "id": "/busy", "cmd": "while :; do :; done", "cpus": 0.5, "mem": 32 });
    let busy = deploy(&marathon.url, &busy, 1).remove(0);
    let idle = deploy(&marathon.url, &sleeper("/idle", 1), 1).remove(0);
    let stats = |rest: &[&str]| {
        let mut command = Command::new(tepui());
        command.args([&["task", "stats", "--master", &master.url], rest].concat());
        command
    };

    let output = stats(&["--once", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&str> = all
        .iter()
        .map(|one| one["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [busy.as_str(), idle.as_str()]);
    let percent = |at: usize| all[at]["cpu_percent"].as_f64().unwrap();
    assert!(percent(0) > 5.0 && percent(1) < 5.0, "{all:?}");
    assert_eq!(all[0]["statistics"]["cpus_soft_limit"], 0.5);

    // Live, for one task, until it ends. What is not a terminal gets one table after the other.
    let mut live = stats(&["idle", "--interval", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(live.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let header = lines.by_ref().find(|line| line.as_ref().unwrap() != "");
        assert!(header.unwrap().unwrap().starts_with("TASK  "));
        let row = lines.next().unwrap().unwrap();
        assert!(row.starts_with(&idle), "{row}");
    }
    assert_eq!(
        delete(&format!("{}/v2/apps/idle?force=true", marathon.url))
            .unwrap()
            .status,
        200
    );
    assert!(live.wait().unwrap().success());

    let none = stats(&["nothing"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        said.contains("no task has an id that begins with `nothing`"),
        "{said}"
    );
}
