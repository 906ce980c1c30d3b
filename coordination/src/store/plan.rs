//! What a batch of transactions does to a store, decided without touching it. Pure.
//!
//! Properties: the outcomes are those of running the transactions one after the other; a refused one leaves no trace; the head's
//! epoch and commit number never fall; every accepted transaction gets a version of its own.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Expect, Operation, StoreError, Transaction, Version};

/// What a store knows of itself: it changes with every commit, so that a conditional write of it serialises all writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The highest epoch that has committed.
    pub(crate) epoch: u64,
    /// The number of the last transaction.
    pub(crate) commit: u64,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Put { value: Bytes, version: Version },
    Delete,
}

impl Effect {
    fn version(&self) -> Option<Version> {
        match self {
            Self::Put { version, .. } => Some(*version),
            Self::Delete => None,
        }
    }
}

/// What to write, and what to tell whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) head: Head,
    /// One a transaction, in their order.
    pub(crate) outcomes: Vec<Result<Version, StoreError>>,
    pub(crate) effects: BTreeMap<String, Effect>,
}

impl Plan {
    /// Whether anything is to be written.
    pub(crate) fn writes(&self) -> bool {
        self.outcomes.iter().any(Result::is_ok)
    }
}

/// Decides the batch against the store as it is: `current` tells the version of a key, if it exists.
pub(crate) fn plan<'a>(
    head: Head,
    batch: impl IntoIterator<Item = &'a Transaction>,
    current: impl Fn(&str) -> Option<Version>,
) -> Plan {
    let mut plan = Plan {
        head,
        outcomes: Vec::new(),
        effects: BTreeMap::new(),
    };
    for transaction in batch {
        let outcome = decide(&plan, transaction, &current);
        if let Ok(version) = outcome {
            plan.head = Head {
                epoch: transaction.epoch,
                commit: version.0,
            };
            for operation in &transaction.operations {
                let effect = match operation {
                    Operation::Put { value, .. } => Effect::Put {
                        value: value.clone(),
                        version,
                    },
                    Operation::Delete { .. } => Effect::Delete,
                    Operation::Check { .. } => continue,
                };
                plan.effects.insert(operation.key().to_owned(), effect);
            }
        }
        plan.outcomes.push(outcome);
    }
    plan
}

fn decide(
    plan: &Plan,
    transaction: &Transaction,
    current: impl Fn(&str) -> Option<Version>,
) -> Result<Version, StoreError> {
    if transaction.epoch < plan.head.epoch {
        return Err(StoreError::Fenced {
            epoch: transaction.epoch,
            highest: plan.head.epoch,
        });
    }
    for operation in &transaction.operations {
        let key = operation.key();
        let found = || {
            plan.effects
                .get(key)
                .map_or_else(|| current(key), Effect::version)
        };
        let holds = match operation.expect() {
            Expect::Any => true,
            Expect::Absent => found().is_none(),
            Expect::Version(version) => found() == Some(version),
        };
        if !holds {
            return Err(StoreError::Conflict {
                key: key.to_owned(),
                found: found(),
            });
        }
    }
    Ok(Version(plan.head.commit + 1))
}
