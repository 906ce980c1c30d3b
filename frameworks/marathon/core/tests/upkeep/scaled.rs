//! Upkeep of apps whose number of instances changes meanwhile.

use tepui_marathon_core::{Measured, Usage};

use super::*;

/// One replacement is under way beside three old instances, and hangs; its task, and the old ones.
fn half_done(cluster: &mut Cluster, more: &Value) -> (String, BTreeSet<String>) {
    web(cluster, more);
    for instances in 1..=3 {
        // One after another, so that it is known which is the oldest.
        cluster.update(ID, &json!({ "instances": instances }).to_string());
        cluster.pass(2);
    }
    let first = tasks(cluster);
    let schedule = in_minutes(cluster, 1);
    set(cluster, &json!({ "restarts": { "schedule": schedule } }));
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    while cluster.tasks.len() < 4 {
        cluster.pass(1);
    }
    let mut all = cluster.tasks.keys();
    let hanging = all.find(|id| !first.contains(*id)).unwrap().clone();
    (hanging, first)
}

fn autoscaling(more: &Value) -> Value {
    let mut settings = json!({ "minInstances": 1, "maxInstances": 40, "metric": { "type": "cpu" }, "target": 50.0,
        "intervalSeconds": 5, "scaleUpCooldownSeconds": 0, "scaleDownCooldownSeconds": 0 });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    json!({ "autoscaling": settings })
}

/// What runs uses so much that the autoscaler wants so many.
fn want(cluster: &mut Cluster, instances: f64) {
    let running = cluster.running(ID);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let each = instances * 0.5 / running.len() as f64;
    let usage = running.into_iter().map(|task_id| Usage {
        task_id,
        cpus: each,
        mem_mib: 1.0,
    });
    let result = Ok(Measured::Usage(usage.collect()));
    let check = *cluster.measures.keys().next().unwrap();
    cluster.push(Input::Measured { check, result });
    cluster.run();
}

#[test]
fn a_replacement_that_is_under_way_outlasts_a_plain_scale() {
    for (instances, left) in [(5, 3), (2, 2), (0, 0)] {
        let mut cluster = Cluster::new(3);
        let (hanging, first) = half_done(&mut cluster, &json!({ "instances": 1 }));
        cluster.behaviour.clear();
        cluster.update(ID, &json!({ "instances": instances }).to_string());
        cluster.pass(2);
        let old = tasks(&cluster).intersection(&first).count();
        assert_eq!(old, left, "{instances}: no more end than are too many");
        assert_eq!(
            cluster.tasks.contains_key(&hanging),
            instances > 0,
            "{instances}"
        );
        assert_eq!(cluster.deployments(), json!([]), "{instances}: it is done");
        assert_eq!(
            cluster.running(ID).len(),
            instances,
            "the replacement still hangs"
        );
        if instances > 0 {
            cluster.report(&hanging, TaskState::TaskRunning);
            cluster.pass(1);
            assert!(tasks(&cluster).contains(&hanging));
            assert_eq!(
                tasks(&cluster).intersection(&first).count(),
                left - 1,
                "it has taken its place"
            );
        }
        cluster.pass(120);
        assert_eq!(cluster.tasks.len(), instances);
        assert!(tasks(&cluster).is_disjoint(&first), "{instances}");
        let view = explain(&mut cluster, ID);
        assert_eq!(view["upkeep"]["restarting"], Value::Null, "{view}");
    }
}

#[test]
fn an_instance_that_is_too_many_takes_its_replacement_with_it() {
    let mut cluster = Cluster::new(3);
    let oldest = json!({ "instances": 1, "killSelection": "OLDEST_FIRST" });
    let (hanging, first) = half_done(&mut cluster, &oldest);
    cluster.update(ID, r#"{"instances":2}"#);
    assert_eq!(
        cluster.tasks.len(),
        2,
        "the oldest, which is the first that is replaced, and no third"
    );
    assert!(!cluster.tasks.contains_key(&hanging));
    assert!(tasks(&cluster).is_subset(&first));
    assert_eq!(cluster.deployments(), json!([]));
    cluster.behaviour.clear();
    cluster.pass(60);
    assert_eq!(
        (tasks(&cluster).is_disjoint(&first), cluster.tasks.len()),
        (true, 2)
    );
}

#[test]
fn a_replacement_for_which_fewer_instances_leave_no_room_is_given_up() {
    let mut cluster = Cluster::new(3);
    // Beside six there is room for one, beside three there is none.
    let strategy = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2 });
    let more = json!({ "instances": 1, "upgradeStrategy": strategy });
    web(&mut cluster, &more);
    for instances in 2..=6 {
        // One after another, so that the oldest, which is the first that is replaced, is one of those that stay.
        cluster.update(ID, &json!({ "instances": instances }).to_string());
        cluster.pass(2);
    }
    let first = tasks(&cluster);
    let schedule = in_minutes(&cluster, 1);
    set(
        &mut cluster,
        &json!({ "restarts": { "schedule": schedule } }),
    );
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    while cluster.tasks.len() < 7 {
        cluster.pass(1);
    }
    cluster.behaviour.clear();
    cluster.update(ID, r#"{"instances":3}"#);
    let watched = watch(&mut cluster, 120);
    assert_eq!((watched.most, cluster.tasks.len()), (3, 3));
    assert!(
        tasks(&cluster).is_disjoint(&first),
        "they are restarted all the same"
    );
}

