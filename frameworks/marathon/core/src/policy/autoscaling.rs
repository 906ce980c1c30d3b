//! Autoscaling: from what is measured to how many instances there should be.
//!
//! Wanted: a pure decision; a measurement that is a tenth beside the target changes nothing; instances that were not measured never make the
//! step larger (they count as idle when more are wanted, as busy when fewer are); the bounds always hold; after a change it is quiet for as
//! long as is set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::{App, Faults};

/// So far beside the target, as a share of it, nothing is done.
const TOLERANCE: f64 = 0.1;
/// More instances are never asked for.
const MOST: u32 = 100_000;
/// The longest URL and sample selector, in bytes.
const MAX_TEXT: usize = 4096;

/// How an app is scaled by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Never fewer; at least 1.
    pub min_instances: u32,
    /// Never more.
    pub max_instances: u32,
    /// What is measured.
    pub metric: Metric,
    /// What one instance should have of it: percent of the app's `cpus` or `mem`, or the metric's own unit.
    pub target: f64,
    /// From one measurement to the next.
    #[serde(default = "fifteen")]
    pub interval_seconds: u32,
    /// So long after the last change there are not more.
    #[serde(default = "sixty")]
    pub scale_up_cooldown_seconds: u32,
    /// So long after the last change there are not fewer.
    #[serde(default = "three_hundred")]
    pub scale_down_cooldown_seconds: u32,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Metric {
    /// CPU time of the instances that are ready, from the statistics of their agents.
    Cpu,
    /// Memory of the instances that are ready, page cache left out.
    Memory,
    /// A number for the whole app.
    Prometheus {
        /// A query of Prometheus' HTTP API (`http://HOST:9090/api/v1/query?query=…`), or a page in its text format.
        url: String,
        /// Of a page: which samples are added up: `name`, `name{label="value"}`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sample: Option<String>,
    },
}

const fn fifteen() -> u32 {
    15
}

const fn sixty() -> u32 {
    60
}

const fn three_hundred() -> u32 {
    300
}

impl Autoscaling {
    pub(super) fn validate(&self, app: &App, faults: &mut Faults) {
        let path = |field: &str| format!("/autoscaling/{field}");
        if app.is_daemon() {
            faults.add(
                "/autoscaling",
                "a daemon app has as many instances as agents that match",
            );
        }
        if self.min_instances == 0 {
            faults.add(path("minInstances"), "must be greater than 0");
        }
        if self.max_instances < self.min_instances {
            faults.add(path("maxInstances"), "must not be less than minInstances");
        }
        if self.max_instances > MOST {
            faults.add(
                path("maxInstances"),
                format!("must not be greater than {MOST}"),
            );
        }
        if !(self.target.is_finite() && self.target > 0.0) {
            faults.add(path("target"), "must be greater than 0");
        }
        if !(1..=3600).contains(&self.interval_seconds) {
            faults.add(path("intervalSeconds"), "must be from 1 to 3600");
        }
        let single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP");
        if single.is_some_and(|value| value == "true") {
            faults.add(
                "/autoscaling",
                "Single instance app may only have one instance",
            );
        }
        if app.has_unshared_volumes() {
            let message = "an app with external volumes that are not shared has one instance";
            faults.add("/autoscaling", message);
        }
        match &self.metric {
            Metric::Cpu | Metric::Memory => {
                if app.pod.is_some() {
                    let message =
                        "what a pod uses is not measured: use a metric of type prometheus";
                    faults.add(path("metric"), message);
                }
                let (name, own) = match self.metric {
                    Metric::Cpu => ("cpus", app.cpus),
                    _ => ("mem", app.mem),
                };
                if app.pod.is_none() && own <= 0.0 {
                    faults.add(
                        path("metric"),
                        format!("the app has no {name} of which this could be a share"),
                    );
                }
            }
            Metric::Prometheus { url, sample } => {
                let http = url.starts_with("http://") || url.starts_with("https://");
                let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
                if !http || !plain || url.len() > MAX_TEXT {
                    let message =
                        "must be an http or https URL, percent-encoded, of at most 4096 bytes";
                    faults.add(path("metric/url"), message);
                }
                if sample
                    .as_ref()
                    .is_some_and(|text| text.is_empty() || text.len() > MAX_TEXT)
                {
                    faults.add(path("metric/sample"), "must have from 1 to 4096 bytes");
                }
            }
        }
    }

    /// The name of its metric, for people.
    const fn what(&self) -> &'static str {
        match self.metric {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::Prometheus { .. } => "metric",
        }
    }
}

/// What was measured, made ready for a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    /// Over so many instances, the sum of what each uses in percent of what it has.
    Percent { sum: f64, measured: u32 },
    /// For the app as a whole.
    Total(f64),
    /// Nothing.
    None,
}

/// What follows from a reading.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// How many there should be.
    pub(crate) wants: u32,
    /// How long it still has to wait for that.
    pub(crate) wait: Duration,
    /// `cpu 91 % of 70 %`.
    pub(crate) why: String,
}

