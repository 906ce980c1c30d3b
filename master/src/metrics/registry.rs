//! How large the registry is in the store: the sum over its entries, kept while they are written.

use std::collections::HashMap;
use std::hash::BuildHasher;

use parking_lot::Mutex;
use tepui_coordination::Transaction;
use tepui_coordination::store::Operation;

/// The bytes of each entry, key and value, by the hash of its key: the keys themselves would take more than all the rest.
#[derive(Debug, Default)]
pub(crate) struct RegistrySize(Mutex<Sizes>);

#[derive(Debug, Default)]
struct Sizes {
    of_entries: HashMap<u64, u32>,
    total: u64,
    hasher: std::hash::RandomState,
}

/// What a transaction will make of sizes, once it is committed.
pub(crate) struct Resized(Vec<(u64, u32)>);

impl RegistrySize {
    /// A new leader reads the registry anew.
    pub(crate) fn clear(&self) {
        let mut sizes = self.0.lock();
        sizes.of_entries.clear();
        sizes.total = 0;
    }

    /// An entry was read.
    pub(crate) fn read(&self, key: &str, value: &[u8]) {
        let mut sizes = self.0.lock();
        let hash = sizes.hasher.hash_one(key);
        sizes.set(hash, size(key, value));
    }

    /// What a transaction changes.
    pub(crate) fn resized(&self, transaction: &Transaction) -> Resized {
        let sizes = self.0.lock();
        let change = |operation: &Operation| match operation {
            Operation::Put { key, value, .. } => {
                Some((sizes.hasher.hash_one(key), size(key, value)))
            }
            Operation::Delete { key, .. } => Some((sizes.hasher.hash_one(key), 0)),
            Operation::Check { .. } => None,
        };
        Resized(transaction.operations.iter().filter_map(change).collect())
    }

    /// It was committed.
    pub(crate) fn committed(&self, resized: Resized) {
        let mut sizes = self.0.lock();
        for (hash, bytes) in resized.0 {
            sizes.set(hash, bytes);
        }
    }

    /// All entries together.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().total
    }
}

impl Sizes {
    fn set(&mut self, hash: u64, bytes: u32) {
        let before = match bytes {
            0 => self.of_entries.remove(&hash),
            _ => self.of_entries.insert(hash, bytes),
        };
        self.total = self.total - u64::from(before.unwrap_or(0)) + u64::from(bytes);
    }
}

fn size(key: &str, value: &[u8]) -> u32 {
    u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_count_once_and_only_when_they_are_committed() {
        let registry = RegistrySize::default();
        registry.read("a/1", b"12345");
        assert_eq!(registry.bytes(), 8);
        let change = Transaction::new(1)
            .put("a/1", b"1".to_vec())
            .put("a/2", b"22".to_vec())
            .delete("a/3");
        let resized = registry.resized(&change);
        assert_eq!(registry.bytes(), 8);
        registry.committed(resized);
        assert_eq!(registry.bytes(), 4 + 5);
        registry.committed(registry.resized(&Transaction::new(1).delete("a/1")));
        assert_eq!(registry.bytes(), 5);
        registry.clear();
        assert_eq!(registry.bytes(), 0);
    }
}
