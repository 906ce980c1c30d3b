//! The `tepui` binary: every daemon, every command.
//!
//! The daemons are thin calls into their crates; the commands of application owners and operators use the public APIs only, as any other
//! client could. Exit codes: 0 good, 1 failed, 2 bad usage or input.

mod client;
mod commands;
mod flags;
mod rollout;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use commands::{CommandError, Context};

/// Tepui: a cluster manager in the line of Apache Mesos and Marathon, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "tepui",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: Commands,
}

/// Where the commands find the cluster.
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
    /// Apps: deploy, list, show, scale, restart, destroy.
    #[command(subcommand)]
    App(commands::app::AppCommand),
    /// Tasks: list, logs, kill.
    #[command(subcommand)]
    Task(commands::task::TaskCommand),
    /// Agents: list.
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Frameworks: list.
    #[command(subcommand)]
    Framework(commands::framework::FrameworkCommand),
    /// Follow the cluster's events.
    Events(commands::events::EventsCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches_from(std::env::args_os());
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tepui: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), CommandError> {
    if let Commands::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "tepui", &mut std::io::stdout());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let context = Context {
            cluster: client::Cluster::new(&cli.cluster.master, &cli.cluster.marathon),
            json: cli.cluster.json,
        };
        match cli.command {
            Commands::App(command) => commands::app::run(&context, command).await,
            Commands::Task(command) => commands::task::run(&context, command).await,
            Commands::Node(command) => commands::node::run(&context, command).await,
            Commands::Framework(command) => commands::framework::run(&context, command).await,
            Commands::Events(command) => commands::events::run(&context, command).await,
            Commands::Completions { .. } => Ok(()),
        }
    })
}
