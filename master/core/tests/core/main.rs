//! The master core, driven through its one entrance by simple agents and frameworks. What comes out is compared as short lines of text.

#![allow(clippy::unwrap_used, reason = "in tests a panic is a failure")]

mod accepts;
mod agents;
mod calls;
mod cluster;
mod drain;
mod frameworks;
mod fuzz;
mod laws;
mod maintenance;
mod offers;
mod operations;
mod oversubscription;
mod policy;
mod reconciliation;
mod recovery;
mod removals;
mod subscriptions;
mod task_states;
mod visibility;
mod words;
