//! What is dropped from the store, under Marathon's names: definitions and states of the past that are too many.
//!
//! Marathon looks through its store for them now and then. Here each change drops what it makes superfluous: a *run* is a write that deletes
//! something of the past, the *scan* is the step of the core that found it, the *compaction* is the write.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tepui_marathon_core::{Mutation, Output};

use crate::meters::Timer;

/// The beginnings of keys of the past.
const PAST: [&str; 3] = ["version/", "past/", "history/"];

/// How often, and how long it took.
#[derive(Debug)]
pub(crate) struct Garbage {
    pub(crate) runs: AtomicU64,
    pub(crate) scan: Timer,
    pub(crate) compaction: Timer,
}

impl Default for Garbage {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            runs: AtomicU64::default(),
            scan: Timer::new(now),
            compaction: Timer::new(now),
        }
    }
}

impl Garbage {
    /// Something of the past was deleted, in a write that took so long.
    pub(crate) fn dropped(&self, took: Duration) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.compaction.mark(Instant::now(), took);
    }
}

/// Whether a write deletes something of the past.
pub(crate) fn drops(mutations: &[Mutation]) -> bool {
    let of_past = |key: &str| PAST.iter().any(|kind| key.starts_with(kind));
    mutations
        .iter()
        .any(|one| matches!(one, Mutation::Delete { key } if of_past(key)))
}

/// Whether an output is such a write.
pub(super) fn is_dropped(output: &Output) -> bool {
    matches!(output, Output::Store { mutations, .. } if drops(mutations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_past_is_garbage() {
        let delete = |key: &str| Mutation::Delete {
            key: key.to_owned(),
        };
        let put = |key: &str| Mutation::Put {
            key: key.to_owned(),
            value: "1".into(),
        };
        for (mutations, want) in [
            (vec![delete("version/%2Fa/2015"), put("app/%2Fa")], true),
            (vec![delete("past/%2Fa/2015")], true),
            (vec![put("app/%2Fa"), delete("history/2015")], true),
            (vec![delete("instance/a"), put("version/%2Fa/2016")], false),
            (Vec::new(), false),
        ] {
            assert_eq!(drops(&mutations), want, "{mutations:?}");
        }
    }
}
