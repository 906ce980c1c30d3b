//! Volumes of plugins of the Container Storage Interface, as definitions have them: how they are read, and Marathon's rules over them.
//!
//! Marathon judges by the access mode who may have such a volume: one task at a time, one that writes, or any.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tepui_proto::mesos::volume::source;

use super::{App, Object, Volume, VolumeMode, reader::Faults, update::feature};

/// The provider's name.
pub(super) const CSI: &str = "csi";

/// A volume of a CSI plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsiVolume {
    /// The plugin's id of it.
    pub name: String,
    /// `csi`.
    pub provider: String,
    /// Whose it is, and how it is used.
    pub options: CsiOptions,
}

/// See [`CsiVolume::options`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CsiOptions {
    /// By which agents know the plugin.
    pub plugin_name: String,
    /// How it is used.
    pub capability: CsiCapability,
    /// What the plugin is told about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volume_context: BTreeMap<String, String>,
}

/// How a volume of a CSI plugin is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CsiCapability {
    /// By how many, and for what.
    pub access_mode: CsiAccessMode,
    /// As what.
    pub access_type: CsiAccessType,
    /// Of one that is mounted; empty: the plugin chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
    /// Of one that is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_flags: Vec<String>,
}

/// By how many agents a volume is used at a time, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CsiAccessMode {
    /// One, which may write.
    SingleNodeWriter,
    /// One, which reads.
    SingleNodeReaderOnly,
    /// Several, which read.
    MultiNodeReaderOnly,
    /// Several, of which one may write.
    MultiNodeSingleWriter,
    /// Several, which may write.
    MultiNodeMultiWriter,
}

/// As what a volume is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CsiAccessType {
    /// As a device.
    Block,
    /// With a file system.
    Mount,
}

impl CsiAccessMode {
    fn is_shareable(self) -> bool {
        !matches!(self, Self::SingleNodeWriter | Self::SingleNodeReaderOnly)
    }

    fn only_reads(self) -> bool {
        matches!(self, Self::SingleNodeReaderOnly | Self::MultiNodeReaderOnly)
    }
}

impl CsiVolume {
    /// The value of `external`, whose provider is known.
    pub(super) fn read(
        object: &Object<'_>,
        later: &mut Vec<(String, String)>,
        faults: &mut Faults,
    ) -> Option<Self> {
        object.require("name", faults);
        object.require("options", faults);
        let name = object.text("name", faults);
        let options = Object::new(object.get("options")?, object.path("options"), faults)?;
        options.require("pluginName", faults);
        options.require("capability", faults);
        let plugin_name = options.text("pluginName", faults);
        if plugin_name.as_ref().is_some_and(String::is_empty) {
            faults.add(options.path("pluginName"), "error.minLength");
        }
        for key in ["nodeStageSecret", "nodePublishSecret"] {
            if options
                .text_map(key, faults)
                .is_some_and(|all| !all.is_empty())
            {
                later.push((options.path(key), feature("secrets")));
            }
        }
        let volume_context = options.text_map("volumeContext", faults);
        let capability = options.get("capability")?;
        let capability = Object::new(capability, options.path("capability"), faults)?;
        Some(Self {
            name: name?,
            provider: CSI.to_owned(),
            options: CsiOptions {
                plugin_name: plugin_name?,
                capability: CsiCapability::read(&capability, faults)?,
                volume_context: volume_context.unwrap_or_default(),
            },
        })
    }

    fn mode(&self) -> CsiAccessMode {
        self.options.capability.access_mode
    }

    /// Whether only one task may have it at a time, or write to it.
    pub(super) fn is_exclusive(&self, mode: VolumeMode) -> bool {
        !self.mode().is_shareable() || self.is_the_writers(mode)
    }

    /// Whether it is the one that writes among several that read.
    fn is_the_writers(&self, mode: VolumeMode) -> bool {
        self.mode() == CsiAccessMode::MultiNodeSingleWriter && mode == VolumeMode::Rw
    }

    /// Whether it goes beside the one that writes.
    pub(super) fn reads_beside_a_writer(&self, mode: VolumeMode) -> bool {
        self.mode() == CsiAccessMode::MultiNodeSingleWriter && mode == VolumeMode::Ro
    }

