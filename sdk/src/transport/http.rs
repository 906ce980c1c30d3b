//! A subscription over the v1 HTTP API: one streaming response for events, a request for each call.
//!
//! Calls go out over a few *lanes*: within a lane one after the other, so that their order is kept, between lanes in parallel.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tepui_coordination::HostPort;
use tepui_proto::recordio;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::api::{self, Api};
use super::{
    Broken, CONNECT_TIMEOUT, Encoding, Incoming, LINK_LIMIT, Link, OpenError, RefusedCall, chain,
};

/// Connections for calls.
const LANES: usize = 8;
/// The largest event, in bytes.
const RECORD_LIMIT_BYTES: usize = 64 << 20;
/// How much of an error's text is read, in bytes.
const MESSAGE_LIMIT_BYTES: usize = 16 << 10;

static STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

/// Where to send calls, and as what.
struct Endpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: http::Uri,
    headers: HeaderMap,
    encoding: Encoding,
}

impl Encoding {
    fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

impl Endpoint {
    async fn post(&self, body: Bytes) -> Result<Response<Body>, hyper_util::client::legacy::Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        self.client.request(request).await
    }
}

pub(super) async fn open<A: Api>(
    at: &HostPort,
    subscribe: A::Call,
    token: Option<&str>,
    encoding: Encoding,
) -> Result<Link<A>, OpenError> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(encoding.media_type()),
    );
    headers.insert(
        header::ACCEPT,
        HeaderValue::from_static(encoding.media_type()),
    );
    if let Some(value) =
        token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok())
    {
        headers.insert(header::AUTHORIZATION, value);
    }
    let uri = format!("http://{at}{}", A::PATH);
    let uri = uri.parse().map_err(|error: http::uri::InvalidUri| {
        OpenError::Unavailable(format!("{uri}: {error}"))
    })?;
    let mut endpoint = Endpoint {
        client: Client::builder(TokioExecutor::new()).build(connector),
        uri,
        headers,
        encoding,
    };
    let asked = endpoint.post(api::encode::<A>(&subscribe, encoding));
    let response = match tokio::time::timeout(CONNECT_TIMEOUT, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(OpenError::Unavailable(chain(&error))),
        Err(_) => {
            return Err(OpenError::Unavailable(format!(
                "no answer within {} s",
                CONNECT_TIMEOUT.as_secs()
            )));
        }
    };
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    if let Some(stream) = response.headers().get(&STREAM_ID) {
        endpoint.headers.insert(STREAM_ID.clone(), stream.clone());
    }
    let (calls, queue) = mpsc::channel(LINK_LIMIT);
    let (sender, events) = mpsc::channel(LINK_LIMIT);
    let mut tasks = JoinSet::new();
    tasks.spawn(send::<A>(queue, Arc::new(endpoint), sender.clone()));
    tasks.spawn(async move {
        let why = receive::<A>(response.into_body(), encoding, &sender).await;
        // The reader may have gone; then nobody asks why.
        let _ = sender.send(Err(Broken(why))).await;
    });
    Ok(Link {
        events,
        calls,
        over: "HTTP",
        _tasks: tasks,
    })
}

/// Reads events until the stream ends; returns why it did.
async fn receive<A: Api>(
    mut body: Body,
    encoding: Encoding,
    events: &mpsc::Sender<Result<Incoming<A::Event>, Broken>>,
) -> String {
    let mut decoder = recordio::Decoder::new(RECORD_LIMIT_BYTES);
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(piece)) => piece,
            // Trailers say nothing.
            Ok(Err(_)) => continue,
            Err(error) => return chain(&error),
        };
        decoder.push(&piece);
        let mut batch = Vec::new();
        loop {
            match decoder.next_record() {
                Ok(Some(record)) if record.is_empty() => {}
                Ok(Some(record)) => match api::decode::<A>(&record, encoding) {
                    Ok(event) => batch.push(event),
                    Err(error) => return format!("an event could not be read: {error}"),
                },
                Ok(None) => break,
                Err(error) => return format!("the stream is not RecordIO: {error}"),
            }
        }
        if !batch.is_empty() && events.send(Ok(Incoming::Events(batch))).await.is_err() {
            return "nobody reads the events".to_owned();
        }
    }
    "the stream ended".to_owned()
}

