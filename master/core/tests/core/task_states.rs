//! The reference's table of what frameworks are told when the master ends, loses or finds a task again: for frameworks with
//! PARTITION_AWARE and without.

use std::time::Duration;

use tepui_master_core::{Input, OperatorCall};
use tepui_model::TaskState;
use tepui_proto::mesos::task_status::{Reason, Source};
use tepui_proto::mesos::{self, TaskStatus};
use tepui_proto::tepui::v1::{self, agent_message::Message};

use crate::cluster::{Cluster, Scheduler, Slave, accept_json, running, task_json};

const AGENT: &str = "cpus:4;mem:1000";

/// What happens to the agent, or the framework, of a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    InvalidOffers,
    Unreachable,
    BackFromUnreachable,
    Unregistered,
    MarkedGone,
    FrameworkRemoved,
}

/// The states and reasons that are told without PARTITION_AWARE and with it; no states: nobody is told.
type Row = (Happening, Option<(TaskState, TaskState)>, Reason, Reason);

fn scheduler(cluster: &mut Cluster, aware: bool) -> Scheduler {
    let capabilities = if aware {
        r#"{"type":"PARTITION_AWARE"}"#
    } else {
        ""
    };
    cluster.subscribe(&format!(
        r#"{{"user":"u","name":"n","capabilities":[{capabilities}]}}"#
    ))
}

