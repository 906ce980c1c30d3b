//! Deactivation and draining: what is refused, what agents are told, when it is over, and that it survives everybody.

use std::time::Duration;

use tepui_master_core::{
    AdmittedAgent, Change, Drain, Input, OperatorCall, Registry, RegistryOperation, ReplyToken,
    StoreError, TaskList,
};
use tepui_model::TaskState;
use tepui_proto::mesos::{self, DrainConfig, DrainState, FrameworkInfo};
use tepui_proto::tepui::v1::agent_message::Message;
use tepui_proto::tepui::v1::{self};

use crate::cluster::{Cluster, Scheduler, Slave, config, registration, running, uuid};
use crate::words::json;

const AGENT: &str = "cpus:4;mem:1000";

fn drain(id: &str, grace_s: Option<u64>, mark_gone: bool) -> OperatorCall {
    OperatorCall::DrainAgent {
        agent: id.parse().unwrap(),
        config: DrainConfig {
            max_grace_period: grace_s.map(|seconds| Duration::from_secs(seconds).into()),
            mark_gone: Some(mark_gone),
        },
    }
}

fn reactivate(id: &str) -> OperatorCall {
    OperatorCall::ReactivateAgent {
        agent: id.parse().unwrap(),
    }
}

fn deactivate(id: &str) -> OperatorCall {
    OperatorCall::DeactivateAgent {
        agent: id.parse().unwrap(),
    }
}

fn gone(id: &str) -> OperatorCall {
    OperatorCall::MarkAgentGone {
        agent: id.parse().unwrap(),
    }
}

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

/// What the view shows of the agent: whether it is deactivated, and its drain's state.
fn shown(cluster: &Cluster, slave: &Slave) -> (bool, Option<DrainState>) {
    let last = cluster
        .changes
        .iter()
        .rev()
        .find_map(|change| match change {
            Change::AgentAdded(agent) | Change::AgentUpdated(agent)
                if agent.id.as_str() == slave.id =>
            {
                Some(agent)
            }
            _ => None,
        });
    let agent = last.unwrap();
    assert_eq!(agent.drain.is_some(), agent.drain_started_at.is_some());
    (
        agent.deactivated,
        agent.drain.as_ref().map(|drain| drain.state()),
    )
}

#[test]
fn a_drain_from_its_order_to_its_end() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.hold_stores = true;
    assert_eq!(
        cluster.operate(drain(&slave.id, Some(7), false)),
        "no answer yet"
    );
    assert_eq!(cluster.told(slave.link), [""; 0]);
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
    cluster.hold_stores = false;
    cluster.answer_store(Ok(()));
    assert_eq!(cluster.told(slave.link), ["Drain within 7 s", "KillTask t"]);
    assert_eq!(cluster.lines(&scheduler), ["RESCIND m-O1"]);
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Draining)));
    // The framework's kill has no longer grace than the drain allows.
    for (given, sent) in [(60, 7), (2, 2)] {
        let nanos = given * 1_000_000_000_u64;
        let kill = format!(
            r#"{{"type":"KILL","kill":{{"task_id":{{"value":"t"}},"kill_policy":{{"grace_period":{{"nanoseconds":{nanos}}}}}}}}}"#
        );
        cluster.call(&scheduler, &kill);
        assert_eq!(
            cluster.told(slave.link),
            [format!("KillTask t within {sent} s")]
        );
    }
    assert_eq!(
        cluster.operate(reactivate(&slave.id)),
        format!("400 Agent {} is still draining", slave.id)
    );
    // Ended is not enough: the framework has to have acknowledged it.
    cluster.update(&slave, &scheduler, "t", TaskState::Killed, 2);
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Draining)));
    cluster.acknowledge(&scheduler, &slave.id, "t", &uuid(2));
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Drained)));
    assert!(cluster.registry.agents[0].drain.as_ref().unwrap().drained);
    cluster.lines(&scheduler);
    assert_eq!(cluster.operate(reactivate(&slave.id)), "200");
    assert_eq!(shown(&cluster, &slave), (false, None));
    assert_eq!(cluster.lines(&scheduler), ["OFFERS m-S0 cpus:4;mem:1000"]);
    assert_eq!(
        cluster.operate(reactivate(&slave.id)),
        format!("400 Agent {} is not deactivated", slave.id)
    );
}

