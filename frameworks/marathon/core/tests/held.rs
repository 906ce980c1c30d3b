//! After a restore: what the backup does not know is left alone until an operator says otherwise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeMap;

use bytes::Bytes;
use cluster::{Cluster, body, delete};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Mutation, Record, ReplacedByRestore, Timestamp, is_of_place};
use tepui_proto::mesos::TaskState;

const DB: &str = r#"{"id":"/dev/db","cmd":"serve","cpus":0.5,"mem":64,"disk":10,"role":"dev","instances":2,
    "portDefinitions":[{"port":0}],
    "container":{"type":"MESOS","volumes":[{"containerPath":"data","mode":"RW","persistent":{"size":100}}]}}"#;

type Backup = BTreeMap<String, Bytes>;

fn backup(cluster: &Cluster) -> Backup {
    let mut backup = cluster.store.clone();
    backup.retain(|key, _| !is_of_place(key));
    backup
}

/// Puts a backup in the place of what is stored, and starts another leader on it, which hears of all tasks that run.
fn restore(cluster: &mut Cluster, backup: Backup) {
    let replaced: Vec<Record> = std::mem::replace(&mut cluster.store, backup)
        .into_iter()
        .map(|(key, value)| Record { key, value })
        .collect();
    let at = Timestamp::from_time(cluster.now);
    let mut known = ReplacedByRestore::default();
    replaced.iter().for_each(|record| known.note(record));
    let Mutation::Put { key, value } = known.hold(at) else {
        panic!("a restore leaves a record");
    };
    assert!(is_of_place(&key));
    cluster.store.insert(key, value);
    take_over(cluster);
}

fn take_over(cluster: &mut Cluster) {
    cluster.fail_over();
    cluster.run();
    let tasks: Vec<String> = cluster.tasks.keys().cloned().collect();
    for task in tasks {
        cluster.report(&task, TaskState::TaskRunning);
    }
    cluster.pass(1);
}

fn held(cluster: &mut Cluster) -> Value {
    body(&cluster.call(ApiCall::Held))
}

fn free(cluster: &mut Cluster, order: &Value) -> (u16, Value) {
    let body_of = order.to_string().into();
    let answer = cluster.call(ApiCall::FreeHeld { body: body_of });
    (answer.status, body(&answer))
}

fn ids(list: &Value) -> Vec<String> {
    let held = list["held"].as_array().unwrap().iter();
    held.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn volumes_made_after_the_backup_stay_until_they_are_freed() {
    let mut cluster = Cluster::new(2);
    let old = backup(&cluster);
    assert_eq!(held(&mut cluster)["restoredAt"], json!(null));
    assert_eq!(free(&mut cluster, &json!({"all": true})).0, 409);
    cluster.create(DB);
    cluster.pass(1);
    assert_eq!(cluster.reserved().len(), 2);

    cluster.revived.clear();
    restore(&mut cluster, old);
    assert!(cluster.revived.contains("dev"), "what was replaced had it");
    assert_eq!(
        cluster.running("/dev/db").len(),
        0,
        "nobody knows its tasks"
    );
    for _ in 0..2 {
        cluster.pass(120);
        cluster.offer();
        cluster.run();
        assert_eq!(cluster.reserved().len(), 2, "nothing was freed");
        let list = held(&mut cluster);
        assert_eq!(
            (list["complete"].clone(), ids(&list).len()),
            (json!(true), 2)
        );
        let one = &list["held"][0];
        assert_eq!(
            (&one["role"], &one["volumes"][0]["sizeMib"]),
            (&json!("dev"), &json!(100.0))
        );
        assert_eq!(one["volumes"][0]["containerPath"], json!("data"));
        assert_eq!(
            (&one["resources"]["cpus"], &one["resources"]["disk"]),
            (&json!(0.5), &json!(110.0))
        );
        assert_eq!(one["labels"]["marathon_task_id"], one["id"]);
        assert_eq!(cluster.view.held().unwrap().reservations, 2);
        // So it is for the next leader too.
        take_over(&mut cluster);
        cluster.offer();
        cluster.run();
    }

    let first = ids(&held(&mut cluster))[0].clone();
    assert_eq!(free(&mut cluster, &json!({})).0, 422);
    assert_eq!(free(&mut cluster, &json!({"everything": true})).0, 422);
    assert_eq!(free(&mut cluster, &json!({"ids": ["x.instance-y"]})).0, 404);
    assert_eq!(
        free(&mut cluster, &json!({"ids": [first], "end": true})).0,
        409,
        "another is held"
    );
    assert_eq!(
        cluster.reserved().len(),
        2,
        "what was refused changed nothing"
    );
    let (status, answer) = free(&mut cluster, &json!({"ids": [first]}));
    assert_eq!((status, &answer["freed"]), (200, &json!([first])));
    // Whoever leads then frees it, also if the one who was told does not come to it.
    take_over(&mut cluster);
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 1);
    assert!(cluster.reserved().iter().all(|(id, _)| *id != first));

    let (status, answer) = free(&mut cluster, &json!({"all": true, "end": true}));
    assert_eq!((status, answer["restoredAt"].clone()), (200, json!(null)));
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 0);
    // A master knows for sure by then.
    cluster.pass(120);
    assert!(
        !cluster
            .store
            .keys()
            .any(|key| is_of_place(key) || key.starts_with("remains/"))
    );
    assert_eq!(cluster.view.held(), None);
    assert_eq!(cluster.outputs.last().map(String::as_str), Some("suppress"));
    assert_eq!(cluster.failed_operations, 0);
}

