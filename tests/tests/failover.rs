//! Masters, ZooKeeper and Marathon are killed; tasks, agents and frameworks are not disturbed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use tepui_tests::{
    PATIENCE,
    client::{get, get_json, put},
    clock::Clock,
    cluster::{Cluster, Daemon, active_agents, deploy, led, running, sleeper},
    until,
    zookeeper::Ensemble,
};

/// Each test has servers and daemons of its own, and the time that they take is part of what is tested: one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session time-out of the daemons' default, and the two seconds within which everything is back after it.
const BACK_WITHIN: Duration = Duration::from_secs(4 + 2);

/// The masters' number that leads, as it says itself.
fn leader(masters: &[Daemon]) -> Option<usize> {
    masters.iter().position(|master| {
        get_json(&format!("{}/metrics/snapshot", master.url))
            .is_some_and(|metrics| metrics["master/elected"] == 1.0)
    })
}

fn subscribed(master: &str) -> bool {
    let frameworks = get_json(&format!("{master}/frameworks")).unwrap_or_default();
    frameworks["frameworks"].as_array().is_some_and(|all| {
        all.iter()
            .any(|one| one["name"] == "marathon" && one["connected"] == true)
    })
}

#[track_caller]
fn scale(marathon: &str, app: &str, instances: u32) {
    let scaled = until("a scale-up to be accepted", PATIENCE, || {
        put(
            &format!("{marathon}/v2/apps{app}?force=true"),
            &json!({ "instances": instances }),
        )
        .filter(|answer| answer.status == 200)
    });
    assert!(scaled.json()["deploymentId"].is_string(), "{}", scaled.body);
}

#[test]
fn a_killed_leader_is_replaced_within_the_session_timeout() {
    let _alone = alone();
    let ensemble = Ensemble::start(3);
    let mut cluster = Cluster::at(&ensemble.url("/mesos"));
    let mut masters = vec![
        cluster.master(&[]),
        cluster.master(&[]),
        cluster.master(&[]),
    ];
    let _agents = [cluster.agent(&[]), cluster.agent(&[])];
    let marathon = cluster.marathon(&[]);
    let first = until("a leader", PATIENCE, || leader(&masters));
    until("both agents", PATIENCE, || {
        (active_agents(&masters[first].url) == 2).then_some(())
    });
    let tasks = deploy(&marathon.url, &sleeper("/web", 4), 4);

    // A master that does not lead sends its clients to the one that does.
    let follower = &masters[(first + 1) % 3];
    until("a redirect", PATIENCE, || {
        get(&format!("{}/slaves", follower.url)).filter(|answer| answer.status == 200)
    });

    let clock = Clock::start();
    masters[first].kill();
    let second = until("a new leader", PATIENCE, || leader(&masters));
    assert_ne!(first, second);
    until("agents and framework", PATIENCE, || {
        (active_agents(&masters[second].url) == 2 && subscribed(&masters[second].url)).then_some(())
    });
    let took = clock.now();
    assert!(took < BACK_WITHIN, "it took {took:?}");
    println!("back {took:?} after the kill");
    assert_eq!(
        running(&marathon.url, "/web", 4),
        tasks,
        "running tasks were not disturbed"
    );
    scale(&marathon.url, "/web", 6);
    let scaled = running(&marathon.url, "/web", 6);
    assert!(
        tasks.iter().all(|task| scaled.contains(task)),
        "{tasks:?} are among {scaled:?}"
    );
}

#[test]
fn nothing_is_disturbed_while_zookeeper_is_gone() {
    let _alone = alone();
    let mut ensemble = Ensemble::start(3);
    let mut cluster = Cluster::at(&ensemble.url("/mesos"));
    let masters = vec![cluster.master(&[]), cluster.master(&[])];
    let _agent = cluster.agent(&[]);
    let marathon = cluster.marathon(&[]);
    let first = until("a leader", PATIENCE, || leader(&masters));
    let tasks = deploy(&marathon.url, &sleeper("/web", 3), 3);
    let frameworks = masters[first].get("/frameworks");

    ensemble.kill_all();
    // The length of the outage is what is tested; reads and tasks go on all the time.
    let outage = Instant::now();
    while outage.elapsed() < Duration::from_secs(15) {
        let state = get_json(&format!("{}/slaves", masters[first].url)).expect("reads go on");
        assert_eq!(
            state["slaves"][0]["active"], true,
            "the agent stays connected"
        );
        assert_eq!(running(&marathon.url, "/web", 3), tasks);
        std::thread::sleep(Duration::from_millis(200));
    }
    ensemble.start_all();
    let second = until("a leader", PATIENCE, || leader(&masters));
    assert_eq!(
        running(&marathon.url, "/web", 3),
        tasks,
        "running tasks were not disturbed"
    );
    if first == second {
        let id = |document: &serde_json::Value| document["frameworks"][0]["id"].clone();
        // It may have been elected anew.
        let now = until("the framework", PATIENCE, || {
            let document = get_json(&format!("{}/frameworks", masters[second].url))?;
            Some(id(&document)).filter(serde_json::Value::is_string)
        });
        assert_eq!(id(&frameworks), now);
    }
    scale(&marathon.url, "/web", 5);
    let scaled = running(&marathon.url, "/web", 5);
    assert!(
        tasks.iter().all(|task| scaled.contains(task)),
        "{tasks:?} are among {scaled:?}"
    );
}

