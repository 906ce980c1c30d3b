//! The objects themselves, kept by applying changes.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tepui_master_core::{
    AgentRemoval, Change, ExecutorSnapshot, FrameworkSnapshot, InverseOfferSnapshot,
    MaintenanceSnapshot, OfferKey, OfferSnapshot, OperationKey, OperationSnapshot, Quota, TaskKey,
    TaskList, TaskSnapshot,
};
use tepui_model::resources::Name;
use tepui_model::{AgentId, ExecutorId, FrameworkId, Role};
use tepui_proto::mesos;

use super::{Amounts, OperationCounts, Shown, ShownAgent, to_proto};
use crate::config::Config;

/// A framework with everything that is listed under it.
#[derive(Debug, Clone)]
pub(crate) struct Framework {
    pub(crate) shown: Arc<Shown<FrameworkSnapshot>>,
    pub(crate) tasks: BTreeMap<TaskKey, Arc<Shown<TaskSnapshot>>>,
    pub(crate) unreachable_tasks: BTreeMap<TaskKey, Arc<Shown<TaskSnapshot>>>,
    pub(crate) completed_tasks: BTreeMap<TaskKey, Arc<Shown<TaskSnapshot>>>,
    pub(crate) executors: BTreeMap<(AgentId, ExecutorId), Arc<Shown<ExecutorSnapshot>>>,
    pub(crate) offers: BTreeMap<OfferKey, Arc<OfferSnapshot>>,
    /// What was made of all this for readers since it last changed.
    made: Made,
}

#[derive(Debug, Clone, Default)]
struct Made {
    /// Used and offered.
    amounts: OnceCell<(Amounts, Amounts)>,
    /// The JSON of the legacy endpoints before its tasks, and after them.
    legacy: OnceCell<(Bytes, Bytes)>,
    /// The JSON of the v1 API.
    v1: OnceCell<Bytes>,
}

impl Framework {
    fn new(snapshot: Arc<FrameworkSnapshot>) -> Self {
        Self {
            shown: Shown::new(snapshot),
            tasks: BTreeMap::new(),
            unreachable_tasks: BTreeMap::new(),
            completed_tasks: BTreeMap::new(),
            executors: BTreeMap::new(),
            offers: BTreeMap::new(),
            made: Made::default(),
        }
    }

    /// Active, unreachable, then completed.
    pub(crate) fn all_tasks(&self) -> impl Iterator<Item = &Arc<Shown<TaskSnapshot>>> {
        self.tasks
            .values()
            .chain(self.unreachable_tasks.values())
            .chain(self.completed_tasks.values())
    }

    /// What it uses, and what it is offered.
    pub(crate) fn amounts(&self) -> &(Amounts, Amounts) {
        self.made.amounts.get_or_init(|| {
            let mut used = Amounts::default();
            for task in self
                .tasks
                .values()
                .filter(|task| !task.object.state.is_terminal())
            {
                for resource in &*task.object.facts.resources {
                    used.add(resource);
                }
            }
            for executor in self.executors.values() {
                for resource in &executor.object.info.resources {
                    used.add(resource);
                }
            }
            let mut offered = Amounts::default();
            for offer in self.offers.values() {
                offered.add_all(&Amounts::of(&to_proto(&offer.resources)));
            }
            (used, offered)
        })
    }

    /// Its legacy JSON before and after its tasks, made by `write` if nobody asked since it changed.
    pub(crate) fn legacy(
        &self,
        write: impl FnOnce(&Self) -> (Vec<u8>, Vec<u8>),
    ) -> &(Bytes, Bytes) {
        self.made.legacy.get_or_init(|| {
            let (before, after) = write(self);
            (before.into(), after.into())
        })
    }

    /// Its v1 JSON, made by `write` if nobody asked since it changed.
    pub(crate) fn v1(&self, write: impl FnOnce(&Self) -> Vec<u8>) -> &Bytes {
        self.made.v1.get_or_init(|| write(self).into())
    }

    fn changed(&mut self) {
        self.made = Made::default();
    }

