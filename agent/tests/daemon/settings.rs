//! What programs in containers may do and have besides files and networks: system calls, processes, processors, memory's last resort.

use tepui_agent::Agent;
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::TaskFailed;
use tepui_proto::mesos::v1::container_info::DockerInfo;

use crate::images::{ephemeral, image_in, in_docker, in_image, output, parameters, refused, run};
use crate::master::Master;
use crate::{privileged, shell};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_calls_are_filtered_as_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let profiles = folder.path().join("profiles");
    std::fs::create_dir(&profiles).unwrap();
    let no_links = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["symlink","symlinkat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(profiles.join("no-links.json"), no_links).unwrap();
    let mut config = config;
    config.isolation.seccomp_config_dir = Some(profiles);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let image = image_in(folder.path());
    let try_both = "/bin/busybox unshare -U true; echo $?; /bin/busybox ln -s a b; echo $?; /bin/busybox grep Seccomp: /proc/self/status";
    let with = |id: &str, linux: Option<mesos::SeccompInfo>| {
        let mut task = in_image(shell(id, try_both), &image);
        if let Some(container) = &mut task.container {
            container.linux_info = linux.map(|seccomp| {
                let linux = mesos::LinuxInfo {
                    seccomp: Some(seccomp),
                    ..Default::default()
                };
                linux.into()
            });
        }
        task
    };
    let named = |name: &str| mesos::SeccompInfo {
        profile_name: Some(name.to_owned()),
        ..Default::default()
    };
    let unconfined = mesos::SeccompInfo {
        unconfined: Some(true),
        ..Default::default()
    };
    for (id, seccomp, expected) in [
        ("usual", None, "1\n0\nSeccomp:\t2\n"),
        ("unconfined", Some(unconfined), "0\n0\nSeccomp:\t0\n"),
        ("named", Some(named("no-links.json")), "0\n1\nSeccomp:\t2\n"),
    ] {
        let output = run(&mut master, &config, with(id, seccomp)).await;
        assert_eq!(
            output,
            expected,
            "{id}: {}",
            self::output(&config, id, "stderr")
        );
    }
    let docker = |id: &str, pairs: &[(&str, &str)]| {
        let info = DockerInfo {
            image: image.clone(),
            parameters: parameters(pairs),
            ..Default::default()
        };
        in_docker(shell(id, try_both), info)
    };
    for (id, option, expected) in [
        ("docker", "seccomp=unconfined", "0\n0\nSeccomp:\t0\n"),
        (
            "docker-named",
            "seccomp=no-links.json",
            "0\n1\nSeccomp:\t2\n",
        ),
    ] {
        let task = docker(id, &[("security-opt", option)]);
        assert_eq!(run(&mut master, &config, task).await, expected, "{id}");
    }
    master
        .run(with("missing", Some(named("missing.json"))))
        .await;
    let failed = master.until("missing", TaskFailed).await;
    assert!(
        failed
            .message()
            .contains("the seccomp profile 'missing.json'"),
        "{}",
        failed.message()
    );
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_processors_and_the_score_for_lack_of_memory_are_as_is_asked() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let image = image_in(folder.path());
    let with = |id: &str, pairs: &[(&str, &str)], command: &str| {
        let docker = DockerInfo {
            image: image.clone(),
            parameters: parameters(pairs),
            ..Default::default()
        };
        in_docker(shell(id, command), docker)
    };
    let pairs = [("cpuset-cpus", "0"), ("oom-score-adj", "500")];
    let look =
        "/bin/busybox grep Cpus_allowed_list: /proc/self/status; cat /proc/self/oom_score_adj";
    let found = run(&mut master, &config, with("set", &pairs, look)).await;
    assert_eq!(found, "Cpus_allowed_list:\t0\n500\n");
    // Of ten processes some cannot be made.
    let many = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo all";
    master.run(with("many", &[("pids-limit", "6")], many)).await;
    let ended = master.until("many", TaskFailed).await;
    let errors = output(&config, "many", "stderr");
    assert!(
        errors.contains("can't fork"),
        "{}: {errors}",
        ended.message()
    );
    let nowhere = with("nowhere", &[("cpuset-cpus", "4000")], "true");
    let why = refused(&mut master, nowhere).await;
    assert!(why.contains("cpuset.cpus to 4000"), "{why}");
    agent.shutdown().await.unwrap();
}
