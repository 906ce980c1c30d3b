//! `tepui local`: what a newcomer sees, what is left behind, and what comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tepui_tests::{
    PATIENCE,
    client::{get, get_json},
    cluster::running,
    process::{Process, Signal, free_port, tepui},
    until,
};

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/hello.json");

/// Free ports for a master with its agents after it, and for Marathon.
fn ports() -> (u16, u16) {
    let master = until("three ports in a row", PATIENCE, || {
        let first = free_port();
        let free = |port: u16, ip: &str| TcpListener::bind((ip, port)).is_ok();
        (first < 60_000 && free(first + 1, "127.0.1.1") && free(first + 2, "127.0.1.2"))
            .then_some(first)
    });
    (master, free_port())
}

fn local(args: &[&str]) -> (Process, String, String) {
    let (master, marathon) = ports();
    let mut all = vec![
        "local".to_owned(),
        format!("--port={master}"),
        format!("--marathon-port={marathon}"),
    ];
    all.extend(args.iter().map(|&arg| arg.to_owned()));
    let process = Process::tepui(&all);
    (
        process,
        format!("http://127.0.0.1:{master}"),
        format!("http://127.0.0.1:{marathon}"),
    )
}

fn refused(args: &[&str]) -> Output {
    Command::new(tepui())
        .arg("local")
        .args(args)
        .output()
        .unwrap()
}

/// Command lines of all processes that hold this text in their environment or command line.
fn processes_of(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let read = |name: &str| {
                fs::read(entry.path().join(name))
                    .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
            };
            let (line, environment) = (read("cmdline").ok()?, read("environ").unwrap_or_default());
            (line.contains(text) || environment.contains(text)).then_some(line)
        })
        .collect()
}

fn mounts_and_cgroups_of(text: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned);
    let found = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-maxdepth",
            "4",
            "-name",
            &format!("*{text}*"),
        ])
        .output()
        .unwrap();
    let cgroups = String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    mounts.chain(cgroups).collect()
}

#[test]
fn an_app_runs_and_nothing_is_left_after_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    let (mut process, master, marathon) = local(&["--work-dir", place.to_str().unwrap(), HELLO]);
    until("all instances", PATIENCE, || {
        process
            .log()
            .contains("All instances are there")
            .then_some(())
    });
    let log = process.log();
    println!("{log}");
    for expected in [
        format!("UI        {master}/"),
        format!("API       {marathon}/v2/apps"),
        "3 wanted, 0 staged, 3 running, 3 healthy".into(),
    ] {
        assert!(log.contains(&expected), "`{expected}` is missing in: {log}");
    }
    let instances: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("instance")?
                .split_whitespace()
                .next()
        })
        .collect();
    assert_eq!(instances.len(), 3);
    for url in &instances {
        assert!(
            get(url)
                .unwrap()
                .body
                .starts_with("Hello from hello.instance-")
        );
    }
    let cgroups = fs::read_to_string(place.join("cgroups")).unwrap();
    let place = place.to_str().unwrap();
    assert!(
        !processes_of(place).is_empty() && !mounts_and_cgroups_of(&cgroups).is_empty(),
        "there was something to leave behind"
    );
    process.signal(Signal::SIGINT);
    assert!(process.ended(PATIENCE).success());
    assert_eq!(processes_of(place), [""; 0], "processes are left");
    assert_eq!(
        mounts_and_cgroups_of(&cgroups),
        [""; 0],
        "mounts or cgroups are left"
    );

    // What it knew is there for the next start.
    let (process, _, marathon) = local(&["--work-dir", place]);
    until("the next start", PATIENCE, || {
        process.log().contains("Tepui is up").then_some(())
    });
    let _ = running(&marathon, "/hello", 3);
}

#[test]
fn a_killed_platform_takes_its_tasks_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    let (mut process, _, _) = local(&["--work-dir", place.to_str().unwrap(), HELLO]);
    until("all instances", PATIENCE, || {
        process
            .log()
            .contains("All instances are there")
            .then_some(())
    });
    let place = place.to_str().unwrap();
    let cgroups = fs::read_to_string(Path::new(place).join("cgroups")).unwrap();
    process.kill();
    until("the end of everything", PATIENCE, || {
        processes_of(place).is_empty().then_some(())
    });
    until("the removal of its cgroups", PATIENCE, || {
        mounts_and_cgroups_of(&cgroups).is_empty().then_some(())
    });
}

