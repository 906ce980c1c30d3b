//! Which networks a container wants, read from its `ContainerInfo`. Pure.

use tepui_proto::mesos::v1::container_info::docker_info::Network;
use tepui_proto::mesos::v1::{ContainerInfo, Labels, NetworkInfo, Resource, container_info};

use serde::{Deserialize, Serialize};

/// The built-in network, by the names under which it is asked for: its own, and the one that Marathon asks for by default. A
/// configuration of CNI with such a name goes before.
pub(super) const BRIDGES: [&str; 2] = ["tepui-bridge", "mesos-bridge"];
/// Networks of one container.
const MAX_NETWORKS: usize = 16;
/// Ports of one container.
const MAX_PORTS: usize = 1000;

/// One network of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(super) name: String,
    pub(super) ports: Vec<Port>,
    pub(super) labels: Vec<(String, String)>,
}

impl Wanted {
    /// As they came.
    pub(super) fn labels(&self) -> Option<Labels> {
        let label = |(key, value): &(String, String)| tepui_proto::mesos::v1::Label {
            key: key.clone(),
            value: Some(value.clone()),
        };
        (!self.labels.is_empty()).then(|| Labels {
            labels: self.labels.iter().map(label).collect(),
        })
    }
}

/// A port of the machine that leads into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    pub(super) host_port: u16,
    pub(super) container_port: u16,
    /// `tcp` or `udp`.
    pub(super) protocol: String,
}

fn protocols(text: Option<&str>) -> Result<Vec<String>, String> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("tcp");
    text.split(',')
        .map(|one| match one.trim().to_ascii_lowercase().as_str() {
            known @ ("tcp" | "udp") => Ok(known.to_owned()),
            other => Err(format!(
                "a port mapping's protocol '{other}' is neither tcp nor udp"
            )),
        })
        .collect()
}

fn port(
    host: u32,
    container: u32,
    protocol: Option<&str>,
    offered: &[Resource],
    ports: &mut Vec<Port>,
) -> Result<(), String> {
    let number = |port: u32| {
        u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{port} in a port mapping is no port"))
    };
    let own = offered
        .iter()
        .filter(|resource| resource.name == "ports")
        .filter_map(|resource| resource.ranges.as_ref())
        .flat_map(|ranges| &ranges.range)
        .any(|range| (range.begin..=range.end).contains(&u64::from(host)));
    let (host_port, container_port) = (number(host)?, number(container)?);
    if !own {
        return Err(format!(
            "the port mapping's host port {host} is not among the task's resources"
        ));
    }
    for protocol in protocols(protocol)? {
        ports.push(Port {
            host_port,
            container_port,
            protocol,
        });
    }
    if ports.len() > MAX_PORTS {
        return Err(format!("it has more than {MAX_PORTS} port mappings"));
    }
    Ok(())
}

fn labels(labels: Option<&Labels>) -> Vec<(String, String)> {
    let labels = labels
        .map(|labels| labels.labels.as_slice())
        .unwrap_or_default();
    let pair = |label: &tepui_proto::mesos::v1::Label| {
        (label.key.clone(), label.value.clone().unwrap_or_default())
    };
    labels.iter().map(pair).collect()
}

fn named(info: &NetworkInfo, name: &str, offered: &[Resource]) -> Result<Wanted, String> {
    if !info.ip_addresses.is_empty() {
        return Err(format!(
            "the network '{name}' gives addresses itself: ip_addresses cannot be asked for"
        ));
    }
    let mut ports = Vec::new();
    for mapping in &info.port_mappings {
        port(
            mapping.host_port,
            mapping.container_port,
            mapping.protocol.as_deref(),
            offered,
            &mut ports,
        )?;
    }
    Ok(Wanted {
        name: name.to_owned(),
        ports,
        labels: labels(info.labels.as_ref()),
    })
}

