//! The legacy endpoints, Tepui's own, and the pages.

use serde_json::{Value, json};

use crate::support::{Exchange, FakeAgent, Subscription, get, master, master_with, post};

/// The keys of an object, in order.
fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn state_has_the_shape_that_mesos_tools_read() {
    let master = master_with(|config| config.cluster = Some("golden".to_owned())).await;
    let agent = FakeAgent::start(&master, 4.0, "agent.example", 5051).await;
    let mut framework = Subscription::open(&master, "shape").await;
    framework.until("OFFERS").await;
    let state = get(&master, "/master/state").await.json();
    assert_eq!(
        keys(&state),
        [
            "version",
            "build_date",
            "build_time",
            "build_user",
            "start_time",
            "elected_time",
            "id",
            "pid",
            "hostname",
            "capabilities",
            "activated_slaves",
            "deactivated_slaves",
            "unreachable_slaves",
            "leader",
            "leader_info",
            "cluster",
            "flags",
            "slaves",
            "recovered_slaves",
            "frameworks",
            "completed_frameworks",
            "orphan_tasks",
            "unregistered_frameworks"
        ]
    );
    assert_eq!(state["version"], "1.11.0");
    assert_eq!(state["activated_slaves"], 1.0);
    assert_eq!(state["leader_info"]["port"], master.addr().port());
    let slave = &state["slaves"][0];
    assert_eq!(
        keys(slave),
        [
            "id",
            "hostname",
            "port",
            "attributes",
            "pid",
            "registered_time",
            "resources",
            "used_resources",
            "offered_resources",
            "reserved_resources",
            "unreserved_resources",
            "active",
            "deactivated",
            "version",
            "capabilities"
        ]
    );
    assert_eq!(slave["id"], agent.id.as_str());
    assert_eq!(slave["pid"], "slave(1)@127.0.0.1:5051");
    assert_eq!(
        slave["resources"],
        json!({"cpus": 4.0, "gpus": 0.0, "mem": 1024.0, "disk": 0.0})
    );
    assert_eq!(slave["offered_resources"], slave["resources"]);
    let listed = &state["frameworks"][0];
    assert_eq!(
        keys(listed),
        [
            "id",
            "name",
            "used_resources",
            "offered_resources",
            "capabilities",
            "hostname",
            "webui_url",
            "active",
            "connected",
            "recovered",
            "user",
            "failover_timeout",
            "checkpoint",
            "registered_time",
            "unregistered_time",
            "resources",
            "role",
            "tasks",
            "unreachable_tasks",
            "completed_tasks",
            "offers",
            "executors"
        ]
    );
    let offer = &listed["offers"][0];
    assert_eq!(
        keys(offer),
        [
            "id",
            "framework_id",
            "allocation_info",
            "slave_id",
            "resources"
        ]
    );
    assert_eq!(offer["allocation_info"], json!({"role": "*"}));
    assert_eq!(listed["unregistered_time"], 0.0);
    master.shutdown().await;
}

#[tokio::test]
async fn the_other_endpoints_have_theirs() {
    let master = master().await;
    let _agent = FakeAgent::start(&master, 4.0, "agent.example", 5051).await;
    let framework = Subscription::open(&master, "shape").await;
    for (path, expected) in [
        ("/slaves", &["slaves", "recovered_slaves"][..]),
        (
            "/frameworks",
            &[
                "frameworks",
                "completed_frameworks",
                "unregistered_frameworks",
            ],
        ),
        ("/state-summary", &["hostname", "slaves", "frameworks"]),
        ("/tasks", &["tasks"]),
        ("/roles", &["roles"]),
        ("/flags", &["flags"]),
        (
            "/version",
            &["version", "build_date", "build_time", "build_user"],
        ),
    ] {
        for path in [
            path.to_owned(),
            format!("/master{path}"),
            format!("{path}/"),
        ] {
            let answer = get(&master, &path).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json")),
                "{path}"
            );
            assert_eq!(keys(&answer.json()), expected, "{path}");
        }
    }
    let summary = get(&master, "/state-summary").await.json();
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 0);
    assert_eq!(summary["frameworks"][0]["slave_ids"], json!([]));
    let full = get(&master, "/slaves").await.json();
    assert_eq!(
        full["slaves"][0]["unreserved_resources_full"][0]["role"],
        "*"
    );
    let one = get(
        &master,
        &format!("/frameworks?framework_id={}", framework.framework_id),
    )
    .await
    .json();
    assert_eq!(one["frameworks"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        get(&master, "/frameworks?framework_id=other").await.json()["frameworks"],
        json!([])
    );
    assert_eq!(get(&master, "/tasks?limit=many").await.status, 400);
    let health = get(&master, "/health").await;
    assert_eq!((health.status, health.text()), (200, String::new()));
    let torn = post(
        &master,
        "/teardown",
        "",
        format!("frameworkId={}", framework.framework_id).as_bytes(),
    )
    .await;
    assert_eq!(torn.status, 200);
    assert_eq!(
        post(&master, "/teardown", "", b"frameworkId=other")
            .await
            .status,
        400
    );
    master.shutdown().await;
}

