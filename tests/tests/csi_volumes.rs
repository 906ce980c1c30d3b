//! Apps with volumes of a CSI plugin: from the REST API to what the plugin is asked on the agent, and back when the app goes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../agent/tests/kit/mounts.rs"]
mod mounts;
#[path = "../../agent/tests/kit/privileged.rs"]
mod privileged;

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, post, put},
    cluster::{Cluster, active_agents, deploy, no_deployments, tasks},
    process::{Process, tepui},
    until,
};

/// The plugin of the agent's tests, in a process of its own.
fn plugin_in(folder: &Path) -> Process {
    let program = tepui().with_file_name("examples").join("csi_plugin");
    assert!(
        program.exists(),
        "{} is not there: run ./test, or `cargo build --examples`",
        program.display()
    );
    let mut command = Command::new(program);
    command.arg(folder);
    let plugin = Process::start("csi_plugin", command);
    // The whole of its file: it is not written in one go.
    until("the plugin", PATIENCE, || {
        let config = fs::read(folder.join("plugins/plugin.json")).ok()?;
        serde_json::from_slice::<Value>(&config).ok()
    });
    plugin
}

fn with_volume(id: &str, cmd: &str, mode: &str, access: &str) -> Value {
    let capability = json!({ "accessMode": access, "accessType": "mount", "fsType": "ext4" });
    let external = json!({ "name": "disk", "provider": "csi",
        "options": { "pluginName": "plugin", "capability": capability, "volumeContext": { "pool": "fast" } } });
    json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 32, "backoffSeconds": 0,
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": mode, "external": external }] } })
}

#[test]
fn an_app_comes_back_to_its_csi_volume() {
    if !mounts::alone("an_app_comes_back_to_its_csi_volume") {
        return;
    }
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let storage = cluster.folder().join("storage");
    fs::create_dir(&storage).unwrap();
    let _plugin = plugin_in(&storage);
    let plugins = storage.join("plugins");
    // What it was asked, and how much of that was looked at.
    let mut seen = 0;
    let mut calls = || {
        let text = fs::read_to_string(storage.join("calls")).unwrap_or_default();
        let new: Vec<String> = text.lines().skip(seen).map(str::to_owned).collect();
        seen += new.len();
        new
    };
    let is_gone = || {
        let text = fs::read_to_string(storage.join("calls")).unwrap();
        text.ends_with("ControllerUnpublishVolume disk\n")
            .then_some(())
    };
    let directory = format!("--csi_plugin_config_dir={}", plugins.display());
    let mut agent = cluster.agent(&["--isolation=filesystem/linux,volume/csi", &directory]);
    let marathon = cluster.marathon(&["--enable_features=external_volumes"]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let come = [
        "ControllerPublishVolume disk",
        "NodeStageVolume disk",
        "NodePublishVolume disk",
    ];
    let leave = [
        "NodeUnpublishVolume disk",
        "NodeUnstageVolume disk",
        "ControllerUnpublishVolume disk",
    ];
    let command = "echo $MESOS_TASK_ID >> data/log; exec sleep 1000";
    let app = with_volume("/db", command, "RW", "SINGLE_NODE_WRITER");
    let first = deploy(&marathon.url, &app, 1).remove(0);
    no_deployments(&marathon);
    let log = storage.join("volumes/disk/log");
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    until("the first line", PATIENCE, || {
        (lines() == [first.clone()]).then_some(())
    });
    assert_eq!(calls(), come);
    let url = format!("{}/v2/apps/db", marathon.url);
    let shown = get_json(&url).unwrap();
    let shown = &shown["app"]["container"]["volumes"];
    assert_eq!(*shown, app["container"]["volumes"]);
    let refused = put(&url, &json!({ "instances": 2 })).unwrap();
    assert_eq!(
        (refused.status, refused.json()["details"].clone()),
        (
            422,
            json!([{ "path": "/instances", "errors": ["got 2, expected 1 or less while non-shareable CSI volumes are defined"] }])
        )
    );
    let other = with_volume("/other", "sleep 1", "RW", "SINGLE_NODE_WRITER");
    let refused = post(&format!("{}/v2/apps", marathon.url), &other).unwrap();
    assert_eq!(
        refused.json()["details"][0],
        json!({ "path": "/apps//db/container",
            "errors": ["Volume name 'disk' in /db conflicts with volume(s) of same name in app(s): /other"] })
    );

    // An agent that is killed and comes back has the volume still; an upgrade stops the only instance before its successor gets it.
    agent.kill();
    until("the loss of the agent", PATIENCE, || {
        (active_agents(&master.url) == 0).then_some(())
    });
    agent.restart();
    until("the agent is back", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    assert_eq!(calls(), [""; 0]);
    let changed = put(&url, &json!({ "env": { "A": "b" } })).unwrap();
    assert_eq!(changed.status, 200);
    until("the second line", PATIENCE, || {
        (lines().len() == 2).then_some(())
    });
    no_deployments(&marathon);
    assert_eq!(calls(), [leave, come].concat());
    let second = tasks(&marathon.url, "/db", "TASK_RUNNING").remove(0);
    assert_eq!(lines()[1], second["id"].as_str().unwrap());
    assert_eq!(delete(&url).unwrap().status, 200);
    until("the volume is gone", PATIENCE, is_gone);
    assert_eq!(calls(), leave);
    assert_eq!(lines().len(), 2, "what is on it stays");

    // Instances that only read have it together.
    let command = "test -s data/log && ! touch data/x && exec sleep 1000";
    let mut readers = with_volume("/readers", command, "RO", "MULTI_NODE_READER_ONLY");
    readers["instances"] = json!(2);
    let _ = deploy(&marathon.url, &readers, 2);
    assert_eq!(calls(), come);
    let url = format!("{}/v2/apps/readers", marathon.url);
    assert_eq!(delete(&url).unwrap().status, 200);
    until("the volume is gone", PATIENCE, is_gone);

    // What a plugin refuses is in the task's message.
    assert_eq!(calls(), leave);
    fs::create_dir(storage.join("refuses")).unwrap();
    fs::write(storage.join("refuses/NodeStageVolume"), "").unwrap();
    let app = with_volume("/lost", "sleep 1000", "RW", "SINGLE_NODE_WRITER");
    let created = post(&format!("{}/v2/apps", marathon.url), &app).unwrap();
    assert_eq!(created.status, 201);
    let lost = format!("{}/v2/apps/lost", marathon.url);
    let failure = until("a failure", PATIENCE, || {
        let failure = get_json(&lost)?["app"]["lastTaskFailure"].clone();
        failure["message"].as_str().map(str::to_owned)
    });
    assert_eq!(
        failure,
        "Failed to launch the container: cannot mount the volume 'disk' of the CSI plugin 'plugin': NodeStageVolume: NotFound: no disk of \
         this name"
    );
    assert_eq!(delete(&format!("{lost}?force=true")).unwrap().status, 200);
    until("the volume is gone", PATIENCE, is_gone);
    let mut asked = calls();
    asked.sort();
    asked.dedup();
    assert_eq!(
        asked,
        [
            "ControllerPublishVolume disk",
            "ControllerUnpublishVolume disk",
            "NodeStageVolume disk"
        ],
        "what was refused is not undone, and what came before it is"
    );
}
