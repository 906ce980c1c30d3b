//! How fast a container uses block devices, and how much it did: `blkio` of version 1, `io` of version 2.

use std::io;
use std::path::Path;

use nix::libc;

use super::facts::Files;
use super::{Directory, Version, write};
use crate::containerizer::block_io::{
    BlockIo, BlockOperation, BlockRate, BlockRateKind, BlockUsage, DeviceNumber,
};
use crate::containerizer::event::LaunchFailure;
use crate::supervisor::message::failed_io;

/// Where weights can be set, the better place first, and whether that place takes those of version 2's own scale.
const WEIGHT_FILES: [(&str, bool); 4] = [
    ("io.bfq.weight", false),
    ("io.weight", true),
    ("blkio.bfq.weight", false),
    ("blkio.weight", false),
];
/// The files of version 1, and in which of them bytes are counted.
const USAGE_FILES: [(&str, bool); 2] = [
    ("blkio.throttle.io_serviced", false),
    ("blkio.throttle.io_service_bytes", true),
];

/// Sets what is asked for.
pub(super) fn confine(directory: &Directory, wanted: &BlockIo) -> Result<(), LaunchFailure> {
    let path = &directory.path;
    if let Some(weight) = wanted.weight {
        let place = WEIGHT_FILES
            .into_iter()
            .find(|(file, _)| path.join(file).exists());
        let (file, own_scale) = place
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
            .map_err(failed_io(
                "set the weight of block devices (no scheduler of this kernel knows any: BFQ, CFQ, iocost) in",
                path.to_string_lossy(),
            ))?;
        set(path, file, &weight_on(weight, own_scale).to_string())?;
    }
    for rate in &wanted.rates {
        let (file, line) = rate_line(directory.version, rate);
        set(path, file, &line)?;
    }
    Ok(())
}

fn set(directory: &Path, file: &str, value: &str) -> Result<(), LaunchFailure> {
    let file = directory.join(file);
    write(&file, value).map_err(failed_io("set", format!("{} to {value}", file.display())))
}

/// The weight as a file takes it: from 10 to 1000, or, on version 2's own scale, from 1 to 10000.
fn weight_on(weight: u16, own_scale: bool) -> u64 {
    let weight = u64::from(weight);
    if own_scale {
        1 + weight.saturating_sub(10) * 9999 / 990
    } else {
        weight
    }
}

fn rate_line(version: Version, rate: &BlockRate) -> (&'static str, String) {
    use BlockRateKind::{ReadBytes, Reads, WriteBytes, Writes};
    let ((major, minor), limit) = (rate.device, rate.limit);
    let (v1, v2) = match rate.kind {
        ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
        WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
        Reads => ("blkio.throttle.read_iops_device", "riops"),
        Writes => ("blkio.throttle.write_iops_device", "wiops"),
    };
    match version {
        Version::V1 => (v1, format!("{major}:{minor} {limit}")),
        Version::V2 => ("io.max", format!("{major}:{minor} {v2}={limit}")),
    }
}

/// Kernels from 6.10 on count in version 1 only what goes to devices for which somebody has set a rate. So one is set for each, and is none.
pub(super) fn count_from_now_on(root: &Path) {
    let rates = root.join("blkio.throttle.read_bps_device");
    let set = std::fs::read_to_string(&rates).unwrap_or_default();
    for disk in std::fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(number) = std::fs::read_to_string(disk.path().join("dev")) else {
            continue;
        };
        // A rate that somebody has set for all containers together stays.
        let mut lines = set.lines().map(|line| line.split_whitespace().next());
        if !lines.any(|known| known == Some(number.trim())) {
            // A device that knows no rates is not counted either.
            let _ = write(&rates, &format!("{} 0", number.trim()));
        }
    }
}

/// What was read and written: devices in the kernel's order, then all together.
pub(super) fn usage(version: Version, files: &Files) -> Vec<BlockUsage> {
    match version {
        Version::V1 => {
            let texts = USAGE_FILES.map(|(file, bytes)| (files.text(file), bytes));
            let mut found = Vec::new();
            for (text, bytes) in &texts {
                text.iter()
                    .flat_map(|text| text.lines())
                    .filter_map(v1_line)
                    .for_each(|(device, operation, count)| {
                        put(&mut found, device, operation, count, *bytes);
                    });
            }
            found.sort_by_key(|usage: &BlockUsage| usage.device.is_none());
            found
        }
        Version::V2 => v2(&files.text("io.stat").unwrap_or_default()),
    }
}

fn put(
    found: &mut Vec<BlockUsage>,
    device: Option<DeviceNumber>,
    operation: BlockOperation,
    count: u64,
    bytes: bool,
) {
    let at = found.iter().position(|usage| usage.device == device);
    let at = at.unwrap_or_else(|| {
        found.push(BlockUsage {
            device,
            ..BlockUsage::default()
        });
        found.len() - 1
    });
    let Some(usage) = found.get_mut(at) else {
        return;
    };
    let list = if bytes {
        &mut usage.bytes
    } else {
        &mut usage.operations
    };
    match list.iter_mut().find(|(known, _)| *known == operation) {
        Some((_, sum)) => *sum = sum.saturating_add(count),
        None => list.push((operation, count)),
    }
}

/// `254:0 Read 4096`, or `Total 4096` at the end.
fn v1_line(line: &str) -> Option<(Option<DeviceNumber>, BlockOperation, u64)> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    let (device, operation) = match number(first) {
        Some(device) => (Some(device), words.next()?),
        None => (None, first),
    };
    let operation = match operation {
        "Read" => BlockOperation::Read,
        "Write" => BlockOperation::Write,
        "Discard" => BlockOperation::Discard,
        "Sync" => BlockOperation::Sync,
        "Async" => BlockOperation::Async,
        "Total" => BlockOperation::Total,
        _ => return None,
    };
    Some((device, operation, words.next()?.parse().ok()?))
}

