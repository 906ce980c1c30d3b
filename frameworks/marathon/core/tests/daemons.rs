//! Daemon apps on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{
    Behaviour, Cluster, body,
    daemons::{daemon, explain, join, lose, one_on, places},
};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, event::EventKind, view::Query};
use tepui_proto::mesos::TaskState;

#[test]
fn every_agent_that_matches_has_one_as_agents_come_and_go() {
    let mut cluster = Cluster::new(3);
    cluster.agents[1]
        .attributes
        .insert("os".to_owned(), "windows".to_owned());
    let answer = cluster.create(&daemon(&json!({
        "constraints": [["os", "UNLIKE", "windows"]],
        "unreachableStrategy": { "inactiveAfterSeconds": 5, "expungeAfterSeconds": 10 },
    })));
    assert_eq!(answer.status, 201);
    cluster.pass(1);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2]));
    assert_eq!(cluster.deployments(), json!([]));
    assert_eq!(cluster.app("/d")["instances"], 2, "it follows the agents");
    let answer = explain(&mut cluster, "/d");
    assert_eq!(answer["reasons"], json!([]));
    assert_eq!(answer["agents"], json!([]));
    assert_eq!(
        (
            &answer["leftOut"][0]["host"],
            &answer["leftOut"][0]["lacks"],
            &answer["leftOut"][1]
        ),
        (
            &json!("host1"),
            &json!([{ "what": "constraint os:UNLIKE:windows", "missing": null }]),
            &json!(null)
        ),
        "the constraints leave it out"
    );
    join(&mut cluster);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2, 3]));
    assert_eq!(cluster.app("/d")["instances"], 3);
    lose(&mut cluster, 3);
    cluster.pass(20);
    assert_eq!(
        cluster.app("/d")["instances"],
        2,
        "no other takes its place"
    );
    assert_eq!(cluster.app("/d")["tasks"].as_array().unwrap().len(), 2);
    // The task of the agent that returns is unknown by now, and another is launched.
    cluster.agents[3].alive = true;
    let task = cluster
        .tasks
        .iter()
        .find(|(_, task)| task.agent == 3)
        .unwrap()
        .0
        .clone();
    cluster.report(&task, TaskState::TaskRunning);
    cluster.run();
    cluster.offer();
    cluster.run();
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2, 3]));
    assert!(!cluster.running("/d").contains(&task));
    // One that returns in time keeps its own.
    lose(&mut cluster, 0);
    cluster.pass(7);
    let task = cluster
        .tasks
        .iter()
        .find(|(_, task)| task.agent == 0)
        .unwrap()
        .0
        .clone();
    cluster.agents[0].alive = true;
    cluster.report(&task, TaskState::TaskRunning);
    cluster.run();
    cluster.offer();
    cluster.run();
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2, 3]));
    assert!(cluster.running("/d").contains(&task));
    cluster.fail_over();
    cluster.run();
    join(&mut cluster);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2, 3, 4]));
}

#[test]
fn one_bad_agent_waits_alone_and_a_bad_app_as_a_whole() {
    let mut cluster = Cluster::new(3);
    cluster.create(&daemon(
        &json!({ "backoffSeconds": 60, "maxLaunchDelaySeconds": 60 }),
    ));
    cluster.pass(1);
    let task = cluster
        .tasks
        .iter()
        .find(|(_, task)| task.agent == 1)
        .unwrap()
        .0
        .clone();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    cluster.offer();
    cluster.run();
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 2]));
    let answer = explain(&mut cluster, "/d");
    let reason = answer["reasons"][0].to_string();
    assert!(reason.contains("back-off on 1 agent until"), "{reason}");
    let delayed = answer["delayedAgents"].as_array().unwrap();
    assert_eq!(delayed.len(), 1);
    let until = delayed[0]["until"].as_str().unwrap();
    assert!(reason.contains(until), "{reason}");
    join(&mut cluster);
    assert_eq!(
        places(&cluster, "/d"),
        one_on(&[0, 2, 3]),
        "the others go on"
    );
    cluster.pass(62);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 1, 2, 3]));
    cluster
        .behaviour
        .insert("crash".to_owned(), Behaviour::Fails);
    cluster.call(ApiCall::DeleteApp {
        id: "/d".to_owned(),
        force: true,
    });
    let before = cluster.launched.len();
    cluster.create(&daemon(&json!({ "cmd": "crash", "backoffSeconds": 60 })));
    cluster.pass(30);
    for _ in 0..5 {
        cluster.offer();
        cluster.run();
    }
    assert_eq!(cluster.launched.len() - before, 4, "once on each agent");
}

