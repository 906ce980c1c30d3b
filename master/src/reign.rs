//! From campaign to leading to stepping down, in one process.
//!
//! A *reign* is the time from winning an election to losing it: the recovered registry, a core on its own thread, the registrar and
//! the view. What the faces see of all this is the [`Standing`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tepui_coordination::zookeeper::ZooKeeperStore;
use tepui_coordination::{Election, HostPort, LeaderInfo, Leadership, SharedStore, ZooKeeper};
use tepui_master_core::{LogLevel, Master as Core, Registry};
use tepui_model::Time;
use tepui_proto::mesos;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{Driver, Inbox, Line, Notice, Outlets, Stopped};
use crate::metrics::Metrics;
use crate::outbox::Outboxes;
use crate::registrar::{self, RecoveryError};
use crate::view::View;
use crate::whitelist::Whitelist;

/// What this process is at the moment.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// Nobody is known to lead.
    Nobody,
    /// Another master leads.
    Following(Option<HostPort>),
    /// This one leads, and reads the registry.
    Recovering,
    /// This one leads.
    Leading(Arc<Reign>),
}

/// A reign, as the faces see it. They may hold on to it after it has ended: its inbox is closed then, its view stands still.
pub(crate) struct Reign {
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) inbox: Inbox,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) view: Arc<View>,
    pub(crate) master: mesos::MasterInfo,
    /// Where the registry is kept: to look at, never to write.
    pub(crate) store: SharedStore,
    /// Held by who reads the registry.
    pub(crate) looking: tokio::sync::Mutex<()>,
    pub(crate) elected_at: Time,
}

impl Reign {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Reign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}", self.epoch())
    }
}

/// The registry as the store has it now.
pub(crate) async fn registry_of(
    reign: &Reign,
    timeout: Duration,
) -> Result<Registry, RecoveryError> {
    // A whole registry in memory is enough.
    let _one = reign.looking.lock().await;
    registrar::read(&reign.store, timeout).await
}

/// Who this master is, as long as the process lives.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) address: SocketAddr,
    pub(crate) started_at: Time,
}

/// What Mesos clients are told about the version.
pub(crate) const MESOS_VERSION: &str = "1.11.0";
/// What Mesos masters can do, by name.
pub(crate) const CAPABILITIES: [&str; 3] = ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"];

impl Identity {
    /// What the other masters and everything that detects masters reads.
    pub(crate) fn leader_info(&self) -> LeaderInfo {
        LeaderInfo::new(
            self.id.clone(),
            self.hostname.clone(),
            self.address.ip(),
            self.address.port(),
        )
        .with_capabilities(CAPABILITIES)
        .with_pid_and_version("master", MESOS_VERSION)
    }

    /// libprocess' name of this master.
    pub(crate) fn pid(&self) -> String {
        format!("master@{}", self.address)
    }

    /// The same as Mesos' clients are told it.
    pub(crate) fn master_info(&self) -> mesos::MasterInfo {
        use mesos::master_info::{Capability, capability};
        let ip = match self.address.ip() {
            std::net::IpAddr::V4(v4) => u32::from_le_bytes(v4.octets()),
            std::net::IpAddr::V6(_) => 0,
        };
        mesos::MasterInfo {
            id: self.id.clone(),
            ip,
            port: self.address.port().into(),
            pid: Some(self.pid()),
            hostname: Some(self.hostname.clone()),
            version: Some(MESOS_VERSION.to_owned()),
            address: Some(mesos::Address {
                hostname: Some(self.hostname.clone()),
                ip: Some(self.address.ip().to_string()),
                port: self.address.port().into(),
            }),
            capabilities: [
                capability::Type::AgentUpdate,
                capability::Type::AgentDraining,
                capability::Type::QuotaV2,
            ]
            .into_iter()
            .map(|kind| Capability {
                r#type: Some(kind.into()),
            })
            .collect(),
            ..mesos::MasterInfo::default()
        }
    }
}

/// Where the registry is kept.
pub(crate) enum Keeping {
    /// In a store that is open.
    Open(SharedStore),
    /// In ZooKeeper, which need not be there before this master leads.
    ZooKeeper(ZooKeeper),
}

impl Keeping {
    async fn open(&self) -> Result<SharedStore, RecoveryError> {
        match self {
            Self::Open(store) => Ok(store.clone()),
            Self::ZooKeeper(zookeeper) => {
                Ok(Arc::new(ZooKeeperStore::open(zookeeper, "master").await?))
            }
        }
    }
}

/// Before a registry that could not be read is read again.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Everything that outlives a single reign.
pub(crate) struct Lifecycle {
    pub(crate) config: Arc<Config>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Clock,
    pub(crate) keeping: Keeping,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) lines: mpsc::Sender<Line>,
    /// The threads of those who look.
    pub(crate) readers: tokio::runtime::Handle,
}

