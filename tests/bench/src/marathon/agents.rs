//! Agents without containers whose tasks run until they are killed. A task with a health check is healthy as soon as it runs.
//!
//! As a real agent does, they keep one update of a task under way and send the next when it was acknowledged.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tepui_grpc::{MESSAGE_LIMIT_BYTES, agent_link_client::AgentLinkClient};
use tepui_proto::{
    mesos::v1::{self as mesos, TaskState},
    tepui::v1::{self as tepui, agent_message::Message as Up, master_message::Message as Down},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::{
    BenchError,
    simulated_agents::{Shape, connect, register},
};

/// How many agents share a connection.
const AGENTS_PER_CONNECTION: usize = 100;
/// All agents have to be registered within this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Agents that are connected as long as this exists.
#[derive(Debug)]
pub(super) struct Agents {
    _tasks: JoinSet<Result<(), BenchError>>,
    counts: Arc<Counts>,
}

/// What the agents have done.
#[derive(Debug, Default)]
struct Counts {
    registered: AtomicU64,
    launched: AtomicU64,
    running: AtomicU64,
}

/// A task, with the updates that have not been acknowledged: the first of them is under way.
struct Held {
    framework_id: mesos::FrameworkId,
    updates: VecDeque<(TaskState, Option<bool>)>,
    runs: bool,
}

impl Agents {
    /// Connects so many agents, and waits until all are registered.
    pub(super) async fn connect(
        address: &str,
        count: usize,
        shape: Shape,
    ) -> Result<Self, BenchError> {
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let mut channel = None;
        for number in 0..count {
            if number % AGENTS_PER_CONNECTION == 0 {
                channel = Some(connect(address).await?);
            }
            if let Some(channel) = &channel {
                let agent = Agent {
                    address: address.to_owned(),
                    counts: Arc::clone(&counts),
                    id: mesos::AgentId {
                        value: String::new(),
                    },
                    held: HashMap::new(),
                };
                tasks.spawn(agent.live(register(number, shape), channel.clone()));
            }
        }
        let waiting = Instant::now();
        while counts.registered.load(Ordering::Relaxed) < count as u64 {
            if let Some(ended) = tasks.try_join_next() {
                ended.unwrap_or_else(|panic| Err(BenchError::Refused(panic.to_string())))?;
            }
            if waiting.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(BenchError::Refused(format!(
                    "not all agents were registered within {seconds} s"
                )));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self {
            _tasks: tasks,
            counts,
        })
    }

    /// Tasks that were ever launched.
    pub(super) fn launched(&self) -> u64 {
        self.counts.launched.load(Ordering::Relaxed)
    }

    /// Tasks that run now.
    pub(super) fn running(&self) -> u64 {
        self.counts.running.load(Ordering::Relaxed)
    }
}

struct Agent {
    address: String,
    counts: Arc<Counts>,
    id: mesos::AgentId,
    /// Bounded by what the master can launch on the agent's resources.
    held: HashMap<String, Held>,
}

impl Agent {
    async fn live(mut self, register: tepui::Register, channel: Channel) -> Result<(), BenchError> {
        let (sender, frames) = mpsc::channel::<tepui::AgentFrame>(64);
        let first = frame(vec![Up::Register(Box::new(register))]);
        if sender.send(first).await.is_err() {
            return Err(self.broken("the outgoing stream is closed"));
        }
        let mut client =
            AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
        let mut stream = client
            .connect(ReceiverStream::new(frames))
            .await
            .map_err(|status| self.broken(&status.to_string()))?
            .into_inner();
        while let Some(received) = stream
            .message()
            .await
            .map_err(|status| self.broken(&status.to_string()))?
        {
            let mut answers = Vec::new();
            for message in received.messages.into_iter().filter_map(|one| one.message) {
                answers.extend(self.take(message)?);
            }
            if !answers.is_empty() && sender.send(frame(answers)).await.is_err() {
                return Err(self.broken("the outgoing stream is closed"));
            }
        }
        Err(self.broken("the master closed the stream of an agent"))
    }

    fn broken(&self, reason: &str) -> BenchError {
        BenchError::Broken {
            address: self.address.clone(),
            reason: reason.to_owned(),
        }
    }

    fn take(&mut self, message: Down) -> Result<Option<Up>, BenchError> {
        Ok(match message {
            Down::Registered(registered) => {
                self.id = registered.agent_id;
                self.counts.registered.fetch_add(1, Ordering::Relaxed);
                None
            }
            Down::Refused(refused) => return Err(BenchError::Refused(refused.reason)),
            Down::RunTask(run) => {
                self.counts.launched.fetch_add(1, Ordering::Relaxed);
                self.counts.running.fetch_add(1, Ordering::Relaxed);
                let mut updates = VecDeque::from([(TaskState::TaskRunning, None)]);
                if run.task.health_check.is_some() {
                    updates.push_back((TaskState::TaskRunning, Some(true)));
                }
                let held = Held {
                    framework_id: run.framework_id,
                    updates,
                    runs: true,
                };
                let task = run.task.task_id.value;
                self.held.insert(task.clone(), held);
                self.next_update(&task)
            }
            Down::KillTask(kill) => {
                let task = kill.task_id.value;
                // One that is not here is told to have ended too.
                let held = self.held.entry(task.clone()).or_insert_with(|| Held {
                    framework_id: kill.framework_id,
                    updates: VecDeque::new(),
                    runs: false,
                });
                if std::mem::take(&mut held.runs) {
                    self.counts.running.fetch_sub(1, Ordering::Relaxed);
                }
                if held
                    .updates
                    .iter()
                    .any(|(state, _)| *state == TaskState::TaskKilled)
                {
                    return Ok(None);
                }
                held.updates.push_back((TaskState::TaskKilled, None));
                if held.updates.len() == 1 {
                    self.next_update(&task)
                } else {
                    None
                }
            }
            Down::AcknowledgeTask(acknowledged) => {
                let task = acknowledged.task_id.value;
                let Some(held) = self.held.get_mut(&task) else {
                    return Ok(None);
                };
                if let Some((TaskState::TaskKilled, _)) = held.updates.pop_front() {
                    self.held.remove(&task);
                }
                self.next_update(&task)
            }
            Down::Ping(ping) => Some(Up::Pong(tepui::Pong {
                sequence: ping.sequence,
            })),
            _ => None,
        })
    }

    /// The update that is to be sent next.
    fn next_update(&self, task: &str) -> Option<Up> {
        let held = self.held.get(task)?;
        let (state, healthy) = *held.updates.front()?;
        let latest = held.updates.back().map_or(state, |(state, _)| *state);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let checked = mesos::task_status::Reason::TaskHealthCheckStatusUpdated;
        Some(Up::TaskUpdate(tepui::TaskUpdate {
            framework_id: held.framework_id.clone(),
            executor_id: None,
            status: mesos::TaskStatus {
                task_id: mesos::TaskId {
                    value: task.to_owned(),
                },
                state: state.into(),
                source: Some(mesos::task_status::Source::Executor.into()),
                reason: healthy.map(|_| checked.into()),
                healthy,
                agent_id: Some(self.id.clone()),
                timestamp: Some(now),
                uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
                ..Default::default()
            },
            latest_state: latest.into(),
        }))
    }
}

fn frame(messages: Vec<Up>) -> tepui::AgentFrame {
    let message = |message| tepui::AgentMessage {
        message: Some(message),
    };
    tepui::AgentFrame {
        messages: messages.into_iter().map(message).collect(),
    }
}
