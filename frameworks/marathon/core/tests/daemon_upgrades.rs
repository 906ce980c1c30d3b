//! How daemon apps are replaced, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{
    Behaviour, Cluster, body,
    daemons::{daemon, explain, lose, one_on, places},
};
use serde_json::{Value, json};
use tepui_marathon_core::ApiCall;
use tepui_proto::mesos::{TaskState, task_status::Reason};

/// Tasks that run this, with their agents.
fn of(cluster: &Cluster, command: &str) -> Vec<(String, usize)> {
    let tasks = cluster.tasks.iter();
    let tasks = tasks.filter(|(_, task)| task.info.command.as_ref().unwrap().value() == command);
    tasks.map(|(id, task)| (id.clone(), task.agent)).collect()
}

/// A daemon app on so many agents whose upgrade has begun; its new instances start and do not run.
fn half_way(agents: usize, strategy: &Value, more: &Value) -> Cluster {
    let mut cluster = Cluster::new(agents);
    let mut app = json!({ "upgradeStrategy": strategy });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    cluster.create(&daemon(&app));
    cluster.pass(1);
    let hangs = Behaviour::Hangs;
    cluster.behaviour.insert("run 1".to_owned(), hangs);
    cluster.update("/d", r#"{"cmd":"run 1"}"#);
    cluster.pass(1);
    cluster
}

/// The new instances run after all.
fn let_run(cluster: &mut Cluster) {
    cluster.behaviour.clear();
    for (task, _) in of(cluster, "run 1") {
        cluster.report(&task, TaskState::TaskRunning);
    }
    cluster.run();
}

/// So many seconds, with what is free offered every minute.
fn pass_with_offers(cluster: &mut Cluster, seconds: u64) {
    for _ in 0..seconds / 60 {
        cluster.offer();
        cluster.pass(60);
    }
}

#[test]
fn an_upgrade_goes_agent_by_agent_within_the_strategy() {
    for (minimum, over, least, most) in [
        (1.0, 1.0, 4, 8),
        (0.5, 0.0, 2, 4),
        (1.0, 0.25, 4, 5),
        (1.0, 0.0, 4, 5),
        (0.0, 0.0, 0, 4),
    ] {
        let mut cluster = Cluster::new(4);
        let strategy = json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over });
        cluster.create(&daemon(&json!({ "upgradeStrategy": strategy })));
        cluster.pass(1);
        let readiness = json!({ "cmd": "run 1", "upgradeStrategy": strategy });
        cluster.send(cluster::update("/d", &readiness.to_string(), false));
        let mut seen = (usize::MAX, 0);
        for step in 0..10_000 {
            cluster.run_some(1);
            if step % 7 == 3 && step < 200 {
                cluster.offer();
            }
            if step == 11 {
                // Nothing of what it knows of the upgrade may be lost with the leader.
                cluster.fail_over();
            }
            let running = cluster.running("/d").len();
            seen = (seen.0.min(running), seen.1.max(cluster.tasks.len()));
            for (agent, count) in places(&cluster, "/d") {
                assert!(count <= 2, "{count} on {agent}");
            }
        }
        cluster.run();
        cluster.pass(2);
        assert_eq!(cluster.deployments(), json!([]), "{minimum} {over}");
        assert_eq!(places(&cluster, "/d"), one_on(&[0, 1, 2, 3]));
        let old = cluster
            .tasks
            .values()
            .filter(|task| task.info.command.as_ref().unwrap().value() == "run 0");
        assert_eq!(old.count(), 0);
        assert!(
            seen.0 >= least && seen.1 <= most,
            "{minimum} {over}: {seen:?}"
        );
    }
}

#[test]
fn however_many_an_app_had_it_becomes_a_daemon_app() {
    for (instances, agents, strategy) in [
        (7, 3, (1.0, 1.0)),
        (2, 1, (1.0, 1.0)),
        (5, 3, (1.0, 0.0)),
        (9, 2, (0.5, 0.0)),
    ] {
        let mut cluster = Cluster::new(agents);
        let strategy =
            json!({ "minimumHealthCapacity": strategy.0, "maximumOverCapacity": strategy.1 });
        let app = json!({ "id": "/n", "cmd": "run 0", "cpus": 0.1, "mem": 1, "instances": instances, "upgradeStrategy": strategy });
        cluster.create(&app.to_string());
        cluster.pass(1);
        cluster.update("/n", r#"{"labels":{"TEPUI_DAEMON":"true"}}"#);
        cluster.pass(2);
        let all: Vec<usize> = (0..agents).collect();
        assert_eq!(
            (places(&cluster, "/n"), cluster.deployments()),
            (one_on(&all), json!([])),
            "{instances} on {agents}"
        );
    }
}

#[test]
fn an_upgrade_does_not_wait_for_agents_that_are_drained_or_unknown() {
    for (state, reason) in [
        (TaskState::TaskKilled, Some(Reason::AgentDraining)),
        (TaskState::TaskGoneByOperator, Some(Reason::AgentDraining)),
        (TaskState::TaskUnknown, None),
    ] {
        for (agents, minimum, over) in [(3, 0.5, 0.0), (2, 0.5, 0.0), (3, 1.0, 0.25)] {
            let strategy = json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over });
            let port = json!({ "requirePorts": agents == 3 && over == 0.0, "portDefinitions": [{ "port": 31500 }] });
            let mut cluster = half_way(agents, &strategy, &port);
            let new = of(&cluster, "run 1");
            let agent = new[0].1;
            cluster.agents[agent].alive = false;
            let there = cluster.tasks.iter();
            let there: Vec<String> = there
                .filter(|(_, task)| task.agent == agent)
                .map(|(id, _)| id.clone())
                .collect();
            for task in there {
                cluster.report_because(&task, state, reason);
            }
            let_run(&mut cluster);
            cluster.pass(3);
            let others: Vec<usize> = (0..agents).filter(|one| *one != agent).collect();
            assert_eq!(
                (places(&cluster, "/d"), cluster.deployments()),
                (one_on(&others), json!([])),
                "{state:?} {agents} {minimum} {over}"
            );
            assert_eq!(of(&cluster, "run 0"), []);
        }
    }
}

