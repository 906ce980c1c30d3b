//! Command tasks: launches, exits, kills, updates, checks.

use tepui_model::TaskState::{
    self, Dropped, Error, Failed, Finished, Killed, Killing, Lost, Running, Starting,
};
use tepui_proto::mesos::v1::{
    CheckStatusInfo, HealthCheck, NetworkInfo, Resource, TaskGroupInfo, check_status_info,
    health_check, value,
};
use tepui_proto::tepui::v1::{ReconcileTasks, RunTaskGroup, ShutdownFramework, TaskKey};

use super::*;
use crate::{Limitation, Limited, ProbeResult};

#[test]
fn an_exit_becomes_the_state_that_mesos_gives_it() {
    let memory = Limitation {
        of: Limited::Memory,
        message: "Memory limit exceeded".to_owned(),
        resources: vec![Resource::default()],
    };
    let cases: [(Exit, TaskState, Option<Reason>, &str); 6] = [
        (
            Exit {
                status: Some(0),
                limitation: None,
            },
            Finished,
            None,
            "Command exited with status 0",
        ),
        (
            Exit {
                status: Some(3 << 8),
                limitation: None,
            },
            Failed,
            None,
            "Command exited with status 3",
        ),
        (
            Exit {
                status: Some(9),
                limitation: None,
            },
            Failed,
            None,
            "Command terminated with signal Killed",
        ),
        (
            Exit {
                status: Some(9),
                limitation: Some(memory),
            },
            Failed,
            Some(Reason::ContainerLimitationMemory),
            "Memory limit exceeded",
        ),
        (
            Exit {
                status: None,
                limitation: None,
            },
            Failed,
            Some(Reason::ExecutorTerminated),
            "the task's container is gone, and nothing tells how it ended",
        ),
        (
            Exit {
                status: Some(137 << 8),
                limitation: None,
            },
            Failed,
            None,
            "Command exited with status 137",
        ),
    ];
    for (exit, state, reason, message) in cases {
        let mut world = World::new();
        world.run(command("t"));
        world.launched(0);
        world.step(Input::Exited {
            container: world.containers[0].clone(),
            exit: exit.clone(),
        });
        let told = world.drain();
        assert_eq!(
            told.iter().map(outcome).collect::<Vec<_>>(),
            [(Starting, None), (Running, None), (state, reason)]
        );
        assert_eq!(told[2].message(), message);
        assert_eq!(told[2].limitation.is_some(), exit.limitation.is_some());
        assert!(told.iter().all(|status| status.uuid.is_some()
            && status.agent_id.is_some()
            && status.timestamp.is_some()));
        assert_eq!(world.did(), ["launch t", "forget 0", "ended t"]);
    }
}

#[test]
fn the_second_update_waits_for_the_first_to_be_acknowledged() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    assert_eq!(world.sent.len(), 1);
    let uuid = world.sent[0].2.clone();
    world.acknowledge("t", vec![1; 16].into());
    assert_eq!(world.sent.len(), 1, "another uuid acknowledges nothing");
    world.acknowledge("t", uuid.clone());
    assert_eq!(world.states(), [Starting, Running]);
    world.acknowledge("t", uuid);
    assert!(
        world.states().is_empty(),
        "an old acknowledgement changes nothing"
    );
}

#[test]
fn a_container_with_networks_of_its_own_is_told_with_them() {
    let mut world = World::new();
    world.run(command("t"));
    let networks = vec![NetworkInfo {
        name: Some("office".to_owned()),
        ..Default::default()
    }];
    world.step(Input::Networked {
        container: world.containers[0].clone(),
        networks: networks.clone(),
    });
    world.step(Input::Networked {
        container: "nobody".parse().unwrap(),
        networks: networks.clone(),
    });
    assert_eq!(world.agent.networks.len(), 1);
    world.launched(0);
    let key = crate::task::TaskKey {
        framework: "f".parse().unwrap(),
        task: "t".parse().unwrap(),
    };
    let status = world.agent.container_status(&world.containers[0], Some(42));
    assert_eq!(status.network_infos, networks);
    assert!(world.agent.task(&key).is_some());
    world.exited(0, Some(0));
    assert!(world.agent.networks.is_empty());
}

