//! Machines that go down for maintenance.

use super::*;

/// Its machine goes down in so many seconds, for an hour.
fn goes_down(cluster: &mut Cluster, at: usize, seconds: u64) {
    let begins = cluster.now + Duration::from_secs(seconds);
    cluster.agents[at].window = Some((begins, begins + Duration::from_secs(3600)));
}

/// Time passes, and the master asks again as often as it is let; how it went, and the last answer.
fn pass_asking(cluster: &mut Cluster, at: usize, seconds: u64) -> (Watched, bool) {
    let (mut all, mut accepted, mut next) = (Watched::default(), false, 0);
    (all.fewest, all.healthy) = (usize::MAX, usize::MAX);
    for second in 0..seconds {
        if second >= next
            && let Some((yes, refuse_ms)) = cluster.ask_to_leave(at)
        {
            (accepted, next) = (yes, second + refuse_ms / 1000);
        }
        let watched = watch(cluster, 1);
        all.fewest = all.fewest.min(watched.fewest);
        all.most = all.most.max(watched.most);
        all.ends.extend(watched.ends.iter().map(|_| second));
    }
    (all, accepted)
}

fn on_agent(cluster: &Cluster, at: usize) -> usize {
    places(cluster, ID).get(&at).copied().unwrap_or_default()
}

/// Three instances on the first of three agents.
fn crowded(more: &Value) -> Cluster {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, more);
    assert_eq!(on_agent(&cluster, 0), 3);
    cluster.agents.extend((1..3).map(Agent::new));
    cluster
}

#[test]
fn instances_leave_a_machine_before_it_goes_down_replacements_first() {
    let mut cluster = crowded(&json!({ "healthChecks": [{ "intervalSeconds": 1 }] }));
    // The third agent goes down a little later: what leaves does not go there.
    goes_down(&mut cluster, 0, 7200);
    goes_down(&mut cluster, 2, 7500);
    let first = tasks(&cluster);
    let (accepted, refuse_ms) = cluster.ask_to_leave(0).unwrap();
    assert_eq!((accepted, refuse_ms), (false, 600_000), "there is time");
    let (watched, accepted) = pass_asking(&mut cluster, 0, 6290);
    assert_eq!(
        (watched.ends.len(), accepted),
        (0, false),
        "not before its time"
    );
    assert_eq!(tasks(&cluster), first);
    let (watched, accepted) = pass_asking(&mut cluster, 0, 300);
    assert_eq!(
        (watched.fewest, watched.most),
        (3, 4),
        "each beside the old one"
    );
    assert!(tasks(&cluster).is_disjoint(&first));
    assert_eq!(places(&cluster, ID), BTreeMap::from([(1, 3)]));
    assert!(accepted, "nothing is there any more");
    assert_eq!(cluster.view.disruptions(), (0, 3));
    assert_eq!(explain(&mut cluster, ID)["reasons"], json!([]));
}

#[test]
fn its_budget_holds_and_the_next_leader_goes_on() {
    let strategy = json!({ "minimumHealthCapacity": 0, "maximumOverCapacity": 0 });
    let mut cluster = crowded(&json!({ "upgradeStrategy": strategy }));
    set(
        &mut cluster,
        &json!({ "disruptionBudget": { "maxUnavailable": 1, "windows": [{ "from": "03:00", "to": "03:01" }] } }),
    );
    goes_down(&mut cluster, 0, 600);
    let (watched, accepted) = pass_asking(&mut cluster, 0, 120);
    assert_eq!(watched.fewest, 2, "one at a time");
    assert_eq!((on_agent(&cluster, 0), accepted), (0, true));

    let mut cluster = crowded(&json!({}));
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    goes_down(&mut cluster, 0, 600);
    pass_asking(&mut cluster, 0, 30);
    assert_eq!(cluster.tasks.len(), 4, "one is on its way");
    let before: BTreeSet<String> = cluster.tasks.keys().cloned().collect();
    for _ in 0..3 {
        cluster.fail_over();
        cluster.run();
        cluster.pass(5);
        let now: BTreeSet<String> = cluster.tasks.keys().cloned().collect();
        assert_eq!(now, before, "nothing is begun anew");
    }
    cluster.behaviour.clear();
    let hanging = before
        .iter()
        .find(|id| cluster.tasks[*id].state != TaskState::TaskRunning);
    cluster.report(&hanging.unwrap().clone(), TaskState::TaskRunning);
    let (watched, accepted) = pass_asking(&mut cluster, 0, 120);
    assert_eq!(
        (watched.fewest, on_agent(&cluster, 0), accepted),
        (3, 0, true)
    );
}

#[test]
fn what_has_no_place_elsewhere_stays_and_says_so_until_the_maintenance_is_called_off() {
    let mut cluster = crowded(&json!({}));
    for at in 1..3 {
        cluster.agents[at].cpus = 0.5;
    }
    let first = tasks(&cluster);
    goes_down(&mut cluster, 0, 600);
    let (watched, accepted) = pass_asking(&mut cluster, 0, 550);
    assert_eq!((watched.ends.len(), accepted), (0, false));
    let view = explain(&mut cluster, ID);
    assert_eq!(
        (&view["waiting"], &view["upkeep"]["leaving"]),
        (&json!(1), &json!(2)),
        "{view}"
    );
    let told = view["upkeep"]["told"][0].as_str().unwrap();
    assert!(
        told.starts_with("instances leave agents that go down for maintenance from 20"),
        "{told}"
    );
    // It is called off, and nobody asks any more.
    cluster.agents[0].window = None;
    cluster.pass(200);
    assert_eq!(tasks(&cluster), first);
    let view = explain(&mut cluster, ID);
    assert_eq!(
        (&view["waiting"], &view["upkeep"]["leaving"]),
        (&json!(0), &json!(0)),
        "{view}"
    );
    assert_eq!(cluster.tasks.len(), 3);
}

