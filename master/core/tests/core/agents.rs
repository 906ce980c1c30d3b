//! Agents that register, break, return, vanish and leave.

use std::time::Duration;

use tepui_master_core::{Change, Config, Input, Registry, RegistryOperation, StoreError, TaskList};
use tepui_model::TaskState;
use tepui_proto::tepui::v1::{self, AgentMessage, agent_message::Message};

use crate::cluster::{Cluster, EPOCH, Scheduler, Slave, config, registration, running};

const AGENT: &str = "cpus:4;mem:1000";

fn with_task() -> (Cluster, Scheduler, Slave) {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.update(&slave, &scheduler, "t", TaskState::Running, 1);
    cluster.lines(&scheduler);
    cluster.told(slave.link);
    (cluster, scheduler, slave)
}

#[test]
fn nothing_is_said_before_the_registry_has_stored_it() {
    let mut cluster = Cluster::new();
    cluster.hold_stores = true;
    let scheduler = cluster.scheduler("a");
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(registration(AGENT, None))));
    assert_eq!(cluster.told(link), [""; 0]);
    assert!(
        matches!(&cluster.stores[0].1[..], [RegistryOperation::AdmitNew(agent)] if agent.info.id.as_ref().unwrap().value == "m-S0")
    );
    cluster.answer_store(Ok(()));
    assert_eq!(cluster.told(link), ["Registered m-S0"]);
    assert_eq!(
        cluster.lines(&scheduler),
        ["SUBSCRIBED", "OFFERS m-S0 cpus:4;mem:1000"]
    );
    // It may be answered only once, and only in order.
    cluster.send(Input::Stored {
        sequence: 0,
        result: Ok(()),
    });
    cluster.send(Input::Stored {
        sequence: 9,
        result: Ok(()),
    });
}

#[test]
fn a_failed_write_refuses_the_agent_for_now() {
    let mut cluster = Cluster::new();
    cluster.hold_stores = true;
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(registration(AGENT, None))));
    cluster.answer_store(Err(StoreError::Failed("disk full".to_owned())));
    let expected = "Refused now: The registration could not be stored, try again: the registry could not be written: disk full";
    assert_eq!(cluster.told(link), [expected]);
    assert!(
        cluster
            .closed_links
            .iter()
            .any(|(closed, _)| *closed == link)
    );
}

