//! `tepui master`, `tepui agent`, `tepui marathon`: one daemon each, until a signal ends it.

use std::{ffi::OsString, path::PathBuf};

use crate::{commands::CommandError, flags::normalise, log::Log};

/// The daemons, and the prefixes of the environment variables that carry their flags, the strongest first.
const DAEMONS: &[(&str, &[&str])] = &[
    ("master", &["TEPUI_", "MESOS_"]),
    ("agent", &["TEPUI_", "MESOS_"]),
    ("marathon", &["TEPUI_", "MARATHON_"]),
];

/// Rewrites the command line of a daemon as [`flags`](crate::flags) says; other command lines stay as they are.
pub(crate) fn arguments(command: &clap::Command, args: Vec<OsString>) -> Vec<OsString> {
    let Some(name) = args.get(1).and_then(|arg| arg.to_str()) else {
        return args;
    };
    let Some((name, prefixes)) = DAEMONS.iter().find(|(known, _)| *known == name) else {
        return args;
    };
    let Some(command) = command
        .get_subcommands()
        .find(|known| known.get_name() == *name)
    else {
        return args;
    };
    let flags = normalise(command, &args[2..], prefixes, |variable| {
        std::env::var_os(variable)
    });
    args[..2].iter().cloned().chain(flags).collect()
}

/// The folder of a daemon that was given none: where the system keeps state as root, where the user does otherwise.
pub(crate) fn default_work_dir(daemon: &str) -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/tepui").join(daemon);
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || {
        std::env::var_os("HOME")
            .map_or_else(std::env::temp_dir, PathBuf::from)
            .join(".local/state")
    };
    state.unwrap_or_else(home).join("tepui").join(daemon)
}

fn bad(error: &dyn std::error::Error) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// Waits for SIGINT or SIGTERM.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        _ => std::future::pending().await,
    }
}

/// Lets this process open as many files and connections as it may at the most: what it is given at first, 1,024 where nobody says otherwise, is
/// less than a master has agents. Not for an agent, whose tasks would inherit it.
fn take_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the number of open files and connections stays as it was");
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")))
}

pub(crate) fn master(mut flags: tepui_master::Flags, log: &Log) -> Result<(), CommandError> {
    if flags.get("work_dir").is_none() && flags.get("zk").is_none() {
        flags.set("work_dir", default_work_dir("master").display().to_string());
    }
    let mut config = tepui_master::Config::from_flags(&flags).map_err(|error| bad(&error))?;
    config.log_dial = Some(log.of_master());
    take_descriptors();
    runtime()?
        .block_on(tepui_master::run(config, signalled()))
        .map_err(|error| bad(&error))
}

pub(crate) fn agent(mut flags: tepui_agent::Flags) -> Result<(), CommandError> {
    flags
        .work_dir
        .get_or_insert_with(|| default_work_dir("agent"));
    let config = tepui_agent::Config::from_flags(&flags).map_err(|error| bad(&error))?;
    let runtime = runtime()?;
    let ended = runtime.block_on(tepui_agent::run(config, signalled()));
    // A thread may wait for a file system that does not answer: the agent's end does not.
    runtime.shutdown_background();
    ended.map_err(|error| bad(&error))
}

pub(crate) fn marathon(flags: tepui_marathon::Flags, log: &Log) -> Result<(), CommandError> {
    take_descriptors();
    let seed = uuid::Uuid::new_v4().as_u128();
    let mut config = flags
        .into_config(default_work_dir("marathon"), seed)
        .map_err(|error| bad(&error))?;
    config.log_dial = Some(log.of_marathon());
    runtime()?.block_on(async {
        let mut marathon = tepui_marathon::Marathon::start(config)
            .await
            .map_err(|error| bad(&error))?;
        tracing::info!(address = %marathon.address(), "Marathon listens");
        tokio::select! {
            error = marathon.failed() => Err(bad(&error)),
            () = signalled() => Ok(()),
        }
    })
}
