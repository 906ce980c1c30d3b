//! What can go wrong when the containerizer is asked for something. How a *launch* went wrong is told by its exit
//! ([`LaunchFailure`](super::LaunchFailure)).

use std::io;
use std::path::PathBuf;

use super::spec::ContainerId;

/// A request that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ContainerizerError {
    /// The id cannot name a directory.
    #[error("container id '{id}' is empty, too long, or has a slash, NUL or line break in it")]
    InvalidId {
        /// Its first characters.
        id: String,
    },
    /// The id is in use, by a container that runs or by the record of one that has ended and was not destroyed.
    #[error("container '{0}' exists already")]
    Exists(ContainerId),
    /// No such container, or it has ended.
    #[error("container '{0}' does not run")]
    NotRunning(ContainerId),
    /// Version 2 of cgroups lets nobody limit a part of what a cgroup with processes in it has.
    #[error(
        "a container inside of '{0}' cannot have limits of its own: this machine's cgroups are of version 2, which does not have that"
    )]
    LimitsWithin(ContainerId),
    /// The user does not exist, or the agent may not become it.
    #[error("cannot run as user '{user}': {reason}")]
    User {
        /// As given.
        user: String,
        /// Why not.
        reason: String,
    },
    /// The runtime directory cannot be used.
    #[error("runtime directory: cannot {action} {}: {source}", path.display())]
    RuntimeDir {
        /// "create", "read", …
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process that forks supervisors cannot be started or reached.
    #[error("launcher process: cannot {action}: {source}")]
    Launcher {
        /// "start it", "send it a request", …
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A cgroup file cannot be read or written.
    #[error("cgroup: cannot {action} {}: {source}", path.display())]
    Cgroup {
        /// "write", "remove", …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Devices cannot be kept away on this machine.
    #[error(
        "container '{0}': the devices that it may use cannot be limited: this machine lets the agent use neither the cgroup controller 'devices' nor programs for cgroups of version 2"
    )]
    Devices(ContainerId),
    /// Processors cannot be chosen on this machine.
    #[error(
        "container '{0}': its processors cannot be chosen: this machine lets the agent not use the cgroup controller 'cpuset'"
    )]
    Cpuset(ContainerId),
    /// The use of block devices cannot be limited on this machine.
    #[error(
        "container '{0}': its use of block devices cannot be limited: this machine lets the agent not use the cgroup controller 'blkio' or 'io'"
    )]
    BlockIo(ContainerId),
    /// Not as many GPUs are free, or they cannot be used.
    #[error("container '{container}': {why}")]
    Gpus {
        /// Whom they are for.
        container: ContainerId,
        /// What is missing.
        why: String,
    },
    /// A command inside a container could not be started.
    #[error("{0}")]
    Exec(#[source] super::event::LaunchFailure),
    /// The kernel did not take a signal.
    #[error("cannot signal container '{container}': {source}")]
    Signal {
        /// Whom.
        container: ContainerId,
        /// Why.
        source: io::Error,
    },
}
