//! An app update: every field of the app schema, each of them optional, as it was sent. A complete definition is an update of nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::container::{self, Artifact, ContainerUpdate, Network};
use super::{
    Check, ExecutorResources, ResourceLimits,
    app::{CheckCommand, HealthProtocol, KillSelection, Protocol, UpgradeStrategy},
    ip_address::{self, IpAddressUpdate},
    isolation,
    reader::{Faults, Object, integer},
    readiness::{self, ReadinessCheck},
};
use crate::response::Response;

/// See the module. Fields that are not built are only named, in `not_built`, with the message for each path.
#[derive(Debug, Default)]
pub(crate) struct AppUpdate {
    pub(crate) id: Option<String>,
    pub(crate) cmd: Option<String>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) cpus: Option<f64>,
    pub(crate) mem: Option<f64>,
    pub(crate) disk: Option<f64>,
    pub(crate) gpus: Option<i32>,
    pub(crate) resource_limits: Option<ResourceLimits>,
    pub(crate) tty: Option<bool>,
    pub(crate) executor_resources: Option<ExecutorResources>,
    pub(crate) check: Option<Check>,
    pub(crate) instances: Option<u32>,
    pub(crate) executor: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) env: Option<BTreeMap<String, String>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) constraints: Option<Vec<Vec<String>>>,
    pub(crate) accepted_resource_roles: Option<Vec<String>>,
    pub(crate) role: Option<String>,
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) container: Option<ContainerUpdate>,
    pub(crate) networks: Option<Vec<Network>>,
    pub(crate) ip_address: Option<IpAddressUpdate>,
    pub(crate) fetch: Option<Vec<Artifact>>,
    pub(crate) uris: Option<Vec<String>>,
    pub(crate) port_definitions: Option<Vec<PortUpdate>>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) require_ports: Option<bool>,
    pub(crate) health_checks: Option<Vec<HealthUpdate>>,
    pub(crate) readiness_checks: Option<Vec<ReadinessCheck>>,
    pub(crate) backoff_seconds: Option<u32>,
    pub(crate) backoff_factor: Option<f64>,
    pub(crate) max_launch_delay_seconds: Option<u32>,
    pub(crate) task_kill_grace_period_seconds: Option<u32>,
    pub(crate) upgrade_strategy: Option<UpgradeStrategy>,
    pub(crate) unreachable_strategy: Option<UnreachableUpdate>,
    pub(crate) kill_selection: Option<KillSelection>,
    pub(crate) version: Option<String>,
    /// Fields that stand beside `version` and forbid a rollback.
    pub(crate) beside_version: bool,
    pub(crate) not_built: Vec<(String, String)>,
}

/// An element of `portDefinitions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortUpdate {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// An element of `healthChecks`.
#[derive(Debug)]
pub(crate) struct HealthUpdate {
    pub(crate) protocol: HealthProtocol,
    pub(crate) path: Option<String>,
    pub(crate) port_index: Option<u32>,
    pub(crate) port: Option<u16>,
    pub(crate) command: Option<CheckCommand>,
    pub(crate) grace_period_seconds: u32,
    pub(crate) interval_seconds: u32,
    pub(crate) timeout_seconds: u32,
    pub(crate) max_consecutive_failures: u32,
    pub(crate) delay_seconds: u32,
    pub(crate) ignore_http1xx: bool,
    pub(crate) ipv6: bool,
}

/// `unreachableStrategy` before its rules were checked: seconds may be negative.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UnreachableUpdate {
    Disabled,
    Replace {
        inactive_after_seconds: i64,
        expunge_after_seconds: i64,
    },
}

pub(super) const PROTOCOLS: [(&str, Protocol); 3] = [
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("udp,tcp", Protocol::Both),
];
pub(super) const KILL_SELECTIONS: [(&str, KillSelection); 2] = [
    ("YOUNGEST_FIRST", KillSelection::YoungestFirst),
    ("OLDEST_FIRST", KillSelection::OldestFirst),
];

impl AppUpdate {
    /// Reads one document; `complete` demands what a definition must have.
    pub(crate) fn read(value: &Value, complete: bool) -> Result<Self, Response> {
        let mut faults = Faults::default();
        let update = Self::read_into(value, complete, &mut faults);
        faults.into_result("Invalid JSON")?;
        Ok(update.unwrap_or_default())
    }

