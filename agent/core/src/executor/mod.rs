//! Executors: their containers' lives, their calls, and what happens to their tasks when they end.
//!
//! - `calls`: what they say, checked by `check`;
//! - `events`: what they are told;
//! - `life`: what is delivered to them, and how they and their tasks end.

mod calls;
mod check;
mod events;
mod life;

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexSet;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskId};
use tepui_proto::mesos::v1::{ExecutorInfo, TaskInfo};

use crate::change::{ExecutorState, Phase};
use crate::input::{Exit, Limitation};
use crate::messages::{self, Amount};
use crate::output::Limits;
use crate::timers::TimerId;

pub(crate) use events::acknowledged;

/// How long a container keeps room that it does not need, so that busy executors are not resized for every task.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// Why the agent ends an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked for it.
    Shutdown,
    /// It never subscribed.
    RegistrationTimeout,
    /// It did not subscribe again after a restart of the agent.
    ReregistrationTimeout,
    /// Others need what it used beyond what the agent has.
    Preempted,
}

/// An executor and its container.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) info: Arc<ExecutorInfo>,
    pub(crate) command: bool,
    /// A DEFAULT executor, which the agent plays: it runs nothing. What its tasks share is held by a container of its name, if they share anything.
    pub(crate) builtin: bool,
    /// Of one that the agent plays: its tasks have no cgroups of their own, and what they may use together is its.
    pub(crate) shares_cgroups: bool,
    pub(crate) container: ContainerId,
    pub(crate) pid: Option<u32>,
    pub(crate) phase: Phase,
    /// Its container's process runs.
    pub(crate) started: bool,
    /// It is from an earlier life of the agent and has not subscribed since.
    pub(crate) recovered: bool,
    pub(crate) end: Option<End>,
    /// What it exceeded, so that its end was ordered.
    pub(crate) limitation: Option<Limitation>,
    /// Of a preemption, for the framework's author.
    pub(crate) why: String,
    /// Its container's end was ordered.
    pub(crate) destroyed: bool,
    pub(crate) connection: Option<u64>,
    /// Unfinished tasks, queued ones too.
    pub(crate) live: IndexSet<TaskId>,
    /// Tasks that wait for its subscription, or behind others for their turn.
    pub(crate) queue: Vec<TaskId>,
    /// The rest of the queue has its turn soon.
    pub(crate) delivering: bool,
    /// It was given a task, ever.
    pub(crate) used_once: bool,
    /// What its unfinished tasks use together.
    pub(crate) used: Amount,
    /// What its container may use at the moment.
    pub(crate) limits: Limits,
    pub(crate) shrink: Option<TimerId>,
    /// Until it must have subscribed, or ended.
    pub(crate) timer: Option<TimerId>,
}

impl Executor {
    pub(crate) fn new(
        info: Arc<ExecutorInfo>,
        command: bool,
        builtin: bool,
        container: ContainerId,
    ) -> Self {
        Self {
            info,
            command,
            builtin,
            shares_cgroups: false,
            container,
            pid: None,
            phase: if builtin {
                Phase::Running
            } else {
                Phase::Registering
            },
            started: builtin,
            recovered: false,
            end: None,
            limitation: None,
            why: String::new(),
            destroyed: false,
            connection: None,
            live: IndexSet::new(),
            queue: Vec::new(),
            delivering: false,
            used_once: false,
            used: Amount::default(),
            limits: Limits::default(),
            shrink: None,
            timer: None,
        }
    }

    pub(crate) fn state(&self, framework: &FrameworkId, id: &ExecutorId) -> ExecutorState {
        ExecutorState {
            framework_id: framework.clone(),
            id: id.clone(),
            info: Arc::clone(&self.info),
            container: self.container.clone(),
            command: self.command,
            pid: self.pid,
            phase: self.phase,
            preempted: self.end == Some(End::Preempted),
        }
    }

    /// How a container of it ended: by the limit for which the agent ended it, where nothing else is known.
    pub(crate) fn ended_by(&self, exit: &Exit) -> Exit {
        Exit {
            status: exit.status,
            limitation: exit.limitation.clone().or_else(|| self.limitation.clone()),
        }
    }

    /// What it and its tasks need.
    pub(crate) fn wanted(&self, task: Option<&TaskInfo>) -> Limits {
        messages::limits(messages::amount(&self.info.resources).plus(self.used), task)
    }
}

pub(crate) fn agent_id(id: &tepui_model::AgentId) -> tepui_proto::mesos::v1::AgentId {
    tepui_proto::mesos::v1::AgentId {
        value: id.as_str().to_owned(),
    }
}
