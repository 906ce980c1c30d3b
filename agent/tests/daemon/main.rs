//! The whole daemon: a master over real gRPC on one side, real containers on the other, and its HTTP face.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected is to fail there"
)]

mod checks;
mod csi;
#[path = "../kit/csi_plugin.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
mod csi_plugin;
mod devices;
mod disk;
mod drivers;
mod fetch;
mod group_networks;
mod groups;
mod hostile;
mod http;
mod images;
mod killed;
mod killed_groups;
#[path = "../../images/tests/images/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the store")]
mod kit;
mod life;
mod master;
#[path = "../kit/mounts.rs"]
mod mounts;
mod nested;
mod networks;
mod operations;
mod oversubscription;
mod ports;
#[path = "../kit/privileged.rs"]
mod privileged;
mod pulls;
mod reconfiguration;
mod removal;
mod sessions;
mod settings;
mod sharing;
mod streams;
mod volumes;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use master::Master;
use privileged::privileged;
use tepui_agent::{Agent, Config, RunningAgent};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{
    TaskFailed, TaskFinished, TaskKilled, TaskRunning, TaskStarting,
};
use tepui_proto::mesos::v1::task_status::Reason;

fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    }
}

fn shell(id: &str, command: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        name: id.to_owned(),
        task_id: mesos::TaskId {
            value: id.to_owned(),
        },
        agent_id: mesos::AgentId {
            value: "S0".to_owned(),
        },
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        command: Some(mesos::CommandInfo {
            value: Some(command.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn config(master: &Master, work_dir: &Path) -> Config {
    config_at(master.addr, work_dir)
}

fn config_at(master: SocketAddr, work_dir: &Path) -> Config {
    // The whole path: tests run side by side, and an agent that ends takes what is below its root with it.
    let name = work_dir.to_string_lossy().replace(['.', '/'], "");
    let mut config = Config::for_master_at(master, work_dir);
    config.cgroups_root = format!("tepui-daemon-{name}");
    config
}

/// Waits for something that announces itself to nobody.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends what a durable agent leaves: its containers and their cgroups.
async fn sweep(config: &Config, agent: RunningAgent) {
    agent.shutdown().await.unwrap();
    let mut last = config.clone();
    last.ephemeral = true;
    let agent = Agent::start(last).await.unwrap();
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_fail_and_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config).await.unwrap();
    let register = master.admit().await;
    assert_eq!(
        (register.protocol, register.agent.id, register.tasks.len()),
        (1, None, 0)
    );
    assert_eq!(register.agent.port, Some(agent.addr().port().into()));

    master
        .run(shell(
            "good",
            "echo hello $MESOS_FRAMEWORK_ID; echo oops >&2; test -d \"$MESOS_SANDBOX\"",
        ))
        .await;
    let starting = master.until("good", TaskStarting).await;
    let running = master.until("good", TaskRunning).await;
    let finished = master.until("good", TaskFinished).await;
    assert_eq!(finished.message(), "Command exited with status 0");
    assert_ne!(starting.uuid, running.uuid);
    assert!(running.container_status.unwrap().executor_pid.is_some());

    master.run(shell("bad", "exit 3")).await;
    assert_eq!(
        master.until("bad", TaskFailed).await.message(),
        "Command exited with status 3"
    );
    let nowhere = mesos::CommandInfo {
        shell: Some(false),
        value: Some("/nowhere".to_owned()),
        ..Default::default()
    };
    master
        .run(mesos::TaskInfo {
            command: Some(nowhere),
            ..shell("nowhere", "")
        })
        .await;
    assert_eq!(
        master.until("nowhere", TaskFailed).await.reason(),
        Reason::ContainerLaunchFailed
    );

    master.run(shell("long", "exec sleep 1000")).await;
    master.until("long", TaskRunning).await;
    let state = http::get(agent.addr(), "/slave(1)/state").await;
    let tasks = &state.json()["frameworks"][0]["executors"][0]["tasks"];
    assert_eq!(
        (&tasks[0]["id"], &tasks[0]["state"]),
        (&"long".into(), &"TASK_RUNNING".into())
    );
    master.kill("long").await;
    let killed = master.until("long", TaskKilled).await;
    assert_eq!(
        killed.message(),
        "Command terminated with signal Terminated"
    );

    let path = "/frameworks/f/executors/good/runs/latest";
    let out = http::get(
        agent.addr(),
        &format!("/files/read?path={path}/stdout&offset=0"),
    )
    .await;
    assert_eq!(
        out.json(),
        serde_json::json!({"data": "hello f\n", "offset": 0})
    );
    let err = http::get(agent.addr(), &format!("/files/download?path={path}/stderr")).await;
    assert_eq!(
        (err.status, err.body.as_slice()),
        (200, b"oops\n".as_slice())
    );
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["slave/tasks_finished"], 1.0);
    assert_eq!(metrics["slave/tasks_failed"], 2.0);
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandboxes_are_found_by_each_name_of_the_work_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, &link)
    };
    let agent = Agent::start(config).await.unwrap();
    master.admit().await;
    master
        .run(shell("said", "echo hello; exec sleep 1000"))
        .await;
    master.until("said", TaskRunning).await;
    let state = http::get(agent.addr(), "/state").await.json();
    let told = state["frameworks"][0]["executors"][0]["directory"]
        .as_str()
        .unwrap();
    let stdout = Path::new(told).join("stdout");
    until("it has said it", || {
        std::fs::read(&stdout).is_ok_and(|said| said == b"hello\n")
    })
    .await;
    let below = Path::new(told)
        .strip_prefix(real.canonicalize().unwrap())
        .unwrap();
    for name in [&real, &link] {
        let path = name.canonicalize().unwrap().join(below);
        let given = name.join(below);
        for path in [path, given] {
            let read = format!("/files/download?path={}/stdout", path.display());
            let found = http::get(agent.addr(), &read).await;
            assert_eq!(
                (found.status, found.body.as_slice()),
                (200, b"hello\n".as_slice()),
                "{read}"
            );
        }
    }
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_outlive_the_agent_and_their_ends_in_the_gap_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let until = |name: &str, code: u8| {
        format!(
            "while ! test -e {}; do sleep 0.02; done; exit {code}",
            folder.path().join(name).display()
        )
    };
    master.run(shell("early", &until("now", 7))).await;
    master.run(shell("late", &until("then", 0))).await;
    master.until("early", TaskRunning).await;
    let before = master.until("late", TaskRunning).await;
    agent.shutdown().await.unwrap();

    std::fs::write(folder.path().join("now"), "").unwrap();
    // The exit may come before or after the next life begins; it is told either way.
    let agent = Agent::start(config.clone()).await.unwrap();
    let register = master.admit().await;
    assert_eq!(register.agent.id.map(|id| id.value), Some("S0".to_owned()));
    assert_eq!(register.tasks.len(), 2);
    let failed = master.until("early", TaskFailed).await;
    assert_eq!(failed.message(), "Command exited with status 7");
    let state = http::get(agent.addr(), "/state").await.json();
    let executors = state["frameworks"][0]["executors"]
        .as_array()
        .unwrap()
        .clone();
    let late = executors
        .iter()
        .find(|executor| executor["id"] == "late")
        .unwrap();
    let container = before.container_status.unwrap().container_id.unwrap().value;
    assert_eq!(
        late["container"],
        container.as_str(),
        "the same container as before"
    );
    std::fs::write(folder.path().join("then"), "").unwrap();
    master.until("late", TaskFinished).await;
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_speaks_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let agent = Agent::start(Config {
        ephemeral: true,
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    master.admit().await;
    let executor = mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId {
            value: "e".to_owned(),
        },
        command: shell("", "exec sleep 1000").command,
        ..Default::default()
    };
    master
        .run(mesos::TaskInfo {
            command: None,
            executor: Some(executor.into()),
            ..shell("t", "")
        })
        .await;

    let ids = r#""framework_id":{"value":"f"},"executor_id":{"value":"e"}"#;
    let call = |rest: &str| format!("{{{ids},{rest}}}");
    // The task is queued as soon as the executor is known.
    loop {
        let state = http::get(agent.addr(), "/state").await.json();
        if state["frameworks"][0]["executors"][0]["queued_tasks"][0]["id"] == "t" {
            break;
        }
        tokio::task::yield_now().await;
    }
    let json = "application/json";
    let cases = [
        ("GET", json, String::new(), 405),
        ("POST", "", call(r#""type":"HEARTBEAT""#), 400),
        ("POST", "text/plain", call(r#""type":"HEARTBEAT""#), 415),
        ("POST", json, "{".to_owned(), 400),
        ("POST", json, r#"{"type":"HEARTBEAT"}"#.to_owned(), 400),
        ("POST", json, call(r#""type":"SUBSCRIBE""#), 400),
        ("POST", json, call(r#""type":"UPDATE""#), 400),
        ("POST", json, call(r#""type":"MESSAGE","message":{"data":"aGk="}"#), 403),
        ("POST", json, r#"{"framework_id":{"value":"x"},"executor_id":{"value":"e"},"type":"MESSAGE","message":{"data":""}}"#.to_owned(), 400),
        ("POST", json, r#"{"framework_id":{"value":"f"},"executor_id":{"value":"x"},"type":"MESSAGE","message":{"data":""}}"#.to_owned(), 400),
        ("POST", json, call(r#""type":"HEARTBEAT""#), 202),
    ];
    for (method, content_type, body, status) in cases {
        let answer = http::request(
            agent.addr(),
            method,
            "/api/v1/executor",
            content_type,
            &body,
        )
        .await;
        assert_eq!(answer.status, status, "{method} {content_type} {body}");
    }

    let mut events =
        http::Events::subscribe(agent.addr(), &call(r#""type":"SUBSCRIBE","subscribe":{}"#)).await;
    let subscribed = events.next().await;
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(
        subscribed["subscribed"]["framework_info"]["id"]["value"],
        "f"
    );
    let launch = events.next().await;
    assert_eq!(launch["launch"]["task"]["task_id"]["value"], "t");
    let update = |state: &str, uuid: &str| {
        call(&format!(
            r#""type":"UPDATE","update":{{"status":{{"task_id":{{"value":"t"}},"state":"{state}","source":"SOURCE_EXECUTOR","uuid":"{uuid}"}}}}"#
        ))
    };
    for (state, uuid, expected) in [
        ("TASK_RUNNING", "AAAAAAAAAAAAAAAAAAAAAA==", TaskRunning),
        ("TASK_FINISHED", "AQAAAAAAAAAAAAAAAAAAAA==", TaskFinished),
    ] {
        let answer = http::request(
            agent.addr(),
            "POST",
            "/slave(1)/api/v1/executor",
            json,
            &update(state, uuid),
        )
        .await;
        assert_eq!(answer.status, 202);
        let acknowledged = events.next().await;
        assert_eq!(
            (&acknowledged["type"], &acknowledged["acknowledged"]["uuid"]),
            (&"ACKNOWLEDGED".into(), &uuid.into())
        );
        master.until("t", expected).await;
    }
    let tasks = http::request(
        agent.addr(),
        "POST",
        "/api/v1",
        json,
        r#"{"type":"GET_TASKS"}"#,
    )
    .await
    .json();
    assert_eq!(tasks["type"], "GET_TASKS");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let master = Master::start().await;
    let first = Agent::start(Config {
        ephemeral: true,
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    let busy = Config {
        port: first.addr().port(),
        ..config(&master, &folder.path().join("other"))
    };
    let error = Agent::start(busy).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1:"), "{error}");
    let error = Agent::start(config(&master, folder.path()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("is used by another agent that is running"),
        "{error}"
    );
    first.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_without_a_path_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config).await.unwrap();
    for method in ["CONNECT", "GET", "POST", "OPTIONS"] {
        for target in ["a:1", "a", "[::1]:5051", "*"] {
            for kind in ["", "application/json", "application/grpc"] {
                let answer = http::request(agent.addr(), method, target, kind, "").await;
                let text = String::from_utf8_lossy(&answer.body);
                assert_eq!(answer.status, 400, "{method} {target} {kind}: {text}");
                assert!(text.contains(&format!("'{target}'")), "{text}");
                assert!(text.contains("no path"), "{text}");
            }
        }
    }
    assert_eq!(http::get(agent.addr(), "/health").await.status, 200);
    agent.shutdown().await.unwrap();
}