    /// Reads one document; paths of faults begin with it.
    pub(crate) fn read_into(value: &Value, complete: bool, faults: &mut Faults) -> Option<Self> {
        let object = Object::new(value, "", faults)?;
        if complete {
            object.require("id", faults);
        }
        let seconds = |key, faults: &mut Faults| object.count(key, faults);
        let cmd = object.text("cmd", faults);
        if cmd.as_deref() == Some("") {
            faults.add(object.path("cmd"), "error.minLength");
        }
        let mut update = Self {
            id: object.text("id", faults),
            cmd,
            args: object.texts("args", faults),
            cpus: object.number("cpus", 0.001, f64::MAX, faults),
            mem: object.number("mem", 0.0, f64::MAX, faults),
            disk: object.number("disk", 0.0, f64::MAX, faults),
            gpus: object
                .integer("gpus", 0, i64::from(i32::MAX), faults)
                .and_then(|gpus| i32::try_from(gpus).ok()),
            resource_limits: isolation::limits(&object, faults),
            tty: object.flag("tty", faults),
            executor_resources: object
                .get("executorResources")
                .map(|_| super::pod::executor_resources(&object, faults)),
            instances: object.count("instances", faults),
            executor: super::executor::read(&object, faults),
            user: object.text("user", faults),
            labels: object.text_map("labels", faults),
            constraints: object.array("constraints", faults).map(|items| {
                items
                    .into_iter()
                    .filter_map(|(path, item)| constraint(&path, item, faults))
                    .collect()
            }),
            accepted_resource_roles: object.texts("acceptedResourceRoles", faults),
            role: object.text("role", faults),
            dependencies: object.texts("dependencies", faults),
            container: object
                .get("container")
                .and_then(|value| container::read(value, object.path("container"), faults)),
            networks: container::networks(&object, faults),
            ip_address: ip_address::read(&object, faults),
            fetch: container::fetch(&object, faults),
            uris: object.texts("uris", faults),
            port_definitions: object.array("portDefinitions", faults).map(|items| {
                items
                    .into_iter()
                    .filter_map(|(path, item)| port_definition(path, item, faults))
                    .collect()
            }),
            ports: object.array("ports", faults).map(|items| {
                let port = |(path, item)| port_number(integer(item, || path, 0, 65_535, faults)?);
                items.into_iter().filter_map(port).collect()
            }),
            require_ports: object.flag("requirePorts", faults),
            health_checks: object.array("healthChecks", faults).map(|items| {
                items
                    .into_iter()
                    .filter_map(|(path, item)| health_check(path, item, faults))
                    .collect()
            }),
            readiness_checks: readiness::read(&object, faults),
            backoff_seconds: seconds("backoffSeconds", faults),
            backoff_factor: object.number("backoffFactor", 1.0, f64::MAX, faults),
            max_launch_delay_seconds: seconds("maxLaunchDelaySeconds", faults),
            task_kill_grace_period_seconds: seconds("taskKillGracePeriodSeconds", faults),
            upgrade_strategy: object
                .get("upgradeStrategy")
                .and_then(|value| upgrade(value, object.path("upgradeStrategy"), faults)),
            unreachable_strategy: object
                .get("unreachableStrategy")
                .and_then(|value| unreachable(value, object.path("unreachableStrategy"), faults)),
            kill_selection: object.choice("killSelection", &KILL_SELECTIONS, faults),
            version: object.text("version", faults),
            ..Self::default()
        };
        update.beside_version = object
            .members()
            .any(|(key, value)| key != "version" && key != "id" && !value.is_null());
        update.check = super::check::read(&object, &mut update.not_built, faults);
        update.env = environment(&object, &mut update.not_built, faults);
        super::volume::check_residency(&object, faults);
        update.name_what_is_not_built(&object);
        Some(update)
    }

    fn name_what_is_not_built(&mut self, object: &Object<'_>) {
        let empty = |value: &Value| match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(flag) => !flag,
            _ => false,
        };
        if object.get("secrets").is_some_and(|value| !empty(value)) {
            self.not_built
                .push((object.path("secrets"), feature("secrets")));
        }
    }
}

/// The message for what hides behind a feature of Marathon. The lonely parenthesis is Marathon's.
pub(super) fn feature(name: &str) -> String {
    format!("Feature {name} is not enabled. Enable with --enable_features {name})")
}

fn port_number(value: i64) -> Option<u16> {
    u16::try_from(value).ok()
}

