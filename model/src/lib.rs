//! The vocabulary every room shares: resources, ids, roles, task states, time. Pure: no I/O, no clock, no async.
//!
//! What it promises: every type is cheap to clone, ordered without a hash map's whims, and can only be built valid
//! (constructors from outside text return errors, never panic).
//! What it leaves out: protobuf and JSON (the wire is `tepui-proto`, which converts to and from these types), and
//! every decision (who gets what is the master's business).

mod id;
mod labels;
pub mod resources;
mod role;
mod task_state;
mod time;

pub use id::{
    AgentId, ContainerId, ExecutorId, FrameworkId, IdError, MasterId, OfferId, OperationId,
    ResourceProviderId, TaskId,
};
pub use labels::{Label, Labels};
pub use resources::{Quantities, Resource, ResourceError, Resources};
pub use role::{Role, RoleError};
pub use task_state::{TaskState, UnknownTaskState};
pub use time::Time;
