//! Executors: their containers' lives, their calls, and what happens to their tasks when they end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexSet;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::executor::call::Update as UpdateCall;
use tepui_proto::mesos::v1::executor::{Event, event};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{
    AgentInfo, CheckStatusInfo, ExecutorInfo, FrameworkInfo, KillPolicy, TaskGroupInfo, TaskInfo,
    TaskResourceLimitation, TaskStatus, check_info,
};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{AgentMessage, ExecutorMessage, ExecutorTerminated};

use crate::agent::{Agent, Timer};
use crate::change::{Change, ExecutorState, Phase};
use crate::input::{ExecutorAction, Exit, Limitation};
use crate::messages::{self, Amount};
use crate::output::{Limits, Output, Refusal};
use crate::record::{ExecutorGone, Record};
use crate::status::ended;
use crate::task::{Cause, TaskKey};
use crate::timers::TimerId;

/// How long a container keeps room that it does not need, so that busy executors are not resized for every task.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// Why the agent ends an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked for it.
    Shutdown,
    /// It never subscribed.
    RegistrationTimeout,
    /// It did not subscribe again after a restart of the agent.
    ReregistrationTimeout,
}

/// An executor and its container.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) info: Arc<ExecutorInfo>,
    pub(crate) command: bool,
    /// A DEFAULT executor, which the agent plays: its container has no process.
    pub(crate) builtin: bool,
    pub(crate) container: ContainerId,
    pub(crate) pid: Option<u32>,
    pub(crate) phase: Phase,
    /// Its container's process runs.
    pub(crate) started: bool,
    /// It is from an earlier life of the agent and has not subscribed since.
    pub(crate) recovered: bool,
    pub(crate) end: Option<End>,
    /// Its container's end was ordered.
    pub(crate) destroyed: bool,
    pub(crate) connection: Option<u64>,
    /// Unfinished tasks, queued ones too.
    pub(crate) live: IndexSet<TaskId>,
    /// Tasks that wait for its subscription.
    pub(crate) queue: Vec<TaskId>,
    /// It was given a task, ever.
    pub(crate) used_once: bool,
    /// What its unfinished tasks use together.
    pub(crate) used: Amount,
    /// What its container may use at the moment.
    pub(crate) limits: Limits,
    pub(crate) shrink: Option<TimerId>,
    /// Until it must have subscribed, or ended.
    pub(crate) timer: Option<TimerId>,
}

impl Executor {
    pub(crate) fn new(
        info: Arc<ExecutorInfo>,
        command: bool,
        builtin: bool,
        container: ContainerId,
    ) -> Self {
        Self {
            info,
            command,
            builtin,
            container,
            pid: None,
            phase: if builtin {
                Phase::Running
            } else {
                Phase::Registering
            },
            started: builtin,
            recovered: false,
            end: None,
            destroyed: false,
            connection: None,
            live: IndexSet::new(),
            queue: Vec::new(),
            used_once: false,
            used: Amount::default(),
            limits: Limits::default(),
            shrink: None,
            timer: None,
        }
    }

    pub(crate) fn state(&self, framework: &FrameworkId, id: &ExecutorId) -> ExecutorState {
        ExecutorState {
            framework_id: framework.clone(),
            id: id.clone(),
            info: Arc::clone(&self.info),
            container: self.container.clone(),
            command: self.command,
            pid: self.pid,
            phase: self.phase,
        }
    }

    /// What it and its tasks need.
    pub(crate) fn wanted(&self, task: Option<&TaskInfo>) -> Limits {
        messages::limits(messages::amount(&self.info.resources).plus(self.used), task)
    }
}

fn to(connection: u64, kind: event::Type, event: Event) -> Output {
    Output::ToExecutor {
        connection,
        event: Box::new(Event {
            r#type: Some(kind.into()),
            ..event
        }),
    }
}

pub(crate) fn acknowledged(connection: u64, task: &TaskId, uuid: &Bytes) -> Output {
    let acknowledged = event::Acknowledged {
        task_id: messages::task_id(task),
        uuid: uuid.clone(),
    };
    to(
        connection,
        event::Type::Acknowledged,
        Event {
            acknowledged: Some(acknowledged),
            ..Default::default()
        },
    )
}

fn launch(connection: u64, task: TaskInfo) -> Output {
    let launch = event::Launch { task };
    to(
        connection,
        event::Type::Launch,
        Event {
            launch: Some(Box::new(launch)),
            ..Default::default()
        },
    )
}

