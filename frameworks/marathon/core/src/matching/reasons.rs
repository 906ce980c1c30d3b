//! Why offers are refused, and how often.

use serde_json::{Value, json};

/// A reason, in the order of Marathon's funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    UnfulfilledRole,
    UnfulfilledConstraint,
    NoCorrespondingReservationFound,
    AgentMaintenance,
    InsufficientCpus,
    InsufficientMemory,
    InsufficientDisk,
    InsufficientGpus,
    InsufficientPorts,
    DeclinedScarceResources,
}

const ALL: [(Reason, &str); 10] = [
    (Reason::UnfulfilledRole, "UnfulfilledRole"),
    (Reason::UnfulfilledConstraint, "UnfulfilledConstraint"),
    (
        Reason::NoCorrespondingReservationFound,
        "NoCorrespondingReservationFound",
    ),
    (Reason::AgentMaintenance, "AgentMaintenance"),
    (Reason::InsufficientCpus, "InsufficientCpus"),
    (Reason::InsufficientMemory, "InsufficientMemory"),
    (Reason::InsufficientDisk, "InsufficientDisk"),
    (Reason::InsufficientGpus, "InsufficientGpus"),
    (Reason::InsufficientPorts, "InsufficientPorts"),
    (Reason::DeclinedScarceResources, "DeclinedScarceResources"),
];

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(u16);

impl Reasons {
    pub(crate) fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u16;
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn has(self, reason: Reason) -> bool {
        self.0 & 1 << reason as u16 != 0
    }

    /// Names, in the order of the funnel.
    pub(crate) fn names(self) -> Vec<&'static str> {
        ALL.iter()
            .filter(|(reason, _)| self.has(*reason))
            .map(|(_, name)| *name)
            .collect()
    }
}

/// How many offers were looked at, and how many each reason refused first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    processed: u64,
    declined: [u64; ALL.len()],
}

impl Summary {
    /// Counts an offer; no reasons: it was used.
    pub(crate) fn count(&mut self, reasons: Reasons) {
        self.processed += 1;
        if let Some(at) = ALL.iter().position(|(reason, _)| reasons.has(*reason)) {
            self.declined[at] += 1;
        }
    }

    /// All reasons, each with those that it declined of those that came so far.
    pub(crate) fn json(&self) -> Value {
        let mut left = self.processed;
        let entries = ALL.iter().zip(self.declined).map(|((_, name), declined)| {
            let entry = json!({ "reason": name, "declined": declined, "processed": left });
            left -= declined;
            entry
        });
        Value::Array(entries.collect())
    }
}
