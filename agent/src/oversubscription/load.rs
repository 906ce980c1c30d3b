//! Takes everything back while the machine's load is above a threshold, as Mesos' LoadQoSController does.

use super::{Correction, LoadThresholds, QosController, Seen, Verdict};

pub(super) struct LoadController(LoadThresholds);

impl LoadController {
    pub(super) fn new(thresholds: LoadThresholds) -> Self {
        Self(thresholds)
    }

    fn overloaded(&self, seen: &Seen) -> Option<String> {
        // An unknown load is no reason to end anybody.
        let load = seen.load?;
        let above = |minutes: u32, load: f64, threshold: Option<f64>| {
            let threshold = threshold.filter(|threshold| load > *threshold)?;
            Some(format!(
                "the machine's load of the last {minutes} minutes, {load:.2}, is above {threshold}"
            ))
        };
        above(5, load.five_minutes, self.0.five_minutes)
            .or_else(|| above(15, load.fifteen_minutes, self.0.fifteen_minutes))
    }
}

impl QosController for LoadController {
    fn judge(&mut self, seen: &Seen) -> Verdict {
        let Some(reason) = self.overloaded(seen) else {
            return Verdict::default();
        };
        let borrowers = seen.executors.iter().filter(|executor| executor.revocable);
        let correction = |executor: &super::Executor| Correction {
            framework: executor.framework.clone(),
            executor: executor.id.clone(),
            container: executor.container.clone(),
            reason: reason.clone(),
        };
        Verdict {
            corrections: borrowers.map(correction).collect(),
            overloaded: Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversubscription::{Executor, Load};
    use tepui_model::{ExecutorId, FrameworkId, Time};

    fn executor(container: &str, revocable: bool) -> Executor {
        Executor {
            framework: FrameworkId::new("f").unwrap(),
            id: ExecutorId::new(container).unwrap(),
            container: container.parse().unwrap(),
            cpus: 1.0,
            revocable,
            cpu_time: None,
        }
    }

    #[test]
    fn above_a_threshold_all_who_borrow_end_and_nobody_else() {
        let load = |five_minutes, fifteen_minutes| {
            Some(Load {
                five_minutes,
                fifteen_minutes,
            })
        };
        let five = "the machine's load of the last 5 minutes, 8.50, is above 8";
        let fifteen = "the machine's load of the last 15 minutes, 4.25, is above 4";
        let cases = [
            (Some(8.0), None, load(8.5, 0.0), Some(five)),
            (Some(8.0), None, load(8.0, 99.0), None),
            (None, Some(4.0), load(99.0, 4.25), Some(fifteen)),
            (None, Some(4.0), load(99.0, 4.0), None),
            (Some(8.0), Some(4.0), load(8.0, 4.25), Some(fifteen)),
            (Some(8.0), Some(4.0), load(8.5, 4.25), Some(five)),
            (Some(0.0), Some(0.0), None, None),
        ];
        for (five_minutes, fifteen_minutes, load, expected) in cases {
            let mut controller = LoadController::new(LoadThresholds {
                five_minutes,
                fifteen_minutes,
            });
            let verdict = controller.judge(&Seen {
                now: Time::default(),
                load,
                executors: vec![
                    executor("a", true),
                    executor("b", false),
                    executor("c", true),
                ],
            });
            assert_eq!(verdict.overloaded.as_deref(), expected, "{load:?}");
            let ended: Vec<_> = verdict
                .corrections
                .iter()
                .map(|correction| correction.container.to_string())
                .collect();
            let all: &[&str] = if expected.is_some() { &["a", "c"] } else { &[] };
            assert_eq!(ended, all, "{load:?}");
            let reasons = verdict.corrections.iter().map(|it| it.reason.as_str());
            assert!(reasons.into_iter().all(|reason| Some(reason) == expected));
        }
    }
}
