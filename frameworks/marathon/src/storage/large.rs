//! Writes that no single transaction takes: a group of thousands of apps.
//!
//! First all of the write is stored at once under few keys, then key by key under its own; then the few are deleted. If that is cut off,
//! the next leader goes on from those keys, so such a write too is done wholly or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tepui_coordination::{SharedStore, StoreError, Transaction, store::MAX_OPERATIONS};
use tepui_marathon_core::Mutation;

use super::{add, commit, store_key};

/// The collection of such writes.
const COLLECTION: &str = "marathon-large";
/// The most bytes under one of its keys, and of one step.
const PART_BYTES: usize = 8 << 20;

/// What becomes of one key.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    /// None: the key is deleted.
    value: Option<String>,
}

/// Whether one transaction takes them.
pub(super) fn is_large(mutations: &[Mutation]) -> bool {
    let bytes: usize = mutations.iter().map(size).sum();
    mutations.len() > MAX_OPERATIONS || bytes > PART_BYTES
}

/// Commits such a write.
pub(super) async fn commit_large(
    store: &SharedStore,
    epoch: u64,
    mutations: Vec<Mutation>,
) -> Result<(), StoreError> {
    let parts = parts_of(&mutations);
    let keys: Vec<String> = (0..parts.len())
        .map(|at| format!("{COLLECTION}/{at:06}"))
        .collect();
    let mut whole = Transaction::new(epoch);
    for (key, part) in keys.iter().zip(parts) {
        whole = whole.put(key.clone(), part);
    }
    commit(store, whole).await?;
    apply_in_steps(store, epoch, mutations, keys).await
}

/// Carries such a write to its end if a predecessor did not; `stored` is all that the store holds, by its keys.
pub(super) async fn finish_large(
    store: &SharedStore,
    epoch: u64,
    stored: &mut BTreeMap<String, Bytes>,
) -> Result<(), StoreError> {
    let prefix = format!("{COLLECTION}/");
    let (parts, others): (BTreeMap<String, Bytes>, BTreeMap<String, Bytes>) =
        std::mem::take(stored)
            .into_iter()
            .partition(|(key, _)| key.starts_with(&prefix));
    *stored = others;
    let mut mutations = Vec::new();
    for (key, part) in &parts {
        let entries: Vec<Entry> =
            serde_json::from_slice(part).map_err(|error| StoreError::Format {
                place: key.clone(),
                why: error.to_string(),
            })?;
        mutations.extend(entries.into_iter().map(|entry| match entry.value {
            Some(value) => Mutation::Put {
                key: entry.key,
                value: value.into(),
            },
            None => Mutation::Delete { key: entry.key },
        }));
    }
    if parts.is_empty() {
        return Ok(());
    }
    for mutation in &mutations {
        match mutation {
            Mutation::Put { key, value } => stored.insert(store_key(key), value.clone()),
            Mutation::Delete { key } => stored.remove(&store_key(key)),
        };
    }
    apply_in_steps(store, epoch, mutations, parts.into_keys().collect()).await
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
    let mut done = Transaction::new(epoch);
    for key in parts {
        done = done.delete(key);
    }
    commit(store, done).await
}

fn size(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Put { key, value } => key.len() + value.len(),
        Mutation::Delete { key } => key.len(),
    }
}

/// Cut so that each part stays within its bound, also when all of its quotes are escaped.
fn parts_of(mutations: &[Mutation]) -> Vec<Bytes> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    // Plain texts always serialise.
    let close = |part: Vec<Entry>| Bytes::from(serde_json::to_vec(&part).unwrap_or_default());
    for mutation in mutations {
        let length = 2 * size(mutation) + 32;
        if bytes + length > PART_BYTES && !part.is_empty() {
            parts.push(close(std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += length;
        part.push(match mutation {
            Mutation::Put { key, value } => Entry {
                key: key.clone(),
                value: Some(String::from_utf8_lossy(value).into_owned()),
            },
            Mutation::Delete { key } => Entry {
                key: key.clone(),
                value: None,
            },
        });
    }
    parts.push(close(part));
    parts
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
        let parts = parts_of(&mutations());
        let mut whole = Transaction::new(1);
        for (at, part) in parts.into_iter().enumerate() {
            whole = whole.put(format!("{COLLECTION}/{at:06}"), part);
        }
        store.commit(whole).await.expect("commits");
        assert_eq!(load(&store, 2).await.expect("loads").len(), 2499);
        let left = store.list("marathon-large/").await.expect("lists");
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(load(&store, 3).await.expect("loads again").len(), 2499);
    }
}
