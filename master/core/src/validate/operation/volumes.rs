//! CREATE, DESTROY, GROW_VOLUME and SHRINK_VOLUME: reserved disk becomes a persistent volume, and back.

use std::collections::BTreeSet;

use tepui_model::resources::{DiskSourceKind, Name, Scalar, Value};
use tepui_model::{Resource, Resources};
use tepui_proto::mesos::agent_info::capability::Type as CapabilityType;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::{Create, Destroy, GrowVolume, ShrinkVolume};

use super::{Conversion, Scene, sum, to_wire};

/// Role and persistence id: together they name a volume on its agent.
fn identity(volume: &Resource) -> Option<(String, String)> {
    let id = &volume.kind().disk()?.persistence.as_ref()?.id;
    let role = volume.kind().reservation_role()?;
    Some((role.to_string(), id.to_string()))
}

pub(super) fn create(
    asked: &Create,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let wanted = scene.read(&asked.volumes)?;
    let mut known: BTreeSet<(String, String)> = scene
        .total
        .persistent_volumes()
        .iter()
        .filter_map(|volume| identity(&volume))
        .collect();
    for volume in &wanted {
        check_new(volume, scene)?;
        let Some((role, id)) = identity(volume) else {
            return Err(format!("{volume} is not reserved"));
        };
        if !known.insert((role.clone(), id.clone())) {
            return Err(format!(
                "The persistence id '{id}' is in use already for role '{role}' on this agent"
            ));
        }
    }
    let after = sum(&wanted)?;
    info.create = Some(Create {
        volumes: to_wire(&wanted),
    });
    Ok(Conversion {
        before: after.without_persistence(),
        after,
        later: false,
    })
}

/// A volume as CREATE would make it.
fn check_new(volume: &Resource, scene: &Scene<'_>) -> Result<(), String> {
    let kind = volume.kind();
    let Some((disk, persistence)) = kind
        .disk()
        .and_then(|disk| Some((disk, disk.persistence.as_ref()?)))
    else {
        return Err(format!(
            "{volume} is not a persistent volume: it has no 'disk.persistence'"
        ));
    };
    match &disk.volume {
        None => return Err(format!("{volume} has no 'disk.volume'")),
        Some(mounted) if mounted.read_only => {
            return Err(format!("{volume} is read-only: the mode must be RW"));
        }
        Some(_) => {}
    }
    if let Some(source) = &disk.source
        && matches!(source.kind, DiskSourceKind::Block | DiskSourceKind::Raw)
    {
        return Err(format!(
            "{volume} is on a disk without a file system, which cannot hold a volume"
        ));
    }
    if kind.is_revocable() {
        return Err(format!("{volume} is revocable"));
    }
    if !kind.is_reserved() {
        return Err(format!("{volume} is not reserved"));
    }
    if kind.is_shared()
        && scene
            .framework
            .is_some_and(|framework| !framework.shared_resources)
    {
        return Err(format!(
            "{volume} is shared, and the framework lacks the capability SHARED_RESOURCES"
        ));
    }
    scene.check_principal(volume, persistence.principal.as_deref())
}

pub(super) fn destroy(
    asked: &Destroy,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let wanted = scene.read(&asked.volumes)?;
    let used = scene.used.unallocated();
    let mut named = Resources::new();
    for volume in &wanted {
        if !volume.kind().is_persistent_volume() {
            return Err(format!("{volume} is not a persistent volume"));
        }
        let bare = Resources::from(volume.clone()).unallocated();
        named += &bare;
        if !scene.total.contains(&named) {
            return Err(format!("The agent has no volume {volume}, or not as often"));
        }
        if used.contains(&bare) {
            return Err(format!("{volume} is in use by a task or an executor"));
        }
    }
    let before = sum(&wanted)?;
    info.destroy = Some(Destroy {
        volumes: to_wire(&wanted),
    });
    Ok(Conversion {
        after: before.without_persistence(),
        before,
        later: false,
    })
}

