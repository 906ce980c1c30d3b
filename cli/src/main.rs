//! The `tepui` binary: every daemon, every command.
//!
//! The daemons are thin calls into their crates; the commands of application owners and operators use the public APIs only, as any other
//! client could. Exit codes: 0 good, 1 failed, 2 bad usage or input.

#[macro_use]
mod say;

mod client;
mod commands;
mod daemon;
mod flags;
mod local;
mod log;
mod rollout;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use commands::{CommandError, Context};
use log::Log;

/// Tepui: a cluster manager in the line of Apache Mesos and Marathon, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "tepui",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

/// Where a command finds the cluster, and what it does there.
#[derive(Debug, clap::Args)]
struct AtCluster<C: Subcommand> {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: C,
}

/// Where a command finds the cluster.
#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// The master's address.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "TEPUI_MASTER",
        default_value = "127.0.0.1:5050"
    )]
    master: String,
    /// Marathon's address.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "TEPUI_MARATHON",
        default_value = "127.0.0.1:8080"
    )]
    marathon: String,
    /// Print JSON for scripts instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Run the whole platform in this process: master, agents and Marathon.
    Local(local::LocalArgs),
    /// Run a master.
    Master(Box<tepui_master::Flags>),
    /// Run an agent.
    Agent(Box<tepui_agent::Flags>),
    /// Run Marathon, the container framework.
    Marathon(Box<tepui_marathon::Flags>),
    /// Apps: deploy, list, show, explain, scale, restart, history, rollback, destroy.
    App(AtCluster<commands::app::AppCommand>),
    /// Groups of apps: deploy, plan, list, show, scale, history, rollback, destroy.
    Group(AtCluster<commands::group::GroupCommand>),
    /// Pods: deploy, plan, list, show, explain, scale, kill, history, rollback, destroy.
    Pod(AtCluster<commands::pod::PodCommand>),
    /// What Marathon has stored: backup, restore.
    Store(AtCluster<commands::store::StoreCommand>),
    /// Marathon's deployments: list, cancel.
    Deployment(AtCluster<commands::deployment::DeploymentCommand>),
    /// Marathon's launch queue: list, reset.
    Queue(AtCluster<commands::deployment::QueueCommand>),
    /// Tasks: list, logs, kill.
    Task(AtCluster<commands::task::TaskCommand>),
    /// Agents: list, drain, deactivate, reactivate, mark gone.
    Node(AtCluster<commands::node::NodeCommand>),
    /// Images on the agents: list, prune.
    Image(AtCluster<commands::image::ImageCommand>),
    /// Frameworks: list, tear down.
    Framework(AtCluster<commands::framework::FrameworkCommand>),
    /// Roles: list, weights, quota.
    Role(AtCluster<commands::role::RoleCommand>),
    /// Machines: schedule, take down, bring up.
    Maintenance(AtCluster<commands::maintenance::MaintenanceCommand>),
    /// Follow the cluster's events.
    Events {
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        command: commands::events::EventsCommand,
    },
    /// Measure.
    Bench {
        #[command(subcommand)]
        command: tepui_bench::BenchCommand,
        /// A running master to put the load on; otherwise each benchmark starts its own.
        #[arg(long, global = true, value_name = "HOST:PORT")]
        master: Option<String>,
        /// Print the figures as one JSON object.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    // Executed under another name this binary is the launcher of containers, and never comes here: see tepui_agent::supervisor.
    let mut command = Cli::command();
    command.build();
    let args = daemon::arguments(&command, std::env::args_os().collect());
    let cli = match command
        .try_get_matches_from_mut(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(CommandError::Exit(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tepui: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Commands) -> Result<ExitCode, CommandError> {
    match command {
        Commands::Local(args) => {
            return local::run(&args, &Log::start("warn"));
        }
        Commands::Master(flags) => {
            daemon::master(*flags, &Log::start("info"))?;
        }
        Commands::Agent(flags) => {
            Log::start("info");
            daemon::agent(*flags)?;
        }
        Commands::Marathon(flags) => {
            let log = Log::start(flags.logging_level().unwrap_or("info"));
            daemon::marathon(*flags, &log)?;
        }
        Commands::Bench {
            command,
            master,
            json,
        } => {
            tepui_bench::run(command, master, json)
                .map_err(|error| CommandError::Failed(error.to_string()))?;
        }
        Commands::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tepui", &mut script);
            print!("{}", String::from_utf8_lossy(&script));
        }
        Commands::App(at) => at_cluster(&at.cluster, async |context| {
            commands::app::run(context, at.command).await
        })?,
        Commands::Task(at) => at_cluster(&at.cluster, async |context| {
            commands::task::run(context, at.command).await
        })?,
        Commands::Node(at) => at_cluster(&at.cluster, async |context| {
            commands::node::run(context, at.command).await
        })?,
        Commands::Image(at) => at_cluster(&at.cluster, async |context| {
            commands::image::run(context, at.command).await
        })?,
        Commands::Framework(at) => at_cluster(&at.cluster, async |context| {
            commands::framework::run(context, at.command).await
        })?,
        Commands::Group(at) => at_cluster(&at.cluster, async |context| {
            commands::group::run(context, at.command).await
        })?,
        Commands::Pod(at) => at_cluster(&at.cluster, async |context| {
            commands::pod::run(context, at.command).await
        })?,
        Commands::Store(at) => at_cluster(&at.cluster, async |context| {
            commands::store::run(context, at.command).await
        })?,
        Commands::Deployment(at) => at_cluster(&at.cluster, async |context| {
            commands::deployment::run(context, at.command).await
        })?,
        Commands::Queue(at) => at_cluster(&at.cluster, async |context| {
            commands::deployment::run_queue(context, at.command).await
        })?,
        Commands::Role(at) => at_cluster(&at.cluster, async |context| {
            commands::role::run(context, at.command).await
        })?,
        Commands::Maintenance(at) => at_cluster(&at.cluster, async |context| {
            commands::maintenance::run(context, at.command).await
        })?,
        Commands::Events { cluster, command } => at_cluster(&cluster, async |context| {
            commands::events::run(context, command).await
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a client's command to its end.
fn at_cluster(
    args: &ClusterArgs,
    command: impl AsyncFnOnce(&Context) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")))?;
    let context = Context {
        cluster: client::Cluster::new(&args.master, &args.marathon),
        json: args.json,
    };
    runtime.block_on(command(&context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
