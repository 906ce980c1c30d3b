//! Paths below a directory that somebody else has filled: links in them lead no further than that directory, as after a chroot.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// A directory, as the root of paths.
#[derive(Debug)]
pub(crate) struct Beneath(OwnedFd);

/// How to reach an open file by a path, for calls that take nothing else.
pub(crate) fn through(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A directory to whose absolute path no link leads: one that stands among files of somebody who might put one there.
pub(crate) fn open_without_links(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(nix::fcntl::AT_FDCWD, path, how) {
        // Before Linux 5.6, or kept from us by somebody's filter: containers without images and URIs need no more of it than this.
        Err(Errno::ENOSYS | Errno::EPERM) => walk_without_links(path),
        opened => opened,
    }
}

/// The same, step by step.
fn walk_without_links(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let start = if path.is_absolute() { "/" } else { "." };
    let mut fd = nix::fcntl::open(start, flags, Mode::empty())?;
    for part in relative(path)?.components() {
        let name = Path::new(part.as_os_str());
        fd = nix::fcntl::openat(&fd, name, flags, Mode::empty())?;
    }
    Ok(fd)
}

/// The path without what leads up or stands still.
fn relative(path: &Path) -> Result<PathBuf, Errno> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => return Err(Errno::EXDEV),
            _ => {}
        }
    }
    Ok(if plain.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        plain
    })
}

impl Beneath {
    pub(crate) fn new(path: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(path, flags, Mode::empty()).map(Self)
    }

    /// One that stands among files of somebody who might put a link in its way; see [`open_without_links`].
    pub(crate) fn without_links(path: &Path) -> Result<Self, Errno> {
        open_without_links(path).map(Self)
    }

    fn open_with(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(self.0.as_fd(), &relative(path)?, how)
    }

    /// What is there, as a handle.
    pub(crate) fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_with(path, OFlag::O_PATH)
    }

    /// A directory; it and those above it are made where they are missing.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open_with(path, flags) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let mut reached = PathBuf::new();
        let mut fd = self.open_with(&reached, flags)?;
        for part in relative(path)?.components() {
            let next = reached.join(part);
            fd = match self.open_with(&next, flags) {
                Err(Errno::ENOENT) => {
                    let name = Path::new(part.as_os_str());
                    match mkdirat(&fd, name, Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    self.open_with(&next, flags)?
                }
                other => other?,
            };
            reached = next;
        }
        Ok(fd)
    }

    /// A directory, made where it is missing, with those above it, to which no link leads.
    pub(crate) fn directory_without_links(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut fd = self.open(Path::new("."))?;
        for part in relative(path)?.components() {
            fd = step(&fd, Path::new(part.as_os_str()))?.0;
        }
        Ok(fd)
    }

    /// A place to mount a file on: what is there, or an empty file.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.open(path) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        drop(self.create(path)?);
        self.open(path)
    }

    /// A plain file to be read, to which no link leads.
    pub(crate) fn read_plain(&self, path: &Path) -> Result<File, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let file = File::from(openat2(self.0.as_fd(), &relative(path)?, how)?);
        match file.metadata() {
            Ok(found) if found.is_file() => Ok(file),
            Ok(_) => Err(Errno::EINVAL),
            Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    }

    /// A new file in place of whatever is there; nothing is followed.
    fn create(&self, path: &Path) -> Result<File, Errno> {
        let path = relative(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EISDIR);
        };
        let parent = self.directory(parent)?;
        let name = Path::new(name);
        match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o644))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&parent, name, how).map(File::from)
    }

    /// Writes a new file in place of whatever is there.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) -> Result<(), Errno> {
        let mut file = self.create(path)?;
        file.write_all(content)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
    }
}

/// A directory in this one, by its name, which is no link; made where it is missing. Also whether it was.
pub(crate) fn step(directory: &OwnedFd, name: &Path) -> Result<(OwnedFd, bool), Errno> {
    let made = match mkdirat(directory, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno),
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok((openat2(directory, name, how)?, made))
}

/// The first bytes of a regular file; nothing that would block or have effects is opened.
pub(crate) fn read_plain(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut read = Vec::new();
    file.take(limit).read_to_end(&mut read)?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_no_further_than_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("up")).unwrap();
        symlink("/etc", root.join("inside")).unwrap();
        symlink(outside.join("target"), root.join("file")).unwrap();
        let beneath = Beneath::new(&root).unwrap();
        for path in ["absolute/x", "up/x", "../outside", "/../../outside/x"] {
            assert!(beneath.directory(Path::new(path)).is_err(), "{path}");
        }
        beneath.directory(Path::new("/inside/made/deep")).unwrap();
        assert!(root.join("etc/made/deep").is_dir());
        beneath.write(Path::new("file"), b"own").unwrap();
        assert_eq!(std::fs::read(root.join("file")).unwrap(), b"own");
        assert_eq!(
            beneath
                .directory_without_links(Path::new("inside/x"))
                .unwrap_err(),
            Errno::ELOOP
        );
        drop(beneath.directory_without_links(Path::new("new/x")).unwrap());
        assert!(root.join("new/x").is_dir());
        let deep = root.join("new/x").canonicalize().unwrap();
        for open in [open_without_links, walk_without_links] {
            drop(open(&deep).unwrap());
            for path in ["absolute", "inside", "up/x", "new/missing"] {
                assert!(open(&root.join(path)).is_err(), "{path}");
            }
        }
        drop(beneath.file(Path::new("a/b")).unwrap());
        assert!(root.join("a/b").is_file());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
