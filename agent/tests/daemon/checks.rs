//! Commands that look at tasks run as the tasks do.

use tepui_agent::Agent;
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskRunning, TaskStarting};
use tepui_proto::mesos::v1::health_check;

use crate::images::{ephemeral, image_in, in_docker, in_image, parameters};
use crate::master::Master;
use crate::shell;

fn healthy(task: mesos::TaskInfo, command: &str, user: Option<&str>) -> mesos::TaskInfo {
    let check = mesos::HealthCheck {
        r#type: Some(health_check::Type::Command.into()),
        command: Some(Box::new(mesos::CommandInfo {
            user: user.map(str::to_owned),
            ..shell("", command).command.unwrap()
        })),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(100),
        ..Default::default()
    };
    mesos::TaskInfo {
        health_check: Some(Box::new(check)),
        ..task
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_looks_at_a_task_runs_where_and_as_whom_the_task_does() {
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config).await.unwrap();
    master.admit().await;

    const RUN: &str = "echo $$ > mark; exec sleep 1000";
    let mut tasks = vec![
        healthy(
            shell("host", RUN),
            "test -e mark && test \"$(pwd -P)\" = \"$MESOS_SANDBOX\"",
            None,
        ),
        healthy(
            in_image(shell("image", RUN), &image),
            "test -e mark && test $(pwd) = /mnt/mesos/sandbox && test $A = b",
            None,
        ),
    ];
    if nix::unistd::geteuid().is_root() {
        let docker = mesos::container_info::DockerInfo {
            image: image.clone(),
            parameters: parameters(&[("workdir", "/etc"), ("user", "app")]),
            ..Default::default()
        };
        let mut nobody = shell("nobody", RUN);
        nobody.command.as_mut().unwrap().user = Some("nobody".to_owned());
        tasks.extend([
            healthy(
                in_docker(shell("docker", "exec sleep 1000"), docker),
                "test $(pwd) = /etc && test $(id -u) = 1234",
                None,
            ),
            healthy(
                nobody.clone(),
                "test -e mark && test $(id -un) = nobody",
                None,
            ),
        ]);
        nobody.task_id.value = "root".to_owned();
        let command = "test -e mark && test $(id -un) = root";
        tasks.push(healthy(nobody, command, Some("root")));
    }
    for task in tasks {
        let id = task.task_id.value.clone();
        master.run(task).await;
        loop {
            let status = master.next_of(&id).await;
            let state = status.state();
            assert!(
                matches!(state, TaskStarting | TaskRunning),
                "{id}: {}",
                status.message()
            );
            if status.healthy() {
                break;
            }
        }
    }
    agent.shutdown().await.unwrap();
}
