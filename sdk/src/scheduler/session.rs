//! The task that holds the subscription: finds the leader, subscribes, carries events in and calls out, and begins again when the link breaks.
//!
//! Nothing here waits for the author while calls are to be sent, and nothing is read from the master while too much waits for either side.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tepui_coordination::{Detector, HostPort};
use tepui_model::{AgentId, ExecutorId, FrameworkId, OfferId, Role, TaskId, TaskState};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::{Call, call, event};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::FrameworkBuilder;
use super::before::Before;
use super::driver::Status;
use super::event::{Event, Failure, Message, Refused, Subscribed};
use super::ledger::{Ledger, Verdict};
use super::offer::{Held, Offer, OfferContext};
use super::outbox::{self, Outbox};
use super::update::{OperationUpdate, Update, acknowledge_call};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::inbox::Inbox;
use crate::transport::{self, Incoming, Link, OpenError, SchedulerApi};

/// Pauses between attempts to subscribe: the first after the immediate one, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Calls in one batch.
const BATCH: usize = 4096;
/// After this many heartbeats without any, the master is taken for gone.
const MISSED_HEARTBEATS: u32 = 5;
/// What Mesos announces, for masters that announce nothing.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long the end of the stream is waited for after TEARDOWN.
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Session {
    builder: FrameworkBuilder,
    detector: Detector,
    inbox: Arc<Inbox<Event>>,
    status: watch::Sender<Status>,
    outbox: Arc<Outbox>,
    held: Arc<Held>,
    ledger: Ledger,
    /// Outstanding offers, and whether they are void.
    offers: HashMap<OfferId, Arc<AtomicBool>>,
    offer_context: OfferContext,
    started: Instant,
    /// Whether the framework has ever been subscribed by this object.
    subscribed: bool,
    heartbeat: Duration,
    /// What the framework said of itself before the last UPDATE_FRAMEWORKs of this link.
    described: Before<Description>,
}

/// What a framework says of itself whenever it subscribes.
struct Description {
    info: mesos::FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<mesos::scheduler::OfferConstraints>,
}

/// Why the session is over.
enum End {
    /// As it was asked to.
    Done,
    Failed(Error),
}

/// What became of a link.
enum Lost {
    /// To be made again; why, for people.
    Link(String),
    Session(End),
}

impl Session {
    pub(super) fn new(
        builder: FrameworkBuilder,
        detector: Detector,
        inbox: Arc<Inbox<Event>>,
        status: watch::Sender<Status>,
        outbox: Arc<Outbox>,
        held: Arc<Held>,
    ) -> Self {
        let known = builder
            .known
            .iter()
            .map(|(task, agent)| (task.clone(), agent.as_ref().map(Into::into)));
        let offer_context = OfferContext {
            outbox: Arc::clone(&outbox),
            held: Arc::clone(&held),
            subscription: 0,
            role: builder
                .info
                .roles
                .first()
                .and_then(|role| Role::new(role).ok())
                .unwrap_or_else(Role::star),
            principal: builder.info.principal.as_deref().map(Into::into),
            refuse: builder.refuse,
        };
        Self {
            ledger: Ledger::new(known),
            offers: HashMap::new(),
            offer_context,
            started: Instant::now(),
            subscribed: false,
            heartbeat: HEARTBEAT,
            described: Before::default(),
            builder,
            detector,
            inbox,
            status,
            outbox,
            held,
        }
    }

    /// Runs until the framework ends.
    pub(super) async fn run(mut self) {
        let end = self.hold().await;
        self.status.send_modify(|status| status.connected = false);
        self.outbox.close();
        drop(self.held.take_all());
        self.inbox.end(match end {
            End::Done => None,
            End::Failed(error) => Some(error),
        });
    }

