//! Agents that hold tasks already: they register, each on a stream of its own, answer pings, and do nothing else.
//!
//! What they say is encoded beforehand, so that next to nothing of what is measured is theirs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use tepui_proto::{
    mesos::v1 as mesos,
    tepui::v1::{self as tepui, agent_message::Message as Up, master_message::Message as Down},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::{BenchError, simulated_agents::connect};

/// How many streams share an HTTP/2 connection.
const STREAMS_PER_CONNECTION: usize = 1000;
/// Tasks in one frame of a registration.
const TASKS_PER_FRAME: usize = 2000;
/// Calls of the master-agent protocol and of the scheduler protocol.
const AGENT_LINK: &str = "/tepui.v1.AgentLink/Connect";
pub(crate) const SCHEDULERS: &str = "/tepui.v1.Schedulers/Connect";

/// What one agent says, frame by frame.
pub(crate) type Registration = Vec<Bytes>;

/// What an agent holds.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) frameworks: Arc<[mesos::FrameworkInfo]>,
    /// Running tasks.
    pub(crate) running: usize,
    /// Tasks that have ended, the last update of which is not acknowledged.
    pub(crate) ended: usize,
    /// What each task uses.
    pub(crate) cpus: f64,
    pub(crate) mem_mib: f64,
    /// Room beside them, in tasks.
    pub(crate) room: usize,
}

/// Agents that are registered.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) ids: Vec<mesos::AgentId>,
    _streams: JoinSet<Result<(), BenchError>>,
}

struct Shared {
    address: String,
    ids: Vec<OnceLock<mesos::AgentId>>,
    missing: AtomicUsize,
    complete: Notify,
}

/// Opens a stream for each registration, and returns when all are answered.
pub(crate) async fn register(
    address: &str,
    registrations: Vec<Registration>,
    patience: Duration,
) -> Result<Returned, BenchError> {
    let shared = Arc::new(Shared {
        address: address.to_owned(),
        ids: registrations.iter().map(|_| OnceLock::new()).collect(),
        missing: AtomicUsize::new(registrations.len()),
        complete: Notify::new(),
    });
    let mut streams = JoinSet::new();
    let mut channel = None;
    for (number, frames) in registrations.into_iter().enumerate() {
        if number % STREAMS_PER_CONNECTION == 0 {
            channel = Some(connect(address).await?);
        }
        if let Some(channel) = channel.clone() {
            streams.spawn(agent(shared.clone(), number, frames, channel));
        }
    }
    let answered = async {
        loop {
            let complete = shared.complete.notified();
            if shared.missing.load(Ordering::Acquire) == 0 {
                return Ok::<(), BenchError>(());
            }
            tokio::select! {
                () = complete => {}
                Some(ended) = streams.join_next() => {
                    ended.unwrap_or_else(|panic| Err(BenchError::Refused(panic.to_string())))?;
                }
            }
        }
    };
    match tokio::time::timeout(patience, answered).await {
        Ok(answered) => answered?,
        Err(_) => {
            return Err(BenchError::Refused(format!(
                "{} agents were not registered within {} s",
                shared.missing.load(Ordering::Relaxed),
                patience.as_secs()
            )));
        }
    }
    let ids = shared.ids.iter().filter_map(OnceLock::get).cloned();
    Ok(Returned {
        ids: ids.collect(),
        _streams: streams,
    })
}

async fn agent(
    shared: Arc<Shared>,
    number: usize,
    frames: Registration,
    channel: Channel,
) -> Result<(), BenchError> {
    let broken = |reason: String| BenchError::Broken {
        address: shared.address.clone(),
        reason,
    };
    let (answers, later) = mpsc::channel(4);
    let outgoing = tokio_stream::iter(frames).chain(ReceiverStream::new(later));
    let mut stream = open(channel, AGENT_LINK, outgoing)
        .await
        .map_err(|status| broken(status.to_string()))?;
    while let Some(frame) = stream
        .message()
        .await
        .map_err(|status| broken(status.to_string()))?
    {
        let frame = tepui::MasterFrame::decode(frame).map_err(|error| broken(error.to_string()))?;
        for message in frame.messages.into_iter().filter_map(|one| one.message) {
            match message {
                Down::Registered(registered) => {
                    // An agent is registered once on its stream.
                    let _ = shared.ids[number].set(registered.agent_id);
                    if shared.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                        shared.complete.notify_one();
                    }
                }
                Down::Refused(refused) => return Err(BenchError::Refused(refused.reason)),
                Down::Ping(ping) => {
                    let pong = Up::Pong(tepui::Pong {
                        sequence: ping.sequence,
                    });
                    answers
                        .send(frame_of(pong))
                        .await
                        .map_err(|_| broken("the outgoing stream is closed".into()))?;
                }
                _ => {}
            }
        }
    }
    Err(broken(format!(
        "the master closed the stream of agent {number}"
    )))
}

