//! About how many bytes a message takes in memory and on the wire: cheap where messages are small by nature, exact where their
//! content was chosen by somebody else.

use prost::Message;
use tepui_proto::mesos::scheduler;
use tepui_proto::tepui::v1::{MasterMessage, master_message};

const SMALL: usize = 128;
const OFFER: usize = 768;

/// The weight of an event.
pub(super) fn event(event: &scheduler::Event) -> usize {
    if let Some(offers) = &event.offers {
        return SMALL + offers.offers.len() * OFFER;
    }
    if let Some(update) = &event.update {
        let status = &update.status;
        let told = status.message.as_ref().map_or(0, String::len)
            + status.data.as_ref().map_or(0, |data| data.len());
        return 2 * SMALL + told;
    }
    SMALL
        + event
            .message
            .as_ref()
            .map_or(0, |message| message.data.len())
}

/// The weight of a message to an agent.
pub(super) fn message(message: &MasterMessage) -> usize {
    match &message.message {
        Some(master_message::Message::RunTask(run)) => SMALL + run.encoded_len(),
        Some(master_message::Message::RunTaskGroup(run)) => SMALL + run.encoded_len(),
        Some(master_message::Message::Framework(framework)) => SMALL + framework.encoded_len(),
        Some(master_message::Message::FrameworkMessage(message)) => SMALL + message.data.len(),
        Some(master_message::Message::ReconcileTasks(tasks)) => SMALL + tasks.tasks.len() * SMALL,
        Some(master_message::Message::ApplyOperation(operation)) => SMALL + operation.encoded_len(),
        _ => SMALL,
    }
}
