//! On real ZooKeeper servers: the store's promises, elections, and what becomes of both when servers and sessions go.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod support;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tepui_coordination::{
    Candidate, Connection, Detector, Election, Expect, LeaderInfo, Leadership, Store, StoreError,
    Transaction, ZooKeeper, ZooKeeperOptions, ZooKeeperStore,
};
use tepui_tests::{clock::Clock, zookeeper::Ensemble};
use tokio::net::TcpStream;
use zookeeper_client::{Acls, Client, CreateMode};

/// Longer than a busy machine keeps a client or a server from speaking, and less than ZooKeeper's absence in the test of that.
const SESSION: Duration = Duration::from_secs(8);
/// No wait here is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(ensemble: &Ensemble, path: &str) -> ZooKeeper {
    let options = ZooKeeperOptions {
        session_timeout: SESSION,
        operation_timeout: PATIENCE,
    };
    ZooKeeper::connect(ensemble.url(path).parse().unwrap(), options)
}

fn info(port: u16) -> LeaderInfo {
    LeaderInfo::new(
        format!("id-{port}"),
        "localhost",
        IpAddr::from([127, 0, 0, 1]),
        port,
    )
}

struct Master {
    zookeeper: ZooKeeper,
    election: Election,
}

fn master(ensemble: &Ensemble, port: u16) -> Master {
    let zookeeper = connect(ensemble, "/mesos");
    let election = Election::zookeeper(&zookeeper, Candidate::master(&info(port)));
    Master {
        zookeeper,
        election,
    }
}

async fn until(
    election: &mut Election,
    what: &str,
    wanted: impl Fn(&Leadership) -> bool,
) -> Leadership {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut watch = election.watch();
        watch
            .wait_for(|leadership| wanted(leadership))
            .await
            .unwrap()
            .clone()
    });
    match waited.await {
        Ok(leadership) => leadership,
        Err(_) => panic!("{what}: still {:?}", election.leadership()),
    }
}

async fn leading(election: &mut Election) -> u64 {
    until(election, "leads", |leadership| leadership.epoch().is_some())
        .await
        .epoch()
        .unwrap()
}

async fn following(election: &mut Election) -> Leadership {
    until(election, "follows", |leadership| {
        matches!(leadership, Leadership::Following { .. })
    })
    .await
}

async fn detected(detector: &Detector, port: u16) -> u64 {
    let mut watch = detector.watch();
    let found = watch.wait_for(|leader| {
        leader
            .as_ref()
            .is_some_and(|leader| leader.info.port == u32::from(port))
    });
    let found = tokio::time::timeout(PATIENCE, found).await;
    let leader = found
        .unwrap_or_else(|_| panic!("port {port} was not detected"))
        .unwrap()
        .clone();
    leader.unwrap().epoch
}

#[tokio::test]
async fn the_store_in_zookeeper_keeps_the_promises() {
    let ensemble = Ensemble::start(1);
    let zookeeper = connect(&ensemble, "/mesos");
    let store = ZooKeeperStore::open(&zookeeper, "registry").await.unwrap();
    assert_eq!(store.path(), "/mesos/tepui/registry");
    support::all(Arc::new(store)).await;
    let again = ZooKeeperStore::open(&connect(&ensemble, "/mesos"), "registry")
        .await
        .unwrap();
    assert_eq!(again.epoch().await.unwrap(), 5);
    assert_eq!(again.list("g/").await.unwrap().len(), 500);
    assert_eq!(
        again.commit(Transaction::new(4)).await,
        Err(StoreError::Fenced {
            epoch: 4,
            highest: 5
        })
    );
    let other = ZooKeeperStore::open(&zookeeper, "marathon").await.unwrap();
    assert_eq!(
        other.list("").await.unwrap(),
        vec![],
        "stores of other names are others"
    );
}

