//! Task groups, on executors of the framework's own and on those that the agent plays.

use tepui_model::TaskState::{Dropped, Failed, Killed, Lost, Running, Starting};
use tepui_proto::mesos::v1::TaskGroupInfo;
use tepui_proto::mesos::v1::executor_info::Type as ExecutorType;
use tepui_proto::tepui::v1::{RunTask, RunTaskGroup, ShutdownExecutor, ShutdownFramework};

use super::*;
use crate::{ContainerState, Limitation, Limited};

fn executor(kind: ExecutorType, name: &str) -> ExecutorInfo {
    ExecutorInfo {
        r#type: Some(kind.into()),
        executor_id: mesos::ExecutorId {
            value: name.to_owned(),
        },
        command: (kind == ExecutorType::Custom).then(|| CommandInfo {
            value: Some("run".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn group(world: &mut World, executor: ExecutorInfo, tasks: &[&str]) {
    world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor,
        group: TaskGroupInfo {
            tasks: tasks.iter().map(|name| command(name)).collect(),
        },
        launch_executor: None,
        resource_version: None,
    })));
}

pub(super) fn played(world: &mut World, name: &str, tasks: &[&str]) {
    group(world, executor(ExecutorType::Default, name), tasks);
}

/// What was told since the last look, acknowledged, by task and state.
fn told(world: &mut World) -> Vec<String> {
    world
        .drain()
        .iter()
        .map(|status| format!("{} {:?}", status.task_id.value, outcome(status).0))
        .collect()
}

fn lines<T: ToString>(lines: impl IntoIterator<Item = T>) -> Vec<String> {
    lines.into_iter().map(|line| line.to_string()).collect()
}

/// Two groups on one executor, all running.
fn two_groups() -> World {
    let mut world = World::new();
    played(&mut world, "e", &["a", "b"]);
    played(&mut world, "e", &["c"]);
    for index in 0..3 {
        world.launched(index);
    }
    world.drain();
    world.did();
    world
}

#[test]
fn each_task_of_a_played_group_has_a_container_in_its_executors() {
    let mut world = World::new();
    played(&mut world, "e", &["a", "b"]);
    played(&mut world, "e", &["a", "b"]);
    assert_eq!(world.did(), ["launch e", "launch e"], "idempotent");
    let parents: Vec<_> = world
        .containers
        .iter()
        .map(|container| container.parent().cloned())
        .collect();
    assert!(parents[0].is_some() && parents[0] == parents[1]);
    world.launched(0);
    world.launched(1);
    let statuses = world.drain();
    let states: Vec<_> = statuses.iter().map(|status| outcome(status).0).collect();
    assert_eq!(states, [Starting, Starting, Running, Running]);
    for status in &statuses {
        assert_eq!(status.executor_id.as_ref().unwrap().value, "e");
        let container = status.container_status.as_ref().unwrap();
        assert!(container.container_id.as_ref().unwrap().parent.is_some());
    }
    world.did();
    world.exited(0, Some(0));
    assert_eq!(told(&mut world), ["a Finished"]);
    assert_eq!(world.did(), ["forget 0", "ended a"]);
    world.exited(1, Some(0));
    assert_eq!(world.did()[..2], ["forget 1", "terminated e 0"]);
    assert_eq!(told(&mut world), ["b Finished"]);
    assert!(world.agent.containers.is_empty() && world.agent.nested.is_empty());
}

#[test]
fn a_group_shares_its_fate_and_others_live_on() {
    /// What happens to `a`, and what it is told to be then.
    type Case = (&'static str, fn(&mut World), TaskState);
    let cases: [Case; 3] = [
        ("exit", |world| world.exited(0, Some(1 << 8)), Failed),
        (
            "kill",
            |world| {
                world.kill("a", None);
                world.exited(0, Some(15));
            },
            Killed,
        ),
        ("signal", |world| world.exited(0, Some(9)), Failed),
    ];
    for (name, act, state) in cases {
        let mut world = two_groups();
        act(&mut world);
        let did = world.did();
        assert!(did.contains(&"signal 1 15".to_owned()), "{name}: {did:?}");
        assert!(!did.contains(&"signal 2 15".to_owned()), "{name}: {did:?}");
        world.seconds(3);
        assert_eq!(world.did(), ["destroy 1"], "{name}: patience is over");
        world.exited(1, Some(9));
        let mut told = told(&mut world);
        told.retain(|line| !line.ends_with("Killing"));
        assert_eq!(told, lines([format!("a {state:?}"), "b Killed".to_owned()]));
        world.kill("c", None);
        world.exited(2, Some(15));
        assert!(world.did().contains(&"terminated e 0".to_owned()));
        assert!(world.agent.frameworks[0].executors.is_empty());
    }
}

#[test]
fn a_launch_that_fails_or_is_killed_takes_the_group_along() {
    let mut world = World::new();
    played(&mut world, "e", &["a", "b"]);
    world.drain();
    world.did();
    world.step(Input::LaunchFailed {
        container: world.containers[0].clone(),
        reason: "no".to_owned(),
    });
    assert_eq!(world.did(), ["forget 0", "destroy 1"]);
    world.exited(1, Some(9));
    let statuses = world.drain();
    let outcomes: Vec<_> = statuses.iter().map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            (Failed, Some(Reason::ContainerLaunchFailed)),
            (Killed, Some(Reason::TaskKilledDuringLaunch))
        ]
    );
}

