//! Reservations, volumes and draining on a real agent, with real tasks.

use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::OperationState;
use tepui_proto::mesos::v1::TaskState::{
    TaskFailed, TaskFinished, TaskKilled, TaskLost, TaskRunning,
};
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::tepui::v1::master_message::Message;
use tepui_proto::tepui::v1::{ApplyOperation, Drain, Shutdown};

use crate::master::Master;
use crate::{config, http, shell, sweep};

fn volume(path: &str, mode: &str, more: &str) -> String {
    format!(
        r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":5}},"reservations":[{{"type":"DYNAMIC","role":"eng/dev"}}],
        "disk":{{"persistence":{{"id":"v"}},"volume":{{"container_path":"{path}","mode":"{mode}"}}}}{more}}}"#
    )
}

async fn apply(master: &mut Master, number: u8, text: &str) -> OperationState {
    let info = tepui_proto::json::from_slice(text.as_bytes()).unwrap();
    master
        .say(Message::ApplyOperation(Box::new(ApplyOperation {
            framework_id: None,
            info,
            operation_uuid: mesos::Uuid {
                value: vec![number; 16].into(),
            },
            resource_version: None,
        })))
        .await;
    let update = master.operation().await;
    assert_eq!(update.operation_uuid.value[0], number);
    update.status.state()
}

fn with(task: mesos::TaskInfo, resource: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        resources: vec![tepui_proto::json::from_slice(resource.as_bytes()).unwrap()],
        ..task
    }
}

