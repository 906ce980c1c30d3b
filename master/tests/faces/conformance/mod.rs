//! The scheduler API against its reference, one row a rule, over a real master: good and bad, each in JSON and in protobuf. A row that
//! is refused changes nothing: `/state` before it and after it are the same.

mod accept;
mod calls;
mod capabilities;
mod mapping;
mod refusals;
mod roles;
mod subscribe;

use prost::Message;
use serde_json::{Value, json};
use tepui_master::RunningMaster;
use tepui_proto::json::to_vec;
use tepui_proto::mesos::{self, scheduler};
use tepui_proto::recordio;
use tepui_proto::tepui::v1::{
    AgentFrame, AgentMessage, Pong, Register, agent_message, master_message,
};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::support::{Answer, Exchange, PATIENCE, channel, get, post};

const PATH: &str = "/api/v1/scheduler";

/// How calls and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

const FORMS: [Form; 2] = [Form::Json, Form::Protobuf];

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// A well-formed call, given in JSON.
    fn encode(self, call: &Value) -> Vec<u8> {
        let text = call.to_string();
        match self {
            Self::Json => text.into_bytes(),
            Self::Protobuf => tepui_proto::json::from_slice::<scheduler::Call>(text.as_bytes())
                .unwrap_or_else(|error| panic!("{error}: {text}"))
                .encode_to_vec(),
        }
    }

    fn decode(self, event: &[u8]) -> Value {
        match self {
            Self::Json => serde_json::from_slice(event).expect("JSON"),
            Self::Protobuf => {
                let event = scheduler::Event::decode(event).expect("an event");
                serde_json::from_slice(&to_vec(&event)).expect("JSON")
            }
        }
    }
}

/// What operators see. Nothing in it changes by itself while offers are held.
async fn state(master: &RunningMaster) -> Value {
    get(master, "/state").await.json()
}

/// An answer's status and text, in short.
fn said(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.text())
}

/// A framework that speaks one of the two forms.
pub(crate) struct Talk {
    form: Form,
    exchange: Exchange,
    decoder: recordio::Decoder,
    stream_id: String,
    pub(crate) id: String,
}

impl Talk {
    /// Subscribes with this FrameworkInfo; user and name are added where they are missing.
    pub(crate) async fn open(master: &RunningMaster, form: Form, info: Value) -> Self {
        Self::with(master, form, json!({ "framework_info": described(info) })).await
    }

    /// Subscribes with this `subscribe`, and reads SUBSCRIBED.
    pub(crate) async fn with(master: &RunningMaster, form: Form, subscribe: Value) -> Self {
        let mut talk = Self::raw(master, form, subscribe).await;
        let first = talk.next().await.expect("SUBSCRIBED");
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        talk.id = first["subscribed"]["framework_id"]["value"]
            .as_str()
            .expect("an id")
            .to_owned();
        talk
    }

