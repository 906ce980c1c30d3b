//! A cluster of one master core, with agents and frameworks that do what a test tells them, a store that answers at once unless told
//! otherwise, and a view that is kept by changes alone. After every input the invariants are checked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tepui_master_core::{
    CallOrigin, Change, Config, Input, LinkKey, Master, OperatorCall, Output, Registry,
    RegistryOperation, Reply, ReplyToken, StoreError, StreamKey, TaskKey, TaskSnapshot,
};
use tepui_model::{TaskState, Time};
use tepui_proto::mesos::scheduler::event::Type;
use tepui_proto::mesos::scheduler::{Call, Event};
use tepui_proto::mesos::task_status::Source;
use tepui_proto::mesos::{self, TaskStatus};
use tepui_proto::tepui::v1::{self, AgentMessage, agent_message, master_message};

pub(crate) use crate::words::{
    accept_json, call_from, line, message_line, offered, registration, resources_json, running,
    task_json, task_json_with, uuid,
};

pub(crate) const EPOCH: u64 = 7;

/// A subscribed framework.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    pub(crate) stream: StreamKey,
    pub(crate) id: String,
    pub(crate) http_stream_id: Option<Arc<str>>,
}

/// A registered agent.
#[derive(Debug, Clone)]
pub(crate) struct Slave {
    pub(crate) link: LinkKey,
    pub(crate) id: String,
}

pub(crate) struct Cluster {
    pub(crate) master: Master,
    pub(crate) now: Time,
    pub(crate) events: BTreeMap<StreamKey, Vec<Event>>,
    pub(crate) closed_streams: Vec<(StreamKey, &'static str)>,
    pub(crate) to_agents: BTreeMap<LinkKey, Vec<master_message::Message>>,
    pub(crate) closed_links: Vec<(LinkKey, String)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) replies: BTreeMap<ReplyToken, Reply>,
    pub(crate) stepped_down: Option<String>,
    /// Writes that wait, if `hold_stores`.
    pub(crate) stores: VecDeque<(u64, Vec<RegistryOperation>)>,
    pub(crate) hold_stores: bool,
    /// What a store holds that took all writes which were answered well.
    pub(crate) registry: Registry,
    /// Whether agents answer pings.
    pub(crate) answer_pings: bool,
    /// What the changes say that there is.
    pub(crate) tasks: BTreeMap<TaskKey, Arc<TaskSnapshot>>,
    next_key: u64,
    epoch: u64,
    pub(crate) master_id: String,
}

