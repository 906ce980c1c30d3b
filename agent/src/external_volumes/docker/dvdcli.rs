//! The program `dvdcli`: `dvdcli mount --volumedriver=D --volumename=N [--volumeopts=K=V]…` answers where it has mounted a volume, and
//! `dvdcli unmount --volumedriver=D --volumename=N` takes it away. Each is given Mesos' two minutes.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{Failure, Key, Wanted, storage};
use crate::containerizer::DEFAULT_PATH;

const NAME: &str = "dvdcli";
/// As in Mesos.
const PATIENCE: Duration = Duration::from_secs(120);
/// For what is still in the pipes when the program has ended. What it has left running may keep them open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Of each of what the program answers and what it complains about; the rest is read and forgotten.
const MAX_SAID_BYTES: usize = 16 << 10;

/// Where the program is.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    patience: Duration,
}

/// The agent's own PATH, and then the usual places.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(DEFAULT_PATH);
    path
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl Program {
    /// Looks for it each time: it may be installed while the agent runs.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, String> {
        let path = match given {
            Some(path) => Some(path.to_owned()).filter(|path| is_program(path)),
            None => std::env::split_paths(&search_path())
                .map(|directory| directory.join(NAME))
                .find(|path| path.is_absolute() && is_program(path)),
        };
        let path = path.ok_or_else(|| {
            format!("the program '{NAME}', which asks docker volume drivers for volumes, is missing: put it into the agent's PATH")
        })?;
        Ok(Self {
            path,
            patience: PATIENCE,
        })
    }

    #[cfg(test)]
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Mounts a volume; where it is.
    pub(super) async fn mount(&self, wanted: &Wanted) -> Result<PathBuf, Failure> {
        let mut command = self.command("mount", &wanted.key);
        for (key, value) in &wanted.options {
            command.arg(format!("--volumeopts={key}={value}"));
        }
        let (status, answer, complaint) = self.run(command).await?;
        if !status.success() {
            return Err(Failure::Refused(failed(status, &complaint)));
        }
        let place = PathBuf::from(answer.trim());
        let is_there = || storage::ask(&place, Path::is_dir);
        if !place.is_absolute() || !is_there().await.map_err(Failure::Unclear)? {
            return Err(Failure::Unclear(format!(
                "{NAME} answered '{}', which is no directory of this machine",
                answer.trim().escape_debug()
            )));
        }
        Ok(place)
    }

    /// Unmounts a volume.
    pub(super) async fn unmount(&self, key: &Key) -> Result<(), String> {
        let ended = self.run(self.command("unmount", key)).await;
        let (status, _, complaint) = ended.map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Unclear(why) => why,
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(status, &complaint))
        }
    }

    fn command(&self, action: &str, key: &Key) -> Command {
        let mut command = Command::new(&self.path);
        command
            .arg(action)
            .arg(format!("--volumedriver={}", key.driver))
            .arg(format!("--volumename={}", key.name))
            .env("PATH", search_path());
        command
    }

    /// Runs it to its end: how it ended, what it answered and what it complained about.
    async fn run(&self, mut command: Command) -> Result<(ExitStatus, String, String), Failure> {
        let failed = |error: std::io::Error| format!("cannot run {}: {error}", self.path.display());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts ends with it when its time is over.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::Refused(failed(error)))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let (answer, complaint) = (Said::default(), Said::default());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (to_answer, to_complaint) = (answer.clone(), complaint.clone());
        let mut listening = tokio::spawn(async move {
            tokio::join!(to_answer.listen(stdout), to_complaint.listen(stderr))
        });
        let ended = tokio::time::timeout(self.patience, child.wait()).await;
        if ended.is_err() {
            if let Some(group) = group {
                // It may have ended this moment.
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait().await;
        }
        let _ = tokio::time::timeout(LAST_WORDS, &mut listening).await;
        listening.abort();
        match ended {
            Ok(Ok(status)) => Ok((status, answer.text(), complaint.text())),
            Ok(Err(error)) => Err(Failure::Unclear(failed(error))),
            Err(_) => Err(Failure::Unclear(format!(
                "{NAME} did not end within {:?}{}",
                self.patience,
                after_colon(&complaint.text())
            ))),
        }
    }
}

fn failed(status: ExitStatus, complaint: &str) -> String {
    format!("{NAME} ended with {status}{}", after_colon(complaint))
}

fn after_colon(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().map(str::trim_end).collect();
    let said = lines.join("; ");
    match said.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

/// What a program has said so far.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    async fn listen(self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
            let mut said = self.0.lock();
            let room = MAX_SAID_BYTES - said.len();
            said.extend_from_slice(&chunk[..read.min(room)]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}