fn launch_group(connection: u64, tasks: Vec<TaskInfo>) -> Output {
    let launch_group = event::LaunchGroup {
        task_group: TaskGroupInfo { tasks },
    };
    to(
        connection,
        event::Type::LaunchGroup,
        Event {
            launch_group: Some(launch_group.into()),
            ..Default::default()
        },
    )
}

fn kill(connection: u64, task: &TaskId, policy: Option<KillPolicy>) -> Output {
    let kill = event::Kill {
        task_id: messages::task_id(task),
        kill_policy: policy,
    };
    to(
        connection,
        event::Type::Kill,
        Event {
            kill: Some(kill),
            ..Default::default()
        },
    )
}

fn shutdown(connection: u64) -> Output {
    to(connection, event::Type::Shutdown, Event::default())
}

impl Agent {
    // ---- calls of executors -----------------------------------------------------------------------------------------------------

    pub(crate) fn executor_call(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        action: ExecutorAction,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let known = self
            .frameworks
            .get(framework)
            .ok_or(Refusal::UnknownFramework)?;
        // The executor of a command task, or of DEFAULT groups, is the agent itself; nobody else may speak for it.
        let known = known
            .executors
            .get(executor)
            .filter(|known| !known.command && !known.builtin)
            .ok_or(Refusal::UnknownExecutor)?;
        match action {
            ExecutorAction::Subscribe {
                connection,
                unacknowledged_tasks,
                unacknowledged_updates,
            } => {
                for update in &unacknowledged_updates {
                    check_update(executor, &update.status)?;
                }
                self.subscribe(
                    framework,
                    executor,
                    connection,
                    &unacknowledged_tasks,
                    unacknowledged_updates,
                    out,
                );
                Ok(())
            }
            _ if known.connection.is_none() => Err(Refusal::NotSubscribed),
            ExecutorAction::Update(status) => {
                check_update(executor, &status)?;
                self.executor_update(framework, executor, *status, out)
            }
            ExecutorAction::Message(data) => {
                if let Some(stream) = self.link.registered() {
                    let message = Message::ExecutorMessage(ExecutorMessage {
                        framework_id: messages::framework_id(framework),
                        executor_id: messages::executor_id(executor),
                        data,
                    });
                    out.push(Output::ToMaster {
                        stream,
                        message: Box::new(AgentMessage {
                            message: Some(message),
                        }),
                    });
                }
                Ok(())
            }
        }
    }

    fn subscribe(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        connection: u64,
        tasks: &[TaskInfo],
        updates: Vec<UpdateCall>,
        out: &mut Vec<Output>,
    ) {
        let agent_info = AgentInfo {
            id: self.id.as_ref().map(agent_id),
            ..self.config.info.clone()
        };
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let framework_info = FrameworkInfo {
            id: Some(messages::framework_id(framework)),
            ..FrameworkInfo::clone(&known.info)
        };
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        let earlier = executor.connection.replace(connection);
        executor.recovered = false;
        executor.started = true;
        let timer = if executor.phase == Phase::Terminating {
            None
        } else {
            executor.timer.take()
        };
        // Nothing was ever for it, and what waited for it was killed: it is not needed any more.
        let unwanted =
            executor.phase == Phase::Registering && !executor.used_once && executor.live.is_empty();
        if executor.phase == Phase::Registering {
            executor.phase = Phase::Running;
        }
        let terminating = executor.phase == Phase::Terminating;
        let subscribed = event::Subscribed {
            executor_info: ExecutorInfo::clone(&executor.info),
            framework_info,
            agent_info,
            container_id: Some(messages::container_id(&executor.container)),
        };
        self.timers.cancel(timer);
        self.connections
            .insert(connection, (framework.clone(), id.clone()));
        if let Some(earlier) = earlier {
            self.connections.swap_remove(&earlier);
            out.push(Output::CloseExecutor {
                connection: earlier,
            });
        }
        if unwanted && !terminating {
            self.shutdown_executor(framework, id, out);
            return;
        }
        out.push(to(
            connection,
            event::Type::Subscribed,
            Event {
                subscribed: Some(Box::new(subscribed)),
                ..Default::default()
            },
        ));
        for update in updates {
            // Checked before; a stream too full for it makes the executor send it again.
            let _ = self.executor_update(framework, id, update.status, out);
        }
        self.drop_undelivered(framework, id, tasks, out);
        if terminating {
            out.push(shutdown(connection));
            return;
        }
        self.show_executor(framework, id, out);
        self.deliver_queue(framework, id, out);
        self.repeat_kills(framework, id, connection, out);
    }

