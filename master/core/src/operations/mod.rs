//! Operations on agents' resources: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME.
//!
//! They are *speculative*: once the rules allow one (`validate::operation`), the master applies it to the agent's total as it knows
//! it, in the same step in which it is sent (`apply`, `operator`). The agent then answers (`feedback`). If it could not do it, or
//! never got it, its own total wins, as with tasks: it comes with the answer, or with its next registration.
//!
//! An operation without an id is over when the agent has answered; one with an id when its framework has acknowledged the answer.
//! Until then it stands in the tables (`state::Operations`), which are bounded per framework and per agent.

mod apply;
mod feedback;
mod operator;
mod returns;

use std::sync::Arc;

use tepui_proto::mesos::offer::Operation as Info;
use tepui_proto::mesos::{self, OperationState, OperationStatus};
use tepui_proto::tepui::v1::{self, master_message};

use crate::change::{Change, OperationKey, OperationSnapshot};
use crate::events;
use crate::master::Master;
use crate::output::Output;
use crate::state::{AgentIx, FrameworkIx, Operation, is_over};
use crate::validate::operation::Conversion;

pub(crate) fn wire_uuid(key: OperationKey) -> mesos::Uuid {
    mesos::Uuid {
        value: bytes::Bytes::copy_from_slice(&key.0),
    }
}

fn key_of(uuid: &mesos::Uuid) -> Option<OperationKey> {
    uuid.value[..].try_into().ok().map(OperationKey)
}

/// Which states are counted while they last; the others are counted when they are reached.
fn is_gauge(state: OperationState) -> bool {
    !is_over(state)
}

impl Master {
    /// Whether one more operation has a place in the tables, and its result on the agent.
    fn check_room(
        &self,
        agent: AgentIx,
        framework: Option<FrameworkIx>,
        conversion: &Conversion,
    ) -> Result<(), String> {
        let limit = self.config.max_kinds_per_agent;
        let known = &self.agents[agent];
        let total = &known.total;
        let after = conversion.after.unallocated();
        // An agent may have returned with less than its tasks use, if it has not heard of what was done there before them. What they have of
        // what there is once would be offered while they have it.
        let mut apart = after.clone();
        apart.subtract_items(&known.allocated);
        if apart != after {
            return Err(format!(
                "Tasks that agent {} may not have heard of use some of {after}: try again when they have ended",
                known.id
            ));
        }
        let new = after
            .lots()
            .filter(|made| {
                made.kind().is_whole() || total.lots().all(|there| there.kind() != made.kind())
            })
            .count();
        if new > 0 && total.lots().len() + new > limit {
            return Err(format!(
                "This master keeps at most {limit} kinds of resources (by reservation and volume) on one agent"
            ));
        }
        if let Some(framework) = framework {
            let limit = self.config.max_operations_per_framework;
            if self.operations.count_of(&self.frameworks[framework].id) >= limit {
                return Err(format!(
                    "This master keeps at most {limit} operations of one framework that are not over and acknowledged"
                ));
            }
        }
        let limit = self.config.max_operations_per_agent;
        if self.operations.count_on(agent) >= limit {
            return Err(format!(
                "This master keeps at most {limit} operations on one agent that are not over and acknowledged"
            ));
        }
        Ok(())
    }

