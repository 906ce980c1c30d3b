//! What is mounted into a container: directories of the agent, and volumes that outlive their task. Canonical forms, and how they are read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    App, Constraint, ExternalVolume, Object, Operator, external,
    reader::Faults,
    update::{constraint, feature},
};

/// A volume of a container: one of the host if it has a `hostPath`, persistent if it has `persistent`, of a storage provider if it has `external`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Where it is mounted; of a persistent one a name in the sandbox.
    pub container_path: String,
    /// Which directory of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Whether it may be written; a persistent one always may.
    pub mode: VolumeMode,
    /// It is made for an instance, and stays when its task ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<PersistentVolume>,
    /// A storage provider keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalVolume>,
}

/// See [`Volume::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeMode {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

/// On which disk a persistent volume is, and how large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolume {
    /// The kind of disk.
    #[serde(rename = "type")]
    pub kind: DiskKind,
    /// At least so many MiB.
    pub size: u64,
    /// At most so many MiB, of a disk that is taken whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Only disks with this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// LIKE and UNLIKE on the `path` of the disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

/// Kinds of disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// A part of the agent's own.
    Root,
    /// A part of another.
    Path,
    /// The whole of another.
    Mount,
}

/// What `residency` says of an app with persistent volumes. It has no effect: a task that is lost is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    /// Not heeded.
    pub relaunch_escalation_timeout_seconds: u64,
    /// Not heeded.
    pub task_lost_behavior: TaskLostBehavior,
}

/// See [`Residency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskLostBehavior {
    /// What is done.
    WaitForever,
    /// Read, and not done.
    RelaunchAfterTimeout,
}

impl Default for Residency {
    fn default() -> Self {
        Self {
            relaunch_escalation_timeout_seconds: 3600,
            task_lost_behavior: TaskLostBehavior::WaitForever,
        }
    }
}

impl App {
    /// The persistent volumes of an instance.
    pub(crate) fn persistent_volumes(&self) -> impl Iterator<Item = (&str, &PersistentVolume)> {
        let volumes = self.container.iter().flat_map(|one| &one.volumes);
        volumes.filter_map(|volume| {
            let persistent = volume.persistent.as_ref()?;
            Some((volume.container_path.as_str(), persistent))
        })
    }

    /// Whether instances keep their place and what they have there.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.persistent_volumes().next().is_some()
    }
}

/// Reads and forgets `residency`: it follows from the volumes.
pub(super) fn check_residency(object: &Object<'_>, faults: &mut Faults) {
    let Some(value) = object.get("residency") else {
        return;
    };
    let Some(residency) = Object::new(value, object.path("residency"), faults) else {
        return;
    };
    residency.count("relaunchEscalationTimeoutSeconds", faults);
    let behaviours = [("WAIT_FOREVER", ()), ("RELAUNCH_AFTER_TIMEOUT", ())];
    residency.choice("taskLostBehavior", &behaviours, faults);
}

