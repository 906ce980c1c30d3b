//! The agent's eye on one container: from the supervisor's socket (or, after a restart, its pidfd) to the event stream.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::Interest;

use super::event::{ContainerEvent, Exit, ExitReason, LaunchFailure};
use super::isolators;
use super::launcher::Reports;
use super::record::{self, Durability, LaunchRecord};
use super::spec::ContainerId;
use super::{Inner, Running, Stage, State};
use crate::supervisor::message::{self, Report};
use crate::supervisor::sys;

/// Follows a container that this process has launched.
pub(super) async fn follow_launch(inner: Arc<Inner>, container: ContainerId, reports: Reports) {
    let mut failure = None;
    loop {
        let report = reports
            .async_io(Interest::READABLE, |socket| {
                message::receive_report(socket.as_fd())
            })
            .await;
        match report {
            Ok(Some(Report::Started { supervisor, init })) => {
                let pid = init.pid.unsigned_abs();
                inner.started(&container, Running { supervisor, init });
                let _ = inner
                    .events
                    .send(ContainerEvent::Started {
                        container: container.clone(),
                        pid,
                    })
                    .await;
            }
            Ok(Some(Report::Failed(told))) => failure = Some(told),
            Ok(Some(Report::Ended(_))) => {}
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%container, %error, "the supervisor's report cannot be read");
                break;
            }
        }
    }
    drop(reports);
    ended(inner, container, failure).await;
}

/// Follows a container that an earlier process has launched.
pub(super) async fn follow_recovered(
    inner: Arc<Inner>,
    container: ContainerId,
    supervisor: OwnedFd,
) {
    match sys::register(supervisor, Interest::READABLE) {
        // A pidfd is readable once its process has ended.
        Ok(pidfd) => drop(pidfd.readable().await),
        Err(error) => {
            tracing::error!(%container, %error, "the supervisor of a recovered container cannot be watched")
        }
    }
    ended(inner, container, None).await;
}

/// The supervisor is gone: learns how its container ended, and tells.
async fn ended(inner: Arc<Inner>, container: ContainerId, failure: Option<LaunchFailure>) {
    let directory = record::directory(&inner.config.runtime_dir, container.as_str());
    let exit = match record::read::<Exit>(&directory, record::EXIT_FILE) {
        // Written just now: it is in memory, and reading it does not wait for a disk.
        Ok(Some(exit)) => exit,
        _ => match tokio::task::spawn_blocking(move || conclude(&directory, failure))
            .await
            .map_err(io::Error::other)
            .flatten()
        {
            Ok(exit) => exit,
            Err(error) => {
                tracing::error!(%container, %error, "how the container ended cannot be found out");
                lost(None)
            }
        },
    };
    // Before the event: who has seen it finds nothing running. Who waits for the end in `destroy` is told after, and finds the event in the stream.
    inner.ended(&container);
    let _ = inner
        .events
        .send(ContainerEvent::Exited {
            container: container.clone(),
            exit,
        })
        .await;
    inner.tell_end(&container);
}

/// The exit of a container whose supervisor is gone. One that left none was killed: its container, which dies with it, is cleared away here, and
/// the exit written in its stead.
pub(super) fn conclude(
    directory: &std::path::Path,
    failure: Option<LaunchFailure>,
) -> io::Result<Exit> {
    if let Some(exit) = record::read::<Exit>(directory, record::EXIT_FILE)? {
        return Ok(exit);
    }
    let exit = match record::read::<LaunchRecord>(directory, record::LAUNCH_FILE)? {
        Some(launch) => {
            clear_away(&launch)?;
            lost(None)
        }
        None => lost(Some(failure.unwrap_or_else(|| {
            message::failure("launch the container: its supervisor was killed", "", 0)
        }))),
    };
    if directory.exists() {
        record::write(directory, record::EXIT_FILE, &exit, Durability::Process)?;
    }
    Ok(exit)
}

/// Ends what a supervisor that was killed has left: its init, if the kernel has not yet, its cgroups and whoever is in them.
pub(super) fn clear_away(launch: &LaunchRecord) -> io::Result<()> {
    if record::boot_id()? == launch.boot_id {
        launch.init.kill_and_wait()?;
        isolators::of_running(&launch.placement).cleanup();
    }
    Ok(())
}

fn lost(failure: Option<LaunchFailure>) -> Exit {
    let ended_at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    Exit {
        status: None,
        reason: failure.map_or(ExitReason::Lost, ExitReason::LaunchFailed),
        ended_at_ms,
        usage: None,
    }
}

impl Inner {
    /// Notes whom to signal, and carries out what was asked for before.
    fn started(&self, container: &ContainerId, running: Running) {
        let waiting = {
            let mut containers = self.containers.lock();
            let Some(entry) = containers.get_mut(container) else {
                return;
            };
            let before = std::mem::replace(&mut entry.state, State::Running(running));
            entry.stage.send_replace(Stage::Running);
            match before {
                State::Launching { orders } => orders,
                State::Running(_) | State::Ended => Vec::new(),
            }
        };
        for order in waiting {
            if let Err(error) = running.order(order) {
                tracing::warn!(%container, %error, "a signal that was asked for before the start was not delivered");
            }
        }
    }

    fn ended(&self, container: &ContainerId) {
        if let Some(entry) = self.containers.lock().get_mut(container) {
            entry.state = State::Ended;
        }
    }

    fn tell_end(&self, container: &ContainerId) {
        if let Some(entry) = self.containers.lock().get(container) {
            entry.stage.send_replace(Stage::Ended);
        }
    }
}
