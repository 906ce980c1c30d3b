//! Backups and restores, of the stores that there are.

use std::{io::Cursor, sync::Arc};

use tepui_coordination::{MemoryStore, Transaction};

use super::*;

/// The file of records.
fn write(records: &[Record]) -> Result<Bytes, serde_json::Error> {
    let mut writer = Writer::begin()?;
    for record in records {
        writer.record(record)?;
    }
    writer.end().map(Bytes::from)
}

fn read(file: &[u8]) -> Result<Vec<Record>, BackupError> {
    let mut records = Vec::new();
    examine(file, |line| {
        if let Mutation::Put { key, value } = line {
            records.push(Record { key, value });
        }
        Ok(())
    })?;
    Ok(records)
}

async fn restore(config: &Config, file: &[u8], replace: bool) -> Result<usize, Error> {
    super::restore(config, Cursor::new(file), replace, &[], |_| {}).await
}

async fn backup_stopped(config: &Config) -> Result<Bytes, Error> {
    let mut file = Vec::new();
    let write = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let records = super::backup_stopped(config, write).await?;
    assert_eq!(check(&file[..]).expect("whole"), records);
    Ok(file.into())
}

async fn records(store: &SharedStore) -> Vec<Record> {
    let (mut all, mut pages) = (Vec::new(), Pages::new(store));
    while let Some(page) = pages.next().await.expect("reads") {
        all.extend(page);
    }
    all
}

/// One that writes what it is given, as that of a leader.
struct Leader {
    store: SharedStore,
    writes: mpsc::Sender<crate::engine::Write>,
    requests: mpsc::Sender<follow::Request>,
    writer: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Leader {
    async fn of(records: Vec<Record>) -> Self {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let mut begun = Streamed::new(&store, 1);
        for record in records {
            begun.push(&put(record)).await.expect("stored");
        }
        begun.end(&mut |_| {}).await.expect("stored");
        let (writes, receiver) = mpsc::channel(8);
        let (requests, asked) = mpsc::channel(1);
        let engine = crate::engine::Engine::recover(Default::default(), Vec::new(), Clock::start());
        let handle = engine.expect("begins").handle();
        let writer = storage::run(Arc::clone(&store), 1, receiver, asked, handle);
        Self {
            store,
            writes,
            requests,
            writer: tokio::spawn(writer),
        }
    }

    async fn write(&self, sequence: u64, mutations: Vec<Mutation>) {
        let write = crate::engine::Write {
            sequence,
            mutations,
        };
        self.writes.send(write).await.expect("taken");
    }
}

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
    let later = br#"{"format":"tepui-marathon-backup","version":3,"tepui":"9"}"#;
    assert!(matches!(read(later), Err(BackupError::Version(3))));
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    let given_up: Vec<u8> = lines.take(5).flatten().copied().collect();
    let given_up = [given_up, unfinished("it was late")].concat();
    let error = check(&given_up[..]).expect_err("not whole").to_string();
    assert_eq!(error, "it was not finished: it was late");
}

