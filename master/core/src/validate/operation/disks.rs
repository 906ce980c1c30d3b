//! CREATE_DISK and DESTROY_DISK: for storage providers, of which there are none yet. What is wrong with a call is said first.

use tepui_model::Resource;
use tepui_model::resources::{DiskSource, DiskSourceKind};
use tepui_proto::mesos::offer::operation::{CreateDisk, DestroyDisk};
use tepui_proto::mesos::resource::disk_info::source::Type as SourceType;

use super::{Conversion, Scene};

fn provided(source: &Resource) -> Result<&DiskSource, String> {
    if source.kind().provider().is_none() {
        return Err(format!("{source} is not of a resource provider"));
    }
    source
        .kind()
        .disk()
        .and_then(|disk| disk.source.as_ref())
        .ok_or_else(|| format!("{source} has no disk source"))
}

fn no_provider<T>(source: &Resource) -> Result<T, String> {
    let provider = source
        .kind()
        .provider()
        .map_or("", |provider| provider.as_str());
    Err(format!(
        "The agent has no resource provider '{provider}' for storage"
    ))
}

pub(super) fn create(asked: &CreateDisk, scene: &Scene<'_>) -> Result<Conversion, String> {
    let source = scene.read_one(&asked.source)?;
    let disk = provided(&source)?;
    if disk.kind != DiskSourceKind::Raw {
        return Err(format!("{source} is not a RAW disk"));
    }
    if !matches!(asked.target_type(), SourceType::Mount | SourceType::Block) {
        return Err("'target_type' must be MOUNT or BLOCK".to_owned());
    }
    match (&disk.profile, &asked.target_profile) {
        (Some(_), Some(_)) => {
            Err("'target_profile' must not be set, since the source has a profile".to_owned())
        }
        (None, None) => {
            Err("'target_profile' must be set, since the source has no profile".to_owned())
        }
        _ => no_provider(&source),
    }
}

pub(super) fn destroy(asked: &DestroyDisk, scene: &Scene<'_>) -> Result<Conversion, String> {
    let source = scene.read_one(&asked.source)?;
    let disk = provided(&source)?;
    if disk.id.is_none() {
        return Err(format!("{source} has no source id"));
    }
    if source.kind().is_persistent_volume() {
        return Err(format!(
            "{source} has a persistent volume on it, which has to be destroyed first"
        ));
    }
    no_provider(&source)
}
