//! Between the messages of the API and the types of the model, as far as scheduling needs it.

use tepui_model::Resources;
use tepui_proto::convert::resources::{self, Encoding};
use tepui_proto::mesos;

/// The resources of an offer. What does not follow the rules is left out, with a line in the log: the rest is as good as before.
pub(crate) fn usable(messages: &[mesos::Resource]) -> Resources {
    let mut all = Resources::new();
    for message in messages {
        match resources::one_from_wire(message) {
            Ok(resource) => all.add_resource(resource),
            Err(error) => {
                tracing::warn!(%error, name = message.name, "leaving a resource of an offer alone")
            }
        }
    }
    all
}

/// For a task, in the form of frameworks with RESERVATION_REFINEMENT, which Mesos takes from all.
pub(crate) fn messages(resources: &Resources) -> Vec<mesos::Resource> {
    resources::to_wire(resources, Encoding::Stack)
}
