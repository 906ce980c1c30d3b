//! Task groups: tasks that start together and share a fate.
//!
//! On an executor of the framework's own a group is one event, and the group's fate is the executor's business; only a kill that comes
//! before the delivery takes the whole group. A DEFAULT executor is played by the agent: it has no process, each task has a container
//! of its own nested in the executor's, and a task that ends in another way than FINISHED, or is killed, takes its group along. Other
//! groups of the executor go on; it ends with its last task.

use std::sync::Arc;

use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::executor_info::Type as ExecutorType;
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{ExecutorInfo, TaskInfo};
use tepui_proto::tepui::v1::RunTaskGroup;

use crate::agent::Agent;
use crate::change::Phase;
use crate::executor::End;
use crate::input::{ContainerState, Exit};
use crate::messages;
use crate::output::{Launch, Output};
use crate::task::{Cause, Kill, TaskKey};

/// Whether a task in a group has no cgroups of its own. Nobody says so: it has none.
pub(crate) fn shares_cgroups(info: &TaskInfo) -> bool {
    let linux = info
        .container
        .as_ref()
        .and_then(|container| container.linux_info.as_ref());
    linux.is_none_or(|linux| linux.share_cgroups())
}

/// What sets a task of a group apart from others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Membership {
    /// Names the group; the same for all its tasks.
    pub(crate) group: Option<ContainerId>,
    /// The task's own container, nested in that of a DEFAULT executor.
    pub(crate) container: Option<ContainerId>,
}

impl Agent {
    /// The master has a group for this agent. One that the agent holds already is not launched again.
    pub(crate) fn run_task_group(&mut self, run: RunTaskGroup, out: &mut Vec<Output>) {
        let Ok(framework) = FrameworkId::new(&run.framework_id.value) else {
            return;
        };
        let mut tasks = Vec::new();
        let mut known = false;
        for info in run.group.tasks {
            let Ok(task) = TaskId::new(&info.task_id.value) else {
                continue;
            };
            let key = TaskKey {
                framework: framework.clone(),
                task,
            };
            if self.task(&key).is_some() {
                known = true;
            } else {
                tasks.push((key, info));
            }
        }
        let executor = run.executor;
        let refusal = if known {
            let message = "the agent holds another task of the group already".to_owned();
            Some((TaskState::Dropped, Reason::TaskGroupInvalid, message))
        } else {
            let used = tasks.iter().map(|(_, info)| info.resources.as_slice());
            let used: Vec<_> = used.chain([executor.resources.as_slice()]).collect();
            self.unwilling(&framework, run.resource_version.as_ref(), &used)
                .or_else(|| self.wrong_group(&framework, &executor, &tasks))
                .or_else(|| {
                    let executor = &executor.executor_id;
                    self.ended_before(&framework, executor, run.launch_executor)
                })
        };
        if let Some((state, reason, message)) = refusal {
            self.executor_not_started(&framework, &executor.executor_id, out);
            for (key, info) in tasks {
                self.refuse_task(&key, info, state, reason, message.as_str(), out);
            }
            return;
        }
        if let Ok(id) = ExecutorId::new(&executor.executor_id.value) {
            self.start_group(&framework, &id, executor, tasks, out);
        }
    }

    /// Why the group cannot run on this executor.
    fn wrong_group(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorInfo,
        tasks: &[(TaskKey, TaskInfo)],
    ) -> Option<(TaskState, Reason, String)> {
        let invalid = |message: String| Some((TaskState::Error, Reason::TaskGroupInvalid, message));
        let Ok(id) = ExecutorId::new(&executor.executor_id.value) else {
            return invalid(format!(
                "'executor.executor_id' is no executor id: '{}'",
                executor.executor_id.value
            ));
        };
        let builtin = executor.r#type() == ExecutorType::Default;
        if builtin && let Some((key, _)) = tasks.iter().find(|(_, info)| info.command.is_none()) {
            return invalid(format!(
                "task '{}' has no command, which a DEFAULT executor needs",
                key.task
            ));
        }
        if !builtin && executor.command.is_none() {
            return invalid("the executor has no command".to_owned());
        }
        let shares = |info: &TaskInfo| shares_cgroups(info);
        let first = tasks.first().is_some_and(|(_, info)| shares(info));
        let known = self.executor(framework, &id);
        let agreed = known
            .filter(|known| builtin && !known.live.is_empty())
            .map_or(first, |known| known.shares_cgroups);
        if builtin && tasks.iter().any(|(_, info)| shares(info) != agreed) {
            let message = "'share_cgroups' must be the same for all tasks of one executor";
            return invalid(message.to_owned());
        }
        let known = known?;
        if known.phase == Phase::Terminating || known.command {
            let message = format!("the executor '{id}' is ending");
            return Some((TaskState::Dropped, Reason::ExecutorTerminated, message));
        }
        if known.builtin != builtin {
            return invalid(format!("the executor '{id}' is of another type"));
        }
        None
    }

