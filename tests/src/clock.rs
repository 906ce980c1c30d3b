//! A clock that stands still when the machine does.
//!
//! Machines that run tests are halted now and then, for seconds, by whoever shares them. A promise of time is the program's, so it is measured by the
//! time that the program could have run in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often it is looked whether the machine runs.
const TICK: Duration = Duration::from_millis(10);
/// A thread that wants to run so seldom is never held up for so long by others, however busy they are.
const HALT: Duration = Duration::from_millis(500);

/// It runs for as long as it is held.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Ticks>>);

#[derive(Debug)]
struct Ticks {
    last: Instant,
    counted: Duration,
}

impl Ticks {
    fn advance(&mut self) -> Duration {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.last, now);
        self.counted += if passed < HALT { passed } else { TICK };
        self.counted
    }
}

fn locked(ticks: &Mutex<Ticks>) -> MutexGuard<'_, Ticks> {
    ticks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clock {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let ticks = Arc::new(Mutex::new(Ticks {
            last: Instant::now(),
            counted: Duration::ZERO,
        }));
        let watched = Arc::downgrade(&ticks);
        thread::spawn(move || {
            while let Some(ticks) = watched.upgrade() {
                locked(&ticks).advance();
                drop(ticks);
                thread::sleep(TICK);
            }
        });
        Self(ticks)
    }

    /// Since it was started.
    #[must_use]
    pub fn now(&self) -> Duration {
        locked(&self.0).advance()
    }
}
