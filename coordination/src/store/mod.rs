//! The durable store: small keys and values that outlive a leader.
//!
//! What it promises, whatever is under it (ZooKeeper, a redb file, memory):
//! - **Atomic**: a [`Transaction`] happens as a whole, durably, before [`Store::commit`] returns its [`Version`], or not at all.
//! - **Conditional**: each operation can demand what it expects to find ([`Expect`]). Versions rise with every transaction of the whole store and
//!   are never used twice, also not for a key that was deleted and came back.
//! - **Fenced**: every transaction carries its leader's epoch. The store remembers the highest and refuses lower ones. A new leader
//!   commits an empty transaction first; from then on its predecessor can write no more, and what it then reads is all there will be.
//! - **Batched**: transactions that wait share a commit (one fsync, one ZooKeeper request); each keeps its own outcome.
//! - **Bounded**: see the constants below. More waiting transactions than the queue holds wait in [`Store::commit`].
//!
//! Keys are `collection/name`, where the name may hold further slashes. A collection is what is loaded at once: listing one costs
//! nothing for the others, and is meant for 50,000 entries.
//!
//! Left out: watching, ranges other than prefixes, reading several keys in one snapshot: pages of a list, and the entries of one, may be of different
//! moments. The one leader that writes knows what it wrote.

mod embedded;
mod memory;
mod plan;
mod queue;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;
pub(crate) use plan::{Effect, Head, Plan, plan};
pub(crate) use queue::{Batch, BatchLimits, Queue, Submission};

use crate::metrics::Metrics;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// The most operations in one transaction.
pub const MAX_OPERATIONS: usize = 1000;
/// The most bytes of keys and values in one transaction.
pub const MAX_TRANSACTION_BYTES: usize = 32 << 20;

/// So many bytes of keys and values make a page; its last entry may go beyond.
pub const PAGE_BYTES: usize = 4 << 20;

/// A store that several tasks share.
pub type SharedStore = Arc<dyn Store>;

/// When a value was written: the number of the transaction, counted over the whole store, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// When it was written; for [`Expect::Version`].
    pub version: Version,
}

/// What an operation demands of a key before the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    #[default]
    Any,
    /// That it does not exist.
    Absent,
    /// That it was last written by this transaction.
    Version(Version),
}

/// One change, or one condition, of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value.
    Put {
        /// `collection/name`.
        key: String,
        /// The new value.
        value: Bytes,
        /// What must hold before.
        expect: Expect,
    },
    /// Removes the key, if it is there.
    Delete {
        /// `collection/name`.
        key: String,
        /// What must hold before.
        expect: Expect,
    },
    /// Changes nothing.
    Check {
        /// `collection/name`.
        key: String,
        /// What must hold before.
        expect: Expect,
    },
}

impl Operation {
    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// What it demands.
    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => {
                *expect
            }
        }
    }

    fn bytes(&self) -> usize {
        self.key().len()
            + if let Self::Put { value, .. } = self {
                value.len()
            } else {
                0
            }
    }
}

/// Operations that happen together, in the name of one leader. Conditions are about the time before the transaction; of several changes to
/// one key the last one stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The leader's epoch.
    pub epoch: u64,
    /// What to do.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// An empty one. Committed as it is, it only makes `epoch` known.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            operations: Vec::new(),
        }
    }

    /// Adds: set `key` to `value`.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.put_if(key, value, Expect::Any)
    }

    /// Adds: set `key` to `value` if it is as expected.
    #[must_use]
    pub fn put_if(
        mut self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        expect: Expect,
    ) -> Self {
        self.operations.push(Operation::Put {
            key: key.into(),
            value: value.into(),
            expect,
        });
        self
    }

    /// Adds: remove `key`, if it is there.
    #[must_use]
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.delete_if(key, Expect::Any)
    }

    /// Adds: remove `key` if it is as expected.
    #[must_use]
    pub fn delete_if(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.operations.push(Operation::Delete {
            key: key.into(),
            expect,
        });
        self
    }

    /// Adds: nothing happens unless `key` is as expected.
    #[must_use]
    pub fn check(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.operations.push(Operation::Check {
            key: key.into(),
            expect,
        });
        self
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.operations.iter().map(Operation::bytes).sum()
    }

    fn validate(&self) -> Result<(), StoreError> {
        if self.operations.len() > MAX_OPERATIONS {
            return Err(StoreError::TooLarge {
                what: "operations of a transaction",
                size: self.operations.len(),
                limit: MAX_OPERATIONS,
            });
        }
        for operation in &self.operations {
            validate_key(operation.key())?;
            if let Operation::Put { value, .. } = operation
                && value.len() > MAX_VALUE_BYTES
            {
                return Err(StoreError::TooLarge {
                    what: "bytes of a value",
                    size: value.len(),
                    limit: MAX_VALUE_BYTES,
                });
            }
        }
        match self.bytes() {
            size if size > MAX_TRANSACTION_BYTES => Err(StoreError::TooLarge {
                what: "bytes of a transaction",
                size,
                limit: MAX_TRANSACTION_BYTES,
            }),
            _ => Ok(()),
        }
    }
}

