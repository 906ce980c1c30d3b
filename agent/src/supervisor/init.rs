//! Init: the first process inside a container.
//!
//! It is pid 1 of the container's pid namespace, so its end is everybody's end. It blocks all signals and meets them one by one: a child's end is
//! reaped; an order (see `message::Order`) is carried out; any other signal, sent by whoever takes it for the task, is forwarded to the task.
//! Without a pid namespace it is the container's subreaper and kills what the task leaves behind by hand.

use std::os::fd::{AsFd, OwnedFd};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as NixSignal;

use super::message::{Launch, Order, failed};
use super::sys::{self, Fork, Signal};
use super::task;
use crate::containerizer::LaunchFailure;
use crate::containerizer::isolators::Isolators;

/// Runs init, in the process that was made with the container's namespaces. `go` says when the supervisor has done its part.
pub(super) fn main(
    launch: &Launch,
    isolators: &Isolators,
    failures: OwnedFd,
    ends: OwnedFd,
    go: OwnedFd,
    streams: Vec<OwnedFd>,
) -> ! {
    let _ = nix::sys::prctl::set_name(c"tepui-init");
    let mut byte = [0u8; 1];
    // Nothing comes if the supervisor has given up or died.
    if !matches!(nix::unistd::read(&go, &mut byte), Ok(1)) {
        sys::exit(1);
    }
    drop(go);
    let begun = if launch.holds() {
        hold(isolators, &ends, launch.namespaces.pid).map(|()| None)
    } else {
        begin(launch, isolators, &failures, &ends, &streams).map(Some)
    };
    let task = match begun {
        Ok(task) => task,
        Err(failure) => {
            task::tell(failures.as_fd(), &failure);
            sys::exit(1);
        }
    };
    // From here on only the task holds this pipe, until it executes its program, and its streams.
    drop((failures, streams));
    let status = serve(task, launch.namespaces.pid);
    if !launch.namespaces.pid {
        kill_rest();
    }
    let _ = nix::unistd::write(&ends, &status.to_ne_bytes());
    sys::exit(0);
}

/// Of a container without a program: init itself is confined, and holds what others share.
fn hold(isolators: &Isolators, ends: &OwnedFd, pid_namespace: bool) -> Result<(), LaunchFailure> {
    settle(isolators, ends, pid_namespace)?;
    isolators.enter()?;
    isolators.seal()
}

fn begin(
    launch: &Launch,
    isolators: &Isolators,
    failures: &OwnedFd,
    ends: &OwnedFd,
    streams: &[OwnedFd],
) -> Result<i32, LaunchFailure> {
    settle(isolators, ends, launch.namespaces.pid)?;
    match sys::fork(0, isolators.cgroup()).map_err(failed("fork the task", ""))? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => task::main(
            &launch.program,
            isolators,
            failures.as_fd(),
            task::Output::Launch(launch, streams),
        ),
    }
}

/// Sets up the inside of the container.
fn settle(isolators: &Isolators, ends: &OwnedFd, pid_namespace: bool) -> Result<(), LaunchFailure> {
    // After the ids were mapped: a change of credentials would undo it.
    nix::sys::prctl::set_pdeathsig(NixSignal::SIGKILL)
        .map_err(failed("tie the container to its supervisor", ""))?;
    if has_no_reader(ends) {
        // The supervisor died just before.
        sys::exit(1);
    }
    if !pid_namespace {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(failed("become the container's reaper", ""))?;
    }
    isolators.isolate()
}

fn has_no_reader(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

/// Reaps and forwards until the task has ended; its wait status. Where there is none, it goes on until it is killed.
fn serve(task: Option<i32>, pid_namespace: bool) -> i32 {
    loop {
        match sys::wait_signal() {
            Signal::Plain(libc::SIGCHLD) => {
                while let Ok(Some((pid, status))) = sys::wait(-1, false) {
                    if Some(pid) == task {
                        return status;
                    }
                }
            }
            Signal::Plain(signal) => to_task(task, signal),
            Signal::Order(order) => {
                let order = Order::decode(order);
                if !order.tree {
                    to_task(task, order.signal);
                } else if pid_namespace {
                    // Every process of the namespace but this one.
                    send(-1, order.signal);
                } else {
                    for pid in descendants() {
                        send(pid, order.signal);
                    }
                }
            }
        }
    }
}

fn to_task(task: Option<i32>, signal: i32) {
    if let Some(task) = task {
        send(task, signal);
    }
}

fn send(pid: i32, signal: i32) {
    if let Ok(signal) = NixSignal::try_from(signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }
}

/// All processes below this one, parents first.
fn descendants() -> Vec<i32> {
    let mut found = Vec::new();
    let mut parents = vec![std::process::id() as i32];
    while let Some(parent) = parents.pop() {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children =
                std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
            {
                found.push(child);
                parents.push(child);
            }
        }
    }
    found
}

/// Kills until there is nobody left: what forks meanwhile becomes our child, since we are the subreaper, and is met in the next round.
pub(super) fn kill_rest() {
    loop {
        for pid in descendants() {
            send(pid, libc::SIGKILL);
        }
        match sys::wait(-1, true) {
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
