//! The scheduler events, and the task statuses that a master makes itself.

use std::time::Duration;

use tepui_model::{AgentId, ExecutorId, FrameworkId, TaskState, Time};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::Event;
use tepui_proto::mesos::scheduler::event::{self, Type};
use tepui_proto::mesos::task_status::{Reason, Source};
use tepui_proto::mesos::{MasterInfo, TaskStatus};

fn of(kind: Type) -> Event {
    Event {
        r#type: Some(kind as i32),
        ..Event::default()
    }
}

pub(crate) fn subscribed(
    id: &FrameworkId,
    heartbeat_interval: Duration,
    master: &MasterInfo,
) -> Event {
    let subscribed = event::Subscribed {
        framework_id: framework_id(id),
        heartbeat_interval_seconds: Some(heartbeat_interval.as_secs_f64()),
        master_info: Some(master.clone()),
    };
    Event {
        subscribed: Some(Box::new(subscribed)),
        ..of(Type::Subscribed)
    }
}

pub(crate) fn heartbeat() -> Event {
    of(Type::Heartbeat)
}

pub(crate) fn error(message: String) -> Event {
    Event {
        error: Some(event::Error { message }),
        ..of(Type::Error)
    }
}

pub(crate) fn offers(offers: Vec<mesos::Offer>) -> Event {
    Event {
        offers: Some(event::Offers { offers }),
        ..of(Type::Offers)
    }
}

pub(crate) fn rescind(offer: String) -> Event {
    Event {
        rescind: Some(event::Rescind {
            offer_id: mesos::OfferId { value: offer },
        }),
        ..of(Type::Rescind)
    }
}

pub(crate) fn inverse_offers(inverse_offers: Vec<mesos::InverseOffer>) -> Event {
    Event {
        inverse_offers: Some(event::InverseOffers { inverse_offers }),
        ..of(Type::InverseOffers)
    }
}

pub(crate) fn rescind_inverse(offer: String) -> Event {
    Event {
        rescind_inverse_offer: Some(event::RescindInverseOffer {
            inverse_offer_id: mesos::OfferId { value: offer },
        }),
        ..of(Type::RescindInverseOffer)
    }
}

pub(crate) fn update(status: TaskStatus) -> Event {
    Event {
        update: Some(event::Update { status }),
        ..of(Type::Update)
    }
}

pub(crate) fn operation_status(status: mesos::OperationStatus) -> Event {
    let update = event::UpdateOperationStatus { status };
    Event {
        update_operation_status: Some(Box::new(update)),
        ..of(Type::UpdateOperationStatus)
    }
}

pub(crate) fn message(message: event::Message) -> Event {
    Event {
        message: Some(message),
        ..of(Type::Message)
    }
}

pub(crate) fn agent_failed(agent: &AgentId) -> Event {
    let failure = event::Failure {
        agent_id: Some(agent_id(agent)),
        executor_id: None,
        status: None,
    };
    Event {
        failure: Some(failure),
        ..of(Type::Failure)
    }
}

pub(crate) fn executor_terminated(agent: &AgentId, executor: &ExecutorId, status: i32) -> Event {
    let failure = event::Failure {
        agent_id: Some(agent_id(agent)),
        executor_id: Some(mesos::ExecutorId {
            value: executor.as_str().to_owned(),
        }),
        status: Some(status),
    };
    Event {
        failure: Some(failure),
        ..of(Type::Failure)
    }
}

pub(crate) fn agent_id(id: &AgentId) -> mesos::AgentId {
    mesos::AgentId {
        value: id.as_str().to_owned(),
    }
}

pub(crate) fn framework_id(id: &FrameworkId) -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: id.as_str().to_owned(),
    }
}

/// A status that the master makes: sent once, without uuid, not to be acknowledged.
pub(crate) fn master_status(
    task: mesos::TaskId,
    agent: Option<mesos::AgentId>,
    state: TaskState,
    reason: Reason,
    message: impl Into<String>,
    now: Time,
) -> TaskStatus {
    TaskStatus {
        task_id: task,
        agent_id: agent,
        state: state.number(),
        source: Some(Source::Master as i32),
        reason: Some(reason as i32),
        message: Some(message.into()),
        timestamp: Some(now.as_secs_f64()),
        ..TaskStatus::default()
    }
}
