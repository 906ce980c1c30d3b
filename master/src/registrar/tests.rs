//! What was written is read again: every kind of entry, also those of older versions, and many of them in little time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prost::Message;
use tepui_coordination::store::MemoryStore;
use tepui_coordination::{SharedStore, Transaction};
use tepui_master_core::{
    AdmittedAgent, Drain, Maintenance, Quota, Registry, RegistryOperation, UnreachableAgent,
};
use tepui_model::resources::{Name, Scalar};
use tepui_model::{Quantities, Role, Time};
use tepui_proto::mesos::{self, maintenance};
use tepui_tests::clock::Clock;
use tokio::sync::mpsc;

use super::{entries, recover};
use crate::driver::{Inbox, Notice, Write};
use crate::metrics::Metrics;

const TIMEOUT: Duration = Duration::from_secs(60);

fn agent(id: &str) -> AdmittedAgent {
    AdmittedAgent {
        info: mesos::AgentInfo {
            hostname: format!("{id}.example.org"),
            port: Some(5051),
            id: Some(mesos::AgentId {
                value: id.to_owned(),
            }),
            resources: ["cpus", "mem", "disk"].map(scalar).to_vec(),
            ..mesos::AgentInfo::default()
        },
        ..AdmittedAgent::default()
    }
}

fn scalar(name: &str) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        scalar: Some(mesos::value::Scalar { value: 32.0 }),
        ..mesos::Resource::default()
    }
}

fn drain(drained: bool) -> Option<Drain> {
    Some(Drain {
        config: mesos::DrainConfig {
            max_grace_period: Some(Duration::from_secs(30).into()),
            mark_gone: Some(true),
        },
        drained,
        since: Time::from_secs(77),
    })
}

fn unreachable(id: &str) -> UnreachableAgent {
    UnreachableAgent {
        id: id.parse().unwrap(),
        since: Time::from_secs(5),
        hostname: "host".into(),
        deactivated: false,
        drain: None,
    }
}

fn quota() -> Quota {
    Quota {
        guarantees: Quantities::new().with(&Name::Cpus, Scalar::from_f64(1.5).unwrap()),
        limits: vec![
            (Name::from("bandwidth"), Scalar::ZERO),
            (Name::Cpus, Scalar::from_f64(2.0).unwrap()),
        ],
    }
}

fn schedule() -> Maintenance {
    let machine = |name: &str| mesos::MachineId {
        hostname: Some(name.to_owned()),
        ip: Some("10.0.0.1".to_owned()),
    };
    let window = maintenance::Window {
        machine_ids: vec![machine("a"), machine("b")],
        unavailability: mesos::Unavailability {
            start: Time::from_secs(9).into(),
            duration: Some(Duration::from_secs(60).into()),
        },
    };
    Maintenance {
        schedule: maintenance::Schedule {
            windows: vec![window],
        },
        down: vec![machine("b")],
    }
}

