//! What is due when: at most one deadline for each key, so that the set is as bounded as what it is about.

use std::collections::{BTreeMap, BTreeSet};

use tepui_model::Time;

/// Deadlines by key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Set, or set anew.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        if let Some(old) = self.by_key.insert(key, at) {
            self.due.remove(&(old, key));
        }
        self.due.insert((at, key));
    }

    /// Set unless an earlier one stands.
    pub(crate) fn set_earlier(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.due.remove(&(old, key));
        }
    }

    /// Take the earliest that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_deadline_a_key() {
        let at = Time::from_secs;
        let mut timers = Timers::default();
        timers.set("a", at(3));
        timers.set("b", at(2));
        timers.set("a", at(1));
        timers.set_earlier("b", at(5));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(9)), Some("a"));
        assert_eq!(timers.pop_due(at(9)), Some("b"));
        assert_eq!(timers.pop_due(at(9)), None);
        timers.set("c", at(1));
        timers.cancel("c");
        assert_eq!(timers.next(), None);
    }
}
