//! Draining: an operator empties the agent. Every task is killed, with no more patience than the operator allows, and new ones are
//! dropped, also after a restart. It is over when no task and no operation is left to be acknowledged; what the master has to do then
//! (mark the agent gone, keep it deactivated) is its own business.

use std::time::Duration;

use tepui_model::{TaskState, Time};
use tepui_proto::mesos::v1::framework_info::capability::Type as Capability;
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{DrainConfig, TaskStatus};

use crate::agent::Agent;
use crate::messages;
use crate::output::Output;
use crate::record::{DrainRecord, Record};
use crate::task::{Cause, TaskKey};

impl Agent {
    /// The operator drains the agent; the master says so again on every stream until it is over.
    pub(crate) fn start_drain(&mut self, config: DrainConfig, out: &mut Vec<Output>) {
        if self.drain.as_ref() != Some(&config) {
            self.drain = Some(config);
            self.drain_since.get_or_insert(self.now);
            self.record_drain(out);
            self.show_agent(out);
        }
        self.resume_drain(out);
    }

    fn record_drain(&mut self, out: &mut Vec<Output>) {
        let record = self.drain_record();
        self.checkpoint(Record::Draining(record), out);
    }

    pub(crate) fn drain_record(&self) -> DrainRecord {
        DrainRecord {
            config: self.drain,
            since: self.drain_since.unwrap_or_default().as_nanos(),
        }
    }

    pub(crate) fn replay_drain(&mut self, record: &DrainRecord) {
        self.drain = record.config;
        self.drain_since = record.config.map(|_| Time::from_nanos(record.since));
    }

    /// Kills what runs and has not been told to end, or has been given longer than the operator wants to wait.
    pub(crate) fn resume_drain(&mut self, out: &mut Vec<Output>) {
        if self.drain.is_none() {
            return;
        }
        let latest = self.longest_grace().map(|longest| self.now + longest);
        let mut live = Vec::new();
        for (framework, known) in &self.frameworks {
            for (task, state) in &known.tasks {
                let patient = state
                    .kill
                    .as_ref()
                    .is_none_or(|kill| latest.is_some_and(|latest| kill.deadline > latest));
                if !state.state.is_terminal() && patient {
                    live.push(TaskKey {
                        framework: framework.clone(),
                        task: task.clone(),
                    });
                }
            }
        }
        for key in live {
            self.kill(&key, None, Cause::Draining, out);
        }
        self.drain_may_be_over(out);
    }

    /// The longest time that a task may take to end.
    pub(crate) fn longest_grace(&self) -> Option<Duration> {
        let longest = self.drain.as_ref()?.max_grace_period.as_ref()?;
        Some(messages::duration(longest))
    }

    /// What a framework is told about a task that was killed while its agent drains.
    pub(crate) fn drained(&self, key: &TaskKey, status: &mut TaskStatus) {
        status.reason = Some(Reason::AgentDraining.into());
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return;
        };
        let aware = messages::has_capability(&framework.info, Capability::PartitionAware);
        if aware && self.drain.as_ref().is_some_and(|drain| drain.mark_gone()) {
            status.state = TaskState::GoneByOperator.number();
        }
    }

    pub(crate) fn drain_may_be_over(&mut self, out: &mut Vec<Output>) {
        if self.drain.is_none() || self.tasks > 0 || !self.operations.held.is_empty() {
            return;
        }
        self.drain = None;
        self.drain_since = None;
        self.record_drain(out);
        self.show_agent(out);
    }
}
