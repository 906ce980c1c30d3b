//! What a framework is told.

use bytes::Bytes;
use tepui_model::{AgentId, ExecutorId, FrameworkId, OfferId};
use tepui_proto::mesos;

use super::offer::Offer;
use super::update::{OperationUpdate, Update};

/// What happened. More kinds may come with later versions.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The framework is subscribed, for the first time or again. Offers of before are void.
    Subscribed(Subscribed),
    /// The subscription is lost; it is being made again. Calls wait, tasks run on.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// Resources to use. Each offer declines what is left of it when it is dropped.
    Offers(Vec<Offer>),
    /// An offer is void. [`Framework::take_held`](super::Framework::take_held) no longer gives it, and what its guard does is not sent.
    Rescinded(OfferId),
    /// A task is in another state. Acknowledged when dropped; until then the agent keeps the next update of this task back.
    Update(Update),
    /// An operation with an id came to its end. Acknowledged when dropped.
    Operation(OperationUpdate),
    /// An executor says something; may be lost on the way.
    Message(Message),
    /// An agent or an executor is gone; may be lost on the way.
    Failure(Failure),
    /// Machines will go down for maintenance; answer with [`Driver::call`](super::Driver::call), or let their tasks be killed.
    InverseOffers(Vec<mesos::InverseOffer>),
    /// A maintenance is off.
    InverseOfferRescinded(OfferId),
    /// The master refused a call of this framework.
    Refused(Refused),
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// The framework's id. Keep it to come back under the same id after a restart ([`FrameworkBuilder::id`](super::FrameworkBuilder::id)).
    pub framework_id: FrameworkId,
    /// What the master says of itself.
    pub master: Option<mesos::MasterInfo>,
    /// Whether this object was subscribed before.
    pub again: bool,
}

/// From an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the executor runs.
    pub agent_id: AgentId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// What it says.
    pub data: Bytes,
}

/// Something is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The agent: itself gone, unless there is an executor.
    pub agent_id: Option<AgentId>,
    /// The executor.
    pub executor_id: Option<ExecutorId>,
    /// The executor's status as of wait(2); -1 where it is not known.
    pub status: Option<i32>,
}

/// A call that had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kind of the call, like `ACCEPT`.
    pub call: &'static str,
    /// HTTP status code.
    pub status: u16,
    /// What the master said.
    pub message: String,
}
