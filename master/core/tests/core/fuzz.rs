//! Any input at any time, well formed, damaged or out of turn: the core does not panic, its invariants hold after every step, and what it
//! refuses leaves no trace. Calls come from the corpus of the HTTP faces' fuzzer, damaged in their structure; messages of agents are
//! damaged as bytes.
//!
//! `TEPUI_FUZZ_SECONDS` sets for how long, `TEPUI_FUZZ_SEED` where to begin; a world is played again from the seed that is shown.

#[path = "../../../tests/faces/fuzz/corpus.rs"]
#[allow(dead_code, reason = "the paths and forms are for the faces")]
mod corpus;
#[path = "../../../tests/faces/fuzz/mutate.rs"]
mod mutate;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::{Value, json};
use tepui_master_core::{
    CallOrigin, Input, LinkKey, OperatorCall, Reply, ReplyToken, StoreError, StreamKey,
};
use tepui_model::TaskState;
use tepui_proto::json::Json;
use tepui_proto::mesos::{self, master, scheduler};
use tepui_proto::tepui::v1::{self, AgentFrame, AgentMessage, agent_message};

use crate::cluster::{Cluster, Scheduler, Slave, registration, running, uuid};
use mutate::Source;

/// In `cargo test`.
const SHORT_SECONDS: u64 = 4;
/// One world lives for so many inputs.
const INPUTS_PER_WORLD: usize = 300;

struct World {
    cluster: Cluster,
    schedulers: Vec<Scheduler>,
    slaves: Vec<Slave>,
    refused: usize,
    accepted: usize,
}

/// A call of the corpus with ids that exist, damaged in up to three places; `None` if it cannot be read any more.
fn damaged<M: Json + Default>(
    texts: &[&str],
    world: &World,
    framework: &str,
    source: &mut Source,
) -> Option<M> {
    let offers = world.cluster.events.values().flatten();
    let offer = offers
        .filter_map(|event| event.offers.as_ref())
        .flat_map(|offers| &offers.offers)
        .last();
    let agent = offer.map_or("m-S0", |offer| offer.agent_id.value.as_str());
    let offer = offer.map_or("m-O0", |offer| offer.id.value.as_str());
    let filled = |text: &str| -> Value {
        let text = text
            .replace("$F", framework)
            .replace("$A", agent)
            .replace("$O", offer);
        serde_json::from_str(&text).expect("the corpus is JSON")
    };
    let mut call = filled(source.pick(texts));
    for _ in 0..source.below(4) {
        let other = filled(source.pick(texts));
        mutate::value(&mut call, &other, source);
    }
    if call["type"] != "SUBSCRIBE" && call.is_object() && source.below(16) > 0 {
        call["framework_id"] = json!({ "value": framework });
    }
    tepui_proto::json::from_slice(call.to_string().as_bytes()).ok()
}

