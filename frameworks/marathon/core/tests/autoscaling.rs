//! Autoscaling on a cluster in memory: measurements are what the test says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body};
use serde_json::{Value, json};
use tepui_marathon_core::{
    ApiCall, Config, Input, Measured, Metric, PolicyAction, PolicyPart, Response, Usage,
    view::Query,
};

fn policy(cluster: &mut Cluster, part: PolicyPart, action: PolicyAction) -> Response {
    cluster.call(ApiCall::Policy {
        id: "/web".to_owned(),
        part,
        action,
    })
}

fn put(cluster: &mut Cluster, settings: &Value) -> Response {
    let action = PolicyAction::Put(settings.to_string().into());
    policy(cluster, PolicyPart::Autoscaling, action)
}

fn settings() -> Value {
    json!({ "minInstances": 2, "maxInstances": 6, "metric": { "type": "cpu" }, "target": 70.0,
        "intervalSeconds": 5, "scaleUpCooldownSeconds": 30, "scaleDownCooldownSeconds": 60 })
}

/// An app with two instances and this policy.
fn scaled(settings: &Value) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.create(r#"{"id":"/web","cmd":"run","cpus":0.5,"mem":100,"instances":2}"#);
    cluster.pass(1);
    let answer = put(&mut cluster, settings);
    assert_eq!(answer.status, 200, "{}", body(&answer));
    cluster
}

/// Each task that runs uses so much.
fn use_up(cluster: &mut Cluster, cpus: f64, mem_mib: f64) {
    let used = cluster.running("/web").into_iter().map(|task_id| Usage {
        task_id,
        cpus,
        mem_mib,
    });
    let used = used.collect();
    measure(cluster, Ok(Measured::Usage(used)));
}

fn measure(cluster: &mut Cluster, result: Result<Measured, String>) {
    let check = *cluster.measures.keys().next().unwrap();
    cluster.push(Input::Measured { check, result });
    cluster.run();
    cluster.pass(1);
}

fn explain(cluster: &mut Cluster) -> Value {
    body(&cluster.call(ApiCall::Explain {
        id: "/web".to_owned(),
    }))
}

