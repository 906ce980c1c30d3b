//! Tasks: taken and started.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState};
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{ExecutorId as ExecutorIdOnWire, ExecutorInfo, Resource, TaskInfo};
use tepui_proto::tepui::v1::RunTask;

use crate::agent::{Agent, Timer};
use crate::change::Phase;
use crate::executor::Executor;
use crate::group::{Membership, shares_cgroups};
use crate::messages;
use crate::output::{Launch, Limits, Output};
use crate::record::{ExecutorRecord, Record, TaskRecord};
use crate::task::{Task, TaskKey};

impl Agent {
    // ---- taking a task ----------------------------------------------------------------------------------------------------------

    /// The master has a task for this agent. One that the agent holds already is not launched again.
    pub(crate) fn run_task(&mut self, run: RunTask, out: &mut Vec<Output>) {
        let info = run.task;
        let (Ok(framework), Ok(task)) = (
            FrameworkId::new(&run.framework_id.value),
            TaskId::new(&info.task_id.value),
        ) else {
            return;
        };
        let key = TaskKey {
            framework: framework.clone(),
            task,
        };
        if self.task(&key).is_some() {
            return;
        }
        let used: Vec<_> = [
            Some(&info.resources),
            info.executor.as_ref().map(|executor| &executor.resources),
        ]
        .into_iter()
        .flatten()
        .map(Vec::as_slice)
        .collect();
        let version = run.resource_version.as_ref();
        let refusal = self.unwilling(&framework, version, &used).or_else(|| {
            let message = "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present";
            (info.executor.is_some() == info.command.is_some())
                .then(|| (TaskState::Error, Reason::TaskInvalid, message.to_owned()))
        });
        let executor = info.executor.as_ref().map(|it| it.executor_id.clone());
        let refusal = refusal.or_else(|| {
            let executor = executor.as_ref()?;
            self.ended_before(&framework, executor, run.launch_executor)
        });
        if let Some((state, reason, message)) = refusal {
            if let Some(executor) = executor {
                self.executor_not_started(&framework, &executor, out);
            }
            self.refuse_task(&key, info, state, reason, message, out);
        } else if info.command.is_some() {
            self.run_command(&key, info, out);
        } else {
            self.run_on_executor(&key, info, out);
        }
    }

    /// Why no task that uses this, as the agent had it in this version, is taken now.
    pub(crate) fn unwilling(
        &self,
        framework: &FrameworkId,
        version: Option<&Bytes>,
        used: &[&[Resource]],
    ) -> Option<(TaskState, Reason, String)> {
        let dropped = |reason, message: String| Some((TaskState::Dropped, reason, message));
        if self
            .frameworks
            .get(framework)
            .is_none_or(|known| known.shutting_down)
        {
            let message = "the framework is unknown to the agent, or being removed from it";
            return dropped(Reason::ResourcesUnknown, message.to_owned());
        }
        if self.tasks >= self.config.max_tasks {
            let message = format!(
                "the agent holds as many tasks as it can ({})",
                self.config.max_tasks
            );
            return dropped(Reason::ResourcesUnknown, message);
        }
        if self.drain.is_some() {
            return dropped(Reason::AgentDraining, "the agent is draining".to_owned());
        }
        if self.ending.is_some() || self.link.is_refused() {
            let message = "the agent is shutting down".to_owned();
            return dropped(Reason::AgentDisconnected, message);
        }
        if version.is_some_and(|version| *version != self.operations.version) {
            let message = "Task assumes outdated resource state".to_owned();
            return dropped(Reason::InvalidOffers, message);
        }
        if let Some(lacking) = used.iter().find_map(|resources| self.lacks(resources)) {
            let message = format!("the task uses {lacking}, which the agent does not have");
            return dropped(Reason::ResourcesUnknown, message);
        }
        let holder = self.held_by_one_removed(used)?;
        let message = format!(
            "the task uses a persistent volume that {holder} of a removed framework has until it ends"
        );
        dropped(Reason::ResourcesUnknown, message)
    }

    /// Why nothing is started for an executor that the master believes to run: it has accounted for none.
    pub(crate) fn ended_before(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorIdOnWire,
        launch_executor: Option<bool>,
    ) -> Option<(TaskState, Reason, String)> {
        let id = ExecutorId::new(&executor.value).ok()?;
        let missing = launch_executor == Some(false) && self.executor(framework, &id).is_none();
        let message = || format!("the executor '{id}' has ended before the task came");
        missing.then(|| (TaskState::Dropped, Reason::ExecutorTerminated, message()))
    }

    /// A task that never gets an executor: only its terminal update is left to deliver.
    pub(crate) fn refuse_task(
        &mut self,
        key: &TaskKey,
        info: TaskInfo,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
        out: &mut Vec<Output>,
    ) {
        // Of a framework that is being removed nobody wants to know.
        if self
            .frameworks
            .get(&key.framework)
            .is_some_and(|known| known.shutting_down)
        {
            return;
        }
        self.add_task(key, info, None, false, Membership::default(), out);
        self.update(key, state, Source::Agent, Some(reason), message, out);
    }

