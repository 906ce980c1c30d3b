//! What a container wants of a volume, read from Mesos' `Volume.Source.CSIVolume`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tepui_grpc::csi;
use tepui_grpc::csi::volume_capability as capability;
use tepui_proto::mesos::v1::volume::source::CsiVolume;
use tepui_proto::mesos::v1::volume::source::csi_volume::volume_capability::AccessType;
use tepui_proto::mesos::v1::volume::source::csi_volume::volume_capability::access_mode::Mode;

use super::super::ledger;

/// A volume; a plugin has one of this id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) plugin: String,
    pub(crate) id: String,
}

impl ledger::Key for Key {}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, plugin) = (self.id.escape_debug(), self.plugin.escape_debug());
        write!(formatter, "the volume '{id}' of the CSI plugin '{plugin}'")
    }
}

/// As what it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Access {
    Block,
    Mount { fs_type: String, flags: Vec<String> },
}

/// From where it may be used, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Nodes {
    SingleNodeWriter,
    SingleNodeReaderOnly,
    MultiNodeReaderOnly,
    MultiNodeSingleWriter,
    MultiNodeMultiWriter,
}

/// A volume that a container wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    access: Access,
    nodes: Nodes,
    /// What the plugin is told about it.
    pub(super) context: BTreeMap<String, String>,
    pub(super) read_only: bool,
}

impl Wanted {
    /// Reads it. Says, by name, what is missing, contradictory or not built.
    pub(crate) fn read(volume: &CsiVolume, read_only: bool) -> Result<Self, String> {
        let from = volume.static_provisioning.as_ref().ok_or(
            "'source.csi_volume.static_provisioning' is not set for CSI volume: volumes are not made here",
        )?;
        let key = Key {
            plugin: volume.plugin_name.clone(),
            id: from.volume_id.clone(),
        };
        for (what, text) in [("plugin_name", &key.plugin), ("volume_id", &key.id)] {
            if text.is_empty() {
                return Err(format!("a CSI volume's '{what}' is empty"));
            }
        }
        for (what, secrets) in [
            ("node_stage_secrets", &from.node_stage_secrets),
            ("node_publish_secrets", &from.node_publish_secrets),
        ] {
            if !secrets.is_empty() {
                return Err(format!("{key} has '{what}': secrets are not built"));
            }
        }
        let capability = &from.volume_capability;
        let access = match &capability.access_type {
            Some(AccessType::Block(_)) => Access::Block,
            Some(AccessType::Mount(mount)) => Access::Mount {
                fs_type: mount.fs_type().to_owned(),
                flags: mount.mount_flags.clone(),
            },
            None => {
                return Err(format!(
                    "{key} has neither 'block' nor 'mount' in its capability"
                ));
            }
        };
        let nodes = match capability.access_mode.mode() {
            Mode::SingleNodeWriter => Nodes::SingleNodeWriter,
            Mode::SingleNodeReaderOnly => Nodes::SingleNodeReaderOnly,
            Mode::MultiNodeReaderOnly => Nodes::MultiNodeReaderOnly,
            Mode::MultiNodeSingleWriter => Nodes::MultiNodeSingleWriter,
            Mode::MultiNodeMultiWriter => Nodes::MultiNodeMultiWriter,
            Mode::Unknown => {
                return Err(format!(
                    "{key} has the access mode UNKNOWN in its capability"
                ));
            }
        };
        let for_readers = matches!(
            nodes,
            Nodes::SingleNodeReaderOnly | Nodes::MultiNodeReaderOnly
        );
        if for_readers && !read_only {
            let id = key.id.escape_debug();
            return Err(format!(
                "Cannot use the read-only volume '{id}' in read-write mode"
            ));
        }
        Ok(Self {
            key,
            access,
            nodes,
            context: from.volume_context.clone(),
            read_only,
        })
    }

    /// Whether who wants `other` can have the volume as it is here for this one: all is the same, and what is to be written to can be.
    pub(super) fn serves(&self, other: &Self) -> bool {
        let same = (&self.access, self.nodes, &self.context);
        same == (&other.access, other.nodes, &other.context) && (!self.read_only || other.read_only)
    }

    /// Whether it is a device, without a file system.
    pub(super) fn is_block(&self) -> bool {
        self.access == Access::Block
    }

