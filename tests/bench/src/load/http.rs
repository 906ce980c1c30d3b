//! The load over the Mesos v1 HTTP API: one connection holds the subscription, a few more carry the calls.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message as _;
use tepui_proto::{json, mesos::v1::scheduler, recordio};

use crate::BenchError;

/// How many calls are under way at once.
const PARALLEL_CALLS: usize = 16;
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
    client: Client<HttpConnector, Full<Bytes>>,
    stream_id: http::HeaderValue,
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
        Ok(Self {
            url,
            format,
            client,
            stream_id,
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

    pub(super) async fn send(&mut self, calls: Vec<scheduler::Call>) -> Result<(), BenchError> {
        stream::iter(calls)
            .map(|call| {
                let (client, url, format, stream_id) =
                    (&self.client, &self.url, self.format, &self.stream_id);
                async move {
                    let answer = request(client, url, format, Some(stream_id), &call).await?;
                    // Read to its end, so that the connection serves the next call.
                    let _ = answer.into_body().collect().await;
                    Ok(())
                }
            })
            .buffer_unordered(PARALLEL_CALLS)
            .try_collect()
            .await
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
