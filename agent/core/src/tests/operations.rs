//! Operations on the agent's own resources.

use tepui_proto::mesos::v1::offer::Operation;
use tepui_proto::mesos::v1::{Resource, TaskGroupInfo};
use tepui_proto::tepui::v1::{
    AcknowledgeOperation, ApplyOperation, OperationUpdate, Ping, RunTaskGroup, ShutdownFramework,
};

use super::*;
use crate::Volumes;

fn resource(text: &str) -> Resource {
    tepui_proto::json::from_slice(text.as_bytes()).unwrap()
}

fn cpus(amount: u32, reservations: &str) -> String {
    format!(
        r#"{{"name":"cpus","type":"SCALAR","scalar":{{"value":{amount}}},"reservations":[{reservations}]}}"#
    )
}

const ENG: &str = r#"{"type":"DYNAMIC","role":"eng"}"#;

fn disk(amount: u32, disk: &str) -> String {
    format!(
        r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":{amount}}},"reservations":[{ENG}]{disk}}}"#
    )
}

fn volume(amount: u32, id: &str) -> String {
    disk(
        amount,
        &format!(
            r#","disk":{{"persistence":{{"id":"{id}"}},"volume":{{"container_path":"data","mode":"RW"}}}}"#
        ),
    )
}

fn id(id: &str) -> String {
    if id.is_empty() {
        String::new()
    } else {
        format!(r#""id":{{"value":"{id}"}},"#)
    }
}

fn reserve(name: &str, what: &str) -> String {
    format!(
        r#"{{{}"type":"RESERVE","reserve":{{"resources":[{what}]}}}}"#,
        id(name)
    )
}

fn create(name: &str, what: &str) -> String {
    format!(
        r#"{{{}"type":"CREATE","create":{{"volumes":[{what}]}}}}"#,
        id(name)
    )
}

fn destroy(name: &str, what: &str) -> String {
    format!(
        r#"{{{}"type":"DESTROY","destroy":{{"volumes":[{what}]}}}}"#,
        id(name)
    )
}

/// A world with something to reserve, and what its master has heard of operations.
struct Scene {
    world: World,
    facts: Vec<ContainerFact>,
}

impl Scene {
    fn new() -> Self {
        let mut config = config();
        config.info.resources = vec![
            resource(&cpus(4, "")),
            resource(r#"{"name":"disk","type":"SCALAR","scalar":{"value":100}}"#),
        ];
        let mut world = World::unregistered(Agent::new(config, Time::from_secs(1000)));
        world.register(1);
        world.introduce(&[capability::Type::PartitionAware]);
        world.did();
        Self {
            world,
            facts: Vec::new(),
        }
    }

    fn version(&self) -> Bytes {
        self.world.agent.operations.version.clone()
    }

    fn apply_to(&mut self, version: Bytes, uuid: u8, text: &str) {
        let info: Operation = tepui_proto::json::from_slice(text.as_bytes()).unwrap();
        self.world
            .master(FromMaster::ApplyOperation(Box::new(ApplyOperation {
                framework_id: Some(framework_id("f")),
                info,
                operation_uuid: mesos::Uuid {
                    value: vec![uuid; 16].into(),
                },
                resource_version: Some(version),
            })));
    }

    fn apply(&mut self, uuid: u8, text: &str) {
        self.apply_to(self.version(), uuid, text);
    }

    fn total(&self) -> String {
        self.world.agent.total.to_string()
    }

    /// What the master has heard about operations since the last look, a line each.
    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.operations)
            .into_iter()
            .map(|heard| match heard {
                Heard::Changed => "total".to_owned(),
                Heard::Update(update) => format!(
                    "{} {}{}",
                    update.operation_uuid.value[0],
                    update.status.state().as_str_name(),
                    if update.status.uuid.is_some() {
                        " to be acknowledged"
                    } else {
                        ""
                    }
                ),
            })
            .collect()
    }

    fn acknowledge_operation(&mut self, update: &OperationUpdate) {
        self.world
            .master(FromMaster::AcknowledgeOperation(AcknowledgeOperation {
                operation_uuid: update.operation_uuid.clone(),
                status_uuid: update.status.uuid.clone().unwrap().value,
            }));
    }

    /// The next life, registered again.
    fn restart(mut self) -> Self {
        let config = self.world.agent.config.clone();
        let next = self.world.life + 1;
        let mut out = Vec::new();
        let agent = Agent::recover(
            Config {
                incarnation: [next; 16],
                ..config
            },
            std::mem::take(&mut self.world.journal),
            std::mem::take(&mut self.facts),
            self.world.now,
            &mut out,
        );
        let mut world = World {
            now: self.world.now,
            containers: self.world.containers,
            life: next,
            volumes_work: self.world.volumes_work,
            ..World::unregistered(agent)
        };
        world.journal = world.agent.snapshot();
        world.carry_out(out);
        Self {
            world,
            facts: Vec::new(),
        }
    }
}

