//! How daemon apps are replaced, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{
    Cluster,
    daemons::{daemon, one_on, places},
};
use serde_json::json;

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