fn happen(cluster: &mut Cluster, scheduler: &Scheduler, slave: &Slave, what: Happening) {
    match what {
        Happening::InvalidOffers => {
            let call = accept_json(&["m-O99"], &[task_json("t", &slave.id, "cpus:1")]);
            cluster.call(scheduler, &call);
        }
        Happening::Unreachable | Happening::BackFromUnreachable => {
            cluster.break_link(slave);
            cluster.pass(Duration::from_secs(76));
            if what == Happening::BackFromUnreachable {
                cluster.take_events(scheduler);
                let tasks = vec![running(slave, scheduler, "t", TaskState::Running)];
                cluster.return_agent(slave, AGENT, tasks);
            }
        }
        Happening::Unregistered => cluster.tell(slave.link, Message::Unregister(v1::Unregister {})),
        Happening::MarkedGone => cluster.send(Input::Operator {
            call: OperatorCall::MarkAgentGone {
                agent: slave.id.parse().unwrap(),
            },
            reply: None,
        }),
        Happening::FrameworkRemoved => {
            cluster.call(scheduler, r#"{"type":"TEARDOWN"}"#);
        }
    }
}

#[test]
fn what_is_told_of_tasks_that_the_agent_does_not_tell_of() {
    use TaskState::{Dropped, GoneByOperator, Lost, Running, Unreachable};
    let rows: [Row; 6] = [
        (
            Happening::InvalidOffers,
            Some((Lost, Dropped)),
            Reason::InvalidOffers,
            Reason::InvalidOffers,
        ),
        (
            Happening::Unreachable,
            Some((Lost, Unreachable)),
            Reason::AgentRemoved,
            Reason::AgentRemoved,
        ),
        (
            Happening::BackFromUnreachable,
            Some((Running, Running)),
            Reason::AgentReregistered,
            Reason::AgentReregistered,
        ),
        (
            Happening::Unregistered,
            Some((Lost, Lost)),
            Reason::AgentRemoved,
            Reason::AgentRemoved,
        ),
        (
            Happening::MarkedGone,
            Some((Lost, GoneByOperator)),
            Reason::AgentRemoved,
            Reason::AgentRemovedByOperator,
        ),
        (
            Happening::FrameworkRemoved,
            None,
            Reason::FrameworkRemoved,
            Reason::FrameworkRemoved,
        ),
    ];
    for (what, states, plain_reason, aware_reason) in rows {
        for aware in [false, true] {
            let mut cluster = Cluster::new();
            let scheduler = scheduler(&mut cluster, aware);
            let slave = cluster.agent(AGENT);
            if what != Happening::InvalidOffers {
                let offer = cluster.offer(&scheduler);
                cluster.launch(&scheduler, &offer, &["t"]);
                cluster.update(&slave, &scheduler, "t", Running, 1);
            }
            cluster.take_events(&scheduler);
            happen(&mut cluster, &scheduler, &slave, what);
            let told: Vec<TaskStatus> = cluster
                .take_events(&scheduler)
                .into_iter()
                .filter_map(|event| Some(event.update?.status))
                .collect();
            let Some((plain, partition_aware)) = states else {
                assert_eq!(told, [], "{what:?} {aware}");
                continue;
            };
            let (state, reason) = if aware {
                (partition_aware, aware_reason)
            } else {
                (plain, plain_reason)
            };
            let [status] = &told[..] else {
                panic!("{what:?} {aware}: {told:?}");
            };
            assert_eq!(
                (status.state, status.source, status.reason),
                (
                    state.number(),
                    Some(Source::Master as i32),
                    Some(reason as i32)
                ),
                "{what:?} {aware}"
            );
            assert_eq!(status.task_id.value, "t");
            assert_eq!(
                status.agent_id.as_ref().map(|id| id.value.as_str()),
                Some(slave.id.as_str())
            );
            assert!(
                status.uuid.is_none() && status.timestamp.is_some(),
                "the master's own need no acknowledgement"
            );
            assert_eq!(
                status.unreachable_time.is_some(),
                what == Happening::Unreachable,
                "{what:?} {aware}"
            );
        }
    }
}

/// Of the last update an answer keeps what is true still, and nothing that was said once.
#[test]
fn what_reconciliation_keeps_of_the_last_update() {
    let mut cluster = Cluster::new();
    let scheduler = scheduler(&mut cluster, true);
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    let status = TaskStatus {
        task_id: mesos::TaskId {
            value: "t".to_owned(),
        },
        agent_id: Some(mesos::AgentId {
            value: slave.id.clone(),
        }),
        state: TaskState::Running.number(),
        uuid: Some(crate::cluster::uuid(7)),
        source: Some(Source::Executor as i32),
        reason: Some(Reason::TaskHealthCheckStatusUpdated as i32),
        message: Some("said once".to_owned()),
        data: Some(b"data"[..].into()),
        labels: Some(mesos::Labels {
            labels: vec![mesos::Label {
                key: "k".to_owned(),
                value: None,
            }],
        }),
        healthy: Some(false),
        check_status: Some(mesos::CheckStatusInfo {
            r#type: Some(mesos::check_info::Type::Tcp as i32),
            ..mesos::CheckStatusInfo::default()
        }),
        container_status: Some(mesos::ContainerStatus {
            executor_pid: Some(7),
            ..mesos::ContainerStatus::default()
        }),
        ..TaskStatus::default()
    };
    let update = v1::TaskUpdate {
        framework_id: mesos::FrameworkId {
            value: scheduler.id.clone(),
        },
        executor_id: None,
        status,
        latest_state: TaskState::Running.number(),
    };
    cluster.tell(slave.link, Message::TaskUpdate(update));
    cluster.take_events(&scheduler);
    for call in [
        r#"{"type":"RECONCILE","reconcile":{}}"#,
        r#"{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t"}}]}}"#,
    ] {
        cluster.call(&scheduler, call);
        let events = cluster.take_events(&scheduler);
        let status = &events[0].update.as_ref().unwrap().status;
        assert_eq!(events.len(), 1);
        assert_eq!(
            (status.state, status.healthy),
            (TaskState::Running.number(), Some(false))
        );
        assert!(status.check_status.is_some());
        assert_eq!(
            status.container_status.as_ref().unwrap().executor_pid,
            Some(7)
        );
        assert_eq!(status.source, Some(Source::Master as i32));
        assert_eq!(status.reason, Some(Reason::Reconciliation as i32));
        assert_ne!(status.message.as_deref(), Some("said once"));
        assert!(status.uuid.is_none() && status.data.is_none() && status.labels.is_none());
    }
}
