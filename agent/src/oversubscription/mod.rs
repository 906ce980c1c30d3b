//! Oversubscription: what is allocated and not used is lent to whoever can do without it, and taken back when it is needed.
//!
//! Two decide, each behind a trait with a pure step from what is [`Seen`] to what is to be done, so that another one is a file more here:
//! - a [`ResourceEstimator`] says what may be lent in all: [`fixed`] always the same, [`usage`] the cpus that are allocated and idle;
//! - a [`QosController`] says who has to end: [`load`] everybody who borrows, while the machine's load is above a threshold.
//!
//! This file asks them in turn and tells the core, which tells the master and ends executors. While the controller finds the machine
//! overloaded nothing is lent, whatever the estimator says: what is taken back is not to be offered again at once. [`measure`] looks at the
//! machine, [`config`] and [`modules`] read the flags.
//!
//! What is left out: memory. It cannot be taken back from a process that runs, so [`usage`] lends none; [`fixed`] lends whatever the
//! operator says.

mod config;
mod fixed;
mod load;
mod measure;
mod modules;
mod usage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tepui_agent_core::Input;
use tepui_agent_core::view::View;
use tepui_model::{ContainerId, ExecutorId, FrameworkId, Time};
use tepui_proto::mesos::v1::Resource;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::containerizer::Containerizer;

pub use config::{
    ControllerConfig, EstimatorConfig, LoadThresholds, OversubscriptionConfig,
    OversubscriptionFlags, UsageRule,
};

/// The kernel works out the load every five seconds; a controller is not asked more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What is known of the machine and of who is on it, at one time.
#[derive(Debug, Clone, Default)]
struct Seen {
    now: Time,
    /// `None`: it could not be read.
    load: Option<Load>,
    executors: Vec<Executor>,
}

/// How many processes wanted to run, on the average of the last minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Load {
    five_minutes: f64,
    fifteen_minutes: f64,
}

/// An executor with its tasks.
#[derive(Debug, Clone)]
struct Executor {
    framework: FrameworkId,
    id: ExecutorId,
    container: ContainerId,
    /// Cpus that it was promised.
    cpus: f64,
    /// It borrows something, of whatever kind.
    revocable: bool,
    /// What its containers have used since they began; `None`: not measured.
    cpu_time: Option<Duration>,
}

/// Says what may be lent.
trait ResourceEstimator: Send {
    /// Whether it looks at [`Executor::cpu_time`], which takes a while to find out.
    fn wants_usage(&self) -> bool;

    /// All that may be lent, what is lent already included; scalars that belong to nobody. Asked every `--oversubscribed_resources_interval`.
    fn estimate(&mut self, seen: &Seen) -> Vec<Resource>;
}

/// Says who has to give back.
trait QosController: Send {
    /// Asked all the time, with a pause of a second or `--qos_correction_interval_min`. Is given no [`Executor::cpu_time`].
    fn judge(&mut self, seen: &Seen) -> Verdict;
}

/// What a controller finds.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    /// Why nothing is to be lent for now.
    overloaded: Option<String>,
    /// Who is to end. Only those who borrow can be.
    corrections: Vec<Correction>,
}

/// An executor that is to end.
#[derive(Debug, PartialEq)]
struct Correction {
    framework: FrameworkId,
    executor: ExecutorId,
    container: ContainerId,
    /// For the framework's author.
    reason: String,
}

/// Neither lends nor takes back.
struct Noop;

impl ResourceEstimator for Noop {
    fn wants_usage(&self) -> bool {
        false
    }

    fn estimate(&mut self, _: &Seen) -> Vec<Resource> {
        Vec::new()
    }
}

impl QosController for Noop {
    fn judge(&mut self, _: &Seen) -> Verdict {
        Verdict::default()
    }
}

impl EstimatorConfig {
    fn start(&self) -> Box<dyn ResourceEstimator> {
        match self {
            Self::Noop => Box::new(Noop),
            Self::Fixed(resources) => Box::new(fixed::Fixed::new(resources.clone())),
            Self::Usage(rule) => Box::new(usage::Usage::new(*rule)),
        }
    }
}