#[test]
fn what_is_to_stay_stays() {
    let stays = json!({ "maintenance": { "leave": false } });
    let resident = json!({ "role": "group", "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } }] } });
    for (more, policy, ready) in [
        (json!({}), stays, false),
        (resident, json!({}), false),
        // They belong to their agents.
        (
            json!({ "instances": 1, "labels": { "TEPUI_DAEMON": "true" } }),
            json!({}),
            true,
        ),
    ] {
        let mut cluster = Cluster::new(1);
        web(&mut cluster, &more);
        set(&mut cluster, &policy);
        cluster.agents.push(Agent::new(1));
        let before = on_agent(&cluster, 0);
        goes_down(&mut cluster, 0, 300);
        let (_, accepted) = pass_asking(&mut cluster, 0, 290);
        assert_eq!((on_agent(&cluster, 0), accepted), (before, ready), "{more}");
    }
    // An agent without anything on it may go down, whenever that is.
    let mut cluster = crowded(&json!({}));
    goes_down(&mut cluster, 1, 86_400);
    assert_eq!(cluster.ask_to_leave(1), Some((true, 60_000)));
}

#[test]
fn what_is_ill_leaves_too_and_a_deployment_goes_first() {
    let mut cluster = crowded(
        &json!({ "healthChecks": [{ "intervalSeconds": 1, "maxConsecutiveFailures": 0, "gracePeriodSeconds": 2 }] }),
    );
    cluster.pass(5);
    let ill = cluster.running(ID)[0].clone();
    cluster.unhealthy = Some(ill.clone());
    goes_down(&mut cluster, 0, 600);
    let (_, accepted) = pass_asking(&mut cluster, 0, 200);
    assert_eq!((on_agent(&cluster, 0), accepted), (0, true));

    let mut cluster = crowded(&json!({}));
    cluster
        .behaviour
        .insert("hang".to_owned(), Behaviour::Hangs);
    cluster.update(ID, r#"{"cmd":"hang"}"#);
    goes_down(&mut cluster, 0, 600);
    pass_asking(&mut cluster, 0, 60);
    let told = explain(&mut cluster, ID)["reasons"].to_string();
    assert!(
        told.contains("3 instances on agents that go down for maintenance wait: deployment"),
        "{told}"
    );
    assert_eq!(on_agent(&cluster, 0), 3);
    let id = cluster.deployments()[0]["id"].as_str().unwrap().to_owned();
    cluster.call(ApiCall::CancelDeployment { id, force: false });
    let (_, accepted) = pass_asking(&mut cluster, 0, 120);
    assert_eq!((on_agent(&cluster, 0), accepted), (0, true));
}

/// What is told of the machines that go down.
fn machines(cluster: &mut Cluster) -> Value {
    let answer = cluster.call(ApiCall::Explain { id: ID.to_owned() });
    body(&answer)["machines"].take()
}

#[test]
fn it_is_told_which_machines_go_down_and_why_instances_are_still_there() {
    let mut cluster = crowded(&json!({}));
    assert_eq!(machines(&mut cluster), json!([]));
    goes_down(&mut cluster, 0, 7200);
    cluster.ask_to_leave(0);
    let told = machines(&mut cluster);
    let at = |seconds: i64| Timestamp::from_millis(cluster.now.as_millis() + seconds * 1000);
    let (begins, ends, leaves) = (at(7200), at(7200 + 3600), at(7200 - 900));
    assert_eq!(told[0]["host"], "host0");
    assert_eq!(told[0]["instances"].as_array().unwrap().len(), 3);
    for (field, want) in [
        ("begins", json!(begins)),
        ("ends", json!(ends)),
        ("leavesAt", json!(leaves)),
        ("why", Value::Null),
    ] {
        assert_eq!(told[0][field], want, "{field}");
    }
    // It is time, and nothing else has room.
    for agent in &mut cluster.agents[1..] {
        agent.cpus = 0.0;
    }
    pass_asking(&mut cluster, 0, 6_500);
    let told = machines(&mut cluster);
    assert_eq!(told[0]["why"], "a replacement waits for an offer that fits");
    for agent in &mut cluster.agents[1..] {
        agent.cpus = 8.0;
    }
    cluster.offer();
    cluster.run();
    pass_asking(&mut cluster, 0, 60);
    assert_eq!(machines(&mut cluster), json!([]), "nothing is there now");
    // Some stay.
    set(&mut cluster, &json!({ "maintenance": { "leave": false } }));
    goes_down(&mut cluster, 1, 60);
    cluster.ask_to_leave(1);
    let told = machines(&mut cluster);
    assert_eq!(
        (&told[0]["leavesAt"], &told[0]["why"]),
        (
            &Value::Null,
            &json!("the app's policy lets them stay until the machine goes down")
        )
    );
}