pub(super) fn constraint(path: &str, item: &Value, faults: &mut Faults) -> Option<Vec<String>> {
    let Value::Array(items) = item else {
        faults.add(path, "error.expected.jsarray");
        return None;
    };
    let part = |(at, item)| super::reader::text(item, || format!("{path}({at})"), faults);
    Some(items.iter().enumerate().filter_map(part).collect())
}

fn port_definition(path: String, item: &Value, faults: &mut Faults) -> Option<PortUpdate> {
    let object = Object::new(item, path, faults)?;
    Some(PortUpdate {
        port: object
            .integer("port", 0, 65_535, faults)
            .and_then(port_number)
            .unwrap_or(0),
        protocol: object
            .choice("protocol", &PROTOCOLS, faults)
            .unwrap_or(Protocol::Tcp),
        name: object.text("name", faults),
        labels: object.text_map("labels", faults).unwrap_or_default(),
    })
}

fn health_check(path: String, item: &Value, faults: &mut Faults) -> Option<HealthUpdate> {
    let object = Object::new(item, path, faults)?;
    let command = match object.get("command") {
        None => None,
        Some(value) => {
            let command = Object::new(value, object.path("command"), faults)?;
            command.require("value", faults);
            command
                .text("value", faults)
                .map(|value| CheckCommand { value })
        }
    };
    Some(HealthUpdate {
        protocol: object
            .choice("protocol", &HealthProtocol::ALL, faults)
            .unwrap_or(HealthProtocol::Http),
        path: object.text("path", faults),
        port_index: object.count("portIndex", faults),
        port: object
            .integer("port", 0, 65_535, faults)
            .and_then(port_number),
        command,
        grace_period_seconds: object.count("gracePeriodSeconds", faults).unwrap_or(300),
        interval_seconds: object.count("intervalSeconds", faults).unwrap_or(60),
        timeout_seconds: object.count("timeoutSeconds", faults).unwrap_or(20),
        max_consecutive_failures: object.count("maxConsecutiveFailures", faults).unwrap_or(3),
        delay_seconds: object.count("delaySeconds", faults).unwrap_or(15),
        ignore_http1xx: object.flag("ignoreHttp1xx", faults).unwrap_or(false),
        ipv6: object
            .choice("ipProtocol", &[("IPv4", false), ("IPv6", true)], faults)
            .unwrap_or(false),
    })
}

fn upgrade(value: &Value, path: String, faults: &mut Faults) -> Option<UpgradeStrategy> {
    let object = Object::new(value, path, faults)?;
    object.require("maximumOverCapacity", faults);
    object.require("minimumHealthCapacity", faults);
    // Both are read before either is missed, so that all faults are told.
    let minimum_health_capacity = object.number("minimumHealthCapacity", 0.0, 1.0, faults);
    let maximum_over_capacity = object.number("maximumOverCapacity", 0.0, 1.0, faults);
    Some(UpgradeStrategy {
        minimum_health_capacity: minimum_health_capacity?,
        maximum_over_capacity: maximum_over_capacity?,
    })
}

pub(super) fn unreachable(
    value: &Value,
    path: String,
    faults: &mut Faults,
) -> Option<UnreachableUpdate> {
    if let Value::String(text) = value {
        if text.eq_ignore_ascii_case("disabled") {
            return Some(UnreachableUpdate::Disabled);
        }
        faults.add(path, "error.unknown.enum.literal");
        return None;
    }
    let object = Object::new(value, path, faults)?;
    Some(UnreachableUpdate::Replace {
        inactive_after_seconds: object
            .integer("inactiveAfterSeconds", i64::MIN, i64::MAX, faults)
            .unwrap_or(0),
        expunge_after_seconds: object
            .integer("expungeAfterSeconds", i64::MIN, i64::MAX, faults)
            .unwrap_or(0),
    })
}

fn environment(
    object: &Object<'_>,
    not_built: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, String>> {
    let env = Object::new(object.get("env")?, object.path("env"), faults)?;
    let mut variables = BTreeMap::new();
    for (name, value) in env.members() {
        match value {
            Value::String(text) => {
                variables.insert(name.clone(), text.clone());
            }
            Value::Object(_) => {
                let message = "use of secret-references in the environment requires the secrets feature to be enabled";
                not_built.push((env.path(name), message.to_owned()));
            }
            _ => faults.add(env.path(name), "error.expected.jsstring"),
        }
    }
    Some(variables)
}
