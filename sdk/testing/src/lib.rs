//! A cluster in a test: a real master in this process, with simulated agents, for a framework's own tests.
//!
//! The master is the one that runs clusters, with its registry in memory, on a free port; frameworks connect to it as they would anywhere. Agents speak the
//! real protocol, but their tasks are make-believe: each does what the agent's [`Behaviour`] says, or what the test tells it to do. So a test of a
//! framework needs no containers, no root, no ZooKeeper, and takes milliseconds.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tepui_sdk::{Event, Framework, Task, TaskState};
//! use tepui_sdk_testing::{Behaviour, Cluster};
//!
//! let cluster = Cluster::start().await?;
//! let _agent = cluster.agent("cpus:2;mem:512", Behaviour::Finish).await?;
//! let mut framework = Framework::builder("mine").connect(&cluster.address()).await?;
//! while let Some(event) = framework.next().await? {
//!     match event {
//!         Event::Offers(offers) => for mut offer in offers {
//!             let _ = offer.try_launch(Task::command("first", "true")?.resources("cpus:1;mem:32".parse()?));
//!         },
//!         Event::Update(update) if update.state() == TaskState::Finished => break,
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! Left out: executors of the framework's own, and time that can be moved; the simulation in `tests/simulation` has that for the cores.

mod agent;

use tepui_master::{Config, Master, RunningMaster, StartError};

pub use agent::{Agent, Behaviour};

/// Why a part of the test cluster is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The master did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The resources of an agent do not read.
    #[error("`{text}` are no resources: {reason}")]
    Resources {
        /// As given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// An agent could not reach the master, or was refused.
    #[error("the agent is not registered: {0}")]
    NotRegistered(String),
}

/// A master in this process. Dropping it ends it.
#[derive(Debug)]
pub struct Cluster {
    master: RunningMaster,
}

impl Cluster {
    /// Starts a master on a free port of the loopback address and waits until it leads. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`Error::Start`].
    pub async fn start() -> Result<Self, Error> {
        let master = Master::start(Config::for_tests()).await?;
        master.until_leading().await;
        Ok(Self { master })
    }

    /// `host:port` of the master: what a framework connects to.
    #[must_use]
    pub fn address(&self) -> String {
        self.master.addr().to_string()
    }

    /// Adds an agent with resources such as `cpus:4;mem:1024;ports:[31000-31099]`, and waits until it is registered.
    ///
    /// # Errors
    /// The resources do not read, or the master refuses the agent.
    pub async fn agent(&self, resources: &str, behaviour: Behaviour) -> Result<Agent, Error> {
        Agent::connect(&self.address(), resources, behaviour).await
    }
}
