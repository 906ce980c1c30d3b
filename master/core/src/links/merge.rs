//! The agent's truth wins. What it told at registration replaces what the master believed: its tasks are added or brought up to date,
//! and it is asked about those that it did not name. Whatever was sent on an older stream and is not in the registration did not
//! arrive, so pending kills are sent again.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_model::{AgentId, ExecutorId, FrameworkId, Resources, Role, TaskId, TaskState};
use tepui_proto::convert::resources;
use tepui_proto::mesos::agent_info::capability::Type as Capability;
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::mesos::{self, FrameworkInfo};
use tepui_proto::tepui::v1::{
    self, ReconcileTasks, Register, RunningExecutor, TaskKey as WireTaskKey, master_message,
};

use crate::allocation::agent_options;
use crate::calls::subscribe::Wishes;
use crate::change::{Change, TaskKey, TaskList};
use crate::events;
use crate::facts::{KeptStatus, TaskFacts};
use crate::input::LinkKey;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{
    Agent, AgentIx, Connection, Executor, FrameworkIx, Health, IndexMap, IndexSet, Orders, Task,
    TaskIx,
};
use crate::validate::agent::total_resources;
use crate::validate::framework::framework_roles;

impl Master {
    pub(super) fn merge(
        &mut self,
        link: LinkKey,
        peer: Arc<str>,
        id: &AgentId,
        orders: Orders,
        mut register: Register,
        out: &mut Vec<Output>,
    ) -> AgentIx {
        let frameworks = std::mem::take(&mut register.frameworks);
        let executors = std::mem::take(&mut register.executors);
        let tasks = std::mem::take(&mut register.tasks);
        let operations = std::mem::take(&mut register.operations);
        let returns = register.agent.id.is_some();
        // Frameworks ask about the tasks of agents that a new leader is waiting for; of others they hear.
        let unexpected = !self.agent_ids.contains_key(id) && !self.recovered.contains_key(id);
        let agent = match self.agent_ids.get(id).copied() {
            Some(agent) => {
                self.agents[agent].orders = orders;
                self.renew_agent(agent, link, peer, register, out);
                agent
            }
            None => self.new_agent(link, peer, id, orders, register),
        };
        if returns {
            self.counters.slave_reregistrations += 1;
        } else {
            self.counters.slave_registrations += 1;
        }
        self.note_unavailability(agent);
        let removed = self.merge_frameworks(agent, frameworks, out);
        self.merge_executors(agent, executors, out);
        let listed = self.merge_tasks(agent, tasks, unexpected, out);
        self.ask_about_missing(agent, &listed, out);
        self.merge_operations(agent, operations, out);
        for framework in removed {
            let shutdown = v1::ShutdownFramework {
                framework_id: events::framework_id(&framework),
            };
            self.to_agent(
                agent,
                master_message::Message::ShutdownFramework(shutdown),
                out,
            );
        }
        self.allocation_agent_active(agent);
        if std::mem::replace(&mut self.agents[agent].dirty, false) {
            self.dirty_agents.retain(|dirty| *dirty != agent);
        }
        out.push(Output::Change(Change::AgentAdded(
            self.agents[agent].snapshot(),
        )));
        agent
    }

