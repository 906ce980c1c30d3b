//! The driver: the one thread that steps the core.
//!
//! It drains what waits (a batch), steps each input, flushes, and then carries the outputs out in order: one push to each peer's
//! outbox a batch, one publication to the view, one parcel to the registrar. It never encodes, never writes to a socket or a log, and
//! waits for nothing but input and the core's next deadline.

mod carry;
mod inbox;
mod weigh;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tepui_master_core::{
    CallOrigin, Change, Counters, FrameworkCounters, Input, LinkKey, LogLevel, Master, Output,
    RegistryOperation, Reply, ReplyToken, StreamKey,
};
use tepui_model::{FrameworkId, Role};
use tepui_proto::mesos::scheduler;
use tepui_proto::tepui::v1::{CallRefused, MasterMessage};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use inbox::{Gone, Inbox, Inlet, Notice, Posted, Request, Waiter};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::outbox::{Ending, Outbox, Outboxes};
use crate::view::View;

/// Requests taken at once; more only raise the time until the first of them is answered.
const BATCH: usize = 256;

/// What a framework's stream carries.
#[derive(Debug)]
pub(crate) enum ToScheduler {
    /// An event.
    Event(Box<scheduler::Event>),
    /// A call on the stream was refused (gRPC only).
    Refused(CallRefused),
}

/// The core's numbers at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct CoreNumbers {
    pub(crate) counters: Counters,
    pub(crate) frameworks: Vec<(FrameworkId, FrameworkCounters)>,
    /// Refusals in force, by role.
    pub(crate) offer_filters: BTreeMap<Role, u64>,
    /// Calls of the frameworks of each principal.
    pub(crate) calls_by_principal: BTreeMap<String, u64>,
}

/// A write for the registrar.
pub(crate) struct Write {
    pub(crate) sequence: u64,
    pub(crate) operations: Vec<RegistryOperation>,
}

/// A line for the log, written by another thread.
pub(crate) struct Line {
    pub(crate) level: LogLevel,
    pub(crate) text: String,
}

/// Why the driver stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was told to.
    Asked,
    /// The core was fenced off by a later leader.
    Fenced(String),
}

struct Peer<T> {
    outbox: Outbox<T>,
    pending: Vec<(T, usize)>,
}

impl<T> Peer<T> {
    /// Says what is pending, and ends the stream.
    fn finish(self) {
        // One message past the bound is better than losing the ERROR that says why.
        let _ = self.outbox.push(self.pending.into_iter());
        self.outbox.end(Ending::Finished);
    }
}

/// Where the outputs go.
pub(crate) struct Outlets {
    pub(crate) view: Arc<View>,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) writes: mpsc::UnboundedSender<Write>,
    pub(crate) lines: mpsc::Sender<Line>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The core with everything that it is connected to.
pub(crate) struct Driver {
    core: Master,
    clock: Clock,
    outlets: Outlets,
    streams: HashMap<StreamKey, Peer<ToScheduler>>,
    links: HashMap<LinkKey, Peer<MasterMessage>>,
    touched_streams: Vec<StreamKey>,
    touched_links: Vec<LinkKey>,
    /// Peers whose end this batch has decided on.
    closed_streams: Vec<Peer<ToScheduler>>,
    closed_links: Vec<Peer<MasterMessage>>,
    waiting: HashMap<ReplyToken, Waiter>,
    /// The caller of the present step, who mostly is answered before the next.
    asking: Option<(ReplyToken, Waiter)>,
    next_token: u64,
    /// Answers to POSTs of this batch.
    answers: Vec<(oneshot::Sender<Reply>, Reply)>,
    outputs: Vec<Output>,
    changes: Vec<Change>,
    /// When the present batch was taken.
    batch_began: Instant,
    /// It stopped before it ran.
    stopped: Option<Stopped>,
}

