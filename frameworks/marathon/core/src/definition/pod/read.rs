//! A pod as it was sent: types, ranges and defaults of every field. Faults that belong to validation are kept for later.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Endpoint, Exec, ExecutorResources, ImageKind, Lifecycle, PodBackoff, PodCommand, PodContainer,
    PodHealthCheck, PodImage, PodResources, PodVolume, VolumeMount, check,
};
use crate::{
    definition::{
        Faults, KillSelection, LinuxInfo, Network, Object, UpgradeStrategy,
        container::{self, Artifact},
        isolation,
        reader::text,
        update::{self, UnreachableUpdate, feature},
        volume,
    },
    response::Response,
};

/// A document of `/v2/pods`.
#[derive(Debug)]
pub(crate) struct PodUpdate {
    pub(crate) id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) user: Option<String>,
    pub(super) containers: Vec<PodContainer>,
    pub(super) networks: Vec<Network>,
    pub(super) volumes: Vec<PodVolume>,
    pub(super) instances: u32,
    pub(super) backoff: PodBackoff,
    pub(super) upgrade: Option<UpgradeStrategy>,
    pub(super) constraints: Vec<Vec<String>>,
    pub(super) accepted_resource_roles: Vec<String>,
    pub(super) kill_selection: Option<KillSelection>,
    pub(super) unreachable: Option<UnreachableUpdate>,
    pub(super) executor_resources: ExecutorResources,
    pub(super) linux_info: Option<LinuxInfo>,
    pub(super) legacy_shared_cgroups: bool,
    pub(crate) role: Option<String>,
    /// Faults of validation.
    pub(super) later: Vec<(String, String)>,
}

impl PodUpdate {
    /// Reads a document.
    ///
    /// # Errors
    /// The 422 answer with every fault.
    pub(crate) fn read(value: &Value) -> Result<Self, Response> {
        let mut faults = Faults::default();
        let update = Self::read_into(value, &mut faults);
        faults.into_result("Invalid JSON")?;
        update.ok_or_else(|| Response::message(422, "a pod is expected"))
    }

    fn read_into(value: &Value, faults: &mut Faults) -> Option<Self> {
        let object = Object::new(value, "", faults)?;
        object.require("id", faults);
        object.require("containers", faults);
        let mut later = Vec::new();
        let items = object.array("containers", faults).unwrap_or_default();
        if items.is_empty() && object.get("containers").is_some_and(Value::is_array) {
            faults.add(object.path("containers"), "error.minLength");
        }
        let containers = items
            .into_iter()
            .filter_map(|(path, item)| container(path, item, &mut later, faults))
            .collect();
        let volumes = object.array("volumes", faults).unwrap_or_default();
        let volumes = volumes
            .into_iter()
            .filter_map(|(path, item)| pod_volume(path, item, &mut later, faults))
            .collect();
        if object.get("secrets").is_some_and(|value| !is_empty(value)) {
            later.push((object.path("secrets"), feature("secrets")));
        }
        let linux_info = isolation::linux(&object, &mut later, faults);
        if linux_info.as_ref().is_some_and(|one| one.seccomp.is_some()) {
            let message = "Seccomp configuration on executor level is not supported";
            later.push((object.path("linuxInfo/seccomp"), message.to_owned()));
        }
        let environment = environment(&object, &mut later, faults);
        let mut update = Self {
            id: object.text("id", faults).unwrap_or_default(),
            labels: object.text_map("labels", faults).unwrap_or_default(),
            environment,
            user: object.text("user", faults),
            containers,
            networks: container::networks(&object, faults).unwrap_or_default(),
            volumes,
            instances: scaling(&object, faults),
            backoff: PodBackoff {
                backoff: 1.0,
                backoff_factor: 1.15,
                max_launch_delay: 300.0,
            },
            upgrade: None,
            constraints: Vec::new(),
            accepted_resource_roles: Vec::new(),
            kill_selection: None,
            unreachable: None,
            executor_resources: executor_resources(&object, faults),
            linux_info,
            legacy_shared_cgroups: object.flag("legacySharedCgroups", faults).unwrap_or(false),
            role: object.text("role", faults),
            later,
        };
        if let Some(value) = object.get("scheduling")
            && let Some(scheduling) = Object::new(value, object.path("scheduling"), faults)
        {
            update.scheduling(&scheduling, faults);
        }
        Some(update)
    }

