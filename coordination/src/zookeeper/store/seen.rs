//! What a writer has read and written of the store. Pure.
//!
//! It holds for one version of the head: everybody who writes to the store changes the head with it, so whoever then writes under the
//! condition that the head is still that one has decided on what is there. Nothing has to be read again after one's own commits.
//!
//! Values are not kept, only what a decision needs. At most [`MOST`] keys; beyond that all are forgotten, and read again when they are needed.

use std::collections::{BTreeMap, HashMap};

use super::layout::{Content, ValueNode};
use crate::store::{Expect, Head, Operation, Version};

/// The most keys that are remembered: 50,000 agents with what was said of them.
const MOST: usize = 200_000;

/// What is remembered of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) version: Version,
    /// The id and the number of its chunks, if it is not in its node.
    pub(super) chunks: Option<Box<(String, u32)>>,
}

impl From<ValueNode> for Kept {
    fn from(node: ValueNode) -> Self {
        let chunks = match node.content {
            Content::Inline(_) => None,
            Content::Chunks { id, count } => Some(Box::new((id, count))),
        };
        Self {
            version: node.version,
            chunks,
        }
    }
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) head: Head,
    /// ZooKeeper's version of the head's node.
    pub(super) head_version: i32,
    /// `None` for keys that are known not to be there.
    nodes: HashMap<String, Option<Kept>>,
}

impl Seen {
    pub(super) fn new(head: Head, head_version: i32) -> Self {
        Self {
            head,
            head_version,
            nodes: HashMap::new(),
        }
    }

    /// What is remembered of a key that is there.
    pub(super) fn get(&self, key: &str) -> Option<&Kept> {
        self.nodes.get(key)?.as_ref()
    }

    pub(super) fn note(&mut self, key: String, kept: Option<Kept>) {
        self.nodes.insert(key, kept);
    }

    /// The keys that have to be read before these operations are decided. Those that are only to be made, and must not be there, are taken
    /// for absent unless `cautious`: if one is there the commit fails as a whole.
    pub(super) fn missing<'a>(
        &self,
        operations: impl Iterator<Item = &'a Operation>,
        cautious: bool,
    ) -> Vec<&'a str> {
        let mut unknown: BTreeMap<&str, bool> = BTreeMap::new();
        for operation in operations {
            let key = operation.key();
            if self.nodes.contains_key(key) {
                continue;
            }
            let makes = matches!(
                operation,
                Operation::Put {
                    expect: Expect::Absent,
                    ..
                }
            );
            let reads = unknown.entry(key).or_default();
            *reads |= cautious || !makes;
        }
        let read = unknown.into_iter().filter(|(_, reads)| *reads);
        read.map(|(key, _)| key).collect()
    }

    /// This was committed.
    pub(super) fn advance(&mut self, head: Head, written: Vec<(String, Option<Kept>)>) {
        self.head = head;
        self.head_version = self.head_version.wrapping_add(1);
        if self.nodes.len() + written.len() > MOST {
            self.nodes = HashMap::new();
        }
        self.nodes.extend(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Transaction;

    fn kept(version: u64) -> Option<Kept> {
        Some(Kept {
            version: Version(version),
            chunks: None,
        })
    }

    #[test]
    fn only_what_is_unknown_is_read() {
        let mut seen = Seen::new(Head::default(), 3);
        seen.note("a/there".to_owned(), kept(1));
        seen.note("a/gone".to_owned(), None);
        let asked = Transaction::new(1)
            .put("a/there", "x")
            .delete("a/gone")
            .put("a/any", "x")
            .delete("a/deleted")
            .check("a/checked", Expect::Absent)
            .put_if("a/new", "x", Expect::Absent)
            .put_if("a/both", "x", Expect::Absent)
            .delete("a/both");
        let missing = |cautious| seen.missing(asked.operations.iter(), cautious);
        assert_eq!(
            missing(false),
            ["a/any", "a/both", "a/checked", "a/deleted"]
        );
        let all = ["a/any", "a/both", "a/checked", "a/deleted", "a/new"];
        assert_eq!(missing(true), all);
    }

    #[test]
    fn what_was_written_is_known() {
        let mut seen = Seen::new(Head::default(), i32::MAX);
        let head = Head {
            epoch: 2,
            commit: 9,
        };
        seen.advance(
            head,
            vec![("a/b".to_owned(), kept(9)), ("a/c".to_owned(), None)],
        );
        assert_eq!((seen.head, seen.head_version), (head, i32::MIN));
        assert_eq!(seen.get("a/b"), kept(9).as_ref());
        let asked = Transaction::new(2).put("a/b", "x").delete("a/c");
        assert!(seen.missing(asked.operations.iter(), false).is_empty());
        // Bounded.
        let many = (0..MOST).map(|n| (format!("a/{n}"), None)).collect();
        seen.advance(head, many);
        assert_eq!((seen.nodes.len(), seen.get("a/b")), (MOST, None));
    }
}
