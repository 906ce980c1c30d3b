//! Executors against a small agent that speaks gRPC: what the client does for its author.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::{Stream, StreamExt};
use tepui_grpc::executors_server::{Executors, ExecutorsServer};
use tepui_proto::mesos;
use tepui_proto::mesos::executor::call::Type;
use tepui_proto::mesos::executor::{Call, Event, event};
use tepui_proto::tepui::{ExecutorCalls, ExecutorEvents};
use tepui_sdk::{
    Error, ExecutorBuilder, ExecutorEvent, ExecutorId, FrameworkId, TaskId, TaskReport, TaskState,
    Transport,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Status, Streaming};

/// No wait here is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hands each subscription to the test.
struct Agent {
    subscriptions: mpsc::UnboundedSender<Subscription>,
}

struct Subscription {
    subscribe: Call,
    calls: mpsc::UnboundedReceiver<Call>,
    events: mpsc::UnboundedSender<Event>,
}

impl Subscription {
    async fn call(&mut self) -> Call {
        tokio::time::timeout(PATIENCE, self.calls.recv())
            .await
            .expect("a call")
            .expect("a stream")
    }
}

#[tonic::async_trait]
impl Executors for Agent {
    type ConnectStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<ExecutorEvents, Status>> + Send>>;

    async fn connect(
        &self,
        request: tonic::Request<Streaming<ExecutorCalls>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, Status> {
        assert_eq!(
            request.metadata().get("authorization").unwrap(),
            "Bearer secret"
        );
        let mut incoming = request.into_inner();
        let subscribe = incoming
            .message()
            .await?
            .expect("a first frame")
            .calls
            .remove(0);
        assert_eq!(subscribe.r#type(), Type::Subscribe);
        let (events, stream) = mpsc::unbounded_channel();
        let (sender, calls) = mpsc::unbounded_channel();
        let subscribed = event::Subscribed::default();
        events
            .send(Event {
                r#type: Some(event::Type::Subscribed.into()),
                subscribed: Some(subscribed.into()),
                ..Event::default()
            })
            .unwrap();
        let _ = self.subscriptions.send(Subscription {
            subscribe,
            calls,
            events,
        });
        tokio::spawn(async move {
            while let Ok(Some(frame)) = incoming.message().await {
                for call in frame.calls {
                    let _ = sender.send(call);
                }
            }
        });
        let frames = UnboundedReceiverStream::new(stream).map(|event| {
            Ok(ExecutorEvents {
                events: vec![event],
                refused: vec![],
            })
        });
        Ok(tonic::Response::new(Box::pin(frames)))
    }
}

async fn agent() -> (mpsc::UnboundedReceiver<Subscription>, ExecutorBuilder) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = ExecutorBuilder {
        framework_id: FrameworkId::new("f").unwrap(),
        executor_id: ExecutorId::new("e").unwrap(),
        agent: listener.local_addr().unwrap().to_string(),
        recovery_timeout: Some(Duration::from_secs(60)),
        backoff_limit: Duration::from_secs(2),
        shutdown_grace: Duration::from_secs(5),
        token: Some("secret".to_owned()),
        transport: Transport::Auto,
    };
    let (sender, subscriptions) = mpsc::unbounded_channel();
    let service = ExecutorsServer::new(Agent {
        subscriptions: sender,
    });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (subscriptions, builder)
}

async fn next(executor: &mut tepui_sdk::Executor) -> ExecutorEvent {
    tokio::time::timeout(PATIENCE, executor.next())
        .await
        .expect("an event")
        .unwrap()
        .expect("not ended")
}

fn launch(task: &str) -> Event {
    let task = mesos::TaskInfo {
        task_id: mesos::TaskId {
            value: task.to_owned(),
        },
        ..Default::default()
    };
    Event {
        r#type: Some(event::Type::Launch.into()),
        launch: Some(event::Launch { task }.into()),
        ..Event::default()
    }
}

#[tokio::test]
async fn reports_are_repeated_until_the_agent_has_them() {
    let (mut subscriptions, builder) = agent().await;
    let mut executor = builder.connect().unwrap();
    assert!(matches!(
        next(&mut executor).await,
        ExecutorEvent::Subscribed(_)
    ));
    let mut first = subscriptions.recv().await.unwrap();
    for task in ["a", "b"] {
        first.events.send(launch(task)).unwrap();
        assert!(
            matches!(next(&mut executor).await, ExecutorEvent::Launch(info) if info.task_id.value == task)
        );
    }
    let (a, b) = (TaskId::new("a").unwrap(), TaskId::new("b").unwrap());
    executor.update(&a, TaskState::Running).unwrap();
    let update = first.call().await;
    assert_eq!(
        (
            update.framework_id.value.as_str(),
            update.executor_id.value.as_str()
        ),
        ("f", "e")
    );
    let status = update.update.unwrap().status;
    assert_eq!(
        (status.task_id.value.as_str(), status.state),
        ("a", TaskState::Running.number())
    );
    assert_eq!(
        status.source,
        Some(mesos::task_status::Source::Executor.into())
    );
    assert_eq!(status.uuid.as_ref().map(bytes::Bytes::len), Some(16));
    let acknowledged = event::Acknowledged {
        task_id: status.task_id,
        uuid: status.uuid.unwrap(),
    };
    first
        .events
        .send(Event {
            r#type: Some(event::Type::Acknowledged.into()),
            acknowledged: Some(acknowledged),
            ..Event::default()
        })
        .unwrap();
    executor
        .handle()
        .report(TaskReport::new(&a, TaskState::Finished).message("well done"))
        .unwrap();
    let finished = first.call().await.update.unwrap().status;

    drop(first);
    assert!(matches!(
        next(&mut executor).await,
        ExecutorEvent::Disconnected { .. }
    ));
    executor.update(&b, TaskState::Running).unwrap();
    assert!(matches!(
        next(&mut executor).await,
        ExecutorEvent::Subscribed(_)
    ));
    let mut second = subscriptions.recv().await.unwrap();
    let subscribe = second.subscribe.subscribe.clone().unwrap();
    let tasks: Vec<&str> = subscribe
        .unacknowledged_tasks
        .iter()
        .map(|task| task.task_id.value.as_str())
        .collect();
    assert_eq!(tasks, ["b"], "of a the agent has an update");
    assert_eq!(
        subscribe
            .unacknowledged_updates
            .first()
            .map(|update| &update.status),
        Some(&finished)
    );

    executor.handle().message("hello").unwrap();
    let mut call = second.call().await;
    if call.r#type() == Type::Update {
        // Reported between the streams, and after the subscription had been written.
        call = second.call().await;
    }
    assert_eq!(call.message.unwrap().data, "hello");
    let kill = event::Kill {
        task_id: mesos::TaskId {
            value: "b".to_owned(),
        },
        kill_policy: Some(mesos::KillPolicy {
            grace_period: Some(Duration::from_secs(3).into()),
        }),
    };
    second
        .events
        .send(Event {
            r#type: Some(event::Type::Kill.into()),
            kill: Some(kill),
            ..Event::default()
        })
        .unwrap();
    match next(&mut executor).await {
        ExecutorEvent::Kill { task_id, grace } => {
            assert_eq!((task_id, grace), (b, Some(Duration::from_secs(3))))
        }
        other => panic!("{other:?}"),
    }
    second
        .events
        .send(Event {
            r#type: Some(event::Type::Shutdown.into()),
            ..Event::default()
        })
        .unwrap();
    assert!(matches!(next(&mut executor).await, ExecutorEvent::Shutdown));
}

#[tokio::test]
async fn without_checkpoints_it_ends_with_its_connection() {
    let (mut subscriptions, mut builder) = agent().await;
    builder.recovery_timeout = None;
    let mut executor = builder.connect().unwrap();
    assert!(matches!(
        next(&mut executor).await,
        ExecutorEvent::Subscribed(_)
    ));
    drop(subscriptions.recv().await.unwrap());
    assert!(matches!(
        next(&mut executor).await,
        ExecutorEvent::Disconnected { .. }
    ));
    match tokio::time::timeout(PATIENCE, executor.next())
        .await
        .unwrap()
    {
        Err(Error::AgentGone { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(executor.next().await.unwrap().is_none());
    assert!(matches!(
        executor.update(&TaskId::new("a").unwrap(), TaskState::Running),
        Err(Error::Stopped)
    ));
}
