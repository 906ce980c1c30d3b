//! The store below `<path>/tepui/<name>` in ZooKeeper.
//!
//! Every commit is one multi-operation that begins with a conditional write of the head: so all writers are in one line, a writer decides a
//! whole batch on what it has read, and a predecessor's late write fails. A value that does not fit (ZooKeeper takes 1 MiB a request) is written beforehand, in
//! chunks that nobody reads until the commit names them; chunks that were never named are removed when the next leader takes over.
//!
//! While ZooKeeper cannot be reached, reads and commits wait, up to the operation time-out. A commit whose answer was lost is looked
//! for in the head before it is tried again, and so happens once.

mod layout;
mod read;
mod seen;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use zookeeper_client::{Client, CreateMode, Error as ZkError};

use super::{Fault, ZooKeeper};
use crate::metrics::Metrics;
use crate::store::{
    BatchLimits, Entry, Head, Queue, Store, StoreError, Transaction, Version, validate_key,
    validate_prefix,
};
use layout::{HeadNode, Layout};

/// What shares a commit: well below what ZooKeeper takes in a request.
const LIMITS: BatchLimits = BatchLimits {
    operations: 1000,
    bytes: 384 << 10,
};
/// Before asking again when ZooKeeper refused for the moment.
const PAUSE: Duration = Duration::from_millis(50);

/// A store in ZooKeeper. Clones share it.
#[derive(Clone, Debug)]
pub struct ZooKeeperStore {
    keeper: Arc<Keeper>,
    queue: Queue,
}

/// What reading and writing share.
#[derive(Debug)]
struct Keeper {
    zookeeper: ZooKeeper,
    layout: Layout,
    metrics: Arc<Metrics>,
}

impl ZooKeeperStore {
    /// Opens the store `name` below this session's path, and makes it if there is none. Waits for ZooKeeper, up to the operation time-out.
    ///
    /// # Errors
    /// ZooKeeper does not answer or refuses, or the store was made by a newer version.
    pub async fn open(zookeeper: &ZooKeeper, name: &str) -> Result<Self, StoreError> {
        let root = zookeeper.url().below(&format!("tepui/{name}"));
        let metrics = Arc::new(Metrics::default());
        let keeper = Arc::new(Keeper {
            zookeeper: zookeeper.clone(),
            layout: Layout { root },
            metrics: Arc::clone(&metrics),
        });
        keeper.prepare().await?;
        let (queue, batch) = Queue::new(LIMITS, &metrics);
        tokio::spawn(write::Writer::new(Arc::clone(&keeper), batch).run());
        Ok(Self { keeper, queue })
    }

    /// Where it is in ZooKeeper.
    pub fn path(&self) -> &str {
        &self.keeper.layout.root
    }
}

/// What became of an attempt.
#[derive(Debug)]
enum Attempt<T> {
    Done(T),
    /// The connection failed or somebody was faster: again, when there is a connection.
    Again(Fault),
}

impl Keeper {
    /// Makes the directories and the head.
    async fn prepare(&self) -> Result<(), StoreError> {
        let layout = &self.layout;
        self.persist(|client| {
            Box::pin(async move {
                let options = self.zookeeper.private_node(CreateMode::Persistent);
                let shared = self.zookeeper.node(CreateMode::Persistent);
                // The path itself may be read by all: candidates meet there.
                let parent = self.zookeeper.url().below("");
                self.zookeeper
                    .bounded(client.mkdir(&parent, &shared))
                    .await?;
                for directory in [layout.data(), layout.chunks()] {
                    self.zookeeper
                        .bounded(client.mkdir(&directory, &options))
                        .await?;
                }
                let head = HeadNode::new(Head::default(), "").encode();
                match self
                    .zookeeper
                    .bounded(client.create(&layout.head(), &head, &options))
                    .await
                {
                    Ok(_) | Err(Fault::Refused(ZkError::NodeExists)) => {}
                    Err(fault) => return Err(fault),
                }
                Ok(Attempt::Done(()))
            })
        })
        .await?;
        self.read_head().await.map(|_| ())
    }

    /// Tries until it is done, ZooKeeper refuses for good, or the time is over.
    async fn persist<'a, T>(
        &self,
        attempt: impl Fn(Client) -> BoxFuture<'a, Result<Attempt<T>, Fault>> + Send,
    ) -> Result<T, StoreError> {
        let timeout = self.zookeeper.options().operation_timeout;
        let deadline = Instant::now() + timeout;
        let mut link = self.zookeeper.link();
        let over = || StoreError::Timeout {
            place: self.layout.root.clone(),
            after_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        loop {
            let connected = async {
                link.wait_for(|link| link.client().is_some())
                    .await
                    .map(|link| link.client().cloned())
            };
            let client = match tokio::time::timeout_at(deadline, connected).await {
                Ok(Ok(Some(client))) => client,
                Ok(Ok(None)) => continue,
                Ok(Err(_)) => return Err(StoreError::Closed),
                Err(_) => return Err(over()),
            };
            let again = match tokio::time::timeout_at(deadline, attempt(client)).await {
                Ok(Ok(Attempt::Done(done))) => return Ok(done),
                Ok(Ok(Attempt::Again(fault))) => fault,
                Ok(Err(fault)) if passes(&fault) => fault,
                Ok(Err(fault)) => return Err(self.failed(fault.to_string())),
                Err(_) => return Err(over()),
            };
            self.metrics.retries.increment();
            tracing::debug!(%again, root = self.layout.root, "trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn failed(&self, why: String) -> StoreError {
        StoreError::Failed {
            place: self.layout.root.clone(),
            why,
        }
    }

    /// The head, as of the newest commit.
    async fn read_head(&self) -> Result<HeadNode, StoreError> {
        let content = self
            .persist(|client| {
                Box::pin(async move {
                    let path = self.layout.head();
                    let synced = client.sync(&path);
                    let asked = client.get_data(&path);
                    self.zookeeper.bounded(synced).await?;
                    Ok(Attempt::Done(self.zookeeper.bounded(asked).await?.0))
                })
            })
            .await?;
        HeadNode::decode(&content, &self.layout.root)
    }
}

/// Whether this is about the connection, and goes with it.
fn passes(fault: &Fault) -> bool {
    match fault {
        Fault::Timeout => true,
        Fault::Refused(error) => matches!(
            error,
            ZkError::ConnectionLoss
                | ZkError::SessionExpired
                | ZkError::SessionMoved
                | ZkError::ClientClosed
                | ZkError::Timeout
                | ZkError::NoHosts
                | ZkError::Throttled
                | ZkError::Custom(_)
        ),
    }
}

impl Store for ZooKeeperStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            validate_key(key)?;
            self.keeper.get(key).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            let collection = validate_prefix(prefix)?;
            self.keeper.list(collection, prefix).await
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            let collection = validate_prefix(prefix)?;
            self.keeper.page(collection, prefix, after).await
        })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(self.queue.submit(transaction))
    }

    fn epoch(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.keeper.read_head().await?.head().epoch) })
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.keeper.metrics
    }
}
