//! What must be true once the cluster has been left in peace: first that all agree, then that nothing is left.

use std::collections::BTreeMap;

use tepui_model::{AgentId, TaskState};

use crate::invariants::Invariant;
use crate::world::Simulation;

type Tasks = BTreeMap<(String, String), TaskState>;

impl Simulation {
    /// Whether what this agent had to tell last may not have been heard: it is gone, or was removed.
    pub(crate) fn is_lost(&self, agent: &str) -> bool {
        let gone = &self.stored.registry.gone;
        gone.iter().any(|(id, _)| id.as_str() == agent)
            || self.forgotten.iter().any(|id| id.as_str() == agent)
    }

    fn at_agents(&self) -> Tasks {
        self.machines
            .iter()
            .flat_map(|machine| machine.tasks.clone())
            .filter(|(_, state)| !state.is_terminal())
            .collect()
    }

    fn at_master(&self) -> Tasks {
        self.active_tasks()
            .filter(|task| !task.state.is_terminal())
            .map(|task| {
                let facts = &task.facts;
                (
                    (
                        facts.framework.as_str().to_owned(),
                        facts.id.as_str().to_owned(),
                    ),
                    task.state,
                )
            })
            .collect()
    }

    fn at_frameworks(&self) -> Tasks {
        let mut all = self.at_marathon();
        for scheduler in &self.schedulers {
            let Some(id) = &scheduler.id else { continue };
            for (task, job) in &scheduler.jobs {
                if job.ended.is_none()
                    && !job.state.is_terminal()
                    && !matches!(job.state, TaskState::Unknown | TaskState::Unreachable)
                {
                    all.insert((id.clone(), task.clone()), job.state);
                }
            }
        }
        all
    }

    /// I3 and I5: what is not (yet) as it should be.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let i5 = Invariant::Converges;
        let master = &self.masters[self.leader];
        if let Some(agent) = self.machines.iter().position(|machine| !machine.alive()) {
            return Some(format!("{i5}: agent {agent} is not there"));
        }
        if let Some(framework) = self
            .schedulers
            .iter()
            .position(|scheduler| !scheduler.settled())
        {
            return Some(format!("{i5}: framework {framework} is not subscribed"));
        }
        let connected = master
            .agents
            .values()
            .filter(|agent| agent.connected)
            .count();
        if connected != self.machines.len() {
            return Some(format!(
                "{i5}: {connected} of {} agents are registered",
                self.machines.len()
            ));
        }
        let (agents, leader, frameworks) =
            (self.at_agents(), self.at_master(), self.at_frameworks());
        for (one, other, names) in [
            (&agents, &leader, "agents and the master"),
            (&leader, &frameworks, "the master and the frameworks"),
        ] {
            if let Some(difference) = difference(one, other) {
                return Some(format!("{i5}: {names} do not agree: {difference}"));
            }
        }
        if let Some(what) = self.misremembered() {
            return Some(format!("{}: to the leader {what}", Invariant::Durable));
        }
        if let Some(what) = self.operations_unsettled() {
            return Some(what);
        }
        if let Some(what) = self.undefined() {
            return Some(what);
        }
        for (key, (state, uuid, agent)) in &self.ended {
            let lost = |agent: &AgentId| self.is_lost(agent.as_str());
            let excused = self.torn_down.contains(&key.0) || self.dismissed.contains(key);
            if excused || agent.as_ref().is_some_and(lost) {
                continue;
            }
            let heard = self.schedulers.iter().any(|scheduler| {
                scheduler.id.as_ref() == Some(&key.0)
                    && scheduler
                        .jobs
                        .get(&key.1)
                        .is_some_and(|job| job.ended.is_some())
            });
            let heard = heard || self.marathons.has_acknowledged(uuid);
            if !heard {
                return Some(format!(
                    "{}: the framework has not heard that task {} is {state}",
                    Invariant::TerminalDelivered,
                    key.1
                ));
            }
        }
        for (agent, machine) in self.machines.iter().enumerate() {
            if let Some(((_, task), state)) =
                machine.tasks.iter().find(|(_, state)| state.is_terminal())
            {
                return Some(format!(
                    "{}: agent {agent} still tells that task {task} is {state}",
                    Invariant::TerminalDelivered
                ));
            }
            for (container, known) in &machine.containers {
                // What runs in a group is in a container of its executor's.
                let executor = container.parent().unwrap_or(container);
                if known.lives() && !machine.executors.values().any(|own| own == executor) {
                    return Some(format!(
                        "{i5}: container {container} runs, and agent {agent} does not know it"
                    ));
                }
            }
        }
        None
    }

    /// After the frameworks have ended everything: what is left of it.
    pub(crate) fn leftover(&self) -> Option<String> {
        if let Some(what) = self.disagreement() {
            return Some(what);
        }
        if let Some(what) = self.marathon_leftover() {
            return Some(what);
        }
        let i5 = Invariant::Converges;
        if let Some(((_, task), state)) = self.at_agents().first_key_value() {
            return Some(format!(
                "{i5}: task {task} is {state} although its end was asked for"
            ));
        }
        if let Some(task) = self.active_tasks().next() {
            return Some(format!("{i5}: the master still has task {}", task.facts.id));
        }
        for (agent, machine) in self.machines.iter().enumerate() {
            if let Some(container) = machine.containers.keys().next() {
                return Some(format!(
                    "{i5}: agent {agent} has not forgotten container {container}"
                ));
            }
        }
        for agent in self.masters[self.leader].agents.values() {
            if !agent.allocated.is_empty() {
                return Some(format!(
                    "{i5}: {} is still used on agent {}",
                    agent.allocated, agent.id
                ));
            }
        }
        None
    }
}

fn difference(one: &Tasks, other: &Tasks) -> Option<String> {
    let missing = one
        .iter()
        .find(|(key, state)| other.get(*key) != Some(state));
    let excess = other.iter().find(|(key, _)| !one.contains_key(*key));
    let (key, _) = missing.or(excess)?;
    let name = |state: Option<&TaskState>| state.map_or("unknown", |state| state.name());
    Some(format!(
        "task {} is {} to the first and {} to the second",
        key.1,
        name(one.get(key)),
        name(other.get(key))
    ))
}
