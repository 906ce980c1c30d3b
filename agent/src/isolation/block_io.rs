//! How fast containers use block devices, as Docker's parameters say it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use nix::sys::stat::{major, minor};

use super::IsolationConfig;
use crate::containerizer::block_io::{BlockIo, BlockRate, BlockRateKind, DeviceNumber};
use crate::provision::docker::bytes;
use crate::provision::plan::Settings;

/// Weights that Docker takes.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// A rate as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateWish {
    /// The device's node on the host.
    path: PathBuf,
    kind: BlockRateKind,
    limit: u64,
}

/// Reads `blkio-weight`; 0 leaves it to the kernel.
pub(crate) fn weight(value: &str) -> Result<Option<u16>, &'static str> {
    match value.parse() {
        Ok(0) => Ok(None),
        Ok(weight) if WEIGHTS.contains(&weight) => Ok(Some(weight)),
        _ => Err("is no number from 10 to 1000"),
    }
}

impl RateWish {
    /// Reads `device-read-bps=/dev/sda:1mb` and its like.
    pub(crate) fn of_docker(key: &str, value: &str) -> Result<Self, String> {
        let (path, limit) = value.rsplit_once(':').ok_or("is not device:rate")?;
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!("'{}' is no absolute path", path.display()));
        }
        let (kind, limit) = match key {
            "device-read-bps" => (BlockRateKind::ReadBytes, bytes(limit)),
            "device-write-bps" => (BlockRateKind::WriteBytes, bytes(limit)),
            "device-read-iops" => (BlockRateKind::Reads, limit.parse().ok()),
            _ => (BlockRateKind::Writes, limit.parse().ok()),
        };
        match limit {
            None => Err("its rate is no number".to_owned()),
            Some(0) => Err("a rate is at least 1".to_owned()),
            Some(limit) => Ok(Self { path, kind, limit }),
        }
    }

    fn rate(&self) -> Result<BlockRate, String> {
        let data = std::fs::metadata(&self.path)
            .map_err(|error| format!("the device '{}': {error}", self.path.display()))?;
        if !data.file_type().is_block_device() {
            return Err(format!("'{}' is no block device", self.path.display()));
        }
        Ok(BlockRate {
            device: number(data.rdev()),
            kind: self.kind,
            limit: self.limit,
        })
    }
}

fn number(device: u64) -> DeviceNumber {
    let part = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    (part(major(device)), part(minor(device)))
}

impl IsolationConfig {
    /// How fast a container may use block devices. Says which are none.
    pub(crate) fn block_io(plan: &Settings) -> Result<BlockIo, String> {
        Ok(BlockIo {
            weight: plan.block_weight,
            rates: plan
                .block_rates
                .iter()
                .map(RateWish::rate)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_weights_are_read_as_docker_writes_them() {
        for (key, value, kind, limit) in [
            (
                "device-read-bps",
                "/dev/sda:1mb",
                BlockRateKind::ReadBytes,
                1 << 20,
            ),
            (
                "device-write-bps",
                "/dev/a:b:2k",
                BlockRateKind::WriteBytes,
                2 << 10,
            ),
            (
                "device-read-iops",
                "/dev/sda:100",
                BlockRateKind::Reads,
                100,
            ),
            ("device-write-iops", "/dev/sda:1", BlockRateKind::Writes, 1),
        ] {
            let wish = RateWish::of_docker(key, value).unwrap();
            assert_eq!((wish.kind, wish.limit), (kind, limit), "{value}");
        }
        assert_eq!((weight("0"), weight("1000")), (Ok(None), Ok(Some(1000))));
        for bad in ["", "9", "1001", "much"] {
            weight(bad).unwrap_err();
        }
        for (path, why) in [
            ("/dev/null", "'/dev/null' is no block device"),
            ("/dev/there-is-none", "No such file"),
        ] {
            let wish = RateWish::of_docker("device-read-iops", &format!("{path}:5")).unwrap();
            let refused = wish.rate().unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
