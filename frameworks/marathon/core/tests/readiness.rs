//! Readiness checks: new tasks of a deployment count when they say so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body};
use serde_json::{Value, json};
use tepui_marathon_core::{
    ApiCall,
    view::{Embed, Query},
};
use tepui_proto::mesos::TaskState;

const WEB: &str = r#"{"id":"/web","cmd":"first","cpus":0.1,"mem":1,"instances":2,
    "portDefinitions":[{"name":"http"},{"name":"admin"}],
    "readinessChecks":[{"path":"ready","portName":"admin","preserveLastResponse":true,"httpStatusCodesForReady":[200,204]}]}"#;

fn results(cluster: &Cluster) -> Value {
    cluster.deployments()[0]["currentActions"][0]["readinessCheckResults"].clone()
}

/// What `GET /v2/apps/{id}?embed=readiness` says.
fn shown(cluster: &Cluster) -> Value {
    let embed = Embed {
        readiness: true,
        ..Embed::default()
    };
    let id = "/web".to_owned();
    cluster.get(&Query::App { id, embed }).1["app"]["readinessCheckResults"].clone()
}

#[test]
fn a_deployment_waits_until_its_tasks_are_ready() {
    let mut cluster = Cluster::new(1);
    cluster.readiness = 503;
    cluster.create(WEB);
    cluster.pass(3);
    let task = cluster.running("/web")[0].clone();
    let port = cluster.app("/web")["tasks"][0]["ports"][1].clone();
    let probe = cluster
        .probes
        .values()
        .find(|probe| probe.task_id == task)
        .unwrap();
    assert_eq!((json!(probe.port), probe.host.as_str()), (port, "host0"));
    assert_eq!((probe.interval_ms, probe.timeout_ms), (30_000, 10_000));
    let first = json!({ "name": "readinessCheck", "taskId": task, "ready": false,
        "lastResponse": { "status": 503, "contentType": "text/plain", "body": "asked for /ready" } });
    assert_eq!(results(&cluster)[0], first);
    assert_eq!(shown(&cluster)[0], first);
    let id = "/web".to_owned();
    let explained = body(&cluster.call(ApiCall::Explain { id }));
    assert_eq!(explained["reasons"], json!(["2 running and not yet ready"]));
    cluster.readiness = 204;
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
    assert_eq!(shown(&cluster), json!([]), "it belongs to the deployment");
    assert!(
        cluster.probes.is_empty(),
        "nothing is asked once it is ready"
    );
}

#[test]
fn an_upgrade_keeps_the_old_tasks_until_new_ones_are_ready_and_a_new_leader_goes_on_asking() {
    let mut cluster = Cluster::new(1);
    cluster.create(WEB);
    cluster.pass(1);
    let old = cluster.running("/web");
    assert_eq!(cluster.deployments(), json!([]));
    cluster.readiness = 503;
    cluster.update("/web", r#"{"cmd":"second"}"#);
    cluster.pass(2);
    assert_eq!(cluster.running("/web").len(), 4);
    let ready = |cluster: &Cluster| -> Vec<bool> {
        let results = results(cluster);
        let results = results.as_array().unwrap().iter();
        results.map(|one| one["ready"].as_bool().unwrap()).collect()
    };
    assert_eq!(ready(&cluster), [true, true, false, false]);
    cluster.fail_over();
    cluster.pass(2);
    assert_eq!(
        cluster.running("/web").len(),
        4,
        "none is taken for ready by the new leader"
    );
    assert_eq!(ready(&cluster), [true, true, false, false]);
    assert_eq!(cluster.probes.len(), 2, "only what is not ready is asked");
    cluster.readiness = 200;
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
    let new = cluster.running("/web");
    assert!(new.len() == 2 && old.iter().all(|task| !new.contains(task)));
}

#[test]
fn a_task_that_is_relaunched_without_a_deployment_is_not_asked() {
    let mut cluster = Cluster::new(1);
    cluster.create(WEB);
    cluster.pass(1);
    cluster.readiness = 503;
    let task = cluster.running("/web")[0].clone();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    cluster.pass(2);
    assert_eq!(cluster.running("/web").len(), 2);
    assert!(cluster.probes.is_empty());
    cluster.update("/web", r#"{"instances":3}"#);
    cluster.pass(1);
    assert_eq!(cluster.probes.len(), 1, "the new one is");
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
    let task = cluster.probes.values().next().unwrap().task_id.clone();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    cluster.pass(2);
    let again = task.replace("_app.1", "_app.2");
    assert!(
        cluster.probes.values().all(|probe| probe.task_id == again) && cluster.probes.len() == 1,
        "so is the task that takes its place: {:?}",
        cluster.probes
    );
    cluster.readiness = 200;
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
}
