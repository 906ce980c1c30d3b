//! From an update and what was there before to a canonical app: aliases, defaults. Faults are left for `validate`.

use std::collections::BTreeSet;

use super::{
    Setting,
    app::{
        App, Constraint, HealthCheck, IpProtocol, KillSelection, Operator, PortDefinition, Protocol,
    },
    container::{self, Artifact},
    place,
    reader::Faults,
    update::{AppUpdate, HealthUpdate, PortUpdate, UnreachableUpdate},
};
use crate::{
    definition::{Residency, UnreachableStrategy, UpgradeStrategy},
    path::PathId,
    timestamp::Timestamp,
};

/// Applies `update` to `old` (or to the defaults). Version data is set by the caller.
pub(crate) fn apply(
    update: AppUpdate,
    id: PathId,
    old: Option<&App>,
    setting: Setting<'_>,
    faults: &mut Faults,
) -> App {
    for (path, message) in &update.not_built {
        faults.add(path.trim_end_matches('/'), message);
    }
    let ports = declared_ports(update.port_definitions, update.ports, faults);
    let mapped = update.container.as_ref().is_some_and(|update| {
        update.container.port_mappings.is_some() || update.docker_mappings.is_some()
    });
    let explicit_ports = ports.is_some() || mapped || old.is_some();
    let place = place::Update {
        container: update.container,
        networks: update.networks,
        ip_address: update.ip_address,
        ports,
    };
    let fetch = fetch(update.fetch, update.uris, faults);
    let mut app = old.map_or_else(
        || {
            let role = setting
                .enforced_role(&id)
                .unwrap_or(setting.default_role)
                .to_owned();
            defaults(id, &role)
        },
        App::clone,
    );
    set_some(&mut app.cmd, update.cmd);
    set(&mut app.args, update.args);
    set(&mut app.cpus, update.cpus);
    set(&mut app.mem, update.mem);
    set(&mut app.disk, update.disk);
    set(&mut app.gpus, update.gpus);
    // Marathon takes these two as they are, also when they are absent.
    app.resource_limits = update.resource_limits;
    app.executor_resources = update.executor_resources;
    set_some(&mut app.tty, update.tty);
    set_some(&mut app.check, update.check);
    set(&mut app.instances, update.instances);
    set(&mut app.executor, update.executor);
    set_some(&mut app.user, update.user);
    set(&mut app.env, update.env);
    set(&mut app.labels, update.labels);
    set(
        &mut app.constraints,
        update
            .constraints
            .map(|all| constraints(all, "/constraints", faults)),
    );
    set_some(
        &mut app.accepted_resource_roles,
        update
            .accepted_resource_roles
            .map(|roles| roles.into_iter().collect()),
    );
    set(&mut app.role, update.role);
    set(
        &mut app.dependencies,
        update
            .dependencies
            .map(|all| all.iter().map(|path| PathId::resolve(path)).collect()),
    );
    set(&mut app.fetch, fetch);
    set(&mut app.require_ports, update.require_ports);
    place::apply(&mut app, place, setting, faults);
    set(
        &mut app.health_checks,
        update
            .health_checks
            .map(|all| health_checks(all, explicit_ports, faults)),
    );
    set(&mut app.readiness_checks, update.readiness_checks);
    set(
        &mut app.backoff_seconds,
        update.backoff_seconds.map(u64::from),
    );
    set(&mut app.backoff_factor, update.backoff_factor);
    set(
        &mut app.max_launch_delay_seconds,
        update.max_launch_delay_seconds.map(u64::from),
    );
    set_some(
        &mut app.task_kill_grace_period_seconds,
        update.task_kill_grace_period_seconds.map(u64::from),
    );
    let fresh = old.is_none();
    app.residency = app.is_resident().then(Residency::default);
    let external = app.external_volumes().next().is_some();
    if (app.residency.is_some() || external) && fresh {
        app.upgrade_strategy = UpgradeStrategy {
            minimum_health_capacity: 0.5,
            maximum_over_capacity: 0.0,
        };
    }
    if app.residency.is_some() && fresh {
        app.unreachable_strategy = UnreachableStrategy::Disabled;
    }
    set(&mut app.upgrade_strategy, update.upgrade_strategy);
    set(
        &mut app.unreachable_strategy,
        update
            .unreachable_strategy
            .map(|strategy| unreachable(strategy, "/unreachableStrategy", faults)),
    );
    set(&mut app.kill_selection, update.kill_selection);
    app
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

/// What a definition is that says nothing.
pub(super) fn defaults(id: PathId, default_role: &str) -> App {
    App {
        id,
        cmd: None,
        args: Vec::new(),
        cpus: 1.0,
        mem: 128.0,
        disk: 0.0,
        gpus: 0,
        resource_limits: None,
        tty: None,
        executor_resources: None,
        check: None,
        instances: 1,
        executor: String::new(),
        user: None,
        env: [].into(),
        labels: [].into(),
        constraints: Vec::new(),
        accepted_resource_roles: None,
        role: default_role.to_owned(),
        dependencies: BTreeSet::new(),
        networks: place::host(),
        container: None,
        fetch: Vec::new(),
        port_definitions: None,
        require_ports: false,
        health_checks: Vec::new(),
        readiness_checks: Vec::new(),
        backoff_seconds: 1,
        backoff_factor: 1.15,
        max_launch_delay_seconds: 300,
        task_kill_grace_period_seconds: None,
        upgrade_strategy: UpgradeStrategy {
            minimum_health_capacity: 1.0,
            maximum_over_capacity: 1.0,
        },
        unreachable_strategy: UnreachableStrategy::Replace {
            inactive_after_seconds: 0,
            expunge_after_seconds: 0,
        },
        kill_selection: KillSelection::YoungestFirst,
        residency: None,
        version: Timestamp::default(),
        version_info: None,
        pod: None,
    }
}

/// `fetch`, or `uris` in its form.
fn fetch(
    fetch: Option<Vec<Artifact>>,
    uris: Option<Vec<String>>,
    faults: &mut Faults,
) -> Option<Vec<Artifact>> {
    let there = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let (files, names) = (fetch.as_ref().map(Vec::len), uris.as_ref().map(Vec::len));
    if there(files) && there(names) {
        faults.add("/uris", "may not be set in conjunction with fetch");
    }
    if there(files) {
        return fetch;
    }
    uris.map(container::from_uris).or(fetch)
}

/// `portDefinitions`, or `ports` in their form.
fn declared_ports(
    definitions: Option<Vec<PortUpdate>>,
    ports: Option<Vec<u16>>,
    faults: &mut Faults,
) -> Option<Vec<PortDefinition>> {
    if let Some(ports) = &ports {
        let mut seen = BTreeSet::new();
        if ports.iter().any(|port| *port != 0 && !seen.insert(*port)) {
            faults.add("/ports", "ports must be unique");
        }
        if let Some(definitions) = &definitions
            && !ports.is_empty()
            && !definitions.is_empty()
            && !definitions
                .iter()
                .map(|definition| definition.port)
                .eq(ports.iter().copied())
        {
            faults.add("/", "cannot specify both ports and port definitions");
        }
    }
    let definitions = match (definitions, ports) {
        (Some(definitions), Some(ports)) if definitions.is_empty() && !ports.is_empty() => {
            from_ports(ports)
        }
        (Some(definitions), _) => definitions,
        (None, Some(ports)) => from_ports(ports),
        (None, None) => return None,
    };
    let definition = |PortUpdate {
                          port,
                          protocol,
                          name,
                          labels,
                      }| PortDefinition {
        port,
        protocol,
        name,
        labels,
    };
    Some(definitions.into_iter().map(definition).collect())
}

fn from_ports(ports: Vec<u16>) -> Vec<PortUpdate> {
    let definition = |port| PortUpdate {
        port,
        protocol: Protocol::Tcp,
        name: None,
        labels: [].into(),
    };
    ports.into_iter().map(definition).collect()
}

/// Constraints that stand at `base`.
pub(super) fn constraints(
    all: Vec<Vec<String>>,
    base: &str,
    faults: &mut Faults,
) -> Vec<Constraint> {
    let mut read: Vec<Constraint> = Vec::new();
    for (at, parts) in all.into_iter().enumerate() {
        let path = format!("{base}({at})");
        match constraint(parts) {
            Ok(constraint) if read.contains(&constraint) => {
                faults.add(base, "Elements must be unique.")
            }
            Ok(constraint) => read.push(constraint),
            Err(message) => faults.add(path, message),
        }
    }
    read
}

fn constraint(parts: Vec<String>) -> Result<Constraint, &'static str> {
    let count = parts.len();
    let mut parts = parts.into_iter();
    let (field, operator, value) = match count {
        0 => return Err("Missing field and operator"),
        2 | 3 => (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
            parts.next(),
        ),
        _ => return Err("Each constraint must have either 2 or 3 fields"),
    };
    if field.is_empty() {
        return Err("missing field for constraint declaration");
    }
    let operator =
        Operator::parse(&operator).ok_or("operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS")?;
    let integer = |value: &String| value.parse::<u32>().is_ok();
    let plain = |value: &String| {
        value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte))
    };
    match (operator, &value) {
        (Operator::Unique, Some(value)) if !value.is_empty() => {
            Err("UNIQUE does not accept a value")
        }
        (Operator::GroupBy, Some(value)) if !value.is_empty() && !integer(value) => {
            Err("GROUP BY must define an integer value or else no value at all")
        }
        (Operator::MaxPer, value) if !value.as_ref().is_some_and(integer) => {
            Err("MAX_PER requires an integer value")
        }
        (Operator::Like | Operator::Unlike, None) => {
            Err("LIKE and UNLIKE require a non-empty, regular expression value")
        }
        (Operator::Like | Operator::Unlike, Some(value)) if value.is_empty() => {
            Err("LIKE and UNLIKE require a non-empty, regular expression value")
        }
        (Operator::Like | Operator::Unlike, Some(value)) if regex::Regex::new(value).is_err() => {
            Err("is not a valid regular expression")
        }
        (Operator::Is, value) if !value.as_ref().is_some_and(plain) => Err(
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
        _ => Ok(Constraint {
            field,
            operator,
            value,
        }),
    }
}

