//! Containers that run nothing and hold what others share.

use tepui_agent::containerizer::{Limits, Namespaces, SharedMemory, Within};

use super::*;

const MIB: u64 = 1 << 20;

impl Room {
    /// A container that holds an IPC namespace and processes, with memory of its own at `/dev/shm`.
    async fn holder(&mut self, name: &str) -> u32 {
        let sandbox = self.folder.path().join("sandboxes").join(name);
        std::fs::create_dir_all(&sandbox).unwrap();
        let mut spec = LaunchSpec::new(id(name), Command::Hold, sandbox);
        spec.namespaces = Namespaces {
            pid: true,
            ipc: true,
            mount: true,
            ..Namespaces::NONE
        };
        spec.shm = SharedMemory::Own(4 * MIB);
        spec.limits = Limits {
            cpu_millis: 100,
            memory_bytes: Some(64 * MIB),
            ..Limits::default()
        };
        self.start(spec).await
    }

    /// A shell command inside of it.
    fn member(&self, name: &str, holder: &str, text: &str) -> LaunchSpec {
        let mut spec = self.shell(name, text);
        spec.namespaces = Namespaces {
            mount: true,
            ..Namespaces::NONE
        };
        spec.shm = SharedMemory::Parents;
        spec.within = Some(Within {
            parent: id(holder),
            name: name.to_owned(),
            cgroups: true,
            inherit: false,
        });
        spec
    }

    fn can_hold(&self) -> bool {
        let capabilities = self.containerizer.capabilities();
        if !capabilities.namespaces {
            let warning = capabilities.warning().unwrap();
            assert!(warning.contains("no namespaces"), "{warning}");
        }
        capabilities.namespaces
    }
}

/// The floor is a supervisor and an init, as of any container; SPECIFICATION.md has the ceiling.
#[tokio::test]
async fn a_holder_costs_less_than_a_container() {
    let mut room = Room::new(Lifetime::Durable);
    let init = room.holder("h").await;
    let both = [init, lifecycle::parent_of(init)];
    let bytes: u64 = both.into_iter().map(limits::private_bytes).sum();
    println!("a holder: {} KiB of private memory", bytes / 1024);
    assert!(bytes < MIB / 2, "{bytes} bytes");
    let children = format!("/proc/{init}/task/{init}/children");
    let children = std::fs::read_to_string(children).unwrap();
    assert!(children.is_empty(), "it has no task: {children}");
    room.containerizer.destroy(&id("h")).await.unwrap();
    room.assert_clean();
}

