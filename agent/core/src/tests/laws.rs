//! Whatever comes, in whatever order: at most one terminal state a task (I2), every update told in order, and no panic; and when the
//! noise ends, every task that was accepted has its terminal update delivered (I3).

use std::collections::BTreeMap;

use proptest::prelude::*;
use tepui_model::TaskState;
use tepui_proto::tepui::v1::{Ping, ShutdownFramework};

use super::*;
use crate::{ContainerState, Limitation, Limited};

#[derive(Debug, Clone)]
enum Act {
    Run(u8),
    RunCustom(u8),
    RunGroup(u8),
    KillGrouped(u8),
    Kill(u8),
    AcknowledgeAll,
    Launched(u8),
    LaunchFailed(u8),
    Exited(u8, Option<u8>),
    OutOfMemory(u8),
    Preempt(u8),
    Exceeded(u8),
    Subscribe,
    Hangup,
    Says(u8, u8, u8),
    Pass(u16),
    Reconnect,
    Restart(u8),
    ShutdownFramework,
    Ping,
}

fn act() -> impl Strategy<Value = Act> {
    let task = 0..5_u8;
    prop_oneof![
        4 => task.clone().prop_map(Act::Run),
        2 => task.clone().prop_map(Act::RunCustom),
        2 => task.clone().prop_map(Act::RunGroup),
        1 => task.clone().prop_map(Act::KillGrouped),
        2 => task.clone().prop_map(Act::Kill),
        4 => Just(Act::AcknowledgeAll),
        5 => (0..8_u8).prop_map(Act::Launched),
        1 => (0..8_u8).prop_map(Act::LaunchFailed),
        4 => (0..8_u8, any::<Option<u8>>()).prop_map(|(container, status)| Act::Exited(container, status)),
        1 => (0..8_u8).prop_map(Act::OutOfMemory),
        1 => any::<u8>().prop_map(Act::Preempt),
        1 => any::<u8>().prop_map(Act::Exceeded),
        2 => Just(Act::Subscribe),
        1 => Just(Act::Hangup),
        4 => (task, 0..14_u8, any::<u8>()).prop_map(|(task, state, uuid)| Act::Says(task, state, uuid)),
        3 => any::<u16>().prop_map(Act::Pass),
        1 => Just(Act::Reconnect),
        1 => any::<u8>().prop_map(Act::Restart),
        1 => Just(Act::ShutdownFramework),
        2 => Just(Act::Ping),
    ]
}

fn revocable_if(marked: bool, task: TaskInfo) -> TaskInfo {
    let cpus = mesos::Resource {
        name: "cpus".to_owned(),
        scalar: Some(mesos::value::Scalar { value: 1.0 }),
        revocable: marked.then(Default::default),
        ..Default::default()
    };
    TaskInfo {
        resources: vec![cpus],
        ..task
    }
}

/// The world, and which containers it believes to run.
struct Chaos {
    world: World,
    over: Vec<usize>,
    stream: u64,
    connection: u64,
    /// States told, by uuid, so that what is told again is not counted twice.
    told: BTreeMap<(String, Bytes), TaskState>,
}

impl Chaos {
    fn note(&mut self) {
        for (task, state, uuid, _) in &self.world.sent {
            self.told.insert((task.clone(), uuid.clone()), *state);
        }
    }

    fn live(&self, index: u8) -> Option<usize> {
        let index = usize::from(index);
        (index < self.world.containers.len() && !self.over.contains(&index)).then_some(index)
    }

