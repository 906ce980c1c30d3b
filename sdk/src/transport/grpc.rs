//! A subscription over gRPC: one stream, calls and events in batches.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use tepui_coordination::HostPort;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::api::Api;
use super::{Broken, CONNECT_TIMEOUT, Incoming, LINK_LIMIT, Link, OpenError, RefusedCall, chain};

/// Who leads, in the metadata of a refusal.
const LEADER: &str = "tepui-leader";
/// Calls whose kind is remembered, to tell what was refused.
const KINDS_LIMIT: usize = 16_384;
/// HTTP/2 windows: large enough that a burst of offers needs no second round trip.
const WINDOW_BYTES: u32 = 4 << 20;

/// The kinds of the last calls of a stream, by their number, and how many of the same kind were before.
#[derive(Debug, Default)]
struct Kinds {
    first: u64,
    kinds: VecDeque<(&'static str, u64)>,
    counts: HashMap<&'static str, u64>,
}

impl Kinds {
    fn push(&mut self, kind: &'static str) {
        let count = self.counts.entry(kind).or_default();
        self.kinds.push_back((kind, *count));
        *count += 1;
        if self.kinds.len() > KINDS_LIMIT {
            self.kinds.pop_front();
            self.first += 1;
        }
    }

    fn get(&self, call: u64) -> (&'static str, u64) {
        let index = call
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| self.kinds.get(index).copied())
            .unwrap_or(("call", 0))
    }
}