    /// As an agent is told.
    pub(crate) fn source(&self) -> source::CsiVolume {
        use source::csi_volume::{StaticProvisioning, VolumeCapability, volume_capability as of};
        let capability = &self.options.capability;
        let mode = match capability.access_mode {
            CsiAccessMode::SingleNodeWriter => of::access_mode::Mode::SingleNodeWriter,
            CsiAccessMode::SingleNodeReaderOnly => of::access_mode::Mode::SingleNodeReaderOnly,
            CsiAccessMode::MultiNodeReaderOnly => of::access_mode::Mode::MultiNodeReaderOnly,
            CsiAccessMode::MultiNodeSingleWriter => of::access_mode::Mode::MultiNodeSingleWriter,
            CsiAccessMode::MultiNodeMultiWriter => of::access_mode::Mode::MultiNodeMultiWriter,
        };
        let access_type = match capability.access_type {
            CsiAccessType::Block => of::AccessType::Block(of::BlockVolume {}),
            CsiAccessType::Mount => of::AccessType::Mount(of::MountVolume {
                fs_type: capability.fs_type.clone(),
                mount_flags: capability.mount_flags.clone(),
            }),
        };
        source::CsiVolume {
            plugin_name: self.options.plugin_name.clone(),
            static_provisioning: Some(StaticProvisioning {
                volume_id: self.name.clone(),
                volume_capability: VolumeCapability {
                    access_mode: of::AccessMode { mode: mode.into() },
                    access_type: Some(access_type),
                },
                volume_context: self.options.volume_context.clone(),
                ..StaticProvisioning::default()
            }),
        }
    }
}

impl CsiCapability {
    fn read(object: &Object<'_>, faults: &mut Faults) -> Option<Self> {
        let modes = [
            ("SINGLE_NODE_WRITER", CsiAccessMode::SingleNodeWriter),
            (
                "SINGLE_NODE_READER_ONLY",
                CsiAccessMode::SingleNodeReaderOnly,
            ),
            ("MULTI_NODE_READER_ONLY", CsiAccessMode::MultiNodeReaderOnly),
            (
                "MULTI_NODE_SINGLE_WRITER",
                CsiAccessMode::MultiNodeSingleWriter,
            ),
            (
                "MULTI_NODE_MULTI_WRITER",
                CsiAccessMode::MultiNodeMultiWriter,
            ),
        ];
        let types = [
            ("block", CsiAccessType::Block),
            ("mount", CsiAccessType::Mount),
        ];
        object.require("accessMode", faults);
        object.require("accessType", faults);
        let access_mode = object.choice("accessMode", &modes, faults);
        let access_type = object.choice("accessType", &types, faults);
        let fs_type = object.text("fsType", faults);
        let mount_flags = object.texts("mountFlags", faults);
        let access_type = access_type?;
        let mounted = access_type == CsiAccessType::Mount;
        Some(Self {
            access_mode: access_mode?,
            access_type,
            // A device has neither.
            fs_type: mounted.then(|| fs_type.unwrap_or_default()),
            mount_flags: mount_flags.filter(|_| mounted).unwrap_or_default(),
        })
    }
}

/// Checks one volume, which stands at `path`.
pub(super) fn one(volume: &Volume, csi: &CsiVolume, path: &str, faults: &mut Faults) {
    if csi.name.is_empty() {
        faults.add(format!("{path}/external/name"), "must not be empty");
    }
    if csi.mode().only_reads() && volume.mode == VolumeMode::Rw {
        let message = "CSI volume must be mounted readonly with a read-only access mode";
        faults.add(format!("{path}/volume"), message);
    }
}

/// Whether an app has no more instances than its volumes of CSI plugins allow.
pub(super) fn instances(app: &App) -> Result<(), String> {
    let volumes = || {
        let all = app.external_volumes();
        all.filter_map(|(mode, external)| Some((mode, external.csi()?)))
    };
    if app.instances <= 1 || volumes().next().is_none() {
        return Ok(());
    }
    let why = if volumes().any(|(_, csi)| !csi.mode().is_shareable()) {
        "while non-shareable CSI volumes are defined"
    } else if volumes().all(|(mode, csi)| csi.is_the_writers(mode)) {
        // As Marathon has it: one other volume, and it looks no further.
        "while a multi-node single-writer volume is defined mounted as read/write"
    } else {
        return Ok(());
    };
    Err(format!("got {}, expected 1 or less {why}", app.instances))
}

#[cfg(test)]
#[path = "csi_tests.rs"]
mod tests;
