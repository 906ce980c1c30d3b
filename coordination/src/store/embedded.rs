//! The store in one redb file, for a daemon without ZooKeeper.
//!
//! One thread writes: it takes whatever waits, decides it as one plan, and makes it durable with one fsync. Reads go straight to the
//! file, beside the writer. The file is locked while it is open, so that two daemons never share a `--work_dir`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::{
    Batch, BatchLimits, Effect, Entry, Head, Page, Queue, Store, StoreError, Submission,
    Transaction, Version, page_start, plan, validate_key, validate_prefix,
};
use crate::metrics::Metrics;

/// Key to version and value.
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// Numbers about the store itself: `format`, `epoch`, `commit`.
const HEAD: TableDefinition<'_, &str, u64> = TableDefinition::new("head");
/// The layout that this version writes.
const FORMAT: u64 = 1;
/// What redb may keep of the file in memory, in bytes: a daemon should stay small.
const CACHE_BYTES: usize = 4 << 20;

const LIMITS: BatchLimits = BatchLimits {
    operations: 4096,
    bytes: 8 << 20,
};

/// A store in one file. Clones share it; the file is closed when the last one is dropped and what was queued is written.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    open: Arc<Open>,
}

/// The open file and its writer.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    queue: Option<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without an entrance the writer ends when it has written what waits; then the file is closed, and can be opened again.
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.shared.path.display(), "the store's writer has panicked");
        }
    }
}

#[derive(Debug)]
struct Shared {
    database: Database,
    path: PathBuf,
    metrics: Arc<Metrics>,
}

impl EmbeddedStore {
    /// Opens the file, or makes it; its directory must exist.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Format`] when it is something else or newer,
    /// [`StoreError::Failed`] when the file system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let metrics = Arc::new(Metrics::default());
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
            DatabaseError::UpgradeRequired(version) => StoreError::Format {
                place: path.display().to_string(),
                why: format!("its file format is {version}"),
            },
            other => failed(&path, &other),
        })?;
        let shared = Arc::new(Shared {
            database,
            path,
            metrics: Arc::clone(&metrics),
        });
        shared.prepare()?;
        let (queue, batch) = Queue::new(LIMITS, &metrics);
        let writer = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.write(batch));
        let writer = spawned.map_err(|error| failed(&shared.path, &error))?;
        Ok(Self {
            open: Arc::new(Open {
                shared,
                queue: Some(queue),
                writer: Some(writer),
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.open.shared.path
    }

    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.open.shared);
        let read = tokio::task::spawn_blocking(move || {
            f(&shared.database).map_err(|error| failed(&shared.path, &error))
        });
        read.await
            .map_err(|error| failed(&self.open.shared.path, &error))?
    }
}

fn failed(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Failed {
        place: path.display().to_string(),
        why: error.to_string(),
    }
}

impl Shared {
    /// Makes the tables, so that reading need not expect them to be absent, and checks the layout.
    fn prepare(&self) -> Result<(), StoreError> {
        let prepare = || -> Result<u64, redb::Error> {
            let transaction = self.database.begin_write()?;
            let format = {
                transaction.open_table(ENTRIES)?;
                let mut head = transaction.open_table(HEAD)?;
                let found = head.get("format")?.map(|format| format.value());
                if found.is_none() {
                    head.insert("format", FORMAT)?;
                }
                found.unwrap_or(FORMAT)
            };
            transaction.commit()?;
            Ok(format)
        };
        match prepare() {
            Ok(FORMAT) => Ok(()),
            Ok(format) => Err(StoreError::Format {
                place: self.path.display().to_string(),
                why: format!(
                    "it has layout {format}, made by a newer version; this one knows {FORMAT}"
                ),
            }),
            Err(error) => Err(failed(&self.path, &error)),
        }
    }

