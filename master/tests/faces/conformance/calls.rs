//! Section 8: every call, what it needs, and what it does that can be seen from outside. A call that lacks something it needs is a 400
//! and changes nothing: in JSON the key is left out, in protobuf the field.

use serde_json::{Value, json};

use super::{Agent, FORMS, Form, Talk, said, state};
use crate::support::master;

/// 16 bytes with the version nibble of a random UUID.
const UUID: &str = "AAAAAAAAQACAAAAAAAAAAA==";

/// A required field: its place in JSON, and its numbers in protobuf.
type Required = (&'static str, &'static [u32]);

struct Row {
    call: Value,
    required: &'static [Required],
    /// What the framework is told, and the agent.
    events: &'static [&'static str],
    told: &'static [&'static str],
}

/// Every call that is answered with 202, with ids of nothing that exists but for `$AGENT`.
fn rows() -> Vec<Row> {
    let row = |call, required, events, told| Row {
        call,
        required,
        events,
        told,
    };
    let agent = json!({ "value": "$AGENT" });
    let nobody = json!({ "value": "nobody" });
    vec![
        row(
            json!({ "type": "ACCEPT", "accept": { "offer_ids": [{ "value": "no" }], "operations": [{ "type": "LAUNCH", "launch": { "task_infos": [
                { "name": "n", "task_id": { "value": "t" }, "agent_id": agent, "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 } }] }
            ] } }] } }),
            &[
                ("/accept/offer_ids/0/value", &[4, 1, 1]),
                (
                    "/accept/operations/0/launch/task_infos/0/name",
                    &[4, 2, 2, 1, 1],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/task_id",
                    &[4, 2, 2, 1, 2],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/task_id/value",
                    &[4, 2, 2, 1, 2, 1],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/agent_id",
                    &[4, 2, 2, 1, 3],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/resources/0/name",
                    &[4, 2, 2, 1, 4, 1],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/resources/0/type",
                    &[4, 2, 2, 1, 4, 2],
                ),
                (
                    "/accept/operations/0/launch/task_infos/0/resources/0/scalar/value",
                    &[4, 2, 2, 1, 4, 3, 1],
                ),
            ],
            &["UPDATE t TASK_LOST MASTER INVALID_OFFERS"],
            &[],
        ),
        row(json!({ "type": "ACCEPT", "accept": {} }), &[], &[], &[]),
        row(
            json!({ "type": "DECLINE", "decline": { "offer_ids": [{ "value": "no" }], "filters": { "refuse_seconds": 1.5 } } }),
            &[("/decline/offer_ids/0/value", &[5, 1, 1])],
            &[],
            &[],
        ),
        row(
            json!({ "type": "ACCEPT_INVERSE_OFFERS", "accept_inverse_offers": { "inverse_offer_ids": [{ "value": "no" }] } }),
            &[(
                "/accept_inverse_offers/inverse_offer_ids/0/value",
                &[13, 1, 1],
            )],
            &[],
            &[],
        ),
        row(
            json!({ "type": "DECLINE_INVERSE_OFFERS", "decline_inverse_offers": { "inverse_offer_ids": [{ "value": "no" }] } }),
            &[(
                "/decline_inverse_offers/inverse_offer_ids/0/value",
                &[14, 1, 1],
            )],
            &[],
            &[],
        ),
        row(json!({ "type": "REVIVE" }), &[], &[], &[]),
        row(
            json!({ "type": "REVIVE", "revive": { "roles": ["*"] } }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "REVIVE", "revive": { "roles": ["other"] } }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "SUPPRESS", "suppress": { "roles": ["*", "other"] } }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "KILL", "kill": { "task_id": { "value": "t" }, "agent_id": agent, "kill_policy": { "grace_period": { "nanoseconds": 5 } } } }),
            &[
                ("/kill/task_id", &[6, 1]),
                ("/kill/task_id/value", &[6, 1, 1]),
                ("/kill/agent_id/value", &[6, 2, 1]),
                ("/kill/kill_policy/grace_period/nanoseconds", &[6, 3, 1, 1]),
            ],
            &["UPDATE t TASK_LOST MASTER RECONCILIATION"],
            &[],
        ),
        row(
            json!({ "type": "SHUTDOWN", "shutdown": { "executor_id": { "value": "e" }, "agent_id": agent } }),
            &[
                ("/shutdown/executor_id", &[7, 1]),
                ("/shutdown/executor_id/value", &[7, 1, 1]),
                ("/shutdown/agent_id", &[7, 2]),
                ("/shutdown/agent_id/value", &[7, 2, 1]),
            ],
            &[],
            &["Framework", "ShutdownExecutor e"],
        ),
        row(
            json!({ "type": "SHUTDOWN", "shutdown": { "executor_id": { "value": "e" }, "agent_id": nobody } }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "ACKNOWLEDGE", "acknowledge": { "agent_id": nobody, "task_id": { "value": "t" }, "uuid": UUID } }),
            &[
                ("/acknowledge/agent_id", &[8, 1]),
                ("/acknowledge/task_id", &[8, 2]),
                ("/acknowledge/uuid", &[8, 3]),
            ],
            &[],
            &[],
        ),
        row(
            json!({ "type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": { "agent_id": nobody, "uuid": UUID, "operation_id": { "value": "o" } } }),
            &[
                // Optional in the schema, required in fact.
                ("/acknowledge_operation_status/agent_id", &[17, 1]),
                ("/acknowledge_operation_status/uuid", &[17, 3]),
                ("/acknowledge_operation_status/operation_id", &[17, 4]),
            ],
            &[],
            &[],
        ),
        row(
            json!({ "type": "RECONCILE", "reconcile": { "tasks": [{ "task_id": { "value": "t" }, "agent_id": agent }] } }),
            &[
                ("/reconcile/tasks/0/task_id", &[9, 1, 1]),
                ("/reconcile/tasks/0/agent_id/value", &[9, 1, 2, 1]),
            ],
            &["UPDATE t TASK_LOST MASTER RECONCILIATION"],
            &[],
        ),
        row(
            json!({ "type": "RECONCILE", "reconcile": {} }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "RECONCILE_OPERATIONS", "reconcile_operations": { "operations": [{ "operation_id": { "value": "o" }, "agent_id": nobody }] } }),
            &[(
                "/reconcile_operations/operations/0/operation_id",
                &[18, 1, 1],
            )],
            &["OPERATION o OPERATION_UNKNOWN"],
            &[],
        ),
        row(
            json!({ "type": "RECONCILE_OPERATIONS", "reconcile_operations": {} }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "MESSAGE", "message": { "agent_id": agent, "executor_id": { "value": "e" }, "data": "aGk=" } }),
            &[
                ("/message/agent_id", &[10, 1]),
                ("/message/executor_id", &[10, 2]),
                ("/message/data", &[10, 3]),
            ],
            &[],
            &["FrameworkMessage e"],
        ),
        row(
            json!({ "type": "MESSAGE", "message": { "agent_id": nobody, "executor_id": { "value": "e" }, "data": "" } }),
            &[],
            &[],
            &[],
        ),
        row(
            json!({ "type": "REQUEST", "request": { "requests": [{ "agent_id": agent, "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 } }] }] } }),
            &[
                ("/request/requests/0/agent_id/value", &[11, 1, 1, 1]),
                ("/request/requests/0/resources/0/name", &[11, 1, 2, 1]),
            ],
            &[],
            &[],
        ),
    ]
}

/// UPDATE_FRAMEWORK and SUBSCRIBE have answers of their own; what they lack is told in the same way.
fn others() -> Vec<Row> {
    let row = |call, required| Row {
        call,
        required,
        events: &[],
        told: &[],
    };
    vec![
        row(
            json!({ "type": "UPDATE_FRAMEWORK", "update_framework": { "framework_info": { "user": "u", "name": "n", "id": { "value": "$ID" } } } }),
            &[
                ("/update_framework/framework_info", &[19, 1]),
                ("/update_framework/framework_info/user", &[19, 1, 1]),
                ("/update_framework/framework_info/name", &[19, 1, 2]),
                ("/update_framework/framework_info/id", &[19, 1, 3]),
            ],
        ),
        row(
            json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "u", "name": "n", "labels": { "labels": [{ "key": "k" }] } },
                "offer_constraints": { "role_constraints": { "*": { "groups": [{ "attribute_constraints": [{ "selector": { "attribute_name": "a" }, "predicate": { "text_equals": { "value": "x" } } }] }] } } } } }),
            &[
                ("/subscribe/framework_info", &[3, 1]),
                ("/subscribe/framework_info/user", &[3, 1, 1]),
                ("/subscribe/framework_info/name", &[3, 1, 2]),
                (
                    "/subscribe/framework_info/labels/labels/0/key",
                    &[3, 1, 11, 1, 1],
                ),
            ],
        ),
    ]
}

