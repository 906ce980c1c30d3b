//! A cluster that exists only in memory: agents that run what the core launches, a store that keeps what it writes, probes that find what
//! the test says. Time stands still until nothing is left to do, then jumps to the core's next deadline.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by test files that each use a part"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod daemons;
mod offers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use tepui_marathon_core::{
    ApiCall, CheckId, Config, Input, Marathon, Mutation, Origin, Output, ProbeOutcome, ProbeTarget,
    ReadinessAnswer, Record, ReplyToken, Response, Timestamp,
    event::Event,
    view::{Embed, Query, View},
};
use tepui_model::Time;
use tepui_proto::{
    convert::{operation::Conversion, resources::from_wire},
    mesos::{
        AgentId, Attribute, ContainerStatus, NetworkInfo, Resource, TaskId, TaskInfo, TaskState,
        TaskStatus, offer::Operation, task_status::Reason, value,
    },
};

#[path = "../../src/schemas/check.rs"]
mod check;

fn schemas() -> &'static serde_json::Map<String, Value> {
    static ALL: std::sync::OnceLock<serde_json::Map<String, Value>> = std::sync::OnceLock::new();
    ALL.get_or_init(tepui_marathon_core::schemas::all)
}

pub const START: Time = Time::from_secs(1_600_000_000);

/// What a task does after its launch, by the text of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Runs,
    /// Fails as soon as it runs.
    Fails,
    /// Stays in TASK_STAGING.
    Hangs,
}

pub struct Agent {
    pub host: String,
    pub cpus: f64,
    pub attributes: BTreeMap<String, String>,
    pub alive: bool,
    /// What RESERVE, CREATE and their like have made of its resources, in order.
    pub conversions: Vec<Conversion>,
    /// When its machine goes down for maintenance, and when it is back.
    pub window: Option<(Time, Time)>,
}

pub struct Running {
    pub info: TaskInfo,
    pub agent: usize,
    pub state: TaskState,
}

pub struct Cluster {
    pub core: Marathon,
    /// Under which the master knows it.
    pub framework_id: String,
    pub now: Time,
    pub view: View,
    pub store: BTreeMap<String, bytes::Bytes>,
    pub agents: Vec<Agent>,
    pub tasks: BTreeMap<String, Running>,
    pub launched: Vec<TaskInfo>,
    /// Default executors by id: where they are, what they have, which of their tasks have not ended.
    pub executors: BTreeMap<String, (usize, Vec<Resource>, BTreeSet<String>)>,
    pub events: Vec<Event>,
    pub replies: BTreeMap<u64, Response>,
    pub probes: BTreeMap<CheckId, std::sync::Arc<tepui_marathon_core::Probe>>,
    pub measures: BTreeMap<CheckId, std::sync::Arc<tepui_marathon_core::Measure>>,
    /// Probes of tasks whose id contains this text fail.
    pub unhealthy: Option<String>,
    /// What tasks answer whose readiness is asked for.
    pub readiness: u16,
    pub behaviour: BTreeMap<String, Behaviour>,
    pub kills: usize,
    /// Of inverse offers: whether they were accepted, and for how long it is not to be asked again, in milliseconds.
    pub answers: BTreeMap<String, (bool, u64)>,
    pub outputs: Vec<String>,
    pub inputs: VecDeque<Input>,
    /// Offers, by agent.
    offered: BTreeMap<String, usize>,
    suppressed: bool,
    /// Roles in which offers were asked for.
    pub revived: BTreeSet<String>,
    pub offers_due: bool,
    next: u64,
    pub config: Config,
    /// ACCEPT is lost on its way: the master answers with TASK_DROPPED, and nothing else happens.
    pub lose_accepts: bool,
    /// LAUNCH_GROUPs.
    pub groups: Vec<Operation>,
    /// Operations that could not be done.
    pub failed_operations: usize,
    /// Checked after every input.
    pub invariant: Option<fn(&Cluster)>,
}

