//! Killing tasks: so many at a time, repeated until their end is heard of.

use std::time::Duration;

use tepui_model::Time;

use super::{Marathon, Timer};
use crate::{ended::Cause, instance::Condition, output::Output};

impl Marathon {
    /// Kills the task of an instance, whatever its goal is.
    pub(super) fn kill(&mut self, key: u64, cause: Cause) {
        let killable = self
            .instance(key)
            .is_some_and(|instance| instance.condition.is_active() && instance.task.is_some());
        if killable && !self.kills.contains_key(&key) {
            self.blame(key, cause);
            self.kills.insert(key, None);
            self.kill_queue.push_back(key);
        }
    }

    /// Takes note that a task is over.
    pub(super) fn end_kill(&mut self, key: u64) {
        if let Some(Some(retry)) = self.kills.remove(&key) {
            self.kills_in_flight -= 1;
            self.timers.remove(&(retry, Timer::Kill(key)));
        }
    }

    /// Sends as many kills as may be in flight.
    pub(super) fn pump_kills(&mut self) {
        while self.kills_in_flight < self.config.kill_chunk_size.max(1) {
            let Some(key) = self.kill_queue.pop_front() else {
                return;
            };
            if self.kills.get(&key) == Some(&None) {
                self.kills_in_flight += 1;
                self.send_kill(key);
            }
        }
    }

    pub(super) fn repeat_kill(&mut self, key: u64) {
        if self
            .kills
            .get(&key)
            .is_some_and(|retry| retry.is_some_and(|at| at <= self.now))
        {
            self.send_kill(key);
        }
    }

    fn send_kill(&mut self, key: u64) {
        let retry = self.now + Duration::from_millis(self.config.kill_retry_ms);
        self.kills.insert(key, Some(retry));
        self.timers.insert((retry, Timer::Kill(key)));
        if let Some(instance) = self.instances.get(&key) {
            let agent_id = instance.agent.as_ref().map(|agent| agent.id.to_string());
            for task_id in instance.task.iter().flat_map(|task| task.live()) {
                self.outbox.push(Output::Kill {
                    task_id: task_id.to_string(),
                    agent_id: agent_id.clone(),
                });
            }
        }
    }

    /// Kills a task that takes too long to be confirmed or to run.
    pub(super) fn check_launch(&mut self, key: u64) {
        let Some((condition, staged_at)) = self
            .instance(key)
            .and_then(|instance| Some((instance.condition, instance.task.as_ref()?.staged_at)))
        else {
            return;
        };
        let limit_ms = match condition {
            Condition::Provisioned => self.config.task_launch_confirm_timeout_ms,
            Condition::Staging | Condition::Starting => self.config.task_launch_timeout_ms,
            _ => return,
        };
        let deadline = Time::from_millis(staged_at.millis()) + Duration::from_millis(limit_ms);
        if self.now >= deadline {
            self.tell_trial(key, "its task did not run in time");
            self.kill(key, Cause::StartTimeout);
        } else {
            self.timers.insert((deadline, Timer::Launch(key)));
        }
    }
}
