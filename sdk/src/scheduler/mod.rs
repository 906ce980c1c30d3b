//! A framework's client: subscription, offers, updates, calls.
//!
//! - [`Framework`] is what the author holds: it is told events by [`Framework::next`];
//! - [`Offer`], [`Update`] and [`OperationUpdate`] are guards that answer when they are dropped;
//! - [`Driver`] is for calls, from anywhere;
//! - `outbox` collects what guards and drivers have to say; `ledger` (pure) knows the framework's tasks: which updates came twice, and what to
//!   reconcile when; `session` is the one task that holds the subscription, and ties all this to a transport.
//!
//! Bounds: at most 1024 events wait for the author, then the stream is not read; at most 65,536 calls wait for the master.

mod before;
mod driver;
mod event;
mod ledger;
mod offer;
mod operations;
mod outbox;
mod session;
mod update;

use std::sync::Arc;
use std::time::Duration;

use tepui_coordination::{Detector, Location, ZooKeeperOptions};
use tepui_model::{AgentId, FrameworkId, Role, TaskId};
use tepui_proto::mesos;
use tokio::sync::watch;

pub use driver::Driver;
pub use event::{Event, Failure, Message, Refused, Subscribed};
pub use mesos::framework_info::capability::Type as Capability;
pub use offer::Offer;
pub use operations::{GroupExecutor, Volume};
pub use update::{OperationUpdate, Update};

use crate::error::Error;
use crate::inbox::Inbox;
use crate::transport::Transport;
use driver::Status;
use offer::Held;
use outbox::Outbox;

/// The port of a master that is given without one.
const MASTER_PORT: u16 = 5050;

/// What a framework says of itself, before it subscribes.
#[derive(Clone, Debug)]
pub struct FrameworkBuilder {
    info: mesos::FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<mesos::scheduler::OfferConstraints>,
    transport: Transport,
    refuse: Duration,
    known: Vec<(TaskId, Option<AgentId>)>,
    zookeeper: ZooKeeperOptions,
}

impl FrameworkBuilder {
    /// A role to be offered resources for; more than one may be named. `*` otherwise.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.info.roles.push(role.into());
        self
    }

    /// The user that tasks run as; otherwise this process' (`$USER`, or root).
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.info.user = user.into();
        self
    }

    /// How long the master keeps the framework's tasks after it lost the framework. None otherwise: they are killed at once.
    #[must_use]
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.info.failover_timeout = Some(timeout.as_secs_f64());
        self
    }

    /// Something more that the framework can deal with. It always deals with several roles, partitions, refined reservations and tasks that are being
    /// killed.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        let capability = mesos::framework_info::Capability {
            r#type: Some(capability.into()),
        };
        if !self.info.capabilities.contains(&capability) {
            self.info.capabilities.push(capability);
        }
        self
    }

    /// Comes back as a framework that was subscribed before, with its tasks.
    #[must_use]
    pub fn id(mut self, id: &FrameworkId) -> Self {
        self.info.id = Some(mesos::FrameworkId {
            value: id.to_string(),
        });
        self
    }

    /// Tasks of an earlier run that are to be reconciled.
    #[must_use]
    pub fn known_tasks(
        mut self,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
    ) -> Self {
        self.known.extend(tasks);
        self
    }

    /// Where its tasks are called to account: the principal.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.info.principal = Some(principal.into());
        self
    }

    /// The host it runs on, for people.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.info.hostname = Some(hostname.into());
        self
    }

    /// Its own web page, a full URL.
    #[must_use]
    pub fn webui_url(mut self, url: impl Into<String>) -> Self {
        self.info.webui_url = Some(url.into());
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let label = mesos::Label {
            key: key.into(),
            value: Some(value.into()),
        };
        self.info.labels.get_or_insert_default().labels.push(label);
        self
    }

    /// Whether its tasks survive a restart of their agent; they do unless this says otherwise.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: bool) -> Self {
        self.info.checkpoint = Some(checkpoint);
        self
    }

    /// How long not to be offered again what was left of an offer. 5 s otherwise.
    #[must_use]
    pub fn refuse(mut self, time: Duration) -> Self {
        self.refuse = time;
        self
    }

    /// A role that gets no offers until it is revived.
    #[must_use]
    pub fn suppressed_role(mut self, role: impl Into<String>) -> Self {
        self.suppressed_roles.push(role.into());
        self
    }

    /// Only offers of agents that match.
    #[must_use]
    pub fn offer_constraints(mut self, constraints: mesos::scheduler::OfferConstraints) -> Self {
        self.offer_constraints = Some(constraints);
        self
    }

    /// How to speak to the master; [`Transport::Auto`] otherwise.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Time-outs for ZooKeeper.
    #[must_use]
    pub fn zookeeper_options(mut self, options: ZooKeeperOptions) -> Self {
        self.zookeeper = options;
        self
    }

    /// Changes anything else of its description.
    #[must_use]
    pub fn info(mut self, change: impl FnOnce(&mut mesos::FrameworkInfo)) -> Self {
        change(&mut self.info);
        self
    }

    /// Subscribes with the leading master: `zk://host:port,…/path`, `host:port`, `http://host:port` or `file:///path`. Returns as soon as the
    /// attempt is under way; the first event is [`Event::Subscribed`].
    ///
    /// # Errors
    /// The address is none, or the description is invalid. That no master answers is none: it is tried on.
    pub async fn connect(self, master: &str) -> Result<Framework, Error> {
        let location = Location::parse(master, Some(MASTER_PORT))?;
        let location = tokio::task::spawn_blocking(move || location.resolve(Some(MASTER_PORT)))
            .await
            .map_err(|_| Error::Stopped)??;
        let detector = Detector::new(location, &self.zookeeper)?;
        self.connect_to(detector)
    }

    /// The same with whoever the detector finds. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The description is invalid.
    pub fn connect_to(mut self, detector: Detector) -> Result<Framework, Error> {
        if self.info.roles.is_empty() {
            self.info.roles.push("*".to_owned());
        }
        for role in &self.info.roles {
            Role::new(role).map_err(|error| Error::Invalid {
                field: "role",
                why: error.to_string(),
            })?;
        }
        if self.info.name.is_empty() {
            return Err(Error::Invalid {
                field: "name",
                why: "it is empty".to_owned(),
            });
        }
        if let Some(id) = &self.info.id {
            FrameworkId::new(&id.value).map_err(|error| Error::Invalid {
                field: "id",
                why: error.to_string(),
            })?;
        }
        Ok(Framework::start(self, detector))
    }
}

