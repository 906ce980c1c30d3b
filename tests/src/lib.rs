//! What end-to-end tests are made of: Tepui's binary as real processes, real ZooKeeper servers, foreign clients, and conditions with a deadline.
//!
//! A test starts what it needs on free ports of the loopback range, shares nothing with other tests, waits for conditions rather than for time, and
//! leaves nothing running. The log of every process is shown when its test fails.

pub mod cgroups;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod process;
pub mod scheduler;
pub mod zookeeper;

use std::time::{Duration, Instant};

/// Waits until a condition gives a value.
///
/// # Panics
/// It did not within the time; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            started.elapsed() < limit,
            "waited {limit:?} in vain for: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long anything may take that should take a second: the machines that run tests are slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