/// Deals calls to the lanes.
async fn send<A: Api>(
    mut queue: mpsc::Receiver<Vec<A::Call>>,
    endpoint: Arc<Endpoint>,
    events: mpsc::Sender<Result<Incoming<A::Event>, Broken>>,
) {
    let mut senders = Vec::with_capacity(LANES);
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (sender, calls) = mpsc::channel(LINK_LIMIT);
        senders.push(sender);
        lanes.spawn(lane::<A>(calls, Arc::clone(&endpoint), events.clone()));
    }
    while let Some(batch) = queue.recv().await {
        for call in batch {
            let lane = A::lane(&call, LANES).min(LANES - 1);
            if senders[lane].send(call).await.is_err() {
                return;
            }
        }
    }
    // What was dealt is still sent.
    drop(senders);
    while lanes.join_next().await.is_some() {}
}

/// Sends calls one after the other.
async fn lane<A: Api>(
    mut calls: mpsc::Receiver<A::Call>,
    endpoint: Arc<Endpoint>,
    events: mpsc::Sender<Result<Incoming<A::Event>, Broken>>,
) {
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    while let Some(call) = calls.recv().await {
        let count = counts.entry(A::kind(&call)).or_default();
        let nth = std::mem::replace(count, *count + 1);
        let told = match endpoint
            .post(api::encode::<A>(&call, endpoint.encoding))
            .await
        {
            Ok(response) if response.status().is_success() => {
                // Read to its end, so that the connection can be used again.
                let _ = Limited::new(response.into_body(), MESSAGE_LIMIT_BYTES)
                    .collect()
                    .await;
                continue;
            }
            Ok(response) => {
                let status = response.status();
                match refusal(response).await {
                    OpenError::Refused { status, message } => Ok(Incoming::Refused(RefusedCall {
                        call: A::kind(&call),
                        nth,
                        status,
                        message,
                    })),
                    other => Err(Broken(format!(
                        "{} was answered with {status}: {other}",
                        A::kind(&call)
                    ))),
                }
            }
            Err(error) => Err(Broken(format!(
                "{} could not be sent: {}",
                A::kind(&call),
                chain(&error)
            ))),
        };
        let broken = told.is_err();
        if events.send(told).await.is_err() || broken {
            return;
        }
    }
}

/// What an answer other than 2xx means.
async fn refusal(response: Response<Body>) -> OpenError {
    let status = response.status();
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let text = match Limited::new(response.into_body(), MESSAGE_LIMIT_BYTES)
        .collect()
        .await
    {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(_) => String::new(),
    };
    judge(status, location.as_deref(), text)
}

fn judge(status: StatusCode, location: Option<&str>, message: String) -> OpenError {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT | StatusCode::FOUND => {
            OpenError::NotLeader(location.and_then(redirected))
        }
        // A master or agent of Mesos that starts answers so until it has its routes.
        StatusCode::NOT_FOUND => {
            OpenError::Unavailable(format!("{status}: nothing is served there (yet)"))
        }
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            OpenError::Unavailable(if message.is_empty() {
                status.to_string()
            } else {
                format!("{status}: {message}")
            })
        }
        status => OpenError::Refused {
            status: status.as_u16(),
            message,
        },
    }
}

/// The host of `//host:port/path`, or of a full URL.
fn redirected(location: &str) -> Option<HostPort> {
    let (_, rest) = location.split_once("//")?;
    let host = rest.split(['/', '?']).next()?;
    HostPort::parse(host, Some(5050)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_the_leader() {
        let cases = [
            (
                "//10.0.0.1:5050/api/v1/scheduler",
                Some(HostPort::new("10.0.0.1", 5050)),
            ),
            (
                "http://master.example:6060/x?y",
                Some(HostPort::new("master.example", 6060)),
            ),
            ("//[::1]:5050", Some(HostPort::new("::1", 5050))),
            ("//master", Some(HostPort::new("master", 5050))),
            ("/api/v1/scheduler", None),
            ("//:5050/x", None),
        ];
        for (location, leader) in cases {
            assert_eq!(redirected(location), leader, "{location}");
        }
    }

    #[test]
    fn answers_say_what_to_do() {
        let judged = |status: u16| {
            judge(
                StatusCode::from_u16(status).unwrap(),
                Some("//h:1"),
                "why".to_owned(),
            )
        };
        assert_eq!(
            judged(307),
            OpenError::NotLeader(Some(HostPort::new("h", 1)))
        );
        assert_eq!(
            judged(503),
            OpenError::Unavailable("503 Service Unavailable: why".to_owned())
        );
        assert_eq!(
            judged(404),
            OpenError::Unavailable("404 Not Found: nothing is served there (yet)".to_owned())
        );
        for status in [400, 401, 403, 415, 501] {
            assert_eq!(
                judged(status),
                OpenError::Refused {
                    status,
                    message: "why".to_owned()
                }
            );
        }
    }
}
