//! What held before each of the last updates, while some of them may still be refused.

use std::collections::VecDeque;

/// Updates that can be taken back; older ones are taken for accepted.
const LIMIT: usize = 64;

#[derive(Debug)]
pub(super) struct Before<T> {
    sent: u64,
    /// By the update's number, ascending.
    before: VecDeque<(u64, T)>,
}

impl<T> Default for Before<T> {
    fn default() -> Self {
        Self {
            sent: 0,
            before: VecDeque::new(),
        }
    }
}

impl<T> Before<T> {
    /// One more update has left, before which this held.
    pub(super) fn sent(&mut self, before: T) {
        self.before.push_back((self.sent, before));
        self.sent += 1;
        if self.before.len() > LIMIT {
            self.before.pop_front();
        }
    }

    /// An update was refused, the one with this number, from 0: what holds again. `None` if a later update holds, or it is not known any more.
    pub(super) fn refused(&mut self, nth: u64) -> Option<T> {
        let at = self.before.iter().position(|(number, _)| *number == nth)?;
        let (_, before) = self.before.remove(at)?;
        match self.before.get_mut(at) {
            // Should the next one be refused as well, what held before both does.
            Some((_, next)) => {
                *next = before;
                None
            }
            None => Some(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_takes_back_its_own_update_and_no_other() {
        for (refused, holds) in [
            (&[0][..], "c"),
            (&[1], "c"),
            (&[2], "b"),
            (&[0, 1], "c"),
            (&[1, 2], "a"),
            (&[0, 2], "b"),
            (&[0, 1, 2], "start"),
            (&[2, 2, 7], "b"),
        ] {
            let (mut before, mut now) = (Before::default(), "start");
            for next in ["a", "b", "c"] {
                before.sent(std::mem::replace(&mut now, next));
            }
            for nth in refused {
                now = before.refused(*nth).unwrap_or(now);
            }
            assert_eq!(now, holds, "{refused:?}");
        }
    }

    #[test]
    fn old_updates_are_taken_for_accepted() {
        let mut before = Before::default();
        for at in 0..=LIMIT {
            before.sent(at);
        }
        assert_eq!((before.refused(0), before.before.len()), (None, LIMIT));
    }
}
