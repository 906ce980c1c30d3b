//! Devices that containers may use besides the usual, as operators (`--allowed_devices`) and Docker's parameter `device` say it.

use std::path::{Component, Path, PathBuf};

use tepui_proto::mesos::v1::DeviceWhitelist;

use crate::containerizer::devices::Devices;

/// A device that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDevice {
    /// Its node on the host.
    pub path: PathBuf,
    /// Where containers with an image find it; below `/dev`.
    pub at: PathBuf,
    /// It may be read.
    pub read: bool,
    /// It may be written to.
    pub write: bool,
    /// Another node of it may be made.
    pub mknod: bool,
}

/// Reads `--allowed_devices`.
pub(super) fn from_json(text: &str) -> Result<Vec<AllowedDevice>, String> {
    let list: DeviceWhitelist =
        tepui_proto::json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let one = |entry: &tepui_proto::mesos::v1::DeviceAccess| {
        let path = entry.device.path.as_deref().unwrap_or_default();
        if path.is_empty() {
            return Err("each device needs a 'path'".to_owned());
        }
        AllowedDevice::new(
            path,
            path,
            entry.access.read(),
            entry.access.write(),
            entry.access.mknod(),
        )
    };
    list.allowed_devices.iter().map(one).collect()
}

fn is_below_dev(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && parts.next() == Some(Component::Normal("dev".as_ref()))
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

impl AllowedDevice {
    fn new(path: &str, at: &str, read: bool, write: bool, mknod: bool) -> Result<Self, String> {
        let (path, at) = (PathBuf::from(path), PathBuf::from(at));
        if !path.is_absolute() {
            return Err(format!("'{}' is no absolute path", path.display()));
        }
        if !is_below_dev(&at) {
            return Err(format!("'{}' is not below /dev", at.display()));
        }
        Ok(Self {
            path,
            at,
            read,
            write,
            mknod,
        })
    }

    /// Docker's `/dev/host[:/dev/inside[:rwm]]`.
    pub(crate) fn of_docker(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let path = parts.next().unwrap_or_default();
        let second = parts.next();
        let letters = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
        let (at, access) = match (second, parts.next()) {
            // As Docker reads it: what is no path is who may do what.
            (Some(access), None) if letters(access) => (path, access),
            (at, access) => (at.unwrap_or(path), access.unwrap_or("rwm")),
        };
        if !letters(access) || parts.next().is_some() {
            return Err("is not /dev/host:/dev/inside:rwm".to_owned());
        }
        let may = |letter| access.contains(letter);
        Self::new(path, at, may('r'), may('w'), may('m'))
    }

    /// Looks at the node, and allows what it stands for.
    pub(super) fn add_to(&self, devices: &mut Devices) -> Result<(), String> {
        devices.allow(&self.path, &self.at, (self.read, self.write, self.mknod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::devices::DeviceKind;

    #[test]
    fn devices_are_read_as_mesos_and_docker_write_them() {
        let json = r#"{"allowed_devices":[{"device":{"path":"/dev/kvm"},"access":{"read":true,"write":true}}]}"#;
        let read = from_json(json).unwrap();
        assert_eq!(read[0].at, Path::new("/dev/kvm"));
        assert_eq!(
            (read[0].read, read[0].write, read[0].mknod),
            (true, true, false)
        );
        for (text, at, access) in [
            ("/dev/kvm", "/dev/kvm", (true, true, true)),
            ("/dev/kvm:r", "/dev/kvm", (true, false, false)),
            ("/dev/sda:/dev/xvda", "/dev/xvda", (true, true, true)),
            ("/dev/sda:/dev/xvda:rw", "/dev/xvda", (true, true, false)),
        ] {
            let read = AllowedDevice::of_docker(text).unwrap();
            assert_eq!((read.read, read.write, read.mknod), access, "{text}");
            assert_eq!(read.at, Path::new(at));
        }
        for bad in [
            "",
            "kvm",
            "/dev/a:/etc/b",
            "/dev/a:/dev/../b",
            "/dev/a:/dev/b:x",
            "/dev/a:/dev",
            "/dev/a:/dev/b:r:w",
        ] {
            assert!(AllowedDevice::of_docker(bad).is_err(), "{bad}");
        }
        for bad in ["{", r#"{"allowed_devices":[{"device":{},"access":{}}]}"#] {
            assert!(from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nodes_are_looked_at() {
        let mut devices = Devices::default();
        let usual = devices.rules.len();
        AllowedDevice::of_docker("/dev/null:/dev/nothing:r")
            .unwrap()
            .add_to(&mut devices)
            .unwrap();
        let rule = devices.rules[usual];
        assert_eq!(
            (rule.kind, rule.major, rule.minor, rule.write),
            (DeviceKind::Character, Some(1), Some(3), false)
        );
        assert_eq!(devices.nodes[0].at, Path::new("/dev/nothing"));
        let refused = AllowedDevice::of_docker("/dev/none")
            .unwrap()
            .add_to(&mut devices)
            .unwrap_err();
        assert!(refused.contains("'/dev/none'"), "{refused}");
    }
}
