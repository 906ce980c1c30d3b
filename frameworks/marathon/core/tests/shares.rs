//! GROUP_BY with a number: instances are shared out over at most so many values.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::{collections::BTreeMap, time::Duration};

use cluster::{
    Agent, Cluster, body,
    daemons::{explain, lose, places},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, PolicyAction, PolicyPart, RebalanceAction};
use tepui_proto::mesos::TaskState;

/// One agent for each letter, on the rack of that name, with room for so many instances.
fn racks(racks: &str, room: f64) -> Cluster {
    let mut cluster = Cluster::new(0);
    add(&mut cluster, racks, room);
    cluster
}

fn add(cluster: &mut Cluster, racks: &str, room: f64) {
    for rack in racks.chars() {
        let mut agent = Agent::new(cluster.agents.len());
        agent.cpus = room;
        let rack = rack.to_string();
        agent.attributes.insert("rack".to_owned(), rack);
        cluster.agents.push(agent);
    }
    cluster.offer();
    cluster.run();
}

fn app(instances: u32, groups: u32, more: &Value) -> String {
    let mut app = json!({
        "id": "/a", "cmd": "run", "cpus": 1, "mem": 1, "instances": instances,
        "constraints": [["rack", "GROUP_BY", groups.to_string()]],
    });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    app.to_string()
}

/// How many tasks run on each rack that has one.
fn spread(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for (agent, count) in places(cluster, "/a") {
        let rack = cluster.agents[agent].attributes["rack"].clone();
        *spread.entry(rack).or_default() += count;
    }
    spread
}

fn counts(cluster: &Cluster) -> Vec<usize> {
    let mut counts: Vec<usize> = spread(cluster).into_values().collect();
    counts.sort_unstable();
    counts
}

fn on(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected
        .iter()
        .map(|(rack, count)| ((*rack).to_owned(), *count))
        .collect()
}

fn scale(cluster: &mut Cluster, instances: u32) {
    let document = json!({ "instances": instances }).to_string();
    let answer = cluster.call(cluster::update("/a", &document, true));
    assert_eq!(answer.status, 200, "{}", body(&answer));
    settle(cluster);
}

fn settle(cluster: &mut Cluster) {
    cluster.offer();
    cluster.run();
    cluster.pass(10);
    cluster.offer();
    cluster.run();
}

fn reasons(cluster: &mut Cluster) -> Value {
    explain(cluster, "/a")["reasons"].take()
}

fn policy(cluster: &mut Cluster, policy: &Value) {
    let answer = cluster.call(ApiCall::Policy {
        id: "/a".to_owned(),
        part: PolicyPart::All,
        action: PolicyAction::Put(policy.to_string().into()),
    });
    assert_eq!(answer.status, 200, "{}", body(&answer));
}

#[test]
fn at_most_so_many_racks_are_used_and_a_missing_one_is_waited_for() {
    let mut cluster = racks("ab", 9.0);
    cluster.create(&app(7, 3, &json!({})));
    settle(&mut cluster);
    // Two racks of three: each has all that it may get, one of them what is left over.
    assert_eq!(counts(&cluster), [2, 3]);
    let answer = explain(&mut cluster, "/a");
    assert_eq!(answer["waiting"], 2);
    let (a, b) = (spread(&cluster)["a"], spread(&cluster)["b"]);
    assert_eq!(
        answer["reasons"],
        json!([
            "constraint rack:GROUP_BY:3, its value has its share on 2 agents",
            format!(
                "constraint rack:GROUP_BY:3 shares 7 instances out over at most 3 values, 2 or 3 on each: a has {a}, b has {b}; waits for room on another value"
            ),
        ])
    );
    add(&mut cluster, "cd", 9.0);
    settle(&mut cluster);
    assert_eq!(counts(&cluster), [2, 2, 3]);
    assert_eq!(reasons(&mut cluster), json!([]));
    scale(&mut cluster, 12);
    assert_eq!(counts(&cluster), [4, 4, 4]);
    scale(&mut cluster, 2);
    assert_eq!(counts(&cluster), [1, 1]);
}

