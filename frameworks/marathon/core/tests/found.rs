//! What the simulation of whole clusters has found, each as short as it can be told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::{collections::BTreeSet, time::Duration};

use cluster::{Behaviour, Cluster, body, daemons, delete, update, volumes};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Config, Input, Trial};
use tepui_proto::mesos::{AgentId, TaskId, TaskState, TaskStatus, task_status::Reason};

fn app(more: &Value) -> String {
    let mut app = json!({ "id": "/a", "cmd": "run 0", "cpus": 0.1, "mem": 1, "backoffSeconds": 1 });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    app.to_string()
}

fn strategy(minimum: f64, over: f64) -> Value {
    json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over })
}

fn resident() -> String {
    app(
        &json!({ "id": "/data/a", "role": "data", "container": { "type": "MESOS",
        "volumes": [{ "containerPath": "data", "persistent": { "size": 10 } }] } }),
    )
}

fn kill(cluster: &mut Cluster, id: &str, task: &str, wipe: bool) {
    let answer = cluster.call(ApiCall::KillAppTask {
        id: id.to_owned(),
        task_id: task.to_owned(),
        scale: false,
        wipe,
        force: false,
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
}

/// A task says something, whether or not it is there.
fn says(cluster: &mut Cluster, task: &str, state: TaskState) {
    let status = TaskStatus {
        task_id: TaskId {
            value: task.to_owned(),
        },
        state: state.into(),
        agent_id: Some(AgentId {
            value: "agent0".to_owned(),
        }),
        ..TaskStatus::default()
    };
    cluster.push(Input::TaskUpdate(Box::new(status)));
    cluster.run();
}

#[test]
fn of_old_instances_those_end_first_of_which_nobody_knows_that_they_are_healthy() {
    let mut cluster = Cluster::new(1);
    let more = json!({ "instances": 4, "killSelection": "OLDEST_FIRST",
        "healthChecks": [{ "gracePeriodSeconds": 20, "intervalSeconds": 5 }] });
    cluster.create(&app(&more));
    cluster.pass(5);
    let before: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    assert_eq!(before.len(), 4);
    // It comes again, as the youngest of all.
    kill(&mut cluster, "/a", before.first().unwrap(), false);
    let healthy: BTreeSet<String> = before.into_iter().skip(1).collect();
    assert_eq!(cluster.running("/a").len(), 4);
    cluster.update("/a", r#"{"cmd":"run 1","instances":3}"#);
    let now: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    assert!(
        healthy.is_subset(&now),
        "the three that serve are the three that must"
    );
}

#[test]
fn what_waits_is_not_launched_beyond_maximum_over_capacity() {
    let mut cluster = Cluster::new(2);
    let more =
        json!({ "upgradeStrategy": strategy(0.0, 0.0), "constraints": [["hostname", "UNIQUE"]] });
    cluster.create(&app(&more));
    cluster.pass(1);
    let old = cluster.running("/a")[0].clone();
    let applied = cluster.call(ApiCall::Apply {
        body: r#"{"id":"/a","cmd":"run 1"}"#.into(),
        partial: true,
        force: false,
        deadline_seconds: None,
        trial: Trial::parse(Some("1"), false, None).unwrap(),
    });
    let deployment = body(&applied)["deploymentId"].as_str().unwrap().to_owned();
    cluster.pass(1);
    let tried = cluster
        .running("/a")
        .into_iter()
        .find(|task| *task != old)
        .unwrap();
    // The new one cannot be told to end, the old one has ended and waits: it was there before the deployment that brings it back.
    let away = cluster.tasks[&tried].agent;
    cluster.agents[away].alive = false;
    cluster.report(&old, TaskState::TaskFailed);
    cluster.run();
    let answer = cluster.call(ApiCall::CancelDeployment {
        id: deployment,
        force: false,
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
    cluster.pass(3);
    assert_eq!(
        cluster.running("/a"),
        std::slice::from_ref(&tried),
        "one is all that may run"
    );
    cluster.report(&tried, TaskState::TaskKilled);
    cluster.agents[away].alive = true;
    cluster.run();
    cluster.pass(3);
    assert_eq!(cluster.running("/a").len(), 1);
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn old_instances_that_never_became_ready_do_not_keep_their_successors_out() {
    let mut cluster = Cluster::new(1);
    cluster.readiness = 503;
    let more = json!({ "instances": 3, "upgradeStrategy": strategy(0.5, 0.2),
        "readinessChecks": [{ "portName": "main" }], "portDefinitions": [{ "port": 0, "name": "main" }] });
    cluster.create(&app(&more));
    cluster.pass(3);
    let stuck: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    assert_eq!(
        (stuck.len(), cluster.deployments()[0]["totalSteps"].clone()),
        (3, json!(2))
    );
    cluster.readiness = 200;
    // Nobody asks the old ones any more.
    cluster.probes.clear();
    cluster.call(update("/a", r#"{"cmd":"run 1"}"#, true));
    cluster.pass(5);
    assert_eq!(cluster.deployments(), json!([]));
    let now: BTreeSet<String> = cluster.running("/a").into_iter().collect();
    assert!(now.len() == 3 && now.is_disjoint(&stuck));
}

#[test]
fn an_instance_whose_volume_was_never_made_is_given_up() {
    let mut cluster = Cluster::new(1);
    cluster
        .behaviour
        .insert("run 0".to_owned(), Behaviour::Hangs);
    cluster.create(&resident());
    let first = cluster.tasks.keys().next().unwrap().clone();
    let made = volumes(&cluster.tasks[&first].info);
    // The agent has reserved, and cannot make the volume.
    cluster.agents[0].conversions.pop();
    cluster.behaviour.clear();
    cluster.report(&first, TaskState::TaskFailed);
    cluster.run();
    cluster.pass(90);
    let running = cluster.running("/data/a");
    assert_eq!(running.len(), 1, "another has taken its place");
    assert_ne!(volumes(&cluster.tasks[&running[0]].info), made);
    assert_eq!(cluster.reserved().len(), 1, "and its reservation is free");
}

#[test]
fn a_task_that_was_taken_for_lost_and_lives_makes_room_for_its_instance() {
    let mut cluster = Cluster::new(1);
    cluster.create(&resident());
    cluster.pass(1);
    let task = cluster.running("/data/a")[0].clone();
    says(&mut cluster, &task, TaskState::TaskGone);
    cluster.pass(3);
    assert_eq!(
        cluster.running("/data/a"),
        std::slice::from_ref(&task),
        "what it keeps is in use"
    );
    says(&mut cluster, &task, TaskState::TaskRunning);
    cluster.pass(3);
    let running = cluster.running("/data/a");
    assert!(running.len() == 1 && running[0] != task, "{running:?}");
}

#[test]
fn a_deployment_locks_what_it_has_deleted_also_after_a_failover() {
    let mut cluster = Cluster::new(1);
    cluster
        .behaviour
        .insert("hang".to_owned(), Behaviour::Hangs);
    let group = |cmd: &str, id: &str| {
        let apps = json!([{ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 1 }]);
        ApiCall::UpdateGroup {
            id: "/g".to_owned(),
            body: json!({ "apps": apps }).to_string().into(),
            force: false,
            dry_run: false,
        }
    };
    cluster.call(group("run", "a"));
    // `/g/a` goes, and `/g/b` takes for ever.
    cluster.call(group("hang", "b"));
    cluster.pass(1);
    cluster.fail_over();
    cluster.run();
    let again = cluster.create(r#"{"id":"/g/a","cmd":"run","cpus":0.1,"mem":1}"#);
    assert_eq!(again.status, 409, "{}", body(&again));
    let forced = cluster.call(update("/g/a", r#"{"cmd":"run","cpus":0.1,"mem":1}"#, true));
    assert_eq!(forced.status, 201, "{}", body(&forced));
    cluster.pass(1);
    assert_eq!(cluster.running("/g/a").len(), 1);
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn what_was_left_on_an_agent_that_does_not_return_is_given_up_after_a_day() {
    let mut cluster = Cluster::new(2);
    cluster.create(&resident());
    cluster.pass(1);
    let task = cluster.running("/data/a")[0].clone();
    let agent = cluster.tasks[&task].agent;
    cluster.agents[agent].alive = false;
    cluster.report(&task, TaskState::TaskGone);
    kill(&mut cluster, "/data/a", &task, true);
    cluster.call(delete("/data/a"));
    cluster.pass(60);
    let left = |cluster: &Cluster| {
        let keys = cluster.store.keys();
        keys.filter(|key| key.starts_with("remains/")).count()
    };
    assert_eq!(left(&cluster), 1);
    cluster.now += Duration::from_secs(2 * 24 * 3600);
    cluster.outputs.clear();
    cluster.push(Input::Tick);
    cluster.run();
    assert_eq!(left(&cluster), 0);
    assert!(
        cluster.outputs.contains(&"suppress".to_owned()),
        "nothing is waited for"
    );
    // Should it come back after all, what is there is freed.
    cluster.agents[agent].alive = true;
    cluster.offer();
    cluster.run();
    assert_eq!(cluster.reserved(), BTreeSet::new());
}

#[test]
fn while_a_daemon_app_is_replaced_an_end_on_one_agent_has_others_asked_for() {
    let mut cluster = Cluster::new(3);
    let more = json!({ "upgradeStrategy": strategy(0.7, 0.0), "cpus": 0.1 });
    cluster.create(&daemons::daemon(&more));
    cluster.offer();
    cluster.run();
    cluster.pass(2);
    let old = cluster.running("/d");
    assert_eq!(old.len(), 3);
    // Nothing that is killed ends, until it is told.
    for agent in &mut cluster.agents {
        agent.alive = false;
    }
    cluster.update("/d", r#"{"cmd":"run 1"}"#);
    cluster.agents[0].alive = true;
    cluster.offer();
    cluster.agents[0].alive = false;
    cluster.run();
    cluster.pass(2);
    let reasons = daemons::explain(&mut cluster, "/d")["reasons"].clone();
    let told = reasons.as_array().unwrap().iter();
    let told = told.filter_map(Value::as_str);
    assert!(
        told.clone().any(|one| one.contains("of an older version")),
        "{reasons}"
    );
    let ended = old.iter().find(|task| cluster.tasks[*task].agent == 0);
    cluster.outputs.clear();
    cluster.report(ended.unwrap(), TaskState::TaskKilled);
    cluster.run_some(10);
    assert!(cluster.outputs.contains(&"revive".to_owned()));
}

#[test]
fn after_a_teardown_an_instance_comes_back_to_what_it_keeps() {
    let mut cluster = Cluster::new(1);
    cluster.create(&resident());
    cluster.pass(1);
    let first = cluster.running("/data/a")[0].clone();
    let made = volumes(&cluster.tasks[&first].info);
    // The master ends the framework, its tasks and what it knows of them; what was reserved stays. It asks for nothing but another id.
    cluster.disconnect();
    cluster.report(&first, TaskState::TaskGone);
    cluster.framework_id = "framework-2".to_owned();
    cluster.register();
    cluster.run();
    cluster.pass(30);
    let second = cluster.running("/data/a")[0].clone();
    assert_ne!(first, second);
    assert_eq!(volumes(&cluster.tasks[&second].info), made);
    // So it is for the next leader; and in the end nothing is left.
    cluster.fail_over();
    cluster.report(&second, TaskState::TaskFailed);
    cluster.run();
    cluster.pass(30);
    let third = cluster.running("/data/a")[0].clone();
    assert_eq!(volumes(&cluster.tasks[&third].info), made);
    cluster.call(delete("/data/a"));
    cluster.pass(30);
    assert_eq!(cluster.reserved().len(), 0);
}

#[test]
fn a_kill_that_was_decided_is_carried_out_by_the_next_leader() {
    let mut cluster = Cluster::new(1);
    cluster.create(&app(&json!({})));
    let first = cluster.running("/a");
    cluster.send(ApiCall::KillAppTask {
        id: "/a".to_owned(),
        task_id: first[0].clone(),
        scale: false,
        wipe: false,
        force: false,
    });
    // It is stored; nobody was told to kill anything.
    cluster.run_some(1);
    assert_eq!(cluster.running("/a"), first);
    cluster.fail_over();
    cluster.pass(30);
    let second = cluster.running("/a");
    assert_eq!(second.len(), 1);
    assert_ne!(second, first);
}

#[test]
fn health_that_only_another_leader_was_told_of_is_heard_by_asking() {
    let mut cluster = Cluster::new(1);
    let check = json!([{ "protocol": "COMMAND", "command": { "value": "probe" }, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0 }]);
    cluster.create(&app(&json!({ "healthChecks": check })));
    let task = cluster.running("/a")[0].clone();
    let mut hear = |healthy: bool, asked: bool| {
        cluster.report_health(&task, healthy);
        if let (Some(Input::TaskUpdate(status)), true) = (cluster.inputs.back_mut(), asked) {
            status.reason = Some(Reason::Reconciliation.into());
        }
        cluster.run();
        let found = &cluster.app("/a")["tasks"][0]["healthCheckResults"][0];
        (
            found["alive"].as_bool().unwrap(),
            found["consecutiveFailures"].as_u64().unwrap(),
        )
    };
    for (healthy, asked, failures) in [
        (true, false, 0),
        (false, false, 1),
        // It is not found out again, only told again.
        (false, true, 1),
        (true, true, 0),
        (false, true, 1),
        (false, false, 2),
    ] {
        assert_eq!(hear(healthy, asked), (healthy, failures));
    }
}

#[test]
fn tasks_that_cannot_be_told_to_end_keep_no_other_from_ending() {
    let config = Config {
        kill_chunk_size: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::with(2, config);
    cluster.create(&resident());
    cluster.pass(1);
    let away = cluster.running("/data/a")[0].clone();
    let at = cluster.tasks[&away].agent;
    cluster.agents[at].alive = false;
    cluster.create(&app(&json!({ "instances": 2 })));
    cluster.pass(1);
    // Its end is under way when the agent is lost, and asked for once more after that.
    kill(&mut cluster, "/data/a", &away, false);
    cluster.report(&away, TaskState::TaskUnreachable);
    cluster.run();
    cluster.update("/data/a", r#"{"instances":0}"#);
    cluster.update("/a", r#"{"instances":1}"#);
    cluster.pass(1);
    assert_eq!(cluster.running("/a").len(), 1);
    assert_eq!(cluster.deployments(), json!([]));
    // It is heard of again.
    cluster.agents[at].alive = true;
    cluster.report(&away, TaskState::TaskRunning);
    cluster.pass(1);
    assert_eq!(cluster.running("/data/a"), [""; 0]);
}

#[test]
fn a_deployment_waits_for_no_instance_that_was_given_up() {
    let mut cluster = Cluster::new(2);
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    let strategy = json!({ "inactiveAfterSeconds": 2, "expungeAfterSeconds": 1000 });
    cluster.create(&app(&json!({ "unreachableStrategy": strategy })));
    cluster.pass(1);
    let lost = cluster.tasks.keys().next().unwrap().clone();
    let at = cluster.tasks[&lost].agent;
    cluster.agents[at].alive = false;
    cluster.behaviour.clear();
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.pass(1);
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
    // It may come back, yet another is launched in its place.
    cluster.pass(4);
    assert_eq!(cluster.running("/a").len(), 1);
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn what_was_freed_and_is_offered_again_is_freed_again() {
    let mut cluster = Cluster::new(1);
    cluster.create(&resident());
    cluster.pass(1);
    let made = cluster.agents[0].conversions.clone();
    cluster.send(delete("/data/a"));
    cluster.pass(30);
    assert_eq!(cluster.reserved().len(), 0);
    // The agent never heard of it, and the master that did not know that now hears from it.
    cluster.agents[0].conversions = made;
    cluster.offers_due = true;
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 0);
    // It is not waited for longer than it takes to be sure.
    cluster.pass(180);
    let left = cluster
        .store
        .keys()
        .filter(|key| key.starts_with("remains/"));
    assert_eq!(left.count(), 0);
}