    fn new_agent(
        &mut self,
        link: LinkKey,
        peer: Arc<str>,
        id: &AgentId,
        orders: Orders,
        register: Register,
    ) -> AgentIx {
        let returned = self.recovered.swap_remove(id).is_some() || register.agent.id.is_some();
        let total = total_resources(&register).unwrap_or_default();
        let info = mesos::AgentInfo {
            id: Some(events::agent_id(id)),
            ..register.agent
        };
        let multi_role = has_multi_role(&register.capabilities);
        let handle = self.allocation_agent_added(&agent_options(
            &total,
            &info,
            multi_role,
            &self.config.master,
        ));
        let hash = self.completed_frameworks.hasher().clone();
        let agent = self.agents.insert(Agent {
            id: id.clone(),
            handle,
            info: Arc::new(info),
            version: register.version.into(),
            peer,
            incarnation: register.incarnation,
            resource_version: register.resource_version,
            capabilities: register.capabilities.into(),
            multi_role,
            link: Some(link),
            orders,
            unavailability: None,
            total: Arc::new(total),
            allocated: Resources::new(),
            offered: Resources::new(),
            tasks: Vec::new(),
            executors: IndexMap::with_hasher(hash.clone()),
            frameworks: IndexSet::with_hasher(hash),
            offers: BTreeSet::new(),
            health: Health::default(),
            registered_at: self.now,
            reregistered_at: returned.then_some(self.now),
            counted_active: false,
            dirty: false,
        });
        self.agent_ids.insert(id.clone(), agent);
        self.note_address(agent);
        self.allocation_agent_known(handle, agent);
        self.counters.slaves_connected += 1;
        agent
    }

    /// The agent was registered: its older stream, if there is one, ends.
    fn renew_agent(
        &mut self,
        agent: AgentIx,
        link: LinkKey,
        peer: Arc<str>,
        register: Register,
        out: &mut Vec<Output>,
    ) {
        if let Some(old) = self.agents[agent].link {
            self.close_link(old, "a newer stream of its agent has come".to_owned(), out);
        }
        let total = total_resources(&register).unwrap_or_default();
        let multi_role = has_multi_role(&register.capabilities);
        let known = &mut self.agents[agent];
        let info = mesos::AgentInfo {
            id: known.info.id.clone(),
            ..register.agent
        };
        let how = if known.incarnation == register.incarnation {
            "reconnected"
        } else {
            "restarted"
        };
        log(LogLevel::Info, format!("agent {} has {how}", known.id), out);
        let new_look = info.attributes != known.info.attributes;
        known.info = Arc::new(info);
        known.version = register.version.into();
        known.peer = peer;
        known.incarnation = register.incarnation;
        known.resource_version = register.resource_version;
        known.capabilities = register.capabilities.into();
        known.multi_role = multi_role;
        known.link = Some(link);
        known.total = Arc::new(total);
        known.reregistered_at = Some(self.now);
        let options = agent_options(&known.total, &known.info, multi_role, &self.config.master);
        self.allocation_agent_changed(agent, &options);
        if new_look {
            self.allocation_forget_refusals(agent);
        }
        self.counters.slaves_connected += 1;
        self.counters.slaves_disconnected -= 1;
    }

    /// Frameworks that are not known are recovered from what the agent has of them. Returns those that were removed.
    fn merge_frameworks(
        &mut self,
        agent: AgentIx,
        frameworks: Vec<FrameworkInfo>,
        out: &mut Vec<Output>,
    ) -> Vec<FrameworkId> {
        let mut removed = Vec::new();
        for info in frameworks {
            let Some(Ok(id)) = info.id.as_ref().map(FrameworkId::try_from) else {
                continue;
            };
            if self.completed_frameworks.contains(&id) {
                removed.push(id);
                continue;
            }
            let known = self.framework_ids.get(&id).copied();
            if known.is_none() && self.frameworks.len() >= self.config.max_frameworks {
                continue;
            }
            let wishes = |info| Wishes {
                roles: framework_roles(&info, &self.config).unwrap_or_default(),
                info,
                suppressed: BTreeSet::new(),
                constraints: None,
            };
            let framework = match known {
                // Another agent knew only its id.
                Some(framework) if self.frameworks[framework].is_bare() => {
                    let wishes = wishes(info);
                    self.set_wishes(framework, wishes, out);
                    let snapshot = self.frameworks[framework].snapshot(None);
                    out.push(Output::Change(Change::FrameworkUpdated {
                        framework: snapshot,
                        resubscribed: false,
                    }));
                    framework
                }
                Some(framework) => framework,
                None => {
                    let wishes = wishes(info);
                    let framework = self.add_framework(id, wishes, Connection::Recovered);
                    let snapshot = self.frameworks[framework].snapshot(None);
                    out.push(Output::Change(Change::FrameworkAdded(snapshot)));
                    framework
                }
            };
            self.presence(framework, agent);
        }
        removed
    }