/// How many instances there should be, where there are `instances` and the last change was `quiet` ago.
pub(crate) fn decide(
    settings: &Autoscaling,
    instances: u32,
    reading: Reading,
    quiet: Duration,
) -> Verdict {
    let target = settings.target;
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded below by 0 and above by MOST before"
    )]
    let whole = |value: f64| (value - 1e-9).ceil().clamp(0.0, f64::from(MOST)) as u32;
    let beside = |ratio: f64| (ratio - 1.0).abs() > TOLERANCE;
    let (wants, why) = match reading {
        Reading::Percent { sum, measured } if measured > 0 && sum.is_finite() => {
            let average = sum / f64::from(measured);
            let unknown = f64::from(instances.saturating_sub(measured)) * target;
            let wants = if !beside(average / target) {
                instances
            } else if average > target {
                whole(sum / target).max(instances)
            } else {
                whole((sum + unknown) / target).min(instances)
            };
            let why = format!(
                "{} {} % of {} %",
                settings.what(),
                average.round(),
                rounded(target)
            );
            (wants, why)
        }
        Reading::Total(value) if value.is_finite() => {
            let ratio = value / (target * f64::from(instances.max(1)));
            let wants = if beside(ratio) {
                whole(value / target)
            } else {
                instances
            };
            let each = rounded(value / f64::from(instances.max(1)));
            let why = format!("{} {each} of {} each", settings.what(), rounded(target));
            (wants, why)
        }
        _ => (instances, "nothing is measured".to_owned()),
    };
    // None are there because somebody wanted none.
    let wants = if instances == 0 {
        0
    } else {
        wants.clamp(
            settings.min_instances,
            settings.max_instances.max(settings.min_instances),
        )
    };
    let inside = (settings.min_instances..=settings.max_instances).contains(&instances);
    let cooldown = match wants.cmp(&instances) {
        // What is out of bounds waits for nothing.
        _ if !inside => 0,
        std::cmp::Ordering::Greater => settings.scale_up_cooldown_seconds,
        std::cmp::Ordering::Less => settings.scale_down_cooldown_seconds,
        std::cmp::Ordering::Equal => 0,
    };
    let wait = Duration::from_secs(u64::from(cooldown)).saturating_sub(quiet);
    Verdict { wants, wait, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_there_should_be() {
        let settings = |metric: Metric, target: f64| Autoscaling {
            min_instances: 2,
            max_instances: 10,
            metric,
            target,
            interval_seconds: 15,
            scale_up_cooldown_seconds: 60,
            scale_down_cooldown_seconds: 300,
        };
        let percent = |sum: f64, measured: u32| Reading::Percent { sum, measured };
        let cpu = settings(Metric::Cpu, 70.0);
        let total = settings(
            Metric::Prometheus {
                url: "http://x".to_owned(),
                sample: None,
            },
            100.0,
        );
        for (settings, instances, reading, quiet, want, wait, why) in [
            // As much as wanted, and a tenth beside it.
            (&cpu, 4, percent(280.0, 4), 0, 4, 0, "cpu 70 % of 70 %"),
            (&cpu, 4, percent(305.0, 4), 0, 4, 0, "cpu 76 % of 70 %"),
            (&cpu, 4, percent(255.0, 4), 0, 4, 0, "cpu 64 % of 70 %"),
            // More, fewer.
            (&cpu, 4, percent(364.0, 4), 60, 6, 0, "cpu 91 % of 70 %"),
            (&cpu, 4, percent(364.0, 4), 45, 6, 15, "cpu 91 % of 70 %"),
            (&cpu, 4, percent(160.0, 4), 300, 3, 0, "cpu 40 % of 70 %"),
            (&cpu, 4, percent(160.0, 4), 60, 3, 240, "cpu 40 % of 70 %"),
            // Bounds.
            (&cpu, 4, percent(4000.0, 4), 60, 10, 0, "cpu 1000 % of 70 %"),
            (&cpu, 4, percent(0.0, 4), 300, 2, 0, "cpu 0 % of 70 %"),
            (&cpu, 1, percent(70.0, 1), 0, 2, 0, "cpu 70 % of 70 %"),
            (&cpu, 12, percent(840.0, 12), 0, 10, 0, "cpu 70 % of 70 %"),
            (&cpu, 1, Reading::None, 0, 2, 0, "nothing is measured"),
            // What was not measured makes no step larger.
            (&cpu, 4, percent(200.0, 2), 60, 4, 0, "cpu 100 % of 70 %"),
            (&cpu, 4, percent(0.0, 2), 300, 2, 0, "cpu 0 % of 70 %"),
            (&cpu, 6, percent(20.0, 1), 300, 6, 0, "cpu 20 % of 70 %"),
            (&cpu, 4, percent(0.0, 0), 300, 4, 0, "nothing is measured"),
            (
                &cpu,
                4,
                percent(f64::NAN, 4),
                300,
                4,
                0,
                "nothing is measured",
            ),
            // None, because somebody wanted none.
            (&cpu, 0, percent(0.0, 0), 300, 0, 0, "nothing is measured"),
            // A number for all.
            (
                &total,
                4,
                Reading::Total(420.0),
                60,
                4,
                0,
                "metric 105 of 100 each",
            ),
            (
                &total,
                4,
                Reading::Total(610.0),
                60,
                7,
                0,
                "metric 152.5 of 100 each",
            ),
            (
                &total,
                4,
                Reading::Total(300.0),
                300,
                3,
                0,
                "metric 75 of 100 each",
            ),
            (
                &total,
                4,
                Reading::Total(0.0),
                300,
                2,
                0,
                "metric 0 of 100 each",
            ),
            (
                &total,
                4,
                Reading::Total(f64::INFINITY),
                300,
                4,
                0,
                "nothing is measured",
            ),
            (
                &total,
                4,
                Reading::Total(1e30),
                300,
                10,
                0,
                "metric 250000000000000000000000000000 of 100 each",
            ),
        ] {
            let verdict = decide(settings, instances, reading, Duration::from_secs(quiet));
            assert_eq!(
                (verdict.wants, verdict.wait.as_secs(), verdict.why.as_str()),
                (want, wait, why),
                "{instances} with {reading:?}"
            );
        }
    }
}