impl Agent {
    pub fn new(at: usize) -> Self {
        Self {
            host: format!("host{at}"),
            cpus: 8.0,
            attributes: BTreeMap::new(),
            alive: true,
            conversions: Vec::new(),
            window: None,
        }
    }
}

fn attribute(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        r#type: value::Type::Text.into(),
        text: Some(value::Text {
            value: value.to_owned(),
        }),
        ..Attribute::default()
    }
}

impl Cluster {
    pub fn new(agents: usize) -> Self {
        // Time stands still while a call is answered: offers are asked for without pause.
        Self::with(
            agents,
            Config {
                min_revive_offers_interval_ms: 0,
                ..Config::default()
            },
        )
    }

    pub fn with(agents: usize, config: Config) -> Self {
        let mut out = Vec::new();
        let core = Marathon::new(config.clone(), START, Vec::new(), &mut out).unwrap();
        let mut cluster = Self {
            core,
            framework_id: "framework-1".to_owned(),
            now: START,
            view: View::default(),
            store: BTreeMap::new(),
            agents: (0..agents).map(Agent::new).collect(),
            tasks: BTreeMap::new(),
            launched: Vec::new(),
            executors: BTreeMap::new(),
            events: Vec::new(),
            replies: BTreeMap::new(),
            probes: BTreeMap::new(),
            measures: BTreeMap::new(),
            unhealthy: None,
            readiness: 200,
            behaviour: BTreeMap::new(),
            kills: 0,
            answers: BTreeMap::new(),
            outputs: Vec::new(),
            inputs: VecDeque::new(),
            offered: BTreeMap::new(),
            suppressed: false,
            revived: BTreeSet::new(),
            offers_due: false,
            next: 0,
            config,
            lose_accepts: false,
            groups: Vec::new(),
            failed_operations: 0,
            invariant: None,
        };
        cluster.carry_out(out);
        cluster.register();
        cluster.run();
        cluster
    }

