//! A master as far as an agent can tell: it takes registrations over real gRPC, and does what the test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tepui_grpc::agent_link_server::{AgentLink, AgentLinkServer};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::tepui::v1::agent_message::Message as FromAgent;
use tepui_proto::tepui::v1::master_message::Message;
use tepui_proto::tepui::v1::{
    AcknowledgeTask, AgentFrame, Framework, KillTask, MasterFrame, MasterMessage, OperationUpdate,
    Register, Registered, RunTask,
};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(60);

type ToAgent = mpsc::Sender<Result<MasterFrame, Status>>;

#[derive(Clone)]
struct Door {
    news: mpsc::UnboundedSender<FromAgent>,
    agent: Arc<Mutex<Option<ToAgent>>>,
}

#[tonic::async_trait]
impl AgentLink for Door {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<MasterFrame, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (to_agent, frames) = mpsc::channel(1024);
        *self.agent.lock().await = Some(to_agent);
        let news = self.news.clone();
        tokio::spawn(async move {
            let mut frames = request.into_inner();
            while let Some(Ok(frame)) = frames.next().await {
                for message in frame
                    .messages
                    .into_iter()
                    .filter_map(|message| message.message)
                {
                    let _ = news.send(message);
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}

pub(crate) struct Master {
    pub(crate) addr: SocketAddr,
    news: mpsc::UnboundedReceiver<FromAgent>,
    agent: Arc<Mutex<Option<ToAgent>>>,
    /// Updates that were not asked about yet.
    updates: VecDeque<mesos::TaskStatus>,
    /// What may be lent, as the agent has last told.
    lent: Vec<mesos::Resource>,
}

impl Master {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, news) = mpsc::unbounded_channel();
        let door = Door {
            news: sender,
            agent: Arc::default(),
        };
        let agent = Arc::clone(&door.agent);
        let server = tonic::transport::Server::builder().add_service(AgentLinkServer::new(door));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            addr,
            news,
            agent,
            updates: VecDeque::new(),
            lent: Vec::new(),
        }
    }

    async fn send(&self, message: Message) {
        let frame = MasterFrame {
            messages: vec![MasterMessage {
                message: Some(message),
            }],
            epoch: 1,
        };
        self.agent
            .lock()
            .await
            .as_ref()
            .expect("an agent")
            .send(Ok(frame))
            .await
            .unwrap();
    }

    async fn next(&mut self) -> FromAgent {
        let message = tokio::time::timeout(PATIENCE, self.news.recv())
            .await
            .expect("news in time")
            .expect("a server");
        if let FromAgent::Oversubscribed(told) = &message {
            self.lent.clone_from(&told.resources);
        }
        message
    }

    /// Cpus that may be lent, as far as the agent has told.
    pub(crate) fn lent(&self) -> f64 {
        let marked = self.lent.iter().filter(|it| it.revocable.is_some());
        let cpus = marked.filter(|resource| resource.name == "cpus");
        cpus.filter_map(|resource| resource.scalar)
            .map(|scalar| scalar.value)
            .sum()
    }

    /// Waits until the agent lends so many cpus.
    pub(crate) async fn until_lent(&mut self, wanted: impl Fn(f64) -> bool) -> f64 {
        while !wanted(self.lent()) {
            let message = self.next().await;
            self.take(message).await;
        }
        self.lent()
    }

    /// Waits for the agent, takes it in, and tells it of framework `f`.
    pub(crate) async fn admit(&mut self) -> Register {
        let register = loop {
            if let FromAgent::Register(register) = self.next().await {
                break *register;
            }
        };
        self.send(Message::Registered(Box::new(Registered {
            protocol: 1,
            agent_id: mesos::AgentId {
                value: "S0".to_owned(),
            },
            ping_timeout_ms: 75_000,
            master: None,
        })))
        .await;
        let info = mesos::FrameworkInfo {
            id: Some(mesos::FrameworkId {
                value: "f".to_owned(),
            }),
            name: "test".to_owned(),
            ..Default::default()
        };
        self.send(Message::Framework(Framework { info })).await;
        register
    }

    pub(crate) async fn say(&self, message: Message) {
        self.send(message).await;
    }

    /// Waits for what became of the next operation.
    pub(crate) async fn operation(&mut self) -> OperationUpdate {
        loop {
            if let FromAgent::OperationUpdate(update) = self.next().await {
                return *update;
            }
        }
    }

    /// Waits until the agent has unregistered.
    pub(crate) async fn unregistered(&mut self) {
        while !matches!(self.next().await, FromAgent::Unregister(_)) {}
    }

    pub(crate) async fn run(&self, task: mesos::TaskInfo) {
        self.send(Message::RunTask(RunTask {
            framework_id: mesos::FrameworkId {
                value: "f".to_owned(),
            },
            task,
            launch_executor: None,
            resource_version: None,
        }))
        .await;
    }

    pub(crate) async fn kill(&self, task: &str) {
        self.send(Message::KillTask(KillTask {
            framework_id: mesos::FrameworkId {
                value: "f".to_owned(),
            },
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            kill_policy: None,
        }))
        .await;
    }

    /// Acknowledges updates until one of the task in this state comes, and gives it.
    pub(crate) async fn until(&mut self, task: &str, state: mesos::TaskState) -> mesos::TaskStatus {
        self.until_that(task, |found| found == state).await
    }

    /// The next update of the task, whatever it says.
    pub(crate) async fn next_of(&mut self, task: &str) -> mesos::TaskStatus {
        self.until_that(task, |_| true).await
    }

    async fn until_that(
        &mut self,
        task: &str,
        wanted: impl Fn(mesos::TaskState) -> bool,
    ) -> mesos::TaskStatus {
        loop {
            let found = self
                .updates
                .iter()
                .position(|status| status.task_id.value == task && wanted(status.state()));
            if let Some(status) = found.and_then(|at| self.updates.remove(at)) {
                return status;
            }
            let message = self.next().await;
            self.take(message).await;
        }
    }

    /// Acknowledges an update and keeps it.
    async fn take(&mut self, message: FromAgent) {
        let FromAgent::TaskUpdate(update) = message else {
            return;
        };
        let status = update.status;
        self.send(Message::AcknowledgeTask(AcknowledgeTask {
            framework_id: mesos::FrameworkId {
                value: "f".to_owned(),
            },
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().unwrap(),
        }))
        .await;
        self.updates.push_back(status);
    }
}