#[test]
fn a_fenced_master_says_nothing_more() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    cluster.lines(&scheduler);
    cluster.hold_stores = true;
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(registration(AGENT, None))));
    cluster.answer_store(Err(StoreError::Fenced("epoch 8 has written".to_owned())));
    assert_eq!(cluster.stepped_down.as_deref(), Some("epoch 8 has written"));
    cluster.pass(Duration::from_secs(60));
    cluster.send(Input::StreamClosed {
        stream: scheduler.stream,
    });
    assert_eq!(
        (cluster.told(link), cluster.lines(&scheduler)),
        (vec![], vec![])
    );
    let refused = tepui_master_core::Reply::Refused {
        status: 503,
        message: "This master leads no more".to_owned(),
    };
    assert_eq!(cluster.call(&scheduler, r#"{"type":"REVIVE"}"#), refused);
}

#[test]
fn bad_registrations() {
    type Change = fn(&mut v1::Register);
    let cases: [(Change, &str); 7] = [
        (
            |register| register.protocol = 2,
            "Refused now: Protocol 2 is not understood, this master speaks 1",
        ),
        (
            |register| register.agent.hostname.clear(),
            "Refused now: The agent has no hostname",
        ),
        (
            |register| register.agent.port = Some(70_000),
            "Refused now: 70000 is no port",
        ),
        (
            |register| {
                register.agent.id = Some(tepui_proto::mesos::AgentId {
                    value: "a/b".to_owned(),
                })
            },
            "Refused now: The agent's id is invalid: 'a/b' contains invalid characters",
        ),
        (
            |register| {
                register.agent.resources[0].scalar =
                    Some(tepui_proto::mesos::value::Scalar { value: -1.0 })
            },
            "Refused now: Resource 'cpus' is invalid",
        ),
        (|register| register.epoch_seen = Some(EPOCH + 1), ""),
        (
            |register| register.frameworks = vec![tepui_proto::mesos::FrameworkInfo::default(); 5],
            "Refused now: This master takes at most 4 tasks of one agent",
        ),
    ];
    for (spoil, expected) in cases {
        let mut cluster = Cluster::with(
            Config {
                max_tasks_per_agent: 4,
                ..config()
            },
            Registry::default(),
        );
        let link = cluster.open_link();
        let mut register = registration(AGENT, None);
        spoil(&mut register);
        cluster.tell(link, Message::Register(Box::new(register)));
        let told = cluster.told(link).join(" ");
        assert!(
            told.starts_with(expected) && told.is_empty() == expected.is_empty(),
            "{told:?}, not {expected:?}"
        );
        assert!(
            cluster
                .closed_links
                .iter()
                .any(|(closed, _)| *closed == link),
            "{expected}"
        );
        assert_eq!(cluster.master.counters().slaves_connected, 0);
    }
}

#[test]
fn messages_out_of_turn_close_the_link() {
    let register = || Message::Register(Box::new(registration(AGENT, None)));
    let more = || {
        Message::Register(Box::new(v1::Register {
            more: Some(true),
            ..registration(AGENT, None)
        }))
    };
    let pong = || Message::Pong(v1::Pong { sequence: 1 });
    let cases: [(Vec<Message>, &str); 4] = [
        (vec![pong()], "its first message was no Register"),
        (
            vec![Message::RegisterMore(v1::RegisterMore::default())],
            "its first message was no Register",
        ),
        (
            vec![more(), pong()],
            "its registration was interrupted by another message",
        ),
        (
            vec![register(), register()],
            "it registered twice on one stream",
        ),
    ];
    for (messages, expected) in cases {
        let mut cluster = Cluster::new();
        let link = cluster.open_link();
        for message in messages {
            cluster.tell(link, message);
        }
        assert_eq!(cluster.closed_links, [(link, expected.to_owned())]);
        // What comes after the end, and empty messages, are passed over.
        cluster.tell(link, pong());
        cluster.send(Input::AgentMessages {
            link,
            messages: vec![AgentMessage { message: None }],
        });
    }
}

#[test]
fn a_registration_in_several_messages() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.break_link(&slave);
    let link = cluster.open_link();
    cluster.tell(
        link,
        Message::Register(Box::new(v1::Register {
            more: Some(true),
            ..registration(AGENT, Some(&slave.id))
        })),
    );
    assert_eq!(cluster.told(link), [""; 0]);
    let task = running(&slave, &scheduler, "t", TaskState::Running);
    let more = v1::RegisterMore {
        tasks: vec![v1::RunningTask { task }],
        more: Some(true),
        ..v1::RegisterMore::default()
    };
    cluster.tell(link, Message::RegisterMore(more));
    cluster.tell(link, Message::RegisterMore(v1::RegisterMore::default()));
    assert_eq!(cluster.told(link), ["Registered m-S0"]);
}

#[test]
fn a_broken_stream_and_a_quick_return() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.break_link(&slave);
    assert_eq!(cluster.lines(&scheduler), ["RESCIND m-O1"]);
    cluster.pass(Duration::from_secs(74));
    let back = cluster.return_agent(
        &slave,
        AGENT,
        vec![running(&slave, &scheduler, "t", TaskState::Running)],
    );
    assert_eq!(cluster.told(back.link), ["Registered m-S0"]);
    assert_eq!(cluster.lines(&scheduler), ["OFFERS m-S0 cpus:3;mem:900"]);
    // The old time-out is void.
    cluster.pass(Duration::from_secs(300));
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_RUNNING"]);
}

