//! A master for a test, an HTTP client that sends exactly what it is told to, and a fake agent.

use std::sync::Arc;
use std::time::Duration;

use tepui_grpc::agent_link_client::AgentLinkClient;
use tepui_master::{Config, Master, RunningMaster};
use tepui_proto::mesos::{self, TaskState, TaskStatus, scheduler};
use tepui_proto::recordio;
use tepui_proto::tepui::v1::{
    AgentFrame, AgentMessage, MasterFrame, Register, RunTask, TaskUpdate, agent_message,
    master_message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn master() -> RunningMaster {
    master_with(|_| {}).await
}

pub(crate) async fn master_with(change: impl FnOnce(&mut Config)) -> RunningMaster {
    let mut config = Config::for_tests();
    change(&mut config);
    let master = Master::start(config).await.expect("a free port");
    tokio::time::timeout(PATIENCE, master.until_leading())
        .await
        .expect("leads at once");
    master
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A request under way on a connection of its own.
pub(crate) struct Exchange {
    stream: TcpStream,
    buffer: Vec<u8>,
    chunked: bool,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Exchange {
    /// Sends `head` (without its last empty line) and `body`, and reads the answer's head.
    pub(crate) async fn start(master: &RunningMaster, head: &str, body: &[u8]) -> Self {
        let stream = TcpStream::connect(master.addr()).await.expect("listens");
        Self::on(stream, head, body).await
    }

    pub(crate) async fn on(mut stream: TcpStream, head: &str, body: &[u8]) -> Self {
        stream
            .write_all(format!("{head}\r\nhost: test\r\n\r\n").as_bytes())
            .await
            .expect("written");
        // A server that refuses a body may close before it has read it.
        let _ = stream.write_all(body).await;
        let mut exchange = Self {
            stream,
            buffer: Vec::new(),
            chunked: false,
            status: 0,
            headers: Vec::new(),
        };
        let end = loop {
            if let Some(at) = exchange
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at;
            }
            assert!(
                exchange.more().await,
                "the connection ended within the head: {:?}",
                String::from_utf8_lossy(&exchange.buffer)
            );
        };
        let head = String::from_utf8(exchange.buffer[..end].to_vec()).expect("text");
        exchange.buffer.drain(..end + 4);
        let mut lines = head.lines();
        exchange.status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .expect("a status");
        exchange.headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        exchange.chunked = exchange.header("transfer-encoding") == Some("chunked");
        exchange
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .expect("an answer in time");
        read.is_ok_and(|count| count > 0)
    }

    /// The next piece of the body; `None` at its end, orderly or not.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        assert!(self.chunked, "streams are chunked");
        loop {
            if let Some(line) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let size =
                    usize::from_str_radix(std::str::from_utf8(&self.buffer[..line]).ok()?, 16)
                        .ok()?;
                if self.buffer.len() >= line + 2 + size + 2 {
                    let piece = self.buffer[line + 2..line + 2 + size].to_vec();
                    self.buffer.drain(..line + 2 + size + 2);
                    return (size > 0).then_some(piece);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub(crate) async fn finish(mut self) -> Answer {
        let mut body = Vec::new();
        if self.chunked {
            while let Some(piece) = self.piece().await {
                body.extend(piece);
            }
        } else {
            let length: usize = self
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            while self.buffer.len() < length && self.more().await {}
            body = std::mem::take(&mut self.buffer);
        }
        Answer {
            status: self.status,
            headers: self.headers,
            body,
        }
    }
}

pub(crate) async fn get(master: &RunningMaster, path: &str) -> Answer {
    Exchange::start(master, &format!("GET {path} HTTP/1.1"), b"")
        .await
        .finish()
        .await
}

pub(crate) async fn post(master: &RunningMaster, path: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\ncontent-length: {}{headers}",
        body.len()
    );
    Exchange::start(master, &head, body).await.finish().await
}

pub(crate) async fn post_json(master: &RunningMaster, path: &str, body: &str) -> Answer {
    post(
        master,
        path,
        "\r\ncontent-type: application/json",
        body.as_bytes(),
    )
    .await
}

/// A framework subscribed over HTTP in JSON.
pub(crate) struct Subscription {
    exchange: Exchange,
    decoder: recordio::Decoder,
    pub(crate) stream_id: String,
    pub(crate) framework_id: String,
}

impl Subscription {
    pub(crate) async fn open(master: &RunningMaster, name: &str) -> Self {
        let body = format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"root","name":"{name}"}}}}}}"#
        );
        Self::with(master, &body).await
    }

    pub(crate) async fn with(master: &RunningMaster, body: &str) -> Self {
        let head = format!(
            "POST /api/v1/scheduler HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}",
            body.len()
        );
        let exchange = Exchange::start(master, &head, body.as_bytes()).await;
        assert_eq!(exchange.status, 200);
        assert_eq!(exchange.header("content-type"), Some("application/json"));
        let stream_id = exchange
            .header("mesos-stream-id")
            .expect("a stream id")
            .to_owned();
        assert_eq!(stream_id.len(), 36);
        let mut this = Self {
            exchange,
            decoder: recordio::Decoder::new(1 << 24),
            stream_id,
            framework_id: String::new(),
        };
        let first = this.next().await.expect("SUBSCRIBED");
        assert_eq!(first["type"], "SUBSCRIBED");
        assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
        assert!(first["subscribed"]["master_info"]["id"].is_string());
        this.framework_id = first["subscribed"]["framework_id"]["value"]
            .as_str()
            .expect("an id")
            .to_owned();
        this
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            if let Some(record) = self.decoder.next_record().expect("RecordIO") {
                return Some(serde_json::from_slice(&record).expect("JSON"));
            }
            self.decoder.push(&self.exchange.piece().await?);
        }
    }

    /// The next event of this type. Other events, heartbeats above all, do not renew its patience.
    pub(crate) async fn until(&mut self, kind: &str) -> serde_json::Value {
        let found = async {
            loop {
                let event = self
                    .next()
                    .await
                    .unwrap_or_else(|| panic!("the stream ended before {kind}"));
                if event["type"] == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no {kind} within {PATIENCE:?}"))
    }

    /// Sends a call of this framework.
    pub(crate) async fn call(&self, master: &RunningMaster, rest: &str) -> Answer {
        let body = format!(
            r#"{{"framework_id":{{"value":"{}"}},{rest}}}"#,
            self.framework_id
        );
        let headers = format!(
            "\r\ncontent-type: application/json\r\nmesos-stream-id: {}",
            self.stream_id
        );
        post(master, "/api/v1/scheduler", &headers, body.as_bytes()).await
    }
}

/// A connection for gRPC.
pub(crate) async fn channel(master: &RunningMaster) -> Channel {
    Endpoint::from_shared(format!("http://{}", master.addr()))
        .expect("a URL")
        .connect()
        .await
        .expect("listens")
}

/// An agent that finishes whatever it is given.
pub(crate) struct FakeAgent {
    pub(crate) id: String,
    /// Keeps the stream open.
    _frames: mpsc::Sender<AgentFrame>,
    _task: tokio::task::JoinHandle<()>,
}

pub(crate) fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..mesos::Resource::default()
    }
}

