//! A cluster of cores in one thread under a simulated clock and network; every run is its seed.
//!
//! The cores are the real ones, `tepui-master-core` and `tepui-agent-core`; everything around them is simulated: clock, network,
//! store, election, disks, containers, frameworks, and what goes wrong with each. [`Scenario::of`] draws a cluster and its faults from
//! the seed; [`Simulation::run`] lets it live through them, then in peace, and checks the invariants of ARCHITECTURE.md on the way and
//! at the end. A seed that fails once fails always, and `--trace` tells its story.
//!
//! The model:
//! - **Streams** are ordered and exact until they break ([`Fault::Break`]); a partition holds back what is sent across it, in one or
//!   both directions. When it ends, what was held back arrives (also on streams that were replaced meanwhile) or the stream breaks.
//! - **Leaders**: each is a new core made from the registry with the next epoch. One that is cut off lives on beside its successor; agents
//!   and frameworks learn of the successor at different times. The store refuses writes of lower epochs, fails at random, and sometimes
//!   takes what it said to have failed.
//! - **Agents** crash in the middle of carrying out outputs. What was written survives a crash of the process; what was synchronised a
//!   crash of the machine. The journal is replaced by its snapshot now and then. Containers start late, fail to start, exit with and
//!   without success, run out of memory, ignore SIGTERM, and end while no agent looks.
//! - **Frameworks** launch, decline, hoard, kill, suppress, revive, reconcile, acknowledge late or never, crash, and take over from
//!   themselves. They reserve, make volumes, launch on them, and undo it all, with and without asking to hear what came of it.
//! - **Marathon** is in some worlds one of the frameworks: its real core, `tepui-marathon-core`, with a store, an election and users of its
//!   own (`marathon/`). [`Scenario::of_marathon`] draws such a world.
//! - **Operators** drain, deactivate, reactivate and give up agents, set quota, weights and maintenance, reserve and make volumes, and
//!   tear frameworks down ([`Deed`]). What they were told is written down and compared with the store and with every leader.
//!
//! Left out: the shells (their batching is imitated), encodings, clock skew, executors of frameworks' own: each needs a model of its own.

mod agents;
mod containers;
mod faults;
mod final_state;
mod frameworks;
mod groups;
mod invariants;
mod ledger;
mod lending;
mod marathon;
mod masters;
mod network;
mod operations;
mod operators;
mod quota;
mod random;
mod runner;
mod scenario;
mod trace;
mod whims;
mod wishes;
mod world;

pub use invariants::{Breach, Invariant};
pub use runner::{World, run_seed, run_seeds};
pub use scenario::{Deed, Fault, Sabotage, Scenario};
pub use trace::Trace;
pub use world::{Simulation, Summary};
