//! Any input at any time, well formed, damaged or out of turn: the core does not panic, its invariants hold after every step, and what it
//! refuses leaves no trace. Calls come from the corpus of the HTTP faces' fuzzer (`corpus`), or are made of what the cluster has at this
//! moment (`calls`), and are damaged in their structure; messages of agents (`agents`) are damaged as bytes. Leaders are succeeded by
//! others that find what the store has taken.
//!
//! `TEPUI_FUZZ_SECONDS` sets for how long, `TEPUI_FUZZ_SEED` where to begin; a world is played again from the seed that is shown.

mod agents;
mod calls;
#[path = "../../../tests/faces/fuzz/corpus.rs"]
#[allow(dead_code, reason = "the paths and forms are for the faces")]
mod corpus;
#[path = "../../../tests/faces/fuzz/mutate.rs"]
mod mutate;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tepui_master_core::{
    AgentSnapshot, CallOrigin, Change, Config, Input, InverseOfferSnapshot, LinkKey, OfferKey,
    OfferSnapshot, OperationKey, OperationSnapshot, OperatorCall, Reply, ReplyToken, StoreError,
    StreamKey,
};
use tepui_model::AgentId;
use tepui_proto::convert::resources;
use tepui_proto::json::Json;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::{self, master, scheduler};
use tepui_proto::tepui::v1::agent_message::Message;

use crate::cluster::{Cluster, Scheduler, Slave, config, message_line, registration};
use mutate::Source;
use wishes::wish;

/// In `cargo test`.
const SHORT_SECONDS: u64 = 4;
/// One world lives for so many inputs.
const INPUTS_PER_WORLD: usize = 400;

/// What a long run must have led to: otherwise it does not reach what it is for.
const REACHED: &[&str] = &[
    "AcknowledgeOperation",
    "AcknowledgeTask",
    "ApplyOperation CREATE",
    "ApplyOperation DESTROY",
    "ApplyOperation GROW_VOLUME",
    "ApplyOperation RESERVE",
    "ApplyOperation SHRINK_VOLUME",
    "ApplyOperation UNRESERVE",
    "Drain",
    "FrameworkMessage",
    "INVERSE_OFFERS",
    "KillTask",
    "RESCIND",
    "RESCIND_INVERSE_OFFER",
    "ReconcileTasks",
    "RunTask",
    "RunTaskGroup",
    "Shutdown",
    "ShutdownExecutor",
    "ShutdownFramework",
    "UPDATE_OPERATION_STATUS",
];

struct World {
    cluster: Cluster,
    schedulers: Vec<Scheduler>,
    slaves: Vec<Slave>,
    refused: usize,
    accepted: usize,
    /// Kinds of what agents and frameworks were told.
    reached: BTreeSet<String>,
    /// How many of the cluster's changes are in the tables below.
    seen: usize,
    agents: BTreeMap<AgentId, Arc<AgentSnapshot>>,
    offers: BTreeMap<OfferKey, Arc<OfferSnapshot>>,
    inverse_offers: BTreeMap<OfferKey, Arc<InverseOfferSnapshot>>,
    operations: BTreeMap<OperationKey, Arc<OperationSnapshot>>,
}

/// A call of the corpus with ids that exist, damaged in up to three places; `None` if it cannot be read any more.
fn damaged<M: Json + Default>(
    texts: [&[&str]; 2],
    world: &World,
    framework: &str,
    source: &mut Source,
) -> Option<M> {
    let (offer, agent) = match world.any_offer(framework, source) {
        Some(offer) => (world.offer_id(offer), offer.agent.as_str().to_owned()),
        None => (
            "m-O0".to_owned(),
            world.slaves[source.below(world.slaves.len())].id.clone(),
        ),
    };
    let inverse: Vec<_> = world.inverse_offers.values().collect();
    let inverse = inverse.get(source.below(inverse.len()));
    let inverse = inverse.map_or("m-O0", |asked| asked.offer.id.value.as_str());
    let filled = |text: &str| -> Value {
        let text = text
            .replace("$F", framework)
            .replace("$A", &agent)
            .replace("$O", &offer)
            .replace("$I", inverse);
        serde_json::from_str(&text).expect("the corpus is JSON")
    };
    let any = |source: &mut Source| {
        let texts = source.pick(&texts);
        filled(source.pick(texts))
    };
    let mut call = any(source);
    let damages = source.pick(&[0, 0, 1, 2, 3]);
    for _ in 0..damages {
        let other = any(source);
        mutate::value(&mut call, &other, source);
    }
    if call["type"] != "SUBSCRIBE" && call.is_object() && source.below(16) > 0 {
        call["framework_id"] = json!({ "value": framework });
    }
    read(&call)
}