#[test]
fn operations_change_the_total_and_are_answered_when_that_is_durable() {
    let mut scene = Scene::new();
    scene.world.disk = false;
    scene.apply(1, &reserve("a", &cpus(1, ENG)));
    assert_eq!(
        scene.total(),
        "cpus:3; disk:100; cpus(reservations: [(DYNAMIC,eng)]):1"
    );
    assert!(scene.heard().is_empty(), "not durable yet");
    scene.world.step(Input::Checkpointed { sequence: 100 });
    assert_eq!(scene.heard(), ["1 OPERATION_FINISHED to be acknowledged"]);
    // Without an id it is told once.
    scene.apply(2, &reserve("", &cpus(1, ENG)));
    scene.world.step(Input::Checkpointed { sequence: 101 });
    assert_eq!(scene.heard(), ["2 OPERATION_FINISHED"]);
    scene.world.seconds(15);
    assert_eq!(scene.heard(), ["1 OPERATION_FINISHED to be acknowledged"]);
}

#[test]
fn statuses_are_resent_until_acknowledged_also_by_the_next_life() {
    let mut scene = Scene::new();
    scene.apply(1, &reserve("a", &cpus(1, ENG)));
    let told = "1 OPERATION_FINISHED to be acknowledged";
    assert_eq!(scene.heard(), [told]);
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        for _ in 1..pause {
            scene.world.master(FromMaster::Ping(Ping { sequence: 1 }));
            scene.world.seconds(1);
        }
        assert!(scene.heard().is_empty(), "before {pause} s");
        scene.world.seconds(1);
        assert_eq!(scene.heard(), [told], "after {pause} s");
    }
    // A repetition is not applied again; its status is.
    let before = scene.total();
    scene.apply(1, &reserve("a", &cpus(1, ENG)));
    assert_eq!(
        (scene.total(), scene.heard()),
        (before.clone(), vec![told.to_owned()])
    );
    let mut scene = scene.restart();
    assert_eq!(scene.total(), before);
    scene.world.register(1);
    assert_eq!(scene.world.registered_operations, ["a OPERATION_FINISHED"]);
    let Some(Heard::Update(update)) = scene.world.operations.first().cloned() else {
        panic!("nothing was told again");
    };
    assert_eq!(scene.heard(), [told]);
    scene.acknowledge_operation(&update);
    scene.world.seconds(70);
    assert!(scene.heard().is_empty());
    let mut scene = scene.restart();
    scene.world.register(1);
    assert!(scene.world.registered_operations.is_empty() && scene.heard().is_empty());
    assert_eq!(scene.total(), before);
}

#[test]
fn what_fails_changes_nothing_and_what_was_built_on_it_is_dropped() {
    let mut scene = Scene::new();
    let version = scene.version();
    let before = scene.total();
    scene.apply_to(version.clone(), 1, &reserve("a", &cpus(9, ENG)));
    scene.apply_to(version, 2, &reserve("", &cpus(1, ENG)));
    assert_eq!(
        scene.heard(),
        [
            "total",
            "1 OPERATION_FAILED to be acknowledged",
            "total",
            "2 OPERATION_DROPPED"
        ]
    );
    assert_eq!(scene.total(), before);
    scene.apply(3, &reserve("", &cpus(1, ENG)));
    assert_eq!(scene.heard(), ["3 OPERATION_FINISHED"]);
}

