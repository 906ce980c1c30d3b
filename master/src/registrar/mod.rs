//! The registry in the durable store: how it is laid out, read by a new leader, and written on the core's behalf.
//!
//! `entries` has the keys and values. Writes that wait share a transaction; answers come in the order of the writes. Every transaction carries the leader's epoch, and
//! a new leader commits an empty one before it reads, so that what it reads is all there will be.

mod entries;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tepui_coordination::store::MAX_OPERATIONS;
use tepui_coordination::{SharedStore, StoreError, Transaction};
use tepui_master_core::Registry;
use tokio::sync::mpsc;

use crate::driver::{Inbox, Notice, Write};
use crate::metrics::Metrics;
use entries::{cost, extend};

/// Why a new leader has no registry.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store does not answer, or refuses.
    #[error("the registry cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The store took longer than `--registry_fetch_timeout`.
    #[error("the registry was not read within {0:?} (--registry_fetch_timeout)")]
    Timeout(Duration),
    /// A value is not what this version writes.
    #[error("the registry's entry '{key}' cannot be understood: {why}")]
    Entry {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl RecoveryError {
    /// Whether the store may answer otherwise a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Store(error) => matches!(
                error,
                StoreError::Timeout { .. } | StoreError::Failed { .. }
            ),
            Self::Entry { .. } => false,
        }
    }
}

/// Fences off earlier leaders, then reads the whole registry.
pub(crate) async fn recover(
    store: &SharedStore,
    epoch: u64,
    timeout: Duration,
    metrics: &Metrics,
) -> Result<Registry, RecoveryError> {
    let started = Instant::now();
    let reading = async {
        store.commit(Transaction::new(epoch)).await?;
        metrics.registry_size.clear();
        every_entry(store, |key, value| metrics.registry_size.read(key, value)).await
    };
    let registry = tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or(Err(RecoveryError::Timeout(timeout)))?;
    metrics.state_fetch.took(started.elapsed());
    Ok(registry)
}

/// Reads the whole registry as the store has it now, for who wants to look at it.
pub(crate) async fn read(
    store: &SharedStore,
    timeout: Duration,
) -> Result<Registry, RecoveryError> {
    tokio::time::timeout(timeout, every_entry(store, |_, _| {}))
        .await
        .unwrap_or(Err(RecoveryError::Timeout(timeout)))
}

async fn every_entry(
    store: &SharedStore,
    seen: impl Fn(&str, &[u8]),
) -> Result<Registry, RecoveryError> {
    let mut registry = Registry::default();
    for collection in entries::COLLECTIONS {
        for (key, entry) in store.list(collection).await? {
            seen(&key, &entry.value);
            entries::read(&mut registry, &key, entry.value)
                .map_err(|why| RecoveryError::Entry { key, why })?;
        }
    }
    Ok(registry)
}

/// Writes are joined up to about this many bytes.
const MOST_BYTES: usize = 4 << 20;
/// The most writes that are taken at once.
const TAKEN: usize = 1024;
/// The most transactions that are on their way at one time. The store joins those that wait into one commit.
const ON_THEIR_WAY: usize = 16;

/// Writes what the core asks for until it asks no more.
///
/// Several transactions are on their way at one time, in their order: the core never has two writes about one thing under way, so
/// that one which fails takes nothing from those behind it. Answers come in the order of the writes.
pub(crate) async fn run(
    store: SharedStore,
    epoch: Arc<AtomicU64>,
    timeout: Duration,
    mut writes: mpsc::UnboundedReceiver<Write>,
    inbox: Inbox,
    metrics: Arc<Metrics>,
) {
    let mut taken: Vec<Write> = Vec::new();
    let mut commits = FuturesOrdered::new();
    let mut open = true;
    while open || !commits.is_empty() {
        tokio::select! {
            Some(done) = commits.next() => {
                let (sequences, result): (Vec<u64>, Result<(), tepui_master_core::StoreError>) = done;
                for sequence in sequences {
                    inbox.notify(Notice::Stored(sequence, result.clone()));
                }
            }
            count = writes.recv_many(&mut taken, TAKEN), if open && commits.len() < ON_THEIR_WAY => {
                open = count > 0;
                for (sequences, transaction) in joined(taken.drain(..), &epoch) {
                    let (store, metrics) = (&store, &metrics);
                    commits.push_back(async move {
                        let started = Instant::now();
                        let resized = metrics.registry_size.resized(&transaction);
                        let result = commit(store, transaction, timeout).await;
                        metrics.state_store.took(started.elapsed());
                        if result.is_ok() {
                            metrics.registry_size.committed(resized);
                        }
                        (sequences, result)
                    });
                }
            }
        }
    }
}

/// Writes joined into transactions as large as the store takes them.
fn joined(writes: impl Iterator<Item = Write>, epoch: &AtomicU64) -> Vec<(Vec<u64>, Transaction)> {
    let mut all: Vec<(Vec<u64>, Transaction)> = Vec::new();
    for write in writes {
        let fits = all.last().is_some_and(|(_, transaction)| {
            transaction.operations.len() + cost(&write.operations) <= MAX_OPERATIONS
                && transaction.bytes() < MOST_BYTES
        });
        if !fits {
            let transaction = Transaction::new(epoch.load(Ordering::Relaxed));
            all.push((Vec::new(), transaction));
        }
        if let Some((sequences, transaction)) = all.last_mut() {
            sequences.push(write.sequence);
            *transaction = extend(std::mem::take(transaction), write.operations);
        }
    }
    all
}

async fn commit(
    store: &SharedStore,
    transaction: Transaction,
    timeout: Duration,
) -> Result<(), tepui_master_core::StoreError> {
    use tepui_master_core::StoreError as Answer;
    match tokio::time::timeout(timeout, store.commit(transaction)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error @ StoreError::Fenced { .. })) => Err(Answer::Fenced(error.to_string())),
        Ok(Err(error)) => Err(Answer::Failed(error.to_string())),
        Err(_) => Err(Answer::Failed(format!(
            "no answer within {timeout:?} (--registry_store_timeout)"
        ))),
    }
}
