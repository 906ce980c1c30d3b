//! What an instance of Marathon is started with.

use std::{net::IpAddr, path::PathBuf};

use tepui_marathon_core::Config as CoreConfig;

use crate::{log_dial::LogDial, pushes::Push};

/// What an instance of Marathon is started with. [`Flags`](crate::Flags) makes one; tests and `tepui local` fill it themselves.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--master`: `host:port` or `zk://…`.
    pub master: String,
    /// `--zk`: `zk://…/path` for state and election; without it the embedded store below `work_dir`, and no rivals.
    pub zk: Option<String>,
    /// `--zk_session_timeout`, in milliseconds.
    pub zk_session_timeout_ms: u64,
    /// Folder of the embedded store.
    pub work_dir: PathBuf,
    /// `--http_address`.
    pub http_address: IpAddr,
    /// `--http_port`; 0 takes any free one.
    pub http_port: u16,
    /// `--hostname`: under which others reach this instance.
    pub hostname: String,
    /// `--framework_name`.
    pub framework_name: String,
    /// `--failover_timeout`, in seconds.
    pub failover_timeout_seconds: u64,
    /// `--mesos_user`: the user of tasks that name none.
    pub mesos_user: Option<String>,
    /// `--webui_url`; without it the instance's own address.
    pub webui_url: Option<String>,
    /// `--mesos_leader_ui_url`; without it the leading master's address.
    pub mesos_leader_ui_url: Option<String>,
    /// `--access_control_allow_origin`.
    pub access_control_allow_origin: Option<Vec<String>>,
    /// `--event_stream_max_outstanding_messages`.
    pub event_stream_max_outstanding_messages: usize,
    /// `--max_concurrent_marathon_health_checks`.
    pub max_concurrent_health_checks: usize,
    /// `--http_max_concurrent_requests`; 0 is without limit.
    pub http_max_concurrent_requests: usize,
    /// `--http_compression`: answers are packed with gzip for who takes it.
    pub http_compression: bool,
    /// `--metrics_prometheus`: `/metrics/prometheus` is there.
    pub metrics_prometheus: bool,
    /// `--metrics_name_prefix`.
    pub metrics_name_prefix: String,
    /// `--metrics_statsd`, `--metrics_datadog`: to whom metrics are sent.
    pub pushes: Vec<Push>,
    /// How `/logging` changes what is logged, if it can.
    pub log_dial: Option<LogDial>,
    /// `--leader_proxy_connection_timeout`, in milliseconds.
    pub leader_proxy_connection_timeout_ms: u64,
    /// `--leader_proxy_read_timeout`, in milliseconds.
    pub leader_proxy_read_timeout_ms: u64,
    /// `--enable_features`, those that are built.
    pub features: Vec<String>,
    /// What decisions depend on.
    pub core: CoreConfig,
}

impl Config {
    /// Marathon's defaults, on the loopback address.
    #[must_use]
    pub fn new(master: impl Into<String>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            master: master.into(),
            zk: None,
            zk_session_timeout_ms: 4_000,
            work_dir: work_dir.into(),
            http_address: IpAddr::from([127, 0, 0, 1]),
            http_port: 8080,
            hostname: "127.0.0.1".into(),
            framework_name: "marathon".into(),
            failover_timeout_seconds: 604_800,
            mesos_user: None,
            webui_url: None,
            mesos_leader_ui_url: None,
            access_control_allow_origin: None,
            event_stream_max_outstanding_messages: 1024,
            max_concurrent_health_checks: 256,
            http_max_concurrent_requests: 0,
            http_compression: true,
            metrics_prometheus: true,
            metrics_name_prefix: "marathon".into(),
            pushes: Vec::new(),
            log_dial: None,
            leader_proxy_connection_timeout_ms: 5_000,
            leader_proxy_read_timeout_ms: 10_000,
            features: Vec::new(),
            core: CoreConfig::default(),
        }
    }
}
