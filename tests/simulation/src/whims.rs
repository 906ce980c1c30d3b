//! What schedulers do: they launch, decline, kill, suppress, revive and reconcile as they please.

use tepui_model::TaskState;
use tepui_proto::mesos::offer::{Operation, operation};
use tepui_proto::mesos::scheduler::Call;
use tepui_proto::mesos::scheduler::call::{self, Type, reconcile};
use tepui_proto::mesos::value::{Scalar, Type as ValueType};
use tepui_proto::mesos::{AgentId, CommandInfo, Filters, Offer, Resource, TaskId, TaskInfo};

use crate::frameworks::{Job, call};
use crate::lending::is_lent;
use crate::operations::is_plain;
use crate::world::{Happening, Phase, Simulation};

pub(crate) fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: ValueType::Scalar as i32,
        scalar: Some(Scalar { value }),
        ..Resource::default()
    }
}

fn amount(resources: &[Resource], name: &str) -> f64 {
    resources
        .iter()
        .filter(|resource| resource.name == name && is_plain(resource))
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum()
}

impl Simulation {
    pub(crate) fn decide(&mut self, framework: usize, life: u32, offer: &str) {
        let scheduler = &mut self.schedulers[framework];
        if scheduler.life != life || !scheduler.alive {
            return;
        }
        let Some(offer) = scheduler.offers.remove(offer) else {
            return;
        };
        let room = self
            .scenario
            .tasks_per_framework
            .saturating_sub(self.schedulers[framework].jobs.len());
        let offer_ids = vec![offer.id.clone()];
        if !self.trouble() || room == 0 || self.random.percent(25) {
            let refuse_seconds = Some([0.0, 0.5, 5.0, 60.0][self.random.below(4)]);
            let decline = call::Decline {
                offer_ids,
                filters: Some(Filters { refuse_seconds }),
            };
            return self.say(
                framework,
                Call {
                    decline: Some(decline),
                    ..call(Type::Decline)
                },
            );
        }
        let (mut operations, left) = self.plan_operations(framework, &offer);
        let tasks = self.plan(framework, &offer, &left, room);
        let role = offer.allocation_info.and_then(|info| info.role);
        let operation = if !tasks.is_empty() && self.random.percent(self.scenario.groups_percent) {
            self.group(framework, role.as_deref().unwrap_or("*"), tasks)
        } else {
            let launch = operation::Launch { task_infos: tasks };
            Operation {
                r#type: Some(operation::Type::Launch as i32),
                launch: Some(launch),
                ..Operation::default()
            }
        };
        let filters = Some(Filters {
            refuse_seconds: Some([0.0, 1.0][self.random.below(2)]),
        });
        operations.push(operation);
        let accept = call::Accept {
            offer_ids,
            operations,
            filters,
        };
        self.say(
            framework,
            Call {
                accept: Some(accept),
                ..call(Type::Accept)
            },
        );
    }

    /// Tasks for an offer. A scheduler writes down what it launches before it says so.
    fn plan(
        &mut self,
        framework: usize,
        offer: &Offer,
        left: &[Resource],
        room: usize,
    ) -> Vec<TaskInfo> {
        let (mut cpus, mut mem) = (amount(left, "cpus"), amount(left, "mem"));
        // What is reserved, and volumes, go to the first task; shared ones to several.
        let mut own: Vec<Resource> = left
            .iter()
            .filter(|resource| !is_plain(resource) && self.random.percent(70))
            .map(|resource| Resource {
                allocation_info: None,
                ..resource.clone()
            })
            .collect();
        let shared: Vec<Resource> = own
            .iter()
            .filter(|it| it.shared.is_some())
            .cloned()
            .collect();
        let mut tasks: Vec<TaskInfo> = Vec::new();
        // Now and then it wants more than there is.
        let greedy = self.random.percent(3);
        for _ in 0..(1 + self.random.below(4)).min(room) {
            let wanted_cpus = [0.1, 0.25, 0.5, 1.0, 2.0][self.random.below(5)];
            let wanted_mem = [32.0, 64.0, 128.0, 256.0][self.random.below(4)];
            if !greedy && (wanted_cpus > cpus + 1e-9 || wanted_mem > mem + 1e-9) {
                continue;
            }
            cpus -= wanted_cpus;
            mem -= wanted_mem;
            let jobs = &mut self.schedulers[framework].jobs;
            let id = format!("f{framework}-t{}", jobs.len());
            let agent = offer.agent_id.value.clone();
            jobs.insert(
                id.clone(),
                Job {
                    agent,
                    state: TaskState::Staging,
                    ended: None,
                    since: self.now,
                },
            );
            if !tasks.is_empty() && self.random.percent(50) {
                own.extend(shared.iter().cloned());
            }
            // Of one name a task has either what is lent or its own.
            let cpus = (!is_lent(&own)).then(|| scalar("cpus", wanted_cpus));
            tasks.push(TaskInfo {
                name: "task".to_owned(),
                task_id: TaskId { value: id },
                agent_id: offer.agent_id.clone(),
                resources: cpus
                    .into_iter()
                    .chain([scalar("mem", wanted_mem)])
                    .chain(own.drain(..))
                    .collect(),
                command: Some(CommandInfo {
                    value: Some("work".to_owned()),
                    ..CommandInfo::default()
                }),
                ..TaskInfo::default()
            });
        }
        tasks
    }