/// Through `run`, each as a write of its own. Returns how long it took until the last one was answered.
async fn write(store: &SharedStore, operations: Vec<RegistryOperation>) -> Duration {
    let (inbox, mut inlet) = Inbox::new(1 << 20);
    let (writes, taken) = mpsc::unbounded_channel();
    let registrar = super::run(
        Arc::clone(store),
        Arc::new(AtomicU64::new(1)),
        TIMEOUT,
        taken,
        inbox,
        Arc::new(Metrics::default()),
    );
    let registrar = tokio::spawn(registrar);
    let clock = Clock::start();
    let count = operations.len() as u64;
    for (sequence, operation) in (0..).zip(operations) {
        let operations = vec![operation];
        let sent = writes.send(Write {
            sequence,
            operations,
        });
        assert!(sent.is_ok());
    }
    drop(writes);
    for expected in 0..count {
        match inlet.notices.recv().await {
            Some(Notice::Stored(sequence, result)) => {
                assert_eq!((sequence, result), (expected, Ok(())));
            }
            _ => panic!("write {expected} was not answered"),
        }
    }
    registrar.await.unwrap();
    clock.now()
}

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn every_kind_of_entry_comes_back() {
    use RegistryOperation as Op;
    let admit = |agent| Op::Admit(Box::new(agent));
    let lost = |agent| Op::MarkUnreachable(Box::new(agent));
    let role = |name: &str| Role::new(name).unwrap();
    let id = |name: &str| name.parse().unwrap();
    let rows: Vec<(&str, Vec<Op>)> = vec![
        ("a new agent", vec![Op::AdmitNew(Box::new(agent("S1")))]),
        ("an agent", vec![admit(agent("S1"))]),
        (
            "orders",
            vec![
                admit(AdmittedAgent {
                    deactivated: true,
                    ..agent("S1")
                }),
                admit(AdmittedAgent {
                    deactivated: true,
                    drain: drain(false),
                    ..agent("S2")
                }),
                admit(AdmittedAgent {
                    deactivated: true,
                    drain: drain(true),
                    ..agent("S3")
                }),
            ],
        ),
        (
            "replaced",
            vec![
                admit(agent("S1")),
                admit(AdmittedAgent {
                    deactivated: true,
                    ..agent("S1")
                }),
            ],
        ),
        (
            "out of reach",
            vec![admit(agent("S1")), lost(unreachable("S1"))],
        ),
        (
            "out of reach, with orders",
            vec![lost(UnreachableAgent {
                deactivated: true,
                drain: drain(false),
                ..unreachable("S1")
            })],
        ),
        ("back", vec![lost(unreachable("S1")), admit(agent("S1"))]),
        (
            "not gone, whatever a write did whose answer was lost",
            vec![
                Op::MarkGone {
                    agent: id("S1"),
                    at: Time::from_secs(8),
                },
                admit(agent("S1")),
                Op::MarkGone {
                    agent: id("S2"),
                    at: Time::from_secs(8),
                },
                lost(unreachable("S2")),
            ],
        ),
        (
            "gone",
            vec![
                admit(agent("S1")),
                Op::MarkGone {
                    agent: id("S1"),
                    at: Time::from_secs(8),
                },
            ],
        ),
        (
            "removed",
            vec![admit(agent("S1")), Op::Remove { agent: id("S1") }],
        ),
        (
            "pruned",
            vec![
                lost(unreachable("S1")),
                lost(unreachable("S2")),
                Op::MarkGone {
                    agent: id("S3"),
                    at: Time::from_secs(8),
                },
                Op::Prune {
                    agents: vec![id("S1"), id("S3")],
                },
            ],
        ),
        (
            "weights",
            vec![
                Op::SetWeight {
                    role: role("a"),
                    weight: 2.5,
                },
                Op::SetWeight {
                    role: role("a/b-c/d"),
                    weight: 0.1,
                },
                Op::SetWeight {
                    role: role("a"),
                    weight: 3.0,
                },
            ],
        ),
        (
            "quotas",
            vec![
                Op::SetQuota {
                    role: role("*"),
                    quota: quota(),
                },
                Op::SetQuota {
                    role: role("b"),
                    quota: quota(),
                },
                Op::SetQuota {
                    role: role("b"),
                    quota: Quota::default(),
                },
            ],
        ),
        (
            "maintenance",
            vec![Op::SetMaintenance(Box::new(schedule()))],
        ),
        (
            "no maintenance",
            vec![
                Op::SetMaintenance(Box::new(schedule())),
                Op::SetMaintenance(Box::default()),
            ],
        ),
    ];
    for (what, operations) in rows {
        let store = memory();
        let mut expected = Registry::default();
        for operation in operations.clone() {
            expected.apply(operation);
        }
        write(&store, operations).await;
        let found = recover(&store, 2, TIMEOUT, &Metrics::default())
            .await
            .unwrap();
        assert_eq!(found, expected, "{what}");
    }
}

