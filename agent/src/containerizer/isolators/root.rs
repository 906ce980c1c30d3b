//! A root of the container's own: overlayfs over an image's layers, with `/proc`, `/sys`, `/dev` and the sandbox in it.
//!
//! Everything is mounted in the container's mount namespace alone, so that it ends with the container, however that ends. What the image
//! holds is not trusted: every place in it is reached without leaving it ([`Beneath`]), also where the image has a link in its stead.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, mknodat, umask};
use nix::unistd::{pivot_root, symlinkat};

use super::Isolator;
use super::mounts::{bind, make_read_only};
use super::shm::Shm;
use super::volumes::Volumes;
use crate::containerizer::beneath::{Beneath, open_without_links, through};
use crate::containerizer::devices::{DeviceKind, DeviceNode};
use crate::containerizer::rootfs::{Mount, Overlay, RootFilesystem};
use crate::containerizer::{LaunchFailure, Namespaces};
use crate::supervisor::message::{failed, failed_io, failure};

/// Hidden from whoever is not privileged: the kernel's own affairs, which no namespace covers.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// To be looked at only.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
/// What overlayfs takes of names in one go: a page, less its end.
const MAX_OPTIONS_BYTES: usize = 4095;
/// Devices that every program counts on: name and number.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) struct Root {
    root: Option<RootFilesystem>,
    namespaces: Namespaces,
    /// At absolute places.
    volumes: Volumes,
    /// Besides the usual.
    devices: Vec<DeviceNode>,
    shm: Shm,
}

/// Mounts an overlay on its own place. Changes the working directory.
pub(super) fn mount_overlay(overlay: &Overlay, user_namespace: bool) -> Result<(), LaunchFailure> {
    let subject = overlay.mount.to_string_lossy();
    nix::unistd::chdir(&overlay.layers).map_err(failed(
        "change to the directory of layers",
        overlay.layers.to_string_lossy(),
    ))?;
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={}",
        overlay.lower.join(":"),
        overlay.upper,
        overlay.work
    );
    if user_namespace {
        options.push_str(",userxattr");
    }
    if options.len() > MAX_OPTIONS_BYTES {
        return Err(failure(
            "mount the image: it has too many layers for overlayfs",
            &subject,
            0,
        ));
    }
    mount(
        Some("overlay"),
        &overlay.mount,
        Some("overlay"),
        MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .map_err(failed("mount the image by overlayfs at", &subject))
}

impl Root {
    pub(super) fn new(
        root: Option<RootFilesystem>,
        namespaces: Namespaces,
        mounts: Vec<Mount>,
        record: &Path,
        shm: Shm,
    ) -> Self {
        Self {
            root,
            namespaces,
            volumes: Volumes::inside(mounts, namespaces, record),
            devices: Vec::new(),
            shm,
        }
    }

    /// With more devices than the usual.
    pub(super) fn devices(mut self, nodes: Option<Vec<DeviceNode>>) -> Self {
        self.devices = nodes.unwrap_or_default();
        self
    }
}

impl Isolator for Root {
    fn open(&mut self) -> Result<(), LaunchFailure> {
        self.shm.open()
    }

    fn isolate(&self) -> Result<(), LaunchFailure> {
        let Some(root) = &self.root else {
            if self.namespaces.mount {
                self.shm.cover_hosts()?;
            }
            return self.volumes.mount_all(None);
        };
        if !self.namespaces.mount {
            return Err(failure(
                "give the container a root of its own: this machine does not let the agent make namespaces",
                "",
                0,
            ));
        }
        mount_overlay(&root.overlay, self.namespaces.user)?;
        self.build(root)
    }
}

