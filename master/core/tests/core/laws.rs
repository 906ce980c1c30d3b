//! Laws that hold for any inputs, in any order: the invariants (checked by the cluster after every step), no panic, and that the same
//! inputs give the same outputs.

use std::time::Duration;

use proptest::prelude::*;
use tepui_master_core::{Input, OperatorCall};
use tepui_model::TaskState;
use tepui_proto::mesos;
use tepui_proto::tepui::v1::{self, agent_message::Message};

use crate::cluster::{Cluster, Scheduler, Slave, running, uuid};

#[derive(Debug, Clone)]
enum Act {
    Subscribe,
    Resubscribe(usize),
    CloseStream(usize),
    Teardown(usize),
    Agent,
    Return(usize, bool),
    BreakLink(usize),
    Unregister(usize),
    Launch(usize, u8),
    Decline(usize),
    Kill(usize, u8),
    Update(usize, usize, u8, i32),
    Acknowledge(usize, usize, u8),
    Suppress(usize),
    Revive(usize),
    Reconcile(usize),
    Pass(u64),
    HoldStores(bool),
    Reserve(usize, bool),
    Volume(usize, bool),
    Operator(usize, bool),
    AnswerOperations(usize, i32),
}

fn act() -> impl Strategy<Value = Act> {
    let one = 0_usize..4;
    prop_oneof![
        2 => Just(Act::Subscribe),
        1 => one.clone().prop_map(Act::Resubscribe),
        1 => one.clone().prop_map(Act::CloseStream),
        1 => one.clone().prop_map(Act::Teardown),
        3 => Just(Act::Agent),
        2 => (one.clone(), any::<bool>()).prop_map(|(agent, tasks)| Act::Return(agent, tasks)),
        2 => one.clone().prop_map(Act::BreakLink),
        1 => one.clone().prop_map(Act::Unregister),
        8 => (one.clone(), 0_u8..6).prop_map(|(framework, task)| Act::Launch(framework, task)),
        2 => one.clone().prop_map(Act::Decline),
        2 => (one.clone(), 0_u8..6).prop_map(|(framework, task)| Act::Kill(framework, task)),
        8 => (one.clone(), one.clone(), 0_u8..6, 0_i32..14).prop_map(|(a, f, t, s)| Act::Update(a, f, t, s)),
        4 => (one.clone(), one.clone(), 0_u8..6).prop_map(|(a, f, t)| Act::Acknowledge(a, f, t)),
        1 => one.clone().prop_map(Act::Suppress),
        1 => one.clone().prop_map(Act::Revive),
        4 => (one.clone(), any::<bool>()).prop_map(|(f, undo)| Act::Reserve(f, undo)),
        3 => (one.clone(), any::<bool>()).prop_map(|(f, undo)| Act::Volume(f, undo)),
        3 => (one.clone(), any::<bool>()).prop_map(|(a, undo)| Act::Operator(a, undo)),
        3 => (one.clone(), 0_i32..8).prop_map(|(a, state)| Act::AnswerOperations(a, state)),
        1 => one.prop_map(Act::Reconcile),
        3 => (0_u64..100).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::HoldStores),
    ]
}

/// All frameworks are in the role that things are reserved for.
const IN_ROLE: &str = r#""roles":["r"],"capabilities":[{"type":"PARTITION_AWARE"},{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"SHARED_RESOURCES"}]"#;

fn subscribe(cluster: &mut Cluster) -> Scheduler {
    cluster.subscribe(&format!(
        r#"{{"user":"u","name":"f","failover_timeout":3600,{IN_ROLE}}}"#
    ))
}

