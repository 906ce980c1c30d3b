//! gRPC: frameworks of the SDK (`tepui.v1.Schedulers`) and agents (`tepui.v1.AgentLink`), one batched stream each way.
//!
//! What arrives goes to the driver frame by frame; a stream whose frames the driver cannot take yet is not read. What is sent comes
//! from the stream's outbox, as few frames as the peer's pace allows.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use hyper::body::Incoming;
use prost::Message;
use tepui_grpc::Frames;
use tepui_grpc::schedulers_server::{Schedulers, SchedulersServer};
use tepui_master_core::{LinkKey, StreamKey};
use tepui_proto::mesos::scheduler::{Call, call};
use tepui_proto::tepui::v1::{
    AgentFrame, CallRefused, MasterFrame, MasterMessage, SchedulerCalls, SchedulerEvents,
};
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status, Streaming};

use super::{Face, PeerAddress, scheduler};
use crate::driver::{Gone, Inbox, Notice, Request as Wish, ToScheduler};
use crate::outbox::{Drainer, Ending, Outbox};
use crate::reign::{Reign, Standing};

/// A frame is filled up to about this (tepui-grpc's frames may be twice as large).
const FRAME_BYTES: usize = 1 << 20;
/// Where a redirected client finds the leader.
const LEADER: &str = "tepui-leader";

/// Where an agent's stream is opened.
const AGENT_LINK: &str = "/tepui.v1.AgentLink/Connect";
/// How much more memory messages take decoded than encoded, at the most: most of a message is room for what is not set.
const DECODED: usize = 24;

/// The frameworks' service.
pub(super) fn routes(face: Arc<Face>) -> tonic::service::Routes {
    let service = Connections { face };
    let limit = tepui_grpc::MESSAGE_LIMIT_BYTES;
    tonic::service::Routes::new(
        SchedulersServer::new(service)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit),
    )
    .prepare()
}

#[derive(Clone)]
struct Connections {
    face: Arc<Face>,
}

impl Connections {
    fn leading(&self) -> Result<Arc<Reign>, Status> {
        match self.face.standing() {
            Standing::Leading(reign) => Ok(reign),
            Standing::Following(Some(leader)) => {
                let mut status = Status::failed_precondition("another master leads");
                if let Ok(leader) = leader.to_string().parse() {
                    status.metadata_mut().insert(LEADER, leader);
                }
                Err(status)
            }
            Standing::Recovering => Err(Status::unavailable("Master has not finished recovery")),
            Standing::Following(None) | Standing::Nobody => {
                Err(Status::unavailable("No leader elected"))
            }
        }
    }
}

#[tonic::async_trait]
impl Schedulers for Connections {
    type ConnectStream = Outgoing<ToScheduler, SchedulerEvents>;

    async fn connect(
        &self,
        request: Request<Streaming<SchedulerCalls>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let reign = self.leading()?;
        let stream = StreamKey(reign.inbox.key());
        let closing = reign.inbox.clone();
        let (outbox, drainer) = reign
            .outboxes
            .open(move || closing.notify(Notice::StreamClosed(stream)));
        let reading = tokio::spawn(read_calls(reign, stream, outbox, request.into_inner()));
        let make = |events: Vec<ToScheduler>| {
            let mut frame = SchedulerEvents::default();
            for event in events {
                match event {
                    ToScheduler::Event(event) => frame.events.push(*event),
                    ToScheduler::Refused(refused) => frame.refused.push(refused),
                }
            }
            frame
        };
        Ok(Response::new(Outgoing {
            drainer,
            make: Box::new(make),
            reading: reading.abort_handle(),
            ended: false,
        }))
    }
}

/// Passes a framework's calls on until it sends no more. The first must be SUBSCRIBE.
async fn read_calls(
    reign: Arc<Reign>,
    stream: StreamKey,
    outbox: Outbox<ToScheduler>,
    mut calls: Streaming<SchedulerCalls>,
) {
    let inbox = &reign.inbox;
    let mut count = 0;
    let mut outbox = Some(outbox);
    // A broken stream and a finished one are the same to the core.
    while let Ok(Some(mut frame)) = calls.message().await {
        let bytes = frame.encoded_len();
        if let Some(held) = outbox.take() {
            if frame.calls.is_empty() {
                outbox = Some(held);
                continue;
            }
            let first = frame.calls.remove(0);
            if let Err(message) = first_call(&first) {
                refuse(
                    &held,
                    CallRefused {
                        call: 0,
                        status: 400,
                        message,
                    },
                );
                held.end(Ending::Finished);
                return;
            }
            let subscribe = Wish::Subscribe {
                stream,
                http_stream_id: None,
                call: Box::new(first),
                outbox: held,
                http: None,
            };
            count = 1;
            if inbox.send(subscribe, bytes).await.is_err() {
                return;
            }
        }
        let first = count;
        count += frame.calls.len() as u64;
        if frame.calls.is_empty() {
            continue;
        }
        let request = Wish::StreamCalls {
            stream,
            first,
            calls: frame.calls,
        };
        if inbox.send(request, bytes).await.is_err() {
            return;
        }
    }
    inbox.notify(Notice::StreamClosed(stream));
}

