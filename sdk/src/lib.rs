//! What a framework author depends on: scheduler and executor clients with everything tedious done.
//!
//! A framework is a `connect` and a loop:
//!
//! ```no_run
//! use tepui_sdk::{Event, Framework, Resources, Task};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let wanted: Resources = "cpus:0.1;mem:32".parse()?;
//! let mut framework = Framework::builder("hello").role("web").connect("zk://127.0.0.1:2181/mesos").await?;
//! let mut number = 0;
//! while let Some(event) = framework.next().await? {
//!     match event {
//!         Event::Offers(offers) => for mut offer in offers {
//!             while let Some(resources) = offer.take(&wanted) {
//!                 number += 1;
//!                 offer.launch(Task::command(format!("hello-{number}"), "echo hello")?.resources(resources));
//!             }
//!         }, // what is left of an offer is declined when it is dropped
//!         Event::Update(update) => println!("{} {} {}", update.task_id(), update.state(), update.message()),
//!         _ => {} // an update is acknowledged when it is dropped
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! The author never sees, and need not know: which master leads and where; re-subscription with the same id, back-off, heartbeats; that
//! an update came twice; reconciliation after a reconnection. It speaks gRPC to Tepui and the v1 HTTP API to Tepui or Apache Mesos.
//!
//! Left out: keeping the framework's own state ([`tepui_coordination::Store`] is for that), and deciding what runs where.

mod backoff;
mod convert;
mod error;
pub mod executor;
mod inbox;
pub mod scheduler;
mod task;
mod transport;

pub use error::{Error, TaskError};
pub use executor::{Executor, ExecutorBuilder, ExecutorEvent, ExecutorHandle, TaskReport};
pub use scheduler::{
    Capability, Driver, Event, Failure, Framework, FrameworkBuilder, GroupExecutor, Message, Offer,
    OperationUpdate, Refused, Subscribed, Update, Volume,
};
pub use task::{Command, HealthCheck, Task};
pub use tepui_coordination::{Detector, Location};
pub use tepui_model::{AgentId, ExecutorId, FrameworkId, OfferId, Resources, TaskId, TaskState};
/// The messages of the Mesos v1 API, for what the types of this crate do not cover.
pub use tepui_proto::mesos;
pub use transport::{Encoding, Transport};
