//! `/metrics` under Marathon's names, and `/metrics/prometheus`.

use std::{borrow::Cow, fmt::Write as _, sync::atomic::Ordering, time::Instant};

use serde_json::{Map, Value, json};

use super::serve::{HttpStats, Leading};
use crate::{
    meters::{Figures, QUANTILES, RATES},
    pushes::PushForm,
};

/// What names of Marathon's begin with, unless `--metrics_name_prefix` says otherwise.
const PREFIX: &str = "marathon";

/// All metrics by name, as they are now.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    prefix: String,
    gauges: Vec<(&'static str, f64)>,
    counters: Vec<(&'static str, u64)>,
    meters: Vec<(&'static str, Figures)>,
    timers: Vec<(&'static str, Figures)>,
}

/// Meters of answers by the first digit of their status.
const METERS: [&str; 5] = [
    "marathon.http.responses.1xx.rate.meter",
    "marathon.http.responses.2xx.rate.meter",
    "marathon.http.responses.3xx.rate.meter",
    "marathon.http.responses.4xx.rate.meter",
    "marathon.http.responses.5xx.rate.meter",
];
/// Timers of [`HttpStats::durations`], and of what is dropped from the store.
const TIMERS: [&str; 7] = [
    "marathon.http.requests.duration.timer.seconds",
    "marathon.http.requests.get.duration.timer.seconds",
    "marathon.http.requests.post.duration.timer.seconds",
    "marathon.http.requests.put.duration.timer.seconds",
    "marathon.http.requests.delete.duration.timer.seconds",
    "marathon.persistence.gc.scan.duration.timer.seconds",
    "marathon.persistence.gc.compaction.duration.timer.seconds",
];

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn collect(
    leading: &Leading,
    http: &HttpStats,
    started: Instant,
    prefix: &str,
) -> Metrics {
    let (apps, pods, groups, deployments, running, staged, ended, held, (restarts, moves), kills) = {
        let view = leading.engine.view().read();
        let (running, staged) = view
            .apps()
            .chain(view.pods())
            .fold((0, 0), |(running, staged), app| {
                (running + app.counts.running, staged + app.counts.staged)
            });
        (
            view.app_count(),
            view.pod_count(),
            view.group_count(),
            view.deployment_count(),
            running,
            staged,
            view.ended_tasks(),
            view.held().map_or(0, |held| held.reservations),
            view.disruptions(),
            view.kills(),
        )
    };
    let (readers, slow_readers, event_bytes) = leading.events.counts();
    let stats = leading.engine.stats();
    let answers = |class: usize| http.answers[class].load(Ordering::Relaxed);
    let now = Instant::now();
    let rates = http.rates.iter().skip(1).map(|meter| meter.read(now));
    let gc = [&stats.gc.scan, &stats.gc.compaction];
    let durations = http.durations.iter().chain(gc);
    let durations = durations.map(|timer| timer.read(now));
    let mut metrics = Metrics {
        prefix: prefix.to_owned(),
        meters: METERS.into_iter().zip(rates).collect(),
        timers: TIMERS.into_iter().zip(durations).collect(),
        gauges: vec![
            ("marathon.apps.active.gauge", apps as f64),
            ("marathon.pods.active.gauge", pods as f64),
            ("marathon.groups.active.gauge", groups as f64),
            ("marathon.deployments.active.gauge", deployments as f64),
            ("marathon.instances.running.gauge", f64::from(running)),
            ("marathon.instances.staged.gauge", f64::from(staged)),
            (
                "marathon.instances.launch-overdue.gauge",
                kills.overdue as f64,
            ),
            (
                "marathon.instances.inflight-kills.gauge",
                kills.in_flight as f64,
            ),
            (
                "marathon.instances.inflight-kill-attempts.gauge",
                kills.attempts as f64,
            ),
            ("tepui.tasks.ended.kept.gauge", ended.0 as f64),
            ("tepui.store.held.reservations.gauge", held as f64),
            (
                "marathon.uptime.gauge.seconds",
                started.elapsed().as_secs_f64(),
            ),
            (
                "marathon.leadership.duration.gauge.seconds",
                stats.counts.since.elapsed().as_secs_f64(),
            ),
            ("marathon.http.event-streams.active.gauge", readers as f64),
            (
                "marathon.http.requests.active.gauge",
                http.active.load(Ordering::Relaxed) as f64,
            ),
            (
                "tepui.engine.inputs.waiting.gauge",
                leading.engine.waiting() as f64,
            ),
            (
                "tepui.engine.busy.gauge.seconds",
                stats.busy_ns.load(Ordering::Relaxed) as f64 / 1e9,
            ),
        ],
        counters: vec![
            (
                "marathon.http.responses.event-stream.size.counter.bytes",
                event_bytes,
            ),
            (
                "marathon.http.requests.size.counter.bytes",
                http.sizes[0].load(Ordering::Relaxed),
            ),
            (
                "marathon.http.responses.size.counter.bytes",
                http.sizes[1].load(Ordering::Relaxed),
            ),
            (
                "marathon.http.responses.size.gzipped.counter.bytes",
                http.packed.load(Ordering::Relaxed),
            ),
            (
                "marathon.persistence.gc.runs.counter",
                stats.gc.runs.load(Ordering::Relaxed),
            ),
            ("tepui.tasks.ended.dropped.counter", ended.1),
            ("tepui.http.event-streams.slow.counter", slow_readers),
            ("tepui.instances.restarted.counter", restarts),
            ("tepui.instances.moved.counter", moves),
            ("tepui.http.responses.2xx.counter", answers(2)),
            ("tepui.http.responses.3xx.counter", answers(3)),
            ("tepui.http.responses.4xx.counter", answers(4)),
            ("tepui.http.responses.5xx.counter", answers(5)),
            (
                "tepui.http.requests.duration.counter.microseconds",
                http.duration_us.load(Ordering::Relaxed),
            ),
            (
                "tepui.engine.inputs.counter",
                stats.inputs.load(Ordering::Relaxed),
            ),
        ],
    };
    metrics.counters.extend(stats.counts.all());
    metrics
}

impl Metrics {
    fn named(&self, name: &'static str) -> Cow<'static, str> {
        match name.strip_prefix(PREFIX) {
            Some(rest) if self.prefix != PREFIX => format!("{}{rest}", self.prefix).into(),
            _ => name.into(),
        }
    }

    /// Dropwizard's shape, version 4.
    pub(super) fn json(&self) -> Value {
        let gauges = self.gauges.iter();
        let gauges = gauges.map(|(name, value)| (self.named(name), json!({ "value": value })));
        let counters = self.counters.iter();
        let counters = counters.map(|(name, count)| (self.named(name), json!({ "count": count })));
        let figures = |all: &[(&'static str, Figures)]| {
            let all = all.iter();
            object(all.map(|(name, figures)| (self.named(name), figures.json())))
        };
        json!({ "version": "4.0.0", "gauges": object(gauges), "counters": object(counters), "histograms": {},
            "meters": figures(&self.meters), "timers": figures(&self.timers) })
    }

    pub(super) fn prometheus(&self) -> String {
        let name = |name| {
            let name = self.named(name);
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        };
        let gauges = self
            .gauges
            .iter()
            .map(|(known, value)| format!("# TYPE {0} gauge\n{0} {value}\n", name(known)));
        let counters = self
            .counters
            .iter()
            .map(|(known, count)| format!("# TYPE {0} counter\n{0} {count}\n", name(known)));
        let mut text: String = gauges.chain(counters).collect();
        for (known, figures) in self.meters.iter().chain(&self.timers) {
            let name = name(known);
            let mut gauge = |part: &str, value: f64| {
                let _ = write!(text, "# TYPE {name}_{part} gauge\n{name}_{part} {value}\n");
            };
            for (part, rate) in RATES.into_iter().zip(figures.rates) {
                gauge(part, rate);
            }
            let Some(spread) = figures.spread else {
                let count = figures.count;
                let _ = write!(text, "# TYPE {name}_count counter\n{name}_count {count}\n");
                continue;
            };
            for (part, seconds) in spread.named() {
                gauge(part, seconds);
            }
            let _ = writeln!(text, "# TYPE {name} summary");
            for ((_, part), seconds) in QUANTILES.into_iter().zip(spread.quantiles) {
                let _ = writeln!(text, "{name}{{quantile=\"{part}\"}} {seconds}");
            }
            let _ = writeln!(text, "{name}_count {}", figures.count);
        }
        text
    }

    /// Lines as StatsD takes them, all as gauges, since what counts here never begins anew.
    pub(super) fn lines(&self, form: PushForm) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |name: &str, value: f64| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
            let name: Cow<'_, str> = match form {
                PushForm::Statsd => name.into(),
                PushForm::DataDog => name.replace(|c| !allowed(c), "_").into(),
            };
            lines.push(format!("{name}:{value}|g\n"));
        };
        for (name, value) in &self.gauges {
            line(&self.named(name), *value);
        }
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        for (name, count) in &self.counters {
            line(&self.named(name), *count as f64);
        }
        for (name, figures) in self.meters.iter().chain(&self.timers) {
            let name = self.named(name);
            #[allow(clippy::cast_precision_loss, reason = "figures for people")]
            line(&format!("{name}.count"), figures.count as f64);
            for (part, rate) in RATES.into_iter().zip(figures.rates) {
                line(&format!("{name}.{part}"), rate);
            }
            let Some(spread) = figures.spread else {
                continue;
            };
            for (part, seconds) in spread.named() {
                let part = match (form, part) {
                    (PushForm::DataDog, "mean") => "average",
                    (_, part) => part,
                };
                line(&format!("{name}.{part}"), seconds);
            }
            for ((part, _), seconds) in QUANTILES.into_iter().zip(spread.quantiles) {
                let part: Cow<'_, str> = match (form, part) {
                    (PushForm::DataDog, "p50") => "median".into(),
                    (PushForm::DataDog, part) => format!("{}percentile", &part[1..]).into(),
                    (PushForm::Statsd, part) => part.into(),
                };
                line(&format!("{name}.{part}"), seconds);
            }
        }
        lines
    }
}

fn object(members: impl Iterator<Item = (Cow<'static, str>, Value)>) -> Map<String, Value> {
    members
        .map(|(name, value)| (name.into_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meters::{Meter, Timer};

    #[test]
    fn both_forms_have_the_same_figures() {
        let metrics = Metrics {
            prefix: PREFIX.to_owned(),
            gauges: vec![("marathon.apps.active.gauge", 2.0)],
            counters: vec![("a.b-c", 3)],
            ..Metrics::default()
        };
        assert_eq!(
            metrics.json()["gauges"]["marathon.apps.active.gauge"]["value"],
            2.0
        );
        assert_eq!(metrics.json()["counters"]["a.b-c"]["count"], 3);
        assert_eq!(
            metrics.prometheus(),
            "# TYPE marathon_apps_active_gauge gauge\nmarathon_apps_active_gauge 2\n# TYPE a_b_c counter\na_b_c 3\n"
        );
    }

    #[test]
    fn meters_and_timers_have_the_shapes_of_both_forms() {
        let now = Instant::now();
        let timer = Timer::new(now);
        timer.mark(now, Duration::from_millis(250));
        let metrics = Metrics {
            meters: vec![("m.meter", Meter::new(now).read(now))],
            timers: vec![("t.timer", timer.read(now))],
            ..Metrics::default()
        };
        let all = metrics.json();
        assert_eq!(all["meters"]["m.meter"]["units"], "events/second");
        assert_eq!(all["timers"]["t.timer"]["p75"], 0.25);
        let text = metrics.prometheus();
        for line in [
            "# TYPE m_meter_m1_rate gauge",
            "# TYPE t_timer summary",
            "t_timer{quantile=\"0.999\"} 0.25",
            "t_timer_count 1",
            "t_timer_max 0.25",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }

    #[test]
    fn names_begin_as_the_flag_says_and_are_pushed_line_by_line() {
        let now = Instant::now();
        let timer = Timer::new(now);
        timer.mark(now, Duration::from_millis(250));
        let metrics = Metrics {
            prefix: "prod.m-1".to_owned(),
            gauges: vec![("marathon.apps.active.gauge", 2.0), ("tepui.a.gauge", 0.5)],
            counters: vec![("marathon.persistence.gc.runs.counter", 3)],
            timers: vec![("marathon.t.timer.seconds", timer.read(now))],
            ..Metrics::default()
        };
        assert_eq!(
            metrics.json()["gauges"]["prod.m-1.apps.active.gauge"]["value"],
            2.0
        );
        assert_eq!(metrics.json()["gauges"]["tepui.a.gauge"]["value"], 0.5);
        assert!(
            metrics
                .prometheus()
                .contains("\nprod_m_1_persistence_gc_runs_counter 3\n")
        );
        let lines = metrics.lines(PushForm::Statsd);
        for line in [
            "prod.m-1.apps.active.gauge:2|g\n",
            "tepui.a.gauge:0.5|g\n",
            "prod.m-1.persistence.gc.runs.counter:3|g\n",
            "prod.m-1.t.timer.seconds.count:1|g\n",
            "prod.m-1.t.timer.seconds.mean:0.25|g\n",
            "prod.m-1.t.timer.seconds.p999:0.25|g\n",
        ] {
            assert!(lines.iter().any(|one| one == line), "{line}: {lines:?}");
        }
        let lines = metrics.lines(PushForm::DataDog);
        for line in [
            "prod.m_1.apps.active.gauge:2|g\n",
            "prod.m_1.t.timer.seconds.average:0.25|g\n",
            "prod.m_1.t.timer.seconds.median:0.25|g\n",
            "prod.m_1.t.timer.seconds.999percentile:0.25|g\n",
        ] {
            assert!(lines.iter().any(|one| one == line), "{line}: {lines:?}");
        }
    }
}
