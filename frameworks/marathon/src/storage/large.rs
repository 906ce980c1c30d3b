//! Writes that no single transaction takes: a group of thousands of apps.
//!
//! First all of the write is stored under few keys, then key by key under its own; then the few are deleted. If that is cut off, the next
//! leader goes on from those keys, or deletes them if not all of them were there yet; so such a write too is done wholly or not at all.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tepui_coordination::{SharedStore, StoreError, Transaction, store::MAX_OPERATIONS};
use tepui_marathon_core::Mutation;

use super::{add, commit};

/// The collection of such writes.
const COLLECTION: &str = "marathon-large";
/// The most bytes under one of its keys, and of one step.
const PART_BYTES: usize = 8 << 20;

/// The most bytes of one transaction while the few keys are stored.
const STEP_BYTES: usize = 3 * PART_BYTES;
/// The key that stands as long as not all parts are stored. A write that fits into one transaction has none.
const OPEN: &str = "open";

/// What becomes of one key.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    /// None: the key is deleted. The record as it is; former releases wrote it as a text.
    value: Option<Box<RawValue>>,
}

impl Entry {
    fn of(mutation: &Mutation) -> Result<Self, serde_json::Error> {
        Ok(match mutation {
            Mutation::Put { key, value } => Self {
                key: key.clone(),
                value: Some(serde_json::from_slice(value)?),
            },
            Mutation::Delete { key } => Self {
                key: key.clone(),
                value: None,
            },
        })
    }

    fn mutation(self) -> Result<Mutation, serde_json::Error> {
        let key = self.key;
        Ok(match self.value {
            None => Mutation::Delete { key },
            Some(value) if value.get().starts_with('"') => Mutation::Put {
                key,
                value: serde_json::from_str::<String>(value.get())?.into(),
            },
            Some(value) => Mutation::Put {
                key,
                value: Bytes::from(Box::<str>::from(value).into_string()),
            },
        })
    }
}

/// Whether a key of the store is one of such a write.
pub(super) fn is_part(key: &str) -> bool {
    key.split('/').next() == Some(COLLECTION)
}

/// Whether one transaction takes them.
pub(super) fn is_large(mutations: &[Mutation]) -> bool {
    mutations.len() > MAX_OPERATIONS || bytes_of(mutations) > PART_BYTES
}

/// How many bytes of a transaction they take.
pub(super) fn bytes_of(mutations: &[Mutation]) -> usize {
    mutations.iter().map(size).sum()
}

/// Commits such a write.
pub(super) async fn commit_large(
    store: &SharedStore,
    epoch: u64,
    mutations: Vec<Mutation>,
) -> Result<(), StoreError> {
    let parts = parts_of(&mutations).map_err(|error| format(COLLECTION, &error))?;
    let keys: Vec<String> = (0..parts.len()).map(part_key).collect();
    for step in storing(epoch, &keys, parts) {
        commit(store, step).await?;
    }
    apply_in_steps(store, epoch, mutations, keys).await
}

fn part_key(at: usize) -> String {
    format!("{COLLECTION}/{at:06}")
}

fn format(place: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Format {
        place: place.to_owned(),
        why: error.to_string(),
    }
}

/// The transactions that store the parts.
fn storing(epoch: u64, keys: &[String], parts: Vec<Bytes>) -> Vec<Transaction> {
    let open = format!("{COLLECTION}/{OPEN}");
    let (mut steps, mut step, mut bytes) = (Vec::new(), Transaction::new(epoch), 0);
    for (key, part) in keys.iter().zip(parts) {
        if bytes + part.len() > STEP_BYTES && bytes > 0 {
            steps.push(std::mem::replace(&mut step, Transaction::new(epoch)));
            bytes = 0;
        }
        bytes += part.len();
        step = step.put(key.clone(), part);
    }
    if let Some(first) = steps.first_mut() {
        let begun = std::mem::replace(first, Transaction::new(epoch));
        *first = begun.put(open.clone(), Bytes::from_static(b"{}"));
        step = step.delete(open);
    }
    steps.push(step);
    steps
}

