//! How much there is of every name, within one kind.

use super::quantities::Quantities;
use super::ranges::Ranges;
use super::resource::{Name, Set, Value};
use super::scalar::Scalar;
use std::sync::Arc;

/// Scalars and ports in place; everything rarer behind one pointer.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    pub(super) scalars: Quantities,
    pub(super) ports: Ranges,
    /// `None` instead of empty, so that equality can be derived.
    rare: Option<Box<Rare>>,
}

/// Ranges and sets of uncommon names, sorted by name, none empty.
#[derive(Clone, PartialEq, Eq, Default)]
struct Rare {
    ranges: Vec<(Arc<str>, Ranges)>,
    sets: Vec<(Arc<str>, Set)>,
}

/// What a sorted list by name holds under `name`.
fn find<'a, T>(list: &'a [(Arc<str>, T)], name: &str) -> Option<&'a T> {
    list.binary_search_by(|(other, _)| (**other).cmp(name))
        .ok()
        .map(|at| &list[at].1)
}

/// The entry of `name` in a sorted list, made if missing.
fn entry<'a, T: Default>(list: &'a mut Vec<(Arc<str>, T)>, name: &Arc<str>) -> &'a mut T {
    let at = match list.binary_search_by(|(other, _)| other.cmp(name)) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, (Arc::clone(name), T::default()));
            at
        }
    };
    &mut list[at].1
}

impl Amounts {
    /// The amount of one resource.
    pub(super) fn of(name: &Name, value: Value) -> Amounts {
        let mut amounts = Amounts::default();
        match (name, value) {
            (_, Value::Scalar(scalar)) => amounts.scalars.set(name, scalar),
            (Name::Ports, Value::Ranges(ranges)) => amounts.ports = ranges,
            (_, Value::Ranges(ranges)) => {
                amounts.edit(|rare| *entry(&mut rare.ranges, &Arc::from(name.as_str())) = ranges)
            }
            (_, Value::Set(set)) => {
                amounts.edit(|rare| *entry(&mut rare.sets, &Arc::from(name.as_str())) = set)
            }
        }
        amounts
    }

    /// Changes the rare part and restores its invariants.
    fn edit(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().unwrap_or_default();
        change(&mut rare);
        rare.ranges.retain(|(_, ranges)| !ranges.is_empty());
        rare.sets.retain(|(_, set)| !set.0.is_empty());
        self.rare = (!rare.ranges.is_empty() || !rare.sets.is_empty()).then_some(rare);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rare.is_none() && self.ports.is_empty() && self.scalars.is_empty()
    }

    pub(super) fn add(&mut self, other: &Amounts) {
        self.scalars += &other.scalars;
        self.ports.union_with(&other.ports);
        if let Some(theirs) = &other.rare {
            self.edit(|rare| {
                for (name, ranges) in &theirs.ranges {
                    entry(&mut rare.ranges, name).union_with(ranges);
                }
                for (name, set) in &theirs.sets {
                    entry(&mut rare.sets, name).0.extend(set.0.iter().cloned());
                }
            });
        }
    }

    pub(super) fn contains(&self, other: &Amounts) -> bool {
        self.scalars.contains(&other.scalars)
            && self.ports.contains(&other.ports)
            && other.rare.as_ref().is_none_or(|theirs| {
                self.rare.as_ref().is_some_and(|ours| {
                    theirs.ranges.iter().all(|(name, set)| {
                        find(&ours.ranges, name).is_some_and(|own| own.contains(set))
                    }) && theirs.sets.iter().all(|(name, set)| {
                        find(&ours.sets, name).is_some_and(|own| own.0.is_superset(&set.0))
                    })
                })
            })
    }

    /// Takes out the items of ranges and sets that `other` has.
    pub(super) fn subtract_items(&mut self, other: &Amounts) {
        if !self.ports.is_empty() {
            self.ports.subtract(&other.ports);
        }
        if let (Some(_), Some(theirs)) = (&self.rare, &other.rare) {
            self.edit(|rare| {
                for (name, ranges) in &theirs.ranges {
                    entry(&mut rare.ranges, name).subtract(ranges);
                }
                for (name, set) in &theirs.sets {
                    let own = &mut entry(&mut rare.sets, name).0;
                    own.retain(|item| !set.0.contains(item));
                }
            });
        }
    }

    /// Takes `other` out, which must be contained.
    pub(super) fn subtract(&mut self, other: &Amounts) {
        self.scalars -= &other.scalars;
        self.ports.subtract(&other.ports);
        if let Some(theirs) = &other.rare {
            self.edit(|rare| {
                for (name, ranges) in &theirs.ranges {
                    entry(&mut rare.ranges, name).subtract(ranges);
                }
                for (name, set) in &theirs.sets {
                    entry(&mut rare.sets, name)
                        .0
                        .retain(|item| !set.0.contains(item));
                }
            });
        }
    }

    /// Of every name what is in both.
    pub(super) fn intersection(&self, other: &Amounts) -> Amounts {
        let mut both = Amounts {
            scalars: self.scalars.clone().min(&other.scalars),
            ports: self.ports.intersection(&other.ports),
            rare: None,
        };
        if let (Some(ours), Some(theirs)) = (&self.rare, &other.rare) {
            both.edit(|rare| {
                for (name, ranges) in &ours.ranges {
                    if let Some(other) = find(&theirs.ranges, name) {
                        *entry(&mut rare.ranges, name) = ranges.intersection(other);
                    }
                }
                for (name, set) in &ours.sets {
                    if let Some(other) = find(&theirs.sets, name) {
                        entry(&mut rare.sets, name).0 =
                            set.0.intersection(&other.0).cloned().collect();
                    }
                }
            });
        }
        both
    }

    /// Keeps only what `keep` holds for.
    pub(super) fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        let names: Vec<Name> = self.scalars.iter().map(|(name, _)| name).collect();
        for name in names.iter().filter(|name| !keep(name)) {
            self.scalars.set(name, Scalar::ZERO);
        }
        if !keep(&Name::Ports) {
            self.ports = Ranges::new();
        }
        if self.rare.is_some() {
            self.edit(|rare| {
                rare.ranges
                    .retain(|(name, _)| keep(&Name::Other(Arc::clone(name))));
                rare.sets
                    .retain(|(name, _)| keep(&Name::Other(Arc::clone(name))));
            });
        }
    }

    /// Drops ranges and sets.
    pub(super) fn retain_scalars(&mut self) {
        self.ports = Ranges::new();
        self.rare = None;
    }

    /// Every name with its value: cpus, gpus, mem, disk, ports, then the others.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, Value)> + '_ {
        let scalars = || {
            self.scalars
                .iter()
                .map(|(name, scalar)| (name, Value::Scalar(scalar)))
        };
        let common = |name: &Name| !matches!(name, Name::Other(_));
        let ports =
            (!self.ports.is_empty()).then(|| (Name::Ports, Value::Ranges(self.ports.clone())));
        let rare = self.rare.iter().flat_map(|rare| {
            let ranges = rare.ranges.iter().map(|(name, ranges)| {
                (Name::Other(Arc::clone(name)), Value::Ranges(ranges.clone()))
            });
            let sets = rare
                .sets
                .iter()
                .map(|(name, set)| (Name::Other(Arc::clone(name)), Value::Set(set.clone())));
            ranges.chain(sets)
        });
        scalars()
            .filter(move |(name, _)| common(name))
            .chain(ports)
            .chain(scalars().filter(move |(name, _)| !common(name)))
            .chain(rare)
    }
}
