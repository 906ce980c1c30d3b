//! The task that holds an executor's subscription with its agent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tepui_coordination::HostPort;
use tepui_model::TaskId;
use tepui_proto::mesos;
use tepui_proto::mesos::executor::{Call, call, event};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ledger::{Ledger, UPDATE_LIMIT};
use super::{ExecutorBuilder, ExecutorEvent};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::inbox::Inbox;
use crate::transport::{self, ExecutorApi, Incoming, Link, OpenError};

/// The pause after the immediate attempt to come back.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The agent is silent for half an hour between heartbeats.
const SILENCE_LIMIT: Duration = Duration::from_secs(5 * 30 * 60);

/// What the handles and the session share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    calls: VecDeque<Call>,
    /// Calls are kept for the subscription at hand: from the moment on at which it was told of all updates before.
    collecting: bool,
    /// The agent has answered.
    subscribed: bool,
    closed: bool,
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps an update until the agent has it, and sends it if there is a subscription.
    pub(super) fn update(&self, status: mesos::TaskStatus) -> Result<(), Error> {
        self.with(|state| {
            if state.closed {
                return Err(Error::Stopped);
            }
            if !state.ledger.update(&status) {
                return Err(Error::QueueFull {
                    waiting: state.ledger.waiting(),
                });
            }
            if state.collecting {
                let update = Some(call::Update { status });
                state.calls.push_back(Call {
                    r#type: Some(call::Type::Update.into()),
                    update,
                    ..Call::default()
                });
            }
            Ok(())
        })?;
        self.filled.notify_one();
        Ok(())
    }

    /// Sends a message, or drops it while there is no subscription.
    pub(super) fn message(&self, data: bytes::Bytes) -> Result<(), Error> {
        self.with(|state| {
            if state.closed {
                return Err(Error::Stopped);
            }
            if state.calls.len() >= UPDATE_LIMIT {
                return Err(Error::QueueFull {
                    waiting: state.calls.len(),
                });
            }
            if state.collecting {
                let message = Some(call::Message { data });
                state.calls.push_back(Call {
                    r#type: Some(call::Type::Message.into()),
                    message,
                    ..Call::default()
                });
            }
            Ok(())
        })?;
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.with(|state| state.closed = true);
    }

    /// Updates the agent has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.with(|state| state.ledger.waiting())
    }

    async fn filled(&self) {
        while self.with(|state| state.calls.is_empty()) {
            self.filled.notified().await;
        }
    }
}

pub(super) struct Session {
    pub(super) builder: ExecutorBuilder,
    pub(super) agent: HostPort,
    pub(super) inbox: Arc<Inbox<ExecutorEvent>>,
    pub(super) shared: Arc<Shared>,
}

/// What became of a link.
enum Lost {
    Link(String),
    ShutDown,
}

impl Session {
    /// Runs until the executor is to end.
    pub(super) async fn run(self) {
        let error = self.hold().await;
        self.shared.close();
        self.inbox.end(error);
    }

