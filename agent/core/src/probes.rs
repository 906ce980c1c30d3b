//! Checks and health checks of command tasks: when to look, and what follows from what was seen.
//!
//! Health checks report every failure beyond the grace and the first success after it, and kill after so many failures in a row. Checks
//! report what has changed. Both look again an interval after the last look ended.

use std::sync::Arc;
use std::time::Duration;

use tepui_model::TaskState;
use tepui_proto::mesos::v1::task_status::{Reason, Source};
use tepui_proto::mesos::v1::{
    CheckInfo, CheckStatusInfo, HealthCheck, check_info, check_status_info, health_check,
};

use crate::agent::{Agent, Timer};
use crate::input::ProbeResult;
use crate::messages::seconds;
use crate::output::{Output, Probe, ProbeKind};
use crate::task::{Cause, Prober, TaskKey};

/// Which of a task's two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `health_check`.
    Health,
    /// `check`.
    Check,
}

/// The shortest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(10);

/// The kind of a health check; unset, it is told by which part is there.
pub(crate) fn health_type(check: &HealthCheck) -> health_check::Type {
    match check.r#type() {
        health_check::Type::Unknown if check.command.is_some() => health_check::Type::Command,
        health_check::Type::Unknown if check.http.is_some() => health_check::Type::Http,
        health_check::Type::Unknown if check.tcp.is_some() => health_check::Type::Tcp,
        known => known,
    }
}

fn is_healthy(status: &CheckStatusInfo) -> bool {
    if let Some(code) = status
        .command
        .as_ref()
        .and_then(|command| command.exit_code)
    {
        return code == 0;
    }
    if let Some(code) = status.http.as_ref().and_then(|http| http.status_code) {
        return (200..400).contains(&code);
    }
    status
        .tcp
        .as_ref()
        .and_then(|tcp| tcp.succeeded)
        .unwrap_or(false)
}

/// What is told of a check that has found nothing yet, or could not be carried out.
fn nothing_found(check: &CheckInfo) -> CheckStatusInfo {
    let kind = check.r#type();
    CheckStatusInfo {
        r#type: Some(kind.into()),
        command: (kind == check_info::Type::Command).then(check_status_info::Command::default),
        http: (kind == check_info::Type::Http).then(check_status_info::Http::default),
        tcp: (kind == check_info::Type::Tcp).then(check_status_info::Tcp::default),
    }
}

impl Agent {
    /// The task's process runs: looks begin after their delays.
    pub(crate) fn start_probes(&mut self, key: &TaskKey) {
        let now = self.now;
        let Some(task) = self.task(key) else { return };
        let health = task
            .info
            .health_check
            .as_ref()
            .map(|check| seconds(check.delay_seconds()));
        let check = task
            .info
            .check
            .as_ref()
            .map(|check| (seconds(check.delay_seconds()), nothing_found(check)));
        let prober = |timer| Prober {
            timer: Some(timer),
            began: now,
            ..Prober::default()
        };
        let health =
            health.map(|delay| prober(self.timers.set(now + delay, Timer::Health(key.clone()))));
        let found = check.as_ref().map(|(_, nothing)| *nothing);
        let check =
            check.map(|(delay, _)| prober(self.timers.set(now + delay, Timer::Check(key.clone()))));
        if let Some(task) = self.task_mut(key) {
            task.health = health;
            task.check = check;
            if task.check_status.is_none() {
                task.check_status = found;
            }
        }
    }

    /// It is time to look.
    pub(crate) fn probe(&mut self, key: &TaskKey, kind: Kind, out: &mut Vec<Output>) {
        let number = self.next_probe;
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        let of_executor = || {
            let id = task.executor.as_ref()?;
            Some(framework.executors.get(id)?.container.clone())
        };
        let Some(container) = task.container.clone().or_else(of_executor) else {
            return;
        };
        let (what, timeout, prober) = match kind {
            Kind::Health => {
                let Some(check) = &task.info.health_check else {
                    return;
                };
                let named = HealthCheck {
                    r#type: Some(health_type(check).into()),
                    ..HealthCheck::clone(check)
                };
                (
                    ProbeKind::Health(Arc::new(named)),
                    check.timeout_seconds(),
                    &mut task.health,
                )
            }
            Kind::Check => {
                let Some(check) = &task.info.check else {
                    return;
                };
                (
                    ProbeKind::Check(Arc::new(CheckInfo::clone(check))),
                    check.timeout_seconds(),
                    &mut task.check,
                )
            }
        };
        let Some(prober) = prober else { return };
        prober.timer = None;
        prober.running = Some(number);
        let timeout = Some(seconds(timeout))
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(Duration::from_secs(20));
        out.push(Output::Probe(Box::new(Probe {
            probe: number,
            container,
            kind: what,
            timeout,
        })));
        self.next_probe += 1;
        self.probes.insert(number, (key.clone(), kind));
    }

