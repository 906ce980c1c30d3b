//! Every row of the reconciliation table, for both kinds of frameworks; and KILL of what is not known.

use std::time::Duration;

use tepui_master_core::{AdmittedAgent, Input, OperatorCall, Registry, UnreachableAgent};
use tepui_model::{TaskState, Time};

use crate::cluster::{Cluster, Scheduler, config, registration, uuid};

const AGENT: &str = "cpus:4;mem:1000";

fn ask(task: &str, agent: Option<&str>) -> String {
    let agent = agent.map_or(String::new(), |id| {
        format!(r#","agent_id":{{"value":"{id}"}}"#)
    });
    format!(
        r#"{{"type":"RECONCILE","reconcile":{{"tasks":[{{"task_id":{{"value":"{task}"}}{agent}}}]}}}}"#
    )
}

fn registry(recovered: &[&str]) -> Registry {
    Registry {
        agents: recovered
            .iter()
            .map(|id| AdmittedAgent {
                info: registration(AGENT, Some(id)).agent,
                ..AdmittedAgent::default()
            })
            .collect(),
        unreachable: vec![UnreachableAgent {
            id: "away".parse().unwrap(),
            since: Time::from_secs(5),
            hostname: "host".into(),
            deactivated: false,
            drain: None,
        }],
        gone: vec![("gone".parse().unwrap(), Time::from_secs(5))],
        ..Registry::default()
    }
}

fn framework(cluster: &mut Cluster, aware: bool) -> Scheduler {
    let capabilities = if aware {
        r#","capabilities":[{"type":"PARTITION_AWARE"}]"#
    } else {
        ""
    };
    let scheduler = cluster.subscribe(&format!(
        r#"{{"user":"u","name":"n","failover_timeout":9{capabilities}}}"#
    ));
    cluster.lines(&scheduler);
    scheduler
}

/// Agents that the new leader still waits for; the agent asked about; the answer for PARTITION_AWARE frameworks.
type Row = (
    &'static [&'static str],
    Option<&'static str>,
    Option<(&'static str, &'static str)>,
);

