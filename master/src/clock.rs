//! The time that the core sees: the monotonic clock, anchored once to the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tepui_model::Time;

/// Tells the time since the epoch without ever going back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    anchor: Instant,
    at_anchor: Time,
}

impl Clock {
    /// Anchors the clock now.
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            anchor: Instant::now(),
            at_anchor: Time::EPOCH + since_epoch,
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Time {
        self.at_anchor + self.anchor.elapsed()
    }

    /// When, on tokio's clock, `time` is.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.anchor + time.since(self.at_anchor))
    }
}
