//! Registration, epochs, streams, pings, refusal, the end.

use tepui_model::TaskState::{Killed, Running, Starting};
use tepui_proto::mesos::v1::DrainConfig;
use tepui_proto::tepui::v1::{Drain, Ping, Refused, Shutdown};

use super::*;

#[test]
fn the_first_registration_gives_the_id_and_the_next_ones_keep_it() {
    let mut world = World::unregistered(Agent::new(config(), Time::from_secs(1000)));
    world.register(1);
    assert_eq!(
        world.did(),
        ["register id - tasks 0 executors 0 more false"]
    );
    world.introduce(&[]);
    world.run(command("t"));
    world.run(custom("u", "e"));
    world.did();
    world.step(Input::Disconnected { stream: 1 });
    world.register(2);
    assert_eq!(
        world.did(),
        ["register id S0 tasks 2 executors 1 more false"]
    );
}

#[test]
fn updates_pause_while_nobody_listens_and_heads_are_sent_again() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    assert_eq!(world.states(), [Starting]);
    world.step(Input::Disconnected { stream: 1 });
    world.seconds(100);
    assert!(world.states().is_empty());
    world.register(2);
    assert_eq!(world.states(), [Starting], "only the head");
}

#[test]
fn one_stream_counts() {
    let mut world = World::new();
    world.step(Input::Connected { stream: 1 });
    assert!(world.did().is_empty(), "not newer");
    world.register(3);
    world.introduce(&[]);
    world.did();
    world.master_on(1, 1, FromMaster::Ping(Ping { sequence: 5 }));
    world.step(Input::Disconnected { stream: 1 });
    assert!(world.did().is_empty(), "an older stream is not heard");
    world.master_on(3, 1, FromMaster::Ping(Ping { sequence: 6 }));
    assert_eq!(world.did(), ["pong 6"]);
}

#[test]
fn a_lower_epoch_is_not_obeyed() {
    let mut world = World::new();
    world.master_on(1, 5, FromMaster::Ping(Ping { sequence: 1 }));
    world.did();
    world.master_on(
        1,
        4,
        FromMaster::RunTask(RunTask {
            framework_id: framework_id("f"),
            task: command("t"),
            launch_executor: None,
            resource_version: None,
        }),
    );
    assert_eq!(
        world.did(),
        ["close 1: the master's epoch 4 is over: this agent has obeyed epoch 5"]
    );
    let mut world = world.restart(Vec::new());
    assert_eq!(world.agent.epoch, 5, "not even in the next life");
    world.register(2);
    assert!(world.did().last().unwrap().starts_with("close 2"));
}

#[test]
fn a_master_that_speaks_too_early_or_stops_pinging_is_left() {
    let mut world = World::unregistered(Agent::new(config(), Time::from_secs(1000)));
    world.step(Input::Connected { stream: 1 });
    world.did();
    world.master_on(1, 1, FromMaster::Ping(Ping { sequence: 1 }));
    assert_eq!(
        world.did(),
        ["close 1: the master spoke before it answered the registration"]
    );
    world.register(2);
    world.did();
    world.seconds(74);
    world.master_on(2, 1, FromMaster::Ping(Ping { sequence: 2 }));
    world.seconds(74);
    assert_eq!(world.did(), ["pong 2"]);
    world.seconds(2);
    assert_eq!(world.did(), ["close 2: the master has not pinged for 75s"]);
}

#[test]
fn a_large_registration_comes_in_parts() {
    let mut world = World::new();
    world.agent.config.registration_chunk_bytes = 2_000;
    for number in 0..100 {
        world.run(command(&format!("task-{number}")));
    }
    world.did();
    world.register(2);
    let did = world.did();
    assert!(
        did.len() > 3
            && did[0].ends_with("more true")
            && did.last().unwrap().ends_with("more false"),
        "{did:?}"
    );
    let tasks: usize = did
        .iter()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let at = words.iter().position(|word| *word == "tasks").unwrap();
            words[at + 1].parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(tasks, 100);
    assert_eq!(
        did.iter()
            .filter(|line| line.ends_with("more false"))
            .count(),
        1
    );
}

