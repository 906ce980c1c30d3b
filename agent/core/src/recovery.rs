//! A new life from the records of the last one, and what the containerizer found.

use std::sync::Arc;

use tepui_model::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, TaskState, Time};
use tepui_proto::mesos::v1::FrameworkInfo;
use tepui_proto::mesos::v1::task_status::{Reason, Source};

use crate::agent::{Agent, Framework, Timer};
use crate::change::{Change, FrameworkState, Phase};
use crate::config::Config;
use crate::executor::{End, Executor};
use crate::group::Membership;
use crate::input::{ContainerFact, ContainerState};
use crate::messages;
use crate::output::Output;
use crate::record::{
    Acknowledged, Entry, ExecutorGone, ExecutorRecord, Record, TaskRecord, UpdateRecord,
};
use crate::task::{Cause, Kill, TaskKey};
use crate::updates::Update;

impl Agent {
    /// Takes up where the records end. Containers that ran on stay; those that ended, or never started, lead to the updates that
    /// their tasks would have got; those that no record knows are destroyed.
    #[must_use]
    pub fn recover(
        config: Config,
        records: impl IntoIterator<Item = Entry>,
        facts: impl IntoIterator<Item = ContainerFact>,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Self {
        let mut agent = Agent::new(config, now);
        for record in records.into_iter().filter_map(|entry| entry.record) {
            agent.replay(record);
        }
        // The configuration may have grown since.
        if agent.operated
            && let Some(total) = crate::operations::rebase(
                &crate::operations::configured(&agent.config.info.resources),
                &agent.total,
            )
        {
            agent.total = total;
        }
        agent.show_agent(out);
        agent.show_everything(out);
        let mut facts: indexmap::IndexMap<ContainerId, ContainerState> = facts
            .into_iter()
            .map(|fact| (fact.container, fact.state))
            .collect();
        let executors: Vec<_> = agent
            .containers
            .iter()
            .map(|(container, owner)| (container.clone(), owner.clone()))
            .collect();
        for (container, (framework, executor)) in executors {
            let state = facts.swap_remove(&container);
            // It runs nothing; its tasks' containers follow.
            if let Some(played) = agent
                .executor_mut(&framework, &executor)
                .filter(|executor| executor.builtin)
            {
                played.limits = played.wanted(None);
                match state {
                    Some(ContainerState::Running { pid }) => {
                        played.pid = pid;
                        if played.shares_cgroups {
                            // It may have had more, which is offered to others now.
                            out.push(Output::Resize {
                                container: container.clone(),
                                limits: played.limits,
                            });
                        }
                    }
                    Some(ContainerState::Exited(exit)) => {
                        agent.holder_ended(&framework, &executor, &exit, out);
                    }
                    // Its tasks share nothing, or have not come so far.
                    Some(ContainerState::LaunchFailed { .. } | ContainerState::Lost) | None => {}
                }
                continue;
            }
            agent.recover_executor(&framework, &executor, &container, state, out);
        }
        let nested: Vec<ContainerId> = agent.nested.keys().cloned().collect();
        for container in &nested {
            let ran = matches!(
                facts.get(container),
                Some(ContainerState::Running { .. } | ContainerState::Exited(_))
            );
            if let Some(key) = agent.nested.get(container).filter(|_| ran).cloned()
                && let Some(task) = agent.task_mut(&key)
            {
                task.queued = false;
            }
        }
        for container in nested {
            let state = facts.swap_remove(&container);
            agent.recover_nested(&container, state, out);
        }
        agent.end_orphaned_tasks(out);
        agent.settle_groups(out);
        agent.recover_operations(out);
        agent.resume_drain(out);
        for (container, state) in facts {
            if matches!(state, ContainerState::Running { .. }) {
                agent.orphans.insert(container.clone());
                out.push(Output::Destroy { container });
            } else {
                out.push(Output::Forget { container });
            }
        }
        agent
    }

    /// The containers that ought to be there, going by the records.
    #[must_use]
    pub fn containers_of(records: &[Entry]) -> Vec<ContainerId> {
        let mut containers: indexmap::IndexMap<(&str, &str), &str> = indexmap::IndexMap::new();
        let mut nested: indexmap::IndexMap<&str, &str> = indexmap::IndexMap::new();
        for record in records.iter().filter_map(|entry| entry.record.as_ref()) {
            match record {
                Record::Executor(record) => {
                    let executor = record
                        .info
                        .as_ref()
                        .map_or("", |info| &info.executor_id.value);
                    containers.insert((&record.framework_id, executor), &record.container);
                }
                Record::ExecutorGone(gone) => {
                    containers
                        .shift_remove(&(gone.framework_id.as_str(), gone.executor_id.as_str()));
                }
                // Also of tasks that are over: a container that is gone is found to be gone.
                Record::Task(record) if !record.container.is_empty() => {
                    nested.insert(&record.container, &record.framework_id);
                }
                Record::FrameworkGone(id) => {
                    containers.retain(|(framework, _), _| framework != id);
                    nested.retain(|_, framework| framework != id);
                }
                _ => {}
            }
        }
        containers
            .values()
            .copied()
            .chain(nested.into_keys())
            .filter_map(|container| container.parse().ok())
            .collect()
    }

    /// Records that mean the same as all that were ever written.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Entry> {
        let text =
            |id: &Option<ContainerId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut records = Vec::new();
        records.push(Record::Epoch(self.epoch));
        records.extend(Self::configuration(&self.config.info).record);
        records.extend(
            self.id
                .as_ref()
                .map(|id| Record::Identity(id.as_str().to_owned())),
        );
        if self.drain.is_some() {
            records.push(Record::Draining(self.drain_record()));
        }
        self.operation_records(&mut records);
        for (id, framework) in self
            .frameworks
            .iter()
            .filter(|(_, framework)| framework.recorded)
        {
            let framework_id = id.as_str().to_owned();
            records.push(Record::Framework(Box::new(FrameworkInfo {
                id: Some(messages::framework_id(id)),
                ..FrameworkInfo::clone(&framework.info)
            })));
            for (executor_id, executor) in &framework.executors {
                records.push(Record::Executor(Box::new(ExecutorRecord {
                    framework_id: framework_id.clone(),
                    info: Some((*executor.info).clone()),
                    container: executor.container.to_string(),
                    command: executor.command,
                    builtin: executor.builtin,
                })));
                if executor.phase == Phase::Terminating && !executor.command {
                    let executor_id = executor_id.as_str().to_owned();
                    records.push(Record::Shutdown(ExecutorGone {
                        framework_id: framework_id.clone(),
                        executor_id,
                    }));
                }
            }
            for (task_id, task) in &framework.tasks {
                records.push(Record::Task(Box::new(TaskRecord {
                    framework_id: framework_id.clone(),
                    info: Some((*task.info).clone()),
                    executor_id: task
                        .executor
                        .as_ref()
                        .map(|id| id.as_str().to_owned())
                        .unwrap_or_default(),
                    group: text(&task.group),
                    container: text(&task.container),
                })));
                let update = |status: &Arc<_>, from_executor, acknowledged| {
                    let status = Some(tepui_proto::mesos::v1::TaskStatus::clone(status));
                    Record::Update(Box::new(UpdateRecord {
                        framework_id: framework_id.clone(),
                        status,
                        from_executor,
                        acknowledged,
                    }))
                };
                let pending = |uuid: &Option<bytes::Bytes>| {
                    task.updates
                        .iter()
                        .any(|update| Some(&update.uuid) == uuid.as_ref())
                };
                records.extend(
                    task.statuses
                        .iter()
                        .filter(|status| !pending(&status.uuid))
                        .map(|status| update(status, false, true)),
                );
                records.extend(
                    task.updates
                        .iter()
                        .map(|pending| update(&pending.status, pending.from_executor, false)),
                );
                if let Some(kill) = &task.kill {
                    let key = TaskKey {
                        framework: id.clone(),
                        task: task_id.clone(),
                    };
                    records.push(Record::Kill(crate::kill::kill_record(&key, kill)));
                }
            }
        }
        records
            .into_iter()
            .map(|record| Entry {
                record: Some(record),
            })
            .collect()
    }

