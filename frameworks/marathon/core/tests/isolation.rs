//! What tasks are launched with beyond their resources: limits, the kernel's isolation, terminals, checks that are only shown, GPUs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body};
use serde_json::json;
use tepui_marathon_core::{Config, Input};
use tepui_model::resources::Name;
use tepui_proto::{
    convert::operation::Conversion,
    mesos::{
        AgentId, CheckStatusInfo, TaskId, TaskState, TaskStatus, check_info, check_status_info,
        linux_info,
    },
};

#[test]
fn a_task_is_told_its_limits_its_kernel_its_terminal_and_its_check() {
    let mut cluster = Cluster::new(1);
    let document = r#"{"id":"/a","cmd":"serve","cpus":0.1,"mem":32,"tty":true,"resourceLimits":{"cpus":1.5,"mem":"unlimited"},
        "executorResources":{"mem":64},"check":{"http":{"path":"/x"},"delaySeconds":1},
        "container":{"type":"MESOS","linuxInfo":{"seccomp":{"unconfined":true},"ipcInfo":{"mode":"PRIVATE","shmSize":8}}}}"#;
    assert_eq!(cluster.create(document).status, 201);
    let info = &cluster.launched[0];
    let limit = |name: &str| info.limits[name].value;
    assert_eq!((limit("cpus"), limit("mem")), (1.5, f64::INFINITY));
    let container = info.container.as_ref().unwrap();
    assert!(container.tty_info.is_some());
    let linux = container.linux_info.as_ref().unwrap();
    assert_eq!(
        (linux.seccomp.as_ref().unwrap().unconfined, linux.shm_size),
        (Some(true), Some(8))
    );
    assert_eq!(linux.ipc_mode(), linux_info::IpcMode::Private);
    let check = info.check.as_ref().unwrap();
    let port = u64::from(check.http.as_ref().unwrap().port);
    let app = cluster.app("/a");
    assert_eq!(app["tasks"][0]["ports"], json!([port]));
    assert_eq!(
        (check.delay_seconds(), check.interval_seconds()),
        (1.0, 60.0)
    );
    // What it finds is shown.
    let task_id = info.task_id.value.clone();
    cluster.push(Input::TaskUpdate(Box::new(TaskStatus {
        task_id: TaskId { value: task_id },
        state: TaskState::TaskRunning.into(),
        agent_id: Some(AgentId {
            value: "agent0".to_owned(),
        }),
        check_status: Some(CheckStatusInfo {
            r#type: Some(check_info::Type::Http.into()),
            http: Some(check_status_info::Http {
                status_code: Some(503),
            }),
            ..CheckStatusInfo::default()
        }),
        ..TaskStatus::default()
    })));
    cluster.run();
    let app = cluster.app("/a");
    assert_eq!(
        app["tasks"][0]["checkResult"],
        json!({ "http": { "statusCode": 503 } })
    );
    // An update that does not name limits takes them away; what only executors of their own would notice restarts nothing.
    let (version, config) = (app["version"].clone(), app["versionInfo"].clone());
    cluster.update("/a", r#"{"resourceLimits":{"cpus":1.5,"mem":"unlimited"}}"#);
    let app = cluster.app("/a");
    assert_eq!(
        (
            &app["version"],
            &app["versionInfo"],
            &app["executorResources"]
        ),
        (&version, &config, &json!(null))
    );
    assert_eq!(cluster.launched.len(), 1);
    cluster.update("/a", r#"{"mem":33}"#);
    assert_eq!(cluster.app("/a")["resourceLimits"], json!(null));
}

#[test]
fn a_terminal_alone_makes_a_container() {
    let mut cluster = Cluster::new(1);
    cluster.create(r#"{"id":"/a","cmd":"serve","cpus":0.1,"mem":1,"tty":true}"#);
    cluster.create(r#"{"id":"/b","cmd":"serve","cpus":0.1,"mem":1,"tty":false}"#);
    let terminals = cluster.launched.iter().map(|info| {
        let container = info.container.as_ref();
        container.is_some_and(|container| container.tty_info.is_some())
    });
    assert_eq!(terminals.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn gpus_are_for_those_who_ask_for_them() {
    let mut cluster = Cluster::with(
        2,
        Config {
            min_revive_offers_interval_ms: 0,
            gpu_resources: true,
            ..Config::default()
        },
    );
    let mut gpus = tepui_model::Resources::new();
    gpus.add_resource(tepui_model::Resource::scalar(Name::Gpus, 2.0).unwrap());
    cluster.agents[1].conversions.push(Conversion {
        before: Default::default(),
        after: gpus,
    });
    cluster
        .create(r#"{"id":"/plain","cmd":"serve","cpus":0.1,"mem":1,"instances":4,"constraints":[["hostname","UNIQUE"]]}"#);
    assert_eq!(
        cluster.running("/plain").len(),
        1,
        "the agent with GPUs is kept"
    );
    cluster.create(r#"{"id":"/gpu","cmd":"serve","cpus":0.1,"mem":1,"gpus":1,"instances":3}"#);
    cluster.pass(1);
    assert_eq!(cluster.running("/gpu").len(), 2);
    let info = &cluster.launched[1];
    let names: Vec<_> = info.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["cpus", "mem", "gpus", "ports"]);
    let variables = &info.command.as_ref().unwrap().environment;
    let told = variables.as_ref().unwrap().variables.iter();
    let told: Vec<_> = told
        .filter(|one| one.name == "MARATHON_APP_RESOURCE_GPUS")
        .filter_map(|one| one.value.clone())
        .collect();
    assert_eq!(told, ["1"]);
    let id = "/gpu".to_owned();
    let explained = body(&cluster.call(tepui_marathon_core::ApiCall::Explain { id }));
    let lacks = explained["lacks"].to_string();
    assert!(lacks.contains("\"what\":\"gpus\""), "{lacks}");
}
