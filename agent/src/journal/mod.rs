//! What the agent remembers on disk: `<work_dir>/meta/`, one append-only file of framed records.
//!
//! ```text
//! meta/version   the format's version, "1"
//! meta/boot_id   of the machine when the journal was last opened
//! meta/journal   records (format.rs); replaced as a whole by a shorter one with the same meaning when it has grown
//! ```
//!
//! Promises: a record is written before what follows from it is done, and [`Synced`] says when it is durable; all records that were
//! written while the disk was busy become durable together, with one fdatasync. A torn record at the end (a crash while it was
//! written) is cut off; a broken record anywhere else stops the start.
//! Left out: what the records mean (the core's).

mod format;
mod sync;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use prost::Message;
use tepui_agent_core::Entry;

pub(crate) use sync::Synced;
use sync::Syncer;

/// The format's version.
const VERSION: &str = "1";
/// The journal is replaced by a shorter one when it is longer than this, and than four times the last replacement.
const COMPACT_FROM_BYTES: u64 = 4 << 20;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory belongs to an agent of Apache Mesos.
    #[error(
        "{} holds the state of an Apache Mesos agent, which Tepui cannot take over: stop that agent, or choose another --work_dir",
        .0.display()
    )]
    Mesos(PathBuf),
    /// Written by another version.
    #[error("{} says format '{found}', and this version reads '{VERSION}'", path.display())]
    Version {
        /// The version file.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// Another process uses it.
    #[error("{} is used by another agent that is running", .0.display())]
    Locked(PathBuf),
    /// A record in the middle is damaged.
    #[error("{} is damaged at byte {offset}: {problem}; restore it, or move it away to start as a new agent", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The open journal. One per work directory, held by a lock.
pub(crate) struct Journal {
    path: PathBuf,
    file: Arc<File>,
    syncer: Syncer,
    buffer: Vec<u8>,
    bytes: u64,
    compact_at: u64,
    _lock: Flock<File>,
}

/// What an earlier life wrote.
pub(crate) struct Past {
    pub(crate) records: Vec<Entry>,
    /// The machine has not restarted since.
    pub(crate) same_boot: bool,
}

impl Journal {
    /// Opens or makes the journal below `work_dir` and reads all that is in it. `synced` is called, from a thread of its own, with the
    /// highest sequence number that is durable.
    pub(crate) fn open(work_dir: &Path, synced: Synced) -> Result<(Self, Past), JournalError> {
        let meta = work_dir.join("meta");
        if meta.join("slaves").exists() {
            return Err(JournalError::Mesos(meta));
        }
        fs::create_dir_all(&meta).map_err(failed("create", &meta))?;
        let lock = lock(&meta)?;
        check_version(&meta)?;
        let same_boot = note_boot(&meta)?;
        let path = meta.join("journal");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(failed("read", &path))?;
        let read = format::read(&content);
        if let Some(problem) = read.damage {
            return Err(JournalError::Damaged {
                path,
                offset: read.good_bytes as u64,
                problem,
            });
        }
        if read.good_bytes < content.len() {
            tracing::warn!(
                "the last record of {} was cut short by a crash and is dropped",
                path.display()
            );
            file.set_len(read.good_bytes as u64)
                .map_err(failed("shorten", &path))?;
            file.sync_all().map_err(failed("synchronise", &path))?;
        }
        sync_directory(&meta)?;
        let file = Arc::new(file);
        let bytes = read.good_bytes as u64;
        let journal = Self {
            syncer: Syncer::start(Arc::clone(&file), synced),
            path,
            file,
            buffer: Vec::new(),
            bytes,
            compact_at: COMPACT_FROM_BYTES.max(bytes.saturating_mul(2)),
            _lock: lock,
        };
        Ok((
            journal,
            Past {
                records: read.records,
                same_boot,
            },
        ))
    }

    /// Adds a record to the batch.
    pub(crate) fn append(&mut self, entry: &Entry) {
        format::frame(entry, &mut self.buffer);
    }

    /// Writes the batch, and has it made durable in the background. `sequence` is the number of its last record.
    pub(crate) fn write(&mut self, sequence: u64) -> Result<(), JournalError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        (&*self.file)
            .write_all(&self.buffer)
            .map_err(failed("write", &self.path))?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        // One large batch should not hold its memory for ever.
        self.buffer.shrink_to(1 << 20);
        self.syncer.request(sequence);
        Ok(())
    }

    /// Whether the journal has grown so much that a shorter one is worth the work.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.bytes > self.compact_at
    }

    /// Replaces the journal by records that mean the same. The old one stays until the new one is durable.
    pub(crate) fn compact(&mut self, records: &[Entry]) -> Result<(), JournalError> {
        let next = self.path.with_extension("next");
        let mut content = Vec::with_capacity(
            records
                .iter()
                .map(|record| record.encoded_len() + format::FRAME_BYTES)
                .sum(),
        );
        for record in records {
            format::frame(record, &mut content);
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&next)
            .map_err(failed("create", &next))?;
        file.set_len(0).map_err(failed("empty", &next))?;
        file.write_all(&content).map_err(failed("write", &next))?;
        file.sync_all().map_err(failed("synchronise", &next))?;
        fs::rename(&next, &self.path).map_err(failed("replace", &self.path))?;
        if let Some(meta) = self.path.parent() {
            sync_directory(meta)?;
        }
        self.file = Arc::new(file);
        self.syncer.replace(Arc::clone(&self.file));
        self.bytes = content.len() as u64;
        self.compact_at = COMPACT_FROM_BYTES.max(self.bytes * 4);
        Ok(())
    }
}