/// What an operator's call asks of the core; none for those that only read.
fn wish(call: master::Call) -> Option<OperatorCall> {
    let agent = |id: &mesos::AgentId| id.value.parse().ok();
    Some(if let Some(teardown) = call.teardown {
        OperatorCall::Teardown {
            framework: teardown.framework_id.value.parse().ok()?,
        }
    } else if let Some(call) = call.deactivate_agent {
        OperatorCall::DeactivateAgent {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.reactivate_agent {
        OperatorCall::ReactivateAgent {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.mark_agent_gone {
        OperatorCall::MarkAgentGone {
            agent: agent(&call.agent_id)?,
        }
    } else if let Some(call) = call.drain_agent {
        OperatorCall::DrainAgent {
            agent: agent(&call.agent_id)?,
            config: mesos::DrainConfig {
                max_grace_period: None,
                mark_gone: call.mark_gone,
            },
        }
    } else if let Some(call) = call.update_weights {
        OperatorCall::UpdateWeights {
            weights: call.weight_infos,
        }
    } else if let Some(call) = call.update_quota {
        OperatorCall::UpdateQuota {
            configs: call.quota_configs,
            force: call.force.unwrap_or(false),
        }
    } else if let Some(call) = call.set_quota {
        OperatorCall::SetQuota {
            request: call.quota_request,
        }
    } else if let Some(call) = call.remove_quota {
        OperatorCall::RemoveQuota { role: call.role }
    } else if let Some(call) = call.update_maintenance_schedule {
        OperatorCall::UpdateMaintenanceSchedule {
            schedule: call.schedule,
        }
    } else if let Some(call) = call.start_maintenance {
        OperatorCall::StartMaintenance {
            machines: call.machines,
        }
    } else if let Some(call) = call.stop_maintenance {
        OperatorCall::StopMaintenance {
            machines: call.machines,
        }
    } else {
        return None;
    })
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::new();
        let schedulers = vec![cluster.scheduler("a"), cluster.scheduler("b")];
        let slaves = vec![cluster.agent("cpus:4;mem:1000;disk:100;ports:[1-9]")];
        Self {
            cluster,
            schedulers,
            slaves,
            refused: 0,
            accepted: 0,
        }
    }

    fn scheduler(&self, source: &mut Source) -> Scheduler {
        self.schedulers[source.below(self.schedulers.len())].clone()
    }

    /// One step with a token. A refusal must not have changed anything.
    fn asked(&mut self, input: impl FnOnce(Option<ReplyToken>) -> Input) {
        let token = ReplyToken(self.cluster.key());
        // Writes that were held back are answered first: their changes are not this call's.
        while !self.cluster.hold_stores && !self.cluster.stores.is_empty() {
            self.cluster.answer_store(Ok(()));
        }
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
        match source.below(20) {
            0 => self.subscribe(source),
            1..=8 => self.call(source),
            9..=11 => {
                let framework = self.scheduler(source).id;
                let call = damaged::<master::Call>(corpus::OPERATOR, self, &framework, source);
                if let Some(call) = call.and_then(wish) {
                    self.asked(|reply| Input::Operator { call, reply });
                }
            }
            12..=15 => self.agent_says(source),
            16 => {
                let seconds = source.below(90) as u64;
                self.cluster.pass(Duration::from_secs(seconds));
            }
            17 => self.store(source),
            18 => self.streams(source),
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
    }

    fn subscribe(&mut self, source: &mut Source) {
        let again = self.scheduler(source).id;
        let Some(mut call) = damaged::<scheduler::Call>(corpus::SCHEDULER, self, &again, source)
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
        let call = damaged::<scheduler::Call>(corpus::SCHEDULER, self, &scheduler.id, source);
        let Some(call) = call else { return };
        let origin = match source.below(16) {
            0 => CallOrigin::Http { stream_id: None },
            1 => CallOrigin::Http {
                stream_id: Some("other".into()),
            },
            2 => CallOrigin::Stream(self.scheduler(source).stream),
            _ => CallOrigin::Stream(scheduler.stream),
        };
        self.asked(|reply| Input::Call {
            origin,
            call: Box::new(call),
            principal: None,
            reply,
        });
    }

    fn agent_says(&mut self, source: &mut Source) {
        let slave = self.slaves[source.below(self.slaves.len())].clone();
        let scheduler = self.scheduler(source);
        let framework_id = mesos::FrameworkId {
            value: scheduler.id.clone(),
        };
        let executor_id = mesos::ExecutorId {
            value: source.pick(&["e", "g", "other"]).to_owned(),
        };
        let task = source.pick(&["t", "e1", "g1", "g2", "other"]);
        let state = TaskState::from_number(source.below(14) as i32).unwrap_or(TaskState::Running);
        use agent_message::Message as Said;
        let message = match source.below(8) {
            0 => Said::Register(Box::new(v1::Register {
                tasks: vec![v1::RunningTask {
                    task: running(&slave, &scheduler, task, state),
                }],
                more: Some(source.below(4) == 0),
                ..registration("cpus:4;mem:1000;disk:100", Some(&slave.id))
            })),
            1 => Said::Unregister(v1::Unregister {}),
            2 => Said::ExecutorTerminated(v1::ExecutorTerminated {
                framework_id,
                executor_id,
                status: 9,
            }),
            3 => Said::ExecutorMessage(v1::ExecutorMessage {
                framework_id,
                executor_id,
                data: b"x"[..].into(),
            }),
            _ => Said::TaskUpdate(v1::TaskUpdate {
                framework_id,
                executor_id: None,
                status: mesos::TaskStatus {
                    task_id: mesos::TaskId {
                        value: task.to_owned(),
                    },
                    state: state.number(),
                    uuid: Some(uuid(source.below(200) as u8)),
                    ..mesos::TaskStatus::default()
                },
                latest_state: state.number(),
            }),
        };
        let frame = AgentFrame {
            messages: vec![AgentMessage {
                message: Some(message),
            }],
        };
        let mut bytes = frame.encode_to_vec();
        if source.below(2) == 0 {
            mutate::bytes(&mut bytes, source);
        }
        let Ok(frame) = tepui_proto::wire::decode::<AgentFrame>(&bytes) else {
            return;
        };
        let link = match source.below(4) {
            0 => self.cluster.open_link(),
            _ => slave.link,
        };
        self.cluster.send(Input::AgentMessages {
            link,
            messages: frame.messages,
        });
        if let Some(id) = self.cluster.registered_id(link) {
            let slave = Slave { link, id };
            if self.slaves.len() < 4 {
                self.slaves.push(slave);
            } else {
                let at = source.below(self.slaves.len());
                self.slaves[at] = slave;
            }
        }
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
        let mut world = World::new();
        for _ in 0..INPUTS_PER_WORLD {
            world.play(&mut source);
            if world.cluster.stepped_down.is_some() {
                break;
            }
        }
        worlds += 1;
        refused += world.refused;
        accepted += world.accepted;
        seed = source.next();
    }
    println!("{worlds} worlds, {refused} calls refused, {accepted} accepted");
    assert!(refused > 0 && accepted > 0, "both kinds were there");
}
