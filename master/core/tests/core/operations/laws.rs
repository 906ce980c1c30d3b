//! Chains of operations, by a framework and by operators, against a model that is obviously right: one agent with nothing but disk,
//! counted in whole units. What is done, what is refused and what the agent then has must be the model's; I1 is checked by the
//! cluster after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tepui_master_core::{Input, OperatorCall, Registry, Reply, ReplyToken};
use tepui_proto::convert::resources;
use tepui_proto::mesos::{self, OperationState};
use tepui_proto::tepui::v1::{self, agent_message};

use super::{
    agent, answer, applied, create, destroy, framework, grow, launch, reserve, reserved,
    shared_volume, shrink, task, total, unreserve, volume, with_id,
};
use crate::cluster::{Cluster, Scheduler, Slave, registration};

const DISK: i64 = 30;

#[derive(Debug, Clone, Copy)]
enum Op {
    Reserve(i64),
    Unreserve(i64),
    Create(u8, i64, bool),
    Destroy(u8),
    Grow(u8, i64),
    Shrink(u8, i64),
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Framework(Op),
    Operator(Op),
    /// Launch a task on a volume.
    UseVolume(u8, u8),
    /// Launch a task on reserved disk.
    UseDisk(u8, i64),
    Finish(u8),
    /// The agent does what it was sent.
    Answer,
    /// The stream breaks; what was not answered got lost.
    Return,
}

/// What the agent has, in units of disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    free: i64,
    reserved: i64,
    /// Size, and whether it is shared.
    volumes: BTreeMap<u8, (i64, bool)>,
    /// By task: the volume that it uses, or how much reserved disk.
    tasks: BTreeMap<u8, Result<u8, i64>>,
}

impl Model {
    fn in_use(&self, volume: u8) -> bool {
        self.tasks.values().any(|used| *used == Ok(volume))
    }

    fn reserved_in_use(&self) -> i64 {
        self.tasks.values().filter_map(|used| used.err()).sum()
    }

    fn at_hand(&self) -> i64 {
        self.reserved - self.reserved_in_use()
    }

    /// Whether a framework has an offer: shared volumes, which are always there, travel only with something else.
    fn is_offered(&self) -> bool {
        let whole = |(id, volume): (&u8, &(i64, bool))| !volume.1 && !self.in_use(*id);
        self.free > 0 || self.at_hand() > 0 || self.volumes.iter().any(whole)
    }

    /// Do it, or change nothing and return false.
    fn apply(&mut self, op: Op) -> bool {
        let at_hand = self.at_hand();
        match op {
            Op::Reserve(n) if n <= self.free => {
                self.free -= n;
                self.reserved += n;
            }
            Op::Unreserve(n) if n <= at_hand => {
                self.reserved -= n;
                self.free += n;
            }
            Op::Create(id, n, shared) if n <= at_hand && !self.volumes.contains_key(&id) => {
                self.reserved -= n;
                self.volumes.insert(id, (n, shared));
            }
            Op::Destroy(id) if !self.in_use(id) => match self.volumes.remove(&id) {
                Some((n, _)) => self.reserved += n,
                None => return false,
            },
            Op::Grow(id, n) if n <= at_hand && !self.in_use(id) => {
                match self.volumes.get_mut(&id) {
                    Some((size, false)) => *size += n,
                    _ => return false,
                }
                self.reserved -= n;
            }
            Op::Shrink(id, n) if !self.in_use(id) => {
                match self.volumes.get_mut(&id) {
                    Some((size, false)) if n < *size => *size -= n,
                    _ => return false,
                }
                self.reserved += n;
            }
            _ => return false,
        }
        true
    }

    fn resources(&self) -> Vec<String> {
        let mut list = vec![super::scalar("disk", &self.free.to_string(), "")];
        list.push(reserved("disk", &self.reserved.to_string(), &["r"]));
        list.extend(self.volumes.keys().map(|id| self.volume(*id)));
        list
    }

    /// As a call names it: an unknown one with a size of 1.
    fn volume(&self, id: u8) -> String {
        let (size, shared) = self.volumes.get(&id).copied().unwrap_or((1, false));
        let make = if shared { shared_volume } else { volume };
        make(&format!("v{id}"), &size.to_string())
    }