/// The networks that a container wants, in order; none is the host's network (or `NONE` of type DOCKER). `offered`: its resources.
pub(crate) fn wanted(
    container: Option<&ContainerInfo>,
    offered: &[Resource],
) -> Result<Vec<Wanted>, String> {
    let Some(container) = container else {
        return Ok(Vec::new());
    };
    let infos = &container.network_infos;
    if infos.len() > MAX_NETWORKS {
        return Err(format!("it has more than {MAX_NETWORKS} networks"));
    }
    let docker = container
        .docker
        .as_ref()
        .filter(|_| container.r#type() == container_info::Type::Docker);
    let Some(docker) = docker else {
        let mut all = Vec::new();
        for info in infos {
            match &info.name {
                Some(name) => all.push(named(info, name, offered)?),
                None if info.port_mappings.is_empty() => {}
                None => return Err("port mappings need a network with a name".to_owned()),
            }
        }
        let mut names: Vec<_> = all.iter().map(|network| &network.name).collect();
        names.sort();
        names.dedup();
        if names.len() != all.len() {
            return Err("a container joins a network once".to_owned());
        }
        return Ok(all);
    };
    let first = infos.first();
    let name = match docker.network() {
        Network::Host | Network::None if docker.port_mappings.is_empty() => return Ok(Vec::new()),
        Network::Host | Network::None => {
            return Err(
                "port_mappings of a DOCKER container need network BRIDGE or USER".to_owned(),
            );
        }
        Network::Bridge => BRIDGES[0],
        Network::User => first
            .and_then(|info| info.name.as_deref())
            .ok_or("network USER of a DOCKER container needs a name in network_infos")?,
    };
    if infos.len() > 1 {
        return Err("a DOCKER container has one network".to_owned());
    }
    let empty = NetworkInfo::default();
    let mut network = named(first.unwrap_or(&empty), name, offered)?;
    for mapping in &docker.port_mappings {
        port(
            mapping.host_port,
            mapping.container_port,
            mapping.protocol.as_deref(),
            offered,
            &mut network.ports,
        )?;
    }
    Ok(vec![network])
}

#[cfg(test)]
mod tests {
    use tepui_proto::mesos::v1::container_info::{DockerInfo, docker_info};
    use tepui_proto::mesos::v1::{network_info, value};

    use super::*;

    fn offered() -> Vec<Resource> {
        vec![Resource {
            name: "ports".to_owned(),
            ranges: Some(value::Ranges {
                range: vec![value::Range {
                    begin: 31000,
                    end: 31001,
                }],
            }),
            ..Default::default()
        }]
    }

    fn mesos(infos: Vec<NetworkInfo>) -> ContainerInfo {
        ContainerInfo {
            r#type: container_info::Type::Mesos.into(),
            network_infos: infos,
            ..Default::default()
        }
    }

    fn network(name: Option<&str>, ports: &[(u32, u32, &str)]) -> NetworkInfo {
        NetworkInfo {
            name: name.map(str::to_owned),
            port_mappings: ports
                .iter()
                .map(
                    |(host_port, container_port, protocol)| network_info::PortMapping {
                        host_port: *host_port,
                        container_port: *container_port,
                        protocol: Some((*protocol).to_owned()),
                    },
                )
                .collect(),
            ..Default::default()
        }
    }

    fn docker(network: Network, ports: &[(u32, u32)], infos: Vec<NetworkInfo>) -> ContainerInfo {
        ContainerInfo {
            r#type: container_info::Type::Docker.into(),
            docker: Some(Box::new(DockerInfo {
                network: Some(network.into()),
                port_mappings: ports
                    .iter()
                    .map(|(host_port, container_port)| docker_info::PortMapping {
                        host_port: *host_port,
                        container_port: *container_port,
                        protocol: None,
                    })
                    .collect(),
                ..Default::default()
            })),
            network_infos: infos,
            ..Default::default()
        }
    }

    #[test]
    fn both_types_say_it_their_way() {
        let port = |protocol: &str| Port {
            host_port: 31000,
            container_port: 80,
            protocol: protocol.to_owned(),
        };
        let one = wanted(
            Some(&mesos(vec![network(Some("a"), &[(31000, 80, "tcp,UDP")])])),
            &offered(),
        )
        .unwrap();
        assert_eq!(
            (one[0].name.as_str(), &one[0].ports),
            ("a", &vec![port("tcp"), port("udp")])
        );
        let two = wanted(
            Some(&docker(Network::Bridge, &[(31000, 80)], vec![])),
            &offered(),
        )
        .unwrap();
        assert_eq!(
            (two[0].name.as_str(), &two[0].ports),
            ("tepui-bridge", &vec![port("tcp")])
        );
        let three = wanted(
            Some(&docker(Network::User, &[], vec![network(Some("u"), &[])])),
            &[],
        )
        .unwrap();
        assert_eq!(three[0].name, "u");
        for none in [
            mesos(vec![]),
            mesos(vec![network(None, &[])]),
            docker(Network::Host, &[], vec![]),
            docker(Network::None, &[], vec![]),
        ] {
            assert_eq!(wanted(Some(&none), &[]).unwrap(), vec![]);
        }
        assert_eq!(wanted(None, &[]).unwrap(), vec![]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let twice = mesos(vec![network(Some("a"), &[]), network(Some("a"), &[])]);
        for (container, why) in [
            (
                mesos(vec![network(Some("a"), &[(31005, 80, "tcp")])]),
                "31005 is not among the task's resources",
            ),
            (
                mesos(vec![network(Some("a"), &[(0, 80, "tcp")])]),
                "0 in a port mapping is no port",
            ),
            (
                mesos(vec![network(Some("a"), &[(31000, 80, "sctp")])]),
                "'sctp' is neither tcp nor udp",
            ),
            (
                mesos(vec![network(None, &[(31000, 80, "tcp")])]),
                "need a network with a name",
            ),
            (twice, "joins a network once"),
            (
                docker(Network::Host, &[(31000, 80)], vec![]),
                "need network BRIDGE or USER",
            ),
            (
                docker(Network::User, &[], vec![]),
                "needs a name in network_infos",
            ),
        ] {
            let error = wanted(Some(&container), &offered()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
