//! What Marathon answers to what should not have been sent, over HTTP: the status and the body of the reference, and nothing changes. And what it does
//! when another takes what is its.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;
use tepui_tests::{
    client::{get, get_json, post, put},
    cluster::{deploy, no_deployments, running, sleeper, whole},
    scheduler::Scheduler,
};

/// One request on a connection of its own; status and body.
fn raw(port: u16, method: &str, target: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status: {answer}"));
    (
        status,
        answer
            .split_once("\r\n\r\n")
            .map_or(String::new(), |(_, body)| body.to_owned()),
    )
}

#[test]
fn bad_requests_get_their_answer_and_change_nothing() {
    let (_cluster, _master, _agent, marathon) = whole(&[]);
    let tasks = deploy(&marathon.url, &sleeper("/web", 2), 2);
    no_deployments(&marathon);
    let before = get_json(&format!("{}/v2/apps", marathon.url)).unwrap();
    let json_type = "Content-Type: application/json\r\n";
    let long = format!("{{\"id\": \"/{}\", \"cmd\": \"true\"}}", "a".repeat(4000));
    let deep = format!(
        "{{\"id\": \"/deep\", \"labels\": {}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (method, target, headers, body, status, text) in [
        (
            "CONNECT",
            "a:1",
            "",
            "",
            400,
            "'a:1' of this CONNECT request has no path",
        ),
        (
            "GET",
            "a:1",
            "",
            "",
            400,
            "'a:1' of this GET request has no path",
        ),
        (
            "OPTIONS",
            "*",
            "",
            "",
            400,
            "'*' of this OPTIONS request has no path",
        ),
        ("POST", "/v2/apps", json_type, "{", 400, "Invalid JSON"),
        (
            "POST",
            "/v2/apps",
            json_type,
            "[]",
            400,
            "a JSON object is expected",
        ),
        ("POST", "/v2/apps", json_type, &deep, 400, "Invalid JSON"),
        (
            "POST",
            "/v2/apps",
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "Unsupported Media Type",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"cmd":"true"}"#,
            422,
            "error.path.missing",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/x","cmd":"true","cpus":-1}"#,
            422,
            "/cpus",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/x y","cmd":"true"}"#,
            422,
            "Object is not valid",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            &long,
            422,
            "must not be longer than",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/web","cmd":"true"}"#,
            409,
            "An app with id [/web] already exists.",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/x","container":{"type":"DOCKER","docker":{}}}"#,
            422,
            "/container/docker/image",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/x","cmd":"true","readinessChecks":[{}]}"#,
            422,
            "/readinessChecks(0)/portName",
        ),
        (
            "PUT",
            "/v2/apps/web",
            json_type,
            r#"{"version":"yesterday"}"#,
            422,
            "Invalid timestamp",
        ),
        (
            "PUT",
            "/v2/apps",
            json_type,
            r#"[{"cmd":"true"}]"#,
            422,
            "id",
        ),
        (
            "GET",
            "/v2/apps/none",
            "",
            "",
            404,
            "App '/none' does not exist",
        ),
        (
            "GET",
            "/v2/apps/web/versions/x",
            "",
            "",
            422,
            "Invalid timestamp",
        ),
        (
            "GET",
            "/v2/apps?label=a%3D%3D",
            "",
            "",
            422,
            "Can not parse label selector",
        ),
        (
            "DELETE",
            "/v2/apps/none",
            "",
            "",
            404,
            "App '/none' does not exist",
        ),
        (
            "DELETE",
            "/v2/apps/web/tasks/none",
            "",
            "",
            404,
            "does not exist",
        ),
        (
            "DELETE",
            "/v2/deployments/none",
            "",
            "",
            404,
            "DeploymentPlan none does not exist",
        ),
        ("POST", "/v2/tasks/delete", json_type, "{}", 422, "ids"),
        (
            "POST",
            "/v2/tasks/delete?scale=true&wipe=true",
            json_type,
            r#"{"ids":[]}"#,
            400,
            "You cannot use scale and wipe at the same time.",
        ),
        ("DELETE", "/v2/apps", "", "", 405, "Method Not Allowed"),
        ("GET", "/v2/nothing", "", "", 404, "URI not found"),
        ("GET", "/ui/", "", "", 302, ""),
        ("OPTIONS", "/v2/nothing", "", "", 404, ""),
        ("OPTIONS", "/v2/apps", "", "", 200, ""),
        ("HEAD", "/v2/apps", "", "", 200, ""),
        ("HEAD", "/v2/info", "", "", 200, ""),
        (
            "GET",
            "/v2/plugins/x/y",
            "",
            "",
            404,
            "No plugin with this pluginId: x",
        ),
        (
            "GET",
            "/v2/tasks",
            "Accept: text/plain\r\n",
            "",
            406,
            "Not Acceptable",
        ),
        (
            "GET",
            "/v2/apps/web/tasks",
            "Accept: text/plain\r\n",
            "",
            406,
            "Not Acceptable",
        ),
        (
            "DELETE",
            "/v2/apps/none/tasks?scale=true",
            "",
            "",
            404,
            "Path '/none' does not exist",
        ),
        (
            "DELETE",
            "/v2/apps/none/tasks",
            "",
            "",
            404,
            "App '/none' does not exist",
        ),
        (
            "POST",
            "/v2/apps",
            json_type,
            r#"{"id":"/v","cmd":"sleep 1","version":"yesterday"}"#,
            422,
            "Invalid timestamp provided 'yesterday'. Expecting ISO-8601 datetime string.",
        ),
        (
            "GET",
            "/v2/events",
            "Accept: application/json\r\n",
            "",
            406,
            "Not Acceptable",
        ),
    ] {
        let (answered, said) = raw(marathon.port, method, target, headers, body);
        let what = format!("{method} {target} {}", &body[..body.len().min(80)]);
        assert_eq!(answered, status, "{what}: {said}");
        assert!(said.contains(text), "{what}: {said}");
    }
    let huge = post(
        &format!("{}/v2/apps", marathon.url),
        &json!({ "id": "/huge", "cmd": "x".repeat(17 << 20) }),
    );
    assert!(
        huge.is_none_or(|answer| answer.status == 413),
        "a body above the limit is refused"
    );
    let after = get_json(&format!("{}/v2/apps", marathon.url)).unwrap();
    assert_eq!(before, after);
    assert_eq!(running(&marathon.url, "/web", 2), tasks);
}

