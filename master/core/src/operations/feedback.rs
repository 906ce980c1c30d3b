//! What agents answer to operations, what frameworks acknowledge, and what they ask.

use std::time::Duration;

use tepui_proto::mesos::scheduler::call::{
    AcknowledgeOperationStatus, ReconcileOperations, reconcile_operations,
};
use tepui_proto::mesos::{OperationState, OperationStatus};
use tepui_proto::tepui::v1::OperationUpdate;

use super::key_of;
use crate::change::OperationKey;
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, FrameworkIx, is_over};

/// How long the framework of an operation has to come to this leader, counted from its agent's return. After that the master
/// acknowledges for it.
const ADOPTION: Duration = Duration::from_secs(600);

impl Master {
    /// The agent has done an operation, or has not.
    pub(crate) fn operation_update(
        &mut self,
        agent: AgentIx,
        update: OperationUpdate,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.operation_status_update += 1;
        let key = key_of(&update.operation_uuid).filter(|key| {
            self.operations
                .get(*key)
                .is_some_and(|operation| operation.agent == agent)
        });
        let Some(key) = key else {
            self.counters.invalid_operation_status_updates += 1;
            return self.acknowledge_for_nobody(agent, update, out);
        };
        let OperationUpdate {
            status,
            latest_status,
            operation_uuid,
            ..
        } = update;
        let told =
            [&status, &latest_status].map(|status| OperationState::try_from(status.state).ok());
        if !told
            .into_iter()
            .all(|state| state.is_some_and(is_from_agent))
        {
            self.counters.invalid_operation_status_updates += 1;
            return;
        }
        self.counters.valid_operation_status_updates += 1;
        if !is_over(
            self.operations
                .get(key)
                .map_or(latest_status.state(), |known| known.state()),
        ) {
            self.log_failure(key, &latest_status, out);
            self.set_operation_status(key, latest_status, out);
        }
        self.tell_operation(key, status.clone(), out);
        if !self.is_awaited(key) {
            let over = is_over(status.state());
            if let Some(uuid) = status.uuid {
                self.acknowledge_to_agent(agent, operation_uuid, uuid.value, out);
            }
            if over {
                self.forget_operation(key, out);
            }
        }
    }

    /// Whether somebody is going to acknowledge: the framework that asked for feedback, as long as it may be there.
    fn is_awaited(&self, key: OperationKey) -> bool {
        let Some(operation) = self.operations.get(key) else {
            return false;
        };
        let (Some(_), Some(framework)) = (operation.id(), &operation.framework) else {
            return false;
        };
        if self.framework_ids.contains_key(framework) {
            return true;
        }
        let agent = &self.agents[operation.agent];
        let since = agent.reregistered_at.unwrap_or(agent.registered_at);
        !self.completed_frameworks.contains(framework) && self.now < since + ADOPTION
    }

    /// A status of an operation that is not known: of a framework that was removed, or acknowledged already. Of a framework that
    /// may come to this leader yet it is left alone; the agent will repeat it.
    fn acknowledge_for_nobody(
        &self,
        agent: AgentIx,
        update: OperationUpdate,
        out: &mut Vec<Output>,
    ) {
        let removed = update
            .framework_id
            .as_ref()
            .is_none_or(|id| self.completed_frameworks.contains(id.value.as_str()));
        if let Some(uuid) = update.status.uuid.filter(|_| removed) {
            self.acknowledge_to_agent(agent, update.operation_uuid, uuid.value, out);
        }
    }

    /// What the master did on the assumption that all goes well is undone by the agent's total; people want to know of it.
    fn log_failure(&self, key: OperationKey, status: &OperationStatus, out: &mut Vec<Output>) {
        let Some(operation) = self.operations.get(key) else {
            return;
        };
        if status.state() != OperationState::OperationFinished {
            log(
                LogLevel::Warn,
                format!(
                    "{} on agent {} is {}: {}",
                    operation.kind().as_str_name(),
                    self.agents[operation.agent].id,
                    status.state().as_str_name(),
                    status
                        .message
                        .as_deref()
                        .unwrap_or("the agent says no more")
                ),
                out,
            );
        }
    }