fn read<M: Json + Default>(value: &Value) -> Option<M> {
    tepui_proto::json::from_slice(value.to_string().as_bytes()).ok()
}

/// The core's settings: mostly the usual ones, now and then with bounds that are soon met.
fn settings(source: &mut Source) -> Config {
    let mut config = config();
    if source.below(3) == 0 {
        config.max_tasks_per_agent = 4;
        config.max_operations_per_framework = 2;
        config.max_operations_per_agent = 3;
        config.max_kinds_per_agent = 6;
        config.max_frameworks = 4;
        config.max_agents = 2;
        config.max_remembered_agents = 1;
        config.max_completed_frameworks = 1;
        config.max_completed_tasks_per_framework = 2;
        config.max_unreachable_tasks_per_framework = 2;
    }
    if source.below(3) == 0 {
        config.agent_removal_rate_limit = Some((1, Duration::from_secs(60)));
        config.recovery_agent_removal_limit = 0.5;
    }
    if source.below(3) == 0 {
        config.offer_timeout = Some(Duration::from_secs(5));
        config.crumb_delay = Duration::from_millis(2);
        config.registry_gc_interval = Duration::from_secs(60);
        config.registry_max_agent_age = Duration::from_secs(60);
    }
    config
}

impl World {
    fn new(source: &mut Source) -> Self {
        let mut cluster = Cluster::with(settings(source), tepui_master_core::Registry::default());
        let schedulers = vec![
            cluster.scheduler("a"),
            cluster.subscribe(r#"{"user":"u","name":"b","failover_timeout":60,"roles":["r","r/s","web"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"SHARED_RESOURCES"},{"type":"GPU_RESOURCES"},{"type":"REVOCABLE_RESOURCES"}]}"#),
        ];
        let mut slaves = vec![cluster.agent("cpus:4;mem:1000;disk:100;ports:[1-9]")];
        if source.below(2) == 0 {
            let mut register = registration("cpus(r):4;mem(r):1000;disk(r):100;mem:100", None);
            register.agent.port = Some(5052);
            register.capabilities = agents::all_capabilities();
            let link = cluster.open_link();
            cluster.tell(link, Message::Register(Box::new(register)));
            let id = cluster.registered_id(link);
            slaves.extend(id.map(|id| Slave { link, id }));
        }
        let mut world = Self {
            cluster,
            schedulers,
            slaves,
            refused: 0,
            accepted: 0,
            reached: BTreeSet::new(),
            seen: 0,
            agents: BTreeMap::new(),
            offers: BTreeMap::new(),
            inverse_offers: BTreeMap::new(),
            operations: BTreeMap::new(),
        };
        world.look();
        world
    }

    fn scheduler(&self, source: &mut Source) -> Scheduler {
        self.schedulers[source.below(self.schedulers.len())].clone()
    }

    /// Take note of what has changed.
    fn look(&mut self) {
        for change in &self.cluster.changes[self.seen..] {
            match change {
                Change::AgentAdded(agent) | Change::AgentUpdated(agent) => {
                    self.agents.insert(agent.id.clone(), Arc::clone(agent));
                }
                Change::AgentRemoved { id, .. } => drop(self.agents.remove(id)),
                Change::OfferAdded(offer) => {
                    let twice = self.offers.insert(offer.key, Arc::clone(offer));
                    assert!(twice.is_none(), "an offer is added once");
                }
                Change::OfferRemoved(key) => {
                    assert!(self.offers.remove(key).is_some(), "I4: an offer ends once");
                }
                Change::InverseOfferAdded(asked) => {
                    self.inverse_offers.insert(asked.key, Arc::clone(asked));
                }
                Change::InverseOfferRemoved(key) => {
                    let asked = self.inverse_offers.remove(key);
                    assert!(asked.is_some(), "an inverse offer ends once");
                }
                Change::OperationUpdated(operation) => {
                    self.operations.insert(operation.key, Arc::clone(operation));
                }
                Change::OperationForgotten(key) => {
                    assert!(
                        self.operations.remove(key).is_some(),
                        "an operation ends once"
                    );
                }
                _ => {}
            }
        }
        self.seen = self.cluster.changes.len();
    }

    fn offer_id(&self, offer: &OfferSnapshot) -> String {
        format!("{}-O{}", self.cluster.master_id, offer.key.0)
    }

    /// Which kinds of messages and events there were.
    fn note_reached(&mut self) {
        let messages = self.cluster.to_agents.values().flatten().map(message_line);
        let kind = |line: String| {
            let words = if line.starts_with("ApplyOperation") {
                2
            } else {
                1
            };
            let words: Vec<&str> = line.split([' ', ':', '(', '{']).take(words).collect();
            words.join(" ")
        };
        self.reached.extend(messages.map(kind));
        let events = self.cluster.events.values().flatten();
        self.reached
            .extend(events.map(|event| event.r#type().as_str_name().to_owned()));
    }

    /// An offer, mostly one that this framework has.
    fn any_offer(&self, framework: &str, source: &mut Source) -> Option<&OfferSnapshot> {
        let foreign = source.below(16) == 0;
        let offers = self.offers.values();
        let own = offers.filter(|offer| foreign || offer.framework.as_str() == framework);
        let own: Vec<_> = own.collect();
        own.get(source.below(own.len())).map(|offer| &***offer)
    }

    /// One step with a token. A refusal must not have changed anything.
    fn asked(&mut self, input: impl FnOnce(Option<ReplyToken>) -> Input) {
        let token = ReplyToken(self.cluster.key());
        // Writes that were held back are answered first: their changes are not this call's.
        while !self.cluster.hold_stores && !self.cluster.stores.is_empty() {
            self.cluster.answer_store(Ok(()));
        }
        // What is due at this time is done before: it is not this call's either.
        self.cluster.send(Input::Tick);
        let before = self.cluster.changes.len();
        self.cluster.send(input(Some(token)));
        match self.cluster.replies.remove(&token) {
            Some(Reply::Refused { .. }) => {
                self.refused += 1;
                let changes = &self.cluster.changes[before..];
                assert!(changes.is_empty(), "refused, and yet: {changes:?}");
            }
            // Some wait for the store.
            Some(_) | None => self.accepted += 1,
        }
    }

    fn play(&mut self, source: &mut Source) {
        match source.below(32) {
            0 => self.subscribe(source),
            1..=6 => self.call(source),
            7..=12 => self.accept(source),
            13 | 14 => self.acknowledge(source),
            15..=17 => self.operator(source),
            18 => self.operate(source),
            19..=25 => self.agent_says(source),
            26 | 27 => {
                let seconds = source.below(90) as u64;
                self.cluster.pass(Duration::from_secs(seconds));
            }
            28 => self.store(source),
            29 => self.streams(source),
            30 if source.below(20) == 0 => self.succeed(source),
            _ => {
                let input = match source.below(5) {
                    0 => Input::Suspended(source.below(2) == 0),
                    1 => Input::Whitelist(None),
                    2 => Input::Whitelist(Some(BTreeSet::from(["host".to_owned()]))),
                    3 => Input::Flush,
                    _ => Input::Tick,
                };
                self.cluster.send(input);
            }
        }
        self.look();
    }

    /// Another master leads. It finds what the store has taken; agents and frameworks have yet to come.
    fn succeed(&mut self, source: &mut Source) {
        self.note_reached();
        self.cluster.succeed(settings(source));
        self.seen = 0;
        self.agents.clear();
        self.offers.clear();
        self.inverse_offers.clear();
        self.operations.clear();
    }

    /// ACCEPT with operations on what is offered.
    fn accept(&mut self, source: &mut Source) {
        let scheduler = self.scheduler(source);
        let Some(offer) = self.any_offer(&scheduler.id, source) else {
            return;
        };
        let agent = offer.agent.as_str().to_owned();
        let wire = resources::to_wire(&offer.resources, resources::Encoding::Stack);
        let mut ids = vec![json!({"value": self.offer_id(offer)})];
        if source.below(8) == 0 {
            let more = self
                .offers
                .values()
                .map(|offer| json!({"value": self.offer_id(offer)}));
            ids.extend(more.take(source.below(3)));
        }
        let offered = calls::plain(&wire);
        let operations: Vec<Value> = (0..1 + source.below(3))
            .map(|_| calls::operation(&offered, &agent, source))
            .collect();
        let filters = json!({"refuse_seconds": source.pick(&[0.0, 0.5, 5.0, 1e9])});
        let mut call = json!({
            "type": "ACCEPT",
            "framework_id": {"value": scheduler.id},
            "accept": {"offer_ids": ids, "operations": operations, "filters": filters},
        });
        if source.below(4) == 0 {
            let other = json!(offered);
            mutate::value(&mut call, &other, source);
        }
        if let Some(call) = read(&call) {
            self.send_call(CallOrigin::Stream(scheduler.stream), call);
        }
    }

    /// Acknowledge something that the framework was told, of a task or of an operation.
    fn acknowledge(&mut self, source: &mut Source) {
        let scheduler = self.scheduler(source);
        let events = self.cluster.events.get(&scheduler.stream);
        let events = events.map_or(&[][..], Vec::as_slice);
        let Some(call) = events.get(source.below(events.len())).and_then(|event| {
            let (status, operation) = (&event.update, &event.update_operation_status);
            if let Some(status) = status.as_ref().map(|update| &update.status) {
                return Some(json!({"type": "ACKNOWLEDGE", "acknowledge": {
                    "agent_id": status.agent_id.as_ref().map(calls::value_of),
                    "task_id": calls::value_of(&status.task_id),
                    "uuid": calls::value_of(status)["uuid"],
                }}));
            }
            let status = operation.as_ref().map(|update| &update.status)?;
            Some(
                json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": {
                    "agent_id": status.agent_id.as_ref().map(calls::value_of),
                    "operation_id": status.operation_id.as_ref().map(calls::value_of),
                    "uuid": calls::value_of(status)["uuid"]["value"],
                }}),
            )
        }) else {
            return;
        };
        let mut call = call;
        call["framework_id"] = json!({"value": scheduler.id});
        if let Some(call) = read(&call) {
            self.send_call(CallOrigin::Stream(scheduler.stream), call);
        }
    }

