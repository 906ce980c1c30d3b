//! What a store must do, whatever is under it. One function a promise; `all` runs them on a fresh store.

// Each test program uses its part of this.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::sync::Arc;

use bytes::Bytes;
use tepui_coordination::store::{MAX_OPERATIONS, MAX_VALUE_BYTES};
use tepui_coordination::{Entry, Expect, Store, StoreError, Transaction, Version};

/// Runs everything. Every check keeps to its own collection, and leaves the epoch at 1 until the last.
pub async fn all(store: Arc<dyn Store>) {
    let store = &*store;
    empty(store).await;
    put_and_delete(store).await;
    conditions(store).await;
    transactions_are_whole(store).await;
    listing(store).await;
    strange_names(store).await;
    large_values(store).await;
    many_at_once(store).await;
    counting_without_losing_one(store).await;
    limits(store).await;
    fencing(store).await;
    pages(store).await;
}

async fn text(store: &dyn Store, key: &str) -> Option<String> {
    store
        .get(key)
        .await
        .unwrap()
        .map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn empty(store: &dyn Store) {
    assert_eq!(store.epoch().await.unwrap(), 0);
    assert_eq!(store.get("none/such").await.unwrap(), None);
    assert_eq!(store.list("none/").await.unwrap(), vec![]);
    assert_eq!(store.list("").await.unwrap(), vec![]);
}

async fn put_and_delete(store: &dyn Store) {
    let first = store
        .commit(Transaction::new(1).put("a/1", "one"))
        .await
        .unwrap();
    assert_eq!(store.epoch().await.unwrap(), 1);
    let entry = store.get("a/1").await.unwrap().unwrap();
    assert_eq!(
        entry,
        Entry {
            value: Bytes::from_static(b"one"),
            version: first
        }
    );
    let second = store
        .commit(Transaction::new(1).put("a/1", ""))
        .await
        .unwrap();
    assert!(second > first);
    assert_eq!(
        store.get("a/1").await.unwrap().unwrap(),
        Entry {
            value: Bytes::new(),
            version: second
        }
    );
    store
        .commit(Transaction::new(1).delete("a/1").delete("a/never"))
        .await
        .unwrap();
    assert_eq!(store.get("a/1").await.unwrap(), None);
    let third = store
        .commit(Transaction::new(1).put("a/1", "again"))
        .await
        .unwrap();
    assert!(third > second, "versions are never used twice");
    let last = store
        .commit(
            Transaction::new(1)
                .put("a/1", "x")
                .put("a/1", "y")
                .delete("a/1")
                .put("a/1", "z"),
        )
        .await
        .unwrap();
    assert_eq!(
        store.get("a/1").await.unwrap().unwrap(),
        Entry {
            value: Bytes::from_static(b"z"),
            version: last
        }
    );
}

async fn conditions(store: &dyn Store) {
    let absent = || Transaction::new(1).put_if("b/1", "one", Expect::Absent);
    let first = store.commit(absent()).await.unwrap();
    let conflict = |found| {
        Err(StoreError::Conflict {
            key: "b/1".to_owned(),
            found,
        })
    };
    assert_eq!(store.commit(absent()).await, conflict(Some(first)));
    let second = store
        .commit(Transaction::new(1).put_if("b/1", "two", Expect::Version(first)))
        .await
        .unwrap();
    assert_eq!(
        store
            .commit(Transaction::new(1).put_if("b/1", "three", Expect::Version(first)))
            .await,
        conflict(Some(second))
    );
    assert_eq!(
        store
            .commit(Transaction::new(1).delete_if("b/1", Expect::Version(first)))
            .await,
        conflict(Some(second))
    );
    assert_eq!(text(store, "b/1").await.as_deref(), Some("two"));
    store
        .commit(Transaction::new(1).delete_if("b/1", Expect::Version(second)))
        .await
        .unwrap();
    assert_eq!(
        store
            .commit(Transaction::new(1).put_if("b/1", "x", Expect::Version(second)))
            .await,
        conflict(None)
    );
    assert_eq!(
        store
            .commit(Transaction::new(1).check("b/1", Expect::Version(Version(1))))
            .await,
        conflict(None)
    );
    store
        .commit(Transaction::new(1).check("b/1", Expect::Absent))
        .await
        .unwrap();
}

async fn transactions_are_whole(store: &dyn Store) {
    let version = store
        .commit(Transaction::new(1).put("c/1", "one").put("c/2", "two"))
        .await
        .unwrap();
    let half = Transaction::new(1)
        .put("c/1", "changed")
        .delete("c/2")
        .put("c/3", "new")
        .check("c/2", Expect::Absent);
    assert!(matches!(
        store.commit(half).await,
        Err(StoreError::Conflict { .. })
    ));
    let listed: Vec<_> = store.list("c/").await.unwrap();
    let entry = |value: &'static str| Entry {
        value: Bytes::from_static(value.as_bytes()),
        version,
    };
    assert_eq!(
        listed,
        [
            ("c/1".to_owned(), entry("one")),
            ("c/2".to_owned(), entry("two"))
        ]
    );
}