pub(super) async fn open<A: Api>(
    at: &HostPort,
    subscribe: A::Call,
    token: Option<&str>,
) -> Result<Link<A>, OpenError> {
    let unavailable = |error: &dyn std::error::Error| OpenError::Unavailable(chain(error));
    let endpoint = Endpoint::from_shared(format!("http://{at}"))
        .map_err(|error| unavailable(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(30))
        .keep_alive_while_idle(true);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| unavailable(&error))?;
    let kinds = Arc::new(Mutex::new(Kinds::default()));
    let (frames, stream) = mpsc::channel(LINK_LIMIT);
    note(&kinds, &[A::kind(&subscribe)]);
    // The channel is new and has room.
    let _ = frames.try_send(A::calls(vec![subscribe]));
    let mut request = Request::new(ReceiverStream::new(stream));
    if let Some(value) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
        request.metadata_mut().insert("authorization", value);
    }
    let mut incoming =
        match tokio::time::timeout(CONNECT_TIMEOUT, A::connect(channel, request)).await {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(status)) => return Err(refusal(&status)),
            Err(_) => return Err(OpenError::Unsupported("no answer to gRPC".to_owned())),
        };
    let (calls, queue) = mpsc::channel(LINK_LIMIT);
    let (sender, events) = mpsc::channel(LINK_LIMIT);
    let mut tasks = JoinSet::new();
    tasks.spawn(send::<A>(queue, frames, Arc::clone(&kinds)));
    tasks.spawn(async move {
        loop {
            let batch = match incoming.message().await {
                Ok(Some(batch)) => A::events(batch),
                Ok(None) => break,
                Err(status) => {
                    // The reader may have gone; then nobody asks why.
                    let _ = sender.send(Err(Broken(describe(&status)))).await;
                    break;
                }
            };
            let (batch, refused) = batch;
            if !batch.is_empty() && sender.send(Ok(Incoming::Events(batch))).await.is_err() {
                break;
            }
            for refused in refused {
                let (call, nth) = kinds
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(refused.call);
                let status = u16::try_from(refused.status).unwrap_or(400);
                let refused = RefusedCall {
                    call,
                    nth,
                    status,
                    message: refused.message,
                };
                if sender.send(Ok(Incoming::Refused(refused))).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(Link {
        events,
        calls,
        over: "gRPC",
        _tasks: tasks,
    })
}

fn note(kinds: &Mutex<Kinds>, calls: &[&'static str]) {
    let mut kinds = kinds.lock().unwrap_or_else(PoisonError::into_inner);
    for call in calls {
        kinds.push(call);
    }
}

/// Makes frames of batches, none larger than the limit unless a single call is.
async fn send<A: Api>(
    mut queue: mpsc::Receiver<Vec<A::Call>>,
    frames: mpsc::Sender<A::Calls>,
    kinds: Arc<Mutex<Kinds>>,
) {
    while let Some(batch) = queue.recv().await {
        for frame in split(
            batch,
            |call| call.encoded_len() + 8,
            tepui_grpc::FRAME_LIMIT_BYTES,
        ) {
            let names: Vec<&'static str> = frame.iter().map(A::kind).collect();
            note(&kinds, &names);
            if frames.send(A::calls(frame)).await.is_err() {
                return;
            }
        }
    }
}

/// Cuts a batch into pieces of at most `limit` bytes, or of one element.
fn split<T>(batch: Vec<T>, bytes: impl Fn(&T) -> usize, limit: usize) -> Vec<Vec<T>> {
    let mut pieces = Vec::with_capacity(1);
    let mut piece = Vec::with_capacity(batch.len());
    let mut size = 0;
    for element in batch {
        let more = bytes(&element);
        if size + more > limit && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
        size += more;
        piece.push(element);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// What a status means for a subscription.
fn refusal(status: &Status) -> OpenError {
    match status.code() {
        Code::FailedPrecondition => {
            let leader = status
                .metadata()
                .get(LEADER)
                .and_then(|value| value.to_str().ok());
            OpenError::NotLeader(leader.and_then(|leader| HostPort::parse(leader, None).ok()))
        }
        Code::InvalidArgument => OpenError::Refused {
            status: 400,
            message: status.message().to_owned(),
        },
        Code::Unauthenticated => OpenError::Refused {
            status: 401,
            message: status.message().to_owned(),
        },
        Code::PermissionDenied => OpenError::Refused {
            status: 403,
            message: status.message().to_owned(),
        },
        // Said by a gRPC server, and to be tried again.
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted
            if std::error::Error::source(status).is_none() =>
        {
            OpenError::Unavailable(describe(status))
        }
        // No gRPC server: it does not know the service, or its answer was no HTTP/2.
        _ => OpenError::Unsupported(describe(status)),
    }
}

fn describe(status: &Status) -> String {
    match (status.message(), std::error::Error::source(status)) {
        ("", None) => format!("{:?}", status.code()),
        (message, None) => message.to_owned(),
        (_, Some(source)) => chain(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_at_the_limit() {
        let cut = |sizes: &[usize]| {
            split(sizes.to_vec(), |size| *size, 10)
                .iter()
                .map(Vec::len)
                .collect::<Vec<_>>()
        };
        let cases: [(&[usize], &[usize]); 6] = [
            (&[], &[]),
            (&[3, 3, 3], &[3]),
            (&[5, 5], &[2]),
            (&[5, 6], &[1, 1]),
            (&[20], &[1]),
            (&[1, 20, 1, 9], &[1, 1, 2]),
        ];
        for (sizes, pieces) in cases {
            assert_eq!(cut(sizes), pieces, "{sizes:?}");
        }
    }

    #[test]
    fn statuses_say_what_to_do() {
        let mut elsewhere = Status::failed_precondition("another leads");
        elsewhere
            .metadata_mut()
            .insert(LEADER, "10.0.0.1:5050".parse().unwrap());
        assert_eq!(
            refusal(&elsewhere),
            OpenError::NotLeader(Some(HostPort::new("10.0.0.1", 5050)))
        );
        assert_eq!(
            refusal(&Status::failed_precondition("")),
            OpenError::NotLeader(None)
        );
        assert!(matches!(
            refusal(&Status::unavailable("nobody leads")),
            OpenError::Unavailable(_)
        ));
        assert!(matches!(
            refusal(&Status::invalid_argument("bad role")),
            OpenError::Refused { status: 400, .. }
        ));
        assert!(matches!(
            refusal(&Status::unimplemented("")),
            OpenError::Unsupported(_)
        ));
    }

    #[test]
    fn kinds_are_found_by_number_for_a_while() {
        let mut kinds = Kinds::default();
        for n in 0..KINDS_LIMIT + 2 {
            kinds.push(if n % 2 == 0 { "EVEN" } else { "ODD" });
        }
        let last = KINDS_LIMIT as u64 + 1;
        assert_eq!(
            [
                kinds.get(0),
                kinds.get(2),
                kinds.get(3),
                kinds.get(last),
                kinds.get(last + 1)
            ],
            [
                ("call", 0),
                ("EVEN", 1),
                ("ODD", 1),
                ("ODD", last / 2),
                ("call", 0)
            ]
        );
    }
}
