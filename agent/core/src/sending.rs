//! What is told of tasks: made, written down, sent one at a time for each task, and sent again until it is acknowledged.

use std::sync::Arc;

use tepui_model::{ContainerId, TaskState};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{ContainerStatus, TaskStatus};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{AgentMessage, TaskUpdate};

use crate::agent::{Agent, Timer};
use crate::messages;
use crate::output::Output;
use crate::record::{Acknowledged, Record, UpdateRecord};
use crate::task::TaskKey;
use crate::updates::{RETRY_FIRST, RETRY_LONGEST, Update};

impl Agent {
    /// A status of the agent's own making, or of the executor that it plays for command tasks.
    pub(crate) fn status(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        source: Source,
        reason: Option<Reason>,
        message: String,
    ) -> TaskStatus {
        let uuid = self.ids.uuid_bytes();
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return TaskStatus::default();
        };
        let state = messages::told(&framework.info, state);
        let task = framework.tasks.get(&key.task);
        let executor_id = task.and_then(|task| task.executor.as_ref());
        let executor = executor_id.and_then(|id| framework.executors.get(id));
        TaskStatus {
            task_id: messages::task_id(&key.task),
            state: state.number(),
            message: (!message.is_empty()).then_some(message),
            source: Some(source.into()),
            reason: reason.map(Into::into),
            agent_id: self.id.as_ref().map(|id| tepui_proto::mesos::v1::AgentId {
                value: id.as_str().to_owned(),
            }),
            executor_id: executor_id.map(messages::executor_id),
            timestamp: Some(self.now.as_secs_f64()),
            uuid: Some(uuid),
            healthy: task.and_then(|task| task.healthy),
            check_status: task.and_then(|task| task.check_status),
            container_status: executor.map(|executor| {
                let own = task.and_then(|task| Some((task.container.as_ref()?, task.pid)));
                let (container, pid) = own.unwrap_or((&executor.container, executor.pid));
                self.container_status(container, pid)
            }),
            ..Default::default()
        }
    }

    /// What is told of a container: where it is.
    pub(crate) fn container_status(
        &self,
        container: &ContainerId,
        pid: Option<u32>,
    ) -> ContainerStatus {
        let mut status = messages::container_status(container, &self.config.ip, pid);
        let own = self.networks.get(container);
        // The tasks of a group are on their executor's.
        let networks = own.or_else(|| self.networks.get(container.parent()?));
        if let Some(networks) = networks {
            status.network_infos.clone_from(networks);
        }
        status
    }

    /// Makes an update of the agent's own.
    pub(crate) fn update(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        source: Source,
        reason: Option<Reason>,
        message: impl Into<String>,
        out: &mut Vec<Output>,
    ) {
        let status = self.status(key, state, source, reason, message.into());
        self.take_update(key, status, false, out);
    }

    /// Takes an update into the task's stream. The first terminal one wins (I2); whatever comes after it is dropped here.
    pub(crate) fn take_update(
        &mut self,
        key: &TaskKey,
        status: TaskStatus,
        from_executor: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(state) = TaskState::from_number(status.state) else {
            return;
        };
        let next = self.sequence + 1;
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        if task.state.is_terminal() {
            return;
        }
        let status = Arc::new(status);
        task.remember(&status, state);
        let nobody_listens = framework.shutting_down;
        if !nobody_listens {
            let uuid = status.uuid.clone().unwrap_or_default();
            task.updates.push(Update {
                status: Arc::clone(&status),
                state,
                uuid,
                sequence: next,
                durable: false,
                from_executor,
            });
        }
        let record = UpdateRecord {
            framework_id: key.framework.as_str().to_owned(),
            status: Some(TaskStatus::clone(&status)),
            from_executor,
            acknowledged: nobody_listens,
        };
        let sequence = self.checkpoint(Record::Update(Box::new(record)), out);
        if !nobody_listens {
            self.unsynced.push_back((sequence, key.clone()));
        }
        self.show_task(key, out);
        if state.is_terminal() {
            self.release(key, out);
            if nobody_listens {
                self.remove_task(key, out);
            }
        }
    }

    /// Sends the first update of the task if it is durable, there is somebody to send it to, and it is not under way.
    pub(crate) fn send_head(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        if self
            .task(key)
            .is_some_and(|task| task.updates.timer.is_none())
        {
            self.send(key, RETRY_FIRST, out);
        }
    }

    /// Sends the first update of the task again although it is under way.
    pub(crate) fn resend_head(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        let timer = task.updates.timer.take();
        self.timers.cancel(timer);
        self.send(key, RETRY_FIRST, out);
    }

    pub(crate) fn resend(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        task.updates.timer = None;
        let pause = (task.updates.pause * 2).min(RETRY_LONGEST);
        self.send(key, pause, out);
    }

    fn send(&mut self, key: &TaskKey, pause: std::time::Duration, out: &mut Vec<Output>) {
        let Some(stream) = self.link.registered() else {
            return;
        };
        let at = self.now + pause;
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        let Some(head) = task.updates.head().filter(|head| head.durable) else {
            return;
        };
        task.forwarded = Some((head.state, head.uuid.clone()));
        out.push(Output::ToMaster {
            stream,
            message: Box::new(AgentMessage {
                message: Some(Message::TaskUpdate(TaskUpdate {
                    framework_id: messages::framework_id(&key.framework),
                    executor_id: if task.command {
                        None
                    } else {
                        task.executor.as_ref().map(messages::executor_id)
                    },
                    status: TaskStatus::clone(&head.status),
                    latest_state: task.state.number(),
                })),
            }),
        });
        task.updates.pause = pause;
        task.updates.timer = Some(self.timers.set(at, Timer::Resend(key.clone())));
    }

    /// The framework has taken an update.
    pub(crate) fn acknowledge(&mut self, key: &TaskKey, uuid: &[u8], out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        let Some(taken) = task.updates.acknowledge(uuid) else {
            return;
        };
        let timer = task.updates.timer.take();
        self.timers.cancel(timer);
        self.checkpoint(
            Record::Acknowledged(Acknowledged {
                framework_id: key.framework.as_str().to_owned(),
                task_id: key.task.as_str().to_owned(),
                uuid: taken.uuid,
            }),
            out,
        );
        if taken.state.is_terminal() {
            self.remove_task(key, out);
        } else {
            self.send_head(key, out);
        }
    }

    /// The task is over: nothing watches over it, and its container needs less.
    fn release(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        let waits = std::mem::take(&mut task.queued);
        let probers = [task.health.take(), task.check.take()];
        for timer in [task.kill_timer.take(), task.completion_timer.take()] {
            self.timers.cancel(timer);
        }
        for prober in probers.into_iter().flatten() {
            self.timers.cancel(prober.timer);
            if let Some(probe) = prober.running {
                self.probes.swap_remove(&probe);
            }
        }
        if let Some(id) = task.executor.clone() {
            let amount = messages::amount(&task.info.resources);
            if let Some(executor) = framework.executors.get_mut(&id)
                && executor.live.swap_remove(&key.task)
            {
                executor.used = executor.used.minus(amount);
                if waits {
                    executor.queue.retain(|queued| *queued != key.task);
                }
                self.fit(&key.framework, &id, out);
            }
        }
    }
}
