use super::*;

fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut flags = Flags::default();
    for (name, value) in pairs {
        assert!(flags.set(name, *value), "{name} is in the table");
    }
    Config::from_flags(&flags)
}

#[test]
fn durations_read_as_mesos_writes_them() {
    for (text, expected) in [
        ("15secs", Some(Duration::from_secs(15))),
        ("1.5mins", Some(Duration::from_secs(90))),
        ("250ms", Some(Duration::from_millis(250))),
        ("2weeks", Some(Duration::from_secs(1_209_600))),
        ("0ns", Some(Duration::ZERO)),
        ("15", None),
        ("-1secs", None),
        ("1e300weeks", None),
        ("secs", None),
        ("NaNsecs", None),
    ] {
        assert_eq!(parse_duration(text), expected, "{text}");
    }
}

#[test]
fn flags_are_judged_one_by_one() {
    for (name, value, message) in [
        ("port", "70000", "--port=70000: a port, 0 to 65535"),
        ("ip", "localhost", "--ip=localhost: an IP address"),
        (
            "agent_ping_timeout",
            "500ms",
            "--agent_ping_timeout=500ms: a duration from 1secs to 15mins",
        ),
        (
            "max_agent_ping_timeouts",
            "0",
            "--max_agent_ping_timeouts=0: a number, at least 1",
        ),
        (
            "zk",
            "host:2181",
            "--zk=host:2181: zk://host1:port1,host2:port2/path",
        ),
        (
            "weights",
            "a=0",
            "--weights=a=0: role=weight,role=weight with weights above 0",
        ),
        (
            "agent_removal_rate_limit",
            "0/1mins",
            "--agent_removal_rate_limit=0/1mins: a number above 0 and a duration, such as 1/10mins",
        ),
        (
            "recovery_agent_removal_limit",
            "101%",
            "--recovery_agent_removal_limit=101%: a percentage from 0% to 100%",
        ),
        (
            "recovery_agent_removal_limit",
            "0.5",
            "--recovery_agent_removal_limit=0.5: a percentage from 0% to 100%",
        ),
        (
            "registry_max_agent_age",
            "soon",
            "--registry_max_agent_age=soon: a duration such as 2weeks",
        ),
        (
            "allocator_agent_recovery_factor",
            "1.5",
            "--allocator_agent_recovery_factor=1.5: a number from 0 to 1",
        ),
        (
            "filter_gpu_resources",
            "maybe",
            "--filter_gpu_resources=maybe: true or false",
        ),
        (
            "offer_constraints_re2_max_mem",
            "4k",
            "--offer_constraints_re2_max_mem=4k: a size such as 4KB",
        ),
        (
            "domain",
            r#"{"fault_domain":{"region":{"name":"eu"}}}"#,
            r#"--domain={"fault_domain":{"region":{"name":"eu"}}}: JSON, or file:///path of a file with JSON, such as {"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}"#,
        ),
        (
            "min_allocatable_resources",
            "cpus",
            "--min_allocatable_resources=cpus: alternatives such as cpus:0.01|mem:32",
        ),
    ] {
        assert_eq!(
            with(&[(name, value)])
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Err(message.to_owned())
        );
    }
    assert!(matches!(
        with(&[("acls", "{}")]),
        Err(ConfigError::Refused { flag: "acls", .. })
    ));
    assert!(matches!(
        with(&[("authenticate", "true")]),
        Err(ConfigError::Refused {
            flag: "authenticate_frameworks",
            ..
        })
    ));
    assert!(with(&[("authenticate_http_readonly", "false"), ("quorum", "2")]).is_ok());
}

#[test]
fn what_is_shown_to_whom_is_read() {
    let config = with(&[
        ("fair_sharing_excluded_resource_names", "gpus, disk"),
        ("offer_constraints_re2_max_mem", "16KB"),
        ("offer_constraints_re2_max_program_size", "200"),
        ("whitelist", "file:///etc/tepui/agents"),
        (
            "domain",
            r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}"#,
        ),
        ("require_agent_domain", "true"),
    ])
    .expect("right flags");
    assert_eq!(config.unshared_names, ["gpus", "disk"]);
    let limits = PatternLimits {
        memory_bytes: 16 << 10,
        instructions: 200,
    };
    assert_eq!(config.constraint_limits, limits);
    assert_eq!(config.whitelist, Some(PathBuf::from("/etc/tepui/agents")));
    let fault = config.domain.and_then(|domain| domain.fault_domain);
    assert!(fault.is_some_and(|fault| fault.region.name == "eu" && fault.zone.name == "eu-1"));
    assert!(config.require_agent_domain);
    let defaults = with(&[]).expect("no flags");
    assert_eq!(defaults.constraint_limits, PatternLimits::default());
    assert_eq!((defaults.whitelist, defaults.domain), (None, None));
}

#[test]
fn limits_on_removals_read_as_mesos_writes_them() {
    let config = with(&[
        ("agent_removal_rate_limit", "2/10mins"),
        ("recovery_agent_removal_limit", "12.5%"),
        ("registry_max_agent_count", "7"),
    ]);
    let config = config.expect("right flags");
    let rate = Some((2, Duration::from_secs(600)));
    assert_eq!(config.agent_removal_rate_limit, rate);
    assert_eq!(config.recovery_agent_removal_limit, 0.125);
    assert_eq!(config.registry_max_agent_count, 7);
    assert_eq!(
        with(&[]).expect("defaults").recovery_agent_removal_limit,
        1.0
    );
}

#[test]
fn flags_without_effect_are_mentioned() {
    let config = with(&[("quorum", "2"), ("port", "0")]).expect("right flags");
    assert!(
        matches!(config.notices.as_slice(), [line] if line.starts_with("--quorum has no effect: ")),
        "{:?}",
        config.notices
    );
}

#[test]
fn secrets_are_not_shown() {
    let config = with(&[("zk", "zk://user:secret@h:2181/mesos")]).expect("a right URL");
    assert!(
        config
            .flags
            .contains(&("zk".to_owned(), "zk://***@h:2181/mesos".to_owned()))
    );
    assert!(matches!(config.durable, Durable::ZooKeeper { url, .. } if url.contains("secret")));
}