#[test]
fn rubbish_on_the_wire_harms_nobody() {
    let (_cluster, master, agent, marathon) = whole(&[]);
    let mut silent = Vec::new();
    for port in [master.port, agent.port, marathon.port] {
        for rubbish in [
            &b"\x00\xff\xfe\x16\x03\x01"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"POST /v2/apps HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(rubbish); // it may have been hung up on
            silent.push(stream);
        }
        silent.extend((0..50).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()));
    }
    for url in [
        format!("{}/health", master.url),
        format!("{}/health", agent.url),
        format!("{}/ping", marathon.url),
    ] {
        assert_eq!(get(&url).unwrap().status, 200, "{url}");
    }
    let _ = deploy(&marathon.url, &sleeper("/web", 1), 1);
}

#[test]
fn a_leader_takes_the_subscription_back_that_another_has_taken() {
    let (_cluster, master, _agent, marathon) = whole(&[]);
    let tasks = deploy(&marathon.url, &sleeper("/web", 2), 2);
    no_deployments(&marathon);
    let id = || marathon.get("/v2/info")["frameworkId"].clone();
    let own = id();
    let mut other = Scheduler::subscribe(
        &format!("127.0.0.1:{}", master.port),
        &json!({ "id": { "value": own }, "user": "root", "name": "marathon", "failover_timeout": 604_800.0, "checkpoint": true,
            "roles": ["*"], "capabilities": [{ "type": "MULTI_ROLE" }] }),
    );
    other.until("SUBSCRIBED");
    let error = other.until("ERROR");
    assert_eq!(error["error"]["message"], "Framework failed over");

    let app = format!("{}/v2/apps/web", marathon.url);
    let scaled = put(&app, &json!({ "instances": 3 })).unwrap();
    assert_eq!(scaled.status, 200, "{}", scaled.body);
    no_deployments(&marathon);
    let after = running(&marathon.url, "/web", 3);
    assert!(tasks.iter().all(|task| after.contains(task)), "{after:?}");
    assert_eq!(id(), own);
    let frameworks = master.get("/frameworks");
    assert_eq!(frameworks["completed_frameworks"], json!([]));
    assert_eq!(frameworks["frameworks"].as_array().unwrap().len(), 1);
}
