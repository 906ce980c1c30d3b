//! What agents answer, what frameworks hear and acknowledge, and what becomes of operations when somebody goes.

use tepui_master_core::{Input, OperatorCall, Reply, ReplyToken};
use tepui_proto::convert::resources;
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::{self, OperationState};
use tepui_proto::tepui::v1::{self, agent_message, master_message};

use super::{
    AGENT, accept, agent, answer, applied, dynamic, framework, launch, listed, reserve, reserved,
    total, unreserve, with_id,
};
use crate::cluster::{Cluster, Scheduler, Slave, registration, task_json, uuid};

/// The uuid of number 1, 2, … as JSON has it.
fn base64(number: u8) -> &'static str {
    match number {
        1 => "AQEBAQEBQAEBAQEBAQEBAQ==",
        2 => "AgICAgICQAICAgICAgICAg==",
        _ => unreachable!("no test uses more"),
    }
}

fn acknowledge(cluster: &mut Cluster, scheduler: &Scheduler, agent: &str, id: &str, number: u8) {
    let call = format!(
        r#"{{"type":"ACKNOWLEDGE_OPERATION_STATUS","acknowledge_operation_status":{{"agent_id":{{"value":"{agent}"}},"operation_id":{{"value":"{id}"}},"uuid":"{}"}}}}"#,
        base64(number)
    );
    assert_eq!(cluster.call(scheduler, &call), Reply::Accepted);
}

/// One cpu is reserved under the id `o`. Returns what the agent was sent.
fn reserving(cluster: &mut Cluster) -> (Slave, Scheduler, v1::ApplyOperation) {
    let slave = agent(cluster, AGENT);
    let scheduler = framework(cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [with_id("o", &reserve(&[reserved("cpus", "1", &["r"])]))];
    accept(cluster, &scheduler, &[&offer], &operations);
    cluster.lines(&scheduler);
    let apply = applied(cluster, &slave).remove(0);
    (slave, scheduler, apply)
}

fn pending(cluster: &Cluster) -> u64 {
    let counters = &cluster.master.counters().operations;
    counters.of(Type::Reserve, OperationState::OperationPending)
}

#[test]
fn an_operation_ends_with_its_acknowledgement() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    assert_eq!(apply.framework_id.as_ref().unwrap().value, scheduler.id);
    assert_eq!(apply.operation_uuid.value.len(), 16);
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_PENDING"]);
    assert_eq!(pending(&cluster), 1);
    for _ in 0..2 {
        // The agent repeats itself.
        answer(
            &mut cluster,
            &slave,
            &apply,
            OperationState::OperationFinished,
            1,
        );
        assert_eq!(
            cluster.lines(&scheduler),
            ["OPERATION o OPERATION_FINISHED: "]
        );
    }
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_FINISHED"]);
    let counters = cluster.master.counters();
    assert_eq!(
        counters
            .operations
            .of(Type::Reserve, OperationState::OperationFinished),
        1
    );
    assert_eq!(pending(&cluster), 0);
    // Another uuid, another id and another agent acknowledge nothing.
    acknowledge(&mut cluster, &scheduler, &slave.id, "o", 2);
    acknowledge(&mut cluster, &scheduler, &slave.id, "p", 1);
    acknowledge(&mut cluster, &scheduler, "m-S9", "o", 1);
    assert_eq!(cluster.told(slave.link), [""; 0]);
    acknowledge(&mut cluster, &scheduler, &slave.id, "o", 1);
    assert_eq!(cluster.told(slave.link), ["AcknowledgeOperation"]);
    assert_eq!(listed(&cluster), [""; 0]);
    let counters = cluster.master.counters();
    assert_eq!(
        (
            counters.valid_operation_status_update_acknowledgements,
            counters.invalid_operation_status_update_acknowledgements,
            counters.valid_operation_status_updates
        ),
        (1, 3, 2)
    );
}

#[test]
fn an_operation_without_id_ends_with_its_answer() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [reserve(&[reserved("cpus", "1", &["r"])])];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    cluster.lines(&scheduler);
    let apply = applied(&mut cluster, &slave).remove(0);
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(listed(&cluster), [""; 0]);
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
    assert_eq!(cluster.told(slave.link), [""; 0]);
}

