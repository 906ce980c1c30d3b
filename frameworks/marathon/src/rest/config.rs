//! `/config`: what this instance was started with, for people. Nothing that is secret is a part of it: addresses of ZooKeeper are shown without
//! their passwords, and DataDog's key is not kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::info::{Info, without_credentials};
use crate::{config::Config, pushes::PushForm};

/// Flags by name with the values that hold.
pub(super) fn json(config: &Config) -> Value {
    let core = &config.core;
    let push = |form: PushForm| config.pushes.iter().find(|push| push.form == form);
    let (statsd, datadog) = (push(PushForm::Statsd), push(PushForm::DataDog));
    // What `/v2/info` tells of flags, less what it only tells because Marathon does.
    let mut flags = Info::default().marathon_config(config);
    if let Value::Object(flags) = &mut flags {
        flags.retain(|_, value| !value.is_null());
        for (info, flag) in [
            (
                "leader_proxy_connection_timeout_ms",
                "leader_proxy_connection_timeout",
            ),
            ("leader_proxy_read_timeout_ms", "leader_proxy_read_timeout"),
            ("features", "enable_features"),
        ] {
            if let Some(value) = flags.remove(info) {
                flags.insert(flag.to_owned(), value);
            }
        }
    }
    for more in [
        json!({
            "zk": config.zk.as_deref().map(without_credentials),
            "zk_session_timeout": config.zk_session_timeout_ms,
            "zk_max_versions": core.max_versions,
            "work_dir": config.work_dir,
            "http_address": config.http_address,
            "http_port": config.http_port,
            "http_compression": config.http_compression,
            "http_max_concurrent_requests": (config.http_max_concurrent_requests > 0).then_some(config.http_max_concurrent_requests),
            "event_stream_max_outstanding_messages": config.event_stream_max_outstanding_messages,
            "max_concurrent_marathon_health_checks": config.max_concurrent_health_checks,
            "mesos_leader_ui_url": config.mesos_leader_ui_url,
            "metrics_name_prefix": config.metrics_name_prefix,
            "metrics_prometheus": config.metrics_prometheus,
            "metrics_statsd": statsd.is_some(),
            "metrics_statsd_host": statsd.map(|push| &push.host),
            "metrics_statsd_port": statsd.map(|push| push.port),
            "metrics_statsd_transmission_interval_ms": statsd.map(|push| push.interval_ms),
            "metrics_datadog": datadog.is_some(),
            "metrics_datadog_host": datadog.map(|push| &push.host),
            "metrics_datadog_port": datadog.map(|push| push.port),
            "metrics_datadog_transmission_interval_ms": datadog.map(|push| push.interval_ms),
        }),
        json!({
            "draining_seconds": core.draining_ms / 1000,
            "gpu_scheduling_behavior": if core.gpus_restricted { "restricted" } else { "unrestricted" },
            "suppress_offers": core.suppress_offers,
            "max_apps": core.max_apps,
            "max_instances": core.max_instances,
            "max_running_deployments": core.max_running_deployments,
            "task_reservation_timeout": core.task_reservation_timeout_ms,
            "kill_retry_timeout": core.kill_retry_ms,
            "kill_chunk_size": core.kill_chunk_size,
            "max_ended_tasks_per_app": core.max_ended_tasks_per_app,
            "max_ended_tasks": core.max_ended_tasks,
            "ended_tasks_age": core.ended_tasks_age_ms,
        }),
    ] {
        if let (Value::Object(flags), Value::Object(more)) = (&mut flags, more) {
            flags.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
        }
    }
    // Sorted, so that one finds a flag.
    let flags: BTreeMap<&String, &Value> = flags.as_object().into_iter().flatten().collect();
    json!({
        "marathon": flags,
        "tepui": {
            "version": env!("CARGO_PKG_VERSION"),
            "log": config.log_dial.as_ref().map(|dial| dial.at_start()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pushes::Push;

    #[test]
    fn it_is_what_holds_and_nothing_secret() {
        let mut config = Config::new("127.0.0.1:5050", "/state");
        config.zk = Some("zk://user:hidden@a:1/m".to_owned());
        config.pushes = vec![Push {
            form: PushForm::Statsd,
            host: "collector".to_owned(),
            port: 8125,
            interval_ms: 10_000,
        }];
        let shown = json(&config);
        for (flag, value) in [
            ("master", json!("127.0.0.1:5050")),
            ("zk", json!("zk://xxxxxxxx:xxxxxxxx@a:1/m")),
            ("work_dir", json!("/state")),
            ("executor", json!("//cmd")),
            ("leader_proxy_read_timeout", json!(10_000)),
            ("metrics_statsd", json!(true)),
            ("metrics_statsd_port", json!(8125)),
            ("metrics_datadog", json!(false)),
            ("metrics_datadog_port", Value::Null),
        ] {
            assert_eq!(shown["marathon"][flag], value, "{flag}");
        }
        assert!(!shown.to_string().contains("hidden"));
        let config = Config::new("zk://user:hid@den@a:1/mesos", "/state");
        let shown = json(&config);
        let master = &shown["marathon"]["master"];
        assert_eq!(master, "zk://xxxxxxxx:xxxxxxxx@a:1/mesos");
        assert!(!shown.to_string().contains("hid@den"), "{shown}");
    }
}
