//! LAUNCH_GROUP: all tasks of a group or none.

use tepui_master_core::TaskList;
use tepui_model::TaskState;

use super::{accept, agent, agent_with, framework, launch, scalar, shared_volume, with_id};
use crate::cluster::{Cluster, resources_json, task_json, task_json_with};

const AGENT: &str = "cpus:4;mem:1000;disk:100";
const DEFAULT: &str = r#""type":"DEFAULT","executor_id":{"value":"e"}"#;

/// An executor with what it needs.
fn executor(rest: &str) -> String {
    executor_with(rest, "cpus:0.1;mem:32;disk:10")
}

fn executor_with(rest: &str, resources: &str) -> String {
    format!(r#"{{{rest},"resources":{}}}"#, resources_json(resources))
}

fn group(executor: &str, tasks: &[String]) -> String {
    format!(
        r#"{{"type":"LAUNCH_GROUP","launch_group":{{"executor":{executor},"task_group":{{"tasks":[{}]}}}}}}"#,
        tasks.join(",")
    )
}

fn member(id: &str) -> String {
    task_json(id, "m-S0", "cpus:1;mem:100")
}

fn member_with(id: &str, rest: &str) -> String {
    task_json_with(
        id,
        "m-S0",
        "cpus:1;mem:100",
        &format!(r#""command":{{"value":"true"}},{rest}"#),
    )
}

#[test]
fn a_group_starts_as_a_whole_and_its_executor_counts_once() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [
        group(&executor(DEFAULT), &[member("t"), member("u")]),
        group(&executor(DEFAULT), &[member("v")]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    let sent = cluster.to_agents[&slave.link].clone();
    let run = sent
        .iter()
        .find_map(|message| match message {
            tepui_proto::tepui::v1::master_message::Message::RunTaskGroup(run) => Some(run),
            _ => None,
        })
        .unwrap();
    // The executor is complete, and goes into each task.
    assert_eq!(
        run.executor.framework_id.as_ref().unwrap().value,
        scheduler.id
    );
    for task in &run.group.tasks {
        assert_eq!(task.executor.as_deref(), Some(&run.executor));
    }
    assert_eq!(
        cluster.told(slave.link),
        ["Framework a", "RunTaskGroup e: t u", "RunTaskGroup e: v"]
    );
    assert_eq!(
        cluster.lines(&scheduler),
        ["OFFERS m-S0 cpus:0.9;mem:668;disk:90"]
    );
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_STAGING", "u TASK_STAGING", "v TASK_STAGING"]
    );
    // Each task is freed on its own, the executor with its end.
    cluster.update(&slave, &scheduler, "t", TaskState::Finished, 1);
    assert_eq!(cluster.lines(&scheduler)[1], "OFFERS m-S0 cpus:1;mem:100");
}

#[test]
fn a_port_goes_to_one_task_of_a_group() {
    let rows = [("[1-2]", "[3-4]", true), ("[1-2]", "[2-3]", false)];
    for (one, other, fits) in rows {
        let mut cluster = Cluster::new();
        agent(&mut cluster, "cpus:4;mem:1000;disk:100;ports:[1-9]");
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let member = |id, ports| task_json(id, "m-S0", &format!("cpus:1;ports:{ports}"));
        let operations = [group(
            &executor(DEFAULT),
            &[member("t", one), member("u", other)],
        )];
        accept(&mut cluster, &scheduler, &[&offer], &operations);
        let lines = cluster.lines(&scheduler);
        let told = "UPDATE t TASK_ERROR REASON_TASK_GROUP_INVALID: Task group uses more resources";
        assert_eq!(
            !fits,
            lines[0].starts_with(told),
            "{one} {other}: {lines:?}"
        );
    }
}

/// One row a rule: a group that is wrong, or has one wrong task, and what each of its tasks hears. Nothing is started.
#[test]
fn groups_that_are_refused() {
    let good = || vec![member("t"), member("u")];
    let docker = r#""container":{"type":"DOCKER","docker":{"image":"i"}}"#;
    let apart = r#""container":{"type":"MESOS","linux_info":{"share_cgroups":false}}"#;
    let network = |check: &str| {
        format!(
            r#""container":{{"type":"MESOS","network_infos":[{{"name":"n"}}]}},"health_check":{{{check}}}"#
        )
    };
    let custom = r#""type":"CUSTOM","executor_id":{"value":"e"}"#;
    let rows: Vec<(String, &str)> = vec![
        (
            with_id("o", &group(&executor(DEFAULT), &good())),
            "The `id` field cannot be set on LAUNCH_GROUP",
        ),
        (
            group(&executor(r#""executor_id":{"value":"e"}"#), &good()),
            "'ExecutorInfo.type' must be DEFAULT or CUSTOM for LAUNCH_GROUP",
        ),
        (
            group(
                &executor(&format!(r#"{DEFAULT},"command":{{"value":"x"}}"#)),
                &good(),
            ),
            "'ExecutorInfo.command' must not be set for 'DEFAULT' executor",
        ),
        (
            group(&executor(custom), &good()),
            "'ExecutorInfo.command' must be set for 'CUSTOM' executor",
        ),
        (
            group(
                &executor(r#""type":"DEFAULT","executor_id":{"value":"a/b"}"#),
                &good(),
            ),
            "Executor ID is invalid: 'a/b' contains invalid characters",
        ),
        (
            group(
                &executor(&format!(r#"{DEFAULT},"framework_id":{{"value":"other"}}"#)),
                &good(),
            ),
            "ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: m-0000)",
        ),
        (
            group(&executor(&format!("{DEFAULT},{docker}")), &good()),
            "Docker containers are not supported for executors of task groups",
        ),
        (
            group(&executor_with(DEFAULT, "cpus:0.001;mem:32;disk:1"), &good()),
            "The executor of a task group needs at least 0.01 of 'cpus'",
        ),
        (
            group(&executor_with(DEFAULT, "cpus:0.1;mem:31;disk:1"), &good()),
            "The executor of a task group needs at least 32 of 'mem'",
        ),
        (
            group(&executor_with(DEFAULT, "cpus:0.1;mem:32"), &good()),
            "The executor of a task group needs at least 0.001 of 'disk'",
        ),
        (
            group(&executor(DEFAULT), &[member("t"), member("t")]),
            "Task group has the task ID 't' more than once",
        ),
        (
            group(&executor(DEFAULT), &[member("t"), member("a/b")]),
            "Task 'a/b' is invalid: Task ID is invalid: 'a/b' contains invalid characters",
        ),
        (
            group(&executor(DEFAULT), &[member("t"), member("runs")]),
            "Task 'runs' is invalid: Task has duplicate ID: runs",
        ),
        (
            group(
                &executor(DEFAULT),
                &[member("t"), task_json("u", "m-S9", "cpus:1")],
            ),
            "Task 'u' is invalid: Task uses invalid agent m-S9 while agent m-S0 is expected",
        ),
        (
            group(
                &executor(DEFAULT),
                &[member("t"), task_json("u", "m-S0", "")],
            ),
            "Task 'u' is invalid: Task uses no resources",
        ),
        (
            group(
                &executor(DEFAULT),
                &[member("t"), task_json("u", "m-S0", "cpus:3")],
            ),
            "Task group uses more resources cpus(allocated: r):4.1",
        ),
        (
            group(&executor(DEFAULT), &[member("t"), member_with("u", docker)]),
            "Task 'u' is invalid: Docker containers are not supported in task groups",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with("u", &format!(r#""executor":{{{DEFAULT}}}"#)),
                ],
            ),
            "Task 'u' is invalid: The 'executor' of the task differs from that of the group",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with("u", &network(r#""type":"TCP","tcp":{"port":1}"#)),
                ],
            ),
            "Task 'u' is invalid: HTTP and TCP health checks are not supported",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with("u", &network(r#""http":{"port":1}"#)),
                ],
            ),
            "Task 'u' is invalid: HTTP and TCP health checks are not supported",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with("u", r#""limits":{"cpus":{"value":2}}"#),
                ],
            ),
            "Task 'u' is invalid: Resource limits may be set in task groups only where 'share_cgroups' is false",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with(
                        "u",
                        &format!(r#"{apart},"limits":{{"disk":{{"value":2}}}}"#),
                    ),
                ],
            ),
            "Task 'u' is invalid: Setting resource limits is not supported for resource 'disk'",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with(
                        "u",
                        &format!(r#"{apart},"limits":{{"cpus":{{"value":0.5}}}}"#),
                    ),
                ],
            ),
            "Task 'u' is invalid: The cpus limit 0.5 is less than the request 1",
        ),
        (
            group(&executor(DEFAULT), &[member("t"), member_with("u", apart)]),
            "All tasks under one executor must have the same value of 'share_cgroups'",
        ),
        (
            group(
                &executor(DEFAULT),
                &[
                    member("t"),
                    member_with("u", r#""kill_policy":{"grace_period":{"nanoseconds":-1}}"#),
                ],
            ),
            "Task 'u' is invalid: Task's 'kill_policy.grace_period' must be non-negative",
        ),
    ];
    for (operation, expected) in rows {
        let mut cluster = Cluster::new();
        let slave = agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let runs = launch(&[task_json("runs", "m-S0", "cpus:0.1")]);
        accept(
            &mut cluster,
            &scheduler,
            &[&offer],
            &[runs, operation.clone()],
        );
        let lines = cluster.lines(&scheduler);
        for (line, task) in lines.iter().zip(["t ", ""]) {
            let prefix = format!("UPDATE {task}");
            assert!(line.starts_with(&prefix), "{lines:?} for {operation}");
            let told = line
                .split_once("TASK_ERROR REASON_TASK_GROUP_INVALID: ")
                .unwrap_or_else(|| panic!("{lines:?} for {operation}"))
                .1;
            assert!(told.starts_with(expected), "{told:?} for {operation}");
        }
        assert_eq!(lines.len(), 3, "{lines:?} for {operation}");
        assert_eq!(lines[2], "OFFERS m-S0 cpus:3.9;mem:1000;disk:100");
        assert_eq!(cluster.told(slave.link), ["Framework a", "RunTask runs"]);
        assert_eq!(cluster.listed(TaskList::Active), ["runs TASK_STAGING"]);
    }
}

#[test]
fn limits_need_the_agents_help() {
    let apart = r#""container":{"type":"MESOS","linux_info":{"share_cgroups":false}},"limits":{"cpus":{"value":"Infinity"}}"#;
    for (capabilities, ok) in [(&[1, 2, 3, 8][..], true), (&[1, 2, 3], false)] {
        let mut cluster = Cluster::new();
        agent_with(&mut cluster, AGENT, capabilities);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let operations = [group(&executor(DEFAULT), &[member_with("t", apart)])];
        accept(&mut cluster, &scheduler, &[&offer], &operations);
        assert_eq!(cluster.listed(TaskList::Active).len(), usize::from(ok));
    }
}

/// Later groups under the executor that runs: it must be the same, and agree on `share_cgroups`.
#[test]
fn the_executor_that_runs_must_be_the_same() {
    let apart = r#""container":{"type":"MESOS","linux_info":{"share_cgroups":false}}"#;
    for (second, expected) in [
        (
            group(
                &executor_with(DEFAULT, "cpus:0.2;mem:32;disk:10"),
                &[member("u")],
            ),
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID 'e'",
        ),
        (
            group(&executor(DEFAULT), &[member_with("u", apart)]),
            "All tasks under one executor must have the same value of 'share_cgroups'",
        ),
    ] {
        let mut cluster = Cluster::new();
        agent(&mut cluster, AGENT);
        let scheduler = framework(&mut cluster, "a");
        let offer = cluster.offer(&scheduler);
        let operations = [group(&executor(DEFAULT), &[member("t")]), second];
        accept(&mut cluster, &scheduler, &[&offer], &operations);
        assert_eq!(
            cluster.lines(&scheduler)[0],
            format!("UPDATE u TASK_ERROR REASON_TASK_GROUP_INVALID: {expected}")
        );
    }
}

/// A group whose offers are void: all its tasks are dropped.
#[test]
fn invalid_offers_drop_the_group() {
    let mut cluster = Cluster::new();
    agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let mut offer = cluster.offer(&scheduler);
    offer.id.value = "m-O9".to_owned();
    let operations = [group(&executor(DEFAULT), &[member("t"), member("u")])];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    let expected = ["t", "u"].map(|id| {
        format!(
            "UPDATE {id} TASK_DROPPED REASON_INVALID_OFFERS: Task launched with invalid offers: Offer m-O9 is no longer valid"
        )
    });
    assert_eq!(cluster.lines(&scheduler), expected);
}

/// A shared volume serves all tasks of a group from one copy.
#[test]
fn a_group_shares_a_volume() {
    let mut cluster = Cluster::new();
    let slave = agent(&mut cluster, AGENT);
    let scheduler = framework(&mut cluster, "a");
    let offer = cluster.offer(&scheduler);
    let uses = |id: &str| {
        super::task(
            id,
            &slave.id,
            &[scalar("cpus", "1", ""), shared_volume("v", "10")],
        )
    };
    let operations = [
        super::reserve(&[super::reserved("disk", "10", &["r"])]),
        super::create(&[shared_volume("v", "10")]),
        group(&executor(DEFAULT), &[uses("t"), uses("u")]),
    ];
    accept(&mut cluster, &scheduler, &[&offer], &operations);
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_STAGING", "u TASK_STAGING"]
    );
    let again = cluster.offer(&scheduler);
    assert_eq!(
        crate::cluster::offered(&again),
        "cpus:1.9;mem:968;disk:80;disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]<SHARED>:10"
    );
}
