//! The `ContainerInfo` of a task: image, volumes, networks and port mappings as Mesos has them.

use tepui_proto::mesos::{
    self, ContainerInfo, Image, Label, Labels, NetworkInfo, Parameter, Parameters, Volume,
    container_info, image, network_info, volume,
};

use super::Task;
use crate::definition::{
    App, ContainerKind, ExternalVolume, IpcMode, LinuxInfo, NetworkMode, PortMapping, VolumeMode,
};

/// None for an app that has no container.
pub(super) fn container_info(app: &App, task: &Task, bridge_name: &str) -> Option<ContainerInfo> {
    let Some(container) = &app.container else {
        // A terminal is one of a container.
        let mut info = ContainerInfo::default();
        info.set_type(container_info::Type::Mesos);
        return app
            .tty
            .filter(|tty| *tty)
            .map(|_| isolated(info, None, app.tty));
    };
    let mut info = ContainerInfo {
        volumes: container
            .volumes
            .iter()
            .filter(|one| one.persistent.is_none())
            .map(|one| {
                let mut mounted = Volume {
                    container_path: one.container_path.clone(),
                    host_path: one.host_path.clone(),
                    source: one.external.as_ref().map(|one| Box::new(source(one))),
                    ..Volume::default()
                };
                mounted.set_mode(match one.mode {
                    VolumeMode::Ro => volume::Mode::Ro,
                    VolumeMode::Rw => volume::Mode::Rw,
                });
                mounted
            })
            .collect(),
        ..ContainerInfo::default()
    };
    match container.kind {
        ContainerKind::Mesos => {
            info.set_type(container_info::Type::Mesos);
            let image = container.docker.as_ref().map(|docker| {
                let mut image = Image {
                    docker: Some(image::Docker {
                        name: docker.image.clone(),
                        ..image::Docker::default()
                    }),
                    cached: Some(!docker.force_pull_image),
                    ..Image::default()
                };
                image.set_type(image::Type::Docker);
                image
            });
            info.mesos = Some(Box::new(container_info::MesosInfo { image }));
            info.network_infos = networks(app, task, bridge_name, true);
        }
        ContainerKind::Docker => {
            info.set_type(container_info::Type::Docker);
            info.docker = container.docker.as_ref().map(|docker| {
                let parameter = |key: &str, value: String| Parameter {
                    key: key.to_owned(),
                    value,
                };
                let mut parameters: Vec<Parameter> = docker
                    .parameters
                    .iter()
                    .map(|one| parameter(&one.key, one.value.clone()))
                    .collect();
                parameters.push(parameter("label", format!("MESOS_TASK_ID={}", task.id)));
                let mut engine = container_info::DockerInfo {
                    image: docker.image.clone(),
                    privileged: Some(docker.privileged),
                    force_pull_image: Some(docker.force_pull_image),
                    parameters,
                    port_mappings: mappings(app, task)
                        .map(|(_, host_port, container_port, protocol)| {
                            container_info::docker_info::PortMapping {
                                host_port,
                                container_port,
                                protocol: Some(protocol.to_owned()),
                            }
                        })
                        .collect(),
                    ..container_info::DockerInfo::default()
                };
                engine.set_network(match app.networks.first().map(|network| network.mode) {
                    None | Some(NetworkMode::Host) => container_info::docker_info::Network::Host,
                    Some(NetworkMode::Bridge) => container_info::docker_info::Network::Bridge,
                    Some(NetworkMode::Container) => container_info::docker_info::Network::User,
                });
                Box::new(engine)
            });
            info.network_infos = networks(app, task, bridge_name, false);
        }
    }
    Some(isolated(info, container.linux_info.as_ref(), app.tty))
}

