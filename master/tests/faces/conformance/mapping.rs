//! Section 6: Mesos' own mapping of protobuf to JSON, as far as a scheduler meets it.

use serde_json::{Value, json};

use super::{Agent, Form, PATH, Talk, said, state};
use crate::support::{Exchange, master, post};

/// Calls in odd JSON that are understood, and what comes of them; `$` stands for `"framework_id":{"value":"…"}`.
#[tokio::test]
async fn odd_calls_that_are_understood() {
    const UNKNOWN: &[&str] = &["UPDATE t TASK_LOST MASTER RECONCILIATION"];
    const LOST: &[&str] = &["UPDATE t TASK_LOST MASTER INVALID_OFFERS"];
    let task = r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}}"#;
    let rows: Vec<(&str, String, &[&str])> = vec![
        ("unknown keys", r#"{$,"type":"RECONCILE","odd":{"a":[1]},"reconcile":{"tasks":[{"task_id":{"value":"t","more":1}}]}}"#.into(), UNKNOWN),
        ("null", r#"{$,"type":"RECONCILE","accept":null,"reconcile":{"tasks":[{"task_id":{"value":"t"},"agent_id":null}]}}"#.into(), UNKNOWN),
        ("a null list", r#"{$,"type":"RECONCILE","reconcile":{"tasks":null}}"#.into(), &[]),
        ("one element without its list", r#"{$,"type":"RECONCILE","reconcile":{"tasks":{"task_id":{"value":"t"}}}}"#.into(), UNKNOWN),
        ("a scalar for a list", r#"{$,"type":"REVIVE","revive":{"roles":"*"}}"#.into(), &[]),
        (
            "numbers as texts",
            format!(r#"{{$,"type":"ACCEPT","accept":{{"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{task}]}}}}],"filters":{{"refuse_seconds":"1.5"}}}}}}"#),
            LOST,
        ),
        ("infinity", r#"{$,"type":"DECLINE","decline":{"filters":{"refuse_seconds":"Infinity"}}}"#.into(), &[]),
        ("an integer as a text", r#"{$,"type":"KILL","kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":"5"}}}}"#.into(), UNKNOWN),
        (
            "an unknown name of an optional enum is unset",
            format!(r#"{{$,"type":"ACCEPT","accept":{{"operations":[{{"type":"FLY","launch":{{"task_infos":[{task}]}}}}]}}}}"#),
            LOST,
        ),
        ("the field of another type", r#"{$,"type":"RECONCILE","reconcile":{},"kill":{"task_id":{"value":"t"}}}"#.into(), &[]),
        ("a role where roles belong is unknown", r#"{$,"type":"REVIVE","revive":{"role":"other"}}"#.into(), &[]),
        ("escapes", r#"{$,"type":"\u0052ECONCILE","reconcile":{"tasks":[{"task_id":{"value":"\u0074"}}]}}"#.into(), UNKNOWN),
        ("white space", " \r\n\t{ $ ,\n\"type\" : \"RECONCILE\" , \"reconcile\" : { \"tasks\" : [ { \"task_id\" : { \"value\" : \"t\" } } ] } } \n".into(), UNKNOWN),
    ];
    let master = master().await;
    let mut talk = Talk::open(&master, Form::Json, json!({})).await;
    for (name, call, events) in rows {
        let call = call.replace('$', &format!(r#""framework_id":{{"value":"{}"}}"#, talk.id));
        let answer = talk.send(&master, call.as_bytes()).await;
        assert_eq!(said(&answer), "202 ", "{name}");
        assert_eq!(talk.lines(&master).await, events, "{name}");
    }
    // Booleans, too.
    let info = json!({ "framework_info": { "user": "u", "name": "n", "checkpoint": "true", "failover_timeout": "7", "labels": { "labels": { "key": "k" } } } });
    let odd = Talk::with(&master, Form::Json, info).await;
    let frameworks = state(&master).await["frameworks"].clone();
    let odd = frameworks
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["id"] == odd.id.as_str())
        .expect("listed");
    assert_eq!(
        (&odd["checkpoint"], &odd["failover_timeout"], &odd["labels"]),
        (&json!(true), &json!(7.0), &json!([{ "key": "k" }]))
    );
    master.shutdown().await;
}

#[tokio::test]
async fn odd_calls_that_are_not() {
    let rows = [
        (
            "camelCase is unknown",
            r#"{"type":"REVIVE","frameworkId":{"value":"@ID"}}"#,
            "Expecting 'framework_id' to be present",
        ),
        ("the number of an enum", r#"{$,"type":5}"#, ""),
        (
            "a list for a single value",
            r#"{$,"type":"KILL","kill":{"task_id":[{"value":"t"}]}}"#,
            "",
        ),
        (
            "a text for an object",
            r#"{$,"type":"KILL","kill":{"task_id":"t"}}"#,
            "",
        ),
        (
            "an object for a text",
            r#"{$,"type":"KILL","kill":{"task_id":{"value":{}}}}"#,
            "",
        ),
        (
            "a number for a text",
            r#"{$,"type":"KILL","kill":{"task_id":{"value":7}}}"#,
            "",
        ),
        (
            "null for what is required",
            r#"{$,"type":"KILL","kill":{"task_id":null}}"#,
            "task_id",
        ),
        (
            "bytes that are no base64",
            r#"{$,"type":"MESSAGE","message":{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":"*"}}"#,
            "",
        ),
        (
            "an unknown name of a required enum",
            r#"{$,"type":"REQUEST","request":{"requests":[{"resources":[{"name":"cpus","type":"HEAP"}]}]}}"#,
            "type",
        ),
        (
            "no number",
            r#"{$,"type":"DECLINE","decline":{"filters":{"refuse_seconds":"soon"}}}"#,
            "",
        ),
        (
            "a number that does not fit",
            r#"{$,"type":"KILL","kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":9223372036854775808}}}}"#,
            "",
        ),
        (
            "a comma too many",
            r#"{$,"type":"REVIVE",}"#,
            "Failed to parse body into JSON",
        ),
        (
            "something behind",
            r#"{$,"type":"REVIVE"} x"#,
            "Failed to parse body into JSON",
        ),
        (
            "a comment",
            r#"{$,"type":"REVIVE" /* now */}"#,
            "Failed to parse body into JSON",
        ),
        ("no object", "[]", ""),
        ("null", "null", ""),
        ("nothing", "", "Failed to parse body into JSON"),
    ];
    let master = master().await;
    let mut talk = Talk::open(&master, Form::Json, json!({})).await;
    let before = state(&master).await;
    for (name, call, text) in rows {
        let id = format!(r#""framework_id":{{"value":"{}"}}"#, talk.id);
        let call = call.replace('$', &id).replace("@ID", &talk.id);
        let answer = talk.send(&master, call.as_bytes()).await;
        assert!(
            answer.status == 400 && answer.text().contains(text) && !answer.body.is_empty(),
            "{name}: {}",
            said(&answer)
        );
    }
    // Not even UTF-8.
    let headers = talk.headers();
    let answer = post(&master, PATH, &headers, b"{\"type\":\"\xff\"}").await;
    assert_eq!(answer.status, 400, "{}", said(&answer));
    assert_eq!(state(&master).await, before);
    assert_eq!(talk.lines(&master).await, [""; 0]);
    master.shutdown().await;
}

/// The text itself: how numbers, defaults, bytes and what is empty are written.
#[tokio::test]
async fn events_are_written_as_mesos_writes_them() {
    let master = master().await;
    let agent = Agent::with(&master, "cpus:4;mem:1024;ports:[31000-31001]", |register| {
        register.agent.attributes =
            tepui_proto::convert::attributes::parse("rack:a").expect("attributes");
    })
    .await;
    let body = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let mut stream = Exchange::start(&master, &head, body.as_bytes()).await;
    let mut text = String::new();
    while !text.contains("\"OFFERS\"") {
        text.push_str(&String::from_utf8(stream.piece().await.expect("a piece")).expect("text"));
    }
    let port = master.addr().port();
    for (what, part) in [
        (
            "snake_case, and order as declared",
            r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":""#.to_owned(),
        ),
        (
            "a double has a fraction",
            r#""heartbeat_interval_seconds":15.0"#.to_owned(),
        ),
        ("an integer has none", format!(r#""port":{port}"#)),
        (
            "an event without content",
            "20\n{\"type\":\"HEARTBEAT\"}".to_owned(),
        ),
        ("enums are names", r#""type":"SCALAR""#.to_owned()),
        ("amounts", r#""scalar":{"value":4.0}"#.to_owned()),
        (
            "64 bits are numbers",
            r#""range":[{"begin":31000,"end":31001}]"#.to_owned(),
        ),
        (
            "the agent",
            format!(r#""agent_id":{{"value":"{}"}}"#, agent.id),
        ),
        (
            "without MULTI_ROLE the role is shown as of old",
            r#""role":"*""#.to_owned(),
        ),
    ] {
        assert!(text.contains(&part), "{what}: {part} is not in {text}");
    }
    for part in [
        "\"executor_ids\"",
        "allocation_info",
        "null",
        "\"reservations\"",
    ] {
        assert!(!text.contains(part), "{part} is in {text}");
    }
    master.shutdown().await;
}

/// What comes from the agent goes through whole, bytes as base64.
#[tokio::test]
async fn bytes_of_an_update() {
    use tepui_proto::mesos;
    use tepui_proto::tepui::v1::{TaskUpdate, agent_message::Message};
    let master = master().await;
    let agent = Agent::start(&master, "cpus:4;mem:1024").await;
    let mut talk = Talk::open(&master, Form::Json, json!({})).await;
    let offer = talk.offers().await.remove(0);
    talk.call(
        &master,
        super::launch(&[&offer], &[super::task("t", &agent.id)]),
    )
    .await;
    let status = mesos::TaskStatus {
        task_id: mesos::TaskId {
            value: "t".to_owned(),
        },
        state: mesos::TaskState::TaskRunning.into(),
        data: Some(b"\x00\xff\x10"[..].into()),
        uuid: Some(
            uuid::Uuid::from_u128(0x0102_0304_0506_4708_890a_0b0c_0d0e_0f10)
                .as_bytes()
                .to_vec()
                .into(),
        ),
        agent_id: Some(mesos::AgentId {
            value: agent.id.clone(),
        }),
        source: Some(mesos::task_status::Source::Executor.into()),
        timestamp: Some(2.0),
        ..mesos::TaskStatus::default()
    };
    agent
        .say(Message::TaskUpdate(TaskUpdate {
            framework_id: mesos::FrameworkId {
                value: talk.id.clone(),
            },
            executor_id: None,
            status,
            latest_state: mesos::TaskState::TaskRunning.into(),
        }))
        .await;
    let status: Value = talk.until("UPDATE").await["update"]["status"].clone();
    assert_eq!(
        (&status["data"], &status["uuid"]),
        (&json!("AP8Q"), &json!("AQIDBAUGRwiJCgsMDQ4PEA=="))
    );
    assert_eq!(
        (&status["source"], &status["timestamp"]),
        (&json!("SOURCE_EXECUTOR"), &json!(2.0))
    );
    master.shutdown().await;
}
