//! Agents that are killed while they start a group whose tasks share something: the next life knows who shares what, and leaves nothing.

use std::path::Path;
use std::time::Duration;

use tepui_agent::{Agent, Config};
use tepui_model::TaskState;
use tepui_proto::mesos::v1 as mesos;

use crate::life::{Life, live};
use crate::master::Master;
use crate::{config_at, privileged, shell, until};

const ROUNDS: u64 = 16;
const MOST_ROUNDS: u64 = 100;

const LIFE: &str = "killed_groups::an_agent_to_be_killed";

fn config_of(master: std::net::SocketAddr, folder: &Path) -> Config {
    config_at(master, &folder.join("work"))
}

/// No test: the agent of the one below, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_to_be_killed() {
    live(config_of).await;
}

/// Shares the processes and the memory of its executor.
fn sharing(name: &str) -> mesos::TaskInfo {
    let mut linux = mesos::LinuxInfo {
        share_pid_namespace: Some(true),
        ..Default::default()
    };
    linux.set_ipc_mode(mesos::linux_info::IpcMode::ShareParent);
    let mut container = mesos::ContainerInfo {
        linux_info: Some(Box::new(linux)),
        ..Default::default()
    };
    container.set_type(mesos::container_info::Type::Mesos);
    mesos::TaskInfo {
        container: Some(Box::new(container)),
        ..shell(name, "exec sleep 1000")
    }
}

fn is_terminal(status: &mesos::TaskStatus) -> bool {
    TaskState::from_number(status.state).is_some_and(TaskState::is_terminal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_an_agent_died_starting_ends_whole() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder.path());
    let containers = config.runtime_dir.join("containers");
    let is_empty = || std::fs::read_dir(&containers).is_ok_and(|mut all| all.next().is_none());
    let (mut early, mut late) = (0, 0);
    for round in 0..MOST_ROUNDS {
        // A slow machine takes longer until a group is noted.
        if round >= ROUNDS && early + late > 0 {
            break;
        }
        let life = Life::start(LIFE, &master, folder.path());
        master.admit().await;
        let names = ["a", "b"].map(|name| format!("{name}{round}"));
        let tasks = names.iter().map(|name| sharing(name)).collect();
        crate::groups::run(&master, tasks).await;
        // Some moment of the launch: there is nothing to wait for.
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        drop(life);

        let life = Life::start(LIFE, &master, folder.path());
        let register = master.admit().await;
        // An agent that died before it had noted the group knows nothing of it, and nothing of it runs. One may know of those before still.
        let mut held = register.tasks.iter();
        if held.any(|task| task.task.task_id.value == names[0]) {
            let first = loop {
                let status = master.next_of(&names[0]).await;
                let running = status.state() == mesos::TaskState::TaskRunning;
                if running || is_terminal(&status) {
                    break status;
                }
            };
            if is_terminal(&first) {
                early += 1;
            } else {
                late += 1;
                master.kill(&names[0]).await;
                while !is_terminal(&master.next_of(&names[0]).await) {}
            }
            while !is_terminal(&master.next_of(&names[1]).await) {}
        }
        until("nothing of the group is left", is_empty).await;
        drop(life);
    }
    println!("{early} groups ended with the agent's first life, {late} lived on");
    assert!(early + late > 0, "no agent died after it had noted a group");
    let mut last = config.clone();
    last.ephemeral = true;
    let agent = Agent::start(last).await.unwrap();
    agent.shutdown().await.unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let roots: Vec<_> = mounts
        .filter_map(|line| line.split(' ').nth(4))
        .map(|mount| Path::new(mount).join(&config.cgroups_root))
        .collect();
    // The last to go takes them along, and that is a process of its own.
    let gone = || roots.iter().all(|root| !root.exists());
    until("no cgroups are left", gone).await;
}