async fn listing(store: &dyn Store) {
    let mut transaction = Transaction::new(1).put("d2/other", "");
    for name in ["b", "a/2", "a/1", "a-1", "a/10"] {
        transaction = transaction.put(format!("d/{name}"), name.to_owned());
    }
    store.commit(transaction).await.unwrap();
    let names = async |prefix: &str| -> Vec<String> {
        store
            .list(prefix)
            .await
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    };
    assert_eq!(
        names("d/").await,
        ["d/a-1", "d/a/1", "d/a/10", "d/a/2", "d/b"]
    );
    assert_eq!(names("d/a/").await, ["d/a/1", "d/a/10", "d/a/2"]);
    assert_eq!(names("d/a/1").await, ["d/a/1", "d/a/10"]);
    assert_eq!(names("d/x").await, Vec::<String>::new());
    assert!(names("").await.contains(&"d2/other".to_owned()));
}

async fn strange_names(store: &dyn Store) {
    let names = [
        ".",
        "..",
        "%",
        "%2F",
        "a b",
        "ä€𝄞",
        "line\nbreak",
        "\u{0}",
        "x/",
        "//",
        "zookeeper",
    ];
    let transaction = names.iter().fold(Transaction::new(1), |t, name| {
        t.put(format!("e/{name}"), (*name).to_owned())
    });
    store.commit(transaction).await.unwrap();
    for name in names {
        assert_eq!(
            text(store, &format!("e/{name}")).await.as_deref(),
            Some(name),
            "{name:?}"
        );
    }
    assert_eq!(store.list("e/").await.unwrap().len(), names.len());
}

async fn large_values(store: &dyn Store) {
    let value = |seed: u8, size: usize| -> Bytes {
        (0..size)
            .map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed))
            .collect()
    };
    const MIB: usize = 1 << 20;
    // Larger, smaller, larger again, several together, and away.
    for (seed, size) in [(1, 3 * MIB), (2, 10), (3, 5 * MIB + 1), (4, MIB)] {
        store
            .commit(Transaction::new(1).put("f/large", value(seed, size)))
            .await
            .unwrap();
        assert_eq!(
            store.get("f/large").await.unwrap().unwrap().value,
            value(seed, size),
            "{size}"
        );
    }
    let several = (0..6u8).fold(Transaction::new(1), |t, n| {
        t.put(format!("f/{n}"), value(n, 400 << 10))
    });
    store.commit(several).await.unwrap();
    for n in 0..6u8 {
        assert_eq!(
            store.get(&format!("f/{n}")).await.unwrap().unwrap().value,
            value(n, 400 << 10)
        );
    }
    assert_eq!(store.list("f/").await.unwrap().len(), 7);
    store
        .commit(Transaction::new(1).delete("f/large"))
        .await
        .unwrap();
    assert_eq!(store.get("f/large").await.unwrap(), None);
}

async fn many_at_once(store: &dyn Store) {
    let before = store.metrics().commits.get();
    let commits =
        (0..500).map(|n| store.commit(Transaction::new(1).put(format!("g/{n}"), n.to_string())));
    let mut versions: Vec<Version> = futures::future::join_all(commits)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 500, "each has a version of its own");
    assert_eq!(store.list("g/").await.unwrap().len(), 500);
    assert!(store.metrics().commits.get() - before <= 500);
}

