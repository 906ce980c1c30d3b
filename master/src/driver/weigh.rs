//! About how many bytes a message takes in memory while it waits: cheap where messages are small by nature, exact where their content
//! was chosen by somebody else. On the wire it is less.

use prost::Message;
use tepui_proto::mesos::{self, scheduler};
use tepui_proto::tepui::v1::{MasterMessage, master_message};

/// The short texts of a message: ids, host names, a sentence.
const TEXTS: usize = 128;
/// An event without what it refers to.
const EVENT: usize = size_of::<scheduler::Event>() + TEXTS;
/// A resource with its name and roles.
const RESOURCE: usize = size_of::<mesos::Resource>() + TEXTS;
/// An attribute with its name and value.
const ATTRIBUTE: usize = size_of::<mesos::Attribute>() + TEXTS;
/// A message to an agent without what it refers to.
const SMALL: usize = size_of::<MasterMessage>() + TEXTS;
/// The id of a task, and of what it belongs to.
const TASK: usize = 128;

/// The weight of an event.
pub(super) fn event(event: &scheduler::Event) -> usize {
    if let Some(offers) = &event.offers {
        return EVENT + offers.offers.iter().map(offer).sum::<usize>();
    }
    if let Some(update) = &event.update {
        let status = &update.status;
        let told = status.message.as_ref().map_or(0, String::len)
            + status.data.as_ref().map_or(0, |data| data.len())
            + status.labels.as_ref().map_or(0, Message::encoded_len);
        return EVENT + told;
    }
    EVENT
        + event
            .message
            .as_ref()
            .map_or(0, |message| message.data.len())
        + event
            .update_operation_status
            .as_ref()
            .map_or(0, |update| RESOURCE + update.encoded_len())
}

fn offer(offer: &mesos::Offer) -> usize {
    size_of::<mesos::Offer>()
        + 2 * TEXTS
        + offer.resources.len() * RESOURCE
        + offer.attributes.len() * ATTRIBUTE
}

/// The weight of a message to an agent.
pub(super) fn message(message: &MasterMessage) -> usize {
    match &message.message {
        Some(master_message::Message::RunTask(run)) => SMALL + run.encoded_len(),
        Some(master_message::Message::RunTaskGroup(run)) => SMALL + run.encoded_len(),
        Some(master_message::Message::Framework(framework)) => SMALL + framework.encoded_len(),
        Some(master_message::Message::FrameworkMessage(message)) => SMALL + message.data.len(),
        Some(master_message::Message::ReconcileTasks(tasks)) => SMALL + tasks.tasks.len() * TASK,
        Some(master_message::Message::ApplyOperation(operation)) => SMALL + operation.encoded_len(),
        _ => SMALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an event makes a process hold is not much more than its weight: the bounds of memory depend on it.
    #[test]
    fn an_update_weighs_what_it_holds() {
        let status = mesos::TaskStatus {
            task_id: mesos::TaskId {
                value: "x".repeat(36),
            },
            message: Some("Reconciliation: Task is unknown".to_owned()),
            ..mesos::TaskStatus::default()
        };
        let update = scheduler::Event {
            update: Some(scheduler::event::Update { status }),
            ..scheduler::Event::default()
        };
        let held = size_of::<scheduler::Event>() + 36 + 31;
        assert!((held..2 * held).contains(&event(&update)));
    }
}
