//! The file of a backup: lines of JSON, made and read one at a time.
//!
//! A header with the version of the form, a line for each record, and a last line with their number and the SHA-256 of all before it. A record that was
//! written while the backup was made is there again, further down: of one key the last line counts, and one without a value says that the
//! key was deleted.

use std::io::{BufRead, Read as _};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tepui_marathon_core::{Mutation, Record, RecoverError};

const FORMAT: &str = "tepui-marathon-backup";
/// The version of the form. One that is higher is refused. Before version 2 there was one line for each key.
const VERSION: u32 = 2;
/// The record that every Marathon writes first, and that none is without.
pub(crate) const FRAMEWORK: &str = "framework";
/// No line of a backup is longer, in bytes: a record is at most as large as a value of the store, and JSON takes little more.
const MAX_LINE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// Of the release that made it, for people.
    tepui: String,
}

#[derive(Serialize)]
struct Written<'a> {
    key: &'a str,
    value: Option<&'a RawValue>,
}

/// What becomes of a key.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) key: String,
    value: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct Footer {
    records: usize,
    sha256: String,
}

/// The last line of a backup that could not be made.
#[derive(Serialize, Deserialize)]
struct Failed {
    failed: String,
}

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It begins otherwise.
    #[error("it is no backup of Marathon: its first line is not that of one")]
    Format,
    /// It was made by a later release.
    #[error(
        "it is a backup of version {0}, which this release does not know; restore it with the release that made it, or a later one"
    )]
    Version(u32),
    /// It was cut off, or changed.
    #[error("it is damaged: {0}; use another copy")]
    Damaged(String),
    /// Who made it could not finish it.
    #[error("it was not finished: {0}")]
    Unfinished(String),
    /// It is not of a Marathon that ever ran.
    #[error(
        "it holds {0} records and no framework id, so it is not of a Marathon that was ever registered with a master"
    )]
    Nothing(usize),
    /// It could not be read to its end.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Marathon would not start on it.
    #[error("this release could not start with it: {0}")]
    Recover(Box<RecoverError>),
}

/// Makes the lines; what is made is taken out whenever there is enough of it.
#[derive(Debug)]
pub(crate) struct Writer {
    made: Vec<u8>,
    digest: Sha256,
    pub(crate) records: usize,
}

impl Writer {
    pub(crate) fn begin() -> Result<Self, serde_json::Error> {
        let mut writer = Self {
            made: Vec::new(),
            digest: Sha256::new(),
            records: 0,
        };
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            tepui: env!("CARGO_PKG_VERSION").to_owned(),
        };
        writer.line(&header)?;
        Ok(writer)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut self.made, line)?;
        self.made.push(b'\n');
        Ok(())
    }

    pub(crate) fn record(&mut self, record: &Record) -> Result<(), serde_json::Error> {
        self.put(&record.key, Some(&record.value))
    }

    pub(crate) fn mutation(&mut self, mutation: &Mutation) -> Result<(), serde_json::Error> {
        match mutation {
            Mutation::Put { key, value } => self.put(key, Some(value)),
            Mutation::Delete { key } => self.put(key, None),
        }
    }

    fn put(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), serde_json::Error> {
        self.records += 1;
        let value = value.map(serde_json::from_slice::<&RawValue>).transpose()?;
        self.line(&Written { key, value })
    }

    /// What was made since this was last asked.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.digest.update(&self.made);
        std::mem::take(&mut self.made)
    }

    /// The end.
    pub(crate) fn end(mut self) -> Result<Vec<u8>, serde_json::Error> {
        let mut made = self.take();
        let footer = Footer {
            records: self.records,
            sha256: hex(&self.digest.finalize()),
        };
        serde_json::to_writer(&mut made, &footer)?;
        made.push(b'\n');
        Ok(made)
    }
}

