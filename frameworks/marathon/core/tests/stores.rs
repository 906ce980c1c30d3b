//! Stores of older releases: what they wrote is read, shown and gone on with. A file for each form that records have had; none is ever changed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use bytes::Bytes;
use cluster::Cluster;
use serde_json::{Value, json, value::RawValue};
use tepui_marathon_core::view::{Embed, Query};
use tepui_model::Time;

/// A backup that the first release with groups, pods and volumes made, in the midst of a deployment.
const FIRST: &str = include_str!("stores/first.backup");

/// A cluster without agents whose Marathon has begun with this backup, and has not heard of a master yet.
fn begun_with(backup: &str) -> Cluster {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        key: String,
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let mut cluster = Cluster::new(0);
    cluster.store = backup
        .lines()
        .filter_map(|line| serde_json::from_str::<Line<'_>>(line).ok())
        .map(|line| (line.key, Bytes::from(line.value.get().to_owned())))
        .collect();
    // A little later than its last record.
    cluster.now = Time::from_secs(1_796_000_000);
    cluster.fail_over();
    // What it shows is what is stored: its first write has to be.
    cluster.run_some(1);
    cluster
}

fn ids(list: &Value) -> Vec<&str> {
    let all = list.as_array().unwrap().iter();
    all.filter_map(|one| one["id"].as_str()).collect()
}

#[test]
fn what_the_first_release_stored_is_all_there() {
    let cluster = begun_with(FIRST);
    assert_eq!(cluster.store.len(), 38);
    let all = Query::Apps {
        cmd: None,
        id: None,
        label: None,
        embed: Embed::default(),
    };
    let apps = cluster.get(&all).1;
    let known = ["/crash", "/shop/db", "/shop/front", "/web", "/wide"];
    assert_eq!(ids(&apps["apps"]), known);

    let web = cluster.app("/web");
    let wanted = json!({ "cmd": "exec sleep 1000", "env": { "VERSION": "2" }, "labels": { "a": "b" }, "instances": 3,
        "version": "2026-11-29T17:13:41.510Z", "tasksRunning": 3, "tasksStaged": 0 });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(&web[key], value, "{key}");
    }
    assert_eq!(web["healthChecks"][0]["protocol"], "COMMAND");
    assert_eq!(web["portDefinitions"][0]["name"], "http");
    assert_eq!(
        web["versionInfo"]["lastConfigChangeAt"],
        "2026-11-29T17:13:41.359Z"
    );
    let versions = cluster.get(&Query::Versions { id: "/web".into() }).1;
    assert_eq!(
        versions["versions"],
        json!([
            "2026-11-29T17:13:41.510Z",
            "2026-11-29T17:13:41.359Z",
            "2026-11-29T17:13:41.206Z"
        ])
    );

    let front = cluster.app("/shop/front");
    assert_eq!(front["dependencies"], json!(["/shop/db"]));
    assert_eq!(front["tasksRunning"], 1);
    let db = cluster.app("/shop/db");
    assert_eq!(
        (&db["instances"], &db["tasksRunning"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(db["container"]["volumes"][0]["persistent"]["size"], 20);
    let failure = &cluster.app("/crash")["lastTaskFailure"];
    assert_eq!(failure["message"], "Command exited with status 3");

    let deployments = cluster.deployments();
    assert_eq!(ids(&deployments), ["883d5bde-ad2d-44d6-82cc-011f0d9fcfcc"]);
    assert_eq!(deployments[0]["affectedApps"], json!(["/wide"]));
    assert_eq!(deployments[0]["currentStep"], 2);
}

#[test]
fn a_marathon_goes_on_with_what_the_first_release_stored() {
    let mut cluster = begun_with(FIRST);
    // Its agents are gone: all that ran is made anew, and nothing else.
    cluster.agents = (0..4).map(cluster::Agent::new).collect();
    cluster.run();
    for _ in 0..20 {
        cluster.pass(60);
    }
    for (id, instances) in [
        ("/web", 3),
        ("/shop/front", 1),
        ("/shop/db", 0),
        ("/wide", 0),
    ] {
        assert_eq!(cluster.running(id).len(), instances, "{id}");
    }
    assert_eq!(cluster.groups.len(), 1, "the pod");
    // A change finds it as any other.
    assert_eq!(cluster.update("/web", r#"{"instances": 1}"#).status, 200);
    cluster.pass(60);
    let web = cluster.running("/web").remove(0);
    cluster.report_health(&web, true);
    cluster.run();
    assert_eq!(cluster.running("/web").len(), 1);
    let waits = &cluster.deployments();
    assert_eq!(ids(waits).len(), 1, "{waits}");
}