#[test]
fn in_the_end_it_is_marked_gone_if_that_was_asked_for() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.operate(drain(&slave.id, None, true));
    assert_eq!(cluster.told(slave.link), ["Drain, then gone", "KillTask t"]);
    cluster.update(&slave, &scheduler, "t", TaskState::GoneByOperator, 2);
    cluster.acknowledge(&scheduler, &slave.id, "t", &uuid(2));
    assert_eq!(cluster.registry.gone[0].0.as_str(), slave.id);
    assert!(cluster.registry.agents.is_empty());
    assert!(
        cluster
            .told(slave.link)
            .iter()
            .any(|line| line.starts_with("Refused for ever"))
    );
    // An idle agent is drained, and gone, at once.
    let idle = cluster.agent(AGENT);
    cluster.operate(drain(&idle.id, None, true));
    assert_eq!(cluster.registry.gone.len(), 2);
}

#[test]
fn a_schedule_counts_for_an_agent_that_is_out_of_reach() {
    let (mut cluster, _, slave) = with_task();
    cluster.break_link(&slave);
    cluster.pass(Duration::from_secs(80));
    assert_eq!(&*cluster.registry.unreachable[0].hostname, "host");
    for (machine, expected) in [
        ("elsewhere", "200"),
        (
            "HOST",
            "400 Agent m-S0 is part of a maintenance schedule, so it cannot be drained",
        ),
    ] {
        let schedule = format!(
            r#"{{"windows":[{{"machine_ids":[{{"hostname":"{machine}","ip":"127.0.0.1"}}],"unavailability":{{"start":{{"nanoseconds":1}}}}}}]}}"#
        );
        let schedule = json(&schedule);
        let call = OperatorCall::UpdateMaintenanceSchedule { schedule };
        assert_eq!(cluster.operate(call), "200");
        assert_eq!(cluster.operate(drain(&slave.id, None, false)), expected);
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    type Prepare = fn(&mut Cluster, &Slave);
    let schedule = |cluster: &mut Cluster, slave: &Slave| {
        let _ = slave;
        let schedule = json(
            r#"{"windows":[{"machine_ids":[{"hostname":"HOST","ip":"127.0.0.1"}],"unavailability":{"start":{"nanoseconds":1}}}]}"#,
        );
        let call = OperatorCall::UpdateMaintenanceSchedule { schedule };
        assert_eq!(cluster.operate(call), "200");
    };
    let being_marked = |cluster: &mut Cluster, slave: &Slave| {
        cluster.hold_stores = true;
        cluster.operate(gone(&slave.id));
    };
    let marked = |cluster: &mut Cluster, slave: &Slave| {
        cluster.operate(gone(&slave.id));
    };
    let rows: [(&str, Prepare, OperatorCall, &str); 10] = [
        (
            "unknown",
            |_, _| (),
            drain("m-S9", None, false),
            "400 No agent found with specified ID m-S9",
        ),
        (
            "unknown",
            |_, _| (),
            deactivate("m-S9"),
            "400 No agent found with specified ID m-S9",
        ),
        (
            "unknown",
            |_, _| (),
            reactivate("m-S9"),
            "400 No agent found with specified ID m-S9",
        ),
        (
            "scheduled",
            schedule,
            drain("m-S0", None, false),
            "400 Agent m-S0 is part of a maintenance schedule",
        ),
        (
            "being marked",
            being_marked,
            drain("m-S0", None, false),
            "409 Agent m-S0 is being marked gone",
        ),
        (
            "being marked",
            being_marked,
            deactivate("m-S0"),
            "409 Agent m-S0 is being marked gone",
        ),
        (
            "being marked",
            being_marked,
            reactivate("m-S0"),
            "409 Agent m-S0 is being marked gone",
        ),
        (
            "being marked",
            being_marked,
            gone("m-S0"),
            "503 Agent m-S0 is in transition",
        ),
        (
            "gone",
            marked,
            drain("m-S0", None, false),
            "400 No agent found",
        ),
        (
            "not deactivated",
            |_, _| (),
            reactivate("m-S0"),
            "400 Agent m-S0 is not deactivated",
        ),
    ];
    for (what, prepare, call, expected) in rows {
        let (mut cluster, scheduler, slave) = with_task();
        prepare(&mut cluster, &slave);
        let (before, waiting) = (cluster.registry.clone(), cluster.stores.len());
        cluster.told(slave.link);
        cluster.lines(&scheduler);
        let answer = cluster.operate(call);
        assert!(answer.starts_with(expected), "{what}: {answer}");
        assert_eq!(
            (&cluster.registry, cluster.stores.len()),
            (&before, waiting),
            "{what}"
        );
        assert_eq!(cluster.told(slave.link), [""; 0], "{what}");
        assert_eq!(cluster.lines(&scheduler), [""; 0], "{what}");
    }
    let mut cluster = Cluster::new();
    let negative = OperatorCall::DrainAgent {
        agent: cluster.agent(AGENT).id.parse().unwrap(),
        config: json(r#"{"max_grace_period":{"nanoseconds":-1}}"#),
    };
    assert_eq!(
        cluster.operate(negative),
        "400 'max_grace_period' must not be negative"
    );
    let link = cluster.open_link();
    let mut old = registration(AGENT, None);
    old.capabilities.pop();
    cluster.tell(link, Message::Register(Box::new(old)));
    assert_eq!(
        cluster.operate(drain("m-S1", None, false)),
        "400 Agent m-S1 is not capable of AGENT_DRAINING"
    );
}

#[test]
fn a_drain_survives_agents_and_masters() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.operate(drain(&slave.id, Some(7), false));
    cluster.told(slave.link);
    // The agent's link breaks: it is told again, and the kill repeated.
    cluster.break_link(&slave);
    let task = || vec![running(&slave, &scheduler, "t", TaskState::Running)];
    let back = cluster.return_agent(&slave, AGENT, task());
    assert_eq!(
        cluster.told(back.link),
        ["Registered m-S0", "KillTask t", "Drain within 7 s"]
    );
    // It is out of reach for long, and returns.
    cluster.break_link(&back);
    cluster.pass(Duration::from_secs(76));
    assert_eq!(
        cluster.listed(TaskList::Unreachable),
        ["t TASK_RUNNING"].map(|_| "t TASK_UNREACHABLE")
    );
    assert!(cluster.registry.unreachable[0].drain.is_some());
    let back = cluster.return_agent(&slave, AGENT, task());
    assert_eq!(
        cluster.told(back.link),
        ["Registered m-S0", "Drain within 7 s", "KillTask t"]
    );
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Draining)));
    // A new leader knows of it, and ends it.
    let mut next = Cluster::with(config(), cluster.registry.clone());
    let register = v1::Register {
        tasks: Vec::new(),
        ..registration(AGENT, Some(&slave.id))
    };
    let link = next.open_link();
    next.tell(link, Message::Register(Box::new(register)));
    assert_eq!(next.told(link), ["Registered m-S0", "Drain within 7 s"]);
    assert_eq!(shown(&next, &slave), (true, Some(DrainState::Drained)));
    let last = Cluster::with(config(), next.registry.clone());
    assert_eq!(last.registry, next.registry);
    assert!(next.registry.agents[0].drain.as_ref().unwrap().drained);
}