    fn start_group(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        mut info: ExecutorInfo,
        tasks: Vec<(TaskKey, TaskInfo)>,
        out: &mut Vec<Output>,
    ) {
        let builtin = info.r#type() == ExecutorType::Default;
        let new = self.executor(framework, id).is_none();
        if new {
            info.framework_id
                .get_or_insert_with(|| messages::framework_id(framework));
            self.add_executor(framework, id, info, false, builtin, out);
        }
        let Some(parent) = self
            .executor(framework, id)
            .map(|executor| executor.container.clone())
        else {
            return;
        };
        let group = self.ids.container();
        let keys: Vec<TaskKey> = tasks.iter().map(|(key, _)| key.clone()).collect();
        for (key, info) in tasks {
            let own = self.ids.container();
            let container = if builtin {
                parent.nested(own.value()).ok()
            } else {
                None
            };
            let membership = Membership {
                group: Some(group.clone()),
                container,
            };
            self.add_task(&key, info, Some(id), false, membership, out);
        }
        if builtin {
            if new {
                if let Some(executor) = self.executor_mut(framework, id) {
                    executor.limits = executor.wanted(None);
                }
            } else {
                self.fit(framework, id, out);
            }
            self.show_executor(framework, id, out);
            for key in keys {
                self.start_nested(&key, out);
                self.update(&key, TaskState::Starting, Source::Executor, None, "", out);
            }
            return;
        }
        if new {
            self.start_container(framework, id, None, out);
            self.show_executor(framework, id, out);
        } else {
            self.fit(framework, id, out);
        }
        for key in &keys {
            self.show_task(key, out);
        }
        self.deliver(framework, id, keys.into_iter().map(|key| key.task), out);
    }

    fn start_nested(&self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get(&key.task) else {
            return;
        };
        let executor = task
            .executor
            .as_ref()
            .and_then(|id| framework.executors.get(id));
        if let (Some(executor), Some(container)) = (executor, &task.container) {
            let tasks = executor
                .live
                .iter()
                .filter_map(|id| framework.tasks.get(id));
            let used = tasks.flat_map(|task| &task.info.resources);
            let used = used.chain(&executor.info.resources);
            out.push(Output::Launch(Box::new(Launch {
                container: container.clone(),
                framework: Arc::clone(&framework.info),
                executor: Arc::clone(&executor.info),
                task: Some(Arc::clone(&task.info)),
                group_ports: used.filter(|it| it.name == "ports").cloned().collect(),
                group_limits: executor.limits,
                limits: messages::limits(messages::amount(&task.info.resources), Some(&task.info)),
            })));
        }
    }

    /// The process of a task in a nested container runs.
    pub(crate) fn nested_launched(
        &mut self,
        container: &ContainerId,
        pid: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        let Some(key) = self.nested.get(container).cloned() else {
            return;
        };
        let Some(task) = self.task_mut(&key) else {
            return;
        };
        if !task.queued {
            return;
        }
        task.pid = pid;
        self.command_started(&key, out);
    }

    /// A nested container could not be started.
    pub(crate) fn nested_failed(
        &mut self,
        container: &ContainerId,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let Some(key) = self.nested.swap_remove(container) else {
            return;
        };
        self.fail_launch(&key, reason, out);
        self.nested_over(&key, container, out);
    }

    /// A nested container has ended.
    pub(crate) fn nested_exited(
        &mut self,
        container: &ContainerId,
        exit: &Exit,
        out: &mut Vec<Output>,
    ) {
        let Some(key) = self.nested.swap_remove(container) else {
            return;
        };
        let executor = self.task(&key).and_then(|task| task.executor.as_ref());
        let executor = executor.and_then(|id| self.executor(&key.framework, id));
        let exit = executor.map_or_else(|| exit.clone(), |executor| executor.ended_by(exit));
        self.command_exited(&key, &exit, out);
        self.nested_over(&key, container, out);
    }

    /// What held that which the tasks of a played executor share has ended: they cannot go on.
    pub(crate) fn holder_ended(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        exit: &Exit,
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        executor.pid = None;
        if executor.limitation.is_none() {
            executor.limitation.clone_from(&exit.limitation);
        }
        let end = executor.end.unwrap_or(End::Shutdown);
        self.end_at_once(framework, id, end, out);
    }

    fn nested_over(&mut self, key: &TaskKey, container: &ContainerId, out: &mut Vec<Output>) {
        self.networks.swap_remove(container);
        out.push(Output::Forget {
            container: container.clone(),
        });
        let Some(task) = self.task(key) else {
            // Nobody listens any more, so it is gone already; its executor is ending.
            return self.idle_builtins_end(&key.framework, out);
        };
        if task.state.is_terminal() && task.state != TaskState::Finished {
            self.kill_group_of(key, Cause::Asked, out);
        }
        self.idle_builtins_end(&key.framework, out);
    }

