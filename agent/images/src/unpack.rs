//! From a layer's archive to a directory that overlayfs takes as a lower one.
//!
//! Whiteouts become overlayfs' own: a deleted name is a character device 0:0, an opaque directory has an attribute. Owners, modes (setuid
//! included), times, hard links and file capabilities are kept; owners need root.
//!
//! The archive is not trusted. Names are taken apart and walked from the layer's own root with `openat2(RESOLVE_IN_ROOT)`, so that `..`,
//! absolute links and links planted by earlier entries end inside of it. Devices are left out: a container gets its own `/dev`. Attributes are
//! left out but for file capabilities: others would talk to overlayfs. Bytes, entries and the lengths of names are bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, mkfifoat, symlinkat, unlinkat};
use tar::EntryType;
use xattr::FileExt;

use crate::digest::{Digest, Measured};
use crate::error::Problem;
use crate::names::Names;

/// How much a layer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a layer, packed or unpacked. Flag `--image_max_layer_size`.
    pub bytes: u64,
    /// Files, directories, links of a layer. Flag `--image_max_layer_files`.
    pub files: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 20 << 30,
            files: 1_000_000,
        }
    }
}

pub(crate) const BYTES_FLAG: &str = "--image_max_layer_size";
const FILES_FLAG: &str = "--image_max_layer_files";
/// Deeper than any file system tree that is meant.
const MAX_DEPTH: usize = 256;
const MAX_PATH_BYTES: usize = 4096;

/// What an unpacked layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Of the archive, unpacked: the layer's `diff_id`.
    pub(crate) digest: Digest,
    /// Of all files.
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    /// Devices and other things that were left out.
    pub(crate) left_out: u64,
}

/// Reads whatever compression there is, by its first bytes: names and media types are not to be trusted in that.
fn decompressed<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let head = io::BufRead::fill_buf(&mut reader)?;
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(reader)?;
            // 128 MiB: what the format asks every decoder to take.
            decoder.window_log_max(27)?;
            Box::new(decoder)
        }
        _ => Box::new(reader),
    })
}

/// A directory's last touches, given when nothing more is put into it.
struct Finish {
    mode: Mode,
    time: TimeSpec,
}

struct Unpacker<'a> {
    layer: Digest,
    root: OwnedFd,
    bounds: Bounds,
    /// Owners, capabilities and overlayfs' trusted attributes can be set.
    root_user: bool,
    abandoned: &'a AtomicBool,
    bytes: u64,
    files: u64,
    left_out: u64,
    directories: HashMap<PathBuf, Finish>,
    /// The directory of the entry before: most entries follow their neighbours.
    last: Option<(PathBuf, OwnedFd)>,
}

/// Unpacks the archive into `into`, which exists and is empty. Ends early, with an error, when `abandoned` is set. Blocks.
pub(crate) fn unpack(
    reader: &mut dyn Read,
    layer: Digest,
    into: &Path,
    bounds: Bounds,
    abandoned: &AtomicBool,
) -> Result<Unpacked, Problem> {
    let root = nix::fcntl::open(
        into,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| Problem::disk("open", into)(errno.into()))?;
    let mut unpacker = Unpacker {
        layer,
        root,
        bounds,
        root_user: nix::unistd::geteuid().is_root(),
        abandoned,
        bytes: 0,
        files: 0,
        left_out: 0,
        directories: HashMap::new(),
        last: None,
    };
    let plain = decompressed(reader).map_err(|error| unpacker.broken(error))?;
    // Headers and padding come on top of the files.
    let limit = bounds
        .bytes
        .saturating_add(bounds.files.saturating_mul(4 << 10));
    let mut measured = Measured::new(plain, limit);
    unpacker.run(&mut measured)?;
    let (_, digest) = measured.finish().map_err(|error| unpacker.broken(error))?;
    unpacker.finish_directories()?;
    Ok(Unpacked {
        digest,
        bytes: unpacker.bytes,
        files: unpacker.files,
        left_out: unpacker.left_out,
    })
}

