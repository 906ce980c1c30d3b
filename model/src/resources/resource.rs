//! One resource: a name, an amount, a kind. What goes in and out of [`Resources`](super::Resources).

use super::kind::{DiskInfo, Kind, Reservation, ReservationKind};
use super::ranges::{Ranges, RangesError};
use super::scalar::Scalar;
use crate::{ResourceProviderId, Role};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The name of a resource; the common ones are compared as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Processor time: 1 is one core.
    Cpus,
    /// Whole graphics processors.
    Gpus,
    /// Memory in MiB.
    Mem,
    /// Disk space in MiB.
    Disk,
    /// TCP and UDP ports.
    Ports,
    /// Anything else.
    Other(Arc<str>),
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Name::Cpus => "cpus",
            Name::Gpus => "gpus",
            Name::Mem => "mem",
            Name::Disk => "disk",
            Name::Ports => "ports",
            Name::Other(name) => name,
        }
    }

    /// The common name of this text, if it is one; saves the allocation of [`Name::Other`].
    fn known(name: &str) -> Option<Name> {
        Some(match name {
            "cpus" => Name::Cpus,
            "gpus" => Name::Gpus,
            "mem" => Name::Mem,
            "disk" => Name::Disk,
            "ports" => Name::Ports,
            _ => return None,
        })
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name::known(name).unwrap_or_else(|| Name::Other(Arc::from(name)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of texts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Set(pub(super) BTreeSet<Arc<str>>);

impl Set {
    /// The items, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|item| &**item)
    }
}

impl<S: AsRef<str>> FromIterator<S> for Set {
    fn from_iter<I: IntoIterator<Item = S>>(items: I) -> Set {
        Set(items
            .into_iter()
            .map(|item| Arc::from(item.as_ref()))
            .collect())
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}

/// How much of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number with three decimals.
    Scalar(Scalar),
    /// A set of whole numbers.
    Ranges(Ranges),
    /// A set of texts.
    Set(Set),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(scalar) => write!(f, "{scalar}"),
            Value::Ranges(ranges) => write!(f, "{ranges}"),
            Value::Set(set) => write!(f, "{set}"),
        }
    }
}

/// Why something is not a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// A resource without name.
    #[error("Empty resource name")]
    EmptyName,
    /// One of the common names with the wrong type of value.
    #[error("Resource '{name}' must be of type {expected}")]
    WrongType {
        /// The resource.
        name: Name,
        /// `SCALAR` or `RANGES`.
        expected: &'static str,
    },
    /// Not a number, negative, too large, or not zero but below a thousandth.
    #[error("Invalid scalar resource '{name}': value must be a number of at least 0.001 (or zero)")]
    Scalar {
        /// The resource.
        name: Name,
    },
    /// Ranges that overlap or go backwards.
    #[error("Invalid ranges resource '{name}': {source}")]
    Ranges {
        /// The resource.
        name: Name,
        /// What is wrong with them.
        source: RangesError,
    },
    /// An item twice in a set.
    #[error("Invalid set resource '{name}': duplicated elements")]
    Duplicate {
        /// The resource.
        name: Name,
    },
    /// DiskInfo on something else.
    #[error("DiskInfo should not be set for '{0}' resource")]
    DiskInfo(Name),
    /// Sharing something else than a persistent volume.
    #[error("Only persistent volumes can be shared, not '{0}'")]
    Shared(Name),
    /// A reservation for everybody.
    #[error("Invalid reservation: role \"*\" cannot be reserved")]
    ReservedForStar,
    /// A static reservation on top of another.
    #[error("Invalid refined reservation: a STATIC reservation must be the first one")]
    StaticRefinement,
    /// A refinement for a role that is not strictly under the one it refines.
    #[error("Invalid refined reservation: role '{inner}' is not a refinement of '{outer}'")]
    NotARefinement {
        /// The lower level's role.
        outer: Role,
        /// The role that should lie under it.
        inner: Role,
    },
    /// There is no reservation to take back.
    #[error("'{0}' is not reserved")]
    NotReserved(Name),
    /// The text form of resources could not be read.
    #[error("Bad resource text '{text}': {problem}")]
    Text {
        /// The offending part.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A name, an amount and a kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    pub(super) name: Name,
    pub(super) value: Value,
    pub(super) kind: Kind,
}

