//! The agent's behaviour as tables and laws. [`World`] is the smallest shell: it keeps the journal in memory and writes down in one
//! line each what the agent does.

mod executors;
mod groups;
mod laws;
mod link;
mod operations;
mod oversubscription;
mod recovery;
mod tasks;

use std::time::Duration;

use bytes::Bytes;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskState, Time};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::framework_info::{Capability, capability};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{
    CommandInfo, DurationInfo, ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo, TaskStatus,
};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::master_message::Message as FromMaster;
use tepui_proto::tepui::v1::{
    AcknowledgeTask, Framework, KillTask, MasterMessage, Registered, RunTask,
};

use crate::{
    Agent, Change, Config, ContainerFact, Entry, ExecutorAction, Exit, Input, Limits, Output,
};

/// The smallest shell.
struct World {
    agent: Agent,
    now: Time,
    journal: Vec<Entry>,
    /// Updates as they were sent: task, state, uuid.
    sent: Vec<(String, TaskState, Bytes, TaskStatus)>,
    /// Containers in the order of their launch.
    containers: Vec<ContainerId>,
    /// The first ports of their groups, in the same order.
    group_ports: Vec<Vec<u64>>,
    /// What the executor and its tasks may use together, by launches.
    group_limits: Vec<Limits>,
    /// What else the agent did, a line each; cleared by [`World::did`].
    log: Vec<String>,
    /// False: nothing becomes durable.
    disk: bool,
    /// What the master has heard about operations.
    operations: Vec<Heard>,
    /// Operations that registrations have listed.
    registered_operations: Vec<String>,
    /// Work on volumes that was asked for.
    volumes: Vec<crate::Volumes>,
    /// How it goes; `None`: the test says so itself.
    volumes_work: Option<Result<(), String>>,
    /// Operations whose volumes are settled.
    settled: Vec<Bytes>,
    /// Which life of the agent this is, and its incarnation.
    life: u8,
}

/// What the master hears about operations.
#[derive(Debug, Clone)]
enum Heard {
    /// The whole total.
    Changed,
    Update(Box<tepui_proto::tepui::v1::OperationUpdate>),
}

fn config() -> Config {
    Config {
        incarnation: [7; 16],
        ..Config::default()
    }
}

fn framework_id(name: &str) -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: name.to_owned(),
    }
}

fn task_id(name: &str) -> mesos::TaskId {
    mesos::TaskId {
        value: name.to_owned(),
    }
}

fn policy(seconds: i64) -> KillPolicy {
    KillPolicy {
        grace_period: Some(DurationInfo {
            nanoseconds: seconds * 1_000_000_000,
        }),
    }
}

