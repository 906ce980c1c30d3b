//! Container, networks and ports of an app together: which of them go with each other, their defaults, and their rules.

use std::collections::BTreeSet;

use super::{
    App, Container, ContainerKind, Network, NetworkMode, PortDefinition, PortMapping, Protocol,
    Setting,
    container::{ContainerUpdate, DockerNetwork, is_uri},
    ip_address::{self, IpAddressUpdate},
    reader::Faults,
    validate::port_name,
};

/// What an update says of them.
pub(super) struct Update {
    pub(super) container: Option<ContainerUpdate>,
    pub(super) networks: Option<Vec<Network>>,
    pub(super) ip_address: Option<IpAddressUpdate>,
    pub(super) ports: Option<Vec<PortDefinition>>,
}

/// The networks of an app that names none.
pub(super) fn host() -> Vec<Network> {
    vec![network(NetworkMode::Host)]
}

fn network(mode: NetworkMode) -> Network {
    Network {
        mode,
        name: None,
        labels: [].into(),
    }
}

/// Applies an update to an app that otherwise has its final form.
pub(super) fn apply(app: &mut App, mut update: Update, setting: Setting<'_>, faults: &mut Faults) {
    let mut networks = update.networks;
    let beside = (
        networks.as_ref().is_some_and(|all| !all.is_empty()),
        update.ports.as_ref().is_some_and(|all| !all.is_empty()),
    );
    if let Some(ContainerUpdate {
        mut container,
        network: docker_network,
        docker_mappings,
        faults: found,
    }) = update.container
    {
        for (path, message) in found {
            faults.add(path, message);
        }
        if let Some(old_form) = docker_network.filter(|_| container.kind == ContainerKind::Docker) {
            if networks.is_some() {
                let message = "must not specify both container.docker.network and networks";
                faults.add("/", message);
            }
            networks = match old_form {
                DockerNetwork::Bridge => Some(vec![network(NetworkMode::Bridge)]),
                DockerNetwork::Host => Some(host()),
                DockerNetwork::User => {
                    let named = update.ip_address.take();
                    if named
                        .as_ref()
                        .is_some_and(|address| !address.ports.is_empty())
                    {
                        faults.add("/ipAddress", ip_address::NOT_FOR_DOCKER);
                    }
                    let name = named.and_then(|address| address.network_name);
                    Some(vec![Network {
                        name,
                        ..network(NetworkMode::Container)
                    }])
                }
                DockerNetwork::None => {
                    let message = "unsupported docker network type None";
                    faults.add("/container/docker/network", message);
                    networks
                }
            };
        }
        let is_some =
            |list: &Option<Vec<PortMapping>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if is_some(&docker_mappings) && is_some(&container.port_mappings) {
            let message = "cannot specify both portMappings and docker.portMappings";
            faults.add("/", message);
        }
        container.port_mappings = container.port_mappings.or(docker_mappings);
        app.container = Some(container);
    }
    if let Some(address) = update.ip_address {
        let bridge = setting.bridge_name;
        networks = Some(ip_address::apply(app, address, beside, bridge, faults));
    }
    if let Some(networks) = networks {
        app.networks = if networks.is_empty() {
            host()
        } else {
            networks
        };
    }
    for network in &mut app.networks {
        if network.mode == NetworkMode::Container && network.name.is_none() {
            network.name = setting.default_network_name.map(str::to_owned);
        }
    }
    if app.is_on_host_network() {
        on_host(app, update.ports);
    } else {
        in_container(app, update.ports);
    }
}

/// Mappings mean nothing there.
fn on_host(app: &mut App, ports: Option<Vec<PortDefinition>>) {
    if let Some(container) = &mut app.container {
        container.port_mappings = None;
    }
    app.port_definitions = ports.or_else(|| app.port_definitions.take()).or_else(|| {
        Some(vec![PortDefinition {
            port: 0,
            protocol: Protocol::Tcp,
            name: Some("default".to_owned()),
            labels: [].into(),
        }])
    });
}

