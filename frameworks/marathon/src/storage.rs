//! The durable store as the core sees it: records in, writes out, in order.

use tepui_coordination::{SharedStore, StoreError, Transaction, store::MAX_OPERATIONS};
use tepui_marathon_core::{Input, Mutation, Record};
use tokio::sync::mpsc;

use crate::engine::{EngineHandle, Write};

/// The collections that hold Marathon's records are below this prefix, so that they never meet somebody else's.
const PREFIX: &str = "marathon-";

/// Key of the store for a key of the core: `app/x` is `marathon-app/x`.
fn store_key(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// Reads everything that Marathon has stored. The epoch is made known first: from then on a predecessor can write no more.
pub(crate) async fn load(store: &SharedStore, epoch: u64) -> Result<Vec<Record>, StoreError> {
    store.commit(Transaction::new(epoch)).await?;
    let entries = store.list("").await?;
    Ok(entries
        .into_iter()
        .filter_map(|(key, entry)| {
            Some(Record {
                key: key.strip_prefix(PREFIX)?.to_owned(),
                value: entry.value,
            })
        })
        .collect())
}

/// Writes what the core wants written, and tells it. What waits together is committed together, without ever splitting one write.
///
/// # Errors
/// The store refuses, or is gone for longer than it bears: the term is over, because what the core holds may not be what is stored.
pub(crate) async fn run(
    store: SharedStore,
    epoch: u64,
    mut writes: mpsc::Receiver<Write>,
    engine: EngineHandle,
) -> Result<(), StoreError> {
    let mut next = writes.recv().await;
    while let Some(first) = next.take() {
        let mut sequence = first.sequence;
        let mut transaction = Transaction::new(epoch);
        add(&mut transaction, first.mutations);
        while let Ok(write) = writes.try_recv() {
            if transaction.operations.len() + write.mutations.len() > MAX_OPERATIONS {
                next = Some(write);
                break;
            }
            sequence = write.sequence;
            add(&mut transaction, write.mutations);
        }
        commit(&store, transaction).await?;
        engine.input(Input::Stored { sequence }).await;
        if next.is_none() {
            next = writes.recv().await;
        }
    }
    Ok(())
}

/// Commits; an answer that did not come in time is asked for again, since the same writes twice are the same writes.
async fn commit(store: &SharedStore, transaction: Transaction) -> Result<(), StoreError> {
    loop {
        match store.commit(transaction.clone()).await {
            Ok(_) => return Ok(()),
            Err(error @ StoreError::Timeout { .. }) => {
                tracing::warn!(%error, "Marathon's store is slow; acknowledgements wait")
            }
            Err(error) => return Err(error),
        }
    }
}

fn add(transaction: &mut Transaction, mutations: Vec<Mutation>) {
    let taken = std::mem::take(transaction);
    *transaction = mutations
        .into_iter()
        .fold(taken, |transaction, mutation| match mutation {
            Mutation::Put { key, value } => transaction.put(store_key(&key), value),
            Mutation::Delete { key } => transaction.delete(store_key(&key)),
        });
}
