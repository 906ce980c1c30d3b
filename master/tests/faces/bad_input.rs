//! What is wrong gets the reference's status and text, and changes nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Exchange, PATIENCE, Subscription, get, master, master_with, post};

const SCHEDULER: &str = "/api/v1/scheduler";
const JSON: &str = "\r\ncontent-type: application/json";
const SUBSCRIBE: &str =
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"x"}}}"#;

/// What `/state` tells without what changes by itself.
async fn state(master: &tepui_master::RunningMaster) -> String {
    let mut state = get(master, "/state").await.json();
    for framework in state["frameworks"].as_array_mut().into_iter().flatten() {
        // Offers come and go by themselves.
        framework["offers"].take();
        framework["offered_resources"].take();
        framework["resources"].take();
    }
    state.to_string()
}

#[tokio::test]
async fn each_bad_scheduler_call_gets_its_answer_and_changes_nothing() {
    let master = master_with(|config| config.limits.body_bytes = 1 << 20).await;
    let framework = Subscription::open(&master, "good").await;
    let id = format!(r#""framework_id":{{"value":"{}"}}"#, framework.framework_id);
    let with_id = |stream: &str| format!("{JSON}\r\nmesos-stream-id: {stream}");
    let ours = with_id(&framework.stream_id);
    let deep = format!(
        r#"{{"type":"SUBSCRIBE","x":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let huge = "x".repeat((1 << 20) + 1);
    let with_accept = |accept: &str| format!("{JSON}\r\naccept: {accept}");
    let cases: Vec<(&str, String, String, u16, &str)> = vec![
        (
            "no content type",
            String::new(),
            SUBSCRIBE.into(),
            400,
            "Expecting 'Content-Type' to be present",
        ),
        (
            "text",
            "\r\ncontent-type: text/plain".into(),
            SUBSCRIBE.into(),
            415,
            "Expecting 'Content-Type' of",
        ),
        (
            "a charset",
            format!("{JSON}; charset=utf-8"),
            SUBSCRIBE.into(),
            415,
            "Expecting 'Content-Type' of",
        ),
        (
            "no JSON",
            JSON.into(),
            "{".into(),
            400,
            "Failed to parse body into JSON",
        ),
        (
            "empty body",
            JSON.into(),
            String::new(),
            400,
            "Failed to parse body into JSON",
        ),
        ("no object", JSON.into(), "[]".into(), 400, ""),
        ("deeply nested", JSON.into(), deep, 400, ""),
        ("too large", JSON.into(), huge, 413, "larger than"),
        (
            "bad gzip",
            format!("{JSON}\r\ncontent-encoding: gzip"),
            "rubbish".into(),
            400,
            "decompress",
        ),
        (
            "bad protobuf",
            "\r\ncontent-type: application/x-protobuf".into(),
            "\u{7f}\u{7f}".into(),
            400,
            "Failed to parse body into Call protobuf",
        ),
        (
            "no type",
            JSON.into(),
            "{}".into(),
            400,
            "Expecting 'type' to be present",
        ),
        (
            "unknown type",
            JSON.into(),
            format!(r#"{{"type":"DANCE",{id}}}"#),
            400,
            "",
        ),
        (
            "no union field",
            ours.clone(),
            format!(r#"{{"type":"ACCEPT",{id}}}"#),
            400,
            "Expecting 'accept' to be present",
        ),
        (
            "a required field missing",
            JSON.into(),
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"x"}}}"#.into(),
            400,
            "Missing required fields",
        ),
        (
            "Accept",
            with_accept("text/html"),
            SUBSCRIBE.into(),
            406,
            "Expecting 'Accept' to allow",
        ),
        (
            "a stream id on SUBSCRIBE",
            ours.clone(),
            SUBSCRIBE.into(),
            400,
            "should not include the 'Mesos-Stream-Id' header",
        ),
        (
            "no framework id",
            ours.clone(),
            r#"{"type":"REVIVE"}"#.into(),
            400,
            "",
        ),
        (
            "unknown framework",
            ours.clone(),
            r#"{"type":"REVIVE","framework_id":{"value":"nobody"}}"#.into(),
            400,
            "Framework cannot be found",
        ),
        (
            "no stream id",
            JSON.into(),
            format!(r#"{{"type":"REVIVE",{id}}}"#),
            400,
            "",
        ),
        (
            "a stale stream id",
            with_id("00000000-0000-4000-8000-000000000000"),
            format!(r#"{{"type":"REVIVE",{id}}}"#),
            400,
            "",
        ),
        (
            "a short uuid",
            ours.clone(),
            format!(
                r#"{{"type":"ACKNOWLEDGE",{id},"acknowledge":{{"agent_id":{{"value":"a"}},"task_id":{{"value":"t"}},"uuid":"AAAA"}}}}"#
            ),
            400,
            "",
        ),
    ];
    let before = state(&master).await;
    for (name, headers, body, status, part) in cases {
        let answer = post(&master, SCHEDULER, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(part), "{name}: {}", answer.text());
        assert!(!answer.text().is_empty(), "{name} is told why");
    }
    assert_eq!(state(&master).await, before);
    assert_eq!(
        framework.call(&master, r#""type":"REVIVE""#).await.status,
        202,
        "the good framework is undisturbed"
    );
    master.shutdown().await;
}

#[tokio::test]
async fn each_bad_operator_call_gets_its_answer() {
    let master = master().await;
    let before = state(&master).await;
    for (name, headers, body, status, part) in [
        (
            "no content type",
            "",
            r#"{"type":"GET_HEALTH"}"#,
            400,
            "Expecting 'Content-Type'",
        ),
        ("text", "\r\ncontent-type: text/plain", "", 415, ""),
        (
            "no JSON",
            JSON,
            "rubbish",
            400,
            "Failed to parse body into JSON",
        ),
        ("no type", JSON, "{}", 400, "Expecting 'type' to be present"),
        ("unknown type", JSON, r#"{"type":"DANCE"}"#, 400, ""),
        (
            "no union field",
            JSON,
            r#"{"type":"GET_METRICS"}"#,
            400,
            "Expecting 'get_metrics' to be present",
        ),
        (
            "negative time-out",
            JSON,
            r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":-1}}}"#,
            400,
            "negative",
        ),
        (
            "Accept",
            "\r\ncontent-type: application/json\r\naccept: text/html",
            r#"{"type":"GET_HEALTH"}"#,
            406,
            "",
        ),
        (
            "unknown framework",
            JSON,
            r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"x"}}}"#,
            400,
            "",
        ),
        (
            "unknown agent",
            JSON,
            r#"{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"x"}}}"#,
            404,
            "",
        ),
        (
            "no such file",
            JSON,
            r#"{"type":"READ_FILE","read_file":{"path":"/etc/passwd","offset":0}}"#,
            404,
            "",
        ),
    ] {
        let answer = post(&master, "/api/v1", headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(part), "{name}: {}", answer.text());
    }
    assert_eq!(state(&master).await, before);
    master.shutdown().await;
}

#[tokio::test]
async fn wrong_methods_name_the_right_one() {
    let master = master().await;
    for path in [
        SCHEDULER,
        "/api/v1",
        "/teardown",
        "/tepui/v1/tasks/f/t/kill",
    ] {
        let answer = get(&master, path).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{path}"
        );
    }
    for path in ["/tepui/v1/events", "/"] {
        let answer = post(&master, path, JSON, b"{}").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET")),
            "{path}"
        );
    }
    for path in [
        "/nothing/here",
        "/nothing.js",
        "/quotas",
        "/tepui/v2",
        "/redirect/x",
        "/tepui/v1/tasks/f",
    ] {
        assert_eq!(get(&master, path).await.status, 404, "{path}");
    }
    master.shutdown().await;
}

