//! A framework that does nothing but launch tasks as fast as it is offered room for them, over either transport.

mod grpc;
mod http;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tepui_proto::mesos::v1::{self as mesos, scheduler};

use crate::{BenchError, report::Latency, simulated_agents::Fleet};

/// How calls and events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// One bidirectional gRPC stream.
    Grpc,
    /// The Mesos v1 HTTP API in protobuf.
    Http,
    /// The Mesos v1 HTTP API in JSON.
    Json,
}

/// A subscription: calls go in, events come out.
enum Connection {
    Grpc(Box<grpc::Connection>),
    Http(Box<http::Connection>),
}

impl Connection {
    async fn open(
        transport: Transport,
        address: &str,
        subscribe: scheduler::Call,
    ) -> Result<Self, BenchError> {
        Ok(match transport {
            Transport::Grpc => {
                Self::Grpc(Box::new(grpc::Connection::open(address, subscribe).await?))
            }
            Transport::Http => Self::Http(Box::new(
                http::Connection::open(address, http::Format::Protobuf, subscribe).await?,
            )),
            Transport::Json => Self::Http(Box::new(
                http::Connection::open(address, http::Format::Json, subscribe).await?,
            )),
        })
    }

    /// All events that are there, at least one.
    async fn events(&mut self) -> Result<Vec<scheduler::Event>, BenchError> {
        match self {
            Self::Grpc(connection) => connection.events().await,
            Self::Http(connection) => connection.events().await,
        }
    }

    async fn send(&mut self, calls: Vec<scheduler::Call>) -> Result<(), BenchError> {
        match self {
            Self::Grpc(connection) => connection.send(calls).await,
            Self::Http(connection) => connection.send(calls).await,
        }
    }
}

/// What is to be launched.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many tasks.
    pub(crate) tasks: u64,
    /// What each of them asks for.
    pub(crate) cpus: f64,
    pub(crate) mem_mib: f64,
    /// The shell command, for real agents; simulated ones do not look at it.
    pub(crate) command: String,
    /// Who runs the tasks instead of a shell.
    pub(crate) executor: Option<mesos::ExecutorInfo>,
    /// The image that they run in; the agent's own files otherwise.
    pub(crate) image: Option<String>,
    /// At most this many tasks are launched and not finished at any time.
    pub(crate) in_flight: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) finished: u64,
    pub(crate) elapsed: Duration,
    /// From an agent sending that resources are free until they are in an offer.
    pub(crate) offer_latency: Latency,
    /// From ACCEPT leaving until TASK_RUNNING is there.
    pub(crate) accept_to_running: Latency,
}

/// Runs a plan to its end: every task finished and acknowledged.
pub(crate) async fn run(
    address: &str,
    transport: Transport,
    plan: &Plan,
    fleet: Option<&Fleet>,
    timeout: Duration,
) -> Result<Outcome, BenchError> {
    let mut load = Load {
        plan: plan.clone(),
        framework_id: None,
        launched: 0,
        finished: 0,
        accepted: HashMap::new(),
        offer_latency: Latency::new(),
        accept_to_running: Latency::new(),
        waiting: Vec::new(),
        run: uuid::Uuid::new_v4().simple().to_string()[..8].into(),
    };
    let mut connection = Connection::open(transport, address, subscribe(plan)).await?;
    let started = Instant::now();
    let deadline = tokio::time::Instant::now() + timeout;
    while load.finished < plan.tasks {
        let events = match tokio::time::timeout_at(deadline, connection.events()).await {
            Ok(events) => events?,
            Err(_) => {
                return Err(BenchError::Unfinished {
                    finished: load.finished,
                    wanted: plan.tasks,
                    seconds: timeout.as_secs(),
                });
            }
        };
        let mut calls = Vec::new();
        for event in events {
            load.take(event, fleet, &mut calls)?;
        }
        load.launch(&mut calls);
        if !calls.is_empty() {
            connection.send(calls).await?;
        }
    }
    let elapsed = started.elapsed();
    let teardown = load.call(scheduler::call::Type::Teardown);
    connection.send(vec![teardown]).await?;
    Ok(Outcome {
        finished: load.finished,
        elapsed,
        offer_latency: load.offer_latency,
        accept_to_running: load.accept_to_running,
    })
}

fn subscribe(plan: &Plan) -> scheduler::Call {
    let info = mesos::FrameworkInfo {
        user: "root".into(),
        name: "bench".into(),
        // Tasks outlive their agent's process; an executor of the bench's own is to end with it.
        checkpoint: Some(plan.executor.is_none()),
        ..Default::default()
    };
    scheduler::Call {
        r#type: Some(scheduler::call::Type::Subscribe.into()),
        subscribe: Some(Box::new(scheduler::call::Subscribe {
            framework_info: info,
            ..Default::default()
        })),
        ..Default::default()
    }
}

struct Load {
    plan: Plan,
    framework_id: Option<mesos::FrameworkId>,
    launched: u64,
    finished: u64,
    /// When the ACCEPT of a task that does not run yet was made.
    accepted: HashMap<String, Instant>,
    offer_latency: Latency,
    accept_to_running: Latency,
    /// Offers that wait for room among the tasks in flight.
    waiting: Vec<mesos::Offer>,
    /// Part of every task id, so that runs against one master do not collide.
    run: Arc<str>,
}

impl Load {
    fn call(&self, r#type: scheduler::call::Type) -> scheduler::Call {
        scheduler::Call {
            framework_id: self.framework_id.clone(),
            r#type: Some(r#type.into()),
            ..Default::default()
        }
    }