#[test]
fn an_agent_that_is_offered_no_more_holds_up_no_others_and_is_told_of() {
    let strategy = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 });
    let mut cluster = half_way(3, &strategy, &json!({}));
    let (task, agent) = of(&cluster, "run 1").remove(0);
    // Nobody tells why.
    cluster.agents[agent].alive = false;
    cluster.report(&task, TaskState::TaskKilled);
    let_run(&mut cluster);
    pass_with_offers(&mut cluster, 120);
    assert_eq!(of(&cluster, "run 0").len(), 2, "it may be offered yet");
    let reasons = explain(&mut cluster, "/d")["reasons"].clone();
    assert_eq!(
        reasons,
        json!(["1 agent that had an instance when this step began has none and is waited for"])
    );
    pass_with_offers(&mut cluster, 240);
    assert_eq!(
        (of(&cluster, "run 0").len(), cluster.running("/d").len()),
        (0, 2)
    );
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn an_agent_is_waited_for_while_the_new_version_fails_there() {
    let strategy = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 });
    let mut cluster = half_way(4, &strategy, &json!({ "maxLaunchDelaySeconds": 60 }));
    for _ in 0..20 {
        for (task, _) in of(&cluster, "run 1") {
            cluster.report(&task, TaskState::TaskFailed);
        }
        cluster.run();
        pass_with_offers(&mut cluster, 60);
        let old = of(&cluster, "run 0").len();
        assert_eq!(old, 2, "no more than the strategy lets go");
    }
    assert!(cluster.launched.len() > 20);
    // Also where a launch was lost: the master knows the agent, and no such task.
    let mut cluster = half_way(3, &strategy, &json!({}));
    let (task, _) = of(&cluster, "run 1").remove(0);
    let unknown = Some(Reason::Reconciliation);
    cluster.report_because(&task, TaskState::TaskGone, unknown);
    cluster.run();
    assert_eq!(of(&cluster, "run 0").len(), 2);
    // Also while it waits for longer than others need to be offered.
    let long = json!({ "backoffSeconds": 300, "maxLaunchDelaySeconds": 300 });
    let mut cluster = half_way(3, &strategy, &long);
    let (task, _) = of(&cluster, "run 1").remove(0);
    cluster.report(&task, TaskState::TaskFailed);
    pass_with_offers(&mut cluster, 240);
    cluster.offer();
    cluster.pass(50);
    assert_eq!(
        (of(&cluster, "run 0").len(), of(&cluster, "run 1").len()),
        (2, 0)
    );
    cluster.pass(20);
    assert_eq!(of(&cluster, "run 1").len(), 1);
}

#[test]
fn an_old_instance_that_was_away_during_an_upgrade_is_not_kept() {
    let mut cluster = Cluster::new(3);
    let unreachable = json!({ "inactiveAfterSeconds": 5, "expungeAfterSeconds": 1000 });
    cluster.create(&daemon(&json!({ "unreachableStrategy": unreachable })));
    cluster.pass(1);
    lose(&mut cluster, 1);
    cluster.pass(10);
    cluster.update("/d", r#"{"cmd":"run 1"}"#);
    cluster.pass(3);
    assert_eq!(
        (cluster.running("/d").len(), cluster.deployments()),
        (2, json!([]))
    );
    cluster.agents[1].alive = true;
    for (task, _) in of(&cluster, "run 0") {
        cluster.report(&task, TaskState::TaskRunning);
    }
    cluster.run();
    cluster.offer();
    cluster.pass(2);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 1, 2]));
    assert_eq!(of(&cluster, "run 0"), []);
}

