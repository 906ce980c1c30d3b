//! Operations whose agent or framework comes back, or goes.

use std::collections::BTreeSet;

use tepui_model::FrameworkId;
use tepui_proto::mesos::{self, OperationState};

use super::key_of;
use crate::change::{AgentRemoval, OperationKey};
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, Operation, is_over};

impl Master {
    /// The agent's truth wins: those that it lists are there, and those that it does not list never arrived. (Without an id they may
    /// have: then they are over, and nobody waits for them.)
    pub(crate) fn merge_operations(
        &mut self,
        agent: AgentIx,
        told: Vec<mesos::Operation>,
        out: &mut Vec<Output>,
    ) {
        let mut listed = BTreeSet::new();
        for message in told {
            listed.extend(self.merge_operation(agent, message, out));
        }
        for key in self.operations.on(agent) {
            if !listed.contains(&key) {
                self.drop_operation(key, out);
            }
        }
    }

    fn merge_operation(
        &mut self,
        agent: AgentIx,
        mut message: mesos::Operation,
        out: &mut Vec<Output>,
    ) -> Option<OperationKey> {
        let framework = message
            .framework_id
            .as_ref()
            .and_then(|id| FrameworkId::try_from(id).ok());
        let Some(key) = key_of(&message.uuid) else {
            self.counters.dropped_messages += 1;
            return None;
        };
        match self.operations.get(key) {
            Some(known) if known.agent == agent => {
                if known.message.latest_status != message.latest_status && !is_over(known.state()) {
                    self.set_operation_status(key, message.latest_status, out);
                }
                return Some(key);
            }
            Some(known) => {
                let (here, there) = (&self.agents[agent].id, &self.agents[known.agent].id);
                log(
                    LogLevel::Warn,
                    format!("an operation of agent {there} is told by agent {here} too"),
                    out,
                );
                return None;
            }
            None => {}
        }
        let status = message.latest_status.clone();
        let removed = framework
            .as_ref()
            .is_none_or(|framework| self.completed_frameworks.contains(framework));
        if removed && is_over(status.state()) {
            // Nobody is left to acknowledge it.
            if let Some(uuid) = status.uuid {
                self.acknowledge_to_agent(agent, message.uuid, uuid.value, out);
            }
            return None;
        }
        if self.operations.count_on(agent) >= self.config.max_operations_per_agent {
            self.counters.dropped_messages += 1;
            return None;
        }
        message.agent_id = Some(events::agent_id(&self.agents[agent].id));
        message.statuses.truncate(super::MAX_STATUSES);
        if status.uuid.is_some() && !message.statuses.contains(&status) {
            message.statuses.push(status);
        }
        let operation = Operation {
            framework,
            agent,
            message,
        };
        self.add_operation(key, operation, out);
        Some(key)
    }

    /// It did not reach its agent, and will not. Of one without id that is not known: the agent may have done it.
    fn drop_operation(&mut self, key: OperationKey, out: &mut Vec<Output>) {
        let awaited = self
            .operations
            .get(key)
            .is_some_and(|operation| operation.id().is_some() && !is_over(operation.state()));
        if awaited
            && let Some(status) = self.own_status(
                key,
                OperationState::OperationDropped,
                "The operation did not reach the agent",
            )
        {
            self.set_operation_status(key, status.clone(), out);
            self.tell_operation(key, status, out);
        }
        self.forget_operation(key, out);
    }

    /// Their agent goes out of reach, or for good. If it returns it tells of them again.
    pub(crate) fn operations_end_with(
        &mut self,
        agent: AgentIx,
        cause: AgentRemoval,
        out: &mut Vec<Output>,
    ) {
        let (state, message) = match cause {
            AgentRemoval::Unreachable => {
                (OperationState::OperationUnreachable, "Agent is unreachable")
            }
            AgentRemoval::Gone => (
                OperationState::OperationGoneByOperator,
                "Agent has been marked gone",
            ),
            // Nothing is known of what becomes of them; FAILURE tells that the agent is not there.
            AgentRemoval::Unregistered | AgentRemoval::Replaced | AgentRemoval::Maintenance => {
                for key in self.operations.on(agent) {
                    self.forget_operation(key, out);
                }
                return;
            }
        };
        for key in self.operations.on(agent) {
            let Some(operation) = self.operations.get(key) else {
                continue;
            };
            if !is_over(operation.state())
                && let Some(status) = self.own_status(key, state, message)
            {
                if cause == AgentRemoval::Unreachable {
                    self.remember_unreachable(agent, key);
                }
                self.set_operation_status(key, status.clone(), out);
                self.tell_operation(key, status, out);
            }
            self.forget_operation(key, out);
        }
    }

    fn remember_unreachable(&mut self, agent: AgentIx, key: OperationKey) {
        let id = self.agents[agent].id.clone();
        let kind = self.operations.get(key).map(|operation| operation.kind());
        let row = self.operations.unreachable.entry(id).or_default();
        if let Some(count) = kind.and_then(|kind| row.get_mut(kind as usize)) {
            *count += 1;
        }
    }

    /// The gauges of operations on agents out of reach.
    pub(crate) fn count_unreachable_operations(&mut self) {
        let unreachable = &self.unreachable;
        self.operations
            .unreachable
            .retain(|agent, _| unreachable.contains_key(agent));
        let rows = &mut self.counters.operations.by_type_and_state;
        for (kind, row) in rows.iter_mut().enumerate() {
            row[OperationState::OperationUnreachable as usize] = self
                .operations
                .unreachable
                .values()
                .map(|counts| counts[kind])
                .sum();
        }
    }

    /// Their framework was removed: what is over is acknowledged for it, what is not will be when the agent answers.
    pub(crate) fn orphan_operations_of(&mut self, framework: &FrameworkId, out: &mut Vec<Output>) {
        for key in self.operations.of(framework) {
            let Some(operation) = self.operations.get(key) else {
                continue;
            };
            if !is_over(operation.state()) {
                continue;
            }
            let (agent, uuid) = (operation.agent, operation.message.uuid.clone());
            if let Some(status) = operation.message.latest_status.uuid.clone() {
                self.acknowledge_to_agent(agent, uuid, status.value, out);
            }
            self.forget_operation(key, out);
        }
    }
}
