//! `/metrics` under Marathon's names, and `/metrics/prometheus`.

use std::{fmt::Write as _, sync::atomic::Ordering, time::Instant};

use serde_json::{Map, Value, json};

use super::{
    meters::{Figures, QUANTILES, RATES},
    serve::{HttpStats, Leading},
};

/// Gauges and counters by name.
#[derive(Debug, Default)]
pub(super) struct Metrics {
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
/// Timers of [`HttpStats::durations`].
const TIMERS: [&str; 5] = [
    "marathon.http.requests.duration.timer.seconds",
    "marathon.http.requests.get.duration.timer.seconds",
    "marathon.http.requests.post.duration.timer.seconds",
    "marathon.http.requests.put.duration.timer.seconds",
    "marathon.http.requests.delete.duration.timer.seconds",
];

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn collect(leading: &Leading, http: &HttpStats, started: Instant) -> Metrics {
    let (apps, pods, groups, deployments, running, staged, ended, held, (restarts, moves)) = {
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
        )
    };
    let (readers, slow_readers, event_bytes) = leading.events.counts();
    let stats = leading.engine.stats();
    let answers = |class: usize| http.answers[class].load(Ordering::Relaxed);
    let now = Instant::now();
    let rates = http.rates.iter().skip(1).map(|meter| meter.read(now));
    let durations = http.durations.iter().map(|timer| timer.read(now));
    let mut metrics = Metrics {
        meters: METERS.into_iter().zip(rates).collect(),
        timers: TIMERS.into_iter().zip(durations).collect(),
        gauges: vec![
            ("marathon.apps.active.gauge", apps as f64),
            ("marathon.pods.active.gauge", pods as f64),
            ("marathon.groups.active.gauge", groups as f64),
            ("marathon.deployments.active.gauge", deployments as f64),
            ("marathon.instances.running.gauge", f64::from(running)),
            ("marathon.instances.staged.gauge", f64::from(staged)),
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

/// Dropwizard's shape, version 4.
pub(super) fn json(metrics: &Metrics) -> Value {
    let gauges: Map<_, _> = metrics
        .gauges
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({ "value": value })))
        .collect();
    let counters: Map<_, _> = metrics
        .counters
        .iter()
        .map(|(name, count)| ((*name).to_owned(), json!({ "count": count })))
        .collect();
    let figures = |all: &[(&'static str, Figures)]| -> Map<String, Value> {
        let one = |(name, figures): &(&'static str, Figures)| ((*name).to_owned(), figures.json());
        all.iter().map(one).collect()
    };
    json!({ "version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": {},
        "meters": figures(&metrics.meters), "timers": figures(&metrics.timers) })
}

pub(super) fn prometheus(metrics: &Metrics) -> String {
    let name = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let gauges = metrics
        .gauges
        .iter()
        .map(|(known, value)| format!("# TYPE {0} gauge\n{0} {value}\n", name(known)));
    let counters = metrics
        .counters
        .iter()
        .map(|(known, count)| format!("# TYPE {0} counter\n{0} {count}\n", name(known)));
    let mut text: String = gauges.chain(counters).collect();
    for (known, figures) in metrics.meters.iter().chain(&metrics.timers) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::meters::{Meter, Timer};
    use super::*;

    #[test]
    fn both_forms_have_the_same_figures() {
        let metrics = Metrics {
            gauges: vec![("marathon.apps.active.gauge", 2.0)],
            counters: vec![("a.b-c", 3)],
            ..Metrics::default()
        };
        assert_eq!(
            json(&metrics)["gauges"]["marathon.apps.active.gauge"]["value"],
            2.0
        );
        assert_eq!(json(&metrics)["counters"]["a.b-c"]["count"], 3);
        assert_eq!(
            prometheus(&metrics),
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
        let all = json(&metrics);
        assert_eq!(all["meters"]["m.meter"]["units"], "events/second");
        assert_eq!(all["timers"]["t.timer"]["p75"], 0.25);
        let text = prometheus(&metrics);
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
}
