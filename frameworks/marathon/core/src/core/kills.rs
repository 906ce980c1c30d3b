//! Killing tasks: so many at a time, repeated until their end is heard of. A task whose agent is unreachable cannot be told: it takes no turn from
//! those that can, and is killed once it is heard of again.

use std::time::Duration;

use tepui_model::Time;

use super::{Marathon, Timer};
use crate::{ended::Cause, instance::Condition, output::Output, view::Change};

/// A kill that the master was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// When it is sent again.
    retry: Time,
    /// How often it was sent.
    attempts: usize,
}

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
        self.overdue.remove(&key);
        if let Some(Some(sent)) = self.kills.remove(&key) {
            self.no_more_in_flight(key, sent);
        }
    }

    fn no_more_in_flight(&mut self, key: u64, sent: Sent) {
        self.kill_figures.in_flight -= 1;
        self.kill_figures.attempts -= sent.attempts;
        self.timers.remove(&(sent.retry, Timer::Kill(key)));
    }

    /// Whether nothing can be told to its task.
    fn is_out_of_reach(&self, key: u64) -> bool {
        self.instance(key)
            .is_some_and(|instance| instance.condition.is_out_of_reach())
    }

    /// The agent of a task that is to be killed is unreachable now, or is not any more.
    pub(super) fn reach_changed(&mut self, key: u64) {
        let Some(sent) = self.kills.get(&key).copied() else {
            return;
        };
        match sent {
            Some(sent) if self.is_out_of_reach(key) => {
                self.no_more_in_flight(key, sent);
                self.kills.insert(key, None);
            }
            None if !self.is_out_of_reach(key) => self.kill_queue.push_back(key),
            _ => {}
        }
    }

    /// Sends as many kills as may be in flight. Those that nobody can be told of leave the queue until [`Self::reach_changed`].
    pub(super) fn pump_kills(&mut self) {
        while self.kill_figures.in_flight < self.config.kill_chunk_size.max(1) {
            let Some(key) = self.kill_queue.pop_front() else {
                return;
            };
            if self.kills.get(&key) == Some(&None) && !self.is_out_of_reach(key) {
                self.kill_figures.in_flight += 1;
                self.send_kill(key);
            }
        }
    }

    pub(super) fn repeat_kill(&mut self, key: u64) {
        if self
            .kills
            .get(&key)
            .is_some_and(|sent| sent.is_some_and(|sent| sent.retry <= self.now))
        {
            self.send_kill(key);
        }
    }

    fn send_kill(&mut self, key: u64) {
        let retry = self.now + Duration::from_millis(self.config.kill_retry_ms);
        let before = self.kills.get(&key).copied().flatten();
        let attempts = before.map_or(0, |sent| sent.attempts) + 1;
        self.kills.insert(key, Some(Sent { retry, attempts }));
        self.kill_figures.attempts += 1;
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

    /// Shows how many kills are under way, if that is not what was shown last.
    pub(super) fn show_kills(&mut self) {
        self.kill_figures.overdue = self.overdue.len();
        if self.kill_figures != self.kills_shown {
            self.kills_shown = self.kill_figures;
            self.outbox
                .push(Output::Change(Change::Kills(self.kill_figures)));
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
            self.overdue.insert(key);
            self.kill(key, Cause::StartTimeout);
        } else {
            self.timers.insert((deadline, Timer::Launch(key)));
        }
    }
}