fn first_call(call: &Call) -> Result<(), String> {
    scheduler::well_formed(call)?;
    match call.r#type() {
        call::Type::Subscribe => Ok(()),
        other => Err(format!(
            "Expecting the first call of a stream to be SUBSCRIBE, but received {}",
            other.as_str_name()
        )),
    }
}

fn refuse(outbox: &Outbox<ToScheduler>, refused: CallRefused) {
    let size = refused.message.len();
    // It is the only message in there.
    let _ = outbox.push(std::iter::once((ToScheduler::Refused(refused), size)));
}

/// Whether a request opens an agent's stream.
pub(super) fn is_agent_link<B>(request: &http::Request<B>) -> bool {
    request.uri().path() == AGENT_LINK
}

/// An agent's stream.
pub(super) async fn agent_link(
    face: Arc<Face>,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    match connect_agent(Connections { face }, request).await {
        Ok(outgoing) => tepui_grpc::outgoing(outgoing),
        Err(status) => status.into_http(),
    }
}

async fn connect_agent(
    connections: Connections,
    request: http::Request<Incoming>,
) -> Result<Outgoing<MasterMessage, MasterFrame>, Status> {
    let reign = connections.leading()?;
    let link = LinkKey(reign.inbox.key());
    let peer = request
        .extensions()
        .get::<PeerAddress>()
        .map_or_else(|| "unknown".into(), |peer| peer.0.to_string().into());
    let closing = reign.inbox.clone();
    let (outbox, drainer) = reign
        .outboxes
        .open(move || closing.notify(Notice::LinkClosed(link)));
    reign
        .inbox
        .send(Wish::LinkOpened { link, peer, outbox }, 0)
        .await
        .map_err(|Gone| Status::unavailable("This master has just stopped leading"))?;
    let epoch: Arc<AtomicU64> = reign.epoch.clone();
    let frames = Frames::new(request.into_body());
    let reading = tokio::spawn(read_agent(reign.inbox.clone(), link, frames));
    let make = move |messages| MasterFrame {
        messages,
        epoch: epoch.load(Ordering::Relaxed),
    };
    Ok(Outgoing {
        drainer,
        make: Box::new(make),
        reading: reading.abort_handle(),
        ended: false,
    })
}

/// Passes an agent's messages on until it sends no more.
async fn read_agent(inbox: Inbox, link: LinkKey, mut frames: Frames<Incoming>) {
    // A broken stream and a finished one are the same to the core.
    while let Ok(Some(frame)) = frames.next().await {
        // A whole cluster may return at once: what it says waits as it came, and is decoded when the core can take it.
        let Ok(room) = inbox.room(frame.len() * DECODED).await else {
            return;
        };
        let messages = match tepui_proto::wire::decode::<AgentFrame>(&frame) {
            Ok(frame) => frame.messages,
            Err(error) => {
                tracing::warn!("the stream {} of an agent ends: {error}", link.0);
                break;
            }
        };
        drop(frame);
        let request = Wish::AgentMessages { link, messages };
        if inbox.send_in(room, request).await.is_err() {
            return;
        }
    }
    inbox.notify(Notice::LinkClosed(link));
}

/// An outbox as a stream of frames. Dropping it ends the reading of the other direction.
pub(super) struct Outgoing<T, F> {
    drainer: Drainer<T>,
    make: Box<dyn Fn(Vec<T>) -> F + Send>,
    reading: AbortHandle,
    ended: bool,
}

impl<T, F> Stream for Outgoing<T, F> {
    type Item = Result<F, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match std::task::ready!(self.drainer.poll_take(cx, FRAME_BYTES)) {
            Ok(items) => Poll::Ready(Some(Ok((self.make)(items)))),
            Err(ending) => {
                self.ended = true;
                Poll::Ready(match ending {
                    Ending::Finished => None,
                    Ending::Overflow => Some(Err(Status::resource_exhausted(
                        "the peer did not read fast enough",
                    ))),
                    Ending::NotLeading => Some(Err(Status::unavailable(
                        "this master does not lead any more",
                    ))),
                })
            }
        }
    }
}

impl<T, F> Drop for Outgoing<T, F> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
