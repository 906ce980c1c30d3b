//! What a container looks like from inside: namespaces, user, limits per process, commands run in it.

use super::*;
use tepui_agent::containerizer::{ContainerizerError, ExecSpec, Namespaces, Rlimit, RlimitKind};

fn exec(text: &str) -> ExecSpec {
    ExecSpec {
        command: Command::Shell(text.into()),
        environment: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("WHO".into(), "check".into()),
        ],
        inherit: false,
        user: None,
        output_limit_bytes: 1000,
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[tokio::test]
async fn a_container_sees_itself_only() {
    let mut room = Room::new(Lifetime::Durable);
    if !room.containerizer.capabilities().namespaces {
        assert!(
            room.containerizer
                .capabilities()
                .warning()
                .unwrap()
                .contains("no namespaces")
        );
        return;
    }
    let mut spec = room.shell("inside", "echo /proc/[0-9]*; hostname; grep -c . /proc/net/dev; for n in pid mnt ipc uts net; do readlink /proc/self/ns/$n; done");
    spec.hostname = Some("tepui-inside".into());
    spec.namespaces.network = true;
    room.run(spec).await;
    let output = room.output("inside", "stdout");
    let mut lines = output.lines();
    let processes: Vec<_> = lines.next().unwrap().split(' ').collect();
    assert_eq!(
        processes,
        ["/proc/1", "/proc/2"],
        "init and the shell, nobody else"
    );
    assert_eq!(lines.next(), Some("tepui-inside"));
    assert_eq!(lines.next(), Some("3"), "two lines of heading and lo");
    for name in ["pid", "mnt", "ipc", "uts", "net"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(
            lines.next().unwrap(),
            own.to_str().unwrap(),
            "{name} is the host's"
        );
    }
    // The host's name and mounts are untouched.
    assert_ne!(nix::unistd::gethostname().unwrap(), "tepui-inside");
    let mut spec = room.shell(
        "mounts",
        "mount -t tmpfs none /mnt && touch /mnt/inside-only",
    );
    spec.namespaces.network = false;
    let exit = room.run(spec).await;
    if is_root() {
        assert_eq!(
            exit.status,
            Some(WaitStatus::exited(0)),
            "{}",
            room.output("mounts", "stderr")
        );
    }
    assert!(!Path::new("/mnt/inside-only").exists());
}

#[tokio::test]
async fn namespaces_that_are_not_wanted_are_the_hosts() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell("host", "for n in pid mnt ipc uts net user; do readlink /proc/self/ns/$n; done; (setsid sleep 100 &); exit 3");
    spec.namespaces = Namespaces {
        pid: false,
        mount: false,
        ipc: false,
        uts: false,
        network: false,
        user: false,
    };
    let sleeper = marker();
    spec.command = Command::Shell(format!(
        "for n in pid mnt ipc uts net; do readlink /proc/self/ns/$n; done; (setsid sleep {sleeper} &); exit 3"
    ));
    let exit = room.run(spec).await;
    assert_eq!(exit.status, Some(WaitStatus::exited(3)));
    let output = room.output("host", "stdout");
    for (line, name) in output.lines().zip(["pid", "mnt", "ipc", "uts", "net"]) {
        assert_eq!(
            Path::new(line),
            std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap()
        );
    }
    assert!(
        !runs(&sleeper),
        "without a pid namespace the daemon must be killed by hand"
    );
    let mut tree = room.shell(
        "tree",
        &format!("(setsid sleep {sleeper} &); sleep {sleeper}"),
    );
    tree.namespaces = Namespaces {
        pid: false,
        ..Namespaces::default()
    };
    room.start(tree).await;
    until("the daemon runs", || runs(&sleeper)).await;
    room.containerizer.destroy(&id("tree")).await.unwrap();
    assert!(!runs(&sleeper));
    room.assert_clean();
}

#[tokio::test]
async fn a_user_namespace_gives_no_power_over_the_host() {
    let mut room = Room::new(Lifetime::Durable);
    if !room.containerizer.capabilities().namespaces {
        return;
    }
    let mut spec = room.shell(
        "user",
        "id -u; readlink /proc/self/ns/user; date -s @0 >/dev/null 2>&1 && echo power",
    );
    spec.namespaces.user = true;
    room.run(spec).await;
    let output = room.output("user", "stdout");
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert_eq!(lines[0], nix::unistd::geteuid().to_string());
    assert_ne!(
        Path::new(lines[1]),
        std::fs::read_link("/proc/self/ns/user").unwrap()
    );
}

