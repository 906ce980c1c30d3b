//! What Mesos is told to run: the `TaskInfo` of an instance, with all the variables that Marathon's users rely on.

use std::{collections::BTreeMap, fmt::Write};

use tepui_proto::mesos::{
    AgentId, CheckInfo, CommandInfo, ContainerInfo, DiscoveryInfo, DurationInfo, Environment,
    HealthCheck as MesosCheck, KillPolicy, Label, Labels, Port, Ports, Resource, TaskId, TaskInfo,
    check_info, command_info, discovery_info::Visibility, environment::Variable, health_check,
    network_info, value,
};

use super::{Agent, Instance, Task, executor_info::executor_info, persistence_id};
use crate::definition::{
    App, Artifact, Check, CheckProbe, Container, ContainerKind, HealthCheck, HealthProtocol,
    IpProtocol, Limit, ResourceLimits,
};
use crate::matching::Pool;

/// Names and values of labels beyond these lengths are left out of the environment.
const MAX_LABEL_KEY: usize = 512 - "MARATHON_APP_LABEL_".len();
const MAX_LABEL_VALUE: usize = 512;

/// The variable that tells an instance its ordinal.
pub(super) const ORDINAL: &str = "TEPUI_INSTANCE_ORDINAL";

/// What a task is told beside its app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// `--env_vars_prefix`.
    pub(crate) prefix: &'a str,
    /// The top-level group of the app demands its role.
    pub(crate) enforces_role: bool,
    /// `--mesos_bridge_name`.
    pub(crate) bridge_name: &'a str,
    /// `--executor`.
    pub(crate) executor: &'a str,
}

/// The task to launch for `instance`, which already has its task and agent.
///
/// # Errors
/// There is too little for it and an executor of its own; says for which.
pub(crate) fn task_info(
    instance: &Instance,
    agent: &Agent,
    task: &Task,
    resources: Vec<Resource>,
    surroundings: Surroundings<'_>,
) -> Result<TaskInfo, String> {
    let app = &*instance.spec;
    let environment = environment(instance, &task.id, &agent.host, &task.ports, surroundings);
    let command = command(app, environment);
    let container = super::container_info::container_info(app, task, surroundings.bridge_name);
    let of_task = |resources, command, container: Option<ContainerInfo>, executor| TaskInfo {
        name: app.id.reversed(),
        task_id: TaskId {
            value: task.id.to_string(),
        },
        agent_id: AgentId {
            value: agent.id.to_string(),
        },
        resources,
        command,
        executor,
        kill_policy: app
            .task_kill_grace_period_seconds
            .map(|seconds| KillPolicy {
                grace_period: Some(DurationInfo {
                    nanoseconds: i64::try_from(seconds.saturating_mul(1_000_000_000))
                        .unwrap_or(i64::MAX),
                }),
            }),
        container: container.map(Box::new),
        labels: (!app.labels.is_empty()).then(|| labels(&app.labels)),
        discovery: Some(Box::new(discovery(app, &task.ports))),
        health_check: app
            .health_checks
            .iter()
            .find(|check| check.protocol.is_mesos())
            .map(|check| Box::new(mesos_check(check, app, &task.ports))),
        check: app
            .check
            .as_ref()
            .map(|check| Box::new(shown_check(check, app, &task.ports))),
        limits: limits(app.resource_limits),
        ..TaskInfo::default()
    };
    let Some(path) = app.own_executor(surroundings.executor) else {
        return Ok(of_task(resources, Some(command), container, None));
    };
    let (volumes, plain): (Vec<Resource>, Vec<Resource>) = resources
        .into_iter()
        .partition(|one| persistence_id(one).is_some());
    let mut pool = Pool::reserved(&plain);
    let mut resources = pool
        .cut(&app.task_part(), &task.ports)
        .ok_or("what was taken of the offer is too little for its task")?;
    resources.extend(volumes);
    let part = app.executor_part(surroundings.executor);
    let executors = pool
        .cut(&part, &[])
        .ok_or("what was taken of the offer is too little for its executor")?;
    let executor = executor_info(path, app, &task.id, command, container, executors);
    Ok(of_task(resources, None, None, Some(Box::new(executor))))
}

/// Limits as Mesos has them.
pub(super) fn limits(limits: Option<ResourceLimits>) -> BTreeMap<String, value::Scalar> {
    let limits = limits.unwrap_or_default();
    let both = [("cpus", limits.cpus), ("mem", limits.mem)];
    let scalar = |(name, limit): (&str, Option<Limit>)| {
        let value = limit?.amount();
        Some((name.to_owned(), value::Scalar { value }))
    };
    both.into_iter().filter_map(scalar).collect()
}

