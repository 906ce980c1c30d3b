//! Executors' calls and event streams, between the faces and the core.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prost::Message;
use tepui_agent_core::{ExecutorAction, Input, Refusal};
use tepui_model::{ExecutorId, FrameworkId};
use tepui_proto::mesos::v1::executor::{Call, Event, call};
use tokio::sync::{mpsc, oneshot};

/// Bytes of events that may wait for an executor that does not read; beyond, its stream is closed.
const OUTBOX_BYTES: usize = 64 << 20;

/// The way into the core.
pub(crate) type Inputs = mpsc::Sender<Input>;

/// An executor's events, as its face takes them out.
pub(crate) struct Events {
    connection: u64,
    receiver: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<AtomicUsize>,
    inputs: Inputs,
    streams: Arc<Mutex<HashMap<u64, Stream>>>,
}

struct Stream {
    sender: mpsc::UnboundedSender<Event>,
    waiting: Arc<AtomicUsize>,
}

/// Where the answer to a call goes.
type Answering = oneshot::Sender<Result<(), Refusal>>;

/// The calls that wait for an answer and the streams that stand.
#[derive(Clone)]
pub(crate) struct Executors {
    inputs: Inputs,
    answers: Arc<Mutex<HashMap<u64, Answering>>>,
    streams: Arc<Mutex<HashMap<u64, Stream>>>,
    next: Arc<AtomicU64>,
}

/// How a call ended.
pub(crate) enum Answer {
    /// Taken, and nothing more comes.
    Accepted,
    /// The stream of a subscription.
    Subscribed(Events),
}

/// A call that the core has yet to answer.
struct Begun {
    answer: Option<oneshot::Receiver<Result<(), Refusal>>>,
    events: Option<Events>,
}

impl Begun {
    async fn end(self) -> Result<Answer, NotTaken> {
        if let Some(answer) = self.answer {
            answer.await.map_err(|_| stopping())??;
        }
        Ok(self.events.map_or(Answer::Accepted, Answer::Subscribed))
    }
}

fn stopping() -> NotTaken {
    NotTaken::new(503, "Agent is shutting down")
}

/// Why a call was not taken: an HTTP status and a sentence.
#[derive(Debug, Clone)]
pub(crate) struct NotTaken {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl NotTaken {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::UnknownFramework | Refusal::UnknownExecutor | Refusal::Invalid(_) => 400,
            Refusal::NotSubscribed => 403,
            Refusal::Busy(_) => 503,
        };
        Self::new(status, refusal.to_string())
    }
}

impl Executors {
    pub(crate) fn new(inputs: Inputs) -> Self {
        Self {
            inputs,
            answers: Arc::default(),
            streams: Arc::default(),
            next: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Takes a call to the core. SUBSCRIBE opens a stream.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, NotTaken> {
        self.begin(call).await?.end().await
    }

    /// Takes calls to the core together, in their order.
    pub(crate) async fn calls(&self, calls: Vec<Call>) -> Vec<Result<Answer, NotTaken>> {
        let mut begun = Vec::with_capacity(calls.len());
        for call in calls {
            begun.push(self.begin(call).await);
        }
        let mut answers = Vec::with_capacity(begun.len());
        for call in begun {
            answers.push(match call {
                Ok(begun) => begun.end().await,
                Err(why) => Err(why),
            });
        }
        answers
    }

    /// Takes a call to the core, and does not wait for its answer.
    async fn begin(&self, call: Call) -> Result<Begun, NotTaken> {
        let missing =
            |field: &str| NotTaken::new(400, format!("Expecting '{field}' to be present"));
        let (Ok(framework_id), Ok(executor_id)) = (
            FrameworkId::new(&call.framework_id.value),
            ExecutorId::new(&call.executor_id.value),
        ) else {
            return Err(NotTaken::new(
                400,
                "'framework_id' or 'executor_id' is no id",
            ));
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut events = None;
        let action = match call.r#type() {
            call::Type::Heartbeat => {
                return Ok(Begun {
                    answer: None,
                    events: None,
                });
            }
            call::Type::Unknown => {
                return Err(NotTaken::new(400, "Expecting 'type' to be present"));
            }
            call::Type::Subscribe => {
                let subscribe = call.subscribe.ok_or_else(|| missing("subscribe"))?;
                events = Some(self.open(number));
                ExecutorAction::Subscribe {
                    connection: number,
                    unacknowledged_tasks: subscribe.unacknowledged_tasks,
                    unacknowledged_updates: subscribe.unacknowledged_updates,
                }
            }
            call::Type::Update => ExecutorAction::Update(Box::new(
                call.update.ok_or_else(|| missing("update"))?.status,
            )),
            call::Type::Message => {
                ExecutorAction::Message(call.message.ok_or_else(|| missing("message"))?.data)
            }
        };
        let (sender, answer) = oneshot::channel();
        self.answers.lock().insert(number, sender);
        let sent = self
            .inputs
            .send(Input::Executor {
                call: number,
                framework_id,
                executor_id,
                action,
            })
            .await;
        if sent.is_err() {
            self.answers.lock().remove(&number);
            return Err(stopping());
        }
        Ok(Begun {
            answer: Some(answer),
            events,
        })
    }

    fn open(&self, connection: u64) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        self.streams.lock().insert(
            connection,
            Stream {
                sender,
                waiting: Arc::clone(&waiting),
            },
        );
        Events {
            connection,
            receiver,
            waiting,
            inputs: self.inputs.clone(),
            streams: Arc::clone(&self.streams),
        }
    }

    /// The core's answer to a call.
    pub(crate) fn answer(&self, call: u64, result: Result<(), Refusal>) {
        if let Some(sender) = self.answers.lock().remove(&call) {
            // A caller that has gone does not need it.
            let _ = sender.send(result);
        }
    }

    /// An event for a subscribed executor. One that does not read loses its stream; it will subscribe again.
    pub(crate) fn event(&self, connection: u64, event: Event) {
        let mut streams = self.streams.lock();
        let Some(stream) = streams.get(&connection) else {
            return;
        };
        let size = event.encoded_len();
        let waiting = stream.waiting.fetch_add(size, Ordering::Relaxed) + size;
        if waiting > OUTBOX_BYTES || stream.sender.send(event).is_err() {
            tracing::warn!(
                "an executor does not read its events ({waiting} bytes wait); its stream is closed"
            );
            streams.remove(&connection);
        }
    }

    /// Ends a stream after what was sent on it.
    pub(crate) fn close(&self, connection: u64) {
        self.streams.lock().remove(&connection);
    }

    /// Executors that are subscribed.
    pub(crate) fn subscribed(&self) -> usize {
        self.streams.lock().len()
    }
}

impl Events {
    /// The next events: whatever is there, at least one. `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        if self.receiver.recv_many(&mut events, 256).await == 0 {
            return None;
        }
        let taken: usize = events.iter().map(Message::encoded_len).sum();
        self.waiting.fetch_sub(taken, Ordering::Relaxed);
        Some(events)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.connection);
        let input = Input::ExecutorDisconnected {
            connection: self.connection,
        };
        if let Err(mpsc::error::TrySendError::Full(input)) = self.inputs.try_send(input) {
            let inputs = self.inputs.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { inputs.send(input).await });
            }
        }
    }
}
