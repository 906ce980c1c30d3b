//! The registry in the durable store: how it is laid out, read by a new leader, and written on the core's behalf.
//!
//! | key | value |
//! | --- | --- |
//! | `agents/<agent id>` | [`StoredAgent`], protobuf |
//! | `unreachable/<agent id>` | since when: nanoseconds since the epoch, decimal |
//! | `gone/<agent id>` | since when: the same |
//!
//! Writes that wait share a transaction; answers come in the order of the writes. Every transaction carries the leader's epoch, and
//! a new leader commits an empty one before it reads, so that what it reads is all there will be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use tepui_coordination::{SharedStore, StoreError, Transaction};
use tepui_master_core::{AdmittedAgent, Registry, RegistryOperation};
use tepui_model::{AgentId, Time};
use tepui_proto::mesos;
use tokio::sync::mpsc;

use crate::driver::{Inbox, Notice, Write};
use crate::metrics::Metrics;

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

/// An admitted agent as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredAgent {
    #[prost(message, optional, tag = "1")]
    info: Option<mesos::AgentInfo>,
    #[prost(bool, tag = "2")]
    deactivated: bool,
}

/// Fences off earlier leaders, then reads the whole registry.
pub(crate) async fn recover(
    store: &SharedStore,
    epoch: u64,
    timeout: Duration,
) -> Result<Registry, RecoveryError> {
    let reading = async {
        store.commit(Transaction::new(epoch)).await?;
        let mut registry = Registry::default();
        for (key, entry) in store.list("agents/").await? {
            let stored =
                StoredAgent::decode(entry.value).map_err(|error| entry_error(&key, error))?;
            let info = stored
                .info
                .ok_or_else(|| entry_error(&key, "it names no agent"))?;
            registry.agents.push(AdmittedAgent {
                info,
                deactivated: stored.deactivated,
            });
        }
        for (collection, list) in [
            ("unreachable/", &mut registry.unreachable),
            ("gone/", &mut registry.gone),
        ] {
            for (key, entry) in store.list(collection).await? {
                let id = AgentId::new(key.trim_start_matches(collection))
                    .map_err(|error| entry_error(&key, error))?;
                let text =
                    std::str::from_utf8(&entry.value).map_err(|error| entry_error(&key, error))?;
                let nanos = text.parse().map_err(|error| entry_error(&key, error))?;
                list.push((id, Time::from_nanos(nanos)));
            }
        }
        Ok(registry)
    };
    tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or(Err(RecoveryError::Timeout(timeout)))
}

fn entry_error(key: &str, why: impl std::fmt::Display) -> RecoveryError {
    RecoveryError::Entry {
        key: key.to_owned(),
        why: why.to_string(),
    }
}

/// Writes what the core asks for until it asks no more.
pub(crate) async fn run(
    store: SharedStore,
    epoch: Arc<AtomicU64>,
    timeout: Duration,
    mut writes: mpsc::UnboundedReceiver<Write>,
    inbox: Inbox,
    metrics: Arc<Metrics>,
) {
    let mut taken = Vec::new();
    while writes.recv_many(&mut taken, 256).await > 0 {
        let mut rest = taken.drain(..).peekable();
        while let Some(first) = rest.next() {
            let mut sequences = vec![first.sequence];
            let mut transaction = extend(
                Transaction::new(epoch.load(Ordering::Relaxed)),
                first.operations,
            );
            while let Some(next) = rest.next_if(|next| {
                transaction.operations.len() + 2 * cost(&next.operations)
                    <= tepui_coordination::store::MAX_OPERATIONS
            }) {
                sequences.push(next.sequence);
                transaction = extend(transaction, next.operations);
            }
            let started = Instant::now();
            let result = commit(&store, transaction, timeout).await;
            metrics.stored(started.elapsed());
            for sequence in sequences {
                inbox.notify(Notice::Stored(sequence, result.clone()));
            }
        }
    }
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

/// The most changes of keys that these operations make.
fn cost(operations: &[RegistryOperation]) -> usize {
    operations
        .iter()
        .map(|operation| match operation {
            RegistryOperation::Prune { agents } => 2 * agents.len(),
            _ => 3,
        })
        .sum()
}

fn extend(mut transaction: Transaction, operations: Vec<RegistryOperation>) -> Transaction {
    let agent_key = |agent: &AgentId| format!("agents/{agent}");
    let unreachable_key = |agent: &AgentId| format!("unreachable/{agent}");
    let gone_key = |agent: &AgentId| format!("gone/{agent}");
    for operation in operations {
        transaction = match operation {
            RegistryOperation::Admit(agent) => {
                let id = agent
                    .info
                    .id
                    .as_ref()
                    .map(|id| id.value.clone())
                    .unwrap_or_default();
                let stored = StoredAgent {
                    deactivated: agent.deactivated,
                    info: Some(agent.info),
                };
                transaction
                    .put(format!("agents/{id}"), stored.encode_to_vec())
                    .delete(format!("unreachable/{id}"))
            }
            RegistryOperation::MarkUnreachable { agent, at } => transaction
                .delete(agent_key(&agent))
                .put(unreachable_key(&agent), at.as_nanos().to_string()),
            RegistryOperation::Remove { agent } => transaction
                .delete(agent_key(&agent))
                .delete(unreachable_key(&agent)),
            RegistryOperation::MarkGone { agent, at } => transaction
                .delete(agent_key(&agent))
                .delete(unreachable_key(&agent))
                .put(gone_key(&agent), at.as_nanos().to_string()),
            RegistryOperation::Prune { agents } => {
                agents.iter().fold(transaction, |transaction, agent| {
                    transaction
                        .delete(unreachable_key(agent))
                        .delete(gone_key(agent))
                })
            }
        };
    }
    transaction
}
