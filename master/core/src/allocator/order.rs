//! Siblings, sorted by whose turn it is.

use std::collections::BTreeSet;

/// A place in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<N, I> {
    /// The bits of the weighted share: for numbers from zero up they sort as the number does.
    pub(super) share: u64,
    pub(super) served: u64,
    pub(super) name: N,
    pub(super) item: I,
}

/// Siblings by rank.
#[derive(Debug)]
pub(super) struct Order<N, I> {
    pub(super) live: BTreeSet<Rank<N, I>>,
    pub(super) eager: BTreeSet<Rank<N, I>>,
}

impl<N: Ord + Clone, I: Ord + Clone> Order<N, I> {
    pub(super) fn new() -> Order<N, I> {
        Order {
            live: BTreeSet::new(),
            eager: BTreeSet::new(),
        }
    }

    /// In which order whom to try.
    pub(super) fn iter(&self, whom: Whom) -> std::collections::btree_set::Iter<'_, Rank<N, I>> {
        match whom {
            Whom::All => self.live.iter(),
            Whom::Eager => self.eager.iter(),
        }
    }

    /// Moves an item from its old place to a new one; `None`: it has none.
    pub(super) fn move_to(
        &mut self,
        place: &mut Option<Rank<N, I>>,
        new: Option<Rank<N, I>>,
        eager: bool,
    ) {
        if *place != new {
            if let Some(old) = place.take() {
                self.live.remove(&old);
                self.eager.remove(&old);
            }
            if let Some(new) = &new {
                self.live.insert(new.clone());
            }
            *place = new;
        }
        if let Some(rank) = &*place {
            match (eager, self.eager.contains(rank)) {
                (true, false) => drop(self.eager.insert(rank.clone())),
                (false, true) => drop(self.eager.remove(rank)),
                _ => {}
            }
        }
    }
}

/// Which of the two orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Everybody who takes offers.
    All,
    /// Only those who have become willing since the last run.
    Eager,
}
