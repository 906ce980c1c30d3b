//! Lends the cpus that are allocated and idle.
//!
//! What it promises:
//! - never more than what was promised to executors and not used by them when last seen, less a part that is kept for their peaks
//!   (the headroom);
//! - who needs more is believed at once, who needs less only with time (half of the difference each half-life), and who is new, or
//!   cannot be measured, needs all that it was promised;
//! - the answer changes in steps of a tenth of a cpu, and upwards only by more than one: each change ends offers.
//!
//! Cpus that nobody was promised are offered to everybody anyway, and are none of its business; what borrowers use is neither.

use std::collections::HashMap;
use std::time::Duration;

use tepui_model::{ContainerId, Time};
use tepui_proto::mesos::v1::{Resource, value};

use super::{Executor, ResourceEstimator, Seen, UsageRule};

/// Steps to a cpu.
const STEPS: f64 = 10.0;

/// An executor as it was seen last.
#[derive(Debug, Clone, Copy)]
struct Known {
    at: Time,
    cpu_time: Option<Duration>,
    /// Cpus that it was promised.
    cpus: f64,
    /// Cpus that it needs, as far as one knows.
    needs: f64,
}

pub(super) struct Usage {
    rule: UsageRule,
    /// As many as executors were there.
    known: HashMap<ContainerId, Known>,
    /// The last answer, in steps.
    last: f64,
}

impl Usage {
    pub(super) fn new(rule: UsageRule) -> Self {
        Self {
            rule,
            known: HashMap::new(),
            last: 0.0,
        }
    }

    fn needs(&self, executor: &Executor, now: Time) -> f64 {
        let Some(known) = self.known.get(&executor.container) else {
            return executor.cpus;
        };
        let passed = now.since(known.at).as_secs_f64();
        if passed <= 0.0 {
            return known.needs.max(executor.cpus);
        }
        let used = executor
            .cpu_time
            .zip(known.cpu_time)
            // It falls when a task of a group has taken its share along.
            .and_then(|(now, then)| now.checked_sub(then))
            .map(|used| used.as_secs_f64() / passed);
        let Some(used) = used else {
            return known.needs.max(executor.cpus);
        };
        // What it was promised meanwhile it may be about to use.
        let before = known.needs + (executor.cpus - known.cpus).max(0.0);
        if used >= before {
            return used;
        }
        let left = 0.5_f64.powf(passed / self.rule.half_life.as_secs_f64());
        used + (before - used) * left
    }
}

impl ResourceEstimator for Usage {
    fn wants_usage(&self) -> bool {
        true
    }

