//! Quota: what a top-level role is sure of, and what it may have at most.
//!
//! A role consumes what is reserved for it or below it, used or not, and the unreserved, non-revocable scalars that it holds. While it has
//! less than its guarantee, the difference is kept free somewhere in the cluster: nobody else may have unreserved scalars beyond the
//! *surplus*, which is all that is free less all that is still guaranteed.

use super::api::Quota;
use std::collections::BTreeMap;
use tepui_model::resources::{Kind, Name, Scalar};
use tepui_model::{Quantities, Resources, Role};

/// Whether a lot's scalars count as taken from what all share.
pub(super) fn is_common(kind: &Kind) -> bool {
    !kind.is_reserved() && !kind.is_revocable()
}

/// The scalars that count as taken from what all share.
pub(super) fn common(resources: &Resources) -> Quantities {
    let mut sum = Quantities::new();
    for lot in resources.lots().filter(|lot| is_common(lot.kind())) {
        for _ in 0..lot.copies() {
            sum += lot.scalars();
        }
    }
    sum
}

/// The role whose quota a reservation counts against.
fn reservation(kind: &Kind) -> Option<&Role> {
    kind.reservation_role().filter(|_| !kind.is_revocable())
}

/// The scalars that are reserved for a top-level role or below it.
pub(super) fn reserved_below(total: &Resources, top: &Role) -> Quantities {
    let mut sum = Quantities::new();
    for lot in total
        .lots()
        .filter(|lot| reservation(lot.kind()).is_some_and(|role| role.top() == top.as_str()))
    {
        sum += lot.scalars();
    }
    sum
}

/// What a role with quota consumes.
#[derive(Debug, Default)]
struct Book {
    quota: Quota,
    /// Unreserved and held.
    held: Quantities,
    /// Reserved on any agent.
    reserved: Quantities,
    /// An offer was cut short by the limit: when the role consumes less, its frameworks want to know.
    limited: bool,
}

impl Book {
    fn missing(&self) -> Quantities {
        self.quota
            .guarantees
            .clone()
            .saturating_sub(&self.held)
            .saturating_sub(&self.reserved)
    }

    /// What is left of a limit.
    fn left(&self, name: &Name, limit: Scalar) -> Scalar {
        (limit - self.held.get(name) - self.reserved.get(name)).max(Scalar::ZERO)
    }
}

/// The books of all roles with quota. While there are none, nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    by_role: BTreeMap<Role, Book>,
    /// What is free and common on active agents.
    free: Quantities,
    /// An offer was cut short to keep guarantees; with the surplus at the time. When that grows, everybody wants to know.
    held_back: Option<Quantities>,
}

/// How much a role may be offered of what all share.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// The most it may have; absent names are not bounded.
    pub(super) caps: Vec<(Name, Scalar)>,
    /// The names of which the bound is its limit (otherwise it is the guarantees of others).
    pub(super) limits: Vec<Name>,
    /// What is missing to its guarantee.
    pub(super) missing: Quantities,
}

impl Quotas {
    pub(super) fn is_empty(&self) -> bool {
        self.by_role.is_empty()
    }

    fn book(&mut self, role: &Role) -> Option<&mut Book> {
        self.by_role.get_mut(role.top())
    }

    /// Sets a role's quota and starts its books from these sums.
    pub(super) fn set(
        &mut self,
        role: &Role,
        quota: &Quota,
        held: Quantities,
        reserved: Quantities,
    ) {
        if *quota == Quota::default() {
            self.by_role.remove(role);
        } else {
            self.by_role.insert(
                role.clone(),
                Book {
                    quota: quota.clone(),
                    held,
                    reserved,
                    limited: false,
                },
            );
        }
        self.held_back = None;
        if self.by_role.is_empty() {
            self.free = Quantities::new();
        }
    }

    /// A framework in `role` holds more, or less.
    pub(super) fn change_held(&mut self, role: &Role, before: &Quantities, after: &Quantities) {
        if let Some(book) = self.book(role) {
            book.held -= before;
            book.held += after;
        }
    }

    /// An agent has other reservations than before.
    pub(super) fn change_reserved(&mut self, before: &Resources, after: &Resources) {
        for lot in before.lots() {
            if let Some(book) = reservation(lot.kind()).and_then(|role| self.book(role)) {
                book.reserved -= lot.scalars();
            }
        }
        for lot in after.lots() {
            if let Some(book) = reservation(lot.kind()).and_then(|role| self.book(role)) {
                book.reserved += lot.scalars();
            }
        }
    }

    /// More or less is free on an agent.
    pub(super) fn change_free(&mut self, before: &Quantities, after: &Quantities) {
        self.free -= before;
        self.free += after;
    }

    /// What is still guaranteed to anybody.
    fn missing(&self) -> Quantities {
        let mut sum = Quantities::new();
        self.by_role
            .values()
            .for_each(|book| sum += &book.missing());
        sum
    }

    fn surplus(&self) -> Quantities {
        self.free.clone().saturating_sub(&self.missing())
    }

    /// Whether a role has less than it is sure of.
    pub(super) fn is_owed(&self, role: &Role) -> bool {
        self.by_role
            .get(role.top())
            .is_some_and(|book| !book.missing().is_empty())
    }

    /// How much a framework in `role` may be offered if no guarantee of others stood against it.
    pub(super) fn limits(&self, role: &Role) -> Allowance {
        let mut allowance = Allowance::default();
        if let Some(book) = self.by_role.get(role.top()) {
            for (name, limit) in &book.quota.limits {
                allowance.caps.push((name.clone(), book.left(name, *limit)));
            }
        }
        allowance
    }

    /// How much a framework in `role` may be offered.
    pub(super) fn allowance(&self, role: &Role) -> Allowance {
        let book = self.by_role.get(role.top());
        let mut allowance = Allowance {
            missing: book.map_or_else(Quantities::new, Book::missing),
            ..Allowance::default()
        };
        let surplus = self.surplus();
        for (name, _) in self.missing().iter() {
            allowance.caps.push((
                name.clone(),
                surplus.get(&name) + allowance.missing.get(&name),
            ));
        }
        for (book, (name, limit)) in book
            .iter()
            .flat_map(|book| book.quota.limits.iter().map(move |limit| (book, limit)))
        {
            let left = book.left(name, *limit);
            match allowance.caps.iter_mut().find(|(other, _)| other == name) {
                Some((_, cap)) if *cap <= left => continue,
                Some((_, cap)) => *cap = left,
                None => allowance.caps.push((name.clone(), left)),
            }
            allowance.limits.push(name.clone());
        }
        allowance
    }

    /// An offer to a framework in `role` was cut short.
    pub(super) fn note_cut(&mut self, role: &Role, by_limit: bool) {
        if !by_limit {
            let surplus = self.surplus();
            self.held_back = Some(
                self.held_back
                    .take()
                    .map_or(surplus.clone(), |seen| seen.min(&surplus)),
            );
        } else if let Some(book) = self.book(role) {
            book.limited = true;
        }
    }

    /// Whether an offer to the role was cut short by its limit; asked when it consumes less, and then forgotten.
    pub(super) fn take_limited(&mut self, role: &Role) -> bool {
        self.book(role)
            .is_some_and(|book| std::mem::take(&mut book.limited))
    }

    /// Whether the surplus has grown since offers were cut short for it; then that is forgotten.
    pub(super) fn take_grown(&mut self) -> bool {
        let grown = self
            .held_back
            .as_ref()
            .is_some_and(|seen| !seen.contains(&self.surplus()));
        if grown {
            self.held_back = None;
        }
        grown
    }
}