    // ---- replaying --------------------------------------------------------------------------------------------------------------

    /// Takes in one record. One that makes no sense (it names what is not there) changes nothing.
    fn replay(&mut self, record: Record) {
        match record {
            Record::Identity(id) => {
                self.id = AgentId::new(id).ok();
            }
            Record::Epoch(epoch) => self.epoch = self.epoch.max(epoch),
            // Judged before the start: see `reconfiguration`.
            Record::Configured(_) => {}
            Record::Drain(config) => self.drain = (config != Default::default()).then_some(config),
            Record::Framework(info) => {
                let Some(Ok(id)) = info.id.as_ref().map(|id| FrameworkId::new(&id.value)) else {
                    return;
                };
                let info = Arc::new(*info);
                let framework = self
                    .frameworks
                    .entry(id)
                    .or_insert_with(|| Framework::new(Arc::clone(&info)));
                framework.info = info;
                framework.recorded = true;
            }
            Record::FrameworkGone(id) => {
                if let Some(framework) = FrameworkId::new(id)
                    .ok()
                    .and_then(|id| self.frameworks.swap_remove(&id))
                {
                    self.tasks -= framework.tasks.len();
                    for executor in framework.executors.values() {
                        self.containers.swap_remove(&executor.container);
                    }
                }
            }
            Record::Executor(record) => {
                let Some(info) = record.info else { return };
                let (Ok(framework), Ok(id)) = (
                    FrameworkId::new(record.framework_id),
                    ExecutorId::new(&info.executor_id.value),
                ) else {
                    return;
                };
                if let Ok(container) = record.container.parse::<ContainerId>()
                    && self.frameworks.contains_key(&framework)
                {
                    self.insert_executor(
                        &framework,
                        &id,
                        Executor::new(Arc::new(info), record.command, record.builtin, container),
                    );
                }
            }
            Record::ExecutorGone(gone) => {
                let (Ok(framework), Ok(id)) = (
                    FrameworkId::new(gone.framework_id),
                    ExecutorId::new(gone.executor_id),
                ) else {
                    return;
                };
                if let Some(executor) = self
                    .frameworks
                    .get_mut(&framework)
                    .and_then(|known| known.executors.swap_remove(&id))
                {
                    self.containers.swap_remove(&executor.container);
                }
            }
            Record::Shutdown(gone) => {
                let (Ok(framework), Ok(id)) = (
                    FrameworkId::new(gone.framework_id),
                    ExecutorId::new(gone.executor_id),
                ) else {
                    return;
                };
                if let Some(executor) = self.executor_mut(&framework, &id) {
                    executor.phase = Phase::Terminating;
                    executor.end = Some(End::Shutdown);
                }
            }
            Record::Task(record) => self.replay_task(*record),
            Record::Update(record) => self.replay_update(*record),
            Record::Acknowledged(record) => self.replay_acknowledged(&record),
            Record::Draining(record) => self.replay_drain(&record),
            Record::Total(record) => self.replay_total(&record.total),
            Record::Operation(record) => self.replay_operation(*record),
            Record::OperationOver(uuid) => self.replay_operation_over(&uuid),
            Record::Kill(record) => {
                let Some(key) = key(&record.framework_id, &record.task_id) else {
                    return;
                };
                if let Some(task) = self.task_mut(&key) {
                    task.kill = Some(Kill {
                        deadline: Time::from_nanos(record.deadline),
                        cause: Cause::from_number(record.cause),
                        policy: record.policy,
                        during_launch: record.during_launch,
                    });
                }
            }
        }
    }