    /// Another process takes over from the store.
    pub fn fail_over(&mut self) {
        let records = self
            .store
            .iter()
            .map(|(key, value)| Record {
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        self.config.seed += 1;
        self.inputs.clear();
        self.probes.clear();
        self.measures.clear();
        self.view = View::default();
        let mut out = Vec::new();
        self.core = Marathon::new(self.config.clone(), self.now, records, &mut out).unwrap();
        self.carry_out(out);
        self.register();
    }

    pub fn register(&mut self) {
        self.suppressed = false;
        self.offers_due = true;
        self.inputs.push_back(Input::Registered {
            framework_id: self.framework_id.clone(),
            master: "master".to_owned(),
        });
    }

    /// Sends a call without waiting for what follows.
    pub fn send(&mut self, call: ApiCall) -> u64 {
        self.next += 1;
        self.inputs
            .push_back(Input::Request(ReplyToken(self.next), call));
        self.next
    }

    /// Sends a call and lets everything happen that follows without time passing.
    pub fn call(&mut self, call: ApiCall) -> Response {
        let token = self.send(call);
        self.run();
        self.replies
            .remove(&token)
            .expect("every request is answered")
    }

    pub fn create(&mut self, document: &str) -> Response {
        self.call(ApiCall::CreateApp {
            body: document.to_owned().into(),
            force: false,
            origin: Origin::default(),
        })
    }

    pub fn update(&mut self, id: &str, document: &str) -> Response {
        self.call(update(id, document, false))
    }

    /// So many inputs, at most.
    pub fn run_some(&mut self, inputs: usize) {
        for _ in 0..inputs {
            let Some(input) = self.inputs.pop_front() else {
                return;
            };
            let mut out = Vec::new();
            self.core.step(self.now, input, &mut out);
            self.carry_out(out);
        }
    }

    /// The stream to the master breaks: what was under way from it is lost, and a new one is opened later.
    pub fn disconnect(&mut self) {
        let from_master = |input: &Input| {
            matches!(
                input,
                Input::TaskUpdate(_) | Input::Offers(_) | Input::Registered { .. }
            )
        };
        self.inputs.retain(|input| !from_master(input));
        self.inputs.push_back(Input::Disconnected);
    }

    /// Everything that follows without time passing.
    pub fn run(&mut self) {
        for _ in 0..200_000 {
            if let Some(input) = self.inputs.pop_front() {
                let mut out = Vec::new();
                self.core.step(self.now, input, &mut out);
                self.carry_out(out);
                if let Some(check) = self.invariant {
                    check(self);
                }
            } else if self.offers_due && !self.suppressed {
                self.offers_due = false;
                self.offer();
            } else {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets time pass: at each second every probe reports, and the core gets its ticks.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let end = self.now + std::time::Duration::from_secs(1);
            while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.inputs.push_back(Input::Tick);
                self.run();
            }
            self.now = end;
            self.probe();
            self.run();
        }
    }

    /// Every probe reports once.
    pub fn probe(&mut self) {
        for (check, probe) in &self.probes {
            if let ProbeTarget::Readiness { path, .. } = &probe.target {
                let answer = ReadinessAnswer {
                    status: self.readiness,
                    content_type: "text/plain".to_owned(),
                    body: format!("asked for {path}"),
                };
                let check = *check;
                self.inputs
                    .push_back(Input::ReadinessResult { check, answer });
                continue;
            }
            let sick = self
                .unhealthy
                .as_ref()
                .is_some_and(|text| probe.task_id.contains(text.as_str()));
            let gone = self
                .tasks
                .get(&probe.task_id)
                .is_none_or(|task| task.state != TaskState::TaskRunning);
            let outcome = if sick || gone {
                ProbeOutcome::Unhealthy("503 Service Unavailable".to_owned())
            } else {
                ProbeOutcome::Healthy
            };
            self.inputs.push_back(Input::HealthResult {
                check: *check,
                outcome,
            });
        }
    }

    /// A task changes its state by itself.
    pub fn report(&mut self, task_id: &str, state: TaskState) {
        self.report_because(task_id, state, None);
    }

    pub fn report_because(&mut self, task_id: &str, state: TaskState, reason: Option<Reason>) {
        let agent = self.tasks.get(task_id).map_or(0, |task| task.agent);
        let mut others = BTreeSet::new();
        let terminal = !matches!(
            state,
            TaskState::TaskStaging
                | TaskState::TaskStarting
                | TaskState::TaskRunning
                | TaskState::TaskKilling
                | TaskState::TaskUnreachable
        );
        if terminal {
            self.tasks.remove(task_id);
            self.offers_due = true;
            for (_, _, tasks) in self.executors.values_mut() {
                if tasks.remove(task_id) && state != TaskState::TaskFinished {
                    // The executor ends all when one has failed.
                    others.append(tasks);
                }
            }
            self.executors.retain(|_, (_, _, tasks)| !tasks.is_empty());
        } else if let Some(task) = self.tasks.get_mut(task_id) {
            task.state = state;
        }
        self.next += 1;
        let status = TaskStatus {
            task_id: TaskId {
                value: task_id.to_owned(),
            },
            state: state.into(),
            reason: reason.map(Into::into),
            agent_id: Some(AgentId {
                value: format!("agent{agent}"),
            }),
            uuid: Some(self.next.to_be_bytes().to_vec().into()),
            message: Some(format!("{task_id} is {}", state.as_str_name())),
            ..TaskStatus::default()
        };
        self.inputs.push_back(Input::TaskUpdate(Box::new(status)));
        for other in others {
            self.report(&other, TaskState::TaskKilled);
        }
    }

    /// The executor of a running task says how its health check went.
    pub fn report_health(&mut self, task_id: &str, healthy: bool) {
        self.report(task_id, TaskState::TaskRunning);
        if let Some(Input::TaskUpdate(status)) = self.inputs.back_mut() {
            status.healthy = Some(healthy);
        }
    }

    /// A running task's container is on these networks.
    pub fn report_networks(&mut self, task_id: &str, network_infos: Vec<NetworkInfo>) {
        self.report(task_id, TaskState::TaskRunning);
        if let Some(Input::TaskUpdate(status)) = self.inputs.back_mut() {
            status.container_status = Some(ContainerStatus {
                network_infos,
                ..ContainerStatus::default()
            });
        }
    }

    pub fn push(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    pub fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Reply(token, response) => {
                    assert!(
                        self.replies.insert(token.0, response).is_none(),
                        "a request is answered once"
                    );
                }
                Output::Store {
                    sequence,
                    mutations,
                } => {
                    for mutation in mutations {
                        match mutation {
                            Mutation::Put { key, value } => self.store.insert(key, value),
                            Mutation::Delete { key } => self.store.remove(&key),
                        };
                    }
                    self.inputs.push_back(Input::Stored { sequence });
                }
                Output::Accept {
                    offer_ids,
                    operations,
                    tasks,
                } => {
                    self.outputs.push(format!("accept {}", tasks.len()));
                    assert_eq!(offer_ids.len(), 1);
                    self.offers_due = true;
                    let at = self.offered[&offer_ids[0]];
                    if self.lose_accepts {
                        let groups = operations
                            .iter()
                            .filter_map(|one| one.launch_group.as_ref());
                        for task in groups.flat_map(|group| &group.task_group.tasks) {
                            self.report(&task.task_id.value, TaskState::TaskDropped);
                        }
                    } else {
                        for operation in &operations {
                            self.operate(at, operation);
                        }
                    }
                    for info in tasks {
                        self.launch(info);
                    }
                }
                Output::Decline { .. } => self.outputs.push("decline".to_owned()),
                Output::Kill { task_id, .. } => {
                    self.kills += 1;
                    if self
                        .tasks
                        .get(&task_id)
                        .is_some_and(|task| self.agents[task.agent].alive)
                    {
                        self.report(&task_id, TaskState::TaskKilled);
                    }
                }
                Output::Revive { roles } => {
                    self.revived.extend(roles);
                    self.outputs.push("revive".to_owned());
                    self.suppressed = false;
                    self.offers_due = true;
                }
                Output::AnswerInverseOffers {
                    offer_ids,
                    accepted,
                    refuse_ms,
                } => {
                    let answers = offer_ids.into_iter().map(|id| (id, (accepted, refuse_ms)));
                    self.answers.extend(answers);
                }
                Output::Suppress { .. } => {
                    self.outputs.push("suppress".to_owned());
                    self.suppressed = true;
                }
                Output::Reconcile { tasks } => {
                    for (id, _) in tasks {
                        let state = self
                            .tasks
                            .get(&id)
                            .map_or(TaskState::TaskGone, |task| task.state);
                        self.report_because(&id, state, Some(Reason::Reconciliation));
                    }
                }
                Output::Acknowledge { .. } => {}
                Output::StartHealthCheck(probe) => {
                    self.probes.insert(probe.check, probe);
                }
                Output::StopHealthCheck(check) => {
                    self.probes.remove(&check);
                }
                Output::StartMeasure(measure) => {
                    self.measures.insert(measure.check, measure);
                }
                Output::StopMeasure(check) => {
                    self.measures.remove(&check);
                }
                Output::Event(event) => {
                    let shown = serde_json::from_str(&event.to_json()).unwrap();
                    let fault = check::fault_of(&shown, "Event", schemas());
                    assert_eq!(fault, None, "{shown}");
                    self.events.push(event);
                }
                Output::Change(change) => self.view.apply(change),
            }
        }
    }

