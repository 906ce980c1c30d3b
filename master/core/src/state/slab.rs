//! Dense storage: objects live in a vector, are named by small integers, and leave holes that are used again.
//!
//! Whoever removes an object removes every handle to it first; a handle to a hole is a bug of the core and panics.

use std::marker::PhantomData;

/// A place in a [`Slab`] of `T`.
pub(crate) struct Handle<T>(u32, PhantomData<fn() -> T>);

impl<T> Handle<T> {
    /// The place's number: dense, so that it may index other vectors.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Handle<T> {}
impl<T> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Handle<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> std::hash::Hash for Handle<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// See the module's comment.
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    holes: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            holes: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.holes.len()
    }

    pub(crate) fn insert(&mut self, object: T) -> Handle<T> {
        if let Some(hole) = self.holes.pop() {
            self.places[hole as usize] = Some(object);
            return Handle(hole, PhantomData);
        }
        let place =
            u32::try_from(self.places.len()).expect("bounded far below four thousand million");
        self.places.push(Some(object));
        Handle(place, PhantomData)
    }

    pub(crate) fn remove(&mut self, handle: Handle<T>) -> T {
        let object = self.places[handle.index()]
            .take()
            .expect("a handle outlived its object");
        self.holes.push(handle.0);
        object
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle<T>, &T)> {
        (0_u32..)
            .zip(&self.places)
            .filter_map(|(place, object)| Some((Handle(place, PhantomData), object.as_ref()?)))
    }

    pub(crate) fn handles(&self) -> Vec<Handle<T>> {
        self.iter().map(|(handle, _)| handle).collect()
    }
}

impl<T> std::ops::Index<Handle<T>> for Slab<T> {
    type Output = T;
    fn index(&self, handle: Handle<T>) -> &T {
        self.places[handle.index()]
            .as_ref()
            .expect("a handle outlived its object")
    }
}

impl<T> std::ops::IndexMut<Handle<T>> for Slab<T> {
    fn index_mut(&mut self, handle: Handle<T>) -> &mut T {
        self.places[handle.index()]
            .as_mut()
            .expect("a handle outlived its object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_used_again_and_iteration_is_in_order() {
        let mut slab = Slab::default();
        let a = slab.insert("a");
        let b = slab.insert("b");
        assert_eq!(slab.remove(a), "a");
        assert_eq!(slab.len(), 1);
        let c = slab.insert("c");
        assert_eq!(c, a);
        assert_eq!(slab.iter().map(|(_, o)| *o).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(slab[b], "b");
    }
}
