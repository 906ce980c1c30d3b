//! One session with ZooKeeper, kept alive and remade, and what is built on it: candidacy, detection, the store.
//!
//! - `session`: connects, follows the state, resumes the session after long absences, makes a new one when it is over;
//! - `members`: the nodes of candidates, by label and sequence number. Pure;
//! - `campaign`, `detect`: the two sides of an election;
//! - `store`: the durable store.
//!
//! Everything here starts again from what ZooKeeper says whenever the connection comes back, and so has no memory that could be wrong.

pub(crate) mod campaign;
pub(crate) mod detect;
mod members;
mod session;
mod store;

pub use session::{Connection, ZooKeeper, ZooKeeperOptions};
pub(crate) use session::{Fault, Link};
pub use store::ZooKeeperStore;
