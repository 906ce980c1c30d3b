//! A server that greets and goes before it has answered anything is no connection.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod wire;

use std::time::{Duration, Instant};

use tepui_coordination::{Connection, ZooKeeper, ZooKeeperOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const SESSION: Duration = Duration::from_secs(2);
/// No wait here is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);
const NO_NODE: i32 = -101;
const PING: i32 = -2;

/// Takes the next connection, and gives it a session.
async fn greet(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let _request = wire::receive(&mut stream).await.unwrap();
    let timeout_ms = i32::try_from(SESSION.as_millis()).unwrap();
    let greeting = [
        &0_i32.to_be_bytes()[..], // the protocol's version
        &timeout_ms.to_be_bytes(),
        &7_i64.to_be_bytes(), // the session
        &16_i32.to_be_bytes(),
        &[1; 16],
        &[0], // not only for reading
    ]
    .concat();
    wire::send(&mut stream, &[greeting]).await.unwrap();
    stream
}

/// Answers until the connection ends: that it is there, and that there is no such node.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let request = wire::receive(&mut stream).await?;
        let number = i32::from_be_bytes(request[..4].try_into().unwrap());
        let error = if number == PING { 0 } else { NO_NODE };
        let answer = [
            &number.to_be_bytes()[..],
            &0_i64.to_be_bytes(), // the last change
            &error.to_be_bytes(),
        ]
        .concat();
        wire::send(&mut stream, &[answer]).await?;
    }
}

/// The library itself takes the second connection for a good one until it gives the session up.
#[tokio::test]
async fn a_server_that_only_greets_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("zk://{}/mesos", listener.local_addr().unwrap());
    let (end, ended) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let first = greet(&listener).await;
        tokio::select! {
            broken = serve(first) => panic!("{broken:?}"),
            _ = ended => {}
        }
        let second = greet(&listener).await;
        drop((second, listener));
    });
    let options = ZooKeeperOptions {
        session_timeout: SESSION,
        ..ZooKeeperOptions::default()
    };
    let zookeeper = ZooKeeper::connect(url.parse().unwrap(), options);
    tokio::time::timeout(PATIENCE, zookeeper.connected())
        .await
        .expect("a server that answers is a connection");
    end.send(()).unwrap();
    tokio::time::timeout(PATIENCE, server)
        .await
        .expect("it is asked again")
        .unwrap();
    let seen = async {
        while zookeeper.metrics().disconnections.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("the loss is seen");
    let gone = Instant::now();
    // The library gives up after 7/5 of it.
    while gone.elapsed() < SESSION {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(zookeeper.connection(), Connection::Disconnected);
    }
}
