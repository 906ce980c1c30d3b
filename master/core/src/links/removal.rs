//! Agents that go: out of reach, unregistered, or marked gone. What was on them ends, or is remembered as unreachable.

use tepui_model::{AgentId, TaskState, Time};
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::tepui::v1::{Refused, master_message};

use crate::change::{AgentRemoval, Change};
use crate::events;
use crate::master::{Master, Timer, log};
use crate::output::{LogLevel, Output};
use crate::registry::RegistryOperation;
use crate::state::{AgentIx, TaskIx, Transition};
use crate::stores::Waiting;

impl Master {
    pub(super) fn unregister(&mut self, agent: AgentIx, out: &mut Vec<Output>) {
        self.counters.messages.unregister_slave += 1;
        self.start_removal(agent, AgentRemoval::Unregistered, "it unregistered", out);
    }

    /// End its link, and have the registry forget it; then it is out of the tables.
    pub(crate) fn start_removal(
        &mut self,
        agent: AgentIx,
        cause: AgentRemoval,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        let id = self.agents[agent].id.clone();
        if let Some(link) = self.agents[agent].link {
            self.close_link(link, why.to_owned(), out);
        }
        // What is being stored of it already ends it, or it will time out.
        if !self.in_transition(&id) {
            self.begin(&id, Transition::Removing);
            self.store(
                RegistryOperation::Remove { agent: id.clone() },
                Waiting::Removal { id, cause },
                out,
            );
        }
    }

    pub(crate) fn became_gone(&mut self, id: &AgentId, at: Time, out: &mut Vec<Output>) {
        self.unreachable.remove(id);
        self.gone.insert(id.clone(), at);
        if let Some(link) = self
            .agent_ids
            .get(id)
            .and_then(|agent| self.agents[*agent].link)
        {
            let reason = "An operator has marked this agent gone".to_owned();
            out.push(crate::master::to_link(
                link,
                master_message::Message::Refused(Refused {
                    reason,
                    permanent: true,
                }),
            ));
            self.close_link(link, "it was marked gone".to_owned(), out);
        }
        if self.recovered.swap_remove(id).is_some() {
            self.counters.slave_removals += 1;
            self.tell_agent_failed(id, out);
            out.push(Output::Change(Change::AgentRemoved {
                id: id.clone(),
                cause: AgentRemoval::Gone,
            }));
        } else {
            self.remove_agent(id, AgentRemoval::Gone, at, out);
        }
        self.prune(out);
    }

    /// Out of the tables, with everything on it.
    pub(crate) fn remove_agent(
        &mut self,
        id: &AgentId,
        cause: AgentRemoval,
        at: Time,
        out: &mut Vec<Output>,
    ) {
        let Some(agent) = self.agent_ids.get(id).copied() else {
            return;
        };
        if let Some(link) = self.agents[agent].link {
            self.close_link(link, "its agent was removed".to_owned(), out);
        }
        for timer in [Timer::Ping(agent), Timer::AgentTimeout(agent)] {
            self.timers.cancel(timer);
        }
        self.rescind_offers_on(agent, out);
        self.end_talks_on(agent, out);
        self.cancel_removal(id);
        self.drain_candidates.remove(id);
        self.forget_address(agent);
        for task in self.agents[agent].tasks.clone() {
            self.end_of_agent(task, cause, at, out);
        }
        self.operations_end_with(agent, cause, out);
        let executors: Vec<_> = self.agents[agent].executors.keys().cloned().collect();
        for (framework, executor) in executors {
            self.remove_executor(agent, framework, &executor, out);
        }
        for framework in &self.agents[agent].frameworks {
            self.frameworks[*framework].agents.swap_remove(&agent);
        }
        self.allocation_agent_removed(agent);
        self.agent_ids.remove(id);
        self.dirty_agents.retain(|dirty| *dirty != agent);
        self.agents.remove(agent);
        self.counters.slaves_disconnected -= 1;
        self.counters.slave_removals += 1;
        match cause {
            AgentRemoval::Unreachable => self.counters.slave_removals_unhealthy += 1,
            AgentRemoval::Replaced => self.counters.slave_removals_registered += 1,
            AgentRemoval::Unregistered | AgentRemoval::Gone | AgentRemoval::Maintenance => {
                self.counters.slave_removals_unregistered += 1
            }
        }
        log(
            LogLevel::Info,
            format!("agent {id} is removed: {cause:?}"),
            out,
        );
        self.tell_agent_failed(id, out);
        out.push(Output::Change(Change::AgentRemoved {
            id: id.clone(),
            cause,
        }));
    }

    /// What a task becomes when its agent goes.
    fn end_of_agent(&mut self, task: TaskIx, cause: AgentRemoval, at: Time, out: &mut Vec<Output>) {
        let known = &self.tasks[task];
        let framework = known.framework;
        if known.state.is_terminal() {
            // Ended, but not acknowledged: an agent that returns will tell of it again.
            return self.complete_task(task, out);
        }
        let aware = self.frameworks[framework].capabilities.partition_aware;
        let (state, reason, message) = match cause {
            AgentRemoval::Unreachable => (
                TaskState::Unreachable.told_to(aware),
                Reason::AgentRemoved,
                "Agent is unreachable",
            ),
            AgentRemoval::Unregistered => (
                TaskState::Lost,
                Reason::AgentRemoved,
                "Agent has unregistered",
            ),
            AgentRemoval::Replaced => (
                TaskState::Lost,
                Reason::AgentRemoved,
                "Another agent has registered at the agent's address",
            ),
            AgentRemoval::Maintenance => (
                TaskState::Lost,
                Reason::AgentRemoved,
                "Agent is down for maintenance",
            ),
            AgentRemoval::Gone if aware => (
                TaskState::GoneByOperator,
                Reason::AgentRemovedByOperator,
                "Agent has been marked gone",
            ),
            AgentRemoval::Gone => (
                TaskState::Lost,
                Reason::AgentRemoved,
                "Agent has been marked gone",
            ),
        };
        let facts = &known.facts;
        let (id, agent) = (facts.task_id(), Some(facts.agent_id()));
        let mut status = events::master_status(id, agent, state, reason, message, self.now);
        if cause == AgentRemoval::Unreachable {
            status.unreachable_time = Some(at.into());
        }
        self.apply_status(task, status.clone(), state, out);
        if cause == AgentRemoval::Unreachable {
            self.lose_task(task, out);
        } else {
            self.complete_task(task, out);
        }
        self.event(framework, events::update(status), out);
    }

    /// FAILURE goes to every connected framework, even those with nothing there.
    pub(crate) fn tell_agent_failed(&mut self, id: &AgentId, out: &mut Vec<Output>) {
        for framework in self.frameworks.handles() {
            self.event(framework, events::agent_failed(id), out);
        }
    }
}