#[test]
fn volumes_are_the_shells_work_and_answers_keep_their_order() {
    let mut scene = Scene::new();
    scene.world.volumes_work = None;
    scene.apply(1, &reserve("", &disk(10, "")));
    scene.apply(2, &create("v", &volume(10, "v")));
    scene.apply(3, &reserve("", &cpus(1, ENG)));
    assert_eq!(scene.heard(), ["1 OPERATION_FINISHED"]);
    let Volumes {
        operation,
        make,
        remove,
    } = scene.world.volumes.pop().unwrap();
    assert_eq!((make.len(), remove.len()), (1, 0));
    scene.world.step(Input::VolumesDone {
        operation: operation.clone(),
        result: Ok(()),
    });
    assert_eq!(
        scene.heard(),
        [
            "2 OPERATION_FINISHED to be acknowledged",
            "3 OPERATION_FINISHED"
        ]
    );
    assert_eq!(scene.world.settled, [operation]);

    // A life that ends in between has it done again.
    scene.apply(4, &destroy("", &volume(10, "v")));
    assert_eq!(scene.world.volumes.len(), 1);
    let mut scene = scene.restart();
    assert_eq!(scene.world.volumes.len(), 1);
    assert_eq!(scene.world.volumes[0].remove.len(), 1);
    assert_eq!(scene.world.agent.unsettled_volumes().count(), 1);
    assert!(!scene.total().contains("[v"), "{}", scene.total());
    scene.world.step(Input::VolumesDone {
        operation: scene.world.volumes[0].operation.clone(),
        result: Ok(()),
    });
    assert_eq!(scene.world.settled.len(), 1);
    assert_eq!(scene.world.agent.unsettled_volumes().count(), 0);
}

#[test]
fn a_volume_that_cannot_be_made_is_undone() {
    let mut scene = Scene::new();
    scene.world.volumes_work = None;
    scene.apply(1, &reserve("", &disk(10, "")));
    let before = scene.total();
    scene.apply(2, &create("v", &volume(10, "v")));
    assert_ne!(scene.total(), before);
    scene.heard();
    let operation = scene.world.volumes.pop().unwrap().operation;
    scene.world.step(Input::VolumesDone {
        operation,
        result: Err("the disk is full".to_owned()),
    });
    assert_eq!(
        scene.heard(),
        ["total", "2 OPERATION_FAILED to be acknowledged"]
    );
    assert_eq!(scene.total(), before);
}

#[test]
fn tasks_use_what_is_there_and_keep_it_from_being_destroyed() {
    let mut scene = Scene::new();
    let uses = |name: &str, what: &str| TaskInfo {
        resources: vec![resource(what)],
        ..command(name)
    };
    scene.world.run(uses("early", &volume(10, "v")));
    assert_eq!(
        outcome(&scene.world.drain()[0]),
        (TaskState::Dropped, Some(Reason::ResourcesUnknown))
    );
    scene.apply(1, &reserve("", &disk(10, "")));
    scene.apply(2, &create("", &volume(10, "v")));
    scene.world.run(uses("t", &volume(10, "v")));
    scene.heard();
    scene.apply(3, &destroy("", &volume(10, "v")));
    assert_eq!(scene.heard(), ["total", "3 OPERATION_FAILED"]);
    scene.world.launched(0);
    scene.world.exited(0, Some(0));
    scene.apply(4, &destroy("", &volume(10, "v")));
    assert_eq!(scene.heard(), ["4 OPERATION_FINISHED"]);
}

/// The master offered what an operation would have freed, and the operation has failed: it does not know that yet.
#[test]
fn tasks_made_for_resources_that_are_no_more_are_dropped() {
    let mut scene = Scene::new();
    let offered_from = scene.version();
    scene.apply(1, &destroy("", &volume(10, "v")));
    assert_eq!(scene.heard(), ["total", "1 OPERATION_FAILED"]);
    let run = |version: Bytes, name: &str| {
        FromMaster::RunTask(RunTask {
            framework_id: framework_id("f"),
            task: command(name),
            launch_executor: None,
            resource_version: Some(version),
        })
    };
    scene.world.master(run(offered_from.clone(), "early"));
    let early = scene.world.drain().remove(0);
    assert_eq!(
        outcome(&early),
        (TaskState::Dropped, Some(Reason::InvalidOffers))
    );
    assert_eq!(early.message(), "Task assumes outdated resource state");
    let group = RunTaskGroup {
        framework_id: framework_id("f"),
        executor: ExecutorInfo::default(),
        group: TaskGroupInfo {
            tasks: vec![command("grouped")],
        },
        launch_executor: None,
        resource_version: Some(offered_from),
    };
    scene
        .world
        .master(FromMaster::RunTaskGroup(Box::new(group)));
    assert_eq!(
        outcome(&scene.world.drain()[0]),
        (TaskState::Dropped, Some(Reason::InvalidOffers))
    );
    let version = scene.version();
    scene.world.master(run(version, "late"));
    scene.world.launched(0);
}

