//! Volumes of docker volume drivers, for real: `dvdcli` is a script that mounts memory and writes down how it was called. Each test runs again in
//! a mount namespace of its own (`unshare --mount`), so that nothing of it stays on the machine.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning};
use tepui_proto::mesos::v1::container_info::{DockerInfo, Type};
use tepui_proto::mesos::v1::volume::source::{self, DockerVolume};
use tepui_proto::mesos::v1::volume::{Mode, Source};
use tepui_proto::mesos::v1::{ContainerInfo, Parameter, Parameters, Volume};

use crate::images::{layers, output};
use crate::kit::{self, gzip};
use crate::life::{Life, live};
use crate::master::Master;
use crate::mounts::alone;
use crate::nested::{post, told};
use crate::volumes::{once_there, with};
use crate::{config_at, http, shell, sweep, until};

/// A volume's first mount takes its memory; another is an error, so that each mount needs its unmount.
const DVDCLI: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
name=${3#--volumename=}
case "$1" in
mount)
    [ "$name" = broken ] && { echo "rexray: no disk of this name" >&2; exit 1; }
    mkdir -p "mnt/$name" && mount -t tmpfs none "mnt/$name" && echo "$(pwd -P)/mnt/$name" ;;
unmount) umount "mnt/$name" ;;
esac
"#;

fn config_of(master: std::net::SocketAddr, folder: &Path) -> Config {
    let mut config = config_at(master, &folder.join("work"));
    config.docker_volumes.program = Some(folder.join("dvdcli"));
    config
}

