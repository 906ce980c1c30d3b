//! What a container sees at places of its own choosing: host paths, parts of sandboxes, images, memory, secrets.
//!
//! Those below the sandbox are mounted on the sandbox as the host sees it, before there is a root of the container's own; the sandbox then
//! takes them along. Those at absolute places are mounted in the container's root. A place in somebody else's tree is never reached through
//! a link that leads out of it, and no link leads to a sandbox: one that is in another container's stands where that one's programs may put some.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::Isolator;
use super::mounts::{bind, make_read_only};
use super::root::mount_overlay;
use crate::containerizer::beneath::{Beneath, through};
use crate::containerizer::rootfs::{At, Hidden, Mount, Source};
use crate::containerizer::{LaunchFailure, Namespaces};
use crate::supervisor::message::{failed, failed_io, failure};

pub(super) struct Volumes {
    mounts: Vec<Mount>,
    namespaces: Namespaces,
    /// The sandbox on the host, for relative places.
    sandbox: Option<PathBuf>,
    /// A directory on the host to mount scratch memory on, within the container's mount namespace.
    record: PathBuf,
}

impl Volumes {
    /// Those below the sandbox.
    pub(super) fn of_sandbox(
        mounts: &[Mount],
        namespaces: Namespaces,
        sandbox: &Path,
        record: &Path,
    ) -> Self {
        let own = |mount: &&Mount| matches!(mount.at, At::Sandbox(_));
        Self {
            mounts: mounts.iter().filter(own).cloned().collect(),
            namespaces,
            sandbox: Some(sandbox.to_owned()),
            record: record.to_owned(),
        }
    }

    /// Those at absolute places.
    pub(super) fn inside(mounts: Vec<Mount>, namespaces: Namespaces, record: &Path) -> Self {
        let own = |mount: &Mount| matches!(mount.at, At::Inside(_));
        Self {
            mounts: mounts.into_iter().filter(own).collect(),
            namespaces,
            sandbox: None,
            record: record.to_owned(),
        }
    }

    /// Mounts them, in their order: below `root`, or, without one, in the host's.
    pub(super) fn mount_all(&self, root: Option<&Beneath>) -> Result<(), LaunchFailure> {
        if self.mounts.is_empty() {
            return Ok(());
        }
        if !self.namespaces.mount {
            return Err(failure(
                "mount volumes: this machine does not let the agent make mount namespaces",
                "",
                0,
            ));
        }
        let own;
        let (beneath, may_make) = match (root, &self.sandbox) {
            (Some(root), _) => (root, true),
            (None, Some(sandbox)) => {
                own = Beneath::without_links(sandbox)
                    .map_err(failed("open the sandbox", sandbox.to_string_lossy()))?;
                (&own, true)
            }
            (None, None) => {
                own = Beneath::new(Path::new("/")).map_err(failed("open", "/"))?;
                (&own, false)
            }
        };
        for mount in &self.mounts {
            let (At::Sandbox(place) | At::Inside(place)) = &mount.at;
            self.mount_one(mount, place, beneath, may_make)?;
        }
        Ok(())
    }

    fn mount_one(
        &self,
        wanted: &Mount,
        place: &Path,
        beneath: &Beneath,
        may_make: bool,
    ) -> Result<(), LaunchFailure> {
        let subject = place.to_string_lossy();
        let target = |directory: bool| {
            let found = match (may_make, directory) {
                (false, _) => beneath.open(place),
                (true, true) => beneath.directory(place),
                (true, false) => beneath.file(place),
            };
            found.map_err(failed(
                if may_make {
                    "prepare the volume's place"
                } else {
                    "find the volume's place, which must exist where a container has no image of its own"
                },
                &subject,
            ))
        };
        let words = "mount the volume at";
        match &wanted.from {
            Source::Host(path) => {
                let source = path.to_string_lossy();
                let found = std::fs::metadata(path)
                    .map_err(failed_io("find the volume's host path", source))?;
                let place = target(found.is_dir())?;
                bind(path, &through(&place), true).map_err(failed(words, &subject))?;
            }
            Source::Beneath(base, path) => {
                let shown = path.to_string_lossy();
                let base =
                    Beneath::without_links(base).map_err(failed("open the sandbox of", &shown))?;
                let source = match base.open(path) {
                    Err(Errno::ENOENT) => base.directory(path),
                    other => other,
                }
                .map_err(failed("find the volume's path in the sandbox", &shown))?;
                let copy = source.try_clone().map_err(failed_io("examine", &shown))?;
                let is_directory = File::from(copy)
                    .metadata()
                    .map_err(failed_io("examine", &shown))?
                    .is_dir();
                let place = target(is_directory)?;
                bind(&through(&source), &through(&place), true).map_err(failed(words, &subject))?;
            }
            Source::Tmpfs(bytes) => {
                let place = target(true)?;
                let options = format!("mode=1777,size={bytes}");
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(
                    Some("tmpfs"),
                    &through(&place),
                    Some("tmpfs"),
                    flags,
                    Some(options.as_str()),
                )
                .map_err(failed(words, &subject))?;
            }
            Source::Content(content) => {
                let place = target(false)?;
                self.mount_content(content, &through(&place), &subject)?;
            }
            Source::Overlay(overlay) => {
                let place = target(true)?;
                mount_overlay(overlay, self.namespaces.user)?;
                bind(&overlay.mount, &through(&place), false).map_err(failed(words, &subject))?;
            }
        }
        if wanted.read_only {
            let covered = beneath.open(place).map_err(failed("find", &subject))?;
            make_read_only(&through(&covered), true).map_err(failed("make read-only", &subject))?;
        }
        Ok(())
    }

    /// A file in memory: written into a file system that has no other name, and mounted from there.
    fn mount_content(
        &self,
        content: &Hidden,
        place: &Path,
        subject: &str,
    ) -> Result<(), LaunchFailure> {
        let words = "put the secret at";
        let size = content.0.len() + (64 << 10);
        let options = format!("mode=755,size={size}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("tmpfs"),
            &self.record,
            Some("tmpfs"),
            flags,
            Some(options.as_str()),
        )
        .map_err(failed(words, subject))?;
        let path = self.record.join("secret");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&content.0)?;
            // The task's user, whoever that is, reads it; nobody else can reach it.
            file.set_permissions(std::fs::Permissions::from_mode(0o444))
        });
        written.map_err(failed_io(words, subject))?;
        bind(&path, place, false).map_err(failed(words, subject))?;
        umount2(&self.record, MntFlags::MNT_DETACH).map_err(failed(words, subject))
    }
}

impl Isolator for Volumes {
    fn isolate(&self) -> Result<(), LaunchFailure> {
        self.mount_all(None)
    }
}