#[test]
fn updates_are_sent_again_ten_seconds_doubling_to_ten_minutes() {
    let mut world = World::new();
    world.run(command("t"));
    let mut pauses = Vec::new();
    let mut last = world.now;
    world.sent.clear();
    for _ in 0..9 {
        world.now = world.agent.next_deadline().unwrap();
        // Pings would end the stream; they come in time here.
        world.master(FromMaster::Ping(tepui_proto::tepui::v1::Ping {
            sequence: 1,
        }));
        if !world.states().is_empty() {
            pauses.push((world.now - last).as_secs());
            last = world.now;
        }
    }
    assert!(
        [10, 20, 40, 80, 160, 320].starts_with(&pauses[..pauses.len().min(6)]),
        "{pauses:?}"
    );
    assert!(pauses.len() >= 5, "{pauses:?}");
    for _ in 0..60 {
        world.now = world.agent.next_deadline().unwrap();
        world.master(FromMaster::Ping(tepui_proto::tepui::v1::Ping {
            sequence: 1,
        }));
        if !world.states().is_empty() {
            assert!((world.now - last).as_secs() <= 600);
            last = world.now;
        }
    }
}

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut world = World::new();
    world.disk = false;
    world.run(command("t"));
    assert_eq!(world.did(), ["launch t"], "the launch does not wait");
    assert!(world.states().is_empty());
    let sequence = world.agent.sequence;
    world.step(Input::Checkpointed {
        sequence: sequence - 1,
    });
    assert!(world.states().is_empty());
    world.step(Input::Checkpointed { sequence });
    assert_eq!(world.states(), [Starting]);
}

#[test]
fn a_launch_is_idempotent() {
    let mut world = World::new();
    world.run(command("t"));
    world.run(command("t"));
    assert_eq!(world.did(), ["launch t"]);
    world.launched(0);
    world.exited(0, Some(0));
    world.run(command("t"));
    assert_eq!(
        world.did(),
        ["forget 0"],
        "its terminal update is not acknowledged yet"
    );
    world.drain();
    world.run(command("t"));
    assert_eq!(world.did(), ["ended t", "launch t"]);
}

#[test]
fn kills_have_patience_and_a_second_one_can_only_shorten_it() {
    // (policy of the task, of the kill, of a second kill after 1 s) and when the container is destroyed, in seconds after the first.
    type Case = (Option<i64>, Option<i64>, Option<i64>, u64);
    let cases: [Case; 6] = [
        (None, None, None, 3),
        (Some(7), None, None, 7),
        (Some(7), Some(5), None, 5),
        (None, Some(10), Some(2), 3),
        (None, Some(4), Some(60), 4),
        (None, Some(0), None, 0),
    ];
    for (of_task, of_kill, second, expected) in cases {
        let mut world = World::new();
        world.run(TaskInfo {
            kill_policy: of_task.map(policy),
            ..command("t")
        });
        world.launched(0);
        world.did();
        world.kill("t", of_kill.map(policy));
        let began = world.now;
        let mut did = world.did();
        assert_eq!(did.remove(0), "signal 0 15");
        if let Some(second) = second {
            world.seconds(1);
            world.kill("t", Some(policy(second)));
        }
        while !did.iter().chain(&world.log).any(|line| line == "destroy 0") {
            world.now = world.agent.next_deadline().unwrap();
            world.step(Input::Tick);
        }
        assert_eq!(
            (world.now - began).as_secs(),
            expected,
            "{of_task:?} {of_kill:?} {second:?}"
        );
        world.exited(0, Some(9));
        let told: Vec<_> = world.drain().iter().map(outcome).collect();
        assert_eq!(told[told.len() - 2..], [(Killing, None), (Killed, None)]);
    }
}