    fn replay_task(&mut self, record: TaskRecord) {
        let Some(info) = record.info else { return };
        let Some(key) = key(&record.framework_id, &info.task_id.value) else {
            return;
        };
        if self.task(&key).is_some() || !self.frameworks.contains_key(&key.framework) {
            return;
        }
        let executor = ExecutorId::new(record.executor_id).ok();
        let command = executor
            .as_ref()
            .and_then(|id| self.executor(&key.framework, id))
            .is_some_and(|executor| executor.command);
        // A terminal command task's executor may be gone, but only a task that came with a command ever was one.
        // (and not in a group).
        let membership = Membership {
            group: record.group.parse().ok(),
            container: record.container.parse().ok(),
        };
        let alone = membership.group.is_none();
        let command = command || (executor.is_some() && info.command.is_some() && alone);
        self.insert_task(&key, info, executor.as_ref(), command, membership);
    }

    fn replay_update(&mut self, record: UpdateRecord) {
        let Some(status) = record.status.map(Arc::new) else {
            return;
        };
        let Some(key) = key(&record.framework_id, &status.task_id.value) else {
            return;
        };
        let Some(state) = TaskState::from_number(status.state) else {
            return;
        };
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        if task.state.is_terminal() {
            return;
        }
        task.remember(&status, state);
        let uuid = status.uuid.clone().unwrap_or_default();
        let from_executor = record.from_executor;
        task.updates.push(Update {
            status,
            state,
            uuid: uuid.clone(),
            sequence: 0,
            durable: true,
            from_executor,
        });
        if record.acknowledged {
            task.updates.acknowledge(&uuid);
            task.forwarded = Some((state, uuid));
        }
        let over = record.acknowledged && state.is_terminal();
        if state.is_terminal()
            && let Some(executor) = task
                .executor
                .as_ref()
                .and_then(|id| framework.executors.get_mut(id))
            && executor.live.swap_remove(&key.task)
        {
            executor.used = executor.used.minus(messages::amount(&task.info.resources));
        }
        if over && framework.tasks.swap_remove(&key.task).is_some() {
            self.tasks -= 1;
        }
    }

