//! Scheduled restarts and rebalancing on real daemons.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{get_json, post, put},
    cluster::{Cluster, Daemon, active_agents, deploy, running, sleeper, tasks},
    until,
};

/// With one agent, in rack `a`.
fn cluster() -> (Cluster, Daemon, Daemon, Daemon) {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let agent = cluster.agent(&["--attributes=rack:a"]);
    let marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    (cluster, master, agent, marathon)
}

fn set_policy(marathon: &str, app: &str, policy: &Value) {
    let answer = put(&format!("{marathon}/v3/apps{app}/policy"), policy).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// How many tasks that run of an app each agent has, the fewest first.
fn spread(marathon: &str, app: &str) -> Vec<usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks(marathon, app, "TASK_RUNNING") {
        let agent = task["slaveId"].as_str().unwrap_or_default();
        *counts.entry(agent.to_owned()).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}

/// Ids of ended tasks of an app with this cause.
fn ended(marathon: &str, app: &str, cause: &str) -> Vec<String> {
    let answer = get_json(&format!("{marathon}/v3/apps{app}/history?cause={cause}"));
    let answer = answer.expect("a history");
    let tasks = answer["tasks"].as_array().expect("a list of tasks");
    assert!(
        tasks.iter().all(|task| task["cause"] == cause),
        "not what was asked for: {answer}"
    );
    let ids = tasks.iter().filter_map(|task| task["taskId"].as_str());
    ids.map(str::to_owned).collect()
}

#[test]
fn instances_move_to_an_agent_that_comes_later_first_by_plan_then_by_policy() {
    let (mut cluster, master, _agent, marathon) = cluster();
    let url = marathon.url.as_str();
    let old: BTreeSet<String> = deploy(url, &sleeper("/even", 5), 5).into_iter().collect();
    assert_eq!(spread(url, "/even"), [5]);
    let _second = cluster.agent(&["--attributes=rack:b"]);
    until("the second agent", PATIENCE, || {
        (active_agents(&master.url) == 2).then_some(())
    });
    // All agents of this machine have one name, so it is racks that count.
    set_policy(
        url,
        "/even",
        &json!({ "rebalance": { "over": ["rack"], "intervalSeconds": 3600 }, "disruptionBudget": { "windows": [] } }),
    );
    let rebalance = format!("{url}/v3/apps/even/rebalance");
    until("the moves", PATIENCE, || {
        (spread(url, "/even") == [2, 3]).then_some(())
    });
    let new: BTreeSet<String> = running(url, "/even", 5).into_iter().collect();
    assert_eq!(
        old.intersection(&new).count(),
        3,
        "two were moved, no other was touched"
    );
    until("what was moved to end", PATIENCE, || {
        (ended(url, "/even", "moved").len() == 2).then_some(())
    });
    // Whatever is asked now, there is nothing to move.
    let asked = post(&format!("{rebalance}?dryRun=true"), &json!({})).expect("an answer");
    assert_eq!(asked.status, 200, "{}", asked.body);
    let answer = until("the plan", PATIENCE, || {
        get_json(&rebalance)
            .filter(|answer| answer["asked"].is_null() && answer["plan"].is_object())
    });
    assert_eq!(answer["plan"]["moves"], json!([]), "{answer}");
    assert_eq!(answer["plan"]["told"], "spread: rack has 2 to 3");
    let again: BTreeSet<String> = running(url, "/even", 5).into_iter().collect();
    assert_eq!(again, new);
}

#[test]
fn a_scheduled_restart_goes_on_over_a_restart_of_marathon_and_restarts_nothing_twice() {
    let (_cluster, _master, _agent, mut marathon) = cluster();
    let old: BTreeSet<String> = deploy(&marathon.url, &sleeper("/nightly", 4), 4)
        .into_iter()
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // The next minute, unless it is all but there.
    let at = (now / 60 + if now % 60 < 50 { 1 } else { 2 }) % (24 * 60);
    let schedule = format!("{} {} * * *", at % 60, at / 60);
    let policy = json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "maxUnavailable": 1, "minIntervalSeconds": 2 } });
    set_policy(&marathon.url, "/nightly", &policy);
    let kept = |url: &str| {
        let now = tasks(url, "/nightly", "TASK_RUNNING");
        let ids = now.iter().filter_map(|task| task["id"].as_str());
        let kept = ids.filter(|id| old.contains(*id)).count();
        // None at all: nobody has answered.
        (!now.is_empty()).then_some(kept)
    };
    until("the first to be replaced", Duration::from_secs(120), || {
        (kept(&marathon.url)? < 4).then_some(())
    });
    marathon.kill();
    marathon.restart();
    until("all to be replaced", PATIENCE, || {
        let all = tasks(&marathon.url, "/nightly", "TASK_RUNNING");
        (all.len() == 4 && kept(&marathon.url)? == 0).then_some(())
    });
    let explain = until("the run to end", PATIENCE, || {
        let answer = get_json(&format!("{}/v3/apps/nightly/explain", marathon.url))?;
        (!answer["upkeep"]["lastRestart"].is_null()).then_some(answer)
    });
    assert_eq!(explain["upkeep"]["restarting"], Value::Null, "{explain}");
    assert_eq!(explain["upkeep"]["due"], 0, "{explain}");
    let restarted: BTreeSet<String> = until("their ends", PATIENCE, || {
        let ended = ended(&marathon.url, "/nightly", "restarted");
        (ended.len() >= 4).then(|| ended.into_iter().collect())
    });
    assert_eq!(restarted, old, "each once");
}

#[test]
fn instances_leave_a_machine_before_its_maintenance_and_the_master_is_told_when_they_have() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let _first = cluster.agent(&["--hostname=localhost"]);
    let marathon = cluster.marathon(&[]);
    let url = marathon.url.as_str();
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let old: BTreeSet<String> = deploy(url, &sleeper("/moved", 3), 3).into_iter().collect();
    let _second = cluster.agent(&["--hostname=127.0.0.1"]);
    until("the second agent", PATIENCE, || {
        (active_agents(&master.url) == 2).then_some(())
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = (now + Duration::from_secs(600)).as_nanos();
    let start = i64::try_from(start).unwrap();
    let schedule = json!({ "windows": [{ "machine_ids": [{ "hostname": "localhost", "ip": "127.0.0.1" }],
        "unavailability": { "start": { "nanoseconds": start }, "duration": { "nanoseconds": 3_600_000_000_000_i64 } } }] });
    let answer = post(&format!("{}/maintenance/schedule", master.url), &schedule);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let hosts = || {
        let tasks = tasks(url, "/moved", "TASK_RUNNING");
        let hosts = tasks.iter().filter_map(|task| task["host"].as_str());
        let hosts: Vec<String> = hosts.map(str::to_owned).collect();
        assert!(hosts.len() >= 3, "replacements come first: {hosts:?}");
        hosts
    };
    until("all to have left", PATIENCE, || {
        let hosts = hosts();
        (hosts.len() == 3 && hosts.iter().all(|host| host == "127.0.0.1")).then_some(())
    });
    let moved: BTreeSet<String> = until("their ends", PATIENCE, || {
        let ended = ended(url, "/moved", "moved");
        (ended.len() >= 3).then(|| ended.into_iter().collect())
    });
    assert_eq!(moved, old, "each once");
    until("the acceptance", PATIENCE, || {
        let status = get_json(&format!("{}/maintenance/status", master.url))?;
        let answers = status["draining_machines"][0]["statuses"]
            .as_array()?
            .clone();
        let mut answers = answers.iter();
        answers.any(|one| one["status"] == "ACCEPT").then_some(())
    });
}
