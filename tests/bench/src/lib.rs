//! `tepui bench`: what the promises of SPECIFICATION.md are measured with.
//!
//! A benchmark starts the daemon it measures in a process of its own, so that its memory is its own, unless told to use a running one, and puts real
//! load on it through the public protocols: simulated agents over the master-agent gRPC protocol (sharing HTTP/2 connections, because one process
//! may hold only so many sockets) and a load framework over gRPC or v1 HTTP. Figures go to standard output, as a table or as one JSON object.

mod allocator;
mod containers;
mod error;
mod executor;
mod failover;
mod launch;
mod load;
mod marathon;
mod process;
mod reader;
mod report;
mod returning_agents;
mod simulated_agents;
mod state;

pub use error::BenchError;

/// Benchmarks.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// Tasks a second through master and protocols, on simulated agents.
    Launch(launch::LaunchArgs),
    /// How soon what is free is offered: the allocator, and the whole master core, without sockets.
    Allocator(allocator::AllocatorArgs),
    /// A new leader: agents and their tasks, and frameworks, return to it.
    Failover(failover::FailoverArgs),
    /// The state of a big cluster, read again and again, and offers meanwhile.
    State(state::StateArgs),
    /// Real containers on one real agent: how soon they run, how many a second, what a supervisor costs.
    Containers(containers::ContainersArgs),
    /// Tasks on one executor of a framework's own: how many a second.
    Executor(executor::ExecutorArgs),
    /// Marathon: apps scaled, deployed, upgraded, read and planned, and a new leader.
    Marathon(marathon::MarathonArgs),
    /// The executor of `bench executor`, which an agent starts.
    #[command(hide = true)]
    NoOpExecutor(executor::NoOpArgs),
}

/// Runs a benchmark and prints its figures, as one JSON object if asked. `master` names a running master; without it each benchmark starts its own.
///
/// # Errors
/// The daemon under test could not be started, refused something that it should accept, or did not finish in time.
pub fn run(command: BenchCommand, master: Option<String>, json: bool) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BenchError::Start)?;
    runtime.block_on(async {
        match command {
            BenchCommand::Launch(args) => launch::run(args, master, json).await,
            BenchCommand::Allocator(args) => allocator::run(&args, json),
            BenchCommand::Failover(args) => failover::run(args, master, json).await,
            BenchCommand::State(args) => state::run(args, master, json).await,
            BenchCommand::Containers(args) => containers::run(args, master, json).await,
            BenchCommand::Executor(args) => executor::run(args, master, json).await,
            BenchCommand::Marathon(args) => marathon::run(args, master, json).await,
            BenchCommand::NoOpExecutor(args) => executor::no_op_executor(args).await,
        }
    })
}
