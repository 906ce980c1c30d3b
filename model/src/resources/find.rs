//! Choosing which of the resources at hand a request is served from.

use super::amounts::Amounts;
use super::{Kind, Lot, Resources};
use crate::Role;

/// How gladly a lot is given to a role: lower is first. `None`: not at all.
fn preference(kind: &Kind, role: &Role) -> Option<usize> {
    if kind.disk().is_some() || kind.is_shared() || kind.is_revocable() {
        return None;
    }
    match kind.reservation_role() {
        Some(owner) if role.may_use_reservation_of(owner) => {
            // The closest reservation first: what is reserved for the role itself is of use to fewest others.
            Some(role.components().count() - owner.components().count())
        }
        Some(_) => None,
        None => Some(usize::MAX),
    }
}

impl Resources {
    /// Finds `wanted` (names and amounts; its kinds do not matter) for a framework in `role`: first from what is reserved for
    /// the role, then for its ancestors from the nearest up, then from what is unreserved; one name may come from several.
    /// Volumes, special disks, shared and revocable resources are left alone. `None` if there is not enough.
    ///
    /// What is found is contained in `self`, allocations and reservations included, so that it can go into a task as it is.
    pub fn find(&self, wanted: &Resources, role: &Role) -> Option<Resources> {
        let mut missing = Amounts::default();
        for lot in wanted.lots() {
            missing.add(&lot.amounts);
        }
        let mut lots: Vec<(usize, &Lot)> = self
            .lots
            .iter()
            .filter_map(|lot| Some((preference(&lot.kind, role)?, lot)))
            .collect();
        lots.sort_by_key(|(preference, _)| *preference);
        let mut found = Resources::new();
        for (_, lot) in lots {
            if missing.is_empty() {
                break;
            }
            let amounts = lot.amounts.intersection(&missing);
            missing.subtract(&amounts);
            found.add_lot(&Lot {
                kind: lot.kind.clone(),
                amounts,
                copies: 1,
            });
        }
        missing.is_empty().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(held: &str, wanted: &str, role: &str) -> Option<String> {
        let held: Resources = held.parse().unwrap();
        let found = held.find(&wanted.parse().unwrap(), &role.parse().unwrap())?;
        assert!(held.contains(&found));
        Some(found.to_string())
    }

    #[test]
    fn the_closest_reservation_first() {
        let held = "cpus:4;cpus(a):1;cpus(a/b):1;cpus(c):9;ports:[1-9];ports(a):[20-29]";
        for (wanted, role, expected) in [
            ("cpus:1", "x", Some("cpus:1")),
            ("cpus:5", "x", None),
            (
                "cpus:1",
                "a/b",
                Some("cpus(reservations: [(STATIC,a/b)]):1"),
            ),
            (
                "cpus:2.5",
                "a/b",
                Some(
                    "cpus(reservations: [(STATIC,a/b)]):1; cpus(reservations: [(STATIC,a)]):1; cpus:0.5",
                ),
            ),
            ("cpus:6", "a", None),
            (
                "ports:[3-4, 21-21]",
                "a",
                Some("ports(reservations: [(STATIC,a)]):[21-21]; ports:[3-4]"),
            ),
            ("ports:[21-21]", "x", None),
            ("", "x", Some("")),
        ] {
            assert_eq!(
                find(held, wanted, role).as_deref(),
                expected,
                "{wanted} for {role}"
            );
        }
    }
}
