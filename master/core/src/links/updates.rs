//! Task updates: taken in, and passed on if the framework is there.

use tepui_model::TaskState;
use tepui_proto::tepui::v1::{self, TaskUpdate, master_message};

use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::AgentIx;

impl Master {
    /// I3 is the agent's work: it sends an update until it is acknowledged. So one for a framework that is not there, or not known
    /// yet, is simply not passed on.
    pub(super) fn task_update(
        &mut self,
        agent: AgentIx,
        update: TaskUpdate,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.status_update += 1;
        let TaskUpdate {
            framework_id,
            executor_id,
            mut status,
            latest_state,
        } = update;
        let states = TaskState::from_number(status.state).zip(TaskState::from_number(latest_state));
        let (Some((state, latest)), Some(framework)) = (
            states,
            self.framework_ids.get(framework_id.value.as_str()).copied(),
        ) else {
            self.counters.invalid_status_updates += 1;
            if self
                .completed_frameworks
                .contains(framework_id.value.as_str())
            {
                // It did not hear of the removal.
                let shutdown = v1::ShutdownFramework { framework_id };
                self.to_agent(
                    agent,
                    master_message::Message::ShutdownFramework(shutdown),
                    out,
                );
            }
            return;
        };
        self.counters.valid_status_updates += 1;
        if status.executor_id.is_none() {
            status.executor_id = executor_id;
        }
        let heard = self.frameworks[framework].stream().is_some();
        let task = self.frameworks[framework]
            .tasks
            .get(status.task_id.value.as_str())
            .copied();
        // An update of a task that the master does not know (any more) is passed on all the same: it has to be acknowledged.
        if let Some(task) = task.filter(|task| self.tasks[*task].agent == agent) {
            if heard {
                let known = &mut self.tasks[task];
                known.status_update_state = Some(state);
                known.status_update_uuid = status
                    .uuid
                    .as_ref()
                    .and_then(|uuid| uuid[..].try_into().ok());
            }
            let data = status.data.take();
            let remembered = status.clone();
            status.data = data;
            self.apply_status(task, remembered, latest, out);
        }
        if heard {
            self.event(framework, events::update(status), out);
        }
    }
}
