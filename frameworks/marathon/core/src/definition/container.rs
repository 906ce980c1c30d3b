//! What an app runs in: container, networks, files that are fetched. Canonical forms, and how they are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    LinuxInfo, Object, Protocol, isolation,
    reader::Faults,
    volume::{self, Volume},
};

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Who contains it.
    #[serde(rename = "type")]
    pub kind: ContainerKind,
    /// Its image; DOCKER always has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerImage>,
    /// What is mounted into it.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Ports; none on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_mappings: Option<Vec<PortMapping>>,
    /// What it sees of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux_info: Option<LinuxInfo>,
}

/// Containerizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerKind {
    /// The agent's own.
    Mesos,
    /// The Docker engine.
    Docker,
}

/// An image and how it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerImage {
    /// Reference.
    pub image: String,
    /// Pulled even if it is there.
    pub force_pull_image: bool,
    /// For the Docker engine.
    pub privileged: bool,
    /// For the Docker engine.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
}

/// An option of the Docker engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A port of an app that has a network of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Inside; 0: the same number as outside.
    pub container_port: u16,
    /// Outside; 0: any; none: not reachable there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Name, unique in the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Protocol.
    pub protocol: Protocol,
    /// Service port; 0 only before assignment.
    pub service_port: u16,
    /// For which of the app's networks; empty: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

/// A network of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its kind.
    pub mode: NetworkMode,
    /// Of a container network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Kinds of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The agent's own.
    #[serde(rename = "host")]
    Host,
    /// One of its own behind the agent.
    #[serde(rename = "container/bridge")]
    Bridge,
    /// A named one.
    #[serde(rename = "container")]
    Container,
}

/// A file that is fetched before the task starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// From where.
    pub uri: String,
    /// Unpack it.
    pub extract: bool,
    /// Make it executable.
    pub executable: bool,
    /// Keep it for other tasks.
    pub cache: bool,
    /// Under which name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// `container` as it came.
#[derive(Debug)]
pub(crate) struct ContainerUpdate {
    pub(crate) container: Container,
    /// `docker.network`.
    pub(crate) network: Option<DockerNetwork>,
    /// `docker.portMappings`.
    pub(crate) docker_mappings: Option<Vec<PortMapping>>,
    /// Faults that are told together with those of the whole app.
    pub(crate) faults: Vec<(String, String)>,
}

/// `container.docker.network`, which `networks` has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DockerNetwork {
    Bridge,
    Host,
    None,
    User,
}

const MODES: [(&str, NetworkMode); 3] = [
    ("host", NetworkMode::Host),
    ("container/bridge", NetworkMode::Bridge),
    ("container", NetworkMode::Container),
];

/// Endings of files that are unpacked unless said otherwise, for the old `uris`.
const ARCHIVES: [&str; 9] = [
    ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip",
];

pub(super) fn read(value: &Value, path: String, faults: &mut Faults) -> Option<ContainerUpdate> {
    let object = Object::new(value, path, faults)?;
    let kinds = [
        ("MESOS", ContainerKind::Mesos),
        ("DOCKER", ContainerKind::Docker),
    ];
    let kind = object
        .choice("type", &kinds, faults)
        .unwrap_or(ContainerKind::Docker);
    let mut later = Vec::new();
    let (mut network, mut docker_mappings, mut docker) = (None, None, None);
    if let Some(value) = object.get("docker") {
        let image = Object::new(value, object.path("docker"), faults)?;
        let networks = [
            ("BRIDGE", DockerNetwork::Bridge),
            ("HOST", DockerNetwork::Host),
            ("NONE", DockerNetwork::None),
            ("USER", DockerNetwork::User),
        ];
        network = image.choice("network", &networks, faults);
        docker_mappings = mappings(&image, faults);
        image.require("image", faults);
        docker = Some(DockerImage {
            image: image.text("image", faults).unwrap_or_default(),
            force_pull_image: image.flag("forcePullImage", faults).unwrap_or(false),
            privileged: image.flag("privileged", faults).unwrap_or(false),
            parameters: parameters(&image, faults),
        });
        if docker
            .as_ref()
            .is_some_and(|docker| docker.image.is_empty())
        {
            later.push((image.path("image"), "must not be empty".to_owned()));
        }
        if image.get("credential").is_some() {
            later.push((image.path("credential"), "must be empty".to_owned()));
        }
        if image.get("pullConfig").is_some() {
            let message = if kind == ContainerKind::Docker {
                "pullConfig is not supported with Docker containerizer".to_owned()
            } else {
                super::update::feature("secrets")
            };
            later.push((image.path("pullConfig"), message));
        }
        if kind == ContainerKind::Mesos {
            for (key, there) in [
                ("network", network.is_some()),
                (
                    "portMappings",
                    docker_mappings.as_ref().is_some_and(|all| !all.is_empty()),
                ),
                (
                    "parameters",
                    docker
                        .as_ref()
                        .is_some_and(|docker| !docker.parameters.is_empty()),
                ),
            ] {
                if there {
                    later.push((image.path(key), "must be empty".to_owned()));
                }
            }
        }
    } else if kind == ContainerKind::Docker {
        later.push((object.path("docker"), "not defined".to_owned()));
    }
    let linux_info = isolation::linux(&object, &mut later, faults);
    let volumes = object.array("volumes", faults).unwrap_or_default();
    let volumes = volumes
        .into_iter()
        .filter_map(|(path, item)| volume::read(path, item, &mut later, faults))
        .collect();
    Some(ContainerUpdate {
        container: Container {
            kind,
            docker,
            volumes,
            port_mappings: mappings(&object, faults),
            linux_info,
        },
        network,
        docker_mappings,
        faults: later,
    })
}