fn command(app: &App, environment: BTreeMap<String, String>) -> CommandInfo {
    let variable = |(name, value)| Variable {
        name,
        value: Some(value),
        ..Variable::default()
    };
    CommandInfo {
        environment: Some(Environment {
            variables: environment.into_iter().map(variable).collect(),
        }),
        shell: Some(app.cmd.is_some()),
        value: app.cmd.clone().or_else(|| {
            let first = app.args.first().cloned();
            first.filter(|_| app.container.is_none())
        }),
        uris: app.fetch.iter().map(uri).collect(),
        arguments: app.args.clone(),
        user: app.user.clone(),
    }
}

pub(super) fn uri(artifact: &Artifact) -> command_info::Uri {
    command_info::Uri {
        value: artifact.uri.clone(),
        executable: Some(artifact.executable),
        extract: Some(artifact.extract),
        cache: Some(artifact.cache),
        output_file: artifact.dest_path.clone(),
    }
}

/// Later wins: context, ports and host, the app's own.
fn environment(
    instance: &Instance,
    task_id: &str,
    host: &str,
    ports: &[u16],
    surroundings: Surroundings<'_>,
) -> BTreeMap<String, String> {
    let app = &*instance.spec;
    let prefix = surroundings.prefix;
    let enforces = if surroundings.enforces_role {
        "TRUE"
    } else {
        "FALSE"
    };
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("MESOS_TASK_ID", task_id.to_owned());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    if let Some(ordinal) = instance.ordinal {
        set(ORDINAL, ordinal.to_string());
    }
    if let Some(Container {
        kind: ContainerKind::Docker,
        docker: Some(docker),
        ..
    }) = &app.container
    {
        set("MARATHON_APP_DOCKER_IMAGE", docker.image.clone());
    }
    set("MARATHON_APP_RESOURCE_CPUS", format!("{:?}", app.cpus));
    set("MARATHON_APP_RESOURCE_MEM", format!("{:?}", app.mem));
    set("MARATHON_APP_RESOURCE_DISK", format!("{:?}", app.disk));
    set("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string());
    set("MARATHON_APP_ENFORCE_GROUP_ROLE", enforces.to_owned());
    env.extend(label_variables(&app.labels));
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set(&format!("{prefix}HOST"), host.to_owned());
    for (at, port) in ports.iter().enumerate() {
        set(&format!("{prefix}PORT{at}"), port.to_string());
    }
    for (slot, outside) in app.ports().iter().zip(app.host_ports(ports)) {
        let declared = slot.container_port.unwrap_or(slot.service_port);
        let Some(port) = outside.or(Some(declared).filter(|port| *port != 0)) else {
            continue;
        };
        let number = if declared == 0 { port } else { declared };
        set(&format!("{prefix}PORT_{number}"), port.to_string());
        if let Some(name) = slot.name {
            set(
                &format!("{prefix}PORT_{}", name.to_uppercase()),
                port.to_string(),
            );
        }
    }
    if let Some(first) = ports.first() {
        set(&format!("{prefix}PORT"), first.to_string());
        let mut all = String::new();
        for port in ports {
            // Writing into a String cannot fail.
            let _ = write!(all, "{}{port}", if all.is_empty() { "" } else { "," });
        }
        set(&format!("{prefix}PORTS"), all);
    }
    env.extend(
        app.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    env
}

/// The variables that tell a task its labels.
pub(super) fn label_variables(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (mut variables, mut keys) = (BTreeMap::new(), String::new());
    for (key, value) in labels {
        if key.len() < MAX_LABEL_KEY && value.len() < MAX_LABEL_VALUE {
            let key = escaped(key);
            variables.insert(format!("MARATHON_APP_LABEL_{key}"), value.clone());
            if !keys.is_empty() {
                keys.push(' ');
            }
            keys.push_str(&key);
        }
    }
    variables.insert("MARATHON_APP_LABELS".to_owned(), keys);
    variables
}

/// Runs of letters that a variable's name may not have become one underscore.
pub(super) fn escaped(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    let mut in_run = false;
    for letter in key.chars() {
        let fine = letter.is_ascii_alphanumeric() || letter == '_';
        if fine {
            escaped.push(letter.to_ascii_uppercase());
        } else if !in_run {
            escaped.push('_');
        }
        in_run = !fine;
    }
    escaped
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> Labels {
    Labels {
        labels: labels
            .iter()
            .map(|(key, value)| Label {
                key: key.clone(),
                value: Some(value.clone()),
            })
            .collect(),
    }
}

fn discovery(app: &App, ports: &[u16]) -> DiscoveryInfo {
    let slots = app.ports();
    let allocated = app.host_ports(ports);
    let ports = slots.iter().zip(allocated).flat_map(|(slot, outside)| {
        let number = outside.or(slot.container_port).unwrap_or_default();
        let mut own = slot.labels.clone();
        if slot.container_port.is_some() {
            let scope = if outside.is_some() {
                "host"
            } else {
                "container"
            };
            own.insert("network-scope".to_owned(), scope.to_owned());
            let named = slot.network_names.first().map(String::as_str);
            let name = named.or(app
                .networks
                .first()
                .and_then(|network| network.name.as_deref()));
            if let Some(name) = name.filter(|_| outside.is_none()) {
                own.insert("network-name".to_owned(), name.to_owned());
            }
        }
        let own = (!own.is_empty()).then(|| labels(&own));
        let port = move |protocol: &&'static str| Port {
            number: u32::from(number),
            name: slot.name.map(str::to_owned),
            protocol: Some((*protocol).to_owned()),
            labels: own.clone(),
            ..Port::default()
        };
        slot.protocol.each().iter().map(port).collect::<Vec<_>>()
    });
    DiscoveryInfo {
        visibility: Visibility::Framework.into(),
        name: Some(app.id.reversed()),
        ports: Some(Ports {
            ports: ports.collect(),
        }),
        ..DiscoveryInfo::default()
    }
}

fn mesos_check(check: &HealthCheck, app: &App, ports: &[u16]) -> MesosCheck {
    let port = u32::from(crate::health::port(check, app, ports).unwrap_or_default());
    let protocol = match check.ip_protocol {
        IpProtocol::IPv4 => None,
        IpProtocol::IPv6 => Some(network_info::Protocol::IPv6.into()),
    };
    let http = |scheme: &str| health_check::HttpCheckInfo {
        protocol,
        scheme: Some(scheme.to_owned()),
        port,
        path: Some(crate::health::path(check)),
        ..health_check::HttpCheckInfo::default()
    };
    let mut mesos = MesosCheck {
        delay_seconds: Some(f64::from(check.delay_seconds)),
        interval_seconds: Some(f64::from(check.interval_seconds)),
        timeout_seconds: Some(f64::from(check.timeout_seconds)),
        consecutive_failures: Some(check.max_consecutive_failures),
        grace_period_seconds: Some(f64::from(check.grace_period_seconds)),
        ..MesosCheck::default()
    };
    match check.protocol {
        HealthProtocol::Command => {
            mesos.set_type(health_check::Type::Command);
            mesos.command = check.command.as_ref().map(|command| {
                Box::new(CommandInfo {
                    shell: Some(true),
                    value: Some(command.value.clone()),
                    ..CommandInfo::default()
                })
            });
        }
        HealthProtocol::MesosTcp | HealthProtocol::Tcp => {
            mesos.set_type(health_check::Type::Tcp);
            mesos.tcp = Some(health_check::TcpCheckInfo { port, protocol });
        }
        HealthProtocol::MesosHttps | HealthProtocol::Https => {
            mesos.set_type(health_check::Type::Http);
            mesos.http = Some(http("https"));
        }
        HealthProtocol::MesosHttp | HealthProtocol::Http => {
            mesos.set_type(health_check::Type::Http);
            mesos.http = Some(http("http"));
        }
    }
    mesos
}

/// A check of which only the result is shown.
fn shown_check(check: &Check, app: &App, ports: &[u16]) -> CheckInfo {
    let port = |index: Option<u32>, port: Option<u16>| {
        u32::from(crate::health::port_of(index, port, app, ports).unwrap_or_default())
    };
    let mut info = CheckInfo {
        delay_seconds: Some(f64::from(check.delay_seconds)),
        interval_seconds: Some(f64::from(check.interval_seconds)),
        timeout_seconds: Some(f64::from(check.timeout_seconds)),
        ..CheckInfo::default()
    };
    match &check.probe {
        CheckProbe::Http {
            port_index,
            port: named,
            path,
            ..
        } => {
            info.set_type(check_info::Type::Http);
            info.http = Some(check_info::Http {
                port: port(*port_index, *named),
                path: path.clone(),
            });
        }
        CheckProbe::Tcp {
            port_index,
            port: named,
        } => {
            info.set_type(check_info::Type::Tcp);
            info.tcp = Some(check_info::Tcp {
                port: port(*port_index, *named),
            });
        }
        CheckProbe::Exec { command } => {
            info.set_type(check_info::Type::Command);
            info.command = Some(Box::new(check_info::Command {
                command: super::pod_info::run(Some(command)),
            }));
        }
    }
    info
}
