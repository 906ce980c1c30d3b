//! All numbers under Mesos' names (`/metrics/snapshot`, GET_METRICS), and the same for Prometheus.
//!
//! Prometheus' names are Mesos' with `tepui_` in front, everything but letters and digits as `_`, and `_total` behind counters;
//! frameworks become labels. Numbers that Mesos does not have begin with `tepui/`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tepui_model::FrameworkId;

use super::{Metrics, Timer, core, system};
use crate::driver::CoreNumbers;
use crate::view::Totals;

/// What numbers are made of.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The core's; none while this master does not lead.
    pub(crate) numbers: Option<Box<CoreNumbers>>,
    pub(crate) totals: Option<Totals>,
    pub(crate) names: HashMap<FrameworkId, String>,
    /// Parcels and bytes that wait for the core.
    pub(crate) inbox: (usize, usize),
    pub(crate) epoch: Option<u64>,
    pub(crate) uptime: Duration,
    pub(crate) per_framework: bool,
    /// Read off the view.
    pub(crate) more: Vec<Labelled>,
}

/// A number whose name holds a name that somebody else chose: for Prometheus that becomes a label.
#[derive(Debug, Clone)]
pub(crate) struct Labelled {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) value: f64,
    /// The name for Prometheus.
    pub(crate) family: String,
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl Labelled {
    /// Without labels.
    pub(crate) fn plain(kind: Kind, name: String, value: f64) -> Self {
        Self {
            family: name.clone(),
            name,
            kind,
            value,
            labels: Vec::new(),
        }
    }

    /// A number of a framework: `rest` is what follows its name and id.
    pub(crate) fn of_framework(name: &str, id: &str, kind: Kind, rest: &str, value: f64) -> Self {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        Self {
            name: format!("master/frameworks/{encoded}/{id}/{rest}"),
            kind,
            value,
            family: format!("master_framework_{rest}"),
            labels: vec![
                ("framework", name.to_owned()),
                ("framework_id", id.to_owned()),
            ],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

pub(super) struct Number {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) value: f64,
    /// Its name for Prometheus, and labels, if they are not just the name.
    pub(super) shown: Option<(String, Vec<(&'static str, String)>)>,
}

pub(super) struct Numbers(pub(super) Vec<Number>);

impl Numbers {
    pub(super) fn push(&mut self, kind: Kind, name: impl Into<Cow<'static, str>>, value: f64) {
        self.0.push(Number {
            name: name.into(),
            kind,
            value,
            shown: None,
        });
    }

    pub(super) fn labelled(&mut self, number: Labelled) {
        self.0.push(Number {
            name: number.name.into(),
            kind: number.kind,
            value: number.value,
            shown: Some((number.family, number.labels)),
        });
    }

    pub(super) fn counter(&mut self, name: impl Into<Cow<'static, str>>, value: u64) {
        self.push(Kind::Counter, name, value as f64);
    }

    /// The latest, how many there were, and the statistics of those of late.
    pub(super) fn timer(&mut self, name: &str, timer: &Timer) {
        if let Some(latest) = timer.latest_ms() {
            self.gauge(name.to_owned(), latest);
        }
        self.counter(format!("{name}/count"), timer.count());
        for (statistic, value) in timer.statistics_ms() {
            self.gauge(format!("{name}/{statistic}"), value);
        }
    }

    pub(super) fn gauge(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        self.push(Kind::Gauge, name, value);
    }
}

/// Names and values as Mesos shows them.
pub(crate) fn snapshot(sources: &Sources, shell: &Metrics) -> impl Iterator<Item = (String, f64)> {
    collect(sources, shell)
        .0
        .into_iter()
        .map(|number| (number.name.into_owned(), number.value))
}

/// The same as Prometheus' text format.
pub(crate) fn prometheus(sources: &Sources, shell: &Metrics) -> String {
    let mut families = std::collections::BTreeMap::<String, (Kind, Vec<String>)>::new();
    for number in collect(sources, shell).0 {
        let (plain, labels) = match number.shown {
            Some(shown) => shown,
            None => (number.name.into_owned(), Vec::new()),
        };
        let mut name = String::from("tepui_");
        name.extend(
            plain
                .trim_start_matches("tepui/")
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }),
        );
        if number.kind == Kind::Counter {
            name.push_str("_total");
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let line = format!("{name}{labels} {}", number.value);
        families
            .entry(name)
            .or_insert((number.kind, Vec::new()))
            .1
            .push(line);
    }
    let mut text = String::with_capacity(16 << 10);
    for (name, (kind, lines)) in families {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "# TYPE {name} {}",
            if kind == Kind::Counter {
                "counter"
            } else {
                "gauge"
            }
        );
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    let _ = writeln!(
        text,
        "# TYPE tepui_build_info gauge\ntepui_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    text
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn collect(sources: &Sources, shell: &Metrics) -> Numbers {
    let mut numbers = Numbers(Vec::with_capacity(256));
    numbers.gauge(
        "master/elected",
        if sources.numbers.is_some() { 1.0 } else { 0.0 },
    );
    numbers.gauge("master/uptime_secs", sources.uptime.as_secs_f64());
    if let Some(core) = &sources.numbers {
        core::of_core(&core.counters, &mut numbers);
        core::of_roles_and_principals(core, &mut numbers);
        if sources.per_framework {
            for (id, counters) in &core.frameworks {
                if let Some(name) = sources.names.get(id) {
                    core::of_framework(id, name, counters, &mut numbers);
                }
            }
        }
    }
    if let Some(totals) = &sources.totals {
        of_resources(totals, &mut numbers);
    }
    for more in &sources.more {
        numbers.labelled(more.clone());
    }
    of_shell(sources, shell, &mut numbers);
    for (name, value) in system::numbers() {
        numbers.gauge(name, value);
    }
    numbers
}

fn of_resources(totals: &Totals, numbers: &mut Numbers) {
    let names = ["cpus", "gpus", "mem", "disk"];
    for (suffix, total, used) in [
        ("", &totals.total, &totals.used),
        (
            "_revocable",
            &totals.revocable_total,
            &totals.revocable_used,
        ),
    ] {
        for ((name, total), used) in names.iter().zip(total).zip(used) {
            numbers.gauge(format!("master/{name}{suffix}_total"), *total);
            numbers.gauge(format!("master/{name}{suffix}_used"), *used);
            numbers.gauge(
                format!("master/{name}{suffix}_percent"),
                if *total > 0.0 { used / total } else { 0.0 },
            );
        }
    }
    for (((name, total), used), offered) in names
        .iter()
        .zip(&totals.total)
        .zip(&totals.used)
        .zip(&totals.offered)
    {
        if *name != "gpus" {
            numbers.gauge(format!("allocator/mesos/resources/{name}/total"), *total);
            numbers.gauge(
                format!("allocator/mesos/resources/{name}/offered_or_allocated"),
                used + offered,
            );
        }
    }
}

fn of_shell(sources: &Sources, shell: &Metrics, numbers: &mut Numbers) {
    numbers.gauge("master/event_queue_messages", sources.inbox.0 as f64);
    numbers.gauge("master/event_queue_dispatches", 0.0);
    numbers.gauge("master/event_queue_http_requests", 0.0);
    numbers.gauge("allocator/mesos/event_queue_dispatches", 0.0);
    numbers.gauge("allocator/event_queue_dispatches", 0.0);
    numbers.gauge(
        "master/operator_event_stream_subscribers",
        shell.operator_subscribers.load(Relaxed) as f64,
    );
    numbers.counter("master/http_cache_hits", shell.cache_hits.load(Relaxed));
    numbers.gauge(
        "registrar/log/recovered",
        if sources.epoch.is_some() { 1.0 } else { 0.0 },
    );
    numbers.gauge("registrar/log/ensemble_size", 1.0);
    numbers.gauge(
        "registrar/registry_size_bytes",
        shell.registry_size.bytes() as f64,
    );
    for (name, timer) in [
        ("registrar/state_fetch_ms", &shell.state_fetch),
        ("registrar/state_store_ms", &shell.state_store),
        ("allocator/mesos/allocation_run_ms", &shell.allocation_run),
        (
            "allocator/mesos/allocation_run_latency_ms",
            &shell.allocation_run_latency,
        ),
    ] {
        numbers.timer(name, timer);
    }
    numbers.gauge("tepui/epoch", sources.epoch.unwrap_or_default() as f64);
    numbers.gauge("tepui/inbox_bytes", sources.inbox.1 as f64);
    numbers.counter("tepui/step_batches", shell.batches.load(Relaxed));
    numbers.counter("tepui/step_inputs", shell.inputs.load(Relaxed));
    numbers.push(
        Kind::Counter,
        "tepui/step_seconds",
        shell.step_nanos.load(Relaxed) as f64 / 1e9,
    );
    numbers.gauge(
        "tepui/step_seconds_max",
        shell.step_nanos_max.load(Relaxed) as f64 / 1e9,
    );
    numbers.gauge(
        "tepui/framework_streams",
        shell.streams.load(Relaxed) as f64,
    );
    numbers.gauge("tepui/agent_streams", shell.links.load(Relaxed) as f64);
    numbers.counter(
        "tepui/outbox_overflows",
        shell.outbox_overflows.load(Relaxed),
    );
    numbers.counter(
        "tepui/outbox_evictions",
        shell.outbox_evictions.load(Relaxed),
    );
    numbers.gauge(
        "tepui/outboxes_bytes",
        shell.outboxes_bytes.load(Relaxed) as f64,
    );
    numbers.counter(
        "tepui/connections_stalled",
        shell.connections_stalled.load(Relaxed),
    );
    numbers.counter("tepui/log_lines_lost", shell.log_lines_lost.load(Relaxed));
    numbers.gauge("tepui/connections", shell.connections.load(Relaxed) as f64);
    numbers.counter(
        "tepui/connections_refused",
        shell.connections_refused.load(Relaxed),
    );
    numbers.counter("tepui/http_requests", shell.http_requests.load(Relaxed));
    for (class, count) in shell.http_answers.iter().enumerate().skip(1) {
        numbers.counter(format!("tepui/http_answers_{class}xx"), count.load(Relaxed));
    }
    numbers.gauge(
        "tepui/ui_subscribers",
        shell.ui_subscribers.load(Relaxed) as f64,
    );
    numbers.counter(
        "tepui/subscribers_closed",
        shell.subscribers_closed.load(Relaxed),
    );
    numbers.counter("tepui/proxied_requests", shell.proxied.load(Relaxed));
    if let Some(bytes) = system::resident_bytes() {
        numbers.gauge("tepui/process_resident_memory_bytes", bytes);
    }
}

#[cfg(test)]
mod tests {
    use tepui_master_core::FrameworkCounters;
    use tepui_model::TaskState;
    use tepui_proto::mesos::task_status;

    use super::*;

    #[test]
    fn every_name_is_there_once_and_prometheus_can_read_them() {
        let mut numbers = CoreNumbers::default();
        numbers.counters.task_causes.insert(
            (
                TaskState::Lost as i32,
                0,
                task_status::Reason::AgentRemoved as i32,
            ),
            3,
        );
        let id = FrameworkId::new("f-1").expect("an id");
        numbers
            .frameworks
            .push((id.clone(), FrameworkCounters::default()));
        let sources = Sources {
            numbers: Some(Box::new(numbers)),
            totals: Some(Totals::default()),
            names: [(id, "a \"name\"".to_owned())].into(),
            per_framework: true,
            ..Sources::default()
        };
        let shell = Metrics::default();
        let mut names: Vec<_> = snapshot(&sources, &shell).map(|(name, _)| name).collect();
        for expected in [
            "master/elected",
            "master/tasks_running",
            "master/cpus_percent",
            "master/task_lost/source_master/reason_slave_removed",
            "master/frameworks/a%20%22name%22/f%2D1/offers/sent",
        ] {
            let expected = expected.replace("f%2D1", "f-1");
            assert!(names.contains(&expected), "{expected} is missing");
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        let text = prometheus(&sources, &shell);
        assert!(text.contains("tepui_master_framework_offers_sent_total{framework=\"a \\\"name\\\"\",framework_id=\"f-1\"} 0\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(
                name.chars()
                    .take_while(|c| *c != '{')
                    .all(|c| c.is_ascii_alphanumeric() || c == '_'),
                "{line}"
            );
        }
    }
}
