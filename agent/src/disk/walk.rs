//! What files in a directory take, as `du` counts it. The directory is somebody else's, who may change it meanwhile: no link is followed,
//! and nothing on another file system is looked at.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

/// Directories within each other, at most; each that is open takes two descriptors, of which the agent needs others.
const MAX_DEPTH: usize = 100;
/// Files with several names that are told apart, at most; more of them count once for each name.
const MAX_LINKED: usize = 1 << 20;
/// `st_blocks` counts these.
const BLOCK_BYTES: u64 = 512;

/// How much of a directory is looked at, so that one that is huge does not keep all others waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Files and directories.
    pub(super) entries: u64,
    pub(super) time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: 1 << 22,
            time: Duration::from_secs(60),
        }
    }
}

/// Why it is not known, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmeasured {
    /// Some of it cannot be read, or it is not there.
    #[error("Disk usage cannot be measured: a directory cannot be read: {0}")]
    System(#[from] Errno),
    /// So that nobody hides what it uses.
    #[error(
        "Disk usage cannot be measured: there are more than {MAX_DEPTH} directories within each other"
    )]
    TooDeep,
    /// There are more than this.
    #[error("Disk usage cannot be measured: there are more than {0} files")]
    TooMany(u64),
    /// It took longer than this.
    #[error("Disk usage cannot be measured: it takes longer than {} seconds", .0.as_secs())]
    TooSlow(Duration),
}

impl Unmeasured {
    /// Whether whoever owns the directory has brought it about. The machine may be slow, or short of descriptors, for another's sake.
    pub(super) fn is_the_owners(&self) -> bool {
        match self {
            Self::TooDeep | Self::TooMany(_) => true,
            Self::TooSlow(_) => false,
            Self::System(errno) => matches!(errno, Errno::EACCES | Errno::EPERM),
        }
    }

    /// Nothing of it is looked at after this.
    fn ends(&self) -> bool {
        !matches!(self, Self::System(_))
    }
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// So much it takes at least.
    pub(super) bytes: u64,
    /// Why it may take more.
    pub(super) problem: Option<Unmeasured>,
}

