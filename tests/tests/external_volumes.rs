//! Apps with external volumes: from the REST API to what `dvdcli` is asked for on the agent, and back when the app goes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../agent/tests/kit/privileged.rs"]
mod privileged;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, post, put},
    cluster::{Cluster, active_agents, deploy, no_deployments, tasks},
    until,
};

/// Volumes are directories beside the program; each is had by one at a time.
const DVDCLI: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
name=${3#--volumename=}
echo "$*" >> calls
case "$1" in
mount)
    [ "$name" = none ] && { echo "no disk of this name" >&2; exit 1; }
    mkdir -p "$name" && mkdir "$name.had" && echo "$(pwd -P)/$name" ;;
unmount) rmdir "$name.had" ;;
esac
"#;

fn calls(bin: &Path) -> Vec<String> {
    let text = fs::read_to_string(bin.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn with_volume(id: &str, cmd: &str, external: &Value) -> Value {
    json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 32, "backoffSeconds": 0,
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "external": external }] } })
}

#[test]
fn an_app_comes_back_to_its_external_volume() {
    if !privileged::privileged() {
        return;
    }
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let bin = cluster.folder().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("dvdcli"), DVDCLI).unwrap();
    fs::set_permissions(bin.join("dvdcli"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let _agent = cluster.agent_in(&[("PATH", &path)], &["--isolation=docker/volume"]);
    let marathon = cluster.marathon(&["--enable_features=external_volumes"]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let disk = json!({ "name": "disk", "provider": "dvdi", "size": 5,
        "options": { "dvdi/driver": "rexray", "dvdi/iops": "100" } });
    let app = with_volume(
        "/db",
        "echo $MESOS_TASK_ID >> data/log; exec sleep 1000",
        &disk,
    );
    let first = deploy(&marathon.url, &app, 1).remove(0);
    no_deployments(&marathon);
    let log = bin.join("disk/log");
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    until("the first line", PATIENCE, || {
        (lines() == [first.clone()]).then_some(())
    });
    assert_eq!(
        calls(&bin),
        ["mount --volumedriver=rexray --volumename=disk --volumeopts=iops=100 --volumeopts=size=5"]
    );
    let url = format!("{}/v2/apps/db", marathon.url);
    let refused = put(&url, &json!({ "instances": 2 })).unwrap();
    assert_eq!(
        (refused.status, refused.json()["details"].clone()),
        (
            422,
            json!([{ "path": "/", "errors": ["Number of instances is limited to 1 when declaring DVDI volumes in app [/db]"] }])
        )
    );
    let other = with_volume("/dev/other", "sleep 1", &disk);
    let refused = post(&format!("{}/v2/apps", marathon.url), &other).unwrap();
    assert_eq!(
        (refused.status, refused.json()["details"].clone()),
        (
            422,
            json!([
                { "path": "/apps//db/container",
                    "errors": ["Volume name 'disk' in /db conflicts with volume(s) of same name in app(s): /dev/other"] },
                { "path": "/apps//dev/other/container",
                    "errors": ["Volume name 'disk' in /dev/other conflicts with volume(s) of same name in app(s): /db"] },
            ])
        )
    );

    // An upgrade stops the only instance before its successor may have the volume: the program refuses a second mount.
    assert_eq!(
        put(&url, &json!({ "env": { "A": "b" } })).unwrap().status,
        200
    );
    until("the second line", PATIENCE, || {
        (lines().len() == 2).then_some(())
    });
    no_deployments(&marathon);
    let verbs = || -> Vec<String> {
        let all = calls(&bin);
        let verb = |line: &String| line.split(' ').next().unwrap().to_owned();
        all.iter().map(verb).collect()
    };
    assert_eq!(verbs(), ["mount", "unmount", "mount"]);
    let second = tasks(&marathon.url, "/db", "TASK_RUNNING").remove(0);
    assert_eq!(lines()[1], second["id"].as_str().unwrap());

    // What a driver refuses is in the task's message.
    let mut missing = disk;
    missing["name"] = json!("none");
    let app = with_volume("/lost", "sleep 1000", &missing);
    let created = post(&format!("{}/v2/apps", marathon.url), &app).unwrap();
    assert_eq!(created.status, 201);
    let lost = format!("{}/v2/apps/lost", marathon.url);
    let failure = until("a failure", PATIENCE, || {
        let failure = get_json(&lost)?["app"]["lastTaskFailure"].clone();
        failure["message"].as_str().map(str::to_owned)
    });
    assert_eq!(
        failure,
        "Failed to launch the container: cannot mount the volume 'none' of the docker volume driver 'rexray': dvdcli ended with exit \
         status: 1: no disk of this name"
    );
    assert_eq!(delete(&format!("{lost}?force=true")).unwrap().status, 200);

    assert_eq!(delete(&url).unwrap().status, 200);
    until("the volume is unmounted", PATIENCE, || {
        (!bin.join("disk.had").exists()).then_some(())
    });
    assert_eq!(lines().len(), 2, "what is on it stays");
}
