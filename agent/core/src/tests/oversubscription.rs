//! What the master is told to be oversubscribed, and how what uses it ends.

use tepui_model::TaskState::{Gone, Killed, Lost};
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos::v1::executor_info::Type as ExecutorType;
use tepui_proto::mesos::v1::{Resource, TaskGroupInfo};
use tepui_proto::tepui::v1::RunTaskGroup;

use super::*;
use crate::ContainerState;

fn resources(text: &str) -> Vec<Resource> {
    to_wire(&text.parse().unwrap(), Encoding::Stack)
}

fn marked(text: &str) -> Vec<Resource> {
    let mark = |resource| Resource {
        revocable: Some(Default::default()),
        ..resource
    };
    resources(text).into_iter().map(mark).collect()
}

fn with(resources: Vec<Resource>, task: TaskInfo) -> TaskInfo {
    TaskInfo { resources, ..task }
}

/// A group of two, one of which uses something revocable.
fn group() -> FromMaster {
    let executor = ExecutorInfo {
        r#type: Some(ExecutorType::Default.into()),
        executor_id: mesos::ExecutorId {
            value: "e".to_owned(),
        },
        ..Default::default()
    };
    FromMaster::RunTaskGroup(Box::new(RunTaskGroup {
        framework_id: framework_id("f"),
        executor,
        group: TaskGroupInfo {
            tasks: vec![with(marked("cpus:1"), command("t")), command("u")],
        },
        launch_executor: None,
        resource_version: None,
    }))
}

fn executor_of(world: &World, name: &str) -> ContainerId {
    let framework = FrameworkId::new("f").unwrap();
    let executor = ExecutorId::new(name).unwrap();
    let executor = world.agent.executor(&framework, &executor).unwrap();
    executor.container.clone()
}

fn preempt(world: &mut World, executor: &str, container: ContainerId) {
    world.step(Input::Preempt {
        framework: FrameworkId::new("f").unwrap(),
        executor: ExecutorId::new(executor).unwrap(),
        container,
        reason: "the load is high".to_owned(),
    });
}

#[test]
fn the_master_hears_of_changes_and_again_after_each_registration() {
    let mut world = World::new();
    let steps: [(Vec<Resource>, &[&str]); 6] = [
        (
            resources("cpus:2;mem:64"),
            &["oversubscribed cpus{REV}:2; mem{REV}:64"],
        ),
        // The same in other words.
        (
            [marked("cpus:1"), resources("mem:64"), marked("cpus:1")].concat(),
            &[],
        ),
        // Only scalars that belong to nobody can be taken back.
        (
            resources("cpus:1;ports:[1-9];mem(r):64"),
            &["oversubscribed cpus{REV}:1"],
        ),
        (Vec::new(), &["oversubscribed "]),
        (Vec::new(), &[]),
        (resources("cpus:4"), &["oversubscribed cpus{REV}:4"]),
    ];
    for (estimate, expected) in steps {
        let text = format!("{estimate:?}");
        world.step(Input::Oversubscribed {
            resources: estimate,
        });
        assert_eq!(world.did(), expected, "{text}");
    }
    world.step(Input::Disconnected { stream: 1 });
    world.step(Input::Oversubscribed {
        resources: resources("cpus:3"),
    });
    assert_eq!(world.did(), [""; 0]);
    world.register(2);
    assert_eq!(
        world.did(),
        [
            "register id S0 tasks 0 executors 0 more false",
            "oversubscribed cpus{REV}:3"
        ]
    );
}

#[test]
fn only_what_is_revocable_is_preempted_once_and_is_gone() {
    let mut world = World::new();
    world.run(with(marked("cpus:1"), command("t")));
    world.run(with(resources("cpus:1"), command("firm")));
    world.launched(0);
    world.launched(1);
    world.drain();
    world.did();
    let (own, firm) = (executor_of(&world, "t"), executor_of(&world, "firm"));
    preempt(&mut world, "firm", firm.clone());
    preempt(&mut world, "t", firm);
    assert_eq!(world.did(), [""; 0]);
    preempt(&mut world, "t", own.clone());
    preempt(&mut world, "t", own);
    assert_eq!(world.did(), ["destroy 0"]);
    world.exited(0, Some(9));
    let told = world.drain();
    assert_eq!(told.len(), 1);
    assert_eq!(outcome(&told[0]), (Gone, Some(Reason::ContainerPreempted)));
    assert_eq!(
        told[0].message(),
        "Container preempted by QoS correction: the load is high"
    );
    assert_eq!(told[0].source(), Source::Agent);
}

