//! Health bookkeeping: results come in, consequences come out.
//!
//! Failures before the first success and within the grace period do not count. The instance is killed when a failure counts and as many
//! as are borne had counted before it (with `maxConsecutiveFailures` m, at the m+1st; never with 0). Results live in memory: a new leader
//! starts without.

use std::sync::Arc;

use crate::{
    definition::{
        App, HealthCheck, HealthProtocol, NetworkMode, PortSlot, ReadinessCheck, ReadinessProtocol,
    },
    instance::{HealthCheckResult, Task},
    output::{CheckId, Probe, ProbeTarget},
    timestamp::Timestamp,
};

/// How one check of an instance stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckState {
    /// The probe that the shell runs for it.
    pub(crate) probe: Option<CheckId>,
    failures: u32,
    first_success: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_failure: Option<Timestamp>,
    cause: Option<String>,
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consequence {
    /// The failure counted.
    pub(crate) failed: bool,
    /// The check began to pass, or ceased to.
    pub(crate) flipped: bool,
    /// The instance has to be killed.
    pub(crate) kill: bool,
}

impl CheckState {
    /// The last success is later than the last failure.
    pub(crate) fn alive(&self) -> bool {
        self.failures == 0 && self.last_success.is_some()
    }

    /// Nothing was heard yet.
    pub(crate) fn is_unknown(&self) -> bool {
        self.last_success.is_none() && self.last_failure.is_none()
    }

    pub(crate) fn success(&mut self, now: Timestamp) -> Consequence {
        let before = self.alive();
        self.failures = 0;
        self.first_success = self.first_success.or(Some(now));
        self.last_success = Some(now);
        Consequence {
            failed: false,
            flipped: !before,
            kill: false,
        }
    }

    /// `running_since` begins the grace period.
    pub(crate) fn failure(
        &mut self,
        check: &HealthCheck,
        cause: String,
        running_since: Timestamp,
        now: Timestamp,
    ) -> Consequence {
        let grace = i64::from(check.grace_period_seconds) * 1000;
        if self.first_success.is_none() && now.millis() < running_since.millis() + grace {
            return Consequence {
                failed: false,
                flipped: false,
                kill: false,
            };
        }
        let (before, unknown) = (self.alive(), self.is_unknown());
        let borne = check.max_consecutive_failures;
        let kill = borne > 0 && self.failures >= borne;
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        self.cause = Some(cause);
        Consequence {
            failed: true,
            flipped: before || unknown,
            kill,
        }
    }

    pub(crate) fn result(&self, instance_id: &Arc<str>) -> Option<HealthCheckResult> {
        (!self.is_unknown()).then(|| HealthCheckResult {
            alive: self.alive(),
            consecutive_failures: self.failures,
            first_success: self.first_success,
            instance_id: instance_id.clone(),
            last_success: self.last_success,
            last_failure: self.last_failure,
            last_failure_cause: self.cause.clone(),
        })
    }
}

/// Over all checks: true if all are alive, none if some are unknown, false otherwise.
pub(crate) fn aggregate(checks: &[CheckState]) -> Option<bool> {
    if checks.is_empty() || checks.iter().any(CheckState::is_unknown) {
        None
    } else {
        Some(checks.iter().all(CheckState::alive))
    }
}

/// The port that a check addresses within the task's own network.
pub(crate) fn port(check: &HealthCheck, app: &App, ports: &[u16]) -> Option<u16> {
    port_of(check.port_index, check.port, app, ports)
}

/// A port by its number, or by its place among the app's.
pub(crate) fn port_of(
    index: Option<u32>,
    port: Option<u16>,
    app: &App,
    ports: &[u16],
) -> Option<u16> {
    let index = index.unwrap_or(0) as usize;
    let inside = |slot: &PortSlot<'_>| slot.container_port.filter(|port| *port != 0);
    port.filter(|port| *port != 0)
        .or_else(|| app.ports().get(index).and_then(inside))
        .or_else(|| app.host_ports(ports).get(index).copied().flatten())
}

/// Where a check of Marathon's own reaches a task: the agent's address if a port of it leads there, the task's otherwise.
fn endpoint(check: &HealthCheck, app: &App, host: &str, task: &Task) -> Option<(String, u16)> {
    let index = check.port_index.unwrap_or(0) as usize;
    let outside = app.host_ports(&task.ports).get(index).copied().flatten();
    if has_own_address(app) && outside.is_none() {
        let address = task.addresses.first()?.ip_address.clone();
        return Some((address, port(check, app, &task.ports)?));
    }
    let named = check.port.filter(|port| *port != 0);
    Some((host.to_owned(), named.or(outside)?))
}

fn has_own_address(app: &App) -> bool {
    app.networks
        .iter()
        .any(|network| network.mode == NetworkMode::Container)
}

/// The probe of a readiness check, by the same rule.
pub(crate) fn readiness_probe(
    id: CheckId,
    check: &ReadinessCheck,
    app: &App,
    host: &str,
    task: &Task,
) -> Option<Probe> {
    let slots = app.ports();
    let named = |slot: &PortSlot<'_>| slot.name == Some(check.port_name.as_str());
    let index = slots.iter().position(named)?;
    let outside = app.host_ports(&task.ports).get(index).copied().flatten();
    let (host, port) = match outside {
        Some(port) => (host.to_owned(), port),
        None if has_own_address(app) => (
            task.addresses.first()?.ip_address.clone(),
            slots[index].container_port.filter(|port| *port != 0)?,
        ),
        None => return None,
    };
    Some(Probe {
        check: id,
        task_id: task.id.to_string(),
        target: ProbeTarget::Readiness {
            tls: check.protocol == ReadinessProtocol::Https,
            path: with_slash(&check.path),
        },
        host,
        port,
        first_after_ms: 0,
        interval_ms: u64::from(check.interval_seconds) * 1000,
        timeout_ms: u64::from(check.timeout_seconds) * 1000,
    })
}

/// The path of an HTTP check, with its leading slash.
pub(crate) fn path(check: &HealthCheck) -> String {
    with_slash(check.path.as_deref().unwrap_or("/"))
}

fn with_slash(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// The probe of a check that Marathon runs itself.
pub(crate) fn probe(
    id: CheckId,
    check: &HealthCheck,
    app: &App,
    host: &str,
    task: &Task,
) -> Option<Probe> {
    let (host, port) = endpoint(check, app, host, task)?;
    let http = |tls| ProbeTarget::Http {
        tls,
        path: path(check),
        ignore_1xx: check.ignore_http1xx == Some(true),
    };
    let target = match check.protocol {
        HealthProtocol::Http => http(false),
        HealthProtocol::Https => http(true),
        HealthProtocol::Tcp => ProbeTarget::Tcp,
        _ => return None,
    };
    let interval_ms = u64::from(check.interval_seconds) * 1000;
    Some(Probe {
        check: id,
        task_id: task.id.to_string(),
        target,
        host,
        port,
        first_after_ms: interval_ms.min(5000),
        interval_ms,
        timeout_ms: u64::from(check.timeout_seconds) * 1000,
    })
}
