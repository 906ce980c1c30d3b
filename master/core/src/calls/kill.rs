//! KILL, by a framework or by an operator.

use tepui_proto::mesos::KillPolicy;
use tepui_proto::mesos::scheduler::call::{Kill, reconcile};
use tepui_proto::tepui::v1::{self, master_message};

use crate::events;
use crate::master::Master;
use crate::orders::capped;
use crate::output::Output;
use crate::state::{FrameworkIx, PendingKill, TaskIx};

impl Master {
    /// A task that is not known is answered as an explicit reconciliation of it. A kill is remembered until the task has ended, and
    /// repeated when its agent returns.
    pub(crate) fn kill(&mut self, framework: FrameworkIx, kill: Kill, out: &mut Vec<Output>) {
        self.counters.messages.kill_task += 1;
        let Kill {
            task_id,
            agent_id,
            kill_policy,
        } = kill;
        let Some(task) = self.frameworks[framework]
            .tasks
            .get(task_id.value.as_str())
            .copied()
        else {
            return self.reconcile_task(framework, &reconcile::Task { task_id, agent_id }, out);
        };
        let agent = &self.agents[self.tasks[task].agent].id;
        if agent_id.is_some_and(|claimed| claimed.value != agent.as_str()) {
            return;
        }
        self.kill_known(task, kill_policy, out);
    }

    pub(crate) fn kill_known(
        &mut self,
        task: TaskIx,
        policy: Option<KillPolicy>,
        out: &mut Vec<Output>,
    ) {
        let known = &mut self.tasks[task];
        if known.state.is_terminal() {
            return;
        }
        known.kill = Some(PendingKill { policy });
        self.send_kill(task, out);
    }

    /// Send (again) the kill that a task has pending.
    pub(crate) fn send_kill(&self, task: TaskIx, out: &mut Vec<Output>) {
        let task = &self.tasks[task];
        let Some(PendingKill { policy }) = &task.kill else {
            return;
        };
        let kill = v1::KillTask {
            framework_id: events::framework_id(&task.facts.framework),
            task_id: task.facts.task_id(),
            kill_policy: capped(*policy, self.agents[task.agent].draining()),
        };
        self.to_agent(task.agent, master_message::Message::KillTask(kill), out);
    }
}
