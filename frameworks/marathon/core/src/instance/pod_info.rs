//! What Mesos is told to run for a pod: one LAUNCH_GROUP with the default executor, and a task for each container.

use std::collections::BTreeMap;

use tepui_proto::mesos::{
    AgentId, CheckInfo, CommandInfo, ContainerInfo, DiscoveryInfo, DurationInfo, Environment,
    ExecutorId, ExecutorInfo, FrameworkId, HealthCheck as MesosCheck, Image, KillPolicy,
    NetworkInfo, Port, Ports, Resource, TaskGroupInfo, TaskId, TaskInfo, Volume, check_info,
    container_info, discovery_info,
    environment::Variable,
    executor_info, health_check, image, network_info,
    offer::{Operation, operation},
    volume,
    volume::{Source, source, source::sandbox_path},
};

use super::{
    Agent, Instance, Surroundings, Task,
    container_info::isolated,
    persistence_id,
    task_info::{escaped, label_variables, labels, limits, uri},
};
use crate::{
    definition::{
        App, NetworkMode, Pod, PodCheck, PodCommand, PodContainer, PodHealthCheck, PodProbe,
    },
    matching::Pool,
};

/// Where the directories of volumes that are neither the host's nor persistent lie in the executor's sandbox.
const EPHEMERAL: &str = "volumes";

/// The launch of `instance`, which already has its agent.
///
/// # Errors
/// It is of no pod, or there is too little for its parts; says for which.
pub(crate) fn launch_group(
    instance: &Instance,
    agent: &Agent,
    task: &Task,
    resources: Vec<Resource>,
    framework_id: &str,
    surroundings: Surroundings<'_>,
) -> Result<Operation, String> {
    let app = &*instance.spec;
    let pod = app.pod.as_ref().ok_or("it is no pod")?;
    let executor_id = executor_id(&instance.id);
    let (volumes, plain): (Vec<Resource>, Vec<Resource>) = resources
        .into_iter()
        .partition(|one| persistence_id(one).is_some());
    let mut pool = Pool::reserved(&plain);
    let ports = PodPorts::new(app, pod, task);
    let mut tasks = Vec::new();
    for (at, (container, running)) in pod.containers.iter().zip(&task.containers).enumerate() {
        let wanted = container.resources;
        let amounts = [
            ("cpus", wanted.cpus),
            ("mem", wanted.mem),
            ("disk", wanted.disk),
            ("gpus", f64::from(wanted.gpus)),
        ];
        let own: Vec<u16> = ports.of(at).filter_map(|port| port.outside).collect();
        let environment = environment(
            instance,
            pod,
            container,
            &running.id,
            &executor_id,
            agent,
            &ports,
            surroundings,
        );
        tasks.push(TaskInfo {
            name: container.name.clone(),
            task_id: TaskId {
                value: running.id.to_string(),
            },
            agent_id: AgentId {
                value: agent.id.to_string(),
            },
            resources: pool.cut(&amounts, &own).ok_or_else(|| {
                let name = &container.name;
                format!("what was taken of the offer is too little for its container '{name}'")
            })?,
            command: Some(command(app, container, environment)),
            container: Some(Box::new(container_info(pod, container))),
            labels: (!container.labels.is_empty()).then(|| labels(&container.labels)),
            discovery: Some(Box::new(discovery(app, &ports, at))),
            health_check: container
                .health_check
                .as_ref()
                .map(|check| Box::new(mesos_check(check, &ports, at))),
            check: container
                .check
                .as_ref()
                .map(|check| Box::new(shown_check(check, &ports, at))),
            kill_policy: grace(container),
            limits: limits(container.resource_limits),
            ..TaskInfo::default()
        });
    }
    let own = pod.executor_resources;
    let amounts = [("cpus", own.cpus), ("mem", own.mem), ("disk", own.disk)];
    let mut executor_resources = pool
        .cut(&amounts, &[])
        .ok_or("what was taken of the offer is too little for its executor")?;
    executor_resources.extend(volumes);
    let mut executor = ExecutorInfo {
        executor_id: ExecutorId { value: executor_id },
        framework_id: Some(FrameworkId {
            value: framework_id.to_owned(),
        }),
        resources: executor_resources,
        container: executor_container(app, pod, &ports, surroundings.bridge_name).map(Box::new),
        labels: (!app.labels.is_empty()).then(|| labels(&app.labels)),
        ..ExecutorInfo::default()
    };
    executor.set_type(executor_info::Type::Default);
    Ok(Operation {
        r#type: Some(operation::Type::LaunchGroup.into()),
        launch_group: Some(
            operation::LaunchGroup {
                executor,
                task_group: TaskGroupInfo { tasks },
            }
            .into(),
        ),
        ..Operation::default()
    })
}

