//! Why an app waits, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Behaviour, Cluster, body};
use serde_json::{Value, json};
use tepui_marathon_core::ApiCall;

fn explain(cluster: &mut Cluster, id: &str) -> Value {
    body(&cluster.call(ApiCall::Explain { id: id.to_owned() }))
}

#[test]
fn everything_that_offers_lack_is_told_with_how_much() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/big","cmd":"sleep 1","cpus":8.5,"mem":32,"constraints":[["rack","CLUSTER","a"]]}"#);
    cluster.run();
    let answer = explain(&mut cluster, "/big");
    assert_eq!(
        (&answer["waiting"], &answer["running"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        answer["reasons"],
        json!([
            "constraint rack:CLUSTER:a on 2 agents",
            "cpus short by 0.5 at least on 2 agents"
        ])
    );
    assert_eq!(answer["deployment"]["action"], json!("ScaleApplication"));
    assert_eq!(
        answer["agents"][0]["lacks"],
        json!([{ "what": "constraint rack:CLUSTER:a", "missing": null }, { "what": "cpus", "missing": 0.5 }])
    );
    cluster.create(
        r#"{"id":"/port","cmd":"sleep 1","cpus":0.1,"mem":32,"ports":[80],"requirePorts":true}"#,
    );
    cluster.run();
    assert_eq!(
        explain(&mut cluster, "/port")["reasons"],
        json!(["port 80 on 2 agents"])
    );
}

#[test]
fn uniqueness_back_off_and_health_are_told() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/u","cmd":"sleep 1","cpus":0.1,"mem":32,"instances":3,"constraints":[["hostname","UNIQUE"]]}"#);
    cluster.run();
    let answer = explain(&mut cluster, "/u");
    assert_eq!(
        answer["reasons"],
        json!(["constraint hostname:UNIQUE on 2 agents"])
    );
    assert_eq!(
        (&answer["ready"], &answer["instances"]),
        (&json!(2), &json!(3))
    );
    cluster
        .behaviour
        .insert("crash it".to_owned(), Behaviour::Fails);
    cluster.create(r#"{"id":"/crash","cmd":"crash it","cpus":0.1,"mem":32,"backoffSeconds":60}"#);
    let answer = explain(&mut cluster, "/crash");
    let reason = answer["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("back-off until 20"), "{answer}");
    let missing = cluster.call(ApiCall::Explain {
        id: "/none".to_owned(),
    });
    assert_eq!(missing.status, 404);
    let idle = Cluster::new(0).call(ApiCall::Explain { id: "/".to_owned() });
    assert_eq!(idle.status, 404);
}
