//! The life of a task in the tables: added, updated, freed, completed or out of reach.

use std::sync::Arc;

use tepui_model::{TaskId, TaskState};
use tepui_proto::mesos::FrameworkInfo;
use tepui_proto::mesos::TaskStatus;
use tepui_proto::mesos::task_status::{Reason, Source};
use tepui_proto::tepui::v1::{self, master_message};

use crate::change::{Change, TaskKey, TaskList};
use crate::master::Master;
use crate::output::Output;
use crate::state::{AgentIx, FrameworkIx, Presence, Task, TaskIx, Unreachable};

impl Master {
    /// The framework has something on the agent.
    pub(crate) fn presence(&mut self, framework: FrameworkIx, agent: AgentIx) -> &mut Presence {
        self.agents[agent].frameworks.insert(framework);
        self.frameworks[framework].agents.entry(agent).or_default()
    }

    /// `Framework` goes before the first message about it on each link.
    pub(crate) fn tell_about(
        &mut self,
        framework: FrameworkIx,
        agent: AgentIx,
        out: &mut Vec<Output>,
    ) {
        if !std::mem::replace(&mut self.presence(framework, agent).told, true) {
            let info = FrameworkInfo::clone(&self.frameworks[framework].info);
            self.to_agent(
                agent,
                master_message::Message::Framework(v1::Framework { info }),
                out,
            );
        }
    }

    /// Into the active lists of its framework and agent. Its resources are accounted for by the caller.
    pub(crate) fn add_task(&mut self, id: TaskId, mut task: Task) -> TaskIx {
        let (framework, agent, state) = (task.framework, task.agent, task.state);
        task.slot = u32::try_from(self.agents[agent].tasks.len())
            .expect("bounded far below four thousand million");
        let task = self.tasks.insert(task);
        self.agents[agent].tasks.push(task);
        self.presence(framework, agent);
        let framework = &mut self.frameworks[framework];
        let old = framework.tasks.insert(id, task);
        assert!(
            old.is_none(),
            "a task id is used once in a framework's active list"
        );
        framework.counters.tasks_active[state as usize] += 1;
        self.counters.tasks_now[state as usize] += 1;
        task
    }

    /// Out of the lists of its framework and agent.
    fn take_task(&mut self, task: TaskIx) -> Task {
        self.release(task);
        let task = self.tasks.remove(task);
        let list = &mut self.agents[task.agent].tasks;
        list.swap_remove(task.slot as usize);
        if let Some(moved) = list.get(task.slot as usize) {
            self.tasks[*moved].slot = task.slot;
        }
        let framework = &mut self.frameworks[task.framework];
        framework.tasks.swap_remove(&task.facts.id);
        framework.counters.tasks_active[task.state as usize] -= 1;
        self.counters.tasks_now[task.state as usize] -= 1;
        self.something_left(task.agent);
        task
    }

    /// Free what a task uses, if it still does.
    pub(crate) fn release(&mut self, task: TaskIx) {
        let known = &mut self.tasks[task];
        let resources = std::mem::take(&mut known.resources);
        let (agent, framework, role) = (known.agent, known.framework, known.role.clone());
        self.free(agent, framework, &role, &resources);
    }

    /// Take in a status and the latest state, free what a terminal task used, and tell the view. A terminal state stays (I2).
    pub(crate) fn apply_status(
        &mut self,
        task: TaskIx,
        status: TaskStatus,
        latest: TaskState,
        out: &mut Vec<Output>,
    ) {
        let known = &mut self.tasks[task];
        let before = known.state;
        if !before.is_terminal() {
            known.state = latest;
        }
        let now = known.state;
        let framework = known.framework;
        let status = Arc::new(status);
        known.remember(&status);
        if now != before {
            for gauge in [
                &mut self.counters.tasks_now,
                &mut self.frameworks[framework].counters.tasks_active,
            ] {
                gauge[before as usize] -= 1;
                gauge[now as usize] += 1;
            }
            if now.is_terminal() {
                self.release(task);
                self.count_end(framework, now, &status);
            }
        }
        let task = Arc::new(self.tasks[task].snapshot(TaskList::Active));
        let of_a_check = matches!(
            status.reason(),
            Reason::TaskCheckStatusUpdated | Reason::TaskHealthCheckStatusUpdated
        );
        out.push(Output::Change(Change::TaskUpdated {
            task,
            status: (now != before || of_a_check).then_some(status),
        }));
    }

    /// Count a task's end by state and by cause.
    pub(crate) fn count_end(
        &mut self,
        framework: FrameworkIx,
        state: TaskState,
        status: &TaskStatus,
    ) {
        self.counters.tasks_terminal[state as usize] += 1;
        self.frameworks[framework].counters.tasks_terminal[state as usize] += 1;
        let cause = (
            status.source.and_then(|s| Source::try_from(s).ok()),
            status.reason.and_then(|r| Reason::try_from(r).ok()),
        );
        if let (Some(source), Some(reason)) = cause {
            self.counters.task_cause(state, source, reason);
        }
    }

    /// Over: into the history.
    pub(crate) fn complete_task(&mut self, task: TaskIx, out: &mut Vec<Output>) {
        let task = self.take_task(task);
        assert!(
            task.state.is_terminal(),
            "I2: only tasks that have ended are completed"
        );
        let (framework, key) = (task.framework, task.key);
        let snapshot = Arc::new(task.snapshot(TaskList::Completed));
        out.push(Output::Change(Change::TaskUpdated {
            task: snapshot,
            status: None,
        }));
        self.remember_completed(framework, key, out);
    }

    pub(crate) fn remember_completed(
        &mut self,
        framework: FrameworkIx,
        key: TaskKey,
        out: &mut Vec<Output>,
    ) {
        let completed = &mut self.frameworks[framework].completed;
        completed.push_back(key);
        while completed.len() > self.config.max_completed_tasks_per_framework {
            if let Some(oldest) = completed.pop_front() {
                out.push(Output::Change(Change::TaskForgotten(oldest)));
            }
        }
    }

    /// Its agent is out of reach: out of the active list, with the status that its framework was told.
    pub(crate) fn lose_task(&mut self, task: TaskIx, out: &mut Vec<Output>) {
        let task = self.take_task(task);
        let snapshot = task.snapshot(TaskList::Unreachable);
        out.push(Output::Change(Change::TaskUpdated {
            task: Arc::new(snapshot.clone()),
            status: None,
        }));
        let framework = &mut self.frameworks[task.framework];
        framework.unreachable.insert(
            task.facts.id.clone(),
            Unreachable {
                key: task.key,
                snapshot,
            },
        );
        self.counters.tasks_unreachable += 1;
        while framework.unreachable.len() > self.config.max_unreachable_tasks_per_framework {
            if let Some((_, oldest)) = framework.unreachable.shift_remove_index(0) {
                self.counters.tasks_unreachable -= 1;
                out.push(Output::Change(Change::TaskForgotten(oldest.key)));
            }
        }
    }
}
