//! Between messages and the vocabulary of `tepui-model`, and the text forms that flags use.
//!
//! What comes from the wire is checked on the way (ids, roles, resources); what goes out cannot fail. Ids, task states, times, labels and
//! quantities convert by `From` and `TryFrom`; resources by [`resources`], since there are two encodings of them.

pub mod attributes;
mod basics;
pub mod disk;
pub mod duration;
pub mod master_info;
pub mod operation;
mod problem;
pub mod resources;

pub use basics::{
    CONTAINER_DEPTH_LIMIT, ContainerIdError, InvalidQuantity, NegativeDuration,
    quantities_from_wire, quantities_to_wire,
};
pub use problem::{InvalidResource, ResourceProblem};
