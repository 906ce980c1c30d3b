//! From what was sent to the app that stands for a pod: defaults and sums.

use std::sync::Arc;

use tepui_model::resources::Scalar;

use super::{Pod, PodUpdate, validate::validate};
use crate::{
    definition::{
        App, Container, ContainerKind, Faults, NetworkMode, Setting, UnreachableStrategy,
        UpgradeStrategy, Volume, VolumeMode, normalise, place,
    },
    path::PathId,
    response::Response,
};

/// Makes the canonical app of a pod. Its version is not set.
///
/// # Errors
/// The 422 answer with every fault.
pub(crate) fn build(
    update: PodUpdate,
    id: PathId,
    old: Option<&App>,
    setting: Setting<'_>,
) -> Result<App, Response> {
    let mut faults = Faults::default();
    let old_role = old.map(|old| old.role.as_str());
    let mut app = apply(update, id, old_role, setting, &mut faults);
    crate::definition::daemon::normalise(&mut app);
    validate(&app, old_role, setting, &mut faults);
    crate::definition::daemon::validate(&app, &mut faults);
    crate::definition::ordinals::validate(&app, &mut faults);
    faults.into_result("Object is not valid")?;
    Ok(app)
}

fn apply(
    update: PodUpdate,
    id: PathId,
    old_role: Option<&str>,
    setting: Setting<'_>,
    faults: &mut Faults,
) -> App {
    for (path, message) in update.later {
        faults.add(path, message);
    }
    let role = update.role.unwrap_or_else(|| {
        let enforced = setting.enforced_role(&id);
        let role = old_role.or(enforced).unwrap_or(setting.default_role);
        role.to_owned()
    });
    let mut app = normalise::defaults(id, &role);
    let mut networks = update.networks;
    for network in &mut networks {
        if network.mode == NetworkMode::Container && network.name.is_none() {
            network.name = setting.default_network_name.map(str::to_owned);
        }
    }
    app.networks = if networks.is_empty() {
        place::host()
    } else {
        networks.clone()
    };
    let in_container = app
        .networks
        .iter()
        .any(|network| network.mode == NetworkMode::Container);
    let mut containers = update.containers;
    for endpoint in containers.iter_mut().flat_map(|one| &mut one.endpoints) {
        if !in_container {
            endpoint.host_port = endpoint.host_port.or(Some(0));
        }
    }
    let executor = update.executor_resources;
    // Each part counts as the master counts it, so that a sum is never less than its parts.
    let sum = |own: f64, of: fn(&super::PodResources) -> f64| {
        let scalar = |amount| Scalar::from_f64(amount).unwrap_or_default();
        let parts = containers.iter().map(|one| scalar(of(&one.resources)));
        parts.fold(scalar(own), |sum, part| sum + part).as_f64()
    };
    app.cpus = sum(executor.cpus, |one| one.cpus);
    app.mem = sum(executor.mem, |one| one.mem);
    app.disk = sum(executor.disk, |one| one.disk);
    let gpus = containers.iter().map(|one| i64::from(one.resources.gpus));
    app.gpus = i32::try_from(gpus.sum::<i64>()).unwrap_or_else(|_| {
        faults.add("/containers".to_owned(), "error.max");
        i32::MAX
    });
    app.instances = update.instances;
    app.labels = update.labels;
    app.user = update.user;
    let path = "/scheduling/placement/constraints";
    app.constraints = normalise::constraints(update.constraints, path, faults);
    let roles = update.accepted_resource_roles;
    app.accepted_resource_roles = (!roles.is_empty()).then(|| roles.into_iter().collect());
    let persistent: Vec<Volume> = update
        .volumes
        .iter()
        .filter(|volume| volume.persistent.is_some())
        .map(|volume| Volume {
            container_path: volume.name.clone(),
            host_path: None,
            mode: VolumeMode::Rw,
            persistent: volume.persistent.clone(),
            external: None,
        })
        .collect();
    if !persistent.is_empty() {
        app.upgrade_strategy = UpgradeStrategy {
            minimum_health_capacity: 0.5,
            maximum_over_capacity: 0.0,
        };
        app.unreachable_strategy = UnreachableStrategy::Disabled;
        app.container = Some(Container {
            kind: ContainerKind::Mesos,
            docker: None,
            volumes: persistent,
            port_mappings: None,
            linux_info: None,
        });
    }
    if let Some(upgrade) = update.upgrade {
        app.upgrade_strategy = upgrade;
    }
    if let Some(unreachable) = update.unreachable {
        let path = "/scheduling/unreachableStrategy";
        app.unreachable_strategy = normalise::unreachable(unreachable, path, faults);
    }
    if let Some(selection) = update.kill_selection {
        app.kill_selection = selection;
    }
    app.pod = Some(Arc::new(Pod {
        environment: update.environment,
        containers,
        networks,
        volumes: update.volumes,
        backoff: update.backoff,
        executor_resources: executor,
        linux_info: update.linux_info,
        legacy_shared_cgroups: update.legacy_shared_cgroups,
    }));
    app
}