    fn take(
        &mut self,
        event: scheduler::Event,
        fleet: Option<&Fleet>,
        calls: &mut Vec<scheduler::Call>,
    ) -> Result<(), BenchError> {
        if let Some(subscribed) = event.subscribed {
            self.framework_id = Some(subscribed.framework_id);
        } else if let Some(offers) = event.offers {
            if let Some(fleet) = fleet {
                for latency in offers
                    .offers
                    .iter()
                    .filter_map(|offer| fleet.take_freed(&offer.hostname))
                {
                    self.offer_latency.record(latency);
                }
            }
            self.waiting.extend(offers.offers);
        } else if let Some(rescind) = event.rescind {
            self.waiting.retain(|offer| offer.id != rescind.offer_id);
        } else if let Some(update) = event.update {
            self.update(update.status, calls)?;
        } else if let Some(error) = event.error {
            return Err(BenchError::Refused(error.message));
        }
        Ok(())
    }

    fn update(
        &mut self,
        status: mesos::TaskStatus,
        calls: &mut Vec<scheduler::Call>,
    ) -> Result<(), BenchError> {
        match status.state() {
            mesos::TaskState::TaskRunning => {
                if let Some(accepted) = self.accepted.remove(&status.task_id.value) {
                    self.accept_to_running.record(accepted.elapsed());
                }
            }
            mesos::TaskState::TaskFinished => self.finished += 1,
            mesos::TaskState::TaskStaging | mesos::TaskState::TaskStarting => {}
            other => {
                let message = status.message.unwrap_or_default();
                return Err(BenchError::Refused(format!(
                    "task {} ended as {}: {message}",
                    status.task_id.value,
                    other.as_str_name()
                )));
            }
        }
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id) {
            let mut call = self.call(scheduler::call::Type::Acknowledge);
            call.acknowledge = Some(scheduler::call::Acknowledge {
                agent_id,
                task_id: status.task_id,
                uuid,
            });
            calls.push(call);
        }
        Ok(())
    }

    /// Fills waiting offers with tasks, as many as may be in flight; what is not wanted any more is declined.
    fn launch(&mut self, calls: &mut Vec<scheduler::Call>) {
        while let Some(offer) = self.waiting.pop() {
            let room = (self.plan.tasks - self.launched)
                .min(self.plan.in_flight - (self.launched - self.finished));
            if room == 0 {
                if self.launched < self.plan.tasks {
                    self.waiting.push(offer);
                    return;
                }
                let mut call = self.call(scheduler::call::Type::Decline);
                let filters = mesos::Filters {
                    refuse_seconds: Some(3600.0),
                };
                call.decline = Some(scheduler::call::Decline {
                    offer_ids: vec![offer.id],
                    filters: Some(filters),
                });
                calls.push(call);
                continue;
            }
            let total = |name: &str| {
                offer
                    .resources
                    .iter()
                    .filter(|r| r.name == name)
                    .filter_map(|r| r.scalar.as_ref())
                    .map(|s| s.value)
                    .sum::<f64>()
            };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // small and not negative
            let fits = ((total("cpus") / self.plan.cpus + 1e-9)
                .min(total("mem") / self.plan.mem_mib + 1e-9)) as u64;
            let now = Instant::now();
            let tasks: Vec<_> = (0..fits.min(room))
                .map(|_| self.task(&offer.agent_id, now))
                .collect();
            let mut call = self.call(scheduler::call::Type::Accept);
            call.accept = Some(scheduler::call::Accept {
                offer_ids: vec![offer.id],
                operations: vec![mesos::offer::Operation {
                    r#type: Some(mesos::offer::operation::Type::Launch.into()),
                    launch: Some(mesos::offer::operation::Launch { task_infos: tasks }),
                    ..Default::default()
                }],
                filters: Some(mesos::Filters {
                    refuse_seconds: Some(0.0),
                }),
            });
            calls.push(call);
        }
    }

    fn task(&mut self, agent_id: &mesos::AgentId, now: Instant) -> mesos::TaskInfo {
        let scalar = |name: &str, value| mesos::Resource {
            name: name.into(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar { value }),
            ..Default::default()
        };
        let id = format!("{}-{}", self.run, self.launched);
        self.launched += 1;
        self.accepted.insert(id.clone(), now);
        mesos::TaskInfo {
            name: "bench".into(),
            task_id: mesos::TaskId { value: id },
            agent_id: agent_id.clone(),
            resources: vec![
                scalar("cpus", self.plan.cpus),
                scalar("mem", self.plan.mem_mib),
            ],
            command: self.plan.executor.is_none().then(|| mesos::CommandInfo {
                value: Some(self.plan.command.clone()),
                ..Default::default()
            }),
            executor: self.plan.executor.clone().map(|executor| {
                Box::new(mesos::ExecutorInfo {
                    framework_id: self.framework_id.clone(),
                    ..executor
                })
            }),
            container: self.plan.image.as_deref().map(in_image),
            ..Default::default()
        }
    }
}

/// A container of type MESOS with this image.
fn in_image(name: &str) -> Box<mesos::ContainerInfo> {
    let image = mesos::Image {
        r#type: mesos::image::Type::Docker.into(),
        docker: Some(mesos::image::Docker {
            name: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    Box::new(mesos::ContainerInfo {
        r#type: mesos::container_info::Type::Mesos.into(),
        mesos: Some(Box::new(mesos::container_info::MesosInfo {
            image: Some(image),
        })),
        ..Default::default()
    })
}
