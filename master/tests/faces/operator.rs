//! The operator API and its event stream.

use tepui_proto::recordio;

use crate::support::{Exchange, FakeAgent, Subscription, master, master_with, post, post_json};

const JSON: &str = "\r\ncontent-type: application/json";

struct Events {
    exchange: Exchange,
    decoder: recordio::Decoder,
}

impl Events {
    async fn open(master: &tepui_master::RunningMaster) -> Self {
        let body = r#"{"type":"SUBSCRIBE"}"#;
        let head = format!(
            "POST /api/v1 HTTP/1.1{JSON}\r\ncontent-length: {}",
            body.len()
        );
        let exchange = Exchange::start(master, &head, body.as_bytes()).await;
        assert_eq!(
            (exchange.status, exchange.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(exchange.header("mesos-stream-id"), None);
        Self {
            exchange,
            decoder: recordio::Decoder::new(1 << 24),
        }
    }

    async fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            if let Some(record) = self.decoder.next_record().expect("RecordIO") {
                return Some(serde_json::from_slice(&record).expect("JSON"));
            }
            self.decoder.push(&self.exchange.piece().await?);
        }
    }
}

#[tokio::test]
async fn calls_are_answered_in_both_forms() {
    let master = master().await;
    let _agent = FakeAgent::start(&master, 4.0, "127.0.0.1", 5051).await;
    let _framework = Subscription::open(&master, "seen").await;
    for (kind, key) in [
        ("GET_HEALTH", "get_health"),
        ("GET_VERSION", "get_version"),
        ("GET_FLAGS", "get_flags"),
        ("GET_LOGGING_LEVEL", "get_logging_level"),
        ("GET_STATE", "get_state"),
        ("GET_AGENTS", "get_agents"),
        ("GET_FRAMEWORKS", "get_frameworks"),
        ("GET_EXECUTORS", "get_executors"),
        ("GET_OPERATIONS", "get_operations"),
        ("GET_TASKS", "get_tasks"),
        ("GET_ROLES", "get_roles"),
        ("GET_MASTER", "get_master"),
    ] {
        let body = format!(r#"{{"type":"{kind}"}}"#);
        let answer = post_json(&master, "/api/v1", &body).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json")),
            "{kind}: {}",
            answer.text()
        );
        assert_eq!(answer.json()["type"], kind);
        assert!(answer.json()[key].is_object(), "{kind}: {}", answer.text());
        let binary = post(
            &master,
            "/master/api/v1",
            &format!("{JSON}\r\naccept: application/x-protobuf"),
            body.as_bytes(),
        )
        .await;
        assert_eq!(
            (binary.status, binary.header("content-type")),
            (200, Some("application/x-protobuf")),
            "{kind}"
        );
        // Both forms say the same.
        let message: tepui_proto::mesos::master::Response =
            prost::Message::decode(&binary.body[..]).expect("a Response");
        assert_eq!(
            String::from_utf8(tepui_proto::json::to_vec(&message)).expect("text"),
            answer.text(),
            "{kind}"
        );
    }
    let metrics = post_json(
        &master,
        "/api/v1",
        r#"{"type":"GET_METRICS","get_metrics":{}}"#,
    )
    .await
    .json();
    let metrics = metrics["get_metrics"]["metrics"]
        .as_array()
        .expect("a list")
        .clone();
    assert!(metrics.contains(&serde_json::json!({"name": "master/slaves_active", "value": 1.0})));
    let weights = post_json(&master, "/api/v1", r#"{"type":"GET_WEIGHTS"}"#).await;
    assert_eq!(
        weights.text(),
        r#"{"type":"GET_WEIGHTS"}"#,
        "absent when nothing is set"
    );
    master.shutdown().await;
}

#[tokio::test]
async fn the_event_stream_begins_with_a_snapshot_and_tells_what_follows() {
    let master = master().await;
    let mut events = Events::open(&master).await;
    let first = events.next().await.expect("SUBSCRIBED");
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
    assert!(first["subscribed"]["get_state"]["get_agents"].is_object());
    assert_eq!(
        events.next().await.expect("at once"),
        serde_json::json!({"type": "HEARTBEAT"})
    );

    let agent = FakeAgent::start(&master, 4.0, "127.0.0.1", 5051).await;
    let mut framework = Subscription::open(&master, "watched").await;
    let offers = framework.until("OFFERS").await;
    let accept = format!(
        r#""type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{{
            "name":"one","task_id":{{"value":"t-1"}},"agent_id":{{"value":"{}"}},"command":{{"value":"true"}},
            "resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}}}]}}]}}}}]}}"#,
        offers["offers"]["offers"][0]["id"], agent.id
    );
    assert_eq!(framework.call(&master, &accept).await.status, 202);
    let mut kinds = Vec::new();
    let finished = loop {
        let event = events.next().await.expect("open");
        kinds.push(event["type"].as_str().expect("a type").to_owned());
        if event["task_updated"]["state"] == "TASK_FINISHED" {
            break event;
        }
    };
    assert_eq!(
        finished["task_updated"]["framework_id"]["value"],
        framework.framework_id.as_str()
    );
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "AGENT_ADDED",
            "FRAMEWORK_ADDED",
            "TASK_ADDED",
            "TASK_UPDATED"
        ]
    );
    assert_eq!(
        framework.call(&master, r#""type":"TEARDOWN""#).await.status,
        202
    );
    let removed = loop {
        let event = events.next().await.expect("open");
        if event["type"] == "FRAMEWORK_REMOVED" {
            break event;
        }
    };
    assert_eq!(
        removed["framework_removed"]["framework_info"]["name"],
        "watched"
    );
    master.shutdown().await;
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn one_subscriber_too_many_closes_the_oldest() {
    let master = master_with(|config| config.max_operator_event_stream_subscribers = 1).await;
    let mut oldest = Events::open(&master).await;
    let mut newest = Events::open(&master).await;
    while oldest.next().await.is_some() {}
    assert_eq!(newest.next().await.expect("open")["type"], "SUBSCRIBED");
    master.shutdown().await;
}

#[tokio::test]
async fn a_framework_can_be_torn_down_and_the_log_read() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(log.path(), "first line\nsecond line\n").expect("written");
    let path = log.path().to_owned();
    let master = master_with(|config| config.log_file = Some(path)).await;
    let framework = Subscription::open(&master, "torn").await;
    let body = format!(
        r#"{{"type":"TEARDOWN","teardown":{{"framework_id":{{"value":"{}"}}}}}}"#,
        framework.framework_id
    );
    assert_eq!(post_json(&master, "/api/v1", &body).await.status, 200);
    let listed = post_json(
        &master,
        "/api/v1",
        r#"{"type":"LIST_FILES","list_files":{"path":"/master/log"}}"#,
    )
    .await
    .json();
    assert_eq!(listed["list_files"]["file_infos"][0]["size"], 23);
    let read = r#"{"type":"READ_FILE","read_file":{"path":"/master/log","offset":11,"length":6}}"#;
    let read = post_json(&master, "/api/v1", read).await.json();
    assert_eq!(
        read["read_file"],
        serde_json::json!({"size": 23, "data": "c2Vjb25k"})
    );
    master.shutdown().await;
}