    /// Put an operation that has taken effect here into the tables, and send it to its agent.
    fn begin_operation(
        &mut self,
        agent: AgentIx,
        framework: Option<FrameworkIx>,
        info: Info,
        out: &mut Vec<Output>,
    ) {
        let key = self.operations.new_key();
        let framework_id = framework.map(|framework| self.frameworks[framework].id.clone());
        let agent_id = events::agent_id(&self.agents[agent].id);
        if let Some(framework) = framework {
            self.tell_about(framework, agent, out);
            if let Some(count) = self.frameworks[framework]
                .counters
                .operations
                .get_mut(info.r#type() as usize)
            {
                *count += 1;
            }
        }
        let apply = v1::ApplyOperation {
            framework_id: framework_id.as_ref().map(events::framework_id),
            info: info.clone(),
            operation_uuid: wire_uuid(key),
            resource_version: self.agents[agent].resource_version.clone(),
        };
        self.to_agent(
            agent,
            master_message::Message::ApplyOperation(apply.into()),
            out,
        );
        let message = mesos::Operation {
            framework_id: framework_id.as_ref().map(events::framework_id),
            agent_id: Some(agent_id.clone()),
            latest_status: OperationStatus {
                operation_id: info.id.clone(),
                state: OperationState::OperationPending as i32,
                agent_id: Some(agent_id),
                ..OperationStatus::default()
            },
            statuses: Vec::new(),
            uuid: wire_uuid(key),
            info,
        };
        let operation = Operation {
            framework: framework_id,
            agent,
            message,
        };
        self.add_operation(key, operation, out);
    }

    fn add_operation(&mut self, key: OperationKey, operation: Operation, out: &mut Vec<Output>) {
        let (kind, state) = (operation.kind(), operation.state());
        if is_gauge(state)
            && let Some(count) = self.counters.operations.place(kind, state)
        {
            *count += 1;
        }
        self.operations.insert(key, operation);
        self.publish_operation(key, out);
    }

    fn publish_operation(&self, key: OperationKey, out: &mut Vec<Output>) {
        let Some(operation) = self.operations.get(key) else {
            return;
        };
        out.push(Output::Change(Change::OperationUpdated(Arc::new(
            OperationSnapshot {
                key,
                framework: operation.framework.clone(),
                agent: self.agents[operation.agent].id.clone(),
                operation: operation.message.clone(),
            },
        ))));
    }

    /// Its latest status is this now.
    fn set_operation_status(
        &mut self,
        key: OperationKey,
        status: OperationStatus,
        out: &mut Vec<Output>,
    ) {
        let Some(operation) = self.operations.get_mut(key) else {
            return;
        };
        let (kind, before, after) = (operation.kind(), operation.state(), status.state());
        let known = &mut operation.message;
        // The agent repeats itself until it is acknowledged.
        if known.statuses.last() != Some(&status) {
            known.statuses.push(status.clone());
            if known.statuses.len() > MAX_STATUSES {
                known.statuses.remove(0);
            }
        }
        known.latest_status = status;
        if before != after {
            if is_gauge(before)
                && let Some(count) = self.counters.operations.place(kind, before)
            {
                *count -= 1;
            }
            if let Some(count) = self.counters.operations.place(kind, after) {
                *count += 1;
            }
        }
        self.publish_operation(key, out);
    }

    /// Out of the tables.
    fn forget_operation(&mut self, key: OperationKey, out: &mut Vec<Output>) {
        let Some(operation) = self.operations.remove(key) else {
            return;
        };
        let (kind, state) = (operation.kind(), operation.state());
        if is_gauge(state)
            && let Some(count) = self.counters.operations.place(kind, state)
        {
            *count -= 1;
        }
        out.push(Output::Change(Change::OperationForgotten(key)));
        self.something_left(operation.agent);
    }

    /// A status of the master's own: sent once, without uuid, not to be acknowledged.
    fn own_status(
        &self,
        key: OperationKey,
        state: OperationState,
        message: &str,
    ) -> Option<OperationStatus> {
        let operation = self.operations.get(key)?;
        Some(OperationStatus {
            operation_id: operation.id().cloned(),
            state: state as i32,
            message: Some(message.to_owned()),
            agent_id: operation.message.agent_id.clone(),
            ..OperationStatus::default()
        })
    }

    /// Tell the framework, if it asked for feedback and is there.
    fn tell_operation(
        &mut self,
        key: OperationKey,
        status: OperationStatus,
        out: &mut Vec<Output>,
    ) {
        let framework = self
            .operations
            .get(key)
            .filter(|operation| operation.id().is_some())
            .and_then(|operation| operation.framework.as_ref())
            .and_then(|framework| self.framework_ids.get(framework).copied());
        if let Some(framework) = framework {
            self.event(framework, events::operation_status(status), out);
        }
    }

    /// The agent need not repeat this status any more.
    fn acknowledge_to_agent(
        &self,
        agent: AgentIx,
        uuid: mesos::Uuid,
        status: bytes::Bytes,
        out: &mut Vec<Output>,
    ) {
        let acknowledge = v1::AcknowledgeOperation {
            operation_uuid: uuid,
            status_uuid: status,
        };
        self.to_agent(
            agent,
            master_message::Message::AcknowledgeOperation(acknowledge),
            out,
        );
    }
}

/// The longest history of one operation.
const MAX_STATUSES: usize = 8;
