//! Marathon's command line. The spelling with `_` or `-`, booleans and the environment are the binary's business.

use std::{net::IpAddr, path::PathBuf};

use tepui_coordination::Location;
use tepui_marathon_core::{Config as CoreConfig, config::AcceptedRoles, is_executor};

use crate::{Error, config::Config};

/// Flags of `tepui marathon`, with Marathon's names and defaults (docs/ lists what differs).
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Where the master is: HOST:PORT, or zk://H1:P1,H2:P2/PATH.
    #[arg(long, default_value = "127.0.0.1:5050")]
    pub master: String,
    /// ZooKeeper for state and leader election: zk://H1:P1,H2:P2/PATH. Without it: an embedded store below --work_dir, and no rivals.
    #[arg(long)]
    pub zk: Option<String>,
    /// ZooKeeper session time-out in milliseconds.
    #[arg(long = "zk_session_timeout", default_value_t = 4_000)]
    pub zk_session_timeout: u64,
    /// Versions kept of each app.
    #[arg(long = "zk_max_versions", default_value_t = 50)]
    pub zk_max_versions: usize,
    /// Folder for the embedded store.
    #[arg(long = "work_dir")]
    pub work_dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long = "http_address", default_value = "127.0.0.1")]
    pub http_address: IpAddr,
    /// Port to listen on.
    #[arg(long = "http_port", alias = "port", default_value_t = 8080)]
    pub http_port: u16,
    /// Name under which others reach this instance; the address listened on unless given.
    #[arg(long)]
    pub hostname: Option<String>,
    /// Name of the framework.
    #[arg(long = "framework_name", default_value = "marathon")]
    pub framework_name: String,
    /// How long the master keeps Marathon's tasks when it is gone, in seconds.
    #[arg(long = "failover_timeout", default_value_t = 604_800)]
    pub failover_timeout: u64,
    /// User of tasks whose app names none.
    #[arg(long = "mesos_user")]
    pub mesos_user: Option<String>,
    /// Role of apps that name none.
    #[arg(long = "mesos_role", default_value = "*")]
    pub mesos_role: String,
    /// Name of container networks that have none.
    #[arg(long = "default_network_name")]
    pub default_network_name: Option<String>,
    /// CNI network of container/bridge.
    #[arg(long = "mesos_bridge_name", default_value = "mesos-bridge")]
    pub mesos_bridge_name: String,
    /// Whether new top-level groups demand their role of new apps: off, top.
    #[arg(long = "new_group_enforce_role", default_value = "off", ignore_case = true, value_parser = ["off", "top"])]
    pub new_group_enforce_role: String,
    /// Which resources an app takes that does not say: any, unreserved, reserved.
    #[arg(long = "accepted_resource_roles_default_behavior", default_value = "any", value_parser = ["any", "unreserved", "reserved"])]
    pub accepted_resource_roles_default_behavior: String,
    /// URL of the web UI, told to the master.
    #[arg(long = "webui_url")]
    pub webui_url: Option<String>,
    /// URL of the leading master's UI, told to clients.
    #[arg(long = "mesos_leader_ui_url")]
    pub mesos_leader_ui_url: Option<String>,
    /// Put before PORT, PORT0, PORTS and HOST in the environment of tasks.
    #[arg(long = "env_vars_prefix", default_value = "")]
    pub env_vars_prefix: String,
    /// Executor of apps that name none: //cmd, or the path of one on agents, or of what apps fetch into their sandboxes.
    #[arg(long, default_value = "//cmd")]
    pub executor: String,
    /// Lowest service port that is assigned.
    #[arg(long = "local_port_min", default_value_t = 10_000)]
    pub local_port_min: u16,
    /// Highest service port that is assigned.
    #[arg(long = "local_port_max", default_value_t = 20_000)]
    pub local_port_max: u16,
    /// The most apps that may be created.
    #[arg(long = "max_apps")]
    pub max_apps: Option<usize>,
    /// The most instances that all apps and pods may want together; each takes memory also while it waits.
    #[arg(long = "max_instances", default_value_t = 250_000)]
    pub max_instances: usize,
    /// Ended tasks that are remembered of each app and pod; 0: none.
    #[arg(long = "max_ended_tasks_per_app", default_value_t = 100)]
    pub max_ended_tasks_per_app: usize,
    /// Ended tasks that are remembered of all apps and pods together; the oldest go first.
    #[arg(long = "max_ended_tasks", default_value_t = 20_000)]
    pub max_ended_tasks: usize,
    /// How long ended tasks are remembered, in milliseconds.
    #[arg(long = "ended_tasks_age", default_value_t = 1_209_600_000)]
    pub ended_tasks_age: u64,
    /// The most deployments that may run at once.
    #[arg(long = "max_running_deployments", default_value_t = 10_000)]
    pub max_running_deployments: usize,
    /// The most instances launched on one offer.
    #[arg(long = "max_instances_per_offer", default_value_t = 5)]
    pub max_instances_per_offer: usize,
    /// How long an offer that nothing wants is refused, in milliseconds.
    #[arg(long = "decline_offer_duration", default_value_t = 120_000)]
    pub decline_offer_duration: u64,
    /// The least time between two calls for offers, in milliseconds; the first is immediate.
    #[arg(long = "min_revive_offers_interval", default_value_t = 100)]
    pub min_revive_offers_interval: u64,
    /// How long a task may take from launch to its first status, in milliseconds.
    #[arg(long = "task_launch_confirm_timeout", default_value_t = 300_000)]
    pub task_launch_confirm_timeout: u64,
    /// An instance whose reservation is not seen for so long after it was asked for is given up, in milliseconds.
    #[arg(long = "task_reservation_timeout", default_value_t = 20_000)]
    pub task_reservation_timeout: u64,
    /// How long a task may take to run, in milliseconds.
    #[arg(long = "task_launch_timeout", default_value_t = 300_000)]
    pub task_launch_timeout: u64,
    /// Time between two reconciliations of all tasks, in milliseconds.
    #[arg(long = "reconciliation_interval", default_value_t = 600_000)]
    pub reconciliation_interval: u64,
    /// Time between two looks at the numbers of instances, in milliseconds.
    #[arg(long = "scale_apps_interval", default_value_t = 300_000)]
    pub scale_apps_interval: u64,
    /// A kill is repeated after this time, in milliseconds.
    #[arg(long = "kill_retry_timeout", default_value_t = 30_000)]
    pub kill_retry_timeout: u64,
    /// Kills in flight at one time.
    #[arg(long = "kill_chunk_size", default_value_t = 100)]
    pub kill_chunk_size: usize,
    /// Undelivered events after which a reader is disconnected.
    #[arg(long = "event_stream_max_outstanding_messages", default_value_t = 1024)]
    pub event_stream_max_outstanding_messages: usize,
    /// Health checks under way at one time.
    #[arg(long = "max_concurrent_marathon_health_checks", default_value_t = 256)]
    pub max_concurrent_marathon_health_checks: usize,
    /// Requests served at one time; without it there is no limit.
    #[arg(long = "http_max_concurrent_requests")]
    pub http_max_concurrent_requests: Option<usize>,
    /// Time to connect to the leader, in milliseconds.
    #[arg(long = "leader_proxy_connection_timeout", default_value_t = 5_000)]
    pub leader_proxy_connection_timeout: u64,
    /// Time for the leader's answer, in milliseconds.
    #[arg(long = "leader_proxy_read_timeout", default_value_t = 10_000)]
    pub leader_proxy_read_timeout: u64,
    /// Origins that browsers may call from.
    #[arg(long = "access_control_allow_origin", value_delimiter = ',')]
    pub access_control_allow_origin: Option<Vec<String>>,
    /// Accepted for Marathon's sake; leader election depends on --zk alone.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub ha: Option<bool>,
    /// Accepted for Marathon's sake; tasks are always checkpointed.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub checkpoint: Option<bool>,
    /// Whether agents with GPUs are kept for apps that ask for some: restricted, unrestricted. An app's label GPU_SCHEDULING_BEHAVIOR counts more.
    #[arg(long = "gpu_scheduling_behavior", default_value = "restricted", value_parser = ["restricted", "unrestricted"])]
    pub gpu_scheduling_behavior: String,
    /// Refuse offers of agents whose machine has a maintenance window now.
    #[arg(long = "maintenance_mode", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub maintenance_mode: bool,
    /// Refuse them so many seconds before the window begins.
    #[arg(long = "draining_seconds", default_value_t = 0)]
    pub draining_seconds: u64,
    /// Tell the master when no offers are wanted.
    #[arg(long = "suppress_offers", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub suppress_offers: bool,
    /// Pack answers with gzip for clients that take it.
    #[arg(long = "http_compression", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub http_compression: bool,
    /// How much is logged, unless TEPUI_LOG says it: off, error, warn, info, debug, trace, all.
    #[arg(long = "logging_level", ignore_case = true, value_parser = ["off", "error", "warn", "info", "debug", "trace", "all"])]
    pub logging_level: Option<String>,
    /// Of metrics.
    #[command(flatten)]
    pub metrics: crate::pushes::MetricsFlags,
    /// Serve HTTP; without it nothing would be served, so that is refused.
    #[arg(long = "http", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set, hide = true)]
    pub http: bool,
    /// Marathon's flags that have no effect here, or ask for safety that is not built.
    #[command(flatten)]
    pub known: crate::known::Known,
    /// Not built yet: starting with it is refused.
    #[arg(long = "http_credentials", hide = true)]
    pub http_credentials: Option<String>,
    /// Features, separated by commas: `gpu_resources` lets apps ask for GPUs, `external_volumes` for volumes of storage providers. `vips` and `task_killing` are always on.
    #[arg(long = "enable_features", value_delimiter = ',')]
    pub enable_features: Vec<String>,
    /// Not built yet: starting with it is refused.
    #[arg(long = "mesos_authentication_principal", hide = true)]
    pub mesos_authentication_principal: Option<String>,
    /// Not built yet: starting with it is refused.
    #[arg(long = "ssl_keystore_path", hide = true)]
    pub ssl_keystore_path: Option<String>,
}