/// The agent could not do it: its total comes first, and undoes what the master believed.
#[test]
fn a_failed_operation_is_undone_by_the_agents_total() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    let changed = v1::ResourcesChanged {
        total: resources::to_wire(&AGENT.parse().unwrap(), resources::Encoding::Stack),
        resource_version: Some(uuid(7)),
    };
    cluster.tell(
        slave.link,
        agent_message::Message::ResourcesChanged(changed),
    );
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFailed,
        1,
    );
    let lines = cluster.lines(&scheduler);
    assert_eq!(
        lines,
        [
            "RESCIND m-O1",
            "OFFERS m-S0 cpus:4;mem:1000;disk:100",
            "OPERATION o OPERATION_FAILED: "
        ]
    );
    assert_eq!(total(&cluster, &slave.id), AGENT);
    // What is sent from now on is made for the new total.
    let offer_id = "m-O2";
    let call = format!(
        r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{{"value":"{offer_id}"}}],"operations":[{},{}]}}}}"#,
        reserve(&[reserved("cpus", "1", &["r"])]),
        launch(&[task_json("t", "m-S0", "cpus:0.1")])
    );
    cluster.call(&scheduler, &call);
    let sent = cluster.to_agents.remove(&slave.link).unwrap_or_default();
    let versions = sent.into_iter().filter_map(|message| match message {
        master_message::Message::ApplyOperation(apply) => Some(apply.resource_version),
        master_message::Message::RunTask(run) => Some(run.resource_version),
        _ => None,
    });
    assert_eq!(versions.collect::<Vec<_>>(), [Some(uuid(7)), Some(uuid(7))]);
}

fn return_with(
    cluster: &mut Cluster,
    slave: &Slave,
    total: &str,
    operations: Vec<mesos::Operation>,
) -> Slave {
    let total = resources::to_wire(&total.parse().unwrap(), resources::Encoding::Stack);
    return_with_all(cluster, slave, total, operations)
}

