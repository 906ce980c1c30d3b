//! A framework on the SDK, tested with the kit: what the framework sees is what the agent was told to do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tepui_sdk::{Encoding, Event, Framework, Task, TaskState, Transport};
use tepui_sdk_testing::{Behaviour, Cluster, Error};

/// Launches one task on the first offer and gives its states, until a terminal one; `on_running` is done once it runs.
async fn states(
    cluster: &Cluster,
    transport: Transport,
    on_running: impl Fn(&Framework),
) -> Vec<(TaskState, String)> {
    let mut framework = Framework::builder("kit")
        .transport(transport)
        .connect(&cluster.address())
        .await
        .unwrap();
    let mut task = Some(
        Task::command("t", "whatever")
            .unwrap()
            .resources("cpus:1;mem:32".parse().unwrap()),
    );
    let mut seen = Vec::new();
    while let Some(event) = framework.next().await.unwrap() {
        match event {
            Event::Offers(offers) => {
                for mut offer in offers {
                    if let Some(task) = task.take() {
                        offer.try_launch(task).unwrap();
                    }
                }
            }
            Event::Update(update) => {
                seen.push((update.state(), update.message().to_owned()));
                if update.state() == TaskState::Running {
                    on_running(&framework);
                }
                if update.state().is_terminal() {
                    break;
                }
            }
            _ => {}
        }
    }
    seen
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("it happens soon")
}

#[tokio::test]
async fn tasks_do_what_their_agent_was_told() {
    let cluster = Cluster::start().await.unwrap();
    let running = (TaskState::Running, String::new());
    for (behaviour, last) in [
        (Behaviour::Finish, (TaskState::Finished, String::new())),
        (
            Behaviour::Fail("out of luck".into()),
            (TaskState::Failed, "out of luck".to_owned()),
        ),
    ] {
        let _agent = cluster.agent("cpus:1;mem:64", behaviour).await.unwrap();
        assert_eq!(
            soon(states(&cluster, Transport::Grpc, |_| ())).await,
            [running.clone(), last]
        );
    }
}

#[tokio::test]
async fn a_killed_task_is_killed_over_every_transport() {
    for transport in [
        Transport::Grpc,
        Transport::Http(Encoding::Protobuf),
        Transport::Http(Encoding::Json),
    ] {
        let cluster = Cluster::start().await.unwrap();
        let _agent = cluster
            .agent("cpus:1;mem:64", Behaviour::Run)
            .await
            .unwrap();
        let kill = |framework: &Framework| framework.driver().kill(&"t".parse().unwrap()).unwrap();
        let seen = soon(states(&cluster, transport, kill)).await;
        assert_eq!(seen.last().unwrap().0, TaskState::Killed, "{seen:?}");
    }
}

#[tokio::test]
async fn the_test_can_play_the_task() {
    let cluster = Cluster::start().await.unwrap();
    let mut agent = cluster
        .agent("cpus:1;mem:64", Behaviour::Nothing)
        .await
        .unwrap();
    let play = async {
        let task = agent.launched().await.unwrap();
        assert_eq!(task.name, "t");
        let id = "t".parse().unwrap();
        agent.update(&id, TaskState::Running, "").await;
        agent.update(&id, TaskState::Finished, "by hand").await;
        agent.update(&id, TaskState::Failed, "too late").await;
    };
    let ((), seen) =
        soon(async { tokio::join!(play, states(&cluster, Transport::Grpc, |_| ())) }).await;
    assert_eq!(
        seen,
        [
            (TaskState::Running, String::new()),
            (TaskState::Finished, "by hand".to_owned())
        ]
    );
}

#[tokio::test]
async fn bad_resources_are_refused() {
    let cluster = Cluster::start().await.unwrap();
    let error = cluster
        .agent("cpus:many", Behaviour::Run)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Resources { .. }), "{error}");
}