#[test]
fn a_group_is_one_event_for_an_executor_of_the_frameworks_own() {
    let mut world = World::new();
    let custom = || executor(ExecutorType::Custom, "e");
    group(&mut world, custom(), &["a", "b"]);
    world.run(super::custom("single", "e"));
    group(&mut world, custom(), &["x", "y"]);
    world.launched(0);
    world.kill("y", None);
    assert_eq!(told(&mut world), ["y Killed", "x Killed"]);
    world.did();
    world.subscribe("e", 1);
    assert_eq!(
        world.did(),
        [
            "event 1 SUBSCRIBED",
            "event 1 LAUNCH_GROUP",
            "event 1 LAUNCH single"
        ]
    );
    world.kill("a", None);
    assert_eq!(world.did(), ["event 1 KILL a"], "the executor's business");
}

#[test]
fn what_cannot_run_is_refused_as_a_whole() {
    let mut world = World::new();
    let mut bare = executor(ExecutorType::Custom, "e");
    bare.command = None;
    group(&mut world, bare, &["a", "b"]);
    let statuses = world.drain();
    let outcomes: Vec<_> = statuses.iter().map(outcome).collect();
    assert_eq!(
        outcomes,
        [(TaskState::Error, Some(Reason::TaskGroupInvalid)); 2]
    );
    assert!(world.containers.is_empty());
    played(&mut world, "e", &["a"]);
    world.run(custom("t", "e"));
    played(&mut world, "e", &["a", "z"]);
    let statuses = world.drain();
    let outcomes: Vec<_> = statuses[1..].iter().map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            (Dropped, Some(Reason::ExecutorTerminated)),
            (Dropped, Some(Reason::TaskGroupInvalid))
        ]
    );
}

#[test]
fn a_played_executor_ends_when_it_is_told_to() {
    let mut world = two_groups();
    world.master(FromMaster::ShutdownExecutor(ShutdownExecutor {
        framework_id: framework_id("f"),
        executor_id: mesos::ExecutorId {
            value: "e".to_owned(),
        },
    }));
    assert_eq!(world.did(), ["signal 0 15", "signal 1 15", "signal 2 15"]);
    for index in 0..3 {
        world.exited(index, Some(15));
    }
    assert_eq!(told(&mut world), ["a Killed", "b Killed", "c Killed"]);
    let mut world = two_groups();
    world.master(FromMaster::ShutdownFramework(ShutdownFramework {
        framework_id: framework_id("f"),
    }));
    for index in 0..3 {
        world.exited(index, Some(15));
    }
    assert!(world.sent.is_empty(), "nobody listens");
    assert!(world.agent.frameworks.is_empty() && world.agent.nested.is_empty());
}