    /// ACKNOWLEDGE_OPERATION_STATUS. Dropped if the agent is not there, which will tell of the operation again, or if there is no such
    /// status. Ids may be used twice; the uuid says which operation is meant.
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework: FrameworkIx,
        acknowledge: &AcknowledgeOperationStatus,
        out: &mut Vec<Output>,
    ) {
        self.counters
            .messages
            .operation_status_update_acknowledgement += 1;
        let agent = acknowledge
            .agent_id
            .as_ref()
            .and_then(|id| self.connected_agent(&id.value));
        let key = agent.and_then(|agent| {
            self.operations
                .of(&self.frameworks[framework].id)
                .into_iter()
                .find(|key| {
                    self.operations.get(*key).is_some_and(|operation| {
                        let has_uuid = |status: &OperationStatus| {
                            status
                                .uuid
                                .as_ref()
                                .is_some_and(|uuid| uuid.value == acknowledge.uuid)
                        };
                        operation.agent == agent
                            && operation.id() == Some(&acknowledge.operation_id)
                            && operation.message.statuses.iter().any(has_uuid)
                    })
                })
        });
        let (Some(agent), Some(key)) = (agent, key) else {
            self.counters
                .invalid_operation_status_update_acknowledgements += 1;
            return;
        };
        self.counters.valid_operation_status_update_acknowledgements += 1;
        self.acknowledge_to_agent(agent, super::wire_uuid(key), acknowledge.uuid.clone(), out);
        let ended = self.operations.get(key).is_some_and(|operation| {
            let latest = &operation.message.latest_status;
            is_over(latest.state())
                && latest
                    .uuid
                    .as_ref()
                    .is_some_and(|uuid| uuid.value == acknowledge.uuid)
        });
        if ended {
            self.forget_operation(key, out);
        }
    }

    /// RECONCILE_OPERATIONS: each is answered by an event that needs no acknowledgement.
    pub(crate) fn reconcile_operations(
        &mut self,
        framework: FrameworkIx,
        asked: &ReconcileOperations,
        out: &mut Vec<Output>,
    ) {
        self.counters.messages.reconcile_operations += 1;
        if !asked.operations.is_empty() {
            for asked in &asked.operations {
                self.reconcile_operation(framework, asked, out);
            }
            return;
        }
        for key in self.operations.of(&self.frameworks[framework].id) {
            if let Some(status) = self.last_status(key) {
                self.tell_operation(key, status, out);
            }
        }
    }

    fn last_status(&self, key: OperationKey) -> Option<OperationStatus> {
        Some(OperationStatus {
            uuid: None,
            ..self.operations.get(key)?.message.latest_status.clone()
        })
    }

    /// The rows of the reference's table, in order. Of several operations with one id the newest counts.
    fn reconcile_operation(
        &mut self,
        framework: FrameworkIx,
        asked: &reconcile_operations::Operation,
        out: &mut Vec<Output>,
    ) {
        let known = self
            .operations
            .of(&self.frameworks[framework].id)
            .into_iter()
            .rfind(|key| {
                self.operations
                    .get(*key)
                    .is_some_and(|operation| operation.id() == Some(&asked.operation_id))
            });
        let status = match known.and_then(|key| self.last_status(key)) {
            Some(status) => status,
            None => OperationStatus {
                operation_id: Some(asked.operation_id.clone()),
                state: self.state_of_unknown(asked) as i32,
                message: Some("Reconciliation".to_owned()),
                agent_id: asked.agent_id.clone(),
                resource_provider_id: asked.resource_provider_id.clone(),
                ..OperationStatus::default()
            },
        };
        self.event(framework, events::operation_status(status), out);
    }

    fn state_of_unknown(&self, asked: &reconcile_operations::Operation) -> OperationState {
        match asked.agent_id.as_ref().map(|id| id.value.as_str()) {
            Some(agent) if self.recovered.contains_key(agent) => {
                OperationState::OperationRecovering
            }
            None if !self.recovered.is_empty() => OperationState::OperationRecovering,
            Some(agent) if self.unreachable.contains_key(agent) => {
                OperationState::OperationUnreachable
            }
            Some(agent) if self.gone.contains_key(agent) => OperationState::OperationGoneByOperator,
            _ => OperationState::OperationUnknown,
        }
    }
}

/// The states that an agent may tell.
fn is_from_agent(state: OperationState) -> bool {
    matches!(
        state,
        OperationState::OperationPending
            | OperationState::OperationFinished
            | OperationState::OperationFailed
            | OperationState::OperationError
            | OperationState::OperationDropped
    )
}
