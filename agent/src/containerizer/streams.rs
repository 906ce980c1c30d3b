//! What a container reads and writes, for an agent that wants to hold it in its hands.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use super::error::ContainerizerError;
use super::record::{self, INPUT_FILE};
use super::spec::ContainerId;
use super::{Containerizer, Window};
use crate::supervisor::message::{self, Streams};
use crate::supervisor::sys;

/// How an agent wants to hold a container's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// By three pipes.
    Pipes,
    /// By a terminal of this size.
    Terminal(Window),
}

/// The agent's ends. None of them blocks.
#[derive(Debug)]
pub enum Held {
    /// Of pipes.
    Pipes {
        /// To be written to.
        stdin: OwnedFd,
        /// To be read.
        stdout: OwnedFd,
        /// To be read.
        stderr: OwnedFd,
    },
    /// Of a terminal.
    Terminal(Sent),
}

/// A terminal that is on its way: it is there when the container has started.
#[derive(Debug)]
pub struct Sent(OwnedFd);

impl Sent {
    /// The terminal; `None` if the container never had one.
    pub fn receive(&self) -> io::Result<Option<OwnedFd>> {
        let received = message::receive_descriptor(self.0.as_fd())?;
        if let Some(terminal) = &received {
            fcntl(terminal, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(received)
    }
}

impl Hold {
    /// Makes both ends: what to launch with, the container's, the agent's.
    pub(super) fn make(self) -> io::Result<(Streams, Vec<OwnedFd>, Held)> {
        match self {
            Self::Pipes => {
                let make = || pipe2(OFlag::O_CLOEXEC);
                let ((stdin, own_stdin), (own_stdout, stdout)) = (make()?, make()?);
                let (own_stderr, stderr) = make()?;
                for own in [&own_stdin, &own_stdout, &own_stderr] {
                    fcntl(own, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                }
                let held = Held::Pipes {
                    stdin: own_stdin,
                    stdout: own_stdout,
                    stderr: own_stderr,
                };
                Ok((Streams::Given, vec![stdin, stdout, stderr], held))
            }
            Self::Terminal(window) => {
                let (own, socket) = socketpair(
                    AddressFamily::Unix,
                    SockType::SeqPacket,
                    None,
                    SockFlag::SOCK_CLOEXEC,
                )?;
                fcntl(&own, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                let held = Held::Terminal(Sent(own));
                Ok((Streams::Sent(window), vec![socket], held))
            }
        }
    }
}

/// Sets the size of a terminal that the agent holds.
pub(crate) fn resize(terminal: &impl AsFd, window: Window) -> io::Result<()> {
    Ok(sys::set_window(terminal.as_fd(), window)?)
}

impl Containerizer {
    /// Where what is typed into a terminal that the container's supervisor keeps is to be written: it does not block. `None` if it has none.
    pub fn typing(
        &self,
        container: &ContainerId,
    ) -> Result<Option<tokio::net::unix::pipe::Sender>, ContainerizerError> {
        self.inner.running(container)?;
        let directory = record::directory(&self.inner.config.runtime_dir, container.as_str());
        let path = directory.join(INPUT_FILE);
        match tokio::net::unix::pipe::OpenOptions::new().open_sender(&path) {
            Ok(sender) => Ok(Some(sender)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(super::recovery::runtime_error("open", &path)(error)),
        }
    }

    /// Sets the size of a terminal that the container's supervisor keeps.
    pub fn resize(
        &self,
        container: &ContainerId,
        window: Window,
    ) -> Result<(), ContainerizerError> {
        let (_, _, running) = self.inner.running(container)?;
        let sent = running
            .supervisor
            .open()
            .and_then(|supervisor| match supervisor {
                Some(supervisor) => Ok(sys::pidfd_order(
                    supervisor.as_fd(),
                    message::encode_window(window),
                )?),
                None => Ok(()),
            });
        sent.map_err(|source| ContainerizerError::Signal {
            container: container.clone(),
            source,
        })
    }
}