    fn list(&mut self, list: TaskList) -> &mut BTreeMap<TaskKey, Arc<Shown<TaskSnapshot>>> {
        match list {
            TaskList::Active => &mut self.tasks,
            TaskList::Unreachable => &mut self.unreachable_tasks,
            TaskList::Completed => &mut self.completed_tasks,
        }
    }
}

/// Sums over the active agents: cpus, gpus, mem, disk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) total: [f64; 4],
    pub(crate) used: [f64; 4],
    pub(crate) offered: [f64; 4],
    pub(crate) revocable_total: [f64; 4],
    pub(crate) revocable_used: [f64; 4],
}

/// Everything operators see.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The number of the last published list that is in here.
    pub(crate) number: u64,
    pub(crate) agents: BTreeMap<AgentId, Arc<ShownAgent>>,
    pub(crate) recovered_agents: BTreeMap<AgentId, Arc<Shown<mesos::AgentInfo>>>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) completed_frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) inverse_offers: BTreeMap<OfferKey, Arc<InverseOfferSnapshot>>,
    pub(crate) operations: BTreeMap<OperationKey, Arc<Shown<OperationSnapshot>>>,
    /// How many operations there were.
    pub(crate) operation_counts: OperationCounts,
    /// Only those that were set.
    pub(crate) weights: Arc<[(Role, f64)]>,
    pub(crate) quotas: Arc<[(Role, Quota)]>,
    pub(crate) maintenance: Arc<MaintenanceSnapshot>,
    /// Whose task it is, and in which list.
    tasks: HashMap<TaskKey, (FrameworkId, TaskList)>,
    offers: HashMap<OfferKey, FrameworkId>,
}

