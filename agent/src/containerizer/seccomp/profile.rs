//! Profiles in JSON, as Docker and Mesos have them, read for one container on this machine.
//!
//! Of the rules for a call the first that holds counts. Calls that this machine's processor does not have are passed over, as everywhere:
//! profiles name the calls of all. Whatever else is not known here is refused by name.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::policy::{Action, Architecture, Condition, Operator, Policy, Rule, Table};
use crate::provision::capability_number;

/// The largest profile that is read. Docker's has 16 KiB.
pub const MAX_PROFILE_BYTES: u64 = 1 << 20;
/// As the kernel bounds what it hands to programs.
const MAX_ERRNO: u32 = 4095;
const EPERM: u32 = 1;

/// For whom a profile is read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation {
    /// What the container has at most: bit n stands for capability n. `None`: everything.
    pub capabilities: Option<u64>,
    /// The kernel: major and minor number.
    pub kernel: (u32, u32),
}

impl Situation {
    /// A container on this machine.
    #[must_use]
    pub fn here(capabilities: Option<u64>) -> Self {
        let release = nix::sys::utsname::uname()
            .ok()
            .and_then(|names| kernel(names.release().to_str()?));
        Self {
            capabilities,
            // One that does not say is taken for old.
            kernel: release.unwrap_or((0, 0)),
        }
    }

    pub(super) fn has(&self, capability: u64) -> bool {
        self.capabilities
            .is_none_or(|bits| bits & 1 << capability != 0)
    }
}

/// `6.1.0-18-amd64` as (6, 1).
fn kernel(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (numbers.next()?, numbers.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<OfArchitecture>,
    #[serde(default)]
    syscalls: Vec<Calls>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfArchitecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calls {
    #[serde(default)]
    names: Vec<String>,
    /// As very old profiles have it.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Only>,
    #[serde(default)]
    excludes: Option<Only>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Only {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, String> {
    let number = errno.unwrap_or(EPERM);
    let told = || {
        u16::try_from(number)
            .ok()
            .filter(|_| number <= MAX_ERRNO)
            .ok_or_else(|| format!("{number} is no error number (0 to {MAX_ERRNO})"))
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(told()?),
        "SCMP_ACT_TRACE" => Action::Trace(told()?),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" => {
            return Err("the action SCMP_ACT_NOTIFY is not built: nobody here would answer".into());
        }
        other => return Err(format!("'{other}' is no action")),
    })
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let mut value = argument.value;
    let operator = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Operator::Equal,
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_LE" => Operator::LessOrEqual,
        "SCMP_CMP_GT" => Operator::Greater,
        "SCMP_CMP_GE" => Operator::GreaterOrEqual,
        "SCMP_CMP_MASKED_EQ" => {
            value = argument.value_two;
            Operator::MaskedEqual(argument.value)
        }
        other => return Err(format!("'{other}' is no comparison")),
    };
    if argument.index > 5 {
        return Err(format!(
            "a call has the arguments 0 to 5, not {}",
            argument.index
        ));
    }
    Ok(Condition {
        argument: argument.index,
        operator,
        value,
    })
}

/// The conditions of the rules that these arguments are: one rule, or, as in Docker, one for each if two are about the same argument.
fn alternatives(arguments: &[Argument]) -> Result<Vec<Vec<Condition>>, String> {
    let conditions: Vec<Condition> = arguments.iter().map(condition).collect::<Result<_, _>>()?;
    let mut seen = [false; 6];
    let twice = conditions
        .iter()
        .any(|one| std::mem::replace(&mut seen[usize::from(one.argument)], true));
    Ok(if twice {
        conditions.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![conditions]
    })
}

impl Only {
    /// Which of its conditions hold. An architecture it may be, capabilities it must have all.
    fn each(&self, situation: &Situation, native: Architecture) -> Result<Vec<bool>, String> {
        let mut found = Vec::new();
        for name in &self.caps {
            let number =
                capability_number(name).ok_or_else(|| format!("'{name}' is no capability"))?;
            found.push(situation.has(number));
        }
        if !self.arches.is_empty() {
            found.push(self.arches.iter().any(|name| name == native.short()));
        }
        if let Some(least) = &self.min_kernel {
            let least = kernel(least).ok_or_else(|| format!("minKernel: '{least}'"))?;
            found.push(situation.kernel >= least);
        }
        Ok(found)
    }
}

impl Calls {
    fn applies(&self, situation: &Situation, native: Architecture) -> Result<bool, String> {
        let holds = |only: &Option<Only>| {
            only.as_ref()
                .map_or(Ok(Vec::new()), |only| only.each(situation, native))
        };
        let (included, excluded) = (holds(&self.includes)?, holds(&self.excludes)?);
        Ok(included.iter().all(|it| *it) && !excluded.contains(&true))
    }
}

/// This machine's architecture and those that the profile lets run on it too.
fn architectures(profile: &Profile, native: Architecture) -> Vec<Architecture> {
    let mapped = profile
        .arch_map
        .iter()
        .filter(|entry| entry.architecture == native.name())
        .flat_map(|entry| entry.sub_architectures.iter().flatten());
    let named = mapped
        .chain(&profile.architectures)
        .any(|name| Architecture::named(name).is_some_and(|it| native.narrow() == Some(it)));
    let narrow = native.narrow().filter(|_| named);
    [native].into_iter().chain(narrow).collect()
}

/// What the profile decides for a container.
pub(super) fn read(json: &[u8], situation: &Situation) -> Result<Policy, String> {
    let native = Architecture::native()
        .ok_or("system calls cannot be filtered on this kind of processor")?;
    let profile: Profile = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if profile.listener_path.is_some() || profile.listener_metadata.is_some() {
        return Err("'listenerPath' and 'listenerMetadata' are not built".into());
    }
    // What they ask for is how the kernel logs, and mends a flaw of processors more slowly; nothing is allowed by them.
    let known = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
    ];
    if let Some(flag) = profile
        .flags
        .iter()
        .find(|flag| !known.contains(&flag.as_str()))
    {
        return Err(format!("'flags': '{flag}' is not known"));
    }
    let otherwise = action(&profile.default_action, profile.default_errno_ret)
        .map_err(|problem| format!("'defaultAction': {problem}"))?;
    let mut tables: Vec<Table> = architectures(&profile, native)
        .into_iter()
        .map(|architecture| Table {
            architecture,
            rules: BTreeMap::new(),
        })
        .collect();
    for (at, calls) in profile.syscalls.iter().enumerate() {
        let within = |problem: String| format!("'syscalls', entry {at}: {problem}");
        let action = action(&calls.action, calls.errno_ret).map_err(within)?;
        let conditions = alternatives(calls.args.as_deref().unwrap_or_default()).map_err(within)?;
        if !calls.applies(situation, native).map_err(within)? {
            continue;
        }
        for name in calls.names.iter().chain(&calls.name) {
            if !is_plain(name) {
                return Err(within(format!("'{name}' is no name of a system call")));
            }
            for table in &mut tables {
                if let Some(number) = table.architecture.number(name) {
                    let rules = table.rules.entry(number).or_default();
                    rules.extend(conditions.iter().map(|conditions| Rule {
                        conditions: conditions.clone(),
                        action,
                    }));
                }
            }
        }
    }
    Ok(Policy { otherwise, tables })
}