fn return_with_all(
    cluster: &mut Cluster,
    slave: &Slave,
    total: Vec<mesos::Resource>,
    operations: Vec<mesos::Operation>,
) -> Slave {
    let link = cluster.open_link();
    let mut register = registration(AGENT, Some(&slave.id));
    register.checkpointed_resources = total;
    register.operations = operations;
    register.capabilities = [1, 2, 3, 4, 5, 6]
        .map(|kind| mesos::agent_info::Capability { r#type: Some(kind) })
        .to_vec();
    register.frameworks = vec![
        tepui_proto::json::from_slice(
            br#"{"user":"u","name":"a","principal":"p","id":{"value":"m-0000"},"roles":["r"],"capabilities":[{"type":"MULTI_ROLE"}]}"#,
        )
        .unwrap(),
    ];
    cluster.tell(link, agent_message::Message::Register(Box::new(register)));
    Slave {
        link,
        id: slave.id.clone(),
    }
}

/// The agent's link broke before it heard of an UNRESERVE and of a task that uses what that made free.
#[test]
fn what_a_task_may_have_is_not_made_free_once_more() {
    let port = format!(
        r#"{{"name":"ports","type":"RANGES","ranges":{{"range":[{{"begin":5,"end":5}}]}},"reservations":[{}]}}"#,
        dynamic("r")
    );
    let before = || {
        let plain = "cpus:4;ports:[1-4, 6-9]".parse().unwrap();
        let mut total = resources::to_wire(&plain, resources::Encoding::Stack);
        total.push(tepui_proto::json::from_slice(port.as_bytes()).unwrap());
        total
    };
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let slave = return_with_all(&mut cluster, &slave, before(), Vec::new());
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [
        unreserve(std::slice::from_ref(&port)),
        launch(&[task_json("t", "m-S0", "ports:[5-5]")]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(listed(&cluster), ["UNRESERVE OPERATION_PENDING"]);
    cluster.break_link(&slave);
    return_with_all(&mut cluster, &slave, before(), Vec::new());
    let offer = cluster.offers(&scheduler).pop().unwrap();
    let operations = [with_id("o", &unreserve(std::slice::from_ref(&port)))];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    let lines = cluster.lines(&scheduler);
    let refused = "Tasks that agent m-S0 may not have heard of use some of ports:[5-5]: try again when they have ended";
    assert!(lines[0].ends_with(refused), "{lines:?}");
}

/// An operation as the agent tells of it.
fn told(slave: &Slave, apply: &v1::ApplyOperation, state: OperationState) -> mesos::Operation {
    let over = state != OperationState::OperationPending;
    let status = mesos::OperationStatus {
        operation_id: apply.info.id.clone(),
        state: state as i32,
        uuid: over.then(|| mesos::Uuid { value: uuid(1) }),
        ..mesos::OperationStatus::default()
    };
    mesos::Operation {
        framework_id: apply.framework_id.clone(),
        agent_id: Some(mesos::AgentId {
            value: slave.id.clone(),
        }),
        info: apply.info.clone(),
        latest_status: status,
        statuses: Vec::new(),
        uuid: apply.operation_uuid.clone(),
    }
}

/// The stream broke before the operation got through.
#[test]
fn what_the_agent_does_not_list_is_dropped() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, _) = reserving(&mut cluster);
    cluster.break_link(&slave);
    cluster.lines(&scheduler);
    let slave = return_with(&mut cluster, &slave, AGENT, Vec::new());
    assert_eq!(
        cluster.lines(&scheduler),
        [
            "OPERATION o OPERATION_DROPPED: The operation did not reach the agent",
            "OFFERS m-S0 cpus:4;mem:1000;disk:100"
        ]
    );
    assert_eq!(listed(&cluster), [""; 0]);
    assert_eq!(total(&cluster, &slave.id), AGENT);
    let counters = &cluster.master.counters().operations;
    assert_eq!(counters.in_state(OperationState::OperationDropped), 1);
    assert_eq!(pending(&cluster), 0);
}

/// The stream broke before the answer got through.
#[test]
fn what_the_agent_lists_goes_on() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    cluster.break_link(&slave);
    cluster.lines(&scheduler);
    let finished = told(&slave, &apply, OperationState::OperationFinished);
    let slave = return_with(
        &mut cluster,
        &slave,
        "cpus:4;mem:1000;disk:100",
        vec![finished],
    );
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_FINISHED"]);
    cluster.lines(&scheduler);
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(
        cluster.lines(&scheduler),
        ["OPERATION o OPERATION_FINISHED: "]
    );
    acknowledge(&mut cluster, &scheduler, &slave.id, "o", 1);
    assert_eq!(listed(&cluster), [""; 0]);
}

/// A new leader learns of operations from agents, and their frameworks find them there.
#[test]
fn a_new_leader_learns_of_operations() {
    let mut old = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut old);
    let mut cluster = Cluster::new();
    let slave = return_with(
        &mut cluster,
        &slave,
        "cpus:3;mem:1000;disk:100;cpus(r):1",
        vec![told(&slave, &apply, OperationState::OperationFinished)],
    );
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_FINISHED"]);
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus:3;mem:1000;disk:100;cpus(reservations: [(STATIC,r)]):1"
    );
    let scheduler = cluster.resubscribe_as(
        &scheduler,
        r#""principal":"p","roles":["r"],"capabilities":[{"type":"MULTI_ROLE"}]"#,
    );
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    let lines = cluster.lines(&scheduler);
    assert!(
        lines.contains(&"OPERATION o OPERATION_FINISHED: ".to_owned()),
        "{lines:?}"
    );
    acknowledge(&mut cluster, &scheduler, &slave.id, "o", 1);
    assert_eq!(
        cluster.told(slave.link).last().unwrap(),
        "AcknowledgeOperation"
    );
}

