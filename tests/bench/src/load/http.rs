//! The load over the Mesos v1 HTTP API: one connection holds the subscription, a few more carry the calls, each a POST of its own with
//! an answer of its own, as many of them on their way at once as there are calls to make.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message as _;
use tepui_proto::{json, mesos::v1::scheduler, recordio};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use crate::BenchError;

/// How many connections carry calls.
const CARRIERS: usize = 4;
/// The longest event that is taken.
const MAX_EVENT_BYTES: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn encode(self, call: &scheduler::Call) -> Vec<u8> {
        match self {
            Self::Protobuf => call.encode_to_vec(),
            Self::Json => json::to_vec(call),
        }
    }
}

pub(super) struct Connection {
    url: String,
    format: Format,
    carriers: JoinSet<Result<(), BenchError>>,
    calls: Vec<mpsc::Sender<Vec<scheduler::Call>>>,
    body: Incoming,
    decoder: recordio::Decoder,
}

impl Connection {
    pub(super) async fn open(
        address: &str,
        format: Format,
        subscribe: scheduler::Call,
    ) -> Result<Self, BenchError> {
        let url = format!("http://{address}/api/v1/scheduler");
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let answer = request(&client, &url, format, &subscribe).await?;
        let missing =
            || BenchError::Refused("the answer to SUBSCRIBE has no Mesos-Stream-Id".into());
        let stream_id = answer
            .headers()
            .get("Mesos-Stream-Id")
            .and_then(|id| id.to_str().ok())
            .ok_or_else(missing)?;
        let head = format!(
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nContent-Type: {}\r\nMesos-Stream-Id: {stream_id}\r\nContent-Length: ",
            format.media_type()
        );
        let mut calls = Vec::new();
        let mut carriers = JoinSet::new();
        for _ in 0..CARRIERS {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| broken(&url, &error))?;
            stream
                .set_nodelay(true)
                .map_err(|error| broken(&url, &error))?;
            let (sender, receiver) = mpsc::channel(64);
            calls.push(sender);
            let carrier = Carrier {
                stream,
                format,
                head: head.clone(),
                url: url.clone(),
                answers: BytesMut::new(),
            };
            carriers.spawn(carrier.run(receiver));
        }
        Ok(Self {
            url,
            format,
            calls,
            carriers,
            body: answer.into_body(),
            decoder: recordio::Decoder::new(MAX_EVENT_BYTES),
        })
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> BenchError {
        broken(&self.url, reason)
    }

    pub(super) async fn events(&mut self) -> Result<Vec<scheduler::Event>, BenchError> {
        let mut events = Vec::new();
        while events.is_empty() {
            let frame = self
                .body
                .frame()
                .await
                .ok_or_else(|| self.broken(&"the master ended the stream"))?;
            let frame = frame.map_err(|error| self.broken(&error))?;
            if let Some(data) = frame.data_ref() {
                self.decoder.push(data);
            }
            while let Some(record) = self
                .decoder
                .next_record()
                .map_err(|error| self.broken(&error))?
            {
                let event = match self.format {
                    Format::Protobuf => scheduler::Event::decode(&record[..])
                        .map_err(|error| self.broken(&error))?,
                    Format::Json => {
                        json::from_slice(&record).map_err(|error| self.broken(&error))?
                    }
                };
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Hands calls to the connections that carry them, the same share to each; a refusal shows with a later call.
    pub(super) async fn send(&mut self, mut calls: Vec<scheduler::Call>) -> Result<(), BenchError> {
        let share = calls.len().div_ceil(CARRIERS).max(1);
        for carrier in 0..CARRIERS {
            if calls.is_empty() {
                break;
            }
            let rest = calls.split_off(calls.len().min(share));
            let part = std::mem::replace(&mut calls, rest);
            if self.calls[carrier].send(part).await.is_err() {
                return match self.carriers.join_next().await {
                    Some(Ok(Err(error))) => Err(error),
                    _ => Err(self.broken(&"the calls' connections have ended")),
                };
            }
        }
        // Who has been idle longest is next.
        self.calls.rotate_left(1);
        Ok(())
    }
}

/// A connection that carries calls: what is to be sent leaves with one write, then the answer of each is read.
struct Carrier {
    stream: TcpStream,
    format: Format,
    /// Of each request, up to the length of its body.
    head: String,
    url: String,
    answers: BytesMut,
}

impl Carrier {
    async fn run(
        mut self,
        mut calls: mpsc::Receiver<Vec<scheduler::Call>>,
    ) -> Result<(), BenchError> {
        let mut batches = Vec::new();
        let mut out = Vec::new();
        while calls.recv_many(&mut batches, 64).await > 0 {
            out.clear();
            let mut sent = 0;
            for call in batches.drain(..).flatten() {
                let body = self.format.encode(&call);
                out.extend_from_slice(self.head.as_bytes());
                out.extend_from_slice(body.len().to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                out.extend_from_slice(&body);
                sent += 1;
            }
            self.stream
                .write_all(&out)
                .await
                .map_err(|error| broken(&self.url, &error))?;
            for _ in 0..sent {
                self.accepted().await?;
            }
        }
        Ok(())
    }

    /// Reads one answer, which must be 202 without content.
    async fn accepted(&mut self) -> Result<(), BenchError> {
        loop {
            if let Some(end) = self.answers.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.answers.split_to(end + 4);
                let text = String::from_utf8_lossy(&head);
                if text.starts_with("HTTP/1.1 202 ") && text.contains("content-length: 0\r\n") {
                    return Ok(());
                }
                let rest = String::from_utf8_lossy(&self.answers);
                return Err(BenchError::Refused(format!("{text}{rest}")));
            }
            let read = self.stream.read_buf(&mut self.answers).await;
            match read {
                Ok(1..) => {}
                Ok(_) => return Err(broken(&self.url, &"the master closed the connection")),
                Err(error) => return Err(broken(&self.url, &error)),
            }
        }
    }
}

fn broken(url: &str, reason: &dyn std::fmt::Display) -> BenchError {
    BenchError::Broken {
        address: url.to_owned(),
        reason: reason.to_string(),
    }
}

/// SUBSCRIBE, by a client that reads the stream.
async fn request(
    client: &Client<HttpConnector, Full<Bytes>>,
    url: &str,
    format: Format,
    call: &scheduler::Call,
) -> Result<http::Response<Incoming>, BenchError> {
    let request = http::Request::post(url)
        .header(http::header::CONTENT_TYPE, format.media_type())
        .header(http::header::ACCEPT, format.media_type())
        .body(Full::new(Bytes::from(format.encode(call))))
        .map_err(|error| broken(url, &error))?;
    let answer = client
        .request(request)
        .await
        .map_err(|error| broken(url, &error))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let text = answer
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    Err(BenchError::Refused(format!(
        "{status}: {}",
        String::from_utf8_lossy(&text)
    )))
}
