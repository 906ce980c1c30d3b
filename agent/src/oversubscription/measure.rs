//! What the machine tells of itself and of its containers.

use std::path::Path;
use std::time::Duration;

use tepui_agent_core::view::{ExecutorView, View};
use tepui_proto::mesos::v1::Resource;

use super::{Executor, Load};
use crate::containerizer::{ContainerId, Containerizer};

/// The load as this file tells it; `None` if it tells none.
pub(super) fn load(file: &Path) -> Option<Load> {
    parse(&std::fs::read_to_string(file).ok()?)
}

/// `0.50 1.25 2.00 1/234 5678`: the averages of one, five and fifteen minutes come first.
fn parse(text: &str) -> Option<Load> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<f64>).skip(1);
    let mut next = || numbers.next()?.ok().filter(|number| *number >= 0.0);
    Some(Load {
        five_minutes: next()?,
        fifteen_minutes: next()?,
    })
}

/// An executor, and by which names the runtime knows its containers.
pub(super) struct Found {
    executor: Executor,
    own: Option<ContainerId>,
    tasks: Vec<ContainerId>,
}

/// Executors that are there.
pub(super) fn executors(view: &View) -> Vec<Found> {
    let executors = view
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values());
    executors.map(found).collect()
}

fn found(executor: &ExecutorView) -> Found {
    let tasks = || {
        let all = executor.tasks.values();
        all.filter(|task| !task.state.is_terminal())
    };
    let resources = || {
        let own = executor.state.info.resources.iter();
        own.chain(tasks().flat_map(|task| task.info.resources.iter()))
    };
    let promised = |resource: &&Resource| resource.name == "cpus" && resource.revocable.is_none();
    let cpus = resources()
        .filter(promised)
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum();
    Found {
        executor: Executor {
            framework: executor.state.framework_id.clone(),
            id: executor.state.id.clone(),
            container: executor.state.container.clone(),
            cpus,
            revocable: resources().any(|resource| resource.revocable.is_some()),
            cpu_time: None,
        },
        own: crate::containers::own(executor),
        tasks: crate::containers::of_tasks(executor).collect(),
    }
}

impl Found {
    /// With what it has used, if that is wanted. Of an executor that the agent plays its tasks' containers count, as far as they are not in its own.
    pub(super) fn measured(self, usage: Option<&Containerizer>) -> Executor {
        let cpu_time = usage.and_then(|containerizer| {
            let of = |id: &ContainerId| cpu_time(containerizer, id);
            let own = self.own.as_ref().and_then(of);
            let counted = |id: &&ContainerId| own.is_none() || !containerizer.is_within(id);
            let tasks = self.tasks.iter().filter(counted).map(of);
            all_together(own.map(Some).into_iter().chain(tasks))
        });
        Executor {
            cpu_time,
            ..self.executor
        }
    }
}

/// The sum, if there is something and all of it is known: what cannot be measured must not count as idle.
fn all_together(times: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    let mut times = times.peekable();
    times.peek()?;
    times.sum()
}

fn cpu_time(containerizer: &Containerizer, id: &ContainerId) -> Option<Duration> {
    let usage = containerizer.usage(id).ok()?;
    let nanos = usage.cpu_user_ns?.saturating_add(usage.cpu_system_ns?);
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_measured_is_not_idle() {
        let seconds = |number| Some(Duration::from_secs(number));
        let cases = [
            (vec![], None),
            (vec![None], None),
            (vec![seconds(1), None], None),
            (vec![seconds(1), seconds(2)], seconds(3)),
        ];
        for (times, expected) in cases {
            assert_eq!(all_together(times.into_iter()), expected);
        }
    }

    #[test]
    fn the_load_is_read_as_the_kernel_writes_it() {
        let load = |five_minutes, fifteen_minutes| {
            Some(Load {
                five_minutes,
                fifteen_minutes,
            })
        };
        let cases = [
            ("0.50 1.25 2.00 1/234 5678\n", load(1.25, 2.0)),
            ("9 8 7", load(8.0, 7.0)),
            ("0.50 1.25", None),
            ("0.50 x 2.00", None),
            ("0.50 NaN 2.00", None),
            ("0.50 -1 2.00", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