/// A core at work.
struct Ruling {
    reign: Arc<Reign>,
    stop: CancellationToken,
    stopped: oneshot::Receiver<Stopped>,
}

/// Why the process cannot go on. Losing an election is no reason.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// A leader without a registry would admit agents that it must not.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The core's thread could not be started.
    #[error("the core's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// An assertion of the core failed: its state cannot be trusted.
    #[error("the master's core has stopped by itself; its message is in the log")]
    CoreDied,
}

impl Lifecycle {
    /// Campaigns and rules until it is told to stop.
    pub(crate) async fn run(
        self,
        mut election: Election,
        stop: CancellationToken,
    ) -> Result<(), LifecycleError> {
        let mut ruling: Option<Ruling> = None;
        let mut leadership = election.leadership();
        let outcome = loop {
            match &leadership {
                Leadership::Leading { epoch } => match &ruling {
                    Some(ruling) => {
                        ruling.reign.epoch.store(*epoch, Ordering::Relaxed);
                        ruling.reign.inbox.notify(Notice::Suspended(false));
                    }
                    None => {
                        let _ = self.standing.send_replace(Standing::Recovering);
                        tokio::select! {
                            begun = self.begin(*epoch) => match begun {
                                Ok(begun) => {
                                    let _ = self.standing.send_replace(Standing::Leading(begun.reign.clone()));
                                    ruling = Some(begun);
                                }
                                Err(error) => break Err(error),
                            },
                            changed = election.changed() => {
                                leadership = changed;
                                continue;
                            }
                            () = stop.cancelled() => break Ok(()),
                        }
                    }
                },
                Leadership::Suspended { .. } => {
                    if let Some(ruling) = &ruling {
                        warn!(
                            "cut off from the other masters: nothing new is started until this master leads for sure"
                        );
                        ruling.reign.inbox.notify(Notice::Suspended(true));
                    }
                }
                Leadership::Following { leader } => {
                    if let Some(ruling) = ruling.take() {
                        warn!("another master leads: stepping down");
                        ruling.end();
                    }
                    let info = LeaderInfo::from_json(&leader.payload).ok();
                    let _ = self
                        .standing
                        .send_replace(Standing::Following(info.and_then(|info| info.advertised())));
                }
                Leadership::Waiting => {
                    if ruling.is_none() {
                        let _ = self.standing.send_replace(Standing::Nobody);
                    }
                }
            }
            tokio::select! {
                changed = election.changed() => leadership = changed,
                stopped = until_stopped(&mut ruling) => match stopped {
                    Some(Stopped::Fenced(reason)) => {
                        warn!("stepping down: {reason}");
                        if let Some(ruling) = ruling.take() {
                            ruling.end();
                        }
                        let _ = self.standing.send_replace(Standing::Nobody);
                        // Another has written as the leader; the election will tell who it is, or that this one leads anew.
                        tokio::select! {
                            changed = election.changed() => leadership = changed,
                            () = stop.cancelled() => break Ok(()),
                        }
                    }
                    Some(Stopped::Asked) | None => break Err(LifecycleError::CoreDied),
                },
                () = stop.cancelled() => break Ok(()),
            }
        };
        let _ = self.standing.send_replace(Standing::Nobody);
        if let Some(ruling) = ruling.take() {
            ruling.stop.cancel();
            // What the core had handed to its peers' outboxes is on its way when the thread is gone.
            let _ = ruling.stopped.await;
        }
        election.resign().await;
        outcome
    }