#[tokio::test]
async fn a_predecessor_cannot_write_and_its_left_overs_go() {
    let ensemble = Ensemble::start(1);
    let (first, second) = (connect(&ensemble, "/mesos"), connect(&ensemble, "/mesos"));
    let old = ZooKeeperStore::open(&first, "registry").await.unwrap();
    let new = ZooKeeperStore::open(&second, "registry").await.unwrap();
    old.commit(
        Transaction::new(1)
            .put("a/large", vec![1; 2 << 20])
            .put("a/small", "x"),
    )
    .await
    .unwrap();
    // As a writer leaves them that dies before its commit.
    let client = Client::connect(ensemble.url("").strip_prefix("zk://").unwrap())
        .await
        .unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let chunks = "/mesos/tepui/registry/chunks";
    client
        .create(&format!("{chunks}/a%2Flarge/dead-0"), b"x", &options)
        .await
        .unwrap();
    client
        .mkdir(&format!("{chunks}/a%2Fnever"), &options)
        .await
        .unwrap();
    client
        .create(&format!("{chunks}/a%2Fnever/dead-0"), b"x", &options)
        .await
        .unwrap();
    new.commit(Transaction::new(2)).await.unwrap();
    assert_eq!(
        old.commit(Transaction::new(1).put("a/small", "y")).await,
        Err(StoreError::Fenced {
            epoch: 1,
            highest: 2
        })
    );
    assert_eq!(
        new.get("a/large").await.unwrap().unwrap().value.len(),
        2 << 20
    );
    assert_eq!(client.list_children(chunks).await.unwrap(), ["a%2Flarge"]);
    assert_eq!(
        client
            .list_children(&format!("{chunks}/a%2Flarge"))
            .await
            .unwrap()
            .len(),
        4
    );
    new.commit(Transaction::new(2).delete("a/large"))
        .await
        .unwrap();
    assert_eq!(
        client
            .list_children(&format!("{chunks}/a%2Flarge"))
            .await
            .unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn fifty_thousand_entries_load_fast() {
    let ensemble = Ensemble::start(1);
    let store = ZooKeeperStore::open(&connect(&ensemble, "/mesos"), "registry")
        .await
        .unwrap();
    let value = vec![7u8; 600];
    let started = Instant::now();
    for batch in (0..50_000).collect::<Vec<u32>>().chunks(5000) {
        let commits = batch.chunks(100).map(|some| {
            store.commit(some.iter().fold(Transaction::new(1), |t, n| {
                t.put_if(format!("agents/S{n}"), value.clone(), Expect::Absent)
            }))
        });
        for outcome in futures::future::join_all(commits).await {
            outcome.unwrap();
        }
    }
    let written = started.elapsed();
    let clock = Clock::start();
    assert_eq!(store.list("agents/").await.unwrap().len(), 50_000);
    let loaded = clock.now();
    println!("50,000 entries of 600 bytes: written in {written:?}, loaded in {loaded:?}");
    assert!(loaded < Duration::from_secs(20), "{loaded:?}");
}

#[tokio::test]
async fn the_next_one_leads_when_the_leader_resigns_or_dies() {
    let ensemble = Ensemble::start(1);
    let detector = Detector::zookeeper(&connect(&ensemble, "/mesos"));
    assert_eq!(detector.leader(), None);
    let mut first = master(&ensemble, 1);
    let one = leading(&mut first.election).await;
    let mut second = master(&ensemble, 2);
    let Leadership::Following { leader } = following(&mut second.election).await else {
        unreachable!()
    };
    assert_eq!(
        (leader.epoch, leader.leader().unwrap().info),
        (one, info(1))
    );
    let mut third = master(&ensemble, 3);
    following(&mut third.election).await;
    assert_eq!(detected(&detector, 1).await, one);
    first.election.resign().await;
    let two = leading(&mut second.election).await;
    assert!(two > one);
    assert_eq!(detected(&detector, 2).await, two);
    // Without a word: the session is closed as the process' sockets would be.
    drop(second);
    let three = leading(&mut third.election).await;
    assert!(three > two);
    assert_eq!(detected(&detector, 3).await, three);
    drop(third);
    let mut watch = detector.watch();
    tokio::time::timeout(PATIENCE, watch.wait_for(Option::is_none))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_directory_may_hold_other_things() {
    let ensemble = Ensemble::start(1);
    let client = Client::connect(ensemble.url("").strip_prefix("zk://").unwrap())
        .await
        .unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/mesos", b"", &options).await.unwrap();
    for (name, content) in [
        ("log_replicas", ""),
        ("info_0000000000", "\x0a\x01x"),
        ("json.info_", "{}"),
    ] {
        client
            .create(&format!("/mesos/{name}"), content.as_bytes(), &options)
            .await
            .unwrap();
    }
    let detector = Detector::zookeeper(&connect(&ensemble, "/mesos"));
    let mut only = master(&ensemble, 7);
    let epoch = leading(&mut only.election).await;
    assert_eq!(detected(&detector, 7).await, epoch);
}

#[tokio::test]
async fn a_stale_node_of_ones_own_is_removed() {
    let ensemble = Ensemble::start(1);
    // An earlier session of the same process, which has not ended yet.
    let client = Client::connect(ensemble.url("").strip_prefix("zk://").unwrap())
        .await
        .unwrap();
    client
        .create(
            "/mesos",
            b"",
            &CreateMode::Persistent.with_acls(Acls::anyone_all()),
        )
        .await
        .unwrap();
    let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, stale) = client
        .create("/mesos/json.info_", &info(1).to_json(), &ephemeral)
        .await
        .unwrap();
    let mut again = master(&ensemble, 1);
    let epoch = leading(&mut again.election).await;
    assert!(i128::from(epoch) > i128::from(stale.into_i64()));
    assert_eq!(client.list_children("/mesos").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_expired_leader_steps_down_only_if_another_leads() {
    let ensemble = Ensemble::start(1);
    let mut first = master(&ensemble, 1);
    let one = leading(&mut first.election).await;
    // Alone: its session ends (as by an operator's hand), and it leads again, later than before.
    expire(&ensemble, &first.zookeeper).await;
    let again = until(&mut first.election, "leads anew", |l| {
        l.epoch().is_some_and(|epoch| epoch > one)
    })
    .await
    .epoch()
    .unwrap();
    // With another: that one leads, and it follows, in the same process.
    let mut second = master(&ensemble, 2);
    following(&mut second.election).await;
    expire(&ensemble, &first.zookeeper).await;
    let two = leading(&mut second.election).await;
    assert!(two > again);
    following(&mut first.election).await;
    assert!(first.zookeeper.metrics().expirations.get() >= 1);
}

/// Ends the session of a candidate from outside, as its own client would: whoever knows a session's id can make its password.
async fn expire(ensemble: &Ensemble, zookeeper: &ZooKeeper) {
    let server = ensemble.url("");
    let server = server.strip_prefix("zk://").unwrap();
    let session = zookeeper.session().expect("there is a session").id().0;
    let closed = tokio::time::timeout(Duration::from_secs(30), async {
        // Its client may take the session back between the two requests.
        while !close_session(server, session).await.unwrap_or(false) {}
    });
    closed.await.expect("the server ends the session");
}

/// Takes up a session and closes it, in one breath: of two clients that hold a session the server drops the one that came first.
async fn close_session(server: &str, session: i64) -> std::io::Result<bool> {
    const CLOSE: i32 = -11;
    let timeout_ms = i32::try_from(SESSION.as_millis()).unwrap();
    let connect = [
        &0_i32.to_be_bytes()[..], // the protocol's version
        &0_i64.to_be_bytes(),     // the last change seen
        &timeout_ms.to_be_bytes(),
        &session.to_be_bytes(),
        &16_i32.to_be_bytes(),
        &password(session),
        &[0], // not only for reading
    ]
    .concat();
    let close = [1_i32.to_be_bytes(), CLOSE.to_be_bytes()].concat();
    let mut stream = TcpStream::connect(server).await?;
    wire::send(&mut stream, &[connect, close]).await?;
    // Version, time-out (0 if there is no such session), and more.
    let connected = wire::receive(&mut stream).await?;
    if connected.get(4..8) == Some(&[0; 4]) {
        return Ok(true);
    }
    // Number, change, and the error.
    let closed = wire::receive(&mut stream).await?;
    Ok(closed.get(12..16) == Some(&[0; 4]))
}

/// The password of a session: the first bytes of Java's generator of random numbers, seeded by the session's id.
fn password(session: i64) -> [u8; 16] {
    const SECRET: u64 = 0xB341_5C00;
    const FACTOR: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (session.cast_unsigned() ^ SECRET ^ FACTOR) & MASK;
    let mut password = [0; 16];
    for part in password.chunks_mut(4) {
        state = state.wrapping_mul(FACTOR).wrapping_add(11) & MASK;
        let number = u32::try_from(state >> 16).unwrap();
        part.copy_from_slice(&number.to_le_bytes());
    }
    password
}

// With threads besides the test's, which waits for servers without letting others work: their sessions go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_leading_server_disturbs_nobody() {
    let mut ensemble = Ensemble::start(3);
    let mut first = master(&ensemble, 1);
    let one = leading(&mut first.election).await;
    let mut second = master(&ensemble, 2);
    following(&mut second.election).await;
    let detector = Detector::zookeeper(&connect(&ensemble, "/mesos"));
    assert_eq!(detected(&detector, 1).await, one);
    let store = ZooKeeperStore::open(&first.zookeeper, "registry")
        .await
        .unwrap();
    store
        .commit(Transaction::new(one).put("a/before", ""))
        .await
        .unwrap();
    ensemble.kill_leader();
    store
        .commit(Transaction::new(one).put("a/after", ""))
        .await
        .unwrap();
    assert_eq!(store.list("a/").await.unwrap().len(), 2);
    assert_eq!(leading(&mut first.election).await, one);
    assert!(matches!(
        second.election.leadership(),
        Leadership::Following { .. }
    ));
    assert_eq!(detected(&detector, 1).await, one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_gone_for_fifteen_seconds_changes_no_leader() {
    let mut ensemble = Ensemble::start(3);
    let mut first = master(&ensemble, 1);
    let one = leading(&mut first.election).await;
    let mut second = master(&ensemble, 2);
    following(&mut second.election).await;
    let detector = Detector::zookeeper(&connect(&ensemble, "/mesos"));
    assert_eq!(detected(&detector, 1).await, one);
    let store = ZooKeeperStore::open(&first.zookeeper, "registry")
        .await
        .unwrap();
    let mut history = first.election.watch();
    history.mark_unchanged();
    ensemble.kill_all();
    let (gone, clock) = (Instant::now(), Clock::start());
    assert_eq!(
        until(&mut first.election, "is suspended", |l| matches!(
            l,
            Leadership::Suspended { .. }
        ))
        .await,
        Leadership::Suspended { epoch: one }
    );
    assert!(
        clock.now() <= SESSION,
        "suspended before another could lead"
    );
    assert_eq!(first.zookeeper.connection(), Connection::Disconnected);
    let waiting = tokio::spawn(async move {
        store
            .commit(Transaction::new(one).put("a/waited", ""))
            .await
    });
    tokio::time::sleep_until((gone + Duration::from_secs(15)).into()).await;
    assert_eq!(
        detector.leader().map(|leader| leader.epoch),
        Some(one),
        "the last known leader stays"
    );
    assert!(!waiting.is_finished(), "the write waits");
    ensemble.start_all();
    let epoch = leading(&mut first.election).await;
    waiting.await.unwrap().unwrap();
    assert_eq!(
        epoch, one,
        "the session was resumed, and with it the leadership"
    );
    assert!(matches!(
        second.election.leadership(),
        Leadership::Following { .. }
    ));
    assert_eq!(detected(&detector, 1).await, one);
}
