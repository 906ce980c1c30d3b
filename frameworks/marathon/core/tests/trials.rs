//! Canary and blue/green deployments on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeSet;

use cluster::{Behaviour, Cluster, body};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Response, Trial, event::EventKind};
use tepui_proto::mesos::TaskState;

fn apply(cluster: &mut Cluster, document: &Value, trial: (Option<&str>, Option<u64>)) -> Response {
    let (canary, after) = trial;
    cluster.call(ApiCall::Apply {
        body: document.to_string().into(),
        partial: true,
        force: false,
        deadline_seconds: None,
        trial: Trial::parse(canary, canary.is_none(), after).unwrap(),
    })
}

/// An app with so many instances, and the new version that is tried.
fn tried(instances: u32, trial: (Option<&str>, Option<u64>)) -> (Cluster, String) {
    let mut cluster = Cluster::new(3);
    let app = json!({ "id": "/web", "cmd": "run 0", "cpus": 0.1, "mem": 1, "instances": instances, "backoffSeconds": 0,
        "healthChecks": [{ "gracePeriodSeconds": 1, "intervalSeconds": 1, "maxConsecutiveFailures": 2 }] });
    assert_eq!(cluster.create(&app.to_string()).status, 201);
    cluster.pass(3);
    assert_eq!(of(&cluster, "run 0").len(), instances as usize);
    let answer = apply(
        &mut cluster,
        &json!({ "id": "/web", "cmd": "run 1" }),
        trial,
    );
    assert_eq!(answer.status, 200, "{}", body(&answer));
    cluster.pass(2);
    (
        cluster,
        body(&answer)["deploymentId"].as_str().unwrap().to_owned(),
    )
}

/// Tasks that run, by their command.
fn of(cluster: &Cluster, command: &str) -> BTreeSet<String> {
    let tasks = cluster.tasks.iter().filter(|(_, task)| {
        task.state == TaskState::TaskRunning
            && task.info.command.as_ref().unwrap().value() == command
    });
    tasks.map(|(id, _)| id.clone()).collect()
}

fn reasons(cluster: &mut Cluster) -> Value {
    body(&cluster.call(ApiCall::Explain {
        id: "/web".to_owned(),
    }))["reasons"]
        .take()
}

fn promote(cluster: &mut Cluster, id: &str, force: bool) -> Response {
    let id = id.to_owned();
    cluster.call(ApiCall::Promote { id, force })
}