/// `instance-<safe id>.<uuid>` of `<safe id>.instance-<uuid>`.
pub(crate) fn executor_id(instance_id: &str) -> String {
    match instance_id.rsplit_once(".instance-") {
        Some((safe, uuid)) => format!("instance-{safe}.{uuid}"),
        None => format!("instance-{instance_id}"),
    }
}

/// An endpoint with its numbers.
struct PodPort<'a> {
    container: usize,
    name: &'a str,
    protocols: &'static [&'static str],
    labels: &'a BTreeMap<String, String>,
    network_names: &'a [String],
    inside: Option<u16>,
    outside: Option<u16>,
}

struct PodPorts<'a>(Vec<PodPort<'a>>);

impl<'a> PodPorts<'a> {
    fn new(app: &App, pod: &'a Pod, task: &Task) -> Self {
        let outside = app.host_ports(&task.ports);
        let on_host = app.is_on_host_network();
        let port =
            |((at, endpoint), outside): ((usize, &'a crate::definition::Endpoint), _)| PodPort {
                container: at,
                name: &endpoint.name,
                protocols: endpoint.protocols().each(),
                labels: &endpoint.labels,
                network_names: &endpoint.network_names,
                inside: endpoint.container_port.filter(|_| !on_host),
                outside,
            };
        Self(pod.endpoints().zip(outside).map(port).collect())
    }

    fn of(&self, container: usize) -> impl Iterator<Item = &PodPort<'a>> {
        self.0
            .iter()
            .filter(move |port| port.container == container)
    }

    /// The number under which a container reaches one of its own endpoints.
    fn own(&self, container: usize, name: &str) -> u32 {
        let port = self.of(container).find(|port| port.name == name);
        let number = port.and_then(|port| port.inside.or(port.outside));
        u32::from(number.unwrap_or_default())
    }
}

fn command(
    app: &App,
    container: &PodContainer,
    environment: BTreeMap<String, String>,
) -> CommandInfo {
    let variable = |(name, value)| Variable {
        name,
        value: Some(value),
        ..Variable::default()
    };
    let exec = container.exec.as_ref().map(|exec| &exec.command);
    CommandInfo {
        environment: Some(Environment {
            variables: environment.into_iter().map(variable).collect(),
        }),
        uris: container.artifacts.iter().map(uri).collect(),
        user: container.user.clone().or_else(|| app.user.clone()),
        ..run(exec)
    }
}

/// How a command is run; without one the image says what.
pub(super) fn run(command: Option<&PodCommand>) -> CommandInfo {
    match command {
        None => CommandInfo {
            shell: Some(false),
            ..CommandInfo::default()
        },
        Some(PodCommand::Shell(shell)) => CommandInfo {
            shell: Some(true),
            value: Some(shell.clone()),
            ..CommandInfo::default()
        },
        Some(PodCommand::Argv(argv)) => CommandInfo {
            shell: Some(false),
            value: argv.first().cloned(),
            arguments: argv.clone(),
            ..CommandInfo::default()
        },
    }
}

fn grace(container: &PodContainer) -> Option<KillPolicy> {
    let seconds = container.lifecycle?.kill_grace_period_seconds?;
    let grace = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(KillPolicy {
        grace_period: Some(DurationInfo {
            nanoseconds: i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX),
        }),
    })
}

