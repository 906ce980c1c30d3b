//! Volumes that outlive everything here: kept by a storage provider outside of the cluster, and mounted by its driver wherever the task runs.
//!
//! The providers are `dvdi`, the interface of docker volume drivers, and `csi`, plugins of the Container Storage Interface (`csi.rs`); their rules
//! are Marathon's. A volume that is not `shared`, or whose access mode is for one, is mounted for one task at a time, so that its app has one
//! instance, which is stopped before its successor is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    App, ContainerKind, CsiVolume, Object, VolumeMode,
    csi::{self, CSI},
    reader::Faults,
    update::feature,
};

/// The interface of docker volume drivers.
const DVDI: &str = "dvdi";
/// The option that says which driver.
const DRIVER: &str = "dvdi/driver";
/// Before the name of an option for the driver.
const PREFIX: &str = "dvdi/";
/// The driver of which some options are known.
const REXRAY: &str = "rexray";
/// What `LABEL` and `OPTION` demand is said in these words.
const LABEL: &str = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$";
const OPTION: &str =
    r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$";

/// A volume of a storage provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExternalVolume {
    /// Of a CSI plugin. What names none is no such volume.
    Csi(CsiVolume),
    /// Of a docker volume driver.
    Driver(DriverVolume),
}

/// A volume of a docker volume driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverVolume {
    /// In GiB, for drivers that make volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// By which the provider knows it.
    pub name: String,
    /// Who keeps it: `dvdi`.
    pub provider: String,
    /// `dvdi/driver`, and what the driver is told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Others may have it too.
    #[serde(default)]
    pub shared: bool,
}

impl ExternalVolume {
    /// By which the provider knows it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Csi(volume) => &volume.name,
            Self::Driver(volume) => &volume.name,
        }
    }

    /// That of a CSI plugin.
    pub(super) fn csi(&self) -> Option<&CsiVolume> {
        match self {
            Self::Csi(volume) => Some(volume),
            Self::Driver(_) => None,
        }
    }

    fn is_exclusive(&self, mode: VolumeMode) -> bool {
        match self {
            Self::Csi(volume) => volume.is_exclusive(mode),
            Self::Driver(volume) => !volume.shared,
        }
    }

    /// Whether it is the same provider's volume.
    fn is_the_same(&self, other: &Self) -> bool {
        self.csi().is_some() == other.csi().is_some() && self.name() == other.name()
    }
}

impl DriverVolume {
    /// The docker volume driver that mounts it.
    pub(crate) fn driver(&self) -> &str {
        self.options.get(DRIVER).map_or("", String::as_str)
    }

    /// What the driver is told: names without `dvdi/`. The size is one of them.
    pub(crate) fn driver_options(&self) -> BTreeMap<String, String> {
        let own = self.options.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(PREFIX)?;
            let is_driver = key.eq_ignore_ascii_case(DRIVER);
            (!is_driver).then(|| (name.to_owned(), value.trim().to_owned()))
        });
        let mut options: BTreeMap<String, String> = own.collect();
        if let Some(size) = self.size {
            options.insert("size".to_owned(), size.to_string());
        }
        options
    }
}

impl App {
    /// The volumes of storage providers, and whether they may be written to.
    pub(crate) fn external_volumes(&self) -> impl Iterator<Item = (VolumeMode, &ExternalVolume)> {
        let volumes = self.container.iter().flat_map(|one| &one.volumes);
        volumes.filter_map(|volume| Some((volume.mode, volume.external.as_ref()?)))
    }

    fn driver_volumes(&self) -> impl Iterator<Item = &DriverVolume> {
        self.external_volumes().filter_map(|(_, one)| match one {
            ExternalVolume::Driver(volume) => Some(volume),
            ExternalVolume::Csi(_) => None,
        })
    }

    /// Whether it has a volume that only one task may have at a time.
    pub(crate) fn has_unshared_volumes(&self) -> bool {
        self.external_volumes()
            .any(|(mode, volume)| volume.is_exclusive(mode))
    }

    /// Whether an instance must have stopped before another can take over what it has.
    #[must_use]
    pub fn is_replaced_in_place(&self) -> bool {
        self.is_resident() || self.has_unshared_volumes()
    }
}

/// The value of `external`.
pub(super) fn read(
    object: &Object<'_>,
    later: &mut Vec<(String, String)>,
    faults: &mut Faults,
) -> Option<ExternalVolume> {
    let provider = object.text("provider", faults).unwrap_or_default();
    if provider == CSI {
        return CsiVolume::read(object, later, faults).map(ExternalVolume::Csi);
    }
    let size = object.integer("size", 0, i64::MAX, faults);
    Some(ExternalVolume::Driver(DriverVolume {
        size: size.and_then(|size| u64::try_from(size).ok()),
        name: object.text("name", faults).unwrap_or_default(),
        provider,
        options: object.text_map("options", faults).unwrap_or_default(),
        shared: object.flag("shared", faults).unwrap_or(false),
    }))
}

fn label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

fn option_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && text.bytes().all(inner)
}