/// A leader that has removed a framework believes its agents to be empty of it. What they bring back tells another.
#[test]
fn an_agent_that_returns_with_a_task_has_not_drained() {
    let (mut cluster, scheduler, slave) = with_task();
    let teardown = OperatorCall::Teardown {
        framework: scheduler.id.parse().unwrap(),
    };
    assert_eq!(cluster.operate(teardown), "200");
    assert_eq!(cluster.operate(drain(&slave.id, None, false)), "200");
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Drained)));
    // This leader knows better; the next one does not know of the removal.
    let task = || vec![running(&slave, &scheduler, "t", TaskState::Running)];
    let back = cluster.return_agent(&slave, AGENT, task());
    assert_eq!(shown(&cluster, &back), (true, Some(DrainState::Drained)));
    let mut next = Cluster::with(config(), cluster.registry.clone());
    let tasks = task().into_iter().map(|task| v1::RunningTask { task });
    let register = v1::Register {
        tasks: tasks.collect(),
        frameworks: vec![FrameworkInfo {
            id: Some(mesos::FrameworkId {
                value: scheduler.id.clone(),
            }),
            ..FrameworkInfo::default()
        }],
        ..registration(AGENT, Some(&slave.id))
    };
    let back = Slave {
        link: next.open_link(),
        id: slave.id.clone(),
    };
    next.tell(back.link, Message::Register(Box::new(register)));
    assert_eq!(shown(&next, &back), (true, Some(DrainState::Draining)));
    assert!(!next.registry.agents[0].drain.as_ref().unwrap().drained);
    assert_eq!(
        next.told(back.link),
        ["Registered m-S0", "Drain", "KillTask t"]
    );
    // It has ended before yet another leader comes.
    let mut last = Cluster::with(config(), next.registry.clone());
    let back = last.return_agent(&slave, AGENT, Vec::new());
    assert_eq!(shown(&last, &back), (true, Some(DrainState::Drained)));
    assert!(last.registry.agents[0].drain.as_ref().unwrap().drained);
}

