//! Monotonic time that reads as wall-clock time.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tepui_model::Time;

/// Anchored once to the wall clock, and monotonic from there: a clock that is set back does not undo a deadline.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<(Instant, i64)>);

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(Arc::new((
            Instant::now(),
            i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX),
        )))
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = i64::try_from(self.0.0.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Time::from_nanos(self.0.1.saturating_add(elapsed))
    }
}
