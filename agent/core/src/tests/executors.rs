//! Custom executors: subscription, delivery, updates, ends.

use tepui_model::TaskState::{Dropped, Failed, Finished, Killed, Running, Staging};
use tepui_proto::mesos::v1::executor::call::Update;
use tepui_proto::mesos::v1::{Resource, value};
use tepui_proto::tepui::v1::{FrameworkMessage, ShutdownExecutor};

use super::*;

fn subscribed(tasks: &[&str]) -> World {
    let mut world = World::new();
    for task in tasks {
        world.run(custom(task, "e"));
    }
    world.launched(0);
    world.subscribe("e", 1);
    world.did();
    world
}

#[test]
fn tasks_wait_for_the_subscription_and_then_go_at_once() {
    let mut world = World::new();
    world.run(custom("a", "e"));
    world.run(custom("b", "e"));
    assert_eq!(world.did(), ["launch e"], "one container for both");
    world.launched(0);
    world.subscribe("e", 1);
    assert_eq!(
        world.did(),
        ["event 1 SUBSCRIBED", "event 1 LAUNCH a", "event 1 LAUNCH b"]
    );
    world.run(custom("c", "e"));
    assert_eq!(world.did(), ["event 1 LAUNCH c"]);
    world.master(FromMaster::FrameworkMessage(FrameworkMessage {
        framework_id: framework_id("f"),
        executor_id: mesos::ExecutorId {
            value: "e".to_owned(),
        },
        data: "hello".into(),
    }));
    world.call("e", ExecutorAction::Message("back".into()));
    assert_eq!(world.did(), ["event 1 MESSAGE", "message b\"back\""]);
}

#[test]
fn of_many_tasks_the_first_go_at_once_and_the_rest_lets_others_have_their_turn() {
    let mut world = World::new();
    let names: Vec<String> = (0..150).map(|number| format!("t{number:03}")).collect();
    for name in &names {
        world.run(custom(name, "e"));
    }
    world.launched(0);
    world.did();
    world.subscribe("e", 1);
    let launches = |did: Vec<String>| -> Vec<String> {
        let launch = |line: &String| line.strip_prefix("event 1 LAUNCH ").map(str::to_owned);
        did.iter().filter_map(launch).collect()
    };
    let mut given = launches(world.did());
    assert_eq!(given, names[..64]);
    // What comes now stays behind those that wait.
    world.run(custom("late", "e"));
    assert_eq!(launches(world.did()), Vec::<String>::new());
    // Nor does it get what is killed before its turn.
    world.kill("t140", None);
    world.now += Duration::from_micros(1);
    world.says("e", "t000", Finished, 1);
    let did = world.did();
    assert!(
        did.contains(&"event 1 ACKNOWLEDGED t000 1".to_owned()),
        "{did:?}"
    );
    given.extend(launches(did));
    assert_eq!(given, names[..128]);
    // A stream that breaks and comes back goes on where it was.
    world.call(
        "e",
        ExecutorAction::Subscribe {
            connection: 2,
            unacknowledged_tasks: names[1..128].iter().map(|name| custom(name, "e")).collect(),
            unacknowledged_updates: Vec::new(),
        },
    );
    let again = |line: &String| line.strip_prefix("event 2 LAUNCH ").map(str::to_owned);
    given.extend(world.did().iter().filter_map(again));
    world.pass(Duration::from_secs(1));
    given.extend(world.did().iter().filter_map(again));
    let mut expected = names.clone();
    expected.retain(|name| name != "t140");
    expected.push("late".to_owned());
    assert_eq!(given, expected);
}

#[test]
fn updates_are_acknowledged_when_they_are_durable_and_travel_unchanged() {
    let mut world = subscribed(&["a"]);
    world.disk = false;
    world.says("e", "a", Running, 1);
    world.says("e", "a", Running, 1);
    assert!(world.did().is_empty() && world.sent.is_empty());
    world.disk = true;
    world.step(Input::Checkpointed {
        sequence: world.agent.sequence,
    });
    assert_eq!(world.did(), ["event 1 ACKNOWLEDGED a 1"]);
    assert_eq!(world.sent[0].2, vec![1; 16]);
    world.says("e", "a", Running, 1);
    assert_eq!(
        world.did(),
        ["event 1 ACKNOWLEDGED a 1"],
        "a repetition is acknowledged again, and not sent"
    );
    world.says("e", "a", Finished, 2);
    world.says("e", "a", Failed, 3);
    let told: Vec<_> = world.drain().iter().map(outcome).collect();
    assert_eq!(
        told,
        [(Running, None), (Finished, None)],
        "the first terminal update wins"
    );
    assert_eq!(
        world.did(),
        [
            "event 1 ACKNOWLEDGED a 2",
            "event 1 ACKNOWLEDGED a 3",
            "ended a"
        ]
    );
}