impl Root {
    fn build(&self, root: &RootFilesystem) -> Result<(), LaunchFailure> {
        let top = &root.overlay.mount;
        let beneath =
            Beneath::new(top).map_err(failed("open the image's root", top.to_string_lossy()))?;
        let inside = Inside {
            beneath,
            user_namespace: self.namespaces.user,
        };
        inside.kernel_filesystems(root)?;
        inside.devices(root, &self.devices, &self.shm)?;
        for (path, content) in &root.files {
            let subject = path.to_string_lossy();
            inside
                .beneath
                .write(path, content.as_bytes())
                .map_err(failed("write into the image's root", subject))?;
        }
        let place = inside.directory(&root.sandbox_inside)?;
        let words = "mount the sandbox at";
        let subject = root.sandbox_inside.to_string_lossy();
        let sandbox = open_without_links(&root.sandbox)
            .map_err(failed("open the sandbox", root.sandbox.to_string_lossy()))?;
        bind(&through(&sandbox), &through(&place), true).map_err(failed(words, &subject))?;
        drop(place);
        for path in &root.directories {
            inside.directory(path)?;
        }
        self.volumes.mount_all(Some(&inside.beneath))?;
        if !root.privileged {
            inside.hide()?;
        }
        drop(inside);
        if root.read_only {
            make_read_only(top, false)
                .map_err(failed("make the root read-only", top.to_string_lossy()))?;
        }
        enter(top)
    }
}

