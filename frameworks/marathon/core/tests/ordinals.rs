//! Apps with ordinals on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body, ordinal};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Config, Origin};
use tepui_proto::mesos::TaskState;

fn app(more: &Value) -> String {
    let mut app = json!({ "id": "/n", "cmd": "run 0", "cpus": 0.1, "mem": 1, "instances": 3, "labels": { "TEPUI_ORDINALS": "true" } });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    app.to_string()
}

/// The ordinals that tasks were told which run, in order.
fn told(cluster: &Cluster) -> Vec<u32> {
    let running = cluster.running("/n");
    let mut told: Vec<u32> = running
        .iter()
        .map(|task| ordinal(&cluster.tasks[task].info).unwrap())
        .collect();
    told.sort_unstable();
    told
}

fn task_of(cluster: &Cluster, wanted: u32) -> String {
    let mut tasks = cluster.running("/n").into_iter();
    tasks
        .find(|task| ordinal(&cluster.tasks[task].info) == Some(wanted))
        .unwrap()
}

fn instances(cluster: &mut Cluster) -> Value {
    body(&cluster.call(ApiCall::Instances {
        id: "/n".to_owned(),
    }))["instances"]
        .take()
}

/// No two tasks that may run were told the same.
fn are_apart(cluster: &Cluster) {
    let tasks = cluster.tasks.values();
    let mut all: Vec<u32> = tasks.filter_map(|task| ordinal(&task.info)).collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "shared: {all:?}");
}