/// Nobody comes to this leader for the operation: after ten minutes the master acknowledges it.
#[test]
fn orphans_are_adopted() {
    let mut old = Cluster::new();
    let (slave, _, apply) = reserving(&mut old);
    let mut cluster = Cluster::new();
    let link = cluster.open_link();
    let mut register = registration(AGENT, Some(&slave.id));
    register.operations = vec![told(&slave, &apply, OperationState::OperationFinished)];
    cluster.tell(link, agent_message::Message::Register(Box::new(register)));
    let slave = Slave { link, id: slave.id };
    cluster.told(link);
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(cluster.told(link), [""; 0]);
    cluster.pass(std::time::Duration::from_secs(600));
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(cluster.told(link), ["AcknowledgeOperation"]);
    assert_eq!(listed(&cluster), [""; 0]);
}

#[test]
fn operations_of_agents_that_go() {
    for (gone, state, message) in [
        (false, "OPERATION_UNREACHABLE", "Agent is unreachable"),
        (
            true,
            "OPERATION_GONE_BY_OPERATOR",
            "Agent has been marked gone",
        ),
    ] {
        let mut cluster = Cluster::new();
        let (slave, scheduler, apply) = reserving(&mut cluster);
        if gone {
            let call = OperatorCall::MarkAgentGone {
                agent: slave.id.parse().unwrap(),
            };
            let reply = Some(ReplyToken(cluster.key()));
            cluster.send(Input::Operator { call, reply });
        } else {
            cluster.break_link(&slave);
            cluster.pass(std::time::Duration::from_secs(76));
        }
        let lines = cluster.lines(&scheduler);
        let expected = format!("OPERATION o {state}: {message}");
        assert!(lines.contains(&expected), "{lines:?}");
        assert_eq!(listed(&cluster), [""; 0]);
        // Asked again, the answer is the same.
        reconcile(&mut cluster, &scheduler, &[("o", Some(&slave.id))]);
        assert_eq!(
            cluster.lines(&scheduler),
            [format!("OPERATION o {state}: Reconciliation")]
        );
        let counters = &cluster.master.counters().operations;
        assert_eq!(
            counters.in_state(OperationState::OperationUnreachable),
            u64::from(!gone)
        );
        if !gone {
            // It returns with the truth.
            let finished = told(&slave, &apply, OperationState::OperationFinished);
            return_with(&mut cluster, &slave, AGENT, vec![finished]);
            assert_eq!(listed(&cluster), ["RESERVE OPERATION_FINISHED"]);
            cluster.send(Input::Flush);
            let counters = &cluster.master.counters().operations;
            assert_eq!(counters.in_state(OperationState::OperationUnreachable), 0);
        }
    }
}

fn reconcile(cluster: &mut Cluster, scheduler: &Scheduler, asked: &[(&str, Option<&str>)]) {
    let asked: Vec<String> = asked
        .iter()
        .map(|(id, agent)| {
            let agent = agent.map_or_else(String::new, |agent| {
                format!(r#","agent_id":{{"value":"{agent}"}}"#)
            });
            format!(r#"{{"operation_id":{{"value":"{id}"}}{agent}}}"#)
        })
        .collect();
    let call = format!(
        r#"{{"type":"RECONCILE_OPERATIONS","reconcile_operations":{{"operations":[{}]}}}}"#,
        asked.join(",")
    );
    assert_eq!(cluster.call(scheduler, &call), Reply::Accepted);
}

#[test]
fn reconciliation_tells_what_is_known() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    reconcile(&mut cluster, &scheduler, &[]);
    assert_eq!(
        cluster.lines(&scheduler),
        ["OPERATION o OPERATION_PENDING: "]
    );
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    cluster.take_events(&scheduler);
    reconcile(
        &mut cluster,
        &scheduler,
        &[
            ("o", None),
            ("x", None),
            ("y", Some(&slave.id)),
            ("z", Some("m-S9")),
        ],
    );
    let events = cluster.take_events(&scheduler);
    let lines: Vec<String> = events.iter().map(crate::cluster::line).collect();
    assert_eq!(
        lines,
        [
            "OPERATION o OPERATION_FINISHED: ",
            "OPERATION x OPERATION_UNKNOWN: Reconciliation",
            "OPERATION y OPERATION_UNKNOWN: Reconciliation",
            "OPERATION z OPERATION_UNKNOWN: Reconciliation",
        ]
    );
    let first = &events[0].update_operation_status.as_ref().unwrap().status;
    assert_eq!(first.uuid, None, "an answer is not to be acknowledged");
    assert_eq!(first.agent_id.as_ref().unwrap().value, slave.id);
}

/// Mesos takes an id twice, and so do we; the uuid says which one is acknowledged.
#[test]
fn two_operations_may_have_one_id() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let one = with_id("o", &reserve(&[reserved("cpus", "1", &["r"])]));
    accept(&mut cluster, &scheduler, &[&offer], &[one.clone(), one]);
    let applies = applied(&mut cluster, &slave);
    assert_ne!(applies[0].operation_uuid, applies[1].operation_uuid);
    answer(
        &mut cluster,
        &slave,
        &applies[0],
        OperationState::OperationFinished,
        1,
    );
    answer(
        &mut cluster,
        &slave,
        &applies[1],
        OperationState::OperationFinished,
        2,
    );
    for (number, left) in [(2, 1), (1, 0)] {
        acknowledge(&mut cluster, &scheduler, &slave.id, "o", number);
        assert_eq!(listed(&cluster).len(), left);
    }
}

