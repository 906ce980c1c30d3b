//! Cgroups: memory that is really limited, CPU, processes; what they tell; what a container costs.

use super::*;
use tepui_agent::containerizer::{Limits, UNCHARGED_MEMORY_BYTES};

const MIB: u64 = 1 << 20;

/// Perl takes this much memory, touches it, and goes on.
fn hog(mib: u64) -> String {
    format!("perl -e '$x = \"a\" x ({mib} * 1024 * 1024); print length $x'")
}

fn memory(mib: u64) -> Limits {
    Limits {
        cpu_millis: 100,
        memory_bytes: Some(mib * MIB),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_task_over_its_memory_ends_and_says_why() {
    let mut room = Room::new(Lifetime::Durable);
    if !room.containerizer.capabilities().memory {
        assert!(
            room.containerizer
                .capabilities()
                .warning()
                .unwrap()
                .contains("memory is not limited")
        );
        return;
    }
    let limit = 64 * MIB + UNCHARGED_MEMORY_BYTES;
    // The task itself, and a child whose death a task would survive.
    for (name, text) in [
        ("itself", format!("exec {}", hog(300))),
        ("child", format!("{}; sleep 100; exit 0", hog(300))),
    ] {
        let mut spec = room.shell(name, &text);
        spec.limits = memory(64);
        let exit = room.run(spec).await;
        match exit.reason {
            ExitReason::MemoryLimit(limitation) => {
                assert_eq!(limitation.limit_bytes, limit);
                assert!(
                    limitation.max_usage_bytes > 64 * MIB && limitation.max_usage_bytes <= limit,
                    "{limitation:?}"
                );
                assert!(
                    limitation
                        .to_string()
                        .starts_with("Memory limit exceeded: Requested: 96MB Maximum Used: "),
                    "{limitation}"
                );
            }
            other => panic!("{name}: {other:?} {:?} {:?}", exit.status, exit.usage),
        }
        assert_eq!(exit.status, Some(WaitStatus::killed(9)), "{name}");
    }
    // What fits, fits: the limit and the 32 MiB that nobody is charged for.
    let mut spec = room.shell("fits", &format!("exec {}", hog(30)));
    spec.limits = memory(64);
    let exit = room.run(spec).await;
    assert_eq!(
        (exit.status, exit.reason),
        (Some(WaitStatus::exited(0)), ExitReason::Ended)
    );
    room.assert_clean();
}

#[tokio::test]
async fn limits_are_set_told_and_changed() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell(
        "limited",
        // So long that it is found at work when the kernel looks, which some do a hundred times a second.
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; exec sleep 100",
    );
    spec.limits = Limits {
        cpu_millis: 500,
        cpu_limit_millis: Some(2000),
        processes: Some(50),
        ..memory(64)
    };
    room.start(spec).await;
    until("the loop is done", || {
        room.output("limited", "stdout") == "done\n"
    })
    .await;
    let usage = room.containerizer.usage(&id("limited")).unwrap();
    let capabilities = room.containerizer.capabilities().clone();
    if capabilities.memory {
        assert_eq!(
            usage.memory_limit_bytes,
            Some(64 * MIB + UNCHARGED_MEMORY_BYTES)
        );
        assert!(usage.memory_total_bytes.is_some_and(|bytes| bytes > 0));
        room.containerizer
            .update(&id("limited"), &memory(128))
            .unwrap();
        let raised = room.containerizer.usage(&id("limited")).unwrap();
        assert_eq!(
            raised.memory_limit_bytes,
            Some(128 * MIB + UNCHARGED_MEMORY_BYTES)
        );
        room.containerizer
            .update(&id("limited"), &memory(16))
            .unwrap();
        let kept = room.containerizer.usage(&id("limited")).unwrap();
        assert_eq!(
            kept.memory_limit_bytes, raised.memory_limit_bytes,
            "never lowered under a running task"
        );
    }
    if capabilities.cpu {
        assert!(
            usage.cpu_user_ns.is_some_and(|ns| ns > 1_000_000),
            "{usage:?}"
        );
        let shares = room
            .cgroups()
            .iter()
            .find_map(|root| std::fs::read_to_string(root.join("limited/cpu.shares")).ok());
        assert!(
            shares.is_none_or(|shares| shares == "102\n"),
            "as the last update said"
        );
    }
    if capabilities.processes {
        assert_eq!(
            usage.processes,
            Some(1),
            "supervisor and init are not charged"
        );
        let mut bomb = room.shell(
            "bomb",
            "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; wait",
        );
        bomb.limits.processes = Some(5);
        room.start(bomb).await;
        until("the shell cannot fork", || {
            room.output("bomb", "stderr").contains("fork")
        })
        .await;
    }
    for name in ["limited", "bomb"] {
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
    room.assert_clean();
}

/// The platform's floor is supervisor plus init; decisions.md has the ceiling.
#[tokio::test]
async fn a_supervised_task_costs_little_memory() {
    const CEILING_BYTES: u64 = 1 << 20;
    let mut room = Room::new(Lifetime::Durable);
    let mut costs = Vec::new();
    for number in 0..10 {
        let name = format!("cost-{number}");
        let init = room.start(room.shell(&name, "exec sleep 100")).await;
        costs.push((init, name));
    }
    let total: u64 = costs
        .iter()
        .map(|(init, _)| private_bytes(*init) + private_bytes(lifecycle::parent_of(*init)))
        .sum();
    let each = total / costs.len() as u64;
    println!(
        "supervisor and init: {} KiB of private memory a container",
        each / 1024
    );
    assert!(each < CEILING_BYTES, "{each} bytes");
    for (_, name) in &costs {
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
}

/// Private_Clean + Private_Dirty.
pub(crate) fn private_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"));
    private
        .map(|line| {
            line.split_ascii_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
                * 1024
        })
        .sum()
}