    async fn hold(&self) -> Option<Error> {
        let mut backoff = Backoff::new(FIRST_PAUSE, self.builder.backoff_limit.max(FIRST_PAUSE));
        let mut away_since = Instant::now();
        let mut subscribed_before = false;
        loop {
            let opened = transport::open::<ExecutorApi>(
                self.builder.transport,
                &self.agent,
                self.subscribe(),
                self.builder.token.as_deref(),
            );
            match opened.await {
                Ok(link) => {
                    let opened = Instant::now();
                    match self.serve(link).await {
                        Lost::ShutDown => return None,
                        Lost::Link(reason) => {
                            let was = self.shared.with(|state| {
                                state.collecting = false;
                                state.calls.clear();
                                std::mem::take(&mut state.subscribed)
                            });
                            if was {
                                subscribed_before = true;
                                away_since = Instant::now();
                                tracing::info!(agent = %self.agent, reason, "disconnected from the agent");
                                self.inbox.push(ExecutorEvent::Disconnected { reason });
                            }
                            if opened.elapsed() >= self.builder.backoff_limit {
                                backoff.reset();
                            }
                        }
                    }
                }
                Err(OpenError::Refused { status, message }) => {
                    return Some(Error::Refused {
                        master: self.agent.to_string(),
                        status,
                        message,
                    });
                }
                Err(error) => {
                    tracing::debug!(agent = %self.agent, %error, "cannot subscribe with the agent; trying on")
                }
            }
            // Without checkpointing an executor ends with its connection; before the first one it has as long as anyone.
            let patience = match self.builder.recovery_timeout {
                Some(timeout) => timeout,
                None if subscribed_before => Duration::ZERO,
                None => super::REGISTRATION_TIMEOUT,
            };
            if away_since.elapsed() >= patience {
                return Some(Error::AgentGone {
                    agent: self.agent.to_string(),
                    waited_s: patience.as_secs(),
                });
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }

    fn call(&self) -> Call {
        Call {
            executor_id: (&self.builder.executor_id).into(),
            framework_id: (&self.builder.framework_id).into(),
            ..Call::default()
        }
    }

    fn subscribe(&self) -> Call {
        let subscribe = Some(self.shared.with(|state| {
            state.calls.clear();
            state.collecting = true;
            state.ledger.subscribe()
        }));
        Call {
            r#type: Some(call::Type::Subscribe.into()),
            subscribe,
            ..self.call()
        }
    }

    async fn serve(&self, mut link: Link<ExecutorApi>) -> Lost {
        let mut heard = Instant::now();
        loop {
            let reading = self.inbox.has_room();
            tokio::select! {
                () = self.inbox.room(), if !reading => heard = Instant::now(),
                incoming = link.events.recv(), if reading => {
                    heard = Instant::now();
                    match incoming {
                        Some(Ok(Incoming::Events(events))) => for event in events {
                            if self.take(event, link.over) {
                                return Lost::ShutDown;
                            }
                        },
                        Some(Ok(Incoming::Refused(refused))) => {
                            tracing::warn!(call = refused.call, status = refused.status, refused.message, "the agent refused a call");
                        }
                        Some(Err(broken)) => return Lost::Link(broken.to_string()),
                        None => return Lost::Link("the stream ended".to_owned()),
                    }
                }
                room = async { self.shared.filled().await; link.calls.reserve().await } => match room {
                    Ok(room) => {
                        let mut calls: Vec<Call> = self.shared.with(|state| state.calls.drain(..).collect());
                        for call in &mut calls {
                            call.executor_id = (&self.builder.executor_id).into();
                            call.framework_id = (&self.builder.framework_id).into();
                        }
                        room.send(calls);
                    }
                    Err(_) => return Lost::Link("the agent takes no more calls".to_owned()),
                },
                () = tokio::time::sleep_until(heard + SILENCE_LIMIT) => return Lost::Link("the agent is silent".to_owned()),
            }
        }
    }

    /// Takes an event; `true` if the executor is to end.
    fn take(&self, event: mesos::executor::Event, over: &'static str) -> bool {
        use event::Type;
        match event.r#type() {
            Type::Subscribed => {
                if let Some(subscribed) = event.subscribed {
                    tracing::info!(agent = %self.agent, over, "subscribed with the agent");
                    self.shared.with(|state| state.subscribed = true);
                    self.inbox.push(ExecutorEvent::Subscribed(subscribed));
                }
            }
            Type::Launch => {
                if let Some(launch) = event.launch {
                    self.shared
                        .with(|state| state.ledger.launched(&launch.task));
                    self.inbox
                        .push(ExecutorEvent::Launch(Box::new(launch.task)));
                }
            }
            Type::LaunchGroup => {
                if let Some(group) = event.launch_group {
                    for task in &group.task_group.tasks {
                        self.shared.with(|state| state.ledger.launched(task));
                    }
                    self.inbox
                        .push(ExecutorEvent::LaunchGroup(group.task_group.tasks));
                }
            }
            Type::Kill => {
                if let Some(kill) = event.kill
                    && let Ok(task_id) = TaskId::try_from(&kill.task_id)
                {
                    let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
                    let grace = grace
                        .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
                        .map(Duration::from_nanos);
                    self.inbox.push(ExecutorEvent::Kill { task_id, grace });
                }
            }
            Type::Acknowledged => {
                if let Some(event::Acknowledged { task_id, uuid }) = event.acknowledged {
                    self.shared
                        .with(|state| state.ledger.acknowledged(&task_id, &uuid));
                }
            }
            Type::Message => {
                if let Some(message) = event.message {
                    self.inbox.push(ExecutorEvent::Message(message.data));
                }
            }
            Type::Shutdown => self.inbox.push(ExecutorEvent::Shutdown),
            Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                tracing::error!(agent = %self.agent, message, "the agent ended this executor");
                self.inbox.push(ExecutorEvent::Shutdown);
                return true;
            }
            Type::Heartbeat | Type::Unknown => {}
        }
        false
    }
}
