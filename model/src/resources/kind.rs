//! What a resource is besides its name and amount. Only resources of one kind add up.

use crate::{Labels, ResourceProviderId, Role};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// How a reservation came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReservationKind {
    /// By the agent's `--resources`; lasts as long as that flag.
    Static,
    /// By a RESERVE operation; UNRESERVE takes it back.
    Dynamic,
}

/// One level of a reservation stack. Two reservations that differ in principal or labels do not mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Static or dynamic.
    pub kind: ReservationKind,
    /// For whom; never `*`.
    pub role: Role,
    /// Who reserved.
    pub principal: Option<Arc<str>>,
    /// What the reserver noted; absent differs from empty.
    pub labels: Option<Labels>,
}

impl Reservation {
    /// A reservation from the agent's flags.
    pub fn fixed(role: Role) -> Reservation {
        Reservation {
            kind: ReservationKind::Static,
            role,
            principal: None,
            labels: None,
        }
    }

    /// A reservation by an operation.
    pub fn dynamic(role: Role) -> Reservation {
        Reservation {
            kind: ReservationKind::Dynamic,
            role,
            principal: None,
            labels: None,
        }
    }

    /// The same, reserved by `principal`.
    #[must_use]
    pub fn by(mut self, principal: impl AsRef<str>) -> Reservation {
        self.principal = Some(Arc::from(principal.as_ref()));
        self
    }
}

/// What makes a disk a persistent volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Unique per role and agent; alone decides identity.
    pub id: Arc<str>,
    /// Who created it.
    pub principal: Option<Arc<str>>,
}

/// Where a volume is seen in the container. Says how the disk is used this time and is no part of its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskVolume {
    /// The path in the container, relative to the sandbox or absolute.
    pub container_path: Arc<str>,
    /// Whether the task may only read.
    pub read_only: bool,
}

/// What sort of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskSourceKind {
    /// A directory; divisible.
    Path,
    /// A mounted file system; only taken whole.
    Mount,
    /// A block device; only taken whole.
    Block,
    /// Capacity of a storage plugin, or with an id a ready volume of it.
    Raw,
}

/// Which disk; none at all means the agent's root disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSource {
    /// The sort.
    pub kind: DiskSourceKind,
    /// Where it is mounted (path and mount only).
    pub root: Option<Arc<str>>,
    /// Type and name of the storage plugin.
    pub vendor: Option<Arc<str>>,
    /// The plugin's id of the volume.
    pub id: Option<Arc<str>>,
    /// The plugin's own data.
    pub metadata: Option<Labels>,
    /// The storage profile.
    pub profile: Option<Arc<str>>,
}

impl DiskSource {
    /// A source of this sort with nothing else known.
    pub fn new(kind: DiskSourceKind) -> DiskSource {
        DiskSource {
            kind,
            root: None,
            vendor: None,
            id: None,
            metadata: None,
            profile: None,
        }
    }
}

/// What a `disk` resource is a disk of. Equal if source and persistence id are equal; `volume` is only use.
#[derive(Clone, Debug, Default)]
pub struct DiskInfo {
    /// Set for a persistent volume.
    pub persistence: Option<Persistence>,
    /// Where it is seen in the container.
    pub volume: Option<DiskVolume>,
    /// Which disk.
    pub source: Option<DiskSource>,
}

impl PartialEq for DiskInfo {
    fn eq(&self, other: &DiskInfo) -> bool {
        let same_id = match (&self.persistence, &other.persistence) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.id == theirs.id,
            _ => false,
        };
        same_id && self.source == other.source
    }
}

impl Eq for DiskInfo {}

/// The rare properties. Behind one pointer, since the common resource has none.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) reservations: SmallVec<[Reservation; 1]>,
    pub(super) disk: Option<DiskInfo>,
    pub(super) revocable: bool,
    pub(super) shared: bool,
    pub(super) provider: Option<ResourceProviderId>,
}

/// Allocation, reservations, disk, revocable, shared and provider: what has to match for two resources to add up.
#[derive(Clone, Default)]
pub struct Kind {
    pub(super) allocation: Option<Role>,
    /// `None` for the plain kind; never `Some` of the default, so that equality of pointers is the usual case.
    traits: Option<Arc<Traits>>,
}

impl Kind {
    /// The role that the resource is allocated to.
    pub fn allocation_role(&self) -> Option<&Role> {
        self.allocation.as_ref()
    }

    /// The reservation stack, outermost first.
    pub fn reservations(&self) -> &[Reservation] {
        self.traits
            .as_ref()
            .map_or(&[], |traits| &traits.reservations)
    }