/// Makes the mounted tree the root; the host's is nowhere any more.
fn enter(top: &Path) -> Result<(), LaunchFailure> {
    let words = "enter the image's root";
    nix::unistd::chdir(top).map_err(failed(words, "chdir"))?;
    // The old root ends up above the new one, from where it is taken away.
    pivot_root(".", ".").map_err(failed(words, "pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed(words, "unmount the host's root"))?;
    nix::unistd::chdir("/").map_err(failed(words, "chdir"))
}

/// The container's tree, before it is entered.
struct Inside {
    beneath: Beneath,
    user_namespace: bool,
}

impl Inside {
    fn directory(&self, path: &Path) -> Result<OwnedFd, LaunchFailure> {
        self.beneath.directory(path).map_err(failed(
            "make a directory in the image's root",
            path.to_string_lossy(),
        ))
    }

    fn mount(
        &self,
        kind: &'static str,
        at: &'static str,
        flags: MsFlags,
        options: Option<&str>,
    ) -> Result<(), LaunchFailure> {
        let place = self.directory(Path::new(at))?;
        mount(Some(kind), &through(&place), Some(kind), flags, options).map_err(failed("mount", at))
    }

    fn kernel_filesystems(&self, root: &RootFilesystem) -> Result<(), LaunchFailure> {
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        match self.mount("proc", "/proc", quiet, None) {
            // Only who owns the pid namespace may: one that shares the host's processes sees the host's.
            Err(told) if told.errno == Errno::EPERM as i32 && self.user_namespace => {
                let place = self.directory(Path::new("/proc"))?;
                bind(Path::new("/proc"), &through(&place), true)
                    .map_err(failed("mount", "/proc"))?;
            }
            other => other?,
        }
        let sys = if root.privileged {
            quiet
        } else {
            quiet | MsFlags::MS_RDONLY
        };
        match self.mount("sysfs", "/sys", sys, None) {
            // Only who owns the network namespace may: another sees the host's, as far as it is not hidden.
            Err(told) if told.errno == Errno::EPERM as i32 && self.user_namespace => {
                let place = self.directory(Path::new("/sys"))?;
                bind(Path::new("/sys"), &through(&place), true).map_err(failed("mount", "/sys"))?;
                let covered = self.directory(Path::new("/sys"))?;
                make_read_only(&through(&covered), true).map_err(failed("make read-only", "/sys"))
            }
            other => other,
        }
    }

    /// A device that not every container has. The mask is empty.
    fn node(&self, node: &DeviceNode) -> Result<(), LaunchFailure> {
        let subject = node.at.to_string_lossy();
        let made = if self.user_namespace {
            let place = self.beneath.file(&node.at);
            place.and_then(|place| bind(&node.from, &through(&place), false))
        } else {
            let (Some(folder), Some(name)) = (node.at.parent(), node.at.file_name()) else {
                return Err(failure("make the device: it has no name", &subject, 0));
            };
            let kind = match node.kind {
                DeviceKind::Character => SFlag::S_IFCHR,
                DeviceKind::Block => SFlag::S_IFBLK,
            };
            let number = nix::sys::stat::makedev(node.major.into(), node.minor.into());
            let mode = Mode::from_bits_truncate(node.mode);
            umask(Mode::from_bits_truncate(0o022));
            let folder = self.directory(folder)?;
            umask(Mode::empty());
            mknodat(&folder, name, kind, mode, number)
        };
        made.map_err(failed("make the device", &subject))
    }

    fn devices(
        &self,
        root: &RootFilesystem,
        more: &[DeviceNode],
        shm: &Shm,
    ) -> Result<(), LaunchFailure> {
        let still = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        self.mount(
            "tmpfs",
            "/dev",
            MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME,
            Some("mode=755,size=65536k"),
        )?;
        let dev = self.directory(Path::new("/dev"))?;
        let mask = umask(Mode::empty());
        for (name, major, minor) in DEVICES {
            let made = if self.user_namespace {
                // Devices cannot be made there; those of the host can be shown.
                let place = self.beneath.file(&Path::new("/dev").join(name));
                place.and_then(|place| bind(&Path::new("/dev").join(name), &through(&place), false))
            } else {
                let device = nix::sys::stat::makedev(major, minor);
                mknodat(
                    &dev,
                    name,
                    SFlag::S_IFCHR,
                    Mode::from_bits_truncate(0o666),
                    device,
                )
            };
            made.map_err(failed("make the device", name))?;
        }
        for node in more {
            self.node(node)?;
        }
        umask(mask);
        for (name, target) in DEVICE_LINKS {
            symlinkat(target, &dev, name).map_err(failed("make the link in /dev", name))?;
        }
        let terminals = "newinstance,ptmxmode=0666,mode=0620";
        // Group 5 is tty everywhere; in a user namespace with one id it is nobody.
        let with_group = format!("{terminals},gid=5");
        let options = if self.user_namespace {
            terminals
        } else {
            &with_group
        };
        self.mount("devpts", "/dev/pts", still, Some(options))?;
        let place = self.directory(Path::new("/dev/shm"))?;
        shm.mount_at(&through(&place), root.shm_bytes)?;
        match self.mount("mqueue", "/dev/mqueue", still | MsFlags::MS_NODEV, None) {
            // A kernel without message queues.
            Err(told) if told.errno == Errno::ENODEV as i32 => Ok(()),
            // In a shared IPC namespace it is somebody else's.
            Err(told) if told.errno == Errno::EPERM as i32 => Ok(()),
            other => other,
        }
    }

    /// Takes away from `/proc` and `/sys` what concerns all of the machine.
    fn hide(&self) -> Result<(), LaunchFailure> {
        for path in READ_ONLY.map(Path::new) {
            let subject = path.to_string_lossy();
            let place = match self.beneath.open(path) {
                Ok(place) => place,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(failed("find", &subject)(errno)),
            };
            bind(&through(&place), &through(&place), true).map_err(failed("cover", &subject))?;
            drop(place);
            let covered = self.beneath.open(path).map_err(failed("find", &subject))?;
            make_read_only(&through(&covered), true).map_err(failed("make read-only", &subject))?;
        }
        for path in MASKED.map(Path::new) {
            let subject = path.to_string_lossy();
            let place = match self.beneath.open(path) {
                Ok(place) => place,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(failed("find", &subject)(errno)),
            };
            let is_directory = File::from(place.try_clone().map_err(failed_io("find", &subject))?)
                .metadata()
                .map_err(failed_io("examine", &subject))?
                .is_dir();
            let hidden = if is_directory {
                mount(
                    Some("tmpfs"),
                    &through(&place),
                    Some("tmpfs"),
                    MsFlags::MS_RDONLY
                        | MsFlags::MS_NOSUID
                        | MsFlags::MS_NODEV
                        | MsFlags::MS_NOEXEC,
                    Some("size=0k,nr_inodes=1"),
                )
            } else {
                bind(Path::new("/dev/null"), &through(&place), false)
            };
            hidden.map_err(failed("hide", &subject))?;
        }
        Ok(())
    }
}

/// Whether overlayfs can be used here, on a store's own file system.
pub(super) struct OverlayProbe {
    overlay: Option<Overlay>,
    user_namespace: bool,
}

impl OverlayProbe {
    pub(super) fn new(overlay: Option<Overlay>, user_namespace: bool) -> Self {
        Self {
            overlay,
            user_namespace,
        }
    }
}

impl Isolator for OverlayProbe {
    fn isolate(&self) -> Result<(), LaunchFailure> {
        let Some(overlay) = &self.overlay else {
            return Ok(());
        };
        mount_overlay(overlay, self.user_namespace)?;
        // What a container does first: it writes.
        let file: PathBuf = overlay.mount.join("written");
        File::create(&file).map(drop).map_err(failed_io(
            "write into an overlay at",
            file.to_string_lossy(),
        ))
    }
}
