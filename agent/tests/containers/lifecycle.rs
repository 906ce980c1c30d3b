//! From launch to exit: codes, signals, failures, environment, trees, many at once.

use super::*;
use std::collections::BTreeSet;
use tepui_agent::containerizer::{ContainerizerError, DEFAULT_PATH, Namespaces};

const TERM: i32 = 15;
const KILL: i32 = 9;

#[tokio::test]
async fn every_end_is_told_as_it_was() {
    let mut room = Room::new(Lifetime::Durable);
    for (name, text, status) in [
        ("ok", "true", WaitStatus::exited(0)),
        ("three", "exit 3", WaitStatus::exited(3)),
        ("last", "exit 255", WaitStatus::exited(255)),
        ("killed", "kill -9 $$", WaitStatus::killed(9)),
        ("aborted", "ulimit -c 0; kill -6 $$", WaitStatus::killed(6)),
    ] {
        let exit = room.run(room.shell(name, text)).await;
        assert_eq!(
            (exit.status, &exit.reason),
            (Some(status), &ExitReason::Ended),
            "{name}"
        );
        assert!(exit.ended_at_ms > 1_600_000_000_000);
    }
    room.assert_clean();
}

#[tokio::test]
async fn what_only_holds_ends_when_it_is_destroyed() {
    let room = Room::new(Lifetime::Durable);
    for (name, pid) in [("apart", true), ("among-the-agents", false)] {
        let mut spec = room.shell(name, "");
        spec.command = Command::Hold;
        spec.namespaces = Namespaces {
            pid,
            ..Namespaces::NONE
        };
        room.containerizer.launch(spec).await.unwrap();
        let id = id(name);
        room.containerizer.started(&id).await.unwrap();
        let destroyed = room.containerizer.destroy(&id);
        let destroyed = tokio::time::timeout(PATIENCE, destroyed).await;
        destroyed.expect("it ends").unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn a_launch_that_fails_says_at_what() {
    let mut room = Room::new(Lifetime::Durable);
    let exec = |executable: &str| Command::Exec {
        executable: executable.into(),
        arguments: vec![],
    };
    let mut nowhere = room.shell("nowhere", "true");
    nowhere.command = exec("/no/such/program");
    let mut unfound = room.shell("unfound", "true");
    unfound.command = exec("no-such-program");
    let mut not_executable = room.shell("not-executable", "true");
    not_executable.command = exec("/etc/passwd");
    let mut no_sandbox = room.shell("no-sandbox", "true");
    no_sandbox.sandbox = "/no/such/sandbox".into();
    let mut no_stdout = room.shell("no-stdout", "true");
    no_stdout.stdout = "/no/such/folder/stdout".into();
    let mut link = room.shell("link", "true");
    std::os::unix::fs::symlink("/etc/passwd", &link.stdout).unwrap();
    link.stderr = link.sandbox.join("other");
    for (spec, words) in [
        (
            nowhere,
            "Failed to execute '/no/such/program': No such file or directory",
        ),
        (
            unfound,
            "Failed to execute 'no-such-program': No such file or directory",
        ),
        (
            not_executable,
            "Failed to execute '/etc/passwd': Permission denied",
        ),
        (
            no_sandbox,
            "Failed to change to the directory '/no/such/sandbox': No such file or directory",
        ),
        (
            no_stdout,
            "Failed to create '/no/such/folder/stdout': No such file or directory",
        ),
        (link, "Too many symbolic links"),
    ] {
        let container = spec.container.clone();
        room.containerizer.launch(spec).await.unwrap();
        let exit = room.exit().await;
        assert_eq!(exit.status, None);
        match exit.reason {
            ExitReason::LaunchFailed(failure) => {
                assert!(failure.to_string().contains(words), "{failure}")
            }
            other => panic!("{container}: {other:?}"),
        }
        room.containerizer.destroy(&container).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn a_task_has_exactly_its_environment_and_its_sandbox() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell("env", "");
    spec.command = Command::Exec {
        executable: "env".into(),
        arguments: vec!["env".into()],
    };
    spec.environment = vec![
        ("B".into(), "two words".into()),
        ("A".into(), "=x\n".into()),
        ("EMPTY".into(), String::new()),
    ];
    room.run(spec).await;
    assert_eq!(
        room.output("env", "stdout"),
        format!("B=two words\nA==x\n\nEMPTY=\nPATH={DEFAULT_PATH}\n")
    );

    let spec = room.shell(
        "cwd",
        "pwd; echo problem >&2; cat; ls -l /proc/self/fd | wc -l; cat /proc/self/status",
    );
    let sandbox = spec.sandbox.clone();
    room.run(spec).await;
    let output = room.output("cwd", "stdout");
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some(sandbox.to_str().unwrap()));
    // A total, three streams, and the directory that is being listed.
    assert_eq!(
        lines.next().map(str::trim),
        Some("5"),
        "descriptors leak: {output}"
    );
    for line in lines.filter(|line| {
        ["SigBlk:", "SigIgn:", "SigCgt:"]
            .iter()
            .any(|field| line.starts_with(field))
    }) {
        assert!(
            line.ends_with("0000000000000000"),
            "not a clean slate: {line}"
        );
    }
    assert_eq!(room.output("cwd", "stderr"), "problem\n");
}

#[tokio::test]
async fn a_signal_reaches_the_task_and_its_grace_is_its_own() {
    let mut room = Room::new(Lifetime::Durable);
    let spec = room.shell(
        "grace",
        "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
    );
    room.start(spec).await;
    until("the trap is set", || {
        room.output("grace", "stdout") == "ready\n"
    })
    .await;
    room.containerizer
        .kill(&id("grace"), TERM, KillScope::Task)
        .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::exited(7)));
    assert_eq!(room.output("grace", "stdout"), "ready\nbye\n");

    let spec = room.shell(
        "stubborn",
        "trap '' TERM; echo ready; while :; do sleep 0.01; done",
    );
    room.start(spec).await;
    until("the trap is set", || {
        room.output("stubborn", "stdout") == "ready\n"
    })
    .await;
    room.containerizer
        .kill(&id("stubborn"), TERM, KillScope::Tree)
        .unwrap();
    room.containerizer
        .kill(&id("stubborn"), KILL, KillScope::Tree)
        .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(KILL)));

    // Somebody on the host takes the container's first process for the task.
    let pid = room
        .start(room.shell("from-outside", &format!("exec sleep {}", marker())))
        .await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(TERM)));
    for name in ["grace", "stubborn", "from-outside"] {
        assert!(matches!(
            room.containerizer.kill(&id(name), TERM, KillScope::Task),
            Err(ContainerizerError::NotRunning(_))
        ));
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn a_tree_dies_with_its_daemons() {
    let mut room = Room::new(Lifetime::Durable);
    let daemon = |seconds: &str| {
        format!("(setsid sh -c 'sleep {seconds} & sleep {seconds} & echo up; wait' &) ; ")
    };
    // The task ends, and what it left in the background with it.
    let left = marker();
    room.run(room.shell(
        "leaves",
        &format!(
            "{} while ! grep -q up stdout; do sleep 0.01; done",
            daemon(&left)
        ),
    ))
    .await;
    assert!(!runs(&left), "a daemon outlived its task");
    // A signal to the tree reaches daemons that have long left the session.
    let tree = marker();
    room.start(room.shell(
        "tree",
        &format!(
            "trap 'sleep 0.1; exit 4' TERM; {} while :; do sleep 0.01; done",
            daemon(&tree)
        ),
    ))
    .await;
    until("the daemons run", || {
        room.output("tree", "stdout").contains("up")
    })
    .await;
    room.containerizer
        .kill(&id("tree"), TERM, KillScope::Tree)
        .unwrap();
    until("the daemons end", || !runs(&tree)).await;
    assert_eq!(room.exit().await.status, Some(WaitStatus::exited(4)));
    // Destroyed without a word.
    let destroyed = marker();
    room.start(room.shell("destroyed", &format!("{} sleep 100", daemon(&destroyed))))
        .await;
    until("the daemons run", || {
        room.output("destroyed", "stdout").contains("up")
    })
    .await;
    room.containerizer.destroy(&id("destroyed")).await.unwrap();
    assert!(!runs(&destroyed));
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(KILL)));
    for name in ["leaves", "tree"] {
        room.containerizer.destroy(&id(name)).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn an_id_is_used_once_and_destroying_is_idempotent() {
    let mut room = Room::new(Lifetime::Durable);
    room.start(room.shell("one", "sleep 100")).await;
    assert!(matches!(
        room.containerizer.launch(room.shell("one", "true")).await,
        Err(ContainerizerError::Exists(_))
    ));
    room.containerizer.destroy(&id("one")).await.unwrap();
    room.containerizer.destroy(&id("one")).await.unwrap();
    room.containerizer
        .destroy(&id("never-there"))
        .await
        .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(KILL)));
    // Its name is free again; a signal before the start is not lost.
    room.containerizer
        .launch(room.shell("one", "sleep 100"))
        .await
        .unwrap();
    room.containerizer
        .kill(&id("one"), KILL, KillScope::Tree)
        .unwrap();
    assert!(matches!(room.next().await, ContainerEvent::Started { .. }));
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(KILL)));
    room.containerizer.destroy(&id("one")).await.unwrap();
    room.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once() {
    let mut room = Room::new(Lifetime::Durable);
    let names: BTreeSet<_> = (0..200).map(|number| format!("many-{number}")).collect();
    let launches = names.iter().map(|name| {
        let (containerizer, spec) = (
            room.containerizer.clone(),
            room.shell(name, "echo hello; exit 5"),
        );
        tokio::spawn(async move { containerizer.launch(spec).await.unwrap() })
    });
    for launch in launches.collect::<Vec<_>>() {
        launch.await.unwrap();
    }
    let (mut started, mut exited) = (BTreeSet::new(), BTreeSet::new());
    while exited.len() < names.len() {
        match room.next().await {
            ContainerEvent::Started { container, .. } => {
                assert!(started.insert(container.to_string()))
            }
            ContainerEvent::Exited { container, exit } => {
                assert!(
                    started.contains(container.as_str()),
                    "{container} ended before it started"
                );
                assert_eq!(
                    exit.status,
                    Some(WaitStatus::exited(5)),
                    "{container}: {exit:?}"
                );
                room.containerizer.destroy(&container).await.unwrap();
                assert!(exited.insert(container.to_string()));
            }
        }
    }
    assert_eq!(exited, names);
    assert!(
        names
            .iter()
            .all(|name| room.output(name, "stdout") == "hello\n")
    );
    room.assert_clean();
}

