//! Oversubscription: what may be used beyond what the agent has, until it is taken back.
//!
//! Who estimates and who takes back is the shell's business. Here the master is told of a new estimate, and of the last one after each
//! registration; and an executor that has something revocable is ended when the shell says so, whatever it runs: its tasks are GONE (LOST
//! for frameworks that are not partition-aware) with REASON_CONTAINER_PREEMPTED, also if the agent restarts meanwhile.

use tepui_model::{ContainerId, ExecutorId, FrameworkId, TaskState};
use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos::v1::Resource;
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::tepui::v1::Oversubscribed;
use tepui_proto::tepui::v1::agent_message::Message;

use crate::agent::Agent;
use crate::executor::End;
use crate::operations::configured;
use crate::output::Output;
use crate::task::{Cause, Kill, TaskKey};

/// What the master was told.
#[derive(Debug, Default)]
pub(crate) struct Oversubscription {
    /// Each marked as revocable; always in the same form for the same amounts.
    pub(crate) told: Vec<Resource>,
}

/// What can be offered of an estimate: sums of the scalars that belong to nobody, marked.
fn revocable(estimate: &[Resource]) -> Vec<Resource> {
    let plain = estimate
        .iter()
        .filter(|resource| resource.scalar.is_some() && resource.disk.is_none())
        .cloned()
        .map(|resource| Resource {
            revocable: Some(Default::default()),
            shared: None,
            ..resource
        });
    let mut sums = configured(&plain.collect::<Vec<_>>()).unreserved();
    sums.unallocate();
    to_wire(&sums, Encoding::Stack)
}

impl Agent {
    pub(crate) fn estimated(&mut self, estimate: &[Resource], out: &mut Vec<Output>) {
        let told = revocable(estimate);
        if told != self.oversubscription.told {
            self.oversubscription.told = told;
            self.show_agent(out);
            if self.link.registered().is_some() {
                self.send_oversubscribed(out);
            }
        }
    }

    /// The master knows of none after a registration.
    pub(crate) fn tell_oversubscribed(&self, out: &mut Vec<Output>) {
        if !self.oversubscription.told.is_empty() {
            self.send_oversubscribed(out);
        }
    }

    fn send_oversubscribed(&self, out: &mut Vec<Output>) {
        let resources = self.oversubscription.told.clone();
        self.to_master(Message::Oversubscribed(Oversubscribed { resources }), out);
    }

    fn has_revocable(&self, framework: &FrameworkId, id: &ExecutorId) -> bool {
        let Some(known) = self.frameworks.get(framework) else {
            return false;
        };
        let Some(executor) = known.executors.get(id) else {
            return false;
        };
        let tasks = executor
            .live
            .iter()
            .filter_map(|task| known.tasks.get(task));
        executor
            .info
            .resources
            .iter()
            .chain(tasks.flat_map(|task| task.info.resources.iter()))
            .any(|resource| resource.revocable.is_some())
    }

    /// Ends an executor that has something revocable, without grace.
    pub(crate) fn preempt(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        container: &ContainerId,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        if !self.has_revocable(framework, id) {
            return;
        }
        let Some(executor) = self.executor_mut(framework, id) else {
            return;
        };
        if executor.container != *container
            || executor.destroyed
            || executor.end == Some(End::Preempted)
        {
            return;
        }
        executor.why = reason.to_owned();
        for key in self.live_of(framework, id) {
            self.mark_preempted(&key, out);
        }
        self.end_at_once(framework, id, End::Preempted, out);
    }

    /// Written down, so that the end is called by its name also if the agent restarts meanwhile. Who was asked to end already ends as
    /// that, if the agent says how it ended and no executor of a framework's own.
    fn mark_preempted(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let deadline = self.now;
        let Some(task) = self.task_mut(key) else {
            return;
        };
        if task.kill.is_some() {
            return;
        }
        let kill = Kill {
            deadline,
            cause: Cause::Preempted,
            policy: None,
            during_launch: false,
        };
        task.kill = Some(kill.clone());
        self.record_kill(key, &kill, out);
    }

    pub(crate) fn is_preempted(&self, key: &TaskKey) -> bool {
        let kill = self.task(key).and_then(|task| task.kill.as_ref());
        kill.is_some_and(|kill| kill.cause == Cause::Preempted)
    }

    /// The terminal update of a task whose executor was preempted.
    pub(crate) fn preempted(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let executor = self.task(key).and_then(|task| task.executor.clone());
        let executor = executor.and_then(|id| self.executor(&key.framework, &id));
        let why = executor.map_or("", |executor| executor.why.as_str());
        let mut message = "Container preempted by QoS correction".to_owned();
        if !why.is_empty() {
            message = format!("{message}: {why}");
        }
        let reason = Some(Reason::ContainerPreempted);
        self.update(key, TaskState::Gone, Source::Agent, reason, message, out);
    }
}
