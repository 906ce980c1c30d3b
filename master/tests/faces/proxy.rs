//! The proxies: to a registered framework's own pages, to an agent's, and nowhere else.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Exchange, FakeAgent, Subscription, get, master, post};

/// A server that answers every request with the head it got, in two chunks, the second only after the first was read by somebody.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let first = String::from_utf8_lossy(&head).into_owned();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-own: yes\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n",
                    first.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("read");
                // The connection stays open: whoever waits for the end of the answer waits for ever.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_frameworks_own_pages_stream_through_the_master() {
    let master = master().await;
    let port = echo().await;
    let body = format!(
        r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"root","name":"my web","webui_url":"http://127.0.0.1:{port}/ui"}}}}}}"#
    );
    let _framework = Subscription::with(&master, &body).await;
    let head = "GET /service/my%20web/v2/apps?a=b HTTP/1.1\r\nx-mine: 1\r\nconnection: x-secret\r\nx-secret: 2";
    let mut answer = Exchange::start(&master, head, b"").await;
    assert_eq!((answer.status, answer.header("x-own")), (200, Some("yes")));
    let seen = String::from_utf8(
        answer
            .piece()
            .await
            .expect("the first piece, before the end"),
    )
    .expect("text")
    .to_lowercase();
    assert!(
        seen.starts_with("get /ui/v2/apps?a=b http/1.1\r\n"),
        "{seen}"
    );
    for (part, there) in [
        ("x-mine: 1", true),
        ("x-secret", false),
        ("x-forwarded-prefix: /service/my%20web", true),
        (&format!("host: 127.0.0.1:{port}"), true),
    ] {
        assert_eq!(seen.contains(part), there, "{part} in {seen}");
    }
    let slash = get(&master, "/service/my%20web?x=1").await;
    assert_eq!(
        (slash.status, slash.header("location")),
        (307, Some("/service/my%20web/?x=1"))
    );
    master.shutdown().await;
}

#[tokio::test]
async fn there_is_no_way_to_anybody_else() {
    let master = master().await;
    let _plain = Subscription::open(&master, "no-page").await;
    for (path, status) in [
        ("/service/nobody/", 404),
        ("/service/no-page/", 502),
        ("/service/", 404),
        ("/service/http:%2F%2Fexample.org/", 404),
        ("/agent/nobody/state", 404),
    ] {
        assert_eq!(get(&master, path).await.status, status, "{path}");
    }
    master.shutdown().await;
}

#[tokio::test]
async fn an_agents_files_are_read_through_the_master() {
    let master = master().await;
    let port = echo().await;
    let agent = FakeAgent::start(&master, 1.0, "127.0.0.1", port).await;
    for (path, seen) in [
        (
            format!("/agent/{}/files/read?path=/x", agent.id),
            "get /files/read?path=/x ",
        ),
        (
            format!("/tepui/v1/agents/{}/files/browse?path=/x", agent.id),
            "get /files/browse?path=/x ",
        ),
        (format!("/agent/{}/state", agent.id), "get /state "),
        (
            format!("/agent/{}/monitor/statistics", agent.id),
            "get /monitor/statistics ",
        ),
    ] {
        let mut answer = Exchange::start(&master, &format!("GET {path} HTTP/1.1"), b"").await;
        let head = String::from_utf8(answer.piece().await.expect("a piece"))
            .expect("text")
            .to_lowercase();
        assert!(head.starts_with(seen), "{path}: {head}");
    }
    assert_eq!(
        get(&master, &format!("/agent/{}/api/v1", agent.id))
            .await
            .status,
        404,
        "only what is for reading"
    );
    assert_eq!(
        get(&master, &format!("/agent/{}/files/../api/v1", agent.id))
            .await
            .status,
        404
    );
    assert_eq!(
        post(&master, &format!("/agent/{}/files/read", agent.id), "", b"")
            .await
            .status,
        405
    );
    master.shutdown().await;
}