#[tokio::test]
async fn a_task_runs_as_its_user() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell("user", "id -un; id -Gn; echo x > /etc/passwd.new");
    spec.user = Some("nobody".into());
    if !is_root() {
        spec.user = Some("root".into());
        let error = room.containerizer.launch(spec).await.unwrap_err();
        assert!(
            error.to_string().contains("does not run as root"),
            "{error}"
        );
        return;
    }
    let path = room.folder.path().to_owned();
    for directory in [&path, &path.join("sandboxes")] {
        std::fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    let exit = room.run(spec).await;
    assert_ne!(exit.status, Some(WaitStatus::exited(0)));
    assert_eq!(
        room.output("user", "stdout"),
        "nobody\nnogroup\n",
        "{}",
        room.output("user", "stderr")
    );
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(path.join("sandboxes/user/stdout")).unwrap(),
    );
    assert_ne!(owner, 0, "the task's output belongs to the task's user");
    let mut unknown = room.shell("unknown", "true");
    unknown.user = Some("no-such-user-anywhere".into());
    let error = room.containerizer.launch(unknown).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot run as user 'no-such-user-anywhere': there is no such user on this machine"
    );
    room.assert_clean();
}

#[tokio::test]
async fn limits_per_process_are_set() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell("rlimits", "ulimit -n; ulimit -Hn; ulimit -c");
    spec.rlimits = vec![
        Rlimit {
            kind: RlimitKind::Nofile,
            soft: Some(100),
            hard: Some(200),
        },
        Rlimit {
            kind: RlimitKind::Core,
            soft: Some(0),
            hard: Some(0),
        },
    ];
    room.run(spec).await;
    assert_eq!(room.output("rlimits", "stdout"), "100\n200\n0\n");
    let mut refused = room.shell("refused", "true");
    refused.rlimits = vec![Rlimit {
        kind: RlimitKind::Nofile,
        soft: Some(200),
        hard: Some(100),
    }];
    room.containerizer.launch(refused).await.unwrap();
    match room.exit().await.reason {
        ExitReason::LaunchFailed(failure) => assert_eq!(
            failure.to_string(),
            "Failed to set the resource limit 'Nofile': Invalid argument"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_runs_inside_and_leaves_its_status_and_output() {
    let mut room = Room::new(Lifetime::Durable);
    let mut spec = room.shell("host", &format!("exec sleep {}", marker()));
    spec.hostname = Some("exec-test".into());
    room.start(spec).await;
    let inside = |text: &str| {
        let (containerizer, spec) = (room.containerizer.clone(), exec(text));
        async move { containerizer.exec(&id("host"), spec).await }
    };
    let output = inside("echo $WHO; pwd; echo bad >&2; exit 9")
        .await
        .unwrap();
    assert_eq!(output.status, WaitStatus::exited(9));
    assert_eq!(
        (
            String::from_utf8(output.stdout).unwrap().as_str(),
            output.stderr.as_slice()
        ),
        ("check\n/\n", b"bad\n".as_slice())
    );
    if room.containerizer.capabilities().namespaces {
        let output = inside("hostname; cat /proc/1/comm; cat /proc/self/cgroup")
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("exec-test\ntepui-init\n"), "{text}");
        if room.containerizer.capabilities().memory {
            assert!(
                text.contains(&format!("memory:/{}/host", room.cgroups_root))
                    || text.contains(&format!("0::/{}/host", room.cgroups_root))
            );
        }
    }
    // More output than is wanted is dropped, and does not block the command; a daemon that keeps the pipe does not hold the answer.
    let output = inside("yes | head -c 1000000; (sleep 50 &) ; exit 0")
        .await
        .unwrap();
    assert_eq!(
        (output.status, output.stdout.len()),
        (WaitStatus::exited(0), 1000)
    );
    let output = inside("kill -9 $$").await.unwrap();
    assert_eq!(output.status, WaitStatus::killed(9));
    let mut unknown = exec("");
    unknown.command = Command::Exec {
        executable: "no-such-program".into(),
        arguments: vec![],
    };
    let error = room
        .containerizer
        .exec(&id("host"), unknown)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Failed to execute 'no-such-program': No such file or directory"
    );
    // Given up: the command is killed.
    let slow = marker();
    let given_up = tokio::time::timeout(
        Duration::from_millis(300),
        inside(&format!("sleep {slow}; true")),
    )
    .await;
    assert!(given_up.is_err());
    until("the command that was given up ends", || !runs(&slow)).await;
    room.containerizer.destroy(&id("host")).await.unwrap();
    assert!(matches!(
        inside("true").await,
        Err(ContainerizerError::NotRunning(_))
    ));
}
