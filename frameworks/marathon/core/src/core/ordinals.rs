//! Which instance of an app has which ordinal.
//!
//! Promises, for an app with ordinals: among the wanted instances of the current configuration each has another, the lowest that are
//! free, so `n` instances have 0 to `n - 1` when nothing is under way; an instance keeps its own as long as it is known, whatever becomes
//! of its tasks; a replacement has that of an instance that it replaces; none is launched while one that shall end still runs under its
//! ordinal. What goes first when there are too many: whoever shares an ordinal, then the highest. Whatever came about while agents were
//! away, ordinals are shared by none and below `n` in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::{AppState, Marathon};
use crate::{
    ended::Cause,
    instance::{Goal, Instance},
    path::PathId,
};

/// Of one app, by ordinal.
#[derive(Debug, Default)]
pub(super) struct Ordinals {
    holders: BTreeMap<u32, Holders>,
    /// Under which more than one is wanted.
    shared: BTreeSet<u32>,
}

#[derive(Debug, Default)]
struct Holders {
    /// Wanted, of the current configuration.
    new: BTreeSet<u64>,
    /// Of these, ready.
    ready: BTreeSet<u64>,
    /// Wanted, of another one.
    old: BTreeSet<u64>,
    /// Not wanted for now, with a place that they keep.
    kept: BTreeSet<u64>,
    /// Shall end, and may still run.
    leaving: BTreeSet<u64>,
}

/// All that ordinals depend on, of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    ordinal: u32,
    key: u64,
    new: bool,
    ready: bool,
    wanted: bool,
    kept: bool,
    active: bool,
}

impl Held {
    pub(super) fn of(instance: &Instance, new: bool, inactive: bool) -> Option<Self> {
        Some(Self {
            ordinal: instance.ordinal?,
            key: instance.key,
            new,
            ready: instance.goal == Goal::Running && instance.is_ready(),
            wanted: instance.goal == Goal::Running && !inactive,
            kept: instance.goal == Goal::Stopped,
            active: instance.condition.is_active(),
        })
    }
}

impl Ordinals {
    pub(super) fn change(&mut self, held: &Held, added: bool) {
        let holders = self.holders.entry(held.ordinal).or_default();
        let put = |set: &mut BTreeSet<u64>, holds: bool| {
            if holds && added {
                set.insert(held.key);
            } else if holds {
                set.remove(&held.key);
            }
        };
        put(&mut holders.new, held.wanted && held.new);
        put(&mut holders.ready, held.wanted && held.new && held.ready);
        put(&mut holders.old, held.wanted && !held.new);
        put(&mut holders.kept, held.kept);
        put(&mut holders.leaving, !held.wanted && held.active);
        if holders.new.len() + holders.old.len() > 1 {
            self.shared.insert(held.ordinal);
        } else {
            self.shared.remove(&held.ordinal);
        }
        if holders.is_empty() {
            self.holders.remove(&held.ordinal);
        }
    }

    /// The ordinal of one more instance where there shall be `target`: below that the lowest that nobody has, or else that of an instance
    /// that is to be replaced, or else the lowest that no other of the current configuration has.
    fn next(&self, target: u32) -> u32 {
        let lowest = |taken: fn(&Holders) -> bool| {
            let taken = self.holders.iter().filter(|(_, holders)| taken(holders));
            let mut free = 0;
            for (ordinal, _) in taken {
                if *ordinal > free {
                    break;
                }
                free = ordinal + 1;
            }
            free
        };
        let free = lowest(|one| !one.new.is_empty() || !one.old.is_empty() || !one.kept.is_empty());
        if free < target {
            return free;
        }
        let free = lowest(|one| !one.new.is_empty() || !one.old.is_empty());
        if free < target {
            return free;
        }
        lowest(|one| !one.new.is_empty())
    }

    /// Whether another instance of the current configuration is wanted under this ordinal.
    fn is_taken(&self, ordinal: u32, key: u64) -> bool {
        let holders = self.holders.get(&ordinal);
        holders.is_some_and(|one| one.new.iter().any(|other| *other != key))
    }

    /// Whether one that shall end still runs under this ordinal.
    fn is_left(&self, ordinal: u32, key: u64) -> bool {
        let holders = self.holders.get(&ordinal);
        holders.is_some_and(|one| one.leaving.iter().any(|other| *other != key))
    }

    /// Whether an old instance has its replacement: one of the current configuration that is ready.
    pub(super) fn is_replaced(&self, ordinal: u32) -> bool {
        self.holders
            .get(&ordinal)
            .is_some_and(|one| !one.ready.is_empty())
    }

    /// The ordinal of one more old instance, while both versions are kept up.
    fn next_old(&self) -> u32 {
        let taken = self.holders.iter().filter(|(_, one)| !one.old.is_empty());
        let mut free = 0;
        for (ordinal, _) in taken {
            if *ordinal > free {
                break;
            }
            free = ordinal + 1;
        }
        free
    }

    /// Wanted instances that share an ordinal, or have one that is too high, by ordinal.
    fn misplaced(&self, target: u32) -> Vec<(u32, Vec<u64>)> {
        let shared = self.shared.range(..target);
        let shared = shared.filter_map(|ordinal| self.holders.get_key_value(ordinal));
        let high = self.holders.range(target..);
        let both = shared.chain(high).map(|(ordinal, one)| {
            let keys = one.new.iter().chain(&one.old).copied();
            (*ordinal, keys.collect::<Vec<u64>>())
        });
        both.filter(|(_, keys)| !keys.is_empty()).collect()
    }
}