pub(crate) fn config() -> Config {
    let master = tepui_proto::convert::master_info::new(
        "m",
        [127, 0, 0, 1].into(),
        5050,
        "localhost",
        "1.11.0",
    );
    Config {
        crumb_delay: Duration::ZERO,
        ..Config::new(master, EPOCH, 1)
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with(config(), Registry::default())
    }

    pub(crate) fn with(config: Config, registry: Registry) -> Self {
        let now = Time::from_secs(1_000);
        let mut cluster = Self {
            master: Master::new(config, registry.clone(), now),
            now,
            events: BTreeMap::new(),
            closed_streams: Vec::new(),
            to_agents: BTreeMap::new(),
            closed_links: Vec::new(),
            changes: Vec::new(),
            replies: BTreeMap::new(),
            stepped_down: None,
            stores: VecDeque::new(),
            hold_stores: false,
            registry,
            answer_pings: true,
            tasks: BTreeMap::new(),
            next_key: 0,
            epoch: EPOCH,
            master_id: "m".to_owned(),
        };
        cluster.send(Input::Tick);
        cluster
    }

    /// Another master is elected, which finds what the store has taken. All streams are over; agents and frameworks have to come to it.
    pub(crate) fn succeed(&mut self, config: Config) {
        let epoch = self.epoch + 1;
        let mut config = Config { epoch, ..config };
        // Every master has an id of its own, from which those of its agents, frameworks and offers are made.
        config.master.id = format!("m{epoch}");
        let master_id = config.master.id.clone();
        *self = Self {
            master: Master::new(config, self.registry.clone(), self.now),
            now: self.now,
            registry: self.registry.clone(),
            next_key: self.next_key,
            epoch,
            master_id,
            ..Self::new()
        };
        self.send(Input::Tick);
    }

    pub(crate) fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// One input, and the flush that ends its batch.
    pub(crate) fn send(&mut self, input: Input) {
        self.step(input);
        self.step(Input::Flush);
    }

    pub(crate) fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.master.step(self.now, input, &mut out);
        let mut stores = Vec::new();
        let mut pings = Vec::new();
        for output in out {
            match output {
                Output::Event { stream, event } => {
                    assert!(
                        !self
                            .closed_streams
                            .iter()
                            .any(|(closed, _)| *closed == stream),
                        "an event after the end"
                    );
                    self.events.entry(stream).or_default().push(*event);
                }
                Output::CloseStream { stream, reason } => {
                    self.closed_streams.push((stream, reason))
                }
                Output::ToAgent { link, message } => {
                    assert!(
                        !self.closed_links.iter().any(|(closed, _)| *closed == link),
                        "a message after the end"
                    );
                    if let Some(master_message::Message::Ping(ping)) = &message.message {
                        pings.push((link, ping.sequence));
                    }
                    self.to_agents
                        .entry(link)
                        .or_default()
                        .extend(message.message);
                }
                Output::CloseLink { link, reason } => self.closed_links.push((link, reason)),
                Output::Reply { token, reply } => {
                    assert!(
                        self.replies.insert(token, reply).is_none(),
                        "each token is answered once"
                    );
                }
                Output::Store {
                    sequence,
                    operations,
                } => stores.push((sequence, operations)),
                Output::Change(change) => self.apply(change),
                Output::Log { .. } => {}
                Output::StepDown { reason } => self.stepped_down = Some(reason),
            }
        }
        if self.stepped_down.is_none() {
            self.master.check_invariants().unwrap();
        }
        self.stores.extend(stores);
        for (link, sequence) in pings {
            if self.answer_pings {
                self.tell(link, agent_message::Message::Pong(v1::Pong { sequence }));
            }
        }
        while !self.hold_stores && !self.stores.is_empty() {
            self.answer_store(Ok(()));
        }
    }

    /// Answer the oldest write.
    pub(crate) fn answer_store(&mut self, result: Result<(), StoreError>) {
        let (sequence, operations) = self.stores.pop_front().expect("a write waits");
        if result.is_ok() {
            for operation in operations {
                self.registry.apply(operation);
            }
        }
        self.send(Input::Stored { sequence, result });
    }

    /// A view: every change must fit what came before.
    fn apply(&mut self, change: Change) {
        match &change {
            Change::TaskAdded(task) => {
                assert!(
                    self.tasks.insert(task.key, Arc::clone(task)).is_none(),
                    "added twice"
                );
            }
            Change::TaskUpdated { task, .. } => {
                let before = self
                    .tasks
                    .insert(task.key, Arc::clone(task))
                    .expect("updated before it was added");
                let returned = before.list == tepui_master_core::TaskList::Unreachable;
                assert!(
                    !before.state.is_terminal() || returned || before.state == task.state,
                    "I2: two terminal states"
                );
            }
            Change::TaskForgotten(key) => {
                assert!(
                    self.tasks.remove(key).is_some(),
                    "forgotten before it was added"
                );
            }
            _ => {}
        }
        self.changes.push(change);
    }

    /// Let time pass, with every tick that the core asks for.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.master.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.send(Input::Tick);
        }
        self.now = end;
    }

    // ---- frameworks

    pub(crate) fn subscribe(&mut self, info: &str) -> Scheduler {
        let http = Arc::from(format!("stream-{}", self.next_key));
        let (stream, reply) = self.try_subscribe(
            &format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{info}}}}}"#),
            Some(http),
        );
        assert_eq!(reply, Reply::Ok);
        let id = self
            .subscribed_id(stream)
            .unwrap_or_else(|| panic!("{:?}", self.events[&stream]));
        Scheduler {
            stream,
            id,
            http_stream_id: Some(format!("stream-{}", stream.0 - 1).into()),
        }
    }

    fn subscribed_id(&self, stream: StreamKey) -> Option<String> {
        let first = self.events.get(&stream)?.first()?;
        Some(first.subscribed.as_ref()?.framework_id.value.clone())
    }

    pub(crate) fn try_subscribe(
        &mut self,
        call: &str,
        http_stream_id: Option<Arc<str>>,
    ) -> (StreamKey, Reply) {
        let stream = StreamKey(self.key());
        let token = ReplyToken(self.key());
        self.send(Input::Subscribe {
            stream,
            http_stream_id,
            call: Box::new(call_from(call)),
            principal: None,
            reply: Some(token),
        });
        (
            stream,
            self.replies.remove(&token).expect("answered at once"),
        )
    }

    /// A default framework: PARTITION_AWARE, one hour to fail over.
    pub(crate) fn scheduler(&mut self, name: &str) -> Scheduler {
        self.subscribe(&format!(
            r#"{{"user":"u","name":"{name}","failover_timeout":3600,"capabilities":[{{"type":"PARTITION_AWARE"}}]}}"#
        ))
    }

    /// The same framework again, on a new stream.
    pub(crate) fn resubscribe(&mut self, scheduler: &Scheduler) -> Scheduler {
        self.resubscribe_as(scheduler, r#""capabilities":[{"type":"PARTITION_AWARE"}]"#)
    }

    /// The same framework again, with other things to say about itself.
    pub(crate) fn resubscribe_as(&mut self, scheduler: &Scheduler, rest: &str) -> Scheduler {
        let id = &scheduler.id;
        let info = format!(
            r#"{{"user":"u","name":"again","id":{{"value":"{id}"}},"failover_timeout":3600,{rest}}}"#
        );
        let call = format!(
            r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"{id}"}},"subscribe":{{"framework_info":{info}}}}}"#
        );
        let http: Arc<str> = format!("again-{}", self.next_key).into();
        let (stream, reply) = self.try_subscribe(&call, Some(Arc::clone(&http)));
        assert_eq!(reply, Reply::Ok);
        Scheduler {
            stream,
            id: id.clone(),
            http_stream_id: Some(http),
        }
    }

    pub(crate) fn call_from(&mut self, origin: CallOrigin, call: &str) -> Reply {
        let token = ReplyToken(self.key());
        self.send(Input::Call {
            origin,
            call: Box::new(call_from(call)),
            principal: None,
            reply: Some(token),
        });
        self.replies.remove(&token).expect("answered at once")
    }

    /// `call` without its framework id.
    pub(crate) fn call(&mut self, scheduler: &Scheduler, call: &str) -> Reply {
        let call = format!(
            r#"{{"framework_id":{{"value":"{}"}},{}"#,
            scheduler.id,
            &call[1..]
        );
        self.call_from(CallOrigin::Stream(scheduler.stream), &call)
    }

    pub(crate) fn take_events(&mut self, scheduler: &Scheduler) -> Vec<Event> {
        self.events.remove(&scheduler.stream).unwrap_or_default()
    }

    /// The events since the last look, heartbeats left out, as lines.
    pub(crate) fn lines(&mut self, scheduler: &Scheduler) -> Vec<String> {
        self.take_events(scheduler)
            .iter()
            .filter(|event| event.r#type() != Type::Heartbeat)
            .map(line)
            .collect()
    }

    /// The offers since the last look; other events are dropped.
    pub(crate) fn offers(&mut self, scheduler: &Scheduler) -> Vec<mesos::Offer> {
        self.take_events(scheduler)
            .into_iter()
            .filter_map(|event| event.offers)
            .flat_map(|offers| offers.offers)
            .collect()
    }

    pub(crate) fn offer(&mut self, scheduler: &Scheduler) -> mesos::Offer {
        let offers = self.offers(scheduler);
        assert_eq!(offers.len(), 1, "{offers:?}");
        offers.into_iter().next().unwrap()
    }

    /// Launch tasks that use 1 cpu and 100 MiB each.
    pub(crate) fn launch(&mut self, scheduler: &Scheduler, offer: &mesos::Offer, tasks: &[&str]) {
        let tasks: Vec<String> = tasks
            .iter()
            .map(|id| task_json(id, &offer.agent_id.value, "cpus:1;mem:100"))
            .collect();
        let call = accept_json(&[&offer.id.value], &tasks);
        assert_eq!(self.call(scheduler, &call), Reply::Accepted);
    }

    pub(crate) fn acknowledge(
        &mut self,
        scheduler: &Scheduler,
        agent: &str,
        task: &str,
        uuid: &[u8],
    ) {
        use tepui_proto::mesos::scheduler::call;
        let token = ReplyToken(self.key());
        let acknowledge = call::Acknowledge {
            agent_id: mesos::AgentId {
                value: agent.to_owned(),
            },
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            uuid: Bytes::copy_from_slice(uuid),
        };
        let call = Call {
            framework_id: Some(mesos::FrameworkId {
                value: scheduler.id.clone(),
            }),
            r#type: Some(call::Type::Acknowledge as i32),
            acknowledge: Some(acknowledge),
            ..Call::default()
        };
        let origin = CallOrigin::Stream(scheduler.stream);
        self.send(Input::Call {
            origin,
            call: Box::new(call),
            principal: None,
            reply: Some(token),
        });
        assert_eq!(self.replies.remove(&token), Some(Reply::Accepted));
    }

    // ---- operators

    /// The answer, if there is one yet: `200`, or the status and what is said.
    pub(crate) fn operate(&mut self, call: OperatorCall) -> String {
        let token = ReplyToken(self.key());
        self.send(Input::Operator {
            call,
            reply: Some(token),
        });
        self.answer(token)
    }

    pub(crate) fn answer(&mut self, token: ReplyToken) -> String {
        match self.replies.remove(&token) {
            None => "no answer yet".to_owned(),
            Some(Reply::Ok) => "200".to_owned(),
            Some(Reply::Accepted) => "202".to_owned(),
            Some(Reply::Refused { status, message }) => format!("{status} {message}"),
        }
    }

    // ---- agents

    pub(crate) fn open_link(&mut self) -> LinkKey {
        let link = LinkKey(self.key());
        self.send(Input::LinkOpened {
            link,
            peer: "127.0.0.1:1".into(),
        });
        link
    }

    pub(crate) fn tell(&mut self, link: LinkKey, message: agent_message::Message) {
        self.send(Input::AgentMessages {
            link,
            messages: vec![AgentMessage {
                message: Some(message),
            }],
        });
    }

    pub(crate) fn agent(&mut self, resources: &str) -> Slave {
        let link = self.open_link();
        self.tell(
            link,
            agent_message::Message::Register(Box::new(registration(resources, None))),
        );
        let id = self.registered_id(link).expect("it is let in");
        Slave { link, id }
    }

    /// The agent again, on a new link, with these tasks.
    pub(crate) fn return_agent(
        &mut self,
        slave: &Slave,
        resources: &str,
        tasks: Vec<mesos::Task>,
    ) -> Slave {
        let link = self.open_link();
        let register = v1::Register {
            tasks: tasks
                .into_iter()
                .map(|task| v1::RunningTask { task })
                .collect(),
            ..registration(resources, Some(&slave.id))
        };
        self.tell(link, agent_message::Message::Register(Box::new(register)));
        Slave {
            link,
            id: slave.id.clone(),
        }
    }

    pub(crate) fn registered_id(&self, link: LinkKey) -> Option<String> {
        self.to_agents
            .get(&link)?
            .iter()
            .find_map(|message| match message {
                master_message::Message::Registered(registered) => {
                    Some(registered.agent_id.value.clone())
                }
                _ => None,
            })
    }

    pub(crate) fn break_link(&mut self, slave: &Slave) {
        self.send(Input::LinkClosed { link: slave.link });
    }

    /// What an agent was told since the last look, pings left out, as lines.
    pub(crate) fn told(&mut self, link: LinkKey) -> Vec<String> {
        let messages = self.to_agents.remove(&link).unwrap_or_default();
        messages
            .iter()
            .filter(|message| !matches!(message, master_message::Message::Ping(_)))
            .map(message_line)
            .collect()
    }

    /// An update from the agent, its uuid made of `number`.
    pub(crate) fn update(
        &mut self,
        slave: &Slave,
        scheduler: &Scheduler,
        task: &str,
        state: TaskState,
        number: u8,
    ) {
        self.update_ahead(slave, scheduler, task, state, state, number);
    }

    pub(crate) fn update_ahead(
        &mut self,
        slave: &Slave,
        scheduler: &Scheduler,
        task: &str,
        state: TaskState,
        latest: TaskState,
        number: u8,
    ) {
        let status = TaskStatus {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            state: state.number(),
            source: Some(Source::Executor as i32),
            agent_id: Some(mesos::AgentId {
                value: slave.id.clone(),
            }),
            timestamp: Some(1.0),
            uuid: Some(uuid(number)),
            ..TaskStatus::default()
        };
        let update = v1::TaskUpdate {
            framework_id: mesos::FrameworkId {
                value: scheduler.id.clone(),
            },
            executor_id: None,
            status,
            latest_state: latest.number(),
        };
        self.tell(slave.link, agent_message::Message::TaskUpdate(update));
    }

    /// A task that was launched runs, ends and is acknowledged.
    pub(crate) fn finish(&mut self, slave: &Slave, scheduler: &Scheduler, task: &str) {
        self.update(slave, scheduler, task, TaskState::Finished, 9);
        self.acknowledge(scheduler, &slave.id, task, &uuid(9));
    }

    /// Tasks in a list of the view, as `id STATE`.
    pub(crate) fn listed(&self, list: tepui_master_core::TaskList) -> Vec<String> {
        let named = |task: &Arc<TaskSnapshot>| format!("{} {}", task.facts.id, task.state);
        self.tasks
            .values()
            .filter(|task| task.list == list)
            .map(named)
            .collect()
    }
}
