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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn operation() -> impl Strategy<Value = Operation> {
        let key = prop_oneof![Just("c/a"), Just("c/b"), Just("c/c")].prop_map(str::to_owned);
        let expect = prop_oneof![
            Just(Expect::Any),
            Just(Expect::Absent),
            (0u64..6).prop_map(|v| Expect::Version(Version(v)))
        ];
        (key, expect, 0..3, any::<u8>()).prop_map(|(key, expect, kind, byte)| match kind {
            0 => Operation::Put {
                key,
                value: vec![byte].into(),
                expect,
            },
            1 => Operation::Delete { key, expect },
            _ => Operation::Check { key, expect },
        })
    }

    fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
        let transaction = (0u64..4, prop::collection::vec(operation(), 0..4));
        prop::collection::vec(
            transaction.prop_map(|(epoch, operations)| Transaction { epoch, operations }),
            0..8,
        )
    }

    type Entries = BTreeMap<String, (Version, Bytes)>;

    fn apply(entries: &mut Entries, plan: &Plan) {
        for (key, effect) in &plan.effects {
            match effect {
                Effect::Put { value, version } => {
                    entries.insert(key.clone(), (*version, value.clone()))
                }
                Effect::Delete => entries.remove(key),
            };
        }
    }

    fn version<'e>(entries: &'e Entries) -> impl Fn(&str) -> Option<Version> + 'e {
        |key| entries.get(key).map(|(version, _)| *version)
    }

    proptest! {
        #[test]
        fn a_batch_does_what_its_transactions_do_one_by_one(transactions in transactions()) {
            let mut together = Entries::new();
            let batch = plan(Head::default(), &transactions, version(&together));
            apply(&mut together, &batch);
            let (mut head, mut apart, mut outcomes) = (Head::default(), Entries::new(), Vec::new());
            for transaction in &transactions {
                let single = plan(head, [transaction], version(&apart));
                apply(&mut apart, &single);
                head = single.head;
                outcomes.extend(single.outcomes);
            }
            prop_assert_eq!(batch.outcomes, outcomes);
            prop_assert_eq!(batch.head, head);
            prop_assert_eq!(together, apart);
        }

        #[test]
        fn epochs_and_versions_only_rise(transactions in transactions()) {
            let plan = plan(Head { epoch: 1, commit: 7 }, &transactions, |_| None);
            prop_assert!(plan.head.epoch >= 1);
            let versions: Vec<u64> = plan.outcomes.iter().flatten().map(|version| version.0).collect();
            prop_assert_eq!(&versions, &(8..8 + versions.len() as u64).collect::<Vec<_>>());
            let accepted = transactions.iter().zip(&plan.outcomes).filter(|(_, outcome)| outcome.is_ok());
            let epochs: Vec<u64> = accepted.map(|(transaction, _)| transaction.epoch).collect();
            prop_assert!(epochs.is_sorted());
        }

        #[test]
        fn the_refused_leave_no_trace(transactions in transactions()) {
            let all = plan(Head::default(), &transactions, |_| None);
            let accepted: Vec<Transaction> =
                transactions.iter().zip(&all.outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(t, _)| t.clone()).collect();
            let only = plan(Head::default(), &accepted, |_| None);
            prop_assert_eq!(all.effects, only.effects);
            prop_assert_eq!(all.head, only.head);
        }
    }
}
