use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    let args = ["agent"].iter().chain(args);
    Config::from_flags(&Command::try_parse_from(args).unwrap().flags)
}

#[test]
fn both_spellings_and_the_usual_values() {
    for flag in ["--work_dir=/w", "--work-dir=/w"] {
        let config = config(&[
            "--master=127.0.0.1:5050",
            flag,
            "--resources=cpus:2;mem:64",
            "--attributes=rack:a",
        ])
        .unwrap();
        assert_eq!(config.work_dir, PathBuf::from("/w"));
        assert_eq!(config.resources[0].scalar.as_ref().unwrap().value, 2.0);
        assert_eq!(config.flags["work_dir"], "/w");
    }
}

#[test]
fn what_cannot_be_obeyed_is_one_sentence() {
    let cases: [(&[&str], &str); 8] = [
        (
            &["--master=h:1", "--fetcher_cache_size=much"],
            "--fetcher_cache_size=much: not a size",
        ),
        (&[], "--master is required"),
        (
            &["--master=h:1", "--reconfiguration_policy=any"],
            "--reconfiguration_policy=any: 'equal' or 'additive'",
        ),
        (
            &["--master=h:1", "--recovery_timeout=5"],
            "--recovery_timeout=5: not a duration",
        ),
        (
            &["--master=h:1", "--executor_reregistration_timeout=16secs"],
            "at most 15secs",
        ),
        (
            &["--master=h:1", "--resources=cpus"],
            "--resources: 'cpus': expected name:value",
        ),
        (&["--master=h:1", "--acls=x"], "--acls cannot be obeyed"),
        (
            &["--master=h:1", "--ip=nowhere"],
            "--ip=nowhere: not an IP address",
        ),
    ];
    for (args, expected) in cases {
        let error = config(args).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn sizes_read_as_in_mesos() {
    for (text, bytes) in [("100B", 100), ("2GB", 2 << 30), ("4 KB", 4096)] {
        assert_eq!(parse_bytes(text), Some(bytes));
    }
    for bad in ["", "5", "GB", "-1MB", "1.5MB", "5 gb", "99999999999TB"] {
        assert_eq!(parse_bytes(bad), None, "{bad}");
    }
}

#[test]
fn durations_read_and_print_as_in_mesos() {
    for (text, nanos, printed) in [
        ("10secs", 10_000_000_000, "10secs"),
        ("1.5mins", 90_000_000_000, "90secs"),
        ("15mins", 900_000_000_000, "15mins"),
        ("1weeks", 604_800_000_000_000, "1weeks"),
        ("5 ms", 5_000_000, "5ms"),
    ] {
        let read = parse_duration(text).unwrap();
        assert_eq!(read, Duration::from_nanos(nanos));
        assert_eq!(format_duration(read), printed);
    }
    for bad in ["", "5", "secs", "-1secs", "5 parsecs"] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
}
