//! Volumes of a CSI plugin, for real: it runs in the test, speaks over its socket, and mounts. Each test runs again in a mount namespace of its own.
//! They need root: what they are about is mounts.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning};
use tepui_proto::mesos::v1::Volume;
use tonic::Code;

use crate::csi_plugin::{CsiPlugin, Does, Wrong};
use crate::images::output;
use crate::life::{Life, live};
use crate::master::Master;
use crate::nested::{post, told};
use crate::volumes::{once_there, with};
use crate::{config_at, http, mounts, shell, sweep, until};

const ALL: Does = Does {
    stage: true,
    attach: true,
    attach_readers: true,
    mounts: true,
};

fn alone(test: &str) -> bool {
    mounts::alone(&format!("csi::{test}"))
}

fn config_of(master: std::net::SocketAddr, folder: &Path) -> Config {
    let mut config = config_at(master, &folder.join("work"));
    config.csi.plugin_config_dir = Some(folder.join("plugins"));
    config
}

/// A plugin, and its file.
fn plugin_in(folder: &Path) -> CsiPlugin {
    let plugin = CsiPlugin::start(folder, ALL);
    plugin.configure(&folder.join("plugins"), "");
    plugin
}

fn come(id: &str) -> Vec<String> {
    [
        "ControllerPublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
    ]
    .map(|call| format!("{call} {id}"))
    .to_vec()
}

fn leave(id: &str) -> Vec<String> {
    [
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "ControllerUnpublishVolume",
    ]
    .map(|call| format!("{call} {id}"))
    .to_vec()
}

/// What is mounted below the agent's directory of such volumes.
fn mounted(folder: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let below = folder.canonicalize().unwrap().join("work/csi");
    let below = below.to_str().unwrap();
    mounts.lines().filter(|line| line.contains(below)).count()
}

/// All that the agent keeps of such volumes while there are none.
fn assert_nothing_left(folder: &Path) {
    assert_eq!(mounted(folder), 0);
    for empty in [
        "isolators/volume/csi",
        "csi/plugin/volumes",
        "csi/plugin/default/mounts",
    ] {
        let left = std::fs::read_dir(folder.join("work").join(empty)).unwrap();
        assert_eq!(left.count(), 0, "{empty}");
    }
}

fn source(id: &str, access: &str) -> Value {
    json!({ "type": "CSI_VOLUME", "csi_volume": { "plugin_name": "plugin", "static_provisioning": { "volume_id": id,
        "volume_capability": { access: {}, "access_mode": { "mode": "MULTI_NODE_MULTI_WRITER" } } } } })
}

