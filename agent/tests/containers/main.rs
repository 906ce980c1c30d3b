//! Containers on this very machine: real processes, namespaces and cgroups.
//!
//! As root everything is checked. Where something cannot be had (not root, no cgroups), the tests check that the containerizer says so.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected is to fail there"
)]

mod block_io;
mod holders;
mod isolation;
mod lifecycle;
mod limits;
mod recovery;
mod sealing;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tepui_agent::containerizer::{
    Command, ContainerEvent, ContainerId, Containerizer, ContainerizerConfig, Exit, ExitReason,
    KillScope, LaunchSpec, Lifetime, WaitStatus,
};
use tokio::sync::mpsc::Receiver;

/// Longer than anything takes, even on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// One agent's containers, in a directory and a cgroup root of its own.
struct Room {
    folder: tempfile::TempDir,
    cgroups_root: String,
    lifetime: Lifetime,
    containerizer: Containerizer,
    events: Receiver<ContainerEvent>,
}

impl Room {
    fn new(lifetime: Lifetime) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let cgroups_root = format!(
            "tepui-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let (containerizer, events) = open(folder.path(), &cgroups_root, lifetime);
        Self {
            folder,
            cgroups_root,
            lifetime,
            containerizer,
            events,
        }
    }

    fn runtime_dir(&self) -> PathBuf {
        self.folder.path().join("runtime")
    }

    /// A shell command with a sandbox of its own.
    fn shell(&self, name: &str, text: &str) -> LaunchSpec {
        let sandbox = self.folder.path().join("sandboxes").join(name);
        std::fs::create_dir_all(&sandbox).unwrap();
        let mut spec = LaunchSpec::new(id(name), Command::Shell(text.into()), sandbox);
        spec.environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
        spec
    }

    async fn next(&mut self) -> ContainerEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event")
            .expect("a stream")
    }

    /// Launches and waits until it runs.
    async fn start(&mut self, spec: LaunchSpec) -> u32 {
        let name = spec.container.clone();
        self.containerizer.launch(spec).await.unwrap();
        match self.next().await {
            ContainerEvent::Started { container, pid } if container == name => pid,
            other => panic!("instead of a start: {other:?}"),
        }
    }

    async fn exit(&mut self) -> Exit {
        match self.next().await {
            ContainerEvent::Exited { exit, .. } => exit,
            other => panic!("instead of an exit: {other:?}"),
        }
    }

    /// Runs to its end and destroys it.
    async fn run(&mut self, spec: LaunchSpec) -> Exit {
        let name = spec.container.clone();
        self.start(spec).await;
        let exit = self.exit().await;
        self.containerizer.destroy(&name).await.unwrap();
        exit
    }

    fn output(&self, name: &str, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("sandboxes").join(name).join(file)).unwrap()
    }

    /// What a new agent process finds: everything but the files is forgotten.
    fn reopen(&mut self) {
        (self.containerizer, self.events) =
            open(self.folder.path(), &self.cgroups_root, self.lifetime);
    }

    /// Our directories in all hierarchies.
    fn cgroups(&self) -> Vec<PathBuf> {
        cgroups(&self.cgroups_root)
    }

    /// Fails if any container left anything.
    fn assert_clean(&self) {
        let records: Vec<_> = std::fs::read_dir(self.runtime_dir().join("containers"))
            .unwrap()
            .collect();
        assert!(records.is_empty(), "records left: {records:?}");
        for root in self.cgroups() {
            let left: Vec<_> = std::fs::read_dir(&root)
                .unwrap()
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .collect();
            assert!(left.is_empty(), "cgroups left: {left:?}");
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for root in self.cgroups() {
            let _ = std::fs::remove_dir(root);
        }
    }
}

fn open(
    folder: &Path,
    cgroups_root: &str,
    lifetime: Lifetime,
) -> (Containerizer, Receiver<ContainerEvent>) {
    let config = ContainerizerConfig {
        runtime_dir: folder.join("runtime"),
        cgroups_root: cgroups_root.to_owned(),
        measure_block_io: true,
        lifetime,
    };
    Containerizer::start(config).unwrap()
}

fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

/// The directories of a cgroup root, in whichever hierarchies have it.
fn cgroups(cgroups_root: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroup = mounts.lines().filter(|line| line.contains(" - cgroup"));
    cgroup
        .map(|line| Path::new(line.split(' ').nth(4).unwrap()).join(cgroups_root))
        .filter(|path| path.is_dir())
        .collect()
}

/// Waits for something outside of this process that announces itself to nobody.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether any process has `marker` in its command line.
fn runs(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        std::fs::read(entry.path().join("cmdline")).ok()
    });
    lines.any(|line| {
        line.windows(marker.len())
            .any(|window| window == marker.as_bytes())
    })
}

/// A number of seconds to sleep that no other test sleeps, to be found in command lines.
fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}.{}",
        100_000 + std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}
