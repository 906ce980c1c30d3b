//! How long things took of late, as Mesos' timers show it: the latest, the extremes and the percentiles, in milliseconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

/// Of so many the percentiles are told; a new one takes the place of the oldest.
const KEPT: usize = 1_000;

/// The percentiles that Mesos shows.
const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

/// Takes durations from any thread.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    count: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Nanoseconds; a ring.
    nanos: Vec<u64>,
    /// Where the latest is.
    latest: usize,
}

impl Timer {
    /// One more.
    pub(crate) fn took(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        let mut recent = self.recent.lock();
        if recent.nanos.len() < KEPT {
            recent.latest = recent.nanos.len();
            recent.nanos.push(nanos);
        } else {
            recent.latest = (recent.latest + 1) % KEPT;
            let at = recent.latest;
            if let Some(oldest) = recent.nanos.get_mut(at) {
                *oldest = nanos;
            }
        }
    }

    /// How many there ever were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// The latest; none before the first.
    pub(crate) fn latest_ms(&self) -> Option<f64> {
        let recent = self.recent.lock();
        recent.nanos.get(recent.latest).copied().map(milliseconds)
    }

    /// `min`, `max` and the percentiles of those of late; none before the first.
    pub(crate) fn statistics_ms(&self) -> Vec<(&'static str, f64)> {
        let mut sorted = self.recent.lock().nanos.clone();
        sorted.sort_unstable();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Vec::new();
        };
        let mut all = vec![("min", milliseconds(*min)), ("max", milliseconds(*max))];
        all.extend(PERCENTILES.map(|(name, part)| (name, percentile(&sorted, part))));
        all
    }
}

fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Between the two nearest, as Mesos has it.
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let place = part * sorted.len().saturating_sub(1) as f64;
    let (below, weight) = (place.floor() as usize, place.fract());
    let value = |at: usize| sorted.get(at).or(sorted.last()).copied().unwrap_or(0) as f64;
    (value(below) + (value(below + 1) - value(below)) * weight) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_latest_thousand() {
        let timer = Timer::default();
        assert!(timer.latest_ms().is_none() && timer.statistics_ms().is_empty());
        timer.took(Duration::from_secs(9));
        assert_eq!(timer.latest_ms(), Some(9_000.0));
        assert!(
            timer
                .statistics_ms()
                .iter()
                .all(|(_, value)| *value == 9_000.0)
        );
        for ms in 0..=1_000 {
            timer.took(Duration::from_millis(ms));
        }
        // 9 s and 0 ms have been pushed out: 1 ms to 1,000 ms are left.
        assert_eq!((timer.count(), timer.latest_ms()), (1_002, Some(1_000.0)));
        let found = timer.statistics_ms();
        for (name, expected) in [
            ("min", 1.0),
            ("max", 1_000.0),
            ("p50", 500.5),
            ("p90", 900.1),
            ("p99", 990.01),
        ] {
            let value = found
                .iter()
                .find(|(found, _)| *found == name)
                .map(|(_, value)| *value);
            let value = value.expect(name);
            assert!((value - expected).abs() < 1e-6, "{name}: {value}");
        }
    }
}
