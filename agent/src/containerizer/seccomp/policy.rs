//! What is decided at each call, before it is a program.

use std::collections::BTreeMap;
use std::str::FromStr;

use syscalls::{aarch64, arm, x86, x86_64};

/// What happens at a call. The values are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// Allowed, and told to the kernel's log.
    Log,
    /// It fails with this error, and nothing is done.
    Errno(u16),
    /// SIGSYS.
    Trap,
    /// Left to a tracer, which is told this number; without one the call fails.
    Trace(u16),
    KillThread,
    KillProcess,
}

impl Action {
    pub(super) fn value(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Log => 0x7ffc_0000,
            Self::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::Trap => 0x0003_0000,
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Of the bits in the mask.
    MaskedEqual(u64),
}

/// About one argument of a call, as an unsigned number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
}

/// If all conditions hold, this happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// The ways in which programs call the kernel, each with numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    X86_64,
    X86,
    Aarch64,
    Arm,
}

impl Architecture {
    pub(super) const ALL: [Self; 4] = [Self::X86_64, Self::X86, Self::Aarch64, Self::Arm];

    /// This machine's; `None` if it is none of these.
    pub(super) fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The one of 32 bits that runs on the same machine.
    pub(super) fn narrow(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::X86),
            Self::Aarch64 => Some(Self::Arm),
            Self::X86 | Self::Arm => None,
        }
    }

    /// As profiles call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// As conditions of Docker's profiles call it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// AUDIT_ARCH_*, by which the kernel tells a filter.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The number of a call; `None` if it has none here.
    pub(super) fn number(self, call: &str) -> Option<u32> {
        let id = match self {
            Self::X86_64 => x86_64::Sysno::from_str(call).ok()?.id(),
            Self::X86 => x86::Sysno::from_str(call).ok()?.id(),
            Self::Aarch64 => aarch64::Sysno::from_str(call).ok()?.id(),
            Self::Arm => arm::Sysno::from_str(call).ok()?.id(),
        };
        u32::try_from(id).ok()
    }

    /// All calls that are known.
    pub(super) fn calls(self) -> Vec<(&'static str, u32)> {
        let with_number = |(name, id): (&'static str, i32)| Some((name, u32::try_from(id).ok()?));
        match self {
            Self::X86_64 => x86_64::Sysno::iter()
                .map(|call| (call.name(), call.id()))
                .filter_map(with_number)
                .collect(),
            Self::X86 => x86::Sysno::iter()
                .map(|call| (call.name(), call.id()))
                .filter_map(with_number)
                .collect(),
            Self::Aarch64 => aarch64::Sysno::iter()
                .map(|call| (call.name(), call.id()))
                .filter_map(with_number)
                .collect(),
            Self::Arm => arm::Sysno::iter()
                .map(|call| (call.name(), call.id()))
                .filter_map(with_number)
                .collect(),
        }
    }
}

#[cfg(test)]
/// Whether any processor knows a call of this name.
pub(super) fn is_known(call: &str) -> bool {
    Architecture::ALL
        .into_iter()
        .any(|architecture| architecture.number(call).is_some())
}

/// The rules of one architecture, by number of the call; the first that holds counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) architecture: Architecture,
    pub(super) rules: BTreeMap<u32, Vec<Rule>>,
}

/// Everything that is decided. Calls in the way of another architecture end the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    /// If no rule holds.
    pub(super) otherwise: Action,
    pub(super) tables: Vec<Table>,
}