    /// What is known of a task that the agent does not hold.
    pub(crate) fn unknown_task(&self, key: &TaskKey) -> TaskInfo {
        TaskInfo {
            task_id: messages::task_id(&key.task),
            agent_id: self
                .id
                .as_ref()
                .map(crate::executor::agent_id)
                .unwrap_or_default(),
            ..Default::default()
        }
    }

    pub(crate) fn add_task(
        &mut self,
        key: &TaskKey,
        info: TaskInfo,
        executor: Option<&ExecutorId>,
        command: bool,
        membership: Membership,
        out: &mut Vec<Output>,
    ) {
        self.use_framework(&key.framework, out);
        let text = |id: &Option<ContainerId>| id.as_ref().map(ToString::to_string);
        self.checkpoint(
            Record::Task(Box::new(TaskRecord {
                framework_id: key.framework.as_str().to_owned(),
                info: Some(info.clone()),
                executor_id: executor
                    .map(|id| id.as_str().to_owned())
                    .unwrap_or_default(),
                group: text(&membership.group).unwrap_or_default(),
                container: text(&membership.container).unwrap_or_default(),
            })),
            out,
        );
        self.insert_task(key, info, executor, command, membership);
    }

    pub(crate) fn insert_task(
        &mut self,
        key: &TaskKey,
        info: TaskInfo,
        executor: Option<&ExecutorId>,
        command: bool,
        membership: Membership,
    ) {
        let now = self.now;
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        if let Some(executor) = executor.and_then(|id| framework.executors.get_mut(id)) {
            executor.used = executor.used.plus(messages::amount(&info.resources));
            executor.live.insert(key.task.clone());
            executor.shares_cgroups = membership.container.is_some() && shares_cgroups(&info);
        }
        if let Some(container) = &membership.container {
            self.nested.insert(container.clone(), key.clone());
        }
        framework.tasks.insert(
            key.task.clone(),
            Task::new(Arc::new(info), executor.cloned(), command, membership, now),
        );
        self.tasks += 1;
    }