#[test]
fn a_rack_without_room_is_waited_for_by_name() {
    let mut cluster = racks("ab", 9.0);
    cluster.agents[0].cpus = 1.0;
    cluster.create(&app(4, 2, &json!({})));
    settle(&mut cluster);
    assert_eq!(spread(&cluster), on(&[("a", 1), ("b", 2)]));
    // A third rack does not help, nor that agents of the second have room.
    add(&mut cluster, "c", 9.0);
    settle(&mut cluster);
    assert_eq!(
        reasons(&mut cluster),
        json!([
            "constraint rack:GROUP_BY:2, its value has its share on 1 agent",
            "constraint rack:GROUP_BY:2, its value would be one too many on 1 agent",
            "cpus short by 1 at least on 1 agent",
            "constraint rack:GROUP_BY:2 shares 4 instances out over at most 2 values, 2 on each: a has 1, b has 2; waits for room on a",
        ])
    );
    // Room on the first.
    add(&mut cluster, "a", 9.0);
    settle(&mut cluster);
    assert_eq!(spread(&cluster), on(&[("a", 2), ("b", 2)]));
}

#[test]
fn a_rack_that_is_lost_is_replaced_by_another_also_before_it_is_forgotten() {
    for (strategy, pause) in [
        (
            json!({ "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }),
            1,
        ),
        (
            json!({ "inactiveAfterSeconds": 5, "expungeAfterSeconds": 100_000 }),
            700,
        ),
    ] {
        let mut cluster = racks("abc", 9.0);
        cluster.create(&app(4, 2, &json!({ "unreachableStrategy": strategy })));
        settle(&mut cluster);
        let before = spread(&cluster);
        assert_eq!(counts(&cluster), [2, 2]);
        let (lost, _) = places(&cluster, "/a").pop_first().unwrap();
        lose(&mut cluster, lost);
        cluster.pass(pause);
        settle(&mut cluster);
        let running: usize = spread(&cluster).values().sum();
        assert_eq!(running, 4, "{strategy}: {before:?} {:?}", spread(&cluster));
        assert_eq!(counts(&cluster), [2, 2], "{strategy}");
        assert_ne!(spread(&cluster), before);
        // It returns, and what is too much ends.
        cluster.agents[lost].alive = true;
        let tasks = cluster.tasks.iter();
        let back = tasks.filter(|(_, task)| task.agent == lost);
        for task in back.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            cluster.report(&task, TaskState::TaskRunning);
        }
        cluster.run();
        cluster.pass(400);
        settle(&mut cluster);
        assert_eq!(counts(&cluster), [2, 2], "{strategy}");
    }
}

#[test]
fn an_upgrade_shares_out_anew_and_does_not_count_the_old_ones() {
    let mut cluster = racks("abcd", 9.0);
    cluster.create(&app(6, 2, &json!({})));
    settle(&mut cluster);
    assert_eq!(counts(&cluster), [3, 3]);
    for groups in [3, 4, 1, 2] {
        cluster.update(
            "/a",
            &app(6, groups, &json!({ "env": { "G": groups.to_string() } })),
        );
        settle(&mut cluster);
        cluster.pass(60);
        assert_eq!(cluster.deployments(), json!([]), "{groups}");
        let want: &[usize] = match groups {
            1 => &[6],
            2 => &[3, 3],
            3 => &[2, 2, 2],
            _ => &[1, 1, 2, 2],
        };
        assert_eq!(counts(&cluster), want);
    }
}

#[test]
fn restarts_and_machines_that_go_down_keep_the_shares() {
    // Every rack has its share, so a replacement has a place only where the old one leaves its share to it.
    let mut cluster = racks("abc", 9.0);
    let strategy = json!({ "minimumHealthCapacity": 0.75, "maximumOverCapacity": 0.25 });
    cluster.create(&app(4, 2, &json!({ "upgradeStrategy": strategy })));
    settle(&mut cluster);
    let first = cluster.running("/a");
    policy(
        &mut cluster,
        &json!({ "restarts": { "maxAgeSeconds": 60 } }),
    );
    cluster.pass(90);
    let second = cluster.running("/a");
    assert!(
        second.iter().all(|task| !first.contains(task)),
        "{second:?}"
    );
    assert_eq!(counts(&cluster), [2, 2]);
    policy(&mut cluster, &json!({}));
    // All agents of one rack go down; the rack that was too many takes its place, one instance after another.
    let left = places(&cluster, "/a").pop_first().unwrap().0;
    let begins = cluster.now + Duration::from_secs(60);
    cluster.agents[left].window = Some((begins, begins + Duration::from_secs(3600)));
    for _ in 0..120 {
        cluster.ask_to_leave(left);
        cluster.pass(1);
    }
    assert_eq!(counts(&cluster), [2, 2]);
    assert_eq!(places(&cluster, "/a").get(&left), None);
    assert!(cluster.ask_to_leave(left).unwrap().0, "it may go down");
}

#[test]
fn rebalancing_knows_the_shares() {
    // Hosts of one rack are made even, and the third rack is not for this app.
    let mut cluster = racks("aab", 9.0);
    cluster.agents[1].alive = false;
    cluster.create(&app(4, 2, &json!({})));
    settle(&mut cluster);
    assert_eq!(places(&cluster, "/a"), [(0, 2), (2, 2)].into());
    cluster.agents[1].alive = true;
    add(&mut cluster, "c", 9.0);
    policy(
        &mut cluster,
        &json!({ "rebalance": { "over": ["hostname"], "intervalSeconds": 5 } }),
    );
    cluster.pass(120);
    assert_eq!(places(&cluster, "/a"), [(0, 1), (1, 1), (2, 2)].into());
    let moves = cluster.view.disruptions().1;
    cluster.pass(120);
    assert_eq!(cluster.view.disruptions().1, moves, "it ends");
}

#[derive(Clone, Debug)]
enum Act {
    Scale(u32),
    Lose(usize),
    Return(usize),
    Restart,
    Fail(usize),
    Grow(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..12u32).prop_map(Act::Scale),
        (0..6usize).prop_map(Act::Lose),
        (0..6usize).prop_map(Act::Return),
        Just(Act::Restart),
        any::<usize>().prop_map(Act::Fail),
        (0..6usize).prop_map(Act::Grow),
    ]
}

