//! Which controllers this machine has, in which hierarchies, and where our part of them is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Controller, Directory, Placement, Version, block_io, cpuset, devices, members, write};
use crate::supervisor::sys;

/// An empty cgroup that is younger may belong to a container that is just being launched by another agent of this machine.
const SWEEP_MIN_AGE: Duration = Duration::from_secs(60);

/// How the names of cgroups begin that are made to see whether they can be.
const PROBE: &str = ".probe-";

/// A hierarchy and our directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    controllers: Vec<Controller>,
    /// `<mount>/<cgroups_root>`.
    root: PathBuf,
}

/// Where containers' cgroups go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Finds the hierarchies, makes our directory in each and, in the unified one, hands the controllers down to it.
    /// Also says what could not be had, in phrases for people.
    pub(crate) fn set_up(cgroups_root: &str) -> (Self, Vec<String>) {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut layout = Self::default();
        let mut missing = Vec::new();
        let programs = devices::program(&[]);
        for mut hierarchy in parse(&mountinfo, cgroups_root) {
            if hierarchy.version == Version::V2 {
                hand_down(&hierarchy.root, cgroups_root);
                hierarchy.controllers = handed_down(&hierarchy.root);
                if hierarchy.controllers.is_empty() {
                    continue;
                }
                if !layout.has(Controller::Devices) && sys::load_device_program(&programs).is_ok() {
                    hierarchy.controllers.push(Controller::Devices);
                }
            }
            let made = usable(&hierarchy.root).and_then(|()| {
                let depth = Path::new(cgroups_root).components().count();
                let processors = hierarchy.controllers.contains(&Controller::Cpuset);
                if hierarchy.version == Version::V1 && processors {
                    processors_from_above(&hierarchy.root, depth)?;
                }
                Ok(())
            });
            match made {
                Ok(()) => layout.hierarchies.push(hierarchy),
                Err(error) => missing.push(format!("cgroup {}: {error}", hierarchy.root.display())),
            }
        }
        (layout, missing)
    }

    /// Lets version 1 count what containers read and write, if that is where it is counted.
    pub(crate) fn count_block_io(&self) {
        let counting = self.hierarchies.iter().filter(|hierarchy| {
            hierarchy.version == Version::V1 && hierarchy.controllers.contains(&Controller::BlockIo)
        });
        counting.for_each(|hierarchy| block_io::count_from_now_on(&hierarchy.root));
    }

    /// Whether this controller can be used.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.hierarchies
            .iter()
            .any(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// Our directory in each hierarchy.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.hierarchies
            .iter()
            .map(|hierarchy| hierarchy.root.as_path())
    }

    /// The directories of one container.
    pub(crate) fn place(&self, container: &str) -> Placement {
        let directory = |hierarchy: &Hierarchy| Directory {
            version: hierarchy.version,
            controllers: hierarchy.controllers.clone(),
            path: hierarchy.root.join(container),
        };
        Placement {
            directories: self.hierarchies.iter().map(directory).collect(),
            holds: false,
        }
    }
}

/// Lets our directory, so many levels below the mount, have the processors of what is above it.
fn processors_from_above(root: &Path, depth: usize) -> io::Result<()> {
    let mut ours: Vec<_> = root.ancestors().take(depth).collect();
    ours.reverse();
    ours.into_iter().try_for_each(cpuset::inherit)
}

/// Makes the directory and tries whether a cgroup can be made in it.
fn usable(root: &Path) -> io::Result<()> {
    std::fs::create_dir_all(root)?;
    // Of agents that were killed while they tried.
    for entry in std::fs::read_dir(root)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PROBE) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    let probe = root.join(format!("{PROBE}{}", std::process::id()));
    match std::fs::create_dir(&probe) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => {
            let _ = std::fs::remove_dir(&probe);
            Ok(())
        }
    }
}

