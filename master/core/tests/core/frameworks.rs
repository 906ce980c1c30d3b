//! Frameworks that fail over, disconnect, and are removed; and the bounds of what is remembered of them.

use std::time::Duration;

use tepui_master_core::{
    Change, Config, Input, OperatorCall, Registry, Reply, ReplyToken, TaskList,
};
use tepui_model::TaskState;

use crate::cluster::{Cluster, accept_json, config, task_json, uuid};

const AGENT: &str = "cpus:4;mem:1000";

#[test]
fn a_newer_instance_takes_over() {
    let mut cluster = Cluster::new();
    let old = cluster.scheduler("a");
    cluster.agent(AGENT);
    cluster.lines(&old);
    let new = cluster.resubscribe(&old);
    // Offers are withdrawn without RESCIND, and made again.
    assert_eq!(cluster.lines(&old), ["ERROR Framework failed over"]);
    assert_eq!(
        cluster.closed_streams,
        [(old.stream, "the framework failed over")]
    );
    assert_eq!(
        cluster.lines(&new),
        ["SUBSCRIBED", "OFFERS m-S0 cpus:4;mem:1000"]
    );
    // The old stream's end, noticed late, does nothing.
    cluster.send(Input::StreamClosed { stream: old.stream });
    assert_eq!(cluster.call(&new, r#"{"type":"REVIVE"}"#), Reply::Accepted);
}

#[test]
fn updates_wait_for_a_disconnected_framework() {
    let mut cluster = Cluster::new();
    let old = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&old);
    cluster.launch(&old, &offer, &["t"]);
    cluster.send(Input::StreamClosed { stream: old.stream });
    cluster.update(&slave, &old, "t", TaskState::Running, 1);
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_RUNNING"],
        "the state is known all the same"
    );
    cluster.pass(Duration::from_secs(3599));
    let new = cluster.resubscribe(&old);
    cluster.lines(&new);
    cluster.told(slave.link);
    // An update that was never passed on cannot be acknowledged; the agent sends it again.
    cluster.acknowledge(&new, &slave.id, "t", &uuid(1));
    assert_eq!(cluster.told(slave.link), [""; 0]);
    cluster.update(&slave, &new, "t", TaskState::Running, 1);
    assert_eq!(cluster.lines(&new), ["UPDATE t TASK_RUNNING"]);
    cluster.pass(Duration::from_secs(3600));
    assert_eq!(
        cluster.call(&new, r#"{"type":"REVIVE"}"#),
        Reply::Accepted,
        "its time-out was void"
    );
}

/// Removal by each of its causes looks the same.
#[test]
fn removal() {
    type Remove = fn(&mut Cluster, &crate::cluster::Scheduler);
    let causes: [Remove; 3] = [
        |cluster, scheduler| {
            assert_eq!(
                cluster.call(scheduler, r#"{"type":"TEARDOWN"}"#),
                Reply::Accepted
            )
        },
        |cluster, scheduler| {
            let call = OperatorCall::Teardown {
                framework: scheduler.id.parse().unwrap(),
            };
            cluster.send(Input::Operator {
                call,
                reply: Some(ReplyToken(0)),
            });
            assert_eq!(cluster.replies[&ReplyToken(0)], Reply::Ok);
        },
        |cluster, scheduler| {
            cluster.send(Input::StreamClosed {
                stream: scheduler.stream,
            });
            cluster.pass(Duration::from_secs(3601));
        },
    ];
    for remove in causes {
        let mut cluster = Cluster::new();
        let scheduler = cluster.scheduler("a");
        let slave = cluster.agent(AGENT);
        let offer = cluster.offer(&scheduler);
        cluster.launch(&scheduler, &offer, &["t", "u"]);
        cluster.update(&slave, &scheduler, "u", TaskState::Failed, 1);
        cluster.told(slave.link);
        remove(&mut cluster, &scheduler);
        assert_eq!(
            cluster.told(slave.link).last().unwrap(),
            "ShutdownFramework m-0000"
        );
        assert_eq!(
            cluster.listed(TaskList::Completed),
            ["t TASK_KILLED", "u TASK_FAILED"]
        );
        assert!(cluster.changes.iter().any(|change| matches!(change, Change::FrameworkCompleted(framework) if framework.unregistered_at.is_some())));
        // Its id may not come back, and its resources are free.
        let again = cluster.resubscribe(&scheduler);
        assert_eq!(cluster.lines(&again), ["ERROR Framework has been removed"]);
        let other = cluster.scheduler("b");
        assert_eq!(
            cluster.lines(&other),
            ["SUBSCRIBED", "OFFERS m-S0 cpus:4;mem:1000"]
        );
        // An agent that missed it is told when it speaks of the framework.
        cluster.update(&slave, &scheduler, "t", TaskState::Running, 2);
        assert_eq!(cluster.told(slave.link), ["ShutdownFramework m-0000"]);
    }
}

#[test]
fn without_a_time_out_a_framework_is_gone_with_its_stream() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.subscribe(r#"{"user":"u","name":"n"}"#);
    cluster.send(Input::StreamClosed {
        stream: scheduler.stream,
    });
    assert!(matches!(
        cluster.changes.last(),
        Some(Change::FrameworkCompleted(_))
    ));
}

#[test]
fn completed_frameworks_are_bounded() {
    let mut cluster = Cluster::with(
        Config {
            max_completed_frameworks: 2,
            ..config()
        },
        Registry::default(),
    );
    let gone: Vec<_> = (0..3)
        .map(|_| {
            let scheduler = cluster.subscribe(r#"{"user":"u","name":"n"}"#);
            cluster.call(&scheduler, r#"{"type":"TEARDOWN"}"#);
            scheduler
        })
        .collect();
    let again = cluster.resubscribe(&gone[0]);
    assert_eq!(
        cluster.lines(&again),
        ["SUBSCRIBED"],
        "forgotten, so it may come back"
    );
    let again = cluster.resubscribe(&gone[1]);
    assert_eq!(cluster.lines(&again), ["ERROR Framework has been removed"]);
}

#[test]
fn completed_tasks_are_bounded_and_their_ids_may_be_used_again() {
    let mut cluster = Cluster::with(
        Config {
            max_completed_tasks_per_framework: 2,
            ..config()
        },
        Registry::default(),
    );
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    for id in ["a", "b", "a", "c"] {
        let offer = cluster.offers(&scheduler).pop().unwrap();
        let task = task_json(id, &slave.id, &crate::cluster::offered(&offer));
        cluster.call(&scheduler, &accept_json(&[&offer.id.value], &[task]));
        cluster.finish(&slave, &scheduler, id);
    }
    assert_eq!(
        cluster.listed(TaskList::Completed),
        ["a TASK_FINISHED", "c TASK_FINISHED"]
    );
}

#[test]
fn agents_are_told_of_changes_before_anything_else() {
    let mut cluster = Cluster::new();
    let old = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&old);
    cluster.launch(&old, &offer, &["t"]);
    cluster.told(slave.link);
    let new = cluster.resubscribe(&old);
    assert_eq!(cluster.told(slave.link), ["Framework again"]);
    cluster.resubscribe(&new);
    assert_eq!(cluster.told(slave.link), [""; 0], "nothing changed");
}

#[test]
fn status_history_keeps_the_last_of_equal_states() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    for (state, number) in [
        (TaskState::Starting, 1),
        (TaskState::Running, 2),
        (TaskState::Running, 3),
    ] {
        cluster.update(&slave, &scheduler, "t", state, number);
    }
    let task = cluster.tasks.values().next().unwrap();
    let history: Vec<(i32, Option<u8>)> = task
        .statuses
        .iter()
        .map(|status| status.get(&task.facts))
        .map(|status| (status.state, status.uuid.map(|uuid| uuid[0])))
        .collect();
    assert_eq!(history, [(0, Some(1)), (1, Some(3))]);
    let whole = task.to_task();
    assert_eq!(
        (whole.state, whole.statuses.len(), whole.status_update_state),
        (1, 2, Some(1))
    );
}