    pub(crate) fn probed(&mut self, probe: u64, result: ProbeResult, out: &mut Vec<Output>) {
        let Some((key, kind)) = self.probes.swap_remove(&probe) else {
            return;
        };
        let now = self.now;
        let Some(task) = self.task_mut(&key) else {
            return;
        };
        let (prober, interval) = match kind {
            Kind::Health => (
                &mut task.health,
                task.info
                    .health_check
                    .as_ref()
                    .map(|check| check.interval_seconds()),
            ),
            Kind::Check => (
                &mut task.check,
                task.info
                    .check
                    .as_ref()
                    .map(|check| check.interval_seconds()),
            ),
        };
        let Some(prober) = prober
            .as_mut()
            .filter(|prober| prober.running == Some(probe))
        else {
            return;
        };
        prober.running = None;
        let again = match kind {
            Kind::Health => self.health_found(&key, &result, out),
            Kind::Check => self.check_found(&key, result, out),
        };
        if !again {
            return;
        }
        let at = now + seconds(interval.unwrap_or_default()).max(SHORTEST);
        let timer = self.timers.set(
            at,
            if kind == Kind::Health {
                Timer::Health(key.clone())
            } else {
                Timer::Check(key.clone())
            },
        );
        let Some(task) = self.task_mut(&key) else {
            return;
        };
        let prober = if kind == Kind::Health {
            &mut task.health
        } else {
            &mut task.check
        };
        if let Some(prober) = prober {
            prober.timer = Some(timer);
        }
    }

    /// True if there is reason to look again.
    fn health_found(&mut self, key: &TaskKey, result: &ProbeResult, out: &mut Vec<Output>) -> bool {
        let now = self.now;
        let Some(task) = self.task_mut(key) else {
            return false;
        };
        let Some(check) = task.info.health_check.as_ref() else {
            return false;
        };
        let grace = seconds(check.grace_period_seconds());
        let limit = check.consecutive_failures();
        let never_healthy = task.healthy.is_none();
        let Some(prober) = task.health.as_mut() else {
            return false;
        };
        if matches!(result, ProbeResult::Found(status) if is_healthy(status)) {
            prober.failures = 0;
            if task.healthy != Some(true) {
                self.tell_health(key, true, String::new(), out);
            }
            return true;
        }
        if never_healthy && prober.failures == 0 && now < prober.began + grace {
            return true;
        }
        prober.failures += 1;
        let kill = prober.failures >= limit;
        let message = match result {
            ProbeResult::Failed(why) => format!("Health check failed: {why}"),
            ProbeResult::Found(_) => "Health check failed".to_owned(),
        };
        self.tell_health(key, false, message, out);
        if kill {
            self.kill(key, None, Cause::Unhealthy, out);
        }
        !kill
    }

    fn tell_health(
        &mut self,
        key: &TaskKey,
        healthy: bool,
        message: String,
        out: &mut Vec<Output>,
    ) {
        if self
            .task(key)
            .is_some_and(|task| task.state != TaskState::Running)
        {
            return;
        }
        let reason = Some(Reason::TaskHealthCheckStatusUpdated);
        let mut status = self.status(key, TaskState::Running, Source::Executor, reason, message);
        status.healthy = Some(healthy);
        self.take_update(key, status, false, out);
    }

    fn check_found(&mut self, key: &TaskKey, result: ProbeResult, out: &mut Vec<Output>) -> bool {
        let Some(task) = self.task(key) else {
            return false;
        };
        let Some(check) = task.info.check.as_ref() else {
            return false;
        };
        let (found, message) = match result {
            ProbeResult::Found(found) => (
                CheckStatusInfo {
                    r#type: Some(check.r#type().into()),
                    ..found
                },
                String::new(),
            ),
            ProbeResult::Failed(why) => (nothing_found(check), format!("Check failed: {why}")),
        };
        if task.check_status.as_ref() != Some(&found) && task.state == TaskState::Running {
            let reason = Some(Reason::TaskCheckStatusUpdated);
            let mut status =
                self.status(key, TaskState::Running, Source::Executor, reason, message);
            status.check_status = Some(found);
            self.take_update(key, status, false, out);
        }
        true
    }
}
