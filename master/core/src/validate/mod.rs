//! Whether what peers describe makes sense. Pure functions; an error is the text that the peer is told.

pub(crate) mod agent;
mod checks;
pub(crate) mod constraints;
mod container;
pub(crate) mod executor;
pub(crate) mod framework;
pub(crate) mod group;
pub(crate) mod operation;
pub(crate) mod task;
