//! LAUNCH: each task stands alone. One that is valid takes its resources out of the pool, is STAGING, and goes to its agent.

use std::sync::Arc;

use smallvec::SmallVec;
use tepui_model::{ExecutorId, Resources, TaskId, TaskState};
use tepui_proto::convert::resources;
use tepui_proto::mesos;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::resource::AllocationInfo;
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::mesos::{ExecutorInfo, TaskInfo};
use tepui_proto::tepui::v1::{self, master_message};

use super::Pool;
use crate::change::{Change, ExecutorSnapshot, TaskKey, TaskList};
use crate::events;
use crate::facts::TaskFacts;
use crate::master::Master;
use crate::output::Output;
use crate::state::{AgentIx, Executor, FrameworkIx, Task};
use crate::validate::{executor, task};

/// What a valid task needs beside its description.
struct Launch {
    id: TaskId,
    resources: Resources,
    /// A custom executor, and what it uses if it is not yet on the agent.
    executor: Option<(ExecutorId, Option<Resources>)>,
}

impl Master {
    pub(super) fn launch(&mut self, pool: &mut Pool, operation: Operation, out: &mut Vec<Output>) {
        let has_id = operation.id.is_some();
        for mut info in operation
            .launch
            .into_iter()
            .flat_map(|launch| launch.task_infos)
        {
            // 3. The role of the offer is what resources without one are allocated to.
            inject_role(&mut info.resources, pool.role.as_str());
            if let Some(executor) = &mut info.executor {
                inject_role(&mut executor.resources, pool.role.as_str());
                if executor.framework_id.is_none() {
                    executor.framework_id =
                        Some(events::framework_id(&self.frameworks[pool.framework].id));
                }
            }
            task::infer_check_type(&mut info);
            let checked = if has_id {
                Err("The `id` field cannot be set on LAUNCH".to_owned())
            } else {
                self.check_task(pool, &info)
            };
            match checked {
                Ok(launch) => self.start(pool, launch, info, out),
                Err(error) => {
                    let (id, agent) = (info.task_id, Some(info.agent_id));
                    self.refuse_task(
                        pool.framework,
                        id,
                        agent,
                        TaskState::Error,
                        Reason::TaskInvalid,
                        &error,
                        out,
                    );
                }
            }
        }
    }