#[test]
fn groups_survive_the_agent() {
    let running = ContainerState::Running { pid: Some(7) };
    let cases: [(&str, ContainerState, &[&str]); 4] = [
        ("runs on", running.clone(), &[]),
        (
            "failed in the gap",
            ContainerState::Exited(Exit {
                status: Some(1 << 8),
                limitation: None,
            }),
            &["signal 1 15"],
        ),
        (
            "finished in the gap",
            ContainerState::Exited(Exit {
                status: Some(0),
                limitation: None,
            }),
            &[],
        ),
        ("lost", ContainerState::Lost, &["signal 1 15"]),
    ];
    for (name, state, signals) in cases {
        let mut world = two_groups();
        let known = Agent::containers_of(&world.journal);
        let holder = world.containers[0].parent().cloned();
        let all: Vec<_> = holder.into_iter().chain(world.containers.clone()).collect();
        assert_eq!(known, all, "{name}: what holds what they share, too");
        if name == "runs on" {
            // The short form of the journal says the same.
            world.journal = world.agent.snapshot();
        }
        let facts = [state, running.clone(), running.clone()];
        let facts = world.containers.iter().cloned().zip(facts);
        let facts = facts
            .map(|(container, state)| ContainerFact { container, state })
            .collect();
        let mut world = world.restart(facts);
        let did = world.did();
        let mut signalled: Vec<_> = did
            .iter()
            .filter(|line| line.starts_with("signal"))
            .collect();
        // A second signal does no harm.
        signalled.dedup();
        assert_eq!(signalled, signals, "{name}");
        world.register(1);
        assert!(
            world.did()[0].contains("executors 1"),
            "{name}: the executor is told of"
        );
        for index in 0..3 {
            world.exited(index, Some(0));
        }
        let states = world.drain().len();
        assert!(states >= 3, "{name}: every task has its end");
        assert!(world.agent.nested.is_empty(), "{name}");
        assert!(world.agent.frameworks[0].executors.is_empty(), "{name}");
    }
}

#[test]
fn draining_kills_groups_too() {
    let mut world = two_groups();
    world.master(FromMaster::Drain(tepui_proto::tepui::v1::Drain {
        config: mesos::DrainConfig::default(),
    }));
    for index in 0..3 {
        world.exited(index, Some(15));
    }
    let statuses = world.drain();
    let ends: Vec<_> = statuses
        .iter()
        .map(outcome)
        .filter(|(state, _)| state.is_terminal())
        .collect();
    assert_eq!(ends, [(Killed, Some(Reason::AgentDraining)); 3]);
    assert_eq!(world.agent.drain, None);
}

#[test]
fn an_executor_that_ends_while_its_agent_registers_is_told_of_after() {
    let mut world = World::new();
    played(&mut world, "e", &["a"]);
    world.launched(0);
    told(&mut world);
    world.did();
    world.step(Input::Disconnected { stream: 1 });
    world.step(Input::Connected { stream: 2 });
    assert_eq!(
        world.did(),
        ["register id S0 tasks 1 executors 1 more false"]
    );
    world.exited(0, Some(0));
    assert_eq!(world.did()[0], "forget 0");
    world.answer_registration(2);
    assert_eq!(world.did(), ["terminated e 0"]);
    assert_eq!(told(&mut world), ["a Finished"]);
}

/// The master accounts for an executor with the launch that starts it. It hears if there is none, and starts none that it did not account for.
#[test]
fn the_master_knows_of_every_executor_that_there_is() {
    let cases = [
        // The framework is unknown: refused, so the executor that was accounted for is not there.
        ("stranger", Some(true), &["terminated e 0"][..], Lost),
        // It has ended while the launch was under way.
        ("f", Some(false), &["terminated e 0"], Dropped),
        ("f", Some(true), &["launch e"], Starting),
        ("f", None, &["launch e"], Starting),
    ];
    for (framework, launch_executor, did, state) in cases {
        let mut world = World::new();
        world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
            framework_id: framework_id(framework),
            executor: executor(ExecutorType::Default, "e"),
            group: TaskGroupInfo {
                tasks: vec![command("a")],
            },
            launch_executor,
            resource_version: None,
        })));
        assert_eq!(world.did(), did, "{framework} {launch_executor:?}");
        assert_eq!(world.sent[0].1, state, "{framework} {launch_executor:?}");
        let mut world = World::new();
        world.master(FromMaster::RunTask(RunTask {
            framework_id: framework_id(framework),
            task: custom("a", "e"),
            launch_executor,
            resource_version: None,
        }));
        assert_eq!(world.did(), did, "{framework} {launch_executor:?}");
    }
}

