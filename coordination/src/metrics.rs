//! What this room counts, as plain atomics that a daemon's `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that others read while it is being changed.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Makes it `n`.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything counted here; one instance a store or a session.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sessions made with ZooKeeper, the first included.
    pub sessions: Counter,
    /// Times the connection to ZooKeeper was lost.
    pub disconnections: Counter,
    /// Times the session with ZooKeeper expired.
    pub expirations: Counter,
    /// 1 while ZooKeeper answers, 0 otherwise.
    pub connected: Counter,
    /// Changes of the leader that were seen.
    pub leader_changes: Counter,
    /// The epoch of the leader last seen.
    pub epoch: Counter,
    /// Transactions taken by the store.
    pub transactions: Counter,
    /// Transactions refused: a condition did not hold.
    pub conflicts: Counter,
    /// Transactions refused: their epoch was over.
    pub fenced: Counter,
    /// Commits that made one or more transactions durable.
    pub commits: Counter,
    /// Microseconds spent in commits, in all.
    pub commit_us: Counter,
    /// Keys and values written, in bytes.
    pub written_bytes: Counter,
    /// Transactions that wait in the store's queue.
    pub queued: Counter,
    /// Commits that were tried again after the connection was lost.
    pub retries: Counter,
}

impl Metrics {
    /// Names and values, for an exposition of any form. Names end in their unit where they have one.
    pub fn all(&self) -> [(&'static str, u64); 14] {
        [
            ("coordination_sessions", self.sessions.get()),
            ("coordination_disconnections", self.disconnections.get()),
            ("coordination_expirations", self.expirations.get()),
            ("coordination_connected", self.connected.get()),
            ("coordination_leader_changes", self.leader_changes.get()),
            ("coordination_epoch", self.epoch.get()),
            ("store_transactions", self.transactions.get()),
            ("store_conflicts", self.conflicts.get()),
            ("store_fenced", self.fenced.get()),
            ("store_commits", self.commits.get()),
            ("store_commit_us", self.commit_us.get()),
            ("store_written_bytes", self.written_bytes.get()),
            ("store_queued", self.queued.get()),
            ("store_commit_retries", self.retries.get()),
        ]
    }
}
