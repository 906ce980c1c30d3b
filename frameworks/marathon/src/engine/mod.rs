//! The core in its thread, and the way in and out of it.
//!
//! One term of leadership has one engine. Its thread drains whatever inputs wait (a batch), steps the core with each, and then carries the outputs
//! out in order. Everybody else holds an [`EngineHandle`]: requests are answered through it, reads come from the shared view beside it.

mod carry;
mod clock;
mod counts;
mod garbage;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use tepui_marathon_core::{
    ApiCall, Config, Input, Marathon, Output, Record, RecoverError, ReplyToken, Response,
    Timestamp, view::View,
};
use tepui_model::Time;
use tokio::sync::{mpsc, oneshot};

pub(crate) use carry::{Carriers, SchedulerCommand, Write};
pub(crate) use clock::Clock;
use counts::Counts;
pub(crate) use garbage::{Garbage, drops};

/// Inputs that may wait for the core. Producers wait when it is full: probes, the master's stream and requests alike.
const INBOX_INPUTS: usize = 4096;
/// The most inputs that are stepped before outputs are carried out.
const BATCH_INPUTS: usize = 512;
/// With nothing to do, the thread still looks at the clock this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What reaches the engine's thread.
#[derive(Debug)]
enum Message {
    Input(Input),
    Request(Box<ApiCall>, oneshot::Sender<Response>),
}

/// Counters of the engine, for metrics.
#[derive(Debug, Default)]
pub(crate) struct EngineStats {
    /// Inputs stepped.
    pub(crate) inputs: AtomicU64,
    /// Time spent in the core, in nanoseconds.
    pub(crate) busy_ns: AtomicU64,
    /// What passed.
    pub(crate) counts: Counts,
    /// What was dropped from the store.
    pub(crate) gc: Garbage,
}

/// The way to a running core. Cheap to clone; when its thread has ended, requests are answered with 503.
#[derive(Clone, Debug)]
pub(crate) struct EngineHandle {
    inbox: mpsc::Sender<Message>,
    view: Arc<RwLock<View>>,
    clock: Clock,
    stats: Arc<EngineStats>,
}

impl EngineHandle {
    /// Puts an input in; waits while the inbox is full. An engine that has ended takes nothing: the term is over.
    pub(crate) async fn input(&self, input: Input) {
        let _ = self.inbox.send(Message::Input(input)).await;
    }

    /// Asks the core and waits for its answer, which comes once it is durable.
    pub(crate) async fn request(&self, call: ApiCall) -> Response {
        let over = || Response::message(503, "This instance has just ceased to lead; try again.");
        let (reply, answer) = oneshot::channel();
        if self
            .inbox
            .send(Message::Request(Box::new(call), reply))
            .await
            .is_err()
        {
            return over();
        }
        answer.await.unwrap_or_else(|_| over())
    }

    /// The read model.
    pub(crate) fn view(&self) -> &RwLock<View> {
        &self.view
    }

    /// The time, as the core sees it.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_time(self.clock.now())
    }

    /// Inputs that wait.
    pub(crate) fn waiting(&self) -> usize {
        INBOX_INPUTS - self.inbox.capacity()
    }

    pub(crate) fn stats(&self) -> &EngineStats {
        &self.stats
    }
}

/// A core that has taken over the stored state and waits to be run.
#[derive(Debug)]
pub(crate) struct Engine {
    core: Marathon,
    outputs: Vec<Output>,
    inbox: mpsc::Receiver<Message>,
    handle: EngineHandle,
}

impl Engine {
    /// Builds the core from what the store holds.
    pub(crate) fn recover(
        config: Config,
        records: Vec<Record>,
        clock: Clock,
    ) -> Result<Self, RecoverError> {
        let mut outputs = Vec::new();
        let core = Marathon::new(config, clock.now(), records, &mut outputs)?;
        let (sender, inbox) = mpsc::channel(INBOX_INPUTS);
        let handle = EngineHandle {
            inbox: sender,
            view: Arc::default(),
            clock,
            stats: Arc::default(),
        };
        Ok(Self {
            core,
            outputs,
            inbox,
            handle,
        })
    }

    pub(crate) fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// The framework id to subscribe with, if there ever was one.
    pub(crate) fn framework_id(&self) -> Option<&str> {
        self.core.framework_id()
    }

    /// Runs the core in a thread of its own until all handles are gone, or `over` is closed.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn spawn(
        self,
        carriers: Carriers,
        over: oneshot::Receiver<()>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new()
            .name("marathon-core".into())
            .spawn(move || {
                // A runtime of its own, because it waits for messages and for a deadline at once.
                match tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                {
                    Ok(runtime) => runtime.block_on(self.run(carriers, over)),
                    Err(error) => tracing::error!(%error, "the core's thread cannot start"),
                }
            })
    }

    async fn run(mut self, mut carriers: Carriers, mut over: oneshot::Receiver<()>) {
        // The handle would keep the inbox open.
        let EngineHandle {
            view, clock, stats, ..
        } = self.handle;
        let mut waiting: HashMap<ReplyToken, oneshot::Sender<Response>> = HashMap::new();
        let mut next_token = 0;
        let mut batch = Vec::with_capacity(BATCH_INPUTS);
        loop {
            for output in &self.outputs {
                stats.counts.output(output);
            }
            carriers.carry(&mut self.outputs, &view, &mut waiting).await;
            let sleep = sleep_until(clock.now(), self.core.next_deadline());
            tokio::select! {
                biased;
                _ = &mut over => return,
                received = self.inbox.recv_many(&mut batch, BATCH_INPUTS) => if received == 0 { return },
                () = tokio::time::sleep(sleep) => batch.push(Message::Input(Input::Tick)),
            }
            let began = clock.now();
            stats
                .inputs
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            for message in batch.drain(..) {
                let input = match message {
                    Message::Input(input) => {
                        stats.counts.input(&input);
                        input
                    }
                    Message::Request(call, reply) => {
                        next_token += 1;
                        let token = ReplyToken(next_token);
                        waiting.insert(token, reply);
                        Input::Request(token, *call)
                    }
                };
                let (began, before) = (Instant::now(), self.outputs.len());
                self.core.step(clock.now(), input, &mut self.outputs);
                if self.outputs.iter().skip(before).any(garbage::is_dropped) {
                    stats.gc.scan.mark(Instant::now(), began.elapsed());
                }
            }
            if self
                .core
                .next_deadline()
                .is_some_and(|deadline| deadline <= clock.now())
            {
                self.core.step(clock.now(), Input::Tick, &mut self.outputs);
            }
            let busy = clock.now().as_nanos().saturating_sub(began.as_nanos());
            stats
                .busy_ns
                .fetch_add(u64::try_from(busy).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

fn sleep_until(now: Time, deadline: Option<Time>) -> Duration {
    let Some(deadline) = deadline else {
        return LONGEST_SLEEP;
    };
    let nanos = deadline.as_nanos().saturating_sub(now.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).min(LONGEST_SLEEP)
}