    /// In the plugin's words.
    pub(super) fn capability(&self) -> csi::VolumeCapability {
        use capability::access_mode::Mode as Of;
        let access_type = match &self.access {
            Access::Block => capability::AccessType::Block(capability::BlockVolume {}),
            Access::Mount { fs_type, flags } => {
                capability::AccessType::Mount(capability::MountVolume {
                    fs_type: fs_type.clone(),
                    mount_flags: flags.clone(),
                })
            }
        };
        let mode = match self.nodes {
            Nodes::SingleNodeWriter => Of::SingleNodeWriter,
            Nodes::SingleNodeReaderOnly => Of::SingleNodeReaderOnly,
            Nodes::MultiNodeReaderOnly => Of::MultiNodeReaderOnly,
            Nodes::MultiNodeSingleWriter => Of::MultiNodeSingleWriter,
            Nodes::MultiNodeMultiWriter => Of::MultiNodeMultiWriter,
        };
        csi::VolumeCapability {
            access_mode: Some(capability::AccessMode { mode: mode.into() }),
            access_type: Some(access_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, read_only: bool) -> Result<Wanted, String> {
        let volume = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
        Wanted::read(&volume, read_only)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"plugin_name":"p","static_provisioning":{{"volume_id":"v",{members}}}}}"#)
    }

    const MOUNT: &str = r#""volume_capability":{"mount":{"fs_type":"xfs","mount_flags":["noatime"]},
        "access_mode":{"mode":"MULTI_NODE_SINGLE_WRITER"}}"#;

    #[test]
    fn volumes_are_read_and_told_to_plugins() {
        let context = r#","volume_context":{"pool":"fast"}"#;
        let wanted = read(&with(&format!("{MOUNT}{context}")), false).unwrap();
        assert_eq!(
            wanted.key.to_string(),
            "the volume 'v' of the CSI plugin 'p'"
        );
        assert_eq!(wanted.context["pool"], "fast");
        let told = wanted.capability();
        assert_eq!(told.access_mode.unwrap().mode, 4);
        let Some(capability::AccessType::Mount(mount)) = told.access_type else {
            panic!("it is mounted")
        };
        assert_eq!(
            (mount.fs_type.as_str(), mount.mount_flags),
            ("xfs", vec!["noatime".to_owned()])
        );
        let block =
            r#""volume_capability":{"block":{},"access_mode":{"mode":"SINGLE_NODE_READER_ONLY"}}"#;
        let wanted = read(&with(block), true).unwrap();
        let told = wanted.capability();
        assert_eq!(told.access_mode.unwrap().mode, 2);
        assert!(matches!(
            told.access_type,
            Some(capability::AccessType::Block(_))
        ));
    }

    #[test]
    fn a_volume_serves_those_who_want_no_more_of_it() {
        let one = |read_only| read(&with(MOUNT), read_only).unwrap();
        assert!(one(false).serves(&one(false)) && one(false).serves(&one(true)));
        assert!(one(true).serves(&one(true)) && !one(true).serves(&one(false)));
        let other = read(&with(&MOUNT.replace("xfs", "ext4")), false).unwrap();
        assert!(!one(false).serves(&other));
    }

    #[test]
    fn what_is_not_built_or_makes_no_sense_is_named() {
        let secret = r#":{"user":{"type":"REFERENCE","reference":{"name":"s"}}}"#;
        let mode = |mode: &str| {
            with(&format!(
                r#""volume_capability":{{"block":{{}},"access_mode":{{"mode":"{mode}"}}}}"#
            ))
        };
        for (json, why) in [
            (
                r#"{"plugin_name":"p"}"#.to_owned(),
                "'source.csi_volume.static_provisioning' is not set for CSI volume",
            ),
            (
                with(MOUNT).replace(r#""v""#, r#""""#),
                "a CSI volume's 'volume_id' is empty",
            ),
            (
                with(MOUNT).replace(r#""p""#, r#""""#),
                "a CSI volume's 'plugin_name' is empty",
            ),
            (
                with(&format!(r#"{MOUNT},"node_stage_secrets"{secret}"#)),
                "the volume 'v' of the CSI plugin 'p' has 'node_stage_secrets': secrets are not built",
            ),
            (
                with(&format!(r#"{MOUNT},"node_publish_secrets"{secret}"#)),
                "has 'node_publish_secrets': secrets are not built",
            ),
            (
                with(r#""volume_capability":{"access_mode":{"mode":"SINGLE_NODE_WRITER"}}"#),
                "has neither 'block' nor 'mount'",
            ),
            (mode("UNKNOWN"), "has the access mode UNKNOWN"),
            (
                mode("MULTI_NODE_READER_ONLY"),
                "Cannot use the read-only volume 'v' in read-write mode",
            ),
        ] {
            let refused = read(&json, false).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }
}