#[test]
fn the_agents_truth_wins() {
    let (mut cluster, scheduler, slave) = with_task();
    let offer = cluster.offers(&scheduler);
    assert_eq!(offer.len(), 0);
    cluster.call(
        &scheduler,
        r#"{"type":"KILL","kill":{"task_id":{"value":"t"}}}"#,
    );
    assert_eq!(cluster.told(slave.link), ["KillTask t"]);
    cluster.break_link(&slave);
    cluster.lines(&scheduler);
    // It holds a task that the master does not know, and the kill did not arrive.
    let tasks = vec![
        running(&slave, &scheduler, "t", TaskState::Running),
        running(&slave, &scheduler, "x", TaskState::Running),
    ];
    let back = cluster.return_agent(&slave, AGENT, tasks);
    assert_eq!(cluster.told(back.link), ["Registered m-S0", "KillTask t"]);
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_RUNNING", "x TASK_RUNNING"]
    );
    assert_eq!(cluster.lines(&scheduler), ["OFFERS m-S0 cpus:2;mem:800"]);
    // A newer stream replaces this one; now it has lost one and ended the other.
    let newer = cluster.return_agent(
        &back,
        AGENT,
        vec![running(&slave, &scheduler, "x", TaskState::Failed)],
    );
    assert!(
        cluster
            .closed_links
            .iter()
            .any(|(link, _)| *link == back.link)
    );
    assert_eq!(
        cluster.told(newer.link),
        ["Registered m-S0", "ReconcileTasks t"]
    );
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_RUNNING", "x TASK_FAILED"]
    );
    cluster.update(&newer, &scheduler, "t", TaskState::Dropped, 3);
    assert_eq!(
        cluster.lines(&scheduler).last().unwrap(),
        "OFFERS m-S0 cpus:1;mem:100"
    );
}

#[test]
fn silence_for_too_long() {
    for (aware, state) in [(true, "TASK_UNREACHABLE"), (false, "TASK_LOST")] {
        let mut cluster = Cluster::new();
        let capabilities = if aware {
            r#","capabilities":[{"type":"PARTITION_AWARE"}]"#
        } else {
            ""
        };
        let scheduler = cluster.subscribe(&format!(r#"{{"user":"u","name":"n"{capabilities}}}"#));
        let slave = cluster.agent(AGENT);
        let offer = cluster.offer(&scheduler);
        cluster.launch(&scheduler, &offer, &["t", "ended"]);
        cluster.update(&slave, &scheduler, "ended", TaskState::Failed, 1);
        cluster.lines(&scheduler);
        // Its stream stays open, but no pong comes: five pings, 15 s each.
        cluster.pass(Duration::from_secs(300));
        cluster.answer_pings = false;
        cluster.pass(Duration::from_secs(14));
        cluster.pass(Duration::from_secs(74));
        assert_eq!(cluster.lines(&scheduler), [""; 0]);
        cluster.pass(Duration::from_secs(2));
        let lines = cluster.lines(&scheduler);
        let update = format!("UPDATE t {state} REASON_AGENT_REMOVED: Agent is unreachable");
        assert!(lines.contains(&update), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "FAILURE m-S0");
        assert_eq!(
            cluster.listed(TaskList::Unreachable),
            [format!("t {state}")]
        );
        assert_eq!(cluster.listed(TaskList::Completed), ["ended TASK_FAILED"]);
        assert_eq!(cluster.master.counters().tasks_unreachable, 1);

        // Its return brings the task back under its key; the update that was not acknowledged is told again by the agent.
        let tasks = vec![
            running(&slave, &scheduler, "t", TaskState::Running),
            running(&slave, &scheduler, "ended", TaskState::Failed),
        ];
        let back = cluster.return_agent(&slave, AGENT, tasks);
        assert_eq!(cluster.told(back.link), ["Registered m-S0"]);
        let lines = cluster.lines(&scheduler);
        assert_eq!(
            lines,
            [
                "UPDATE t TASK_RUNNING REASON_AGENT_REREGISTERED: Agent has returned",
                "OFFERS m-S0 cpus:3;mem:900"
            ]
        );
        assert_eq!(cluster.listed(TaskList::Unreachable), [""; 0]);
        assert_eq!(
            cluster.listed(TaskList::Active),
            ["t TASK_RUNNING", "ended TASK_FAILED"]
        );
    }
}

#[test]
fn an_agent_that_returns_while_it_is_being_marked_waits() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.break_link(&slave);
    cluster.hold_stores = true;
    cluster.pass(Duration::from_secs(76));
    assert!(matches!(
        cluster.stores[0].1[..],
        [RegistryOperation::MarkUnreachable { .. }]
    ));
    let first = cluster.return_agent(
        &slave,
        AGENT,
        vec![running(&slave, &scheduler, "t", TaskState::Running)],
    );
    let second = cluster.return_agent(
        &slave,
        AGENT,
        vec![running(&slave, &scheduler, "t", TaskState::Running)],
    );
    assert_eq!(
        (cluster.told(first.link), cluster.told(second.link)),
        (vec![], vec![])
    );
    cluster.answer_store(Ok(()));
    cluster.answer_store(Ok(()));
    assert_eq!(
        (cluster.told(first.link).len(), cluster.told(second.link)),
        (0, vec!["Registered m-S0".to_owned()])
    );
    assert!(
        cluster
            .closed_links
            .iter()
            .any(|(link, _)| *link == first.link)
    );
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_RUNNING"]);
    // Were the write to fail, the agent would stay, and be tried again.
    cluster.break_link(&second);
    cluster.pass(Duration::from_secs(76));
    cluster.answer_store(Err(StoreError::Failed("busy".to_owned())));
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_RUNNING"]);
    cluster.pass(Duration::from_secs(16));
    cluster.answer_store(Ok(()));
    assert_eq!(
        cluster.listed(TaskList::Unreachable),
        ["t TASK_UNREACHABLE"]
    );
}

#[test]
fn unregistration() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.lines(&scheduler);
    cluster.tell(slave.link, Message::Unregister(v1::Unregister {}));
    let expected = [
        "RESCIND m-O1",
        "UPDATE t TASK_LOST REASON_AGENT_REMOVED: Agent has unregistered",
        "FAILURE m-S0",
    ];
    assert_eq!(cluster.lines(&scheduler), expected);
    assert_eq!(cluster.listed(TaskList::Completed), ["t TASK_LOST"]);
    assert!(matches!(
        cluster.changes.last(),
        Some(Change::AgentRemoved { .. })
    ));
}

