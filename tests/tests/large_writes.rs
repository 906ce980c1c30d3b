//! A group of thousands of apps, whose write to ZooKeeper is cut off in its midst: it is there wholly or not at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{Answer, get, get_json, put_within},
    cluster::{Cluster, Daemon},
    until,
    zookeeper::Ensemble,
};

/// Each has two records, and a transaction takes a thousand.
const APPS: usize = 1500;

fn group(id: &str) -> Value {
    let apps: Vec<Value> = (0..APPS)
        .map(|at| json!({ "id": format!("app-{at:04}"), "cmd": "true", "cpus": 0.1, "mem": 1, "instances": 0 }))
        .collect();
    json!({ "id": id, "apps": apps })
}

/// How many apps a group has, as soon as somebody leads who can tell.
fn apps(marathon: &Daemon, id: &str) -> usize {
    let url = format!("{}/v2/groups{id}?embed=group.apps", marathon.url);
    until("an answer of a leader", PATIENCE, || {
        let answer = get(&url)?;
        match answer.status {
            200 => Some(answer.json()["apps"].as_array()?.len()),
            404 => Some(0),
            _ => None,
        }
    })
}

/// Sends the group, and calls `cut` once ZooKeeper has so many nodes more; gives the answer, if one came.
fn cut_off(
    ensemble: &mut Ensemble,
    marathon: &mut Daemon,
    id: &str,
    nodes: usize,
    cut: impl FnOnce(&mut Ensemble, &mut Daemon),
) -> Option<Answer> {
    let (url, document) = (format!("{}/v2/groups{id}", marathon.url), group(id));
    let before = ensemble.nodes();
    std::thread::scope(|scope| {
        // Whoever is killed, in the end it is answered or hung up on: before that nobody can tell what is there.
        let sent = scope.spawn(move || put_within(PATIENCE * 2, &url, &document));
        let begun = Instant::now();
        while ensemble.nodes() < before + nodes {
            // It may have come so far, and to its end, since that was asked.
            assert!(
                !sent.is_finished() || ensemble.nodes() >= before + nodes,
                "it ended too soon: {:?}",
                sent.join()
            );
            assert!(begun.elapsed() < PATIENCE, "the write does not come so far");
        }
        cut(ensemble, marathon);
        sent.join().unwrap()
    })
}

#[test]
fn a_large_write_whose_leader_or_zookeeper_is_killed_is_there_wholly_or_not_at_all() {
    let mut ensemble = Ensemble::start(1);
    let mut cluster = Cluster::at(&ensemble.url("/large"));
    let _master = cluster.master(&[]);
    let mut marathon = cluster.marathon(&[]);
    assert_eq!(apps(&marathon, "/none"), 0);
    let mut there = Vec::new();
    // Where the write is cut off, by how many of its records are stored.
    for (nodes, leader, zookeeper) in [
        (1, true, false),
        (APPS / 2, true, false),
        (APPS, true, false),
        (APPS + APPS / 2, true, false),
        (APPS / 2, false, true),
        (APPS, true, true),
    ] {
        let id = format!("/cut-{}", there.len());
        let answer = cut_off(
            &mut ensemble,
            &mut marathon,
            &id,
            nodes,
            |ensemble, marathon| {
                if leader {
                    marathon.kill();
                }
                if zookeeper {
                    ensemble.kill_all();
                    ensemble.start_all();
                }
            },
        );
        if leader {
            marathon.restart();
        }
        let found = apps(&marathon, &id);
        println!("cut off after {nodes} nodes: {found} apps");
        assert!(
            found == 0 || found == APPS,
            "{found} of {APPS} apps of {id}"
        );
        if answer.is_some_and(|answer| answer.status < 300) {
            assert_eq!(found, APPS, "what was acknowledged is there");
        }
        there.push((id, found));
    }
    // Parts are stored first: a write that has come to its own keys is sure to come to its end.
    assert!(
        there[1..4].iter().all(|(_, found)| *found == APPS),
        "{there:?}"
    );
    until("the end of all deployments", PATIENCE, || {
        (get_json(&format!("{}/v2/deployments", marathon.url))? == json!([])).then_some(())
    });
    marathon.restart();
    for (id, found) in &there {
        assert_eq!(
            apps(&marathon, id),
            *found,
            "{id}, as the next leader sees it"
        );
    }
}