    fn act(mut self, act: &Act) -> Self {
        let world = &mut self.world;
        match act {
            Act::Run(task) => world.run(revocable_if(task % 2 == 0, command(&format!("t{task}")))),
            Act::RunCustom(task) => {
                world.run(revocable_if(*task > 2, custom(&format!("c{task}"), "e")))
            }
            Act::RunGroup(number) => {
                groups::played(world, "d", &[&format!("g{number}"), &format!("h{number}")])
            }
            Act::KillGrouped(task) => world.kill(&format!("g{task}"), None),
            Act::Kill(task) => world.kill(
                &format!("{}{task}", if task % 2 == 0 { "t" } else { "c" }),
                None,
            ),
            Act::AcknowledgeAll => {
                for (task, _, uuid, _) in world.sent.clone() {
                    world.acknowledge(&task, uuid);
                }
            }
            Act::Launched(index) => {
                if let Some(index) = self.live(*index) {
                    self.world.launched(index);
                }
            }
            Act::LaunchFailed(index) => {
                if let Some(index) = self.live(*index) {
                    self.over.push(index);
                    let container = self.world.containers[index].clone();
                    self.world.step(Input::LaunchFailed {
                        container,
                        reason: "no".to_owned(),
                    });
                }
            }
            Act::Exited(index, status) => {
                if let Some(index) = self.live(*index) {
                    self.over.push(index);
                    self.world
                        .exited(index, status.map(|code| i32::from(code) << 8));
                }
            }
            Act::OutOfMemory(index) => {
                if let Some(index) = self.live(*index) {
                    self.over.push(index);
                    let limitation = Some(Limitation {
                        of: Limited::Memory,
                        message: String::new(),
                        resources: Vec::new(),
                    });
                    let container = self.world.containers[index].clone();
                    self.world.step(Input::Exited {
                        container,
                        exit: Exit {
                            status: Some(9),
                            limitation,
                        },
                    });
                }
            }
            Act::Preempt(number) | Act::Exceeded(number) => {
                let known = &world.agent.containers;
                let Some(at) = usize::from(*number).checked_rem(known.len()) else {
                    return self;
                };
                let (container, (framework, executor)) = known.get_index(at).unwrap();
                let container = container.clone();
                let input = if matches!(act, Act::Preempt(_)) {
                    Input::Preempt {
                        framework: framework.clone(),
                        executor: executor.clone(),
                        container,
                        reason: String::new(),
                    }
                } else {
                    let limitation = Limitation {
                        of: Limited::Disk,
                        message: String::new(),
                        resources: Vec::new(),
                    };
                    Input::Exceeded {
                        container,
                        limitation,
                    }
                };
                world.step(input);
            }
            Act::Subscribe => {
                self.connection += 1;
                world.subscribe("e", self.connection);
            }
            Act::Hangup => world.step(Input::ExecutorDisconnected {
                connection: self.connection,
            }),
            Act::Says(task, state, uuid) => {
                let state = TaskState::from_number(i32::from(*state)).unwrap();
                world.says("e", &format!("c{task}"), state, *uuid);
            }
            Act::Pass(milliseconds) => world.pass(Duration::from_millis((*milliseconds).into())),
            Act::Reconnect => self.reconnect(),
            Act::Restart(seed) => {
                self.note();
                self = self.restart(*seed);
            }
            Act::ShutdownFramework => {
                world.master(FromMaster::ShutdownFramework(ShutdownFramework {
                    framework_id: framework_id("f"),
                }));
                world.introduce(&[]);
            }
            Act::Ping => world.master(FromMaster::Ping(Ping { sequence: 0 })),
        }
        self.note();
        self
    }

    fn reconnect(&mut self) {
        self.stream += 1;
        self.world.register(self.stream);
        self.world.introduce(&[capability::Type::PartitionAware]);
    }

    fn restart(mut self, seed: u8) -> Self {
        let mut facts = Vec::new();
        for (index, container) in self.world.containers.clone().into_iter().enumerate() {
            if self.over.contains(&index) {
                continue;
            }
            let state = match (seed >> (index % 7)) & 3 {
                0 | 1 => ContainerState::Running { pid: None },
                2 => {
                    self.over.push(index);
                    ContainerState::Exited(Exit {
                        status: Some(0),
                        limitation: None,
                    })
                }
                _ => {
                    self.over.push(index);
                    ContainerState::Lost
                }
            };
            facts.push(ContainerFact { container, state });
        }
        let sent = std::mem::take(&mut self.world.sent);
        self.world = self.world.restart(facts);
        self.world.sent = sent;
        self.stream = 0;
        self.reconnect();
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn one_terminal_state_and_it_is_delivered(acts in proptest::collection::vec(act(), 1..60)) {
        let mut chaos = Chaos { world: World::new(), over: Vec::new(), stream: 1, connection: 0, told: BTreeMap::new() };
        for act in &acts {
            // A life ends with an acknowledged terminal state; the next with the same id is another task.
            let before = chaos.world.agent.tasks;
            chaos = chaos.act(act);
            let ended = chaos.world.did().iter().filter_map(|line| line.strip_prefix("ended ").map(str::to_owned)).collect::<Vec<_>>();
            for task in &ended {
                let terminal = chaos.told.iter().filter(|((of, _), state)| of == task && state.is_terminal()).count();
                prop_assert!(terminal <= 1, "{task} was told {terminal} terminal states");
                chaos.told.retain(|(of, _), _| of != task);
                chaos.world.sent.retain(|(of, ..)| of != task);
            }
            prop_assert!(chaos.world.agent.tasks <= before + 10);
            let counted: usize = chaos.world.agent.frameworks.values().map(|known| known.tasks.len()).sum();
            prop_assert_eq!(counted, chaos.world.agent.tasks);
        }
        // Peace: everything ends, everybody listens.
        chaos.reconnect();
        for index in 0..chaos.world.containers.len() {
            if !chaos.over.contains(&index) {
                chaos.over.push(index);
                chaos.world.exited(index, Some(0));
            }
        }
        chaos.world.drain();
        prop_assert_eq!(chaos.world.agent.tasks, 0);
        prop_assert!(chaos.world.agent.containers.is_empty());
        prop_assert!(chaos.world.agent.nested.is_empty());
    }
}
