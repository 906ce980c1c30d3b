//! What the shell counts itself; the core's numbers are its own. [`names`] joins both under Mesos' names and Prometheus'.

mod core;
mod names;
mod registry;
mod system;
mod timer;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

pub(crate) use names::{Kind, Labelled, Sources, prometheus, snapshot};
pub(crate) use registry::RegistrySize;
pub(crate) use system::numbers as machine;
pub(crate) use timer::Timer;

/// Counters and gauges of the shell, changed from any thread.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) batches: AtomicU64,
    pub(crate) inputs: AtomicU64,
    pub(crate) step_nanos: AtomicU64,
    pub(crate) step_nanos_max: AtomicU64,
    pub(crate) streams: AtomicUsize,
    pub(crate) links: AtomicUsize,
    pub(crate) outbox_overflows: AtomicU64,
    pub(crate) outbox_evictions: AtomicU64,
    pub(crate) outboxes_bytes: AtomicUsize,
    pub(crate) connections_stalled: AtomicU64,
    pub(crate) log_lines_lost: AtomicU64,
    /// A transaction of the registry, from the registrar's hand to the store's answer.
    pub(crate) state_store: Timer,
    /// The registry read by a new leader.
    pub(crate) state_fetch: Timer,
    pub(crate) registry_size: RegistrySize,
    /// A run of the allocator, offers made of it included.
    pub(crate) allocation_run: Timer,
    /// From the first input of a batch until the allocator runs on what they changed.
    pub(crate) allocation_run_latency: Timer,
    pub(crate) connections: AtomicUsize,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) http_requests: AtomicU64,
    pub(crate) http_answers: [AtomicU64; 6],
    pub(crate) operator_subscribers: AtomicUsize,
    pub(crate) ui_subscribers: AtomicUsize,
    pub(crate) subscribers_closed: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) proxied: AtomicU64,
}

impl Metrics {
    /// A batch of inputs was stepped and carried out.
    pub(crate) fn batch(&self, inputs: usize, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Relaxed);
        self.inputs.fetch_add(inputs as u64, Relaxed);
        self.step_nanos.fetch_add(nanos, Relaxed);
        self.step_nanos_max.fetch_max(nanos, Relaxed);
    }

    /// So many peers are connected.
    pub(crate) fn peers(&self, streams: usize, links: usize) {
        self.streams.store(streams, Relaxed);
        self.links.store(links, Relaxed);
    }

    /// A peer's outbox was full and its stream was closed.
    pub(crate) fn outbox_overflow(&self) {
        self.outbox_overflows.fetch_add(1, Relaxed);
    }

    /// A peer's outbox was the fullest when all together were too full; its stream was closed.
    pub(crate) fn outbox_eviction(&self) {
        self.outbox_evictions.fetch_add(1, Relaxed);
    }

    /// So many bytes wait in all outboxes.
    pub(crate) fn outboxes(&self, bytes: usize) {
        self.outboxes_bytes.store(bytes, Relaxed);
    }

    /// The log did not keep up with the core.
    pub(crate) fn log_line_lost(&self) {
        self.log_lines_lost.fetch_add(1, Relaxed);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: u16) {
        self.http_requests.fetch_add(1, Relaxed);
        if let Some(counter) = self.http_answers.get(usize::from(status / 100)) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// Counts one up while it lives.
pub(crate) struct Gauge<F: Fn(&Metrics) -> &AtomicUsize> {
    metrics: std::sync::Arc<Metrics>,
    field: F,
}

impl<F: Fn(&Metrics) -> &AtomicUsize> Gauge<F> {
    /// Counts up now, down when it is dropped. Also tells what the count was before.
    pub(crate) fn up(metrics: std::sync::Arc<Metrics>, field: F) -> (Self, usize) {
        let before = field(&metrics).fetch_add(1, Relaxed);
        (Self { metrics, field }, before)
    }
}

impl<F: Fn(&Metrics) -> &AtomicUsize> Drop for Gauge<F> {
    fn drop(&mut self) {
        (self.field)(&self.metrics).fetch_sub(1, Relaxed);
    }
}
