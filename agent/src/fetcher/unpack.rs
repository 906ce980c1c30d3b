//! Archives into a sandbox, whatever they hold: nothing leaves it, no devices are made, bytes, entries and memory are bounded.
//!
//! Owners in the archive do not count (everything is the task's user's), nor do setuid and its like. A leading slash is the sandbox's
//! root, as tar does it; `..` is refused. Links lead where they say; entries that would go through one out of the sandbox are refused.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::EntryType;

use super::error::Cause;
use super::place::{Abandoned, Sandbox, copy, set_mode};

/// Files, directories and links of an archive.
pub(super) const MAX_ENTRIES: u64 = 1_000_000;
/// Deeper than any tree that is meant.
const MAX_DEPTH: usize = 256;
/// The longest path, and the longest list of attributes of an entry.
const MAX_NAME_BYTES: u64 = 64 << 10;
/// Memory that an archive may demand for being unpacked.
const MAX_DICTIONARY_KIB: u32 = 256 << 10;

/// How an archive is made, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tar(Packing),
    /// One file, whose name is that of the archive without its ending.
    Gz,
    Zip,
}

/// What a tar is packed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// What an archive of this name is; `None` if it is none.
pub(super) fn kind(name: &str) -> Option<Kind> {
    const ENDINGS: [(&str, Kind); 12] = [
        (".tar", Kind::Tar(Packing::None)),
        (".tar.gz", Kind::Tar(Packing::Gzip)),
        (".tgz", Kind::Tar(Packing::Gzip)),
        (".tar.bz2", Kind::Tar(Packing::Bzip2)),
        (".tbz2", Kind::Tar(Packing::Bzip2)),
        (".tar.xz", Kind::Tar(Packing::Xz)),
        (".txz", Kind::Tar(Packing::Xz)),
        (".tar.zst", Kind::Tar(Packing::Zstd)),
        (".tzst", Kind::Tar(Packing::Zstd)),
        (".gz", Kind::Gz),
        (".zip", Kind::Zip),
        (".tar.zstd", Kind::Tar(Packing::Zstd)),
    ];
    ENDINGS
        .into_iter()
        .find(|(ending, _)| name.len() > ending.len() && name.ends_with(ending))
        .map(|(_, kind)| kind)
}

/// Unpacks `archive`, named `name`, into the sandbox. At most `limit` bytes.
pub(super) fn unpack(
    kind: Kind,
    mut archive: File,
    name: &Path,
    sandbox: &Sandbox,
    limit: u64,
    abandoned: &Abandoned,
) -> Result<(), Cause> {
    archive
        .rewind()
        .map_err(Cause::local("read", "the archive"))?;
    match kind {
        Kind::Gz => {
            let name = name.file_stem().map(PathBuf::from).unwrap_or_default();
            let mut plain = flate2::read::MultiGzDecoder::new(BufReader::new(archive));
            // Read once before anything is replaced: what is no gzip harms nothing.
            let mut first = [0];
            let length = plain.read(&mut first).map_err(broken)?;
            let mut file = sandbox.create(&name)?;
            let mut whole = (&first[..length]).chain(plain);
            match copy(&mut whole, &mut file, limit, abandoned) {
                Err(Cause::Local {
                    action: "read",
                    why,
                    ..
                }) => Err(Cause::Archive(why)),
                other => other.map(drop),
            }
        }
        Kind::Zip => zip(archive, sandbox, limit, abandoned),
        Kind::Tar(packing) => {
            let reader = BufReader::with_capacity(64 << 10, archive);
            let plain: Box<dyn Read> = match packing {
                Packing::None => Box::new(reader),
                Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
                Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
                Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
                    reader,
                    true,
                    MAX_DICTIONARY_KIB,
                )),
                Packing::Zstd => {
                    let mut decoder = zstd::Decoder::with_buffer(reader).map_err(broken)?;
                    // 128 MiB: what the format asks every decoder to take.
                    decoder.window_log_max(27).map_err(broken)?;
                    Box::new(decoder)
                }
            };
            tar(plain, sandbox, limit, abandoned)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: io::Error) -> Cause {
    Cause::Archive(error.to_string())
}

fn hostile(entry: &Path, problem: impl std::fmt::Display) -> Cause {
    let entry: String = entry.to_string_lossy().chars().take(200).collect();
    Cause::Archive(format!("its entry '{entry}' {problem}"))
}