#[test]
fn unreachable_tasks_and_agents_are_bounded() {
    let config = Config {
        max_unreachable_tasks_per_framework: 1,
        max_remembered_agents: 1,
        ..config()
    };
    let mut cluster = Cluster::with(config, Registry::default());
    let scheduler = cluster.scheduler("a");
    for task in ["t", "u"] {
        let slave = cluster.agent("cpus:2;mem:200");
        let offer = cluster.offer(&scheduler);
        cluster.launch(&scheduler, &offer, &[task]);
        cluster.break_link(&slave);
        cluster.pass(Duration::from_secs(76));
        cluster.lines(&scheduler);
    }
    assert_eq!(
        cluster.listed(TaskList::Unreachable),
        ["u TASK_UNREACHABLE"]
    );
    assert_eq!(cluster.master.counters().slaves_unreachable, 1);
}

#[test]
fn a_changed_host_is_refused_and_changed_attributes_are_stored() {
    let mut cluster = Cluster::new();
    let slave = cluster.agent(AGENT);
    cluster.break_link(&slave);
    let mut moved = registration(AGENT, Some(&slave.id));
    moved.agent.hostname = "elsewhere".to_owned();
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(moved)));
    assert_eq!(
        cluster.told(link),
        ["Refused for ever: Agent m-S0 is registered on host host, not elsewhere"]
    );
    cluster.hold_stores = true;
    let mut changed = registration("cpus:8;mem:1000", Some(&slave.id));
    changed.agent.port = Some(5052);
    let link = cluster.open_link();
    cluster.tell(link, Message::Register(Box::new(changed)));
    assert!(
        matches!(&cluster.stores[0].1[..], [RegistryOperation::Admit(agent)] if agent.info.port() == 5052)
    );
    cluster.answer_store(Ok(()));
    let scheduler = cluster.scheduler("a");
    assert_eq!(
        cluster.lines(&scheduler),
        ["SUBSCRIBED", "OFFERS m-S0 cpus:8;mem:1000"]
    );
}

#[test]
fn resources_that_change_end_offers_of_the_old_ones() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    cluster.lines(&scheduler);
    let total = registration("cpus:8;mem:1000", None).agent.resources;
    let changed = v1::ResourcesChanged {
        total,
        ..v1::ResourcesChanged::default()
    };
    cluster.tell(slave.link, Message::ResourcesChanged(changed));
    assert_eq!(
        cluster.lines(&scheduler),
        ["RESCIND m-O0", "OFFERS m-S0 cpus:8;mem:1000"]
    );
}