#[tokio::test]
async fn targets_without_a_path_are_refused() {
    let master = master().await;
    let ours = ["CONNECT", "GET", "POST", "OPTIONS", "DELETE"];
    for (method, target) in ours
        .into_iter()
        .flat_map(|method| ["a:1", "a", "[::1]:5050", "*"].map(|target| (method, target)))
    {
        for version in ["1.0", "1.1"] {
            for kind in ["application/json", "application/grpc"] {
                let head = format!("{method} {target} HTTP/{version}\r\ncontent-type: {kind}");
                let answer = Exchange::start(&master, &head, b"").await.finish().await;
                let text = answer.text();
                assert_eq!(answer.status, 400, "{head}: {text}");
                assert!(text.contains(&format!("'{target}'")), "{head}: {text}");
                assert!(text.contains("no path"), "{head}: {text}");
            }
        }
    }
    // An absolute target has one.
    let absolute = Exchange::start(&master, "GET http://a:1/health HTTP/1.1", b"").await;
    assert_eq!(absolute.finish().await.status, 200);
    assert_eq!(get(&master, "/health").await.status, 200);
    master.shutdown().await;
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_read() {
    let master = master().await;
    let head = format!("POST {SCHEDULER} HTTP/1.1{JSON}\r\ncontent-length: 1099511627776");
    let answer = Exchange::start(&master, &head, b"").await.finish().await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    master.shutdown().await;
}

#[tokio::test]
async fn peers_that_dawdle_are_cut_off() {
    let master =
        master_with(|config| config.limits.head_timeout = std::time::Duration::from_millis(200))
            .await;
    for begin in [
        &b""[..],
        b"G",
        b"PRI * HT",
        b"GET /health HTTP/1.1\r\nhost: te",
    ] {
        let mut stream = TcpStream::connect(master.addr()).await.expect("listens");
        stream.write_all(begin).await.expect("written");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(
            ended.is_ok(),
            "{:?} is cut off",
            String::from_utf8_lossy(begin)
        );
    }
    assert_eq!(get(&master, "/health").await.status, 200);
    master.shutdown().await;
}

#[tokio::test]
async fn rubbish_harms_nobody() {
    let master = master().await;
    let framework = Subscription::open(&master, "good").await;
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not tls at all........"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish",
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(master.addr()).await.expect("listens");
        let _ = stream.write_all(rubbish).await;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is closed");
    }
    assert_eq!(
        framework.call(&master, r#""type":"REVIVE""#).await.status,
        202
    );
    master.shutdown().await;
}
