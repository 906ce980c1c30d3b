//! The life of an executor and its container: what is delivered to it, how it ends, and what becomes of its tasks then.

use bytes::Bytes;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::executor::{Event, event};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{KillPolicy, TaskResourceLimitation};

use super::events::{kill, shutdown, to};
use super::{End, SHRINK_AFTER};
use crate::agent::{Agent, Timer};
use crate::change::{Change, Phase};
use crate::input::{Exit, Limitation};
use crate::messages::{self};
use crate::output::Output;
use crate::record::{ExecutorGone, Record};
use crate::status::ended;
use crate::task::{Cause, TaskKey};

impl Agent {
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
        if executor.phase == Phase::Running && !executor.delivering {
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

    /// Ends an executor and whatever it runs without any grace, and remembers why.
    pub(crate) fn end_at_once(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        end: End,
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        executor.phase = Phase::Terminating;
        executor.end = Some(end);
        let container = executor.container.clone();
        let (command, builtin) = (executor.command, executor.builtin);
        if !command {
            self.checkpoint(
                Record::Shutdown(ExecutorGone {
                    framework_id: framework.as_str().to_owned(),
                    executor_id: id.as_str().to_owned(),
                }),
                out,
            );
        }
        self.show_executor(framework, id, out);
        if builtin {
            for key in self.live_of(framework, id) {
                self.destroy_nested(&key, out);
            }
            self.idle_builtins_end(framework, out);
        } else {
            self.destroy(&container, out);
        }
    }

    /// The executor's container exceeds a limit that the kernel does not keep.
    pub(crate) fn exceeded(
        &mut self,
        container: &ContainerId,
        limitation: Limitation,
        out: &mut Vec<Output>,
    ) {
        let Some((framework, id)) = self.containers.get(container).cloned() else {
            return;
        };
        let Some(executor) = self.executor_mut(&framework, &id) else {
            return;
        };
        if executor.limitation.is_some() || executor.destroyed {
            return;
        }
        executor.limitation = Some(limitation);
        let end = executor.end.unwrap_or(End::Shutdown);
        self.end_at_once(&framework, &id, end, out);
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
        if executor.builtin {
            return self.holder_ended(&framework, &id, exit, out);
        }
        let (command, end) = (executor.command, executor.end);
        let exit = &executor.ended_by(exit);
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
        if end == Some(End::Preempted) || self.is_preempted(key) {
            self.preempted(key, out);
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
        let mut status = self.status(
            key,
            TaskState::Failed,
            Source::Agent,
            Some(limitation.of.reason()),
            limitation.message.clone(),
        );
        status.limitation = Some(TaskResourceLimitation {
            resources: limitation.resources.clone(),
        });
        self.take_update(key, status, false, out);
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
        self.networks.swap_remove(&executor.container);
        out.push(Output::Forget {
            container: executor.container,
        });
        self.framework_may_be_idle(framework, out);
        self.identity_may_be_forgotten(out);
        self.may_exit(out);
    }

    // ---- room -------------------------------------------------------------------------------------------------------------------

    /// Gives an executor's container more at once if it needs more, and less after a while if it needs less. One that the agent plays has
    /// one where its tasks share cgroups.
    pub(crate) fn fit(&mut self, framework: &FrameworkId, id: &ExecutorId, out: &mut Vec<Output>) {
        let at = self.now + SHRINK_AFTER;
        let Some(executor) = self
            .frameworks
            .get_mut(framework)
            .and_then(|known| known.executors.get_mut(id))
        else {
            return;
        };
        if executor.builtin && !executor.shares_cgroups {
            return;
        }
        if executor.command || executor.destroyed {
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
