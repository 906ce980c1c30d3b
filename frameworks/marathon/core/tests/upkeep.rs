//! Scheduled restarts, rebalancing and the disruption budget on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cluster::{
    Agent, Behaviour, Cluster, START, body,
    daemons::{explain, places},
};
use serde_json::{Value, json};
use tepui_marathon_core::{
    ApiCall, Input, PolicyAction, PolicyPart, RebalanceAction, Response, Timestamp,
};
use tepui_model::Time;
use tepui_proto::mesos::TaskState;

const ID: &str = "/group/web";

fn put(cluster: &mut Cluster, policy: &Value) -> Response {
    cluster.call(ApiCall::Policy {
        id: ID.to_owned(),
        part: PolicyPart::All,
        action: PolicyAction::Put(policy.to_string().into()),
    })
}

fn set(cluster: &mut Cluster, policy: &Value) {
    let answer = put(cluster, policy);
    assert_eq!(answer.status, 200, "{}", body(&answer));
}

fn web(cluster: &mut Cluster, more: &Value) {
    let mut app = json!({ "id": ID, "cmd": "run", "cpus": 1, "mem": 10, "instances": 3 });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    let answer = cluster.create(&app.to_string());
    assert_eq!(answer.status, 201, "{}", body(&answer));
    cluster.pass(2);
}

fn tasks(cluster: &Cluster) -> BTreeSet<String> {
    cluster.running(ID).into_iter().collect()
}

thread_local! {
    /// The fewest and the most tasks that ran at any moment, and the fewest that were healthy.
    static SEEN: Cell<(usize, usize, usize)> = const { Cell::new((usize::MAX, 0, usize::MAX)) };
}

fn see(cluster: &Cluster) {
    let (fewest, most, healthy) = SEEN.get();
    let running = cluster.running(ID).len();
    let now = cluster.app(ID)["tasksHealthy"].as_u64().unwrap_or_default();
    SEEN.set((
        fewest.min(running),
        most.max(running),
        healthy.min(usize::try_from(now).unwrap()),
    ));
}

/// How a cluster went through some time.
#[derive(Debug, Default)]
struct Watched {
    fewest: usize,
    most: usize,
    healthy: usize,
    /// Seconds at which a task ended that had run.
    ends: Vec<u64>,
}

fn watch(cluster: &mut Cluster, seconds: u64) -> Watched {
    let mut before = tasks(cluster);
    let mut watched = Watched::default();
    SEEN.set((usize::MAX, 0, usize::MAX));
    see(cluster);
    cluster.invariant = Some(see);
    for second in 0..seconds {
        cluster.pass(1);
        let now = tasks(cluster);
        let ended = before.difference(&now).count();
        watched.ends.extend(std::iter::repeat_n(second, ended));
        before = now;
    }
    cluster.invariant = None;
    (watched.fewest, watched.most, watched.healthy) = SEEN.get();
    watched
}

/// The minute of the hour at which a cluster begins is 26, its second 40.
fn in_minutes(cluster: &Cluster, minutes: i64) -> String {
    let at = Timestamp::from_millis((cluster.now.as_secs() / 60 + minutes) * 60_000).to_string();
    format!("{} {} * * *", &at[14..16], &at[11..13])
}

#[test]
fn all_instances_are_replaced_once_at_a_time_of_the_schedule() {
    let mut cluster = Cluster::new(2);
    web(
        &mut cluster,
        &json!({ "healthChecks": [{ "intervalSeconds": 1, "gracePeriodSeconds": 5 }] }),
    );
    cluster.pass(5);
    let first = tasks(&cluster);
    let schedule = in_minutes(&cluster, 2);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    let before = cluster.app(ID)["version"].clone();
    let view = explain(&mut cluster, ID)["upkeep"].clone();
    let next = view["nextRestart"].as_str().unwrap().to_owned();
    assert_eq!(view["told"][0], format!("next restart at {next}"));
    cluster.pass(60);
    assert_eq!(tasks(&cluster), first, "not before its time");
    let watched = watch(&mut cluster, 90);
    assert_eq!(
        (watched.fewest, watched.most, watched.ends.len()),
        (3, 4, 3),
        "one after another, each beside the old one"
    );
    assert!(tasks(&cluster).is_disjoint(&first));
    let view = explain(&mut cluster, ID);
    assert_eq!(
        (
            &view["upkeep"]["lastRestart"],
            &view["upkeep"]["restarting"]
        ),
        (&json!(next), &Value::Null)
    );
    assert_eq!(view["reasons"], json!([]));
    assert_eq!(cluster.app(ID)["version"], before, "no version of its own");
    let second = tasks(&cluster);
    cluster.fail_over();
    cluster.run();
    cluster.pass(60);
    assert_eq!(tasks(&cluster), second, "once for each time, whoever leads");
    cluster.now += Duration::from_secs(86_400 - 200);
    cluster.pass(200);
    assert!(tasks(&cluster).is_disjoint(&second), "the next day again");
    assert_eq!(cluster.view.disruptions().0, 3);
}

