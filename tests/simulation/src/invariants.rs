//! The invariants of ARCHITECTURE.md by name, and what a breach says.

use std::fmt;

use tepui_model::Time;

use crate::runner::World;

/// The invariants, as ARCHITECTURE.md numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// I1: neither what the master gave away nor what really runs on a machine exceeds what the machine has.
    NoOvercommit,
    /// I2: no two terminal updates of one task ever leave agents.
    OneTerminal,
    /// I3: every terminal update that left an agent has reached its framework in the end.
    TerminalDelivered,
    /// I4: an offer ends once.
    OfferOnce,
    /// I5: in the end all agree, and nothing is left over.
    Converges,
    /// I6: nobody obeys a leader after having obeyed its successor.
    Epoch,
    /// I7: what is reserved is only offered to, and used by, those whom it is reserved for.
    Reservation,
    /// I8: no offer passes a role's limit, or takes what others are guaranteed.
    Quota,
    /// I9: what an operator was told to be done is in the store, and every later leader knows it.
    Durable,
    /// I10: an agent that is gone never returns, and nothing counts as running on it.
    Gone,
    /// I11: nothing runs on an agent that has drained.
    Drained,
    /// I12: an operation ends one way, its framework hears how, and master and agent agree on what the agent has.
    Operations,
    /// I13: an offer is made in a role that its framework has, of an agent that its constraints admit.
    Wanted,
    /// I14: never more instances of an app than maximumOverCapacity allows, and no replacement leaves fewer serving than
    /// minimumHealthCapacity demands.
    Capacity,
    /// I15: never two live tasks on one persistent volume.
    Volume,
    /// I16: UNIQUE and MAX_PER hold among instances of one configuration.
    Spread,
    /// I17: once faults have ended every app becomes what it is defined to be, and of what was deleted nothing is left.
    Defined,
    /// I18: no deployment waits for ever without a reason that is shown.
    Explained,
    /// I19: what a user of Marathon was told to be done is in its store, and every later leader has it.
    Kept,
    /// I20: an instance gets another task only when the last one is known to be over.
    OneTask,
    /// I21: what Marathon does by itself leaves as many serving as the disruption budget demands, and keeps to the bounds of autoscaling.
    Budget,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Invariant::NoOvercommit => "I1 no-overcommit",
            Invariant::OneTerminal => "I2 one-terminal",
            Invariant::TerminalDelivered => "I3 terminal-delivered",
            Invariant::OfferOnce => "I4 offer-once",
            Invariant::Converges => "I5 converges",
            Invariant::Epoch => "I6 epoch",
            Invariant::Reservation => "I7 reservation",
            Invariant::Quota => "I8 quota",
            Invariant::Durable => "I9 durable",
            Invariant::Gone => "I10 gone",
            Invariant::Drained => "I11 drained",
            Invariant::Operations => "I12 operations",
            Invariant::Wanted => "I13 wanted",
            Invariant::Capacity => "I14 capacity",
            Invariant::Volume => "I15 volume",
            Invariant::Spread => "I16 spread",
            Invariant::Defined => "I17 defined",
            Invariant::Explained => "I18 explained",
            Invariant::Kept => "I19 kept",
            Invariant::OneTask => "I20 one-task",
            Invariant::Budget => "I21 budget",
        })
    }
}

/// An invariant did not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "seed {seed}, at {at:?}: {what}\n  replay: cargo run -p tepui-simulation --release -- --seed {seed}{world} --trace"
)]
pub struct Breach {
    /// Which run.
    pub seed: u64,
    /// Of which kind of world.
    pub world: World,
    /// When, in simulated time.
    pub at: Time,
    /// The invariant, and what was seen.
    pub what: String,
}
