//! App definitions: from the JSON that people send to the canonical [`App`], and the JSON of that.
//!
//! The way in is `update` (types and ranges of every field; names of what is not built yet) → `normalise` (aliases and defaults) →
//! `validate` (rules over fields). Each collects all faults of a document before it answers, in Marathon's words and paths.
//!
//! Leaves out: rules over several apps (`group`), and the versions of an app (`core`).

mod app;
pub(crate) mod check;
mod container;
mod csi;
mod daemon;
mod executor;
mod external;
mod ip_address;
mod isolation;
mod normalise;
mod ordinals;
mod place;
#[cfg(test)]
mod place_tests;
pub(crate) mod pod;
mod ports;
mod reader;
mod readiness;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod validate;
mod volume;
#[cfg(test)]
mod volume_tests;

pub use app::{
    App, CheckCommand, Constraint, HealthCheck, HealthProtocol, IpProtocol, KillSelection,
    Operator, PortDefinition, Protocol, UnreachableStrategy, UpgradeStrategy, VersionInfo,
};
pub use check::{Check, CheckProbe};
pub use container::{
    Artifact, Container, ContainerKind, DockerImage, Network, NetworkMode, Parameter, PortMapping,
};
pub use csi::{CsiAccessMode, CsiAccessType, CsiCapability, CsiOptions, CsiVolume};
pub use executor::is_executor;
pub use external::{DriverVolume, ExternalVolume};
pub(crate) use external::{conflicts as volume_conflicts, instances as external_instances};
pub use isolation::{IpcInfo, IpcMode, Limit, LinuxInfo, ResourceLimits, Seccomp};
pub use pod::{
    Endpoint, Exec, ExecutorResources, ImageKind, Lifecycle, Pod, PodBackoff, PodCheck, PodCommand,
    PodContainer, PodHealthCheck, PodImage, PodProbe, PodResources, PodVolume, VolumeMount,
};
pub(crate) use ports::{PortDemand, PortSlot};
pub(crate) use reader::{Faults, Object};
pub use readiness::{ReadinessCheck, ReadinessProtocol};
pub(crate) use update::AppUpdate;
pub(crate) use validate::group_id as validate_group_id;
pub(crate) use volume::validate_change;
pub use volume::{DiskKind, PersistentVolume, Residency, TaskLostBehavior, Volume, VolumeMode};

use crate::{config::Config, path::PathId, response::Response};

/// What defaults and rules depend on beside the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// `--mesos_role`.
    pub(crate) default_role: &'a str,
    /// `enforceRole` of the top-level group that the app lies in; none: of none.
    pub(crate) enforce_role: Option<bool>,
    /// `--new_group_enforce_role`.
    pub(crate) new_group_enforce_role: bool,
    /// `--default_network_name`.
    pub(crate) default_network_name: Option<&'a str>,
    /// `--mesos_bridge_name`.
    pub(crate) bridge_name: &'a str,
    /// `--enable_features gpu_resources`.
    pub(crate) gpu_resources: bool,
    /// `--enable_features external_volumes`.
    pub(crate) external_volumes: bool,
}

impl<'a> Setting<'a> {
    /// For an app whose top-level group is not there, or is none.
    pub(crate) fn new(config: &'a Config) -> Self {
        Self {
            default_role: &config.mesos_role,
            enforce_role: None,
            new_group_enforce_role: config.new_group_enforce_role,
            default_network_name: config.default_network_name.as_deref(),
            bridge_name: &config.mesos_bridge_name,
            gpu_resources: config.gpu_resources,
            external_volumes: config.external_volumes,
        }
    }

    /// The role that the top-level group of an app demands.
    fn enforced_role<'i>(&self, id: &'i PathId) -> Option<&'i str> {
        group_role(id).filter(|_| self.enforce_role.unwrap_or(self.new_group_enforce_role))
    }
}

/// The name of the top-level group that an app lies in.
fn group_role(id: &PathId) -> Option<&str> {
    let mut segments = id.segments();
    let first = segments.next();
    segments.next().and(first)
}

/// Makes the canonical app that `update` leads to. Its version is still that of `old`, or none.
pub(crate) fn build(
    update: AppUpdate,
    id: PathId,
    old: Option<&App>,
    setting: Setting<'_>,
) -> Result<App, Response> {
    let mut faults = Faults::default();
    let old_role = old.map(|old| old.role.as_str());
    let app = build_into(update, id, old, old_role, setting, &mut faults);
    faults.into_result("Object is not valid")?;
    Ok(app)
}

/// As [`build`], with faults collected; `old_role` is the role that the app has so far, also if it is replaced as a whole.
pub(crate) fn build_into(
    update: AppUpdate,
    id: PathId,
    old: Option<&App>,
    old_role: Option<&str>,
    setting: Setting<'_>,
    faults: &mut Faults,
) -> App {
    let mut app = normalise::apply(update, id, old, setting, faults);
    daemon::normalise(&mut app);
    validate::validate(&app, old_role, setting, faults);
    app
}

/// An app of which nothing is known but its id: stands in for a definition that was deleted while its instances end.
pub(crate) fn placeholder(id: &PathId) -> App {
    normalise::defaults(id.clone(), "*")
}
