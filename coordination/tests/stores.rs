//! The store's promises, on the embedded file and in memory; what only a file can do.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use tepui_coordination::{
    Election, EmbeddedStore, Leadership, MemoryStore, Store, StoreError, Transaction,
};

#[tokio::test]
async fn the_store_in_memory_keeps_the_promises() {
    support::all(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn the_embedded_store_keeps_the_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    support::all(Arc::new(EmbeddedStore::open(&path).unwrap())).await;
    let again = EmbeddedStore::open(&path).unwrap();
    assert_eq!(again.epoch().await.unwrap(), 5);
    assert_eq!(again.list("g/").await.unwrap().len(), 500);
    let late = again.commit(Transaction::new(4)).await;
    assert_eq!(
        late,
        Err(StoreError::Fenced {
            epoch: 4,
            highest: 5
        })
    );
}

#[tokio::test]
async fn small_writes_share_their_commits() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path().join("store.redb")).unwrap();
    let commits = (0..2000).map(|n| store.commit(Transaction::new(1).put(format!("a/{n}"), "x")));
    for outcome in futures::future::join_all(commits).await {
        outcome.unwrap();
    }
    let commits = store.metrics().commits.get();
    assert!(commits < 200, "2000 transactions took {commits} commits");
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let _first = EmbeddedStore::open(&path).unwrap();
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert_eq!(error, StoreError::InUse { path });
    assert!(error.to_string().contains("another process"), "{error}");
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(
        &path,
        "this is a letter to my aunt, and no database at all".repeat(200),
    )
    .unwrap();
    assert!(matches!(
        EmbeddedStore::open(&path),
        Err(StoreError::Failed { .. } | StoreError::Format { .. })
    ));
    let nowhere = directory.path().join("missing").join("store.redb");
    assert!(matches!(
        EmbeddedStore::open(nowhere),
        Err(StoreError::Failed { .. })
    ));
}

#[tokio::test]
async fn alone_one_leads_at_once_and_higher_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    for epoch in 1..4 {
        let store = EmbeddedStore::open(&path).unwrap();
        let election = Election::standalone(&store).await.unwrap();
        assert_eq!(election.leadership(), Leadership::Leading { epoch });
        store
            .commit(Transaction::new(epoch).put("a/b", ""))
            .await
            .unwrap();
        election.resign().await;
    }
}