#[test]
fn it_says_what_agents_lack_and_is_switched_off_by_no_instances() {
    let mut cluster = Cluster::new(3);
    cluster.agents[2].cpus = 0.5;
    cluster.create(&daemon(&json!({})));
    cluster.pass(1);
    let answer = explain(&mut cluster, "/d");
    assert_eq!(
        answer["reasons"],
        json!(["cpus short by 0.5 at least on 1 agent"])
    );
    assert_eq!(
        (&answer["instances"], &answer["waiting"], &answer["daemon"]),
        (&json!(2), &json!(1), &json!(true))
    );
    let plan = body(
        &cluster.call(ApiCall::Plan {
            body: daemon(
                &json!({ "instances": 2, "constraints": [["hostname", "LIKE", "host1"]] }),
            )
            .into(),
            partial: true,
            trial: None,
        }),
    );
    assert_eq!(plan["apps"][0]["launches"], 2, "{plan}");
    assert_eq!(plan["apps"][0]["daemon"], true);
    // Reading it and writing it back changes nothing.
    let shown = cluster.app("/d");
    let again = json!({ "instances": shown["instances"], "labels": shown["labels"] });
    let before = cluster.launched.len();
    assert_eq!(cluster.update("/d", &again.to_string()).status, 200);
    assert_eq!(
        (cluster.launched.len(), places(&cluster, "/d")),
        (before, one_on(&[0, 1]))
    );
    let scaled = cluster.call(ApiCall::KillAppTasks {
        id: "/d".to_owned(),
        host: None,
        scale: true,
        wipe: false,
        force: false,
    });
    assert_eq!(scaled.status, 400);
    // Killed ones come again, each on its agent.
    cluster.call(ApiCall::KillAppTasks {
        id: "/d".to_owned(),
        host: None,
        scale: false,
        wipe: false,
        force: false,
    });
    cluster.pass(1);
    assert_eq!(
        (cluster.launched.len(), places(&cluster, "/d")),
        (before + 2, one_on(&[0, 1]))
    );
    // Constraints that change are followed.
    cluster.update(
        "/d",
        &json!({ "constraints": [["hostname", "LIKE", "host1"]] }).to_string(),
    );
    cluster.pass(2);
    assert_eq!(places(&cluster, "/d"), one_on(&[1]));
    assert_eq!(cluster.update("/d", r#"{"instances":0}"#).status, 200);
    cluster.pass(1);
    assert_eq!(
        (places(&cluster, "/d"), cluster.deployments()),
        (one_on(&[]), json!([]))
    );
    assert_eq!(cluster.app("/d")["instances"], 0);
    assert_eq!(
        cluster.outputs.last().unwrap(),
        "suppress",
        "no offer is wanted any more"
    );
    // An app becomes a daemon app, and back.
    cluster.create(r#"{"id":"/n","cmd":"run n","cpus":0.1,"mem":1,"instances":5}"#);
    cluster.pass(1);
    cluster.update("/n", r#"{"labels":{"TEPUI_DAEMON":"true"}}"#);
    cluster.pass(2);
    assert_eq!(
        (places(&cluster, "/n"), cluster.deployments()),
        (one_on(&[0, 1, 2]), json!([]))
    );
    cluster.update("/n", r#"{"labels":{},"instances":7}"#);
    cluster.pass(2);
    assert_eq!(
        (cluster.running("/n").len(), cluster.deployments()),
        (7, json!([]))
    );
}

#[test]
fn pods_are_daemons_too() {
    let mut cluster = Cluster::new(2);
    let pod = r#"{"id":"/p","labels":{"TEPUI_DAEMON":"true"},
        "containers":[{"name":"a","resources":{"cpus":0.1,"mem":1},"exec":{"command":{"shell":"run"}}}]}"#;
    let answer = cluster.call(ApiCall::CreatePod {
        body: pod.into(),
        force: false,
        origin: tepui_marathon_core::Origin::default(),
    });
    assert_eq!(answer.status, 201);
    cluster.pass(1);
    join(&mut cluster);
    assert_eq!(places(&cluster, "/p"), one_on(&[0, 1, 2]));
    let status = cluster.get(&Query::PodStatuses).1;
    assert_eq!(
        (
            &status[0]["status"],
            status[0]["instances"].as_array().unwrap().len()
        ),
        (&json!("STABLE"), 3)
    );
}

#[test]
fn it_follows_agents_while_its_deployment_is_busy_with_others() {
    let mut cluster = Cluster::new(2);
    let group = |daemon: &Value, other: &Value| {
        let daemon_app = json!({ "id": "d", "cmd": "run 0", "cpus": 0.1, "mem": 1, "backoffSeconds": 1, "labels": { "TEPUI_DAEMON": "true" } });
        let other_app = json!({ "id": "other", "cmd": "run", "cpus": 100 });
        let mut apps = [daemon_app, other_app];
        for (app, more) in apps.iter_mut().zip([daemon, other]) {
            for (key, value) in more.as_object().unwrap() {
                app[key] = value.clone();
            }
        }
        json!({ "id": "/g", "apps": apps }).to_string()
    };
    let put = |cluster: &mut Cluster, document: String| {
        let answer = cluster.call(ApiCall::UpdateGroup {
            id: "/g".to_owned(),
            body: document.into(),
            force: true,
            dry_run: false,
        });
        assert!(answer.status < 300, "{}", body(&answer));
        cluster.pass(1);
    };
    let busy = |cluster: &Cluster| cluster.deployments()[0]["currentStep"].clone();
    let fail = |cluster: &mut Cluster| {
        let task = cluster.running("/g/d").remove(0);
        cluster.report(&task, TaskState::TaskFailed);
        cluster.pass(3);
        cluster.offer();
        cluster.run();
    };
    // Its own part waits for what it depends on: nothing begins too early.
    put(
        &mut cluster,
        group(&json!({ "dependencies": ["other"] }), &json!({})),
    );
    join(&mut cluster);
    assert_eq!(
        (places(&cluster, "/g/d"), busy(&cluster)),
        (one_on(&[]), json!(2))
    );
    // Its own part is done, and the other has no room.
    put(
        &mut cluster,
        group(&json!({}), &json!({ "dependencies": ["d"] })),
    );
    assert_eq!(places(&cluster, "/g/d"), one_on(&[0, 1, 2]));
    join(&mut cluster);
    assert_eq!(places(&cluster, "/g/d"), one_on(&[0, 1, 2, 3]));
    fail(&mut cluster);
    assert_eq!(places(&cluster, "/g/d"), one_on(&[0, 1, 2, 3]));
    assert_ne!(busy(&cluster), json!(null));
    // It is there, and to be replaced when the other is done.
    put(
        &mut cluster,
        group(
            &json!({ "cmd": "run 1", "dependencies": ["other"] }),
            &json!({}),
        ),
    );
    assert_eq!(busy(&cluster), json!(1));
    join(&mut cluster);
    fail(&mut cluster);
    assert_eq!(places(&cluster, "/g/d"), one_on(&[0, 1, 2, 3, 4]));
    for agent in &mut cluster.agents {
        agent.cpus = 200.0;
    }
    cluster.offer();
    cluster.pass(3);
    assert_eq!(
        (places(&cluster, "/g/d"), cluster.deployments()),
        (one_on(&[0, 1, 2, 3, 4]), json!([]))
    );
    let commands = cluster.tasks.values();
    let commands = commands.map(|task| task.info.command.as_ref().unwrap().value());
    assert!(!commands.into_iter().any(|command| command == "run 0"));
}

#[test]
fn a_launch_that_cannot_be_made_leaves_nothing_behind() {
    let mut cluster = Cluster::new(2);
    let pod = |command: &str| {
        let container = json!({ "name": "a", "resources": { "cpus": 0.5, "mem": 1 }, "exec": { "command": { "shell": command } } });
        json!({ "id": "/p", "labels": { "TEPUI_DAEMON": "true" }, "containers": [container] })
            .to_string()
    };
    cluster.call(ApiCall::CreatePod {
        body: pod("run 0").into(),
        force: false,
        origin: tepui_marathon_core::Origin::default(),
    });
    cluster.pass(1);
    assert_eq!(places(&cluster, "/p"), one_on(&[0, 1]));
    cluster.send(ApiCall::UpdatePod {
        id: "/p".to_owned(),
        body: pod("run 1").into(),
        force: false,
        origin: tepui_marathon_core::Origin::default(),
    });
    cluster.run_some(2);
    assert_ne!(cluster.deployments(), json!([]));
    // A store whose sum is less than its parts, as a former release wrote it.
    for (key, value) in &mut cluster.store {
        if key.starts_with("app/") || key.starts_with("version/") {
            let mut record: Value = serde_json::from_slice(value).unwrap();
            record["data"]["cpus"] = json!(0.1);
            *value = record.to_string().into();
        }
    }
    cluster.fail_over();
    for _ in 0..3 {
        cluster.offer();
        cluster.pass(1);
    }
    let instances = body(&cluster.call(ApiCall::Instances {
        id: "/p".to_owned(),
    }));
    let conditions = instances["instances"].as_array().unwrap().iter();
    let conditions: Vec<&Value> = conditions.map(|one| &one["condition"]).collect();
    assert_eq!(conditions, ["Running", "Running"], "{instances}");
    let reasons = explain(&mut cluster, "/p")["reasons"].to_string();
    assert!(reasons.contains("was not launched on host"), "{reasons}");
}

#[test]
fn the_end_of_the_longest_back_off_asks_for_offers_however_late_it_is_seen() {
    let mut cluster = Cluster::new(2);
    cluster.create(&daemon(
        &json!({ "backoffSeconds": 60, "maxLaunchDelaySeconds": 60 }),
    ));
    cluster.pass(1);
    let task = cluster.running("/d").remove(0);
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    assert_eq!(places(&cluster, "/d").len(), 1);
    cluster.now += std::time::Duration::from_millis(60_003);
    cluster.push(tepui_marathon_core::Input::Tick);
    cluster.run();
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 1]));
}

#[test]
fn a_group_that_is_scaled_leaves_its_daemon_apps_as_they_are_or_switches_them_off() {
    let mut cluster = Cluster::new(3);
    let group = json!({ "id": "/g", "apps": [
        { "id": "d", "cmd": "run", "cpus": 0.1, "mem": 1, "labels": { "TEPUI_DAEMON": "true" } },
        { "id": "web", "cmd": "run", "cpus": 0.1, "mem": 1, "instances": 2 }] });
    let put = |cluster: &mut Cluster, document: &Value| {
        let answer = cluster.call(ApiCall::UpdateGroup {
            id: "/g".to_owned(),
            body: document.to_string().into(),
            force: false,
            dry_run: false,
        });
        assert!(answer.status < 300, "{}", body(&answer));
        cluster.pass(2);
    };
    put(&mut cluster, &group);
    for (factor, web, daemons) in [(2.5, 5, 3), (0.1, 1, 3), (0.0, 0, 0)] {
        let before = cluster.events.len();
        put(&mut cluster, &json!({ "scaleBy": factor }));
        let count = |id: &str| cluster.running(id).len();
        assert_eq!((count("/g/web"), count("/g/d")), (web, daemons), "{factor}");
        let affected = cluster.events[before..].iter().find_map(|event| {
            let EventKind::DeploymentSuccess { plan, .. } = &event.kind else {
                return None;
            };
            let actions = plan.steps.iter().flat_map(|step| &step.actions);
            Some(
                actions
                    .map(|action| action.app.to_string())
                    .collect::<Vec<_>>(),
            )
        });
        let want: &[&str] = if factor > 0.0 {
            &["/g/web"]
        } else {
            &["/g/d", "/g/web"]
        };
        assert_eq!(affected.unwrap(), want, "{factor}");
    }
}
