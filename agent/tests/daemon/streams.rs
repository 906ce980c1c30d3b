//! Streams of RecordIO between a test and an agent: what containers write, and what is typed into them.

use std::net::SocketAddr;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tepui_proto::recordio::{self, Decoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http;
use crate::nested::Scene;

pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Nothing is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that is a stream.
pub(crate) struct Output {
    pub(crate) stream: TcpStream,
    pub(crate) head: String,
    pub(crate) decoder: Decoder,
    /// What came on standard output, and on standard error.
    pub(crate) seen: (String, String),
}

impl Output {
    pub(crate) async fn open(addr: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut stream = http::begin(addr, headers, body).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        Self {
            stream,
            head: String::from_utf8(head).unwrap().to_lowercase(),
            decoder: Decoder::new(1 << 20),
            seen: (String::new(), String::new()),
        }
    }

    pub(crate) async fn session(scene: &Scene, name: &str, asked: Value) -> Self {
        let mut asked = asked;
        asked["container_id"] = scene.id(name);
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": asked});
        let output = Self::open(scene.addr(), &[JSON], call.to_string().as_bytes()).await;
        output.good()
    }

    pub(crate) async fn attach(addr: SocketAddr, id: Value) -> Self {
        let call = json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
        let output = Self::open(addr, &[JSON], call.to_string().as_bytes()).await;
        output.good()
    }

    pub(crate) fn good(self) -> Self {
        assert!(self.head.contains(" 200 "), "{}", self.head);
        self
    }

    /// The next record; `None` at the end.
    pub(crate) async fn record(&mut self) -> Option<bytes::Bytes> {
        loop {
            if let Some(record) = self.decoder.next_record().unwrap() {
                return Some(record);
            }
            let mut piece = vec![0; 4096];
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut piece));
            let read = read
                .await
                .unwrap_or_else(|_| panic!("nothing comes after {:?}", self.seen));
            match read.unwrap() {
                0 => return None,
                length => self.decoder.push(&piece[..length]),
            }
        }
    }

    /// The next record in JSON, its data taken note of.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let record: Value = serde_json::from_slice(&self.record().await?).unwrap();
        if record["type"] == "DATA" {
            let data = record["data"]["data"].as_str().unwrap();
            let text = String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap();
            match record["data"]["type"].as_str().unwrap() {
                "STDOUT" => self.seen.0.push_str(&text),
                "STDERR" => self.seen.1.push_str(&text),
                other => panic!("{other}"),
            }
        }
        Some(record)
    }

    /// Reads on until this has come on standard output.
    pub(crate) async fn until(&mut self, wanted: &str) {
        let reading = async {
            while !self.seen.0.contains(wanted) {
                let next = self.next().await;
                assert!(next.is_some(), "{:?} is without {wanted:?}", self.seen);
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{:?} is without {wanted:?}", self.seen);
    }

    /// Everything, to the end.
    pub(crate) async fn whole(mut self) -> (String, String) {
        while self.next().await.is_some() {}
        self.seen
    }
}

/// A request whose body is a stream.
pub(crate) struct Input(pub(crate) TcpStream);

impl Input {
    pub(crate) async fn open(addr: SocketAddr, form: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "POST /api/v1 HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/recordio\r\n\
             Message-Content-Type: application/{form}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    pub(crate) async fn attach(addr: SocketAddr, id: Value) -> Self {
        let mut input = Self::open(addr, "json").await;
        input
            .say(json!({"type": "CONTAINER_ID", "container_id": id}))
            .await;
        input
    }

    pub(crate) async fn record(&mut self, record: &[u8]) {
        let mut framed = Vec::new();
        recordio::encode(record, &mut framed);
        let mut chunk = format!("{:x}\r\n", framed.len()).into_bytes();
        chunk.extend_from_slice(&framed);
        chunk.extend_from_slice(b"\r\n");
        self.0.write_all(&chunk).await.unwrap();
    }

    pub(crate) async fn say(&mut self, attach: Value) {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": attach});
        self.record(call.to_string().as_bytes()).await;
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        let data = json!({"type": "STDIN", "data": BASE64_STANDARD.encode(text)});
        self.say(json!({"type": "PROCESS_IO", "process_io": {"type": "DATA", "data": data}}))
            .await;
    }

    pub(crate) async fn control(&mut self, control: Value) {
        self.say(
            json!({"type": "PROCESS_IO", "process_io": {"type": "CONTROL", "control": control}}),
        )
        .await;
    }

    pub(crate) async fn resize(&mut self, rows: u32, columns: u32) {
        let size = json!({"rows": rows, "columns": columns});
        self.control(json!({"type": "TTY_INFO", "tty_info": {"window_size": size}}))
            .await;
    }

    pub(crate) async fn end(mut self) -> (u16, String) {
        // Refused already, it may be closed.
        let _ = self.0.write_all(b"0\r\n\r\n").await;
        self.answer().await
    }

    /// The answer, which may come before the end of the body.
    pub(crate) async fn answer(&mut self) -> (u16, String) {
        let mut whole = Vec::new();
        let _ = self.0.read_to_end(&mut whole).await;
        let text = String::from_utf8(whole).unwrap();
        let status = text[9..12].parse().unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }
}
