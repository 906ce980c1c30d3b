//! The whole master core, through its one entrance: registrations, subscriptions, calls and updates in, messages and changes out.

use std::time::Duration;

use bytes::Bytes;
use tepui_master_core::{CallOrigin, Config, Input, LinkKey, Master, Output, Registry, StreamKey};
use tepui_model::{Resources, TaskState, Time};
use tepui_proto::convert::{master_info, resources};
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::scheduler::{Call, call};
use tepui_proto::mesos::task_status::Source;
use tepui_proto::mesos::{self, TaskStatus};
use tepui_proto::tepui::v1::{AgentMessage, Register, TaskUpdate, agent_message};

use super::load::{AGENT, Made, Plan, Subject};

/// Nobody here answers pings or listens for heartbeats, so there are none.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

pub(super) struct Whole {
    master: Master,
    now: Time,
    outputs: Vec<Output>,
    made: Vec<Made<mesos::Offer>>,
    agent: Vec<mesos::Resource>,
    tasks: u64,
}

/// A task that runs.
pub(super) struct Running {
    framework: usize,
    agent: usize,
    agent_id: mesos::AgentId,
    task: mesos::TaskId,
}

impl Whole {
    fn step(&mut self, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.master.step(self.now, input, &mut outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Event { stream, event } => {
                    for offer in event.offers.into_iter().flat_map(|event| event.offers) {
                        let agent = offer
                            .agent_id
                            .value
                            .rsplit_once("-S")
                            .and_then(|(_, number)| number.parse().ok())
                            .expect("agents are numbered as they come");
                        self.made.push(Made {
                            offer,
                            framework: usize::try_from(stream.0).unwrap_or_default(),
                            agent,
                        });
                    }
                }
                Output::Store { sequence, .. } => self.step(Input::Stored {
                    sequence,
                    result: Ok(()),
                }),
                _ => {}
            }
        }
        self.outputs = outputs;
    }

    fn call(&mut self, framework: usize, call: Call) {
        let call = Call {
            framework_id: Some(framework_id(framework)),
            ..call
        };
        self.step(Input::Call {
            origin: CallOrigin::Stream(StreamKey(framework as u64)),
            call: Box::new(call),
            principal: None,
            reply: None,
        });
    }

    fn tell(&mut self, agent: usize, message: agent_message::Message) {
        self.step(Input::AgentMessages {
            link: LinkKey(agent as u64),
            messages: vec![AgentMessage {
                message: Some(message),
            }],
        });
    }
}

fn framework_id(index: usize) -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: format!("m-{index:04}"),
    }
}

fn bare(kind: call::Type) -> Call {
    Call {
        r#type: Some(kind as i32),
        ..Call::default()
    }
}

impl Subject for Whole {
    type Offer = mesos::Offer;
    type Task = Running;

    fn new(plan: &Plan) -> Self {
        let info = master_info::new("m", [127, 0, 0, 1].into(), 5050, "localhost", "1.11.0");
        let config = Config {
            agent_ping_timeout: NEVER,
            heartbeat_interval: NEVER,
            max_frameworks: plan.frameworks,
            max_agents: plan.agents,
            ..Config::new(info, 1, 1)
        };
        let total: Resources = AGENT.parse().expect("valid");
        Self {
            master: Master::new(config, Registry::default(), Time::EPOCH),
            now: Time::EPOCH,
            outputs: Vec::new(),
            made: Vec::new(),
            agent: resources::to_wire(&total, resources::Encoding::Stack),
            tasks: 0,
        }
    }

    fn add_framework(&mut self, index: usize, role: usize) {
        let subscribe = call::Subscribe {
            framework_info: mesos::FrameworkInfo {
                user: "u".to_owned(),
                name: format!("framework-{index}"),
                role: Some(format!("role-{role}")),
                ..Default::default()
            },
            ..Default::default()
        };
        self.step(Input::Subscribe {
            stream: StreamKey(index as u64),
            http_stream_id: None,
            call: Box::new(Call {
                subscribe: Some(Box::new(subscribe)),
                ..bare(call::Type::Subscribe)
            }),
            principal: None,
            reply: None,
        });
    }

