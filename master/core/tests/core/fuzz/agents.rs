//! What agents say: registrations with everything that they can hold, whole or in parts, updates of tasks and operations, and their leave.

use bytes::Bytes;
use tepui_model::TaskState;
use tepui_proto::convert::resources;
use tepui_proto::mesos::{self, OperationState, OperationStatus};
use tepui_proto::tepui::v1::agent_message::Message as Said;
use tepui_proto::tepui::v1::{self, AgentFrame, AgentMessage};

use super::mutate::Source;
use super::{World, mutate};
use crate::cluster::{Scheduler, Slave, registration, running, uuid};

/// What agents have, at different times: statically and dynamically reserved, with volumes.
const TOTALS: &[&str] = &[
    "cpus:4;mem:1000;disk:100;ports:[1-9]",
    "cpus:4;mem:1000;disk:100",
    "cpus:2;cpus(r):2;mem:1000;disk(r):100;gpus:1",
    "cpus:0.5;mem:10",
];

fn framework_id(scheduler: &Scheduler) -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: scheduler.id.clone(),
    }
}

fn executor_id(source: &mut Source) -> mesos::ExecutorId {
    mesos::ExecutorId {
        value: source.pick(&["e", "f", "g", "h", "other"]).to_owned(),
    }
}

fn task_name(source: &mut Source) -> String {
    match source.below(2) {
        0 => source
            .pick(&["t", "e1", "g1", "g2", "g3", "other"])
            .to_owned(),
        _ => format!("t{}", source.below(40)),
    }
}

fn state(source: &mut Source) -> TaskState {
    TaskState::from_number(source.below(14) as i32).unwrap_or(TaskState::Running)
}

