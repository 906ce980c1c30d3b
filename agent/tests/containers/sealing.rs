//! What programs in containers can never have again: privileges, and system calls.

use super::*;
use nix::libc;
use tepui_agent::containerizer::seccomp::{Filter, Situation};
use tepui_agent::containerizer::{ExecSpec, LaunchSpec};

/// A profile that allows everything but this.
fn all_but(rule: &str) -> Option<Filter> {
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}}],"syscalls":[{rule}]}}"#
    );
    Some(Filter::from_json(json.as_bytes(), &Situation::here(None)).unwrap())
}

fn no_directories() -> Option<Filter> {
    all_but(r#"{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}"#)
}

fn sealed(mut spec: LaunchSpec, filter: Option<Filter>) -> LaunchSpec {
    spec.seal.filter = filter;
    spec
}

#[tokio::test]
async fn calls_that_a_filter_forbids_fail_for_all_that_a_container_runs() {
    let mut room = Room::new(Lifetime::Durable);
    let text = "grep Seccomp: /proc/self/status; mkdir made; (mkdir made-too); echo $?; : > tried; exec sleep 1000";
    let spec = sealed(room.shell("task", text), no_directories());
    room.start(spec).await;
    let tried = room.folder.path().join("sandboxes/task/tried");
    until("the task has tried", || tried.exists()).await;
    let output = room.output("task", "stdout");
    assert!(output.starts_with("Seccomp:\t2\n"), "{output}");
    assert!(output.ends_with("\n1\n"), "{output}");
    let errors = room.output("task", "stderr");
    // The error is the one that the profile says.
    assert_eq!(
        errors.matches("No space left on device").count(),
        2,
        "{errors}"
    );
    // A command that joins the container is under it too, also after the agent was started anew.
    for life in ["the first", "the second"] {
        let inside = ExecSpec {
            command: Command::Shell("mkdir /tmp/never-made".into()),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            inherit: false,
            user: None,
            output_limit_bytes: 1000,
        };
        let output = room.containerizer.exec(&id("task"), inside).await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("No space left on device"), "{life}: {text}");
        if life == "the first" {
            room.reopen();
            room.containerizer.recover(&[id("task")]).await.unwrap();
        }
    }
    room.containerizer.destroy(&id("task")).await.unwrap();
    room.assert_clean();
}

#[tokio::test]
async fn arguments_decide_where_a_profile_says_so() {
    let mut room = Room::new(Lifetime::Durable);
    // kill(2) with signal 10 fails, with 0 it does not; the second argument is compared by all of its bits.
    let rule = r#"{"names":["kill"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[{"index":1,"value":10,"op":"SCMP_CMP_EQ"}]}"#;
    let spec = sealed(
        room.shell("kill", "kill -0 $$; echo $?; kill -10 $$; echo $?"),
        all_but(rule),
    );
    assert_eq!(room.run(spec).await.status, Some(WaitStatus::exited(0)));
    assert_eq!(room.output("kill", "stdout"), "0\n1\n");
    // A call may end the program that makes it.
    let rule = r#"{"names":["sysinfo"],"action":"SCMP_ACT_KILL_PROCESS"}"#;
    let mut spec = sealed(room.shell("end", ""), all_but(rule));
    spec.command = Command::Exec {
        executable: "/bin/busybox".into(),
        arguments: vec!["busybox".into(), "free".into()],
    };
    assert_eq!(
        room.run(spec).await.status,
        Some(WaitStatus::killed(libc::SIGSYS))
    );
}

#[tokio::test]
async fn a_filter_that_forbids_the_launch_says_so() {
    let mut room = Room::new(Lifetime::Durable);
    let spec = sealed(
        room.shell("stuck", "true"),
        all_but(r#"{"names":["execve"],"action":"SCMP_ACT_ERRNO","errnoRet":13}"#),
    );
    room.containerizer.launch(spec).await.unwrap();
    match room.exit().await.reason {
        ExitReason::LaunchFailed(failure) => {
            assert_eq!(
                failure.to_string(),
                "Failed to execute '/bin/sh': Permission denied"
            );
        }
        other => panic!("{other:?}"),
    }
    room.containerizer.destroy(&id("stuck")).await.unwrap();
    room.assert_clean();
}

#[tokio::test]
async fn another_user_is_under_the_filter_and_may_be_kept_from_new_privileges() {
    let mut room = Room::new(Lifetime::Durable);
    if !nix::unistd::geteuid().is_root() {
        // Without privileges a filter is only to be had with no_new_privs, which it then brings.
        let spec = sealed(
            room.shell("own", "grep NoNewPrivs: /proc/self/status; mkdir made"),
            no_directories(),
        );
        let exit = room.run(spec).await;
        assert_eq!(exit.status, Some(WaitStatus::exited(1)));
        return;
    }
    let open: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let path = room.folder.path().to_owned();
    for directory in [&path, &path.join("sandboxes")] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::set_permissions(directory, open.clone()).unwrap();
    }
    for (name, forgoes, told) in [("may", false, "0"), ("may-not", true, "1")] {
        let text = "id -un; grep NoNewPrivs: /proc/self/status; grep Seccomp: /proc/self/status";
        let mut spec = sealed(room.shell(name, text), no_directories());
        spec.user = Some("nobody".into());
        spec.seal.no_new_privileges = forgoes;
        room.run(spec).await;
        assert_eq!(
            room.output(name, "stdout"),
            format!("nobody\nNoNewPrivs:\t{told}\nSeccomp:\t2\n"),
            "{}",
            room.output(name, "stderr")
        );
    }
}

#[tokio::test]
async fn the_built_in_profile_lets_programs_run() {
    let mut room = Room::new(Lifetime::Durable);
    let filter = Filter::builtin(&Situation::here(Some(0))).unwrap();
    // Threads (sort has some for so many lines), processes, pipes, sockets, time; then a namespace, which needs no capability elsewhere.
    let text = "seq 300000 | sort -n --parallel=2 | tail -n 1
perl -MSocket -e 'socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die; syswrite(A, q(x)); sysread(B, $x, 1); fork or exit; wait; print qq($x\\n) if time'
unshare -U true; echo $?";
    let spec = sealed(room.shell("runs", text), Some(filter));
    let exit = room.run(spec).await;
    assert_eq!(exit.status, Some(WaitStatus::exited(0)));
    let (output, errors) = (room.output("runs", "stdout"), room.output("runs", "stderr"));
    assert_eq!(output, "300000\nx\n1\n", "{errors}");
    assert!(errors.contains("Operation not permitted"), "{errors}");
}
