//! What executors say: their subscription, updates and messages.

use std::sync::Arc;
use std::time::Duration;

use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::executor::call::Update as UpdateCall;
use tepui_proto::mesos::v1::executor::{Event, event};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{AgentInfo, ExecutorInfo, FrameworkInfo, TaskInfo, TaskStatus};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{AgentMessage, ExecutorMessage};

use super::agent_id;
use super::check::check_update;
use super::events::{acknowledged, kill, launch, launch_group, shutdown, to};
use crate::agent::{Agent, Timer};
use crate::change::{Change, Phase};
use crate::input::ExecutorAction;
use crate::messages::{self};
use crate::output::{Output, Refusal};
use crate::task::TaskKey;

/// How many tasks an executor is given in one step.
const DELIVERED_AT_ONCE: usize = 64;

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

    /// Gives an executor that has subscribed what waits for it, in order: so much at once that it has something to do while the rest follows, and
    /// nobody else waits for the whole of it.
    pub(super) fn deliver_queue(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        out: &mut Vec<Output>,
    ) {
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
        let mut delivered = 0;
        while delivered < DELIVERED_AT_ONCE
            && let Some(first) = queue.next()
        {
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
            delivered += together.len();
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
        let Some(executor) = known.executors.get_mut(id) else {
            return;
        };
        executor.queue = queue.collect();
        if !executor.queue.is_empty() && !executor.delivering {
            executor.delivering = true;
            // Right after this step, and before whatever waits to be stepped.
            let at = self.now + Duration::from_nanos(1);
            let more = Timer::Deliver(executor.container.clone());
            self.timers.set(at, more);
        }
    }

    /// The rest of the queue has its turn.
    pub(crate) fn deliver_more(&mut self, container: &ContainerId, out: &mut Vec<Output>) {
        let Some((framework, id)) = self.containers.get(container).cloned() else {
            return;
        };
        if let Some(executor) = self.executor_mut(&framework, &id) {
            executor.delivering = false;
            self.deliver_queue(&framework, &id, out);
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
        let container_status = self.container_status(&executor.container, executor.pid);
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
