//! Why an instance of Marathon cannot run.

use std::{net::SocketAddr, path::PathBuf};

/// Why an instance of Marathon cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A flag's value makes no sense.
    #[error("--{flag}: {reason}")]
    Flag {
        /// The flag, without dashes.
        flag: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error(
        "Marathon cannot listen on {address}: {source}; choose another --http_port, or stop what uses it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder of the embedded store cannot be made.
    #[error("Marathon cannot use {path} for its state: {source}; choose another --work_dir")]
    WorkDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store does not do its work.
    #[error("Marathon's store: {0}")]
    Store(#[from] tepui_coordination::StoreError),
    /// What is stored cannot be understood.
    #[error("Marathon's stored state: {0}")]
    Recover(#[from] tepui_marathon_core::RecoverError),
    /// A file is no backup that can be used.
    #[error("the backup cannot be used: {0}")]
    Backup(#[from] crate::BackupError),
    /// A store is not empty, and was not to be replaced.
    #[error(
        "the store holds {records} records already, and nothing was changed; restore into an empty one, or replace what is there with --replace"
    )]
    NotEmpty {
        /// How many.
        records: usize,
    },
    /// Where a store is looked for nothing is stored.
    #[error(
        "no Marathon has stored anything at {place}; is it the right place? A backup goes into an empty store without --replace"
    )]
    NothingStored {
        /// Where.
        place: String,
    },
    /// A Marathon leads on the store.
    #[error("a Marathon leads at {leader}: stop all instances first, or take the backup from it")]
    Runs {
        /// Where.
        leader: String,
    },
    /// A backup could not be written down.
    #[error("the backup cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// Nothing is heard of who leads.
    #[error("ZooKeeper does not say who leads; is it there?")]
    NoElection,
    /// The system refused a thread.
    #[error("Marathon cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}
