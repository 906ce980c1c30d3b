//! A thousand clusters and their faults; `TEPUI_SIMULATION_SEEDS` says how many, or which (`A..B`).

use tepui_simulation::{Sabotage, Scenario, Simulation, Trace, run_seed, run_seeds};

/// Seeds outside the usual range that have found a bug of a core: they run every time.
const REGRESSIONS: &[u64] = &[1_004, 4_137, 5_935, 10_434, 11_750, 12_049];

fn told(breaches: &[tepui_simulation::Breach]) -> String {
    let lines: Vec<String> = breaches.iter().take(20).map(ToString::to_string).collect();
    format!("{} seeds failed:\n{}", breaches.len(), lines.join("\n"))
}

#[test]
fn the_invariants_hold_for_every_seed() {
    let wanted = std::env::var("TEPUI_SIMULATION_SEEDS").unwrap_or_else(|_| "1000".to_owned());
    let (from, to) = wanted.split_once("..").unwrap_or(("0", &wanted));
    let seeds = from.parse().unwrap()..to.parse().unwrap();
    let mut breaches = run_seeds(seeds, |done, all| eprintln!("{done} of {all} seeds"));
    breaches.extend(
        REGRESSIONS
            .iter()
            .filter_map(|seed| run_seed(*seed, Trace::Off).err()),
    );
    assert!(breaches.is_empty(), "{}", told(&breaches));
}

#[test]
fn a_seed_tells_one_story() {
    for seed in 0..8 {
        let runs = [0, 1].map(|_| run_seed(seed, Trace::Digest).unwrap());
        assert_eq!(runs[0], runs[1], "seed {seed}");
        assert!(runs[0].steps > 0);
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
        let found = (0..300).any(|seed| {
            let scenario = Scenario {
                sabotage: Some(sabotage),
                ..Scenario::of(seed)
            };
            let run = Simulation::new(seed, scenario, Trace::Off).run();
            run.is_err_and(|breach| breach.what.starts_with(expected))
        });
        assert!(found, "{sabotage:?} did not lead to {expected}");
    }
}
