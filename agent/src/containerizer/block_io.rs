//! What a container may do with block devices, and what it did. The vocabulary; `isolators::cgroups::block_io` enforces and reads it.

use serde::{Deserialize, Serialize};

/// The number of a block device: major, minor.
pub type DeviceNumber = (u32, u32);

/// What a container may do with block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// How large its part is when others want the devices too, from 10 to 1000; `None`: the kernel's, which is 100 with BFQ and 500 with CFQ.
    pub weight: Option<u16>,
    /// How fast it may be.
    pub rates: Vec<BlockRate>,
}

/// How fast a container may read from or write to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRate {
    /// The whole device, not a partition of it.
    pub device: DeviceNumber,
    /// What is limited.
    pub kind: BlockRateKind,
    /// Bytes or operations in a second; at least 1.
    pub limit: u64,
}

/// What a rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockRateKind {
    /// Bytes that are read.
    ReadBytes,
    /// Bytes that are written.
    WriteBytes,
    /// Operations that read.
    Reads,
    /// Operations that write.
    Writes,
}

/// What the kernel tells of one device, or of all together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockUsage {
    /// `None`: all together.
    pub device: Option<DeviceNumber>,
    /// How many operations of each kind there were.
    pub operations: Vec<(BlockOperation, u64)>,
    /// How many bytes they moved.
    pub bytes: Vec<(BlockOperation, u64)>,
}

impl BlockUsage {
    /// Adds what another container did with the same device.
    pub(crate) fn add(&mut self, other: &Self) {
        let add = |own: &mut Vec<(BlockOperation, u64)>, others: &[(BlockOperation, u64)]| {
            for (kind, count) in others {
                match own.iter_mut().find(|(known, _)| known == kind) {
                    Some((_, known)) => *known = known.saturating_add(*count),
                    None => own.push((*kind, *count)),
                }
            }
        };
        add(&mut self.operations, &other.operations);
        add(&mut self.bytes, &other.bytes);
    }
}

/// A kind of operation. Each of them is one of the first three, and with cgroups of version 1 also one of the next two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockOperation {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It tells the device what is needed no more.
    Discard,
    /// Somebody waits for it.
    Sync,
    /// Nobody does.
    Async,
    /// All.
    Total,
}