/// An app with a volume is deleted while its agent is away: what is there remains to be freed.
fn leave_something(cluster: &mut Cluster) {
    cluster.create(&DB.replace("\"instances\":2", "\"instances\":1"));
    cluster.pass(1);
    cluster.agents[0].alive = false;
    cluster.call(delete("/dev/db"));
    for task in cluster.running("/dev/db") {
        cluster.report(&task, TaskState::TaskKilled);
    }
    cluster.pass(1);
}

#[test]
fn what_the_backup_knows_as_left_is_freed_while_the_rest_is_held() {
    let mut cluster = Cluster::new(1);
    leave_something(&mut cluster);
    let old = backup(&cluster);
    assert!(old.keys().any(|key| key.starts_with("remains/")));
    cluster.agents[0].alive = true;
    cluster.lose_accepts = true;
    restore(&mut cluster, old);
    cluster.lose_accepts = false;
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 0);
    assert_eq!(ids(&held(&mut cluster)).len(), 0);
    assert_eq!(free(&mut cluster, &json!({"end": true})).0, 200);
}

#[test]
fn an_instance_that_waited_when_the_backup_was_made_does_not_mix_with_what_it_got_since() {
    let mut cluster = Cluster::new(1);
    cluster.agents[0].alive = false;
    cluster.create(&DB.replace("\"instances\":2", "\"instances\":1"));
    cluster.pass(1);
    let old = backup(&cluster);
    cluster.agents[0].alive = true;
    cluster.offer();
    cluster.pass(1);
    let before = cluster.reserved();
    assert_eq!(before.len(), 1);

    restore(&mut cluster, old);
    cluster.pass(30);
    cluster.offer();
    cluster.pass(1);
    assert_eq!(cluster.running("/dev/db").len(), 1);
    let after = cluster.reserved();
    assert_eq!(after.len(), 2, "the old one is there beside the new one");
    assert!(after.is_superset(&before));
    let list = held(&mut cluster);
    assert_eq!(ids(&list), [before.first().unwrap().0.clone()]);
    // What is wiped now is only what is known.
    cluster.call(delete("/dev/db"));
    cluster.pass(60);
    assert_eq!(cluster.reserved(), before);
}

