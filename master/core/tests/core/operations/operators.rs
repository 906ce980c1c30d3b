//! Operators' operations: what is taken back for them, what they are answered, and that a refusal changes nothing.

use std::sync::Arc;

use tepui_master_core::{Input, OperatorCall, Reply, ReplyToken};
use tepui_proto::mesos::OperationState;
use tepui_proto::mesos::offer::Operation;

use super::{
    AGENT, agent, agent_with, answer, applied, create, destroy, framework, grow, launch, listed,
    reserve, reserved, scalar, shared_volume, shrink, task, total, unreserve, volume, with_id,
};
use crate::cluster::{Cluster, Slave};

fn operate(cluster: &mut Cluster, agent: &str, operation: &str, principal: Option<&str>) -> Reply {
    let operation: Operation = tepui_proto::json::from_slice(operation.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {operation}"));
    let token = ReplyToken(cluster.key());
    cluster.send(Input::Operator {
        call: OperatorCall::Operate {
            agent: agent.parse().unwrap(),
            operation: Box::new(operation),
            principal: principal.map(Arc::from),
        },
        reply: Some(token),
    });
    cluster.replies.remove(&token).expect("answered at once")
}

fn refused(status: u16, message: &str) -> Reply {
    Reply::Refused {
        status,
        message: message.to_owned(),
    }
}

#[test]
fn operators_reserve_create_and_undo() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let disk = |amount| reserved("disk", amount, &["r"]);
    let cpus_of = |role: &str| reserved("cpus", "1", &[role]);
    let again = format!(
        r#"{{"type":"RESERVE","reserve":{{"source":[{}],"resources":[{}]}}}}"#,
        cpus_of("r"),
        cpus_of("q")
    );
    let rows = [
        (
            reserve(&[disk("10"), cpus_of("r")]),
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10;cpus(reservations: [(DYNAMIC,r,p)]):1",
        ),
        (
            create(&[volume("v", "5")]),
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):5;cpus(reservations: [(DYNAMIC,r,p)]):1;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:5",
        ),
        (
            grow(&volume("v", "5"), &disk("2")),
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):3;cpus(reservations: [(DYNAMIC,r,p)]):1;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:7",
        ),
        (
            shrink(&volume("v", "7"), "1"),
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):4;cpus(reservations: [(DYNAMIC,r,p)]):1;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:6",
        ),
        (
            destroy(&[volume("v", "6")]),
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10;cpus(reservations: [(DYNAMIC,r,p)]):1",
        ),
        (
            again,
            "cpus:3;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10;cpus(reservations: [(DYNAMIC,q,p)]):1",
        ),
        (
            unreserve(&[disk("10"), cpus_of("q")]),
            "cpus:4;mem:1000;disk:100",
        ),
    ];
    for (operation, expected) in rows {
        let reply = operate(&mut cluster, &slave.id, &operation, Some("p"));
        assert_eq!(reply, Reply::Accepted, "{operation}");
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split(';').map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(
            sorted(&total(&cluster, &slave.id)),
            sorted(expected),
            "{operation}"
        );
        assert_eq!(listed(&cluster).len(), 1);
        let apply = applied(&mut cluster, &slave).remove(0);
        assert_eq!(apply.framework_id, None);
        answer(
            &mut cluster,
            &slave,
            &apply,
            OperationState::OperationFinished,
            1,
        );
        assert_eq!(listed(&cluster), [""; 0]);
    }
}