const RESERVE: &str = r#"{"type":"RESERVE","reserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":5},
    "reservations":[{"type":"DYNAMIC","role":"eng/dev"}]}]}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_volume_holds_outlives_tasks_and_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut config = config(&master, folder.path());
    config.resources = tepui_agent::parse_resources("cpus:4;mem:1024;disk:100").unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let data = volume("deep/data", "RW", "");
    let create = format!(r#"{{"type":"CREATE","create":{{"volumes":[{data}]}}}}"#);
    let destroy = format!(r#"{{"type":"DESTROY","destroy":{{"volumes":[{data}]}}}}"#);
    use OperationState::{OperationFailed, OperationFinished};
    assert_eq!(apply(&mut master, 1, &create).await, OperationFailed);
    assert_eq!(apply(&mut master, 2, RESERVE).await, OperationFinished);
    assert_eq!(apply(&mut master, 3, &create).await, OperationFinished);
    let path = config.work_dir.join("volumes/roles/eng dev/v");
    assert!(path.is_dir());

    let write = shell("write", "echo kept > deep/data/file");
    master.run(with(write, &data)).await;
    master.until("write", TaskFinished).await;
    assert_eq!(
        std::fs::read_to_string(path.join("file")).unwrap(),
        "kept\n"
    );
    agent.shutdown().await.unwrap();

    let agent = Agent::start(config.clone()).await.unwrap();
    let register = master.admit().await;
    assert!(
        register
            .checkpointed_resources
            .iter()
            .any(|resource| resource.disk.is_some()),
        "{register:?}"
    );
    let read_only = volume("data", "RO", "");
    let text = "test $(cat data/file) = kept && ! touch data/new";
    master.run(with(shell("read", text), &read_only)).await;
    master.until("read", TaskFinished).await;
    let state = http::get(agent.addr(), "/state").await.json();
    assert_eq!(state["reserved_resources"]["eng/dev"]["disk"], 5.0);
    assert_eq!(
        state["reserved_resources_full"]["eng/dev"][0]["disk"]["persistence"]["id"],
        "v"
    );
    assert_eq!(state["unreserved_resources"]["disk"], 95.0);

    for (name, at, why) in [
        ("absolute", "/data", "absolute path"),
        ("outside", "../data", "no path below the sandbox"),
    ] {
        let task = with(shell(name, "true"), &volume(at, "RW", ""));
        master.run(task).await;
        let failed = master.until(name, TaskFailed).await;
        assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
        assert!(failed.message().contains(why), "{}", failed.message());
    }
    let unknown = volume("data", "RW", "").replace("\"v\"", "\"w\"");
    master.run(with(shell("unknown", "true"), &unknown)).await;
    let dropped = master.until("unknown", TaskLost).await;
    assert_eq!(dropped.reason(), Reason::ResourcesUnknown);

    let user = with(shell("user", "exec sleep 1000"), &data);
    master.run(user).await;
    master.until("user", TaskRunning).await;
    assert_eq!(apply(&mut master, 4, &destroy).await, OperationFailed);
    master.kill("user").await;
    master.until("user", TaskKilled).await;
    assert_eq!(apply(&mut master, 5, &destroy).await, OperationFinished);
    assert!(!path.exists());
    assert_eq!(apply(&mut master, 6, &create).await, OperationFinished);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_volume_is_used_by_several_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let agent = Agent::start(Config {
        ephemeral: true,
        resources: tepui_agent::parse_resources("cpus:4;mem:1024;disk:100").unwrap(),
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    master.admit().await;
    let shared = volume("data", "RW", r#","shared":{}"#);
    let create = format!(r#"{{"type":"CREATE","create":{{"volumes":[{shared}]}}}}"#);
    apply(&mut master, 1, RESERVE).await;
    let made = apply(&mut master, 2, &create).await;
    assert_eq!(made, OperationState::OperationFinished);
    let wait = "while ! test -e data/there; do sleep 0.02; done; touch data/seen";
    master.run(with(shell("reader", wait), &shared)).await;
    master.until("reader", TaskRunning).await;
    let write = "touch data/there; while ! test -e data/seen; do sleep 0.02; done";
    master.run(with(shell("writer", write), &shared)).await;
    master.until("reader", TaskFinished).await;
    master.until("writer", TaskFinished).await;
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_goes_on_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let stubborn = mesos::TaskInfo {
        kill_policy: Some(mesos::KillPolicy {
            grace_period: Some(mesos::DurationInfo {
                nanoseconds: 1_000_000_000_000,
            }),
        }),
        ..shell(
            "stubborn",
            "trap '' TERM; touch deaf; while :; do sleep 0.05; done",
        )
    };
    master.run(stubborn).await;
    master.until("stubborn", TaskRunning).await;
    let runs = "slaves/S0/frameworks/f/executors/stubborn/runs/latest/deaf";
    while !config.work_dir.join(runs).exists() {
        tokio::task::yield_now().await;
    }
    let drain = mesos::DrainConfig {
        max_grace_period: Some(mesos::DurationInfo {
            nanoseconds: 500_000_000,
        }),
        mark_gone: None,
    };
    master.say(Message::Drain(Drain { config: drain })).await;
    master.run(shell("late", "true")).await;
    let late = master.until("late", TaskLost).await;
    assert_eq!(late.reason(), Reason::AgentDraining);
    agent.shutdown().await.unwrap();

    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let killed = master.until("stubborn", TaskKilled).await;
    assert_eq!(killed.reason(), Reason::AgentDraining);
    // Nothing is left to be drained once the last update is acknowledged.
    loop {
        let state = http::get(agent.addr(), "/state").await.json();
        if state["drain_config"].is_null() {
            break;
        }
        assert_eq!(
            state["drain_config"]["max_grace_period"]["nanoseconds"],
            500_000_000
        );
        tokio::task::yield_now().await;
    }
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_told_to_go_unregisters_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut agent = Agent::start(config(&master, folder.path())).await.unwrap();
    master.admit().await;
    master.run(shell("t", "exec sleep 1000")).await;
    master.until("t", TaskRunning).await;
    let reason = "enough".to_owned();
    master.say(Message::Shutdown(Shutdown { reason })).await;
    master.unregistered().await;
    agent.ended().await.unwrap();
}
