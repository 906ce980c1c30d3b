//! Many seeds at once, each in one thread.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::invariants::Breach;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::world::{BEGIN, Simulation, Summary};

/// Which kind of world a seed makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Masters, agents and random frameworks.
    Frameworks,
    /// With Marathon among the frameworks.
    Marathon,
}

impl fmt::Display for World {
    /// The flag that asks for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            World::Frameworks => "",
            World::Marathon => " --marathon",
        })
    }
}

/// Runs the scenario of a seed. An assertion of a core that fails is a breach too.
///
/// # Errors
/// The first breach of an invariant.
pub fn run_seed(world: World, seed: u64, trace: Trace) -> Result<Summary, Breach> {
    let scenario = match world {
        World::Frameworks => Scenario::of(seed),
        World::Marathon => Scenario::of_marathon(seed),
    };
    let run = || Simulation::new(seed, scenario, trace).run();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no text");
        Err(Breach {
            seed,
            world,
            at: BEGIN,
            what: format!("a core panicked: {text}"),
        })
    })
}

/// Runs seeds on all processors, and tells now and then how far it is. Returns the breaches, by seed.
pub fn run_seeds(
    world: World,
    seeds: Range<u64>,
    progress: impl Fn(u64, u64) + Sync,
) -> Vec<Breach> {
    let all = seeds.end.saturating_sub(seeds.start);
    let (next, done) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let breaches = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(breach) = run_seed(world, seed, Trace::Off) {
                        breaches
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(breach);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done % (all / 10).max(1) == 0 {
                        progress(done, all);
                    }
                }
            });
        }
    });
    let mut breaches = breaches
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    breaches.sort_by_key(|breach: &Breach| breach.seed);
    breaches
}