#[test]
fn a_leader_that_takes_over_goes_on_and_makes_up_for_what_was_missed() {
    let mut cluster = Cluster::new(2);
    web(
        &mut cluster,
        &json!({ "instances": 4, "healthChecks": [{ "intervalSeconds": 1 }] }),
    );
    cluster.pass(5);
    let first = tasks(&cluster);
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    let old = |cluster: &Cluster| tasks(cluster).intersection(&first).count();
    while old(&cluster) > 2 {
        cluster.pass(1);
    }
    cluster.fail_over();
    cluster.run();
    let watched = watch(&mut cluster, 60);
    assert_eq!(
        (old(&cluster), watched.ends.len(), tasks(&cluster).len()),
        (0, 2, 4),
        "only those that are left"
    );
    // Nobody leads as the next times come.
    for (deadline, replaced) in [(None, true), (Some(3600), false), (Some(7200), true)] {
        let before = tasks(&cluster);
        let mut restarts = json!({ "schedule": in_minutes(&cluster, 1) });
        if let Some(seconds) = deadline {
            restarts["startingDeadlineSeconds"] = json!(seconds);
        }
        set(&mut cluster, &json!({ "restarts": restarts }));
        cluster.now += Duration::from_secs(5400);
        cluster.fail_over();
        cluster.run();
        cluster.pass(60);
        assert_eq!(
            tasks(&cluster).is_disjoint(&before),
            replaced,
            "{deadline:?}"
        );
        let view = explain(&mut cluster, ID)["upkeep"].clone();
        assert_eq!(view["missedRestart"].is_null(), replaced, "{view}");
    }
}

#[test]
fn instances_are_replaced_before_they_are_too_old_and_not_all_together() {
    let mut cluster = Cluster::new(3);
    web(&mut cluster, &json!({ "instances": 10, "cpus": 0.1 }));
    let first = tasks(&cluster);
    set(
        &mut cluster,
        &json!({ "restarts": { "maxAgeSeconds": 1000 } }),
    );
    assert_eq!(watch(&mut cluster, 890).ends, Vec::<u64>::new());
    let watched = watch(&mut cluster, 120);
    assert!(tasks(&cluster).is_disjoint(&first));
    assert_eq!((watched.fewest, watched.ends.len()), (10, 10));
    let spread = watched.ends.last().unwrap() - watched.ends[0];
    assert!(spread > 30, "{:?}", watched.ends);
}

#[test]
fn the_budget_holds_and_says_what_it_waits_for() {
    let mut cluster = Cluster::new(2);
    let strategy = json!({ "minimumHealthCapacity": 0, "maximumOverCapacity": 0 });
    web(
        &mut cluster,
        &json!({ "instances": 6, "upgradeStrategy": strategy, "healthChecks": [{ "intervalSeconds": 1, "gracePeriodSeconds": 3 }] }),
    );
    cluster.pass(5);
    let first = tasks(&cluster);
    let mut policy = json!({ "restarts": { "schedule": in_minutes(&cluster, 1) }, "disruptionBudget": { "maxUnavailable": 2 } });
    set(&mut cluster, &policy);
    let watched = watch(&mut cluster, 90);
    assert!(tasks(&cluster).is_disjoint(&first));
    assert_eq!(watched.healthy, 4, "no fewer, and as fast as that allows");
    // One is ill: with a budget of one nothing more is taken away.
    policy["disruptionBudget"] = json!({ "minAvailable": 5 });
    policy["restarts"]["schedule"] = json!(in_minutes(&cluster, 1));
    set(&mut cluster, &policy);
    let ill = cluster.running(ID)[0].clone();
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    cluster.report(&ill, TaskState::TaskFailed);
    cluster.pass(90);
    let told = explain(&mut cluster, ID)["reasons"].to_string();
    assert!(
        told.contains("restart of 5 instances waits: budget allows 1 unavailable, 1 is"),
        "{told}"
    );
    assert_eq!(cluster.running(ID).len(), 5);
    // What somebody asks for is done all the same.
    let killed = cluster.running(ID)[0].clone();
    cluster.call(ApiCall::KillAppTask {
        id: ID.to_owned(),
        task_id: killed,
        scale: false,
        wipe: false,
        force: false,
    });
    assert_eq!(cluster.running(ID).len(), 4);
}

