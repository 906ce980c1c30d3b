//! Operations that are refused: one row a rule, each told why, and each without effect.

use tepui_proto::mesos::OperationState;

use super::{
    AGENT, accept, agent, agent_with, create, destroy, dynamic, framework, framework_in, grow,
    launch, listed, reserve, reserved, scalar, shared_volume, shrink, task, total, unreserve,
    volume, volume_with, with_id,
};
use crate::cluster::{Cluster, offered};

/// What stands on the agent before each row.
const TOTAL: &str = "cpus:3;mem:1000;disk:79;cpus(reservations: [(STATIC,r)]):1;gpus:2;disk(reservations: [(DYNAMIC,r,p)]):11;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]:10";

fn disk_operation(name: &str, field: &str, source: &str, rest: &str) -> String {
    format!(r#"{{"type":"{name}","{field}":{{"source":{source}{rest}}}}}"#)
}

#[test]
fn each_rule_has_its_words() {
    let plain = |name, amount| scalar(name, amount, "");
    let disk = |amount: &str| reserved("disk", amount, &["r"]);
    let provider = r#""provider_id":{"value":"x"}"#;
    let source = |kind: &str, rest: &str| {
        scalar(
            "disk",
            "1",
            &format!(r#"{provider},"disk":{{"source":{{"type":"{kind}"{rest}}}}}"#),
        )
    };
    let new_volume = |id: &str, disk: &str, rest: &str| {
        scalar(
            "disk",
            "1",
            &format!(
                r#""reservations":[{}],"disk":{{"persistence":{{"id":"{id}","principal":"p"}}{disk}}}{rest}"#,
                dynamic("r")
            ),
        )
    };
    let rw = r#","volume":{"container_path":"data","mode":"RW"}"#;
    let rows: Vec<(String, &str)> = vec![
        // ---- RESERVE
        (
            reserve(&[]),
            "Invalid RESERVE operation: No resources are named",
        ),
        (
            r#"{"type":"RESERVE"}"#.to_owned(),
            "Invalid RESERVE operation: Expecting 'reserve' to be present",
        ),
        (
            reserve(&[scalar("cpus", "0", &format!(r#""reservations":[{}]"#, dynamic("r")))]),
            "Invalid RESERVE operation: No resources are named",
        ),
        (
            reserve(&[reserved("cpus", "-1", &["r"])]),
            "Invalid RESERVE operation: Invalid resources: ",
        ),
        (
            reserve(&[plain("cpus", "1")]),
            "Invalid RESERVE operation: cpus(allocated: r):1 is not dynamically reserved",
        ),
        (
            reserve(&[scalar(
                "cpus",
                "1",
                r#""reservations":[{"type":"STATIC","role":"r"}]"#,
            )]),
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(STATIC,r)]):1 is not dynamically reserved",
        ),
        (
            reserve(&[reserved("cpus", "1", &["*"])]),
            "Invalid RESERVE operation: Invalid resources: ",
        ),
        (
            reserve(&[reserved("cpus", "1", &["r", "q"])]),
            "Invalid RESERVE operation: Invalid resources: ",
        ),
        (
            reserve(&[reserved("cpus", "1", &["q"])]),
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(DYNAMIC,q,p)]):1 is reserved for role 'q', but allocated to 'r'",
        ),
        (
            reserve(&[scalar(
                "cpus",
                "1",
                &format!(r#""allocation_info":{{"role":"q"}},"reservations":[{}]"#, dynamic("q")),
            )]),
            "Invalid RESERVE operation: cpus(allocated: q)(reservations: [(DYNAMIC,q,p)]):1 is reserved for role 'q', which is not a role of the framework",
        ),
        (
            reserve(&[scalar(
                "cpus",
                "1",
                r#""reservations":[{"type":"DYNAMIC","role":"r"}]"#,
            )]),
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(DYNAMIC,r)]):1 names no principal, but 'p' asks",
        ),
        (
            reserve(&[scalar(
                "cpus",
                "1",
                r#""reservations":[{"type":"DYNAMIC","role":"r","principal":"q"}]"#,
            )]),
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(DYNAMIC,r,q)]):1 names the principal 'q', but 'p' asks",
        ),
        (
            reserve(&[volume("w", "1")]),
            "Invalid RESERVE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[w:data:rw]:1 is a persistent volume, whose reservation cannot change",
        ),
        (
            reserve(&[scalar(
                "cpus",
                "1",
                &format!(r#""revocable":{{}},"reservations":[{}]"#, dynamic("r")),
            )]),
            "Invalid RESERVE operation: cpus(allocated: r)(reservations: [(DYNAMIC,r,p)]){REV}:1 is revocable",
        ),
        (
            reserve(&[
                reserved("cpus", "1", &["r"]),
                scalar("mem", "1", &format!(r#"{provider},"reservations":[{}]"#, dynamic("r"))),
            ]),
            "Invalid RESERVE operation: All resources must be of the same resource provider",
        ),
        (
            reserve(&[reserved("cpus", "5", &["r"])]),
            "Invalid RESERVE operation: it needs cpus(allocated: r):5, of which the offers have only ",
        ),
        (
            r#"{"type":"RESERVE","reserve":{"source":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}],"resources":[SELF]}}"#
                .replace("SELF", &reserved("cpus", "1", &["r"])),
            "Invalid RESERVE operation: 'source' may be set by operators only",
        ),
        // ---- UNRESERVE
        (
            unreserve(&[plain("cpus", "1")]),
            "Invalid UNRESERVE operation: cpus(allocated: r):1 is not dynamically reserved",
        ),
        (
            unreserve(&[scalar(
                "cpus",
                "1",
                r#""reservations":[{"type":"STATIC","role":"r"}]"#,
            )]),
            "Invalid UNRESERVE operation: cpus(allocated: r)(reservations: [(STATIC,r)]):1 is not dynamically reserved",
        ),
        (
            unreserve(&[volume("v", "10")]),
            "Invalid UNRESERVE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[v:data:rw]:10 is a persistent volume, which has to be destroyed first",
        ),
        (
            unreserve(&[disk("12")]),
            "Invalid UNRESERVE operation: it needs disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):12, of which the offers have only ",
        ),
        (
            unreserve(&[scalar(
                "disk",
                "1",
                r#""reservations":[{"type":"DYNAMIC","role":"r","principal":"p","labels":{"labels":[{"key":"k"}]}}]"#,
            )]),
            "Invalid UNRESERVE operation: it needs ",
        ),
        // ---- CREATE
        (
            create(&[disk("1")]),
            "Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):1 is not a persistent volume: it has no 'disk.persistence'",
        ),
        (
            create(&[plain("cpus", "1")]),
            "Invalid CREATE operation: cpus(allocated: r):1 is not a persistent volume",
        ),
        (
            create(&[new_volume("w", "", "")]),
            "Invalid CREATE operation: Invalid resources: ",
        ),
        (
            create(&[new_volume(
                "w",
                r#","volume":{"container_path":"data","mode":"RO"}"#,
                "",
            )]),
            "Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[w:data:ro]:1 is read-only: the mode must be RW",
        ),
        (
            create(&[new_volume(
                "w",
                r#","volume":{"container_path":"data","mode":"RW","host_path":"/"}"#,
                "",
            )]),
            "Invalid CREATE operation: Invalid resources: ",
        ),
        (
            create(&[new_volume("a/b", rw, "")]),
            "Invalid CREATE operation: Invalid resources: ",
        ),
        (
            create(&[new_volume("w", &format!(r#"{rw},"source":{{"type":"BLOCK"}}"#), "")]),
            "Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[BLOCK,w:data:rw]:1 is on a disk without a file system",
        ),
        (
            create(&[new_volume("w", rw, r#","revocable":{}"#)]),
            "Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[w:data:rw]{REV}:1 is revocable",
        ),
        (
            create(&[scalar(
                "disk",
                "1",
                &format!(r#""disk":{{"persistence":{{"id":"w","principal":"p"}}{rw}}}"#),
            )]),
            "Invalid CREATE operation: disk(allocated: r)[w:data:rw]:1 is not reserved",
        ),
        (
            create(&[volume("v", "1")]),
            "Invalid CREATE operation: The persistence id 'v' is in use already for role 'r' on this agent",
        ),
        (
            create(&[volume("w", "1"), volume("w", "2")]),
            "Invalid CREATE operation: The persistence id 'w' is in use already for role 'r' on this agent",
        ),
        (
            create(&[scalar(
                "disk",
                "1",
                &format!(
                    r#""reservations":[{}],"disk":{{"persistence":{{"id":"w","principal":"q"}}{rw}}}"#,
                    dynamic("r")
                ),
            )]),
            "Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[w:data:rw]:1 names the principal 'q', but 'p' asks",
        ),
        (
            create(&[volume("w", "12")]),
            "Invalid CREATE operation: it needs disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):12, of which the offers have only ",
        ),
        // ---- DESTROY
        (
            destroy(&[disk("1")]),
            "Invalid DESTROY operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):1 is not a persistent volume",
        ),
        (
            destroy(&[volume("w", "10")]),
            "Invalid DESTROY operation: The agent has no volume disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[w:data:rw]:10, or not as often",
        ),
        (
            destroy(&[volume("v", "9")]),
            "Invalid DESTROY operation: The agent has no volume ",
        ),
        (
            destroy(&[volume("v", "10"), volume("v", "10")]),
            "Invalid DESTROY operation: The agent has no volume ",
        ),
        // ---- GROW_VOLUME
        (
            grow(&disk("1"), &disk("1")),
            "Invalid GROW_VOLUME operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):1 is not a persistent volume",
        ),
        (
            grow(&volume("v", "10"), &disk("0")),
            "Invalid GROW_VOLUME operation: 'addition' must be more than nothing",
        ),
        (
            grow(&volume("v", "10"), &plain("disk", "1")),
            "Invalid GROW_VOLUME operation: 'addition' (disk(allocated: r):1) is not the disk that 'volume'",
        ),
        (
            grow(&volume("v", "10"), &plain("cpus", "1")),
            "Invalid GROW_VOLUME operation: 'addition' (cpus(allocated: r):1) is not disk",
        ),
        (
            grow(&volume("v", "10"), &disk("12")),
            "Invalid GROW_VOLUME operation: it needs ",
        ),
        (
            grow(&shared_volume("v", "10"), &disk("1")),
            "Invalid GROW_VOLUME operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[v:data:rw]<SHARED>:10 is shared, and shared volumes keep their size",
        ),
        (
            grow(&volume_with("v", "10", &format!(",{provider}")), &disk("1")),
            "Invalid GROW_VOLUME operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[v:data:rw]:10 is of a resource provider",
        ),
        // ---- SHRINK_VOLUME
        (
            shrink(&volume("v", "10"), "0"),
            "Invalid SHRINK_VOLUME operation: 'subtract' must be more than nothing",
        ),
        (
            shrink(&volume("v", "10"), "-1"),
            "Invalid SHRINK_VOLUME operation: 'subtract' must be more than nothing",
        ),
        (
            shrink(&volume("v", "10"), "10"),
            "Invalid SHRINK_VOLUME operation: 'subtract' (10) must be less than the volume's size (10)",
        ),
        (
            shrink(
                &new_volume(
                    "m",
                    &format!(r#"{rw},"source":{{"type":"MOUNT","mount":{{"root":"/m"}}}}"#),
                    "",
                ),
                "1",
            ),
            "Invalid SHRINK_VOLUME operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[MOUNT:/m,m:data:rw]:1 is a MOUNT disk, which is taken as a whole",
        ),
        // ---- CREATE_DISK, DESTROY_DISK
        (
            disk_operation("CREATE_DISK", "create_disk", &disk("1"), r#","target_type":"MOUNT""#),
            "Invalid CREATE_DISK operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)]):1 is not of a resource provider",
        ),
        (
            disk_operation("CREATE_DISK", "create_disk", &source("BLOCK", ""), r#","target_type":"MOUNT""#),
            "Invalid CREATE_DISK operation: disk(allocated: r)[BLOCK]:1 is not a RAW disk",
        ),
        (
            disk_operation("CREATE_DISK", "create_disk", &source("RAW", ""), r#","target_type":"PATH""#),
            "Invalid CREATE_DISK operation: 'target_type' must be MOUNT or BLOCK",
        ),
        (
            disk_operation("CREATE_DISK", "create_disk", &source("RAW", ""), r#","target_type":"MOUNT""#),
            "Invalid CREATE_DISK operation: 'target_profile' must be set, since the source has no profile",
        ),
        (
            disk_operation(
                "CREATE_DISK",
                "create_disk",
                &source("RAW", r#","profile":"fast""#),
                r#","target_type":"MOUNT","target_profile":"slow""#,
            ),
            "Invalid CREATE_DISK operation: 'target_profile' must not be set, since the source has a profile",
        ),
        (
            disk_operation(
                "CREATE_DISK",
                "create_disk",
                &source("RAW", r#","profile":"fast""#),
                r#","target_type":"MOUNT""#,
            ),
            "Invalid CREATE_DISK operation: The agent has no resource provider 'x' for storage",
        ),
        (
            disk_operation("DESTROY_DISK", "destroy_disk", &source("RAW", ""), ""),
            "Invalid DESTROY_DISK operation: disk(allocated: r)[RAW]:1 has no source id",
        ),
        (
            disk_operation("DESTROY_DISK", "destroy_disk", &source("RAW", r#","id":"i""#), ""),
            "Invalid DESTROY_DISK operation: The agent has no resource provider 'x' for storage",
        ),
        // ---- what is no operation
        ("{}".to_owned(), "The operation's type is not known"),
    ];
    for (operation, expected) in &rows {
        check(operation, expected);
    }
}

/// The operation, with an id, is told to be wrong with these words, and nothing is changed.
fn check(operation: &str, expected: &str) {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, "cpus:3;mem:1000;disk:100;cpus(r):1;gpus:2");
    let scheduler = framework_with_gpus(&mut cluster);
    let offer = cluster.offer(&scheduler);
    let before = [
        reserve(&[reserved("disk", "21", &["r"])]),
        create(&[volume("v", "10")]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &before);
    let offer = cluster.offer(&scheduler);
    let (total_before, offered_before) = (total(&cluster, &slave.id), offered(&offer));
    assert_eq!(sorted(&total_before), sorted(TOTAL));
    cluster.told(slave.link);
    let operation = if operation == "{}" {
        r#"{"id":{"value":"o"}}"#.to_owned()
    } else {
        with_id("o", operation)
    };
    accept(
        &mut cluster,
        &scheduler,
        &[&offer],
        std::slice::from_ref(&operation),
    );
    let lines = cluster.lines(&scheduler);
    let told = lines
        .first()
        .and_then(|line| line.strip_prefix("OPERATION o OPERATION_ERROR: "))
        .unwrap_or_else(|| panic!("{lines:?} for {operation}"));
    assert!(
        told.starts_with(expected),
        "{told:?} is not {expected:?} for {operation}"
    );
    assert_eq!(cluster.told(slave.link), [""; 0], "{operation}");
    assert_eq!(total(&cluster, &slave.id), total_before, "{operation}");
    assert_eq!(
        listed(&cluster),
        ["RESERVE OPERATION_PENDING", "CREATE OPERATION_PENDING"]
    );
    cluster.pass(std::time::Duration::from_secs(6));
    let again = cluster.offer(&scheduler);
    assert_eq!(sorted(&offered(&again)), sorted(&offered_before));
    let counters = cluster.master.counters();
    assert_eq!(
        counters.operations.in_state(OperationState::OperationError),
        1
    );
}

fn sorted(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text.split(';').map(str::to_owned).collect();
    parts.sort();
    parts
}

fn framework_with_gpus(cluster: &mut Cluster) -> crate::cluster::Scheduler {
    cluster.subscribe(
        r#"{"user":"u","name":"a","principal":"p","failover_timeout":3600,"roles":["r"],"capabilities":[
            {"type":"PARTITION_AWARE"},{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"GPU_RESOURCES"},{"type":"SHARED_RESOURCES"}]}"#,
    )
}

/// What the agent lacks, and what then cannot be done.
#[test]
fn capabilities_of_the_agent() {
    let nested = reserved("cpus", "1", &["r/s"]);
    let refined = scalar(
        "cpus",
        "1",
        &format!(
            r#""reservations":[{{"type":"STATIC","role":"r"}},{}]"#,
            dynamic("r/s")
        ),
    );
    let rows: [(&[i32], String, &str); 5] = [
        (
            &[1, 3, 4, 5, 6],
            reserve(&[nested]),
            "Invalid RESERVE operation: cpus(allocated: r/s)(reservations: [(DYNAMIC,r/s,p)]):1 is reserved for a role below another, and the agent lacks the capability HIERARCHICAL_ROLE",
        ),
        (
            &[1, 2, 4, 5, 6],
            reserve(&[refined]),
            "Invalid RESERVE operation: cpus(allocated: r/s)(reservations: [(STATIC,r),(DYNAMIC,r/s,p)]):1 refines a reservation, and the agent lacks the capability RESERVATION_REFINEMENT",
        ),
        (
            &[1, 2, 3, 4, 6],
            grow(&volume("v", "1"), &reserved("disk", "1", &["r"])),
            "Invalid GROW_VOLUME operation: The agent lacks the capability RESIZE_VOLUME",
        ),
        (
            &[1, 2, 3, 5, 6],
            reserve(&[]),
            "The operation asked for feedback, but the agent lacks the capability RESOURCE_PROVIDER",
        ),
        (
            &[1, 2, 3, 4, 5],
            reserve(&[]),
            "The operation asked for feedback, but the agent lacks the capability AGENT_OPERATION_FEEDBACK",
        ),
    ];
    for (capabilities, operation, expected) in rows {
        let mut cluster = Cluster::new();
        agent_with(&mut cluster, "cpus:4;cpus(r):1;mem:100", capabilities);
        let scheduler = framework_in(&mut cluster, "a", r#""r/s""#);
        let offer = cluster.offer(&scheduler);
        accept(
            &mut cluster,
            &scheduler,
            &[&offer],
            &[with_id("o", &operation)],
        );
        assert_eq!(
            cluster.lines(&scheduler)[0],
            format!("OPERATION o OPERATION_ERROR: {expected}")
        );
    }
}

#[test]
fn ids_of_operations() {
    for (id, ok) in [
        ("", false),
        ("a/b", true),
        (&*"x".repeat(255), true),
        (&*"x".repeat(256), false),
    ] {
        let mut cluster = Cluster::new();
        agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let operation = with_id(id, &reserve(&[reserved("cpus", "1", &["r"])]));
        accept(&mut cluster, &scheduler, &[&offer], &[operation]);
        let lines = cluster.lines(&scheduler);
        let expected = format!(
            "OPERATION {id} OPERATION_ERROR: The operation's id must have between 1 and 255 bytes"
        );
        assert_eq!(lines[0] != expected, ok, "{lines:?}");
        assert_eq!(listed(&cluster).len(), usize::from(ok));
    }
}

#[test]
fn the_unshared_framework_makes_no_shared_volumes() {
    let mut cluster = Cluster::new();
    agent(&mut cluster, AGENT);
    let scheduler = cluster.subscribe(
        r#"{"user":"u","name":"a","roles":["r"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"}]}"#,
    );
    let offer = cluster.offer(&scheduler);
    let operations = [
        reserve(&[reserved("disk", "10", &["r"])]),
        with_id("o", &create(&[shared_volume("v", "10")])),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.lines(&scheduler)[0],
        "OPERATION o OPERATION_ERROR: Invalid CREATE operation: disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[v:data:rw]<SHARED>:10 is shared, and the framework lacks the capability SHARED_RESOURCES"
    );
}

/// An operation without an id is refused without a word; the others of the call go on.
#[test]
fn a_refused_operation_does_not_stop_the_others() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let cpus = reserved("cpus", "1", &["r"]);
    let operations = [
        reserve(&[reserved("cpus", "9", &["r"])]),
        reserve(std::slice::from_ref(&cpus)),
        launch(&[task("t", &slave.id, &[cpus])]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.told(slave.link),
        ["Framework a", "ApplyOperation RESERVE", "RunTask t"]
    );
    assert_eq!(
        cluster.lines(&scheduler),
        ["OFFERS m-S0 cpus:3;mem:1000;disk:100"]
    );
}

#[test]
fn the_tables_are_bounded() {
    for (limits, expected) in [
        (
            (1, 9),
            "This master keeps at most 1 operations of one framework that are not over and acknowledged",
        ),
        (
            (9, 1),
            "This master keeps at most 1 operations on one agent that are not over and acknowledged",
        ),
    ] {
        let mut config = crate::cluster::config();
        config.max_operations_per_framework = limits.0;
        config.max_operations_per_agent = limits.1;
        let mut cluster = Cluster::with(config, tepui_master_core::Registry::default());
        agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let one = reserve(&[reserved("cpus", "1", &["r"])]);
        let operations = [with_id("a", &one), with_id("b", &one)];
        accept(&mut cluster, &scheduler, &[&offer], &operations);
        assert_eq!(
            cluster.lines(&scheduler)[0],
            format!("OPERATION b OPERATION_ERROR: {expected}")
        );
    }
}

#[test]
fn an_agent_is_not_cut_into_too_many_pieces() {
    let mut config = crate::cluster::config();
    config.max_kinds_per_agent = 3;
    let mut cluster = Cluster::with(config, tepui_master_core::Registry::default());
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let labelled = |label: &str| {
        let stack = format!(
            r#""reservations":[{{"type":"DYNAMIC","role":"r","principal":"p","labels":{{"labels":[{{"key":"{label}"}}]}}}}]"#
        );
        reserve(&[scalar("cpus", "1", &stack)])
    };
    let operations = [
        labelled("a"),
        labelled("b"),
        with_id("again", &labelled("b")),
        with_id("new", &labelled("c")),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.lines(&scheduler)[0],
        "OPERATION new OPERATION_ERROR: This master keeps at most 3 kinds of resources (by reservation and volume) on one agent"
    );
    assert_eq!(cluster.told(slave.link).len(), 4);
    let many = reserve(&vec![reserved("cpus", "0.001", &["r"]); 1001]);
    check(
        &many,
        "Invalid RESERVE operation: An operation may name at most 1000 resources",
    );
}

/// Operations of a call whose offers are void: those with an id hear of it.
#[test]
fn invalid_offers_end_operations_too() {
    let mut cluster = Cluster::new();
    agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let mut offer = cluster.offer(&scheduler);
    offer.id.value = "m-O9".to_owned();
    let one = reserve(&[reserved("cpus", "1", &["r"])]);
    let operations = [one.clone(), with_id("b", &one)];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.lines(&scheduler),
        [
            "OPERATION b OPERATION_ERROR: Operation attempted with invalid offers: Offer m-O9 is no longer valid"
        ]
    );
}