    /// Subscribes, and reads nothing of the stream.
    async fn raw(master: &RunningMaster, form: Form, subscribe: Value) -> Self {
        let mut call = json!({ "type": "SUBSCRIBE", "subscribe": subscribe });
        let id = call["subscribe"]["framework_info"]["id"].clone();
        if !id.is_null() {
            call["framework_id"] = id;
        }
        let body = form.encode(&call);
        let media_type = form.media_type();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\ncontent-type: {media_type}\r\naccept: {media_type}\r\ncontent-length: {}",
            body.len()
        );
        let exchange = Exchange::start(master, &head, &body).await;
        assert_eq!(exchange.status, 200, "{call}");
        assert_eq!(exchange.header("content-type"), Some(media_type));
        let stream_id = exchange.header("mesos-stream-id").expect("a stream id");
        Self {
            form,
            stream_id: stream_id.to_owned(),
            exchange,
            decoder: recordio::Decoder::new(1 << 24),
            id: String::new(),
        }
    }

    /// The next event, in JSON whatever the form; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(record) = self.decoder.next_record().expect("RecordIO") {
                return Some(self.form.decode(&record));
            }
            self.decoder.push(&self.exchange.piece().await?);
        }
    }

    /// The next event of this type. Other events, heartbeats above all, do not renew its patience.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let event = self.next().await;
                let event = event.unwrap_or_else(|| panic!("the stream ended before {kind}"));
                if event["type"] == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no {kind} within {PATIENCE:?}"))
    }

    /// The offers of the next OFFERS event.
    pub(crate) async fn offers(&mut self) -> Vec<Value> {
        let event = self.until("OFFERS").await;
        event["offers"]["offers"]
            .as_array()
            .expect("offers")
            .clone()
    }

    fn headers(&self) -> String {
        format!(
            "\r\ncontent-type: {}\r\nmesos-stream-id: {}",
            self.form.media_type(),
            self.stream_id
        )
    }

    /// Sends a call; the framework's id is added.
    pub(crate) async fn call(&self, master: &RunningMaster, mut call: Value) -> Answer {
        call["framework_id"] = json!({ "value": self.id });
        self.send(master, &self.form.encode(&call)).await
    }

    async fn send(&self, master: &RunningMaster, body: &[u8]) -> Answer {
        post(master, PATH, &self.headers(), body).await
    }

    /// Every event up to now, each in a line, without heartbeats. What was caused before the call is read before its answer.
    async fn lines(&mut self, master: &RunningMaster) -> Vec<String> {
        let sentinel = json!({ "type": "RECONCILE", "reconcile": { "tasks": [{ "task_id": { "value": "sentinel" } }] } });
        assert_eq!(self.call(master, sentinel).await.status, 202);
        let mut lines = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event["update"]["status"]["task_id"]["value"] == "sentinel" {
                return lines;
            }
            if event["type"] != "HEARTBEAT" {
                lines.push(line(&event));
            }
        }
    }
}

/// FrameworkInfo with what every one needs.
fn described(mut info: Value) -> Value {
    for (field, value) in [("user", "nobody"), ("name", "conformance")] {
        if info[field].is_null() {
            info[field] = json!(value);
        }
    }
    info
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// An event in short: what rows are compared by.
fn line(event: &Value) -> String {
    let status = &event["update"]["status"];
    match text(&event["type"]) {
        "UPDATE" => {
            let uuid = if status["uuid"].is_string() {
                " uuid"
            } else {
                ""
            };
            let reason = text(&status["reason"]).trim_start_matches("REASON_");
            let source = text(&status["source"]).trim_start_matches("SOURCE_");
            format!(
                "UPDATE {} {} {source} {reason}{uuid}",
                text(&status["task_id"]["value"]),
                text(&status["state"])
            )
        }
        "UPDATE_OPERATION_STATUS" => {
            let status = &event["update_operation_status"]["status"];
            let uuid = if status["uuid"].is_string() {
                " uuid"
            } else {
                ""
            };
            format!(
                "OPERATION {} {}{uuid}",
                text(&status["operation_id"]["value"]),
                text(&status["state"])
            )
        }
        "OFFERS" => {
            let offers = event["offers"]["offers"].as_array().expect("offers");
            format!("OFFERS {}", offers.len())
        }
        "MESSAGE" => format!("MESSAGE {}", text(&event["message"]["data"])),
        "ERROR" => format!("ERROR {}", text(&event["error"]["message"])),
        kind => kind.to_owned(),
    }
}

/// An agent that does nothing by itself, and remembers what it is told.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) frames: mpsc::Sender<AgentFrame>,
    pub(crate) told: Streaming<tepui_proto::tepui::v1::MasterFrame>,
}

impl Agent {
    /// Registers an agent with these resources (as the flag has them).
    pub(crate) async fn start(master: &RunningMaster, resources: &str) -> Self {
        Self::with(master, resources, |_| {}).await
    }