    /// Tasks that were sent to the executor but that it does not know never reached it.
    fn drop_undelivered(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        held: &[TaskInfo],
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor(framework, id) else {
            return;
        };
        let lost: Vec<TaskKey> = executor
            .live
            .iter()
            .map(|task| TaskKey {
                framework: framework.clone(),
                task: task.clone(),
            })
            .filter(|key| {
                self.task(key)
                    .is_some_and(|task| task.state == TaskState::Staging && !task.queued)
            })
            .filter(|key| {
                !held
                    .iter()
                    .any(|task| task.task_id.value == key.task.as_str())
            })
            .collect();
        for key in lost {
            let message = "the task was on its way to the executor when the connection broke";
            self.update(
                &key,
                TaskState::Dropped,
                Source::Agent,
                Some(Reason::AgentRestarted),
                message,
                out,
            );
        }
    }

    fn deliver_queue(&mut self, framework: &FrameworkId, id: &ExecutorId, out: &mut Vec<Output>) {
        let Some(known) = self.frameworks.get_mut(framework) else {
            return;
        };
        let Some(executor) = known.executors.get_mut(id) else {
            return;
        };
        let Some(connection) = executor.connection else {
            return;
        };
        let queue = std::mem::take(&mut executor.queue);
        executor.used_once |= !queue.is_empty();
        let mut queue = queue.into_iter().peekable();
        while let Some(first) = queue.next() {
            let group = known.tasks.get(&first).and_then(|task| task.group.clone());
            let mut together = vec![first];
            if group.is_some() {
                while let Some(next) = queue.next_if(|next| {
                    known
                        .tasks
                        .get(next)
                        .is_some_and(|task| task.group == group)
                }) {
                    together.push(next);
                }
            }
            let infos = together
                .iter()
                .filter_map(|id| known.tasks.get(id))
                .map(|task| TaskInfo::clone(&task.info));
            match group {
                Some(_) => out.push(launch_group(connection, infos.collect())),
                None => out.extend(infos.map(|info| launch(connection, info))),
            }
            for id in together {
                let Some(task) = known.tasks.get_mut(&id) else {
                    continue;
                };
                task.queued = false;
                let key = TaskKey {
                    framework: framework.clone(),
                    task: id,
                };
                out.push(Output::Changed(Change::Task(Arc::new(task.snapshot(&key)))));
            }
        }
    }

    /// Kills that the executor may not have heard of.
    fn repeat_kills(
        &self,
        framework: &FrameworkId,
        id: &ExecutorId,
        connection: u64,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let Some(executor) = known.executors.get(id) else {
            return;
        };
        for task in &executor.live {
            if let Some(asked) = known.tasks.get(task).and_then(|task| task.kill.as_ref()) {
                out.push(kill(connection, task, asked.policy));
            }
        }
    }

    fn executor_update(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        mut status: TaskStatus,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let limit = self.config.max_updates_per_task;
        let Some(uuid) = status.uuid.clone() else {
            return Ok(());
        };
        let Ok(task_id) = TaskId::new(&status.task_id.value) else {
            return Err(Refusal::Invalid(format!(
                "'update.status.task_id' is no task id: '{}'",
                status.task_id.value
            )));
        };
        let Some(known) = self.frameworks.get(framework) else {
            return Err(Refusal::UnknownFramework);
        };
        let Some(executor) = known.executors.get(id) else {
            return Err(Refusal::UnknownExecutor);
        };
        let connection = executor.connection;
        let container_status =
            messages::container_status(&executor.container, &self.config.ip, executor.pid);
        let task = known
            .tasks
            .get(&task_id)
            .filter(|task| task.executor.as_ref() == Some(id));
        // An update that nobody needs any more, or that is on the disk already, is acknowledged, so that the executor stops sending it;
        // one that is on its way to the disk is acknowledged when it is there.
        let needless = match task {
            None => true,
            Some(task) if task.updates.knows(&uuid) => {
                if !task.updates.durably_knows(&uuid) {
                    return Ok(());
                }
                true
            }
            Some(task) => task.state.is_terminal(),
        };
        if needless {
            if let Some(connection) = connection {
                out.push(acknowledged(connection, &task_id, &uuid));
            }
            return Ok(());
        }
        if task.is_some_and(|task| task.updates.len() >= limit) {
            return Err(Refusal::Busy(task_id.as_str().to_owned()));
        }
        let draining = self.drain.is_some();
        let key = TaskKey {
            framework: framework.clone(),
            task: task_id,
        };
        status.source = Some(Source::Executor.into());
        status.agent_id = self.id.as_ref().map(agent_id);
        status.timestamp = Some(status.timestamp.unwrap_or_else(|| self.now.as_secs_f64()));
        merge_container_status(&mut status, container_status);
        if draining && status.state == TaskState::Killed.number() {
            self.drained(&key, &mut status);
        }
        self.take_update(&key, status, true, out);
        Ok(())
    }

