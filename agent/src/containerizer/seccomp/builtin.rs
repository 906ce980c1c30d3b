//! The profile that is there without a file.
//!
//! Every call that is known is allowed but those below, which reach what no namespace covers, or have been ways out of containers, and
//! which programs in containers do without. A container with the capability that a call is for may make it: there the kernel judges. Calls
//! of kernels to come do not exist (ENOSYS), which programs are prepared for.

use std::collections::BTreeMap;

use nix::libc;

use super::policy::{Action, Architecture, Condition, Operator, Policy, Rule, Table};
use super::profile::Situation;

// Capabilities, by number.
const DAC_READ_SEARCH: u64 = 2;
const SYS_MODULE: u64 = 16;
const SYS_RAWIO: u64 = 17;
const SYS_CHROOT: u64 = 18;
const SYS_PTRACE: u64 = 19;
const SYS_PACCT: u64 = 20;
const SYS_ADMIN: u64 = 21;
const SYS_BOOT: u64 = 22;
const SYS_NICE: u64 = 23;
const SYS_TIME: u64 = 25;
const SYS_TTY_CONFIG: u64 = 26;
const SYSLOG: u64 = 34;
const PERFMON: u64 = 38;
const BPF: u64 = 39;

/// Calls that are for those who have one of these capabilities.
const GUARDED: [(&[u64], &[&str]); 14] = [
    (
        &[SYS_ADMIN],
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (&[SYS_ADMIN, BPF], &["bpf"]),
    (&[SYS_ADMIN, PERFMON], &["perf_event_open"]),
    (&[SYS_ADMIN, SYSLOG], &["syslog"]),
    (&[DAC_READ_SEARCH], &["open_by_handle_at"]),
    (
        &[SYS_MODULE],
        &[
            "create_module",
            "delete_module",
            "finit_module",
            "init_module",
            "query_module",
        ],
    ),
    (&[SYS_RAWIO], &["ioperm", "iopl"]),
    (&[SYS_CHROOT], &["chroot"]),
    (&[SYS_PTRACE], &["kcmp", "pidfd_getfd"]),
    (&[SYS_PACCT], &["acct"]),
    (&[SYS_BOOT], &["kexec_file_load", "kexec_load", "reboot"]),
    (
        &[SYS_NICE],
        &[
            "get_mempolicy",
            "mbind",
            "migrate_pages",
            "move_pages",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    (
        &[SYS_TIME],
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    (&[SYS_TTY_CONFIG], &["vhangup"]),
];

/// For nobody: keys are not kept apart by namespaces, the others are seldom used and have often been at fault.
const NEVER: [&str; 14] = [
    "add_key",
    "get_kernel_syms",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "nfsservctl",
    "_sysctl",
    "request_key",
    "sysfs",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
];

/// The flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// A kind of socket that reaches the host of a virtual machine.
const AF_VSOCK: u64 = 40;
/// Ways of execution that change nothing about security.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn always(action: Action) -> Vec<Rule> {
    vec![Rule {
        conditions: Vec::new(),
        action,
    }]
}

fn if_first(operator: Operator, value: u64, action: Action) -> Rule {
    let condition = Condition {
        argument: 0,
        operator,
        value,
    };
    Rule {
        conditions: vec![condition],
        action,
    }
}

/// What is decided about one call; `None`: nothing in particular.
fn decide(call: &str, situation: &Situation) -> Option<Vec<Rule>> {
    let denied = Action::Errno(libc::EPERM as u16);
    let guarded = GUARDED
        .iter()
        .find(|(_, calls)| calls.contains(&call))
        .map(|(capabilities, _)| capabilities);
    if let Some(capabilities) = guarded {
        let may = capabilities.iter().any(|one| situation.has(*one));
        return (!may).then(|| always(denied));
    }
    if NEVER.contains(&call) {
        return Some(always(denied));
    }
    match call {
        // Its flags are in memory, where a filter cannot look: without it C libraries use clone.
        "clone3" if !situation.has(SYS_ADMIN) => Some(always(Action::Errno(libc::ENOSYS as u16))),
        "clone" if !situation.has(SYS_ADMIN) => Some(vec![
            if_first(Operator::MaskedEqual(NEW_NAMESPACES), 0, Action::Allow),
            always(denied).remove(0),
        ]),
        "socket" => Some(vec![
            if_first(Operator::Equal, AF_VSOCK, denied),
            always(Action::Allow).remove(0),
        ]),
        "personality" => {
            let plain = PERSONALITIES.map(|one| if_first(Operator::Equal, one, Action::Allow));
            Some(plain.into_iter().chain(always(denied)).collect())
        }
        _ => None,
    }
}

pub(super) fn policy(situation: &Situation) -> Result<Policy, String> {
    let native = Architecture::native()
        .ok_or("system calls cannot be filtered on this kind of processor")?;
    let table = |architecture: Architecture| {
        let calls = architecture.calls().into_iter();
        let rules: BTreeMap<u32, Vec<Rule>> = calls
            .map(|(name, number)| {
                let rules = decide(name, situation);
                (number, rules.unwrap_or_else(|| always(Action::Allow)))
            })
            .collect();
        Table {
            architecture,
            rules,
        }
    };
    Ok(Policy {
        otherwise: Action::Errno(libc::ENOSYS as u16),
        tables: [native]
            .into_iter()
            .chain(native.narrow())
            .map(table)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::seccomp::compile::compile;

    #[test]
    fn what_is_guarded_exists_somewhere() {
        let guarded = GUARDED.iter().flat_map(|(_, calls)| calls.iter());
        for call in guarded.chain(&NEVER) {
            assert!(super::super::policy::is_known(call), "{call}");
        }
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        let rules = |call, bits| {
            let situation = Situation {
                capabilities: bits,
                kernel: (6, 1),
            };
            decide(call, &situation)
        };
        for (call, capability) in [("mount", SYS_ADMIN), ("bpf", BPF), ("chroot", SYS_CHROOT)] {
            assert_eq!(rules(call, Some(1 << capability)), None, "{call}");
            assert_eq!(rules(call, None), None, "{call}");
            assert_eq!(rules(call, Some(0)), Some(always(Action::Errno(1))));
        }
        assert_eq!(rules("keyctl", None), Some(always(Action::Errno(1))));
        assert_eq!(rules("read", Some(0)), None);
        assert_eq!(rules("clone3", Some(0)), Some(always(Action::Errno(38))));
    }

    #[test]
    fn it_is_small() {
        let situation = Situation {
            capabilities: Some(0),
            kernel: (6, 1),
        };
        let filter = compile(&policy(&situation).unwrap()).unwrap();
        let instructions = filter.bytes().len() / super::super::INSTRUCTION_BYTES;
        assert!((50..600).contains(&instructions), "{instructions}");
        let text = String::from(filter.clone());
        assert_eq!(super::super::Filter::try_from(text), Ok(filter));
    }
}
