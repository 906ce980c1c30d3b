//! The way into the core: a queue bounded in parcels and bytes, and beside it the notices that must never wait (a stream ended, the
//! store answered), of which there are only as many as there are streams and writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tepui_master_core::{Input, LinkKey, OperatorCall, Reply, StoreError, StreamKey};
use tepui_proto::mesos::scheduler;
use tepui_proto::tepui::v1::{AgentMessage, MasterMessage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{CoreNumbers, ToScheduler};
use crate::outbox::Outbox;

/// Who waits for the answer to a call.
pub(crate) enum Waiter {
    /// A POST.
    Http(oneshot::Sender<Reply>),
    /// Who wants to subscribe; refused, the stream is over. Without a sender the refusal is told on the stream itself (gRPC).
    Subscriber {
        /// The stream.
        stream: StreamKey,
        /// A POST that waits for its response.
        http: Option<oneshot::Sender<Reply>>,
    },
    /// The how manieth call of a stream; only a refusal is told.
    Stream {
        /// The stream.
        stream: StreamKey,
        /// From 0.
        call: u64,
    },
}

/// One of many calls by POST.
pub(crate) struct Posted {
    pub(crate) stream_id: Option<Box<str>>,
    pub(crate) call: Box<scheduler::Call>,
    pub(crate) answer: oneshot::Sender<Reply>,
}

/// What faces ask of the driver.
pub(crate) enum Request {
    /// SUBSCRIBE with the stream's outbox.
    Subscribe {
        stream: StreamKey,
        http_stream_id: Option<Arc<str>>,
        call: Box<scheduler::Call>,
        outbox: Outbox<ToScheduler>,
        /// Who waits by POST; `None` for gRPC.
        http: Option<oneshot::Sender<Reply>>,
    },
    /// One call by POST.
    Call {
        stream_id: Option<Box<str>>,
        call: Box<scheduler::Call>,
        waiter: Waiter,
    },
    /// Calls that came by POST on one connection, in their order.
    Posted(Vec<Posted>),
    /// Calls on the stream that subscribed; `first` counts the first of them.
    StreamCalls {
        stream: StreamKey,
        first: u64,
        calls: Vec<scheduler::Call>,
    },
    /// An agent's new stream.
    LinkOpened {
        link: LinkKey,
        peer: Arc<str>,
        outbox: Outbox<MasterMessage>,
    },
    /// What an agent said.
    AgentMessages {
        link: LinkKey,
        messages: Vec<AgentMessage>,
    },
    /// What an operator wants.
    Operator { call: OperatorCall, waiter: Waiter },
    /// The core's numbers, as they are between two batches.
    Numbers(oneshot::Sender<Box<CoreNumbers>>),
}

/// What must not wait behind requests.
pub(crate) enum Notice {
    /// A framework's stream ended.
    StreamClosed(StreamKey),
    /// An agent's stream ended.
    LinkClosed(LinkKey),
    /// Whether nothing new may be started.
    Suspended(bool),
    /// The store has answered.
    Stored(u64, Result<(), StoreError>),
    /// Only agents of these host names are offered; `None`: all.
    Whitelist(Option<BTreeSet<String>>),
}

impl From<Notice> for Input {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::StreamClosed(stream) => Self::StreamClosed { stream },
            Notice::LinkClosed(link) => Self::LinkClosed { link },
            Notice::Suspended(suspended) => Self::Suspended(suspended),
            Notice::Whitelist(hostnames) => Self::Whitelist(hostnames),
            Notice::Stored(sequence, result) => Self::Stored { sequence, result },
        }
    }
}

/// Room in the queue.
pub(crate) struct Room(#[allow(dead_code)] OwnedSemaphorePermit); // held, not looked at

/// A request and the room it takes until the core has seen it.
pub(crate) struct Parcel {
    pub(crate) request: Request,
    _room: Room,
}

/// The core does not run any more: this master stopped leading between two looks.
#[derive(Debug)]
pub(crate) struct Gone;

const UNIT_BYTES: usize = 1024;
const PARCELS: usize = 4096;

/// The faces' end of the queue.
#[derive(Clone)]
pub(crate) struct Inbox {
    parcels: mpsc::Sender<Parcel>,
    notices: mpsc::UnboundedSender<Notice>,
    room: Arc<Semaphore>,
    units: u32,
    keys: Arc<AtomicU64>,
}

/// The driver's end of the queue.
pub(crate) struct Inlet {
    pub(crate) parcels: mpsc::Receiver<Parcel>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
}

impl Inbox {
    /// A queue for this many bytes.
    pub(crate) fn new(max_bytes: usize) -> (Self, Inlet) {
        let (parcels, parcels_in) = mpsc::channel(PARCELS);
        let (notices, notices_in) = mpsc::unbounded_channel();
        let units = u32::try_from(max_bytes / UNIT_BYTES)
            .unwrap_or(u32::MAX)
            .clamp(1, 1 << 28);
        let inbox = Self {
            parcels,
            notices,
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            keys: Arc::new(AtomicU64::new(1)),
        };
        (
            inbox,
            Inlet {
                parcels: parcels_in,
                notices: notices_in,
            },
        )
    }

    /// Waits for room, then queues. `bytes` is about what the request holds in memory.
    pub(crate) async fn send(&self, request: Request, bytes: usize) -> Result<(), Gone> {
        let room = self.room(bytes).await?;
        self.send_in(room, request).await
    }

    /// Waits for room for this many bytes: for requests that only take memory once they are decoded.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Gone> {
        let units = u32::try_from(bytes / UNIT_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(self.units);
        let permit = self.room.clone().acquire_many_owned(units).await;
        permit.map(Room).map_err(|_| Gone)
    }

    /// Queues in room that was waited for.
    pub(crate) async fn send_in(&self, room: Room, request: Request) -> Result<(), Gone> {
        self.parcels
            .send(Parcel {
                request,
                _room: room,
            })
            .await
            .map_err(|_| Gone)
    }

    /// Tells what must not wait.
    pub(crate) fn notify(&self, notice: Notice) {
        // A core that has stopped needs no notices.
        let _ = self.notices.send(notice);
    }

    /// A number that was never given before.
    pub(crate) fn key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    /// Parcels that wait, and bytes that they take, for the metrics.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let parcels = self.parcels.max_capacity() - self.parcels.capacity();
        (
            parcels,
            (self.units as usize - self.room.available_permits().min(self.units as usize))
                * UNIT_BYTES,
        )
    }
}