fn parameters(image: &Object<'_>, faults: &mut Faults) -> Vec<Parameter> {
    let items = image.array("parameters", faults).unwrap_or_default();
    let parameter = |(path, item): (String, &Value)| {
        let object = Object::new(item, path, faults)?;
        object.require("key", faults);
        object.require("value", faults);
        let (key, value) = (object.text("key", faults)?, object.text("value", faults)?);
        if key.is_empty() {
            faults.add(object.path("key"), "error.minLength");
        }
        Some(Parameter { key, value })
    };
    items.into_iter().filter_map(parameter).collect()
}

fn mappings(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<PortMapping>> {
    let items = object.array("portMappings", faults)?;
    let port = |object: &Object<'_>, key: &str, faults: &mut Faults| {
        object
            .integer(key, 0, 65_535, faults)
            .and_then(|port| u16::try_from(port).ok())
    };
    let mapping = |(path, item): (String, &Value)| {
        let object = Object::new(item, path, faults)?;
        Some(PortMapping {
            container_port: port(&object, "containerPort", faults).unwrap_or(0),
            host_port: port(&object, "hostPort", faults),
            labels: object.text_map("labels", faults).unwrap_or_default(),
            name: object.text("name", faults),
            protocol: object
                .choice("protocol", &super::update::PROTOCOLS, faults)
                .unwrap_or(Protocol::Tcp),
            service_port: port(&object, "servicePort", faults).unwrap_or(0),
            network_names: object.texts("networkNames", faults).unwrap_or_default(),
        })
    };
    Some(items.into_iter().filter_map(mapping).collect())
}

/// `networks`; the mode is `container` where none is given.
pub(super) fn networks(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<Network>> {
    let items = object.array("networks", faults)?;
    let network = |(path, item): (String, &Value)| {
        let object = Object::new(item, path, faults)?;
        Some(Network {
            mode: object
                .choice("mode", &MODES, faults)
                .unwrap_or(NetworkMode::Container),
            name: object.text("name", faults),
            labels: object.text_map("labels", faults).unwrap_or_default(),
        })
    };
    Some(items.into_iter().filter_map(network).collect())
}

/// `fetch`.
pub(super) fn fetch(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<Artifact>> {
    artifacts(object, "fetch", faults)
}

/// Files to be fetched.
pub(super) fn artifacts(
    object: &Object<'_>,
    key: &str,
    faults: &mut Faults,
) -> Option<Vec<Artifact>> {
    let items = object.array(key, faults)?;
    let artifact = |(path, item): (String, &Value)| {
        let object = Object::new(item, path, faults)?;
        object.require("uri", faults);
        let uri = object.text("uri", faults)?;
        match uri.chars().count() {
            0 => faults.add(object.path("uri"), "error.minLength"),
            length if length > 1024 => faults.add(object.path("uri"), "error.maxLength"),
            _ => {}
        }
        Some(Artifact {
            uri,
            extract: object.flag("extract", faults).unwrap_or(true),
            executable: object.flag("executable", faults).unwrap_or(false),
            cache: object.flag("cache", faults).unwrap_or(false),
            dest_path: object.text("destPath", faults),
        })
    };
    Some(items.into_iter().filter_map(artifact).collect())
}

/// The old `uris` in the form of `fetch`.
pub(super) fn from_uris(uris: Vec<String>) -> Vec<Artifact> {
    let artifact = |uri: String| {
        let path = uri.split(['?', '#']).next().unwrap_or_default();
        Artifact {
            extract: ARCHIVES.iter().any(|ending| path.ends_with(ending)),
            uri,
            executable: false,
            cache: false,
            dest_path: None,
        }
    };
    uris.into_iter().map(artifact).collect()
}

/// Whether a text can be a URI: no spaces or control characters, and what stands before the first colon is a scheme.
pub(super) fn is_uri(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) || byte >= 0x80;
    let scheme = |scheme: &str| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let before_colon = text.split_once(':').map(|(before, _)| before);
    text.bytes().all(plain)
        && before_colon.is_none_or(|before| before.contains('/') || scheme(before))
}