    /// Reads the registry, again and again while the store does not answer: a leader never just exits.
    async fn recover(&self, epoch: u64) -> Result<(SharedStore, Registry), RecoveryError> {
        loop {
            let timeout = self.config.registry_fetch_timeout;
            let recovery = match self.keeping.open().await {
                Ok(store) => registrar::recover(&store, epoch, timeout, &self.metrics)
                    .await
                    .map(|registry| (store, registry)),
                Err(error) => Err(error),
            };
            match recovery {
                Err(error) if error.may_pass() => warn!("{error}; it is tried again"),
                done => return done,
            }
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    /// Reads the registry and starts a core on it.
    async fn begin(&self, epoch: u64) -> Result<Ruling, LifecycleError> {
        let (store, registry) = self.recover(epoch).await?;
        info!(
            "leading with epoch {epoch}; {} agents are in the registry",
            registry.agents.len()
        );
        let epoch_now = Arc::new(AtomicU64::new(epoch));
        let (inbox, inlet) = Inbox::new(self.config.limits.inbox_bytes);
        let (writes, writes_in) = mpsc::unbounded_channel();
        let limits = &self.config.limits;
        let view = View::new(limits.outbox_messages, limits.outbox_bytes);
        let outboxes = Arc::new(Outboxes::new(
            limits.outbox_messages,
            limits.outbox_bytes,
            limits.outboxes_bytes,
        ));
        let master = mesos::MasterInfo {
            domain: self.config.domain.clone(),
            ..self.identity.master_info()
        };
        let whitelist = match &self.config.whitelist {
            Some(path) => Some(Whitelist::begin(path.clone(), &inbox).await),
            None => None,
        };
        let core = Core::new(
            self.core_config(master.clone(), epoch),
            registry,
            self.clock.now(),
        );
        let outlets = Outlets {
            view: view.clone(),
            outboxes: outboxes.clone(),
            writes,
            lines: self.lines.clone(),
            metrics: self.metrics.clone(),
        };
        let driver = Driver::new(core, self.clock, outlets).primed();
        let stop = CancellationToken::new();
        let (tell, stopped) = oneshot::channel();
        tokio::spawn(registrar::run(
            store.clone(),
            epoch_now.clone(),
            self.config.registry_store_timeout,
            writes_in,
            inbox.clone(),
            self.metrics.clone(),
        ));
        if let Some(whitelist) = whitelist {
            tokio::spawn(whitelist.keep_up(inbox.clone(), stop.clone()));
        }
        self.readers.spawn(View::keep_up(Arc::downgrade(&view)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(LifecycleError::Thread)?;
        let stopping = stop.clone();
        std::thread::Builder::new()
            .name("master-core".to_owned())
            .spawn(move || {
                let stopped = runtime.block_on(driver.run(inlet, stopping));
                // Nobody listens any more when the process is going down.
                let _ = tell.send(stopped);
            })
            .map_err(LifecycleError::Thread)?;
        let reign = Reign {
            epoch: epoch_now,
            inbox,
            outboxes,
            view,
            master,
            store,
            looking: tokio::sync::Mutex::new(()),
            elected_at: self.clock.now(),
        };
        Ok(Ruling {
            reign: Arc::new(reign),
            stop,
            stopped,
        })
    }

    fn core_config(&self, master: mesos::MasterInfo, epoch: u64) -> tepui_master_core::Config {
        let config = &self.config;
        let seed = u64::from_le_bytes(
            uuid::Uuid::new_v4().as_bytes()[..8]
                .try_into()
                .unwrap_or_default(),
        );
        tepui_master_core::Config {
            roles: config.roles.clone(),
            weights: config.weights.clone(),
            root_submissions: config.root_submissions,
            filter_gpu_resources: config.filter_gpu_resources,
            unshared_names: config.unshared_names.clone(),
            constraint_limits: config.constraint_limits,
            require_agent_domain: config.require_agent_domain,
            min_allocatable: config.min_allocatable.clone(),
            allocation_interval: config.allocation_interval,
            offer_timeout: config.offer_timeout,
            agent_ping_timeout: config.agent_ping_timeout,
            max_agent_ping_timeouts: config.max_agent_ping_timeouts,
            agent_reregister_timeout: config.agent_reregister_timeout,
            agent_removal_rate_limit: config.agent_removal_rate_limit,
            recovery_agent_removal_limit: config.recovery_agent_removal_limit,
            registry_gc_interval: config.registry_gc_interval,
            registry_max_agent_age: config.registry_max_agent_age,
            max_remembered_agents: config.registry_max_agent_count,
            allocator_recovery_timeout: config.allocator_recovery_timeout,
            allocator_agent_recovery_factor: config.allocator_agent_recovery_factor,
            max_completed_frameworks: config.max_completed_frameworks,
            max_completed_tasks_per_framework: config.max_completed_tasks_per_framework,
            max_unreachable_tasks_per_framework: config.max_unreachable_tasks_per_framework,
            ..tepui_master_core::Config::new(master, epoch, seed)
        }
    }
}

impl Ruling {
    /// Ends it without waiting: the core's thread finishes its batch, and its streams break.
    fn end(self) {
        self.stop.cancel();
    }
}

/// When the core stops by itself; never without one.
async fn until_stopped(ruling: &mut Option<Ruling>) -> Option<Stopped> {
    match ruling {
        Some(ruling) => (&mut ruling.stopped).await.ok(),
        None => std::future::pending().await,
    }
}

/// Writes the core's lines into the log, beside the core's thread.
pub(crate) async fn log_lines(mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.recv().await {
        match line.level {
            LogLevel::Info => info!(target: "tepui_master::core", "{}", line.text),
            LogLevel::Warn => warn!(target: "tepui_master::core", "{}", line.text),
        }
    }
}

/// Puts the end of a lifecycle into the log.
pub(crate) fn log_end(error: &LifecycleError) {
    error!("the master stops: {error}");
}