/// Checks one volume, which stands at `path`.
fn one(volume: &super::Volume, kind: ContainerKind, path: &str, faults: &mut Faults) {
    let external = match &volume.external {
        Some(ExternalVolume::Driver(external)) => external,
        Some(ExternalVolume::Csi(external)) => return csi::one(volume, external, path, faults),
        None => return,
    };
    let at = |key: &str| format!("{path}/external/{key}");
    let no_label = format!("must match regular expression '{LABEL}'");
    if external.name.is_empty() {
        faults.add(at("name"), "must not be empty");
    }
    for (number, key) in external.options.keys().enumerate() {
        let named = key.split_once('/');
        if !named.is_some_and(|(space, name)| label(space) && option_name(name)) {
            let message = format!("must match regular expression '{OPTION}'");
            faults.add(at(&format!("options/keys({number})")), message);
        }
    }
    match external.provider.as_str() {
        DVDI => {}
        "" => return faults.add(at("provider"), "not defined"),
        other => {
            if !label(other) {
                faults.add(at("provider"), no_label);
            }
            return faults.add(at("provider"), "is unknown provider");
        }
    }
    let driver = at("options(\"dvdi/driver\")");
    match external.options.get(DRIVER) {
        None => faults.add(driver, "not defined"),
        Some(name) if !label(name) => faults.add(driver, no_label.clone()),
        Some(_) => {}
    }
    if external.driver() == REXRAY {
        let mut option = |key: &str, message: &dyn Fn(&str) -> Option<String>| {
            if let Some(message) = external.options.get(key).and_then(|value| message(value)) {
                faults.add(at(&format!("options/\"{key}\"")), message);
            }
        };
        for key in ["dvdi/volumetype", "dvdi/newfstype"] {
            option(key, &|value| (!label(value)).then(|| no_label.clone()));
        }
        option("dvdi/iops", &|value| {
            let positive = value.parse::<i64>().is_ok_and(|number| number > 0);
            let message = || format!("Expected a valid, positive integer instead of {value}");
            (!positive).then(message)
        });
        // As Marathon has it: also 'false' is not what it expects.
        option("dvdi/overwritefs", &|value| {
            let expected = value.eq_ignore_ascii_case("true");
            (!expected).then(|| "Expected a valid boolean".to_owned())
        });
    }
    if matches!(volume.container_path.as_str(), "." | "..") {
        faults.add(format!("{path}/containerPath"), "can not be one of (.,..)");
    }
    match kind {
        ContainerKind::Mesos => {
            if volume.mode == VolumeMode::Ro {
                faults.add(format!("{path}/mode"), "got RO, expected RW");
            }
            if external.size == Some(0) {
                faults.add(at("size"), "got 0, expected more than 0");
            }
        }
        ContainerKind::Docker => {
            if external.options.keys().any(|key| key != DRIVER) {
                faults.add(at("options"), "must only contain dvdi/driver");
            }
            if external.size.is_some() {
                faults.add(at("size"), "must be undefined for Docker containers");
            }
        }
    }
}

/// Checks those of an app, and what else must be so if it has some.
pub(super) fn validate(app: &App, enabled: bool, faults: &mut Faults) {
    let Some(container) = &app.container else {
        return;
    };
    if app.external_volumes().next().is_none() {
        return;
    }
    for (at, volume) in container.volumes.iter().enumerate() {
        let path = format!("/container/volumes({at})");
        if volume.external.is_some() && !enabled {
            faults.add(format!("{path}/external"), feature("external_volumes"));
        }
        if enabled {
            one(volume, container.kind, &path, faults);
        }
    }
    if !enabled {
        return;
    }
    let mut names = BTreeSet::new();
    let mut all = app.external_volumes().map(|(_, volume)| volume.name());
    if !all.all(|name| name.is_empty() || names.insert(name)) {
        faults.add("/container/volumes", "Volume names must be unique");
    }
    let mut names = BTreeSet::new();
    for volume in app.driver_volumes().filter(|volume| !volume.shared) {
        if !volume.name.is_empty() && !names.insert(&volume.name) {
            let message = format!(
                "Requested DVDI volume '{}' is declared more than once within app {}",
                volume.name, app.id
            );
            faults.add("/", message);
        }
    }
    if let Err((path, message)) = instances(app) {
        faults.add(path, message);
    }
    let over = app.upgrade_strategy.maximum_over_capacity;
    if over != 0.0 && app.driver_volumes().next().is_some() {
        let message = format!("got {over:?}, expected 0.0");
        faults.add("/upgradeStrategy/maximumOverCapacity", message);
    }
}

/// Whether an app has no more instances than its external volumes allow; where the fault stands, and what it is.
pub(crate) fn instances(app: &App) -> Result<(), (&'static str, String)> {
    if app.instances > 1 && app.driver_volumes().any(|volume| !volume.shared) {
        let id = &app.id;
        let message = format!(
            "Number of instances is limited to 1 when declaring DVDI volumes in app [{id}]"
        );
        return Err(("/", message));
    }
    csi::instances(app).map_err(|message| ("/instances", message))
}

/// What conflicts there would be among `all` apps over the external volumes of `app`: for each of its volumes that another app has for itself,
/// unless this one only reads what that one writes, the message.
pub(crate) fn conflicts(app: &App, all: &[&Arc<App>]) -> Vec<String> {
    let conflict = |(mode, volume): (VolumeMode, &ExternalVolume)| {
        if volume
            .csi()
            .is_some_and(|csi| csi.reads_beside_a_writer(mode))
        {
            return None;
        }
        let has = |other: &&&Arc<App>| {
            let mut theirs = other.external_volumes();
            other.id != app.id
                && theirs.any(|(mode, their)| their.is_the_same(volume) && their.is_exclusive(mode))
        };
        let others: Vec<&str> = all.iter().filter(has).map(|one| one.id.as_str()).collect();
        (!others.is_empty()).then(|| {
            format!(
                "Volume name '{}' in {} conflicts with volume(s) of same name in app(s): {}",
                volume.name(),
                app.id,
                others.join(", ")
            )
        })
    };
    app.external_volumes().filter_map(conflict).collect()
}

#[cfg(test)]
#[path = "external_tests.rs"]
mod tests;