    /// Subscribes again and again.
    async fn hold(&mut self) -> End {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let mut redirected = None;
        let mut complained = false;
        loop {
            let leader = match redirected.take() {
                Some(leader) => leader,
                None => self.leader().await,
            };
            let opening = transport::open::<SchedulerApi>(
                self.builder.transport,
                &leader,
                self.subscribe(),
                None,
            );
            let opened = tokio::select! {
                opened = opening => opened,
                // It may never answer.
                _ = another(&mut self.detector, &leader) => {
                    backoff.reset();
                    continue;
                }
            };
            match opened {
                Ok(link) => {
                    complained = false;
                    let opened = Instant::now();
                    match self.serve(link, &leader).await {
                        Lost::Session(end) => return end,
                        Lost::Link(reason) => self.lost(&reason),
                    }
                    // A master that hangs up each time is not to be asked in a tight circle.
                    if opened.elapsed() >= PAUSE.1 {
                        backoff.reset();
                    }
                }
                Err(OpenError::Refused { status, message }) => {
                    return End::Failed(Error::Refused {
                        master: leader.to_string(),
                        status,
                        message,
                    });
                }
                // A redirection is followed at once, but not in circles.
                Err(OpenError::NotLeader(Some(other))) if other != leader => {
                    redirected = Some(other)
                }
                Err(error) if !complained => {
                    tracing::warn!(master = %leader, %error, "cannot subscribe with the master; trying on");
                    complained = true;
                }
                Err(error) => {
                    tracing::debug!(master = %leader, %error, "still cannot subscribe with the master")
                }
            }
            let pause = backoff.next(rand::random());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Another leader: no reason to wait, nor to follow what the last one said.
                _ = self.detector.changed() => {
                    redirected = None;
                    backoff.reset();
                }
            }
        }
    }

    /// Where the leader is, when there is one.
    async fn leader(&mut self) -> HostPort {
        loop {
            if let Some(at) = self.detector.wait().await.info.endpoint() {
                return at;
            }
            tracing::warn!("the leading master does not say where it listens");
            self.detector.changed().await;
        }
    }

    fn subscribe(&self) -> Call {
        let framework_id = self.builder.info.id.clone();
        Call {
            framework_id,
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(
                call::Subscribe {
                    framework_info: self.builder.info.clone(),
                    suppressed_roles: self.builder.suppressed_roles.clone(),
                    offer_constraints: self.builder.offer_constraints.clone(),
                }
                .into(),
            ),
            ..Call::default()
        }
    }

    /// The link is lost: what was offered is void.
    fn lost(&mut self, reason: &str) {
        let was_connected = self
            .status
            .send_if_modified(|status| std::mem::take(&mut status.connected));
        for (_, void) in self.offers.drain() {
            void.store(true, Ordering::Relaxed);
        }
        self.offer_context.subscription = self.outbox.void_offers();
        drop(self.held.take_all());
        self.ledger.disconnected();
        if was_connected {
            tracing::info!(reason, "disconnected from the master");
            self.inbox.push(Event::Disconnected {
                reason: reason.to_owned(),
            });
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Carries events and calls until the link is lost.
    async fn serve(&mut self, mut link: Link<SchedulerApi>, master: &HostPort) -> Lost {
        self.described = Before::default();
        let mut heard = Instant::now();
        let mut detector = self.detector.clone();
        let mut teardown: Option<Instant> = None;
        let (inbox, outbox) = (Arc::clone(&self.inbox), Arc::clone(&self.outbox));
        loop {
            let connected = self.status.borrow().connected;
            let reading = inbox.has_room() && (!connected || outbox.len() < outbox::LIMIT);
            if !reading {
                heard = Instant::now();
            }
            let silent = teardown.unwrap_or(heard + self.heartbeat * MISSED_HEARTBEATS);
            let ledger = self.ledger.deadline().map(|at| self.started + at);
            tokio::select! {
                () = inbox.room(), if !inbox.has_room() => {}
                incoming = link.events.recv(), if reading => {
                    heard = Instant::now();
                    match incoming {
                        Some(Ok(Incoming::Events(events))) => for event in events {
                            if let Err(end) = self.take(event, master, link.over) {
                                return Lost::Session(end);
                            }
                        },
                        Some(Ok(Incoming::Refused(refused))) => {
                            tracing::warn!(call = refused.call, status = refused.status, refused.message, "the master refused a call");
                            if refused.call == call::Type::UpdateFramework.as_str_name() {
                                self.describe_as_before(refused.nth);
                            }
                            let transport::RefusedCall { call, status, message, .. } = refused;
                            self.inbox.push(Event::Refused(Refused { call, status, message }));
                        }
                        _ if teardown.is_some() => return Lost::Session(End::Done),
                        Some(Err(broken)) => return Lost::Link(broken.to_string()),
                        None => return Lost::Link("the stream ended".to_owned()),
                    }
                }
                room = ready(&outbox, &link.calls), if connected && teardown.is_none() => match room {
                    Ok(room) => {
                        let calls = self.collect();
                        if calls.iter().any(|call| call.r#type() == call::Type::Teardown) {
                            teardown = Some(Instant::now() + TEARDOWN_TIMEOUT);
                        }
                        if !calls.is_empty() {
                            room.send(calls);
                        }
                    }
                    // The reason comes with the events.
                    Err(_) => match link.events.recv().await {
                        Some(Err(broken)) => return Lost::Link(broken.to_string()),
                        Some(Ok(_)) => {}
                        None => return Lost::Link("the stream ended".to_owned()),
                    },
                },
                other = another(&mut detector, master) => return Lost::Link(format!("{other} leads now")),
                () = until(ledger), if ledger.is_some() => {
                    let calls = self.ledger.tick(self.now());
                    self.outbox.push_own(calls);
                }
                () = tokio::time::sleep_until(silent) => return match teardown {
                    Some(_) => Lost::Session(End::Done),
                    None => Lost::Link(format!("no heartbeat for {} s", (self.heartbeat * MISSED_HEARTBEATS).as_secs())),
                },
            }
        }
    }

    /// The next calls, up to and with a TEARDOWN, and what they mean for the tasks.
    fn collect(&mut self) -> Vec<Call> {
        for task in self.outbox.take_dropped() {
            self.dropped(&task);
        }
        let (own, mut calls) = self.outbox.take(BATCH);
        if let Some(at) = calls
            .iter()
            .position(|call| call.r#type() == call::Type::Teardown)
        {
            calls.truncate(at + 1);
        }
        for (at, call) in calls.iter_mut().enumerate() {
            call.framework_id.clone_from(&self.builder.info.id);
            self.ledger.sent(call);
            // Its own may have been answered meanwhile.
            if let Some(reconcile) = call.reconcile.as_ref().filter(|_| at >= own) {
                self.ledger.wanted(self.started.elapsed(), reconcile);
            }
            if let Some(update) = &call.update_framework {
                self.describe(update);
            }
            let offers = call.accept.iter().flat_map(|accept| &accept.offer_ids);
            for offer in offers.chain(call.decline.iter().flat_map(|decline| &decline.offer_ids)) {
                self.offers.remove(offer.value.as_str());
            }
        }
        calls
    }

    /// What the framework says of itself now it also says when it subscribes again: the master takes that for an update, too, and a role that is
    /// missing there is one that the framework has given up.
    fn describe(&mut self, update: &call::UpdateFramework) {
        let info = mesos::FrameworkInfo {
            id: self.builder.info.id.clone(),
            ..update.framework_info.clone()
        };
        self.described.sent(Description {
            info: std::mem::replace(&mut self.builder.info, info),
            suppressed_roles: std::mem::replace(
                &mut self.builder.suppressed_roles,
                update.suppressed_roles.clone(),
            ),
            offer_constraints: std::mem::replace(
                &mut self.builder.offer_constraints,
                update.offer_constraints.clone(),
            ),
        });
    }

    /// An update was refused, so many after the first of this link: what held before it holds on, unless a later one holds.
    fn describe_as_before(&mut self, nth: u64) {
        if let Some(before) = self.described.refused(nth) {
            let id = self.builder.info.id.take();
            self.builder.info = mesos::FrameworkInfo { id, ..before.info };
            self.builder.suppressed_roles = before.suppressed_roles;
            self.builder.offer_constraints = before.offer_constraints;
        }
    }

    /// A task was launched on an offer that was void by then: no master has heard of it.
    fn dropped(&mut self, task: &mesos::TaskInfo) {
        let Ok(id) = TaskId::new(&task.task_id.value) else {
            return;
        };
        let status = mesos::TaskStatus {
            task_id: task.task_id.clone(),
            state: TaskState::Dropped.number(),
            message: Some(
                "launched on an offer that was void: the subscription had been lost".to_owned(),
            ),
            source: Some(mesos::task_status::Source::Master.into()),
            reason: Some(mesos::task_status::Reason::InvalidOffers.into()),
            agent_id: Some(task.agent_id.clone()),
            ..mesos::TaskStatus::default()
        };
        let agent = AgentId::try_from(&task.agent_id).ok();
        self.inbox.push(Event::Update(Update::new(
            id,
            agent,
            TaskState::Dropped,
            status,
            &self.outbox,
        )));
    }

    /// Takes an event of the master.
    fn take(
        &mut self,
        event: mesos::scheduler::Event,
        master: &HostPort,
        over: &'static str,
    ) -> Result<(), End> {
        use event::Type;
        match event.r#type() {
            Type::Subscribed => {
                self.take_subscribed(event.subscribed.map(|subscribed| *subscribed), master, over)?
            }
            Type::Offers => {
                let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
                let offers: Vec<Offer> = offers
                    .into_iter()
                    .filter_map(|offer| self.offer(offer))
                    .collect();
                if !offers.is_empty() {
                    self.inbox.push(Event::Offers(offers));
                }
            }
            Type::Rescind => {
                if let Some(id) = event
                    .rescind
                    .and_then(|rescind| OfferId::try_from(&rescind.offer_id).ok())
                {
                    if let Some(void) = self.offers.remove(&id) {
                        void.store(true, Ordering::Relaxed);
                    }
                    self.held.forget(&id);
                    self.inbox.push(Event::Rescinded(id));
                }
            }
            Type::Update => {
                if let Some(update) = event.update {
                    self.update(update.status);
                }
            }
            Type::UpdateOperationStatus => {
                if let Some(update) = event.update_operation_status {
                    self.inbox.push(Event::Operation(OperationUpdate::new(
                        update.status,
                        &self.outbox,
                    )));
                }
            }
            Type::Message => {
                if let Some(message) = event.message
                    && let (Ok(agent_id), Ok(executor_id)) = (
                        AgentId::try_from(&message.agent_id),
                        ExecutorId::try_from(&message.executor_id),
                    )
                {
                    self.inbox.push(Event::Message(Message {
                        agent_id,
                        executor_id,
                        data: message.data,
                    }));
                }
            }
            Type::Failure => {
                if let Some(failure) = event.failure {
                    let agent_id = failure.agent_id.and_then(|id| AgentId::try_from(&id).ok());
                    let executor_id = failure
                        .executor_id
                        .and_then(|id| ExecutorId::try_from(&id).ok());
                    self.inbox.push(Event::Failure(Failure {
                        agent_id,
                        executor_id,
                        status: failure.status,
                    }));
                }
            }
            Type::InverseOffers => {
                if let Some(offers) = event.inverse_offers {
                    self.inbox.push(Event::InverseOffers(offers.inverse_offers));
                }
            }
            Type::RescindInverseOffer => {
                if let Some(id) = event
                    .rescind_inverse_offer
                    .and_then(|r| OfferId::try_from(&r.inverse_offer_id).ok())
                {
                    self.inbox.push(Event::InverseOfferRescinded(id));
                }
            }
            Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                let framework_id = self.status.borrow().framework_id.clone();
                return Err(End::Failed(Error::Ended {
                    framework_id,
                    message,
                }));
            }
            Type::Heartbeat => {}
            Type::Unknown => tracing::debug!("an event of an unknown type"),
        }
        Ok(())
    }

    fn take_subscribed(
        &mut self,
        subscribed: Option<event::Subscribed>,
        master: &HostPort,
        over: &'static str,
    ) -> Result<(), End> {
        let Some(subscribed) = subscribed else {
            return Ok(());
        };
        let framework_id = FrameworkId::try_from(&subscribed.framework_id).map_err(|error| {
            End::Failed(Error::Invalid {
                field: "id",
                why: format!("the master gave one that is none: {error}"),
            })
        })?;
        let fresh = self.builder.info.id.is_none();
        self.builder.info.id = Some(subscribed.framework_id);
        self.heartbeat = subscribed
            .heartbeat_interval_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|interval| !interval.is_zero())
            .unwrap_or(HEARTBEAT);
        let again = std::mem::replace(&mut self.subscribed, true);
        tracing::info!(%framework_id, %master, over, tasks = self.ledger.live(), "subscribed with the master");
        self.status.send_modify(|status| {
            status.framework_id = Some(framework_id.clone());
            status.connected = true;
            status.master = Some(master.to_string());
        });
        self.inbox.push(Event::Subscribed(Subscribed {
            framework_id,
            master: subscribed.master_info,
            again,
        }));
        let calls = self.ledger.subscribed(self.now(), fresh);
        self.outbox.push_own(calls);
        Ok(())
    }

    fn offer(&mut self, offer: mesos::Offer) -> Option<Offer> {
        let (Ok(id), Ok(agent_id)) = (
            OfferId::try_from(&offer.id),
            AgentId::try_from(&offer.agent_id),
        ) else {
            tracing::warn!(
                offer = offer.id.value,
                agent = offer.agent_id.value,
                "an offer without proper ids is left alone"
            );
            return None;
        };
        let void = Arc::new(AtomicBool::new(false));
        self.offers.insert(id.clone(), Arc::clone(&void));
        Some(Offer::new(
            id,
            agent_id,
            offer,
            void,
            self.offer_context.clone(),
        ))
    }

    fn update(&mut self, status: mesos::TaskStatus) {
        let (Ok(task), Some(state)) = (
            TaskId::try_from(&status.task_id),
            TaskState::from_number(status.state),
        ) else {
            tracing::warn!(
                task = status.task_id.value,
                state = status.state,
                "an update that makes no sense is left alone"
            );
            return;
        };
        match self.ledger.update(&task, state, &status) {
            Verdict::Deliver => {
                let agent = status
                    .agent_id
                    .as_ref()
                    .and_then(|id| AgentId::try_from(id).ok());
                self.inbox.push(Event::Update(Update::new(
                    task,
                    agent,
                    state,
                    status,
                    &self.outbox,
                )));
            }
            Verdict::Ignore => tracing::debug!(%task, %state, "an update came again"),
            Verdict::Acknowledge => {
                if let (Some(agent_id), Some(uuid)) = (status.agent_id, status.uuid) {
                    let acknowledge = call::Acknowledge {
                        agent_id,
                        task_id: status.task_id,
                        uuid,
                    };
                    self.outbox.push_answer(acknowledge_call(acknowledge));
                }
            }
        }
    }
}

/// Waits for calls, and for room in the link.
async fn ready<'l>(
    outbox: &Outbox,
    calls: &'l mpsc::Sender<Vec<Call>>,
) -> Result<mpsc::Permit<'l, Vec<Call>>, mpsc::error::SendError<()>> {
    outbox.filled().await;
    calls.reserve().await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until somebody else than the master leads, and tells who; that nobody does is no news to act upon.
async fn another(detector: &mut Detector, master: &HostPort) -> HostPort {
    loop {
        let leader = detector.changed().await;
        let address = leader.and_then(|leader| leader.info.endpoint());
        if let Some(other) = address.filter(|address| address != master) {
            return other;
        }
    }
}
