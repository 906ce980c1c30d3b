//! What can be done with an offer besides launching: reserving for the role, persistent volumes, task groups.
//!
//! Reservations and volumes outlive tasks, and come back in later offers for the role, marked as what they are. Operations go out with
//! the offer, in the order in which they were asked for, and what they make can be used by what follows: reserve, create a volume, and
//! launch a task on it, all on one offer.

use std::sync::Arc;

use tepui_model::resources::{
    DiskInfo, DiskVolume, Kind, Name, Persistence, Reservation, ReservationKind,
};
use tepui_model::{Resource, Resources, TaskId};
use tepui_proto::mesos;
use tepui_proto::mesos::offer::{Operation, operation};

use super::offer::Offer;
use crate::convert;
use crate::error::TaskError;
use crate::task::Task;

/// A persistent volume to be made with [`Offer::create_volume`].
#[derive(Clone, Debug)]
pub struct Volume {
    id: String,
    size_mib: f64,
    container_path: String,
    shared: bool,
}

impl Volume {
    /// A volume of so many MiB, seen by tasks under a path that is relative to their sandbox. The id names it among those of the role on
    /// its agent.
    ///
    /// # Errors
    /// The id breaks the rules, or the size is none.
    pub fn new(
        id: impl Into<String>,
        size_mib: f64,
        container_path: impl Into<String>,
    ) -> Result<Self, TaskError> {
        let id = id.into();
        TaskId::new(&id)?;
        Resource::scalar(Name::Disk, size_mib)?;
        Ok(Self {
            id,
            size_mib,
            container_path: container_path.into(),
            shared: false,
        })
    }

    /// Several tasks may use it at once. The framework needs the capability SHARED_RESOURCES.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// The volume on a disk of this kind.
    fn on(&self, kind: &Kind, principal: Option<Arc<str>>) -> Option<(Resource, Resource)> {
        let disk = Resource::scalar(Name::Disk, self.size_mib).ok()?;
        let disk = disk.with_kind(kind.clone()).ok()?;
        let volume = disk
            .clone()
            .with_disk(DiskInfo {
                persistence: Some(Persistence {
                    id: self.id.as_str().into(),
                    principal,
                }),
                volume: Some(DiskVolume {
                    container_path: self.container_path.as_str().into(),
                    read_only: false,
                }),
                source: None,
            })
            .ok()?;
        let volume = if self.shared {
            volume.shared().ok()?
        } else {
            volume
        };
        Some((disk, volume))
    }
}

impl Offer {
    /// The operation that is added next has this id: what becomes of it is told by [`Event::Operation`](super::Event::Operation).
    /// Without one nothing is told, but for the offers that come.
    pub fn track(&mut self, id: impl Into<String>) -> &mut Self {
        self.next_id = Some(id.into());
        self
    }

    /// Reserves for the offer's role what is not reserved for it yet, by name and amount. It stays in the offer: [`Offer::take`] finds it
    /// before anything else. Returns it, or `None`, and nothing reserved, if there is not enough, or the role is `*`.
    pub fn reserve(&mut self, wanted: &Resources) -> Option<Resources> {
        let role = self.role().clone();
        let open = self
            .left
            .filter(|kind| kind.reservation_role() != Some(&role) && kind.disk().is_none());
        let found = open.find(wanted, &role)?;
        let reserved = found
            .push_reservation(&Reservation {
                kind: ReservationKind::Dynamic,
                role,
                principal: self.context.principal.clone(),
                labels: None,
            })
            .ok()?;
        self.left.try_subtract(&found).ok()?;
        self.left += &reserved;
        self.operation(Operation {
            r#type: Some(operation::Type::Reserve.into()),
            reserve: Some(operation::Reserve {
                source: Vec::new(),
                resources: convert::messages(&reserved),
            }),
            ..Operation::default()
        });
        Some(reserved)
    }

    /// Takes one level of reservation away, of what the offer holds just like that. `false`, and nothing done, if it does not hold it, or
    /// if there are volumes among it, which have to be destroyed first.
    pub fn unreserve(&mut self, reserved: &Resources) -> bool {
        let Ok(open) = reserved.pop_reservation() else {
            return false;
        };
        if !reserved.persistent_volumes().is_empty() || self.left.try_subtract(reserved).is_err() {
            return false;
        }
        self.left += &open;
        self.operation(Operation {
            r#type: Some(operation::Type::Unreserve.into()),
            unreserve: Some(operation::Unreserve {
                resources: convert::messages(reserved),
            }),
            ..Operation::default()
        });
        true
    }

    /// The persistent volumes in the offer that have not been taken.
    pub fn volumes(&self) -> Resources {
        self.left.persistent_volumes()
    }