#[test]
fn windows_and_the_interval_between_disruptions_are_kept() {
    let mut cluster = Cluster::new(2);
    web(&mut cluster, &json!({}));
    let first = tasks(&cluster);
    // It is 12:26:42 of a Sunday.
    let schedule = in_minutes(&cluster, 1);
    let budget = json!({ "minIntervalSeconds": 30, "windows": [{ "days": ["sun"], "from": "12:40", "to": "12:50" }] });
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": budget }),
    );
    assert_eq!(watch(&mut cluster, 600).ends, Vec::<u64>::new());
    let reasons = explain(&mut cluster, ID)["reasons"].clone();
    assert_eq!(
        reasons,
        json!([
            "restart of 3 instances waits: the next window of its budget opens at 2020-09-13T12:40:00.000Z"
        ])
    );
    let watched = watch(&mut cluster, 400);
    assert!(tasks(&cluster).is_disjoint(&first));
    assert_eq!(watched.ends.len(), 3);
    assert!(
        watched.ends.windows(2).all(|pair| pair[1] - pair[0] >= 30),
        "{:?}",
        watched.ends
    );
}

#[test]
fn a_deployment_ends_what_is_half_done_and_goes_first() {
    let mut cluster = Cluster::new(2);
    cluster.behaviour.insert("slow".to_owned(), Behaviour::Runs);
    web(&mut cluster, &json!({ "cmd": "slow" }));
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    cluster
        .behaviour
        .insert("slow".to_owned(), Behaviour::Hangs);
    while cluster.tasks.len() < 4 {
        cluster.pass(1);
    }
    cluster.update(ID, r#"{"instances":2}"#);
    assert_eq!(
        (cluster.tasks.len(), cluster.running(ID).len()),
        (2, 2),
        "the replacement is gone, and one more"
    );
    cluster.behaviour.clear();
    cluster.pass(60);
    assert_eq!(cluster.running(ID).len(), 2);
    // A replacement that is lost with its old one, or whose old one fails, is an instance like others.
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    cluster
        .behaviour
        .insert("slow".to_owned(), Behaviour::Hangs);
    while cluster.tasks.len() < 3 {
        cluster.pass(1);
    }
    cluster.behaviour.clear();
    let hanging = cluster
        .tasks
        .iter()
        .find(|(_, task)| task.state != TaskState::TaskRunning)
        .unwrap()
        .0
        .clone();
    for task in cluster.running(ID) {
        cluster.report(&task, TaskState::TaskFailed);
    }
    cluster.report(&hanging, TaskState::TaskRunning);
    cluster.pass(120);
    assert_eq!(cluster.tasks.len(), 2);
    assert_eq!(explain(&mut cluster, ID)["reasons"], json!([]));
}

#[test]
fn what_has_no_room_beside_it_is_restarted_in_its_place_if_the_budget_allows() {
    // One on each agent, and no third agent.
    let mut cluster = Cluster::new(2);
    web(
        &mut cluster,
        &json!({ "instances": 2, "constraints": [["hostname", "UNIQUE"]] }),
    );
    let first = tasks(&cluster);
    let schedule = in_minutes(&cluster, 1);
    let mut policy = json!({ "restarts": { "schedule": schedule } });
    set(&mut cluster, &policy);
    let watched = watch(&mut cluster, 200);
    assert_eq!((watched.ends.len(), tasks(&cluster)), (0, first.clone()));
    let reasons = explain(&mut cluster, ID)["reasons"].to_string();
    assert!(reasons.contains("there is no room for a replacement beside the others, and its budget allows none unavailable"), "{reasons}");
    policy["disruptionBudget"] = json!({ "maxUnavailable": "50%" });
    set(&mut cluster, &policy);
    // The schedule is the same: what was under way goes on.
    let watched = watch(&mut cluster, 200);
    assert_eq!((watched.ends.len(), watched.fewest), (2, 1));
    assert!(tasks(&cluster).is_disjoint(&first));
}

#[test]
fn numbered_resident_and_daemon_apps_are_restarted_one_at_a_time_in_their_places() {
    for more in [
        json!({ "labels": { "TEPUI_ORDINALS": "true" } }),
        json!({ "role": "group", "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } }] } }),
        json!({ "labels": { "TEPUI_DAEMON": "true" } }),
    ] {
        let mut cluster = Cluster::new(3);
        web(&mut cluster, &more);
        let (first, before) = (tasks(&cluster), places(&cluster, ID));
        let schedule = in_minutes(&cluster, 1);
        set(
            &mut cluster,
            &json!({ "restarts": { "schedule": schedule } }),
        );
        let watched = watch(&mut cluster, 100);
        assert!(tasks(&cluster).is_disjoint(&first), "{more}");
        assert_eq!(
            (watched.ends.len(), tasks(&cluster).len()),
            (3, 3),
            "{more}"
        );
        assert!(
            watched.ends.windows(2).all(|pair| pair[0] < pair[1]),
            "{more}: {:?}",
            watched.ends
        );
        if !more["labels"]["TEPUI_ORDINALS"].is_string() {
            assert_eq!(places(&cluster, ID), before, "{more}");
        }
        assert_eq!(explain(&mut cluster, ID)["reasons"], json!([]), "{more}");
    }
}

#[test]
fn a_daemon_app_that_fails_after_its_restart_is_taken_away_nowhere_else() {
    for (name, behaviour) in [("fails", Behaviour::Fails), ("hangs", Behaviour::Hangs)] {
        let mut cluster = Cluster::new(4);
        web(
            &mut cluster,
            &json!({ "labels": { "TEPUI_DAEMON": "true" } }),
        );
        let first = tasks(&cluster);
        let schedule = in_minutes(&cluster, 1);
        set(
            &mut cluster,
            &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "maxUnavailable": 1 } }),
        );
        cluster.behaviour.insert("run".to_owned(), behaviour);
        cluster.pass(3600);
        let left = tasks(&cluster).intersection(&first).count();
        assert_eq!(left, 3, "{name}: one was taken, and did not come back");
    }
}