#[test]
fn instances_keep_their_ordinals_and_the_highest_go_first() {
    let mut cluster = Cluster::new(3);
    cluster.invariant = Some(are_apart);
    assert_eq!(cluster.create(&app(&json!({}))).status, 201);
    cluster.pass(1);
    assert_eq!(told(&cluster), [0, 1, 2]);
    // One that fails, or is killed, comes back as it was.
    let task = task_of(&cluster, 1);
    cluster.report(&task, TaskState::TaskFailed);
    cluster.pass(3);
    assert_eq!(told(&cluster), [0, 1, 2]);
    assert_eq!(task_of(&cluster, 1), task.replace("._app.1", "._app.2"));
    // One that is wiped is replaced by another, once it has ended.
    let id = task_of(&cluster, 0);
    let before = id.clone();
    cluster.call(ApiCall::KillAppTask {
        id: "/n".to_owned(),
        task_id: id,
        scale: false,
        wipe: true,
        force: false,
    });
    cluster.pass(2);
    assert_eq!(told(&cluster), [0, 1, 2]);
    assert_ne!(task_of(&cluster, 0), before);
    cluster.fail_over();
    cluster.run();
    cluster.update("/n", r#"{"instances":5}"#);
    cluster.pass(2);
    assert_eq!(told(&cluster), [0, 1, 2, 3, 4]);
    cluster.update("/n", r#"{"instances":2}"#);
    cluster.pass(2);
    assert_eq!(told(&cluster), [0, 1]);
    let shown = instances(&mut cluster);
    assert_eq!(
        (
            &shown[0]["ordinal"],
            &shown[1]["ordinal"],
            &shown[1]["ready"]
        ),
        (&json!(0), &json!(1), &json!(true))
    );
    assert_eq!(shown.as_array().unwrap().len(), 2);
}

#[test]
fn a_replacement_has_the_ordinal_of_what_it_replaces() {
    for (minimum, over, apart) in [
        (0.5, 0.0, true),
        (0.0, 0.0, true),
        (1.0, 1.0, false),
        (0.7, 0.4, false),
    ] {
        let mut cluster = Cluster::new(3);
        let strategy = json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over });
        cluster.create(&app(
            &json!({ "instances": 4, "upgradeStrategy": strategy }),
        ));
        cluster.pass(1);
        if apart {
            cluster.invariant = Some(are_apart);
        }
        cluster.update("/n", r#"{"cmd":"run 1"}"#);
        cluster.pass(5);
        assert_eq!(told(&cluster), [0, 1, 2, 3], "{minimum} {over}");
        assert_eq!(cluster.deployments(), json!([]));
    }
}

#[test]
fn one_that_returns_after_it_was_replaced_goes_again() {
    let mut cluster = Cluster::new(3);
    cluster.create(&app(&json!({ "unreachableStrategy": { "inactiveAfterSeconds": 2, "expungeAfterSeconds": 900 } })));
    cluster.pass(1);
    let lost = task_of(&cluster, 1);
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.pass(10);
    assert_eq!(told(&cluster), [0, 1, 2], "another has its place");
    // It is wanted no more when there are fewer, and the highest that is left goes.
    cluster.report(&lost, TaskState::TaskRunning);
    cluster.pass(2);
    assert_eq!(told(&cluster), [0, 1, 2]);
    // Fewer while one is away: no ordinal is left out.
    let lost = task_of(&cluster, 0);
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.run();
    cluster.update("/n", r#"{"instances":2}"#);
    cluster.pass(10);
    assert_eq!(told(&cluster), [0, 1]);
}

#[test]
fn volumes_stay_with_their_ordinal() {
    let mut cluster = Cluster::with(
        3,
        Config {
            mesos_role: "r".to_owned(),
            min_revive_offers_interval_ms: 0,
            ..Config::default()
        },
    );
    let volumes = json!({ "type": "MESOS", "volumes": [{ "containerPath": "data", "persistent": { "size": 10 } }] });
    let answer = cluster.create(&app(&json!({ "container": volumes })));
    assert_eq!(answer.status, 201, "{}", body(&answer));
    cluster.pass(2);
    let volume = |cluster: &Cluster, wanted| {
        cluster::volumes(&cluster.tasks[&task_of(cluster, wanted)].info)
    };
    let before: Vec<_> = (0..3).map(|wanted| volume(&cluster, wanted)).collect();
    cluster.update("/n", r#"{"instances":1}"#);
    cluster.pass(2);
    cluster.update("/n", r#"{"cmd":"run 1"}"#);
    cluster.pass(5);
    cluster.update("/n", r#"{"instances":3}"#);
    cluster.pass(5);
    assert_eq!(told(&cluster), [0, 1, 2]);
    let after: Vec<_> = (0..3).map(|wanted| volume(&cluster, wanted)).collect();
    assert_eq!(after, before);
}

#[test]
fn pods_are_told_too_and_daemons_have_none() {
    let mut cluster = Cluster::new(2);
    let pod = r#"{"id":"/n","labels":{"TEPUI_ORDINALS":"true"},"scaling":{"instances":2},
        "containers":[{"name":"a","resources":{"cpus":0.1,"mem":1},"exec":{"command":{"shell":"run"}}}]}"#;
    cluster.call(ApiCall::CreatePod {
        body: pod.into(),
        force: false,
        origin: Origin::default(),
    });
    cluster.pass(1);
    assert_eq!(told(&cluster), [0, 1]);
    let both =
        app(&json!({ "id": "/d", "labels": { "TEPUI_ORDINALS": "true", "TEPUI_DAEMON": "true" } }));
    let answer = cluster.create(&both);
    assert_eq!(
        (answer.status, body(&answer)["details"][0]["path"].as_str()),
        (422, Some("/labels(TEPUI_ORDINALS)"))
    );
    // The label comes and goes by a deployment.
    cluster.create(&app(&json!({ "id": "/l", "labels": {} })));
    cluster.pass(1);
    for (labels, want) in [
        (r#"{"labels":{"TEPUI_ORDINALS":"true"}}"#, json!([0, 1, 2])),
        (r#"{"labels":{}}"#, json!([null, null, null])),
    ] {
        cluster.update("/l", labels);
        cluster.pass(3);
        let shown = body(&cluster.call(ApiCall::Instances {
            id: "/l".to_owned(),
        }));
        let shown: Vec<Value> = shown["instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["ordinal"].clone())
            .collect();
        assert_eq!(json!(shown), want);
    }
}