fn volume(id: &str, access: &str, mode: &str) -> Volume {
    let volume = json!({ "mode": mode, "container_path": "data", "source": source(id, access) });
    tepui_proto::json::from_slice(volume.to_string().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tasks_share_a_volume_and_the_last_takes_it_away() {
    if !alone("two_tasks_share_a_volume_and_the_last_takes_it_away") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plugin = plugin_in(folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let writes = once_there(&folder.join("first"), "true");
    let writes = format!("echo kept > data/file; {writes}");
    let own = volume("db", "mount", "RW");
    let mut writer = with("writer", &writes, own);
    writer.command.as_mut().unwrap().user = Some("nobody".to_owned());
    master.run(writer).await;
    master.until("writer", TaskRunning).await;
    let file = folder.join("volumes/db/file");
    until("the volume is written to", || file.exists()).await;
    assert_eq!(plugin.calls(), come("db"));
    let reads = once_there(&folder.join("second"), "cat data/file");
    let reads = format!("touch data/x; {reads}");
    let shared = volume("db", "mount", "RO");
    master.run(with("reader", &reads, shared)).await;
    master.until("reader", TaskRunning).await;
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["containerizer/csi_volumes_mounted"], 1.0);
    assert_eq!(metrics["csi_plugins/plugin/csi_plugin/rpcs_finished"], 8.0);

    std::fs::write(folder.join("first"), "").unwrap();
    master.until("writer", TaskFinished).await;
    // Staged and published.
    assert_eq!((plugin.calls(), mounted(folder)), (Vec::new(), 2));
    std::fs::write(folder.join("second"), "").unwrap();
    master.until("reader", TaskFinished).await;
    // Before the end of the task was told.
    assert_eq!(plugin.calls(), leave("db"));
    assert_nothing_left(folder);
    assert_eq!(output(&config, "reader", "stdout"), "kept\n");
    let refused = output(&config, "reader", "stderr");
    assert!(refused.contains("Read-only file system"), "{refused}");

    // Alone, it is published to be read; what is on it has stayed.
    let reads = with(
        "again",
        "cat data/file; touch data/x",
        volume("db", "mount", "RO"),
    );
    master.run(reads).await;
    master.until("again", TaskFailed).await;
    assert!(plugin.last_publish().readonly && plugin.last_attach().readonly);
    assert_eq!(output(&config, "again", "stdout"), "kept\n");
    assert_nothing_left(folder);
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_fails_its_task_by_plugin_volume_and_step() {
    if !alone("what_cannot_be_had_fails_its_task_by_plugin_volume_and_step") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut plugin = plugin_in(folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    for (id, call) in [
        ("attaching", "ControllerPublishVolume"),
        ("staging", "NodeStageVolume"),
        ("publishing", "NodePublishVolume"),
    ] {
        // Done, and said not to be.
        plugin.goes_wrong(call, Wrong::DoesAndSays(Code::Internal, "the disk hums"));
        master
            .run(with(id, "true", volume("db", "mount", "RW")))
            .await;
        let failed = master.until(id, TaskFailed).await;
        assert_eq!(
            failed.message(),
            format!(
                "Failed to launch the container: cannot mount the volume 'db' of the CSI plugin 'plugin': {call}: Internal: the disk hums"
            )
        );
        plugin.recovers();
        until("all is undone", || plugin.held() == [0; 3]).await;
    }
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["containerizer/csi_volume_errors"], 3.0);
    plugin.stop();
    master
        .run(with("gone", "true", volume("db", "mount", "RW")))
        .await;
    let failed = master.until("gone", TaskFailed).await;
    let why =
        "cannot mount the volume 'db' of the CSI plugin 'plugin': the plugin cannot be reached at ";
    assert!(failed.message().contains(why), "{}", failed.message());
    // It is looked for each time, and so is its file.
    plugin.serve();
    master
        .run(with("back", "true", volume("db", "mount", "RW")))
        .await;
    master.until("back", TaskFinished).await;
    std::fs::remove_file(folder.join("plugins/plugin.json")).unwrap();
    master
        .run(with("unknown", "true", volume("db", "mount", "RW")))
        .await;
    let failed = master.until("unknown", TaskFailed).await;
    let why =
        "the volume 'db' of the CSI plugin 'plugin' cannot be had on this machine: no file in ";
    assert!(failed.message().contains(why), "{}", failed.message());
    assert_nothing_left(folder);
    sweep(&config, agent).await;
}

/// A disk with something on it, in a file.
struct Disk(String);

impl Disk {
    fn new(folder: &Path) -> Self {
        let file = folder.join("disk");
        std::fs::write(&file, "on the disk".repeat(1000)).unwrap();
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        let made = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{why}");
        Self(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_a_device_can_be_used_where_others_cannot() {
    if !alone("a_volume_that_is_a_device_can_be_used_where_others_cannot") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plugin = plugin_in(folder);
    let disk = Disk::new(folder);
    let mut master = Master::start().await;
    let mut config = config_of(master.addr, folder);
    config.isolation.confine_devices = true;
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let id = disk.0.strip_prefix("/dev/").unwrap();
    let own = with("own", "head -c 11 data", volume(id, "block", "RW"));
    master.run(own).await;
    master.until("own", TaskFinished).await;
    assert_eq!(output(&config, "own", "stdout"), "on the disk");
    assert_eq!(plugin.calls(), [come(id), leave(id)].concat());
    // The same device, and nobody's volume.
    master
        .run(shell("other", &format!("head -c 11 {}", disk.0)))
        .await;
    master.until("other", TaskFailed).await;
    let denied = output(&config, "other", "stderr");
    assert!(denied.contains("Operation not permitted"), "{denied}");
    assert_nothing_left(folder);
    sweep(&config, agent).await;
}

/// No test: the agent of the one below, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_to_be_killed() {
    live(config_of).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agents_volumes_stay_for_those_who_run_and_go_for_those_who_ended() {
    if !alone("a_killed_agents_volumes_stay_for_those_who_run_and_go_for_those_who_ended") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder: PathBuf = folder.path().to_owned();
    let plugin = plugin_in(&folder);
    let mut master = Master::start().await;
    let life = Life::start("csi::an_agent_to_be_killed", &master, &folder);
    master.admit().await;
    let own = |id: &str| volume(id, "mount", "RW");
    let ends = once_there(&folder.join("now"), "touch data/last");
    master.run(with("ends", &ends, own("a"))).await;
    let stays = once_there(&folder.join("never"), "true");
    master.run(with("stays", &stays, own("b"))).await;
    master.until("ends", TaskRunning).await;
    master.until("stays", TaskRunning).await;
    assert_eq!((plugin.held(), mounted(&folder)), ([2; 3], 4));
    // It is killed while a third is on its way.
    plugin.calls();
    plugin.goes_wrong("NodeStageVolume", Wrong::Hangs);
    master.run(with("comes", "true", own("c"))).await;
    let asked = RefCell::new(Vec::new());
    until("the third is being staged", || {
        let mut asked = asked.borrow_mut();
        asked.extend(plugin.calls());
        asked.last().is_some_and(|call| call == "NodeStageVolume c")
    })
    .await;
    drop(life);
    plugin.recovers();

    std::fs::write(folder.join("now"), "").unwrap();
    let last = folder.join("volumes/a/last");
    until("the task has ended", || last.exists()).await;
    assert_eq!(mounted(&folder), 4);
    let _life = Life::start("csi::an_agent_to_be_killed", &master, &folder);
    master.admit().await;
    master.until("ends", TaskFinished).await;
    until("what nobody has goes", || plugin.held() == [1; 3]).await;
    assert_eq!(mounted(&folder), 2);
    let mut calls = plugin.calls();
    calls.sort();
    // Nothing of the third was published.
    let mut want = [leave("a"), leave("c")[1..].to_vec()].concat();
    want.sort();
    assert_eq!(calls, want);

    master.kill("stays").await;
    master.until("stays", TaskKilled).await;
    assert_eq!(plugin.calls(), leave("b"));
    assert_nothing_left(&folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_operators_launch_have_them_until_they_end() {
    if !alone("containers_that_operators_launch_have_them_until_they_end") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plugin = plugin_in(folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let call = async |kind: &str, asked: Value| {
        let mut call = json!({ "type": kind });
        call[kind.to_lowercase()] = asked;
        post(agent.addr(), &call).await
    };
    let own = json!({ "value": "alone" });
    let volumes =
        json!([{ "mode": "RW", "container_path": "data", "source": source("db", "mount") }]);
    let asked = json!({ "container_id": own, "command": { "value": "touch data/file" },
        "container": { "type": "MESOS", "volumes": volumes } });
    assert_eq!(
        told(&call("LAUNCH_CONTAINER", asked).await),
        (200, String::new())
    );
    let waited = call("WAIT_CONTAINER", json!({ "container_id": own })).await;
    assert_eq!(waited.json()["wait_container"]["exit_status"], 0);
    until("the volume is gone", || plugin.held() == [0; 3]).await;
    assert!(folder.join("volumes/db/file").exists());
    assert_eq!(plugin.calls(), [come("db"), leave("db")].concat());
    sweep(&config, agent).await;
}
