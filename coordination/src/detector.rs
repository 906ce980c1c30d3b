//! Who leads, as it is known from where one stands.
//!
//! While ZooKeeper cannot be reached the last known leader stays: streams to it go on, and if they break it is still the best guess.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::address::{HostPort, Location};
use crate::leader::{Leader, LeaderAddress, LeaderInfo};
use crate::zookeeper::{ZooKeeper, ZooKeeperOptions, detect};

/// Follows the leader. Clones follow the same one; the watching ends with the last of them.
#[derive(Clone, Debug)]
pub struct Detector {
    leader: watch::Receiver<Option<Leader>>,
    _source: Arc<Source>,
}

/// What feeds the detector, kept alive by it.
#[derive(Debug)]
enum Source {
    Fixed {
        _sender: watch::Sender<Option<Leader>>,
    },
    Watching(AbortHandle),
    Elsewhere,
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Watching(task) = self {
            task.abort();
        }
    }
}

impl Detector {
    /// Follows the leader at a location, with a session of its own if that is in ZooKeeper. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The file of a `file://` location cannot be read.
    pub fn new(
        location: Location,
        options: &ZooKeeperOptions,
    ) -> Result<Self, crate::LocationError> {
        match location.resolve(None)? {
            Location::Fixed(address) => Ok(Self::fixed(&address)),
            Location::ZooKeeper(url) => {
                Ok(Self::zookeeper(&ZooKeeper::connect(url, options.clone())))
            }
            Location::File(path) => Err(crate::LocationError::FileContent { path }),
        }
    }

    /// The leader is whoever listens there; its epoch is not known (0).
    pub fn fixed(address: &HostPort) -> Self {
        let info = LeaderInfo {
            address: Some(LeaderAddress {
                hostname: Some(address.host.clone()),
                ip: address.ip().map(|ip| ip.to_string()),
                port: address.port.into(),
            }),
            hostname: address.host.clone(),
            port: address.port.into(),
            ..LeaderInfo::default()
        };
        let (sender, leader) = watch::channel(Some(Leader { info, epoch: 0 }));
        Self {
            leader,
            _source: Arc::new(Source::Fixed { _sender: sender }),
        }
    }

    /// Follows the masters elected below the path of this session's URL. Must be called within a tokio runtime.
    pub fn zookeeper(zookeeper: &ZooKeeper) -> Self {
        let (sender, leader) = watch::channel(None);
        let task = tokio::spawn(detect::run(zookeeper.clone(), sender));
        Self {
            leader,
            _source: Arc::new(Source::Watching(task.abort_handle())),
        }
    }

    /// Follows what another source of leaders tells: an election of one's own, a test. When that source ends, its last word stays.
    pub fn watching(leader: watch::Receiver<Option<Leader>>) -> Self {
        Self {
            leader,
            _source: Arc::new(Source::Elsewhere),
        }
    }

    /// The leader as it is known now, if there is one.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// Waits until the leader is another one than this detector last told by [`Detector::changed`], and tells it.
    pub async fn changed(&mut self) -> Option<Leader> {
        if self.leader.changed().await.is_err() {
            // The source lives as long as this detector; a fixed one just never changes.
            std::future::pending::<()>().await;
        }
        self.leader.borrow_and_update().clone()
    }

    /// Waits until there is a leader.
    pub async fn wait(&mut self) -> Leader {
        match self
            .leader
            .wait_for(Option::is_some)
            .await
            .map(|found| found.clone())
        {
            Ok(Some(leader)) => leader,
            _ => std::future::pending().await,
        }
    }

    /// To watch it from elsewhere.
    pub fn watch(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }
}
