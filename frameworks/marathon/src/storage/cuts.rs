//! Large writes that are cut off at each of their commits: whoever leads next finds all of the write, or nothing of it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tepui_coordination::{
    Metrics, SharedStore, StoreError, Transaction,
    store::{Entry, MemoryStore, Store, Version},
};
use tepui_marathon_core::Mutation;

use super::{large::commit_large, load, store_key};

/// A store whose leader dies at a commit: before it is done, or after it, so that nobody hears of it. Afterwards it does nothing more.
#[derive(Debug)]
struct Cut {
    store: MemoryStore,
    /// Commits that are still done before it dies; none: it is dead.
    left: Mutex<Option<usize>>,
    /// The next one is done too, and not answered.
    last_is_done: bool,
}

impl Store for Cut {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.store.get(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        self.store.list(prefix)
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        self.store.page(prefix, after)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(async move {
            let left = *self.left.lock();
            match left {
                Some(0) => {
                    *self.left.lock() = None;
                    if self.last_is_done {
                        self.store.commit(transaction).await?;
                    }
                    Err(StoreError::Closed)
                }
                Some(left) => {
                    *self.left.lock() = Some(left - 1);
                    self.store.commit(transaction).await
                }
                None => Err(StoreError::Closed),
            }
        })
    }

    fn epoch(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.epoch()
    }

    fn metrics(&self) -> &Arc<Metrics> {
        self.store.metrics()
    }
}

type State = BTreeMap<String, Bytes>;

async fn seen(store: &SharedStore, epoch: u64) -> Result<State, StoreError> {
    let records = load(store, epoch).await?;
    Ok(records
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect())
}

fn record(key: String, text: &str) -> (String, Bytes) {
    (key, format!("{{\"v\":1,\"data\":\"{text}\"}}").into())
}

/// What is there before, and a write over it that puts, replaces and deletes; with `filling` in each record.
fn write(apps: usize, filling: &str) -> (State, Vec<Mutation>, State) {
    let old = |at: usize| record(format!("app/{at:05}"), "old");
    let before: State = (0..apps / 2).map(old).collect();
    let new = (apps / 4..apps).map(|at| record(format!("app/{at:05}"), filling));
    let mut after = before.clone();
    let mut mutations: Vec<Mutation> = new
        .map(|(key, value)| {
            after.insert(key.clone(), value.clone());
            Mutation::Put { key, value }
        })
        .collect();
    for at in 0..apps / 8 {
        let key = format!("app/{at:05}");
        after.remove(&key);
        mutations.push(Mutation::Delete { key });
    }
    (before, mutations, after)
}

/// Cuts the write off at each of its commits, and its completion by the next leader at each of its own; tells at how many commits.
async fn cut_everywhere(apps: usize, filling: &str) -> usize {
    let (before, mutations, after) = write(apps, filling);
    let mut commits = 0;
    let mut done_before = false;
    for cut in 0.. {
        let mut whole = true;
        for last_is_done in [false, true] {
            let store = MemoryStore::new();
            let plain: SharedStore = Arc::new(store.clone());
            for (key, value) in &before {
                let put = Transaction::new(1).put(store_key(key), value.clone());
                store.commit(put).await.expect("commits");
            }
            let dying = |store: &MemoryStore, left: usize| -> SharedStore {
                Arc::new(Cut {
                    store: store.clone(),
                    left: Mutex::new(Some(left)),
                    last_is_done,
                })
            };
            let first = dying(&store, cut);
            whole = commit_large(&first, 1, mutations.clone()).await.is_ok();
            // Leaders that take over and die at their first, second, third commit.
            for (epoch, left) in (2..).zip(0..4) {
                let _ = seen(&dying(&store, left), epoch).await;
            }
            let found = seen(&plain, 100).await.expect("loads");
            assert!(
                found == before || found == after,
                "cut at commit {cut}, done: {last_is_done}: {} records, neither before nor after",
                found.len()
            );
            assert!(!whole || found == after, "what was acknowledged is there");
            // Once it is sure to come, it is sure for all cuts behind.
            assert!(!done_before || found == after, "cut at commit {cut}");
            if !last_is_done {
                done_before |= found == after;
            }
            let rest = store.list("marathon-large/").await.expect("lists");
            assert!(
                rest.is_empty(),
                "cut at commit {cut}: {} keys are left",
                rest.len()
            );
            // A predecessor that was only cut off writes nothing any more.
            let late = commit_large(&plain, 1, mutations.clone()).await;
            assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
            assert_eq!(seen(&plain, 101).await.expect("loads"), found);
        }
        if whole {
            commits = cut;
            break;
        }
    }
    commits
}

#[tokio::test]
async fn a_write_of_many_keys_is_before_or_after_wherever_it_is_cut_off() {
    // One commit for its parts, five for its keys, one to tidy up.
    assert_eq!(cut_everywhere(4800, "new").await, 7);
}

#[tokio::test]
async fn a_write_that_is_stored_in_several_steps_is_before_or_after_wherever_it_is_cut_off() {
    let filling = "x".repeat(3 << 20);
    let commits = cut_everywhere(16, &filling).await;
    assert!(commits > 7, "it has {commits} commits");
}
