//! To be the leader: one of several candidates leads at a time, with an epoch that is higher than that of all before it.
//!
//! With ZooKeeper a candidate leaves an ephemeral node with a sequence number; the lowest leads, and its sequence number is the epoch.
//! Without, the process leads at once, with an epoch that its store raises at every start.
//!
//! What is lost is lost softly. Cut off from ZooKeeper, a leader stays [`Leadership::Leading`] until the time at which ZooKeeper may have given
//! its place to another, then it is [`Leadership::Suspended`]: its owner starts nothing new, and lets run what runs. Back again, it resumes
//! its session if that still lives; otherwise it removes what it left there, campaigns again, and follows only if another leads. An election
//! never ends the process.

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::leader::{Leader, LeaderInfo};
use crate::store::{Store, StoreError, Transaction};
use crate::zookeeper::{ZooKeeper, campaign};

/// The label of masters' nodes, as Mesos has it.
pub const MASTER_LABEL: &str = "json.info_";

/// One who wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the candidates meet, relative to the path of the ZooKeeper URL; empty for that path itself.
    pub path: String,
    /// What the nodes' names begin with, before the sequence number.
    pub label: String,
    /// What the others learn when this one leads. It must differ between processes (hold a random id): nodes with the same content are
    /// taken for one's own.
    pub payload: Bytes,
}

impl Candidate {
    /// A master, seen by everything that detects Mesos masters.
    pub fn master(info: &LeaderInfo) -> Self {
        Self {
            path: String::new(),
            label: MASTER_LABEL.to_owned(),
            payload: info.to_json().into(),
        }
    }

    /// Any other, meeting its rivals at `path` below the URL's path.
    pub fn new(path: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            path: path.into(),
            label: "member_".to_owned(),
            payload: payload.into(),
        }
    }
}

/// A candidate's node, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it said of itself.
    pub payload: Bytes,
    /// Its sequence number.
    pub epoch: u64,
}

impl Member {
    /// The member as a leader, if its payload is a [`LeaderInfo`].
    ///
    /// # Errors
    /// It is something else.
    pub fn leader(&self) -> Result<Leader, serde_json::Error> {
        Ok(Leader {
            info: LeaderInfo::from_json(&self.payload)?,
            epoch: self.epoch,
        })
    }
}

/// Where a candidate stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// Not known yet: ZooKeeper has not been reached.
    #[default]
    Waiting,
    /// Another leads.
    Following {
        /// Who.
        leader: Member,
    },
    /// This one leads. When the epoch changes without another state between, it never stopped leading.
    Leading {
        /// To put on everything that is said and written as the leader.
        epoch: u64,
    },
    /// This one led, and cannot know whether it still does. Nothing new may be started; what runs goes on.
    Suspended {
        /// The epoch it led with.
        epoch: u64,
    },
}

impl Leadership {
    /// The epoch, when leading for sure.
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Self::Leading { epoch } => Some(*epoch),
            _ => None,
        }
    }

    /// Whether this one leads, or led and was not replaced as far as it knows.
    pub fn leads(&self) -> bool {
        matches!(self, Self::Leading { .. } | Self::Suspended { .. })
    }
}

/// A candidacy. Ends when it is dropped or [resigned](Election::resign): another takes over at once.
#[derive(Debug)]
pub struct Election {
    leadership: watch::Receiver<Leadership>,
    running: Option<Running>,
    /// Keeps the state of a candidacy without a task.
    _standalone: Option<watch::Sender<Leadership>>,
}

#[derive(Debug)]
struct Running {
    /// Dropped to end the task, which then removes its node.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Election {
    /// Campaigns in ZooKeeper. Must be called within a tokio runtime.
    pub fn zookeeper(zookeeper: &ZooKeeper, candidate: Candidate) -> Self {
        let (sender, leadership) = watch::channel(Leadership::Waiting);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(campaign::run(zookeeper.clone(), candidate, sender, stopped));
        Self {
            leadership,
            running: Some(Running { stop, task }),
            _standalone: None,
        }
    }

    /// Leads at once, with the next epoch of the store.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn standalone(store: &dyn Store) -> Result<Self, StoreError> {
        let epoch = store.epoch().await? + 1;
        store.commit(Transaction::new(epoch)).await?;
        Ok(Self::leading(epoch))
    }

    /// Leads at once with a given epoch, without a store: for tests and simulations.
    pub fn leading(epoch: u64) -> Self {
        let (sender, leadership) = watch::channel(Leadership::Leading { epoch });
        Self {
            leadership,
            running: None,
            _standalone: Some(sender),
        }
    }

    /// How it stands now.
    pub fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Waits for a change since the last call, and tells it. The first call tells the first change from [`Leadership::Waiting`].
    pub async fn changed(&mut self) -> Leadership {
        if self.leadership.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.leadership.borrow_and_update().clone()
    }

    /// To watch it from elsewhere.
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Gives the place up and returns when the node is removed, or after the session time-out when ZooKeeper does not answer.
    pub async fn resign(mut self) {
        if let Some(Running { stop, task }) = self.running.take() {
            drop(stop);
            // A panic in there has been reported by its task; there is nothing left to give up.
            let _ = task.await;
        }
    }
}