    fn replay_acknowledged(&mut self, record: &Acknowledged) {
        let Some(key) = key(&record.framework_id, &record.task_id) else {
            return;
        };
        let Some(task) = self.task_mut(&key) else {
            return;
        };
        let Some(taken) = task.updates.acknowledge(&record.uuid) else {
            return;
        };
        task.forwarded = Some((taken.state, taken.uuid));
        if taken.state.is_terminal()
            && let Some(framework) = self.frameworks.get_mut(&key.framework)
            && framework.tasks.swap_remove(&key.task).is_some()
        {
            self.tasks -= 1;
        }
    }

    fn show_everything(&mut self, out: &mut Vec<Output>) {
        for (id, framework) in &mut self.frameworks {
            if framework.is_idle() {
                continue;
            }
            framework.shown = true;
            let state = FrameworkState {
                id: id.clone(),
                info: Arc::clone(&framework.info),
            };
            out.push(Output::Changed(Change::Framework(Arc::new(state))));
        }
        for (id, framework) in &self.frameworks {
            for executor in framework.executors.keys() {
                self.show_executor(id, executor, out);
            }
            for task in framework.tasks.keys() {
                self.show_task(
                    &TaskKey {
                        framework: id.clone(),
                        task: task.clone(),
                    },
                    out,
                );
            }
        }
        self.show_operations(out);
    }

    // ---- meeting the containers -------------------------------------------------------------------------------------------------

