//! What autoscaling wants to know: what tasks use, from their agents' statistics, and numbers from Prometheus; one small task for each app.
//!
//! As with probes, the core says when to begin and end, and how many measurements are under way at once is bounded. What tasks use is measured
//! in rounds: apps with the same interval are due at the same moments, so that each agent is asked once for all of them.

mod agents;
mod numbers;
mod prometheus;
mod usage;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tepui_marathon_core::{CheckId, Input, Measure, Measured, Metric};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{engine::EngineHandle, probes::HttpClient, rest::Info};

/// Measurements of tasks under way at once.
const MAX_USAGES: usize = 16;
/// So old may be what the first measurement of an app takes from others.
const FIRST: Duration = Duration::from_secs(1);

/// The running measurements of one term of leadership. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Measurer {
    engine: EngineHandle,
    runtime: Handle,
    usages: Arc<Semaphore>,
    numbers: Arc<numbers::Numbers>,
    addresses: Arc<usage::Addresses>,
    agents: Arc<agents::Agents>,
    /// When the first round began.
    begun: Instant,
    client: HttpClient,
    master: watch::Receiver<Info>,
    running: HashMap<CheckId, AbortHandle>,
}

impl Measurer {
    /// `runtime` is where it measures; `master` tells who leads there.
    pub(crate) fn new(
        engine: EngineHandle,
        runtime: Handle,
        master: watch::Receiver<Info>,
    ) -> Self {
        let client = HttpClient::new();
        Self {
            engine,
            runtime,
            usages: Arc::new(Semaphore::new(MAX_USAGES)),
            numbers: Arc::new(numbers::Numbers::new(client.clone())),
            addresses: Arc::default(),
            agents: Arc::new(agents::Agents::new(client.clone())),
            begun: Instant::now(),
            client,
            master,
            running: HashMap::new(),
        }
    }

    /// Begins to measure. The core never uses an id twice.
    pub(crate) fn start(&mut self, measure: Arc<Measure>) {
        let check = measure.check;
        let task = match &measure.metric {
            Metric::Prometheus { .. } => self.runtime.spawn(follow_number(
                measure,
                self.engine.clone(),
                Arc::clone(&self.numbers),
            )),
            Metric::Cpu | Metric::Memory => {
                let meter = usage::Meter::new(
                    self.client.clone(),
                    Arc::clone(&self.addresses),
                    Arc::clone(&self.agents),
                    measure.app.safe(),
                );
                let following = Following {
                    measure,
                    meter,
                    engine: self.engine.clone(),
                    permits: Arc::clone(&self.usages),
                    begun: self.begun,
                    master: self.master.clone(),
                };
                self.runtime.spawn(following.run())
            }
        };
        self.running.insert(check, task.abort_handle());
    }

    /// Ends a measurement; unknown ids are ignored.
    pub(crate) fn stop(&mut self, check: CheckId) {
        if let Some(task) = self.running.remove(&check) {
            task.abort();
        }
    }
}

impl Drop for Measurer {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

/// Tells a number again and again.
async fn follow_number(
    measure: Arc<Measure>,
    engine: EngineHandle,
    numbers: Arc<numbers::Numbers>,
) {
    let Metric::Prometheus { url, sample } = &measure.metric else {
        return;
    };
    let check = measure.check;
    loop {
        let page = numbers.page(url).await;
        let value = page.and_then(|page| {
            let page = String::from_utf8_lossy(&page);
            prometheus::total(&page, sample.as_deref())
        });
        let result = value
            .map(Measured::Value)
            .map_err(|reason| format!("{url}: {reason}"));
        engine.input(Input::Measured { check, result }).await;
        sleep(Duration::from_millis(measure.interval_ms)).await;
    }
}

/// What is needed to tell again and again what the tasks of an app use.
struct Following {
    measure: Arc<Measure>,
    meter: usage::Meter,
    engine: EngineHandle,
    permits: Arc<Semaphore>,
    begun: Instant,
    master: watch::Receiver<Info>,
}

impl Following {
    async fn run(mut self) {
        let check = self.measure.check;
        let interval = Duration::from_millis(self.measure.interval_ms.max(1));
        let mut round = Instant::now().checked_sub(FIRST).unwrap_or(self.begun);
        loop {
            let result = {
                let Ok(_permit) = self.permits.acquire().await else {
                    return;
                };
                measured(
                    &self.measure,
                    &mut self.meter,
                    round,
                    &self.engine,
                    &self.master,
                )
                .await
            };
            self.engine.input(Input::Measured { check, result }).await;
            round = next_round(self.begun, interval, Instant::now());
            sleep_until(round).await;
        }
    }
}

/// When a measurement is due next: at a multiple of its interval, and not much sooner than after one.
fn next_round(begun: Instant, interval: Duration, now: Instant) -> Instant {
    let soonest = now.duration_since(begun) + interval / 2;
    let rounds = soonest.as_nanos().div_ceil(interval.as_nanos().max(1));
    let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
    begun + interval.saturating_mul(rounds)
}

async fn measured(
    measure: &Measure,
    meter: &mut usage::Meter,
    round: Instant,
    engine: &EngineHandle,
    master: &watch::Receiver<Info>,
) -> Result<Measured, String> {
    let tasks = {
        let view = engine.view().read();
        let tasks = view.tasks(&measure.app);
        let running = tasks.filter(|task| task.state == "TASK_RUNNING");
        let placed = running.filter_map(|task| {
            let agent = task.slave_id.as_ref()?;
            Some((task.id.to_string(), agent.to_string()))
        });
        placed.collect::<Vec<_>>()
    };
    let master = master.borrow().master.clone();
    let master = master.ok_or("Marathon is not registered with a master")?;
    let used = meter.measure(round, &master, &tasks).await;
    used.map(Measured::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_with_the_same_interval_are_due_at_the_same_moments() {
        let begun = Instant::now();
        let due = |interval: u64, at_ms: u64| {
            let now = begun + Duration::from_millis(at_ms);
            let next = next_round(begun, Duration::from_secs(interval), now);
            next.duration_since(begun).as_millis()
        };
        for (interval, at_ms, want) in [
            (15, 0, 15_000),
            (15, 7_400, 15_000),
            (15, 7_600, 30_000),
            (15, 15_010, 30_000),
            (15, 15_700, 30_000),
            (30, 15_010, 60_000),
            (1, 999_999, 1_001_000),
        ] {
            assert_eq!(due(interval, at_ms), want, "{interval} {at_ms}");
        }
    }
}