/// Opens a stream of encoded messages each way.
pub(crate) async fn open(
    channel: Channel,
    path: &'static str,
    outgoing: impl tokio_stream::Stream<Item = Bytes> + Send + 'static,
) -> Result<Streaming<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel)
        .max_decoding_message_size(tepui_grpc::MESSAGE_LIMIT_BYTES);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = client
        .streaming(tonic::Request::new(outgoing), path, Encoded)
        .await?;
    Ok(answer.into_inner())
}

fn frame_of(message: Up) -> Bytes {
    let messages = vec![tepui::AgentMessage {
        message: Some(message),
    }];
    tepui::AgentFrame { messages }.encode_to_vec().into()
}

/// The registration of agent `number`; without an id it is its first.
pub(crate) fn registration(
    number: usize,
    id: Option<&mesos::AgentId>,
    holding: &Holding,
) -> Registration {
    let tasks = holding.running + holding.ended;
    #[allow(clippy::cast_precision_loss)] // a few tasks
    let shape = crate::simulated_agents::Shape {
        cpus: holding.cpus * (holding.running + holding.room) as f64,
        mem_mib: holding.mem_mib * (holding.running + holding.room) as f64,
    };
    let mut register = crate::simulated_agents::register(number, shape);
    register.agent.id = id.cloned();
    let Some(id) = id else {
        return vec![frame_of(Up::Register(Box::new(register)))];
    };
    register.frameworks = holding.frameworks.to_vec();
    let mut all = (0..tasks).map(|nth| task(number, nth, id, holding));
    register.tasks = all.by_ref().take(TASKS_PER_FRAME).collect();
    register.more = (tasks > TASKS_PER_FRAME).then_some(true);
    let mut frames = vec![frame_of(Up::Register(Box::new(register)))];
    for from in (TASKS_PER_FRAME..tasks).step_by(TASKS_PER_FRAME) {
        let more = tepui::RegisterMore {
            tasks: all.by_ref().take(TASKS_PER_FRAME).collect(),
            more: (from + TASKS_PER_FRAME < tasks).then_some(true),
            ..Default::default()
        };
        frames.push(frame_of(Up::RegisterMore(more)));
    }
    frames
}

/// The `nth` task of an agent: the running ones first.
fn task(
    number: usize,
    nth: usize,
    agent: &mesos::AgentId,
    holding: &Holding,
) -> tepui::RunningTask {
    let state = if nth < holding.running {
        mesos::TaskState::TaskRunning
    } else {
        mesos::TaskState::TaskFinished
    };
    let scalar = |name: &str, value| mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        allocation_info: Some(mesos::resource::AllocationInfo {
            role: Some("*".into()),
        }),
        ..Default::default()
    };
    let framework = &holding.frameworks[nth % holding.frameworks.len()];
    let task_id = mesos::TaskId {
        value: format!("task-{number}-{nth}"),
    };
    let uuid = Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    let status = mesos::TaskStatus {
        task_id: task_id.clone(),
        state: state.into(),
        source: Some(mesos::task_status::Source::Executor.into()),
        agent_id: Some(agent.clone()),
        timestamp: Some(1_700_000_000.0),
        uuid: Some(uuid.clone()),
        ..Default::default()
    };
    tepui::RunningTask {
        task: mesos::Task {
            name: "bench".into(),
            task_id,
            framework_id: framework.id.clone().unwrap_or_default(),
            agent_id: agent.clone(),
            state: state.into(),
            resources: vec![scalar("cpus", holding.cpus), scalar("mem", holding.mem_mib)],
            statuses: vec![status],
            status_update_state: Some(state.into()),
            status_update_uuid: Some(uuid),
            user: Some("root".into()),
            ..Default::default()
        },
    }
}

/// Messages that are encoded already.
#[derive(Debug, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