fn health_checks(
    all: Vec<HealthUpdate>,
    explicit_ports: bool,
    faults: &mut Faults,
) -> Vec<HealthCheck> {
    let mut checks = Vec::new();
    for (at, update) in all.into_iter().enumerate() {
        let protocol = update.protocol;
        let command = protocol == super::HealthProtocol::Command;
        let http = matches!(
            protocol,
            super::HealthProtocol::Http | super::HealthProtocol::Https
        );
        let path = |key: &str| format!("/healthChecks({at}){key}");
        if command != update.command.is_some() {
            faults.add(
                path("/command"),
                if command {
                    "not defined"
                } else {
                    "must be empty"
                },
            );
        }
        let explicit = update.port.is_some() || update.port_index.is_some();
        let check = HealthCheck {
            protocol,
            path: update.path,
            port_index: update
                .port_index
                .or((!explicit && !command && explicit_ports).then_some(0)),
            port: update.port,
            command: update.command,
            grace_period_seconds: update.grace_period_seconds,
            interval_seconds: update.interval_seconds,
            timeout_seconds: update.timeout_seconds,
            max_consecutive_failures: update.max_consecutive_failures,
            delay_seconds: update.delay_seconds,
            ignore_http1xx: http.then_some(update.ignore_http1xx),
            ip_protocol: if update.ipv6 {
                IpProtocol::IPv6
            } else {
                IpProtocol::IPv4
            },
        };
        // They are a set.
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    checks
}

/// A strategy that stands at `path`.
pub(super) fn unreachable(
    update: UnreachableUpdate,
    path: &str,
    faults: &mut Faults,
) -> UnreachableStrategy {
    let UnreachableUpdate::Replace {
        inactive_after_seconds: inactive,
        expunge_after_seconds: expunge,
    } = update
    else {
        return UnreachableStrategy::Disabled;
    };
    if inactive < 0 {
        let message =
            format!("inactiveAfterSeconds ({inactive}) must be greater than or equal to 0");
        faults.add(path, message);
    } else if inactive > expunge {
        let message = format!(
            "inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
        );
        faults.add(path, message);
    }
    UnreachableStrategy::Replace {
        inactive_after_seconds: u64::try_from(inactive).unwrap_or(0),
        expunge_after_seconds: u64::try_from(expunge).unwrap_or(0),
    }
}