/// Of several offers only those are taken back whose resources are needed: here one cpu is free, and each of two offers holds one
/// more, beside a third that holds none.
#[test]
fn just_enough_offers_are_rescinded() {
    for (cpus, expected) in [("1", 0), ("2", 1), ("3", 2)] {
        let mut cluster = Cluster::new();
        let slave = agent(&mut cluster, "cpus:3;mem:1000;disk:100");
        let scheduler = framework(&mut cluster, "a");
        let first = cluster.offer(&scheduler);
        let uses = |id: &str, mem: &str| {
            task(
                id,
                &slave.id,
                &[scalar("cpus", "1", ""), scalar("mem", mem, "")],
            )
        };
        let tasks = [uses("t", "100"), uses("u", "100"), uses("v", "100")];
        super::accept(&mut cluster, &scheduler, &[&first], &[launch(&tasks)]);
        cluster.finish(&slave, &scheduler, "t");
        cluster.finish(&slave, &scheduler, "u");
        assert_eq!(cluster.offers(&scheduler).len(), 3);
        cluster.call(&scheduler, r#"{"type":"SUPPRESS"}"#);
        cluster.finish(&slave, &scheduler, "v");
        cluster.lines(&scheduler);
        let wanted = reserve(&[reserved("cpus", cpus, &["r"])]);
        let reply = operate(&mut cluster, &slave.id, &wanted, Some("p"));
        assert_eq!(reply, Reply::Accepted);
        let rescinded = cluster
            .lines(&scheduler)
            .iter()
            .filter(|line| line.starts_with("RESCIND"))
            .count();
        assert_eq!(rescinded, expected, "{cpus}");
    }
}

#[test]
fn what_operators_are_refused() {
    let cpus = |amount| reserved("cpus", amount, &["r"]);
    let allocated = scalar(
        "cpus",
        "1",
        &format!(
            r#""allocation_info":{{"role":"r"}},"reservations":[{}]"#,
            super::dynamic("r")
        ),
    );
    let again = |source: &str, wanted: &str| {
        format!(r#"{{"type":"RESERVE","reserve":{{"source":[{source}],"resources":[{wanted}]}}}}"#)
    };
    let fixed = scalar(
        "cpus",
        "1",
        r#""reservations":[{"type":"STATIC","role":"r"}]"#,
    );
    let rows: Vec<(&str, String, Option<&str>, u16, &str)> = vec![
        (
            "m-S9",
            reserve(&[cpus("1")]),
            None,
            400,
            "No agent found with specified ID m-S9",
        ),
        (
            "m-S0",
            launch(&[]),
            None,
            400,
            "Operators cannot ask for LAUNCH",
        ),
        (
            "m-S0",
            "{}".to_owned(),
            None,
            400,
            "Operators cannot ask for UNKNOWN",
        ),
        (
            "m-S0",
            with_id("o", &reserve(&[cpus("1")])),
            None,
            400,
            "Operators' operations have no id: nobody is there to hear of them",
        ),
        (
            "m-S0",
            reserve(&[allocated]),
            None,
            400,
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(DYNAMIC,r,p)]):1 is allocated to role 'r', but operators name resources that are not allocated",
        ),
        (
            "m-S0",
            reserve(&[cpus("1")]),
            Some("q"),
            400,
            "Invalid RESERVE operation: cpus(reservations: [(DYNAMIC,r,p)]):1 names the principal 'p', but 'q' asks",
        ),
        (
            "m-S0",
            again(&cpus("1"), &reserved("cpus", "2", &["q"])),
            None,
            400,
            "Invalid RESERVE operation: 'source' (cpus:1) and 'resources' (cpus:2) must be the same but for their reservations",
        ),
        (
            "m-S0",
            again(&fixed, &reserved("cpus", "1", &["q"])),
            None,
            400,
            "Invalid RESERVE operation: The static reservation for role 'r' can neither be taken away nor made",
        ),
        (
            "m-S0",
            again(
                &format!("{},{}", cpus("1"), reserved("mem", "1", &["q"])),
                &format!("{},{}", cpus("1"), reserved("mem", "1", &["r"])),
            ),
            None,
            400,
            "Invalid RESERVE operation: All resources must have the same reservations, and mem(reservations: [(DYNAMIC,q,p)]):1 has others",
        ),
        (
            "m-S0",
            reserve(&[cpus("9")]),
            None,
            409,
            "Agent m-S0 has not cpus:9 but cpus:4; mem:1000; disk:100",
        ),
        // A task uses the other.
        (
            "m-S0",
            reserve(&[cpus("4")]),
            None,
            409,
            "Agent m-S0 has not enough that no task uses: cpus:4 is needed",
        ),
        (
            "m-S0",
            unreserve(&[cpus("1")]),
            None,
            409,
            "Agent m-S0 has not cpus(reservations: [(DYNAMIC,r,p)]):1 but cpus:4; mem:1000; disk:100",
        ),
        (
            "m-S1",
            grow(&volume("v", "1"), &reserved("disk", "1", &["r"])),
            None,
            400,
            "Invalid GROW_VOLUME operation: The agent lacks the capability RESIZE_VOLUME",
        ),
        (
            "m-S2",
            reserve(&[cpus("1")]),
            None,
            409,
            "Agent m-S2 is disconnected, so nothing of it is free",
        ),
    ];
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    agent_with(&mut cluster, "cpus:1", &[1, 2, 3]);
    let gone: Slave = agent(&mut cluster, "cpus:1");
    cluster.break_link(&gone);
    cluster.lines(&scheduler);
    cluster.told(slave.link);
    for (agent, operation, principal, status, message) in rows {
        let reply = operate(&mut cluster, agent, &operation, principal);
        assert_eq!(reply, refused(status, message), "{operation}");
        assert_eq!(cluster.lines(&scheduler), [""; 0], "{operation}");
        assert_eq!(cluster.told(slave.link), [""; 0], "{operation}");
        assert_eq!(total(&cluster, &slave.id), AGENT);
        assert_eq!(listed(&cluster), [""; 0]);
    }
    cluster.send(Input::Suspended(true));
    assert_eq!(
        operate(&mut cluster, &slave.id, &reserve(&[cpus("1")]), None),
        refused(
            503,
            "This master is cut off from the others and starts nothing new"
        )
    );
}