/// Carries such a write to its end if a predecessor did not, a part at a time; `told` hears how many keys have become what they are to be.
pub(super) async fn finish_large(
    store: &SharedStore,
    epoch: u64,
    told: &mut (dyn FnMut(usize) + Send),
) -> Result<(), StoreError> {
    let prefix = format!("{COLLECTION}/");
    // Its predecessor did not come to the end of storing it, and told nobody that it was done. The mark goes last.
    let begun = store.get(&format!("{prefix}{OPEN}")).await?.is_some();
    let mut after = String::new();
    loop {
        let page = store.page(&prefix, &after).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after.clone_from(last);
        if begun {
            delete(store, epoch, page.into_iter().map(|(key, _)| key).collect()).await?;
            continue;
        }
        for (key, part) in page {
            let entries: Vec<Entry> =
                serde_json::from_slice(&part.value).map_err(|error| format(&key, &error))?;
            let mutations = entries.into_iter().map(Entry::mutation);
            let mutations: Vec<Mutation> = mutations
                .collect::<Result<_, _>>()
                .map_err(|error| format(&key, &error))?;
            let count = mutations.len();
            apply_in_steps(store, epoch, mutations, vec![key]).await?;
            told(count);
        }
    }
}

/// A write that is too large to be held: it is stored part by part as it comes, and only then done.
pub(crate) struct Streamed<'a> {
    store: &'a SharedStore,
    epoch: u64,
    part: Vec<Entry>,
    bytes: usize,
    parts: usize,
}

impl<'a> Streamed<'a> {
    pub(crate) fn new(store: &'a SharedStore, epoch: u64) -> Self {
        Self {
            store,
            epoch,
            part: Vec::new(),
            bytes: 0,
            parts: 0,
        }
    }

    /// Adds what becomes of a key; of one key the last counts.
    pub(crate) async fn push(&mut self, mutation: &Mutation) -> Result<(), StoreError> {
        let length = size(mutation) + 32;
        if self.bytes + length > PART_BYTES && !self.part.is_empty() {
            self.store_part().await?;
        }
        self.bytes += length;
        let entry = Entry::of(mutation).map_err(|error| format(COLLECTION, &error))?;
        self.part.push(entry);
        Ok(())
    }

    async fn store_part(&mut self) -> Result<(), StoreError> {
        let part = serde_json::to_vec(&self.part).map_err(|error| format(COLLECTION, &error))?;
        let mut step = Transaction::new(self.epoch).put(part_key(self.parts), part);
        if self.parts == 0 {
            step = step.put(format!("{COLLECTION}/{OPEN}"), Bytes::from_static(b"{}"));
        }
        commit(self.store, step).await?;
        self.part.clear();
        (self.bytes, self.parts) = (0, self.parts + 1);
        Ok(())
    }

    /// All has come: from here on it is done, by this leader or the next. `told` hears how many keys have become what they are to be.
    pub(crate) async fn end(
        mut self,
        told: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), StoreError> {
        self.store_part().await?;
        let whole = Transaction::new(self.epoch).delete(format!("{COLLECTION}/{OPEN}"));
        commit(self.store, whole).await?;
        finish_large(self.store, self.epoch, told).await
    }

    /// Nothing of it is to be done.
    pub(crate) async fn abandon(self) -> Result<(), StoreError> {
        // What is marked as begun is taken away.
        finish_large(self.store, self.epoch, &mut |_| {}).await
    }
}

async fn apply_in_steps(
    store: &SharedStore,
    epoch: u64,
    mutations: Vec<Mutation>,
    parts: Vec<String>,
) -> Result<(), StoreError> {
    let (mut step, mut bytes) = (Transaction::new(epoch), 0);
    for mutation in mutations {
        let full = step.operations.len() >= MAX_OPERATIONS || bytes + size(&mutation) > PART_BYTES;
        if full && !step.operations.is_empty() {
            commit(store, std::mem::replace(&mut step, Transaction::new(epoch))).await?;
            bytes = 0;
        }
        bytes += size(&mutation);
        add(&mut step, vec![mutation]);
    }
    commit(store, step).await?;
    delete(store, epoch, parts).await
}

