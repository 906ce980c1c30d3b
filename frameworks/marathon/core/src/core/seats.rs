//! Which agents have an instance of a daemon app, kept with each change of an instance so that nothing is ever looked for.
//!
//! A *seat* is an agent with at least one instance of the app on it. It is *served* while one of them is ready, and *relieved* when one of
//! the current configuration is ready beside an old one, which nobody needs any more then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tepui_model::Time;

use super::app_state::is_delayed;
use crate::{
    instance::{Condition, Goal, Instance},
    launch::Delay,
    matching::Placed,
};

/// The seats of one app.
#[derive(Debug, Default)]
pub(super) struct Seats {
    by_agent: BTreeMap<Arc<str>, Seat>,
    covered: usize,
    served: usize,
    relieved: BTreeSet<Arc<str>>,
    /// Agents with more than one old instance: the app was none of this kind before.
    crowded: BTreeSet<Arc<str>>,
    /// Instances that have no agent, or one that the app does not want.
    pub(super) astray: BTreeSet<u64>,
    /// Old instances that were unreachable for so long that nobody waits for them.
    pub(super) given_up: BTreeSet<u64>,
    /// How many were covered when this was looked at last, and since when so many are.
    noted: Option<(usize, Time)>,
    /// Back-off of single agents; at most one for each agent, until it is forgotten.
    pub(super) delays: BTreeMap<Arc<str>, Delay>,
}

/// What is on one agent.
#[derive(Debug, Default)]
struct Seat {
    /// Wanted, of the current configuration.
    new: BTreeSet<u64>,
    /// Wanted, of another one.
    old: BTreeSet<u64>,
    /// Shall end, and may still run.
    leaving: BTreeSet<u64>,
    /// Of the new and the old ones.
    ready_new: BTreeSet<u64>,
    ready_old: BTreeSet<u64>,
}

/// All that the seats depend on, of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sitter {
    key: u64,
    agent: Option<Arc<str>>,
    kind: Kind,
    ready: bool,
    astray: bool,
    given_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    New,
    Old,
    Leaving,
    /// It sits nowhere.
    None,
}

/// Whether an agent may get an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Free {
    /// It has none.
    Empty,
    /// It has one of another configuration.
    Beside,
    /// It has one, or one that has not ended yet.
    No,
}

impl Sitter {
    /// How an instance sits; `new`: of the current configuration, `placed` of the app.
    pub(super) fn of(
        instance: &Instance,
        app: &crate::definition::App,
        placed: &Placed,
        new: bool,
    ) -> Self {
        let wanted = instance.goal == Goal::Running;
        let lost = instance.is_scheduled() || instance.condition.is_terminal();
        let agent = instance.agent.as_ref().filter(|_| !lost);
        let kind = match (wanted, new, agent.is_some()) {
            (_, _, false) => Kind::None,
            (true, true, _) => Kind::New,
            (true, false, _) => Kind::Old,
            (false, ..) if instance.condition.is_active() => Kind::Leaving,
            (false, ..) => Kind::None,
        };
        Self {
            key: instance.key,
            agent: agent.map(|agent| agent.id.clone()),
            kind,
            ready: wanted && instance.is_ready() && instance.condition != Condition::Unreachable,
            given_up: wanted && !new && instance.condition == Condition::UnreachableInactive,
            astray: wanted && agent.is_none_or(|agent| !placed.admit(app, agent)),
        }
    }
}

impl Seats {
    pub(super) fn change(&mut self, sitter: &Sitter, added: bool) {
        let put = |set: &mut BTreeSet<u64>| {
            if added {
                set.insert(sitter.key);
            } else {
                set.remove(&sitter.key);
            }
        };
        if sitter.astray {
            put(&mut self.astray);
        }
        if sitter.given_up {
            put(&mut self.given_up);
        }
        let Some(agent) = &sitter.agent else {
            return;
        };
        let seat = self.by_agent.entry(agent.clone()).or_default();
        let before = (seat.is_covered(), seat.is_served());
        match sitter.kind {
            Kind::New => put(&mut seat.new),
            Kind::Old => put(&mut seat.old),
            Kind::Leaving => put(&mut seat.leaving),
            Kind::None => {}
        }
        match sitter.kind {
            Kind::New if sitter.ready => put(&mut seat.ready_new),
            Kind::Old if sitter.ready => put(&mut seat.ready_old),
            _ => {}
        }
        let after = (seat.is_covered(), seat.is_served());
        for (agents, holds) in [
            (
                &mut self.relieved,
                !seat.ready_new.is_empty() && !seat.old.is_empty(),
            ),
            (&mut self.crowded, seat.old.len() > 1),
        ] {
            if holds {
                agents.insert(agent.clone());
            } else {
                agents.remove(agent);
            }
        }
        if !after.0 && seat.leaving.is_empty() {
            self.by_agent.remove(agent);
        }
        for (number, before, after) in [
            (&mut self.covered, before.0, after.0),
            (&mut self.served, before.1, after.1),
        ] {
            *number = (*number + usize::from(after)).saturating_sub(usize::from(before));
        }
    }