/// Where an entry goes; empty for the sandbox itself.
fn inside(path: &Path) -> Result<PathBuf, Cause> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => return Err(hostile(path, "has '..' in its path")),
            _ => {}
        }
    }
    if plain.components().count() > MAX_DEPTH {
        return Err(hostile(
            path,
            format!("is more than {MAX_DEPTH} directories deep"),
        ));
    }
    Ok(plain)
}

/// What may still come out of an archive.
struct Budget<'a> {
    limit: u64,
    bytes: u64,
    entries: u64,
    abandoned: &'a Abandoned,
}

impl Budget<'_> {
    fn entry(&mut self) -> Result<(), Cause> {
        self.abandoned.check()?;
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Cause::TooLarge {
                what: "the archive",
                limit: MAX_ENTRIES,
                of: "entries",
            });
        }
        Ok(())
    }

    /// The content of a file.
    fn fill(&mut self, path: &Path, from: &mut impl Read, file: &mut File) -> Result<(), Cause> {
        let left = self.limit - self.bytes;
        match copy(from, file, left, self.abandoned) {
            Ok(copied) => {
                self.bytes += copied;
                Ok(())
            }
            Err(Cause::TooLarge { .. }) => Err(Cause::TooLarge {
                what: "what the archive unpacks to",
                limit: self.limit,
                of: "bytes (--fetcher_max_size)",
            }),
            Err(Cause::Local {
                action: "read",
                why,
                ..
            }) => Err(hostile(path, format!("is broken: {why}"))),
            Err(other) => Err(other),
        }
    }
}

/// Ends what does not end: holes, padding and names count too.
struct Metered<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            io::Error::other("it unpacks to more than it may (--fetcher_max_size)")
        })?;
        Ok(length)
    }
}

/// What the entries before an entry say about it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Said {
    fn attributes(&mut self, pax: &[u8]) -> Result<(), Cause> {
        for attribute in tar::PaxExtensions::new(pax) {
            let attribute = attribute.map_err(broken)?;
            let value = attribute.value_bytes();
            match attribute.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    self.size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                }
                b"GNU.sparse.major" | b"GNU.sparse.map" => {
                    return Err(Cause::Archive("it has sparse files, which are not unpacked here: make it without --sparse".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A name that is stored as the content of an entry.
fn long_name(entry: &mut impl Read, size: u64) -> Result<Vec<u8>, Cause> {
    if size > MAX_NAME_BYTES {
        return Err(Cause::Archive(format!(
            "it has a name or a list of attributes of {size} bytes"
        )));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name).map_err(broken)?;
    Ok(name)
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Entries are taken raw: the crate itself would read names of any length into memory.
fn tar(
    plain: impl Read,
    sandbox: &Sandbox,
    limit: u64,
    abandoned: &Abandoned,
) -> Result<(), Cause> {
    let metered = Metered {
        inner: plain,
        // Headers and padding come on top of the files.
        left: limit.saturating_add(MAX_ENTRIES * 4096),
    };
    let mut budget = Budget {
        limit,
        bytes: 0,
        entries: 0,
        abandoned,
    };
    let mut archive = tar::Archive::new(metered);
    let mut said = Said::default();
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        budget.entry()?;
        let size = entry.header().entry_size().map_err(broken)?;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::GNULongName => said.path = Some(without_nul(long_name(&mut entry, size)?)),
            EntryType::GNULongLink => said.link = Some(without_nul(long_name(&mut entry, size)?)),
            EntryType::XHeader => said.attributes(&long_name(&mut entry, size)?)?,
            _ => tar_entry(&mut entry, std::mem::take(&mut said), sandbox, &mut budget)?,
        }
    }
    Ok(())
}

fn tar_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    said: Said,
    sandbox: &Sandbox,
    budget: &mut Budget<'_>,
) -> Result<(), Cause> {
    let header = entry.header().clone();
    let path = said.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let path = as_path(&path);
    let to = inside(path)?;
    let kind = header.entry_type();
    if said
        .size
        .is_some_and(|size| Ok(size) != header.entry_size().map_err(drop))
    {
        return Err(hostile(path, "has two different sizes"));
    }
    let link = || {
        said.link
            .clone()
            .or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned))
            .ok_or_else(|| hostile(path, "is a link to nothing"))
    };
    match kind {
        EntryType::Directory => sandbox.directory(&to).map(drop),
        // Old archives have directories as files whose names end in a slash.
        EntryType::Regular if path.as_os_str().as_bytes().ends_with(b"/") => {
            sandbox.directory(&to).map(drop)
        }
        EntryType::Regular | EntryType::Continuous => {
            let mut file = sandbox.create(&to)?;
            budget.fill(path, entry, &mut file)?;
            set_mode(&file, header.mode().unwrap_or(0o644))?;
            let modified = header.mtime().ok().and_then(|seconds| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
            });
            if let Some(modified) = modified {
                // A time that the file system cannot hold is no reason to fail.
                let _ = file.set_modified(modified);
            }
            Ok(())
        }
        EntryType::Symlink => sandbox.symlink(&to, as_path(&link()?)),
        EntryType::Link => {
            let target = link()?;
            sandbox.hard_link(&to, &inside(as_path(&target))?)
        }
        EntryType::Block | EntryType::Char | EntryType::Fifo => {
            Err(hostile(path, "is a device or a pipe"))
        }
        other => Err(hostile(
            path,
            format!(
                "is of a kind that is not unpacked here ('{}')",
                char::from(other.as_byte())
            ),
        )),
    }
}