    /// The writer's thread.
    fn write(&self, mut batch: Batch) {
        while let Some(submissions) = batch.blocking_next() {
            let started = Instant::now();
            let outcomes = self.write_batch(&submissions).unwrap_or_else(|error| {
                let error = failed(&self.path, &error);
                tracing::error!(%error, transactions = submissions.len(), "cannot write to the store");
                submissions.iter().map(|_| Err(error.clone())).collect()
            });
            self.metrics.commits.increment();
            self.metrics
                .commit_us
                .add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            batch.answer(submissions, outcomes);
        }
    }

    fn write_batch(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Version, StoreError>>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let plan = {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut head = transaction.open_table(HEAD)?;
            let before = read_head(&head)?;
            let found = versions(&entries, submissions)?;
            let plan = plan(before, submissions.iter().map(|s| &s.transaction), |key| {
                found.get(key).copied()
            });
            for (key, effect) in &plan.effects {
                match effect {
                    Effect::Put { value, version } => {
                        drop(entries.insert(key.as_str(), (version.0, value.as_ref()))?)
                    }
                    Effect::Delete => drop(entries.remove(key.as_str())?),
                }
            }
            if plan.writes() {
                head.insert("epoch", plan.head.epoch)?;
                head.insert("commit", plan.head.commit)?;
            }
            plan
        };
        if plan.writes() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(plan.outcomes)
    }
}

/// The versions of the keys that have conditions.
fn versions<'s>(
    entries: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    submissions: &'s [Submission],
) -> Result<std::collections::HashMap<&'s str, Version>, redb::Error> {
    let mut found = std::collections::HashMap::new();
    for operation in submissions.iter().flat_map(|s| &s.transaction.operations) {
        if operation.expect() != super::Expect::Any
            && let Some(entry) = entries.get(operation.key())?
        {
            found.insert(operation.key(), Version(entry.value().0));
        }
    }
    Ok(found)
}

fn read_head(head: &impl ReadableTable<&'static str, u64>) -> Result<Head, redb::Error> {
    let number = |name| -> Result<u64, redb::Error> {
        Ok(head.get(name)?.map_or(0, |number| number.value()))
    };
    Ok(Head {
        epoch: number("epoch")?,
        commit: number("commit")?,
    })
}

fn entry((version, value): (u64, &[u8])) -> Entry {
    Entry {
        value: Bytes::copy_from_slice(value),
        version: Version(version),
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            validate_key(key)?;
            let key = key.to_owned();
            self.read(move |database| {
                let table = database.begin_read()?.open_table(ENTRIES)?;
                Ok(table.get(key.as_str())?.map(|found| entry(found.value())))
            })
            .await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            validate_prefix(prefix)?;
            let prefix = prefix.to_owned();
            self.read(move |database| {
                let table = database.begin_read()?.open_table(ENTRIES)?;
                let mut all = Vec::new();
                for found in table.range(prefix.as_str()..)? {
                    let (key, value) = found?;
                    if !key.value().starts_with(&prefix) {
                        break;
                    }
                    all.push((key.value().to_owned(), entry(value.value())));
                }
                Ok(all)
            })
            .await
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            validate_prefix(prefix)?;
            let (prefix, after) = (prefix.to_owned(), after.to_owned());
            self.read(move |database| {
                let table = database.begin_read()?.open_table(ENTRIES)?;
                let start = page_start(&prefix, &after);
                let mut page = Page::default();
                for found in table.range::<&str>((start, std::ops::Bound::Unbounded))? {
                    let (key, value) = found?;
                    let within = key.value().starts_with(&prefix);
                    if !within || !page.add(key.value().to_owned(), entry(value.value())) {
                        break;
                    }
                }
                Ok(page.entries)
            })
            .await
        })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(async move {
            match &self.open.queue {
                Some(queue) => queue.submit(transaction).await,
                None => Err(StoreError::Closed),
            }
        })
    }

    fn epoch(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(
            self.read(|database| Ok(read_head(&database.begin_read()?.open_table(HEAD)?)?.epoch)),
        )
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.open.shared.metrics
    }
}
