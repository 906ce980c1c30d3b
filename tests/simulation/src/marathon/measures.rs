//! What autoscaling measures: numbers that go up and down as they please, and sometimes do not come.

use std::sync::Arc;

use tepui_marathon_core::{CheckId, Input, Measure, Measured, Metric, Usage};

use super::Happening as Event;
use crate::world::{Happening, Simulation, trace};

impl Simulation {
    pub(super) fn begin_to_measure(&mut self, process: usize, measure: Arc<Measure>) {
        let check = measure.check;
        self.measure_later(process, &measure);
        let known = &mut self.marathons.processes[process];
        known.measures.insert(check, measure);
    }

    fn measure_later(&mut self, process: usize, measure: &Measure) {
        let check = measure.check;
        let event = Event::Measure { process, check };
        let interval = measure.interval_ms;
        self.after(interval, interval + 100, Happening::Marathon(event));
    }

    pub(super) fn marathon_measures(&mut self, process: usize, check: CheckId) {
        let known = &self.marathons.processes[process];
        let Some(measure) = known.measures.get(&check).cloned() else {
            return;
        };
        let app = measure.app.to_string();
        let tasks = known.records.of(&app).flat_map(|one| one.tasks());
        let tasks: Vec<String> = tasks.map(|(task, _)| task.to_owned()).collect();
        self.measure_later(process, &measure);
        let result = if self.trouble() && self.random.percent(10) {
            Err("nobody answers".to_owned())
        } else if let Metric::Prometheus { .. } = measure.metric {
            Ok(Measured::Value(self.hundredths(10_000)))
        } else {
            // Some are on agents that do not answer.
            let mut usage = Vec::new();
            for task_id in tasks {
                if self.random.percent(90) {
                    usage.push(Usage {
                        task_id,
                        cpus: self.hundredths(20),
                        mem_mib: 1.0,
                    });
                }
            }
            Ok(Measured::Usage(usage))
        };
        trace!(self, "marathon {process} measures {app}: {result:?}");
        self.marathon_step(process, Input::Measured { check, result });
    }

    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn hundredths(&mut self, most: usize) -> f64 {
        self.random.below(most) as f64 / 100.0
    }
}