    fn add_agent(&mut self, index: usize) {
        let link = LinkKey(index as u64);
        self.step(Input::LinkOpened {
            link,
            peer: "127.0.0.1:1".into(),
        });
        let register = Register {
            protocol: 1,
            version: "0".to_owned(),
            agent: mesos::AgentInfo {
                hostname: format!("host-{index}"),
                resources: self.agent.clone(),
                ..Default::default()
            },
            ..Register::default()
        };
        self.tell(index, agent_message::Message::Register(Box::new(register)));
    }

    fn hold_back(&mut self, held_back: bool) {
        self.step(Input::Suspended(held_back));
    }

    fn suppress(&mut self, framework: usize) {
        self.call(framework, bare(call::Type::Suppress));
    }

    fn revive(&mut self, framework: usize) {
        self.call(framework, bare(call::Type::Revive));
    }

    fn offers(&mut self, now: Time, out: &mut Vec<Made<mesos::Offer>>) -> bool {
        self.now = self.now.max(now);
        if self.is_due() {
            self.step(Input::Tick);
        }
        self.step(Input::Flush);
        out.append(&mut self.made);
        self.is_due()
    }

    fn accept(&mut self, now: Time, made: Made<mesos::Offer>) -> Running {
        self.now = self.now.max(now);
        self.tasks += 1;
        let task = mesos::TaskId {
            value: format!("task-{}", self.tasks),
        };
        let Made {
            offer,
            framework,
            agent,
        } = made;
        let info = mesos::TaskInfo {
            name: "task".to_owned(),
            task_id: task.clone(),
            agent_id: offer.agent_id.clone(),
            resources: offer.resources,
            command: Some(mesos::CommandInfo {
                value: Some("true".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let operation = Operation {
            r#type: Some(operation::Type::Launch as i32),
            launch: Some(operation::Launch {
                task_infos: vec![info],
            }),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id],
            operations: vec![operation],
            filters: None,
        };
        self.call(
            framework,
            Call {
                accept: Some(accept),
                ..bare(call::Type::Accept)
            },
        );
        Running {
            framework,
            agent,
            agent_id: offer.agent_id,
            task,
        }
    }

    fn decline(&mut self, now: Time, made: Made<mesos::Offer>, refuse: Duration) {
        self.now = self.now.max(now);
        let decline = call::Decline {
            offer_ids: vec![made.offer.id],
            filters: Some(mesos::Filters {
                refuse_seconds: Some(refuse.as_secs_f64()),
            }),
        };
        self.call(
            made.framework,
            Call {
                decline: Some(decline),
                ..bare(call::Type::Decline)
            },
        );
    }

    fn finish(&mut self, now: Time, task: Running) -> usize {
        self.now = self.now.max(now);
        let mut uuid = [1; 16];
        uuid[6] = 0x40;
        let uuid = Bytes::copy_from_slice(&uuid);
        let status = TaskStatus {
            task_id: task.task.clone(),
            state: TaskState::Finished.number(),
            source: Some(Source::Executor as i32),
            agent_id: Some(task.agent_id.clone()),
            timestamp: Some(1.0),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        let update = TaskUpdate {
            framework_id: framework_id(task.framework),
            executor_id: None,
            status,
            latest_state: TaskState::Finished.number(),
        };
        self.tell(task.agent, agent_message::Message::TaskUpdate(update));
        let acknowledge = call::Acknowledge {
            agent_id: task.agent_id,
            task_id: task.task,
            uuid,
        };
        self.call(
            task.framework,
            Call {
                acknowledge: Some(acknowledge),
                ..bare(call::Type::Acknowledge)
            },
        );
        task.agent
    }
}

impl Whole {
    fn is_due(&self) -> bool {
        self.master.next_deadline().is_some_and(|at| at <= self.now)
    }
}
