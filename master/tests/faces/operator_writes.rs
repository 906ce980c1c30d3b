//! What operators change over HTTP is done, and shows in what they read: each endpoint that writes on its good path, step after step on
//! one master with one agent.

use serde_json::{Value, json};
use tepui_master::RunningMaster;

use crate::support::{Exchange, FakeAgent, PATIENCE, get, master};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn send(
    master: &RunningMaster,
    method: &str,
    path: &str,
    media_type: &str,
    body: &str,
) -> (u16, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\ncontent-type: {media_type}\r\ncontent-length: {}",
        body.len()
    );
    let answer = Exchange::start(master, &head, body.as_bytes())
        .await
        .finish()
        .await;
    (answer.status, answer.text())
}

/// Reads until the document has this at the pointer: what is written is published soon after it is answered.
async fn shows(master: &RunningMaster, path: &str, pointer: &str, expected: Value) {
    let seen = async {
        while get(master, path)
            .await
            .json()
            .pointer(pointer)
            .unwrap_or(&Value::Null)
            != &expected
        {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, seen).await.is_ok(),
        "{path} does not show {expected} at {pointer}: {}",
        get(master, path).await.text()
    );
}

fn reserved(amount: f64) -> Value {
    json!([{"name": "mem", "type": "SCALAR", "scalar": {"value": amount},
        "reservations": [{"type": "DYNAMIC", "role": "web", "principal": "op"}]}])
}

fn form(agent: &FakeAgent, resources: &Value) -> String {
    let resources = percent_encoding::utf8_percent_encode(
        &resources.to_string(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    format!("slaveId={}&resources={resources}", agent.id)
}

#[tokio::test]
async fn weights_and_quota_are_set_shown_and_taken_away() {
    let master = master().await;
    let _agent = FakeAgent::start(&master, 4.0, "host", 5051).await;
    let done = |method, path, body: Value, expected| {
        let (master, body) = (&master, body.to_string());
        async move {
            let (status, text) = send(master, method, path, JSON, &body).await;
            assert_eq!(status, expected, "{method} {path} {body}: {text}");
        }
    };
    done(
        "PUT",
        "/weights",
        json!([{"role": "web", "weight": 2.5}]),
        200,
    )
    .await;
    shows(
        &master,
        "/weights",
        "",
        json!([{"weight": 2.5, "role": "web"}]),
    )
    .await;

    let guarantee = json!({"role": "web", "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}}]});
    done("POST", "/quota", guarantee.clone(), 200).await;
    done("POST", "/quota", guarantee, 400).await;
    let config = json!({"role": "web", "guarantees": {"cpus": {"value": 2.0}}, "limits": {"cpus": {"value": 2.0}}});
    shows(&master, "/quota", "/configs/0", config).await;
    let too_much = json!({"role": "big", "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 9}}]});
    done("POST", "/quota", too_much, 409).await;
    let update = json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [
        {"role": "web", "limits": {"mem": {"value": 512}}}]}});
    done("POST", "/api/v1", update, 200).await;
    shows(
        &master,
        "/quota",
        "/configs/0/limits",
        json!({"mem": {"value": 512.0}}),
    )
    .await;
    done("DELETE", "/quota/web", Value::Null, 200).await;
    shows(&master, "/quota", "/configs", Value::Null).await;
    done("DELETE", "/quota/web", Value::Null, 400).await;
}

#[tokio::test]
async fn resources_are_reserved_and_freed_by_forms() {
    let master = master().await;
    let agent = FakeAgent::start(&master, 4.0, "host", 5051).await;
    let path = "/slaves";
    let held = "/slaves/0/reserved_resources/web/mem";
    for (endpoint, amount, status, left) in [
        ("/reserve", 64.0, 202, json!(64.0)),
        ("/reserve", 4096.0, 409, json!(64.0)),
        ("/unreserve", 64.0, 202, Value::Null),
        ("/unreserve", 64.0, 409, Value::Null),
    ] {
        let body = form(&agent, &reserved(amount));
        let (answered, text) = send(&master, "POST", endpoint, FORM, &body).await;
        assert_eq!(answered, status, "{endpoint} {amount}: {text}");
        shows(&master, path, held, left).await;
    }
}

#[tokio::test]
async fn a_machine_goes_down_and_comes_up_by_schedule() {
    let master = master().await;
    let _agent = FakeAgent::start(&master, 4.0, "host", 5051).await;
    let machine = json!({"hostname": "host", "ip": "127.0.0.1"});
    let schedule = json!({"windows": [{"machine_ids": [machine],
        "unavailability": {"start": {"nanoseconds": 0}}}]});
    let (drained, down) = ("/draining_machines/0/id", "/down_machines/0");
    for (path, body, status, pointer, expected) in [
        ("/machine/down", json!([machine]), 400, down, Value::Null),
        (
            "/maintenance/schedule",
            schedule.clone(),
            200,
            drained,
            machine.clone(),
        ),
        (
            "/machine/up",
            json!([machine]),
            400,
            drained,
            machine.clone(),
        ),
        (
            "/machine/down",
            json!([machine]),
            200,
            down,
            machine.clone(),
        ),
        (
            "/maintenance/schedule",
            json!({"windows": []}),
            400,
            down,
            machine.clone(),
        ),
        ("/machine/up", json!([machine]), 200, down, Value::Null),
    ] {
        let (answered, text) = send(&master, "POST", path, JSON, &body.to_string()).await;
        assert_eq!(answered, status, "{path} {body}: {text}");
        shows(&master, "/maintenance/status", pointer, expected).await;
        if (path, status) == ("/machine/down", 200) {
            // The agent of the machine is removed.
            shows(&master, "/slaves", "/slaves", json!([])).await;
        }
    }
    shows(&master, "/maintenance/schedule", "", json!({})).await;
}
