//! A master of a few lines, with a face for gRPC or for HTTP, that does what a test says and remembers what it is told.

// Each test program uses its part of this.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod faces;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::call::Type;
use tepui_proto::mesos::scheduler::{Call, Event, event};
use tepui_sdk::{Driver, Resources, TaskState};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// No wait here is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Grpc,
    Http,
}

/// What it says to those who subscribe.
#[derive(Clone, Debug)]
enum Mode {
    Lead,
    Follow(String),
    Refuse(u16, String),
}

/// What it sends on the stream.
enum Out {
    Event(Box<Event>),
    /// gRPC only: HTTP answers at once.
    Refused {
        call: u64,
        status: u16,
        message: String,
    },
}

struct State {
    mode: Mode,
    refuse_calls: Option<(u16, String)>,
    heartbeat_seconds: f64,
    stream: Option<mpsc::UnboundedSender<Out>>,
    calls: mpsc::UnboundedSender<Call>,
    /// Told of each subscription that was not taken.
    refused: Arc<Notify>,
}

#[derive(Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Takes a subscription over from whoever had one, and gives what is to be sent on it.
    fn subscribe(&self, call: Call) -> Result<mpsc::UnboundedReceiver<Out>, Mode> {
        let mut state = self.state();
        if !matches!(state.mode, Mode::Lead) {
            state.refused.notify_one();
            return Err(state.mode.clone());
        }
        let framework_id = call.framework_id.clone().unwrap_or(mesos::FrameworkId {
            value: "fw-0001".to_owned(),
        });
        let (sender, events) = mpsc::unbounded_channel();
        let subscribed = event::Subscribed {
            framework_id,
            heartbeat_interval_seconds: Some(state.heartbeat_seconds),
            master_info: None,
        };
        let event = Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(subscribed.into()),
            ..Event::default()
        };
        sender.send(Out::Event(event.into())).unwrap();
        state.stream = Some(sender);
        // The test may have ended.
        let _ = state.calls.send(call);
        Ok(events)
    }

    /// Remembers a call; what to refuse it with.
    fn take(&self, call: Call) -> Option<(u16, String)> {
        let state = self.state();
        let _ = state.calls.send(call);
        state.refuse_calls.clone()
    }
}

pub struct FakeMaster {
    shared: Shared,
    port: u16,
    calls: mpsc::UnboundedReceiver<Call>,
    seen: VecDeque<Call>,
    server: AbortHandle,
}

impl FakeMaster {
    pub async fn start(face: Face) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, calls) = mpsc::unbounded_channel();
        let state = State {
            mode: Mode::Lead,
            refuse_calls: None,
            heartbeat_seconds: 15.0,
            refused: Arc::default(),
            stream: None,
            calls: sender,
        };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let server = match face {
            Face::Grpc => tokio::spawn(faces::grpc(listener, shared.clone())),
            Face::Http => tokio::spawn(faces::http(listener, shared.clone())),
        };
        Self {
            shared,
            port,
            calls,
            seen: VecDeque::new(),
            server: server.abort_handle(),
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits for the next call of a kind. Others stay to be asked for.
    pub async fn call(&mut self, kind: Type) -> Call {
        if let Some(at) = self.seen.iter().position(|call| call.r#type() == kind) {
            return self.seen.remove(at).unwrap();
        }
        loop {
            let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
            let call = call
                .unwrap_or_else(|_| panic!("no {kind:?} came, but {:?}", self.seen))
                .unwrap();
            if call.r#type() == kind {
                return call;
            }
            self.seen.push_back(call);
        }
    }

    /// Whether no call of a kind has come, by the time at which a later one has.
    pub async fn nothing(&mut self, driver: &Driver, kind: Type) -> bool {
        driver
            .call(Call {
                r#type: Some(Type::Request.into()),
                request: Some(Default::default()),
                ..Call::default()
            })
            .unwrap();
        self.call(Type::Request).await;
        self.seen.iter().all(|call| call.r#type() != kind)
    }

    /// Sends an event to who is subscribed.
    pub fn send(&self, event: Event) {
        let state = self.shared.state();
        state
            .stream
            .as_ref()
            .expect("somebody is subscribed")
            .send(Out::Event(event.into()))
            .expect("who is subscribed listens");
    }

    pub fn rescind(&self, offer: &str) {
        let rescind = event::Rescind {
            offer_id: mesos::OfferId {
                value: offer.to_owned(),
            },
        };
        self.send(Event {
            r#type: Some(event::Type::Rescind.into()),
            rescind: Some(rescind),
            ..Event::default()
        });
    }

    pub fn error(&self, message: &str) {
        let error = event::Error {
            message: message.to_owned(),
        };
        self.send(Event {
            r#type: Some(event::Type::Error.into()),
            error: Some(error),
            ..Event::default()
        });
    }

    /// Ends the stream.
    pub fn hang_up(&self) {
        self.shared.state().stream = None;
    }

    pub fn lead(&self) {
        self.shared.state().mode = Mode::Lead;
    }

    pub fn follow(&self, leader: &FakeMaster) {
        self.shared.state().mode = Mode::Follow(leader.address());
    }

    pub fn refuse(&self, status: u16, message: &str) {
        self.shared.state().mode = Mode::Refuse(status, message.to_owned());
    }

    /// Waits until a subscription was not taken.
    pub async fn refused(&self) {
        let refused = Arc::clone(&self.shared.state().refused);
        tokio::time::timeout(PATIENCE, refused.notified())
            .await
            .expect("a subscription");
    }

    pub fn refuse_calls(&self, status: u16, message: &str) {
        self.shared.state().refuse_calls = Some((status, message.to_owned()));
    }

    pub fn heartbeat_seconds(&self, seconds: f64) {
        self.shared.state().heartbeat_seconds = seconds;
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An offer of agent S1.
pub fn offer(id: &str, resources: &str) -> Event {
    let resources: Resources = resources.parse().unwrap();
    let offer = mesos::Offer {
        id: mesos::OfferId {
            value: id.to_owned(),
        },
        framework_id: mesos::FrameworkId {
            value: "fw-0001".to_owned(),
        },
        agent_id: mesos::AgentId {
            value: "S1".to_owned(),
        },
        hostname: "host".to_owned(),
        resources: to_wire(&resources, Encoding::Stack),
        ..mesos::Offer::default()
    };
    Event {
        r#type: Some(event::Type::Offers.into()),
        offers: Some(event::Offers {
            offers: vec![offer],
        }),
        ..Event::default()
    }
}

/// An update of a task on agent S1.
pub fn update(task: &str, state: TaskState, uuid: Option<&'static [u8]>) -> Event {
    let status = mesos::TaskStatus {
        task_id: mesos::TaskId {
            value: task.to_owned(),
        },
        state: state.number(),
        message: Some("as told".to_owned()),
        agent_id: Some(mesos::AgentId {
            value: "S1".to_owned(),
        }),
        uuid: uuid.map(Bytes::from_static),
        ..mesos::TaskStatus::default()
    };
    Event {
        r#type: Some(event::Type::Update.into()),
        update: Some(event::Update { status }),
        ..Event::default()
    }
}

/// The task and the uuid of an acknowledgement.
pub fn acknowledged(call: &Call) -> (String, Vec<u8>) {
    let acknowledge = call.acknowledge.as_ref().unwrap();
    assert_eq!(acknowledge.agent_id.value, "S1");
    (acknowledge.task_id.value.clone(), acknowledge.uuid.to_vec())
}
