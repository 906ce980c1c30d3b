//! The state, the one entrance, and what every part of the agent needs: records, looking up, telling operators, timers.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use tepui_model::{AgentId, ContainerId, ExecutorId, FrameworkId, Resources, Time};
use tepui_proto::mesos::v1::{DrainConfig, FrameworkInfo, NetworkInfo};
use tepui_proto::tepui::v1::AgentMessage;
use tepui_proto::tepui::v1::agent_message::Message;

use crate::change::{AgentState, Change, FrameworkState};
use crate::config::Config;
use crate::executor::Executor;
use crate::input::Input;
use crate::link::Link;
use crate::messages;
use crate::operations::{self, Operations};
use crate::output::Output;
use crate::oversubscription::Oversubscription;
use crate::record::{Entry, Record};
use crate::status::Ids;
use crate::task::{Task, TaskKey};
use crate::timers::Timers;

/// What a deadline is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The head of the task's updates was not acknowledged.
    Resend(TaskKey),
    /// The grace of a kill is over.
    KillGrace(TaskKey),
    /// `max_completion_time`.
    Completion(TaskKey),
    /// The next health probe is due.
    Health(TaskKey),
    /// The next check is due.
    Check(TaskKey),
    /// An executor has not subscribed, or not ended, in its time.
    Executor(ContainerId),
    /// A container has had more than it needs for a while.
    Shrink(ContainerId),
    /// More tasks wait for an executor than it was given at once.
    Deliver(ContainerId),
    /// The status of an operation was not acknowledged.
    Operation(Bytes),
    /// The master has not pinged.
    Ping,
}

/// A framework that has, or had on this stream, something on the agent.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) info: Arc<FrameworkInfo>,
    /// The journal has it in this form.
    pub(crate) recorded: bool,
    /// Operators were told of it and not yet of its end.
    pub(crate) shown: bool,
    pub(crate) tasks: IndexMap<tepui_model::TaskId, Task>,
    pub(crate) executors: IndexMap<ExecutorId, Executor>,
    /// The master has removed it: nobody takes its updates any more.
    pub(crate) shutting_down: bool,
}

impl Framework {
    pub(crate) fn new(info: Arc<FrameworkInfo>) -> Self {
        Self {
            info,
            recorded: false,
            shown: false,
            tasks: IndexMap::new(),
            executors: IndexMap::new(),
            shutting_down: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.executors.is_empty()
    }
}

/// The agent's state machine.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) ids: Ids,
    pub(crate) now: Time,
    pub(crate) timers: Timers<Timer>,
    /// Of the newest record.
    pub(crate) sequence: u64,
    /// Tasks with updates whose records may not be durable yet, by record.
    pub(crate) unsynced: VecDeque<(u64, TaskKey)>,
    pub(crate) frameworks: IndexMap<FrameworkId, Framework>,
    pub(crate) containers: IndexMap<ContainerId, (FrameworkId, ExecutorId)>,
    /// Containers of single tasks, nested in those of executors that the agent plays.
    pub(crate) nested: IndexMap<ContainerId, TaskKey>,
    /// Of the containers that have networks of their own.
    pub(crate) networks: IndexMap<ContainerId, Vec<NetworkInfo>>,
    /// Containers whose end was ordered although nothing is known about them; their exits are of no interest.
    pub(crate) orphans: IndexSet<ContainerId>,
    pub(crate) connections: IndexMap<u64, (FrameworkId, ExecutorId)>,
    pub(crate) probes: IndexMap<u64, (TaskKey, crate::probes::Kind)>,
    pub(crate) next_probe: u64,
    pub(crate) id: Option<AgentId>,
    pub(crate) epoch: u64,
    pub(crate) link: Link,
    pub(crate) drain: Option<DrainConfig>,
    pub(crate) drain_since: Option<Time>,
    /// All that the agent has: as configured, with what operations have made of it.
    pub(crate) total: Resources,
    /// Operations have made something of it.
    pub(crate) operated: bool,
    pub(crate) operations: Operations,
    pub(crate) oversubscription: Oversubscription,
    /// The agent ends when its last container has; why.
    pub(crate) ending: Option<String>,
    pub(crate) exited: bool,
    pub(crate) tasks: usize,
}

