//! Rules over the fields of a pod, in Marathon's words.

use std::collections::BTreeSet;

use super::{Pod, check};
use crate::definition::{
    App, Faults, NetworkMode, Setting, UnreachableStrategy,
    container::is_uri,
    isolation, place,
    update::feature,
    validate::{id, roles},
    volume,
};

pub(super) fn validate(
    app: &App,
    old_role: Option<&str>,
    setting: Setting<'_>,
    faults: &mut Faults,
) {
    let Some(pod) = &app.pod else { return };
    id(&app.id, "/id", faults);
    if app.id.is_root() {
        faults.add("/id", "Path must contain at least one path element");
    }
    let path = "/scheduling/placement/acceptedResourceRoles";
    roles(app, path, old_role, setting, faults);
    place::networks(app, faults);
    names(pod, faults);
    ports(app, pod, faults);
    for (at, container) in pod.containers.iter().enumerate() {
        let path = format!("/containers({at})");
        let own = container.resources;
        let limits = format!("{path}/resourceLimits");
        isolation::validate_limits(
            container.resource_limits,
            own.cpus,
            own.mem,
            &limits,
            faults,
        );
        if pod.legacy_shared_cgroups && container.resource_limits.is_some() {
            let message = "resourceLimits cannot be defined if legacySharedCgroups is enabled";
            faults.add(limits, message);
        }
        if own.gpus > 0 && !setting.gpu_resources {
            faults.add(format!("{path}/resources/gpus"), feature("gpu_resources"));
        }
        for (index, artifact) in container.artifacts.iter().enumerate() {
            if !is_uri(&artifact.uri) {
                let path = format!("{path}/artifacts({index})/uri");
                faults.add(path, "URI has invalid syntax.");
            }
        }
        for (index, mount) in container.volume_mounts.iter().enumerate() {
            if !pod.volumes.iter().any(|volume| volume.name == mount.name) {
                let message = "Referenced Volume in VolumeMount should exist";
                faults.add(format!("{path}/volumeMounts({index})/name"), message);
            }
        }
        if let Some(shown) = &container.check {
            check::validate(container, &shown.probe, &format!("{path}/check"), faults);
        }
        let Some(check) = &container.health_check else {
            continue;
        };
        let path = format!("{path}/healthCheck");
        if check.timeout_seconds >= check.interval_seconds {
            let (timeout, interval) = (check.timeout_seconds, check.interval_seconds);
            let message = format!("got {timeout}, expected less than {interval}");
            faults.add(format!("{path}/timeoutSeconds"), message);
        }
        check::validate(container, &check.probe, &path, faults);
    }
    volumes(app, pod, faults);
}

fn names(pod: &Pod, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    if !pod.containers.iter().all(|one| seen.insert(&one.name)) {
        faults.add("/containers", "container names must be unique");
    }
    let mut seen = BTreeSet::new();
    if !pod.endpoints().all(|(_, one)| seen.insert(&one.name)) {
        // The letters are Marathon's.
        let message = "endpoint names nust be unique across all containers";
        faults.add("/", message);
    }
    let mut seen = BTreeSet::new();
    if !pod.volumes.iter().all(|one| seen.insert(&one.name)) {
        faults.add("/volumes", "volume names must be unique");
    }
}

fn ports(app: &App, pod: &Pod, faults: &mut Faults) {
    let on_host = app.is_on_host_network();
    let containers = app
        .networks
        .iter()
        .filter(|network| network.mode == NetworkMode::Container)
        .count();
    let known: Vec<&str> = app
        .networks
        .iter()
        .filter_map(|network| network.name.as_deref())
        .collect();
    let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
    for (at, container) in pod.containers.iter().enumerate() {
        for (index, endpoint) in container.endpoints.iter().enumerate() {
            let path = format!("/containers({at})/endpoints({index})");
            match (on_host, endpoint.container_port) {
                (true, Some(_)) => {
                    let message = "is not allowed when using host-mode networking";
                    faults.add(format!("{path}/containerPort"), message);
                }
                (false, None) => {
                    let message = "is required when using container-mode networking";
                    faults.add(format!("{path}/containerPort"), message);
                }
                _ => {}
            }
            if endpoint
                .container_port
                .is_some_and(|port| !inside.insert(port))
            {
                faults.add("/", "container ports must be unique across all containers");
            }
            let fixed = endpoint.host_port.filter(|port| *port != 0);
            if fixed.is_some_and(|port| !outside.insert(port)) {
                faults.add("/", "host ports must be unique across all containers");
            }
            for (nth, name) in endpoint.network_names.iter().enumerate() {
                if !known.contains(&name.as_str()) {
                    let message = format!("got {name}, expected one of: [{}]", known.join(", "));
                    faults.add(format!("{path}/networkNames({nth})"), message);
                }
            }
            let several = containers > 1 && endpoint.host_port.is_some();
            if several && endpoint.network_names.len() != 1 {
                let message = "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined";
                faults.add(path, message);
            }
        }
    }
}

fn volumes(app: &App, pod: &Pod, faults: &mut Faults) {
    for (at, one) in pod.volumes.iter().enumerate() {
        let path = format!("/volumes({at})");
        let mut mounts = pod.containers.iter().flat_map(|one| &one.volume_mounts);
        if !mounts.any(|mount| mount.name == one.name) {
            let message = "volume must be referenced by at least one container";
            faults.add(&path, message);
        }
        if let Some(persistent) = &one.persistent {
            volume::name(&one.name, &format!("{path}/name"), faults);
            volume::validate_persistent(persistent, &format!("{path}/persistent"), faults);
        }
    }
    if !app.is_resident() {
        return;
    }
    if app.role == "*" {
        faults.add("/role", "Resident apps cannot have the role *");
    }
    if app.unreachable_strategy != UnreachableStrategy::Disabled {
        let message = "unreachableStrategy must be disabled for pods with persistent volumes";
        faults.add("/scheduling/unreachableStrategy", message);
    }
    let over = app.upgrade_strategy.maximum_over_capacity;
    if over != 0.0 {
        let message = format!("got {over:?}, expected 0.0");
        faults.add("/scheduling/upgrade/maximumOverCapacity", message);
    }
}