#[test]
fn a_volume_of_a_removed_framework_is_free_when_its_task_has_ended() {
    let mut scene = Scene::new();
    let uses = |name: &str, what: &str| TaskInfo {
        resources: vec![resource(what)],
        ..command(name)
    };
    scene.apply(1, &reserve("", &disk(20, "")));
    scene.apply(2, &create("", &volume(10, "v")));
    scene.apply(3, &create("", &volume(10, "w")));
    scene.world.run(uses("old", &volume(10, "v")));
    scene.world.launched(0);
    let removal = ShutdownFramework {
        framework_id: framework_id("f"),
    };
    scene.world.master(FromMaster::ShutdownFramework(removal));
    scene.world.sent.clear();
    let run = |world: &mut World, name: &str, what: &str| {
        world.master(FromMaster::Framework(Framework {
            info: framework("g", &[capability::Type::PartitionAware]),
        }));
        world.master(FromMaster::RunTask(RunTask {
            framework_id: framework_id("g"),
            task: uses(name, what),
            launch_executor: None,
            resource_version: None,
        }));
        let sent = world.sent.drain(..);
        let (task, _, _, status) = sent.last().unwrap();
        assert_eq!(task, name);
        status
    };
    let early = run(&mut scene.world, "early", &volume(10, "v"));
    assert_eq!(
        outcome(&early),
        (TaskState::Dropped, Some(Reason::ResourcesUnknown))
    );
    assert_eq!(
        early.message(),
        "the task uses a persistent volume that task 'old' of a removed framework has until it ends"
    );
    let other = run(&mut scene.world, "other", &volume(10, "w"));
    assert_eq!(outcome(&other).0, TaskState::Starting);
    scene.world.exited(0, Some(15));
    let late = run(&mut scene.world, "late", &volume(10, "v"));
    assert_eq!(outcome(&late).0, TaskState::Starting);
}

#[test]
fn a_new_configuration_keeps_what_operations_have_made() {
    let mut scene = Scene::new();
    scene.apply(1, &reserve("", &cpus(1, ENG)));
    scene.world.agent.config.info.resources = vec![resource(&cpus(8, ""))];
    let scene = scene.restart();
    assert_eq!(
        scene.total(),
        "cpus:7; cpus(reservations: [(DYNAMIC,eng)]):1"
    );
}

#[test]
fn draining_waits_for_operations_and_holds_over_a_restart() {
    let mut scene = Scene::new();
    scene.world.run(command("t"));
    scene.world.launched(0);
    scene.world.drain();
    scene.apply(1, &reserve("a", &cpus(1, ENG)));
    let Some(Heard::Update(update)) = scene.world.operations.pop() else {
        panic!("no answer");
    };
    let config = mesos::DrainConfig {
        max_grace_period: None,
        mark_gone: Some(true),
    };
    scene
        .world
        .master(FromMaster::Drain(tepui_proto::tepui::v1::Drain { config }));
    scene.world.run(command("u"));
    assert_eq!(
        outcome(&scene.world.drain()[0]),
        (TaskState::Dropped, Some(Reason::AgentDraining))
    );
    scene.facts = vec![ContainerFact {
        container: scene.world.containers[0].clone(),
        state: crate::ContainerState::Running { pid: None },
    }];
    let mut scene = scene.restart();
    assert_eq!(scene.world.agent.drain, Some(config));
    scene.world.register(1);
    scene.world.exited(0, Some(15));
    assert_eq!(
        outcome(scene.world.drain().last().unwrap()),
        (TaskState::GoneByOperator, Some(Reason::AgentDraining))
    );
    assert_eq!(
        scene.world.agent.drain,
        Some(config),
        "an operation is left"
    );
    scene.acknowledge_operation(&update);
    assert_eq!(scene.world.agent.drain, None);
    assert_eq!(scene.restart().world.agent.drain, None);
}