    /// Makes a persistent volume of disk that is reserved for the role ([`Offer::reserve`]). It stays in the offer for
    /// [`Offer::take_volume`]. `None`, and nothing done, if no such disk is large enough.
    pub fn create_volume(&mut self, volume: &Volume) -> Option<Resources> {
        let principal = self.context.principal.clone();
        let role = self.role().clone();
        let (disk, volume) = self
            .left
            .lots()
            .filter(|lot| {
                let kind = lot.kind();
                kind.reservation_role() == Some(&role)
                    && kind.disk().is_none()
                    && !kind.is_revocable()
            })
            .filter_map(|lot| volume.on(lot.kind(), principal.clone()))
            .find(|(disk, _)| self.left.contains(&disk.clone().into()))?;
        let volume = Resources::from(volume);
        self.left.try_subtract(&disk.into()).ok()?;
        self.left += &volume;
        self.operation(Operation {
            r#type: Some(operation::Type::Create.into()),
            create: Some(operation::Create {
                volumes: convert::messages(&volume),
            }),
            ..Operation::default()
        });
        Some(volume)
    }

    /// Takes a volume for a task, by its id. A shared one stays in the offer as well, for the next task.
    pub fn take_volume(&mut self, id: &str) -> Option<Resources> {
        let found = self.left.persistent_volumes().iter().find(|volume| {
            let disk = volume.kind().disk();
            disk.and_then(|disk| disk.persistence.as_ref())
                .is_some_and(|persistence| &*persistence.id == id)
        })?;
        let is_shared = found.kind().is_shared();
        let found = Resources::from(found);
        if !is_shared {
            self.left.try_subtract(&found).ok()?;
        }
        Some(found)
    }

    /// Deletes a volume and everything on it; its disk stays reserved, in the offer. `false`, and nothing done, if the offer does not
    /// hold it.
    pub fn destroy_volume(&mut self, volume: &Resources) -> bool {
        if volume.persistent_volumes() != *volume || self.left.try_subtract(volume).is_err() {
            return false;
        }
        self.left += &volume.without_persistence();
        self.operation(Operation {
            r#type: Some(operation::Type::Destroy.into()),
            destroy: Some(operation::Destroy {
                volumes: convert::messages(volume),
            }),
            ..Operation::default()
        });
        true
    }

    /// Takes what a new executor and all tasks want and launches them as a group, or gives the tasks back. For more tasks under an
    /// executor that runs already there is [`Offer::launch_group`], with the very same description of it.
    ///
    /// # Errors
    /// The tasks, when there is not enough for all of them.
    pub fn try_launch_group(
        &mut self,
        executor: GroupExecutor,
        tasks: Vec<Task>,
    ) -> Result<(), Vec<Task>> {
        let before = self.left.clone();
        let taken: Option<Vec<Resources>> = std::iter::once(&executor.wanted)
            .chain(tasks.iter().map(Task::wanted))
            .map(|wanted| self.take(wanted))
            .collect();
        let Some(mut taken) = taken else {
            self.left = before;
            return Err(tasks);
        };
        let mut info = executor.info;
        info.resources = convert::messages(&taken.remove(0));
        let tasks = tasks
            .into_iter()
            .zip(taken)
            .map(|(task, resources)| task.resources(resources).into())
            .collect();
        self.launch_group(info, tasks);
        Ok(())
    }
}

/// An executor for a group of tasks: the agent's own, which runs each task in a container of its own.
#[derive(Clone, Debug)]
pub struct GroupExecutor {
    info: mesos::ExecutorInfo,
    wanted: Resources,
}

impl GroupExecutor {
    /// What an executor of this kind is satisfied with.
    const NEEDS: &str = "cpus:0.1;mem:32;disk:32";

    /// The agent's default executor under this id, with 0.1 cpus and 32 MiB each of memory and disk for itself.
    ///
    /// # Errors
    /// The id breaks the rules.
    pub fn new(id: impl AsRef<str>) -> Result<Self, TaskError> {
        let id = TaskId::new(id)?;
        let info = mesos::ExecutorInfo {
            r#type: Some(mesos::executor_info::Type::Default.into()),
            executor_id: mesos::ExecutorId {
                value: id.to_string(),
            },
            ..mesos::ExecutorInfo::default()
        };
        Self {
            info,
            wanted: Resources::new(),
        }
        .needs(Self::NEEDS)
    }

    /// What it needs for itself, beside its tasks: at least 0.01 cpus, 32 MiB of memory, and some disk.
    ///
    /// # Errors
    /// The text is no list of resources.
    pub fn needs(mut self, resources: &str) -> Result<Self, TaskError> {
        self.wanted = resources.parse()?;
        Ok(self)
    }

    /// Changes anything else of it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut mesos::ExecutorInfo)) -> Self {
        change(&mut self.info);
        self
    }
}