#[test]
fn the_next_leader_goes_on_with_a_replacement_while_the_app_is_scaled() {
    let mut cluster = Cluster::new(3);
    let (hanging, first) = half_done(&mut cluster, &json!({ "instances": 1 }));
    // There is no room for so many.
    cluster.update(ID, r#"{"instances":40}"#);
    cluster.pass(1);
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
    cluster.fail_over();
    cluster.run();
    cluster.pass(1);
    assert!(cluster.tasks.contains_key(&hanging), "it is no surplus");
    cluster.report(&hanging, TaskState::TaskRunning);
    cluster.pass(1);
    assert_eq!(tasks(&cluster).intersection(&first).count(), 2);
    let told = explain(&mut cluster, ID)["reasons"].to_string();
    assert!(
        told.contains("restart of 2 instances waits: deployment"),
        "somebody's deployment goes first: {told}"
    );
}

#[test]
fn what_its_autoscaler_scales_again_and_again_is_restarted_all_the_same() {
    let mut cluster = Cluster::new(6);
    let policy = autoscaling(&json!({}));
    web(
        &mut cluster,
        &json!({ "cpus": 0.5, "healthChecks": [{ "intervalSeconds": 1, "gracePeriodSeconds": 5 }] }),
    );
    set(&mut cluster, &policy);
    let first = tasks(&cluster);
    let mut policy = policy.clone();
    policy["restarts"] = json!({ "schedule": in_minutes(&cluster, 1) });
    set(&mut cluster, &policy);
    let (mut changes, mut before) = (0, json!(3));
    for second in 0..180 {
        // Half of what there is room for, and a little more or less: each time another deployment.
        want(&mut cluster, [3.0, 5.0][second % 2]);
        let now = cluster.app(ID)["instances"].clone();
        changes += usize::from(now != before);
        before = now;
        cluster.pass(1);
    }
    assert!(changes > 100, "{changes} times it was scaled");
    assert!(tasks(&cluster).is_disjoint(&first), "all are replaced");
    let view = explain(&mut cluster, ID)["upkeep"].clone();
    assert_eq!(view["restarting"], Value::Null, "{view}");
    assert!(view["lastRestart"].is_string(), "{view}");
}

#[test]
fn what_an_autoscaler_has_no_room_for_holds_no_restart_and_its_budget_holds() {
    let mut cluster = Cluster::new(2);
    for agent in &mut cluster.agents {
        agent.cpus = 2.5;
    }
    let policy = autoscaling(&json!({ "maxInstances": 12 }));
    web(&mut cluster, &json!({ "cpus": 1 }));
    let first = tasks(&cluster);
    let mut policy = policy.clone();
    policy["restarts"] = json!({ "schedule": in_minutes(&cluster, 1) });
    policy["disruptionBudget"] = json!({ "maxUnavailable": 1 });
    set(&mut cluster, &policy);
    want(&mut cluster, 12.0);
    cluster.pass(10);
    let filled = cluster.running(ID).len();
    assert!((4..12).contains(&filled), "{filled} have room");
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
    let watched = watch(&mut cluster, 900);
    assert!(tasks(&cluster).is_disjoint(&first), "all are replaced");
    assert_eq!(watched.fewest, filled - 1, "one at a time");
    assert_eq!(cluster.deployments().as_array().unwrap().len(), 1);
    // An instance that fails is away, whatever the autoscaler waits for.
    let mut policy = policy.clone();
    policy["restarts"] = json!({ "schedule": in_minutes(&cluster, 1) });
    set(&mut cluster, &policy);
    cluster.behaviour.insert("run".to_owned(), Behaviour::Hangs);
    let (ill, before) = (cluster.running(ID)[0].clone(), tasks(&cluster));
    cluster.report(&ill, TaskState::TaskFailed);
    cluster.pass(200);
    assert_eq!(
        before.difference(&tasks(&cluster)).count(),
        1,
        "nothing else was taken away"
    );
}