#[tokio::test]
async fn what_is_written_while_a_backup_is_made_is_in_it_and_nothing_is_torn() {
    // Pairs that are always written together, in one transaction or in more than one takes.
    let pair = |at: usize, turn: usize| {
        let value = format!(r#"{{"v":1,"data":{turn},"pad":"{}"}}"#, "x".repeat(2000));
        ["app", "version"].map(|kind| Mutation::Put {
            key: format!("{kind}/{at:05}"),
            value: value.clone().into(),
        })
    };
    let all: Vec<Mutation> = (0..6000).flat_map(|at| pair(at, 0)).collect();
    let first = all.into_iter().filter_map(|one| match one {
        Mutation::Put { key, value } => Some(Record { key, value }),
        Mutation::Delete { .. } => None,
    });
    let framework = record("framework", r#"{"v":1,"data":"f-1"}"#);
    let leader = Leader::of(first.chain([framework]).collect()).await;
    let running = begin(leader.requests.clone()).await.expect("it begins");
    let (to, mut pieces) = mpsc::channel(1);
    let making = tokio::spawn(running.send(to));
    let (mut file, mut turn) = (Vec::new(), 0);
    while let Some(piece) = pieces.recv().await {
        file.extend_from_slice(&piece);
        turn += 1;
        let at = turn * 37 % 6000;
        let mut mutations: Vec<Mutation> = pair(at, turn).into();
        if turn % 10 == 0 {
            mutations = (0..700).flat_map(|at| pair(at * 8, turn)).collect();
        }
        if turn % 3 == 0 {
            let keys = ["app", "version"].map(|kind| format!("{kind}/{:05}", at + 1));
            mutations.extend(keys.map(|key| Mutation::Delete { key }));
        }
        leader.write(turn as u64, mutations).await;
    }
    making.await.expect("made");
    assert!(turn > 60, "{turn} pieces");
    assert!(
        check(&file[..]).expect("whole") > 12_001,
        "some are there twice"
    );
    let mut held = std::collections::BTreeMap::new();
    examine(&file[..], |line| {
        match line {
            Mutation::Put { key, value } => drop(held.insert(key, value)),
            Mutation::Delete { key } => drop(held.remove(&key)),
        }
        Ok(())
    })
    .expect("whole");
    for at in 0..=6000 {
        let [one, other] = ["app", "version"].map(|kind| held.get(&format!("{kind}/{at:05}")));
        assert_eq!(one, other, "{at} is torn");
    }
    let latest = held
        .values()
        .filter(|value| !value.starts_with(br#"{"v":1,"data":0"#));
    assert!(latest.count() > 700, "what was written meanwhile is there");
    leader.writer.abort();
}

#[tokio::test]
async fn a_backup_ends_with_the_leadership_and_holds_nobody_up() {
    let leader = Leader::of(many()).await;
    let running = begin(leader.requests.clone()).await.expect("it begins");
    // Nobody reads it, and what is written is written.
    let (to, mut pieces) = mpsc::channel(1);
    let making = tokio::spawn(running.send(to));
    for turn in 0..50 {
        let data = format!(r#"{{"v":1,"data":"{}"}}"#, "x".repeat(3 << 20));
        let key = format!("app/{turn}");
        let value = data.into();
        leader.write(turn, vec![Mutation::Put { key, value }]).await;
    }
    while leader
        .store
        .get("marathon-app/49")
        .await
        .expect("reads")
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut file = Vec::new();
    while let Some(piece) = pieces.recv().await {
        file.extend_from_slice(&piece);
    }
    making.await.expect("made");
    let error = check(&file[..]).expect_err("too much was written");
    assert!(matches!(error, BackupError::Unfinished(_)), "{error}");

    let running = begin(leader.requests.clone()).await.expect("it begins");
    leader
        .store
        .commit(Transaction::new(2))
        .await
        .expect("another leads");
    let (to, mut pieces) = mpsc::channel(1);
    let making = tokio::spawn(running.send(to));
    let mut file = Vec::new();
    while let Some(piece) = pieces.recv().await {
        file.extend_from_slice(&piece);
    }
    making.await.expect("made");
    let error = check(&file[..]).expect_err("fenced").to_string();
    assert!(error.contains("epoch 1 is over"), "{error}");
    leader.writer.abort();
}

#[tokio::test]
async fn a_restore_that_finds_damage_late_or_loses_its_store_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    restore(&config, &small(&[]), false)
        .await
        .expect("restored");
    let before = backup_stopped(&config).await.expect("a backup");
    // It is changed between the two readings: it is good when it is checked.
    struct Changed {
        good: Cursor<Bytes>,
        bad: Cursor<Bytes>,
        again: bool,
    }
    impl std::io::Read for Changed {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.again {
                self.bad.read(into)
            } else {
                self.good.read(into)
            }
        }
    }
    impl Seek for Changed {
        fn seek(&mut self, _to: SeekFrom) -> std::io::Result<u64> {
            self.again = true;
            Ok(0)
        }
    }
    let padded: Vec<Record> = (0..40).map(|at| {
            let id = format!("r{at}");
            let data = format!(r#"{{"instance":"{id}","agent":"{}","role":"*","left_at":"2026-11-29T10:00:00.000Z"}}"#, "x".repeat(1 << 20));
            record(&format!("remains/{id}"), &format!(r#"{{"v":1,"data":{data}}}"#))
        }).collect();
    let good = small(&padded);
    let mut bad = good.to_vec();
    let at = bad.len() - 200;
    bad[at] ^= 1;
    let file = std::io::BufReader::new(Changed {
        good: Cursor::new(good),
        bad: Cursor::new(bad.into()),
        again: false,
    });
    let refused = super::restore(&config, file, true, &[], |_| {}).await;
    assert!(matches!(refused, Err(Error::Backup(_))), "{refused:?}");
    assert_eq!(backup_stopped(&config).await.expect("a backup"), before);
    let coordination = Coordination::open(&config).await.expect("opens");
    let left = coordination
        .store()
        .list("marathon-large/")
        .await
        .expect("reads");
    assert!(left.is_empty());
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
        records(coordination.store()).await
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
    // A role that an operator names is known too.
    let named = ["ops".to_owned()];
    let again = super::restore(&config, Cursor::new(&file), true, &named, |_| {}).await;
    again.expect("restored");
    assert!(left(store().await).ends_with(r#""roles":["*","dev","ops"]}}"#));
    let running = {
        let all = store().await;
        assert!(all.iter().any(|one| is_of_place(&one.key)));
        Leader::of(all).await
    };
    let (to, mut pieces) = mpsc::channel(1);
    let begun = begin(running.requests.clone()).await.expect("it begins");
    let making = tokio::spawn(begun.send(to));
    let mut made = Vec::new();
    while let Some(piece) = pieces.recv().await {
        made.extend_from_slice(&piece);
    }
    making.await.expect("made");
    assert_eq!(made, file, "as the stopped one");
    running.writer.abort();
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