#[test]
fn what_was_given_up_because_its_agent_came_late_is_held() {
    let mut cluster = Cluster::new(1);
    cluster.send(ApiCall::CreateApp {
        body: DB.replace("\"instances\":2", "\"instances\":1").into(),
        force: false,
        origin: tepui_marathon_core::Origin::default(),
    });
    // Launched, and nothing was seen of its reservation yet.
    let unseen = |cluster: &Cluster| {
        let mut records = cluster.store.iter();
        records.any(|(key, value)| {
            key.starts_with("instance/")
                && String::from_utf8_lossy(value).contains(r#""confirmed":false"#)
        })
    };
    while !unseen(&cluster) {
        cluster.run_some(1);
        if cluster.launched.is_empty() {
            cluster.offer();
        }
    }
    let old = backup(&cluster);
    cluster.pass(1);
    let task = cluster.running("/dev/db")[0].clone();
    let before = cluster.reserved();
    cluster.agents[0].alive = false;
    cluster.tasks.clear();
    restore(&mut cluster, old);
    cluster.report(&task, TaskState::TaskLost);
    cluster.pass(120);
    cluster.agents[0].alive = true;
    cluster.offer();
    cluster.pass(60);
    assert!(
        cluster.reserved().is_superset(&before),
        "{:?}",
        cluster.reserved()
    );
    assert_eq!(
        ids(&held(&mut cluster)),
        [before.first().unwrap().0.clone()]
    );
    assert_eq!(cluster.running("/dev/db").len(), 1, "another has its place");
}

#[test]
fn roles_of_what_was_replaced_outlive_a_second_restore() {
    let mut cluster = Cluster::new(2);
    let old = backup(&cluster);
    cluster.create(DB);
    cluster.pass(1);
    restore(&mut cluster, old.clone());
    // No app and no instance is of this role any more; only what the first restore has left says it.
    cluster.revived.clear();
    restore(&mut cluster, old);
    assert!(cluster.revived.contains("dev"), "{:?}", cluster.revived);
    cluster.offer();
    cluster.run();
    assert_eq!(ids(&held(&mut cluster)).len(), 2);
    assert_eq!(cluster.reserved().len(), 2, "nothing was freed");
}

#[test]
fn what_was_left_and_not_freed_when_it_was_replaced_is_held() {
    let mut cluster = Cluster::new(1);
    let old = backup(&cluster);
    leave_something(&mut cluster);
    let of_dev = |prefix: &str| cluster.store.keys().any(|key| key.starts_with(prefix));
    assert!(of_dev("remains/") && !of_dev("app/") && !of_dev("instance/"));
    cluster.revived.clear();
    restore(&mut cluster, old);
    assert!(cluster.revived.contains("dev"), "{:?}", cluster.revived);
    cluster.agents[0].alive = true;
    cluster.offer();
    cluster.run();
    assert_eq!(ids(&held(&mut cluster)).len(), 1);
    assert_eq!(cluster.reserved().len(), 1, "nothing was freed");
}

#[test]
fn after_a_restore_into_an_empty_store_offers_are_asked_for_in_every_role_that_the_backup_knows_of()
{
    let mut cluster = Cluster::new(2);
    cluster.create(&DB.replace("/dev/db", "/dev/old"));
    cluster.pass(1);
    // Another role than it has now; a group that gives its own to what will be in it; and none of that is an app's any more.
    let answer = cluster.call(ApiCall::CreateGroup {
        base: "/".to_owned(),
        body: r#"{"id":"/ops","enforceRole":true}"#.into(),
        force: false,
    });
    assert_eq!(answer.status, 201, "{}", body(&answer));
    cluster.call(delete("/dev/old"));
    cluster.pass(5);
    let old = backup(&cluster);
    cluster.store.clear();
    cluster.revived.clear();
    restore(&mut cluster, old);
    cluster.pass(5);
    for role in ["dev", "ops"] {
        assert!(
            cluster.revived.contains(role),
            "{role}: {:?}",
            cluster.revived
        );
    }
}