#[test]
fn who_does_not_know_of_gone_is_told_of_a_loss() {
    let mut world = World::new();
    world.introduce(&[]);
    world.run(with(marked("cpus:1"), command("t")));
    world.launched(0);
    world.drain();
    let own = executor_of(&world, "t");
    preempt(&mut world, "t", own);
    world.exited(0, Some(9));
    assert_eq!(
        outcome(&world.drain()[0]),
        (Lost, Some(Reason::ContainerPreempted))
    );
}

#[test]
fn a_task_that_was_killed_before_is_killed() {
    let mut world = World::new();
    world.run(with(marked("cpus:1"), command("t")));
    world.launched(0);
    world.kill("t", None);
    world.drain();
    world.did();
    let own = executor_of(&world, "t");
    preempt(&mut world, "t", own);
    assert_eq!(world.did(), ["destroy 0"], "without the rest of its grace");
    world.exited(0, Some(9));
    assert_eq!(outcome(&world.drain()[0]), (Killed, None));
}

/// How a container of each sort is preempted, and what is told of its two tasks, also by the next life of the agent.
#[test]
fn whatever_the_executor_runs_ends_with_it() {
    type Start = fn(&mut World);
    let of_the_framework: Start = |world| {
        world.run(with(marked("cpus:1"), custom("t", "e")));
        world.launched(0);
        world.subscribe("e", 1);
        world.run(custom("u", "e"));
        for (task, number) in [("t", 1), ("u", 2)] {
            world.says("e", task, TaskState::Running, number);
        }
    };
    let of_the_agent: Start = |world| {
        world.master(group());
        world.launched(0);
        world.launched(1);
    };
    for (start, containers) in [(of_the_framework, 1), (of_the_agent, 2)] {
        for restarts in [false, true] {
            let mut world = World::new();
            start(&mut world);
            world.drain();
            world.did();
            let own = executor_of(&world, "e");
            preempt(&mut world, "e", own);
            let destroyed: Vec<String> =
                (0..containers).map(|at| format!("destroy {at}")).collect();
            assert_eq!(world.did(), destroyed);
            if restarts {
                let fact = |container: &ContainerId| ContainerFact {
                    container: container.clone(),
                    state: ContainerState::Running { pid: Some(5) },
                };
                let facts = world.containers.iter().map(fact).collect();
                world = world.restart(facts);
                assert_eq!(world.did(), destroyed, "again");
                world.register(1);
            }
            for container in 0..containers {
                world.exited(container, Some(9));
            }
            let mut told: Vec<_> = world
                .drain()
                .iter()
                .map(|status| (status.task_id.value.clone(), outcome(status)))
                .collect();
            told.sort_by(|one, two| one.0.cmp(&two.0));
            let gone = (Gone, Some(Reason::ContainerPreempted));
            assert_eq!(
                told,
                [("t".to_owned(), gone), ("u".to_owned(), gone)],
                "{restarts}"
            );
        }
    }
}

#[test]
fn the_container_knows_whether_its_cpus_are_revocable() {
    for (own, expected) in [("cpus:1", false), ("mem:64", false)] {
        let limits = crate::messages::limits(crate::messages::amount(&resources(own)), None);
        assert_eq!(limits.revocable_cpus, expected, "{own}");
    }
    for (own, expected) in [("cpus:1", true), ("mem:64", false)] {
        let limits = crate::messages::limits(crate::messages::amount(&marked(own)), None);
        assert_eq!(limits.revocable_cpus, expected, "{own} revocable");
    }
}