    pub(crate) async fn with(
        master: &RunningMaster,
        resources: &str,
        change: impl FnOnce(&mut Register),
    ) -> Self {
        use tepui_grpc::agent_link_client::AgentLinkClient;
        use tepui_proto::convert::resources::{Encoding, from_flag, to_wire};
        let resources = from_flag(resources).expect("resources");
        let mut register = Register {
            protocol: 1,
            version: "0.1.0".to_owned(),
            incarnation: vec![1; 16].into(),
            agent: mesos::AgentInfo {
                hostname: "host".to_owned(),
                port: Some(5051),
                resources: to_wire(&resources, Encoding::default()),
                ..mesos::AgentInfo::default()
            },
            ..Register::default()
        };
        register.capabilities = capabilities();
        change(&mut register);
        let (frames, frames_out) = mpsc::channel(64);
        let mut client = AgentLinkClient::new(channel(master).await);
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames_out);
        let register = agent_message::Message::Register(register.into());
        frames.send(frame(register)).await.expect("room");
        let told = client.connect(stream).await.expect("accepted").into_inner();
        let mut agent = Self {
            id: String::new(),
            frames,
            told,
        };
        let first = agent.next().await;
        let master_message::Message::Registered(registered) = &first[0] else {
            panic!("expected Registered, got {first:?}");
        };
        agent.id.clone_from(&registered.agent_id.value);
        agent
    }

    async fn next(&mut self) -> Vec<master_message::Message> {
        let frame = tokio::time::timeout(PATIENCE, self.told.message())
            .await
            .expect("in time")
            .expect("a frame")
            .expect("the stream goes on");
        frame
            .messages
            .into_iter()
            .filter_map(|message| message.message)
            .collect()
    }

    /// Answers pings for ever, and nothing else.
    pub(crate) fn keep_still(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok(Some(received)) = self.told.message().await {
                for message in received.messages {
                    if let Some(master_message::Message::Ping(ping)) = message.message {
                        let sequence = ping.sequence;
                        let pong = agent_message::Message::Pong(Pong { sequence });
                        let _ = self.frames.send(frame(pong)).await; // It may have been closed.
                    }
                }
            }
        })
    }

    async fn say(&self, message: agent_message::Message) {
        self.frames.send(frame(message)).await.expect("room");
    }

    /// Every message up to now, by name, without pings.
    async fn told(&mut self, master: &RunningMaster, talk: &Talk) -> Vec<String> {
        let sentinel = json!({ "type": "MESSAGE", "message": { "agent_id": { "value": self.id }, "executor_id": { "value": "sentinel" }, "data": "" } });
        assert_eq!(talk.call(master, sentinel).await.status, 202);
        let mut lines = Vec::new();
        loop {
            for message in self.next().await {
                use master_message::Message;
                lines.push(match message {
                    Message::Ping(_) => continue,
                    Message::FrameworkMessage(message)
                        if message.executor_id.value == "sentinel" =>
                    {
                        return lines;
                    }
                    Message::Framework(_) => "Framework".to_owned(),
                    Message::FrameworkMessage(message) => {
                        format!("FrameworkMessage {}", message.executor_id.value)
                    }
                    Message::RunTask(run) => format!("RunTask {}", run.task.task_id.value),
                    Message::KillTask(kill) => format!("KillTask {}", kill.task_id.value),
                    Message::ShutdownExecutor(shutdown) => {
                        format!("ShutdownExecutor {}", shutdown.executor_id.value)
                    }
                    Message::AcknowledgeTask(acknowledge) => {
                        format!("AcknowledgeTask {}", acknowledge.task_id.value)
                    }
                    other => format!("{other:?}"),
                });
            }
        }
    }
}

fn capabilities() -> Vec<mesos::agent_info::Capability> {
    use mesos::agent_info::capability::Type;
    [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::TaskResourceLimits,
    ]
    .into_iter()
    .map(|kind| mesos::agent_info::Capability {
        r#type: Some(kind.into()),
    })
    .collect()
}

pub(crate) fn frame(message: agent_message::Message) -> AgentFrame {
    AgentFrame {
        messages: vec![AgentMessage {
            message: Some(message),
        }],
    }
}

/// `cpus` and `mem` of a task.
fn small() -> Value {
    json!([
        { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 } },
        { "name": "mem", "type": "SCALAR", "scalar": { "value": 32 } }
    ])
}

/// A command task.
fn task(id: &str, agent: &str) -> Value {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": { "value": agent },
        "resources": small(),
        "command": { "value": "true" },
    })
}

/// ACCEPT of these offers with a LAUNCH of these tasks.
fn launch(offers: &[&Value], tasks: &[Value]) -> Value {
    let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
    json!({ "type": "ACCEPT", "accept": {
        "offer_ids": ids,
        "operations": [{ "type": "LAUNCH", "launch": { "task_infos": tasks } }],
        "filters": { "refuse_seconds": 1000 },
    } })
}