#[tokio::test]
async fn members_share_what_is_held_and_end_with_it() {
    let mut room = Room::new(Lifetime::Durable);
    if !room.can_hold() {
        return;
    }
    room.holder("h").await;
    // It makes no difference who is asked what it is: a later agent finds the same.
    room.reopen();
    let known = [id("h")];
    room.containerizer.recover(&known).await.unwrap();
    assert!(room.containerizer.is_holder(&id("h")));
    let stray = marker();
    let first = format!("echo there > /dev/shm/x; (setsid sleep {stray} &); exec sleep 100");
    room.start(room.member("a", "h", &first)).await;
    // The shell has it in its command line before it does anything.
    let sleeps = format!("sleep\0{stray}");
    until("it is written and the stray runs", || runs(&sleeps)).await;
    let look = "cat /dev/shm/x; echo $$; exec sleep 100";
    let other = room.start(room.member("b", "h", look)).await;
    until("it has looked", || {
        room.output("b", "stdout").lines().count() == 2
    })
    .await;
    let seen = room.output("b", "stdout");
    let (shared, pid) = seen.trim_end().split_once('\n').unwrap();
    assert_eq!(shared, "there");
    assert!(
        pid.parse::<u32>().unwrap() > 4,
        "the holder's processes: {seen}"
    );

    // One ends with all that it has started, and nothing else.
    room.containerizer
        .kill(&id("a"), 9, KillScope::Tree)
        .unwrap();
    let exit = room.exit().await;
    assert_eq!(exit.status, Some(WaitStatus::killed(9)));
    if room.containerizer.capabilities().cgroups {
        assert!(!runs(&stray));
    }
    assert!(room.containerizer.is_running(&id("b")));
    assert!(Path::new(&format!("/proc/{other}")).exists());

    // The holder's end is everybody's, whoever's end is told first.
    room.containerizer
        .kill(&id("h"), 9, KillScope::Tree)
        .unwrap();
    let mut ended = std::collections::BTreeMap::new();
    for _ in 0..2 {
        match room.next().await {
            ContainerEvent::Exited { container, exit } => ended.insert(container, exit),
            other => panic!("instead of an exit: {other:?}"),
        };
    }
    assert_eq!(ended.keys().collect::<Vec<_>>(), [&id("b"), &id("h")]);
    let around = || room.containerizer.ending_around(&id("b"), &ended[&id("b")]);
    assert_eq!(around(), Some(id("h")), "nobody was told of the holder");
    room.containerizer.told(&id("h"));
    assert_eq!(around(), None);
    for name in ["a", "b", "h"] {
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn what_members_use_is_the_holders_too() {
    let mut room = Room::new(Lifetime::Durable);
    let capabilities = room.containerizer.capabilities().clone();
    if !(room.can_hold() && capabilities.memory && capabilities.processes) {
        assert!(!capabilities.root, "{capabilities:?}");
        return;
    }
    room.holder("h").await;
    let takes = "perl -e '$x .= \"a\" x 1048576 for 1..20; print 1; $| = 1; print 1; sleep 100'";
    for name in ["a", "b"] {
        let mut spec = room.member(name, "h", &format!("exec {takes}"));
        spec.limits.cpu_millis = 1000;
        room.start(spec).await;
        until("it is taken", || room.output(name, "stdout") == "11").await;
    }
    let usage = |name: &str| room.containerizer.usage(&id(name)).unwrap();
    let (own, all) = (usage("a"), usage("h"));
    let rss = |usage: &tepui_agent::containerizer::Usage| usage.memory_rss_bytes.unwrap();
    assert!((20 * MIB..40 * MIB).contains(&rss(&own)), "{own:?}");
    assert!(rss(&all) >= 40 * MIB, "{all:?}");
    assert_eq!(own.memory_limit_bytes, None);
    assert!(
        all.memory_limit_bytes
            .is_some_and(|bytes| bytes >= 64 * MIB)
    );
    assert_eq!(
        (own.processes, all.processes),
        (Some(1), Some(3)),
        "with the holder itself"
    );
    // Among each other they count by their own cpus.
    let roots = room.cgroups();
    let weight = roots.iter().find_map(|root| {
        let of = root.join("h/nested-a");
        let shares = std::fs::read_to_string(of.join("cpu.shares"));
        shares
            .or_else(|_| std::fs::read_to_string(of.join("cpu.weight")))
            .ok()
    });
    assert!(
        matches!(weight.as_deref(), Some("1024\n" | "100\n")),
        "{weight:?}"
    );

    // Whoever is one too many: all end, and the holder says why.
    let takes = takes.replace("1..20", "1..100");
    room.start(room.member("c", "h", &format!("exec {takes}")))
        .await;
    let mut reason = None;
    for _ in 0..4 {
        match room.next().await {
            ContainerEvent::Exited { container, exit } if container == id("h") => {
                reason = Some(exit.reason);
            }
            ContainerEvent::Exited { exit, .. } => {
                assert_eq!(exit.status, Some(WaitStatus::killed(9)));
            }
            other => panic!("instead of an exit: {other:?}"),
        }
    }
    assert!(
        matches!(reason, Some(ExitReason::MemoryLimit(_))),
        "{reason:?}"
    );
    for name in ["a", "b", "c", "h"] {
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
    room.assert_clean();
}