#[test]
fn a_daemon_app_that_fails_after_its_restart_is_taken_away_nowhere_else_by_the_next_leaders() {
    for (name, behaviour) in [("fails", Behaviour::Fails), ("hangs", Behaviour::Hangs)] {
        let mut cluster = Cluster::new(4);
        web(
            &mut cluster,
            &json!({ "labels": { "TEPUI_DAEMON": "true" } }),
        );
        let first = tasks(&cluster);
        let schedule = in_minutes(&cluster, 1);
        set(
            &mut cluster,
            &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "maxUnavailable": 1 } }),
        );
        cluster.behaviour.insert("run".to_owned(), behaviour);
        cluster.pass(60);
        for _ in 0..20 {
            cluster.fail_over();
            cluster.run();
            cluster.pass(30);
        }
        let left = tasks(&cluster).intersection(&first).count();
        assert_eq!(left, 3, "{name}: one was taken, and did not come back");
    }
}

#[test]
fn a_leader_whose_clock_is_behind_replaces_what_is_left_and_nothing_twice() {
    let mut cluster = Cluster::new(2);
    web(
        &mut cluster,
        &json!({ "instances": 4, "healthChecks": [{ "intervalSeconds": 1 }] }),
    );
    cluster.pass(5);
    let first = tasks(&cluster);
    let schedule = in_minutes(&cluster, 2);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    let next = explain(&mut cluster, ID)["upkeep"]["nextRestart"].clone();
    let old = |cluster: &Cluster| tasks(cluster).intersection(&first).count();
    while old(&cluster) > 2 {
        cluster.pass(1);
    }
    cluster.now = Time::from_millis(cluster.now.as_millis() - 45_000);
    cluster.fail_over();
    cluster.run();
    let watched = watch(&mut cluster, 300);
    assert_eq!(
        (old(&cluster), watched.ends.len(), tasks(&cluster).len()),
        (0, 2, 4),
        "{:?}",
        watched.ends
    );
    let view = explain(&mut cluster, ID)["upkeep"].clone();
    assert_eq!(
        (
            &view["lastRestart"],
            &view["restarting"],
            &view["missedRestart"]
        ),
        (&next, &Value::Null, &Value::Null)
    );
}

#[test]
fn a_disruption_that_a_clock_ahead_has_dated_holds_nothing_longer_than_the_interval() {
    let mut cluster = Cluster::new(2);
    web(&mut cluster, &json!({}));
    let first = tasks(&cluster);
    cluster.pass(1200);
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "minIntervalSeconds": 300 } }),
    );
    let old = |cluster: &Cluster| tasks(cluster).intersection(&first).count();
    while old(&cluster) > 2 {
        cluster.pass(1);
    }
    cluster.now = Time::from_millis(cluster.now.as_millis() - 900_000);
    cluster.fail_over();
    cluster.run();
    cluster.pass(290);
    assert_eq!(old(&cluster), 2, "the interval is kept");
    cluster.pass(30);
    assert_eq!(old(&cluster), 1);
}