#[test]
fn killing_is_told_only_to_those_who_know_it() {
    let mut world = World::new();
    world.introduce(&[]);
    world.run(command("t"));
    world.launched(0);
    world.kill("t", None);
    world.exited(0, Some(0));
    let told: Vec<_> = world.drain().iter().map(outcome).collect();
    assert_eq!(
        told,
        [(Starting, None), (Running, None), (Killed, None)],
        "killed, although it exited well"
    );
}

#[test]
fn a_kill_during_the_launch_says_so() {
    for failed in [false, true] {
        let mut world = World::new();
        world.run(command("t"));
        world.kill("t", None);
        assert_eq!(world.did(), ["launch t", "destroy 0"]);
        if failed {
            world.step(Input::LaunchFailed {
                container: world.containers[0].clone(),
                reason: "destroyed".to_owned(),
            });
        } else {
            world.launched(0);
            world.exited(0, Some(9));
        }
        let told: Vec<_> = world.drain().iter().map(outcome).collect();
        assert_eq!(
            told,
            [
                (Starting, None),
                (Killed, Some(Reason::TaskKilledDuringLaunch))
            ]
        );
    }
}

#[test]
fn what_the_agent_does_not_hold_gets_a_terminal_update() {
    for (aware, state) in [(true, Dropped), (false, Lost)] {
        let mut world = World::new();
        world.introduce(if aware {
            &[capability::Type::PartitionAware]
        } else {
            &[]
        });
        world.kill("unknown", None);
        assert_eq!(
            world.drain().iter().map(outcome).collect::<Vec<_>>(),
            [(state, Some(Reason::ExecutorTerminated))]
        );
        world.run(command("t"));
        world.drain();
        let key = |task: &str| TaskKey {
            framework_id: framework_id("f"),
            task_id: task_id(task),
        };
        world.master(FromMaster::ReconcileTasks(ReconcileTasks {
            tasks: vec![key("t"), key("gone")],
        }));
        let told = world.drain();
        assert_eq!(
            told.iter().map(outcome).collect::<Vec<_>>(),
            [(state, Some(Reason::AgentRestarted))]
        );
        assert_eq!(told[0].task_id.value, "gone");
    }
}

#[test]
fn refusals_name_their_reason() {
    let mut world = World::new();
    world.run(TaskInfo {
        command: None,
        ..command("neither")
    });
    world.run(TaskInfo {
        command: command("x").command,
        ..custom("both", "e")
    });
    let group = TaskGroupInfo {
        tasks: vec![command("g1"), command("g2")],
    };
    world.master(FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor: ExecutorInfo::default(),
        group,
        launch_executor: None,
        resource_version: None,
    })));
    let told: Vec<_> = world.drain().iter().map(outcome).collect();
    let invalid = (Error, Some(Reason::TaskInvalid));
    let group = (Error, Some(Reason::TaskGroupInvalid));
    assert_eq!(told, [invalid, invalid, group, group]);
    world.agent.config.max_tasks = 0;
    world.run(command("t"));
    assert_eq!(
        outcome(&world.drain()[0]),
        (Dropped, Some(Reason::ResourcesUnknown))
    );
    assert_eq!(
        world
            .did()
            .iter()
            .filter(|line| line.starts_with("launch"))
            .count(),
        0
    );
}

#[test]
fn a_failed_launch_fails_the_task() {
    let mut world = World::new();
    world.run(command("t"));
    world.step(Input::LaunchFailed {
        container: world.containers[0].clone(),
        reason: "no such user".to_owned(),
    });
    let told = world.drain();
    assert_eq!(
        outcome(&told[1]),
        (Failed, Some(Reason::ContainerLaunchFailed))
    );
    assert_eq!(told[1].message(), "no such user");
}

#[test]
fn a_task_may_take_only_so_long() {
    let mut world = World::new();
    world.run(TaskInfo {
        max_completion_time: Some(DurationInfo {
            nanoseconds: 5_000_000_000,
        }),
        ..command("t")
    });
    world.launched(0);
    world.did();
    world.seconds(6);
    assert_eq!(world.did(), ["signal 0 15"]);
    world.exited(0, Some(15));
    assert_eq!(
        outcome(world.drain().last().unwrap()),
        (Failed, Some(Reason::MaxCompletionTimeReached))
    );
}

