//! A store in memory: for tests and for what need not survive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::{
    Effect, Entry, Head, Page, Store, StoreError, Transaction, Version, page_start, plan,
    validate_key, validate_prefix,
};
use crate::metrics::Metrics;

/// Keeps everything in memory and forgets it with the process. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    head: Head,
    entries: BTreeMap<String, Entry>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn apply(&self, transaction: &Transaction) -> Result<Version, StoreError> {
        transaction.validate()?;
        let outcome = self.with(|state| {
            let mut plan = plan(state.head, [transaction], |key| {
                state.entries.get(key).map(|entry| entry.version)
            });
            state.head = plan.head;
            for (key, effect) in plan.effects {
                match effect {
                    Effect::Put { value, version } => {
                        state.entries.insert(key, Entry { value, version })
                    }
                    Effect::Delete => state.entries.remove(&key),
                };
            }
            plan.outcomes.pop().unwrap_or(Err(StoreError::Closed))
        });
        self.metrics.transactions.increment();
        match &outcome {
            Ok(_) => {
                self.metrics.commits.increment();
                self.metrics.written_bytes.add(transaction.bytes() as u64);
            }
            Err(StoreError::Fenced { .. }) => self.metrics.fenced.increment(),
            Err(_) => self.metrics.conflicts.increment(),
        }
        outcome
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            validate_key(key)?;
            Ok(self.with(|state| state.entries.get(key).cloned()))
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            validate_prefix(prefix)?;
            Ok(self.with(|state| {
                let from = state.entries.range(prefix.to_owned()..);
                from.take_while(|(key, _)| key.starts_with(prefix))
                    .map(|(key, entry)| (key.clone(), entry.clone()))
                    .collect()
            }))
        })
    }

    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, Entry)>, StoreError>> {
        Box::pin(async move {
            validate_prefix(prefix)?;
            Ok(self.with(|state| {
                let start = page_start(prefix, after);
                let from = (state.entries).range::<str, _>((start, std::ops::Bound::Unbounded));
                let mut page = Page::default();
                for (key, entry) in from.take_while(|(key, _)| key.starts_with(prefix)) {
                    if !page.add(key.clone(), entry.clone()) {
                        break;
                    }
                }
                page.entries
            }))
        })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(async move { self.apply(&transaction) })
    }

    fn epoch(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.with(|state| state.head.epoch)) })
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}
