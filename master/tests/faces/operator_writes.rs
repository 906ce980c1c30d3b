//! What operators change over HTTP is done, and shows in what they read: each endpoint that writes on its good path, step after step on
//! one master with one agent.

use serde_json::{Value, json};
use tepui_master::RunningMaster;

use crate::support::{Exchange, FakeAgent, PATIENCE, Subscription, get, master};

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

/// The framework of one principal, which declines what it is offered; what it does is counted by role and by principal.
#[tokio::test]
async fn refusals_and_calls_are_counted_by_role_and_principal() {
    let master = master().await;
    let agent = FakeAgent::start(&master, 4.0, "host", 5051).await;
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "n",
        "principal": "pat", "role": "web"}}});
    let mut framework = Subscription::with(&master, &subscribe.to_string()).await;
    let offers = framework.until("OFFERS").await;
    let offer = &offers["offers"]["offers"][0]["id"]["value"];
    let metric = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let filters = metric("allocator/mesos/offer_filters/roles/web/active");
    let calls = metric("frameworks/pat/messages_received");
    let path = "/metrics/snapshot";
    shows(&master, path, &filters, json!(0.0)).await;
    shows(&master, path, &calls, json!(1.0)).await;
    let decline = format!(
        r#""type":"DECLINE","decline":{{"offer_ids":[{{"value":{offer}}}],"filters":{{"refuse_seconds":1000}}}}"#
    );
    assert_eq!(framework.call(&master, &decline).await.status, 202);
    shows(&master, path, &filters, json!(1.0)).await;
    shows(&master, path, &calls, json!(2.0)).await;
    let processed = metric("frameworks/pat/messages_processed");
    shows(&master, path, &processed, json!(2.0)).await;
    assert_eq!(
        framework.call(&master, r#""type":"REVIVE""#).await.status,
        202
    );
    shows(&master, path, &filters, json!(0.0)).await;
    // Declined again, and the agent goes for ever.
    let offers = framework.until("OFFERS").await;
    let offer = &offers["offers"]["offers"][0]["id"]["value"];
    let decline = format!(
        r#""type":"DECLINE","decline":{{"offer_ids":[{{"value":{offer}}}],"filters":{{"refuse_seconds":1000}}}}"#
    );
    assert_eq!(framework.call(&master, &decline).await.status, 202);
    shows(&master, path, &filters, json!(1.0)).await;
    let size = get(&master, path).await.json()["registrar/registry_size_bytes"].as_f64();
    assert!(size > Some(50.0), "an agent is in it: {size:?}");
    let gone =
        json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": agent.id}}});
    let (status, text) = send(&master, "POST", "/api/v1", JSON, &gone.to_string()).await;
    assert_eq!(status, 200, "{text}");
    shows(&master, path, &filters, json!(0.0)).await;
    let metrics = get(&master, path).await.json();
    assert!(metrics["registrar/registry_size_bytes"].as_f64() < size);
    for timer in [
        "registrar/state_store_ms",
        "allocator/mesos/allocation_run_ms",
        "allocator/mesos/allocation_run_latency_ms",
    ] {
        let value = |statistic: &str| metrics[&format!("{timer}{statistic}")].as_f64();
        assert!(value("/count") >= Some(1.0), "{timer}");
        assert!(
            value("").is_some()
                && value("/min") <= value("/p50")
                && value("/p9999") <= value("/max"),
            "{timer}"
        );
    }
    // The principal's last framework takes its numbers with it.
    assert_eq!(
        framework.call(&master, r#""type":"TEARDOWN""#).await.status,
        202
    );
    shows(&master, path, &calls, Value::Null).await;
}
