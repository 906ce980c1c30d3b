//! gRPC: frameworks and agents on the port that also speaks HTTP.

use std::time::Duration;

use tepui_grpc::agent_link_client::AgentLinkClient;
use tepui_grpc::schedulers_client::SchedulersClient;
use tepui_master::RunningMaster;
use tepui_proto::mesos::scheduler::{Call, Event, call, event};
use tepui_proto::mesos::{self, TaskInfo, offer};
use tepui_proto::tepui::v1::{
    AgentFrame, AgentMessage, CallRefused, Pong, SchedulerCalls, SchedulerEvents, agent_message,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::support::{FakeAgent, PATIENCE, channel, get, master, scalar, scheduler_call};

struct Framework {
    calls: mpsc::Sender<SchedulerCalls>,
    events: Streaming<SchedulerEvents>,
    waiting: std::collections::VecDeque<Event>,
    refused: Vec<CallRefused>,
}

impl Framework {
    async fn connect(master: &RunningMaster) -> Self {
        let mut client = SchedulersClient::new(channel(master).await);
        let (calls, calls_out) = mpsc::channel(64);
        let events = client
            .connect(ReceiverStream::new(calls_out))
            .await
            .expect("accepted")
            .into_inner();
        Self {
            calls,
            events,
            waiting: Default::default(),
            refused: Vec::new(),
        }
    }

    async fn subscribe(&mut self, name: &str) -> String {
        let mut subscribe = scheduler_call("", call::Type::Subscribe);
        subscribe.framework_id = None;
        subscribe.subscribe = Some(Box::new(call::Subscribe {
            framework_info: mesos::FrameworkInfo {
                user: "root".to_owned(),
                name: name.to_owned(),
                ..Default::default()
            },
            ..Default::default()
        }));
        self.send(vec![subscribe]).await;
        let event = self.until(event::Type::Subscribed).await;
        event.subscribed.expect("its content").framework_id.value
    }

    async fn send(&self, calls: Vec<Call>) {
        self.calls
            .send(SchedulerCalls { calls })
            .await
            .expect("open");
    }

    /// Reads a frame; `false` at the end of the stream.
    async fn read(&mut self) -> bool {
        let frame = tokio::time::timeout(PATIENCE, self.events.message())
            .await
            .expect("in time");
        match frame {
            Ok(Some(frame)) => {
                self.waiting.extend(frame.events);
                self.refused.extend(frame.refused);
                true
            }
            _ => false,
        }
    }

    /// The next event of this type. Other events do not renew its patience.
    async fn until(&mut self, kind: event::Type) -> Event {
        tokio::time::timeout(PATIENCE, self.sought(kind))
            .await
            .unwrap_or_else(|_| panic!("no {} within {PATIENCE:?}", kind.as_str_name()))
    }

    async fn sought(&mut self, kind: event::Type) -> Event {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if event.r#type() == kind {
                    return event;
                }
            }
            assert!(
                self.read().await,
                "the stream ended before {}; refused: {:?}",
                kind.as_str_name(),
                self.refused
            );
        }
    }
}