#[test]
fn a_volume_in_use_stays() {
    for (volume, shared) in [(volume("v", "10"), false), (shared_volume("v", "10"), true)] {
        let mut cluster = Cluster::new();
        let slave = agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let operations = [
            reserve(&[reserved("disk", "10", &["r"])]),
            create(std::slice::from_ref(&volume)),
            launch(&[task("t", &slave.id, std::slice::from_ref(&volume))]),
        ];
        super::accept(&mut cluster, &scheduler, &[&offer], &operations);
        let gone = destroy(std::slice::from_ref(&volume));
        let reply = operate(&mut cluster, &slave.id, &gone, Some("p"));
        let Reply::Refused { status, message } = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(status, 400);
        assert!(
            message.ends_with("is in use by a task or an executor"),
            "{message}"
        );
        cluster.finish(&slave, &scheduler, "t");
        cluster.lines(&scheduler);
        assert_eq!(
            operate(&mut cluster, &slave.id, &gone, Some("p")),
            Reply::Accepted
        );
        // A shared volume was offered again while it was used; the other alone is too little for an offer.
        let rescinded = cluster
            .lines(&scheduler)
            .iter()
            .any(|line| line.starts_with("RESCIND"));
        assert_eq!(rescinded, shared);
        assert_eq!(
            total(&cluster, &slave.id),
            "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10"
        );
    }
}

/// A reservation made by an operator is offered to its role at once.
#[test]
fn a_reservation_reaches_its_role() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let reply = operate(
        &mut cluster,
        &slave.id,
        &reserve(&[reserved("cpus", "4", &["r"])]),
        None,
    );
    assert_eq!(reply, Reply::Accepted);
    let other = cluster.scheduler("other");
    assert_eq!(
        cluster.lines(&other)[1..],
        ["OFFERS m-S0 mem:1000;disk:100"]
    );
    let scheduler = framework(&mut cluster, "a");
    assert_eq!(
        cluster.lines(&scheduler)[1..],
        ["OFFERS m-S0 cpus(reservations: [(DYNAMIC,r,p)]):4"]
    );
}
