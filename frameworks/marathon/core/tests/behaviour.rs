//! What an application owner sees, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Behaviour, Cluster, body, delete, update};
use serde_json::json;
use tepui_marathon_core::{ApiCall, view::Query};
use tepui_proto::mesos::TaskState;

const WEB: &str = r#"{"id":"/web","cmd":"serve","cpus":0.5,"mem":32,"instances":3,"healthChecks":[{"protocol":"HTTP","path":"/health",
    "intervalSeconds":1,"gracePeriodSeconds":5,"maxConsecutiveFailures":2}]}"#;

#[test]
fn an_app_is_deployed_found_healthy_scaled_and_deleted() {
    let mut cluster = Cluster::new(2);
    let created = cluster.create(WEB);
    assert_eq!(
        (created.status, created.location.as_deref()),
        (201, Some("/web"))
    );
    let deployment = body(&created)["deployments"][0]["id"].clone();
    assert_eq!(created.deployment_id.as_deref(), deployment.as_str());
    assert_eq!(cluster.running("/web").len(), 3);
    let deployments = cluster.deployments();
    assert_eq!(deployments[0]["id"], deployment);
    assert_eq!(
        (
            &deployments[0]["currentStep"],
            &deployments[0]["totalSteps"]
        ),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        deployments[0]["currentActions"],
        json!([{ "action": "ScaleApplication", "app": "/web", "readinessCheckResults": [] }])
    );
    cluster.pass(1);
    assert_eq!(
        cluster.deployments(),
        json!([]),
        "all instances are healthy"
    );
    let app = cluster.app("/web");
    let counts = [
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
    ]
    .map(|key| app[key].as_u64().unwrap());
    assert_eq!(counts, [0, 3, 3, 0]);
    assert_eq!(app["portDefinitions"][0]["port"], json!(10_000));
    let hosts: std::collections::BTreeSet<_> = app["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["host"].to_string())
        .collect();
    assert_eq!(hosts.len(), 2, "instances spread over the agents");

    assert_eq!(cluster.update("web", r#"{"instances":5}"#).status, 200);
    cluster.pass(1);
    assert_eq!(
        (cluster.running("/web").len(), cluster.deployments()),
        (5, json!([]))
    );
    let kept = cluster.running("/web");
    cluster.update("/web", r#"{"instances":1}"#);
    cluster.pass(1);
    let left = cluster.running("/web");
    assert_eq!((left.len(), cluster.deployments()), (1, json!([])));
    assert!(kept.contains(&left[0]), "scaling down restarts nothing");

    assert_eq!(cluster.call(delete("/web")).status, 200);
    assert!(cluster.tasks.is_empty());
    assert_eq!(
        cluster.get(&Query::App {
            id: "web".into(),
            embed: Default::default()
        }),
        (404, json!({ "message": "App '/web' does not exist" }))
    );
    let past = |key: &&String| key.starts_with("history/") || key.starts_with("past/");
    assert_eq!(
        cluster
            .store
            .keys()
            .filter(|key| !past(key))
            .collect::<Vec<_>>(),
        ["ended/%2Fweb/0000000000", "framework"],
        "nothing of a deleted app stays but what its group may go back to, and the tasks that ended"
    );
    let types = cluster.event_types();
    for name in [
        "api_post_event",
        "group_change_success",
        "deployment_info",
        "deployment_step_success",
        "deployment_success",
        "status_update_event",
        "instance_changed_event",
        "health_status_changed_event",
        "instance_health_changed_event",
        "app_terminated_event",
        "add_health_check_event",
    ] {
        assert!(types.contains(&name), "{name}");
    }
}

#[test]
fn tasks_get_marathons_variables_ports_and_names() {
    let mut cluster = Cluster::new(1);
    cluster.create(
        r#"{"id":"/prod/web","cmd":"serve","cpus":0.1,"mem":32,"env":{"PORT_ADMIN":"mine","A":"b"},"labels":{"a.b-c":"x"},
            "portDefinitions":[{"port":0,"name":"http","labels":{"VIP":"1"}},{"port":8081,"name":"admin","protocol":"udp,tcp"}],
            "healthChecks":[{"protocol":"MESOS_HTTP","path":"ping","portIndex":1}],"taskKillGracePeriodSeconds":7}"#,
    );
    let info = &cluster.launched[0];
    assert_eq!(info.name, "web.prod");
    assert!(
        info.task_id.value.starts_with("prod_web.instance-")
            && info.task_id.value.ends_with("._app.1")
    );
    let command = info.command.as_ref().unwrap();
    let variables = &command.environment.as_ref().unwrap().variables;
    let value = |name: &str| {
        variables
            .iter()
            .find(|one| one.name == name)
            .and_then(|one| one.value.clone())
            .unwrap_or_default()
    };
    let app = cluster.app("/prod/web");
    let ports: Vec<u64> = app["tasks"][0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port.as_u64().unwrap())
        .collect();
    for (name, want) in [
        ("MESOS_TASK_ID", info.task_id.value.clone()),
        ("MARATHON_APP_ID", "/prod/web".to_owned()),
        (
            "MARATHON_APP_VERSION",
            app["version"].as_str().unwrap().to_owned(),
        ),
        ("MARATHON_APP_RESOURCE_CPUS", "0.1".to_owned()),
        ("MARATHON_APP_RESOURCE_MEM", "32.0".to_owned()),
        ("MARATHON_APP_RESOURCE_DISK", "0.0".to_owned()),
        ("MARATHON_APP_RESOURCE_GPUS", "0".to_owned()),
        ("MARATHON_APP_LABELS", "A_B_C".to_owned()),
        ("MARATHON_APP_LABEL_A_B_C", "x".to_owned()),
        ("HOST", "host0".to_owned()),
        ("PORT", ports[0].to_string()),
        ("PORT0", ports[0].to_string()),
        ("PORT1", ports[1].to_string()),
        ("PORTS", format!("{},{}", ports[0], ports[1])),
        ("PORT_HTTP", ports[0].to_string()),
        ("PORT_10000", ports[0].to_string()),
        ("PORT_8081", ports[1].to_string()),
        ("PORT_ADMIN", "mine".to_owned()),
        ("A", "b".to_owned()),
    ] {
        assert_eq!(value(name), want, "{name}");
    }
    let discovery = info.discovery.as_ref().unwrap();
    assert_eq!(discovery.name.as_deref(), Some("web.prod"));
    let described: Vec<_> = discovery
        .ports
        .as_ref()
        .unwrap()
        .ports
        .iter()
        .map(|port| (u64::from(port.number), port.protocol().to_owned()))
        .collect();
    assert_eq!(
        described,
        [
            (ports[0], "tcp".into()),
            (ports[1], "udp".into()),
            (ports[1], "tcp".into())
        ]
    );
    let check = info.health_check.as_ref().unwrap().http.as_ref().unwrap();
    assert_eq!(
        (u64::from(check.port), check.path.as_deref()),
        (ports[1], Some("/ping"))
    );
    assert_eq!(
        info.kill_policy
            .as_ref()
            .unwrap()
            .grace_period
            .as_ref()
            .unwrap()
            .nanoseconds,
        7_000_000_000
    );
    assert!(cluster.probes.is_empty(), "the executor probes");
}

#[test]
fn a_rolling_upgrade_keeps_its_bounds_at_every_moment() {
    for (instances, minimum, over) in [
        (10, 1.0, 1.0),
        (10, 0.5, 0.2),
        (10, 1.0, 0.0),
        (3, 0.0, 0.0),
        (1, 0.5, 0.5),
        (4, 0.75, 0.25),
    ] {
        let mut cluster = Cluster::new(3);
        let document = format!(
            r#"{{"id":"/web","cmd":"old","cpus":0.1,"mem":1,"instances":{instances},"healthChecks":[{{"gracePeriodSeconds":1,"intervalSeconds":1}}],
                "upgradeStrategy":{{"minimumHealthCapacity":{minimum},"maximumOverCapacity":{over}}}}}"#
        );
        cluster.create(&document);
        cluster.pass(1);
        assert_eq!(cluster.deployments(), json!([]));
        cluster.invariant = Some(|cluster| {
            let app = cluster.app("/web");
            let instances = app["instances"].as_f64().unwrap();
            let strategy = &app["upgradeStrategy"];
            let least =
                (instances * strategy["minimumHealthCapacity"].as_f64().unwrap()).ceil() as usize;
            let most = (instances * (1.0 + strategy["maximumOverCapacity"].as_f64().unwrap()))
                .floor() as usize;
            let most = if least == most { most + 1 } else { most };
            let healthy = app["tasksHealthy"].as_u64().unwrap() as usize;
            assert!(
                cluster.tasks.len() <= most,
                "{} tasks run, {most} may",
                cluster.tasks.len()
            );
            // A task that was told to end is not yet gone from the counts; one that ended is.
            assert!(
                healthy >= least,
                "{healthy} are healthy, {least} have to be"
            );
        });
        assert_eq!(cluster.update("/web", r#"{"cmd":"new"}"#).status, 200);
        cluster.pass(40);
        assert_eq!(
            cluster.deployments(),
            json!([]),
            "{instances} {minimum} {over}"
        );
        let commands: Vec<_> = cluster
            .tasks
            .values()
            .map(|task| task.info.command.as_ref().unwrap().value.clone().unwrap())
            .collect();
        assert_eq!(commands, vec!["new"; instances]);
    }
}

#[test]
fn an_upgrade_that_never_gets_healthy_waits_and_can_be_undone_without_touching_what_fits() {
    let mut cluster = Cluster::new(3);
    cluster.create(WEB);
    cluster.pass(1);
    let old = cluster.running("/web");
    cluster
        .behaviour
        .insert("broken".to_owned(), Behaviour::Hangs);
    let deployed = cluster.update("/web", r#"{"cmd":"broken"}"#);
    cluster.pass(5);
    assert!(
        old.iter().all(|task| cluster.tasks.contains_key(task)),
        "enough stay healthy"
    );
    let refused = cluster.update("/web", r#"{"instances":4}"#);
    let id = deployed.deployment_id.unwrap();
    assert_eq!(
        (refused.status, &body(&refused)["deployments"]),
        (409, &json!([{ "id": id }]))
    );
    let undone = cluster.call(ApiCall::CancelDeployment {
        id: id.clone(),
        force: false,
    });
    assert_eq!(undone.status, 200);
    cluster.pass(2);
    assert_eq!(cluster.deployments(), json!([]));
    assert_eq!(
        cluster.running("/web"),
        old,
        "the old instances were not restarted"
    );
    assert_eq!(cluster.app("/web")["cmd"], "serve");
    assert_eq!(
        cluster
            .call(ApiCall::CancelDeployment { id, force: true })
            .status,
        404
    );
}

#[test]
fn an_unhealthy_instance_is_replaced_after_its_grace_and_borne_failures() {
    let mut cluster = Cluster::new(2);
    cluster.create(WEB);
    cluster.pass(1);
    let sick = cluster.running("/web")[0].clone();
    cluster.unhealthy = Some(sick.clone());
    cluster.pass(2);
    assert!(cluster.tasks.contains_key(&sick), "two failures are borne");
    assert_eq!(cluster.app("/web")["tasksUnhealthy"], 1);
    cluster.pass(1);
    assert!(!cluster.tasks.contains_key(&sick), "the third kills");
    cluster.pass(2);
    let app = cluster.app("/web");
    assert_eq!(
        (&app["tasksHealthy"], &app["lastTaskFailure"]["state"]),
        (&json!(3), &json!("TASK_KILLED"))
    );
    assert_eq!(
        app["lastTaskFailure"]["message"],
        "Task was killed since health check failed. Reason: 503 Service Unavailable"
    );
    let again = sick.replace("._app.1", "._app.2");
    assert!(
        cluster.tasks.contains_key(&again),
        "the same instance has a new task"
    );
    assert!(
        cluster
            .event_types()
            .contains(&"unhealthy_instance_kill_event")
    );
}

#[test]
fn a_failing_app_backs_off_further_and_further_until_its_delay_is_reset() {
    let mut cluster = Cluster::new(1);
    cluster
        .behaviour
        .insert("crash".to_owned(), Behaviour::Fails);
    cluster.create(r#"{"id":"/crash","cmd":"crash","cpus":0.1,"mem":1,"backoffSeconds":2,"backoffFactor":2,"maxLaunchDelaySeconds":60}"#);
    let mut launches = vec![cluster.launched.len()];
    for _ in 0..40 {
        cluster.pass(1);
        launches.push(cluster.launched.len());
    }
    let times: Vec<usize> = (1..launches.len())
        .filter(|at| launches[*at] > launches[*at - 1])
        .collect();
    assert_eq!(launches[0], 1);
    assert_eq!(times, [2, 6, 14, 30], "after 2, 4, 8, 16 seconds");
    let queue = body(&cluster.call(ApiCall::Queue {
        last_unused_offers: false,
    }));
    assert_eq!(
        queue["queue"][0]["delay"],
        json!({ "timeLeftSeconds": 22, "overdue": false })
    );
    assert_eq!(queue["queue"][0]["count"], 1);
    assert_eq!(
        cluster.app("/crash")["lastTaskFailure"]["state"],
        "TASK_FAILED"
    );
    assert_eq!(
        cluster
            .call(ApiCall::ResetDelay { id: "crash".into() })
            .status,
        204
    );
    assert_eq!(cluster.launched.len(), 6);
    assert_eq!(
        cluster
            .call(ApiCall::ResetDelay { id: "other".into() })
            .status,
        404
    );
    let ids: Vec<_> = cluster
        .launched
        .iter()
        .map(|info| info.task_id.value.rsplit('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        ids,
        ["1", "2", "3", "4", "5", "6"],
        "one instance, many incarnations"
    );
}

#[test]
fn a_new_leader_finds_everything_and_goes_on() {
    let mut cluster = Cluster::new(2);
    cluster.create(WEB);
    cluster.pass(1);
    cluster.create(r#"{"id":"/hang","cmd":"hang","cpus":0.1,"mem":1,"instances":2}"#);
    cluster
        .behaviour
        .insert("stuck".to_owned(), Behaviour::Hangs);
    cluster.update("/hang", r#"{"cmd":"stuck"}"#);
    let deployments = cluster.deployments();
    let tasks: Vec<String> = cluster.tasks.keys().cloned().collect();
    let launched = cluster.launched.len();
    let app = cluster.app("/web");
    cluster.fail_over();
    cluster.run();
    assert_eq!(cluster.core.framework_id(), Some("framework-1"));
    assert_eq!(
        cluster.tasks.keys().cloned().collect::<Vec<_>>(),
        tasks,
        "nothing is disturbed"
    );
    assert_eq!(
        cluster.launched.len(),
        launched,
        "nothing is launched twice"
    );
    assert_eq!(cluster.deployments()[0]["id"], deployments[0]["id"]);
    cluster.pass(1);
    let again = cluster.app("/web");
    for key in [
        "tasks",
        "version",
        "versionInfo",
        "tasksHealthy",
        "instances",
    ] {
        let strip = |value: &serde_json::Value| match value.as_array() {
            Some(tasks) => json!(
                tasks
                    .iter()
                    .map(|task| [
                        &task["id"],
                        &task["ports"],
                        &task["startedAt"],
                        &task["version"]
                    ])
                    .collect::<Vec<_>>()
            ),
            None => value.clone(),
        };
        assert_eq!(strip(&again[key]), strip(&app[key]), "{key}");
    }
    let stuck: Vec<String> = cluster
        .tasks
        .iter()
        .filter(|(_, task)| task.state == TaskState::TaskStarting)
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(stuck.len(), 2);
    for id in stuck {
        cluster.report(&id, TaskState::TaskRunning);
    }
    cluster.run();
    assert_eq!(
        cluster.deployments(),
        json!([]),
        "the deployment was finished by the new leader"
    );
}

#[test]
fn a_task_that_vanished_while_nobody_led_is_replaced() {
    let mut cluster = Cluster::new(2);
    cluster.create(WEB);
    cluster.pass(1);
    let lost = cluster.running("/web")[0].clone();
    cluster.tasks.remove(&lost);
    cluster.fail_over();
    cluster.run();
    cluster.pass(3);
    assert_eq!(cluster.running("/web").len(), 3);
    assert!(!cluster.tasks.contains_key(&lost));
}

#[test]
fn unreachable_tasks_are_replaced_and_killed_when_they_return() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/a","cmd":"sleep 9","cpus":0.1,"mem":1,"instances":2}"#);
    let lost = cluster.running("/a")[0].clone();
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.run();
    assert_eq!(cluster.running("/a").len(), 2, "replaced at once");
    cluster.report(&lost, TaskState::TaskRunning);
    cluster.run();
    assert!(
        !cluster.tasks.contains_key(&lost),
        "it is unknown and killed"
    );
    assert_eq!(cluster.running("/a").len(), 2);

    cluster.update(
        "/a",
        r#"{"unreachableStrategy":{"inactiveAfterSeconds":5,"expungeAfterSeconds":10}}"#,
    );
    cluster.pass(2);
    let lost = cluster.running("/a")[0].clone();
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.pass(4);
    assert_eq!(
        (
            cluster.running("/a").len(),
            cluster.app("/a")["tasksRunning"].clone()
        ),
        (1, json!(1))
    );
    cluster.pass(2);
    assert_eq!(
        cluster.running("/a").len(),
        2,
        "replaced after five seconds"
    );
    cluster.report(&lost, TaskState::TaskRunning);
    cluster.run();
    assert_eq!(cluster.running("/a").len(), 2, "the surplus is killed");
}

#[test]
fn killing_tasks_relaunches_scales_or_wipes() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/a","cmd":"sleep 9","cpus":0.1,"mem":1,"instances":3}"#);
    let task = cluster.running("/a")[0].clone();
    let kill = |task: &str, scale, wipe| ApiCall::KillAppTask {
        id: "a".into(),
        task_id: task.to_owned(),
        scale,
        wipe,
        force: false,
    };
    let killed = cluster.call(kill(&task, false, false));
    assert_eq!(
        (killed.status, body(&killed)["task"]["id"].as_str()),
        (200, Some(task.as_str()))
    );
    assert!(
        cluster
            .tasks
            .contains_key(&task.replace("_app.1", "_app.2")),
        "the same instance goes on"
    );
    let task = task.replace("_app.1", "_app.2");
    let wiped = cluster.call(kill(&task, false, true));
    assert_eq!(wiped.status, 200);
    assert_eq!(cluster.running("/a").len(), 3);
    assert!(
        !cluster
            .running("/a")
            .iter()
            .any(|one| one.starts_with(task.trim_end_matches("._app.2"))),
        "another instance takes its place"
    );
    let scaled = cluster.call(ApiCall::KillAppTasks {
        id: "a".into(),
        host: Some("host0".into()),
        scale: true,
        wipe: false,
        force: false,
    });
    assert!(scaled.status == 200 && scaled.deployment_id.is_some());
    assert_eq!(
        cluster.app("/a")["instances"],
        3 - cluster
            .launched
            .iter()
            .take(3)
            .filter(|info| info.agent_id.value == "agent0")
            .count()
    );
    assert_eq!(
        cluster
            .call(kill("a.instance-x._app.1", false, false))
            .status,
        404
    );
    assert_eq!(cluster.call(kill("x", true, true)).status, 404);
    let listed = cluster.call(ApiCall::KillTasks {
        body: r#"{"ids":["unknown.instance-1._app.1"]}"#.into(),
        scale: false,
        wipe: false,
        force: false,
    });
    assert_eq!(
        (listed.status, body(&listed)),
        (200, json!({ "tasks": [] }))
    );
}

#[test]
fn conflicts_force_restart_versions_and_rollback() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/a","cmd":"sleep 9","cpus":0.1,"mem":1}"#);
    let first = cluster.app("/a")["version"].clone();
    assert_eq!(cluster.create(r#"{"id":"/a","cmd":"sleep 9"}"#).status, 409);
    let same = cluster.update("/a", r#"{"cmd":"sleep 9"}"#);
    assert!(same.status == 200 && same.deployment_id.is_some());
    assert_eq!(cluster.app("/a")["version"], first, "nothing changed");
    let before = cluster.running("/a");
    cluster.call(ApiCall::RestartApp {
        id: "a".into(),
        force: false,
    });
    assert_ne!(cluster.running("/a"), before);
    let info = cluster.app("/a")["versionInfo"].clone();
    assert_eq!(info["lastScalingAt"], first);
    assert_ne!(info["lastConfigChangeAt"], first);
    cluster
        .behaviour
        .insert("hang".to_owned(), Behaviour::Hangs);
    cluster.update("/a", r#"{"cmd":"hang"}"#);
    assert_eq!(cluster.update("/a", r#"{"cmd":"sleep 8"}"#).status, 409);
    assert_eq!(
        cluster
            .call(update("/a", r#"{"cmd":"sleep 8"}"#, true))
            .status,
        200
    );
    assert_eq!(cluster.deployments(), json!([]));
    let versions = cluster.get(&Query::Versions { id: "a".into() }).1["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 4);
    assert_eq!(versions[3], first, "newest first");
    let rolled = cluster.update("/a", &json!({ "version": first }).to_string());
    assert_eq!(rolled.status, 200);
    assert_eq!(cluster.app("/a")["cmd"], "sleep 9");
    assert_eq!(
        cluster
            .update("/a", r#"{"version":"2001-01-01T00:00:00.000Z"}"#)
            .status,
        404
    );
    let mixed = cluster.update("/a", &json!({ "version": first, "cpus": 1 }).to_string());
    assert_eq!(
        body(&mixed)["details"][0]["errors"][0],
        "The 'version' field may only be combined with the 'id' field."
    );
}

#[test]
fn constraints_hold_and_the_queue_says_what_refuses() {
    let mut cluster = Cluster::new(2);
    cluster.create(r#"{"id":"/a","cmd":"sleep 9","cpus":0.1,"mem":1,"instances":3,"constraints":[["hostname","UNIQUE"]]}"#);
    cluster.create(r#"{"id":"/big","cmd":"sleep 9","cpus":100,"mem":1}"#);
    cluster.pass(1);
    assert_eq!(cluster.running("/a").len(), 2);
    let queue = body(&cluster.call(ApiCall::Queue {
        last_unused_offers: true,
    }));
    let reasons = |at: usize| queue["queue"][at]["lastUnusedOffers"][0]["reason"].clone();
    assert_eq!(
        (queue["queue"][0]["count"].clone(), reasons(0)),
        (json!(1), json!(["UnfulfilledConstraint"]))
    );
    assert_eq!(
        (queue["queue"][1]["app"]["id"].clone(), reasons(1)),
        (json!("/big"), json!(["InsufficientCpus"]))
    );
    let summary = &queue["queue"][1]["processedOffersSummary"]["rejectSummaryLaunchAttempt"];
    assert_eq!(summary[4]["reason"], "InsufficientCpus");
    assert!(
        summary[4]["declined"].as_u64().unwrap() > 0 && summary.as_array().unwrap().len() == 10
    );
}

#[test]
fn dependencies_come_first_and_circles_are_refused() {
    let mut cluster = Cluster::new(2);
    let documents = r#"[{"id":"/b","cmd":"b","cpus":0.1,"mem":1,"dependencies":["/a"]},{"id":"/a","cmd":"aa","cpus":0.1,"mem":1}]"#;
    let call = |body: &str| ApiCall::UpdateApps {
        body: body.to_owned().into(),
        force: false,
        partial: true,
        create: true,
    };
    let refused = cluster.call(call(documents));
    assert_eq!(
        refused.status, 422,
        "a command of one letter is refused: {:?}",
        refused.body
    );
    let accepted = cluster.call(call(&documents.replace("\"b\",\"cpus", "\"bb\",\"cpus")));
    assert_eq!(accepted.status, 200);
    let order: Vec<_> = cluster
        .launched
        .iter()
        .map(|info| info.name.clone())
        .collect();
    assert_eq!(order, ["a", "b"]);
    let circle = cluster.update("/a", r#"{"dependencies":["/b"]}"#);
    assert_eq!(
        body(&circle)["details"],
        json!([{ "path": "/", "errors": ["Dependency graph has cyclic dependencies."] }])
    );
    let nested = cluster.create(r#"{"id":"/a/x","cmd":"sleep 1"}"#);
    assert_eq!(
        body(&nested)["details"][0]["errors"][0],
        "Groups and Applications may not have the same identifier."
    );
}
