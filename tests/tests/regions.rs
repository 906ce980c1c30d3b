//! Fault domains: apps stay in the region of the master unless they speak of regions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use tepui_tests::{
    PATIENCE,
    client::get_json,
    cluster::{Cluster, active_agents, deploy, sleeper},
    until,
};

fn domain(region: &str) -> String {
    let fault_domain = json!({ "region": { "name": region }, "zone": { "name": "z" } });
    format!("--domain={}", json!({ "fault_domain": fault_domain }))
}

#[test]
fn apps_stay_in_the_masters_region_unless_they_speak_of_regions() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[&domain("eu")]);
    let _near = cluster.agent(&[&domain("eu"), "--hostname=near"]);
    let _far = cluster.agent(&[&domain("us"), "--hostname=far"]);
    let marathon = cluster.marathon(&[]);
    until("the agents", PATIENCE, || {
        (active_agents(&master.url) == 2).then_some(())
    });
    let regions = |app: &str| -> Vec<String> {
        let tasks = get_json(&format!("{}/v2/apps{app}/tasks", marathon.url)).unwrap();
        let tasks = tasks["tasks"].as_array().unwrap().clone();
        let mut regions: Vec<String> = tasks
            .iter()
            .map(|task| task["region"].as_str().unwrap().to_owned())
            .collect();
        regions.sort();
        regions
    };
    assert_eq!(deploy(&marathon.url, &sleeper("/home", 4), 4).len(), 4);
    assert_eq!(regions("/home"), ["eu"; 4]);
    let mut away = sleeper("/away", 2);
    away["constraints"] = json!([["@region", "IS", "us"]]);
    assert_eq!(deploy(&marathon.url, &away, 2).len(), 2);
    assert_eq!(regions("/away"), ["us"; 2]);
    let mut both = sleeper("/both", 2);
    both["constraints"] = json!([["@region", "GROUP_BY"]]);
    assert_eq!(deploy(&marathon.url, &both, 2).len(), 2);
    assert_eq!(regions("/both"), ["eu", "us"]);
}
