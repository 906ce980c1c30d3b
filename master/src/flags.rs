//! The master's command line: Mesos' flags under Mesos' names, as one table.
//!
//! Every flag parses as `--work_dir` and `--work-dir`, may be given again (the last one counts, so that a caller can put values
//! from the environment in front), and a switch also as `--no-work-dir` or `--flag=false`. The table says of each what becomes of
//! it: used, accepted without effect (one log line), or refused, because to ignore it would change safety. Environment variables
//! are the command-line crate's business. Values are judged when [`Config::from_flags`](crate::Config::from_flags) reads them.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command};

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is obeyed.
    Used,
    /// It is accepted, has no effect here, and is mentioned in the log with this reason.
    Ignored(&'static str),
    /// It stops the start with this sentence: ignoring it would leave the cluster less safe than its operator thinks.
    Refused(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Mesos' name, with underscores.
    pub name: &'static str,
    /// Other names that are accepted.
    pub aliases: &'static [&'static str],
    /// `true` for a switch, whose value may be left out.
    pub switch: bool,
    /// What holds when it is not given; `None` if nothing does.
    pub default: Option<&'static str>,
    /// What becomes of it.
    pub effect: Effect,
    /// For people.
    pub help: &'static str,
}

const NO_AUTH: &str = "authentication, authorization and TLS are not built yet, and leaving them out silently would be unsafe";
const NO_LOG: &str = "there is no replicated log: the registry is in ZooKeeper or in one file";
const NO_GLOG: &str = "logging is set with TEPUI_LOG";
const NO_MODULES: &str = "modules are compiled in";

const fn text(name: &'static str, default: Option<&'static str>, help: &'static str) -> Flag {
    Flag {
        name,
        aliases: &[],
        switch: false,
        default,
        effect: Effect::Used,
        help,
    }
}

const fn switch(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        aliases: &[],
        switch: true,
        default: Some(default),
        effect: Effect::Used,
        help,
    }
}

const fn also(flag: Flag, aliases: &'static [&'static str]) -> Flag {
    Flag { aliases, ..flag }
}

const fn ignored(name: &'static str, why: &'static str) -> Flag {
    Flag {
        name,
        aliases: &[],
        switch: false,
        default: None,
        effect: Effect::Ignored(why),
        help: "Accepted without effect",
    }
}

const fn ignored_switch(name: &'static str, why: &'static str) -> Flag {
    Flag {
        switch: true,
        ..ignored(name, why)
    }
}

const fn refused(name: &'static str, why: &'static str) -> Flag {
    Flag {
        name,
        aliases: &[],
        switch: false,
        default: None,
        effect: Effect::Refused(why),
        help: "Refused until it is built",
    }
}

const fn refused_switch(name: &'static str, why: &'static str) -> Flag {
    Flag {
        switch: true,
        ..refused(name, why)
    }
}