async fn delete(store: &SharedStore, epoch: u64, keys: Vec<String>) -> Result<(), StoreError> {
    let done = keys
        .into_iter()
        .fold(Transaction::new(epoch), Transaction::delete);
    commit(store, done).await
}

fn size(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Put { key, value } => key.len() + value.len(),
        Mutation::Delete { key } => key.len(),
    }
}

/// Cut so that each part stays within its bound; a record that is larger has a part of its own.
fn parts_of(mutations: &[Mutation]) -> Result<Vec<Bytes>, serde_json::Error> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for mutation in mutations {
        let length = size(mutation) + 32;
        if bytes + length > PART_BYTES && !part.is_empty() {
            parts.push(Bytes::from(serde_json::to_vec(&part)?));
            (part, bytes) = (Vec::new(), 0);
        }
        bytes += length;
        part.push(Entry::of(mutation)?);
    }
    parts.push(Bytes::from(serde_json::to_vec(&part)?));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_coordination::store::EmbeddedStore;

    use super::*;
    use crate::storage::load;

    fn mutations() -> Vec<Mutation> {
        (0..2500)
            .map(|at| Mutation::Put {
                key: format!("app/{at}"),
                value: format!("{{\"n\":\"{at}\"}}").into(),
            })
            .chain([Mutation::Delete {
                key: "app/7".to_owned(),
            }])
            .collect()
    }

    fn open(folder: &tempfile::TempDir) -> SharedStore {
        Arc::new(EmbeddedStore::open(folder.path().join("store.redb")).expect("opens"))
    }

    #[tokio::test]
    async fn a_write_of_thousands_of_keys_is_stored_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        assert!(is_large(&mutations()));
        commit_large(&store, 1, mutations()).await.expect("commits");
        let records = load(&store, 1).await.expect("loads");
        assert_eq!(records.len(), 2499);
        assert!(records.iter().all(|record| record.key.starts_with("app/")));
    }

    #[tokio::test]
    async fn what_was_cut_off_is_carried_to_its_end_by_the_next_leader() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        let parts = parts_of(&mutations()).expect("records");
        let keys: Vec<String> = (0..parts.len()).map(part_key).collect();
        for step in storing(1, &keys, parts) {
            store.commit(step).await.expect("commits");
        }
        assert_eq!(load(&store, 2).await.expect("loads").len(), 2499);
        let left = store.list("marathon-large/").await.expect("lists");
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(load(&store, 3).await.expect("loads again").len(), 2499);
    }

    #[tokio::test]
    async fn a_write_larger_than_a_transaction_is_whole_or_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        let long = "x".repeat(3 << 20);
        let mutations: Vec<Mutation> = (0..20)
            .map(|at| Mutation::Put {
                key: format!("app/{at}"),
                value: format!("{{\"n\":\"{long}\"}}").into(),
            })
            .collect();
        let parts = parts_of(&mutations).expect("records");
        let keys: Vec<String> = (0..parts.len()).map(part_key).collect();
        let steps = storing(1, &keys, parts);
        assert!(steps.len() > 1, "it is larger than one transaction");
        let last = steps.len() - 1;
        for step in steps.into_iter().take(last) {
            store.commit(step).await.expect("commits");
        }
        assert!(load(&store, 2).await.expect("loads").is_empty());
        let left = store.list("marathon-large/").await.expect("lists");
        assert!(left.is_empty(), "{left:?}");
        commit_large(&store, 2, mutations).await.expect("commits");
        assert_eq!(load(&store, 3).await.expect("loads").len(), 20);
    }

    #[tokio::test]
    async fn what_a_former_release_left_is_carried_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        let part = Bytes::from_static(
            br#"[{"key":"app/1","value":"{\"v\":1}"},{"key":"app/2","value":null}]"#,
        );
        let whole = Transaction::new(1).put(part_key(0), part);
        store.commit(whole).await.expect("commits");
        let records = load(&store, 2).await.expect("loads");
        assert_eq!(records.len(), 1);
        assert_eq!(&records[0].value[..], br#"{"v":1}"#);
    }
}