/// Removes what a pointer leads to.
fn without(call: &Value, pointer: &str) -> Value {
    let mut call = call.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let gone = call
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .and_then(|object| object.remove(key));
    assert!(gone.is_some(), "{pointer} is in the row");
    call
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
}

/// Removes the field that the numbers lead to, wherever it is in an encoded message.
fn stripped(message: &[u8], path: &[u32]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let start = at;
        let key = varint(message, &mut at);
        let content = match key & 7 {
            0 => {
                varint(message, &mut at);
                at..at
            }
            1 => {
                at += 8;
                at..at
            }
            2 => {
                let length = usize::try_from(varint(message, &mut at)).expect("small");
                at += length;
                at - length..at
            }
            5 => {
                at += 4;
                at..at
            }
            other => panic!("wire type {other}"),
        };
        if key >> 3 != u64::from(path[0]) {
            out.extend_from_slice(&message[start..at]);
        } else if path.len() > 1 {
            let inner = stripped(&message[content], &path[1..]);
            put(key, &mut out);
            put(inner.len() as u64, &mut out);
            out.extend(inner);
        }
    }
    out
}

fn filled(call: &Value, talk: &Talk, agent: &Agent) -> Value {
    let mut call = call.clone();
    if call["type"] != "SUBSCRIBE" {
        call["framework_id"] = json!({ "value": talk.id });
    }
    let text = call
        .to_string()
        .replace("$ID", &talk.id)
        .replace("$AGENT", &agent.id);
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn a_call_without_what_it_needs_is_refused_and_changes_nothing() {
    for form in FORMS {
        let master = master().await;
        let agent = Agent::start(&master, "cpus:4;mem:1024").await;
        let mut talk = Talk::open(&master, form, json!({})).await;
        talk.offers().await;
        let before = state(&master).await;
        for row in rows().into_iter().chain(others()) {
            let whole = filled(&row.call, &talk, &agent);
            for (pointer, path) in row.required {
                let body = match form {
                    Form::Json => without(&whole, pointer).to_string().into_bytes(),
                    Form::Protobuf => {
                        let whole = form.encode(&whole);
                        let less = stripped(&whole, path);
                        assert!(less.len() < whole.len(), "{path:?} is in {pointer}");
                        less
                    }
                };
                let answer = talk.send(&master, &body).await;
                let told = said(&answer);
                assert!(
                    answer.status == 400 && !answer.body.is_empty(),
                    "{form:?} without {pointer}: {told}"
                );
                let name = pointer.rsplit('/').next().unwrap_or_default();
                assert!(
                    told.contains(name) || told.contains("UUID"),
                    "{form:?} {pointer} is not named: {told}"
                );
                assert_eq!(state(&master).await, before, "{form:?} without {pointer}");
            }
        }
        assert_eq!(talk.lines(&master).await, [""; 0]);
        master.shutdown().await;
    }
}

#[tokio::test]
async fn each_call_is_accepted_and_does_what_it_says() {
    for form in FORMS {
        for row in rows() {
            let master = master().await;
            let mut agent = Agent::start(&master, "cpus:4;mem:1024").await;
            let mut talk = Talk::open(&master, form, json!({})).await;
            talk.offers().await;
            let before = state(&master).await;
            let call = filled(&row.call, &talk, &agent);
            let answer = talk.send(&master, &form.encode(&call)).await;
            assert_eq!(
                (said(&answer).as_str(), answer.body.len()),
                ("202 ", 0),
                "{form:?} {call}"
            );
            assert_eq!(talk.lines(&master).await, row.events, "{form:?} {call}");
            let told: Vec<String> = agent.told(&master, &talk).await;
            let told: Vec<&String> = told
                .iter()
                .filter(|line| **line != "Framework" || row.told.contains(&"Framework"))
                .collect();
            assert_eq!(told, row.told, "{form:?} {call}");
            assert_eq!(
                state(&master).await,
                before,
                "nothing here changes what operators see: {call}"
            );
            master.shutdown().await;
        }
    }
}

/// 16 bytes of a known version, or the call is a 400.
#[tokio::test]
async fn uuids_are_looked_at() {
    let acknowledge = |uuid: &str| json!({ "type": "ACKNOWLEDGE", "acknowledge": { "agent_id": { "value": "a" }, "task_id": { "value": "t" }, "uuid": uuid } });
    let operation = |uuid: &str| json!({ "type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": { "agent_id": { "value": "a" }, "uuid": uuid, "operation_id": { "value": "o" } } });
    for form in FORMS {
        let master = master().await;
        let talk = Talk::open(&master, form, json!({})).await;
        let before = state(&master).await;
        for (uuid, status) in [
            (UUID, 202),
            ("", 400),
            ("AAAA", 400),
            ("AAAAAAAAAAAAAAAAAAAAAA==", 400),
            ("AAAAAAAA8ACAAAAAAAAAAA==", 400),
            ("AAAAAAAAQACAAAAAAAAAAAA=", 400),
        ] {
            for call in [acknowledge(uuid), operation(uuid)] {
                let answer = talk.call(&master, call.clone()).await;
                assert_eq!(answer.status, status, "{form:?} {call} {}", said(&answer));
            }
        }
        assert_eq!(state(&master).await, before);
        master.shutdown().await;
    }
}
