//! The durable store as the core sees it: records in, writes out, in order.

#[cfg(test)]
mod cuts;
pub(crate) mod follow;
mod large;

use std::{collections::HashSet, time::Instant};

use bytes::Bytes;
use tepui_coordination::{SharedStore, StoreError, Transaction, store::MAX_OPERATIONS};
use tepui_marathon_core::{Input, Mutation, Record};
use tokio::sync::mpsc;

use follow::Follower;
pub(crate) use large::Streamed;

use crate::engine::{EngineHandle, Write, drops};

/// The collection of records that stand alone, and with a dash the beginning of the names of all others, so that they never meet somebody else's.
const COLLECTION: &str = "marathon";

/// The most bytes of writes that are joined into one transaction.
const MAX_BYTES: usize = 24 << 20;

/// Key of the store for a key of the core: `app/x` is in collection `marathon-app`, and `framework` in `marathon`.
pub(crate) fn store_key(key: &str) -> String {
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

/// Makes the epoch known, from when on a predecessor can write no more, and carries to its end, or undoes, what it has left half done.
pub(crate) async fn take_over(store: &SharedStore, epoch: u64) -> Result<(), StoreError> {
    store.commit(Transaction::new(epoch)).await?;
    large::finish_large(store, epoch, &mut |_| {}).await
}

/// Reads everything that Marathon has stored, after it has taken over.
pub(crate) async fn load(store: &SharedStore, epoch: u64) -> Result<Vec<Record>, StoreError> {
    take_over(store, epoch).await?;
    let entries = store.list("").await?.into_iter();
    let records = entries.filter_map(|(key, entry)| record(&key, entry.value));
    Ok(records.collect())
}

fn record(key: &str, value: Bytes) -> Option<Record> {
    let key = core_key(key)?.to_owned();
    Some(Record { key, value })
}

/// Waits for the store's word that nobody has taken over.
///
/// # Errors
/// Fenced: another leads. Any other: the store is broken.
pub(crate) async fn still_leads(store: &SharedStore, epoch: u64) -> Result<(), StoreError> {
    commit(store, Transaction::new(epoch)).await
}

/// Goes through all records in the order of their keys in the store, a page at a time.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    store: &'a SharedStore,
    after: String,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(store: &'a SharedStore) -> Self {
        Self {
            store,
            after: String::new(),
        }
    }

    /// The next records; none: there are no more. A page may have none of Marathon's.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        let page = self.store.page("", &self.after).await?;
        let Some((last, _)) = page.last() else {
            return Ok(None);
        };
        self.after.clone_from(last);
        let page = page.into_iter();
        // What is on its way to be written is told of when it is.
        let page = page.filter(|(key, _)| !large::is_part(key));
        Ok(Some(
            page.filter_map(|(key, entry)| record(&key, entry.value))
                .collect(),
        ))
    }
}

/// The next write; meanwhile backups are begun and ended for who asks.
async fn next_write(
    store: &SharedStore,
    epoch: u64,
    writes: &mut mpsc::Receiver<Write>,
    backups: &mut mpsc::Receiver<follow::Request>,
    follower: &mut Follower,
) -> Option<Write> {
    loop {
        tokio::select! {
            Some(asked) = backups.recv() => follower.serve(asked, store, epoch).await,
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
    mut backups: mpsc::Receiver<follow::Request>,
    engine: EngineHandle,
) -> Result<(), StoreError> {
    let mut follower = Follower::default();
    let mut next = next_write(&store, epoch, &mut writes, &mut backups, &mut follower).await;
    while let Some(first) = next.take() {
        let mut sequence = first.sequence;
        if large::is_large(&first.mutations) {
            let told = follower.wants().then(|| first.mutations.clone());
            let (began, drops) = (Instant::now(), drops(&first.mutations));
            large::commit_large(&store, epoch, first.mutations).await?;
            note(&engine, drops, began);
            follower.tell(told);
            engine.input(Input::Stored { sequence }).await;
            next = next_write(&store, epoch, &mut writes, &mut backups, &mut follower).await;
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
        let mutations = last_of_each(mutations);
        let told = follower.wants().then(|| mutations.clone());
        let (began, drops) = (Instant::now(), drops(&mutations));
        let mut transaction = Transaction::new(epoch);
        add(&mut transaction, mutations);
        commit(&store, transaction).await?;
        note(&engine, drops, began);
        follower.tell(told);
        engine.input(Input::Stored { sequence }).await;
        if next.is_none() {
            next = next_write(&store, epoch, &mut writes, &mut backups, &mut follower).await;
        }
    }
    Ok(())
}

/// Takes note of a write that deleted something of the past.
fn note(engine: &EngineHandle, drops: bool, began: Instant) {
    if drops {
        engine.stats().gc.dropped(began.elapsed());
    }
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
