//! The helper beside an exec: enters a container's namespaces, runs one command there and reports how it ended.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, pipe2};

use super::message::{
    Exec, MAX_FAILURE_BYTES, Probe, Report, failed, failed_io, failure, report, unpack,
};
use super::sys::{self, Fork};
use super::task;
use crate::containerizer::isolators;
use crate::containerizer::{LaunchFailure, WaitStatus};

/// Runs the helper, in the process that the launcher has just forked for it. `fds`: the container's init, standard output, standard error.
pub(super) fn main(content: OwnedFd, reports: OwnedFd, fds: Vec<OwnedFd>) -> ! {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"tepui-exec");
    let told = match run(content, &reports, fds) {
        Ok(status) => Report::Ended(status),
        Err(failure) => Report::Failed(failure),
    };
    let _ = report(reports.as_fd(), &told);
    sys::exit(0);
}

fn run(
    content: OwnedFd,
    reports: &OwnedFd,
    fds: Vec<OwnedFd>,
) -> Result<WaitStatus, LaunchFailure> {
    let exec: Exec = unpack(content).map_err(failed_io("read the exec request", ""))?;
    let mut fds = fds.into_iter();
    let incomplete = || failure("read the exec request", "descriptors", 0);
    let init = fds.next().ok_or_else(incomplete)?;
    let (stdout, stderr) = task::pipes(&mut fds).ok_or_else(incomplete)?;
    let mut isolators = isolators::of_exec(&exec);
    isolators.open()?;
    let flags = CloneFlags::from_bits_truncate(isolators.clone_flags() as i32);
    if !flags.is_empty() {
        setns(&init, flags).map_err(failed("enter the container's namespaces", ""))?;
    }
    drop(init);
    let (failures, failures_in) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let child = match sys::fork(0, isolators.cgroup()).map_err(failed("fork", ""))? {
        Fork::Child => task::main(
            &exec.program,
            &isolators,
            failures_in.as_fd(),
            task::Output::Pipes(&stdout, &stderr),
        ),
        Fork::Parent(pid) => pid,
    };
    drop((failures_in, stdout, stderr));
    let status = wait(child, reports)?;
    let mut bytes = [0u8; MAX_FAILURE_BYTES];
    match nix::unistd::read(&failures, &mut bytes) {
        Ok(length) if length > 0 => Err(serde_json::from_slice(&bytes[..length])
            .unwrap_or_else(|_| failure("understand why the command could not be run", "", 0))),
        _ => Ok(status),
    }
}

/// Waits for the command; kills it, and what shares its session, if the agent hangs up.
fn wait(child: i32, reports: &OwnedFd) -> Result<WaitStatus, LaunchFailure> {
    let pidfd = sys::pidfd_open(child).map_err(failed("watch the command", ""))?;
    loop {
        let mut fds = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(reports.as_fd(), PollFlags::empty()),
        ];
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if fds[1].any().unwrap_or(false) {
            // Its group exists once it has made its session; before that there is only itself.
            let _ = killpg(Pid::from_raw(child), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        } else if !fds[0].any().unwrap_or(false) {
            continue;
        }
        let ended = sys::wait(child, true).map_err(failed("wait for the command", ""))?;
        return ended
            .map(|(_, status)| WaitStatus::from_raw(status))
            .ok_or_else(|| failure("wait for the command", "", 0));
    }
}

/// Tries whether such namespaces can be made and set up, in a child that does nothing else.
pub(super) fn probe(content: OwnedFd, reports: &OwnedFd) -> ! {
    let told = match try_namespaces(content) {
        Ok(()) => Report::Ended(WaitStatus::exited(0)),
        Err(failure) => Report::Failed(failure),
    };
    let _ = report(reports.as_fd(), &told);
    sys::exit(0);
}

fn try_namespaces(content: OwnedFd) -> Result<(), LaunchFailure> {
    let Probe {
        namespaces,
        overlay,
    } = unpack(content).map_err(failed_io("read the probe", ""))?;
    let isolators = isolators::of_probe(namespaces, overlay);
    let (failures, failures_in) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let (go_out, go) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let child = match sys::fork(isolators.clone_flags(), None)
        .map_err(failed("make the namespaces", ""))?
    {
        Fork::Child => {
            drop(go);
            let mut byte = [0u8; 1];
            if matches!(nix::unistd::read(&go_out, &mut byte), Ok(1))
                && let Err(failure) = isolators.isolate()
            {
                task::tell(failures_in.as_fd(), &failure);
            }
            sys::exit(0);
        }
        Fork::Parent(pid) => pid,
    };
    drop((failures_in, go_out));
    let mapped = isolators.map_ids(child);
    if mapped.is_ok() {
        let _ = nix::unistd::write(&go, b"g");
    }
    drop(go);
    let mut bytes = [0u8; MAX_FAILURE_BYTES];
    let told = nix::unistd::read(&failures, &mut bytes);
    let _ = sys::wait(child, true);
    mapped?;
    match told {
        Ok(0) => Ok(()),
        Ok(length) => Err(serde_json::from_slice(&bytes[..length])
            .unwrap_or_else(|_| failure("understand why namespaces cannot be set up", "", 0))),
        Err(errno) => Err(failure(
            "learn whether namespaces can be set up",
            "",
            errno as i32,
        )),
    }
}