#[test]
fn a_group_is_on_the_networks_of_its_executor() {
    let mut world = World::new();
    let ports = |name: &str, begin: u64| {
        let mut task = command(name);
        task.resources.push(mesos::Resource {
            name: "ports".to_owned(),
            r#type: mesos::value::Type::Ranges.into(),
            ranges: Some(mesos::value::Ranges {
                range: vec![mesos::value::Range { begin, end: begin }],
            }),
            ..Default::default()
        });
        task
    };
    world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor: executor(ExecutorType::Default, "e"),
        group: TaskGroupInfo {
            tasks: vec![ports("a", 31000), ports("b", 31001)],
        },
        launch_executor: None,
        resource_version: None,
    })));
    // Either may be the first that makes the networks.
    assert_eq!(world.group_ports, vec![vec![31000, 31001]; 2]);
    let root = world.containers[0].parent().unwrap().clone();
    let networks = vec![mesos::NetworkInfo {
        name: Some("office".to_owned()),
        ..Default::default()
    }];
    world.step(Input::Networked {
        container: root,
        networks: networks.clone(),
    });
    for (index, task) in ["a", "b"].into_iter().enumerate() {
        world.launched(index);
        let statuses = world.drain();
        let running = statuses.iter().find(|status| {
            status.task_id.value == task && status.state() == mesos::TaskState::TaskRunning
        });
        let status = running.unwrap().container_status.as_ref().unwrap();
        assert_eq!(status.network_infos, networks, "{task}");
    }
    world.exited(0, Some(0));
    world.exited(1, Some(0));
    assert!(world.agent.networks.is_empty());
}

#[test]
fn networks_of_its_own_of_a_task_in_a_group_are_forgotten_with_it() {
    let mut world = World::new();
    world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor: executor(ExecutorType::Default, "e"),
        group: TaskGroupInfo {
            tasks: vec![command("a"), command("b")],
        },
        launch_executor: None,
        resource_version: None,
    })));
    let container = world.containers[0].clone();
    world.step(Input::Networked {
        container,
        networks: vec![mesos::NetworkInfo::default()],
    });
    world.launched(0);
    world.launched(1);
    assert_eq!(world.agent.networks.len(), 1);
    world.exited(0, Some(0));
    assert!(world.agent.networks.is_empty());
}

fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    }
}

/// A group whose tasks have these cpus, and cgroups of their own or not.
fn sized(world: &mut World, tasks: &[(&str, f64)], shared: Option<bool>) {
    let task = |(name, cpus): &(&str, f64)| {
        let mut task = command(name);
        task.resources = vec![scalar("cpus", *cpus), scalar("mem", 32.0)];
        task.container = shared.map(|share| {
            let linux = mesos::LinuxInfo {
                share_cgroups: Some(share),
                ..Default::default()
            };
            Box::new(mesos::ContainerInfo {
                linux_info: Some(Box::new(linux)),
                ..Default::default()
            })
        });
        task
    };
    world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor: executor(ExecutorType::Default, "e"),
        group: TaskGroupInfo {
            tasks: tasks.iter().map(task).collect(),
        },
        launch_executor: None,
        resource_version: None,
    })));
}

/// The container that holds what the tasks of the executor share.
fn holder(world: &World) -> ContainerId {
    world.containers[0].parent().unwrap().clone()
}