#[test]
fn what_is_ill_is_restarted_first_and_holds_the_schedule_no_longer() {
    let mut cluster = Cluster::new(2);
    web(
        &mut cluster,
        &json!({ "healthChecks": [{ "intervalSeconds": 1, "gracePeriodSeconds": 3, "maxConsecutiveFailures": 0 }] }),
    );
    cluster.pass(5);
    let first = tasks(&cluster);
    let ill = cluster.running(ID)[1].clone();
    cluster.unhealthy = Some(ill.clone());
    cluster.pass(5);
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "maxUnavailable": 0 } }),
    );
    while tasks(&cluster).contains(&ill) {
        assert!(cluster.now < START + Duration::from_secs(300), "never");
        cluster.pass(1);
        let others = tasks(&cluster).intersection(&first).count();
        assert!(others >= 2, "nothing that is well goes before");
    }
    let watched = watch(&mut cluster, 60);
    assert!(tasks(&cluster).is_disjoint(&first), "then the others");
    assert_eq!(watched.ends.len(), 2);
    assert!(!explain(&mut cluster, ID)["upkeep"]["lastRestart"].is_null());
    // A leader that takes over knows of none yet whether it is well: they are not all ill.
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    while explain(&mut cluster, ID)["upkeep"]["restarting"].is_null() {
        cluster.pass(1);
    }
    cluster.fail_over();
    cluster.run();
    let watched = watch(&mut cluster, 60);
    assert_eq!(watched.fewest, 3);
}

#[test]
fn what_could_not_be_reached_is_restarted_when_it_comes_back() {
    let mut cluster = Cluster::new(2);
    let strategy = json!({ "inactiveAfterSeconds": 3600, "expungeAfterSeconds": 7200 });
    web(&mut cluster, &json!({ "unreachableStrategy": strategy }));
    let first = tasks(&cluster);
    let lost = cluster.running(ID)[0].clone();
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.run();
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule }, "disruptionBudget": { "maxUnavailable": 2 } }),
    );
    cluster.pass(120);
    let left: Vec<String> = cluster
        .tasks
        .keys()
        .filter(|task| first.contains(*task))
        .cloned()
        .collect();
    assert_eq!(
        left,
        std::slice::from_ref(&lost),
        "the others were replaced"
    );
    let view = explain(&mut cluster, ID)["upkeep"].clone();
    assert!(!view["lastRestart"].is_null(), "nobody waits for it");
    cluster.fail_over();
    cluster.run();
    cluster.report(&lost, TaskState::TaskRunning);
    cluster.pass(60);
    assert!(!cluster.tasks.contains_key(&lost), "its turn came late");
    assert_eq!(tasks(&cluster).len(), 3);
    let after = tasks(&cluster);
    cluster.pass(300);
    assert_eq!(tasks(&cluster), after);
}

fn balance(cluster: &mut Cluster, action: RebalanceAction) -> Value {
    body(&cluster.call(ApiCall::Rebalance {
        id: ID.to_owned(),
        action,
    }))
}

