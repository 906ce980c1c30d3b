//! The web UI in a real browser, on a real cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Command, time::Duration};

use tepui_tests::{
    PATIENCE,
    process::{Process, free_port},
    until,
};

#[test]
fn the_web_ui_works_in_a_browser() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(
        script.join("node_modules").exists(),
        "what the browser test needs is not there: run ./test, which installs it"
    );
    let (port, marathon) = until("four free ports", PATIENCE, || {
        let port = free_port();
        let free = |port: u16, ip: &str| std::net::TcpListener::bind((ip, port)).is_ok();
        (port < 60_000 && free(port + 1, "127.0.1.1") && free(port + 2, "127.0.1.2"))
            .then(|| (port, free_port()))
    });
    let platform = Process::tepui(&[
        "local",
        &format!("--port={port}"),
        &format!("--marathon-port={marathon}"),
    ]);
    until("the platform", PATIENCE, || {
        platform.log().contains("Tepui is up").then_some(())
    });
    let mut command = Command::new("node");
    command
        .arg("run.mjs")
        .arg(format!("http://127.0.0.1:{port}"))
        .current_dir(script);
    let mut browser = Process::start("the browser test", command);
    let status = browser.ended(Duration::from_secs(900));
    println!("{}", browser.log());
    assert!(status.success(), "the browser test has failed");
}
