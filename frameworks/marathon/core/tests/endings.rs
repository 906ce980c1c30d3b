//! What is remembered of tasks that have ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Behaviour, Cluster, body, delete, fault_of};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Config, Input, Origin, TaskQuery};
use tepui_proto::mesos::{TaskState, task_status::Reason};

const WEB: &str = r#"{"id":"/dev/web","cmd":"serve","cpus":0.1,"mem":1,"instances":1}"#;

fn asked(cluster: &mut Cluster, id: &str, of_pod: bool, query: TaskQuery) -> (u16, Value) {
    let id = id.to_owned();
    let response = cluster.call(ApiCall::EndedTasks { id, of_pod, query });
    let document = body(&response);
    let schema = if response.status == 200 {
        "TaskHistory"
    } else {
        "Error"
    };
    assert_eq!(fault_of(&document, schema), None, "{document}");
    (response.status, document)
}

fn history(cluster: &mut Cluster, id: &str) -> Value {
    let (status, document) = asked(cluster, id, false, TaskQuery::default());
    assert_eq!(status, 200, "{document}");
    document
}

/// Cause and state of each that is kept, newest first.
fn causes(cluster: &mut Cluster, id: &str) -> Vec<String> {
    let document = history(cluster, id);
    let tasks = document["tasks"].as_array().unwrap();
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    tasks
        .iter()
        .map(|one| format!("{} {}", word(one, "cause"), word(one, "state")))
        .collect()
}

/// A task ends by itself, and its agent tells how.
fn end(cluster: &mut Cluster, task: &str, state: TaskState, message: &str, reason: Option<Reason>) {
    cluster.report_because(task, state, reason);
    if let Some(Input::TaskUpdate(status)) = cluster.inputs.back_mut() {
        status.message = Some(message.to_owned());
        status.set_source(tepui_proto::mesos::task_status::Source::Executor);
    }
    cluster.run();
}

#[test]
fn an_end_is_told_with_all_that_was_heard_of_it() {
    let mut cluster = Cluster::new(1);
    cluster.create(WEB);
    let version = cluster.app("/dev/web")["version"].clone();
    assert_eq!(history(&mut cluster, "/dev/web")["tasks"], json!([]));
    let task = cluster.running("/dev/web")[0].clone();
    cluster.pass(5);
    let reason = Some(Reason::CommandExecutorFailed);
    let message = "Command exited with status 7";
    end(&mut cluster, &task, TaskState::TaskFailed, message, reason);
    let instance = task.split("._app").next().unwrap();
    let kept = history(&mut cluster, "/dev/web");
    let want = json!({
        "taskId": task, "instanceId": instance, "ordinal": null, "version": version, "host": "host0", "agentId": "agent0",
        "stagedAt": "2020-09-13T12:26:40.000Z", "startedAt": "2020-09-13T12:26:40.000Z", "endedAt": "2020-09-13T12:26:45.000Z",
        "cause": "crashed", "state": "TASK_FAILED", "reason": "REASON_COMMAND_EXECUTOR_FAILED", "source": "SOURCE_EXECUTOR",
        "message": message, "exitCode": 7, "signal": null,
        "sandbox": { "frameworkId": "framework-1", "executorId": task, "containerId": null,
            "path": format!("/frameworks/framework-1/executors/{task}/runs/latest") },
    });
    assert_eq!(
        kept,
        json!({ "id": "/dev/web", "deleted": false, "kept": 1, "dropped": 0, "matching": 1, "tasks": [want] })
    );
    cluster.fail_over();
    cluster.run();
    assert_eq!(
        history(&mut cluster, "/dev/web"),
        kept,
        "a successor knows it"
    );
    let (status, _) = asked(&mut cluster, "/dev/web", true, TaskQuery::default());
    assert_eq!(status, 404, "it is no pod");
    let (status, _) = asked(&mut cluster, "/dev/wob", false, TaskQuery::default());
    assert_eq!(status, 404);
}