    fn merge_executors(
        &mut self,
        agent: AgentIx,
        executors: Vec<RunningExecutor>,
        out: &mut Vec<Output>,
    ) {
        let mut listed = BTreeSet::new();
        for RunningExecutor {
            framework_id,
            executor: info,
        } in executors
        {
            let framework = self.framework_ids.get(framework_id.value.as_str()).copied();
            let (Some(framework), Ok(id)) = (framework, ExecutorId::try_from(&info.executor_id))
            else {
                continue;
            };
            let key = (framework, id);
            if !listed.insert(key.clone()) || self.agents[agent].executors.contains_key(&key) {
                continue;
            }
            let (role, mut resources) = held(&info.resources);
            // A port that is used already counts once, for who has it: what is freed twice would be offered while it is used.
            resources.subtract_items(&self.agents[agent].allocated);
            self.hold(agent, framework, &role, &resources);
            let executor = Executor {
                info: Arc::new(info),
                resources,
                role,
            };
            self.add_executor(framework, agent, key.1, executor, out);
        }
        let gone: Vec<_> = self.agents[agent]
            .executors
            .keys()
            .filter(|key| !listed.contains(key))
            .cloned()
            .collect();
        for (framework, id) in gone {
            self.remove_executor(agent, framework, &id, out);
        }
    }

    /// Returns the tasks that the agent has.
    fn merge_tasks(
        &mut self,
        agent: AgentIx,
        tasks: Vec<v1::RunningTask>,
        unexpected: bool,
        out: &mut Vec<Output>,
    ) -> BTreeSet<TaskIx> {
        let mut listed = BTreeSet::new();
        for v1::RunningTask { task } in tasks {
            let framework = self
                .framework_ids
                .get(task.framework_id.value.as_str())
                .copied();
            let (Some(framework), Ok(id), Some(state)) = (
                framework,
                TaskId::try_from(&task.task_id),
                TaskState::from_number(task.state),
            ) else {
                self.counters.dropped_messages += 1;
                continue;
            };
            let merged = match self.frameworks[framework].tasks.get(&id).copied() {
                Some(same) if self.tasks[same].agent == agent => {
                    self.catch_up(same, &task, state, out);
                    same
                }
                Some(other) => {
                    let (here, there) = (
                        &self.agents[agent].id,
                        &self.agents[self.tasks[other].agent].id,
                    );
                    log(
                        LogLevel::Warn,
                        format!(
                            "task {id} runs on agent {there}, and agent {here} has one of that id too"
                        ),
                        out,
                    );
                    continue;
                }
                None => self.returned_task(framework, agent, id, task, state, unexpected, out),
            };
            listed.insert(merged);
        }
        listed
    }

    /// Bring a known task up to date, and repeat a kill that it has pending.
    fn catch_up(
        &mut self,
        task: TaskIx,
        told: &mesos::Task,
        state: TaskState,
        out: &mut Vec<Output>,
    ) {
        if self.tasks[task].state != state {
            let status = told
                .statuses
                .last()
                .cloned()
                .map(|status| mesos::TaskStatus {
                    data: None,
                    ..status
                });
            let status = status.unwrap_or_else(|| self.reregistered_status(told, state));
            self.apply_status(task, status, state, out);
        }
        if !self.tasks[task].state.is_terminal() {
            self.send_kill(task, out);
        }
    }