    /// Its id is free, and its agent that of the offers.
    pub(super) fn check_place(&self, pool: &Pool, info: &TaskInfo) -> Result<TaskId, String> {
        let id = TaskId::new(&info.task_id.value)
            .map_err(|error| format!("Task ID is invalid: {error}"))?;
        let framework = &self.frameworks[pool.framework];
        let agent = &self.agents[pool.agent];
        if framework.tasks.contains_key(&id) {
            return Err(format!("Task has duplicate ID: {id}"));
        }
        if framework.unreachable.contains_key(&id) {
            return Err(format!("Task reuses the ID of an unreachable task: {id}"));
        }
        if info.agent_id.value != agent.id.as_str() {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                info.agent_id.value, agent.id
            ));
        }
        Ok(id)
    }

    /// What a task asks for, which makes sense and is of the offers' role.
    pub(super) fn check_uses(&self, pool: &Pool, info: &TaskInfo) -> Result<Resources, String> {
        task::check_limits(info, &self.agents[pool.agent].capabilities)?;
        if info.resources.is_empty() {
            return Err("Task uses no resources".to_owned());
        }
        let resources = resources::from_wire(&info.resources)
            .map_err(|error| format!("Task uses invalid resources: {error}"))?;
        if resources.is_empty() {
            return Err("Task uses no resources".to_owned());
        }
        task::check_resources(&resources, &pool.role)?;
        Ok(resources)
    }

    fn check_task(&self, pool: &Pool, info: &TaskInfo) -> Result<Launch, String> {
        let id = self.check_place(pool, info)?;
        task::check(info)?;
        let resources = self.check_uses(pool, info)?;
        let executor = info
            .executor
            .as_deref()
            .map(|executor| self.check_executor(pool, executor))
            .transpose()?;
        let (fits, wanted) = match &executor {
            Some((_, Some(more))) => {
                let wanted = resources.clone() + more;
                task::check_mixture(&wanted)?;
                let fits = pool.left.contains(&wanted) && pool.holds_each([more, &resources]);
                (fits, Some(wanted))
            }
            _ => (pool.left.contains(&resources), None),
        };
        if !fits {
            let wanted = wanted.as_ref().unwrap_or(&resources);
            return Err(format!(
                "Task uses more resources {wanted} than available {}",
                pool.left
            ));
        }
        Ok(Launch {
            id,
            resources,
            executor,
        })
    }

    fn check_executor(
        &self,
        pool: &Pool,
        info: &ExecutorInfo,
    ) -> Result<(ExecutorId, Option<Resources>), String> {
        let id = executor::check(info, self.frameworks[pool.framework].id.as_str())?;
        let more = self.executor_uses(pool, &id, info)?;
        Ok((id, more))
    }

    /// What an executor needs if it is not on the agent yet. If it is, it must be the same.
    pub(super) fn executor_uses(
        &self,
        pool: &Pool,
        id: &ExecutorId,
        info: &ExecutorInfo,
    ) -> Result<Option<Resources>, String> {
        if let Some(running) = self.agents[pool.agent]
            .executors
            .get(&(pool.framework, id.clone()))
        {
            if *running.info != *info {
                return Err(format!(
                    "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{id}'"
                ));
            }
            return Ok(None);
        }
        let resources = resources::from_wire(&info.resources)
            .map_err(|error| format!("Executor uses invalid resources: {error}"))?;
        task::check_resources(&resources, &pool.role)?;
        if resources.lots().any(|lot| lot.kind().is_shared()) {
            return Err("Executor resources may not be shared".to_owned());
        }
        Ok(Some(resources))
    }

    fn start(&mut self, pool: &mut Pool, launch: Launch, info: TaskInfo, out: &mut Vec<Output>) {
        let Launch {
            id,
            resources,
            executor,
        } = launch;
        let (framework, agent) = (pool.framework, pool.agent);
        self.tell_about(framework, agent, out);
        let launch_executor = executor.as_ref().map(|(_, more)| more.is_some());
        if let (Some((id, Some(resources))), Some(info)) = (executor, info.executor.as_deref()) {
            self.start_executor(pool, id, resources, info, out);
        }
        self.stage(pool, id, resources, &info, Type::Launch, out);
        let run = v1::RunTask {
            framework_id: events::framework_id(&self.frameworks[framework].id),
            task: info,
            launch_executor,
            resource_version: self.agents[agent].resource_version.clone(),
        };
        self.to_agent(agent, master_message::Message::RunTask(run), out);
    }

    pub(super) fn start_executor(
        &mut self,
        pool: &mut Pool,
        id: ExecutorId,
        resources: Resources,
        info: &ExecutorInfo,
        out: &mut Vec<Output>,
    ) {
        self.take(pool, &resources);
        let executor = Executor {
            info: Arc::new(info.clone()),
            resources,
            role: pool.role.clone(),
        };
        self.add_executor(pool.framework, pool.agent, id, executor, out);
    }

    /// Into the tables, as STAGING, with what it uses.
    pub(super) fn stage(
        &mut self,
        pool: &mut Pool,
        id: TaskId,
        resources: Resources,
        info: &TaskInfo,
        how: Type,
        out: &mut Vec<Output>,
    ) {
        let (framework, agent) = (pool.framework, pool.agent);
        self.take(pool, &resources);
        let task = self.describe(framework, info);
        let task = Task {
            key: TaskKey(self.next_task),
            framework,
            agent,
            slot: 0,
            facts: Arc::new(TaskFacts::new(
                id.clone(),
                self.frameworks[framework].id.clone(),
                self.agents[agent].id.clone(),
                self.alike.share(info.resources.clone()),
                task,
            )),
            state: TaskState::Staging,
            statuses: SmallVec::new(),
            status_update_state: None,
            status_update_uuid: None,
            role: pool.role.clone(),
            resources,
            kill: None,
        };
        self.next_task += 1;
        let task = self.add_task(id, task);
        pool.launched += 1;
        self.counters.tasks_launched += 1;
        out.push(Output::Change(Change::TaskAdded(Arc::new(
            self.tasks[task].snapshot(TaskList::Active),
        ))));
        if let Some(count) = self.frameworks[framework]
            .counters
            .operations
            .get_mut(how as usize)
        {
            *count += 1;
        }
    }

    /// From offered to used. Of a shared volume the pool keeps its copy, for the next task: this one gets another.
    fn take(&mut self, pool: &mut Pool, resources: &Resources) {
        let shared = resources.shared();
        let rest = (!shared.is_empty()).then(|| resources.non_shared());
        let own = rest.as_ref().unwrap_or(resources);
        let taken = pool.left.try_subtract(own);
        assert!(
            taken.is_ok() && pool.left.contains(&shared),
            "I1: the check above has found {resources} in the pool, not in {}",
            pool.left
        );
        self.agents[pool.agent].allocated += own;
        if !shared.is_empty() {
            self.hold(pool.agent, pool.framework, &pool.role, &shared);
        }
        self.touch_agent(pool.agent);
    }

    pub(crate) fn add_executor(
        &mut self,
        framework: FrameworkIx,
        agent: AgentIx,
        id: ExecutorId,
        executor: Executor,
        out: &mut Vec<Output>,
    ) {
        let snapshot = ExecutorSnapshot {
            framework: self.frameworks[framework].id.clone(),
            agent: self.agents[agent].id.clone(),
            info: Arc::clone(&executor.info),
        };
        self.presence(framework, agent);
        self.agents[agent]
            .executors
            .insert((framework, id), executor);
        out.push(Output::Change(Change::ExecutorAdded(Arc::new(snapshot))));
    }

    /// The part of a task that operators see for ever.
    fn describe(&self, framework: FrameworkIx, info: &TaskInfo) -> mesos::Task {
        let framework = &self.frameworks[framework];
        let command = info.command.as_ref().or_else(|| {
            info.executor
                .as_ref()
                .and_then(|executor| executor.command.as_ref())
        });
        let user = command
            .and_then(|command| command.user.clone())
            .or_else(|| Some(framework.info.user.clone()));
        mesos::Task {
            name: info.name.clone(),
            executor_id: info
                .executor
                .as_ref()
                .map(|executor| executor.executor_id.clone()),
            state: TaskState::Staging.number(),
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            container: info.container.clone(),
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            user: user.filter(|user| !user.is_empty()),
            limits: info.limits.clone(),
            ..mesos::Task::default()
        }
    }
}

pub(super) fn inject_role(resources: &mut [mesos::Resource], role: &str) {
    for resource in resources {
        if resource.allocation_info.is_none() {
            resource.allocation_info = Some(AllocationInfo {
                role: Some(role.to_owned()),
            });
        }
    }
}
