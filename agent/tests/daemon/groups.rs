//! Task groups that the agent runs by itself.

use tepui_agent::Agent;
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning};
use tepui_proto::tepui::v1::RunTaskGroup;
use tepui_proto::tepui::v1::master_message::Message;

use crate::master::Master;
use crate::{config, http, shell, sweep};

pub(crate) async fn run(master: &Master, tasks: Vec<mesos::TaskInfo>) {
    run_in(master, None, tasks).await;
}

/// The same, with something to say about the executor's container.
pub(crate) async fn run_in(
    master: &Master,
    container: Option<mesos::ContainerInfo>,
    tasks: Vec<mesos::TaskInfo>,
) {
    let executor = mesos::ExecutorInfo {
        r#type: Some(mesos::executor_info::Type::Default.into()),
        executor_id: mesos::ExecutorId {
            value: "pod".to_owned(),
        },
        container: container.map(Box::new),
        ..Default::default()
    };
    master
        .say(Message::RunTaskGroup(Box::new(RunTaskGroup {
            framework_id: mesos::FrameworkId {
                value: "f".to_owned(),
            },
            executor,
            group: mesos::TaskGroupInfo { tasks },
            launch_executor: None,
            resource_version: None,
        })))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_runs_apart_shares_its_fate_and_outlives_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let fail = folder.path().join("fail");
    let failing = format!(
        "while ! test -e {}; do sleep 0.02; done; exit 3",
        fail.display()
    );
    run(
        &master,
        vec![
            shell("a", &format!("echo $$ > pid; {failing}")),
            shell("b", "echo $$ > pid; exec sleep 1000"),
        ],
    )
    .await;
    run(&master, vec![shell("other", "exec sleep 1000")]).await;
    let mut containers = Vec::new();
    for task in ["a", "b", "other"] {
        let running = master.until(task, TaskRunning).await;
        assert_eq!(running.executor_id.unwrap().value, "pod");
        let status = running.container_status.unwrap();
        let container = status.container_id.unwrap();
        assert!(container.parent.is_some());
        containers.push((container.value, status.executor_pid.unwrap()));
    }
    let sandbox = config
        .work_dir
        .join("slaves/S0/frameworks/f/executors/pod/runs/latest");
    for (index, task) in ["a", "b"].iter().enumerate() {
        let link = sandbox.join("tasks").join(task);
        assert_eq!(
            link.canonicalize().unwrap(),
            sandbox
                .join("containers")
                .join(&containers[index].0)
                .canonicalize()
                .unwrap()
        );
    }
    agent.shutdown().await.unwrap();

    let agent = Agent::start(config.clone()).await.unwrap();
    let register = master.admit().await;
    assert_eq!((register.tasks.len(), register.executors.len()), (3, 1));
    let state = http::get(agent.addr(), "/state").await.json();
    let executors = &state["frameworks"][0]["executors"];
    assert_eq!(executors[0]["id"], "pod");
    assert_eq!(executors[0]["tasks"].as_array().unwrap().len(), 3);
    std::fs::write(&fail, "").unwrap();
    let failed = master.until("a", TaskFailed).await;
    assert_eq!(failed.message(), "Command exited with status 3");
    master.until("b", TaskKilled).await;
    let other = containers[2].1;
    assert!(
        std::path::Path::new(&format!("/proc/{other}")).exists(),
        "the other group lives on"
    );
    run(&master, vec![shell("more", "true")]).await;
    master.until("more", TaskFinished).await;
    master.kill("other").await;
    master.until("other", TaskKilled).await;
    loop {
        let state = http::get(agent.addr(), "/state").await.json();
        let frameworks = state["frameworks"].as_array().unwrap();
        if frameworks.is_empty() || frameworks[0]["executors"].as_array().unwrap().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    sweep(&config, agent).await;
}
