//! Tests that mount run again in a mount namespace of their own, so that nothing of it stays on the machine.

use std::process::Command;

use crate::privileged::privileged;

const OWN_MOUNTS: &str = "TEPUI_TEST_IN_OWN_MOUNTS";

/// Whether this process has mounts of its own; if not, runs the test of this name in one that has. Who is not root can have none; see [`privileged`].
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    if !privileged() {
        return false;
    }
    // Shared, as on most machines: containers' mounts are slaves of these.
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "slave", "sh", "-c"])
        .args(["mount --make-rshared / && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OWN_MOUNTS, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
