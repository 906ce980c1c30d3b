//! What containers read and write, as operators see it: pieces of output, and a hold on the input.
//!
//! A session's streams are in the agent's hands. Its own connection is waited for, so that whoever reads slowly slows the session down, as a
//! terminal would; those that attach beside are let go when they fall behind. Any other container writes files, which are read on from
//! where they are ([`follow`](super::follow)).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::containerizer::{Held, Window, register, resize_terminal};

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 8 << 10;
/// Pieces that wait for a reader.
const PIECES: usize = 64;
/// Readers beside a session's own.
const READERS: usize = 32;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Out,
    Err,
}

/// Something that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) data: Bytes,
}

pub(super) type Pieces = mpsc::Receiver<Piece>;

/// The queue of one reader.
pub(super) fn queue() -> (mpsc::Sender<Piece>, Pieces) {
    mpsc::channel(PIECES)
}

/// A session's streams.
#[derive(Debug)]
pub(super) struct Board {
    others: Mutex<Vec<mpsc::Sender<Piece>>>,
    /// Outputs that have not ended.
    open: AtomicUsize,
    input: tokio::sync::Mutex<Option<Input>>,
}

#[derive(Debug)]
enum Input {
    Pipe(pipe::Sender),
    Terminal(Arc<AsyncFd<OwnedFd>>),
}

impl Board {
    /// Begins to read. The pieces are for the session's own connection. A terminal must have been received before: `None` if it never came.
    pub(super) fn start(held: Held) -> io::Result<(Arc<Self>, Pieces)> {
        let (own, pieces) = queue();
        match held {
            Held::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let input = Input::Pipe(pipe::Sender::from_owned_fd(stdin)?);
                let board = Self::new(2, Some(input));
                for (kind, pipe) in [(Kind::Out, stdout), (Kind::Err, stderr)] {
                    let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
                    let (board, own) = (Arc::clone(&board), own.clone());
                    tokio::spawn(async move {
                        let mut buffer = vec![0; PIECE_BYTES];
                        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
                            board.give(kind, &buffer[..length], &own).await;
                        }
                        board.ended();
                    });
                }
                Ok((board, pieces))
            }
            Held::Terminal(sent) => {
                let Some(terminal) = sent.receive()? else {
                    return Ok((Self::new(0, None), pieces));
                };
                let terminal =
                    Arc::new(register(terminal, Interest::READABLE | Interest::WRITABLE)?);
                let board = Self::new(1, Some(Input::Terminal(Arc::clone(&terminal))));
                let pumped = Arc::clone(&board);
                tokio::spawn(async move {
                    let mut buffer = vec![0; PIECE_BYTES];
                    // EIO, once nobody inside has it open, is its end.
                    while let Ok(length @ 1..) = read(&terminal, &mut buffer).await {
                        pumped.give(Kind::Out, &buffer[..length], &own).await;
                    }
                    pumped.ended();
                });
                Ok((board, pieces))
            }
        }
    }

    fn new(open: usize, input: Option<Input>) -> Arc<Self> {
        Arc::new(Self {
            others: Mutex::default(),
            open: AtomicUsize::new(open),
            input: tokio::sync::Mutex::new(input),
        })
    }

    async fn give(&self, kind: Kind, bytes: &[u8], own: &mpsc::Sender<Piece>) {
        let piece = Piece {
            kind,
            data: Bytes::copy_from_slice(bytes),
        };
        // One that has gone, or is far behind, is let go.
        self.others
            .lock()
            .retain(|other| other.try_send(piece.clone()).is_ok());
        // Its connection is gone: the session ends soon, and what it still says is nobody's business.
        let _ = own.send(piece).await;
    }

    fn ended(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.others.lock().clear();
        }
    }

    /// What comes from now on; `None` if there are too many readers.
    pub(super) fn attach(&self) -> Option<Pieces> {
        let (sender, pieces) = queue();
        let mut others = self.others.lock();
        others.retain(|other| !other.is_closed());
        if others.len() >= READERS {
            return None;
        }
        if self.open.load(Ordering::Acquire) > 0 {
            others.push(sender);
        }
        Some(pieces)
    }

    /// Writes all of it, as fast as it is read.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match &mut *self.input.lock().await {
            Some(Input::Pipe(pipe)) => pipe.write_all(bytes).await,
            Some(Input::Terminal(terminal)) => write(terminal, bytes).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The end of input; a terminal has none.
    pub(super) async fn close(&self) {
        let mut input = self.input.lock().await;
        if let Some(Input::Pipe(_)) = *input {
            *input = None;
        }
    }

    pub(super) async fn resize(&self, window: Window) -> io::Result<()> {
        match &*self.input.lock().await {
            Some(Input::Terminal(terminal)) => resize_terminal(terminal.get_ref(), window),
            _ => Err(io::Error::from_raw_os_error(libc::ENOTTY)),
        }
    }
}

async fn read(terminal: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    terminal
        .async_io(Interest::READABLE, |fd| Ok(nix::unistd::read(fd, buffer)?))
        .await
}

async fn write(terminal: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = terminal
            .async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?))
            .await?;
        bytes = &bytes[written..];
    }
    Ok(())
}
