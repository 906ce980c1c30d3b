//! What a change would do, the change itself, and its deadline, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Behaviour, Cluster, body};
use serde_json::{Value, json};
use tepui_marathon_core::ApiCall;

fn plan(cluster: &mut Cluster, document: &Value) -> Value {
    let answer = cluster.call(ApiCall::Plan {
        body: document.to_string().into(),
        partial: true,
        trial: None,
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
    body(&answer)
}

fn apply(cluster: &mut Cluster, document: &Value, deadline_seconds: Option<u64>) -> Value {
    let answer = cluster.call(ApiCall::Apply {
        body: document.to_string().into(),
        partial: true,
        force: false,
        deadline_seconds,
        trial: None,
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
    body(&answer)
}

#[test]
fn a_plan_says_what_changes_and_changes_nothing() {
    let mut cluster = Cluster::new(4);
    let fresh = json!({ "id": "/web", "cmd": "sleep 1", "cpus": 0.1, "mem": 32, "instances": 2 });
    let answer = plan(&mut cluster, &fresh);
    assert_eq!(answer["changes"], json!(true));
    assert_eq!(answer["apps"][0]["change"], json!("create"));
    assert_eq!(answer["apps"][0]["launches"], json!(2));
    assert_eq!(answer["apps"][0]["definition"]["cmd"], json!("sleep 1"));
    assert_eq!(
        answer["steps"],
        json!([
            { "actions": [{ "action": "StartApplication", "app": "/web" }] },
            { "actions": [{ "action": "ScaleApplication", "app": "/web" }] },
        ])
    );
    assert!(cluster.tasks.is_empty());
    apply(&mut cluster, &fresh, None);
    cluster.run();
    assert_eq!(cluster.app("/web")["tasksRunning"], json!(2));

    let nothing = plan(&mut cluster, &fresh);
    assert_eq!(
        (&nothing["changes"], &nothing["apps"], &nothing["steps"]),
        (&json!(false), &json!([]), &json!([]))
    );
    let other = json!([{ "id": "/web", "cmd": "sleep 2", "env": { "A": "1" } }]);
    let answer = plan(&mut cluster, &other);
    let web = &answer["apps"][0];
    assert_eq!(
        [
            &web["change"],
            &web["launches"],
            &web["kills"],
            &web["minimumHealthy"],
            &web["maximumRunning"]
        ],
        [
            &json!("restart"),
            &json!(2),
            &json!(2),
            &json!(2),
            &json!(4)
        ]
    );
    assert_eq!(
        web["diff"],
        json!([
            { "path": "/cmd", "old": "sleep 1", "new": "sleep 2" },
            { "path": "/env/A", "new": "1" },
        ])
    );
    let scaled = plan(&mut cluster, &json!({ "id": "/web", "instances": 5 }));
    let web = &scaled["apps"][0];
    assert_eq!(
        [&web["change"], &web["launches"], &web["kills"]],
        [&json!("scale"), &json!(3), &json!(0)]
    );
    assert_eq!(web["instances"], json!({ "old": 2, "new": 5 }));
    let group = plan(
        &mut cluster,
        &json!({ "id": "/g", "apps": [{ "id": "a", "cmd": "sleep 1" }] }),
    );
    assert_eq!(group["groups"], json!([{ "id": "/g", "change": "create" }]));
    assert_eq!(group["apps"][0]["id"], json!("/g/a"));
    assert_eq!(
        cluster.app("/web")["cmd"],
        json!("sleep 1"),
        "nothing was changed"
    );

    let refused = cluster.call(ApiCall::Plan {
        body: json!({ "id": "/web", "instances": -1 }).to_string().into(),
        partial: true,
        trial: None,
    });
    assert_eq!(refused.status, 422);
}

#[test]
fn a_deployment_that_misses_its_deadline_is_rolled_back_also_by_the_next_leader() {
    for fails_over in [false, true] {
        let mut cluster = Cluster::new(4);
        let good =
            json!({ "id": "/web", "cmd": "sleep 1", "cpus": 0.1, "mem": 32, "instances": 2 });
        apply(&mut cluster, &good, Some(60));
        cluster.run();
        cluster.pass(120);
        assert_eq!(
            cluster.app("/web")["tasksRunning"],
            json!(2),
            "a deployment that is done has no deadline"
        );
        cluster
            .behaviour
            .insert("hang".to_owned(), Behaviour::Hangs);
        let answer = apply(
            &mut cluster,
            &json!({ "id": "/web", "cmd": "hang" }),
            Some(60),
        );
        cluster.run();
        let listed = body(&cluster.call(ApiCall::Deployments));
        let deployment = &listed["deployments"][0];
        assert_eq!(deployment["id"], answer["deploymentId"]);
        assert!(deployment["deadline"].is_string(), "{listed}");
        let waits = &deployment["waitsFor"][0];
        assert_eq!(
            (&waits["app"], &waits["action"], &waits["reasons"]),
            (
                &json!("/web"),
                &json!("RestartApplication"),
                &json!(["2 launched and not yet running"])
            )
        );
        if fails_over {
            cluster.fail_over();
            cluster.register();
        }
        cluster.pass(50);
        assert_eq!(cluster.app("/web")["cmd"], json!("hang"));
        cluster.pass(40);
        let failed = cluster.events.iter().rev().map(|event| event.to_json());
        let failed = failed.map(|event| serde_json::from_str::<Value>(&event).unwrap());
        let mut failed = failed.filter(|event| event["eventType"] == "deployment_failed");
        assert_eq!(
            failed.next().unwrap()["reason"],
            json!("Its deadline has passed")
        );
        assert_eq!(cluster.app("/web")["cmd"], json!("sleep 1"));
        assert_eq!(cluster.app("/web")["tasksRunning"], json!(2));
        assert_eq!(cluster.deployments(), json!([]));
    }
}

#[test]
fn a_deadline_can_be_set_moved_and_taken_away_while_a_deployment_is_under_way() {
    let mut cluster = Cluster::new(2);
    cluster
        .behaviour
        .insert("hang".to_owned(), Behaviour::Hangs);
    let hangs = json!({ "id": "/web", "cmd": "hang", "cpus": 0.1, "mem": 32 });
    let answer = apply(&mut cluster, &hangs, Some(30));
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    let deadline = |cluster: &mut Cluster, seconds| {
        cluster.call(ApiCall::Deadline {
            id: id.clone(),
            seconds,
        })
    };
    assert_eq!(deadline(&mut cluster, None).status, 200);
    cluster.pass(60);
    assert_eq!(cluster.app("/web")["cmd"], json!("hang"), "it has none");
    assert_eq!(deadline(&mut cluster, Some(100)).status, 200);
    assert_eq!(deadline(&mut cluster, Some(10)).status, 200);
    cluster.pass(20);
    assert_eq!(
        cluster.app("/web"),
        Value::Null,
        "what was new is gone again"
    );
    assert_eq!(deadline(&mut cluster, Some(10)).status, 404);
}

#[test]
fn pods_are_planned_and_applied_as_apps_are() {
    let mut cluster = Cluster::new(2);
    let pod = |command: &str, instances: u32| {
        json!({ "id": "/shop/pod", "scaling": { "kind": "fixed", "instances": instances },
            "containers": [{ "name": "c", "exec": { "command": { "shell": command } }, "resources": { "cpus": 0.1, "mem": 8 } }] })
    };
    let app = json!({ "id": "/shop/web", "cmd": "sleep 1", "cpus": 0.1, "mem": 8 });
    let both = json!([pod("serve", 2), app]);
    let answer = plan(&mut cluster, &both);
    assert_eq!(
        answer["groups"],
        json!([{ "id": "/shop", "change": "create" }])
    );
    let of_pod = &answer["apps"][0];
    assert_eq!(
        (&of_pod["id"], &of_pod["pod"], &of_pod["launches"]),
        (&json!("/shop/pod"), &json!(true), &json!(2))
    );
    assert_eq!(of_pod["definition"]["containers"][0]["name"], json!("c"));
    assert_eq!(answer["apps"][1].get("pod"), None);
    let actions = answer["steps"][0]["actions"].as_array().unwrap();
    assert!(
        actions.contains(&json!({ "action": "StartPod", "pod": "/shop/pod" })),
        "{answer}"
    );
    assert!(cluster.tasks.is_empty());
    apply(&mut cluster, &both, None);
    cluster.pass(1);
    assert_eq!(cluster.tasks.len(), 3, "one deployment of both");
    assert_eq!(plan(&mut cluster, &both)["changes"], json!(false));

    let answer = plan(&mut cluster, &pod("serve more", 3));
    let of_pod = &answer["apps"][0];
    assert_eq!(of_pod["change"], json!("restart"));
    assert_eq!(
        of_pod["diff"],
        json!([
            { "path": "/containers/0/exec/command/shell", "old": "serve", "new": "serve more" },
            { "path": "/scaling/instances", "old": 2, "new": 3 },
        ])
    );
    let waits = json!({ "id": "/big", "containers": [{ "name": "c", "exec": { "command": { "shell": "x" } }, "resources": { "cpus": 99, "mem": 8 } }] });
    apply(&mut cluster, &waits, None);
    cluster.pass(1);
    let waiting = body(&cluster.call(ApiCall::Deployments));
    assert_eq!(
        waiting["deployments"][0]["waitsFor"][0]["action"],
        json!("ScalePod")
    );

    for (document, path) in [
        (
            json!({ "id": "/shop", "apps": [], "pods": [pod("serve", 1)] }),
            "/pods",
        ),
        (
            json!({ "groups": [{ "id": "/shop", "pods": [{}] }] }),
            "/groups(0)/pods",
        ),
    ] {
        let refused = cluster.call(ApiCall::Plan {
            body: document.to_string().into(),
            partial: false,
            trial: None,
        });
        assert_eq!(refused.status, 422);
        assert_eq!(body(&refused)["details"][0]["path"], json!(path));
    }
    let twice = json!([pod("serve", 1), pod("serve", 2)]);
    let refused = cluster.call(ApiCall::Plan {
        body: twice.to_string().into(),
        partial: false,
        trial: None,
    });
    assert_eq!(refused.status, 422, "{}", body(&refused));
    // A group that is planned keeps its pods, whatever is said of its apps.
    let empty = plan(
        &mut cluster,
        &json!({ "id": "/shop", "apps": [], "groups": [] }),
    );
    assert_eq!(empty["apps"].as_array().unwrap().len(), 1, "{empty}");
}
