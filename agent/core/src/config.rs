//! What an agent is told once, at construction.

use std::time::Duration;

use tepui_proto::mesos::v1::AgentInfo;

/// What an agent is told once, at construction. Nothing in it is secret; the shell decides where it comes from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hostname, port, resources and attributes. `id` is set by recovery or by the first registration.
    pub info: AgentInfo,
    /// The address that is told to frameworks as a task's own where the container has no network of its own.
    pub ip: String,
    /// Tepui's version, for people.
    pub version: String,
    /// Random, new for every start of the process: the seed of every id and uuid that this agent makes up.
    pub incarnation: [u8; 16],
    /// An executor that has not subscribed this long after its launch is destroyed (`--executor_registration_timeout`).
    pub executor_registration_timeout: Duration,
    /// An executor that has not subscribed again this long after a restart of the agent is destroyed (`--executor_reregistration_timeout`).
    pub executor_reregistration_timeout: Duration,
    /// Between SHUTDOWN and the end of the container (`--executor_shutdown_grace_period`), unless the executor names its own.
    pub executor_shutdown_grace_period: Duration,
    /// Tasks (also terminal ones whose last update is not acknowledged) that the agent holds at most; more are dropped with a reason.
    pub max_tasks: usize,
    /// Operations whose last status is not acknowledged that the agent holds at most; more are dropped with a reason.
    pub max_operations: usize,
    /// Updates of one task that wait for acknowledgement, at most; an executor that makes more is told to come back.
    pub max_updates_per_task: usize,
    /// Encoded bytes of one Register or RegisterMore message, about.
    pub registration_chunk_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            info: AgentInfo::default(),
            ip: "127.0.0.1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: [0; 16],
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            max_tasks: 100_000,
            max_operations: 10_000,
            max_updates_per_task: 1_000,
            registration_chunk_bytes: 1 << 20,
        }
    }
}