    fn operator(&mut self, source: &mut Source) {
        let framework = self.scheduler(source).id;
        let texts = [corpus::OPERATOR, calls::OPERATOR];
        let call = damaged::<master::Call>(texts, self, &framework, source).and_then(wish);
        if source.below(12) == 0 {
            let tasks: Vec<_> = self.cluster.tasks.values().collect();
            if let Some(task) = tasks.get(source.below(tasks.len())) {
                let call = OperatorCall::KillTask {
                    framework: task.facts.framework.clone(),
                    task: task.facts.id.clone(),
                    grace: source.pick(&[None, Some(Duration::from_secs(1))]),
                };
                self.asked(|reply| Input::Operator { call, reply });
            }
        } else if let Some(call) = call {
            self.asked(|reply| Input::Operator { call, reply });
        }
    }

    /// An operation of an operator, on what the agent has; launches are refused.
    fn operate(&mut self, source: &mut Source) {
        let agents: Vec<_> = self.agents.values().collect();
        let Some(agent) = agents.get(source.below(agents.len())) else {
            return;
        };
        let id = agent.id.clone();
        let total = calls::plain(&resources::to_wire(
            &agent.total,
            resources::Encoding::Stack,
        ));
        let mut operation = calls::operation(&total, id.as_str(), source);
        if source.below(4) == 0 {
            mutate::value(&mut operation, &json!(total), source);
        }
        if source.below(8) > 0 && operation.is_object() {
            operation["id"] = Value::Null;
        }
        let Some(operation) = read::<Operation>(&operation) else {
            return;
        };
        let call = OperatorCall::Operate {
            agent: id,
            operation: Box::new(operation),
            principal: source.pick(&[None, Some("p")]).map(Arc::from),
        };
        self.asked(|reply| Input::Operator { call, reply });
    }

