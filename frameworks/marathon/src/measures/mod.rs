//! What autoscaling wants to know: what tasks use, from their agents' statistics, and numbers from Prometheus; one small task for each app.
//!
//! As with probes, the core says when to begin and end, and how many measurements are under way at once is bounded.

mod prometheus;
mod usage;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tepui_marathon_core::{CheckId, Input, Measure, Measured, Metric};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{engine::EngineHandle, probes::HttpClient, rest::Info};

/// Measurements of tasks under way at once.
const MAX_USAGES: usize = 16;
/// Requests for numbers of Prometheus under way at once. They have a bound of their own: URLs that lead nowhere hold nobody else up.
const MAX_NUMBERS: usize = 32;
/// A request for a number that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);
/// Of a page of metrics, or an answer of Prometheus, so much is read, in bytes.
const MAX_PAGE: usize = 8 << 20;

/// The running measurements of one term of leadership. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Measurer {
    engine: EngineHandle,
    runtime: Handle,
    usages: Arc<Semaphore>,
    numbers: Arc<Semaphore>,
    addresses: Arc<usage::Addresses>,
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
        Self {
            engine,
            runtime,
            usages: Arc::new(Semaphore::new(MAX_USAGES)),
            numbers: Arc::new(Semaphore::new(MAX_NUMBERS)),
            addresses: Arc::default(),
            client: HttpClient::new(),
            master,
            running: HashMap::new(),
        }
    }

    /// Begins to measure. The core never uses an id twice.
    pub(crate) fn start(&mut self, measure: Arc<Measure>) {
        let (check, engine) = (measure.check, self.engine.clone());
        let permits = Arc::clone(match measure.metric {
            Metric::Prometheus { .. } => &self.numbers,
            Metric::Cpu | Metric::Memory => &self.usages,
        });
        let addresses = Arc::clone(&self.addresses);
        let (client, master) = (self.client.clone(), self.master.clone());
        let task = self.runtime.spawn(async move {
            let mut meter = usage::Meter::new(client.clone(), addresses);
            loop {
                let result = {
                    let Ok(_permit) = permits.acquire().await else {
                        return;
                    };
                    measured(&measure, &client, &mut meter, &engine, &master).await
                };
                engine.input(Input::Measured { check, result }).await;
                sleep(Duration::from_millis(measure.interval_ms)).await;
            }
        });
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

async fn measured(
    measure: &Measure,
    client: &HttpClient,
    meter: &mut usage::Meter,
    engine: &EngineHandle,
    master: &watch::Receiver<Info>,
) -> Result<Measured, String> {
    match &measure.metric {
        Metric::Prometheus { url, sample } => {
            let late = |_| Err(format!("nothing came within {} s", LIMIT.as_secs()));
            let page = timeout(LIMIT, client.fetch(url, MAX_PAGE)).await;
            let page = page.unwrap_or_else(late)?;
            let page = String::from_utf8_lossy(&page);
            prometheus::total(&page, sample.as_deref())
                .map(Measured::Value)
                .map_err(|reason| format!("{url}: {reason}"))
        }
        Metric::Cpu | Metric::Memory => {
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
            meter.measure(&master, &tasks).await.map(Measured::Usage)
        }
    }
}
