//! The session: one task connects and reconnects, everybody else reads how the link is.
//!
//! The client library gives up its session when it has been cut off for 7/5 of the session time-out. ZooKeeper itself may still hold it (when
//! all of its servers were away, sessions begin anew with their return), so the session is resumed by its id and password for as long as
//! ZooKeeper knows it. Ephemeral nodes, and with them leadership, then survive ZooKeeper's absence.
//!
//! The library also says that it is connected as soon as a server has greeted it, and does not take that back if this server goes before it
//! has answered anything: until its session is given up, a leader would take itself for connected. So the link is up when a question has been
//! answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zookeeper_client::{
    Acl, Acls, Client, CreateMode, CreateOptions, Error as ZkError, Permission, SessionInfo,
    SessionState,
};

use crate::address::ZooKeeperUrl;
use crate::metrics::Metrics;

/// Pauses between attempts to connect, in milliseconds: the first, and the longest after doubling.
const RETRY_MS: (u64, u64) = (50, 1000);

/// With credentials: all for the creator, reading for everybody, so that anyone can find the leader.
static CREATOR_AND_READERS: [Acl; 2] = [
    Acl::new_const(Permission::ALL, "auth", ""),
    Acl::new_const(Permission::READ, "world", "anyone"),
];

/// How to treat ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperOptions {
    /// After this long without a sign of life ZooKeeper gives a leader's place to another. ZooKeeper's own limits (2 to 20 ticks) apply.
    pub session_timeout: Duration,
    /// How long a read or a commit waits for ZooKeeper before it fails.
    pub operation_timeout: Duration,
}

impl Default for ZooKeeperOptions {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(4),
            operation_timeout: Duration::from_secs(20),
        }
    }
}

/// How the link to ZooKeeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not reached yet.
    Connecting,
    /// There is a session and a connection.
    Connected,
    /// The connection is lost; the session may still live.
    Disconnected,
}

/// The same with what is needed to use it.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    Connecting,
    Up(Client),
    Down {
        /// From then on ZooKeeper may have given our ephemeral nodes up.
        session_over: Instant,
    },
}

impl Link {
    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Self::Up(client) => Some(client),
            _ => None,
        }
    }
}

/// Why something asked of ZooKeeper was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("ZooKeeper: {0}")]
    Refused(#[from] ZkError),
    #[error("ZooKeeper gave no answer in time")]
    Timeout,
}

/// A session with ZooKeeper, remade when it is lost. Clones share it; it is closed with the last of them, and its ephemeral nodes go.
#[derive(Clone)]
pub struct ZooKeeper {
    shared: Arc<Shared>,
}

struct Shared {
    url: ZooKeeperUrl,
    options: ZooKeeperOptions,
    link: watch::Receiver<Link>,
    metrics: Arc<Metrics>,
    task: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZooKeeper({})", self.shared.url)
    }
}

impl ZooKeeper {
    /// Begins to connect and returns at once; what is asked meanwhile waits. Must be called within a tokio runtime.
    pub fn connect(url: ZooKeeperUrl, options: ZooKeeperOptions) -> Self {
        let (sender, link) = watch::channel(Link::Connecting);
        let metrics = Arc::new(Metrics::default());
        let keeper = Keeper {
            url: url.clone(),
            timeout: options.session_timeout,
            metrics: Arc::clone(&metrics),
            link: sender,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        Self {
            shared: Arc::new(Shared {
                url,
                options,
                link,
                metrics,
                task,
            }),
        }
    }

    /// Where it connects to.
    pub fn url(&self) -> &ZooKeeperUrl {
        &self.shared.url
    }

    /// How it was asked to behave.
    pub fn options(&self) -> &ZooKeeperOptions {
        &self.shared.options
    }

    /// What it counted; elections and detectors on this session count here too.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// How the link is now.
    pub fn connection(&self) -> Connection {
        match &*self.shared.link.borrow() {
            Link::Connecting => Connection::Connecting,
            Link::Up(_) => Connection::Connected,
            Link::Down { .. } => Connection::Disconnected,
        }
    }

    /// The session at hand, by which another client could take it up.
    #[doc(hidden)]
    pub fn session(&self) -> Option<SessionInfo> {
        self.shared
            .link
            .borrow()
            .client()
            .map(|client| client.session().clone())
    }

    /// Waits until there is a connection. Bound it with a time-out of your own.
    pub async fn connected(&self) {
        let mut link = self.link();
        if link.wait_for(|link| link.client().is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// To follow the link. It never closes while this handle is there.
    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.clone()
    }

    /// Options for new nodes: open without credentials, else the creator's to change and everybody's to read.
    pub(crate) fn node(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(match self.shared.url.credentials {
            Some(_) => Acls::new(&CREATOR_AND_READERS),
            None => Acls::anyone_all(),
        })
    }

    /// Options for new nodes that nobody else is to read.
    pub(crate) fn private_node(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(match self.shared.url.credentials {
            Some(_) => Acls::creator_all(),
            None => Acls::anyone_all(),
        })
    }

    /// Waits for an answer, but not longer than the session time-out: while disconnected, the library's calls do not end.
    pub(crate) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, ZkError>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.shared.options.session_timeout, call).await {
            Ok(answer) => answer.map_err(Fault::Refused),
            Err(_) => Err(Fault::Timeout),
        }
    }
}