/// What an agent has room for.
fn room(cluster: &Cluster, at: usize) -> usize {
    let taken = cluster
        .tasks
        .values()
        .filter(|task| task.agent == at)
        .count();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small whole numbers"
    )]
    let all = cluster.agents[at].cpus as usize;
    all.saturating_sub(taken)
}

/// Racks that may get one more, by the rule as the reference words it.
fn may_get(cluster: &Cluster, instances: usize, groups: usize) -> Vec<String> {
    let there = spread(cluster);
    let (per, rest) = (instances / groups, instances % groups);
    let beyond: usize = there.values().map(|count| count.saturating_sub(per)).sum();
    let racks = cluster
        .agents
        .iter()
        .map(|agent| agent.attributes["rack"].clone());
    let takes = |rack: &String| match there.get(rack) {
        Some(count) => *count < per || *count == per && rest > beyond,
        None => there.len() < groups,
    };
    racks.filter(takes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: what waits, waits because no rack that may get one more has room, and says so; and when there is room everywhere all
    /// run, on no more racks than may be.
    #[test]
    fn nothing_waits_where_there_is_room_and_all_is_even_in_the_end(
        agents in prop::collection::vec((0..4usize, 1..5u32), 1..7),
        groups in 1..5u32,
        instances in 0..10u32,
        acts in prop::collection::vec(act(), 0..8),
    ) {
        let mut cluster = Cluster::new(0);
        for (rack, room) in &agents {
            let rack = ["a", "b", "c", "d"][*rack];
            add(&mut cluster, rack, f64::from(*room));
        }
        let mut wanted = instances;
        cluster.create(&app(instances, groups, &json!({ "backoffSeconds": 0, "upgradeStrategy": { "minimumHealthCapacity": 0, "maximumOverCapacity": 0 } })));
        settle(&mut cluster);
        for act in acts {
            match act {
                Act::Scale(instances) => {
                    wanted = instances;
                    scale(&mut cluster, instances);
                }
                Act::Lose(at) if at < cluster.agents.len() => lose(&mut cluster, at),
                Act::Return(at) if at < cluster.agents.len() => {
                    // What ran there is over by now.
                    let there = cluster.tasks.iter().filter(|(_, task)| task.agent == at && !cluster.agents[at].alive);
                    for id in there.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                        cluster.tasks.remove(&id);
                    }
                    cluster.agents[at].alive = true;
                }
                Act::Restart => {
                    cluster.call(ApiCall::RestartApp { id: "/a".to_owned(), force: true });
                }
                Act::Fail(at) => {
                    let running = cluster.running("/a");
                    if !running.is_empty() {
                        let task = running[at % running.len()].clone();
                        cluster.report(&task, TaskState::TaskFailed);
                        cluster.run();
                    }
                }
                Act::Grow(at) if at < cluster.agents.len() => cluster.agents[at].cpus += 2.0,
                Act::Lose(_) | Act::Return(_) | Act::Grow(_) => {}
            }
            settle(&mut cluster);
            cluster.pass(30);
            settle(&mut cluster);
            let answer = explain(&mut cluster, "/a");
            if answer["waiting"].as_u64().unwrap() > 0 {
                let open = may_get(&cluster, wanted as usize, groups as usize);
                let free = (0..cluster.agents.len()).filter(|at| {
                    let agent = &cluster.agents[*at];
                    agent.alive && room(&cluster, *at) > 0 && open.contains(&agent.attributes["rack"])
                });
                prop_assert_eq!(free.collect::<Vec<_>>(), Vec::<usize>::new(), "{:?}: {}", spread(&cluster), answer);
                let told = answer["reasons"].to_string();
                let offered = (0..cluster.agents.len()).any(|at| cluster.agents[at].alive && room(&cluster, at) > 0);
                prop_assert!(!offered || told.contains("waits for room on"), "{}", answer);
            }
        }
        // In the end there is room on every rack, and one rack for each share.
        for at in 0..cluster.agents.len() {
            let there = cluster.tasks.iter().filter(|(_, task)| task.agent == at && !cluster.agents[at].alive);
            for id in there.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                cluster.tasks.remove(&id);
            }
            cluster.agents[at].alive = true;
            cluster.agents[at].cpus = 100.0;
        }
        add(&mut cluster, "abcd", 100.0);
        cluster.pass(60);
        settle(&mut cluster);
        // What was scaled while a rack was away is not moved by itself.
        cluster.call(ApiCall::Rebalance { id: "/a".to_owned(), action: RebalanceAction::Ask { dry_run: false } });
        cluster.pass(300);
        let counts = counts(&cluster);
        prop_assert_eq!(counts.iter().sum::<usize>(), wanted as usize, "{}", explain(&mut cluster, "/a"));
        prop_assert_eq!(cluster.deployments(), json!([]));
        prop_assert!(counts.len() <= groups as usize, "{:?}", counts);
        let (least, most) = (counts.first().copied().unwrap_or(0), counts.last().copied().unwrap_or(0));
        prop_assert!(most - least <= 1, "{:?}", counts);
    }
}
