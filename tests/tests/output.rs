//! What processes make of what they are given: nobody who reads what they say, nowhere to write it, few descriptors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output, Stdio};

use tepui_tests::{
    PATIENCE,
    process::{Process, free_port, tepui},
    until,
};

/// Many lines, without a cluster.
fn completions(stdout: Stdio) -> Output {
    Command::new(tepui())
        .args(["completions", "bash"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = completions(writer.into());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), said.as_ref()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_said() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let done = completions(full.into());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn a_master_takes_all_descriptors_that_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 200; ulimit -Hn 3000; exec \"$0\" \"$@\""])
        .arg(tepui())
        .args(["master", "--ip=127.0.0.1"])
        .arg(format!("--port={}", free_port()))
        .arg(format!("--work_dir={}", folder.path().display()));
    let master = Process::start("master", shell);
    let limits = format!("/proc/{}/limits", master.pid());
    until("as many descriptors as it may have", PATIENCE, || {
        let limits = std::fs::read_to_string(&limits).ok()?;
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(3..5)? == ["3000", "3000"]).then_some(())
    });
}