    /// A task that was not in the active list: of an agent that was out of reach, or that a new leader has not met yet.
    #[allow(clippy::too_many_arguments)]
    fn returned_task(
        &mut self,
        framework: FrameworkIx,
        agent: AgentIx,
        id: TaskId,
        told: mesos::Task,
        state: TaskState,
        unexpected: bool,
        out: &mut Vec<Output>,
    ) -> TaskIx {
        let (role, mut resources) = held(&told.resources);
        if state.is_terminal() {
            resources = Resources::new();
        }
        resources.subtract_items(&self.agents[agent].allocated);
        self.hold(agent, framework, &role, &resources);
        let was_lost = self.frameworks[framework].unreachable.shift_remove(&id);
        if was_lost.is_some() {
            self.counters.tasks_unreachable -= 1;
        }
        let key = was_lost
            .as_ref()
            .map_or(TaskKey(self.next_task), |lost| lost.key);
        if was_lost.is_none() {
            self.next_task += 1;
        }
        let mut told = told;
        told.agent_id = events::agent_id(&self.agents[agent].id);
        let status = self.reregistered_status(&told, state);
        let told_statuses = std::mem::take(&mut told.statuses);
        let resources_told = std::mem::take(&mut told.resources);
        let facts = TaskFacts::new(
            id.clone(),
            self.frameworks[framework].id.clone(),
            self.agents[agent].id.clone(),
            self.alike.share(resources_told),
            told,
        );
        let statuses = told_statuses
            .iter()
            .map(|status| KeptStatus::new(status, &facts))
            .collect();
        let task = Task {
            key,
            framework,
            agent,
            slot: 0,
            state,
            statuses,
            status_update_state: None,
            status_update_uuid: None,
            role,
            resources,
            kill: None,
            facts: Arc::new(facts),
        };
        let task = self.add_task(id, task);
        let snapshot = Arc::new(self.tasks[task].snapshot(TaskList::Active));
        out.push(Output::Change(match was_lost {
            Some(_) => Change::TaskUpdated {
                task: snapshot,
                status: None,
            },
            None => Change::TaskAdded(snapshot),
        }));
        if unexpected && !state.is_terminal() {
            self.event(framework, events::update(status), out);
        }
        task
    }

    fn reregistered_status(&self, told: &mesos::Task, state: TaskState) -> mesos::TaskStatus {
        let (id, agent) = (told.task_id.clone(), Some(told.agent_id.clone()));
        let status = events::master_status(
            id,
            agent,
            state,
            Reason::AgentReregistered,
            "Agent has returned",
            self.now,
        );
        mesos::TaskStatus {
            executor_id: told.executor_id.clone(),
            ..status
        }
    }

    /// For each that it does not hold the agent makes a terminal update.
    fn ask_about_missing(
        &mut self,
        agent: AgentIx,
        listed: &BTreeSet<TaskIx>,
        out: &mut Vec<Output>,
    ) {
        let missing = self.agents[agent]
            .tasks
            .iter()
            .filter(|task| !listed.contains(task));
        let tasks: Vec<WireTaskKey> = missing
            .map(|task| &self.tasks[*task].facts)
            .map(|facts| WireTaskKey {
                framework_id: events::framework_id(&facts.framework),
                task_id: facts.task_id(),
            })
            .collect();
        if !tasks.is_empty() {
            self.to_agent(
                agent,
                master_message::Message::ReconcileTasks(ReconcileTasks { tasks }),
                out,
            );
        }
    }
}

fn has_multi_role(capabilities: &[mesos::agent_info::Capability]) -> bool {
    capabilities
        .iter()
        .any(|capability| capability.r#type() == Capability::MultiRole)
}

/// What an agent says that a task or executor uses, and for which role. What makes no sense is not used.
fn held(list: &[mesos::Resource]) -> (Role, Resources) {
    let mut resources = resources::from_wire(list).unwrap_or_default();
    let role = resources
        .lots()
        .find_map(|lot| lot.kind().allocation_role().cloned())
        .unwrap_or_default();
    resources.allocate(&role);
    (role, resources)
}