    fn subscribe(&mut self, source: &mut Source) {
        let again = self.scheduler(source).id;
        let Some(mut call) =
            damaged::<scheduler::Call>([corpus::SCHEDULER, calls::SCHEDULER], self, &again, source)
        else {
            return;
        };
        if source.below(2) == 0 {
            let id = Some(mesos::FrameworkId { value: again });
            call.framework_id.clone_from(&id);
            if let Some(subscribe) = &mut call.subscribe {
                subscribe.framework_info.id = id;
            }
        }
        let stream = StreamKey(self.cluster.key());
        self.asked(|reply| Input::Subscribe {
            stream,
            http_stream_id: None,
            call: Box::new(call),
            principal: None,
            reply,
        });
        let events = self.cluster.events.get(&stream);
        let subscribed = events.and_then(|events| events.first()?.subscribed.as_ref());
        if let Some(id) = subscribed.map(|subscribed| subscribed.framework_id.value.clone()) {
            let scheduler = Scheduler {
                stream,
                id,
                http_stream_id: None,
            };
            if self.schedulers.len() < 6 {
                self.schedulers.push(scheduler);
            } else {
                let at = source.below(self.schedulers.len());
                self.schedulers[at] = scheduler;
            }
        }
    }

    fn call(&mut self, source: &mut Source) {
        let scheduler = self.scheduler(source);
        let call = damaged::<scheduler::Call>(
            [corpus::SCHEDULER, calls::SCHEDULER],
            self,
            &scheduler.id,
            source,
        );
        let Some(call) = call else { return };
        let origin = match source.below(16) {
            0 => CallOrigin::Http { stream_id: None },
            1 => CallOrigin::Http {
                stream_id: Some("other".into()),
            },
            2 => CallOrigin::Stream(self.scheduler(source).stream),
            _ => CallOrigin::Stream(scheduler.stream),
        };
        self.send_call(origin, call);
    }