    fn launch(&mut self, info: TaskInfo) {
        let id = info.task_id.value.clone();
        let agent: usize = info
            .agent_id
            .value
            .trim_start_matches("agent")
            .parse()
            .unwrap();
        self.launched.push(info.clone());
        let command = info
            .command
            .as_ref()
            .and_then(|command| command.value.clone())
            .unwrap_or_default();
        let behaviour = self
            .behaviour
            .iter()
            .find(|(text, _)| command.contains(text.as_str()))
            .map(|(_, behaviour)| *behaviour);
        let wanted = from_wire(&info.resources).unwrap().unallocated();
        if self.lose_accepts || !self.free(agent).contains(&wanted) {
            self.report(
                &id,
                if self.lose_accepts {
                    TaskState::TaskDropped
                } else {
                    TaskState::TaskError
                },
            );
            return;
        }
        for volume in volumes(&info) {
            let others = self.tasks.values().flat_map(|task| volumes(&task.info));
            assert!(
                !others.into_iter().any(|other| other == volume),
                "two tasks on volume {volume}"
            );
        }
        let running = Running {
            info,
            agent,
            state: TaskState::TaskStaging,
        };
        assert!(
            self.tasks.insert(id.clone(), running).is_none(),
            "{id} is launched once"
        );
        self.report(&id, TaskState::TaskStarting);
        match behaviour.unwrap_or(Behaviour::Runs) {
            Behaviour::Hangs => {}
            Behaviour::Runs => self.report(&id, TaskState::TaskRunning),
            Behaviour::Fails => {
                self.report(&id, TaskState::TaskRunning);
                self.report(&id, TaskState::TaskFailed);
            }
        }
    }