#[test]
fn instances_follow_what_is_used_within_bounds_and_cool_downs() {
    let mut cluster = scaled(&settings());
    use_up(&mut cluster, 0.455, 10.0);
    let reason = explain(&mut cluster)["reasons"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.starts_with("autoscaler wants 3: cpu 91 % of 70 %; cool-down until 20"),
        "{reason}"
    );
    assert_eq!(cluster.running("/web").len(), 2);
    cluster.pass(30);
    use_up(&mut cluster, 0.455, 10.0);
    assert_eq!(cluster.running("/web").len(), 3);
    assert_eq!(explain(&mut cluster)["reasons"], json!([]));
    assert_eq!(
        explain(&mut cluster)["autoscaling"]["told"],
        "wants 3: cpu 91 % of 70 %"
    );
    // The policy and the time of the last change outlive the leader.
    cluster.fail_over();
    cluster.run();
    assert_eq!(cluster.measures.len(), 1);
    use_up(&mut cluster, 5.0, 10.0);
    assert_eq!(cluster.running("/web").len(), 3, "cool-down");
    cluster.pass(30);
    use_up(&mut cluster, 5.0, 10.0);
    assert_eq!(cluster.running("/web").len(), 6, "the bound");
    use_up(&mut cluster, 0.0, 10.0);
    assert_eq!(cluster.running("/web").len(), 6);
    cluster.pass(60);
    use_up(&mut cluster, 0.0, 10.0);
    assert_eq!(cluster.running("/web").len(), 2, "the other bound");
    // Nothing is done that was not measured.
    cluster.pass(90);
    measure(&mut cluster, Err("connection refused".to_owned()));
    assert_eq!(cluster.running("/web").len(), 2);
    assert_eq!(
        explain(&mut cluster)["reasons"],
        json!(["autoscaler cannot measure: connection refused"])
    );
    // Somebody who wants none gets none.
    cluster.update("/web", r#"{"instances":0}"#);
    cluster.pass(90);
    use_up(&mut cluster, 0.0, 0.0);
    assert_eq!(cluster.running("/web").len(), 0);
    cluster.update("/web", r#"{"instances":1}"#);
    cluster.pass(1);
    use_up(&mut cluster, 0.35, 0.0);
    assert_eq!(cluster.running("/web").len(), 2, "too few at once");
}

#[test]
fn a_deployment_is_not_disturbed_and_memory_and_metrics_count_too() {
    let mut cluster = scaled(&settings());
    cluster.pass(60);
    cluster
        .behaviour
        .insert("hang".to_owned(), cluster::Behaviour::Hangs);
    cluster.update("/web", r#"{"cmd":"hang"}"#);
    cluster.pass(60);
    let held = cluster.deployments();
    use_up(&mut cluster, 5.0, 10.0);
    assert_eq!(cluster.deployments(), held);
    let id = held[0]["id"].as_str().unwrap().to_owned();
    cluster.call(ApiCall::CancelDeployment { id, force: false });
    cluster.pass(61);
    let mut memory = settings();
    memory["metric"] = json!({ "type": "memory" });
    put(&mut cluster, &memory);
    use_up(&mut cluster, 0.0, 140.0);
    assert_eq!(cluster.running("/web").len(), 4);
    cluster.pass(60);
    let url = "http://prometheus:9090/api/v1/query?query=sum(rate(requests[1m]))";
    let mut metric = settings();
    metric["metric"] = json!({ "type": "prometheus", "url": url });
    metric["target"] = json!(100);
    assert_eq!(put(&mut cluster, &metric).status, 200);
    let asked = cluster.measures.values().next().unwrap().clone();
    assert_eq!((cluster.measures.len(), asked.interval_ms), (1, 5000));
    assert_eq!(
        asked.metric,
        Metric::Prometheus {
            url: url.to_owned(),
            sample: None
        }
    );
    measure(&mut cluster, Ok(Measured::Value(530.0)));
    assert_eq!(cluster.running("/web").len(), 6);
}

#[test]
fn a_policy_is_shown_kept_taken_away_and_refused() {
    let mut cluster = scaled(&settings());
    let shown = body(&policy(&mut cluster, PolicyPart::All, PolicyAction::Show));
    assert_eq!(
        shown,
        json!({ "id": "/web", "policy": { "autoscaling": settings() }, "upkeep": null })
    );
    for (key, value, want) in [
        (
            "minInstances",
            json!(0),
            "/autoscaling/minInstances must be greater than 0",
        ),
        (
            "maxInstances",
            json!(1),
            "/autoscaling/maxInstances must not be less than minInstances",
        ),
        (
            "target",
            json!(0),
            "/autoscaling/target must be greater than 0",
        ),
        (
            "intervalSeconds",
            json!(0),
            "/autoscaling/intervalSeconds must be from 1 to 3600",
        ),
        (
            "metric",
            json!({ "type": "prometheus", "url": "ftp://x" }),
            "/autoscaling/metric/url must be an http or https URL",
        ),
    ] {
        let mut bad = settings();
        bad[key] = value;
        let refused = put(&mut cluster, &bad);
        let detail = body(&refused)["details"][0].clone();
        let told = format!(
            "{} {}",
            detail["path"].as_str().unwrap(),
            detail["errors"][0].as_str().unwrap()
        );
        assert!(refused.status == 422 && told.starts_with(want), "{told}");
    }
    for bad in [json!({ "minInstances": 1 }), json!({ "more": 1 })] {
        assert_eq!(put(&mut cluster, &bad).status, 422);
    }
    assert_eq!(
        body(&policy(&mut cluster, PolicyPart::All, PolicyAction::Show)),
        shown,
        "what is refused changes nothing"
    );
    let defaults = json!({ "minInstances": 1, "maxInstances": 3, "metric": { "type": "memory" }, "target": 80 });
    let answer = body(&put(&mut cluster, &defaults));
    assert_eq!(
        (
            &answer["autoscaling"]["intervalSeconds"],
            &answer["autoscaling"]["scaleDownCooldownSeconds"]
        ),
        (&json!(15), &json!(300))
    );
    // A version has no policy: an update leaves it.
    cluster.update("/web", r#"{"cmd":"run 1"}"#);
    cluster.pass(2);
    assert_eq!(
        body(&policy(
            &mut cluster,
            PolicyPart::Autoscaling,
            PolicyAction::Show
        ))["autoscaling"]["target"],
        80.0
    );
    assert!(cluster.app("/web")["autoscaling"].is_null());
    assert_eq!(
        policy(&mut cluster, PolicyPart::Autoscaling, PolicyAction::Delete).status,
        200
    );
    assert!(
        cluster.measures.is_empty() && !cluster.store.keys().any(|key| key.starts_with("policy/"))
    );
    put(&mut cluster, &defaults);
    cluster.call(ApiCall::DeleteApp {
        id: "/web".to_owned(),
        force: true,
    });
    cluster.pass(2);
    assert!(
        cluster.measures.is_empty() && !cluster.store.keys().any(|key| key.starts_with("policy/"))
    );
    assert_eq!(put(&mut cluster, &defaults).status, 404);
    assert_eq!(cluster.get(&Query::Deployments).1, json!([]));
}

/// A metric says, after the cool-down, that so many instances are needed.
fn want(cluster: &mut Cluster, wants: u32) {
    cluster.pass(61);
    measure(cluster, Ok(Measured::Value(f64::from(wants) * 100.0)));
}

fn metric() -> Value {
    let mut metric = settings();
    metric["metric"] =
        json!({ "type": "prometheus", "url": "http://prometheus:9090/api/v1/query?query=q" });
    metric["target"] = json!(100);
    metric
}

#[test]
fn the_autoscalers_own_deployment_stands_in_nobodys_way() {
    for fails_over in [false, true] {
        let mut cluster = Cluster::new(1);
        cluster.create(r#"{"id":"/web","cmd":"run","cpus":3,"mem":100,"instances":2}"#);
        cluster.pass(1);
        put(&mut cluster, &metric());
        want(&mut cluster, 6);
        assert_eq!(cluster.app("/web")["instances"], 6);
        assert_eq!(cluster.running("/web").len(), 2, "there is no room");
        let first = cluster.deployments()[0]["id"].clone();
        if fails_over {
            cluster.fail_over();
            cluster.run();
            assert_eq!(cluster.deployments()[0]["id"], first);
        }
        // It goes down again, though what it asked for never came.
        want(&mut cluster, 4);
        assert_eq!(cluster.app("/web")["instances"], 4);
        assert_ne!(cluster.deployments()[0]["id"], first);
        // An operator needs no force, and is told of no conflict.
        let document = json!({ "id": "/web", "cmd": "run 1" });
        let plan = cluster.call(ApiCall::Plan {
            body: document.to_string().into(),
            partial: true,
            trial: None,
        });
        assert_eq!(body(&plan)["conflicts"], json!([]));
        let changed = cluster::update("/web", &document.to_string(), false);
        assert_eq!(cluster.call(changed).status, 200);
        // That deployment is not the autoscaler's.
        let again = cluster::update("/web", r#"{"cmd":"run 2"}"#, false);
        assert_eq!(cluster.call(again).status, 409);
        want(&mut cluster, 2);
        assert_eq!(cluster.app("/web")["instances"], 4);
        let reasons = explain(&mut cluster)["reasons"].to_string();
        assert!(reasons.contains("holds the app"), "{reasons}");
    }
}

#[test]
fn scaling_drives_nothing_else_out_of_the_history() {
    let config = Config {
        max_versions: 6,
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    let mut cluster = Cluster::with(1, config);
    for id in ["/other", "/web"] {
        let app = json!({ "id": id, "cmd": "run", "cpus": 0.1, "mem": 1, "instances": 2 });
        cluster.create(&app.to_string());
        cluster.pass(1);
    }
    let first = cluster.app("/web")["version"].clone();
    cluster.update("/web", r#"{"cmd":"run 1"}"#);
    cluster.pass(60);
    put(&mut cluster, &metric());
    let records = |cluster: &Cluster| {
        let keys = cluster.store.keys();
        keys.filter(|key| key.starts_with("history/")).count()
    };
    let before = records(&cluster);
    for turn in 0..12 {
        want(&mut cluster, 3 + turn % 2);
        assert_eq!(cluster.running("/web").len(), 3 + turn as usize % 2);
        if turn == 6 {
            cluster.fail_over();
            cluster.run();
        }
    }
    assert_eq!(records(&cluster), before + 1, "one entry for all steps");
    for fails_over in [false, true] {
        if fails_over {
            cluster.fail_over();
            cluster.run();
        }
        let (_, versions) = cluster.get(&Query::Versions {
            id: "/web".to_owned(),
        });
        let versions = versions["versions"].as_array().unwrap();
        assert!(
            versions.len() <= 6 && versions.contains(&first),
            "{versions:?}"
        );
        // The state of the root group in which the app was as it was first, and the one after it.
        let all = body(&cluster.call(ApiCall::GroupVersions { id: "/".to_owned() }));
        assert!(all.as_array().unwrap().contains(&first), "{all}");
    }
    let back = cluster::update("/web", &json!({ "version": first }).to_string(), false);
    assert_eq!(cluster.call(back).status, 200);
    cluster.pass(60);
    let app = cluster.app("/web");
    assert_eq!((&app["cmd"], &app["instances"]), (&json!("run"), &json!(2)));
}