/// Later wins: the pod's own, the container's own, host, context, labels, ports.
#[allow(clippy::too_many_arguments, reason = "all that a container is told")]
fn environment(
    instance: &Instance,
    pod: &Pod,
    container: &PodContainer,
    task_id: &str,
    executor_id: &str,
    agent: &Agent,
    ports: &PodPorts<'_>,
    surroundings: Surroundings<'_>,
) -> BTreeMap<String, String> {
    let app = &*instance.spec;
    let mut env = pod.environment.clone();
    env.extend(container.environment.clone());
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set(
        &format!("{}HOST", surroundings.prefix),
        agent.host.to_string(),
    );
    set("MESOS_TASK_ID", task_id.to_owned());
    set("MESOS_EXECUTOR_ID", executor_id.to_owned());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    set("MARATHON_CONTAINER_ID", container.name.clone());
    if let Some(ordinal) = instance.ordinal {
        set(super::task_info::ORDINAL, ordinal.to_string());
    }
    let own = container.resources;
    for (name, amount) in [("CPUS", own.cpus), ("MEM", own.mem), ("DISK", own.disk)] {
        let name = format!("MARATHON_CONTAINER_RESOURCE_{name}");
        set(&name, format!("{amount:?}"));
    }
    set("MARATHON_CONTAINER_RESOURCE_GPUS", own.gpus.to_string());
    let enforces = if surroundings.enforces_role {
        "TRUE"
    } else {
        "FALSE"
    };
    set("MARATHON_APP_ENFORCE_GROUP_ROLE", enforces.to_owned());
    env.extend(label_variables(&app.labels));
    for port in &ports.0 {
        let name = escaped(port.name);
        for (prefix, number) in [
            ("ENDPOINT", port.inside.or(port.outside)),
            ("EP_HOST", port.outside),
            ("EP_CONTAINER", port.inside),
        ] {
            if let Some(number) = number {
                env.insert(format!("{prefix}_{name}"), number.to_string());
            }
        }
    }
    env
}

/// Image and volumes of a container.
fn container_info(pod: &Pod, container: &PodContainer) -> ContainerInfo {
    let mounts = container.volume_mounts.iter().filter_map(|mount| {
        let volume = pod.volumes.iter().find(|one| one.name == mount.name)?;
        let mut mounted = Volume {
            container_path: mount.mount_path.clone(),
            host_path: volume.host.clone(),
            ..Volume::default()
        };
        if volume.host.is_none() {
            let path = match volume.persistent {
                Some(_) => volume.name.clone(),
                None => format!("{EPHEMERAL}/{}", volume.name),
            };
            let mut from = source::SandboxPath { path, r#type: None };
            from.set_type(sandbox_path::Type::Parent);
            let mut source = Source {
                sandbox_path: Some(from),
                ..Source::default()
            };
            source.set_type(source::Type::SandboxPath);
            mounted.source = Some(Box::new(source));
        }
        mounted.set_mode(if mount.read_only == Some(true) {
            volume::Mode::Ro
        } else {
            volume::Mode::Rw
        });
        Some(mounted)
    });
    let image = container.image.as_ref().map(|one| {
        let mut image = Image {
            docker: Some(image::Docker {
                name: one.id.clone(),
                ..image::Docker::default()
            }),
            cached: Some(one.force_pull != Some(true)),
            ..Image::default()
        };
        image.set_type(image::Type::Docker);
        image
    });
    let mut info = ContainerInfo {
        volumes: mounts.collect(),
        mesos: Some(Box::new(container_info::MesosInfo { image })),
        ..ContainerInfo::default()
    };
    info.set_type(container_info::Type::Mesos);
    let mut info = isolated(info, container.linux_info.as_ref(), container.tty);
    let linux = info.linux_info.get_or_insert_default();
    // Said either way: to Mesos nothing means yes.
    linux.share_cgroups = Some(pod.legacy_shared_cgroups);
    info
}

/// The container of the executor; none if it has neither networks nor a wish of the kernel.
fn executor_container(
    app: &App,
    pod: &Pod,
    ports: &PodPorts<'_>,
    bridge_name: &str,
) -> Option<ContainerInfo> {
    let on_networks = networks(app, ports, bridge_name);
    let Some(linux) = &pod.linux_info else {
        return on_networks;
    };
    let mut info = on_networks.unwrap_or_default();
    info.set_type(container_info::Type::Mesos);
    Some(isolated(info, Some(linux), None))
}

/// The networks that the executor, and with it all containers, joins; none on the host's.
fn networks(app: &App, ports: &PodPorts<'_>, bridge_name: &str) -> Option<ContainerInfo> {
    if app.is_on_host_network() {
        return None;
    }
    let joined = app.networks.iter().map(|network| {
        let name = match network.mode {
            NetworkMode::Bridge => Some(bridge_name.to_owned()),
            NetworkMode::Host | NetworkMode::Container => network.name.clone(),
        };
        let of_this = |port: &&PodPort<'_>| {
            let mut names = port.network_names.iter();
            port.network_names.is_empty() || names.any(|one| Some(one) == name.as_ref())
        };
        let mappings = ports.0.iter().filter(of_this).flat_map(|port| {
            let both = port.outside.zip(port.inside);
            both.into_iter().flat_map(|(outside, inside)| {
                port.protocols
                    .iter()
                    .map(move |protocol| network_info::PortMapping {
                        host_port: u32::from(outside),
                        container_port: u32::from(inside),
                        protocol: Some((*protocol).to_owned()),
                    })
            })
        });
        NetworkInfo {
            port_mappings: mappings.collect(),
            labels: (!network.labels.is_empty()).then(|| labels(&network.labels)),
            name,
            ..NetworkInfo::default()
        }
    });
    let mut info = ContainerInfo {
        network_infos: joined.collect(),
        ..ContainerInfo::default()
    };
    info.set_type(container_info::Type::Mesos);
    Some(info)
}

