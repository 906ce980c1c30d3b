//! All that Marathon has stored, in one file, and back: whichever store it is of, and whichever it goes to.
//!
//! The file is lines of JSON: a header with the version of the form, one line for each record, and a last line with their number and the SHA-256 of
//! all before it. It is checked as a whole before anything is written. A leader makes it between two writes of its own, which is the only one that
//! writes, so it is the state of one moment; what is restored is there wholly or not at all.

use std::{
    io::{BufRead, Read as _},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tepui_coordination::{Leadership, SharedStore, StoreError, Transaction};
use tepui_marathon_core::{
    Mutation, Record, RecoverError, Timestamp, hold_after_restore, is_of_place,
};
use tokio::sync::oneshot;

use crate::{
    Error,
    config::Config,
    engine::{Clock, Engine},
    reign::{Coordination, address, embedded},
    storage,
};

/// Asks the one who writes for what is stored.
pub(crate) type Request = oneshot::Sender<Result<Vec<Record>, StoreError>>;

const FORMAT: &str = "tepui-marathon-backup";
/// The version of the form. One that is higher is refused.
const VERSION: u32 = 1;
/// The record that every Marathon writes first, and that none is without.
const FRAMEWORK: &str = "framework";
/// Whoever leads is heard of within this time.
const PATIENCE: Duration = Duration::from_secs(15);
/// No line of a backup is longer, in bytes: a record is at most as large as a value of the store, and JSON takes little more.
const MAX_LINE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// Of the release that made it, for people.
    tepui: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    value: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Footer {
    records: usize,
    sha256: String,
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

/// Writes the records down.
fn write(records: &[Record]) -> Result<Bytes, serde_json::Error> {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        tepui: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut file = serde_json::to_vec(&header)?;
    file.push(b'\n');
    for record in records {
        let line = Line {
            key: record.key.clone(),
            value: serde_json::from_slice(&record.value)?,
        };
        file.extend(serde_json::to_vec(&line)?);
        file.push(b'\n');
    }
    let footer = Footer {
        records: records.len(),
        sha256: digest(&file),
    };
    file.extend(serde_json::to_vec(&footer)?);
    file.push(b'\n');
    Ok(file.into())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a backup as it is read, holding one record of it at a time; tells how many it holds.
///
/// # Errors
/// It is none, is damaged, of a later release, or cannot be read.
pub fn check(file: impl BufRead) -> Result<usize, BackupError> {
    let (mut records, mut framework) = (0, false);
    scan(file, |line| {
        records += 1;
        framework |= line.key == FRAMEWORK;
    })?;
    if framework {
        Ok(records)
    } else {
        Err(BackupError::Nothing(records))
    }
}

fn read(file: &[u8]) -> Result<Vec<Record>, BackupError> {
    let mut records = Vec::new();
    scan(file, |line| {
        let value = Bytes::from(Box::<str>::from(line.value).into_string());
        let key = line.key;
        records.push(Record { key, value });
    })?;
    if !has_framework(&records) {
        return Err(BackupError::Nothing(records.len()));
    }
    Ok(records)
}

/// Goes through a backup line by line. Only once it has come to its end without an error is it known to be whole.
fn scan(mut file: impl BufRead, mut each: impl FnMut(Line)) -> Result<(), BackupError> {
    let damaged = |why: &str| BackupError::Damaged(why.to_owned());
    let (mut digested, mut count) = (Sha256::new(), 0);
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
    digested.update(&line);
    let mut next = Vec::new();
    if !next_line(&mut file, &mut line)? {
        return Err(damaged("its end is missing"));
    }
    // The last line is the end.
    while next_line(&mut file, &mut next)? {
        let record: Line = serde_json::from_slice(&line)
            .map_err(|error| BackupError::Damaged(error.to_string()))?;
        digested.update(&line);
        each(record);
        count += 1;
        std::mem::swap(&mut line, &mut next);
    }
    let footer: Footer = Some(&line[..])
        .filter(|line| line.ends_with(b"\n"))
        .and_then(|line| serde_json::from_slice(line).ok())
        .ok_or_else(|| damaged("its end is missing"))?;
    if footer.sha256 != hex(&digested.finalize()) {
        return Err(damaged("its digest is not that of what it holds"));
    }
    if count != footer.records {
        return Err(damaged("a record is missing"));
    }
    Ok(())
}

/// The next line with its end; false: there is none.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, BackupError> {
    line.clear();
    let mut bounded = file.take(MAX_LINE);
    bounded.read_until(b'\n', line)?;
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        return Err(BackupError::Damaged("a line of it has no end".to_owned()));
    }
    Ok(!line.is_empty())
}

fn has_framework(records: &[Record]) -> bool {
    records.iter().any(|record| record.key == FRAMEWORK)
}

/// What is stored now. Only for the one who writes, between two writes; refused if another has taken over meanwhile.
pub(crate) async fn take(store: &SharedStore, epoch: u64) -> Result<Vec<Record>, StoreError> {
    let records = storage::records(store).await?;
    store.commit(Transaction::new(epoch)).await?;
    Ok(without_place(records))
}

/// What is of the place where it is stored is in no backup.
fn without_place(mut records: Vec<Record>) -> Vec<Record> {
    records.retain(|record| !is_of_place(&record.key));
    records
}

/// The file of what was taken. A large one takes seconds: nobody else waits for it.
pub(crate) async fn file(records: Vec<Record>) -> Result<Bytes, Error> {
    if !has_framework(&records) {
        return Err(BackupError::Nothing(records.len()).into());
    }
    let written = tokio::task::spawn_blocking(move || write(&records)).await;
    let written = written.map_err(|panic| Error::Thread(std::io::Error::other(panic)))?;
    written.map_err(|error| unreadable(&error).into())
}

/// Makes a backup of a store on which no Marathon runs.
///
/// # Errors
/// There is no store, it holds nothing, it cannot be used, or a Marathon leads on it.
pub async fn backup_stopped(config: &Config) -> Result<Bytes, Error> {
    must_be_there(config)?;
    let coordination = Coordination::open(config).await?;
    let (election, epoch) = alone(&coordination).await?;
    let there = storage::load(coordination.store(), epoch).await?;
    election.resign().await;
    let there = without_place(there);
    if !has_framework(&there) {
        return Err(nothing(config));
    }
    write(&there).map_err(|error| unreadable(&error).into())
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Format {
        place: "a record".to_owned(),
        why: error.to_string(),
    }
}

/// An embedded store is made where there is none; who looks for one must not be given an empty one.
fn must_be_there(config: &Config) -> Result<(), Error> {
    if config.zk.is_none() && !embedded(config).exists() {
        return Err(nothing(config));
    }
    Ok(())
}

fn nothing(config: &Config) -> Error {
    let place = config.zk.clone();
    Error::NothingStored {
        place: place.unwrap_or_else(|| embedded(config).display().to_string()),
    }
}

/// Puts a backup into a store on which no Marathon runs; tells how many records it holds. A store that holds something is only taken with
/// `replace`, and then holds nothing else afterwards but the record of the restore, for whose sake the next leaders destroy nothing that they do
/// not know.
///
/// # Errors
/// The file is no good backup or this release could not start with it, there is nothing to replace, the store is not empty, cannot be used, or a Marathon leads on it: nothing is changed.
pub async fn restore(config: &Config, file: &[u8], replace: bool) -> Result<usize, Error> {
    let records = without_place(read(file)?);
    // What a Marathon would refuse to start with must not take the place of what it can.
    Engine::recover(config.core.clone(), records.clone(), Clock::start())
        .map_err(|error| BackupError::Recover(Box::new(error)))?;
    if replace {
        must_be_there(config)?;
    }
    let coordination = Coordination::open(config).await?;
    let (election, epoch) = alone(&coordination).await?;
    let there = storage::load(coordination.store(), epoch).await?;
    if there.is_empty() && replace {
        election.resign().await;
        return Err(nothing(config));
    }
    if !there.is_empty() && !replace {
        election.resign().await;
        return Err(Error::NotEmpty {
            records: without_place(there).len(),
        });
    }
    let kept: std::collections::HashSet<&str> =
        records.iter().map(|one| one.key.as_str()).collect();
    let gone = there
        .iter()
        .filter(|one| !kept.contains(one.key.as_str()) && !is_of_place(&one.key));
    let mut mutations: Vec<Mutation> = gone
        .map(|one| Mutation::Delete {
            key: one.key.clone(),
        })
        .collect();
    let count = records.len();
    // What the backup does not know, and is on agents, is nobody's for now; what is replaced here may say in which roles it is.
    let now = Timestamp::from_time(Clock::start().now());
    mutations.push(hold_after_restore(now, &there));
    mutations.extend(
        records
            .into_iter()
            .map(|Record { key, value }| Mutation::Put { key, value }),
    );
    storage::write(coordination.store(), epoch, mutations).await?;
    election.resign().await;
    Ok(count)
}

/// Takes the leadership, so that nobody else writes.
async fn alone(coordination: &Coordination) -> Result<(tepui_coordination::Election, u64), Error> {
    let mut election = coordination.campaign("a backup").await?;
    let led = tokio::time::timeout(PATIENCE, async {
        loop {
            match election.leadership() {
                Leadership::Leading { epoch } => return Ok(epoch),
                Leadership::Following { leader } => {
                    return Err(address(&leader).unwrap_or_else(|| "an unknown address".to_owned()));
                }
                Leadership::Waiting | Leadership::Suspended { .. } => {
                    drop(election.changed().await)
                }
            }
        }
    });
    match led.await {
        Ok(Ok(epoch)) => Ok((election, epoch)),
        Ok(Err(leader)) => {
            election.resign().await;
            Err(Error::Runs { leader })
        }
        Err(_) => Err(Error::NoElection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &std::path::Path) -> Config {
        Config::new("127.0.0.1:5050", folder)
    }

    fn record(key: &str, value: &str) -> Record {
        Record {
            key: key.to_owned(),
            value: value.to_owned().into(),
        }
    }

    fn many() -> Vec<Record> {
        let left = (0..3000).map(|at| {
            let data = format!(
                r#"{{"instance":"i{at:04}","agent":"a","role":"*","left_at":"2026-11-29T10:00:00.000Z"}}"#
            );
            record(
                &format!("remains/i{at:04}"),
                &format!(r#"{{"v":1,"data":{data}}}"#),
            )
        });
        left.chain([record("framework", r#"{"v":1,"data":"f-1"}"#)])
            .collect()
    }

    fn small(more: &[Record]) -> Bytes {
        let framework = [record("framework", r#"{"v":1,"data":"f-2"}"#)];
        write(&[more, &framework].concat()).expect("written")
    }

    #[test]
    fn a_file_reads_back_as_it_was_and_any_damage_is_found() {
        let file = write(&many()).expect("written");
        assert_eq!(read(&file).expect("good"), many());
        assert_eq!(check(&file[..]).expect("good"), 3001);
        for at in (0..file.len()).step_by(997) {
            let mut changed = file.to_vec();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at} was changed");
            assert!(read(&file[..at]).is_err(), "cut at {at}");
            assert!(check(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(
            read(&file[..file.len() - 1]).is_err(),
            "cut before its last byte"
        );
        let twice = [&file[..], &file[..]].concat();
        assert!(read(&twice).is_err(), "two of them");
        assert!(matches!(read(b""), Err(BackupError::Format)));
        assert!(matches!(read(b"{}\n"), Err(BackupError::Format)));
        let later = br#"{"format":"tepui-marathon-backup","version":2,"tepui":"9"}"#;
        assert!(matches!(read(later), Err(BackupError::Version(2))));
    }

    #[tokio::test]
    async fn a_backup_goes_into_an_empty_store_and_into_another_only_if_told() {
        let folders = [
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        ];
        let [one, other] = [config(folders[0].path()), config(folders[1].path())];
        let file = write(&many()).expect("written");
        assert_eq!(restore(&one, &file, false).await.expect("restored"), 3001);
        let again = backup_stopped(&one).await.expect("a backup");
        assert_eq!(again, file, "the same records make the same file");

        let small = small(&many()[..1]);
        restore(&other, &small, false).await.expect("restored");
        let refused = restore(&other, &file, false).await.expect_err("not empty");
        assert!(
            matches!(refused, Error::NotEmpty { records: 2 }),
            "{refused}"
        );
        let damaged = restore(&other, &file[..file.len() - 9], true).await;
        assert!(matches!(damaged, Err(Error::Backup(_))));
        assert_eq!(
            backup_stopped(&other).await.expect("a backup"),
            small,
            "nothing was changed"
        );
        restore(&other, &file, true).await.expect("replaced");
        assert_eq!(backup_stopped(&other).await.expect("a backup"), file);
    }

    #[tokio::test]
    async fn a_restore_leaves_a_record_of_itself_that_is_in_no_backup() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let file = write(&many()).expect("written");
        let resident = r#"{"v":1,"data":{"key":1,"id":"db.instance-1","app":"/db","version":"2026-11-29T10:00:00.000Z","config":"2026-11-29T10:00:00.000Z",
            "goal":"Running","condition":"Running","since":"2026-11-29T10:00:00.000Z","active_since":null,"incarnation":1,"agent":null,"task":null,
            "reservation":{"role":"dev","volumes":[],"confirmed":true}}}"#;
        let resident = resident.replace('\n', "");
        let there = small(&[record("instance/db.instance-1", &resident)]);
        let store = || async {
            let coordination = Coordination::open(&config).await.expect("opens");
            storage::records(coordination.store()).await.expect("reads")
        };
        let left = |records: Vec<Record>| {
            let mut records = records.into_iter();
            let one = records.find(|one| is_of_place(&one.key)).expect("a record");
            String::from_utf8(one.value.to_vec()).expect("text")
        };
        restore(&config, &there, false).await.expect("restored");
        assert!(left(store().await).ends_with(r#""roles":[]}}"#));
        restore(&config, &file, true).await.expect("replaced");
        // What was replaced may have left something in this role.
        assert!(left(store().await).ends_with(r#""roles":["dev"]}}"#));
        assert_eq!(backup_stopped(&config).await.expect("a backup"), file);
        let coordination = Coordination::open(&config).await.expect("opens");
        let taken = take(coordination.store(), u64::MAX).await.expect("taken");
        assert!(taken.iter().all(|one| !is_of_place(&one.key)));
    }

    #[tokio::test]
    async fn what_this_release_could_not_start_with_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let file = small(&[]);
        restore(&config, &file, false).await.expect("restored");
        for wrong in [
            record("constellation/x", r#"{"v":1,"data":1}"#),
            record("app/%2Fx", r#"{"v":2,"data":{}}"#),
            record("app/%2Fx", r#"{"v":1,"data":{"id":7}}"#),
        ] {
            let refused = restore(&config, &small(&[wrong]), true).await;
            assert!(
                matches!(refused, Err(Error::Backup(BackupError::Recover(_)))),
                "{refused:?}"
            );
        }
        assert_eq!(backup_stopped(&config).await.expect("a backup"), file);
    }

    #[tokio::test]
    async fn where_nothing_is_stored_nothing_is_backed_up_or_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = config(&folder.path().join("marathn"));
        let nothing = |error: Error| matches!(error, Error::NothingStored { .. });
        assert!(nothing(backup_stopped(&elsewhere).await.expect_err("none")));
        let refused = restore(&elsewhere, &small(&[]), true).await;
        assert!(nothing(refused.expect_err("nothing to replace")));
        assert!(!elsewhere.work_dir.exists(), "none was made");

        let empty = write(&[]).expect("written");
        assert!(matches!(read(&empty), Err(BackupError::Nothing(0))));
        let here = config(folder.path());
        drop(Coordination::open(&here).await.expect("made"));
        assert!(nothing(backup_stopped(&here).await.expect_err("empty")));
        let refused = restore(&here, &small(&[]), true).await;
        assert!(nothing(refused.expect_err("nothing to replace")));
        restore(&here, &small(&[]), false).await.expect("restored");
    }
}