    fn estimate(&mut self, seen: &Seen) -> Vec<Resource> {
        let promised = |executor: &&Executor| executor.cpus > 0.0;
        let known: HashMap<ContainerId, Known> = seen
            .executors
            .iter()
            .filter(promised)
            .map(|executor| {
                let known = Known {
                    at: seen.now,
                    cpu_time: executor.cpu_time,
                    cpus: executor.cpus,
                    needs: self.needs(executor, seen.now),
                };
                (executor.container.clone(), known)
            })
            .collect();
        // Who takes more than it was promised takes it from the idle parts of the others.
        let idle: f64 = known.values().map(|known| known.cpus - known.needs).sum();
        let kept: f64 = known.values().map(|known| known.cpus).sum::<f64>() * self.rule.headroom;
        self.known = known;
        // A little less than a step short is rounding.
        let steps = ((idle - kept) * STEPS + 1e-6).floor().max(0.0);
        if steps < self.last || steps > self.last + 1.0 {
            self.last = steps;
        }
        if self.last == 0.0 {
            return Vec::new();
        }
        vec![Resource {
            name: "cpus".to_owned(),
            r#type: value::Type::Scalar.into(),
            scalar: Some(value::Scalar {
                value: self.last / STEPS,
            }),
            ..Default::default()
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tepui_model::{ExecutorId, FrameworkId};

    /// An executor: its container, the cpus that it was promised, and the seconds of cpu that it has used.
    type Told = (&'static str, f64, Option<f64>);

    fn executor(&(container, cpus, used): &Told) -> Executor {
        Executor {
            framework: FrameworkId::new("f").unwrap(),
            id: ExecutorId::new(container).unwrap(),
            container: container.parse().unwrap(),
            cpus,
            revocable: cpus == 0.0,
            cpu_time: used.map(Duration::from_secs_f64),
        }
    }

    /// Looks every ten seconds, which is the half-life, and compares the cpus that are lent.
    fn check(headroom: f64, looks: &[(&[Told], f64)]) {
        let mut usage = Usage::new(UsageRule {
            headroom,
            half_life: Duration::from_secs(10),
        });
        for (at, (executors, expected)) in looks.iter().enumerate() {
            let seen = Seen {
                now: Time::from_secs(1000 + 10 * at as i64),
                load: None,
                executors: executors.iter().map(executor).collect(),
            };
            let lent = usage.estimate(&seen);
            let lent = lent.first().map_or(0.0, |lent| lent.scalar.unwrap().value);
            assert_eq!(lent, *expected, "at look {at}: {executors:?}");
        }
    }

    #[test]
    fn who_is_new_needs_all_and_who_is_idle_is_believed_with_time() {
        check(
            0.0,
            &[
                (&[("a", 4.0, Some(0.0))], 0.0),
                (&[("a", 4.0, Some(0.0))], 2.0),
                (&[("a", 4.0, Some(0.0))], 3.0),
                (&[("a", 4.0, Some(0.0))], 3.5),
                // Three of four cpus for these ten seconds.
                (&[("a", 4.0, Some(30.0))], 1.0),
                (&[("a", 4.0, Some(60.0))], 1.0),
            ],
        );
    }

    #[test]
    fn a_part_of_what_was_promised_is_kept() {
        check(
            0.25,
            &[
                (&[("a", 4.0, Some(0.0)), ("b", 4.0, Some(0.0))], 0.0),
                (&[("a", 4.0, Some(0.0)), ("b", 4.0, Some(0.0))], 2.0),
                (&[("a", 4.0, Some(0.0)), ("b", 4.0, Some(0.0))], 4.0),
                // One of them is gone, and what it was promised with it.
                (&[("a", 4.0, Some(0.0))], 2.5),
                (&[], 0.0),
            ],
        );
    }

    #[test]
    fn what_cannot_be_measured_counts_as_used() {
        check(
            0.0,
            &[
                (&[("a", 2.0, None), ("b", 2.0, Some(5.0))], 0.0),
                (&[("a", 2.0, None), ("b", 2.0, Some(5.0))], 1.0),
                // The counter of b fell: something of it is gone.
                (&[("a", 2.0, None), ("b", 2.0, Some(4.0))], 0.0),
                (&[("a", 2.0, Some(1.0)), ("b", 2.0, Some(4.0))], 1.0),
            ],
        );
    }

    #[test]
    fn who_takes_more_than_it_was_promised_takes_it_from_what_is_idle() {
        check(
            0.0,
            &[
                (&[("a", 2.0, Some(0.0)), ("b", 1.0, Some(0.0))], 0.0),
                (&[("a", 2.0, Some(0.0)), ("b", 1.0, Some(15.0))], 0.5),
                (&[("a", 2.0, Some(0.0)), ("b", 1.0, Some(45.0))], 0.0),
            ],
        );
    }

    #[test]
    fn borrowers_neither_add_nor_take() {
        check(
            0.0,
            &[
                (&[("a", 2.0, Some(0.0)), ("r", 0.0, Some(0.0))], 0.0),
                (&[("a", 2.0, Some(0.0)), ("r", 0.0, Some(10.0))], 1.0),
                (&[("a", 2.0, Some(0.0)), ("r", 0.0, Some(20.0))], 1.5),
            ],
        );
    }

    #[test]
    fn what_is_promised_meanwhile_is_not_lent() {
        check(
            0.0,
            &[
                (&[("a", 2.0, Some(0.0))], 0.0),
                (&[("a", 2.0, Some(0.0))], 1.0),
                (&[("a", 4.0, Some(0.0))], 2.5),
                (&[("a", 2.0, Some(0.0))], 1.2),
            ],
        );
    }

    #[test]
    fn it_rises_by_more_than_a_step_and_falls_by_any() {
        check(
            0.0,
            &[
                (&[("a", 1.0, Some(0.0))], 0.0),
                (&[("a", 1.0, Some(0.0))], 0.5),
                (&[("a", 1.0, Some(0.0))], 0.7),
                // 0.87
                (&[("a", 1.0, Some(0.0))], 0.7),
                // 0.93
                (&[("a", 1.0, Some(0.0))], 0.9),
                (&[("a", 1.0, Some(2.0))], 0.8),
            ],
        );
    }
}
