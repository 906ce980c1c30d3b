//! MESSAGE and SHUTDOWN: passed on to agents, best effort.

use tepui_proto::mesos::scheduler::call::{Message, Shutdown};
use tepui_proto::tepui::v1::{self, master_message};

use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::FrameworkIx;

impl Master {
    pub(crate) fn framework_message(
        &mut self,
        framework: FrameworkIx,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.framework_to_executor += 1;
        let Message {
            agent_id,
            executor_id,
            data,
        } = message;
        let Some(agent) = self.connected_agent(&agent_id.value) else {
            self.counters.invalid_framework_to_executor_messages += 1;
            return;
        };
        self.counters.valid_framework_to_executor_messages += 1;
        self.tell_about(framework, agent, out);
        let framework_id = events::framework_id(&self.frameworks[framework].id);
        let message = v1::FrameworkMessage {
            framework_id,
            executor_id,
            data,
        };
        self.to_agent(
            agent,
            master_message::Message::FrameworkMessage(message),
            out,
        );
    }

    pub(crate) fn shutdown_executor(
        &mut self,
        framework: FrameworkIx,
        shutdown: Shutdown,
        out: &mut Vec<Output>,
    ) {
        let Shutdown {
            executor_id,
            agent_id,
        } = shutdown;
        let Some(agent) = self.connected_agent(&agent_id.value) else {
            self.counters.dropped_messages += 1;
            return;
        };
        self.tell_about(framework, agent, out);
        let framework_id = events::framework_id(&self.frameworks[framework].id);
        let shutdown = v1::ShutdownExecutor {
            framework_id,
            executor_id,
        };
        self.to_agent(
            agent,
            master_message::Message::ShutdownExecutor(shutdown),
            out,
        );
    }
}
