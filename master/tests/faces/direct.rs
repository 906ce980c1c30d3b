//! Calls that come pipelined on one connection, and what else may come on it.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Subscription, get, master};

/// Sends these bytes at once and reads until the master closes; `connection: close` goes with the last request.
async fn exchange(master: &tepui_master::RunningMaster, bytes: &str) -> String {
    let mut stream = TcpStream::connect(master.addr()).await.expect("listens");
    stream.write_all(bytes.as_bytes()).await.expect("written");
    let mut answers = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers))
        .await
        .expect("in time")
        .expect("text");
    answers
}

/// The statuses of answers that have no body but for JSON or words.
fn statuses(answers: &str) -> Vec<&str> {
    answers
        .split("HTTP/1.1 ")
        .filter_map(|answer| answer.get(..3))
        .collect()
}

fn call(framework: &Subscription, kind: &str) -> String {
    let body = format!(
        r#"{{"type":"{kind}","framework_id":{{"value":"{}"}}}}"#,
        framework.framework_id
    );
    format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nmesos-stream-id: {}\r\ncontent-length: {}\r\n\r\n{body}",
        framework.stream_id,
        body.len()
    )
}

const LAST: &str = "GET /health HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn pipelined_calls_are_answered_in_their_order() {
    let master = master().await;
    let framework = Subscription::open(&master, "many").await;
    let mut bytes = String::new();
    for round in 0..300 {
        bytes += &call(&framework, "SUPPRESS");
        if round % 100 == 50 {
            // Refused by the core: another stream's id.
            bytes += &call(&framework, "REVIVE").replacen("stream-id: ", "stream-id: x", 1);
        }
    }
    bytes += &call(&framework, "REVIVE");
    bytes += LAST;
    let answers = exchange(&master, &bytes).await;
    let mut expected = vec!["202"; 304];
    for refused in [51, 152, 253] {
        expected[refused] = "400";
    }
    expected.push("200");
    assert_eq!(statuses(&answers), expected);
    assert!(answers.contains("\r\ndate: "), "{answers}");
    let metrics = get(&master, "/metrics/snapshot").await.json();
    assert_eq!(metrics["master/messages_suppress_offers"], 300.0);
    master.shutdown().await;
}

#[tokio::test]
async fn what_is_no_plain_call_is_answered_as_everywhere() {
    let master = master().await;
    let framework = Subscription::open(&master, "mixed").await;
    for (odd, status) in [
        (
            "GET /api/v1/scheduler HTTP/1.1\r\nhost: test\r\n\r\n",
            "405",
        ),
        (
            "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}",
            "400",
        ),
        (
            "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
            "415",
        ),
        (
            "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            "400",
        ),
        (
            "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "400",
        ),
        ("GET /version HTTP/1.1\r\nhost: test\r\n\r\n", "200"),
    ] {
        let revive = call(&framework, "REVIVE");
        let answers = exchange(&master, &format!("{revive}{revive}{odd}{revive}{LAST}")).await;
        assert_eq!(
            statuses(&answers),
            ["202", "202", status, "202", "200"],
            "{odd}"
        );
    }
    master.shutdown().await;
}

#[tokio::test]
async fn a_call_may_come_byte_by_byte() {
    let master = master().await;
    let framework = Subscription::open(&master, "slow").await;
    let mut stream = TcpStream::connect(master.addr()).await.expect("listens");
    stream.set_nodelay(true).expect("a socket");
    let mut bytes = String::new();
    write!(bytes, "{}{LAST}", call(&framework, "REVIVE")).expect("memory");
    for byte in bytes.as_bytes() {
        stream.write_all(&[*byte]).await.expect("written");
        tokio::task::yield_now().await;
    }
    let mut answers = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers))
        .await
        .expect("in time")
        .expect("text");
    assert_eq!(statuses(&answers), ["202", "200"]);
    master.shutdown().await;
}
