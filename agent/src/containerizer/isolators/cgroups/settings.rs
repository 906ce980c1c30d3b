//! Which file of a cgroup gets which value: pure.

use super::{Controller, Version};
use crate::containerizer::spec::{Limits, UNCHARGED_MEMORY_BYTES};

/// Length of a scheduler period with a quota, in microseconds.
const CFS_PERIOD_US: u64 = 100_000;
/// The smallest quota the kernel takes, in microseconds.
const CFS_QUOTA_MIN_US: u64 = 1_000;
/// Weight of one CPU.
const SHARES_PER_CPU: u64 = 1024;
/// Weight of one that gives way to all others.
const SHARES_PER_LOW_CPU: u64 = 10;
/// The smallest and the largest weight, version 1.
const SHARES: (u64, u64) = (2, 262_144);
/// The same of version 2, where 100 is a CPU.
const WEIGHT: (u64, u64) = (1, 10_000);
/// No container is confined to less memory: Mesos' minimum.
const MEMORY_MIN_BYTES: u64 = 32 << 20;

type Setting = (&'static str, String);

/// The settings of a new cgroup; what is not limited is left as the kernel made it.
pub(super) fn of(version: Version, controllers: &[Controller], limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    for controller in controllers {
        match (controller, version) {
            (Controller::Cpu, Version::V1) => {
                settings.push(("cpu.shares", shares(limits).to_string()));
                if let Some(quota) = quota_us(limits) {
                    settings.push(("cpu.cfs_period_us", CFS_PERIOD_US.to_string()));
                    settings.push(("cpu.cfs_quota_us", quota.to_string()));
                }
            }
            (Controller::Cpu, Version::V2) => {
                settings.push(("cpu.weight", weight(limits).to_string()));
                if let Some(quota) = quota_us(limits) {
                    settings.push(("cpu.max", format!("{quota} {CFS_PERIOD_US}")));
                }
            }
            (Controller::Memory, Version::V1) => {
                if let Some(soft) = soft_bytes(limits) {
                    settings.push(("memory.soft_limit_in_bytes", soft.to_string()));
                }
                if let Some(hard) = hard_bytes(limits) {
                    settings.push(("memory.limit_in_bytes", hard.to_string()));
                }
            }
            (Controller::Memory, Version::V2) => {
                settings.push(("memory.oom.group", "1".to_owned()));
                if let Some(soft) = soft_bytes(limits) {
                    settings.push(("memory.low", soft.to_string()));
                }
                if let Some(hard) = hard_bytes(limits) {
                    settings.push(("memory.max", hard.to_string()));
                }
            }
            (Controller::Pids, _) => {
                if let Some(processes) = limits.processes {
                    settings.push(("pids.max", processes.to_string()));
                }
            }
            (
                Controller::Cpuacct
                | Controller::Cpuset
                | Controller::Devices
                | Controller::BlockIo,
                _,
            ) => {}
        }
    }
    settings
}

/// The settings that change a running container's cgroup, whose hard memory limit is `hard_now`. A limit that is gone is lifted, but, as in
/// Mesos, the hard memory limit is never lowered under a running task: it would be killed for what it was allowed to take.
/// How many processes there may be is said at launch alone: updates that say nothing of it leave it.
pub(super) fn updates(
    version: Version,
    controllers: &[Controller],
    limits: &Limits,
    hard_now: Option<u64>,
) -> Vec<Setting> {
    let mut settings = of(version, controllers, limits);
    settings.retain(|(file, value)| {
        let lowers = || hard_now.is_some_and(|now| value.parse::<u64>().is_ok_and(|new| new < now));
        !(matches!(*file, "memory.limit_in_bytes" | "memory.max") && lowers())
    });
    let unlimited_cpu = limits.cpu_limit_millis.is_none();
    for controller in controllers {
        match (controller, version) {
            (Controller::Cpu, Version::V1) if unlimited_cpu => {
                settings.push(("cpu.cfs_quota_us", "-1".to_owned()))
            }
            (Controller::Cpu, Version::V2) if unlimited_cpu => {
                settings.push(("cpu.max", format!("max {CFS_PERIOD_US}")))
            }
            (Controller::Memory, Version::V1) if hard_bytes(limits).is_none() => {
                settings.push(("memory.limit_in_bytes", "-1".to_owned()));
            }
            (Controller::Memory, Version::V2) if hard_bytes(limits).is_none() => {
                settings.push(("memory.max", "max".to_owned()))
            }
            _ => {}
        }
    }
    settings
}

fn shares(limits: &Limits) -> u64 {
    let per_cpu = if limits.low_priority {
        SHARES_PER_LOW_CPU
    } else {
        SHARES_PER_CPU
    };
    (limits.cpu_millis.saturating_mul(per_cpu) / 1000).clamp(SHARES.0, SHARES.1)
}

fn weight(limits: &Limits) -> u64 {
    let per_cpu = if limits.low_priority { 1 } else { 100 };
    (limits.cpu_millis.saturating_mul(per_cpu) / 1000).clamp(WEIGHT.0, WEIGHT.1)
}

fn quota_us(limits: &Limits) -> Option<u64> {
    limits.cpu_limit_millis.map(|millis| {
        millis
            .saturating_mul(CFS_PERIOD_US / 1000)
            .max(CFS_QUOTA_MIN_US)
    })
}

fn soft_bytes(limits: &Limits) -> Option<u64> {
    limits.memory_bytes.map(|bytes| bytes.max(MEMORY_MIN_BYTES))
}

fn hard_bytes(limits: &Limits) -> Option<u64> {
    let bytes = limits.memory_limit_bytes.or(limits.memory_bytes)?;
    Some(
        bytes
            .max(MEMORY_MIN_BYTES)
            .saturating_add(UNCHARGED_MEMORY_BYTES),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use Controller::{Cpu, Cpuacct, Memory, Pids};

    const MIB: u64 = 1 << 20;

    fn check(got: &[Setting], expected: &[(&str, &str)]) {
        let got: Vec<_> = got
            .iter()
            .map(|(file, value)| (*file, value.as_str()))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn limits_become_the_files_of_each_version() {
        let all = [Cpu, Cpuacct, Memory, Pids];
        let limits = Limits {
            cpu_millis: 1500,
            cpu_limit_millis: Some(2000),
            memory_bytes: Some(64 * MIB),
            memory_limit_bytes: Some(128 * MIB),
            processes: Some(100),
            low_priority: false,
        };
        check(
            &of(Version::V1, &all, &limits),
            &[
                ("cpu.shares", "1536"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_quota_us", "200000"),
                ("memory.soft_limit_in_bytes", "67108864"),
                ("memory.limit_in_bytes", "167772160"),
                ("pids.max", "100"),
            ],
        );
        check(
            &of(Version::V2, &all, &limits),
            &[
                ("cpu.weight", "150"),
                ("cpu.max", "200000 100000"),
                ("memory.oom.group", "1"),
                ("memory.low", "67108864"),
                ("memory.max", "167772160"),
                ("pids.max", "100"),
            ],
        );
        check(&of(Version::V1, &[Cpuacct], &limits), &[]);
    }

    #[test]
    fn small_and_huge_values_stay_in_what_the_kernel_takes() {
        let tiny = Limits {
            cpu_millis: 0,
            cpu_limit_millis: Some(1),
            memory_bytes: Some(1),
            ..Limits::default()
        };
        check(
            &of(Version::V1, &[Cpu, Memory], &tiny),
            &[
                ("cpu.shares", "2"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_quota_us", "1000"),
                ("memory.soft_limit_in_bytes", "33554432"),
                ("memory.limit_in_bytes", "67108864"),
            ],
        );
        check(
            &of(
                Version::V2,
                &[Cpu],
                &Limits {
                    cpu_limit_millis: None,
                    ..tiny
                },
            ),
            &[("cpu.weight", "1")],
        );
        let huge = Limits {
            cpu_millis: u64::MAX,
            memory_bytes: Some(u64::MAX),
            ..Limits::default()
        };
        check(&of(Version::V1, &[Cpu], &huge), &[("cpu.shares", "262144")]);
        for (cpu_millis, shares, cpu_weight) in
            [(500, "5", "1"), (100, "2", "1"), (16_000, "160", "16")]
        {
            let low = Limits {
                cpu_millis,
                low_priority: true,
                ..Limits::default()
            };
            check(&of(Version::V1, &[Cpu], &low), &[("cpu.shares", shares)]);
            check(
                &of(Version::V2, &[Cpu], &low),
                &[("cpu.weight", cpu_weight)],
            );
        }
        assert_eq!(hard_bytes(&huge), Some(u64::MAX));
    }

    #[test]
    fn updates_lift_what_is_gone_and_never_lower_hard_memory() {
        let less = Limits {
            cpu_millis: 1000,
            memory_bytes: Some(64 * MIB),
            ..Limits::default()
        };
        check(
            &updates(Version::V1, &[Cpu, Memory, Pids], &less, Some(512 * MIB)),
            &[
                ("cpu.shares", "1024"),
                ("memory.soft_limit_in_bytes", "67108864"),
                ("cpu.cfs_quota_us", "-1"),
            ],
        );
        check(
            &updates(Version::V2, &[Memory], &less, Some(64 * MIB)),
            &[
                ("memory.oom.group", "1"),
                ("memory.low", "67108864"),
                ("memory.max", "100663296"),
            ],
        );
        check(
            &updates(Version::V2, &[Memory], &Limits::default(), Some(64 * MIB)),
            &[("memory.oom.group", "1"), ("memory.max", "max")],
        );
    }
}