#[test]
fn what_tasks_share_grows_and_shrinks_with_them() {
    let mut world = World::new();
    sized(&mut world, &[("a", 1.0), ("b", 0.5)], None);
    let limits: Vec<_> = world.group_limits.iter().map(|it| it.cpus_milli).collect();
    assert_eq!(limits, [1500, 1500], "either may be the first");
    world.launched(0);
    world.launched(1);
    world.did();
    sized(&mut world, &[("c", 2.0)], Some(true));
    let holder = holder(&world);
    assert_eq!(
        world.did(),
        [
            format!("resize {holder} cpus 3500 mem 96"),
            "launch e".to_owned()
        ]
    );
    world.launched(2);
    world.kill("c", None);
    world.exited(2, Some(15));
    told(&mut world);
    world.did();
    world.seconds(2);
    assert_eq!(world.did(), [format!("resize {holder} cpus 1500 mem 64")]);
    // Tasks with cgroups of their own have nothing of that.
    let mut world = World::new();
    sized(&mut world, &[("a", 1.0)], Some(false));
    world.launched(0);
    world.did();
    sized(&mut world, &[("c", 2.0)], Some(false));
    assert_eq!(world.did(), ["launch e"]);
}

#[test]
fn all_tasks_of_an_executor_have_cgroups_of_their_own_or_none_has() {
    let mut world = World::new();
    sized(&mut world, &[("a", 1.0)], None);
    world.drain();
    world.did();
    sized(&mut world, &[("b", 1.0)], Some(false));
    let statuses = world.drain();
    assert_eq!(
        outcome(&statuses[0]),
        (TaskState::Error, Some(Reason::TaskGroupInvalid))
    );
    assert!(world.did().iter().all(|line| !line.starts_with("launch")));
    sized(&mut world, &[("c", 1.0)], Some(true));
    assert!(world.did().contains(&"launch e".to_owned()));
}

#[test]
fn the_end_of_what_holds_what_they_share_is_the_end_of_all_tasks() {
    let memory = Limitation {
        of: Limited::Memory,
        message: "too much".to_owned(),
        resources: Vec::new(),
    };
    let cases = [
        (Some(memory), Some(Reason::ContainerLimitationMemory)),
        (None, None),
    ];
    for (limitation, reason) in cases {
        for restarted in [false, true] {
            let mut world = two_groups();
            let holder = holder(&world);
            let exit = Exit {
                status: Some(9),
                limitation: limitation.clone(),
            };
            if restarted {
                let ended = Exit {
                    status: Some(9),
                    limitation: None,
                };
                let tasks = world.containers.iter().cloned();
                let facts = tasks.map(|container| ContainerFact {
                    container,
                    state: ContainerState::Exited(ended.clone()),
                });
                let of_holder = ContainerFact {
                    container: holder,
                    state: ContainerState::Exited(exit),
                };
                let facts = facts.chain([of_holder]).collect();
                world = world.restart(facts);
                world.register(1);
            } else {
                world.step(Input::Exited {
                    container: holder,
                    exit,
                });
                assert_eq!(world.did(), ["destroy 0", "destroy 1", "destroy 2"]);
                for index in 0..3 {
                    world.exited(index, Some(9));
                }
            }
            let statuses = world.drain();
            let ends: Vec<_> = statuses.iter().map(outcome).collect();
            assert_eq!(ends, [(Failed, reason); 3], "restarted: {restarted}");
            assert!(world.agent.frameworks[0].executors.is_empty());
        }
    }
}

#[test]
fn what_holds_what_they_share_is_taken_up_and_let_go() {
    let world = two_groups();
    let holder = holder(&world);
    let containers = world.containers.iter().cloned().chain([holder.clone()]);
    let facts = containers.map(|container| ContainerFact {
        container,
        state: ContainerState::Running { pid: Some(7) },
    });
    let facts = facts.collect();
    let mut world = world.restart(facts);
    world.register(1);
    let did = world.did();
    assert!(did.iter().all(|line| !line.contains("destroy")), "{did:?}");
    for index in 0..3 {
        world.exited(index, Some(0));
    }
    assert!(world.did().contains(&format!("forget {holder}")));
    // Of one that could not be started its tasks tell by themselves.
    let mut world = two_groups();
    world.step(Input::LaunchFailed {
        container: self::holder(&world),
        reason: "no".to_owned(),
    });
    assert!(world.did().is_empty() && world.sent.is_empty());
}
