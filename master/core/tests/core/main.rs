//! The master core, driven through its one entrance by simple agents and frameworks. What comes out is compared as short lines of text.

mod accepts;
mod agents;
mod calls;
mod cluster;
mod frameworks;
mod laws;
mod offers;
mod reconciliation;
mod recovery;
mod subscriptions;