fn lock(meta: &Path) -> Result<Flock<File>, JournalError> {
    let path = meta.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EAGAIN => JournalError::Locked(meta.to_owned()),
        error => JournalError::Io {
            action: "lock",
            path,
            source: error.into(),
        },
    })
}

fn check_version(meta: &Path) -> Result<(), JournalError> {
    let path = meta.join("version");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == VERSION => Ok(()),
        Ok(found) => Err(JournalError::Version {
            path,
            found: found.trim().chars().take(40).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, VERSION).map_err(failed("write", &path))
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

/// Whether the machine has not restarted since the journal was last opened.
fn note_boot(meta: &Path) -> Result<bool, JournalError> {
    let path = meta.join("boot_id");
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let then = fs::read_to_string(&path).unwrap_or_default();
    if now != then {
        fs::write(&path, &now).map_err(failed("write", &path))?;
    }
    Ok(now == then)
}

fn sync_directory(path: &Path) -> Result<(), JournalError> {
    let directory = File::open(path).map_err(failed("open", path))?;
    nix::unistd::fsync(directory.as_fd()).map_err(|error| failed("synchronise", path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tepui_agent_core::Record;

    fn epoch(epoch: u64) -> Entry {
        Entry {
            record: Some(Record::Epoch(epoch)),
        }
    }

    fn open(dir: &Path) -> (Journal, Past, mpsc::Receiver<u64>) {
        let (sender, synced) = mpsc::channel();
        let (journal, past) =
            Journal::open(dir, Box::new(move |sequence| sender.send(sequence).is_ok())).unwrap();
        (journal, past, synced)
    }

    fn write(journal: &mut Journal, epochs: std::ops::RangeInclusive<u64>) {
        for number in epochs.clone() {
            journal.append(&epoch(number));
        }
        journal.write(*epochs.end()).unwrap();
    }

    #[test]
    fn what_was_written_is_read_again_and_told_durable() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, past, synced) = open(dir.path());
        assert!(past.records.is_empty());
        write(&mut journal, 1..=3);
        write(&mut journal, 4..=5);
        let mut last = 0;
        while last < 5 {
            let next = synced.recv().unwrap();
            assert!(next > last);
            last = next;
        }
        drop(journal);
        let (_journal, past, _) = open(dir.path());
        assert_eq!(past.records, (1..=5).map(epoch).collect::<Vec<_>>());
        assert!(past.same_boot);
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, ..) = open(dir.path());
        write(&mut journal, 1..=3);
        drop(journal);
        let path = dir.path().join("meta/journal");
        let whole = fs::read(&path).unwrap();
        let third = whole.len() / 3;
        for torn in 1..third {
            fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let (mut journal, past, _) = open(dir.path());
            assert_eq!(past.records, [epoch(1), epoch(2)], "{torn} bytes short");
            write(&mut journal, 9..=9);
            drop(journal);
            let (_, past, _) = open(dir.path());
            assert_eq!(past.records, [epoch(1), epoch(2), epoch(9)]);
        }
    }

    #[test]
    fn damage_before_the_end_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, ..) = open(dir.path());
        write(&mut journal, 1..=3);
        drop(journal);
        let path = dir.path().join("meta/journal");
        let mut content = fs::read(&path).unwrap();
        content[format::FRAME_BYTES] ^= 1;
        fs::write(&path, &content).unwrap();
        let error = Journal::open(dir.path(), Box::new(|_| true)).err().unwrap();
        assert!(
            matches!(error, JournalError::Damaged { offset: 0, .. }),
            "{error}"
        );
    }

    #[test]
    fn compaction_keeps_the_meaning_and_what_comes_after() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _, synced) = open(dir.path());
        write(&mut journal, 1..=100);
        journal.compact(&[epoch(100)]).unwrap();
        write(&mut journal, 101..=101);
        while synced.recv().unwrap() < 101 {}
        drop(journal);
        let (_, past, _) = open(dir.path());
        assert_eq!(past.records, [epoch(100), epoch(101)]);
    }

    #[test]
    fn a_work_directory_of_mesos_or_of_another_agent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, ..) = open(dir.path());
        let error = Journal::open(dir.path(), Box::new(|_| true)).err().unwrap();
        assert!(matches!(error, JournalError::Locked(_)), "{error}");
        drop(journal);
        fs::write(dir.path().join("meta/version"), "2").unwrap();
        let error = Journal::open(dir.path(), Box::new(|_| true)).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with("says format '2', and this version reads '1'"),
            "{error}"
        );
        fs::create_dir_all(dir.path().join("meta/slaves/S0")).unwrap();
        let error = Journal::open(dir.path(), Box::new(|_| true)).err().unwrap();
        assert!(error.to_string().contains("Apache Mesos agent"), "{error}");
    }
}