    fn send_call(&mut self, origin: CallOrigin, call: scheduler::Call) {
        self.asked(|reply| Input::Call {
            origin,
            call: Box::new(call),
            principal: None,
            reply,
        });
    }

    fn store(&mut self, source: &mut Source) {
        match source.below(4) {
            0 => self.cluster.hold_stores = !self.cluster.hold_stores,
            1 => {
                // An answer that nobody has asked for.
                let sequence = source.next();
                self.cluster.send(Input::Stored {
                    sequence,
                    result: Ok(()),
                });
            }
            answer if !self.cluster.stores.is_empty() => {
                let result = if answer == 2 {
                    Ok(())
                } else {
                    Err(StoreError::Failed("busy".to_owned()))
                };
                self.cluster.answer_store(result);
            }
            _ => {}
        }
    }

    fn streams(&mut self, source: &mut Source) {
        let input = match source.below(5) {
            0 => Input::StreamClosed {
                stream: self.scheduler(source).stream,
            },
            1 => Input::StreamClosed {
                stream: StreamKey(source.next()),
            },
            2 => Input::LinkClosed {
                link: self.slaves[source.below(self.slaves.len())].link,
            },
            3 => Input::LinkClosed {
                link: LinkKey(source.next()),
            },
            _ => {
                self.slaves.push(Slave {
                    link: LinkKey(0),
                    id: "m-S0".to_owned(),
                });
                self.slaves.truncate(4);
                return;
            }
        };
        self.cluster.send(input);
    }
}

fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(otherwise)
}

#[test]
fn any_input_at_any_time_keeps_the_invariants() {
    let seconds = number("TEPUI_FUZZ_SECONDS", || SHORT_SECONDS);
    let mut seed = number("TEPUI_FUZZ_SEED", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    let started = Instant::now();
    let (mut worlds, mut refused, mut accepted) = (0, 0, 0);
    let mut reached = BTreeSet::new();
    while started.elapsed() < Duration::from_secs(seconds) || worlds == 0 {
        /// Shows the seed of a world that ends badly.
        struct Shown(u64);
        impl Drop for Shown {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("play it again with TEPUI_FUZZ_SEED={}", self.0);
                }
            }
        }
        let _shown = Shown(seed);
        let mut source = Source::new(seed);
        let mut world = World::new(&mut source);
        for _ in 0..INPUTS_PER_WORLD {
            world.play(&mut source);
            if world.cluster.stepped_down.is_some() {
                break;
            }
        }
        world.note_reached();
        reached.append(&mut world.reached);
        worlds += 1;
        refused += world.refused;
        accepted += world.accepted;
        seed = source.next();
    }
    println!("{worlds} worlds, {refused} calls refused, {accepted} accepted; reached: {reached:?}");
    assert!(refused > 0 && accepted > 0, "both kinds were there");
    if worlds > 2_000 {
        let missing: Vec<_> = REACHED
            .iter()
            .filter(|it| !reached.contains(**it))
            .collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }
}
