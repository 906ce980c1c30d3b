//! Marathon's store: transactions, in order, of whoever has the newest epoch.

use std::collections::BTreeMap;

use bytes::Bytes;
use tepui_marathon_core::{Input, Mutation, Record};

use super::Happening as Event;
use crate::invariants::Invariant;
use crate::network::Host;
use crate::scenario::Sabotage;
use crate::world::{Happening, Simulation, trace};

/// What is durable.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) epoch: u64,
    pub(crate) records: BTreeMap<String, Bytes>,
}

impl Store {
    pub(super) fn apply(&mut self, mutations: Vec<Mutation>) {
        for mutation in mutations {
            match mutation {
                Mutation::Put { key, value } => self.records.insert(key, value),
                Mutation::Delete { key } => self.records.remove(&key),
            };
        }
    }

    pub(super) fn all(&self) -> Vec<Record> {
        let record = |(key, value): (&String, &Bytes)| Record {
            key: key.clone(),
            value: value.clone(),
        };
        self.records.iter().map(record).collect()
    }
}

impl Simulation {
    /// A write waits for the store.
    pub(super) fn marathon_writes(
        &mut self,
        process: usize,
        sequence: u64,
        mutations: Vec<Mutation>,
    ) {
        let slow = if self.trouble() && self.random.percent(10) {
            5_000
        } else {
            20
        };
        let writes = &mut self.marathons.processes[process].writes;
        writes.push_back((sequence, mutations));
        if writes.len() == 1 {
            self.after(1, slow, Happening::Marathon(Event::Stored(process)));
        }
    }

    /// The store answers: some of what waits was committed together, or was not.
    pub(super) fn marathon_store_answers(&mut self, process: usize) {
        let waiting = self.marathons.processes[process].writes.len();
        if !self.marathons.processes[process].alive || waiting == 0 {
            return;
        }
        let again = Happening::Marathon(Event::Stored(process));
        if self.partitions.cuts((Host::Marathon(process), Host::Store)) {
            return self.after(300, 301, again);
        }
        if self.marathons.processes[process].epoch < self.marathons.store.epoch {
            trace!(self, "marathon {process} is fenced");
            return self.depose_marathon(process);
        }
        let together = match self.marathons.processes[process].asked {
            0 => 1 + self.random.below(waiting),
            asked => asked,
        };
        let failing = if self.trouble() {
            self.scenario.failing_stores_percent
        } else {
            0
        };
        let fails = self.random.percent(failing);
        // An answer may be lost after the write was done.
        let done = !fails || self.random.percent(30);
        let writes: Vec<_> = if fails {
            let all = &self.marathons.processes[process].writes;
            all.iter().take(together).cloned().collect()
        } else {
            let all = &mut self.marathons.processes[process].writes;
            all.drain(..together).collect()
        };
        let last = writes.last().map_or(0, |(sequence, _)| *sequence);
        trace!(
            self,
            "store -> marathon {process}: up to {last} fails: {fails}, written: {done}"
        );
        if done {
            for (_, mutations) in writes {
                self.marathons.store.apply(mutations);
            }
        }
        self.marathons.processes[process].asked = if fails { together } else { 0 };
        if fails {
            // A time-out is tried again; after anything else the term is over.
            if self.random.percent(70) {
                self.after(100, 2_000, again);
            } else {
                self.depose_marathon(process);
            }
            return;
        }
        if !self.marathons.processes[process].writes.is_empty() {
            self.after(1, 20, again);
        }
        self.marathon_step(process, Input::Stored { sequence: last });
    }

    /// What a process that ends had asked for last may be done all the same: the transaction that it waits for, or else up to some write.
    pub(super) fn last_writes(&mut self, process: usize) {
        let writes = std::mem::take(&mut self.marathons.processes[process].writes);
        let newest = self.marathons.processes[process].epoch == self.marathons.store.epoch;
        if newest && !writes.is_empty() && self.random.percent(50) {
            let done = match self.marathons.processes[process].asked {
                0 => self.random.below(writes.len() + 1),
                asked => asked,
            };
            trace!(self, "{done} last writes of marathon {process} are done");
            for (_, mutations) in writes.into_iter().take(done) {
                self.marathons.store.apply(mutations);
            }
        }
    }

    /// A broken promise: the store forgets what it took last of some app.
    pub(super) fn store_forgets(&mut self) {
        if self.scenario.sabotage == Some(Sabotage::ForgetsApps) {
            let apps = self.marathons.store.records.keys();
            let apps: Vec<String> = apps
                .filter(|key| key.starts_with("app/"))
                .cloned()
                .collect();
            if let Some(key) = apps.get(self.random.below(apps.len())) {
                self.marathons.store.records.remove(key);
            }
        }
    }

    /// Records that a new leader cannot read are lost.
    pub(super) fn unreadable(&mut self, error: &dyn std::fmt::Display) {
        self.breach(
            Invariant::Kept,
            format!("a new Marathon cannot take over: {error}"),
        );
    }
}
