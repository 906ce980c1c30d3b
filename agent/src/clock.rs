//! The time that the core sees: the monotonic clock, anchored once to the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tepui_model::Time;

/// Tells the time since the epoch, and never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    then: Time,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let then = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            started: Instant::now(),
            then: Time::EPOCH + then,
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.then + self.started.elapsed()
    }

    /// When the clock was started.
    pub(crate) fn then(&self) -> Time {
        self.then
    }

    /// The same moment for tokio's timers.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.started + time.since(self.then)).into()
    }
}
