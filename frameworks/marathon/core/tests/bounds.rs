//! What is asked for without measure is refused, and costs nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body, delete};
use serde_json::json;
use tepui_marathon_core::{ApiCall, Config, Origin};

#[test]
fn all_apps_and_pods_together_want_no_more_instances_than_the_bound() {
    let config = Config {
        max_instances: 10,
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    let mut cluster = Cluster::with(1, config);
    let app = |id: &str, instances: u32| {
        json!({ "id": id, "cmd": "serve", "cpus": 0.1, "mem": 1, "instances": instances })
            .to_string()
    };
    assert_eq!(cluster.create(&app("/g/a", 6)).status, 201);
    let refused = cluster.create(&app("/g/b", u32::MAX / 2));
    let message = body(&refused)["message"].as_str().unwrap().to_owned();
    assert_eq!(refused.status, 403, "{message}");
    assert!(
        message.contains("all apps and pods together would want 2147483653"),
        "{message}"
    );
    assert!(message.contains("--max_instances"), "{message}");
    let pod = json!({ "id": "/g/p", "scaling": { "instances": 5 }, "containers": [{ "name": "c",
        "exec": { "command": { "shell": "serve" } }, "resources": { "cpus": 0.1, "mem": 1 } }] });
    let pod = ApiCall::CreatePod {
        body: pod.to_string().into(),
        force: false,
        origin: Origin::default(),
    };
    assert_eq!(cluster.call(pod.clone()).status, 403);
    cluster.pass(1);
    // What is let go of is there for others, and who wants no more than before is not refused.
    assert_eq!(cluster.update("/g/a", r#"{"instances":5}"#).status, 200);
    cluster.pass(60);
    assert_eq!(cluster.call(pod).status, 201);
    cluster.pass(1);
    cluster.config.max_instances = 3;
    cluster.fail_over();
    cluster.pass(1);
    assert_eq!(cluster.update("/g/a", r#"{"instances":4}"#).status, 200);
    cluster.pass(60);
    assert_eq!(cluster.update("/g/a", r#"{"instances":5}"#).status, 403);
    let doubled = ApiCall::UpdateGroup {
        id: "/g".to_owned(),
        body: r#"{"scaleBy":1000}"#.into(),
        force: true,
        dry_run: false,
    };
    assert_eq!(cluster.call(doubled).status, 403);
    assert_eq!(cluster.call(delete("/g/a")).status, 200);
}

#[test]
fn a_daemon_app_counts_for_each_agent_that_matches() {
    let config = Config {
        max_instances: 10,
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    let mut cluster = Cluster::with(6, config);
    for agent in &mut cluster.agents[..4] {
        agent
            .attributes
            .insert("disk".to_owned(), "fast".to_owned());
    }
    cluster.offer();
    cluster.run();
    let daemon = |id: &str, more: serde_json::Value| {
        let mut app = json!({ "id": id, "cmd": "serve", "cpus": 0.1, "mem": 1, "labels": { "TEPUI_DAEMON": "true" } });
        app.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        app.to_string()
    };
    let message = |response: &tepui_marathon_core::Response| {
        body(response)["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let five = json!({ "id": "/five", "cmd": "serve", "cpus": 0.1, "mem": 1, "instances": 5 });
    assert_eq!(cluster.create(&five.to_string()).status, 201);
    cluster.pass(1);
    let refused = cluster.create(&daemon("/everywhere", json!({})));
    assert_eq!(refused.status, 403);
    let told = message(&refused);
    assert!(
        told.contains(
            "together would want 11. Daemon apps run on all agents that match: /everywhere on 6."
        ),
        "{told}"
    );
    let fast = json!({ "constraints": [["disk", "LIKE", "fast"]] });
    assert_eq!(cluster.create(&daemon("/fast", fast)).status, 201);
    cluster.pass(1);
    assert_eq!(cluster.running("/fast").len(), 4);
    // What it has counts for others, also when another leads who was offered nothing yet.
    for _ in 0..2 {
        let refused = cluster.update("/five", r#"{"instances":7}"#);
        assert!(
            message(&refused).contains("would want 11."),
            "{}",
            message(&refused)
        );
        cluster.fail_over();
        cluster.run();
    }
    assert_eq!(cluster.update("/five", r#"{"instances":6}"#).status, 200);
    cluster.pass(1);
    // With its constraint gone it would be on all six.
    let refused = cluster.update("/fast", r#"{"constraints":[]}"#);
    assert!(
        message(&refused).contains("/fast on 6."),
        "{}",
        message(&refused)
    );
    assert_eq!(
        cluster.update("/fast", r#"{"cmd":"other"}"#).status,
        200,
        "it wants no more than before"
    );
    cluster.pass(30);
    assert_eq!(cluster.update("/fast", r#"{"instances":0}"#).status, 200);
    cluster.pass(5);
    assert_eq!(cluster.update("/five", r#"{"instances":10}"#).status, 200);
}

#[test]
fn an_app_whose_part_of_a_deployment_is_done_keeps_its_instances_while_the_rest_waits() {
    let mut cluster = Cluster::new(1);
    let group = json!({ "id": "/g", "apps": [
        { "id": "done", "cmd": "serve", "cpus": 0.1, "mem": 1, "instances": 2 },
        { "id": "waits", "cmd": "serve", "cpus": 999, "mem": 1 },
        { "id": "later", "cmd": "serve", "cpus": 0.1, "mem": 1, "dependencies": ["waits"] },
    ] });
    let group = ApiCall::UpdateGroup {
        id: "/g".to_owned(),
        body: group.to_string().into(),
        force: false,
        dry_run: false,
    };
    assert_eq!(cluster.call(group).status, 200);
    cluster.pass(2);
    assert_eq!(cluster.running("/g/done").len(), 2);
    assert!(cluster.running("/g/later").is_empty());
    let wiped = ApiCall::KillAppTasks {
        id: "/g/done".to_owned(),
        host: None,
        scale: false,
        wipe: true,
        force: false,
    };
    let before = cluster.running("/g/done");
    assert_eq!(cluster.call(wiped).status, 200);
    cluster.pass(2);
    let after = cluster.running("/g/done");
    assert_eq!(after.len(), 2, "others have taken their place");
    assert!(after.iter().all(|task| !before.contains(task)));
    assert!(
        cluster.running("/g/later").is_empty(),
        "its turn has not come"
    );
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
}

#[test]
fn what_a_deployment_is_rolled_back_to_is_not_refused_for_a_bound() {
    let config = Config {
        max_instances: 10,
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    let mut cluster = Cluster::with(1, config);
    for (id, instances) in [("/a", 6), ("/b", 4)] {
        let app =
            json!({ "id": id, "cmd": "serve", "cpus": 0.1, "mem": 1, "instances": instances });
        assert_eq!(cluster.create(&app.to_string()).status, 201);
        cluster.pass(1);
    }
    let smaller = json!({ "id": "/a", "cmd": "hang", "instances": 3 });
    cluster
        .behaviour
        .insert("hang".to_owned(), cluster::Behaviour::Hangs);
    let answer = cluster.call(ApiCall::Apply {
        body: smaller.to_string().into(),
        partial: true,
        force: false,
        deadline_seconds: Some(60),
        trial: None,
    });
    assert_eq!(answer.status, 200);
    cluster.pass(1);
    // Others take what was let go of.
    assert_eq!(cluster.update("/b", r#"{"instances":7}"#).status, 200);
    cluster.pass(90);
    let app = cluster.app("/a");
    assert_eq!(
        (&app["cmd"], &app["instances"]),
        (&json!("serve"), &json!(6))
    );
    assert_eq!(cluster.running("/a").len(), 6);
}
