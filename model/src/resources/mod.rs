//! What an agent has, an offer holds and a task uses; and its arithmetic.
//!
//! Wanted of this room:
//! - exact: scalars are whole thousandths, so sums do not depend on their order and `(a + b) - b` is `a`;
//! - cheap: an agent with unreserved cpus, mem, disk and ports is one [`Lot`], without any allocation; adding,
//!   subtracting and comparing it is arithmetic on a few integers and one range;
//! - faithful: what adds up with what is decided as in Mesos (see [`Kind`]).
//!
//! The idea: resources are kept as *lots*. A lot is everything held of one kind (allocation role, reservations, disk,
//! revocable, shared, provider), its amounts side by side by name. Most operations look up the lot of the same kind (the
//! plain kind is a null pointer) and work on its amounts as a whole. Things that are one piece (persistent volumes, MOUNT
//! disks, everything shared) are lots of their own, found by what they are and counted in copies.
//!
//! Left out: the wire (tepui-proto), persistent volumes' life, and who may do what.

mod amounts;
mod filter;
mod find;
mod kind;
mod quantities;
mod ranges;
mod resource;
mod scalar;
mod text;

#[cfg(test)]
mod laws;

pub use kind::{
    DiskInfo, DiskSource, DiskSourceKind, DiskVolume, Kind, Persistence, Reservation,
    ReservationKind,
};
pub use quantities::Quantities;
pub use ranges::{Range, Ranges, RangesError};
pub use resource::{Name, Resource, ResourceError, Set, Value};
pub use scalar::Scalar;

use crate::Role;
use amounts::Amounts;
use smallvec::SmallVec;
use std::ops::{Add, AddAssign};

/// Everything held of one kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Lot {
    kind: Kind,
    amounts: Amounts,
    /// How often a whole thing is held; always 1 for what is divisible.
    copies: u32,
}

impl Lot {
    /// What the things in this lot have in common.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The scalars in this lot by name. Shared things count once however many copies there are.
    pub fn scalars(&self) -> &Quantities {
        &self.amounts.scalars
    }

    /// The ports in this lot.
    pub fn ports(&self) -> &Ranges {
        &self.amounts.ports
    }

    /// How many copies of a shared volume are held; 1 for everything else.
    pub fn copies(&self) -> u32 {
        self.copies
    }

    /// Whether `other` is subtracted from this lot: of the same kind and, if it is one piece, the same piece.
    fn matches(&self, other: &Lot) -> bool {
        self.kind == other.kind && (!self.kind.is_whole() || self.amounts == other.amounts)
    }

    fn contains(&self, other: &Lot) -> bool {
        if self.kind.is_whole() {
            self.copies >= other.copies
        } else {
            self.amounts.contains(&other.amounts)
        }
    }

    fn add(&mut self, other: &Lot) {
        if self.kind.is_whole() {
            self.copies = self.copies.saturating_add(other.copies);
        } else {
            self.amounts.add(&other.amounts);
        }
    }

    fn subtract(&mut self, other: &Lot) {
        if self.kind.is_whole() {
            self.copies = self.copies.saturating_sub(other.copies);
        } else {
            self.amounts.subtract(&other.amounts);
        }
    }

    fn is_empty(&self) -> bool {
        self.copies == 0 || self.amounts.is_empty()
    }
}

/// A bag of resources; see the module's comment. Equality does not regard order.
#[derive(Clone, Default)]
pub struct Resources {
    /// No two divisible lots of the same kind, no two equal whole ones, none empty.
    lots: SmallVec<[Lot; 1]>,
}

/// What was to be subtracted is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} is not contained in {held}")]
pub struct NotContained {
    /// What there is.
    pub held: Box<Resources>,
    /// What was to be taken out of it.
    pub wanted: Box<Resources>,
}

