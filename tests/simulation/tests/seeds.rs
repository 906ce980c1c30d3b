//! A thousand clusters and their faults, and some with Marathon in them; `TEPUI_SIMULATION_SEEDS` says how many of each, or which (`A..B`).

use tepui_simulation::{Sabotage, Scenario, Simulation, Trace, World, run_seed, run_seeds};

/// Seeds outside the usual range that have found a bug of a core: they run every time.
const REGRESSIONS: &[u64] = &[1_004, 4_137, 5_935, 10_434, 11_750, 12_049];

fn told(breaches: &[tepui_simulation::Breach]) -> String {
    let lines: Vec<String> = breaches.iter().take(20).map(ToString::to_string).collect();
    format!("{} seeds failed:\n{}", breaches.len(), lines.join("\n"))
}

/// The same of worlds with Marathon.
const MARATHON_REGRESSIONS: &[u64] = &[
    77, 103, 172, 182, 212, 228, 261, 314, 340, 341, 401, 406, 460, 506, 513, 548, 634, 668, 671,
    720, 745, 762, 770, 788, 791, 891, 917, 948, 1095, 1381, 1384, 4011,
];

/// Those that are asked for, or else so many.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
fn seeds(usual: &str) -> std::ops::Range<u64> {
    let wanted = std::env::var("TEPUI_SIMULATION_SEEDS").unwrap_or_else(|_| usual.to_owned());
    let (from, to) = wanted.split_once("..").unwrap_or(("0", &wanted));
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn the_invariants_hold_for_every_seed() {
    let mut breaches = run_seeds(World::Frameworks, seeds("1000"), |done, all| {
        eprintln!("{done} of {all} seeds");
    });
    breaches.extend(
        REGRESSIONS
            .iter()
            .filter_map(|seed| run_seed(World::Frameworks, *seed, Trace::Off).err()),
    );
    assert!(breaches.is_empty(), "{}", told(&breaches));
}

#[test]
fn the_invariants_hold_with_marathon_for_every_seed() {
    let mut breaches = run_seeds(World::Marathon, seeds("200"), |done, all| {
        eprintln!("{done} of {all} seeds with Marathon");
    });
    let others = MARATHON_REGRESSIONS.iter();
    breaches.extend(others.filter_map(|seed| run_seed(World::Marathon, *seed, Trace::Off).err()));
    assert!(breaches.is_empty(), "{}", told(&breaches));
}

#[test]
fn a_seed_tells_one_story() {
    for world in [World::Frameworks, World::Marathon] {
        for seed in 0..8 {
            let runs = [0, 1].map(|_| run_seed(world, seed, Trace::Digest).unwrap());
            assert_eq!(runs[0], runs[1], "seed {seed}{world}");
            assert!(runs[0].steps > 0);
        }
    }
}

/// Whether one of the first seeds comes to this, if this promise is broken.
fn is_found_out(of: fn(u64) -> Scenario, sabotage: Sabotage, expected: &str) -> bool {
    (0..300).any(|seed| {
        let scenario = Scenario {
            sabotage: Some(sabotage),
            ..of(seed)
        };
        let run = Simulation::new(seed, scenario, Trace::Off).run();
        run.is_err_and(|breach| breach.what.starts_with(expected))
    })
}

#[test]
fn a_world_that_breaks_its_promises_to_marathon_is_found_out() {
    for (sabotage, expected) in [
        (Sabotage::TightensStrategies, "I14 capacity"),
        (Sabotage::ConfusesVolumes, "I15 volume"),
        (Sabotage::MergesHosts, "I16 spread"),
        (Sabotage::LosesKills, "I17 defined"),
        (Sabotage::HidesReasons, "I18 explained"),
        (Sabotage::ForgetsApps, "I19 kept"),
        (Sabotage::ForgetsEnds, "I20 one-task"),
        (Sabotage::TightensBudgets, "I21 budget"),
        (Sabotage::NarrowsBounds, "I21 budget"),
    ] {
        assert!(
            is_found_out(Scenario::of_marathon, sabotage, expected),
            "{sabotage:?} did not lead to {expected}"
        );
    }
}

#[test]
fn a_world_that_breaks_its_promises_is_found_out() {
    let cases = [
        (Sabotage::LosesTerminalUpdates, "I3 terminal-delivered"),
        (Sabotage::TearsJournals, "I2 one-terminal"),
        (Sabotage::ShrinksMachines, "I1 no-overcommit"),
        (Sabotage::MislabelsReservations, "I7 reservation"),
        (Sabotage::HalvesLimits, "I8 quota"),
        (Sabotage::ForgetsPolicy, "I9 durable"),
        (Sabotage::ForgetsGone, "I10 gone"),
        (Sabotage::LeavesContainers, "I11 drained"),
        (Sabotage::LosesOperationUpdates, "I12 operations"),
        (Sabotage::MovesMachines, "I13 wanted"),
    ];
    for (sabotage, expected) in cases {
        assert!(
            is_found_out(Scenario::of, sabotage, expected),
            "{sabotage:?} did not lead to {expected}"
        );
    }
}