#[tokio::test]
async fn entries_of_the_older_format_are_read() {
    /// As the first version wrote it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Older {
        #[prost(message, optional, tag = "1")]
        info: Option<mesos::AgentInfo>,
        #[prost(bool, tag = "2")]
        deactivated: bool,
    }
    let store = memory();
    let older = Older {
        info: Some(agent("S1").info),
        deactivated: true,
    };
    let entries = Transaction::new(1)
        .put("agents/S1", older.encode_to_vec())
        .put("unreachable/S2", "5000000000")
        .put("gone/S3", "6000000000")
        .put(
            "capabilities/later",
            "what a newer version keeps is left alone",
        );
    store.commit(entries).await.unwrap();
    let found = recover(&store, 2, TIMEOUT, &Metrics::default())
        .await
        .unwrap();
    let expected = Registry {
        agents: vec![AdmittedAgent {
            deactivated: true,
            ..agent("S1")
        }],
        unreachable: vec![UnreachableAgent {
            hostname: "".into(),
            ..unreachable("S2")
        }],
        gone: vec![("S3".parse().unwrap(), Time::from_secs(6))],
        ..Registry::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_understood_is_said() {
    let no_weight = mesos::WeightInfo::default().encode_to_vec();
    let rows: [(&str, Vec<u8>, &str); 8] = [
        ("agents/S1", vec![0xff], ""),
        ("agents/S1", vec![], "it names no agent"),
        (
            "unreachable/S1",
            b"5x".to_vec(),
            "invalid digit found in string",
        ),
        ("unreachable/S1", vec![], "it does not say since when"),
        ("gone/S1", b"soon".to_vec(), "invalid digit found in string"),
        ("weights/a", no_weight, "0 is no weight"),
        ("quotas/-a", vec![], ""),
        ("maintenance/current", vec![0xff], ""),
    ];
    for (key, value, expected) in rows {
        let mut registry = Registry::default();
        let why = entries::read(&mut registry, key, value.into()).unwrap_err();
        assert!(why.contains(expected) && !why.is_empty(), "{key}: {why}");
        assert_eq!(registry, Registry::default(), "{key}");
    }
}

/// 50,000 agents are admitted, and read by a new leader. Returns both times.
async fn many(store: &SharedStore) -> (Duration, Duration) {
    const AGENTS: u32 = 50_000;
    let admit = |n| {
        let id = format!("6a1d4b1e-0f3f-4a62-9b34-2f6b8bb0d2a1-S{n}");
        RegistryOperation::AdmitNew(Box::new(agent(&id)))
    };
    let written = write(store, (0..AGENTS).map(admit).collect()).await;
    let clock = Clock::start();
    let found = recover(store, 2, TIMEOUT, &Metrics::default())
        .await
        .unwrap();
    assert_eq!(found.agents.len(), 50_000);
    (written, clock.now())
}

#[tokio::test]
async fn fifty_thousand_agents_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let store: SharedStore =
        Arc::new(tepui_coordination::store::EmbeddedStore::open(path).unwrap());
    let (written, read) = many(&store).await;
    println!("embedded: admitted in {written:?}, read in {read:?}");
    assert!(written < Duration::from_secs(60), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_agents_on_zookeeper() {
    use tepui_coordination::{ZooKeeper, ZooKeeperOptions, ZooKeeperStore};
    let ensemble = tepui_tests::zookeeper::Ensemble::start(1);
    let url = ensemble.url("/mesos").parse().unwrap();
    let zookeeper = ZooKeeper::connect(url, ZooKeeperOptions::default());
    let store = ZooKeeperStore::open(&zookeeper, "master").await.unwrap();
    let store: SharedStore = Arc::new(store);
    let (written, read) = many(&store).await;
    println!("ZooKeeper: admitted in {written:?}, read in {read:?}");
    assert!(written < Duration::from_secs(120), "{written:?}");
}