fn failures(cluster: &Cluster) -> Vec<String> {
    let failed = cluster.events.iter().filter_map(|event| match &event.kind {
        EventKind::DeploymentFailed { reason, .. } => reason.clone(),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_canary_runs_beside_the_old_ones_until_it_is_promoted() {
    let (mut cluster, id) = tried(3, (Some("1"), None));
    let (old, canary) = (of(&cluster, "run 0"), of(&cluster, "run 1"));
    assert_eq!((old.len(), canary.len()), (3, 1));
    let waits = json!(["waits for promotion: 1 of 1 instances of the new version ready"]);
    assert_eq!(reasons(&mut cluster), waits);
    // An old one that ends comes back as it was, also with another leader, which changes nothing else.
    cluster.fail_over();
    cluster.run();
    cluster.pass(2);
    let lost = old.first().unwrap().clone();
    cluster.report(&lost, TaskState::TaskFailed);
    cluster.run();
    cluster.pass(3);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1")),
        (3, canary.clone())
    );
    assert_eq!(of(&cluster, "run 0").intersection(&old).count(), 2);
    let shown = body(&cluster.call(ApiCall::Deployments));
    assert_eq!(
        shown["deployments"][0]["trial"],
        json!({ "kind": "canary", "promoteAfterSeconds": null,
        "apps": [{ "app": "/web", "instances": 1, "ready": 1 }], "promotedAt": null,
        "readySince": shown["deployments"][0]["trial"]["readySince"] })
    );
    assert_eq!(shown["deployments"][0]["waitsFor"][0]["reasons"], waits);
    let listed = body(&cluster.call(ApiCall::Instances {
        id: "/web".to_owned(),
    }));
    let version = cluster.app("/web")["version"].clone();
    assert_eq!(
        listed["version"], version,
        "the one that `current` is about"
    );
    for one in listed["instances"].as_array().unwrap() {
        assert_eq!(one["current"], one["version"] == version, "{one}");
    }
    assert_eq!(promote(&mut cluster, &id, false).status, 200);
    assert_eq!(promote(&mut cluster, &id, false).status, 409, "once");
    cluster.fail_over();
    cluster.run();
    cluster.pass(5);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1").len()),
        (0, 3)
    );
    assert!(
        of(&cluster, "run 1").is_superset(&canary),
        "what was tried stays"
    );
    assert_eq!(cluster.deployments(), json!([]));
    assert_eq!(promote(&mut cluster, &id, false).status, 404);
}

#[test]
fn what_fails_is_rolled_back_and_the_old_ones_are_not_touched() {
    for sick in [false, true] {
        let (mut cluster, _) = tried(3, (Some("34%"), Some(600)));
        let (old, canaries) = (of(&cluster, "run 0"), of(&cluster, "run 1"));
        assert_eq!(canaries.len(), 2, "rounded up");
        let canary = canaries.first().unwrap().clone();
        if sick {
            cluster.unhealthy = Some(canary.clone());
            cluster.pass(3);
            cluster.unhealthy = None;
        } else {
            cluster.report(&canary, TaskState::TaskFailed);
        }
        cluster.run();
        cluster.pass(3);
        assert_eq!(
            (of(&cluster, "run 0"), of(&cluster, "run 1")),
            (old, BTreeSet::new())
        );
        assert_eq!(
            (cluster.app("/web")["cmd"].as_str(), cluster.deployments()),
            (Some("run 0"), json!([]))
        );
        let why = failures(&cluster);
        assert!(
            why.len() == 1
                && why[0].starts_with("The canary deployment was rolled back since web.instance-"),
            "{why:?}"
        );
    }
    // One that never runs for long.
    let mut cluster = Cluster::new(3);
    cluster.create(r#"{"id":"/web","cmd":"run 0","cpus":0.1,"mem":1,"instances":2}"#);
    cluster
        .behaviour
        .insert("run 1".to_owned(), Behaviour::Fails);
    apply(
        &mut cluster,
        &json!({ "id": "/web", "cmd": "run 1" }),
        (Some("1"), None),
    );
    cluster.pass(3);
    assert_eq!(
        (of(&cluster, "run 0").len(), cluster.deployments()),
        (2, json!([]))
    );
    // What is lost without its fault is tried again.
    let (mut cluster, _) = tried(2, (Some("1"), None));
    let canary = of(&cluster, "run 1").first().unwrap().clone();
    cluster.report(&canary, TaskState::TaskGone);
    cluster.pass(400);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1").len()),
        (2, 1)
    );
    assert_ne!(cluster.deployments(), json!([]));
}

#[test]
fn it_is_promoted_by_itself_after_a_time_without_a_break() {
    let (mut cluster, id) = tried(2, (Some("1"), Some(30)));
    let reason = reasons(&mut cluster)[0].as_str().unwrap().to_owned();
    assert!(reason.contains("promoted by itself at 20"), "{reason}");
    cluster.pass(20);
    let canary = of(&cluster, "run 1").first().unwrap().clone();
    cluster.unhealthy = Some(canary);
    cluster.pass(1);
    cluster.unhealthy = None;
    let refused = promote(&mut cluster, &id, false);
    assert_eq!(refused.status, 409);
    assert_eq!(
        body(&refused)["message"],
        "Not all instances that are tried are ready: 0 of 1 of /web. Override with the option '?force=true'."
    );
    cluster.pass(20);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1").len()),
        (2, 1),
        "it began anew"
    );
    cluster.pass(15);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1").len()),
        (0, 2)
    );
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn blue_and_green_stand_side_by_side_and_are_switched_at_once() {
    let (mut cluster, id) = tried(4, (None, None));
    let green = of(&cluster, "run 1");
    assert_eq!((of(&cluster, "run 0").len(), green.len()), (4, 4));
    let kills = cluster.kills;
    cluster.send(ApiCall::Promote { id, force: false });
    // It is stored first.
    cluster.run_some(2);
    assert_eq!(cluster.kills - kills, 4, "all at once");
    cluster.run();
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1")),
        (0, green)
    );
    assert_eq!(cluster.deployments(), json!([]));
    let (mut cluster, id) = tried(4, (None, None));
    let blue = of(&cluster, "run 0");
    assert_eq!(
        cluster
            .call(ApiCall::CancelDeployment { id, force: false })
            .status,
        200
    );
    cluster.pass(3);
    assert_eq!(
        (of(&cluster, "run 0"), of(&cluster, "run 1").len()),
        (blue, 0)
    );
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn a_plan_tells_what_would_be_tried_and_what_cannot_be() {
    let (mut cluster, _) = tried(2, (Some("1"), None));
    let plan = |cluster: &mut Cluster, document: &Value| {
        cluster.call(ApiCall::Plan {
            body: document.to_string().into(),
            partial: true,
            trial: Trial::parse(Some("50%"), false, None).unwrap(),
        })
    };
    let planned = body(&plan(
        &mut cluster,
        &json!({ "id": "/web", "cmd": "run 2" }),
    ));
    assert_eq!(
        planned["apps"][0]["trial"],
        json!({ "kind": "canary", "instances": 1, "promoteAfterSeconds": null })
    );
    let scaled = body(&plan(
        &mut cluster,
        &json!({ "id": "/web", "instances": 5 }),
    ));
    assert_eq!(
        scaled["apps"][0]["trial"],
        Value::Null,
        "nothing is replaced, nothing is tried"
    );
    let daemon = json!({ "id": "/d", "cmd": "run", "labels": { "TEPUI_DAEMON": "true" } });
    assert_eq!(cluster.create(&daemon.to_string()).status, 201);
    let refused = plan(&mut cluster, &json!({ "id": "/d", "cmd": "run 2" }));
    assert_eq!(
        (
            refused.status,
            body(&refused)["details"][0]["errors"][0].as_str()
        ),
        (
            422,
            Some("/d is a daemon app: its new version cannot run beside the old one")
        )
    );
}