    /// A stream of an executor has ended.
    pub(crate) fn executor_disconnected(&mut self, connection: u64) {
        let Some((framework, id)) = self.connections.swap_remove(&connection) else {
            return;
        };
        if let Some(executor) = self.executor_mut(&framework, &id)
            && executor.connection == Some(connection)
        {
            executor.connection = None;
        }
    }

    /// Gives tasks (one, or a group) to their executor, now or when it subscribes.
    pub(crate) fn deliver(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        tasks: impl IntoIterator<Item = TaskId>,
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        executor.queue.extend(tasks);
        if executor.phase == Phase::Running {
            self.deliver_queue(framework, id, out);
        }
    }

    /// A message of the framework for its executor, best effort.
    pub(crate) fn framework_message(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        data: Bytes,
        out: &mut Vec<Output>,
    ) {
        if let Some(connection) = self
            .executor(framework, id)
            .and_then(|executor| executor.connection)
        {
            let message = event::Message { data };
            out.push(to(
                connection,
                event::Type::Message,
                Event {
                    message: Some(message),
                    ..Default::default()
                },
            ));
        }
    }

    /// Passes a kill on to the executor, if it is there; if not it hears of it when it subscribes.
    pub(crate) fn pass_kill(
        &self,
        key: &TaskKey,
        id: &ExecutorId,
        policy: Option<KillPolicy>,
        out: &mut Vec<Output>,
    ) {
        if let Some(connection) = self
            .executor(&key.framework, id)
            .and_then(|executor| executor.connection)
        {
            out.push(kill(connection, &key.task, policy));
        }
    }

    // ---- ends -------------------------------------------------------------------------------------------------------------------