#[test]
fn an_agent_that_is_lost_with_both_versions_is_lost_once() {
    let strategy = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25 });
    let mut cluster = half_way(4, &strategy, &json!({}));
    let (old, new) = (of(&cluster, "run 0"), of(&cluster, "run 1"));
    assert_eq!((old.len(), new.len()), (2, 3));
    let beside = |agent: &usize| old.iter().any(|(_, one)| one == agent);
    let (_, both) = new.iter().find(|(_, agent)| beside(agent)).unwrap();
    let mut alone = new.iter().filter(|(_, agent)| !beside(agent));
    let (fails, runs) = (alone.next().unwrap(), alone.next().unwrap());
    for (task, _) in old.iter().chain(&new).filter(|(_, agent)| agent == both) {
        cluster.report(task, TaskState::TaskGone);
    }
    cluster.agents[*both].alive = false;
    cluster.run();
    cluster.report(&runs.0, TaskState::TaskRunning);
    cluster.agents[fails.1].alive = false;
    cluster.report(&fails.0, TaskState::TaskFailed);
    cluster.run();
    // Three agents are left, and two of them have to be served.
    assert_eq!(
        (of(&cluster, "run 0").len(), cluster.running("/d").len()),
        (1, 2)
    );
    cluster.pass(1);
    cluster.agents[fails.1].alive = true;
    let_run(&mut cluster);
    pass_with_offers(&mut cluster, 120);
    assert_eq!(
        (of(&cluster, "run 0").len(), cluster.running("/d").len()),
        (0, 3)
    );
    assert_eq!(cluster.deployments(), json!([]));
}

#[test]
fn a_plan_counts_agents() {
    for daemon_before in [true, false] {
        let mut cluster = Cluster::new(3);
        let mut labels = json!({});
        if daemon_before {
            labels = json!({ "TEPUI_DAEMON": "true" });
        }
        let app = json!({ "id": "/d", "cmd": "run 0", "cpus": 0.1, "mem": 1, "instances": 7, "labels": labels });
        cluster.create(&app.to_string());
        cluster.pass(1);
        let document = json!({ "id": "/d", "cmd": "run 1", "labels": { "TEPUI_DAEMON": "true" } });
        let plan = body(&cluster.call(ApiCall::Plan {
            body: document.to_string().into(),
            partial: true,
            trial: None,
        }));
        let planned = &plan["apps"][0];
        assert_eq!(
            (&planned["minimumHealthy"], &planned["maximumRunning"]),
            (&json!(3), &json!(6)),
            "{planned}"
        );
    }
}

#[test]
fn agents_that_the_constraints_leave_out_are_not_told_of_while_others_are_waited_for() {
    let mut cluster = Cluster::new(3);
    let windows = ("os".to_owned(), "windows".to_owned());
    cluster.agents[2].attributes = [windows].into();
    let strategy = json!({ "minimumHealthCapacity": 0, "maximumOverCapacity": 0 });
    let constraints = json!([["os", "UNLIKE", "windows"]]);
    cluster.create(&daemon(
        &json!({ "upgradeStrategy": strategy, "constraints": constraints }),
    ));
    cluster.pass(1);
    assert_eq!(places(&cluster, "/d"), one_on(&[0, 1]));
    let hosts = |answer: &Value, list: &str| -> Vec<String> {
        let agents = answer[list].as_array().unwrap().iter();
        agents
            .map(|agent| agent["host"].as_str().unwrap().to_owned())
            .collect()
    };
    // The old ones are ended, and nothing has room for the new ones.
    cluster.update("/d", r#"{"cpus":100}"#);
    pass_with_offers(&mut cluster, 60);
    assert_eq!(places(&cluster, "/d"), one_on(&[]));
    let answer = explain(&mut cluster, "/d");
    assert_eq!(hosts(&answer, "agents"), ["host0", "host1"]);
    assert_eq!(hosts(&answer, "leftOut"), ["host2"]);
    let told = answer["reasons"].to_string();
    assert!(told.contains("cpus short by 92"), "{told}");
    assert!(!told.contains("windows"), "{told}");
    // Constraints are those of now, also for what was offered before.
    let change = json!({ "constraints": [["os", "LIKE", "windows"]] });
    cluster.call(cluster::update("/d", &change.to_string(), true));
    let answer = explain(&mut cluster, "/d");
    assert_eq!(hosts(&answer, "agents"), ["host2"]);
    // Where it is nowhere for its constraints alone, they are what is to be told.
    let change = json!({ "constraints": [["os", "LIKE", "plan9"]] });
    cluster.call(cluster::update("/d", &change.to_string(), true));
    cluster.call(ApiCall::CancelDeployment {
        id: cluster.deployments()[0]["id"].as_str().unwrap().to_owned(),
        force: true,
    });
    pass_with_offers(&mut cluster, 60);
    let answer = explain(&mut cluster, "/d");
    assert_eq!(hosts(&answer, "agents"), ["host0", "host1", "host2"]);
    assert_eq!(hosts(&answer, "leftOut"), Vec::<String>::new());
}