#[tokio::test]
async fn a_launcher_that_was_killed_is_replaced() {
    let mut room = Room::new(Lifetime::Durable);
    let before = "while ! test -e go; do sleep 0.01; done; exit 6";
    let init = room.start(room.shell("before", before)).await;
    let supervisor = parent_of(init);
    let launcher = parent_of(supervisor);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(launcher as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("the launcher is dead", || {
        std::fs::read_to_string(format!("/proc/{launcher}/stat"))
            .is_ok_and(|stat| stat.contains(") Z "))
    })
    .await;
    room.containerizer
        .launch(room.shell("after", "exit 8"))
        .await
        .unwrap();
    std::fs::write(room.folder.path().join("sandboxes/before/go"), "").unwrap();
    let mut codes = BTreeSet::new();
    while codes.len() < 2 {
        if let ContainerEvent::Exited { container, exit } = room.next().await {
            codes.insert((
                container.to_string(),
                exit.status.and_then(WaitStatus::code),
            ));
            room.containerizer.destroy(&container).await.unwrap();
        }
    }
    assert_eq!(
        codes,
        BTreeSet::from([
            ("after".to_owned(), Some(8)),
            ("before".to_owned(), Some(6))
        ])
    );
    room.assert_clean();
}

/// The pid of a process' parent.
pub(crate) fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}
