//! The gate between decisions and the world: nothing leaves before what it rests on is durable.
//!
//! Mutations of one step leave at once, as one [`Output::Store`]; all other outputs wait, in order, until every sequence number issued
//! before them is confirmed. While the store keeps up, or nothing was written, they leave at once.

use std::collections::VecDeque;

use crate::output::{Mutation, Output};

/// Collects what a step puts out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    mutations: Vec<Mutation>,
    /// Outputs of this and earlier steps with the sequence number that they wait for.
    waiting: VecDeque<(u64, Output)>,
    /// Number of outputs in `waiting` that belong to the current step: at its end.
    fresh: usize,
    issued: u64,
    stored: u64,
}

impl Outbox {
    /// Puts out, after what was written in this step is durable.
    pub(crate) fn push(&mut self, output: Output) {
        self.waiting.push_back((0, output));
        self.fresh += 1;
    }

    /// Puts several out, or none.
    pub(crate) fn extend(&mut self, outputs: impl IntoIterator<Item = Output>) {
        for output in outputs {
            self.push(output);
        }
    }

    /// Writes.
    pub(crate) fn write(&mut self, mutation: Mutation) {
        self.mutations.push(mutation);
    }

    /// Ends a step.
    pub(crate) fn flush(&mut self, out: &mut Vec<Output>) {
        if !self.mutations.is_empty() {
            self.issued += 1;
            out.push(Output::Store {
                sequence: self.issued,
                mutations: std::mem::take(&mut self.mutations),
            });
        }
        let first = self.waiting.len() - self.fresh;
        for (sequence, _) in self.waiting.range_mut(first..) {
            *sequence = self.issued;
        }
        self.fresh = 0;
        while self
            .waiting
            .front()
            .is_some_and(|(sequence, _)| *sequence <= self.stored)
        {
            out.extend(self.waiting.pop_front().map(|(_, output)| output));
        }
    }

    /// Takes note that everything up to `sequence` is durable. Numbers that were never issued count as the last issued.
    pub(crate) fn stored(&mut self, sequence: u64) {
        self.stored = self.stored.max(sequence.min(self.issued));
    }

    /// How many outputs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decline(id: &str) -> Output {
        Output::Decline {
            offer_ids: vec![id.to_owned()],
            refuse_ms: 0,
        }
    }

    fn write(outbox: &mut Outbox) {
        outbox.write(Mutation::Delete {
            key: "k".to_owned(),
        });
    }

    fn flushed(outbox: &mut Outbox) -> Vec<String> {
        let mut out = Vec::new();
        outbox.flush(&mut out);
        let names = out.iter().map(|output| match output {
            Output::Store { sequence, .. } => format!("store {sequence}"),
            Output::Decline { offer_ids, .. } => offer_ids[0].clone(),
            other => format!("{other:?}"),
        });
        names.collect()
    }

    #[test]
    fn outputs_wait_for_all_that_was_written_before_them_and_keep_their_order() {
        let mut outbox = Outbox::default();
        outbox.push(decline("a"));
        assert_eq!(flushed(&mut outbox), ["a"]);
        outbox.push(decline("b"));
        write(&mut outbox);
        assert_eq!(flushed(&mut outbox), ["store 1"]);
        outbox.push(decline("c"));
        assert_eq!(flushed(&mut outbox), [""; 0]);
        write(&mut outbox);
        outbox.push(decline("d"));
        assert_eq!(flushed(&mut outbox), ["store 2"]);
        assert_eq!(outbox.waiting(), 3);
        outbox.stored(1);
        assert_eq!(flushed(&mut outbox), ["b", "c"]);
        outbox.stored(0);
        outbox.stored(99);
        assert_eq!(flushed(&mut outbox), ["d"]);
        write(&mut outbox);
        outbox.push(decline("e"));
        assert_eq!(
            flushed(&mut outbox),
            ["store 3"],
            "a number that was never issued confirms nothing of the future"
        );
    }
}
