//! The operator API and the legacy endpoints against their reference, one row a rule: what is wrong gets its status and its sentence, in
//! JSON and in protobuf, and changes nothing.

use serde_json::json;
use tepui_master::{LogDial, RunningMaster};

use crate::support::{
    Answer, Exchange, FakeAgent, PATIENCE, Subscription, get, master, master_with, post, post_json,
};

const JSON: &str = "\r\ncontent-type: application/json";
const PROTOBUF: &str = "\r\ncontent-type: application/x-protobuf";
const READS: [&str; 8] = [
    "/slaves",
    "/frameworks",
    "/tasks",
    "/roles",
    "/quota",
    "/weights",
    "/maintenance/schedule",
    "/maintenance/status",
];

/// Everything that operators can change.
async fn everything(master: &RunningMaster) -> Vec<String> {
    let mut all = Vec::new();
    for path in READS {
        all.push(get(master, path).await.text());
    }
    all
}

/// Waits until what the core has done so far is published: its numbers are answered behind it.
async fn settled(master: &RunningMaster) {
    assert_eq!(get(master, "/metrics/snapshot").await.status, 200);
}

async fn ask(
    master: &RunningMaster,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\ncontent-length: {}{headers}",
        body.len()
    );
    Exchange::start(master, &head, body).await.finish().await
}

/// A protobuf call of which only the type and an empty union field are there.
fn bare(kind: u64, field: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(1 << 3, &mut bytes);
    prost::encoding::encode_varint(kind, &mut bytes);
    prost::encoding::encode_varint(field << 3 | 2, &mut bytes);
    prost::encoding::encode_varint(0, &mut bytes);
    bytes
}

#[tokio::test]
async fn required_fields_are_required_in_both_forms() {
    let master = master().await;
    let before = everything(&master).await;
    // Type, its number, the number of its field, and what it cannot be without.
    for (kind, number, field, missing) in [
        (
            "SET_LOGGING_LEVEL",
            6,
            3,
            &["level", "duration.nanoseconds"][..],
        ),
        ("LIST_FILES", 7, 4, &["path"]),
        ("READ_FILE", 8, 5, &["path", "offset"]),
        ("RESERVE_RESOURCES", 19, 7, &["agent_id"]),
        ("UNRESERVE_RESOURCES", 20, 8, &["agent_id"]),
        ("CREATE_VOLUMES", 21, 9, &["agent_id"]),
        ("DESTROY_VOLUMES", 22, 10, &["agent_id"]),
        ("GROW_VOLUME", 34, 18, &["volume", "addition"]),
        ("SHRINK_VOLUME", 35, 19, &["volume", "subtract"]),
        ("UPDATE_MAINTENANCE_SCHEDULE", 25, 11, &["schedule"]),
        ("DRAIN_AGENT", 37, 21, &["agent_id"]),
        ("DEACTIVATE_AGENT", 38, 22, &["agent_id"]),
        ("REACTIVATE_AGENT", 39, 23, &["agent_id"]),
        ("SET_QUOTA", 29, 14, &["quota_request"]),
        ("REMOVE_QUOTA", 30, 15, &["role"]),
        ("TEARDOWN", 31, 16, &["framework_id"]),
        ("MARK_AGENT_GONE", 32, 17, &["agent_id"]),
    ] {
        let name = kind.to_lowercase();
        let json = json!({"type": kind, &name: {}}).to_string();
        for (headers, body) in [(JSON, json.into_bytes()), (PROTOBUF, bare(number, field))] {
            let answer = post(&master, "/api/v1", headers, &body).await;
            assert_eq!(answer.status, 400, "{kind}: {}", answer.text());
            assert!(
                answer.text().contains("Missing required fields"),
                "{kind}: {}",
                answer.text()
            );
            for missing in missing {
                let outermost = missing.split('.').next().expect("one");
                assert!(
                    answer.text().contains(&format!("{name}.{outermost}")),
                    "{kind} needs {missing}: {}",
                    answer.text()
                );
            }
        }
    }
    // Fields that are required further in.
    for (body, missing) in [
        (
            r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"role":"a"}]}}"#,
            "update_weights.weight_infos[0].weight",
        ),
        (
            r#"{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{}]}}"#,
            "update_quota.quota_configs[0].role",
        ),
        (
            r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{},"resources":[{"name":"cpus"}]}}"#,
            "reserve_resources.agent_id.value",
        ),
        (
            r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{}]}}}"#,
            "windows[0].unavailability",
        ),
        (
            r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{}}}"#,
            "drain_agent.agent_id.value",
        ),
    ] {
        let answer = post(&master, "/api/v1", JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.text().contains(missing), "{body}: {}", answer.text());
    }
    assert_eq!(everything(&master).await, before);
    master.shutdown().await;
}