#[test]
fn calls_are_checked() {
    let bad = |change: fn(&mut TaskStatus)| {
        let mut status = World::said("a", Running, 1);
        change(&mut status);
        ExecutorAction::Update(Box::new(status))
    };
    let cases: [(&str, ExecutorAction, &str); 8] = [
        (
            "nobody",
            ExecutorAction::Message(Bytes::new()),
            "Executor cannot be found",
        ),
        (
            "c",
            ExecutorAction::Message(Bytes::new()),
            "Executor cannot be found",
        ),
        (
            "e2",
            ExecutorAction::Message(Bytes::new()),
            "Executor is not subscribed",
        ),
        (
            "e",
            bad(|status| status.uuid = None),
            "Expecting 'update.status.uuid' to be present",
        ),
        (
            "e",
            bad(|status| status.uuid = Some(Bytes::from_static(b"short"))),
            "has 5 bytes, not 16",
        ),
        (
            "e",
            bad(|status| status.source = Some(Source::Agent.into())),
            "it must be SOURCE_EXECUTOR",
        ),
        (
            "e",
            bad(|status| status.state = Staging.number()),
            "may not be TASK_STAGING",
        ),
        (
            "e",
            bad(|status| {
                status.executor_id = Some(mesos::ExecutorId {
                    value: "x".to_owned(),
                })
            }),
            "but the call is of 'e'",
        ),
    ];
    for (executor, action, expected) in cases {
        let mut world = subscribed(&["a"]);
        world.run(custom("b", "e2"));
        world.run(command("c"));
        world.did();
        world.states();
        world.call(executor, action);
        let did = world.did();
        assert!(
            did.len() == 1 && did[0].contains(expected),
            "{did:?}, not {expected}"
        );
        assert!(world.states().is_empty());
    }
}

#[test]
fn too_many_updates_of_one_task_are_put_off() {
    let mut world = subscribed(&["a"]);
    world.agent.config.max_updates_per_task = 2;
    for number in 1..=3 {
        world.says("e", "a", Running, number);
    }
    let did = world.did();
    assert!(
        did.last().unwrap().contains("send this one again later"),
        "{did:?}"
    );
    let uuid = world.sent[0].2.clone();
    world.acknowledge("a", uuid);
    world.says("e", "a", Running, 3);
    assert_eq!(world.did(), ["event 1 ACKNOWLEDGED a 3"]);
}

#[test]
fn an_executor_that_does_not_subscribe_in_time_fails_its_tasks() {
    let mut world = World::new();
    world.run(custom("a", "e"));
    world.launched(0);
    world.did();
    world.seconds(61);
    assert_eq!(world.did(), ["destroy 0"]);
    world.exited(0, Some(9));
    assert_eq!(
        outcome(&world.drain()[0]),
        (Failed, Some(Reason::ExecutorRegistrationTimeout))
    );
}

#[test]
fn the_end_of_an_executor_is_the_end_of_its_tasks() {
    let mut world = subscribed(&["a", "b"]);
    world.says("e", "a", Finished, 1);
    world.drain();
    world.did();
    world.exited(0, Some(3 << 8));
    let told = world.drain();
    assert_eq!(
        told.iter().map(outcome).collect::<Vec<_>>(),
        [(Failed, Some(Reason::ExecutorTerminated))]
    );
    assert_eq!(
        (told[0].task_id.value.as_str(), told[0].message()),
        ("b", "Executor exited with status 3")
    );
    assert_eq!(
        world.did(),
        ["terminated e 768", "hang up 1", "forget 0", "ended b"]
    );
}

#[test]
fn shutdown_is_asked_for_first() {
    let shutdown = || {
        FromMaster::ShutdownExecutor(ShutdownExecutor {
            framework_id: framework_id("f"),
            executor_id: mesos::ExecutorId {
                value: "e".to_owned(),
            },
        })
    };
    let mut world = subscribed(&["a"]);
    world.master(shutdown());
    world.master(shutdown());
    assert_eq!(world.did(), ["event 1 SHUTDOWN"]);
    world.run(custom("late", "e"));
    assert_eq!(
        outcome(&world.drain()[0]),
        (Dropped, Some(Reason::ExecutorTerminated))
    );
    world.did();
    world.seconds(5);
    assert_eq!(world.did(), ["destroy 0"]);
    let mut silent = World::new();
    silent.run(custom("a", "e"));
    silent.master(shutdown());
    assert_eq!(silent.did(), ["launch e", "destroy 0"], "nobody to ask");
}

#[test]
fn kills_go_to_the_executor_or_end_what_waits_for_it() {
    let mut world = World::new();
    world.run(custom("a", "e"));
    world.launched(0);
    world.kill("a", None);
    assert_eq!(
        outcome(&world.drain()[0]),
        (Killed, Some(Reason::TaskKilledDuringLaunch))
    );
    world.did();
    world.subscribe("e", 1);
    assert_eq!(world.did(), ["event 1 SHUTDOWN"], "nothing was ever for it");

    let mut world = subscribed(&["a"]);
    world.kill("a", None);
    assert_eq!(world.did(), ["event 1 KILL a"]);
    world.step(Input::ExecutorDisconnected { connection: 1 });
    world.kill("a", None);
    assert!(world.did().is_empty());
    let held = custom("a", "e");
    world.call(
        "e",
        ExecutorAction::Subscribe {
            connection: 2,
            unacknowledged_tasks: vec![held],
            unacknowledged_updates: Vec::new(),
        },
    );
    assert_eq!(
        world.did(),
        ["event 2 SUBSCRIBED", "event 2 KILL a"],
        "it may not have heard"
    );
}

