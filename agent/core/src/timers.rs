//! Deadlines, in order, each cancellable.

use std::collections::BTreeMap;

use tepui_model::Time;

/// Names a deadline that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId(Time, u64);

/// Deadlines, in order, each cancellable. Deadlines of the same time come in the order in which they were set.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeMap<TimerId, T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Timers<T> {
    pub(crate) fn set(&mut self, at: Time, what: T) -> TimerId {
        let id = TimerId(at, self.next);
        self.next += 1;
        self.due.insert(id, what);
        id
    }

    pub(crate) fn cancel(&mut self, id: Option<TimerId>) {
        if let Some(id) = id {
            self.due.remove(&id);
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first_key_value().map(|(id, _)| id.0)
    }

    pub(crate) fn pop(&mut self, now: Time) -> Option<(TimerId, T)> {
        let first = self.due.first_entry()?;
        if first.key().0 > now {
            None
        } else {
            Some(first.remove_entry())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_not_before_their_time() {
        let at = |n| Time::from_nanos(n);
        let mut timers = Timers::default();
        let b = timers.set(at(20), "b");
        timers.set(at(10), "a");
        timers.set(at(20), "c");
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(10)).map(|(_, what)| what), Some("a"));
        timers.cancel(Some(b));
        assert_eq!(timers.pop(at(99)).map(|(_, what)| what), Some("c"));
        assert_eq!(timers.pop(at(99)), None);
    }
}
