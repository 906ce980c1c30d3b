//! Meters and timers, as Marathon's metrics have them: rates over 1, 5 and 15 minutes, and how the last durations are spread.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Rates are brought up to date this often.
const TICK: Duration = Duration::from_secs(5);
/// Rates are kept over so many minutes.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];
/// What would be forgotten anyway is not worked through tick by tick: after so many all rates are next to nothing.
const MOST_TICKS: u32 = 2_000;
/// So many durations are kept, the last ones.
const KEPT: usize = 1_024;
/// Which part of the durations is at most so long.
pub(crate) const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p95", 0.95),
    ("p98", 0.98),
    ("p99", 0.99),
    ("p999", 0.999),
];

#[derive(Debug)]
struct Rates {
    began: Instant,
    ticked: Instant,
    count: u64,
    since_tick: u64,
    rates: Option<[f64; 3]>,
}

impl Rates {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            ticked: now,
            count: 0,
            since_tick: 0,
            rates: None,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn tick(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.ticked);
        let ticks = u32::try_from(passed.as_millis() / TICK.as_millis()).unwrap_or(MOST_TICKS);
        for _ in 0..ticks.min(MOST_TICKS) {
            let rate = std::mem::take(&mut self.since_tick) as f64 / TICK.as_secs_f64();
            let old = self.rates.unwrap_or([rate; 3]);
            let mut new = old;
            for (at, minutes) in MINUTES.into_iter().enumerate() {
                let alpha = 1.0 - (-TICK.as_secs_f64() / 60.0 / minutes).exp();
                new[at] += alpha * (rate - old[at]);
            }
            self.rates = Some(new);
        }
        self.ticked += TICK * ticks;
    }

    fn mark(&mut self, now: Instant) {
        self.tick(now);
        self.count += 1;
        self.since_tick += 1;
    }

    /// Over all, and over 1, 5 and 15 minutes, in events a second.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn read(&mut self, now: Instant) -> [f64; 4] {
        self.tick(now);
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        let mean = if seconds > 0.0 {
            self.count as f64 / seconds
        } else {
            0.0
        };
        let [one, five, fifteen] = self.rates.unwrap_or_default();
        [mean, one, five, fifteen]
    }
}

/// How often something happens.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Rates>);

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Rates::new(now)))
    }

    /// It has happened.
    pub(crate) fn mark(&self, now: Instant) {
        self.0.lock().mark(now);
    }

    pub(crate) fn read(&self, now: Instant) -> Figures {
        let mut rates = self.0.lock();
        Figures {
            rates: rates.read(now),
            count: rates.count,
            spread: None,
        }
    }
}

/// How often something happens, and how long it takes.
#[derive(Debug)]
pub(crate) struct Timer(Mutex<(Rates, Vec<f64>)>);

impl Timer {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new((Rates::new(now), Vec::new())))
    }

    /// It has happened, and took so long.
    pub(crate) fn mark(&self, now: Instant, took: Duration) {
        let (rates, kept) = &mut *self.0.lock();
        let seconds = took.as_secs_f64();
        let place = usize::try_from(rates.count % KEPT as u64).unwrap_or(0);
        match kept.get_mut(place) {
            Some(one) => *one = seconds,
            None => kept.push(seconds),
        }
        rates.mark(now);
    }

    pub(crate) fn read(&self, now: Instant) -> Figures {
        let (rates, mut kept) = {
            let (rates, kept) = &mut *self.0.lock();
            ((rates.read(now), rates.count), kept.clone())
        };
        kept.sort_unstable_by(f64::total_cmp);
        Figures {
            rates: rates.0,
            count: rates.1,
            spread: Some(Spread::of(&kept)),
        }
    }
}

/// How durations are spread, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    pub(crate) deviation: f64,
    pub(crate) quantiles: [f64; QUANTILES.len()],
}

impl Spread {
    /// Of durations from the shortest to the longest.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "there are at most a thousand"
    )]
    fn of(sorted: &[f64]) -> Self {
        let number = sorted.len().max(1) as f64;
        // A sum of nothing is -0, which is no figure for people.
        let mean = (sorted.iter().sum::<f64>() + 0.0) / number;
        let squares = sorted.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
        let quantile = |part: f64| {
            let place = (part * number).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self {
            min: sorted.first().copied().unwrap_or(0.0),
            mean,
            max: sorted.last().copied().unwrap_or(0.0),
            deviation: ((squares + 0.0) / number).sqrt(),
            quantiles: QUANTILES.map(|(_, part)| quantile(part)),
        }
    }
}

/// What a meter or a timer has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    /// Over all, and over 1, 5 and 15 minutes, a second.
    pub(crate) rates: [f64; 4],
    /// Of a timer.
    pub(crate) spread: Option<Spread>,
}

/// Names of [`Figures::rates`].
pub(crate) const RATES: [&str; 4] = ["mean_rate", "m1_rate", "m5_rate", "m15_rate"];

impl Figures {
    pub(crate) fn json(&self) -> Value {
        let mut object = json!({ "count": self.count });
        for (name, rate) in RATES.into_iter().zip(self.rates) {
            object[name] = rate.into();
        }
        let Some(spread) = self.spread else {
            object["units"] = "events/second".into();
            return object;
        };
        for ((name, _), seconds) in QUANTILES.into_iter().zip(spread.quantiles) {
            object[name] = seconds.into();
        }
        for (name, seconds) in spread.named() {
            object[name] = seconds.into();
        }
        object["duration_units"] = "seconds".into();
        object["rate_units"] = "calls/second".into();
        object
    }
}

impl Spread {
    pub(crate) const fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("min", self.min),
            ("mean", self.mean),
            ("max", self.max),
            ("stddev", self.deviation),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_happens_and_fade() {
        let began = Instant::now();
        let meter = Meter::new(began);
        for at in 0..600 {
            meter.mark(began + Duration::from_millis(500 * at));
        }
        let after = began + Duration::from_secs(300);
        let figures = meter.read(after);
        assert_eq!(figures.count, 600);
        for rate in figures.rates {
            assert!((rate - 2.0).abs() < 0.01, "{:?}", figures.rates);
        }
        let [mean, one, five, fifteen] = meter.read(after + Duration::from_secs(60)).rates;
        assert!((mean - 600.0 / 360.0).abs() < 0.01, "{mean}");
        assert!((one - 2.0 / std::f64::consts::E).abs() < 0.02, "{one}");
        assert!(one < five && five < fifteen, "{one} {five} {fifteen}");
        let [_, one, _, fifteen] = meter.read(after + Duration::from_secs(1_000_000)).rates;
        assert!(one < 1e-9 && fifteen < 1e-3, "{one} {fifteen}");
    }

    #[test]
    fn the_last_durations_are_spread() {
        let now = Instant::now();
        let timer = Timer::new(now);
        timer.mark(now, Duration::from_secs(1_000));
        for ms in 1..=KEPT as u64 {
            timer.mark(now, Duration::from_millis(ms));
        }
        let figures = timer.read(now);
        assert_eq!(figures.count, KEPT as u64 + 1);
        let spread = figures.spread.expect("a timer");
        assert_eq!((spread.min, spread.max), (0.001, 1.024));
        assert_eq!(spread.quantiles[0], 0.512);
        assert!((spread.mean - 0.5125).abs() < 1e-9);
        let json = figures.json();
        assert_eq!(json["p99"], 1.014);
        assert_eq!(json["duration_units"], "seconds");
        let empty = Timer::new(now).read(now).json();
        assert_eq!((&empty["p999"], &empty["mean"]), (&json!(0.0), &json!(0.0)));
    }
}