#[test]
fn neither_version_of_what_is_tried_may_be_a_daemon_app_or_a_single_instance() {
    let daemon = json!({ "TEPUI_DAEMON": "true" });
    let single = json!({ "MARATHON_SINGLE_INSTANCE_APP": "true" });
    for (before, after, why) in [
        (&daemon, json!({}), "is a daemon app"),
        (&json!({}), daemon.clone(), "is a daemon app"),
        (&single, json!({}), "may have only one instance"),
    ] {
        let mut cluster = Cluster::new(3);
        let app = json!({ "id": "/web", "cmd": "run 0", "cpus": 0.1, "mem": 1, "labels": before,
            "upgradeStrategy": { "minimumHealthCapacity": 0, "maximumOverCapacity": 0 } });
        assert_eq!(cluster.create(&app.to_string()).status, 201);
        cluster.pass(1);
        let there = of(&cluster, "run 0");
        let document = json!({ "id": "/web", "labels": after });
        let refused = apply(&mut cluster, &document, (Some("1"), None));
        assert_eq!(refused.status, 422, "{before} to {after}");
        let error = body(&refused)["details"][0]["errors"][0].take();
        let want = format!("/web {why}: its new version cannot run beside the old one");
        assert_eq!(error, want);
        cluster.pass(1);
        assert_eq!(of(&cluster, "run 0"), there);
    }
}

#[test]
fn what_is_tried_in_a_later_step_stays_old_until_then() {
    let mut cluster = Cluster::new(3);
    let app = |id: &str, cmd: &str, depends: &[&str]| {
        json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 1, "instances": 2, "dependencies": depends,
            "backoffSeconds": 20, "maxLaunchDelaySeconds": 20 })
    };
    for app in [app("/a", "a 0", &[]), app("/b", "b 0", &["/a"])] {
        assert_eq!(cluster.create(&app.to_string()).status, 201);
    }
    cluster.pass(2);
    let both = json!([{ "id": "/a", "cmd": "a 1" }, { "id": "/b", "cmd": "b 1" }]);
    let answer = apply(&mut cluster, &both, (Some("1"), None));
    let id = body(&answer)["deploymentId"].as_str().unwrap().to_owned();
    cluster.pass(2);
    let there =
        |cluster: &Cluster| ["a 0", "a 1", "b 0", "b 1"].map(|text| of(cluster, text).len());
    assert_eq!(there(&cluster), [2, 1, 2, 0]);
    for fail_over in [false, true] {
        let lost = of(&cluster, "b 0").first().unwrap().clone();
        cluster.report(&lost, TaskState::TaskFailed);
        cluster.run();
        if fail_over {
            cluster.fail_over();
            cluster.run();
        } else {
            assert_eq!(there(&cluster), [2, 1, 1, 0], "it waits after a failure");
        }
        cluster.pass(22);
        assert_eq!(there(&cluster), [2, 1, 2, 0]);
    }
    assert_eq!(promote(&mut cluster, &id, false).status, 200);
    cluster.pass(3);
    assert_eq!(there(&cluster), [0, 2, 2, 1]);
    let canary = of(&cluster, "b 1").first().unwrap().clone();
    cluster.report(&canary, TaskState::TaskFailed);
    cluster.pass(3);
    assert_eq!(there(&cluster), [2, 0, 2, 0], "all is rolled back");
    assert_eq!(cluster.deployments(), json!([]));
}
