//! Apps with persistent volumes: their instances keep their place and what they have there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeSet;

use cluster::{Agent, Behaviour, Cluster, body, delete, update, volumes};
use serde_json::json;
use tepui_marathon_core::{ApiCall, Config};
use tepui_model::resources::Name;
use tepui_proto::{
    convert::{
        operation::Conversion,
        resources::{Encoding, from_wire, one_to_wire, to_wire},
    },
    mesos::{
        TaskState,
        resource::{
            DiskInfo,
            disk_info::{Source, source},
        },
    },
};

const DB: &str = r#"{"id":"/dev/db","cmd":"serve","cpus":0.5,"mem":64,"disk":10,"role":"dev","instances":2,
    "portDefinitions":[{"port":0},{"port":0}],
    "container":{"type":"MESOS","volumes":[{"containerPath":"data","mode":"RW","persistent":{"size":100}},
        {"containerPath":"log","persistent":{"size":10}}]}}"#;

/// The volumes of the tasks that run, by task.
fn held(cluster: &Cluster, id: &str) -> BTreeSet<Vec<String>> {
    let running = cluster.running(id);
    running
        .iter()
        .map(|task| volumes(&cluster.tasks[task].info))
        .collect()
}

fn kill(id: &str, task: &str, wipe: bool) -> ApiCall {
    ApiCall::KillAppTask {
        id: id.to_owned(),
        task_id: task.to_owned(),
        scale: false,
        wipe,
        force: false,
    }
}

#[test]
fn an_instance_is_launched_on_what_is_reserved_and_made_for_it() {
    let mut cluster = Cluster::new(2);
    assert_eq!(cluster.create(DB).status, 201);
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
    let kinds: Vec<_> = cluster.agents[0]
        .conversions
        .iter()
        .map(|one| (one.before.quantities(), one.after.persistent_volumes()))
        .collect();
    assert_eq!(kinds.len(), 2, "RESERVE and CREATE");
    assert_eq!(cluster.failed_operations, 0);
    let info = &cluster.launched[0];
    let (framework, instance) = (
        "framework-1",
        info.task_id.value.trim_end_matches("._app.1"),
    );
    for resource in &info.resources {
        let reservation = &resource.reservations[0];
        let labels = &reservation.labels.as_ref().unwrap().labels;
        let labels: Vec<_> = labels
            .iter()
            .map(|one| (one.key.as_str(), one.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            labels,
            [
                ("marathon_framework_id", framework),
                ("marathon_task_id", instance)
            ]
        );
        assert_eq!(reservation.role.as_deref(), Some("dev"));
    }
    let names: Vec<_> = info.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["cpus", "mem", "disk", "ports", "disk", "disk"]);
    let volume = &volumes(info)[0];
    let app = cluster.app("/dev/db");
    let shown = app["tasks"].as_array().unwrap().iter();
    let shown: Vec<_> = shown
        .flat_map(|task| task["localVolumes"].as_array().unwrap())
        .collect();
    let shown = shown
        .iter()
        .find(|one| one["persistenceId"] == **volume)
        .unwrap();
    let uuid = volume.trim_start_matches("dev_db#data#");
    assert_eq!(
        **shown,
        json!({ "runSpecId": "/dev/db", "containerPath": "data", "uuid": uuid, "persistenceId": volume })
    );
    assert_eq!(
        [
            &app["residency"],
            &app["upgradeStrategy"],
            &app["unreachableStrategy"]
        ],
        [
            &json!({ "relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER" }),
            &json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0 }),
            &json!("disabled"),
        ]
    );
}