/// Every flag the master knows.
pub const FLAGS: &[Flag] = &[
    text("ip", Some("127.0.0.1"), "Address to listen on"),
    text(
        "port",
        Some("5050"),
        "Port to listen on; 0 takes a free one",
    ),
    text(
        "advertise_ip",
        None,
        "Address told to others, when it is not --ip",
    ),
    text(
        "advertise_port",
        None,
        "Port told to others, when it is not --port",
    ),
    text(
        "hostname",
        None,
        "Host name told to others; by default the address",
    ),
    text("cluster", None, "Name of the cluster, for people"),
    text(
        "work_dir",
        None,
        "Directory of the registry (unused with --zk)",
    ),
    text(
        "zk",
        None,
        "zk://[user:pass@]host1:port1,host2:port2/path of the ZooKeeper that elects the leader and keeps the registry",
    ),
    text(
        "zk_session_timeout",
        Some("4secs"),
        "ZooKeeper session time-out; a dead leader is replaced after it",
    ),
    also(
        text(
            "agent_ping_timeout",
            Some("15secs"),
            "How long an agent may leave a ping unanswered, 1secs to 15mins",
        ),
        &["slave_ping_timeout"],
    ),
    also(
        text(
            "max_agent_ping_timeouts",
            Some("5"),
            "Unanswered pings until an agent counts as unreachable",
        ),
        &["max_slave_ping_timeouts"],
    ),
    also(
        text(
            "agent_reregister_timeout",
            Some("10mins"),
            "How long a new leader waits for the agents of the registry, at least 10mins",
        ),
        &["slave_reregister_timeout"],
    ),
    also(
        text(
            "agent_removal_rate_limit",
            None,
            "How many agents may become unreachable in how long a time, such as 1/10mins; any number if not given",
        ),
        &["slave_removal_rate_limit"],
    ),
    also(
        text(
            "recovery_agent_removal_limit",
            Some("100%"),
            "Part of the registry's agents that may become unreachable because they did not return to a new leader; if more are missing, all are kept",
        ),
        &["recovery_slave_removal_limit"],
    ),
    text(
        "registry_gc_interval",
        Some("15mins"),
        "How often entries of the registry that are too old are looked for",
    ),
    also(
        text(
            "registry_max_agent_age",
            Some("2weeks"),
            "How long unreachable and gone agents are remembered",
        ),
        &["registry_max_slave_age"],
    ),
    also(
        text(
            "registry_max_agent_count",
            Some("102400"),
            "How many unreachable, and how many gone, agents are remembered",
        ),
        &["registry_max_slave_count"],
    ),
    text(
        "allocator_recovery_timeout",
        Some("10mins"),
        "With quota, how long a new leader waits for agents before it makes offers, at most",
    ),
    text(
        "allocator_agent_recovery_factor",
        Some("0.8"),
        "With quota, for which part of the registry's agents a new leader waits before it makes offers, 0 to 1",
    ),
    text(
        "registry_fetch_timeout",
        Some("1mins"),
        "How long reading the registry may take",
    ),
    text(
        "registry_store_timeout",
        Some("20secs"),
        "How long one write to the registry may take",
    ),
    text(
        "allocation_interval",
        Some("1secs"),
        "How long resources that a framework let go stay away from the same framework",
    ),
    text(
        "offer_timeout",
        Some("5mins"),
        "Age at which an offer is rescinded if somebody else wants its resources",
    ),
    text(
        "min_allocatable_resources",
        Some("cpus:0.01|mem:32"),
        "Resources below all of these are not offered",
    ),
    switch(
        "filter_gpu_resources",
        "true",
        "Offer agents with GPUs only to frameworks that can use them",
    ),
    text(
        "fair_sharing_excluded_resource_names",
        None,
        "Scalar resources that do not count in fair shares, separated by commas",
    ),
    text(
        "offer_constraints_re2_max_mem",
        Some("4KB"),
        "Memory that a pattern in offer constraints may need",
    ),
    text(
        "offer_constraints_re2_max_program_size",
        Some("100"),
        "Instructions that a pattern in offer constraints may compile to",
    ),
    text(
        "whitelist",
        None,
        "File of host names, one a line: only agents on these are offered; it is read again every 5 s",
    ),
    text(
        "domain",
        None,
        "Fault domain of this master, as JSON or file:///path: agents of other regions are offered only to REGION_AWARE frameworks",
    ),
    switch(
        "require_agent_domain",
        "false",
        "Refuse agents without a fault domain",
    ),
    text(
        "roles",
        None,
        "The only roles frameworks may use, separated by commas; any if not given",
    ),
    text("weights", None, "Weights of roles: role=2.5,other=1"),
    switch(
        "root_submissions",
        "true",
        "Let frameworks run tasks as root",
    ),
    text(
        "max_completed_frameworks",
        Some("50"),
        "Completed frameworks kept in memory",
    ),
    text(
        "max_completed_tasks_per_framework",
        Some("1000"),
        "Completed tasks kept in memory per framework",
    ),
    text(
        "max_unreachable_tasks_per_framework",
        Some("1000"),
        "Unreachable tasks kept in memory per framework",
    ),
    text(
        "max_operator_event_stream_subscribers",
        Some("1000"),
        "Subscribers to the operator event stream; one more closes the oldest",
    ),
    switch(
        "publish_per_framework_metrics",
        "true",
        "Publish metrics for each framework",
    ),
    text(
        "external_log_file",
        None,
        "The master's log file, shown as /master/log",
    ),
    // Accepted: what they ask for is so anyway, or has no counterpart here.
    ignored("quorum", NO_LOG),
    ignored("registry", NO_LOG),
    ignored_switch("registry_strict", NO_LOG),
    ignored_switch("log_auto_initialize", NO_LOG),
    ignored("allocator", "there is one allocator"),
    ignored("role_sorter", "roles are sorted by dominant share"),
    also(
        ignored(
            "framework_sorter",
            "frameworks are sorted by dominant share",
        ),
        &["user_sorter"],
    ),
    ignored("logging_level", NO_GLOG),
    ignored("logbufsecs", NO_GLOG),
    ignored("log_dir", NO_GLOG),
    ignored_switch("quiet", NO_GLOG),
    ignored_switch("initialize_driver_logging", NO_GLOG),
    ignored("webui_dir", "the web UI is part of the binary"),
    ignored_switch(
        "hostname_lookup",
        "the host name is --hostname or the address",
    ),
    ignored("modules", NO_MODULES),
    ignored("modules_dir", NO_MODULES),
    ignored("hooks", NO_MODULES),
    ignored("authentication_v0_timeout", "there is no v0 authentication"),
    ignored_switch("memory_profiling", "there is no memory profiler"),
    // Refused: to go on without them would be less safe than what was asked for.
    also(
        refused_switch("authenticate_frameworks", NO_AUTH),
        &["authenticate"],
    ),
    also(
        refused_switch("authenticate_agents", NO_AUTH),
        &["authenticate_slaves"],
    ),
    refused_switch("authenticate_http_readonly", NO_AUTH),
    also(
        refused_switch("authenticate_http_readwrite", NO_AUTH),
        &["authenticate_http"],
    ),
    refused_switch("authenticate_http_frameworks", NO_AUTH),
    refused("authenticators", NO_AUTH),
    refused("http_authenticators", NO_AUTH),
    refused("http_framework_authenticators", NO_AUTH),
    refused("authorizers", NO_AUTH),
    refused("acls", NO_AUTH),
    refused("credentials", NO_AUTH),
    refused("http_credentials", NO_AUTH),
    refused(
        "firewall_rules",
        "a firewall of endpoints is not built yet, and leaving it out silently would be unsafe",
    ),
    refused(
        "rate_limits",
        "rate limits are not built yet, and leaving them out silently would be unsafe",
    ),
    refused("ip_discovery_command", "give the address with --ip"),
    refused(
        "master_contender",
        "other contenders than ZooKeeper are not built",
    ),
    refused(
        "master_detector",
        "other detectors than ZooKeeper are not built",
    ),
];

