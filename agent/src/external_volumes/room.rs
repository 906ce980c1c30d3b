//! The volumes of one kind: brought for the first container that wants one, taken away after the last.
//!
//! What is the same whoever keeps them: who holds what is written down before anything is done; what concerns one volume happens one after the
//! other; what cannot be taken away is tried again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::JoinSet;

use super::ledger::{Key, Ledger};
use super::storage;
use crate::provision::plan::{Planned, What};

/// Between two attempts to take away what could not be taken away.
const RETRY: Duration = Duration::from_secs(60);
/// So many volumes are brought or taken away at a time; others wait.
const MAX_AT_WORK: usize = 64;

/// Why a volume was not brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing of it is here: there is nothing to take away.
    Refused(String),
    /// It may be here.
    Unclear(String),
}

/// Who brings volumes of one kind to this machine, and takes them away.
pub(crate) trait Provider: fmt::Debug + Send + Sync + 'static {
    /// Tells its volumes apart.
    type Key: Key;
    /// What a container wants of a volume.
    type Wanted: fmt::Debug + Send + Sync;
    /// Its volumes, in words.
    const KIND: &'static str;

    /// What of a container's volumes is its own.
    fn among(what: &What) -> Option<&Self::Wanted>;
    /// Which volume is wanted.
    fn key(wanted: &Self::Wanted) -> &Self::Key;
    /// Says why there is no such volume on this machine. Asked before anything is written down.
    fn check(&self, wanted: &Self::Wanted) -> Result<(), String>;
    /// Whether the volume, which was brought to this place, is still there, and as it is wanted. An error: its storage does not answer.
    fn is_there(
        &self,
        wanted: &Self::Wanted,
        place: &Path,
    ) -> impl Future<Output = Result<bool, String>> + Send;
    /// Brings a volume; where it is. `alone`: nobody has it yet.
    fn bring(
        &self,
        wanted: &Self::Wanted,
        alone: bool,
    ) -> impl Future<Output = Result<PathBuf, Failure>> + Send;
    /// Takes a volume away. Repeatable.
    fn take_away(&self, key: &Self::Key) -> impl Future<Output = Result<(), String>> + Send;
    /// What a volume that was brought to this place is to a container.
    fn shows(&self, wanted: &Self::Wanted, place: PathBuf) -> What;
    /// Whether the mount point, and nothing in it, is given to the task's user. `alone`: nobody else has it.
    fn is_given(&self, wanted: &Self::Wanted, alone: bool, user: u32) -> bool;
}

#[derive(Debug)]
pub(super) struct Inner<P: Provider> {
    pub(super) provider: P,
    ledger: Mutex<Ledger<P::Key>>,
    /// What concerns one volume happens one after the other. Only of volumes that somebody works at.
    pub(super) turns: Mutex<Turns<P::Key>>,
    at_work: Semaphore,
    failed: AtomicU64,
}

type Turns<K> = HashMap<K, Arc<tokio::sync::Mutex<()>>>;

/// The volumes of one kind. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Room<P: Provider>(pub(super) Arc<Inner<P>>);

impl<P: Provider> Clone for Room<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Provider> Room<P> {
    /// Reads what an earlier life has left in this directory. What containers hold that are not `alive` is taken away by [`Room::tend`]; nothing
    /// is where it was if the machine has restarted since. Blocks.
    pub(super) fn start(
        provider: P,
        directory: PathBuf,
        alive: &HashSet<String>,
        same_boot: bool,
    ) -> Self {
        let ledger = Ledger::read(P::KIND, directory, alive, same_boot);
        let gone = ledger.gone().len();
        if gone > 0 {
            let kind = P::KIND;
            tracing::info!("taking away the {kind} of {gone} containers that are gone");
        }
        Self(Arc::new(Inner {
            provider,
            ledger: Mutex::new(ledger),
            turns: Mutex::default(),
            at_work: Semaphore::new(MAX_AT_WORK),
            failed: AtomicU64::new(0),
        }))
    }