/// Carry out what is possible, and return everything that came out as text.
fn play(acts: &[Act]) -> String {
    let mut cluster = Cluster::new();
    let mut schedulers: Vec<Scheduler> = Vec::new();
    let mut slaves: Vec<Slave> = Vec::new();
    let mut trace = String::new();
    for act in acts {
        let scheduler = |index: usize| schedulers.get(index % schedulers.len().max(1)).cloned();
        let slave = |index: usize| slaves.get(index % slaves.len().max(1)).cloned();
        match *act {
            Act::Subscribe if schedulers.len() < 4 => schedulers.push(subscribe(&mut cluster)),
            Act::Resubscribe(f) => {
                if let Some(old) = scheduler(f) {
                    let new = cluster.resubscribe_as(&old, IN_ROLE);
                    let index = f % schedulers.len();
                    schedulers[index] = new;
                }
            }
            Act::CloseStream(f) => {
                if let Some(scheduler) = scheduler(f) {
                    cluster.send(Input::StreamClosed {
                        stream: scheduler.stream,
                    });
                }
            }
            Act::Teardown(f) => {
                if let Some(scheduler) = scheduler(f) {
                    cluster.call(&scheduler, r#"{"type":"TEARDOWN"}"#);
                }
            }
            Act::Agent if slaves.len() < 4 && !cluster.hold_stores => {
                slaves.push(cluster.agent("cpus:3;mem:300;disk:60"))
            }
            Act::Return(a, with_tasks) => {
                if let Some(old) = slave(a) {
                    let tasks = if with_tasks {
                        schedulers
                            .iter()
                            .map(|scheduler| running(&old, scheduler, "task-1", TaskState::Running))
                            .take(2)
                            .collect()
                    } else {
                        Vec::new()
                    };
                    let new = cluster.return_agent(&old, "cpus:3;mem:300;disk:60", tasks);
                    let index = a % slaves.len();
                    slaves[index] = new;
                }
            }
            Act::BreakLink(a) => {
                if let Some(slave) = slave(a) {
                    cluster.break_link(&slave);
                }
            }
            Act::Unregister(a) => {
                if let Some(slave) = slave(a) {
                    cluster.tell(slave.link, Message::Unregister(v1::Unregister {}));
                }
            }
            Act::Launch(f, t) => {
                if let Some(scheduler) = scheduler(f) {
                    for offer in cluster.offers(&scheduler) {
                        cluster.call(
                            &scheduler,
                            &crate::cluster::accept_json(
                                &[&offer.id.value],
                                &[crate::cluster::task_json(
                                    &format!("task-{t}"),
                                    &offer.agent_id.value,
                                    "cpus:1;mem:100",
                                )],
                            ),
                        );
                    }
                }
            }
            Act::Decline(f) => {
                if let Some(scheduler) = scheduler(f) {
                    for offer in cluster.offers(&scheduler) {
                        let id = offer.id.value;
                        cluster.call(&scheduler, &format!(r#"{{"type":"DECLINE","decline":{{"offer_ids":[{{"value":"{id}"}}]}}}}"#));
                    }
                }
            }
            Act::Kill(f, t) => {
                if let Some(scheduler) = scheduler(f) {
                    cluster.call(
                        &scheduler,
                        &format!(
                            r#"{{"type":"KILL","kill":{{"task_id":{{"value":"task-{t}"}}}}}}"#
                        ),
                    );
                }
            }
            Act::Update(a, f, t, state) => {
                if let (Some(slave), Some(scheduler), Some(state)) =
                    (slave(a), scheduler(f), TaskState::from_number(state))
                {
                    cluster.update(&slave, &scheduler, &format!("task-{t}"), state, 1);
                }
            }
            Act::Acknowledge(a, f, t) => {
                if let (Some(slave), Some(scheduler)) = (slave(a), scheduler(f)) {
                    let uuid = uuid(1);
                    let text: String = tepui_base64(&uuid);
                    cluster.call(
                        &scheduler,
                        &format!(
                            r#"{{"type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"{}"}},"task_id":{{"value":"task-{t}"}},"uuid":"{text}"}}}}"#,
                            slave.id
                        ),
                    );
                }
            }
            Act::Suppress(f) | Act::Revive(f) | Act::Reconcile(f) => {
                if let Some(scheduler) = scheduler(f) {
                    let call = match act {
                        Act::Suppress(_) => r#"{"type":"SUPPRESS"}"#,
                        Act::Revive(_) => r#"{"type":"REVIVE"}"#,
                        _ => r#"{"type":"RECONCILE","reconcile":{}}"#,
                    };
                    cluster.call(&scheduler, call);
                }
            }
            Act::Pass(seconds) => cluster.pass(Duration::from_secs(seconds)),
            Act::HoldStores(hold) => {
                cluster.hold_stores = hold;
                cluster.send(Input::Tick);
            }
            Act::Reserve(f, undo) | Act::Volume(f, undo) => {
                if let Some(scheduler) = scheduler(f) {
                    let operations = match act {
                        Act::Reserve(..) => reservation(undo),
                        _ => volume(undo),
                    };
                    for offer in cluster.offers(&scheduler) {
                        let id = offer.id.value;
                        cluster.call(&scheduler, &format!(r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{{"value":"{id}"}}],"operations":[{operations}]}}}}"#));
                    }
                }
            }
            Act::Operator(a, undo) => {
                if let Some(slave) = slave(a) {
                    let json = reservation(undo);
                    let operation = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
                    cluster.send(Input::Operator {
                        call: OperatorCall::Operate {
                            agent: slave.id.parse().unwrap(),
                            operation: Box::new(operation),
                            principal: None,
                        },
                        reply: None,
                    });
                }
            }
            Act::AnswerOperations(a, state) => {
                if let Some(slave) = slave(a) {
                    answer_operations(&mut cluster, &slave, state);
                }
            }
            Act::Subscribe | Act::Agent => {}
        }
        for (stream, events) in &cluster.events {
            for event in events {
                trace.push_str(&format!("{stream:?} {}\n", crate::cluster::line(event)));
            }
        }
        trace.push_str(&format!(
            "{:?} {:?}\n",
            cluster.listed(tepui_master_core::TaskList::Active),
            cluster.master.next_deadline()
        ));
    }
    trace
}

