//! What Marathon has beyond Marathon, on real daemons: daemon apps, trials, ordinals and autoscaling.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{get_json, post, put},
    cluster::{active_agents, deploy, running, sleeper, tasks, whole},
    until,
};

/// What `/v3` says of an app's instances.
fn instances(marathon: &str, app: &str) -> Vec<Value> {
    let answer = get_json(&format!("{marathon}/v3/apps{app}/instances")).unwrap_or_default();
    answer["instances"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_daemon_app_follows_agents_as_they_come_and_go() {
    let (mut cluster, master, _agent, marathon) = whole(&[]);
    let mut app = sleeper("/everywhere", 1);
    app["labels"] = json!({ "TEPUI_DAEMON": "true" });
    let _ = deploy(&marathon.url, &app, 1);
    let mut second = cluster.agent(&[]);
    let _ = running(&marathon.url, "/everywhere", 2);
    let tasks = tasks(&marathon.url, "/everywhere", "TASK_RUNNING");
    let agents: BTreeSet<&str> = tasks
        .iter()
        .filter_map(|task| task["slaveId"].as_str())
        .collect();
    assert_eq!(agents.len(), 2, "{tasks:?}");
    // An agent that is upgraded has its instance still.
    let before = running(&marathon.url, "/everywhere", 2);
    second.kill();
    until("the loss of the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    second.restart();
    until("both agents", PATIENCE, || {
        (active_agents(&master.url) == 2).then_some(())
    });
    assert_eq!(running(&marathon.url, "/everywhere", 2), before);
}

#[test]
fn a_trial_waits_over_a_restart_of_marathon_until_it_is_promoted() {
    let (_cluster, _master, _agent, mut marathon) = whole(&[]);
    let old: BTreeSet<String> = deploy(&marathon.url, &sleeper("/shop", 2), 2)
        .into_iter()
        .collect();
    let mut new = sleeper("/shop", 2);
    new["env"] = json!({ "RELEASE": "2" });
    let applied = post(&format!("{}/v3/apply?canary=1", marathon.url), &new).expect("an answer");
    assert!((200..300).contains(&applied.status), "{}", applied.body);
    let both: BTreeSet<String> = running(&marathon.url, "/shop", 3).into_iter().collect();
    assert!(both.is_superset(&old), "{both:?} has not all of {old:?}");
    marathon.kill();
    marathon.restart();
    let deployment = until("the trial to be ready", PATIENCE, || {
        let all = get_json(&format!("{}/v3/deployments", marathon.url))?;
        let one = all["deployments"]
            .as_array()
            .or(all.as_array())?
            .first()?
            .clone();
        (one["trial"]["apps"][0]["ready"] == 1).then(|| one["id"].as_str().map(str::to_owned))?
    });
    assert_eq!(
        running(&marathon.url, "/shop", 3)
            .into_iter()
            .collect::<BTreeSet<_>>(),
        both
    );
    let promote = format!("{}/v3/deployments/{deployment}/promote", marathon.url);
    let promoted = post(&promote, &json!({})).expect("an answer");
    assert!((200..300).contains(&promoted.status), "{}", promoted.body);
    until("only the new version", PATIENCE, || {
        let all: BTreeSet<String> = running(&marathon.url, "/shop", 2).into_iter().collect();
        all.is_disjoint(&old).then_some(())
    });
}

#[test]
fn instances_are_numbered_and_told_their_number() {
    let (_cluster, _master, _agent, marathon) = whole(&[]);
    let mut app = sleeper("/quorum", 3);
    app["labels"] = json!({ "TEPUI_ORDINALS": "true" });
    // One that is not told its number ends.
    app["cmd"] = json!("test \"$TEPUI_INSTANCE_ORDINAL\" -ge 0 && exec sleep 1000");
    let _ = deploy(&marathon.url, &app, 3);
    let ordinals = |count: usize| {
        until("the ordinals", PATIENCE, || {
            let all = instances(&marathon.url, "/quorum");
            let numbers: BTreeSet<u64> = all
                .iter()
                .filter_map(|one| one["ordinal"].as_u64())
                .collect();
            (all.len() == count).then_some(numbers)
        })
    };
    assert_eq!(ordinals(3), BTreeSet::from([0, 1, 2]));
    let scale = |count: u32| {
        let url = format!("{}/v2/apps/quorum", marathon.url);
        let scaled = put(&url, &json!({ "instances": count })).expect("an answer");
        assert_eq!(scaled.status, 200, "{}", scaled.body);
    };
    scale(2);
    assert_eq!(ordinals(2), BTreeSet::from([0, 1]));
}

/// A page of metrics with one number on it that the test sets.
fn gauge(number: Arc<AtomicU32>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let page = format!("# TYPE waiting gauge\nwaiting {}\n", number.load(SeqCst));
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close";
            let _ = write!(
                stream,
                "{head}\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            );
        }
    });
    url
}

#[test]
fn an_app_has_as_many_instances_as_a_number_asks_for() {
    let (_cluster, _master, _agent, marathon) = whole(&[]);
    let _ = deploy(&marathon.url, &sleeper("/workers", 1), 1);
    let waiting = Arc::new(AtomicU32::new(30));
    let settings = json!({ "minInstances": 1, "maxInstances": 4, "target": 10.0, "intervalSeconds": 1,
        "scaleUpCooldownSeconds": 0, "scaleDownCooldownSeconds": 0,
        "metric": { "type": "prometheus", "url": gauge(Arc::clone(&waiting)), "sample": "waiting" } });
    let url = format!("{}/v3/apps/workers/autoscaling", marathon.url);
    let set = put(&url, &settings).expect("an answer");
    assert!((200..300).contains(&set.status), "{}", set.body);
    let _ = running(&marathon.url, "/workers", 3);
    waiting.store(900, SeqCst);
    let _ = running(&marathon.url, "/workers", 4);
    waiting.store(1, SeqCst);
    let _ = running(&marathon.url, "/workers", 1);
}