    /// Whether the container holds any, or did and they are still to be taken away.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.0.ledger.lock().has(container)
    }

    /// Volumes that are here.
    pub(crate) fn mounted(&self) -> usize {
        self.0.ledger.lock().mounted()
    }

    /// What failed since the agent's start.
    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Brings what of these volumes is of this kind, and puts in its place where it is. After an error the container is to be released.
    pub(crate) async fn mount(
        &self,
        container: &str,
        volumes: &mut [Planned],
        sandbox: &Path,
    ) -> Result<(), String> {
        let mut keys = Vec::new();
        for wanted in volumes.iter().filter_map(|volume| P::among(&volume.what)) {
            self.0.provider.check(wanted)?;
            keys.push(P::key(wanted).clone());
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.0.ledger.lock().hold(container, keys)?;
        for volume in volumes {
            if let Some(wanted) = P::among(&volume.what) {
                let place = self.mount_one(container, wanted, sandbox).await?;
                volume.what = self.0.provider.shows(wanted, place);
            }
        }
        // With the places: the next life need not ask for them.
        self.0.ledger.lock().write(container)
    }

    async fn mount_one(
        &self,
        container: &str,
        wanted: &P::Wanted,
        sandbox: &Path,
    ) -> Result<PathBuf, String> {
        let (key, provider) = (P::key(wanted), &self.0.provider);
        let _turn = self.turn(key).await;
        let (known, alone) = {
            let ledger = self.0.ledger.lock();
            (ledger.place(key), ledger.is_alone(container, key))
        };
        let place = match known {
            Some(place) if provider.is_there(wanted, &place).await? => place,
            _ => self.bring(container, wanted, alone).await?,
        };
        let cannot = |error: std::io::Error| {
            let place = place.display();
            format!("cannot give the volume at {place} to the task's user: {error}")
        };
        // It has its sandbox.
        let owner = std::fs::metadata(sandbox).map_err(cannot)?;
        if provider.is_given(wanted, alone, owner.uid()) {
            let give = move |place: &Path| chown(place, Some(owner.uid()), Some(owner.gid()));
            storage::ask(&place, give).await?.map_err(cannot)?;
        }
        Ok(place)
    }

    async fn bring(
        &self,
        container: &str,
        wanted: &P::Wanted,
        alone: bool,
    ) -> Result<PathBuf, String> {
        let key = P::key(wanted);
        let at_work = self.0.at_work.acquire().await;
        let brought = self.0.provider.bring(wanted, alone).await;
        drop(at_work);
        let mut ledger = self.0.ledger.lock();
        match brought {
            Ok(place) => {
                ledger.mounted_at(key, place.clone());
                Ok(place)
            }
            Err(failure) => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                let (Failure::Refused(why) | Failure::Unclear(why)) = &failure;
                if matches!(failure, Failure::Refused(_)) {
                    ledger.let_go(container, key);
                }
                Err(format!("cannot mount {key}: {why}"))
            }
        }
    }

    /// The container is gone, or was never launched: what nobody else holds of its volumes is taken away. Repeatable.
    pub(crate) async fn release(&self, container: &str) {
        // What could not be taken away once has its own time.
        if self.0.ledger.lock().begin_release(container) {
            self.settle(container).await;
        }
    }

    async fn settle(&self, container: &str) {
        let held = self.0.ledger.lock().held(container);
        for key in held {
            let _turn = self.turn(&key).await;
            if !self.0.ledger.lock().is_last(container, &key) {
                self.0.ledger.lock().let_go(container, &key);
                continue;
            }
            let at_work = self.0.at_work.acquire().await;
            let taken = self.0.provider.take_away(&key).await;
            drop(at_work);
            match taken {
                Ok(()) => self.0.ledger.lock().unmounted(&key),
                Err(problem) => {
                    self.0.failed.fetch_add(1, Ordering::Relaxed);
                    self.0.ledger.lock().leave_to_another(container, &key);
                    tracing::warn!(
                        "cannot unmount {key} of container {container}, which is tried again in {RETRY:?}: {problem}"
                    );
                }
            }
        }
        if let Err(problem) = self.0.ledger.lock().write(container) {
            tracing::warn!("{problem}");
        }
    }

    /// Takes away what ended containers have left, each once.
    pub(super) async fn settle_all(&self) {
        let mut settling = JoinSet::new();
        let gone = self.0.ledger.lock().gone();
        for container in gone {
            let volumes = self.clone();
            settling.spawn(async move { volumes.settle(&container).await });
        }
        while settling.join_next().await.is_some() {}
    }

    /// Takes away what ended containers have left: now, and again for as long as something is left.
    pub(super) async fn tend(&self) {
        loop {
            self.settle_all().await;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn turn(&self, key: &P::Key) -> Turn<'_, P::Key> {
        let turn = Arc::clone(self.0.turns.lock().entry(key.clone()).or_default());
        Turn {
            held: Some(turn.lock_owned().await),
            key: key.clone(),
            turns: &self.0.turns,
        }
    }
}

/// The right to work at a volume. The last who waits for it takes the place away.
struct Turn<'a, K: Key> {
    held: Option<OwnedMutexGuard<()>>,
    key: K,
    turns: &'a Mutex<Turns<K>>,
}

impl<K: Key> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        self.held = None;
        if turns
            .get(&self.key)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.key);
        }
    }
}