/// What everything below the directory takes, itself included.
pub(super) fn used_bytes(directory: &Path, bounds: Bounds) -> Measured {
    let mut walk = Walk {
        device: 0,
        linked: HashSet::new(),
        bytes: 0,
        entries: 0,
        bounds,
        began: Instant::now(),
        unread: None,
    };
    let ended = walk.all(directory).err();
    Measured {
        bytes: walk.bytes,
        problem: ended.or(walk.unread),
    }
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

struct Walk {
    device: libc::dev_t,
    /// Files that have several names and were counted.
    linked: HashSet<libc::ino_t>,
    bytes: u64,
    /// So many were looked at.
    entries: u64,
    bounds: Bounds,
    began: Instant,
    /// Something was passed over. What the owner has brought about goes before the rest.
    unread: Option<Unmeasured>,
}

impl Walk {
    fn all(&mut self, directory: &Path) -> Result<(), Unmeasured> {
        let root = open(directory, flags(), Mode::empty())?;
        self.device = fstat(&root)?.st_dev;
        self.directory(root, MAX_DEPTH)
    }

    fn count(&mut self, found: &FileStat) {
        let several = found.st_nlink > 1 && found.st_mode & libc::S_IFMT != libc::S_IFDIR;
        if several && self.linked.len() < MAX_LINKED && !self.linked.insert(found.st_ino) {
            return;
        }
        let blocks = u64::try_from(found.st_blocks).unwrap_or(0);
        self.bytes = self
            .bytes
            .saturating_add(blocks.saturating_mul(BLOCK_BYTES));
    }

    /// One more is about to be looked at.
    fn another(&mut self) -> Result<(), Unmeasured> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(Unmeasured::TooMany(self.bounds.entries));
        }
        if self.began.elapsed() > self.bounds.time {
            return Err(Unmeasured::TooSlow(self.bounds.time));
        }
        Ok(())
    }

    /// Something cannot be read; the rest is.
    fn pass_over(&mut self, problem: Unmeasured) {
        // What goes meanwhile, or becomes another thing, is not there any more.
        if let Unmeasured::System(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) = problem {
            return;
        }
        let known = self.unread.as_ref();
        if known.is_none_or(|known| !known.is_the_owners()) {
            self.unread = Some(problem);
        }
    }

    /// Entries are taken as they come: there may be more of them than the agent has memory for.
    fn directory(&mut self, directory: OwnedFd, depth: usize) -> Result<(), Unmeasured> {
        let found = fstat(&directory)?;
        if found.st_dev != self.device {
            return Ok(());
        }
        if depth == 0 {
            return Err(Unmeasured::TooDeep);
        }
        self.count(&found);
        let entries = directory.try_clone().map_err(|error| {
            let number = error.raw_os_error();
            Unmeasured::System(number.map_or(Errno::EIO, Errno::from_raw))
        })?;
        for entry in Dir::from_fd(entries)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.another()?;
            let found = match fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(errno) => {
                    self.pass_over(errno.into());
                    continue;
                }
            };
            if found.st_dev != self.device {
                continue;
            }
            if found.st_mode & libc::S_IFMT != libc::S_IFDIR {
                self.count(&found);
                continue;
            }
            let below = openat(directory.as_fd(), name, flags(), Mode::empty());
            let below = below.map_err(Unmeasured::from);
            match below.and_then(|below| self.directory(below, depth - 1)) {
                Err(problem) if problem.ends() => return Err(problem),
                Err(problem) => self.pass_over(problem),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn problem(path: &Path, bounds: Bounds) -> Option<Unmeasured> {
        used_bytes(path, bounds).problem
    }

    fn used(path: &Path) -> u64 {
        let found = used_bytes(path, Bounds::default());
        assert_eq!(found.problem, None);
        found.bytes
    }

    #[test]
    fn files_count_by_what_they_take_once_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        let empty = used(&root);
        fs::write(root.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        let one = used(&root);
        assert!((1 << 20..1 << 21).contains(&(one - empty)), "{empty} {one}");
        // Another name, a link to much, and a file that is mostly a hole.
        fs::hard_link(root.join("a/b/file"), root.join("again")).unwrap();
        fs::write(folder.path().join("much"), vec![1; 4 << 20]).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        let hole = fs::File::create(root.join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        assert!(used(&root) - one < 1 << 16, "{}", used(&root));
        let link = root.join("up");
        assert!(matches!(
            problem(&link, Bounds::default()),
            Some(Unmeasured::System(_))
        ));
        let nowhere = folder.path().join("nowhere");
        assert_eq!(
            problem(&nowhere, Bounds::default()),
            Some(Unmeasured::System(Errno::ENOENT))
        );
    }

    #[test]
    fn nobody_hides_in_the_depth() {
        let folder = tempfile::tempdir().unwrap();
        let deep = |levels: usize| {
            let path = "d/".repeat(levels);
            fs::create_dir_all(folder.path().join(path)).unwrap();
            problem(folder.path(), Bounds::default())
        };
        assert_eq!(deep(MAX_DEPTH - 1), None);
        assert_eq!(deep(MAX_DEPTH), Some(Unmeasured::TooDeep));
    }

    #[test]
    fn no_more_is_looked_at_than_the_bounds_allow() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        for name in ["a", "b", "below/c"] {
            fs::write(folder.path().join(name), "some").unwrap();
        }
        let bounds = |entries, seconds| Bounds {
            entries,
            time: Duration::from_secs(seconds),
        };
        assert_eq!(problem(folder.path(), bounds(4, 60)), None);
        let many = used_bytes(folder.path(), bounds(3, 60));
        assert_eq!(many.problem, Some(Unmeasured::TooMany(3)));
        assert!(many.bytes > 0, "what was found counts");
        let slow = Unmeasured::TooSlow(Duration::ZERO);
        assert_eq!(problem(folder.path(), bounds(4, 0)), Some(slow.clone()));
        assert!(!slow.is_the_owners() && Unmeasured::TooMany(3).is_the_owners());
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut walk = Walk {
            device: 0,
            linked: HashSet::new(),
            bytes: 0,
            entries: 0,
            bounds: Bounds::default(),
            began: Instant::now(),
            unread: None,
        };
        for (errno, expected) in [
            (Errno::ENOENT, None),
            (Errno::ELOOP, None),
            (Errno::EMFILE, Some(Errno::EMFILE)),
            (Errno::EACCES, Some(Errno::EACCES)),
            (Errno::EMFILE, Some(Errno::EACCES)),
        ] {
            walk.pass_over(errno.into());
            assert_eq!(walk.unread, expected.map(Unmeasured::System), "{errno}");
        }
        assert!(walk.unread.is_some_and(|problem| problem.is_the_owners()));
        assert!(!Unmeasured::System(Errno::EMFILE).is_the_owners());
        // Root reads everything.
        if nix::unistd::geteuid().is_root() {
            return;
        }
        use std::os::unix::fs::PermissionsExt;
        fs::write(folder.path().join("much"), vec![1; 1 << 20]).unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        for mode in [0, 0o400] {
            fs::write(closed.join("file"), "some").unwrap();
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
            let found = used_bytes(folder.path(), Bounds::default());
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
            assert_eq!(found.problem, Some(Unmeasured::System(Errno::EACCES)));
            assert!(found.bytes >= 1 << 20);
        }
    }
}