    fn operation(&self, op: Op) -> String {
        let disk = |n: i64| reserved("disk", &n.to_string(), &["r"]);
        match op {
            Op::Reserve(n) => reserve(&[disk(n)]),
            Op::Unreserve(n) => unreserve(&[disk(n)]),
            Op::Create(id, n, true) => create(&[shared_volume(&format!("v{id}"), &n.to_string())]),
            Op::Create(id, n, false) => create(&[volume(&format!("v{id}"), &n.to_string())]),
            Op::Destroy(id) => destroy(&[self.volume(id)]),
            Op::Grow(id, n) => grow(&self.volume(id), &disk(n)),
            Op::Shrink(id, n) => shrink(&self.volume(id), &n.to_string()),
        }
    }
}

fn wire(list: &[String]) -> Vec<mesos::Resource> {
    list.iter()
        .map(|json| tepui_proto::json::from_slice(json.as_bytes()).unwrap())
        .collect()
}

fn op() -> impl Strategy<Value = Op> {
    let (id, n) = (0_u8..3, 1_i64..12);
    prop_oneof![
        3 => n.clone().prop_map(Op::Reserve),
        1 => n.clone().prop_map(Op::Unreserve),
        3 => (id.clone(), n.clone(), any::<bool>()).prop_map(|(id, n, shared)| Op::Create(id, n, shared)),
        2 => id.clone().prop_map(Op::Destroy),
        1 => (id.clone(), n.clone()).prop_map(|(id, n)| Op::Grow(id, n)),
        1 => (id, n).prop_map(|(id, n)| Op::Shrink(id, n)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let (task, volume) = (0_u8..4, 0_u8..3);
    prop_oneof![
        8 => op().prop_map(Act::Framework),
        4 => op().prop_map(Act::Operator),
        3 => (task.clone(), volume).prop_map(|(task, volume)| Act::UseVolume(task, volume)),
        1 => (task.clone(), 1_i64..5).prop_map(|(task, n)| Act::UseDisk(task, n)),
        3 => task.prop_map(Act::Finish),
        2 => Just(Act::Answer),
        1 => Just(Act::Return),
    ]
}

struct World {
    cluster: Cluster,
    slave: Slave,
    scheduler: Scheduler,
    /// What the master should believe.
    model: Model,
    /// What the agent has done so far, without tasks.
    truth: Model,
    /// What it was sent and has not done.
    sent: Vec<Op>,
}

impl World {
    fn new() -> Self {
        let mut config = crate::cluster::config();
        config.min_allocatable = Vec::new();
        let mut cluster = Cluster::with(config, Registry::default());
        let slave = agent(&mut cluster, &format!("disk:{DISK}"));
        let scheduler = framework(&mut cluster, "a");
        let model = Model {
            free: DISK,
            ..Model::default()
        };
        Self {
            cluster,
            slave,
            scheduler,
            truth: model.clone(),
            model,
            sent: Vec::new(),
        }
    }

    /// Accept everything that is outstanding.
    fn accept(&mut self, operation: &str) -> Vec<String> {
        // Whatever it refused before it is offered again.
        self.cluster.call(&self.scheduler, r#"{"type":"REVIVE"}"#);
        let mut outstanding: BTreeMap<String, ()> = BTreeMap::new();
        for change in &self.cluster.changes {
            match change {
                tepui_master_core::Change::OfferAdded(offer) => {
                    outstanding.insert(format!("m-O{}", offer.key.0), ());
                }
                tepui_master_core::Change::OfferRemoved(key) => {
                    outstanding.remove(&format!("m-O{}", key.0));
                }
                _ => {}
            }
        }
        let ids: Vec<String> = outstanding
            .keys()
            .map(|id| format!(r#"{{"value":"{id}"}}"#))
            .collect();
        self.cluster.take_events(&self.scheduler);
        let call = format!(
            r#"{{"type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{operation}]}}}}"#,
            ids.join(",")
        );
        assert_eq!(self.cluster.call(&self.scheduler, &call), Reply::Accepted);
        self.cluster.lines(&self.scheduler)
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Framework(op) => {
                let operation = with_id("o", &self.model.operation(op));
                let lines = self.accept(&operation);
                let refused = lines.iter().any(|line| line.contains("OPERATION_ERROR"));
                let done = self.model.is_offered() && self.model.apply(op);
                assert_eq!(done, !refused, "{op:?} {lines:?} {:?}", self.model);
                self.sent.extend(done.then_some(op));
            }
            Act::Operator(op) => {
                let json = self.model.operation(op);
                let operation = Box::new(tepui_proto::json::from_slice(json.as_bytes()).unwrap());
                let token = ReplyToken(self.cluster.key());
                self.cluster.send(Input::Operator {
                    call: OperatorCall::Operate {
                        agent: self.slave.id.parse().unwrap(),
                        operation,
                        principal: None,
                    },
                    reply: Some(token),
                });
                let reply = self.cluster.replies.remove(&token).unwrap();
                let done = self.model.apply(op);
                assert_eq!(
                    done,
                    reply == Reply::Accepted,
                    "{op:?} {reply:?} {:?}",
                    self.model
                );
                self.sent.extend(done.then_some(op));
            }
            Act::UseVolume(id, volume) => {
                let free = match self.model.volumes.get(&volume) {
                    Some((_, shared)) => *shared || !self.model.in_use(volume),
                    None => false,
                };
                self.launch(id, Ok(volume), free);
            }
            Act::UseDisk(id, n) => {
                let free = n <= self.model.at_hand();
                self.launch(id, Err(n), free);
            }
            Act::Finish(id) => {
                if self.model.tasks.remove(&id).is_some() {
                    let name = format!("t{id}");
                    self.cluster.finish(&self.slave, &self.scheduler, &name);
                }
            }
            Act::Answer => {
                let applies = applied(&mut self.cluster, &self.slave);
                assert_eq!(applies.len(), self.sent.len());
                for (apply, op) in applies.iter().zip(std::mem::take(&mut self.sent)) {
                    assert!(self.truth.apply(op), "the agent cannot do {op:?}");
                    let finished = OperationState::OperationFinished;
                    answer(&mut self.cluster, &self.slave, apply, finished, 1);
                }
            }
            // With tasks, what they use would be there no more.
            Act::Return if self.model.tasks.is_empty() => {
                self.cluster.break_link(&self.slave);
                self.model = self.truth.clone();
                self.sent.clear();
                let link = self.cluster.open_link();
                let mut register = registration("disk:1", Some(&self.slave.id));
                register.checkpointed_resources = wire(&self.truth.resources());
                register.capabilities = [1, 2, 3, 4, 5, 6]
                    .map(|kind| mesos::agent_info::Capability { r#type: Some(kind) })
                    .to_vec();
                register.operations = Vec::new();
                let register: v1::Register = register;
                self.cluster
                    .tell(link, agent_message::Message::Register(Box::new(register)));
                self.cluster.to_agents.remove(&self.slave.link);
                self.slave.link = link;
            }
            Act::Return => {}
        }
        self.compare();
    }

    fn launch(&mut self, id: u8, uses: Result<u8, i64>, free: bool) {
        let resource = match uses {
            Ok(volume) => self.model.volume(volume),
            Err(n) => reserved("disk", &n.to_string(), &["r"]),
        };
        let free = free && self.model.is_offered();
        let name = format!("t{id}");
        let lines = self.accept(&launch(&[task(&name, &self.slave.id, &[resource])]));
        let refused = lines
            .iter()
            .any(|line| line.contains("TASK_ERROR") || line.contains("TASK_DROPPED"));
        let starts = free && !self.model.tasks.contains_key(&id);
        assert_eq!(starts, !refused, "{lines:?} {:?}", self.model);
        if starts {
            self.model.tasks.insert(id, uses);
        }
    }

    fn compare(&self) {
        let expected = resources::from_wire(&wire(&self.model.resources())).unwrap();
        let sorted = |text: String| {
            let mut parts: Vec<String> =
                text.split(';').map(|part| part.trim().to_owned()).collect();
            parts.sort();
            parts
        };
        assert_eq!(
            sorted(total(&self.cluster, &self.slave.id)),
            sorted(expected.to_string())
        );
        assert!(super::listed(&self.cluster).len() >= self.sent.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn operations_do_what_the_model_does(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
    }
}

/// What this model learned from a story that was made up at random.
#[test]
fn a_shared_volume_alone_is_not_offered() {
    let mut world = World::new();
    for act in [
        Act::Operator(Op::Reserve(DISK)),
        Act::Framework(Op::Create(0, 10, true)),
        Act::UseDisk(0, 4),
        Act::Framework(Op::Create(1, DISK - 14, false)),
        Act::UseVolume(1, 1),
    ] {
        world.act(act);
    }
    assert!(!world.model.is_offered());
    world.act(Act::UseVolume(2, 0));
    world.act(Act::Framework(Op::Destroy(0)));
    world.act(Act::Finish(0));
    assert!(world.model.is_offered());
    world.act(Act::UseVolume(2, 0));
    assert!(world.model.in_use(0));
}
