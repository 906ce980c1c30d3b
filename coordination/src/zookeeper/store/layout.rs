//! Where things are below the store's root, and what is in the nodes. Pure.
//!
//! ```text
//! <root>/head                                   epoch, number of the last transaction, id of the last commit (JSON)
//! <root>/data/<collection>/<bucket>/<name>      a value with its version, or where its chunks are
//! <root>/chunks/<key>/<id>-<n>                  parts of large values
//! ```
//!
//! 256 buckets a collection, by a hash of the name: a collection of 50,000 has 200 names in each, so that no list of children grows large and a load
//! asks for all of them at once. Names are percent-encoded where ZooKeeper forbids a character.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::store::{Head, StoreError, Version};

/// The layout that this version writes.
const FORMAT: u32 = 1;

/// A node's content when the value is in it.
const INLINE: u8 = 0;
/// A node's content when the value is in chunks.
const CHUNKED: u8 = 1;

/// The content of `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadNode {
    format: u32,
    epoch: u64,
    commit: u64,
    /// Of the last commit: a writer that lost the answer finds here that it was heard.
    pub(super) last: String,
}

impl HeadNode {
    pub(super) fn new(head: Head, last: &str) -> Self {
        Self {
            format: FORMAT,
            epoch: head.epoch,
            commit: head.commit,
            last: last.to_owned(),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            epoch: self.epoch,
            commit: self.commit,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Numbers and a string: serialising them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(content: &[u8], place: &str) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::Format {
            place: place.to_owned(),
            why,
        };
        let node: Self = serde_json::from_slice(content)
            .map_err(|error| bad(format!("its head is not readable: {error}")))?;
        match node.format {
            FORMAT => Ok(node),
            other => Err(bad(format!(
                "it has layout {other}; this version knows {FORMAT}"
            ))),
        }
    }
}

/// What a value's node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValueNode {
    pub(super) version: Version,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Inline(Bytes),
    /// In so many chunks of this id.
    Chunks {
        id: String,
        count: u32,
    },
}

impl ValueNode {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match &self.content {
            Content::Inline(value) => {
                out.reserve(9 + value.len());
                out.put_u8(INLINE);
                out.put_u64(self.version.0);
                out.put_slice(value);
            }
            Content::Chunks { id, count } => {
                out.put_u8(CHUNKED);
                out.put_u64(self.version.0);
                out.put_u32(*count);
                out.put_slice(id.as_bytes());
            }
        }
        out.freeze()
    }

    /// `None` if the node is none of this store's.
    pub(super) fn decode(content: Vec<u8>) -> Option<Self> {
        let mut content = Bytes::from(content);
        let kind = content.try_get_u8().ok()?;
        let version = Version(content.try_get_u64().ok()?);
        let content = match kind {
            INLINE => Content::Inline(content),
            CHUNKED => {
                let count = content.try_get_u32().ok()?;
                Content::Chunks {
                    id: String::from_utf8(content.to_vec()).ok()?,
                    count,
                }
            }
            _ => return None,
        };
        Some(Self { version, content })
    }
}

/// The directories and nodes of a store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: String,
}

impl Layout {
    pub(super) fn head(&self) -> String {
        format!("{}/head", self.root)
    }

    pub(super) fn data(&self) -> String {
        format!("{}/data", self.root)
    }

    pub(super) fn chunks(&self) -> String {
        format!("{}/chunks", self.root)
    }

    pub(super) fn collection(&self, collection: &str) -> String {
        format!("{}/data/{collection}", self.root)
    }

    /// The directory of a key's node.
    pub(super) fn bucket(&self, key: &str) -> String {
        let (collection, name) = split(key);
        format!("{}/{:02x}", self.collection(collection), bucket(name))
    }

    /// A key's node.
    pub(super) fn node(&self, key: &str) -> String {
        format!("{}/{}", self.bucket(key), encode_name(split(key).1))
    }

    /// The directory of a large value's chunks.
    pub(super) fn chunk_directory(&self, key: &str) -> String {
        format!("{}/chunks/{}", self.root, encode_name(key))
    }

    pub(super) fn chunk(&self, key: &str, id: &str, number: u32) -> String {
        format!("{}/{id}-{number}", self.chunk_directory(key))
    }
}

/// Keys were checked on the way in: they have a slash.
fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// FNV-1a, folded to a byte: it must stay what it is for as long as there are stores.
fn bucket(name: &str) -> u8 {
    let hash = name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, d] = hash.to_be_bytes();
    a ^ b ^ c ^ d
}

/// The name of a node: without slashes, control characters, and what ZooKeeper calls invalid.
pub(super) fn encode_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let plain = match c {
            '/' | '%' => false,
            '.' => !out.is_empty(),
            c => c.is_ascii_graphic() || c == ' ',
        };
        if plain {
            out.push(c);
        } else {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

/// The name that was encoded; `None` if it was not encoded here.
pub(super) fn decode_name(node: &str) -> Option<String> {
    let mut out = Vec::with_capacity(node.len());
    let mut rest = node.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let hex = str::from_utf8(tail.get(..2)?).ok()?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_zookeeper_takes() {
        let cases = [
            ("S0", "S0"),
            ("a/b", "a%2Fb"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("100%", "100%25"),
            ("tab\t", "tab%09"),
            ("é", "%C3%A9"),
        ];
        for (name, node) in cases {
            assert_eq!(encode_name(name), node);
            assert_eq!(decode_name(node).as_deref(), Some(name));
        }
        for foreign in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(decode_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn paths_stay_what_they_are() {
        let layout = Layout {
            root: "/mesos/tepui/registry".to_owned(),
        };
        assert_eq!(
            layout.node("agents/S1"),
            "/mesos/tepui/registry/data/agents/e5/S1"
        );
        assert_eq!(
            layout.node("apps/web/blue"),
            "/mesos/tepui/registry/data/apps/e2/web%2Fblue"
        );
        assert_eq!(
            layout.chunk("apps/web", "x", 3),
            "/mesos/tepui/registry/chunks/apps%2Fweb/x-3"
        );
    }

    #[test]
    fn buckets_are_filled_evenly() {
        let mut filled = [0u32; 256];
        for n in 0..50_000 {
            filled[usize::from(bucket(&format!(
                "6a1d4b1e-0f3f-4a62-9b34-2f6b8bb0d2a1-S{n}"
            )))] += 1;
        }
        assert!(filled.iter().all(|n| (100..400).contains(n)), "{filled:?}");
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let newer = br#"{"format":2,"epoch":1,"commit":1,"last":""}"#;
        assert!(matches!(
            HeadNode::decode(newer, "/x"),
            Err(StoreError::Format { .. })
        ));
        assert!(matches!(
            HeadNode::decode(b"rubbish", "/x"),
            Err(StoreError::Format { .. })
        ));
    }

    proptest! {
        #[test]
        fn names_come_back(name in "\\PC{1,40}") {
            let node = encode_name(&name);
            prop_assert!(!node.contains('/') && !node.chars().any(char::is_control) && node != "." && node != "..");
            prop_assert_eq!(decode_name(&node), Some(name));
        }

        #[test]
        fn values_come_back(version: u64, value: Vec<u8>, count: u32) {
            for content in [Content::Inline(value.into()), Content::Chunks { id: "0f".to_owned(), count }] {
                let node = ValueNode { version: Version(version), content };
                prop_assert_eq!(ValueNode::decode(node.encode().to_vec()), Some(node));
            }
        }

        #[test]
        fn rubbish_is_no_value_and_no_panic(content: Vec<u8>) {
            let _ = ValueNode::decode(content);
        }
    }
}
