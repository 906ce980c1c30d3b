//! RECONCILE: what the master knows about tasks, told by updates that need no acknowledgement.

use tepui_model::TaskState;
use tepui_proto::mesos::TaskStatus;
use tepui_proto::mesos::scheduler::call::{Reconcile, reconcile};
use tepui_proto::mesos::task_status::Reason;

use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::{FrameworkIx, TaskIx};

impl Master {
    pub(crate) fn reconcile(
        &mut self,
        framework: FrameworkIx,
        reconcile: &Reconcile,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.reconcile_tasks += 1;
        if !reconcile.tasks.is_empty() {
            for task in &reconcile.tasks {
                self.reconcile_task(framework, task, out);
            }
            return;
        }
        let tasks: Vec<TaskIx> = self.frameworks[framework].tasks.values().copied().collect();
        for task in tasks {
            self.tell_known(framework, task, out);
        }
    }

    /// The rows of the reference's table, in order.
    pub(crate) fn reconcile_task(
        &mut self,
        framework: FrameworkIx,
        asked: &reconcile::Task,
        out: &mut Vec<Output>,
    ) {
        if let Some(task) = self.frameworks[framework]
            .tasks
            .get(asked.task_id.value.as_str())
        {
            return self.tell_known(framework, *task, out);
        }
        let agent = asked.agent_id.as_ref().map(|id| id.value.as_str());
        let (state, message, unreachable_since) = match agent {
            // Its agent may be about to tell.
            Some(agent) if self.recovered.contains_key(agent) => return,
            None if !self.recovered.is_empty() => return,
            Some(agent) if self.agent_ids.contains_key(agent) => {
                (TaskState::Gone, "Task is unknown to the agent", None)
            }
            Some(agent) if self.unreachable.contains_key(agent) => (
                TaskState::Unreachable,
                "Agent is unreachable",
                self.unreachable.get(agent).map(|known| known.since),
            ),
            Some(agent) if self.gone.contains_key(agent) => (
                TaskState::GoneByOperator,
                "Agent has been marked gone",
                None,
            ),
            _ => (TaskState::Unknown, "Task is unknown", None),
        };
        let state = state.told_to(self.frameworks[framework].capabilities.partition_aware);
        let message = format!("Reconciliation: {message}");
        let (id, agent) = (asked.task_id.clone(), asked.agent_id.clone());
        let mut status =
            events::master_status(id, agent, state, Reason::Reconciliation, message, self.now);
        status.unreachable_time = unreachable_since.map(Into::into);
        self.event(framework, events::update(status), out);
    }

    /// The state that the framework was told last; the latest one if it was told none.
    fn tell_known(&mut self, framework: FrameworkIx, task: TaskIx, out: &mut Vec<Output>) {
        let task = &self.tasks[task];
        let facts = &task.facts;
        let state = task.status_update_state.unwrap_or(task.state);
        let (id, agent) = (facts.task_id(), Some(facts.agent_id()));
        let message = "Reconciliation: Latest task state";
        let status =
            events::master_status(id, agent, state, Reason::Reconciliation, message, self.now);
        let last = task.statuses.last().map(|last| last.get(facts));
        let status = TaskStatus {
            executor_id: facts.task().executor_id,
            healthy: last.as_ref().and_then(|last| last.healthy),
            check_status: last.as_ref().and_then(|last| last.check_status),
            container_status: last.and_then(|last| last.container_status),
            ..status
        };
        self.event(framework, events::update(status), out);
    }
}