fn on(counts: &[usize]) -> BTreeMap<usize, usize> {
    counts
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn instances_move_to_an_agent_that_comes_later_and_then_rest() {
    let mut cluster = Cluster::new(1);
    web(
        &mut cluster,
        &json!({ "instances": 5, "healthChecks": [{ "intervalSeconds": 1 }] }),
    );
    set(&mut cluster, &json!({ "rebalance": {} }));
    cluster.pass(120);
    assert_eq!(places(&cluster, ID), on(&[5]));
    for at in 1..3 {
        cluster.agents.push(Agent::new(at));
    }
    let watched = watch(&mut cluster, 240);
    assert_eq!(places(&cluster, ID), on(&[2, 2, 1]));
    assert_eq!(
        (watched.fewest, watched.most, watched.ends.len()),
        (5, 6, 3),
        "each beside the one that it replaces, none twice"
    );
    assert_eq!(cluster.view.disruptions(), (0, 3));
    let (before, view) = (tasks(&cluster), explain(&mut cluster, ID));
    assert_eq!(
        view["upkeep"]["told"],
        json!(["spread: hostname has 1 to 2"])
    );
    cluster.pass(600);
    assert_eq!(tasks(&cluster), before, "it ends");
    cluster.fail_over();
    cluster.run();
    cluster.pass(600);
    assert_eq!(tasks(&cluster), before);
    // Between looks the master is not asked for offers.
    cluster.outputs.clear();
    cluster.pass(50);
    assert!(
        cluster
            .outputs
            .iter()
            .filter(|one| *one == "revive")
            .count()
            <= 2,
        "{:?}",
        cluster.outputs
    );
}

#[test]
fn a_plan_tells_what_would_be_moved_and_asking_once_moves_it() {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({ "instances": 4 }));
    cluster.agents.push(Agent::new(1));
    cluster.agents[1].cpus = 1.0;
    let asked = balance(&mut cluster, RebalanceAction::Ask { dry_run: true });
    assert_eq!(
        (&asked["asked"], &asked["plan"]),
        (&json!("plan"), &Value::Null)
    );
    let before = tasks(&cluster);
    cluster.pass(10);
    let answer = balance(&mut cluster, RebalanceAction::Show);
    assert_eq!(
        (&answer["asked"], &answer["looking"]),
        (&Value::Null, &json!(false)),
        "{answer}"
    );
    let moves = answer["plan"]["moves"].as_array().unwrap();
    assert_eq!(moves.len(), 1, "{answer}");
    assert_eq!(
        (&moves[0]["fromHost"], &moves[0]["toHost"]),
        (&json!("host0"), &json!("host1"))
    );
    assert_eq!(
        answer["plan"]["told"],
        "spread: after that hostname has 1 to 3; host1 would do, but lacks cpus"
    );
    assert_eq!(tasks(&cluster), before, "nothing is moved");
    cluster.agents[1].cpus = 8.0;
    balance(&mut cluster, RebalanceAction::Ask { dry_run: false });
    cluster.pass(60);
    assert_eq!(places(&cluster, ID), on(&[2, 2]));
    let answer = balance(&mut cluster, RebalanceAction::Show);
    assert_eq!(
        (&answer["asked"], &answer["plan"]["moves"]),
        (&Value::Null, &json!([])),
        "{answer}"
    );
    // It was asked for once.
    cluster.agents.push(Agent::new(2));
    cluster.agents.push(Agent::new(3));
    cluster.pass(300);
    assert_eq!(places(&cluster, ID), on(&[2, 2]));
}

#[test]
fn constraints_and_the_order_of_fields_say_where_to() {
    // Two racks of two hosts; all of them on the first host, though to be grouped by rack.
    let mut cluster = Cluster::new(1);
    cluster.agents[0]
        .attributes
        .insert("rack".to_owned(), "a".to_owned());
    web(
        &mut cluster,
        &json!({ "instances": 4, "constraints": [["rack", "GROUP_BY"]] }),
    );
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 20 } }),
    );
    for (at, rack) in [(1, "a"), (2, "b"), (3, "b")] {
        let mut agent = Agent::new(at);
        agent.attributes.insert("rack".to_owned(), rack.to_owned());
        cluster.agents.push(agent);
    }
    cluster.pass(300);
    assert_eq!(places(&cluster, ID), on(&[1, 1, 1, 1]));
    assert_eq!(cluster.view.disruptions().1, 3);
    // Nothing may be moved to where a constraint forbids it.
    let mut cluster = Cluster::new(1);
    web(
        &mut cluster,
        &json!({ "instances": 4, "constraints": [["hostname", "LIKE", "host0|host2"]] }),
    );
    set(&mut cluster, &json!({ "rebalance": { "maxSkew": 2 } }));
    cluster.agents.push(Agent::new(1));
    cluster.pass(200);
    assert_eq!(places(&cluster, ID), on(&[4]));
    cluster.agents.push(Agent::new(2));
    cluster.pass(200);
    assert_eq!(
        places(&cluster, ID),
        on(&[3, 0, 1]),
        "a difference of two is borne"
    );
}

#[test]
fn where_nothing_may_stand_beside_the_old_one_goes_first_and_to_the_agent_that_is_meant() {
    let mut cluster = Cluster::new(1);
    let strategy = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 });
    web(
        &mut cluster,
        &json!({ "instances": 4, "upgradeStrategy": strategy }),
    );
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 10 } }),
    );
    cluster.agents.push(Agent::new(1));
    let watched = watch(&mut cluster, 120);
    assert_eq!(places(&cluster, ID), on(&[2, 2]));
    assert_eq!(watched.most, 4);
    // Without that the budget forbids it, and says so.
    let mut cluster = Cluster::new(1);
    web(
        &mut cluster,
        &json!({ "instances": 4, "upgradeStrategy": strategy }),
    );
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 10 }, "disruptionBudget": { "maxUnavailable": 0 } }),
    );
    cluster.agents.push(Agent::new(1));
    balance(&mut cluster, RebalanceAction::Ask { dry_run: false });
    cluster.pass(120);
    assert_eq!(places(&cluster, ID), on(&[4]));
    assert_eq!(
        explain(&mut cluster, ID)["reasons"],
        json!(["rebalance waits: budget allows 0 unavailable, 0 are"])
    );
}