/// The framework goes: what has ended is acknowledged for it at once, the rest when the agent answers.
#[test]
fn operations_of_a_framework_that_goes() {
    for over_before in [false, true] {
        let mut cluster = Cluster::new();
        let (slave, scheduler, apply) = reserving(&mut cluster);
        if over_before {
            answer(
                &mut cluster,
                &slave,
                &apply,
                OperationState::OperationFinished,
                1,
            );
        }
        cluster.call(&scheduler, r#"{"type":"TEARDOWN"}"#);
        if !over_before {
            answer(
                &mut cluster,
                &slave,
                &apply,
                OperationState::OperationFinished,
                1,
            );
        }
        let told = cluster.told(slave.link);
        assert!(
            told.contains(&"AcknowledgeOperation".to_owned()),
            "{told:?}"
        );
        assert_eq!(listed(&cluster), [""; 0]);
        // The reservation stays.
        assert!(total(&cluster, &slave.id).contains("(DYNAMIC,r,p)"));
    }
}

/// A framework that is away hears of its operations when it is back: the agent repeats what is not acknowledged.
#[test]
fn a_framework_that_is_away_misses_nothing() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    cluster.send(Input::StreamClosed {
        stream: scheduler.stream,
    });
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_FINISHED"]);
    let again = cluster.resubscribe_as(
        &scheduler,
        r#""principal":"p","roles":["r"],"capabilities":[{"type":"MULTI_ROLE"}]"#,
    );
    cluster.lines(&again);
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationFinished,
        1,
    );
    assert_eq!(cluster.lines(&again), ["OPERATION o OPERATION_FINISHED: "]);
}

/// What an agent says that makes no sense changes nothing.
#[test]
fn bad_answers() {
    let mut cluster = Cluster::new();
    let (slave, scheduler, apply) = reserving(&mut cluster);
    let other = agent(&mut cluster, "cpus:1");
    cluster.take_events(&scheduler);
    let mut unknown = apply.clone();
    unknown.operation_uuid.value = uuid(3);
    let mut short = apply.clone();
    short.operation_uuid.value = bytes::Bytes::from_static(b"x");
    let finished = OperationState::OperationFinished;
    answer(&mut cluster, &slave, &unknown, finished, 1);
    answer(&mut cluster, &slave, &short, finished, 1);
    answer(&mut cluster, &other, &apply, finished, 1);
    answer(
        &mut cluster,
        &slave,
        &apply,
        OperationState::OperationUnknown,
        1,
    );
    assert_eq!(listed(&cluster), ["RESERVE OPERATION_PENDING"]);
    assert_eq!(
        cluster.master.counters().invalid_operation_status_updates,
        4
    );
    assert_eq!(cluster.lines(&scheduler), [""; 0]);
}