/// Whether it has the form of a call's name. That it is one cannot be asked: Docker's own profile names calls of processors that have no table
/// here, and there will be kernels with more.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(capabilities: Option<u64>) -> Situation {
        Situation {
            capabilities,
            kernel: (6, 1),
        }
    }

    fn rules(json: &str, situation: Situation, call: &str) -> Vec<Rule> {
        let policy = read(json.as_bytes(), &situation).unwrap();
        let table = &policy.tables[0];
        let number = table.architecture.number(call).unwrap();
        table.rules.get(&number).cloned().unwrap_or_default()
    }

    #[test]
    fn conditions_on_the_container_choose_the_rules() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[
            {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
          "syscalls":[
            {"names":["read","s390_runtime_instr"],"action":"SCMP_ACT_ALLOW","args":[],"comment":"","includes":{},"excludes":{}},
            {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["acct"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
            {"names":["sync"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390"]}}]}"#;
        let admin = Some(1 << 21);
        let always = |action| {
            vec![Rule {
                conditions: Vec::new(),
                action,
            }]
        };
        assert_eq!(rules(json, at(admin), "mount"), always(Action::Allow));
        assert_eq!(rules(json, at(None), "mount"), always(Action::Allow));
        assert_eq!(rules(json, at(Some(0)), "mount"), always(Action::Errno(1)));
        assert_eq!(rules(json, at(admin), "ptrace"), always(Action::Allow));
        for none in ["acct", "sync", "bpf"] {
            assert_eq!(rules(json, at(None), none), []);
        }
        let clone = &rules(json, at(admin), "clone")[0].conditions[0];
        assert_eq!(clone.operator, Operator::MaskedEqual(2_114_060_288));
        assert_eq!(clone.value, 0);
        // Two conditions on one argument are two ways.
        assert_eq!(rules(json, at(admin), "personality").len(), 2);
        let policy = read(json.as_bytes(), &at(None)).unwrap();
        assert_eq!(policy.otherwise, Action::Errno(38));
        assert_eq!(policy.tables.len(), 2, "programs of 32 bits run too");
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let with = |rest: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{rest}}}"#);
        let call = |rest: &str| with(&format!(r#""syscalls":[{{"names":["read"],{rest}}}]"#));
        for (json, why) in [
            ("{".to_owned(), "EOF"),
            ("{}".to_owned(), "defaultAction"),
            (
                r#"{"defaultAction":"ALLOW"}"#.to_owned(),
                "'ALLOW' is no action",
            ),
            (with(r#""listenerPath":"/x""#), "'listenerPath'"),
            (with(r#""flags":["X"]"#), "'X' is not known"),
            (with(r#""more":1"#), "unknown field `more`"),
            (
                call(r#""action":"SCMP_ACT_NOTIFY""#),
                "entry 0: the action SCMP_ACT_NOTIFY is not built",
            ),
            (
                call(r#""action":"SCMP_ACT_ERRNO","errnoRet":4096"#),
                "4096 is no error number",
            ),
            (
                call(
                    r#""action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#,
                ),
                "0 to 5, not 6",
            ),
            (
                call(r#""action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"EQ"}]"#),
                "'EQ' is no comparison",
            ),
            (
                call(r#""action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_FLY"]}"#),
                "'CAP_FLY' is no capability",
            ),
            (
                with(r#""syscalls":[{"names":["Read me"],"action":"SCMP_ACT_ALLOW"}]"#),
                "'Read me' is no name of a system call",
            ),
        ] {
            let refused = read(json.as_bytes(), &at(None)).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }

    #[test]
    fn releases_of_kernels_are_read() {
        assert_eq!(kernel("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(kernel("5.10"), Some((5, 10)));
        assert_eq!(kernel("six"), None);
    }
}