impl State {
    /// What all agents have and use, by the names that metrics have.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for agent in self.agents.values().filter(|agent| agent.object.active()) {
            let sums = [
                (&mut totals.total, agent.object.total.non_revocable()),
                (&mut totals.used, agent.object.allocated.non_revocable()),
                (&mut totals.revocable_total, agent.object.total.revocable()),
                (
                    &mut totals.revocable_used,
                    agent.object.allocated.revocable(),
                ),
                (&mut totals.offered, (*agent.object.offered).clone()),
            ];
            for (sum, resources) in sums {
                let quantities = resources.quantities();
                for (at, name) in [Name::Cpus, Name::Gpus, Name::Mem, Name::Disk]
                    .into_iter()
                    .enumerate()
                {
                    if let Some(sum) = sum.get_mut(at) {
                        *sum += quantities.get(&name).as_f64();
                    }
                }
            }
        }
        totals
    }

    /// The weights that were set; the flag's as long as nothing else was.
    pub(crate) fn weights<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a str, f64)> {
        let flag: &[(String, f64)] = if self.weights.is_empty() {
            &config.weights
        } else {
            &[]
        };
        let flag = flag.iter().map(|(role, weight)| (role.as_str(), *weight));
        let set = self.weights.iter();
        flag.chain(set.map(|(role, weight)| (role.as_str(), *weight)))
    }

    /// The names of the frameworks that are there.
    pub(crate) fn framework_names(&self) -> HashMap<FrameworkId, String> {
        self.frameworks
            .iter()
            .map(|(id, framework)| (id.clone(), framework.shown.object.info.name.clone()))
            .collect()
    }

    /// For a change of what is listed under it.
    fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        let framework = match self.frameworks.get_mut(id) {
            Some(framework) => framework,
            None => self.completed_frameworks.get_mut(id)?,
        };
        framework.changed();
        Some(framework)
    }

    /// Takes one change. A change about something that is not here (it fell off before) is without effect.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::AgentRecovered(info) => {
                if let Some(id) = info.id.as_ref().and_then(|id| AgentId::new(&id.value).ok()) {
                    self.recovered_agents.insert(id, Shown::new(info));
                }
            }
            Change::AgentAdded(agent) | Change::AgentUpdated(agent) => {
                self.recovered_agents.remove(&agent.id);
                self.agents.insert(agent.id.clone(), ShownAgent::new(agent));
            }
            Change::AgentRemoved {
                id,
                cause:
                    AgentRemoval::Unreachable
                    | AgentRemoval::Unregistered
                    | AgentRemoval::Replaced
                    | AgentRemoval::Gone
                    | AgentRemoval::Maintenance,
            } => {
                self.agents.remove(&id);
                self.recovered_agents.remove(&id);
            }
            Change::FrameworkAdded(framework) | Change::FrameworkUpdated { framework, .. } => {
                match self.frameworks.get_mut(&framework.id) {
                    Some(known) => {
                        known.shown = Shown::new(framework);
                        known.changed();
                    }
                    None => {
                        self.frameworks
                            .insert(framework.id.clone(), Framework::new(framework));
                    }
                }
            }
            Change::FrameworkCompleted(framework) => {
                let id = framework.id.clone();
                let mut completed = self
                    .frameworks
                    .remove(&id)
                    .unwrap_or_else(|| Framework::new(framework.clone()));
                completed.shown = Shown::new(framework);
                completed.changed();
                self.completed_frameworks.insert(id, completed);
            }
            Change::FrameworkForgotten(id) => {
                if let Some(forgotten) = self.completed_frameworks.remove(&id) {
                    for task in forgotten.all_tasks() {
                        self.tasks.remove(&task.object.key);
                    }
                    for offer in forgotten.offers.keys() {
                        self.offers.remove(offer);
                    }
                }
            }
            Change::TaskAdded(task) | Change::TaskUpdated { task, .. } => self.put_task(task),
            Change::TaskForgotten(key) => {
                if let Some((framework, list)) = self.tasks.remove(&key)
                    && let Some(framework) = self.framework_mut(&framework)
                {
                    framework.list(list).remove(&key);
                }
            }
            Change::ExecutorAdded(executor) => {
                if let Ok(id) = ExecutorId::new(&executor.info.executor_id.value)
                    && let Some(framework) = self.framework_mut(&executor.framework)
                {
                    framework
                        .executors
                        .insert((executor.agent.clone(), id), Shown::new(executor));
                }
            }
            Change::ExecutorRemoved {
                framework,
                agent,
                executor,
            } => {
                if let Some(framework) = self.framework_mut(&framework) {
                    framework.executors.remove(&(agent, executor));
                }
            }
            Change::OfferAdded(offer) => {
                let (key, id) = (offer.key, offer.framework.clone());
                if let Some(framework) = self.framework_mut(&id) {
                    framework.offers.insert(key, offer);
                    self.offers.insert(key, id);
                }
            }
            Change::OfferRemoved(key) => {
                if let Some(framework) = self.offers.remove(&key)
                    && let Some(framework) = self.framework_mut(&framework)
                {
                    framework.offers.remove(&key);
                }
            }
            Change::InverseOfferAdded(offer) => {
                self.framework_mut(&offer.framework);
                self.inverse_offers.insert(offer.key, offer);
            }
            Change::InverseOfferRemoved(key) => {
                if let Some(offer) = self.inverse_offers.remove(&key) {
                    self.framework_mut(&offer.framework);
                }
            }
            Change::OperationUpdated(operation) => {
                self.operation_counts.take_in(
                    &operation.operation,
                    self.operations
                        .get(&operation.key)
                        .map(|known| &known.object.operation),
                );
                self.operations.insert(operation.key, Shown::new(operation));
            }
            Change::OperationForgotten(key) => {
                self.operations.remove(&key);
            }
            Change::WeightsChanged(weights) => self.weights = weights,
            Change::QuotasChanged(quotas) => self.quotas = quotas,
            Change::MaintenanceChanged(maintenance) => self.maintenance = maintenance,
        }
    }

    fn put_task(&mut self, task: Arc<TaskSnapshot>) {
        let (key, list) = (task.key, task.list);
        let id = task.facts.framework.clone();
        let before = self.tasks.insert(key, (id.clone(), list));
        let Some(framework) = self.framework_mut(&id) else {
            self.tasks.remove(&key);
            return;
        };
        if let Some((_, before)) = before
            && before != list
        {
            framework.list(before).remove(&key);
        }
        framework.list(list).insert(key, Shown::new(task));
    }
}
