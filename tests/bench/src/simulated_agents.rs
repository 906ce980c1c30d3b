//! Agents without containers: they speak the real protocol, and every task they are given runs and finishes at once.
//!
//! Many agents share one HTTP/2 connection, a stream each. As a real agent does, they send TASK_RUNNING, wait for its acknowledgement, and then send
//! TASK_FINISHED.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tepui_grpc::{MESSAGE_LIMIT_BYTES, agent_link_client::AgentLinkClient};
use tepui_proto::{
    mesos::v1 as mesos,
    tepui::v1::{self as tepui, agent_message::Message as Up, master_message::Message as Down},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::BenchError;

/// How many agents share a connection. HTTP/2 peers allow at least 100 streams; tepui's master more.
const AGENTS_PER_CONNECTION: usize = 100;

/// What each agent offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) cpus: f64,
    pub(crate) mem_mib: f64,
}

/// A fleet of connected agents.
#[derive(Debug)]
pub(crate) struct Fleet {
    tasks: JoinSet<Result<(), BenchError>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    started: Instant,
    shape: Shape,
    registered: AtomicU64,
    /// By number of agent: when it last sent a terminal update, in microseconds since `started`, or 0 once it has been read.
    freed_micros: Vec<AtomicU64>,
}

impl Fleet {
    /// Connects agents 0 … `count`, and waits until all are registered.
    pub(crate) async fn connect(
        address: &str,
        count: usize,
        shape: Shape,
    ) -> Result<Self, BenchError> {
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            started: Instant::now(),
            shape,
            registered: AtomicU64::new(0),
            freed_micros: (0..count).map(|_| AtomicU64::new(0)).collect(),
        });
        let mut fleet = Self {
            tasks: JoinSet::new(),
            shared,
        };
        let mut channel = None;
        for number in 0..count {
            if number % AGENTS_PER_CONNECTION == 0 {
                channel = Some(connect(address).await?);
            }
            if let Some(channel) = &channel {
                fleet
                    .tasks
                    .spawn(agent(Arc::clone(&fleet.shared), number, channel.clone()));
            }
        }
        let waiting = Instant::now();
        while fleet.shared.registered.load(Ordering::Relaxed) < count as u64 {
            if let Some(ended) = fleet.tasks.try_join_next() {
                ended.unwrap_or_else(|panic| Err(BenchError::Refused(panic.to_string())))?;
            }
            if waiting.elapsed() > Duration::from_secs(120) {
                return Err(BenchError::Refused(
                    "not all agents were registered within 120 s".into(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(fleet)
    }

    /// How long ago the agent of this hostname last freed resources that no offer has been seen for yet.
    pub(crate) fn take_freed(&self, hostname: &str) -> Option<Duration> {
        let number: usize = hostname.strip_prefix("agent-")?.parse().ok()?;
        let micros = self
            .shared
            .freed_micros
            .get(number)?
            .swap(0, Ordering::Relaxed);
        (micros > 0).then(|| {
            self.shared
                .started
                .elapsed()
                .saturating_sub(Duration::from_micros(micros))
        })
    }
}

pub(crate) async fn connect(address: &str) -> Result<Channel, BenchError> {
    let broken = |error: tonic::transport::Error| BenchError::Broken {
        address: address.to_owned(),
        reason: error.to_string(),
    };
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(broken)?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .connect()
        .await
        .map_err(broken)
}

/// One agent's life: register, then finish whatever is launched.
async fn agent(shared: Arc<Shared>, number: usize, channel: Channel) -> Result<(), BenchError> {
    let broken = |reason: String| BenchError::Broken {
        address: shared.address.clone(),
        reason,
    };
    let (sender, frames) = mpsc::channel::<tepui::AgentFrame>(64);
    let send = |messages: Vec<Up>| {
        let messages = messages
            .into_iter()
            .map(|message| tepui::AgentMessage {
                message: Some(message),
            })
            .collect();
        sender.send(tepui::AgentFrame { messages })
    };
    let closed = |_| broken("the outgoing stream is closed".into());
    send(vec![Up::Register(Box::new(register(number, shared.shape)))])
        .await
        .map_err(closed)?;
    let mut client = AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    let mut stream = client
        .connect(ReceiverStream::new(frames))
        .await
        .map_err(|status| broken(status.to_string()))?
        .into_inner();
    let mut id = mesos::AgentId {
        value: String::new(),
    };
    // Tasks whose TASK_RUNNING has not been acknowledged yet; bounded by the resources that the master can launch on.
    let mut running: HashMap<String, mesos::FrameworkId> = HashMap::new();
    while let Some(frame) = stream
        .message()
        .await
        .map_err(|status| broken(status.to_string()))?
    {
        let mut answer = Vec::with_capacity(frame.messages.len());
        let mut freed = false;
        for message in frame
            .messages
            .into_iter()
            .filter_map(|message| message.message)
        {
            match message {
                Down::Registered(registered) => {
                    id = registered.agent_id;
                    shared.registered.fetch_add(1, Ordering::Relaxed);
                }
                Down::Refused(refused) => return Err(BenchError::Refused(refused.reason)),
                Down::RunTask(run) => {
                    answer.push(Up::TaskUpdate(update(
                        &run.framework_id,
                        run.task.task_id.clone(),
                        &id,
                        mesos::TaskState::TaskRunning,
                    )));
                    running.insert(run.task.task_id.value, run.framework_id);
                }
                Down::AcknowledgeTask(acknowledged) => {
                    if let Some(framework_id) = running.remove(&acknowledged.task_id.value) {
                        answer.push(Up::TaskUpdate(update(
                            &framework_id,
                            acknowledged.task_id,
                            &id,
                            mesos::TaskState::TaskFinished,
                        )));
                        freed = true;
                    }
                }
                Down::Ping(ping) => answer.push(Up::Pong(tepui::Pong {
                    sequence: ping.sequence,
                })),
                _ => {}
            }
        }
        if !answer.is_empty() {
            let now = u64::try_from(shared.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            send(answer).await.map_err(closed)?;
            if freed {
                shared.freed_micros[number].store(now.max(1), Ordering::Relaxed);
            }
        }
    }
    Err(broken(format!(
        "the master closed the stream of agent {number}"
    )))
}

pub(crate) fn register(number: usize, shape: Shape) -> tepui::Register {
    let scalar = |name: &str, value| mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    };
    tepui::Register {
        protocol: 1,
        version: env!("CARGO_PKG_VERSION").into(),
        incarnation: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
        agent: mesos::AgentInfo {
            hostname: format!("agent-{number}"),
            port: Some(5051),
            resources: vec![
                scalar("cpus", shape.cpus),
                scalar("mem", shape.mem_mib),
                mesos::Resource {
                    name: "ports".into(),
                    r#type: mesos::value::Type::Ranges.into(),
                    ranges: Some(mesos::value::Ranges {
                        range: vec![mesos::value::Range {
                            begin: 31000,
                            end: 32000,
                        }],
                    }),
                    ..Default::default()
                },
            ],
            ..Default::default()
        },
        capabilities: [1, 2, 3, 4, 5, 6, 7, 8]
            .map(|r#type| mesos::agent_info::Capability {
                r#type: Some(r#type),
            })
            .to_vec(),
        ..Default::default()
    }
}

fn update(
    framework_id: &mesos::FrameworkId,
    task_id: mesos::TaskId,
    agent_id: &mesos::AgentId,
    state: mesos::TaskState,
) -> tepui::TaskUpdate {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    tepui::TaskUpdate {
        framework_id: framework_id.clone(),
        executor_id: None,
        status: mesos::TaskStatus {
            task_id,
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            agent_id: Some(agent_id.clone()),
            timestamp: Some(now),
            uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
            ..Default::default()
        },
        latest_state: state.into(),
    }
}