async fn counting_without_losing_one(store: &dyn Store) {
    let count = async || {
        loop {
            let entry = store.get("h/counter").await.unwrap();
            let (number, expect) = match &entry {
                Some(entry) => (
                    str::from_utf8(&entry.value)
                        .unwrap()
                        .parse::<u32>()
                        .unwrap(),
                    Expect::Version(entry.version),
                ),
                None => (0, Expect::Absent),
            };
            match store
                .commit(Transaction::new(1).put_if("h/counter", (number + 1).to_string(), expect))
                .await
            {
                Ok(_) => return,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    futures::future::join_all((0..20).map(|_| count())).await;
    assert_eq!(text(store, "h/counter").await.as_deref(), Some("20"));
}

async fn limits(store: &dyn Store) {
    for key in ["", "x", "/x", "x/", "a b/c", "ä/c"] {
        assert!(
            matches!(
                store.commit(Transaction::new(1).put(key, "")).await,
                Err(StoreError::Key { .. })
            ),
            "{key:?}"
        );
        assert!(
            matches!(store.get(key).await, Err(StoreError::Key { .. })),
            "{key:?}"
        );
    }
    assert!(matches!(store.list("x").await, Err(StoreError::Key { .. })));
    let too_large = [
        Transaction::new(1).put(format!("i/{}", "x".repeat(600)), ""),
        Transaction::new(1).put("i/1", vec![0; MAX_VALUE_BYTES + 1]),
        (0..=MAX_OPERATIONS).fold(Transaction::new(1), |t, n| t.put(format!("i/{n}"), "")),
        (0..3).fold(Transaction::new(1), |t, n| {
            t.put(format!("i/{n}"), vec![0; MAX_VALUE_BYTES])
        }),
    ];
    for transaction in too_large {
        assert!(matches!(
            store.commit(transaction).await,
            Err(StoreError::TooLarge { .. })
        ));
    }
    assert_eq!(store.list("i/").await.unwrap(), vec![]);
    let most = (0..MAX_OPERATIONS).fold(Transaction::new(1), |t, n| t.put(format!("i/{n}"), "x"));
    store.commit(most).await.unwrap();
    assert_eq!(store.list("i/").await.unwrap().len(), MAX_OPERATIONS);
}

async fn fencing(store: &dyn Store) {
    store.commit(Transaction::new(5)).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), 5);
    let late = store.commit(Transaction::new(4).put("j/late", "")).await;
    assert_eq!(
        late,
        Err(StoreError::Fenced {
            epoch: 4,
            highest: 5
        })
    );
    assert_eq!(store.get("j/late").await.unwrap(), None);
    store
        .commit(Transaction::new(5).put("j/now", ""))
        .await
        .unwrap();
    assert_eq!(store.metrics().fenced.get(), 1);
}

/// All of a store page by page, as a list has it, whatever the pages hold.
async fn pages(store: &dyn Store) {
    let value = vec![b'x'; tepui_coordination::store::PAGE_BYTES / 3];
    for name in ["d", "a/b", "c", "é", "b", "a"] {
        let key = format!("pages/{name}");
        let put = Transaction::new(5).put(key, value.clone());
        store.commit(put).await.unwrap();
    }
    for collection in ["pages-2/x", "pages_2/x"] {
        let put = Transaction::new(5).put(collection, "y");
        store.commit(put).await.unwrap();
    }
    for prefix in ["pages/", "pages/a", "pages-2/", "none/", ""] {
        let listed = store.list(prefix).await.unwrap();
        let (mut paged, mut after, mut most) = (Vec::new(), String::new(), 0);
        loop {
            let page = store.page(prefix, &after).await.unwrap();
            let Some((last, _)) = page.last() else {
                break;
            };
            after.clone_from(last);
            most = most.max(page.iter().map(|(_, entry)| entry.value.len()).sum());
            paged.extend(page);
        }
        let keys = |all: &[(String, Entry)]| -> Vec<String> {
            all.iter().map(|(key, _)| key.clone()).collect()
        };
        assert_eq!(keys(&paged), keys(&listed), "{prefix:?}");
        assert!(paged == listed, "{prefix:?}");
        if prefix == "pages/" {
            assert_eq!(most, value.len() * 3, "until it is full");
        }
    }
    assert!(store.page("pages", "").await.is_err());
}
