//! How tasks are killed, and what is told of those that ended because of it.

use std::time::Duration;

use tepui_model::{ExecutorId, TaskState};
use tepui_proto::mesos::v1::KillPolicy;
use tepui_proto::mesos::v1::framework_info::capability::Type as Capability;
use tepui_proto::mesos::v1::task_status::{Reason, Source};

use crate::agent::{Agent, Timer};
use crate::change::Phase;
use crate::executor::End;
use crate::input::Exit;
use crate::messages;
use crate::output::Output;
use crate::record::{KillRecord, Record};
use crate::status::{ended, exit_code};
use crate::task::{Cause, Kill, TaskKey};

/// Between SIGTERM and SIGKILL if nobody says otherwise.
const KILL_GRACE: Duration = Duration::from_secs(3);
pub(crate) const SIGTERM: i32 = 15;

impl Agent {
    /// The framework (or the master) wants the task to end.
    pub(crate) fn kill_task(
        &mut self,
        key: &TaskKey,
        policy: Option<KillPolicy>,
        out: &mut Vec<Output>,
    ) {
        if self.task(key).is_some() {
            self.kill(key, policy, Cause::Asked, out);
            return;
        }
        let info = self.unknown_task(key);
        let message = "Cannot find executor: the task is unknown to the agent";
        self.refuse_task(
            key,
            info,
            TaskState::Dropped,
            Reason::ExecutorTerminated,
            message,
            out,
        );
    }

    pub(crate) fn kill(
        &mut self,
        key: &TaskKey,
        policy: Option<KillPolicy>,
        cause: Cause,
        out: &mut Vec<Output>,
    ) {
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get(&key.task) else {
            return;
        };
        let Some(id) = task.executor.clone() else {
            return;
        };
        if task.state.is_terminal() {
            return;
        }
        let waits = task.queued;
        let grace = [policy.as_ref(), task.info.kill_policy.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|policy| policy.grace_period.as_ref())
            .map_or(KILL_GRACE, messages::duration);
        let (grace, policy) = match self.longest_grace() {
            Some(longest) if longest < grace => (longest, Some(messages::kill_policy(longest))),
            _ => (grace, policy),
        };
        let deadline = self.now + grace;
        let Some(task) = self.task_mut(key) else {
            return;
        };
        let first = task.kill.is_none();
        let asked = match task.kill.take() {
            // A second kill can only shorten the first one's patience.
            Some(earlier) => Kill {
                deadline: earlier.deadline.min(deadline),
                policy: policy.or(earlier.policy),
                ..earlier
            },
            None => Kill {
                deadline,
                cause,
                policy,
                during_launch: waits,
            },
        };
        task.kill = Some(asked.clone());
        let (command, timer) = (task.command, task.kill_timer.take());
        let own = task.container.clone();
        self.timers.cancel(timer);
        self.record_kill(key, &asked, out);
        if command {
            self.kill_command(key, &id, &asked, first, out);
        } else if let Some(container) = own {
            self.kill_nested(key, container, &asked, first, out);
        } else if waits {
            self.killed(key, "Killed before delivery to the executor", out);
            self.kill_group_of(key, cause, out);
        } else {
            self.pass_kill(key, &id, asked.policy, out);
        }
    }

    pub(crate) fn record_kill(&mut self, key: &TaskKey, kill: &Kill, out: &mut Vec<Output>) {
        self.checkpoint(Record::Kill(kill_record(key, kill)), out);
    }

    fn kill_command(
        &mut self,
        key: &TaskKey,
        id: &ExecutorId,
        kill: &Kill,
        first: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(executor) = self.executor_mut(&key.framework, id) else {
            return;
        };
        let container = executor.container.clone();
        if executor.phase != Phase::Terminating {
            executor.phase = Phase::Terminating;
            executor.end = Some(End::Shutdown);
        }
        if kill.during_launch {
            self.destroy(&container, out);
            return;
        }
        if first {
            out.push(Output::Signal {
                container,
                signal: SIGTERM,
            });
            self.announce_kill(key, kill, out);
        }
        self.await_grace(key, kill);
    }