#[test]
fn many_offers_that_lack_something_cost_no_instance_and_hide_none_that_fits() {
    let mut cluster = Cluster::new(1);
    let put = |agent: &mut Agent| agent.attributes.insert("pool".to_owned(), "x".to_owned());
    put(&mut cluster.agents[0]);
    web(
        &mut cluster,
        &json!({ "instances": 4, "constraints": [["pool", "LIKE", "x"]] }),
    );
    cluster.agents.extend((1..2_000).map(Agent::new));
    let (before, events) = (tasks(&cluster), cluster.events.len());
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 10 } }),
    );
    cluster.pass(30);
    assert_eq!(tasks(&cluster), before);
    let asked = cluster.outputs.iter().filter(|one| *one == "revive");
    assert!(asked.count() > 2, "offers were looked at");
    assert_eq!(cluster.events.len(), events, "no instance came and went");
    assert_eq!(
        explain(&mut cluster, ID)["upkeep"]["told"],
        json!(["spread: hostname has 4 to 4; host1 would do, but lacks constraint pool:LIKE:x"])
    );
    put(&mut cluster.agents[1_500]);
    cluster.pass(30);
    assert_eq!(places(&cluster, ID), BTreeMap::from([(0, 2), (1_500, 2)]));
    let created = cluster.launched.len() - 4;
    assert_eq!(created, 2, "one for each that was moved");
}

#[test]
fn what_waits_for_one_agent_lets_the_others_of_its_app_go_first() {
    let mut cluster = Cluster::new(1);
    web(
        &mut cluster,
        &json!({ "instances": 4, "backoffSeconds": 1, "backoffFactor": 1.0,
            "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 } }),
    );
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 10 } }),
    );
    cluster.agents.push(Agent::new(1));
    // The agent that it was to go to is gone once the old one has ended.
    let doing = (0..60).any(|_| {
        cluster.now = cluster.now.max(cluster.core.next_deadline().unwrap());
        cluster.push(Input::Tick);
        cluster.offer();
        while !cluster.inputs.is_empty() && tasks(&cluster).len() == 4 {
            cluster.run_some(1);
        }
        tasks(&cluster).len() == 3
    });
    assert!(doing, "a move begins");
    cluster.agents[1].alive = false;
    for task in tasks(&cluster) {
        cluster.report(&task, TaskState::TaskFailed);
    }
    cluster.pass(6);
    assert_eq!(places(&cluster, ID), on(&[3]), "three do not wait");
    cluster.pass(60);
    assert_eq!(places(&cluster, ID), on(&[4]), "nor does it for ever");
}

#[test]
fn what_somebody_asks_for_waits_for_no_window() {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({ "instances": 4 }));
    let first = tasks(&cluster);
    let budget = json!({ "windows": [{ "from": "03:00", "to": "04:00" }] });
    set(
        &mut cluster,
        &json!({ "rebalance": {}, "disruptionBudget": budget }),
    );
    cluster.agents.push(Agent::new(1));
    cluster.pass(200);
    assert_eq!(tasks(&cluster), first, "the window is closed");
    balance(&mut cluster, RebalanceAction::Ask { dry_run: false });
    cluster.pass(60);
    assert_eq!(places(&cluster, ID), on(&[2, 2]));
    // A restart that is due waits all the same.
    let even = tasks(&cluster);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": "* * * * *" }, "disruptionBudget": budget }),
    );
    cluster.pass(70);
    balance(&mut cluster, RebalanceAction::Ask { dry_run: false });
    cluster.pass(70);
    assert_eq!(tasks(&cluster), even);
}

