//! The agent's side of the protocol with the master (ARCHITECTURE.md, "Master and agent").

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tepui_model::{AgentId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::agent_info::{Capability, capability};
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{FrameworkInfo, MasterInfo};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::master_message::Message as FromMaster;
use tepui_proto::tepui::v1::{
    AgentMessage, ExecutorTerminated, MasterMessage, Pong, Register, RegisterMore, Registered,
    RunningExecutor, RunningTask, TaskKey as WireKey,
};

use crate::agent::{Agent, Framework, Timer};
use crate::change::{Change, FrameworkState};
use crate::messages;
use crate::output::Output;
use crate::record::{Acknowledged, Record};
use crate::task::{Cause, TaskKey};
use crate::timers::TimerId;

/// The version of the protocol that this agent speaks.
const PROTOCOL: u32 = 1;
/// Frameworks that have nothing here but were announced on the stream, at most.
const IDLE_FRAMEWORKS: usize = 10_000;

/// Where the conversation with the leader stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No stream, or one that this agent has asked to be closed.
    #[default]
    Disconnected,
    /// The registration was sent.
    Registering,
    /// The master has answered it.
    Registered,
}

/// The conversation with the leader.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    /// The newest stream there ever was.
    pub(crate) stream: u64,
    pub(crate) master: Option<MasterInfo>,
    ping_timeout: Duration,
    ping: Option<TimerId>,
    /// Executors that have ended since the registration was sent, which lists them. As many as there were, at most.
    ended: Vec<ExecutorTerminated>,
    /// The master has taken this agent's id away; it registers as a new one once its containers are gone.
    refused: bool,
}

impl Link {
    /// The stream, if the master has answered the registration.
    pub(crate) fn registered(&self) -> Option<u64> {
        (self.phase == Phase::Registered).then_some(self.stream)
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }
}