    /// The reservation in force: the last of the stack.
    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservations().last()
    }

    /// For whom the resource is reserved.
    pub fn reservation_role(&self) -> Option<&Role> {
        self.reservation().map(|reservation| &reservation.role)
    }

    /// Whether it is reserved for anybody.
    pub fn is_reserved(&self) -> bool {
        !self.reservations().is_empty()
    }

    /// Whether the reservation was refined: the stack has two levels or more.
    pub fn is_refined(&self) -> bool {
        self.reservations().len() > 1
    }

    /// Whether a framework in `role` may have it: unreserved, or reserved for `role` or an ancestor.
    pub fn is_available_to(&self, role: &Role) -> bool {
        self.reservation_role()
            .is_none_or(|owner| role.may_use_reservation_of(owner))
    }

    /// What disk it is; only on `disk`.
    pub fn disk(&self) -> Option<&DiskInfo> {
        self.traits.as_ref().and_then(|traits| traits.disk.as_ref())
    }

    /// Whether it is a persistent volume.
    pub fn is_persistent_volume(&self) -> bool {
        self.disk().is_some_and(|disk| disk.persistence.is_some())
    }

    /// Whether it may be taken back at any time.
    pub fn is_revocable(&self) -> bool {
        self.traits.as_ref().is_some_and(|traits| traits.revocable)
    }

    /// Whether several tasks may use it at once.
    pub fn is_shared(&self) -> bool {
        self.traits.as_ref().is_some_and(|traits| traits.shared)
    }

    /// Who provides it, if not the agent itself.
    pub fn provider(&self) -> Option<&ResourceProviderId> {
        self.traits
            .as_ref()
            .and_then(|traits| traits.provider.as_ref())
    }

    /// Whether it has neither reservation, disk, provider nor any other property besides a possible allocation.
    pub fn is_plain(&self) -> bool {
        self.traits.is_none()
    }

    /// Whether the thing is one piece, known by what it is: never merged, never split (persistent volumes, MOUNT and BLOCK
    /// disks, RAW disks with an id, everything shared).
    pub fn is_whole(&self) -> bool {
        self.is_shared()
            || self.disk().is_some_and(|disk| {
                disk.persistence.is_some()
                    || disk
                        .source
                        .as_ref()
                        .is_some_and(|source| match source.kind {
                            DiskSourceKind::Path => false,
                            DiskSourceKind::Mount | DiskSourceKind::Block => true,
                            DiskSourceKind::Raw => source.id.is_some(),
                        })
            })
    }

    /// Whether the two differ in their allocation at most.
    pub(super) fn is_alike(&self, other: &Kind) -> bool {
        self.traits == other.traits
    }

    /// Changes the rare properties and restores the invariant of `traits`.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Traits)) {
        let mut traits = self.traits.take().unwrap_or_default();
        change(Arc::make_mut(&mut traits));
        self.traits = (*traits != Traits::default()).then_some(traits);
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        let same_traits = match (&self.traits, &other.traits) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            _ => false,
        };
        same_traits && self.allocation == other.allocation
    }
}

impl Eq for Kind {}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(f, "({kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, ",{principal}")?;
        }
        if let Some(labels) = &self.labels {
            write!(f, ",{labels}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DiskSourceKind::Path => "PATH",
            DiskSourceKind::Mount => "MOUNT",
            DiskSourceKind::Block => "BLOCK",
            DiskSourceKind::Raw => "RAW",
        })?;
        if self.vendor.is_some() || self.id.is_some() || self.profile.is_some() {
            let text = |part: &Option<Arc<str>>| part.clone().unwrap_or_default();
            write!(
                f,
                "({},{},{})",
                text(&self.vendor),
                text(&self.id),
                text(&self.profile)
            )?;
        }
        self.root
            .as_ref()
            .map_or(Ok(()), |root| write!(f, ":{root}"))
    }
}

impl fmt::Display for DiskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}")?;
        }
        if let Some(persistence) = &self.persistence {
            write!(
                f,
                "{}{}",
                if self.source.is_some() { "," } else { "" },
                persistence.id
            )?;
        }
        if let Some(volume) = &self.volume {
            write!(
                f,
                ":{}:{}",
                volume.container_path,
                if volume.read_only { "ro" } else { "rw" }
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    /// What Mesos prints between a resource's name and its colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = &self.allocation {
            write!(f, "(allocated: {role})")?;
        }
        if self.is_reserved() {
            f.write_str("(reservations: [")?;
            for (index, reservation) in self.reservations().iter().enumerate() {
                write!(f, "{}{reservation}", if index > 0 { "," } else { "" })?;
            }
            f.write_str("])")?;
        }
        if let Some(disk) = self.disk() {
            write!(f, "[{disk}]")?;
        }
        f.write_str(if self.is_revocable() { "{REV}" } else { "" })?;
        f.write_str(if self.is_shared() { "<SHARED>" } else { "" })
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind{self}")
    }
}
