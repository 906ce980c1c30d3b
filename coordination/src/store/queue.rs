//! Transactions on their way to a store's one writer: a bounded queue that hands out whatever waits, as a batch.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{StoreError, Transaction, Version};
use crate::metrics::Metrics;

/// The most transactions that wait; further ones wait to enter.
const QUEUE_LIMIT: usize = 4096;

/// A transaction and who waits for it.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) transaction: Transaction,
    pub(crate) reply: oneshot::Sender<Result<Version, StoreError>>,
}

/// How much one commit may hold. A single transaction may exceed it: it then goes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) operations: usize,
    pub(crate) bytes: usize,
}

/// The entrance.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Submission>,
    metrics: Arc<Metrics>,
}

/// The exit, for the writer.
#[derive(Debug)]
pub(crate) struct Batch {
    receiver: mpsc::Receiver<Submission>,
    held_back: VecDeque<Submission>,
    limits: BatchLimits,
    metrics: Arc<Metrics>,
}

impl Queue {
    pub(crate) fn new(limits: BatchLimits, metrics: &Arc<Metrics>) -> (Self, Batch) {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let metrics = Arc::clone(metrics);
        (
            Self {
                sender,
                metrics: Arc::clone(&metrics),
            },
            Batch {
                receiver,
                held_back: VecDeque::new(),
                limits,
                metrics,
            },
        )
    }

    /// Checks the transaction, queues it and waits for its outcome.
    pub(crate) async fn submit(&self, transaction: Transaction) -> Result<Version, StoreError> {
        transaction.validate()?;
        let (reply, outcome) = oneshot::channel();
        self.sender
            .send(Submission { transaction, reply })
            .await
            .map_err(|_| StoreError::Closed)?;
        self.metrics
            .queued
            .set((self.sender.max_capacity() - self.sender.capacity()) as u64);
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Batch {
    /// Waits for the first transaction and takes what else waits, within the limits. `None` when all entrances are gone.
    pub(crate) async fn next(&mut self) -> Option<Vec<Submission>> {
        let first = match self.held_back.pop_front() {
            Some(first) => first,
            None => self.receiver.recv().await?,
        };
        Some(self.fill(first))
    }

    /// The same, for a writer with a thread of its own.
    pub(crate) fn blocking_next(&mut self) -> Option<Vec<Submission>> {
        let first = match self.held_back.pop_front() {
            Some(first) => first,
            None => self.receiver.blocking_recv()?,
        };
        Some(self.fill(first))
    }

    fn fill(&mut self, first: Submission) -> Vec<Submission> {
        let mut operations = first.transaction.operations.len();
        let mut bytes = first.transaction.bytes();
        let mut batch = vec![first];
        while let Ok(next) = self.receiver.try_recv() {
            operations += next.transaction.operations.len();
            bytes += next.transaction.bytes();
            if operations > self.limits.operations
                || bytes > self.limits.bytes
                || batch.len() >= self.limits.operations
            {
                self.held_back.push_back(next);
                break;
            }
            batch.push(next);
        }
        self.metrics.queued.set(self.receiver.len() as u64);
        batch
    }

    /// Tells everybody, and counts.
    pub(crate) fn answer(
        &self,
        batch: Vec<Submission>,
        outcomes: impl IntoIterator<Item = Result<Version, StoreError>>,
    ) {
        for (submission, outcome) in batch.into_iter().zip(outcomes) {
            self.metrics.transactions.increment();
            match &outcome {
                Err(StoreError::Conflict { .. }) => self.metrics.conflicts.increment(),
                Err(StoreError::Fenced { .. }) => self.metrics.fenced.increment(),
                Ok(_) => self
                    .metrics
                    .written_bytes
                    .add(submission.transaction.bytes() as u64),
                Err(_) => {}
            }
            // Whoever asked may have gone; the outcome stands.
            let _ = submission.reply.send(outcome);
        }
    }
}