impl Agent {
    pub(crate) fn connected(&mut self, stream: u64, out: &mut Vec<Output>) {
        if stream <= self.link.stream || self.exited {
            return;
        }
        self.lost_link(out);
        self.link.stream = stream;
        if self.link.refused {
            out.push(Output::CloseStream {
                stream,
                reason: "the agent's id was taken away, and its tasks are still ending".to_owned(),
            });
            return;
        }
        // What was announced on an older stream is announced again if it matters.
        let idle: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(_, known)| known.is_idle())
            .map(|(id, _)| id.clone())
            .collect();
        for id in idle {
            self.forget_framework(&id, out);
        }
        // Only the master that removed a framework knows that it did. It will say so again; another has to hear how what is listed ends.
        for framework in self.frameworks.values_mut() {
            framework.shutting_down = false;
        }
        self.link.phase = Phase::Registering;
        self.register(out);
    }

    pub(crate) fn disconnected(&mut self, stream: u64, out: &mut Vec<Output>) {
        if stream == self.link.stream {
            self.lost_link(out);
        }
    }

    /// Nothing is sent any more; updates wait for the next registration.
    fn lost_link(&mut self, out: &mut Vec<Output>) {
        let was = std::mem::take(&mut self.link.phase);
        self.link.ended.clear();
        let ping = self.link.ping.take();
        self.timers.cancel(ping);
        for framework in self.frameworks.values_mut() {
            for task in framework.tasks.values_mut() {
                self.timers.cancel(task.updates.timer.take());
            }
        }
        self.pause_operations();
        if was == Phase::Registered {
            self.link.master = None;
            self.show_agent(out);
        }
    }

    fn close(&mut self, reason: impl Into<String>, out: &mut Vec<Output>) {
        let stream = self.link.stream;
        self.lost_link(out);
        out.push(Output::CloseStream {
            stream,
            reason: reason.into(),
        });
    }

    pub(crate) fn ping_missed(&mut self, out: &mut Vec<Output>) {
        self.link.ping = None;
        self.close(
            format!("the master has not pinged for {:?}", self.link.ping_timeout),
            out,
        );
    }

    fn await_ping(&mut self) {
        let ping = self.link.ping.take();
        self.timers.cancel(ping);
        if !self.link.ping_timeout.is_zero() {
            self.link.ping = Some(
                self.timers
                    .set(self.now + self.link.ping_timeout, Timer::Ping),
            );
        }
    }

    // ---- registration -----------------------------------------------------------------------------------------------------------

    fn register(&mut self, out: &mut Vec<Output>) {
        let capabilities = [
            capability::Type::MultiRole,
            capability::Type::HierarchicalRole,
            capability::Type::ReservationRefinement,
            capability::Type::ResourceProvider,
            capability::Type::ResizeVolume,
            capability::Type::AgentOperationFeedback,
            capability::Type::AgentDraining,
            capability::Type::TaskResourceLimits,
        ];
        let first = Register {
            protocol: PROTOCOL,
            version: self.config.version.clone(),
            incarnation: Bytes::copy_from_slice(&self.config.incarnation),
            agent: mesos::AgentInfo {
                id: self.id.as_ref().map(crate::executor::agent_id),
                ..self.config.info.clone()
            },
            capabilities: capabilities
                .into_iter()
                .map(|kind| Capability {
                    r#type: Some(kind.into()),
                })
                .collect(),
            epoch_seen: (self.epoch > 0).then_some(self.epoch),
            checkpointed_resources: self.total_on_wire(),
            resource_version: Some(self.operations.version.clone()),
            frameworks: Vec::new(),
            executors: Vec::new(),
            tasks: Vec::new(),
            operations: Vec::new(),
            drain: self.drain,
            more: None,
        };
        let mut parts = self.holdings();
        let RegisterMore {
            frameworks,
            executors,
            tasks,
            operations,
            ..
        } = parts.remove(0);
        let more = !parts.is_empty();
        self.to_master(
            Message::Register(Box::new(Register {
                frameworks,
                executors,
                tasks,
                operations,
                more: more.then_some(true),
                ..first
            })),
            out,
        );
        let last = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            let more = index + 1 < last;
            self.to_master(
                Message::RegisterMore(RegisterMore {
                    more: more.then_some(true),
                    ..part
                }),
                out,
            );
        }
    }

    /// Everything that the agent holds, in parts of a bounded size; at least one.
    fn holdings(&self) -> Vec<RegisterMore> {
        let mut parts = Parts {
            done: Vec::new(),
            part: RegisterMore::default(),
            bytes: 0,
            limit: self.config.registration_chunk_bytes,
        };
        for (id, framework) in &self.frameworks {
            if framework.is_idle() {
                continue;
            }
            let info = FrameworkInfo {
                id: Some(messages::framework_id(id)),
                ..FrameworkInfo::clone(&framework.info)
            };
            parts.fit(info.encoded_len()).frameworks.push(info);
            for executor in framework
                .executors
                .values()
                .filter(|executor| !executor.command)
            {
                let running = RunningExecutor {
                    framework_id: messages::framework_id(id),
                    executor: mesos::ExecutorInfo::clone(&executor.info),
                };
                parts.fit(running.encoded_len()).executors.push(running);
            }
            for (task_id, task) in &framework.tasks {
                let key = TaskKey {
                    framework: id.clone(),
                    task: task_id.clone(),
                };
                let running = RunningTask {
                    task: task.snapshot(&key).to_task(),
                };
                parts.fit(running.encoded_len()).tasks.push(running);
            }
        }
        for operation in self.operations_to_tell() {
            parts
                .fit(operation.encoded_len())
                .operations
                .push(operation);
        }
        parts.done.push(parts.part);
        parts.done
    }

    /// To the current stream, also before the registration is answered.
    pub(crate) fn to_master(&self, message: Message, out: &mut Vec<Output>) {
        out.push(Output::ToMaster {
            stream: self.link.stream,
            message: Box::new(AgentMessage {
                message: Some(message),
            }),
        });
    }

    // ---- what the master says ---------------------------------------------------------------------------------------------------

    pub(crate) fn master_said(
        &mut self,
        stream: u64,
        epoch: u64,
        message: MasterMessage,
        out: &mut Vec<Output>,
    ) {
        if stream != self.link.stream || self.link.phase == Phase::Disconnected {
            return;
        }
        if epoch < self.epoch {
            self.close(
                format!(
                    "the master's epoch {epoch} is over: this agent has obeyed epoch {}",
                    self.epoch
                ),
                out,
            );
            return;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.checkpoint(Record::Epoch(epoch), out);
        }
        let Some(message) = message.message else {
            return;
        };
        match (self.link.phase, message) {
            (Phase::Registering, FromMaster::Registered(registered)) => {
                self.registered(*registered, out)
            }
            (Phase::Registering, FromMaster::Refused(refused)) => {
                self.refused(&refused.reason, refused.permanent, out)
            }
            // Its machine is down for maintenance: it ends everything and leaves, and keeps its id.
            (Phase::Registering, FromMaster::Shutdown(shutdown)) => {
                self.shutdown(shutdown.reason, out)
            }
            (Phase::Registering, _) => {
                self.close("the master spoke before it answered the registration", out)
            }
            (_, message) => self.obey(message, out),
        }
    }

    fn registered(&mut self, registered: Registered, out: &mut Vec<Output>) {
        let Ok(id) = AgentId::new(&registered.agent_id.value) else {
            self.close(
                format!(
                    "the master gave an invalid agent id: '{}'",
                    registered.agent_id.value
                ),
                out,
            );
            return;
        };
        if registered.protocol != PROTOCOL {
            self.close(
                format!(
                    "the master speaks protocol {}, this agent {PROTOCOL}",
                    registered.protocol
                ),
                out,
            );
            return;
        }
        if self.id.as_ref() != Some(&id) {
            self.checkpoint(Record::Identity(id.as_str().to_owned()), out);
            self.id = Some(id);
        }
        self.link.phase = Phase::Registered;
        self.link.master = registered.master;
        self.link.ping_timeout = Duration::from_millis(registered.ping_timeout_ms);
        self.await_ping();
        self.show_agent(out);
        for ended in std::mem::take(&mut self.link.ended) {
            self.to_master(Message::ExecutorTerminated(ended), out);
        }
        let keys: Vec<TaskKey> = self
            .frameworks
            .iter()
            .flat_map(|(framework, known)| {
                known.tasks.keys().map(|task| TaskKey {
                    framework: framework.clone(),
                    task: task.clone(),
                })
            })
            .collect();
        for key in keys {
            self.resend_head(&key, out);
        }
        self.resend_operations(out);
        self.tell_oversubscribed(out);
    }

    fn refused(&mut self, reason: &str, permanent: bool, out: &mut Vec<Output>) {
        self.close(
            format!("the master refused the registration: {reason}"),
            out,
        );
        if !permanent {
            return;
        }
        self.link.refused = true;
        let frameworks: Vec<_> = self.frameworks.keys().cloned().collect();
        for id in frameworks {
            self.shutdown_framework(&id, out);
        }
        self.identity_may_be_forgotten(out);
    }

    /// An agent whose id was taken away becomes a new one once nothing of the old one runs.
    pub(crate) fn identity_may_be_forgotten(&mut self, out: &mut Vec<Output>) {
        if self.link.refused && self.containers.is_empty() {
            self.link.refused = false;
            self.id = None;
            self.config.info.id = None;
            self.checkpoint(Record::Identity(String::new()), out);
            self.show_agent(out);
        }
    }

    /// The master need not account for this executor any more. Without a stream its absence from the next registration says so.
    pub(crate) fn executor_terminated(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        status: i32,
        out: &mut Vec<Output>,
    ) {
        let ended = ExecutorTerminated {
            framework_id: messages::framework_id(framework),
            executor_id: messages::executor_id(id),
            status,
        };
        match self.link.phase {
            Phase::Registered => self.to_master(Message::ExecutorTerminated(ended), out),
            Phase::Registering => self.link.ended.push(ended),
            Phase::Disconnected => {}
        }
    }

    /// What was to be launched is refused: if the master has accounted for an executor that is not here, it hears that there is none.
    pub(crate) fn executor_not_started(
        &mut self,
        framework: &FrameworkId,
        executor: &mesos::ExecutorId,
        out: &mut Vec<Output>,
    ) {
        if let Ok(id) = ExecutorId::new(&executor.value)
            && self.executor(framework, &id).is_none()
        {
            self.executor_terminated(framework, &id, 0, out);
        }
    }

    fn obey(&mut self, message: FromMaster, out: &mut Vec<Output>) {
        match message {
            // The answers to a registration that was answered already.
            FromMaster::Registered(_) => {}
            FromMaster::Refused(refused) => self.refused(&refused.reason, refused.permanent, out),
            FromMaster::Framework(framework) => self.framework(framework.info, out),
            FromMaster::RunTask(run) => self.run_task(run, out),
            FromMaster::RunTaskGroup(run) => self.run_task_group(*run, out),
            FromMaster::KillTask(kill) => {
                if let Some(key) = key(&kill.framework_id, &kill.task_id) {
                    self.kill_task(&key, kill.kill_policy, out);
                }
            }
            FromMaster::AcknowledgeTask(acknowledge) => {
                if let Some(key) = key(&acknowledge.framework_id, &acknowledge.task_id) {
                    self.acknowledge(&key, &acknowledge.uuid, out);
                }
            }
            FromMaster::FrameworkMessage(message) => {
                if let (Ok(framework), Ok(executor)) = (
                    FrameworkId::new(&message.framework_id.value),
                    ExecutorId::new(&message.executor_id.value),
                ) {
                    self.framework_message(&framework, &executor, message.data, out);
                }
            }
            FromMaster::ShutdownExecutor(shutdown) => {
                if let (Ok(framework), Ok(executor)) = (
                    FrameworkId::new(&shutdown.framework_id.value),
                    ExecutorId::new(&shutdown.executor_id.value),
                ) {
                    self.shutdown_executor(&framework, &executor, out);
                }
            }
            FromMaster::ShutdownFramework(shutdown) => {
                if let Ok(framework) = FrameworkId::new(&shutdown.framework_id.value) {
                    self.shutdown_framework(&framework, out);
                }
            }
            FromMaster::ReconcileTasks(reconcile) => self.reconcile(&reconcile.tasks, out),
            FromMaster::Ping(ping) => {
                self.await_ping();
                self.to_master(
                    Message::Pong(Pong {
                        sequence: ping.sequence,
                    }),
                    out,
                );
            }
            FromMaster::ApplyOperation(operation) => self.apply_operation(*operation, out),
            FromMaster::AcknowledgeOperation(acknowledge) => self.acknowledge_operation(
                &acknowledge.operation_uuid.value,
                &acknowledge.status_uuid,
                out,
            ),
            FromMaster::Drain(drain) => self.start_drain(drain.config, out),
            FromMaster::Shutdown(shutdown) => self.shutdown(shutdown.reason, out),
        }
    }

    fn framework(&mut self, info: FrameworkInfo, out: &mut Vec<Output>) {
        let Some(Ok(id)) = info.id.as_ref().map(|id| FrameworkId::new(&id.value)) else {
            return;
        };
        if let Some(known) = self.frameworks.get_mut(&id) {
            // It subscribed again after its removal: what is left of its earlier life still ends.
            if *known.info != info {
                known.info = Arc::new(info);
                if known.recorded {
                    let record = Record::Framework(Box::new(FrameworkInfo::clone(&known.info)));
                    self.checkpoint(record, out);
                }
                if let Some(known) = self.frameworks.get(&id).filter(|known| known.shown) {
                    let state = FrameworkState {
                        id: id.clone(),
                        info: Arc::clone(&known.info),
                    };
                    out.push(Output::Changed(Change::Framework(Arc::new(state))));
                }
            }
            return;
        }
        if self.frameworks.len() >= IDLE_FRAMEWORKS
            && let Some(idle) = self
                .frameworks
                .iter()
                .find(|(_, known)| known.is_idle())
                .map(|(id, _)| id.clone())
        {
            self.forget_framework(&idle, out);
        }
        self.frameworks.insert(id, Framework::new(Arc::new(info)));
    }

    /// The master thinks that these tasks run here: those that do not get a terminal update.
    fn reconcile(&mut self, tasks: &[WireKey], out: &mut Vec<Output>) {
        for wire in tasks {
            let Some(key) = key(&wire.framework_id, &wire.task_id) else {
                continue;
            };
            if self.task(&key).is_none() {
                let info = self.unknown_task(&key);
                let message =
                    "the agent does not hold the task: it was on its way when the connection broke";
                self.refuse_task(
                    &key,
                    info,
                    TaskState::Dropped,
                    Reason::AgentRestarted,
                    message,
                    out,
                );
            }
        }
    }

    /// The framework is removed: everything of it ends, and nobody takes its updates any more.
    pub(crate) fn shutdown_framework(&mut self, id: &FrameworkId, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        framework.shutting_down = true;
        let over: Vec<TaskId> = framework
            .tasks
            .iter()
            .filter(|(_, task)| task.state.is_terminal())
            .map(|(id, _)| id.clone())
            .collect();
        // In the journal too they count as taken: a restarted agent must not tell them of a later task with the same id.
        let mut taken = Vec::new();
        for (task_id, task) in &mut framework.tasks {
            taken.extend(task.updates.iter().map(|update| Acknowledged {
                framework_id: id.as_str().to_owned(),
                task_id: task_id.as_str().to_owned(),
                uuid: update.uuid.clone(),
            }));
            task.updates.clear();
            self.timers.cancel(task.updates.timer.take());
        }
        let executors: Vec<(ExecutorId, bool)> = framework
            .executors
            .iter()
            .map(|(id, executor)| (id.clone(), executor.command))
            .collect();
        for record in taken {
            self.checkpoint(Record::Acknowledged(record), out);
        }
        for task in over {
            self.remove_task(
                &TaskKey {
                    framework: id.clone(),
                    task,
                },
                out,
            );
        }
        for (executor, command) in executors {
            if command {
                let Some(task) = self
                    .executor(id, &executor)
                    .and_then(|executor| executor.live.first().cloned())
                else {
                    continue;
                };
                self.kill(
                    &TaskKey {
                        framework: id.clone(),
                        task,
                    },
                    None,
                    Cause::Shutdown,
                    out,
                );
            } else {
                self.shutdown_executor(id, &executor, out);
            }
        }
        self.framework_may_be_idle(id, out);
    }
}

fn key(framework: &mesos::FrameworkId, task: &mesos::TaskId) -> Option<TaskKey> {
    Some(TaskKey {
        framework: FrameworkId::new(&framework.value).ok()?,
        task: TaskId::new(&task.value).ok()?,
    })
}

/// Splits a registration.
struct Parts {
    done: Vec<RegisterMore>,
    part: RegisterMore,
    bytes: usize,
    limit: usize,
}

impl Parts {
    /// The part that has room for this many more bytes.
    fn fit(&mut self, bytes: usize) -> &mut RegisterMore {
        if self.bytes > 0 && self.bytes + bytes > self.limit {
            self.done.push(std::mem::take(&mut self.part));
            self.bytes = 0;
        }
        // A key and a length precede each.
        self.bytes += bytes + 6;
        &mut self.part
    }
}
