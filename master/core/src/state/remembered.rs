//! Agents that are not there any more, remembered in the order in which they went. Whole clusters go and return: nothing here costs more
//! the more are remembered, but for walking over all of them.

use std::collections::BTreeMap;
use std::hash::Hash;

use indexmap::Equivalent;
use tepui_model::AgentId;

use super::IndexMap;

/// What is known of agents that went, oldest first.
pub(crate) struct Remembered<V> {
    by_id: IndexMap<AgentId, (u64, V)>,
    by_age: BTreeMap<u64, AgentId>,
    next: u64,
}

impl<V> Remembered<V> {
    pub(crate) fn new(hash: ahash::RandomState) -> Self {
        Self {
            by_id: IndexMap::with_hasher(hash),
            by_age: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn contains_key<I: Hash + Equivalent<AgentId> + ?Sized>(&self, id: &I) -> bool {
        self.by_id.contains_key(id)
    }

    pub(crate) fn get<I: Hash + Equivalent<AgentId> + ?Sized>(&self, id: &I) -> Option<&V> {
        self.by_id.get(id).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<I: Hash + Equivalent<AgentId> + ?Sized>(
        &mut self,
        id: &I,
    ) -> Option<&mut V> {
        self.by_id.get_mut(id).map(|(_, value)| value)
    }

    /// The youngest from now on, whatever was known of it before.
    pub(crate) fn insert(&mut self, id: AgentId, value: V) {
        let age = self.next;
        self.next += 1;
        self.by_age.insert(age, id.clone());
        if let Some((older, _)) = self.by_id.insert(id, (age, value)) {
            self.by_age.remove(&older);
        }
    }

    pub(crate) fn remove<I: Hash + Equivalent<AgentId> + ?Sized>(&mut self, id: &I) -> Option<V> {
        let (age, value) = self.by_id.swap_remove(id)?;
        self.by_age.remove(&age);
        Some(value)
    }

    /// The oldest are taken out until there are at most this many.
    pub(crate) fn keep(&mut self, most: usize) -> Vec<AgentId> {
        let mut forgotten = Vec::new();
        while self.len() > most
            && let Some((_, id)) = self.by_age.pop_first()
        {
            self.by_id.swap_remove(&id);
            forgotten.push(id);
        }
        forgotten
    }

    /// Those that `out` names are taken out, in order.
    pub(crate) fn take(&mut self, out: impl Fn(&AgentId, &V) -> bool) -> Vec<AgentId> {
        let taken: Vec<AgentId> = self
            .by_age
            .values()
            .filter(|id| self.get(*id).is_some_and(|value| out(id, value)))
            .cloned()
            .collect();
        for id in &taken {
            self.remove(id);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(names: &[&str]) -> Remembered<usize> {
        let mut all = Remembered::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        for (at, name) in names.iter().enumerate() {
            all.insert(AgentId::new(name).expect("an id"), at);
        }
        all
    }

    fn names(ids: &[AgentId]) -> Vec<&str> {
        ids.iter().map(AgentId::as_str).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut all = remembered(&["a", "b", "c", "d", "b"]);
        assert_eq!(all.len(), 4);
        assert_eq!(all.remove("a"), Some(0));
        assert_eq!(all.remove("a"), None);
        assert_eq!(names(&all.keep(1)), ["c", "d"]);
        assert_eq!((all.get("b"), all.contains_key("d")), (Some(&4), false));
        assert!(all.keep(1).is_empty());
    }

    #[test]
    fn some_are_taken_in_order() {
        let mut all = remembered(&["d", "a", "c", "b"]);
        assert_eq!(names(&all.take(|_, at| at % 2 == 0)), ["d", "c"]);
        assert_eq!(names(&all.keep(0)), ["a", "b"]);
    }
}
