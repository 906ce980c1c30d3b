//! Operations that are done: what becomes of the pool, of the agent's total, and of what is left.

use tepui_proto::mesos::OperationState;

use super::{
    AGENT, accept, accept_with, agent, answer, applied, create, destroy, framework, framework_in,
    grow, launch, listed, reserve, reserved, scalar, shrink, task, total, unreserve, volume,
};
use crate::cluster::{Cluster, offered};

#[test]
fn reserve_create_and_launch_in_one_accept() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let cpus = reserved("cpus", "1", &["r"]);
    let disk = reserved("disk", "10", &["r"]);
    let operations = [
        reserve(&[cpus.clone(), disk]),
        create(&[volume("v", "10")]),
        launch(&[task("t", &slave.id, &[cpus, volume("v", "10")])]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.told(slave.link),
        [
            "Framework a",
            "ApplyOperation RESERVE",
            "ApplyOperation CREATE",
            "RunTask t"
        ]
    );
    // What nobody touched is offered again: the accept was of use.
    assert_eq!(
        cluster.lines(&scheduler),
        ["OFFERS m-S0 cpus:3;mem:1000;disk:90"]
    );
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus:3;mem:1000;disk:90;cpus(reservations: [(DYNAMIC,r,p)]):1;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:10"
    );
    assert_eq!(
        listed(&cluster),
        ["RESERVE OPERATION_PENDING", "CREATE OPERATION_PENDING"]
    );
}

/// The subset rule: more than what was refused is offered, the refused part with it.
#[test]
fn what_an_operation_made_is_offered_without_filter_and_the_rest_with_it() {
    let filters = r#","filters":{"refuse_seconds":3600}"#;
    let cpus = reserved("cpus", "1", &["r"]);
    for (used, expected) in [
        (
            false,
            "OFFERS m-S0 cpus(reservations: [(DYNAMIC,r,p)]):1;cpus:3;mem:1000;disk:100",
        ),
        (true, ""),
    ] {
        let mut cluster = Cluster::new();
        let slave = agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let mut operations = vec![reserve(std::slice::from_ref(&cpus))];
        if used {
            operations.push(launch(&[task("t", &slave.id, std::slice::from_ref(&cpus))]));
        }
        accept_with(&mut cluster, &scheduler, &[&offer], &operations, filters);
        cluster.pass(std::time::Duration::from_secs(60));
        assert_eq!(cluster.lines(&scheduler).join(" "), expected);
    }
}

/// One row a chain: from the agent's resources to what the role is offered afterwards.
#[test]
fn chains_of_operations() {
    let disk = |amount| reserved("disk", amount, &["r"]);
    let rows: Vec<(&str, Vec<String>, &str)> = vec![
        (
            "reserve and unreserve",
            vec![reserve(&[disk("10")]), unreserve(&[disk("10")])],
            "cpus:4;mem:1000;disk:100",
        ),
        (
            "part of a reservation",
            vec![reserve(&[disk("10")]), unreserve(&[disk("4")])],
            "cpus:4;mem:1000;disk:94;disk(reservations: [(DYNAMIC,r,p)]):6",
        ),
        (
            "two reservations merge",
            vec![reserve(&[disk("10")]), reserve(&[disk("5")])],
            "cpus:4;mem:1000;disk:85;disk(reservations: [(DYNAMIC,r,p)]):15",
        ),
        (
            "labels are part of the reservation",
            vec![
                reserve(&[disk("10")]),
                reserve(&[scalar(
                    "disk",
                    "5",
                    r#""reservations":[{"type":"DYNAMIC","role":"r","principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}}]"#,
                )]),
            ],
            "cpus:4;mem:1000;disk:85;disk(reservations: [(DYNAMIC,r,p)]):10;disk(reservations: [(DYNAMIC,r,p,{k: v})]):5",
        ),
        (
            "the old encoding",
            vec![reserve(&[scalar(
                "cpus",
                "1",
                r#""role":"r","reservation":{"principal":"p"}"#,
            )])],
            "cpus:3;mem:1000;disk:100;cpus(reservations: [(DYNAMIC,r,p)]):1",
        ),
        (
            "create and destroy",
            vec![
                reserve(&[disk("10")]),
                create(&[volume("v", "10")]),
                destroy(&[volume("v", "10")]),
                unreserve(&[disk("10")]),
            ],
            "cpus:4;mem:1000;disk:100",
        ),
        (
            "two volumes",
            vec![
                reserve(&[disk("10")]),
                create(&[volume("v", "4"), volume("w", "4")]),
            ],
            "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):2;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:4;disk(reservations: [(DYNAMIC,r,p)])[w:data:rw]:4",
        ),
        (
            "a volume grows",
            vec![
                reserve(&[disk("10")]),
                create(&[volume("v", "4")]),
                grow(&volume("v", "4"), &disk("2")),
            ],
            "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):4;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:6",
        ),
        (
            "a volume shrinks",
            vec![
                reserve(&[disk("10")]),
                create(&[volume("v", "10")]),
                shrink(&volume("v", "10"), "3"),
            ],
            "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:7;disk(reservations: [(DYNAMIC,r,p)]):3",
        ),
    ];
    for (name, operations, expected) in rows {
        let mut cluster = Cluster::new();
        let slave = agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        accept(&mut cluster, &scheduler, &[&offer], &operations);
        let again = cluster.offer(&scheduler);
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split(';').map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&offered(&again)), sorted(expected), "{name}");
        assert_eq!(
            sorted(&total(&cluster, &slave.id)),
            sorted(expected),
            "{name}"
        );
        // The agent does the same, one by one, and nothing changes any more.
        for apply in applied(&mut cluster, &slave) {
            answer(
                &mut cluster,
                &slave,
                &apply,
                OperationState::OperationFinished,
                1,
            );
        }
        assert_eq!(listed(&cluster), [""; 0], "{name}");
        assert_eq!(cluster.lines(&scheduler), [""; 0], "{name}");
    }
}

