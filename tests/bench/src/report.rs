//! Figures, for people and for scripts.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Map, Value};

/// Percentiles of a latency, in milliseconds.
#[derive(Debug)]
pub(crate) struct Latency(hdrhistogram::Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        // Microseconds up to ten minutes, to three digits.
        Self(
            hdrhistogram::Histogram::new_with_max(600_000_000, 3)
                .expect("constant bounds are valid"),
        )
    }

    pub(crate) fn record(&mut self, elapsed: std::time::Duration) {
        self.0
            .saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    /// To a tenth of a millisecond.
    pub(crate) fn median_seconds(&self) -> f64 {
        (self.0.value_at_quantile(0.5) as f64 / 100.0).round() / 10_000.0
    }

    pub(crate) fn json(&self) -> Value {
        let percentile = |p: f64| Value::from(round(self.0.value_at_quantile(p) as f64 / 1000.0));
        let mut map = Map::new();
        map.insert("p50".into(), percentile(0.5));
        map.insert("p99".into(), percentile(0.99));
        map.insert("samples".into(), self.0.len().into());
        Value::Object(map)
    }
}

/// To three decimals: more is noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Prints figures: one JSON object, or a line each. If nobody reads them any more, so be it.
pub(crate) fn print(figures: &Value, json: bool) {
    let _ = std::io::stdout().write_all(text(figures, json).as_bytes());
}

fn text(figures: &Value, json: bool) -> String {
    if json {
        return format!("{figures}\n");
    }
    let mut text = String::new();
    for (name, value) in figures.as_object().into_iter().flatten() {
        match value {
            Value::Object(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect();
                let _ = writeln!(text, "{name:<28} {}", parts.join(", "));
            }
            value => {
                let _ = writeln!(text, "{name:<28} {value}");
            }
        }
    }
    text
}