    pub(crate) fn add_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        info: ExecutorInfo,
        command: bool,
        builtin: bool,
        out: &mut Vec<Output>,
    ) -> ContainerId {
        let container = self.ids.container();
        self.use_framework(framework, out);
        self.checkpoint(
            Record::Executor(Box::new(ExecutorRecord {
                framework_id: framework.as_str().to_owned(),
                info: Some(info.clone()),
                container: container.to_string(),
                command,
                builtin,
            })),
            out,
        );
        self.insert_executor(
            framework,
            id,
            Executor::new(Arc::new(info), command, builtin, container.clone()),
        );
        container
    }

    pub(crate) fn insert_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        executor: Executor,
    ) {
        self.containers
            .insert(executor.container.clone(), (framework.clone(), id.clone()));
        if let Some(known) = self.frameworks.get_mut(framework) {
            known.executors.insert(id.clone(), executor);
        }
    }

    fn run_command(&mut self, key: &TaskKey, info: TaskInfo, out: &mut Vec<Output>) {
        let Ok(id) = ExecutorId::new(key.task.as_str()) else {
            return;
        };
        if self.executor(&key.framework, &id).is_some() {
            let message = format!("an executor with the id '{id}' of this task is there already");
            self.refuse_task(
                key,
                info,
                TaskState::Dropped,
                Reason::ExecutorTerminated,
                message,
                out,
            );
            return;
        }
        let executor = messages::command_executor(key.framework.as_str(), &info);
        self.add_executor(&key.framework, &id, executor, true, false, out);
        self.add_task(key, info, Some(&id), true, Membership::default(), out);
        self.start_container(&key.framework, &id, Some(key), out);
        self.show_executor(&key.framework, &id, out);
        self.update(key, TaskState::Starting, Source::Executor, None, "", out);
    }

    fn run_on_executor(&mut self, key: &TaskKey, mut info: TaskInfo, out: &mut Vec<Output>) {
        let Some(wanted) = info.executor.as_mut() else {
            return;
        };
        wanted
            .framework_id
            .get_or_insert_with(|| messages::framework_id(&key.framework));
        let Ok(id) = ExecutorId::new(&wanted.executor_id.value) else {
            let message = format!(
                "'executor.executor_id' is no executor id: '{}'",
                wanted.executor_id.value
            );
            self.refuse_task(
                key,
                info,
                TaskState::Error,
                Reason::TaskInvalid,
                message,
                out,
            );
            return;
        };
        match self.executor(&key.framework, &id) {
            None => {
                let executor = ExecutorInfo::clone(wanted);
                self.add_executor(&key.framework, &id, executor, false, false, out);
                self.add_task(key, info, Some(&id), false, Membership::default(), out);
                self.start_container(&key.framework, &id, None, out);
                self.show_executor(&key.framework, &id, out);
                self.show_task(key, out);
                self.deliver(&key.framework, &id, [key.task.clone()], out);
            }
            Some(executor)
                if executor.phase == Phase::Terminating || executor.command || executor.builtin =>
            {
                let message =
                    format!("the executor '{id}' is ending, or takes no tasks of this kind");
                self.refuse_task(
                    key,
                    info,
                    TaskState::Dropped,
                    Reason::ExecutorTerminated,
                    message,
                    out,
                );
            }
            Some(_) => {
                self.add_task(key, info, Some(&id), false, Membership::default(), out);
                self.fit(&key.framework, &id, out);
                self.show_task(key, out);
                self.deliver(&key.framework, &id, [key.task.clone()], out);
            }
        }
    }

    pub(crate) fn start_container(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: Option<&TaskKey>,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.frameworks.get_mut(framework) else {
            return;
        };
        let task = task
            .and_then(|key| known.tasks.get(&key.task))
            .map(|task| Arc::clone(&task.info));
        let Some(executor) = known.executors.get_mut(id) else {
            return;
        };
        executor.limits = executor.wanted(task.as_deref());
        out.push(Output::Launch(Box::new(Launch {
            container: executor.container.clone(),
            framework: Arc::clone(&known.info),
            executor: Arc::clone(&executor.info),
            task,
            group_ports: Vec::new(),
            group_limits: Limits::default(),
            limits: executor.limits,
        })));
    }

    // ---- what became of a launch ------------------------------------------------------------------------------------------------

    pub(crate) fn launched(
        &mut self,
        container: &ContainerId,
        pid: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        if self.nested.contains_key(container) {
            return self.nested_launched(container, pid, out);
        }
        let deadline = self.now + self.config.executor_registration_timeout;
        let Some((framework, id)) = self.containers.get(container).cloned() else {
            return;
        };
        let Some(executor) = self.executor_mut(&framework, &id) else {
            return;
        };
        if executor.started && executor.pid.is_some() {
            return;
        }
        executor.pid = pid;
        let first = !std::mem::replace(&mut executor.started, true);
        if !executor.command {
            if first && executor.phase == Phase::Registering {
                let timer = self
                    .timers
                    .set(deadline, Timer::Executor(container.clone()));
                if let Some(executor) = self.executor_mut(&framework, &id) {
                    executor.timer = Some(timer);
                }
            }
            self.show_executor(&framework, &id, out);
            return;
        }
        if executor.phase == Phase::Registering {
            executor.phase = Phase::Running;
        }
        let Some(task) = executor.live.first().cloned() else {
            return;
        };
        self.show_executor(&framework, &id, out);
        let key = TaskKey { framework, task };
        self.command_started(&key, out);
    }

    /// The command's process runs.
    pub(crate) fn command_started(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        task.queued = false;
        if task.kill.is_some() {
            return;
        }
        let longest = task
            .info
            .max_completion_time
            .as_ref()
            .map(messages::duration);
        self.start_probes(key);
        self.update(key, TaskState::Running, Source::Executor, None, "", out);
        self.limit_completion(key, longest);
    }

    pub(crate) fn limit_completion(&mut self, key: &TaskKey, longest: Option<Duration>) {
        let Some(longest) = longest else { return };
        let timer = self
            .timers
            .set(self.now + longest, Timer::Completion(key.clone()));
        if let Some(task) = self.task_mut(key) {
            task.completion_timer = Some(timer);
        }
    }

    pub(crate) fn launch_failed(
        &mut self,
        container: &ContainerId,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        if self.orphans.swap_remove(container) {
            self.may_exit(out);
            return;
        }
        if self.nested.contains_key(container) {
            return self.nested_failed(container, reason, out);
        }
        let Some((framework, id)) = self.containers.get(container).cloned() else {
            return;
        };
        let Some(executor) = self.executor(&framework, &id) else {
            return;
        };
        if executor.builtin {
            // What its tasks were to share could not be made: each of them fails by itself, and says why.
            return;
        }
        let live: Vec<TaskId> = executor.live.iter().cloned().collect();
        for task in live {
            let key = TaskKey {
                framework: framework.clone(),
                task,
            };
            self.fail_launch(&key, reason, out);
        }
        self.remove_executor(&framework, &id, out);
    }

    /// The terminal update of a task whose container could not be started.
    pub(crate) fn fail_launch(&mut self, key: &TaskKey, reason: &str, out: &mut Vec<Output>) {
        if self.task(key).is_some_and(|task| task.kill.is_some()) {
            self.killed(key, "", out);
            return;
        }
        let why = Some(Reason::ContainerLaunchFailed);
        self.update(key, TaskState::Failed, Source::Agent, why, reason, out);
    }
}