    pub(crate) fn await_grace(&mut self, key: &TaskKey, kill: &Kill) {
        let timer = self
            .timers
            .set(kill.deadline, Timer::KillGrace(key.clone()));
        if let Some(task) = self.task_mut(key) {
            task.kill_timer = Some(timer);
        }
    }

    /// TASK_KILLING, for those who know it.
    pub(crate) fn announce_kill(&mut self, key: &TaskKey, kill: &Kill, out: &mut Vec<Output>) {
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return;
        };
        if kill.cause != Cause::Shutdown
            && messages::has_capability(&framework.info, Capability::TaskKillingState)
        {
            self.update(key, TaskState::Killing, Source::Executor, None, "", out);
        }
    }

    pub(crate) fn kill_grace_over(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        let Some(task) = self.task_mut(key) else {
            return;
        };
        task.kill_timer = None;
        if task.container.is_some() {
            return self.destroy_nested(key, out);
        }
        let Some(id) = task.executor.clone() else {
            return;
        };
        if let Some(container) = self
            .executor(&key.framework, &id)
            .map(|executor| executor.container.clone())
        {
            self.destroy(&container, out);
        }
    }

    pub(crate) fn took_too_long(&mut self, key: &TaskKey, out: &mut Vec<Output>) {
        if let Some(task) = self.task_mut(key) {
            task.completion_timer = None;
        }
        self.kill(key, None, Cause::TooLong, out);
    }

    // ---- ends -------------------------------------------------------------------------------------------------------------------

    pub(crate) fn command_exited(&mut self, key: &TaskKey, exit: &Exit, out: &mut Vec<Output>) {
        if let Some(limitation) = &exit.limitation {
            self.limited(key, limitation, out);
            return;
        }
        let Some(task) = self.task(key) else { return };
        let message = ended("Command", exit.status);
        if task.kill.is_some() || self.ending.is_some() {
            self.killed(key, &message, out);
            return;
        }
        match exit.status {
            None => {
                let reason = Some(Reason::ExecutorTerminated);
                self.update(
                    key,
                    TaskState::Failed,
                    Source::Agent,
                    reason,
                    "the task's container is gone, and nothing tells how it ended",
                    out,
                );
            }
            Some(status) => {
                let state = if exit_code(status) == Some(0) {
                    TaskState::Finished
                } else {
                    TaskState::Failed
                };
                self.update(key, state, Source::Executor, None, message, out);
            }
        }
    }

    /// The terminal update of a task whose end was asked for.
    pub(crate) fn killed(&mut self, key: &TaskKey, message: &str, out: &mut Vec<Output>) {
        if self.is_preempted(key) {
            return self.preempted(key, out);
        }
        let Some(task) = self.task(key) else { return };
        let (cause, during_launch) = task.kill.as_ref().map_or((Cause::Shutdown, false), |kill| {
            (kill.cause, kill.during_launch)
        });
        let during = during_launch.then_some(Reason::TaskKilledDuringLaunch);
        let source = if during_launch {
            Source::Agent
        } else {
            Source::Executor
        };
        let mut status = match cause {
            Cause::TooLong => self.status(
                key,
                TaskState::Failed,
                source,
                Some(Reason::MaxCompletionTimeReached),
                "Task exceeded its maximum completion time".to_owned(),
            ),
            _ => self.status(key, TaskState::Killed, source, during, message.to_owned()),
        };
        if cause == Cause::Unhealthy {
            status.healthy = Some(false);
        }
        if status.state == TaskState::Killed.number()
            && self.drain.is_some()
            && cause != Cause::Shutdown
        {
            self.drained(key, &mut status);
        }
        self.take_update(key, status, false, out);
    }
}

pub(crate) fn kill_record(key: &TaskKey, kill: &Kill) -> KillRecord {
    KillRecord {
        framework_id: key.framework.as_str().to_owned(),
        task_id: key.task.as_str().to_owned(),
        deadline: kill.deadline.as_nanos(),
        cause: kill.cause as u32,
        policy: kill.policy,
        during_launch: kill.during_launch,
    }
}
