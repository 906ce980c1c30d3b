//! An agent whose tasks are make-believe.

use std::{
    collections::{HashMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tepui_grpc::{MESSAGE_LIMIT_BYTES, agent_link_client::AgentLinkClient};
use tepui_model::{TaskId, TaskState};
use tepui_proto::{
    convert::resources,
    mesos::{self, TaskInfo},
    tepui::{self, agent_message::Message as Up, master_message::Message as Down},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

use crate::Error;

/// What an agent's tasks do. A task that is killed ends as TASK_KILLED whatever it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until it is killed, or the test says otherwise.
    Run,
    /// Runs, and finishes at once.
    Finish,
    /// Runs, and fails at once with this message.
    Fail(String),
    /// Does nothing until the test says so.
    Nothing,
}

enum Command {
    Update(TaskId, TaskState, String),
    Behave(Behaviour),
}

/// A simulated agent. Dropping it is like pulling its plug: the master sees its stream break.
#[derive(Debug)]
pub struct Agent {
    hostname: String,
    commands: mpsc::Sender<Command>,
    launched: mpsc::UnboundedReceiver<TaskInfo>,
    life: JoinHandle<()>,
}

impl Agent {
    pub(crate) async fn connect(
        master: &str,
        text: &str,
        behaviour: Behaviour,
    ) -> Result<Self, Error> {
        let hostname = format!("agent-{}", uuid::Uuid::new_v4().simple());
        let resources = resources::from_flag(text).map_err(|reason| Error::Resources {
            text: text.to_owned(),
            reason,
        })?;
        let register = register(
            &hostname,
            resources::to_wire(&resources, resources::Encoding::Stack),
        );
        let failed = |reason: String| Error::NotRegistered(reason);
        let channel = Endpoint::from_shared(format!("http://{master}"))
            .map_err(|error| failed(error.to_string()))?
            .connect()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (outgoing, frames) = mpsc::channel(64);
        let first = tepui::AgentFrame {
            messages: vec![message(Up::Register(Box::new(register)))],
        };
        outgoing
            .send(first)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut client =
            AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
        let incoming = client
            .connect(ReceiverStream::new(frames))
            .await
            .map_err(|status| failed(status.message().to_owned()))?
            .into_inner();
        let (commands, inbox) = mpsc::channel(64);
        let (tell, launched) = mpsc::unbounded_channel();
        let (ready, registered) = oneshot::channel();
        let life = Life {
            outgoing,
            behaviour,
            id: mesos::AgentId::default(),
            tasks: HashMap::new(),
            tell,
        };
        let life = tokio::spawn(life.live(incoming, inbox, ready));
        match registered.await {
            Ok(Ok(())) => Ok(Self {
                hostname,
                commands,
                launched,
                life,
            }),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed("the master closed the stream".into())),
        }
    }

    /// Its host name, as it stands in offers.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Waits for the next task that is launched on it. `None` when its stream to the master has broken.
    pub async fn launched(&mut self) -> Option<TaskInfo> {
        self.launched.recv().await
    }

    /// Lets a task go to another state; unknown tasks are ignored.
    pub async fn update(&self, task: &TaskId, state: TaskState, message: &str) {
        let _ = self
            .commands
            .send(Command::Update(task.clone(), state, message.to_owned()))
            .await;
    }

    /// What tasks that are launched from now on do.
    pub async fn behave(&self, behaviour: Behaviour) {
        let _ = self.commands.send(Command::Behave(behaviour)).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.life.abort();
    }
}

/// A task, and its updates that have not been acknowledged, the oldest first: only that one is under way.
struct Task {
    framework: mesos::FrameworkId,
    updates: VecDeque<mesos::TaskStatus>,
    latest: TaskState,
}

struct Life {
    outgoing: mpsc::Sender<tepui::AgentFrame>,
    behaviour: Behaviour,
    id: mesos::AgentId,
    tasks: HashMap<String, Task>,
    tell: mpsc::UnboundedSender<TaskInfo>,
}

impl Life {
    async fn live(
        mut self,
        mut incoming: Streaming<tepui::MasterFrame>,
        mut commands: mpsc::Receiver<Command>,
        ready: oneshot::Sender<Result<(), String>>,
    ) {
        let mut ready = Some(ready);
        loop {
            let mut out = Vec::new();
            tokio::select! {
                frame = incoming.message() => {
                    let Ok(Some(frame)) = frame else { return };
                    for message in frame.messages.into_iter().filter_map(|message| message.message) {
                        match message {
                            Down::Registered(registered) => {
                                self.id = registered.agent_id;
                                ready.take().map(|ready| ready.send(Ok(())));
                            }
                            Down::Refused(refused) => {
                                ready.take().map(|ready| ready.send(Err(refused.reason)));
                                return;
                            }
                            other => self.take(other, &mut out),
                        }
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Update(task, state, message)) => self.change(task.as_str(), state, &message, &mut out),
                    Some(Command::Behave(behaviour)) => self.behaviour = behaviour,
                    None => return,
                },
            }
            if !out.is_empty()
                && self
                    .outgoing
                    .send(tepui::AgentFrame {
                        messages: out.into_iter().map(message).collect(),
                    })
                    .await
                    .is_err()
            {
                return;
            }
        }
    }

    fn take(&mut self, message: Down, out: &mut Vec<Up>) {
        match message {
            Down::RunTask(run) => self.run(run.framework_id, run.task, out),
            Down::RunTaskGroup(run) => {
                for task in run.group.tasks {
                    self.run(run.framework_id.clone(), task, out);
                }
            }
            Down::ApplyOperation(apply) => out.push(self.applied(*apply)),
            Down::KillTask(kill) => self.change(&kill.task_id.value, TaskState::Killed, "", out),
            Down::AcknowledgeTask(acknowledged) => {
                self.acknowledged(&acknowledged.task_id.value, &acknowledged.uuid, out)
            }
            Down::Ping(ping) => out.push(Up::Pong(tepui::Pong {
                sequence: ping.sequence,
            })),
            _ => {}
        }
    }

    fn run(&mut self, framework: mesos::FrameworkId, task: TaskInfo, out: &mut Vec<Up>) {
        let id = task.task_id.value.clone();
        self.tasks.insert(
            id.clone(),
            Task {
                framework,
                updates: VecDeque::new(),
                latest: TaskState::Staging,
            },
        );
        let _ = self.tell.send(task); // a test that does not look
        match self.behaviour.clone() {
            Behaviour::Nothing => {}
            Behaviour::Run => self.change(&id, TaskState::Running, "", out),
            Behaviour::Finish => {
                self.change(&id, TaskState::Running, "", out);
                self.change(&id, TaskState::Finished, "", out);
            }
            Behaviour::Fail(message) => {
                self.change(&id, TaskState::Running, "", out);
                self.change(&id, TaskState::Failed, &message, out);
            }
        }
    }

    /// Operations on resources succeed; what they did is the master's to remember.
    fn applied(&self, apply: tepui::ApplyOperation) -> Up {
        let uuid = || mesos::Uuid {
            value: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
        };
        let status = mesos::OperationStatus {
            uuid: apply.info.id.is_some().then(uuid),
            operation_id: apply.info.id,
            state: mesos::OperationState::OperationFinished.into(),
            agent_id: Some(self.id.clone()),
            ..Default::default()
        };
        Up::OperationUpdate(
            tepui::OperationUpdate {
                framework_id: apply.framework_id,
                latest_status: status.clone(),
                status,
                operation_uuid: apply.operation_uuid,
            }
            .into(),
        )
    }

    /// Queues an update; it leaves at once if none is under way. A task that has ended stays as it is.
    fn change(&mut self, id: &str, state: TaskState, text: &str, out: &mut Vec<Up>) {
        let agent = self.id.clone();
        let Some(task) = self
            .tasks
            .get_mut(id)
            .filter(|task| !task.latest.is_terminal())
        else {
            return;
        };
        task.latest = state;
        task.updates.push_back(mesos::TaskStatus {
            task_id: mesos::TaskId {
                value: id.to_owned(),
            },
            state: mesos::TaskState::from(state).into(),
            message: (!text.is_empty()).then(|| text.to_owned()),
            source: Some(mesos::task_status::Source::Executor.into()),
            agent_id: Some(agent),
            timestamp: Some(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs_f64(),
            ),
            uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
            ..Default::default()
        });
        if task.updates.len() == 1 {
            out.extend(task.head());
        }
    }

    fn acknowledged(&mut self, id: &str, uuid: &Bytes, out: &mut Vec<Up>) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if task
            .updates
            .front()
            .is_some_and(|status| status.uuid.as_ref() == Some(uuid))
        {
            task.updates.pop_front();
            out.extend(task.head());
        }
        if task.updates.is_empty() && task.latest.is_terminal() {
            self.tasks.remove(id);
        }
    }
}

impl Task {
    fn head(&self) -> Option<Up> {
        let status = self.updates.front()?.clone();
        Some(Up::TaskUpdate(tepui::TaskUpdate {
            framework_id: self.framework.clone(),
            executor_id: None,
            status,
            latest_state: mesos::TaskState::from(self.latest).into(),
        }))
    }
}

fn message(message: Up) -> tepui::AgentMessage {
    tepui::AgentMessage {
        message: Some(message),
    }
}

fn register(hostname: &str, resources: Vec<mesos::Resource>) -> tepui::Register {
    tepui::Register {
        protocol: 1,
        version: env!("CARGO_PKG_VERSION").into(),
        incarnation: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
        agent: mesos::AgentInfo {
            hostname: hostname.into(),
            port: Some(5051),
            resources,
            ..Default::default()
        },
        capabilities: (1..=8)
            .map(|number| mesos::agent_info::Capability {
                r#type: Some(number),
            })
            .collect(),
        ..Default::default()
    }
}
