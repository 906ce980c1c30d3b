//! Where metrics are sent to, and the flags that say so.

use crate::Error;

/// Somebody who collects metrics over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// How metrics are named.
    pub form: PushForm,
    /// Name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// From one time to the next, in milliseconds.
    pub interval_ms: u64,
}

/// How metrics are named for who collects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushForm {
    /// As `/metrics` names them.
    Statsd,
    /// With `_` in place of what is neither letter, digit nor dot, and DataDog's words for parts of timers.
    DataDog,
}

/// Flags of metrics, with Marathon's names and defaults.
#[derive(Clone, Debug, clap::Args)]
pub struct MetricsFlags {
    /// What names of metrics begin with.
    #[arg(long = "metrics_name_prefix", default_value = "marathon")]
    pub metrics_name_prefix: String,
    /// Serve /metrics/prometheus.
    #[arg(long = "metrics_prometheus", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub metrics_prometheus: bool,
    /// Send metrics to StatsD.
    #[arg(long = "metrics_statsd", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub metrics_statsd: bool,
    /// Where StatsD is.
    #[arg(long = "metrics_statsd_host")]
    pub metrics_statsd_host: Option<String>,
    /// Its UDP port.
    #[arg(long = "metrics_statsd_port")]
    pub metrics_statsd_port: Option<u16>,
    /// Time between two times that metrics are sent to it, in milliseconds.
    #[arg(long = "metrics_statsd_transmission_interval_ms", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub metrics_statsd_transmission_interval_ms: u64,
    /// Send metrics to an agent of DataDog.
    #[arg(long = "metrics_datadog", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub metrics_datadog: bool,
    /// How: udp. With api, DataDog's own, nothing is sent.
    #[arg(long = "metrics_datadog_protocol", default_value = "udp", value_parser = ["udp", "api"])]
    pub metrics_datadog_protocol: String,
    /// Where the agent is.
    #[arg(long = "metrics_datadog_host")]
    pub metrics_datadog_host: Option<String>,
    /// Its UDP port.
    #[arg(long = "metrics_datadog_port")]
    pub metrics_datadog_port: Option<u16>,
    /// Time between two times that metrics are sent to it, in milliseconds.
    #[arg(long = "metrics_datadog_transmission_interval_ms", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub metrics_datadog_transmission_interval_ms: u64,
}

impl MetricsFlags {
    /// To whom metrics are sent.
    ///
    /// # Errors
    /// The prefix has what no name may have, or it is not said where somebody is.
    pub(crate) fn pushes(&self) -> Result<Vec<Push>, Error> {
        let prefix = &self.metrics_name_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(plain) {
            return Err(Error::Flag {
                flag: "metrics_name_prefix",
                reason: format!("`{prefix}` has something else than letters, digits, `-` and `.`"),
            });
        }
        let asks_api = self.metrics_datadog && self.metrics_datadog_protocol == "api";
        if asks_api {
            tracing::info!(
                "--metrics_datadog has no effect with --metrics_datadog_protocol=api: metrics are sent to an agent of DataDog (udp), or read at /metrics"
            );
        }
        let mut pushes = Vec::new();
        for (wanted, form, host, port, interval_ms, [host_flag, port_flag]) in [
            (
                self.metrics_statsd,
                PushForm::Statsd,
                &self.metrics_statsd_host,
                self.metrics_statsd_port,
                self.metrics_statsd_transmission_interval_ms,
                ["metrics_statsd_host", "metrics_statsd_port"],
            ),
            (
                self.metrics_datadog && !asks_api,
                PushForm::DataDog,
                &self.metrics_datadog_host,
                self.metrics_datadog_port,
                self.metrics_datadog_transmission_interval_ms,
                ["metrics_datadog_host", "metrics_datadog_port"],
            ),
        ] {
            if !wanted {
                continue;
            }
            let missing = |flag| Error::Flag {
                flag,
                reason: "must be given, so that metrics can be sent there".to_owned(),
            };
            let host = host.clone().filter(|host| !host.is_empty());
            pushes.push(Push {
                form,
                host: host.ok_or_else(|| missing(host_flag))?,
                port: port
                    .filter(|port| *port > 0)
                    .ok_or_else(|| missing(port_flag))?,
                interval_ms,
            });
        }
        Ok(pushes)
    }
}
