//! Parts of resources, and moving them up and down the reservation stack.

use super::kind::{DiskInfo, Kind, Reservation};
use super::resource::{Name, ResourceError};
use super::{Lot, Resources, Scalar};
use crate::Role;
use std::collections::BTreeSet;

impl Resources {
    /// The lots of which `keep` holds.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Kind) -> bool) -> Resources {
        Resources {
            lots: self
                .lots
                .iter()
                .filter(|lot| keep(&lot.kind))
                .cloned()
                .collect(),
        }
    }

    /// Drops the lots of which `keep` does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&Lot) -> bool) {
        self.lots.retain(|lot| keep(lot));
    }

    /// What is reserved for exactly `role`.
    #[must_use]
    pub fn reserved_for(&self, role: &Role) -> Resources {
        self.filter(|kind| kind.reservation_role() == Some(role))
    }

    /// What is reserved for anybody.
    #[must_use]
    pub fn reserved(&self) -> Resources {
        self.filter(Kind::is_reserved)
    }

    /// What is not reserved.
    #[must_use]
    pub fn unreserved(&self) -> Resources {
        self.filter(|kind| !kind.is_reserved())
    }

    /// What a framework in `role` may have: unreserved, or reserved for `role` or an ancestor of it.
    #[must_use]
    pub fn available_to(&self, role: &Role) -> Resources {
        self.filter(|kind| kind.is_available_to(role))
    }

    /// What may be taken back at any time.
    #[must_use]
    pub fn revocable(&self) -> Resources {
        self.filter(Kind::is_revocable)
    }

    /// What may not.
    #[must_use]
    pub fn non_revocable(&self) -> Resources {
        self.filter(|kind| !kind.is_revocable())
    }

    /// Shared volumes.
    #[must_use]
    pub fn shared(&self) -> Resources {
        self.filter(Kind::is_shared)
    }

    /// Everything but shared volumes.
    #[must_use]
    pub fn non_shared(&self) -> Resources {
        self.filter(|kind| !kind.is_shared())
    }

    /// Persistent volumes.
    #[must_use]
    pub fn persistent_volumes(&self) -> Resources {
        self.filter(Kind::is_persistent_volume)
    }

    /// What is allocated to `role`.
    #[must_use]
    pub fn allocation_of(&self, role: &Role) -> Resources {
        self.filter(|kind| kind.allocation_role() == Some(role))
    }

    /// The roles that something is reserved for, sorted.
    pub fn reservation_roles(&self) -> BTreeSet<Role> {
        self.lots
            .iter()
            .filter_map(|lot| lot.kind.reservation_role().cloned())
            .collect()
    }

    /// The roles that something is allocated to, sorted.
    pub fn allocation_roles(&self) -> BTreeSet<Role> {
        self.lots
            .iter()
            .filter_map(|lot| lot.kind.allocation_role().cloned())
            .collect()
    }

    /// Only the scalars.
    #[must_use]
    pub fn scalars(&self) -> Resources {
        self.map_amounts(|lot| lot.amounts.retain_scalars())
    }

    /// Only resources with a name that `keep` holds for.
    #[must_use]
    pub fn named(&self, keep: impl Fn(&Name) -> bool) -> Resources {
        self.map_amounts(|lot| lot.amounts.retain(&keep))
    }

    /// The part in which the lots that `counts` holds for have together at most so much of each of these scalars. What is one
    /// piece and too large goes as a whole; names that are not listed are not bounded.
    #[must_use]
    pub fn capped(&self, caps: &[(Name, Scalar)], counts: impl Fn(&Kind) -> bool) -> Resources {
        let mut out = self.clone();
        let mut left: Vec<(&Name, Scalar)> = caps
            .iter()
            .map(|(name, cap)| (name, (*cap).max(Scalar::ZERO)))
            .collect();
        out.lots.retain(|lot| {
            if !counts(&lot.kind) {
                return true;
            }
            if lot.kind.is_whole()
                && left
                    .iter()
                    .any(|(name, left)| lot.amounts.scalars.get(name) > *left)
            {
                return false;
            }
            for (name, left) in &mut left {
                let kept = lot.amounts.scalars.get(name).min(*left);
                lot.amounts.scalars.set(name, kept);
                *left -= kept;
            }
            !lot.is_empty()
        });
        out
    }

    fn map_amounts(&self, change: impl Fn(&mut Lot)) -> Resources {
        let mut out = self.clone();
        out.lots.iter_mut().for_each(change);
        out.lots.retain(|lot| !lot.is_empty());
        out
    }

    /// Everything with one more level of reservation, as RESERVE does.
    pub fn push_reservation(&self, reservation: &Reservation) -> Result<Resources, ResourceError> {
        self.map_kinds(|kind| kind.push_reservation(reservation.clone()))
    }

    /// Everything with one level of reservation less, as UNRESERVE does.
    pub fn pop_reservation(&self) -> Result<Resources, ResourceError> {
        if let Some(lot) = self.lots.iter().find(|lot| !lot.kind.is_reserved()) {
            let name = lot
                .amounts
                .iter()
                .next()
                .map_or(Name::Disk, |(name, _)| name);
            return Err(ResourceError::NotReserved(name));
        }
        self.map_kinds(|kind| {
            kind.edit(|traits| drop(traits.reservations.pop()));
            Ok(())
        })
    }

    /// The disks behind persistent volumes, as DESTROY leaves them: without persistence, use and sharing. Everything else stays as
    /// it is. Of a shared volume there is one disk, however many copies there are.
    #[must_use]
    pub fn without_persistence(&self) -> Resources {
        let mut out = Resources::new();
        for lot in &self.lots {
            let mut lot = lot.clone();
            if lot.kind.is_persistent_volume() {
                if lot.kind.is_shared() {
                    lot.copies = 1;
                }
                lot.kind.edit(|traits| {
                    traits.shared = false;
                    let source = traits.disk.take().and_then(|disk| disk.source);
                    traits.disk = source.map(|source| DiskInfo {
                        source: Some(source),
                        ..DiskInfo::default()
                    });
                });
            }
            out.add_lot(&lot);
        }
        out
    }

    /// Everything without any reservation.
    #[must_use]
    pub fn to_unreserved(&self) -> Resources {
        let mut out = Resources::new();
        for lot in &self.lots {
            let mut lot = lot.clone();
            if lot.kind.is_reserved() {
                lot.kind.edit(|traits| traits.reservations.clear());
            }
            out.add_lot(&lot);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DiskSource, DiskSourceKind, Persistence, Resource};
    use super::*;

    #[test]
    fn volumes_become_disks_again() {
        let volume = |id: &str, source: Option<DiskSource>| {
            let disk = DiskInfo {
                persistence: Some(Persistence {
                    id: id.into(),
                    principal: None,
                }),
                volume: None,
                source,
            };
            let role = Role::new("eng").unwrap();
            let disk = Resource::scalar(Name::Disk, 5.0).unwrap().with_disk(disk);
            disk.unwrap().reserved(Reservation::dynamic(role)).unwrap()
        };
        let mount = DiskSource {
            root: Some("/mnt".into()),
            ..DiskSource::new(DiskSourceKind::Mount)
        };
        let shared = volume("c", None).shared().unwrap();
        let held: Resources = [
            volume("a", None),
            volume("b", None),
            shared.clone(),
            shared,
            volume("d", Some(mount)),
            "cpus:1"
                .parse::<Resources>()
                .unwrap()
                .iter()
                .next()
                .unwrap(),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            held.without_persistence().to_string(),
            "disk(reservations: [(DYNAMIC,eng)]):15; disk(reservations: [(DYNAMIC,eng)])[MOUNT:/mnt]:5; cpus:1"
        );
    }

    #[test]
    fn caps_bound_the_sum_of_what_counts() {
        let held: Resources = "cpus:4;mem:100;ports:[1-9];cpus(eng):3".parse().unwrap();
        for (cap, expected) in [
            (
                1,
                "cpus:1; mem:100; ports:[1-9]; cpus(reservations: [(STATIC,eng)]):3",
            ),
            (
                9,
                "cpus:4; mem:100; ports:[1-9]; cpus(reservations: [(STATIC,eng)]):3",
            ),
            (
                -1,
                "mem:100; ports:[1-9]; cpus(reservations: [(STATIC,eng)]):3",
            ),
        ] {
            let capped = held.capped(&[(Name::Cpus, Scalar::whole(cap))], |kind| {
                !kind.is_reserved()
            });
            assert_eq!(capped.to_string(), expected);
        }
        let all = held.capped(&[(Name::Cpus, Scalar::whole(5))], |_| true);
        assert_eq!(all.scalar(&Name::Cpus), Scalar::whole(5));
    }
}