/// The flags that were given, by Mesos' name, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    given: BTreeMap<&'static str, String>,
}

impl Flags {
    /// Sets a flag as if it stood on the command line; `false` if there is none of this name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> bool {
        let plain = name.replace('-', "_");
        match FLAGS
            .iter()
            .find(|flag| flag.name == plain || flag.aliases.contains(&plain.as_str()))
        {
            Some(flag) => {
                self.given.insert(flag.name, value.into());
                true
            }
            None => false,
        }
    }

    /// The value that was given, or the default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let given = self.given.get(name).map(String::as_str);
        given.or_else(|| {
            FLAGS
                .iter()
                .find(|flag| flag.name == name)
                .and_then(|flag| flag.default)
        })
    }

    /// What was given, in the order of the names.
    pub fn given(&self) -> impl Iterator<Item = (&Flag, &str)> {
        self.given.iter().filter_map(|(name, value)| {
            Some((
                FLAGS.iter().find(|flag| flag.name == *name)?,
                value.as_str(),
            ))
        })
    }

    /// Every set flag with its value, given or default: what `/flags` tells.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FLAGS
            .iter()
            .filter_map(|flag| Some((flag.name, self.get(flag.name)?)))
    }
}

fn negation(flag: &Flag) -> String {
    format!("no-{}", flag.name)
}