/// The unified hierarchy gives a cgroup only what every cgroup above it hands down. What cannot be handed down is seen afterwards.
fn hand_down(root: &Path, cgroups_root: &str) {
    let depth = Path::new(cgroups_root).components().count();
    let offered = root
        .ancestors()
        .nth(depth)
        .map(|mount| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default());
    let offered = offered.unwrap_or_default();
    if names_to_controllers(Version::V2, offered.split_ascii_whitespace()).is_empty() {
        // All of ours are in version 1 hierarchies: nothing to make here.
        return;
    }
    let _ = std::fs::create_dir_all(root);
    let mut above: Vec<_> = root.ancestors().take(depth + 1).collect();
    above.reverse();
    for directory in above {
        for controller in Controller::ALL {
            let _ = write(
                &directory.join("cgroup.subtree_control"),
                &format!("+{}", controller.name(Version::V2)),
            );
        }
    }
}

/// The controllers that cgroups below `root` have.
fn handed_down(root: &Path) -> Vec<Controller> {
    let names = std::fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
    names_to_controllers(Version::V2, names.split_ascii_whitespace())
}

fn names_to_controllers<'a>(
    version: Version,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Controller> {
    names
        .filter_map(|name| {
            Controller::ALL
                .into_iter()
                .find(|controller| controller.name(version) == name)
        })
        .collect()
}

/// Hierarchies in mountinfo's order, each controller once; the unified one comes last, with no controllers yet.
fn parse(mountinfo: &str, cgroups_root: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut right = right.split(' ');
        let (kind, options) = (
            right.next().unwrap_or_default(),
            right.nth(1).unwrap_or_default(),
        );
        let Some(mount) = left.split(' ').nth(4).map(unescape) else {
            continue;
        };
        match kind {
            "cgroup" => {
                let mut controllers = names_to_controllers(Version::V1, options.split(','));
                controllers.retain(|controller| {
                    !found
                        .iter()
                        .any(|hierarchy| hierarchy.controllers.contains(controller))
                });
                if !controllers.is_empty() {
                    found.push(Hierarchy {
                        version: Version::V1,
                        controllers,
                        root: mount.join(cgroups_root),
                    });
                }
            }
            "cgroup2" if unified.is_none() => {
                unified = Some(Hierarchy {
                    version: Version::V2,
                    controllers: Vec::new(),
                    root: mount.join(cgroups_root),
                });
            }
            _ => {}
        }
    }
    found.extend(unified);
    found
}

/// mountinfo writes blanks, tabs, line breaks and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (byte, octal) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from(String::from_utf8_lossy(&bytes).into_owned()).into()
}

/// Removes cgroups below `cgroups_root` that are empty and not young; says how many containers they were of.
pub(crate) fn sweep(cgroups_root: &str) -> usize {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut swept = std::collections::BTreeSet::new();
    for hierarchy in parse(&mountinfo, cgroups_root) {
        for entry in std::fs::read_dir(&hierarchy.root)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            let aged = entry
                .metadata()
                .and_then(|data| data.modified())
                .is_ok_and(|made| {
                    SystemTime::now()
                        .duration_since(made)
                        .is_ok_and(|age| age >= SWEEP_MIN_AGE)
                });
            if path.is_dir()
                && aged
                && members(&path).is_empty()
                && std::fs::remove_dir(&path).is_ok()
            {
                swept.insert(entry.file_name());
            }
        }
    }
    swept.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 / /elsewhere/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/my\\040pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
";
    const V2: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn check(mountinfo: &str, expected: &[(Version, &str, &[Controller])]) {
        let found = parse(mountinfo, "tepui");
        let found: Vec<_> = found
            .iter()
            .map(|h| {
                (
                    h.version,
                    h.root.to_str().unwrap(),
                    h.controllers.as_slice(),
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_controller_is_found_once_in_any_mixture() {
        use Controller::{Cpu, Cpuacct, Memory, Pids};
        let v1: [(Version, &str, &[Controller]); 3] = [
            (
                Version::V1,
                "/sys/fs/cgroup/cpu,cpuacct/tepui",
                &[Cpu, Cpuacct],
            ),
            (Version::V1, "/sys/fs/cgroup/memory/tepui", &[Memory]),
            (Version::V1, "/sys/fs/cgroup/my pids/tepui", &[Pids]),
        ];
        let v2: (Version, &str, &[Controller]) = (Version::V2, "/sys/fs/cgroup/unified/tepui", &[]);
        check(V1, &v1);
        check(V2, &[v2]);
        check(&format!("{V2}{V1}"), &[v1[0], v1[1], v1[2], v2]);
        check("rubbish\n1 2 3 - cgroup\n", &[]);
    }
}