fn command(name: &str) -> TaskInfo {
    TaskInfo {
        name: name.to_owned(),
        task_id: task_id(name),
        agent_id: mesos::AgentId {
            value: "S0".to_owned(),
        },
        command: Some(CommandInfo {
            value: Some("true".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn custom(name: &str, executor: &str) -> TaskInfo {
    TaskInfo {
        command: None,
        executor: Some(Box::new(ExecutorInfo {
            executor_id: mesos::ExecutorId {
                value: executor.to_owned(),
            },
            command: Some(CommandInfo {
                value: Some("run".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..command(name)
    }
}

fn framework(name: &str, capabilities: &[capability::Type]) -> FrameworkInfo {
    FrameworkInfo {
        id: Some(framework_id(name)),
        name: name.to_owned(),
        capabilities: capabilities
            .iter()
            .map(|kind| Capability {
                r#type: Some((*kind).into()),
            })
            .collect(),
        ..Default::default()
    }
}

impl World {
    /// An agent that is registered and knows framework `f`, which knows everything.
    fn new() -> Self {
        let mut world = Self::unregistered(Agent::new(config(), Time::from_secs(1000)));
        world.register(1);
        world.introduce(&[
            capability::Type::PartitionAware,
            capability::Type::TaskKillingState,
        ]);
        world.did();
        world
    }

    fn unregistered(agent: Agent) -> Self {
        let now = Time::from_secs(1000);
        Self {
            agent,
            now,
            journal: Vec::new(),
            sent: Vec::new(),
            containers: Vec::new(),
            log: Vec::new(),
            disk: true,
            operations: Vec::new(),
            registered_operations: Vec::new(),
            volumes: Vec::new(),
            volumes_work: Some(Ok(())),
            settled: Vec::new(),
            group_ports: Vec::new(),
            group_limits: Vec::new(),
            life: 7,
        }
    }

    /// The next life of this agent.
    fn restart(self, facts: Vec<ContainerFact>) -> World {
        let mut out = Vec::new();
        let config = Config {
            // A process never has the incarnation of an earlier one.
            incarnation: [self.life.wrapping_add(1); 16],
            ..config()
        };
        let agent = Agent::recover(config, self.journal.clone(), facts, self.now, &mut out);
        let mut world = World {
            now: self.now,
            journal: self.journal,
            containers: self.containers,
            life: self.life.wrapping_add(1),
            ..World::unregistered(agent)
        };
        world.carry_out(out);
        world
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.agent.step(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut written = 0;
        let mut done = Vec::new();
        for output in outputs {
            match output {
                Output::Checkpoint { sequence, entry } => {
                    self.journal.push(*entry);
                    written = sequence;
                }
                Output::Launch(launch) => {
                    self.log
                        .push(format!("launch {}", launch.executor.executor_id.value));
                    self.containers.push(launch.container.clone());
                    let ports = launch
                        .group_ports
                        .iter()
                        .filter_map(|it| it.ranges.as_ref());
                    let ports = ports
                        .flat_map(|ranges| &ranges.range)
                        .map(|range| range.begin);
                    self.group_ports.push(ports.collect());
                    self.group_limits.push(launch.group_limits);
                }
                Output::Signal { container, signal } => self
                    .log
                    .push(format!("signal {} {signal}", self.index(&container))),
                Output::Destroy { container } => {
                    self.log.push(format!("destroy {}", self.index(&container)))
                }
                Output::Resize { container, limits } => {
                    self.log.push(format!(
                        "resize {} cpus {} mem {}",
                        self.index(&container),
                        limits.cpus_milli,
                        limits.mem_bytes >> 20
                    ));
                }
                Output::Forget { container } => {
                    self.log.push(format!("forget {}", self.index(&container)))
                }
                Output::ToMaster { message, .. } => self.master_hears(message.message),
                Output::CloseStream { stream, reason } => {
                    self.log.push(format!("close {stream}: {reason}"))
                }
                Output::ToExecutor { connection, event } => {
                    let mut line = format!("event {connection} {}", event.r#type().as_str_name());
                    if let Some(launch) = &event.launch {
                        line += &format!(" {}", launch.task.task_id.value);
                    }
                    if let Some(kill) = &event.kill {
                        line += &format!(" {}", kill.task_id.value);
                    }
                    if let Some(acknowledged) = &event.acknowledged {
                        line +=
                            &format!(" {} {}", acknowledged.task_id.value, acknowledged.uuid[0]);
                    }
                    self.log.push(line);
                }
                Output::CloseExecutor { connection } => {
                    self.log.push(format!("hang up {connection}"))
                }
                Output::Answer { result, .. } => {
                    if let Err(refusal) = result {
                        self.log.push(format!("refused: {refusal}"));
                    }
                }
                Output::Volumes(volumes) => {
                    if let Some(result) = self.volumes_work.clone() {
                        done.push((volumes.operation, result));
                    } else {
                        self.volumes.push(*volumes);
                    }
                }
                Output::VolumesSettled { operation } => self.settled.push(operation),
                Output::Probe(probe) => self.log.push(format!("probe {}", probe.probe)),
                Output::Changed(Change::TaskEnded(_, task)) => {
                    self.log.push(format!("ended {task}"))
                }
                Output::Changed(_) => {}
                Output::Exit { reason } => self.log.push(format!("exit: {reason}")),
            }
        }
        if written > 0 && self.disk {
            self.step(Input::Checkpointed { sequence: written });
        }
        for (operation, result) in done {
            self.step(Input::VolumesDone { operation, result });
        }
    }

    fn master_hears(&mut self, message: Option<Message>) {
        match message {
            Some(Message::TaskUpdate(update)) => {
                let status = update.status;
                let state = TaskState::from_number(status.state).unwrap();
                self.sent.push((
                    status.task_id.value.clone(),
                    state,
                    status.uuid.clone().unwrap(),
                    status,
                ));
            }
            Some(Message::OperationUpdate(update)) => self.operations.push(Heard::Update(update)),
            Some(Message::ResourcesChanged(_)) => self.operations.push(Heard::Changed),
            Some(Message::Register(register)) => {
                self.registered_operations
                    .extend(register.operations.iter().map(|operation| {
                        format!(
                            "{} {}",
                            operation.info.id.as_ref().map_or("-", |id| &id.value),
                            operation.latest_status.state().as_str_name()
                        )
                    }));
                self.log.push(format!(
                    "register id {} tasks {} executors {} more {}",
                    register.agent.id.as_ref().map_or("-", |id| &id.value),
                    register.tasks.len(),
                    register.executors.len(),
                    register.more()
                ))
            }
            Some(Message::RegisterMore(more)) => self.log.push(format!(
                "register more, tasks {} more {}",
                more.tasks.len(),
                more.more()
            )),
            Some(Message::Pong(pong)) => self.log.push(format!("pong {}", pong.sequence)),
            Some(Message::ExecutorTerminated(ended)) => self.log.push(format!(
                "terminated {} {}",
                ended.executor_id.value, ended.status
            )),
            Some(Message::ExecutorMessage(message)) => {
                self.log.push(format!("message {:?}", message.data))
            }
            Some(Message::Oversubscribed(told)) => {
                let told = tepui_proto::convert::resources::from_wire(&told.resources).unwrap();
                self.log.push(format!("oversubscribed {told}"));
            }
            Some(Message::Unregister(_)) => self.log.push("unregister".to_owned()),
            other => self.log.push(format!("{other:?}")),
        }
    }

    fn index(&self, container: &ContainerId) -> String {
        self.containers
            .iter()
            .position(|known| known == container)
            .map_or_else(|| container.to_string(), |index| index.to_string())
    }

    fn register(&mut self, stream: u64) {
        self.step(Input::Connected { stream });
        self.answer_registration(stream);
    }

    fn answer_registration(&mut self, stream: u64) {
        self.master_on(
            stream,
            1,
            FromMaster::Registered(Box::new(Registered {
                protocol: 1,
                agent_id: mesos::AgentId {
                    value: "S0".to_owned(),
                },
                ping_timeout_ms: 75_000,
                master: None,
            })),
        );
    }

    fn introduce(&mut self, capabilities: &[capability::Type]) {
        self.master(FromMaster::Framework(Framework {
            info: framework("f", capabilities),
        }));
    }

    fn master(&mut self, message: FromMaster) {
        let stream = self.agent.link.stream;
        self.master_on(stream, 1, message);
    }

    fn master_on(&mut self, stream: u64, epoch: u64, message: FromMaster) {
        self.step(Input::FromMaster {
            stream,
            epoch,
            message: Box::new(MasterMessage {
                message: Some(message),
            }),
        });
    }

    fn run(&mut self, task: TaskInfo) {
        self.master(FromMaster::RunTask(RunTask {
            framework_id: framework_id("f"),
            task,
            launch_executor: None,
            resource_version: None,
        }));
    }

    fn kill(&mut self, task: &str, kill_policy: Option<KillPolicy>) {
        self.master(FromMaster::KillTask(KillTask {
            framework_id: framework_id("f"),
            task_id: task_id(task),
            kill_policy,
        }));
    }

    fn acknowledge(&mut self, task: &str, uuid: Bytes) {
        self.master(FromMaster::AcknowledgeTask(AcknowledgeTask {
            framework_id: framework_id("f"),
            task_id: task_id(task),
            uuid,
        }));
    }

    fn launched(&mut self, index: usize) {
        self.step(Input::Launched {
            container: self.containers[index].clone(),
            pid: Some(42),
        });
    }

    fn exited(&mut self, index: usize, status: Option<i32>) {
        self.step(Input::Exited {
            container: self.containers[index].clone(),
            exit: Exit {
                status,
                limitation: None,
            },
        });
    }

    fn call(&mut self, executor: &str, action: ExecutorAction) {
        let (framework_id, executor_id) = (
            FrameworkId::new("f").unwrap(),
            ExecutorId::new(executor).unwrap(),
        );
        self.step(Input::Executor {
            call: 0,
            framework_id,
            executor_id,
            action,
        });
    }

    fn subscribe(&mut self, executor: &str, connection: u64) {
        self.call(
            executor,
            ExecutorAction::Subscribe {
                connection,
                unacknowledged_tasks: Vec::new(),
                unacknowledged_updates: Vec::new(),
            },
        );
    }

    /// What an executor says about a task, under a uuid of sixteen times the number.
    fn said(task: &str, state: TaskState, number: u8) -> TaskStatus {
        TaskStatus {
            task_id: task_id(task),
            state: state.number(),
            source: Some(Source::Executor.into()),
            uuid: Some(vec![number; 16].into()),
            ..Default::default()
        }
    }

    fn says(&mut self, executor: &str, task: &str, state: TaskState, number: u8) {
        self.call(
            executor,
            ExecutorAction::Update(Box::new(Self::said(task, state, number))),
        );
    }

    /// Lets time pass, with a tick wherever the agent wants one.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.agent.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// What was sent since the last look, as states.
    fn states(&mut self) -> Vec<TaskState> {
        self.sent.drain(..).map(|(_, state, ..)| state).collect()
    }

    /// What was done since the last look.
    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Acknowledges what is sent until nothing more is, and tells it all.
    fn drain(&mut self) -> Vec<TaskStatus> {
        let mut all = Vec::new();
        while !self.sent.is_empty() {
            for (task, _, uuid, status) in std::mem::take(&mut self.sent) {
                self.acknowledge(&task, uuid);
                all.push(status);
            }
        }
        all
    }
}

/// State and reason of a status, for tables.
fn outcome(status: &TaskStatus) -> (TaskState, Option<Reason>) {
    (
        TaskState::from_number(status.state).unwrap(),
        status
            .reason
            .map(|reason| Reason::try_from(reason).unwrap()),
    )
}
