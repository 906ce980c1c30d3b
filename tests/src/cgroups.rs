//! Ending what runs in cgroups, whatever the hierarchy.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

/// How long killed processes may take to go.
const LIMIT: Duration = Duration::from_secs(10);

/// The cgroups below the one of this name, in every hierarchy.
#[must_use]
pub fn children(name: &str) -> Vec<PathBuf> {
    roots(name).iter().flat_map(|root| below(root)).collect()
}

/// The cgroups of this name, in every hierarchy.
fn roots(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    hierarchies
        .chain([top.to_path_buf()])
        .map(|path| path.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

/// Kills everything in the cgroups of this name, in every hierarchy, and removes them. What resists is left: the test that it belongs to is over.
pub fn empty(name: &str) {
    let roots = roots(name);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let pids: Vec<i32> = roots.iter().flat_map(|root| processes(root)).collect();
        for pid in &pids {
            let _ = signal::kill(Pid::from_raw(*pid), Signal::SIGKILL); // it may have gone
        }
        roots.iter().for_each(|root| remove(root));
        if pids.is_empty() && roots.iter().all(|root| !root.exists()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn below(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn processes(cgroup: &Path) -> Vec<i32> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    below(cgroup)
        .iter()
        .flat_map(|child| processes(child))
        .chain(own)
        .collect()
}

fn remove(cgroup: &Path) {
    below(cgroup).iter().for_each(|child| remove(child));
    let _ = fs::remove_dir(cgroup); // not while something is in it
}
