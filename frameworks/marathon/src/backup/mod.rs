//! All that Marathon has stored, in one file, and back: whichever store it is of, and whichever it goes to.
//!
//! A leader's backup is read from the store beside the one who writes, with all that is written meanwhile after it, up to a moment between two writes:
//! so it is the state of that moment, and nobody waits for it. What is restored is checked as a whole before anything is written, and is there wholly or
//! not at all. Neither holds more than a few pages of the store at a time, however much is stored.

mod file;

use std::{
    io::{BufRead, Seek, SeekFrom},
    time::Duration,
};

use bytes::Bytes;
pub use file::{BackupError, check};
use file::{FRAMEWORK, Reader, Writer, examine, unfinished};
use tepui_coordination::{Leadership, SharedStore, StoreError};
use tepui_marathon_core::{Marathon, Mutation, Record, ReplacedByRestore, Timestamp, is_of_place};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Error,
    config::Config,
    engine::Clock,
    reign::{Coordination, address, embedded},
    storage::{self, Pages, Streamed, follow},
};

/// Whoever leads is heard of within this time.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a backup that are sent on together.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of records that are tried together.
const TRIAL_BYTES: usize = 1 << 20;

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many records were looked at.
    Checked(usize),
    /// So many were brought to the store, of which nothing is seen yet.
    Brought(usize),
    /// So many keys of the store are as they are to be; this comes to its end also if it is cut off.
    Done(usize),
}

/// A backup that has begun: all of it comes by a channel.
pub(crate) struct Running {
    written: follow::Written,
    requests: mpsc::Sender<follow::Request>,
}

/// Begins a backup of what is stored now and while it is made; an error says why there is none.
pub(crate) async fn begin(requests: mpsc::Sender<follow::Request>) -> Result<Running, String> {
    let gone = || "The leadership ended before the backup was made; ask again.".to_owned();
    let (asked, answer) = oneshot::channel();
    let sent = requests.send(follow::Request::Begin(asked)).await;
    sent.map_err(|_| gone())?;
    let written = answer.await.map_err(|_| gone())?;
    let cannot = |error: Error| format!("The backup cannot be made: {error}");
    let framework = written.store.get(&storage::store_key(FRAMEWORK)).await;
    match framework.map_err(|error| cannot(error.into()))? {
        Some(_) => Ok(Running { written, requests }),
        None => Err(cannot(BackupError::Nothing(0).into())),
    }
}

impl Running {
    /// Makes the rest of it, as fast as it is taken. One that cannot be finished ends with a line that says why.
    pub(crate) async fn send(mut self, to: mpsc::Sender<Bytes>) {
        if let Err(why) = self.make(&to).await {
            tracing::warn!(%why, "a backup was not finished");
            let _ = to.send(unfinished(&why).into()).await; // who has gone away
        }
    }

    async fn make(&mut self, to: &mpsc::Sender<Bytes>) -> Result<(), String> {
        let bad = |error: serde_json::Error| Error::from(unreadable(&error)).to_string();
        let mut writer = Writer::begin().map_err(bad)?;
        let store = self.written.store.clone();
        let mut pages = Pages::new(&store);
        while let Some(page) = pages.next().await.map_err(|error| error.to_string())? {
            let page = page.into_iter().filter(|one| !is_of_place(&one.key));
            writer = send_on(writer, page.map(put).collect(), to).await?;
            // What was read may be older than what was told: that comes after it, each time.
            let written = self.taken()?;
            writer = send_on(writer, written, to).await?;
        }
        let gone = || "the leadership ended".to_owned();
        let (asked, answer) = oneshot::channel();
        let sent = self.requests.send(follow::Request::End(asked)).await;
        sent.map_err(|_| gone())?;
        let led = answer.await.map_err(|_| gone())?;
        led.map_err(|error| error.to_string())?;
        let written = self.taken()?;
        let writer = send_on(writer, written, to).await?;
        let end = writer.end().map_err(bad)?;
        to.send(end.into())
            .await
            .map_err(|_| "nobody reads it".to_owned())
    }

    /// What was written since it was last asked.
    fn taken(&mut self) -> Result<Vec<Mutation>, String> {
        let written = self.written.take();
        let written = written
            .ok_or("more was written meanwhile than could be sent, or the leadership ended")?;
        let own = |mutation: &Mutation| match mutation {
            Mutation::Put { key, .. } | Mutation::Delete { key } => !is_of_place(key),
        };
        Ok(written.into_iter().filter(own).collect())
    }
}

/// Makes lines and sends them on. A page takes a while: nobody else waits for it.
async fn send_on(
    writer: Writer,
    lines: Vec<Mutation>,
    to: &mpsc::Sender<Bytes>,
) -> Result<Writer, String> {
    if lines.is_empty() {
        return Ok(writer);
    }
    let made = tokio::task::spawn_blocking(move || {
        let (mut writer, mut made) = (writer, Vec::new());
        for line in &lines {
            writer.mutation(line)?;
        }
        made.push(writer.take());
        Ok((writer, made))
    });
    let made = made.await.map_err(|panic| panic.to_string())?;
    let (writer, made) = made.map_err(|error| Error::from(unreadable(&error)).to_string())?;
    for made in made {
        let mut made = Bytes::from(made);
        while !made.is_empty() {
            let chunk = made.split_to(made.len().min(CHUNK_BYTES));
            let sent = to.send(chunk).await;
            sent.map_err(|_| "nobody reads it".to_owned())?;
        }
    }
    Ok(writer)
}