/// Checks a key against the rules of [the module](self).
pub(crate) fn validate_key(key: &str) -> Result<(), StoreError> {
    let refuse = |why| {
        Err(StoreError::Key {
            key: key.to_owned(),
            why,
        })
    };
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::TooLarge {
            what: "bytes of a key",
            size: key.len(),
            limit: MAX_KEY_BYTES,
        });
    }
    match key.split_once('/') {
        None => refuse("it must be collection/name"),
        Some(("", _) | (_, "")) => refuse("neither its collection nor its name may be empty"),
        Some((collection, _)) => validate_collection(key, collection),
    }
}

fn validate_collection(key: &str, collection: &str) -> Result<(), StoreError> {
    if collection
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    {
        Ok(())
    } else {
        Err(StoreError::Key {
            key: key.to_owned(),
            why: "its collection may only hold letters, digits, '-' and '_'",
        })
    }
}

/// Entries until they fill a page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<(String, Entry)>,
    bytes: usize,
}

impl Page {
    /// Adds an entry; false if it was the last that has room.
    pub(crate) fn add(&mut self, key: String, entry: Entry) -> bool {
        self.bytes += key.len() + entry.value.len();
        self.entries.push((key, entry));
        self.bytes < PAGE_BYTES
    }
}

/// Where a page begins: with the prefix, or after the last key of the page before.
pub(crate) fn page_start<'a>(prefix: &'a str, after: &'a str) -> std::ops::Bound<&'a str> {
    if after < prefix || after.is_empty() {
        std::ops::Bound::Included(prefix)
    } else {
        std::ops::Bound::Excluded(after)
    }
}

/// Checks a prefix for [`Store::list`]: empty, or with a whole collection in it. Returns the collection.
pub(crate) fn validate_prefix(prefix: &str) -> Result<Option<&str>, StoreError> {
    match prefix.split_once('/') {
        None if prefix.is_empty() => Ok(None),
        None => Err(StoreError::Key {
            key: prefix.to_owned(),
            why: "a prefix must hold a whole collection, like agents/",
        }),
        Some((collection, _)) => validate_collection(prefix, collection).map(|()| Some(collection)),
    }
}

/// Why a store did not do what it was asked. Unless it says otherwise, nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A condition did not hold.
    #[error("'{key}' was changed by somebody else: {}", match found { Some(v) => format!("its version is {v}"), None => "it does not exist".to_owned() })]
    Conflict {
        /// The first key that was not as expected.
        key: String,
        /// Its version, if it exists.
        found: Option<Version>,
    },
    /// Another leader has written since: this one must stop.
    #[error("epoch {epoch} is over: a leader with epoch {highest} has written to the store")]
    Fenced {
        /// The transaction's epoch.
        epoch: u64,
        /// The highest that has committed.
        highest: u64,
    },
    /// The key breaks the rules.
    #[error("'{key}' is no key for the store: {why}")]
    Key {
        /// As given.
        key: String,
        /// Which rule.
        why: &'static str,
    },
    /// A limit of this module is exceeded.
    #[error("too many {what}: {size}, the limit is {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        size: usize,
        /// How much there may be.
        limit: usize,
    },
    /// Another process has the file open.
    #[error("{path} is in use by another process; stop it, or choose another --work_dir")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by a newer version, or by something else.
    #[error("{place} is not a store that this version can read: {why}")]
    Format {
        /// File, or path in ZooKeeper.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer in time. A commit may or may not have happened: read before trying again.
    #[error(
        "the store at {place} gave no answer within {after_ms} ms; whether the change was made is not known"
    )]
    Timeout {
        /// File, or path in ZooKeeper.
        place: String,
        /// How long was waited, in milliseconds.
        after_ms: u64,
    },
    /// Reading or writing failed.
    #[error("the store at {place} failed: {why}")]
    Failed {
        /// File, or path in ZooKeeper.
        place: String,
        /// What the layer below said.
        why: String,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// A durable key/value store; [the module](self) has its promises.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The value of a key, with everything in it that was committed before.
    ///
    /// # Errors
    /// [`StoreError::Key`], or the store could not be read.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// All keys that begin with `prefix` and their values, in the order of the keys. The prefix must hold a whole collection (`agents/`,
    /// `apps/web/`), or be empty for everything.
    ///
    /// # Errors
    /// [`StoreError::Key`], or the store could not be read.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>>;

    /// As [`Store::list`], only keys that come after `after`, and no more than a page ([`PAGE_BYTES`]): to go through a store of any size. None is
    /// left when it gives none. What is written meanwhile, to keys that come later, is seen or not.
    ///
    /// # Errors
    /// [`StoreError::Key`], or the store could not be read.
    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>>;

    /// Makes a transaction durable. Waits while the store cannot be reached, up to its time-out. Dropping the future does not take back what
    /// was queued.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Fenced`], [`StoreError::Key`], [`StoreError::TooLarge`], or the store failed.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Version, StoreError>>;

    /// The highest epoch that has committed; 0 in a new store.
    ///
    /// # Errors
    /// The store could not be read.
    fn epoch(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// What it counted.
    fn metrics(&self) -> &Arc<Metrics>;
}