    /// The other tasks of the group end too.
    pub(crate) fn kill_group_of(&mut self, key: &TaskKey, cause: Cause, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return;
        };
        let Some(group) = framework
            .tasks
            .get(&key.task)
            .and_then(|task| task.group.clone())
        else {
            return;
        };
        let others: Vec<TaskKey> = framework
            .tasks
            .iter()
            .filter(|(_, task)| {
                task.group.as_ref() == Some(&group)
                    && !task.state.is_terminal()
                    && task.kill.is_none()
                    // One whose end was ordered for another reason ends for that.
                    && !task.destroyed
            })
            .map(|(task, _)| TaskKey {
                framework: key.framework.clone(),
                task: task.clone(),
            })
            .collect();
        for other in others {
            self.kill(&other, None, cause, out);
        }
    }

    pub(crate) fn kill_nested(
        &mut self,
        key: &TaskKey,
        container: ContainerId,
        kill: &Kill,
        first: bool,
        out: &mut Vec<Output>,
    ) {
        if kill.during_launch {
            self.destroy_nested(key, out);
        } else {
            if first {
                out.push(Output::Signal {
                    container,
                    signal: crate::kill::SIGTERM,
                });
                self.announce_kill(key, kill, out);
            }
            self.await_grace(key, kill);
        }
        if first {
            let cause = match kill.cause {
                Cause::Shutdown | Cause::Draining => kill.cause,
                _ => Cause::Asked,
            };
            self.kill_group_of(key, cause, out);
        }
    }

    /// Ends the task's own container at once.
    pub(crate) fn destroy_nested(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        if let Some(container) = task.container.clone()
            && !std::mem::replace(&mut task.destroyed, true)
        {
            out.push(Output::Destroy { container });
        }
    }

    /// Live tasks of an executor.
    pub(crate) fn live_of(&self, framework: &FrameworkId, id: &ExecutorId) -> Vec<TaskKey> {
        let Some(executor) = self.executor(framework, id) else {
            return Vec::new();
        };
        executor
            .live
            .iter()
            .map(|task| TaskKey {
                framework: framework.clone(),
                task: task.clone(),
            })
            .collect()
    }

    /// DEFAULT executors of the framework that have no task left end.
    pub(crate) fn idle_builtins_end(&mut self, framework: &FrameworkId, out: &mut Vec<Output>) {
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let idle: Vec<ExecutorId> = known
            .executors
            .iter()
            .filter(|(_, executor)| executor.builtin && executor.live.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        for id in idle {
            self.executor_terminated(framework, &id, 0, out);
            self.remove_executor(framework, &id, out);
        }
    }

    // ---- a new life -------------------------------------------------------------------------------------------------------------

    /// Takes up a nested container where the containerizer found it.
    pub(crate) fn recover_nested(
        &mut self,
        container: &ContainerId,
        state: Option<ContainerState>,
        out: &mut Vec<Output>,
    ) {
        let Some(key) = self.nested.get(container).cloned() else {
            return;
        };
        let Some(task) = self
            .task_mut(&key)
            .filter(|task| !task.state.is_terminal() && task.container.as_ref() == Some(container))
        else {
            // Its task is over, or even forgotten.
            self.nested.swap_remove(container);
            let destroyed = matches!(state, Some(ContainerState::Running { .. }));
            let container = container.clone();
            if destroyed {
                self.orphans.insert(container.clone());
                out.push(Output::Destroy { container });
            } else {
                out.push(Output::Forget { container });
            }
            return;
        };
        match state {
            Some(ContainerState::Running { pid }) => {
                task.pid = pid;
                let Some(id) = task.executor.clone() else {
                    return;
                };
                self.show_task(&key, out);
                self.command_ran_on(&key, &id, container, out);
            }
            Some(ContainerState::Exited(exit)) => self.nested_exited(container, &exit, out),
            Some(ContainerState::LaunchFailed { reason }) => {
                self.nested_failed(container, &reason, out);
            }
            Some(ContainerState::Lost) | None => {
                let never = matches!(task.state, TaskState::Staging | TaskState::Starting)
                    && task.kill.is_none();
                if never {
                    self.never_ran(&key, out);
                }
                self.nested_exited(container, &Exit::default(), out);
            }
        }
    }

    /// What the last life had begun with groups and executors is brought to its end.
    pub(crate) fn settle_groups(&mut self, out: &mut Vec<Output>) {
        let mut broken = Vec::new();
        let mut ending = Vec::new();
        for (framework, known) in &self.frameworks {
            for (task, state) in &known.tasks {
                let builtin = state.container.is_some();
                if builtin && state.state.is_terminal() && state.state != TaskState::Finished {
                    broken.push(TaskKey {
                        framework: framework.clone(),
                        task: task.clone(),
                    });
                }
            }
            for (id, executor) in &known.executors {
                if executor.builtin && executor.phase == Phase::Terminating {
                    ending.push((framework.clone(), id.clone()));
                }
            }
        }
        for key in broken {
            self.kill_group_of(&key, Cause::Asked, out);
        }
        for (framework, id) in ending {
            for key in self.live_of(&framework, &id) {
                if self.task(&key).is_some_and(|task| task.kill.is_none()) {
                    self.kill(&key, None, Cause::Shutdown, out);
                }
            }
        }
        let frameworks: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.idle_builtins_end(&framework, out);
        }
    }
}