    /// Whatever a scheduler does of its own accord.
    pub(crate) fn whim(&mut self, framework: usize, life: u32) {
        let scheduler = &self.schedulers[framework];
        if scheduler.life != life || !scheduler.alive {
            return;
        }
        let pause = if self.trouble() { 4_000 } else { 20_000 };
        self.after(100, pause, Happening::Whim { framework, life });
        if self.trouble() && self.random.percent(self.scenario.updates_percent) {
            return self.change_wishes(framework);
        }
        match self.phase {
            Phase::Trouble => match self.random.below(6) {
                0 | 1 => self.kill_some(framework),
                2 => self.say(framework, call(Type::Suppress)),
                3 | 4 => self.say(framework, call(Type::Revive)),
                _ => {
                    self.reconcile_all(framework);
                    self.reconcile_operations(framework);
                }
            },
            Phase::Peace => {
                self.reconcile_all(framework);
                self.reconcile_operations(framework);
            }
            Phase::Mended | Phase::End => {
                for task in self.open_jobs(framework) {
                    self.kill(framework, task);
                }
                self.reconcile_all(framework);
                self.reconcile_operations(framework);
            }
        }
    }

    fn open_jobs(&self, framework: usize) -> Vec<String> {
        let jobs = &self.schedulers[framework].jobs;
        jobs.iter()
            .filter(|(_, job)| {
                job.ended.is_none()
                    && !job.state.is_terminal()
                    && !matches!(job.state, TaskState::Unknown)
            })
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn kill_some(&mut self, framework: usize) {
        let open = self.open_jobs(framework);
        if let Some(task) = open.get(self.random.below(open.len())).cloned() {
            self.kill(framework, task);
        }
    }

    fn kill(&mut self, framework: usize, task: String) {
        let Some(job) = self.schedulers[framework].jobs.get(&task) else {
            return;
        };
        let agent_id = self.random.percent(50).then(|| AgentId {
            value: job.agent.clone(),
        });
        let kill = call::Kill {
            task_id: TaskId { value: task },
            agent_id,
            kill_policy: None,
        };
        self.say(
            framework,
            Call {
                kill: Some(kill),
                ..call(Type::Kill)
            },
        );
    }

    /// Asks about every task whose end no agent has told, and whether there are others.
    pub(crate) fn reconcile_all(&mut self, framework: usize) {
        self.say(
            framework,
            Call {
                reconcile: Some(call::Reconcile::default()),
                ..call(Type::Reconcile)
            },
        );
        let long = std::time::Duration::from_secs(1);
        let tasks: Vec<reconcile::Task> = self.schedulers[framework]
            .jobs
            .iter()
            .filter(|(_, job)| job.ended.is_none() && job.since + long <= self.now)
            .map(|(id, job)| reconcile::Task {
                task_id: TaskId { value: id.clone() },
                agent_id: Some(AgentId {
                    value: job.agent.clone(),
                }),
            })
            .collect();
        if !tasks.is_empty() {
            self.say(
                framework,
                Call {
                    reconcile: Some(call::Reconcile { tasks }),
                    ..call(Type::Reconcile)
                },
            );
        }
    }
}
