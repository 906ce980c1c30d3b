//! ACKNOWLEDGE: the agent may forget an update, and a task whose end was acknowledged is over.

use tepui_proto::mesos::scheduler::call::Acknowledge;
use tepui_proto::tepui::v1::{self, master_message};

use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::FrameworkIx;

impl Master {
    /// Dropped if the agent is not there (it will send the update again), or if this master never forwarded an update of the task.
    pub(crate) fn acknowledge(
        &mut self,
        framework: FrameworkIx,
        acknowledge: Acknowledge,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.status_update_acknowledgement += 1;
        let Acknowledge {
            agent_id,
            task_id,
            uuid,
        } = acknowledge;
        let agent = self
            .agent_ids
            .get(agent_id.value.as_str())
            .copied()
            .filter(|agent| self.agents[*agent].link.is_some());
        let Some(agent) = agent else {
            self.counters.invalid_status_update_acknowledgements += 1;
            return;
        };
        let task = self.frameworks[framework]
            .tasks
            .get(task_id.value.as_str())
            .copied();
        // A task of this id may by now run elsewhere; then the update was that of an older one.
        if let Some(task) = task.filter(|task| self.tasks[*task].agent == agent) {
            let known = &self.tasks[task];
            let Some(state) = known.status_update_state else {
                self.counters.invalid_status_update_acknowledgements += 1;
                return;
            };
            if state.is_terminal()
                && known
                    .status_update_uuid
                    .is_some_and(|known| uuid[..] == known)
            {
                self.complete_task(task, out);
            }
        }
        self.counters.valid_status_update_acknowledgements += 1;
        let message = v1::AcknowledgeTask {
            framework_id: events::framework_id(&self.frameworks[framework].id),
            task_id,
            uuid,
        };
        self.to_agent(
            agent,
            master_message::Message::AcknowledgeTask(message),
            out,
        );
    }

    /// The agent of this id, if it is registered and its link is up.
    pub(crate) fn connected_agent(&self, id: &str) -> Option<crate::state::AgentIx> {
        let agent = *self.agent_ids.get(id)?;
        self.agents[agent].link.is_some().then_some(agent)
    }
}
