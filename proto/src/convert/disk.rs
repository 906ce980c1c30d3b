//! Disk resources: persistence, the volume in the container, the source.

use tepui_model::TaskId;
use tepui_model::resources::{DiskInfo, DiskSource, DiskSourceKind, DiskVolume, Persistence};

use super::ResourceProblem;
use crate::mesos;
use crate::mesos::resource::disk_info::{Persistence as WirePersistence, Source, source};
use crate::mesos::volume::Mode;

/// Reads the disk part of a resource.
///
/// # Errors
///
/// When the parts do not go together, or the volume's id breaks the id rules.
pub fn from_wire(disk: &mesos::resource::DiskInfo) -> Result<DiskInfo, ResourceProblem> {
    let persistence = disk.persistence.as_ref().map(persistence).transpose()?;
    match (&persistence, &disk.volume) {
        (Some(_), None) => return Err(ResourceProblem::NoVolume),
        (None, Some(_)) => return Err(ResourceProblem::NotPersistent),
        (_, Some(volume)) if volume.host_path.is_some() => return Err(ResourceProblem::HostPath),
        _ => {}
    }
    Ok(DiskInfo {
        persistence,
        volume: disk.volume.as_ref().map(|volume| DiskVolume {
            container_path: volume.container_path.as_str().into(),
            read_only: volume.mode() == Mode::Ro,
        }),
        source: disk.source.as_ref().map(source_from_wire).transpose()?,
    })
}

fn persistence(persistence: &WirePersistence) -> Result<Persistence, ResourceProblem> {
    // Persistence ids follow the rules of all ids.
    TaskId::new(&persistence.id)?;
    Ok(Persistence {
        id: persistence.id.as_str().into(),
        principal: persistence.principal.as_deref().map(Into::into),
    })
}

fn source_from_wire(from: &Source) -> Result<DiskSource, ResourceProblem> {
    let (kind, root) = match from.r#type() {
        source::Type::Path => (
            DiskSourceKind::Path,
            from.path.as_ref().and_then(|path| path.root.as_deref()),
        ),
        source::Type::Mount => (
            DiskSourceKind::Mount,
            from.mount.as_ref().and_then(|mount| mount.root.as_deref()),
        ),
        source::Type::Block => (DiskSourceKind::Block, None),
        source::Type::Raw => (DiskSourceKind::Raw, None),
        source::Type::Unknown => return Err(ResourceProblem::DiskSourceType),
    };
    Ok(DiskSource {
        kind,
        root: root.map(Into::into),
        vendor: from.vendor.as_deref().map(Into::into),
        id: from.id.as_deref().map(Into::into),
        metadata: from.metadata.as_ref().map(Into::into),
        profile: from.profile.as_deref().map(Into::into),
    })
}

/// Writes the disk part of a resource.
pub fn to_wire(disk: &DiskInfo) -> mesos::resource::DiskInfo {
    mesos::resource::DiskInfo {
        persistence: disk
            .persistence
            .as_ref()
            .map(|persistence| WirePersistence {
                id: persistence.id.to_string(),
                principal: persistence.principal.as_deref().map(str::to_owned),
            }),
        volume: disk.volume.as_ref().map(|volume| mesos::Volume {
            container_path: volume.container_path.to_string(),
            mode: if volume.read_only { Mode::Ro } else { Mode::Rw }.into(),
            ..Default::default()
        }),
        source: disk.source.as_ref().map(source_to_wire),
    }
}

fn source_to_wire(from: &DiskSource) -> Source {
    let root = from.root.as_deref().map(str::to_owned);
    let mut to = Source {
        vendor: from.vendor.as_deref().map(str::to_owned),
        id: from.id.as_deref().map(str::to_owned),
        metadata: from.metadata.as_ref().map(Into::into),
        profile: from.profile.as_deref().map(str::to_owned),
        ..Default::default()
    };
    let kind = match from.kind {
        DiskSourceKind::Path => {
            to.path = Some(source::Path { root });
            source::Type::Path
        }
        DiskSourceKind::Mount => {
            to.mount = Some(source::Mount { root });
            source::Type::Mount
        }
        DiskSourceKind::Block => source::Type::Block,
        DiskSourceKind::Raw => source::Type::Raw,
    };
    to.set_type(kind);
    to
}
