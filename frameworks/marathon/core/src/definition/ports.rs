//! The ports of an app, wherever they are declared: `portDefinitions` on the host's network, `portMappings` on others.

use std::collections::BTreeMap;

use super::{App, NetworkMode, Protocol};

/// What is wanted of the agent's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortDemand {
    /// Nothing: it is reached under the task's own address.
    None,
    /// Whichever is free.
    Any,
    /// This one.
    Fixed(u16),
}

/// One port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortSlot<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) protocol: Protocol,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) service_port: u16,
    /// The number inside, 0 being that outside; none on the host's network.
    pub(crate) container_port: Option<u16>,
    pub(crate) network_names: &'a [String],
    pub(crate) demand: PortDemand,
}

impl App {
    /// Whether it shares the agent's network.
    #[must_use]
    pub fn is_on_host_network(&self) -> bool {
        self.networks
            .iter()
            .all(|network| network.mode == NetworkMode::Host)
    }

    /// Its ports, in order: what `portIndex` counts.
    pub(crate) fn ports(&self) -> Vec<PortSlot<'_>> {
        let demand = |port: u16| match port {
            0 => PortDemand::Any,
            port => PortDemand::Fixed(port),
        };
        let defined = self.port_definitions.iter().flatten().map(|port| PortSlot {
            name: port.name.as_deref(),
            protocol: port.protocol,
            labels: &port.labels,
            service_port: port.port,
            container_port: None,
            network_names: &[],
            demand: if self.require_ports {
                demand(port.port)
            } else {
                PortDemand::Any
            },
        });
        let mappings = self.container.iter().flat_map(|one| &one.port_mappings);
        let mapped = mappings.flatten().map(|port| PortSlot {
            name: port.name.as_deref(),
            protocol: port.protocol,
            labels: &port.labels,
            service_port: port.service_port,
            container_port: Some(port.container_port),
            network_names: &port.network_names,
            demand: port.host_port.map_or(PortDemand::None, demand),
        });
        let on_host = self.is_on_host_network();
        let of_pod = self.pod.iter().flat_map(|pod| pod.slots(on_host));
        defined.chain(mapped).chain(of_pod).collect()
    }

    /// The service ports, one for each port.
    #[must_use]
    pub fn service_ports(&self) -> Vec<u16> {
        self.ports().iter().map(|slot| slot.service_port).collect()
    }

    pub(crate) fn service_ports_mut(&mut self) -> impl Iterator<Item = &mut u16> {
        let defined = self.port_definitions.iter_mut().flatten();
        let mappings = self
            .container
            .iter_mut()
            .flat_map(|one| &mut one.port_mappings);
        let mapped = mappings.flatten().map(|port| &mut port.service_port);
        defined.map(|port| &mut port.port).chain(mapped)
    }

    /// The agent's port for each port, if it has one; `allocated` are those that it got, in order.
    pub(crate) fn host_ports(&self, allocated: &[u16]) -> Vec<Option<u16>> {
        let mut allocated = allocated.iter().copied();
        let slots = self.ports();
        let outside = slots.iter().map(|slot| match slot.demand {
            PortDemand::None => None,
            PortDemand::Any | PortDemand::Fixed(_) => allocated.next(),
        });
        outside.collect()
    }
}
