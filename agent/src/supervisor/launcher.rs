//! The launcher: a copy of this program that does nothing but fork.
//!
//! It is executed before tokio exists in it, has one thread and never gets another: what it forks may therefore run ordinary code. Its standard
//! input is the socket to the agent. It parses nothing itself, so that its memory, which all supervisors share, is never written.
//!
//! Its arguments are directories (the cgroup roots of an ephemeral agent) that it removes at the very end, if they are empty.
//!
//! When the agent goes, so does it, once its last child has: supervisors that share its pages are cheaper than orphans that each have their own.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::message::{Report, RequestKind, failed, receive_request, report};
use super::sys::{self, Fork};
use super::{exec, watch};

/// Runs the launcher. Reached only through `sys::BEFORE_MAIN`.
pub(super) fn main() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    sys::exit(code);
}

fn serve() -> io::Result<()> {
    sys::close_from(3);
    sys::reset_signals();
    sys::block_signals();
    sys::ignore_children(true);
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    drop(null);
    let _ = nix::unistd::setsid();
    nix::unistd::chdir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let _ = nix::sys::prctl::set_name(c"tepui-launcher");
    loop {
        match receive_request(socket.as_fd()) {
            Ok(Some((kind, fds))) => {
                if let Some(kind) = RequestKind::of(kind) {
                    fork_for(kind, fds, &socket);
                }
            }
            Err(Errno::EINTR) => {}
            Ok(None) | Err(_) => break,
        }
    }
    drop(socket);
    // With SIGCHLD ignored this blocks until the last child is gone, then fails with ECHILD.
    let _ = sys::wait(-1, true);
    for directory in std::env::args_os().skip(1) {
        let _ = std::fs::remove_dir(directory);
    }
    Ok(())
}

/// The first two descriptors of every request are its content and the socket for reports.
fn fork_for(kind: RequestKind, fds: Vec<OwnedFd>, socket: &OwnedFd) {
    let mut fds = fds.into_iter();
    let (Some(content), Some(reports)) = (fds.next(), fds.next()) else {
        return;
    };
    match sys::fork(0, None) {
        Ok(Fork::Parent(_)) => {}
        Ok(Fork::Child) => {
            sys::ignore_children(false);
            // The launcher's end of the socket must die with the launcher.
            let _ = nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(socket));
            match kind {
                RequestKind::Launch => watch::main(content, reports, fds.collect()),
                RequestKind::Exec => exec::main(content, reports, fds.collect()),
                RequestKind::Probe => exec::probe(content, &reports),
            }
        }
        Err(errno) => {
            let _ = report(
                reports.as_fd(),
                &Report::Failed(failed("fork a supervisor", "")(errno)),
            );
        }
    }
}
