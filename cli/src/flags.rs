//! Mesos' and Marathon's way of giving flags, on top of clap's.
//!
//! A daemon's flags may be spelled with `_` or `-`, booleans may be `--flag`, `--flag=true`, `--flag=false`, `--no-flag` or `--disable_flag`, and each may come from the
//! environment. What counts, in this order: the command line, `TEPUI_<FLAG>`, `MESOS_<FLAG>` or `MARATHON_<FLAG>`, the default. This module rewrites
//! the command line into what clap expects; clap then parses, checks and complains (with the nearest name for a flag that is unknown).

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Rewrites `args` (without the program's name) for `command`: spelling, booleans, and flags from the environment.
///
/// `prefixes` are the environment's prefixes, the strongest first, each with its trailing underscore.
pub(crate) fn normalise(
    command: &Command,
    args: &[OsString],
    prefixes: &[&str],
    env: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let mut out = Vec::with_capacity(args.len());
    let mut given: Vec<&str> = Vec::new();
    let mut only_values = false;
    for arg in args {
        let Some((name, value)) = long_flag(arg).filter(|_| !only_values) else {
            only_values |= arg == "--";
            out.push(arg.clone());
            continue;
        };
        match find(command, &name) {
            Some((arg, long, negated)) => {
                given.push(long);
                push(&mut out, arg, long, negated, value);
            }
            None => out.push(arg.clone()),
        }
    }
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !given.contains(long)) else {
            continue;
        };
        let variable = long.replace('-', "_").to_uppercase();
        if let Some(value) = prefixes
            .iter()
            .find_map(|prefix| env(&format!("{prefix}{variable}")))
        {
            // Before everything else, so that a `--` among the arguments does not swallow it.
            let mut flag = Vec::new();
            push(&mut flag, arg, long, false, value.into_string().ok());
            out.splice(0..0, flag);
        }
    }
    out
}

/// `--name=value` or `--name` as (name, value).
fn long_flag(arg: &OsString) -> Option<(String, Option<String>)> {
    let text = arg
        .to_str()?
        .strip_prefix("--")
        .filter(|name| !name.is_empty())?;
    Some(match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    })
}

/// The argument that a name means, whatever its dashes; `true` when the name is `no-` (Mesos) or `disable-` (Marathon) and a boolean's.
fn find<'a>(command: &'a Command, name: &str) -> Option<(&'a Arg, &'a str, bool)> {
    let wanted = name.replace('_', "-");
    let by_name = |wanted: &str| {
        command.get_arguments().find_map(|arg| {
            let long = arg.get_long()?;
            let aliases = arg.get_all_aliases().unwrap_or_default();
            let same = std::iter::once(long)
                .chain(aliases)
                .any(|known| known.replace('_', "-") == wanted);
            same.then_some((arg, long))
        })
    };
    if let Some((arg, long)) = by_name(&wanted) {
        return Some((arg, long, false));
    }
    let bare = wanted
        .strip_prefix("no-")
        .or_else(|| wanted.strip_prefix("disable-"));
    let (arg, long) = by_name(bare?)?;
    is_boolean(arg).then_some((arg, long, true))
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

fn is_boolean(arg: &Arg) -> bool {
    is_switch(arg)
        || arg
            .get_possible_values()
            .iter()
            .map(|value| value.get_name())
            .eq(["true", "false"])
}

fn push(out: &mut Vec<OsString>, arg: &Arg, long: &str, negated: bool, value: Option<String>) {
    if is_switch(arg) {
        let on = match value.as_deref() {
            None | Some("true" | "1" | "") => !negated,
            Some("false" | "0") => negated,
            // Not a boolean: clap says so, with the flag's name.
            Some(other) => return out.push(format!("--{long}={other}").into()),
        };
        if on {
            out.push(format!("--{long}").into());
        }
        return;
    }
    let value = match (is_boolean(arg), value) {
        (true, None) => Some((!negated).to_string()),
        (true, Some(value)) if value == "1" => Some("true".into()),
        (true, Some(value)) if value == "0" => Some("false".into()),
        (_, value) => value,
    };
    out.push(match value {
        Some(value) => format!("--{long}={value}").into(),
        None => format!("--{long}").into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::value_parser;

    fn command() -> Command {
        Command::new("agent")
            .arg(Arg::new("work_dir").long("work-dir"))
            .arg(
                Arg::new("ping")
                    .long("agent_ping_timeout")
                    .alias("slave_ping_timeout"),
            )
            .arg(
                Arg::new("cfs")
                    .long("cgroups_enable_cfs")
                    .action(ArgAction::SetTrue),
            )
            .arg(
                Arg::new("strict")
                    .long("strict")
                    .num_args(0..=1)
                    .value_parser(value_parser!(bool)),
            )
    }

    fn check(args: &[&str], env: &[(&str, &str)], expected: &[&str]) {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let env = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        assert_eq!(
            normalise(&command(), &args, &["TEPUI_", "MESOS_"], env),
            expected,
            "{args:?}"
        );
    }

    #[test]
    fn both_spellings_are_understood() {
        check(&["--work_dir=/a"], &[], &["--work-dir=/a"]);
        check(&["--work-dir", "/a"], &[], &["--work-dir", "/a"]);
        check(
            &["--slave-ping-timeout=1secs"],
            &[],
            &["--agent_ping_timeout=1secs"],
        );
        check(
            &["--unknown_thing=1", "x"],
            &[],
            &["--unknown_thing=1", "x"],
        );
    }

    #[test]
    fn booleans_come_in_every_form() {
        for (given, expected) in [
            ("--cgroups-enable-cfs", &["--cgroups_enable_cfs"] as &[&str]),
            ("--cgroups_enable_cfs=true", &["--cgroups_enable_cfs"]),
            ("--no-cgroups_enable_cfs", &[]),
            ("--cgroups_enable_cfs=false", &[]),
            (
                "--cgroups_enable_cfs=maybe",
                &["--cgroups_enable_cfs=maybe"],
            ),
            ("--no-strict", &["--strict=false"]),
            ("--disable_strict", &["--strict=false"]),
            ("--strict", &["--strict=true"]),
            ("--strict=0", &["--strict=false"]),
        ] {
            check(&[given], &[], expected);
        }
    }

    #[test]
    fn the_command_line_beats_tepui_beats_mesos() {
        check(&[], &[("MESOS_WORK_DIR", "/m")], &["--work-dir=/m"]);
        check(
            &[],
            &[("MESOS_WORK_DIR", "/m"), ("TEPUI_WORK_DIR", "/t")],
            &["--work-dir=/t"],
        );
        check(
            &["--work_dir=/c"],
            &[("TEPUI_WORK_DIR", "/t")],
            &["--work-dir=/c"],
        );
        check(
            &["--", "x"],
            &[("MESOS_CGROUPS_ENABLE_CFS", "1")],
            &["--cgroups_enable_cfs", "--", "x"],
        );
        check(
            &["--no-strict"],
            &[("MESOS_STRICT", "true")],
            &["--strict=false"],
        );
    }
}
