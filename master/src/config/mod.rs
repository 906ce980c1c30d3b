//! What a master is started with: the flags, read and judged, or the same things set by a program (tests, `tepui local`).

mod reader;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tepui_master_core::allocator::PatternLimits;
use tepui_model::Quantities;

use tepui_proto::mesos::DomainInfo;

use crate::flags::{Effect, Flags};
use crate::log_dial::LogDial;

pub use reader::parse_duration;
use reader::{MAX, Reader, invalid};

/// A flag that cannot be obeyed. Each sentence names the flag and says what would be right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The value does not read as what the flag needs.
    #[error("--{flag}={value}: {expected}")]
    Invalid {
        /// The flag's name.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The flag asks for something that must not be left out silently.
    #[error("--{flag} is refused: {why}")]
    Refused {
        /// The flag's name.
        flag: &'static str,
        /// The reason.
        why: &'static str,
    },
}

/// Where the registry is kept and how the leader is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durable {
    /// One file below this directory; this master leads alone.
    Directory(PathBuf),
    /// In memory, for tests; this master leads alone and forgets.
    Memory,
    /// In ZooKeeper, one of several masters.
    ZooKeeper {
        /// `zk://[user:pass@]host:port,…/path`.
        url: String,
        /// The session's time-out.
        session_timeout: Duration,
    },
}

/// Bounds on what peers can make the master hold. The defaults suit a cluster of 10,000 agents, and a framework of 200,000 tasks that
/// reconciles all of them at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a request in bytes, after decompression.
    pub body_bytes: usize,
    /// Connections at one time; more are not accepted until others end.
    pub connections: usize,
    /// How long a client may take to send the head of a request, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub write_timeout: Duration,
    /// Frames that may wait in the outbox of one peer.
    pub outbox_messages: usize,
    /// Bytes of memory (estimated) that may wait in the outbox of one peer.
    pub outbox_bytes: usize,
    /// Bytes of memory (estimated) that may wait in the outboxes of all peers together; above it the fullest are closed.
    pub outboxes_bytes: usize,
    /// Bytes of input (decoded, estimated) that may wait for the core.
    pub inbox_bytes: usize,
    /// Clients of `/tepui/v1/events` at one time.
    pub ui_subscribers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            connections: 16_384,
            head_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            outbox_messages: 1 << 18,
            outbox_bytes: 256 << 20,
            outboxes_bytes: 768 << 20,
            inbox_bytes: 16 << 20,
            ui_subscribers: 256,
        }
    }
}