#[test]
fn a_new_subscription_replaces_the_old_and_brings_what_was_not_acknowledged() {
    let mut world = subscribed(&["a", "b", "c"]);
    world.says("e", "a", Running, 1);
    world.did();
    let updates = vec![
        Update {
            status: World::said("a", Running, 1),
        },
        Update {
            status: World::said("a", Finished, 2),
        },
    ];
    world.call(
        "e",
        ExecutorAction::Subscribe {
            connection: 2,
            unacknowledged_tasks: vec![custom("b", "e")],
            unacknowledged_updates: updates,
        },
    );
    let did = world.did();
    assert_eq!(did[..2], ["hang up 1", "event 2 SUBSCRIBED"]);
    let told: Vec<_> = world
        .drain()
        .iter()
        .map(|status| (status.task_id.value.clone(), outcome(status)))
        .collect();
    assert!(told.contains(&("a".to_owned(), (Finished, None))));
    assert!(
        told.contains(&("c".to_owned(), (Dropped, Some(Reason::AgentRestarted)))),
        "it never arrived: {told:?}"
    );
    assert!(!told.iter().any(|(task, _)| task == "b"));
    world.step(Input::ExecutorDisconnected { connection: 1 });
    world.run(custom("d", "e"));
    assert!(
        world.did().contains(&"event 2 LAUNCH d".to_owned()),
        "the old stream's end does not matter"
    );
}

#[test]
fn a_container_grows_at_once_and_shrinks_later() {
    let sized = |name: &str| TaskInfo {
        resources: vec![Resource {
            name: "cpus".to_owned(),
            scalar: Some(value::Scalar { value: 1.0 }),
            ..Default::default()
        }],
        ..custom(name, "e")
    };
    let mut world = World::new();
    world.run(sized("a"));
    world.launched(0);
    world.subscribe("e", 1);
    world.did();
    world.run(sized("b"));
    assert_eq!(
        world.did(),
        ["resize 0 cpus 2000 mem 0", "event 1 LAUNCH b"]
    );
    world.says("e", "a", Finished, 1);
    world.run(sized("c"));
    assert!(
        !world.did().iter().any(|line| line.starts_with("resize")),
        "what one leaves the next takes"
    );
    world.says("e", "b", Finished, 2);
    world.seconds(2);
    assert!(world.did().contains(&"resize 0 cpus 1000 mem 0".to_owned()));
}

/// What the kernel does not keep (disk) the shell measures: whatever the executor runs ends for it, once.
#[test]
fn a_limit_that_the_shell_keeps_ends_the_executor_and_is_named() {
    let too_much = || crate::Limitation {
        of: crate::Limited::Disk,
        message: "Disk usage (65MB) exceeds quota (64MB)".to_owned(),
        resources: Vec::new(),
    };
    type Start = fn(&mut World);
    let command_task: Start = |world| world.run(command("t"));
    let of_the_framework: Start = |world| {
        world.run(custom("t", "t"));
        world.subscribe("t", 1);
    };
    let group: Start = |world| groups::played(world, "t", &["t", "u"]);
    for (start, containers) in [(command_task, 1), (of_the_framework, 1), (group, 2)] {
        let mut world = World::new();
        start(&mut world);
        for container in 0..containers {
            world.launched(container);
        }
        world.drain();
        world.did();
        let framework = FrameworkId::new("f").unwrap();
        let executor = ExecutorId::new("t").unwrap();
        let own = world.agent.executor(&framework, &executor).unwrap();
        let container = own.container.clone();
        for _ in 0..2 {
            world.step(Input::Exceeded {
                container: container.clone(),
                limitation: too_much(),
            });
        }
        let destroyed: Vec<String> = (0..containers).map(|at| format!("destroy {at}")).collect();
        assert_eq!(world.did(), destroyed);
        for container in 0..containers {
            world.exited(container, Some(9));
        }
        let told = world.drain();
        let ends: Vec<_> = told
            .iter()
            .filter(|status| TaskState::from_number(status.state).unwrap().is_terminal())
            .collect();
        assert_eq!(ends.len(), containers);
        for end in ends {
            let expected = (Failed, Some(Reason::ContainerLimitationDisk));
            assert_eq!(outcome(end), expected);
            assert_eq!(end.message(), "Disk usage (65MB) exceeds quota (64MB)");
            assert!(end.limitation.is_some());
        }
    }
    let mut world = World::new();
    world.step(Input::Exceeded {
        container: "nobody".parse().unwrap(),
        limitation: too_much(),
    });
    assert_eq!(world.did(), [""; 0]);
}
