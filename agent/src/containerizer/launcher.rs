//! The agent's end of the launcher: starts it, sends it requests, starts another if it is gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::ContainerizerError;
use super::rootfs::Overlay;
use super::spec::Namespaces;
use crate::supervisor::message::{self, Probe, Report, RequestKind};
use crate::supervisor::sys;

/// How often a request is tried on a new launcher when the old one is found gone.
const ATTEMPTS: usize = 2;

/// The launcher, or whichever has taken its place.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Directories for its last act.
    directories: Vec<PathBuf>,
    current: Mutex<Arc<Running>>,
}

/// One launcher process.
#[derive(Debug)]
struct Running {
    socket: AsyncFd<OwnedFd>,
    child: Mutex<Child>,
}

/// The agent's end of a report socket. Its supervisor or helper notices when it is dropped.
pub(super) type Reports = AsyncFd<OwnedFd>;

impl Launcher {
    pub(super) fn start(directories: Vec<PathBuf>) -> Result<Self, ContainerizerError> {
        sys::ensure_linked();
        let running =
            Running::start(&directories).map_err(|source| ContainerizerError::Launcher {
                action: "start it",
                source,
            })?;
        Ok(Self {
            directories,
            current: Mutex::new(Arc::new(running)),
        })
    }

    /// Sends a request; what comes back comes on the socket returned.
    pub(super) async fn request<T: Serialize>(
        &self,
        kind: RequestKind,
        content: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reports, ContainerizerError> {
        let failed = |source| ContainerizerError::Launcher {
            action: "send it a request",
            source,
        };
        let mut last = Errno::EPIPE;
        for _ in 0..ATTEMPTS {
            let content = message::pack(content).map_err(failed)?;
            let (ours, theirs) = pair().map_err(failed)?;
            let mut all = vec![content.as_fd(), theirs.as_fd()];
            all.extend_from_slice(fds);
            let launcher = Arc::clone(&self.current.lock());
            match launcher.send(kind, &all).await {
                Ok(()) => return sys::register(ours, Interest::READABLE).map_err(failed),
                Err(errno @ (Errno::EPIPE | Errno::ECONNRESET)) => {
                    last = errno;
                    self.replace(&launcher)?;
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Err(failed(last.into()))
    }

    /// Whether these namespaces can be made here. Blocks for the milliseconds that it takes to try.
    pub(super) fn probe(
        &self,
        namespaces: Namespaces,
        overlay: Option<Overlay>,
    ) -> Result<(), ContainerizerError> {
        let failed = |source| ContainerizerError::Launcher {
            action: "try namespaces",
            source,
        };
        let content = message::pack(&Probe {
            namespaces,
            overlay,
        })
        .map_err(failed)?;
        let (ours, theirs) = pair().map_err(failed)?;
        let launcher = Arc::clone(&self.current.lock());
        message::send_request(
            launcher.socket.get_ref().as_fd(),
            RequestKind::Probe,
            &[content.as_fd(), theirs.as_fd()],
        )
        .map_err(|errno| failed(errno.into()))?;
        drop(theirs);
        while let Err(errno) = poll(
            &mut [PollFd::new(ours.as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        ) {
            if errno != Errno::EINTR {
                return Err(failed(errno.into()));
            }
        }
        match message::receive_report(ours.as_fd()).map_err(failed)? {
            Some(Report::Failed(failure)) => Err(ContainerizerError::Exec(failure)),
            Some(_) => Ok(()),
            None => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends the launcher and waits until it is gone, which is when all that it has forked is.
    pub(super) async fn stop(&self) -> Result<(), ContainerizerError> {
        let failed = |source| ContainerizerError::Launcher {
            action: "stop it",
            source,
        };
        let launcher = Arc::clone(&self.current.lock());
        shutdown(launcher.socket.as_raw_fd(), Shutdown::Both)
            .map_err(|errno| failed(errno.into()))?;
        let ended = tokio::task::spawn_blocking(move || launcher.child.lock().wait()).await;
        ended
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)
            .map(drop)
    }

    /// Starts another, unless somebody already has.
    fn replace(&self, gone: &Arc<Running>) -> Result<(), ContainerizerError> {
        let mut current = self.current.lock();
        if Arc::ptr_eq(&current, gone) {
            tracing::warn!(
                "the launcher process is gone; starting another (running containers are not affected)"
            );
            let running = Running::start(&self.directories).map_err(|source| {
                ContainerizerError::Launcher {
                    action: "start it",
                    source,
                }
            })?;
            *current = Arc::new(running);
        }
        Ok(())
    }
}

impl Running {
    fn start(directories: &[PathBuf]) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        // Not the name of the file: that may have been replaced since by a newer version, which need not understand us.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(sys::LAUNCHER_NAME)
            .args(directories)
            .env_clear()
            .current_dir("/");
        let child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            socket: sys::register(ours, Interest::WRITABLE)?,
            child: Mutex::new(child),
        })
    }

    async fn send(&self, kind: RequestKind, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let sent = self
            .socket
            .async_io(Interest::WRITABLE, |socket| {
                Ok(message::send_request(socket.as_fd(), kind, fds)?)
            })
            .await;
        sent.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its socket, which follows, is its end; whoever adopts it reaps it. One that is gone already is reaped here.
        let _ = self.child.lock().try_wait();
    }
}

/// A connected pair: ours does not block, the other end, which the launcher's side reads, does.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}