#[tokio::test]
async fn each_bad_request_of_the_legacy_endpoints_gets_its_answer_and_changes_nothing() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = log.path().to_owned();
    let master = master_with(|config| config.log_file = Some(path)).await;
    let agent = FakeAgent::start(&master, 4.0, "agent.example", 5051).await;
    let mut framework = Subscription::open(&master, "bystander").await;
    framework.until("OFFERS").await;
    settled(&master).await;
    let on_agent = |rest: &str| format!("slaveId={}&{rest}", agent.id);
    let before = everything(&master).await;
    for (method, path, body, status, part) in [
        (
            "POST",
            "/reserve",
            String::new(),
            400,
            "Missing 'slaveId' query parameter in the request body",
        ),
        (
            "POST",
            "/reserve",
            "slaveId=x".to_owned(),
            400,
            "Missing 'resources' query parameter in the request body",
        ),
        (
            "POST",
            "/reserve",
            on_agent("resources=rubbish"),
            400,
            "Error in parsing 'resources'",
        ),
        (
            "POST",
            "/reserve",
            on_agent("resources=[{}]"),
            400,
            "Missing required fields",
        ),
        (
            "POST",
            "/reserve",
            on_agent("resources=[]&source=1"),
            400,
            "'source'",
        ),
        (
            "POST",
            "/reserve",
            "slaveId=nobody&resources=[]".to_owned(),
            400,
            "No agent found with specified ID",
        ),
        (
            "POST",
            "/reserve",
            "slaveId=&resources=[]".to_owned(),
            400,
            "No agent found with specified ID",
        ),
        (
            "POST",
            "/unreserve",
            on_agent(""),
            400,
            "Missing 'resources' query parameter in the request body",
        ),
        (
            "POST",
            "/create-volumes",
            on_agent("resources=[]"),
            400,
            "Missing 'volumes' query parameter in the request body",
        ),
        (
            "POST",
            "/destroy-volumes",
            on_agent("volumes={"),
            400,
            "Error in parsing 'volumes'",
        ),
        (
            "POST",
            "/teardown",
            String::new(),
            400,
            "Missing 'frameworkId' query parameter",
        ),
        (
            "POST",
            "/teardown",
            "frameworkId=nobody".to_owned(),
            400,
            "No framework found with specified ID",
        ),
        (
            "POST",
            "/quota",
            "rubbish".to_owned(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "POST",
            "/quota",
            r#"{"role":"a","guarantee":[{"type":"SCALAR"}]}"#.to_owned(),
            400,
            "guarantee[0].name",
        ),
        ("DELETE", "/quota", String::new(), 400, "expecting the role"),
        (
            "PUT",
            "/weights",
            "{".to_owned(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "PUT",
            "/weights",
            r#"[{"role":"a"}]"#.to_owned(),
            400,
            "weights[0].weight",
        ),
        (
            "POST",
            "/maintenance/schedule",
            "rubbish".to_owned(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "POST",
            "/maintenance/schedule",
            r#"{"windows":[{}]}"#.to_owned(),
            400,
            "windows[0].unavailability",
        ),
        (
            "POST",
            "/machine/down",
            "{".to_owned(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "POST",
            "/machine/up",
            "rubbish".to_owned(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "GET",
            "/files/browse",
            String::new(),
            400,
            "Expecting 'path=value' in query.",
        ),
        (
            "GET",
            "/files/read",
            String::new(),
            400,
            "Expecting 'path=value' in query.",
        ),
        (
            "GET",
            "/files/read?path=/etc/passwd",
            String::new(),
            404,
            "",
        ),
        (
            "GET",
            "/files/read?path=/master/log&offset=-2",
            String::new(),
            400,
            "Negative offset provided: -2.",
        ),
        (
            "GET",
            "/files/read?path=/master/log&offset=0&length=-5",
            String::new(),
            400,
            "Negative length provided: -5.",
        ),
        (
            "GET",
            "/files/read?path=/master/log&offset=x",
            String::new(),
            400,
            "Failed to parse offset",
        ),
        (
            "GET",
            "/files/download?path=/master/../etc",
            String::new(),
            404,
            "",
        ),
        (
            "GET",
            "/logging/toggle?level=1",
            String::new(),
            400,
            "Expecting 'duration=value' in query.",
        ),
        (
            "GET",
            "/logging/toggle?duration=1secs",
            String::new(),
            400,
            "Expecting 'level=value' in query.",
        ),
        (
            "GET",
            "/logging/toggle?level=-1&duration=1secs",
            String::new(),
            400,
            "level",
        ),
        (
            "GET",
            "/logging/toggle?level=1&duration=soon",
            String::new(),
            400,
            "duration",
        ),
        (
            "GET",
            "/logging/toggle?level=1&duration=1secs",
            String::new(),
            501,
            "cannot be changed",
        ),
        ("GET", "/tasks?offset=-1", String::new(), 400, "offset"),
    ] {
        let answer = ask(&master, method, path, "", body.as_bytes()).await;
        assert_eq!(
            answer.status,
            status,
            "{method} {path} {body}: {}",
            answer.text()
        );
        assert!(
            answer.text().contains(part),
            "{method} {path} {body}: {}",
            answer.text()
        );
    }
    for path in [
        "/quota",
        "/weights",
        "/maintenance/schedule",
        "/reserve",
        "/teardown",
        "/machine/down",
    ] {
        let method = if path == "/weights" { "PUT" } else { "POST" };
        let answer = ask(
            &master,
            method,
            path,
            "\r\ncontent-encoding: gzip",
            b"rubbish",
        )
        .await;
        assert_eq!(
            answer.status,
            400,
            "a bad gzip body at {path}: {}",
            answer.text()
        );
        assert!(
            answer.text().contains("decompress"),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(everything(&master).await, before);
    assert_eq!(
        framework.call(&master, r#""type":"REVIVE""#).await.status,
        202
    );
    master.shutdown().await;
}

#[tokio::test]
async fn methods_are_the_references() {
    let master = master().await;
    for (method, path, allow) in [
        ("GET", "/reserve", "POST"),
        ("PUT", "/unreserve", "POST"),
        ("GET", "/create-volumes", "POST"),
        ("DELETE", "/destroy-volumes", "POST"),
        ("GET", "/teardown", "POST"),
        ("PUT", "/quota", "GET, POST, DELETE"),
        ("GET", "/quota/a", "DELETE"),
        ("POST", "/weights", "GET, PUT"),
        ("PUT", "/maintenance/schedule", "GET, POST"),
        ("POST", "/maintenance/status", "GET"),
        ("GET", "/machine/down", "POST"),
        ("GET", "/machine/up", "POST"),
        ("PUT", "/api/v1", "POST"),
    ] {
        for path in [
            path.to_owned(),
            format!("/master{path}"),
            format!("{path}/"),
        ] {
            let answer = ask(&master, method, &path, "", b"").await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(allow)),
                "{method} {path}"
            );
            let quoted = format!(
                "Expecting one of {{ '{}' }}, but received '{method}'",
                allow.replace(", ", "', '")
            );
            assert_eq!(answer.text(), quoted);
        }
    }
    // What only reads takes any method.
    for path in [
        "/state",
        "/state-summary",
        "/slaves",
        "/tasks",
        "/frameworks",
        "/roles",
        "/flags",
        "/version",
        "/metrics/snapshot",
        "/files/debug",
        "/logging/toggle",
        "/system/stats.json",
        "/registrar(1)/registry",
        "/help",
        "/health",
    ] {
        for method in ["GET", "POST", "PUT"] {
            assert_eq!(
                ask(&master, method, path, "", b"").await.status,
                200,
                "{method} {path}"
            );
        }
    }
    master.shutdown().await;
}

#[tokio::test]
async fn what_was_not_changed_is_not_sent_again() {
    let master = master().await;
    let mut agents = Vec::new();
    for path in READS
        .into_iter()
        .chain(["/state", "/state-summary", "/registrar(1)/registry"])
    {
        settled(&master).await;
        let first = get(&master, path).await;
        let tag = first
            .header("etag")
            .unwrap_or_else(|| panic!("{path} has a tag"))
            .to_owned();
        let again = ask(
            &master,
            "GET",
            path,
            &format!("\r\nif-none-match: {tag}"),
            b"",
        )
        .await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        let other = ask(&master, "GET", path, "\r\nif-none-match: \"other\"", b"").await;
        assert_eq!((other.status, other.text()), (200, first.text()), "{path}");
        agents.push(FakeAgent::start(&master, 1.0, "agent.example", 5051).await);
        settled(&master).await;
        let changed = ask(
            &master,
            "GET",
            path,
            &format!("\r\nif-none-match: {tag}"),
            b"",
        )
        .await;
        assert_eq!(changed.status, 200, "{path}");
    }
    master.shutdown().await;
}

#[tokio::test]
async fn the_log_is_louder_for_a_while() {
    let (turned, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let master = master_with(|config| {
        config.log_dial = Some(LogDial::new(move |level| {
            turned.send(level).map_err(|error| error.to_string())
        }));
    })
    .await;
    let mut next = async || {
        tokio::time::timeout(PATIENCE, turns.recv())
            .await
            .expect("in time")
            .expect("open")
    };
    assert_eq!(get(&master, "/logging/toggle").await.text(), "0\n");
    let set = get(&master, "/logging/toggle?level=2&duration=1hrs").await;
    assert_eq!((set.status, set.text()), (200, String::new()));
    assert_eq!(next().await, 2);
    assert_eq!(get(&master, "/logging/toggle").await.text(), "2\n");
    let body = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":1000000}}}"#;
    let set = post_json(&master, "/api/v1", body).await;
    assert_eq!((set.status, set.text()), (200, String::new()));
    assert_eq!(
        (next().await, next().await),
        (1, 0),
        "back when its time is over"
    );
    loop {
        let level = post_json(&master, "/api/v1", r#"{"type":"GET_LOGGING_LEVEL"}"#)
            .await
            .json();
        if level["get_logging_level"]["level"] == 0 {
            break;
        }
    }
    let bad = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":-1}}}"#;
    assert_eq!(post_json(&master, "/api/v1", bad).await.status, 400);
    master.shutdown().await;
}

#[tokio::test]
async fn files_are_read_as_tools_read_them() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(log.path(), "first line\nsecond line\n").expect("written");
    let path = log.path().to_owned();
    let master = master_with(|config| config.log_file = Some(path)).await;
    let real = log.path().display().to_string();
    for (path, expected) in [
        ("/files/debug", json!({"/master/log": real})),
        ("/files/browse?path=/master/log", json!([])),
        // Without an offset the size is told.
        (
            "/files/read?path=/master/log",
            json!({"data": "", "offset": 23}),
        ),
        (
            "/files/read?path=/master/log&offset=-1&length=5",
            json!({"data": "", "offset": 23}),
        ),
        (
            "/files/read?path=/master/log&offset=11&length=6",
            json!({"data": "second", "offset": 11}),
        ),
        (
            "/files/read?path=%2Fmaster%2Flog&offset=18",
            json!({"data": "line\n", "offset": 18}),
        ),
        (
            "/files/read?path=/master/log&offset=0&length=0",
            json!({"data": "", "offset": 0}),
        ),
        (
            "/files/read?path=/master/log&offset=99",
            json!({"data": "", "offset": 99}),
        ),
    ] {
        let answer = get(&master, path).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{path}");
    }
    let large = "x".repeat(200_000);
    std::fs::write(log.path(), &large).expect("written");
    let read = get(
        &master,
        "/files/read?path=/master/log&offset=0&length=100000",
    )
    .await
    .json();
    assert_eq!(
        read["data"].as_str().map(str::len),
        Some(65_536),
        "16 pages at most"
    );
    let whole = get(&master, "/files/download?path=/master/log").await;
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );
    assert!(
        whole
            .header("content-disposition")
            .is_some_and(|value| value.starts_with("attachment; filename="))
    );
    assert_eq!(whole.text(), large);
    master.shutdown().await;
    let without = master_with(|config| config.log_file = None).await;
    assert_eq!(
        get(&without, "/files/read?path=/master/log").await.status,
        404
    );
    assert_eq!(get(&without, "/files/debug").await.json(), json!({}));
    without.shutdown().await;
}

#[tokio::test]
async fn the_process_tells_of_itself() {
    let master = master().await;
    let stats = get(&master, "/system/stats.json").await.json();
    for key in [
        "avg_load_1min",
        "avg_load_5min",
        "avg_load_15min",
        "cpus_total",
        "mem_total_bytes",
        "mem_free_bytes",
    ] {
        assert!(stats[key].is_number(), "{key}: {stats}");
    }
    let agent = FakeAgent::start(&master, 1.0, "agent.example", 5051).await;
    let registry = get(&master, "/registrar(1)/registry").await.json();
    assert_eq!(
        registry["slaves"]["slaves"][0]["info"]["id"]["value"],
        agent.id.as_str()
    );
    assert!(registry["master"]["info"]["id"].is_string());
    let help = get(&master, "/help").await.text();
    assert!(
        help.contains("GET    /state\n") && help.contains("DELETE /quota/{role}\n"),
        "{help}"
    );
    let document = get(&master, "/tepui/v1/openapi.json").await.json();
    assert!(document["paths"]["/reserve"]["post"].is_object());
    master.shutdown().await;
}
