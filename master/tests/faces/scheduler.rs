//! The v1 scheduler API over HTTP, from SUBSCRIBE to the end of a task.

use prost::Message;
use tepui_proto::mesos::scheduler::{Event, event};
use tepui_proto::recordio;

use crate::support::{
    Exchange, FakeAgent, PATIENCE, Subscription, get, master, master_with, post, post_json,
};

const PATH: &str = "/api/v1/scheduler";

#[tokio::test]
async fn a_task_runs_from_offer_to_finished_in_json() {
    let master = master().await;
    let agent = FakeAgent::start(&master, 4.0, "127.0.0.1", 5051).await;
    let mut framework = Subscription::open(&master, "json").await;
    let offers = framework.until("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    assert_eq!(offer["agent_id"]["value"], agent.id.as_str());
    let accept = format!(
        r#""type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{{
            "name":"one","task_id":{{"value":"t-1"}},"agent_id":{{"value":"{}"}},"command":{{"value":"true"}},
            "resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}}},{{"name":"mem","type":"SCALAR","scalar":{{"value":32}}}}]
        }}]}}}}]}}"#,
        offer["id"], agent.id
    );
    let answer = framework.call(&master, &accept).await;
    assert_eq!((answer.status, answer.text()), (202, String::new()));
    for expected in ["TASK_RUNNING", "TASK_FINISHED"] {
        let update = framework.until("UPDATE").await;
        let status = &update["update"]["status"];
        assert_eq!(status["state"], expected);
        let acknowledge = format!(
            r#""type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"{}"}},"task_id":{{"value":"t-1"}},"uuid":{}}}"#,
            agent.id, status["uuid"]
        );
        assert_eq!(framework.call(&master, &acknowledge).await.status, 202);
    }
    let tasks = get(&master, "/tasks?task_id=t-1").await.json();
    assert_eq!(tasks["tasks"][0]["state"], "TASK_FINISHED");
    master.shutdown().await;
}

#[tokio::test]
async fn streams_come_in_protobuf_to_those_who_ask_for_it() {
    let master = master().await;
    let body =
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"protobuf"}}}"#;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\naccept: application/x-protobuf\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let mut exchange = Exchange::start(&master, &head, body.as_bytes()).await;
    assert_eq!(
        (exchange.status, exchange.header("content-type")),
        (200, Some("application/x-protobuf"))
    );
    let mut decoder = recordio::Decoder::new(1 << 20);
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        decoder.push(&exchange.piece().await.expect("open"));
        while let Some(record) = decoder.next_record().expect("RecordIO") {
            kinds.push(Event::decode(&record[..]).expect("an event").r#type());
        }
    }
    assert_eq!(kinds, [event::Type::Subscribed, event::Type::Heartbeat]);
    master.shutdown().await;
}

