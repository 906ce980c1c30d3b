//! Dense storage with handles that outlive what they point to: indices for the hot path, generations for the door.

/// Values at small indices that are reused after removal.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Stores a value; returns its index and generation.
    pub(super) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(index) = self.vacant.pop() {
            let entry = &mut self.entries[index as usize];
            entry.value = Some(value);
            return (index, entry.generation);
        }
        let index =
            u32::try_from(self.entries.len()).expect("fewer than 2^32 entries fit into memory");
        self.entries.push(Entry {
            generation: 0,
            value: Some(value),
        });
        (index, 0)
    }

    /// Takes a value out; its handle is void from now on.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.vacant.push(index);
        Some(value)
    }

    /// The index of a handle, if what it points to is still there.
    pub(super) fn resolve(&self, (index, generation): (u32, u32)) -> Option<u32> {
        let entry = self.entries.get(index as usize)?;
        (entry.generation == generation && entry.value.is_some()).then_some(index)
    }

    /// The generation that a handle to this index has to have.
    pub(super) fn generation(&self, index: u32) -> u32 {
        self.entries[index as usize].generation
    }

    /// What is at an index, if anything.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.value.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.value.as_mut()
    }

    /// Every index in use, ascending.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(index, _)| index)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    /// For indices that the allocator's own books hold: a vacant one is an error in them.
    fn index(&self, index: u32) -> &T {
        self.get(index)
            .expect("the allocator's books point to something that is there")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index)
            .expect("the allocator's books point to something that is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_does_not_reach_its_successor() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_eq!(slab.resolve(first), Some(0));
        assert_eq!(slab.remove(first.0), Some("a"));
        assert_eq!(slab.remove(first.0), None);
        let second = slab.insert("b");
        assert_eq!(
            (second.0, slab.resolve(first), slab.resolve(second)),
            (0, None, Some(0))
        );
        assert_eq!(slab.resolve((9, 0)), None);
        assert_eq!(slab.indices().collect::<Vec<_>>(), [0]);
    }
}
