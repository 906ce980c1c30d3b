//! Oversubscription between real processes: what an agent lends is offered to a framework that can do without it, and taken back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE, cgroups,
    cluster::{Cluster, Daemon, active_agents},
    scheduler::{Scheduler, resources},
    until,
};

/// Writes the load that the agent is to believe in; whole at any time.
fn load(file: &Path, five_minutes: f64) {
    let new = file.with_extension("new");
    fs::write(&new, format!("0.10 {five_minutes:.2} 0.10 1/100 4242\n")).unwrap();
    fs::rename(new, file).unwrap();
}

/// The cpus of an offer that are lent.
fn lent(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().unwrap();
    let marked = resources
        .iter()
        .filter(|resource| resource["name"] == "cpus" && resource["revocable"].is_object());
    marked
        .map(|resource| resource["scalar"]["value"].as_f64().unwrap())
        .sum()
}

/// An offer with so many cpus that are lent. What comes before them is given back: else it would be missed in what is offered later.
fn offer_lending(scheduler: &mut Scheduler, cpus: f64) -> Value {
    loop {
        let offer = scheduler.offer();
        if lent(&offer) == cpus {
            return offer;
        }
        scheduler.decline(&offer);
    }
}

fn launch(scheduler: &mut Scheduler, offer: &Value, task: &str, resources: &Value) {
    let info = json!({
        "name": task,
        "task_id": { "value": task },
        "agent_id": offer["agent_id"],
        "resources": resources,
        "command": { "value": "exec sleep 1000" },
    });
    let accept = json!({
        "offer_ids": [offer["id"]],
        "operations": [{ "type": "LAUNCH", "launch": { "task_infos": [info] } }],
        "filters": { "refuse_seconds": 0 },
    });
    let call = json!({ "type": "ACCEPT", "accept": accept });
    assert_eq!(scheduler.call(&call), Some(202));
    loop {
        let status = scheduler.status();
        if status["task_id"]["value"] == task && status["state"] == "TASK_RUNNING" {
            return;
        }
    }
}

/// The weights of all containers, in shares of version 1, the least first.
fn weights(agent: &Daemon) -> Vec<u64> {
    let read = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let mut found: Vec<u64> = cgroups::children(agent.cgroups_root())
        .iter()
        .filter_map(|container| {
            let weight = read(&container.join("cpu.weight")).map(|weight| weight * 1024 / 100);
            read(&container.join("cpu.shares")).or(weight)
        })
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn what_is_lent_is_offered_used_with_little_weight_and_taken_back() {
    let mut cluster = Cluster::standalone();
    let load_file = cluster.folder().join("loadavg");
    load(&load_file, 1.0);
    let master = cluster.master(&[]);
    let agent = cluster.agent(&[
        "--resources=cpus:1;mem:512",
        "--resource_estimator=fixed",
        "--oversubscribed_resources=cpus:3",
        "--oversubscribed_resources_interval=1secs",
        "--qos_controller=load",
        "--load_threshold_5min=8",
        &format!("--load_file={}", load_file.display()),
    ]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let framework = json!({
        "user": "root", "name": "borrower",
        "capabilities": [{ "type": "PARTITION_AWARE" }, { "type": "REVOCABLE_RESOURCES" }],
    });
    let mut borrower = Scheduler::subscribe(&format!("127.0.0.1:{}", master.port), &framework);
    let offer = offer_lending(&mut borrower, 3.0);
    // One cpu of its own would not do for three.
    let all =
        json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 3 }, "revocable": {} }]);
    launch(&mut borrower, &offer, "lent", &all);
    let own = borrower.offer_of(0.5, 64.0);
    launch(&mut borrower, &own, "own", &resources("*", 0.5, 64.0));
    assert_eq!(weights(&agent), [30, 512]);
    let seen = master.get("/slaves")["slaves"][0].clone();
    assert_eq!(seen["resources"]["cpus_revocable"], 3.0, "{seen}");
    assert_eq!(seen["used_resources"]["cpus_revocable"], 3.0, "{seen}");
    let metrics = agent.get("/metrics/snapshot");
    assert_eq!(metrics["slave/cpus_revocable_percent"], 1.0);

    load(&load_file, 9.0);
    let status = borrower.status();
    let told = ["state", "reason", "source"].map(|field| status[field].clone());
    let expected = ["TASK_GONE", "REASON_CONTAINER_PREEMPTED", "SOURCE_AGENT"];
    assert_eq!(told, expected.map(Value::from), "{status}");
    assert_eq!(status["task_id"]["value"], "lent");
    let seen = master.get("/slaves")["slaves"][0].clone();
    assert!(seen["resources"]["cpus_revocable"].is_null(), "{seen}");
    assert_eq!(weights(&agent), [512], "the other runs on");

    // It is offered again as soon as the load has fallen.
    load(&load_file, 8.0);
    offer_lending(&mut borrower, 3.0);
    until("the loan in the master's metrics", PATIENCE, || {
        let metrics = master.get("/metrics/snapshot");
        (metrics["master/cpus_revocable_total"] == 3.0).then_some(())
    });
}