/// A framework and its subscription. Dropping it disconnects: what then becomes of its tasks is a matter of its
/// [`failover_timeout`](FrameworkBuilder::failover_timeout).
#[derive(Debug)]
pub struct Framework {
    inbox: Arc<Inbox<Event>>,
    driver: Driver,
    held: Arc<Held>,
    session: tokio::task::AbortHandle,
}

impl Framework {
    /// Describes a framework; the name is for people and for URLs.
    pub fn builder(name: impl Into<String>) -> FrameworkBuilder {
        let variable = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
        let info = mesos::FrameworkInfo {
            user: variable("USER")
                .or_else(|| variable("LOGNAME"))
                .unwrap_or_else(|| "root".to_owned()),
            name: name.into(),
            checkpoint: Some(true),
            ..mesos::FrameworkInfo::default()
        };
        let builder = FrameworkBuilder {
            info,
            suppressed_roles: Vec::new(),
            offer_constraints: None,
            transport: Transport::default(),
            refuse: Duration::from_secs(5),
            known: Vec::new(),
            zookeeper: ZooKeeperOptions::default(),
        };
        [
            Capability::MultiRole,
            Capability::PartitionAware,
            Capability::ReservationRefinement,
            Capability::TaskKillingState,
        ]
        .into_iter()
        .fold(builder, FrameworkBuilder::capability)
    }

    fn start(builder: FrameworkBuilder, detector: Detector) -> Self {
        let inbox = Arc::new(Inbox::default());
        let framework_id = builder
            .info
            .id
            .as_ref()
            .and_then(|id| FrameworkId::new(&id.value).ok());
        let (status, watched) = watch::channel(Status {
            framework_id,
            ..Status::default()
        });
        let outbox = Arc::new(Outbox::default());
        let held = Arc::new(Held::default());
        let session = session::Session::new(
            builder,
            detector,
            Arc::clone(&inbox),
            status,
            Arc::clone(&outbox),
            Arc::clone(&held),
        );
        let session = tokio::spawn(session.run()).abort_handle();
        Self {
            inbox,
            driver: Driver {
                outbox,
                status: watched,
            },
            held,
            session,
        }
    }

    /// Waits for what happens next. `None` after [`Driver::teardown`].
    ///
    /// # Errors
    /// The framework cannot go on: it was removed, replaced by another instance, or refused. The call after that gives `None`.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        self.inbox.next().await
    }

    /// A handle for calls.
    pub fn driver(&self) -> Driver {
        self.driver.clone()
    }

    /// Its id, once it has one.
    pub fn id(&self) -> Option<FrameworkId> {
        self.driver.framework_id()
    }

    /// The offers that were put aside with [`Offer::hold`] and are still good.
    pub fn take_held(&mut self) -> Vec<Offer> {
        self.held.take_all()
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        self.session.abort();
        // First closed, so that the guards have nothing to say any more.
        self.driver.outbox.close();
        drop(self.held.take_all());
    }
}
