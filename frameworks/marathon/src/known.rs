//! Marathon's flags that are not [`Flags`](crate::Flags)' own: a start script that has them goes on working. Each is accepted with one line in
//! the log that says why it has no effect, or stops the start, because to ignore it would leave the cluster less safe than its operator thinks.

use clap::{
    Arg, ArgMatches, Command, FromArgMatches, error::Error as ClapError, parser::ValueSource,
};

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It is accepted and has no effect, for this reason.
    Ignored(&'static str),
    /// It stops the start.
    Refused,
}

use Effect::{Ignored, Refused};

const NO_TLS: &str = "HTTPS is not served";
const NO_TIMER: &str = "it is done at once, not after a delay";
const STREAM: &str = "whether the master is there is seen by its stream";
const OFFERS: &str = "offers are matched as they come, without queues and time limits";
const UPDATES: &str = "there is no bound to set: one thread takes what comes in order";
const STORE: &str = "the store keeps each object by itself and needs no tuning";
const TIMERS: &str = "timers keep the last 1,024 durations";

/// Flags with a value.
const VALUES: [(&str, Effect); 38] = [
    ("https_port", Ignored(NO_TLS)),
    ("https_address", Ignored(NO_TLS)),
    ("http_realm", Ignored("nobody is asked for a password")),
    ("ssl_keystore_password", Refused),
    ("mesos_authentication_secret", Refused),
    ("mesos_authentication_secret_file", Refused),
    ("plugin_dir", Refused),
    ("plugin_conf", Refused),
    (
        "deprecated_features",
        Ignored("what Marathon 1.11 has removed is not there"),
    ),
    (
        "backup_location",
        Ignored("`tepui store backup` makes backups"),
    ),
    ("reconciliation_initial_delay", Ignored(NO_TIMER)),
    ("scale_apps_initial_delay", Ignored(NO_TIMER)),
    ("task_lost_expunge_initial_delay", Ignored(NO_TIMER)),
    (
        "task_lost_expunge_interval",
        Ignored("each instance has its own time"),
    ),
    (
        "graceful_shutdown_timeout",
        Ignored("nothing has to be waited for"),
    ),
    ("on_elected_prepare_timeout", Ignored(STORE)),
    ("mesos_heartbeat_interval", Ignored(STREAM)),
    ("mesos_heartbeat_failure_threshold", Ignored(STREAM)),
    (
        "task_operation_notification_timeout",
        Ignored("see --task_reservation_timeout"),
    ),
    ("offer_matching_timeout", Ignored(OFFERS)),
    ("max_parallel_offers", Ignored(OFFERS)),
    ("max_queued_offers", Ignored(OFFERS)),
    ("launch_tokens", Ignored("launches are not counted out")),
    (
        "launch_token_refresh_interval",
        Ignored("launches are not counted out"),
    ),
    ("max_queued_root_group_updates", Ignored(UPDATES)),
    ("max_parallel_status_updates", Ignored(UPDATES)),
    ("max_queued_status_updates", Ignored(UPDATES)),
    ("zk_timeout", Ignored("see --zk_session_timeout")),
    ("zk_connection_timeout", Ignored("see --zk_session_timeout")),
    ("zk_compression_threshold", Ignored(STORE)),
    ("zk_max_node_size", Ignored(STORE)),
    ("storage_compaction_interval", Ignored(STORE)),
    (
        "leader_proxy_max_open_connections",
        Ignored("connections to the leader are not bounded by a flag"),
    ),
    (
        "metrics_datadog_api_key",
        Ignored("metrics are sent to an agent of DataDog, which has the key"),
    ),
    (
        "metrics_histogram_reservoir_highest_trackable_value",
        Ignored(TIMERS),
    ),
    (
        "metrics_histogram_reservoir_significant_digits",
        Ignored(TIMERS),
    ),
    (
        "metrics_histogram_reservoir_resetting_interval_ms",
        Ignored(TIMERS),
    ),
    (
        "metrics_histogram_reservoir_resetting_chunks",
        Ignored(TIMERS),
    ),
];

/// Switches: `--x`, `--x=false`, `--disable_x`.
const SWITCHES: [(&str, Effect); 6] = [
    ("mesos_authentication", Refused),
    ("mesos_offer_constraints", Ignored(OFFERS)),
    ("zk_compression", Ignored(STORE)),
    ("store_cache", Ignored(STORE)),
    ("leader_proxy_ssl_ignore_hostname", Ignored(NO_TLS)),
    (
        "metrics_histogram_reservoir_reset_periodically",
        Ignored(TIMERS),
    ),
];

/// Which of them were given.
#[derive(Clone, Debug, Default)]
pub struct Known {
    given: Vec<(&'static str, Effect)>,
}

impl Known {
    /// Says of each what becomes of it, and returns the first that stops the start.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        for (name, effect) in &self.given {
            match effect {
                Ignored(why) => tracing::info!("--{name} has no effect: {why}"),
                Refused => return Some(name),
            }
        }
        None
    }
}

impl clap::Args for Known {
    fn augment_args(command: Command) -> Command {
        let value = |(name, _): (&'static str, Effect)| {
            Arg::new(name).long(name).hide(true).overrides_with(name)
        };
        let switch = |(name, _): (&'static str, Effect)| {
            Arg::new(name)
                .long(name)
                .hide(true)
                .overrides_with(name)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(["true", "false"])
        };
        let command = VALUES.into_iter().map(value).fold(command, Command::arg);
        SWITCHES.into_iter().map(switch).fold(command, Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Known {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let on = |name: &str| {
            matches
                .get_one::<String>(name)
                .is_some_and(|value| value == "true")
        };
        let values = VALUES.into_iter().filter(|(name, _)| given(name));
        // What is switched off asks for no safety.
        let switches = SWITCHES
            .into_iter()
            .filter(|(name, effect)| given(name) && (*effect != Refused || on(name)));
        Ok(Self {
            given: values.chain(switches).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