#[tokio::test]
async fn resubscribing_fails_the_old_stream_over() {
    let master = master().await;
    let body = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"again","failover_timeout":60}}}"#;
    let mut old = Subscription::with(&master, body).await;
    let again = format!(
        r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"{id}"}},
            "subscribe":{{"framework_info":{{"user":"root","name":"again","failover_timeout":60,"id":{{"value":"{id}"}}}}}}}}"#,
        id = old.framework_id
    );
    let new = Subscription::with(&master, &again).await;
    assert_eq!(new.framework_id, old.framework_id);
    assert_eq!(
        old.until("ERROR").await["error"]["message"],
        "Framework failed over"
    );
    assert!(old.next().await.is_none(), "the old stream ends");
    // The old stream's id is dead, the new one's lives.
    assert_eq!(old.call(&master, r#""type":"REVIVE""#).await.status, 400);
    assert_eq!(new.call(&master, r#""type":"REVIVE""#).await.status, 202);
    master.shutdown().await;
}

#[tokio::test]
async fn a_framework_that_hangs_up_is_removed() {
    let master = master().await;
    let framework = Subscription::open(&master, "brief").await;
    assert_eq!(
        get(&master, "/frameworks").await.json()["frameworks"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    drop(framework);
    let gone = async {
        loop {
            let frameworks = get(&master, "/frameworks").await.json();
            if frameworks["frameworks"]
                .as_array()
                .is_some_and(Vec::is_empty)
            {
                return frameworks["completed_frameworks"][0]["name"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE, gone).await.expect("soon"),
        "brief"
    );
    master.shutdown().await;
}

/// Mesos still lists such frameworks after half a minute.
#[tokio::test]
async fn schedulers_that_hang_up_before_they_are_answered_are_removed_at_once() {
    use tokio::io::AsyncWriteExt;
    let master = master().await;
    let stays = Subscription::open(&master, "stays").await;
    for round in 0..300 {
        let body = format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"root","name":"brief-{round}","failover_timeout":0}}}}}}"#
        );
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(master.addr())
            .await
            .expect("listens");
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .expect("written");
    }
    let gone = async {
        loop {
            let metrics = get(&master, "/metrics/snapshot").await.json();
            let frameworks = get(&master, "/frameworks").await.json()["frameworks"].clone();
            if metrics["tepui/connections"] == 2.0
                && metrics["tepui/framework_streams"] == 1.0
                && frameworks.as_array().map(Vec::len) == Some(1)
            {
                return frameworks[0]["id"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let left = tokio::time::timeout(PATIENCE, gone).await.expect("soon");
    assert_eq!(left, stays.framework_id.as_str());
    master.shutdown().await;
}

#[tokio::test]
async fn teardown_ends_the_stream() {
    let master = master().await;
    let mut framework = Subscription::open(&master, "torn").await;
    assert_eq!(
        framework.call(&master, r#""type":"TEARDOWN""#).await.status,
        202
    );
    while framework.next().await.is_some() {}
    assert_eq!(
        framework.call(&master, r#""type":"REVIVE""#).await.status,
        400
    );
    master.shutdown().await;
}

#[tokio::test]
async fn gzip_bodies_are_read() {
    use std::io::Write;
    let master = master().await;
    let mut framework = Subscription::open(&master, "packed").await;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(
        packer,
        r#"{{"type":"TEARDOWN","framework_id":{{"value":"{}"}}}}"#,
        framework.framework_id
    )
    .expect("memory");
    let body = packer.finish().expect("memory");
    let headers = format!(
        "\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\nmesos-stream-id: {}",
        framework.stream_id
    );
    assert_eq!(post(&master, PATH, &headers, &body).await.status, 202);
    while framework.next().await.is_some() {}
    master.shutdown().await;
}

#[tokio::test]
async fn a_reader_too_slow_is_closed_and_nobody_else() {
    let master = master_with(|config| config.limits.outbox_messages = 64).await;
    let _agent = FakeAgent::start(&master, 4.0, "127.0.0.1", 5051).await;
    let mut slow = Subscription::open(&master, "slow").await;
    let quick = Subscription::open(&master, "quick").await;
    // One call whose answers are more than the outbox holds: none of them can be read in between.
    let tasks: Vec<String> = (0..2_000)
        .map(|n| format!(r#"{{"task_id":{{"value":"no-{n}"}}}}"#))
        .collect();
    let reconcile = format!(
        r#""type":"RECONCILE","reconcile":{{"tasks":[{}]}}"#,
        tasks.join(",")
    );
    assert_eq!(slow.call(&master, &reconcile).await.status, 202);
    while slow.next().await.is_some() {}
    assert_eq!(
        quick.call(&master, r#""type":"REVIVE""#).await.status,
        202,
        "the other is undisturbed"
    );
    let metrics = get(&master, "/metrics/snapshot").await.json();
    assert_eq!(metrics["tepui/outbox_overflows"], 1.0);
    master.shutdown().await;
}

#[tokio::test]
async fn what_follows_the_path_does_not_matter() {
    let master = master().await;
    for path in [
        "/api/v1/scheduler/",
        "/master/api/v1/scheduler",
        "/api/v1/scheduler/anything",
    ] {
        let answer = post_json(&master, path, r#"{"type":"REVIVE"}"#).await;
        assert_eq!(
            answer.status,
            400,
            "{path} reaches the scheduler API: {}",
            answer.text()
        );
        assert_eq!(get(&master, path).await.status, 405, "{path}");
    }
    master.shutdown().await;
}