fn put(record: Record) -> Mutation {
    let Record { key, value } = record;
    Mutation::Put { key, value }
}

/// Makes a backup of a store on which no Marathon runs; `write` takes it piece by piece. Tells how many records it holds.
///
/// # Errors
/// There is no store, it holds nothing, it cannot be used, a Marathon leads on it, or `write` fails.
pub async fn backup_stopped(
    config: &Config,
    mut write: impl FnMut(&[u8]) -> std::io::Result<()> + Send,
) -> Result<usize, Error> {
    must_be_there(config)?;
    let coordination = Coordination::open(config).await?;
    let (election, epoch) = alone(&coordination).await?;
    let made = make_stopped(config, coordination.store(), epoch, &mut write).await;
    election.resign().await;
    made
}

async fn make_stopped(
    config: &Config,
    store: &SharedStore,
    epoch: u64,
    write: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
) -> Result<usize, Error> {
    storage::take_over(store, epoch).await?;
    if store.get(&storage::store_key(FRAMEWORK)).await?.is_none() {
        return Err(nothing(config));
    }
    let bad = |error| Error::from(unreadable(&error));
    let mut writer = Writer::begin().map_err(bad)?;
    let mut pages = Pages::new(store);
    while let Some(page) = pages.next().await? {
        for record in page.iter().filter(|one| !is_of_place(&one.key)) {
            writer.record(record).map_err(bad)?;
        }
        write(&writer.take()).map_err(Error::Write)?;
    }
    let records = writer.records;
    write(&writer.end().map_err(bad)?).map_err(Error::Write)?;
    Ok(records)
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
/// not know; `roles` are such in which something of that may be, beside those that can be known. The file is read twice.
///
/// # Errors
/// The file is no good backup or this release could not start with it, there is nothing to replace, the store is not empty, cannot be used, or a Marathon leads on it: nothing is changed.
pub async fn restore(
    config: &Config,
    mut file: impl BufRead + Seek + Send,
    replace: bool,
    roles: &[String],
    mut told: impl FnMut(Progress) + Send,
) -> Result<usize, Error> {
    let now = Clock::start().now();
    let mut trial = Trial::new(config);
    let mut checked = 0;
    let count = examine(&mut file, |line| {
        checked += 1;
        told(Progress::Checked(checked));
        trial.add(line)
    })?;
    trial.end()?;
    file.seek(SeekFrom::Start(0)).map_err(BackupError::Read)?;
    if replace {
        must_be_there(config)?;
    }
    let coordination = Coordination::open(config).await?;
    let (election, epoch) = alone(&coordination).await?;
    let store = coordination.store();
    let mut streamed = Streamed::new(store, epoch);
    let brought = async {
        storage::take_over(store, epoch).await?;
        let (mut there, mut own, mut replaced) = (0, 0, ReplacedByRestore::with_roles(roles));
        let mut pages = Pages::new(store);
        // What is brought is not among what is gone through.
        while let Some(page) = pages.next().await? {
            for record in page {
                there += 1;
                replaced.note(&record);
                if is_of_place(&record.key) {
                    continue;
                }
                own += 1;
                if replace {
                    let key = record.key;
                    streamed.push(&Mutation::Delete { key }).await?;
                }
            }
        }
        if there == 0 && replace {
            return Err(nothing(config));
        }
        if there > 0 && !replace {
            return Err(Error::NotEmpty { records: own });
        }
        // What the backup does not know, and is on agents, is nobody's for now; what is replaced here may say in which roles it is.
        let hold = replaced.hold(Timestamp::from_time(now));
        streamed.push(&hold).await?;
        let (mut reader, mut brought) = (Reader::begin(&mut file)?, 0);
        while let Some(line) = reader.next()? {
            if !is_of_place(&line.key) {
                streamed.push(&line.mutation()).await?;
            }
            brought += 1;
            told(Progress::Brought(brought));
        }
        Ok(())
    };
    let brought = brought.await;
    let mut done = 0;
    let restored = match brought {
        Ok(()) => {
            let mut each = |keys: usize| {
                done += keys;
                told(Progress::Done(done));
            };
            streamed.end(&mut each).await.map_err(Error::from)
        }
        // If that fails too, the next leader does it.
        Err(error) => {
            let _ = streamed.abandon().await;
            Err(error)
        }
    };
    election.resign().await;
    restored.map(|()| count)
}

/// Whether this release could start with records: what a Marathon would refuse must not take the place of what it can start with. It refuses a
/// record for what is in it, so it is asked about some at a time.
struct Trial<'a> {
    config: &'a Config,
    records: Vec<Record>,
    bytes: usize,
}

impl<'a> Trial<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            records: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, line: Mutation) -> Result<(), BackupError> {
        if let Mutation::Put { key, value } = line {
            self.bytes += value.len();
            self.records.push(Record { key, value });
        }
        if self.bytes < TRIAL_BYTES {
            return Ok(());
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        let (records, now) = (std::mem::take(&mut self.records), Clock::start().now());
        Marathon::new(self.config.core.clone(), now, records, &mut Vec::new())
            .map(drop)
            .map_err(|error| BackupError::Recover(Box::new(error)))
    }
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
mod tests;
