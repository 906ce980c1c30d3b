//! `tepui-simulate`: run seeds by hand.

use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use tepui_simulation::{Trace, World, run_seed, run_seeds};

/// Runs simulated clusters; each seed is one.
#[derive(Parser)]
#[command(name = "tepui-simulate")]
struct Flags {
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Many: `A..B`, B not included.
    #[arg(long, value_parser = range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Worlds with Marathon in them.
    #[arg(long)]
    marathon: bool,
    /// Print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parts = text
        .split_once("..")
        .ok_or("expected A..B, for example 0..1000")?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("'{text}' is no seed: {error}"))
    };
    Ok(number(parts.0)?..number(parts.1)?)
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let world = if flags.marathon {
        World::Marathon
    } else {
        World::Frameworks
    };
    if let Some(seed) = flags.seed {
        let trace = if flags.trace {
            Trace::Print
        } else {
            Trace::Digest
        };
        return match run_seed(world, seed, trace) {
            Ok(summary) => {
                println!("seed {seed}: {summary}");
                ExitCode::SUCCESS
            }
            Err(breach) => {
                eprintln!("{breach}");
                ExitCode::FAILURE
            }
        };
    }
    let breaches = run_seeds(world, flags.seeds, |done, all| {
        eprintln!("{done} of {all} seeds");
    });
    for breach in &breaches {
        println!("{breach}");
    }
    println!("{} seeds failed", breaches.len());
    if breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
