//! Which devices a container may use, and which of them it finds in its `/dev`. The vocabulary; `isolators::cgroups::devices` enforces it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

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

impl Devices {
    /// Looks at a node of the host, and allows what it stands for: reading, writing, making nodes of it. It is found inside as `at`, below `/dev`.
    ///
    /// # Errors
    /// It is not there, or no device.
    pub fn allow(
        &mut self,
        path: &Path,
        at: &Path,
        access: (bool, bool, bool),
    ) -> Result<(), String> {
        let (rule, mode) = Self::rule(path, access)?;
        self.nodes.push(DeviceNode {
            from: path.to_owned(),
            at: at.to_owned(),
            kind: rule.kind,
            major: rule.major.unwrap_or_default(),
            minor: rule.minor.unwrap_or_default(),
            mode,
        });
        self.rules.push(rule);
        Ok(())
    }

    /// As [`Devices::allow`], of a node that the container finds elsewhere.
    ///
    /// # Errors
    /// It is not there, or no device.
    pub fn permit(&mut self, path: &Path, access: (bool, bool, bool)) -> Result<(), String> {
        let (rule, _) = Self::rule(path, access)?;
        self.rules.push(rule);
        Ok(())
    }

    /// What allows this use of a device, and who may what with its node.
    fn rule(
        path: &Path,
        (read, write, mknod): (bool, bool, bool),
    ) -> Result<(DeviceRule, u32), String> {
        let cannot = |why: &str| format!("the device '{}': {why}", path.display());
        let node = std::fs::metadata(path).map_err(|error| cannot(&error.to_string()))?;
        let kind = if node.file_type().is_char_device() {
            DeviceKind::Character
        } else if node.file_type().is_block_device() {
            DeviceKind::Block
        } else {
            return Err(cannot("it is no device"));
        };
        let part =
            |number: u64| u32::try_from(number).map_err(|_| cannot("its number is too large"));
        let major = part(nix::sys::stat::major(node.rdev()))?;
        let minor = part(nix::sys::stat::minor(node.rdev()))?;
        let rule = DeviceRule {
            kind,
            major: Some(major),
            minor: Some(minor),
            read,
            write,
            mknod,
        };
        Ok((rule, node.mode() & 0o777))
    }
}

/// GPUs for a container, of those that there are. Each is one container's alone, until that is destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus {
    /// How many it gets.
    pub wanted: usize,
    /// The nodes of all that there are, which are handed out in this order.
    pub all: Vec<PathBuf>,
    /// Nodes that whoever has one needs too.
    pub shared: Vec<PathBuf>,
}

impl Gpus {
    /// Chooses among those that nobody has.
    pub(super) fn choose(&self, taken: &[&Path]) -> Option<Vec<PathBuf>> {
        let free = self
            .all
            .iter()
            .filter(|gpu| !taken.contains(&gpu.as_path()));
        let chosen: Vec<PathBuf> = free.take(self.wanted).cloned().collect();
        (chosen.len() == self.wanted).then_some(chosen)
    }

    /// Allows those that were chosen.
    pub(super) fn allow(&self, chosen: &[PathBuf], devices: &mut Devices) -> Result<(), String> {
        for path in chosen.iter().chain(&self.shared) {
            let name = path.file_name().unwrap_or_default();
            devices.allow(path, &Path::new("/dev").join(name), (true, true, true))?;
        }
        Ok(())
    }
}