    fn scheduling(&mut self, object: &Object<'_>, faults: &mut Faults) {
        if let Some(value) = object.get("backoff")
            && let Some(backoff) = Object::new(value, object.path("backoff"), faults)
        {
            let mut number = |key: &str, min: f64, otherwise: f64| {
                let number = backoff.number(key, min, f64::MAX, faults);
                number.unwrap_or(otherwise)
            };
            self.backoff = PodBackoff {
                backoff: number("backoff", 0.0, 1.0),
                backoff_factor: number("backoffFactor", 1.0, 1.15),
                max_launch_delay: number("maxLaunchDelay", 0.0, 300.0),
            };
        }
        self.upgrade = object.get("upgrade").and_then(|value| {
            let upgrade = Object::new(value, object.path("upgrade"), faults)?;
            let mut share = |key: &str| upgrade.number(key, 0.0, 1.0, faults).unwrap_or(1.0);
            Some(UpgradeStrategy {
                minimum_health_capacity: share("minimumHealthCapacity"),
                maximum_over_capacity: share("maximumOverCapacity"),
            })
        });
        if let Some(value) = object.get("placement")
            && let Some(placement) = Object::new(value, object.path("placement"), faults)
        {
            let constraints = placement.array("constraints", faults).unwrap_or_default();
            self.constraints = constraints
                .into_iter()
                .filter_map(|(path, item)| constraint(path, item, faults))
                .collect();
            let roles = placement.texts("acceptedResourceRoles", faults);
            self.accepted_resource_roles = roles.unwrap_or_default();
        }
        self.kill_selection = object.choice("killSelection", &update::KILL_SELECTIONS, faults);
        self.unreachable = object.get("unreachableStrategy").and_then(|value| {
            update::unreachable(value, object.path("unreachableStrategy"), faults)
        });
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

/// `[fieldName, operator, value]`.
fn constraint(path: String, item: &Value, faults: &mut Faults) -> Option<Vec<String>> {
    let object = Object::new(item, path, faults)?;
    object.require("fieldName", faults);
    object.require("operator", faults);
    let mut parts = vec![
        object.text("fieldName", faults)?,
        object.text("operator", faults)?,
    ];
    parts.extend(object.text("value", faults));
    Some(parts)
}

fn scaling(object: &Object<'_>, faults: &mut Faults) -> u32 {
    let Some(value) = object.get("scaling") else {
        return 1;
    };
    let Some(scaling) = Object::new(value, object.path("scaling"), faults) else {
        return 1;
    };
    scaling.choice("kind", &[("fixed", ())], faults);
    scaling.count("instances", faults).unwrap_or(1)
}

pub(crate) fn executor_resources(object: &Object<'_>, faults: &mut Faults) -> ExecutorResources {
    let mut given = ExecutorResources {
        cpus: 0.1,
        mem: 32.0,
        disk: 10.0,
    };
    if let Some(value) = object.get("executorResources")
        && let Some(object) = Object::new(value, object.path("executorResources"), faults)
    {
        let mut number = |key: &str, least: f64| {
            let number = object.number(key, least, MOST, faults);
            number.unwrap_or(least)
        };
        given = ExecutorResources {
            cpus: number("cpus", 0.1),
            mem: number("mem", 32.0),
            disk: number("disk", 10.0),
        };
    }
    given
}

/// Names as a shell has them; values of secrets are refused.
fn environment(
    object: &Object<'_>,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(value) = object.get("environment") else {
        return variables;
    };
    let Some(map) = Object::new(value, object.path("environment"), faults) else {
        return variables;
    };
    for (name, value) in map.members() {
        let letters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let digit = name.starts_with(|letter: char| letter.is_ascii_digit());
        if name.is_empty() || name.len() > 254 || !letters || digit {
            faults.add(map.path(name), "error.pattern");
        }
        match value {
            Value::Object(_) => {
                let message = "use of secret-references in the environment requires the secrets feature to be enabled";
                later.push((map.path(name), message.to_owned()));
            }
            other => {
                if let Some(text) = text(other, || map.path(name), faults) {
                    variables.insert(name.clone(), text);
                }
            }
        }
    }
    variables
}

fn container(
    path: String,
    item: &Value,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodContainer> {
    let object = Object::new(item, path, faults)?;
    object.require("name", faults);
    object.require("resources", faults);
    let name = object.text("name", faults).unwrap_or_default();
    let letters = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let shape = letters && !name.starts_with('-') && !name.ends_with('-') && name.len() <= 63;
    if object.get("name").is_some() && (name.is_empty() || !shape) {
        faults.add(object.path("name"), "error.pattern");
    }
    let resources = object
        .get("resources")
        .and_then(|value| resources(value, object.path("resources"), faults));
    let endpoints = object.array("endpoints", faults).unwrap_or_default();
    let endpoints = endpoints
        .into_iter()
        .filter_map(|(path, item)| endpoint(path, item, faults))
        .collect();
    let mounts = object.array("volumeMounts", faults).unwrap_or_default();
    let mounts = mounts
        .into_iter()
        .filter_map(|(path, item)| mount(path, item, faults))
        .collect();
    let exec = object.get("exec").and_then(|value| {
        let exec = Object::new(value, object.path("exec"), faults)?;
        exec.require("command", faults);
        Some(Exec {
            command: command(exec.get("command")?, exec.path("command"), faults)?,
            override_entrypoint: exec.flag("overrideEntrypoint", faults),
        })
    });
    let image = object
        .get("image")
        .and_then(|value| image(value, object.path("image"), later, faults));
    let health_check = object
        .get("healthCheck")
        .and_then(|value| health_check(value, object.path("healthCheck"), later, faults));
    let shown = object
        .get("check")
        .and_then(|value| check::read(value, object.path("check"), later, faults));
    let lifecycle = object.get("lifecycle").and_then(|value| {
        let lifecycle = Object::new(value, object.path("lifecycle"), faults)?;
        let seconds = lifecycle.number("killGracePeriodSeconds", 0.0, f64::MAX, faults);
        Some(Lifecycle {
            kill_grace_period_seconds: seconds,
        })
    });
    Some(PodContainer {
        tty: object.flag("tty", faults),
        linux_info: isolation::linux(&object, later, faults),
        resource_limits: isolation::limits(&object, faults),
        exec,
        resources: resources?,
        endpoints,
        image,
        environment: environment(&object, later, faults),
        user: object.text("user", faults),
        health_check,
        check: shown,
        volume_mounts: mounts,
        artifacts: artifacts(&object, faults),
        labels: object.text_map("labels", faults).unwrap_or_default(),
        lifecycle,
        name,
    })
}

fn artifacts(object: &Object<'_>, faults: &mut Faults) -> Vec<Artifact> {
    container::artifacts(object, "artifacts", faults).unwrap_or_default()
}

/// The most that a container may ask of anything, so that sums stay numbers: a billion cpus, or MiB.
const MOST: f64 = 1e9;

fn resources(value: &Value, path: String, faults: &mut Faults) -> Option<PodResources> {
    let object = Object::new(value, path, faults)?;
    let mut number = |key: &str, least: f64, otherwise: f64| {
        let number = object.number(key, least, MOST, faults);
        number.unwrap_or(otherwise)
    };
    let (cpus, mem) = (number("cpus", 0.001, 1.0), number("mem", 0.001, 128.0));
    let disk = number("disk", 0.0, 0.0);
    let gpus = object.integer("gpus", 0, i64::from(i32::MAX), faults);
    Some(PodResources {
        cpus,
        mem,
        disk,
        gpus: gpus.and_then(|gpus| i32::try_from(gpus).ok()).unwrap_or(0),
    })
}

fn port(object: &Object<'_>, key: &str, least: i64, faults: &mut Faults) -> Option<u16> {
    let port = object.integer(key, least, 65_535, faults)?;
    u16::try_from(port).ok()
}

fn endpoint(path: String, item: &Value, faults: &mut Faults) -> Option<Endpoint> {
    let object = Object::new(item, path, faults)?;
    object.require("name", faults);
    let protocols = object.texts("protocol", faults);
    let protocol: Vec<String> = protocols.unwrap_or_else(|| vec!["tcp".to_owned()]);
    let lower: Vec<String> = protocol.iter().map(|one| one.to_lowercase()).collect();
    for (at, name) in lower.iter().enumerate() {
        if !matches!(name.as_str(), "tcp" | "udp") {
            let path = format!("{}({at})", object.path("protocol"));
            faults.add(path, "error.unknown.enum.literal");
        }
    }
    Some(Endpoint {
        name: object.text("name", faults)?,
        container_port: port(&object, "containerPort", 1, faults),
        host_port: port(&object, "hostPort", 0, faults),
        protocol: lower,
        labels: object.text_map("labels", faults).unwrap_or_default(),
        network_names: object.texts("networkNames", faults).unwrap_or_default(),
    })
}

fn mount(path: String, item: &Value, faults: &mut Faults) -> Option<VolumeMount> {
    let object = Object::new(item, path, faults)?;
    object.require("name", faults);
    object.require("mountPath", faults);
    Some(VolumeMount {
        name: object.text("name", faults)?,
        mount_path: object.text("mountPath", faults)?,
        read_only: object.flag("readOnly", faults),
    })
}

pub(crate) fn command(value: &Value, path: String, faults: &mut Faults) -> Option<PodCommand> {
    let object = Object::new(value, path, faults)?;
    if let Some(shell) = object.text("shell", faults) {
        return Some(PodCommand::Shell(shell));
    }
    object.require("argv", faults);
    object.texts("argv", faults).map(PodCommand::Argv)
}

fn image(
    value: &Value,
    path: String,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodImage> {
    let object = Object::new(value, path, faults)?;
    object.require("kind", faults);
    object.require("id", faults);
    if object.get("pullConfig").is_some() {
        later.push((object.path("pullConfig"), feature("secrets")));
    }
    let id = object.text("id", faults);
    if id.as_deref() == Some("") {
        faults.add(object.path("id"), "error.minLength");
    }
    Some(PodImage {
        kind: object.choice("kind", &[("DOCKER", ImageKind::Docker)], faults)?,
        id: id?,
        force_pull: object.flag("forcePull", faults),
        labels: object.text_map("labels", faults).unwrap_or_default(),
    })
}

fn health_check(
    value: &Value,
    path: String,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodHealthCheck> {
    let object = Object::new(value, path.clone(), faults)?;
    let probe = check::probe(&object, path, later, faults);
    let mut count = |key: &str, otherwise: u32| object.count(key, faults).unwrap_or(otherwise);
    Some(PodHealthCheck {
        grace_period_seconds: count("gracePeriodSeconds", 300),
        interval_seconds: count("intervalSeconds", 60),
        max_consecutive_failures: count("maxConsecutiveFailures", 3),
        timeout_seconds: count("timeoutSeconds", 20),
        delay_seconds: count("delaySeconds", 15),
        probe: probe?,
    })
}

fn pod_volume(
    path: String,
    item: &Value,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PodVolume> {
    let object = Object::new(item, path, faults)?;
    object.require("name", faults);
    if object.get("secret").is_some() {
        later.push((object.path("secret"), feature("secrets")));
    }
    let persistent = object.get("persistent").and_then(|value| {
        let persistent = Object::new(value, object.path("persistent"), faults)?;
        volume::persistent_volume(&persistent, later, faults)
    });
    Some(PodVolume {
        name: object.text("name", faults)?,
        host: object.text("host", faults),
        persistent,
    })
}