fn hostile(layer: Digest, entry: &[u8], problem: impl Into<String>) -> Problem {
    Problem::Hostile {
        layer,
        entry: shown(entry),
        problem: problem.into(),
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

impl Unpacker<'_> {
    fn hostile(&self, entry: &[u8], problem: impl Into<String>) -> Problem {
        hostile(self.layer, entry, problem)
    }

    fn broken(&self, error: io::Error) -> Problem {
        if error.kind() == io::ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
            return self.too_large(self.bounds.bytes, "bytes", BYTES_FLAG);
        }
        Problem::Unpack {
            layer: self.layer,
            source: error.into(),
        }
    }

    fn too_large(&self, limit: u64, of: &'static str, flag: &'static str) -> Problem {
        Problem::TooLarge {
            layer: self.layer,
            limit,
            of,
            flag,
        }
    }

    fn run(&mut self, reader: &mut dyn Read) -> Result<(), Problem> {
        let mut archive = tar::Archive::new(Names::new(reader));
        let entries = archive.entries().map_err(|error| self.broken(error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.broken(error))?;
            if self.abandoned.load(Ordering::Relaxed) {
                return Err(Problem::Machine(
                    "nobody wants the image any more".to_owned(),
                ));
            }
            self.files += 1;
            if self.files > self.bounds.files {
                return Err(self.too_large(self.bounds.files, "files", FILES_FLAG));
            }
            self.entry(entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, mut entry: tar::Entry<'_, Names<&mut dyn Read>>) -> Result<(), Problem> {
        let path = entry.path_bytes().into_owned();
        let entry_type = entry.header().entry_type();
        if matches!(entry_type, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let parts = self.parts(&path)?;
        let Some((name, above)) = parts.split_last() else {
            // The layer's own root: its mode and owner.
            if entry_type == EntryType::Directory {
                let header = entry.header().clone();
                self.own(&path, &header, &self.root, Path::new("."))?;
                self.directories.insert(PathBuf::new(), finish(&header));
            }
            return Ok(());
        };
        let above: PathBuf = above.iter().collect();
        let parent = self.directory(&above, &path)?;
        let name = Path::new(name);
        if let Some(hidden) = name.as_os_str().as_bytes().strip_prefix(b".wh.") {
            let done = self.whiteout(&parent, hidden, &path);
            self.last = Some((above, parent));
            return done;
        }
        let header = entry.header().clone();
        let layer = self.layer;
        let failed =
            |errno: Errno| hostile(layer, &path, format!("cannot be made: {}", errno.desc()));
        match entry_type {
            EntryType::Directory => {
                if let Err(errno) = mkdirat(&parent, name, Mode::S_IRWXU) {
                    let there = kind(&parent, name);
                    if there != Some(SFlag::S_IFDIR) {
                        if errno != Errno::EEXIST {
                            return Err(failed(errno));
                        }
                        unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir).map_err(failed)?;
                        mkdirat(&parent, name, Mode::S_IRWXU).map_err(failed)?;
                    }
                    if there == Some(SFlag::S_IFCHR) {
                        self.make_opaque(&parent, name, &path)?;
                    }
                }
                self.own(&path, &header, &parent, name)?;
                self.directories.insert(above.join(name), finish(&header));
            }
            EntryType::Regular | EntryType::Continuous => {
                let capability = entry
                    .pax_extensions()
                    .ok()
                    .flatten()
                    .into_iter()
                    .flatten()
                    .flatten()
                    .find(|one| one.key() == Ok("SCHILY.xattr.security.capability"))
                    .map(|one| one.value_bytes().to_vec());
                self.clear(&parent, name, &path)?;
                let mut file = self.create(&parent, name).map_err(failed)?;
                self.fill(&mut file, &mut entry)?;
                self.own(&path, &header, &parent, name)?;
                let mode = finish(&header).mode;
                nix::sys::stat::fchmod(&file, mode).map_err(failed)?;
                if let Some(capability) = capability.filter(|_| self.root_user) {
                    file.set_xattr("security.capability", &capability)
                        .map_err(|error| self.broken(error))?;
                }
                set_time(&parent, name, &finish(&header)).map_err(failed)?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| self.hostile(&path, "is a link to nothing"))?
                    .into_owned();
                self.clear(&parent, name, &path)?;
                symlinkat(
                    Path::new(std::ffi::OsStr::from_bytes(&target)),
                    &parent,
                    name,
                )
                .map_err(failed)?;
                self.own(&path, &header, &parent, name)?;
                set_time(&parent, name, &finish(&header)).map_err(failed)?;
            }
            EntryType::Link => {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| self.hostile(&path, "is a link to nothing"))?
                    .into_owned();
                self.hard_link(&path, &target, &parent, name)?;
            }
            EntryType::Fifo => {
                self.clear(&parent, name, &path)?;
                mkfifoat(&parent, name, finish(&header).mode).map_err(failed)?;
                self.own(&path, &header, &parent, name)?;
            }
            _ => self.left_out += 1,
        }
        self.last = Some((above, parent));
        Ok(())
    }

    /// The parts of a path that stays inside. A leading slash means the layer's root.
    fn parts(&self, path: &[u8]) -> Result<Vec<PathBuf>, Problem> {
        if path.len() > MAX_PATH_BYTES || path.contains(&0) {
            return Err(self.hostile(path, "has a path that is too long or has NUL in it"));
        }
        let mut parts = Vec::new();
        for component in Path::new(std::ffi::OsStr::from_bytes(path)).components() {
            match component {
                Component::Normal(name) => parts.push(PathBuf::from(name)),
                Component::ParentDir => return Err(self.hostile(path, "has '..' in its path")),
                _ => {}
            }
        }
        if parts.len() > MAX_DEPTH {
            return Err(self.hostile(path, format!("is more than {MAX_DEPTH} directories deep")));
        }
        Ok(parts)
    }

    /// Opens a directory of the layer, wherever links inside of the layer lead.
    fn open_inside(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        openat2(&self.root, path, how)
    }

    /// A directory of the layer, made with those above it where they are missing.
    fn directory(&mut self, path: &Path, entry: &[u8]) -> Result<OwnedFd, Problem> {
        if let Some((last, fd)) = self.last.take()
            && last == path
        {
            return Ok(fd);
        }
        let failed = |errno: Errno| {
            let why = match errno {
                Errno::ENOSYS => "needs openat2(2), which this kernel does not have".to_owned(),
                Errno::ENOTDIR => "is below something that is no directory".to_owned(),
                Errno::ELOOP => "is below links that lead in a circle".to_owned(),
                other => format!("cannot be reached: {}", other.desc()),
            };
            self.hostile(entry, why)
        };
        match self.open_inside(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let mut reached = PathBuf::new();
        let mut fd = self.open_inside(&reached).map_err(failed)?;
        for part in path.components() {
            let next = reached.join(part);
            fd = match self.open_inside(&next) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => {
                    let name = Path::new(part.as_os_str());
                    mkdirat(&fd, name, Mode::from_bits_truncate(0o755)).map_err(failed)?;
                    self.open_inside(&next).map_err(failed)?
                }
                Err(errno) => return Err(failed(errno)),
            };
            reached = next;
        }
        Ok(fd)
    }

    /// Makes room for a name: a later entry of an archive replaces an earlier one.
    fn clear(&self, parent: &OwnedFd, name: &Path, entry: &[u8]) -> Result<(), Problem> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {
                let path = format!("/proc/self/fd/{}", parent.as_raw_fd());
                std::fs::remove_dir_all(Path::new(&path).join(name))
                    .map_err(|error| self.broken(error))
            }
            Err(errno) => Err(self.hostile(entry, format!("cannot be replaced: {}", errno.desc()))),
        }
    }

    fn create(&self, parent: &OwnedFd, name: &Path) -> Result<File, Errno> {
        let how = OpenHow::new()
            .flags(
                OFlag::O_WRONLY
                    | OFlag::O_CREAT
                    | OFlag::O_EXCL
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_CLOEXEC,
            )
            .mode(Mode::S_IRUSR | Mode::S_IWUSR)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(parent, name, how).map(File::from)
    }

    fn fill(&mut self, file: &mut File, content: &mut dyn Read) -> Result<(), Problem> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = content
                .read(&mut buffer)
                .map_err(|error| self.broken(error))?;
            if length == 0 {
                return Ok(());
            }
            self.bytes += length as u64;
            // Holes count as what they would be: they become it when they are copied.
            if self.bytes > self.bounds.bytes {
                return Err(self.too_large(self.bounds.bytes, "bytes", BYTES_FLAG));
            }
            if self.abandoned.load(Ordering::Relaxed) {
                return Err(Problem::Machine(
                    "nobody wants the image any more".to_owned(),
                ));
            }
            file.write_all(&buffer[..length])
                .map_err(|error| self.broken(error))?;
        }
    }

    fn own(
        &self,
        entry: &[u8],
        header: &tar::Header,
        parent: &OwnedFd,
        name: &Path,
    ) -> Result<(), Problem> {
        if !self.root_user {
            return Ok(());
        }
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        let (Some(uid), Some(gid)) = (id(header.uid()), id(header.gid())) else {
            return Err(self.hostile(entry, "has an owner that is no id"));
        };
        fchownat(
            parent,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| self.hostile(entry, format!("cannot get its owner: {}", errno.desc())))
    }

    fn hard_link(
        &mut self,
        path: &[u8],
        target: &[u8],
        parent: &OwnedFd,
        name: &Path,
    ) -> Result<(), Problem> {
        let parts = self.parts(target).map_err(|_| {
            self.hostile(
                path,
                format!(
                    "is a hard link to '{}', outside of the layer",
                    shown(target)
                ),
            )
        })?;
        let nothing = || {
            self.hostile(
                path,
                format!("is a hard link to '{}', which is not there", shown(target)),
            )
        };
        let (last, above) = parts.split_last().ok_or_else(nothing)?;
        let above: PathBuf = above.iter().collect();
        let there = self.open_inside(&above).map_err(|_| nothing())?;
        if std::fs::symlink_metadata(format!(
            "/proc/self/fd/{}/{}",
            there.as_raw_fd(),
            last.display()
        ))
        .is_err()
        {
            return Err(nothing());
        }
        let same = {
            let of = |fd: &OwnedFd, name: &Path| {
                nix::sys::stat::fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map(|found| (found.st_dev, found.st_ino))
            };
            of(&there, last).ok() == of(parent, name).ok() && of(parent, name).is_ok()
        };
        if same {
            return Ok(());
        }
        self.clear(parent, name, path)?;
        linkat(&there, last.as_path(), parent, name, AtFlags::empty())
            .map_err(|errno| self.hostile(path, format!("cannot be linked: {}", errno.desc())))
    }

    /// `.wh.NAME`: NAME of the layers below is not there; `.wh..wh..opq`: nothing of the layers below is.
    fn whiteout(&mut self, parent: &OwnedFd, hidden: &[u8], entry: &[u8]) -> Result<(), Problem> {
        if hidden == b".wh..opq" {
            return self.make_opaque(parent, Path::new("."), entry);
        }
        if hidden.starts_with(b".wh.") {
            // Book-keeping of an old union file system.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(self.hostile(entry, "deletes nothing that can be"));
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(hidden));
        // A name that this very layer brings is there, whatever the order of its entries.
        match mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // Deleted and made anew as a directory: nothing of the one below shows through.
            Err(Errno::EEXIST) if kind(parent, name) == Some(SFlag::S_IFDIR) => {
                self.make_opaque(parent, name, entry)
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(self.hostile(entry, format!("cannot be noted: {}", errno.desc()))),
        }
    }

    /// Nothing of the same directory in the layers below shows through.
    fn make_opaque(&self, parent: &OwnedFd, name: &Path, entry: &[u8]) -> Result<(), Problem> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let directory = openat2(parent, name, how)
            .map(File::from)
            .map_err(|errno| self.hostile(entry, format!("cannot be noted: {}", errno.desc())))?;
        directory
            .set_xattr(opaque_attribute(self.root_user), b"y")
            .map_err(|error| self.broken(error))
    }

    /// Modes and times of directories: at last, since a directory that may not be written to may still get files, and its time changes with each.
    fn finish_directories(&mut self) -> Result<(), Problem> {
        for (path, finish) in std::mem::take(&mut self.directories) {
            // Replaced meanwhile by what is no directory.
            let Ok(fd) = self.open_inside(&path) else {
                continue;
            };
            let through = PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
            let done = fchmodat(
                nix::fcntl::AT_FDCWD,
                &through,
                finish.mode,
                FchmodatFlags::FollowSymlink,
            )
            .and_then(|()| {
                utimensat(
                    nix::fcntl::AT_FDCWD,
                    &through,
                    &finish.time,
                    &finish.time,
                    UtimensatFlags::FollowSymlink,
                )
            });
            done.map_err(|errno| Problem::disk("finish", path)(errno.into()))?;
        }
        Ok(())
    }
}

/// What has this name, if anything.
fn kind(parent: &OwnedFd, name: &Path) -> Option<SFlag> {
    let found = nix::sys::stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    Some(SFlag::from_bits_truncate(
        found.st_mode & SFlag::S_IFMT.bits(),
    ))
}

/// Where overlayfs looks for it: what is trusted takes root to write.
fn opaque_attribute(root_user: bool) -> &'static str {
    if root_user {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    }
}

fn finish(header: &tar::Header) -> Finish {
    let mode = header.mode().unwrap_or(0o644) & 0o7777;
    let time = header
        .mtime()
        .ok()
        .and_then(|time| i64::try_from(time).ok());
    Finish {
        mode: Mode::from_bits_truncate(mode),
        time: TimeSpec::new(time.unwrap_or(0), 0),
    }
}

fn set_time(parent: &OwnedFd, name: &Path, finish: &Finish) -> Result<(), Errno> {
    utimensat(
        parent,
        name,
        &finish.time,
        &finish.time,
        UtimensatFlags::NoFollowSymlink,
    )
}
