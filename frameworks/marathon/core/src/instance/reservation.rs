//! What an instance with persistent volumes keeps on its agent, and the operations that make and free it.
//!
//! All that it was launched with is reserved under two labels, Marathon's own: which framework it belongs to, and which instance.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tepui_model::Time;
use tepui_proto::mesos::{
    Label, Labels, Resource, Volume,
    offer::{Operation, operation},
    resource::{DiskInfo, ReservationInfo, disk_info, reservation_info},
    volume,
};

use crate::{path::PathId, timestamp::Timestamp};

const FRAMEWORK_LABEL: &str = "marathon_framework_id";
const INSTANCE_LABEL: &str = "marathon_task_id";

/// What an instance keeps on its agent, whether or not a task uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    /// For which role; the app's may be another by now.
    pub(crate) role: String,
    pub(crate) volumes: Vec<LocalVolume>,
    /// A task has run on it: it is there for sure.
    pub(crate) confirmed: bool,
}

/// A persistent volume of an instance as `localVolumes` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalVolume {
    /// The app.
    pub run_spec_id: PathId,
    /// Its name in the sandbox.
    pub container_path: String,
    /// The last part of its id.
    pub uuid: String,
    /// Its id on the agent.
    pub persistence_id: String,
}

impl LocalVolume {
    pub(crate) fn new(run_spec_id: &PathId, container_path: &str, uuid: String) -> Self {
        Self {
            persistence_id: format!("{}#{container_path}#{uuid}", run_spec_id.safe()),
            run_spec_id: run_spec_id.clone(),
            container_path: container_path.to_owned(),
            uuid,
        }
    }
}

/// Makes a reservation: the operations, and the same resources as a task then finds them.
pub(crate) fn reserve(
    reservation: &Reservation,
    labels: &Labels,
    resources: &[Resource],
    disks: &[Resource],
) -> (Vec<Operation>, Vec<Resource>) {
    let reserved = |resource: &Resource| {
        let mut reserved = resource.clone();
        let mut info = ReservationInfo {
            role: Some(reservation.role.clone()),
            labels: Some(labels.clone()),
            ..ReservationInfo::default()
        };
        info.set_type(reservation_info::Type::Dynamic);
        reserved.reservations.push(info);
        reserved
    };
    let mut task: Vec<Resource> = resources.iter().map(reserved).collect();
    let disks: Vec<Resource> = disks.iter().map(reserved).collect();
    let volumes: Vec<Resource> = disks
        .iter()
        .zip(&reservation.volumes)
        .map(|(disk, volume)| created(disk, volume))
        .collect();
    let reserve = Operation {
        r#type: Some(operation::Type::Reserve.into()),
        reserve: Some(operation::Reserve {
            resources: task.iter().chain(&disks).cloned().collect(),
            ..operation::Reserve::default()
        }),
        ..Operation::default()
    };
    let create = Operation {
        r#type: Some(operation::Type::Create.into()),
        create: Some(operation::Create {
            volumes: volumes.clone(),
        }),
        ..Operation::default()
    };
    task.extend(volumes);
    (vec![reserve, create], task)
}

/// A reserved disk as the volume that CREATE makes of it.
fn created(disk: &Resource, volume: &LocalVolume) -> Resource {
    let mut mount = Volume {
        container_path: volume.container_path.clone(),
        ..Volume::default()
    };
    mount.set_mode(volume::Mode::Rw);
    let info = disk.disk.as_deref().cloned().unwrap_or_default();
    Resource {
        disk: Some(Box::new(DiskInfo {
            persistence: Some(disk_info::Persistence {
                id: volume.persistence_id.clone(),
                principal: None,
            }),
            volume: Some(mount),
            ..info
        })),
        ..disk.clone()
    }
}

/// Frees what was reserved, volumes and all that is in them included.
pub(crate) fn free(resources: Vec<Resource>) -> Vec<Operation> {
    let (volumes, others): (Vec<Resource>, Vec<Resource>) = resources
        .into_iter()
        .partition(|one| persistence_id(one).is_some());
    let disks = volumes.iter().map(|volume| {
        let mut disk = volume.clone();
        let source = disk.disk.take().and_then(|disk| disk.source.clone());
        disk.disk = source.map(|source| {
            Box::new(DiskInfo {
                source: Some(source),
                ..DiskInfo::default()
            })
        });
        disk
    });
    let reserved: Vec<Resource> = others.into_iter().chain(disks).collect();
    let mut operations = Vec::new();
    if !volumes.is_empty() {
        operations.push(Operation {
            r#type: Some(operation::Type::Destroy.into()),
            destroy: Some(operation::Destroy { volumes }),
            ..Operation::default()
        });
    }
    operations.push(Operation {
        r#type: Some(operation::Type::Unreserve.into()),
        unreserve: Some(operation::Unreserve {
            resources: reserved,
        }),
        ..Operation::default()
    });
    operations
}

/// The labels of what an instance reserves.
pub(crate) fn labels(framework_id: &str, instance_id: &str) -> Labels {
    let label = |key: &str, value: &str| Label {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    Labels {
        labels: vec![
            label(FRAMEWORK_LABEL, framework_id),
            label(INSTANCE_LABEL, instance_id),
        ],
    }
}

/// For which instance of this framework a resource is reserved. `own`: which framework ids are, or were, its own.
pub(crate) fn owner(resource: &Resource, own: impl Fn(&str) -> bool) -> Option<&str> {
    let reservation = resource
        .reservations
        .last()
        .or(resource.reservation.as_deref())?;
    let labels = &reservation.labels.as_ref()?.labels;
    let value = |key: &str| {
        let label = labels.iter().find(|label| label.key == key)?;
        label.value.as_deref()
    };
    own(value(FRAMEWORK_LABEL)?).then(|| value(INSTANCE_LABEL))?
}

/// The id of a persistent volume.
pub(crate) fn persistence_id(resource: &Resource) -> Option<&str> {
    let disk = resource.disk.as_ref()?;
    Some(disk.persistence.as_ref()?.id.as_str())
}

impl Reservation {
    /// Whether all of its volumes are among these resources; they, in its order.
    pub(crate) fn volumes_in<'a>(&self, resources: &'a [Resource]) -> Option<Vec<&'a Resource>> {
        let find = |volume: &LocalVolume| {
            let wanted = Some(volume.persistence_id.as_str());
            resources.iter().find(|one| persistence_id(one) == wanted)
        };
        self.volumes.iter().map(find).collect()
    }

    /// Its volumes that are not among these resources.
    pub(crate) fn volumes_missing_in<'a>(
        &'a self,
        resources: &'a [Resource],
    ) -> impl Iterator<Item = &'a LocalVolume> {
        self.volumes.iter().filter(|volume| {
            let wanted = Some(volume.persistence_id.as_str());
            !resources.iter().any(|one| persistence_id(one) == wanted)
        })
    }
}

/// What an instance that is no more has left on its agent, kept until it is free.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Remains {
    pub(crate) instance: Arc<str>,
    pub(crate) agent: Arc<str>,
    pub(crate) role: String,
    pub(crate) left_at: Timestamp,
    /// When the operations that free it were sent last.
    #[serde(skip)]
    pub(crate) freed_at: Option<Time>,
}
