//! `ipAddress`, which `networks` and `container.portMappings` have replaced: how it is read, and what it means today.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    App, Container, ContainerKind, Network, NetworkMode, Object, PortMapping, Protocol,
    reader::Faults, update::PROTOCOLS,
};

pub(super) const NOT_FOR_DOCKER: &str = "ipAddress/discovery is not allowed for Docker containers";

/// As it came.
#[derive(Clone, Debug)]
pub(crate) struct IpAddressUpdate {
    pub(super) network_name: Option<String>,
    labels: BTreeMap<String, String>,
    /// `discovery.ports`.
    pub(super) ports: Vec<PortMapping>,
}

/// `ipAddress`.
pub(super) fn read(object: &Object<'_>, faults: &mut Faults) -> Option<IpAddressUpdate> {
    let address = Object::new(object.get("ipAddress")?, object.path("ipAddress"), faults)?;
    let mut ports = Vec::new();
    if let Some(value) = address.get("discovery") {
        let discovery = Object::new(value, address.path("discovery"), faults)?;
        for (path, item) in discovery.array("ports", faults).unwrap_or_default() {
            ports.extend(port(path, item, faults));
        }
    }
    Some(IpAddressUpdate {
        network_name: address.text("networkName", faults),
        labels: address.text_map("labels", faults).unwrap_or_default(),
        ports,
    })
}

fn port(path: String, item: &Value, faults: &mut Faults) -> Option<PortMapping> {
    let object = Object::new(item, path, faults)?;
    object.require("number", faults);
    let number = object.integer("number", 0, 65_535, faults)?;
    Some(PortMapping {
        container_port: u16::try_from(number).ok()?,
        host_port: None,
        labels: object.text_map("labels", faults).unwrap_or_default(),
        name: object.text("name", faults),
        protocol: object
            .choice("protocol", &PROTOCOLS, faults)
            .unwrap_or(Protocol::Tcp),
        service_port: 0,
        network_names: Vec::new(),
    })
}

/// Gives `app` the network and the ports that are meant. `networks` and `ports` tell whether the document has these beside it.
pub(super) fn apply(
    app: &mut App,
    address: IpAddressUpdate,
    (networks, ports): (bool, bool),
    bridge_name: &str,
    faults: &mut Faults,
) -> Vec<Network> {
    if networks {
        faults.add("/", "must not specify both networks and ipAddress");
    }
    if ports {
        faults.add("/", "cannot specify both an IP address and port");
    }
    let container = app.container.get_or_insert_with(|| Container {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        port_mappings: None,
        linux_info: None,
    });
    if !address.ports.is_empty() {
        if container.kind == ContainerKind::Docker {
            faults.add("/ipAddress", NOT_FOR_DOCKER);
        } else if container
            .port_mappings
            .as_ref()
            .is_some_and(|all| !all.is_empty())
        {
            let message =
                "container.portMappings and ipAddress.discovery.ports must not both be set";
            faults.add("/", message);
        } else {
            container.port_mappings = Some(address.ports);
        }
    }
    let bridge = address.network_name.as_deref() == Some(bridge_name);
    vec![Network {
        mode: if bridge {
            NetworkMode::Bridge
        } else {
            NetworkMode::Container
        },
        name: address.network_name.filter(|_| !bridge),
        labels: address.labels,
    }]
}
