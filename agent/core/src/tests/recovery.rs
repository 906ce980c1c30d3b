//! The next life: what ran on, what ended meanwhile, what never started, and the journal's short form.

use tepui_model::TaskState::{
    self, Dropped, Failed, Finished, Gone, Killed, Killing, Running, Starting,
};

use super::*;
use crate::ContainerState;

fn fact(world: &World, index: usize, state: ContainerState) -> ContainerFact {
    ContainerFact {
        container: world.containers[index].clone(),
        state,
    }
}

fn exited(status: Option<i32>) -> ContainerState {
    ContainerState::Exited(Exit {
        status,
        limitation: None,
    })
}

fn told(world: &mut World) -> Vec<(TaskState, Option<Reason>)> {
    world.register(1);
    world.drain().iter().map(outcome).collect()
}

#[test]
fn what_became_of_a_command_task_in_the_gap() {
    // How far it had come (and was acknowledged), what is found, and what the framework is told afterwards.
    type Case = (
        &'static [&'static str],
        Option<ContainerState>,
        &'static [(TaskState, Option<Reason>)],
    );
    let running = || Some(ContainerState::Running { pid: Some(5) });
    let cases: [Case; 9] = [
        (&["launched"], running(), &[]),
        (&[], running(), &[(Running, None)]),
        (&["launched"], Some(exited(Some(0))), &[(Finished, None)]),
        (&["launched"], Some(exited(Some(1 << 8))), &[(Failed, None)]),
        (&[], Some(exited(Some(0))), &[(Finished, None)]),
        (
            &["launched"],
            Some(ContainerState::Lost),
            &[(Failed, Some(Reason::ExecutorTerminated))],
        ),
        (&[], None, &[(Dropped, Some(Reason::AgentRestarted))]),
        (
            &["launched", "kill"],
            Some(exited(Some(15))),
            &[(Killed, None)],
        ),
        (
            &[],
            Some(ContainerState::LaunchFailed {
                reason: "no".to_owned(),
            }),
            &[(Failed, Some(Reason::ContainerLaunchFailed))],
        ),
    ];
    for (steps, found, expected) in cases {
        let mut world = World::new();
        world.run(command("t"));
        for step in steps {
            match *step {
                "launched" => world.launched(0),
                _ => world.kill("t", None),
            }
        }
        let before: Vec<_> = world.drain().iter().map(outcome).collect();
        let facts = found
            .clone()
            .map(|state| fact(&world, 0, state))
            .into_iter()
            .collect();
        let mut next = world.restart(facts);
        assert_eq!(
            told(&mut next),
            expected,
            "{steps:?} {found:?} after {before:?}"
        );
    }
}

#[test]
fn updates_that_were_not_acknowledged_are_sent_again_in_order() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    let uuid = world.sent[0].2.clone();
    let facts = vec![fact(&world, 0, exited(Some(0)))];
    let mut next = world.restart(facts);
    next.register(1);
    assert_eq!(next.sent[0].2, uuid, "the same update");
    assert_eq!(
        next.drain().iter().map(outcome).collect::<Vec<_>>(),
        [(Starting, None), (Running, None), (Finished, None)]
    );
    let mut after = next.restart(Vec::new());
    assert_eq!(told(&mut after), []);
    assert_eq!(after.agent.tasks, 0);
}

#[test]
fn a_kill_is_remembered_with_its_deadline() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    world.kill("t", Some(policy(10)));
    world.drain();
    world.seconds(4);
    let facts = vec![fact(&world, 0, ContainerState::Running { pid: None })];
    let mut next = world.restart(facts);
    assert_eq!(next.did(), ["signal 0 15"]);
    next.seconds(5);
    assert!(next.did().is_empty());
    next.seconds(1);
    assert_eq!(next.did(), ["destroy 0"]);
    next.exited(0, Some(9));
    assert_eq!(told(&mut next), [(Killed, None)]);
    assert_ne!(Killing, Killed);
}

