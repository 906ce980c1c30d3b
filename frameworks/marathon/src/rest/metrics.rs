//! `/metrics` under Marathon's names, and `/metrics/prometheus`.

use std::{sync::atomic::Ordering, time::Instant};

use serde_json::{Map, Value, json};

use super::serve::{HttpStats, Leading};

/// Gauges and counters by name.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    gauges: Vec<(&'static str, f64)>,
    counters: Vec<(&'static str, u64)>,
}

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
    Metrics {
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
    }
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
    json!({ "version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": {}, "meters": {}, "timers": {} })
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
    gauges.chain(counters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_figures() {
        let metrics = Metrics {
            gauges: vec![("marathon.apps.active.gauge", 2.0)],
            counters: vec![("a.b-c", 3)],
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
}
