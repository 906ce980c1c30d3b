//! Leader election, leader detection and the durable store: ZooKeeper or embedded.
//!
//! What a daemon or a framework needs to be one of several:
//! - a [`Location`] says where the leader is learned from: `zk://…`, `host:port`, `file:///…`;
//! - a [`Detector`] follows the leader, an [`Election`] competes to be it; both carry the leader's *epoch*, its election sequence
//!   number, by which everybody else refuses a leader that has been replaced;
//! - a [`Store`] keeps what must outlive the leader: small keys and values, compare-and-set, every commit guarded by the epoch.
//!
//! One [`ZooKeeper`] is one session, remade when it is lost, and is shared by all that a process does with ZooKeeper.
//!
//! Left out on purpose: what the values mean, who may write them, and what a daemon does when it gains or loses leadership.

pub mod address;
pub mod detector;
pub mod election;
pub mod leader;
pub mod metrics;
pub mod store;
pub mod zookeeper;

pub use address::{Credentials, HostPort, Location, LocationError, ZooKeeperUrl};
pub use detector::Detector;
pub use election::{Candidate, Election, Leadership, Member};
pub use leader::{Leader, LeaderInfo};
pub use metrics::{Counter, Metrics};
pub use store::{
    EmbeddedStore, Entry, Expect, MemoryStore, Operation, SharedStore, Store, StoreError,
    Transaction, Version,
};
pub use zookeeper::{Connection, ZooKeeper, ZooKeeperOptions, ZooKeeperStore};