impl Driver {
    pub(crate) fn new(core: Master, clock: Clock, outlets: Outlets) -> Self {
        Self {
            core,
            clock,
            outlets,
            streams: HashMap::new(),
            links: HashMap::new(),
            touched_streams: Vec::new(),
            touched_links: Vec::new(),
            closed_streams: Vec::new(),
            closed_links: Vec::new(),
            waiting: HashMap::new(),
            asking: None,
            next_token: 0,
            answers: Vec::new(),
            outputs: Vec::new(),
            changes: Vec::new(),
            batch_began: Instant::now(),
            stopped: None,
        }
    }

    /// Carries out what a new core has to say by itself: the recovered registry is published before anybody can ask for it.
    pub(crate) fn primed(mut self) -> Self {
        self.stopped = self.finish_batch();
        self
    }

    /// Drives the core until it is told to stop, is fenced off, or nobody can reach it any more.
    pub(crate) async fn run(mut self, mut inlet: Inlet, stop: CancellationToken) -> Stopped {
        let mut requests = Vec::with_capacity(BATCH);
        let mut notices = Vec::new();
        if let Some(stopped) = self.stopped.take() {
            return stopped;
        }
        loop {
            let deadline = self
                .core
                .next_deadline()
                .map(|time| self.clock.instant(time));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Stopped::Asked,
                _ = inlet.notices.recv_many(&mut notices, BATCH) => {}
                taken = inlet.parcels.recv_many(&mut requests, BATCH) => {
                    if taken == 0 {
                        return Stopped::Asked;
                    }
                }
                () = wait(deadline) => {}
            }
            while let Ok(notice) = inlet.notices.try_recv() {
                notices.push(notice);
            }
            while requests.len() < BATCH
                && let Ok(parcel) = inlet.parcels.try_recv()
            {
                requests.push(parcel);
            }
            self.batch_began = Instant::now();
            let inputs = requests.len() + notices.len();
            // Requests first: what a stream said before it ended counts.
            for parcel in requests.drain(..) {
                self.take(parcel.request);
            }
            for notice in notices.drain(..) {
                self.notice(notice);
            }
            if self
                .core
                .next_deadline()
                .is_some_and(|deadline| deadline <= self.clock.now())
            {
                self.step(Input::Tick);
            }
            if let Some(stopped) = self.finish_batch() {
                return stopped;
            }
            self.outlets
                .metrics
                .batch(inputs, self.batch_began.elapsed());
        }
    }

    fn step(&mut self, input: Input) {
        self.core.step(self.clock.now(), input, &mut self.outputs);
        if self.asking.is_some() {
            self.answer_asker();
        }
    }

    /// Looks whether the caller of this step was answered by it; the answer is at or near the end of the outputs.
    fn answer_asker(&mut self) {
        let Some((asked, waiter)) = self.asking.take() else {
            return;
        };
        let at = self
            .outputs
            .iter()
            .rposition(|output| matches!(output, Output::Reply { token, .. } if *token == asked));
        match at {
            Some(at) => {
                // The place of a reply among the outputs does not matter: it goes to somebody else than they do.
                if let Output::Reply { reply, .. } = self.outputs.remove(at) {
                    self.answer(waiter, reply);
                }
            }
            None => {
                self.waiting.insert(asked, waiter);
            }
        }
    }

    fn token(&mut self, waiter: Waiter) -> ReplyToken {
        self.next_token += 1;
        let token = ReplyToken(self.next_token);
        self.asking = Some((token, waiter));
        token
    }

    fn take(&mut self, request: Request) {
        match request {
            // Its peer has hung up. The notice that says so may be behind us already, and must not be waited for.
            Request::Subscribe { outbox, .. } if outbox.abandoned() => {}
            Request::LinkOpened { outbox, .. } if outbox.abandoned() => {}
            Request::StreamCalls {
                stream,
                first,
                calls,
            } => {
                for (nth, call) in (first..).zip(calls) {
                    let reply = Some(self.token(Waiter::Stream { stream, call: nth }));
                    self.step(Input::Call {
                        origin: CallOrigin::Stream(stream),
                        call: Box::new(call),
                        principal: None,
                        reply,
                    });
                }
            }
            Request::Posted(calls) => {
                for Posted {
                    stream_id,
                    call,
                    answer,
                } in calls
                {
                    self.posted(stream_id, call, Waiter::Http(answer));
                }
            }
            Request::Call {
                stream_id,
                call,
                waiter,
            } => self.posted(stream_id, call, waiter),
            Request::AgentMessages { link, messages } => {
                self.step(Input::AgentMessages { link, messages })
            }
            Request::Subscribe {
                stream,
                http_stream_id,
                call,
                outbox,
                http,
            } => {
                self.streams.insert(
                    stream,
                    Peer {
                        outbox,
                        pending: Vec::new(),
                    },
                );
                let reply = Some(self.token(Waiter::Subscriber { stream, http }));
                self.step(Input::Subscribe {
                    stream,
                    http_stream_id,
                    call,
                    principal: None,
                    reply,
                });
            }
            Request::LinkOpened { link, peer, outbox } => {
                self.links.insert(
                    link,
                    Peer {
                        outbox,
                        pending: Vec::new(),
                    },
                );
                self.step(Input::LinkOpened { link, peer });
            }
            Request::Operator { call, waiter } => {
                let reply = Some(self.token(waiter));
                self.step(Input::Operator { call, reply });
            }
            Request::Numbers(reply) => {
                let frameworks = self
                    .core
                    .framework_counters()
                    .map(|(id, counters)| (id.clone(), counters.clone()))
                    .collect();
                // Nobody may be waiting any more.
                let _ = reply.send(Box::new(CoreNumbers {
                    counters: self.core.counters().clone(),
                    frameworks,
                    offer_filters: self.core.offer_filters(),
                    calls_by_principal: self.core.calls_by_principal(),
                }));
            }
        }
    }

    fn posted(&mut self, stream_id: Option<Box<str>>, call: Box<scheduler::Call>, waiter: Waiter) {
        let reply = Some(self.token(waiter));
        self.step(Input::Call {
            origin: CallOrigin::Http { stream_id },
            call,
            principal: None,
            reply,
        });
    }

    fn notice(&mut self, notice: Notice) {
        match &notice {
            Notice::StreamClosed(stream) => {
                self.streams.remove(stream);
            }
            Notice::LinkClosed(link) => {
                self.links.remove(link);
            }
            Notice::Stored(..) | Notice::Suspended(_) | Notice::Whitelist(_) => {}
        }
        self.step(notice.into());
    }

    fn answer(&mut self, waiter: Waiter, reply: Reply) {
        match waiter {
            Waiter::Http(caller) => self.answers.push((caller, reply)),
            Waiter::Subscriber { stream, http } => {
                let refused = match &reply {
                    Reply::Refused { status, message } => Some(CallRefused {
                        call: 0,
                        status: (*status).into(),
                        message: message.clone(),
                    }),
                    Reply::Ok | Reply::Accepted => None,
                };
                if let Some(refused) = refused
                    && let Some(peer) = self.streams.remove(&stream)
                {
                    // It is the only message in there.
                    let _ = peer
                        .outbox
                        .push(std::iter::once((ToScheduler::Refused(refused), 0)));
                    peer.outbox.end(Ending::Finished);
                }
                self.answers.extend(http.map(|caller| (caller, reply)));
            }
            Waiter::Stream { stream, call } => {
                if let Reply::Refused { status, message } = reply {
                    let refused = CallRefused {
                        call,
                        status: status.into(),
                        message,
                    };
                    let size = refused.message.len() + 32;
                    self.tell_scheduler(stream, ToScheduler::Refused(refused), size);
                }
            }
        }
    }

    fn tell_scheduler(&mut self, stream: StreamKey, message: ToScheduler, size: usize) {
        if let Some(peer) = self.streams.get_mut(&stream) {
            if peer.pending.is_empty() {
                self.touched_streams.push(stream);
            }
            peer.pending.push((message, size));
        }
    }
}

async fn wait(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
