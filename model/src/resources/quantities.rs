//! Sums of scalars by name, whatever their kind: what fair shares, quota and minimal offers are reckoned in.

use super::Name;
use super::scalar::Scalar;
use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

/// How many scalar names have a fixed place.
const KNOWN: usize = 4;
/// Their names, by place.
const KNOWN_NAMES: [Name; KNOWN] = [Name::Cpus, Name::Gpus, Name::Mem, Name::Disk];

/// A name-to-amount map in which absent means zero. The four common names have a fixed place; others cost an allocation.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Quantities {
    known: [Scalar; KNOWN],
    /// The other names; `None` instead of empty, so that equality can be derived.
    other: Option<Box<Others>>,
}

/// Sorted by name, without zeros.
#[derive(Clone, PartialEq, Eq, Default)]
struct Others(Vec<(Arc<str>, Scalar)>);

fn place(name: &Name) -> Option<usize> {
    match name {
        Name::Cpus => Some(0),
        Name::Gpus => Some(1),
        Name::Mem => Some(2),
        Name::Disk => Some(3),
        Name::Ports | Name::Other(_) => None,
    }
}

impl Quantities {
    /// Nothing of anything.
    pub fn new() -> Quantities {
        Quantities::default()
    }

    /// How much there is of `name`.
    pub fn get(&self, name: &Name) -> Scalar {
        match place(name) {
            Some(place) => self.known[place],
            None => self.get_other(name.as_str()),
        }
    }

    fn get_other(&self, name: &str) -> Scalar {
        self.other.as_ref().map_or(Scalar::ZERO, |others| {
            others
                .0
                .binary_search_by(|(other, _)| (**other).cmp(name))
                .map_or(Scalar::ZERO, |at| others.0[at].1)
        })
    }

    /// Sets the amount of `name`; zero removes it.
    pub fn set(&mut self, name: &Name, amount: Scalar) {
        match place(name) {
            Some(place) => self.known[place] = amount,
            None => self.set_other(name.as_str(), amount),
        }
    }

    fn set_other(&mut self, name: &str, amount: Scalar) {
        if amount.is_zero() && self.other.is_none() {
            return;
        }
        let others = &mut self.other.get_or_insert_default().0;
        match (
            others.binary_search_by(|(other, _)| (**other).cmp(name)),
            amount.is_zero(),
        ) {
            (Ok(at), true) => drop(others.remove(at)),
            (Ok(at), false) => others[at].1 = amount,
            (Err(_), true) => {}
            (Err(at), false) => others.insert(at, (Arc::from(name), amount)),
        }
        if others.is_empty() {
            self.other = None;
        }
    }

    /// The same, for fluent construction.
    #[must_use]
    pub fn with(mut self, name: &Name, amount: Scalar) -> Quantities {
        self.set(name, amount);
        self
    }

    /// Whether there is nothing of anything.
    pub fn is_empty(&self) -> bool {
        self.other.is_none() && self.known == [Scalar::ZERO; KNOWN]
    }