    pub fn get(&self, query: &Query) -> (u16, Value) {
        let response = self
            .view
            .select(query)
            .render(Timestamp::from_time(self.now));
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap(),
        )
    }

    /// The app as `GET /v2/apps/{id}` shows it.
    pub fn app(&self, id: &str) -> Value {
        self.get(&Query::App {
            id: id.to_owned(),
            embed: Embed::default(),
        })
        .1["app"]
            .take()
    }

    pub fn deployments(&self) -> Value {
        self.get(&Query::Deployments).1
    }

    /// Ids of the tasks that run, of one app.
    pub fn running(&self, id: &str) -> Vec<String> {
        let prefix = format!("{}.", id.trim_start_matches('/').replace('/', "_"));
        let running = self.tasks.iter().filter(|(task, running)| {
            task.starts_with(&prefix) && running.state == TaskState::TaskRunning
        });
        running.map(|(task, _)| task.clone()).collect()
    }

    pub fn event_types(&self) -> Vec<&'static str> {
        self.events.iter().map(Event::event_type).collect()
    }
}

/// What is wrong with a document of this type.
pub fn fault_of(document: &Value, name: &str) -> Option<String> {
    check::fault_of(document, name, schemas())
}

/// Ids of the persistent volumes of a task.
pub fn volumes(info: &TaskInfo) -> Vec<String> {
    let disks = info.resources.iter().filter_map(|one| one.disk.as_ref());
    let volumes = disks.filter_map(|disk| disk.persistence.as_ref());
    volumes.map(|one| one.id.clone()).collect()
}

/// The ordinal that a task was told.
pub fn ordinal(info: &TaskInfo) -> Option<u32> {
    let environment = info.command.as_ref()?.environment.as_ref()?;
    let mut variables = environment.variables.iter();
    let told = variables.find(|one| one.name == "TEPUI_INSTANCE_ORDINAL")?;
    told.value().parse().ok()
}

pub fn update(id: &str, document: &str, force: bool) -> ApiCall {
    let (id, body) = (id.to_owned(), document.to_owned().into());
    ApiCall::UpdateApp {
        id,
        body,
        force,
        partial: true,
        create: true,
        origin: Origin::default(),
    }
}

pub fn delete(id: &str) -> ApiCall {
    ApiCall::DeleteApp {
        id: id.to_owned(),
        force: true,
    }
}

pub fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}