/// Of definitions only their number means something there: so many mappings there are at least.
fn in_container(app: &mut App, ports: Option<Vec<PortDefinition>>) {
    app.port_definitions = None;
    app.require_ports = false;
    let bridge = app
        .networks
        .iter()
        .any(|network| network.mode == NetworkMode::Bridge);
    let mapping = |name: Option<&str>| PortMapping {
        container_port: 0,
        host_port: bridge.then_some(0),
        labels: [].into(),
        name: name.map(str::to_owned),
        protocol: Protocol::Tcp,
        service_port: 0,
        network_names: Vec::new(),
    };
    let container = app.container.get_or_insert_with(|| Container {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        port_mappings: None,
        linux_info: None,
    });
    let count = ports.map_or(0, |ports| ports.len());
    let mappings = container.port_mappings.get_or_insert_with(|| {
        if count == 0 {
            vec![mapping(Some("default"))]
        } else {
            Vec::new()
        }
    });
    while mappings.len() < count {
        mappings.push(mapping(None));
    }
    for mapping in mappings {
        if bridge && mapping.host_port.is_none() {
            mapping.host_port = Some(0);
        }
    }
}

/// Checks the three together.
pub(super) fn validate(app: &App, faults: &mut Faults) {
    for (at, artifact) in app.fetch.iter().enumerate() {
        if !is_uri(&artifact.uri) {
            faults.add(format!("/fetch({at})/uri"), "URI has invalid syntax.");
        }
    }
    networks(app, faults);
    let Some(container) = &app.container else {
        return;
    };
    let several = app.networks.len() > 1;
    let containers = app
        .networks
        .iter()
        .filter(|network| network.mode == NetworkMode::Container)
        .count();
    if container.kind == ContainerKind::Docker && containers > 1 {
        let message =
            "may only specify a single container network when using the Docker container engine";
        faults.add("/", message);
    }
    let mut names = BTreeSet::new();
    for (at, mapping) in container.port_mappings.iter().flatten().enumerate() {
        let path = format!("/container/portMappings({at})");
        if let Some(name) = &mapping.name {
            if !port_name(name) {
                let message =
                    "must fully match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'";
                faults.add(format!("{path}/name"), message);
            }
            if !names.insert(name) {
                faults.add("/container/portMappings", "Port names must be unique.");
            }
        }
        let known: Vec<&str> = app
            .networks
            .iter()
            .filter_map(|network| network.name.as_deref())
            .collect();
        for (index, name) in mapping.network_names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let message = format!("got {name}, expected one of: [{}]", known.join(", "));
                faults.add(format!("{path}/networkNames({index})"), message);
            }
        }
        if several && mapping.host_port.is_some() && mapping.network_names.len() != 1 {
            let message = "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined";
            faults.add(path, message);
        }
    }
}

pub(super) fn networks(app: &App, faults: &mut Faults) {
    let mut seen: Vec<&Network> = Vec::new();
    for (at, network) in app.networks.iter().enumerate() {
        let path = format!("/networks({at})");
        let labelled = !network.labels.is_empty();
        match (network.mode, &network.name) {
            (NetworkMode::Host, name) if name.is_some() || labelled => {
                faults.add(path, "Host networks may not have names or labels");
            }
            (NetworkMode::Bridge, Some(_)) => {
                faults.add(path, "Bridge networks may not have names");
            }
            (NetworkMode::Container, None) => {
                let message = "Network name must be specified when container network is selected.";
                faults.add(path, message);
            }
            (NetworkMode::Container, Some(name)) if !network_name(name) => {
                let message =
                    "must fully match regular expression '^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$'";
                faults.add(format!("{path}/name"), message);
            }
            _ => {}
        }
        if seen
            .iter()
            .any(|one| one.mode == network.mode && one.name == network.name)
        {
            faults.add("/networks", "Duplicate networks are not allowed");
        }
        seen.push(network);
    }
    let containers = app
        .networks
        .iter()
        .filter(|network| network.mode == NetworkMode::Container)
        .count();
    if app.networks.len() > 1 && containers < app.networks.len() {
        let message = "May specify a single host network, single bridge network, or else 1-to-n container networks";
        faults.add("/networks", message);
    }
}

fn network_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    });
    let end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    letters && end(name.chars().next()) && end(name.chars().next_back()) && name.len() <= 63
}