#[test]
fn a_framework_that_is_removed_takes_everything_with_it() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    world.did();
    world.states();
    world.master(FromMaster::ShutdownFramework(ShutdownFramework {
        framework_id: framework_id("f"),
    }));
    assert_eq!(world.did(), ["signal 0 15"]);
    world.exited(0, Some(15));
    assert!(world.states().is_empty(), "nobody is told");
    assert!(world.agent.frameworks.is_empty() && world.agent.tasks == 0);
    assert!(world.did().contains(&"ended t".to_owned()));
}

fn healthy(code: i32) -> ProbeResult {
    ProbeResult::Found(CheckStatusInfo {
        command: Some(check_status_info::Command {
            exit_code: Some(code),
        }),
        ..Default::default()
    })
}

#[test]
fn health_is_told_when_it_changes_and_kills_after_failures_in_a_row() {
    let check = HealthCheck {
        delay_seconds: Some(0.001),
        interval_seconds: Some(1.0),
        grace_period_seconds: Some(3.0),
        consecutive_failures: Some(2),
        r#type: Some(health_check::Type::Command.into()),
        command: Some(
            CommandInfo {
                value: Some("test".to_owned()),
                ..Default::default()
            }
            .into(),
        ),
        ..Default::default()
    };
    let mut world = World::new();
    world.run(TaskInfo {
        health_check: Some(check.into()),
        ..command("t")
    });
    world.launched(0);
    world.drain();
    world.did();
    let mut look = |code: i32, probe: u64| {
        world.pass(Duration::from_millis(1));
        assert_eq!(
            world.did().first().map(String::as_str),
            Some(format!("probe {probe}").as_str())
        );
        world.step(Input::Probed {
            probe,
            result: healthy(code),
        });
        world.step(Input::Probed {
            probe,
            result: healthy(code),
        });
        let told: Vec<_> = world.drain().iter().map(|status| status.healthy).collect();
        world.pass(Duration::from_millis(999));
        told
    };
    assert_eq!(look(1, 0), [], "within its grace");
    assert_eq!(look(0, 1), [Some(true)]);
    assert_eq!(look(0, 2), []);
    assert_eq!(look(1, 3), [Some(false)]);
    assert_eq!(look(0, 4), [Some(true)]);
    assert_eq!(look(1, 5), [Some(false)]);
    assert_eq!(
        look(1, 6),
        [Some(false), Some(false)],
        "the last failure, then killing"
    );
    world.exited(0, Some(15));
    let told = world.drain();
    assert_eq!(
        (outcome(&told[0]), told[0].healthy),
        ((Killed, None), Some(false))
    );
}

#[test]
fn limits_follow_resources_and_the_tasks_own_limits() {
    let scalar = |name: &str, value: f64| Resource {
        name: name.to_owned(),
        scalar: Some(value::Scalar { value }),
        ..Default::default()
    };
    let mut task = command("t");
    task.resources = vec![
        scalar("cpus", 0.5),
        scalar("mem", 64.0),
        scalar("cpus", 0.25),
    ];
    let amount = crate::messages::amount(&task.resources);
    let plain = crate::messages::limits(amount, Some(&task));
    assert_eq!(
        (
            plain.cpus_milli,
            plain.cpus_limit_milli,
            plain.mem_bytes,
            plain.mem_limit_bytes
        ),
        (750, None, 64 << 20, 64 << 20)
    );
    task.limits.insert(
        "mem".to_owned(),
        value::Scalar {
            value: f64::INFINITY,
        },
    );
    task.limits
        .insert("cpus".to_owned(), value::Scalar { value: 2.0 });
    let limited = crate::messages::limits(amount, Some(&task));
    assert_eq!(
        (limited.cpus_limit_milli, limited.mem_limit_bytes),
        (Some(2000), u64::MAX)
    );
}
