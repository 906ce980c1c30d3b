//! Networks of task groups, for real: each test is in a network namespace of its own (see [`networks`](crate::networks)).

use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskKilled, TaskRunning, TaskStarting};

use crate::groups::run_in;
use crate::images::{image_in, in_image};
use crate::master::Master;
use crate::networks::{
    SERVER, address, alone_as, healthy, left, namespaces, office, on_network, said, served,
};
use crate::{config, http, shell, sweep, until};

/// The executor's container, and a task that has the machine's port for it.
fn pod(network: &str, command: &str) -> (mesos::ContainerInfo, mesos::TaskInfo) {
    let mut web = on_network("web", command, network, 31_000);
    let mut container = *web.container.take().unwrap();
    container.hostname = Some("pod-1".to_owned());
    (container, web)
}

async fn ended(agent: &tepui_agent::RunningAgent) {
    loop {
        let state = http::get(agent.addr(), "/state").await.json();
        let frameworks = state["frameworks"].as_array().unwrap();
        if frameworks.is_empty() || frameworks[0]["executors"].as_array().unwrap().is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_a_group_share_its_executors_networks() {
    if !alone_as("group_networks::the_tasks_of_a_group_share_its_executors_networks") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = config(&master, &folder.path().join("work"));
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let (container, mut web) = pod("mesos-bridge", SERVER);
    web.health_check = Some(Box::new(healthy(8080)));
    let look = "until busybox wget -q -O seen http://127.0.0.1:8080/index.html; do sleep 0.02; done; \
                hostname > name; cat /etc/hostname > named; exec sleep 1000";
    let inside = in_image(
        shell(
            "inside",
            "hostname > name; cat /etc/hosts > seen; exec sleep 1000",
        ),
        &image,
    );
    let tasks = vec![web, shell("look", look), inside];
    run_in(&master, Some(container.clone()), tasks).await;
    let mut addresses = Vec::new();
    for task in ["web", "look", "inside"] {
        let running = master.until(task, TaskRunning).await;
        let networks = &running.container_status.as_ref().unwrap().network_infos;
        assert_eq!(networks[0].name(), "mesos-bridge");
        let port = &networks[0].port_mappings[0];
        assert_eq!((port.host_port, port.container_port), (31_000, 8080));
        addresses.push(address(&running));
    }
    let ip = addresses[0].clone();
    assert!(
        ip.starts_with("10.") && addresses.iter().all(|other| *other == ip),
        "{addresses:?}"
    );
    let page = format!("{ip}\tpod-1\n");
    assert_eq!(served(&ip, 8080).await, page);
    assert_eq!(served("127.0.0.1", 31_000).await, page);
    // The check looks from inside.
    while !master.until("web", TaskRunning).await.healthy() {}
    // One reaches another as itself, and all have one name, with an image or without.
    let sandbox = "slaves/S0/frameworks/f/executors/pod/runs/latest/tasks";
    let read = |path: &str| {
        std::fs::read_to_string(config.work_dir.join(sandbox).join(path)).unwrap_or_default()
    };
    until("it has looked", || !read("look/named").is_empty()).await;
    assert_eq!(read("look/seen"), page);
    assert_eq!(
        (read("look/name"), read("look/named")),
        ("pod-1\n".into(), "pod-1\n".into())
    );
    until("it has looked", || read("inside/seen").contains(&page)).await;
    assert_eq!(read("inside/name"), "pod-1\n");
    assert_eq!(namespaces(&config), 1);

    // They outlive the agent; a later group of the executor comes to them.
    agent.shutdown().await.unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let late = shell(
        "late",
        "until busybox wget -q -O seen http://127.0.0.1:8080/index.html; do sleep 0.02; done; exec sleep 1000",
    );
    run_in(&master, Some(container.clone()), vec![late]).await;
    let running = master.until("late", TaskRunning).await;
    assert_eq!(address(&running), ip);
    until("it has looked", || read("late/seen") == page).await;
    master.kill("web").await;
    for task in ["web", "look", "inside"] {
        assert_eq!(address(&master.until(task, TaskKilled).await), ip);
    }
    assert_eq!(namespaces(&config), 1, "one is there still");
    master.kill("late").await;
    master.until("late", TaskKilled).await;
    assert_eq!((left(), namespaces(&config)), (vec![], 0));
    ended(&agent).await;

    // A port that none of its tasks has; and the same port again.
    let (_, mut greedy) = pod("mesos-bridge", "exec sleep 1000");
    greedy.resources.pop();
    greedy.task_id.value = "greedy".to_owned();
    run_in(&master, Some(container.clone()), vec![greedy]).await;
    let failed = master.until("greedy", TaskFailed).await;
    assert!(
        failed
            .message()
            .contains("31000 is not among the task's resources"),
        "{}",
        failed.message()
    );
    ended(&agent).await;
    let (_, mut again) = pod("mesos-bridge", SERVER);
    again.task_id.value = "again".to_owned();
    run_in(
        &master,
        Some(container),
        vec![again, shell("other", "exec sleep 1000")],
    )
    .await;
    let mut pids = Vec::new();
    let mut ip = String::new();
    for task in ["again", "other"] {
        let running = master.until(task, TaskRunning).await;
        ip = address(&running);
        let pid = running.container_status.unwrap().executor_pid.unwrap();
        pids.push(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()));
    }
    assert!(served("127.0.0.1", 31_000).await.starts_with(&ip));

    // Gone while the agent was away.
    agent.shutdown().await.unwrap();
    for pid in pids {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    for task in ["again", "other"] {
        // Killed, or told to end because of the other.
        while matches!(
            master.next_of(task).await.state(),
            TaskStarting | TaskRunning
        ) {}
    }
    assert_eq!((left(), namespaces(&config)), (vec![], 0));
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_on_networks_of_plugins() {
    if !alone_as("group_networks::a_group_is_on_networks_of_plugins") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        networks: office(folder.path(), "10.78.0"),
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let command = format!("grep -q '^search office.example$' /etc/resolv.conf && {SERVER}");
    let (container, web) = pod("office", &command);
    run_in(
        &master,
        Some(container),
        vec![web, shell("other", "exec sleep 1000")],
    )
    .await;
    let ip = address(&master.until("web", TaskRunning).await);
    assert!(ip.starts_with("10.78.0."), "{ip}");
    assert_eq!(address(&master.until("other", TaskRunning).await), ip);
    assert_eq!(served("127.0.0.1", 31_000).await, format!("{ip}\tpod-1\n"));
    master.kill("other").await;
    master.until("web", TaskKilled).await;
    master.until("other", TaskKilled).await;
    assert!(!said("iptables", &["-t", "nat", "-S"]).contains("31000"));
    assert!(!said("ip", &["-o", "link"]).contains("veth"));
    assert_eq!(namespaces(&config), 0);
    agent.shutdown().await.unwrap();
}