/// A volume that can change its size. Returns how large it is.
fn check_resizable(volume: &Resource, scene: &Scene<'_>) -> Result<Scalar, String> {
    if !scene.agent_can(CapabilityType::ResizeVolume) {
        return Err("The agent lacks the capability RESIZE_VOLUME".to_owned());
    }
    let kind = volume.kind();
    if !kind.is_persistent_volume() {
        return Err(format!("{volume} is not a persistent volume"));
    }
    if kind.is_shared() {
        return Err(format!(
            "{volume} is shared, and shared volumes keep their size"
        ));
    }
    if kind.provider().is_some() {
        return Err(format!(
            "{volume} is of a resource provider, whose volumes keep their size"
        ));
    }
    let is_mount =
        |source: &tepui_model::resources::DiskSource| source.kind == DiskSourceKind::Mount;
    if kind
        .disk()
        .and_then(|disk| disk.source.as_ref())
        .is_some_and(is_mount)
    {
        return Err(format!(
            "{volume} is a MOUNT disk, which is taken as a whole"
        ));
    }
    amount(volume)
}

fn amount(resource: &Resource) -> Result<Scalar, String> {
    match resource.value() {
        Value::Scalar(scalar) => Ok(*scalar),
        _ => Err(format!("{resource} is not a scalar")),
    }
}

/// The same volume, or disk, of another size.
fn sized(like: &Resource, size: Scalar) -> Result<Resource, String> {
    Resource::scalar(Name::Disk, size.as_f64())
        .and_then(|sized| sized.with_kind(like.kind().clone()))
        .map_err(|error| error.to_string())
}

/// The disk below a volume.
fn disk_of(volume: &Resource) -> Option<Resource> {
    Resources::from(volume.clone())
        .without_persistence()
        .iter()
        .next()
}

pub(super) fn grow(
    asked: &GrowVolume,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let (volume, addition) = (
        scene.read_one(&asked.volume)?,
        scene.read_one(&asked.addition)?,
    );
    let size = check_resizable(&volume, scene)?;
    if addition.name() != &Name::Disk {
        return Err(format!("'addition' ({addition}) is not disk"));
    }
    let more = amount(&addition)?;
    if more <= Scalar::ZERO {
        return Err("'addition' must be more than nothing".to_owned());
    }
    if disk_of(&volume).is_none_or(|disk| disk.kind() != addition.kind()) {
        return Err(format!(
            "'addition' ({addition}) is not the disk that 'volume' ({volume}) lies on"
        ));
    }
    info.grow_volume = Some(
        GrowVolume {
            volume: one(&volume),
            addition: one(&addition),
        }
        .into(),
    );
    let after = sized(&volume, size + more)?.into();
    Ok(Conversion {
        before: sum(&[volume, addition])?,
        after,
        later: true,
    })
}

pub(super) fn shrink(
    asked: &ShrinkVolume,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let volume = scene.read_one(&asked.volume)?;
    let size = check_resizable(&volume, scene)?;
    let less = Scalar::from_f64(asked.subtract.value)
        .filter(|less| *less > Scalar::ZERO)
        .ok_or("'subtract' must be more than nothing")?;
    if less >= size {
        return Err(format!(
            "'subtract' ({less}) must be less than the volume's size ({size})"
        ));
    }
    let freed = disk_of(&volume).ok_or("The volume has no disk")?;
    info.shrink_volume = Some(
        ShrinkVolume {
            volume: one(&volume),
            subtract: asked.subtract,
        }
        .into(),
    );
    Ok(Conversion {
        after: sum(&[sized(&volume, size - less)?, sized(&freed, less)?])?,
        before: volume.into(),
        later: true,
    })
}

fn one(resource: &Resource) -> tepui_proto::mesos::Resource {
    tepui_proto::convert::resources::one_to_wire(
        resource,
        tepui_proto::convert::resources::Encoding::Stack,
    )
}