/// Puts the program into the folder.
fn install(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("dvdcli");
    std::fs::write(&path, DVDCLI).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn calls(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The volumes that are mounted.
fn mounted(folder: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let below = folder.canonicalize().unwrap().join("mnt");
    let below = below.to_str().unwrap();
    mounts.lines().filter(|line| line.contains(below)).count()
}

fn volume(name: &str, driver: Option<&str>, at: &str, mode: Mode) -> Volume {
    let options = vec![Parameter {
        key: "size".to_owned(),
        value: "5".to_owned(),
    }];
    Volume {
        mode: mode.into(),
        container_path: at.to_owned(),
        source: Some(Box::new(Source {
            r#type: Some(source::Type::DockerVolume.into()),
            docker_volume: Some(DockerVolume {
                driver: driver.map(str::to_owned),
                name: name.to_owned(),
                driver_options: Some(Parameters { parameter: options }),
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tasks_share_a_volume_and_the_last_takes_it_away() {
    if !alone("drivers::two_tasks_share_a_volume_and_the_last_takes_it_away") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    install(folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let shared = |mode| volume("db", Some("rexray"), "data", mode);
    let writes = once_there(&folder.join("first"), "true");
    let writes = format!("echo kept > data/file; {writes}");
    master.run(with("writer", &writes, shared(Mode::Rw))).await;
    master.until("writer", TaskRunning).await;
    let file = folder.join("mnt/db/file");
    until("the volume is written to", || file.exists()).await;
    let reads = once_there(&folder.join("second"), "cat data/file");
    let reads = format!("touch data/x; {reads}");
    master.run(with("reader", &reads, shared(Mode::Ro))).await;
    master.until("reader", TaskRunning).await;
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["containerizer/docker_volumes_mounted"], 1.0);

    std::fs::write(folder.join("first"), "").unwrap();
    master.until("writer", TaskFinished).await;
    assert_eq!(mounted(folder), 1);
    std::fs::write(folder.join("second"), "").unwrap();
    master.until("reader", TaskFinished).await;
    // Before the end of the task was told.
    assert_eq!(mounted(folder), 0);
    assert_eq!(output(&config, "reader", "stdout"), "kept\n");
    let refused = output(&config, "reader", "stderr");
    assert!(refused.contains("Read-only file system"), "{refused}");
    assert_eq!(
        calls(folder),
        [
            "mount --volumedriver=rexray --volumename=db --volumeopts=size=5",
            "unmount --volumedriver=rexray --volumename=db"
        ]
    );
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mounted_fails_its_task_by_name() {
    if !alone("drivers::what_cannot_be_mounted_fails_its_task_by_name") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let asks = |id: &str, name: &str, driver: Option<&str>| {
        with(id, "true", volume(name, driver, "data", Mode::Rw))
    };
    for (task, why) in [
        (
            asks("none", "db", Some("rexray")),
            "the volume 'db' of the docker volume driver 'rexray' cannot be had on this machine: the program 'dvdcli', which asks docker \
             volume drivers for volumes, is missing: put it into the agent's PATH",
        ),
        (
            asks("whose", "db", None),
            "the volume driver is not specified for volume 'db'",
        ),
    ] {
        let id = task.task_id.value.clone();
        master.run(task).await;
        let failed = master.until(&id, TaskFailed).await;
        let message = format!("Failed to launch the container: {why}");
        assert_eq!(failed.message(), message);
    }
    // It is looked for each time.
    install(folder);
    let mut task = asks("broken", "broken", Some("rexray"));
    let volumes = &mut task.container.as_mut().unwrap().volumes;
    volumes.insert(0, volume("whole", Some("rexray"), "other", Mode::Rw));
    master.run(task).await;
    let failed = master.until("broken", TaskFailed).await;
    assert_eq!(
        failed.message(),
        "Failed to launch the container: cannot mount the volume 'broken' of the docker volume driver 'rexray': dvdcli ended with exit \
         status: 1: rexray: no disk of this name"
    );
    assert_eq!(mounted(folder), 0);
    assert_eq!(calls(folder).len(), 3, "{:?}", calls(folder));
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["containerizer/docker_volume_errors"], 1.0);
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_docker_names_its_driver_once() {
    if !alone("drivers::a_container_of_docker_names_its_driver_once") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    install(folder);
    let registry = kit::Registry::start(kit::image(&layers(), gzip), |_, _| None).await;
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let parameter = |key: &str, value: &str| Parameter {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut task = shell("docker", "/bin/busybox touch /a/1 /b/2 /c/3 && echo ok");
    task.container = Some(Box::new(ContainerInfo {
        r#type: Type::Docker.into(),
        volumes: vec![
            Volume {
                mode: Mode::Rw.into(),
                container_path: "/b".to_owned(),
                host_path: Some("two".to_owned()),
                ..Default::default()
            },
            volume("three", None, "/c", Mode::Rw),
        ],
        docker: Some(Box::new(DockerInfo {
            image: format!("{}/app", registry.address),
            parameters: vec![
                parameter("volume-driver", "pxd"),
                parameter("volume", "one:/a"),
            ],
            ..Default::default()
        })),
        ..Default::default()
    }));
    master.run(task.clone()).await;
    master.until("docker", TaskFinished).await;
    assert_eq!(output(&config, "docker", "stdout"), "ok\n");
    assert_eq!(
        calls(folder)[..3],
        [
            "mount --volumedriver=pxd --volumename=one",
            "mount --volumedriver=pxd --volumename=two",
            "mount --volumedriver=pxd --volumename=three --volumeopts=size=5",
        ]
    );
    assert_eq!((calls(folder).len(), mounted(folder)), (6, 0));

    task.task_id.value = "two".to_owned();
    let docker = task.container.as_mut().unwrap().docker.as_mut().unwrap();
    docker.volume_driver = Some("rexray".to_owned());
    master.run(task).await;
    let failed = master.until("two", TaskFailed).await;
    assert!(
        failed.message().ends_with("the container has two volume drivers, 'rexray' and, by the docker parameter 'volume-driver', 'pxd'"),
        "{}",
        failed.message()
    );
    sweep(&config, agent).await;
}

/// No test: the agent of the one below, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_to_be_killed() {
    live(config_of).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agents_volumes_stay_for_those_who_run_and_go_for_those_who_ended() {
    if !alone("drivers::a_killed_agents_volumes_stay_for_those_who_run_and_go_for_those_who_ended")
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder: PathBuf = folder.path().to_owned();
    install(&folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, &folder);
    let life = Life::start("drivers::an_agent_to_be_killed", &master, &folder);
    master.admit().await;
    let own = |name: &str| volume(name, Some("rexray"), "data", Mode::Rw);
    let ends = once_there(&folder.join("now"), "touch data/last");
    master.run(with("ends", &ends, own("a"))).await;
    let stays = once_there(&folder.join("never"), "true");
    master.run(with("stays", &stays, own("b"))).await;
    master.until("ends", TaskRunning).await;
    master.until("stays", TaskRunning).await;
    assert_eq!(mounted(&folder), 2);
    drop(life);

    std::fs::write(folder.join("now"), "").unwrap();
    let last = folder.join("mnt/a/last");
    until("the task has ended", || last.exists()).await;
    assert_eq!(mounted(&folder), 2);
    let _life = Life::start("drivers::an_agent_to_be_killed", &master, &folder);
    master.admit().await;
    master.until("ends", TaskFinished).await;
    until("what ended is unmounted", || mounted(&folder) == 1).await;
    assert_eq!(
        calls(&folder)[2..],
        ["unmount --volumedriver=rexray --volumename=a"]
    );

    master.kill("stays").await;
    master.until("stays", TaskKilled).await;
    assert_eq!(mounted(&folder), 0);
    let records = config.runtime_dir.join("isolators/docker/volume");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_operators_launch_have_them_until_they_end() {
    if !alone("drivers::containers_that_operators_launch_have_them_until_they_end") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    install(folder);
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let call = async |kind: &str, asked: Value| {
        let mut call = json!({ "type": kind });
        call[kind.to_lowercase()] = asked;
        post(agent.addr(), &call).await
    };
    let launch = async |id: &Value, volume: &str, command: &str| {
        let docker = json!({ "driver": "rexray", "name": volume });
        let source = json!({ "type": "DOCKER_VOLUME", "docker_volume": docker });
        let volumes = json!([{ "mode": "RW", "container_path": "data", "source": source }]);
        let asked = json!({ "container_id": id, "command": { "value": command },
            "container": { "type": "MESOS", "volumes": volumes } });
        told(&call("LAUNCH_CONTAINER", asked).await)
    };
    let own = json!({ "value": "alone" });
    let waits = once_there(&folder.join("now"), "test -e data/inner");
    assert_eq!(launch(&own, "db", &waits).await, (200, String::new()));
    let inner = json!({ "value": "inner", "parent": own });
    let answer = launch(&inner, "db", "touch data/inner").await;
    assert_eq!(answer, (200, String::new()));
    let waited = call("WAIT_CONTAINER", json!({ "container_id": inner })).await;
    assert_eq!(waited.json()["wait_container"]["exit_status"], 0);
    let broken = json!({ "value": "broken", "parent": own });
    let (status, why) = launch(&broken, "broken", "true").await;
    let wanted = "cannot mount the volume 'broken' of the docker volume driver 'rexray'";
    assert!(status == 400 && why.contains(wanted), "{status} {why}");
    assert_eq!(mounted(folder), 1);
    std::fs::write(folder.join("now"), "").unwrap();
    let waited = call("WAIT_CONTAINER", json!({ "container_id": own })).await;
    assert_eq!(waited.json()["wait_container"]["exit_status"], 0);
    until("the volume is gone", || mounted(folder) == 0).await;
    let verbs: Vec<String> = calls(folder)
        .iter()
        .filter(|call| call.contains("=db"))
        .map(|call| call.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(verbs, ["mount", "unmount"]);
    sweep(&config, agent).await;
}