#[test]
fn explicit() {
    let cases: [Row; 9] = [
        (&["back"], Some("back"), None),
        (&["back"], None, None),
        (
            &[],
            Some("m-S0"),
            Some(("TASK_GONE", "Task is unknown to the agent")),
        ),
        (
            &["back"],
            Some("m-S0"),
            Some(("TASK_GONE", "Task is unknown to the agent")),
        ),
        (
            &["back"],
            Some("away"),
            Some(("TASK_UNREACHABLE", "Agent is unreachable")),
        ),
        (
            &[],
            Some("gone"),
            Some(("TASK_GONE_BY_OPERATOR", "Agent has been marked gone")),
        ),
        (
            &["back"],
            Some("never-seen"),
            Some(("TASK_UNKNOWN", "Task is unknown")),
        ),
        (
            &[],
            Some("never-seen"),
            Some(("TASK_UNKNOWN", "Task is unknown")),
        ),
        (&[], None, Some(("TASK_UNKNOWN", "Task is unknown"))),
    ];
    for (recovered, agent, answer) in cases {
        for aware in [true, false] {
            let mut cluster = Cluster::with(config(), registry(recovered));
            let scheduler = framework(&mut cluster, aware);
            cluster.agent(AGENT);
            cluster.lines(&scheduler);
            cluster.call(&scheduler, &ask("t", agent));
            let expected: Vec<String> = answer
                .iter()
                .map(|(state, message)| {
                    let state = if aware { state } else { "TASK_LOST" };
                    format!("UPDATE t {state} REASON_RECONCILIATION: Reconciliation: {message}")
                })
                .collect();
            // KILL of what is not known is answered in the same way.
            let events = cluster.take_events(&scheduler);
            assert_eq!(
                events.iter().map(crate::cluster::line).collect::<Vec<_>>(),
                expected,
                "{recovered:?} {agent:?}"
            );
            for status in events
                .iter()
                .filter_map(|event| event.update.as_ref())
                .map(|update| &update.status)
            {
                assert!(status.uuid.is_none() && status.timestamp.is_some());
                let away = agent == Some("away");
                assert_eq!(status.unreachable_time.is_some(), away);
            }
            cluster.call(
                &scheduler,
                &ask("t", agent)
                    .replace("RECONCILE", "KILL")
                    .replace(r#""reconcile":{"tasks":[{"#, r#""kill":{"#)
                    .replace("}]}}", "}}"),
            );
            assert_eq!(
                cluster.lines(&scheduler),
                expected,
                "KILL {recovered:?} {agent:?}"
            );
        }
    }
}

#[test]
fn known_tasks_answer_with_the_state_last_told() {
    let mut cluster = Cluster::new();
    let scheduler = framework(&mut cluster, true);
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["staged", "ran", "ended", "over"]);
    cluster.update_ahead(
        &slave,
        &scheduler,
        "ran",
        TaskState::Running,
        TaskState::Finished,
        1,
    );
    cluster.update(&slave, &scheduler, "ended", TaskState::Failed, 2);
    cluster.finish(&slave, &scheduler, "over");
    cluster.lines(&scheduler);
    let expected = [
        "UPDATE staged TASK_STAGING REASON_RECONCILIATION: Reconciliation: Latest task state",
        "UPDATE ran TASK_RUNNING REASON_RECONCILIATION: Reconciliation: Latest task state",
        "UPDATE ended TASK_FAILED REASON_RECONCILIATION: Reconciliation: Latest task state",
    ];
    cluster.call(&scheduler, r#"{"type":"RECONCILE","reconcile":{}}"#);
    assert_eq!(cluster.lines(&scheduler), expected);
    for (task, expected) in ["staged", "ran", "ended"].iter().zip(expected) {
        cluster.call(&scheduler, &ask(task, Some(&slave.id)));
        assert_eq!(cluster.lines(&scheduler), [expected]);
    }
    cluster.call(&scheduler, &ask("over", Some(&slave.id)));
    assert_eq!(
        cluster.lines(&scheduler),
        [
            "UPDATE over TASK_GONE REASON_RECONCILIATION: Reconciliation: Task is unknown to the agent"
        ]
    );
    cluster.acknowledge(&scheduler, &slave.id, "ended", &uuid(2));
    cluster.call(&scheduler, r#"{"type":"RECONCILE","reconcile":{}}"#);
    assert_eq!(cluster.lines(&scheduler).len(), 2);
}

#[test]
fn implicit_leaves_out_unreachable_tasks() {
    let mut cluster = Cluster::new();
    let scheduler = framework(&mut cluster, true);
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.break_link(&slave);
    cluster.pass(Duration::from_secs(76));
    cluster.lines(&scheduler);
    cluster.call(&scheduler, r#"{"type":"RECONCILE","reconcile":{}}"#);
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
    cluster.call(&scheduler, &ask("t", Some(&slave.id)));
    assert_eq!(
        cluster.lines(&scheduler),
        ["UPDATE t TASK_UNREACHABLE REASON_RECONCILIATION: Reconciliation: Agent is unreachable"]
    );
}

#[test]
fn an_agent_marked_gone_answers_for_ever() {
    let mut cluster = Cluster::new();
    let scheduler = framework(&mut cluster, true);
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.lines(&scheduler);
    cluster.send(Input::Operator {
        call: OperatorCall::MarkAgentGone {
            agent: slave.id.parse().unwrap(),
        },
        reply: None,
    });
    let expected = [
        "RESCIND m-O1",
        "UPDATE t TASK_GONE_BY_OPERATOR REASON_AGENT_REMOVED_BY_OPERATOR: Agent has been marked gone",
        "FAILURE m-S0",
    ];
    assert_eq!(cluster.lines(&scheduler), expected);
    assert_eq!(
        cluster.told(slave.link).last().unwrap(),
        "Refused for ever: An operator has marked this agent gone"
    );
    let back = cluster.return_agent(&slave, AGENT, Vec::new());
    assert_eq!(
        cluster.told(back.link),
        ["Refused for ever: An operator has marked this agent gone"]
    );
}