impl Agent {
    /// An agent without a past. [`Agent::recover`] makes one that has a past.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        let mut ids = Ids::new(config.incarnation);
        let id = config
            .info
            .id
            .as_ref()
            .and_then(|id| AgentId::new(&id.value).ok());
        Self {
            now,
            timers: Timers::default(),
            sequence: 0,
            unsynced: VecDeque::new(),
            frameworks: IndexMap::new(),
            containers: IndexMap::new(),
            nested: IndexMap::new(),
            networks: IndexMap::new(),
            orphans: IndexSet::new(),
            connections: IndexMap::new(),
            probes: IndexMap::new(),
            next_probe: 0,
            id,
            epoch: 0,
            link: Link::default(),
            drain: None,
            drain_since: None,
            total: operations::configured(&config.info.resources),
            operated: false,
            operations: Operations {
                version: ids.uuid_bytes(),
                ..Operations::default()
            },
            oversubscription: Oversubscription::default(),
            ending: None,
            exited: false,
            tasks: 0,
            config,
            ids,
        }
    }

    /// When [`Input::Tick`] is wanted next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The agent's id, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<&AgentId> {
        self.id.as_ref()
    }

    /// Takes one input; what is to be done about it is appended to `out`.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Connected { stream } => self.connected(stream, out),
            Input::Disconnected { stream } => self.disconnected(stream, out),
            Input::FromMaster {
                stream,
                epoch,
                message,
            } => self.master_said(stream, epoch, *message, out),
            Input::Checkpointed { sequence } => self.checkpointed(sequence, out),
            Input::Networked {
                container,
                networks,
            } => self.networked(container, networks),
            Input::Launched { container, pid } => self.launched(&container, pid, out),
            Input::LaunchFailed { container, reason } => {
                self.launch_failed(&container, &reason, out)
            }
            Input::Exited { container, exit } => self.container_exited(&container, &exit, out),
            Input::Executor {
                call,
                framework_id,
                executor_id,
                action,
            } => {
                let at = out.len();
                let result = self.executor_call(&framework_id, &executor_id, action, out);
                // The answer goes before what the call caused: a stream's events follow the 200 that opens it.
                out.insert(at, Output::Answer { call, result });
            }
            Input::ExecutorDisconnected { connection } => self.executor_disconnected(connection),
            Input::Probed { probe, result } => self.probed(probe, result, out),
            Input::VolumesDone { operation, result } => self.volumes_done(&operation, result, out),
            Input::Oversubscribed { resources } => self.estimated(&resources, out),
            Input::Preempt {
                framework,
                executor,
                container,
                reason,
            } => self.preempt(&framework, &executor, &container, &reason, out),
            Input::Exceeded {
                container,
                limitation,
            } => self.exceeded(&container, limitation, out),
            Input::Shutdown { reason } => self.shutdown(reason, out),
        }
        while let Some((_, timer)) = self.timers.pop(self.now) {
            self.fire(timer, out);
        }
    }

    fn fire(&mut self, timer: Timer, out: &mut Vec<Output>) {
        match timer {
            Timer::Resend(key) => self.resend(&key, out),
            Timer::KillGrace(key) => self.kill_grace_over(&key, out),
            Timer::Completion(key) => self.took_too_long(&key, out),
            Timer::Health(key) => self.probe(&key, crate::probes::Kind::Health, out),
            Timer::Check(key) => self.probe(&key, crate::probes::Kind::Check, out),
            Timer::Executor(container) => self.executor_timed_out(&container, out),
            Timer::Shrink(container) => self.shrink(&container, out),
            Timer::Deliver(container) => self.deliver_more(&container, out),
            Timer::Operation(uuid) => self.resend_operation(&uuid, out),
            Timer::Ping => self.ping_missed(out),
        }
    }

    // ---- looking up -------------------------------------------------------------------------------------------------------------

    pub(crate) fn task(&self, key: &TaskKey) -> Option<&Task> {
        self.frameworks.get(&key.framework)?.tasks.get(&key.task)
    }

    pub(crate) fn task_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.frameworks
            .get_mut(&key.framework)?
            .tasks
            .get_mut(&key.task)
    }

    pub(crate) fn executor(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&Executor> {
        self.frameworks.get(framework)?.executors.get(executor)
    }

    pub(crate) fn executor_mut(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.frameworks
            .get_mut(framework)?
            .executors
            .get_mut(executor)
    }

    pub(crate) fn executor_of(&mut self, container: &ContainerId) -> Option<&mut Executor> {
        let (framework, executor) = self.containers.get(container)?;
        self.frameworks
            .get_mut(framework)?
            .executors
            .get_mut(executor)
    }

    // ---- records ----------------------------------------------------------------------------------------------------------------

    pub(crate) fn checkpoint(&mut self, record: Record, out: &mut Vec<Output>) -> u64 {
        self.sequence += 1;
        out.push(Output::Checkpoint {
            sequence: self.sequence,
            entry: Box::new(Entry {
                record: Some(record),
            }),
        });
        self.sequence
    }

    /// Has the journal know the framework before anything of it is recorded, and operators see it before anything of it is shown.
    pub(crate) fn use_framework(
        &mut self,
        id: &FrameworkId,
        out: &mut Vec<Output>,
    ) -> Arc<FrameworkInfo> {
        let framework = self.frameworks.entry(id.clone()).or_insert_with(|| {
            // The master announces every framework before it uses it; one that it did not announce has nothing but an id.
            Framework::new(Arc::new(FrameworkInfo {
                id: Some(messages::framework_id(id)),
                ..Default::default()
            }))
        });
        let info = Arc::clone(&framework.info);
        if !std::mem::replace(&mut framework.shown, true) {
            out.push(Output::Changed(Change::Framework(Arc::new(
                FrameworkState {
                    id: id.clone(),
                    info: Arc::clone(&info),
                },
            ))));
        }
        if !std::mem::replace(&mut framework.recorded, true) {
            self.checkpoint(
                Record::Framework(Box::new(FrameworkInfo::clone(&info))),
                out,
            );
        }
        info
    }

    fn checkpointed(&mut self, sequence: u64, out: &mut Vec<Output>) {
        while self
            .unsynced
            .front()
            .is_some_and(|(first, _)| *first <= sequence)
        {
            let Some((_, key)) = self.unsynced.pop_front() else {
                break;
            };
            let Some(framework) = self.frameworks.get_mut(&key.framework) else {
                continue;
            };
            let Some(task) = framework.tasks.get_mut(&key.task) else {
                continue;
            };
            let connection = task
                .executor
                .as_ref()
                .and_then(|executor| framework.executors.get(executor))
                .and_then(|executor| executor.connection);
            for update in task.updates.became_durable(sequence) {
                if let (true, Some(connection)) = (update.from_executor, connection) {
                    out.push(crate::executor::acknowledged(
                        connection,
                        &key.task,
                        &update.uuid,
                    ));
                }
            }
            self.send_head(&key, out);
        }
        self.operations_durable(sequence, out);
    }

    fn networked(&mut self, container: ContainerId, networks: Vec<NetworkInfo>) {
        if self.containers.contains_key(&container) || self.nested.contains_key(&container) {
            self.networks.insert(container, networks);
        }
    }

    // ---- telling operators ------------------------------------------------------------------------------------------------------

    pub(crate) fn show_task(&self, key: &TaskKey, out: &mut Vec<Output>) {
        if let Some(task) = self.task(key) {
            out.push(Output::Changed(Change::Task(Arc::new(task.snapshot(key)))));
        }
    }

    pub(crate) fn show_executor(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        out: &mut Vec<Output>,
    ) {
        if let Some(state) = self.executor(framework, executor) {
            out.push(Output::Changed(Change::Executor(Arc::new(
                state.state(framework, executor),
            ))));
        }
    }

    pub(crate) fn show_agent(&self, out: &mut Vec<Output>) {
        out.push(Output::Changed(Change::Agent(Arc::new(AgentState {
            id: self.id.clone(),
            registered: self.link.registered().is_some(),
            master: self.link.master.clone(),
            epoch: self.epoch,
            drain: self.drain,
            drain_since: self.drain_since,
            total: self.total_on_wire().into(),
            oversubscribed: self.oversubscription.told.as_slice().into(),
        }))));
    }

    // ---- ends -------------------------------------------------------------------------------------------------------------------

    /// Nobody will ask about the task any more.
    pub(crate) fn remove_task(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.swap_remove(&key.task) else {
            return;
        };
        self.timers.cancel(task.updates.timer);
        self.tasks -= 1;
        out.push(Output::Changed(Change::TaskEnded(
            key.framework.clone(),
            key.task.clone(),
        )));
        self.framework_may_be_idle(&key.framework, out);
        self.drain_may_be_over(out);
    }

    pub(crate) fn framework_may_be_idle(&mut self, id: &FrameworkId, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        if !framework.is_idle() {
            return;
        }
        if std::mem::take(&mut framework.shown) {
            out.push(Output::Changed(Change::FrameworkEnded(id.clone())));
        }
        if framework.shutting_down {
            self.forget_framework(id, out);
        }
    }

    pub(crate) fn forget_framework(&mut self, id: &FrameworkId, out: &mut Vec<Output>) {
        if let Some(framework) = self.frameworks.swap_remove(id)
            && framework.recorded
        {
            self.checkpoint(Record::FrameworkGone(id.as_str().to_owned()), out);
        }
    }

    pub(crate) fn shutdown(&mut self, reason: String, out: &mut Vec<Output>) {
        if self.ending.is_none() {
            self.ending = Some(reason);
            let executors: Vec<_> = self.containers.values().cloned().collect();
            for (framework, executor) in executors {
                self.end_executor_now(&framework, &executor, out);
            }
        }
        self.may_exit(out);
    }

    /// Exits once nothing runs any more, if that is wanted.
    pub(crate) fn may_exit(&mut self, out: &mut Vec<Output>) {
        let Some(reason) = self.ending.clone() else {
            return;
        };
        if self.exited || !self.containers.is_empty() || !self.orphans.is_empty() {
            return;
        }
        self.exited = true;
        if let Some(stream) = self.link.registered() {
            let message = Box::new(AgentMessage {
                message: Some(Message::Unregister(Default::default())),
            });
            out.push(Output::ToMaster { stream, message });
        }
        out.push(Output::Exit { reason });
    }
}