pub(super) fn all_capabilities() -> Vec<mesos::agent_info::Capability> {
    let all = (1..=8).map(|kind| mesos::agent_info::Capability { r#type: Some(kind) });
    all.collect()
}

impl World {
    /// Agents as they say that they are: mostly the one that is asked for, now and then on another host or a new one.
    fn register(&mut self, slave: &Slave, source: &mut Source) -> v1::Register {
        let known = source.below(8) > 0;
        let mut register = registration(source.pick(TOTALS), known.then_some(&slave.id));
        if source.below(2) == 0 {
            register.capabilities = all_capabilities();
        }
        if source.below(8) == 0 {
            register.agent.hostname = "other".to_owned();
        }
        if source.below(4) == 0 {
            register.agent.attributes.push(mesos::Attribute {
                name: "rack".to_owned(),
                r#type: mesos::value::Type::Text as i32,
                text: Some(mesos::value::Text {
                    value: "a".to_owned(),
                }),
                ..mesos::Attribute::default()
            });
        }
        register.epoch_seen = source.pick(&[None, None, Some(1), Some(7), Some(u64::MAX)]);
        register.resource_version = (source.below(2) == 0).then(|| uuid(source.below(4) as u8));
        if source.below(3) > 0 {
            register.checkpointed_resources = self.total(&slave.id);
        }
        if source.below(4) == 0 {
            register.drain = Some(mesos::DrainConfig {
                max_grace_period: None,
                mark_gone: Some(source.below(2) == 0),
            });
        }
        let more = self.holdings(slave, source);
        register.frameworks = more.frameworks;
        register.executors = more.executors;
        register.tasks = more.tasks;
        register.operations = more.operations;
        register.more = Some(source.below(4) == 0);
        register
    }

    /// What the agent has, as the master believes.
    fn total(&self, agent: &str) -> Vec<mesos::Resource> {
        let known = self
            .agents
            .values()
            .find(|known| known.id.as_str() == agent);
        known.map_or_else(Vec::new, |known| {
            resources::to_wire(&known.total, resources::Encoding::Stack)
        })
    }

    fn holdings(&mut self, slave: &Slave, source: &mut Source) -> v1::RegisterMore {
        let scheduler = self.scheduler(source);
        let mut more = v1::RegisterMore::default();
        // What the master knows to be there, and what it has never heard of.
        let known = self.cluster.tasks.values();
        let known = known.filter(|task| task.facts.agent.as_str() == slave.id);
        for task in known {
            if source.below(4) > 0 {
                let mut task = task.to_task();
                if source.below(4) == 0 {
                    task.state = state(source).number();
                }
                more.tasks.push(v1::RunningTask { task });
            }
        }
        for _ in 0..source.below(3) {
            let mut task = running(slave, &scheduler, &task_name(source), state(source));
            task.executor_id = (source.below(2) == 0).then(|| executor_id(source));
            more.tasks.push(v1::RunningTask { task });
        }
        for _ in 0..source.below(2) {
            more.executors.push(v1::RunningExecutor {
                framework_id: framework_id(&scheduler),
                executor: mesos::ExecutorInfo {
                    executor_id: executor_id(source),
                    framework_id: Some(framework_id(&scheduler)),
                    resources: self.total(&slave.id).into_iter().take(1).collect(),
                    ..mesos::ExecutorInfo::default()
                },
            });
        }
        if source.below(2) == 0 {
            more.frameworks.push(mesos::FrameworkInfo {
                id: Some(framework_id(&scheduler)),
                user: "u".to_owned(),
                name: "told by an agent".to_owned(),
                roles: vec![source.pick(&["r", "*", "web"]).to_owned()],
                ..mesos::FrameworkInfo::default()
            });
        }
        let known = self.operations.values();
        let known = known.filter(|known| known.agent.as_str() == slave.id);
        let known: Vec<mesos::Operation> = known.map(|known| known.operation.clone()).collect();
        for mut operation in known {
            if source.below(4) > 0 {
                operation.latest_status = status(&operation, source);
                more.operations.push(operation);
            }
        }
        if source.below(4) == 0 {
            let mut operation = mesos::Operation {
                framework_id: (source.below(2) == 0).then(|| framework_id(&scheduler)),
                agent_id: Some(mesos::AgentId {
                    value: slave.id.clone(),
                }),
                uuid: mesos::Uuid {
                    value: uuid(source.below(8) as u8),
                },
                ..mesos::Operation::default()
            };
            operation.info.id = (source.below(2) == 0).then(|| mesos::OperationId {
                value: format!("o{}", source.below(20)),
            });
            operation.latest_status = status(&operation, source);
            more.operations.push(operation);
        }
        more
    }

    fn operation_update(&mut self, slave: &Slave, source: &mut Source) -> v1::OperationUpdate {
        let all: Vec<_> = self.operations.values().collect();
        let operation = match all.get(source.below(all.len())) {
            Some(known) if source.below(8) > 0 => known.operation.clone(),
            _ => mesos::Operation {
                uuid: mesos::Uuid {
                    value: uuid(source.below(8) as u8),
                },
                agent_id: Some(mesos::AgentId {
                    value: slave.id.clone(),
                }),
                ..mesos::Operation::default()
            },
        };
        let latest = status(&operation, source);
        v1::OperationUpdate {
            framework_id: operation.framework_id,
            status: latest.clone(),
            latest_status: latest,
            operation_uuid: operation.uuid,
        }
    }

    pub(super) fn agent_says(&mut self, source: &mut Source) {
        let slave = self.slaves[source.below(self.slaves.len())].clone();
        let scheduler = self.scheduler(source);
        let framework_id = framework_id(&scheduler);
        let message = match source.below(20) {
            0..=2 => Said::Register(Box::new(self.register(&slave, source))),
            3 => {
                let mut more = self.holdings(&slave, source);
                more.more = Some(source.below(4) == 0);
                Said::RegisterMore(more)
            }
            4 if source.below(3) == 0 => Said::Unregister(v1::Unregister {}),
            5 => Said::ExecutorTerminated(v1::ExecutorTerminated {
                framework_id,
                executor_id: executor_id(source),
                status: 9,
            }),
            6 => Said::ExecutorMessage(v1::ExecutorMessage {
                framework_id,
                executor_id: executor_id(source),
                data: b"x"[..].into(),
            }),
            7 => {
                let mut total = self.total(&slave.id);
                if source.below(2) == 0 {
                    let other = source.pick(TOTALS).parse().expect("a list of resources");
                    total = resources::to_wire(&other, resources::Encoding::Stack);
                }
                Said::ResourcesChanged(v1::ResourcesChanged {
                    total,
                    resource_version: Some(uuid(source.below(4) as u8)),
                })
            }
            8 if source.below(2) == 0 => {
                let mut resources = self.total(&slave.id);
                resources.truncate(source.below(3));
                for resource in &mut resources {
                    resource.revocable = (source.below(4) > 0).then(Default::default);
                }
                Said::Oversubscribed(v1::Oversubscribed { resources })
            }
            8 => Said::Pong(v1::Pong {
                sequence: source.pick(&[0, 1, 2, u64::MAX]),
            }),
            9..=12 => Said::OperationUpdate(Box::new(self.operation_update(&slave, source))),
            _ => {
                let state = state(source).number();
                let latest = TaskState::from_number(source.below(14) as i32);
                Said::TaskUpdate(v1::TaskUpdate {
                    framework_id,
                    executor_id: None,
                    status: mesos::TaskStatus {
                        task_id: mesos::TaskId {
                            value: task_name(source),
                        },
                        state,
                        uuid: Some(uuid(source.below(200) as u8)),
                        ..mesos::TaskStatus::default()
                    },
                    latest_state: match source.below(4) {
                        0 => latest.map_or(state, TaskState::number),
                        _ => state,
                    },
                })
            }
        };
        let begins = matches!(message, Said::Register(_));
        self.says(&slave, begins, message, source);
    }

    /// The message, whole or damaged as bytes, on the agent's stream or on another.
    fn says(&mut self, slave: &Slave, begins: bool, message: Said, source: &mut Source) {
        use prost::Message as _;
        let frame = AgentFrame {
            messages: vec![AgentMessage {
                message: Some(message),
            }],
        };
        let mut bytes = frame.encode_to_vec();
        if source.below(3) == 0 {
            mutate::bytes(&mut bytes, source);
        }
        let Ok(frame) = tepui_proto::wire::decode::<AgentFrame>(&bytes) else {
            return;
        };
        let link = match source.below(8) {
            0 => slave.link,
            1 => self.cluster.open_link(),
            _ if begins => self.cluster.open_link(),
            _ => slave.link,
        };
        self.cluster.send(tepui_master_core::Input::AgentMessages {
            link,
            messages: frame.messages,
        });
        // Registered, or at least under way: what it says next comes on this stream.
        let id = self.cluster.registered_id(link);
        if id.is_none() && !begins {
            return;
        }
        let slave = Slave {
            link,
            id: id.unwrap_or_else(|| slave.id.clone()),
        };
        if self.slaves.len() < 4 {
            self.slaves.push(slave);
        } else {
            let at = source.below(self.slaves.len());
            self.slaves[at] = slave;
        }
    }
}

fn status(operation: &mesos::Operation, source: &mut Source) -> OperationStatus {
    let state = source.pick(&[
        OperationState::OperationFinished,
        OperationState::OperationFinished,
        OperationState::OperationFailed,
        OperationState::OperationDropped,
        OperationState::OperationPending,
        OperationState::OperationError,
        OperationState::OperationUnknown,
        OperationState::OperationGoneByOperator,
    ]);
    let number = source.below(200) as u8;
    OperationStatus {
        operation_id: operation.info.id.clone(),
        state: state as i32,
        uuid: (source.below(4) > 0).then(|| mesos::Uuid {
            value: match source.below(8) {
                0 => Bytes::from_static(b"short"),
                _ => uuid(number),
            },
        }),
        agent_id: operation.agent_id.clone(),
        ..OperationStatus::default()
    }
}
