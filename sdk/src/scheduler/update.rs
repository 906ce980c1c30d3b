//! Status updates that acknowledge themselves.

use std::sync::Arc;

use bytes::Bytes;
use tepui_model::{AgentId, TaskId, TaskState};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::{Call, call};

use super::outbox::Outbox;

/// Acknowledges once, at the latest when it is dropped.
#[derive(Debug)]
struct Acknowledgement {
    call: Option<Box<Call>>,
    outbox: Arc<Outbox>,
}

impl Acknowledgement {
    fn send(&mut self) {
        if let Some(call) = self.call.take() {
            self.outbox.push_answer(*call);
        }
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        self.send();
    }
}

/// A task's new state. It is acknowledged when it is dropped, or by [`Update::acknowledge`]; never twice. To take the responsibility for
/// it before that (write it down, say), keep it until then: the agent repeats what was not acknowledged, also after a crash of this process.
#[derive(Debug)]
pub struct Update {
    task_id: TaskId,
    agent_id: Option<AgentId>,
    state: TaskState,
    status: Box<mesos::TaskStatus>,
    acknowledgement: Acknowledgement,
}

impl Update {
    pub(super) fn new(
        task_id: TaskId,
        agent_id: Option<AgentId>,
        state: TaskState,
        status: mesos::TaskStatus,
        outbox: &Arc<Outbox>,
    ) -> Self {
        let call = match (&status.uuid, &status.agent_id) {
            (Some(uuid), Some(agent)) => {
                let acknowledge = call::Acknowledge {
                    agent_id: agent.clone(),
                    task_id: status.task_id.clone(),
                    uuid: uuid.clone(),
                };
                Some(Box::new(acknowledge_call(acknowledge)))
            }
            _ => None,
        };
        Self {
            task_id,
            agent_id,
            state,
            status: Box::new(status),
            acknowledgement: Acknowledgement {
                call,
                outbox: Arc::clone(outbox),
            },
        }
    }

    /// Which task.
    pub fn task_id(&self) -> &TaskId {
        &self.task_id
    }

    /// Where it runs or ran, where that is known.
    pub fn agent_id(&self) -> Option<&AgentId> {
        self.agent_id.as_ref()
    }

    /// Its state.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// For people; often empty.
    pub fn message(&self) -> &str {
        self.status.message.as_deref().unwrap_or_default()
    }

    /// Why, if a reason was given.
    pub fn reason(&self) -> Option<mesos::task_status::Reason> {
        self.status
            .reason
            .and_then(|reason| mesos::task_status::Reason::try_from(reason).ok())
    }

    /// The result of its health check, if it has one that ran.
    pub fn healthy(&self) -> Option<bool> {
        self.status.healthy
    }

    /// What the executor sent along.
    pub fn data(&self) -> Option<&Bytes> {
        self.status.data.as_ref()
    }

    /// All of it, as it came.
    pub fn status(&self) -> &mesos::TaskStatus {
        &self.status
    }

    /// Acknowledges now, and gives the status away.
    pub fn acknowledge(mut self) -> mesos::TaskStatus {
        self.acknowledgement.send();
        *self.status
    }

    /// Gives the status away and does not acknowledge: the agent will send it again, which
    /// [`Driver::call`](super::Driver::call) with ACKNOWLEDGE ends.
    pub fn leave(mut self) -> mesos::TaskStatus {
        self.acknowledgement.call = None;
        *self.status
    }
}

pub(super) fn acknowledge_call(acknowledge: call::Acknowledge) -> Call {
    Call {
        r#type: Some(call::Type::Acknowledge.into()),
        acknowledge: Some(acknowledge),
        ..Call::default()
    }
}

/// What became of an operation that had an id. Acknowledged when it is dropped.
#[derive(Debug)]
pub struct OperationUpdate {
    status: Box<mesos::OperationStatus>,
    _acknowledgement: Acknowledgement,
}

impl OperationUpdate {
    pub(super) fn new(status: mesos::OperationStatus, outbox: &Arc<Outbox>) -> Self {
        let call = match (&status.uuid, &status.operation_id) {
            (Some(uuid), Some(operation)) => Some(Box::new(Call {
                r#type: Some(call::Type::AcknowledgeOperationStatus.into()),
                acknowledge_operation_status: Some(call::AcknowledgeOperationStatus {
                    agent_id: status.agent_id.clone(),
                    resource_provider_id: status.resource_provider_id.clone(),
                    uuid: uuid.value.clone(),
                    operation_id: operation.clone(),
                }),
                ..Call::default()
            })),
            _ => None,
        };
        Self {
            status: Box::new(status),
            _acknowledgement: Acknowledgement {
                call,
                outbox: Arc::clone(outbox),
            },
        }
    }

    /// The id that [`Offer::track`](super::Offer::track) gave to it.
    pub fn id(&self) -> &str {
        self.status
            .operation_id
            .as_ref()
            .map_or("", |id| id.value.as_str())
    }

    /// What became of it.
    pub fn state(&self) -> mesos::OperationState {
        self.status.state()
    }

    /// For people; often empty.
    pub fn message(&self) -> &str {
        self.status.message.as_deref().unwrap_or_default()
    }

    /// All of it, as it came.
    pub fn status(&self) -> &mesos::OperationStatus {
        &self.status
    }
}