impl Holders {
    fn is_empty(&self) -> bool {
        let sets = [&self.new, &self.old, &self.kept, &self.leaving];
        sets.into_iter().all(BTreeSet::is_empty)
    }
}

impl AppState {
    /// The ordinal that one more instance gets; none of an app without.
    pub(super) fn next_ordinal(&self, current: bool) -> Option<u32> {
        let ordinals = self.ordinals.as_ref()?;
        Some(if current {
            ordinals.next(self.app().instances)
        } else {
            ordinals.next_old()
        })
    }

    /// Whether an instance that was stopped may go on under its ordinal: nobody has it, and there shall be so many.
    pub(super) fn may_resume(&self, instance: &Instance) -> bool {
        self.ordinals.as_ref().is_none_or(|ordinals| {
            let own = instance.ordinal.filter(|own| *own < self.app().instances);
            own.is_some_and(|own| {
                let holders = ordinals.holders.get(&own);
                holders.is_none_or(|one| one.new.is_empty() && one.old.is_empty())
            })
        })
    }

    /// The ordinal of an instance that gets the current configuration: its own, unless it has none or another is wanted under it.
    pub(super) fn ordinal_of(&self, instance: &Instance) -> Option<u32> {
        let ordinals = self.ordinals.as_ref()?;
        let own = instance.ordinal;
        own.filter(|own| !ordinals.is_taken(*own, instance.key))
            .or_else(|| Some(ordinals.next(self.app().instances)))
    }

    /// Whether an instance must not be launched yet, since one that shall end still runs under its ordinal.
    pub(super) fn awaits_ordinal(&self, instance: &Instance) -> bool {
        let ordinals = self.ordinals.as_ref();
        ordinals.is_some_and(|ordinals| {
            let own = instance.ordinal;
            own.is_some_and(|own| ordinals.is_left(own, instance.key))
        })
    }
}

impl Marathon {
    /// Ends those of an app with ordinals that share one or have one that is too high; others take the places that are free.
    pub(super) fn tidy_ordinals(&mut self, id: &PathId) {
        let Some(state) = self.apps.get(id) else {
            return;
        };
        let Some(ordinals) = &state.ordinals else {
            return;
        };
        let target = state.app().instances;
        let mut ended = Vec::new();
        for (ordinal, mut keys) in ordinals.misplaced(target) {
            let runs = |key: &u64| self.instance(*key).is_some_and(Instance::is_ready);
            keys.sort_by_key(|key| (!runs(key), *key));
            let stays = usize::from(ordinal < target);
            ended.extend(keys.into_iter().skip(stays));
        }
        for key in ended {
            self.retire(key, Cause::ScaledDown);
        }
    }

    /// Which instances wait for another to end, under whose ordinal they shall run.
    pub(super) fn reasons_of_ordinals(&self, state: &AppState) -> Vec<String> {
        if state.ordinals.is_none() {
            return Vec::new();
        }
        let waiting = state.scheduled.iter().filter_map(|key| self.instance(*key));
        let waiting = waiting.filter(|one| state.awaits_ordinal(one));
        let reasons = waiting.filter_map(|one| {
            let ordinal = one.ordinal?;
            Some(format!(
                "{} waits until the one before it under ordinal {ordinal} has ended",
                one.id
            ))
        });
        reasons.collect()
    }

    /// Old instances of an app with ordinals in the order in which they go: those that have their replacement, then from the highest down.
    pub(super) fn old_by_ordinal(&self, id: &PathId) -> Option<Vec<u64>> {
        let state = self.apps.get(id)?;
        let ordinals = state.ordinals.as_ref()?;
        let serving = state
            .old_serving
            .iter()
            .map(|(ready, _, key)| (*ready, *key));
        let ordinal = |key: &u64| self.instance(*key).and_then(|instance| instance.ordinal);
        let mut keys: Vec<(bool, u64)> = serving.collect();
        keys.sort_by_key(|(ready, key)| {
            let own = ordinal(key);
            let replaced = own.is_none_or(|own| ordinals.is_replaced(own));
            (*ready, !replaced, std::cmp::Reverse(own), *key)
        });
        Some(keys.into_iter().map(|(_, key)| key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_that_is_free_then_that_of_one_that_is_replaced() {
        // `n` a new one, `o` an old one, `k` one that is kept, `l` one that leaves.
        for (held, target, want) in [
            ("", 3, 0),
            ("n0 n1", 3, 2),
            ("n1 n2", 3, 0),
            ("o0 o1 o2", 3, 0),
            ("o0 o1 o2 n0", 3, 1),
            ("o0 o2", 3, 1),
            ("n0 n1 n2", 3, 3),
            ("n0 k1", 3, 2),
            ("n0 k1 k2", 3, 1),
            ("n0 l1", 3, 1),
            ("n0 o1", 1, 1),
        ] {
            let mut ordinals = Ordinals::default();
            for (key, text) in (1..).zip(held.split_whitespace()) {
                let (kind, ordinal) = text.split_at(1);
                let held = Held {
                    ordinal: ordinal.parse().expect("a number"),
                    key,
                    new: kind == "n",
                    ready: true,
                    wanted: kind == "n" || kind == "o",
                    kept: kind == "k",
                    active: true,
                };
                ordinals.change(&held, true);
                ordinals.change(&held, false);
                ordinals.change(&held, true);
            }
            assert_eq!(ordinals.next(target), want, "{held} of {target}");
        }
    }
}
