//! A terminal that a supervisor keeps for its container: what comes goes to a file, what is to go comes by a FIFO.
//!
//! Both have names, so that agents may come and go: whoever wants to see reads the file on, whoever wants to type opens the FIFO. What is
//! typed while the program does not read waits in the FIFO, and then with whoever writes there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;

use super::message::{Launch, Streams, Window, failed, failed_io, receive_descriptor};
use super::{sys, task};
use crate::containerizer::LaunchFailure;
use crate::containerizer::record::INPUT_FILE;

/// How much is carried at once, in bytes.
const PIECE_BYTES: usize = 4096;

/// A terminal that is kept.
pub(super) struct Terminal {
    /// From where the terminal comes, once there is one.
    socket: OwnedFd,
    holder: Option<File>,
    /// Nothing comes any more.
    over: bool,
    input: File,
    log: File,
    /// Typed and not yet taken.
    typed: Vec<u8>,
    window: Option<Window>,
}

impl Terminal {
    /// Prepares a terminal, if the launch wants one; also the descriptor for the task.
    pub(super) fn prepare(launch: &Launch) -> Result<Option<(Self, OwnedFd)>, LaunchFailure> {
        if !matches!(launch.streams, Streams::Kept(_)) {
            return Ok(None);
        }
        let path = launch.record.join(INPUT_FILE);
        let subject = path.to_string_lossy();
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600))
            .map_err(failed("make the FIFO", &subject))?;
        // Also for writing: it never ends.
        let input = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .map_err(failed_io("open the FIFO", &subject))?;
        let out = match &launch.root {
            Some(root) => root.sandbox.join("stdout"),
            None => launch.stdout.clone(),
        };
        let owner = launch.program.credentials.as_ref();
        let log = task::open_output(&out, true, owner)?.into();
        let (socket, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(failed("make a socket for the terminal", ""))?;
        let terminal = Self {
            socket,
            holder: None,
            over: false,
            input,
            log,
            typed: Vec::new(),
            window: None,
        };
        Ok(Some((terminal, theirs)))
    }

    /// What to wait for of what comes; `None` after its end.
    pub(super) fn output(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.over {
            return None;
        }
        match &self.holder {
            None => Some((self.socket.as_fd(), PollFlags::POLLIN)),
            Some(holder) if self.typed.is_empty() => Some((holder.as_fd(), PollFlags::POLLIN)),
            Some(holder) => Some((holder.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)),
        }
    }

    /// What to wait for of what is typed; `None` while it could not be passed on.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        (self.holder.is_some() && !self.over && self.typed.is_empty()).then(|| self.input.as_fd())
    }

    /// Sets its size, now or once it is there.
    pub(super) fn resize(&mut self, window: Window) {
        match &self.holder {
            Some(holder) => drop(sys::set_window(holder.as_fd(), window)),
            None => self.window = Some(window),
        }
    }

    /// [`output`](Self::output) has something.
    pub(super) fn turn(&mut self) {
        if self.holder.is_none() {
            match receive_descriptor(self.socket.as_fd()) {
                Ok(Some(holder)) => {
                    let _ = fcntl(&holder, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
                    self.holder = Some(holder.into());
                    if let Some(window) = self.window.take() {
                        self.resize(window);
                    }
                }
                Ok(None) => self.over = true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.over = true,
            }
            return;
        }
        self.read();
        self.write();
    }

    /// [`input`](Self::input) has something.
    pub(super) fn type_in(&mut self) {
        let mut piece = [0u8; PIECE_BYTES];
        if let Ok(length) = self.input.read(&mut piece) {
            self.typed.extend_from_slice(&piece[..length]);
            self.write();
        }
    }

    /// Takes what is still there of what came.
    pub(super) fn drain(&mut self) {
        if self.holder.is_none() && !self.over {
            self.turn();
        }
        while self.read() {}
    }

    /// Whether there may be more.
    fn read(&mut self) -> bool {
        let Some(holder) = &mut self.holder else {
            return false;
        };
        let mut piece = [0u8; PIECE_BYTES];
        match holder.read(&mut piece) {
            Ok(length @ 1..) => {
                // On a disk that is full it is lost, as what a program writes there itself would be.
                let _ = self.log.write_all(&piece[..length]);
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                false
            }
            // EIO: every program has closed it.
            Ok(_) | Err(_) => {
                self.over = true;
                false
            }
        }
    }

    fn write(&mut self) {
        let Some(holder) = &self.holder else { return };
        while !self.typed.is_empty() {
            match nix::unistd::write(holder, &self.typed) {
                Ok(length) => drop(self.typed.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.typed.clear(),
            }
        }
    }
}
