//! As little of an HTTP client as the tests need.

use std::net::SocketAddr;

use tepui_proto::recordio::Decoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn send(
    addr: SocketAddr,
    version: &str,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let content_type = if content_type.is_empty() {
        String::new()
    } else {
        format!("Content-Type: {content_type}\r\n")
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/{version}\r\nHost: {addr}\r\n{content_type}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// One request in HTTP/1.0, whose answer ends with the connection.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> Answer {
    answer(send(addr, "1.0", method, path, content_type, body).await).await
}

/// A call of the operator API in HTTP/1.0, with these headers.
pub(crate) async fn exchange(addr: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    answer(begin(addr, headers, body).await).await
}

/// The answer to a request that was sent.
pub(crate) async fn answer(mut stream: TcpStream) -> Answer {
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).await.unwrap();
    let at = whole.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&whole[9..12]).unwrap().parse().unwrap();
    Answer {
        status,
        body: whole.split_off(at + 4),
    }
}

/// Such a call, sent and not yet answered.
pub(crate) async fn begin(addr: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut head = format!("POST /api/v1 HTTP/1.0\r\nHost: {addr}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    request(addr, "GET", path, "", "").await
}

/// An event stream in HTTP/1.0: what follows the head is RecordIO.
pub(crate) struct Events {
    stream: TcpStream,
    decoder: Decoder,
}

impl Events {
    pub(crate) async fn subscribe(addr: SocketAddr, call: &str) -> Self {
        let mut stream = send(
            addr,
            "1.0",
            "POST",
            "/api/v1/executor",
            "application/json",
            call,
        )
        .await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.0 200") || head.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        Self {
            stream,
            decoder: Decoder::new(1 << 20),
        }
    }

    pub(crate) async fn next(&mut self) -> serde_json::Value {
        loop {
            if let Some(record) = self.decoder.next_record().unwrap() {
                return serde_json::from_slice(&record).unwrap();
            }
            let mut piece = vec![0; 4096];
            let read = self.stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "the stream has ended");
            self.decoder.push(&piece[..read]);
        }
    }
}