fn discovery(app: &App, ports: &PodPorts<'_>, container: usize) -> DiscoveryInfo {
    let ports = ports.of(container).flat_map(|port| {
        let mut own = port.labels.clone();
        if port.inside.is_some() {
            let scope = if port.outside.is_some() {
                "host"
            } else {
                "container"
            };
            own.insert("network-scope".to_owned(), scope.to_owned());
        }
        let own = (!own.is_empty()).then(|| labels(&own));
        let number = port.outside.or(port.inside).unwrap_or_default();
        port.protocols.iter().map(move |protocol| Port {
            number: u32::from(number),
            name: Some(port.name.to_owned()),
            protocol: Some((*protocol).to_owned()),
            labels: own.clone(),
            ..Port::default()
        })
    });
    DiscoveryInfo {
        visibility: discovery_info::Visibility::Framework.into(),
        name: Some(app.id.reversed()),
        ports: Some(Ports {
            ports: ports.collect(),
        }),
        ..DiscoveryInfo::default()
    }
}

fn mesos_check(check: &PodHealthCheck, ports: &PodPorts<'_>, container: usize) -> MesosCheck {
    let mut mesos = MesosCheck {
        delay_seconds: Some(f64::from(check.delay_seconds)),
        interval_seconds: Some(f64::from(check.interval_seconds)),
        timeout_seconds: Some(f64::from(check.timeout_seconds)),
        consecutive_failures: Some(check.max_consecutive_failures),
        grace_period_seconds: Some(f64::from(check.grace_period_seconds)),
        ..MesosCheck::default()
    };
    match &check.probe {
        PodProbe::Http {
            endpoint,
            path,
            scheme,
        } => {
            mesos.set_type(health_check::Type::Http);
            mesos.http = Some(health_check::HttpCheckInfo {
                scheme: Some(scheme.to_lowercase()),
                port: ports.own(container, endpoint),
                path: Some(path.clone().unwrap_or_else(|| "/".to_owned())),
                ..health_check::HttpCheckInfo::default()
            });
        }
        PodProbe::Tcp { endpoint } => {
            mesos.set_type(health_check::Type::Tcp);
            mesos.tcp = Some(health_check::TcpCheckInfo {
                port: ports.own(container, endpoint),
                ..health_check::TcpCheckInfo::default()
            });
        }
        PodProbe::Exec { command } => {
            mesos.set_type(health_check::Type::Command);
            mesos.command = Some(Box::new(run(Some(command))));
        }
    }
    mesos
}

/// A check of which only the result is shown.
fn shown_check(check: &PodCheck, ports: &PodPorts<'_>, container: usize) -> CheckInfo {
    let mut info = CheckInfo {
        delay_seconds: Some(f64::from(check.delay_seconds)),
        interval_seconds: Some(f64::from(check.interval_seconds)),
        timeout_seconds: Some(f64::from(check.timeout_seconds)),
        ..CheckInfo::default()
    };
    match &check.probe {
        PodProbe::Http { endpoint, path, .. } => {
            info.set_type(check_info::Type::Http);
            info.http = Some(check_info::Http {
                port: ports.own(container, endpoint),
                path: path.clone(),
            });
        }
        PodProbe::Tcp { endpoint } => {
            info.set_type(check_info::Type::Tcp);
            info.tcp = Some(check_info::Tcp {
                port: ports.own(container, endpoint),
            });
        }
        PodProbe::Exec { command } => {
            info.set_type(check_info::Type::Command);
            info.command = Some(Box::new(check_info::Command {
                command: run(Some(command)),
            }));
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executor_is_named_after_the_instance() {
        for (instance, executor) in [
            ("a_b.instance-1-2", "instance-a_b.1-2"),
            ("a.instance-x.instance-1", "instance-a.instance-x.1"),
        ] {
            assert_eq!(executor_id(instance), executor);
        }
    }
}
