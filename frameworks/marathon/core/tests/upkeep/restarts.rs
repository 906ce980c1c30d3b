//! Scheduled restarts, and the budget for them.

use super::*;

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
    let hanging = |cluster: &Cluster| {
        let mut all = cluster.tasks.iter();
        let found = all.find(|(_, task)| task.state != TaskState::TaskRunning);
        found.map(|(id, _)| id.clone())
    };
    let replacement = hanging(&cluster).unwrap();
    cluster.update(ID, r#"{"cmd":"run","instances":2}"#);
    assert!(
        !cluster.tasks.contains_key(&replacement),
        "the replacement is gone"
    );
    cluster.behaviour.clear();
    cluster.pass(60);
    assert_eq!((cluster.tasks.len(), cluster.running(ID).len()), (2, 2));
    cluster.update(ID, r#"{"cmd":"slow"}"#);
    cluster.pass(60);
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
    let hanging = hanging(&cluster).unwrap();
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

/// A daemon app on four agents that behaves like that after its restart, which is soon; and its tasks before.
fn about_to_fail(behaviour: Behaviour) -> (Cluster, BTreeSet<String>) {
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
    (cluster, first)
}

#[test]
fn a_daemon_app_that_fails_after_its_restart_is_taken_away_nowhere_else() {
    for (name, behaviour) in [("fails", Behaviour::Fails), ("hangs", Behaviour::Hangs)] {
        let (mut cluster, first) = about_to_fail(behaviour);
        cluster.pass(3600);
        let left = tasks(&cluster).intersection(&first).count();
        assert_eq!(left, 3, "{name}: one was taken, and did not come back");
    }
}

#[test]
fn a_daemon_app_that_fails_after_its_restart_is_taken_away_nowhere_else_by_the_next_leaders() {
    for (name, behaviour) in [("fails", Behaviour::Fails), ("hangs", Behaviour::Hangs)] {
        let (mut cluster, first) = about_to_fail(behaviour);
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