impl Resource {
    /// A resource of the plain kind, its value checked: of the right type, not negative.
    pub fn new(name: Name, value: Value) -> Result<Resource, ResourceError> {
        if name.as_str().is_empty() {
            return Err(ResourceError::EmptyName);
        }
        match (&name, &value) {
            (Name::Ports, Value::Scalar(_) | Value::Set(_)) => {
                return Err(ResourceError::WrongType {
                    name,
                    expected: "RANGES",
                });
            }
            (
                Name::Cpus | Name::Gpus | Name::Mem | Name::Disk,
                Value::Ranges(_) | Value::Set(_),
            ) => {
                return Err(ResourceError::WrongType {
                    name,
                    expected: "SCALAR",
                });
            }
            (_, Value::Scalar(scalar)) if *scalar < Scalar::ZERO => {
                return Err(ResourceError::Scalar { name });
            }
            _ => {}
        }
        // A common name given as `Other` would escape the fixed places.
        let name = if let Name::Other(text) = &name {
            Name::known(text).unwrap_or(name)
        } else {
            name
        };
        Ok(Resource {
            name,
            value,
            kind: Kind::default(),
        })
    }

    /// A scalar resource from a double: rounded to thousandths; what is not zero must not round to zero or below.
    pub fn scalar(name: impl Into<Name>, value: f64) -> Result<Resource, ResourceError> {
        let name = name.into();
        match Scalar::from_f64(value) {
            Some(scalar) if scalar > Scalar::ZERO || value == 0.0 => {
                Resource::new(name, Value::Scalar(scalar))
            }
            _ => Err(ResourceError::Scalar { name }),
        }
    }

    /// A ranges resource from inclusive (begin, end) pairs.
    pub fn ranges(
        name: impl Into<Name>,
        pairs: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<Resource, ResourceError> {
        let name = name.into();
        match Ranges::from_pairs(pairs) {
            Ok(ranges) => Resource::new(name, Value::Ranges(ranges)),
            Err(source) => Err(ResourceError::Ranges { name, source }),
        }
    }

    /// A set resource; no item may come twice.
    pub fn set<S: AsRef<str>>(
        name: impl Into<Name>,
        items: impl IntoIterator<Item = S>,
    ) -> Result<Resource, ResourceError> {
        let name = name.into();
        let mut set = Set::default();
        for item in items {
            if !set.0.insert(Arc::from(item.as_ref())) {
                return Err(ResourceError::Duplicate { name });
            }
        }
        Resource::new(name, Value::Set(set))
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The amount.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The kind, with its accessors for reservations, disk and so on.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The same of another kind, for example that of another resource.
    pub fn with_kind(self, kind: Kind) -> Result<Resource, ResourceError> {
        let resource = Resource { kind, ..self };
        if resource.kind.disk().is_some() && resource.name != Name::Disk {
            return Err(ResourceError::DiskInfo(resource.name));
        }
        if resource.kind.is_shared() && !resource.kind.is_persistent_volume() {
            return Err(ResourceError::Shared(resource.name));
        }
        Ok(resource)
    }

    /// Allocated to `role`.
    #[must_use]
    pub fn allocated_to(mut self, role: Role) -> Resource {
        self.kind.allocation = Some(role);
        self
    }

    /// With one more level of reservation. It must refine the one below it.
    pub fn reserved(mut self, reservation: Reservation) -> Result<Resource, ResourceError> {
        self.kind.push_reservation(reservation)?;
        Ok(self)
    }

    /// Of a certain disk; only for `disk`.
    pub fn with_disk(mut self, disk: DiskInfo) -> Result<Resource, ResourceError> {
        if self.name != Name::Disk {
            return Err(ResourceError::DiskInfo(self.name));
        }
        self.kind.edit(|traits| traits.disk = Some(disk));
        Ok(self)
    }

    /// Revocable.
    #[must_use]
    pub fn revocable(mut self) -> Resource {
        self.kind.edit(|traits| traits.revocable = true);
        self
    }

    /// Shared; only for persistent volumes, so call [`Resource::with_disk`] before.
    pub fn shared(mut self) -> Result<Resource, ResourceError> {
        if !self.kind.is_persistent_volume() {
            return Err(ResourceError::Shared(self.name));
        }
        self.kind.edit(|traits| traits.shared = true);
        Ok(self)
    }

    /// Provided by somebody else than the agent itself.
    #[must_use]
    pub fn provided_by(mut self, provider: ResourceProviderId) -> Resource {
        self.kind.edit(|traits| traits.provider = Some(provider));
        self
    }
}

impl Kind {
    /// Puts one more level on the reservation stack.
    pub(super) fn push_reservation(
        &mut self,
        reservation: Reservation,
    ) -> Result<(), ResourceError> {
        if reservation.role.is_star() {
            return Err(ResourceError::ReservedForStar);
        }
        if let Some(outer) = self.reservation() {
            if reservation.kind == ReservationKind::Static {
                return Err(ResourceError::StaticRefinement);
            }
            if !reservation.role.is_strict_subrole_of(&outer.role) {
                return Err(ResourceError::NotARefinement {
                    outer: outer.role.clone(),
                    inner: reservation.role,
                });
            }
        }
        self.edit(|traits| traits.reservations.push(reservation));
        Ok(())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.name, self.kind, self.value)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