    /// Asks a custom executor to end, and ends it when its grace is over; at once if nobody listens.
    pub(crate) fn shutdown_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        out: &mut Vec<Output>,
    ) {
        let at = self.now;
        let default = self.config.executor_shutdown_grace_period;
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        if executor.phase == Phase::Terminating || executor.command {
            return;
        }
        executor.phase = Phase::Terminating;
        executor.end = Some(End::Shutdown);
        let grace = executor
            .info
            .shutdown_grace_period
            .as_ref()
            .map_or(default, messages::duration);
        let container = executor.container.clone();
        let connection = executor.connection;
        let builtin = executor.builtin;
        let timer = executor.timer.take();
        self.timers.cancel(timer);
        self.checkpoint(
            Record::Shutdown(ExecutorGone {
                framework_id: framework.as_str().to_owned(),
                executor_id: id.as_str().to_owned(),
            }),
            out,
        );
        self.show_executor(framework, id, out);
        if builtin {
            for key in self.live_of(framework, id) {
                self.kill(&key, None, Cause::Shutdown, out);
            }
            self.idle_builtins_end(framework, out);
            return;
        }
        match connection {
            Some(connection) => {
                out.push(shutdown(connection));
                let timer = self.timers.set(at + grace, Timer::Executor(container));
                if let Some(executor) = self.executor_mut(framework, id) {
                    executor.timer = Some(timer);
                }
            }
            None => self.destroy(&container, out),
        }
    }

    /// Ends an executor or command task without any grace: the agent itself ends.
    pub(crate) fn end_executor_now(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        executor.phase = Phase::Terminating;
        executor.end = Some(End::Shutdown);
        if executor.builtin {
            for key in self.live_of(framework, id) {
                self.destroy_nested(&key, out);
            }
            self.idle_builtins_end(framework, out);
            return;
        }
        let container = executor.container.clone();
        self.destroy(&container, out);
    }

    pub(crate) fn destroy(&mut self, container: &ContainerId, out: &mut Vec<Output>) {
        let Some(executor) = self.executor_of(container) else {
            return;
        };
        if !std::mem::replace(&mut executor.destroyed, true) {
            out.push(Output::Destroy {
                container: container.clone(),
            });
        }
    }

    pub(crate) fn executor_timed_out(&mut self, container: &ContainerId, out: &mut Vec<Output>) {
        let Some(executor) = self.executor_of(container) else {
            return;
        };
        executor.timer = None;
        if executor.phase == Phase::Registering {
            executor.phase = Phase::Terminating;
            executor.end = Some(if executor.recovered {
                End::ReregistrationTimeout
            } else {
                End::RegistrationTimeout
            });
        }
        self.destroy(container, out);
    }

    /// The container is gone: its tasks get their terminal updates, then the executor goes.
    pub(crate) fn container_exited(
        &mut self,
        container: &ContainerId,
        exit: &Exit,
        out: &mut Vec<Output>,
    ) {
        if self.orphans.swap_remove(container) {
            self.may_exit(out);
            return;
        }
        if self.nested.contains_key(container) {
            return self.nested_exited(container, exit, out);
        }
        let Some((framework, id)) = self.containers.get(container).cloned() else {
            return;
        };
        let Some(executor) = self.executor(&framework, &id) else {
            return;
        };
        let (command, end) = (executor.command, executor.end);
        let live: Vec<TaskId> = executor.live.iter().cloned().collect();
        for task in live {
            let key = TaskKey {
                framework: framework.clone(),
                task,
            };
            if command {
                self.command_exited(&key, exit, out);
            } else {
                self.lost_its_executor(&key, end, exit, out);
            }
        }
        if !command {
            self.executor_terminated(&framework, &id, exit.status.unwrap_or(-1), out);
        }
        self.remove_executor(&framework, &id, out);
    }

    fn lost_its_executor(
        &mut self,
        key: &TaskKey,
        end: Option<End>,
        exit: &Exit,
        out: &mut Vec<Output>,
    ) {
        if let Some(limitation) = &exit.limitation {
            self.limited(key, limitation, out);
            return;
        }
        let (state, reason, message) = match end {
            Some(End::RegistrationTimeout) => (
                TaskState::Failed,
                Reason::ExecutorRegistrationTimeout,
                format!(
                    "Executor did not register within {:?}",
                    self.config.executor_registration_timeout
                ),
            ),
            Some(End::ReregistrationTimeout) => (
                TaskState::Gone,
                Reason::ExecutorReregistrationTimeout,
                format!(
                    "Executor did not reregister within {:?}",
                    self.config.executor_reregistration_timeout
                ),
            ),
            _ => (
                TaskState::Failed,
                Reason::ExecutorTerminated,
                ended("Executor", exit.status),
            ),
        };
        self.update(key, state, Source::Agent, Some(reason), message, out);
    }

    /// A limit ended the task's container.
    pub(crate) fn limited(
        &mut self,
        key: &TaskKey,
        limitation: &Limitation,
        out: &mut Vec<Output>,
    ) {
        let (reason, message, resources) = match limitation {
            Limitation::Memory { message, resources } => {
                (Reason::ContainerLimitationMemory, message, resources)
            }
            Limitation::Disk { message, resources } => {
                (Reason::ContainerLimitationDisk, message, resources)
            }
        };
        let mut status = self.status(
            key,
            TaskState::Failed,
            Source::Agent,
            Some(reason),
            message.clone(),
        );
        status.limitation = Some(TaskResourceLimitation {
            resources: resources.clone(),
        });
        self.take_update(key, status, false, out);
    }

    pub(crate) fn executor_terminated(
        &self,
        framework: &FrameworkId,
        id: &ExecutorId,
        status: i32,
        out: &mut Vec<Output>,
    ) {
        if let Some(stream) = self.link.registered() {
            let message = Message::ExecutorTerminated(ExecutorTerminated {
                framework_id: messages::framework_id(framework),
                executor_id: messages::executor_id(id),
                status,
            });
            out.push(Output::ToMaster {
                stream,
                message: Box::new(AgentMessage {
                    message: Some(message),
                }),
            });
        }
    }

    pub(crate) fn remove_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.frameworks.get_mut(framework) else {
            return;
        };
        let Some(executor) = known.executors.swap_remove(id) else {
            return;
        };
        self.timers.cancel(executor.timer);
        self.timers.cancel(executor.shrink);
        if let Some(connection) = executor.connection {
            self.connections.swap_remove(&connection);
            out.push(Output::CloseExecutor { connection });
        }
        self.containers.swap_remove(&executor.container);
        self.checkpoint(
            Record::ExecutorGone(ExecutorGone {
                framework_id: framework.as_str().to_owned(),
                executor_id: id.as_str().to_owned(),
            }),
            out,
        );
        out.push(Output::Changed(Change::ExecutorEnded(
            framework.clone(),
            id.clone(),
        )));
        out.push(Output::Forget {
            container: executor.container,
        });
        self.framework_may_be_idle(framework, out);
        self.identity_may_be_forgotten(out);
        self.may_exit(out);
    }

    // ---- room -------------------------------------------------------------------------------------------------------------------

    /// Gives a custom executor's container more at once if it needs more, and less after a while if it needs less.
    pub(crate) fn fit(&mut self, framework: &FrameworkId, id: &ExecutorId, out: &mut Vec<Output>) {
        let at = self.now + SHRINK_AFTER;
        let Some(executor) = self
            .frameworks
            .get_mut(framework)
            .and_then(|known| known.executors.get_mut(id))
        else {
            return;
        };
        if executor.command || executor.builtin || executor.destroyed {
            return;
        }
        let wanted = executor.wanted(None);
        if wanted.cpus_milli > executor.limits.cpus_milli
            || wanted.mem_bytes > executor.limits.mem_bytes
        {
            executor.limits = wanted;
            out.push(Output::Resize {
                container: executor.container.clone(),
                limits: wanted,
            });
        } else if wanted != executor.limits && executor.shrink.is_none() {
            executor.shrink = Some(
                self.timers
                    .set(at, Timer::Shrink(executor.container.clone())),
            );
        }
    }

    pub(crate) fn shrink(&mut self, container: &ContainerId, out: &mut Vec<Output>) {
        let Some(executor) = self.executor_of(container) else {
            return;
        };
        executor.shrink = None;
        let wanted = executor.wanted(None);
        if wanted != executor.limits {
            executor.limits = wanted;
            out.push(Output::Resize {
                container: container.clone(),
                limits: wanted,
            });
        }
    }
}

