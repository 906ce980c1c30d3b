//! Why a benchmark has no figures.

/// Why a benchmark has no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The benchmark itself could not start.
    #[error("the benchmark cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// The daemon under test did not come up.
    #[error("`{command}` did not answer on {address} within {seconds} s; its log is above")]
    NotUp {
        /// What was started.
        command: String,
        /// Where it should listen.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A connection to the daemon under test broke.
    #[error("the connection to {address} broke: {reason}")]
    Broken {
        /// The daemon's address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The executor under test could not go on.
    #[error("the executor ends: {0}")]
    Executor(#[from] tepui_sdk::Error),
    /// The daemon refused a call of the load.
    #[error("the master refused a call: {0}")]
    Refused(String),
    /// Not all tasks came to an end.
    #[error("only {finished} of {wanted} tasks were finished after {seconds} s")]
    Unfinished {
        /// Tasks whose terminal update was acknowledged.
        finished: u64,
        /// Tasks that were asked for.
        wanted: u64,
        /// How long was waited.
        seconds: u64,
    },
    /// A benchmark that ends the masters it measures was told to use a running one.
    #[error("`bench {0}` starts masters of its own: --master has no place there")]
    OwnMaster(&'static str),
}
