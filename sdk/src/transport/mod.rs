//! How calls and events travel: one subscription at a time, over gRPC or over the v1 HTTP API.
//!
//! [`open`] subscribes and gives a [`Link`]: events come in batches, calls go out in batches, both through bounded channels. A link that
//! breaks says why and is not mended: who opened it opens another. Calls that were taken by a link and not answered are lost with it.

mod api;
mod grpc;
mod http;

use std::fmt;
use std::time::Duration;

use tepui_coordination::HostPort;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) use api::{Api, ExecutorApi, SchedulerApi};

/// How to speak to the master or agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// gRPC where the master speaks it, else v1 HTTP with protobuf. Asked anew at each subscription.
    #[default]
    Auto,
    /// gRPC, which Tepui speaks.
    Grpc,
    /// The v1 HTTP API, which Tepui and Apache Mesos speak.
    Http(Encoding),
}

/// What the bodies of HTTP requests and events are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`: small and fast.
    #[default]
    Protobuf,
    /// `application/json`: readable on the wire.
    Json,
}

/// Until there is a connection, and until a subscription is answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Batches of calls or events that wait in a link.
const LINK_LIMIT: usize = 64;

/// An open subscription. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Link<A: Api> {
    /// Ends, or gives an error last, when the link is broken.
    pub(crate) events: mpsc::Receiver<Result<Incoming<A::Event>, Broken>>,
    /// Closed when the link is broken.
    pub(crate) calls: mpsc::Sender<Vec<A::Call>>,
    /// For the log.
    pub(crate) over: &'static str,
    /// What carries it; ended with the link.
    _tasks: JoinSet<()>,
}

/// What comes over a link.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming<E> {
    Events(Vec<E>),
    Refused(RefusedCall),
}

/// A call that the other side did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedCall {
    /// Kind of the call, like `ACCEPT`.
    pub(crate) call: &'static str,
    /// How many of its kind had been sent before it over this link, for kinds that keep their order.
    pub(crate) nth: u64,
    /// HTTP status code.
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// Why a link ended, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another one leads; perhaps it is known which.
    #[error("it does not lead{}", .0.as_ref().map(|leader| format!("; {leader} does")).unwrap_or_default())]
    NotLeader(Option<HostPort>),
    /// To be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// It does not speak this transport.
    #[error("{0}")]
    Unsupported(String),
    /// Not to be tried again.
    #[error("it refuses ({status}): {message}")]
    Refused { status: u16, message: String },
}

/// Subscribes at an address. `token` is sent as a bearer token.
pub(crate) async fn open<A: Api>(
    transport: Transport,
    at: &HostPort,
    subscribe: A::Call,
    token: Option<&str>,
) -> Result<Link<A>, OpenError> {
    match transport {
        Transport::Grpc => match grpc::open(at, subscribe, token).await {
            // Asked for in so many words, it is only not there yet.
            Err(OpenError::Unsupported(why)) => Err(OpenError::Unavailable(why)),
            opened => opened,
        },
        Transport::Http(encoding) => http::open(at, subscribe, token, encoding).await,
        Transport::Auto => match grpc::open(at, subscribe.clone(), token).await {
            Err(OpenError::Unsupported(why)) => {
                tracing::debug!(%at, why, "no gRPC there; trying HTTP");
                http::open(at, subscribe, token, Encoding::Protobuf).await
            }
            opened => opened,
        },
    }
}

/// The text of an error and of what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