/// The end of one that cannot be finished: nobody takes it for whole, and whoever reads it learns why.
pub(crate) fn unfinished(why: &str) -> Vec<u8> {
    let failed = Failed {
        failed: why.to_owned(),
    };
    let mut line = serde_json::to_vec(&failed).unwrap_or_default();
    line.push(b'\n');
    line
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Line {
    pub(crate) fn mutation(self) -> Mutation {
        let key = self.key;
        match self.value {
            Some(value) => Mutation::Put {
                key,
                value: Box::<str>::from(value).into_string().into(),
            },
            None => Mutation::Delete { key },
        }
    }
}

/// Checks a backup as it is read, holding one record of it at a time; tells how many it holds.
///
/// # Errors
/// It is none, is damaged, of a later release, or cannot be read.
pub fn check(file: impl BufRead) -> Result<usize, BackupError> {
    examine(file, |_| Ok(()))
}

/// The same, and each record is looked at.
pub(crate) fn examine(
    file: impl BufRead,
    mut each: impl FnMut(Mutation) -> Result<(), BackupError>,
) -> Result<usize, BackupError> {
    let (mut records, mut framework) = (0, false);
    let mut reader = Reader::begin(file)?;
    while let Some(line) = reader.next()? {
        records += 1;
        framework |= line.key == FRAMEWORK;
        each(line.mutation())?;
    }
    if framework {
        Ok(records)
    } else {
        Err(BackupError::Nothing(records))
    }
}

/// Goes through a backup line by line. Only once it has come to its end without an error is it known to be whole.
pub(crate) struct Reader<R> {
    file: R,
    digested: Sha256,
    count: usize,
    /// The line that comes next, which is the end if no other follows.
    line: Vec<u8>,
    following: Vec<u8>,
}

fn damaged(why: &str) -> BackupError {
    BackupError::Damaged(why.to_owned())
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn begin(mut file: R) -> Result<Self, BackupError> {
        let mut line = Vec::new();
        if !next_line(&mut file, &mut line)? {
            return Err(BackupError::Format);
        }
        let header: Header = serde_json::from_slice(&line).map_err(|_| BackupError::Format)?;
        if header.format != FORMAT {
            return Err(BackupError::Format);
        }
        if header.version > VERSION {
            return Err(BackupError::Version(header.version));
        }
        let mut digested = Sha256::new();
        digested.update(&line);
        if !next_line(&mut file, &mut line)? {
            return Err(damaged("its end is missing"));
        }
        Ok(Self {
            file,
            digested,
            count: 0,
            line,
            following: Vec::new(),
        })
    }

    /// The next line; none: that was all of it, and it is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, BackupError> {
        if !next_line(&mut self.file, &mut self.following)? {
            return self.end().map(|()| None);
        }
        let record: Line = serde_json::from_slice(&self.line)
            .map_err(|error| BackupError::Damaged(error.to_string()))?;
        self.digested.update(&self.line);
        self.count += 1;
        std::mem::swap(&mut self.line, &mut self.following);
        Ok(Some(record))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let line = Some(&self.line[..]).filter(|line| line.ends_with(b"\n"));
        let line = line.ok_or_else(|| damaged("its end is missing"))?;
        let Ok(footer) = serde_json::from_slice::<Footer>(line) else {
            let failed = serde_json::from_slice::<Failed>(line);
            return Err(failed.map_or_else(
                |_| damaged("its end is missing"),
                |one| BackupError::Unfinished(one.failed),
            ));
        };
        if footer.sha256 != hex(&self.digested.finalize_reset()) {
            return Err(damaged("its digest is not that of what it holds"));
        }
        if self.count != footer.records {
            return Err(damaged("a record is missing"));
        }
        Ok(())
    }
}

/// The next line with its end; false: there is none.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, BackupError> {
    line.clear();
    let mut bounded = file.take(MAX_LINE);
    bounded.read_until(b'\n', line)?;
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        return Err(damaged("a line of it has no end"));
    }
    Ok(!line.is_empty())
}
