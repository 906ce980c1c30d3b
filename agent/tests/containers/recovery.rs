//! Agents that end, orderly or by SIGKILL, and what the next one finds.

use super::*;
use std::process::{Child, Stdio};
use tepui_agent::containerizer::{Recovered, sweep};

#[tokio::test]
async fn a_new_agent_finds_what_runs_what_has_ended_and_what_is_nobodys() {
    let mut room = Room::new(Lifetime::Durable);
    let orphan = marker();
    let running = room
        .start(room.shell(
            "running",
            "trap 'exit 5' TERM; while :; do sleep 0.01; done",
        ))
        .await;
    room.start(room.shell(
        "ends-meanwhile",
        "while ! test -e go; do sleep 0.01; done; exit 4",
    ))
    .await;
    room.start(room.shell("orphan", &format!("sleep {orphan}")))
        .await;
    room.start(room.shell("ended-before", "exit 3")).await;
    assert_eq!(room.exit().await.status, Some(WaitStatus::exited(3)));

    let sandboxes = room.folder.path().join("sandboxes");
    let record = room.runtime_dir().join("containers/ends-meanwhile/exit");
    room.reopen();
    std::fs::write(sandboxes.join("ends-meanwhile/go"), "").unwrap();
    until("the exit is recorded", || record.exists()).await;
    let known = ["running", "ends-meanwhile", "ended-before", "unheard-of"].map(id);
    let recovered = room.containerizer.recover(&known).await.unwrap();
    assert_eq!(
        recovered[0],
        Recovered::Running {
            container: id("running"),
            pid: running
        }
    );
    for (index, name, code) in [(1, "ends-meanwhile", 4), (2, "ended-before", 3)] {
        match &recovered[index] {
            Recovered::Exited { container, exit } => {
                assert_eq!(
                    (container, exit.status),
                    (&id(name), Some(WaitStatus::exited(code)))
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(
        recovered[3],
        Recovered::Unknown {
            container: id("unheard-of")
        }
    );
    assert!(
        !runs(&orphan),
        "a container that nobody knows was not destroyed"
    );

    // The one that runs is in hand again: a command, its limits' usage, a signal, its end.
    let exec = tepui_agent::containerizer::ExecSpec {
        command: Command::Shell("exit 2".into()),
        environment: vec![],
        inherit: false,
        user: None,
        output_limit_bytes: 0,
    };
    assert_eq!(
        room.containerizer
            .exec(&id("running"), exec)
            .await
            .unwrap()
            .status,
        WaitStatus::exited(2)
    );
    if room.containerizer.capabilities().processes {
        assert!(room.containerizer.usage(&id("running")).unwrap().processes >= Some(1));
    }
    room.containerizer
        .kill(&id("running"), 15, KillScope::Task)
        .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::exited(5)));
    for name in known {
        room.containerizer.destroy(&name).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn a_supervisor_that_was_killed_takes_its_container_along() {
    let mut room = Room::new(Lifetime::Durable);
    let left = marker();
    for restarted in [false, true] {
        let name = format!("lost-{restarted}");
        let init = room
            .start(room.shell(&name, &format!("(setsid sleep {left} &); sleep {left}")))
            .await;
        until("it runs", || runs(&left)).await;
        if restarted {
            room.reopen();
            let recovered = room.containerizer.recover(&[id(&name)]).await.unwrap();
            assert!(matches!(recovered[0], Recovered::Running { .. }));
        }
        let supervisor = lifecycle::parent_of(init);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(supervisor as i32),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        let exit = room.exit().await;
        assert_eq!((exit.status, exit.reason), (None, ExitReason::Lost));
        assert!(!runs(&left), "the container outlived its supervisor");
        room.containerizer.destroy(&id(&name)).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn a_reused_pid_is_not_mistaken_for_a_supervisor() {
    let mut room = Room::new(Lifetime::Durable);
    room.start(room.shell("reused", "sleep 100")).await;
    let path = room.runtime_dir().join("containers/reused/launch");
    let record = std::fs::read_to_string(&path).unwrap();
    room.containerizer.destroy(&id("reused")).await.unwrap();
    // As if the record had been left behind and its pids now belonged to this test.
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    for process in ["supervisor", "init"] {
        record[process]["pid"] = std::process::id().into();
    }
    for boot in [None, Some("another-boot")] {
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let mut record = record.clone();
        if let Some(boot) = boot {
            record["boot_id"] = boot.into();
        }
        std::fs::write(&path, record.to_string()).unwrap();
        room.reopen();
        let recovered = room.containerizer.recover(&[id("reused")]).await.unwrap();
        match (&recovered[0], boot) {
            (Recovered::Exited { exit, .. }, None) => assert_eq!(exit.reason, ExitReason::Lost),
            (Recovered::Unknown { .. }, Some(_)) => {}
            other => panic!("{other:?}"),
        }
        room.containerizer.destroy(&id("reused")).await.unwrap();
    }
    room.assert_clean();
}

#[tokio::test]
async fn leftovers_of_dead_supervisors_are_swept() {
    let mut room = Room::new(Lifetime::Durable);
    let init = room.start(room.shell("swept", "sleep 100")).await;
    room.start(room.shell("kept", "sleep 100")).await;
    let runtime_dir = room.runtime_dir();
    let supervisor = lifecycle::parent_of(init);
    let root = room.cgroups_root.clone();
    room.reopen();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(supervisor as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    // Until its parent has taken notice it counts as there.
    until("the supervisor is gone", || {
        !Path::new(&format!("/proc/{supervisor}")).exists()
    })
    .await;
    assert_eq!(sweep(&runtime_dir, &root), 1);
    assert!(!runtime_dir.join("containers/swept").exists());
    let recovered = room
        .containerizer
        .recover(&[id("swept"), id("kept")])
        .await
        .unwrap();
    assert!(matches!(recovered[0], Recovered::Unknown { .. }));
    assert!(matches!(recovered[1], Recovered::Running { .. }));
    room.containerizer.destroy(&id("kept")).await.unwrap();
    room.assert_clean();
}

/// Set in the process that plays the agent: its folder, cgroup root and lifetime.
const ROLE: &str = "TEPUI_TEST_AGENT";

/// What the agent process does: launches one container and waits to be killed.
async fn play_agent(role: &str) -> ! {
    let mut words = role.split(' ');
    let (folder, root, lifetime, seconds) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    let lifetime = if lifetime == "durable" {
        Lifetime::Durable
    } else {
        Lifetime::Ephemeral
    };
    let (containerizer, mut events) = open(Path::new(folder), root, lifetime);
    let sandbox = Path::new(folder).join("sandbox");
    std::fs::create_dir_all(&sandbox).unwrap();
    let text = format!("(setsid sleep {seconds} &); sleep {seconds}; exit 6");
    containerizer
        .launch(LaunchSpec::new(id("child"), Command::Shell(text), sandbox))
        .await
        .unwrap();
    assert!(matches!(
        events.recv().await,
        Some(ContainerEvent::Started { .. })
    ));
    std::fs::write(Path::new(folder).join("started"), "").unwrap();
    std::future::pending().await
}

/// An agent process that does not outlive a test that fails.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent process that has been SIGKILLed while its container ran.
async fn killed_agent(test: &str, folder: &Path, root: &str, lifetime: &str, seconds: &str) {
    let role = format!("{} {root} {lifetime} {seconds}", folder.display());
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut agent = Agent(command.spawn().unwrap());
    until("the agent has launched", || folder.join("started").exists()).await;
    until("the task sleeps", || runs(&format!("sleep\0{seconds}"))).await;
    agent.0.kill().unwrap();
    agent.0.wait().unwrap();
}

#[tokio::test]
async fn durable_containers_outlive_a_killed_agent() {
    if let Ok(role) = std::env::var(ROLE) {
        play_agent(&role).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = format!("tepui-test-{}-durable", std::process::id());
    let seconds = marker();
    killed_agent(
        "recovery::durable_containers_outlive_a_killed_agent",
        folder.path(),
        &root,
        "durable",
        &seconds,
    )
    .await;
    assert!(
        runs(&format!("sleep\0{seconds}")),
        "the container died with its agent"
    );
    let (containerizer, events) = open(folder.path(), &root, Lifetime::Durable);
    let mut room = Room {
        folder,
        cgroups_root: root,
        lifetime: Lifetime::Durable,
        containerizer,
        events,
    };
    let recovered = room.containerizer.recover(&[id("child")]).await.unwrap();
    assert!(matches!(recovered[0], Recovered::Running { .. }));
    room.containerizer
        .kill(&id("child"), 15, KillScope::Tree)
        .unwrap();
    assert_eq!(room.exit().await.status, Some(WaitStatus::killed(15)));
    room.containerizer.destroy(&id("child")).await.unwrap();
    room.assert_clean();
}

#[tokio::test]
async fn ephemeral_containers_leave_nothing_after_a_killed_agent() {
    if let Ok(role) = std::env::var(ROLE) {
        play_agent(&role).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = format!("tepui-test-{}-ephemeral", std::process::id());
    let seconds = marker();
    killed_agent(
        "recovery::ephemeral_containers_leave_nothing_after_a_killed_agent",
        folder.path(),
        &root,
        "ephemeral",
        &seconds,
    )
    .await;
    until("all processes are gone", || {
        !runs(&format!("sleep\0{seconds}"))
    })
    .await;
    let containers = folder.path().join("runtime/containers");
    until("the record is gone", || {
        std::fs::read_dir(&containers).unwrap().next().is_none()
    })
    .await;
    until("the cgroups are gone, their root too", || {
        cgroups(&root).is_empty()
    })
    .await;
}

#[tokio::test]
async fn after_an_orderly_end_an_ephemeral_agent_has_left_nothing() {
    let mut room = Room::new(Lifetime::Ephemeral);
    let seconds = marker();
    let text = format!("trap '' TERM; (setsid sleep {seconds} &); sleep {seconds}");
    for name in ["one", "two", "three"] {
        room.start(room.shell(name, &text)).await;
    }
    room.containerizer.shut_down().await.unwrap();
    // At once, with no waiting.
    assert!(!runs(&seconds));
    assert!(cgroups(&room.cgroups_root).is_empty());
    assert_eq!(
        std::fs::read_dir(room.runtime_dir().join("containers"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn ephemeral_containers_end_with_the_last_handle() {
    let mut room = Room::new(Lifetime::Ephemeral);
    let seconds = marker();
    room.start(room.shell("short", &format!("exec sleep {seconds}")))
        .await;
    let clone = room.containerizer.clone();
    // For a moment, while it is executed, a program has no command line; the shell has had this one's words in its own.
    let sleeps = format!("sleep\0{seconds}");
    until("the task sleeps", || runs(&sleeps)).await;
    let root = room.cgroups_root.clone();
    room.reopen();
    assert!(runs(&seconds), "a handle was left");
    drop(clone);
    until("the container is gone", || !runs(&seconds)).await;
    drop(room);
    until("the cgroups are gone, their root too", || {
        cgroups(&root).is_empty()
    })
    .await;
}