#[test]
fn a_master_without_zookeeper_has_its_agents_back_when_it_returns() {
    let _alone = alone();
    let mut cluster = Cluster::standalone();
    let mut master = cluster.master(&[]);
    let _agent = cluster.agent(&[]);
    let marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let tasks = deploy(&marathon.url, &sleeper("/web", 2), 2);
    let agents = master.get("/slaves")["slaves"][0]["id"].clone();
    master.kill();
    master.restart();
    let clock = Clock::start();
    until("agent and framework", PATIENCE, || {
        (active_agents(&master.url) == 1 && subscribed(&master.url)).then_some(())
    });
    let took = clock.now();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    println!("back {took:?} after the restart");
    assert_eq!(
        master.get("/slaves")["slaves"][0]["id"],
        agents,
        "the agent keeps its id"
    );
    assert_eq!(running(&marathon.url, "/web", 2), tasks);
    scale(&marathon.url, "/web", 3);
    let _ = running(&marathon.url, "/web", 3);
}

#[test]
fn a_marathon_that_returns_at_once_answers_nothing_before_it_can_show_all() {
    let _alone = alone();
    let ensemble = Ensemble::start(1);
    let mut cluster = Cluster::at(&ensemble.url("/mesos"));
    let _master = cluster.master(&[]);
    let mut marathon = cluster.marathon(&[]);
    let apps: Vec<_> = (0..500)
        .map(|at| json!({ "id": format!("app-{at}"), "cmd": "true", "cpus": 0.1, "mem": 1, "instances": 0 }))
        .collect();
    let url = format!("{}/v2/groups/many", marathon.url);
    let created = until("an answer of Marathon", PATIENCE, || {
        put(&url, &json!({ "apps": apps })).and_then(led)
    });
    assert!(created.status < 300, "{}", created.body);
    // The session of its former life lasts for a while: that one is still elected, under the same address.
    for _ in 0..2 {
        marathon.kill();
        marathon.restart();
        let all = until("all apps", PATIENCE, || {
            let answer = get(&format!("{}/v2/apps", marathon.url))?;
            for wrong in ["proxying loop", "Connection to leader refused"] {
                assert!(!answer.body.contains(wrong), "{}", answer.body);
            }
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!(all["apps"].as_array().map(Vec::len), Some(500));
    }
}

#[test]
fn marathons_elect_a_leader_and_pass_requests_on() {
    let _alone = alone();
    let ensemble = Ensemble::start(1);
    let mut cluster = Cluster::at(&ensemble.url("/mesos"));
    let master = cluster.master(&[]);
    let _agent = cluster.agent(&[]);
    let mut marathons = [cluster.marathon(&[]), cluster.marathon(&[])];
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let leads = |marathon: &Daemon| {
        let info = get_json(&format!("{}/v2/leader", marathon.url))?;
        Some(
            info["leader"]
                .as_str()?
                .ends_with(&format!(":{}", marathon.port)),
        )
    };
    let first = until("a leading Marathon", PATIENCE, || {
        marathons
            .iter()
            .position(|marathon| leads(marathon) == Some(true))
    });
    let other = 1 - first;
    // Created through the one that does not lead.
    let tasks = deploy(&marathons[other].url, &sleeper("/web", 2), 2);
    marathons[first].kill();
    until("the other to lead", PATIENCE, || {
        (leads(&marathons[other]) == Some(true)).then_some(())
    });
    assert_eq!(running(&marathons[other].url, "/web", 2), tasks);
    scale(&marathons[other].url, "/web", 3);
    let scaled = running(&marathons[other].url, "/web", 3);
    assert!(
        tasks.iter().all(|task| scaled.contains(task)),
        "{tasks:?} are among {scaled:?}"
    );
}