fn arguments(mut command: Command) -> Command {
    for flag in FLAGS {
        let mut names: Vec<String> = vec![flag.name.replace('_', "-")];
        for alias in flag.aliases {
            names.extend([(*alias).to_owned(), alias.replace('_', "-")]);
        }
        names.retain(|name| name != flag.name);
        names.dedup();
        let mut help = flag.help.to_owned();
        if let Some(default) = flag.default {
            help = format!("{help} [default: {default}]");
        }
        let mut arg = Arg::new(flag.name)
            .long(flag.name)
            .aliases(names)
            .value_name(flag.name.to_uppercase())
            .help(help)
            .hide(flag.effect != Effect::Used)
            .action(ArgAction::Set)
            .overrides_with(flag.name);
        if flag.switch {
            arg = arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_name("BOOL");
            let no = negation(flag);
            command = command.arg(
                Arg::new(no.clone())
                    .long(no.clone())
                    .aliases(
                        [no.replace('_', "-"), format!("no_{}", flag.name)]
                            .into_iter()
                            .filter(|name| *name != no)
                            .collect::<Vec<_>>(),
                    )
                    .hide(true)
                    .action(ArgAction::SetTrue)
                    .overrides_with_all([no.clone(), flag.name.to_owned()]),
            );
            arg = arg.overrides_with(no);
        }
        command = command.arg(arg);
    }
    command
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        arguments(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        arguments(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in FLAGS {
            if let Some(value) = matches.get_one::<String>(flag.name) {
                self.given.insert(flag.name, value.clone());
            } else if flag.switch && matches.get_flag(&negation(flag)) {
                self.given.insert(flag.name, "false".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parse(line: &str) -> Result<Flags, clap::Error> {
        let command = Flags::augment_args(Command::new("master").no_binary_name(true));
        Flags::from_arg_matches(&command.try_get_matches_from(line.split_whitespace())?)
    }

    #[test]
    fn both_spellings_aliases_and_switches_parse_and_the_last_one_counts() {
        for (line, name, expected) in [
            ("--work_dir /a", "work_dir", Some("/a")),
            ("--work-dir=/a", "work_dir", Some("/a")),
            ("--work-dir=/a --work_dir=/b", "work_dir", Some("/b")),
            (
                "--slave_ping_timeout 2secs",
                "agent_ping_timeout",
                Some("2secs"),
            ),
            ("", "agent_ping_timeout", Some("15secs")),
            ("", "zk", None),
            (
                "--filter_gpu_resources",
                "filter_gpu_resources",
                Some("true"),
            ),
            (
                "--no-filter_gpu_resources",
                "filter_gpu_resources",
                Some("false"),
            ),
            (
                "--no-filter-gpu-resources",
                "filter_gpu_resources",
                Some("false"),
            ),
            (
                "--filter-gpu-resources=false",
                "filter_gpu_resources",
                Some("false"),
            ),
            (
                "--no-filter_gpu_resources --filter_gpu_resources=true",
                "filter_gpu_resources",
                Some("true"),
            ),
            (
                "--filter_gpu_resources=true --no-filter_gpu_resources",
                "filter_gpu_resources",
                Some("false"),
            ),
            ("--authenticate_slaves", "authenticate_agents", Some("true")),
        ] {
            let flags = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(flags.get(name), expected, "{line}");
        }
        assert!(parse("--no_such_flag").is_err());
    }

    #[test]
    fn the_table_has_each_name_once() {
        let mut names: Vec<_> = FLAGS
            .iter()
            .flat_map(|flag| flag.aliases.iter().copied().chain([flag.name]))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