#[test]
fn a_move_that_fails_is_tried_again_later_and_later() {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({ "instances": 3 }));
    let before = tasks(&cluster);
    set(
        &mut cluster,
        &json!({ "rebalance": { "intervalSeconds": 10 } }),
    );
    cluster.agents.push(Agent::new(1));
    cluster.behaviour.insert("run".to_owned(), Behaviour::Fails);
    let launched = cluster.launched.len();
    cluster.pass(1000);
    assert_eq!(tasks(&cluster), before, "those that run are left alone");
    // After 60, 120, 240 and 480 seconds at the earliest.
    let tries = cluster.launched.len() - launched;
    assert!((2..=5).contains(&tries), "{tries}");
    cluster.behaviour.clear();
    cluster.pass(2000);
    assert_eq!(places(&cluster, ID), on(&[2, 1]));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({}));
    for (policy, want) in [
        (
            json!({ "restarts": {} }),
            json!({ "message": "Object is not valid", "details": [{ "path": "/restarts", "errors": ["needs a schedule or maxAgeSeconds"] }] }),
        ),
        (
            json!({ "restarts": { "schedule": "61 * * * *", "utcOffset": "CET", "maxAgeSeconds": 5, "startingDeadlineSeconds": 4_000_000_000_u32 } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/restarts/utcOffset", "errors": ["`CET` is no offset from UTC such as +02:00, -05:30 or Z"] },
                { "path": "/restarts/schedule", "errors": ["minute: `61` is no number from 0 to 59, range, step or list of these"] },
                { "path": "/restarts/maxAgeSeconds", "errors": ["must be from 60 to 3162240000"] },
                { "path": "/restarts/startingDeadlineSeconds", "errors": ["must not be greater than 3162240000"] },
            ] }),
        ),
        (
            json!({ "rebalance": { "over": [], "maxSkew": 0, "intervalSeconds": 0 } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/rebalance/over", "errors": ["must have from 1 to 10 fields"] },
                { "path": "/rebalance/maxSkew", "errors": ["must be greater than 0"] },
                { "path": "/rebalance/intervalSeconds", "errors": ["must be from 1 to 3162240000"] },
            ] }),
        ),
        (
            json!({ "disruptionBudget": { "maxUnavailable": 1, "minAvailable": "50%", "windows": [{ "days": ["tuesday"], "from": "24:00", "to": "5:00" }] } }),
            json!({ "message": "Object is not valid", "details": [
                { "path": "/disruptionBudget/minAvailable", "errors": ["only one of maxUnavailable and minAvailable can be set"] },
                { "path": "/disruptionBudget/windows(0)/days(0)", "errors": ["`tuesday` is none of sun, mon, tue, wed, thu, fri, sat"] },
                { "path": "/disruptionBudget/windows(0)/from", "errors": ["`24:00` is no time of day such as 22:00"] },
                { "path": "/disruptionBudget/windows(0)/to", "errors": ["`5:00` is no time of day such as 22:00"] },
            ] }),
        ),
        (
            json!({ "restart": {} }),
            json!({ "message": "The policy cannot be read: unknown field `restart`, expected one of `autoscaling`, `restarts`, `rebalance`, `disruptionBudget`" }),
        ),
        (
            json!({ "disruptionBudget": { "maxUnavailable": "150%" } }),
            json!({ "message": "The policy cannot be read: \"150%\" is no number of instances, nor a percentage from \"0%\" to \"100%\"" }),
        ),
    ] {
        let answer = put(&mut cluster, &policy);
        assert_eq!((answer.status, body(&answer)), (422, want), "{policy}");
    }
    let whole = json!({
        "restarts": { "schedule": "0 3 * * mon", "utcOffset": "+02:00", "maxAgeSeconds": 86400 },
        "rebalance": { "over": ["@zone", "hostname"], "maxSkew": 2, "intervalSeconds": 300 },
        "disruptionBudget": { "maxUnavailable": "25%", "minIntervalSeconds": 60, "windows": [{ "days": ["sat", "sun"], "from": "22:00", "to": "05:00", "utcOffset": "-05:00" }] },
    });
    let answer = put(&mut cluster, &whole);
    assert_eq!(body(&answer)["policy"], whole, "what is set is shown");
    for more in [
        json!({ "labels": { "TEPUI_DAEMON": "true" } }),
        json!({ "role": "group", "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } }] } }),
    ] {
        let mut cluster = Cluster::new(1);
        web(&mut cluster, &more);
        let answer = put(&mut cluster, &json!({ "rebalance": {} }));
        assert_eq!(
            (answer.status, &body(&answer)["details"][0]["path"]),
            (422, &json!("/rebalance"))
        );
        let action = RebalanceAction::Ask { dry_run: true };
        let answer = cluster.call(ApiCall::Rebalance {
            id: ID.to_owned(),
            action,
        });
        assert_eq!(answer.status, 422);
        assert!(
            body(&answer)["message"]
                .as_str()
                .unwrap()
                .starts_with("/group/web cannot be rebalanced: ")
        );
    }
}