#[test]
fn each_end_has_its_cause() {
    let mut cluster = Cluster::new(2);
    let wanted = WEB.replace(
        r#""instances":1"#,
        r#""instances":6,"upgradeStrategy":{"minimumHealthCapacity":0,"maximumOverCapacity":0},"unreachableStrategy":{"inactiveAfterSeconds":5,"expungeAfterSeconds":10},
        "healthChecks":[{"protocol":"HTTP","path":"/ok","gracePeriodSeconds":0,"maxConsecutiveFailures":1}]"#,
    );
    let created = cluster.create(&wanted);
    assert_eq!(created.status, 201, "{}", body(&created));
    let tasks = cluster.running("/dev/web");
    end(
        &mut cluster,
        &tasks[0],
        TaskState::TaskFinished,
        "Command exited with status 0",
        None,
    );
    let draining = Some(Reason::AgentDraining);
    end(&mut cluster, &tasks[1], TaskState::TaskKilled, "", draining);
    end(&mut cluster, &tasks[2], TaskState::TaskKilled, "", None);
    end(&mut cluster, &tasks[3], TaskState::TaskGone, "", None);
    cluster.report_because(&tasks[5], TaskState::TaskKilled, None);
    if let Some(Input::TaskUpdate(status)) = cluster.inputs.back_mut() {
        status.healthy = Some(false); // so an executor tells that the checks failed
    }
    cluster.run();
    let id = "/dev/web".to_owned();
    cluster.call(ApiCall::KillAppTask {
        id,
        task_id: tasks[4].clone(),
        scale: false,
        wipe: false,
        force: false,
    });
    let want = [
        "operator TASK_KILLED",
        "unhealthy TASK_KILLED",
        "agentLost TASK_GONE",
        "killed TASK_KILLED",
        "agentDrained TASK_KILLED",
        "finished TASK_FINISHED",
    ];
    assert_eq!(causes(&mut cluster, "/dev/web"), want);

    cluster.pass(300);
    let ill = cluster.running("/dev/web")[0].clone();
    cluster.unhealthy = Some(ill.clone());
    cluster.pass(61);
    cluster.unhealthy = None;
    let kept = history(&mut cluster, "/dev/web");
    assert_eq!(
        (&kept["tasks"][0]["cause"], &kept["tasks"][0]["taskId"]),
        (&json!("unhealthy"), &json!(ill))
    );

    cluster.pass(300);
    let lost = cluster.running("/dev/web")[0].clone();
    cluster.report(&lost, TaskState::TaskUnreachable);
    cluster.pass(9);
    assert_eq!(
        causes(&mut cluster, "/dev/web").len(),
        want.len() + 1,
        "it may come back"
    );
    cluster.pass(3);
    let kept = history(&mut cluster, "/dev/web");
    let one = &kept["tasks"][0];
    assert_eq!(
        (&one["cause"], &one["state"]),
        (&json!("unreachable"), &json!("TASK_UNREACHABLE"))
    );
    let told = one["message"].as_str().unwrap();
    assert!(
        told.starts_with("Given up; its agent was not reached since 20"),
        "{told}"
    );

    cluster.update("/dev/web", r#"{"instances":5}"#);
    assert_eq!(
        causes(&mut cluster, "/dev/web")[0],
        "scaledDown TASK_KILLED"
    );
    let body = r#"{"cmd":"serve better"}"#;
    cluster.update("/dev/web", body);
    cluster.pass(100);
    assert_eq!(
        causes(&mut cluster, "/dev/web")[..5],
        ["replaced TASK_KILLED"; 5]
    );
    cluster.call(delete("/dev/web"));
    cluster.pass(10);
    let kept = history(&mut cluster, "/dev/web");
    assert_eq!(
        (&kept["deleted"], &kept["kept"]),
        (&json!(true), &json!(19)),
        "of a deleted one too"
    );
    assert_eq!(
        causes(&mut cluster, "/dev/web")[..5],
        ["deleted TASK_KILLED"; 5]
    );
    cluster.fail_over();
    cluster.run();
    assert_eq!(history(&mut cluster, "/dev/web"), kept);

    let of = |cluster: &mut Cluster, parameters: &[(&str, &str)]| {
        let query = TaskQuery::parse(parameters.iter().copied()).unwrap();
        asked(cluster, "/dev/web", false, query).1
    };
    let gone = [("status", "gone")];
    let replaced = [("cause", "replaced"), ("limit", "2")];
    let found = of(&mut cluster, &replaced);
    assert_eq!(found["tasks"].as_array().unwrap().len(), 2);
    let wanted = |word: &str| {
        let all = kept["tasks"].as_array().unwrap().iter();
        all.filter(|one| one["cause"] == word || one["state"] == word)
            .count()
    };
    assert_eq!(found["matching"], wanted("replaced"));
    assert_eq!(of(&mut cluster, &gone)["matching"], wanted("TASK_GONE"));
    assert!(wanted("replaced") > 2 && wanted("TASK_GONE") > 0);
    // `killed` is a state, which most causes lead to, and a cause of its own.
    let killed = [("status", "killed")];
    assert_eq!(of(&mut cluster, &killed)["matching"], wanted("TASK_KILLED"));
    assert!(wanted("TASK_KILLED") > wanted("killed"));
    let killed = [("cause", "killed")];
    assert_eq!(of(&mut cluster, &killed)["matching"], wanted("killed"));
    let both = [("status", "killed"), ("cause", "deleted")];
    assert_eq!(of(&mut cluster, &both)["matching"], wanted("deleted"));
    let found = of(&mut cluster, &[("task", tasks[0].as_str())]);
    assert_eq!(found["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(found["tasks"][0]["exitCode"], 0);
    let since = [("since", kept["tasks"][4]["endedAt"].as_str().unwrap())];
    assert_eq!(of(&mut cluster, &since)["matching"], 5);
}

#[test]
fn why_a_task_is_killed_outlives_the_leader_that_decided_it() {
    let mut cluster = Cluster::new(1);
    cluster.create(WEB);
    let task = cluster.running("/dev/web")[0].clone();
    cluster.send(ApiCall::KillAppTask {
        id: "/dev/web".to_owned(),
        task_id: task.clone(),
        scale: false,
        wipe: false,
        force: false,
    });
    // It is decided and stored, and nobody hears of the end.
    cluster.run_some(1);
    cluster.fail_over();
    cluster.report(&task, TaskState::TaskKilled);
    cluster.run();
    assert_eq!(causes(&mut cluster, "/dev/web"), ["operator TASK_KILLED"]);
    let task = cluster.running("/dev/web")[0].clone();
    cluster.report(&task, TaskState::TaskKilled);
    cluster.run();
    assert_eq!(
        causes(&mut cluster, "/dev/web")[0],
        "killed TASK_KILLED",
        "it was of that task only"
    );
}

#[test]
fn of_a_pod_every_container_is_told() {
    let mut cluster = Cluster::new(1);
    let pod = r#"{"id":"/pod","containers":[
        {"name":"a","exec":{"command":{"shell":"a"}},"resources":{"cpus":0.1,"mem":32}},
        {"name":"b","exec":{"command":{"shell":"b"}},"resources":{"cpus":0.1,"mem":32}}]}"#;
    cluster.call(ApiCall::CreatePod {
        body: pod.into(),
        force: false,
        origin: Origin::default(),
    });
    let task = cluster.running("/pod");
    let failed = task.iter().find(|one| one.contains(".b.")).unwrap().clone();
    cluster.report(&failed, TaskState::TaskFailed);
    // The executor tells of the other one too, later.
    let failing = cluster.inputs.len() - 2;
    if let Some(Input::TaskUpdate(status)) = cluster.inputs.get_mut(failing) {
        status.message = Some("Command exited with status 7".to_owned());
    }
    cluster.run();
    let (status, kept) = asked(&mut cluster, "/pod", true, TaskQuery::default());
    assert_eq!((status, &kept["kept"]), (200, &json!(1)));
    let one = &kept["tasks"][0];
    assert_eq!(
        (&one["cause"], &one["exitCode"], &one["state"]),
        (&json!("crashed"), &json!(7), &json!("TASK_FAILED"))
    );
    let executor = one["sandbox"]["executorId"].as_str().unwrap();
    assert!(executor.starts_with("instance-pod."), "{executor}");
    let containers = one["containers"].as_array().unwrap();
    let told: Vec<_> = containers
        .iter()
        .map(|one| (&one["name"], &one["state"], &one["exitCode"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("a"), &json!("TASK_KILLED"), &Value::Null),
            (&json!("b"), &json!("TASK_FAILED"), &json!(7)),
        ]
    );
    let of = TaskQuery::parse([("task", &*failed)]).unwrap();
    assert_eq!(
        asked(&mut cluster, "/pod", true, of).1["matching"],
        1,
        "any of its tasks names it"
    );
}

#[test]
fn however_many_end_the_record_stays_bounded_and_each_end_writes_little() {
    let config = Config {
        min_revive_offers_interval_ms: 0,
        max_ended_tasks_per_app: 30,
        max_ended_tasks: 70,
        ended_tasks_age_ms: 3_600_000,
        ..Config::default()
    };
    let mut cluster = Cluster::with(1, config);
    for at in 0..5 {
        let document = WEB.replace("/dev/web", &format!("/app{at}"));
        cluster.create(&document);
        let mut largest = 0;
        for _ in 0..60 {
            let running = cluster.running(&format!("/app{at}"));
            cluster.report(&running[0], TaskState::TaskKilled);
            cluster.run();
            let records = cluster.store.iter();
            let records = records.filter(|(key, _)| key.starts_with("ended/"));
            let sizes: Vec<usize> = records.map(|(_, value)| value.len()).collect();
            assert!(sizes.len() <= 14, "{} records", sizes.len());
            largest = sizes.into_iter().max().unwrap().max(largest);
        }
        assert!(largest < 8 * 700, "{largest} bytes");
    }
    assert_eq!(cluster.view.ended_tasks(), (70, 230));
    for (app, kept) in [
        ("/app0", 0),
        ("/app1", 0),
        ("/app2", 10),
        ("/app3", 30),
        ("/app4", 30),
    ] {
        assert_eq!(history(&mut cluster, app)["kept"], kept, "{app}");
    }
    assert_eq!(history(&mut cluster, "/app4")["dropped"], 30);
    cluster.call(delete("/app4"));
    cluster.pass(3_601);
    let (status, _) = asked(&mut cluster, "/app4", false, TaskQuery::default());
    assert_eq!(
        status, 404,
        "what is too old is gone, and with it the last of a deleted app"
    );
    assert!(cluster.store.keys().all(|key| !key.starts_with("ended/")));
}

#[test]
fn a_crash_loop_fills_its_own_history_only() {
    let mut cluster = Cluster::new(1);
    cluster
        .behaviour
        .insert("crash".to_owned(), Behaviour::Fails);
    cluster.create(WEB);
    let task = cluster.running("/dev/web")[0].clone();
    cluster.report(&task, TaskState::TaskFinished);
    cluster.run();
    cluster.create(
        r#"{"id":"/loop","cmd":"crash","cpus":0.1,"mem":1,"backoffSeconds":1,"maxLaunchDelaySeconds":1}"#,
    );
    cluster.pass(150);
    let kept = history(&mut cluster, "/loop");
    assert_eq!(kept["kept"], 100);
    assert!(kept["dropped"].as_u64().unwrap() > 10);
    assert_eq!(causes(&mut cluster, "/dev/web"), ["finished TASK_FINISHED"]);
}