fn launch(framework: &str, offer: &mesos::Offer, count: usize) -> Call {
    let task_infos = (0..count).map(|n| TaskInfo {
        name: "many".to_owned(),
        task_id: mesos::TaskId {
            value: format!("t-{n}"),
        },
        agent_id: offer.agent_id.clone(),
        resources: vec![scalar("cpus", 0.001), scalar("mem", 0.1)],
        command: Some(mesos::CommandInfo {
            value: Some("true".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    });
    let operation = offer::Operation {
        r#type: Some(offer::operation::Type::Launch.into()),
        launch: Some(offer::operation::Launch {
            task_infos: task_infos.collect(),
        }),
        ..Default::default()
    };
    let mut accept = scheduler_call(framework, call::Type::Accept);
    accept.accept = Some(call::Accept {
        offer_ids: vec![offer.id.clone()],
        operations: vec![operation],
        filters: None,
    });
    accept
}

#[tokio::test]
async fn many_tasks_run_from_offer_to_finished() {
    const TASKS: usize = 1_000;
    let master = master().await;
    let _agent = FakeAgent::start(&master, 64.0, "127.0.0.1", 5051).await;
    let mut framework = Framework::connect(&master).await;
    let id = framework.subscribe("grpc").await;
    let offers = framework
        .until(event::Type::Offers)
        .await
        .offers
        .expect("its content")
        .offers;
    framework.send(vec![launch(&id, &offers[0], TASKS)]).await;
    let mut finished = 0;
    while finished < TASKS {
        let status = framework
            .until(event::Type::Update)
            .await
            .update
            .expect("its content")
            .status;
        if status.state == mesos::TaskState::TaskFinished as i32 {
            finished += 1;
        }
        let mut acknowledge = scheduler_call(&id, call::Type::Acknowledge);
        acknowledge.acknowledge = Some(call::Acknowledge {
            agent_id: status.agent_id.expect("an agent"),
            task_id: status.task_id,
            uuid: status.uuid.expect("a uuid"),
        });
        framework.send(vec![acknowledge]).await;
    }
    assert_eq!(framework.refused, []);
    let metrics = get(&master, "/metrics/snapshot").await.json();
    assert_eq!(metrics["master/tasks_finished"], TASKS as f64);
    master.shutdown().await;
}

#[tokio::test]
async fn refusals_name_the_call() {
    let master = master().await;
    let mut framework = Framework::connect(&master).await;
    let id = framework.subscribe("refused").await;
    // The second and the fourth call of the stream are wrong.
    framework
        .send(vec![
            scheduler_call("nobody", call::Type::Revive),
            scheduler_call(&id, call::Type::Revive),
        ])
        .await;
    framework
        .send(vec![scheduler_call(&id, call::Type::Accept)])
        .await;
    while framework.refused.len() < 2 {
        assert!(framework.read().await);
    }
    let refused: Vec<_> = framework
        .refused
        .iter()
        .map(|refused| (refused.call, refused.status))
        .collect();
    assert_eq!(refused, [(1, 400), (3, 400)]);
    master.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_subscribe_is_ended() {
    let master = master().await;
    let mut framework = Framework::connect(&master).await;
    framework
        .send(vec![scheduler_call("x", call::Type::Revive)])
        .await;
    while framework.read().await {}
    assert_eq!(framework.refused.len(), 1);
    assert!(
        framework.refused[0].message.contains("SUBSCRIBE"),
        "{}",
        framework.refused[0].message
    );
    assert_eq!(
        get(&master, "/frameworks").await.json()["frameworks"],
        serde_json::json!([])
    );
    master.shutdown().await;
}

#[tokio::test]
async fn an_agent_that_does_not_register_first_is_closed() {
    let master = master().await;
    let mut client = AgentLinkClient::new(channel(&master).await);
    let (frames, frames_out) = mpsc::channel(4);
    let pong = AgentMessage {
        message: Some(agent_message::Message::Pong(Pong { sequence: 1 })),
    };
    frames
        .send(AgentFrame {
            messages: vec![pong],
        })
        .await
        .expect("room");
    let mut from_master = client
        .connect(ReceiverStream::new(frames_out))
        .await
        .expect("accepted")
        .into_inner();
    let ended = async { while let Ok(Some(_)) = from_master.message().await {} };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the stream is closed");
    assert_eq!(
        get(&master, "/slaves").await.json()["slaves"],
        serde_json::json!([])
    );
    master.shutdown().await;
}

#[tokio::test]
async fn offers_come_within_milliseconds_of_the_agent() {
    let master = master().await;
    let mut framework = Framework::connect(&master).await;
    framework.subscribe("quick").await;
    let (mut agents, mut took) = (Vec::new(), Vec::new());
    for port in 5051..5060 {
        agents.push(FakeAgent::start(&master, 4.0, "127.0.0.1", port).await);
        let registered = std::time::Instant::now();
        framework.until(event::Type::Offers).await;
        took.push(registered.elapsed());
    }
    took.sort();
    // Far below the second that a periodic allocation would take each time; the machine may have been away some of the times.
    assert!(
        took[took.len() / 2] < Duration::from_millis(500),
        "{took:?}"
    );
    master.shutdown().await;
}

#[tokio::test]
async fn shutting_down_ends_every_stream() {
    let master = master().await;
    let mut framework = Framework::connect(&master).await;
    framework.subscribe("left").await;
    tokio::time::timeout(PATIENCE, master.shutdown())
        .await
        .expect("nobody keeps it up");
    while framework.read().await {}
}
