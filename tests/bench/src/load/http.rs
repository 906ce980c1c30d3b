//! The load over the Mesos v1 HTTP API: one connection holds the subscription, a few more carry the calls.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message as _;
use tepui_proto::{json, mesos::v1::scheduler, recordio};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use crate::BenchError;

/// How many connections carry calls.
const PARALLEL_CALLS: usize = 32;
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
}

pub(super) struct Connection {
    url: String,
    format: Format,
    calls: mpsc::Sender<scheduler::Call>,
    carriers: JoinSet<Result<(), BenchError>>,
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
        let answer = request(&client, &url, format, None, &subscribe).await?;
        let missing =
            || BenchError::Refused("the answer to SUBSCRIBE has no Mesos-Stream-Id".into());
        let stream_id = answer
            .headers()
            .get("Mesos-Stream-Id")
            .cloned()
            .ok_or_else(missing)?;
        let (calls, receiver) = mpsc::channel(4 * PARALLEL_CALLS);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut carriers = JoinSet::new();
        for _ in 0..PARALLEL_CALLS {
            carriers.spawn(carry(
                client.clone(),
                url.clone(),
                format,
                stream_id.clone(),
                Arc::clone(&receiver),
            ));
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

    fn broken(&self, reason: String) -> BenchError {
        BenchError::Broken {
            address: self.url.clone(),
            reason,
        }
    }

    pub(super) async fn events(&mut self) -> Result<Vec<scheduler::Event>, BenchError> {
        let mut events = Vec::new();
        while events.is_empty() {
            let frame = self
                .body
                .frame()
                .await
                .ok_or_else(|| self.broken("the master ended the stream".into()))?;
            let frame = frame.map_err(|error| self.broken(error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                self.decoder.push(data);
            }
            while let Some(record) = self
                .decoder
                .next_record()
                .map_err(|error| self.broken(error.to_string()))?
            {
                let event = match self.format {
                    Format::Protobuf => scheduler::Event::decode(&record[..])
                        .map_err(|error| self.broken(error.to_string()))?,
                    Format::Json => {
                        json::from_slice(&record).map_err(|error| self.broken(error.to_string()))?
                    }
                };
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Hands calls to the connections that carry them; a refusal shows with a later call.
    pub(super) async fn send(&mut self, calls: Vec<scheduler::Call>) -> Result<(), BenchError> {
        for call in calls {
            if self.calls.send(call).await.is_err() {
                // A carrier has ended, and with it the others: it says why.
                return match self.carriers.join_next().await {
                    Some(Ok(Err(error))) => Err(error),
                    _ => Err(self.broken("the calls' connections have ended".into())),
                };
            }
        }
        Ok(())
    }
}

/// Carries calls, one after the other, on a connection of its own.
async fn carry(
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    format: Format,
    stream_id: http::HeaderValue,
    calls: Arc<Mutex<mpsc::Receiver<scheduler::Call>>>,
) -> Result<(), BenchError> {
    loop {
        let call = calls.lock().await.recv().await;
        let Some(call) = call else { return Ok(()) };
        let answer = match request(&client, &url, format, Some(&stream_id), &call).await {
            Ok(answer) => answer,
            Err(error) => {
                calls.lock().await.close();
                return Err(error);
            }
        };
        // Read to its end, so that the connection serves the next call.
        let _ = answer.into_body().collect().await;
    }
}

async fn request(
    client: &Client<HttpConnector, Full<Bytes>>,
    url: &str,
    format: Format,
    stream_id: Option<&http::HeaderValue>,
    call: &scheduler::Call,
) -> Result<http::Response<Incoming>, BenchError> {
    let broken = |reason: String| BenchError::Broken {
        address: url.to_owned(),
        reason,
    };
    let body = match format {
        Format::Protobuf => call.encode_to_vec(),
        Format::Json => json::to_vec(call),
    };
    let mut request = http::Request::post(url)
        .header(http::header::CONTENT_TYPE, format.media_type())
        .header(http::header::ACCEPT, format.media_type())
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken(error.to_string()))?;
    if let Some(stream_id) = stream_id {
        request
            .headers_mut()
            .insert("Mesos-Stream-Id", stream_id.clone());
    }
    let answer = client
        .request(request)
        .await
        .map_err(|error| broken(error.to_string()))?;
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