#[test]
fn executors_have_two_seconds_to_return() {
    let world = || {
        let mut world = World::new();
        world.run(custom("a", "e"));
        world.run(custom("b", "e"));
        world.launched(0);
        world.subscribe("e", 1);
        world.says("e", "a", Running, 1);
        world.drain();
        let facts = vec![fact(&world, 0, ContainerState::Running { pid: None })];
        world.restart(facts)
    };
    let mut late = world();
    late.seconds(3);
    assert_eq!(late.did(), ["destroy 0"]);
    late.exited(0, Some(9));
    assert_eq!(
        told(&mut late),
        [(Gone, Some(Reason::ExecutorReregistrationTimeout)); 2]
    );

    let mut back = world();
    back.register(1);
    back.did();
    back.subscribe("e", 1);
    assert!(back.did().contains(&"event 1 SUBSCRIBED".to_owned()));
    let told: Vec<_> = back
        .drain()
        .iter()
        .map(|status| (status.task_id.value.clone(), outcome(status)))
        .collect();
    assert_eq!(
        told,
        [("b".to_owned(), (Dropped, Some(Reason::AgentRestarted)))],
        "a is known by its update"
    );
    back.seconds(10);
    assert!(!back.did().iter().any(|line| line.starts_with("destroy")));
}

#[test]
fn containers_that_no_record_knows_are_destroyed() {
    let stray = ContainerFact {
        container: ContainerId::new("stray").unwrap(),
        state: ContainerState::Running { pid: None },
    };
    let dead = ContainerFact {
        container: ContainerId::new("dead").unwrap(),
        state: exited(Some(0)),
    };
    let mut next = World::new().restart(vec![stray, dead]);
    assert_eq!(next.did(), ["destroy stray", "forget dead"]);
    next.step(Input::Shutdown {
        reason: "end".to_owned(),
    });
    assert!(next.did().is_empty(), "it waits for the stray");
    next.step(Input::Exited {
        container: ContainerId::new("stray").unwrap(),
        exit: Exit::default(),
    });
    assert_eq!(next.did(), ["exit: end"]);
}

#[test]
fn the_containers_to_look_for_are_those_that_were_not_noted_as_gone() {
    let mut world = World::new();
    world.run(command("a"));
    world.run(command("b"));
    world.run(custom("c", "e"));
    world.launched(0);
    world.exited(0, Some(0));
    assert_eq!(Agent::containers_of(&world.journal), world.containers[1..]);
    let mut short = Agent::containers_of(&world.agent.snapshot());
    short.sort_by_key(|id| world.containers.iter().position(|known| known == id));
    assert_eq!(short, world.containers[1..]);
}

#[test]
fn the_short_form_of_the_journal_means_the_same() {
    let mut world = World::new();
    world.run(command("a"));
    world.run(custom("b", "e"));
    world.run(command("c"));
    world.launched(0);
    world.launched(1);
    world.subscribe("e", 1);
    world.says("e", "b", Running, 1);
    let uuid = world.sent[0].2.clone();
    world.acknowledge("a", uuid);
    world.launched(2);
    world.exited(2, Some(1 << 8));
    world.kill("a", None);
    let short = world.agent.snapshot();
    let replayed = |records: Vec<Entry>| {
        Agent::recover(config(), records, Vec::new(), Time::EPOCH, &mut Vec::new()).snapshot()
    };
    assert_eq!(replayed(short.clone()), replayed(world.journal.clone()));
    let mut cut = World {
        journal: short,
        ..World::unregistered(Agent::new(config(), Time::EPOCH))
    };
    cut.containers.clone_from(&world.containers);
    let facts = |world: &World| {
        vec![
            fact(world, 0, exited(Some(15))),
            fact(world, 1, exited(Some(0))),
        ]
    };
    let (long_facts, short_facts) = (facts(&world), facts(&cut));
    let mut long = world.restart(long_facts);
    let mut short = cut.restart(short_facts);
    assert_eq!(told(&mut long), told(&mut short));
}
