//! The core alone: tasks launched, run, finished and acknowledged a second, through its one entrance, with the batches that a busy shell
//! makes. `cargo bench -p tepui-master-core`.

use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tepui_master_core::{CallOrigin, Config, Input, LinkKey, Master, Output, Registry, StreamKey};
use tepui_model::{Resources, TaskState, Time};
use tepui_proto::convert::{master_info, resources};
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::scheduler::{Call, call};
use tepui_proto::mesos::task_status::Source;
use tepui_proto::mesos::{self, TaskStatus};
use tepui_proto::tepui::v1::{AgentMessage, Register, TaskUpdate, agent_message, master_message};

/// Tasks of one measurement.
const TASKS: usize = 10_000;
const STREAM: StreamKey = StreamKey(0);

/// A core with agents and one framework, and what it said last.
struct Load {
    master: Master,
    now: Time,
    out: Vec<Output>,
    task_resources: Vec<mesos::Resource>,
    offers: Vec<mesos::Offer>,
    runs: Vec<(LinkKey, mesos::AgentId, mesos::TaskId)>,
    updates: Vec<TaskStatus>,
    launched: usize,
    finished: usize,
    framework: mesos::FrameworkId,
}

impl Load {
    fn new(agents: u64) -> Self {
        let info = master_info::new("m", [127, 0, 0, 1].into(), 5050, "localhost", "1.11.0");
        let config = Config {
            crumb_delay: Duration::ZERO,
            ..Config::new(info, 1, 1)
        };
        let now = Time::from_secs(1_000);
        let task: Resources = "cpus:1;mem:32".parse().expect("resources");
        let mut load = Self {
            master: Master::new(config, Registry::default(), now),
            now,
            out: Vec::new(),
            task_resources: resources::to_wire(&task, resources::Encoding::Stack),
            offers: Vec::new(),
            runs: Vec::new(),
            updates: Vec::new(),
            launched: 0,
            finished: 0,
            framework: mesos::FrameworkId {
                value: "m-0000".to_owned(),
            },
        };
        let subscribe = call::Subscribe {
            framework_info: mesos::FrameworkInfo {
                user: "u".to_owned(),
                name: "load".to_owned(),
                ..Default::default()
            },
            ..Default::default()
        };
        let call = Call {
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(Box::new(subscribe)),
            ..Call::default()
        };
        load.step(Input::Subscribe {
            stream: STREAM,
            http_stream_id: None,
            call: Box::new(call),
            principal: None,
            reply: None,
        });
        let total: Resources = "cpus:10;mem:10000;disk:10000;ports:[31000-32000]"
            .parse()
            .expect("resources");
        for agent in 0..agents {
            let link = LinkKey(agent);
            load.step(Input::LinkOpened {
                link,
                peer: "127.0.0.1:1".into(),
            });
            let register = Register {
                protocol: 1,
                version: "0".to_owned(),
                agent: mesos::AgentInfo {
                    hostname: format!("host-{agent}"),
                    resources: resources::to_wire(&total, resources::Encoding::Stack),
                    ..Default::default()
                },
                ..Register::default()
            };
            load.step(messages(
                link,
                vec![agent_message::Message::Register(Box::new(register))],
            ));
        }
        load.step(Input::Flush);
        load
    }