#[test]
fn an_agent_whose_id_is_taken_away_ends_its_tasks_and_becomes_another() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    world.step(Input::Disconnected { stream: 1 });
    world.step(Input::Connected { stream: 2 });
    world.did();
    world.master_on(
        2,
        1,
        FromMaster::Refused(Refused {
            reason: "gone".to_owned(),
            permanent: true,
        }),
    );
    assert_eq!(
        world.did(),
        [
            "close 2: the master refused the registration: gone",
            "signal 0 15"
        ]
    );
    world.step(Input::Connected { stream: 3 });
    assert!(
        world.did()[0].starts_with("close 3"),
        "not before its tasks have ended"
    );
    world.exited(0, Some(15));
    world.did();
    world.step(Input::Connected { stream: 4 });
    assert_eq!(
        world.did(),
        ["register id - tasks 0 executors 0 more false"]
    );
}

#[test]
fn draining_kills_everything_with_bounded_patience() {
    let mut world = World::new();
    world.run(TaskInfo {
        kill_policy: Some(policy(60)),
        ..command("t")
    });
    world.launched(0);
    world.drain();
    world.did();
    let config = DrainConfig {
        max_grace_period: Some(DurationInfo {
            nanoseconds: 2_000_000_000,
        }),
        mark_gone: None,
    };
    world.master(FromMaster::Drain(Drain { config }));
    assert_eq!(world.did(), ["signal 0 15"]);
    world.seconds(2);
    assert_eq!(world.did(), ["destroy 0"]);
    world.exited(0, Some(9));
    assert_eq!(
        outcome(world.drain().last().unwrap()),
        (Killed, Some(Reason::AgentDraining))
    );
    assert_eq!(world.agent.drain, None, "nothing is left to be drained");
    world.run(command("u"));
    assert_eq!(world.did().last().unwrap(), "launch u");
}

/// Its machine went down for maintenance while it was away.
#[test]
fn an_agent_that_may_not_return_now_ends_what_it_has_and_keeps_its_id() {
    let mut world = World::new();
    world.run(command("t"));
    world.launched(0);
    world.drain();
    world.step(Input::Disconnected { stream: 1 });
    let told = |world: &mut World, stream: u64| {
        world.step(Input::Connected { stream });
        world.did();
        world.master(FromMaster::Shutdown(Shutdown {
            reason: "down".to_owned(),
        }));
        world.step(Input::Disconnected { stream });
    };
    told(&mut world, 2);
    assert_eq!(world.did(), ["destroy 0"]);
    // It tries again while the container ends, and hears the same.
    told(&mut world, 3);
    assert_eq!(world.did(), [""; 0]);
    world.exited(0, Some(9));
    assert_eq!(world.did().last().unwrap(), "exit: down");
    let mut world = world.restart(Vec::new());
    world.step(Input::Connected { stream: 4 });
    assert_eq!(
        world.did(),
        ["register id S0 tasks 1 executors 0 more false"]
    );
    world.answer_registration(4);
    assert_eq!(outcome(&world.drain()[0]), (Killed, None));
}

#[test]
fn the_end_waits_for_the_last_container() {
    let mut world = World::new();
    world.run(command("t"));
    world.run(custom("u", "e"));
    world.launched(0);
    world.drain();
    world.did();
    world.master(FromMaster::Shutdown(Shutdown {
        reason: "enough".to_owned(),
    }));
    assert_eq!(world.did(), ["destroy 0", "destroy 1"]);
    world.exited(0, Some(9));
    assert_eq!(outcome(&world.drain()[0]), (Killed, None));
    world.did();
    world.step(Input::LaunchFailed {
        container: world.containers[1].clone(),
        reason: "destroyed".to_owned(),
    });
    assert_eq!(world.did()[1..], ["unregister", "exit: enough"]);
    let mut idle = World::new();
    idle.step(Input::Shutdown {
        reason: "now".to_owned(),
    });
    assert_eq!(idle.did(), ["unregister", "exit: now"]);
    assert_eq!(Running.number(), 1);
}