#[test]
fn a_task_that_ends_is_launched_again_on_the_same_volumes_also_by_a_new_leader() {
    let mut cluster = Cluster::new(2);
    cluster.create(DB);
    let (before, ports) = (
        held(&cluster, "/dev/db"),
        cluster.app("/dev/db")["tasks"][0]["ports"].clone(),
    );
    let task = cluster.app("/dev/db")["tasks"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    let id = "/dev/db".to_owned();
    assert_eq!(
        cluster.running("/dev/db").len(),
        1,
        "it waits for its delay"
    );
    cluster.fail_over();
    cluster.pass(2);
    let again = task.replace("_app.1", "_app.2");
    assert!(cluster.running("/dev/db").contains(&again));
    assert_eq!(held(&cluster, "/dev/db"), before);
    let app = cluster.app("/dev/db");
    let shown = app["tasks"].as_array().unwrap().iter();
    let shown: Vec<_> = shown.filter(|task| task["id"] == again).collect();
    assert_eq!(shown[0]["ports"], ports);
    // While its agent does not offer, it waits, and says for what.
    let at = cluster.tasks[&again].agent;
    cluster.agents[at].alive = false;
    cluster.report(&again, TaskState::TaskGone);
    cluster.pass(10);
    assert_eq!(cluster.running("/dev/db").len(), 1, "it goes nowhere else");
    let explained = body(&cluster.call(ApiCall::Explain { id }));
    let reasons = explained["reasons"].to_string();
    let reserved = format!("waits for what is reserved for it on host{at}");
    assert!(reasons.contains(&reserved), "{reasons}");
    cluster.agents[at].alive = true;
    cluster.register();
    cluster.pass(1);
    assert_eq!(held(&cluster, "/dev/db"), before);
}

#[test]
fn an_instance_for_which_too_little_is_reserved_says_so() {
    let mut cluster = Cluster::new(1);
    let mut document: serde_json::Value = serde_json::from_str(DB).unwrap();
    document["instances"] = json!(1);
    document["executorResources"] = json!({ "cpus": 0.25 });
    cluster.create(&document.to_string());
    let task = cluster.running("/dev/db")[0].clone();
    // An executor by flag: its part was not reserved.
    cluster.config.executor = "/opt/executor".to_owned();
    cluster.fail_over();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.pass(10);
    let id = || "/dev/db".to_owned();
    assert_eq!(cluster.running("/dev/db").len(), 0);
    let explained = body(&cluster.call(ApiCall::Explain { id: id() }));
    let reasons = explained["reasons"].to_string();
    let too_little = "was not launched on host0: what is reserved for it there is less";
    assert!(reasons.contains(too_little), "{reasons}");
    cluster.config.executor = Config::default().executor;
    cluster.fail_over();
    cluster.pass(10);
    assert_eq!(cluster.running("/dev/db").len(), 1);
    let explained = body(&cluster.call(ApiCall::Explain { id: id() }));
    assert!(
        !explained["reasons"]
            .to_string()
            .contains("reserved for it there")
    );
}

#[test]
fn an_instance_whose_volumes_are_gone_says_so() {
    let mut cluster = Cluster::new(1);
    cluster.create(&DB.replacen("\"instances\":2", "\"instances\":1", 1));
    cluster.pass(1);
    let task = cluster.running("/dev/db").remove(0);
    let reasons = |cluster: &mut Cluster| {
        let id = "/dev/db".to_owned();
        body(&cluster.call(ApiCall::Explain { id }))["reasons"].to_string()
    };
    // Somebody destroys them, and leaves what is reserved.
    let created = cluster.agents[0].conversions.pop().unwrap();
    assert!(!created.after.persistent_volumes().is_empty());
    cluster.report(&task, TaskState::TaskFailed);
    cluster.pass(10);
    assert_eq!(cluster.running("/dev/db").len(), 0);
    let told = reasons(&mut cluster);
    let lacks = "waits for what is reserved for it on host0: the volume data, log was not in that agent's last offer";
    assert!(told.contains(lacks), "{told}");
    // Then the rest is freed as well.
    cluster.agents[0].conversions.clear();
    cluster.offer();
    cluster.pass(1);
    let told = reasons(&mut cluster);
    assert!(
        told.contains("there was nothing of it in that agent's last offer"),
        "{told}"
    );
    // It is given up, and another takes its place.
    assert_eq!(cluster.call(kill("/dev/db", &task, true)).status, 200);
    cluster.pass(200);
    assert_eq!(cluster.running("/dev/db").len(), 1);
    assert!(!cluster.running("/dev/db").contains(&task));
}

#[test]
fn offers_from_before_an_instance_waited_say_nothing_of_it() {
    let mut cluster = Cluster::new(1);
    cluster.create(DB);
    cluster.pass(1);
    let tasks = cluster.running("/dev/db");
    // The volumes of one are gone, and offers of no use to it come while the other still runs.
    let gone = volumes(&cluster.tasks[&tasks[0]].info);
    cluster.agents[0]
        .conversions
        .retain(|one| !gone.iter().any(|id| format!("{one:?}").contains(id)));
    cluster.report(&tasks[0], TaskState::TaskFailed);
    cluster.pass(10);
    cluster.agents[0].alive = false;
    cluster.report(&tasks[1], TaskState::TaskFailed);
    cluster.pass(10);
    let id = "/dev/db".to_owned();
    let explained = body(&cluster.call(ApiCall::Explain { id }));
    let reasons = explained["reasons"].as_array().unwrap().iter();
    let of = |task: &str| {
        let instance = task.trim_end_matches("._app.1");
        let mut reasons = reasons.clone().map(|one| one.as_str().unwrap());
        reasons.find(|one| one.starts_with(instance)).unwrap()
    };
    assert!(of(&tasks[0]).contains("in that agent's last offer"));
    assert!(of(&tasks[1]).ends_with("waits for what is reserved for it on host0"));
}

#[test]
fn an_agent_that_returns_under_another_id_still_has_the_volumes() {
    let mut cluster = Cluster::new(1);
    cluster.create(&DB.replacen("\"instances\":2", "\"instances\":1", 1));
    cluster.pass(1);
    let before = held(&cluster, "/dev/db");
    let task = cluster.running("/dev/db").remove(0);
    // The same machine, as the master calls it after it had removed the agent.
    let again = Agent {
        host: cluster.agents[0].host.clone(),
        conversions: cluster.agents[0].conversions.clone(),
        ..Agent::new(0)
    };
    cluster.agents[0].alive = false;
    cluster.report(&task, TaskState::TaskGone);
    cluster.pass(1);
    assert_eq!(cluster.running("/dev/db").len(), 0);
    let made = again.conversions.len();
    cluster.agents.push(again);
    cluster.register();
    cluster.pass(2);
    assert_eq!(held(&cluster, "/dev/db"), before);
    let agent = cluster.tasks[&cluster.running("/dev/db")[0]].agent;
    assert_eq!(agent, 1);
    assert_eq!(
        cluster.agents[1].conversions.len(),
        made,
        "nothing was freed or made anew"
    );
}

#[test]
fn scaling_down_keeps_the_volumes_and_scaling_up_takes_them_again() {
    let mut cluster = Cluster::new(2);
    cluster.create(DB);
    let before = held(&cluster, "/dev/db");
    cluster.update("/dev/db", r#"{"instances":0}"#);
    cluster.pass(1);
    assert_eq!((cluster.tasks.len(), cluster.deployments()), (0, json!([])));
    assert_eq!(cluster.reserved().len(), 2);
    let tasks = cluster.app("/dev/db")["tasks"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 2, "what is kept is shown");
    assert_eq!(
        (
            &tasks[0]["startedAt"],
            &tasks[0]["localVolumes"][0]["containerPath"]
        ),
        (&json!(null), &json!("data"))
    );
    cluster.fail_over();
    cluster.pass(1);
    cluster.update("/dev/db", r#"{"instances":3}"#);
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
    let after = held(&cluster, "/dev/db");
    assert!(after.len() == 3 && before.is_subset(&after));
}

#[test]
fn an_upgrade_stops_an_instance_and_starts_it_anew_in_its_place() {
    for minimum in ["0.5", "1", "0"] {
        let mut cluster = Cluster::new(2);
        let strategy = format!(
            r#""upgradeStrategy":{{"minimumHealthCapacity":{minimum},"maximumOverCapacity":0}},"cmd""#
        );
        cluster.create(&DB.replacen("\"cmd\"", &strategy, 1));
        let before = held(&cluster, "/dev/db");
        cluster.invariant = Some(|cluster| {
            assert!(cluster.tasks.len() <= 2, "never one more");
        });
        let changed = cluster.update("/dev/db", r#"{"cmd":"second"}"#);
        assert_eq!(changed.status, 200);
        cluster.pass(2);
        assert_eq!(cluster.deployments(), json!([]), "{minimum}");
        assert_eq!(held(&cluster, "/dev/db"), before);
        let commands = cluster
            .tasks
            .values()
            .map(|task| task.info.command.as_ref().unwrap().value());
        assert_eq!(commands.collect::<Vec<_>>(), ["second", "second"]);
        assert_eq!(cluster.reserved().len(), 2);
    }
}

#[test]
fn what_is_wiped_or_deleted_is_freed() {
    let mut cluster = Cluster::new(2);
    cluster.create(DB);
    let before = held(&cluster, "/dev/db");
    let task = cluster.running("/dev/db")[0].clone();
    cluster.call(kill("/dev/db", &task, false));
    cluster.pass(1);
    assert_eq!(
        held(&cluster, "/dev/db"),
        before,
        "a kill alone changes nothing"
    );
    let task = cluster.running("/dev/db")[0].clone();
    assert_eq!(cluster.call(kill("/dev/db", &task, true)).status, 200);
    cluster.pass(1);
    let after = held(&cluster, "/dev/db");
    assert_eq!(after.intersection(&before).count(), 1);
    assert_eq!(cluster.reserved().len(), 2, "what was wiped is free");
    // One agent does not offer while the app is deleted: what is there is freed when it does, also by another leader.
    cluster.agents[0].alive = false;
    cluster.call(delete("/dev/db"));
    for task in cluster.running("/dev/db") {
        cluster.report(&task, TaskState::TaskKilled);
    }
    cluster.pass(1);
    assert!(cluster.reserved().iter().all(|(_, at)| *at == 0));
    assert!(!cluster.reserved().is_empty());
    cluster.fail_over();
    cluster.pass(1);
    cluster.agents[0].alive = true;
    cluster.offer();
    cluster.run();
    assert!(cluster.reserved().is_empty());
    cluster.pass(SETTLED);
    assert_eq!(remains(&cluster), 0);
    assert_eq!(cluster.outputs.last().map(String::as_str), Some("suppress"));
    assert_eq!(cluster.failed_operations, 0);
}

/// When a master knows for sure what became of what it was asked to do, in seconds: nothing is forgotten before.
const SETTLED: u64 = 180;

/// What is remembered of what instances have left.
fn remains(cluster: &Cluster) -> usize {
    let keys = cluster.store.keys();
    keys.filter(|key| key.starts_with("remains/")).count()
}

#[test]
fn what_was_left_is_remembered_while_another_offer_of_its_agent_has_it() {
    let mut cluster = Cluster::new(1);
    cluster.create(&DB.replacen("\"instances\":2", "\"instances\":1", 1));
    cluster.pass(1);
    cluster.agents[0].alive = false;
    cluster.call(delete("/dev/db"));
    for task in cluster.running("/dev/db") {
        cluster.report(&task, TaskState::TaskKilled);
    }
    cluster.pass(60);
    assert_eq!(remains(&cluster), 1);
    // What is done about it is lost, so it has to be known afterwards.
    cluster.agents[0].alive = true;
    cluster.lose_accepts = true;
    cluster.offer_apart();
    cluster.run();
    assert_eq!((remains(&cluster), cluster.reserved().len()), (1, 1));
    cluster.lose_accepts = false;
    cluster.fail_over();
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 0);
    cluster.pass(SETTLED);
    assert_eq!(remains(&cluster), 0);
}

#[test]
fn what_should_be_free_is_remembered_until_an_offer_made_afterwards_shows_it() {
    let mut cluster = Cluster::new(1);
    cluster.create(&DB.replacen("\"instances\":2", "\"instances\":1", 1));
    cluster.pass(1);
    cluster.agents[0].alive = false;
    cluster.call(delete("/dev/db"));
    for task in cluster.running("/dev/db") {
        cluster.report(&task, TaskState::TaskKilled);
    }
    cluster.pass(60);
    cluster.agents[0].alive = true;
    // What frees it is lost on its way; what comes then was made while the first offer was open, and cannot have it.
    cluster.lose_accepts = true;
    cluster.offer_parts(&[true]);
    cluster.run_some(1);
    cluster.offer_parts(&[false]);
    cluster.run();
    assert_eq!((remains(&cluster), cluster.reserved().len()), (1, 1));
    cluster.lose_accepts = false;
    cluster.pass(60);
    assert_eq!(cluster.reserved().len(), 0);
    cluster.pass(SETTLED);
    assert_eq!(remains(&cluster), 0);
}

#[test]
fn reservations_of_nobody_are_freed_and_those_of_others_are_left_alone() {
    let mut cluster = Cluster::new(1);
    cluster.create(DB);
    let kept = cluster.agents[0].conversions.clone();
    cluster.call(delete("/dev/db"));
    cluster.pass(30);
    assert!(cluster.reserved().is_empty());
    // The same again, as if a master had done late what was asked long ago.
    cluster.agents[0].conversions.extend(kept);
    assert_eq!(cluster.reserved().len(), 2);
    cluster.offer();
    cluster.run();
    assert!(cluster.reserved().is_empty());
    let mut other = Cluster::new(1);
    other.create(DB);
    let mut foreign = other.agents[0].conversions.clone();
    for conversion in &mut foreign {
        for side in [&mut conversion.before, &mut conversion.after] {
            let mut wire = to_wire(side, Encoding::Stack);
            let reservations = wire.iter_mut().flat_map(|one| &mut one.reservations);
            let labels = reservations.filter_map(|one| one.labels.as_mut());
            for label in labels.flat_map(|labels| &mut labels.labels) {
                if label.key == "marathon_framework_id" {
                    label.value = Some("framework-2".to_owned());
                }
            }
            *side = from_wire(&wire).unwrap();
        }
    }
    cluster.agents[0].conversions.extend(foreign);
    cluster.offer();
    cluster.run();
    assert_eq!(cluster.reserved().len(), 2);
}

#[test]
fn a_launch_that_was_lost_is_given_up_after_a_while() {
    let mut cluster = Cluster::new(1);
    cluster.lose_accepts = true;
    cluster.create(DB);
    let first: BTreeSet<String> = cluster
        .launched
        .iter()
        .map(|info| info.task_id.value.clone())
        .collect();
    cluster.pass(10);
    assert_eq!(
        cluster.launched.len(),
        2,
        "what was asked for may still come to be"
    );
    cluster.lose_accepts = false;
    cluster.pass(15);
    assert_eq!(cluster.deployments(), json!([]));
    let running = cluster.running("/dev/db");
    assert!(running.len() == 2 && running.iter().all(|task| !first.contains(task)));
    assert_eq!(cluster.reserved().len(), 2);
}

#[test]
fn a_launch_on_what_was_offered_and_never_made_is_given_up_after_a_while() {
    let mut cluster = Cluster::new(1);
    let mut document: serde_json::Value = serde_json::from_str(DB).unwrap();
    document["instances"] = json!(1);
    cluster.behaviour.insert("serve".into(), Behaviour::Hangs);
    cluster.create(&document.to_string());
    let first = cluster.launched[0].task_id.value.clone();
    // The master took it for made, and offers it; the agent could not make it, and dropped the task.
    cluster.report(&first, TaskState::TaskDropped);
    cluster.run();
    cluster.offer();
    cluster.run();
    assert_eq!(
        cluster.running("/dev/db").len(),
        0,
        "it waits for its delay"
    );
    cluster.agents[0].conversions.clear();
    cluster.behaviour.clear();
    cluster.pass(200);
    assert_eq!(cluster.deployments(), json!([]));
    let running = cluster.running("/dev/db");
    assert!(
        running.len() == 1 && !running[0].starts_with(first.trim_end_matches("1")),
        "{running:?}"
    );
}

#[test]
fn an_unreachable_instance_is_waited_for_and_one_whose_agent_is_gone_goes_elsewhere() {
    let mut cluster = Cluster::new(2);
    cluster.create(DB);
    let task = cluster.running("/dev/db")[0].clone();
    cluster.report(&task, TaskState::TaskUnreachable);
    cluster.pass(700);
    assert_eq!(cluster.running("/dev/db").len(), 1);
    cluster.update("/dev/db", r#"{"instances":1}"#);
    cluster.pass(1);
    assert_eq!(cluster.deployments(), json!([]));
    cluster.report(&task, TaskState::TaskRunning);
    cluster.pass(1);
    assert_eq!(
        cluster.running("/dev/db").len(),
        1,
        "it was stopped meanwhile"
    );
    cluster.update("/dev/db", r#"{"instances":2}"#);
    cluster.pass(1);
    let lost = cluster.running("/dev/db")[0].clone();
    let at = cluster.tasks[&lost].agent;
    cluster.agents[at].alive = false;
    cluster.report(&lost, TaskState::TaskGoneByOperator);
    cluster.pass(3);
    let again = lost.replace("_app.1", "_app.2").replace("_app.2", "_app.3");
    let running = cluster.running("/dev/db");
    let moved = running
        .iter()
        .find(|task| task.rsplit_once('.').unwrap().0 == again.rsplit_once('.').unwrap().0);
    assert_ne!(cluster.tasks[moved.unwrap()].agent, at);
}

#[test]
fn what_is_reserved_may_not_change() {
    let mut cluster = Cluster::new(1);
    cluster.create(DB);
    let again = "If you need to make this change, please create a new service.";
    for (change, path, error) in [
        (
            r#"{"cpus":1}"#,
            "/cpus",
            format!(
                "Services with persistent volumes configured may not change resource requirements. {again}"
            ),
        ),
        (
            r#"{"portDefinitions":[]}"#,
            "/",
            format!(
                "Services with persistent volumes configured may not change host ports. {again}"
            ),
        ),
        (
            r#"{"container":{"type":"MESOS"}}"#,
            "/",
            "Persistent volumes can not be changed!".to_owned(),
        ),
        (
            r#"{"role":"*"}"#,
            "/role",
            "Resident apps cannot have the role *".to_owned(),
        ),
        (
            r#"{"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1}}"#,
            "/upgradeStrategy/maximumOverCapacity",
            "got 1.0, expected 0.0".to_owned(),
        ),
    ] {
        let refused = cluster.update("/dev/db", change);
        let details = body(&refused)["details"].clone();
        let found = details
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["path"] == path);
        assert_eq!(
            found.unwrap()["errors"],
            json!([error]),
            "{change}: {details}"
        );
    }
    assert_eq!(
        cluster.update("/dev/db", r#"{"labels":{"a":"b"}}"#).status,
        200
    );
}

#[test]
fn a_volume_gets_a_disk_of_its_kind() {
    let mut cluster = Cluster::new(1);
    let disk = |kind: source::Type, root: &str, size: f64| {
        let root = Some(root.to_owned());
        let mut from = Source::default();
        from.set_type(kind);
        match kind {
            source::Type::Path => from.path = Some(source::Path { root }),
            _ => from.mount = Some(source::Mount { root }),
        }
        let disk = tepui_model::Resource::scalar(Name::Disk, size).unwrap();
        let mut wire = vec![one_to_wire(&disk, Encoding::Stack)];
        wire[0].disk = Some(Box::new(DiskInfo {
            source: Some(from),
            ..Default::default()
        }));
        from_wire(&wire).unwrap()
    };
    for more in [
        disk(source::Type::Mount, "/large", 900.0),
        disk(source::Type::Mount, "/small", 500.0),
        disk(source::Type::Path, "/fast/1", 800.0),
        disk(source::Type::Path, "/slow/1", 1000.0),
    ] {
        cluster.agents[0].conversions.push(Conversion {
            before: Default::default(),
            after: more,
        });
    }
    let document = r#"{"id":"/dev/x","cmd":"serve","cpus":0.1,"mem":1,"role":"dev","container":{"type":"MESOS","volumes":[
        {"containerPath":"a","persistent":{"type":"mount","size":400,"maxSize":600}},
        {"containerPath":"b","persistent":{"type":"path","size":100,"constraints":[["path","LIKE","/fast/.*"]]}},
        {"containerPath":"c","persistent":{"size":50}}]}}"#;
    assert_eq!(cluster.create(document).status, 201);
    cluster.pass(1);
    let info = &cluster.launched[0];
    let disks: Vec<String> = info
        .resources
        .iter()
        .filter(|one| one.name == "disk")
        .map(|one| {
            let disk = one.disk.as_ref().unwrap();
            let source = disk.source.as_ref();
            let root = source.and_then(|source| {
                let path = source.path.as_ref().and_then(|path| path.root.clone());
                path.or_else(|| source.mount.as_ref()?.root.clone())
            });
            let name = &disk.volume.as_ref().unwrap().container_path;
            format!(
                "{name} {} {}",
                one.scalar.as_ref().unwrap().value,
                root.unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(disks, ["a 500 /small", "b 100 /fast/1", "c 50 "]);
    assert_eq!(cluster.deployments(), json!([]));
    cluster.call(update("/dev/x", r#"{"instances":2}"#, false));
    cluster.pass(1);
    let id = "/dev/x".to_owned();
    let explained = body(&cluster.call(ApiCall::Explain { id }));
    assert_eq!(
        explained["lacks"][0]["what"],
        "a disk of the kind and size of a persistent volume"
    );
}