pub(crate) fn agent_id(id: &tepui_model::AgentId) -> tepui_proto::mesos::v1::AgentId {
    tepui_proto::mesos::v1::AgentId {
        value: id.as_str().to_owned(),
    }
}

/// What the agent knows about the container fills what the executor did not say.
fn merge_container_status(status: &mut TaskStatus, known: tepui_proto::mesos::v1::ContainerStatus) {
    match &mut status.container_status {
        None => status.container_status = Some(known),
        Some(said) => {
            if said.container_id.is_none() {
                said.container_id = known.container_id;
            }
            if said.network_infos.is_empty() {
                said.network_infos = known.network_infos;
            }
        }
    }
}

/// The rules for a status that an executor sends.
fn check_update(executor: &ExecutorId, status: &TaskStatus) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::Invalid(text));
    match &status.uuid {
        None => return invalid("Expecting 'update.status.uuid' to be present".to_owned()),
        Some(uuid) if uuid.len() != 16 => {
            return invalid(format!(
                "'update.status.uuid' has {} bytes, not 16",
                uuid.len()
            ));
        }
        Some(_) => {}
    }
    if status.source != Some(Source::Executor.into()) {
        return invalid("Received Call from executor with invalid 'update.status.source': it must be SOURCE_EXECUTOR".to_owned());
    }
    match TaskState::from_number(status.state) {
        Some(TaskState::Staging) => {
            return invalid("'update.status.state' may not be TASK_STAGING".to_owned());
        }
        Some(_) => {}
        None => {
            return invalid(format!(
                "'update.status.state' is no task state: {}",
                status.state
            ));
        }
    }
    if let Some(id) = &status.executor_id
        && id.value != executor.as_str()
    {
        return invalid(format!(
            "'update.status.executor_id' is '{}', but the call is of '{executor}'",
            id.value
        ));
    }
    status
        .check_status
        .as_ref()
        .map_or(Ok(()), check_check_status)
}

fn check_check_status(check: &CheckStatusInfo) -> Result<(), Refusal> {
    let expected = match check.r#type() {
        check_info::Type::Command => check.command.is_some(),
        check_info::Type::Http => check.http.is_some(),
        check_info::Type::Tcp => check.tcp.is_some(),
        check_info::Type::Unknown => false,
    };
    let given = [
        check.command.is_some(),
        check.http.is_some(),
        check.tcp.is_some(),
    ]
    .into_iter()
    .filter(|is| *is)
    .count();
    if expected && given == 1 {
        Ok(())
    } else {
        Err(Refusal::Invalid(
            "'update.status.check_status' must hold exactly the result that its type names"
                .to_owned(),
        ))
    }
}
