//! Which devices a container can use, tried from inside. Needs root, as whoever makes device nodes does.

use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tepui_agent::{Agent, AllowedDevice};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskKilled, TaskRunning};
use tepui_proto::mesos::v1::container_info::DockerInfo;

use crate::images::{ephemeral, image_in, in_docker, in_image, output, parameters, run};
use crate::master::Master;
use crate::{privileged, shell, sweep, until};

const NOBODY: &str = "No such device or address";
const DENIED: &str = "Operation not permitted";

/// The node of a device that no driver is behind: who may open it is told that there is none, who may not that he may not.
fn node(folder: &Path, name: &str, minor: u64) -> String {
    let node = folder.join(name);
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&node, SFlag::S_IFCHR, mode, makedev(240, minor)).unwrap();
    node.display().to_string()
}

fn docker(id: &str, image: &str, pairs: &[(&str, &str)], command: &str) -> mesos::TaskInfo {
    let info = DockerInfo {
        image: image.to_owned(),
        parameters: parameters(pairs),
        ..Default::default()
    };
    in_docker(shell(id, command), info)
}

/// Why something failed, line by line.
fn told(errors: &str) -> Vec<&str> {
    let last = |line: &'_ str| line.rfind(": ").map_or(0, |at| at + 2);
    errors.lines().map(|line| &line[last(line)..]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_uses_the_devices_that_it_was_given() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let image = image_in(folder.path());

    // Also who may make the node cannot use it; those that every program counts on can be used.
    let tries = "mknod /dev/own c 240 77; echo made $?; cat /dev/own; echo x > /dev/null; dd if=/dev/urandom bs=4 count=1 2>/dev/null | wc -c";
    let task = docker("usual", &image, &[("cap-add", "MKNOD")], tries);
    assert_eq!(run(&mut master, &config, task).await, "made 0\n4\n");
    assert_eq!(told(&output(&config, "usual", "stderr")), [DENIED]);

    // What is given is there, for what it is given for.
    let given = format!("{}:/dev/given/one:r", node(folder.path(), "one", 77));
    let tries = "ls /dev/given; cat /dev/given/one; (echo x > /dev/given/one); echo done";
    let task = docker("given", &image, &[("device", &given)], tries);
    assert_eq!(run(&mut master, &config, task).await, "one\ndone\n");
    let errors = output(&config, "given", "stderr");
    assert_eq!(told(&errors), [NOBODY, DENIED], "{errors}");

    // Nobody keeps anything from a privileged one.
    let tries = "mknod /dev/own c 240 77; cat /dev/own; echo done";
    let task = docker("privileged", &image, &[("privileged", "")], tries);
    assert_eq!(run(&mut master, &config, task).await, "done\n");
    assert_eq!(told(&output(&config, "privileged", "stderr")), [NOBODY]);

    let pairs = [("device", "/dev/none-such")];
    master.run(docker("missing", &image, &pairs, "true")).await;
    let failed = master.until("missing", TaskFailed).await;
    let why = failed.message();
    assert!(why.contains("the device '/dev/none-such'"), "{why}");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_allows_devices_and_keeps_others_from_everybody() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut config = ephemeral(&master, folder.path());
    let allowed = node(folder.path(), "allowed", 77);
    let other = node(folder.path(), "other", 78);
    config.isolation.confine_devices = true;
    config.isolation.allowed_devices = vec![AllowedDevice {
        path: allowed.clone().into(),
        at: "/dev/allowed".into(),
        read: true,
        write: false,
        mknod: false,
    }];
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let image = image_in(folder.path());

    // On the machine's own file system: what is allowed can be read, another device cannot, whatever its node's mode.
    let tries = format!("cat {allowed}; cat {other}; echo x > /dev/null && echo usual");
    let found = run(&mut master, &config, shell("host", &tries)).await;
    assert_eq!(found, "usual\n");
    let errors = output(&config, "host", "stderr");
    assert_eq!(told(&errors), [NOBODY, DENIED], "{errors}");

    let tries = "cat /dev/allowed; (echo x > /dev/allowed); echo done";
    let task = in_image(shell("image", tries), &image);
    assert_eq!(run(&mut master, &config, task).await, "done\n");
    let errors = output(&config, "image", "stderr");
    assert_eq!(told(&errors), [NOBODY, DENIED], "{errors}");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gpus_are_handed_out_whole_and_remembered() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut config = crate::config(&master, &folder.path().join("work"));
    let driver = folder.path().join("driver");
    std::fs::create_dir(&driver).unwrap();
    for (name, minor) in [("nvidia0", 80), ("nvidia1", 81), ("nvidiactl", 255)] {
        node(&driver, name, minor);
    }
    config.isolation.gpus.directory = driver;
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let image = image_in(folder.path());
    let with = |id: &str, gpus: f64, command: &str| {
        let mut task = in_image(shell(id, command), &image);
        task.resources.push(crate::scalar("gpus", gpus));
        task
    };
    // It sees its own, and what all need; a node of the other that it makes itself is of no use.
    let look =
        "ls /dev | /bin/busybox grep nvidia; cat /dev/nvidia? /dev/nvidiactl; exec sleep 1000";
    for id in ["first", "second"] {
        master.run(with(id, 1.0, look)).await;
        master.until(id, TaskRunning).await;
    }
    for (id, gpu) in [("first", "nvidia0"), ("second", "nvidia1")] {
        let told_all = || told(&output(&config, id, "stderr")).len() == 2;
        until("it has looked", told_all).await;
        assert_eq!(output(&config, id, "stdout"), format!("{gpu}\nnvidiactl\n"));
        let errors = output(&config, id, "stderr");
        assert_eq!(told(&errors), [NOBODY, NOBODY], "{errors}");
    }
    let all_taken = "1 GPUs are wanted; of the 2 of this machine 2 are in use";
    for (id, gpus, why) in [("third", 1.0, all_taken), ("half", 0.5, "whole ones")] {
        master.run(with(id, gpus, "true")).await;
        let failed = master.until(id, TaskFailed).await;
        assert!(failed.message().contains(why), "{}", failed.message());
    }
    // Whoever has one keeps it while the agent is away; what is given back can be had again.
    agent.shutdown().await.unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    master.run(with("fourth", 1.0, "true")).await;
    let failed = master.until("fourth", TaskFailed).await;
    assert!(failed.message().contains(all_taken), "{}", failed.message());
    master.kill("first").await;
    master.until("first", TaskKilled).await;
    let found = run(&mut master, &config, with("fifth", 1.0, "ls /dev/nvidia?")).await;
    assert_eq!(found, "/dev/nvidia0\n");
    // On the machine's own file system all nodes are there; another's cannot be used.
    let driver = config.isolation.gpus.directory.display();
    let tries = format!("cat {driver}/nvidia0; cat {driver}/nvidia1; true");
    let mut task = shell("host", &tries);
    task.resources.push(crate::scalar("gpus", 1.0));
    run(&mut master, &config, task).await;
    let errors = output(&config, "host", "stderr");
    assert_eq!(told(&errors), [NOBODY, DENIED], "{errors}");
    sweep(&config, agent).await;
}