/// The task that holds the session.
struct Keeper {
    url: ZooKeeperUrl,
    timeout: Duration,
    metrics: Arc<Metrics>,
    link: watch::Sender<Link>,
}

impl Keeper {
    async fn run(self) {
        let mut session = None;
        let mut pause_ms = RETRY_MS.0;
        let mut complained = false;
        loop {
            match self.dial(session.clone()).await {
                Ok(client) => {
                    if session.as_ref().map(SessionInfo::id) != Some(client.session_id()) {
                        self.metrics.sessions.increment();
                    }
                    if complained {
                        tracing::info!(url = %self.url, "connected to ZooKeeper");
                    }
                    complained = false;
                    pause_ms = RETRY_MS.0;
                    session = Some(client.session().clone());
                    self.follow(client).await;
                    continue;
                }
                Err(Fault::Refused(ZkError::SessionExpired)) if session.is_some() => {
                    tracing::warn!(url = %self.url, "the session with ZooKeeper has expired; making a new one");
                    self.metrics.expirations.increment();
                    session = None;
                    continue;
                }
                Err(error) if !complained => {
                    tracing::warn!(url = %self.url, %error, "cannot reach ZooKeeper; trying on");
                    complained = true;
                }
                Err(error) => {
                    tracing::debug!(url = %self.url, %error, "still cannot reach ZooKeeper")
                }
            }
            let jittered = rand::rng().random_range(pause_ms / 2..=pause_ms);
            tokio::time::sleep(Duration::from_millis(jittered)).await;
            pause_ms = (pause_ms * 2).min(RETRY_MS.1);
        }
    }

    async fn dial(&self, session: Option<SessionInfo>) -> Result<Client, Fault> {
        let mut connector = Client::connector()
            .with_session_timeout(self.timeout)
            .with_fail_eagerly();
        if let Some(credentials) = &self.url.credentials {
            connector = connector.with_auth(
                "digest",
                format!("{}:{}", credentials.user, credentials.password).as_bytes(),
            );
        }
        if let Some(session) = session {
            connector = connector.with_session(session);
        }
        let servers = self.url.connect_string();
        match tokio::time::timeout(self.timeout, connector.connect(&servers)).await {
            Ok(answer) => answer.map_err(Fault::Refused),
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// Tells of the link until this client is of no more use.
    async fn follow(&self, client: Client) {
        let mut states = client.state_watcher();
        let mut state = client.state();
        // ZooKeeper counts from the last thing it heard of us. The library needs up to 2/5 of the time-out to notice a silent connection,
        // so that no more than 3/5 are certain from then on.
        let certain = client.session_timeout() * 3 / 5;
        loop {
            match state {
                SessionState::SyncConnected => {
                    // It may have been lost and made again before we looked.
                    self.lost(certain);
                    tokio::select! {
                        () = answered(&client) => {
                            self.metrics.connected.set(1);
                            self.link.send_replace(Link::Up(client.clone()));
                        }
                        next = states.changed() => {
                            state = next;
                            continue;
                        }
                    }
                }
                SessionState::Disconnected => {
                    tracing::warn!(url = %self.url, "the connection to ZooKeeper is lost");
                    self.lost(certain);
                }
                _ => {
                    tracing::debug!(url = %self.url, %state, "the client of ZooKeeper has ended");
                    self.lost(certain);
                    return;
                }
            }
            state = states.changed().await;
        }
    }

    fn lost(&self, certain: Duration) {
        self.metrics.connected.set(0);
        self.link.send_if_modified(|link| {
            let lost = link.client().is_some();
            if lost {
                self.metrics.disconnections.increment();
                *link = Link::Down {
                    session_over: Instant::now() + certain,
                };
            }
            lost
        });
    }
}

/// Waits until the server that this client is connected to has answered a question.
async fn answered(client: &Client) {
    while let Err(error) = client.check_stat("/").await {
        tracing::debug!(%error, "ZooKeeper does not answer yet");
        tokio::time::sleep(Duration::from_millis(RETRY_MS.0)).await;
    }
}
