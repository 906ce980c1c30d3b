//! What files in a directory take, as `du` counts it. The directory is somebody else's, who may change it meanwhile: no link is followed,
//! and nothing on another file system is looked at.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

/// Directories within each other, at most; each that is open takes a descriptor.
const MAX_DEPTH: usize = 500;
/// Files with several names that are told apart, at most; more of them count once for each name.
const MAX_LINKED: usize = 1 << 20;
/// `st_blocks` counts these.
const BLOCK_BYTES: u64 = 512;

/// Why it is not known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmeasured {
    /// It cannot be read, or is not there.
    #[error("the directory cannot be read: {0}")]
    System(#[from] Errno),
    /// So that nobody hides what it uses.
    #[error(
        "Disk usage cannot be measured: there are more than {MAX_DEPTH} directories within each other"
    )]
    TooDeep,
}

/// What everything below the directory takes, itself included.
pub(super) fn used_bytes(directory: &Path) -> Result<u64, Unmeasured> {
    let root = open(directory, flags(), Mode::empty())?;
    let mut walk = Walk {
        device: fstat(&root)?.st_dev,
        linked: HashSet::new(),
        bytes: 0,
    };
    walk.directory(root, MAX_DEPTH)?;
    Ok(walk.bytes)
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

struct Walk {
    device: libc::dev_t,
    /// Files that have several names and were counted.
    linked: HashSet<libc::ino_t>,
    bytes: u64,
}

impl Walk {
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

    fn directory(&mut self, directory: OwnedFd, depth: usize) -> Result<(), Unmeasured> {
        let found = fstat(&directory)?;
        if found.st_dev != self.device {
            return Ok(());
        }
        if depth == 0 {
            return Err(Unmeasured::TooDeep);
        }
        self.count(&found);
        let mut entries = Dir::from_fd(directory)?;
        let mut inside = Vec::new();
        for entry in entries.iter() {
            let name = entry?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                inside.push(name);
            }
        }
        for name in inside {
            // What goes meanwhile is not there any more.
            let Ok(found) = fstatat(
                entries.as_fd(),
                name.as_c_str(),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            ) else {
                continue;
            };
            if found.st_dev != self.device {
                continue;
            }
            if found.st_mode & libc::S_IFMT != libc::S_IFDIR {
                self.count(&found);
                continue;
            }
            if let Ok(below) = openat(entries.as_fd(), name.as_c_str(), flags(), Mode::empty()) {
                self.directory(below, depth - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn used(path: &Path) -> u64 {
        used_bytes(path).unwrap()
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
        assert!(matches!(used_bytes(&link), Err(Unmeasured::System(_))));
        let nowhere = folder.path().join("nowhere");
        assert_eq!(used_bytes(&nowhere), Err(Unmeasured::System(Errno::ENOENT)));
    }

    #[test]
    fn nobody_hides_in_the_depth() {
        let folder = tempfile::tempdir().unwrap();
        let deep = |levels: usize| {
            let path = "d/".repeat(levels);
            fs::create_dir_all(folder.path().join(path)).unwrap();
            used_bytes(folder.path())
        };
        assert!(deep(MAX_DEPTH - 1).is_ok());
        assert_eq!(deep(MAX_DEPTH), Err(Unmeasured::TooDeep));
    }
}
