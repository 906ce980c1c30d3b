//! Rebalancing.

use super::*;

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

/// Six instances on one of three agents, to be spread because somebody asked for it; one was moved.
fn asked_for() -> Cluster {
    let mut cluster = Cluster::new(1);
    web(&mut cluster, &json!({ "instances": 6 }));
    cluster.agents.extend((1..3).map(Agent::new));
    balance(&mut cluster, RebalanceAction::Ask { dry_run: false });
    while places(&cluster, ID).len() < 2 {
        cluster.pass(1);
    }
    assert!(kept(&cluster));
    cluster
}

fn kept(cluster: &Cluster) -> bool {
    cluster
        .store
        .keys()
        .any(|key| key.starts_with("rebalance/"))
}

#[test]
fn what_was_asked_for_is_done_by_the_next_leaders_too_and_then_forgotten() {
    let mut cluster = asked_for();
    for _ in 0..3 {
        cluster.fail_over();
        cluster.run();
        let answer = balance(&mut cluster, RebalanceAction::Show);
        assert_eq!(answer["asked"], "once", "{answer}");
        cluster.pass(3);
    }
    cluster.pass(120);
    assert_eq!(places(&cluster, ID), on(&[2, 2, 2]));
    assert!(!kept(&cluster), "it is done");
    let answer = balance(&mut cluster, RebalanceAction::Show);
    assert_eq!(answer["asked"], Value::Null);
    // A plan is for who asks, and for nobody after.
    balance(&mut cluster, RebalanceAction::Ask { dry_run: true });
    assert!(!kept(&cluster));
    cluster.fail_over();
    cluster.run();
    let answer = balance(&mut cluster, RebalanceAction::Show);
    assert_eq!(answer["asked"], Value::Null);
}

#[test]
fn what_was_asked_for_outlasts_a_policy_and_ends_with_its_app_or_when_it_is_called_off() {
    let mut cluster = asked_for();
    set(
        &mut cluster,
        &json!({ "restarts": { "maxAgeSeconds": 86400 } }),
    );
    set(&mut cluster, &json!({}));
    assert!(kept(&cluster), "no policy asked for it");
    cluster.pass(200);
    assert_eq!(
        (places(&cluster, ID), kept(&cluster)),
        (on(&[2, 2, 2]), false)
    );

    let mut cluster = asked_for();
    let answer = balance(&mut cluster, RebalanceAction::Cancel);
    assert_eq!((&answer["asked"], kept(&cluster)), (&Value::Null, false));
    cluster.pass(30);
    let before = places(&cluster, ID);
    cluster.pass(300);
    assert_eq!(
        places(&cluster, ID),
        before,
        "what had begun was finished, no more"
    );
    assert_ne!(before, on(&[2, 2, 2]));

    let mut cluster = asked_for();
    cluster.update(ID, r#"{"labels":{"TEPUI_DAEMON":"true"}}"#);
    cluster.pass(30);
    assert!(!kept(&cluster), "a daemon app stays where it is");

    let mut cluster = asked_for();
    cluster.call(cluster::delete(ID));
    cluster.pass(5);
    assert!(!kept(&cluster));
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