/// Lines of `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`, with further keys that are not looked at.
fn v2(text: &str) -> Vec<BlockUsage> {
    use BlockOperation::{Discard, Read, Total, Write};
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(number) else {
            continue;
        };
        for (key, count) in words.filter_map(|word| word.split_once('=')) {
            let (operation, bytes) = match key {
                "rbytes" => (Read, true),
                "wbytes" => (Write, true),
                "dbytes" => (Discard, true),
                "rios" => (Read, false),
                "wios" => (Write, false),
                "dios" => (Discard, false),
                _ => continue,
            };
            let Ok(count) = count.parse() else { continue };
            put(&mut found, Some(device), operation, count, bytes);
            put(&mut found, Some(device), Total, count, bytes);
        }
    }
    let totals: Vec<_> = found
        .iter()
        .flat_map(|usage| {
            let operations = usage
                .operations
                .iter()
                .map(|&(kind, count)| (kind, count, false));
            operations.chain(usage.bytes.iter().map(|&(kind, count)| (kind, count, true)))
        })
        .filter(|(kind, ..)| *kind == Total)
        .collect();
    for (kind, count, bytes) in totals {
        put(&mut found, None, kind, count, bytes);
    }
    found
}

fn number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use BlockOperation::{Async, Discard, Read, Sync, Total, Write};

    fn told(version: Version, given: &[(&str, &str)]) -> Vec<BlockUsage> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in given {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        usage(version, &Files::of(folder.path()))
    }

    #[test]
    fn version_1_tells_each_device_and_all_together() {
        let found = told(
            Version::V1,
            &[
                (
                    "blkio.throttle.io_serviced",
                    "254:0 Read 2\n254:0 Write 3\n254:0 Sync 4\n254:0 Async 1\n254:0 Discard 0\n254:0 Total 5\n7:0 Read 1\n7:0 Total 1\nTotal 6\n",
                ),
                (
                    "blkio.throttle.io_service_bytes",
                    "254:0 Read 8192\n254:0 Total 8192\n254:0 Rubbish 1\n254:0 Write x\nTotal 8192\n",
                ),
            ],
        );
        assert_eq!(
            found,
            [
                BlockUsage {
                    device: Some((254, 0)),
                    operations: vec![
                        (Read, 2),
                        (Write, 3),
                        (Sync, 4),
                        (Async, 1),
                        (Discard, 0),
                        (Total, 5)
                    ],
                    bytes: vec![(Read, 8192), (Total, 8192)],
                },
                BlockUsage {
                    device: Some((7, 0)),
                    operations: vec![(Read, 1), (Total, 1)],
                    bytes: Vec::new(),
                },
                BlockUsage {
                    device: None,
                    operations: vec![(Total, 6)],
                    bytes: vec![(Total, 8192)],
                },
            ]
        );
        assert_eq!(told(Version::V1, &[]), []);
    }

    #[test]
    fn version_2_tells_the_same() {
        let found = told(
            Version::V2,
            &[(
                "io.stat",
                "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=5 dios=1 cost.usage=7\n7:0 \n8:0 rbytes=1 rios=1\n",
            )],
        );
        assert_eq!(
            found,
            [
                BlockUsage {
                    device: Some((254, 0)),
                    operations: vec![(Read, 1), (Total, 4), (Write, 2), (Discard, 1)],
                    bytes: vec![(Read, 10), (Total, 35), (Write, 20), (Discard, 5)],
                },
                BlockUsage {
                    device: Some((8, 0)),
                    operations: vec![(Read, 1), (Total, 1)],
                    bytes: vec![(Read, 1), (Total, 1)],
                },
                BlockUsage {
                    device: None,
                    operations: vec![(Total, 5)],
                    bytes: vec![(Total, 36)],
                },
            ]
        );
    }

    #[test]
    fn rates_and_weights_are_written_as_each_version_reads_them() {
        for (kind, v1, v2) in [
            (
                BlockRateKind::ReadBytes,
                "blkio.throttle.read_bps_device",
                "rbps",
            ),
            (
                BlockRateKind::WriteBytes,
                "blkio.throttle.write_bps_device",
                "wbps",
            ),
            (
                BlockRateKind::Reads,
                "blkio.throttle.read_iops_device",
                "riops",
            ),
            (
                BlockRateKind::Writes,
                "blkio.throttle.write_iops_device",
                "wiops",
            ),
        ] {
            let rate = BlockRate {
                device: (8, 16),
                kind,
                limit: 1000,
            };
            assert_eq!(rate_line(Version::V1, &rate), (v1, "8:16 1000".to_owned()));
            let line = format!("8:16 {v2}=1000");
            assert_eq!(rate_line(Version::V2, &rate), ("io.max", line));
        }
        for (weight, own) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(weight_on(weight, false), u64::from(weight));
            assert_eq!(weight_on(weight, true), own);
        }
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory {
            version: Version::V2,
            controllers: Vec::new(),
            path: folder.path().to_owned(),
        };
        let wanted = BlockIo {
            weight: Some(1000),
            ..BlockIo::default()
        };
        let refused = confine(&directory, &wanted).unwrap_err().to_string();
        assert!(refused.contains("BFQ"), "{refused}");
        std::fs::write(folder.path().join("io.weight"), "default 100").unwrap();
        confine(&directory, &wanted).unwrap();
        let written = std::fs::read_to_string(folder.path().join("io.weight")).unwrap();
        assert!(written.starts_with("10000"), "{written}");
    }
}
