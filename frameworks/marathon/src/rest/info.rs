//! `/v2/info`: what this instance was started with. Clients are strict about its keys, so there are exactly Marathon's.

use serde_json::{Value, json};

use crate::config::Config;

/// The version that Marathon's clients are told.
pub(crate) const MARATHON_VERSION: &str = "1.11.24";

/// What changes while the process runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub(crate) elected: bool,
    /// `host:port`.
    pub(crate) leader: Option<String>,
    pub(crate) framework_id: Option<String>,
    /// The leading master, `host:port`.
    pub(crate) master: Option<String>,
    /// The leading master's UI, with a trailing slash.
    pub(crate) mesos_leader_ui_url: Option<String>,
}

impl Info {
    pub(crate) fn json(&self, config: &Config) -> Value {
        json!({
            "name": "marathon",
            "version": MARATHON_VERSION,
            "buildref": concat!("tepui-", env!("CARGO_PKG_VERSION")),
            "elected": self.elected,
            "leader": self.leader,
            "frameworkId": self.framework_id,
            "marathon_config": self.marathon_config(config),
            "zookeeper_config": zookeeper_config(config),
            "http_config": { "http_port": config.http_port, "https_port": null },
        })
    }

    pub(super) fn marathon_config(&self, config: &Config) -> Value {
        let core = &config.core;
        // In two parts, because one would be too deep for the macro.
        let mut first = json!({
            "access_control_allow_origin": config.access_control_allow_origin,
            "checkpoint": true,
            "decline_offer_duration": core.decline_offer_ms,
            "default_network_name": core.default_network_name,
            "env_vars_prefix": (!core.env_vars_prefix.is_empty()).then_some(&core.env_vars_prefix),
            "executor": core.executor,
            "failover_timeout": config.failover_timeout_seconds,
            "features": config.features,
            "framework_name": config.framework_name,
            "ha": true,
            "hostname": config.hostname,
            "launch_token": null,
            "launch_token_refresh_interval": null,
            "leader_proxy_connection_timeout_ms": config.leader_proxy_connection_timeout_ms,
            "leader_proxy_read_timeout_ms": config.leader_proxy_read_timeout_ms,
            "local_port_max": core.local_port_max,
            "local_port_min": core.local_port_min,
            "master": without_credentials(&config.master),
            "max_instances_per_offer": core.max_instances_per_offer,
            "mesos_bridge_name": core.mesos_bridge_name,
        });
        let mut second = json!({
            "mesos_heartbeat_failure_threshold": null,
            "mesos_heartbeat_interval": null,
            "mesos_leader_ui_url": self.mesos_leader_ui_url,
            "mesos_role": core.mesos_role,
            "mesos_user": config.mesos_user,
            "new_group_enforce_role": if core.new_group_enforce_role { "Top" } else { "Off" },
            "min_revive_offers_interval": core.min_revive_offers_interval_ms,
            "offer_matching_timeout": null,
            "on_elected_prepare_timeout": null,
            "reconciliation_initial_delay": null,
            "reconciliation_interval": core.reconciliation_interval_ms,
            "scale_apps_initial_delay": null,
            "scale_apps_interval": core.scale_apps_interval_ms,
            "store_cache": null,
            "task_launch_confirm_timeout": core.task_launch_confirm_timeout_ms,
            "task_launch_timeout": core.task_launch_timeout_ms,
            "task_lost_expunge_initial_delay": null,
            "task_lost_expunge_interval": null,
            "task_reservation_timeout": null,
            "webui_url": config.webui_url,
            "maintenance_mode": core.maintenance_mode,
        });
        if let (Value::Object(first), Value::Object(second)) = (&mut first, &mut second) {
            first.append(second);
        }
        first
    }
}

fn zookeeper_config(config: &Config) -> Value {
    json!({
        "zk": config.zk.as_deref().map(without_credentials),
        "zk_compression": null,
        "zk_compression_threshold": null,
        "zk_connection_timeout": null,
        "zk_max_node_size": null,
        "zk_max_versions": config.core.max_versions,
        "zk_session_timeout": config.zk_session_timeout_ms,
        "zk_timeout": null,
    })
}

/// An address as it may be shown: what stands before the last `@` of a ZooKeeper URL is secret, and a password may have an `@`, too.
pub(super) fn without_credentials(url: &str) -> String {
    match (url.strip_prefix("zk://"), url.rsplit_once('@')) {
        (Some(_), Some((_, rest))) => format!("zk://xxxxxxxx:xxxxxxxx@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(
            without_credentials("zk://user:secret@a:1,b:2/marathon"),
            "zk://xxxxxxxx:xxxxxxxx@a:1,b:2/marathon"
        );
        assert_eq!(
            without_credentials("zk://user:p@ss/w@rd@a:1/marathon"),
            "zk://xxxxxxxx:xxxxxxxx@a:1/marathon"
        );
        assert_eq!(
            without_credentials("zk://a:1/marathon"),
            "zk://a:1/marathon"
        );
        assert_eq!(without_credentials("a.example:5050"), "a.example:5050");
        let mut config = Config::new("zk://user:hid@den@a:1/mesos", "/state");
        config.zk = Some("zk://user:hid@den@b:1/marathon".to_owned());
        let shown = Info::default().json(&config);
        let master = &shown["marathon_config"]["master"];
        assert_eq!(master, "zk://xxxxxxxx:xxxxxxxx@a:1/mesos");
        assert!(!shown.to_string().contains("den"), "{shown}");
    }
}
