//! Frameworks that go: for a while when their stream ends, for good by TEARDOWN, by an operator or by time.

use tepui_model::TaskState;
use tepui_proto::mesos::task_status::Reason;
use tepui_proto::tepui::v1::{self, master_message};

use crate::change::{Change, TaskList};
use crate::events;
use crate::input::StreamKey;
use crate::master::{Master, Timer, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, Connection, FrameworkIx, TaskIx};

impl Master {
    /// The framework has `failover_timeout` to return; with 0 s it is gone at once.
    pub(crate) fn stream_closed(&mut self, stream: StreamKey, out: &mut Vec<Output>) {
        let Some(framework) = self.streams.remove(&stream) else {
            return;
        };
        self.frameworks[framework].connection = Connection::Disconnected;
        self.timers.cancel(Timer::Heartbeat(framework));
        self.withdraw_offers_of(framework, out);
        self.allocation_disconnected(framework);
        let timeout = self.frameworks[framework].failover_timeout();
        if timeout.is_zero() {
            self.remove_framework(
                framework,
                "it disconnected and has no failover time-out",
                out,
            );
        } else {
            self.timers
                .set(Timer::Failover(framework), self.now + timeout);
            self.touch_framework(framework);
        }
    }

    /// For good: agents shut it down, its tasks are KILLED in the history, and its id is not let in again while it is remembered.
    pub(crate) fn remove_framework(
        &mut self,
        framework: FrameworkIx,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        for timer in [Timer::Failover(framework), Timer::Heartbeat(framework)] {
            self.timers.cancel(timer);
        }
        self.withdraw_offers_of(framework, out);
        if let Some(stream) = self.frameworks[framework].stream() {
            self.streams.remove(&stream);
            out.push(Output::CloseStream {
                stream,
                reason: "the framework was removed",
            });
            self.frameworks[framework].connection = Connection::Disconnected;
        }
        let id = self.frameworks[framework].id.clone();
        log(
            LogLevel::Info,
            format!("framework {id} is removed: {why}"),
            out,
        );
        let tasks: Vec<TaskIx> = self.frameworks[framework].tasks.values().copied().collect();
        for task in tasks {
            if !self.tasks[task].state.is_terminal() {
                let facts = &self.tasks[task].facts;
                let status = events::master_status(
                    facts.task_id(),
                    Some(facts.agent_id()),
                    TaskState::Killed,
                    Reason::FrameworkRemoved,
                    "Framework removed",
                    self.now,
                );
                self.apply_status(task, status, TaskState::Killed, out);
            }
            self.complete_task(task, out);
        }
        self.complete_unreachable(framework, out);
        self.orphan_operations_of(&id, out);
        let agents: Vec<AgentIx> = self.frameworks[framework].agents.keys().copied().collect();
        for agent in agents {
            self.remove_executors_of(agent, framework, out);
            self.agents[agent].frameworks.swap_remove(&framework);
            let shutdown = v1::ShutdownFramework {
                framework_id: events::framework_id(&id),
            };
            self.to_agent(
                agent,
                master_message::Message::ShutdownFramework(shutdown),
                out,
            );
        }
        self.end_talks_with(framework);
        self.allocation_framework_removed(framework);
        self.dirty_frameworks.remove(&framework);
        self.framework_ids.remove(&id);
        let removed = self.frameworks.remove(framework);
        self.keep_calls(&removed);
        out.push(Output::Change(Change::FrameworkCompleted(
            removed.snapshot(Some(self.now)),
        )));
        self.completed_frameworks.insert(id);
        while self.completed_frameworks.len() > self.config.max_completed_frameworks {
            if let Some(id) = self.completed_frameworks.shift_remove_index(0) {
                out.push(Output::Change(Change::FrameworkForgotten(id)));
            }
        }
    }

    /// Tasks of a removed framework on agents out of reach will be shut down when the agents return.
    fn complete_unreachable(&mut self, framework: FrameworkIx, out: &mut Vec<Output>) {
        let unreachable: Vec<_> = self.frameworks[framework]
            .unreachable
            .drain(..)
            .map(|(_, lost)| lost)
            .collect();
        for lost in unreachable {
            self.counters.tasks_unreachable -= 1;
            let mut snapshot = lost.snapshot;
            snapshot.list = TaskList::Completed;
            let key = snapshot.key;
            out.push(Output::Change(Change::TaskUpdated {
                task: snapshot.into(),
                status: None,
            }));
            self.remember_completed(framework, key, out);
        }
    }
}