impl Resources {
    /// Nothing.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.lots.is_empty()
    }

    /// The lots, in the order in which their kinds were first added.
    pub fn lots(&self) -> impl ExactSizeIterator<Item = &Lot> {
        self.lots.iter()
    }

    /// The single resources: lot by lot, within a lot cpus, gpus, mem, disk, ports, then the others by name. A shared volume comes as
    /// often as there are copies of it.
    pub fn iter(&self) -> impl Iterator<Item = Resource> + '_ {
        self.lots.iter().flat_map(|lot| {
            (0..lot.copies).flat_map(move |_| {
                lot.amounts.iter().map(|(name, value)| Resource {
                    name,
                    value,
                    kind: lot.kind.clone(),
                })
            })
        })
    }

    /// Adds one resource. Nothing of something is nothing.
    pub fn add_resource(&mut self, resource: Resource) {
        let amounts = Amounts::of(&resource.name, resource.value);
        self.add_lot(&Lot {
            kind: resource.kind,
            amounts,
            copies: 1,
        });
    }

    fn add_lot(&mut self, lot: &Lot) {
        if lot.is_empty() {
            return;
        }
        match self.lots.iter_mut().find(|own| own.matches(lot)) {
            Some(own) => own.add(lot),
            None => self.lots.push(lot.clone()),
        }
    }

    /// Whether all of `other` is in `self`: amounts by kind, whole things by identity and number of copies.
    pub fn contains(&self, other: &Resources) -> bool {
        other.lots.iter().all(|lot| {
            self.lots
                .iter()
                .any(|own| own.matches(lot) && own.contains(lot))
        })
    }

    /// `self - other`, or nothing if `other` is not contained.
    pub fn checked_sub(&self, other: &Resources) -> Option<Resources> {
        if !self.contains(other) {
            return None;
        }
        let mut rest = self.clone();
        rest.subtract_contained(other);
        Some(rest)
    }

    /// Takes `other` out, or changes nothing if it is not contained.
    pub fn try_subtract(&mut self, other: &Resources) -> Result<(), NotContained> {
        if !self.contains(other) {
            return Err(NotContained {
                held: Box::new(self.clone()),
                wanted: Box::new(other.clone()),
            });
        }
        self.subtract_contained(other);
        Ok(())
    }

    /// Takes out what there is of `other` and ignores the rest.
    pub fn subtract_overlap(&mut self, other: &Resources) {
        for lot in &other.lots {
            if let Some(own) = self.lots.iter_mut().find(|own| own.matches(lot)) {
                if own.kind.is_whole() {
                    own.subtract(lot);
                } else {
                    let overlap = own.amounts.intersection(&lot.amounts);
                    own.amounts.subtract(&overlap);
                }
            }
        }
        self.lots.retain(|lot| !lot.is_empty());
    }

    fn subtract_contained(&mut self, other: &Resources) {
        for lot in &other.lots {
            if let Some(at) = self.lots.iter().position(|own| own.matches(lot)) {
                self.lots[at].subtract(lot);
                if self.lots[at].is_empty() {
                    self.lots.remove(at);
                }
            }
        }
    }

    /// The scalars by name, whatever their kind. Shared things count once, other whole things as often as they are held.
    pub fn quantities(&self) -> Quantities {
        let mut sum = Quantities::new();
        for lot in &self.lots {
            let times = if lot.kind.is_shared() { 1 } else { lot.copies };
            for _ in 0..times {
                sum += &lot.amounts.scalars;
            }
        }
        sum
    }

    /// How much there is of one scalar, whatever its kind.
    pub fn scalar(&self, name: &Name) -> Scalar {
        self.quantities().get(name)
    }

    /// All ports, whatever their kind.
    pub fn ports(&self) -> Ranges {
        let mut ports = Ranges::new();
        for lot in &self.lots {
            ports.union_with(&lot.amounts.ports);
        }
        ports
    }

    /// The same resources with every kind changed; kinds that become equal merge.
    fn map_kinds<E>(
        &self,
        mut change: impl FnMut(&mut Kind) -> Result<(), E>,
    ) -> Result<Resources, E> {
        let mut out = Resources::new();
        for lot in &self.lots {
            let mut lot = lot.clone();
            change(&mut lot.kind)?;
            out.add_lot(&lot);
        }
        Ok(out)
    }

    /// Takes out the ports, and the items of other ranges and of sets, that `other` has of the same kind, allocations aside: what there is
    /// once and cannot be used twice. Whatever is counted stays.
    pub fn subtract_items(&mut self, other: &Resources) {
        for lot in &mut self.lots {
            for theirs in &other.lots {
                if !lot.kind.is_whole() && lot.kind.is_alike(&theirs.kind) {
                    lot.amounts.subtract_items(&theirs.amounts);
                }
            }
        }
        self.lots.retain(|lot| !lot.is_empty());
    }

    /// Allocates everything to `role`, whatever it was allocated to.
    pub fn allocate(&mut self, role: &Role) {
        self.reallocate(Some(role));
    }

    /// Takes away every allocation.
    pub fn unallocate(&mut self) {
        self.reallocate(None);
    }

    fn reallocate(&mut self, role: Option<&Role>) {
        let mixed = self
            .lots
            .iter()
            .any(|lot| lot.kind.allocation != self.lots[0].kind.allocation);
        for lot in &mut self.lots {
            lot.kind.allocation = role.cloned();
        }
        if mixed {
            let lots = std::mem::take(&mut self.lots);
            for lot in &lots {
                self.add_lot(lot);
            }
        }
    }

    /// A copy allocated to `role`.
    #[must_use]
    pub fn allocated_to(&self, role: &Role) -> Resources {
        let mut copy = self.clone();
        copy.allocate(role);
        copy
    }

    /// A copy without allocation.
    #[must_use]
    pub fn unallocated(&self) -> Resources {
        let mut copy = self.clone();
        copy.unallocate();
        copy
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Resources) -> bool {
        self.lots.len() == other.lots.len() && self.lots.iter().all(|lot| other.lots.contains(lot))
    }
}

impl Eq for Resources {}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        for lot in &other.lots {
            self.add_lot(lot);
        }
    }
}

impl AddAssign<Resource> for Resources {
    fn add_assign(&mut self, resource: Resource) {
        self.add_resource(resource);
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;
    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Resources {
        let mut resources = Resources::new();
        resources.add_resource(resource);
        resources
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Resources {
        let mut sum = Resources::new();
        sum.extend(resources);
        sum
    }
}

impl Extend<Resource> for Resources {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        for resource in resources {
            self.add_resource(resource);
        }
    }
}