/// An element of `volumes`; `later` are faults that are told together with those of the whole app.
pub(super) fn read(
    path: String,
    item: &Value,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<Volume> {
    let object = Object::new(item, path, faults)?;
    if object.get("secret").is_some() {
        later.push((object.path("secret"), feature("secrets")));
        return None;
    }
    let modes = [("RO", VolumeMode::Ro), ("RW", VolumeMode::Rw)];
    let mode = object.choice("mode", &modes, faults);
    object.require("containerPath", faults);
    if let Some(value) = object.get("persistent") {
        let persistent = Object::new(value, object.path("persistent"), faults)?;
        return Some(Volume {
            container_path: object.text("containerPath", faults)?,
            host_path: None,
            mode: mode.unwrap_or(VolumeMode::Rw),
            persistent: Some(persistent_volume(&persistent, later, faults)?),
            external: None,
        });
    }
    let external = match object.get("external") {
        Some(value) => {
            let object = Object::new(value, object.path("external"), faults)?;
            Some(external::read(&object, later, faults)?)
        }
        None => None,
    };
    if external.is_none() {
        object.require("hostPath", faults);
    }
    object.require("mode", faults);
    let mut text = |key: &str| {
        let text = object.text(key, faults)?;
        if text.is_empty() {
            later.push((object.path(key), "must not be empty".to_owned()));
        }
        Some(text)
    };
    Some(Volume {
        container_path: text("containerPath")?,
        host_path: match external {
            Some(_) => None,
            None => Some(text("hostPath")?),
        },
        mode: mode?,
        persistent: None,
        external,
    })
}

pub(super) fn persistent_volume(
    object: &Object<'_>,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<PersistentVolume> {
    let kinds = [
        ("root", DiskKind::Root),
        ("path", DiskKind::Path),
        ("mount", DiskKind::Mount),
    ];
    let kind = object.choice("type", &kinds, faults);
    object.require("size", faults);
    let profile_name = object.text("profileName", faults);
    let mut amount = |key: &str| {
        let amount = object.integer(key, i64::MIN, i64::MAX, faults)?;
        if amount <= 0 && key == "size" {
            let message = format!("got {amount}, expected more than 0");
            later.push((object.path(key), message));
        }
        Some(u64::try_from(amount).unwrap_or(0))
    };
    let (size, max_size) = (amount("size"), amount("maxSize"));
    let mut constraints = Vec::new();
    for (path, item) in object.array("constraints", faults).unwrap_or_default() {
        match constraint(&path, item, faults).map(of_path) {
            Some(Ok(constraint)) => constraints.push(constraint),
            Some(Err(message)) => later.push((path, message)),
            None => {}
        }
    }
    Some(PersistentVolume {
        // A profile is one of a whole disk.
        kind: kind.unwrap_or(match profile_name {
            Some(_) => DiskKind::Mount,
            None => DiskKind::Root,
        }),
        size: size?,
        max_size,
        profile_name,
        constraints,
    })
}

fn of_path(parts: Vec<String>) -> Result<Constraint, String> {
    let [field, operator, value] = match <[String; 3]>::try_from(parts) {
        Ok(three) => three,
        Err(parts) if parts.is_empty() => return Err("Missing field and operator".to_owned()),
        Err(parts) => return Err(format!("Unsupported constraint {}", parts.join(","))),
    };
    if field != "path" {
        return Err(format!("Unsupported constraint {field},{operator},{value}"));
    }
    match Operator::parse(&operator) {
        None => Err(format!("unknown constraint operator {operator}")),
        Some(operator @ (Operator::Like | Operator::Unlike)) => {
            if regex::Regex::new(&value).is_err() {
                return Err("Invalid regular expression".to_owned());
            }
            Ok(Constraint {
                field,
                operator,
                value: Some(value),
            })
        }
        Some(_) => Err("Operator must be one of LIKE, UNLIKE".to_owned()),
    }
}

/// Checks those of an app; and, if it has persistent ones, what else must be so.
pub(super) fn validate(app: &App, faults: &mut Faults) {
    let volumes = app.container.iter().flat_map(|one| &one.volumes);
    for (at, volume) in volumes.enumerate() {
        let path = format!("/container/volumes({at})");
        if let Some(persistent) = &volume.persistent {
            name(
                &volume.container_path,
                &format!("{path}/containerPath"),
                faults,
            );
            if volume.mode == VolumeMode::Ro {
                faults.add(format!("{path}/mode"), "got RO, expected RW");
            }
            validate_persistent(persistent, &format!("{path}/persistent"), faults);
        }
    }
    if app.is_resident() {
        resident(app, faults);
    }
}

/// Where a persistent volume is mounted: a name in the sandbox.
pub(super) fn name(name: &str, path: &str, faults: &mut Faults) {
    if name.is_empty() {
        faults.add(path, "must not be empty");
    }
    if name == "." || name == ".." {
        faults.add(path, "can not be one of (.,..)");
    }
    if name.contains('/') {
        faults.add(path, "value must not contain \"/\"");
    }
}

pub(super) fn validate_persistent(volume: &PersistentVolume, path: &str, faults: &mut Faults) {
    if volume.kind != DiskKind::Mount && volume.max_size.is_some() {
        faults.add(path, "Only mount volumes can have maxSize");
    }
    if volume.max_size.is_some_and(|max| max <= volume.size) {
        faults.add(path, "Max size must be larger than size");
    }
    if volume.kind == DiskKind::Root && !volume.constraints.is_empty() {
        faults.add(path, "Constraints on root volumes are not supported");
    }
    if volume.profile_name.as_deref() == Some("") {
        faults.add(format!("{path}/profileName"), "must not be empty");
    }
}

fn resident(app: &App, faults: &mut Faults) {
    if app.role == "*" {
        faults.add("/role", "Resident apps cannot have the role *");
    }
    let unreserved =
        |roles: &std::collections::BTreeSet<String>| roles.len() == 1 && roles.contains("*");
    if app
        .accepted_resource_roles
        .as_ref()
        .is_some_and(|roles| !unreserved(roles))
    {
        let message = "A resident app must have `acceptedResourceRoles = [\"*\"]`.";
        faults.add("/acceptedResourceRoles", message);
    }
    let over = app.upgrade_strategy.maximum_over_capacity;
    if over != 0.0 {
        let message = format!("got {over:?}, expected 0.0");
        faults.add("/upgradeStrategy/maximumOverCapacity", message);
    }
    if app.unreachable_strategy != super::UnreachableStrategy::Disabled {
        let message = "unreachableStrategy must be disabled for resident tasks";
        faults.add("/unreachableStrategy", message);
    }
}

fn validate_pod_change(old: &App, new: &App, faults: &mut Faults) {
    if !old.persistent_volumes().eq(new.persistent_volumes()) {
        faults.add("/", "persistent volumes cannot be updated");
    }
    let demands = |app: &App| -> Vec<super::PortDemand> {
        app.ports().iter().map(|port| port.demand).collect()
    };
    for (what, changed) in [
        ("cpus", old.cpus != new.cpus),
        ("mem", old.mem != new.mem),
        ("disk", old.disk != new.disk),
        ("gpus", old.gpus != new.gpus),
        ("host ports", demands(old) != demands(new)),
    ] {
        if changed {
            let message = format!("{what} cannot be updated if a pod has persistent volumes");
            faults.add("/", message);
        }
    }
}

/// Checks what may not change of an app with persistent volumes, before or after: what is reserved stays as it is.
pub(crate) fn validate_change(old: &App, new: &App, force: bool, faults: &mut Faults) {
    if !old.is_resident() && !new.is_resident() {
        return;
    }
    if new.pod.is_some() {
        validate_pod_change(old, new, faults);
        return;
    }
    if !old.persistent_volumes().eq(new.persistent_volumes()) {
        faults.add("/", "Persistent volumes can not be changed!");
    }
    let again = "If you need to make this change, please create a new service.";
    for (key, changed) in [
        ("cpus", old.cpus != new.cpus),
        ("mem", old.mem != new.mem),
        ("disk", old.disk != new.disk),
        ("gpus", old.gpus != new.gpus),
        ("requirePorts", old.require_ports != new.require_ports),
        ("executor", !old.demands_alike(new)),
    ] {
        if changed {
            let message = format!(
                "Services with persistent volumes configured may not change resource requirements. {again}"
            );
            faults.add(format!("/{key}"), message);
        }
    }
    let demands = |app: &App| -> Vec<super::PortDemand> {
        app.ports().iter().map(|port| port.demand).collect()
    };
    if demands(old) != demands(new) {
        let message = format!(
            "Services with persistent volumes configured may not change host ports. {again}"
        );
        faults.add("/", message);
    }
    if old.role != new.role && !force {
        let message = format!(
            "It is not possible to change the role for existing reservations. If you proceed with this change, all existing instances \
             will continue to run under the previous role, {}. Only new instances will be allocated with the new role, {}. In order to \
             continue, retry your request with ?force=true",
            old.role, new.role
        );
        faults.add("/role", message);
    }
}
