//! The agent's flags under Mesos' names. Values are judged when [`Config::from_flags`](crate::Config::from_flags) reads them.

use std::path::PathBuf;

use clap::Args;

use crate::provision::flags::ImageFlags;

/// The agent's flags. Where a value may come from besides the command line is the caller's business.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct Flags {
    /// Where the master is: host:port, zk://host1:port1,host2:port2/path, or file:///path of a file that says it
    #[arg(long)]
    pub master: Option<String>,
    /// Where sandboxes and records are kept [default: /var/lib/tepui/agent as root]
    #[arg(long, alias = "work-dir")]
    pub work_dir: Option<PathBuf>,
    /// Where facts about running containers are kept; not kept over a reboot [default: run/ below --work_dir]
    #[arg(long, alias = "runtime-dir")]
    pub runtime_dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub ip: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 5051)]
    pub port: u16,
    /// Address told to others, when it is not --ip
    #[arg(long, alias = "advertise-ip")]
    pub advertise_ip: Option<String>,
    /// Port told to others, when it is not --port
    #[arg(long, alias = "advertise-port")]
    pub advertise_port: Option<u16>,
    /// Host name told to others [default: this machine's, or --ip with --no-hostname_lookup]
    #[arg(long)]
    pub hostname: Option<String>,
    /// Whether the host name is looked up when it is not given
    #[arg(long, alias = "hostname-lookup", num_args = 0..=1, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub hostname_lookup: bool,
    /// What is offered: 'cpus:4;mem:1024;ports(role):[31000-32000]' or JSON; what is not named is found out
    #[arg(long)]
    pub resources: Option<String>,
    /// What frameworks may choose by: 'rack:a;speed:3'
    #[arg(long)]
    pub attributes: Option<String>,
    /// Region and zone, as JSON: '{"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}', or file:///path
    #[arg(long)]
    pub domain: Option<String>,
    /// Role of resources that are given without one
    #[arg(long, alias = "default-role", default_value = "*")]
    pub default_role: String,
    /// Whether tasks run as the user that they name (needs root)
    #[arg(long, alias = "switch-user", num_args = 0..=1, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub switch_user: bool,
    /// Where containers' cgroups are, below the mount of each controller
    #[arg(long, alias = "cgroups-root", default_value = "tepui")]
    pub cgroups_root: String,
    /// Whether a task may use no more than its cpus, even when others are idle
    #[arg(long, alias = "cgroups-enable-cfs", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub cgroups_enable_cfs: bool,
    /// How long an executor may take to subscribe
    #[arg(long, alias = "executor-registration-timeout", default_value = "1mins")]
    pub executor_registration_timeout: String,
    /// How long an executor may take to subscribe again after a restart of the agent (at most 15secs)
    #[arg(
        long,
        alias = "executor-reregistration-timeout",
        default_value = "2secs"
    )]
    pub executor_reregistration_timeout: String,
    /// How long an executor may take to shut down
    #[arg(
        long,
        alias = "executor-shutdown-grace-period",
        default_value = "5secs"
    )]
    pub executor_shutdown_grace_period: String,
    /// How long executors try to reach an agent that is away
    #[arg(long, alias = "recovery-timeout", default_value = "15mins")]
    pub recovery_timeout: String,
    /// JSON object of variables for every executor
    #[arg(long, alias = "executor-environment-variables")]
    pub executor_environment_variables: Option<String>,
    /// The longest pause between two attempts to reach the master
    #[arg(long, alias = "registration-backoff-factor", default_value = "1secs")]
    pub registration_backoff_factor: String,
    /// How long the sandbox of an ended container is kept
    #[arg(long, alias = "gc-delay", default_value = "1weeks")]
    pub gc_delay: String,
    /// Part of the disk that is kept free by removing sandboxes early
    #[arg(long, alias = "gc-disk-headroom", default_value_t = 0.1)]
    pub gc_disk_headroom: f64,
    /// How often old sandboxes are looked for
    #[arg(long, alias = "disk-watch-interval", default_value = "1mins")]
    pub disk_watch_interval: String,
    /// Between heartbeats on the streams of what containers write
    #[arg(long, alias = "http-heartbeat-interval", default_value = "30secs")]
    pub http_heartbeat_interval: String,
    /// Where relative paths among a command's URIs begin
    #[arg(long, alias = "frameworks-home")]
    pub frameworks_home: Option<PathBuf>,
    /// Where fetched files are kept for others; each agent has a part of its own [default: fetch/ below --work_dir]
    #[arg(long, alias = "fetcher-cache-dir")]
    pub fetcher_cache_dir: Option<PathBuf>,
    /// How much fetched is kept for others; what was not used for the longest time goes first
    #[arg(long, alias = "fetcher-cache-size", default_value = "2GB")]
    pub fetcher_cache_size: String,
    /// The longest silence within a download
    #[arg(long, alias = "fetcher-stall-timeout", default_value = "1mins")]
    pub fetcher_stall_timeout: String,
    /// The largest file that is fetched, and the most that one archive may unpack to
    #[arg(long, alias = "fetcher-max-size", default_value = "20GB")]
    pub fetcher_max_size: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub networks: crate::networks::NetworkFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub docker_volumes: crate::external_volumes::DockerVolumeFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub csi: crate::external_volumes::CsiFlags,
    /// After this long without ZooKeeper a session is over
    #[arg(long, alias = "zk-session-timeout", default_value = "4secs")]
    pub zk_session_timeout: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a group's comment would become the command's")]
    pub images: ImageFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub isolation: crate::isolation::IsolationFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub oversubscription: crate::oversubscription::OversubscriptionFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub disk: crate::disk::DiskFlags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the type says it")]
    pub ports: crate::ports::PortsFlags,
    /// Accepted: only 'mesos' is there
    #[arg(long)]
    pub containerizers: Option<String>,
    /// Accepted: there is one launcher
    #[arg(long)]
    pub launcher: Option<String>,
    /// What may differ from the agent's last start: 'equal', nothing; 'additive', it may have more
    #[arg(long, alias = "reconfiguration-policy", default_value = "equal")]
    pub reconfiguration_policy: String,
    /// Only 'reconnect' is there
    #[arg(long, default_value = "reconnect")]
    pub recover: String,
    /// Accepted: records are always read strictly
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub strict: bool,
    /// Accepted: cgroups are found where they are mounted
    #[arg(long, alias = "cgroups-hierarchy")]
    pub cgroups_hierarchy: Option<String>,
    /// Accepted: logging is set with TEPUI_LOG
    #[arg(long, alias = "logging-level")]
    pub logging_level: Option<String>,
    /// Accepted: logs go to standard error
    #[arg(long, alias = "log-dir")]
    pub log_dir: Option<PathBuf>,
    /// Accepted without effect
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub quiet: bool,
    /// Refused: authentication is not built yet
    #[arg(long, alias = "authenticate-http-readonly", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set, hide = true)]
    pub authenticate_http_readonly: bool,
    /// Refused: authentication is not built yet
    #[arg(long, alias = "authenticate-http-readwrite", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set, hide = true)]
    pub authenticate_http_readwrite: bool,
    /// Refused: authentication is not built yet
    #[arg(long, alias = "authenticate-http-executors", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set, hide = true)]
    pub authenticate_http_executors: bool,
    /// Refused: authentication is not built yet
    #[arg(long, hide = true)]
    pub credential: Option<String>,
    /// Refused: authentication is not built yet
    #[arg(long, alias = "http-credentials", hide = true)]
    pub http_credentials: Option<String>,
    /// Refused: authorization is not built yet
    #[arg(long, hide = true)]
    pub acls: Option<String>,
    /// Refused: firewall rules are not built yet
    #[arg(long, alias = "firewall-rules", hide = true)]
    pub firewall_rules: Option<String>,
    /// Refused: executor secrets are not built yet
    #[arg(long, alias = "jwt-secret-key", hide = true)]
    pub jwt_secret_key: Option<String>,
}