    /// How many agents have an instance that shall go on.
    pub(super) const fn covered(&self) -> usize {
        self.covered
    }

    /// Takes note of how many agents have an instance now.
    pub(super) fn note(&mut self, now: Time) {
        if self
            .noted
            .is_none_or(|(covered, _)| covered != self.covered)
        {
            self.noted = Some((self.covered, now));
        }
    }

    /// Whether no agent has got an instance or lost it since then, as far as was noted.
    pub(super) fn rest_since(&self, then: Time) -> bool {
        self.noted
            .is_some_and(|(covered, since)| covered == self.covered && since <= then)
    }

    /// How many agents have an instance that is ready.
    pub(super) const fn served(&self) -> usize {
        self.served
    }

    /// Old instances that stand beside a new one that is ready.
    pub(super) fn relieved(&self) -> Vec<u64> {
        let seats = self.relieved.iter();
        let seats = seats.filter_map(|agent| self.by_agent.get(agent));
        seats.flat_map(|seat| seat.old.iter().copied()).collect()
    }

    /// Old instances that stand beside another old one, which stays: one that is ready if there is one.
    pub(super) fn surplus(&self) -> Vec<u64> {
        let seats = self.crowded.iter();
        let seats = seats.filter_map(|agent| self.by_agent.get(agent));
        let surplus = seats.flat_map(|seat| {
            let stays = seat.ready_old.first().or_else(|| seat.old.first());
            seat.old.iter().filter(move |key| stays != Some(key))
        });
        surplus.copied().collect()
    }

    pub(super) fn free(&self, agent: &str) -> Free {
        match self.by_agent.get(agent) {
            None => Free::Empty,
            Some(seat) if !seat.new.is_empty() || !seat.leaving.is_empty() => Free::No,
            Some(_) => Free::Beside,
        }
    }

    /// Until when an agent gets no instance, after one failed there.
    pub(super) fn delayed_until(&self, agent: &str, now: Time) -> Option<Time> {
        let delay = self.delays.get(agent).copied();
        delay
            .filter(|_| is_delayed(delay, now))
            .map(Delay::deadline)
    }
}

impl Seat {
    fn is_covered(&self) -> bool {
        !self.new.is_empty() || !self.old.is_empty()
    }

    fn is_served(&self) -> bool {
        !self.ready_new.is_empty() || !self.ready_old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sitter(key: u64, agent: &str, kind: Kind, ready: bool) -> Sitter {
        Sitter {
            key,
            agent: Some(agent.into()),
            kind,
            ready,
            astray: false,
            given_up: false,
        }
    }

    #[test]
    fn one_old_instance_stays_that_is_ready() {
        for (ready, want) in [
            ([false, false, false], vec![2, 3]),
            ([false, true, true], vec![1, 3]),
        ] {
            let mut seats = Seats::default();
            for (key, ready) in (1..).zip(ready) {
                seats.change(&sitter(key, "a", Kind::Old, ready), true);
            }
            seats.change(&sitter(4, "b", Kind::Old, false), true);
            assert_eq!(seats.surplus(), want);
            for key in want {
                let ready = ready[usize::try_from(key).expect("small") - 1];
                seats.change(&sitter(key, "a", Kind::Old, ready), false);
            }
            assert_eq!((seats.surplus(), seats.covered()), (vec![], 2));
        }
    }

    #[test]
    fn seats_are_covered_served_and_relieved() {
        let mut seats = Seats::default();
        let (old, new) = (
            sitter(1, "a", Kind::Old, true),
            sitter(2, "a", Kind::New, false),
        );
        seats.change(&old, true);
        assert_eq!((seats.covered(), seats.served()), (1, 1));
        assert_eq!(
            (seats.free("a"), seats.free("b")),
            (Free::Beside, Free::Empty)
        );
        seats.change(&new, true);
        assert_eq!((seats.covered(), seats.served()), (1, 1));
        assert_eq!((seats.free("a"), seats.relieved()), (Free::No, vec![]));
        seats.change(&new, false);
        seats.change(&sitter(2, "a", Kind::New, true), true);
        assert_eq!(seats.relieved(), [1]);
        seats.change(&old, false);
        seats.change(&sitter(1, "a", Kind::Leaving, false), true);
        assert_eq!((seats.relieved(), seats.served()), (vec![], 1));
        seats.change(&sitter(2, "a", Kind::New, true), false);
        assert_eq!((seats.covered(), seats.served()), (0, 0));
        assert_eq!(seats.free("a"), Free::No, "one has not ended yet");
        seats.change(&sitter(1, "a", Kind::Leaving, false), false);
        assert_eq!(seats.free("a"), Free::Empty);
    }
}
