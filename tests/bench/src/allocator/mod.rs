//! `tepui bench allocator`: how soon what is free is offered, on clusters of the shapes that Mesos' own allocator benchmarks have.
//!
//! No daemon and no socket: the allocator is driven through its door, and then the whole master core through its one entrance, with the
//! same cluster and the same events. The difference between the two is what offers cost besides deciding them.

mod bare;
mod load;
mod whole;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    BenchError,
    report::{self, round},
};
use load::{Figures, Plan};

/// What the frameworks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Tasks end and everybody wants what comes free.
    Churn,
    /// Everything is free, until all of it is offered.
    Full,
    /// As churn, and nine frameworks of ten decline whatever they are offered, for 5 s.
    Declines,
    /// As churn, and nine frameworks of ten are suppressed.
    Suppressed,
    /// Agents come into a cluster that has frameworks already.
    AddAgents,
}

/// Arguments of `tepui bench allocator`.
#[derive(Debug, clap::Args)]
pub struct AllocatorArgs {
    /// How many agents.
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// How many frameworks.
    #[arg(long, default_value_t = 1_000)]
    frameworks: usize,
    /// How many roles they are spread over.
    #[arg(long, default_value_t = 1)]
    roles: usize,
    /// What the frameworks do.
    #[arg(long, value_enum, default_value = "churn")]
    scenario: Scenario,
    /// Tasks that end in a second [default: 5000; with declines, where each makes a round of all who decline, 20]
    #[arg(long)]
    rate: Option<u32>,
    /// For how many seconds tasks end.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) fn run(args: &AllocatorArgs, json: bool) -> Result<(), BenchError> {
    let rate = args.rate.unwrap_or(match args.scenario {
        Scenario::Declines => 20,
        _ => 5_000,
    });
    let plan = Plan {
        agents: args.agents.max(1),
        frameworks: args.frameworks.max(1),
        roles: args.roles.clamp(1, args.frameworks.max(1)),
        scenario: args.scenario,
        rate: rate.max(1),
        time: Duration::from_secs(args.seconds),
    };
    let bare = load::measure::<bare::Bare>(&plan);
    let whole = load::measure::<whole::Whole>(&plan);
    let mut figures = json!({
        "agents": plan.agents,
        "frameworks": plan.frameworks,
        "roles": plan.roles,
        "scenario": format!("{:?}", plan.scenario).to_lowercase(),
        "events_per_second": plan.rate,
    });
    if let (Value::Object(figures), Value::Object(bare)) = (&mut figures, shown(&bare)) {
        figures.extend(bare);
        figures.insert("master_core".to_owned(), shown(&whole));
    }
    report::print(&figures, json);
    Ok(())
}

fn shown(figures: &Figures) -> Value {
    let seconds = |time: Option<Duration>| time.map(|time| round(time.as_secs_f64()));
    let mut shown = json!({
        "full_cycle_seconds": seconds(figures.full_cycle),
        "add_agents_seconds": seconds(figures.add_agents),
        "event_to_offer_ms": figures.event_to_offer.as_ref().map(report::Latency::json),
        "event_to_accept_ms": figures.event_to_accept.as_ref().map(report::Latency::json),
    });
    if let Value::Object(shown) = &mut shown {
        shown.retain(|_, value| !value.is_null());
    }
    shown
}