/// Everything a master needs to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address told to others, when it is not the one listened on.
    pub advertise_ip: Option<IpAddr>,
    /// Port told to others, when it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// Host name told to others; by default the address.
    pub hostname: Option<String>,
    /// Name of the cluster, for people.
    pub cluster: Option<String>,
    /// Where the registry is kept.
    pub durable: Durable,
    /// How long an agent may leave a ping unanswered.
    pub agent_ping_timeout: Duration,
    /// Unanswered pings until an agent counts as unreachable.
    pub max_agent_ping_timeouts: u32,
    /// How long a new leader waits for the agents of the registry.
    pub agent_reregister_timeout: Duration,
    /// So many agents in so long a time may become unreachable; `None`: any number.
    pub agent_removal_rate_limit: Option<(u32, Duration)>,
    /// Which part, 0 to 1, of the registry's agents may become unreachable because they did not return to a new leader.
    pub recovery_agent_removal_limit: f64,
    /// How often entries of the registry that are too old are looked for.
    pub registry_gc_interval: Duration,
    /// How long unreachable and gone agents are remembered.
    pub registry_max_agent_age: Duration,
    /// How many unreachable, and how many gone, agents are remembered.
    pub registry_max_agent_count: usize,
    /// With quota, how long a new leader waits for agents before it makes offers.
    pub allocator_recovery_timeout: Duration,
    /// With quota, for which part of the registry's agents it waits, 0 to 1.
    pub allocator_agent_recovery_factor: f64,
    /// How long one write to the registry may take.
    pub registry_store_timeout: Duration,
    /// How long reading the registry may take.
    pub registry_fetch_timeout: Duration,
    /// How long resources that a framework let go stay away from the same framework and role.
    pub allocation_interval: Duration,
    /// Age at which an offer is rescinded if somebody else wants its resources; `None`: never.
    pub offer_timeout: Option<Duration>,
    /// Alternatives: an offer has to hold one of them. An empty list lets everything pass.
    pub min_allocatable: Vec<Quantities>,
    /// Offer agents with GPUs only to frameworks that can use them.
    pub filter_gpu_resources: bool,
    /// Scalars that do not count in fair shares.
    pub unshared_names: Vec<String>,
    /// How large the patterns of offer constraints may be.
    pub constraint_limits: PatternLimits,
    /// A file with the host names of agents that are offered; `None`: all are.
    pub whitelist: Option<PathBuf>,
    /// Where this master is.
    pub domain: Option<DomainInfo>,
    /// Refuse agents that do not say where they are.
    pub require_agent_domain: bool,
    /// The only roles frameworks may use; `None`: any.
    pub roles: Option<Vec<String>>,
    /// Weights of roles.
    pub weights: Vec<(String, f64)>,
    /// Let frameworks run tasks as root.
    pub root_submissions: bool,
    /// Completed frameworks kept.
    pub max_completed_frameworks: usize,
    /// Completed tasks kept per framework.
    pub max_completed_tasks_per_framework: usize,
    /// Unreachable tasks kept per framework.
    pub max_unreachable_tasks_per_framework: usize,
    /// Subscribers to the operator event stream.
    pub max_operator_event_stream_subscribers: usize,
    /// Publish metrics for each framework.
    pub publish_per_framework_metrics: bool,
    /// The log file shown as `/master/log`.
    pub log_file: Option<PathBuf>,
    /// How operators change what is logged, if they can; see [`LogDial`].
    pub log_dial: Option<LogDial>,
    /// What `/flags` tells: name and value.
    pub flags: Vec<(String, String)>,
    /// Lines for the log at the start: which flags have no effect, and why.
    pub notices: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// A master on a free port of 127.0.0.1 with its registry in memory: what tests start from.
    #[must_use]
    pub fn for_tests() -> Self {
        let mut config = Self::from_flags(&Flags::default())
            .unwrap_or_else(|error| unreachable!("defaults are right: {error}"));
        config.listen.set_port(0);
        config.durable = Durable::Memory;
        config
    }

    /// Reads and judges the flags.
    ///
    /// # Errors
    /// The first flag that is refused or whose value does not read.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        let mut notices = Vec::new();
        for (flag, value) in flags.given() {
            let asked_for = !flag.switch || value != "false";
            match flag.effect {
                Effect::Refused(why) if asked_for => {
                    return Err(ConfigError::Refused {
                        flag: flag.name,
                        why,
                    });
                }
                Effect::Ignored(why) => {
                    notices.push(format!("--{} has no effect: {why}", flag.name))
                }
                Effect::Refused(_) | Effect::Used => {}
            }
        }
        let read = Reader { flags };
        let ip = read
            .parsed::<IpAddr>("ip", "an IP address")?
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = read.parsed("port", "a port, 0 to 65535")?.unwrap_or(5050);
        let ping = read.duration(
            "agent_ping_timeout",
            Duration::from_secs(1)..=Duration::from_secs(15 * 60),
            "a duration from 1secs to 15mins",
        )?;
        let durable = match flags.get("zk") {
            Some(url) if url.starts_with("zk://") => Durable::ZooKeeper {
                url: url.to_owned(),
                session_timeout: read.duration(
                    "zk_session_timeout",
                    Duration::from_millis(100)..=Duration::from_secs(3600),
                    "a duration such as 4secs",
                )?,
            },
            Some(url) => return Err(invalid("zk", url, "zk://host1:port1,host2:port2/path")),
            None => Durable::Directory(
                flags
                    .get("work_dir")
                    .map_or_else(default_work_dir, PathBuf::from),
            ),
        };
        Ok(Self {
            listen: SocketAddr::new(ip, port),
            advertise_ip: read.parsed("advertise_ip", "an IP address")?,
            advertise_port: read.parsed("advertise_port", "a port, 0 to 65535")?,
            hostname: flags.get("hostname").map(str::to_owned),
            cluster: flags.get("cluster").map(str::to_owned),
            durable,
            agent_ping_timeout: ping,
            max_agent_ping_timeouts: read
                .parsed("max_agent_ping_timeouts", "a number, at least 1")?
                .filter(|n| *n >= 1)
                .ok_or_else(|| {
                    invalid(
                        "max_agent_ping_timeouts",
                        flags.get("max_agent_ping_timeouts").unwrap_or_default(),
                        "a number, at least 1",
                    )
                })?,
            agent_reregister_timeout: read.duration(
                "agent_reregister_timeout",
                Duration::from_secs(600)..=MAX,
                "a duration of at least 10mins",
            )?,
            agent_removal_rate_limit: read.removal_rate()?,
            recovery_agent_removal_limit: read.removal_limit()?,
            registry_gc_interval: read.duration(
                "registry_gc_interval",
                Duration::from_secs(1)..=MAX,
                "a duration such as 15mins",
            )?,
            registry_max_agent_age: read.duration(
                "registry_max_agent_age",
                Duration::ZERO..=MAX,
                "a duration such as 2weeks",
            )?,
            registry_max_agent_count: read.count("registry_max_agent_count")?,
            allocator_recovery_timeout: read.duration(
                "allocator_recovery_timeout",
                Duration::ZERO..=MAX,
                "a duration such as 10mins",
            )?,
            allocator_agent_recovery_factor: read.part()?,
            registry_store_timeout: read.duration(
                "registry_store_timeout",
                Duration::from_millis(1)..=MAX,
                "a duration such as 20secs",
            )?,
            registry_fetch_timeout: read.duration(
                "registry_fetch_timeout",
                Duration::from_millis(1)..=MAX,
                "a duration such as 1mins",
            )?,
            allocation_interval: read.duration(
                "allocation_interval",
                Duration::ZERO..=MAX,
                "a duration such as 1secs",
            )?,
            offer_timeout: Some(read.duration(
                "offer_timeout",
                Duration::from_millis(1)..=MAX,
                "a duration such as 5mins",
            )?),
            min_allocatable: read.min_allocatable()?,
            filter_gpu_resources: read.switch("filter_gpu_resources")?,
            unshared_names: read.names("fair_sharing_excluded_resource_names"),
            constraint_limits: PatternLimits {
                memory_bytes: read.bytes("offer_constraints_re2_max_mem")?,
                instructions: read.count("offer_constraints_re2_max_program_size")?,
            },
            whitelist: flags
                .get("whitelist")
                .map(|path| PathBuf::from(path.strip_prefix("file://").unwrap_or(path))),
            domain: read.domain()?,
            require_agent_domain: read.switch("require_agent_domain")?,
            roles: flags.get("roles").map(|_| read.names("roles")),
            weights: read.weights()?,
            root_submissions: read.switch("root_submissions")?,
            max_completed_frameworks: read.count("max_completed_frameworks")?,
            max_completed_tasks_per_framework: read.count("max_completed_tasks_per_framework")?,
            max_unreachable_tasks_per_framework: read
                .count("max_unreachable_tasks_per_framework")?,
            max_operator_event_stream_subscribers: read
                .count("max_operator_event_stream_subscribers")?,
            publish_per_framework_metrics: read.switch("publish_per_framework_metrics")?,
            log_file: flags.get("external_log_file").map(PathBuf::from),
            log_dial: None,
            flags: flags
                .effective()
                .map(|(name, value)| (name.to_owned(), shown(name, value)))
                .collect(),
            notices,
            limits: Limits::default(),
        })
    }
}

/// A flag's value as everybody may see it: the password of a ZooKeeper URL is left out.
fn shown(name: &str, value: &str) -> String {
    match (
        name,
        value
            .strip_prefix("zk://")
            .and_then(|rest| rest.split_once('@')),
    ) {
        ("zk", Some((_, hosts))) => format!("zk://***@{hosts}"),
        _ => value.to_owned(),
    }
}

/// `/var/lib/tepui/master` as root, `$XDG_STATE_HOME/tepui/master` (or `~/.local/state/…`) otherwise.
fn default_work_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/tepui/master");
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("tepui/master")
}

#[cfg(test)]
mod tests;