fn frame(message: agent_message::Message) -> AgentFrame {
    AgentFrame {
        messages: vec![AgentMessage {
            message: Some(message),
        }],
    }
}

impl FakeAgent {
    /// Registers an agent with this much, whose HTTP face is said to be at `host:port`.
    pub(crate) async fn start(master: &RunningMaster, cpus: f64, host: &str, port: u16) -> Self {
        let info = mesos::AgentInfo {
            hostname: host.to_owned(),
            port: Some(port.into()),
            resources: vec![scalar("cpus", cpus), scalar("mem", 1024.0)],
            ..mesos::AgentInfo::default()
        };
        Self::with(master, info).await
    }

    /// Registers an agent that says this of itself.
    pub(crate) async fn with(master: &RunningMaster, info: mesos::AgentInfo) -> Self {
        let mut client = AgentLinkClient::new(channel(master).await);
        let (frames, frames_out) = mpsc::channel(64);
        let register = Register {
            protocol: 1,
            version: "0.1.0".to_owned(),
            incarnation: vec![1; 16].into(),
            agent: info,
            ..Register::default()
        };
        frames
            .send(frame(agent_message::Message::Register(register.into())))
            .await
            .expect("room");
        let mut from_master = client
            .connect(ReceiverStream::new(frames_out))
            .await
            .expect("accepted")
            .into_inner();
        let first: MasterFrame = tokio::time::timeout(PATIENCE, from_master.message())
            .await
            .expect("in time")
            .expect("a frame")
            .expect("open");
        assert_eq!(first.epoch, 1, "every frame carries the epoch");
        let id = match &first.messages[0].message {
            Some(master_message::Message::Registered(registered)) => {
                registered.agent_id.value.clone()
            }
            other => panic!("expected Registered, got {other:?}"),
        };
        let (agent, replies): (Arc<str>, _) = (id.as_str().into(), frames.clone());
        let task = tokio::spawn(async move {
            while let Ok(Some(frame)) = from_master.message().await {
                for message in frame.messages {
                    if let Some(master_message::Message::RunTask(run)) = message.message {
                        let _ = replies.send(updates(&agent, &run)).await;
                    }
                }
            }
        });
        Self {
            id,
            _frames: frames,
            _task: task,
        }
    }
}

/// TASK_RUNNING and TASK_FINISHED at once.
fn updates(agent: &str, run: &RunTask) -> AgentFrame {
    let states = [TaskState::TaskRunning, TaskState::TaskFinished];
    let messages = states.into_iter().map(|state| {
        let status = TaskStatus {
            task_id: run.task.task_id.clone(),
            state: state.into(),
            agent_id: Some(mesos::AgentId {
                value: agent.to_owned(),
            }),
            source: Some(mesos::task_status::Source::Executor.into()),
            timestamp: Some(1.5),
            uuid: Some(uuid::Uuid::new_v4().as_bytes().to_vec().into()),
            ..TaskStatus::default()
        };
        let update = TaskUpdate {
            framework_id: run.framework_id.clone(),
            executor_id: None,
            status,
            latest_state: TaskState::TaskFinished.into(),
        };
        AgentMessage {
            message: Some(agent_message::Message::TaskUpdate(update)),
        }
    });
    AgentFrame {
        messages: messages.collect(),
    }
}

/// A call of a framework by gRPC.
pub(crate) fn scheduler_call(framework: &str, kind: scheduler::call::Type) -> scheduler::Call {
    scheduler::Call {
        framework_id: Some(mesos::FrameworkId {
            value: framework.to_owned(),
        }),
        r#type: Some(kind.into()),
        ..scheduler::Call::default()
    }
}