    fn step(&mut self, input: Input) {
        self.master.step(self.now, input, &mut self.out);
        // What the core says goes to its readers at once, as a shell would do with it.
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Event { event, .. } => {
                    if let Some(offers) = event.offers {
                        self.offers.extend(offers.offers);
                    } else if let Some(update) = event.update {
                        self.updates.push(update.status);
                    }
                }
                Output::ToAgent { link, message } => {
                    if let Some(master_message::Message::RunTask(run)) = message.message {
                        self.runs.push((link, run.task.agent_id, run.task.task_id));
                    }
                }
                Output::Store { sequence, .. } => self.step(Input::Stored {
                    sequence,
                    result: Ok(()),
                }),
                _ => {}
            }
        }
    }

    fn call(&mut self, call: Call) {
        let call = Call {
            framework_id: Some(self.framework.clone()),
            ..call
        };
        self.step(Input::Call {
            origin: CallOrigin::Stream(STREAM),
            call: Box::new(call),
            principal: None,
            reply: None,
        });
    }

    fn task(&mut self, agent: &mesos::AgentId) -> mesos::TaskInfo {
        self.launched += 1;
        mesos::TaskInfo {
            name: "task".to_owned(),
            task_id: mesos::TaskId {
                value: format!("task-{}", self.launched),
            },
            agent_id: agent.clone(),
            resources: self.task_resources.clone(),
            command: Some(mesos::CommandInfo {
                value: Some("true".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Fill every offer.
    fn accept(&mut self, tasks: usize) {
        for offer in std::mem::take(&mut self.offers) {
            let cpus = offer
                .resources
                .iter()
                .find(|resource| resource.name == "cpus")
                .and_then(|cpus| cpus.scalar.as_ref());
            let room = cpus
                .map_or(0, |cpus| cpus.value as usize)
                .min(tasks - self.launched);
            let task_infos = (0..room).map(|_| self.task(&offer.agent_id)).collect();
            let operation = Operation {
                r#type: Some(operation::Type::Launch as i32),
                launch: Some(operation::Launch { task_infos }),
                ..Default::default()
            };
            let accept = call::Accept {
                offer_ids: vec![offer.id],
                operations: vec![operation],
                filters: None,
            };
            self.call(Call {
                r#type: Some(call::Type::Accept as i32),
                accept: Some(accept),
                ..Call::default()
            });
        }
        self.step(Input::Flush);
    }

    /// Agents tell of tasks that run and end.
    fn run(&mut self) {
        for (link, agent, task) in std::mem::take(&mut self.runs) {
            for (state, number) in [(TaskState::Running, 1_u8), (TaskState::Finished, 2)] {
                let mut uuid = [number; 16];
                uuid[6] = 0x40;
                let status = TaskStatus {
                    task_id: task.clone(),
                    state: state.number(),
                    source: Some(Source::Executor as i32),
                    agent_id: Some(agent.clone()),
                    timestamp: Some(1.0),
                    uuid: Some(Bytes::copy_from_slice(&uuid)),
                    ..Default::default()
                };
                let update = TaskUpdate {
                    framework_id: self.framework.clone(),
                    executor_id: None,
                    status,
                    latest_state: state.number(),
                };
                self.step(messages(
                    link,
                    vec![agent_message::Message::TaskUpdate(update)],
                ));
            }
        }
        self.step(Input::Flush);
    }

    fn acknowledge(&mut self) {
        for status in std::mem::take(&mut self.updates) {
            self.finished += usize::from(status.state == TaskState::Finished.number());
            let (Some(agent_id), Some(uuid)) = (status.agent_id, status.uuid) else {
                continue;
            };
            let acknowledge = call::Acknowledge {
                agent_id,
                task_id: status.task_id,
                uuid,
            };
            self.call(Call {
                r#type: Some(call::Type::Acknowledge as i32),
                acknowledge: Some(acknowledge),
                ..Call::default()
            });
        }
        self.step(Input::Flush);
    }
}

fn messages(link: LinkKey, messages: Vec<agent_message::Message>) -> Input {
    let messages = messages
        .into_iter()
        .map(|message| AgentMessage {
            message: Some(message),
        })
        .collect();
    Input::AgentMessages { link, messages }
}

fn launch_and_finish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("launch_and_finish");
    group
        .throughput(Throughput::Elements(TASKS as u64))
        .sample_size(10);
    for agents in [100, 1_000] {
        group.bench_function(format!("{agents}_agents"), |bencher| {
            bencher.iter_batched(
                || Load::new(agents),
                |mut load| {
                    while load.finished < TASKS {
                        load.accept(TASKS);
                        load.run();
                        load.acknowledge();
                        load.now += Duration::from_millis(10);
                    }
                    load
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, launch_and_finish);
criterion_main!(benches);
