//! LAUNCH_GROUP: tasks under one executor, all of them or none. The executor counts once, and goes into each task.

use std::collections::BTreeSet;

use tepui_model::{ExecutorId, Resources, TaskId, TaskState};
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::{LaunchGroup, Type};
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::mesos::{ExecutorInfo, TaskGroupInfo};
use tepui_proto::tepui::v1::{self, master_message};

use super::Pool;
use super::launch::inject_role;
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::validate::{group, task};

/// What a valid group needs beside its description.
struct Launch {
    executor: ExecutorId,
    /// What the executor uses, if it is not yet on the agent.
    executor_resources: Option<Resources>,
    /// In the order of the group.
    tasks: Vec<(TaskId, Resources)>,
}

impl Master {
    pub(super) fn launch_group(
        &mut self,
        pool: &mut Pool,
        operation: Operation,
        out: &mut Vec<Output>,
    ) {
        let has_id = operation.id.is_some();
        let Some(asked) = operation.launch_group else {
            let framework = &self.frameworks[pool.framework].id;
            let line = format!(
                "LAUNCH_GROUP of framework {framework} is dropped: Expecting 'launch_group' to be present"
            );
            return log(LogLevel::Warn, line, out);
        };
        let LaunchGroup {
            mut executor,
            mut task_group,
        } = *asked;
        self.complete_group(pool, &mut executor, &mut task_group);
        let checked = if has_id {
            Err("The `id` field cannot be set on LAUNCH_GROUP".to_owned())
        } else {
            self.check_group(pool, &executor, &task_group)
        };
        match checked {
            Ok(launch) => {
                for info in &mut task_group.tasks {
                    info.executor = Some(Box::new(executor.clone()));
                }
                self.start_group(pool, launch, executor, task_group, out);
            }
            Err(error) => self.refuse_group(pool, task_group, &error, out),
        }
    }

    /// 3. Roles, the executor's framework and types of health checks are filled in where they are left out.
    fn complete_group(&self, pool: &Pool, executor: &mut ExecutorInfo, group: &mut TaskGroupInfo) {
        let role = pool.role.as_str();
        let framework = events::framework_id(&self.frameworks[pool.framework].id);
        let complete = |executor: &mut ExecutorInfo| {
            inject_role(&mut executor.resources, role);
            executor
                .framework_id
                .get_or_insert_with(|| framework.clone());
        };
        complete(executor);
        for info in &mut group.tasks {
            inject_role(&mut info.resources, role);
            if let Some(own) = &mut info.executor {
                complete(own);
            }
            task::infer_check_type(info);
        }
    }

    fn check_group(
        &self,
        pool: &Pool,
        info: &ExecutorInfo,
        group: &TaskGroupInfo,
    ) -> Result<Launch, String> {
        let executor = group::check_executor(info, self.frameworks[pool.framework].id.as_str())?;
        let executor_resources = self.executor_uses(pool, &executor, info)?;
        if let Some(resources) = &executor_resources {
            group::check_executor_resources(resources)?;
        }
        if group.tasks.is_empty() {
            return Err("Task group cannot be empty".to_owned());
        }
        let mut ids = BTreeSet::new();
        let mut tasks = Vec::with_capacity(group.tasks.len());
        let mut wanted = executor_resources.clone().unwrap_or_default();
        for task in &group.tasks {
            let invalid =
                |error: String| format!("Task '{}' is invalid: {error}", task.task_id.value);
            let id = self.check_place(pool, task).map_err(invalid)?;
            if !ids.insert(id.clone()) {
                return Err(format!("Task group has the task ID '{id}' more than once"));
            }
            group::check_task(task, info).map_err(invalid)?;
            let resources = self.check_uses(pool, task).map_err(invalid)?;
            wanted += &resources.non_shared();
            // Of a shared volume each task takes a copy of its own, and one in the pool serves all.
            let mut shared = resources.shared();
            shared.subtract_overlap(&wanted);
            wanted += &shared;
            tasks.push((id, resources));
        }
        group::check_cgroups(&group.tasks, self.cgroups_of(pool, &executor))?;
        task::check_resources(&wanted, &pool.role)?;
        let each = executor_resources.iter();
        let each = each.chain(tasks.iter().map(|(_, resources)| resources));
        if !pool.left.contains(&wanted) || !pool.holds_each(each) {
            return Err(format!(
                "Task group uses more resources {wanted} than available {}",
                pool.left
            ));
        }
        Ok(Launch {
            executor,
            executor_resources,
            tasks,
        })
    }

    /// What the tasks that run under an executor said of `share_cgroups`.
    fn cgroups_of(&self, pool: &Pool, executor: &ExecutorId) -> Option<bool> {
        let tasks = self.agents[pool.agent].tasks.iter();
        tasks
            .map(|task| &self.tasks[*task])
            .filter(|task| task.framework == pool.framework && !task.state.is_terminal())
            .map(|task| task.facts.task())
            .find(|task| {
                task.executor_id
                    .as_ref()
                    .is_some_and(|id| id.value == executor.as_str())
            })
            .map(|task| group::shares_cgroups(task.container.as_deref()))
    }

    fn start_group(
        &mut self,
        pool: &mut Pool,
        launch: Launch,
        executor: ExecutorInfo,
        group: TaskGroupInfo,
        out: &mut Vec<Output>,
    ) {
        let (framework, agent) = (pool.framework, pool.agent);
        self.tell_about(framework, agent, out);
        let launch_executor = Some(launch.executor_resources.is_some());
        if let Some(resources) = launch.executor_resources {
            self.start_executor(pool, launch.executor, resources, &executor, out);
        }
        for ((id, resources), info) in launch.tasks.into_iter().zip(&group.tasks) {
            self.stage(pool, id, resources, info, Type::LaunchGroup, out);
        }
        let run = v1::RunTaskGroup {
            framework_id: events::framework_id(&self.frameworks[framework].id),
            executor,
            group,
            launch_executor,
            resource_version: self.agents[agent].resource_version.clone(),
        };
        self.to_agent(
            agent,
            master_message::Message::RunTaskGroup(run.into()),
            out,
        );
    }

    fn refuse_group(
        &mut self,
        pool: &Pool,
        group: TaskGroupInfo,
        error: &str,
        out: &mut Vec<Output>,
    ) {
        for info in group.tasks {
            self.refuse_task(
                pool.framework,
                info.task_id,
                Some(info.agent_id),
                TaskState::Error,
                Reason::TaskGroupInvalid,
                error,
                out,
            );
        }
    }
}