#[test]
fn what_cannot_work_is_said_in_a_sentence_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("--port={}", busy.local_addr().unwrap().port());
    let (master, marathon) = ports();
    let (port, marathon_port) = (
        format!("--port={master}"),
        format!("--marathon-port={marathon}"),
    );
    let plain = file("plain", "");
    for (args, expected) in [
        (vec![busy.as_str()], "cannot listen there"),
        (
            vec![&port, &marathon_port, "--work-dir", &plain],
            "cannot be made",
        ),
        (
            vec![&port, &marathon_port, &file("broken.json", "{\"id\": ")],
            "is not valid JSON",
        ),
        (
            vec![
                &port,
                &marathon_port,
                &file("no-id.json", "{\"cmd\": \"true\"}"),
            ],
            "has no `id`",
        ),
        (
            vec![&port, &marathon_port, "/nowhere.json"],
            "cannot be read",
        ),
        (vec!["--agents=0"], "0 is not in 1..=64"),
        (vec!["--nothing"], "unexpected argument '--nothing'"),
    ] {
        let output = refused(&args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(expected), "{args:?}: {told}");
        assert_eq!(output.stdout, b"", "{args:?}: nothing has started");
    }
}

#[test]
fn the_commands_work_on_a_running_platform() {
    let (process, master, marathon) = local(&[HELLO]);
    until("all instances", PATIENCE, || {
        process
            .log()
            .contains("All instances are there")
            .then_some(())
    });
    let tepui = |args: &[&str]| {
        let output = Command::new(tepui())
            .args(args)
            .env("TEPUI_MASTER", &master)
            .env("TEPUI_MARATHON", &marathon)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    // A check that takes too long on a busy machine is made good by the next.
    until("three good instances", PATIENCE, || {
        let listed = tepui(&["app", "list"]);
        listed.contains("/hello  3 of 3     3 good").then_some(())
    });
    assert!(tepui(&["node", "list"]).contains("127.0.1.2"));
    assert!(tepui(&["framework", "list"]).contains("marathon"));
    let tasks: Value = serde_json::from_str(&tepui(&["task", "list", "--json"])).unwrap();
    assert_eq!(tasks.as_array().unwrap().len(), 3);
    let task = tasks[0]["id"].as_str().unwrap();
    until("a line in its log", PATIENCE, || {
        tepui(&["task", "logs", task])
            .contains("answered GET / HTTP")
            .then_some(())
    });
    let both = tepui(&["task", "logs", task, tasks[1]["id"].as_str().unwrap()]);
    assert!(
        both.lines().all(|line| line.starts_with("hello.")),
        "{both}"
    );
    let exec = |args: &[&str], typed: &str| {
        let mut child = Command::new(tepui_tests::process::tepui())
            .args([&["task", "exec"], args].concat())
            .env("TEPUI_MASTER", &master)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let shell = "echo $MARATHON_APP_ID; echo oops >&2; exit 7";
    assert_eq!(
        exec(&[task, "sh", "-c", shell], ""),
        (Some(7), "/hello\n".into(), "oops\n".into())
    );
    assert_eq!(
        exec(&["-i", task, "cat"], "typed"),
        (Some(0), "typed".into(), String::new())
    );
    let (status, out, _) = exec(&["-t", task, "sh", "-c", "tty; stty size; exit 3"], "");
    assert_eq!(status, Some(3));
    assert!(
        out.starts_with("/dev/pts/") && out.ends_with("24 80\r\n"),
        "{out}"
    );
    let (status, _, told) = exec(&[task, "/nowhere"], "");
    assert_eq!(status, Some(1));
    assert!(told.contains("Failed to execute '/nowhere'"), "{told}");
    assert!(tepui(&["task", "files", "ls", task]).contains("stdout"));
    let log = tepui(&["task", "files", "cat", task, "stdout"]);
    assert!(tepui(&["task", "logs", task]).starts_with(&log));
    assert!(tepui(&["app", "scale", "/hello", "4"]).contains("done in"));
    assert_eq!(running(&marathon, "/hello", 4).len(), 4);
    assert!(tepui(&["task", "kill", task]).contains("asked to kill"));
    until("its replacement", PATIENCE, || {
        (!running(&marathon, "/hello", 4).contains(&task.to_owned())).then_some(())
    });
    assert!(tepui(&["app", "show", "/hello"]).contains("healthy"));
    assert!(tepui(&["app", "restart", "/hello"]).contains("done in"));
    assert!(tepui(&["app", "destroy", "/hello"]).contains("done in"));
    assert_eq!(
        get_json(&format!("{marathon}/v2/apps")).unwrap()["apps"],
        serde_json::json!([])
    );
    assert!(tepui(&["completions", "bash"]).contains("_tepui"));
    let unknown = Command::new(tepui_tests::process::tepui())
        .args(["app", "show", "/none"])
        .env("TEPUI_MARATHON", &marathon)
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("App '/none' does not exist"));
}
