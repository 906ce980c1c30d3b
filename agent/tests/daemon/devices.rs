//! Which devices a container can use, tried from inside. Needs root, as whoever makes device nodes does.

use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tepui_agent::{Agent, AllowedDevice};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::TaskFailed;
use tepui_proto::mesos::v1::container_info::DockerInfo;

use crate::images::{ephemeral, image_in, in_docker, in_image, output, parameters, run};
use crate::master::Master;
use crate::shell;

const NOBODY: &str = "No such device or address";
const DENIED: &str = "Operation not permitted";

/// The node of a device that no driver is behind: who may open it is told that there is none, who may not that he may not.
fn node(folder: &Path, name: &str, minor: u64) -> String {
    let node = folder.join(name);
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&node, SFlag::S_IFCHR, mode, makedev(240, minor)).unwrap();
    node.display().to_string()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
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
    if !is_root() {
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
    if !is_root() {
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