/// How many entries a zip says that it has, by its last record: the crate makes room for all of them at once.
fn zip_entries(archive: &mut File) -> io::Result<u64> {
    const RECORD: usize = 22;
    let end = archive.seek(SeekFrom::End(0))?;
    let tail = end.min((RECORD as u64) + 0xffff);
    archive.seek(SeekFrom::Start(end - tail))?;
    let mut bytes = Vec::new();
    archive.take(tail).read_to_end(&mut bytes)?;
    archive.rewind()?;
    // Every record that might be taken for the last one counts.
    let records = bytes
        .windows(RECORD)
        .enumerate()
        .filter(|(_, window)| window.starts_with(b"PK\x05\x06"));
    let mut most = 0;
    for (at, record) in records {
        let count = u64::from(u16::from_le_bytes([record[10], record[11]]));
        most = most.max(count);
        // The record of large archives, by its locator right before.
        let Some(locator) = at.checked_sub(20).map(|start| &bytes[start..at]) else {
            continue;
        };
        if !locator.starts_with(b"PK\x06\x07") {
            continue;
        }
        let offset = u64::from_le_bytes(locator[8..16].try_into().unwrap_or_default());
        archive.seek(SeekFrom::Start(offset.min(end)))?;
        let mut large = Vec::new();
        archive.take(56).read_to_end(&mut large)?;
        if large.len() == 56 {
            most = most.max(u64::from_le_bytes(
                large[32..40].try_into().unwrap_or_default(),
            ));
        }
        archive.rewind()?;
    }
    Ok(most)
}

fn zip(
    mut archive: File,
    sandbox: &Sandbox,
    limit: u64,
    abandoned: &Abandoned,
) -> Result<(), Cause> {
    let many = |limit| Cause::TooLarge {
        what: "the archive",
        limit,
        of: "entries",
    };
    if zip_entries(&mut archive).map_err(broken)? > MAX_ENTRIES {
        return Err(many(MAX_ENTRIES));
    }
    let wrong = |error: zip::result::ZipError| Cause::Archive(error.to_string());
    let mut archive = zip::ZipArchive::new(BufReader::new(archive)).map_err(wrong)?;
    if archive.len() as u64 > MAX_ENTRIES {
        return Err(many(MAX_ENTRIES));
    }
    let mut budget = Budget {
        limit,
        bytes: 0,
        entries: 0,
        abandoned,
    };
    for index in 0..archive.len() {
        budget.entry()?;
        let mut entry = archive.by_index(index).map_err(wrong)?;
        let name = entry.name().map_err(wrong)?.into_owned();
        let path = Path::new(&name);
        let to = inside(path)?;
        let mode = entry.unix_mode();
        if entry.is_dir() || name.ends_with('/') {
            sandbox.directory(&to)?;
            continue;
        }
        match mode.unwrap_or(0) & libc::S_IFMT {
            libc::S_IFLNK => {
                let mut target = Vec::new();
                (&mut entry)
                    .take(MAX_NAME_BYTES)
                    .read_to_end(&mut target)
                    .map_err(broken)?;
                sandbox.symlink(&to, as_path(&target))?;
            }
            0 | libc::S_IFREG => {
                let mut file = sandbox.create(&to)?;
                budget.fill(path, &mut entry, &mut file)?;
                set_mode(
                    &file,
                    mode.filter(|mode| mode & 0o777 != 0).unwrap_or(0o644),
                )?;
            }
            _ => return Err(hostile(path, "is a device or a pipe")),
        }
    }
    Ok(())
}
