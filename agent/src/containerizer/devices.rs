//! Which devices a container may use, and which of them it finds in its `/dev`. The vocabulary; `isolators::cgroups::devices` enforces it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Of characters.
    Character,
    /// Of blocks.
    Block,
}

/// Something that is allowed. `None` stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "as in the kernel's documentation of the controller"
)]
pub struct DeviceRule {
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    /// A node of it may be made.
    pub mknod: bool,
}

/// A node that a container with a root of its own finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// On the host.
    pub from: PathBuf,
    /// Inside; below `/dev`.
    pub at: PathBuf,
    /// Of which kind.
    pub kind: DeviceKind,
    /// Its number.
    pub major: u32,
    /// Its number.
    pub minor: u32,
    /// Who may what, as on the host.
    pub mode: u32,
}

/// What a container may do with devices: what is listed, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// What is allowed.
    pub rules: Vec<DeviceRule>,
    /// What is there, besides the usual.
    pub nodes: Vec<DeviceNode>,
    /// Where this cannot be enforced the container is not launched; otherwise it then can use all devices that it has a node of.
    pub must: bool,
}

impl Default for Devices {
    /// What Mesos allows every container: nodes may be made, of them only those that every program counts on may be used.
    fn default() -> Self {
        let rule = |kind, major, minor, used| DeviceRule {
            kind,
            major,
            minor,
            read: used,
            write: used,
            mknod: true,
        };
        let character = |major, minor| rule(DeviceKind::Character, Some(major), minor, true);
        Self {
            rules: vec![
                rule(DeviceKind::Character, None, None, false),
                rule(DeviceKind::Block, None, None, false),
                character(5, Some(1)),    // console
                character(4, Some(0)),    // tty0
                character(4, Some(1)),    // tty1
                character(136, None),     // pts
                character(5, Some(2)),    // ptmx
                character(10, Some(200)), // net/tun
                character(1, Some(3)),    // null
                character(1, Some(5)),    // zero
                character(1, Some(7)),    // full
                character(5, Some(0)),    // tty
                character(1, Some(9)),    // urandom
                character(1, Some(8)),    // random
            ],
            nodes: Vec::new(),
            must: false,
        }
    }
}