fn reserved(name: &str, amount: i32, rest: &str) -> String {
    format!(
        r#"{{"name":"{name}","type":"SCALAR","scalar":{{"value":{amount}}},"reservations":[{{"type":"DYNAMIC","role":"r"}}]{rest}}}"#
    )
}

fn reservation(undo: bool) -> String {
    let (kind, field) = if undo {
        ("UNRESERVE", "unreserve")
    } else {
        ("RESERVE", "reserve")
    };
    let (cpus, disk) = (reserved("cpus", 1, ""), reserved("disk", 10, ""));
    format!(r#"{{"type":"{kind}","{field}":{{"resources":[{cpus},{disk}]}}}}"#)
}

/// Two volumes of 10, one of them shared, or their end; each in an operation of its own, so that one may fail.
fn volume(undo: bool) -> String {
    let (kind, field) = if undo {
        ("DESTROY", "destroy")
    } else {
        ("CREATE", "create")
    };
    let one = |id: &str, rest: &str| {
        let disk = format!(
            r#","disk":{{"persistence":{{"id":"{id}"}},"volume":{{"container_path":"p","mode":"RW"}}}}{rest}"#
        );
        let volume = reserved("disk", 10, &disk);
        format!(r#"{{"type":"{kind}","{field}":{{"volumes":[{volume}]}}}}"#)
    };
    format!("{},{}", one("v", ""), one("s", r#","shared":{}"#))
}

/// The agent answers all that it was sent with one state, which may make no sense.
fn answer_operations(cluster: &mut Cluster, slave: &Slave, state: i32) {
    let sent = cluster.to_agents.remove(&slave.link).unwrap_or_default();
    for message in sent {
        let v1::master_message::Message::ApplyOperation(apply) = message else {
            continue;
        };
        let status = mesos::OperationStatus {
            state,
            uuid: None,
            ..mesos::OperationStatus::default()
        };
        let update = v1::OperationUpdate {
            framework_id: apply.framework_id,
            latest_status: status.clone(),
            status,
            operation_uuid: apply.operation_uuid,
        };
        cluster.tell(slave.link, Message::OperationUpdate(Box::new(update)));
    }
}

/// The base64 of a uuid made of ones.
fn tepui_base64(uuid: &[u8]) -> String {
    assert_eq!(uuid, &crate::cluster::uuid(1)[..]);
    "AQEBAQEBQAEBAQEBAQEBAQ==".to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn invariants_hold_and_runs_repeat(acts in prop::collection::vec(act(), 1..120)) {
        let first = play(&acts);
        prop_assert_eq!(first, play(&acts));
    }
}