    /// The names with a non-zero amount: cpus, gpus, mem, disk, then the others by name.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Scalar)> + '_ {
        let known = KNOWN_NAMES.iter().cloned().zip(self.known);
        let others = self.other.iter().flat_map(|others| others.0.iter());
        known
            .filter(|(_, amount)| !amount.is_zero())
            .chain(others.map(|(name, amount)| (Name::Other(Arc::clone(name)), *amount)))
    }

    /// Whether of every name there is at least as much as in `other`.
    pub fn contains(&self, other: &Quantities) -> bool {
        self.known
            .iter()
            .zip(&other.known)
            .all(|(ours, theirs)| ours >= theirs)
            && (self.other.is_none() && other.other.is_none() || self.contains_others(other))
    }

    fn contains_others(&self, other: &Quantities) -> bool {
        let names = |q: &Quantities| {
            q.other.as_ref().map_or(Vec::new(), |o| {
                o.0.iter().map(|(n, _)| Arc::clone(n)).collect()
            })
        };
        names(other)
            .iter()
            .chain(&names(self))
            .all(|name| self.get_other(name) >= other.get_other(name))
    }

    /// Applies `combine` to both amounts of every name that either has.
    fn merge(&mut self, other: &Quantities, combine: impl Fn(Scalar, Scalar) -> Scalar) {
        for (ours, theirs) in self.known.iter_mut().zip(&other.known) {
            *ours = combine(*ours, *theirs);
        }
        if self.other.is_none() && other.other.is_none() {
            return;
        }
        let ours = self.other.take().map_or(Vec::new(), |others| others.0);
        let theirs: &[(Arc<str>, Scalar)] = other.other.as_ref().map_or(&[], |others| &others.0);
        for (name, amount) in &ours {
            let theirs = other.get_other(name);
            self.set_other(name, combine(*amount, theirs));
        }
        for (name, amount) in theirs {
            if ours.binary_search_by(|(other, _)| other.cmp(name)).is_err() {
                self.set_other(name, combine(Scalar::ZERO, *amount));
            }
        }
    }

    /// Of every name the smaller amount.
    #[must_use]
    pub fn min(mut self, other: &Quantities) -> Quantities {
        self.merge(other, Scalar::min);
        self
    }

    /// `self - other`, but never less than zero of anything.
    #[must_use]
    pub fn saturating_sub(mut self, other: &Quantities) -> Quantities {
        self.merge(other, |ours, theirs| (ours - theirs).max(Scalar::ZERO));
        self
    }

    /// The largest of `self[name] / total[name]` over all names for which `counts` holds: the dominant share. What the total lacks
    /// does not count.
    pub fn dominant_share(&self, total: &Quantities, counts: impl Fn(&Name) -> bool) -> f64 {
        let mut share: f64 = 0.0;
        let mut consider = |name: &Name, ours: Scalar, all: Scalar| {
            if all > Scalar::ZERO && counts(name) {
                share = share.max(ours.thousandths() as f64 / all.thousandths() as f64);
            }
        };
        for (name, (ours, all)) in KNOWN_NAMES.iter().zip(self.known.iter().zip(total.known)) {
            consider(name, *ours, all);
        }
        if let Some(others) = &self.other {
            for (name, ours) in &others.0 {
                consider(&Name::Other(Arc::clone(name)), *ours, total.get_other(name));
            }
        }
        share
    }
}

impl AddAssign<&Quantities> for Quantities {
    fn add_assign(&mut self, other: &Quantities) {
        self.merge(other, |ours, theirs| ours + theirs);
    }
}

impl SubAssign<&Quantities> for Quantities {
    /// May go below zero: the difference of two sums.
    fn sub_assign(&mut self, other: &Quantities) {
        self.merge(other, |ours, theirs| ours - theirs);
    }
}

impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            write!(f, "{name}:{amount}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(cpus: i64, bandwidth: i64) -> Quantities {
        Quantities::new()
            .with(&Name::Cpus, Scalar::whole(cpus))
            .with(&Name::from("bandwidth"), Scalar::whole(bandwidth))
    }

    #[test]
    fn absent_is_zero() {
        let mut sum = q(1, 2);
        sum += &q(2, 3);
        assert_eq!(sum, q(3, 5));
        sum -= &q(3, 0);
        assert_eq!(sum.to_string(), "bandwidth:5");
        sum -= &q(0, 5);
        assert!(sum.is_empty());
        sum -= &q(0, 1);
        assert_eq!(sum.get(&Name::from("bandwidth")), Scalar::whole(-1));
        assert!(Quantities::new().contains(&sum) && !sum.contains(&Quantities::new()));
    }

    #[test]
    fn comparisons_and_shares() {
        assert!(q(2, 2).contains(&q(2, 1)));
        assert!(!q(2, 2).contains(&q(1, 3)));
        assert!(!q(2, 0).contains(&q(1, 1)));
        assert_eq!(q(2, 5).min(&q(3, 4)), q(2, 4));
        assert_eq!(q(2, 5).min(&q(3, 0)), q(2, 0));
        assert_eq!(q(2, 5).saturating_sub(&q(3, 4)), q(0, 1));
        assert_eq!(q(1, 1).dominant_share(&q(4, 2), |_| true), 0.5);
        assert_eq!(
            q(1, 1).dominant_share(&q(4, 2), |name| *name == Name::Cpus),
            0.25
        );
        assert_eq!(q(1, 1).dominant_share(&q(4, 0), |_| true), 0.25);
    }
}