#[tokio::test]
async fn jsonp_gzip_and_metrics() {
    let master = master().await;
    let wrapped = get(&master, "/version?jsonp=angular.callbacks._0").await;
    assert_eq!(wrapped.header("content-type"), Some("text/javascript"));
    assert!(wrapped.text().starts_with("angular.callbacks._0({") && wrapped.text().ends_with("})"));
    assert_eq!(
        get(&master, "/version?jsonp=alert(1)").await.status,
        400,
        "only names become code"
    );
    let packed = Exchange::start(&master, "GET /state HTTP/1.1\r\naccept-encoding: gzip", b"")
        .await
        .finish()
        .await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut text,
    )
    .expect("gzip");
    assert!(text.starts_with("{\"version\""));
    let small = Exchange::start(
        &master,
        "GET /version HTTP/1.1\r\naccept-encoding: gzip",
        b"",
    )
    .await
    .finish()
    .await;
    assert_eq!(small.header("content-encoding"), None);
    let snapshot = get(&master, "/metrics/snapshot").await.json();
    assert_eq!(
        (
            &snapshot["master/elected"],
            &snapshot["master/slaves_active"]
        ),
        (&json!(1.0), &json!(0.0))
    );
    assert_eq!(
        get(&master, "/metrics/snapshot?timeout=5secs").await.status,
        200
    );
    assert_eq!(
        get(&master, "/metrics/snapshot?timeout=soon").await.status,
        400
    );
    let prometheus = get(&master, "/metrics").await;
    assert!(
        prometheus.text().contains("\ntepui_master_elected 1\n"),
        "{}",
        prometheus.text()
    );
    master.shutdown().await;
}

#[tokio::test]
async fn redirects_lead_to_the_leader() {
    let master = master().await;
    let expected = format!("//127.0.0.1:{}", master.addr().port());
    for path in ["/redirect", "/master/redirect"] {
        let answer = get(&master, path).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (307, Some(expected.as_str())),
            "{path}"
        );
    }
    master.shutdown().await;
}

#[tokio::test]
async fn tasks_are_killed_by_operators_and_the_ui_is_told_everything() {
    let master = master().await;
    let agent = FakeAgent::start(&master, 4.0, "agent.example", 5051).await;
    let mut events = Exchange::start(&master, "GET /tepui/v1/events HTTP/1.1", b"").await;
    assert_eq!(
        (events.status, events.header("content-type")),
        (200, Some("text/event-stream"))
    );
    let first = event(&mut events).await;
    assert_eq!(
        (&first["reset"], &first["ready"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(first["agents"][0]["id"], agent.id.as_str());
    assert_eq!(first["agents"][0]["total"], json!([4.0, 0.0, 1024.0, 0.0]));
    let framework = Subscription::open(&master, "told").await;
    let told = loop {
        let event = event(&mut events).await;
        if event["frameworks"].is_array() {
            break event;
        }
    };
    assert_eq!(told["frameworks"][0]["id"], framework.framework_id.as_str());
    assert_eq!(told.get("reset"), None);
    let info = get(&master, "/tepui/v1/info").await.json();
    assert_eq!(
        (&info["standing"], &info["epoch"]),
        (&json!("leading"), &json!(1))
    );
    let unknown = post(
        &master,
        &format!("/tepui/v1/tasks/{}/nothing/kill", framework.framework_id),
        "",
        b"",
    )
    .await;
    assert_eq!(unknown.status, 404);
    master.shutdown().await;
}

/// The next event of a stream of server-sent events.
async fn event(events: &mut Exchange) -> Value {
    loop {
        let piece = String::from_utf8(events.piece().await.expect("open")).expect("text");
        if let Some(data) = piece.strip_prefix("event: state\ndata: ") {
            return serde_json::from_str(data.trim()).expect("JSON");
        }
    }
}

#[tokio::test]
async fn the_root_is_a_page() {
    let master = master().await;
    let page = get(&master, "/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    master.shutdown().await;
}

#[tokio::test]
async fn a_master_started_again_remembers_its_agents_before_they_return() {
    let directory = tempfile::tempdir().expect("a directory");
    let durable = || tepui_master::Durable::Directory(directory.path().to_owned());
    let first = master_with(|config| config.durable = durable()).await;
    let agent = FakeAgent::start(&first, 4.0, "agent.example", 5051).await;
    first.shutdown().await;
    let second = master_with(|config| config.durable = durable()).await;
    let slaves = get(&second, "/slaves").await.json();
    assert_eq!(slaves["slaves"], json!([]));
    assert_eq!(slaves["recovered_slaves"][0]["id"], agent.id.as_str());
    assert_eq!(
        get(&second, "/tepui/v1/info").await.json()["epoch"],
        2,
        "each leader has an epoch of its own"
    );
    second.shutdown().await;
}