    fn recover_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        container: &ContainerId,
        state: Option<ContainerState>,
        out: &mut Vec<Output>,
    ) {
        match state {
            Some(ContainerState::Running { pid }) => {
                self.ran_on(framework, id, container, pid, out)
            }
            Some(ContainerState::Exited(exit)) => {
                self.mark_started(framework, id);
                self.container_exited(container, &exit, out);
            }
            Some(ContainerState::LaunchFailed { reason }) => {
                self.launch_failed(container, &reason, out)
            }
            // Nothing is known of it: it was never started, or everything that knew of it is gone.
            Some(ContainerState::Lost) | None => {
                self.never_started(framework, id, out);
                self.container_exited(container, &crate::Exit::default(), out);
            }
        }
    }

    fn mark_started(&mut self, framework: &FrameworkId, id: &ExecutorId) {
        let Some(known) = self.frameworks.get_mut(framework) else {
            return;
        };
        let Some(executor) = known.executors.get_mut(id) else {
            return;
        };
        executor.started = true;
        executor.used_once = true;
        for task in &executor.live {
            if let Some(task) = known.tasks.get_mut(task) {
                task.queued = false;
            }
        }
    }

    fn ran_on(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        container: &ContainerId,
        pid: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        self.mark_started(framework, id);
        let again = self.now + self.config.executor_reregistration_timeout;
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        executor.pid = pid;
        executor.limits = executor.wanted(None);
        if !executor.command {
            executor.recovered = true;
            let phase = executor.phase;
            if phase == Phase::Terminating {
                self.destroy(container, out);
                return;
            }
            let timer = self.timers.set(again, Timer::Executor(container.clone()));
            if let Some(executor) = self.executor_mut(framework, id) {
                executor.timer = Some(timer);
            }
            for key in self.live_of(framework, id) {
                self.show_task(&key, out);
            }
            return;
        }
        executor.phase = Phase::Running;
        let Some(task) = executor.live.first().cloned() else {
            self.destroy(container, out);
            return;
        };
        self.show_executor(framework, id, out);
        let key = TaskKey {
            framework: framework.clone(),
            task,
        };
        self.command_ran_on(&key, id, container, out);
    }

    pub(crate) fn command_ran_on(
        &mut self,
        key: &TaskKey,
        id: &ExecutorId,
        container: &ContainerId,
        out: &mut Vec<Output>,
    ) {
        let Some(task) = self.task(key) else { return };
        let state = task.state;
        if let Some(kill) = task.kill.clone() {
            if let Some(executor) = self.executor_mut(&key.framework, id)
                && executor.command
            {
                executor.phase = Phase::Terminating;
                executor.end = Some(End::Shutdown);
            }
            let at_once = kill.during_launch || kill.cause == Cause::Preempted;
            if at_once && self.nested.contains_key(container) {
                self.destroy_nested(key, out);
            } else if at_once {
                self.destroy(container, out);
            } else {
                // The first signal may not have left; a second does no harm.
                out.push(Output::Signal {
                    container: container.clone(),
                    signal: 15,
                });
                self.await_grace(key, &kill);
            }
            return;
        }
        if matches!(state, TaskState::Staging | TaskState::Starting) {
            self.command_started(key, out);
            return;
        }
        let since = task
            .statuses
            .iter()
            .find(|status| status.state == TaskState::Running.number())
            .and_then(|status| status.timestamp);
        let ran = since.map_or(std::time::Duration::ZERO, |since| {
            messages::seconds(self.now.as_secs_f64() - since)
        });
        let left = task
            .info
            .max_completion_time
            .as_ref()
            .map(|longest| messages::duration(longest).saturating_sub(ran));
        self.start_probes(key);
        self.limit_completion(key, left);
    }

    /// Tasks whose executor was noted as gone, or never noted, before their terminal update was.
    fn end_orphaned_tasks(&mut self, out: &mut Vec<Output>) {
        let orphaned = |known: &Framework, task: &crate::task::Task| {
            !task.state.is_terminal()
                && task
                    .executor
                    .as_ref()
                    .is_none_or(|id| !known.executors.contains_key(id))
        };
        let keys: Vec<TaskKey> = self
            .frameworks
            .iter()
            .flat_map(|(id, known)| {
                known
                    .tasks
                    .iter()
                    .map(move |(task, held)| (id, known, task, held))
            })
            .filter(|(_, known, _, held)| orphaned(known, held))
            .map(|(id, _, task, _)| TaskKey {
                framework: id.clone(),
                task: task.clone(),
            })
            .collect();
        for key in keys {
            let message = "the agent restarted before it had noted the task's end";
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

    /// Tasks of a container that is not there and that never got beyond its start.
    fn never_started(&mut self, framework: &FrameworkId, id: &ExecutorId, out: &mut Vec<Output>) {
        let Some(executor) = self.executor(framework, id) else {
            return;
        };
        let live: Vec<TaskId> = executor.live.iter().cloned().collect();
        for task in live {
            let key = TaskKey {
                framework: framework.clone(),
                task,
            };
            let waits = |state| matches!(state, TaskState::Staging | TaskState::Starting);
            if self
                .task(&key)
                .is_some_and(|task| waits(task.state) && task.kill.is_none())
            {
                self.never_ran(&key, out);
            }
        }
    }

    /// The terminal update of a task that never got beyond its start.
    pub(crate) fn never_ran(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let message = "the agent restarted while it launched the task";
        let reason = Some(Reason::AgentRestarted);
        self.update(key, TaskState::Dropped, Source::Agent, reason, message, out);
    }
}

fn key(framework: &str, task: &str) -> Option<TaskKey> {
    Some(TaskKey {
        framework: FrameworkId::new(framework).ok()?,
        task: TaskId::new(task).ok()?,
    })
}
