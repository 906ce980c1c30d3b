//! Pods: containers that live and die together on one agent.
//!
//! To the core a pod is an [`App`] with a [`Pod`] in it: deployments, the queue, matching, placement and history are the same for both. The
//! app holds what is wanted as a whole (instances, role, placement, strategies, and the sum of the resources), the pod what each container
//! is. What people send and see is here: `read` (types and ranges) → `build` (defaults, and the app) → `validate` (rules over fields) →
//! `json`.

mod build;
mod check;
mod json;
mod read;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use build::build;
pub use check::{PodCheck, PodProbe};
pub(crate) use json::json;
pub(crate) use read::{PodUpdate, command, executor_resources};

use super::{
    App, Artifact, LinuxInfo, Network, PortDemand, PortSlot, Protocol, ResourceLimits,
    volume::PersistentVolume,
};

/// What a pod is beside its [`App`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Environment of all containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Its containers, at least one.
    pub containers: Vec<PodContainer>,
    /// As they were given; none: the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// What containers mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PodVolume>,
    /// Delays between launches, in seconds.
    pub backoff: PodBackoff,
    /// What the executor gets.
    pub executor_resources: ExecutorResources,
    /// What the pod as a whole sees of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux_info: Option<LinuxInfo>,
    /// Its containers have what all of them ask for together, as before Marathon 1.10, and not each its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy_shared_cgroups: bool,
}

/// See [`Pod::backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodBackoff {
    /// First delay after a failure.
    pub backoff: f64,
    /// Growth of the delay.
    pub backoff_factor: f64,
    /// Bound of the delay.
    pub max_launch_delay: f64,
}

/// See [`Pod::executor_resources`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorResources {
    /// CPUs.
    pub cpus: f64,
    /// Memory, in MiB.
    pub mem: f64,
    /// Disk, in MiB.
    pub disk: f64,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodContainer {
    /// Unique in the pod.
    pub name: String,
    /// What it runs; none: what its image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// What it gets.
    pub resources: PodResources,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PodImage>,
    /// Its environment; what is here overrides the pod's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// OS user; overrides the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Run by the executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<PodHealthCheck>,
    /// Run by the executor; its results are only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<PodCheck>,
    /// Volumes of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// What is put into the sandbox before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it may take beyond its resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<ResourceLimits>,
    /// Whether it has a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// What it sees of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux_info: Option<LinuxInfo>,
    /// How it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// See [`PodContainer::exec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// The command.
    pub command: PodCommand,
    /// As it was given; it changes nothing, as in Mesos' own executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_entrypoint: Option<bool>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PodCommand {
    /// Of the shell.
    Shell(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

/// What a container gets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodResources {
    /// CPUs.
    pub cpus: f64,
    /// Memory, in MiB.
    pub mem: f64,
    /// Disk, in MiB.
    pub disk: f64,
    /// GPUs.
    pub gpus: i32,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Unique in the pod.
    pub name: String,
    /// Inside; none on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    /// Of the agent; 0: any; none: not reachable there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Protocols: `tcp`, `udp`.
    pub protocol: Vec<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For which of the pod's networks; empty: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodImage {
    /// `DOCKER`.
    pub kind: ImageKind,
    /// Its reference.
    pub id: String,
    /// Pulled even if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_pull: Option<bool>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Kinds of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ImageKind {
    /// From a registry.
    Docker,
}

/// A health check of a container, run by the executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodHealthCheck {
    /// What is done.
    #[serde(flatten)]
    pub probe: PodProbe,
    /// Failures count only after this time or the first success.
    pub grace_period_seconds: u32,
    /// From one probe to the next.
    pub interval_seconds: u32,
    /// How many failures in a row are borne.
    pub max_consecutive_failures: u32,
    /// A longer probe has failed.
    pub timeout_seconds: u32,
    /// Before the first probe.
    pub delay_seconds: u32,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Which volume of the pod.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// Whether it may only be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// How a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// From SIGTERM to SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_grace_period_seconds: Option<f64>,
}

/// A volume of a pod: of the host, persistent, or (with neither) a directory that lives as long as the instance's task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolume {
    /// Unique in the pod.
    pub name: String,
    /// A directory of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// It stays when the task ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<PersistentVolume>,
}

impl Endpoint {
    pub(crate) fn protocols(&self) -> Protocol {
        let has = |name: &str| self.protocol.iter().any(|one| one == name);
        match (has("tcp"), has("udp")) {
            (true, true) => Protocol::Both,
            (false, true) => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }
}

impl Pod {
    /// Its endpoints in order, each with the number of its container: the order of the ports.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        let containers = self.containers.iter().enumerate();
        containers.flat_map(|(at, one)| one.endpoints.iter().map(move |endpoint| (at, endpoint)))
    }

    /// Its ports, as [`App::ports`] has them.
    pub(super) fn slots(&self, on_host: bool) -> impl Iterator<Item = PortSlot<'_>> {
        self.endpoints().map(move |(_, endpoint)| PortSlot {
            name: Some(&endpoint.name),
            protocol: endpoint.protocols(),
            labels: &endpoint.labels,
            service_port: 0,
            container_port: endpoint.container_port.filter(|_| !on_host),
            network_names: &endpoint.network_names,
            demand: match endpoint.host_port {
                None => PortDemand::None,
                Some(0) => PortDemand::Any,
                Some(port) => PortDemand::Fixed(port),
            },
        })
    }

    /// Whether some container has a health check.
    pub(crate) fn is_checked(&self) -> bool {
        self.containers.iter().any(|one| one.health_check.is_some())
    }
}

impl App {
    /// Whether two pods differ in nothing that a running instance would notice.
    pub(super) fn same_pod(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (&self.pod, &other.pod) else {
            return false;
        };
        let mut alike = other.clone();
        let mut pod = (**two).clone();
        pod.executor_resources = one.executor_resources;
        pod.legacy_shared_cgroups = one.legacy_shared_cgroups;
        alike.pod = Some(std::sync::Arc::new(pod));
        alike.instances = self.instances;
        alike.version = self.version;
        alike.version_info = self.version_info;
        alike.kill_selection = self.kill_selection;
        alike.unreachable_strategy = self.unreachable_strategy;
        // The sums hold the executor's part.
        (alike.cpus, alike.mem, alike.disk) = (self.cpus, self.mem, self.disk);
        *self == alike
    }
}

#[cfg(test)]
mod tests;