#[test]
fn absent_agents_are_ordered_about_too() {
    let recovered = AdmittedAgent {
        info: registration(AGENT, Some("o-S0")).agent,
        ..AdmittedAgent::default()
    };
    for unreachable in [false, true] {
        let registry = Registry {
            agents: vec![recovered.clone()],
            ..Registry::default()
        };
        let mut cluster = Cluster::with(config(), registry);
        if unreachable {
            cluster.pass(Duration::from_secs(601));
            assert_eq!(cluster.registry.unreachable.len(), 1);
        }
        assert_eq!(cluster.operate(deactivate("o-S0")), "200");
        assert_eq!(cluster.operate(deactivate("o-S0")), "200");
        assert_eq!(cluster.operate(reactivate("o-S0")), "200");
        assert_eq!(cluster.operate(drain("o-S0", None, false)), "200");
        assert!(cluster.operate(reactivate("o-S0")).starts_with("400 "));
        let link = cluster.open_link();
        let register = registration(AGENT, Some("o-S0"));
        cluster.tell(link, Message::Register(Box::new(register)));
        assert_eq!(cluster.told(link), ["Registered o-S0", "Drain"]);
        let slave = Slave {
            link,
            id: "o-S0".to_owned(),
        };
        assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Drained)));
    }
}

#[test]
fn what_could_not_be_stored_is_tried_again() {
    let (mut cluster, scheduler, slave) = with_task();
    cluster.operate(drain(&slave.id, None, false));
    cluster.hold_stores = true;
    cluster.finish(&slave, &scheduler, "t");
    assert!(matches!(
        &cluster.stores[0].1[..],
        [RegistryOperation::Admit(agent)] if matches!(agent.drain, Some(Drain { drained: true, .. }))
    ));
    cluster.answer_store(Err(StoreError::Failed("disk full".to_owned())));
    assert!(cluster.stores.is_empty());
    cluster.hold_stores = false;
    cluster.pass(Duration::from_secs(15));
    assert_eq!(shown(&cluster, &slave), (true, Some(DrainState::Drained)));
    // An operator's own order is answered, and not repeated.
    cluster.hold_stores = true;
    let token = ReplyToken(cluster.key());
    let call = reactivate(&slave.id);
    let reply = Some(token);
    cluster.send(Input::Operator { call, reply });
    cluster.answer_store(Err(StoreError::Failed("disk full".to_owned())));
    assert_eq!(
        cluster.answer(token),
        "503 The registry could not be written"
    );
}