impl Flags {
    /// What `--logging_level` asks for, in the form of `tracing_subscriber::EnvFilter`.
    #[must_use]
    pub fn logging_level(&self) -> Option<&str> {
        match self.logging_level.as_deref() {
            Some(all) if all.eq_ignore_ascii_case("all") => Some("trace"),
            level => level,
        }
    }

    /// Checks the flags and makes a configuration of them. `default_work_dir` is where the embedded store goes unless `--work_dir` says.
    ///
    /// # Errors
    /// A flag's value makes no sense, or it asks for safety that is not built yet.
    pub fn into_config(self, default_work_dir: PathBuf, seed: u128) -> Result<Config, Error> {
        let unsafe_without = [
            ("http_credentials", self.http_credentials.is_some()),
            (
                "mesos_authentication_principal",
                self.mesos_authentication_principal.is_some(),
            ),
            ("ssl_keystore_path", self.ssl_keystore_path.is_some()),
            ("disable_http", !self.http),
        ];
        let known = self.known.refused().map(|flag| (flag, true));
        for (flag, given) in unsafe_without.into_iter().chain(known) {
            if given {
                return Err(Error::Flag { flag, reason: "is not built yet in this version; Marathon does not start without what it asks for".into() });
            }
        }
        for (flag, value) in [("master", Some(&self.master)), ("zk", self.zk.as_ref())] {
            let Some(value) = value else { continue };
            let location = Location::parse(value, Some(5050)).map_err(|error| Error::Flag {
                flag,
                reason: error.to_string(),
            })?;
            if flag == "zk" && !matches!(location, Location::ZooKeeper(_)) {
                return Err(Error::Flag {
                    flag,
                    reason: format!("`{value}` is not of the form zk://HOST:PORT,…/PATH"),
                });
            }
        }
        for feature in &self.enable_features {
            let reason = match feature.as_str() {
                "gpu_resources" | "external_volumes" | "vips" | "task_killing" => continue,
                "secrets" => {
                    format!("`{feature}` is not built yet in this version")
                }
                _ => format!(
                    "`{feature}` is none of vips, task_killing, external_volumes, secrets, gpu_resources"
                ),
            };
            return Err(Error::Flag {
                flag: "enable_features",
                reason,
            });
        }
        if !is_executor(&self.executor) {
            return Err(Error::Flag {
                flag: "executor",
                reason: format!(
                    "`{}` is neither //cmd nor a path without empty parts",
                    self.executor
                ),
            });
        }
        if self.local_port_min > self.local_port_max {
            return Err(Error::Flag {
                flag: "local_port_min",
                reason: "is larger than --local_port_max".into(),
            });
        }
        for (flag, value) in [("ha", self.ha), ("checkpoint", self.checkpoint)] {
            if value == Some(false) {
                tracing::info!("--{flag}=false has no effect");
            }
        }
        Ok(Config {
            zk_session_timeout_ms: self.zk_session_timeout,
            work_dir: self.work_dir.unwrap_or(default_work_dir),
            http_address: self.http_address,
            http_port: self.http_port,
            hostname: self
                .hostname
                .unwrap_or_else(|| self.http_address.to_string()),
            framework_name: self.framework_name,
            failover_timeout_seconds: self.failover_timeout,
            mesos_user: self.mesos_user,
            webui_url: self.webui_url,
            mesos_leader_ui_url: self.mesos_leader_ui_url,
            access_control_allow_origin: self.access_control_allow_origin,
            event_stream_max_outstanding_messages: self.event_stream_max_outstanding_messages,
            max_concurrent_health_checks: self.max_concurrent_marathon_health_checks,
            http_max_concurrent_requests: self.http_max_concurrent_requests.unwrap_or(0),
            http_compression: self.http_compression,
            metrics_prometheus: self.metrics.metrics_prometheus,
            pushes: self.metrics.pushes()?,
            metrics_name_prefix: self.metrics.metrics_name_prefix,
            log_dial: None,
            leader_proxy_connection_timeout_ms: self.leader_proxy_connection_timeout,
            leader_proxy_read_timeout_ms: self.leader_proxy_read_timeout,
            features: self.enable_features.clone(),
            master: self.master,
            zk: self.zk,
            core: CoreConfig {
                seed,
                gpu_resources: self
                    .enable_features
                    .iter()
                    .any(|one| one == "gpu_resources"),
                gpus_restricted: self.gpu_scheduling_behavior != "unrestricted",
                maintenance_mode: self.maintenance_mode,
                draining_ms: self.draining_seconds.saturating_mul(1_000),
                suppress_offers: self.suppress_offers,
                external_volumes: self
                    .enable_features
                    .iter()
                    .any(|one| one == "external_volumes"),
                mesos_role: self.mesos_role,
                new_group_enforce_role: self.new_group_enforce_role.eq_ignore_ascii_case("top"),
                default_network_name: self.default_network_name,
                mesos_bridge_name: self.mesos_bridge_name,
                env_vars_prefix: self.env_vars_prefix,
                executor: self.executor,
                accepted_resource_roles_default: match self
                    .accepted_resource_roles_default_behavior
                    .as_str()
                {
                    "unreserved" => AcceptedRoles::Unreserved,
                    "reserved" => AcceptedRoles::Reserved,
                    _ => AcceptedRoles::Any,
                },
                local_port_min: self.local_port_min,
                local_port_max: self.local_port_max,
                max_apps: self.max_apps,
                max_instances: self.max_instances,
                max_running_deployments: self.max_running_deployments,
                max_instances_per_offer: self.max_instances_per_offer,
                decline_offer_ms: self.decline_offer_duration,
                min_revive_offers_interval_ms: self.min_revive_offers_interval,
                task_launch_confirm_timeout_ms: self.task_launch_confirm_timeout,
                task_launch_timeout_ms: self.task_launch_timeout,
                task_reservation_timeout_ms: self.task_reservation_timeout,
                reconciliation_interval_ms: self.reconciliation_interval,
                scale_apps_interval_ms: self.scale_apps_interval,
                kill_retry_ms: self.kill_retry_timeout,
                kill_chunk_size: self.kill_chunk_size,
                max_versions: self.zk_max_versions,
                max_ended_tasks_per_app: self.max_ended_tasks_per_app,
                max_ended_tasks: self.max_ended_tasks,
                ended_tasks_age_ms: self.ended_tasks_age,
                ..CoreConfig::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::pushes::{Push, PushForm};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn start(line: &str) -> Result<Config, String> {
        let line = ["marathon"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let config = line.flags.into_config(PathBuf::from("unused"), 1);
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn start_scripts_of_marathon_start_here() {
        // One with every flag of Marathon 1.11 that asks for no safety.
        let line = "--https_port 8443 --https_address ::1 --http_realm Mine --deprecated_features x --backup_location file:///b \
            --reconciliation_initial_delay 1 --scale_apps_initial_delay 1 --task_lost_expunge_initial_delay 1 --task_lost_expunge_interval 1 \
            --graceful_shutdown_timeout 1 --on_elected_prepare_timeout 1 --mesos_heartbeat_interval 1 --mesos_heartbeat_failure_threshold 1 \
            --task_operation_notification_timeout 1 --offer_matching_timeout 1 --max_parallel_offers 1 --max_queued_offers 1 --launch_tokens 1 \
            --launch_token_refresh_interval 1 --max_queued_root_group_updates 1 --max_parallel_status_updates 1 --max_queued_status_updates 1 \
            --zk_timeout 1 --zk_connection_timeout 1 --zk_compression --zk_compression_threshold 1 --zk_max_node_size 1 \
            --storage_compaction_interval 1 --store_cache=false --leader_proxy_max_open_connections 1 --leader_proxy_ssl_ignore_hostname \
            --metrics_name_prefix m --metrics_statsd --metrics_statsd_host h --metrics_statsd_port 1 --metrics_datadog \
            --metrics_datadog_protocol api --metrics_datadog_api_key k --metrics_histogram_reservoir_significant_digits 3 \
            --metrics_histogram_reservoir_reset_periodically=false --logging_level debug \
            --mesos_offer_constraints --mesos_authentication=false --zk_timeout 2 --http";
        start(line).expect("accepted");
        let config = start(
            "--gpu_scheduling_behavior unrestricted --maintenance_mode=false --draining_seconds 9 --suppress_offers=false --http_compression=false --metrics_prometheus=false",
        )
        .expect("accepted");
        assert!(!config.core.gpus_restricted && !config.core.maintenance_mode);
        assert!(!config.core.suppress_offers && config.core.draining_ms == 9_000);
        assert!(!config.http_compression && !config.metrics_prometheus);
    }

    #[test]
    fn metrics_are_pushed_where_it_is_said() {
        let config = start(
            "--metrics_name_prefix prod.m-1 --metrics_statsd --metrics_statsd_host h --metrics_statsd_port 8125 \
             --metrics_datadog --metrics_datadog_host d --metrics_datadog_port 8126 --metrics_datadog_transmission_interval_ms 5",
        )
        .expect("accepted");
        assert_eq!(config.metrics_name_prefix, "prod.m-1");
        let push = |form, host: &str, port, interval_ms| Push {
            form,
            host: host.to_owned(),
            port,
            interval_ms,
        };
        assert_eq!(
            config.pushes,
            [
                push(PushForm::Statsd, "h", 8125, 10_000),
                push(PushForm::DataDog, "d", 8126, 5)
            ]
        );
        for (line, why) in [
            ("--metrics_statsd", "--metrics_statsd_host: must be given"),
            (
                "--metrics_statsd --metrics_statsd_host h",
                "--metrics_statsd_port: must be given",
            ),
            (
                "--metrics_datadog --metrics_datadog_host h --metrics_datadog_port 0",
                "--metrics_datadog_port: must be given",
            ),
            ("--metrics_name_prefix a_b", "--metrics_name_prefix: `a_b`"),
            ("--executor a//b", "--executor: `a//b`"),
        ] {
            let refused = start(line).expect_err(line);
            assert!(refused.starts_with(why), "{line}: {refused}");
        }
        let config = start("--metrics_statsd_host h --executor /opt/own").expect("accepted");
        assert_eq!(
            (config.pushes, config.core.executor),
            (Vec::new(), "/opt/own".to_owned())
        );
        let flags = Line::parse_from(["marathon", "--logging_level", "ALL"]).flags;
        assert_eq!(flags.logging_level(), Some("trace"));
    }

    #[test]
    fn what_asks_for_safety_stops_the_start() {
        for (line, flag) in [
            ("--http_credentials a:b", "http_credentials"),
            ("--mesos_authentication", "mesos_authentication"),
            (
                "--mesos_authentication_secret_file /x",
                "mesos_authentication_secret_file",
            ),
            ("--ssl_keystore_password x", "ssl_keystore_password"),
            ("--plugin_conf /x", "plugin_conf"),
            ("--http=false", "disable_http"),
        ] {
            let refused = start(line).expect_err(line);
            assert!(
                refused.starts_with(&format!("--{flag}: is not built")),
                "{line}: {refused}"
            );
        }
    }
}
