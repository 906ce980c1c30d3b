//! The durable store as the core sees it: records in, writes out, in order.

#[cfg(test)]
mod cuts;
mod large;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tepui_coordination::{SharedStore, StoreError, Transaction, store::MAX_OPERATIONS};
use tepui_marathon_core::{Input, Mutation, Record};
use tokio::sync::mpsc;

use crate::{
    backup,
    engine::{EngineHandle, Write},
};

/// The collection of records that stand alone, and with a dash the beginning of the names of all others, so that they never meet somebody else's.
const COLLECTION: &str = "marathon";

/// The most bytes of writes that are joined into one transaction.
const MAX_BYTES: usize = 24 << 20;

/// Key of the store for a key of the core: `app/x` is in collection `marathon-app`, and `framework` in `marathon`.
fn store_key(key: &str) -> String {
    if key.contains('/') {
        format!("{COLLECTION}-{key}")
    } else {
        format!("{COLLECTION}/{key}")
    }
}

/// The key of the core for a key of the store, if it is one.
fn core_key(key: &str) -> Option<&str> {
    key.strip_prefix(COLLECTION)?.strip_prefix(['/', '-'])
}

/// Reads everything that Marathon has stored. The epoch is made known first: from then on a predecessor can write no more.
pub(crate) async fn load(store: &SharedStore, epoch: u64) -> Result<Vec<Record>, StoreError> {
    store.commit(Transaction::new(epoch)).await?;
    let entries = store.list("").await?.into_iter();
    let mut stored: BTreeMap<String, Bytes> =
        entries.map(|(key, entry)| (key, entry.value)).collect();
    large::finish_large(store, epoch, &mut stored).await?;
    let record = |(key, value): (String, Bytes)| {
        Some(Record {
            key: core_key(&key)?.to_owned(),
            value,
        })
    };
    Ok(stored.into_iter().filter_map(record).collect())
}

/// All records, as they are now.
pub(crate) async fn records(store: &SharedStore) -> Result<Vec<Record>, StoreError> {
    let entries = store.list("").await?.into_iter();
    let record = |(key, value): (String, Bytes)| {
        Some(Record {
            key: core_key(&key)?.to_owned(),
            value,
        })
    };
    let records = entries.filter_map(|(key, entry)| record((key, entry.value)));
    Ok(records.collect())
}

/// Writes all of it, or nothing.
pub(crate) async fn write(
    store: &SharedStore,
    epoch: u64,
    mutations: Vec<Mutation>,
) -> Result<(), StoreError> {
    if large::is_large(&mutations) {
        return large::commit_large(store, epoch, mutations).await;
    }
    let mut transaction = Transaction::new(epoch);
    add(&mut transaction, mutations);
    commit(store, transaction).await
}

/// The next write; meanwhile backups are made for who asks.
async fn next_write(
    store: &SharedStore,
    epoch: u64,
    writes: &mut mpsc::Receiver<Write>,
    backups: &mut mpsc::Receiver<backup::Request>,
) -> Option<Write> {
    loop {
        tokio::select! {
            Some(asked) = backups.recv() => {
                // Who has gone away does not want it any more.
                if asked.is_closed() {
                    continue;
                }
                let _ = asked.send(backup::take(store, epoch).await);
            }
            write = writes.recv() => return write,
        }
    }
}

/// Writes what the core wants written, and tells it. What waits together is committed together, without ever splitting one write.
///
/// # Errors
/// The store refuses, or is gone for longer than it bears: the term is over, because what the core holds may not be what is stored.
pub(crate) async fn run(
    store: SharedStore,
    epoch: u64,
    mut writes: mpsc::Receiver<Write>,
    mut backups: mpsc::Receiver<backup::Request>,
    engine: EngineHandle,
) -> Result<(), StoreError> {
    let mut next = next_write(&store, epoch, &mut writes, &mut backups).await;
    while let Some(first) = next.take() {
        let mut sequence = first.sequence;
        if large::is_large(&first.mutations) {
            large::commit_large(&store, epoch, first.mutations).await?;
            engine.input(Input::Stored { sequence }).await;
            next = next_write(&store, epoch, &mut writes, &mut backups).await;
            continue;
        }
        let mut bytes = large::bytes_of(&first.mutations);
        let mut mutations = first.mutations;
        while let Ok(write) = writes.try_recv() {
            let full = mutations.len() + write.mutations.len() > MAX_OPERATIONS;
            bytes += large::bytes_of(&write.mutations);
            if full || bytes > MAX_BYTES || large::is_large(&write.mutations) {
                next = Some(write);
                break;
            }
            sequence = write.sequence;
            mutations.extend(write.mutations);
        }
        let mut transaction = Transaction::new(epoch);
        add(&mut transaction, last_of_each(mutations));
        commit(&store, transaction).await?;
        engine.input(Input::Stored { sequence }).await;
        if next.is_none() {
            next = next_write(&store, epoch, &mut writes, &mut backups).await;
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

/// Of several writes of one key the last: what is committed together is seen only as it is in the end.
fn last_of_each(mutations: Vec<Mutation>) -> Vec<Mutation> {
    let key = |mutation: &Mutation| match mutation {
        Mutation::Put { key, .. } | Mutation::Delete { key } => key.clone(),
    };
    let mut seen = HashSet::with_capacity(mutations.len());
    let mut kept: Vec<Mutation> = (mutations.into_iter().rev())
        .filter(|mutation| seen.insert(key(mutation)))
        .collect();
    kept.reverse();
    kept
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_committed_together_the_last_of_each_key_is_written() {
        let put = |key: &str, value: &'static str| Mutation::Put {
            key: key.to_owned(),
            value: value.into(),
        };
        let delete = |key: &str| Mutation::Delete {
            key: key.to_owned(),
        };
        let all = vec![
            put("a", "1"),
            put("b", "1"),
            delete("c"),
            put("a", "2"),
            delete("b"),
            put("c", "1"),
        ];
        assert_eq!(
            last_of_each(all),
            [put("a", "2"), delete("b"), put("c", "1")]
        );
        assert_eq!(last_of_each(Vec::new()), []);
    }

    #[test]
    fn keys_come_back_as_they_went() {
        for (key, stored) in [
            ("framework", "marathon/framework"),
            ("app/%2Fweb/2015", "marathon-app/%2Fweb/2015"),
        ] {
            assert_eq!(store_key(key), stored);
            assert_eq!(core_key(stored), Some(key));
        }
        assert_eq!(core_key("agents/x"), None);
    }
}