impl ControllerConfig {
    fn start(&self) -> Box<dyn QosController> {
        match self {
            Self::Noop => Box::new(Noop),
            Self::Load(thresholds) => Box::new(load::LoadController::new(*thresholds)),
        }
    }
}

/// What both of them look at, and whom they tell.
pub(crate) struct Room {
    pub(crate) config: OversubscriptionConfig,
    pub(crate) clock: Clock,
    pub(crate) view: Arc<RwLock<View>>,
    pub(crate) containerizer: Arc<Containerizer>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

fn every(pause: Duration) -> Interval {
    let mut every = interval(pause);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

/// Asks estimator and controller for as long as the agent lives; returns at once if there is neither.
pub(crate) async fn run(room: Room) {
    let config = &room.config;
    let lends = !matches!(config.estimator, EstimatorConfig::Noop);
    let corrects = !matches!(config.controller, ControllerConfig::Noop);
    let mut estimator = config.estimator.start();
    let mut controller = config.controller.start();
    let mut estimates = every(config.estimate_interval.max(SHORTEST_PAUSE));
    let mut corrections = every(config.correction_interval_min.max(SHORTEST_PAUSE));
    let (mut overloaded, mut blind) = (false, false);
    if !(lends || corrects) {
        return;
    }
    if lends && estimator.wants_usage() && !room.containerizer.capabilities().cpu {
        tracing::warn!(
            "nothing will be lent: the cgroups of this machine do not tell how much cpu a container uses, and --resource_estimator=usage goes by that"
        );
    }
    loop {
        let told = tokio::select! {
            // The controller first: what it finds at the start holds for the first estimate.
            biased;
            _ = corrections.tick(), if corrects => {
                let seen = room.look(false).await;
                if !std::mem::replace(&mut blind, seen.load.is_none()) && blind {
                    tracing::warn!(
                        "no load can be read from {}, so nothing is taken back: expected numbers as in /proc/loadavg",
                        config.load_file.display()
                    );
                }
                room.correct(controller.judge(&seen), &mut overloaded).await
            }
            _ = estimates.tick(), if lends => {
                // Asked also when it is not listened to: it goes by what it has seen before.
                let resources = estimator.estimate(&room.look(estimator.wants_usage()).await);
                if overloaded {
                    continue;
                }
                room.tell(Input::Oversubscribed { resources }).await
            }
        };
        if told.is_none() {
            return;
        }
    }
}

impl Room {
    /// `None`: the agent has ended.
    async fn tell(&self, input: Input) -> Option<()> {
        self.inputs.send(input).await.ok()
    }

    async fn correct(&self, verdict: Verdict, overloaded: &mut bool) -> Option<()> {
        let was = std::mem::replace(overloaded, verdict.overloaded.is_some());
        match verdict.overloaded {
            Some(why) if !was => {
                tracing::info!("nothing is oversubscribed for now: {why}");
                let resources = Vec::new();
                self.tell(Input::Oversubscribed { resources }).await?;
            }
            None if was => tracing::info!("the machine is not overloaded any more"),
            _ => {}
        }
        for correction in verdict.corrections {
            self.tell(Input::Preempt {
                framework: correction.framework,
                executor: correction.executor,
                container: correction.container,
                reason: correction.reason,
            })
            .await?;
        }
        Some(())
    }

    /// Looks at the machine, beside the threads that serve.
    async fn look(&self, usage: bool) -> Seen {
        let (view, containerizer) = (Arc::clone(&self.view), Arc::clone(&self.containerizer));
        let (clock, load_file) = (self.clock, self.config.load_file.clone());
        let looking = tokio::task::spawn_blocking(move || {
            look(&view, usage.then_some(&*containerizer), clock, &load_file)
        });
        looking.await.unwrap_or_default()
    }
}

fn look(
    view: &RwLock<View>,
    usage: Option<&Containerizer>,
    clock: Clock,
    load_file: &Path,
) -> Seen {
    let found = measure::executors(&view.read());
    // Nothing waits for the view while the kernel is asked.
    let executors = found.into_iter().map(|found| found.measured(usage));
    let executors = executors.collect();
    Seen {
        now: clock.now(),
        load: measure::load(load_file),
        executors,
    }
}