/// A volume of a docker volume driver or a CSI plugin. Without options for a driver there are none, which it tells from an empty list.
fn source(external: &ExternalVolume) -> volume::Source {
    let external = match external {
        ExternalVolume::Driver(external) => external,
        ExternalVolume::Csi(external) => {
            return volume::Source {
                r#type: Some(volume::source::Type::CsiVolume.into()),
                csi_volume: Some(external.source()),
                ..volume::Source::default()
            };
        }
    };
    let options = external.driver_options();
    let parameter = |(key, value)| Parameter { key, value };
    volume::Source {
        r#type: Some(volume::source::Type::DockerVolume.into()),
        docker_volume: Some(volume::source::DockerVolume {
            driver: Some(external.driver().to_owned()),
            name: external.name.clone(),
            driver_options: (!options.is_empty()).then(|| Parameters {
                parameter: options.into_iter().map(parameter).collect(),
            }),
        }),
        ..volume::Source::default()
    }
}

/// A container with what is wanted of the kernel and a terminal.
pub(super) fn isolated(
    mut info: ContainerInfo,
    linux: Option<&LinuxInfo>,
    tty: Option<bool>,
) -> ContainerInfo {
    info.linux_info = linux.map(|linux| {
        let mut of_mesos = mesos::LinuxInfo {
            seccomp: linux.seccomp.as_ref().map(|one| mesos::SeccompInfo {
                profile_name: one.profile_name.clone(),
                unconfined: Some(one.unconfined),
            }),
            ..mesos::LinuxInfo::default()
        };
        if let Some(ipc) = linux.ipc_info {
            of_mesos.set_ipc_mode(match ipc.mode {
                IpcMode::Private => mesos::linux_info::IpcMode::Private,
                IpcMode::ShareParent => mesos::linux_info::IpcMode::ShareParent,
            });
            of_mesos.shm_size = ipc.shm_size;
        }
        Box::new(of_mesos)
    });
    if tty == Some(true) {
        info.tty_info = Some(mesos::TtyInfo::default());
    }
    info
}

/// The networks that a container joins. With Docker a bridge is no network of its own, and mappings are the engine's.
fn networks(app: &App, task: &Task, bridge_name: &str, mesos: bool) -> Vec<NetworkInfo> {
    let joined = app.networks.iter().filter_map(|network| {
        let name = match network.mode {
            NetworkMode::Host => return None,
            NetworkMode::Bridge if mesos => Some(bridge_name.to_owned()),
            NetworkMode::Bridge => return None,
            NetworkMode::Container => network.name.clone(),
        };
        let labels = network.labels.iter().map(|(key, value)| Label {
            key: key.clone(),
            value: Some(value.clone()),
        });
        let of_this = |mapping: &PortMapping| {
            mapping.network_names.is_empty()
                || mapping
                    .network_names
                    .iter()
                    .any(|one| Some(one) == name.as_ref())
        };
        let port_mappings = mappings(app, task).filter(|(mapping, ..)| mesos && of_this(mapping));
        Some(NetworkInfo {
            labels: (!network.labels.is_empty()).then(|| Labels {
                labels: labels.collect(),
            }),
            port_mappings: port_mappings
                .map(
                    |(_, host_port, container_port, protocol)| network_info::PortMapping {
                        host_port,
                        container_port,
                        protocol: Some(protocol.to_owned()),
                    },
                )
                .collect(),
            name,
            ..NetworkInfo::default()
        })
    });
    joined.collect()
}

/// Mappings with a port of the agent: one for each protocol, with both numbers. A container port of 0 is the agent's number.
fn mappings<'a>(
    app: &'a App,
    task: &Task,
) -> impl Iterator<Item = (&'a PortMapping, u32, u32, &'static str)> {
    let declared = app
        .container
        .iter()
        .flat_map(|one| &one.port_mappings)
        .flatten();
    let outside = app.host_ports(&task.ports);
    declared.zip(outside).flat_map(|(mapping, outside)| {
        let ports = outside.map(|host| {
            let inside = if mapping.container_port == 0 {
                host
            } else {
                mapping.container_port
            };
            (u32::from(host), u32::from(inside))
        });
        let protocols = mapping.protocol.each();
        ports.into_iter().flat_map(move |(host, inside)| {
            protocols
                .iter()
                .map(move |protocol| (mapping, host, inside, *protocol))
        })
    })
}