#[test]
fn refined_reservations_go_up_and_down_the_stack() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, "cpus(r):4;mem(r):100");
    let scheduler = framework_in(&mut cluster, "a", r#""r/s""#);
    let offer = cluster.offer(&scheduler);
    let refined = scalar(
        "cpus",
        "1",
        &format!(
            r#""reservations":[{{"type":"STATIC","role":"r"}},{}]"#,
            super::dynamic("r/s")
        ),
    );
    accept(
        &mut cluster,
        &scheduler,
        &[&offer],
        &[reserve(std::slice::from_ref(&refined))],
    );
    let offer = cluster.offer(&scheduler);
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus(reservations: [(STATIC,r)]):3;mem(reservations: [(STATIC,r)]):100;cpus(reservations: [(STATIC,r),(DYNAMIC,r/s,p)]):1"
    );
    accept(
        &mut cluster,
        &scheduler,
        &[&offer],
        &[unreserve(&[refined])],
    );
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus(reservations: [(STATIC,r)]):4;mem(reservations: [(STATIC,r)]):100"
    );
}

#[test]
fn what_grows_cannot_be_used_in_the_same_accept() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [
        reserve(&[reserved("disk", "10", &["r"])]),
        create(&[volume("v", "4")]),
        grow(&volume("v", "4"), &reserved("disk", "2", &["r"])),
        launch(&[
            task("old", &slave.id, &[volume("v", "4")]),
            task("new", &slave.id, &[volume("v", "6")]),
        ]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    let lines = cluster.lines(&scheduler);
    for (line, task) in lines.iter().zip(["old", "new"]) {
        let expected = format!("UPDATE {task} TASK_ERROR REASON_TASK_INVALID: Task uses more");
        assert!(line.starts_with(&expected), "{line}");
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[2].contains("[v:data:rw]:6"), "{lines:?}");
}

#[test]
fn several_offers_are_one_pool() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    let mut offers = cluster.offers(&scheduler);
    cluster.finish(&slave, &scheduler, "t");
    offers.extend(cluster.offers(&scheduler));
    assert_eq!(offers.len(), 2, "{offers:?}");
    let both: Vec<_> = offers.iter().collect();
    let operations = [reserve(&[
        reserved("cpus", "4", &["r"]),
        reserved("mem", "1000", &["r"]),
    ])];
    accept(&mut cluster, &scheduler, &both, &operations);
    assert_eq!(
        total(&cluster, &slave.id),
        "disk:100;cpus(reservations: [(DYNAMIC,r,p)]):4;mem(reservations: [(DYNAMIC,r,p)]):1000"
    );
}
